"""Read the notebooks in a zip in memory, member by member, within limits. Nothing goes onto the disk."""

import io
import re
import stat
import time
import zipfile
from typing import NamedTuple

from .names import ENDING
from .notebook import Unreadable, too_large

# Limits for the zip that was named, for a zip in it or in a folder, and for a zip in a zip in a folder.
MEMBERS = (50_000, 5_000, 5_000)
UNPACKED_MB = (4_000, 1_000, 200)  # of notebooks and zips: nothing else is unpacked
ZIP_MB = 50  # a zip inside a zip is held in memory
DEEPEST = 2  # a learner's zip inside the zip of the class
LISTED = 400  # bytes for each member in a zip's list of members: names are 20 to 200 bytes
DEPTH, NAME = 40, 255  # folders in folders; characters of one name
_JUNK = {"__macosx", "thumbs.db", "desktop.ini", "__pycache__", "node_modules", "site-packages", "course_lib"}


class Item(NamedTuple):
    """Something that was handed in. `parts`: its folders and name; "" as the name: the folder is empty."""

    parts: tuple
    label: str  # where it is, for people
    time: float = 0.0  # of its last change, seconds since 1970
    data: bytes | None = None  # of a notebook
    problem: str = ""


def ignored(name):
    """True for what systems leave behind, and for the course's own library in a learner's copy."""
    name = re.sub(r"^(?:\.\./)+", "", name)
    return name.lower() in _JUNK or (name.startswith((".", "~$")) and name.strip(".") != "")


def listed(stream, level):
    """(the archive, its members as (parts, info) by name), without junk. Unreadable where the list cannot be read."""
    guard = _Guard(stream, MEMBERS[level])
    try:
        archive = zipfile.ZipFile(guard)
        guard.check(len(archive.infolist()))
        guard.most = None
        members = [(_split(_name(info)), info) for info in archive.infolist()]
    except Unreadable:
        raise
    except Exception as error:  # whatever a damaged zip does to the parser
        raise Unreadable("the zip is damaged, or not a zip") from error
    members = [member for member in members if member[0] and not any(map(ignored, member[0]))]
    return archive, sorted(members, key=lambda member: member[0])


def unzip(stream, parts, label, max_mb, level, around):
    """The members of a zip. Raises Unreadable where the zip as a whole cannot be read.

    `level` chooses the limits; `around` is what each zip around this one may still unpack, in bytes.
    """
    archive, members = listed(stream, level)
    parents = {names[:count] for names, _ in members for count in range(1, len(names))}
    budgets = [*around, [UNPACKED_MB[level] * 2**20]]
    for names, info in members:
        here, name = (*parts, *names), f"{label}: {'/'.join(names)}"
        if info.is_dir():
            if names not in parents:
                yield Item((*here, ""), name, _time(info))
            continue
        try:
            if ENDING.search(names[-1]):
                yield Item(here, name, _time(info), member(archive, info, max_mb, budgets))
            elif not names[-1].lower().endswith(".zip"):
                yield Item(here, name, _time(info))
            elif len(budgets) >= DEEPEST:
                raise Unreadable("it is a zip in a zip in a zip: hand in the notebook alone")
            else:
                inner = io.BytesIO(member(archive, info, ZIP_MB, budgets))
                yield from unzip(inner, here, name, max_mb, level + 1, budgets)
        except Unreadable as error:
            yield Item(here, name, _time(info), problem=str(error))
    if not members and parts:
        yield Item(parts, label, problem="the zip is empty")


class _Guard:
    """A stream for zipfile, which reads the list of all members in one piece: a huge one is refused."""

    def __init__(self, stream, most):
        self.stream, self.most = stream, most  # most: None once the list is read

    def check(self, count):
        if count > self.most:
            raise Unreadable(f"the zip holds more than {self.most:,} files: hand in the notebook alone")

    def read(self, size=-1):
        if self.most is not None:
            self.check(size / LISTED)
        return self.stream.read(size)

    def __getattr__(self, name):
        return getattr(self.stream, name)


def _name(info):
    """A member's name; macOS writes UTF-8 without saying so."""
    if not info.flag_bits & 0x800:
        try:
            return info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename


def _split(name):
    """A member's name as parts. `../` stays a mark on the part after it: a label, and never a way."""
    parts, up = [], ""
    for part in re.split(r"[/\\]", name):
        if part == "..":
            up = "../"
        elif part.strip() not in ("", "."):
            parts.append(up + part if len(part) <= NAME else f"{up}{part[:NAME - 30]}\u2026{part[-20:]}")
            up = ""
    return tuple(parts if len(parts) <= DEPTH else [*parts[:DEPTH - 1], parts[-1]])


def member(archive, info, max_mb, budgets):
    """The bytes of a member, or Unreadable with the reason."""
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Unreadable("it is a link, not a file")
    if info.flag_bits & 0x1:
        raise Unreadable("it is locked with a password: hand in again without one")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable(f"it is packed by a rare method ({info.compress_type}): make an ordinary zip")
    if info.file_size > max_mb * 2**20:
        raise Unreadable(too_large(info.file_size, max_mb))
    if any(info.file_size > left for left, in budgets):
        raise Unreadable("its zip unpacks to more than is read: hand in the notebook alone")
    try:
        with archive.open(info) as stream:
            data = stream.read(int(max_mb * 2**20) + 1)
    except Exception as error:  # a wrong checksum, a wrong header, a stream that ends: all say the same
        raise Unreadable("it is damaged inside its zip") from error
    for budget in budgets:
        budget[0] -= len(data)
    return data


def _time(info):
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0
