"""course_lib: the small library behind the Frugal AI Lab notebooks.

Lessons import from its modules: `from course_lib.energy import Meter`.
What lessons need stands in the modules of this folder; `course_lib.classroom` is for instructors.
"""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # said here too, for whoever copies the folder instead of installing it
    raise ImportError(
        f"Frugal AI Lab needs Python 3.11 or newer and this is Python {sys.version_info[0]}.{sys.version_info[1]}: "
        "install a newer Python, or use the conda line in the README."
    )
