"""`trine gallery`: creates, lists, changes and checks galleries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import JSON, agreed, echo, echo_json, items, pick, policy_argument
from trine.cli.detection import DETECT, detected
from trine.cli.gallery_address import (
    DTYPE,
    ENCODER,
    GALLERY_ARGUMENT,
    THRESHOLD,
    address_of,
    existing,
    is_server,
    model_folder,
    opened,
)
from trine.cli.parser import argument, verb
from trine.errors import DataError, SettingError

if TYPE_CHECKING:
    from trine.data import Dataset
    from trine.gallery import GalleryCalibration
    from trine.rates import RateCurve


@verb(
    GALLERY_ARGUMENT,
    argument("--encoder", metavar="RUN", help="the run or model folder of the encoder"),
    argument("--dimension", type=int, help="the length of embeddings that are computed elsewhere"),
    argument("--fingerprint", help="identifies the model behind them: any text that changes with the model"),
    argument("--distance", help="the distance they are compared by: euclidean or cosine"),
    THRESHOLD,
    DTYPE,
)
def create(settings: Any) -> None:
    """Create an empty gallery, bound to an encoder.

    trine gallery create people --encoder runs/faces --dtype int8
    trine gallery create rows --dimension 128 --fingerprint 'facenet 1.2' --distance cosine
    """
    from trine import Gallery, load

    if settings.encoder is None and None in (settings.dimension, settings.fingerprint):
        raise SettingError(
            "a gallery is bound to the model of its embeddings; pass --encoder, or --dimension and "
            "--fingerprint"
        )
    with Gallery.open(
        address_of(settings.gallery),
        encoder=None if settings.encoder is None else load(settings.encoder),
        model=None if settings.encoder is None else model_folder(settings.encoder),
        exist_ok=False,
        **pick(settings, "dimension", "fingerprint", "distance", "threshold", "dtype"),
    ) as gallery:
        bound = gallery.binding
        echo(f"created {gallery.address}: {bound.dimension} numbers of {bound.dtype}, {bound.distance}")


@verb(
    GALLERY_ARGUMENT,
    argument("identity", nargs="?", help="list the items of this identity (default: all identities)"),
    JSON,
)
def list_(settings: Any) -> None:
    """List the identities, or the items of one identity.

    trine gallery list people
    trine gallery list people ann
    """
    with existing(settings.gallery) as gallery:
        if settings.identity is None:
            counts = gallery.identities()
            if settings.json:
                echo_json(counts)
            else:
                echo(*(f"{count:7,}  {name}" for name, count in counts.items()))
            return
        found = gallery.entries(settings.identity)
        listed = sorted(((one.item, one.metadata, one.source) for one in found), key=lambda row: row[0])
    for item, metadata, source in listed:
        if settings.json:
            echo_json({"item": item, "metadata": {**metadata}, "source": source})
        else:
            echo(item + "".join(f"  {key}={value}" for key, value in metadata.items()))


@verb(
    GALLERY_ARGUMENT,
    argument("item", nargs="+", help="items, as `trine gallery list GALLERY IDENTITY` names them"),
)
def remove(settings: Any) -> None:
    """Delete items by name.

    trine gallery remove people ann/1.jpg ann/2.jpg
    """
    with existing(settings.gallery) as gallery:
        for item in settings.item:
            gallery.get(item)  # all or none
        count = sum(gallery.remove(item) for item in settings.item)
        echo(f"{items(count)} removed; {gallery.address} holds {items(len(gallery))}")


@verb(GALLERY_ARGUMENT, argument("identity", help="the identity to delete"))
def forget(settings: Any) -> None:
    """Delete an identity and every trace of it from the gallery's files, with the crops made of its photos.

    trine gallery forget people ann
    """
    from trine.gallery.entries import unknown_identity
    from trine.pipelines import forget_person

    with existing(settings.gallery) as gallery:
        count = gallery.identities().get(settings.identity, 0)
        done = forget_person(gallery, settings.identity)
        if not done.items:
            raise unknown_identity(settings.identity, gallery.identities(), gallery.address)
        kept = " and what its model kept of it" if done.items > count else ""
        echo(
            f"{settings.identity} is forgotten, with {items(count)}{kept}; backups, copies and exported "
            f"tables of {gallery.address} may still hold them"
        )
        for crop in done.crops:
            echo(f"removed {crop}")
        if done.library is not None:
            echo(
                f"the tables, links and page of {done.library} were written again without {settings.identity}"
            )
        if done.crops:
            echo("your photos were not touched: delete them, or the next run finds the faces on them again")
        if is_server(gallery.address):
            echo("their bytes stay in the server's files until trine gallery repair wipes them")


@verb(GALLERY_ARGUMENT, argument("identity", help="current name"), argument("to", help="new name"))
def rename(settings: Any) -> None:
    """Rename an identity.

    trine gallery rename people anne ann
    """
    with existing(settings.gallery) as gallery:
        count = gallery.rename(settings.identity, settings.to)
        echo(f"renamed {settings.identity} to {settings.to}, with {items(count)}")


@verb(
    GALLERY_ARGUMENT,
    argument("identity", help="the identity to keep"),
    argument("other", help="the identity whose items are moved to it"),
)
def merge(settings: Any) -> None:
    """Merge two identities under the first name.

    trine gallery merge people ann anne
    """
    with existing(settings.gallery) as gallery:
        count = gallery.merge(settings.identity, settings.other)
        total = gallery.identities()[settings.identity]
        echo(f"moved {items(count)} of {settings.other} to {settings.identity}, which now has {items(total)}")


@verb(
    GALLERY_ARGUMENT,
    argument("item", nargs="+", help="items of one identity"),
    argument("--identity", required=True, help="the new identity to move them to"),
)
def split(settings: Any) -> None:
    """Move some items of an identity to a new one.

    trine gallery split people ann/3.jpg ann/4.jpg --identity zoe
    """
    with existing(settings.gallery) as gallery:
        count = gallery.split(settings.item, settings.identity)
        echo(f"moved {items(count)} to {settings.identity}, a new identity of {gallery.address}")


@verb(GALLERY_ARGUMENT, JSON)
def stats(settings: Any) -> None:
    """Count items, identities and bytes, and show how often strangers would be named.

    trine gallery stats people --json
    """
    with existing(settings.gallery) as gallery:
        found, threshold, model = gallery.stats(), gallery.threshold, gallery.model
        calibration, table = gallery.calibration(), gallery.rates()
    if settings.json:
        curve = None if table is None else table.table(points=50).tolist()
        values = {"threshold": threshold and threshold.value, "model": model}
        echo_json({**found.to_json(), **values, "calibration": calibration.to_json(), "fpir_curve": curve})
        return
    encoder = "no encoder folder" if model is None else f"encoder {model}"
    echo(found, "no threshold to verify by" if threshold is None else f"to verify: {threshold}")
    by_hand = threshold is not None and threshold.promise is None and not calibration.chosen
    own = f"{threshold} by hand; its own " if by_hand else ""
    echo(f"to identify: {own}{calibration}")
    if table is not None:
        echo(*curve_lines(table))
    echo(encoder)
    warn(calibration)


def warn(calibration: GalleryCalibration) -> None:
    """Prints what contradicts the model, if anything, on standard error."""
    if calibration.warning:
        echo(f"warning: {calibration.warning}", file=sys.stderr)


def curve_lines(rates: RateCurve) -> list[str]:
    """The threshold of each round rate that can be estimated, with its bound."""
    from trine.rates import ROUND_RATES, percent

    lines = ["  of strangers named   at most   state         threshold"]
    for rate in ROUND_RATES:
        if (chosen := rates.threshold(rate)) is not None:
            value, promise = chosen
            shares = f"{percent(promise.estimate):>18}   {percent(promise.bound):>7}"
            lines.append(f"  {shares}   {promise.state:<11}   {value:.3g}")
    return lines if len(lines) > 1 else []


@verb(
    GALLERY_ARGUMENT,
    argument("--fpir", type=float, default=0.01, help="the share of strangers to name (default: 0.01)"),
    argument("--strangers", metavar="DATA", help="measure with these people, who are not enrolled"),
    policy_argument("unreadable"),
    ENCODER,
    argument("--scoring", default="best", help="as for trine identify"),
    argument("--top", type=int, default=3, help="as for trine identify"),
    argument("--quality", help="as for trine identify"),
    *DETECT,
    JSON,
)
def calibrate(settings: Any) -> None:
    """Choose the threshold by how often strangers are named, and store it in the gallery.

    trine gallery calibrate people --fpir 0.01
    trine gallery calibrate people --fpir 0.001 --strangers visitors/
    """
    with opened(settings.gallery, settings.encoder) as gallery:
        strangers = None if settings.strangers is None else _strangers(settings, gallery.encoder)
        found = gallery.calibrate(**pick(settings, "fpir", "scoring", "top", "quality"), strangers=strangers)
        address = gallery.address
    if settings.json:
        echo_json(found.to_json())
    else:
        echo(f"{address}: {found}")
    warn(found)


def _strangers(settings: Any, encoder: object) -> Dataset:
    """People who are not enrolled; in a folder without subfolders each picture is of another one.

    Of photos the largest face counts.
    """
    from pathlib import Path

    from trine.data import LoadPolicy, load

    source, folder = settings.strangers, Path(settings.strangers)
    alone = folder.is_dir() and not any(path.is_dir() for path in folder.iterdir())
    data, report = load(source, labelled=not alone, policy=LoadPolicy(unreadable=settings.unreadable))
    if not settings.json:
        echo(report)
    if not settings.json and alone:
        echo(f"{source} has no subfolders: each of its {items(len(data))} counts as another person")
    data, found = detected(settings, encoder, data, several="largest", low_quality="refuse")
    if found is not None and not settings.json:
        echo(found)
    if not len(data):
        raise DataError(f"{source} holds no face that can be used: give photos of faces that are well seen")
    return data


@verb(GALLERY_ARGUMENT, JSON, extras=())
def check(settings: Any) -> int:
    """Read everything and report problems; the exit code is 1 if there are any.

    trine gallery check people
    """
    from trine.gallery.errors import DamagedBindingError

    address = address_of(settings.gallery)
    try:
        with existing(settings.gallery) as gallery:
            problems, address = gallery.check(), gallery.address
    except DamagedBindingError as error:
        problems = [str(error)]
    if settings.json:
        echo_json({"problems": problems})
    elif not problems:
        echo(f"{address}: no problems detected")
    else:
        echo(*problems, "fix it with: trine gallery repair")
    return 1 if problems else 0


@verb(
    GALLERY_ARGUMENT,
    argument("--yes", action="store_true", help="do not ask before deleting unreadable items"),
    argument("--drop-damaged", action="store_true", help="delete any number of unreadable items"),
)
def repair(settings: Any) -> None:
    """Fix what check finds, set unreadable items aside, and wipe traces of forgotten ones.

    trine gallery repair people --yes
    """
    from trine import Gallery
    from trine.gallery.errors import DamagedBindingError

    try:
        gallery = existing(settings.gallery)
    except DamagedBindingError as error:
        echo(str(error))
        echo(Gallery.repair_binding(address_of(settings.gallery)))
        gallery = existing(settings.gallery)
    with gallery:
        problems = gallery.check()
        echo(*problems)
        question = "unreadable items are deleted, after they were written to a file beside; continue?"
        if problems and not (settings.yes or agreed(question)):
            raise SettingError("nothing was repaired, because unreadable items would be deleted: add --yes")
        # A server may have traces to wipe although its tables have no problems.
        done = gallery.repair(drop_damaged=settings.drop_damaged)
        echo(*(done or [f"{gallery.address} needs no repair"]))
