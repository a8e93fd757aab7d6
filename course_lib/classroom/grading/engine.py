"""From an exercise and a submission to points: what is run, in which order, and where.

The notebook that runs is the exercise's own. Of a submission it takes the texts of the answer cells and of the
learner's own cells, and nothing else. Hidden checks run last, under the seed of this grading; before them, the
imports of the given cells run once more, because an honest notebook may have used such a name for something else.
So whatever a learner's code shows or prints for a visible check was shown before it could know a hidden one.
"""

import ast
import atexit
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path

from .. import CourseError, build, execute, release
from . import model, warm

_HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)
SEED = "course-seed"  # the id of the cell between visible and hidden checks
VERSIONS = ("torch", "numpy", "nbval", "ipython", "ipykernel", "pytest", "frugal-ai-lab")


@dataclass(frozen=True)
class DryRun:
    """An exercise that was tried out on this machine. `expected` is secret: it holds the hidden checks' texts."""

    exercise: model.Exercise  # with the visible checks' texts
    expected: dict = field(repr=False)  # {check id: text}
    solved: dict = field(default_factory=dict)  # {check id: outcome} of the source's own solutions
    untouched: dict = field(default_factory=dict)  # {check id: outcome} of the released notebook
    notes: tuple = ()
    seed: int = 0

    def problem(self):
        """Why this exercise cannot grade anybody, in one line, or ""."""
        for check in self.exercise.checks:
            if self.solved[check.id] != model.RIGHT:
                return f"its own solution does not get {check.id} right ({self.solved[check.id]})"
            if self.untouched[check.id] == model.RIGHT:
                return f"an untouched notebook gets the points of {check.id}"
        return ""


# --- the exercise ----------------------------------------------------------------------------------------------------

def load_exercise(source):
    """The exercise in a source file (.py); CourseError where it breaks the format."""
    source = Path(source)
    nb = release.load(source)
    checks, titles, task, heading = [], {}, "", ""
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (found := _HEADING.search(cell.source)):
            heading = found[1].strip()
        marks = release.grading(cell)
        if marks.get("solution"):
            task = marks["grade_id"]
            titles[task] = heading
        if release.is_check(cell):
            hints = tuple(cell.metadata.get("course", {}).get("hints", ()))
            checks.append(model.Check(marks["grade_id"], marks["points"], "hidden" in execute.tags(cell), task, hints))
    content = json.dumps([[cell.cell_type, cell.source, cell.metadata] for cell in nb.cells], sort_keys=True)
    return model.Exercise(source.stem, str(nb.metadata["course"].get("title", source.stem)),
                          hashlib.sha256(content.encode()).hexdigest(), tuple(checks), tuple(titles), nb.cells, titles)


def imported(cells):
    """(import statements of the given cells as one text, the names of the modules they name)."""
    lines, modules = [], []
    for cell in cells:
        if cell.cell_type != "code" or release.grading(cell):
            continue
        try:
            body = ast.parse(cell.source).body
        except SyntaxError:  # magics
            continue
        for node in body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                lines.append(ast.unparse(node))
                names = [alias.name for alias in node.names]
                if isinstance(node, ast.ImportFrom):  # what is imported from a package may be a module of it
                    names = [node.module, *(f"{node.module}.{name}" for name in names)] if node.module else []
                modules += [name for name in names if name not in modules]
    return "\n".join(lines), modules


