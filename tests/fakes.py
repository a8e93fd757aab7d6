"""Sensors that are not there: a powercap tree and an NVML, driven by a clock, for codecarbon to read.

Run as a script it prints the bias of the first window of this fresh process:
    python tests/fakes.py meter|codecarbon cpu|wall
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

_REAL = {}  # what was there before the first fake
RANGE_UJ = 262_143_328_850  # where a real 64-bit package counter wraps


class Clock:
    """A clock that moves when told to. With one for fake and meter, nothing depends on real time."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float):
        self.now += seconds

    def install(self, monkeypatch):
        from course_lib import energy, sensors

        monkeypatch.setattr(energy, "perf_counter", self)
        monkeypatch.setattr(energy, "process_time", self)
        monkeypatch.setattr(sensors, "perf_counter", self)
        monkeypatch.setattr(energy, "busy_seconds", lambda: None)


def forget():
    """Makes the next Meter probe the machine again, as in a fresh process."""
    from codecarbon.core import hardware_cache

    from course_lib import sensors

    table = hardware_cache._tdp  # the chip and its table do not change, and looking them up is slow
    hardware_cache.clear_cache()
    hardware_cache._tdp = table
    sensors._SHARED = None


def bare(monkeypatch):
    """No counter and no GPU, whatever the machine under the tests has."""
    from codecarbon.core import cpu, gpu

    from course_lib import provenance

    _REAL.setdefault("is_rapl_available", cpu.is_rapl_available)
    monkeypatch.setattr(cpu, "is_rapl_available", lambda rapl_dir=None: False)
    monkeypatch.setattr(gpu, "is_nvidia_system", lambda: False)
    monkeypatch.setattr(gpu, "is_rocm_system", lambda: False)
    monkeypatch.setattr(provenance, "POWERCAP", Path("/nowhere/powercap"))
    forget()


class Powercap:
    """A powercap tree on disk. `watts`: one number per package; the counters follow `clock`."""

    def __init__(self, root: Path, watts=(30.0,), clock=time.perf_counter, limit=None, with_range=True,
                 dram=3.0):
        self.root, self.clock, self.start, self.zones = Path(root), clock, clock(), []
        for i, power in enumerate(watts):
            base = 5e9 * (i + 1)  # equal counters would count as two views of one
            package = self._zone(f"intel-rapl/intel-rapl:{i}", f"package-{i}", power, with_range, base)
            if limit:
                (package / "constraint_0_power_limit_uw").write_text(f"{limit * 1e6:.0f}\n")
            if dram:
                self._zone(f"intel-rapl/intel-rapl:{i}/intel-rapl:{i}:0", "dram", dram, with_range, 7e8)
        self.offset = dict.fromkeys((zone for zone, *_ in self.zones), 0.0)

    def _zone(self, path, name, watts, with_range, base) -> Path:
        folder = self.root / path
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        if with_range:
            (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (folder / "energy_uj").write_text(f"{base:.0f}\n")
        self.zones.append((folder, watts, base))
        return folder

    def refresh(self):
        for folder, watts, base in self.zones:
            energy = base + self.offset[folder] + 1e6 * watts * (self.clock() - self.start)
            (folder / "energy_uj").write_text(f"{energy % RANGE_UJ:.0f}\n")

    def set_counter(self, microjoules: float):
        """Puts package 0 at this value now."""
        folder, watts, base = self.zones[0]
        self.offset[folder] = microjoules - base - 1e6 * watts * (self.clock() - self.start)

    def install(self, monkeypatch):
        from codecarbon.core import cpu, rapl
        from codecarbon.external import hardware

        from course_lib import provenance

        tree, interface, read = str(self.root), cpu.IntelRAPL, rapl.RAPLFile._get_value

        def fresh(file):
            self.refresh()
            return read(file)

        bare(monkeypatch)
        is_available = _REAL["is_rapl_available"]
        monkeypatch.setattr(cpu, "is_rapl_available", lambda rapl_dir=None: is_available(tree))
        monkeypatch.setattr(hardware, "IntelRAPL", lambda **kwargs: interface(**{**kwargs, "rapl_dir": tree}))
        monkeypatch.setattr(rapl.RAPLFile, "_get_value", fresh)
        monkeypatch.setattr(provenance, "POWERCAP", self.root)
        return self


class Nvml:
    """A pynvml of one board of `watts`, with an energy `counter` or not; `step`: seconds between updates."""

    class NVMLError(Exception):
        pass

    NVMLError_NotSupported = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, watts=100.0, counter=True, step=0.0, clock=time.perf_counter):
        self.watts, self.counter, self.step, self.clock, self.back = watts, counter, step, clock, 0.0

    def nvmlInit(self):
        pass

    def nvmlDeviceGetCount(self):
        return 1

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if not self.counter:
            raise self.NVMLError("Not Supported")
        now = self.clock()
        now = now if not self.step else int(now / self.step + 1e-9) * self.step
        return 1e3 * (self.watts * now - self.back)

    def __getattr__(self, name):
        answers = {"Name": "Fake board", "UUID": "GPU-0", "HandleByIndex": 0, "PowerUsage": 1e3 * self.watts,
                   "EnforcedPowerLimit": 3e5, "Temperature": 40, "ComputeMode": 0,
                   "ComputeRunningProcesses": [], "GraphicsRunningProcesses": [],
                   "UtilizationRates": SimpleNamespace(gpu=50),
                   "MemoryInfo": SimpleNamespace(total=1, free=1, used=0)}
        for end, answer in answers.items():
            if name == f"nvmlDeviceGet{end}":
                return lambda *args: answer
        raise AttributeError(name)

    def install(self, monkeypatch):
        from codecarbon.core import gpu, gpu_nvidia

        monkeypatch.setattr(gpu, "is_nvidia_system", lambda: True)
        monkeypatch.setattr(gpu, "PYNVML_AVAILABLE", True)
        monkeypatch.setattr(gpu_nvidia, "pynvml", self)
        forget()
        return self


def first_window(who: str, clock: str) -> dict:
    """Bias of the first 1 s window of this process on a 30 W package whose counter follows `clock`.

    "cpu": the counter runs with the CPU time of this process, so that a busy machine changes nothing and
    the lazy loading inside a tracker still shows. "wall": with real time, as in a machine.
    """
    import tempfile

    from pytest import MonkeyPatch

    now = time.process_time if clock == "cpu" else time.perf_counter
    with MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        Powercap(Path(folder), clock=now).install(patch)
        if who == "meter":
            from course_lib.energy import Meter

            with Meter().block("first") as block:
                spent = burn(now, 1.0)
            joules, label = block.reading.joules, block.reading.label
        else:
            from course_lib.sensors import codecarbon_tracker

            tracker = codecarbon_tracker()
            tracker.start_task()
            spent = burn(now, 1.0)
            joules, label = 3.6e6 * tracker.stop_task().cpu_energy, "measured"
    return {"bias": joules / (30 * spent) - 1, "joules": joules, "label": label}


def burn(now, seconds: float) -> float:
    """Computes for `seconds` of the clock `now`; returns what it took."""
    start = now()
    while now() - start < seconds:
        sum(range(1000))
    return now() - start


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(json.dumps(first_window(*sys.argv[1:3])))
