"""A network is compared with its weights before it has any memory."""

import threading

import pytest
import torch
from torch import nn

from trine.encoders.weight_budget import check_fits

WEIGHTS = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}


def test_a_network_that_fits_is_built_without_memory():
    assert check_fits(lambda: nn.Linear(3, 2), WEIGHTS).weight.is_meta


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: nn.Linear(2, 3), r"'weight' has shape \(2, 3\), and the settings say \(3, 2\)"),
        (lambda: nn.Linear(3, 2, bias=False), "the settings know no 'bias'"),
        (lambda: nn.Sequential(*[nn.Linear(1, 1) for _ in range(10**6)]), "much larger than its weights"),
        (lambda: nn.Linear(10**9, 10**9), "much larger than its weights"),
        (lambda: nn.BatchNorm1d(10**10), "much larger than its weights"),
    ],
)
def test_a_network_that_does_not_fit(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_fits(build, WEIGHTS)
    nn.Sequential(*[nn.Linear(1, 1) for _ in range(300)])  # nothing counts afterwards


def test_networks_of_other_threads_do_not_count():
    made, ready = [], threading.Event()

    def other():
        made.append(nn.Sequential(*[nn.Linear(1, 1) for _ in range(300)]))
        ready.set()

    def build():
        thread = threading.Thread(target=other)
        thread.start()
        assert ready.wait(60)
        return nn.Linear(3, 2)

    check_fits(build, WEIGHTS)
    assert not made[0][0].weight.is_meta
