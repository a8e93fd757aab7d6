"""Why a machine lies far out, in plain words: what its provenance says that most others' does not."""

import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import median_high

from ...stats import si
from .checks import LABELS

_UNLIKE = 1.4  # factor from which cores in use count as different
_SHARE = 0.6  # of a joule's distance that one of its two factors must make up, to be the reason
_NOISY = 0.25  # 95 % half-width over the mean


@dataclass
class Outlier:
    """One ledger far out in one unit: the factors of the median, one for each piece of work where it is, and why."""

    number: int
    title: str
    met: int = 0  # pieces of work of this kind that the ledger has
    factors: list = field(default_factory=list)
    reasons: Counter = field(default_factory=Counter)

    reason = property(lambda self: self.reasons.most_common(1)[0][0])


def outliers(groups):
    """All Outliers, the farthest first."""
    rows = {}
    for group in groups:
        for number in group.machines:
            row = rows.setdefault((number, group.title), Outlier(number, group.title))
            row.met += 1
            if (factor := group.outliers.get(number)) is not None:
                row.factors.append(factor)
                row.reasons[_reason(group, number, factor)] += 1
    return sorted((row for row in rows.values() if row.factors),
                  key=lambda row: (-max(abs(math.log(f)) for f in row.factors), row.number, row.title))


# In this order: what a reading tells, and the sentence with its own answer and that of most others. CPU time has no
# source and no scope, so there the first two are not asked.
_TOLD = (
    (lambda one: " and ".join(dict.fromkeys(one.sources)),
     "Another source: its joules come from {}, those of most others from {}."),
    (lambda one: " and ".join(dict.fromkeys(one.scopes)),
     "Another scope: its joules cover {}, those of most others {}."),
    (lambda one: one.place, "Another kind of machine: {}, where most others are {}."),
    (lambda one: f"{one.cores:g} cores" if one.cores else "", "Another kind of machine: it has {}, most others {}."),
    (lambda one: one.label if one.label in LABELS else "",
     "Another kind of machine: its joules are {}, those of most others {}."),
)


def _reason(group, number, factor):
    one = group.machines[number].runs[-1]
    others = [machine.runs[-1] for other, machine in group.machines.items() if other != number]
    for tell, words in _TOLD if group.unit == "J" else _TOLD[2:]:
        ((usual, count),) = Counter(map(tell, others)).most_common(1)
        mine = tell(one)
        if mine and usual and mine != usual and count > len(others) / 2:
            return words.format(mine, usual)
    return (_joules if group.unit == "J" else _time)(one, others, factor)


def _joules(one, others, factor):
    """Joules are a time x watts: which of the two is unlike the others'?"""
    modelled, label = one.label == "modelled", one.label

    def time(reading):
        return max(reading.cpu_seconds if modelled else reading.seconds, 1e-12)

    watts, usual = one.joules / time(one), median_high(other.joules / time(other) for other in others)
    share = math.log(time(one) / median_high(map(time, others))) / math.log(factor)
    if share >= _SHARE:
        return f"Its watts are as usual, its {'CPU time' if modelled else 'time'} is not: {_slower(one, factor)}"
    if 1 - share < _SHARE:
        return "Its time and its watts both differ: another kind of machine."
    if modelled:
        return (f"Another table value: its model counts {si(watts, 'W')} for a busy core, most others' {si(usual, 'W')}. "
                "The model differs, not the work.")
    drew = "drew" if label in ("measured", "sampled") else "is taken to draw"
    return f"Other watts: it {drew} {si(watts, 'W')} ({label}), where the median of the others is {si(usual, 'W')} ({label})."


def _time(one, others, factor):
    busy, *usual = (max(each.cpu_seconds / each.seconds, 1e-9) for each in (one, *others))
    usual = median_high(usual)
    if max(busy / usual, usual / busy) > _UNLIKE and (busy > usual) == (factor > 1):
        return (f"Other use of its cores: {busy:.2g} at work on average, where the others have {usual:.2g}. "
                "Threads that wait for each other use CPU time.")
    return f"Its provenance is that of the others: {_slower(one, factor)}"


def _slower(one, factor):
    if one.relative is not None and one.relative > _NOISY:
        return f"its own windows scatter (± {one.relative:.0%}), so measure again on a quiet machine."
    return "a slower processor, or a busy one." if factor > 1 else "a faster processor."
