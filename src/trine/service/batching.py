"""Requests that arrive together are embedded as one batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trine.errors import InputError, TrineError
from trine.gallery.embedding import EmbeddingEncoder
from trine.shapes import Float32

MOST = 64
"""How many items are embedded together."""


@dataclass(eq=False)
class _Request:
    """The items of one caller, and their embeddings or the error once there are any."""

    items: list[Any]
    rows: np.ndarray | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.rows is not None or self.error is not None


class BatchingEncoder:
    """An encoder that embeds what several threads ask for at one time as one batch.

    A caller does not wait for others: it embeds at once if the encoder is idle. While the encoder is busy,
    callers queue, and the next one takes all that are waiting with it. An item that the encoder refuses
    concerns only its own caller.

    Args:
        encoder: The encoder; everything but `embed` is taken from it.
        most: How many items are embedded together.
        observe: Called with the number of items of each batch.

    Example:
        >>> from types import SimpleNamespace
        >>> one = SimpleNamespace(embed=lambda items: np.array(items, dtype=np.float32), dimension=2)
        >>> encoder = BatchingEncoder(one)
        >>> encoder.embed([[1.0, 2.0]]).tolist(), encoder.dimension
        ([[1.0, 2.0]], 2)
    """

    def __init__(
        self, encoder: Any, *, most: int = MOST, observe: Callable[[int], object] | None = None
    ) -> None:
        set_own = super().__setattr__  # others are set on the encoder
        set_own("_encoder", encoder)
        set_own("_most", most)
        set_own("_observe", observe or (lambda count: None))
        set_own("_turn", threading.Lock())
        set_own("_queue", deque())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._encoder, name, value)

    def embed(self, items: Any) -> Float32[np.ndarray, "n d"]:
        """Embeds items, together with those of other threads if these wait.

        Args:
            items: As the encoder takes them.

        Returns:
            One row per item.

        Raises:
            InputError: As the encoder does.
        """
        if not isinstance(items, list) or not 0 < len(items) <= self._most:
            with self._turn:
                return self._embed(items)
        request = _Request(items)
        self._queue.append(request)
        with self._turn:
            while not request.is_done:
                self._serve(self._waiting())
        if request.error is not None:
            raise request.error
        assert request.rows is not None
        return request.rows

    def _waiting(self) -> list[_Request]:
        """Takes requests from the queue, as many as fit into one batch, at least one."""
        taken = [self._queue.popleft()]
        count = len(taken[0].items)
        while self._queue and count + len(self._queue[0].items) <= self._most:
            taken.append(self._queue.popleft())
            count += len(taken[-1].items)
        return taken

    def _serve(self, requests: Sequence[_Request]) -> None:
        try:
            rows = self._embed([item for request in requests for item in request.items])
        except Exception as error:
            if len(requests) == 1:
                requests[0].error = error
                return
            for request in requests:
                self._serve([request])
            return
        start = 0
        for request in requests:
            request.rows = rows[start : start + len(request.items)]
            start += len(request.items)

    def _embed(self, items: Any) -> np.ndarray:
        try:
            rows: np.ndarray = self._encoder.embed(items)
        except TrineError:
            raise
        except ValueError as error:  # of an encoder of somebody's own
            raise InputError(f"the encoder cannot embed this ({error})") from error
        self._observe(len(rows))
        return rows


def unwrapped(encoder: EmbeddingEncoder | None) -> Any:
    """Returns the encoder below a `BatchingEncoder`."""
    return encoder._encoder if isinstance(encoder, BatchingEncoder) else encoder
