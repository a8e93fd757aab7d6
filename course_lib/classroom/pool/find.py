"""Find the ledgers that a class handed in: files, folders, and zips as Moodle and Canvas make them.

The limits and the distrust are those of `grading`: no link is followed, nothing goes onto the disk, and what a zip
holds is read member by member. A ledger that cannot be had becomes a Found that says why.
"""

import io
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from .. import CourseError
from ..grading import files, zips
from ..grading.notebook import Unreadable

ENDING = re.compile(r"\.(?:jsonl|ndjson)(?:\.(?:txt|json))?$", re.IGNORECASE)  # browsers add .txt and .json
MAX_MB = 2  # a whole course writes 0.1 MB
LEDGERS = 5000  # more is no class


class Found(NamedTuple):
    """A ledger's bytes, or why there are none. `label` says where it is, on the instructor's terminal only."""

    label: str
    data: bytes | None
    problem: str = ""


def find(paths):
    """Yield a Found for each ledger below `paths`, one at a time; a file that was there before is not taken twice.

    Raises CourseError with one sentence where a path is not there, holds no ledger, or there are too many.
    """
    seen, count = set(), 0
    for path in map(Path, paths):
        before = count
        for one in _below(path, seen):
            count += 1
            if count > LEDGERS:
                raise CourseError(f"{path} brings the ledgers to more than {LEDGERS:,}: pool one class at a time")
            if one is not None:  # None: a file that was there before
                yield one
        if count == before:
            raise CourseError(f"{path} holds no ledger: name .jsonl files, or a folder or zip with some in it")


def _new(stream, seen):
    """True for an open file that was not there before, by whatever name."""
    about = os.fstat(stream.fileno())
    key = about.st_dev, about.st_ino
    if key in seen:
        return False
    seen.add(key)
    return True


def _below(path, seen):
    if files.is_folder(path, "ledgers, or a folder or zip of them", "a ledger, a folder or a zip"):
        yield from _folder(path, seen)
    elif zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
        yield from _disk_zip(path.resolve(), path.name, 0, seen)
    else:
        yield from _file(path.resolve(), path.name, seen)


def _folder(root, seen):
    entries = 0
    for folder, below, names in os.walk(root, onerror=_raise):
        below[:] = sorted(name for name in below if not zips.ignored(name))
        for name in sorted(names):
            entries += 1
            if entries > files.FOLDER_FILES:
                raise CourseError(f"{root} holds more than {files.FOLDER_FILES:,} files: name the folder of one class")
            path = Path(folder, name)
            label = "/".join(path.relative_to(root).parts)
            if zips.ignored(name) or not (ENDING.search(name) or name.lower().endswith(".zip")):
                continue
            if path.is_symlink():
                yield Found(label, None, "it is a link, which is not followed")
            elif name.lower().endswith(".zip"):
                yield from _disk_zip(path, label, 1, seen)
            else:
                yield from _file(path, label, seen)


def _raise(error):
    raise CourseError(f"{error.filename} cannot be opened: {error.strerror}") from None


def _file(path, label, seen):
    try:
        with files.opened(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if not _new(stream, seen):
                yield None
            elif size > MAX_MB * 2**20:
                yield Found(label, None, _too_large(size))
            else:
                yield Found(label, stream.read(MAX_MB * 2**20 + 1))
    except (Unreadable, OSError):
        yield Found(label, None, "it cannot be opened")


def _too_large(size):
    return f"it has {size / 2**20:,.1f} MB, and a ledger of the whole course stays far under {MAX_MB} MB"


def _disk_zip(path, label, level, seen):
    try:
        with files.opened(path) as stream:
            if _new(stream, seen):
                yield from _zip(stream, label, level, [])
            else:
                yield None
    except (Unreadable, OSError):
        if not level:
            raise CourseError(f"{path} cannot be read: the zip is damaged, or not a zip") from None
        yield Found(label, None, "the zip is damaged, or not a zip")


def _zip(stream, label, level, around):
    """The ledgers of a zip, and of zips in it. Raises Unreadable where its list of members cannot be read."""
    archive, members = zips.listed(stream, level)
    budgets = [*around, [zips.UNPACKED_MB[level] * 2**20]]
    for parts, info in members:
        inner = parts[-1].lower().endswith(".zip")
        if info.is_dir() or not (inner or ENDING.search(parts[-1])):
            continue
        name = f"{label}: {'/'.join(parts)}"
        if inner and len(budgets) >= zips.DEEPEST:
            yield Found(name, None, "it is a zip in a zip in a zip")
        elif not inner and info.file_size > MAX_MB * 2**20:
            yield Found(name, None, _too_large(info.file_size))
        else:
            try:
                data = zips.member(archive, info, zips.ZIP_MB if inner else MAX_MB, budgets)
                if inner:
                    yield from _zip(io.BytesIO(data), name, level + 1, budgets)
                else:
                    yield Found(name, data)
            except Unreadable:
                yield Found(name, None, "it is damaged, locked, a link, or too large inside its zip")
