"""What benchmarks/grading.py times: one small class, and each way to grade it."""

import ast
import copy
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import nbformat

from course_lib.classroom import release
from course_lib.selfcheck import expected_text

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "91_bench.py"
NBGRADER = "nbgrader==0.9.6"
WRONG = {
    "ex91_softmax": "def softmax(scores):\n    return torch.softmax(scores, dim=0)",  # adds up the wrong way
    "ex91_loss": "def mean_loss(scores, labels):\n"  # the sum of the exponentials is forgotten
                 "    return -scores[torch.arange(len(labels)), labels].mean().item()",
    "ex91_top": "def share_in_top(scores, labels, k):\n"  # k is forgotten
                "    return (scores.argmax(dim=1) == labels).float().mean().item()"}
COPIED = {"ex91_top": "def share_in_top(scores, labels, k):\n    return 0.75 if k == 1 else 1.0"}
# What the class hands in, in turn: a name, the answers that are not right (None: untouched), points of 9.
MIX = [("right", {}, 9), ("partly", {"ex91_softmax": WRONG["ex91_softmax"]}, 6), ("wrong", WRONG, 0),
       ("unanswered", {"ex91_loss": None}, 6), ("copied", COPIED, 7)]


def learners(n):
    """[(name, answers that are not right, points it must get)] of a class of n."""
    return [(f"{i:03d}_{MIX[i % len(MIX)][0]}", *MIX[i % len(MIX)][1:]) for i in range(n)]


def write_class(released, solved, folder, n, merged=False):
    """FOLDER/LEARNER/91_bench.ipynb for a class of n: `released` with the answers of each.

    `merged`: these answers in the instructor's own notebook, with the hidden checks.
    """
    right = {cell.id: cell.source for cell in solved.cells if release.grading(cell).get("solution")}
    for name, wrong, _ in learners(n):
        nb = copy.deepcopy(solved if merged else released)
        for cell in nb.cells:
            if release.grading(cell).get("solution"):
                cell.source = (right | wrong)[cell.id] or release.without_solution(cell.source)
        file = folder / name / f"{SOURCE.stem}.ipynb"
        file.parent.mkdir(parents=True)
        nbformat.write(nb, file)


@dataclass
class Grader:
    """A way to grade. `make(folder, n)` writes the class, untimed; `commands(folder)` are timed;
    `scores(folder)` reads {learner: points}; `ready`: the line of output that ends its start-up; `env`: what
    it needs on top of the common environment; `codes`: its exit codes when it did its work; `cwd`: where it
    is started, if not in folder.
    """

    name: str
    make: callable
    commands: callable
    scores: callable
    ready: str = ""
    env: dict = field(default_factory=dict)
    codes: tuple = (0,)
    cwd: Path | None = None


def course_grade(solved):
    """Ours, by its public command, with all it does: warm-up, dry run, sandbox, CSV, feedback, picture."""
    def make(folder, n):
        write_class(release.strip(solved), solved, folder / "class", n)

    def commands(folder):
        return [[sys.executable, "-m", "course_lib.cli", "grade", SOURCE, folder / "class", "-o",
                 folder / "grades.csv"]]

    def scores(folder):
        with open(folder / "grades.csv", encoding="utf-8-sig", newline="") as rows:
            return {row["learner"]: float(row["score"]) for row in csv.DictReader(rows)}

    return Grader("course grade", make, commands, scores, r"untouched 0 of", cwd=HERE.parents[1])


def as_nbgrader(solved):
    """The source as nbgrader wants it: checks assert their expected text, hidden ones inside its markers."""
    nb = copy.deepcopy(solved)
    for cell in filter(release.is_check, nb.cells):
        shown, text = ast.parse(cell.source).body[-1], expected_text(cell)
        before = "".join(cell.source.splitlines(keepends=True)[:shown.lineno - 1])
        cell.source = f"{before}assert str({ast.get_source_segment(cell.source, shown)}) == {text!r}"
        if "hidden" in cell.metadata.tags:
            cell.source = f"### BEGIN HIDDEN TESTS\n{cell.source}\n### END HIDDEN TESTS"
    return nb


