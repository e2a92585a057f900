"""How much a test tries: a little usually, all with TRINE_THOROUGH=1, as in `make release-check`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("TRINE_THOROUGH"))


def effort(usual: int, thorough: int) -> int:
    """Returns the number of things to try; the environment variable TRINE_THOROUGH asks for all."""
    return thorough if THOROUGH else usual
