"""The power is cut: what was acknowledged had been synchronised, so it is there.

A kill leaves what the system has in memory, and so shows nothing of this. Here a process does its work under
a journal of all its dealings with the disk, and the journal says what a cut would have left at any moment.
"""

import os

import pytest

from support import gallery_kills, power_loss
from support.gallery_workloads import POWER_CUTS

MOMENTS = int(os.environ.get("TRINE_CUTS", "30"))
"""At how many moments of each workload the power is cut, in three ways each."""

STEPS = 30


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """All that the workloads did to the disk, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("power").resolve() / "work"
    folder.mkdir()
    try:
        return gallery_kills.journal(folder, steps=STEPS), folder
    except power_loss.NoJournalError as error:
        pytest.skip(str(error))


@pytest.fixture
def cut(journal, tmp_path):
    operations, folder = journal

    def cut(name, forgotten=lambda operation: False, count=MOMENTS):
        kept = [operation for operation in operations if not forgotten(operation)]
        return gallery_kills.cut(name, kept, folder / name, steps=STEPS, scratch=tmp_path, count=count)

    return cut


@pytest.mark.parametrize("workload", POWER_CUTS)
def test_a_cut_loses_nothing_that_was_acknowledged(workload, cut):
    report = cut(workload)
    assert report.losses == ()
    assert report.kills >= 3 * MOMENTS


def test_without_waiting_for_the_log_something_is_lost(cut):
    report = cut("everyday", lambda operation: operation.kind == "s" and operation.name.endswith("-wal"), 10)
    assert any("nothing survives" in loss and "items missing" in loss for loss in report.losses)
    assert not any("all survives" in loss for loss in report.losses)


def test_without_waiting_for_the_folder_the_gallery_is_gone(cut):
    report = cut(
        "everyday", lambda operation: operation.kind == "s" and operation.name.endswith("everyday"), 10
    )
    assert any("nothing survives: the gallery is gone" in loss for loss in report.losses)


def test_without_waiting_for_the_file_a_checkpoint_destroys_it(cut):
    report = cut(
        "checkpoints", lambda operation: operation.kind == "s" and operation.name.endswith("people.db"), 30
    )
    assert report.losses
