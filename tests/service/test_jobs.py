"""Jobs: stored before they are begun, done one after another, cancelled, gone on with after a restart."""

import json
import threading
import time

import numpy as np
import pytest

from support.services import error_of, people, served
from trine.service.jobs import ATTEMPTS
from trine.service.keys import LOCAL

JOBS = "/v1/galleries/people/jobs"


def ended(client, job, *, within=20.0):
    until = time.monotonic() + within
    while (found := client.get(f"/v1/jobs/{job['id']}").json())["state"] in ("waiting", "running"):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def begun(client, **job):
    answer = client.post(JOBS, json=job)
    assert answer.status_code == 202, answer.text
    return answer.json()


def many(count, identity="many"):
    return [
        {"identity": identity, "item": f"{identity}/{i:03}", "embedding": [i, 50.0]} for i in range(count)
    ]


def test_many_items_are_enrolled_in_steps(client):
    job = ended(client, begun(client, kind="enrol", entries=many(200)))
    assert (job["state"], job["done"], job["total"], job["attempts"]) == ("done", 200, 200, 1)
    assert job["result"] == {"new": 200, "replaced": 0, "unchanged": 0}
    assert len(client.service.galleries["people"].gallery) == 203
    (payload,) = client.service.state.rows("SELECT payload FROM jobs")[0]
    assert payload is None, "what was sent is not kept"


def test_clusters_and_calibration_are_those_of_the_gallery(client):
    job = ended(client, begun(client, kind="cluster", threshold=0.5))
    assert job["result"] == {"clusters": 2, "items": 3, "threshold": 0.5, "added": 3, "joined": []}
    assert client.get("/v1/galleries/people/assignments").json()["clusters"] == {
        "ann/1": 1,
        "ann/2": 1,
        "bob/1": 2,
    }
    listed = client.get("/v1/galleries/people/clusters", params={"limit": 1}).json()
    assert listed["clusters"][0]["items"] == ["ann/1", "ann/2"]
    assert listed["clusters"][0]["identities"] == {"ann": 2}
    assert (listed["total"], listed["next"]) == (2, 1)
    again = ended(client, begun(client, kind="cluster", threshold=0.9))
    assert again["state"] == "failed"
    assert again["error"].startswith("the clusters of the gallery people were made with")
    job = ended(client, begun(client, kind="calibrate", fpir=0.1))
    assert job["result"]["asked"] == 0.1
    assert job["result"] == client.get("/v1/galleries/people/calibration").json()


def test_a_wrong_identity_and_hard_pairs_are_found(client):
    rng = np.random.default_rng(0)
    entries = [
        {"identity": name, "item": f"{name}{i}", "embedding": (rng.normal(size=2) * 0.1 + place).tolist()}
        for name, place in (("p", (20, 0)), ("q", (0, 20)))
        for i in range(8)
    ]
    entries.append({"identity": "p", "item": "wrong", "embedding": [0.0, 20.0]})
    ended(client, begun(client, kind="enrol", entries=entries))
    audit = ended(client, begun(client, kind="audit", count=3))["result"]["suspects"]
    assert (audit[0]["item"], audit[0]["identity"], audit[0]["looks_like"]) == ("wrong", "p", "q")
    pairs = ended(client, begun(client, kind="pairs", count=5))["result"]
    assert "wrong" in (pairs["far"][0]["first"], pairs["far"][0]["second"])
    assert "wrong" in (pairs["near"][0]["first"], pairs["near"][0]["second"])


@pytest.mark.parametrize(
    ("job", "code", "said"),
    [
        ({"kind": "dance"}, "invalid_request", "does not match any of the expected tags"),
        ({"kind": "calibrate", "fpir": 0}, "invalid_request", "greater than 0"),
        ({"kind": "enrol", "entries": []}, "invalid_request", "at least 1"),
        ({"kind": "cluster", "more": 1}, "invalid_request", "more"),
    ],
)
def test_a_job_that_cannot_be_begun(client, job, code, said):
    assert said in error_of(client.post(JOBS, json=job), 422, code)
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_a_rebuild_takes_only_runs_that_are_shown(client):
    for name in ("../people.db", "/etc", "state", "x"):
        error_of(client.post(JOBS, json={"kind": "rebuild", "run": name}), 404, "not_found")
    error_of(client.get("/v1/jobs/none"), 404, "unknown_job")
    error_of(client.post("/v1/jobs/none/cancel"), 404, "unknown_job")


