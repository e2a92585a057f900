"""Gradient caching: batches of any size in the memory of a chunk, with the gradient of the whole batch.

The encoder runs over the chunks without a graph; the loss computes its gradient at all embeddings at once;
then the encoder runs again, chunk by chunk, and backpropagates that gradient (Gao, Zhang, Han, Callan 2021).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trine.eager import eager
from trine.errors import InputError, check_count
from trine.shapes import Float

Items = Any
"""The encoder's input: a tensor, or a tuple, list or mapping of tensors, with one item per row.

A mapping may also hold numbers, texts and None, which every chunk gets as they are.
"""

_SAME = bool | int | float | str | None

Encoder = nn.Module | Callable[..., Tensor]
"""A module, or a function that uses modules."""

Used = nn.Module | nn.Parameter | Iterable[nn.Module | nn.Parameter]
"""What a function uses: modules and parameters."""


@runtime_checkable
class Scaler(Protocol):
    """The part of `torch.amp.GradScaler` that is used."""

    def scale(self, outputs: Any) -> Any:
        """Returns the loss, scaled."""


@eager
def cached_backward(
    encoder: Encoder,
    items: Items,
    labels: Any,
    loss: Callable[[Tensor, Any], Tensor],
    *,
    chunk: int = 64,
    modules: Used | None = None,
    scaler: Scaler | None = None,
) -> Float[Tensor, ""]:
    """Computes the gradient of a whole batch in the memory of one chunk (Gao et al. 2021).

    The gradient is that of `loss(torch.cat([encoder(c) for c in chunks]), labels).backward()` from the
    same random state, added to `.grad`: both passes draw the same dropout, batch normalisation uses the
    statistics of each chunk and updates them once, and parameters inside the loss get their gradients. The
    encoder runs forward twice, which costs about a third more than one graph would. A batch of at most one
    chunk is an ordinary step.

    Clipping and the optimiser's step are left to the caller. Both passes run under the caller's
    `torch.autocast`. If the encoder is a `DistributedDataParallel`, only the last chunk synchronises;
    one with `SyncBatchNorm` needs as many chunks in every process.

    Args:
        encoder: Maps the items of a chunk to one embedding per row: a module, a method of one, or a function
            with its `modules`. Its state must be in parameters and buffers, and its randomness must come from
            torch's own generators.
        items: A tensor, or a tuple, list or mapping of tensors, each with one item per row. A tuple is passed
            as separate arguments and a mapping (such as what a tokenizer returns) by keyword, if the encoder
            takes them so; else as one argument.
        labels: Passed to the loss unchanged.
        loss: Maps the embeddings of the whole batch and the labels to a scalar, such as a `TripletLoss`.
        chunk: The most items whose graph is in memory at once; at least 1.
        modules: For a function: the modules it uses, and parameters outside of them.
        scaler: The gradient scaler of mixed precision; the gradient is then that of the scaled loss.

    Returns:
        The loss, unscaled and without a graph.

    Raises:
        InputError: The items, the chunk or what encoder and loss return cannot be used.

    Example:
        >>> from trine import TripletLoss
        >>> encoder = nn.Linear(2, 2)
        >>> items, labels = torch.randn(8, 2), torch.arange(8) // 2
        >>> value = cached_backward(encoder, items, labels, TripletLoss(), chunk=3)
        >>> encoder.weight.grad.shape
        torch.Size([2, 2])

        A function of several modules:

        >>> head = nn.Linear(2, 3)
        >>> both = lambda x: head(encoder(x).relu())
        >>> value = cached_backward(both, items, labels, TripletLoss(), chunk=3, modules=[encoder, head])
    """
    if not torch.is_grad_enabled():
        raise InputError("cached_backward was called where gradients are off; call it outside of no_grad")
    chunk = check_count("chunk", chunk)
    if not callable(loss):
        raise InputError(f"the loss must be a function of embeddings and labels, given {type(loss).__name__}")
    if scaler is not None and not isinstance(scaler, Scaler):
        raise InputError(f"scaler must be a gradient scaler, given {type(scaler).__name__}")
    rows = count_rows(items)
    sizes = [min(chunk, rows - start) for start in range(0, max(1, rows), chunk)]
    cache = GradientCache(encoder, items, sizes=sizes, modules=modules)
    value = loss(cache.embed(), labels)
    if not isinstance(value, Tensor) or value.numel() != 1:
        given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"the loss must return one number, given {given}; reduce it, such as by its mean")
    with cache.precise():
        if value.requires_grad:
            (value if scaler is None else scaler.scale(value)).backward()
    cache.backward()
    return value.detach()


class GradientCache:
    """The two passes of gradient caching, for loops that run the loss's backward pass themselves.

    Between `embed` and `backward` the caller runs the backward pass of the loss. For at most one chunk
    `embed` leaves the graph attached, and `backward` does nothing.

    Args:
        encoder: As for `cached_backward`.
        items: As for `cached_backward`.
        sizes: How many items each chunk takes, all items together.
        modules: As for `cached_backward`.

    Raises:
        InputError: The modules of the encoder are not known, or the items cannot be used.
    """

    def __init__(
        self, encoder: Encoder, items: Items, *, sizes: Sequence[int], modules: Used | None = None
    ) -> None:
        used = _used(encoder, modules)
        self._encoder, self._items = _passed_on(encoder, items), items
        self._modules = [each for each in used if isinstance(each, nn.Module)]
        self._parallel = [each for each in self._modules if isinstance(each, DistributedDataParallel)]
        tensors = dict(_tensors(items, "items"))
        stops = list(accumulate(sizes))
        self._parts = [(stop - size, size) for size, stop in zip(sizes, stops, strict=True)]
        parameters = [each for each in used if isinstance(each, nn.Parameter)]
        parameters += [each for module in self._modules for each in module.parameters()]
        buffers = [each for module in self._modules for each in module.buffers()]
        self._asks = any(each.requires_grad for each in (*parameters, *tensors.values()))
        self._devices = {each.device for each in (*parameters, *buffers, *tensors.values())}
        self._autocast = _autocast_states({device.type for device in self._devices} | {"cpu"})
        self._random: list[_RandomState] = []
        self._kept: dict[nn.Module, _Buffers] = {}
        self._leaf: Tensor | None = None

    def embed(self) -> Tensor:
        """Returns the embeddings of all items; a leaf of the graph if there are several chunks."""
        if self._most_parts() == 1:
            return self._embedded(*self._parts[0])
        parts = []
        with torch.no_grad(), self._buffers_kept():
            for start, rows in self._parts:
                self._random.append(_RandomState(self._devices))
                parts.append(self._embedded(start, rows))
        torch.clear_autocast_cache()
        self._leaf = torch.cat(parts).requires_grad_(self._asks)
        return self._leaf

    def backward(self) -> None:
        """Backpropagates the gradient at the embeddings through the encoder."""
        if self._leaf is None or not self._asks:
            return
        gradient = self._leaf.grad
        if gradient is None:  # The loss does not depend on the embeddings, but other processes still wait.
            gradient = torch.zeros_like(self._leaf)
        self._leaf = None
        after = _RandomState(self._devices)
        for buffers in self._kept.values():
            buffers.restore()
        try:
            for number, ((start, rows), state) in enumerate(zip(self._parts, self._random, strict=True), 1):
                state.restore()
                with nullcontext() if number == len(self._parts) else self._alone():
                    self._once_more(start, rows, gradient[start : start + rows])
        finally:
            after.restore()

    @contextmanager
    def precise(self) -> Iterator[None]:
        """Disables autocast for a backward pass."""
        with ExitStack() as stack:
            for kind, _, _ in self._autocast:
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield

    def _once_more(self, start: int, rows: int, gradient: Tensor) -> None:
        with ExitStack() as stack:
            for kind, dtype, caches in self._autocast:
                stack.enter_context(torch.autocast(kind, dtype=dtype, cache_enabled=caches))
            embedded = self._embedded(start, rows)
        if embedded.requires_grad:
            with self.precise():
                torch.autograd.backward(embedded, gradient)

    def _embedded(self, start: int, rows: int) -> Tensor:
        # Autocast would reuse weights that it cast without a graph in the pass that needs one.
        torch.clear_autocast_cache()
        whole = len(self._parts) == 1
        items = self._items if whole else _sliced(self._items, start, start + rows)
        embedded = self._encoder(items)
        if not isinstance(embedded, Tensor) or embedded.ndim == 0 or len(embedded) != rows:
            given = tuple(embedded.shape) if isinstance(embedded, Tensor) else type(embedded).__name__
            raise InputError(
                f"the encoder must return a tensor with one row for each of the {rows} items of a chunk, "
                f"given {given}; wrap it in a module or function that does"
            )
        return embedded

    def _most_parts(self) -> int:
        """Counts the chunks; of a `DistributedDataParallel` the most that any process has.

        It communicates in its forward passes, so all processes must run the same number of them: all two, or
        all one.
        """
        most = len(self._parts)
        for parallel in self._parallel:
            of_all = torch.tensor([most], device=parallel.device)
            torch.distributed.all_reduce(of_all, torch.distributed.ReduceOp.MAX, group=parallel.process_group)
            most = int(of_all)
        return most

    @contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        """Saves the buffers as they are before the first chunk."""
        # DistributedDataParallel may set them to those of the first process before its module runs.
        kept = self._kept = {each: _Buffers(each) for each in self._modules if each not in self._parallel}

        def keep(module: nn.Module, inputs: Any) -> None:
            if module not in kept:
                kept[module] = _Buffers(module)

        handles = [each.module.register_forward_pre_hook(keep) for each in self._parallel]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps `DistributedDataParallel` from averaging an incomplete gradient."""
        with ExitStack() as stack:
            for parallel in self._parallel:
                stack.enter_context(parallel.no_sync())
            yield