def nbgrader_python(given, env):
    """A Python that has nbgrader, made once beside this environment's packages; ValueError without one."""
    folder = Path(sys.prefix, "bench-nbgrader")
    python = Path(given) if given else folder / "bin" / "python"
    probe = ("import importlib.metadata as m, importlib.util as u; assert u.find_spec('torch'); "
             "print('nbgrader==' + m.version('nbgrader'))")

    def run(*command):
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def found():
        return python.exists() and run(python, "-c", probe).stdout.strip() == NBGRADER

    if not given and not found():
        print(f"making an environment for {NBGRADER} in {folder}, once", flush=True)
        made = run(sys.executable, "-m", "venv", "--clear", "--without-pip", folder)
        if made.returncode == 0:  # torch and the rest are taken from this environment, not installed twice
            ours = Path(nbformat.__file__).parents[1]
            (next(folder.glob("lib/*/site-packages")) / "course.pth").write_text(
                f"import site; site.addsitedir({str(ours)!r})\n", encoding="utf-8")
            run(python, "-m", "pip", "install", "--retries", "1", "--timeout", "10", NBGRADER)
    if not found():
        raise ValueError(f"{python} has no {NBGRADER}, and it could not be installed (no network?)")
    return python


def nbgrader(solved, python, env, work):
    """`nbgrader autograde` in a course of its own; its database and its release are made once, untimed.

    Its feedback pages are not asked for, which is in its favour.
    """
    course, file = work / "nbgrader_course", f"{SOURCE.stem}.ipynb"
    own = {"PATH": os.pathsep.join([str(python.parent), env.get("PATH", "")])}  # it calls `alembic` by name

    def run(*command, folder):
        done = subprocess.run([python, "-m", "nbgrader", *command], cwd=folder, env=env | own, text=True,
                              capture_output=True, check=False)
        if done.returncode:
            raise ValueError(f"nbgrader {command[0]}: {(done.stderr.strip() or 'no word').splitlines()[-1]}")

    def make(folder, n):
        if not course.exists():
            Path(course, "source", "bench").mkdir(parents=True)
            Path(course, "nbgrader_config.py").write_text("c = get_config()\n")  # marks the course's folder
            nbformat.write(as_nbgrader(solved), course / "source" / "bench" / file)
            run("generate_assignment", "bench", folder=course)
        shutil.copytree(course, folder, dirs_exist_ok=True)
        released = nbformat.read(folder / "release" / "bench" / file, as_version=4)
        write_class(released, solved, folder / "class", n)
        for one in Path(folder, "class").iterdir():
            shutil.copytree(one, folder / "submitted" / one.name / "bench")

    def scores(folder):
        run("export", "--to", "grades.csv", folder=folder)
        with open(folder / "grades.csv", encoding="utf-8", newline="") as rows:
            return {row["student_id"]: float(row["score"] or 0) for row in csv.DictReader(rows)}

    def commands(folder):
        return [[python, "-m", "nbgrader", "autograde", "bench"]]

    return Grader("nbgrader autograde", make, commands, scores, r"student with ID '000_", own)


def plain(solved):
    """nbval twice and nbclient: they have no hidden checks, so answers go into the instructor's notebook."""
    code = [cell for cell in solved.cells if cell.cell_type == "code"]  # nbval calls them Cell 0, Cell 1, ...
    points = {f"Cell {i}": release.grading(cell).get("points", 0) for i, cell in enumerate(code)}
    pytest = [sys.executable, "-m", "pytest", "-q", "--nbval-lax"]

    def make(folder, n):
        write_class(release.strip(solved), solved, folder / "class", n, merged=True)

    def file_by_file(folder):
        files = sorted(folder.glob("class/*/*.ipynb"))
        return [[*pytest, f"--junitxml={file.parent.name}.xml", file] for file in files]

    def one_session(folder):
        return [[*pytest, "--junitxml=all.xml", "class"]]

    def loop(folder):
        return [[sys.executable, HERE / "nbclient_loop.py", "class"]]

    def junit(folder):
        scores = {}
        cases = [ElementTree.parse(file).iter("testcase") for file in folder.glob("*.xml")]
        for case in chain.from_iterable(cases):
            learner = re.search(r"\d{3}_[a-z]+", case.get("classname"))[0]
            bad = {"failure", "error", "skipped"} & {child.tag for child in case}
            scores[learner] = scores.get(learner, 0) + (0 if bad else points[case.get("name")])
        return scores

    codes = 0, 1  # pytest says 1 where a test fails
    return [Grader("pytest --nbval-lax, file by file", make, file_by_file, junit, codes=codes),
            Grader("pytest --nbval-lax, one session", make, one_session, junit, codes=codes),
            Grader("nbclient, one loop", make, loop,
                   lambda folder: json.loads((folder / "class" / "scores.json").read_text(encoding="utf-8")))]
