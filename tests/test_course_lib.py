"""The library stays small, quick to import, and honest about the Python and torch it needs."""

import subprocess
import sys
from pathlib import Path

import budgets
import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "course_lib").glob("*.py"))
PER_MODULE, TOGETHER = 250, 5100
HEAVY = ("codecarbon", "sklearn", "pandas", "matplotlib.pyplot", "ipywidgets", "IPython", "jupytext", "nbclient", "nbformat")


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_a_module_can_be_read_in_one_sitting(path):
    assert lines(path) <= PER_MODULE


def test_what_lessons_import_stays_small(record_property):
    total = sum(map(lines, MODULES))
    record_property("lines", total)
    assert total <= TOGETHER, f"{total} lines"


def test_lessons_never_import_from_the_classroom():
    for path in [*MODULES, *(ROOT / "notebooks" / "source").glob("*.py"), *(ROOT / "exercises" / "source").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "import classroom" not in text and "course_lib.classroom import" not in text, path.name


def test_importing_every_module_loads_torch_and_nothing_heavy():
    """Why importing the library costs little more than importing torch: `make bench` has the seconds."""
    names = ", ".join(f"course_lib.{p.stem}" for p in MODULES if p.stem != "__init__")
    code = f"import sys; import torch; before = set(sys.modules); import {names}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    loaded = set(done.stdout.split())
    assert "course_lib.energy" in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_an_old_python_is_told_in_one_sentence():
    code = "import sys; sys.version_info = (3, 10, 4); import course_lib"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT,
                          check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "3.11 or newer" in last and "3.10" in last and "README" in last


def with_torch(version):
    """Import course_lib in a fresh process where torch's metadata says this; None: no torch."""
    code = f"""
import sys
from importlib import metadata
def version(name, real=metadata.version):
    if name != "torch": return real(name)
    if {version!r} is None: raise metadata.PackageNotFoundError(name)
    return {version!r}
metadata.version = version
import course_lib
print("torch" in sys.modules)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT,
                          check=False)


@pytest.mark.parametrize("version", ["2.3.1", "1.13.0+cu117", "2.0.0a0+git1234"])
def test_an_old_torch_is_told_in_one_sentence(version):
    done = with_torch(version)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and "2.6 or newer" in last and f"this is PyTorch {version}:" in last
    assert "pip install --upgrade torch" in last and "README" in last


@pytest.mark.parametrize("version", ["2.6.0", "2.13.0+cu130", "3.0", "2.10.0a0", None, ""])
def test_a_good_torch_or_an_unknown_one_is_not_imported_to_see_it(version):
    done = with_torch(version)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_the_least_versions_are_those_of_the_package():
    import tomllib

    import course_lib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python, torch = (".".join(map(str, v)) for v in (course_lib.MIN_PYTHON, course_lib.MIN_TORCH))
    assert project["requires-python"] == f">={python}" and f"torch>={torch}" in project["dependencies"]


BUDGET = {"minutes": 45, "cpu_seconds": 60, "memory_mb": 1000}
ROW = (45, 60, 1000, 20.0, 400.0)


@pytest.mark.parametrize(
    ("cpu", "peak", "row", "said"),
    [
        (20, 400, (45, 60, 1000, 61.0, 400.0), "to build, its budget is 60"),
        (121, 400, (45, 60, 1000, 50.0, 400.0), "twice its budget of 60"),
        (20, 1001, (45, 60, 1000, 20, 1000), "its budget is 1000"),
        (20, 600, ROW, "the table in notebooks/README.md says 400"),
        (59, 400, (45, 60, 1000, 10.0, 400.0), "CPU seconds, the table"),
        (20, 400, (30, 60, 1000, 20, 400), "states other budgets"),
        (20, 400, None, "no row"),
    ],
)
def test_a_budget_that_is_exceeded_is_named(cpu, peak, row, said):
    (sentence,) = budgets.exceeded("02_x", cpu, peak, BUDGET, row)
    assert said in sentence


def test_a_lesson_inside_its_budget_passes():
    assert budgets.exceeded("02_x", 25, 410, BUDGET, ROW) == []
    assert budgets.exceeded("02_x", 89, 410, BUDGET, ROW) == []  # a slower or a busier machine


def test_the_table_has_every_lesson():
    assert sorted(budgets.table()) == sorted(p.stem for p in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
