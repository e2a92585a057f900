"""Generates batches of every shape that training meets, degenerate ones above all."""

import torch
from hypothesis import strategies as st


@st.composite
def batches(draw, max_rows=9, max_width=8, dtype=torch.float64):
    """(embeddings, labels): singletons, one identity, all distinct, duplicates, N = 0, 1, 2, any scale.

    Coordinates are small integers times a power of two, so that ties and duplicates are common and exact.
    """
    rows = draw(st.integers(0, max_rows))
    width = draw(st.integers(1, max_width))
    identities = draw(st.integers(1, max(1, rows)))
    labels = draw(st.lists(st.integers(0, identities - 1), min_size=rows, max_size=rows))
    offset = draw(st.sampled_from([0, -7, 2**40]))
    cells = st.integers(-2, 2) if draw(st.booleans()) else st.floats(-1, 1, allow_subnormal=False, width=32)
    values = draw(st.lists(cells, min_size=rows * width, max_size=rows * width))
    scale = draw(st.sampled_from([1.0, 1.0, 2.0**-10, 2.0**13]))
    embeddings = torch.tensor(values, dtype=dtype).reshape(rows, width) * scale
    if rows and draw(st.booleans()):
        twin = draw(st.integers(0, rows - 1))
        embeddings[draw(st.integers(0, rows - 1))] = embeddings[twin]
    return embeddings, torch.tensor(labels, dtype=torch.int64) + offset
