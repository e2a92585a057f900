"""Recommendations: who is named is never shown, and diversity is bought with distance."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.errors import GalleryError, InputError, SettingError
from trine.gallery import Entry, Gallery
from trine.gallery.recommend import AWAY, POOL, diverse


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 4))
    path = tmp_path_factory.mktemp("recommend") / "g.db"
    with Gallery.open(path, dimension=4, fingerprint="x") as opened:
        opened.enrol_many(
            Entry("things", f"{i:03}", row, metadata={"even": i % 2 == 0}) for i, row in enumerate(rows)
        )
        yield opened


def rows_of(gallery):
    return {f"{i:03}": gallery.get(f"{i:03}").embedding.astype(float) for i in range(300)}


def test_more_like_these_and_less_like_those(gallery):
    rows = rows_of(gallery)
    like, unlike = ["000", "001", "002"], ["003", "004"]
    mean = np.mean([rows[i] for i in like], axis=0)
    query = mean + AWAY * (mean - np.mean([rows[i] for i in unlike], axis=0))
    naive = sorted((math.dist(query, row), item) for item, row in rows.items() if item not in like + unlike)
    found = gallery.recommend(like, unlike=unlike, k=12)
    assert [hit.item for hit in found] == [item for _, item in naive[:12]]
    assert [hit.score for hit in found] == pytest.approx([score for score, _ in naive[:12]], rel=1e-5)
    without = [hit.item for hit in gallery.recommend(like, k=12)]
    assert without != [hit.item for hit in found]


def test_a_filter_holds(gallery):
    found = gallery.recommend(["000"], k=20, where={"even": True}, diversity=0.3)
    assert len(found) == 20
    assert all(int(hit.item) % 2 == 0 and hit.metadata == {"even": True} for hit in found)


def loop_diverse(scores, between, k, diversity):
    chosen = []
    while len(chosen) < min(k, len(scores)):
        best = None
        for i in range(len(scores)):
            if i in chosen:
                continue
            apart = min((between[i][j] for j in chosen), default=0)
            gain = diversity * apart - (1 - diversity) * scores[i] if chosen else -scores[i]
            if best is None or gain > best[0]:
                best = (gain, i)
        chosen.append(best[1])
    return chosen


@given(
    points=st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=12),
    k=st.integers(1, 13),
    diversity=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_marginal_relevance_equals_loops(points, k, diversity):
    points = np.array(points, dtype=np.float32)
    scores = (points**2).sum(1)
    between = ((points[:, None] - points) ** 2).sum(2)
    assert diverse(scores, between, k=k, diversity=diversity) == loop_diverse(
        scores.tolist(), between.tolist(), k, diversity
    )


def test_diversity_spreads(gallery):
    rows = rows_of(gallery)

    def spread(diversity):
        found = gallery.recommend(["000", "001"], k=10, diversity=diversity)
        assert len(found) == len({hit.item for hit in found}) == 10
        assert not {hit.item for hit in found} & {"000", "001"}
        pairs = [math.dist(rows[a.item], rows[b.item]) for a in found for b in found if a.item < b.item]
        return np.mean(pairs), np.mean([hit.score for hit in found]), found

    narrow, near, plain = spread(0)
    wide, far, varied = spread(0.7)
    assert wide > 1.1 * narrow
    assert far > near
    assert varied[0] == plain[0]
    pool = gallery.recommend(["000", "001"], k=POOL * 10)
    assert {hit.item for hit in varied} <= {hit.item for hit in pool}


def test_what_cannot_be_recommended(gallery):
    with pytest.raises(InputError, match="name it in like="):
        gallery.recommend([], unlike=["000"])
    with pytest.raises(GalleryError, match="item 'nothing' is not in the gallery"):
        gallery.recommend(["000"], unlike=["nothing"])
    with pytest.raises(SettingError, match=r"diversity must be in \[0, 1\], given 1\.5"):
        gallery.recommend(["000"], diversity=1.5)
    with pytest.raises(SettingError, match="k must be at least 1, given 0"):
        gallery.recommend(["000"], k=0)


def test_nothing_is_left_to_recommend(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="x", distance="cosine") as gallery:
        gallery.enrol("ann", "1", embedding=[1.0, 0.0])
        assert gallery.recommend(["1"]) == []
        assert gallery.recommend(["1"], diversity=0.5) == []
        gallery.enrol("ann", "2", embedding=[0.0, 9.0])
        gallery.enrol("ann", "3", embedding=[5.0, 5.0])
        gallery.enrol("ann", "4", embedding=[-1.0, 1.0])
        # The mean of directions lies half way, however long the rows are.
        assert gallery.recommend(["1", "2"], k=1)[0].item == "3"
