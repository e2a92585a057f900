"""`trine export`: a model for programs without trine."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import OPTIONAL_DATA, RUN, echo, is_labelled, load_data
from trine.cli.parser import argument, verb


@verb(
    RUN,
    argument(
        "--to",
        metavar="FORMAT",
        default="onnx",
        help="onnx; or huggingface, a folder that sentence-transformers or timm opens (default: onnx)",
    ),
    argument("--out", required=True, help="the folder to write, new or empty"),
    *OPTIONAL_DATA,
    argument("--int8", action="store_true", help="also write a graph of one byte a weight; takes --data"),
    extras=("train", "onnx"),
)
def export(settings: Any) -> None:
    """Export a model as an ONNX graph, or as a folder that sentence-transformers or timm opens.

    trine export runs/faces --out exported
    trine export runs/faces --out exported --int8 --data photos/
    trine export runs/intents --to huggingface --out exported
    """
    from trine.pipelines import export_model

    data = None
    if settings.data is not None:
        data = load_data(settings, labelled=settings.int8 or is_labelled(settings))
    done = export_model(settings.run, to=settings.to, out=settings.out, data=data, int8=settings.int8)
    echo(done)
