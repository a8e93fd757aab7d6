"""Who handed a file in: learners' names from the names of files and folders.

What is told apart, from the outermost folder inwards ("rest" is what the learner called the file):

    Moodle   Ada Lovelace_123456_assignsubmission_file_/rest    a folder per learner; newer ones end in _file
             Ada Lovelace_123456_assignsubmission_file_rest     all in one folder
             Participant_123456_assignsubmission_file_...       anonymous; all are called Participant
             Group A_assignsubmission_file_...                  a team; the number may be missing
    Canvas   lovelaceada_12345_67890_rest                       family and given name, user, file; the numbers
             lovelaceada_LATE_12345_67890_rest-2                of files grow; -2: the third file of one name
             lovelaceada_12345_text.html, ..._link.html         what was typed in: no file
             anon_Xk3vQ_67890_rest, LATE_anon_...               anonymous
    else     the first folder, or learner's own zip, below the top
    else     the file's own name without the exercise's: ada_01_measuring_energy, "01_measuring_energy - Ada"

A folder around them all is no learner: see `layout`.
"""

import re
import unicodedata
from collections import defaultdict
from typing import NamedTuple

ENDING = re.compile(r"\.ipynb(?:\.(?:txt|json))?$", re.IGNORECASE)  # browsers add .txt and .json
COURSE_FOLDERS = {"exercises", "notebooks"}  # inside a learner's copy of the course
_MOODLE = re.compile(r"(?P<name>.+?)(?:_(?P<id>\d+))?_assignsubmission_[a-z]+(?:_(?P<rest>.*))?", re.DOTALL)
_CANVAS = re.compile(r"(?P<name>\S+?)(?P<late>_LATE)?_(?P<id>[1-9]\d*)_"
                     r"(?:(?P<file>[1-9]\d*)_(?P<rest>.+)|(?:text|link))", re.DOTALL)
_ANON = re.compile(r"(?P<late>LATE_)?(?P<name>anon_(?P<id>[A-Za-z0-9]{4,8}))_(?P<file>[1-9]\d*)_(?P<rest>.+)",
                   re.DOTALL)
_COURSE_LIKE = re.compile(r"\d\d_[a-z0-9_]+")
_GAP = "[\\s_.\u2013\u2014-]"
_LONGEST = 200


class Who(NamedTuple):
    """A learner's `name` (as written, not yet a label) and what else the name of a file says."""

    name: str
    lms_id: str = ""
    order: tuple = ()  # Canvas: (number of the file, of the file's name); the larger is the later
    rest: str = ""
    late: bool = False


def clean(text, most=_LONGEST):
    """`text` on one line, in NFC, without control, bidi and zero-width characters, at most `most` long."""
    text = unicodedata.normalize("NFC", text[:4 * most])
    kept = (" " if char.isspace() else "\ufffd" if (kind := unicodedata.category(char)) == "Cs"
            else "" if kind in ("Cc", "Cf") else char for char in text)
    text = " ".join("".join(kept).split())
    return text if len(text) <= most else text[:most - 1] + "\u2026"


def stem(part):
    """The name of a file or folder without the ending that a notebook, a zip or another file has."""
    bare = ENDING.sub("", part)
    return bare if bare != part else re.sub(r"(?<=.)\.[A-Za-z0-9]{1,5}$", "", part)


def by_lms(part, is_folder=False):
    """Who a name in Moodle's or Canvas's pattern belongs to, or None. Canvas makes no folders."""
    part = part if is_folder else stem(part)
    if found := _MOODLE.fullmatch(part):
        return Who(found["name"], found["id"] or "", (), found["rest"] or "")
    if not is_folder and (found := _ANON.fullmatch(part) or _CANVAS.fullmatch(part)):
        rest = found["rest"] or ""
        again = re.search(r"-(\d{1,4})$", rest)
        order = int((found["file"] or "0")[:18]), int(again[1]) if again else 0
        return Who(found["name"], found["id"], order, rest, bool(found["late"]))
    return None


def _is_folder(parts, index):
    return index < len(parts) - 1 and not parts[index].lower().endswith(".zip")


def _lms_at(parts, index):
    return by_lms(parts[index], _is_folder(parts, index)) if index < len(parts) and parts[index] else None


def pattern(exercises):
    """A regular expression that finds the name of one of these exercises in a file's name."""
    cores = []
    for name in exercises:
        number, _, words = name.partition("_")
        words = words if number.isdigit() and words else name
        core = f"{_GAP}*".join(map(re.escape, re.split(r"[\W_]+", words.strip("_"))))
        cores.append(f"(?:{number}{_GAP}*)?{core}" if words != name else core)
    copy = r"(?:\s*\(\d+\)|-Copy\d*|-\d{1,3})?"  # what browsers, JupyterLab and Canvas add
    return re.compile(f"(?:^|{_GAP}+)(?:{'|'.join(cores)}){copy}(?=$|{_GAP}){_GAP}*", re.IGNORECASE)


