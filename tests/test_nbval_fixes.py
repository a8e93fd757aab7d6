"""What course_lib.handin.nbval_fixes mends in nbval: each defect shown in the stock one, and gone with it."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import nbval.kernel
import pytest
from nbval.plugin import IPyNbCell

from course_lib.handin import kernel_fixes, nbval_fixes

ROOT = Path(__file__).parent.parent
IGNORES = "while True:\n    try: time.sleep(1)\n    except KeyboardInterrupt: pass"
HANDED = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: pass"
OTHERS = """import time
kernel = get_ipython().kernel
for _ in range(14):  # seven seconds of other messages on the channel where the reply comes
    kernel.session.send(kernel.shell_stream.socket, "noise_reply", {}, ident=kernel._parent_ident["shell"])
    time.sleep(0.5)"""
SILENT = ("from IPython.core.interactiveshell import InteractiveShell\n"
          "InteractiveShell.showtraceback = lambda *args, **options: None\n1 / 0")
GARBAGE = ("socket = get_ipython().kernel.iopub_socket\n"
           "socket.send_multipart([b'x', b'<IDS|MSG>', b'signature', b'[', b'{}', b'{}', b'{}'])\n1")
BARS = ("from IPython.display import clear_output, display\nhandle = display(1, display_id=True)\n"
        "handle.update(2); clear_output(); 4")
TAGGED = {"tags": ["nbval-check-output"]}

# name: (a cell, what the stock nbval says of it, what ours says, what ours says of a second cell, `2 + 2`)
PASSED, DEAD = "PASSED", "Cell 1: the kernel had ended before this cell"
FLOOD = "Cell 0: more than 1 MB of output: the kernel was stopped"
LATE = "Cell 0: it did not end within 4 seconds"
CASES = {
    "dead": ("import os; os._exit(0)", "Timeout of 4 seconds exceeded while", "Cell 0: the kernel died",
             DEAD),
    "endless": ("while True: pass", "Timeout of 4 seconds exceeded executing", LATE, PASSED),
    "deaf": ("import time\n" + IGNORES, "Failed to interrupt kernel", LATE, DEAD),
    "handed": (HANDED, PASSED, LATE, PASSED),  # ends well after the interrupt
    "others": (OTHERS, PASSED, LATE, PASSED),
    "silent": (SILENT, PASSED, "the cell raised ZeroDivisionError: division by zero, and hid it", PASSED),
    "one_big": ("print('x' * 20_000_000)", PASSED, FLOOD, DEAD),
    "many": ("for _ in range(200): print('x' * 100_000, flush=True)", PASSED, FLOOD, DEAD),
    "big_error": ("raise ValueError('x' * 20_000_000)", "ValueError", FLOOD, DEAD),
    "garbage": (GARBAGE, "nbval says nothing of it in particular", PASSED, PASSED),
    "bars": (BARS, PASSED, PASSED, PASSED),
}
PLUGIN = """
import pytest
from course_lib.handin import nbval_fixes

