"""An energy label for a model that you ran: what it does, how well, what was counted, and what it took.

    label = EnergyLabel("Digits from a dark scanner", Quality.of(right), query=measurement, training=reading,
                        counts={"FLOPs per query": 25_536}, boundary="the reader alone, no network", batch=256)
    label.save("my_label")                   # my_label.svg and my_label.png; in a notebook, `label` shows picture and words

There is no class from A to G on it. A class compares a thing with others of its kind, on a scale that somebody has defined and
all have agreed to. For models nobody has: a letter here would be an opinion that looks like a measurement. In its place stands
the ladder of evidence, with the rung that the joules have reached.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from dataclasses import dataclass
from datetime import date
from functools import cache
from html import escape
from pathlib import Path

from course_lib import plots
from course_lib.facts import Fact
from course_lib.provenance import Provenance
from course_lib.readings import Measurement, Reading
from course_lib.setup import machine
from course_lib.stats import real, share_interval, si

ROOM = {"task": 60, "boundary": 110, "hardware": 110, "data": 110}  # characters for which there is room
_SAY = {"modelled": "; ranks work on one machine only", "assumed": "; a constant times the clock"}  # after Provenance.accuracy
_SMALL = 8.4  # points: at a width of 360 pixels these letters are ten pixels high


def _need(ok: bool, sentence: str):
    if not ok:
        raise ValueError(sentence)


@cache
def _letters() -> frozenset[int]:
    """What both faces of the label's font can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font
    faces = (get_font(findfont(FontProperties(family="DejaVu Sans", weight=w))) for w in ("normal", "bold"))
    return frozenset.intersection(*(frozenset(face.get_charmap()) for face in faces))


def _plain(name: str, said, room: int) -> str:
    text = " ".join(said.split()) if isinstance(said, str) else ""
    _need(bool(text) and text.isprintable(), f"{name} is {said!r}: say it in printable words")
    _need(len(text) <= room, f"{name} has {len(text)} characters and there is room for {room}: shorten {text[:20]!r}...")
    odd = next((c for c in text if ord(c) not in _letters()), None)
    _need(odd is None, f"{name} is {text!r}: the label's font cannot draw {odd!r}, so say it in other letters, such as Latin ones")
    return text


def _drawable(name: str) -> str:
    """The name of a machine, which nobody here chose: what cannot be drawn is said to be missing."""
    kept = (c if ord(c) in _letters() and c.isprintable() else "\0" for c in " ".join(name.split()))
    return re.sub("\0[\0 ]*", "(not printable here) ", "".join(kept)).replace(") ,", "),").strip()


@dataclass(frozen=True)
class Quality:
    """How well the task is done: a `value` between `low` and `high`, from so many test `examples`; `spread` says what the two
    ends are. Raises ValueError for a number that is missing or out of order."""

    name: str
    value: float
    low: float
    high: float
    examples: int
    spread: str
    unit: str = ""

    def __post_init__(self):
        for name in ("name", "spread", "unit")[:3 if self.unit else 2]:
            object.__setattr__(self, name, _plain(f"the quality's {name}", getattr(self, name), 60))
        _need(real(self.low) <= real(self.value) <= real(self.high) < math.inf, f"quality goes from {self.low!r} over "
              f"{self.value!r} to {self.high!r}: give its lowest number, its value and its highest, in this order")
        _need(real(self.examples, int) >= 1, f"examples is {self.examples!r}: say on how many test examples, 1 or more")

    @classmethod
    def of(cls, right, name: str = "right answers") -> Quality:
        """From the answers to the test examples, right or wrong (bools), with Wilson's interval. ValueError for none."""
        right = list(right) if hasattr(right, "__iter__") else [right]
        for r in right:
            _need(r in (True, False), f"{name!r} holds {r!r}: give True or False for each test example, such as answers == truth")
        _need(bool(right), f"{name!r} has 0 examples: give the answers to one test example or more")
        value, low, high = (100 * share for share in share_interval(sum(map(int, right)), len(right)))
        return cls(name, value, low, high, len(right), "95 % over the examples", "%")

    __str__ = lambda self: " ".join(f"{self.value:.3g} {self.unit} {self.name}".split())
    details = property(lambda q: f"{q.low:.3g} to {q.high:.3g} {q.unit} ({q.spread}); {q.examples:,} test examples")


def _reading(name: str, run) -> Reading:
    _need(isinstance(run, (Reading, Measurement)), f"{name} is {run!r}: a label needs a run that was measured, so give what "
          "meter.measure(...) or the reading of a meter.block(...) gave you")
    found = run.total if isinstance(run, Measurement) else run
    _need((found.joules or 0) > 0, f"{name} holds no joules ({found.energy_text()}): a label needs a run that was measured, so "
          "repeat it where meter.sources names a source, and show the counts until then")
    return found


