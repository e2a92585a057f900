"""Calls to look instead of reading: the map, judgements of pairs, their triplets, and runs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Response

from trine.io import read_small
from trine.plain_json import parse_json
from trine.service.access import (
    Everywhere,
    OneGallery,
    TheService,
    Viewer,
    Writer,
    everywhere,
    reader,
)
from trine.service.bodies import body, takes
from trine.service.errors import ApiError
from trine.service.judgements import Judgements, triplets_csv
from trine.service.schemas import (
    AssignmentsAnswer,
    Judgement,
    JudgementModel,
    JudgementPair,
    JudgementsAnswer,
    MapAnswer,
    RemoveAnswer,
    RunLogAnswer,
    RunModel,
    RunsAnswer,
)
from trine.service.work import run_folder

router = APIRouter(prefix="/v1", tags=["review"])

MOST_ROWS = 5_000
"""The most rows of a training log that are sent; of more, some are left out evenly."""


@router.get("/galleries/{gallery}/map", dependencies=[Depends(reader)])
def map_of(hosted: OneGallery) -> MapAnswer:
    """All items on a plane, up to 100,000: where the embeddings of two are near, they are near there."""
    plane = hosted.plane.get()
    numbers: dict[str, int] = {}
    identity = [numbers.setdefault(name, len(numbers)) for name in plane.identities]
    return MapAnswer.model_construct(
        items=plane.items,
        x=plane.positions[:, 0].tolist(),
        y=plane.positions[:, 1].tolist(),
        identity=identity,
        identities=list(numbers),
        explained=round(plane.explained, 4),
        sampled=plane.sampled,
    )


@router.get("/galleries/{gallery}/assignments", dependencies=[Depends(reader)])
def assignments(hosted: OneGallery) -> AssignmentsAnswer:
    """The cluster of every item that has one."""
    return AssignmentsAnswer(clusters=hosted.gallery.clusters())


@router.get("/galleries/{gallery}/judgements", dependencies=[Depends(reader)])
def judgements(service: TheService, hosted: OneGallery) -> JudgementsAnswer:
    """What people said about pairs of items."""
    found = Judgements(service.state).all(hosted.name)
    return JudgementsAnswer(judgements=[JudgementModel.model_validate(vars(one)) for one in found])


@router.post("/galleries/{gallery}/judgements", openapi_extra=takes(Judgement))
def judge(
    service: TheService, hosted: OneGallery, caller: Writer, given: Annotated[Judgement, body(Judgement)]
) -> JudgementsAnswer:
    """Keeps what a person says about two items, in place of an earlier answer."""
    if given.first == given.second:
        raise ApiError("invalid_request", "two items are judged, given one twice")
    with hosted.changing:
        for name in (given.first, given.second):
            hosted.gallery.get(name)
        kept = Judgements(service.state)
        kept.keep(hosted.name, given.first, given.second, given.answer, who=caller.name)
        items = [given.first, given.second]
        service.log.add(caller.name, hosted.name, "judge", items=items, answer=given.answer)
    return judgements(service, hosted)


@router.post("/galleries/{gallery}/judgements/drop", openapi_extra=takes(JudgementPair))
def drop_judgement(
    service: TheService,
    hosted: OneGallery,
    caller: Writer,
    given: Annotated[JudgementPair, body(JudgementPair)],
) -> RemoveAnswer:
    """Takes a judgement back."""
    with hosted.changing:
        removed = Judgements(service.state).drop(hosted.name, given.first, given.second)
        if removed:
            service.log.add(caller.name, hosted.name, "unjudge", items=[given.first, given.second])
    return RemoveAnswer(removed=removed)


@router.get(
    "/galleries/{gallery}/triplets.csv",
    dependencies=[Depends(reader)],
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}, "description": "a table of anchor, positive, negative"}},
)
def triplets(service: TheService, hosted: OneGallery) -> Response:
    """The judgements as triplets, which `trine train --triplets` reads."""
    text = triplets_csv(hosted.gallery, Judgements(service.state).all(hosted.name))
    file = quote(f"{hosted.name}-triplets.csv")  # a header holds no letters beyond Latin
    named = {"Content-Disposition": f"attachment; filename*=UTF-8''{file}"}
    return Response(text, media_type="text/csv", headers=named)


@router.get("/runs")
def runs(service: TheService, caller: Everywhere) -> RunsAnswer:
    """The runs in the folder that the service shows, with what was measured."""
    folder = service.settings.runs
    if folder is None or not folder.is_dir():
        return RunsAnswer(runs=[])
    found = [path for path in sorted(folder.iterdir()) if (path / "recipe.yaml").is_file()]
    return RunsAnswer(runs=[_run(path) for path in found])


@router.get("/runs/{run}/log")
def run_log(service: TheService, caller: Everywhere, run: str) -> RunLogAnswer:
    """The training log of a run: its curves and its census, by column."""
    return RunLogAnswer(name=run, columns=_log(run_folder(service, run)))


@router.get(
    "/runs/{run}/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}, "description": "the report of the run"}},
    dependencies=[Depends(everywhere)],
)
def run_report(service: TheService, caller: Viewer, run: str) -> Response:
    """The report of a run, as a file to open: it shows pictures."""
    path = run_folder(service, run) / "report.html"
    try:
        content = read_small(path)
    except OSError:
        raise ApiError(
            "not_found", f"the run {run[:80]!r} has no report", "trine evaluate writes one"
        ) from None
    named = {"Content-Disposition": 'attachment; filename="report.html"'}
    return Response(content, media_type="text/html; charset=utf-8", headers=named)


def _run(path: Path) -> RunModel:
    log = _log(path)
    steps = [step for step in log.get("step", []) if isinstance(step, float)]
    return RunModel(
        name=path.name,
        metrics=_metrics(path / "metrics.json"),
        steps=int(max(steps, default=0)),
        report=(path / "report.html").is_file(),
    )


def _metrics(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(read_small(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _log(path: Path) -> dict[str, list[float | str | None]]:
    try:
        text = read_small(path / "metrics.csv").decode("utf-8", errors="replace")
    except OSError:
        return {}
    rows = list(csv.DictReader(io.StringIO(text)))
    rows = rows[:: max(1, -(-len(rows) // MOST_ROWS))]
    columns = list(rows[0]) if rows else []
    return {name: [_number(row.get(name)) for row in rows] for name in columns if name is not None}


def _number(text: str | None) -> float | str | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return text
    return value if value == value and abs(value) != float("inf") else None
