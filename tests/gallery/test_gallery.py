import itertools
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.fake_encoder import FakeEncoder, calibration
from support.gallery_stores import open_with_small_segments
from support.paths import SHARED_DATA
from support.promises import promise
from trine.data import Dataset, Vectors, read_items
from trine.encoders import Encoder
from trine.encoders.settings import EncoderSettings, MlpSettings
from trine.errors import CalibrationError, GalleryError, InputError, SettingError
from trine.gallery import Binding, Enrolment, Entry, Gallery, Threshold, verify

FACES = SHARED_DATA / "faces_orl"


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="by hand", threshold=1.0) as opened:
        yield opened


def test_an_empty_gallery_knows_nobody(gallery):
    assert len(gallery) == 0
    assert gallery.identities() == {}
    assert gallery.search(embedding=[0.0, 0.0]) == []
    decision = gallery.identify(embedding=[0.0, 0.0])
    assert (decision.identity, decision.nearest, decision.score) == (None, None, math.inf)
    assert gallery.remove("nothing") is False
    assert gallery.forget("nobody") == 0


def test_one_item_is_enough(gallery):
    gallery.enrol("ann", "ann/1", embedding=[3.0, 4.0])
    decision = gallery.identify(embedding=[3.0, 4.5])
    assert (decision.identity, decision.item, decision.score) == ("ann", "ann/1", 0.5)
    assert (decision.runner_up, decision.margin) == (None, None)
    assert gallery.identify(embedding=[0.0, 0.0]).identity is None
    assert gallery.identify(embedding=[0.0, 0.0], threshold=5.0).identity == "ann"


def test_an_identity_is_scored_by_its_best_embedding_and_the_runner_up_is_another(gallery):
    for i in range(40):  # more of one identity than the first look sees
        gallery.enrol("ann", f"ann/{i}", embedding=[0.1 * i, 0.0])
    gallery.enrol("bob", "bob/1", embedding=[0.0, 5.0])
    gallery.enrol("cid", "cid/1", embedding=[0.0, 4.0])
    decision = gallery.identify(embedding=[0.0, 0.0])
    assert (decision.identity, decision.item, decision.score) == ("ann", "ann/0", 0.0)
    assert (decision.runner_up, decision.runner_up_score, decision.margin) == ("cid", 4.0, 4.0)


def test_ties_go_to_the_name_that_sorts_first(gallery):
    for item in ("c", "a", "d", "b", "e"):
        gallery.enrol(f"of {item}", item, embedding=[1.0, 0.0])
    assert [hit.item for hit in gallery.search(embedding=[0.0, 0.0], k=3)] == ["a", "b", "c"]
    decision = gallery.identify(embedding=[0.0, 0.0])
    assert (decision.identity, decision.runner_up, decision.margin) == ("of a", "of b", 0.0)


def test_hits_bring_metadata_nearest_first(gallery):
    metadata = {"year": 1999, "tags": ["ß", "日本"], "nested": {"ok": True, "none": None}}
    gallery.enrol("ann", "far", embedding=[0.0, 2.0])
    gallery.enrol("bob", "near", embedding=[0.0, 1.0], metadata=metadata)
    hits = gallery.search(embedding=np.zeros(2), k=10)
    assert [(h.item, h.identity, h.score, h.metadata) for h in hits] == [
        ("near", "bob", 1.0, metadata),
        ("far", "ann", 2.0, {}),
    ]
    assert gallery.get("near").metadata == metadata


def test_enrolling_again_changes_nothing_and_another_embedding_replaces(gallery):
    entries = [Entry("ann", "1", [0.0, 0.0]), Entry("ann", "2", [1.0, 0.0]), Entry("bob", "3", [2.0, 0.0])]
    assert gallery.enrol_many(entries) == Enrolment(new=3)
    assert gallery.enrol_many(entries) == Enrolment(unchanged=3)
    changed = [
        Entry("ann", "1", [0.0, 9.0]),
        Entry("cid", "3", [2.0, 0.0]),
        Entry("ann", "2", [1.0, 0.0], None),
    ]
    assert gallery.enrol_many(changed) == Enrolment(replaced=2, unchanged=1)
    assert gallery.identities() == {"ann": 2, "cid": 1}
    assert gallery.search(embedding=[0.0, 9.0], k=1)[0].item == "1"
    assert gallery.enrol_many([Entry("ann", "4", [0.0, 0.0]), Entry("ann", "4", [0.0, 7.0])]) == Enrolment(
        new=1
    )
    assert gallery.get("4").embedding.tolist() == [0.0, 7.0]


