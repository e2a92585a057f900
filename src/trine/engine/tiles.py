"""Threads that share tiles: one thread computes a whole tile at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

import torch
from torch import Tensor

State = TypeVar("State")
Tile = TypeVarTuple("Tile")


@contextmanager
def one_thread(x: Tensor) -> Iterator[None]:
    """Keeps operations on the CPU in the calling thread, and restores the number of threads."""
    before = torch.get_num_threads()
    if before == 1 or x.device.type != "cpu":
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_tiles(
    tiles: Iterable[tuple[*Tile]],
    state: Callable[[], State],
    work: Callable[[State, *Tile], None],
    workers: int,
) -> list[State]:
    """Runs `work` on every tile and returns the states that it filled, one for each worker.

    A tile is what `work` takes after the state: two numbers of blocks, say, or a part of a batch.
    Each tile is computed by one thread with single-threaded products: there is no barrier inside a tile.
    torch's number of threads, which is global to the process, is restored.
    """
    waiting, lock = iter(tiles), threading.Lock()
    states: list[State] = []
    errors: list[BaseException] = []

    def drain() -> None:
        with lock:
            mine = state()
            states.append(mine)
        with torch.no_grad():
            while not errors:
                with lock:
                    tile = next(waiting, None)
                if tile is None:
                    return
                work(mine, *tile)

    def guarded() -> None:
        try:
            torch.set_num_threads(1)
            drain()
        except BaseException as error:  # raised again in the caller's thread below
            errors.append(error)

    if workers <= 1:
        drain()
        return states
    threads = [threading.Thread(target=guarded) for _ in range(workers)]
    before = torch.get_num_threads()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        torch.set_num_threads(before)
    if errors:
        raise errors[0]
    return states
