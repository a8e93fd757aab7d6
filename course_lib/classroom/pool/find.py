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

_WANTED = re.compile(r"\.(?:zip|(?:jsonl|ndjson)(?:\.(?:txt|json))?)$", re.IGNORECASE)  # browsers add .txt and .json
MAX_MB = 2  # a whole course writes 0.1 MB
LEDGERS = 5000  # more is no class


class Found(NamedTuple):
    """A ledger's bytes, or why there are none. `label` says where it is, on the instructor's terminal only."""

    label: str
    data: bytes | None
    problem: str = ""


def find(paths):
    """Yield a Found for each ledger below `paths`, one at a time.

    Raises CourseError with one sentence where a path is not there, holds no ledger, or there are too many.
    """
    count = 0
    for path in map(Path, paths):
        before = count
        for one in _below(path):
            count += 1
            if count > LEDGERS:
                raise CourseError(f"{path} brings the ledgers to more than {LEDGERS:,}: pool one class at a time")
            yield one
        if count == before:
            raise CourseError(f"{path} holds no ledger: name .jsonl files, or a folder or zip with some in it")


def _below(path):
    if files.is_folder(path, "ledgers, or a folder or zip of them", "a ledger, a folder or a zip"):
        yield from _folder(path)
    else:
        yield from _file(path.resolve(), path.name, 0)


def _folder(root):
    entries = 0
    for folder, below, names in os.walk(root, onerror=_raise):
        below[:] = sorted(name for name in below if not zips.ignored(name))
        entries += len(names)
        if entries > files.FOLDER_FILES:
            raise CourseError(f"{root} holds more than {files.FOLDER_FILES:,} files: name the folder of one class")
        for name in sorted(names):
            if _WANTED.search(name) and not zips.ignored(name):
                path = Path(folder, name)
                yield from _file(path, path.relative_to(root).as_posix(), 1)


def _raise(error):
    raise CourseError(f"{error.filename} cannot be opened: {error.strerror}") from None


def _file(path, label, level):
    """The ledger in a file, or those in a zip. `level` 0: it was named itself, so it may be called anything."""
    is_zip, problem = path.suffix.lower() == ".zip", "it cannot be opened"
    if path.is_symlink():
        yield Found(label, None, "it is a link, which is not followed")
        return
    try:
        with files.opened(path) as stream:
            if is_zip or level == 0 and zipfile.is_zipfile(stream):
                problem = "the zip is damaged, or not a zip"
                yield from _zip(stream, label, level, [])
            elif (size := os.fstat(stream.fileno()).st_size) > MAX_MB * 2**20:
                yield Found(label, None, f"it has {size / 2**20:,.1f} MB, and a ledger of the whole course stays far under "
                                         f"{MAX_MB} MB")
            else:
                stream.seek(0)
                yield Found(label, stream.read(MAX_MB * 2**20 + 1))
    except (Unreadable, OSError):
        yield Found(label, None, problem)


def _zip(stream, label, level, around):
    """The ledgers of a zip, and of zips in it. Raises Unreadable where its list of members cannot be read."""
    archive, members = zips.listed(stream, level)
    budgets = [*around, [zips.UNPACKED_MB[level] * 2**20]]
    for parts, info in members:
        if info.is_dir() or not _WANTED.search(parts[-1]):
            continue
        name, inner = f"{label}: {'/'.join(parts)}", parts[-1].lower().endswith(".zip")
        if inner and len(budgets) >= zips.DEEPEST:
            yield Found(name, None, "it is a zip in a zip in a zip")
            continue
        try:
            data = zips.member(archive, info, zips.ZIP_MB if inner else MAX_MB, budgets)
            if inner:
                yield from _zip(io.BytesIO(data), name, level + 1, budgets)
            else:
                yield Found(name, data)
        except Unreadable:
            yield Found(name, None, f"it is damaged, locked, a link, or larger than {MAX_MB} MB inside its zip")
