"""Intervals and verdicts for repeated measurements: small, pure, and vectorised over the last axis.

Two errors are never merged. What stands here is repeatability: how well the repeats fix their mean. How far
a figure is from a meter in the wall is another question, answered in words by `Provenance.accuracy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from numbers import Real

import numpy as np

A_LOWER, B_LOWER, SAME = "a lower", "b lower", "not distinguishable"
PREFIXES = ("p", "n", "µ", "m", "", "k", "M", "G", "T")


def real(value, kind=Real):
    """`value` if it is a number of this `kind` (`numbers.Integral`: a whole one), else NaN: it is in no range."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else float("nan")


def si(value: float, unit: str) -> str:
    """`value` with 3 significant digits at most and an SI prefix: si(0.0456, "J") -> "45.6 mJ"."""
    if value is None or not np.isfinite(value):
        return f"no {unit}"
    if value == 0:
        return f"0 {unit}"
    power = min(max(int(np.floor(np.log10(abs(value) * 1.0005) / 3)), -4), 4)
    return f"{float(f'{value / 1000.0 ** power:.3g}'):g} {PREFIXES[power + 4]}{unit}"


def t_quantile(df, level: float = 0.95):
    """Two-sided Student t quantile: df 9, level 0.95 -> 2.262."""
    from scipy.special import stdtrit  # scipy.stats would cost half a second of import

    return stdtrit(df, 0.5 + level / 2)


def mean_interval(values, level: float = 0.95):
    """Mean and half-width of its t-interval over the last axis: [..., n] -> ([...], [...]).

    One value has no spread to show: its half-width is infinite. Source: Student (1908).
    """
    x = np.asarray(values, dtype=float)
    n = x.shape[-1]
    if n < 2:
        return x.mean(-1), np.full(x.shape[:-1], np.inf)
    return x.mean(-1), t_quantile(n - 1, level) * x.std(-1, ddof=1) / np.sqrt(n)


def share_interval(k: int, n: int, z: float = 1.96):
    """Share k / n with its 95 % interval, all 0..1, by Wilson's score (1927): it stays inside 0..1 and has a width at 0 and 1."""
    p, half = k / n, z * math.sqrt(k * (n - k) / n**3 + (z / 2 / n)**2)
    low, high = ((p + z * z / 2 / n + side * half) / (1 + z * z / n) for side in (-1, 1))
    return p, min(p, max(0.0, low)), max(p, min(1.0, high))


def ratio_interval(a, b, level: float = 0.95, trim: float = 0.125):
    """Ratio of `a` over `b` from pairs: [..., n], [..., n] -> ratio, low, high, each [...].

    Works on log(a/b), so that swapping the sides inverts the answer exactly. One window that another
    program disturbed should not decide, so the `trim` share at each end is trimmed, and the interval is
    Tukey and McLaughlin's (1963) for a trimmed mean: winsorised standard deviation, df = n - 2g - 1.
    Under 8 pairs nothing is trimmed and it is the plain t-interval. Values of 0 or less give
    (nan, 0, inf): nothing can be said.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n = a.shape[-1]
    usable = ((a > 0) & (b > 0)).all(-1)
    logs = np.sort(np.log(np.where(a > 0, a, 1.0)) - np.log(np.where(b > 0, b, 1.0)), axis=-1)
    g = int(trim * n)
    kept = logs[..., g:n - g]
    centre, h = kept.mean(-1), n - 2 * g
    if h < 2:
        half = np.full_like(centre, np.inf)
    else:
        winsorised = np.clip(logs, logs[..., g:g + 1], logs[..., n - g - 1:n - g])
        half = t_quantile(h - 1, level) * winsorised.std(-1, ddof=1) / ((h / n) * np.sqrt(n))
    return (np.where(usable, np.exp(centre), np.nan), np.where(usable, np.exp(centre - half), 0.0),
            np.where(usable, np.exp(centre + half), np.inf))


def verdict(low, high, margin: float):
    """ "a lower", "b lower" or "not distinguishable": the whole interval must lie beyond the margin.

    `low`, `high`: bounds of a/b, [...]; the band that counts as equal is [1/(1 + margin), 1 + margin].
    """
    words = np.where(np.asarray(high) < 1 / (1 + margin), A_LOWER,
                     np.where(np.asarray(low) > 1 + margin, B_LOWER, SAME))
    return words if words.ndim else str(words)


@dataclass(frozen=True)
class Comparison:
    """What `Meter.compare` found: `ratio` of a over b with its 95 % interval, and a three-way verdict."""

    ratio: float
    low: float
    high: float
    verdict: str
    quantity: str
    pairs: int
    calls: int = 1
    margin: float = 0.05
    names: tuple[str, str] = ("a", "b")
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        a, b = self.names
        said = {A_LOWER: f"{a} lower", B_LOWER: f"{b} lower",
                SAME: f"{a} and {b} not distinguishable"}[self.verdict]
        if not np.isfinite(self.ratio):
            return " ".join((f"{said}: no {self.quantity} to compare.", *self.notes))
        text = (f"{said} at a margin of {self.margin:.3g}: {a}/{b} = {self.ratio:.3f}, 95 % interval "
                f"{self.low:.3f} to {self.high:.3f} ({self.quantity}, {self.pairs} order-swapped pairs, "
                f"{self.calls:,} calls a side).")
        return " ".join((text, *self.notes))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        first, *rest = (escape(part) for part in str(self).split(": ", 1))
        return f"<p><b>{first}</b>{': ' + rest[0] if rest else ''}</p>"
