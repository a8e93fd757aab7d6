"""Run a notebook in a fresh kernel, count what it cost, and clean what no reader needs to see."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat

from . import CourseError
from .grading.texts import write_whole

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CHECKED = "nbval-check-output"  # nbval's tag: the stored output of this cell is compared
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_KERNEL_FILE = re.compile(r"\S*ipykernel_\d+[/\\]\d+\.py")
_WIDGET_REPR = re.compile(r"\A\w+\(.*\)\Z", re.DOTALL)
_RETURNS = re.compile(r"[^\n]*\r(?!\n)")


@dataclass(frozen=True)
class Cost:
    """What one run cost: `seconds` by the clock, the kernel's `cpu_seconds` and peak resident `memory_mb`."""

    seconds: float
    cpu_seconds: float
    memory_mb: float


class CellFailed(CourseError):
    """A cell raised; `.cell_index` says which."""


def is_code(cell):
    """True for a code cell with something in it (blank cells are never executed)."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def first_line(cell):
    """The first line of a cell's text, by which a message names it."""
    return cell.source.strip().partition("\n")[0]


def tags(cell):
    """The tags of a cell, as a list."""
    return cell.metadata.get("tags", [])


def _kernel_env(root, scratch, extra):
    """The kernel's environment: a throw-away ledger, no start-up files, course_lib from this folder."""
    env = {key: value for key, value in os.environ.items() if key not in ("MPLBACKEND", "COURSE_GRADING")}
    paths = [str(root), env.get("PYTHONPATH", "")]
    env.update(COURSE_LEDGER=str(Path(scratch, "ledger.jsonl")), COURSE_QUIET="1", IPYTHONDIR=str(scratch),
               PYTHONPATH=os.pathsep.join(filter(None, paths)), PYTHONWARNINGS="ignore::DeprecationWarning")
    env.update(extra or {})
    return env


def _spent(pid):
    """(CPU seconds of a process and its finished children, its peak resident MB)."""
    import psutil

    process = psutil.Process(pid)
    cpu = sum(process.cpu_times()[:4])  # user, system, and both again for children
    try:  # Linux keeps the high-water mark, which no polling can miss
        peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024
    except (OSError, TypeError):
        memory = process.memory_info()
        peak = getattr(memory, "peak_wset", memory.rss) / 2**20
    return cpu, peak


def execute(nb, root, folder, *, name="notebook", env=None, timeout=600):
    """Execute `nb` in place in a fresh kernel of this Python, working in `folder`; returns its Cost.

    Raises CellFailed (lesson, the cell's first line, the error's last line).
    """
    import nbclient
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    # No kernel folders: "python3" is then this interpreter, whatever kernels the user has installed.
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = nbclient.NotebookClient(
        nb, km=manager, timeout=timeout, record_timing=False, store_widget_state=False, coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}})
    count, started = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        with client.setup_kernel(env=_kernel_env(root, scratch, env), cwd=str(folder), cleanup_kc=True,
                                 stderr=subprocess.DEVNULL):  # the kernel's own log, not what cells say
            for index, cell in enumerate(nb.cells):
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
                if not is_code(cell):
                    continue
                count += 1
                problem = None
                try:
                    client.execute_cell(cell, index, execution_count=count)
                except nbclient.exceptions.CellExecutionError as error:
                    problem = f"{error.ename}: {error.evalue}".strip().splitlines()[-1]
                except nbclient.exceptions.CellTimeoutError:
                    problem = f"it was still running after {timeout} s"
                except nbclient.exceptions.DeadKernelError:
                    problem = "the kernel died (often: not enough memory)"
                if problem:
                    begin = first_line(cell)
                    failure = CellFailed(f"{name}: the cell that begins `{begin}` failed: {problem}")
                    failure.cell_index = index
                    raise failure
            cpu, peak = _spent(manager.provisioner.pid)
        paths = {str(Path(scratch)): "", sys.prefix: "python", str(root): ".", str(Path.home()): "~"}
        _scrub(nb, name, paths)
    return Cost(time.perf_counter() - started, cpu, peak)


def _scrub(nb, name, paths):
    """Take out of the outputs what differs from run to run or machine to machine, and nothing else."""
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            data = output.get("data", {})
            if data.pop(WIDGET_VIEW, None) is not None and set(data) <= {"text/plain"} and _WIDGET_REPR.match(
                    data.get("text/plain", "W()")):
                continue  # a widget's repr says nothing without its widget; its static twin stays
            for holder, key in [(output, "text"), *((data, key) for key in data if key.startswith("text/"))]:
                text = holder.get(key)
                if isinstance(text, str):
                    holder[key] = clean = _clean(text, paths)
                    if CHECKED in tags(cell) and clean != text and "\r" not in text:
                        raise CourseError(
                            f"{name}: the checked cell that begins `{first_line(cell)}` shows a path or a "
                            "memory address, which differs each time: end it with ; or print less")
            if kept and output.output_type == "stream" and kept[-1].get("name") == output.name:
                kept[-1].text += output.text
            else:
                kept.append(output)
        cell.outputs = kept


def _clean(text, paths):
    for path, short in paths.items():
        if len(path) > 3:  # never replace "/" alone
            text = text.replace(path + os.sep, short + "/" if short else "").replace(path, short)
    text = _KERNEL_FILE.sub("cell.py", _ADDRESS.sub("0x…", text))
    return _RETURNS.sub("", text)  # a progress bar's earlier states


def stable_ids(nb):
    """Give each cell an id made of its type and text: equal text has equal ids on every machine."""
    seen = {}
    for cell in nb.cells:
        digest = text_id(cell)
        seen[digest] = seen.get(digest, -1) + 1
        cell.id = digest + (f"-{seen[digest]}" if seen[digest] else "")


def text_id(cell):
    """Eight hexadecimal digits that stand for a cell's type and text."""
    return hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]


def read(path):
    """Read a notebook (nbformat 4); raises CourseError when it is not one."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise CourseError(f"{path} is not there") from None
    except Exception as error:  # noqa: BLE001 - nbformat raises many kinds for one mistake
        raise CourseError(f"{path} is not a notebook that can be read ({type(error).__name__})") from None


def write(nb, path):
    """Write a notebook with sorted keys, whole or not at all."""
    nb.nbformat, nb.nbformat_minor = 4, 5
    nbformat.validate(nb)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (nbformat.writes(nb) + "\n").encode())
