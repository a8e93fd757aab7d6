"""What does sparsity cost beside the multiplications that it keeps? `SparseMoE` against its dense twins and its peers.

`python benchmarks/moe.py` times forward, and forward with backward, on 1 thread (process CPU time) and on 2 threads
(wall clock). All layers of a cell take turns in one process, there and back, and a ratio is the median of ratios
within a round. The table goes to results/moe-DATE.md and README.md, the picture to results/moe-DATE.png.
`--quick` runs a tiny grid, `--no-record` only prints. data/layers.py says how routing is fixed for everyone.

`--device cuda` times other cells on an NVIDIA GPU by the clock, each window between two waits for the chip; they go to
results/moe-gpu-DATE.md and to a section of their own in README.md. A layer that does not run there is listed with the reason.
"""

import argparse
import base64
import ctypes
import datetime
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil
import torch
from data import layers
from data.layers import PEERS, Cell, twin
from data.marks import replace_between

from course_lib import plots
from course_lib.setup import machine, seed_everything
from course_lib.stats import ratio_interval
from course_lib.tables import Table

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "transformers", "mixture-of-experts", "st-moe-pytorch")
F, FB = "forward", "forward+backward"
CORE = ("dense", "ours", "floor")
SIDES = (*CORE, "dense, gated", "ours, gated", *PEERS)
MORE = ("ours, loop", "dense, same total")  # in the tables of a GPU
OTHER_FORMS = ("mixture-of-experts, one group", "mixture-of-experts, stock", "st-moe, one group", "st-moe, stock")
MUST = {4: 1.12, 8: 1.15, 16: 1.25, 32: 1.38}  # forward+backward over dense at d 256, T 1024, k 2, by E
TIE = 1.03  # ours over a peer: the interval must reach down to here


def set_allocator():
    """Let glibc keep what was freed, for every side alike; whether it did.

    By its defaults large blocks go back to the system, and each step takes the page faults again. That favours
    nobody in principle, but it makes dense and sparse layers slower by different amounts.
    """
    try:
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(-3, 1 << 30) and libc.mallopt(-1, 2**31 - 1))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    except (AttributeError, OSError, TypeError):  # no glibc
        return False


@dataclass
class Race:
    """Layers that took turns: seconds per call of each round, by side. `others`: share of the machine's CPU time
    that other programs took meanwhile."""

    part: str
    cell: Cell
    mode: str
    threads: int
    seconds: dict = field(default_factory=dict)
    others: float = 0.0
    device: str = "cpu"

    def over(self, a, b, scale=1.0):
        """Ratio a / b: median over the rounds, and a 95 % interval; None when one of them did not run."""
        if not (self.seconds.get(a) and self.seconds.get(b)):
            return None
        n = min(len(self.seconds[a]), len(self.seconds[b]))
        return paired(self.seconds[a][:n], self.seconds[b][:n], scale)

    def ms(self, name):
        """Median milliseconds per call."""
        return 1e3 * statistics.median(self.seconds[name])


def paired(a, b, scale=1.0):
    """Median of the paired ratios, and the interval of `course_lib.stats`, widened where the median is outside."""
    ratio = statistics.median(x / y for x, y in zip(a, b)) * scale
    low, high = (float(v) * scale for v in ratio_interval(a, b)[1:])
    return ratio, min(low, ratio), max(high, ratio)


