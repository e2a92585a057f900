"""The threshold of a model, and what supports it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from trine.distances import Distance, check_distance
from trine.errors import InputError, ModelError, nearest


@dataclass(frozen=True)
class Calibration:
    """A distance up to which two items are taken for the same, and the false-accept rate it was chosen for.

    Attributes:
        threshold: Accept two items as the same when their distance is at most this.
        far: The false-accept rate that was asked for, in (0, 1): how many of all impostor pairs to accept.
        tar: The true-accept rate measured there, in [0, 1]: how many of all genuine pairs it accepts.
        identities: How many identities the pairs came from.
        impostor_pairs: How many pairs of different identities were measured.
        genuine_pairs: How many pairs of one identity were measured.
        provisional: Whether fewer than 30 identities, or fewer than 3 accepted impostor pairs to be
            expected, stand behind it: then the threshold is a guess, and the rate no promise.
        distance: The distance that the threshold is in.

    Example:
        >>> calibration = Calibration(
        ...     threshold=0.9, far=0.01, tar=0.8, identities=40, impostor_pairs=900, genuine_pairs=100,
        ...     provisional=False, distance="euclidean",
        ... )
        >>> Calibration.from_json(calibration.to_json()) == calibration
        True
    """

    threshold: float
    far: float
    tar: float
    identities: int
    impostor_pairs: int
    genuine_pairs: int
    provisional: bool
    distance: Distance

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise InputError(f"threshold must be a finite distance of at least 0, given {self.threshold}")
        if not 0 < self.far < 1:
            raise InputError(f"far must be a rate between 0 and 1, given {self.far}")
        if not 0 <= self.tar <= 1:
            raise InputError(f"tar must be a rate from 0 to 1, given {self.tar}")
        for name in ("identities", "impostor_pairs", "genuine_pairs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, given {getattr(self, name)}")
        check_distance(self.distance)

    def accepts(self, distance: float) -> bool:
        """Says whether two items at this distance are taken for the same."""
        return distance <= self.threshold

    def to_json(self) -> dict[str, object]:
        """The fields, as values that JSON knows."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Calibration:
        """Reads what `to_json` wrote.

        Args:
            fields: The parsed JSON object.

        Returns:
            The calibration.

        Raises:
            ModelError: A field is missing, unknown, of another type or out of range.
        """
        types = {
            "threshold": float, "far": float, "tar": float, "identities": int, "impostor_pairs": int,
            "genuine_pairs": int, "provisional": bool, "distance": str,
        }  # fmt: skip
        for name in fields:
            if name not in types:
                raise ModelError(f"unknown field {name!r} in a calibration: {nearest(name, types)}")
        for name, expected in types.items():
            if name not in fields:
                raise ModelError(f"the calibration lacks {name!r}; calibrate the model again")
            given = fields[name]
            fits = type(given) is expected or (expected is float and type(given) is int)
            if not fits:
                raise ModelError(f"calibration field {name!r} must be {expected.__name__}, given {given!r}")
        try:
            return cls(**fields)  # type: ignore[arg-type]
        except InputError as error:
            raise ModelError(f"a calibration cannot be used: {error}") from error
