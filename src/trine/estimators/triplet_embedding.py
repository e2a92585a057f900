"""An estimator that trains a network with the triplet loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np

from trine.data import Dataset, Vectors
from trine.data.table import narrowest
from trine.distances import Distance, check_distance
from trine.encoders import Encoder, EncoderRecipe
from trine.encoders.settings import MlpSettings
from trine.errors import InputError, check_choice, check_count, require
from trine.estimators.knn_mixin import KnnMixin, neighbour_classes
from trine.settings import Range, check_number
from trine.shapes import Float, Int64, Shaped
from trine.training import LossRecipe, Recipe, SamplerRecipe, TrainingRecipe, fit
from trine.triplets import Mining, MiningRule

AT_LEAST = {
    "n_components": 1,
    "n_neighbors": 1,
    "batch_size": 4,
    "identities": 2,
    "items": 2,
    "epochs": 1,
}
"""The least value of each count; None, where allowed, is chosen from the data."""

CHOSEN = ("identities", "items", "epochs")
"""The counts that may be None."""


class TripletEmbedding(KnnMixin):
    """A multilayer perceptron that maps items of one class closer together than items of different classes.

    Columns are standardised in float64, then go through the hidden layers and a linear head in float32. AdamW
    minimises the triplet loss over triplets from batches of some classes with some items each, as
    `trine.training.fit` does, here on arrays in memory.

    Args:
        n_components: The dimension of the output.
        hidden: The width of each hidden layer; none leaves a linear map.
        margin: α, how much closer the positive must be; None is the soft margin.
        mining: The rule that chooses the triplets of a batch, by name.
        distance: What is compared: `"euclidean"`, `"squared_euclidean"` or `"cosine"`.
        normalise: Whether rows of the output are scaled to length 1.
        batch_size: How many items a batch has, where `items` is None.
        identities: The classes in a batch; None takes all that there are, at most 32.
        items: The items of each class in a batch; None takes as many as make up `batch_size`.
        epochs: Passes over the items; None takes five passes, in 300 to 2,400 batches.
        learning_rate: The highest learning rate.
        weight_decay: Decoupled weight decay, on the matrices.
        n_neighbors: How many neighbours vote in `predict` and `score`.
        random_state: The seed, a number or a `RandomState`; the same number gives the same map. None draws
            a new seed each time.
        device: Where to train; `"auto"` takes a GPU if there is one.

    Attributes:
        encoder_: The trained encoder, as `trine.encoders.save` and the rest of trine take it.
        classes_: The classes.
        n_features_in_: The number of columns.

    Example:
        >>> random = np.random.default_rng(0)
        >>> y = np.repeat([0, 1], 60)
        >>> angle = random.uniform(0, 2 * np.pi, 120)
        >>> x = (1 + y)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        >>> TripletEmbedding(2).fit(x[::2], y[::2]).score(x[1::2], y[1::2]) > 0.9
        True
    """

    def __init__(
        self,
        n_components: int = 32,
        *,
        hidden: Sequence[int] = (128,),
        margin: float | None = 0.2,
        mining: MiningRule = "semihard",
        distance: Distance = "euclidean",
        normalise: bool = True,
        batch_size: int = 128,
        identities: int | None = None,
        items: int | None = None,
        epochs: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        n_neighbors: int = 3,
        random_state: Any = 0,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.margin = margin
        self.mining = mining
        self.distance = distance
        self.normalise = normalise
        self.batch_size = batch_size
        self.identities = identities
        self.items = items
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.n_neighbors = n_neighbors
        self.random_state = random_state
        self.device = device

    def fit(self, X: Float[np.ndarray, "n d"], y: Shaped[np.ndarray, " n"]) -> Self:  # noqa: N803
        """Learns the map.

        Args:
            X: One row per item.
            y: The class of each. A class of one item serves as a negative only.

        Returns:
            The estimator itself.

        Raises:
            InputError: A setting is out of range, or no class has two items.
            ValueError: The arrays do not fit, hold fewer than two classes, or values that are not classes.
        """
        x, classes = self._labelled_rows(X, y)
        self._check()
        names = tuple(f"row {row}" for row in range(len(x)))
        identities = tuple(str(name) for name in self.classes_)
        data = Dataset(Vectors(narrowest(x)), classes, identities, names)
        self.encoder_: Encoder = fit(data, self._recipe(len(self.classes_)), out=None)
        self._known = self.encoder_.embed(data), data.labels
        return self

    def transform(self, X: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m e"]:  # noqa: N803
        """Maps rows.

        Args:
            X: One row per item.

        Returns:
            The mapped rows, in the precision of `X`, to be compared by Euclidean distance (or by cosine
            distance, which ranks alike where `normalise` is true).
        """
        x = self._rows(X)
        return self.encoder_.embed(Vectors(x)).astype(x.dtype)

    def _neighbour_classes(self, X: Float[np.ndarray, "m d"]) -> Int64[np.ndarray, "m k"]:  # noqa: N803
        z = self.transform(X).astype(np.float32)
        return neighbour_classes(z, *self._known, k=self.n_neighbors, distance=self.distance)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.encoder_.settings.dimension

    def _recipe(self, classes: int) -> Recipe:
        seed = require("sklearn.utils", extra="train").check_random_state(self.random_state)
        identities = None if self.identities is None else min(self.identities, classes)
        return Recipe(
            seed=int(seed.randint(2**31 - 1)),
            encoder=EncoderRecipe(
                dimension=self.n_components,
                normalise=self.normalise,
                mlp=MlpSettings(hidden=tuple(self.hidden)),
            ),
            sampler=SamplerRecipe(identities=identities, items=self.items, batch=self.batch_size),
            loss=LossRecipe(margin=self.margin, distance=self.distance, mining=self.mining, reduction=None),
            training=TrainingRecipe(
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                device=self.device,
            ),
        )

    def _check(self) -> None:
        for name, least in AT_LEAST.items():
            given = getattr(self, name)
            if given is not None or name not in CHOSEN:
                check_count(name, given, at_least=least)
        required = {"learning_rate": Range(above=0), "weight_decay": Range(at_least=0)}
        if self.margin is not None:
            required["margin"] = Range(at_least=0)
        for name, allowed in required.items():
            check_number(name, getattr(self, name), allowed)
        if isinstance(self.hidden, str) or not isinstance(self.hidden, Iterable):
            raise InputError(f"hidden must list the width of each layer, given {self.hidden!r}")
        for width in self.hidden:
            check_count("each width of hidden", width)
        Mining.named(self.mining)
        check_distance(self.distance)
        check_choice("device", self.device, ("auto", "cpu", "cuda", "mps"))
