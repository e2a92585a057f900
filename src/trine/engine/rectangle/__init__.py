"""Anchors × references: the tiled passes where the two are different sets, or rows are known by item.

A tile is read for its anchors only, and a block of anchors is finished before the next one begins: nothing is
held but that block, its positives, and the gradients.
"""
