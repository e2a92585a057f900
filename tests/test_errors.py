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
from trine.data import (
    LoadPolicy,
    PKSampler,
    few_of_each,
    load,
    of_identities,
    query_numbers,
    read_features,
    read_interactions,
    split,
    split_triplets,
    texts_of,
)
from trine.errors import (
    Argument,
    DataError,
    InputError,
    check_choice,
    check_count,
    check_flags,
    closest,
    shown,
)
from trine.evaluation import (
    calibrate,
    clustering,
    clustering_from_assignment,
    find_label_errors,
    identification,
    knn_classification,
    open_set,
    recommendation,
    recommendation_from_scores,
    retrieval,
    triplet_accuracy,
    triplet_consistency,
    verification,
)
from trine.losses import differentiable_triplet_loss, gathered
from trine.mining import OfflineMining, mine_offline
from trine.neighbours import make_search, nearest_neighbours
from trine.settings import keys
from trine.training import effective_rank, load_recipe
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
    assert str(error) == r"caf\xe9.png: unreadable='skip'"
    assert error.with_options() == r"caf\xe9.png: --unreadable skip"


X, Y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) // 2
ROWS, LABELS = X.double().numpy(), np.arange(8) // 2
WRONG = [
    *(None, "x", 2.5, -1, True, [1.5], {}, object(), float("nan"), float("inf"), np.float32(0.5)),
    *(np.zeros((8, 3)), np.arange(8.0), torch.tensor(1.0)),
    *(torch.full((8,), torch.nan), torch.zeros(8, 3, dtype=torch.int64)),
    *(np.array([1, 2]), np.array(["a"]), np.array([True, False]), [], ["a", "b"]),
]


def with_memory(embeddings, labels, item_ids, loss, size, dimension, warmup):
    memory = CrossBatchMemory(loss, size=size, dimension=dimension, warmup=warmup)
    return memory(embeddings, labels, item_ids)


def of_triplets(anchor, positive, negative, margin, references):
    return triplet_loss(X, Triplets(anchor, positive, negative), margin=margin, references=references)