def test_new_metadata_alone_replaces_too(gallery):
    gallery.enrol("ann", "1", embedding=[0.0, 0.0], metadata={"x": 1, "y": 2})
    assert gallery.enrol_many([Entry("ann", "1", [0.0, 0.0], metadata={"y": 2, "x": 1})]).unchanged == 1
    assert gallery.enrol_many([Entry("ann", "1", [0.0, 0.0], metadata={"x": 1})]).replaced == 1
    assert gallery.search(embedding=[0.0, 0.0])[0].metadata == {"x": 1}


def test_an_identity_that_lost_its_items_leaves_no_name_behind(gallery):
    gallery.enrol("mistaken", "1", embedding=[0.0, 0.0])
    gallery.enrol("right", "1", embedding=[0.0, 0.0])
    gallery.enrol("removed", "2", embedding=[0.0, 0.0])
    gallery.remove("2")
    assert gallery._store._database.run("SELECT name FROM identities").fetchall() == [("right",)]


def test_a_stream_is_enrolled_chunk_by_chunk_and_stays_where_it_broke(gallery):
    done = []

    def stream():
        for i in range(7):
            yield Entry("ann", str(i), [float(i), 0.0])
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        gallery.enrol_many(stream(), chunk=3, progress=done.append)
    assert done == [3, 6]
    assert len(gallery) == 6
    with pytest.raises(SettingError, match="chunk must be at least 1, given 0"):
        gallery.enrol_many([], chunk=0)


def test_one_bad_entry_refuses_its_chunk(gallery):
    entries = [Entry("ann", "1", [0.0, 0.0]), Entry("ann", "2", [0.0, math.nan])]
    with pytest.raises(GalleryError, match="the embedding of '2' is not finite: check the item"):
        gallery.enrol_many(entries)
    assert len(gallery) == 0


def test_removing_the_last_item_removes_the_identity(gallery):
    gallery.enrol("ann", "1", embedding=[0.0, 0.0])
    gallery.enrol("bob", "2", embedding=[1.0, 0.0])
    assert gallery.remove("1") is True
    assert gallery.remove("1") is False
    assert gallery.identities() == {"bob": 1}
    assert gallery.identify(embedding=[0.0, 0.0]).nearest == "bob"
    with pytest.raises(GalleryError, match=r"item '1' is not in the gallery .*: list its items, or enrol it"):
        gallery.get("1")


def test_forgetting_leaves_none_of_the_name_and_vector_in_the_file(gallery):
    gallery.enrol("somebody unforgettable", "1", embedding=[0.12345, 0.6789], metadata={"born": "yesterday"})
    gallery.enrol("bob", "2", embedding=[1.0, 0.0])
    assert gallery.forget("somebody unforgettable") == 1
    gallery.close()
    (left,) = Path(gallery._store.address).parent.iterdir()
    stored = left.read_bytes()
    for trace in (b"unforgettable", b"yesterday", np.array([0.12345, 0.6789], dtype="<f4").tobytes()):
        assert trace not in stored
    assert np.array([1, 0], dtype="<f4").tobytes() in stored


def test_verify_two_probes_or_a_claim(gallery):
    gallery.enrol("ann", "1", embedding=[0.0, 0.0])
    gallery.enrol("ann", "2", embedding=[3.0, 4.0])
    gallery.enrol("bob", "3", embedding=[3.0, 4.5])
    two = gallery.verify(embedding=[0.0, 0.0], other_embedding=[3.0, 4.0])
    assert (two.same, two.score, two.claim) == (False, 5.0, None)
    claim = gallery.verify(embedding=[3.0, 4.5], identity="ann")
    assert (claim.same, claim.score, claim.claim) == (True, 0.5, "ann")
    assert str(claim) == "the same: this is ann (distance 0.50, threshold 1.00)"
    assert str(gallery.verify(embedding=[9.0, 4.5], identity="bob")) == (
        "different: not bob (distance 6.00, threshold 1.00)"
    )
    with pytest.raises(
        GalleryError, match=r"identity 'cid' is not in the gallery .*: list its identities, or enrol"
    ):
        gallery.verify(embedding=[0.0, 0.0], identity="cid")
    with pytest.raises(InputError, match="one thing: pass b, other_embedding= or identity="):
        gallery.verify(embedding=[0.0, 0.0])


