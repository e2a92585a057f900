"""Do 95 % intervals over identities cover, with few identities and with uneven numbers of items?

Simulated identities have a place and a spread of their own, so the rates of their pairs differ; in the second
world 8 % of them lie near the centre, and are taken for many others. The truth follows from the distribution.
Numbers of items are equal, or fall from 530 to 1 as in Labeled Faces in the Wild. Of real data (features:
principal components of pixels) identities are drawn, and the truth is the value over all of them.

    python benchmarks/intervals.py            several minutes
    python benchmarks/intervals.py --quick    seconds, to see that it runs
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from results import keep, timed
from trine.evaluation import open_set, verification
from trine.evaluation.intervals import percentile_interval
from trine.evaluation.rate_intervals import ObservedRate

RATES = (0.05, 0.01, 0.001)
WIDTH = 16
CHOSEN, PERCENTILE = "chosen", "percentile bootstrap"
LEAST = 0.92
DATA = Path(os.environ.get("TRINE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))

Ends = tuple[float, float]


class Study(NamedTuple):
    """The pairs of one study up to a threshold: accepted and all, of each two identities, and within each."""

    accepted: np.ndarray
    pairs: np.ndarray
    genuine: np.ndarray
    genuine_pairs: np.ndarray


class Cell(NamedTuple):
    """What a line of the table is about."""

    metric: str
    data: str
    identities: int
    sizes: str
    rate: float


# Intervals to compare: of a rate over identities, and of one over pairs of identities.


def cluster_methods(accepted: np.ndarray, trials: np.ndarray, random: np.random.Generator) -> dict[str, Ends]:
    """Intervals of a rate whose trials belong to one identity each."""
    kept = trials > 0
    accepted, trials = accepted[kept].astype(float), trials[kept].astype(float)
    observed = ObservedRate.of_identities(accepted, trials)
    times = drawn(random, len(trials))
    values = (times @ accepted) / (times @ trials)
    return compared(observed, values, times, accepted, trials)


def pair_methods(study: Study, random: np.random.Generator) -> dict[str, Ends]:
    """Intervals of the FAR, whose trials belong to two identities each."""
    accepted, pairs = study.accepted.astype(float), study.pairs.astype(float)
    observed = ObservedRate.of_pairs(accepted.sum(1), pairs.sum(1))
    times = drawn(random, len(pairs))
    hits, trials = ((times @ matrix * times).sum(1) for matrix in (accepted, pairs))
    found = compared(observed, hits / trials, times, accepted.sum(1), pairs.sum(1))
    # Copies of an identity as impostors of each other, at distance 0 from themselves.
    sizes = np.sqrt(2 * study.genuine_pairs + 0.25) + 0.5
    copies = (times * (times - 1)) @ sizes**2
    found["vertex bootstrap, copies as impostors"] = percentiles((hits + copies) / (trials + copies))
    # Each person's impostor pairs as one subset (Bolle, Ratha, Pankanti 2004).
    subsets = (times @ accepted.sum(1)) / (times @ pairs.sum(1))
    found["subsets bootstrap"] = percentiles(subsets)
    return found


def compared(
    observed: ObservedRate, values: np.ndarray, times: np.ndarray, accepted: np.ndarray, trials: np.ndarray
) -> dict[str, Ends]:
    """The intervals that both kinds of rates have."""
    rate, count = observed.rate, len(trials)
    low, high = percentiles(values)
    found = {PERCENTILE: (low, high), "basic bootstrap": (2 * rate - high, 2 * rate - low)}
    found["BCa bootstrap"] = accelerated(rate, values, observed.changes)
    variance = float((observed.changes**2).sum())
    binomial, t = rate * (1 - rate), float(stats.t.ppf(0.975, count - 1))
    if binomial > 0 and 0 < variance < np.inf:
        log_odds, spread = np.log(rate / (1 - rate)), t * np.sqrt(variance) / binomial
        found["logit t, jackknife"] = tuple(1 / (1 + np.exp(-(log_odds + np.array([-spread, spread])))))
        trials_worth = binomial / variance
    else:
        found["logit t, jackknife"] = (np.nan, np.nan)
        trials_worth = observed.agreeing
    centre = (rate + t**2 / 2 / trials_worth) / (1 + t**2 / trials_worth)
    half = t / (1 + t**2 / trials_worth) * np.sqrt(binomial / trials_worth + (t / 2 / trials_worth) ** 2)
    found["Wilson, effective size"] = (centre - half, centre + half)
    adjusted = trials_worth * (stats.norm.ppf(0.975) / t) ** 2 if binomial else trials_worth
    found["Korn-Graubard"] = clopper_pearson(rate, adjusted)
    interval = observed.interval()
    found[CHOSEN] = (interval.low, interval.high)
    return found


def drawn(random: np.random.Generator, count: int, resamples: int = 200) -> np.ndarray:
    return random.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


def percentiles(values: np.ndarray) -> Ends:
    low, high = np.nanquantile(values, [0.025, 0.975]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(low), float(high)


def accelerated(rate: float, values: np.ndarray, changes: np.ndarray) -> Ends:
    """Bias-corrected and accelerated (Efron 1987)."""
    values = values[np.isfinite(values)]
    cubed, squared = (changes**3).sum(), (changes**2).sum()
    if not len(values) or not 0 < squared < np.inf:
        return percentiles(values)
    shift = stats.norm.ppf(np.clip((values < rate).mean() + (values == rate).mean() / 2, 0.005, 0.995))
    speed = cubed / (6 * squared**1.5)
    levels = [shift + z for z in stats.norm.ppf([0.025, 0.975])]
    shares = stats.norm.cdf([shift + z / (1 - speed * z) for z in levels])
    low, high = np.quantile(values, np.clip(shares, 0, 1))
    return float(low), float(high)


def clopper_pearson(rate: float, trials: float) -> Ends:
    accepted = rate * trials
    low = stats.beta.ppf(0.025, accepted, trials - accepted + 1) if accepted > 0 else 0.0
    high = stats.beta.ppf(0.975, accepted + 1, trials - accepted) if accepted < trials else 1.0
    return float(low), float(high)


# Where studies come from.


def sizes_of(kind: str, count: int) -> np.ndarray:
    """Ten items each (five of 400), or from 530 down to 1."""
    if kind == "equal":
        return np.full(count, 10 if count < 400 else 5)
    falling = 530 * np.arange(1.0, count + 1) ** (-np.log(530) / np.log(count))
    return np.maximum(1, np.round(falling)).astype(int)


class Population:
    """Identities with a place and a spread of their own; in a world of hubs some lie near the centre."""

    def __init__(self, hubs: bool) -> None:
        self.name = "with hubs" if hubs else "even"
        self._reach, self._share = ([0.45, 1.0], [0.08, 0.92]) if hubs else ([1.0], [1.0])
        quantiles = stats.norm.ppf((np.arange(60) + 0.5) / 60)
        self._spread = 0.45 * np.exp(0.35 * quantiles)
        self._variances = (np.square(self._reach)[:, None] + self._spread**2).ravel()
        self._weights = np.repeat(self._share, 60) / 60

    def far(self, threshold: float) -> float:
        """The true FAR: the distance of two items of given identities is a scaled chi."""
        sums = self._variances[:, None] + self._variances
        shares = stats.chi2.cdf(threshold**2 / sums, WIDTH)
        return float(self._weights @ shares @ self._weights)

    def tar(self, threshold: float) -> float:
        """The true TAR."""
        return float(stats.chi2.cdf(threshold**2 / (2 * self._spread**2), WIDTH).mean())

    def threshold(self, far: float) -> float:
        """The threshold of a true FAR."""
        return float(optimize.brentq(lambda at: self.far(at) - far, 0.1, 20))

    def rows(self, random: np.random.Generator, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Items of as many identities as there are sizes."""
        count, labels = len(sizes), np.repeat(np.arange(len(sizes)), sizes)
        spread = 0.45 * np.exp(0.35 * random.standard_normal(count))
        reach = random.choice(self._reach, count, p=self._share)
        places = reach[:, None] * random.standard_normal((count, WIDTH))
        noise = random.standard_normal((len(labels), WIDTH))
        return (places[labels] + spread[labels, None] * noise).astype(np.float32), labels


