"""A process is killed at any moment: all it acknowledged is there, and nothing is half there."""

import pytest

from support import fork_server, gallery_kills
from support.effort import THOROUGH, effort
from support.gallery_workloads import WORKLOADS, state_of
from trine.gallery.sqlite.file import has_log

ROUNDS = effort(8, 20)
LANCE = tuple(WORKLOADS) if THOROUGH else ("forgets",)
"""The workloads whose processes are killed on LanceDB's tables; each process takes seconds to start."""


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_killed_process_loses_nothing_it_acknowledged(workload, tmp_path):
    report = gallery_kills.kill(
        workload, tmp_path / "people.db", rounds=ROUNDS, context=fork_server.processes()
    )
    assert report.losses == ()
    assert report.kills == ROUNDS
    assert report.acknowledged > ROUNDS
    others = (".trine-", ".export", ".import", "export", "import", "backup", "people.replaced", "people.dam")
    names = {left.name for left in tmp_path.iterdir() if not left.name.startswith(others)}
    assert names - {"people.db-wal", "people.db-shm"} == {"people.db"}
    assert not has_log(tmp_path / "people.db")


@pytest.mark.parametrize("workload", LANCE)
def test_a_killed_process_loses_nothing_it_acknowledged_in_tables_of_lancedb(workload, tmp_path):
    pytest.importorskip("lancedb", reason="needs lancedb: pip install 'trine[lancedb]'")
    rounds = effort(2, 20)
    address = f"lance://{tmp_path}/people"
    report = gallery_kills.kill(workload, address, rounds=rounds, context=fork_server.processes())
    assert report.losses == ()
    assert report.kills == rounds
    assert report.acknowledged >= rounds


def test_a_gallery_that_lost_something_is_found_out(tmp_path):
    def state_but_one(path):
        return dict(list(state_of(path).items())[1:])

    report = gallery_kills.kill(
        "bulk", tmp_path / "people.db", rounds=ROUNDS, context=fork_server.processes(), state_of=state_but_one
    )
    assert len(report.losses) == 1
    assert "items missing" in report.losses[0]
