"""The gallery: a persistent set of known items and their embeddings; who is this, what is like this?

A `Gallery` is bound to the encoder whose embeddings it holds, and answers with a `Decision`: a score, the
threshold, and the error rate that holds for the question and for this gallery.
"""

from trine.gallery.bulk_write import QuantizationRecall
from trine.gallery.calibration import GalleryCalibration
from trine.gallery.clusters import Clusters, KnownClusters
from trine.gallery.compare import EncoderComparison, MetricPair
from trine.gallery.decision import Candidate, Decision, Identification, Threshold, Verification
from trine.gallery.entries import Enrolment, Entry, Hit, Record
from trine.gallery.filters import Filter
from trine.gallery.gallery import Gallery
from trine.gallery.identify import Scoring
from trine.gallery.lance import LanceStore
from trine.gallery.postgres import PostgresStore
from trine.gallery.provenance import Provenance
from trine.gallery.quantization import Dtype
from trine.gallery.rebuild import RebuildResult
from trine.gallery.sqlite import SqliteStore
from trine.gallery.stats import Stats
from trine.gallery.store import Binding, Scope, Store
from trine.gallery.sync_result import Kept, Moved, SyncResult, Taken
from trine.gallery.verify import verify

__all__ = [
    "Binding",
    "Candidate",
    "Clusters",
    "Decision",
    "Dtype",
    "EncoderComparison",
    "Enrolment",
    "Entry",
    "Filter",
    "Gallery",
    "GalleryCalibration",
    "Hit",
    "Identification",
    "Kept",
    "KnownClusters",
    "LanceStore",
    "MetricPair",
    "Moved",
    "PostgresStore",
    "Provenance",
    "QuantizationRecall",
    "RebuildResult",
    "Record",
    "Scope",
    "Scoring",
    "SqliteStore",
    "Stats",
    "Store",
    "SyncResult",
    "Taken",
    "Threshold",
    "Verification",
    "verify",
]
