"""A script that trains by two workers of Ray, or by processes that a launcher starts.

ray_training.py ray OUT.pt        Ray: gradients, a run whose second worker is killed, an error
ray_training.py PROCESSES OUT.pt  gradients by as many processes; torchrun starts two
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from support.multiprocess_fit import HIT, RECIPE, items
from trine.data import Dataset
from trine.errors import TrineError
from trine.training import Recipe, distributed_context, fit, load_recipe, metric_step

STEPS = 12


def plain_recipe(processes: int) -> Recipe:
    """Without dropout and batch statistics, so that it does not matter which process has which items."""
    overrides = {
        "encoder.mlp.hidden": "[]", "encoder.mlp.dropout": "0", "encoder.dimension": "4",
        "loss.mining": "hard", "training.steps": STEPS, "training.device": "cpu",
        "training.devices": processes, "sampler.identities": 6 // processes, "sampler.items": 3,
    }  # fmt: skip
    return load_recipe(overrides=overrides)


def gradients(dataset: Dataset, recipe: Recipe, **settings: Any) -> torch.Tensor:
    """Trains, and returns the gradient that the optimiser of this process was given at each step."""
    found, step = [], torch.optim.AdamW.step

    def kept(self: Any, *arguments: Any, **options: Any) -> Any:
        parts = [each.grad.flatten() for group in self.param_groups for each in group["params"]]
        found.append(torch.cat(parts).clone())
        return step(self, *arguments, **options)

    torch.optim.AdamW.step = kept  # type: ignore[method-assign]
    try:
        fit(dataset, recipe, **settings)
    finally:
        torch.optim.AdamW.step = step  # type: ignore[method-assign]
    return torch.stack(found)


def killed_once(dataset: Dataset, recipe: Recipe, *, mark: Path, **settings: Any) -> tuple[str, bool]:
    """Trains; the second worker kills itself in the middle. Returns what it learnt and if it resumed."""
    loss = metric_step.MetricStep.loss

    def hit(self: Any, *arguments: Any, **options: Any) -> torch.Tensor:
        if options["step"] == HIT and not self.context.is_main and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, *arguments, **options)

    metric_step.MetricStep.loss = hit  # type: ignore[method-assign]
    return fit(dataset, recipe, **settings).fingerprint, settings["resume"]


def on_ray(folder: Path) -> dict[str, Any]:
    from trine.on_ray import connected, train_on

    found: dict[str, Any] = {}
    started = time.monotonic()
    with connected("ray"):
        found["connected"] = time.monotonic() - started
        started = time.monotonic()
        out = folder / "gradients"
        found["gradients"] = train_on("ray", gradients, items(), recipe=plain_recipe(2), out=out)
        found["first"] = time.monotonic() - started
        out, mark = folder / "killed", folder / "mark"
        found["killed"] = train_on("ray", killed_once, items(), recipe=RECIPE, out=out, mark=mark)
        found["files"] = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
        refused = replace(RECIPE, sampler=replace(RECIPE.sampler, items=1000))
        try:
            train_on("ray", fit, items(), recipe=refused, out=folder / "refused")
        except TrineError as error:
            found["error"] = f"{type(error).__name__}: {error}"
    return found


def main() -> None:
    where, kept = sys.argv[1], Path(sys.argv[2])
    if where == "ray":
        torch.save(on_ray(kept.parent), kept)
        return
    recipe = plain_recipe(int(where))
    found = gradients(items(), recipe, out=kept.with_suffix(""))
    if distributed_context(recipe.training).is_main:
        torch.save({"gradients": found}, kept)


if __name__ == "__main__":
    main()
