"""Long work that can be stopped between its pieces, by whoever runs it.

What computes for long (a search, clusters, a read of all items) calls `check_interruption` between its pieces
and knows nothing of who may stop it. Nothing is checked unless somebody asked for it with `interrupted_by`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CHECK: ContextVar[Callable[[], object] | None] = ContextVar("trine_interruption", default=None)


@contextmanager
def interrupted_by(check: Callable[[], object]) -> Iterator[None]:
    """Calls a function between the pieces of all long work of a block, in this thread.

    Args:
        check: Raises an error to end the work, which then leaves nothing half done. It is called often, so
            it should be fast.

    Example:
        >>> def stop():
        ...     raise TimeoutError("enough")
        >>> from trine.neighbours import nearest_neighbours
        >>> import numpy as np
        >>> with interrupted_by(stop):
        ...     nearest_neighbours(np.zeros((3, 2)), k=1)
        Traceback (most recent call last):
        TimeoutError: enough
    """
    token = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(token)


def check_interruption() -> None:
    """Ends long work here if whoever runs it wants so; called between two pieces of it.

    Raises:
        BaseException: What the function of `interrupted_by` raises.
    """
    check = _CHECK.get()
    if check is not None:
        check()
