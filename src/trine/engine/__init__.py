"""Exact tiled passes over all pairs of a batch: the one package optimised at the cost of simplicity."""
