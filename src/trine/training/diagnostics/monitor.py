"""The doctor while a run goes on: it sees each batch, says each thing once, and leaves what it found."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from trine.data import Dataset
from trine.errors import ModelError
from trine.io import atomic_write
from trine.shapes import Float
from trine.training.data_loader import Batch
from trine.training.diagnostics.label_noise import LabelNoiseDetector, Suspect
from trine.training.diagnostics.rules import Diagnosis, LoggedBatch, RunFacts, label_noise, latest
from trine.training.metrics_log import read_metrics
from trine.training.run_dir import RunDir

logger = logging.getLogger("trine.training")


class Monitor:
    """Watches over a run.

    Args:
        patient: What the run is.
        dataset: The training items; None where they have no labels that could be wrong.
        batch: The items in a batch, about.
        run: The run's folder.
        resumed_at: The steps that are done already; None where the run is new.
    """

    def __init__(
        self, patient: RunFacts, *, dataset: Dataset | None, batch: int, run: RunDir, resumed_at: int | None
    ) -> None:
        self._patient = patient
        self._dataset = dataset
        self._run = run
        self._labels = None
        if dataset is not None:
            self._labels = LabelNoiseDetector(dataset.labels, steps=patient.steps, batch=batch)
        before = read_metrics(run.metrics) if resumed_at is not None and run.metrics.is_file() else []
        self._looks = [look for look in before if look.step < (resumed_at or 0)]
        self._said: dict[str, Diagnosis] = {}

    def see(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> None:
        """Looks at the labels of a batch; at most of them, where an item comes seldom.

        Args:
            embeddings: One row per item.
            batch: The batch.
            step: The step.
        """
        if self._labels is not None:
            distance = self._patient.distance
            self._labels.look(embeddings, batch.labels, batch.positions, step=step, distance=distance)

    def look(self, figures: Mapping[str, Any], *, step: int) -> None:
        """Takes the figures of a logged batch, and says what has become certain.

        Args:
            figures: Figures by column of metrics.csv.
            step: The step.
        """
        self._looks.append(LoggedBatch.of({**figures, "step": step}))
        noise = self._noise(step)
        for found in (*latest(self._looks, self._patient), *([noise] if noise else [])):
            if found.name not in self._said:
                self._said[found.name] = found
                logger.warning("doctor: %s", found)
                self.write()

    def write(self) -> None:
        """Leaves what was found so far in the run's folder."""
        atomic_write(
            self._run.doctor,
            findings_text(self._patient, tuple(self._said.values()), self._suspects()),
        )

    def finish(self) -> None:
        """Leaves what was found in the end: a suspicion of labels with all its items."""
        early = self._said.get("label noise")
        if early is not None and (now := self._noise(early.step)) is not None:
            self._said["label noise"] = now
        self.write()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know, beside its log."""
        return {
            "labels": None if self._labels is None else self._labels.state_dict(),
            "said": [asdict(found) for found in self._said.values()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what an interrupted run knew."""
        if self._labels is not None:
            self._labels.load_state_dict(state["labels"])
        self._said = {found["name"]: Diagnosis(**found) for found in state["said"]}

    def _suspects(self) -> tuple[Suspect, ...]:
        if self._labels is None or self._dataset is None:
            return ()
        return self._labels.suspects(self._dataset.names, self._dataset.identities)

    def _noise(self, step: int) -> Diagnosis | None:
        # Embeddings that are all the same, or beyond all measure, say nothing about labels.
        if self._labels is None or {"collapsed", "exploding"} & set(self._said):
            return None
        return label_noise(
            self._suspects(),
            doubtful=self._labels.doubtful(),
            looked_at=self._labels.looked_at(),
            step=step,
        )


def findings_text(patient: RunFacts, diagnoses: tuple[Diagnosis, ...], suspects: tuple[Suspect, ...]) -> str:
    """Writes doctor.json.

    Args:
        patient: What the run is.
        diagnoses: What is wrong with it.
        suspects: Items whose labels may be wrong, even where they are too few to speak of noise.
    """
    found = {
        "run": asdict(patient),
        "diagnoses": [asdict(diagnosis) for diagnosis in diagnoses],
        "suspects": [asdict(suspect) for suspect in suspects],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def read_findings(run: RunDir) -> tuple[RunFacts, tuple[Diagnosis, ...], tuple[Suspect, ...]]:
    """Reads doctor.json.

    Args:
        run: The run's folder.

    Returns:
        What the run is, what was wrong with it, and the items whose labels may be wrong.

    Raises:
        ModelError: The file is missing or damaged.
    """
    if not run.doctor.is_file():
        raise ModelError(
            f"{run.path} has no doctor.json; name the folder of a run that trine train has written"
        )
    try:
        found = json.loads(run.doctor.read_text(encoding="utf-8"))
        return (
            RunFacts(**found["run"]),
            tuple(Diagnosis(**each) for each in found["diagnoses"]),
            tuple(Suspect(**each) for each in found["suspects"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{run.doctor} is damaged ({error}); resume the run to have it written anew"
        ) from error
