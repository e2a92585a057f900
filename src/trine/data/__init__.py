"""Data: from a file, folder or name to checked items, splits and batches.

source ──load──▶ Dataset, LoadReport ──split──▶ Split ──PKSampler──▶ batches of positions
"""

from trine.data.content import content_digests
from trine.data.dataset import Dataset, ImageArray, ImageFiles, ImageObjects, Items, Kind, Texts, Vectors
from trine.data.fold_split import split_by_folds
from trine.data.identity_lists import IdentityLists
from trine.data.image_decoding import decode
from trine.data.interactions import HeldOut, Interactions, leave_last_out
from trine.data.load import has_identities, load, read_items, source_kind, texts_of
from trine.data.load_report import LoadPolicy, LoadReport
from trine.data.samplers.pk import PKSampler
from trine.data.samplers.triplet import TripletSampler
from trine.data.sources.features import Features, read_features, read_metadata
from trine.data.sources.interactions import InteractionColumns, read_interactions
from trine.data.sources.pairs import PairTable, read_pairs
from trine.data.sources.triplets import TripletTable, read_triplets
from trine.data.splits import Split, keep_out, split
from trine.data.subset import few_of_each, of_identities
from trine.data.table import Row, Table
from trine.data.trained_on import TrainedOn
from trine.data.triplet_split import query_numbers, split_triplets

__all__ = [
    "Dataset",
    "Features",
    "HeldOut",
    "IdentityLists",
    "ImageArray",
    "ImageFiles",
    "ImageObjects",
    "InteractionColumns",
    "Interactions",
    "Items",
    "Kind",
    "LoadPolicy",
    "LoadReport",
    "PKSampler",
    "PairTable",
    "Row",
    "Split",
    "Table",
    "Texts",
    "TrainedOn",
    "TripletSampler",
    "TripletTable",
    "Vectors",
    "content_digests",
    "decode",
    "few_of_each",
    "has_identities",
    "keep_out",
    "leave_last_out",
    "load",
    "of_identities",
    "query_numbers",
    "read_features",
    "read_interactions",
    "read_items",
    "read_metadata",
    "read_pairs",
    "read_triplets",
    "source_kind",
    "split",
    "split_by_folds",
    "split_triplets",
    "texts_of",
]
