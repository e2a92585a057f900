"""The saved model: a folder that can be read without trine and never holds a pickle.

weights.safetensors     every parameter and buffer, by name
settings.json           the format's version, the encoder's settings, its fingerprint, both thresholds
trained_on.safetensors  digests of the training items, and the names of their identities; may be missing
README.md               the card: what it was trained on, and metrics
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold
from trine.data import TrainedOn
from trine.display import printable
from trine.errors import ModelError, require
from trine.io import atomic_folder, atomic_write, open_regular, read_small, readable, real_inside
from trine.migrations import upgrade_model, upgrade_tensors
from trine.plain_json import parse_json
from trine.strangers import LeftOut, Strangers

FORMAT_VERSION = 2
WEIGHTS = "weights.safetensors"
SETTINGS = "settings.json"
TRAINED_ON = "trained_on.safetensors"
STRANGERS = "strangers.safetensors"
LEFT_OUT = "left_out.safetensors"
CARD = "README.md"

PACKAGED = "package:"
"""What the name of pretrained weights of a package begins with, where a model folder may stand as well."""


@dataclass(frozen=True)
class SavedModel:
    """What a model folder holds.

    Attributes:
        weights: Every parameter and buffer of the encoder, by name, on the CPU.
        settings: The encoder's settings as plain values.
        fingerprint: The encoder's fingerprint: a SHA-256 in hexadecimal.
        calibration: The calibrated threshold, if there is one.
        cluster_threshold: How to cluster its embeddings; None in models of earlier versions.
        metrics: Named metrics for the card, such as `{"MAP@R": 0.78}`.
        trained_on: One line about the training data, for the card.
        trained: The items and identities that were trained on; None if they are unknown.
        strangers: Embeddings of identities that no training saw; None if none are kept.
        left_out: How near identities came that folds of the training left out; None if there were none.
        started_from: The pretrained weights that training started from, with their licence and what they
            were trained on; "" for none, or where an earlier version wrote the model.
    """

    weights: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    fingerprint: str
    calibration: Calibration | None = None
    cluster_threshold: ClusterThreshold | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    trained_on: str = ""
    trained: TrainedOn | None = None
    strangers: Strangers | None = None
    left_out: LeftOut | None = None
    started_from: str = ""


def write_model(model: SavedModel, *, folder: Path) -> None:
    """Writes a model folder, whole or not at all.

    The folder is written under a temporary name and renamed once everything in it is on disk; an older
    model is replaced.

    Args:
        model: The model.
        folder: The folder; parents are created if necessary.

    Raises:
        ModelError: The folder holds something other than a model, or cannot be written.
    """
    safetensors = require("safetensors.torch", extra="train")
    if folder.exists() and not (folder / SETTINGS).is_file() and any_inside(folder):
        raise ModelError(
            f"{folder} holds files that are not a model, and saving would delete them; name a new folder"
        )
    settings = {
        "format_version": FORMAT_VERSION,
        "fingerprint": model.fingerprint,
        "encoder": dict(model.settings),
        "calibration": model.calibration.to_json() if model.calibration is not None else None,
        "cluster_threshold": None if model.cluster_threshold is None else model.cluster_threshold.to_json(),
        "metrics": dict(model.metrics),
        "trained_on": model.trained_on,
        "started_from": model.started_from,
    }
    try:
        with atomic_folder(folder) as unfinished:
            weights = {name: tensor.contiguous() for name, tensor in model.weights.items()}
            (unfinished / WEIGHTS).write_bytes(safetensors.save(weights))
            if model.trained is not None:
                (unfinished / TRAINED_ON).write_bytes(_trained_on_file(model.trained))
            for name, held in ((STRANGERS, model.strangers), (LEFT_OUT, model.left_out)):
                if held is not None:
                    (unfinished / name).write_bytes(held.to_file())
            (unfinished / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
            (unfinished / CARD).write_text(card(model), "utf-8")
    except OSError as error:
        raise ModelError(
            f"the model could not be written to {folder}: {error.strerror or error}; "
            "free disk space or name another folder"
        ) from error


def read_model(folder: Path) -> SavedModel:
    """Reads a model folder; nothing in it is executed.

    Args:
        folder: The model folder, or a run folder with a folder `model` inside.

    Returns:
        The content of the folder; the encoder checks the fingerprint of the weights.

    Raises:
        ModelError: The folder is missing or incomplete, was written in another version of the format, a
            file in it is damaged, may not be read, or is a link to a file outside the folder.
    """
    safetensors = require("safetensors.torch", extra="train")
    with readable(folder, ModelError):
        if not folder.is_dir():
            raise ModelError(f"there is no model folder {folder}; name one that training wrote")
        folder = _inner(folder)
        found = {name: _file(folder, name) for name in (SETTINGS, WEIGHTS)}
    for name, path in found.items():
        if path is None:
            raise ModelError(
                f"{folder} is not a model folder: it has no {name}; name the folder that training wrote"
            )
    settings = _read_settings(folder / SETTINGS)
    try:
        weights = safetensors.load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors' exceptions have no public base class
        raise ModelError(
            f"{folder / WEIGHTS} is damaged ({error}); copy the folder again or train again"
        ) from error
    held = read_held_out(folder)
    return SavedModel(
        weights=upgrade_tensors(weights),
        trained=held.trained,
        strangers=held.strangers,
        left_out=held.left_out,
        **settings,
    )


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Whom a model was trained on, and whom not, without its weights.

    Attributes:
        trained: The items and identities that were trained on; None if they are unknown.
        strangers: Embeddings of identities that no training saw; None if none are kept.
        left_out: How near identities came that folds of the training left out; None if there were none.
    """

    trained: TrainedOn | None
    strangers: Strangers | None
    left_out: LeftOut | None


