"""Training: interrupted and resumed it ends with the same weights, and each mistake has its sentence."""

from __future__ import annotations

import csv
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trine.data import Dataset, ImageArray, Vectors
from trine.encoders import Encoder, EncoderRecipe, MlpSettings, SmallResNetSettings, load
from trine.errors import DataError, InputError, ModelError, SettingError, Terminated
from trine.training import (
    AugmentRecipe,
    LossRecipe,
    Recipe,
    SamplerRecipe,
    Stage,
    TrainingRecipe,
    fit,
    load_recipe,
)
from trine.training.metric_step import MetricStep

RECIPE = Recipe(
    encoder=EncoderRecipe(
        dimension=8,
        small_resnet=SmallResNetSettings(width=8, dropout=0.2),
        mlp=MlpSettings((16,), dropout=0.2),
    ),
    augment=AugmentRecipe(erase=0.3, flip=0.1),
    sampler=SamplerRecipe(identities=4, items=3),
    loss=LossRecipe(mining="semihard"),
    # A rule that draws at random, so that its draws are resumed too; and batches that grow.
    curriculum=(
        Stage(at=0.2, until=0.6, mining="random", margin=0.4, identities=7),
        Stage(at=0.7, mining="hard", items=4),
    ),
    training=TrainingRecipe(steps=17, checkpoint_every=4, warmup=0.2),
)


def digits(count: int, *, kind: str = "images", first: int = 0) -> Dataset:
    bunch = load_digits()
    chosen = slice(first, first + count)
    pixels = (bunch.images[chosen] * 15.9375).astype(np.uint8)
    items = ImageArray(pixels) if kind == "images" else Vectors(pixels.reshape(count, 64).astype(np.float32))
    names = tuple(f"item {first + i}" for i in range(count))
    return Dataset(items, bunch.target[chosen].astype(np.int64), tuple("0123456789"), names, root="digits")


