"""The verbs that query a gallery: verify, identify, search."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import JSON, echo, echo_json, pick, policy_argument
from trine.cli.detection import DETECT, DRAW, NO_FACE, Asked, check_found, detected, no_face, questions
from trine.cli.drawing import Drawings, check_apart, check_picture, draw_verification
from trine.cli.gallery import warn
from trine.cli.gallery_address import ENCODER, GALLERY, THRESHOLD, opened
from trine.cli.parser import argument, verb
from trine.cli.where import HELP, conditions
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.data import Dataset
    from trine.gallery import Hit, Identification, Verification

AT_ONCE = 256
"""How many probes are read, embedded and answered together."""

HITS = (
    argument("-k", type=int, default=10, help="how many items to find (default: 10)"),
    argument("--where", action="append", default=[], metavar="CONDITION", help=HELP),
)
UNREADABLE = policy_argument("unreadable")
SCORING = "by an identity's nearest item (best, the default), the mean of its nearest, or its centroid"


def _probes(words: Sequence[str], encoder: object, settings: Any) -> Dataset:
    """Images by name, all items of one folder, table or .npz file, or texts themselves."""
    import os

    from trine.data import LoadPolicy, load, texts_of
    from trine.encoders import Encoder

    policy = LoadPolicy(missing="keep", duplicates="keep", unreadable=settings.unreadable)
    reads = isinstance(encoder, Encoder) and encoder.settings.kind == "texts"
    # A text may be empty, which as a path is the current folder, or too long for a file name.
    if reads and not any(os.path.exists(word) for word in words):  # noqa: PTH110
        return texts_of(words)
    source = words[0] if len(words) == 1 else list(words)
    data, report = load(source, policy=policy, labelled=False)
    for skipped in report.unreadable:
        echo(f"skipped: {skipped}", file=sys.stderr)
    return data


@verb(
    argument(
        "images", metavar="image", nargs="+", help="RUN and two images; with --gallery, one or two images"
    ),
    argument("--gallery", help=f"{GALLERY} whose encoder decides"),
    argument("--identity", help="the identity that the image claims to show"),
    ENCODER,
    THRESHOLD,
    UNREADABLE,
    *DETECT,
    DRAW,
    JSON,
)
def verify(settings: Any) -> None:
    """Are these two of the same identity, or is this the identity it claims to be?

    trine verify runs/faces a.jpg b.jpg
    trine verify a.jpg b.jpg --gallery people
    trine verify photo.jpg --identity ann --gallery people
    """
    check_picture(settings.draw)
    found = _by_encoder(settings) if settings.gallery is None else _by_gallery(settings)
    if found is None:  # the skipped image is named on standard error
        return
    answer, asked = found
    faces = [each for each in asked if each.face is not None]
    if settings.json:
        shown = {"faces": [{**each.to_json(), "of": each.of} for each in asked]} if faces else {}
        echo_json({**answer.to_json(), **shown})
        return
    echo(str(answer))
    for each in faces:
        which = f"the largest of {each.of} faces" if each.of > 1 else "the face"
        if each.of > 1 or each.remark:
            echo(f"  {each.probe}: {which}{each.remark}")


def _by_encoder(settings: Any) -> tuple[Verification, list[Asked]] | None:
    from trine import load
    from trine.gallery import verify

    if settings.identity is not None:
        raise SettingError("--identity needs a gallery: name it with --gallery")
    words = [*([] if settings.encoder is None else [settings.encoder]), *settings.images]
    if len(words) != 3:
        raise SettingError(
            f"verify takes a run folder and two images, or --gallery and one or two images, given "
            f"{len(words)} arguments; see trine verify --help"
        )
    encoder = load(words[0])
    asked = _compared(words[1:], encoder, settings)
    if asked is None:
        return None
    faces, probes, each = asked
    answer = verify(encoder, faces.items[0], faces.items[1], threshold=settings.threshold)
    draw_verification(settings.draw, probes, each, answer)
    return answer, each


def _by_gallery(settings: Any) -> tuple[Verification, list[Asked]] | None:
    wanted = 2 if settings.identity is None else 1
    if len(settings.images) != wanted:
        raise SettingError(
            f"verify with --gallery takes two images, or one with --identity, given {len(settings.images)}; "
            f"see trine verify --help"
        )
    with opened(settings.gallery, settings.encoder) as gallery:
        asked = _compared(settings.images, gallery.encoder, settings)
        if asked is None:
            return None
        faces, probes, each = asked
        a, b = (*(faces.items[at] for at in range(wanted)), None)[:2]
        answer = gallery.verify(a, b, identity=settings.identity, threshold=settings.threshold)
        draw_verification(settings.draw, probes, each, answer)
        return answer, each


def _compared(
    words: Sequence[str], encoder: object, settings: Any
) -> tuple[Dataset, Dataset, list[Asked]] | None:
    """What is compared, the probes, and which face of which: the largest; None if a probe was skipped."""
    probes = _probes(words, encoder, settings)
    if len(probes) < len(words):
        return None
    check_apart(() if settings.draw is None else (Path(settings.draw),), probes)
    items, report = detected(settings, encoder, probes, several="largest", low_quality="keep")
    asked = questions(items, report)
    if without := [each.probe for each in asked if each.place is None]:
        raise no_face(" and ".join(without), skip=False)
    return items, probes, asked


@verb(
    argument("probes", metavar="probe", nargs="+", help="images or texts, or a folder, table or .npz file"),
    argument("--gallery", required=True, help=f"{GALLERY} of known identities"),
    ENCODER,
    THRESHOLD,
    argument("--scoring", default="best", help=SCORING),
    argument("--top", type=int, default=3, help="how many nearest items the mean is taken over (default: 3)"),
    argument("--quality", help="the metadata key of an item's weight from 0 to 1"),
    argument("--candidates", type=int, help="how many of the nearest identities to list"),
    UNREADABLE,
    *DETECT,
    DRAW,
    JSON,
)
def identify(settings: Any) -> None:
    """Which identity is this, if any?

    trine identify photo.jpg --gallery people
    trine identify unknown/ --gallery people --scoring mean --top 3 --json
    trine identify group.jpg --gallery people --draw answers.jpg
    """
    with opened(settings.gallery, settings.encoder) as gallery:
        probes = _probes(settings.probes, gallery.encoder, settings)
        drawn = Drawings.of(settings.draw, probes)
        faces, report = detected(settings, gallery.encoder, probes, several="all", low_quality="keep")
        asked = questions(faces, report)
        if settings.threshold is None:
            warn(gallery.calibration(**pick(settings, "scoring", "top", "quality")))
        for start in range(0, len(asked), AT_ONCE):
            part = asked[start : start + AT_ONCE]
            places = [each.place for each in part if each.place is not None]
            answers = iter(
                gallery.identify_many(
                    faces.items.subset(places),
                    candidates=3 if settings.candidates is None else settings.candidates,
                    **pick(settings, "threshold", "scoring", "top", "quality"),
                )
                if places
                else ()
            )
            for each in part:
                answer = None if each.place is None else next(answers)
                _echo_identification(each, answer, settings)
                drawn.add(each, answer)
        drawn.write(probes)
    check_found(asked, settings)


def _echo_identification(asked: Asked, answer: Identification | None, settings: Any) -> None:
    if settings.json:
        echo_json({**asked.to_json(), **(NO_FACE if answer is None else answer.to_json())})
        return
    if answer is None:
        echo(f"{asked}: no face was found")
        return
    echo(f"{asked}: {answer}{asked.remark}")
    if settings.candidates is not None:
        for rank, candidate in enumerate(answer.candidates, 1):
            item = "" if candidate.item is None else f"  {candidate.item}"
            echo(f"{rank:3}. {candidate.score:.3f}  {candidate.identity}{item}")


@verb(
    argument("probe", help="what to search for: an image, a text, or a folder, a table or an .npz file"),
    argument("--gallery", required=True, help=f"{GALLERY} to search"),
    ENCODER,
    *HITS,
    argument("--exclude", nargs="+", action="extend", default=[], help="items to leave out"),
    argument("--offset", type=int, default=0, help="how many of the nearest items to skip (default: 0)"),
    UNREADABLE,
    *DETECT,
    DRAW,
    JSON,
)
def search(settings: Any) -> None:
    """Which items of a gallery are most like this one?

    trine search photo.jpg --gallery people -k 10
    trine search 'where is my card?' --gallery questions
    trine search shoe.jpg --gallery shop --where price=10..20 --where colour=red,blue
    trine search photo.jpg --gallery people -k 10 --offset 10 --exclude ann/1.jpg
    """
    where = conditions(settings.where)
    with opened(settings.gallery, settings.encoder) as gallery:
        probes = _probes([settings.probe], gallery.encoder, settings)
        drawn = Drawings.of(settings.draw, probes)
        items, report = detected(settings, gallery.encoder, probes, several="all", low_quality="keep")
        asked = questions(items, report)
        for each in asked:
            if each.place is None:
                drawn.add(each, None)
                if settings.json:
                    echo_json({**each.to_json(), "hits": [], "sentence": NO_FACE["sentence"]})
                else:
                    echo(f"{each}: no face was found")
                continue
            hits = gallery.search(
                items.items[each.place], where=where, **pick(settings, "k", "exclude", "offset")
            )
            drawn.add(each, hits)
            if settings.json:
                echo_json({**each.to_json(), "hits": [as_json(hit) for hit in hits]})
                continue
            if len(asked) > 1 or each.remark:
                echo(f"{each}{each.remark}:")
            list_hits(hits, first=settings.offset + 1)
        drawn.write(probes)
    check_found(asked, settings)


def as_json(hit: Hit) -> dict[str, Any]:
    """Returns a hit as plain values."""
    return {"item": hit.item, "identity": hit.identity, "score": hit.score, "metadata": {**hit.metadata}}


def list_hits(hits: Sequence[Hit], *, first: int = 1) -> None:
    """Prints the hits, one per line.

    Args:
        hits: The items.
        first: The rank of the first.
    """
    if not hits:
        echo("nothing found")
    for rank, hit in enumerate(hits, first):
        about = "".join(f"  {key}={value}" for key, value in hit.metadata.items())
        echo(f"{rank:3}. {hit.score:.3f}  {hit.identity}  {hit.item}{about}")
