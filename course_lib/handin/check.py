"""`course check NOTEBOOK`: the visible checks of an exercise, in words. It never writes into the notebook."""

import contextlib
import difflib
import io
import json
import re
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

_CONFLICT = re.compile(rb"^(?:<<<<<<<|>>>>>>>) ", re.MULTILINE)
_FRESH = "take a fresh copy from course_lib/assets/exercises"


class Unusable(Exception):
    """One sentence: why a file cannot be checked, and the way out."""


def check(files, seconds=60.0, say=None):
    """Check notebooks; returns the exit code: 0 all is right, 1 not all, 2 a file could not be checked.

    A bad file does not keep the others from being checked. `seconds` is the longest that one cell may take.
    `say` is called with each text (none: it is printed). Raises Unusable where nbval is missing or fails.
    """
    out = sys.stdout  # pytest's own is put aside below
    if find_spec("nbval") is None or find_spec("pytest") is None:
        raise Unusable("the packages that run the checks are missing: in the course folder type  make lab  "
                       'or  pip install ".[lab]"')
    code, good = 0, []
    for file in dict.fromkeys(map(Path, files)):
        try:
            good.append(usable(file))
        except Unusable as error:
            code = 2
            print(f"course: {error}", file=sys.stderr)
    if good:
        say = say or (lambda text: print(text, file=out, flush=True))
        code = max(code, _run(list(dict.fromkeys(good)), seconds, say))
    return code


def usable(file):
    """The absolute path of a notebook that can be checked; raises Unusable otherwise."""
    from .plugin import problem

    try:
        if not file.exists():
            there = [path.stem for path in file.parent.glob("*.ipynb")]
            near = difflib.get_close_matches(file.stem, there, n=1, cutoff=0.5)
            raise Unusable(f"{file} is not there"
                           + (f"; did you mean {file.parent / near[0]}.ipynb?" if near else ""))
        if file.is_dir():
            raise Unusable(f"{file} is a folder: name a notebook in it, such as "
                           "exercises/01_measuring_energy.ipynb")
        if file.suffix != ".ipynb" or not file.is_file():
            raise Unusable(f"{file} is not a notebook: name a file that ends in .ipynb")
        data = file.read_bytes()
    except OSError as error:
        raise Unusable(f"{file} cannot be read ({error.strerror})") from None
    try:
        wrong = problem(_cells(data))
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise Unusable(f"{file}: {wrong}")
    return file.resolve()


def _cells(data):
    """The cells of a notebook's bytes; ValueError with one sentence where they are none."""
    import nbformat

    if not data.strip():
        raise ValueError(f"the file is empty; {_FRESH}")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        if _CONFLICT.search(data):
            raise ValueError("it holds marks of a merge conflict (lines that begin with <<<<<<<); choose one "
                             f"of the two versions, or {_FRESH} and paste your answers into it") from None
        raise ValueError(f"it is not a notebook, or it is damaged: {_FRESH}") from None
    if not isinstance(found, dict) or not {"cells", "worksheets"} & set(found):
        raise ValueError(f"it is not a notebook: {_FRESH}")
    try:
        with warnings.catch_warnings(action="ignore"):
            cells = nbformat.reads(data.decode("utf-8"), as_version=4).cells
        fine = all(isinstance(cell.metadata, dict) and isinstance(cell.source, str)
                   and isinstance(cell.cell_type, str) for cell in cells)
    except Exception:  # noqa: BLE001 - nbformat raises anything
        fine = False
    if not fine:
        newer = isinstance(found.get("nbformat"), int) and found["nbformat"] > 4
        what = f"its format (nbformat {found['nbformat']}) is newer than what is read here" if newer else (
            "it is a damaged notebook")
        raise ValueError(f"{what}: {_FRESH} and paste your answers into it")
    return cells


def _run(files, seconds, say):
    """Run nbval with our plugin alone, whatever pytest.ini, conftest.py or variables lie around; 0 or 1."""
    import pytest

    from . import nbval_fixes
    from .plugin import Checks, environment

    told = []

    def tell(path, text):
        if len(files) > 1 and path not in told:
            say(f"{path.name}:")
        told.append(path)
        say(text)

    nbval_fixes.install()
    checks, trouble = Checks(files=files, seconds=seconds, tell=tell), io.StringIO()
    with tempfile.TemporaryDirectory(prefix="course_check_") as folder, contextlib.ExitStack() as around:
        ini = Path(folder, "pytest.ini")
        ini.write_text("[pytest]\n", encoding="utf-8")
        around.enter_context(environment(PYTEST_ADDOPTS=None, PYTEST_PLUGINS=None,
                                         PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"))
        around.enter_context(contextlib.redirect_stdout(trouble))
        around.enter_context(contextlib.redirect_stderr(trouble))
        code = pytest.main(
            ["-p", "nbval.plugin", "--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={seconds}",
             "-c", str(ini), "--rootdir", folder, "--noconftest", "--capture=no", "--color=no", "-q",
             *(f"-pno:{name}" for name in ("cacheprovider", "warnings", "faulthandler")), folder],
            plugins=[checks])
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    for path in checks.counts:
        for line in (*checks.notes[path], checks.summary(path)):
            say(line)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        last = [line for line in trouble.getvalue().splitlines() if line.strip()][-1:]
        raise Unusable(f"the checks could not be run: {' '.join(last)}")
    return int(code)
