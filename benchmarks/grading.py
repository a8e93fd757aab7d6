"""How many submissions a minute? `course grade`, nbgrader, plain nbval and nbclient on the same notebooks.

`python benchmarks/grading.py [--n 10] [--rounds 3]` makes a small class out of data/91_bench.py: torch and 11
code cells; answers right, partly right, wrong, missing, or copied from the expected output. Each tool grades
it in turn, A B C ... and then ... C B A. The table goes to results/grading-DATE.md and README.md.
nbgrader gets a small environment of its own inside this one; where it cannot be had, its row says so.
Exit code 1 when `course grade` fails, or gives another score than expected.
"""

import argparse
import datetime
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

sys.modules.setdefault("rfc3987_syntax", None)  # two seconds of nbformat's import, of no use here

from data import graders
from data.marks import replace_between

from course_lib.classroom import CourseError, release
from course_lib.setup import machine
from course_lib.stats import ratio_interval
from course_lib.tables import Table

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "nbval", "pytest", "nbclient", "ipykernel", "jupyter_client", "jsonschema")


@dataclass
class Row:
    """One grader with a class of n, and what its rounds cost."""

    name: str
    grader: graders.Grader | None
    n: int
    problem: str = ""
    seconds: list = field(default_factory=list)  # per submission, of each round
    cpu: list = field(default_factory=list)
    start: list = field(default_factory=list)  # seconds before the first submission, of each round
    surprises: set = field(default_factory=set)  # learners with another score than expected

    def run(self, folder, n, env):
        """Grade a class of n once; (seconds, CPU seconds, seconds of start-up or None); None on failure."""
        try:
            folder.mkdir(parents=True)
            self.grader.make(folder, n)
            spent, begun, start = cpu_seconds(), time.perf_counter(), None
            for command in self.grader.commands(folder):
                start = execute(self.grader, command, folder, env)
            took, spent = time.perf_counter() - begun, cpu_seconds() - spent
            scores = self.grader.scores(folder)
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
            self.problem = f"failed: {type(error).__name__}: {str(error).strip()[:200]}"
            return None
        self.surprises |= {name for name, _, points in graders.learners(n) if scores.get(name) != points}
        return took, spent, start

    @property
    def verdict(self):
        """What to say of the scores."""
        if self.surprises:
            return f"not as expected: {', '.join(sorted(self.surprises)[:3])}"
        return "as expected"


def cpu_seconds():
    """CPU seconds of all finished children, and of theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def execute(grader, command, folder, env, limit=600):
    """Run one of a grader's commands; seconds until the last line that says that it is ready, or None.

    Raises subprocess.SubprocessError after `limit` seconds, or with an exit code that is not one of its own.
    """
    begun, seen, lines = time.perf_counter(), [], []

    def read(stream):
        for line in stream:
            lines.append(line)
            if grader.ready and re.search(grader.ready, line):
                seen.append(time.perf_counter() - begun)

    with subprocess.Popen(list(map(str, command)), cwd=grader.cwd or folder, env=env | grader.env, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          errors="replace", start_new_session=True) as process:
        reader = threading.Thread(target=read, args=[process.stdout], daemon=True)
        reader.start()
        try:
            code = process.wait(limit)
        except BaseException:  # too long, or Ctrl-C: nothing of it goes on
            os.killpg(process.pid, signal.SIGKILL)
            raise
        reader.join(5)
    if code not in grader.codes:
        last = [line.strip() for line in lines if line.strip()][-1:] or ["it said nothing"]
        raise subprocess.SubprocessError(f"exit code {code}: {last[0]}")
    return seen[-1] if seen else None


def environment(work):
    """The same for every tool: no settings, kernels, start-up files or ledger of whoever runs this."""
    env = {key: value for key, value in os.environ.items()
           if key not in ("MPLBACKEND", "PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "COURSE_SEED")}
    return env | {"PYTHONUNBUFFERED": "1", "COURSE_LEDGER": str(work / "ledger.jsonl")} | {
        name: str(work / "settings") for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}


def rows_of(solved, work, env, options):
    """The table's rows, ours first; a tool that cannot be had keeps its row."""
    ours = graders.course_grade(solved)
    rows = [Row(ours.name, ours, options.n)]
    if options.class_size:
        rows.append(Row(f"{ours.name}, class of {options.class_size}", ours, options.class_size))
    try:
        python = graders.nbgrader_python(options.nbgrader_python, env)
        rows.append(Row("nbgrader autograde", graders.nbgrader(solved, python, env, work), options.n))
    except (ValueError, OSError) as error:
        rows.append(Row("nbgrader autograde", None, options.n, problem=f"not run: {error}"))
    few = min(options.n, options.plain_n)
    return rows + [Row(grader.name, grader, few) for grader in graders.plain(solved)]


