"""Runs that lock their folder, in processes of their own; a module that the fork server can import."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from support import training_kills
from trine.errors import InputError
from trine.training import RunDir, fit, lock_run


def hold_and_fork(folder: str) -> None:
    """Holds the lock for ever, with a forked child that lives on; runs in a process of its own."""
    with lock_run(RunDir(Path(folder)), resume=True):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        Path(f"{folder}.child").write_text(str(child))
        time.sleep(60)


def start_with(seed: int, folder: str, barrier: Any, answers: Any) -> None:
    """Starts a run at the same moment as others; runs in a process of its own."""
    data, recipe = training_kills.arguments_of_the_run()
    recipe = dataclasses.replace(
        recipe, seed=seed, curriculum=(), training=dataclasses.replace(recipe.training, steps=3)
    )
    barrier.wait()
    try:
        fit(data, recipe, out=folder, progress=False)
    except InputError as error:
        answers.put((seed, str(error)))
    else:
        answers.put((seed, "finished"))
