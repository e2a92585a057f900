"""Work on images in threads: Pillow decodes and torch resizes without holding Python's lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

CHUNKS_PER_THREAD = 4
MEMORY = 640 << 20
"""How many bytes the tasks that run at one time may reserve."""

_limit: int | None = None


class _Memory(threading.local):
    """The bytes that the task of this thread has reserved (None outside of tasks), and those left for all."""

    changed = threading.Condition()
    left = MEMORY
    reserved: int | None = None

    def take(self, size: int) -> None:
        with _Memory.changed:
            _Memory.changed.wait_for(lambda: _Memory.left >= size)
            _Memory.left -= size
            _Memory.changed.notify_all()


_memory = _Memory()


def reserve_memory(size: int) -> None:
    """Waits until a task of `in_threads` may use so much memory; it is free again when the task ends.

    A task that needs more than there is waits until no other has any. Only the first call of a task counts;
    outside of tasks nothing is reserved.

    Args:
        size: How many bytes.
    """
    if _memory.reserved == 0:
        size = min(size, MEMORY)
        _memory.take(size)
        _memory.reserved = size


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
        return [_task(do, number) for number in range(start, min(start + size, count))]

    with ThreadPoolExecutor(threads) as pool:
        return [result for part in pool.map(chunk, range(0, count, size)) for result in part]


def _task(do: Callable[[int], T], number: int) -> T:
    _memory.reserved = 0
    try:
        return do(number)
    finally:
        _memory.take(-_memory.reserved)
        _memory.reserved = None
