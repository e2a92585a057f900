"""The recipe: every setting of a run, typed, with its default, its range and its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from trine.distances import Distance
from trine.encoders import EncoderRecipe
from trine.errors import SettingError, nearest
from trine.settings import Range
from trine.training.augment import AugmentRecipe
from trine.training.stages import Stage, check_curriculum
from trine.triplets import PRESETS

Share = Annotated[float, Range(at_least=0, below=1)]
Reduction = Literal["active", "mean", "anchor", "sum"]


@dataclass(frozen=True)
class DataRecipe:
    """How the data is divided.

    Attributes:
        split: `identity` (no identity on both sides), `stratified` (every identity on both sides),
            `column` (as the data's own column says), `open` (some identities are only tested on, the others
            as by `stratified`), or `auto`: `column`, `identity` or `stratified`, as the data allows. Where
            triplets are judged and no identities known: `triplets` (judgements not seen, about known
            items), `items` (judgements about items not seen), or `auto`, which is `triplets`.
        test: Share of the data that is kept for the final figures, never trained on.
        validation: Share kept for choosing when to stop; 0 leaves none.
        seed: Which items are drawn for each part; null takes the seed of the run. Runs with another seed
            and the same one here are tested on the same items, so that they can be compared.
        unknown_identities: For `open`: the names of the identities that are only tested on, or how many of
            them are drawn.
    """

    split: Literal["auto", "identity", "stratified", "column", "open", "triplets", "items"] = "auto"
    test: Share = 0.25
    validation: Share = 0.0
    seed: Annotated[int, Range(at_least=0)] | None = None
    unknown_identities: Annotated[int, Range(at_least=1)] | tuple[str, ...] | None = None


@dataclass(frozen=True)
class SamplerRecipe:
    """What a batch is made of: P identities, K items of each.

    Attributes:
        identities: P, the identities in a batch; null takes all that there are, at most 32.
        items: K, the items of each; null takes as many as bring the batch nearest to `batch`, at least 2
            and at most what the largest identity has.
        batch: The items in a batch, where `items` is null.
        repeat: What happens to an identity with fewer than K items: `never` takes those it has; `fill`
            repeats some, and a repeated item is no positive of itself.
        confusable: Share of the identities of a batch that come from the neighbour lists of others in it,
            as the encoder confuses them; 0 composes batches at random.
        refresh: Epochs between the looks at who is confused with whom.
        last: What becomes, in each epoch, of what does not fill a batch: `even` makes one more batch and
            all a little smaller, `short` makes the last one short, `drop` lets it wait for another epoch,
            as large batches of few identities want it.
    """

    identities: Annotated[int, Range(at_least=2)] | None = None
    items: Annotated[int, Range(at_least=2)] | None = None
    batch: Annotated[int, Range(at_least=4)] = 128
    repeat: Literal["never", "fill"] = "never"
    confusable: Share = 0.0
    refresh: Annotated[int, Range(at_least=1)] = 1
    last: Literal["even", "short", "drop"] = "even"


@dataclass(frozen=True)
class LossRecipe:
    """The triplet loss.

    Attributes:
        margin: α, how much closer the positive must be; null is the soft margin.
        distance: What is compared: `squared_euclidean`, `euclidean` or `cosine`.
        mining: The rule that chooses the triplets of a batch, by name.
        reduction: How the triplets' losses become one number; null is the rule's own.
        memory: How many of the last embeddings are further positives and negatives of a batch; null
            remembers none.
        memory_warmup: Share of all steps before anything is remembered: until then the encoder moves too
            fast for its past to say anything.
    """

    margin: Annotated[float, Range(at_least=0)] | None = 0.2
    distance: Distance = "euclidean"
    mining: str = "semihard"
    reduction: Reduction | None = "active"
    memory: Annotated[int, Range(at_least=1)] | None = None
    memory_warmup: Share = 0.5


@dataclass(frozen=True)
class TrainingRecipe:
    """How the weights are learned.

    Attributes:
        epochs: How often the sampler goes through the training items; null leaves it to `steps`.
        steps: How many batches are learned from, where `epochs` is null; null derives it: every item is
            seen five times, in at least 300 steps and at most 2,400.
        learning_rate: The highest learning rate of AdamW.
        network_rate: The learning rate of the network as a share of that of the embedding head: below 1, a
            pretrained network is changed little while its head is learned.
        weight_decay: Decoupled weight decay of AdamW, on matrices and kernels only.
        schedule: What becomes of the learning rate after the warm-up: `constant`, `cosine` or `linear`,
            the last two down to 0 at the last step.
        warmup: Share of all steps in which the learning rate rises to its highest.
        gradient_clip: The largest norm of the gradient; null clips nothing.
        chunk: The most items that the network holds a graph of at once, for a third more time: a batch of
            any size in the memory of a chunk, with the gradient of the whole batch; null takes the batch
            at once. Statistics of batch normalisation are those of a chunk.
        precision: `32`, or mixed precision in `bf16` or `16` bits.
        device: Where to train; `auto` takes a GPU where there is one.
        devices: How many GPUs, or processes on the CPU, share each step, all machines together. What the
            sampler makes is for one of them: two learn from twice as many items at a time, and triplets
            are chosen among all. On GPUs, statistics of batch normalisation are those of all.
        threads: CPU threads of torch; null leaves torch's own number.
        cache: GiB of prepared pictures that may stay in memory; larger sets are decoded each time.
        evaluate_every: Steps between looks at the validation items; null looks twenty times.
        patience: Looks without a better MAP@R after which training stops; null never stops early. With
            validation items, the weights of the best look are kept.
        checkpoint_every: Steps between checkpoints; the last step ends with one besides.
    """

    epochs: Annotated[int, Range(at_least=1)] | None = None
    steps: Annotated[int, Range(at_least=1)] | None = None
    learning_rate: Annotated[float, Range(above=0)] = 1e-3
    network_rate: Annotated[float, Range(above=0, at_most=1)] = 1.0
    weight_decay: Annotated[float, Range(at_least=0)] = 0.05
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
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
    checkpoint_every: Annotated[int, Range(at_least=1)] = 100


@dataclass(frozen=True)
class EvaluationRecipe:
    """What the trained encoder is held to.

    Attributes:
        far: The false-accept rate that the threshold is chosen for.
    """

    far: Annotated[float, Range(above=0, below=1)] = 0.01


@dataclass(frozen=True)
class Recipe:
    """Every setting of a run.

    Attributes:
        seed: Where all randomness starts; the same seed gives the same run.
        data: How the data is divided.
        encoder: The network and its preprocessing.
        augment: What training pictures are put through.
        sampler: What a batch is made of.
        loss: The triplet loss.
        training: How the weights are learned.
        evaluation: What the trained encoder is held to.
        curriculum: What changes while training goes on, stage after stage.

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


