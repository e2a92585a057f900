"""How identities are ranked, against loops over everything."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gallery_stores import sqlite
from trine.errors import GalleryError, InputError, SettingError
from trine.gallery import Entry, Gallery

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cid", "dan"]),
        st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
        st.sampled_from([0, 0.25, 0.5, 1]),
    ),
    max_size=25,
)


def opened(path, rows, **opening):
    gallery = Gallery.open(path, dimension=2, fingerprint="x", threshold=3.0, **opening)
    gallery.enrol_many(
        Entry(identity, f"{i:02}", vector, metadata={"sharp": quality})
        for i, (identity, vector, quality) in enumerate(rows)
    )
    return gallery


def of_each(rows):
    people = {}
    for i, (identity, vector, quality) in enumerate(rows):
        people.setdefault(identity, []).append((f"{i:02}", np.array(vector, dtype=float), quality))
    return people


def loop_mean(theirs, probe, *, top, weighed):
    nearest = sorted((math.dist(probe, vector), item, quality) for item, vector, quality in theirs)[:top]
    weights = [quality if weighed else 1 for _, _, quality in nearest]
    if sum(weights) == 0:
        weights = [1] * len(nearest)
    total = sum(w * d for w, (d, _, _) in zip(weights, nearest, strict=True))
    return total / sum(weights), nearest[0][1]


def loop_centroid(theirs, probe, *, weighed):
    weights = [quality if weighed else 1 for *_, quality in theirs]
    if sum(weights) == 0:
        weights = [1] * len(theirs)
    centre = sum(w * v for w, (_, v, _) in zip(weights, theirs, strict=True)) / sum(weights)
    if all(abs(math.hypot(*v) - 1) < 1e-3 for _, v, _ in theirs) and centre.any():
        centre = centre / math.hypot(*centre)
    return math.dist(probe, centre)


@given(rows=ROWS, probe=st.tuples(st.integers(-4, 4), st.integers(-4, 4)), top=st.integers(1, 4),
       candidates=st.integers(1, 4), weighed=st.booleans())  # fmt: skip
def test_mean_of_the_nearest_few_equals_loops(rows, probe, top, candidates, weighed):
    with sqlite() as path, opened(path, rows) as gallery:
        found = gallery.identify(
            embedding=probe,
            scoring="mean",
            top=top,
            candidates=candidates,
            quality="sharp" if weighed else None,
        )
    naive = {
        identity: loop_mean(theirs, probe, top=top, weighed=weighed)
        for identity, theirs in of_each(rows).items()
    }
    scores = sorted(score for score, _ in naive.values())
    assert len(found.candidates) == min(candidates, len(naive))
    for candidate, score in zip(found.candidates, scores, strict=False):
        assert candidate.score == pytest.approx(score, abs=1e-6)
        assert candidate.score == pytest.approx(naive[candidate.identity][0], abs=1e-6)
        assert candidate.item == naive[candidate.identity][1]
    if len(scores) > 1:
        assert found.margin == pytest.approx(scores[1] - scores[0], abs=2e-6)
    assert (found.identity is None) == (not scores or found.score > 3)


@given(rows=ROWS, probe=st.tuples(st.integers(-4, 4), st.integers(-4, 4)), candidates=st.integers(1, 4),
       weighed=st.booleans())  # fmt: skip
def test_centroids_equal_loops(rows, probe, candidates, weighed):
    with sqlite() as path, opened(path, rows) as gallery:
        found = gallery.identify(
            embedding=probe, scoring="centroid", candidates=candidates, quality="sharp" if weighed else None
        )
    naive = {
        identity: loop_centroid(theirs, probe, weighed=weighed) for identity, theirs in of_each(rows).items()
    }
    assert len(found.candidates) == min(candidates, len(naive))
    for candidate, score in zip(found.candidates, sorted(naive.values()), strict=False):
        assert candidate.score == pytest.approx(score, abs=1e-6)
        assert candidate.score == pytest.approx(naive[candidate.identity], abs=1e-6)
        assert candidate.item is None


def test_a_steadier_score_changes_who_it_is(tmp_path):
    rows = [("lucky", (0, 1), 1), ("lucky", (9, 9), 1), ("lucky", (9, 8), 1), *[("steady", (0, 2), 1)] * 3]
    with opened(tmp_path / "g.db", rows) as gallery:
        probe = {"embedding": (0, 0)}
        assert gallery.identify(**probe).nearest == "lucky"
        assert gallery.identify(**probe, scoring="mean").nearest == "steady"
        assert gallery.identify(**probe, scoring="mean", top=1) == gallery.identify(**probe)
        assert gallery.identify(**probe, scoring="centroid").nearest == "steady"


def test_a_poor_picture_counts_less(tmp_path):
    rows = [("ann", (0, 1), 1.0), ("ann", (0, 3), 0.25), ("bob", (0, 2), 1.0)]
    with opened(tmp_path / "g.db", rows) as gallery:
        probe = {"embedding": (0, 0), "scoring": "mean"}
        plain, weighed = gallery.identify(**probe), gallery.identify(**probe, quality="sharp")
        assert {c.identity: c.score for c in plain.candidates} == {"ann": 2.0, "bob": 2.0}
        assert (weighed.nearest, weighed.score) == ("ann", pytest.approx((1 + 0.75) / 1.25))


def test_centroids_of_an_encoders_unit_rows_lie_on_the_sphere(tmp_path):
    rows = [("ann", (1, 0), 1), ("ann", (0, 1), 1)]
    half = (0.5**0.5, 0.5**0.5)
    with opened(tmp_path / "g.db", rows) as gallery:
        assert gallery.identify(embedding=half, scoring="centroid").score == pytest.approx(0, abs=1e-6)
    with opened(
        tmp_path / "cosine.db", [("ann", (5, 0), 1), ("ann", (0, 1), 1)], distance="cosine"
    ) as gallery:
        assert gallery.identify(embedding=half, scoring="centroid").score == pytest.approx(0, abs=1e-6)


def test_centroids_follow_what_is_written(tmp_path):
    with opened(tmp_path / "g.db", [("ann", (0, 4), 1)]) as gallery, opened(tmp_path / "g.db", []) as other:
        assert gallery.identify(embedding=(0, 0), scoring="centroid").score == 4
        other.enrol("ann", "new", embedding=(0, -4))
        assert gallery.identify(embedding=(0, 0), scoring="centroid").score == 0
        other.forget("ann")
        assert gallery.identify(embedding=(0, 0), scoring="centroid").nearest is None


def test_many_probes_are_answered_as_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(f"id {i % 9}", tuple(rng.standard_normal(2).tolist()), 1) for i in range(90)]
    probes = rng.standard_normal((7, 2))
    with opened(tmp_path / "g.db", rows) as gallery:
        for how in ({}, {"scoring": "mean"}, {"scoring": "centroid"}, {"candidates": 9}):
            together = gallery.identify_many(embeddings=probes, **how)
            assert together == [gallery.identify(embedding=probe, **how) for probe in probes]
        assert len(gallery.identify(embedding=probes[0], candidates=20).candidates) == 9
        found = gallery.identify(embedding=probes[0], candidates=1)
        assert len(found.candidates) == 1
        assert found.margin is not None


@pytest.mark.usefixtures("as_in_production")
def test_what_cannot_be_ranked(tmp_path):
    with opened(tmp_path / "g.db", [("ann", (0, 4), 1)]) as gallery:
        for wrong, message in [
            ({"scoring": "median"}, "unknown scoring 'median'"),
            ({"scoring": "mean", "top": 0}, "top must be at least 1, given 0"),
            ({"candidates": 0}, "candidates must be at least 1, given 0"),
            ({"quality": "sharp"}, "quality= weights the embeddings of a mean or a centroid: pass scoring="),
        ]:
            with pytest.raises((InputError, SettingError), match=message):
                gallery.identify(embedding=(0, 0), **wrong)
        for metadata, given in [({}, "None"), ({"blur": "much"}, "'much'"), ({"blur": 1.5}, "1.5")]:
            gallery.enrol("ann", "00", embedding=(0, 4), metadata=metadata)
            for scoring in ("mean", "centroid"):
                with pytest.raises(
                    GalleryError, match=f"'00' has no quality between 0 and 1 under 'blur' .* given {given}"
                ):
                    gallery.identify(embedding=(0, 0), scoring=scoring, quality="blur")
