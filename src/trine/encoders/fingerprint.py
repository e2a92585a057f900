"""What tells one encoder from every other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trine.migrations import fingerprint_settings, fingerprint_tensor


def fingerprint_of(module: nn.Module, settings: Mapping[str, Any]) -> str:
    """Returns a SHA-256 of every weight, every statistic and every setting.

    Args:
        module: The encoder.
        settings: Its settings as plain values.

    Returns:
        64 hexadecimal digits; the same for two encoders that give the same embeddings of everything.
    """
    digest = hashlib.sha256(json.dumps(fingerprint_settings(settings), sort_keys=True).encode())
    tensors = {fingerprint_tensor(name): tensor for name, tensor in module.state_dict().items()}
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
