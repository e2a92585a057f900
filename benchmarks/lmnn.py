"""LMNN against Euclidean distances, principal components and metric-learn's LMNN: error and time, in one run.

    OMP_NUM_THREADS=1 python benchmarks/lmnn.py ../shared/data/tabular_lmnn

The protocol of Weinberger and Saul 2009, §6: rows divided at random 70/30 (the small sets twenty times, the
others three), k = 3 neighbours, the error of the vote. Columns of wine and breast cancer are of different
units and are standardised by the training rows; the others are as they come, divided by one number. Wide data
goes through principal components that keep 95 % of the variance, for all methods but "euclidean".
metric-learn gets its own defaults and the same rows; where it has not ended after `--patience` seconds it is
stopped, and its row says so.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import validation

from trine import LMNN

BUILT_IN = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer, "digits": load_digits}
FILES = {"semeion": "semeion", "isolet": "isolet1560", "palm": "palm16", "letter": "letter"}
STANDARDISED = ("wine", "breast cancer")
WIDE = 100
NEIGHBOURS = 3

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


def _work(method: Method, x: Rows, y: Rows, rows: Rows, answer: object) -> None:
    start = time.process_time()
    mapped = method(x, y)
    spent = time.process_time() - start
    answer.send((mapped(x), mapped(rows), spent))


def within(patience: float, method: Method, x: Rows, y: Rows, rows: Rows) -> tuple[Rows, Rows, float] | None:
    """Runs a method in a process of its own, which is stopped when it takes too long."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.Process(target=_work, args=(method, x, y, rows, theirs))
    worker.start()
    theirs.close()
    done = ours.recv() if ours.poll(patience) else None
    worker.kill()
    worker.join()
    return done


def error(train: Rows, classes: Rows, test: Rows, truth: Rows) -> float:
    return 1 - float(KNeighborsClassifier(NEIGHBOURS).fit(train, classes).score(test, truth))


def measure(name: str, folder: Path, *, seeds: int, patience: float) -> None:
    x, y = load(name, folder)
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        a, a_y, b, b_y = divide(x, y, seed=seed, standardise=name in STANDARDISED)
        rows.setdefault("euclidean", []).append((error(a, a_y, b, b_y), 0.0))
        if x.shape[1] > WIDE:
            pca = PCA(0.95, random_state=0).fit(a)
            a, b = pca.transform(a), pca.transform(b)
            rows.setdefault("principal components", []).append((error(a, a_y, b, b_y), 0.0))
        for title, method in (("trine", trine_lmnn), ("metric-learn", metric_learn_lmnn)):
            done = within(patience, method, a, a_y, b)
            if done is not None:
                rows.setdefault(title, []).append((error(done[0], a_y, done[1], b_y), done[2]))
            else:
                rows.setdefault(title, []).append((np.nan, patience))
    for title, found in rows.items():
        errors, seconds = np.array(found).T
        spread = f" ± {errors.std(ddof=1):.4f}" if len(errors) > 1 else ""
        text = "stopped" if np.isnan(errors).any() else f"{errors.mean():.4f}{spread}"
        print(f"| {name} | {a.shape[1]} | {title} | {text} | {seconds.mean():.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="semeion, isolet, palm and letter as .npz files")
    parser.add_argument("--only", nargs="*", default=[*BUILT_IN, *FILES])
    parser.add_argument("--patience", type=float, default=600.0, help="seconds for one training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small-seeds", type=int, default=20)
    given = parser.parse_args()
    print("| data | columns | method | error of 3 neighbours | seconds to train (processor) |")
    print("|---|---|---|---|---|")
    for name in given.only:
        small = name in ("iris", "wine", "breast cancer")
        seeds = given.small_seeds if small else given.seeds
        measure(name, given.folder, seeds=seeds, patience=given.patience)


if __name__ == "__main__":
    main()
