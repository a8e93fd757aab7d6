"""The lines of grades.jsonl, and how they are read.

    {"kind": "run", "format": 1, "started": ..., "seed": ..., "full": true, "exercises": [...], ...}
    {"kind": "result", "at": ..., "seed": ..., "exercise_sha256": ..., "root": ..., "said": [...], "learner": ...}
    {"kind": "gone", "learner": ..., "exercise": ...}         this learner's row is no longer wanted
    {"kind": "table", "sha256": ...}                          the CSV that was written from these lines

The last line about a learner and an exercise counts. Expected texts of hidden checks are in none of them.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime

from .. import CourseError
from .model import BROKEN, FAILED, MISSING, STATUSES, Exercise, Limits, Result

FORMAT = 1
_RESULT = {item.name: item.type for item in fields(Result)}
_SHAPES = {str: str, dict: dict, list: list, float: (int, float)}


def key(exercise, answers_sha256, seed, limits, environment):
    """The hash that two gradings share when they must give the same result."""
    parts = [exercise.sha256, answers_sha256, seed, asdict(limits), environment]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "backslashreplace")).hexdigest()


def now():
    """UTC to the second, for the JSON lines."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Row:
    """A result and where it came from: all that one line of kind "result" holds."""

    result: Result
    exercise_sha256: str = ""
    seed: int = 0
    root: str = ""  # where the submissions were, seen from the folder of this file
    said: list = field(default_factory=list)  # notes of the run itself; the others belong to the submission
    at: str = ""

    @property
    def pair(self):
        """What a row is filed under."""
        return self.result.learner, self.result.exercise

    def to_json(self):
        """The line as a dict."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "result"}
        return {"kind": "result", **own, **asdict(self.result)}

    @classmethod
    def from_json(cls, data):
        """The row of such a dict; TypeError or KeyError where it is not one."""
        result = {name: data[name] for name in _RESULT if name in data}
        if not all(isinstance(value, _SHAPES[_RESULT[name]]) for name, value in result.items()):
            raise TypeError
        if result["status"] not in STATUSES or not all(
                isinstance(check, dict) and isinstance(check["outcome"], str)
                and all(isinstance(check[name], int | float) for name in ("points", "max"))
                for check in result["checks"].values()):
            raise TypeError
        return cls(Result(**result), **{item.name: data[item.name] for item in fields(cls) if item.name != "result"})

    def same(self, other):
        """True where both say the same, whenever and however fast they were made."""
        return other is not None and _told(self) == _told(other)


def _told(row):
    return {**row.to_json(), "at": "", "seconds": 0}


@dataclass
class Kept:
    """What a file of lines holds: the runs, the rows that count, the CSVs written, and what could not be read."""

    runs: list = field(default_factory=list)
    rows: dict = field(default_factory=dict)  # (learner, exercise) -> Row
    tables: list = field(default_factory=list)
    damaged: list = field(default_factory=list)  # bytes
    lines: int = 0

    def exercises(self):
        """{name: Exercise} as last graded here, of those that have a row, in the order of names."""
        known = {data["name"]: Exercise.from_public(data) for run in self.runs for data in run["exercises"]}
        return {name: known[name] for name in sorted(known) if any(name == pair[1] for pair in self.rows)}

    def not_handed_in(self, handed_in=()):
        """Exercises of which no row tells a hand-in, nor `handed_in` does. None of them where that would be all."""
        told = {*handed_in, *(pair[1] for pair, row in self.rows.items() if row.result.status != MISSING)} - {""}
        left = [name for name in self.exercises() if name not in told]
        return left if told & {*self.exercises()} else []

    def tried(self, exercise, environment):
        """The exercise with the texts of its last dry run, if there was one of this version in this environment."""
        for run in reversed(self.runs):
            for data in run["exercises"]:
                if data["sha256"] == exercise.sha256 and run["environment"] == environment:
                    return replace(exercise, checks=Exercise.from_public(data).checks)
        return None

    def why_again(self, submission, exercise, seeds, limits, environment):
        """Why the row of a submission no longer counts, in words; "" where there is none."""
        row = self.rows.get((submission.learner, submission.exercise))
        if row is None or row.result.status in (BROKEN, MISSING):
            return ""
        if row.result.status == FAILED:
            return "the grader failed on it"
        if row.result.answers_sha256 != submission.sha256:
            return "the answers changed"
        then = replace(exercise, sha256=row.exercise_sha256)
        for run in reversed(self.runs):  # the one that graded it is told by the key
            with suppress(TypeError):  # limits that only another version of the course has
                was = Limits(**run["limits"])
                if key(then, submission.sha256, row.seed, was, run["environment"]) == row.result.key:
                    break
        else:
            was, run = limits, {"environment": environment}
        names = {name for name in {*environment, *run["environment"]}
                 if environment.get(name) != run["environment"].get(name)}
        what = [
            "the exercise" * (exercise.sha256 != row.exercise_sha256), "the seed" * (row.seed not in seeds),
            "the time limit" * ((was.cell_seconds, was.total_seconds) != (limits.cell_seconds, limits.total_seconds)),
            "the memory limit" * (was.memory_mb != limits.memory_mb),
            *sorted("the sandbox" if name == "sandbox" else f"the version of {name}" for name in names)]
        return (" and ".join(filter(None, what)) or "the limits") + " changed"

    def recent(self):
        """The last run over a whole class and those after it, which renewed a few learners only."""
        full = [i for i, run in enumerate(self.runs) if run["full"]]
        return self.runs[full[-1] if full else 0:]

    def needed(self):
        """The lines that tell the same and no more, as dicts."""
        used = {row.exercise_sha256 for row in self.rows.values()}
        last = {data["sha256"]: i for i, run in enumerate(self.runs) for data in run["exercises"]}
        wanted = {i for sha, i in last.items() if sha in used}
        first = len(self.runs) - len(self.recent())
        runs = [run for i, run in enumerate(self.runs) if i >= first or i in wanted]
        tables = [{"kind": "table", "sha256": sha} for sha in self.tables[-1:]]
        return [*runs, *(row.to_json() for row in self.rows.values()), *tables]


def read(path):
    """What a file of lines holds, as Kept; nothing where there is no file.

    Raises CourseError where it cannot be read, or where a newer version of the course wrote it.
    """
    kept = Kept()
    try:
        with open(path, "rb") as file:
            for line in file:
                kept.lines += 1
                if not (line.endswith(b"\n") and _take(kept, line, path)):
                    kept.damaged.append(line)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror or error}") from None
    return kept


def _take(kept, line, path):
    try:
        data = json.loads(line)
        kind = data["kind"]
        if kind == "run":
            if data["format"] > FORMAT:
                raise CourseError(f"{path} was written by a newer version of the course (format {data['format']}): "
                                  "update the course, or choose another -o")
            [Exercise.from_public(exercise) for exercise in data["exercises"]]
            {name: data[name] for name in ("seed", "full", "environment", "limits", "shard", "root", "started")}
            kept.runs.append(data)
        elif kind == "result":
            row = Row.from_json(data)
            kept.rows.pop(row.pair, None)  # the order is that of the last lines
            kept.rows[row.pair] = row
        elif kind == "gone":
            kept.rows.pop((data["learner"], data["exercise"]), None)
        elif kind == "table":
            kept.tables.append(str(data["sha256"]))
        else:
            return False
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    return True


def line_of(data):
    """A dict as a line of bytes."""
    # a lone half of a surrogate pair becomes its JSON escape
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