@dataclass(frozen=True, repr=False)
class EnergyLabel:
    """A label in words (`alt`), as vector `svg()` with text as text, and as `png()`; `save` writes both. A6, black on white.

    query: a run of which each call answers `batch` queries; training: a run whose calls are one training together.
    counts: FLOPs, parameters, bytes, by name; with the CPU time they come first where no sensor was read. boundary: what is
    inside the joules. hardware and day: this machine and today, unless given. grid: the intensity that you chose, a dated `Fact`
    such as fact("grid_france"), or None. data: which data and which seed, so that a stranger can repeat it. Raises ValueError for
    a run without joules, what is missing or no date, and words that cannot be drawn or for which there is no room."""

    task: str
    quality: Quality
    query: Reading | Measurement
    training: Reading | Measurement
    counts: dict[str, float]
    boundary: str
    batch: int = 1
    hardware: str = ""
    day: date | None = None
    grid: Fact | None = None
    data: str = ""

    def __post_init__(self):
        _need(isinstance(self.quality, Quality), f"quality is {self.quality!r}: joules alone say nothing, so give a Quality(...)")
        _need(real(self.batch, int) >= 1, f"batch is {self.batch!r}: say how many queries one call answers, 1 or more")
        _need(isinstance(self.counts, dict) and 0 < len(self.counts) <= 6 and all(0 < real(v) < math.inf for v in self.counts.values()),
              f"counts is {self.counts!r}: give one to six numbers above 0 by name, such as FLOPs, parameters, bytes")
        _need(self.grid is None or isinstance(self.grid, Fact) and self.grid.year is not None,
              f"grid is {self.grid!r}: give a named and dated intensity such as fact('grid_france'), or None")
        _need(self.day is None or isinstance(self.day, date), f"day is {self.day!r}: give a date such as date(2026, 5, 31)")
        here = machine() if not self.hardware else {}
        own = ", ".join(str(here.get(k) or "unknown") for k in ("cpu", "where")) + f", {here.get('cores') or 0:g} cores"
        own = _drawable(str(self.hardware)) if self.hardware else textwrap.shorten(_drawable(own), ROOM["hardware"], placeholder=" ...")
        object.__setattr__(self, "hardware", own)
        kept = {name: _plain(name, getattr(self, name), ROOM[name]) for name in [*ROOM][:3 if self.data == "" else 4]}
        kept["counts"] = {_plain("a name in counts", name, 40): v for name, v in self.counts.items()}
        for name, value in (kept | {"day": self.day or date.today()}).items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_runs", {name: _reading(name, getattr(self, name)) for name in ("query", "training")})

    def _scale(self, name: str) -> float:
        """How many of what is wanted are in a call: queries; or the share of all of the training."""
        return self.batch if name == "query" else 1 / self._runs[name].calls

    def _spread(self, name: str) -> str:
        """How far repeats lie apart; a joule can be further from the truth than they tell."""
        run, scale = getattr(self, name), self._scale(name)
        low, high = getattr(run, "joules_interval", None) or (0, math.inf)
        if 0 < low <= high < math.inf:
            return f"repeats in one session: {si(low / scale, 'J')} to {si(high / scale, 'J')} (95 %)"
        seen = [r.joules / r.calls / scale for r in getattr(run, "readings", ()) if r.joules is not None]
        return ("one run: no interval" if len(seen) < 2 else
                f"{len(seen)} repeats, {si(min(seen), 'J')} to {si(max(seen), 'J')}: too few or too far apart for an interval")

    def _known(self, found: Reading) -> list[str]:
        """How well its joules are known, and where they come from."""
        accuracy = re.split(r" \(|[:.]", found.provenance.accuracy)[0] + _SAY.get(found.label, "")
        how = "; ".join(dict.fromkeys(f"{c.name}: {c.why}; covers {c.scope}" for c in found.trusted))
        return [f"accuracy: {accuracy[0].lower()}{accuracy[1:]}", how]

    def _energy(self, name: str) -> tuple[str, list[str]]:
        """("1.2 mJ, modelled", what goes with it) of a query, or of the training."""
        found, known = self._runs[name], self._known(self._runs[name])
        if name == "training" and known == self._known(self._runs["query"]):
            known = ["accuracy, and what is covered: as for a query"]
        share = f"; {100 * found.measured_share:.0f} % of it measured" if 0 < found.measured_share < 1 else ""
        return f"{si(found.joules / found.calls / self._scale(name), 'J')}, {found.label}", [self._spread(name) + share, *known]

    def _counted(self) -> list[str]:
        """The counts, and the CPU time where it was read."""
        lines = [f"{name}: {v:,.0f}" if 100 <= v < 1e10 else f"{name}: {v:.3g}" for name, v in self.counts.items()]
        took = [f"{si(r.cpu_seconds / r.calls / self._scale(name), 's')} for {'a' if name == 'query' else 'the'} {name}"
                for name, r in self._runs.items() if r.cpu_seconds > 0]
        return lines + [f"CPU time: {', '.join(took)}"] * bool(took)

    def blocks(self) -> list[tuple[str, str, list[str]]]:
        """(heading, what stands large, lines that stand small) of each block, in the order of the label."""
        asked = f"in batches of {self.batch:,}" if self.batch > 1 else "asked alone"
        quality, count = ("Quality", str(self.quality), [self.quality.details]), ("Counted", "", self._counted())
        joules = [(f"Energy of a query, {asked}", *self._energy("query")), ("Energy of the training", *self._energy("training"))]
        sensed = self._runs["query"].provenance >= Provenance.SAMPLED
        return [quality, *joules, count] if sensed else [quality, count, *joules]

    def notes(self) -> list[str]:
        """Boundary, data, machine and grid, in a line each; with a grid, the grams of a query."""
        said = "none chosen, so no grams of CO2"
        if self.grid:
            grams = self._runs["query"].per_call().carbon(self.grid) / self.batch
            said = f"{self.grid.quantity} ({self.grid.year}), {self.grid.text}: {si(grams, 'g')} of CO2e for a query, {self._runs['query'].label}"
        return [f"Inside: {self.boundary}", *[f"Data and seed: {self.data}"] * bool(self.data), f"Machine: {self.hardware}", f"Grid: {said}"]

    @property
    def alt(self) -> str:
        """The whole label in words."""
        said = [f"{head}: {'; '.join(filter(None, (large, *small)))}" for head, large, small in self.blocks()]
        return ". ".join((f"Energy label of {self.day:%Y-%m-%d}. Task: {self.task}", *said, *self.notes())) + "."

    __repr__ = __str__ = lambda self: self.alt

    def figure(self):
        """The label as a matplotlib figure."""
        (sheet := plots.Sheet(105, 148)).band("Energy label", f"{self.day:%Y-%m-%d}")
        sheet.text(self.task, 12, bold=True)
        for head, large, small in (*self.blocks(), ("", "", self.notes())):
            sheet.rule()
            for text, size in ((head, _SMALL), (large, 13)):
                sheet.text(text, size, bold=True)
            if head.startswith("Energy of a query"):
                sheet.ladder([rung.name.lower() for rung in Provenance], self._runs["query"].provenance, _SMALL)
            for line in small:
                sheet.text(line, _SMALL)
        _need(sheet.at < sheet.high - 5, "the words are more than A6 has room for: shorten the boundary, or count fewer things")
        return sheet.fig

    def svg(self) -> str:
        """Vector picture. Its title and description hold the words, for whoever cannot see it."""
        import matplotlib
        target = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "label"}):
            self.figure().savefig(target, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        words = f"<title>Energy label: {escape(self.task)}</title><desc>{escape(self.alt)}</desc>"
        head, tag, rest = target.getvalue().replace("'DejaVu Sans'", "'DejaVu Sans', Verdana").partition("<svg ")
        return head + tag + 'role="img" ' + rest.replace(">", ">" + words, 1)

    def png(self, dpi: int = 300) -> bytes:
        """Picture in dots; 300 an inch are for print."""
        target = io.BytesIO()
        self.figure().savefig(target, format="png", dpi=dpi, metadata={"Software": None})
        return target.getvalue()

    def save(self, stem: str | Path) -> tuple[Path, Path]:
        """Writes stem.svg and stem.png, and returns their paths."""
        (vector := Path(f"{stem}.svg")).write_text(self.svg(), encoding="utf-8")
        (dots := Path(f"{stem}.png")).write_bytes(self.png())
        return vector, dots

    def _ipython_display_(self):
        from base64 import b64encode

        from IPython.display import display
        display({"image/png": b64encode(self.png(200)).decode(), "text/plain": f"Figure: {self.alt}"}, raw=True,
                metadata={"image/png": {"width": 413, "height": 582, "alt": self.alt}})
        display({"text/html": plots.words(self.alt), "text/plain": ""}, raw=True)

