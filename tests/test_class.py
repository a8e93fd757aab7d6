"""`course grade` on a generated class of 200: every score as expected, none lost, memory flat, and a kill costs nothing.

See generated.py for what is handed in. The whole command runs, in processes of its own.
"""

import collections
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import generated
import psutil
import pytest

from course_lib.classroom.grading import sandbox

CELL_SECONDS = 20  # enough for a plot on a busy machine
GRADE = [sys.executable, "-m", "course_lib.cli", "grade"]
ALIKE = "new, with the same answers"  # handed in for the first time, but graded before for somebody else
FIRST, MARGIN_MB = 50, 60  # grown by less than this between that many submissions and all


def command(submissions, out):
    """The command line that grades `submissions` into `out`, with the exercises that lie beside them."""
    return [*GRADE, str(submissions.parent / "exercises"), str(submissions), "-o", str(out), "--seed", str(generated.SEED),
            "--cell-seconds", str(CELL_SECONDS), *(["--no-sandbox"] if sandbox.kind() is None else [])]


def graded(out):
    """How many results the lines beside `out` hold."""
    lines = Path(out).with_suffix(".jsonl")
    return lines.read_bytes().count(b"\n") if lines.exists() else 0


class Run:
    """One run of the command. `memory`: pairs of (lines written, MB resident in the grader's own process)."""

    def __init__(self, submissions, out, stop_at=None):
        out.parent.mkdir(exist_ok=True)
        self.out, self.memory = out, []
        with open(out.with_suffix(".said"), "w+", encoding="utf-8") as said:
            process = subprocess.Popen(command(submissions, out), stdout=said, stderr=said, cwd=generated.ROOT)
            watched, ends = psutil.Process(process.pid), time.monotonic() + 900
            while process.poll() is None and time.monotonic() < ends:
                lines = graded(out)
                try:
                    self.memory.append((lines, watched.memory_info().rss / 2**20))
                except psutil.Error:  # it has just ended
                    pass
                if stop_at is not None and lines >= stop_at:
                    os.kill(process.pid, signal.SIGKILL)
                    break
                time.sleep(0.1)
            self.code = process.wait(1)
            said.seek(0)
            self.said = said.read()

    def rows(self):
        """The rows of the CSV, each a dict."""
        with open(self.out, encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def count(self, what):
        """The number before a word in the line that counts the submissions."""
        found = re.search(rf"^(?=.*to grade).*?(\d+)(?: notebooks?)? {what}", self.said, re.MULTILINE)
        return int(found[1]) if found else 0


def wrong_rows(rows):
    """What is not as expected in these rows, as a list of sentences."""
    by_learner, problems = collections.defaultdict(list), []
    for row in rows:
        by_learner[int(re.search(r"n(\d{3})", row["learner"])[1]), row["exercise"]].append(row)
    for one in generated.classroom():
        who = f"{one.number} {one.exercise} ({one.kind})"
        found = by_learner[one.number, one.exercise]
        if len(found) != 1:
            problems.append(f"{who}: {len(found)} rows")
            continue
        row, expected = found[0], one.checks or {}
        points = {name: float(row[name]) > 0 for name in expected}
        if points != expected:
            problems.append(f"{who}: {points}, {row['notes']}")
        if row["status"] not in (["graded"] if one.checks else ["broken", "missing"]):
            problems.append(f"{who}: {row['status']}, {row['notes']}")
        if not one.checks and (float(row["score"]) or not row["notes"] and one.kind != "wrong exercise"):
            problems.append(f"{who}: {row['score']} points, {row['notes']!r}")
        worth = {name: float(cell) for name, cell in row.items() if name in expected and cell}
        if one.checks and float(row["score"]) != sum(worth.values()):
            problems.append(f"{who}: the score is not the sum of its points")
    return problems


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    (folder / "exercises").mkdir()  # those that the class did, however many the course has
    for source in generated.SOURCES:
        shutil.copy(source, folder / "exercises")
    generated.as_folder(folder / "class", generated.classroom())
    generated.as_moodle(folder / "class.zip", generated.classroom())
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """The class graded in one go."""
    return Run(folder / "class", folder / "out" / "grades.csv")


@pytest.mark.slow
def test_the_class_holds_what_it_should():
    handed = generated.classroom()
    kinds = collections.Counter(one.kind.partition(":")[0] for one in handed)
    assert len(handed) == generated.COUNT == 200
    assert kinds["mutant"] == 35 and kinds["broken"] == 2 * len(generated.BREAKS) and kinds["right"] > 60
    assert kinds["harm"] == 2 * len(generated.HARMS) and kinds["untouched"] == 6
    for one in handed:
        assert (one.checks is None) == (one.kind.startswith("broken") or one.kind == "wrong exercise")
        if one.checks is not None:
            assert all(one.checks.values()) == (one.kind.startswith("right") or one.kind == "slow"), one
            assert any(one.checks.values()) != (one.kind == "untouched"), one


@pytest.mark.slow
def test_the_class_is_the_same_every_time():
    first = generated.classroom()
    generated.classroom.cache_clear()
    assert generated.classroom() == first


@pytest.mark.slow
def test_every_score_is_as_expected_and_none_is_lost(whole):
    assert whole.code == 0, whole.said
    assert not wrong_rows(whole.rows())
    learners = {one.number for one in generated.classroom()}
    rows = [row for row in whole.rows() if row["exercise"]]
    assert len(rows) == len(generated.SOURCES) * len(learners)  # who did not hand in an exercise has a row for it, too
    assert sum(row["status"] == "graded" for row in rows) == sum(one.checks is not None for one in generated.classroom())
    assert not any(row["status"] == "failed" for row in rows)
    pages = list((whole.out.parent / "grades_feedback").rglob("*.html"))
    assert len(pages) >= len(rows)
    for row in whole.rows():
        assert not row["learner"].startswith(("=", "+", "-", "@")), "a spreadsheet would run it"


@pytest.mark.slow
def test_no_hidden_text_is_written(whole):
    """The lines, the table and the pages of 200 submissions hold no value that a hidden check expects."""
    hidden = [text for source in generated.SOURCES for name, text in generated.shown(source, generated.SEED, ()).items()
              if name.endswith("_unseen") and len(text) > 20]
    assert len(hidden) >= 8
    files = [file for file in whole.out.parent.rglob("*") if file.suffix in (".csv", ".jsonl", ".html", ".txt")]
    assert len(files) > 200
    for file in files:
        text = file.read_text(encoding="utf-8-sig")
        assert not [secret for secret in hidden if secret in text or json.dumps(secret)[1:-1] in text], file


@pytest.mark.slow
def test_memory_of_the_grader_is_flat(whole):
    early = max(mb for lines, mb in whole.memory if lines <= FIRST)
    late = max(mb for lines, mb in whole.memory)
    assert max(lines for lines, _ in whole.memory) > 150
    assert late < early + MARGIN_MB, (early, late)


@pytest.mark.slow
def test_killed_in_the_middle_and_run_again_it_gives_the_same_table(folder, whole):
    out = folder / "again" / "grades.csv"
    killed = Run(folder / "class", out, stop_at=90)
    assert killed.code == -signal.SIGKILL and not out.exists()
    kept = graded(out)
    resumed = Run(folder / "class", out)
    assert resumed.code == 0, resumed.said
    assert out.read_bytes() == whole.out.read_bytes()
    assert resumed.count("unchanged") > 10 and kept < graded(out)
    assert resumed.count("unchanged") + resumed.count(ALIKE) + resumed.count("to grade") == whole.count("to grade")


@pytest.mark.slow
def test_the_same_class_from_moodle_is_not_graded_again(folder, whole):
    """Other names, another layout, the same answers: each row follows its new name."""
    out = folder / "moodle" / "grades.csv"
    out.parent.mkdir()
    shutil.copyfile(whole.out.with_suffix(".jsonl"), out.with_suffix(".jsonl"))
    run = Run(folder / "class.zip", out)
    assert run.code == 0, run.said
    assert run.count("to grade") == 0 and run.count("unchanged") + run.count(ALIKE) == whole.count("to grade")
    rows = [row for row in run.rows() if "class.zip" in row["file"]]
    missing = [row for row in run.rows() if row["status"] == "missing"]
    known = {row["learner"] for row in rows}
    assert not wrong_rows(rows + [row for row in missing if row["learner"] in known])
    assert {row["id"] for row in rows} == {str(500_000 + one.number) for one in generated.classroom()}
