"""Diagnostics of a training run: collapse, starvation, label noise and numbers that are not finite."""
