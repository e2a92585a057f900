"""The schedule of a pass that is read from one side: a block of anchors is finished, then the next."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from trine.engine.layout import Block
from trine.engine.objective import Objective, finished
from trine.engine.rectangle.field import Rectangle, Sums
from trine.engine.tiles import run_tiles

HEIGHT = 256  # anchors in a block, at most


def one_sided(
    field: Rectangle,
    objective: Objective,
    state: Callable[[], Sums],
    work: Callable[[Block, Sums], None],
    workers: int,
    height: int | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Runs `work` on every block of anchors; returns the loss and the gradients asked for.

    Args:
        field: Anchors and references.
        objective: The loss.
        state: Makes what a worker adds to.
        work: Adds a block of anchors, against all references.
        workers: How many threads share the blocks.
        height: How many anchors make a block, where they are to be fewer than `HEIGHT`.
    """
    shared = -(-field.layout.anchors // workers)
    blocks = field.layout.anchor_blocks(min(HEIGHT, height or HEIGHT, shared))
    parts = run_tiles(
        ((i, i) for i in range(len(blocks))), state, lambda sums, i, _: work(blocks[i], sums), workers
    )
    whole = parts[0]
    for part in parts[1:]:
        whole.add(part)
    return finished(whole.tally, objective, field.raw, *field.gradients(whole))