def test_verify_says_how_to_come_by_a_threshold(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="x") as gallery:
        gallery.enrol("ann", "1", embedding=[0.0, 0.0])
        with pytest.raises(
            CalibrationError, match=r"no threshold: .* `trine evaluate --calibrate`, or pass threshold="
        ):
            gallery.verify(embedding=[0.0, 0.0], identity="ann")


def test_verify_takes_the_threshold_of_identification_where_the_encoder_has_none(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 16))
    with Gallery.open(tmp_path / "g.db", dimension=16, fingerprint="x") as gallery:
        for number, row in enumerate(rows):
            gallery.enrol(f"p{number}", f"{number}/a", embedding=row)
            gallery.enrol(f"p{number}", f"{number}/b", embedding=row + 0.01)
        found = gallery.calibration()
        claim = gallery.verify(embedding=rows[3] + 0.02, identity="p3")
        assert (claim.same, claim.threshold, claim.promise) == (True, found.threshold, found.promise)
        assert not gallery.verify(embedding=rows[3], identity="p4").same
        # Hardly anybody is accepted as another one: the rate of single comparisons is below that of all.
        pairs = [gallery.verify(embedding=row, other_embedding=other).same
                 for row, other in itertools.combinations(rows[:20], 2)]  # fmt: skip
        assert sum(pairs) <= found.promise.rate * len(pairs)
        assert gallery.verify(embedding=rows[3], identity="p4", threshold=99.0).same


def test_identify_ranks_without_a_verdict_where_no_rate_is_known(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="x") as gallery:
        assert str(gallery.identify(embedding=[0.0, 0.0])) == "no match: the gallery is empty"
        gallery.enrol("ann", "1", embedding=[0.0, 0.0])
        answer = gallery.identify(embedding=[0.0, 0.25])
        assert (answer.threshold, answer.accepted, answer.identity) == (None, None, None)
        assert (answer.nearest, answer.score, answer.item) == ("ann", 0.25, "1")
        assert str(answer).startswith("no verdict: the nearest is ann at 0.25; it is not known how often")
        by_hand = gallery.identify(embedding=[0.0, 0.25], threshold=0.25)
        assert (by_hand.identity, by_hand.promise) == ("ann", None)
    with Gallery.open(tmp_path / "g.db", threshold=0.2) as gallery:
        assert str(gallery.identify(embedding=[0.0, 0.25])) == (
            "no match: the nearest is ann at 0.25, above the threshold 0.20"
        )
        assert gallery.identify(embedding=[0.0, 0.25], threshold=0.3).identity == "ann"


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ([1.0, 2.0, 3.0], "'the probe' must have dimension 2, given 3: use its encoder"),
        (np.zeros((2, 2)), "'the probe' must have dimension 2, given 2x2"),
        (np.float32(3), "'the probe' must have dimension 2, given a single number"),
        ([math.nan, 0.0], "'the probe' is not finite"),
        ([1e300, 0.0], "'the probe' is not finite"),
        (torch.tensor([math.inf, 0.0]), "'the probe' is not finite"),
        (np.array(["a", "b"]), "'the probe' must be 2 numbers, given <U1"),
        ([[1.0], [1.0, 2.0]], "'the probe' must be 2 numbers, given object"),
        (np.array([1j, 0]), "'the probe' must be 2 numbers, given complex128"),
    ],
)
@pytest.mark.usefixtures("as_in_production")
def test_embeddings_of_another_make_are_refused(gallery, embedding, message):
    with pytest.raises((GalleryError, InputError), match=message):
        gallery.search(embedding=embedding)
    with pytest.raises((GalleryError, InputError), match=message.replace("the probe", "1")):
        gallery.enrol("ann", "1", embedding=embedding)
    assert len(gallery) == 0


