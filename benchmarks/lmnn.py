"""LMNN and TripletEmbedding beside Euclidean distances, PCA and metric-learn: error and time, in one run.

    OMP_NUM_THREADS=1 python benchmarks/lmnn.py ../shared/data/tabular_lmnn

The protocol of Weinberger and Saul 2009, §6: rows divided at random 70/30 (the small sets twenty times,
digits, semeion and isolet three times, letter once), k = 3 neighbours, the error of the vote. Columns of wine
and breast cancer are of different units and are standardised by the training rows; the others are as they
come, divided by one number. "principal components" keep 95 % of the variance; of data of more than a hundred
columns both LMNNs are given these. TripletEmbedding is given the columns as they are. Each method has its own
defaults; seconds are those of the processor, and a training that has taken `--patience` of them is stopped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import validation

from results import Outcome, keep
from trine import LMNN, TripletEmbedding

BUILT_IN = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer, "digits": load_digits}
FILES = {"semeion": "semeion", "isolet": "isolet1560", "letter": "letter"}
STANDARDISED = ("wine", "breast cancer")
WIDE = 100
NEIGHBOURS = 3
METRIC = "error of 3 neighbours"
COMMANDS = {
    "trine.LMNN": "trine.LMNN(n_neighbors=3).fit(x, y)",
    "trine.TripletEmbedding": "trine.TripletEmbedding().fit(x, y)",
}

Rows = np.ndarray
Method = Callable[[Rows, Rows], Callable[[Rows], Rows]]


def load(name: str, folder: Path) -> tuple[Rows, Rows]:
    if name in BUILT_IN:
        x, y = BUILT_IN[name](return_X_y=True)
    else:
        with np.load(folder / f"{FILES[name]}.npz") as arrays:
            x, y = arrays["x"], arrays["y"]
    return x.astype(np.float64), y


def divide(x: Rows, y: Rows, *, seed: int, standardise: bool) -> tuple[Rows, Rows, Rows, Rows]:
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = np.split(order, [int(0.7 * len(x))])
    mean = x[train].mean(0)
    scale = np.maximum(x[train].std(0), 1e-9) if standardise else x[train].std()
    x = (x - mean) / scale
    return x[train], y[train], x[test], y[test]


def euclidean(x: Rows, y: Rows) -> Callable[[Rows], Rows]:
    return lambda rows: rows


def trine_lmnn(x: Rows, y: Rows) -> Callable[[Rows], Rows]:
    return LMNN(n_neighbors=NEIGHBOURS).fit(x, y).transform


def metric_learn_lmnn(x: Rows, y: Rows) -> Callable[[Rows], Rows]:
    import metric_learn
    from metric_learn import _util

    # metric-learn 0.7 calls an argument by a name that scikit-learn has given up.
    for name in ("check_array", "check_X_y"):
        setattr(_util, name, _renamed(getattr(validation, name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric_learn.LMNN(n_neighbors=NEIGHBOURS).fit(x, y).transform


def _renamed(check: Callable[..., object]) -> Callable[..., object]:
    def renamed(*rows: object, force_all_finite: bool = True, **settings: object) -> object:
        return check(*rows, ensure_all_finite=force_all_finite, **settings)

    return renamed


def trine_embedding(x: Rows, y: Rows) -> Callable[[Rows], Rows]:
    import torch

    torch.set_num_threads(1)
    return TripletEmbedding(device="cpu").fit(x, y).transform


METHODS = {
    "trine.LMNN": trine_lmnn,
    "metric-learn": metric_learn_lmnn,
    "trine.TripletEmbedding": trine_embedding,
}


def _work(method: Method, x: Rows, y: Rows, rows: Rows, patience: int, answer: object) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (patience, patience))
    start = time.process_time()
    mapped = method(x, y)
    spent = time.process_time() - start
    answer.send((mapped(x), mapped(rows), spent))


def within(patience: int, method: Method, x: Rows, y: Rows, rows: Rows) -> tuple[Rows, Rows, float] | None:
    """Runs a method in its own process, which is stopped when it has used too much of the processor."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.Process(target=_work, args=(method, x, y, rows, patience, theirs))
    worker.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return None
    finally:
        worker.join()


def error(train: Rows, classes: Rows, test: Rows, truth: Rows) -> float:
    return 1 - float(KNeighborsClassifier(NEIGHBOURS).fit(train, classes).score(test, truth))


