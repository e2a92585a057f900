"""Pages: turns metrics, curves and images into one self-contained HTML file with a light and a dark scheme.

`document` builds the page from `Section`s; charts are inline SVG, images are embedded, and all text is
escaped. Nothing is computed here.
"""