def read_held_out(folder: Path) -> HeldOut:
    """Reads whom a model was trained on, and whom not.

    Args:
        folder: The model folder, or a run folder with a folder `model` inside.

    Raises:
        ModelError: A file is damaged.
    """
    with readable(folder, ModelError):
        folder = _inner(folder)
        strangers, left_out = _file(folder, STRANGERS), _file(folder, LEFT_OUT)
    return HeldOut(
        read_trained_on(folder),
        None if strangers is None else Strangers.from_file(strangers),
        None if left_out is None else LeftOut.from_file(left_out),
    )


def forget_stranger(folder: Path, name: str) -> int:
    """Deletes an identity that is kept with a model as a stranger, and its distances.

    Args:
        folder: The model folder, or a run folder with a folder `model` inside.
        name: The name of the identity.

    Returns:
        How many of its embeddings and distances were deleted.

    Raises:
        ModelError: The file of the strangers is damaged, or cannot be written.
    """
    deleted = 0
    with readable(folder, ModelError):
        folder = _inner(folder)
        found = ((_file(folder, STRANGERS), Strangers), (_file(folder, LEFT_OUT), LeftOut))
    for path, kind in found:
        if path is not None:
            held = kind.from_file(path)
            kept = held.without({name})
            if len(kept.identity) < len(held.identity):
                _replace(path, kept.to_file())
            deleted += len(held.identity) - len(kept.identity)
    return deleted


def _replace(path: Path, content: bytes) -> None:
    try:
        atomic_write(path, content)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written ({error.strerror or error}), and still holds what was to be "
            "forgotten; make its folder writable and forget again"
        ) from error


def _inner(folder: Path) -> Path:
    """The model folder of a run folder; any other folder itself."""
    is_run = not (folder / SETTINGS).exists() and (folder / "model").is_dir()
    return folder / "model" if is_run else folder


def _file(folder: Path, name: str) -> Path | None:
    """Finds a file of a model folder; None if there is none.

    Raises:
        ModelError: It is a link that leads out of the folder: a stranger's folder is to name no other file.
        OSError: It cannot be read, or is no file.
    """
    path = folder / name
    if path.is_symlink() and real_inside(path, folder) is None:
        raise ModelError(
            f"{path} is a link to a file outside the model folder and is not followed; copy the file itself"
        )
    try:
        open_regular(path).close()
    except FileNotFoundError:
        return None
    return path


def read_trained_on(folder: Path) -> TrainedOn | None:
    """Reads which items and identities a model was trained on, without its weights.

    Args:
        folder: The model folder, or a run folder with a folder `model` inside.

    Returns:
        They; None if the folder does not hold them, as of a model that an earlier version wrote.

    Raises:
        ModelError: The file is damaged.
    """
    with readable(folder, ModelError):
        path = _file(_inner(folder), TRAINED_ON)
    if path is None:
        return None
    try:
        with require("safetensors", extra="train").safe_open(path, framework="pt") as file:
            digests, known = file.get_tensor("digests").numpy(), parse_json(file.metadata()["trained_on"])
        columns = known["columns"]
        identities = frozenset(map(str, known["identities"]))
        return TrainedOn(known["kind"], digests, identities, None if columns is None else tuple(columns))
    except Exception as error:  # safetensors' exceptions have no public base class
        raise ModelError(
            f"{path} is damaged ({error}); copy the folder again, or delete this file: the model then no "
            "longer knows its training items"
        ) from error


