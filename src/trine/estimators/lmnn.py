"""Large margin nearest neighbours: a linear map for the k-nearest-neighbour rule (Weinberger, Saul 2009)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal, Self

import numpy as np

from trine.errors import InputError, check_choice, check_count, require
from trine.estimators.energy import Neighbourhoods, lowest_energy
from trine.estimators.knn_mixin import KnnMixin, neighbour_classes
from trine.estimators.large_margin import (
    LargeMargin,
    descend,
    find_targets,
    squared_distances,
    steps_of_map,
    steps_of_metric,
)
from trine.settings import Range, check_number
from trine.shapes import Float, Int64, Shaped

Solver = Literal["linear", "convex"]
"""What is optimised: the map itself, or its metric, which is convex."""


EVERY: Mapping[Solver, int] = {"linear": 5, "convex": 20}
"""How many steps are taken before the impostors are searched again."""


SQUARED = (1e-100, 1e100)
"""Between these the squares of numbers, and sums of them, are exact enough."""

SMALLEST = 1e-290
"""The smallest number whose inverse can be multiplied further."""


class LMNN(KnnMixin):
    """A linear map under which the nearest neighbours of an item are of its class.

    Each item is pulled to its `n_neighbors` nearest of the same class, and every item of another class is
    pushed out of their reach, by a margin (Weinberger, Saul 2009, "Distance metric learning for large
    margin nearest neighbor classification"). Impostors are found exactly, and only they enter the
    computation.

    Args:
        n_neighbors: How many targets each item has, and how many neighbours vote; at least 1. Smaller classes
            have fewer.
        n_components: The dimension of the output; by default that of the input.
        regularization: μ in (0, 1): how much pushing counts against pulling. An item has few targets and may
            have hundreds of impostors, so that at the paper's ½ the pull has little effect; 0.1 is more
            accurate.
        passes: How often targets are chosen: first among the input rows, then again under the learned map.
        solver: `"linear"` optimises the map by L-BFGS from principal components; `"convex"` its metric by
            projected gradients: slower, for tens of dimensions, and without local minima.
        max_iter: The most steps of a pass.
        tol: A pass ends when five steps (`"convex"`: twenty) improve the objective by a smaller share than
            this.

    Attributes:
        components_: (n_components, features) the map.
        mean_: (features,) what is subtracted first; distances do not depend on it.
        classes_: The classes.
        objective_: The final value of the objective.
        n_iter_: The number of steps.

    Example:
        >>> random = np.random.default_rng(0)
        >>> y = np.repeat([0, 1], 50)
        >>> x = np.stack([y + 0.2 * random.normal(size=100), 9 * random.normal(size=100)], axis=1)
        >>> LMNN(n_neighbors=3).fit(x, y).score(x, y) > 0.95
        True
    """

    dtypes = (np.float64,)

    def __init__(
        self,
        n_neighbors: int = 3,
        *,
        n_components: int | None = None,
        regularization: float = 0.1,
        passes: int = 1,
        solver: Solver = "linear",
        max_iter: int = 1000,
        tol: float = 1e-2,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.n_components = n_components
        self.regularization = regularization
        self.passes = passes
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Float[np.ndarray, "n d"], y: Shaped[np.ndarray, " n"]) -> Self:  # noqa: N803
        """Learns the map.

        Args:
            X: One row per item.
            y: The class of each.

        Returns:
            The estimator itself.

        Raises:
            InputError: A setting is out of range.
            ValueError: The arrays do not fit, or hold fewer than two classes.

        Warns:
            ConvergenceWarning: A pass took `max_iter` steps.
        """
        x, classes = self._labelled_rows(X, y)
        self._check(x.shape[1])
        scale = _scale(x)
        x = x * scale
        mean = x.mean(0)
        x = x - mean
        self.components_ = principal_components(x, self.n_components or x.shape[1])
        self.n_iter_, self.objective_ = 0, 0.0
        for _ in range(self.passes):
            targets = find_targets(x @ self.components_.T, classes, k=self.n_neighbors)
            item, rank = np.nonzero(targets >= 0)
            if not len(item):
                break  # every class has one item: there are no targets
            goal = LargeMargin(x, item, targets[item, rank], self.regularization)
            start = self.components_ / _spread(goal, self.components_)
            self.components_, self.objective_, taken, converged = descend(
                goal,
                classes,
                start=start,
                steps=steps_of_map(goal) if self.solver == "linear" else steps_of_metric(goal),
                every=EVERY[self.solver],
                max_iter=self.max_iter,
                tol=self.tol,
            )
            self.n_iter_ += taken
            if not converged:
                warnings.warn(
                    f"LMNN stopped after max_iter={self.max_iter} steps, before its objective improved by "
                    f"less than tol={self.tol:g}; raise max_iter or tol, or standardise the columns",
                    require("sklearn.exceptions", extra="train").ConvergenceWarning,
                    stacklevel=2,
                )
        self._known = Neighbourhoods.of(x @ self.components_.T, classes, k=self.n_neighbors)
        self.mean_, self.components_ = mean / scale, self.components_ * scale
        return self

    def transform(self, X: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m e"]:  # noqa: N803
        """Maps rows: Euclidean distances after it are the learned ones.

        Args:
            X: One row per item.

        Returns:
            The mapped rows.
        """
        mapped: np.ndarray = (self._rows(X) - self.mean_) @ self.components_.T
        return mapped

    def predict(
        self,
        X: Float[np.ndarray, "m d"],  # noqa: N803
        *,
        by: Literal["neighbours", "energy"] = "neighbours",
    ) -> Shaped[np.ndarray, " m"]:
        """Predicts the class of new items.

        Args:
            X: One row per item.
            by: `"neighbours"`: the vote of the nearest `n_neighbors`, where a tie goes to the class of the
                nearest item; `"energy"`: the class that would cost the objective least (§4, eq. 16).

        Returns:
            A class for each.

        Raises:
            InputError: `by` is unknown.
        """
        check_choice("by", by, ("neighbours", "energy"))
        if by == "energy":
            found = lowest_energy(self.transform(X), self._known, regularization=self.regularization)
            predicted: np.ndarray = self.classes_[found]
            return predicted
        return super().predict(X)

    def _neighbour_classes(self, X: Float[np.ndarray, "m d"]) -> Int64[np.ndarray, "m k"]:  # noqa: N803
        return neighbour_classes(self.transform(X), self._known.rows, self._known.classes, k=self.n_neighbors)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _check(self, features: int) -> None:
        for name in ("n_neighbors", "passes", "max_iter"):
            check_count(name, getattr(self, name))
        check_number("regularization", self.regularization, Range(above=0, below=1))
        check_number("tol", self.tol, Range(at_least=0))
        if self.n_components is not None and check_count("n_components", self.n_components) > features:
            raise InputError(f"n_components must be from 1 to {features}, given {self.n_components}")
        check_choice("solver", self.solver, EVERY)


def _scale(x: Float[np.ndarray, "n d"]) -> float:
    """A factor that gives numbers a square; a power of two, so that no digit changes."""
    size = float(np.abs(x).max())
    if size == 0 or SQUARED[0] < size < SQUARED[1]:
        return 1.0
    if size < SMALLEST:
        raise InputError(f"LMNN needs a number of at least {SMALLEST:g} in X, given {size:g}; scale it")
    return float(2.0 ** -np.frexp(size)[1])


def principal_components(x: Float[np.ndarray, "n d"], count: int) -> Float[np.ndarray, "c d"]:
    """The orthonormal directions in which rows around 0 spread most, for any number of rows."""
    _, vectors = np.linalg.eigh(x.T @ x)
    return np.ascontiguousarray(vectors[:, ::-1][:, :count].T)


def _spread(goal: LargeMargin, components: Float[np.ndarray, "e d"]) -> float:
    """The root mean square distance of targets: dividing by it makes the margin of 1 as wide at the start."""
    mean = squared_distances(goal.x @ components.T, goal.item, goal.target).mean()
    return float(np.sqrt(mean)) or 1.0
