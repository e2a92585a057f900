"""How many threads of the CPU torch and the decoding of pictures take during a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trine.data.parallel import limit_decoding_threads


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Limits the threads of torch and of decoding, and restores both afterwards; None changes neither."""
    before = torch.get_num_threads(), limit_decoding_threads(count)
    torch.set_num_threads(count or before[0])
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        limit_decoding_threads(before[1])
