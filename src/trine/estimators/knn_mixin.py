"""What the estimators have in common: a map of rows, and the vote of neighbours under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trine.distances import Distance
from trine.errors import require
from trine.evaluation.knn_classification import majority_vote
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
    """A transformer that is learned from classes, and can say the class of new items."""

    def predict(self, X: Float[np.ndarray, "m d"]) -> Shaped[np.ndarray, " m"]:  # noqa: N803
        """Says the class of new items."""
        raise NotImplementedError

    def score(self, X: Float[np.ndarray, "m d"], y: Shaped[np.ndarray, " m"]) -> float:  # noqa: N803
        """The share of items whose class the vote of their nearest neighbours says.

        Args:
            X: One row per item.
            y: The class of each.

        Returns:
            The accuracy, in [0, 1].
        """
        return float(np.mean(self.predict(X) == np.asarray(y)))

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
    """Finds the class that most of the nearest are of; of several, the one whose item is the nearest.

    Args:
        z: One row per new item.
        rows: One row per known item.
        classes: The class of each known item.
        k: How many neighbours vote.
        distance: By what they are near.

    Returns:
        A class for each.

    Example:
        >>> known = np.array([[0.0], [1.0], [2.0]])
        >>> knn_vote(np.array([[0.1], [2.2]]), known, np.array([0, 1, 1]), k=1).tolist()
        [0, 1]
    """
    near = nearest_neighbours(z, rows, k=k, distance=distance).indices
    return majority_vote(classes[near])
