"""The tables of a page: figures with their intervals, identities, the census, and the model's card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from trine.encoders import Encoder
from trine.evaluation import Retrieval
from trine.neighbours import nearest_neighbours
from trine.report.evaluation_report import Measured, Report, sized
from trine.report.html import Child, Markup, Section, element, facts, figure, join, range_bar, table
from trine.report.metrics_table import Headline, long_lines
from trine.report.pages.context import Subject
from trine.training import Diagnosis

IDENTITIES, ASKED, AMONG = 12, 2000, 10


def figures_section(subject: Subject) -> Section:
    """Shows every figure with its interval, and what it was before training."""
    report = subject.report
    before = report.before
    rows: list[list[Child] | str] = []
    for name, lines in long_lines(report.far).items():
        measured = getattr(report.after, name)
        if measured is None:
            continue
        rows.append(protocol_words(measured))
        for line in lines:
            value, interval = line.value(report.after), line.interval(report.after)
            if value is None:
                continue
            was = None if before is None else line.value(before)
            ends = (None, None) if interval is None else (interval.low, interval.high)
            bar = range_bar(value, *ends, before=was)
            row: list[Child] = [named(line), bar, figure(value, interval)]
            if before is not None:
                row.append(figure(was, line.interval(before)))
            rows.append(row)
    head = ["figure", "0 to 1", "after training, 95 % interval"]
    lead = (
        "Intervals come from drawing identities again: how far the figure could be off, had others been met."
    )
    if before is not None:
        head.append("before")
        lead += f" Before training: {report.before_is} (the ring on the bar)."
    return Section("figures", "Metrics", lead, table(head, rows, words=2))


def protocol_words(measured: Measured) -> str:
    """Names a protocol, and says how many queries or pairs stand behind it."""
    name, _, how = measured.protocol.partition(": ")
    return f"{name.capitalize()}: {how}; {sized(measured)}"


def named(line: Headline) -> Child:
    """The name of a line, with what is not expected of it."""
    if line.larger_is_better:
        return line.name
    return join(line.name, " ", element("small", "smaller is better"))


def identities_section(subject: Subject) -> Section | None:
    """Shows the identities that the encoder does worst on, and whom it takes them for."""
    data, retrieval = subject.dataset, subject.report.after.retrieval
    names, sizes, means = _by_identity(retrieval, data.labels)
    if len(names) < 2:
        return None
    order = np.argsort(means["MAP@R"], kind="stable")[:IDENTITIES]
    confused = _confused_with(subject, names[order])
    rows = [
        [
            data.identities[names[at]],
            confused.get(int(names[at]), "–"),
            f"{sizes[at]:,}",
            *(figure(float(values[at])) for values in means.values()),
        ]
        for at in order.tolist()
    ]
    more = f", the worst {len(order)} of {len(names):,}" if len(order) < len(names) else ""
    return Section(
        "identities",
        "Identities",
        f"By MAP@R{more}. An identity far below the others may hold wrong labels, or items of another kind. "
        "In its place: who stands most often where itself should, among the nearest R of its items (R the "
        "number of its other items, at most 10).",
        table(["identity", "most often in its place", "items", *means], rows, words=2),
    )


def census_card(report: Report) -> Markup | None:
    """Shows how many triplets are still hard."""
    counted = report.census
    if counted is None or not counted.census.triplets:
        return None
    census = counted.census
    of = f"{counted.items:,} items drawn at random" if counted.sampled else f"all {counted.items:,} items"
    rows: list[list[Child] | str] = [
        [name, meaning, f"{count:,}", f"{count / census.triplets:.2%}"]
        for name, meaning, count in (
            ("easy", "d(a,n) ≥ d(a,p) + α", census.easy),
            ("semi-hard", "d(a,p) < d(a,n) < d(a,p) + α", census.semihard),
            ("hard", "d(a,n) ≤ d(a,p)", census.hard),
            ("active", "loss above 0", census.active),
        )
    ]
    lead = (
        f"All {census.triplets:,} triplets among {of} (not those of training batches), at margin "
        f"α = {counted.margin:g}. Mean distance of positives {census.mean_positive_distance:.3f}, of "
        f"negatives {census.mean_negative_distance:.3f}."
    )
    head = ["triplets", "where", "number", "share"]
    return join(element("h3", "Triplets"), element("p", lead), table(head, rows, words=2))


def card_section(subject: Subject) -> Section:
    """Shows what the model is."""
    return Section("model", "Model", "", model_of(subject))


def model_of(subject: Subject) -> Markup:
    """Lists what a subject's model is; see `model_facts`."""
    report = subject.report
    return model_facts(
        subject.encoder,
        run=subject.run,
        trained_on=subject.trained_on,
        threshold=report.threshold_sentence() or "none: the model is not calibrated",
        doctor=report.doctor,
    )


def model_facts(
    encoder: Encoder, *, run: Path, trained_on: str, threshold: str, doctor: Sequence[Diagnosis]
) -> Markup:
    """Lists what a model is and what its threshold rests on.

    Args:
        encoder: The model.
        run: Its run folder.
        trained_on: What it was trained on, in words.
        threshold: Its threshold, in words.
        doctor: What was wrong with its training.
    """
    settings = encoder.settings
    shape = "×".join(map(str, settings.shape))
    length = ", of length 1" if settings.normalise else ""
    entries: list[tuple[str, Child]] = [
        ("folder", element("code", str(run))),
        ("trained on", trained_on or "not known"),
        ("network", f"{settings.network}, for {settings.kind} of shape {shape}"),
        ("embedding", f"{settings.dimension} numbers{length}"),
        ("distance", f"{settings.distance.replace('_', ' ')} (smaller is closer)"),
        ("threshold", threshold),
        ("fingerprint", element("code", encoder.fingerprint)),
    ]
    entries += [("doctor", str(found)) for found in doctor]
    return facts(entries)


def _by_identity(
    retrieval: Retrieval, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The identities with a query, their items, and the means of their queries."""
    names, own, sizes = np.unique(labels[retrieval.queries], return_inverse=True, return_counts=True)
    means = {
        name: np.bincount(own, weights=values) / sizes
        for name, values in (
            ("recall@1", retrieval.first_ranks <= 1),
            ("R-precision", retrieval.r_precisions),
            ("MAP@R", retrieval.maps_at_r),
        )
    }
    return names, sizes, means


def _confused_with(subject: Subject, identities: np.ndarray) -> dict[int, Markup]:
    """For some identities, the one that most often stands among the nearest of their items in their place."""
    data = subject.dataset
    asked = np.flatnonzero(np.isin(data.labels, identities))[:ASKED]
    rows = torch.from_numpy(subject.embeddings)
    others = np.bincount(data.labels)[data.labels[asked]] - 1
    found = nearest_neighbours(
        rows[torch.from_numpy(asked)],
        rows,
        k=int(min(max(others.max(), 1), AMONG)),
        distance=subject.encoder.distance,
        exclude=asked,
    )
    taken: dict[int, Counter[int]] = {}
    for own, near, most in zip(data.labels[asked].tolist(), found.indices, others.tolist(), strict=True):
        wrong = data.labels[near[:most]]
        taken.setdefault(own, Counter()).update(wrong[wrong != own].tolist())
    return {
        identity: join(data.identities[other], " ", element("small", f"×{times:,}"))
        for identity, counts in taken.items()
        for other, times in counts.most_common(1)
    }