def studied(rows: np.ndarray, sizes: np.ndarray, thresholds: list[float]) -> list[Study]:
    """The accepted pairs of items, which are sorted by identity, at each threshold."""
    squares = (rows * rows).sum(1)
    distances = squares[:, None] + squares - 2 * rows @ rows.T
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    pairs = np.outer(sizes, sizes)
    np.fill_diagonal(pairs, 0)
    found = []
    for threshold in thresholds:
        columns = np.add.reduceat(distances <= threshold**2, starts, axis=1, dtype=np.int32)
        accepted = np.add.reduceat(columns, starts, axis=0)
        genuine = (np.diag(accepted) - sizes) // 2
        np.fill_diagonal(accepted, 0)
        found.append(Study(accepted, pairs, genuine, sizes * (sizes - 1) // 2))
    return found


def real(name: str, *, quick: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """Principal components of the pixels of a real data set, of unit length, sorted by identity."""
    from PIL import Image

    if name == "LFW":
        paths = sorted((DATA / "faces_lfw" / "images").glob("*/*.jpg"))
        names = [path.parent.name for path in paths]
    else:
        paths = sorted((DATA / "reid_cuhk01").glob("*.jpg"))
        names = [path.name.split("_")[0] for path in paths]
    if not paths:
        return None
    if quick:
        paths, names = paths[:300], names[:300]
    pixels = np.stack([np.asarray(Image.open(path).convert("L").resize((24, 36))).ravel() for path in paths])
    centred = pixels.astype(np.float32) - pixels.mean(0, dtype=np.float32)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    _, _, directions = np.linalg.svd(centred - centred.mean(0), full_matrices=False)
    rows = (centred - centred.mean(0)) @ directions[2:66].T
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.unique(names, return_inverse=True)[1]


# The tables.


class Table:
    """How often each method held the truth, and how wide it was."""

    def __init__(self) -> None:
        self._ends: dict[Cell, dict[str, list[Ends]]] = defaultdict(lambda: defaultdict(list))
        self._truth: dict[Cell, float] = {}

    def add(self, cell: Cell, truth: float, found: Mapping[str, Ends]) -> None:
        """Takes the intervals of one study."""
        self._truth[cell] = truth
        for method, ends in found.items():
            self._ends[cell][method].append(ends)

    def rows(self) -> list[dict[str, Any]]:
        """One line for each cell and method."""
        lines = []
        for cell, methods in self._ends.items():
            truth = self._truth[cell]
            for method, listed in methods.items():
                ends = np.array(listed, float)
                held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
                lines.append(
                    cell._asdict()
                    | {
                        "truth": round(truth, 5),
                        "method": method,
                        "studies": len(ends),
                        "coverage": round(float(held.mean()), 3),
                        "truth below": round(float((truth < ends[:, 0]).mean()), 3),
                        "truth above": round(float((truth > ends[:, 1]).mean()), 3),
                        "median width": float(f"{np.nanmedian(ends[:, 1] - ends[:, 0]):.3g}"),
                    }
                )
        return lines


def simulated(table: Table, *, quick: bool) -> None:
    """FAR and TAR at a threshold."""
    for people in (Population(hubs=False), Population(hubs=True)):
        thresholds = [people.threshold(rate) for rate in RATES]
        for count in (30,) if quick else (30, 100, 400):
            for kind in ("equal", "uneven"):
                sizes = sizes_of(kind, count)
                for seed in range(4 if quick else 50 if count == 400 else 200):
                    random = np.random.default_rng((seed, count, kind == "equal"))
                    rows, _ = people.rows(random, sizes)
                    for study, rate, threshold in zip(
                        studied(rows, sizes, thresholds), RATES, thresholds, strict=True
                    ):
                        far = Cell("FAR at a threshold", people.name, count, kind, rate)
                        table.add(far, rate, pair_methods(study, random))
                        tar = far._replace(metric="TAR at a threshold")
                        genuine = cluster_methods(study.genuine, study.genuine_pairs, random)
                        table.add(tar, people.tar(threshold), genuine)


def of_thresholds(table: Table, *, quick: bool) -> None:
    """TAR at a FAR and the threshold of a FAR, by the reports themselves."""
    for people in (Population(hubs=False), Population(hubs=True)):
        for count in (30,) if quick else (30, 100):
            for kind in ("equal", "uneven"):
                sizes = sizes_of(kind, count)
                for seed in range(2 if quick else 50):
                    random = np.random.default_rng((seed, count, kind == "equal"))
                    report = verification(*people.rows(random, sizes), seed=seed, resamples=100)
                    for rate in RATES:
                        at = people.threshold(rate)
                        for metric, truth in (("tar_at_far", people.tar(at)), ("threshold_at_far", at)):
                            name = metric.replace("tar", "TAR").replace("far", "FAR").replace("_", " ")
                            cell = Cell(name, people.name, count, kind, rate)
                            table.add(cell, truth, both(report, metric, rate))


def identification(table: Table, *, quick: bool) -> None:
    """FPIR and DIR: probes of an identity are named with a chance of its own, at worst always or never."""
    for alike, name in ((0.3, "identities nearly all or nothing"), (3.0, "identities differ")):
        for count in (30,) if quick else (30, 100, 400):
            for kind in ("equal", "uneven"):
                sizes = sizes_of(kind, count)
                for seed in range(4 if quick else 200):
                    random = np.random.default_rng((seed, count))
                    for metric, rates in (("FPIR at a threshold", RATES), ("DIR at a threshold", (0.9, 0.6))):
                        for rate in rates:
                            chances = random.beta(rate * alike, (1 - rate) * alike, count)
                            found = cluster_methods(random.binomial(sizes, chances), sizes, random)
                            table.add(Cell(metric, name, count, kind, rate), rate, found)


def of_rates(table: Table, *, quick: bool) -> None:
    """DIR at a FPIR, by the reports: distances along a line, each identity with a shift of its own."""

    def studied_once(random: np.random.Generator, sizes: np.ndarray, **how: int) -> Any:
        count = len(sizes)
        known = np.repeat(np.arange(2 * count) < count, np.concatenate([sizes, sizes]))
        owner = np.repeat(np.arange(2 * count), np.concatenate([sizes, sizes]))
        away = np.where(known, 0.35, 1.0) + 0.12 * random.standard_normal(2 * count)[owner]
        away = np.abs(away + 0.15 * random.standard_normal(len(owner)))
        places = 10.0 * (owner % count)
        return open_set(
            (places + away)[:, None], owner, 10.0 * np.arange(count)[:, None], np.arange(count), **how
        )

    whole = studied_once(np.random.default_rng(10**6), np.full(300 if quick else 2_000, 3), resamples=0)
    for count in (30,) if quick else (30, 100, 400):
        for kind in ("equal", "uneven"):
            sizes = sizes_of(kind, count)
            sizes = np.minimum(sizes, 530)
            for seed in range(2 if quick else 50):
                random = np.random.default_rng((seed, count))
                report = studied_once(random, random.permutation(sizes), resamples=100, seed=seed)
                for rate in RATES[:2]:
                    cell = Cell("DIR at FPIR", "shifted identities", count, kind, rate)
                    table.add(cell, whole.dir_at_fpir(rate), both(report, "dir_at_fpir", rate))


def both(report: Any, metric: str, argument: float) -> dict[str, Ends]:
    interval = report.interval(metric, argument)
    before = percentile_interval(report.resampled(metric, argument))
    return {PERCENTILE: (before.low, before.high), CHOSEN: (interval.low, interval.high)}


def of_real_data(table: Table, *, quick: bool) -> None:
    """FAR and TAR of identities drawn from a real set; the truth is the value over all."""
    for name, kind in (("LFW", "1 to 236"), ("CUHK01", "4 each")):
        found = real(name, quick=quick)
        if found is None:
            print(f"skipped: {name} is not in {DATA}", file=sys.stderr)
            continue
        rows, labels = found
        sizes = np.bincount(labels)
        report = verification(rows, labels, resamples=0)
        thresholds = [report.threshold_at_far(rate) or 0.0 for rate in RATES]
        whole = studied(rows, sizes, thresholds)
        for count in (30,) if quick else (30, 100):
            for seed in range(4 if quick else 200):
                random = np.random.default_rng((seed, count))
                chosen = random.permutation(len(sizes))[:count]
                square = np.ix_(chosen, chosen)
                for every, rate in zip(whole, RATES, strict=True):
                    truth = every.accepted.sum() / every.pairs.sum()
                    study = Study(
                        every.accepted[square],
                        every.pairs[square],
                        every.genuine[chosen],
                        every.genuine_pairs[chosen],
                    )
                    cell = Cell("FAR at a threshold", name, count, kind, rate)
                    table.add(cell, truth, pair_methods(study, random))
                    # Half of the genuine pairs of LFW are of three people: few samples hold them.
                    if name != "LFW" and study.genuine_pairs.sum():
                        tar = every.genuine.sum() / every.genuine_pairs.sum()
                        genuine = cluster_methods(study.genuine, study.genuine_pairs, random)
                        table.add(cell._replace(metric="TAR at a threshold"), tar, genuine)


def summary(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Every method's coverage, then each cell's by the method chosen and by the one before."""
    found: dict[str, str] = {}
    by_method: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_method[row["method"]].append(row["coverage"])
    for method, covered in sorted(by_method.items(), key=lambda item: -min(item[1])):
        enough = sum(one >= LEAST for one in covered)
        found[f"{method}: at least {LEAST} in"] = (
            f"{enough} of {len(covered)} cells; least {min(covered):.3f}, median {np.median(covered):.3f}"
        )
    cells: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        about = f"{row['metric']}, {row['data']}, {row['identities']} identities, {row['sizes']}"
        cells[f"{about}, rate {row['rate']:g}"][row["method"]] = row
    for name, methods in cells.items():
        found[name] = "; ".join(
            f"{method} {methods[method]['coverage']:.3f} (width {methods[method]['median width']:g})"
            for method in (PERCENTILE, CHOSEN)
        )
    return found


def by_cell(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each cell: its coverage and width by every method."""
    found: dict[Cell, dict[str, Any]] = {}
    for row in rows:
        cell = Cell(*(row[name] for name in Cell._fields))
        kept = {"truth": row["truth"], "studies": row["studies"], "coverage": {}, "median width": {}}
        line = found.setdefault(cell, cell._asdict() | kept)
        for name in ("coverage", "median width"):
            line[name][row["method"]] = row[name]
    return list(found.values())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a few studies, to see that it runs; keeps nothing"
    )
    quick = parser.parse_args(arguments).quick
    table = Table()
    parts: tuple[Callable[..., None], ...] = (
        simulated,
        of_thresholds,
        identification,
        of_rates,
        of_real_data,
    )
    with timed() as took:
        for part in parts:
            part(table, quick=quick)
            print(f"done: {part.__name__}", file=sys.stderr, flush=True)
    rows = table.rows()
    told = {"seconds": took.seconds, **summary(rows)}
    if quick:
        print("\n".join(f"{name}: {value}" for name, value in told.items()))
    else:
        keep("intervals", __doc__, rows=by_cell(rows), summary=told)


if __name__ == "__main__":
    main()