def run_race(race, sides, effort):
    """Fill `race.seconds`. `sides`: {name: (what to run, what to do after it, unclocked)}.

    Goes on until every ratio to the first side is known within `effort.width`, or rounds or seconds run out. A side
    that takes more than 1.5 times what the slowest of ours does may leave earlier: no further round changes its rank.
    """
    clock = time.process_time if race.threads == 1 and race.device == "cpu" else time.perf_counter
    torch.set_num_threads(race.threads)
    race.seconds, calls, first = {name: [] for name in sides}, {}, next(iter(sides))

    def window(name):
        run, clean = sides[name]
        if race.device != "cpu":  # the calls queue up on the chip, as in training; waiting after each would time the wait
            torch.accelerator.synchronize()
            begun = clock()
            for _ in range(calls[name]):
                run()
                clean()
            torch.accelerator.synchronize()
            return (clock() - begun) / calls[name]
        spent = 0.0
        for _ in range(calls[name]):
            begun = clock()
            run()
            spent += clock() - begun
            clean()
        return spent / calls[name]

    for name in sides:
        calls[name] = 1
        if window(name) < 10 * effort.window:  # the first call of all also allocates, so a short one is timed again
            calls[name] = max(1, min(100, math.ceil(effort.window / max(window(name), 1e-5))))
    out, begun, busy, own = set(), time.perf_counter(), system_busy(), time.process_time()
    for turn in range(effort.most):
        for name in sides if turn % 2 else reversed(sides):
            if name not in out:
                race.seconds[name].append(window(name))
        mine = [race.over(name, first)[0] for name in sides if name.startswith(("ours", "dense"))]
        if turn + 1 >= 3:
            out |= {n for n in PEERS if n in sides and race.over(n, first)[1] > 1.5 * max(mine, default=9)}
        left = [race.over(name, first) for name in sides if name not in out and name != first]
        narrow = all(math.log(high / low) / 2 < effort.width for _, low, high in left if low > 0)
        late = time.perf_counter() - begun > effort.seconds
        if turn + 1 >= effort.least and (narrow or late):
            break
    wall = time.perf_counter() - begun
    race.others = max(0.0, (system_busy() - busy) - (time.process_time() - own)) / (wall * os.cpu_count())
    return race


def system_busy():
    """CPU seconds that all programs of this machine have used."""
    t = psutil.cpu_times()
    return sum(t) - t.idle - getattr(t, "iowait", 0) - getattr(t, "guest", 0) - getattr(t, "guest_nice", 0)


@dataclass
class Effort:
    """How long to go on: rounds, seconds, half-width of a ratio's interval, and the least seconds in one window."""

    least: int = 4
    most: int = 15
    seconds: float = 3.0
    width: float = 0.02
    window: float = 0.01


def sides_of(names, cell, mode):
    """{name: (run, clean)} of the layers that have a form in this cell."""
    return runs({name: layers.make(name, cell) for name in names}, mode)


def runs(made, mode):
    """{name: (run, clean)} of {name: layer, or None}."""
    return {name: (lambda s=s: s.run(mode == FB), s.clean) for name, s in made.items() if s}


def grid(quick):
    """The cells of the main table."""
    if quick:
        return [Cell(32, 64, 256, k, E) for k in (1, 2) for E in (4, 8)]
    cells = [Cell(d, 4 * d, T, k, E) for d in (64, 256) for T in (128, 1024) for k in (1, 2) for E in (4, 8, 16, 32, 64)]
    return cells + [Cell(256, 1024, 4096, 2, E) for E in (8, 32)]


