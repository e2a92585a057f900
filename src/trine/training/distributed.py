"""A run by several processes: which of them this is, what they agree on, and who writes.

Lightning starts the processes, or finds those that torchrun or SLURM started. The batch of a step is what
all of them draw together; the loss is over all of it, and gradients are averaged on their way through the
encoder. The first process alone writes.
"""

from __future__ import annotations

import atexit
import gc
import math
import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trine.errors import SettingError, require
from trine.shapes import Shaped
from trine.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class DistributedContext:
    """The processes of a run.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many there are.
        nodes: On how many machines.
    """

    rank: int = 0
    size: int = 1
    nodes: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def stream(self, name: str) -> str:
        """Returns the name of a stream of randomness that is to differ between processes."""
        return name if self.is_main else f"{name} of process {self.rank}"


SINGLE_PROCESS = DistributedContext()


def distributed_context(recipe: TrainingRecipe) -> DistributedContext:
    """Finds out which process of a run this is.

    Args:
        recipe: How many there are to be, all machines together.

    Returns:
        The processes, before any of them knows of the others.

    Raises:
        SettingError: torchrun or SLURM started another number of them.

    Example:
        >>> distributed_context(TrainingRecipe())
        DistributedContext(rank=0, size=1, nodes=1)
    """
    size = recipe.devices
    if size == 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        return DistributedContext()
    found = require("lightning.fabric.plugins.environments", extra="train")
    starters: list[tuple[str, Any, str]] = [
        ("torchrun", found.TorchElasticEnvironment, os.environ.get("LOCAL_WORLD_SIZE", "")),
        ("SLURM", found.SLURMEnvironment, os.environ.get("SLURM_NTASKS_PER_NODE", "")),
    ]
    for name, kind, each in starters:
        if kind.detect():
            environment = kind()
            started = environment.world_size()
            if started != size:
                raise SettingError(
                    f"{name} started {started} processes, and training.devices is {size}; set it to "
                    f"{started}, the processes of all machines together"
                )
            nodes = os.environ.get("SLURM_NNODES", "1") if name == "SLURM" else size // int(each or size)
            return DistributedContext(environment.global_rank(), size, int(nodes))
    # Lightning starts the others as this one was started, and tells them who they are.
    return DistributedContext(found.LightningEnvironment().local_rank(), size)


def parallel(encoder: nn.Module, world: DistributedContext) -> nn.Module:
    """Returns an encoder whose gradients are averaged over the processes as they are made.

    Args:
        encoder: The encoder, on the device of this process.
        world: The processes, all of which have to call.
    """
    if world.size == 1:
        return encoder
    atexit.register(_leave)
    device = next(encoder.parameters()).device
    return nn.parallel.DistributedDataParallel(
        encoder, device_ids=[device.index] if device.type == "cuda" else None
    )


def _leave() -> None:
    # A thread of the group that lets go of a tensor when Python has ended aborts a process that was done. The
    # group waits for its threads, once nothing else holds it: such as a trainer that refers to itself.
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()


def any_of(*flags: bool, world: DistributedContext, device: torch.device) -> list[bool]:
    """Says for each flag whether it is set in any process; all of them have to ask.

    Args:
        flags: The flags of this process.
        world: The processes.
        device: Where their values may be exchanged.
    """
    return [bool(value) for value in _most([int(flag) for flag in flags], world, device)]


def chunks_of(inputs: Shaped[Tensor, "b ..."], *, most: int, world: DistributedContext) -> int:
    """Says in how many chunks a process takes its part of a batch.

    Args:
        inputs: Its part.
        most: The largest chunk.
        world: The processes.

    Returns:
        As many as it takes; on GPUs as many as the largest part takes, since every chunk's statistics are
        those of all processes.
    """
    chunks = max(1, math.ceil(len(inputs) / most))
    return _most([chunks], world, inputs.device)[0] if inputs.is_cuda else chunks


def _most(values: list[int], world: DistributedContext, device: torch.device) -> list[int]:
    if world.size == 1:
        return values
    together = torch.tensor(values, device=device)
    dist.all_reduce(together, op=dist.ReduceOp.MAX)
    most: list[int] = together.tolist()
    return most


def lost(error: RuntimeError, *, world: DistributedContext) -> bool:
    """Says whether an error is that of a process that waits for another one, which has ended.

    Args:
        error: The error.
        world: The processes.
    """
    return world.size > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error))


@torch.no_grad()
def as_in_first(module: nn.Module, *, world: DistributedContext) -> None:
    """Gives a module the weights and buffers that it has in the first process.

    Args:
        module: The module, on any device.
        world: The processes, all of which have to call.
    """
    if world.size == 1:
        return
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    value: Tensor
    for value in module.state_dict().values():
        here = value.to(device).contiguous()
        dist.broadcast(here, 0)
        value.copy_(here)


def strategy(world: DistributedContext) -> Any:
    """Returns how Lightning is to run the processes.

    Args:
        world: The processes.
    """
    if world.size == 1:
        return "auto"
    from lightning.pytorch.strategies import DDPStrategy

    class Processes(DDPStrategy):  # type: ignore[misc]  # Lightning comes without types here
        """Starts and joins them; what averages gradients is wrapped around the encoder alone."""

        def configure_ddp(self) -> None:
            pass

    return Processes()
