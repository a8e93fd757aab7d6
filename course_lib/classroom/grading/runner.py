"""One submission through nbval: `run(job)` gives what each check came to. It runs in a process of its own.

A job is a dict of JSON types, made by engine.job:
    cells     in the order to run: {"id", "source", "role": given | answer | extra | seed | visible | hidden, "task"}
    expected  {check id: the text that nbval shall find}; None to record instead what each check shows
    limits    model.Limits as a dict;  kernel: {"server", "view", "sandboxed"} for warm kernels, None for ordinary ones

The expected texts stay in this process: the kernel is sent sources and nothing else. A cell that kills or hangs its
kernel costs its own task only: the notebook runs again without it, as long as the submission's time allows.
"""

import os
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from ...handin import nbval_fixes
from ...handin.plugin import environment
from . import model, provisioner

STUB = 'raise NotImplementedError("your code here")'
CHECKS = ("visible", "hidden")
RUNS = 12  # of one submission: more of its cells than that end kernels only on purpose
FATAL = (model.TIMEOUT, model.DIED, model.FLOOD)
LONGEST = 4000  # characters of a shown text that are kept
WATCH = 0.25  # seconds between two looks at a kernel's memory


def run(job):
    """{"checks": {id: {"outcome", "got", "reason"}}, "notes": [str], "seconds": float}.

    Raises RuntimeError where no kernel could be started: that is not the submission's doing.
    """
    started = time.monotonic()
    limits = model.Limits(**job["limits"])
    deadline = started + limits.total_seconds
    cells, decided, notes = [dict(cell) for cell in job["cells"]], {}, []
    place = Path(job["kernel"]["server"]["socket"]).parent if job["kernel"] else None  # goes when the server goes
    with tempfile.TemporaryDirectory(prefix="n", dir=place) as folder:
        kernel = job["kernel"]
        if kernel:
            provisioner.write_spec(folder, kernel["server"], limits, kernel["secrets"], kernel["sandboxed"])

        def run_through(some, known):
            session = _Session(some, job["expected"], limits, deadline, known)
            session.run(Path(folder), provisioner.NAME if kernel else None)
            return session

        with environment(JUPYTER_PATH=folder, JUPYTER_RUNTIME_DIR=folder, IPYTHONDIR=folder, JUPYTER_NO_CONFIG="1",
                         PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", COURSE_GRADING="1"):
            for _ in range(RUNS):
                session = run_through(cells, decided)
                decided = session.decided
                if session.fatal is None or not _without(session.fatal, cells, decided, notes):
                    break
            _once_more(cells, decided, run_through)
    for cell in cells:
        if cell["role"] in CHECKS:
            decided.setdefault(cell["id"], {"outcome": model.UNREACHED, "got": None, "reason": ""})
    return {"checks": decided, "notes": notes, "seconds": time.monotonic() - started}


def _once_more(cells, decided, run_through):
    """Ask a task's hidden checks right after its visible ones, where those were right and the hidden ones not.

    A later cell may have used the answer's name for something else, or changed a default. To be right is to show the
    value, now as before.
    """
    for task in dict.fromkeys(cell["task"] for cell in cells if cell["role"] == "answer"):
        visible = [i for i, cell in enumerate(cells) if cell["role"] == "visible" and cell["task"] == task]
        hidden = [cell for cell in cells if cell["role"] == "hidden" and cell["task"] == task]
        asked = [cell for cell in hidden if decided.get(cell["id"], {}).get("outcome") in (model.WRONG, model.ERROR)]
        if not visible or not asked or any(decided.get(cells[i]["id"], {}).get("outcome") != model.RIGHT for i in visible):
            continue
        seed = [cell for cell in cells if cell["role"] == "seed"]
        known = {name: came for name, came in decided.items() if name not in {cell["id"] for cell in asked}}
        again = run_through([*cells[:visible[-1] + 1], *seed, *asked], known).decided
        decided.update({name: came for name, came in again.items()
                        if name not in known and came["outcome"] == model.RIGHT})


def _without(fatal, cells, decided, notes):
    """Take the cell that ended or hung its kernel out of `cells`; False where running on makes no sense."""
    name, outcome = fatal
    cell = next(cell for cell in cells if cell["id"] == name)
    said = {model.TIMEOUT: "did not end in time", model.DIED: "ended the kernel",
            model.FLOOD: "wrote far too much"}[outcome]
    if cell["role"] == "answer":
        cell["source"] = STUB
        notes.append(f"answer cell '{name}' {said}: it counts as not answered")
        for other in cells:  # what it says of this task's checks is known
            if other["task"] == name and other["role"] in CHECKS:
                decided[other["id"]] = {"outcome": outcome, "got": None, "reason": f"the answer {said}"}
    elif cell["role"] == "extra":
        cell["source"], cell["fatal"] = "", True
        own = [other for other in cells if other["role"] == "extra"]
        bad = [own.index(other) for other in own if other.get("fatal")]
        if len(bad) == 1:
            notes.append(f"one of your own cells {said}; the rest was graded without it")
        else:  # no time to find each: first all below the first of them go, then all
            for other in own[bad[0] if len(bad) == 2 else 0:]:
                other["source"] = ""
            notes.append(f"another of your own cells {said}; the rest was graded without it and others of them")
    elif cell["role"] in CHECKS:
        cell["source"] = ""
        for other in cells:  # an answer that hangs in one check hangs in the next
            if other["task"] == cell["task"] and other["role"] in CHECKS:
                decided.setdefault(other["id"], {"outcome": outcome, "got": None, "reason": f"the answer {said}"})
                other["source"] = ""
    elif not any(cell["role"] in ("answer", "extra") for cell in cells[:cells.index(cell)]):
        raise RuntimeError(f"the exercise's own cell '{name}' {said}: is this machine too busy, or a limit too low?")
    else:  # what ended the kernel stands somewhere above
        own = [cell for cell in cells if cell["role"] == "extra" and cell["source"]]
        if not own:
            return False
        for cell in own:
            cell["source"] = ""
        notes.append("something in your notebook ended the kernel; the rest was graded without your own cells")
    return any(cell["role"] in CHECKS and cell["id"] not in decided for cell in cells)


class _Session:
    """One run of nbval, and the pytest plugin that watches it."""

    def __init__(self, cells, expected, limits, deadline, decided):
        self.cells = {cell["id"]: cell for cell in cells}
        self.expected, self.limits, self.deadline = expected, limits, deadline
        self.decided, self.fatal, self.before, self.trouble, self.memory = dict(decided), None, None, None, None

    def run(self, folder, kernel_name):
        file = folder / "notebook.ipynb"
        file.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=list(map(self._cell, self.cells.values())))),
                        encoding="utf-8")
        nbval_fixes.install(output_bytes=self.limits.output_mb * 2**20)
        kernel = [f"--nbval-kernel-name={kernel_name}"] if kernel_name else ["--nbval-current-env"]
        try:
            code = pytest.main(["-p", "nbval.plugin", "--nbval-lax", *kernel, "-c", os.devnull, "--rootdir", str(folder),
                         "--confcutdir", str(folder),  # or it would look through the folder of all temporary files
                         f"--nbval-cell-timeout={self.limits.cell_seconds}", "--noconftest", "--capture=no", "-q", "--no-summary",
                         *(f"-pno:{name}" for name in ("cacheprovider", "junitxml", "doctest", "logging",
                                                       "unraisableexception", "threadexception", "faulthandler")),
                         str(file)], plugins=[self])
        finally:
            nbval_fixes.uninstall()
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
            self.trouble = self.trouble or f"pytest ended with {pytest.ExitCode(code).name}"
        if self.trouble:
            raise RuntimeError(f"nbval could not run: {self.trouble}")

    def _cell(self, cell):
        made = nbformat.v4.new_code_cell(cell["source"], id=cell["id"])
        expected = (self.expected or {}).get(cell["id"])
        if expected is not None and cell["id"] not in self.decided:
            made.execution_count = 1
            made.metadata["tags"] = ["nbval-check-output"]
            made.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": expected}, execution_count=1)]
        return made

    # --- pytest's hooks

    def pytest_collection_modifyitems(self, items):
        for item in items:
            nbval_fixes.only_value(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        left = self.deadline - time.monotonic()
        if left <= 0:
            item.session.shouldstop = "the submission's time is over"
            return True
        item.config.option.nbval_cell_timeout = min(self.limits.cell_seconds, left)
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        watched = getattr(item.parent.kernel.km.provisioner, "kernel_pid", None)
        if watched is None:
            return (yield)
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(watched, done), daemon=True)
        watch.start()
        try:
            return (yield)
        finally:
            done.set()
            watch.join()

    def _watch(self, pid, done):
        """End the kernel when it and its children are too many, or hold more memory than they may together."""
        while not done.wait(WATCH):
            try:
                kernel = psutil.Process(pid)
                family = [kernel, *kernel.children(recursive=True)]
                held = sum(map(_memory, family)) if len(family) <= self.limits.processes else float("inf")
                if held > self.limits.memory_mb * 2**20:
                    self.memory = held
                    kernel.kill()
            except psutil.Error:
                pass

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        name = item.cell.id
        if call.when == "setup" and call.excinfo is not None:
            self.trouble = f"{call.excinfo.typename}: {call.excinfo.value}"
            item.session.shouldstop = "no kernel"
        if call.when != "call":
            return report
        try:
            outcome, reason = self._outcome(item, call)
        except Exception:  # noqa: BLE001 - a kernel may send messages of any shape; none of them is a right answer
            outcome, reason = model.WRONG, ""
        if isinstance(getattr(call.excinfo, "value", None), nbval_fixes.KernelGone) and self.before:
            self.fatal = self.before, outcome  # what ended the kernel did so after its reply
            item.session.shouldstop = outcome
            return report
        self.before = name
        if outcome in FATAL:
            self.fatal = name, outcome
            item.session.shouldstop = outcome
        if self.cells[name]["role"] in CHECKS:
            self.decided.setdefault(name, {"outcome": outcome, "got": _shown(item), "reason": reason})
        return report

    def _outcome(self, item, call):
        raised = call.excinfo.value if call.excinfo is not None else None
        if isinstance(raised, nbval_fixes.TooMuchOutput):
            return model.FLOOD, f"it wrote more than {self.limits.output_mb} MB"
        if isinstance(raised, nbval_fixes.CellTimeout):
            return model.TIMEOUT, f"it did not end within {self.limits.cell_seconds:g} s"
        if isinstance(raised, nbval_fixes.KernelDied) or not item.parent.kernel.is_alive():
            return model.DIED, (f"it took more memory ({self.limits.memory_mb} MB) or processes than it may" if self.memory
                                else "the kernel ended")
        if raised is None:
            return model.RIGHT, ""
        running = getattr(item.parent.kernel, "running", None)
        error = next((out for out in getattr(item, "test_outputs", None) or () if out.output_type == "error"), None)
        error = error or (running.reply if running and running.reply.get("status") == "error" else None)
        if error is None:
            return model.WRONG, ""
        said = f"{error.get('ename')}: {error.get('evalue')}"
        if said.startswith("NotImplementedError: your code here"):
            return model.UNANSWERED, "not answered yet"
        return model.ERROR, said.strip().partition("\n")[0][:300]


def _memory(process):
    try:
        return process.memory_full_info().pss
    except psutil.AccessDenied:
        return process.memory_info().rss


def _shown(item):
    text = nbval_fixes.shown(getattr(item, "test_outputs", None) or ())
    return None if text is None else text[:LONGEST]
