"""Training by several processes: which one this is, how the others start, and what they agree on.

torchrun, SLURM or Ray Train start the processes; if none did, the first process starts the others by running
its own command again. Each process draws its own batch, the loss is over all of them, and gradients are
averaged on their way through the encoder. Only the first process writes.
"""

from __future__ import annotations

import atexit
import gc
import math
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trine.data.parallel import limit_decoding_threads
from trine.errors import SettingError, TrineError
from trine.shapes import Shaped
from trine.training.recipe import TrainingRecipe

POLL = 0.1
"""Seconds between two checks of whether a started process still runs."""


LAUNCHER = "TRINE_LAUNCHER"
"""The variable with the name of what started the processes and set the same variables as torchrun."""


class ProcessEndedError(TrineError):
    """Another process of the run ended early; its own message says why."""


@dataclass(frozen=True)
class DistributedContext:
    """The processes of a run.

    Attributes:
        rank: The number of this process, from 0.
        size: How many there are, on all machines together.
        nodes: The number of machines.
    """

    rank: int = 0
    size: int = 1
    nodes: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def per_node(self) -> int:
        """How many processes a machine runs."""
        return self.size // self.nodes

    def stream(self, name: str) -> str:
        """Returns the name of a random stream that differs between processes."""
        return name if self.is_main else f"{name} of process {self.rank}"


SINGLE_PROCESS = DistributedContext()


def distributed_context(recipe: TrainingRecipe) -> DistributedContext:
    """Reads which process of a run this is from the variables that torchrun, SLURM, Ray or trine set.

    Args:
        recipe: `devices` is the number of processes, on all machines together.

    Raises:
        SettingError: The launcher started a different number of processes.

    Example:
        >>> distributed_context(TrainingRecipe())
        DistributedContext(rank=0, size=1, nodes=1)
    """
    size, env = recipe.devices, os.environ
    if launcher := _launcher():
        started, rank = int(env["WORLD_SIZE"]), int(env["RANK"])
        nodes = math.ceil(started / int(env.get("LOCAL_WORLD_SIZE") or started))
    elif size == 1:
        return SINGLE_PROCESS
    elif _started_by_slurm():
        started, rank = int(env["SLURM_NTASKS"]), int(env["SLURM_PROCID"])
        nodes, launcher = int(env.get("SLURM_NNODES", "1")), "SLURM"
    else:
        return DistributedContext(int(env.get("LOCAL_RANK", "0")), size)
    if started != size:
        raise SettingError(
            f"{launcher} started {started} processes, but training.devices is {size}; set it to {started}, "
            "the number of processes on all machines together"
        )
    return DistributedContext(rank, size, nodes)


def _launcher() -> str | None:
    """What started this process and set torchrun's variables; None if nothing did."""
    return "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else os.environ.get(LAUNCHER)


def _started_by_slurm() -> bool:
    # An interactive allocation sets the variables too, but starts no processes.
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


@contextmanager
def processes(context: DistributedContext) -> Iterator[None]:
    """Starts the processes of a run, unless a launcher has, and explains the failure of one.

    Within the block the environment holds what `torch.distributed` needs. If the block raises, the
    started processes are ended; if one of them fails, so does this one.

    Args:
        context: The processes.

    Raises:
        ProcessEndedError: Another process ended early.
    """
    if context.size == 1:
        yield
        return
    atexit.register(_leave)
    children = _start(context)
    finished = threading.Event()
    if children:
        threading.Thread(target=_watch, args=(children, finished), daemon=True).start()
    try:
        yield
    except BaseException as error:
        _kill(children)
        if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise ProcessEndedError(
                "another process of the run ended early, so this one stops; see the message of the other "
                "process, then resume the run"
            ) from error
        raise
    finally:
        finished.set()


