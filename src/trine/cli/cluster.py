"""Which items belong together: `trine cluster` for data, `trine gallery clusters` for a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trine.cli.arguments import RUN, echo, echo_json, items
from trine.cli.gallery_address import GALLERY, existing
from trine.cli.parser import Verb

SHOWN = 20
"""The most clusters that are printed."""


def _cluster_arguments(parser: Any) -> None:
    add = parser.add_argument
    add("run", help=RUN)
    add("data", help="a folder of any layout, a table or an .npz file")
    add("--threshold", type=float, help="the largest distance that links two items (default: the model's)")
    add(
        "--unreadable",
        metavar="POLICY",
        default="error",
        help="images that cannot be read: error or skip (default: error)",
    )
    add("--out", help="a .csv file to write, with the columns item and cluster")


def _cluster(settings: Any) -> None:
    from trine import load
    from trine.data import LoadPolicy, load_unlabelled
    from trine.pipelines import cluster_items, write_clusters

    encoder = load(settings.run)
    data, report = load_unlabelled(settings.data, policy=LoadPolicy(unreadable=settings.unreadable))
    echo(report)
    clusters = cluster_items(encoder, data, threshold=settings.threshold)
    members: dict[int, list[str]] = {}
    for name, number in zip(data.names, clusters.tolist(), strict=True):
        members.setdefault(number, []).append(name)
    echo(f"{len(members):,} clusters")
    _list(dict(sorted(members.items())))
    if settings.out is not None:
        write_clusters(data.names, clusters.tolist(), out=settings.out)
        echo(f"{settings.out} lists all of them")


def _gallery_arguments(parser: Any) -> None:
    add = parser.add_argument
    add("gallery", help=GALLERY)
    add("--threshold", type=float, help="the largest distance that links two items (default: the gallery's)")
    add(
        "--neighbours",
        type=int,
        default=32,
        help="how many nearest neighbours a new item may be linked to (default: 32)",
    )
    add("--recluster", action="store_true", help="discard the existing clusters and start over")
    add("--out", help="a .csv file to write, with the columns item and cluster")
    add("--json", action="store_true", help="print JSON")


def _of_gallery(settings: Any) -> None:
    from trine.pipelines import write_clusters

    with existing(settings.gallery) as gallery:
        found = gallery.cluster(
            threshold=settings.threshold, neighbours=settings.neighbours, recluster=settings.recluster
        )
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


CLUSTER = Verb(
    _cluster,
    _cluster_arguments,
    "Group items that belong together; the number of clusters need not be known.",
    "trine cluster runs/faces unsorted/ --out clusters.csv",
)

GALLERY_CLUSTERS = Verb(
    _of_gallery,
    _gallery_arguments,
    "Assign every item of a gallery to a cluster; existing clusters keep their numbers.",
    "trine gallery clusters people --out clusters.csv\n"
    "trine gallery clusters people --recluster --threshold 0.6",
)
