"""What does a batch of FaceNet's size take in memory and time, with gradient caching and without?

A step is forward, semi-hard loss and backward of a ResNet-18 (torchvision's, 128 dimensions) on 112×112
pictures, 40 of each identity; 64 synthetic pictures are repeated, and the pictures themselves are not
counted. Memory is the growth of the peak, each case in its own process, from after a step of 8
pictures. Time is the median of interleaved steps in one process, in seconds of the processor, so that what
else the machine does matters little; the ratio is what caching costs where the batch fits without.

    python benchmarks/large_batch.py            # everything, in one thread: about 6 minutes
    python benchmarks/large_batch.py brief      # fewer steps: about 4 minutes
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from results import describe, write
from trine import TripletLoss, cached_backward

CHUNK, SIDE, EACH = 64, 112, 40
PLAIN, CACHED = (64, 128, 256, 512), (64, 128, 256, 512, 1024, 1800)
TIMED = (128, 256, 512)


class Network(nn.Module):
    """A ResNet-18 from pictures in bytes to rows of length 1."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet18

        self.body = resnet18(weights=None, num_classes=128)

    def forward(self, pictures: Tensor) -> Tensor:
        """From bytes to rows of length 1."""
        return nn.functional.normalize(self.body(pictures.float() / 255), dim=1)


def batch(n: int) -> tuple[Tensor, Tensor]:
    """Pictures in bytes: 1,800 of them are 68 MB."""
    generator = torch.Generator().manual_seed(0)
    few = torch.randint(0, 256, (64, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    each = min(EACH, n // 4)
    return few[torch.arange(n) % 64], torch.arange(n) // each


def ways() -> dict[str, Callable[[Tensor, Tensor], float]]:
    torch.manual_seed(0)
    network, loss = Network(), TripletLoss(mining="semihard")

    def plain(pictures: Tensor, labels: Tensor) -> float:
        value = loss(network(pictures), labels)
        value.backward()
        return value.item()

    def cached(pictures: Tensor, labels: Tensor) -> float:
        return float(cached_backward(network, pictures, labels, loss, chunk=CHUNK))

    return {"plain": plain, "cached": cached}


def memory_case(way: str, n: int) -> dict[str, object]:
    step, (pictures, labels) = ways()[way], batch(n)
    step(pictures[:8], torch.arange(8) // 4)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of starting
    before, start = _status("VmHWM"), time.process_time()
    value = step(pictures, labels)
    seconds = time.process_time() - start
    growth = (_status("VmHWM") - before) / 1024
    return {"way": way, "pictures": n, "MB": round(growth), "seconds": round(seconds, 1), "loss": value}


def time_case(n: int, turns: int) -> dict[str, object]:
    """Medians of interleaved steps."""
    steps, (pictures, labels) = ways(), batch(n)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, step in steps.items():
            start = time.process_time()
            step(pictures, labels)
            if turn:  # the first is for finding the memory
                taken[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {"pictures": n, "turns": turns, **medians, "ratio": medians["cached"] / medians["plain"]}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def alone(*arguments: object) -> dict[str, object]:
    command = [sys.executable, __file__, "case", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"case": arguments, "failed": done.stderr[-300:]}
    return json.loads(done.stdout.splitlines()[-1])


def main(brief: bool) -> None:
    rows, summary = [], {}
    for way, sizes in (("plain", PLAIN), ("cached", CACHED)):
        for n in sizes:
            rows.append(alone("memory", way, n))
            print(rows[-1], flush=True)
            summary[f"{way}, {n:,} pictures: MB"] = rows[-1].get("MB", "failed")
    for n in TIMED:
        rows.append(alone("time", n, 1 if brief else 3))
        print(rows[-1], flush=True)
        summary[f"{n} pictures: processor seconds plain"] = rows[-1]["plain"]
        summary[f"{n} pictures: processor seconds cached"] = rows[-1]["cached"]
        summary[f"{n} pictures: cached / plain"] = rows[-1]["ratio"]
    largest = next(row for row in rows if row.get("pictures") == CACHED[-1])
    summary["1,800 pictures: processor seconds cached"] = largest.get("seconds", "failed")
    write(
        "large_batch",
        command="python benchmarks/large_batch.py" + (" brief" if brief else ""),
        question=__doc__.splitlines()[0],
        rows=rows,
        summary=summary,
    )
    print(describe(summary))


if __name__ == "__main__":
    if sys.argv[1:2] == ["case"]:
        torch.set_num_threads(1)
        what, *arguments = json.loads(sys.argv[2])
        print(json.dumps(memory_case(*arguments) if what == "memory" else time_case(*arguments)))
    else:
        main(sys.argv[1:] == ["brief"])