@pytest.mark.parametrize(
    "vector", [[3, 4], (3.0, 4.0), np.array([3, 4]), torch.tensor([3.0, 4.0], dtype=torch.float16)]
)
def test_vectors_come_in_many_forms(gallery, vector):
    gallery.enrol("ann", "1", embedding=vector)
    assert gallery.get("1").embedding.tolist() == [3.0, 4.0]
    assert gallery.search(embedding=vector)[0].score == 0


@pytest.mark.parametrize(
    ("identity", "item", "metadata", "message"),
    [
        ("", "1", {}, "the identity must be a non-empty string, given ''"),
        ("ann", "", {}, "the item must be a non-empty string, given ''"),
        ("ann", 7, {}, "the item must be a non-empty string, given 7"),
        ("ann", "a\0b", {}, r"the item 'a\\x00b' contains a NUL character: remove it"),
        ("ann", "caf\udce9.jpg", {}, "is not valid Unicode: rename it"),
        ("ann", "1", {7: 1}, "the metadata of '1' has the key 7: keys must be strings"),
        ("ann", "1", {"x": math.nan}, "the metadata of '1' cannot be stored .*: use strings, finite numbers"),
        ("ann", "1", {"x": object()}, "the metadata of '1' cannot be stored"),
    ],
)
@pytest.mark.usefixtures("as_in_production")
def test_what_no_store_could_keep_is_refused(gallery, identity, item, metadata, message):
    with pytest.raises(InputError, match=message):
        gallery.enrol(identity, item, embedding=[0.0, 0.0], metadata=metadata)


@pytest.mark.parametrize(
    "name", ["Zoë", "日本語/写真.png", "e\u0301", "é", "👩‍👩‍👧", "a'b\"c;--", "x" * 100_000, " ", "%_*", "\n"]
)
def test_any_text_is_a_name(gallery, name):
    gallery.enrol(name, name, embedding=[0.0, 0.0])
    gallery.enrol("other", "other", embedding=[5.0, 0.0])
    assert gallery.identify(embedding=[0.0, 0.0]).identity == name
    assert gallery.verify(embedding=[0.0, 0.0], identity=name).score == 0
    assert gallery.search(embedding=[0.0, 0.0], k=1)[0].item == name
    assert gallery.remove(name)
    assert gallery.identities() == {"other": 1}


def test_numbers_of_numpy_are_kept_as_numbers(gallery):
    about = {"n": np.int64(3), "x": np.float32(0.5), "sold": np.bool_(True)}
    gallery.enrol("ann", "1", embedding=[0.0, 0.0], metadata=about)
    assert gallery.get("1").metadata == {"n": 3, "x": 0.5, "sold": True}
    assert [hit.item for hit in gallery.search(embedding=[0.0, 0.0], where={"n": 3, "sold": True})] == ["1"]
    with pytest.raises(InputError, match="cannot be stored"):
        gallery.enrol("ann", "2", embedding=[0.0, 0.0], metadata={"x": np.float32(math.nan)})


@pytest.mark.usefixtures("as_in_production")
def test_one_text_is_no_list_of_names(gallery):
    gallery.enrol("ann", "a1", embedding=[0.0, 0.0])
    for name, ask in (
        ("exclude", lambda: gallery.search(embedding=[0.0, 0.0], exclude="a1")),
        ("like", lambda: gallery.recommend("a1")),
        ("unlike", lambda: gallery.recommend(["a1"], unlike="a1")),
        ("split", lambda: gallery.split("a1", "bob")),
    ):
        with pytest.raises(InputError, match=rf"^{name} takes a list .* string 'a1': write \['a1'\]"):
            ask()
    with pytest.raises(InputError, match=r"where takes a mapping such as .*, given 'year=2024'"):
        gallery.search(embedding=[0.0, 0.0], where="year=2024")
    with pytest.raises(InputError, match=r"enrol_many takes trine\.gallery\.Entry objects, given tuple"):
        gallery.enrol_many([("ann", "a2", [0.0, 0.0])])
    wanted = r"enrol_dataset takes a Dataset, given 'known': use trine.data.load"
    with pytest.raises(InputError, match=wanted):
        gallery.enrol_dataset("known")


def test_k_is_at_least_one(gallery):
    with pytest.raises(SettingError, match="k must be at least 1, given 0"):
        gallery.search(embedding=[0.0, 0.0], k=0)


