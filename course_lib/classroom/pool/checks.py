"""Can this reading be true? What the meter never writes is Forged; what this course does not know is Unknown.

No sentence here holds a text of the ledger: only numbers, and words of the course.
"""

import math
import re
from dataclasses import dataclass

from ...provenance import Provenance
from ...stats import real, si, t_quantile
from .words import as_text, is_real

MAX_WATTS, MIN_WATTS = 10_000.0, 1e-3  # a server with eight boards; less than any machine that is on
SHORT = 0.05  # seconds: here the clock and the sensor's window are too far apart for watts
LONGEST, CORES = 30 * 86400.0, 1024
LABELS = ("measured", "sampled", "modelled", "assumed", "unknown")  # from the best evidence to the weakest
COMPONENTS, PLACES = ("CPU", "GPU", "RAM"), ("Binder", "Colab", "Codespaces")
OWN, GUEST = "a computer of its own", "a virtual machine or container"
CHOSEN = "yours"  # lesson 10: each learner designs this work, so it is not the same on two machines
_QUANTITY = re.compile(r"cpu_seconds|joules(?: of [\w, ]{1,60})?")
# What the meter calls its sources (provenance.component_of), and the one label that each can earn.
_SOURCES = (
    (re.compile(r"GPU energy counter"), "measured", "an energy counter of the GPU"),
    (re.compile(r"(?:intel rapl|windows emi) counter"), "measured", "an energy counter of the CPU"),
    (re.compile(r"GPU power readings"), "sampled", "power readings of the GPU"),
    (re.compile(r"Intel Power Gadget|\w{1,40} power readings"), "sampled", "power readings of the chip"),
    (re.compile(r"CPU time x table watts"), "modelled", "CPU time times a table's watts"),
    (re.compile(r"constant"), "assumed", "a constant times the clock"),
    (re.compile(r"unknown"), "unknown", "a source that the tool does not tell"),
)
_SCOPES = (("this process", "this program alone"), ("board", "whole GPU boards"), ("package", "the whole CPU"),
           ("CPU", "the whole CPU"), ("whole", "the whole chip"), ("RAM", "the memory"))  # fmt: skip


class Forged(Exception):
    """One sentence: why this ledger cannot come from the course as it is."""


class Unknown(Exception):
    """A line that this course does not know: it is left out and counted. The text says what kind of line."""


@dataclass(frozen=True)
class Reading:
    """One line of kind "reading", per call. `joules` has `label`; `group` adds what it covers, where the line tells."""

    lesson: str
    work: str
    seconds: float
    cpu_seconds: float
    joules: float | None
    label: str
    quantity: str
    relative: float | None  # 95 % half-width over the mean, of `quantity`
    n: int
    calls: float
    components: tuple = ()
    sources: tuple = ()
    scopes: tuple = ()
    place: str = ""
    cores: float | None = None

    @property
    def group(self):
        """The label, with the components that the joules cover where that is known: never mixed with another."""
        return f"{self.label} ({' + '.join(self.components)})" if self.components else self.label

    @property
    def clocks(self):
        """Two clocks to the last digit, in which no two runs agree; one where CPU time is a count of 1/64 s (Windows)."""
        ticks = 64 * self.cpu_seconds * self.calls
        return {self.seconds} if abs(ticks - round(ticks)) < 1e-6 else {self.seconds, self.cpu_seconds}


def _number(entry, key, low, high, none=False):
    value = entry.get(key)
    if value is None and none:
        return None
    if not low <= real(value) <= high:  # an infinite one, and no number at all
        raise Forged(f"a reading whose {key} is no number, or out of all range")
    return float(value)


def _near(a, b):
    return math.isclose(a, b, rel_tol=1e-3)


