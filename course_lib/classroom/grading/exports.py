"""`course export`: the grades of one exercise in the form that Canvas or Moodle takes in.

The template is what the LMS itself gives out (see `lms`), so that its own names and numbers are used. For
Canvas all people are written, and of the assignments only the one that is graded: Canvas leaves alone what a
file does not hold. For Moodle the same table is written, with its grades filled in.

People are matched by the LMS's number, which stands in the names of downloaded submissions; then by name
(accents, case and order aside); then by login, or the part of an address before the @. Whoever fits no row,
or more than one, is listed and never guessed.
"""

import csv
import difflib
import io
from collections import defaultdict
from pathlib import Path

from .. import CourseError
from . import lms, model
from .gradebook import defuse, number, read_csv
from .texts import one_line, plural, points_text, write_whole

_KINDS = {"canvas": "Canvas", "moodle": "Moodle"}
NOT_WRITTEN = {model.MISSING: "nothing was handed in", model.FAILED: "the grader itself failed; grade again",
               model.BROKEN: "what was handed in cannot be graded"}  # fmt: skip
UNTOLD = "it could not be told of which exercise the file is"


def export(grades, template, kind, out, *, exercise=None, column=None, say=print):
    """Write the grades of one exercise for an LMS; say, and return, what was written, and who was not.

    grades: what `course grade` wrote. template: what the LMS gave out, or None for the smallest file that it
    takes, by its own numbers. kind: "canvas" or "moodle". exercise: needed where `grades` holds several.
    column: the header of the column to fill, where it cannot be told from the exercise's name.

    Raises CourseError, in one sentence, where a file or a choice is wrong, or `out` cannot be written.
    """
    if kind not in _KINDS:
        raise CourseError(f"there is no export for {kind!r}: choose canvas or moodle")
    for source in filter(None, (grades, template)):
        if Path(out).resolve() == Path(source).resolve():
            raise CourseError(f"-o {out} would overwrite what is read: name another file")
    rows = read_csv(grades)
    name = choose(exercise, [row["exercise"] for row in rows if row["exercise"]], grades)
    unclear, left = {row["learner"] for row in rows if not row["exercise"]}, defaultdict(list)
    rows = [row for row in rows if row["exercise"] == name]
    for row in rows:
        why = UNTOLD if row["status"] == model.MISSING and row["learner"] in unclear else NOT_WRITTEN.get(row["status"])
        left[why].append(row)
    said = [f"not written, because {why}: {people(map(_with_reason, left[why]), 240)}"
            for why in (*NOT_WRITTEN.values(), UNTOLD) if left[why]]  # fmt: skip
    rows = [row for row in rows if row["status"] not in NOT_WRITTEN and row["score"] is not None]
    if not rows:
        raise CourseError("; ".join([f"{grades} holds no graded notebook of {name}, so nothing is written", *said]))
    if template is None:
        said = _smallest(rows, name, kind, out, column) + said
    else:
        said = _from_template(rows, name, kind, template, out, column) + said
    for sentence in said:
        say(sentence)
    return said


def _from_template(rows, name, kind, template, out, column):
    sheet = getattr(lms, kind)(template, name, column)
    matched, unknown, unclear = lms.match(rows, sheet.people)
    if not matched:
        raise CourseError(f"no row of {template} fits a learner of {name} ({len(rows)} graded): is it the "
                          f"{_KINDS[kind]} export of this course?")
    said = _fill(sheet, matched, name, out)
    for why, names in (("no row of the template fits", unknown),
                       ("several rows fit, or several learners fit one row", unclear)):  # fmt: skip
        said += [f"not written, because {why}: {people(names)}"] * bool(names)
    return said


