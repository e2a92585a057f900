"""A disk whose power is cut: what was synchronised is there, of the rest anything may be.

A process runs under `disk_journal.c`, which writes down all it does to the files of a folder. `Disk` plays
the journal back up to any moment and says what a cut would have left at that moment.
"""

import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("disk_journal.c")
HEAD = struct.Struct("<cQQ3I")
SECTOR = 512


@dataclass(frozen=True)
class Deed:
    """One dealing with the disk; its kind is the first letter of what was done.

    create, write, truncate, synchronise, map, link, rename, unlink
    """

    kind: str
    name: str
    other: str
    inode: int
    offset: int
    data: bytes


class NoJournalError(Exception):
    """This system lets nobody see what a process does to the disk."""


def _build(library):
    if sys.platform != "linux" or shutil.which("cc") is None:
        raise NoJournalError("needs Linux and a C compiler, to see what a process does to the disk")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NoJournalError(f"needs a C compiler that makes libraries for LD_PRELOAD: {done.stderr[:200]}")


def run_under_journal(code, folder):
    """Runs Python code in a process of its own, and returns what it did to the files under the folder.

    Raises:
        NoJournalError: There is no C compiler, or not Linux.
    """
    journal, library = (folder.with_name(f"{folder.name}.{kind}") for kind in ("journal", "so"))
    _build(library)
    settings = {
        "LD_PRELOAD": str(library),
        "DISK_JOURNAL": str(journal),
        "DISK_JOURNAL_UNDER": f"{folder}/",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    subprocess.run([sys.executable, "-c", code], env=os.environ | settings, check=True)
    return list(read(journal.read_bytes()))


def read(journal):
    at = 0
    while at < len(journal):
        kind, inode, offset, *lengths = HEAD.unpack_from(journal, at)
        at += HEAD.size
        texts = []
        for length in lengths:
            texts.append(journal[at : at + length])
            at += length
        yield Deed(kind.decode(), os.fsdecode(texts[0]), os.fsdecode(texts[1]), inode, offset, texts[2])


@dataclass(eq=False)
class File:
    """What is on the disk for good, and what was done since."""

    kept: bytearray = field(default_factory=bytearray)
    pending: list = field(default_factory=list)

    def synchronise(self):
        for deed in self.pending:
            _apply(self.kept, deed)
        self.pending = []

    def after_cut(self, survives):
        content = bytearray(self.kept)
        for deed in self.pending:
            for part in survives(deed):
                _apply(content, part)
        return bytes(content)


def _apply(content, deed):
    if deed.kind == "t":
        del content[deed.offset :]
        content.extend(bytes(deed.offset - len(content)))
        return
    content.extend(bytes(max(0, deed.offset - len(content))))
    content[deed.offset : deed.offset + len(deed.data)] = deed.data


class Disk:
    """Files and their names, each with what is kept for good and what is not yet.

    A name is kept when its folder was synchronised, the bytes of a file when the file was. (File systems keep
    more than that; nobody may count on it.)
    """

    def __init__(self):
        self._files = {}  # by inode: the file that has it now
        self._names = {}
        self._kept_names = {}
        self._pending_names = []

    def perform(self, deed):
        if deed.kind in "wt":
            self._files[deed.inode].pending.append(deed)
        elif deed.kind == "s":
            if deed.inode in self._files:
                self._files[deed.inode].synchronise()
            else:
                self._synchronise_folder(deed.name)
        elif deed.kind == "m":
            assert deed.name.endswith("-shm"), f"{deed.name} is written behind the journal's back"
        else:
            self._rename(deed)

    def _rename(self, deed):
        if deed.kind == "c":
            self._files[deed.inode] = File()
            changes = [(deed.name, self._files[deed.inode])]
        elif deed.kind == "l":
            changes = [(deed.other, self._names[deed.name])]
        elif deed.kind == "r":
            changes = [(deed.other, self._names[deed.name]), (deed.name, None)]
        else:
            changes = [(deed.name, None)]
        _change(self._names, changes)
        self._pending_names.append(changes)

    def _synchronise_folder(self, folder):
        waiting = []
        for changes in self._pending_names:
            if all(os.path.dirname(name) == folder for name, _ in changes):  # noqa: PTH120
                _change(self._kept_names, changes)
            else:
                waiting.append(changes)
        self._pending_names = waiting

    def after_cut(self, rng=None, *, everything=False):
        """What is there after a cut now, name -> bytes.

        Nothing that was not synchronised, by default; `everything`, as after a kill; with `rng`, any of it:
        names in the order they were made, of every write any sectors.
        """
        names = dict(self._kept_names)
        count = len(self._pending_names)
        for changes in self._pending_names[: count if everything else rng.randint(0, count) if rng else 0]:
            _change(names, changes)

        def survives(deed):
            if everything:
                return [deed]
            if rng is None or rng.random() < 0.3:
                return []
            if deed.kind == "t" or rng.random() < 0.4:
                return [deed]
            return [part for part in _sectors(deed) if rng.random() < 0.5]

        return {name: file.after_cut(survives) for name, file in names.items()}


def _change(names, changes):
    for name, file in changes:
        names.pop(name, None)
        if file is not None:
            names[name] = file


def _sectors(deed):
    at = 0
    while at < len(deed.data):
        end = min(len(deed.data), at + SECTOR - (deed.offset + at) % SECTOR)
        yield Deed("w", deed.name, "", deed.inode, deed.offset + at, deed.data[at:end])
        at = end


@dataclass(frozen=True)
class Cut:
    """What one cut left behind in a folder."""

    moment: int
    acknowledged: int
    how: str
    files: dict


def cuts(deeds, folder, *, rng, count):
    """Plays back what was done to a folder and cuts the power at `count` moments, each in three ways.

    Every write to the file `folder`/acknowledged counts as an acknowledgement; the folder holds no others.
    """
    deeds = [deed for deed in deeds if os.path.dirname(deed.name) == str(folder) or deed.name == str(folder)]  # noqa: PTH120
    moments = {*rng.sample(range(len(deeds)), min(count, len(deeds))), len(deeds)}
    disk, acknowledged = Disk(), 0
    for moment in range(len(deeds) + 1):
        if moment in moments:
            for how, files in (
                ("nothing survives", disk.after_cut()),
                ("some survives", disk.after_cut(rng)),
                ("all survives", disk.after_cut(everything=True)),
            ):
                here = {os.path.basename(name): content for name, content in files.items()}  # noqa: PTH119
                yield Cut(moment, acknowledged, how, here)
        if moment < len(deeds):
            deed = deeds[moment]
            disk.perform(deed)
            acknowledged += deed.kind == "w" and deed.name == f"{folder}/acknowledged"
