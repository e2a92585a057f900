"""The requests and answers of the API: pydantic models over the frozen values of a gallery."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    RootModel,
    WithJsonSchema,
    model_validator,
)

from trine.gallery import Clusters, Entry, GalleryCalibration, Hit, Stats
from trine.gallery.decision import Decision
from trine.rates import RateCurve
from trine.service.audit_log import Change
from trine.service.keys import Key
from trine.service.settings import Limits

LONGEST_NAME = 4_096
"""The most letters of the name of an identity or an item."""

LONGEST_TEXT = 1_000_000


def _usable(name: str) -> str:
    if "\0" in name:
        raise ValueError("must not contain a NUL character")
    return name


def _picture(value: object) -> object:
    """The bytes of a picture: as they came in a form, or in base64 in JSON."""
    if not isinstance(value, str):
        return value
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be a file in base64") from None


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_usable)]
Names = list[Name]
Picture = Annotated[
    bytes,
    Field(min_length=1),
    BeforeValidator(_picture),
    PlainSerializer(lambda content: base64.b64encode(content).decode(), when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "the file in base64"}),
]
Row = list[FiniteFloat]
Where = dict[str, Any]
"""Conditions on metadata: a value, a list of values, or a range {"from": low, "to": high}."""

Scoring = Literal["best", "mean", "centroid"]


class Model(BaseModel):
    """What all requests and answers share: no unknown fields."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null", use_attribute_docstrings=True)


class Probe(Model):
    """What to ask with: a picture, a text, numbers, a row of a table, an embedding, or an enrolled item."""

    picture: Picture | None = None
    text: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None
    vector: Row | None = None
    """Numbers for the encoder, if it embeds numbers."""
    row: Mapping[str, Any] | None = None
    """A row of a table for the encoder, if it embeds rows."""
    embedding: Annotated[Row, Field(min_length=1)] | None = None
    """An embedding of the gallery's encoder, computed elsewhere."""
    item: Name | None = None
    """The name of an enrolled item."""
    face: Annotated[int, Field(ge=0)] | None = None
    """Which face of the picture, in a gallery of faces: 0 is the largest. By default all of them."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("picture", "text", "vector", "row", "embedding", "item"))
        return self


class NewItem(Model):
    """One item to enrol, with its content or its embedding."""

    identity: Name
    item: Name
    picture: Picture | None = None
    text: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None
    vector: Row | None = None
    row: Mapping[str, Any] | None = None
    embedding: Annotated[Row, Field(min_length=1)] | None = None
    face: Annotated[int, Field(ge=0)] | None = None
    metadata: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("picture", "text", "vector", "row", "embedding"))
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "identity": "ann",
                    "item": "ann/1.jpg",
                    "embedding": [0.0, 1.0],
                    "metadata": {"year": 2024},
                }
            ]
        }
    )


class NewItems(Model):
    """Several items to enrol; all of them are written, or none."""

    entries: Annotated[list[NewItem], Field(min_length=1)]


class ItemsRequest(Model):
    """Names of items."""

    items: Annotated[Names, Field(min_length=1)]


class RemoveRequest(Model):
    """An item to delete."""

    item: Name


class ForgetRequest(Model):
    """An identity to delete with every trace."""

    identity: Name


class RenameRequest(Model):
    """A new name for an identity."""

    identity: Name
    to: Name

    model_config = ConfigDict(json_schema_extra={"examples": [{"identity": "anne", "to": "ann"}]})


class MergeRequest(Model):
    """Two identities that become the first."""

    identity: Name
    other: Name


class MoveRequest(Model):
    """Items that move to an identity."""

    items: Annotated[Names, Field(min_length=1)]
    identity: Name


class VerifyRequest(Model):
    """Two probes to compare, or one with a claimed identity."""

    a: Probe
    b: Probe | None = None
    identity: Name | None = None
    threshold: Annotated[FiniteFloat, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("b", "identity"))
        return self

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"a": {"embedding": [0.0, 0.9]}, "identity": "ann"}]}
    )


class Asking(Model):
    """How identities are scored, and by which threshold."""

    threshold: Annotated[FiniteFloat, Field(ge=0)] | None = None
    candidates: Annotated[int, Field(ge=1)] = 3
    scoring: Scoring = "best"
    top: Annotated[int, Field(ge=1, le=10_000)] = 3
    quality: Name | None = None


class IdentifyRequest(Probe, Asking):
    """A probe to identify."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"embedding": [0.0, 0.9], "candidates": 3}]})


