"""The same piece of work on N machines: how far machines lie apart, and how far one lies from itself.

Everything is done on logarithms, because machines differ by factors:
    a machine's value     median of ln x over its runs of this work (most machines have one run)
    across                Q3 / Q1 of the machines' values, the factor that the middle half of them spans
    within                exp(1.349 s): the factor that the middle half of one machine's windows would span if they
                          scattered as a normal law does; s is the standard deviation of ln x over a machine's runs,
                          or h sqrt(n) / t from the interval of one run (half-width h of the mean, n windows), and
                          the median of s over the machines is taken
Joules are grouped by label, and by what they cover where the ledgers tell: no figure mixes two groups. CPU time is a
clock's and needs no label, so there all machines stand together.
"""

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median, stdev

import numpy as np

from ...stats import t_quantile

SENSED = ("measured", "sampled")  # evidence of a sensor; the other labels are calculations
CPU_TIME = "CPU time"
IQR_OF_NORMAL = 1.349  # the middle half of a normal law spans so many standard deviations
FEWEST, WORKS = 3, 20  # machines for quartiles; pieces of work of one lesson that the page shows
MANY, FAR, LEAST = 5, 3.5, math.log(1.1)  # machines, and robust deviations, for an outlier; the least deviation


@dataclass
class Machine:
    """One ledger's runs of one piece of work: `value` of the group's unit per call, `sd` of ln x, or None."""

    number: int
    runs: list  # of Reading
    value: float
    sd: float | None


@dataclass
class Group:
    """One piece of work in one unit under one label, on the machines that have it."""

    lesson: str
    work: str
    label: str  # CPU_TIME, or the label of the joules with what they cover
    machines: dict = field(default_factory=dict)  # number -> Machine

    unit = property(lambda self: "s" if self.label == CPU_TIME else "J")
    sensed = property(lambda self: self.label.startswith(SENSED))
    title = property(lambda self: self.label if self.unit == "s" else f"joules, {self.label}")

    @cached_property
    def logs(self):
        """ln of the machines' values, in the order of `machines`: [N]."""
        return np.log([machine.value for machine in self.machines.values()])

    @cached_property
    def quartiles(self):
        """(Q1, median, Q3) of the machines' values; of the smallest, median and largest under 3 machines."""
        ends = (25, 50, 75) if len(self.machines) >= FEWEST else (0, 50, 100)
        return tuple(float(value) for value in np.exp(np.percentile(self.logs, ends)))

    median = property(lambda self: self.quartiles[1])
    across = property(lambda self: self.quartiles[2] / self.quartiles[0] if len(self.machines) >= FEWEST else None)

    @cached_property
    def within(self):
        """The factor within one machine, or None where no machine tells."""
        known = [machine.sd for machine in self.machines.values() if machine.sd is not None]
        return math.exp(min(IQR_OF_NORMAL * float(np.median(known)), 50)) if known else None  # what an axis can show

    @cached_property
    def outliers(self):
        """{number: factor of the median} of the machines that lie far out; needs 5 machines.

        Far out: more than 3.5 robust standard deviations from the median on the logarithmic scale, where one is
        1.4826 times the median absolute deviation, and at least ln 1.1.
        """
        if len(self.machines) < MANY:
            return {}
        away = self.logs - np.median(self.logs)
        deviation = max(1.4826 * float(np.median(np.abs(away))), LEAST)
        return {number: math.exp(gap) for number, gap in zip(self.machines, away) if abs(gap) > FAR * deviation}


def groups(ledgers):
    """All Groups of these ledgers, by lesson, then in the order in which most ledgers met them, then by unit and label."""
    found, order = {}, {}
    for ledger in ledgers:
        for at, one in enumerate(ledger.readings):
            order.setdefault((one.lesson, one.work), []).append(at)
            if one.cpu_seconds > 0:
                found.setdefault((one.lesson, one.work, CPU_TIME), {}).setdefault(ledger.number, []).append(one)
            if one.joules is not None:
                found.setdefault((one.lesson, one.work, one.group), {}).setdefault(ledger.number, []).append(one)
    place = {key: (key[0], float(np.median(at)), key[1]) for key, at in order.items()}
    keys = sorted(found, key=lambda key: (*place[key[:2]], key[2] != CPU_TIME, not key[2].startswith(SENSED), key[2]))
    return [Group(*key, {number: _machine(number, runs, key[2]) for number, runs in sorted(found[key].items())})
            for key in keys]


def _machine(number, runs, label):
    values = [one.cpu_seconds if label == CPU_TIME else one.joules for one in runs]
    logs = [math.log(value) for value in values]
    return Machine(number, runs, math.exp(median(logs)), stdev(logs) if len(runs) > 1 else _from_interval(runs[0], label))


def _from_interval(one, label):
    """The standard deviation of ln x over the windows of one run, from the 95 % interval of their mean.

    The interval belongs to what the meter went by. Modelled joules are CPU time times a constant, so they share its.
    """
    own = "cpu_seconds" if label == CPU_TIME or label.startswith("modelled") else "joules"
    if one.relative is None or one.n < 2 or one.quantity != own:
        return None
    return one.relative * math.sqrt(one.n) / float(t_quantile(one.n - 1))


def shared(found, ledgers):
    """The Groups of work that 2 ledgers or more hold (where there are 2), of each lesson the WORKS that most hold."""
    holders, works = {}, {}
    for group in found:
        holders.setdefault((group.lesson, group.work), set()).update(group.machines)
    for key in sorted(holders, key=lambda key: -len(holders[key])):
        if len(holders[key]) >= min(2, ledgers):
            works.setdefault(key[0], []).append(key)
    return [group for group in found if (group.lesson, group.work) in works.get(group.lesson, [])[:WORKS]]


def labels_apart(found):
    """{(calculated label, sensed label): ratios of their medians, one for each piece of work that has both}."""
    ratios = {}
    for a, b in itertools.product(found, found):
        if (a.lesson, a.work) == (b.lesson, b.work) and a.unit == b.unit == "J" and b.sensed and not a.sensed:
            ratios.setdefault((a.label, b.label), []).append(a.median / b.median)
    return ratios
