"""What this machine is and what it can tell us, in one table; and one call that makes runs repeatable."""
import os
import platform
import random
import re
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from course_lib import MIN_PYTHON, MIN_TORCH
from course_lib.tables import Table

_ROOT = Path("/")  # tests put a small copy of a Linux tree here
_SERVICES = {"BINDER_SERVICE_HOST": "Binder", "COLAB_RELEASE_TAG": "Colab", "CODESPACES": "Codespaces"}


def _read(path) -> str:
    path = _ROOT / path
    return path.read_text(errors="replace").strip() if os.access(path, os.R_OK) and path.is_file() else ""


def _limits(v2: str, v1: str) -> list[str]:  # of our control group and those around it; then version 1
    own = re.search(r"^0::/(.*)$", _read("proc/self/cgroup"), re.MULTILINE)
    folder = Path("sys/fs/cgroup", own[1] if own else "")
    texts = [_read(f / v2) for f in (folder, *folder.parents)] + [_read(Path("sys/fs/cgroup") / v1)]
    return [t for t in texts if t and not t.startswith(("max", "-1"))]


def usable_cores() -> float:
    """CPU cores this process may use: its affinity mask, cut down to the container's share (may be 1.5)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    period = _read("sys/fs/cgroup/cpu/cpu.cfs_period_us") or "100000"  # version 1 keeps it in a second file
    for quota, per in (f"{text} {period}".split()[:2] for text in _limits("cpu.max", "cpu/cpu.cfs_quota_us")):
        cores = min(cores, float(quota) / float(per))
    return cores


def usable_memory_gb() -> float:
    """Memory this process may use, GB (1e9 bytes): the machine's, cut down to the container's limit."""
    import psutil
    limits = map(int, _limits("memory.max", "memory/memory.limit_in_bytes"))
    return min([psutil.virtual_memory().total, *limits]) / 1e9


def _cpu() -> str:
    if name := re.search(r"^model name\s*:\s*(.+)$", _read("proc/cpuinfo"), re.MULTILINE):
        return name[1]
    from cpuinfo import get_cpu_info  # comes with codecarbon; slow, so only where there is no such file
    return get_cpu_info()["brand_raw"]


def where() -> str:
    """The service this runs on, or "local"; then "container", "virtual machine" where the system shows it."""
    service = next((name for key, name in _SERVICES.items() if os.environ.get(key)), "local")
    box = any((_ROOT / f).exists() for f in (".dockerenv", "run/.containerenv"))
    guest = " hypervisor" in _read("proc/cpuinfo")
    return service + ", container" * bool(box) + ", virtual machine" * guest


def _gpu() -> str | None:
    import torch
    cuda, apple = torch.cuda.is_available(), torch.backends.mps.is_available()
    return torch.cuda.get_device_name(0) if cuda else "Apple GPU" if apple else None


def _version(name: str, found: str, least: tuple[int, int]) -> tuple[str, str, str]:
    old = tuple(map(int, re.findall(r"\d+", found)[:2])) < least
    way_out = f"{name} {found} is too old: install {least[0]}.{least[1]} or newer, or use Binder (see README)"
    return found, "too old" if old else "ok", way_out * old


def _sensors() -> tuple[str, str, str]:
    files = list((_ROOT / "sys/class/powercap").glob("*rapl*/energy_uj"))
    if any(os.access(f, os.R_OK) for f in files):
        return "CPU energy counter, readable", "ok", "it covers the whole CPU package, all programs together"
    if files:
        return "CPU energy counter, locked", "root only", "ask for read access to RAPL: see Meter().sources"
    return "no CPU energy counter in sight", "modelled", "CPU joules come from a model: see Meter().sources"


def _packages(*names: str) -> tuple[str, str, str]:
    found = ", ".join(f"{n} {_attempt(lambda n=n: metadata.version(n)) or 'missing'}" for n in names)
    advice = "run `make lab` again, or pip install what is missing" * ("missing" in found)
    return found, "missing" if advice else "ok", advice


def _cores() -> tuple[str, str, str]:
    import torch
    cores, threads = usable_cores(), torch.get_num_threads()
    advice = f"seed_everything(threads={max(1, int(cores))})" * (threads > max(cores, 1))
    return f"{cores:g} usable; PyTorch uses {threads}", "crowded" if advice else "ok", advice


def _memory() -> tuple[str, str, str]:
    import psutil
    total, free = usable_memory_gb(), psutil.virtual_memory().available / 1e9
    advice = "close other notebooks and programs" * (min(total, free) < 1.5)  # a lesson may take 1 GB
    return f"{total:.1f} GB, {min(total, free):.1f} GB free", "low" if advice else "ok", advice


def _attempt(find):
    with suppress(Exception):  # one strange file or driver must not hide the rest
        return find()


def machine() -> dict[str, str | float | None]:
    """What a reader of our figures must know: where, cpu, gpu, cores, memory_gb, python, os, torch."""
    system = platform.freedesktop_os_release if platform.system() == "Linux" else dict
    facts = {"where": where, "cpu": _cpu, "gpu": _gpu, "cores": usable_cores,
             "memory_gb": lambda: round(usable_memory_gb()), "python": platform.python_version,
             "os": lambda: system().get("PRETTY_NAME", platform.platform(terse=True)),
             "torch": lambda: metadata.version("torch")}
    return {name: _attempt(fact) for name, fact in facts.items()}


def check() -> Table:
    """This machine in one table: what, found, status in words, what to do. Never raises: what cannot be found
    out is "unknown". Shows no host name, user name or folder."""
    m, unknown = machine(), ("unknown", "unknown", "go on; see the README if a lesson fails")
    rows = {"where": lambda: (m["where"], "ok", ""), "operating system": lambda: (m["os"], "ok", ""),
            "Python": lambda: _version("Python", m["python"], MIN_PYTHON),
            "PyTorch": lambda: _version("PyTorch", m["torch"], MIN_TORCH),
            "CPU": lambda: (m["cpu"], "ok", ""), "cores": _cores, "memory": _memory,
            "GPU": lambda: (m["gpu"] or "none", "ok", ""), "sensors": _sensors,
            "numbers": lambda: _packages("numpy", "scikit-learn", "pandas", "matplotlib"),
            "lessons": lambda: _packages("codecarbon", "ipywidgets", "tqdm", "psutil")}
    found = [(name, *(row if (row := _attempt(find)) and row[0] else unknown)) for name, find in rows.items()]
    return Table(("what", "found", "status", "what to do"), found, "This machine")


def seed_everything(seed: int = 0, threads: int | None = None) -> None:
    """Seeds the random numbers of Python, NumPy and PyTorch; `threads`, if given, is for PyTorch on the CPU.
    Raises ValueError for a seed outside 0..2**32-1, or fewer than 1 thread."""
    for name, value, least in (("seed", seed, 0), ("threads", threads, 1)):
        if not (isinstance(value, int) and least <= value < 2**32 or value is None and name == "threads"):
            raise ValueError(f"{name} is {value!r}; give a whole number from {least} to {2**32 - 1:,}")
    import numpy as np
    import torch
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(seed)
    torch.set_num_threads(threads or torch.get_num_threads())
