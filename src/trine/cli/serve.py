"""`trine serve`: a page for people and an API for programs over galleries."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import echo
from trine.cli.gallery_address import ENCODER, GALLERY, address_of, existing, is_server, is_url, opened
from trine.cli.keys import state_of
from trine.cli.parser import argument, verb
from trine.errors import SettingError, require

if TYPE_CHECKING:
    import socket

    from trine import Gallery

PORT = 8421


@verb(
    argument(
        "source",
        nargs="*",
        help="the folder of a run, or photos: a gallery is made of them, and follows them",
    ),
    argument("--gallery", action="append", default=[], help=f"{GALLERY} to serve; may be repeated"),
    ENCODER,
    argument("--host", default="127.0.0.1", help="the address to listen at (default: this machine alone)"),
    argument("--port", type=int, default=PORT, help=f"the port; 0 takes a free one (default: {PORT})"),
    argument("--allow-host", action="append", default=[], metavar="NAME", help="a name of it behind a proxy"),
    argument("--state", metavar="FOLDER", help="where keys, jobs and log lie (default: beside the gallery)"),
    argument("--keep-pictures", action="store_true", help="keep pictures that are enrolled, to show them"),
    argument("--runs", metavar="FOLDER", help="a folder of runs to show side by side"),
    argument("--rate", type=float, help="requests a second of one key or address; 0: any (default: 100)"),
    argument("--max-upload", type=float, metavar="MIB", help="the most MiB of a request (default: 16)"),
    argument("--max-pixels", type=int, help="the most pixels of a picture (default: 40 million)"),
    extras=("train", "serve"),
)
def serve(settings: Any) -> None:
    """Serve a page and an API over galleries, until Ctrl-C.

    trine serve --gallery people
    trine serve runs/faces
    trine serve photos/
    trine serve --gallery people --gallery shop --keep-pictures
    trine serve --gallery people --host 0.0.0.0 --allow-host faces.example.org
    """
    for module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        require(module, extra="serve")
    from trine.service.server import bind
    from trine.service.sources import galleries_of

    if not settings.gallery and not settings.source:
        raise SettingError(
            "trine serve needs something to serve: name a gallery with --gallery, the folder of a run, or "
            "a folder of photos"
        )
    listener = bind(settings.host, settings.port)  # first: whoever cannot listen need not wait for a model
    with listener:
        names = [*settings.gallery]
        for source in settings.source:
            # A gallery may be named without its option.
            is_gallery = is_url(source) or (source.endswith(".db") and Path(source).is_file())
            names += [source] if is_gallery else galleries_of(source, encoder=settings.encoder, echo=echo)
        _serve(settings, names, listener)


def _serve(settings: Any, names: list[str], listener: socket.socket) -> None:
    from trine.service.server import address_of as page_of
    from trine.service.server import serve as run
    from trine.service.service import Service
    from trine.service.settings import Limits, ServiceSettings

    given = {
        "rate": settings.rate,
        "body": None if settings.max_upload is None else int(settings.max_upload * (1 << 20)),
        "pixels": settings.max_pixels,
    }
    limits = Limits(**{name: value for name, value in given.items() if value is not None})
    settings.gallery = names
    served = ServiceSettings(
        state=state_of(settings),
        host=settings.host,
        port=settings.port,
        hosts=tuple(settings.allow_host),
        keep_pictures=settings.keep_pictures,
        runs=None if settings.runs is None else Path(settings.runs),
        limits=limits,
    )
    with ExitStack() as stack:
        galleries: dict[str, Gallery] = {}
        for name in names:
            short = name_of(name)
            if short in galleries:
                raise SettingError(f"two galleries would be served as {short!r}: rename one")
            galleries[short] = stack.enter_context(_opened(name, settings.encoder))
        service = stack.enter_context(Service(galleries, served))
        for name, hosted in service.galleries.items():
            how = "" if hosted.gallery.encoder else "; it has no encoder: ask with embeddings"
            echo(f"{name}: {sum(hosted.identities().values()):,} items{how}")

        def ready() -> None:
            echo(f"open {page_of(listener)} (stop with Ctrl-C)")

        run(service, listener, ready=ready)


def name_of(gallery: str) -> str:
    """Returns the name under which a gallery is served; the `gallery` of a run has that of the run.

    Example:
        >>> name_of("people"), name_of("data/my people.db"), name_of("postgresql://host/d?gallery=people")
        ('people', 'my-people', 'people')
        >>> name_of("lance:///shared/people"), name_of("s3://bucket/galleries/people?search=exact")
        ('people', 'people')
        >>> name_of("postgres.db")
        'postgres'
    """
    from urllib.parse import parse_qs, urlsplit

    address = address_of(gallery)
    if is_server(address):
        name = parse_qs(urlsplit(address).query).get("gallery", ["gallery"])[0]
    elif is_url(address):
        name = urlsplit(address).path.rstrip("/").rpartition("/")[2]
    else:
        path = Path(address)
        name = path.stem
        if name == "gallery" and (path.parent / "model").is_dir():  # the one in a run folder
            name = path.resolve().parent.name
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return plain.lstrip(".") or "gallery"


def _opened(name: str, encoder: str | None) -> Gallery:
    if encoder is None:
        gallery = existing(name)
        if gallery.model is None:
            return gallery
        gallery.close()
    return opened(name, encoder)
