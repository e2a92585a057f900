"""How much a test tries: a little usually, all with TRINE_THOROUGH=1, as in `make release-check`."""

from __future__ import annotations

import os

import pytest

THOROUGH = bool(os.environ.get("TRINE_THOROUGH"))


def effort(usual: int, thorough: int) -> int:
    """Returns the number of things to try; the environment variable TRINE_THOROUGH asks for all."""
    return thorough if THOROUGH else usual


thorough = pytest.mark.skipif(
    not THOROUGH, reason="long, and others show the same: run it with TRINE_THOROUGH=1 or make release-check"
)
"""Marks a test that `make release-check` alone runs."""
