"""What Canvas and Moodle give out: a template's columns, its maximum, its people, and who of them is who.

- Canvas, Grades > Export: Student (or LastName, FirstName), ID, perhaps SIS User ID, SIS Login ID and others,
  Section, then a column per assignment, "Name (123)", and totals. Under the header stands a row
  "Points Possible", and before it perhaps one with "Manual Posting".
- Moodle, an assignment's grading worksheet: Identifier "Participant 123456", Full name, Email address,
  Status, Grade, Maximum grade, Grade can be changed, dates, Feedback comments.
"""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass

from .. import CourseError
from .gradebook import number, read_table
from .texts import one_line

_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th",
                          "'": "", "’": "", "`": "", "_": " "})  # fmt: skip
_TOTALS = re.compile(r"(Current|Final) (Score|Points|Grade)\b|\bOverride (Score|Grade|Status)\b")
_UNTOUCHED = {"EX": "is excused", "N/A": "does not have this assignment"}


@dataclass
class Sheet:
    """A template: its table, where things stand in it, and its people."""

    rows: list  # of lists of fields, the header first
    keep: list  # columns to write
    grade: int  # the column that takes the grades, of all columns
    full: float | None  # the LMS's own maximum
    people: list  # of (row, number in the LMS, name, logins)
    locked: dict  # row -> why its grade is left alone
    delimiter: str
    bom: bool
    comma: bool  # numbers are written with a decimal comma


def _column(header, name, template):
    """Where this header stands, in any case of letters; CourseError where it does not."""
    for i, title in enumerate(header):
        if title.strip().casefold() == name.casefold():
            return i
    raise CourseError(f"{template} has no column {name!r}: export it again, with English as your language")


def _find(header, *names):
    wanted = {name.casefold() for name in names}
    return [i for i, title in enumerate(header) if title.strip().casefold() in wanted]


def canvas(template, name, column):
    """The Sheet of Canvas' exported gradebook, for the exercise `name` or the named column. CourseError."""
    rows, delimiter, bom = read_table(template)
    header = rows[0] = [title.strip() for title in rows[0]]
    number_at, section = _column(header, "ID", template), _column(header, "Section", template)
    names = _find(header, "Student") or _find(header, "FirstName", "LastName")
    logins = _find(header, "SIS Login ID", "SIS User ID", "Integration ID")
    rows = [[*row, *[""] * (len(header) - len(row))] for row in rows]
    points = next((row for row in rows[1:4] if "Points Possible" in row[0]), None)
    choices = [i for i in range(section + 1, len(header)) if header[i] and not _TOTALS.search(header[i])
               and not (points and "read only" in points[i])]  # fmt: skip
    grade = _assignment(header, choices, name, column, template)
    people, locked = [], {}
    for at, row in enumerate(rows[1:], 1):
        if row is not points and row[number_at].strip():
            name_there = " ".join(row[i] for i in names)
            people.append((at, row[number_at].strip(), name_there, [row[i] for i in logins]))
            if said := _UNTOUCHED.get(row[grade].strip().upper()):
                locked[at] = said
    full = points[grade] if points else ""
    return Sheet(rows, [*range(section + 1), grade], grade, number(full), people, locked, delimiter, bom,
                 "," in full or delimiter == ";")  # fmt: skip


