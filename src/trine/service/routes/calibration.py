"""Calls about the rate of a gallery: its calibration, and the evidence for it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from trine.service.access import OneGallery, reader
from trine.service.schemas import LONGEST_NAME, CalibrationModel, RatesAnswer, Scoring

router = APIRouter(prefix="/v1/galleries/{gallery}", tags=["calibration"], dependencies=[Depends(reader)])

Top = Annotated[int, Query(ge=1, le=10_000)]
Quality = Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME)]


@router.get("/calibration")
def calibration(
    hosted: OneGallery, scoring: Scoring = "best", top: Top = 3, quality: Quality = None
) -> CalibrationModel:
    """The threshold that `identify` decides by, and how often a stranger is named."""
    return CalibrationModel.of(hosted.gallery.calibration(scoring=scoring, top=top, quality=quality))


@router.get("/rates")
def rates(
    hosted: OneGallery, scoring: Scoring = "best", top: Top = 3, quality: Quality = None
) -> RatesAnswer | None:
    """The evidence: the share of strangers that each threshold names; null with fewer than two strangers."""
    found = hosted.gallery.rates(scoring=scoring, top=top, quality=quality)
    return None if found is None else RatesAnswer.of(found)
