"""Calls that ask: verify, identify, search, recommend."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends

from trine.gallery import Identification
from trine.service.access import OneGallery, TheService, reader
from trine.service.bodies import body, takes
from trine.service.calls import CallRoute
from trine.service.errors import ApiError
from trine.service.faces import Seen
from trine.service.hosted import Asked, Hosted
from trine.service.limits import check_most
from trine.service.schemas import (
    Asking,
    FaceModel,
    HitModel,
    HitsAnswer,
    IdentificationModel,
    IdentifyAnswer,
    IdentifyManyRequest,
    IdentifyRequest,
    RecommendRequest,
    SearchRequest,
    VerificationModel,
    VerifyRequest,
    Where,
)

router = APIRouter(
    prefix="/v1/galleries/{gallery}", tags=["ask"], dependencies=[Depends(reader)], route_class=CallRoute
)


@router.post("/verify", openapi_extra=takes(VerifyRequest))
def verify(hosted: OneGallery, given: Annotated[VerifyRequest, body(VerifyRequest)]) -> VerificationModel:
    """Are these two the same, or is this who they claim to be? Of several faces the largest is compared."""
    first = hosted.one(given.a)
    second = Asked() if given.b is None else hosted.one(given.b)
    decision = hosted.gallery.verify(
        first.content,
        second.content,
        embedding=first.embedding,
        other_embedding=second.embedding,
        identity=given.identity,
        threshold=given.threshold,
    )
    return VerificationModel.of(decision)


@router.post("/identify", openapi_extra=takes(IdentifyRequest))
def identify(
    hosted: OneGallery, service: TheService, given: Annotated[IdentifyRequest, body(IdentifyRequest)]
) -> IdentifyAnswer:
    """Who is this, if anybody? One answer for each face of a picture."""
    check_most(given.candidates, service.limits.results, "candidates")
    return IdentifyAnswer(answers=_identified(hosted, hosted.asked(given), given))


@router.post("/identify_many", openapi_extra=takes(IdentifyManyRequest))
def identify_many(
    hosted: OneGallery, service: TheService, given: Annotated[IdentifyManyRequest, body(IdentifyManyRequest)]
) -> IdentifyAnswer:
    """Identifies several probes: one answer each, of several faces on a picture for the largest."""
    check_most(len(given.probes), service.limits.items, "probes")
    check_most(given.candidates, service.limits.results, "candidates")
    return IdentifyAnswer(answers=_identified(hosted, [hosted.one(probe) for probe in given.probes], given))


@router.post("/search", openapi_extra=takes(SearchRequest))
def search(
    hosted: OneGallery, service: TheService, given: Annotated[SearchRequest, body(SearchRequest)]
) -> HitsAnswer:
    """Which items are most like this one? Of several faces on a picture, like the largest."""
    check_most(given.k, service.limits.results, "k")
    check_most(len(given.exclude), service.limits.items, "exclude")
    probe = hosted.one(given)
    hits = hosted.gallery.search(
        probe.content,
        embedding=probe.embedding,
        k=given.k,
        where=conditions(given.where),
        exclude=given.exclude,
        offset=given.offset,
    )
    return HitsAnswer(hits=[HitModel.of(hit) for hit in hits], face=_face(probe.seen))


@router.post("/recommend", openapi_extra=takes(RecommendRequest))
def recommend(
    hosted: OneGallery, service: TheService, given: Annotated[RecommendRequest, body(RecommendRequest)]
) -> HitsAnswer:
    """Which items are near some and away from others?"""
    check_most(given.k, service.limits.results, "k")
    check_most(len(given.like) + len(given.unlike), service.limits.items, "items")
    hits = hosted.gallery.recommend(
        given.like,
        unlike=given.unlike,
        k=given.k,
        diversity=given.diversity,
        where=conditions(given.where),
    )
    return HitsAnswer(hits=[HitModel.of(hit) for hit in hits])


def conditions(where: Where) -> dict[str, Any]:
    """Turns conditions in JSON into those of a gallery: a range is {"from": low, "to": high}."""
    found: dict[str, Any] = {}
    for key, value in where.items():
        if isinstance(value, dict):
            if not value or set(value) - {"from", "to"}:
                raise ApiError(
                    "invalid_request",
                    f'the condition on {key[:80]!r} must be a value, a list, or {{"from": low, "to": high}}',
                )
            value = (value.get("from"), value.get("to"))
        found[key] = value
    return found


def _identified(hosted: Hosted, asked: list[Asked], given: Asking) -> list[IdentificationModel]:
    """Identifies questions together; contents are embedded as one batch."""
    contents = [each.content for each in asked if each.embedding is None]
    rows = iter(hosted.embed(contents)) if contents else iter(())
    embeddings = [np.asarray(each.embedding if each.embedding is not None else next(rows)) for each in asked]
    answers: list[Identification] = hosted.gallery.identify_many(
        embeddings=embeddings,
        threshold=given.threshold,
        candidates=given.candidates,
        scoring=given.scoring,
        top=given.top,
        quality=given.quality,
    )
    return [
        IdentificationModel.of(answer, _face(each.seen)) for answer, each in zip(answers, asked, strict=True)
    ]


def _face(seen: Seen | None) -> FaceModel | None:
    if seen is None or seen.box is None:
        return None
    return FaceModel(box=seen.box, score=seen.score, problems=list(seen.problems))