def _used(encoder: Encoder, modules: Used | None) -> list[nn.Module | nn.Parameter]:
    """The modules and parameters of an encoder."""
    behind = encoder
    while isinstance(behind, partial):
        behind = behind.func
    behind = getattr(behind, "__self__", behind)
    used: list[Any] = [behind] if isinstance(behind, nn.Module) else []
    if modules is not None:
        used += list(modules) if isinstance(modules, list | tuple | set | Iterator) else [modules]
    for each in used:
        if not isinstance(each, nn.Module | nn.Parameter):
            raise InputError(f"modules must list modules and parameters, given {type(each).__name__}")
    if not used or not callable(encoder):
        raise InputError(
            "the encoder must be a torch.nn.Module, or a function together with the modules it uses, "
            f"given {type(encoder).__name__}; pass modules=[...]"
        )
    return list(dict.fromkeys(used))


def _passed_on(encoder: Encoder, items: Items) -> Callable[[Items], Tensor]:
    """The encoder as a function of one argument: a tuple or a mapping is spread out if it is taken so."""
    call: Any = encoder
    inner: Any = encoder.module if isinstance(encoder, DistributedDataParallel) else encoder
    try:
        signature = inspect.signature(inner.forward if isinstance(inner, nn.Module) else inner)
        if isinstance(items, Mapping):
            signature.bind(**items)
            return lambda some: call(**some)
        if isinstance(items, tuple):
            signature.bind(*items)
            return lambda some: call(*some)
    except (TypeError, ValueError):  # it takes them otherwise, or does not say
        pass
    return lambda some: call(some)


