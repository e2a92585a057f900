"""`trine demo`: an end-to-end example."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import echo
from trine.cli.parser import argument, verb


@verb(argument("--out", default="runs/demo", help="the run folder, numbered if taken (default: runs/demo)"))
def demo(settings: Any) -> None:
    """Run an end-to-end example on handwritten digits: train, evaluate, enrol, identify, verify.

    trine demo
    """
    from trine.demo import demo

    demo(settings.out, echo=echo)
