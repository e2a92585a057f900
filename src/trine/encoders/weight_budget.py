"""The building of a network that a stranger's settings describe, bounded by the weights that are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

M = TypeVar("M", bound=nn.Module)

SPARE_TENSORS, SPARE_NUMBERS = 200, 2**26
"""What a network may have beyond twice its weights: parts that it drops, buffers that it computes."""


def check_fits(build: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
    """Builds a network without memory for its weights, and compares it with weights.

    Args:
        build: Builds the network.
        weights: The weights by name.

    Returns:
        The network on torch's device `meta`.

    Raises:
        ValueError: It has other weights, or many more of them.

    Example:
        >>> check_fits(lambda: nn.Linear(2, 10**12), {"weight": torch.zeros(2, 3), "bias": torch.zeros(3)})
        Traceback (most recent call last):
        ValueError: the settings describe a network much larger than its weights
    """
    with torch.device("meta"), _WithoutNumbers(), _bounded(weights):
        network = build()
    own = network.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise ValueError(f"the weights lack {name!r}")
        if tensor.shape != weights[name].shape:
            raise ValueError(
                f"{name!r} has shape {tuple(weights[name].shape)}, and the settings say {tuple(tensor.shape)}"
            )
    for name in weights:
        if name not in own:
            raise ValueError(f"the settings know no {name!r}")
    return network


class _WithoutNumbers(TorchFunctionMode):
    """Leaves out random weights: on the device `meta` there are none.

    torch computes their shape there by its compiler, and to load that takes seconds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def _bounded(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Stops a network that is being built in this thread once it is much larger than its weights."""
    left = [
        2 * len(weights) + SPARE_TENSORS,
        2 * sum(tensor.numel() for tensor in weights.values()) + SPARE_NUMBERS,
    ]
    thread = threading.get_ident()

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if threading.get_ident() != thread or tensor is None:
            return
        left[0] -= 1
        left[1] -= tensor.numel()
        if min(left) < 0:
            raise ValueError("the settings describe a network much larger than its weights")

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