def layout(all_parts, top, exercises):
    """A Who for each of `all_parts`, tuples of folders, zips and file name.

    `top` is the name of the folder or zip that was given. What is around learners' files is taken off first:
    folders with nothing but files in an LMS's pattern (one download per exercise), one folder around two or
    more, or around all and called like the zip, the course's own folders, folders called like an exercise.
    """
    named = pattern(exercises)
    for _ in range(20):
        if all_parts == (new := _unwrapped(all_parts, top, named)):
            break
        all_parts = new
    flat = [stem(parts[0]) for parts in all_parts if len(parts) == 1 and ENDING.search(parts[0])]
    exact = [not named.sub(" ", name).strip() for name in flat]
    # One learner's own folder: the notebooks have the names that the course gave them.
    deeper = any(len(parts) > 1 and ENDING.search(parts[-1]) for parts in all_parts)
    single = top and not deeper and any(exact) and all(
        ok or _COURSE_LIKE.fullmatch(name) for ok, name in zip(exact, flat, strict=True))
    shared = defaultdict(set)  # learner's folder -> numbers of the LMS in it: two are a class, not a learner
    for parts in all_parts:
        if len(parts) > 1 and not _lms_at(parts, 0) and (who := _lms_at(parts, 1)):
            shared[parts[0]].add((who.name, who.lms_id))
    whos = [_who(parts, top if single else "", named, shared) for parts in all_parts]
    return [who._replace(name=unicodedata.normalize("NFC", who.name)) for who in whos]


def _unwrapped(all_parts, top, named):
    inside = [parts for parts in all_parts if len(parts) > 1]
    boxes = {parts[0] for parts in inside}
    if inside and all(not _lms_at(parts, 0) and _lms_at(parts, 1) for parts in inside):
        return [parts[1:] or parts for parts in all_parts]
    if len(boxes) == 1 and len(inside) == len(all_parts) and not _lms_at(inside[0], 0):
        (box,) = boxes
        folders = {parts[1] for parts in inside if len(parts) > 2 and ENDING.search(parts[-1])}
        alike = re.sub(r"\s*\(\d+\)$", "", stem(top)).casefold() == stem(box).casefold()
        if len(folders - COURSE_FOLDERS) > 1 or alike:
            return [parts[1:] for parts in inside]
    bare = {box: stem(box) if box.lower().endswith(".zip") else box for box in boxes}
    neutral = {box for box in boxes if box in COURSE_FOLDERS or not named.sub(" ", bare[box]).strip()}
    return [parts[1:] if parts[0] in neutral and any(parts[1:]) else parts for parts in all_parts]


def _who(parts, top, named, shared):
    own = by_lms(parts[-1]) or Who("", rest=stem(parts[-1]))  # the file's own name, whoever it belongs to
    if who := _lms_at(parts, 0):
        return who._replace(rest=own.rest)
    if len(parts) > 1 and _is_folder(parts, 0):
        if len(shared.get(parts[0], ())) > 1 and (who := _lms_at(parts, 1)):
            return who._replace(name=f"{parts[0]}/{who.name}", rest=own.rest)
        return Who(parts[0], "", own.order, own.rest)
    if top and len(parts) == 1:
        return Who(top, "", own.order, own.rest)
    name = stem(parts[0])
    return Who(" ".join(named.sub(" ", name).split()) or name, "", (), own.rest)


def united(whos, all_parts, exercises):
    """`whos` with one number for each person, where Moodle's downloads of several assignments lie side by side.

    Moodle counts people anew in each assignment. Two numbers of one name are one person where they stand in different
    downloads and for different exercises (`exercises`: of each file, or ""); else they are two people.
    """
    places, asked, first = defaultdict(dict), defaultdict(lambda: defaultdict(set)), {}
    for who, parts, exercise in zip(whos, all_parts, exercises, strict=True):
        if who.lms_id and not who.order and who.name != "Participant":  # a number of Moodle; not of somebody anonymous
            at = next((i for i in range(len(parts)) if (found := _lms_at(parts, i)) and found.lms_id == who.lms_id), 0)
            places[who.name].setdefault(who.lms_id, set()).add(parts[:at])
            asked[who.name][exercise].add(who.lms_id)
    for name, numbers in places.items():
        boxes = [box for of_one in numbers.values() for box in of_one]
        apart = all(len(its) == 1 for exercise, its in asked[name].items() if exercise)
        if len(set(boxes)) == len(boxes) and apart:
            first[name] = min(numbers)
    return [who._replace(lms_id=first[who.name]) if who.lms_id and not who.order and who.name in first else who
            for who in whos]


def labels(whos):
    """{(name, LMS number): the name for the gradebook}, of a list of Who; no two learners share one.

    A name without a number is that of the only learner with this name. Two numbers are two learners.
    """
    numbers, groups, made = defaultdict(set), defaultdict(set), {}
    for who in whos:
        numbers[who.name].add(who.lms_id)
    for who in whos:
        known = numbers[who.name] - {""}
        key = who.name, who.lms_id or (next(iter(known)) if len(known) == 1 else "")
        made[who.name, who.lms_id] = key
        groups[clean(key[0]) or "(no name)"].add(key)
    used, final = set(groups), {}
    for label, keys in sorted(groups.items()):
        for count, key in enumerate(sorted(keys), 1):
            final[key] = label if count == 1 else f"{label} ({count})"
            if key[1] and label == "Participant":
                final[key] = f"{label} {key[1]}"  # as Moodle's own grading worksheet has it
            elif key[1] and len(keys) > 1:
                final[key] = f"{label} ({clean(key[1], 40)})"
            while final[key] != label and final[key] in used:
                final[key] += "'"
            used.add(final[key])
    return {key: final[target] for key, target in made.items()}
