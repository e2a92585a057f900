"""Every test runs with trine's shape annotations checked by jaxtyping and beartype."""

import gc
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded, as trine's command line does

import jaxtyping
import pytest
from hypothesis import settings

from support.effort import effort
from support.slow_tests import slow_functions

with jaxtyping.install_import_hook("trine", "beartype.beartype"):
    import trine  # noqa: F401

import torch

# The same examples at every run; a shared machine has no say in what passes.
settings.register_profile(
    "trine", deadline=None, derandomize=True, database=None, max_examples=effort(40, 200)
)
settings.load_profile("trine")
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Marks the tests that were measured to be slow, which `make check` leaves out."""
    slow = slow_functions()
    for item in items:
        if item.nodeid.partition("[")[0] in slow:
            item.add_marker("slow")


def pytest_collection_finish():
    """Leaves what the imports made out of garbage collection, which took a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def as_in_production():
    """Annotations go unchecked, as they do for users: what is tested is trine's own message."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
