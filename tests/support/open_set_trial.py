"""Open-set identification from pictures to decisions, with different people for each step.

The people of a dataset are divided at random: the encoder learns from some, the threshold is chosen on
others, and the rest probe the gallery. Half of these are enrolled with half of their pictures; their other
pictures and all pictures of the other half are the probes. Then the halves change places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.data import Dataset
from trine.evaluation import calibrate, open_set
from trine.evaluation.intervals import Interval, multiplicities, percentile_interval
from trine.gallery import Gallery, GalleryCalibration
from trine.rates import Promise
from trine.training import Recipe, fit

FAR = 0.01
FPIR = 0.01


@dataclass
class Probes:
    """The answers of a gallery to probes of enrolled people and of unknown people."""

    known: np.ndarray
    """Distances of the known probes from the nearest identity."""
    right: np.ndarray
    """Whether that is the right identity."""
    unknowns: np.ndarray
    """Distances of the unknown probes from the nearest identity."""

    def __add__(self, other: Probes) -> Probes:
        return Probes(
            np.concatenate([self.known, other.known]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.unknowns, other.unknowns]),
        )

    def at(self, threshold: float) -> tuple[float, float]:
        """Returns DIR and FPIR, detection and false-positive identification rate, of a threshold."""
        return float((self.right & (self.known <= threshold)).mean()), float(
            (self.unknowns <= threshold).mean()
        )

    def dir_at_fpir(self, rate: float) -> float:
        """Returns the detection-and-identification rate at the largest threshold that keeps a rate.

        Of N unknown probes, floor(rate · N) may be identified (Grother, Ngan 2014, FRVT, NIST IR 8009).
        """
        nearest = np.sort(self.unknowns)
        first_too_many = nearest[math.floor(rate * len(nearest))]
        return float((self.right & (self.known < first_too_many)).mean())


@dataclass
class Trial:
    """One division of the people, and its results."""

    probes: Probes
    threshold: float
    promise: Promise
    galleries: list[tuple[GalleryCalibration, float]]
    """The calibration of each gallery by its own people, and the share of real strangers that it names."""
    realised: float
    """The share of impostor pairs among the people at the gallery that the threshold accepts."""
    interval: Interval
    """Its interval, by the bootstrap over identities."""
    same_as_evaluation: bool
    """Whether `trine.evaluation.open_set` gives the same rates."""


def run_trial(data: Dataset, recipe: Recipe, *, learn: int, choose: int, seed: int, folder: Path) -> Trial:
    """Trains, calibrates, enrols and probes, each with different people."""
    people = np.random.default_rng(seed).permutation(len(data.identities))
    of = [np.flatnonzero(np.isin(data.labels, part)) for part in np.split(people, [learn, learn + choose])]
    encoder = fit(data.subset(of[0]), recipe, out=folder / "run", progress=False)
    held_out, before = data.subset(of[1]), data.subset(of[2])
    found = calibrate(
        encoder.embed(held_out), held_out.labels, far=FAR, distance=encoder.distance, too_few="smallest"
    )
    encoder.calibration = found
    embeddings = encoder.embed(before)
    halves = np.array_split(people[learn + choose :], 2)
    tried = [
        _probe(encoder, before, embeddings, half, folder / f"people {i}.db") for i, half in enumerate(halves)
    ]
    probes = [each for each, _, _ in tried]
    realised, interval = far_of(embeddings, before.labels, found.threshold)
    agrees = _agrees(encoder, before, embeddings, halves, probes)
    galleries = [(made, named) for _, made, named in tried]
    return Trial(probes[0] + probes[1], found.threshold, found.promise, galleries, realised, interval, agrees)


def _enrolled(data: Dataset, half: np.ndarray) -> np.ndarray:
    """Marks every other picture of the people of one half."""
    chosen = [np.flatnonzero(data.labels == person)[::2] for person in half]
    return np.isin(np.arange(len(data)), np.concatenate(chosen))


def _probe(
    encoder, data: Dataset, embeddings: np.ndarray, half: np.ndarray, path: Path
) -> tuple[Probes, GalleryCalibration, float]:
    enrolled, known = _enrolled(data, half), np.isin(data.labels, half)
    with Gallery.open(path, encoder=encoder) as gallery:
        gallery.enrol_dataset(data.subset(np.flatnonzero(enrolled)))
        assert len(gallery) == enrolled.sum()
        answers = gallery.identify_many(embeddings=embeddings)
        made = gallery.calibration()
    named = np.array([bool(answer.accepted) for answer in answers])[~known].mean()
    scores = np.array([answer.score for answer in answers])
    right = np.array([answer.nearest == data.identity(i) for i, answer in enumerate(answers)])
    return Probes(scores[known & ~enrolled], right[known & ~enrolled], scores[~known]), made, float(named)


def _agrees(encoder, data: Dataset, embeddings, halves, probes) -> bool:
    for half, ours in zip(halves, probes, strict=True):
        enrolled = _enrolled(data, half)
        theirs = open_set(
            embeddings[~enrolled], data.labels[~enrolled], embeddings[enrolled], data.labels[enrolled],
            distance=encoder.distance, resamples=0,
        )  # fmt: skip
        if any(theirs.dir_at_fpir(rate) != ours.dir_at_fpir(rate) for rate in (0.0, 0.01, 0.1, 0.5)):
            return False
    return True


def far_of(embeddings: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[float, Interval]:
    """Returns the false-accept rate of a threshold over all pairs, and its interval over identities."""
    x = embeddings.astype(np.float64)
    near = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2)) <= threshold
    of = (labels[:, None] == np.unique(labels)).astype(np.float64)
    accepted, pairs = of.T @ near @ of, of.T @ np.ones_like(near) @ of
    np.fill_diagonal(accepted, 0)
    np.fill_diagonal(pairs, 0)
    weights = multiplicities(of.shape[1], resamples=1000, seed=0)
    with np.errstate(invalid="ignore"):  # one person alone, drawn again and again, has no impostors
        drawn = [(w @ accepted @ w) / (w @ pairs @ w) for w in weights]
    return float(accepted.sum() / pairs.sum()), percentile_interval(np.array(drawn))
