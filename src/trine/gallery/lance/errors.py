"""Explains errors of LanceDB in one sentence, without secrets."""

from __future__ import annotations

import os
import re

from trine.errors import GalleryError
from trine.gallery.errors import UnusableStoreError

FAILURES = (RuntimeError, ValueError, OSError)
"""What LanceDB raises."""

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")

_MEANINGS = [
    (r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|Forbidden|\b403\b|credential", (
        "the object store refuses its credentials: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the "
        "rights of their owner"
    )),
    (r"NoSuchBucket", "there is no such bucket: create it first"),
    (r"region", "the object store needs to know its region: set AWS_REGION"),
    (r"No space left|\bENOSPC\b|os error 28", "the disk is full: free space and try again"),
    (r"Permission denied|os error 13|Read-only file system|os error 30", (
        "its folder cannot be written: make it writable"
    )),
    (r"error sending request|dns error|Connection refused|timed out|tcp connect", (
        "the object store cannot be reached: check AWS_ENDPOINT_URL and the network"
    )),
]  # fmt: skip


def explain(error: Exception, shown: str, *, wrote: bool = False) -> GalleryError:
    """Explains an error of LanceDB and what to do.

    Args:
        error: The error.
        shown: The address of the gallery.
        wrote: Whether the call was a write, of which nothing was written.
    """
    nothing = "; nothing of this call was written" if wrote else ""
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, str(error)):
            return UnusableStoreError(f"the gallery {shown} could not be used, because {meaning}{nothing}")
    return UnusableStoreError(
        f"the gallery {shown} could not be used ({brief(error)}){nothing}: check it, or restore a backup"
    )


def brief(error: Exception) -> str:
    """Returns the first line of an error, without secrets and places in LanceDB's source."""
    lines = str(error).strip().splitlines()
    text = re.sub(r",? /\S+\.rs:\d+:\d+", "", lines[0]) if lines else type(error).__name__
    for name in _SECRETS:
        if os.environ.get(name):
            text = text.replace(os.environ[name], "***")
    return text[:200]
