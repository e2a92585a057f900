"""Pages: from metrics, curves and pictures to one HTML file that opens anywhere, light or dark.

`document` makes the page out of `Section`s; charts are inline SVG, pictures are inside the page, and every
name is escaped where it is written. Nothing is computed here.
"""
