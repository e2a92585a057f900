"""Streams work through a pool of Ray's workers: batches to embed, or photos to look at.

The command holds the list of items, and workers get it once: paths, or an array that all workers of a node
share. After that only numbers go to the workers, which read the items themselves, and results come back.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from trine.data import Items
from trine.encoders import Encoder
from trine.errors import TrineError, require
from trine.on_ray.connect import HEAD, is_cluster
from trine.shapes import Float32

AT_ONCE = 16
"""The most batches, or photos, that are one piece of work, which is done again if its worker dies."""

PIECES_A_WORKER = 4
"""At least so many pieces of work for each worker, so that all are busy until near the end."""

Each = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
"""Calls a function for each of many arguments; yields the results in order."""

_FAILED = -1


@contextmanager
def embeds_on(ray: ModuleType, on: str, *encoders: Encoder) -> Iterator[None]:
    """Lets encoders embed on Ray instead of in this process, until the block ends.

    Args:
        ray: What `connected` lends.
        on: Its address.
        encoders: The encoders; `Encoder.embed` and all that calls it then work on Ray.
    """

    def embedded(
        encoder: Encoder, items: Items, batches: Sequence[range]
    ) -> Iterator[Float32[np.ndarray, "b d"]]:
        return stream(ray, on, encoder, items, batches)

    before = [encoder.elsewhere for encoder in encoders]
    for encoder in encoders:
        encoder.elsewhere = embedded
    try:
        yield
    finally:
        for encoder, was in zip(encoders, before, strict=True):
            encoder.elsewhere = was


def stream(
    ray: ModuleType, on: str, encoder: Encoder, items: Items, batches: Sequence[range]
) -> Iterator[Float32[np.ndarray, "b d"]]:
    """Embeds batches of items in Ray's workers; one that dies is replaced, and its work done again.

    Args:
        ray: What `connected` lends.
        on: Its address.
        encoder: The encoder; workers get a copy.
        items: The items; workers read them, so that paths must be the same on all nodes.
        batches: The positions of the items of each batch.

    Yields:
        The embeddings of each batch, in order: to the bit those of `Encoder.embed` with the same batches on
        the same kind of processor with as many threads.

    Raises:
        TrineError: What the encoder or the items raised in a worker.
    """
    for content in _results(ray, on, _EmbedBatches(encoder, items, tuple(batches)), len(batches)):
        yield np.frombuffer(content, dtype=np.float32).reshape(-1, encoder.settings.dimension)


def each_on(ray: ModuleType, on: str) -> Each:
    """Calls a function for each of many arguments in Ray's workers.

    Args:
        ray: What `connected` lends.
        on: Its address.

    Returns:
        A function that takes the function, which a worker gets once, and the arguments, and yields the
        results in order.
    """

    def called(function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Any]:
        job = _CallEach(function, tuple(arguments))
        return (pickle.loads(content) for content in _results(ray, on, job, len(arguments)))

    return called


def _results(ray: ModuleType, on: str, job: Any, count: int) -> Iterator[bytes]:
    """Runs a job in Ray's workers; yields the result of each number below `count`, in order."""
    work = _Work(ray.put(job), count, _piece(ray, count))
    if not is_cluster(on):
        pieces = _pieces(work)
    else:
        # Ray Data works only within a cluster, and a client is outside: an actor on its head hands through.
        actor = ray.remote(_Stream).options(num_cpus=0, resources=HEAD).remote(work)
        pieces = iter(lambda: ray.get(actor.piece.remote()), None)
    expected = 0
    for piece in pieces:
        for number, content in piece:
            if number == _FAILED:
                raise pickle.loads(content)
            if number != expected:
                raise TrineError(f"Ray returned result {number}, expected result {expected}; run it again")
            expected += 1
            yield content
    if expected != count:
        raise TrineError(f"Ray returned {expected:,} of {count:,} results; run it again")


@dataclass(frozen=True)
class _EmbedBatches:
    """A job: the embeddings of batches of items, as bytes."""

    encoder: Encoder
    items: Items
    batches: tuple[range, ...]

    def __call__(self, wanted: range) -> Iterator[bytes]:
        batches = self.batches[wanted.start : wanted.stop]
        return (rows.tobytes() for rows in self.encoder.embed_batches(self.items, batches))


@dataclass(frozen=True)
class _CallEach:
    """A job: the results of a function, pickled."""

    function: Callable[[Any], Any]
    arguments: tuple[Any, ...]

    def __call__(self, wanted: range) -> Iterator[bytes]:
        return (pickle.dumps(self.function(each)) for each in self.arguments[wanted.start : wanted.stop])


@dataclass(frozen=True)
class _Work:
    """What workers need: a reference to the job, its size, and how much of it is one piece of work."""

    job: Any
    count: int
    piece: int

    @property
    def pieces(self) -> int:
        return -(-self.count // self.piece)


def _piece(ray: ModuleType, count: int) -> int:
    """How many results are one piece of work."""
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    return max(1, min(AT_ONCE, count // (PIECES_A_WORKER * workers)))


def _pieces(work: _Work) -> Iterator[list[tuple[int, bytes]]]:
    """Runs Ray Data; yields numbers with their results as bytes, in order."""
    ray, data = require("ray", extra="ray"), require("ray.data", extra="ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    embedded = data.range(work.pieces, override_num_blocks=work.pieces).map_batches(
        _Worker,
        fn_constructor_args=(work,),
        batch_size=None,
        num_cpus=1,
        compute=data.ActorPoolStrategy(
            min_size=1,
            max_size=workers,
            initial_size=min(workers, work.pieces),
            max_tasks_in_flight_per_actor=2,
        ),
    )
    for block in embedded.iter_batches(batch_size=None, batch_format="pyarrow"):
        numbers, contents = block["number"].to_pylist(), block["content"].to_pylist()
        yield list(zip(numbers, contents, strict=True))


class _Stream:
    """An actor within the cluster that runs Ray Data for a command outside."""

    def __init__(self, work: _Work) -> None:
        self._pieces = _pieces(work)

    def piece(self) -> list[tuple[int, bytes]] | None:
        return next(self._pieces, None)


class _Worker:
    """A worker: holds the job, and does those pieces of it that it is told the numbers of."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._job = require("ray", extra="ray").get(work.job)

    def __call__(self, pieces: dict[str, Any]) -> dict[str, Any]:
        numbers: list[int] = []
        contents: list[bytes] = []
        work = self._work
        try:
            for piece in pieces["id"].tolist():
                wanted = range(piece * work.piece, min((piece + 1) * work.piece, work.count))
                for number, content in zip(wanted, self._job(wanted), strict=True):
                    numbers.append(number)
                    contents.append(content)
        except TrineError as error:  # of the data: to do it again would not help
            numbers.append(_FAILED)
            contents.append(pickle.dumps(error))
        return {"number": np.array(numbers, dtype=np.int64), "content": np.array(contents, dtype=object)}
