"""What the estimators share: checks of their input, and the vote of the nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trine.distances import Distance
from trine.errors import InputError, require
from trine.evaluation.knn_classification import majority_vote
from trine.labels import as_array, refuse_missing
from trine.neighbours import nearest_neighbours
from trine.shapes import Float, Int64, Shaped

if TYPE_CHECKING:

    class _Base:
        def __sklearn_tags__(self) -> Any: ...

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float: ...  # noqa: N803

else:
    _sklearn = require("sklearn.base", extra="train")

    class _Base(
        _sklearn.ClassNamePrefixFeaturesOutMixin,
        _sklearn.ClassifierMixin,
        _sklearn.TransformerMixin,
        _sklearn.BaseEstimator,
    ):
        """What scikit-learn expects of a classifier that also transforms."""


class KnnMixin(_Base):
    """A transformer that learns from classes and predicts the class of new items by their neighbours."""

    dtypes: ClassVar[tuple[type, ...]] = (np.float64, np.float32)
    """The precisions in which rows are taken as they are; others are converted to the first."""

    classes_: Shaped[np.ndarray, " c"]

    def predict(self, X: Float[np.ndarray, "m d"]) -> Shaped[np.ndarray, " m"]:  # noqa: N803
        """Predicts the class of new items by the vote of their `n_neighbors` nearest training items.

        Args:
            X: One row per item.

        Returns:
            A class for each; a tie goes to the class of the nearest item.
        """
        found = majority_vote(self._neighbour_classes(X))
        predicted: np.ndarray = self.classes_[found]
        return predicted

    def predict_proba(self, X: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m c"]:  # noqa: N803
        """Estimates the probability of each class: its share of the votes of the nearest training items.

        Args:
            X: One row per item.

        Returns:
            One row per item and one column per class of `classes_`; rows sum to 1. Where classes have equally
            many votes, the one with the nearer items has a billionth more.
        """
        classes = self._neighbour_classes(X)
        # Each vote outweighs all later ones together, so the largest share is the choice of `predict`.
        votes = 1 + 1e-9 * 0.5 ** np.arange(classes.shape[1])
        share = np.zeros((len(classes), len(self.classes_)))
        np.add.at(share, (np.arange(len(classes))[:, None], classes), votes / votes.sum())
        return share

    def _neighbour_classes(self, X: Float[np.ndarray, "m d"]) -> Int64[np.ndarray, "m k"]:  # noqa: N803
        """The classes of the training items nearest to each new item, nearest first."""
        raise NotImplementedError

    def _labelled_rows(
        self,
        X: Float[np.ndarray, "n d"],  # noqa: N803
        y: Shaped[np.ndarray, " n"],
    ) -> tuple[Float[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
        """Checks the training items, and numbers their classes from 0."""
        validation = require("sklearn.utils.validation", extra="train")
        if (given := as_array(y)).ndim:
            refuse_missing(given, name="y")
        x, y = validation.validate_data(self, X, y, dtype=self.dtypes, ensure_min_samples=2)
        require("sklearn.utils.multiclass", extra="train").check_classification_targets(y)
        self.classes_, classes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            name = type(self).__name__
            raise InputError(f"{name} needs items of at least two classes, given 1 class; add another class")
        return x, classes.astype(np.int64)

    def _rows(self, X: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:  # noqa: N803
        """Checks new items."""
        validation = require("sklearn.utils.validation", extra="train")
        validation.check_is_fitted(self)
        rows: np.ndarray = validation.validate_data(self, X, dtype=self.dtypes, reset=False)
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def neighbour_classes(
    z: Float[np.ndarray, "m e"],
    rows: Float[np.ndarray, "n e"],
    classes: Int64[np.ndarray, " n"],
    *,
    k: int,
    distance: Distance = "euclidean",
) -> Int64[np.ndarray, "m k"]:
    """Finds the classes of the nearest items, nearest first.

    Args:
        z: One row per new item.
        rows: One row per known item.
        classes: The class of each known item.
        k: How many neighbours, at most all.
        distance: The distance that ranks the known items.

    Returns:
        One row per new item.

    Example:
        >>> known = np.array([[0.0], [1.0], [2.0]])
        >>> neighbour_classes(np.array([[0.1], [2.2]]), known, np.array([0, 1, 1]), k=2).tolist()
        [[0, 1], [1, 1]]
    """
    near = nearest_neighbours(z, rows, k=min(k, len(rows)), distance=distance).indices
    found: np.ndarray = classes[near]
    return found
