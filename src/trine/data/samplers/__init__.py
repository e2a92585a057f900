"""Samplers: which items, or triplets, come together in a batch."""
