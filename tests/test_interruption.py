"""Long work ends between its pieces where whoever runs it asks for that."""

import threading

import numpy as np
import pytest

from trine.clustering import cluster, extend_clusters
from trine.evaluation import find_label_errors
from trine.evaluation.hardest import hardest_pairs
from trine.gallery import Entry, Gallery
from trine.interruption import check_interruption, interrupted_by
from trine.neighbours import nearest_neighbours

ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
LABELS = np.arange(60) % 12


class EnoughError(Exception):
    pass


class Counted:
    """Ends work at a number of calls; never at none."""

    def __init__(self, most=None):
        self.calls, self.most = 0, most

    def __call__(self):
        self.calls += 1
        if self.calls == self.most:
            raise EnoughError


@pytest.fixture
def gallery():
    with Gallery.open(":memory:", dimension=4, fingerprint="by hand") as made:
        made.enrol_many(
            Entry(f"p{who}", f"{i:02}", row) for i, (who, row) in enumerate(zip(LABELS, ROWS, strict=True))
        )
        yield made


WORK = {
    "search": lambda gallery: nearest_neighbours(ROWS, k=3),
    "average": lambda gallery: extend_clusters(ROWS, np.full(60, -1), threshold=1.0),
    "all pairs": lambda gallery: cluster(ROWS, threshold=1.0, method="complete"),
    "label errors": lambda gallery: find_label_errors(ROWS, LABELS),
    "hard pairs": lambda gallery: hardest_pairs(ROWS, LABELS),
    "calibrate": lambda gallery: gallery.calibrate(0.1),
    "calibrate mean": lambda gallery: gallery.calibrate(0.1, scoring="mean"),
    "calibrate strangers": lambda gallery: gallery.calibrate(0.1, embeddings=ROWS + 9),
    "clusters": lambda gallery: gallery.cluster(threshold=1.0),
    "average clusters": lambda gallery: gallery.cluster(threshold=1.0, linkage="average"),
    "chosen clusters": lambda gallery: gallery.cluster(choose=True),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_work_ends_at_any_piece_and_leaves_the_gallery_as_it_was(gallery, work):
    before, notes = gallery.revision, gallery._store.notes()
    calls, most = 0, 1
    while True:
        check = Counted(most)
        try:
            with interrupted_by(check):
                work(gallery)
        except EnoughError:
            assert (gallery.revision, gallery._store.notes(), gallery.clusters()) == (before, notes, {})
            calls, most = most, 2 * most
        else:
            break
    assert calls, "it is never checked"


def test_only_the_work_of_the_block_ends():
    with interrupted_by(Counted(1)):
        found = []
        thread = threading.Thread(target=lambda: found.append(nearest_neighbours(ROWS, k=1)))
        thread.start()
        thread.join()
        assert len(found) == 1, "another thread works for somebody else"
        with pytest.raises(EnoughError):
            check_interruption()
    check_interruption()
