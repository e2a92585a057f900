"""Wrong settings are named, with the nearest known name."""

import numpy as np
import pytest
import torch

from trine import (
    ContrastiveLoss,
    CrossBatchMemory,
    Mining,
    Relations,
    TrineError,
    TripletLoss,
    Triplets,
    census,
    contrastive_loss,
    mine,
    paired_distances,
    pairwise_distances,
    triplet_loss,
)
from trine.data import PKSampler
from trine.errors import Argument, InputError, check_choice, check_count, closest
from trine.evaluation import (
    calibrate,
    clustering,
    knn_classification,
    open_set,
    retrieval,
    verification,
)
from trine.losses import differentiable_triplet_loss, gathered
from trine.mining import OfflineMining
from trine.neighbours import nearest_neighbours
from trine.settings import keys
from trine.training.recipe import Recipe
from trine.triplets import PRESETS


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("batch_hard", "hard"),
        ("BatchHard", "hard"),
        ("batch-all", "all"),
        ("HARD", "hard"),
        ("semi hard", "semihard"),
        ("Semi_Hard_Strict", "semihard-strict"),
        ("random_negative", "random-negative"),
        ("zebra", None),
        ("", None),
    ],
)
def test_the_nearest_rule(given, meant):
    assert closest(given, PRESETS) == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("steps", "training.steps"),
        ("step", "training.steps"),
        ("traning.steps", "training.steps"),
        ("batch_size", "sampler.batch"),
        ("minng", "loss.mining"),
        ("Learning-Rate", "training.learning_rate"),
        ("zzz", None),
    ],
)
def test_the_nearest_of_dotted_names(given, meant):
    assert closest(given, keys(Recipe)) == meant


def test_a_choice_of_any_type_is_named():
    for given in (3, None, ["hard"], float("nan")):
        with pytest.raises(InputError, match=r"^unknown rule .*known: all, hard$"):
            check_choice("rule", given, ["all", "hard"])


def test_whole_numbers_of_any_type_are_taken():
    for given in (2, np.int64(2), np.uint8(2), torch.tensor(2)):
        assert check_count("k", given) == 2
    for given in (2.0, np.float32(2), "2", True, None, float("nan"), torch.tensor(2.0), np.array([1, 2])):
        with pytest.raises(InputError, match=r"^k must be a whole number, given"):
            check_count("k", given)


@pytest.mark.usefixtures("as_in_production")
def test_ranks_and_neighbours_are_whole_numbers():
    x = np.array([[0.0], [1.0], [2.0]])
    with pytest.raises(InputError, match=r"^k must be a whole number, given 2\.0$"):
        nearest_neighbours(x, k=2.0)
    with pytest.raises(InputError, match=r"^each rank of at must be a whole number, given 2\.0$"):
        retrieval(x, [0, 0, 1], at=(2.0,))
    with pytest.raises(InputError, match=r"^k must be a whole number, given 1\.5$"):
        retrieval(x, [0, 0, 1]).recall_at(1.5)


def test_a_message_can_be_printed_whatever_file_it_names():
    error = InputError("caf\udce9.png: ", Argument("unreadable", "skip"))
    assert str(error) == r"caf\udce9.png: unreadable='skip'"
    assert error.with_options() == r"caf\udce9.png: --unreadable skip"


X, Y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) // 2
ROWS, LABELS = X.double().numpy(), np.arange(8) // 2
WRONG = [
    *(None, "x", 2.5, -1, True, [1.5], {}, object(), float("nan"), float("inf"), np.float32(0.5)),
    *(np.zeros((8, 3)), np.arange(8.0), torch.tensor(1.0)),
    *(torch.full((8,), torch.nan), torch.zeros(8, 3, dtype=torch.int64)),
]


def with_memory(embeddings, labels, item_ids, loss, size, dimension, warmup):
    memory = CrossBatchMemory(loss, size=size, dimension=dimension, warmup=warmup)
    return memory(embeddings, labels, item_ids)


def of_triplets(anchor, positive, negative, margin, references):
    return triplet_loss(X, Triplets(anchor, positive, negative), margin=margin, references=references)


PAIR = {"margin": 0.2, "distance": "cosine", "reduction": "mean"}
BATCH = {"embeddings": X, "labels": Y}
SETS = {"item_ids": None, "references": None, "reference_labels": None, "reference_ids": None}
MEASURED = {"distance": "cosine", "resamples": 5, "seed": 0}
FUNCTIONS = {
    triplet_loss: BATCH | PAIR | SETS | {"mining": "random", "mining_margin": None, "seed": 0},
    contrastive_loss: BATCH | PAIR | SETS | {"form": "squared"},
    differentiable_triplet_loss: BATCH | PAIR | {"mining": "hard", "seed": 0},
    with_memory: {"item_ids": Y, "loss": TripletLoss(), "size": 5, "dimension": 3, "warmup": 0} | BATCH,
    of_triplets: dict.fromkeys(("anchor", "positive", "negative"), Y) | {"margin": 0.2, "references": X},
    TripletLoss: PAIR | {"mining": "all", "mining_margin": None, "seed": 0},
    ContrastiveLoss: PAIR | {"form": "linear"},
    mine: BATCH | SETS | {"mining": "random", "distance": "euclidean", "margin": 0.2, "seed": 0},
    census: BATCH | SETS | {"margin": 0.2, "distance": "euclidean"},
    gathered: BATCH | {"item_ids": None},
    pairwise_distances: {"x": X, "y": X, "distance": "cosine"},
    paired_distances: {"x": X, "y": X, "distance": "cosine"},
    Relations.from_labels: {"labels": Y, "reference_labels": Y, "item_ids": None},
    Relations.from_masks: {"positive": torch.eye(3) > 0, "negative": None},
    Relations.from_pairs: {"anchor": Y, "positive": Y, "anchors": 8, "references": 8},
    Mining: {"positive": "all", "negative": "all", "cutoffs": (0.5, 1.4)},
    OfflineMining: {"rule": "hard", "positives": 1, "skip": 0, "absolute_margin": None, "choose": "random"},
    PKSampler: {"labels": LABELS, "identities": 2, "items": 2, "seed": 0, "repeat": "never", "rank": 0}
    | {"confusable": 0.0, "neighbours": None, "world_size": 1, "last": "even"},
    nearest_neighbours: {"queries": ROWS, "references": ROWS, "k": 2, "distance": "cosine"},
    retrieval: {"embeddings": ROWS, "labels": LABELS, "at": (1, 2)} | MEASURED,
    verification: {"embeddings": ROWS, "labels": LABELS, "at": (0.1,), "max_pairs": 100} | MEASURED,
    open_set: {"probes": ROWS, "probe_labels": LABELS, "gallery": ROWS[:6], "gallery_labels": LABELS[:6]}
    | {"depth": 2, "at": (0.1,)}
    | MEASURED,
    knn_classification: {"probes": ROWS, "probe_labels": LABELS, "gallery": ROWS, "gallery_labels": LABELS}
    | {"k": 1}
    | MEASURED,
    calibrate: {"embeddings": ROWS, "labels": LABELS, "far": 0.1, "support": "provisional"} | MEASURED,
    clustering: {"embeddings": ROWS, "labels": LABELS, "threshold": 1.0, "method": "connected"},
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
@pytest.mark.usefixtures("as_in_production")
def test_values_of_a_wrong_kind_are_taken_or_refused_in_a_sentence(function):
    right = FUNCTIONS[function]
    function(**right)
    refused = 0
    for name in right:
        for value in WRONG:
            try:
                function(**{**right, name: value})
            except TrineError as error:
                refused += len(str(error)) > 20
    assert refused > 10
