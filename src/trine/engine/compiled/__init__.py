"""The tile kernels compiled for the CPU (extra `fast`): the same results in fewer passes over a tile.

Nothing here is imported before the first batch that is large enough to gain from it.
"""
