"""What each kind of job does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trine.encoders import load
from trine.errors import GalleryError
from trine.evaluation import SuspectLabel, find_label_errors
from trine.evaluation.hardest import HardPairs, hardest_pairs
from trine.gallery import Enrolment, Gallery, KnownClusters
from trine.service.batching import BatchingEncoder
from trine.service.enrolling import enrol_all
from trine.service.errors import ApiError
from trine.service.hosted import Hosted
from trine.service.jobs import Job, Jobs, Progress, Work
from trine.service.schemas import CalibrationModel, NewItem
from trine.service.service import Service

STEP = 64
"""How many items a bulk enrolment writes together."""

MOST_ITEMS = 200_000
"""The most items of a gallery that are audited."""


def kinds_of_work(jobs: Callable[[], Jobs]) -> dict[str, Work]:
    """What each kind of job does.

    Args:
        jobs: Returns the jobs of the service, once they are made.
    """

    def enrol(service: Service, job: Job, payload: bytes | None, progress: Progress) -> Mapping[str, Any]:
        """Enrols items in steps; each is written completely or not at all."""
        entries = json.loads(payload or b'{"entries": []}')["entries"]
        hosted, done = hosted_of(service, job), Enrolment()
        for start in range(0, len(entries), STEP):
            progress(start)
            part = [NewItem.model_validate(one) for one in entries[start : start + STEP]]
            done += enrol_all(
                service, hosted, part, who=job.who, name_now=partial(jobs().name_now, hosted.name)
            )
        return asdict(done)

    return {
        "enrol": enrol,
        "cluster": cluster,
        "calibrate": calibrate,
        "rebuild": rebuild,
        "audit": audit,
        "pairs": pairs,
    }


def cluster(service: Service, job: Job, payload: bytes | None, progress: Progress) -> Mapping[str, Any]:
    """Assigns every item to a cluster; see `Gallery.cluster`."""
    hosted = hosted_of(service, job)
    arguments = dict(job.arguments)
    known = KnownClusters()
    if (told := arguments.pop("known")) is not None:
        names = {int(number): name for number, name in told["names"].items()}
        known = KnownClusters(names, told["moved"])
    found = hosted.gallery.cluster(**arguments, known=known, progress=progress)
    service.log.add(job.who, job.gallery, "cluster", clusters=len(found), threshold=found.threshold)
    joined = [list(pair) for pair in found.joined]
    counts = {"clusters": len(found), "items": len(found.of)}
    return {**counts, "threshold": found.threshold, "added": found.added, "joined": joined}


def calibrate(service: Service, job: Job, payload: bytes | None, progress: Progress) -> Mapping[str, Any]:
    """Chooses the threshold of `identify`; see `Gallery.calibrate`."""
    hosted = hosted_of(service, job)
    found = hosted.gallery.calibrate(**job.arguments)
    service.log.add(job.who, job.gallery, "calibrate", fpir=found.asked, threshold=found.threshold)
    return CalibrationModel.of(found).model_dump(mode="json")


def rebuild(service: Service, job: Job, payload: bytes | None, progress: Progress) -> Mapping[str, Any]:
    """Embeds every item again with the encoder of a run; see `Gallery.rebuild`."""
    hosted = hosted_of(service, job)
    folder = run_folder(service, job.arguments["run"])
    encoder = BatchingEncoder(load(folder), observe=service.metrics.batches.labels(hosted.name).observe)
    with hosted.changing:
        hosted.check_sources()
        done = hosted.gallery.rebuild(
            encoder, drop_missing=job.arguments["drop_missing"], model=folder, progress=progress
        )
        hosted.encoder_changed()
    service.log.add(job.who, job.gallery, "rebuild", run=folder.name, count=done.embedded)
    return {"embedded": done.embedded, "dropped": list(done.dropped)}


def audit(service: Service, job: Job, payload: bytes | None, progress: Progress) -> Mapping[str, Any]:
    """Ranks the items by how likely their identity is wrong; see `trine.evaluation.find_label_errors`."""
    gallery = hosted_of(service, job).gallery
    rows, identities, names = embeddings_of(gallery, progress)
    distance = gallery.binding.distance
    found = find_label_errors(rows, identities, names=names, distance=distance)

    def like(one: SuspectLabel) -> str | None:
        near = found.neighbours.indices[one.row].tolist()
        return next((names[row] for row in near if row >= 0 and identities[row] == one.looks_like), None)

    return {
        "suspects": [
            {
                "item": one.item,
                "identity": one.label,
                "looks_like": one.looks_like,
                "score": round(one.score, 4),
                "evidence": one.evidence,
                "like": like(one),
                "neighbours": [names[row] for row in one.neighbours[:5]],
            }
            for one in found.suspects(job.arguments["count"])
        ]
    }


def pairs(service: Service, job: Job, payload: bytes | None, progress: Progress) -> Mapping[str, Any]:
    """Finds the pairs on which the gallery fails worst; see `trine.evaluation.hardest`."""
    gallery = hosted_of(service, job).gallery
    rows, identities, names = embeddings_of(gallery, progress)
    distance = gallery.binding.distance
    found = hardest_pairs(rows, identities, distance=distance, count=job.arguments["count"])

    def listed(kind: HardPairs) -> list[dict[str, Any]]:
        triples = zip(kind.first.tolist(), kind.second.tolist(), kind.distances.tolist(), strict=True)
        return [
            {
                "first": names[first],
                "second": names[second],
                "identities": [identities[first], identities[second]],
                "distance": round(distance, 6),
            }
            for first, second, distance in triples
        ]

    return {"far": listed(found.positives), "near": listed(found.negatives), "sampled": found.sampled}


def embeddings_of(gallery: Gallery, progress: Progress) -> tuple[np.ndarray, list[str], list[str]]:
    """Reads all embeddings of a gallery with identities and names.

    Raises:
        ApiError: There are too many, or fewer than two identities.
    """
    if len(gallery) > MOST_ITEMS:
        raise ApiError("too_many", f"a gallery of at most {MOST_ITEMS:,} items can be audited")
    rows, identities, names = [], [], []
    for entry in gallery.entries():
        rows.append(np.asarray(entry.embedding))
        identities.append(entry.identity)
        names.append(entry.item)
        if len(names) % 1000 == 0:
            progress(len(names))
    if len(set(identities)) < 2:
        raise ApiError("conflict", "an audit compares identities: enrol at least two")
    return np.stack(rows), identities, names


def run_folder(service: Service, name: str) -> Path:
    """Finds a run by its name among those that the service shows.

    Raises:
        ApiError: There is none of this name.
    """
    runs = service.settings.runs
    found = [] if runs is None or not runs.is_dir() else sorted(runs.iterdir())
    known = {path.name: path for path in found if path.is_dir()}
    if name not in known:
        raise ApiError(
            "not_found", f"there is no run {name[:80]!r} here", "start the service with --runs FOLDER"
        )
    return known[name]


def hosted_of(service: Service, job: Job) -> Hosted:
    """The gallery of a job.

    Raises:
        GalleryError: The service no longer has it.
    """
    if job.gallery not in service.galleries:
        raise GalleryError(f"the service no longer has the gallery {job.gallery[:80]!r}")
    return service.galleries[job.gallery]
