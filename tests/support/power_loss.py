"""Simulates a power cut: what was synchronised survives, and any part of the rest may.

A process runs under `disk_journal.c`, which records every operation on the files of a folder. `Disk` replays
the journal up to any moment and returns what a cut at that moment would leave.
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
class Operation:
    """One operation on the disk; its kind is the first letter of its name.

    create, write, truncate, synchronise, map, link, rename, unlink
    """

    kind: str
    name: str
    other: str
    inode: int
    offset: int
    data: bytes


class NoJournalError(Exception):
    """This system does not allow to record what a process does to the disk."""


def _build(library):
    if sys.platform != "linux" or shutil.which("cc") is None:
        raise NoJournalError("needs Linux and a C compiler to record what a process does to the disk")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NoJournalError(f"needs a C compiler that builds libraries for LD_PRELOAD: {done.stderr[:200]}")


def run_under_journal(code, folder):
    """Runs Python code in a separate process, and returns its operations on the files under the folder.

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
        yield Operation(kind.decode(), os.fsdecode(texts[0]), os.fsdecode(texts[1]), inode, offset, texts[2])


@dataclass(eq=False)
class File:
    """The durable content of a file, and the operations since."""

    kept: bytearray = field(default_factory=bytearray)
    pending: list = field(default_factory=list)

    def synchronise(self):
        for operation in self.pending:
            _apply(self.kept, operation)
        self.pending = []

    def after_cut(self, survives):
        content = bytearray(self.kept)
        for operation in self.pending:
            for part in survives(operation):
                _apply(content, part)
        return bytes(content)


def _apply(content, operation):
    if operation.kind == "t":
        del content[operation.offset :]
        content.extend(bytes(operation.offset - len(content)))
        return
    content.extend(bytes(max(0, operation.offset - len(content))))
    content[operation.offset : operation.offset + len(operation.data)] = operation.data


class Disk:
    """Files and their names, each with its durable state and what is pending.

    A name is durable once its folder is synchronised, the bytes of a file once the file is. (File systems
    keep more than that, but do not promise it.)
    """

    def __init__(self):
        self._files = {}  # by inode: the file that has it now
        self._names = {}
        self._kept_names = {}
        self._pending_names = []

    def perform(self, operation):
        if operation.kind in "wt":
            self._files[operation.inode].pending.append(operation)
        elif operation.kind == "s":
            if operation.inode in self._files:
                self._files[operation.inode].synchronise()
            else:
                self._synchronise_folder(operation.name)
        elif operation.kind == "m":
            assert operation.name.endswith("-shm"), f"{operation.name} is written behind the journal's back"
        else:
            self._rename(operation)

    def _rename(self, operation):
        if operation.kind == "c":
            self._files[operation.inode] = File()
            changes = [(operation.name, self._files[operation.inode])]
        elif operation.kind == "l":
            changes = [(operation.other, self._names[operation.name])]
        elif operation.kind == "r":
            changes = [(operation.other, self._names[operation.name]), (operation.name, None)]
        else:
            changes = [(operation.name, None)]
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
        """Returns what a cut at this moment leaves, name -> bytes.

        By default only what was synchronised; `everything`, as after a kill; with `rng` a random part of it:
        a prefix of the changes of names, and any sectors of every write.
        """
        names = dict(self._kept_names)
        count = len(self._pending_names)
        for changes in self._pending_names[: count if everything else rng.randint(0, count) if rng else 0]:
            _change(names, changes)

        def survives(operation):
            if everything:
                return [operation]
            if rng is None or rng.random() < 0.3:
                return []
            if operation.kind == "t" or rng.random() < 0.4:
                return [operation]
            return [part for part in _sectors(operation) if rng.random() < 0.5]

        return {name: file.after_cut(survives) for name, file in names.items()}


def _change(names, changes):
    for name, file in changes:
        names.pop(name, None)
        if file is not None:
            names[name] = file


def _sectors(operation):
    at = 0
    while at < len(operation.data):
        end = min(len(operation.data), at + SECTOR - (operation.offset + at) % SECTOR)
        yield Operation(
            "w", operation.name, "", operation.inode, operation.offset + at, operation.data[at:end]
        )
        at = end


@dataclass(frozen=True)
class Cut:
    """What one cut left in a folder."""

    moment: int
    acknowledged: int
    how: str
    files: dict


def cuts(operations, folder, *, rng, count):
    """Replays the operations on a folder and cuts the power at `count` moments, each in three ways.

    Every write to the file `folder`/acknowledged counts as an acknowledgement.
    """
    here = str(folder)
    operations = [each for each in operations if here in (each.name, os.path.dirname(each.name))]  # noqa: PTH120
    moments = {*rng.sample(range(len(operations)), min(count, len(operations))), len(operations)}
    disk, acknowledged = Disk(), 0
    for moment in range(len(operations) + 1):
        if moment in moments:
            for how, files in (
                ("nothing survives", disk.after_cut()),
                ("some survives", disk.after_cut(rng)),
                ("all survives", disk.after_cut(everything=True)),
            ):
                left = {os.path.basename(name): content for name, content in files.items()}  # noqa: PTH119
                yield Cut(moment, acknowledged, how, left)
        if moment < len(operations):
            operation = operations[moment]
            disk.perform(operation)
            acknowledged += operation.kind == "w" and operation.name == f"{folder}/acknowledged"
