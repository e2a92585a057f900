"""Work on images in threads: Pillow decodes and torch resizes without holding Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

CHUNKS_PER_THREAD = 4
_limit: int | None = None


def decoding_threads() -> int:
    """Returns how many threads work on images: the cores this process may use, unless a limit is set."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return cores if _limit is None else min(cores, _limit)


def limit_decoding_threads(limit: int | None) -> int | None:
    """Limits the threads of this process that work on images, as `torch.set_num_threads` limits torch's.

    Args:
        limit: The most threads; None removes the limit.

    Returns:
        The limit that held before.
    """
    global _limit
    before, _limit = _limit, limit
    return before


def in_threads(do: Callable[[int], T], count: int, *, threads: int | None = None, fewest: int = 1) -> list[T]:
    """Calls a function with 0, 1, ..., count − 1, in several threads.

    Args:
        do: What to call; it may be called from several threads at once.
        count: How many calls.
        threads: How many threads; None takes `decoding_threads()`.
        fewest: The fewest calls that are worth a thread.

    Returns:
        The results in order.

    Example:
        >>> in_threads(lambda number: number**2, 4, threads=2)
        [0, 1, 4, 9]
    """
    threads = min(decoding_threads() if threads is None else threads, count // fewest)
    if threads <= 1:
        return [do(number) for number in range(count)]
    size = max(1, fewest, count // (CHUNKS_PER_THREAD * threads))

    def chunk(start: int) -> list[T]:
        return [do(number) for number in range(start, min(start + size, count))]

    with ThreadPoolExecutor(threads) as pool:
        return [result for part in pool.map(chunk, range(0, count, size)) for result in part]
