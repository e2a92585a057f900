"""The doctor during a run: it sees every batch, reports each problem once, and keeps what it found."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from trine.data import Dataset
from trine.errors import ModelError
from trine.io import atomic_write, readable
from trine.plain_json import parse_json
from trine.settings import parse
from trine.shapes import Float
from trine.training.data_loader import Batch
from trine.training.diagnostics.label_noise import LabelNoiseDetector, Suspect
from trine.training.diagnostics.rules import (
    Diagnosis,
    LoggedBatch,
    RunFacts,
    label_noise,
    latest_diagnoses,
)
from trine.training.metrics_log import read_metrics
from trine.training.run_dir import OpenRun, RunDir

logger = logging.getLogger("trine.training")


class Monitor:
    """Watches a run.

    Args:
        facts: What the log does not say about the run.
        dataset: The training items; None if they have no labels that could be wrong.
        batch: The approximate number of items in a batch.
        run: The run; it has a folder.
    """

    def __init__(self, facts: RunFacts, *, dataset: Dataset | None, batch: int, run: OpenRun) -> None:
        assert run.dir is not None
        self._facts = facts
        self._dataset = dataset
        self._path = run.dir.doctor
        self._labels = None
        if dataset is not None:
            self._labels = LabelNoiseDetector(dataset.labels, steps=facts.steps, batch=batch)
        done = run.resumed_at or 0
        logged = read_metrics(run.dir.metrics) if done and run.dir.metrics.is_file() else []
        self._batches = [batch for batch in logged if batch.step < done]
        self._found: dict[str, Diagnosis] = {}

    def observe(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> None:
        """Looks for wrong labels in a batch; batches are skipped if items repeat often.

        Args:
            embeddings: One row per item.
            batch: The batch.
            step: The step.
        """
        if self._labels is not None:
            distance = self._facts.distance
            self._labels.observe(embeddings, batch.labels, batch.positions, step=step, distance=distance)

    def log(self, values: Mapping[str, Any], *, step: int) -> None:
        """Takes a logged batch, and reports new problems.

        Args:
            values: The batch, by column of metrics.csv.
            step: The step.
        """
        self._batches.append(LoggedBatch.of({**values, "step": step}))
        noise = self._label_noise(step)
        for found in (*latest_diagnoses(self._batches, self._facts), *([noise] if noise else [])):
            if found.name not in self._found:
                self._found[found.name] = found
                logger.warning("doctor: %s", found)
                self.write()

    def write(self) -> None:
        """Writes what was found so far to the run folder."""
        _write(self._path, self._facts, self._found.values(), self._suspects())

    def finish(self, problem: Diagnosis | None = None) -> None:
        """Writes the final findings: noisy labels with all suspects.

        Args:
            problem: A problem that was found at the end of the run.
        """
        if problem is not None and problem.name not in self._found:
            self._found[problem.name] = problem
            logger.warning("doctor: %s", problem)
        early = self._found.get("label noise")
        if early is not None and (now := self._label_noise(early.step)) is not None:
            self._found["label noise"] = now
        self.write()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs besides its log."""
        return {
            "labels": None if self._labels is None else self._labels.state_dict(),
            "found": [asdict(found) for found in self._found.values()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        if self._labels is not None:
            self._labels.load_state_dict(state["labels"])
        self._found = {found["name"]: Diagnosis(**found) for found in state["found"]}

    def _suspects(self) -> tuple[Suspect, ...]:
        if self._labels is None or self._dataset is None:
            return ()
        return self._labels.suspects(self._dataset.names, self._dataset.identities)

    def _label_noise(self, step: int) -> Diagnosis | None:
        # Collapsed or exploded embeddings carry no information about labels.
        if self._labels is None or {"collapsed", "exploding"} & set(self._found):
            return None
        return label_noise(
            self._suspects(), doubtful=self._labels.doubtful(), observed=self._labels.observed(), step=step
        )


def add_finding(run: RunDir, found: Diagnosis) -> None:
    """Adds a problem that was found after the run to doctor.json.

    Args:
        run: The run folder.
        found: The problem; it takes the place of one of the same name.

    Raises:
        ModelError: The file is missing or damaged.
    """
    facts, diagnoses, suspects = read_findings(run)
    diagnoses = (*(each for each in diagnoses if each.name != found.name), found)
    _write(run.doctor, facts, diagnoses, suspects)
    logger.warning("doctor: %s", found)


def _write(path: Path, facts: RunFacts, diagnoses: Iterable[Diagnosis], suspects: Iterable[Suspect]) -> None:
    content = {
        "run": asdict(facts),
        "diagnoses": [asdict(diagnosis) for diagnosis in diagnoses],
        # Suspects are listed even if they are too few to call the labels noisy.
        "suspects": [asdict(suspect) for suspect in suspects],
    }
    atomic_write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_findings(run: RunDir) -> tuple[RunFacts, tuple[Diagnosis, ...], tuple[Suspect, ...]]:
    """Reads doctor.json.

    Args:
        run: The run folder.

    Returns:
        The facts about the run, its problems, and the items with labels that are probably wrong.

    Raises:
        ModelError: The file is missing or damaged.
    """
    with readable(run.doctor, ModelError):
        content = run.doctor.read_bytes() if run.doctor.is_file() else None
    if content is None:
        raise ModelError(f"{run.path} has no doctor.json; name a run folder that trine train created")
    try:
        found = parse_json(content)
        return (
            parse(RunFacts, found["run"], source="run"),
            tuple(parse(Diagnosis, each, source="diagnoses") for each in found["diagnoses"]),
            tuple(parse(Suspect, each, source="suspects") for each in found["suspects"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{run.doctor} is damaged ({error}); resume the run to write it again") from error