class _RandomState:
    """The states of torch's generators, on the CPU and on the devices in use."""

    def __init__(self, devices: set[torch.device]) -> None:
        self._cpu = torch.get_rng_state()
        self._others = [(each, _generator_state(each)) for each in devices if each.type != "cpu"]

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        for device, state in self._others:
            module: Any = torch.get_device_module(device)
            module.set_rng_state(state) if device.type == "mps" else module.set_rng_state(state, device)


def _generator_state(device: torch.device) -> Tensor:
    module: Any = torch.get_device_module(device)
    state: Tensor = module.get_rng_state() if device.type == "mps" else module.get_rng_state(device)
    return state


class _Buffers:
    """The current buffers of a module: the tensors and their values."""

    def __init__(self, module: nn.Module) -> None:
        self._kept = [
            (each, name, buffer, None if buffer is None else buffer.clone())
            for each in module.modules()
            for name, buffer in each._buffers.items()
        ]

    @torch.no_grad()
    def restore(self) -> None:
        for module, name, buffer, content in self._kept:
            if buffer is not None and content is not None:
                buffer.copy_(content)
            module._buffers[name] = buffer


def _autocast_states(kinds: set[str]) -> list[tuple[str, torch.dtype, bool]]:
    caches = torch.is_autocast_cache_enabled()
    return [
        (kind, torch.get_autocast_dtype(kind), caches)
        for kind in sorted(kinds)
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    ]


def _tensors(items: Items, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors, with the name of each."""
    if isinstance(items, Tensor):
        if items.ndim == 0:
            raise InputError(f"{name} must have one item to a row, given a tensor of no dimension")
        yield name, items
    elif isinstance(items, Mapping):
        for key, value in items.items():
            if not isinstance(value, _SAME):
                yield from _tensors(value, f"{name}[{key!r}]")
    elif isinstance(items, tuple | list):
        for key, value in enumerate(items):
            yield from _tensors(value, f"{name}[{key}]")
    else:
        raise InputError(
            f"{name} must be a tensor, or a tuple, list or mapping of tensors, "
            f"given {type(items).__name__}; make it one before it goes to the encoder"
        )


def count_rows(items: Items) -> int:
    """Counts the items of a batch.

    Args:
        items: A tensor, or a tuple, list or mapping of tensors.

    Returns:
        The number of rows, the same in all of them.

    Raises:
        InputError: They are something else, or not equally long.
    """
    tensors = dict(_tensors(items, "items"))
    if not tensors:
        raise InputError("items hold no tensor; give a tensor, or a tuple, list or mapping of tensors")
    first = next(iter(tensors))
    for name, tensor in tensors.items():
        if len(tensor) != len(tensors[first]):
            raise InputError(
                f"{name} has {len(tensor)} rows and {first} has {len(tensors[first])}; "
                "give one row for each item in all of them"
            )
    return len(tensors[first])


def _sliced(items: Items, start: int, stop: int) -> Items:
    if isinstance(items, Tensor):
        return items[start:stop]
    if isinstance(items, Mapping):
        return {
            key: value if isinstance(value, _SAME) else _sliced(value, start, stop)
            for key, value in items.items()
        }
    parts = [_sliced(value, start, stop) for value in items]
    if isinstance(items, list):
        return parts
    # A named tuple takes its fields as separate arguments.
    return type(items)(*parts) if hasattr(items, "_fields") else tuple(parts)
