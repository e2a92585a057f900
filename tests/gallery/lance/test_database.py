"""A gallery in a bucket of an object store: enrolling, searching, forgetting, and several writers."""

import numpy as np
import pytest

from support import fork_server, lance_processes
from support.effort import effort, thorough
from support.gallery_processes import OPENING, embedding_of
from support.s3_server import KEYS, bucket
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery

pytest.importorskip("lancedb", reason="needs lancedb: pip install 'trine[lancedb]'")

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def environment():
    with bucket() as found:
        yield found


def test_a_gallery_in_a_bucket_is_used_like_any_other(environment, tmp_path):
    import boto3

    address = "s3://bucket/galleries/people"
    with pytest.raises(GalleryError, match="does not exist: enrol into it first"):
        Gallery.open(address)
    with Gallery.open(address, **OPENING) as gallery:
        assert gallery.address == address
        gallery.enrol_many(Entry(f"id {i % 5}", f"item {i}", embedding_of(i)) for i in range(50))
        gallery.enrol("Grete", "face of grete", embedding=embedding_of(99), metadata={"year": 1925})
        with Gallery.open(address) as other:
            (hit,) = other.search(embedding=embedding_of(99), k=1, where={"year": (1900, 1930)})
            assert (hit.item, hit.score) == ("face of grete", 0.0)
            other.rename("id 4", "another")
        assert gallery.identities()["another"] == 10
        assert gallery.stats().bytes > 50 * 16
        assert gallery.forget("Grete") == 1
        assert gallery.check() == []
        assert gallery.backup(tmp_path / "backup.db") == 50
    store = boto3.client("s3")
    for key in (part["Key"] for part in store.list_objects_v2(Bucket="bucket")["Contents"]):
        body = store.get_object(Bucket="bucket", Key=key)["Body"].read()
        assert b"Grete" not in body
        assert embedding_of(99).tobytes() not in body
    kept = Gallery.restore(tmp_path / "backup.db", address, overwrite=True)
    assert kept.startswith("s3://bucket/galleries/people.replaced-")
    with Gallery.open(kept) as old, Gallery.open(address) as new:
        assert old.identities() == new.identities()


@thorough
def test_several_writers_in_a_bucket_lose_nothing(environment):
    address, writers, count = "s3://bucket/shared", 2, effort(4, 25)
    context = fork_server.processes()
    said = context.SimpleQueue()
    Gallery.open(address, **OPENING).close()
    workers = [
        context.Process(
            target=lance_processes.with_environment,
            args=(environment, lance_processes.enrol_shared, address, number, count, said),
        )
        for number in range(writers)
    ]
    for worker in workers:
        worker.start()
    new = sum(said.get()[0] for _ in workers)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with Gallery.open(address) as gallery:
        assert gallery.check() == []
        assert new == len(gallery) == (writers + 1) * count
        hits = gallery.search(embedding=np.zeros(4), k=999)
        assert len({hit.item for hit in hits}) == new


@pytest.mark.parametrize(
    ("settings", "meaning"),
    [
        ({}, "there is no such bucket"),
        # LanceDB tries some seconds to reach a server.
        *effort([], [({"AWS_ENDPOINT": NOBODY, "AWS_ENDPOINT_URL": NOBODY}, "cannot be reached")]),
    ],
)
def test_what_an_object_store_refuses_is_explained_without_secrets(
    environment, settings, meaning, monkeypatch, capfd
):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(GalleryError, match=meaning) as found:
        Gallery.open("s3://nowhere/people", **OPENING)
    printed = "".join(capfd.readouterr())
    for text in (str(found.value), repr(found.value.__cause__), printed):
        assert not any(secret in text for secret in KEYS.values())


def test_the_store_of_these_tests_has_conditional_writes(environment):
    """Several writers rely on them."""
    import boto3

    client = boto3.client("s3")
    client.put_object(Bucket="bucket", Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="bucket", Key="once", Body=b"2", IfNoneMatch="*")
