"""The fingerprint of an encoder, which stored embeddings are bound to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from trine.migrations import fingerprint_settings, fingerprint_tensor
from trine.settings import plain

UNUSED = {
    "faces": None,
    "liked": None,
    "onnx": None,
    "sentence": None,
    "table": None,
    "unit_rows": False,
    "views": "one",
}
"""Settings that the first models did not have, with the value that has no effect: at that value they are left
out of the fingerprint, so that the fingerprints of those models stay valid."""

UNUSED_OF_COLUMNS = {"origin": 0}
"""The same for the columns of a table."""


def fingerprint_of(encoder: nn.Module, settings: Any) -> str:
    """Returns a SHA-256 of every weight, every statistic and every setting.

    Args:
        encoder: The encoder.
        settings: Its settings, a dataclass.

    Returns:
        64 hexadecimal digits; two encoders with the same ones give the same embeddings.
    """
    used = _used(plain(settings), UNUSED)
    if "table" in used:
        columns = [_used(column, UNUSED_OF_COLUMNS) for column in used["table"]["columns"]]
        used["table"] = {**used["table"], "columns": columns}
    digest = hashlib.sha256(json.dumps(fingerprint_settings(used), sort_keys=True).encode())
    tensors = {fingerprint_tensor(name): tensor for name, tensor in encoder.state_dict().items()}
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _used(settings: dict[str, Any], unused: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if unused.get(name, ...) != value}
