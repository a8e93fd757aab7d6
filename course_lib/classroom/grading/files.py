"""Find handed-in files in a folder, and read the notebooks among them. No link leads out of the folder.

A file that cannot be had becomes an Item that says why.
"""

import os
import stat
import zipfile
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from .. import CourseError
from .names import ENDING, clean
from .notebook import Unreadable, too_large
from .zips import Item, ignored, unzip

FOLDER_FILES = 20_000  # in one folder below the one that was named, and in that one itself


def find(path, max_mb):
    """Yield an Item for each file below `path` (a notebook, a folder or a zip), in the order of their names.

    Raises CourseError with one sentence where `path` is not there, is something else, or is a damaged zip.
    """
    path = Path(path)
    if is_folder(path, "a notebook, a folder or a zip of submissions", "a notebook, a folder or a zip"):
        yield from _folder(path, max_mb)
    elif ENDING.search(path.name):
        yield _file(path, (path.name,), path.name, max_mb)
    elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        try:
            with open(path, "rb") as stream:
                yield from unzip(stream, (), path.name, max_mb, 0, [])
        except (Unreadable, OSError) as error:
            raise CourseError(f"{path} cannot be read: {_why(error)}") from None
    else:
        raise CourseError(f"{path} is not a notebook (.ipynb), a folder or a zip of submissions")


def is_folder(path, several, one):
    """True for a folder, False for an ordinary file; else CourseError, which says what can be named."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        raise CourseError(f"{path} is not there: name {several}") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise CourseError(f"{path} is not an ordinary file: name {one}")
    return stat.S_ISDIR(mode)


def _why(error):
    """An error as part of one line."""
    if isinstance(error, Unreadable):
        return str(error)
    return clean(getattr(error, "strerror", None) or f"{type(error).__name__}: {error}", 120)


def _folder(root, max_mb):
    real, waiting, seen = root.resolve(), [((), root)], {}
    while waiting:
        parts, folder = waiting.pop()
        label = "/".join(parts)
        try:
            with os.scandir(folder) as scan:
                entries = [entry for entry in islice(scan, FOLDER_FILES + 1) if not ignored(entry.name)]
        except OSError as error:
            if not parts:
                raise CourseError(f"{root} cannot be opened: {_why(error)}") from None
            yield Item((*parts, ""), label, problem=f"the folder cannot be opened: {_why(error)}")
            continue
        if not entries and parts:
            yield Item((*parts, ""), label)
        seen[parts[:1]] = count = seen.get(parts[:1], 0) + len(entries)
        if count > FOLDER_FILES:
            problem = f"it holds more than {FOLDER_FILES:,} files: not all were looked at"
            if not parts:
                raise CourseError(f"{root} cannot be taken as a class: {problem}")
            yield Item((*parts, ""), label, problem=problem)
            continue
        below = []
        for entry in sorted(entries, key=lambda one: one.name):
            here, name = (*parts, entry.name), "/".join((*parts, entry.name))
            try:
                if entry.is_symlink():
                    yield from _link(Path(entry.path), real, here, name, max_mb)
                elif entry.is_dir(follow_symlinks=False):
                    below.append((here, Path(entry.path)))
                elif not entry.is_file(follow_symlinks=False):
                    yield Item(here, name, problem="it is a pipe or a device, not a file: it was not opened")
                elif entry.name.lower().endswith(".zip"):
                    yield from _disk_zip(Path(entry.path), here, name, max_mb)
                else:
                    yield _file(Path(entry.path), here, name, max_mb)
            except OSError as error:
                yield Item(here, name, problem=f"it cannot be read: {_why(error)}")
        waiting += reversed(below)


def _link(path, real, parts, label, max_mb):
    """A link is read where it leads to an ordinary file inside the same learner's folder."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a circle of links, before Python 3.13
        yield Item(parts, label, problem="it is a link that leads nowhere")
        return
    if not target.is_relative_to(real):
        yield Item(parts, label, problem="it is a link that leads out of the folder: it was not read")
    elif not (len(parts) > 1 and target.is_relative_to(real / parts[0])) and target.is_file():
        yield Item(parts, label, problem="it is a link to another file of the class: it was not read")
    elif not target.is_file() or target.suffix.lower() == ".zip":
        yield Item(parts, label, problem="it is a link to a folder or zip: it was not followed")
    else:
        yield _file(target, parts, label, max_mb)


@contextmanager
def opened(path):
    """An ordinary file, opened so that a link, pipe or device in its place is not followed or waited for."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # not every system has all of them
        flags |= getattr(os, name, 0)
    with open(os.open(path, flags), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise Unreadable("it is not an ordinary file")
        yield stream


def _file(path, parts, label, max_mb):
    try:
        with opened(path) as stream:
            about = os.fstat(stream.fileno())
            if not ENDING.search(parts[-1]):
                return Item(parts, label, about.st_mtime)
            if about.st_size > max_mb * 2**20:
                return Item(parts, label, about.st_mtime, problem=too_large(about.st_size, max_mb))
            return Item(parts, label, about.st_mtime, stream.read(int(max_mb * 2**20) + 1))
    except (Unreadable, OSError) as error:
        return Item(parts, label, problem=f"it cannot be read: {_why(error)}")


def _disk_zip(path, parts, label, max_mb):
    try:
        with opened(path) as stream:
            yield from unzip(stream, parts, label, max_mb, 1, [])
    except (Unreadable, OSError) as error:
        yield Item(parts, label, problem=_why(error))
