"""The client of a service: one script over a gallery and over a service gives the same values."""

import threading
from dataclasses import asdict, is_dataclass

import numpy as np
import pytest

from support.fake_encoder import FileEncoder, write_number_files
from support.services import PictureEncoder, people, running
from trine import Client
from trine.client import _ELSEWHERE, NotRemoteError, ServiceError
from trine.errors import CalibrationError, GalleryError, InputError, SettingError
from trine.gallery import Entry, Gallery, KnownClusters, RebuildResult
from trine.gallery.errors import UnknownNameError, UnusableStoreError

pytest.importorskip("fastapi", reason="needs the extra serve")


def service_of(galleries, folder, **settings):
    from trine.service.service import Service
    from trine.service.settings import Limits, ServiceSettings

    return Service(galleries, ServiceSettings(folder / "state", limits=Limits(rate=0), **settings))


@pytest.fixture
def address(tmp_path):
    with (
        service_of({"people": people(tmp_path), "other": people(tmp_path, name="o.db")}, tmp_path) as service,
        running(service) as where,
    ):
        yield f"{where}/people"


def plain(value):
    """A result as comparable values."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if is_dataclass(value):
        held = {name: plain(each) for name, each in asdict(value).items()}
        return {name: each for name, each in held.items() if name not in ("source", "provenance", "bytes")}
    return value


def script(gallery):
    """Everything that a program does with a gallery, and what it gets."""
    rng = np.random.default_rng(0)
    yield gallery.enrol("cid", "cid/1", embedding=np.array([9.0, 9.0]), metadata={"year": np.int64(2024)})
    rows = rng.normal(size=(60, 2)) * 3 + 20
    entries = [Entry(f"p{i // 3:02}", f"p/{i:02}", row, None, {"i": i}) for i, row in enumerate(rows)]
    seen = []
    yield gallery.enrol_many(iter(entries), chunk=25, progress=seen.append)
    yield seen
    yield gallery.enrol_many(entries[:3])
    yield len(gallery)
    yield gallery.identities()
    yield gallery.get("ann/1")
    yield [entry.item for entry in gallery.items(limit=7, after="b")]
    yield gallery.items("ann")
    yield sorted(entry.item for entry in gallery.entries())
    yield sorted(entry.item for entry in gallery.entries("p01"))
    yield gallery.verify(embedding=[0.0, 1.1], identity="ann")
    yield gallery.verify(embedding=[0.0, 1.1], other_embedding=[4.0, 4.0], threshold=6)
    yield str(gallery.identify(embedding=[0.0, 0.9]))
    yield gallery.identify(embedding=[0.0, 0.9], candidates=5, scoring="mean", top=2)
    yield gallery.identify_many(embeddings=[[0.0, 0.9], [50.0, 50.0]], threshold=1.0)
    yield gallery.search(embedding=[0.0, 0.9], k=4, where={"year": 2024}, exclude=["bob/1"])
    yield gallery.search(embedding=[0.0, 0.9], k=4, where={"year": (2021, None)}, offset=1)
    yield gallery.search(embedding=[0.0, 0.9], where={"year": {2020, 2024}, "colour": "red"})
    yield gallery.search(embedding=[0.0, 0.9], where={"year": None})
    yield gallery.recommend(["ann/1"], unlike=["bob/1"], k=3, diversity=0.5)
    yield gallery.calibration()
    yield gallery.calibrate(0.1)
    yield gallery.calibrate(0.2, embeddings=rng.normal(size=(30, 2)) + 30, scoring="mean", top=2)
    yield gallery.calibration(scoring="mean", top=2)
    yield gallery.rates()
    yield gallery.identify(embedding=[0.0, 0.9])
    yield gallery.cluster(threshold=0.6)
    yield gallery.cluster(
        threshold=0.8, recluster=True, linkage="average", known=KnownClusters({}, {"ann/1": "a"})
    )
    yield gallery.cluster(threshold=0.3, linkage="average", revise=True)
    yield gallery.clusters()
    yield gallery.rename("cid", "Cíd <b>")
    yield gallery.split(["p/00"], "new one")
    yield gallery.move(["p/01", "p/04"], "new one")
    yield gallery.merge("ann", "new one")
    yield gallery.remove("p/09")
    yield gallery.remove("p/09")
    yield gallery.forget("bob")
    yield gallery.forget("bob")
    yield gallery.identities()
    yield gallery.stats()
    yield gallery.threshold


def test_one_script_gives_the_same_over_both(address, tmp_path):
    with people(tmp_path, name="local.db") as local, Client.open(address) as remote:
        for ours, theirs in zip(script(local), script(remote), strict=True):
            assert type(ours) is type(theirs)
            assert plain(theirs) == plain(ours)


def test_one_script_gives_the_same_over_a_server_of_galleries(tmp_path):
    from support.gallery_stores import postgres
    from support.services import PEOPLE

    with (
        postgres() as where,
        people(tmp_path, name="local.db") as local,
        Gallery.open(where, dimension=2, fingerprint="by hand", threshold=0.5) as gallery,
    ):
        for identity, item, row, metadata in PEOPLE:
            gallery.enrol(identity, item, embedding=np.array(row), metadata=metadata)
        with (
            service_of({"people": gallery}, tmp_path) as service,
            running(service) as address,
            Client.open(address) as remote,
        ):
            for ours, theirs in zip(script(local), script(remote), strict=True):
                assert plain(theirs) == plain(ours)


MISTAKES = [
    (lambda g: g.get("none"), UnknownNameError),
    (lambda g: g.rename("none", "x"), GalleryError),
    (lambda g: g.rename("ann", "bob"), GalleryError),
    (lambda g: g.items("none"), GalleryError),
    (lambda g: g.items(limit=0), SettingError),
    (lambda g: g.search(embedding=[0.0, 1.0], k=0), SettingError),
    (lambda g: g.search(embedding=[0.0, 1.0, 2.0]), GalleryError),
    (lambda g: g.search(embedding=[0.0, np.nan]), GalleryError),
    (lambda g: g.search(), InputError),
    (lambda g: g.search(embedding=[0.0, 1.0], where={"year": (3, 1)}), InputError),
    (lambda g: g.search(embedding=[0.0, 1.0], exclude="ann/1"), InputError),
    (lambda g: g.identify(embedding=[0.0, 1.0], scoring="worst"), InputError),
    (lambda g: g.identify(embedding=[0.0, 1.0], quality="x"), SettingError),
    (lambda g: g.verify(embedding=[0.0, 1.0]), InputError),
    (lambda g: g.split([], "x"), InputError),
    (lambda g: g.merge("ann", "ann"), GalleryError),
    (lambda g: g.enrol("", "x", embedding=[0.0, 1.0]), InputError),
    (lambda g: g.enrol("a", "x", embedding=[0.0, 1.0], metadata={"a": np.nan}), InputError),
    (lambda g: g.cluster(), CalibrationError),
]


@pytest.mark.parametrize("place", range(len(MISTAKES)))
def test_mistakes_are_the_same_errors(place, client_of_people):
    call, kind = MISTAKES[place]
    local, remote = client_of_people
    for gallery in (local, remote):
        with pytest.raises(kind):
            call(gallery)
        assert len(gallery) == 3


@pytest.fixture(scope="module")
def client_of_people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    with (
        service_of({"people": people(folder)}, folder) as service,
        running(service) as where,
        people(folder, name="local.db") as local,
        Client(where) as remote,
    ):
        yield local, remote


def test_pictures_are_sent(tmp_path):
    from PIL import Image

    path = tmp_path / "red.png"
    Image.new("RGB", (20, 10), (255, 0, 0)).save(path)
    green = np.zeros((10, 10, 3), np.uint8)
    green[..., 1] = 255
    gallery = people(tmp_path, encoder=PictureEncoder())
    with (
        service_of({"shop": gallery}, tmp_path) as service,
        running(service) as where,
        Client(where) as shop,
    ):
        shop.enrol("red", "r", content=path)
        shop.enrol("green", "g", content=green, metadata={"n": 1})
        assert shop.get("r").embedding.tolist() == [1.0, 0.0]
        assert shop.identify(path, threshold=0.1).identity == "red"
        assert shop.identify(path.read_bytes(), threshold=0.1).identity == "red"
        assert shop.identify(Image.open(path), threshold=0.1).identity == "red"
        (face,) = shop.identify_faces(str(path), threshold=0.1)
        assert (face.answer.identity, face.box) == ("red", None)
        assert [hit.item for hit in shop.search(green, k=1)] == ["g"]
        assert shop.verify(path, green, threshold=0.1).same is False
        both = shop.identify_many([path, green], threshold=0.1)
        assert [each.identity for each in both] == ["red", "green"]
        with pytest.raises(InputError, match="cannot be read"):
            shop.identify(tmp_path / "none.png")
        with pytest.raises(InputError, match="uint8"):
            shop.identify(np.zeros((3, 3)))


def test_a_gallery_must_be_named_among_several(address):
    whole = address.rpartition("/")[0]
    with pytest.raises(GalleryError, match="it has: people, other"):
        Client(whole)
    with pytest.raises(GalleryError, match="no gallery 'none'"):
        Client(f"{whole}/none")
    for wrong in ("people.db", "ftp://x/y", "http://"):
        with pytest.raises(InputError, match="address of a service is http"):
            Client(wrong)


def test_keys(tmp_path):
    with service_of({"people": people(tmp_path)}, tmp_path) as service, running(service) as where:
        key = service.keys.add("reader")
        with pytest.raises(ServiceError, match="needs a key; send the header") as caught:
            Client(where)
        assert caught.value.code == "no_key"
        with Client(where, key=key) as client:
            assert len(client) == 3
            with pytest.raises(ServiceError, match="does not allow to change anything"):
                client.remove("ann/1")


def test_a_service_that_went_away_is_said(tmp_path):
    with service_of({"people": people(tmp_path)}, tmp_path) as service:
        with running(service) as where:
            client = Client(where)
        with pytest.raises(ServiceError, match=r"does not answer .*; check the address") as caught:
            len(client)
        assert caught.value.code == "unreachable"


def test_a_gallery_that_is_gone_is_the_same_error(tmp_path):
    with (
        service_of({"people": people(tmp_path)}, tmp_path) as service,
        running(service) as where,
        people(tmp_path, name="people.db") as local,
    ):
        remote = Client(where)
        for gallery in (local, remote):
            gallery.check_usable()
        for file in tmp_path.glob("people.db*"):
            file.unlink()
        for gallery in (local, remote):
            for call in (
                gallery.check_usable,
                gallery.identities,
                gallery.stats,
            ):
                with pytest.raises(UnusableStoreError, match="was deleted or replaced"):
                    call()
        with pytest.raises(ServiceError) as caught:
            remote.check_usable()
        assert caught.value.code == "unavailable"
    with pytest.raises(GalleryError, match="does not answer"):
        remote.check_usable()


def test_a_gallery_is_rebuilt_by_a_run_of_the_service(tmp_path, monkeypatch):
    from trine.service import work

    files = list(map(str, write_number_files(tmp_path / "photos", 3)))
    (tmp_path / "runs" / "new").mkdir(parents=True)
    monkeypatch.setattr(work, "load", lambda folder: FileEncoder(f"encoder {folder.name}", 3))
    gallery = Gallery.open(tmp_path / "g.db", encoder=FileEncoder("encoder old", 2))
    gallery.enrol_many(Entry("ann", file) for file in files)
    with (
        service_of({"g": gallery}, tmp_path, runs=tmp_path / "runs") as service,
        running(service) as where,
        Client(where) as remote,
    ):
        assert remote.get(files[1]).embedding.tolist() == [1.0, 2.0]
        assert remote.rebuild("new") == RebuildResult(3, ())
        assert remote.get(files[1]).embedding.tolist() == [1.0, 3.0, 3.0]
        with pytest.raises(ServiceError, match="there is no run 'none'"):
            remote.rebuild("none")
        with pytest.raises(InputError, match="name one of those it shows, given FileEncoder"):
            remote.rebuild(FileEncoder("encoder new", 3))


def test_limits_are_asked_for_once(address, monkeypatch):
    with Client(address) as client:
        called, call = [], client._call
        monkeypatch.setattr(
            client, "_call", lambda *given, **more: called.append(given[1]) or call(*given, **more)
        )
        for _ in range(3):
            client.enrol_many([Entry("a", "a/1", [0.0, 1.0])])
            client.identify_many(embeddings=[[0.0, 1.0]])
        assert called.count("/v1/session") == 1


def test_threads_share_a_client(address):
    with Client(address) as client:
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(len(client.search(embedding=[0.0, 1.0]))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [3] * 8


def test_the_calls_are_those_of_a_gallery():
    import inspect

    for name, call in inspect.getmembers(Client, inspect.isfunction):
        if name.startswith("_") or name == "identify_faces":
            continue
        ours = inspect.signature(call).parameters
        theirs = inspect.signature(getattr(Gallery, name)).parameters
        assert [each for each in ours if each in theirs] == list(ours), name
        left_out = {each for each in theirs if each not in ours}
        assert left_out <= {"strangers", "origin", "data", "model", "chunk"}, name


def test_what_a_service_cannot_do_says_what_to_do_there(client_of_people):
    local, remote = client_of_people
    public = {name for name in dir(Gallery) if not name.startswith("_")}
    assert public - set(dir(Client)) == set(_ELSEWHERE), "each call is remote, or says that it is not"
    for name in _ELSEWHERE:
        assert hasattr(local, name)
        assert not hasattr(remote, name)
        with pytest.raises(NotRemoteError, match=f"has no {name}: that is for the machine that serves it; "):
            getattr(remote, name)
    with pytest.raises(AttributeError, match="no attribute 'dance'"):
        remote.dance  # noqa: B018
