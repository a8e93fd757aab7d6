"""`course export --moodle-feedback`: the learners' pages of one exercise, in the zip that Moodle takes back.

Moodle's "Upload multiple feedback files in a zip" tells learners apart by the number in a folder's name, as in
"Ada Lovelace_123456_assignsubmission_file_", and by nothing else. The number belongs to one assignment, so it is
read from the name under which this exercise was handed in, which stands in the grades. Moodle before 4.1 needs the
last underscore; later ones take it. The list of all pages (index.html) names everybody: it is never in the zip.
"""

import io
import re
import zipfile
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

from .. import CourseError
from . import model, names
from .exports import NOT_WRITTEN, UNTOLD, choose, people
from .feedback import page_name
from .gradebook import read_csv
from .plan import own_name
from .records import read
from .texts import one_line, plural, write_whole

MARK = b"course export --moodle-feedback"  # the zip's comment: by it an earlier one is known, and may be replaced
_DAY = (2000, 1, 1, 0, 0, 0)  # equal pages give equal bytes
_SLACK = 60  # seconds between the clocks of a machine and of its file server


def export_feedback(grades, pages, out, *, exercise=None, say=print):
    """Write the zip; say, and return, what is in it, and whose page is not, and why.

    grades: what `course grade` wrote. pages: the folder of its feedback pages, or None for the one beside `grades`.
    exercise: needed where `grades` holds several.

    Raises CourseError, in one sentence, where a file or a choice is wrong, or no page can be written.
    """
    grades, out = Path(grades), Path(out)
    _check_out(out)
    rows = read_csv(grades)
    name = choose(exercise, [row["exercise"] for row in rows if row["exercise"]], grades)
    folder = Path(pages) if pages else grades.with_name(f"{grades.stem}_feedback")
    if not folder.is_dir():
        raise CourseError(f"{folder} is no folder with feedback pages: `course grade` writes them beside the grades; where "
                          "they are elsewhere, name it: --moodle-feedback FOLDER")
    found, left = _sort(rows, name, folder, read(grades.with_suffix(".jsonl")).rows)
    said = [f"not written, because {why}: {people(learners, 160)}" for why, learners in left.items()]
    if not found:
        raise CourseError("; ".join([f"no feedback page of {name} can be given to Moodle, so nothing is written", *said]))
    try:
        write_whole(out, _zipped(found))
    except OSError as error:
        raise CourseError(f"{out} cannot be written: {error.strerror or error}") from None
    said.insert(0, f"{plural(len(found), 'page')} of {name} written into {out}: in Moodle, choose 'Upload multiple feedback "
                "files in a zip' among the submissions (the assignment needs the feedback type 'Feedback files')")
    for sentence in said:
        say(sentence)
    return said


def _check_out(out):
    if out.suffix.lower() != ".zip" or out.is_dir():
        raise CourseError(f"{out} is no name for the zip of feedback pages: it must end in .zip")
    try:
        with zipfile.ZipFile(out) as archive:
            ours = archive.comment == MARK
    except FileNotFoundError:
        return
    except (OSError, zipfile.BadZipFile, ValueError):
        ours = False
    if not ours:  # the class's hand-ins, perhaps
        raise CourseError(f"{out} is there already, and course export did not write it: choose another name for -o")


def _sort(rows, name, folder, kept):
    """({path in the zip: bytes}, {why: learners whose page is not in it, with the file where it may be of any exercise})."""
    found, left = {}, defaultdict(list)
    rows = [(row, moodle_folder(row)) for row in rows if row["exercise"] == name or not row["exercise"]]
    count = Counter(row["id"] for row, place in rows if place and row["exercise"])
    unclear = {row["learner"] for row, _ in rows if not row["exercise"]}
    for row, place in rows:
        if row["status"] == model.MISSING and row["learner"] in unclear:
            continue  # told by the other row
        page = _page(row, folder)
        before = kept.get((row["learner"], name))
        why = (UNTOLD if not row["exercise"]
               else NOT_WRITTEN[row["status"]] if row["status"] in (model.MISSING, model.FAILED)
               else "no folder or file of their hand-in is named as Moodle does it, with a number" if not place
               else "several learners have one number" if count[row["id"]] > 1
               else f"{folder} has no page of them; grade again without --no-feedback" if not page.is_file()
               else "the grade is newer than the page; grade again without --no-feedback" if before and _older(page, before)
               else "")
        if why:
            left[why].append(row["learner"] if row["exercise"] else f"{row['learner']} ({own_name(row['file'])})")
            continue
        try:
            found[f"{place}/{page.parent.name}_feedback.html"] = page.read_bytes()
        except OSError as error:
            left[f"the page cannot be read ({error.strerror or error})"].append(row["learner"])
    return found, left


def moodle_folder(row):
    """The learner's folder as Moodle wants it, of a row of the grades; "" where Moodle's zip did not have this file."""
    for part in re.split(r"/|(?<=\.zip): ", row["file"], flags=re.IGNORECASE):
        who = names.by_lms(part, is_folder=True)
        if who and who.lms_id and who.lms_id == row["id"]:
            name = re.sub(r'[_\\:*?"<>|]+', " ", who.name).strip() or "learner"
            return f"{one_line(name, 80)}_{who.lms_id}_assignsubmission_file_"
    return ""


def _page(row, folder):
    who = SimpleNamespace(learner=row["learner"], lms_id=row["id"], exercise=row["exercise"], file=row["file"])
    sub, stem = page_name(who)
    return folder / sub / f"{stem}.html"


def _older(page, row):
    try:
        return page.stat().st_mtime + _SLACK < datetime.fromisoformat(row.at).timestamp()
    except (OSError, ValueError):
        return False


def _zipped(found):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = MARK
        for path, page in sorted(found.items()):
            info = zipfile.ZipInfo(path, _DAY)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, page)
    return data.getvalue()
