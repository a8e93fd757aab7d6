"""An engine and an intake without notebooks: what `course grade` needs to be tried in seconds.

An exercise is a .py file that holds JSON: {"checks": [[id, points, hidden], ...], "solved": ..., "untouched": ...}.
A submission is FOLDER/LEARNER/EXERCISE.txt with words on what it shall come to: right, half, wrong, "sleep 0.1 right",
"wait FILE right" (until there is such a file), fail (the grader's fault), "once FILE right" (fails the first time), "exit" (ends the worker), broken.
`python fake_engine.py EXERCISES SUBMISSIONS OUT [seed]` grades in a process of its own. FAKE_LOG names a file that
gets a line for every grading.
"""

import hashlib
import json
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.modules.setdefault("rfc3987_syntax", None)  # as the command itself does: seconds of every start

from course_lib.classroom import CourseError
from course_lib.classroom.grading import model
from course_lib.classroom.grading.engine import DryRun

SECRET = "the text of a hidden check"


def sources(path, root=None):
    path = Path(path)
    return sorted(path.glob("*.py")) if path.is_dir() else [path]


def load_exercise(source):
    text = Path(source).read_text(encoding="utf-8")
    try:
        data = json.loads(text)
    except ValueError:
        raise CourseError(f"{Path(source).name}: line 1: no JSON") from None
    checks = tuple(model.Check(name, points, hidden, "answer") for name, points, hidden in data["checks"])
    return model.Exercise(Path(source).stem, data.get("title", "Title"), hashlib.sha256(text.encode()).hexdigest(),
                          checks, ("answer",), [data])


def environment():
    return {"python": "3.x", "torch": os.environ.get("FAKE_TORCH", "2.x")}


def elsewhere():
    """An environment that no two processes share, as on a worker with other versions."""
    return {"python": "3.x", "torch": f"of process {os.getpid()}"}


@contextmanager
def warm_pool(exercises=(), secrets=(), *, sandboxed=True, warmed=True, say=lambda line: None):
    yield {"secrets": [str(path) for path in secrets]}


def dry_run(exercise, seed, limits, kernel):
    data = exercise.cells[0]
    outcomes = {check.id: model.RIGHT for check in exercise.checks}
    solved = outcomes | data.get("solved", {})
    untouched = dict.fromkeys(outcomes, model.UNANSWERED) | data.get("untouched", {})
    checks = tuple(replace(check, expected=None if check.hidden else "1.0") for check in exercise.checks)
    return DryRun(replace(exercise, checks=checks), {check.id: SECRET if check.hidden else "1.0" for check in checks},
                  solved, untouched, (), seed)


def job(dry, submission, limits, kernel):
    return {"who": submission.learner, "text": submission.answers["answer"], "expected": dry.expected,
            "checks": [[check.id, check.points, check.hidden] for check in dry.exercise.checks]}


def grade_one(job):
    if log := os.environ.get("FAKE_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(job["who"] + "\n")
    words = job["text"].split()
    if words[0] == "sleep":
        time.sleep(float(words[1]))
        words = words[2:]
    if words[0] == "wait":
        deadline = time.monotonic() + 120
        while not os.path.exists(words[1]) and time.monotonic() < deadline:
            time.sleep(0.01)
        words = words[2:]
    if words[0] == "once":
        words, first = words[2:], Path(words[1])
        if not first.exists():
            first.touch()
            raise RuntimeError("the first time")
    if words[0] == "exit":
        os._exit(1)
    if words[0] == "fail":
        raise RuntimeError("no kernel\nat all")
    share = {"right": len(job["checks"]), "half": 1, "wrong": 0}[words[0]]
    checks = {name: {"outcome": model.RIGHT if i < share else model.WRONG, "points": 0, "max": points,
                     "got": SECRET if hidden else "x" * 9000, "reason": SECRET if hidden else "not equal"}
              for i, (name, points, hidden) in enumerate(job["checks"])}
    return {"checks": checks, "notes": ["said by the run"], "seconds": 0.1}


def collect(path, exercises):
    found = []
    for file in sorted(Path(path).glob("*/*.txt")):
        text = file.read_text(encoding="utf-8")
        name = file.stem if file.stem in {exercise.name for exercise in exercises} else ""
        problem = "not a notebook" if text.startswith("broken") or not name else ""
        found.append(model.Submission(
            file.parent.name, name, f"{file.parent.name}/{file.name}", lms_id=str(len(file.parent.name)),
            answers={"answer": text}, notes=("handed in",), problem=problem,
            sha256=hashlib.sha256(text.encode()).hexdigest()))
    if not found:
        raise CourseError(f"{path} holds no notebook")
    return sorted(found, key=lambda s: (s.learner, s.exercise))


def main(exercises, submissions, out, *more):
    from course_lib.classroom.grading import grade

    if more[1:]:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(more[1]), int(more[1])))
    try:
        return grade.grade(grade.Request((Path(exercises),), Path(submissions), Path(out), workers=2,
                                         seed=int(more[0]) if more and more[0] else None, picture=False),
                           engine=sys.modules[__name__], collect=collect)
    except CourseError as error:
        print(f"course: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