def _start(context: DistributedContext) -> list[subprocess.Popen[bytes]]:
    """Completes the environment of this process, and starts the others unless a launcher has."""
    env = os.environ
    # Processes of one machine share its cores.
    env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // context.per_node)))
    torch.set_num_threads(int(env["OMP_NUM_THREADS"]))
    if _launcher():
        return []
    first = "LOCAL_RANK" not in env
    env |= {
        "RANK": str(context.rank),
        "WORLD_SIZE": str(context.size),
        "LOCAL_WORLD_SIZE": str(context.per_node),
    }
    if _started_by_slurm():
        env["LOCAL_RANK"] = env["SLURM_LOCALID"]
        env.setdefault("MASTER_ADDR", _first_host(env["SLURM_NODELIST"]))
        env.setdefault("MASTER_PORT", str(15000 + int(env.get("SLURM_JOB_ID", "0")[-4:])))
        return []
    env.setdefault("MASTER_ADDR", "127.0.0.1")
    if "MASTER_PORT" not in env:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            env["MASTER_PORT"] = str(free.getsockname()[1])
    env.setdefault("LOCAL_RANK", "0")
    if not first:
        return []
    command = [sys.executable, *sys.orig_argv[1:]]
    return [
        subprocess.Popen(command, env={**env, "LOCAL_RANK": str(rank), "RANK": str(rank)})
        for rank in range(1, context.size)
    ]


def _first_host(nodes: str) -> str:
    """The first host of SLURM's list.

    Example:
        >>> _first_host("node[07-09,12],other"), _first_host("one,two")
        ('node07', 'one')
    """
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes).split(",")[0]


def _watch(children: list[subprocess.Popen[bytes]], finished: threading.Event) -> None:
    """Ends this process when another one fails: on GPUs it would wait forever."""
    while not finished.wait(POLL):
        if any(child.poll() not in (None, 0) for child in children):
            # The error that this process raises itself is clearer.
            if not finished.wait(50 * POLL):
                _kill(children)
                print(  # noqa: T201
                    "trine: another process of the run failed, and this one waited for it in vain; see its "
                    "message, then resume the run",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(2)  # Only the main thread could raise, and it does not return.
            return


def _kill(children: list[subprocess.Popen[bytes]]) -> None:
    """Ends the other processes at once: they write nothing, and SIGTERM would wait for the end of a step."""
    for child in children:
        child.kill()


def _leave() -> None:
    # A group thread that releases a tensor after Python has shut down aborts a finished process. The group
    # joins its threads once nothing else refers to it.
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Limits the threads of torch and of decoding, and restores both afterwards; None changes neither."""
    before, decoding = torch.get_num_threads(), limit_decoding_threads(count)
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        limit_decoding_threads(decoding)


def parallel(encoder: nn.Module, context: DistributedContext) -> nn.Module:
    """Wraps an encoder so that its gradients are averaged over the processes; all must call it.

    Args:
        encoder: The encoder, on the device of this process.
        context: The processes.
    """
    if context.size == 1:
        return encoder
    device = next(encoder.parameters()).device
    return nn.parallel.DistributedDataParallel(
        encoder, device_ids=[device.index] if device.type == "cuda" else None
    )


def any_process(*flags: bool, context: DistributedContext, device: torch.device) -> list[bool]:
    """Returns for each flag whether it is set in any process; all must call it.

    Args:
        flags: The flags of this process.
        context: The processes.
        device: Where the flags are exchanged.
    """
    return [bool(value) for value in _maximum([int(flag) for flag in flags], context, device)]


def chunks_of(inputs: Shaped[Tensor, "b ..."], *, most: int, context: DistributedContext) -> int:
    """Returns the number of chunks that a process splits its part of a batch into.

    Args:
        inputs: The part.
        most: The largest chunk.
        context: The processes.

    Returns:
        As few as possible; on GPUs the same in all processes, because batch normalisation is synchronised
        per chunk.
    """
    chunks = max(1, math.ceil(len(inputs) / most))
    return _maximum([chunks], context, inputs.device)[0] if inputs.is_cuda else chunks


def _maximum(values: list[int], context: DistributedContext, device: torch.device) -> list[int]:
    if context.size == 1:
        return values
    together = torch.tensor(values, device=device)
    dist.all_reduce(together, op=dist.ReduceOp.MAX)
    largest: list[int] = together.tolist()
    return largest


@torch.no_grad()
def copy_from_first(module: nn.Module, *, context: DistributedContext) -> None:
    """Copies a module's weights and buffers from the first process; all processes must call it.

    Args:
        module: The module, on any device.
        context: The processes.
    """
    if context.size == 1:
        return
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    value: Tensor
    for value in module.state_dict().values():
        here = value.to(device).contiguous()
        dist.broadcast(here, 0)
        value.copy_(here)
