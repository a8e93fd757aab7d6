"""Measure time, CPU time and energy of a piece of code, and say with every joule how it came about.

    meter = Meter()
    meter.sources                             # what this machine can tell, and how to do better
    with meter.block("train") as block: ...
    block.reading                             # 3.1 s, 3.0 s of CPU time, 12 J (modelled: ...)
    meter.measure(fn), meter.compare(a, b)    # repeats with an interval; three-way verdict

Provenance and `Reading` stand in `course_lib.provenance`, the reading itself in `course_lib.sensors`.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from numbers import Integral
from time import perf_counter, process_time
from typing import Self

from course_lib.provenance import Component, Provenance, nothing
from course_lib.readings import Carbon, Idle, Measurement, Reading
from course_lib.sensors import Sensors, busy_seconds, shared, unbroken
from course_lib.stats import Comparison, mean_interval, ratio_interval, real, si, verdict
from course_lib.tables import Table

__all__ = ["Carbon", "Comparison", "Component", "Idle", "Measurement", "Meter", "Provenance", "Reading"]

MAX_CALLS = 1_000_000  # calls in one window; a function too fast even for this measures the loop around it
SLICES = 24  # turns that two sides take within one pair of windows
CPU_WINDOW, COUNTER_WINDOW, GPU_WINDOW = 0.2, 1.0, 2.0  # seconds; an NVIDIA counter moves every 100 ms


def _need(ok: bool, sentence: str):
    if not ok:
        raise ValueError(sentence)


def _cuda():
    """torch.cuda if this program has used it, else None; does not import torch."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_available() and cuda.is_initialized() else None


class Block:
    """One window, from `Meter.block`. `reading` is there after the end, also when the code inside raised."""

    reading: Reading | None = None

    def __init__(self, meter: Meter, name: str, calls: int = 1, read: bool = True):
        self.meter, self.name, self.calls, self.read = meter, name, calls, read

    def __enter__(self) -> Self:
        self._refused = "not begun"
        try:
            with unbroken():
                self._refused = self.meter._sensors.open(self.name) if self.read else "not asked for"
            if cuda := _cuda():
                cuda.synchronize()  # work queued before the window is not part of it
            self._busy, self._cpu, self._start = busy_seconds(), process_time(), perf_counter()
        except BaseException:  # interrupted here, `with` calls no __exit__: the sensors must be free again
            with unbroken():
                self._refused or self.meter._sensors.close()
            raise
        return self

    def __exit__(self, *exception) -> None:
        try:
            if cuda := _cuda():
                cuda.synchronize()
        finally:
            try:
                seconds, cpu, busy = perf_counter() - self._start, process_time() - self._cpu, busy_seconds()
            finally:
                with unbroken():
                    parts = (nothing(self._refused),) if self._refused else self.meter._sensors.close()
            if self.meter.ram_watts is not None:
                parts += (self.meter._ram(seconds),)
            notes = self._notes(seconds, cpu, busy)
            self.reading = Reading(self.name, seconds, cpu, parts, self.calls, notes)

    def _notes(self, seconds, cpu, busy) -> tuple[str, ...]:
        notes, whole = [], self.meter._sensors.seconds
        if not self._refused and whole > 1.1 * seconds:
            notes.append(f"short window: energy is of {si(whole, 's')}, of which code {si(seconds, 's')}")
        if None not in (busy, self._busy) and seconds >= 0.1:  # the system's clock ticks every 10 ms
            others = (busy - self._busy - cpu) / (seconds * (os.cpu_count() or 1))
            if others > 0.1:
                notes.append(f"disturbed: others used {min(others, 1):.0%} of the machine's CPU meanwhile")
        return tuple(notes)


