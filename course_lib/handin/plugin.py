"""The pytest plugin that judges a learner's notebook by the checks as they were released.

nbval compares with what is stored in the notebook itself, and that is the learner's own output as soon as the
notebook is run and saved. So each check cell is taken from the untouched copy inside course_lib, text, tags
and expected output, and only the value it shows is compared: printing costs nothing. Every other cell is run,
skip marks or not, and may raise. `exercises/conftest.py` and `course check` both use this, so they agree.
"""

import ast
import contextlib
import json
import os
import re
from collections import Counter

import nbformat
import pytest
from nbval.plugin import IPyNbFile

from ..selfcheck import expected_text, in_words, pristine, pristine_folder, raised, unnamed
from . import nbval_fixes
from .binds import binds

SECONDS = 60.0  # for one cell
_UNDEFINED = re.compile(r"name '(\w+)' is not defined")
_LINE = re.compile(r"\([^()]*, (line \d+)\)$")  # of a SyntaxError, after a file's name that says nothing
_NO_CELL = "not run: the exercise's cell that makes"
_LINES, _CHARACTERS = 40, 2000  # of a text that came: enough to see what is wrong


def name_of(cell):
    """The grade_id of a cell, or its id."""
    marks = cell.metadata.get("nbgrader")
    return str(isinstance(marks, dict) and marks.get("grade_id") or cell.get("id"))


def problem(cells):
    """What keeps a notebook of these cells from being checked: a sentence without its name, or ""."""
    released = pristine()
    matches = Counter(released[name_of(cell)][0] for cell in cells if name_of(cell) in released)
    if not matches:
        return "no check cell of this course is in it; name a notebook of the folder exercises"
    (file, _), = matches.most_common(1)
    kinds = {name_of(cell): cell.cell_type for cell in cells}
    kinds |= {name_of(cell): "code" for cell in cells if cell.cell_type == "code"}
    kinds |= dict.fromkeys(pasted(cells, file), "code")
    for word, mark in (("check", "grade"), ("answer", "solution")):
        needed = [name for name, (where, _) in released.items() if where == file and _marks(name).get(mark)]
        if lost := [name for name in needed if name not in kinds]:
            several = f"cells {', '.join(lost[:-1])} and {lost[-1]} are" if lost[1:] else f"cell {lost[0]} is"
            return (f"the {word} {several} missing; take a fresh copy from "
                    "course_lib/assets/exercises and paste your answers into it")
        if turned := [name for name in needed if kinds[name] != "code"]:
            return f"the {word} cell {turned[0]} is a {kinds[turned[0]]} cell; make it a code cell again"
    return ""


def pasted(cells, file):
    """{grade_id of an answer without its code cell: the place in `cells` of the last other cell that makes its names}.

    `file`: the released notebook, as pristine() names it. The grader takes the same cell.
    """
    released, found = pristine(), {}
    there = {name_of(cell) for cell in cells if cell.cell_type == "code"}
    wanted = {name: binds("".join(cell["source"])) for name, (where, cell) in released.items()
              if where == file and name not in there and _marks(name).get("solution")}
    for at, cell in enumerate(cells if wanted else ()):
        if cell.cell_type == "code" and name_of(cell) not in released:
            made = binds(cell.source)
            found |= {name: at for name, names in wanted.items() if names and names <= made}
    return found


def lost(cells):
    """{name: what is said of it}, of the names that the exercise's own cells make, imports first of all, and `cells` lack.

    A given cell is known by its id. Where a tool dropped the ids of most of them, nothing can be told: {}.
    """
    (file, _), = Counter(pristine()[name_of(cell)][0] for cell in cells if name_of(cell) in pristine()).most_common(1)
    given = [cell for cell in json.loads((pristine_folder() / file).read_text(encoding="utf-8"))["cells"]
             if "nbgrader" not in cell["metadata"]]
    ids, texts, found = {cell.get("id") for cell in cells}, {cell.source.strip() for cell in cells}, {}
    if 2 * sum(cell.get("id") in ids for cell in given) < len(given):
        return {}
    for cell in given:
        text = "".join(cell["source"]).strip()
        if cell["cell_type"] == "code" and cell.get("id") not in ids and text not in texts:
            said = (f"the exercise's cell that begins `{text.partition(chr(10))[0][:60]}` is gone: copy it from "
                    f"course_lib/assets/exercises/{file} to its place again")
            found |= dict.fromkeys(binds(text) | _imported(text), said)
    return found


