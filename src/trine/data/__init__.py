"""Data: from what a person names to checked items, parts of them, and batches.

source ──load──▶ Dataset, LoadReport ──split──▶ Split ──PKSampler──▶ batches of positions
"""

from trine.data.dataset import Dataset, ImageArray, ImageFiles, Items, Kind, Texts, Vectors
from trine.data.fold_split import split_by_folds
from trine.data.identity_lists import NamedIdentities
from trine.data.image_decoding import decode
from trine.data.interactions import HeldOut, Interactions, leave_last_out
from trine.data.load import has_identities, load, load_unlabelled, read_items, texts_of
from trine.data.load_report import LoadPolicy, LoadReport
from trine.data.samplers.pk import PKSampler
from trine.data.samplers.triplet import TripletSampler
from trine.data.sources.features import Features, read_features
from trine.data.sources.interactions import InteractionColumns, read_interactions
from trine.data.sources.metadata import read_metadata
from trine.data.sources.pairs import PairTable, read_pairs
from trine.data.sources.triplets import TripletTable, read_triplets
from trine.data.splits import Split, split
from trine.data.subset import few_of_each, of_identities
from trine.data.table import Row, Table
from trine.data.triplet_split import TripletSplit, questions, split_triplets

__all__ = [
    "Dataset",
    "Features",
    "HeldOut",
    "ImageArray",
    "ImageFiles",
    "InteractionColumns",
    "Interactions",
    "Items",
    "Kind",
    "LoadPolicy",
    "LoadReport",
    "NamedIdentities",
    "PKSampler",
    "PairTable",
    "Row",
    "Split",
    "Table",
    "Texts",
    "TripletSampler",
    "TripletSplit",
    "TripletTable",
    "Vectors",
    "decode",
    "few_of_each",
    "has_identities",
    "leave_last_out",
    "load",
    "load_unlabelled",
    "of_identities",
    "questions",
    "read_features",
    "read_interactions",
    "read_items",
    "read_metadata",
    "read_pairs",
    "read_triplets",
    "split",
    "split_by_folds",
    "split_triplets",
    "texts_of",
]
