"""Exact tiled passes over all pairs of a batch: the only place that is allowed to be clever."""
