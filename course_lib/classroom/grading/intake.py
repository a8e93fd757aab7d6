"""From a folder or a zip of handed-in files to one Submission per learner and exercise.

- Who: names.py holds the patterns of Moodle, Canvas, and of folders and files that people make.
- Which exercise: the one most of whose graded cells the notebook carries, by their names or else by the checks'
  texts; else what its course metadata says; else its file's name. A notebook with another exercise's cells is never taken for this one by its name.
- Two files of one learner for one exercise: the latest that can be read counts, by Canvas's numbers where all
  files have them, else by the time of the last change, else the last by name. A note names what was left out.
- What cannot be graded is a Submission whose `problem` says why in one line. No file can stop the others.
- A learner without any notebook is a Submission without exercise, file and problem; a note says what there was.
"""

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from .. import CourseError
from . import files, names
from .model import Submission
from .names import clean
from .notebook import Known, Unreadable, read_notebook

OK, BROKEN, FOREIGN, OTHER = 3, 2, 1, 0  # notebooks: good, unreadable, of no exercise here; other files


@dataclass
class _Found:
    """A file on its way to become a Submission."""

    item: files.Item  # without its data
    rank: int
    submission: Submission
    who: names.Who | None = None
    lesson: bool = False


def collect(path, exercises, *, max_mb=5, ignore=()):
    """All submissions below `path` as a list of Submission, sorted by learner and exercise.

    exercises: list of Exercise, with their cells; max_mb: the limit for one notebook, MB of 2**20 bytes;
    ignore: names of files and folders at the top that are no submissions (the gradebook itself, say).
    Raises CourseError where `path` is not there, holds nothing that was handed in, or is a damaged zip.
    """
    path, known, found = Path(path), [Known(exercise) for exercise in exercises], []
    for item in files.find(path, max_mb):
        if item.parts[0] not in ignore:
            found.append(_look(item, known, max_mb))
    if not any(f.item.parts[-1] for f in found):
        raise CourseError(f"{path} holds no handed-in file: name the folder or zip of a class")
    single_file = path.is_file() and names.ENDING.search(path.name)
    top = "" if single_file else path.resolve().name if path.is_dir() else names.stem(path.name)
    whos = names.layout([f.item.parts for f in found], top, [exercise.name for exercise in exercises])
    people = names.united(whos, [f.item.parts for f in found], [f.submission.exercise for f in found])
    labels = names.labels(people)
    learners = defaultdict(list)
    for one, who, person in zip(found, whos, people, strict=True):
        one.who, one.submission = who, replace(one.submission, lms_id=who.lms_id)
        learners[labels[person.name, person.lms_id]].append(one)
    rows = []
    for learner, theirs in learners.items():
        number = next((one.who.lms_id for one in theirs if one.who.lms_id), "")
        rows += (replace(row, learner=learner, lms_id=clean(row.lms_id or number, 40)) for row in _rows(theirs))
    return sorted(rows, key=lambda row: (row.learner.casefold(), row.learner, row.exercise, row.file))


def _look(item, known, max_mb):
    """Reduce one item to what is graded, and let go of its bytes."""
    bare, row = item._replace(data=None), Submission("", "", clean(item.label, 300), problem=item.problem)
    if item.data is None and not item.problem:
        return _Found(bare, OTHER, row)
    try:
        if item.problem:
            raise Unreadable(item.problem)
        cells, metadata = read_notebook(item.data, max_mb)
        mine, problem = which(cells, metadata, item.parts, known)
        lesson = bool(problem) and "exercise" not in _course(metadata) and "lesson" in _course(metadata)
        if problem:
            return _Found(bare, FOREIGN, replace(row, exercise=mine, problem=problem), lesson=lesson)
        chosen = next(k for k in known if k.exercise.name == mine)
        answers, extras, notes = chosen.reduce(cells)
        if not answers and not chosen.graded & {name for cell in cells for name in cell.ids}:
            problem = (f"none of the {len(chosen.exercise.answers)} answer cells can be recognised: the notebook was "
                       "saved by a tool that drops their names; look at it by hand")
            return _Found(bare, BROKEN, replace(row, exercise=mine, problem=problem))
    except Unreadable as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - a fault of this program must cost one row, never the class
        problem = f"it cannot be read ({type(error).__name__})"
    else:
        return _Found(bare, OK, replace(row, exercise=mine, answers=answers, extras=extras,
                                        notes=tuple(notes), sha256=_digest(answers, extras)))
    guess = _by_name(item.parts, known) if len(known) > 1 else known[:1]
    return _Found(bare, BROKEN, replace(row, exercise=guess[0].exercise.name if len(guess) == 1 else "",
                                        problem=clean(problem, 300)))


def _digest(answers, extras):
    """The sha256 of what is graded: equal for equal texts, however the file around them looks."""
    return hashlib.sha256(json.dumps([answers, extras], sort_keys=True).encode()).hexdigest()


def _course(metadata):
    return metadata["course"] if isinstance(metadata.get("course"), dict) else {}