def _imported(text):
    """The names that the import statements of a cell make; of what is no plain Python, none."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return set()
    return {(alias.asname or alias.name).partition(".")[0] for node in body
            if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}


def register(config, folder):
    """Judge the notebooks in `folder`, whatever else pytest runs: for a conftest's pytest_configure."""
    nbval_fixes.install()
    if not getattr(config.option, "nbval_kernel_name", None):  # else the notebook names a kernel, of anywhere
        config.option.nbval_current_env = True
    config.pluginmanager.register(Checks(folder))


class Checks:
    """The plugin: judges the collected notebooks in `folder`; or else `files`, whatever pytest collects.

    `seconds` is the longest that one cell may take; `tell(path, text)` is called with each check's words.
    `counts`: {path: [checks, right ones, points, points reached]}; `notes`: {path: what else went wrong}.
    """

    def __init__(self, folder=None, files=None, seconds=SECONDS, tell=None):
        self.folder, self.files, self.seconds = folder, files, seconds
        self.tell, self.counts, self.notes = tell or (lambda path, text: None), {}, {}
        self._checks, self._tasks = {}, {}  # by item: its notebook; the grade_id of the answer cell before it
        self._wrong = {}  # by notebook and name of a cell: what is said of it
        self._lost = {}  # by notebook: what lost() tells

    def pytest_unconfigure(self):
        nbval_fixes.uninstall()

    @pytest.hookimpl(tryfirst=True)  # before -k and the like take cells away
    def pytest_collection_modifyitems(self, session, items):
        if self.files is not None:  # not by pytest's arguments: "::" and "[" mean something there
            notebooks = [IPyNbFile.from_parent(session, path=path) for path in self.files]
            items[:] = [item for notebook in notebooks for item in notebook.collect()]
        here = [item for item in items if hasattr(item, "cell")
                and (self.folder is None or item.path.is_relative_to(self.folder))]
        for path in dict.fromkeys(item.path for item in here):
            cells = {item: name_of(item.cell) for item in here if item.path == path}
            notebook = next(iter(cells)).parent
            if wrong := problem(notebook.nb.cells):
                raise pytest.UsageError(f"{path.name}: {wrong}")
            notebook.cell_seconds, task, self._lost[path] = self.seconds, None, lost(notebook.nb.cells)
            cells, found = _in_place(cells, items)
            self.notes[path] = [f"answer cell '{name}' is missing: your cell that defines {', '.join(sorted(names))} "
                                "is graded" for name, names in found.items()]
            self.notes[path] += [
                f"answer cell '{name}' appears {count} times, the last one is graded" for name, count in
                Counter(cells.values()).items() if count > 1 and _marks(name).get("solution")]
            last = {name: item for item, name in cells.items()}
            for item, name in cells.items():
                marks = _marks(name) if last[name] is item else {}
                task = name if marks.get("solution") else task
                cell = nbformat.from_dict(pristine()[name][1]) if marks.get("grade") else None
                new = nbval_fixes.anew(item, name if marks else item.name, cell, check=cell is not None)
                self._tasks[new] = task
                if cell:
                    self._checks[new] = path
                    new.repr_failure = lambda excinfo, new=new: new.in_words
                items[items.index(item)] = new

    def pytest_collection_finish(self, session):
        """Checks that -k and the like took away are not counted."""
        for item in session.items:
            if item in self._checks:
                count = self.counts.setdefault(item.path, [0, 0, 0, 0])
                count[0] += 1
                count[2] += _marks(item.name).get("points", 0)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        if item not in self._tasks:
            return (yield)
        with environment(COURSE_GRADING="1", COURSE_QUIET="1"):  # its kernel's check() and hint() are silent
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        error = call.excinfo and call.excinfo.value
        if item in self._tasks and (call.when == "call" or call.when == "setup" and error):
            said = self._why(item, error) if call.when == "call" else f"not run: no kernel started ({error})."
            if item in self._checks:
                self._judge(item, error, said)
            elif said:
                self._wrong[item.parent, item.name] = said
                if item.name != self._tasks[item] and not (isinstance(error, nbval_fixes.KernelGone)
                                                           or said.startswith(_NO_CELL)):
                    cell = f"the cell that begins `{item.cell.source.strip().partition(chr(10))[0][:60]}`"
                    self.notes[item.path].append(plain(
                        said.replace("your answer", cell, 1) if "your answer" in said else f"{cell}: {said}"))
        return (yield)

    def _judge(self, item, error, said):
        expected, came = expected_text(item.cell), None
        if said is None:
            came = nbval_fixes.shown(item.test_outputs or ())
            if error and came == expected:
                said = f"not yet, nbval says: {error}"
        alone = isinstance(error, nbval_fixes.KernelGone) or said and said.startswith(_NO_CELL)
        item.in_words = plain(f"{item.name}: {said}" if alone else
                              in_words(item.name, came and _cut(came), expected, said))
        if not error:
            self.counts[item.path][1] += 1
            self.counts[item.path][3] += _marks(item.name).get("points", 0)
        self.tell(item.path, item.in_words)

    def _why(self, item, error):
        """Why a cell gave nothing, in words, or None."""
        running, answer = item.parent.kernel.running, self._wrong.get((item.parent, self._tasks[item]))
        if isinstance(error, nbval_fixes.KernelGone):
            return answer or "not run: the kernel had ended before. Mend what ended it, then ask again."
        if isinstance(error, nbval_fixes.CellTimeout):
            return (f"your answer did not end within {running.seconds:g} seconds. "
                    "Is there a loop that never stops?")
        if isinstance(error, nbval_fixes.TooMuchOutput):
            return "your answer printed far too much, and was stopped."
        if isinstance(error, nbval_fixes.KernelDied):
            return "your answer ended the kernel. Did it call exit, or need more memory than there is?"
        if running.reply.get("status") != "error":
            return None
        kind, text = str(running.reply.get("ename")), _LINE.sub(r"(\1)", str(running.reply.get("evalue")))
        missing = _UNDEFINED.search(text) if kind == "NameError" else None
        if missing and (gone := self._lost[item.path].get(missing[1])):
            self.notes[item.path] += [gone] * (gone not in self.notes[item.path])
            return f"{_NO_CELL} {missing[1]!r} is gone."
        if missing and item in self._checks and missing[1] in map(_id, ast.walk(ast.parse(item.cell.source))):
            return answer or f"{unnamed(missing[1])} No cell above makes it."
        return raised(kind, text, "save the notebook, then ask again")

    def pytest_terminal_summary(self, terminalreporter):
        for path in self.counts:
            for line in (*self.notes[path], self.summary(path)):
                terminalreporter.write_line(line)

    def summary(self, path):
        """The line on a notebook: how many of its visible checks are right, and their points."""
        checks, right, points, reached = self.counts[path]
        return f"{path.stem}: {right} of {checks} visible checks right, {reached:g} of {points:g} points"


