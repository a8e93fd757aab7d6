"""Published figures with unit, boundary and source, read from `assets/facts.csv`: one number a row.

`fact("tr_gpt3_energy")` is a number to compute with, `statement("moe_toy")` a finding without one, and
`cite(...)` the table of sources that ends a lesson. A row that somebody only remembers (`read` is "memory")
stays in the file and is never shown. `convert` and its units stand in `course_lib.units`.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from course_lib.cards import Sources
from course_lib.units import UnitError, convert, parse, show

__all__ = ["Fact", "Statement", "UnitError", "UnknownId", "Unsourced", "all_facts", "cite", "convert", "fact",
           "statement"]
READ = {"primary": "read in the primary text", "secondary": "as quoted by a secondary source",
        "derived": "derived by arithmetic", "memory": "from memory, wants a source"}


class UnknownId(KeyError):
    """An id that the course does not have; the message names the nearest ones."""

    def __str__(self) -> str:  # a KeyError would show its message in quotation marks
        return self.args[0]


class Unsourced(ValueError):
    """A figure from memory was about to be shown or computed with."""


def nearest(key: str, known, what: str) -> UnknownId:
    """The error for an unknown id: names those that begin with `key` (its row was split), or similar ones."""
    split = [k for k in known if k.startswith(f"{key}_")]
    close = split[:6] or difflib.get_close_matches(str(key), known, 3, 0.5)
    way = f"did you mean {' or '.join(close)}?" if close else f"ids look like {', '.join(list(known)[:3])}."
    return UnknownId(f"{key!r} is not {what} of this course: {way}")


@dataclass(frozen=True, repr=False, kw_only=True)
class _Row:
    id: str
    quantity: str
    boundary: str
    year: int | None  # the year the figure is about
    title: str
    reference: str
    where: str  # place in the source
    read: str  # a key of READ
    confidence: str
    note: str

    def __str__(self) -> str:
        return f"{self.text} ({self.reference}, {self.where})"

    def __repr__(self) -> str:
        return f"<{self.id}: {READ['memory'] if self.read == 'memory' else self}>"

    def _sourced(self) -> None:
        if self.read == "memory":
            raise Unsourced(f"{self.id!r} was written down from memory and wants a source before it is shown "
                            "or used: look it up, or count or measure it yourself.")


class Statement(_Row):
    """A published finding without a number: it can be read (`text`) and cited, not computed with."""

    @property
    def text(self) -> str:
        self._sourced()
        return self.note


@dataclass(frozen=True, repr=False, kw_only=True)
class Fact(_Row):
    """One published number: `value`, `low` and `high` in `unit`; `boundary` says what is inside the figure.

    `kind` is "figure", or "range" where the source gives only `low` and `high`: then `value` is their middle.
    """

    value: float
    low: float | None
    high: float | None
    unit: str
    kind: str

    def to(self, unit: str) -> float:
        """The value in another unit. Raises UnitError, and Unsourced for a figure from memory."""
        self._sourced()
        return convert(self.value, self.unit, unit)

    def bounds(self, unit: str | None = None) -> tuple[float, float]:
        """(low, high) in `unit`; twice the value where the source gives no range. Raises like `to`."""
        self._sourced()
        ends = (self.value, self.value) if self.low is None else (self.low, self.high)
        return tuple(convert(end, self.unit, unit or self.unit) for end in ends)

    @property
    def text(self) -> str:
        """The figure and its unit: "1,287 MWh", "80 to 90 %", "0.42 Wh (0.29 to 0.55)". Raises Unsourced."""
        if self.kind == "range":
            return show(self.unit, *self.bounds())
        figure = show(self.unit, self.to(self.unit))
        return figure if self.low is None else f"{figure} ({show('ratio', *self.bounds())})"


def _row(row: dict[str, str]) -> Fact | Statement:
    try:
        if row["read"] not in READ:
            raise ValueError(f"{row['read']!r} is not a way of reading: write {', '.join(READ)}")
        row["year"] = int(row["year"]) if row["year"] else None
        kind, unit, *ends = (row.pop(k) for k in ("kind", "unit", "value", "low", "high"))
        if kind == "statement":
            return Statement(**row)
        parse(unit)
        low, high = (float(end) if end else None for end in ends[1:])
        return Fact(**row, kind=kind, unit=unit, value=float(ends[0]), low=low, high=high)
    except ValueError as why:
        raise ValueError(f"facts.csv, line {row['id']!r}: {why}") from None


@cache
def all_facts() -> dict[str, Fact | Statement]:
    """Every line of the shipped table by id. Raises ValueError naming a line without number or known unit."""
    with (files("course_lib") / "assets" / "facts.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: _row(row) for row in csv.DictReader(file)}


def fact(id: str, kind: type = Fact) -> Fact:
    """The published figure `id`. Raises UnknownId naming the nearest ids."""
    row = all_facts().get(id) if isinstance(id, str) else None
    if isinstance(row, kind):
        return row
    if row:
        other = "statement" if kind is Fact else "fact"
        raise UnknownId(f"{id!r} is a {other} of this course: read it with {other}({id!r}).")
    raise nearest(id, all_facts(), "a figure or statement")


def statement(id: str) -> Statement:
    """The published finding `id`, which has no number. Raises UnknownId naming the nearest ids."""
    return fact(id, Statement)


def cite(*ids: str) -> Sources:
    """The sources of these ids as a table for the end of a lesson. Raises UnknownId, and Unsourced."""
    if not ids:
        raise ValueError('cite() was given no id: name the figures used, as in cite("tr_gpt3_energy").')
    rows = [fact(id, _Row) for id in ids]
    return Sources({r.id: [r.quantity, r.text, r.boundary or "-", str(r.year or "-"),
                           f"{r.title}. {r.reference}", r.where, READ[r.read]] for r in rows})
