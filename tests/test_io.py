"""Writing is atomic: a file is complete or absent after a failure or a kill, and on the disk once written."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trine.errors import InputError
from trine.io import (
    atomic_file,
    atomic_folder,
    atomic_write,
    lock_at_once,
    open_regular,
    output_file,
    remove_leftovers,
    write_json,
    write_text,
)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert (file.read(), file.name) == (b"content", str(tmp_path / name))
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("pipe", "a named pipe"), ("/dev/null", "a device"), (".", "a folder")):
        with pytest.raises(OSError, match=f"{what}, not a file"):
            open_regular(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")


def full(*arguments: Any, **settings: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is synchronised or renamed, in order."""
    events: list[str] = []
    fsync, replace, open_ = os.fsync, Path.replace, os.open
    names: dict[int, str] = {}

    def opened(path: Any, *arguments: Any, **settings: Any) -> int:
        descriptor = open_(path, *arguments, **settings)
        names[descriptor] = Path(path).name
        return descriptor

    def synchronised(descriptor: int) -> None:
        events.append(f"fsync {names[descriptor]}")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        events.append(f"rename {self.name}")
        return replace(self, target)

    monkeypatch.setattr("os.fsync", synchronised)
    monkeypatch.setattr("os.open", opened)
    monkeypatch.setattr(Path, "replace", renamed)
    return events


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    atomic_write(path, "line\n")
    assert path.read_bytes() == b"line\n"
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            atomic_write(path, b"another")
        with pytest.raises(InputError, match=rf"^cannot write {path} \(No space left on device\)"):
            write_json(path, {"a": 1})
    assert path.read_bytes() == b"line\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "seen"), [(OSError(errno.ENOSPC, "full"), InputError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_an_output_that_fails_halfway_leaves_nothing(tmp_path: Path, error: Any, seen: Any) -> None:
    def write() -> None:
        with output_file(tmp_path / "new" / "table.csv") as partial:
            partial.write_text("half a t")
            raise error

    with pytest.raises(seen):
        write()
    assert list((tmp_path / "new").iterdir()) == []


def test_content_reaches_the_disk_before_the_name_does(tmp_path: Path, events: list[str]) -> None:
    """First the file is synchronised, then it gets its name, then the folder is synchronised."""
    expected = ["fsync .file.unfinished", "rename .file.unfinished", f"fsync {tmp_path.name}"]
    atomic_write(tmp_path / "file", "x")
    assert events == expected
    write_text(tmp_path / "file", "é")
    assert events == expected * 2
    assert (tmp_path / "file").read_bytes() == "é".encode()
    write_json(tmp_path / "file", {"name": "é"})
    assert events == expected * 3
    assert json.loads((tmp_path / "file").read_text("utf-8")) == {"name": "é"}


KILLED = """
import os, signal
from pathlib import Path
from trine.io import output_file
with output_file(Path("table.csv")) as partial:
    partial.write_text("half a t")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_the_old_file_and_the_next_write_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".last.ckpt.unfinished", "mine.unfinished", ".hidden", "model"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".model.ab12.unfinished").mkdir()
    (tmp_path / ".model.ab12.unfinished" / "README.md").write_text("x")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "mine.unfinished", "model"]
    remove_leftovers(tmp_path / "nothing")


def test_a_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^cannot write .*/file/report\.html \("):
        write_text(tmp_path / "file" / "report.html", "x")
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "no" / "file") as unfinished:
        unfinished.write_text("x")


def test_a_file_is_locked_once(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open("rb") as first, (tmp_path / "lock").open("rb") as second:
        assert lock_at_once(first.fileno()) == ""
        with pytest.raises(BlockingIOError):
            lock_at_once(second.fileno())
        first.close()
        assert lock_at_once(second.fileno()) == ""


def test_a_folder_with_folders_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    for content in ("old", "new"):
        with atomic_folder(folder) as unfinished:
            (unfinished / "inner").mkdir()
            (unfinished / "inner" / "file").write_text(content)
    with pytest.raises(FileNotFoundError), atomic_folder(folder) as unfinished:
        (unfinished / "none" / "file").write_text("half")
    assert (folder / "inner" / "file").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
