"""Several runs on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from trine.neighbours import nearest_neighbours
from trine.report.html import (
    Child,
    Markup,
    Section,
    Tile,
    document,
    element,
    figure,
    join,
    neighbour_rows,
    side_by_side,
    table,
)
from trine.report.metrics_table import long_lines
from trine.report.pages.context import Shelf, Subject, distance_note
from trine.report.pages.curves import distance_chart, rank_chart, ranked_report, roc_chart
from trine.report.pages.sections import model_of, named, protocol_words
from trine.report.paired_difference import Difference

SHOWN, NEIGHBOURS = 3, 8


def comparison_page(
    subjects: Sequence[Subject],
    differences: Mapping[str, Mapping[str, Difference]],
    notes: Sequence[str] = (),
) -> str:
    """Writes what several runs reach on the same items as one page.

    Args:
        subjects: The runs, all on the same items.
        differences: For each but the first, by name, its figures less those of the first.
        notes: What must not be overlooked.

    Returns:
        HTML.
    """
    first = subjects[0]
    *most, last = [subject.name for subject in subjects]
    sections = [
        _figures(subjects, differences),
        _curves(subjects),
        _disagreements(subjects),
        _models(subjects),
    ]
    return document(
        f"{', '.join(most)} and {last} on {first.report.data}",
        sections,
        lead=first.report.part,
        notes=notes,
        foot=f"Made by trine. The figures stand in metrics.json beside this page, in {first.report.folder}.",
    )


def _figures(subjects: Sequence[Subject], differences: Mapping[str, Mapping[str, Difference]]) -> Section:
    first, *others = subjects
    rows: list[list[Child] | str] = []
    for name, lines in long_lines(first.report.far).items():
        measured = getattr(first.report.after, name)
        if measured is None:
            continue
        rows.append(protocol_words(measured))
        for line in lines:
            if line.value(first.report.after) is None:
                continue
            row: list[Child] = [named(line)]
            for subject in subjects:
                after = subject.report.after
                row.append(figure(line.value(after), line.interval(after)))
            row += [_difference(differences[other.name].get(line.key)) for other in others]
            rows.append(row)
    head = ["figure", *(subject.name for subject in subjects)]
    head += [f"{other.name} less {first.name}" for other in others]
    lead = (
        "With 95 % intervals, which come from drawing identities again. The difference has an interval of "
        "its own, over the same draws for both: where it does not hold 0 the run is better (▲) or worse (▼) "
        "on identities of this kind, whatever the two intervals beside each other suggest."
    )
    return Section("figures", "Metrics", lead, table(head, rows))


def _difference(found: Difference | None) -> Markup:
    if found is None:
        return figure(None)
    written = figure(found.value, found.interval, signed=True)
    if found.better is None:
        return written
    sign, kind, word = ("▲", "right", "better") if found.better else ("▼", "wrong", "worse")
    mark = element("span", sign, class_=f"verdict {kind}", role="img", aria_label=word, title=word)
    return join(mark, " ", written)


def _curves(subjects: Sequence[Subject]) -> Section:
    roc = [(subject.name, subject.report.after.verification, False) for subject in subjects]
    ranks = [(subject.name, ranked_report(subject.report.after), False) for subject in subjects]
    cards = [
        join(element("h3", "ROC"), roc_chart(roc)),
        join(element("h3", "CMC"), rank_chart(ranks)),
    ]
    for subject in subjects:
        known = subject.report.calibration
        chart = distance_chart(subject.report.after.verification, None if known is None else known.threshold)
        cards.append(join(element("h3", f"Distances of pairs: {subject.name}"), chart))
    return Section("curves", "Curves", "", side_by_side(*cards))


def _disagreements(subjects: Sequence[Subject]) -> Section:
    first, *others = subjects
    shelf = Shelf(first.dataset)
    queries = first.report.after.retrieval.queries
    parts: list[Markup] = []
    for other in others:
        gain = other.report.after.retrieval.maps_at_r - first.report.after.retrieval.maps_at_r
        for better, above in ((other, gain), (first, -gain)):
            count = int((above > 0).sum())
            parts.append(element("h3", f"{better.name} ranks better: {count:,} of {len(queries):,} queries"))
            if count:
                chosen = queries[np.argsort(-above, kind="stable")[: min(SHOWN, count)]]
                parts.append(_rows(chosen, (first, other), shelf))
    lead = f"By MAP@R of each query; at most {SHOWN} of each, where the runs are farthest apart."
    return Section("differ", "Where they differ", lead, join(*parts))


def _rows(queries: np.ndarray, subjects: Sequence[Subject], shelf: Shelf) -> Markup:
    data = subjects[0].dataset
    found = []
    for subject in subjects:
        rows = torch.from_numpy(subject.embeddings)
        asked = rows[torch.from_numpy(queries)]
        distance = subject.encoder.distance
        found.append(nearest_neighbours(asked, rows, k=NEIGHBOURS, distance=distance, exclude=queries))
    rows_shown: list[tuple[Tile, list[Tile]]] = []
    for row, query in enumerate(queries.tolist()):
        for subject, near in zip(subjects, found, strict=True):
            tiles = [
                shelf.tile(
                    at,
                    note=distance_note(d),
                    mark="right" if data.labels[at] == data.labels[query] else "wrong",
                )
                for at, d in zip(near.indices[row].tolist(), near.distances[row].tolist(), strict=True)
            ]
            rows_shown.append((shelf.tile(query, note=subject.name), tiles))
    return neighbour_rows(rows_shown)


def _models(subjects: Sequence[Subject]) -> Section:
    cards = [element("div", element("h3", each.name), model_of(each)) for each in subjects]
    return Section("models", "Models", "", element("div", *cards, class_="beside"))
