"""Errors of the API: one shape, `{"error": {"code", "message", "hint"}}`, and a status for each code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trine.display import printable, shortened
from trine.errors import (
    CalibrationError,
    DataError,
    GalleryError,
    InputError,
    MissingDependencyError,
    ModelError,
    SettingError,
    TrineError,
)
from trine.gallery.errors import UnknownNameError, UnusableStoreError

_LONGEST = 1000

STATUS: Mapping[str, int] = {
    "invalid_request": 422,
    "invalid_picture": 422,
    "invalid_setting": 422,
    "unsupported_media_type": 415,
    "too_large": 413,
    "too_many": 422,
    "too_slow": 408,
    "no_key": 401,
    "wrong_key": 401,
    "not_allowed": 403,
    "wrong_origin": 403,
    "wrong_host": 421,
    "unknown_gallery": 404,
    "unknown_name": 404,
    "unknown_job": 404,
    "not_found": 404,
    "no_picture": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "no_threshold": 409,
    "no_encoder": 409,
    "rate_limit": 429,
    "internal": 500,
    "not_installed": 501,
    "unavailable": 503,
    "busy": 503,
    "no_answer_in_time": 503,
}
"""The status of every code."""

HINTS: Mapping[str, str] = {
    "invalid_request": "compare the request with the schema at /v1/openapi.json",
    "invalid_picture": "send a JPEG, PNG, WebP or HEIC file that opens in an image viewer",
    "invalid_setting": "compare the request with the schema at /v1/openapi.json",
    "unsupported_media_type": "send application/json, or multipart/form-data with the picture as a file",
    "too_large": "send fewer or smaller pictures, or ask for larger limits",
    "too_many": "split the request into several",
    "too_slow": "send the request again over a faster connection",
    "no_key": "send the header Authorization: Bearer KEY with a key of `trine keys add`",
    "wrong_key": "check the key, or ask for a new one: it may have been revoked",
    "not_allowed": "ask for a key with this right",
    "wrong_origin": "open the page at the service's own address",
    "wrong_host": "use the service's own address, or start it with --allow-host NAME",
    "unknown_gallery": "list the galleries with GET /v1/galleries",
    "unknown_name": "list the names with GET /v1/galleries/GALLERY/identities or .../items",
    "unknown_job": "list the jobs with GET /v1/jobs",
    "not_found": "see /v1/openapi.json for the calls there are",
    "no_picture": "start the service with --keep-pictures, or enrol from files that stay where they are",
    "method_not_allowed": "see /v1/openapi.json for the calls there are",
    "conflict": "read the message, and repeat the request once it is resolved",
    "no_threshold": "pass a threshold, or calibrate the gallery",
    "no_encoder": "send embeddings, or start the service with the folder of the encoder",
    "rate_limit": "wait as long as Retry-After says",
    "internal": "look into the log of the service",
    "not_installed": "install what the message names where the service runs",
    "unavailable": "look into the log of the service, and try again",
    "busy": "try again in a moment",
    "no_answer_in_time": "ask for less at once, or begin a job",
}
"""What to do about an error of a code, unless the error says more."""


@dataclass(eq=False)
class ApiError(Exception):
    """An error that is answered as it is.

    Attributes:
        code: One of `STATUS`.
        message: What was given and what was expected.
        hint: What to do; by default that of the code.
        retry_after: In how many seconds to try again, if it is known.
    """

    code: str
    message: str
    hint: str = ""
    retry_after: float | None = None

    @property
    def status(self) -> int:
        """The status of the answer."""
        return STATUS[self.code]

    @property
    def headers(self) -> dict[str, str]:
        """Further headers of the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def to_json(self) -> dict[str, object]:
        """The body of the answer."""
        message = printable(shortened(self.message, most=_LONGEST))
        return {"error": {"code": self.code, "message": message, "hint": self.hint or HINTS[self.code]}}

    def __str__(self) -> str:
        return self.message


def code_of(error: TrineError) -> str:
    """The code of an error that trine raised.

    Example:
        >>> code_of(UnknownNameError("x")), code_of(InputError("y")), code_of(GalleryError("z"))
        ('unknown_name', 'invalid_request', 'conflict')
    """
    kinds: Sequence[tuple[type[TrineError], str]] = (
        (UnknownNameError, "unknown_name"),
        (UnusableStoreError, "unavailable"),
        (SettingError, "invalid_setting"),
        (DataError, "invalid_request"),
        (InputError, "invalid_request"),
        (CalibrationError, "no_threshold"),
        (GalleryError, "conflict"),
        (MissingDependencyError, "not_installed"),
        (ModelError, "unavailable"),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), "internal")


def api_error(error: TrineError, *, names: Mapping[str, str] | None = None) -> ApiError:
    """Makes the answer to an error that trine raised.

    Args:
        error: The error.
        names: Addresses of galleries with their names: a caller has no business with the server's paths.
    """
    message = str(error)
    for address, name in (names or {}).items():
        message = message.replace(address, name)
    return ApiError(code_of(error), message)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Makes one sentence of what pydantic found; what was sent is not repeated.

    Args:
        errors: The errors of pydantic, each with its place and its message.
    """
    parts = []
    for error in errors[:3]:
        places = [str(place) for place in error["loc"] if place not in ("body", "query", "path")]
        where = ".".join(places)
        said = str(error["msg"]).removeprefix("Value error, ")
        parts.append(f"{where}: {said}" if where else said)
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return ApiError("invalid_request", "; ".join(parts) + more)
