"""What the meter gives back: `Reading`, `Measurement`, `Idle`, `Carbon`. No joule goes without its label."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from course_lib.provenance import Component, Provenance
from course_lib.stats import mean_interval, si
from course_lib.tables import Table
from course_lib.units import JOULES_PER_KWH


@dataclass(frozen=True)
class Reading:
    """One window of `calls` calls: wall-clock `seconds`, `cpu_seconds` of this process (all threads, user and
    system), and the energy of each component. Text never shows joules without their label."""

    name: str
    seconds: float
    cpu_seconds: float
    components: tuple[Component, ...]
    calls: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.components or not all(isinstance(c, Component) for c in self.components):
            raise ValueError(f"reading {self.name!r} has components {self.components!r}: give one Component "
                             "or more, each with its provenance; `nothing(why)` is the one without joules")

    trusted = property(lambda self: tuple(c for c in self.components if c.joules is not None))
    joules = property(lambda self: math.fsum(c.joules for c in self.trusted) if self.trusted else None)

    @property
    def weakest(self) -> Component:
        return min(self.trusted or self.components, key=lambda c: (c.provenance, c.label != "unknown"))

    provenance = property(lambda self: self.weakest.provenance)
    label = property(lambda self: self.weakest.label)

    @property
    def measured_share(self) -> float:
        """Share of the joules that an energy counter measured, 0 to 1."""
        measured = math.fsum(c.joules for c in self.trusted if c.provenance == Provenance.MEASURED)
        return measured / self.joules if self.joules else 0.0

    def per_call(self) -> Reading:
        """The same reading divided by its number of calls."""
        n = self.calls
        parts = tuple(c if c.joules is None else replace(c, joules=c.joules / n) for c in self.components)
        return replace(self, seconds=self.seconds / n, cpu_seconds=self.cpu_seconds / n, components=parts,
                       calls=1)

    def log(self) -> Reading:
        """Write the figures per call into the ledger, as one line of kind "reading"; returns itself."""
        from course_lib import ledger

        quantity = "cpu_seconds" if self.joules is None else "joules"
        ledger.log_reading(self, quantity, getattr(self.per_call(), quantity), None, 1)
        return self

    @property
    def short(self) -> str:
        """The joules and their label, for a table: "1.2 mJ (modelled)"."""
        return f"{si(self.joules, 'J')} ({self.label})" if self.joules is not None else "no joules"

    def energy_text(self) -> str:
        lines = [f"{si(c.joules, 'J')} ({c.label}: {c.why})" for c in self.trusted]
        if len(lines) > 1:
            parts = " + ".join(f"{c.name} {line}" for c, line in zip(self.trusted, lines))
            share = f"weakest label {self.label}, {self.measured_share:.0%} measured"
            lines = [f"{si(self.joules, 'J')} ({share}) = {parts}"]
        missing = [f"{c.name}: no joules (none: {c.why})" for c in self.components if c.joules is None]
        return "; ".join(lines + missing)

    def __str__(self) -> str:
        return f"{self._head()}, {self.energy_text()}" + "".join(f"\n  note: {note}" for note in self.notes)

    def _head(self) -> str:
        calls = f", {self.calls:,} calls" if self.calls != 1 else ""
        return f"{self.name}: {si(self.seconds, 's')}, {si(self.cpu_seconds, 's')} of CPU time{calls}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [(c.name, si(c.joules, "J") if c.joules is not None else "-", c.label, c.scope, c.why)
                for c in self.components]
        if len(self.trusted) > 1:
            share = f"{self.measured_share:.0%} measured"
            rows.append(("together", si(self.joules, "J"), self.label, "", share))
        rows += [("note", "", "", "", note) for note in self.notes]
        columns = ("component", "energy", "label", "covers", "how, or why not")
        return Table(columns, rows, self._head())._repr_html_()

    def carbon(self, intensity) -> Carbon:
        """Grams of CO2 equivalent at a grid intensity: a `Fact` in gCO2e/kWh, or a number of g/kWh.

        Raises ValueError for an intensity that is not a number of 0 or more, and when there are no joules.
        """
        try:
            grams = float(intensity.to("gCO2e/kWh") if hasattr(intensity, "to") else intensity)
        except (TypeError, ValueError):
            grams = math.nan
        if isinstance(intensity, bool) or not 0 <= grams < math.inf:
            raise ValueError(f"grid intensity {intensity!r} is not a number of grams per kWh: give a figure "
                             "such as fact('grid_france'), or a number of 0 or more")
        if self.joules is None:
            raise ValueError(f"{self.name!r} has no joules to multiply: {self.components[0].why}")
        named = str(intensity) if hasattr(intensity, "to") else f"{grams:g} g/kWh (a figure you chose)"
        value = self.joules / JOULES_PER_KWH * grams
        return Carbon(value, f"{si(self.joules, 'J')} ({self.label}) / 3.6 MJ per kWh x {named} = "
                             f"{si(value, 'g')} of CO2e ({self.label})")


class Carbon(float):
    """Grams of CO2 equivalent that show the multiplication they came from."""

    def __new__(cls, grams: float, text: str):
        self = super().__new__(cls, grams)
        self.text = text
        return self

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


@dataclass(frozen=True)
class Measurement:
    """`n` windows of `calls` calls each. `mean` and `half_width` are per call, in the unit of `quantity`."""

    name: str
    n: int
    calls: int
    reached: bool
    rel: float
    quantity: str
    mean: float
    half_width: float
    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> list[float]:
        """The quantity per call, window by window (CPU seconds where the meter went by CPU time)."""
        if self.quantity == "cpu_seconds":
            return [r.cpu_seconds / r.calls for r in self.readings]
        return [r.joules / r.calls for r in self.readings if r.joules is not None]

    @property
    def unit(self) -> str:
        """What `mean` and `values` are in, for an axis: "CPU seconds", or "joules, measured"."""
        return "CPU seconds" if self.quantity == "cpu_seconds" else f"{self.quantity}, {self.total.label}"

    @property
    def total(self) -> Reading:
        """All windows as one reading: the components that every window has, added up."""
        parts = [min((r.components[i] for r in self.readings), key=lambda c: c.provenance)
                 for i in range(min(len(r.components) for r in self.readings))]
        added = (c if c.joules is None else
                 replace(c, joules=math.fsum(r.components[i].joules for r in self.readings))
                 for i, c in enumerate(parts))
        seconds, cpu = (sum(getattr(r, k) for r in self.readings) for k in ("seconds", "cpu_seconds"))
        return Reading(self.name, seconds, cpu, tuple(added), self.n * self.calls)

    interval = property(lambda self: (self.mean - self.half_width, self.mean + self.half_width))
    energy_text = property(lambda self: self.total.per_call().short)
    seconds_per_call = property(lambda self: self.total.seconds / self.total.calls)
    cpu_seconds_per_call = property(lambda self: self.total.cpu_seconds / self.total.calls)
    joules_per_call = property(lambda self: self.total.per_call().joules)
    provenance = property(lambda self: self.total.provenance)

    def log(self) -> Measurement:
        """Write the figures per call into the ledger, as one line of kind "reading"; returns itself."""
        from course_lib import ledger

        ledger.log_reading(self.total, self.quantity, self.mean, self.half_width, self.n)
        return self

    @property
    def seconds_interval(self) -> tuple[float, float]:
        """95 % interval of seconds per call, over the repeats."""
        mean, half = mean_interval([r.seconds / r.calls for r in self.readings])
        return float(mean - half), float(mean + half)

    @property
    def joules_interval(self) -> tuple[float, float] | None:
        """95 % interval of joules per call. A modelled joule is CPU time times a constant, so it takes the
        relative interval of the CPU time: its spread is not independent evidence."""
        joules = [r.per_call().joules for r in self.readings]
        if None in joules:
            return None
        if self.provenance >= Provenance.SAMPLED:
            mean, half = map(float, mean_interval(joules))
        else:
            mean = self.joules_per_call
            half = mean * self.half_width / self.mean if self.mean > 0 else math.inf
        return mean - half, mean + half

    def __str__(self) -> str:
        per = f"{si(self.mean, 's')} of CPU time"
        if self.quantity.startswith("joules"):
            per = f"{si(self.mean, 'J')} ({self.total.label})"
        spread = f"{self.half_width / self.mean:.1%}" if self.mean > 0 else "unknown"
        said = "reached" if self.reached else "NOT reached"
        head = (f"{self.name}: {per} per call, repeatability {spread} (95 % interval over "
                f"{self.n} windows of {self.calls:,} calls; the {self.rel:.3g} asked for was {said})")
        lines = [head, f"  per call: {si(self.seconds_per_call, 's')}, {self.total.per_call().energy_text()}",
                 f"  accuracy: {self.provenance.accuracy}", *(f"  note: {note}" for note in self.notes)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *rest = str(self).split("\n")
        return Table((head,), [(line.strip(),) for line in rest])._repr_html_()


@dataclass(frozen=True)
class Idle:
    """Power of the machine while this program waits: `watts` with the `half_width` of its 95 % interval."""

    watts: float | None
    half_width: float
    why: str
    when: float

    def __str__(self) -> str:
        if self.watts is None:
            return f"idle: no watts ({self.why})"
        return f"idle: {si(self.watts, 'W')}, 95 % half-width {si(self.half_width, 'W')} ({self.why})"

    __repr__ = __str__

    def net(self, reading: Reading) -> str:
        """`reading` less idle, in words. Only measured and sampled joules have an idle part to take away."""
        if self.watts is None or reading.joules is None or reading.provenance < Provenance.SAMPLED:
            return f"{reading.name}: no net energy: {reading.label} joules hold no measured idle part"
        net, half = reading.joules - self.watts * reading.seconds, self.half_width * reading.seconds
        old = "; the idle power is over 10 minutes old: take it again" * (time.monotonic() - self.when > 600)
        if abs(net) <= half:
            return (f"{reading.name}: not distinguishable from idle (net {si(net, 'J')} ({reading.label}), "
                    f"half-width {si(half, 'J')} ({reading.label})){old}")
        return (f"{reading.name}: net {si(net, 'J')} ({reading.label}) = {si(reading.joules, 'J')} "
                f"({reading.label}) less {si(self.watts, 'W')} of idle, relative half-width "
                f"{half / abs(net):.1%}{old}")
