"""Embeds a stream of batches in a pool of Ray's workers, which read the items themselves.

The command holds the list of items, and workers get it once: paths, or an array that all workers of a node
share. After that only numbers of batches go to the workers, and embeddings come back.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from trine.data import Items
from trine.encoders import Encoder
from trine.errors import TrineError, require
from trine.on_ray.connect import is_cluster
from trine.shapes import Float32

AT_ONCE = 16
"""The most batches that are one piece of work for a worker, and are done again if the worker dies."""

PIECES_A_WORKER = 4
"""At least so many pieces of work for each worker, so that all are busy until near the end."""

_HEAD = {"node:__internal_head__": 0.001}  # Ray's name for the node where a cluster was started
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
    elsewhere, encoder.elsewhere = encoder.elsewhere, None
    try:
        work = _Work(
            ray.put(encoder),
            ray.put(items),
            np.array([batch.start for batch in batches]),
            np.array([batch.stop for batch in batches]),
            _piece(ray, len(batches)),
            encoder.settings.dimension,
        )
    finally:
        encoder.elsewhere = elsewhere
    if not is_cluster(on):
        pieces = _pieces(work)
    else:
        # Ray Data works only within a cluster, and a client is outside: an actor on its head hands through.
        actor = ray.remote(_Stream).options(num_cpus=0, resources=_HEAD).remote(work)
        pieces = iter(lambda: ray.get(actor.piece.remote()), None)
    expected = 0
    for piece in pieces:
        for number, content in piece:
            if number == _FAILED:
                raise pickle.loads(content)
            if number != expected:
                raise TrineError(f"Ray returned batch {number}, expected batch {expected}; run it again")
            expected += 1
            yield np.frombuffer(content, dtype=np.float32).reshape(-1, work.dimension)
    if expected != len(batches):
        raise TrineError(f"Ray returned {expected:,} of {len(batches):,} batches; run it again")


@dataclass(frozen=True)
class _Work:
    """What workers need: references to the encoder and the items, and where batches start and stop."""

    encoder: Any
    items: Any
    starts: Any
    stops: Any
    piece: int
    dimension: int

    @property
    def pieces(self) -> int:
        return -(-len(self.starts) // self.piece)


def _piece(ray: ModuleType, batches: int) -> int:
    """How many batches are one piece of work."""
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    return max(1, min(AT_ONCE, batches // (PIECES_A_WORKER * workers)))


def _pieces(work: _Work) -> Iterator[list[tuple[int, bytes]]]:
    """Runs Ray Data; yields numbers of batches with their embeddings as bytes, in order."""
    ray, data = require("ray", extra="ray"), require("ray.data", extra="ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    embedded = data.range(work.pieces, override_num_blocks=work.pieces).map_batches(
        _Embedding,
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
        numbers, contents = block["batch"].to_pylist(), block["rows"].to_pylist()
        yield list(zip(numbers, contents, strict=True))


class _Stream:
    """An actor within the cluster that runs Ray Data for a command outside."""

    def __init__(self, work: _Work) -> None:
        self._pieces = _pieces(work)

    def piece(self) -> list[tuple[int, bytes]] | None:
        return next(self._pieces, None)


class _Embedding:
    """A worker: holds the encoder and the items, and embeds the batches that it is told the numbers of."""

    def __init__(self, work: _Work) -> None:
        ray = require("ray", extra="ray")
        self._work = work
        self._encoder: Encoder = ray.get(work.encoder)
        self._items: Items = ray.get(work.items)

    def __call__(self, pieces: dict[str, Any]) -> dict[str, Any]:
        numbers: list[int] = []
        contents: list[bytes] = []
        work = self._work
        try:
            for piece in pieces["id"].tolist():
                first = piece * work.piece
                wanted = range(first, min(first + work.piece, len(work.starts)))
                batches = [range(work.starts[at], work.stops[at]) for at in wanted]
                for number, rows in zip(
                    wanted, self._encoder.embed_batches(self._items, batches), strict=True
                ):
                    numbers.append(number)
                    contents.append(rows.tobytes())
        except TrineError as error:  # of the data: to do it again would not help
            numbers.append(_FAILED)
            contents.append(pickle.dumps(error))
        return {"batch": np.array(numbers, dtype=np.int64), "rows": np.array(contents, dtype=object)}
