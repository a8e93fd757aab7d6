"""`course release --to FOLDER`: a course for a class that shall not see solutions.

The folder is new, or that of an earlier release, which `.course-release` in it tells: the files that were written,
and the hash of each. A second release replaces those, and nothing else. What somebody changed or put in the place
of one of them is moved out of the folder first, so nothing is lost, and nothing that was tried out there is published.
A release that was cut short goes on with the same command.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from . import CourseError, execute
from .grading.texts import plural, write_whole
from .release import BEGIN

MARKER = ".course-release"

INSTRUCTORS, INSTRUCTORS_END = "<!-- instructors -->", "<!-- /instructors -->"
_SECTION = re.compile(rf"{INSTRUCTORS}.*?{INSTRUCTORS_END}\n*", re.DOTALL)
# a table of entry points, with the comment above it, where all that it names is in course_lib.classroom
_ENTRY_POINTS = re.compile(r'(?:^#.*\n)*^\[project\.entry-points\..*\]\n(?:^(?:#.*|.*"course_lib\.classroom\..*)\n)+\n*',
                           re.MULTILINE)

FILES = ("README.md", "LICENSE", "pyproject.toml", "environment.yml", "constraints.txt", "Makefile",
         ".gitignore", "notebooks/README.md", "exercises/README.md", "exercises/conftest.py")


def hand_out(root, folder, say=print):
    """Write the learners' course into `folder`: no sources, classroom data, hidden cells or history.

    Raises CourseError when the folder holds anything but an earlier release and what was added to it, or cannot be
    made, when an exercise is not released, when an instructors' section has no end, or when a solution's marker is
    found in what would be written. Then nothing was written.
    """
    from .build import sources
    from .release import is_current

    folder = Path(folder)
    try:
        before = _before(folder, root)
        for source in sources(root, "exercises"):
            if not is_current(source, root):
                raise CourseError(f"{source.name} has changed since its release: run `course release` first")
        made = next((path for path in (*reversed(folder.parents), folder) if not path.exists()), None)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{folder} cannot be made ({error.strerror}): name another folder") from None
    try:
        with tempfile.TemporaryDirectory(prefix="course_release_") as temporary:
            _fill(root, Path(temporary))
            _install(Path(temporary), folder, before, say)
    except (CourseError, OSError) as error:
        if before is None:
            _remove(folder, made)
        if isinstance(error, CourseError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        more = ("name another folder" if before is None else "make room, then run the same command again" if full
                else "see to that, then run the same command again")
        raise CourseError(f"{folder} cannot be written ({error}): {more}") from None


def _before(folder, root):
    """The marker of an earlier release as a dict, or None of a folder that is new or empty. CourseError for any other."""
    real = Path(os.path.realpath(folder))
    if any(real.is_relative_to(os.path.realpath(root / part)) for part in ("course_lib", "notebooks", "exercises")):
        raise CourseError(f"{folder} lies among the files that a release is made of: name a folder elsewhere")
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise CourseError(f"{folder} is a file: name a new folder")
    if folder.resolve() == root.resolve():
        raise CourseError(f"{folder} is this course itself: name a new folder")
    if {path.name for path in folder.iterdir()} <= {f"{MARKER}.part"}:  # a first release may have left that
        return None
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        sound = all(isinstance(sha, str) and not Path(name).is_absolute() and ".." not in Path(name).parts
                    for name, sha in marker["files"].items())
        if not sound or not isinstance(marker["finished"], bool):
            raise ValueError
    except FileNotFoundError:
        raise CourseError(f"{folder} is not empty, and no release of this course ({MARKER} is not in it): name a new "
                          "folder") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CourseError(f"{folder / MARKER} is damaged, so nobody can tell what in {folder} is of the release: name a new "
                          "folder") from None
    return marker


def _remove(folder, made):
    """Undo a release into a new or empty folder: `made` is the outermost folder that it made, or None."""
    for path in [made] if made else folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _hash(data):
    """Of a text the same whether git wrote it with LF or CRLF."""
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()


def _install(new, folder, before, say):
    """Put all files of `new` into the folder in place of those of the release before; say what is done.

    The marker comes first, with all that may lie in the folder until this is done: what is cut short is not taken for
    somebody's, and the next release goes on from it.
    """
    files = {file.relative_to(new).as_posix(): file.read_bytes() for file in sorted(new.rglob("*")) if file.is_file()}
    hashes = {name: _hash(data) for name, data in files.items()}
    ours, finished, count = before["files"] if before else {}, before is None or before["finished"], 0
    may = {name: sorted({*ours.get(name, "").split(), *hashes.get(name, "").split()}) for name in {**hashes, **ours}}
    for name in may:
        _look_at_the_way(folder, name)
    there = {name: _hash((folder / name).read_bytes()) for name in may if (folder / name).exists()}
    changed = [name for name in files if name in there and there[name] not in may[name]]
    back = [name for name in files if finished and name in ours and name not in there]
    _mark(folder, {name: " ".join(its) for name, its in may.items()}, finished=False)
    for name in () if finished else may:  # what a kill left of write_whole
        (folder / f"{name}.part").unlink(missing_ok=True)
    if changed:
        _move(folder, changed, say)
    for name, data in files.items():
        if there.get(name) != hashes[name]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, data)
            count += 1
    gone = [name for name in ours if name not in files and there.get(name) in may[name]]
    for name in gone:
        (folder / name).unlink()
        for above in list(Path(name).parents)[:-1]:
            if not any((folder / above).iterdir()):
                (folder / above).rmdir()
    _mark(folder, hashes, finished=True)
    if before is None:
        say(f"{folder}: a learners' course without sources")
        return
    what = "the earlier one" if finished else "one that was not finished"
    say(f"{folder}: a learners' course in place of {what}: {plural(count, 'file')} written, {len(gone)} removed")
    if back:
        say(f"not there any more, and written again: {_listed(back)}")
    if kept := _others(folder, "", {MARKER, *files}):
        say(f"kept, because they are not of this release: {_listed(kept)}")


def _mark(folder, files, *, finished):
    """Write the marker. Of a release that is not finished, a file may have several hashes, with a space between them."""
    data = {"finished": finished, "files": files}
    write_whole(folder / MARKER, json.dumps(data, indent=0, sort_keys=True).encode() + b"\n")


def _look_at_the_way(folder, name):
    """Raise CourseError where a file of the release would go through a link, or where something else stands."""
    for part in (*list(Path(name).parents)[-2::-1], Path(name)):
        path, is_file = folder / part, part == Path(name)
        if path.is_symlink():
            raise CourseError(f"{path} is a link, and a release writes through none: remove it, then run the same command again")
        if path.exists() and path.is_dir() == is_file:
            raise CourseError(f"{path} is a {'folder' if is_file else 'file'} where the release has a "
                              f"{'file' if is_file else 'folder'}: move it away, then run the same command again")


def _move(folder, names, say):
    """Move files out into a new folder beside this one, and say so, of those that were moved before an error too."""
    number, moved = 1, []
    while (aside := folder.with_name(f"{folder.resolve().name}.changed-{number}")).exists():
        number += 1
    try:
        for name in names:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / name, aside / name)
            moved.append(name)
    finally:
        if moved:
            say(f"changed by somebody since the earlier release, and now in {aside}: {_listed(moved)}")


def _others(folder, inside, files):
    """What else is in the folder: a file, or a whole folder that holds no file of the release."""
    found = []
    for path in sorted((folder / inside).iterdir()):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and any(file.startswith(f"{name}/") for file in files):
            found += _others(folder, name, files)
        elif name not in files and path.name not in ("__pycache__", ".ipynb_checkpoints", ".git"):
            found.append(name)
    return found


def _listed(names):
    return ", ".join(names[:8]) + f" and {len(names) - 8} more" * (len(names) > 8)


def for_learners(text, name):
    """A README without its instructors' sections; CourseError where one begins and does not end."""
    kept = _SECTION.sub("", text)
    if INSTRUCTORS in kept or INSTRUCTORS_END in kept:
        raise CourseError(f"{name} needs {INSTRUCTORS} before each section for instructors and "
                          f"{INSTRUCTORS_END} after it: one of a pair is missing")
    return kept.rstrip("\n") + "\n"


