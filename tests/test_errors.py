"""Wrong settings are named, with the nearest known name."""

import numpy as np
import pytest
import torch

from trine.errors import Argument, InputError, check_choice, check_count, closest
from trine.evaluation import retrieval
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
