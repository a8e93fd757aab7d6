"""For instructors: build the lessons, release the exercises, keep prose and links right.

Lessons never import from here, and a learner's copy of the course may come without this folder.
"""

from pathlib import Path


class CourseError(Exception):
    """One sentence for the person at the keyboard: what is wrong, and the way out."""


def course_root(start=None):
    """The course folder: the nearest folder at or above `start` that holds `notebooks/source`.

    Raises CourseError where there is none.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "source").is_dir():
            return folder
    raise CourseError(f"{here} is not inside the course folder (no notebooks/source above it): go there")
