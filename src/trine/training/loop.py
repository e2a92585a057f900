"""The training loop: embed, loss, backward, clip, step; then log, validate and save a checkpoint.

Device, mixed precision, clipping and trackers are Accelerate's; sampling and checkpoints are trine's own, so
that a resumed run ends with the same bits. `_checkpointed` names the parts of a checkpoint, and `_set_up`
restores each of them. The sampler is not one: `BatchLoader` restores the position in the run and the lists of
neighbours that samplers read.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from trine.errors import ModelError, SettingError, Terminated
from trine.shapes import Float
from trine.training.accelerator import open_accelerator
from trine.training.data_loader import Batch, BatchLoader
from trine.training.diagnostics.monitor import Monitor
from trine.training.diagnostics.nonfinite import OverflowCounter
from trine.training.diagnostics.rules import no_gain
from trine.training.distributed import any_process, copy_from_first, processes
from trine.training.early_stopping import ROUNDS, Validator
from trine.training.metrics_log import ProgressLine, RunLog, open_log
from trine.training.run_dir import DISK_FULL, OpenRun
from trine.training.schedule import betas_at, describe_stage, learning_rate_at
from trine.training.step import TrainingStep

logger = logging.getLogger("trine.training")

LOG_EVERY = 10


@dataclass(frozen=True)
class TrainingJob:
    """Everything that takes part in a run.

    Attributes:
        training_step: What is done with each batch.
        loader: The batches, from the first one on.
        shape_at: Maps a step to (P, K) of its batch; None if batches have no P and K.
        run: Its folder and the checkpoint to resume from; a run without a folder keeps nothing.
        validator: Measures the encoder on the validation items; None: off.
        monitor: The doctor; None: off.
        progress: Whether to draw a progress line in the terminal.
    """

    training_step: TrainingStep
    loader: BatchLoader
    shape_at: Callable[[int], tuple[int, int] | None] = lambda step: None
    run: OpenRun = field(default_factory=OpenRun)
    validator: Validator | None = None
    monitor: Monitor | None = None
    progress: bool = False


def train(job: TrainingJob) -> None:
    """Trains an encoder to the end of the run, or until validation stops improving.

    Args:
        job: Everything that takes part. Its encoder is changed in place, and ends on the CPU, in evaluation
            mode, with the weights that `training.keep` asks for, the same in all processes.

    Raises:
        SettingError: The loss or a weight is not finite.
        InputError: The disk is full.
        TrineError: Another process of the run ended early.
        KeyboardInterrupt: Ctrl-C; the step was completed and a checkpoint saved before.
        Terminated: SIGTERM; likewise.
    """
    training_step, loader, validator, steps = job.training_step, job.loader, job.validator, len(job.loader)
    recipe, context = training_step.recipe.training, training_step.context
    validate_every = recipe.evaluate_every or max(1, steps // ROUNDS)
    with (
        _disk_errors_explained(job.run),
        processes(context),
        open_accelerator(recipe, context, trackers_in=job.run.dir) as accelerator,
        open_log(job.run, accelerator) as log,
        ProgressLine(steps) if job.progress else nullcontext() as line,
        Interrupt() as interrupt,
        torch.enable_grad(),
    ):
        optimizer = _set_up(job, accelerator)
        is_new_run = job.run.checkpoint is None
        if is_new_run and context.is_main and validator is not None and validator.keep == "best":
            _measure_start(job, validator, log)
        overflows, signals = OverflowCounter(), [False, False]
        for batch in loader:
            done = loader.position.step
            step = done - 1  # steps are numbered from 0
            batch = batch.to(accelerator.device)
            embeddings, loss = _train_on(batch, job, accelerator, optimizer, step=step)
            if accelerator.scaler is not None:
                scale = accelerator.scaler.get_scale()
                overflows.count(step, skipped=optimizer.step_was_skipped, scale=scale)

            if job.monitor is not None and context.is_main:
                job.monitor.observe(embeddings, batch, step=step)
            if step % LOG_EVERY == 0 or done == steps:
                _log(job, log, embeddings, loss, batch, step=step)
            if validator is not None and context.is_main and (done % validate_every == 0 or done == steps):
                _validate(job, validator, log)
            # All processes stop at the same step, or the others would wait for one that has stopped.
            *signals, out_of_patience = any_process(
                *interrupt.received,
                validator is not None and validator.out_of_patience,
                context=context,
                device=accelerator.device,
            )
            last = any(signals) or out_of_patience or done == steps
            if last or done % recipe.checkpoint_every == 0:
                _save_checkpoint(job, optimizer, accelerator.scaler)
            if line is not None:
                _show_progress(line, job, loss)
            if last:
                break
        # A single process also ends on a signal that came after the last exchange. Several processes end on
        # what they exchanged, or one would leave the others waiting in `_finish`.
        _end_if_stopped(job, *(interrupt.received if context.size == 1 else signals))
        _finish(job)


def _train_on(
    batch: Batch, job: TrainingJob, accelerator: Any, optimizer: Any, *, step: int
) -> tuple[Float[Tensor, "b d"], Float[Tensor, ""]]:
    """Does one step of the optimiser, and returns the embeddings and the loss, detached."""
    training_step, clip = job.training_step, job.training_step.recipe.training.gradient_clip
    _set_rates(optimizer, job, step)
    with accelerator.autocast():
        embeddings = training_step.embed(batch, step=step)
    loss = training_step.loss(embeddings, batch, step=step)
    accelerator.backward(loss)
    training_step.backward_chunks()  # with gradient caching, `backward` stops at the embeddings
    if clip is not None:
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        accelerator.clip_grad_norm_(parameters, clip)
    optimizer.step()
    optimizer.zero_grad()
    return embeddings.detach(), loss.detach()


def _end_if_stopped(job: TrainingJob, interrupted: bool, terminated: bool) -> None:
    if terminated:
        if job.training_step.context.is_main:
            kept = "nothing is kept" if job.run.dir is None else "the checkpoint is saved, so resume the run"
            logger.warning("terminated by SIGTERM after step %d: %s", job.loader.position.step, kept)
        raise Terminated
    if interrupted:
        raise KeyboardInterrupt


def _set_up(job: TrainingJob, accelerator: Any) -> Any:
    """Moves everything to the device, joins the processes, makes the optimiser, and restores a checkpoint."""
    training_step = job.training_step
    recipe = training_step.recipe.training
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    if training_step.context.size > 1 and accelerator.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(training_step.encoder)  # type: ignore[no-untyped-call]
    for module in _modules(job).values():
        module.to(accelerator.device)
    training_step.start()
    optimizer = accelerator.prepare_optimizer(
        torch.optim.AdamW(
            training_step.parameter_groups(),
            lr=recipe.learning_rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
        )
    )
    if job.run.checkpoint is not None:
        try:
            for name, part in _checkpointed(job, optimizer, accelerator.scaler).items():
                part.load_state_dict(job.run.checkpoint[name])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"the checkpoint of the run is damaged ({type(error).__name__} in its {name}); delete "
                "checkpoints/last.ckpt to start the run over"
            ) from error
    return optimizer


def _modules(job: TrainingJob) -> dict[str, nn.Module]:
    """The modules that are moved to the device."""
    modules = {
        "encoder": job.training_step.encoder,
        "memory": job.training_step.memory,
        "loss": job.training_step.loss_module,
    }
    return {name: module for name, module in modules.items() if module is not None}


def _checkpointed(job: TrainingJob, optimizer: Any, scaler: Any) -> dict[str, Any]:
    """Everything whose state is in a checkpoint, by its name there."""
    parts: dict[str, Any] = {**_modules(job), "optimizer": optimizer, "scaler": scaler}
    parts |= {"loader": job.loader, "validator": job.validator, "monitor": job.monitor}
    return {name: part for name, part in parts.items() if part is not None}


def _set_rates(optimizer: Any, job: TrainingJob, step: int) -> None:
    recipe, steps = job.training_step.recipe.training, len(job.loader)
    rate, betas = (of(step, steps=steps, recipe=recipe) for of in (learning_rate_at, betas_at))
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = rate * group["share"], betas


def _log(
    job: TrainingJob,
    log: RunLog | None,
    embeddings: Float[Tensor, "b d"],
    loss: Float[Tensor, ""],
    batch: Batch,
    *,
    step: int,
) -> None:
    """Logs a step, unless its loss is not finite; all processes call it, and the first one has the log."""
    if job.run.dir is None or not bool(torch.isfinite(loss)):
        return
    values = job.training_step.statistics(embeddings, batch, step=step)  # by all processes together
    if log is None:
        return
    shape = zip(("identities", "items"), job.shape_at(step) or (), strict=False)
    rate = learning_rate_at(step, steps=len(job.loader), recipe=job.training_step.recipe.training)
    epoch = job.loader.position.epoch
    values = {"epoch": epoch, **dict(shape), "loss": loss.item(), "learning_rate": rate, **values}
    log.write(values, step=step)
    if job.monitor is not None:
        job.monitor.log(values, step=step)


def _measure_start(job: TrainingJob, validator: Validator, log: RunLog | None) -> None:
    """Measures the encoder before the first step; in the log it is a row of step 0 without a loss."""
    folder = job.run.dir
    with nullcontext() if folder is None else folder.writing(folder.best):
        metric = validator.measure_start(job.training_step.encoder)
    if log is not None:
        log.write({"validation_metric": metric}, step=0)


def _validate(job: TrainingJob, validator: Validator, log: RunLog | None) -> None:
    folder = job.run.dir
    with nullcontext() if folder is None else folder.writing(folder.best):
        metric = validator.validate(job.training_step.encoder)
    if log is not None:
        log.write({"validation_metric": metric}, step=job.loader.position.step - 1)


def _save_checkpoint(job: TrainingJob, optimizer: Any, scaler: Any) -> None:
    done = job.loader.position.step
    check_finite(job.training_step.encoder, step=done)
    if job.run.dir is None or not job.training_step.context.is_main:
        return
    parts = _checkpointed(job, optimizer, scaler)
    job.run.save({"step": done, **{name: part.state_dict() for name, part in parts.items()}})
    if job.monitor is not None:
        with job.run.dir.writing(job.run.dir.doctor):
            job.monitor.write()


def check_finite(encoder: nn.Module, *, step: int) -> None:
    """Checks the weights for NaN and infinity, so that neither is ever saved.

    Args:
        encoder: What was trained.
        step: The number of steps done.

    Raises:
        SettingError: A weight is not finite.
    """
    for name, weights in encoder.state_dict().items():
        if not bool(torch.isfinite(weights).all()):
            raise SettingError(
                f"after step {step} the weights {name!r} are not finite, so nothing was saved; lower "
                "training.learning_rate, or set training.gradient_clip to a number such as 1"
            )


def _show_progress(line: ProgressLine, job: TrainingJob, loss: Float[Tensor, ""]) -> None:
    done, steps = job.loader.position.step, len(job.loader)
    stage = describe_stage(
        done - 1, steps=steps, recipe=job.training_step.recipe, shape=job.shape_at(done - 1)
    )
    line.show(done, loss=loss.item(), metric=job.validator.last if job.validator else None, stage=stage)


def _finish(job: TrainingJob) -> None:
    """Restores the best weights, moves everything to the CPU, and writes the doctor's findings."""
    encoder, context, folder = job.training_step.encoder, job.training_step.context, job.run.dir
    for module in _modules(job).values():
        module.cpu()
    encoder.eval()
    problem = None
    if job.validator is not None and context.is_main:
        job.validator.restore_best(encoder)
        problem = no_gain(job.validator.start, job.validator.best, step=job.loader.position.step)
        if problem is not None and job.monitor is None:
            logger.warning("doctor: %s", problem)
    copy_from_first(encoder, context=context)
    check_finite(encoder, step=job.loader.position.step)
    if job.monitor is not None and folder is not None and context.is_main:
        with folder.writing(folder.doctor):
            job.monitor.finish(problem)


@contextmanager
def _disk_errors_explained(run: OpenRun) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if run.dir is None or error.errno not in DISK_FULL:
            raise
        raise run.dir.write_error(error, run.dir.path) from error


class Interrupt:
    """Defers the first Ctrl-C or SIGTERM to the end of the step; a second one acts at once.

    Attributes:
        received: Whether this process received Ctrl-C, and whether it received SIGTERM.
    """

    def __init__(self) -> None:
        self.received = (False, False)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = (number == signal.SIGINT, number == signal.SIGTERM)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None is a handler that Python did not install.
                signal.signal(number, handler)
