"""Reads a request: JSON, or a form whose files are pictures; both are checked by the same model."""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from trine.plain_json import parse_json
from trine.service.errors import ApiError, of_validation

M = TypeVar("M", bound=BaseModel)

MOST_FIELDS = 100
LONGEST_FIELD = 1 << 20
MOST_PARTS = 1_000_000
"""How many lists and objects a request may hold: each takes far more memory than its two letters."""

LARGE = 1 << 16
"""From how many bytes on a request is read beside the others, which go on meanwhile."""

DIGITS = 4_300
"""How many digits a whole number in metadata may have."""

REF = "#/components/schemas/{model}"

_FORM = "multipart/form-data"
_JSON = "application/json"


def body(model: type[M]) -> Any:
    """Declares an argument of a route that is read from the request and checked by a model.

    Args:
        model: The model. A form has its fields; those that are not texts are JSON, pictures are files.
    """

    async def read(request: Request) -> M:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == _FORM and "picture" in model.model_fields:
            given = await _form(request, model)
        elif kind in (_JSON, "") or kind.endswith("+json"):
            content = await request.body()
            if len(content) > LARGE:
                return await run_in_threadpool(lambda: _checked(model, _json(content)))
            given = _json(content)
        else:
            raise ApiError("unsupported_media_type", f"cannot read a request of type {kind[:100]!r}")
        return _checked(model, given)

    return Depends(_named(read, model))


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """The part of the OpenAPI schema that says what a route of `body` takes.

    Args:
        model: The model.
    """
    content: dict[str, Any] = {_JSON: {"schema": {"$ref": REF.format(model=model.__name__)}}}
    if "picture" in model.model_fields:
        content[_FORM] = {"schema": _form_schema(model)}
    _TAKEN[model.__name__] = model
    return {"requestBody": {"required": True, "content": content}}


_TAKEN: dict[str, type[BaseModel]] = {}


def schemas_taken() -> dict[str, Any]:
    """The schemas of the models of `takes`, and of those in them, by name."""
    found: dict[str, Any] = {}
    for model in _TAKEN.values():
        schema = model.model_json_schema(ref_template=REF)
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found


def _named(read: Callable[[Request], Awaitable[M]], model: type[M]) -> Callable[[Request], Awaitable[M]]:
    read.__name__ = f"read_{model.__name__}"
    return read


def _checked(model: type[M], given: Any) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise of_validation(error.errors()) from None


def _json(content: bytes) -> Any:
    if content.count(b"[") + content.count(b"{") > MOST_PARTS:
        raise ApiError("too_many", f"a request may hold at most {MOST_PARTS:,} lists and objects")
    try:
        return parse_json(content, digits=DIGITS, unique=True)
    except ValueError as error:
        raise ApiError("invalid_request", f"the request is not JSON ({error})") from None


async def _form(request: Request, model: type[BaseModel]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    try:
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD) as form:
            for name, value in form.multi_items():
                if name in given:
                    raise ApiError("invalid_request", f"the form has the field {name[:100]!r} twice")
                given[name] = (
                    await value.read() if isinstance(value, UploadFile) else _value(name, value, model)
                )
    except MultiPartException as error:
        raise ApiError("invalid_request", f"the form cannot be read ({error.message})") from None
    except ApiError:
        raise
    except Exception as error:
        if type(error).__name__ == "HTTPException":
            raise ApiError("invalid_request", f"the form cannot be read ({error})") from None
        raise
    return given


def _value(name: str, value: str, model: type[BaseModel]) -> Any:
    field = model.model_fields.get(name)
    if field is None or name == "picture" or _is_text(field.annotation):
        return value
    try:
        return parse_json(value, digits=DIGITS, unique=True)
    except ValueError:
        raise ApiError("invalid_request", f"the field {name} of the form must be JSON") from None


def _is_text(annotation: Any) -> bool:
    """Whether a field takes a text, perhaps among others."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return True
    if origin is typing.Annotated:
        return _is_text(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return any(_is_text(each) for each in typing.get_args(annotation))
    return annotation is str


def _form_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = copy.deepcopy(model.model_json_schema(ref_template=REF))
    schema.pop("$defs", None)
    schema.pop("examples", None)
    schema["properties"]["picture"] = {"type": "string", "format": "binary", "description": "the file"}
    return schema