def reading(entry, course, near):
    """The Reading of a ledger's line, or None of work that a learner chose; `near`: see `Course.work`.

    Raises Forged or Unknown.
    """
    n, calls = _number(entry, "n", 1, 1e6), _number(entry, "calls", 1, 1e12)
    seconds, cpu = _number(entry, "seconds", 1e-9, LONGEST), _number(entry, "cpu_seconds", 0, LONGEST * CORES)
    joules, mean = (_number(entry, key, -1e300, 1e300, none=True) for key in ("joules", "mean"))
    half = _number(entry, "half_width", 0, 1e300, none=True)
    quantity, label = as_text(entry.get("quantity")), entry.get("label")
    if seconds * calls > LONGEST:
        raise Forged(f"a reading of {seconds * calls / 86400:,.0f} days")
    if cpu > 0.02 / calls + 1.1 * CORES * seconds:
        raise Forged(f"{si(cpu, 's')} of CPU time in {si(seconds, 's')}, more than {CORES:,} cores can use")
    if joules is not None:
        _labelled(joules, label, entry.get("provenance"))
    parts = _parts(entry, joules, label)
    if not _QUANTITY.fullmatch(quantity):
        raise Forged("a reading of a quantity that the meter does not have")
    _one_figure(mean, cpu if quantity == "cpu_seconds" else joules, quantity, label)
    if joules is not None and not _watts(joules, seconds, cpu, calls, label):
        joules, label, parts = None, "none", ((), (), ())
    if entry.get("name") == CHOSEN:
        return None
    if (work := course.work(entry.get("name"), near)) is None:
        raise Unknown("readings of work that the course does not name")
    relative = half / mean if half and mean and n > 1 and "of" not in quantity else None
    if relative and not 0 < relative <= 1.001 * t_quantile(n - 1):  # all of it in one window gives the widest
        raise Forged(f"an interval of ± {relative:.3g} times the mean, more than {n:,.0f} windows can give")
    return Reading(*work, seconds, cpu, joules, label if joules is not None else "none", quantity, relative, int(n),
                   calls, *parts, *_machine(entry.get("machine")))


def _labelled(joules, label, provenance):
    if label not in LABELS:
        raise Forged("joules without a label")
    if joules <= 0:
        raise Forged(f"joules ({label}) of zero or less, which the meter refuses")
    if provenance != ("assumed" if label == "unknown" else label):
        known = [word.name.lower() for word in Provenance]
        raise Forged(f"joules labelled {label} whose provenance says {provenance if provenance in known else 'something else'}")


def _one_figure(mean, figure, quantity, label):
    """The mean is the joules or the CPU time once more; only "joules of GPU" is a part of all joules."""
    if None in (mean, figure) or _near(mean, figure) or quantity.startswith("joules of") and 0 < mean < figure:
        return
    one, unit = ("CPU time", "s") if quantity == "cpu_seconds" else (f"joules ({label})", "J")
    raise Forged(f"its mean says {si(mean, unit)} and its {one} {si(figure, unit)}, where the meter writes one figure")


def _watts(joules, seconds, cpu, calls, label):
    """False where nothing can be said: an honest sensor's window may be far longer than that of very short code."""
    watts = joules / seconds
    if watts > MAX_WATTS:
        if seconds * calls < SHORT:
            return False
        raise Forged(f"{si(watts, 'W')} ({label}), where a whole server draws less than {si(MAX_WATTS, 'W')}")
    clock = max(cpu if label == "modelled" else seconds, 1e-9)  # modelled joules are CPU time x watts
    if joules < MIN_WATTS * clock:
        raise Forged(f"{joules / clock:.3g} W ({label}), less than any machine draws that is on")
    return True


def _parts(entry, joules, label):
    """(components, sources, scopes) of a reading that tells its parts; () three times where it does not."""
    given = entry.get("parts")
    if given is None or joules is None:
        return (), (), ()
    if not isinstance(given, list) or not 0 < len(given) <= 8 or not all(isinstance(part, dict) for part in given):
        raise Forged("a reading whose parts are no list of parts")
    found = sorted((_part(part) for part in given if part.get("joules") is not None),
                   key=lambda part: COMPONENTS.index(part[0]))
    total = math.fsum(part[4] for part in found)
    if not _near(total, joules):
        raise Forged(f"a total of {si(joules, 'J')} ({label}) whose parts add up to {si(total, 'J')}")
    weakest = max((part[3] for part in found), key=LABELS.index)
    if weakest != label:
        raise Forged(f"a total labelled {label} with a part that is {weakest}")
    return tuple(zip(*found))[:3]


def _part(part):
    """(component, source, scope, label, joules), in words of the course."""
    name, label, source = part.get("name"), part.get("label"), as_text(part.get("source"))
    if name not in COMPONENTS or label not in LABELS or not source:
        raise Forged("a part of a reading that the meter does not have, or without a label")
    row = next((row for row in _SOURCES if row[0].fullmatch(source)), None)
    if row and row[1] != label:
        raise Forged(f"joules labelled {label} that come from {row[2]}, which makes them {row[1]}")
    scope = next((said for word, said in _SCOPES if word in as_text(part.get("scope"))), "something that is not told")
    return (name, row[2] if row else "a source that this course does not know", scope, label,
            _number(part, "joules", 0, 1e300))


def _machine(machine):
    """(kind of place, cores) where the line tells them."""
    if not isinstance(machine, dict):
        return "", None
    where, cores = as_text(machine.get("where")).split(", "), machine.get("cores")
    place = next((word for word in PLACES if word in where), "")
    if "local" in where and not place:
        place = GUEST if {"container", "virtual machine"} & set(where) else OWN
    return place, float(cores) if is_real(cores) and 0 < cores <= CORES else None
