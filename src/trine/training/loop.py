"""Lightning's part: device, precision, gradient, loops, TensorBoard and the content of a checkpoint.

Lightning sees the run as one long epoch of `steps` batches: then a checkpoint is resumed in the same way
wherever in the sampler's epochs it was made.
"""

from __future__ import annotations

import errno
import io
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trine.errors import SettingError, TrineError, require
from trine.io import atomic_write
from trine.shapes import Float
from trine.training.data_loader import Batch, BatchLoader
from trine.training.diagnostics.monitor import Monitor
from trine.training.diagnostics.nonfinite import OverflowCounter
from trine.training.distributed import DistributedContext, any_of, distributed_context, lost, strategy
from trine.training.early_stopping import Validator
from trine.training.metrics_log import MetricsFile, ProgressLine
from trine.training.recipe import Recipe, TrainingRecipe
from trine.training.run_dir import RunDir, refusal, writing
from trine.training.schedule import describe_stage

LOG_EVERY = 10
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
# Lightning 2.6 still uses what torch 2.14 will drop.
LIGHTNING_WARNINGS = (r".*isinstance\(treespec, LeafSpec\)",)


class Step(Protocol):
    """What is done with each batch, such as `MetricStep`."""

    recipe: Recipe
    world: DistributedContext

    @property
    def encoder(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def memory(self) -> nn.Module | None:
        """What is part of a checkpoint beside it."""
        ...

    @property
    def loss_module(self) -> nn.Module | None:
        """What the loss holds, the same."""
        ...

    def join(self) -> None:
        """Joins the encoders of all processes, once each is on its device."""
        ...

    def optimiser(self) -> torch.optim.Optimizer:
        """Makes the optimiser."""
        ...

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a step."""
        ...

    def betas(self, step: int) -> tuple[float, float]:
        """Returns the optimiser's betas of a step."""
        ...

    def embeddings(self, batch: Batch, *, step: int) -> Float[Tensor, "b d"]:
        """Embeds a batch."""
        ...

    def loss(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> Float[Tensor, ""]:
        """Returns the loss of an embedded batch."""
        ...

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Takes the gradient into the weights."""
        ...

    def figures(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> dict[str, Any]:
        """Describes an embedded batch for the log."""
        ...


@dataclass(frozen=True)
class TrainingRun:
    """All that takes part in a run.

    Attributes:
        step: What is done with each batch.
        batches: The batches, from where the run stands.
        shape_at: P and K of a step; None where there is no such thing.
        run: The run's folder.
        dataset_digest: What the training items hash to.
        resumed_at: The steps that are done already; None where the run is new.
        looks: The looks at the validation items, where there are such.
        look_every: Steps between looks.
        watch: The doctor.
        show_progress: Whether to draw a line in the terminal.
    """

    step: Step
    batches: BatchLoader
    shape_at: Callable[[int], tuple[int, int] | None]
    run: RunDir
    dataset_digest: str
    resumed_at: int | None
    looks: Validator | None
    look_every: int
    watch: Monitor
    show_progress: bool


def train(session: TrainingRun) -> None:
    """Trains the session's encoder to the end of the run, or until its looks lose patience.

    Args:
        session: All that takes part; its encoder is changed in place.

    Raises:
        SettingError: The loss or a weight is not finite.
        InputError: The disk is full.
        KeyboardInterrupt: Ctrl-C; the step was ended and the run saved before.
    """
    require("lightning.pytorch", extra="train")
    recipe = session.step.recipe.training
    line = ProgressLine(len(session.batches)) if session.show_progress else None
    try:
        with _quiet_lightning(), _quiet_threads(), _Interrupt() as interrupt:
            module = _module(session, interrupt, line)
            last = session.run.last if session.resumed_at is not None else None
            _trainer(session, recipe).fit(module, ckpt_path=last, weights_only=True)
    except SystemExit:
        # At a second Ctrl-C Lightning leaves the process; that is for the caller to decide.
        raise KeyboardInterrupt from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        # While Lightning ends the run for a full disk, TensorBoard meets it again.
        if isinstance(error.__context__, TrineError):
            raise error.__context__ from None
        raise refusal(error, path=session.run.path, checkpoint=session.run.last) from error
    except RuntimeError as error:
        if not lost(error, world=session.step.world):
            raise
        raise TrineError(
            "another process of the run has ended, and this one cannot go on; look at what the other one "
            "said, and resume the run"
        ) from error
    finally:
        if line is not None:
            line.stop()
    if interrupt.heeded or (interrupt.received and session.step.world.size == 1):
        raise KeyboardInterrupt


def check_device(recipe: TrainingRecipe) -> None:
    """Checks whether this machine can train as the recipe says.

    Args:
        recipe: The device and the precision.

    Raises:
        SettingError: The device is not there, or does not know the precision.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(recipe.device, True):
        raise SettingError(
            f"training.device is {recipe.device!r}, and torch finds no such device here; set it to auto"
        )
    gpus = recipe.device == "cuda" or (recipe.device == "auto" and there["cuda"])
    if recipe.devices > 1 and (recipe.device == "mps" or (recipe.device == "auto" and there["mps"])):
        raise SettingError(
            f"training.devices is {recipe.devices}, and there is one such GPU; set it to 1, or "
            "training.device to cpu"
        )
    if (
        gpus
        and distributed_context(recipe).size // distributed_context(recipe).nodes > torch.cuda.device_count()
    ):
        raise SettingError(
            f"training.devices is {recipe.devices}, and torch finds {torch.cuda.device_count()} GPUs here; "
            "set it to at most as many, or training.device to cpu"
        )
    if recipe.precision == "16" and (recipe.device == "cpu" or not any(there.values())):
        raise SettingError(
            "training.precision is 16, and mixed precision in 16 bits needs a GPU; set it to bf16 or 32"
        )


def check_finite(encoder: nn.Module, *, step: int) -> None:
    """Looks for NaN and infinity in the weights, so that neither is ever saved.

    Args:
        encoder: What was trained.
        step: How far.

    Raises:
        SettingError: A weight is not finite.
    """
    for name, weights in encoder.state_dict().items():
        if not bool(torch.isfinite(weights).all()):
            raise SettingError(
                f"after step {step} the weights {name!r} are not finite, and nothing was saved; "
                "lower training.learning_rate or set training.gradient_clip to a number such as 1"
            )


def _module(session: TrainingRun, interrupt: _Interrupt, line: ProgressLine | None) -> Any:
    from lightning.pytorch import LightningModule

    triplet, batches, looks, run = session.step, session.batches, session.looks, session.run
    world = triplet.world
    metrics = MetricsFile(run.metrics, resumed_at=session.resumed_at) if world.is_main else None
    steps, overflows = len(batches), OverflowCounter()

    class Module(LightningModule):  # type: ignore[misc]  # Lightning comes without types here
        def __init__(self) -> None:
            super().__init__()
            self.encoder = triplet.encoder
            # What these hold is part of the checkpoint, and moves with the weights.
            self.memory = triplet.memory
            self.criterion = triplet.loss_module

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return triplet.optimiser()

        def on_fit_start(self) -> None:
            # Lightning divides the cores among the processes of a machine; the recipe's word comes after.
            torch.set_num_threads(triplet.recipe.training.threads or torch.get_num_threads())
            triplet.join()

        def train_dataloader(self) -> BatchLoader:
            return batches

        def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
            for group in self.optimizers().param_groups:
                # Checkpoints of runs without it have the whole rate everywhere.
                group["lr"] = triplet.learning_rate(self.global_step) * group.get("share", 1.0)
                group["betas"] = triplet.betas(self.global_step)

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            step = self.global_step
            embeddings = triplet.embeddings(batch, step=step)
            loss = triplet.loss(embeddings, batch, step=step)
            if world.is_main:
                session.watch.see(embeddings.detach(), batch, step=step)
            if (step % LOG_EVERY == 0 or step + 1 == steps) and bool(torch.isfinite(loss)):
                made_of = {"epoch": batches.position[0]}
                made_of.update(zip(("identities", "items"), session.shape_at(step) or (), strict=False))
                figures = triplet.figures(embeddings.detach(), batch, step=step)
                figures = {**made_of, "loss": loss.item(), **figures}
                self.write(figures, step)
                if world.is_main:
                    session.watch.look(figures, step=step)
            return loss

        def backward(self, loss: Tensor, *arguments: Any, **settings: Any) -> None:
            triplet.backward(loss)

        def on_train_batch_end(self, outputs: Mapping[str, Tensor], batch: Batch, batch_idx: int) -> None:
            done = self.global_step
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None:
                overflows.after(done - 1, scale=scaler.get_scale())
            exhausted = False
            if looks is not None and world.is_main:
                if done % session.look_every == 0 or done == steps:
                    with writing(run.best, checkpoint=run.last):
                        metric = looks.look(self.encoder)
                    self.write({"validation_metric": metric}, done - 1)
                exhausted = looks.exhausted
            # All processes stop at the same step, or none could go on.
            interrupt.heeded, exhausted = any_of(
                interrupt.received, exhausted, world=world, device=self.device
            )
            if interrupt.heeded or exhausted:
                self.trainer.should_stop = True
            due = done % triplet.recipe.training.checkpoint_every == 0
            if due or done == steps or self.trainer.should_stop:
                self.save(done)
            if line is not None:
                stage = describe_stage(
                    done - 1, steps=steps, recipe=triplet.recipe, shape=session.shape_at(done - 1)
                )
                line.show(done, loss=outputs["loss"].item(), look=looks.last if looks else None, stage=stage)

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["trine"] = {
                "dataset": session.dataset_digest,
                "looks": None if looks is None else looks.state_dict(),
                "watch": session.watch.state_dict(),
            }

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            kept = checkpoint["trine"]
            session.watch.load_state_dict(kept["watch"])
            if looks is not None and kept["looks"] is not None:
                looks.load_state_dict(kept["looks"])

        def save(self, done: int) -> None:
            check_finite(self.encoder, step=done)
            self.trainer.save_checkpoint(run.last)
            if world.is_main:
                with writing(run.doctor, checkpoint=run.last):
                    session.watch.write()

        def write(self, figures: Mapping[str, float | str], step: int) -> None:
            if metrics is not None:
                with writing(run.metrics, checkpoint=run.last):
                    metrics.write(figures, step=step)
            numbers = {name: value for name, value in figures.items() if not isinstance(value, str)}
            with writing(run.tensorboard, checkpoint=run.last):
                for logger in self.loggers:
                    logger.log_metrics(numbers, step)

    return Module()


def _trainer(session: TrainingRun, recipe: TrainingRecipe) -> Any:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import TensorBoardLogger

    world = session.step.world
    return Trainer(
        accelerator=recipe.device,
        devices=world.size // world.nodes,
        num_nodes=world.nodes,
        strategy=strategy(world),
        # torch has no such layer for the CPU.
        sync_batchnorm=world.size > 1 and recipe.device != "cpu" and torch.cuda.is_available(),
        precision=PRECISIONS[recipe.precision],
        max_epochs=1,
        max_steps=len(session.batches),
        gradient_clip_val=recipe.gradient_clip,
        logger=TensorBoardLogger(
            session.run.path, name=session.run.tensorboard.name, version="", purge_step=session.resumed_at
        ),
        plugins=[_whole_checkpoints(session.run)],
        # What is logged, and when, is decided in the module; Lightning only warns about this number.
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        benchmark=False,
    )


def _whole_checkpoints(run: RunDir) -> Any:
    """How Lightning writes a checkpoint: whole or not at all, on the disk when it returns."""
    from lightning.pytorch.plugins import TorchCheckpointIO

    class WholeCheckpoints(TorchCheckpointIO):  # type: ignore[misc]  # Lightning comes without types here
        def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
            buffer = io.BytesIO()
            torch.save(checkpoint, buffer)
            with writing(Path(path), checkpoint=run.last):
                atomic_write(Path(path), buffer.getbuffer())

    return WholeCheckpoints()


class _Interrupt:
    """Holds the first Ctrl-C back until a step has ended; the second does not wait.

    Attributes:
        received: Whether this process was interrupted.
        heeded: Whether the run stops for it, in all processes.
    """

    def __init__(self) -> None:
        self.received = self.heeded = False
        self._before: Any = None

    def __enter__(self) -> _Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        signal.signal(signal.SIGINT, self._before)


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keeps off the terminal what the disk refuses TensorBoard's thread: it is raised again where used."""
    before = threading.excepthook

    def hook(met: threading.ExceptHookArgs) -> None:
        if not (isinstance(met.exc_value, OSError) and met.exc_value.errno in FULL):
            before(met)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps Lightning's announcements off the terminal."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in LIGHTNING_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
