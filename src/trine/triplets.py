"""The concepts of triplet learning as value types.

The rule (`Mining`), the chosen triplets (`Triplets`), and counts of all valid ones (`Census`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from torch import Tensor

from trine.errors import InputError, check_choice, shown
from trine.settings import Range, check_number
from trine.shapes import Int64

PositiveRule = Literal["all", "unordered", "hard", "easy", "moderate", "random"]
"""How the positives of an anchor are chosen."""

NegativeRule = Literal[
    "all", "hard", "semihard", "semihard-strict", "semihard-band", "violating", "random", "weighted"
]
"""How the negative is chosen, for an anchor and one of its positives."""


MiningRule = Literal[
    "all",
    "hard",
    "semihard",
    "semihard-strict",
    "semihard-band",
    "violating",
    "random",
    "random-negative",
    "moderate",
    "weighted",
    "easy-positive-hard",
    "easy-positive-semihard",
]
"""The name of a preset of `Mining`."""


@dataclass(frozen=True)
class Mining:
    """A rule for the positive and a rule for the negative: which triplets a batch contributes.

    Positives, of each anchor: `all`; `unordered` (each pair once: the lower index is the anchor);
    `hard` (the farthest); `easy` (the nearest); `random` (one); `moderate` (one at random among those
    neither nearest nor farthest, where there are three or more; else one at random).

    Negatives, for each anchor and positive, with d_ap and d_an their distances and α the margin: `all`;
    `hard` (the nearest); `semihard` (the nearest with d_an > d_ap; if there is none, the farthest);
    `semihard-strict` (the same, and no triplet if there is none); `semihard-band` (all with
    d_ap < d_an ≤ d_ap + α); `violating` (one at random with d_an < d_ap + α); `random` (one);
    `weighted` (one drawn ∝ 1/q(d_an), Wu et al. 2017).

    Ties go to the lowest index. The usual names are presets, accepted as strings wherever a `Mining`
    is:

    ======================== ============ ================ ==========================================
    name                     positive     negative         source
    ======================== ============ ================ ==========================================
    `all`                    all          all              Hermans et al. 2017, batch all; Moindrot
    `hard`                   hard         hard             Hermans et al. 2017, batch hard
    `semihard`               all          semihard         FaceNet §3.2; choice and fallback of
                                                           TF-Addons and sentence-transformers
    `semihard-strict`        all          semihard-strict  FaceNet §3.2
    `semihard-band`          all          semihard-band    pytorch-metric-learning
    `violating`              unordered    violating        the open FaceNet implementation
    `random`                 random       random           the basic method
    `random-negative`        all          random
    `moderate`               moderate     semihard         "similar enough, but not too similar"
    `weighted`               all          weighted         Wu et al. 2017, distance-weighted
    `easy-positive-hard`     easy         hard             Xuan et al. 2020
    `easy-positive-semihard` easy         semihard         Xuan et al. 2020
    ======================== ============ ================ ==========================================

    Attributes:
        positive: The rule for the positive.
        negative: The rule for the negative.
        cutoffs: For `weighted`: distances below the first count as the first; negatives beyond the second are
            drawn only if none is nearer.

    Raises:
        InputError: A rule is unknown, or the cut-offs are not 0 < first < second < 2.

    Example:
        >>> Mining.named("hard")
        Mining(positive='hard', negative='hard', cutoffs=(0.5, 1.4))
    """

    positive: PositiveRule = "all"
    negative: NegativeRule = "all"
    cutoffs: tuple[float, float] = (0.5, 1.4)

    def __post_init__(self) -> None:
        for part, known in (
            ("positive", get_args(PositiveRule)),
            ("negative", get_args(NegativeRule)),
        ):
            check_choice(f"{part} rule", getattr(self, part), known)
        if not isinstance(self.cutoffs, tuple | list) or len(self.cutoffs) != 2:
            raise InputError(f"cutoffs must be two distances, given {shown(self.cutoffs)}")
        for cutoff in self.cutoffs:
            check_number("each of cutoffs", cutoff, Range(above=0, below=2))
        if self.cutoffs[0] >= self.cutoffs[1]:
            raise InputError(f"cutoffs must rise, given {self.cutoffs}")

    @classmethod
    def named(cls, mining: MiningRule | Mining) -> Mining:
        """Returns the preset of that name; a `Mining` is returned unchanged.

        Raises:
            InputError: No preset has that name; the message names the nearest.
        """
        if isinstance(mining, Mining):
            return mining
        check_choice("mining rule", mining, PRESETS)
        return PRESETS[mining]

    @property
    def draws(self) -> bool:
        """Whether the rule draws at random, and so depends on the seed."""
        return self.positive in ("random", "moderate") or self.negative in (
            "random",
            "violating",
            "weighted",
        )

    @property
    def needs_margin(self) -> bool:
        """Whether the choice itself, not only the loss, depends on the margin."""
        return self.negative in ("semihard-band", "violating")

    @property
    def keeps_all(self) -> bool:
        """Whether the rule selects every valid triplet."""
        return self.positive == "all" and self.negative == "all"

    @property
    def takes_nearest_negative(self) -> bool:
        """Whether each positive that the rule selects has one negative, the nearest, or nearest beyond it.

        The engine has fast implementations of these rules.
        """
        nearest = self.negative in ("hard", "semihard", "semihard-strict")
        return nearest and self.positive in ("all", "hard", "easy")


PRESETS: Mapping[MiningRule, Mining] = MappingProxyType(
    {
        "all": Mining("all", "all"),
        "hard": Mining("hard", "hard"),
        "semihard": Mining("all", "semihard"),
        "semihard-strict": Mining("all", "semihard-strict"),
        "semihard-band": Mining("all", "semihard-band"),
        "violating": Mining("unordered", "violating"),
        "random": Mining("random", "random"),
        "random-negative": Mining("all", "random"),
        "moderate": Mining("moderate", "semihard"),
        "weighted": Mining("all", "weighted"),
        "easy-positive-hard": Mining("easy", "hard"),
        "easy-positive-semihard": Mining("easy", "semihard"),
    }
)
"""The mining rules with an established name."""


@dataclass(frozen=True)
class Triplets:
    """Chosen triplets, one a row: sorted by anchor, then positive, then negative.

    Attributes:
        anchor: Row of each anchor among the embeddings.
        positive: Row of each positive among the references (by default the embeddings).
        negative: Row of each negative among the references.
    """

    anchor: Int64[Tensor, " t"]
    positive: Int64[Tensor, " t"]
    negative: Int64[Tensor, " t"]

    def __len__(self) -> int:
        return len(self.anchor)


@dataclass(frozen=True)
class Census:
    """How many of all valid triplets are easy, semi-hard, hard and active, and the mean distances of pairs.

    Attributes:
        easy: Triplets with d_an ≥ d_ap + α.
        semihard: Triplets with d_ap < d_an < d_ap + α.
        hard: Triplets with d_an ≤ d_ap.
        active: Triplets whose hinge loss is above 0, that is d_an < d_ap + α; counted apart.
        mean_positive_distance: Mean d_ap over the positive pairs of valid triplets; NaN without any.
        mean_negative_distance: Mean d_an over the negative pairs of valid triplets; NaN without any.
    """

    easy: int
    semihard: int
    hard: int
    active: int
    mean_positive_distance: float
    mean_negative_distance: float

    @property
    def triplets(self) -> int:
        """The number of valid triplets: easy, semi-hard and hard together."""
        return self.easy + self.semihard + self.hard

    @property
    def active_share(self) -> float:
        """The share of valid triplets that are active, in [0, 1]; 0 where there are none."""
        return self.active / self.triplets if self.triplets else 0.0
