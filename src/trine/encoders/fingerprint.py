"""What tells one encoder from every other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def fingerprint_of(module: nn.Module, settings: Mapping[str, Any]) -> str:
    """Returns a SHA-256 of every weight, every statistic and every setting.

    Args:
        module: The encoder.
        settings: Its settings as plain values.

    Returns:
        64 hexadecimal digits; the same for two encoders that give the same embeddings of everything.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
