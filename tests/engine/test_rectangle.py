"""Anchors × references through tiles, in torch and compiled, against the naive twin and the exact pass."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.backends import SHAPES, WAYS, in_proportion, made, value_and_gradient
from support.batches import batches
from trine import Mining, triplet_loss
from trine.distances import DISTANCES
from trine.engine import dispatch, one_sided
from trine.engine.rectangle import every_triplet, fast, nearest, sides, winners
from trine.engine.rectangle.fast import FastRectangle
from trine.engine.rectangle.field import Rectangle
from trine.engine.relations import Relations

RULES = ["all", "hard", "semihard", "semihard-strict", "easy-positive-hard", "easy-positive-semihard"]
REDUCTIONS = ["active", "mean", "anchor", "sum"]


@contextmanager
def through_rectangles(way, height=3, pairs=9, many=2, large=4):
    """Sends batches of any size through tiles of a few rows, and the paths for many take a few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "SMALL", 0)
        patch.setattr(dispatch, "_CROWDED", 0)
        patch.setattr(dispatch, "installed", lambda: way == "compiled")
        patch.setattr(dispatch, "exact_pass", lambda *_: pytest.fail("the exact pass was taken"))
        patch.setattr(dispatch, "direct_pass", lambda *_: pytest.fail("the direct pass was taken"))
        patch.setattr(one_sided, "HEIGHT", height)
        patch.setattr(sides, "PAIRS", pairs)
        patch.setattr(sides, "ROOM", 4 * pairs)
        patch.setattr(winners, "_LEAST", height)
        patch.setattr(nearest, "_LONGEST", 2 * many)
        patch.setattr(fast, "FEW", many)
        patch.setattr(every_triplet, "MANY", many)
        patch.setattr(Rectangle, "product_from", large)
        patch.setattr(FastRectangle, "product_from", large)
        if way == "compiled":
            from trine.engine.compiled import counting

            patch.setattr(counting, "MANY", many)
        yield


