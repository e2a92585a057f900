"""Detection before an encoder: photos become the aligned faces that it embeds.

Galleries know nothing of detection: what they enrol and answer are the items of the data set made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trine.data import Dataset
from trine.errors import Argument, DataError, InputError
from trine.faces import SIDES, Alignment, DetectionReport, FaceCrops, FaceDetector, FacePolicy, detect_faces
from trine.faces.detect import FACE_COLUMNS as FACE_COLUMNS
from trine.pipelines.trained_run import TrainedRun
from trine.training import Recipe

LARGEST_SIDE = 512


def takes_faces(encoder: Any) -> bool:
    """Whether an encoder takes aligned faces, so that photos need detection first.

    Args:
        encoder: The encoder of a model folder, a run or a gallery.
    """
    return getattr(getattr(encoder, "settings", None), "alignment", None) is not None


def aligned_sides(encoder: Any) -> frozenset[int]:
    """The sides, in pixels, of square pictures that an encoder takes as aligned faces.

    Args:
        encoder: The encoder of a model folder, a run or a gallery.
    """
    settings = getattr(encoder, "settings", None)
    own = tuple(getattr(settings, "shape", ()))[1:2] if takes_faces(encoder) else ()
    return frozenset((SIDES[getattr(settings, "alignment", None) or "dlib"], *own))


def faces_for(
    encoder: Any,
    photos: Dataset,
    *,
    detect: bool | None = None,
    detector: FaceDetector | None = None,
    policy: FacePolicy | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Dataset, DetectionReport | None]:
    """Makes a data set of the faces on photos, as an encoder takes them.

    Images of exactly the encoder's input size, and of the side that `find_faces` writes (150 pixels, or 112
    as ArcFace takes them), count as aligned faces, and are not detected again; for an encoder that does not
    take faces, only the latter.

    Args:
        encoder: What will embed the faces.
        photos: The photos.
        detect: Whether to detect; None does where the encoder takes faces and the data is of images.
        detector: Finds the faces.
        policy: Which faces count.
        progress: Called with the number of photos that are done.

    Returns:
        The faces, and what was found; the data as it was given and None where nothing is detected.

    Raises:
        InputError: Detection is asked for, but the encoder or the data is not of images.
        DataError: A photo cannot be read.
        MissingDependencyError: A package is not installed.
    """
    if detect is None:
        detect = takes_faces(encoder) and photos.kind == "images"
    if not detect:
        return photos, None
    settings = getattr(encoder, "settings", None)
    kind = getattr(settings, "kind", "images")
    if kind != "images" or photos.kind != "images":
        what = f"the model takes {kind}" if kind != "images" else f"the data holds {photos.kind}"
        raise InputError(f"faces are found on photos, but {what}: leave ", Argument("detect"), " out")
    shape = tuple(getattr(settings, "shape", ()))
    alignment: Alignment = getattr(settings, "alignment", None) or "dlib"
    return detect_faces(
        photos,
        detector=detector,
        policy=policy,
        alignment=alignment,
        side=min(max([SIDES[alignment], *shape[1:]]), LARGEST_SIDE),
        aligned_sides=aligned_sides(encoder),
        progress=progress,
    )


def needs_faces(photos: Dataset, recipe: Recipe) -> bool:
    """Whether a recipe trains on the faces of photos, and they are not found yet."""
    if isinstance(photos.items, FaceCrops):
        return False
    if recipe.data.detect is None:
        return recipe.encoder.alignment is not None and photos.kind == "images"
    return recipe.data.detect


def training_faces(
    photos: Dataset, recipe: Recipe, *, progress: Callable[[int], None] | None = None
) -> tuple[Dataset, DetectionReport | None]:
    """Makes a data set of the largest face of each photo, for a recipe that trains on faces.

    Args:
        photos: The photos; names and identities stay.
        recipe: The recipe; `data.detect` says whether to detect.
        progress: Called with the number of photos that are done.

    Returns:
        The faces, and what was found; the data as it was given and None where nothing is detected.

    Raises:
        DataError: A photo cannot be read, or no face was found.
        InputError: Detection is asked for, and the items are not images.
        MissingDependencyError: A package is not installed.
    """
    if not needs_faces(photos, recipe):
        return photos, None
    alignment, policy = recipe.encoder.alignment or "dlib", FacePolicy(several="largest")
    faces, report = detect_faces(photos, policy=policy, alignment=alignment, progress=progress)
    if not len(faces):
        raise DataError(
            f"none of {len(photos):,} photos shows a face that can be seen well ({report.photos[0].photo}: "
            f"{report.photos[0].why_not}); if they are aligned faces already, set data.detect to false"
        )
    return faces, report


def faces_as_trained(run: TrainedRun, photos: Dataset) -> Dataset:
    """Makes the data set that a run would have been trained on: of faces, where it was trained on faces.

    Args:
        run: The run, or a model folder.
        photos: The photos, or any other data, which stays as it is.

    Raises:
        DataError: A photo cannot be read, or no face was found.
        MissingDependencyError: A package is not installed.
    """
    if run.recipe is not None:
        return training_faces(photos, run.recipe)[0]
    if isinstance(photos.items, FaceCrops):
        return photos
    return faces_for(run.encoder, photos, policy=FacePolicy(several="largest"))[0]


def photo_of(item: str) -> str:
    """The name of the photo of an item that `detect_faces` named.

    Example:
        >>> photo_of("ann/1.jpg#2"), photo_of("ann/1.jpg")
        ('ann/1.jpg', 'ann/1.jpg')
    """
    photo, mark, number = item.rpartition("#")
    return photo if mark and number.isdecimal() else item


def items_of(photos: Iterable[str], items: Iterable[str]) -> list[str]:
    """Those of some items that are faces on photos, so that a sync leaves them as they are.

    Args:
        photos: Names of photos that cannot be read now; a folder's name ends with a slash.
        items: The items of a gallery.

    Returns:
        The photos, and the items on them.
    """
    names = dict.fromkeys(photos)
    names |= dict.fromkeys(item for item in items if photo_of(item) in names)
    return list(names)