def check_together(recipe: Recipe, *, source: str) -> None:
    """Looks at what no single setting can say: names of rules, and settings that exclude each other.

    Args:
        recipe: The recipe.
        source: Where it comes from: the first words of an error.

    Raises:
        SettingError: Settings do not go together.
    """
    check_curriculum(recipe.curriculum, margin=recipe.loss.margin, source=source)
    if recipe.encoder.frozen:
        _check_frozen(recipe, source=source)
    rules = {"loss.mining": recipe.loss.mining}
    for position, stage in enumerate(recipe.curriculum):
        if stage.mining is not None:
            rules[f"curriculum[{position}].mining"] = stage.mining
    for key, rule in rules.items():
        if rule not in PRESETS:
            raise SettingError(f"{source}: {key} is {rule!r}; {nearest(rule, PRESETS)}")
        if PRESETS[rule].needs_margin and recipe.loss.margin is None:
            raise SettingError(
                f"{source}: {key} {rule!r} looks at the margin, and loss.margin is null; "
                "give loss.margin a number"
            )
    if recipe.data.test + recipe.data.validation >= 1:
        raise SettingError(
            f"{source}: data.test {recipe.data.test:g} and data.validation "
            f"{recipe.data.validation:g} leave nothing to train on; make them smaller than 1 together"
        )
    if (recipe.data.split == "open") == (recipe.data.unknown_identities is None):
        raise SettingError(
            f"{source}: data.unknown_identities and data.split open belong together; give both, or neither"
        )
    if recipe.training.patience is not None and recipe.data.validation == 0:
        raise SettingError(
            f"{source}: training.patience needs items to look at, and data.validation is 0; "
            "set data.validation to a share such as 0.15"
        )


def _check_frozen(recipe: Recipe, *, source: str) -> None:
    if not recipe.encoder.is_pretrained:
        raise SettingError(
            f"{source}: encoder.frozen keeps a network as it came, and encoder.network "
            f"{recipe.encoder.network!r} comes untrained; name a timm model with weights, or set "
            "encoder.frozen to false"
        )
    if recipe.training.network_rate != 1:
        raise SettingError(
            f"{source}: training.network_rate is {recipe.training.network_rate:g}, and a frozen network does "
            "not learn; leave it at 1, or set encoder.frozen to false"
        )
    for each in fields(AugmentRecipe):
        value = getattr(recipe.augment, each.name)
        if value not in (each.default, 0):
            raise SettingError(
                f"{source}: augment.{each.name} is {value:g}, and a frozen network sees each picture once, "
                "as it is; leave augment alone, or set encoder.frozen to false"
            )