def _in_place(cells, items):
    """`cells` ({item: name}) with pasted answers by their names and before their checks, and what they make.

    `items` is put in the same order.
    """
    released, mine, found = pristine(), list(cells), {}
    (file, _), = Counter(released[name][0] for name in cells.values() if name in released).most_common(1)
    for answer, at in pasted([item.cell for item in mine], file).items():
        found[answer] = binds("".join(released[answer][1]["source"]))
        cells[mine[at]], names = answer, list(released)
        below = names[names.index(answer) + 1:]
        check = next((name for name in below if _marks(name).get("grade")), None)
        order, places = list(cells), [items.index(item) for item in cells]
        first = next((item for item in order if cells[item] == check), None)
        if first and order.index(first) < order.index(mine[at]):
            order.remove(mine[at])
            order.insert(order.index(first), mine[at])
            for place, item in zip(places, order, strict=True):
                items[place] = item
            cells = {item: cells[item] for item in order}
    return cells, found


def _id(node):
    return getattr(node, "id", None)


def _marks(name):
    """The nbgrader metadata of a released cell ({} for a name that is none)."""
    return pristine()[name][1]["metadata"]["nbgrader"] if name in pristine() else {}


def plain(text):
    """The text with what a terminal would obey, or not show, written out."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _cut(text):
    short = "\n".join(text[:_CHARACTERS].split("\n")[:_LINES])
    return text if short == text else f"{short}\n... (and more)"


@contextlib.contextmanager
def environment(**values):
    """os.environ with these variables, for a while; None takes one away."""
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
