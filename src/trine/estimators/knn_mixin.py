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

else:
    _sklearn = require("sklearn.base", extra="train")

    class _Base(_sklearn.ClassNamePrefixFeaturesOutMixin, _sklearn.TransformerMixin, _sklearn.BaseEstimator):
        """What scikit-learn expects of a transformer."""


class KnnMixin(_Base):
    """A transformer that learns from classes and predicts the class of new items."""

    dtypes: ClassVar[tuple[type, ...]] = (np.float64, np.float32)
    """The precisions in which rows are taken as they are; others are converted to the first."""

    classes_: Shaped[np.ndarray, " c"]

    def predict(self, X: Float[np.ndarray, "m d"]) -> Shaped[np.ndarray, " m"]:  # noqa: N803
        """Predicts the class of new items."""
        raise NotImplementedError

    def score(self, X: Float[np.ndarray, "m d"], y: Shaped[np.ndarray, " m"]) -> float:  # noqa: N803
        """Computes the share of items whose class is predicted correctly.

        Args:
            X: One row per item.
            y: The class of each.

        Returns:
            The accuracy, in [0, 1].
        """
        return float(np.mean(self.predict(X) == np.asarray(y)))

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


def knn_vote(
    z: Float[np.ndarray, "m e"],
    rows: Float[np.ndarray, "n e"],
    classes: Int64[np.ndarray, " n"],
    *,
    k: int,
    distance: Distance = "euclidean",
) -> Int64[np.ndarray, " m"]:
    """Predicts a class by the vote of the nearest items; a tie goes to the class of the nearest item.

    Args:
        z: One row per new item.
        rows: One row per known item.
        classes: The class of each known item.
        k: How many neighbours vote.
        distance: The distance that ranks the known items.

    Returns:
        A class for each.

    Example:
        >>> known = np.array([[0.0], [1.0], [2.0]])
        >>> knn_vote(np.array([[0.1], [2.2]]), known, np.array([0, 1, 1]), k=1).tolist()
        [0, 1]
    """
    near = nearest_neighbours(z, rows, k=k, distance=distance).indices
    return majority_vote(classes[near])