def which(cells, metadata, parts, known):
    """(name of the exercise or "", problem or ""), of a notebook's cells, metadata and file name parts."""
    carried = {name for cell in cells for name in cell.ids}
    counts = [len(carried & k.graded) for k in known]
    counts = counts if any(counts) else [k.alike(cells) for k in known]  # a tool may have dropped all names
    best = [k for k, count in zip(known, counts, strict=True) if count == max(counts)]
    if len(best) == 1 and any(counts):
        return best[0].exercise.name, ""
    course = _course(metadata)
    number, title = (str(course.get(key, ""))[:80] if isinstance(course.get(key), (str, int)) else ""
                     for key in ("exercise", "title"))
    by_course = [k for k in best if (number.lstrip("0") == _number(k).lstrip("0") if number
                                     else title and title == k.exercise.title)]
    foreign = not any(counts) and (number or "lesson" in course or any(cell.grade_id for cell in cells))
    for chosen in (by_course, [] if foreign else _by_name(parts, best)):
        if len(chosen) == 1:
            return chosen[0].exercise.name, ""
    only = known[0].exercise.name if len(known) == 1 else ""
    if any(counts):
        says = "its cells belong to " + " and ".join(k.exercise.name for k in best)
    elif number:
        says = f"it is exercise {clean(number, 20)}" + (f" ({clean(title, 60)})" if title else "")
    elif isinstance(course.get("lesson"), (str, int)):
        says = f"it is lesson {clean(str(course['lesson']), 20)}"
    else:
        says = f"none of its cells belongs to {only or 'a graded exercise'}"
    return only, f"wrong exercise: {says}"


def _number(known):
    """"01" of 01_measuring_energy."""
    return known.exercise.name.partition("_")[0]


def _by_name(parts, known):
    """The exercises that the name of a file, or else of one of its folders, tells."""
    for part in reversed(parts):
        who = names.by_lms(part)
        rest = names.stem((who.rest if who else "") or part)
        hits = [k for k in known if names.pattern([k.exercise.name]).search(rest)]
        begins = re.match(r"(?:ex(?:ercise)?[\s_-]*)?(\d+)", rest, re.IGNORECASE)  # 01.ipynb, ex01.ipynb
        hits = hits or [k for k in known if begins and begins[1] == _number(k)]
        if hits:
            return hits
    return []


def _rows(theirs):
    """The Submissions of one learner."""
    handed = [one for one in theirs if one.rank != OTHER]
    if not handed:
        others = [one for one in theirs if one.item.parts[-1]]
        listed = _listed(clean(one.item.parts[-1], 60) for one in others)
        if not others:
            note = "the folder is empty"
        elif len(others) == 1 and len(others[0].item.parts) == 1:
            note = f"{listed} is not a notebook: hand in the .ipynb file"
        else:
            note = f"no notebook in it: {listed}"
        return [Submission("", "", "", notes=(note,))]
    told = {one.submission.exercise for one in handed if one.rank == OK}
    strangers = [one for one in handed if one.rank == FOREIGN and told]
    groups = defaultdict(list)
    for one in handed:
        if not (one.rank == FOREIGN and told):
            groups[one.submission.exercise].append(one)
    rows = []
    for name, group in sorted(groups.items()):
        rows += [_latest(group)] if name else [one.submission for one in group]
    named = [clean(one.item.parts[-1], 60) for one in strangers if not one.lesson]
    if named:
        note = f"not graded, because none of the graded exercises: {_listed(named)}"
        at = next(index for index, row in enumerate(rows) if not row.problem)
        rows[at] = replace(rows[at], notes=(*rows[at].notes, note))
    return rows


def _listed(texts):
    texts = list(texts)
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _latest(group):
    """The submission that counts among those of one learner for one exercise, with a note on the others."""
    best = max(one.rank for one in group)
    rivals = [one for one in group if one.rank == best]
    if all(one.who.order for one in rivals) and len({one.who.order for one in rivals}) > 1:
        rule, time = "the latest by Canvas's numbers", lambda one: one.who.order
    elif len({one.item.time for one in rivals}) > 1:
        rule, time = "the latest by its date", lambda one: one.item.time
    else:
        rule, time = "the last by name", lambda one: 0
    rivals.sort(key=lambda one: (time(one), [(int(run or 0), text) for run, text in
                                             re.findall(r"(\d{0,18})(\D*)", one.item.label.casefold())]))
    chosen = rivals[-1]
    notes = list(chosen.submission.notes)
    if len(group) > 1:
        left = [one.submission.file for one in group if one is not chosen]
        if len(rivals) == 1:
            rule = "the only one that can be read" if best == OK else "as it may be this one"
        notes.append(f"{len(group)} files for this exercise: {chosen.submission.file} is graded, {rule}; "
                     f"left out: {_listed(left)}")
    if chosen.who.late:
        notes.append("Canvas marks it as late")
    return replace(chosen.submission, notes=tuple(notes))