class IdentifyManyRequest(Asking):
    """Several probes to identify."""

    probes: Annotated[list[Probe], Field(min_length=1)]


class SearchRequest(Probe):
    """A probe to search with."""

    k: Annotated[int, Field(ge=1)] = 10
    where: Where = {}
    exclude: Names = []
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"embedding": [0.0, 0.9], "k": 5, "where": {"year": {"from": 2020, "to": None}}}]
        }
    )


class RecommendRequest(Model):
    """Items to be near, and items to keep away from."""

    like: Annotated[Names, Field(min_length=1)]
    unlike: Names = []
    k: Annotated[int, Field(ge=1)] = 10
    diversity: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0
    where: Where = {}

    model_config = ConfigDict(json_schema_extra={"examples": [{"like": ["ann/1.jpg"], "k": 5}]})


class SignIn(Model):
    """A key, to be kept in a cookie of the page."""

    key: Annotated[str, Field(max_length=200)]


class PromiseModel(Model):
    """The error rate of a threshold, and how well it is known."""

    name: Literal["far", "fpir"]
    rate: float
    state: Literal["firm", "provisional"]
    estimate: float
    interval: tuple[float, float]
    identities: int


class FaceModel(Model):
    """A face in a picture."""

    box: tuple[float, float, float, float]
    """Its left and upper edge, its width and its height, in pixels of the picture."""
    score: float
    """How sure the detector is, from 0 to 1."""
    problems: list[str] = []
    """Why an answer about it is doubtful, a sentence each."""


class DecisionModel(Model):
    """A score against a threshold."""

    score: float | None
    """The distance; None where there was nothing to compare with."""
    threshold: float | None
    promise: PromiseModel | None
    probability: float | None
    state: Literal["firm", "provisional", "uncalibrated"]
    accepted: bool | None
    sentence: str
    """The answer in plain words."""


class VerificationModel(DecisionModel):
    """The answer to "the same?"."""

    claim: str | None

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """Makes the answer of a decision."""
        return cls.model_validate(decision.to_json())


class CandidateModel(Model):
    """An identity that a probe may belong to."""

    identity: str
    score: float
    item: str | None


class IdentificationModel(DecisionModel):
    """The answer to "who?"."""

    identity: str | None
    margin: float | None
    nearest: str | None
    item: str | None
    runner_up: str | None
    runner_up_score: float | None
    candidates: list[CandidateModel]
    warning: str
    face: FaceModel | None = None
    """The face that was looked at, in a gallery of faces."""

    @classmethod
    def of(cls, decision: Decision, face: FaceModel | None = None) -> Self:
        """Makes the answer of a decision."""
        return cls.model_validate({**decision.to_json(), "face": face})


class IdentifyAnswer(Model):
    """One answer for each face of a picture, the largest first; one answer for everything else."""

    answers: list[IdentificationModel]


class HitModel(Model):
    """One item that was found."""

    item: str
    identity: str
    score: float
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """Makes the answer of a hit."""
        return cls(item=hit.item, identity=hit.identity, score=hit.score, metadata=hit.metadata)


class HitsAnswer(Model):
    """The items that were found, nearest first."""

    hits: list[HitModel]
    face: FaceModel | None = None
    """The face that was searched for, in a gallery of faces."""


class EnrolAnswer(Model):
    """What an enrolment changed."""

    new: int
    replaced: int
    unchanged: int


class RemoveAnswer(Model):
    """Whether the item existed."""

    removed: bool


