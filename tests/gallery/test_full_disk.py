"""A disk that is really full: one sentence for each call that cannot be done, and the gallery as it was."""

import pytest

from support import fork_server, gallery_processes


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What each call said on a full disk, and what it said when there was room again."""
    context = fork_server.processes()
    ours, theirs = context.Pipe(duplex=False)
    folder = tmp_path_factory.mktemp("disk")
    process = context.Process(target=gallery_processes.work_on_a_full_disk, args=(folder, theirs))
    process.start()
    theirs.close()
    try:
        told = ours.recv()
    finally:
        process.join()
    if told is None:
        pytest.skip("this system lets nobody have a small disk of their own (user namespaces)")
    return told


@pytest.mark.parametrize("call", ["enrol", "enrol_many", "replace", "remove", "forget", "rebuild"])
def test_a_write_on_a_full_disk(outcome, call):
    said, state, later = outcome[call]
    assert said.startswith("UnusableStoreError: the gallery /"), said
    assert said.endswith(
        "people.db is on a full disk: nothing of this call was written; free space and try again"
    ), said
    assert state == outcome["before"]
    assert later == "done"


def test_creation_on_a_full_disk(outcome):
    said, left, later = outcome["create"]
    assert said.startswith("GalleryError: the gallery /")
    assert "new.db cannot be created (database or disk is full): " in said
    assert not [name for name in left if name.startswith((".trine-", "new.db"))]
    assert later == "done"


def test_reading_on_a_full_disk(outcome):
    """What was open goes on; an opening needs a little room for the index of SQLite's log."""
    assert outcome["search"] == "done"
    assert outcome["open"].startswith("UnusableStoreError: the gallery /")
    assert "full disk" in outcome["open"]


def test_forgetting_on_a_disk_with_room_for_the_deletion_alone(outcome):
    said, identities, problems, done, afterwards = outcome["forget with little room"]
    assert said.startswith("GalleryError: the items are deleted, but traces of them may remain")
    assert said.endswith("free space for a second copy of the file, then repair the gallery")
    assert identities == {"bob": 300}
    assert problems == ["traces of forgotten items may remain in the file"]
    assert done == ["traces of forgotten items were wiped"]
    assert afterwards == []
    assert not outcome["traces"]


def test_a_rebuilding_with_room_for_what_is_staged_alone(outcome):
    said, state, problems, later = outcome["rebuild with little room"]
    assert said.endswith(": nothing of this call was written; free space and try again")
    assert state == outcome["before"]
    assert problems == []
    assert later == "done"