PAIR = {"margin": 0.2, "distance": "cosine", "reduction": "mean"}
BATCH = {"embeddings": X, "labels": Y}
SETS = {"item_ids": None, "references": None, "reference_labels": None, "reference_ids": None}
FLAGS = {"swap": False, "return_census": False, "across_processes": False}
JUDGED = np.array([[0, 1, 2], [0, 2, 1], [3, 4, 5], [5, 6, 7], [1, 2, 3]])
RATED = {"held_out": np.array([[0, 1], [1, 2]]), "seen": np.array([[0, 2]])}
TABLE = {"label": list("aabbccdd"), "v": list(range(8))}
DATA = load(TABLE)[0]
MEASURED = {"distance": "cosine", "resamples": 5, "seed": 0}
FUNCTIONS = {
    triplet_loss: BATCH | PAIR | SETS | {"mining": "random", "mining_margin": None, "seed": 0} | FLAGS,
    contrastive_loss: BATCH | PAIR | SETS | {"form": "squared", "across_processes": False},
    differentiable_triplet_loss: BATCH | PAIR | {"mining": "hard", "seed": 0},
    with_memory: {"item_ids": Y, "loss": TripletLoss(), "size": 5, "dimension": 3, "warmup": 0} | BATCH,
    of_triplets: dict.fromkeys(("anchor", "positive", "negative"), Y) | {"margin": 0.2, "references": X},
    TripletLoss: PAIR | {"mining": "all", "mining_margin": None, "seed": 0, "swap": False},
    ContrastiveLoss: PAIR | {"form": "linear", "across_processes": False},
    mine: BATCH | SETS | {"mining": "random", "distance": "euclidean", "margin": 0.2, "seed": 0},
    census: BATCH | SETS | {"margin": 0.2, "distance": "euclidean"},
    gathered: BATCH | {"item_ids": None},
    pairwise_distances: {"x": X, "y": X, "distance": "cosine"},
    paired_distances: {"x": X, "y": X, "distance": "cosine"},
    Relations.from_labels: {"labels": Y, "reference_labels": Y, "item_ids": None},
    Relations.from_masks: {"positive": torch.eye(3) > 0, "negative": None, "own": False},
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
    calibrate: {"embeddings": ROWS, "labels": LABELS, "far": 0.1, "too_few": "smallest"} | MEASURED,
    clustering: {"embeddings": ROWS, "labels": LABELS, "threshold": 1.0, "method": "connected"},
    clustering_from_assignment: {"assignment": LABELS, "labels": LABELS, "resamples": 5, "seed": 0},
    identification: {"probes": ROWS, "probe_labels": LABELS + 1, "gallery": -ROWS, "multi_query": False}
    | {"gallery_labels": LABELS + 1, "junk": -1, "distractor": 0, "at": (1, 2)}
    | MEASURED,
    recommendation: {"users": ROWS, "items": ROWS, "at": (1, 2), "tile": 100} | RATED | MEASURED,
    recommendation_from_scores: {"scores": lambda some: np.zeros((len(some), 8)), "users": 8, "items": 8}
    | RATED
    | {"resamples": 5, "tile": 100},
    triplet_accuracy: {"embeddings": ROWS, "triplets": JUDGED, "groups": None} | MEASURED,
    triplet_consistency: {"triplets": JUDGED},
    find_label_errors: {"embeddings": ROWS, "labels": LABELS, "names": None, "neighbours": 3},
    mine_offline: {"embeddings": ROWS, "labels": LABELS, "how": None, "search": None, "anchors_at_once": 4},
    make_search: {"references": ROWS, "distance": "cosine", "many": 3},
    split: {"dataset": DATA, "method": "auto", "test": 0.25, "validation": 0.0, "unknown": None},
    split_triplets: {"triplets": JUDGED, "items": 8, "test": 0.3, "validation": 0.3},
    query_numbers: {"triplets": JUDGED},
    of_identities: {"dataset": DATA, "identities": ["a"]},
    few_of_each: {"labels": LABELS, "most": 1, "seed": 0},
    load: {"source": TABLE, "labelled": True, "label": "label", "policy": LoadPolicy(), "pattern": None}
    | {"path_column": None, "text_column": None, "features": ["v"], "categories": []},
    LoadPolicy: {"unreadable": "skip", "singletons": "keep", "max_pixels": 100},
    texts_of: {"texts": ["a", "b"]},
    read_interactions: {"path": {"user": ["0"], "item": ["1"]}, "columns": None},
    read_features: {"path": {"item": ["0"], "v": [1.0]}, "names": ["0"], "of": "item", "only": None},
    load_recipe: {"overrides": {"training.steps": 3}},
    effective_rank: {"embeddings": X},
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
@pytest.mark.usefixtures("as_in_production")
def test_values_of_a_wrong_kind_are_taken_or_refused_in_a_sentence(function):
    right = FUNCTIONS[function]
    function(**right)
    messages = []
    for name in right:
        for value in WRONG:
            try:
                function(**{**right, name: value})
            except TrineError as error:
                messages.append(str(error))
    assert len(messages) > 10
    assert [message for message in messages if len(message) < 20 or "\n" in message] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"junk": np.array([-1, -2])},
            r"junk must be one label, .*or None, given an ndarray of shape \(2,\)",
        ),
        ({"distractor": 0.5}, r"distractor must be one label, an integer or a string, or None, given 0\.5"),
        ({"multi_query": np.ones(8, bool)}, r"multi_query must be True or False, given an ndarray of shape"),
        ({"multi_query": "no"}, "multi_query must be True or False, given 'no'"),
    ],
)
def test_special_labels_and_flags_of_a_wrong_kind_are_named(options, message):
    right = FUNCTIONS[identification]
    with pytest.raises(InputError, match=message):
        identification(**{**right, **options})


def test_flags_may_be_those_of_numpy():
    check_flags(a=True, b=np.True_, c=np.array(False))
    for wrong in (None, 1, "yes", np.ones(1, bool), torch.tensor(True)):
        with pytest.raises(InputError, match="swap must be True or False, given"):
            check_flags(swap=wrong)


def test_a_message_shows_a_short_value_and_says_what_a_long_one_is():
    assert shown("x") == "'x'"
    assert shown(np.int64(3)) == repr(np.int64(3))
    assert shown(torch.zeros(8, 3)) == "a Tensor of shape (8, 3)"
    assert shown({number: number for number in range(100)}) == "a dict of 100"
    assert shown(Y) == "a Tensor of shape (8,)"


def test_a_message_is_one_line_whatever_it_quotes():
    error = DataError("identity 'ann\x1b[2K\n\u202e' of ", Argument("path_column", "a\rb"), " is not known")
    said = r"identity 'ann\x1b[2K\x0a\u202e' of path_column='a\rb' is not known"
    assert str(error) == said
    assert error.with_options() == said.replace(r"path_column='a\rb'", r"--path-column a\x0db")


def test_a_message_quotes_no_more_than_a_line():
    error = DataError(f"there is no item {'n' * 100_000}: name one that the gallery holds")
    assert len(str(error)) < 1_100
    assert str(error).startswith("there is no item n")
    assert str(error).endswith(": name one that the gallery holds")