def _assignment(header, choices, name, column, template):
    """The column that is named, or the one whose title holds all words of the exercise's name, or its number."""
    bare = {i: re.sub(r"\s*\(\d+\)$", "", header[i]) for i in choices}
    if column is not None:
        number_of = {i: header[i][len(bare[i]):].strip(" ()") for i in choices}
        wanted = column.strip().casefold()
        fits = [i for i in choices if header[i] == column]
        fits = fits or [i for i in choices if wanted in (bare[i].casefold(), number_of[i])]
    else:
        words = {word.lstrip("0") for word in _words(name)}
        titles = {i: {word.lstrip("0") for word in _words(bare[i])} for i in choices}
        fits = [i for i in choices if words <= titles[i]]
        number_here = name.partition("_")[0]
        if not fits and number_here.isdecimal():  # "Exercise 01 (4411)"
            fits = [i for i in choices if number_here.lstrip("0") in titles[i]]
    if len(fits) == 1:
        return fits[0]
    listed = ", ".join(repr(one_line(header[i], 60)) for i in choices[:12]) or "no assignment"
    asked = f"the exercise {name}" if column is None else repr(column)
    raise CourseError(f"{'more than one' if fits else 'no'} column of {template} fits {asked}: name one with "
                      f"--column; it has {listed}")


def moodle(template, name, column):
    """The Sheet of a Moodle grading worksheet; it is of one assignment: `name` is not used. CourseError."""
    rows, delimiter, bom = read_table(template)
    header = rows[0] = [title.strip() for title in rows[0]]
    identifier, grade, _ = (_column(header, title, template) for title in
                            ("Identifier", column or "Grade", "Last modified (grade)"))  # fmt: skip
    rows = [[*row, *[""] * (len(header) - len(row))] for row in rows]
    most, open_ = _find(header, "Maximum grade"), _find(header, "Grade can be changed")
    if not most and _find(header, "Scale"):
        raise CourseError(f"{template} is graded in words, not in points: change that in Moodle's settings")
    names, logins = _find(header, "Full name"), _find(header, "Email address", "Username", "ID number")
    people, locked = [], {}
    for at, row in enumerate(rows[1:], 1):
        found = re.search(r"(\d+)\s*$", row[identifier])
        name_there = " ".join(row[i] for i in names)
        people.append((at, found[1] if found else "", name_there, [row[i] for i in logins]))
        if any(row[i].strip().casefold() == "no" for i in open_):
            locked[at] = "is locked in Moodle"
    full = next((row[i] for row in rows[1:] for i in most if row[i].strip()), "")
    keep = list(range(len(header)))
    return Sheet(rows, keep, grade, number(full), people, locked, delimiter, bom, "," in full)


def _words(text):
    folded = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return re.findall(r"\w+", "".join(c for c in folded if not unicodedata.combining(c)))


def _names(text):
    """What a name is compared by: its words in any order, and written together (as in Canvas' file names)."""
    words = _words(text)
    return {tuple(sorted(words)), ("".join(words),), ("".join(words[1:] + words[:1]),)} if words else set()


def match(rows, people):
    """([(grade, row of the sheet)], learners whom no row fits, learners or rows with more than one partner).

    Only a number decides between two learners who fit one row.
    """
    by = {"number": defaultdict(set), "name": defaultdict(set), "login": defaultdict(set)}
    for at, its_number, name, logins in people:
        by["number"][its_number].add(at)
        for key in _names(name):
            by["name"][key].add(at)
        for login in filter(None, (text.strip().casefold() for text in logins)):
            by["login"][login].add(at)
            by["login"][login.partition("@")[0]].add(at)
    claims, unknown, unclear = defaultdict(list), [], []
    for row in rows:
        words, login = _words(row["learner"]), row["learner"].strip().casefold()
        keys = (("number", row["id"]), ("name", tuple(sorted(words))), ("login", login),
                ("login", login.partition("@")[0]))  # fmt: skip
        how, fits = next(((how, by[how][key]) for how, key in keys if key and by[how].get(key)), ("", ()))
        if len(fits) == 1:
            claims[min(fits)].append((how, row))
        else:
            (unclear if fits else unknown).append(row["learner"])
    matched = []
    for at, claimed in claims.items():
        sure = [row for how, row in claimed if how == "number" or len(claimed) == 1]
        if len(sure) == 1:
            matched.append((sure[0], at))
        unclear += [row["learner"] for _, row in claimed if len(sure) != 1 or row is not sure[0]]
    return matched, unknown, unclear
