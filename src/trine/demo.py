"""An end-to-end example on handwritten digits: train, evaluate, enrol, identify, verify."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trine.data import Dataset, load
from trine.encoders import Encoder
from trine.encoders import load as load_encoder
from trine.errors import require
from trine.gallery import Gallery, verify
from trine.pipelines import part_of, train_run
from trine.training import load_recipe

SETTINGS = {"data.test": "0.4", "data.calibration_folds": "2", "training.steps": "200"}
UNKNOWN = "9"
"""The digit that is not enrolled."""


def demo(out: str | Path = "runs/demo", *, echo: Callable[[object], object]) -> Path:
    """Trains on scikit-learn's digits, evaluates, enrols, identifies and verifies.

    Args:
        out: The run folder; if it exists, the next free number is appended.
        echo: Prints a line, or a report of several.

    Returns:
        The run folder.
    """
    began = time.monotonic()
    folder = free_folder(Path(out))
    data, loaded = load("digits")
    echo(loaded)
    echo("training on part of the images ...")
    report = train_run(data, load_recipe("default", overrides=SETTINGS), out=folder)
    echo("")
    echo(report)

    encoder = load_encoder(folder)
    train, unseen = (data.subset(part_of(folder, data, part)[0]) for part in ("train", "test"))
    probes = _two_of_each(unseen)
    with Gallery.open(folder / "digits.db", encoder=encoder, model=folder.resolve()) as gallery:
        enrolled = [i for i in range(len(train)) if train.identity(i) != UNKNOWN]
        gallery.enrol_dataset(train.subset(enrolled))
        echo("")
        echo(f"a gallery of {len(gallery):,} images of the digits 0 to 8; {UNKNOWN} is not enrolled")
        for identity in ("3", "7", UNKNOWN):
            echo(f"  who is this {identity}?  {gallery.identify(probes[identity][0])}")
        echo(_accuracy(gallery, unseen, encoder))
    echo("")
    echo("are these two the same?")
    for words, a, b in (("a 5 and another", "5", "5"), ("a 3 and an 8", "3", "8")):
        echo(f"  {words}:  {verify(encoder, probes[a][0], probes[b][1])}")

    probe = folder / "probe.png"
    require("PIL.Image", extra="images").fromarray(probes["3"][0][..., 0]).save(probe)
    echo("")
    echo(
        f"{folder} holds the model, metrics.json, report.html and picture.png "
        f"({time.monotonic() - began:.0f} s). Try next:"
    )
    echo(f"  trine identify {probe} --gallery {folder / 'digits.db'}")
    echo(f"  trine evaluate {folder} digits --far 0.01")
    echo("  trine train YOUR_IMAGES --out runs/mine     (a folder with one subfolder per identity)")
    return folder


def free_folder(folder: Path) -> Path:
    """The folder, or, if it exists, the same with the next free number."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return candidate


def _two_of_each(data: Dataset) -> dict[str, list[np.ndarray]]:
    """The first two images of each digit."""
    probes: dict[str, list[np.ndarray]] = {}
    for position in range(len(data)):
        images = probes.setdefault(data.identity(position), [])
        if len(images) < 2:
            images.append(data.items[position])
    return probes


def _accuracy(gallery: Gallery, unseen: Dataset, encoder: Encoder) -> str:
    """How many unseen images are identified, or rejected if their digit is not enrolled."""
    answers = gallery.identify_many(embeddings=encoder.embed(unseen))
    truth = [unseen.identity(i) for i in range(len(unseen))]
    known = [a.identity == t for a, t in zip(answers, truth, strict=True) if t != UNKNOWN]
    unknown = [a.identity is None for a, t in zip(answers, truth, strict=True) if t == UNKNOWN]
    return (
        f"  unseen images: {sum(known)} of {len(known)} of enrolled digits are identified correctly, "
        f"{sum(unknown)} of {len(unknown)} of the digit {UNKNOWN} are rejected as unknown"
    )
