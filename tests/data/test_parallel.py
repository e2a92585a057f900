"""Threads for pictures: as many as asked for, the cores there are, and no more than the limit."""

from __future__ import annotations

import os
import threading
import time

import pytest

from trine.data.parallel import MEMORY, decoding_threads, in_threads, limit_decoding_threads, reserve_memory
from trine.training.distributed import limit_threads


@pytest.mark.parametrize("count", [3, 6])
def test_as_many_threads_work_at_once_as_asked_for(count: int) -> None:
    together = threading.Barrier(count, timeout=20)

    def wait(number: int) -> int:
        together.wait()  # passes only if all threads are in it at once
        return -number

    assert in_threads(wait, count, threads=count) == [-number for number in range(count)]


def test_results_keep_their_order_and_errors_come_out() -> None:
    assert in_threads(lambda number: number**2, 1000, threads=3) == [number**2 for number in range(1000)]
    assert in_threads(lambda number: number, 0) == []
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 // (number - 700), 1000, threads=3)


@pytest.mark.parametrize(("size", "most"), [(MEMORY, 1), (MEMORY * 3, 1), (MEMORY // 2, 2)])
def test_tasks_wait_until_there_is_memory(size: int, most: int) -> None:
    working, seen, lock = [0], [], threading.Lock()

    def work(number: int) -> None:
        reserve_memory(size)
        with lock:
            working[0] += 1
            seen.append(working[0])
        time.sleep(0.01)
        with lock:
            working[0] -= 1
        if number == 3:
            raise ValueError("what it reserved is free again")

    with pytest.raises(ValueError, match="free again"):
        in_threads(work, 8, threads=4)
    in_threads(lambda _: reserve_memory(MEMORY), 8, threads=4)
    assert max(seen) == most


def test_outside_of_threads_nothing_waits() -> None:
    for _ in range(3):
        reserve_memory(MEMORY)


def test_few_cheap_calls_get_no_thread() -> None:
    seen = in_threads(lambda _: threading.get_ident(), 127, threads=8, fewest=64)
    assert set(seen) == {threading.get_ident()}


def test_the_default_is_the_cores_of_the_process_within_the_limit() -> None:
    cores = len(os.sched_getaffinity(0))
    assert decoding_threads() == cores
    before = limit_decoding_threads(1)
    try:
        assert decoding_threads() == 1
    finally:
        limit_decoding_threads(before)
    with limit_threads(1):
        assert decoding_threads() == 1
    assert decoding_threads() == cores
