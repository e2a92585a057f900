"""Calls that list: galleries, identities, items and their pictures, clusters, facts about the model."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from trine.errors import DataError
from trine.gallery.errors import UnknownNameError, UnusableStoreError
from trine.service.access import OneGallery, Reader, TheService, Viewer, reader
from trine.service.batching import unwrapped
from trine.service.errors import ApiError
from trine.service.hosted import Hosted
from trine.service.pictures import LARGEST_SIDE
from trine.service.schemas import (
    LONGEST_NAME,
    ClusterModel,
    ClustersAnswer,
    GalleriesAnswer,
    GalleryModel,
    IdentitiesAnswer,
    IdentityModel,
    ItemModel,
    ItemsAnswer,
    ModelFacts,
    PromiseModel,
    StatsModel,
)
from trine.service.settings import Limits

router = APIRouter(prefix="/v1/galleries", tags=["look"])

NameQuery = Annotated[str, Query(min_length=1, max_length=LONGEST_NAME)]
MaybeName = Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME)]
After = Annotated[str, Query(max_length=LONGEST_NAME, description="the `next` of the page before")]
PageSize = Annotated[int, Query(ge=1, le=Limits.results)]


@router.get("")
def galleries(service: TheService, caller: Reader) -> GalleriesAnswer:
    """The galleries that this key may use; one that cannot be read now, with the counts known last."""
    mine = [hosted for name, hosted in service.galleries.items() if caller.may_use(name)]
    return GalleriesAnswer(galleries=[_short(hosted, away=True) for hosted in mine])


@router.get("/{gallery}", dependencies=[Depends(reader)])
def gallery_facts(hosted: OneGallery) -> GalleryModel:
    """One gallery, in short."""
    return _short(hosted)


@router.get("/{gallery}/stats", dependencies=[Depends(reader)])
def stats(hosted: OneGallery) -> StatsModel:
    """Counts of items, identities, clusters and bytes."""
    return StatsModel.of(hosted.gallery.stats())


@router.get("/{gallery}/model", dependencies=[Depends(reader)])
def model_facts(hosted: OneGallery) -> ModelFacts:
    """The encoder of the gallery, and the threshold by which it verifies."""
    bound, threshold = hosted.gallery.binding, hosted.gallery.threshold
    encoder = unwrapped(hosted.gallery.encoder)
    settings: Any = getattr(encoder, "settings", None)
    shape, trained = getattr(settings, "shape", None), getattr(encoder, "trained", None)
    promise = None if threshold is None or threshold.promise is None else threshold.promise.to_json()
    return ModelFacts(
        fingerprint=bound.fingerprint,
        kind=hosted.kind,
        network=getattr(settings, "network", None),
        shape=None if shape is None else list(shape),
        dimension=bound.dimension,
        dtype=bound.dtype,
        distance=bound.distance,
        threshold=None if threshold is None else threshold.value,
        promise=None if promise is None else PromiseModel.model_validate(promise),
        trained_identities=None if trained is None else len(trained.identities),
        sentence="there is no threshold to verify by" if threshold is None else str(threshold),
    )


@router.get("/{gallery}/identities", dependencies=[Depends(reader)])
def identities(
    hosted: OneGallery,
    after: After = "",
    contains: Annotated[str, Query(max_length=LONGEST_NAME)] = "",
    limit: PageSize = 100,
    pictures: bool = False,
) -> IdentitiesAnswer:
    """One page of the identities, in order of their names."""
    counts = hosted.identities()
    names = list(counts)
    if contains:
        wanted = contains.casefold()
        names = [name for name in names if wanted in name.casefold()]
    start = bisect_right(names, after) if after else 0
    page = names[start : start + limit]
    return IdentitiesAnswer(
        identities=[
            IdentityModel(
                identity=name, items=counts[name], picture=_shown(hosted, name) if pictures else None
            )
            for name in page
        ],
        total=len(names),
        next=page[-1] if start + limit < len(names) else None,
    )


@router.get("/{gallery}/items", dependencies=[Depends(reader)])
def items(
    hosted: OneGallery,
    identity: MaybeName = None,
    cluster: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None,
    after: After = "",
    limit: PageSize = 100,
    embeddings: bool = False,
) -> ItemsAnswer:
    """One page of the items of an identity, of a cluster, or of all, in order of their names."""
    found = hosted.gallery.items(_sound(identity), cluster=cluster, after=_sound(after) or "", limit=limit)
    listed = [
        ItemModel.of(entry, picture=hosted.has_picture(entry), embedding=embeddings, cluster=cluster)
        for entry in found
    ]
    return ItemsAnswer(items=listed, next=found[-1].item if len(found) == limit else None)


@router.get("/{gallery}/item", dependencies=[Depends(reader)])
def item(hosted: OneGallery, name: NameQuery) -> ItemModel:
    """One item with its embedding and its metadata."""
    entry = hosted.gallery.get(name)
    return ItemModel.of(entry, picture=hosted.has_picture(entry), embedding=True)


@router.get(
    "/{gallery}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "a small JPEG"}},
)
def thumbnail(
    request: Request,
    hosted: OneGallery,
    caller: Viewer,
    item: NameQuery,
    side: Annotated[int, Query(ge=16, le=LARGEST_SIDE)] = 128,
) -> Response:
    """A small picture of an item, if its picture was kept or is where it was enrolled from."""
    entry = hosted.gallery.get(item)
    try:
        origin = None if entry.provenance is None else entry.provenance.origin
        shown = hosted.has_picture(entry)
        made = hosted.pictures.thumbnail(item, entry.source, side, origin=origin) if shown else None
    except DataError as error:
        raise ApiError("no_picture", f"the file of {item[:80]!r} cannot be shown") from error
    if made is None:
        raise ApiError("no_picture", f"there is no picture of {item[:80]!r}")
    return Response(made, media_type="image/jpeg")


@router.get("/{gallery}/clusters", dependencies=[Depends(reader)])
def clusters(
    hosted: OneGallery,
    after: Annotated[int, Query(ge=0, lt=1 << 62, description="how many to skip")] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    order: Literal["size"] = "size",
) -> ClustersAnswer:
    """One page of the clusters, the largest first; a job of the kind `cluster` makes them."""
    members = hosted.members()
    page = list(members.items())[after : after + limit]
    listed = []
    for number, names in page:
        owners: Counter[str] = Counter()
        for start in range(0, min(len(names), 10_000), 1_000):
            for entry in hosted.gallery.items(
                cluster=number, after=names[start - 1] if start else "", limit=1_000
            ):
                owners[entry.identity] += 1
        listed.append(
            ClusterModel(
                cluster=number, count=len(names), items=names[:12], identities=dict(owners.most_common(20))
            )
        )
    following = after + limit if after + limit < len(members) else None
    return ClustersAnswer(clusters=listed, total=len(members), next=following)


def _shown(hosted: Hosted, identity: str) -> str | None:
    """An item to show an identity by."""
    with suppress(UnknownNameError):  # renamed meanwhile
        return next(
            (one.item for one in hosted.gallery.items(identity, limit=3) if hosted.has_picture(one)), None
        )
    return None


def _short(hosted: Hosted, *, away: bool = False) -> GalleryModel:
    bound = hosted.gallery.binding
    try:
        counts = hosted.identities()
    except UnusableStoreError:
        if not away:
            raise
        counts = hosted.identities_last()
    return GalleryModel(
        name=hosted.name,
        items=sum(counts.values()),
        identities=len(counts),
        kind=hosted.kind,
        faces=hosted.finder.faces,
        keeps_pictures=hosted.pictures.keeps,
        dimension=bound.dimension,
        distance=bound.distance,
    )


def _sound(name: str | None) -> str | None:
    if name is not None and "\0" in name:
        raise ApiError("invalid_request", "a name must not contain a NUL character")
    return name
