"""`course merge`: the grades of shards, which ran on several machines, as if one machine had graded the class."""

from pathlib import Path

from .. import CourseError
from . import model, plan, store
from .grade import complain
from .publish import publish
from .records import read
from .request import check_out

_MUST_AGREE = {"seed": "another seed", "exercises": "other exercises, or another version of them",
               "environment": "other versions of the programs", "limits": "other limits"}


def merge(parts, out, *, feedback=None, say=print, complain=complain):
    """Put the parts (grades-1.csv or grades-1.jsonl ...) together in `out`; returns 0, or 1 where something is missing.

    Raises CourseError where parts do not belong together.
    """
    check_out(out)
    out = Path(out)
    files = list(dict.fromkeys(Path(part).with_suffix(".jsonl") for part in parts))
    if any(file.resolve() == out.with_suffix(".jsonl").resolve() for file in files):
        raise CourseError(f"{out} is one of the parts: give the parts without it, or choose another -o")
    kept, runs, whole = {}, {}, True
    for file in files:
        if not file.exists():
            raise CourseError(f"{file} is not there: a part is what `course grade --shard` wrote beside its CSV")
        kept[file] = read(file)
        if not kept[file].recent():
            raise CourseError(f"{file} holds no grades of `course grade`")
        if kept[file].damaged:
            whole = False
            complain(f"{file}: {len(kept[file].damaged)} damaged lines are left out: run that shard again, then merge")
        runs[file] = kept[file].recent()[0]
    missing = _agree(runs)
    if missing:
        whole = False
        complain(f"{missing} not in {out}")
    rows, twice = {}, []
    for file in files:
        for pair, row in kept[file].rows.items():
            row.root = plan.seen_from(file.parent / row.root, out)
            if pair in rows and not row.same(rows[pair]):
                twice.append(pair)
            if pair not in rows or row.at >= rows[pair].at:
                rows[pair] = row
    if twice:
        say(f"in more than one part, of which the one graded later counts: {plan.some(pair[0] for pair in twice)}")
    first, exercises = runs[files[0]], {}
    for part in kept.values():
        exercises |= {name: exercise.public() for name, exercise in part.exercises().items()}
    with store.opened(out.with_suffix(".jsonl"), complain) as merged:
        if not missing:
            roots = {row.root for row in rows.values()}
            for pair in [pair for pair, row in merged.rows.items() if pair not in rows and row.root in roots]:
                merged.drop(pair)
        merged.start({name: first[name] for name in _MUST_AGREE} | {
            "full": True, "shard": None, "root": "", "parts": [file.name for file in files],
            "exercises": [exercises[name] for name in sorted(exercises)] or first["exercises"]})
        for pair in plan.in_order(rows):
            merged.put(rows[pair])
        whole &= publish(merged, out, feedback=feedback, say=say, complain=complain)
    failed = [row.result.learner for row in rows.values() if row.result.status == model.FAILED]
    if failed:
        complain(f"the grader failed on {plan.some(failed)}: run their shard again, then merge")
    return 0 if whole and not failed else 1


def _agree(runs):
    """Raise CourseError where runs differ in what must be the same; returns which shards are missing, in words."""
    (first, run), *others = runs.items()
    for file, other in others:
        for name, words in _MUST_AGREE.items():
            if _plain(other[name]) != _plain(run[name]):
                raise CourseError(f"{file.name} was graded with {words} than {first.name}, so they do not belong in one "
                                  "list of grades: grade both again in the same way")
    shards = [tuple(other["shard"] or (1, 1)) for other in runs.values()]
    counts = {count for _, count in shards}
    if len(counts) > 1:
        raise CourseError(f"these parts come from a different number of shards ({', '.join(map(str, sorted(counts)))}): "
                          "grade all shards again with one number")
    (count,) = counts
    missing = sorted({*range(1, count + 1)} - {number for number, _ in shards})
    if not missing:
        return ""
    named = ", ".join(map(str, missing[:10])) + " ..." * (len(missing) > 10)
    if len(missing) == 1:
        return f"shard {named} of {count} is missing: its learners are"
    return f"shards {named} of {count} are missing: their learners are"


def _plain(value):
    if isinstance(value, list) and value and isinstance(value[0], dict):  # exercises: by name and version
        return sorted((data["name"], data["sha256"]) for data in value)
    return value
