"""Why a machine lies far out, in plain words: what its provenance says that most others' does not."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median_high

from ...stats import si
from .checks import LABELS

_UNLIKE = 1.4  # factor from which cores in use, watts and the like count as different
_SHARE = 0.6  # of a joule's distance that one of its two factors must make up, to be the reason
_NOISY = 0.25  # 95 % half-width over the mean


@dataclass
class Outlier:
    """One ledger far out in one unit: the factors of the median by work, and the reason that explains most of them."""

    number: int
    title: str
    factors: dict
    met: int  # pieces of work of this kind that the ledger has
    reason: str


def outliers(groups):
    """All Outliers, the farthest first."""
    found, met = defaultdict(list), Counter()
    for group in groups:
        met.update((number, group.title) for number in group.machines)
        for number, factor in group.outliers.items():
            found[number, group.title].append((factor, group.lesson, group.work, _reason(group, number, factor)))
    rows = [Outlier(number, title, {(lesson, work): factor for factor, lesson, work, _ in several},
                    met[number, title], Counter(why for *_, why in several).most_common(1)[0][0])
            for (number, title), several in found.items()]
    return sorted(rows, key=lambda row: (-max(abs(math.log(f)) for f in row.factors.values()), row.number, row.title))


def _usual(group, number, tell):
    """What `tell` says of most other machines, or None where it says nothing or they are of two minds."""
    said = Counter(text for other, machine in group.machines.items()
                   if other != number and (text := tell(machine.runs[-1])))
    if not said:
        return None
    text, count = said.most_common(1)[0]
    return text if count > said.total() / 2 else None


def _typical(group, number, tell):
    """The median of a number over the other machines; of two in the middle the larger."""
    return median_high(tell(machine.runs[-1]) for other, machine in group.machines.items() if other != number)


def _reason(group, number, factor):
    one = group.machines[number].runs[-1]
    for tell, words in _TOLD if group.unit == "J" else _TOLD[2:]:
        mine, usual = tell(one), _usual(group, number, tell)
        if mine and usual and mine != usual:
            return words.format(mine, usual)
    return _joules(group, number, one, factor) if group.unit == "J" else _time(group, number, one, factor)


# In this order: what a reading tells, and the sentence with its own answer and that of most others.
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


def _joules(group, number, one, factor):
    """Joules are a time x watts: which of the two is unlike the others'?"""
    modelled = one.label == "modelled"

    def time(reading):
        return max(reading.cpu_seconds if modelled else reading.seconds, 1e-12)

    share = math.log(time(one) / _typical(group, number, time)) / math.log(factor)
    watts, usual = one.joules / time(one), _typical(group, number, lambda other: other.joules / time(other))
    if 1 - share >= _SHARE:
        if modelled:
            return (f"Another table value: its model counts {si(watts, 'W')} for a busy core, most others' "
                    f"{si(usual, 'W')}. The model differs, not the work.")
        what = "drew" if group.sensed else "is taken to draw"
        return (f"Other watts: it {what} {si(watts, 'W')} ({one.label}), where the median of the others is "
                f"{si(usual, 'W')} ({one.label}).")
    if share >= _SHARE:
        clock = "CPU time" if modelled else "time"
        return f"Its watts are as usual, its {clock} is not: {_slower(one, factor)}"
    return "Its time and its watts both differ: another kind of machine."


def _time(group, number, one, factor):
    busy, usual = (max(value, 1e-9) for value in (
        one.cpu_seconds / one.seconds, _typical(group, number, lambda other: other.cpu_seconds / other.seconds)))
    if max(busy / usual, usual / busy) > _UNLIKE and (busy > usual) == (factor > 1):
        return (f"Other use of its cores: {busy:.2g} at work on average, where the others have {usual:.2g}. "
                "Threads that wait for each other use CPU time.")
    return f"Its provenance is that of the others: {_slower(one, factor)}"


def _slower(one, factor):
    if one.relative is not None and one.relative > _NOISY:
        return f"its own windows scatter (± {one.relative:.0%}), so measure again on a quiet machine."
    return f"a {'slower' if factor > 1 else 'faster'} processor" + (", or a busy one." if factor > 1 else ".")