def _fill(root, folder):
    for name in FILES:
        if (root / name).exists():
            _copy(root / name, folder / name)
    for page in folder.rglob("*.md"):
        name = page.relative_to(folder).as_posix()
        page.write_text(for_learners(page.read_text(encoding="utf-8"), name), encoding="utf-8", newline="\n")
    makefile = folder / "Makefile"
    if makefile.exists():  # the help leaves out what belongs to the author's copy
        kept = re.sub(r"^\t@echo '(?:make (?:check|notebooks|slides|grade|bench|links) |EXERCISES=path ).*\n", "",
                      makefile.read_text(encoding="utf-8"), flags=re.MULTILINE)
        makefile.write_text(kept, encoding="utf-8", newline="\n")
    project = folder / "pyproject.toml"
    if project.exists():  # no entry point may lead into the classroom, which is not in this copy
        text = project.read_text(encoding="utf-8")
        project.write_text(_ENTRY_POINTS.sub("", text), encoding="utf-8", newline="\n")
    shutil.copytree(root / "course_lib", folder / "course_lib",
                    ignore=shutil.ignore_patterns("classroom", "__pycache__", "*.pyc"))
    if (root / "notebooks" / "images").is_dir():
        shutil.copytree(root / "notebooks" / "images", folder / "notebooks" / "images")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        nb = execute.read(path)
        nb.metadata.pop("jupytext", None)  # without its source, the pairing would make a new one at each save
        execute.write(nb, folder / "notebooks" / path.name)
    for path in sorted((root / "course_lib" / "assets" / "exercises").glob("*.ipynb")):
        _copy(path, folder / "exercises" / path.name)  # the pristine copy: no answers of whoever works here
    told = [file for file in folder.rglob("*") if file.is_file() and BEGIN.encode() in file.read_bytes()]
    if told:
        raise CourseError(f"{told[0].name} holds a solution's marker, so nothing was handed out: mend it")


def _copy(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
