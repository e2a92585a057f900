"""Rows of tables: the twin in loops, order by name, gaps, and what becomes of them in a gallery."""

import math
from pathlib import Path
from statistics import NormalDist, fmean, median, pstdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trine import Gallery, load
from trine.data import ImageArray, Table, Vectors
from trine.encoders import EncoderRecipe, build_encoder, save
from trine.encoders.scaling import learn_scale, scale
from trine.encoders.tabular import learn_table, prepare_rows
from trine.errors import DataError, InputError, SettingError

NUMBER = st.floats(-1e9, 1e9, allow_subnormal=False) | st.sampled_from([0.0, 1.0])
GAPPY = NUMBER | st.just(math.nan)
WORD = st.sampled_from(["upx", "none", "7", "", "Ä"])


def table(**columns):
    held = {name: np.array(values) for name, values in columns.items()}
    return Table(held, tuple(columns))


def training():
    rng = np.random.default_rng(0)
    size = rng.lognormal(5, 4, 40)
    size[::5] = np.nan
    packer = np.array(["upx", "none", "none", "aspack"] * 9 + ["once", "", "", "upx"])
    return Table(
        {
            "size": size,
            "packer": packer,
            "constant": np.full(40, 3.0),
            "empty": np.full(40, np.nan),
            "entropy": rng.uniform(0, 8, 40),
        },
        ("size", "packer", "constant", "empty", "entropy"),
    )


def encoder_of(items, scaling="robust"):
    recipe = EncoderRecipe(dimension=3, scaling=scaling)
    return build_encoder(items, recipe=recipe)


def quantile_twin(values, level):
    at = level * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    ordered = sorted(values)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def scaled_twin(values, x, scaling):
    if scaling == "standard":
        return (x - fmean(values)) / pstdev(values)
    if scaling == "robust":
        spread = (quantile_twin(values, 0.75) - quantile_twin(values, 0.25)) / 1.349
        return math.asinh((x - median(values)) / (spread if spread > 0 else pstdev(values)))
    return score_twin([quantile_twin(values, level / 50) for level in range(51)], x)


def score_twin(knots, x):
    equal = [level / 50 for level, knot in enumerate(knots) if knot == x]
    if equal:
        share = fmean(equal)
    elif x < knots[0] or x > knots[-1]:
        share = 0.0 if x < knots[0] else 1.0
    else:
        below = max(knot for knot in knots if knot < x)
        above = min(knot for knot in knots if knot > x)
        low = fmean(level / 50 for level, knot in enumerate(knots) if knot == below)
        high = fmean(level / 50 for level, knot in enumerate(knots) if knot == above)
        share = low + (high - low) * (x - below) / (above - below)
    return NormalDist().inv_cdf(min(max(share, 0.001), 0.999))


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
@given(values=st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), x=st.integers(-2000, 2000))
def test_scaling_equals_the_twin(scaling, values, x):
    points = learn_scale(np.array(values, dtype=np.float64), scaling=scaling)
    if len(set(values)) == 1:
        assert points == ()
        return
    if scaling == "quantile":
        knots = [quantile_twin(values, level / 50) for level in range(51)]
        assert points == pytest.approx(knots, rel=1e-9, abs=1e-9)
    for value in (*values[:3], x):  # values of the training, and another one
        found = scale(np.array([value], dtype=np.float64), points, scaling=scaling)[0]
        # From the points as they are: a step is at another place where a knot is off by a rounding error.
        expected = score_twin(points, value) if scaling == "quantile" else scaled_twin(values, value, scaling)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_huge_values_do_not_overflow(scaling):
    values = np.array([1e300, -1e300, 5e299, 1.0])
    points = learn_scale(values, scaling=scaling)
    assert np.isfinite(points).all()
    assert np.isfinite(scale(values, points, scaling=scaling)).all()


def test_a_large_number_keeps_the_digits_that_float32_would_lose():
    address = 0x7FFF_0000_0000 + np.arange(8, dtype=np.float64)
    assert len(np.unique(address.astype(np.float32))) == 1
    batch = prepare_rows(table(a=address), table=learn_table(table(a=address), scaling="standard"))
    assert len(np.unique(batch.numpy())) == 8


