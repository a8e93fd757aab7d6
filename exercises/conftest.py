"""`pytest --nbval-lax exercises/NN_name.ipynb` compares with the expected outputs as they were released.

nbval compares with what is stored in the notebook itself, and that is the learner's own output as soon as the
notebook is run and saved. So each check cell is taken from the untouched copy inside course_lib, text, tags
and expected output, and only the value it shows is compared: printing costs nothing.
"""

from pathlib import Path

import nbformat
import pytest

from course_lib.selfcheck import expected_text, pristine

HERE = Path(__file__).parent


def _shown(outputs):
    """The outputs of a cell, reduced to the one text that is compared."""
    text = expected_text({"outputs": outputs})
    return [nbformat.v4.new_output("execute_result", {"text/plain": text})] if text is not None else []


@pytest.hookimpl(tryfirst=True)  # before -k and the like take cells away
def pytest_collection_modifyitems(items):
    released = {name: (file, cell) for name, (file, cell) in pristine().items()
                if cell["metadata"]["nbgrader"]["grade"]}
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
            item.cell = nbformat.from_dict(released[name][1])
            item.options.update(check=True, skip=False, check_exception=False)
            item.compare_outputs = _only_value(item.compare_outputs)


def _only_value(compare):
    return lambda test, reference, *rest: compare(_shown(test), _shown(reference), *rest)
