"""`trine keys`: makes, lists and revokes the keys of a service."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from trine.cli.arguments import JSON, echo, echo_json
from trine.cli.parser import Argument, argument, verb
from trine.errors import InputError, SettingError

WHERE: tuple[Argument, ...] = (
    argument("--gallery", help="the gallery that is served, as for trine serve"),
    argument("--state", metavar="FOLDER", help="the folder of the service, as for trine serve"),
)


@verb(
    argument("name", help="who gets the key"),
    argument(
        "--scope",
        nargs="+",
        action="extend",
        default=[],
        help="what it allows: read (default), write, pictures",
    ),
    argument("--only", nargs="+", action="extend", default=[], metavar="GALLERY", help="for these galleries"),
    *WHERE,
    extras=(),
)
def add(settings: Any) -> None:
    """Make a key, and print it once: only its digest is stored.

    trine keys add alice --gallery people
    trine keys add desk --scope write pictures --gallery people
    """
    from trine.service.keys import Keys, check_key
    from trine.service.state import State

    check_key(settings.name, settings.scope)
    state = State(state_of(settings))
    try:
        key = Keys(state).add(settings.name, settings.scope or ("read",), settings.only)
    finally:
        state.close()
    echo(key)


@verb(*WHERE, JSON, extras=())
def list_(settings: Any) -> None:
    """List the keys, without their secrets.

    trine keys list --gallery people
    """
    from trine.service.keys import Keys
    from trine.service.state import State

    state = State(_existing(settings))
    try:
        keys = Keys(state).all()
    finally:
        state.close()
    for key in keys:
        if settings.json:
            echo_json(vars(key))
            continue
        made = datetime.fromtimestamp(key.made).strftime("%Y-%m-%d")
        only = "" if key.galleries is None else f", only {', '.join(key.galleries)}"
        echo(f"{key.name}  {', '.join(key.scopes)}{only}  (made {made})")
    if not keys and not settings.json:
        echo("no keys: only this machine can use the service; make one with trine keys add NAME")


@verb(argument("name", help="the name of the key"), *WHERE, extras=())
def revoke(settings: Any) -> None:
    """Delete a key; a service that runs refuses it at once.

    trine keys revoke alice --gallery people
    """
    from trine.service.keys import Keys
    from trine.service.state import State

    state = State(_existing(settings))
    try:
        Keys(state).revoke(settings.name)
    finally:
        state.close()
    echo(f"the key {settings.name} is revoked")


def state_of(settings: Any) -> Path:
    """Returns the folder of a service's own file: the one that is named, else the one beside the gallery.

    Args:
        settings: The arguments with `state` and `gallery`, a name or a list of names.

    Raises:
        SettingError: Neither is given, or the gallery is on a server.
    """
    from trine.cli.gallery_address import address_of, is_url

    if settings.state is not None:
        return Path(settings.state)
    given = settings.gallery
    first = given if given is None or isinstance(given, str) else next(iter(given), None)
    if first is None:
        raise SettingError("name the gallery with --gallery, or the folder of the service with --state")
    address = address_of(first if first.endswith(".db") or not Path(first).is_dir() else first.rstrip("/"))
    if is_url(address):
        raise SettingError("a gallery at a URL has no folder beside it: name one with --state")
    return Path(address).with_suffix(".service")


def _existing(settings: Any) -> Path:
    from trine.service.state import FILE

    folder = state_of(settings)
    if not (folder / FILE).is_file():
        raise InputError(f"there is no service in {folder}: make its first key with trine keys add NAME")
    return folder
