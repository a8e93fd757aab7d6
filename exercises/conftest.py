"""`pytest --nbval-lax exercises/NN_name.ipynb` compares with the expected outputs as they were released.

nbval compares with what is stored in the notebook itself, and that is the learner's own output as soon as the
notebook is run and saved. So each check cell is taken from the untouched copy inside course_lib, text, tags
and expected output, and only the value it shows is compared: printing costs nothing. It goes by the name that
`check` knows it by, and the last lines of the run count the right ones.
"""

from pathlib import Path

import nbformat
import pytest

from course_lib.selfcheck import expected_text, pristine

HERE = Path(__file__).parent
CHECKS = pytest.StashKey()  # {what pytest calls a check: its notebook}


def _shown(outputs):
    """The outputs of a cell, reduced to the one text that is compared."""
    text = expected_text({"outputs": outputs})
    return [nbformat.v4.new_output("execute_result", {"text/plain": text})] if text is not None else []


@pytest.hookimpl(tryfirst=True)  # before -k and the like take cells away
def pytest_collection_modifyitems(config, items):
    released = {name: (file, cell) for name, (file, cell) in pristine().items()
                if cell["metadata"]["nbgrader"]["grade"]}
    checks = config.stash.setdefault(CHECKS, {})
    here = [item for item in items if hasattr(item, "cell") and item.path.is_relative_to(HERE)]
    for path in {item.path for item in here}:
        found = {}
        for item in (item for item in here if item.path == path):
            name = item.cell.metadata.get("nbgrader", {}).get("grade_id", item.cell.get("id"))
            if name in released:
                found[name] = item
        files = {released[name][0] for name in found} or {path.name}
        missing = [name for name, (file, _) in released.items() if file in files and name not in found]
        if missing or not found:
            raise pytest.UsageError(
                f"{path.name}: " + (f"the check cell {', '.join(missing)} is missing" if missing else
                                    "no check cell of this course is in it")
                + "; take a fresh copy from course_lib/assets/exercises and paste your answers into it")
        for name, item in found.items():
            check = items[items.index(item)] = _released(item, name, nbformat.from_dict(released[name][1]))
            checks[check.nodeid] = path


def _released(item, name, cell):
    """The item anew, with the released cell: nbval calls it "Cell 15", the learner knows it by its name."""
    options = item.options | {"check": True, "skip": False, "check_exception": False}
    new = type(item).from_parent(item.parent, name=name, cell_num=item.cell_num, cell=cell, options=options)
    new.compare_outputs = _only_value(new.compare_outputs)
    new.reportinfo = lambda: (item.path, 0, name)
    return new


def pytest_collection_finish(session):
    """Checks that -k and the like took away are not counted."""
    left, checks = {item.nodeid for item in session.items}, session.config.stash.get(CHECKS, {})
    session.config.stash[CHECKS] = {name: path for name, path in checks.items() if name in left}


def pytest_terminal_summary(terminalreporter, config):
    """One line a notebook: how many of its visible checks are right."""
    checks, notebooks = config.stash.get(CHECKS, {}), {}
    right = {report.nodeid for kind in ("passed", "xpassed") for report in terminalreporter.getreports(kind)}
    for name, path in checks.items():
        notebooks.setdefault(path, []).append(name in right)
    for path, found in notebooks.items():
        terminalreporter.write_line(f"{path.stem}: {sum(found)} of {len(found)} visible checks right")


def _only_value(compare):
    return lambda test, reference, *rest: compare(_shown(test), _shown(reference), *rest)
