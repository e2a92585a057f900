"""Images of six identities, and a run trained on them, for the verbs that need one."""

import pytest

from support.commands import draw_bars, train_bars


@pytest.fixture(scope="session")
def bars(tmp_path_factory):
    return draw_bars(tmp_path_factory.mktemp("data") / "bars")


@pytest.fixture(scope="session")
def run(bars, tmp_path_factory):
    return train_bars(bars, tmp_path_factory.mktemp("runs") / "bars")
