"""The gallery: known items and their embeddings, kept for good; who is this, what is like this?

A `Gallery` is bound to the encoder whose embeddings it holds, and answers with a `Decision` that carries
its score, its threshold and the false-accept rate behind it.
"""

from trine.gallery.decision import Decision, Identification, Threshold, Verification
from trine.gallery.entries import Enrolment, Entry, Hit, Record
from trine.gallery.filters import Filter
from trine.gallery.gallery import Gallery
from trine.gallery.sqlite import SqliteStore
from trine.gallery.store import Binding, Scope, Store
from trine.gallery.verification import verify

__all__ = [
    "Binding",
    "Decision",
    "Enrolment",
    "Entry",
    "Filter",
    "Gallery",
    "Hit",
    "Identification",
    "Record",
    "Scope",
    "SqliteStore",
    "Store",
    "Threshold",
    "Verification",
    "verify",
]