def test_a_probe_is_given_once(gallery):
    with pytest.raises(InputError, match="pass one probe: either an item for the encoder, or its embedding"):
        gallery.search()
    with pytest.raises(InputError, match="pass either items for the encoder"):
        gallery.identify_many()
    with pytest.raises(GalleryError, match="was opened without an encoder: open it with encoder=, or pass"):
        gallery.identify("a.jpg")
    assert gallery.identify_many(embeddings=np.empty((0, 2), dtype=np.float32)) == []


def test_an_encoder_embeds_what_is_enrolled_and_asked(tmp_path):
    encoder = FakeEncoder(calibration=calibration(0.63, state="provisional"))
    encoder.pictures = {"a.jpg": (0.0, 0.0), "b.jpg": (0.0, 5.0), "c.jpg": (0.0, 0.5), "d.jpg": (9.0, 9.0)}
    with Gallery.open(tmp_path / "g.db", encoder=encoder, model=tmp_path / "run") as gallery:
        gallery.enrol("ann", "a.jpg")
        gallery.enrol("bob", "bob's first", content="b.jpg")
        gallery.enrol_many([Entry("cid", "vector", content=np.array([7.0, 7.0], dtype=np.float32))])
        known, stranger = gallery.identify_many(["c.jpg", "d.jpg"])
        verified = gallery.verify("a.jpg", "c.jpg")
        assert not gallery.verify("a.jpg", identity="bob").same
        assert [hit.item for hit in gallery.search("b.jpg", k=2)] == ["bob's first", "a.jpg"]
    assert (verified.same, verified.threshold, verified.promise) == (True, 0.63, encoder.calibration.promise)
    # Three people are too few for a rate of this gallery, and the encoder's rate is one of pairs.
    assert (known.nearest, known.score, known.threshold, known.identity) == ("ann", 0.5, None, None)
    assert (stranger.nearest, stranger.accepted) == ("cid", None)
    with Gallery.open(tmp_path / "g.db") as later:
        assert later.binding.calibration == encoder.calibration
        assert later.model == str(tmp_path / "run")
        assert later.identify(embedding=[0.0, 0.5]) == known


def test_a_real_encoder_is_bound_by_its_weights(tmp_path):
    settings = EncoderSettings(
        kind="vectors",
        network="mlp",
        shape=(3,),
        features=3,
        dimension=2,
        normalise=True,
        distance="cosine",
        mlp=MlpSettings(hidden=()),
    )
    encoder = Encoder(settings)
    vectors = np.eye(3, dtype=np.float32)
    with Gallery.open(tmp_path / "g.db", encoder=encoder, threshold=1e-3) as gallery:
        gallery.enrol_many(Entry(f"axis {i}", f"{i}", content=row) for i, row in enumerate(vectors))
        assert [d.identity for d in gallery.identify_many(vectors)] == ["axis 0", "axis 1", "axis 2"]
        assert verify(encoder, vectors[0], vectors[0], threshold=0.1).score == 0
    with torch.no_grad():
        encoder.head.weight[0, 0] += 1
    with pytest.raises(GalleryError, match="open it with its own encoder"):
        Gallery.open(tmp_path / "g.db", encoder=encoder)


def test_a_dataset_is_enrolled_by_its_names(tmp_path):
    rows = np.array([[0, 0], [0, 1], [5, 5]], dtype=np.float32)
    data = Dataset(
        Vectors(rows),
        np.array([1, 1, 0]),
        ("bob", "ann"),
        ("a/1", "a/2", "b/1"),
        {"camera": np.array([3, 4, 3])},
    )
    encoder = FakeEncoder(calibration=calibration())
    with Gallery.open(tmp_path / "g.db", encoder=encoder) as gallery:
        seen = []
        assert gallery.enrol_dataset(data, chunk=2, progress=seen.append) == Enrolment(new=3)
        assert seen == [2, 3]
        assert gallery.identities() == {"ann": 2, "bob": 1}
        assert gallery.get("a/2").metadata == {"camera": 4}
        assert gallery.identify(rows[2]).item == "b/1"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            {},
            {"fingerprint": "g" * 64},
            "of the encoder ffffffffffff…, given the encoder gggggggggggg…: open it with its own encoder",
        ),
        ({}, {"dimension": 3}, "holds embeddings of dimension 2, given 3"),
        ({}, {"distance": "cosine"}, "uses the distance euclidean, given cosine"),
    ],
)
def test_a_gallery_of_another_encoder_is_refused(tmp_path, first, second, message):
    Gallery.open(tmp_path / "g.db", encoder=FakeEncoder(**first)).close()
    with pytest.raises(GalleryError, match=message):
        Gallery.open(tmp_path / "g.db", encoder=FakeEncoder(**second))
    by_hand = {"dimension": 2, "fingerprint": "f" * 64, "distance": "euclidean"} | second
    with pytest.raises(GalleryError, match=message):
        Gallery.open(tmp_path / "g.db", **by_hand)
    assert [path.name for path in tmp_path.iterdir()] == ["g.db"]


