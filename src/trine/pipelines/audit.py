"""Find labels that are probably wrong, using the encoder of a run."""

from __future__ import annotations

from pathlib import Path

from trine.data import Dataset
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.errors import check_count
from trine.evaluation import find_label_errors
from trine.io import write_text
from trine.pipelines.export import check_output, write_csv
from trine.pipelines.faces_for import faces_as_trained
from trine.pipelines.split_record import Part, check_part, name_of, part_of, with_size
from trine.pipelines.trained_run import TrainedRun, open_trained_run
from trine.report import LabelErrorReport, label_error_page

COLUMNS = ("item", "label", "looks_like", "score", "evidence")


def audit_run(
    run: str | Path | TrainedRun, dataset: Dataset | Tabular, *, part: Part = "all", top: int = 50
) -> LabelErrorReport:
    """Ranks the items of a data set by how likely their label is wrong.

    Args:
        run: The run folder, a model folder, or what `open_trained_run` returned for one.
        dataset: Labelled items.
        part: Which items; an encoder memorises wrong labels that it was trained on, so audit items that it
            was not trained on.
        top: The number of suspects to list.

    Returns:
        The suspects.

    Raises:
        ModelError: The model is missing or damaged.
        DataError: The data has no such part.
        SettingError: The part is unknown.
        InputError: `top` is below 1, or there is only one identity.
    """
    dataset = as_dataset(dataset, "audit_run")
    check_part(part)
    check_count("top", top)
    opened = open_trained_run(run)
    dataset = faces_as_trained(opened, dataset)
    encoder = opened.encoder
    positions, audited = part_of(opened.path, dataset, part)
    chosen = dataset.subset(positions)
    labels = [chosen.identity(at) for at in range(len(chosen))]
    errors = find_label_errors(encoder.embed(chosen), labels, names=chosen.names, distance=encoder.distance)
    return LabelErrorReport(
        name_of(dataset), with_size(audited, chosen), chosen, errors, errors.suspects(top)
    )


def write_suspects(report: LabelErrorReport, *, out: str | Path) -> None:
    """Writes a CSV file with the columns item, label, looks_like, score and evidence.

    Args:
        report: The audit.
        out: The file.

    Raises:
        InputError: The file is not .csv, or cannot be written.
    """
    check_output(out, ".csv")
    rows = ([s.item, s.label, s.looks_like, f"{s.score:.4f}", s.evidence] for s in report.suspects)
    write_csv(Path(out), COLUMNS, rows)


def write_audit_page(report: LabelErrorReport, *, out: str | Path) -> None:
    """Writes an HTML page that shows each suspect next to the items most similar to it.

    Args:
        report: The audit.
        out: The file.

    Raises:
        InputError: The file is not .html, or cannot be written.
    """
    check_output(out, ".html")
    write_text(Path(out), label_error_page(report))
