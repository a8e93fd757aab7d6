"""Units as a plain checked table: `convert(1, "kWh", "J")`. Importing pint would cost each kernel 0.5 s."""

from __future__ import annotations

import difflib
from collections import Counter
from functools import cache
from numbers import Real

_COUNTS = ["GPU", "chip", "token", "prompt", "request", "inference", "response", "image", "video",
           "module", "expert", "layer", "dimension", "condition", "practice"]
_SI = {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_DIMS = {"power": {"energy": 1, "time": -1}, "data rate": {"data": 1, "time": -1}, "ratio": {}}  # others: own
_TABLE = {  # kind -> each unit's factor to the base unit of that kind (J, J/s, s, byte, g, L, 1, one thing)
    "energy": {s + "J": f for s, f in _SI.items()} | {s + "Wh": 3600 * _SI[s] for s in list(_SI)[3:]},
    "power": {s + "W": f for s, f in _SI.items()},
    "time": {"µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "day": 86400, "month": 2629800,
             "year": 31557600},
    "data": {"bit": 1 / 8, "byte": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20,
             "GiB": 2**30},
    "data rate": {"Mbps": 125e3}, "volume": {"mL": 1e-3, "L": 1}, "ratio": {"ratio": 1, "%": 0.01, "x": 1},
    "emissions": {"gCO2e": 1, "kgCO2e": 1e3, "tCO2e": 1e6, "ktCO2e": 1e9}, "date": {"calendar year": 1},
    "work": {s + "FLOP": _SI[s] for s in list(_SI)[4:]},
    "parameters": {"param": 1, "weight": 1, "M params": 1e6, "B params": 1e9},
} | {name: {name: 1} for name in _COUNTS}
JOULES_PER_KWH = _TABLE["energy"]["kWh"]
_TABLE["token"] |= {"B tokens": 1e9, "T tokens": 1e12}
_ATOMS = {u: (f, _DIMS.get(kind, {kind: 1})) for kind, units in _TABLE.items() for u, f in units.items()}
_SHOWN = {"ratio": "", "calendar year": "", "x": "times", "B params": "billion parameters",
          "M params": "million parameters", "T tokens": "trillion tokens", "B tokens": "billion tokens"}


class UnitError(ValueError):
    """A unit that is not known here, or that cannot become the other one."""


@cache
def parse(unit: str) -> tuple[float, tuple]:
    """Factor to base units, and dimensions, of a unit such as "kWh", "J/token", "GPU-h", "gCO2e/kWh"."""
    factor, dims = 1.0, Counter()
    for i, part in enumerate(unit.split("/")):
        for atom in part.split("-"):
            if atom not in _ATOMS:
                close = difflib.get_close_matches(atom, _ATOMS, 3, 0.3) or ["kWh", "W", "gCO2e/kWh"]
                raise UnitError(f"{atom!r} is not a unit of this course: did you mean {' or '.join(close)}?")
            f, parts = _ATOMS[atom]
            factor *= f if i == 0 else 1 / f
            dims.update({k: n if i == 0 else -n for k, n in parts.items()})
    return factor, tuple(sorted((k, n) for k, n in dims.items() if n))


def convert(value: float, unit_from: str, unit_to: str) -> float:
    """`value` of `unit_from` as a number of `unit_to`: convert(1, "kWh", "J") is 3.6e6.

    Compound units are products ("GPU-h") and quotients ("gCO2e/kWh", "J/token"); GB is 1e9 bytes, GiB is
    2**30; a year has 365.25 days. Raises UnitError for an unknown unit and for two units of different kinds.
    """
    for unit in (unit_from, unit_to):
        if not isinstance(unit, str):
            raise UnitError(f"{unit!r} is not a unit of this course: write it in quotation marks, as in 'kWh'.")
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number and not hasattr(value, "dtype"):  # an array or a tensor is many numbers
        raise UnitError(f"{value!r} is not a number: give a number of {unit_from}.")
    (a, dims_a), (b, dims_b) = parse(unit_from), parse(unit_to)
    if dims_a != dims_b:
        same = [u for u, (_, d) in _ATOMS.items() if tuple(sorted(d.items())) == dims_a and u != unit_from]
        way = ", ".join(same) or "units of the same shape only"
        shown = f"{value:.10g} {unit_from}" if number else unit_from
        raise UnitError(f"{shown} cannot be given in {unit_to}, a unit of another kind: "
                        f"{unit_from} converts to {way}.")
    return value if unit_from == unit_to else value * a / b


def show(unit: str, *numbers: float) -> str:
    """Numbers and unit in words, as published: "1,287 MWh", "90 to 100 days", "33 times", "3.14e+23 FLOP"."""
    if unit == "calendar year":
        return " to ".join(f"{x:.0f}" for x in numbers)
    figures = " to ".join(f"{x:.4g}" if abs(x) >= 1e12 else f"{x:,.10g}" for x in numbers)
    head, *rest = unit.split("/")
    many = "s" if head in (*_COUNTS, "day", "month", "year") and numbers[-1] != 1 else ""
    return f"{figures} {'/'.join([_SHOWN.get(head, head) + many, *rest])}".strip()
