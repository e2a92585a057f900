"""`trine demo`: an end-to-end example."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import echo
from trine.cli.parser import Verb


def _arguments(parser: Any) -> None:
    parser.add_argument(
        "--out",
        default="runs/demo",
        help="the run folder; if it exists, a number is appended (default: runs/demo)",
    )


def _run(settings: Any) -> None:
    from trine.demo import demo

    demo(settings.out, echo=echo)


DEMO = Verb(
    _run,
    _arguments,
    "Run an end-to-end example on handwritten digits: train, evaluate, enrol, identify, verify.",
    "trine demo",
)
