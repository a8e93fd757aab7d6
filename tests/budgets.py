"""Holds every lesson to its budget while nbval runs it: process CPU seconds, and peak resident memory.

A pytest plugin (registered by conftest.py). The kernel is asked just before nbval stops it, so nothing runs twice.
"""

import re
from pathlib import Path

import psutil
import pytest

TABLE = Path(__file__).parent.parent / "notebooks" / "README.md"
_ROW = re.compile(r"^\| \[(\w+)\].*?\| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \| (\d+) \|", re.MULTILINE)


def table():
    """{lesson: (minutes, CPU budget, memory budget, CPU measured, memory measured)} as notebooks/README.md says."""
    return {name: tuple(map(float, rest)) for name, *rest in _ROW.findall(TABLE.read_text(encoding="utf-8"))}


def spent(pid):
    """(CPU seconds, peak resident MB) of a kernel and its children."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    cpu = sum(sum(p.cpu_times()[:2]) for p in family) + sum(family[0].cpu_times()[2:4])
    try:  # Linux keeps the peak
        peak = sum(int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{p.pid}/status").read_text())[1]) for p in family)
        return cpu, peak / 1024
    except OSError:
        return cpu, sum(getattr(p.memory_info(), "peak_wset", p.memory_info().rss) for p in family) / 2**20


def exceeded(name, cpu, peak, budget, row):
    """What is wrong with a lesson's cost: strict in memory, generous in time. A list of sentences.

    The budget in CPU seconds is for the machine of the build, left in peace. A run of the tests may meet a slower
    processor, or one that others keep busy, where the same work takes more CPU time: it gets twice the budget.
    """
    said = []
    if row and row[3] > budget["cpu_seconds"]:
        said.append(f"{name} took {row[3]:.0f} CPU seconds to build, its budget is {budget['cpu_seconds']}")
    if cpu > 2 * budget["cpu_seconds"]:
        said.append(f"{name} used {cpu:.0f} CPU seconds, more than twice its budget of {budget['cpu_seconds']}")
    if peak > budget["memory_mb"]:
        said.append(f"{name} held {peak:.0f} MB, its budget is {budget['memory_mb']}")
    if row is None:
        return [*said, f"{name} has no row in notebooks/README.md: run `course build --force notebooks/source/{name}.py`"]
    if row[:3] != (budget["minutes"], budget["cpu_seconds"], budget["memory_mb"]):
        said.append(f"notebooks/README.md states other budgets for {name} than the notebook: build it again")
    if peak > 1.25 * row[4] + 25:
        said.append(f"{name} held {peak:.0f} MB, the table in notebooks/README.md says {row[4]:.0f}: build it again")
    if cpu > 4 * row[3] + 10:
        said.append(f"{name} used {cpu:.0f} CPU seconds, the table in notebooks/README.md says {row[3]:.0f}")
    return said


class Budgets:
    """After the last cell of a lesson, its cost is compared with its budget; too much is an error of that cell."""

    def __init__(self):
        self.seen = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item, nextitem):
        lesson = hasattr(item, "cell") and item.path.parent.name == "notebooks"
        last = lesson and (nextitem is None or nextitem.path != item.path)
        found = spent(item.parent.kernel.km.provisioner.pid) if last else None
        result = yield
        if found:
            name, budget = item.path.stem, item.parent.nb.metadata["course"]
            item.user_properties.append(("cost", (name, *found, dict(budget))))  # travels with the report of this teardown
            wrong = exceeded(name, *found, budget, table().get(name))
            if wrong:
                pytest.fail("; ".join(wrong), pytrace=False)
        return result

    def pytest_runtest_logreport(self, report):
        """Also called in the process that prints, where workers run the tests: only reports get there from a worker."""
        self.seen.update({cost[0]: cost[1:] for what, cost in report.user_properties if what == "cost"})

    def pytest_terminal_summary(self, terminalreporter):
        for name, (cpu, peak, budget) in sorted(self.seen.items()):
            terminalreporter.line(
                f"{name}: {cpu:.1f} CPU s (budget {budget['cpu_seconds']}), peak {peak:.0f} MB "
                f"(budget {budget['memory_mb']})"
            )
