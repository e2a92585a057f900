"""The section `loss` of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from trine.distances import Distance
from trine.errors import SettingError, nearest
from trine.losses.contrastive import ContrastiveForm
from trine.settings import Range, Settings, Share
from trine.triplets import PRESETS, MiningRule

Reduction = Literal["active", "mean", "anchor", "sum"]

BOTH = ("triplet", "contrastive")
CLASSIFICATION, LIBRARY, GIVEN = "classification", "pml:", "given"

LOSSES_OF = {
    "margin": BOTH,
    "mining": ("triplet",),
    "form": ("contrastive",),
    "reduction": BOTH,
    "memory": BOTH,
    "memory_warmup": BOTH,
}
"""The losses that each setting applies to."""


@dataclass(frozen=True)
class AddedLossRecipe(Settings):
    """A loss that is added to another, as a weighted sum.

    Attributes:
        name: `classification`, the cross-entropy of a linear layer that tells the training identities apart;
            or `pml:` and the name of a loss of pytorch-metric-learning, such as `pml:ProxyAnchorLoss`.
        weight: What it is multiplied by.
        arguments: Its arguments, such as `label_smoothing` of `classification`. The number of classes and the
            dimension need not be given.
    """

    name: str
    weight: Annotated[float, Range(above=0)] = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises a `SettingError` if the name is unknown."""
        _check_name(self.name, (CLASSIFICATION,), key="loss.added.name")


@dataclass(frozen=True)
class LossRecipe(Settings):
    """The loss.

    Attributes:
        name: `triplet`; `contrastive`, over all pairs of a batch; `classification` or `pml:` and the name of
            a loss of pytorch-metric-learning, as in `added`; or `given`, a loss passed in Python.
        arguments: The arguments of a loss that is neither `triplet` nor `contrastive`, as in `added`.
        added: A loss to add to this one; null adds none.
        given: The full name of that loss, as the recipe.yaml of a run records it; else null.
        margin: α, how much closer the positive of a triplet must be; null is the soft margin. For the
            contrastive loss: m, how far apart different identities must be.
        distance: The distance to compare by: `squared_euclidean`, `euclidean` or `cosine`.
        mining: The name of the rule that chooses the triplets of a batch.
        form: The form of the contrastive loss: `squared`, as in the paper, or `linear`.
        reduction: How the losses of triplets or pairs become one number; null takes the default of the mining
            rule, and the mean for pairs.
        memory: How many of the latest embeddings serve as further positives and negatives of a batch; null
            keeps none.
        memory_warmup: The share of all steps before the memory is used; until then the encoder changes too
            fast for past embeddings to be comparable.
    """

    name: str = "triplet"
    arguments: dict[str, Any] = field(default_factory=dict)
    added: AddedLossRecipe | None = None
    given: str | None = None
    margin: Annotated[float, Range(at_least=0)] | None = 0.2
    distance: Distance = "euclidean"
    mining: MiningRule = "semihard"
    form: ContrastiveForm = "squared"
    reduction: Reduction | None = "active"
    memory: Annotated[int, Range(at_least=1)] | None = None
    memory_warmup: Share = 0.5

    @property
    def is_built(self) -> bool:
        """Whether the loss is made by its name and has arguments."""
        return self.name not in (*BOTH, GIVEN)

    def check(self) -> None:
        """Raises a `SettingError` if a setting belongs to another loss, or the loss lacks one."""
        _check_name(self.name, (*BOTH, CLASSIFICATION, GIVEN), key="loss.name")
        if self.arguments and not self.is_built:
            raise SettingError(
                f"loss.arguments is {self.arguments}, but loss.name is {self.name}; they are for "
                f"classification and for {LIBRARY} with the name of a loss: leave them out"
            )
        if (self.name == GIVEN) != (self.given is not None):
            raise SettingError(
                f"loss.name is {self.name}, and loss.given is {self.given or 'null'}; both record a loss "
                "that was passed in Python as loss=: leave them out of a recipe"
            )
        for key, losses in LOSSES_OF.items():
            value, default = getattr(self, key), getattr(LossRecipe, key)
            if self.name not in losses and value != default:
                raise SettingError(
                    f"loss.{key} is {_shown(value)}, but it is a setting of the {' or '.join(losses)} loss, "
                    f"and loss.name is {self.name}; leave it at its default, {_shown(default)}"
                )
        if self.name == "contrastive" and self.margin is None:
            raise SettingError(
                "loss.margin is null, but the contrastive loss needs a margin; set it to a number"
            )
        if self.name == "contrastive" and self.reduction == "anchor":
            raise SettingError(
                "loss.reduction is anchor, but the contrastive loss is over pairs, which have no anchors; "
                "set it to active, mean or sum"
            )
        self.check_rule(self.mining, key="loss.mining")

    def check_rule(self, rule: MiningRule, *, key: str) -> None:
        """Raises a `SettingError` if the mining rule needs a margin that is null."""
        if PRESETS[rule].needs_margin and self.margin is None:
            raise SettingError(f"{key} is {rule}, which needs a margin; set loss.margin to a number")


def _check_name(name: str, known: tuple[str, ...], *, key: str) -> None:
    if not name.startswith(LIBRARY) and name not in known:
        names = [each for each in known if each != GIVEN]
        raise SettingError(f"{key} is {name!r}; {nearest(name, [*names, LIBRARY + 'ProxyAnchorLoss'])}, ...")


def _shown(value: object) -> object:
    return "null" if value is None else value
