"""Groups of several processes on one machine: each runs a function and returns values."""

from __future__ import annotations

import importlib
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import torch

from support import fork_server


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run_processes(size: int, task: str, *arguments: Any) -> list[Any]:
    """Runs `module:function(rank, size, *arguments)` in `size` processes; returns the results by rank."""
    with tempfile.TemporaryDirectory() as folder:
        fork_server.processes()  # whose processes have their imports
        torch.multiprocessing.start_processes(
            _member, (size, free_port(), folder, task, arguments), nprocs=size, start_method="forkserver"
        )
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(size)]


def _member(rank: int, size: int, port: int, folder: str, task: str, arguments: tuple[Any, ...]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
    )
    module, function = task.split(":")
    found = getattr(importlib.import_module(module), function)(rank, size, *arguments)
    torch.save(found, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()