def _trained_on_file(trained: TrainedOn) -> bytes:
    known = {
        "kind": trained.kind,
        "columns": trained.columns,
        "identities": sorted(trained.identities),
        "digest": "BLAKE2b, 128 bits, of the content of each item",
    }
    tensors = {"digests": torch.from_numpy(np.ascontiguousarray(trained.digests))}
    written: bytes = require("safetensors.torch", extra="train").save(
        tensors, {"trained_on": json.dumps(known, ensure_ascii=False)}
    )
    return written


def _read_settings(path: Path) -> dict[str, Any]:
    damaged = f"{path} is damaged: {{}}; copy the folder again or train again"
    with readable(path, ModelError):
        content = read_small(path)
    try:
        settings = parse_json(content)
    except ValueError as error:
        raise ModelError(damaged.format(error)) from error
    if not isinstance(settings, dict):
        raise ModelError(damaged.format("it is not a JSON object"))
    version = settings.get("format_version")
    if version not in (1, FORMAT_VERSION):
        raise ModelError(
            f"{path.parent} is a model folder of format version {version}, and this trine reads "
            f"versions 1 to {FORMAT_VERSION}; train again, or install the trine that wrote it"
        )
    if version == 1:
        settings = upgrade_model(settings)
    encoder, fingerprint = settings.get("encoder"), settings.get("fingerprint")
    if not isinstance(encoder, dict) or not isinstance(fingerprint, str):
        raise ModelError(damaged.format("the encoder's settings or its fingerprint are missing"))
    calibration = settings.get("calibration")
    if calibration is not None and not isinstance(calibration, dict):
        raise ModelError(damaged.format("the calibration is not a JSON object"))
    clusters = settings.get("cluster_threshold")
    if clusters is not None and not isinstance(clusters, dict):
        raise ModelError(damaged.format("the cluster threshold is not a JSON object"))
    return {
        "settings": encoder,
        "fingerprint": fingerprint,
        "calibration": Calibration.from_json(calibration) if calibration is not None else None,
        "cluster_threshold": None if clusters is None else ClusterThreshold.from_json(clusters),
        "metrics": settings.get("metrics") or {},
        "trained_on": settings.get("trained_on") or "",
        "started_from": str(settings.get("started_from") or ""),
    }


def card(model: SavedModel) -> str:
    """Writes the card: a page of Markdown about the model.

    Args:
        model: The model.

    Returns:
        Markdown text.
    """
    encoder = model.settings
    lines = ["# An encoder made with trine", ""]
    if model.trained_on:
        lines += [f"Trained on {model.trained_on}.", ""]
    if model.started_from:
        lines += [f"Pretrained weights: {model.started_from}.", ""]
    lines += [
        _made_of(encoder),
        f"- embedding: {encoder.get('dimension')} numbers"
        + (", of length 1" if encoder.get("normalise") else ""),
        f"- distance: {encoder.get('distance')} (smaller is closer)",
        f"- fingerprint: `{model.fingerprint}`",
    ]
    if model.calibration is not None:
        calibration = model.calibration
        lines += [
            f"- threshold: the same when the distance is at most {calibration.threshold:.4g}: "
            f"{calibration.promise}, measured on {calibration.promise.identities} identities"
        ]
    if model.cluster_threshold is not None:
        lines.append(f"- clusters: {model.cluster_threshold}")
    if model.metrics:
        lines += ["", "| metric | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in model.metrics.items()]
    return "\n".join([*map(printable, lines), "", "```python", *_use(encoder), "```", ""])


def _made_of(encoder: Mapping[str, Any]) -> str:
    if encoder.get("kind") == "interactions":
        users, items = len(encoder.get("users", ())), len(encoder.get("items", ()))
        return f"- two-tower model of {users:,} users and {items:,} items"
    shape = "×".join(map(str, encoder.get("shape", ())))
    return f"- network: {encoder.get('network')}, for {encoder.get('kind')} of shape {shape}"


def _use(encoder: Mapping[str, Any]) -> list[str]:
    if encoder.get("kind") == "interactions":
        return [
            "from trine.encoders import load_two_tower",
            "",
            'towers = load_two_tower("path/to/this/folder")',
            f"towers.recommend({encoder['users'][0]!r}, k=10)  # items the user does not know",
        ]
    return [
        "import trine",
        "",
        'encoder = trine.load("path/to/this/folder")',
        "embeddings = encoder.embed(items)  # float32, one row per item",
    ]


def any_inside(folder: Path) -> bool:
    """Whether a path is anything but an empty folder."""
    return not folder.is_dir() or any(folder.iterdir())