def test_the_threshold_given_wins_over_the_encoder_and_the_encoder_over_the_stored_one(tmp_path):
    path = tmp_path / "g.db"
    with Gallery.open(path, encoder=FakeEncoder(calibration=calibration(0.1))) as gallery:
        assert gallery.threshold.value == 0.1
    with Gallery.open(path) as gallery:
        assert (gallery.threshold.value, gallery.threshold.promise) == (0.1, promise())
    with Gallery.open(path, encoder=FakeEncoder(calibration=calibration(0.2))) as gallery:
        assert gallery.threshold.value == 0.2
    with Gallery.open(path, encoder=FakeEncoder(calibration=calibration(0.2)), threshold=0.3) as gallery:
        assert (gallery.threshold.value, gallery.threshold.promise) == (0.3, None)
    with Gallery.open(path) as gallery:
        assert gallery.threshold.value == 0.1


@pytest.mark.usefixtures("as_in_production")
def test_contradictory_arguments(tmp_path):
    with pytest.raises(SettingError, match="an encoder has its own: omit them"):
        Gallery.open(tmp_path / "g.db", encoder=FakeEncoder(), dimension=2)
    for dimension in (0, 3.0, "3"):
        with pytest.raises(SettingError, match=f"a whole number of at least 1, given {dimension!r}"):
            Gallery.open(tmp_path / "g.db", dimension=dimension, fingerprint="x")
    with pytest.raises(SettingError, match="fingerprint must be a non-empty string, given 7"):
        Gallery.open(tmp_path / "g.db", dimension=2, fingerprint=7)
    with pytest.raises(SettingError, match=r"encoder must be loaded: pass trine\.load\('runs/a'\)"):
        Gallery.open(tmp_path / "g.db", encoder="runs/a")
    with pytest.raises(InputError, match=r"takes an open store: use Gallery\.open\('people\.db'\)"):
        Gallery("people.db")
    with pytest.raises(SettingError, match="fingerprint must be a non-empty string"):
        Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="")
    with pytest.raises(GalleryError, match="gallery :memory: does not exist"):
        Gallery.open(":memory:")
    with pytest.raises(GalleryError, match="unknown scheme mysql://"):
        Gallery.open("mysql://localhost/people", dimension=2, fingerprint="x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("as_in_production")
def test_an_unknown_distance(tmp_path):
    with pytest.raises(InputError, match="unknown distance 'cosin': did you mean 'cosine'"):
        Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="x", distance="cosin")


def test_threads_share_one_gallery(tmp_path):
    store = open_with_small_segments(tmp_path / "threads.db", Binding(2, "by hand", "euclidean"))
    gallery = Gallery(store, threshold=Threshold(1.0))
    failures = []

    def work(worker):
        try:
            for i in range(20):
                gallery.enrol(f"w{worker}", f"{worker}/{i}", embedding=[float(worker), float(i)])
                hit = gallery.search(embedding=[float(worker), float(i)], k=1)[0]
                assert hit.item == f"{worker}/{i}"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert gallery.identities() == {f"w{i}": 20 for i in range(4)}
    gallery.close()


COORDINATES = st.floats(-3, 3, width=32, allow_subnormal=False)


