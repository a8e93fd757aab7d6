"""course_lib: the small library behind the Frugal AI Lab notebooks.

Lessons import from its modules: `from course_lib.energy import Meter`.
What lessons need stands in the modules of this folder; `course_lib.classroom` is for instructors.
"""

import re
import sys
from importlib import metadata

__version__ = "0.1.0"
MIN_PYTHON, MIN_TORCH = (3, 11), (2, 6)

if sys.version_info < MIN_PYTHON:  # said here too, for whoever copies the folder instead of installing it
    raise ImportError(
        f"Frugal AI Lab needs Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer and this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}: "
        "install a newer Python, or use the conda line in the README."
    )
try:
    _torch = metadata.version("torch") or ""  # importing torch would take a second
except metadata.PackageNotFoundError:
    _torch = ""
if _torch and tuple(map(int, re.findall(r"\d+", _torch)[:2])) < MIN_TORCH:
    raise ImportError(
        f"Frugal AI Lab needs PyTorch {MIN_TORCH[0]}.{MIN_TORCH[1]} or newer and this is PyTorch {_torch}: "
        "run `pip install --upgrade torch` and restart the kernel, or use Binder (see the README)."
    )
