"""An ONNX graph with weights of one byte: smaller, and often faster, at some loss."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

from trine.display import first_line
from trine.encoders.onnx_graph import Feed
from trine.errors import ModelError, require

CALIBRATED = 256
"""How many items, at most, show the range of what each layer of an image network computes."""


def quantized(content: bytes, feed: Feed | None) -> bytes:
    """Stores the weights of a graph in one byte each.

    Args:
        content: The graph.
        feed: Its inputs for some items: the ranges of what its convolutions compute are measured on
            them, once and for all. None for a graph without convolutions: ranges are then taken from each
            batch.

    Returns:
        The other graph, with the same inputs and output.

    Raises:
        ModelError: onnxruntime cannot quantise this graph.
        MissingDependencyError: onnxruntime or onnx is not installed.
    """
    require("onnx", extra="onnx")
    tools = require("onnxruntime.quantization", extra="onnx")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given, made = Path(place, "float.onnx"), Path(place, "int8.onnx")
            given.write_bytes(content)
            if feed is None:
                tools.quantize_dynamic(
                    given, made, op_types_to_quantize=["MatMul", "Gemm"], weight_type=tools.QuantType.QInt8
                )
            else:
                tools.quantize_static(
                    given,
                    made,
                    _reader(tools, feed),
                    quant_format=tools.QuantFormat.QDQ,
                    per_channel=True,
                    op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                    weight_type=tools.QuantType.QInt8,
                )
            return made.read_bytes()
    except Exception as error:  # onnxruntime's tools raise anything
        raise ModelError(
            f"onnxruntime cannot store this network in one byte a weight ({first_line(error)}); "
            "export it without int8"
        ) from error
    finally:
        logging.disable(before)


def _reader(tools: object, feed: Feed) -> object:
    """What onnxruntime reads batches from."""
    count = min(CALIBRATED, len(next(iter(feed.values()))))
    batches = iter(
        [{name: values[at : at + 16] for name, values in feed.items()} for at in range(0, count, 16)]
    )

    class Reader(tools.CalibrationDataReader):  # type: ignore[name-defined, misc]
        def get_next(self) -> Feed | None:
            return next(batches, None)

    return Reader()