def merge(exercise, submission, seed=0):
    """The cells to run for a submission, in order; `submission` None is the untouched notebook, "solved" the source.

    Each is {"id", "source", "role", "task"}; see runner.py.
    """
    first, last, task = [], [], ""
    extras = {}
    for after, text in getattr(submission, "extras", ()):
        extras.setdefault(after, []).append(text)
    count = 0

    def own(name):
        nonlocal count
        for text in extras.pop(name, ()):
            first.append({"id": f"own-{count}", "source": text, "role": "extra", "task": ""})
            count += 1

    for cell in exercise.cells:
        marks, name = release.grading(cell), cell.id
        source = cell.source
        if cell.cell_type == "code" and not _only_says(cell):
            role = "given"
            if marks.get("solution"):
                role, task = "answer", name
                if submission != "solved":
                    stub = release.without_solution(source)
                    source = stub if submission is None else submission.answers.get(name, stub)
            elif release.is_check(cell):
                role = "hidden" if "hidden" in execute.tags(cell) else "visible"
            made = {"id": name, "source": _plain(source), "role": role, "task": task if marks else ""}
            (last if role == "hidden" else first).append(made)
        if len(first) == 1 and None in extras:  # what stands above everything, after the set-up cell
            own(None)
        own(name)
    for name in list(extras):
        own(name)
    again, _ = imported(exercise.cells)
    between = f'__import__("os").environ["COURSE_SEED"] = "{int(seed)}"\n{again}'
    return [*first, {"id": SEED, "source": between, "role": "seed", "task": ""}, *last]


def _only_says(cell):
    """True for a cell of `check(...)` or `hint(...)`, which say nothing while grading."""
    if release.grading(cell):
        return False
    try:
        body = ast.parse(cell.source).body
    except SyntaxError:
        return False
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
               and getattr(node.value.func, "id", "") in ("check", "hint") for node in body)


