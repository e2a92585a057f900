"""Which belong together: `trine cluster` for data, `trine gallery clusters` for a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trine.cli.arguments import echo, echo_json, items
from trine.cli.gallery_address import GALLERY, existing
from trine.cli.parser import Verb

SHOWN = 20
"""How many clusters are printed at most."""


def _cluster_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    parser.add_argument("pictures", type=str, help="a folder laid out in any way, a table or an .npz file")
    parser.add_argument(
        "--threshold",
        type=float,
        default=None,
        help="the largest distance that links two; the model's where left out",
    )
    parser.add_argument(
        "--unreadable", type=str, default="error", help="pictures that cannot be read: error or skip"
    )
    parser.add_argument("--out", type=str, default=None, help="a .csv file to write: item, cluster")


def _cluster(settings: Any) -> None:
    from trine import load
    from trine.data import LoadPolicy, load_unlabelled
    from trine.pipelines import cluster_items, write_clusters

    encoder = load(settings.run)
    data, report = load_unlabelled(settings.pictures, policy=LoadPolicy(unreadable=settings.unreadable))
    echo(report)
    clusters = cluster_items(encoder, data, threshold=settings.threshold)
    members: dict[int, list[str]] = {}
    for name, number in zip(data.names, clusters.tolist(), strict=True):
        members.setdefault(number, []).append(name)
    echo(f"{len(members):,} clusters")
    _list(dict(sorted(members.items())))
    if settings.out is not None:
        write_clusters(data.names, clusters.tolist(), out=settings.out)
        echo(f"{settings.out} holds them all")


def _gallery_arguments(parser: Any) -> None:
    parser.add_argument("gallery", type=str, help=GALLERY)
    parser.add_argument(
        "--threshold", type=float, default=None, help="the largest distance that links two items"
    )
    parser.add_argument(
        "--neighbours", type=int, default=32, help="how many of the nearest a new item may be linked to"
    )
    parser.add_argument(
        "--recluster", action="store_true", help="forget the clusters that are there, and start anew"
    )
    parser.add_argument("--out", type=str, default=None, help="a .csv file to write: item, cluster")
    parser.add_argument("--json", action="store_true", help="answer with JSON")


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
            echo(f"{settings.out} holds them all")


def _list(members: Mapping[int, Sequence[str]]) -> None:
    for number, names in list(members.items())[:SHOWN]:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        echo(f"{number:5}  {items(len(names)):>12}: {shown}")
    if len(members) > SHOWN:
        echo(f"       and {len(members) - SHOWN:,} more")


CLUSTER = Verb(
    _cluster,
    _cluster_arguments,
    "Which of these belong together? The number of clusters is not given.",
    "trine cluster runs/faces unsorted/ --out clusters.csv",
)

GALLERY_CLUSTERS = Verb(
    _of_gallery,
    _gallery_arguments,
    "Put every item into a cluster; those that have one keep its number.",
    "trine gallery clusters people --out clusters.csv\n"
    "trine gallery clusters people --recluster --threshold 0.6",
)
