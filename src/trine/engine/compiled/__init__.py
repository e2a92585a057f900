"""The tile kernels compiled for the CPU (extra `fast`): the same results in fewer passes over a tile.

Imported at the first batch that is large enough to gain from it.
"""
