"""How good are the course's energy comparisons on this machine? `python benchmarks/energy.py [--record]`

Prints a table and writes benchmarks/results/energy-DATE.md:
- 100 comparisons of one code with itself, 0.2 s windows, both cores kept busy by other processes
- what a warm `meter.block` costs, empty, on top of the code inside it
- the bias of the very first reading of a fresh process, on a fake counter of 30 W
`--record` instead writes tests/data/windows.csv: single windows under load, which tests/test_stats.py
resamples. `--quick` does a tenth of the work.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from course_lib.energy import SLICES, Meter
from course_lib.tables import Table

ROOT = Path(__file__).resolve().parents[1]


def machine() -> str:
    """The kind of machine, without its name."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        virtual = ", virtual machine" if any("hypervisor" in line for line in lines) else ""
    except (OSError, StopIteration):
        virtual = ""
    return (f"{cpu}{virtual}, {os.cpu_count()} logical cores, {platform.system()}, Python "
            f"{platform.python_version()}, torch {torch.__version__}, 1 thread")


def busy(seed: int):
    """Keeps a core busy in bursts of random length, as a neighbour does."""
    rng, x = random.Random(seed), torch.randn(200, 200)
    torch.set_num_threads(1)
    while True:
        end = time.perf_counter() + rng.uniform(0.05, 1.5)
        while time.perf_counter() < end:
            x @ x
        time.sleep(rng.uniform(0.0, 0.3))


class Load:
    """One bursty neighbour per core for the length of a with block."""

    def __enter__(self):
        context = multiprocessing.get_context("spawn")
        cores = range(os.cpu_count() or 1)
        self.crowd = [context.Process(target=busy, args=(i,), daemon=True) for i in cores]
        for process in self.crowd:
            process.start()
        time.sleep(4)  # until torch is imported there

    def __exit__(self, *exception):
        for process in self.crowd:
            process.terminate()
            process.join()


def workload():
    """One call of the code that is measured: a small matrix product, some 0.1 ms."""
    x = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    return lambda: x @ x


def record(windows: int):
    meter, fn = Meter(), workload()
    with Load():
        calls = max(SLICES, meter._calls(fn, 0.2)) // SLICES
        readings = [meter._run(fn, calls, "record", read=False) for _ in range(windows * SLICES)]
    path = ROOT / "tests/data/windows.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = (f"# {machine()}; {datetime.date.today()}; {windows} windows in a row, each {SLICES} slices "
            f"(lines) of {calls} calls, under load\n")
    rows = "".join(f"{r.seconds:.6f},{r.cpu_seconds:.6f}\n" for r in readings)
    path.write_text(head + "seconds,cpu_seconds\n" + rows)
    print(f"wrote {path.relative_to(ROOT)}: {windows} windows of {SLICES} x {calls} calls")


def aa(n: int) -> list[tuple]:
    """`n` comparisons of one code with itself, as rows of the table."""
    with Load():
        found = Meter().aa_control(workload(), n=n, margin=0.05, window=0.2)
    false = sum(c.verdict != "not distinguishable" for c in found)
    widths = [(c.high - c.low) / 2 / c.ratio for c in found]
    ratios = [c.ratio for c in found]
    what = f"false verdicts in {n} A/A comparisons ({found[0].quantity}, 0.2 s windows, margin 5 %)"
    return [(what, false),
            ("their ratios, smallest to largest", f"{min(ratios):.3f} to {max(ratios):.3f}"),
            ("their intervals that leave 1 out", sum(not c.low <= 1 <= c.high for c in found)),
            ("half-width of their intervals, median and largest",
             f"{statistics.median(widths):.1%}, {max(widths):.1%}")]


def overhead(n: int) -> list[tuple]:
    meter, costs = Meter(), []
    for _ in range(n + 5):
        start = time.perf_counter()
        with meter.block("empty"):
            pass
        costs.append(1e3 * (time.perf_counter() - start))
    costs = sorted(costs[5:])
    return [(f"warm meter.block, {n} empty blocks, median", f"{statistics.median(costs):.1f} ms"),
            ("the same, 95th percentile", f"{costs[int(0.95 * len(costs))]:.1f} ms")]


def bias(n: int) -> list[tuple]:
    """First window of `n` fresh processes on the fake 30 W counter, by the meter and by the bare tracker."""
    rows = []
    for who, clock, said in (("meter", "cpu", "meter, counter driven by CPU time"),
                             ("meter", "wall", "meter, counter driven by the wall clock"),
                             ("codecarbon", "cpu", "codecarbon alone, counter driven by CPU time")):
        answers = []
        for _ in range(n):
            done = subprocess.run([sys.executable, str(ROOT / "tests/fakes.py"), who, clock],
                                  capture_output=True, text=True, check=True, cwd=ROOT)
            answers.append(json.loads(done.stdout.splitlines()[-1])["bias"])
        rows.append((f"bias of the first 1 s reading, {n} fresh processes: {said}",
                     f"median {statistics.median(answers):+.2%}, largest {max(answers, key=abs):+.2%}"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write tests/data/windows.csv and stop")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scale = 10 if options.quick else 1
    if options.record:
        return record(250 // scale)
    load = "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg()) if hasattr(os, "getloadavg") else "not known"
    rows = [*aa(100 // scale), *overhead(300 // scale), *bias(max(2, 5 // scale))]
    table = Table(("what", "result"), rows)
    print(table)
    path = ROOT / f"benchmarks/results/energy-{datetime.date.today()}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# Energy comparisons, {datetime.date.today()}\n\nMachine: {machine()}.\n"
                    f"Load average before the start, from other work: {load}.\n"
                    f"Made by `python benchmarks/energy.py{' --quick' * options.quick}`.\n\n"
                    f"{table._repr_markdown_()}\n")
    print(f"\nwrote {path.relative_to(ROOT)}")
    return None


if __name__ == "__main__":
    main()
