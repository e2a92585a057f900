"""Every benchmark imports, the page of results shows what they kept, and each recipe says what it is."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from support.paths import ROOT
from trine.training import about_recipe, load_recipe, recipe_names


@pytest.fixture
def results_page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import results_page

    return results_page


def kept_outcomes():
    records = [json.loads(path.read_text("utf-8")) for path in (ROOT / "benchmarks/results").glob("*.json")]
    return [outcome for record in records for outcome in record.get("outcomes", [])]


def test_the_page_shows_the_kept_results(results_page):
    assert (ROOT / "docs/results.md").read_text("utf-8") == results_page.page(results_page.kept())


def test_a_line_shows_metric_spread_baseline_and_time(results_page):
    outcome = {
        "recipe": "trinet",
        "data": "people",
        "metric": "rank 1",
        "values": [0.4, 0.6],
        "baselines": {"pixels": 0.1, "another": 0.7},
        "seconds": 240.0,
        "command": "trine train people",
        "larger_is_better": True,
    }
    record = {
        "question": "Who?",
        "command": "python benchmarks/who.py",
        "date": "today",
        "machine": "one",
        "torch": "2",
        "outcomes": [outcome, outcome | {"larger_is_better": False, "values": [0.4], "seconds": None}],
        "comparisons": [{"title": "Ways", "metrics": ["rank 1"], "ways": {"hard": [0.25], "all": [0.125]}}],
        "failures": ["It was late."],
    }
    page = results_page.page({"who": record, "other": {"question": "What?"}})
    assert (
        "| `trinet` | people | rank 1 | 0.500 ± 0.141 (2 runs) | pixels 0.100, another **0.700** | 4 min |"
        in page
    )
    assert "| 0.400 (1 run) | pixels **0.100**, another 0.700 |  |" in page
    assert "Ways:\n\n| | rank 1 |\n|---|---|\n| hard | 0.250 |\n| all | 0.125 |\n" in page
    assert page.count("    trine train people\n") == 1
    assert page.endswith("## What did not work\n\n- It was late.\n")
    assert "What?" not in page


def test_every_benchmark_imports():
    code = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name in {"implicit", "lancedb"}, error  # peers that no test installs
"""
    folder = ROOT / "benchmarks"
    names = sorted(path.stem for path in folder.glob("*.py"))
    assert len(names) > 25
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", recipe_names())
def test_every_packaged_recipe_says_what_it_is(name):
    load_recipe(name)
    about = about_recipe(name)
    assert about is not None
    words = about.command.split()
    assert words[:2] == ["trine", "train"]
    assert name == "default" or words[words.index("--recipe") + 1] == name


def test_every_packaged_recipe_has_a_kept_result_and_every_result_a_recipe():
    told = {outcome["recipe"] for outcome in kept_outcomes()}
    for name in set(recipe_names()) - told:
        others = re.findall(r"[a-z-]+", about_recipe(name).expects.removeprefix("see "))
        assert about_recipe(name).expects.startswith("see "), name
        assert set(others) & told
    assert {name for name in told if not name.startswith("trine.")} <= set(recipe_names())


def test_coverage_is_counted_for_each_method(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import intervals

    table = intervals.Table()
    cell = intervals.Cell("FAR", "even", 30, "equal", 0.1)
    for ends in ((0.0, 0.2), (0.05, 0.09), (0.11, 0.3), (float("nan"), float("nan"))):
        table.add(cell, 0.1, {intervals.CHOSEN: ends, intervals.PERCENTILE: (0.1, 0.1)})
    rows = {row["method"]: row for row in table.rows()}
    chosen = rows[intervals.CHOSEN]
    assert (chosen["studies"], chosen["coverage"]) == (4, 0.25)
    assert (chosen["truth below"], chosen["truth above"], chosen["median width"]) == (0.25, 0.25, 0.19)
    assert rows[intervals.PERCENTILE]["coverage"] == 1
    told = intervals.summary(list(rows.values()))
    assert told["chosen: at least 0.92 in"] == "0 of 1 cells; least 0.250, median 0.250"
    assert "FAR, even, 30 identities, equal, rate 0.1" in told
    (line,) = intervals.by_cell(list(rows.values()))
    assert line["coverage"] == {intervals.CHOSEN: 0.25, intervals.PERCENTILE: 1.0}
    assert line["median width"][intervals.CHOSEN] == 0.19


def test_the_world_of_the_intervals_has_the_rates_that_it_says(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import intervals

    random = np.random.default_rng(0)
    for hubs in (False, True):
        people = intervals.Population(hubs)
        rows, _ = people.rows(random, np.full(1500, 2))
        thresholds = [people.threshold(rate) for rate in (0.05, 0.01)]
        for study, rate, at in zip(
            intervals.studied(rows, np.full(1500, 2), thresholds), (0.05, 0.01), thresholds, strict=True
        ):
            assert study.accepted.sum() / study.pairs.sum() == pytest.approx(rate, rel=0.15)
            assert study.genuine.sum() / study.genuine_pairs.sum() == pytest.approx(people.tar(at), abs=0.03)
            methods = intervals.pair_methods(study, random)
            assert len(methods) == 9
            low, high = methods[intervals.CHOSEN]
            assert low < rate < high
