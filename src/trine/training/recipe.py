"""The recipe: every setting of a run, typed, with its default, its range and its meaning.

A recipe is checked on construction, from a file or in Python: each section checks itself, and `Recipe` checks
the sections against each other.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Literal

from trine.encoders import EncoderRecipe
from trine.errors import SettingError
from trine.settings import Range, Settings, Share, differences
from trine.training.augment import AugmentRecipe
from trine.training.curriculum import Stage, check_curriculum
from trine.training.data_recipe import DataRecipe
from trine.training.loss_recipe import LOSSES_OF, LossRecipe
from trine.training.two_tower_recipe import InteractionsRecipe, check_interactions

Keep = Literal["best", "sure", "trained", "last"]
"""The weights that a run with validation items ends with; see `TrainingRecipe`."""


@dataclass(frozen=True)
class SamplerRecipe(Settings):
    """The composition of a batch: P identities, K items of each.

    Attributes:
        identities: P, the identities in a batch; null takes as many as there are, at most 32.
        items: K, the items of each identity; null takes the number that brings the batch closest to `batch`,
            at least 2 and at most the items of the largest identity.
        batch: The items in a batch, if `items` is null.
        repeat: What to do with an identity of fewer than K items: `never` takes the items it has; `fill`
            repeats some, and a repeated item is not a positive of itself.
        confusable: The share of the identities of a batch that are drawn from the neighbour lists of others
            in it: those the encoder confuses with them. 0 draws all at random.
        refresh: The epochs between updates of these lists.
        last: What to do with the rest of an epoch that does not fill a batch: `even` makes one more batch and
            all of them slightly smaller, `short` makes the last one short, `drop` leaves it for another
            epoch, which suits large batches of few identities.
    """

    identities: Annotated[int, Range(at_least=2)] | None = None
    items: Annotated[int, Range(at_least=2)] | None = None
    batch: Annotated[int, Range(at_least=4)] = 128
    repeat: Literal["never", "fill"] = "never"
    confusable: Share = 0.0
    refresh: Annotated[int, Range(at_least=1)] = 1
    last: Literal["even", "short", "drop"] = "even"


@dataclass(frozen=True)
class TrainingRecipe(Settings):
    """How the weights are trained.

    Attributes:
        epochs: The passes of the sampler over the training items; null leaves the length to `steps`.
        steps: The number of batches, if `epochs` is null; null derives it: five passes over the items, with
            at least 300 and at most 2,400 steps.
        learning_rate: The peak learning rate of AdamW.
        backbone_lr_scale: The learning rate of the network as a share of that of the embedding head; below 1,
            a pretrained network changes little while its head is trained.
        loss_lr_scale: The learning rate of a loss's own parameters, such as proxies, as a multiple of
            that of the encoder.
        weight_decay: Decoupled weight decay of AdamW, for matrices and kernels only.
        betas: AdamW's β₁ and β₂, the decay rates of its averages of gradients and their squares. β₂ is below
            the usual 0.999, which averages over a thousand steps and is too slow for a run of some hundred.
        late_beta1: β₁ from `decay_from` on; null keeps it.
        schedule: The learning rate after warm-up: `constant`; `cosine` or `linear`, down to 0 at the last
            step; or `exponential`, down to a thousandth.
        decay_from: The share of all steps before the decay starts; until then the learning rate stays at its
            peak.
        warmup: The share of all steps in which the learning rate rises to its peak.
        gradient_clip: The largest norm of the gradient; null clips nothing.
        chunk: The most items whose graph is in memory at once, at the cost of a third more time: a batch of
            any size fits into the memory of a chunk, with the gradient of the whole batch. Batch
            normalisation sees one chunk at a time. null takes the batch at once.
        precision: `32`, or mixed precision in `bf16` or `16` bits.
        device: The device to train on; `auto` takes a GPU if there is one.
        devices: The number of GPUs, or of processes on the CPU, that share each step, over all machines. The
            sampler's settings are for each of them: two train on twice as many items per step, and triplets
            are chosen among all of them. On GPUs, batch normalisation is synchronised.
        threads: CPU threads of torch; null leaves torch's own number.
        cache: GiB of preprocessed images to keep in memory; larger sets are decoded again each time.
        evaluate_every: Steps between validation rounds; null makes twenty rounds.
        patience: Stop after this many validation rounds without a better metric; null never stops early.
        keep: The weights that a run with validation items ends with: `best`, those of the best round, with
            the weights before training as the first one, so that training which does not help on the
            validation items is undone; `sure`, those of the best round of training if they surely rank better
            (the 95 % interval of the gain in MAP@R, over the identities of the validation items, is above 0)
            and accept no fewer true matches at the false-accept rate `evaluation.far`, else those before
            training (`fit` alone does not compare, and takes the best round); `trained`, those of the best
            round of training; `last`, those of the last step. null is `best` where training starts from a
            pretrained network, else `trained`, since random weights are no answer. Without validation items
            it is the last step, except that a pretrained network is compared with it on the identities kept
            out for calibration, if there are any.
        checkpoint_every: Steps between checkpoints; there is always one after the last step.
    """

    epochs: Annotated[int, Range(at_least=1)] | None = None
    steps: Annotated[int, Range(at_least=1)] | None = None
    learning_rate: Annotated[float, Range(above=0)] = 1e-3
    backbone_lr_scale: Annotated[float, Range(above=0, at_most=1)] = 1.0
    loss_lr_scale: Annotated[float, Range(above=0)] = 1.0
    weight_decay: Annotated[float, Range(at_least=0)] = 0.05
    betas: tuple[Share, Share] = (0.9, 0.99)
    late_beta1: Share | None = None
    schedule: Literal["constant", "cosine", "linear", "exponential"] = "cosine"
    decay_from: Share = 0.0
    warmup: Share = 0.1
    gradient_clip: Annotated[float, Range(above=0)] | None = None
    chunk: Annotated[int, Range(at_least=2)] | None = None
    precision: Literal["32", "bf16", "16"] = "32"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Annotated[int, Range(at_least=1)] = 1
    threads: Annotated[int, Range(at_least=1)] | None = None
    cache: Annotated[float, Range(at_least=0)] = 2.0
    evaluate_every: Annotated[int, Range(at_least=1)] | None = None
    patience: Annotated[int, Range(at_least=1)] | None = None
    keep: Keep | None = None
    checkpoint_every: Annotated[int, Range(at_least=1)] = 100


@dataclass(frozen=True)
class EvaluationRecipe(Settings):
    """How the trained encoder is evaluated.

    Attributes:
        far: The false-accept rate that the threshold is chosen for.
        clustering: The linkage of the clusters: `connected` joins all that a chain of near items connects,
            `average` joins two clusters while the mean distance of their items is within the threshold,
            `complete` while their largest is; `auto` takes the best one. The threshold is chosen for it.
    """

    far: Annotated[float, Range(above=0, below=1)] = 0.01
    clustering: Literal["auto", "connected", "average", "complete"] = "auto"


@dataclass(frozen=True)
class Recipe(Settings):
    """Every setting of a run.

    Attributes:
        seed: The seed of all randomness; the same seed gives the same run.
        data: Which items are used, and how they are split.
        encoder: The network and its preprocessing.
        augment: The augmentation of training images.
        sampler: The composition of a batch.
        loss: The loss.
        training: How the weights are trained.
        evaluation: How the trained encoder is evaluated.
        curriculum: What changes during training, stage after stage.
        interactions: How user and item towers are trained on interactions; null trains on labelled items.

    Raises:
        SettingError: A value is out of range, or settings contradict each other.

    Example:
        >>> Recipe().loss.mining
        'semihard'
    """

    seed: Annotated[int, Range(at_least=0)] = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    encoder: EncoderRecipe = field(default_factory=EncoderRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    sampler: SamplerRecipe = field(default_factory=SamplerRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    curriculum: tuple[Stage, ...] = ()
    interactions: InteractionsRecipe | None = None

    @property
    def keep(self) -> Keep:
        """The weights that a run with validation items ends with: `training.keep`, or its default."""
        return self.training.keep or ("best" if self.encoder.is_pretrained else "trained")

    def check(self) -> None:
        """Raises a `SettingError` if sections contradict each other."""
        if self.interactions is not None:
            check_interactions(self.interactions, changed=self._changed(), margin=self.loss.margin)
            return
        check_curriculum(self.curriculum, margin=self.loss.margin)
        self._check_stages()
        if self.data.calibration_folds and self.training.devices > 1:
            raise SettingError(
                f"data.calibration_folds is {self.data.calibration_folds}, and one process trains folds, but "
                f"training.devices is {self.training.devices}; set the one to 0 or the other to 1"
            )
        if self.encoder.frozen:
            self._check_frozen()
        if self.training.patience is not None and not self.data.has_validation:
            raise SettingError(
                "training.patience needs a validation part, but data.validation is 0; set it to a share such "
                "as 0.15"
            )

    def _changed(self) -> list[str]:
        """The keys outside `interactions` and `seed` that are not at their defaults."""
        changed = ["curriculum"] if self.curriculum else []
        for section in fields(Recipe):
            if section.default_factory is not MISSING:
                keys = differences(section.default_factory(), getattr(self, section.name))
                changed += [f"{section.name}.{key}" for key in keys]
        return changed

    def _check_stages(self) -> None:
        """Checks that the loss has what the stages of the curriculum change."""
        for position, stage in enumerate(self.curriculum):
            for name in ("mining", "margin"):
                value, losses = getattr(stage, name), LOSSES_OF[name]
                if value is not None and self.loss.name not in losses:
                    raise SettingError(
                        f"curriculum[{position}].{name} is {value}, but it is a setting of the "
                        f"{' or '.join(losses)} loss, and loss.name is {self.loss.name}; leave it out"
                    )
            if stage.mining is not None:
                self.loss.check_rule(stage.mining, key=f"curriculum[{position}].mining")

    def _check_frozen(self) -> None:
        """Checks that no setting needs a frozen network to be trained."""
        if not self.encoder.is_pretrained:
            raise SettingError(
                f"encoder.frozen needs a pretrained network, but encoder.network {self.encoder.network!r} is "
                "untrained; name a timm model with weights, or sentence for texts, or set encoder.frozen to "
                "false"
            )
        if self.training.backbone_lr_scale != 1:
            raise SettingError(
                f"training.backbone_lr_scale is {self.training.backbone_lr_scale:g}, but a frozen network is "
                "not trained; leave it at 1, or set encoder.frozen to false"
            )
        for each in fields(AugmentRecipe):
            value = getattr(self.augment, each.name)
            if value not in (each.default, 0):
                raise SettingError(
                    f"augment.{each.name} is {value:g}, but a frozen network embeds each image once, without "
                    "augmentation; leave augment at its defaults, or set encoder.frozen to false"
                )
