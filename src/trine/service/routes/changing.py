"""Calls that change a gallery: enrol, remove, forget, rename, merge, split, move."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from trine.service.access import OneGallery, TheService, Writer
from trine.service.bodies import body, takes
from trine.service.calls import CallRoute
from trine.service.enrolling import enrol_all
from trine.service.hosted import Hosted
from trine.service.limits import check_most
from trine.service.schemas import (
    ChangeAnswer,
    EnrolAnswer,
    ForgetAnswer,
    ForgetRequest,
    MergeRequest,
    MoveRequest,
    NewItem,
    NewItems,
    RemoveAnswer,
    RemoveRequest,
    RenameRequest,
    Undo,
)
from trine.service.service import Service

router = APIRouter(prefix="/v1/galleries/{gallery}", tags=["change"], route_class=CallRoute)


@router.post("/enrol", openapi_extra=takes(NewItem))
def enrol(
    hosted: OneGallery, service: TheService, caller: Writer, given: Annotated[NewItem, body(NewItem)]
) -> EnrolAnswer:
    """Adds one item; an item of the same name is replaced. It is on disk when the answer arrives."""
    done = enrol_all(service, hosted, [given], who=caller.name)
    return EnrolAnswer(new=done.new, replaced=done.replaced, unchanged=done.unchanged)


@router.post("/enrol_many", openapi_extra=takes(NewItems))
def enrol_many(
    hosted: OneGallery, service: TheService, caller: Writer, given: Annotated[NewItems, body(NewItems)]
) -> EnrolAnswer:
    """Adds several items: all or none. They are on disk when the answer arrives."""
    check_most(len(given.entries), service.limits.items, "entries")
    done = enrol_all(service, hosted, given.entries, who=caller.name)
    return EnrolAnswer(new=done.new, replaced=done.replaced, unchanged=done.unchanged)


@router.post("/remove", openapi_extra=takes(RemoveRequest))
def remove(
    hosted: OneGallery,
    service: TheService,
    caller: Writer,
    given: Annotated[RemoveRequest, body(RemoveRequest)],
) -> RemoveAnswer:
    """Deletes one item and its picture."""
    with hosted.changing:
        removed = hosted.gallery.remove(given.item)
        hosted.pictures.drop(given.item)
        service.drop_judgements(hosted.name, [given.item])
    if removed:
        service.log.add(caller.name, hosted.name, "remove", items=[given.item])
    return RemoveAnswer(removed=removed)


@router.post("/forget", openapi_extra=takes(ForgetRequest))
def forget(
    hosted: OneGallery,
    service: TheService,
    caller: Writer,
    given: Annotated[ForgetRequest, body(ForgetRequest)],
) -> ForgetAnswer:
    """Deletes an identity and every trace of it: items, pictures, judgements, names in the log."""
    deleted = service.forget(hosted, given.identity)
    service.log.add(caller.name, hosted.name, "forget", count=deleted)
    return ForgetAnswer(deleted=deleted)


@router.post("/rename", openapi_extra=takes(RenameRequest))
def rename(
    hosted: OneGallery,
    service: TheService,
    caller: Writer,
    given: Annotated[RenameRequest, body(RenameRequest)],
) -> ChangeAnswer:
    """Gives an identity another name."""
    with hosted.changing:
        moved = hosted.gallery.rename(given.identity, given.to)
        service.renamed(hosted.name, given.identity, given.to)
        service.log.add(caller.name, hosted.name, "rename", identity=given.identity, to=given.to, count=moved)
    back = Undo(call="rename", body={"identity": given.to, "to": given.identity})
    return ChangeAnswer(moved=moved, undo=[back])


@router.post("/merge", openapi_extra=takes(MergeRequest))
def merge(
    hosted: OneGallery,
    service: TheService,
    caller: Writer,
    given: Annotated[MergeRequest, body(MergeRequest)],
) -> ChangeAnswer:
    """Moves all items of `other` to `identity`."""
    with hosted.changing:
        items = hosted.names_of(given.other)
        moved = hosted.gallery.merge(given.identity, given.other)
        service.renamed(hosted.name, given.other, given.identity)
        service.log.add(
            caller.name, hosted.name, "merge", identity=given.identity, other=given.other, count=moved
        )
    return ChangeAnswer(moved=moved, undo=_moves(service, {given.other: items}))


@router.post("/split", openapi_extra=takes(MoveRequest))
def split(
    hosted: OneGallery, service: TheService, caller: Writer, given: Annotated[MoveRequest, body(MoveRequest)]
) -> ChangeAnswer:
    """Moves some items of one identity to a new identity."""
    return _moved(hosted, service, caller.name, given, new=True)


@router.post("/move", openapi_extra=takes(MoveRequest))
def move(
    hosted: OneGallery, service: TheService, caller: Writer, given: Annotated[MoveRequest, body(MoveRequest)]
) -> ChangeAnswer:
    """Moves some items, of any identities, to an existing or a new identity."""
    return _moved(hosted, service, caller.name, given, new=False)


def _moved(hosted: Hosted, service: Service, who: str, given: MoveRequest, *, new: bool) -> ChangeAnswer:
    check_most(len(given.items), service.limits.items, "items")
    with hosted.changing:
        before: dict[str, list[str]] = {}
        for item in given.items:
            before.setdefault(hosted.gallery.get(item).identity, []).append(item)
        call = hosted.gallery.split if new else hosted.gallery.move
        moved = call(given.items, given.identity)
        action = "split" if new else "move"
        service.log.add(who, hosted.name, action, items=given.items, identity=given.identity)
    before.pop(given.identity, None)
    return ChangeAnswer(moved=moved, undo=_moves(service, before))


def _moves(service: Service, before: dict[str, list[str]]) -> list[Undo]:
    """The calls that move items back, each within the limits."""
    step = service.limits.items
    return [
        Undo(call="move", body={"items": items[start : start + step], "identity": identity})
        for identity, items in before.items()
        for start in range(0, len(items), step)
    ]