def test_jobs_are_cancelled(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path) as client:
        hosted = client.service.galleries["people"]
        hosted.changing.acquire()  # nothing is enrolled meanwhile
        try:
            first = begun(client, kind="enrol", entries=many(200))
            second = begun(client, kind="enrol", entries=many(10, "other"))
            assert client.post(f"/v1/jobs/{second['id']}/cancel").json()["state"] == "cancelled"
            until = time.monotonic() + 10
            while client.get(f"/v1/jobs/{first['id']}").json()["state"] != "running":
                assert time.monotonic() < until
            assert client.post(f"/v1/jobs/{first['id']}/cancel").json()["cancel"]
            time.sleep(0.25)  # so that the next step looks whether to stop
        finally:
            hosted.changing.release()
        job = ended(client, first)
        assert job["state"] == "cancelled"
        assert len(hosted.gallery) == 3 + 64, "what was written stays"


@pytest.mark.parametrize(
    "job",
    [
        {"kind": "calibrate", "fpir": 0.1},
        {"kind": "calibrate", "fpir": 0.1, "embeddings": [[7.0, 7.0]]},
        {"kind": "calibrate", "fpir": 0.1, "scoring": "centroid"},
        {"kind": "cluster", "threshold": 0.5},
        {"kind": "cluster", "threshold": 0.5, "linkage": "average"},
        {"kind": "audit", "count": 3},
        {"kind": "pairs", "count": 3},
    ],
    ids=lambda job: " ".join(map(str, job.values())),
)
def test_every_job_at_work_is_cancelled_and_leaves_nothing_half_done(client, job):
    gallery = client.service.galleries["people"].gallery
    before, notes = gallery.revision, gallery._store.notes()
    jobs, cancelled = client.app.state.jobs, threading.Event()
    work = jobs._work[job["kind"]]
    jobs._work[job["kind"]] = lambda *given: cancelled.wait(10) and work(*given)
    made = begun(client, **job)
    until = time.monotonic() + 10
    while client.get(f"/v1/jobs/{made['id']}").json()["state"] != "running":
        assert time.monotonic() < until
    assert client.post(f"/v1/jobs/{made['id']}/cancel").json()["cancel"]
    cancelled.set()
    assert ended(client, made)["state"] == "cancelled"
    assert (gallery.revision, gallery._store.notes(), gallery.clusters()) == (before, notes, {})


def test_too_many_jobs_wait_elsewhere(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path, limits={"jobs": 1}) as client:
        changing = client.service.galleries["people"].changing
        with changing:
            begun(client, kind="enrol", entries=many(10))
            error_of(client.post(JOBS, json={"kind": "cluster"}), 503, "busy")


def test_a_job_goes_on_after_a_restart(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path) as client:
        state = client.service.state
        payload = json.dumps({"entries": many(100)}).encode()
        jobs = client.app.state.jobs
        done = jobs.add(LOCAL, "people", "enrol", {}, payload=payload, total=100)
        lost = jobs.add(LOCAL, "people", "enrol", {}, payload=payload, total=100)
        ended(client, {"id": done.id})
        ended(client, {"id": lost.id})
        # As a killed process leaves them.
        state.changed("UPDATE jobs SET state = 'running', payload = ?, ended = NULL", (payload,))
        state.changed("UPDATE jobs SET attempts = ? WHERE id = ?", (ATTEMPTS, lost.id))
    with served({"people": people(tmp_path, name="people.db")}, tmp_path) as client:
        found = ended(client, {"id": done.id})
        assert (found["state"], found["attempts"]) == ("done", 2)
        assert found["result"] == {"new": 0, "replaced": 0, "unchanged": 100}
        found = client.get(f"/v1/jobs/{lost.id}").json()
        assert found["state"] == "interrupted"
        assert "died 3 times" in found["error"]