def test_whole_numbers_that_float64_does_not_hold_are_standardised_by_their_digits():
    for first in (2**60, -(2**60), 2**63 - 8, 1_700_000_000_000_000_000):
        moments = table(a=np.array([first + at for at in range(8)]))
        learned = learn_table(moments, scaling="standard")
        batch = prepare_rows(moments, table=learned).numpy()[:, 0]
        np.testing.assert_allclose(batch, (np.arange(8) - 3.5) / np.arange(8).std(), rtol=1e-6)
        rows = prepare_rows([{"a": first + at} for at in range(8)], table=learned).numpy()[:, 0]
        np.testing.assert_array_equal(rows, batch)


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e39, 1e300])
@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "length"])
def test_the_scale_of_numbers_does_not_matter(scaling, scale):
    rows = np.random.default_rng(3).normal(size=(20, 3))
    recipe = EncoderRecipe(dimension=2, scaling=scaling)
    usual = build_encoder(Vectors(rows), recipe=recipe).embed(rows)
    found = build_encoder(Vectors(rows * scale), recipe=recipe).embed(rows * scale)
    np.testing.assert_allclose(found, usual, atol=1e-5)


def test_rows_too_far_from_the_training_rows_are_named():
    rows = np.random.default_rng(5).normal(size=(20, 3))
    far = rows.copy()
    far[3, 1] = 1e200
    with pytest.raises(
        InputError, match=r"item 3 is too far from the training items to have a finite embedding"
    ):
        build_encoder(Vectors(rows), recipe=EncoderRecipe(dimension=2)).embed(far)


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12])
def test_numbers_far_from_zero_are_standardised_before_they_become_float32(offset):
    rows = np.random.default_rng(4).normal(size=(20, 3)).round(3)
    recipe = EncoderRecipe(dimension=2)
    usual = build_encoder(Vectors(rows), recipe=recipe).embed(rows)
    np.testing.assert_allclose(
        build_encoder(Vectors(rows + offset), recipe=recipe).embed(rows + offset), usual, atol=2e-3
    )


def test_features_of_each_kind_of_column():
    items = training()
    learned = learn_table(items, scaling="robust")
    size, packer, constant, empty, entropy = learned.columns
    assert (size.features, packer.features, constant.features, empty.features, entropy.features) == (
        2,
        5,
        0,
        0,
        1,
    )
    assert packer.categories == ("", "aspack", "none", "upx")  # "once" is too rare to stand alone
    known = items.columns["size"][~np.isnan(items.columns["size"])]
    assert size.fill == np.median(known)
    batch = prepare_rows(items, table=learned).numpy()
    assert batch.shape == (40, 8) == (40, learned.features)
    for row in range(40):
        value = items.columns["size"][row]
        gap = math.isnan(value)
        wanted = scaled_twin(known.tolist(), size.fill if gap else value, "robust")
        assert batch[row, :2] == pytest.approx([wanted, float(gap)], rel=1e-5, abs=1e-6)
        name = items.columns["packer"][row]
        hot = [float(name == category) for category in packer.categories]
        assert batch[row, 2:7].tolist() == [*hot, float(name == "once")]


def test_unknown_categories_are_one_and_codes_are_the_same_as_numbers_and_texts():
    items = table(code=["007", "7", "332", "332", "x", "x"], v=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    learned = learn_table(items, scaling="standard")
    assert learned.columns[0].categories == ("332", "7", "x")
    one, other, third = (
        prepare_rows(table(code=code, v=[0.0, 0.0]), table=learned).numpy()
        for code in (["0332", "new"], [332.0, 8.0], ["332.0", "332x"])
    )
    assert one[0, :4].tolist() == [1, 0, 0, 0]
    assert one[1, :4].tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, third)