class Meter:
    """Measures windows of code. Never raises for want of a sensor; one set of sensors per process.

    `ram_watts`: adds RAM as its own line, ASSUMED: that many watts times the clock. Off by default.
    `tracker_factory`: makes another tracker than the shared one (tests).
    """

    def __init__(self, *, ram_watts: float | None = None, tracker_factory: Callable | None = None):
        _need(ram_watts is None or 0 < real(ram_watts) < 1e5,
              f"ram_watts is {ram_watts!r}: give watts above 0, or None to leave RAM out")
        self.ram_watts, self._sensors = ram_watts, Sensors(tracker_factory) if tracker_factory else shared()

    def _ram(self, seconds: float) -> Component:
        return Component("RAM", self.ram_watts * seconds, Provenance.ASSUMED, "constant",
                         "RAM of the machine", f"{self.ram_watts:g} W x the clock")

    @property
    def sources(self) -> Table:
        """What each component of this machine can tell, why, and how to do better."""
        parts = self._sensors.components() + ((self._ram(0),) if self.ram_watts is not None else ())
        return Table(("component", "provenance", "source", "scope", "why", "how to do better here"),
                     [(c.name, c.label, c.source, c.scope, c.why, c.better or None) for c in parts])

    def block(self, name: str = "block") -> Block:
        """`with meter.block("train") as block: ...`; then `block.reading`."""
        return Block(self, name)

    def _sensed(self) -> tuple[str, ...]:
        """The components whose joules are evidence of their own; () means: go by CPU time."""
        parts = self._sensors.components()
        sensed = tuple(c.name for c in parts if c.provenance >= Provenance.SAMPLED)
        return sensed if len(sensed) == len(parts) or _cuda() else ()

    def _window(self, sensed, window) -> float:
        _need(window is None or 0 < real(window) < 3600,
              f"window is {window!r}: give seconds above 0, such as 0.2, or leave it out")
        return window or (GPU_WINDOW if "GPU" in sensed else COUNTER_WINDOW if sensed else CPU_WINDOW)

    def _run(self, fn, calls: int, name: str, read: bool = True) -> Reading:
        with Block(self, name, calls, read) as block:
            for _ in range(calls):
                fn()
        return block.reading

    def _calls(self, fn, window: float, sensed=()) -> int:
        """Calls that fill a window; the first call, with its lazy loading, is thrown away.

        Where CPU time is what counts, the window is of CPU time, so that a busy machine does not shorten it;
        code that waits gets at most 4 windows by the clock.
        """
        def size(r):
            return r.seconds if sensed else min(r.seconds, max(r.cpu_seconds, r.seconds / 4))

        _need(callable(fn), f"{fn!r} is not a function: pass one without arguments, such as lambda: model(x)")
        fn()
        calls = 1
        while (seconds := size(self._run(fn, calls, "calibration", read=False))) < window / 2:
            name = getattr(fn, "__name__", "the function")
            _need(calls < MAX_CALLS,
                  f"{name!r} returns before the clock can see it: {calls:,} calls took {si(seconds, 's')} of "
                  f"a window of {si(window, 's')}; give it more work, or put a loop inside it")
            calls = min(MAX_CALLS, calls * min(100, math.ceil(1.2 * window / max(seconds, 1e-9))))
        return min(MAX_CALLS, math.ceil(calls * window / seconds))

    @staticmethod
    def _value(reading: Reading, sensed) -> float | None:
        """The quantity compared, per call: joules of the sensed components, else CPU seconds."""
        if not sensed:
            return reading.cpu_seconds / reading.calls
        joules = [c.joules for c in reading.components if c.name in sensed]
        return None if None in joules or not joules else math.fsum(joules) / reading.calls

    def measure(self, fn, rel=0.05, window=None, min_n=5, max_n=20, name=None) -> Measurement:
        """Repeat windows of `fn()` until the 95 % interval's half-width is under `rel` of the mean.

        `window`: seconds per window; `min_n` to `max_n` windows. Raises ValueError for a value out of range
        and for a function too fast to fill a window.
        """
        _need(0 < real(rel) <= 1, f"rel is {rel!r}: give a share above 0 and up to 1, such as 0.05 for 5 %")
        _need(2 <= real(min_n, Integral) <= real(max_n, Integral),
              f"min_n is {min_n!r} and max_n {max_n!r}: give whole numbers with 2 <= min_n <= max_n")
        sensed, name = self._sensed(), name or getattr(fn, "__name__", "fn")
        calls, readings, notes = self._calls(fn, self._window(sensed, window), sensed), [], []
        while len(readings) < max_n:
            readings.append(self._run(fn, calls, name))
            values = [v for r in readings if (v := self._value(r, sensed)) is not None]
            mean, half = map(float, mean_interval(values)) if values else (math.nan, math.inf)
            if len(values) >= min_n and (reached := half < rel * mean):
                break
        else:
            reached = False
        if len(values) < 2:  # the counters refused: what is left is CPU time
            notes.append(f"went by CPU time: {readings[-1].energy_text()}")
            sensed, reached = (), False
            mean, half = map(float, mean_interval([r.cpu_seconds / r.calls for r in readings]))
        elif refused := len(readings) - len(values):
            notes.append(f"{refused} of {len(readings)} windows were refused: their joules could not be true")
        if disturbed := sum(any("disturbed" in note for note in r.notes) for r in readings):
            notes.append(f"{disturbed} of {len(readings)} windows were disturbed by other programs")
        if not sensed:
            notes.append("goes by CPU time: modelled joules are CPU time times a constant")
        return Measurement(name, len(readings), calls, reached, rel, self._quantity(sensed), mean, half,
                           tuple(readings), tuple(notes))

    def _quantity(self, sensed) -> str:
        whole = len(sensed) == len(self._sensors.components())
        return "joules" * whole or f"joules of {', '.join(sensed)}" if sensed else "cpu_seconds"

    def _pair(self, pair, calls: int, turn: int, names, sensed) -> list:
        """One window of each side. CPU time can be read often, so there the two take turns in slices: a
        neighbour who keeps the core's other half busy for a second then slows both alike."""
        totals, slices = [0.0, 0.0], 1 if sensed else min(SLICES, calls)
        for k in range(slices):
            part = calls * (k + 1) // slices - calls * k // slices
            for side in ((0, 1), (1, 0))[(k + turn) % 2]:
                value = self._value(self._run(pair[side], part, names[side], bool(sensed)), sensed)
                totals[side] = None if value is None else totals[side] + value * part
        return totals

    def compare(self, a, b, margin=0.05, pairs=8, window=None, names=("a", "b")) -> Comparison:
        """Which of two functions needs less: `pairs` of windows, order-swapped (ABBA), equal call counts.

        Raises ValueError for a value out of range and for a function too fast to fill a window.
        """
        _need(0 < real(margin) < 1, f"margin is {margin!r}: give a share between 0 and 1, such as 0.05")
        _need(real(pairs, Integral) >= 2, f"pairs is {pairs!r}: give a whole number of 2 or more")
        sensed = self._sensed()
        each = sorted(self._calls(fn, self._window(sensed, window), sensed) for fn in (a, b))
        calls = min(each[1], 10 * each[0])  # the slower side waits 10 windows at most
        found = [self._pair((a, b), calls, i, names, sensed) for i in range(pairs)]
        kept = [(x, y) for x, y in found if x and y]
        notes = [f"{pairs - len(kept)} of {pairs} pairs were refused or showed no {self._quantity(sensed)}."]
        notes = notes[:len(kept) < pairs]
        ratio, low, high = math.nan, 0.0, math.inf
        if len(kept) > 1:
            ratio, low, high = map(float, ratio_interval(*zip(*kept)))
        if not sensed:
            notes.append("Modelled joules are CPU time times a constant, so CPU time decides.")
        return Comparison(ratio, low, high, verdict(low, high, margin), self._quantity(sensed), len(kept),
                          calls, margin, tuple(names), tuple(notes))

    def aa_control(self, fn, n=10, margin=0.05, window=0.05, pairs=8) -> list[Comparison]:
        """`n` comparisons of `fn` with itself. Every verdict but "not distinguishable" is a false one."""
        _need(real(n, Integral) >= 1, f"n is {n!r}: give a whole number of 1 or more")
        return [self.compare(fn, fn, margin, pairs, window, ("this code", "the same code")) for _ in range(n)]

    def idle(self, seconds: float = 5.0) -> Idle:
        """Watts of the sensed components while this program sleeps, from five windows over `seconds`."""
        _need(0 < real(seconds) < 3600, f"seconds is {seconds!r}: give seconds above 0 and under an hour")
        readings = [self._run(lambda: time.sleep(seconds / 5), 1, "idle") for _ in range(5)]
        sensed = tuple(c.name for c in self._sensors.components() if c.provenance >= Provenance.SAMPLED)
        watts = [v / r.seconds for r in readings if sensed and (v := self._value(r, sensed)) is not None]
        if len(watts) < 2:
            return Idle(None, math.inf, readings[-1].energy_text(), time.monotonic())
        return Idle(*map(float, mean_interval(watts)), f"{', '.join(sensed)}, sensors read while waiting",
                    time.monotonic())