def choose(wanted, names, grades):
    """The one exercise of `names` that `wanted` means, or the only one. CourseError where it is not one."""
    names = sorted(set(names))
    if wanted is None and len(names) == 1:
        return names[0]
    fits = [name for name in names if name == wanted]
    if not fits and wanted and wanted.isdecimal():  # 1 and 01 name 01_measuring_energy
        fits = [name for name in names if name.partition("_")[0].lstrip("0") == wanted.lstrip("0")]
    fits = fits or [name for name in names if wanted and name.startswith(wanted)]
    if len(fits) == 1:
        return fits[0]
    if wanted is None:
        listed = ", ".join(names)
        raise CourseError(f"{grades} holds {len(names)} exercises: name one with --exercise, of {listed}"
                          if names else f"{grades} holds no graded exercise")  # fmt: skip
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.3) or names
    raise CourseError(f"{grades} holds no exercise {wanted!r}: did you mean {' or '.join(near) or '(none)'}?")


def _with_reason(row):
    reason = f" ({one_line(row['notes'], 150)})" if row["notes"].strip() and row["status"] != model.FAILED else ""
    return (one_line(row["learner"], 80) or "(no name)") + reason


def people(names, columns=80):
    """Names on one line, case aside in order."""
    return "; ".join(one_line(name, columns) or "(no name)" for name in sorted(names, key=str.casefold))


def _fill(sheet, matched, name, out):
    """Put the grades in and write the table; sentences."""
    said, left, replaced, scales, done = [], defaultdict(list), [], set(), 0
    for row, at in matched:
        if at in sheet.locked:
            left[sheet.locked[at]].append(row["learner"])
            continue
        score = row["score"]
        if sheet.full and row["max"] and sheet.full != row["max"]:
            scales.add(row["max"])
            score = score * sheet.full / row["max"]
        before = number(sheet.rows[at][sheet.grade])
        shown = points_text(score)
        if before is not None and abs(before - score) >= 0.005:
            replaced.append(f"{one_line(row['learner'], 80)} {points_text(before)} -> {shown}")
        sheet.rows[at][sheet.grade] = shown.replace(".", ",") if sheet.comma else shown
        done += 1
    table = [[row[i] for i in sheet.keep] for row in sheet.rows]
    _write(out, table, sheet.delimiter, sheet.bom)
    title = one_line(sheet.rows[0][sheet.grade], 60)
    said.append(f"{plural(done, 'grade')} of {name} written into the column {title!r} of {out}")
    for most in sorted(scales):
        said.append(f"scaled: {points_text(most)} points here are {points_text(sheet.full)} there")
    if not sheet.full:
        said.append("the template names no maximum: the points are written as they are")
    if replaced:
        said.append(f"replaced: {people(replaced, 120)}")
    said += [f"left as it was, because the learner {why}: {people(names)}" for why, names in left.items()]
    if rest := len(sheet.people) - len(matched):
        said.append(f"left as it was, because no grade here fits: {plural(rest, 'row')} of the template")
    return said


def _smallest(rows, name, kind, out, column):
    """Without a template: the few columns that the LMS needs, for those whose number is known."""
    known = [row for row in rows if row["id"].isdecimal()]
    if not known:
        raise CourseError(f"no learner of {name} has a number of {_KINDS[kind]}: export a table there, and "
                          f"name it with --{kind} FILE")
    if kind == "canvas":
        full = points_text(known[0]["max"] or 0)
        table = [["Student", "ID", "Section", defuse(column or name)], ["    Points Possible", "", "", full]]
        table += [[defuse(row["learner"]), row["id"], "", points_text(row["score"])] for row in known]
    else:
        table = [["Identifier", "Full name", defuse(column or "Grade"), "Last modified (grade)"],
                 *([f"Participant {row['id']}", defuse(row["learner"]), points_text(row["score"]), ""]
                   for row in known)]  # fmt: skip
    _write(out, table, ",", False)
    said = [f"{plural(len(known), 'grade')} of {name} written into {out}, by number"]
    if unknown := [row["learner"] for row in rows if row not in known]:
        said.append(f"not written, because their number is not known: {people(unknown)}")
    return said


def _write(out, table, delimiter, bom):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerows(row for row in table if any(row))
    try:
        write_whole(out, text.getvalue().encode("utf-8-sig" if bom else "utf-8"))
    except OSError as error:
        raise CourseError(f"{out} cannot be written: {error.strerror or error}") from None
