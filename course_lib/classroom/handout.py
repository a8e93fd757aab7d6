"""`course release --to FOLDER`: a course for a class that shall not see solutions."""

import re
import shutil

from . import CourseError, execute
from .release import BEGIN

INSTRUCTORS, INSTRUCTORS_END = "<!-- instructors -->", "<!-- /instructors -->"
_SECTION = re.compile(rf"{INSTRUCTORS}.*?{INSTRUCTORS_END}\n*", re.DOTALL)
# a table of entry points, with the comment above it, where all that it names is in course_lib.classroom
_ENTRY_POINTS = re.compile(r'(?:^#.*\n)*^\[project\.entry-points\..*\]\n(?:^(?:#.*|.*"course_lib\.classroom\..*)\n)+\n*',
                           re.MULTILINE)

FILES = ("README.md", "LICENSE", "pyproject.toml", "environment.yml", "constraints.txt", "Makefile",
         ".gitignore", "notebooks/README.md", "exercises/README.md", "exercises/conftest.py")


def hand_out(root, folder, say=print):
    """Write the learners' course into the new `folder`: no sources, classroom data, hidden cells or history.

    Raises CourseError when the folder is not empty or cannot be made, when an exercise is not released, when
    an instructors' section has no end, or when a solution's marker is found in what was written. Whatever
    was written before such an error is removed again.
    """
    from .build import sources
    from .release import is_current

    try:
        existed = folder.exists()
        if existed and not folder.is_dir():
            raise CourseError(f"{folder} is a file: name a new folder")
        if existed and any(folder.iterdir()):
            raise CourseError(f"{folder} is not empty: name a new folder")
        for source in sources(root, "exercises"):
            if not is_current(source, root):
                raise CourseError(f"{source.name} has changed since its release: run `course release` first")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{folder} cannot be made ({error.strerror}): name another folder") from None
    try:
        _fill(root, folder)
    except (CourseError, OSError) as error:
        shutil.rmtree(folder)
        if existed:
            folder.mkdir()
        if isinstance(error, CourseError):
            raise
        raise CourseError(f"{folder} cannot be written ({error}): name another folder") from None
    say(f"{folder}: a learners' course without sources")


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
