"""Which energy sensors this machine has, and one window of them. codecarbon does the reading.

Added here: one tracker per process whose first window (lazy loading lands in it) is thrown away, a
provenance for every component, and the refusal of windows that cannot be true. No function here raises
for want of a sensor: what cannot be read is a `Component` without joules and with the reason.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from time import perf_counter

from course_lib.provenance import Component, Provenance, component_of, nothing
from course_lib.stats import si
from course_lib.units import JOULES_PER_KWH


def tracker_arguments() -> dict:
    """Every argument of codecarbon's offline tracker, so that no variable or config file of the machine
    (CODECARBON_*, ~/.codecarbon.config) changes a reading unseen. No file, no network, no location."""
    return {
        "country_iso_code": "FRA", "country_2letter_iso_code": None, "region": None, "cloud_provider": None,
        "cloud_region": None, "project_name": "course", "experiment_id": "course",
        "experiment_name": "course", "metadata": None, "gpu_ids": None, "measure_power_secs": 1,
        "tracking_mode": "process", "force_cpu_power": None, "force_ram_power": 0.0,
        "force_mode_cpu_load": False, "rapl_include_dram": False, "rapl_prefer_psys": False, "pue": 1.0,
        "wue": 0.0, "force_carbon_intensity_g_co2e_kwh": None, "output_methods": [], "output_handlers": [],
        "output_dir": ".", "output_file": "emissions.csv", "on_csv_write": "append", "logging_logger": None,
        "log_level": "error", "logger_preamble": "", "api_call_interval": -1, "api_endpoint": "",
        "api_key": "", "emissions_endpoint": None, "prometheus_url": "", "electricitymaps_api_token": None,
        "allow_multiple_runs": True,
    }


def codecarbon_tracker():
    """A quiet offline tracker. Raises what codecarbon raises; `Sensors` turns that into a reason."""
    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    try:
        module = importlib.import_module("codecarbon")
    except FileNotFoundError:  # nothing is writable, and its import asks for a temporary folder it never uses
        tempfile.tempdir, kept = os.sep, tempfile.tempdir
        try:
            module = importlib.import_module("codecarbon")
        finally:
            tempfile.tempdir = kept
    logging.getLogger("codecarbon").setLevel(logging.ERROR)  # its import sets its own level
    return module.OfflineEmissionsTracker(**tracker_arguments())


def busy_seconds() -> float | None:
    """CPU seconds that all programs of the machine have used so far, and those a hypervisor took away."""
    try:
        import psutil

        times = psutil.cpu_times()
    except Exception:  # noqa: BLE001 - no /proc, no psutil: the note on disturbance is left out
        return None
    idle = sum(getattr(times, name, 0) for name in ("idle", "iowait", "guest", "guest_nice"))
    return sum(times) - idle


def judge(component: Component, kwh: float | None, seconds: float) -> Component:
    """`component` with the joules of a window of `seconds`, or without them and with the reason."""
    joules = None if kwh is None else kwh * JOULES_PER_KWH
    counter = component.provenance == Provenance.MEASURED
    if joules is None or not isfinite(joules):
        why = "codecarbon gave no figure for this window"
    elif joules < 0:
        why = f"refused: {joules:.3g} J is negative, so the counter went backwards"
    elif joules == 0 and counter:
        why = (f"refused: the counter did not move in {si(seconds, 's')}; it is slower than "
               "the window, or was reset. Take a longer window")
    elif joules == 0:
        why = f"refused: the clock or sensor behind it stood still for {si(seconds, 's')}. Take longer"
    elif joules / seconds > component.limit:
        cause = ("the counter was reset or wrapped unseen" if counter else
                 "the window is too short for the clock or sensor behind it")
        watts, limit = si(joules / seconds, "W"), si(component.limit, "W")
        why = f"refused: {watts} is over the plausible {limit}; {cause}"
    else:
        return replace(component, joules=joules)
    return nothing(why, component.name, component.better)


@contextmanager
def unbroken():
    """Ctrl-C and "interrupt kernel" wait until the end: inside codecarbon they would leave its locks locked."""
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    came, kept = [], signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *args: came.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)
        if came:
            kept(*came[0])


class Sensors:
    """One tracker and its windows, one at a time. Lessons get the process-wide one through `shared()`."""

    def __init__(self, factory=codecarbon_tracker):
        self.pid, self.failure, self.busy, self._lock = os.getpid(), "", "", threading.Lock()
        self.seconds = self._opened = 0.0  # of the last window, with what reading the sensors took
        try:
            self.tracker = factory()
            self.tracker.start_task()  # lazy loading lands in the first window, so that one is thrown away
            self.tracker.stop_task()
        except Exception as error:  # noqa: BLE001 - whatever it met, a lesson goes on with CPU time
            self.tracker = None
            self.failure = f"codecarbon cannot read here ({type(error).__name__}: {error})"

    def components(self) -> tuple[Component, ...]:
        """The labels of this machine as they are now; joules are 0 and mean nothing."""
        if self.tracker is None:
            return (nothing(self.failure),)
        found = [component_of(entry) for entry in getattr(self.tracker, "_hardware", [None])]
        return tuple(c for c in found if c) or (nothing("codecarbon found no hardware it can read"),)

    def open(self, name: str) -> str:
        """Begin a window. Returns "" or the reason why there will be no joules."""
        if os.getpid() != self.pid:
            return "this process was forked from the one whose sensors these are: make a new Meter() in it"
        if not self._lock.acquire(blocking=False):
            return f"the window {self.busy!r} was open at the same time, and counts this energy"
        self.busy, self._opened = name, perf_counter()
        try:
            if self.tracker is None:
                raise RuntimeError(self.failure)
            self.tracker.start_task()
        except BaseException as error:  # a sensor never raises; an interrupt goes on, and leaves the sensors free
            self._lock.release()
            if not isinstance(error, Exception):
                raise
            return self.failure or f"codecarbon could not begin ({type(error).__name__}: {error})"
        return ""

    def close(self) -> tuple[Component, ...]:
        """End the window: one component each, with joules or with the reason why not."""
        if os.getpid() != self.pid:
            return (nothing("this process was forked inside the window; its parent counts the energy"),)
        try:
            data = self.tracker.stop_task()
        except Exception:  # noqa: BLE001 - a sensor never raises
            data = None
        finally:
            seconds = self.seconds = perf_counter() - self._opened
            self._lock.release()
        energy = {c.name: getattr(data, f"{c.name.lower()}_energy", None) for c in self.components()}
        return tuple(c if c.joules is None else judge(c, energy[c.name], seconds) for c in self.components())


_SHARED: Sensors | None = None


def shared() -> Sensors:
    """The one `Sensors` of this process: probed once, and once more after a fork."""
    global _SHARED
    if _SHARED is None or _SHARED.pid != os.getpid():
        _SHARED = Sensors()
    return _SHARED


def codecarbon_models(tdp_watts, cores, threads, seconds, ram_watts=20.0) -> dict[str, Component]:
    """What three models of one tool state for `threads` busy of `cores` logical cores over `seconds`.

    Joules, MODELLED, or ASSUMED where the RAM constant is in the sum: "machine" TDP x (0.1 + 0.9 load^3), "machine + RAM" with a constant for RAM,
    "process" TDP x load, with load = threads / cores. Source: codecarbon 3.3, external/hardware.py.
    Raises ValueError unless 0 <= threads <= cores.
    """
    if not 0 <= threads <= cores or cores <= 0:
        raise ValueError(f"{threads} busy threads on {cores} cores: give 0 to {cores} threads, and a core")
    load = threads / cores
    cubic, linear = tdp_watts * (0.1 + 0.9 * load**3) * seconds, tdp_watts * load * seconds
    ram = ram_watts * seconds
    rows = (("machine", cubic, "whole CPU", f"{tdp_watts:g} W x (0.1 + 0.9 load^3) x time"),
            ("machine + RAM", cubic + ram, "CPU and RAM", f"the same, and {ram_watts:g} W x time for RAM"),
            ("process", linear, "this process", f"{tdp_watts:g} W x load x time"))
    return {name: Component(name, joules, Provenance.ASSUMED if "RAM" in name else Provenance.MODELLED,
                            f"codecarbon, {name}", scope, why) for name, joules, scope, why in rows}