class ForgetAnswer(Model):
    """How many items were deleted, what is kept with the model included."""

    deleted: int


class Undo(Model):
    """A call that takes a change back: POST its body to /v1/galleries/GALLERY/CALL."""

    call: Literal["rename", "move"]
    body: dict[str, Any]


class ChangeAnswer(Model):
    """How many items were changed, and the calls that take it back, in order."""

    moved: int
    undo: list[Undo]


class IdentityModel(Model):
    """An identity, and how many items it has."""

    identity: str
    items: int
    picture: str | None = None
    """An item of it that has a picture, if pictures are asked for."""


class IdentitiesAnswer(Model):
    """One page of identities."""

    identities: list[IdentityModel]
    total: int
    """How many there are on all pages."""
    next: str | None
    """Pass it as `after` for the next page; None on the last one."""


class ItemModel(Model):
    """An enrolled item."""

    item: str
    identity: str
    metadata: Mapping[str, Any]
    cluster: int | None = None
    picture: bool
    """Whether there is a picture of it to show."""
    embedding: list[float] | None = None

    @classmethod
    def of(cls, entry: Entry, *, picture: bool, embedding: bool = False, cluster: int | None = None) -> Self:
        """Makes the answer of an entry."""
        row: Any = entry.embedding
        return cls(
            item=entry.item,
            identity=entry.identity,
            metadata=entry.metadata,
            cluster=cluster,
            picture=picture,
            embedding=row.tolist() if embedding else None,
        )


class ItemsAnswer(Model):
    """One page of items."""

    items: list[ItemModel]
    next: str | None


class ClusterModel(Model):
    """A cluster, with its first items and the identities in it."""

    cluster: int
    count: int
    items: list[str]
    identities: dict[str, int]


class ClustersAnswer(Model):
    """One page of clusters, the largest first."""

    clusters: list[ClusterModel]
    total: int
    next: int | None


class ClusterResult(Model):
    """The cluster of every item."""

    clusters: dict[str, int]
    threshold: float
    added: int
    joined: list[tuple[int, int]]

    @classmethod
    def of(cls, clusters: Clusters) -> Self:
        """Makes the answer of clusters."""
        joined = [(stays, gone) for stays, gone in clusters.joined]
        return cls(
            clusters=dict(clusters.of), threshold=clusters.threshold, added=clusters.added, joined=joined
        )


class CalibrationModel(Model):
    """The threshold of a gallery, and its false-positive identification rate."""

    asked: float
    threshold: float | None
    promise: PromiseModel | None
    source: Literal["gallery", "model", "folds", "strangers"]
    items: int
    identities: int
    content: str
    basis: str
    chosen: bool
    warning: str
    state: Literal["firm", "provisional", "uncalibrated"]
    sentence: str

    @classmethod
    def of(cls, calibration: GalleryCalibration) -> Self:
        """Makes the answer of a calibration."""
        return cls.model_validate({**calibration.to_json(), "sentence": str(calibration)})


class RatesAnswer(Model):
    """The evidence of a calibration: the share of strangers that each threshold names.

    Each list has one number for each threshold, in ascending order.
    """

    name: Literal["far", "fpir"]
    thresholds: list[float]
    estimate: list[float]
    low: list[float]
    high: list[float]
    effective: list[float]
    alone: float
    identities: int
    scale: float

    @classmethod
    def of(cls, rates: RateCurve) -> Self:
        """Makes the answer of rates."""
        bounds = [rates.at(limit)[1] for limit in rates.limits.tolist()]
        return cls(
            name=rates.name,
            thresholds=rates.limits.tolist(),
            estimate=rates.estimate.tolist(),
            low=[low for low, _ in bounds],
            high=[high for _, high in bounds],
            effective=rates.effective.tolist(),
            alone=rates.alone,
            identities=rates.identities,
            scale=rates.scale,
        )


