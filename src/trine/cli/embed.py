"""`trine embed`: the embedding of every item, as a table."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import DATA, RUN, echo, load_data
from trine.cli.parser import argument, verb


@verb(RUN, *DATA, argument("--out", required=True, help="the .parquet file to write"))
def embed(settings: Any) -> None:
    """Write the embedding of every item to a Parquet table.

    trine embed runs/faces photos/ --out embeddings.parquet
    """
    from trine import load
    from trine.pipelines import write_embeddings

    encoder, data = load(settings.run), load_data(settings)
    write_embeddings(encoder, data, out=settings.out)
    echo(f"{settings.out} holds {len(data):,} embeddings of dimension {encoder.settings.dimension}")