def measure(name: str, folder: Path, *, seed: int, patience: int) -> list[dict[str, object]]:
    """The error and the seconds of every method on one split."""
    x, y = load(name, folder)
    a, a_y, b, b_y = divide(x, y, seed=seed, standardise=name in STANDARDISED)
    components = PCA(0.95, random_state=0).fit(a)
    reduced = components.transform(a), components.transform(b)
    found = {"euclidean": (error(a, a_y, b, b_y), 0.0)}
    found["principal components"] = (error(reduced[0], a_y, reduced[1], b_y), 0.0)
    for title, method in METHODS.items():
        wide = x.shape[1] > WIDE and title != "trine.TripletEmbedding"
        train, test = reduced if wide else (a, b)
        done = within(patience, method, train, a_y, test)
        found[title] = (
            (None, float(patience)) if done is None else (error(done[0], a_y, done[1], b_y), done[2])
        )
    rows = [
        {"data": name, "seed": seed, "method": title, "error": value, "seconds": round(seconds, 3)}
        for title, (value, seconds) in found.items()
    ]
    print(*rows, sep="\n", flush=True)
    return rows


def mean(rows: list[dict[str, object]], data: str, method: str, what: str = "error") -> float | None:
    values = [row[what] for row in rows if row["data"] == data and row["method"] == method]
    return None if None in values else float(np.mean(values))


def outcomes_of(rows: list[dict[str, object]], data: str) -> list[Outcome]:
    methods = dict.fromkeys(row["method"] for row in rows)
    means = {method: mean(rows, data, method) for method in methods}
    return [
        Outcome(
            recipe=ours,
            data=f"{data}, 30 % held out",
            metric=METRIC,
            values=[row["error"] for row in rows if row["data"] == data and row["method"] == ours],
            baselines={title: value for title, value in means.items() if title != ours and value is not None},
            seconds=mean(rows, data, ours, "seconds"),
            command=command,
            larger_is_better=False,
        )
        for ours, command in COMMANDS.items()
    ]


def failures_of(outcomes: list[Outcome]) -> list[str]:
    """A sentence for each method and data where something that learns less errs less."""
    sentences = []
    for outcome in outcomes:
        ours = float(np.mean(outcome.values))
        for title, value in outcome.baselines.items():
            if value < ours - 1e-9 and not title.startswith("trine"):
                sentences.append(
                    f"{outcome.recipe} on {outcome.data}: {title} errs less, {value:.4f} against {ours:.4f}."
                )
    return sentences


def summary_of(rows: list[dict[str, object]], names: list[str]) -> dict[str, object]:
    summary: dict[str, object] = {}
    for name in names:
        for method in dict.fromkeys(row["method"] for row in rows):
            value = mean(rows, name, method)
            text = "stopped" if value is None else f"{value:.4f}"
            summary[f"{name}: {method}"] = f"{text}, {mean(rows, name, method, 'seconds'):.2f} s"
        ratio = mean(rows, name, "metric-learn", "seconds") / mean(rows, name, "trine.LMNN", "seconds")
        more = "more than " if mean(rows, name, "metric-learn") is None else ""
        summary[f"{name}: seconds of metric-learn for one of trine.LMNN"] = f"{more}{ratio:.1f}"
    for other in ("euclidean", "principal components", "metric-learn"):
        pairs = [(mean(rows, name, "trine.LMNN"), mean(rows, name, other)) for name in names]
        pairs = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
        wins = sum(ours <= theirs + 1e-9 for ours, theirs in pairs)
        summary[f"sets where trine.LMNN errs no more than {other}"] = f"{wins} of {len(pairs)}"
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="semeion, isolet and letter as .npz files")
    parser.add_argument("--only", nargs="*", default=[*BUILT_IN, *FILES])
    parser.add_argument("--patience", type=int, default=240, help="seconds of the processor for one training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small-seeds", type=int, default=20)
    given = parser.parse_args()
    rows = []
    for name in given.only:
        small = name in ("iris", "wine", "breast cancer")
        seeds = given.small_seeds if small else 1 if name == "letter" else given.seeds
        for seed in range(seeds):
            rows += measure(name, given.folder, seed=seed, patience=given.patience)
    outcomes = [outcome for name in given.only for outcome in outcomes_of(rows, name)]
    keep(
        "lmnn",
        __doc__,
        rows=rows,
        summary=summary_of(rows, given.only),
        arguments=sys.argv[1:],
        outcomes=outcomes,
        failures=failures_of(outcomes),
    )


if __name__ == "__main__":
    main()
