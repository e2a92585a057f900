"""Are these two the same? Verification with an encoder alone, or against an identity of a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trine.errors import Argument, InputError
from trine.gallery.decision import Threshold, Verification, required_threshold, threshold_of
from trine.gallery.embedding import Embedder, EmbeddingEncoder
from trine.gallery.entries import Vector, as_rows, check_name, unknown_identity
from trine.gallery.index import scores_between
from trine.gallery.store import Scope, Store


def verify(encoder: EmbeddingEncoder, a: Any, b: Any, *, threshold: float | None = None) -> Verification:
    """Decides whether two items show the same identity.

    Args:
        encoder: Embeds the items.
        a: An item for the encoder: an image, a vector, a path.
        b: A second item.
        threshold: The largest distance that is accepted; the encoder's by default.

    Returns:
        The decision, with its score, threshold and false-accept rate.

    Raises:
        CalibrationError: The encoder has no threshold and none is passed.
        GalleryError: An embedding is not finite.

    Example:
        >>> import numpy as np
        >>> from types import SimpleNamespace
        >>> class Identity:  # in practice, a trine encoder
        ...     fingerprint, distance, calibration = "identity", "euclidean", None
        ...     settings = SimpleNamespace(dimension=2)
        ...     embed = staticmethod(lambda items: np.array(items, dtype=np.float32))
        >>> print(verify(Identity(), [0.0, 1.0], [0.0, 3.0], threshold=0.5))
        different (distance 2.00, threshold 0.50)
    """
    limit = required_threshold(threshold, threshold_of(None, encoder.calibration), "the encoder")
    names = [str(item) if isinstance(item, str | Path) else "an item" for item in (a, b)]
    rows = as_rows(encoder.embed([a, b]), dimension=encoder.settings.dimension, names=names)
    score = scores_between(rows[:1], rows[1:], distance=encoder.distance).item()
    return Verification(**limit.decide(score))


def verify_probes(
    store: Store,
    embedder: Embedder,
    limit: Threshold,
    probe: tuple[Any, Vector | None],
    other: tuple[Any, Vector | None],
    identity: str | None,
) -> Verification:
    """Compares a probe with another probe, or with an identity of a gallery; see `Gallery.verify`.

    Args:
        store: The gallery.
        embedder: Embeds the probes.
        limit: The threshold.
        probe: An item for the encoder, or its embedding.
        other: The second item or its embedding, unless an identity is claimed.
        identity: The claimed identity.
    """
    if sum(given is not None for given in (*other, identity)) != 1:
        parts = ("verify compares a probe with one thing: pass b, ", Argument("other_embedding"), " or ")
        raise InputError(*parts, Argument("identity"))
    row = embedder.probe(*probe)
    if identity is None:
        score = scores_between(row, embedder.probe(*other), distance=store.binding.distance).item()
    else:
        scope = Scope(only=frozenset([check_name(identity, "identity")]))
        (hits,) = store.search(row, k=1, scope=scope)
        if not hits:
            raise unknown_identity(identity, store.identities(), store.address)
        score = hits[0].score
    return Verification(**limit.decide(score), claim=identity)
