"""Two rules for every run of the tests: no skip is silent, and no test writes into the learner's own ledger."""

import importlib
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from budgets import Budgets

# Reasons for which a test may be skipped or expected to fail: a pattern of pytest's reason, and why that is right.
ALLOWED = {
    r"no sandbox can be had on this machine": "some systems forbid user namespaces; grading refuses there, and says so",
    r"the root kind of sandbox needs root": "the other kind is tested there",
}


class NoSilentSkips:
    """Collects skipped and expectedly failing tests; those without an allowed reason fail the run."""

    def __init__(self):
        self.refused = []

    def _note(self, report):
        # a skip carries (file, line, reason); an expected failure carries its reason in wasxfail
        if not report.skipped:
            return
        reason = getattr(report, "wasxfail", None) or (
            report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr))
        if not any(re.search(pattern, reason) for pattern in ALLOWED):
            self.refused.append(f"{report.nodeid}: {reason}")

    pytest_runtest_logreport = pytest_collectreport = _note

    def pytest_sessionfinish(self, session, exitstatus):
        if self.refused and exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        if self.refused:
            terminalreporter.section("skipped without a reason on the list in tests/conftest.py: the run fails")
            for line in self.refused:
                terminalreporter.line(line)


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: tests of Ctrl-C would wait for ever
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(NoSilentSkips(), "no-silent-skips")
    config.pluginmanager.register(Budgets(), "budgets")
    # nbval's kernels inherit this; a test of the ledger sets its own
    config._course_ledger = tempfile.TemporaryDirectory(prefix="course_ledger_")
    os.environ["COURSE_LEDGER"] = os.path.join(config._course_ledger.name, "ledger.jsonl")


def pytest_unconfigure(config):
    config._course_ledger.cleanup()


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when a test says so, in place of the meter's clocks."""
    import fakes  # here, because it imports the library, and a run of lessons alone has no need of it

    made = fakes.Clock()
    made.install(monkeypatch)
    return made


@pytest.fixture
def one_thread():
    """One seed, and one thread: on a busy machine threads that wait for each other cost more than they help."""
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Imports a script of benchmarks/shipped by name; the table that it writes goes to `tmp_path`."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks" / "shipped")
    loaded = ["record"]

    def load(name):
        sys.modules.pop("record", None)
        monkeypatch.setattr(importlib.import_module("record"), "FOLDER", tmp_path)
        loaded.append(name)
        return importlib.import_module(name)

    yield load
    for name in loaded:
        sys.modules.pop(name, None)