def measure(rows, work, env, rounds):
    """Run every row once with one submission, not counted, and then `rounds` times, there and back."""
    for turn in range(rounds + 1):
        for row in rows if turn % 2 else reversed(rows):
            if row.problem:
                continue
            done = row.run(work / f"{turn}_{rows.index(row)}", row.n if turn else 1, env)
            what = f"round {turn} of {rounds}" if turn else "before counting, one submission"
            if done and turn:
                row.seconds.append(done[0] / row.n)
                row.cpu.append(done[1] / row.n)
                row.start.append(done[2])
            came = f"{done[0]:.1f} s, scores {row.verdict}" if done else row.problem
            print(f"{what}: {row.name}: {came}", flush=True)


def over(row, base, values="seconds"):
    """How many times what `base` takes, with a 95 % interval over the rounds, as text."""
    if row is base or row.problem or base.problem:
        return "1" if row is base else "-"
    ratio, low, high = map(float, ratio_interval(getattr(row, values), getattr(base, values)))
    return f"{ratio:.3g} ({low:.3g} to {high:.3g})" if len(row.seconds) > 1 else f"{ratio:.3g} (one round)"


def report(rows, options, load):
    """The table and what a reader must know with it, in Markdown."""
    bases = [row for row in rows if row.grader is rows[0].grader]
    lines = []
    for row in rows:
        if row.problem:
            lines.append((row.name, row.n, *[None] * (3 + len(bases)), row.problem))
            continue
        s, cpu = statistics.median(row.seconds), statistics.median(row.cpu)
        lines.append((row.name, row.n, float(f"{s:.3g}"), float(f"{60 / s:.3g}"), float(f"{cpu:.3g}"),
                      *(over(row, base) for base in bases), row.verdict))
    table = Table(["tool", "submissions", "s per submission", "per minute", "CPU s per submission",
                   *(f"time over {base.name}" for base in bases), "scores"], lines)
    starts = []
    for row in rows:
        if row.start and None not in row.start:
            then = statistics.median(s - start / row.n for s, start in zip(row.seconds, row.start))
            first = statistics.median(row.start)
            starts.append(f"{row.name}: {first:.1f} s, and then {then:.2f} s a submission")
    here, versions = machine(), [f"{name} {metadata.version(name)}" for name in PACKAGES]
    about = (
        f"Taken on {datetime.date.today()}: {here['cpu']}, {here['cores']:g} cores, {here['os']}, Python "
        f"{here['python']}, {', '.join(versions)}, {graders.NBGRADER.replace('==', ' ')}. Load average "
        f"{load[0]:.1f} before and {load[1]:.1f} after. {options.rounds} rounds, every tool in turn, there "
        "and back; medians, and ratios with a 95 % interval over the rounds. Everything is counted from the "
        "command's start to its end.")
    apart = "Before the first submission, counted above, too: " + "; ".join(starts) + "." if starts else ""
    return table, "\n\n".join(filter(None, [table._repr_markdown_(), about, apart]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10, help="submissions that each tool grades in a round (10)")
    parser.add_argument("--plain-n", type=int, default=5, help="at most so many for plain nbval and nbclient "
                        "(5); with more, a submission takes hardly less time")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3); fewer are not worth keeping")
    parser.add_argument("--class-size", type=int, default=60, help="a larger class for ours, 0 for none (60)")
    parser.add_argument("--nbgrader-python", metavar="PATH", help=f"a Python that has {graders.NBGRADER}")
    parser.add_argument("--no-record", action="store_true", help="write no file, only print")
    options = parser.parse_args()
    if min(options.n, options.plain_n, options.rounds) < 1 or options.class_size < 0:
        parser.error("--n, --plain-n and --rounds must be 1 or more, --class-size 0 or more")
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="bench_", ignore_cleanup_errors=True) as work:
        work = Path(work)
        env = environment(work)
        try:
            solved = release.solved(graders.SOURCE, ROOT)
        except CourseError as error:
            sys.exit(f"the notebook of the benchmark cannot be solved: {error}")
        rows = rows_of(solved, work, env, options)
        measure(rows, work, env, options.rounds)
    load.append(os.getloadavg()[0])
    table, text = report(rows, options, load)
    print(table, *text.split("\n\n")[1:], sep="\n")
    if not options.no_record:
        day = datetime.date.today().isoformat()
        (ROOT / "benchmarks" / "results" / f"grading-{day}.md").write_text(
            f"# Submissions per minute, {day}\n\n{text}\n", encoding="utf-8")
        replace_between(ROOT / "benchmarks" / "README.md", "grading", text)
    return 1 if any(row.problem or row.surprises for row in rows if row.grader is rows[0].grader) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped: nothing was written")
