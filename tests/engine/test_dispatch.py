"""Every implementation against the naive twin, and the tiles against float64, in every geometry."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.backends import (
    BACKENDS,
    FLOAT64,
    GEOMETRIES,
    SHAPES,
    Problem,
    assert_close,
    computed,
    hold_against_twin,
    in_proportion,
    made,
    objective,
    problem_of,
    problems,
    shuffled,
    small_tiles,
    takes_tiles,
    tiles,
)
from trine import triplet_loss
from trine.distances import DISTANCES
from trine.engine.dispatch import all_pairs_loss
from trine.engine.layout import rectangular_layout
from trine.triplets import PRESETS

TILED = ["all", "hard", "semihard", "semihard-strict", "easy-positive-hard", "easy-positive-semihard"]
REDUCTIONS = ["active", "mean", "anchor", "sum"]
generated = {
    "distance": st.sampled_from(["euclidean", "squared_euclidean"]),
    "reduction": st.sampled_from(REDUCTIONS),
    "margin": st.sampled_from([0.0137, 0.2173, 1.3131, None]),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", TILED)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@given(data=st.data(), many=st.sampled_from([2, 100]), **generated)
def test_tiles_equal_the_twin(backend, rule, geometry, data, many, distance, reduction, margin):
    problem, margin = in_proportion(data.draw(problems(geometry)), margin, distance)
    settings = {"distance": distance, "reduction": reduction, "margin": margin}
    got = computed(problem, small_tiles(backend, many=many), mining=rule, mining_margin=0.313, **settings)
    hold_against_twin(got, problem, rule, **settings)


@pytest.mark.parametrize(
    ("way", "rule"),
    [(way, name) for way in ("blocks", "small batch") for name in PRESETS if name != "weighted"]
    + [("small batch, proposed by float32", name) for name in ("hard", "easy-positive-hard")],
)
@given(problem=problems("square", max_rows=9), **generated)
def test_float64_equals_the_twin(way, rule, problem, distance, reduction, margin):
    problem, margin = in_proportion(problem, margin, distance)
    settings = {"distance": distance, "reduction": reduction, "margin": margin}
    got = computed(problem, FLOAT64[way], mining=rule, mining_margin=0.313, **settings)
    hold_against_twin(got, problem, rule, **settings)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("rule", "margin", "reduction"),
    [
        ("all", 0.2, None),
        ("all", 0.2, "anchor"),
        ("all", None, None),
        ("hard", 2.1, None),
        ("semihard", 2.1, "anchor"),
        ("semihard", None, "sum"),
        ("semihard-strict", 0.2, None),
    ],
)
def test_tiles_equal_float64(shape, geometry, distance, rule, margin, reduction):
    problem = problem_of(geometry, shape=shape)
    settings = {"mining": rule, "margin": margin, "distance": distance, "reduction": reduction}
    expected = computed(problem.double(), **settings)
    assert expected[0] > 0.01
    for backend in BACKENDS:
        plan = tiles(backend, 64, tile_pairs=1500, positive_pairs=600, ranks_from=8, dense_from=5)
        assert takes_tiles(problem, plan, **settings)
        # A triplet within rounding of the hinge may fall on either side of it.
        # Without fused multiply-add, float32 values are 6e-6 apart.
        gradient = 1e-3 if margin == 0.2 else 1e-5
        assert_close(computed(problem, plan, **settings), expected, value=2e-5, gradient=gradient)


@pytest.mark.parametrize("geometry", ["square", "apart"])
@pytest.mark.parametrize("kind", ["collapsed", "tight 1e-3", "tight 1e-4", "duplicated", "with zero rows"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("rule", TILED)
def test_accuracy_where_products_of_float32_lose_their_digits(geometry, kind, distance, rule):
    problem = problem_of(geometry, kind, "fours", rows=400)
    settings = {"mining": rule, "margin": 3.0, "distance": distance}
    expected = computed(problem.double(), **settings)
    assert all(gradient.norm() > 0 for gradient in expected[1:])
    for plan in (*FLOAT64.values(), *(tiles(backend, 128, tile_pairs=1500) for backend in BACKENDS)):
        assert_close(computed(problem, plan, **settings), expected, value=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("geometry", ["square", "apart"])
@pytest.mark.parametrize("rule", ["all", "hard", "semihard"])
@pytest.mark.parametrize("margin", [0.2, None])
def test_results_depend_neither_on_the_tiles_nor_on_the_threads(backend, geometry, rule, margin):
    problem, results = problem_of(geometry, rows=600), []
    for height, workers in ((64, 1), (100, 1), (256, 1), (37, 3)):
        plan = tiles(backend, height, tile_pairs=40 * height, workers=workers)
        results.append(computed(problem, plan, mining=rule, margin=margin))
    for result in results[1:]:
        assert_close(result, results[0], gradient=5e-6)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_gradient_of_any_worker_is_lost(backend):
    """Which worker starts first is chance: the gradient is whole whichever it is."""
    problem = problem_of("square", rows=600)
    expected = computed(problem, tiles(backend, 64, tile_pairs=2560), mining="all", margin=0.2)
    plan = tiles(backend, 37, tile_pairs=1480, workers=3)
    for _ in range(8):
        assert_close(computed(problem, plan, mining="all", margin=0.2), expected, gradient=5e-6)


@pytest.mark.parametrize("rows", [57, 131, 192])
@pytest.mark.parametrize("rule", ["all", "hard", "semihard", "semihard-band"])
@pytest.mark.parametrize("margin", [0.2, None])
def test_small_batches_give_the_same_bits_on_any_number_of_threads(rows, rule, margin):
    for shape in ("fours", "skewed"):
        problem = Problem(made("random", SHAPES[shape](rows), width=130), SHAPES[shape](rows))
        results = []
        try:
            for threads in (1, 2, 3, 4):
                torch.set_num_threads(threads)
                results.append(computed(problem, mining=rule, margin=margin, mining_margin=0.2))
        finally:
            torch.set_num_threads(1)
        assert results[0][0] > 0
        for result in results[1:]:
            assert all(torch.equal(mine, first) for mine, first in zip(result, results[0], strict=True))


@pytest.mark.parametrize("rule", TILED)
def test_tiles_begin_beyond_small_batches(rule):
    for rows, tiled in ((192, False), (196, True)):
        labels = torch.arange(rows) // 4
        problem = Problem(made("random", labels), labels)
        assert takes_tiles(problem, mining=rule) == tiled
        assert not takes_tiles(problem.double(), mining=rule)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_soft_margin_at_distances_beyond_the_exponential(backend, geometry):
    problem = problem_of(geometry, shape="fours", rows=220).scaled(200)
    settings = {"mining": "all", "margin": None}
    got = computed(problem, tiles(backend, 64, tile_pairs=1500), **settings)
    assert_close(got, computed(problem.double(), **settings), value=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_soft_margin_keeps_small_terms(backend):
    problem = problem_of("square", "tight 1e-2", "fours", rows=220).scaled(3)
    settings = {"mining": "all", "margin": None, "distance": "squared_euclidean"}
    expected = computed(problem.double(), **settings)
    assert expected[0] < 1e-3
    assert_close(computed(problem, tiles(backend, 64), **settings), expected, value=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("margin", [1.0, 1.1, 1.2])
@pytest.mark.parametrize("geometry", ["square", "apart"])
def test_few_active_triplets_equal_float64(backend, margin, geometry):
    problem = problem_of(geometry, "tight 1e-2", "fours", rows=360)
    # A triplet within rounding of the hinge may or may not be counted: of a sum it is nothing.
    settings = {"mining": "all", "margin": margin, "reduction": "sum"}
    expected = computed(problem.double(), **settings)
    assert all(gradient.norm() > 0 for gradient in expected[1:])
    assert_close(computed(problem, tiles(backend, 90), **settings), expected, value=1e-5, gradient=5e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("geometry", ["square", "apart"])
@pytest.mark.parametrize("rule", ["all", "hard", "semihard"])
def test_half_precision_is_computed_in_float32(dtype, backend, geometry, rule):
    problem = problem_of(geometry, shape="fours", rows=230).scaled(1e3).to(dtype)
    plan = tiles(backend, 64)
    half = computed(problem, plan, mining=rule)
    full = computed(problem.to(torch.float32), plan, mining=rule)
    assert half[0] == full[0]
    for mine, gradient in zip(half[1:], full[1:], strict=True):
        assert torch.isfinite(mine).all()
        torch.testing.assert_close(mine, gradient.to(dtype).double(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15])
@pytest.mark.parametrize("geometry", ["square", "apart"])
def test_huge_and_tiny_norms(scale, geometry):
    problem = problem_of(geometry, rows=500)
    value, *gradients = computed(problem, mining="hard", margin=0.0)
    got = computed(problem.scaled(scale), mining="hard", margin=0.0)
    torch.testing.assert_close(got[0], value * scale, rtol=1e-5, atol=0)
    for mine, gradient in zip(got[1:], gradients, strict=True):
        torch.testing.assert_close(mine, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rule", ["all", "hard"])
def test_rows_that_are_not_finite_make_the_loss_nan(rule):
    for rows in (6, 300):
        embeddings = torch.randn(rows, 4)
        embeddings[2, 1] = torch.inf
        value, gradient = computed(Problem(embeddings, torch.arange(rows) // 3), mining=rule)
        assert torch.isnan(value)
        assert torch.isnan(gradient).all()


def test_labels_are_compared_as_64_bit_integers_in_tiles():
    labels = 2**60 + torch.arange(300) // 3
    embeddings = made("random", labels)
    small = triplet_loss(embeddings, torch.arange(300) // 3, mining="all")
    assert triplet_loss(embeddings, labels, mining="all") == small > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", TILED)
def test_parts_of_the_anchors_add_up_to_the_whole(backend, rule):
    """What several processes rely on: local anchors against gathered references, ids the global rows."""
    labels = shuffled("uneven", 270)
    embeddings, rows = made("random", labels), torch.arange(270)
    settings = {"mining": rule, "reduction": "sum", "margin": 1.7}
    value, gradient = computed(Problem(embeddings.double(), labels), **settings)
    total, gathered, local = 0.0, torch.zeros(270, 24, dtype=torch.float64), []
    for part in rows.split(100):
        problem = Problem(embeddings[part], labels[part], embeddings, labels, part, rows)
        got = computed(problem, tiles(backend, 50, tile_pairs=5000, ranks_from=8), **settings)
        total += got[0]
        local.append(got[1])
        gathered += got[2]
    assert_close((total, gathered + torch.cat(local)), (value, gradient), value=1e-6)


@pytest.mark.parametrize("rule", ["all", "semihard"])
def test_an_item_of_two_labels_is_left_to_float64(rule):
    problem = problem_of("apart")
    problem.reference_ids[0] = problem.ids[(problem.labels != problem.others[0]).nonzero()[0, 0]]
    assert rectangular_layout(problem.batch().relations) is None
    got, expected = (computed(problem, plan, mining=rule) for plan in (tiles("torch"), FLOAT64["blocks"]))
    assert all(torch.equal(mine, exact) for mine, exact in zip(got, expected, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", ["hard", "semihard", "easy-positive-semihard"])
@pytest.mark.parametrize("copies", [3, 12])
@pytest.mark.parametrize("many", [2, 100])
def test_ties_go_to_the_lowest_reference(backend, rule, copies, many):
    g = torch.Generator().manual_seed(1)
    x, places = torch.randn(20, 6, generator=g), torch.randn(30, 6, generator=g)
    order = torch.randperm(30 * copies, generator=g)
    y, others = places.repeat(copies, 1)[order], (torch.arange(30) % 5).repeat(copies)[order]
    problem = Problem(x, torch.arange(20) % 5, y, others)
    expected = computed(problem.double(), mining=rule)
    if rule != "semihard":  # which takes every copy for a positive
        assert (expected[2] != 0).any(1).sum() <= 30
    plan = tiles(backend, 6, tile_pairs=200, sorted_from=many)
    for mine, exact in zip(computed(problem, plan, mining=rule), expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", ["all", "hard", "semihard"])
@pytest.mark.parametrize("plan", [*BACKENDS, "blocks"])
def test_only_the_side_that_needs_a_gradient_has_one(rule, plan):
    problem = problem_of("apart")
    plan = FLOAT64.get(plan) or tiles(plan, 64, sorted_from=5)
    goal, relations = objective(problem, mining=rule), problem.batch().relations
    results = {
        needs: all_pairs_loss(problem.x, problem.y, relations, goal, *needs, plan)
        for needs in ((True, True), (True, False), (False, True), (False, False))
    }
    both = results[True, True]
    for needs, found in results.items():
        assert found[0] == both[0]
        for side, gradient in enumerate(found[1:]):
            assert (gradient is not None) == needs[side]
            if gradient is not None:
                torch.testing.assert_close(gradient, both[1 + side])


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
    # Freed memory is given back at once, so that every case starts from the same.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=environment
    )
    cases = [line.split() for line in done.stdout.splitlines()]
    assert len(cases) == 8
    for skewed, _, growth in cases:
        assert 8 < float(growth) < (72 if skewed == "1" else 48), done.stdout