@settings(max_examples=25)
@given(data=st.data(), scaling=st.sampled_from(["standard", "robust", "quantile"]))
def test_gaps_and_strange_values_never_give_nan_and_order_does_not_matter(data, scaling):
    encoder = encoder_of(training(), scaling)
    count = data.draw(st.integers(1, 6))
    draw = {
        "size": data.draw(st.lists(GAPPY, min_size=count, max_size=count)),
        "packer": data.draw(st.lists(WORD, min_size=count, max_size=count)),
        "entropy": data.draw(st.lists(GAPPY, min_size=count, max_size=count)),
        "more": data.draw(st.lists(GAPPY, min_size=count, max_size=count)),
    }
    items = table(**draw)
    rows = encoder.embed(items)
    assert np.isfinite(rows).all()
    order = data.draw(st.permutations(list(draw)))
    np.testing.assert_array_equal(encoder.embed(table(**{name: draw[name] for name in order})), rows)
    turned = data.draw(st.permutations(range(count)))
    np.testing.assert_allclose(encoder.embed(items.subset(turned)), rows[turned], atol=1e-5)
    np.testing.assert_allclose(encoder.embed([items[i] for i in range(count)]), rows, atol=1e-5)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_a_saved_encoder_gives_equal_embeddings(tmp_path: Path, scaling):
    items = training()
    encoder = encoder_of(items, scaling)
    save(encoder, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.settings == encoder.settings
    np.testing.assert_array_equal(again.embed(items), encoder.embed(items))


def test_a_gallery_knows_rows_again(tmp_path: Path):
    items = training()
    encoder = encoder_of(items)
    with Gallery.open(tmp_path / "rows", encoder=encoder) as gallery:
        for at in range(10):
            gallery.enrol(f"family {at}", f"row {at}", content=items[at])
        probe = {"entropy": items[5]["entropy"], "packer": items[5]["packer"], "size": None, "other": "x"}
        answer = gallery.identify(probe, threshold=1e-3)
        assert answer.identity == "family 5"  # its size is missing, in the gallery as well
        answers = gallery.identify_many(items.subset(range(10)), threshold=1e-3)
        assert [found.identity for found in answers] == [f"family {at}" for at in range(10)]


def test_arrays_with_gaps_and_arrays_for_tables():
    rows = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    rows[3, 1] = np.nan
    encoder = build_encoder(Vectors(rows), recipe=EncoderRecipe(dimension=2))
    assert encoder.settings.shape == (4,)
    assert np.isfinite(encoder.embed(rows)).all()
    named = Table({"a": rows[:, 0], "b": rows[:, 1], "c": rows[:, 2]}, ("a", "b", "c"))
    np.testing.assert_array_equal(encoder.embed(named), encoder.embed(rows))
    np.testing.assert_array_equal(encoder_of(named).embed(rows), encoder_of(named).embed(named))


def test_plain_arrays_are_prepared_as_they_are():
    rows = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    encoder = build_encoder(Vectors(rows), recipe=EncoderRecipe(dimension=2))
    assert encoder.settings.table is None
    np.testing.assert_array_equal(encoder.prepare(Vectors(rows)).numpy(), rows)
    np.testing.assert_allclose(encoder.mean, rows.mean(axis=0), atol=1e-6)
    with pytest.raises(InputError, match=r"item 0 holds NaN or infinity"):
        encoder.embed(np.full((1, 3), np.nan, dtype=np.float32))
    with pytest.raises(
        InputError, match=r"item 0 has named columns, but this encoder was trained on arrays of 3"
    ):
        encoder.embed([{"a": 1.0}])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            table(size=[1.0], entropy=[1.0]),
            r"no column 'packer', which this encoder was trained on: known: size",
        ),
        (
            table(size=["big"], entropy=[1.0], packer=["a"]),
            r"item 0 has 'big' in column 'size', but .* numbers",
        ),
        (table(size=[np.inf], entropy=[1.0], packer=["a"]), r"item 0 holds infinity in column 'size'"),
        ([{"size": 1.0, "packer": "a"}], r"item 0 has no column 'entropy'"),
        ([{"size": [1], "packer": "a", "entropy": 1.0}], r"item 0 has a list in column 'size'"),
        (np.zeros((2, 5)), r"column 'packer' holds texts, but arrays hold numbers"),
        (np.zeros((2, 4)), r"item 0 has shape \(4,\), but this encoder takes vectors of 5 features"),
    ],
)
def test_rows_that_do_not_fit_are_refused(items, message):
    with pytest.raises(InputError, match=message):
        encoder_of(training()).embed(items)


def test_training_items_that_cannot_be_learned_from():
    with pytest.raises(DataError, match=r"each of the 2 columns is constant"):
        encoder_of(table(a=[1.0, 1.0], b=["x", "x"]))
    with pytest.raises(DataError, match=r"training item 1 holds infinity in column 'a'"):
        encoder_of(table(a=[1.0, np.inf]))
    with pytest.raises(SettingError, match=r"encoder.scaling is 'robust', which is for numbers"):
        encoder_of(ImageArray(np.zeros((4, 8, 8), dtype=np.uint8)))
    by_place = build_encoder(Vectors(np.eye(3, dtype=np.float32)), recipe=EncoderRecipe(scaling="robust"))
    with pytest.raises(
        InputError, match=r"item 0 has named columns, but this encoder was trained on arrays of 3"
    ):
        by_place.embed([{"a": 1.0}])
    with pytest.raises(InputError, match=r"items have 2 numbers, but this encoder takes 3; give"):
        by_place.embed(table(a=np.zeros(4), b=np.ones(4)))
