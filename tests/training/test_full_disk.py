"""A disk that refuses: one sentence that names the file, and a last checkpoint to go on from."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.summary.writer.record_writer import RecordWriter

from support import training_kills
from trine.encoders import Encoder
from trine.errors import InputError, ModelError
from trine.training import fit
from trine.training.metric_step import MetricStep


def full(*arguments: Any, **settings: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    out = tmp_path_factory.mktemp("whole") / "run"
    return fit(*training_kills.arguments_of_the_run(), out=out, **training_kills.held_out())


def fill_at(at: int, written: str, patch: pytest.MonkeyPatch) -> None:
    """From some step on, no file of a name can be written."""
    original, write_bytes, opened = MetricStep.loss, Path.write_bytes, Path.open

    def refused(self: Path, data: Any) -> int:
        if written not in self.name:
            return write_bytes(self, data)
        write_bytes(self, bytes(data)[:100])
        return int(full())

    def append(self: Path, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        return full() if mode == "a" and written in self.name else opened(self, mode, *arguments, **settings)

    def loss(self: Any, *arguments: Any, **settings: Any) -> torch.Tensor:
        if settings["step"] == at:
            patch.setattr(Path, "write_bytes", refused)
            patch.setattr(Path, "open", append)
            if written == "tensorboard":
                patch.setattr(RecordWriter, "write", full)
        return original(self, *arguments, **settings)

    patch.setattr(MetricStep, "loss", loss)


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize(
    "written", ["last.ckpt", "best.safetensors", "metrics.csv", "doctor.json", "tensorboard"]
)
def test_a_full_disk_names_the_file_and_leaves_a_run_to_go_on_with(
    whole: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, at: int
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill_at(at, written, patch)
        with pytest.raises(InputError, match=r"^cannot write /\S+ \(No space left on device\); ") as caught:
            fit(*training_kills.arguments_of_the_run(), out=out, **training_kills.held_out())
    sentence = str(caught.value)
    assert written in sentence or written == "tensorboard"
    assert not list(out.rglob("*unfinished*"))
    last = out / "checkpoints" / "last.ckpt"
    then = "free disk space, then resume the run: it"
    if last.exists():
        assert sentence.endswith(f"{then} continues from {last}, which is intact")
        assert 0 < torch.load(last, weights_only=True)["step"] < training_kills.STEPS
    else:
        assert sentence.endswith(f"{then} starts over, because it has no checkpoint yet")
    resumed = fit(*training_kills.arguments_of_the_run(), out=out, resume=True, **training_kills.held_out())
    assert resumed.fingerprint == whole.fingerprint


def test_a_model_that_finds_no_room_says_so(
    whole: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill_at(0, "weights.safetensors", patch)
        with pytest.raises(
            ModelError, match=r"could not be written to .*model: No space left on device; free disk space"
        ):
            fit(*training_kills.arguments_of_the_run(), out=out, **training_kills.held_out())
    assert not list(out.glob(".model*"))
    resumed = fit(*training_kills.arguments_of_the_run(), out=out, resume=True, **training_kills.held_out())
    assert resumed.fingerprint == whole.fingerprint


def test_other_errors_of_the_system_are_not_taken_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(self: Any, *arguments: Any, **settings: Any) -> torch.Tensor:
        raise ConnectionError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(MetricStep, "loss", loss)
    with pytest.raises(ConnectionError):
        fit(*training_kills.arguments_of_the_run(), out=tmp_path / "run", **training_kills.held_out())


def test_a_run_that_was_killed_before_it_began_can_be_started(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".recipe.yaml.unfinished").write_text("encoder: {dim")
    fit(*training_kills.arguments_of_the_run(), out=out, **training_kills.held_out())
    assert not list(out.glob(".recipe*"))
