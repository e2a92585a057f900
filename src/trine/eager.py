"""Keeps `torch.compile` from tracing code whose steps depend on values: it calls that code as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch._compile import _disable_dynamo  # what `torch.compiler.disable` does, without importing a compiler

P = ParamSpec("P")
R = TypeVar("R")


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function that a compiled step calls as it is, without a warning for each part of it."""
    uncompiled: Callable[P, R] = _disable_dynamo(function)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        # The compiler evaluates the condition as it traces; elsewhere nothing is disabled.
        if torch.compiler.is_dynamo_compiling():
            return uncompiled(*args, **kwargs)
        return function(*args, **kwargs)

    # The compiler counts its attempts at each code object, and complains about many.
    called.__code__ = called.__code__.replace(co_name=function.__name__)  # type: ignore[attr-defined]
    return called