def _plain(text):
    """Text that any channel can carry: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()


# --- running ---------------------------------------------------------------------------------------------------------

@contextmanager
def warm_pool(exercises=(), secrets=(), *, sandboxed=True, warmed=True, say=lambda line: None):
    """Where this machine's kernels come from; yields what `job` needs of it.

    exercises: their imports are made in advance; secrets: paths that no kernel may see. Raises CourseError where
    a sandbox is asked for and cannot be had.
    """
    modules = sorted({name for exercise in exercises for name in imported(exercise.cells)[1]})
    kernel = {"sandboxed": sandboxed, "modules": modules, "secrets": [str(Path(path).resolve()) for path in secrets]}
    with ExitStack() as stack:
        server, why = None, ""
        if warmed:
            try:
                server = stack.enter_context(warm.server(modules))
            except warm.ColdError as error:
                why = str(error)
        if sandboxed and (server is None or not server["sandbox"]):
            why = why or server["why"]
            raise CourseError(f"no sandbox can be had on this machine ({why}): learners' code would run with your own "
                              "rights. Grade on Linux, or say --no-sandbox if you take that risk")
        if server is None:
            say(f"kernels start one by one, which is slower by seconds each: {why or 'warm kernels were not asked for'}")
        yield kernel | {"server": server, "warm": server is not None, "host": platform.node()}


def job(dry, submission, limits, kernel):
    """What grade_one needs for one submission: a dict of JSON types. `kernel` is what warm_pool yields."""
    cells = merge(dry.exercise, submission, dry.seed)
    return {"cells": cells, "expected": dry.expected, "limits": asdict(limits), "kernel": kernel,
            "points": {check.id: [check.points, check.hidden] for check in dry.exercise.checks}}


def dry_run(exercise, seed, limits, kernel):
    """Run the solutions once to record what each check shows, once to compare, and the untouched notebook."""
    dry = DryRun(exercise, None, seed=seed)
    shown = _run(job(dry, "solved", limits, kernel))["checks"]
    expected = {name: check["got"] for name, check in shown.items()}
    failed = {name: check["outcome"] if check["outcome"] != model.RIGHT else model.ERROR
              for name, check in shown.items() if check["outcome"] != model.RIGHT or check["got"] is None}
    if failed:
        outcomes = {check.id: failed.get(check.id, model.RIGHT) for check in exercise.checks}
        notes = tuple(f"{name}: {shown[name]['reason'] or 'it shows no text'}" for name in failed)
        return DryRun(exercise, {}, outcomes, dict.fromkeys(outcomes, model.UNANSWERED), notes, seed)
    checks = tuple(check if check.hidden else replace(check, expected=expected[check.id]) for check in exercise.checks)
    dry = replace(dry, exercise=replace(exercise, checks=checks), expected=expected)
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda what: _run(job(dry, what, limits, kernel))["checks"], ("solved", None))
        solved, untouched = ({name: check["outcome"] for name, check in checks.items()} for checks in both)
    return replace(dry, solved=solved, untouched=untouched)


def grade_one(job):
    """Grade one submission, on whatever machine this is: {"checks", "notes", "seconds"}.

    `checks`: {id: {"outcome", "points", "max", "got", "reason"}}; of hidden checks, got and reason are None. Raises
    RuntimeError where the grader, not the submission, is at fault.
    """
    result = _run(job)
    for name, check in result["checks"].items():
        most, hidden = job["points"][name]
        check.update(points=most if check["outcome"] == model.RIGHT else 0, max=most)
        if hidden:
            check.update(got=None, reason=None)
    return result


def _run(job):
    kernel = job["kernel"]
    if not kernel["warm"]:
        return _run_cold(job | {"kernel": None})
    server = kernel["server"] if kernel["host"] == platform.node() else None
    if server is None or not os.path.exists(server["socket"]):
        server = _own_server(tuple(kernel["modules"]))
    if kernel["sandboxed"] and not server["sandbox"]:
        raise RuntimeError(f"no sandbox on {platform.node()}: {server['why']}")
    here = job | {"kernel": {"server": server, "sandboxed": kernel["sandboxed"], "secrets": kernel["secrets"]}}
    try:
        said = _ask(here)
    except (ConnectionError, FileNotFoundError):  # the server was killed: go on with one of our own
        here["kernel"]["server"] = _own_server(tuple(kernel["modules"]))
        said = _ask(here)
    if said is None or "error" in said:
        raise RuntimeError((said or {}).get("error", "the process that graded it ended early"))
    return said


def _ask(job):
    with warm.connect(job["kernel"]["server"]["socket"], job["limits"]["total_seconds"] + 90) as connection:
        warm.send(connection, {"do": "grade", "job": job})
        return warm.receive(connection)


_servers, _lock = {}, threading.Lock()


def _own_server(modules):
    """The warm server of this process, started once: for workers on other machines."""
    with _lock:
        if modules not in _servers:
            stack = ExitStack()
            _servers[modules] = stack.enter_context(warm.server(modules))
            atexit.register(stack.close)
        return _servers[modules]


def _run_cold(job):
    """The same in an ordinary process with an ordinary kernel, for systems without fork."""
    keep = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "HOME", "USERPROFILE", "LANG", "APPDATA", "PROGRAMDATA")
    env = {name: os.environ[name] for name in keep if name in os.environ} | warm.ONE_THREAD
    code = ("import json, sys; sys.modules.setdefault('rfc3987_syntax', None)\n"
            "from course_lib.classroom.grading.runner import run\n"
            "out, sys.stdout = sys.stdout, sys.stderr\n"
            "print(json.dumps(run(json.load(sys.stdin))), file=out)")
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(job), capture_output=True, text=True,
                          check=False, encoding="utf-8", env=env, cwd=Path(__file__).parents[3],
                          timeout=job["limits"]["total_seconds"] + 120)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def environment():
    """Versions that can change a result, for the record and for the key of a kept one."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def sources(path, root=None):
    """The exercise sources that `path` (a source, a released notebook, a folder of either) stands for."""
    path = Path(path)
    if not path.exists():
        raise CourseError(f"{path} is not there: name an exercise's source or a folder of them")
    if path.is_dir():
        for folder in (path, path / "source"):
            found = sorted(file for file in folder.glob("*.py") if _is_source(file))
            if found:
                return found
        raise CourseError(f"{path} holds no exercise source (a .py file with cells that give points)")
    if path.suffix == ".py":
        return [path]
    if root is not None:
        return [build.source_of(path, root, "exercises")]
    raise CourseError(f"{path} is not an exercise's source: name the .py file it was released from")


def _is_source(file):
    return re.search(r"^# %%.*nbgrader=", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