@given(
    rows=st.lists(st.tuples(COORDINATES, COORDINATES, COORDINATES), min_size=1, max_size=20),
    probe=st.tuples(COORDINATES, COORDINATES, COORDINATES),
    k=st.integers(1, 25),
    distance=st.sampled_from(["euclidean", "squared_euclidean", "cosine"]),
    scale=st.sampled_from([1.0, 1e-6, 1e6]),
)
def test_search_equals_loops(tmp_path_factory, rows, probe, k, distance, scale):
    path = tmp_path_factory.mktemp("search") / "g.db"
    rows = [np.float32(row) * np.float32(scale) for row in rows]
    probe = np.float32(probe) * np.float32(scale)
    naive = {f"{i:02}": loop_distance(probe, row, distance) for i, row in enumerate(rows)}
    with Gallery.open(path, dimension=3, fingerprint="x", distance=distance) as gallery:
        gallery.enrol_many(Entry("someone", f"{i:02}", row) for i, row in enumerate(rows))
        hits = gallery.search(embedding=probe, k=k)
        assert len(hits) == min(k, len(rows))
        assert hits == sorted(hits, key=lambda hit: (hit.score, hit.item))
        for hit in hits:
            assert hit.score == pytest.approx(naive[hit.item], rel=1e-6, abs=1e-12)
            pair = gallery.verify(embedding=probe, other_embedding=rows[int(hit.item)], threshold=1)
            assert pair.score == hit.score
        left_out = set(naive) - {hit.item for hit in hits}
        assert all(naive[item] >= hits[-1].score * (1 - 1e-6) - 1e-12 for item in left_out)


def loop_distance(x, y, distance):
    x, y = [float(v) for v in x], [float(v) for v in y]
    if distance == "cosine":
        length_x, length_y = math.hypot(*x), math.hypot(*y)
        if length_x == 0 or length_y == 0:
            return 1.0
        x, y = [v / length_x for v in x], [v / length_y for v in y]
    squared = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return {"euclidean": math.sqrt(squared), "squared_euclidean": squared, "cosine": squared / 2}[distance]


def test_faces_are_known_again(tmp_path):
    if not FACES.is_dir():
        pytest.skip(f"the faces are not here: {FACES}")
    people = sorted(FACES.glob("s*"))
    paths = [folder / f"{i}.pgm" for folder in people for i in range(1, 11)]
    pixels = [picture.astype(np.float32)[::4, ::4].ravel() / 255 for picture in read_items(paths)]
    rows = np.array(pixels) - np.mean(pixels, axis=0)
    known, probes = range(0, len(paths), 2), range(1, len(paths), 2)
    with Gallery.open(tmp_path / "g.db", dimension=rows.shape[1], fingerprint="pixels") as gallery:
        gallery.enrol_many(Entry(paths[i].parent.name, f"{paths[i]}", rows[i]) for i in known)
        decisions = gallery.identify_many(embeddings=rows[list(probes)], threshold=1e9)
    for i, decision in zip(probes, decisions, strict=True):
        distances = [
            float(((rows[i].astype(float) - rows[j].astype(float)) ** 2).sum() ** 0.5) for j in known
        ]
        best = min(range(len(distances)), key=distances.__getitem__)
        other = min(
            d for d, j in zip(distances, known, strict=True) if paths[j].parent != paths[known[best]].parent
        )
        assert decision.item == str(paths[known[best]])
        assert decision.score == pytest.approx(distances[best], rel=1e-6)
        assert decision.runner_up_score == pytest.approx(other, rel=1e-6)
    right = [d.identity == paths[i].parent.name for i, d in zip(probes, decisions, strict=True)]
    assert np.mean(right) > 0.9


def test_a_gallery_in_memory_leaves_no_file_and_is_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        Gallery.open(":memory:", dimension=2, fingerprint="x", exist_ok=False) as one,
        Gallery.open(":memory:", dimension=2, fingerprint="x") as other,
    ):
        one.enrol("ann", "1", embedding=[0, 1])
        one.enrol("bob", "2", embedding=[3, 1])
        assert one.search(embedding=[0, 0], k=1)[0].item == "1"
        assert one.forget("ann") == 1
        assert (len(one), len(other), one.check(), one.repair()) == (1, 0, [], [])
        assert 4096 <= one.stats().bytes < 10**6
        one.copy_to(tmp_path / "kept.db")
    with Gallery.open(tmp_path / "kept.db") as kept:
        assert kept.identities() == {"bob": 1}
    assert [left.name for left in tmp_path.iterdir()] == ["kept.db"]