def test_a_job_outlives_any_number_of_orderly_restarts(tmp_path):
    for _ in range(ATTEMPTS + 1):
        with served({"people": people(tmp_path)}, tmp_path) as client:
            jobs, state = client.app.state.jobs, client.service.state
            jobs._work["cluster"] = lambda service, job, payload, progress: endless(progress)
            if not state.rows("SELECT id FROM jobs"):
                begun(client, kind="cluster", threshold=0.5)
            until = time.monotonic() + 10
            while state.rows("SELECT state FROM jobs") != [("running",)]:
                assert time.monotonic() < until
    with served({"people": people(tmp_path)}, tmp_path) as client:
        (job,) = client.get("/v1/jobs").json()["jobs"]
        job = ended(client, job)
        assert (job["state"], job["attempts"], job["result"]["clusters"]) == ("done", 1, 2)


def endless(progress):
    while True:
        progress(0)
        time.sleep(0.01)


def test_a_forgotten_identity_is_in_no_job(client):
    hosted = client.service.galleries["people"]
    ended(client, begun(client, kind="enrol", entries=many(4, "secret")))
    ended(client, begun(client, kind="pairs"))
    assert b"secret" in client.service.state.path.read_bytes() + wal(client)
    with hosted.changing:
        waiting = begun(client, kind="enrol", entries=many(3, "secret") + many(3, "other"))
        time.sleep(0.3)  # the job is at work, and waits for its turn to write
        assert client.service.forget(hosted, "secret") == 4
    assert ended(client, waiting)["state"] == "done"
    assert "secret" not in hosted.gallery.identities()
    assert hosted.gallery.identities()["other"] == 3
    client.service.state.wipe()
    assert b"secret" not in client.service.state.path.read_bytes() + wal(client)


def wal(client):
    path = client.service.state.path
    log = path.with_name(f"{path.name}-wal")
    return log.read_bytes() if log.exists() else b""


def test_forgetting_somebody_of_another_gallery_skips_nobody(client):
    jobs = client.app.state.jobs
    jobs._forget("elsewhere", "ann", {"ann"})
    assert jobs.name_now("people", "ann") == "ann"
    jobs._forget("people", "ann", {"ann"})
    assert jobs.name_now("people", "ann") is None


def test_a_job_enrols_under_the_name_that_an_identity_has_since(client):
    hosted = client.service.galleries["people"]
    path = "/v1/galleries/people"
    ended(client, begun(client, kind="enrol", entries=many(4, "old")))
    with hosted.changing:
        at_work = begun(client, kind="enrol", entries=many(6, "old"))
        waiting = begun(client, kind="enrol", entries=many(8, "old") + many(2, "ann"))
        time.sleep(0.3)  # the first is at work, and waits for its turn to write
        for before, after in (("old", "new"), ("new", "newer")):
            hosted.gallery.rename(before, after)
            client.service.renamed("people", before, after)
    for job in (at_work, waiting):
        assert ended(client, job)["state"] == "done"
    counts = client.get(f"{path}/identities").json()["identities"]
    assert {one["identity"]: one["items"] for one in counts} == {"ann": 4, "bob": 1, "newer": 8}


def test_calls_that_rename_reach_the_jobs(client):
    path, jobs = "/v1/galleries/people", client.app.state.jobs
    client.post(f"{path}/rename", json={"identity": "ann", "to": "ann b."})
    assert jobs.name_now("people", "ann") == "ann b."
    client.post(f"{path}/merge", json={"identity": "bob", "other": "ann b."})
    assert [jobs.name_now("people", name) for name in ("ann", "ann b.", "bob")] == ["bob"] * 3


def test_what_was_said_of_clusters_is_forgotten_too(client):
    known = {"names": {"1": "ann", "2": "bob"}, "moved": {"ann/1": "ann", "bob/1": 2}}
    ended(client, begun(client, kind="cluster", threshold=0.5, known=known))
    client.post("/v1/galleries/people/forget", json={"identity": "ann"})
    (arguments,) = client.service.state.rows("SELECT arguments FROM jobs")[0]
    assert json.loads(arguments)["known"] == {"names": {"2": "bob"}, "moved": {"bob/1": 2}}


def test_jobs_that_wait_hold_a_bounded_number_of_bytes(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path, limits={"job_bytes": 1000}) as client:
        assert client.post(JOBS, json={"kind": "enrol", "entries": many(2)}).status_code == 202
        error_of(client.post(JOBS, json={"kind": "enrol", "entries": many(200)}), 503, "busy")
