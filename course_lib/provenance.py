"""How a number of joules came about: five ordered words, and which of them this machine's sensors earn."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")  # where Linux shows the RAPL energy counters of the CPU
SOCKET_WATTS, BOARD_WATTS = 400.0, 1500.0  # plausible ceilings where the hardware states no limit


class Provenance(IntEnum):
    """How a number of joules came about. Ordered: a larger one is better evidence."""

    NONE, ASSUMED, MODELLED, SAMPLED, MEASURED = range(5)

    @property
    def meaning(self) -> str:
        return _WORDS[self][0]

    @property
    def accuracy(self) -> str:
        return _WORDS[self][1]


_FISCHER = "Fischer (2025, arXiv:2509.22092)"
_WORDS = {
    Provenance.MEASURED: (
        "An energy counter of the hardware was read before and after the window.",
        f"Energy of the component alone, in one study 20 to 37 % below a plug meter ({_FISCHER}, its raw data)."),
    Provenance.SAMPLED: (
        "Power was read now and then, and added up over the window.",
        "Between samples nothing is seen: 75 % of the time on an A100 (Yang et al. 2023, arXiv:2312.02741)."),
    Provenance.MODELLED: (
        "A calculation from the CPU time used and a table of watts; no sensor was read.",
        (f"Unknown, perhaps a factor of several: {_FISCHER} found estimates up to 40 % from a plug meter, "
         "and a table that does not know the chip does worse. Use it to rank work on one machine only.")),
    Provenance.ASSUMED: (
        "A constant number of watts times the clock.",
        ("Unknown: for four more RAM modules a model predicted 24 W where a wall meter saw under 1.5 W "
         "(Green Algorithms calculator, issue 14).")),
    Provenance.NONE: ("Nothing was read and nothing is claimed.", "There is no figure to be accurate about."),
}


@dataclass(frozen=True)
class Component:
    """Energy of one part in one window: `joules` (or None), how it was obtained, what it covers, and why."""

    name: str
    joules: float | None
    provenance: Provenance
    source: str
    scope: str
    why: str
    better: str = ""  # how to get a better label here
    limit: float = float("inf")  # watts no true window passes

    def __post_init__(self):
        if not isinstance(self.provenance, Provenance):
            raise ValueError(f"provenance is {self.provenance!r}: give one of "  # noqa: TRY004
                             f"{', '.join('Provenance.' + p.name for p in reversed(Provenance))}")

    @property
    def label(self) -> str:
        return "unknown" if self.source == "unknown" else self.provenance.name.lower()


def nothing(why: str, name: str = "CPU", better: str = "") -> Component:
    """A component without joules, and the reason."""
    return Component(name, None, Provenance.NONE, "none", "nothing", why, better)


def powercap_zones(root: Path | None = None) -> list[tuple[str, Path, bool]]:
    """(name, folder, readable) of each counter zone that Linux shows under `root`, subzones included."""
    found = {}
    for depth in ("*", "*/*", "*/*/*"):
        for file in sorted(Path(root or POWERCAP).glob(f"{depth}/energy_uj")):
            try:
                name = (file.parent / "name").read_text().strip()
            except OSError:
                name = file.parent.name
            found.setdefault(file.resolve(), (name, file.parent, os.access(file, os.R_OK)))
    return list(found.values())


def _package_limit() -> float:
    """Watts all packages may draw: their largest stated constraint each, else `SOCKET_WATTS` each."""
    total = 0.0
    for name, folder, _ in powercap_zones():
        if name.startswith("package"):
            watts = []
            for file in folder.glob("constraint_*_*w"):
                try:
                    watts.append(float(file.read_text()) / 1e6)
                except (OSError, ValueError):
                    continue
            total += max((w for w in watts if 0 < w < 1000), default=SOCKET_WATTS)  # 4095 W is a dummy
    return 1.5 * (total or SOCKET_WATTS)


def _cpu_better() -> str:
    zones = powercap_zones()
    if any(not readable for name, _, readable in zones if name.startswith("package")):
        return ("The counter is there, but only root may read it (since the PLATYPUS attack, CVE-2020-8694). "
                "On your own machine `sudo chmod a+r /sys/class/powercap/*/energy_uj` opens it until "
                "the next boot, a udev rule with that command for good; then restart the kernel.")
    return ("No energy counter is visible: a virtual machine, a container, or a CPU without one. "
            "Run this on a bare-metal Linux machine, or Windows 11, with a readable counter.")


def component_of(hardware) -> Component | None:
    """The label of one entry of codecarbon's private `tracker._hardware`: the one place that looks inside.

    None when the entry claims no energy. An attribute that is not there gives the label "unknown".
    """
    kind, part = type(hardware).__name__, getattr(hardware, "chip_part", None)
    if kind == "RAM":
        return None  # forced to 0 W: `ram_watts` of the meter is the honest way to ask for it
    if kind == "GPU":
        boards = list(getattr(getattr(hardware, "devices", None), "devices", ()))
        counted = {getattr(b, "_has_counter", None) for b in boards}
        falling_back = any(getattr(b, "_use_power_fallback", False) for b in boards)
        limit = 1.5 * sum(getattr(b, "_power_limit", None) or BOARD_WATTS for b in boards)
        scope = f"{len(boards)} whole GPU board(s), every process on them"
        if counted == {True} and not falling_back:
            return Component("GPU", 0.0, Provenance.MEASURED, "GPU energy counter", scope,
                             "counter difference; it moves about every 100 ms", "Use windows of 2 s or more.",
                             limit)
        if counted and None not in counted:
            return Component("GPU", 0.0, Provenance.SAMPLED, "GPU power readings", scope,
                             "mean of one power reading a second x time, because the counter did not answer",
                             "Use a GPU of the Volta generation or newer.", limit)
    if part in ("CPU", "GPU", "RAM"):  # Apple silicon, Raspberry Pi
        return Component(part, 0.0, Provenance.SAMPLED, f"{kind} power readings",
                         f"the whole {part}, every process", "power readings x time", "", 1.5 * SOCKET_WATTS)
    mode, watts = getattr(hardware, "_mode", None), getattr(hardware, "_tdp", None)
    whole = "whole CPU package(s), every process, no RAM"
    if kind == "CPU" and mode in ("intel_rapl", "windows_emi"):
        limit = _package_limit() if mode == "intel_rapl" else 1.5 * SOCKET_WATTS
        dram = any(name == "dram" for name, _, _ in powercap_zones()) and mode == "intel_rapl"
        return Component("CPU", 0.0, Provenance.MEASURED, f"{mode.replace('_', ' ')} counter", whole,
                         "counter difference" + dram * "; the DRAM counter beside it is not read", "", limit)
    if kind == "CPU" and mode == "intel_power_gadget":
        return Component("CPU", 0.0, Provenance.SAMPLED, "Intel Power Gadget", whole, "power readings x time",
                         "", 1.5 * SOCKET_WATTS)
    if kind == "CPU" and mode == "cpu_load" and watts:
        cores = getattr(hardware, "_cpu_count", None) or os.cpu_count() or 1
        guess = ", a guess for any chip" * bool(getattr(hardware, "_is_generic_tdp", False))
        return Component("CPU", 0.0, Provenance.MODELLED, "CPU time x table watts",
                         "this process and its children",
                         f"CPU time x {watts / cores:.2g} W per logical core from a table{guess}",
                         _cpu_better(), 1.5 * watts)
    if kind == "CPU" and mode == "constant":
        return Component("CPU", 0.0, Provenance.ASSUMED, "constant", "whole CPU",
                         f"half of {watts} W x the clock", _cpu_better())
    return Component("GPU" if kind == "GPU" else "CPU", 0.0, Provenance.ASSUMED, "unknown", "unknown",
                     "codecarbon does not tell how it got the figure, so it counts no more than a constant",
                     "Install the codecarbon version named in constraints.txt.")
