"""Files: only regular ones are read; one that is written is complete or absent, and durable once written."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from trine.errors import InputError, MissingDependencyError, TrineError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LEFTOVERS = (".unfinished", ".replaced")
"""Endings of the hidden files and folders that a killed process leaves behind."""

LARGEST_SMALL = 1 << 26
"""The largest file in bytes that is read as a whole as settings: what they become takes a multiple."""

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What a file system without locks answers."""

_KINDS = {stat.S_IFDIR: "folder", stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}


def open_regular(path: str | Path) -> BufferedReader:
    """Opens a file to read; a named pipe, a device or a socket is an error, and is not waited for.

    Args:
        path: The file; links are followed.

    Returns:
        The open file, at its start.

    Raises:
        OSError: The file is missing, cannot be read, or is not a regular one.
    """
    _check_regular(path, Path(path).stat().st_mode)
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def real_inside(path: str | Path, folder: str | Path) -> Path | None:
    """Returns the file that a path leads to, links followed; None if it lies outside a folder.

    Args:
        path: The path.
        folder: The folder, or a link to it.
    """
    real = Path(os.path.realpath(path))
    return real if real.is_relative_to(os.path.realpath(folder)) else None


def read_small(path: str | Path) -> bytes:
    """Reads a file of settings, which is far below 64 MiB.

    Args:
        path: The file; links are followed.

    Raises:
        OSError: The file is missing, cannot be read, is not a regular one, or is larger.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST_SMALL + 1)
    if len(content) > LARGEST_SMALL:
        raise OSError(errno.EFBIG, f"larger than {LARGEST_SMALL >> 20} MiB", str(path))
    return content


@contextmanager
def readable(path: Path, error: type[TrineError]) -> Iterator[None]:
    """Says that a file cannot be read, such as for its permissions, rather than that it is damaged.

    Args:
        path: The file or folder; the one that an error names is named instead.
        error: The error to raise.
    """
    try:
        yield
    except OSError as failed:
        name, reason = failed.filename or path, failed.strerror or failed
        denied = isinstance(failed, PermissionError)
        advice = "check its permissions" if denied else "name a file that can be read"
        raise error(f"{name} cannot be read ({reason}); {advice}") from failed


def check_readable(path: Path, error: type[TrineError]) -> None:
    """Raises an error for a file that cannot be read, before a reader takes it for a damaged one."""
    with readable(path, error):
        open_regular(path).close()


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting, in case that a pipe has taken the file's place since it was checked."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "device")
        raise OSError(errno.EINVAL, f"a {kind}, not a file", str(path))


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to, and moves the file into place when the block ends.

    The content reaches the disk before the file gets its name. If the block raises, `path` stays as it was
    and the temporary file is removed.

    Args:
        path: The final path; an existing file is replaced.

    Yields:
        A path in the same folder.

    Raises:
        OSError: The file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        synchronise(unfinished)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    # The new name is an entry of the folder, which must be synced too; Windows cannot open folders.
    if os.name == "posix":
        synchronise(path.parent)


def atomic_write(path: Path, content: str | bytes | memoryview) -> None:
    """Writes a file atomically; see `atomic_file`.

    Args:
        path: The file.
        content: Its content; text is encoded as UTF-8, with line endings unchanged.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder to write to, and moves it into place when the block ends.

    Its files reach the disk before the folder gets its name. If the block raises, `folder` stays as it was.

    Args:
        folder: The final path; an existing folder is replaced. Parents are created if necessary.

    Yields:
        A folder beside it.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    unfinished = folder.parent / f".{folder.name}.{mark}.unfinished"
    replaced = folder.parent / f".{folder.name}.{mark}.replaced"
    unfinished.mkdir()
    try:
        yield unfinished
        for path in unfinished.rglob("*"):
            if path.is_file() or os.name == "posix":  # Windows cannot open folders
                synchronise(path)
        # A folder cannot replace a non-empty one by renaming, so the old one is moved away first.
        if folder.exists():
            folder.rename(replaced)
        try:
            unfinished.rename(folder)
        except OSError:
            if replaced.exists():
                replaced.rename(folder)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Like `atomic_file`, for a path given by the user: creates its folder and explains a failure.

    Args:
        path: The final path.

    Yields:
        A path in the same folder.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as unfinished:
            yield unfinished
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {path} ({reason}); choose another path or free disk space") from error


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8; see `output_file`."""
    with output_file(path) as unfinished:
        unfinished.write_bytes(text.encode())


def write_json(path: Path, value: object) -> None:
    """Writes a value as JSON; see `output_file`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def synchronise(path: Path) -> None:
    """Syncs a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether a path has the name of a file that a killed process left behind."""
    return path.name.startswith(".") and path.name.endswith(LEFTOVERS)


def lock_at_once(descriptor: int) -> str:
    """Locks an open file for this process, which the kernel undoes when the process ends.

    Args:
        descriptor: The open file.

    Returns:
        "", or why the file cannot be locked: its file system, or the operating system, has no locks.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file cannot be used.
    """
    if fcntl is None:
        return "Windows has no flock"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EACCES:  # what some systems answer for a lock that is held
            raise BlockingIOError(error.errno, error.strerror) from error
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return error.strerror or str(error)
    return ""


def remove_leftovers(folder: Path) -> None:
    """Removes the files that a killed process left in a folder; does nothing if the folder does not exist."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_leftover(path) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif is_leftover(path):
            path.unlink(missing_ok=True)


def package_file(module: str, file: str, *, package: str, extra: str) -> Path:
    """Finds a file that an installed package carries; nothing of the package is imported.

    Args:
        module: The module that the package installs.
        file: The file, from the folder of the module.
        package: The name of the package.
        extra: The extra of trine that installs it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    spec = importlib.util.find_spec(module)
    places = None if spec is None else spec.submodule_search_locations
    if not places:
        raise MissingDependencyError(
            f"{package} is not installed; install it with: pip install 'trine[{extra}]'"
        )
    return Path(next(iter(places))) / file