class StatsModel(Model):
    """The counts and the settings of a gallery."""

    items: int
    identities: int
    per_identity: tuple[int, float, int]
    clusters: int
    dimension: int
    dtype: str
    distance: str
    fingerprint: str
    bytes: int
    recall: dict[str, float] | None

    @classmethod
    def of(cls, stats: Stats) -> Self:
        """Makes the answer of statistics."""
        return cls.model_validate(stats.to_json())


class GalleryModel(Model):
    """A gallery of the service, in short."""

    name: str
    items: int
    identities: int
    kind: Literal["images", "vectors", "texts"] | None
    """What its encoder embeds; None without an encoder: then ask with embeddings."""
    faces: bool
    """Whether faces are looked for in pictures."""
    keeps_pictures: bool
    dimension: int
    distance: str


class GalleriesAnswer(Model):
    """The galleries that this key may use."""

    galleries: list[GalleryModel]


class ModelFacts(Model):
    """The encoder of a gallery, and the threshold by which it verifies."""

    fingerprint: str
    kind: Literal["images", "vectors", "texts"] | None
    network: str | None
    shape: list[int] | None
    dimension: int
    dtype: str
    distance: str
    threshold: float | None
    promise: PromiseModel | None
    trained_identities: int | None
    """How many identities it was trained on; None if that is not known."""
    sentence: str
    """The threshold in plain words."""


class SessionAnswer(Model):
    """Who asks, and what they may do."""

    name: str
    scopes: list[str]
    keys: bool
    """Whether this service needs keys."""
    galleries: list[str]
    keep_pictures: bool
    runs: bool
    """Whether there are runs to look at."""
    limits: dict[str, float]
    version: str

    @staticmethod
    def limits_of(limits: Limits) -> dict[str, float]:
        """The limits that a caller needs to know."""
        return {name: getattr(limits, name) for name in ("body", "job_body", "pixels", "items", "results")}


class KeyModel(Model):
    """A key, without its secret."""

    name: str
    scopes: list[str]
    galleries: list[str] | None
    made: float

    @classmethod
    def of(cls, key: Key) -> Self:
        """Makes the answer of a key."""
        only = None if key.galleries is None else list(key.galleries)
        return cls(name=key.name, scopes=list(key.scopes), galleries=only, made=key.made)


class ChangeModel(Model):
    """One line of the log of changes."""

    number: int
    at: float
    who: str
    gallery: str
    action: str
    details: dict[str, Any]

    @classmethod
    def of(cls, change: Change) -> Self:
        """Makes the answer of a change."""
        return cls.model_validate(vars(change))


class ChangesAnswer(Model):
    """One page of the log of changes, the latest first."""

    changes: list[ChangeModel]
    next: int | None


class KnownClustersModel(Model):
    """What a person knows about clusters."""

    names: dict[int, str] = {}
    """Names of clusters: two with different names are never joined."""
    moved: dict[str, int | str] = {}
    """Where an item belongs: a cluster by its number or its name; "" for one of its own."""


class ClusterJob(Model):
    """Assign every item to a cluster."""

    kind: Literal["cluster"]
    threshold: Annotated[FiniteFloat, Field(ge=0)] | None = None
    neighbours: Annotated[int, Field(ge=1, le=1_000)] = 32
    recluster: bool = False
    choose: bool = False
    linkage: Literal["connected", "average"] | None = None
    known: KnownClustersModel | None = None
    revise: bool = False
    """Whether clusters without a name and without moved items are recomputed (average linkage)."""


class CalibrateJob(Model):
    """Choose the threshold of identifications by how often strangers are named."""

    kind: Literal["calibrate"]
    fpir: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.01
    embeddings: list[Row] | None = None
    """Embeddings of people who are not enrolled; by default the gallery's own identities are left out."""
    identities: Names | None = None
    """The identity of each embedding."""
    scoring: Scoring = "best"
    top: Annotated[int, Field(ge=1, le=10_000)] = 3
    quality: Name | None = None


