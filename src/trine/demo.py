"""The whole way once, on handwritten digits: from scans to a trained encoder, figures, a gallery, answers."""

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

SETTINGS = {"data.test": "0.4", "evaluation.far": "0.001"}
STRANGER = "9"
"""The digit that the gallery is never shown."""


def demo(out: str | Path = "runs/demo", *, say: Callable[[str], object]) -> Path:
    """Trains on scikit-learn's digits, evaluates, enrols, identifies and verifies, and says what it does.

    Args:
        out: The run folder; where it is taken, the next free number is added.
        say: Takes each piece of text, such as `print`.

    Returns:
        The run folder.
    """
    began = time.monotonic()
    folder = _free(Path(out))
    data, loaded = load("digits")
    say(f"{loaded}\ntraining on a part of the scans ...")
    report = train_run(data, load_recipe("default", overrides=SETTINGS), out=folder)
    say(f"\n{report}")

    encoder = load_encoder(folder)
    known, probes = _known(data, folder), _probes(data, folder)
    with Gallery.open(folder / "digits.db", encoder=encoder, model=folder.resolve()) as gallery:
        gallery.enrol_dataset(known)
        say(f"\na gallery of {len(gallery):,} scans of the digits 0 to 8; it has never seen a {STRANGER}")
        for identity in ("3", "7", STRANGER):
            say(f"  who is this {identity}?  {gallery.identify(probes[identity][0])}")
        say(_answers(gallery, data, folder, encoder))
    say("\nare these two the same?")
    for words, a, b in (("a 5 and another", "5", "5"), ("a 3 and an 8", "3", "8")):
        say(f"  {words}:  {verify(encoder, probes[a][0], probes[b][1])}")

    picture = _save_probe(probes["3"][0], folder / "probe.png")
    say(
        f"\n{folder} holds the model, metrics.json, report.html and picture.png "
        f"({time.monotonic() - began:.0f} s in all). Try next:\n"
        f"  trine identify {picture} --gallery {folder / 'digits.db'}\n"
        f"  trine evaluate {folder} digits --far 0.01\n"
        f"  trine train YOUR_PICTURES --out runs/mine     (a folder of folders, one for each identity)"
    )
    return folder


def _free(folder: Path) -> Path:
    candidate, number = folder, 2
    while candidate.exists():
        candidate = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return candidate


def _known(data: Dataset, folder: Path) -> Dataset:
    """Training scans of every digit but the stranger."""
    positions, _ = part_of(folder, data, "train")
    return data.subset([i for i in positions if data.identity(int(i)) != STRANGER])


def _probes(data: Dataset, folder: Path) -> dict[str, list[np.ndarray]]:
    """The first two unseen scans of each digit."""
    positions, _ = part_of(folder, data, "test")
    probes: dict[str, list[np.ndarray]] = {}
    for position in positions.tolist():
        scans = probes.setdefault(data.identity(position), [])
        if len(scans) < 2:
            scans.append(data.items[position])
    return probes


def _answers(gallery: Gallery, data: Dataset, folder: Path, encoder: Encoder) -> str:
    """How often the gallery is right about all unseen scans, of known digits and of the stranger."""
    positions, _ = part_of(folder, data, "test")
    unseen = data.subset(positions)
    answers = gallery.identify_many(embeddings=encoder.embed(unseen))
    truth = [unseen.identity(i) for i in range(len(unseen))]
    known = [a.identity == t for a, t in zip(answers, truth, strict=True) if t != STRANGER]
    strangers = [a.identity is None for a, t in zip(answers, truth, strict=True) if t == STRANGER]
    return (
        f"  of {len(known)} unseen scans of known digits {sum(known)} are named rightly, and of "
        f"{len(strangers)} unseen {STRANGER}s {sum(strangers)} are nobody we know"
    )


def _save_probe(scan: np.ndarray, path: Path) -> Path:
    require("PIL.Image", extra="images").fromarray(scan[..., 0]).save(path)
    return path