def recall(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """The share of items whose nearest other item is of the same identity."""
    distances = ((embeddings[:, None] - embeddings[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())


def weights(encoder: Encoder) -> dict[str, torch.Tensor]:
    return dict(encoder.state_dict())


def assert_same_weights(one: Encoder, other: Encoder) -> None:
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


class Killed(BaseException):
    """Ends a run in the middle, as a kill would: nothing more is saved."""


def killed_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MetricStep.loss

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        if step >= limit:
            raise Killed
        return original(self, embeddings, batch, step=step)

    limit = step
    monkeypatch.setattr(MetricStep, "loss", loss)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Encoder]:
    made: dict[str, Encoder] = {}

    def run(kind: str) -> Encoder:
        if kind not in made:
            folder = tmp_path_factory.mktemp("unbroken") / kind
            made[kind] = fit(
                digits(90, kind=kind), RECIPE, out=folder,
                validation=digits(40, kind=kind, first=90), metric=recall,
            )  # fmt: skip
        return made[kind]

    return run


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.parametrize("killed", [0, 3, 5, 8, 13, 16])
def test_a_killed_run_is_resumed_to_the_same_weights(
    unbroken: Callable[[str], Encoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    killed: int,
) -> None:
    expected = unbroken(kind)
    data, validation = digits(90, kind=kind), digits(40, kind=kind, first=90)
    with monkeypatch.context() as patched:
        killed_after(killed, patched)
        with pytest.raises(Killed):
            fit(data, RECIPE, out=tmp_path, validation=validation, metric=recall)
    # Whatever state the process is in must not matter.
    torch.manual_seed(killed)
    np.random.seed(killed)  # noqa: NPY002
    resumed = fit(data, RECIPE, out=tmp_path, validation=validation, metric=recall, resume=True)
    assert_same_weights(resumed, expected)
    assert resumed.fingerprint == load(tmp_path).fingerprint == expected.fingerprint


def test_a_resumed_log_has_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits(90)
    fit(data, RECIPE, out=tmp_path / "whole")
    with monkeypatch.context() as patched:
        killed_after(11, patched)
        with pytest.raises(Killed):
            fit(data, RECIPE, out=tmp_path / "broken")
    with (tmp_path / "broken" / "metrics.csv").open("a") as file:
        file.write("12,0,0.1")  # a line that a kill cut short
    fit(data, RECIPE, out=tmp_path / "broken", resume=True)
    whole = (tmp_path / "whole" / "metrics.csv").read_text()
    assert (tmp_path / "broken" / "metrics.csv").read_text() == whole
    rows = list(csv.DictReader(whole.splitlines()))
    assert [int(row["step"]) for row in rows] == [0, 10, 16]
    assert [row["mining"] for row in rows] == ["semihard", "random", "hard"]
    on_its_way = 0.2 + (0.4 - 0.2) * (10 / 17 - 0.2) / (0.6 - 0.2)
    assert [float(row["margin"]) for row in rows] == pytest.approx([0.2, on_its_way, 0.4], rel=1e-5)
    assert [(row["identities"], row["items"]) for row in rows] == [("4", "3"), ("7", "3"), ("7", "4")]
    assert all(0 <= float(row["active"]) <= 1 and float(row["loss"]) >= 0 for row in rows)


def test_a_run_is_resumed_when_the_items_do_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazily = replace(RECIPE, training=replace(RECIPE.training, cache=0.0))
    expected = fit(digits(90), RECIPE, out=tmp_path / "in_memory")
    with monkeypatch.context() as patched:
        killed_after(7, patched)
        with pytest.raises(Killed):
            fit(digits(90), lazily, out=tmp_path / "lazily")
    assert_same_weights(fit(digits(90), lazily, out=tmp_path / "lazily", resume=True), expected)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_ends_the_step_and_leaves_a_run_to_resume(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
    raised: type[BaseException],
) -> None:
    original = MetricStep.loss
    seen: list[int] = []

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        seen.append(step)
        if step == 5:
            signal.raise_signal(number)
        return original(self, embeddings, batch, step=step)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(MetricStep, "loss", loss)
        with pytest.raises(raised):
            fit(digits(90), RECIPE, out=tmp_path / "broken")
    assert signal.getsignal(number) is handler
    said = ["terminated by SIGTERM after step 6: the checkpoint is saved, so resume the run"]
    assert caplog.messages == (said if number == signal.SIGTERM else [])
    assert seen == [0, 1, 2, 3, 4, 5]
    checkpoint = torch.load(tmp_path / "broken" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["step"] == 6
    assert not (tmp_path / "broken" / "model").exists()
    resumed = fit(digits(90), RECIPE, out=tmp_path / "broken", resume=True)
    assert_same_weights(resumed, fit(digits(90), RECIPE, out=tmp_path / "whole"))


def test_the_second_ctrl_c_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one interrupts at once")

    monkeypatch.setattr(MetricStep, "loss", loss)
    # A process that was started in the background ignores Ctrl-C; this one is to hear it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(digits(90), RECIPE, out=tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_finished_run_resumed_is_left_as_it_was(tmp_path: Path) -> None:
    first = fit(digits(90), RECIPE, out=tmp_path)
    again = fit(digits(90), RECIPE, out=tmp_path, resume=True)
    assert_same_weights(first, again)


def test_the_seed_decides_the_run_and_the_process_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    one = fit(digits(90), RECIPE, out=tmp_path / "1")
    assert torch.equal(torch.rand(2), expected)
    assert_same_weights(one, fit(digits(90), RECIPE, out=tmp_path / "2"))
    other = fit(digits(90), replace(RECIPE, seed=1), out=tmp_path / "3")
    assert other.fingerprint != one.fingerprint


def test_training_learns_to_tell_digits_apart(tmp_path: Path) -> None:
    data, test = digits(600), digits(300, first=600)
    overrides = {
        "encoder.small_resnet": {"width": 16, "pool": 2},
        "training.steps": 120,
        "training.learning_rate": 3e-3,
    }
    raw = np.stack([test.items[i].ravel() for i in range(300)]).astype(np.float64)
    before = ranked_precision(raw, test.labels)
    encoder = fit(data, load_recipe(overrides=overrides), out=tmp_path)
    assert ranked_precision(encoder.embed(test), test.labels) > before + 0.15


def ranked_precision(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """R-precision: the share of an item's R nearest that are of its identity, R being all there are."""
    found = []
    for i in range(len(labels)):
        distances = ((embeddings - embeddings[i]) ** 2).sum(axis=1)
        distances[i] = np.inf
        same = int((labels == labels[i]).sum()) - 1
        found.append((labels[np.argsort(distances)[:same]] == labels[i]).mean())
    return float(np.mean(found))


def test_the_weights_of_the_best_look_are_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    figures = iter([0.3, 0.5, 0.4, 0.45, 0.2, 0.9])
    seen: list[np.ndarray] = []

    def metric(embeddings: np.ndarray, labels: np.ndarray) -> float:
        seen.append(embeddings.copy())
        return next(figures)

    recipe = replace(
        RECIPE,
        data=replace(RECIPE.data, validation=0.2),
        training=replace(RECIPE.training, steps=17, evaluate_every=2, patience=3),
    )
    validation = digits(40, first=90)
    encoder = fit(digits(90), recipe, out=tmp_path, validation=validation, metric=metric)
    assert len(seen) == 5, "the best is the second look, and three more have passed"
    np.testing.assert_allclose(encoder.embed(validation), seen[1], atol=1e-6)
    assert np.abs(seen[4] - seen[1]).max() > 1e-3
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    looks = {int(row["step"]): float(row["validation_metric"]) for row in rows if row["validation_metric"]}
    assert looks == {1: 0.3, 3: 0.5, 5: 0.4, 7: 0.45, 9: 0.2}


def test_epochs_are_those_of_the_sampler(tmp_path: Path) -> None:
    recipe = replace(RECIPE, training=replace(RECIPE.training, epochs=2, steps=1), curriculum=())
    fit(digits(90), recipe, out=tmp_path)
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    batches = checkpoint["step"] // 2
    assert checkpoint["loader"] == {"epoch": 1, "batches": batches, "step": 2 * batches}
    assert batches >= 90 // 12


def test_the_run_folder_holds_what_it_promises(tmp_path: Path) -> None:
    fit(digits(90), RECIPE, out=tmp_path)
    assert load_recipe(tmp_path / "recipe.yaml") == RECIPE
    assert (tmp_path / "metrics.csv").is_file()
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    assert "90 items of 10 identities of digits" in (tmp_path / "model" / "README.md").read_text()
    assert not list(tmp_path.rglob("*unfinished*"))


def test_training_says_nothing_and_touches_no_network(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*arguments: object) -> None:
        raise AssertionError("training must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    fit(digits(90), RECIPE, out=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_optimiser_decays_matrices_alone(tmp_path: Path) -> None:
    fit(digits(90), RECIPE, out=tmp_path)
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    groups = checkpoint["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [RECIPE.training.weight_decay, 0.0]
    assert all(group["params"] for group in groups)


def test_a_loss_that_is_not_finite_stops_with_the_items_names(tmp_path: Path) -> None:
    data = digits(90, kind="vectors")
    recipe = replace(RECIPE, training=replace(RECIPE.training, learning_rate=1e30, warmup=0.0))
    with pytest.raises(
        SettingError, match=r"^(the loss is (nan|inf) at step \d+ \(a batch with item \d+|after step \d)"
    ):
        fit(data, recipe, out=tmp_path)
    assert not (tmp_path / "model").exists()


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MetricStep.loss

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        found = original(self, embeddings, batch, step=step)
        return found * float("inf") if step == 6 else found

    monkeypatch.setattr(MetricStep, "loss", loss)
    with pytest.raises(
        SettingError, match=r"^after step 8 the weights '.*' are not finite|^the loss is nan at step 7"
    ):
        fit(digits(90), RECIPE, out=tmp_path)
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(bool(torch.isfinite(value).all()) for value in checkpoint["encoder"].values())


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patched:
        killed_after(6, patched)
        with pytest.raises(Killed):
            fit(digits(90), RECIPE, out=tmp_path / "run")
    return tmp_path / "run"


def test_a_folder_that_holds_something_is_not_written_to(interrupted: Path) -> None:
    with pytest.raises(
        InputError, match=r"run is not empty; name a new folder for the run, or resume the one in it$"
    ):
        fit(digits(90), RECIPE, out=interrupted)


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no run to resume in .*: it has no recipe.yaml"):
        fit(digits(90), RECIPE, out=tmp_path, resume=True)


def test_a_run_is_resumed_with_its_own_settings_and_data_alone(interrupted: Path) -> None:
    changed = replace(RECIPE, seed=3, training=replace(RECIPE.training, learning_rate=1.0))
    with pytest.raises(
        SettingError, match=r"started with different settings \(seed, training.learning_rate\)"
    ):
        fit(digits(90), changed, out=interrupted, resume=True)
    with pytest.raises(DataError, match=r"was started on different training items"):
        fit(digits(91), RECIPE, out=interrupted, resume=True)
    free = replace(RECIPE, training=replace(RECIPE.training, device="cpu", checkpoint_every=5))
    fit(digits(90), free, out=interrupted, resume=True)


def test_a_damaged_checkpoint_says_so(interrupted: Path) -> None:
    last = interrupted / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"last.ckpt is damaged \(.*\); delete it to start the run over$"):
        fit(digits(90), RECIPE, out=interrupted, resume=True)


def test_a_checkpoint_that_could_run_something_is_refused(interrupted: Path) -> None:
    last = interrupted / "checkpoints" / "last.ckpt"
    torch.save({**torch.load(last, weights_only=True), "more": Path("x")}, last)
    with pytest.raises(ModelError, match=r"last.ckpt is damaged \(UnpicklingError\)"):
        fit(digits(90), RECIPE, out=interrupted, resume=True)


def test_validation_needs_items_and_a_figure(tmp_path: Path) -> None:
    patient = replace(
        RECIPE, data=replace(RECIPE.data, validation=0.2), training=replace(RECIPE.training, patience=2)
    )
    for message, recipe, arguments in (
        (r"^validation items were passed without a metric", RECIPE, {"validation": digits(9)}),
        (r"^validation is empty", RECIPE, {"validation": digits(0), "metric": recall}),
        (r"^training.patience is 2, but there are no validation items", patient, {}),
    ):
        with pytest.raises(InputError, match=message):
            fit(digits(90), recipe, out=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_data_that_does_not_suffice_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = digits(90)
    one = data.subset(np.flatnonzero(data.labels == 3))
    with pytest.raises(DataError, match=r"only 1 identity"):
        fit(one, RECIPE, out=tmp_path / "run")
    many = replace(RECIPE, sampler=SamplerRecipe(identities=4, items=50))
    with pytest.raises(SettingError, match=r"items=50 is larger than any identity"):
        fit(data, many, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(
    torch.backends.mps.is_available() or torch.cuda.is_available(), reason="this machine has a GPU"
)
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    for change, message in (
        (
            {"device": "mps"},
            r"^training.device is 'mps', but torch finds no such device; set it to auto$",
        ),
        ({"precision": "16"}, r"^training.precision 16 needs a GPU"),
    ):
        with pytest.raises(SettingError, match=message):
            fit(
                digits(90), replace(RECIPE, training=replace(RECIPE.training, **change)), out=tmp_path / "run"
            )
    assert not (tmp_path / "run").exists()


def test_mixed_precision_ends_in_full_precision_weights(tmp_path: Path) -> None:
    recipe = replace(RECIPE, training=replace(RECIPE.training, precision="bf16"))
    encoder = fit(digits(90), recipe, out=tmp_path / "bf16")
    assert all(value.dtype == torch.float32 for value in encoder.parameters())
    full = fit(digits(90), RECIPE, out=tmp_path / "32")
    difference = np.abs(encoder.embed(digits(90)) - full.embed(digits(90))).max()
    assert 0 < difference < 1