class RebuildJob(Model):
    """Embed every item again with the encoder of a run."""

    kind: Literal["rebuild"]
    run: Name
    """The name of a run in the folder that the service shows."""
    drop_missing: bool = False


class AuditJob(Model):
    """Rank the items by how likely their identity is wrong."""

    kind: Literal["audit"]
    count: Annotated[int, Field(ge=1, le=1_000)] = 50


class PairsJob(Model):
    """Find the hardest pairs: one identity far apart, two identities near to each other."""

    kind: Literal["pairs"]
    count: Annotated[int, Field(ge=1, le=500)] = 30


class EnrolJob(Model):
    """Enrol many items in steps of 64."""

    kind: Literal["enrol"]
    entries: Annotated[list[NewItem], Field(min_length=1)]


class JobRequest(RootModel[ClusterJob | CalibrateJob | RebuildJob | AuditJob | PairsJob | EnrolJob]):
    """A job to begin."""

    root: Annotated[
        ClusterJob | CalibrateJob | RebuildJob | AuditJob | PairsJob | EnrolJob, Field(discriminator="kind")
    ]

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "cluster", "threshold": 0.5}]})


class JobModel(Model):
    """A job, and how far it is."""

    id: str
    made: float
    who: str
    gallery: str
    kind: Literal["enrol", "cluster", "calibrate", "rebuild", "audit", "pairs"]
    state: Literal["waiting", "running", "done", "failed", "cancelled", "interrupted"]
    done: int
    total: int | None
    started: float | None
    ended: float | None
    result: dict[str, Any] | None
    error: str
    """Why it failed; empty if it did not."""
    code: str
    """The code of the error."""
    attempts: int
    """How often it was begun: more than once after a restart of the service."""
    cancel: bool
    """Whether it was asked to stop."""


class JobsAnswer(Model):
    """The jobs, the latest first."""

    jobs: list[JobModel]


class AssignmentsAnswer(Model):
    """The cluster of every item that has one."""

    clusters: dict[str, int]


class MapAnswer(Model):
    """All items on a plane: the two directions in which their embeddings differ most."""

    items: list[str]
    x: list[float]
    y: list[float]
    identity: list[int]
    """Of each item, the position of its identity in `identities`."""
    identities: list[str]
    explained: float
    """The share of the variance that the plane shows, from 0 to 1."""
    sampled: bool
    """Whether only some of the items are shown."""


class Judgement(Model):
    """What a person says about two items."""

    first: Name
    second: Name
    answer: Literal["same", "different", "wrong_label"]


class JudgementModel(Judgement):
    """A judgement that is kept."""

    at: float
    who: str


class JudgementsAnswer(Model):
    """The judgements that are kept, the latest first."""

    judgements: list[JudgementModel]


class JudgementPair(Model):
    """Two items whose judgement is taken back."""

    first: Name
    second: Name


class RunModel(Model):
    """A run, in short."""

    name: str
    metrics: dict[str, Any]
    """What was measured, as in its metrics.json; empty if it was not evaluated."""
    steps: int
    report: bool
    """Whether it has a report to open."""


class RunsAnswer(Model):
    """The runs that the service shows."""

    runs: list[RunModel]


class RunLogAnswer(Model):
    """The training log of a run, by column."""

    name: str
    columns: dict[str, list[float | str | None]]


class HealthAnswer(Model):
    """That the service is alive, or ready."""

    status: Literal["ok"]
    version: str


class ErrorBody(Model):
    """What went wrong, and what to do."""

    code: str
    message: str
    hint: str


class ErrorAnswer(Model):
    """The shape of every error."""

    error: ErrorBody

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "code": "unknown_name",
                        "message": "identity 'anne' is not in the gallery people: did you mean 'ann'?",
                        "hint": "list the names with GET /v1/galleries/GALLERY/identities or .../items",
                    }
                }
            ]
        }
    )


def _exactly_one(model: BaseModel, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        raise ValueError(f"needs exactly one of {', '.join(names)}; given {', '.join(given) or 'none'}")
