"""The recipe: every setting of a run, typed, with its default, its range and its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trine.clustering import Method as Linkage
from trine.distances import Distance
from trine.encoders import EncoderRecipe
from trine.losses.contrastive import ContrastiveForm
from trine.settings import Range
from trine.training.augment import AugmentRecipe
from trine.training.curriculum import Stage
from trine.training.two_tower_recipe import InteractionsRecipe

Share = Annotated[float, Range(at_least=0, below=1)]
Reduction = Literal["active", "mean", "anchor", "sum"]

TRINES = ("triplet", "contrastive")
BELONGS = {
    "margin": TRINES,
    "mining": ("triplet",),
    "form": ("contrastive",),
    "reduction": TRINES,
    "memory": TRINES,
    "memory_warmup": TRINES,
}
"""The losses that each setting of the loss is for."""


@dataclass(frozen=True)
class DataRecipe:
    """What of the data is taken, and how it is divided.

    Attributes:
        identities: The names of the identities to take at all; null takes all of them.
        split: `identity` (no identity on both sides), `stratified` (every identity on both sides),
            `column` (as the data's own column says), `named` (the identities of each part are listed), `open`
            (some identities are only tested on, the others as by `stratified`), `folds` (as the folds of a
            list of pairs do, which `test_folds` and `validation_folds` name), or `auto`: a column where there
            is one, else `identity` where there are 20 identities. Where triplets are judged and no identities
            known: `triplets` (judgements not seen, about known items), `items` (judgements about items not
            seen), or `auto`, which is `triplets`.
        test: Share of the data that is kept for the final figures, never trained on.
        validation: Share kept for choosing when to stop; 0 leaves none.
        shots: How many items of each identity are learned from at most, drawn by the seed; null takes all
            that the training part has.
        test_folds: With `folds`, those whose identities the final figures are from.
        validation_folds: With `folds`, those whose identities choose when to stop, and the threshold.
        seed: Which items are drawn for each part; null takes the seed of the run. Runs with another seed
            and the same one here are tested on the same items, so that they can be compared.
        train_identities: For `named`, the identities to learn from: names, or ranges of whole numbers such
            as 1-385, where leading zeros do not matter. Identities in no list are left out.
        validation_identities: For `named`, those to choose when to stop by; where there are none,
            `validation` is the share of the training identities that are.
        test_identities: For `named`, those of the final figures.
        unknown_identities: For `open`, the names of the identities that are only tested on, or how many of
            them are drawn.
    """

    identities: tuple[str | int, ...] | None = None
    split: Literal[
        "auto", "identity", "stratified", "column", "named", "open", "folds", "triplets", "items"
    ] = "auto"
    test: Share = 0.25
    validation: Share = 0.0
    shots: Annotated[int, Range(at_least=2)] | None = None
    test_folds: tuple[int | str, ...] = ()
    validation_folds: tuple[int | str, ...] = ()
    seed: Annotated[int, Range(at_least=0)] | None = None
    train_identities: tuple[str | int, ...] = ()
    validation_identities: tuple[str | int, ...] = ()
    test_identities: tuple[str | int, ...] = ()
    unknown_identities: Annotated[int, Range(at_least=1)] | tuple[str | int, ...] | None = None


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
    """The loss.

    Attributes:
        name: `triplet`; `contrastive`, of all pairs of a batch; or `given`: one by others, in Python.
        given: The full name of that one, as the record of a run has it; null where it is one of trine's.
        margin: α, how much closer the positive of a triplet must be; null is the soft margin. Of the
            contrastive loss m, how far apart different identities are to be.
        distance: What is compared: `squared_euclidean`, `euclidean` or `cosine`.
        mining: The rule that chooses the triplets of a batch, by name.
        form: `squared`, the contrastive loss as in the paper, or `linear`.
        reduction: How the losses of triplets or pairs become one number; null is the rule's own, and the
            mean of all pairs.
        memory: How many of the last embeddings are further positives and negatives of a batch; null
            remembers none.
        memory_warmup: Share of all steps before anything is remembered: until then the encoder moves too
            fast for its past to say anything.
    """

    name: Literal["triplet", "contrastive", "given"] = "triplet"
    given: str | None = None
    margin: Annotated[float, Range(at_least=0)] | None = 0.2
    distance: Distance = "euclidean"
    mining: str = "semihard"
    form: ContrastiveForm = "squared"
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
        backbone_lr_scale: The network's learning rate as a share of the embedding head's: below 1, a
            pretrained network changes little while its head learns.
        weight_decay: Decoupled weight decay of AdamW, on matrices and kernels only.
        betas: AdamW's β₁ and β₂, how long it remembers gradients and their squares; β₂ is below its usual
            0.999, because a run of some hundred steps cannot wait for a memory of a thousand.
        late_beta1: β₁ from `decay_from` on; null keeps it.
        schedule: What becomes of the learning rate after the warm-up: `constant`; `cosine` or `linear`,
            down to 0 at the last step; or `exponential`, down to a thousandth.
        decay_from: Share of all steps before that begins; until then the learning rate is the highest.
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
    backbone_lr_scale: Annotated[float, Range(above=0, at_most=1)] = 1.0
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
    checkpoint_every: Annotated[int, Range(at_least=1)] = 100


@dataclass(frozen=True)
class EvaluationRecipe:
    """What the trained encoder is held to.

    Attributes:
        far: The false-accept rate that the threshold is chosen for.
        clustering: How items are clustered at this threshold: `connected` joins whatever a chain of near
            items connects, `average` two clusters while the mean distance of their items is within it.
    """

    far: Annotated[float, Range(above=0, below=1)] = 0.01
    clustering: Linkage = "connected"


@dataclass(frozen=True)
class Recipe:
    """Every setting of a run.

    Attributes:
        seed: Where all randomness starts; the same seed gives the same run.
        data: What of the data is taken, and how it is divided.
        encoder: The network and its preprocessing.
        augment: What training pictures are put through.
        sampler: What a batch is made of.
        loss: The loss.
        training: How the weights are learned.
        evaluation: What the trained encoder is held to.
        curriculum: What changes while training goes on, stage after stage.
        interactions: How users and items are learned from who liked what; null learns from labelled items.

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
