"""Whatever table or label column comes in: the right value or one sentence, soon, and in little memory.

`TRINE_THOROUGH=1 python -m pytest tests/data/test_generated_tables.py` tries 2,000 of each kind.
"""

import resource
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings

from support.effort import THOROUGH, effort
from support.tables import Drawn, label_columns, tables, written_tables
from trine.data import Dataset, LoadPolicy, load, read_features, read_interactions, read_metadata
from trine.encoders import EncoderRecipe, build_encoder
from trine.errors import InputError
from trine.labels import codes

ALL = LoadPolicy("skip", "keep", "keep", "keep", "skip", "keep")
# The same hundred at every run; of more, others each time.
tried = settings(
    max_examples=effort(100, 2000),
    derandomize=not THOROUGH,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


@pytest.fixture
def bounded():
    """At most 10 s for an example, and 1 GiB above what the process had when the test began."""
    before, slowest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, [0.0]
    yield slowest
    assert slowest[0] < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20


@tried
@given(drawn=tables())
def test_a_table_is_read_or_refused_in_one_sentence(bounded, tmp_path_factory, drawn: Drawn):
    source = drawn.table
    if drawn.suffix:
        source = tmp_path_factory.getbasetemp() / f"t.{drawn.suffix}"
        source.write_bytes(drawn.content)
    start = time.monotonic()
    for policy, labelled in ((LoadPolicy(), True), (ALL, True), (ALL, False)):
        data = _read(load, source, policy=policy, labelled=labelled)
        if data is not None:
            _use(*data)
    for read in (read_metadata, read_interactions):
        _read(read, source)
    _read(read_features, source, ["ann", "007"])
    bounded[0] = max(bounded[0], time.monotonic() - start)


def _read(read, *arguments, **options):
    """What is read; None if it is refused, in one sentence."""
    refused: list[InputError] = []
    try:
        return read(*arguments, **options)
    except InputError as error:
        refused.append(error)
    event(f"{read.__name__} refuses: {str(refused[0])[-30:]}")
    assert "\n" not in refused[0].with_options()
    return None


def _use(data: Dataset, report):
    """Data that was accepted is learned from, and its report is printed."""
    assert "nan" not in data.identities
    assert "" not in data.identities
    assert len(data) == report.items == len(data.names)
    assert str(report)
    if data.kind != "vectors":
        return
    for name in data.items.features:
        assert not np.isinf(
            data.items.columns[name].astype(float) if name not in data.items.categories else 0
        ).any()
    varies = any(len(set(data.items.columns[name].tolist())) > 1 for name in data.items.features)
    encoder = _read(build_encoder, data.items, recipe=EncoderRecipe(dimension=2)) if varies else None
    if encoder is not None:
        assert np.isfinite(encoder.embed(data)).all()


@tried
@given(drawn=written_tables())
def test_a_table_of_any_dialect_holds_what_was_written(bounded, tmp_path_factory, drawn):
    content, columns = drawn
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(content)
    start = time.monotonic()
    data, report = load(path)
    bounded[0] = max(bounded[0], time.monotonic() - start)
    assert report.label == "column 'label'"
    assert [data.identity(at) for at in range(len(data))] == [text.strip() for text in columns["label"]]
    assert data.items.features == ("size, cm", "wide", "größe")
    for name in (*data.items.features, "note"):
        assert data.items.columns[name].tolist() == columns[name]


@tried
@given(drawn=label_columns())
def test_labels_are_numbered_or_refused_in_one_sentence(drawn):
    labels, truth = drawn
    if None not in truth:
        order = sorted(set(truth))
        assert codes(labels).tolist() == [order.index(value) for value in truth]
        return
    missing = [at for at, value in enumerate(truth) if value is None]
    with pytest.raises(InputError, match=rf"at item {missing[0]}\b.*missing {len(missing)} of {len(truth)},"):
        codes(labels)
