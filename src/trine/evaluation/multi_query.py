"""The cameras of probes, and pooling several probes of one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.errors import InputError
from trine.labels import Labels, checked, joint_codes
from trine.shapes import Bool, Float, Int64


@dataclass(frozen=True, eq=False)
class Cameras:
    """The cameras of both sides.

    Attributes:
        probes: The number of each probe's camera.
        gallery: That of each row of the gallery.
    """

    probes: Int64[np.ndarray, " n"]
    gallery: Int64[np.ndarray, " m"]

    def same(
        self, probes: Int64[np.ndarray, " q"], gallery: Int64[np.ndarray, "q p"]
    ) -> Bool[np.ndarray, "q p"]:
        """Which listed rows of the gallery are from the camera of the probe."""
        found: np.ndarray = self.gallery[gallery] == self.probes[probes, None]
        return found


def joint_cameras(
    probes: Labels | None, gallery: Labels | None, probe_count: int, gallery_count: int
) -> Cameras | None:
    """Numbers the cameras of both sides; None where none are given.

    Raises:
        InputError: Only one side has cameras, or too few.
    """
    if probes is None and gallery is None:
        return None
    if probes is None or gallery is None:
        raise InputError("probe_cameras and gallery_cameras go together; give both, or neither")
    names = ("probe_cameras", "gallery_cameras")
    sides = (
        checked(probes, items=probe_count, name=names[0]),
        checked(gallery, items=gallery_count, name=names[1]),
    )
    return Cameras(*joint_codes(*sides, names=names)[1:])


def pooled(
    rows: Float[Tensor, "n d"], identity: Int64[np.ndarray, " n"], cameras: Int64[np.ndarray, " n"] | None
) -> tuple[Float[Tensor, "g d"], Int64[np.ndarray, " g"]]:
    """Takes the mean of the rows of each identity and camera.

    Args:
        rows: One row per image.
        identity: Who it shows.
        cameras: Where it was taken; None for one camera.

    Returns:
        The means, by the first row of each, and those rows' numbers.
    """
    keys = np.stack([identity, np.zeros_like(identity) if cameras is None else cameras])
    _, first, group = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = torch.from_numpy(np.argsort(order)[group.reshape(-1)]).to(rows.device)
    sums = torch.zeros(len(first), rows.shape[1], dtype=torch.float64, device=rows.device)
    sums.index_add_(0, place, rows.double())
    counts = torch.bincount(place, minlength=len(first))
    return (sums / counts[:, None]).to(rows.dtype), first[order]
