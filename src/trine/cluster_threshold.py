"""How to cluster the embeddings of a model: the linkage and the threshold, chosen for this purpose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from trine.clustering import Method
from trine.distances import Distance, check_distance
from trine.errors import InputError, ModelError, check_choice, check_count, nearest

ClusterMetric = Literal["bcubed_f", "pairwise_f"]
"""The metric by which a threshold is chosen."""

MOST_ALL_PAIRS = 10_000
"""Up to so many items, clusters are made from the distances of all pairs (0.4 GB) unless asked otherwise."""

Knot = tuple[float, float]
"""A number of items, and the threshold for that many."""


@dataclass(frozen=True)
class LinkageThreshold:
    """The threshold of one linkage, and how it changes with the number of items.

    Attributes:
        threshold: The best threshold for the items it was chosen on.
        score: The metric there, in [0, 1].
        clusters: How many clusters it made.
        by_items: Numbers of items, ascending, each with its threshold: the more items, the smaller.

    Raises:
        InputError: A number is out of range, or the numbers of items do not ascend.
    """

    threshold: float
    score: float
    clusters: int
    by_items: tuple[Knot, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_items", tuple((float(n), float(t)) for n, t in self.by_items))
        numbers = [number for number, _ in self.by_items]
        thresholds = [self.threshold, *(threshold for _, threshold in self.by_items)]
        if not self.by_items or sorted(set(numbers)) != numbers or numbers[0] <= 0:
            raise InputError(f"by_items must hold ascending numbers of items above 0, given {numbers}")
        if not all(math.isfinite(threshold) and threshold >= 0 for threshold in thresholds):
            raise InputError(f"thresholds must be finite distances of at least 0, given {thresholds}")
        if not 0 <= self.score <= 1:
            raise InputError(f"score must be from 0 to 1, given {self.score}")
        check_count("clusters", self.clusters)

    def at(self, items: int) -> float:
        """Returns the threshold for a number of items.

        Between the knots the threshold is linear in the logarithm of the number. Beyond the last one it
        falls on as it did before, as a power of the number; before the first one it stays.

        Args:
            items: How many items to cluster, at least 1.

        Raises:
            InputError: The number is below 1.

        Example:
            >>> found = LinkageThreshold(0.4, 0.8, 30, ((100, 0.5), (200, 0.4), (400, 0.32)))
            >>> [round(found.at(items), 3) for items in (10, 100, 200, 400, 800)]
            [0.5, 0.5, 0.4, 0.32, 0.256]
        """
        number, (numbers, thresholds) = math.log(check_count("items", items)), np.array(self.by_items).T
        logs = np.log(numbers)
        if number > logs[-1] and len(logs) > 1 and thresholds[-1] > 0:
            # Over several doublings: two thresholds that are next to each other say little about the slope.
            before = max(len(logs) - 4, 0)
            fall = math.log(thresholds[-1] / thresholds[before]) / (logs[-1] - logs[before])
            return float(thresholds[-1] * math.exp(min(fall, 0.0) * (number - logs[-1])))
        return float(np.interp(number, logs, thresholds))


@dataclass(frozen=True)
class ClusterThreshold:
    """How to cluster embeddings: linkage and threshold with the best score on some labelled items.

    Attributes:
        linkage: The linkage with the best score, as for `trine.clustering.cluster`.
        linkages: The threshold of each linkage that was tried.
        metric: The metric that was maximised.
        distance: The distance that the thresholds apply to.
        items: How many items they were chosen on.
        identities: How many identities these had.
        alone: The metric with every item alone.
        all_in_one: The metric with all items in one cluster.

    Raises:
        InputError: A linkage, metric or distance is unknown, or a number is out of range.

    Example:
        >>> found = ClusterThreshold(
        ...     linkage="average",
        ...     linkages={"average": LinkageThreshold(0.4, 0.8, 30, ((200, 0.4), (400, 0.35)))},
        ...     metric="bcubed_f", distance="euclidean", items=200, identities=25, alone=0.2, all_in_one=0.1,
        ... )
        >>> found.at(400)
        0.35
        >>> print(found)
        average linkage at 0.400 for 200 items (BCubed F 0.800; alone 0.200, all in one 0.100)
        >>> ClusterThreshold.from_json(found.to_json()) == found
        True
    """

    linkage: Method
    linkages: Mapping[Method, LinkageThreshold]
    metric: ClusterMetric
    distance: Distance
    items: int
    identities: int
    alone: float
    all_in_one: float

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, get_args(ClusterMetric))
        check_distance(self.distance)
        for linkage in self.linkages:
            check_choice("linkage", linkage, get_args(Method))
        if self.linkage not in self.linkages:
            raise InputError(
                f"linkages must hold {self.linkage!r}, given {', '.join(self.linkages) or 'none'}"
            )
        for name in ("items", "identities"):
            check_count(name, getattr(self, name))
        for name in ("alone", "all_in_one"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, given {getattr(self, name)}")

    @property
    def score(self) -> float:
        """The metric of the best linkage at its threshold."""
        return self.linkages[self.linkage].score

    def at(self, items: int, linkage: Method | None = None) -> float:
        """Returns the threshold for a number of items.

        Args:
            items: How many items to cluster, at least 1.
            linkage: Any linkage that was tried; the best one by default.

        Raises:
            InputError: The linkage was not tried, or the number is below 1.
        """
        linkage = self.linkage if linkage is None else linkage
        if linkage not in self.linkages:
            raise InputError(
                f"there is no threshold for {linkage!r}, only for {', '.join(self.linkages)}; choose one of "
                "these, or choose the threshold again with more linkages"
            )
        return self.linkages[linkage].at(items)

    def linkage_for(self, items: int) -> Method:
        """Returns the best linkage that is feasible for a number of items.

        Args:
            items: How many items to cluster.

        Returns:
            The best one; above 10,000 items `"connected"`, if it was tried.
        """
        return "connected" if items > MOST_ALL_PAIRS and "connected" in self.linkages else self.linkage

    def to_json(self) -> dict[str, object]:
        """Returns the fields as JSON values."""
        linkages = {
            name: {**asdict(each), "by_items": [list(knot) for knot in each.by_items]}
            for name, each in self.linkages.items()
        }
        return {**vars(self), "linkages": linkages}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ClusterThreshold:
        """Reads what `to_json` wrote.

        Args:
            fields: The parsed JSON object.

        Raises:
            ModelError: A field is missing, unknown, of another type or out of range.
        """
        known = cls.__dataclass_fields__
        for name in fields:
            if name not in known:
                raise ModelError(f"unknown field {name!r} in a cluster threshold: {nearest(name, known)}")
        try:
            linkages = {name: LinkageThreshold(**each) for name, each in fields["linkages"].items()}
            return cls(**{**fields, "linkages": linkages})
        except (AttributeError, InputError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the cluster threshold is invalid ({error}); choose it again with trine evaluate --calibrate"
            ) from error

    def __str__(self) -> str:
        best = self.linkages[self.linkage]
        name = {"bcubed_f": "BCubed F", "pairwise_f": "pairwise F"}[self.metric]
        return (
            f"{self.linkage} linkage at {best.threshold:.3f} for {self.items:,} items ({name} "
            f"{best.score:.3f}; alone {self.alone:.3f}, all in one {self.all_in_one:.3f})"
        )
