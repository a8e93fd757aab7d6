"""A course of one lesson and one exercise, made anew in a temporary folder for the tests of the classroom."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LESSON, EXERCISE = "00_sample", "90_sample"


def make(folder):
    """Copy the sample course, with this course's own configuration, into `folder`; returns the folder."""
    shutil.copytree(ROOT / "tests" / "data" / "course", folder, dirs_exist_ok=True)
    shutil.copyfile(ROOT / "notebooks" / "jupytext.toml", folder / "notebooks" / "jupytext.toml")
    shutil.copyfile(ROOT / "exercises" / "conftest.py", folder / "exercises" / "conftest.py")
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    (folder / "README.md").write_text("# A course\n\n<!-- badges -->\n<!-- /badges -->\n", encoding="utf-8")
    (folder / "course_lib" / "assets").mkdir(parents=True)
    return folder


def save(manager, path, model):
    """Save a notebook as JupyterLab does."""
    manager.save({"type": "notebook", "format": "json", "content": model["content"]}, path)
