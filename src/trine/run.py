"""A run, from data to a folder: divide, train, calibrate, evaluate, and leave what was found.

runs/faces/
  recipe.yaml     every setting
  split.json      which item was in which part
  metrics.csv     the log of training, and TensorBoard's beside it
  checkpoints/    what resuming goes on from
  model/          the encoder: weights, settings, calibration, card
  figures.json    the figures on the test part, before training and after
  picture.png     nearest-neighbour rows and the 2-D map of the test part
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from trine.calibration import Calibration
from trine.clustering import cluster
from trine.data import Dataset, Split, split
from trine.distances import Distance
from trine.encoders import Encoder, load, save
from trine.errors import (
    CalibrationError,
    DataError,
    InputError,
    ModelError,
    SettingError,
    nearest,
    require,
)
from trine.evaluation import Retrieval, Verification, calibrate, picture, retrieval, verification
from trine.model import read_model, write_model
from trine.shapes import Float32, Int64
from trine.training import Recipe, RunFolder, fit

SPLIT, FIGURES, PICTURE = "split.json", "figures.json", "picture.png"
RAW_VALUES = 1 << 28
"""The most numbers that are compared raw, before training: about a gigabyte."""

Part = Literal["auto", "train", "validation", "test", "all"]
"""Which items of the data to look at; `auto` is the test part of the data a run was trained on."""


@dataclass(frozen=True)
class Figures:
    """How well embeddings tell identities apart.

    Attributes:
        retrieval: Every item asks for the others of its identity.
        verification: Every pair of items is the same, or is not.
    """

    retrieval: Retrieval
    verification: Verification

    def headline(self, far: float) -> dict[str, float]:
        """The four figures of the short table: all in [0, 1], larger is better.

        Args:
            far: The false-accept rate of the last one.
        """
        return {
            "recall@1": self.retrieval.recall_at(1),
            "MAP@R": self.retrieval.map_at_r,
            "ROC AUC": self.verification.roc_auc,
            f"TAR at FAR {100 * far:g} %": self.verification.tar_at_far(far),
        }

    def to_json(self) -> dict[str, object]:
        """Both reports as values that JSON knows."""
        return {"retrieval": self.retrieval.to_json(), "verification": self.verification.to_json()}


@dataclass(frozen=True)
class Report:
    """What a run, or an evaluation of one, found.

    Attributes:
        folder: Where it is written.
        data: What the data is called.
        part: Which part of it was looked at, in words.
        before: The raw pictures or features compared as they are; None where they are too many.
        after: The embeddings.
        far: The false-accept rate of the table.
        calibration: The model's threshold, where it has one.
        realised_far: The share of the evaluated impostor pairs that this threshold accepts.
    """

    folder: Path
    data: str
    part: str
    before: Figures | None
    after: Figures
    far: float
    calibration: Calibration | None
    realised_far: float | None

    def to_json(self) -> dict[str, object]:
        """Everything as values that JSON knows."""
        return {
            "data": self.data,
            "part": self.part,
            "before_training": None if self.before is None else self.before.to_json(),
            "after_training": self.after.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "realised_far": self.realised_far,
        }

    def __str__(self) -> str:
        after = self.after.headline(self.far)
        before = self.before.headline(self.far) if self.before is not None else {}
        width = max(map(len, after))
        lines = [f"{self.data}, {self.part}", f"{'':{width}}   before   after"]
        for name, value in after.items():
            was = f"{before[name]:.3f}" if name in before else "-"
            lines.append(f"{name:{width}}   {was:>6}   {value:.3f}")
        if self.calibration is not None:
            lines.append(_threshold_sentence(self.calibration, self.realised_far))
        return "\n".join(lines)


def train_run(
    dataset: Dataset, recipe: Recipe, *, out: str | Path, resume: bool = False, progress: bool = True
) -> Report:
    """Trains on one part of the data, calibrates on another, and evaluates on a third.

    Where the recipe sets no validation part apart, the threshold comes from the test part: its items were
    not trained on either, and none of the figures depends on it.

    Args:
        dataset: Labelled items.
        recipe: Every setting.
        out: The run folder; a new one, unless `resume`.
        resume: Whether to go on with the run that is in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The figures on the test part; the folder holds them, the model and the picture.

    Raises:
        DataError: The data does not allow the split, or does not suffice for the sampler.
        SettingError: A setting does not fit.
        InputError: The folder holds a run already, or none to resume.
    """
    parts = split(
        dataset,
        method=recipe.data.split,
        test=recipe.data.test,
        validation=recipe.data.validation,
        seed=recipe.seed,
    )
    distance, far = recipe.loss.distance, recipe.evaluation.far
    held_out = dataset.subset(parts.validation) if len(parts.validation) else None
    tested = dataset.subset(parts.test)

    def merit(embeddings: Float32[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> float:
        return retrieval(embeddings, labels, distance=distance).map_at_r

    looked_at = held_out if held_out is not None and _has_pair(held_out) else None
    encoder = fit(
        dataset.subset(parts.train),
        recipe,
        out=out,
        validation=looked_at,
        merit=merit if looked_at is not None else None,
        resume=resume,
        progress=progress,
    )
    encoder.calibration = _calibrated(encoder, tested if held_out is None else held_out, far=far)
    run = RunFolder(Path(out))
    _write_json(run.path / SPLIT, _split_record(dataset, parts))
    how = "people never seen" if parts.method == "identity" else "seen identities, unseen items"
    report = _evaluated(encoder, tested, run.path, part=f"test part ({_counted(tested)}; {how})", far=far)
    trained = dataset.subset(parts.train)
    save(
        encoder,
        run.model,
        figures=report.after.headline(far),
        trained_on=f"{_counted(trained)} of {_name(dataset)}, split by {parts.method}, seed {recipe.seed}",
    )
    return report


def evaluate_run(
    run: str | Path,
    dataset: Dataset,
    *,
    part: Part = "auto",
    far: float = 0.01,
    out: str | Path | None = None,
    store_threshold: bool = False,
) -> Report:
    """Evaluates the encoder of a run on data: on its test part, where it was trained on that very data.

    Args:
        run: The run folder, or a model folder.
        dataset: Labelled items.
        part: Which items; `auto` takes the test part of data that the run was trained on, and all items
            of other data.
        far: The false-accept rate of the table, in (0, 1).
        out: Where to write figures and picture; `evaluation/<data>` in the run folder where left out.
        store_threshold: Whether to choose the threshold for `far` on these items, and to keep it in the
            model; provisional where they are too few to promise the rate.

    Returns:
        The figures; `out` holds them and the picture.

    Raises:
        ModelError: There is no model.
        DataError: The data has no such part, or no two items of one identity in it.
        SettingError: The part is unknown, or the rate is out of range.
        CalibrationError: The items hold no threshold for the rate.
    """
    if part not in get_args(Part):
        raise SettingError(f"unknown part {part!r}: {nearest(part, get_args(Part))}")
    if not 0 < far < 1:
        raise SettingError(f"far must be a rate between 0 and 1, given {far}")
    encoder = load(run)
    positions, words = part_of(run, dataset, part)
    chosen = dataset.subset(positions)
    folder = Path(out) if out is not None else Path(run) / "evaluation" / _name(dataset)
    if store_threshold:
        encoder.calibration = calibrate(
            encoder.embed(chosen), chosen.labels, far=far, distance=encoder.distance, support="provisional"
        )
        folder_of_model = Path(run) if not (Path(run) / "model").is_dir() else RunFolder(Path(run)).model
        write_model(replace(read_model(Path(run)), calibration=encoder.calibration), folder=folder_of_model)
    return _evaluated(encoder, chosen, folder, part=f"{words} ({_counted(chosen)})", far=far)


def part_of(run: str | Path, dataset: Dataset, part: Part) -> tuple[Int64[np.ndarray, " n"], str]:
    """Finds the items of a part of the data that a run was trained on.

    Args:
        run: The run folder.
        dataset: The data; it is taken for the run's own where it holds every item of the run's split,
            under the same identity.
        part: Which items; `auto` is the test part of the run's own data, and all items of other data.

    Returns:
        Their positions, ascending, and the part in words.

    Raises:
        DataError: The data has no such part.
        ModelError: The record of the split is damaged.
    """
    record = _read_split(Path(run))
    names = {key: i for i, key in enumerate(_keys(dataset))}
    same_data = record is not None and all(key in names for keys in record.values() for key in keys)
    if part == "all" or (part == "auto" and not same_data):
        return np.arange(len(dataset), dtype=np.int64), "all items"
    if record is None or not same_data:
        raise DataError(
            f"{_name(dataset)} is not the data that {run} was trained on, so it has no {part} part of it; "
            "use --part all"
        )
    wanted = "test" if part == "auto" else part
    positions = np.array(sorted(names[key] for key in record[wanted]), dtype=np.int64)
    if not len(positions):
        raise DataError(f"{run} has no {wanted} part: name another one")
    return positions, f"{wanted} part"


def figures_of(
    embeddings: Float32[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    *,
    distance: Distance,
    far: float,
) -> Figures:
    """Measures embeddings: retrieval, and verification over all pairs.

    Args:
        embeddings: One row per item.
        labels: The identity of each.
        distance: How they are compared.
        far: The false-accept rate to list among others.
    """
    at = tuple(sorted({0.001, 0.01, 0.1, far}))
    return Figures(
        retrieval(embeddings, labels, distance=distance),
        verification(embeddings, labels, distance=distance, at=at),
    )


def write_embeddings(encoder: Encoder, dataset: Dataset, *, out: str | Path) -> None:
    """Writes one row per item: its name, its identity, its columns and its embedding, as Parquet.

    The fingerprint of the encoder and its distance stand in the file's own metadata.

    Args:
        encoder: What embeds the items.
        dataset: The items.
        out: The file.

    Raises:
        InputError: The file cannot be written.
    """
    pa = require("pyarrow", extra="train")
    parquet = require("pyarrow.parquet", extra="train")
    rows = encoder.embed(dataset)
    width = pa.list_(pa.float32(), rows.shape[1])
    table = pa.table(
        {
            "item": pa.array(dataset.names, pa.string()),
            "identity": pa.array([dataset.identity(i) for i in range(len(dataset))], pa.string()),
            **{name: pa.array(values) for name, values in dataset.columns.items()},
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=width),
        }
    )
    about = {"trine.fingerprint": encoder.fingerprint, "trine.distance": encoder.distance}
    _write_file(Path(out), lambda partial: parquet.write_table(table.replace_schema_metadata(about), partial))


def cluster_items(
    encoder: Encoder, dataset: Dataset, *, threshold: float | None = None
) -> Int64[np.ndarray, " n"]:
    """Puts items together that a chain of near neighbours connects.

    Args:
        encoder: What embeds the items.
        dataset: The items; their identities are not looked at.
        threshold: The largest distance that links two items; the encoder's calibrated one where left out.

    Returns:
        The cluster of each item, numbered from 0, the largest first.

    Raises:
        CalibrationError: There is no threshold.
        InputError: The threshold is negative.
    """
    if threshold is None:
        if encoder.calibration is None:
            raise CalibrationError(
                "the model has no calibrated threshold: give one, or train with data.validation above 0"
            )
        threshold = encoder.calibration.threshold
    return cluster(encoder.embed(dataset), threshold=threshold, distance=encoder.distance)


def write_clusters(dataset: Dataset, clusters: Int64[np.ndarray, " n"], *, out: str | Path) -> None:
    """Writes a CSV file with the columns item and cluster.

    Args:
        dataset: The items.
        clusters: The cluster of each.
        out: The file.

    Raises:
        InputError: The file cannot be written.
    """

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["item", "cluster"])
            table.writerows(zip(dataset.names, clusters.tolist(), strict=True))

    _write_file(Path(out), write)


def _evaluated(encoder: Encoder, dataset: Dataset, folder: Path, *, part: str, far: float) -> Report:
    if not _has_pair(dataset):
        raise DataError(
            f"{_name(dataset)}, {part}: no two items are of one identity, and figures need such pairs; "
            "give more items of each identity"
        )
    embeddings = encoder.embed(dataset)
    after = figures_of(embeddings, dataset.labels, distance=encoder.distance, far=far)
    raw = _raw(encoder, dataset)
    before = None if raw is None else figures_of(raw, dataset.labels, distance="euclidean", far=far)
    known = encoder.calibration
    realised = None if known is None else after.verification.far_at(known.threshold)
    report = Report(folder, _name(dataset), part, before, after, far, known, realised)
    _write_json(folder / FIGURES, report.to_json())
    threshold = None if known is None else known.threshold
    picture(dataset, embeddings, path=folder / PICTURE, distance=encoder.distance, threshold=threshold)
    return report


def _calibrated(encoder: Encoder, held_out: Dataset, *, far: float) -> Calibration | None:
    """The threshold from items not trained on; none where they hold no pair of each kind."""
    try:
        embeddings = encoder.embed(held_out)
        return calibrate(
            embeddings, held_out.labels, far=far, distance=encoder.distance, support="provisional"
        )
    except CalibrationError:
        return None


def _raw(encoder: Encoder, dataset: Dataset) -> Float32[np.ndarray, "n d"] | None:
    """The items as the encoder is given them, before it has learned anything."""
    shape = encoder.settings.shape
    if len(dataset) * int(np.prod(shape)) > RAW_VALUES:
        return None
    rows = np.empty((len(dataset), int(np.prod(shape))), dtype=np.float32)
    for start in range(0, len(dataset), 256):
        stop = min(start + 256, len(dataset))
        batch = encoder.prepare(dataset.items.subset(np.arange(start, stop))).float()
        if encoder.settings.kind == "vectors":
            batch = (batch - encoder.mean) / encoder.std
        rows[start:stop] = batch.reshape(stop - start, -1).numpy()
    return rows


def _keys(dataset: Dataset) -> list[tuple[str, str]]:
    return [(name, dataset.identity(i)) for i, name in enumerate(dataset.names)]


def _split_record(dataset: Dataset, parts: Split) -> dict[str, Any]:
    keys = _keys(dataset)
    items = {part: [keys[i] for i in getattr(parts, part)] for part in ("train", "validation", "test")}
    return {"data": dataset.root, "method": parts.method, "parts": items}


def _read_split(run: Path) -> Mapping[str, list[tuple[str, str]]] | None:
    path = run / SPLIT
    if not path.is_file():
        return None
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        return {part: [(str(name), str(identity)) for name, identity in parts[part]] for part in parts}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}): delete it to evaluate with --part all") from error


def _has_pair(dataset: Dataset) -> bool:
    counts = np.bincount(dataset.labels, minlength=1)
    return bool((counts >= 2).any() and (counts > 0).sum() >= 2)


def _counted(dataset: Dataset) -> str:
    return f"{len(dataset):,} items of {len(np.unique(dataset.labels)):,} identities"


def _name(dataset: Dataset) -> str:
    return Path(dataset.root).stem or "data"


def _threshold_sentence(known: Calibration, realised: float | None) -> str:
    basis = f"{known.identities} held-out identities, {known.impostor_pairs:,} impostor pairs"
    words = f"threshold {known.threshold:.3f} for a false-accept rate of {100 * known.far:g} %"
    if known.provisional:
        words += " (provisional: too few identities or pairs to promise it)"
    here = "" if realised is None else f"; here it accepts {100 * realised:.2g} % of impostor pairs"
    return f"{words}, from {basis}{here}"


def _write_json(path: Path, value: object) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    _write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another place") from error
