"""`course release --to FOLDER`: a course for a class that shall not see solutions."""

import re
import shutil

from . import CourseError, execute
from .release import BEGIN

FILES = ("README.md", "LICENSE", "pyproject.toml", "environment.yml", "constraints.txt", "Makefile",
         ".gitignore", "notebooks/README.md", "exercises/README.md", "exercises/conftest.py")


def hand_out(root, folder, say=print):
    """Write the learners' course into the new `folder`: no sources, classroom data, hidden cells or history.

    Raises CourseError when the folder is not empty, when an exercise is not released, or when a solution's
    marker is found in what was written (the folder is then removed again).
    """
    from .build import sources
    from .release import is_current

    if folder.exists() and any(folder.iterdir()):
        raise CourseError(f"{folder} is not empty: name a new folder")
    for source in sources(root, "exercises"):
        if not is_current(source, root):
            raise CourseError(f"{source.name} has changed since its release: run `course release` first")
    existed = folder.exists()
    for name in FILES:
        if (root / name).exists():
            _copy(root / name, folder / name)
    script = folder / "pyproject.toml"
    if script.exists():  # the `course` command is for instructors, and not in this copy
        kept = re.sub(r'^\[project\.scripts\]\n|^course\s*=\s*"course_lib\.classroom.*\n', "",
                      script.read_text(encoding="utf-8"), flags=re.MULTILINE)
        script.write_text(kept, encoding="utf-8", newline="\n")
    shutil.copytree(root / "course_lib", folder / "course_lib",
                    ignore=shutil.ignore_patterns("classroom", "__pycache__", "*.pyc"))
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        nb = execute.read(path)
        nb.metadata.pop("jupytext", None)  # without its source, the pairing would make a new one at each save
        execute.write(nb, folder / "notebooks" / path.name)
    for path in sorted((root / "course_lib" / "assets" / "exercises").glob("*.ipynb")):
        _copy(path, folder / "exercises" / path.name)  # the pristine copy: no answers of whoever works here
    told = [file for file in folder.rglob("*") if file.is_file() and BEGIN.encode() in file.read_bytes()]
    if told:
        shutil.rmtree(folder)
        if existed:
            folder.mkdir()
        raise CourseError(f"{told[0].name} holds a solution's marker, so nothing was handed out: mend it")
    say(f"{folder}: a learners' course without sources")


def _copy(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