def pytest_configure():
    nbval_fixes.install(output_bytes=1 << 20)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """{"stock" or "ours": (pytest's report of all notebooks, what it says of each cell)}."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "mended.py").write_text(PLUGIN, encoding="utf-8")
    for name, (source, *_) in CASES.items():
        cells = [nbformat.v4.new_code_cell(text) for text in (source, "2 + 2")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")

    def run(extra):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-rA", "-q", "--color=no", "-pno:cacheprovider", "--nbval-lax",
             "--nbval-current-env", "--nbval-cell-timeout=4", "--rootdir", str(folder), *extra, str(folder)],
            cwd=folder, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTEST_ADDOPTS": ""})
        report, _, summary = done.stdout.partition("short test summary info")
        sections = re.split(r"^_+ (\w+)\.ipynb::Cell (\d) _+$", report, flags=re.MULTILINE)
        cells = {key: text for key, text in zip(zip(sections[1::3], sections[2::3]), sections[3::3])}
        for outcome, name, number in re.findall(r"^(\w+) (\w+)\.ipynb::Cell (\d)", summary, re.MULTILINE):
            if outcome in ("PASSED", "XPASS"):
                cells[name, number] = PASSED
        return done.stdout, cells

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(("stock", "ours"), pool.map(run, ([], ["-p", "mended"])), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_defect_of_the_stock_nbval_is_gone(said, name):
    _, stock, ours, second = CASES[name]
    report, cells = said["ours"]
    assert ours in cells[name, "0"], report
    assert second in cells[name, "1"], report
    if name != "garbage":  # there the stock one does now this, now that
        assert stock in said["stock"][1][name, "0"], said["stock"][0]


@pytest.mark.slow
def test_messages_of_progress_bars_are_not_reported(said):
    assert "unhandled iopub msg" in said["stock"][0]
    assert "unhandled iopub msg" not in said["ours"][0]


# --- without a kernel


@pytest.fixture
def stock():
    """nbval as it comes, before and after."""
    nbval_fixes.uninstall()
    yield
    nbval_fixes.uninstall()


def parts():
    names = ("__init__", "await_reply", "get_message", "execute_cell_input", "runtest", "setup", "stop")
    return [vars(owner).get(name) for owner in (nbval.kernel.RunningKernel, IPyNbCell) for name in names]


def test_install_can_be_repeated_and_undone(stock):
    before = parts()
    nbval_fixes.install(output_bytes=10, cell_seconds=3)
    mended = parts()
    nbval_fixes.install(output_bytes=20)
    assert parts() == mended and sum(new is not old for new, old in zip(mended, before, strict=True)) == 7
    assert nbval.kernel.KernelManager is kernel_fixes.Manager
    assert kernel_fixes.limits == {"output_bytes": 20, "cell_seconds": None}
    nbval_fixes.uninstall()
    nbval_fixes.uninstall()
    assert parts() == before and nbval.kernel.KernelManager is not kernel_fixes.Manager


def test_a_cell_can_be_stopped(stock):
    """nbval calls a method of a cell that it does not have."""
    assert not hasattr(IPyNbCell, "stop")
    nbval_fixes.install()
    stopped = []
    item = type("Item", (), {"stop": IPyNbCell.stop})()
    kernel = type("Kernel", (), {"stop": lambda self: stopped.append(1)})()
    item.parent = type("File", (), {"kernel": kernel})()
    item.stop()
    assert stopped == [1]


class Silent:
    """Stands in for a kernel that is there and says nothing."""

    running = None

    def get_message(self, stream, timeout=None):
        raise kernel_fixes.Empty


@pytest.mark.parametrize(("nbvals", "ours", "files", "used"), [
    (2000, None, None, 2000), (2000, 30, None, 30), (2000, 30, 10, 10), (5, 30, 10, 5),
    (None, None, None, float("inf")),
])
def test_the_shortest_limit_counts(stock, monkeypatch, nbvals, ours, files, used):
    monkeypatch.setattr(kernel_fixes, "_send", lambda kernel, *args: "id")
    nbval_fixes.install(cell_seconds=ours)
    kernel = Silent()
    kernel.cell_seconds = files
    kernel_fixes.execute_cell_input(kernel, "1")
    with pytest.raises(kernel_fixes.Empty):
        kernel_fixes.await_reply(kernel, "id", timeout=nbvals)
    assert kernel.running.overdue and kernel.running.seconds == used


@pytest.mark.parametrize(("outputs", "text"), [
    ([], None), ([("stream", "x")], None), ([("execute_result", "4.0")], "4.0"),
    ([("execute_result", ["4", ".0"])], "4.0"), ([("execute_result", "1"), ("execute_result", "2")], "2"),
    ([("display_data", "1")], None), ([("execute_result", 3)], None), ([("execute_result", None)], None),
])
def test_shown_is_the_text_of_the_last_result(outputs, text):
    made = [{"output_type": kind, "data": {"text/plain": value}, "text": value} for kind, value in outputs]
    assert nbval_fixes.shown(made) == text


def test_odd_data_show_nothing():
    assert nbval_fixes.shown([{"output_type": "execute_result", "data": "<b>"}]) is None