class Bench:
    """All races, in the order in which they are run."""

    def __init__(self, quick):
        self.quick, self.races, self.notes = quick, [], {}
        self.effort = Effort(2, 2, 1, 1, 0.0) if quick else Effort()
        self.patient = self.effort if quick else Effort(seconds=15.0)  # where a single ratio has a goal
        self.d = 32 if quick else 256
        self.h = 2 * self.d if quick else 4 * self.d
        self.large = 256 if quick else 1024  # tokens

    def add(self, part, cell, mode, sides, threads=1, device="cpu"):
        goal = part == "grid" and mode == FB and cell.d == 256 and cell.k == 2 and cell.E in MUST and cell.T >= 1024
        effort = self.patient if goal or part == "few and many" else self.effort
        race = run_race(Race(part, cell, mode, threads, device=device), sides, effort)
        self.races.append(race)
        first = next(iter(sides))
        found = ", ".join(f"{name} {race.over(name, first)[0]:.2f}" for name in list(sides)[1:])
        print(f"{part}, {mode}, d {cell.d}, T {cell.T}, k {cell.k}, E {cell.E}: {first} {race.ms(first):.2f} ms; {found}",
              flush=True)
        gc.collect()
        return race

    def find(self, part, mode=FB, **wanted):
        """The races of a part, by mode and by fields of their cell."""
        return [r for r in self.races if r.part == part and r.mode == mode
                and all(getattr(r.cell, key) == value for key, value in wanted.items())]

    def run(self):
        for cell in grid(self.quick):
            for mode in (F, FB):
                self.add("grid", cell, mode, sides_of(SIDES, cell, mode))
        self.curves()
        self.skew()
        self.same_total()
        self.forms()
        self.optimizer()
        for E in (4, 8) if self.quick else (8, 32):
            cell = Cell(self.d, self.h, self.large, 2, E)
            self.add("runner", cell, FB, sides_of(("ours", "ours, loop"), cell, FB))
            for mode in (F, FB):
                names = (*CORE, "dense, gated", "ours, gated", "Hugging Face, eager", "Hugging Face, grouped")
                self.add("two threads", cell, mode, sides_of(names, cell, mode), threads=1 if self.quick else 2)
        torch.set_num_threads(1)

    def on_gpu(self, device="cuda"):
        """Other cells, for a chip that the sizes above leave idle: those in float32, and larger ones in bfloat16."""
        many = (4, 8) if self.quick else (8, 64)
        cells = [(torch.float32, Cell(self.d, self.h, self.large, 2, E)) for E in many]
        d, h = (32, 64) if self.quick else (2048, 1024)
        cells += [(torch.bfloat16, Cell(d, h, T, 2, E)) for T in (16, 1024, 16384) for E in many]
        for dtype, cell in cells:
            made = {}
            for name in (*CORE, "dense, same total", "ours, loop", "dense, gated", "ours, gated", *PEERS):
                try:
                    if side := layers.make(name, cell, device, dtype):
                        side.run(True)
                        side.clean()
                        made[name] = side
                except (RuntimeError, TypeError) as error:  # a format or a size that this layer does not take there
                    said = str(error).strip().splitlines()[0][:110]
                    self.notes.setdefault("refused", {}).setdefault((name, str(dtype), said), []).append(cell)
            for mode in (F, FB):
                self.add(str(dtype).removeprefix("torch."), cell, mode, runs(made, mode), device=device)
            del made, side  # the next cell needs the chip's memory

    def curves(self):
        """Cost against tokens per expert with E fixed, and against E with tokens per expert fixed."""
        for T in (128, 256) if self.quick else (32, 64, 128, 256, 512, 1024, 2048, 4096):
            cell = Cell(self.d, self.h, T, 2, 8 if self.quick else 16)
            self.add("tokens per expert", cell, FB, sides_of(CORE, cell, FB))
        many = (4, 8) if self.quick else (4, 8, 16, 32, 64)
        for E in many:
            cell = Cell(self.d, self.h, 32 * E, 2, E)  # 64 tokens per expert
            self.add("experts", cell, FB, sides_of(CORE, cell, FB))
        for n in (64,) if self.quick else (64, 256):  # few and many experts in one race, so that their times are paired
            few, lot = (Cell(self.d, self.h, n * E // 2, 2, E) for E in (many[0], many[-1]))
            self.add("few and many", lot, FB, {f"{name}, {c.E} experts": side for c in (few, lot)
                                               for name, side in sides_of(CORE, c, FB).items()})

    def skew(self):
        """Zipf routing beside even routing."""
        for d in (self.d,) if self.quick else (64, 256):
            for k in (1, 2):
                for E in (8,) if self.quick else (8, 32):
                    even = Cell(d, self.h * d // self.d, self.large, k, E)
                    skewed = even._replace(zipf=True)
                    sides = {f"{name}, {c}": side for c, cell in (("even", even), ("Zipf", skewed))
                             for name, side in sides_of(("ours", "floor"), cell, FB).items()}
                    self.add("Zipf", even, FB, sides)

    def same_total(self):
        """Beside a dense layer that has as many parameters as all experts together."""
        for d, E in ((self.d, 4),) if self.quick else ((64, 32), (256, 8), (256, 32)):
            for mode in (F, FB):
                cell = Cell(d, self.h * d // self.d, self.large, 2, E)
                self.add("same total", cell, mode, sides_of(("ours", "dense, same total"), cell, mode))

    def forms(self):
        """The layers with a capacity, as they come, and on one group of all tokens."""
        cell = Cell(self.d, self.h, self.large, 2, 8)
        race = self.add("other forms", cell, FB, sides_of(("dense", "mixture-of-experts", "st-moe", *OTHER_FORMS), cell, FB))
        for name in list(race.seconds)[1:]:
            side = layers.make(name, cell)
            self.notes[name] = layers.computed_share(side, cell), side.flops() / cell.flops

    def optimizer(self):
        """Adam's step, which touches every parameter, beside forward+backward, which touches the active ones."""
        for E in (4, 8) if self.quick else (4, 8, 16, 32, 64):
            cell = Cell(self.d, self.h, self.large, 2, E)
            side = layers.make("ours", cell)
            weights = list(layers.make("ours", cell).module.parameters())
            for w in weights:
                w.grad = torch.full_like(w, 1e-3)
            adam = {name: torch.optim.Adam(weights, **{name: True}) for name in ("fused", "foreach")}
            self.add("optimizer", cell, FB, {"ours": (lambda s=side: s.run(True), side.clean)} | {
                f"Adam, {name}": (a.step, lambda: None) for name, a in adam.items()})

    def default_allocator(self):
        """The same two sides in a fresh process that leaves the allocator alone; [ratio, low, high], or None."""
        done = subprocess.run([sys.executable, __file__, "--allocator-row"], capture_output=True, text=True, check=False)
        return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def allocator_row():
    cell = Cell(256, 1024, 1024, 2, 32)
    race = run_race(Race("allocator", cell, FB, 1), sides_of(("dense", "ours"), cell, FB), Effort(least=8))
    return race.over("ours", "dense")


def product_share(cell):
    """Share of our layer's CPU time, forward and backward, that is spent inside matrix products, by torch.profiler."""
    torch.set_num_threads(1)
    side = layers.make("ours", cell)
    side.run(True)
    side.clean()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(3):
            side.run(True)
            side.clean()
    spent = {e.key: e.self_cpu_time_total for e in profile.key_averages()}
    return sum(t for key, t in spent.items() if key in ("aten::mm", "aten::_grouped_mm")) / sum(spent.values())


def text_of(found):
    """1.12 (1.1 to 1.14), or a dash."""
    return "-" if found is None else "{:.3g} ({:.3g} to {:.3g})".format(*found)


def word(found, goal):
    """Whether a ratio is at or under its goal, in words."""
    if found is None:
        return "not measured"
    return "yes" if found[0] <= goal else "within the interval" if found[1] <= goal else "no"


def place(race):
    """Which cell, in words."""
    return f"{race.mode}, d {race.cell.d}, T {race.cell.T:,}, k {race.cell.k}, E {race.cell.E}"


def law(n):
    return 1.15 + 24 / n


def goals(bench):
    """Rows (goal, reached, measured) of the table at the end."""
    rows = []

    def row(name, goal, found, extra=""):
        rows.append((f"{name}: ≤ {goal}", word(found, goal), text_of(found) + extra))

    def one(part, a, b, mode=FB, **wanted):
        races = bench.find(part, mode, **wanted)
        return races[0].over(a, b) if races else None

    for T, cells in ((1024, MUST), (4096, {32: 1.12})):
        for E, goal in cells.items():
            where = {"d": 256, "T": T, "k": 2, "E": E}
            bare = one("grid", "floor", "dense", **where)
            share = bench.notes.get(("share", T, E))
            row(f"over dense of equal active FLOPs, {T:,} tokens, {E} experts", goal, one("grid", "ours", "dense", **where),
                (f"; floor {text_of(bare)}" if bare else "") + (f"; {share:.0%} in matrix products" if share else ""))
    cells = [(r, r.over("ours", "dense")) for m in (F, FB) for r in bench.find("grid", m, d=256)]
    if cells:
        worst, found = max(cells, key=lambda c: c[1][0] / law(c[0].cell.n))
        met = sum(f[0] <= law(r.cell.n) for r, f in cells)
        rows.append((f"every cell at d 256: ≤ 1.15 + 24/n, n tokens per expert ({len(cells)} cells)",
                     "yes" if met == len(cells) else f"in {met} of {len(cells)}",
                     f"nearest: {text_of(found)} where the law allows {law(worst.cell.n):.3g}, {place(worst)}"))
    for race in bench.find("few and many"):
        names = sorted({int(name.split(",")[1].split()[0]) for name in race.seconds})
        few, many = (f"ours, {E} experts" for E in names)
        tokens = names[0] / names[1]  # time per token: T follows E
        found, plain = (race.over(many.replace("ours", s), few.replace("ours", s), tokens) for s in ("ours", "floor"))
        row(f"{names[1]} experts over {names[0]}, time per token at {race.cell.n:.0f} tokens per expert", 1.1, found,
            f"; floor {text_of(plain)}")
    for race in bench.find("Zipf"):
        c = race.cell
        row(f"Zipf over even routing, d {c.d}, k {c.k}, E {c.E}", 1.25, race.over("ours, Zipf", "ours, even"),
            f"; floor {text_of(race.over('floor, Zipf', 'floor, even'))}")
    for mode in (F, FB):
        found = one("same total", "dense, same total", "ours", mode, d=256, E=32)
        if found:
            rows.append((f"dense of equal total parameters over ours, d 256, 1,024 tokens, 32 experts, {mode}: ≥ 11",
                         "yes" if found[0] >= 11 else "within the interval" if found[2] >= 11 else "no", text_of(found)))
    for peer, mine in PEERS.items():
        cells = [(r, found) for m in (F, FB) for r in bench.find("grid", m)
                 if r.cell.T >= 1024 and (found := r.over(mine, peer))]
        if cells:
            worst, found = max(cells, key=lambda c: c[1][0])
            met = sum(f[1] <= TIE for _, f in cells)
            rows.append((f"{mine} over {peer}, T ≥ 1024, interval reaches {TIE} ({len(cells)} cells)",
                         "yes" if met == len(cells) else f"in {met} of {len(cells)}",
                         f"worst: {text_of(found)}, {place(worst)}"))
    return Table(["goal", "reached", "measured"], rows)


def grid_table(bench, part="grid", mode=FB, **wanted):
    """Ratios of one part: a row for each cell, a column for each side."""
    races = bench.find(part, mode, **wanted)
    names = [name for name in (*SIDES, *MORE) if any(name in r.seconds for r in races) and name not in ("dense", "dense, gated")]
    rows = []
    for r in sorted(races, key=lambda r: r.cell):
        found = [r.over(name, twin(name)) for name in names]
        rows.append((r.cell.d, r.cell.T, r.cell.k, r.cell.E, float(f"{r.cell.n:g}"), float(f"{r.ms('dense'):.3g}"),
                     *("-" if f is None else f"{f[0]:.2f} ± {(f[2] - f[1]) / 2:.2f}" for f in found)))
    return Table(["d", "tokens", "k", "experts", "tokens per expert", "dense, ms", *names], rows)


def optimizer_table(bench):
    return Table(["experts", "parameters, millions", "forward+backward, ms", "Adam fused, ms", "Adam foreach, ms"], [
        (r.cell.E, float(f"{r.cell.E * 2 * r.cell.d * r.cell.h / 1e6:.3g}"),
         *(float(f"{r.ms(name):.3g}") for name in ("ours", "Adam, fused", "Adam, foreach")))
        for r in bench.find("optimizer")])


def forms_table(bench):
    race, = bench.find("other forms")
    return Table(["layer", "pairs computed", "FLOPs over the experts' own", "over dense"], [
        (name, f"{share:.0%}", float(f"{flops:.3g}"), text_of(race.over(name, "dense")))
        for name in race.seconds if name in bench.notes for share, flops in [bench.notes[name]]])


def picture(bench):
    """(figure, its words): ratio against tokens per expert and against experts, and Adam's step."""
    fig, (left, middle, right) = plots.figure("What does sparsity cost beside the multiplications that it keeps?",
                                              width=13, height=4.2, panels=3)

    def ticks(ax, at, ups=()):
        ax.set_xscale("log")
        ax.set_xticks(at, [f"{value:g}" for value in at])
        if ups:
            ax.set_yscale("log")
            ax.set_yticks(ups, [f"{value:g}" for value in ups])
        ax.minorticks_off()

    def curves(ax, part, x):
        races = bench.find(part)
        found = {label: [r.over(name, "dense") for r in races] for name, label in (
            ("ours", "SparseMoE"), ("floor", "the same products, tokens already grouped"))}
        plots.lines(ax, [x(r.cell) for r in races], {k: [f[0] for f in v] for k, v in found.items()}, legend=False,
                    spread={k: ([max(f[1], 0.5) for f in v], [min(f[2], 12) for f in v]) for k, v in found.items()})
        ax.axhline(1, color="grey", linewidth=1)
        ax.set_ylabel("CPU time over equally active dense")
        return [x(r.cell) for r in races], found["SparseMoE"]

    n, ours = curves(left, "tokens per expert", lambda c: c.n)
    left.plot(n, [law(v) for v in n], color="#000000", linestyle=":", label="goal: 1.15 + 24 / tokens per expert")
    ticks(left, n, (1, 1.2, 1.5, 2, 3, 4, 6, 8))
    left.set_xlabel("tokens per expert")
    left.set_title("16 experts, top-2")
    left.legend(fontsize=9)
    E, flat = curves(middle, "experts", lambda c: c.E)
    ticks(middle, E)
    middle.set(xlabel="experts", ylim=(0, 2.2))
    middle.set_title("64 tokens per expert")
    middle.legend(fontsize=9)
    races = bench.find("optimizer")
    names = {"ours": "forward+backward", "Adam, foreach": "Adam, torch's default", "Adam, fused": "Adam, fused"}

    def ms(name):
        return [r.ms(name) for r in races], [[1e3 * q for q in (min(r.seconds[name]), max(r.seconds[name]))] for r in races]

    plots.lines(right, [r.cell.E for r in races], {label: ms(name)[0] for name, label in names.items()}, legend=False,
                spread={label: tuple(zip(*ms(name)[1])) for name, label in names.items()})
    ticks(right, [r.cell.E for r in races], (1, 2, 5, 10, 20, 50, 100, 200))
    right.set(xlabel="experts", ylabel="CPU milliseconds")
    right.set_title(f"one step, {races[0].cell.T:,} tokens")
    right.legend(fontsize=9)
    last = races[-1]
    words = (
        f"Three panels, d {bench.d}, forward and backward on one thread. Left: SparseMoE takes {ours[0][0]:.1f} times "
        f"a dense layer's time at {n[0]:.0f} tokens per expert and {ours[-1][0]:.2f} times at {n[-1]:.0f}, close to the "
        f"same products on grouped tokens. Middle: at 64 tokens per expert the ratio goes from {flat[0][0]:.2f} with "
        f"{E[0]} experts to {flat[-1][0]:.2f} with {E[-1]}. Right: with {last.cell.E} experts forward and backward "
        f"take {last.ms('ours'):.0f} ms, Adam's step {last.ms('Adam, foreach'):.0f} ms, or "
        f"{last.ms('Adam, fused'):.0f} ms fused; Adam's time grows with all experts.")
    return fig, words


def report(bench, load, kept, began):
    """(goals as a Table, README's Markdown, the longer record's Markdown); the picture's line is put in by main."""
    table, here = goals(bench), machine()
    versions = [f"{name} {metadata.version(name)}" if installed(name) else f"{name} not installed" for name in PACKAGES]
    busy = statistics.mean(r.others for r in bench.races)
    two = max((r.others for r in bench.races if r.threads == 2), default=0)
    plain = bench.notes.get("allocator")
    rounds = [max(map(len, r.seconds.values())) for r in bench.races]
    about = (
        f"Taken on {datetime.date.today()}: {here['cpu']}, {here['cores']:g} cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, {here['os']}, Python {here['python']}, {', '.join(versions)}; "
        f"float32. Load average {load[0]:.1f} before and {load[1]:.1f} after; other programs took {busy:.0%} of the "
        f"machine meanwhile. {len(bench.races)} races in {(time.perf_counter() - began) / 60:.0f} minutes, "
        f"{min(rounds)} to {max(rounds)} rounds each; medians of paired ratios with 95 % intervals.{peak()}")
    allocator = (
        f"Allocator: {'glibc was told to keep freed memory (mallopt), for every side' if kept else 'left as it is'}. "
        + (f"Without that, d 256, 1,024 tokens, 32 experts, forward+backward: {text_of(plain)} over dense." if plain else ""))
    loops = "; ".join(f"{r.cell.E} experts {text_of(r.over('ours, loop', 'ours'))}" for r in bench.find("runner"))
    wall = (f"other programs took up to {two:.0%} of the machine: do not rely on it" if two > 0.05
            else "no other program took more than 5 % of the machine")
    main_d = {"d": bench.d, "k": 2}
    twins = ("over the dense twin of equal active FLOPs and equal activation; the gated and Hugging Face layers are "
             "over a gated dense layer")
    kinds = ("The layers with a capacity, in groups of 128 tokens with room for every pair (as above), on all tokens "
             "at once (one group), and as they come (stock):")
    parts = [
        ("", table), ("", about), ("", allocator),
        (f"Forward+backward, 1 thread, d {bench.d}, top-2, {twins}:", grid_table(bench, **main_d)),
        (kinds, forms_table(bench)),
        (f"Adam's step follows all parameters ({bench.large:,} tokens, top-2):", optimizer_table(bench)),
        (f"Two threads, wall clock, forward+backward ({wall}):", grid_table(bench, "two threads")),
        (f"The runner \"loop\" over the runner \"grouped\": {loops}.", None)]
    short = "\n\n".join(filter(None, (x for said, t in parts for x in (
        said, t if isinstance(t, str) else t._repr_markdown_() if t else ""))))
    rest = [("## Forward+backward, every cell", grid_table(bench)), ("## Forward, every cell", grid_table(bench, mode=F)),
            ("## Two threads, forward, wall clock", grid_table(bench, "two threads", F)),
            ("## Against tokens per expert", grid_table(bench, "tokens per expert")),
            ("## Against experts, 64 tokens per expert", grid_table(bench, "experts"))]
    return table, short, "\n\n".join([short, *(f"{title}\n\n{t._repr_markdown_()}" for title, t in rest)])


def gpu_report(bench):
    """The Markdown of a run on a GPU: what it was taken on, then forward+backward and forward for each number format."""
    here = machine()
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES if installed(name)]
    rounds = [max(map(len, r.seconds.values())) for r in bench.races]
    about = (
        f"Taken on {datetime.date.today()}: {here['gpu'] or 'no GPU'}, {here['cpu']}, {here['cores']:g} cores, {here['os']}, "
        f"Python {here['python']}, {', '.join(versions)}. {len(bench.races)} races, {min(rounds)} to {max(rounds)} rounds each, "
        "by the clock; medians of paired ratios over the dense twin of equal active FLOPs with half of their 95 % interval.")
    parts = [about]
    for part in dict.fromkeys(r.part for r in bench.races):
        for mode in (FB, F):
            parts += [f"{part}, {mode}:", grid_table(bench, part, mode)._repr_markdown_()]
    for (name, dtype, said), cells in bench.notes.get("refused", {}).items():
        parts.append(f"Not run: {name} in {dtype} ({len(cells)} times), because \"{said}\".")
    return "\n\n".join(parts)


def installed(name):
    """Whether a package is there."""
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def peak():
    """The process's peak memory, in words, where the system says."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    return f" Peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB."


def record(folder, drawn, words, short, long):
    """Write the picture (PNG bytes and its words), the short text for README.md and the long one for results/."""
    name = f"moe-{datetime.date.today().isoformat()}"
    (folder / "results" / f"{name}.png").write_bytes(drawn)
    (folder / "results" / f"{name}.md").write_text(
        f"# Sparse experts, {name[4:]}\n\n![{words}]({name}.png)\n\n{long}\n", encoding="utf-8")
    replace_between(folder / "README.md", "moe", f"![{words}](results/{name}.png)\n\n{short}\n\n"
                    f"Every cell: [results/{name}.md](results/{name}.md).")


def record_gpu(folder, found):
    """Write the report of a GPU to results/ and into README.md."""
    name = f"moe-gpu-{datetime.date.today().isoformat()}"
    (folder / "results" / f"{name}.md").write_text(f"# Sparse experts on a GPU, {name[8:]}\n\n{found}\n", encoding="utf-8")
    replace_between(folder / "README.md", "moe-gpu", found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny grid, to see that everything runs; not recorded")
    parser.add_argument("--no-record", action="store_true", help="write no file, only print")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: the cells for an NVIDIA GPU")
    parser.add_argument("--allocator-row", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed_everything(0, threads=1)
    if options.allocator_row:
        print(json.dumps(allocator_row()))
        return
    bench = Bench(options.quick)
    if options.device == "cuda":
        if not torch.cuda.is_available():
            sys.exit("moe.py: this PyTorch sees no NVIDIA GPU; leave --device out, or install its default build "
                     "(make bench TORCH=default)")
        bench.effort = bench.patient = Effort(3, 9, 1.2, 0.03, 0.02)
        bench.on_gpu()
        print(found := gpu_report(bench))
        if not (options.no_record or options.quick):
            record_gpu(ROOT / "benchmarks", found)
        return
    kept, load, began = set_allocator(), [os.getloadavg()[0]], time.perf_counter()
    bench.run()
    if not options.quick:
        for T, E in ((1024, 4), (1024, 8), (1024, 16), (1024, 32), (4096, 32)):
            bench.notes["share", T, E] = product_share(Cell(256, 1024, T, 2, E))
        bench.notes["allocator"] = bench.default_allocator()
    load.append(os.getloadavg()[0])
    table, short, long = report(bench, load, kept, began)
    fig, words = picture(bench)
    drawn = base64.b64decode(plots.bundle(fig, words)[0]["image/png"])  # refuses a figure without labels
    print(long, "", table, sep="\n")
    if not (options.no_record or options.quick):
        record(ROOT / "benchmarks", drawn, words, short, long)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped: nothing was written")