@contextmanager
def exactly():
    """Sends everything through the exact pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "SMALL", 10**9)
        patch.setattr(dispatch, "LARGEST", 0)
        yield


def both(x, labels, y, others, **settings):
    """The value and the gradients of both sides, in float64."""
    x, y = x.detach().clone().requires_grad_(), y.detach().clone().requires_grad_()
    loss = triplet_loss(x, labels, references=y, reference_labels=others, **settings)
    loss.backward()
    return loss.detach().double(), x.grad.double(), y.grad.double()


@st.composite
def rectangles(draw):
    """(rows, labels, anchors, ids): a batch cut in two, some references the same item as an anchor."""
    rows, labels = draw(batches(max_rows=14, dtype=torch.float32))
    anchors = draw(st.integers(0, len(rows)))
    ids = torch.arange(len(rows))
    for a in range(anchors):
        mates = [j for j in range(anchors, len(rows)) if labels[j] == labels[a]]
        if mates and draw(st.booleans()):
            ids[draw(st.sampled_from(mates))] = a
    return rows, labels, anchors, ids


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES)
@given(
    batch=rectangles(),
    distance=st.sampled_from(["euclidean", "squared_euclidean"]),
    reduction=st.sampled_from(REDUCTIONS),
    margin=st.sampled_from([0.0137, 0.2173, 1.3131, None]),
    by_id=st.booleans(),
)
def test_rectangles_equal_the_twin(way, rule, batch, distance, reduction, margin, by_id):
    rows, labels, n, ids = batch
    rows, margin = in_proportion(rows, margin, distance)
    settings = {"distance": distance, "reduction": reduction, "margin": margin}
    numbers = {"item_ids": ids[:n], "reference_ids": ids[n:]} if by_id else {}
    spread = min(n, len(rows) - n) > 0 and bool((rows != rows[0]).any())
    with through_rectangles(way) if spread else exactly():
        value, gx, gy = both(rows[:n], labels[:n], rows[n:], labels[n:], mining=rule, **settings, **numbers)
    expected, gradient = reference.triplet_loss(
        rows.double().tolist(),
        labels.tolist(),
        Mining.named(rule),
        name=distance,
        margin=margin,
        reduction=reduction,
        ids=ids.tolist() if by_id else None,
        anchors=n,
    )
    largest = max((max(d) for d in reference.distance_matrix(rows.double().tolist(), distance)), default=0.0)
    number = len(labels) ** 3 if reduction == "sum" else 1
    torch.testing.assert_close(value.item(), float(expected), rtol=1e-5, atol=1e-6 * largest * number + 1e-12)
    gradient = torch.tensor(gradient, dtype=torch.float64).reshape(rows.shape)
    scale = float(gradient.abs().max()) if gradient.numel() else 0.0
    for got, part in ((gx, gradient[:n]), (gy, gradient[n:])):
        torch.testing.assert_close(got, part, rtol=1e-4, atol=1e-5 * scale + 1e-12 * number)


def cut_in_two(kind, shape="uneven", rows=360, anchors=90, width=24):
    """(x, labels, y, their labels, ids of x, ids of y): every second anchor is among the references too."""
    labels = SHAPES[shape](rows)
    embeddings = made(kind, labels, width=width)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(3))
    own = order[:anchors]
    others = torch.cat([order[anchors:], own[::2]]).sort().values
    return embeddings[own], labels[own], embeddings[others], labels[others], own, others


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("rule", "margin", "reduction"),
    [
        ("all", 0.2, None),
        ("all", 0.2, "anchor"),
        ("all", None, None),
        ("all", None, "anchor"),
        ("hard", 2.1, None),
        ("semihard", 2.1, "anchor"),
        ("semihard", None, "sum"),
        ("semihard-strict", 0.2, None),
        ("easy-positive-semihard", 2.1, None),
    ],
)
def test_rectangles_equal_the_exact_pass_in_float64(way, shape, distance, rule, margin, reduction):
    x, labels, y, others, ids, reference_ids = cut_in_two("random", shape)
    settings = {"mining": rule, "margin": margin, "distance": distance, "reduction": reduction}
    settings |= {"item_ids": ids, "reference_ids": reference_ids}
    value, *gradients = both(x.double(), labels, y.double(), others, **settings)
    assert value > 0.01
    with through_rectangles(way, height=24, pairs=1500, many=8, large=40):
        got = both(x, labels, y, others, **settings)
    torch.testing.assert_close(got[0], value, rtol=5e-6, atol=0)
    for mine, gradient in zip(got[1:], gradients, strict=True):
        # A triplet within rounding of the hinge may fall on either side of it.
        assert (mine - gradient).norm() <= (2e-4 if margin == 0.2 else 1e-5) * gradient.norm()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["collapsed", "tight 1e-3", "tight 1e-4", "duplicated", "with zero rows"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("rule", RULES)
def test_accuracy_where_products_of_float32_lose_their_digits(way, kind, distance, rule):
    x, labels, y, others, ids, reference_ids = cut_in_two(kind, "fours")
    settings = {"mining": rule, "margin": 3.0, "distance": distance}
    settings |= {"item_ids": ids, "reference_ids": reference_ids}
    value, *gradients = both(x.double(), labels, y.double(), others, **settings)
    with through_rectangles(way, height=24, pairs=1500, many=1, large=1000):
        got = both(x, labels, y, others, **settings)
    torch.testing.assert_close(got[0], value, rtol=1e-6, atol=0)
    for mine, gradient in zip(got[1:], gradients, strict=True):
        assert gradient.norm() > 0
        assert (mine - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["all", "hard", "semihard"])
@pytest.mark.parametrize("margin", [0.2, None])
def test_results_depend_neither_on_the_tiles_nor_on_the_threads(way, rule, margin):
    x, labels, y, others, ids, reference_ids = cut_in_two("random", rows=800, anchors=300)
    numbers = {"item_ids": ids, "reference_ids": reference_ids}
    results = []
    for height, pairs, threads in ((256, 1 << 17, 1), (37, 1000, 1), (100, 3000, 1), (37, 1000, 3)):
        with through_rectangles(way, height, pairs, many=8, large=40), pytest.MonkeyPatch.context() as patch:
            patch.setattr(dispatch, "workers", lambda _, n=threads: n)
            results.append(both(x, labels, y, others, mining=rule, margin=margin, **numbers))
    for value, *gradients in results[1:]:
        torch.testing.assert_close(value, results[0][0], rtol=5e-6, atol=0)
        for gradient, first in zip(gradients, results[0][1:], strict=True):
            assert (gradient - first).norm() <= 5e-6 * first.norm()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES)
def test_parts_of_the_anchors_add_up_to_the_whole(way, rule):
    """What several processes rely on: local anchors against gathered references, ids the global rows."""
    labels = SHAPES["uneven"](270)[torch.randperm(270, generator=torch.Generator().manual_seed(3))]
    embeddings, rows = made("random", labels), torch.arange(270)
    settings = {"mining": rule, "reduction": "sum", "margin": 1.7}
    with exactly():
        value, gradient = value_and_gradient(embeddings.double(), labels, **settings)
    total, gathered, local = 0.0, torch.zeros(270, 24, dtype=torch.float64), []
    with through_rectangles(way, height=50, pairs=5000, many=8, large=100):
        for part in rows.split(100):
            numbers = {"item_ids": part, "reference_ids": rows}
            got = both(embeddings[part], labels[part], embeddings, labels, **settings, **numbers)
            total += got[0]
            local.append(got[1])
            gathered += got[2]
    torch.testing.assert_close(total, value, rtol=1e-6, atol=0)
    assert (gathered + torch.cat(local) - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES)
@given(
    batch=batches(max_rows=12, dtype=torch.float32),
    copies=st.lists(st.integers(0, 1), min_size=12, max_size=12),
)
def test_repeated_items_of_one_set_equal_the_twin(way, rule, batch, copies):
    embeddings, labels = batch
    embeddings, margin = in_proportion(embeddings, 0.2173, "euclidean")
    ids = 2 * labels + torch.tensor(copies[: len(labels)], dtype=torch.int64)
    spread = len(labels) > 0 and bool((embeddings != embeddings[0]).any())
    with through_rectangles(way) if spread else exactly():
        value, gradient = value_and_gradient(embeddings, labels, mining=rule, margin=margin, item_ids=ids)
    settings = {"name": "euclidean", "margin": margin, "ids": ids.tolist()}
    settings["reduction"] = "active" if rule == "all" else "mean"
    rows = embeddings.double().tolist()
    expected, slope = reference.triplet_loss(rows, labels.tolist(), Mining.named(rule), **settings)
    largest = float(embeddings.abs().max()) if len(rows) else 0.0
    torch.testing.assert_close(value.item(), float(expected), rtol=1e-5, atol=1e-5 * largest)
    slope = torch.tensor(slope, dtype=torch.float64).reshape(embeddings.shape)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["all", "semihard"])
def test_an_item_of_two_labels_is_left_to_the_exact_pass(rule):
    x, labels, y, others, ids, reference_ids = cut_in_two("random")
    reference_ids[0] = ids[(labels != others[0]).nonzero()[0, 0]]
    settings = {"mining": rule, "item_ids": ids, "reference_ids": reference_ids}
    with exactly():
        expected = both(x, labels, y, others, **settings)
    assert not sides.Sides(
        Relations.from_labels(labels, others, item_ids=ids, reference_ids=reference_ids)
    ).items_keep_their_label()
    for mine, exact in zip(both(x, labels, y, others, **settings), expected, strict=True):
        assert torch.equal(mine, exact)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["hard", "semihard", "easy-positive-semihard"])
@pytest.mark.parametrize("copies", [3, 12])
def test_ties_go_to_the_lowest_reference(way, rule, copies):
    """As many references at each place as are listed, and more than are."""
    g = torch.Generator().manual_seed(1)
    x, places = torch.randn(20, 6, generator=g), torch.randn(30, 6, generator=g)
    order = torch.randperm(30 * copies, generator=g)
    y, others = places.repeat(copies, 1)[order], (torch.arange(30) % 5).repeat(copies)[order]
    labels = torch.arange(20) % 5
    with exactly():
        expected = both(x.double(), labels, y.double(), others, mining=rule)
    with through_rectangles(way, height=6, pairs=200, many=2):
        got = both(x, labels, y, others, mining=rule)
    if rule != "semihard":  # which takes every copy for a positive
        assert (expected[2] != 0).any(1).sum() <= 30
    for mine, exact in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_soft_margin_at_distances_beyond_the_exponential(way):
    x, labels, y, others, *_ = cut_in_two("random", "fours")
    settings = {"mining": "all", "margin": None}
    value, *gradients = both(200 * x.double(), labels, 200 * y.double(), others, **settings)
    with through_rectangles(way, height=24, pairs=1500):
        got = both(200 * x, labels, 200 * y, others, **settings)
    torch.testing.assert_close(got[0], value, rtol=1e-5, atol=0)
    for mine, gradient in zip(got[1:], gradients, strict=True):
        assert (mine - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("margin", [1.0, 1.1, 1.2])
@pytest.mark.parametrize("way", WAYS)
def test_few_active_triplets_equal_the_exact_pass(way, margin):
    x, labels, y, others, *_ = cut_in_two("tight 1e-2", "fours")
    value, *gradients = both(x.double(), labels, y.double(), others, mining="all", margin=margin)
    assert all(gradient.norm() > 0 for gradient in gradients)
    with through_rectangles(way, height=90, pairs=90 * 400):
        got = both(x, labels, y, others, mining="all", margin=margin)
    torch.testing.assert_close(got[0], value, rtol=1e-5, atol=0)
    for mine, gradient in zip(got[1:], gradients, strict=True):
        assert (mine - gradient).norm() <= 1e-4 * gradient.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", ["all", "hard", "semihard"])
def test_half_precision_is_computed_in_float32(dtype, rule):
    x, labels, y, others, *_ = cut_in_two("random", "fours", rows=500)
    x, y = (x * 1e3).to(dtype), (y * 1e3).to(dtype)
    half, full = (both(a, labels, b, others, mining=rule) for a, b in ((x, y), (x.float(), y.float())))
    assert half[0] == full[0]
    for mine, gradient in zip(half[1:], full[1:], strict=True):
        torch.testing.assert_close(mine, gradient.to(dtype).double(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15])
def test_huge_and_tiny_norms(scale):
    x, labels, y, others, *_ = cut_in_two("random", rows=500)
    value, *gradients = both(x, labels, y, others, mining="hard", margin=0.0)
    got = both(x * scale, labels, y * scale, others, mining="hard", margin=0.0)
    torch.testing.assert_close(got[0], value * scale, rtol=1e-5, atol=0)
    for mine, gradient in zip(got[1:], gradients, strict=True):
        torch.testing.assert_close(mine, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rule", ["all", "hard"])
def test_only_the_side_that_asks_has_a_gradient(rule, monkeypatch):
    asked, sums = [], Rectangle.sums
    monkeypatch.setattr(Rectangle, "sums", lambda self, *a: asked.append(a[0]) or sums(self, *a))
    x, labels, y, others, *_ = cut_in_two("random", rows=500)
    together = both(x, labels, y, others, mining=rule)
    for side in (0, 1):
        rows = [x.clone(), y.clone()]
        rows[side].requires_grad_()
        triplet_loss(rows[0], labels, references=rows[1], reference_labels=others, mining=rule).backward()
        torch.testing.assert_close(rows[side].grad.double(), together[1 + side])
    triplet_loss(x, labels, references=y, reference_labels=others, mining=rule)
    assert asked == [(True, True), (True, False), (False, True), (False, False)]


GROWTH = """
from pathlib import Path
import torch
torch.set_num_threads(1)
from trine import triplet_loss

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

def growth(rule, n, m, skewed):
    g = torch.Generator().manual_seed(0)
    others = torch.randint(m // 8, (m,), generator=g)
    if skewed:
        others[: m // 2] = 0
    labels = others[torch.randperm(m, generator=g)[:n]].clone()
    x, y = (torch.randn(k, 128, generator=g).div_(11).requires_grad_() for k in (n, m))
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    triplet_loss(x, labels, references=y, reference_labels=others, mining=rule).backward()
    return status("VmHWM") - before

for skewed in (False, True):
    for rule in ("all", "semihard"):
        growth(rule, 300, 512, skewed)
        for n in (128, 2048):
            print(int(skewed), n, growth(rule, n, 8192, skewed))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
def test_memory_is_that_of_a_few_tiles_and_the_rows():
    """8,192 references of width 128 are 4 MB; their distances to 2,048 anchors would be 64 MB a copy."""
    # What was freed is given back at once, so that every case starts from the same.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=environment
    )
    cases = [line.split() for line in done.stdout.splitlines()]
    assert len(cases) == 8
    for skewed, _, growth in cases:
        assert 8 < float(growth) < (72 if skewed == "1" else 48), done.stdout
