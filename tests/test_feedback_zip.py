"""`course export --moodle-feedback`: Moodle finds each learner by the folder's name, gets their page alone, and nothing else."""

import csv
import os
import re
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from course_lib.classroom import CourseError
from course_lib.classroom.grading import engine, feedback_zip, intake, model, publish, records, store

ROOT = Path(__file__).parents[1]
ONE, TWO = (engine.load_exercise(file) for file in sorted((ROOT / "exercises" / "source").glob("0[12]_*.py")))
SECRET = "12.3456789"  # what a hidden check expects
MOODLE = {  # what Moodle names: the learner, and the folder that it wants back
    "Ada Lovelace_123456_assignsubmission_file_/work.ipynb": ("Ada Lovelace", "Ada Lovelace_123456_assignsubmission_file_"),
    "Zoë Ćwikła_123457_assignsubmission_file/01.ipynb": ("Zoë Ćwikła", "Zoë Ćwikła_123457_assignsubmission_file_"),
    "Bo O'Neill_77_assignsubmission_file_01_x.ipynb": ("Bo O'Neill", "Bo O'Neill_77_assignsubmission_file_"),
    "Participant_4711_assignsubmission_file_/x.ipynb": ("Participant 4711", "Participant_4711_assignsubmission_file_"),
}


def moodle_takes(path):
    """(participant's number, name of the feedback file) as Moodle's importer reads a path, in old and new versions; or None."""
    parts = path.split("/")
    while parts:
        info = parts.pop(0).split("_", 4)
        if len(info) == 5 and info[1].isdecimal() and info[2:4] == ["assignsubmission", "file"]:
            return int(info[1]), "/".join(filter(None, [info[4], *parts]))
    return None


@pytest.fixture
def graded(tmp_path):
    """graded(paths, {learner: status}, exercises) -> grades.csv with its pages, as `course grade` leaves them."""

    def grade(paths=tuple(MOODLE), statuses=(), exercises=(ONE,), pages=True, **more):
        zipped, statuses = tmp_path / "class.zip", dict(statuses)
        with zipfile.ZipFile(zipped, "w") as archive:
            for path in paths:
                exercise = next((e for e in exercises if e.name in path), exercises[0])
                archive.writestr(path, (ROOT / "exercises" / f"{exercise.name}.ipynb").read_bytes())
        out = tmp_path / "grades.csv"
        with store.opened(out.with_suffix(".jsonl")) as kept:
            kept.start({"seed": 1, "full": True, "root": "", "exercises": [e.public() for e in exercises], "environment": {},
                        "limits": asdict(model.Limits()), "shard": None})
            for one in intake.collect(zipped, list(exercises)):
                exercise = next((e for e in exercises if e.name == one.exercise), None)
                status = statuses.get(one.learner, model.GRADED)
                checks = {check.id: {"outcome": model.WRONG, "points": 0, "max": check.points, "got": None,
                                     "reason": SECRET if check.hidden else None}
                          for check in exercise.checks} if exercise and status == model.GRADED else {}
                kept.put(records.Row(model.Result(one.learner, one.exercise, one.file, status, one.lms_id, checks,
                                                  problem="it is damaged" * (status == model.BROKEN)), at=""))
            publish.publish(kept, out, feedback=tmp_path / "grades_feedback" if pages else None, picture=False,
                            say=lambda line: None)
        return out

    return grade


def export(grades, **more):
    """({path: text} of the zip, sentences)."""
    out = grades.with_name("back.zip")
    said = feedback_zip.export_feedback(grades, more.pop("pages", None), out, say=lambda line: None, **more)
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}, "\n".join(said)


def test_each_learner_of_a_moodle_zip_gets_their_own_page_back(graded):
    found, said = export(graded())
    assert set(found) == {f"{folder}/01_measuring_energy_feedback.html" for _, folder in MOODLE.values()}
    for learner, folder in MOODLE.values():
        page = found[f"{folder}/01_measuring_energy_feedback.html"]
        assert learner.replace("'", "&#x27;") in page and page.startswith("<!doctype html>")
        others = [name for name, _ in MOODLE.values() if name != learner]
        assert not [name for name in others if name in page]
    numbers = {moodle_takes(path) for path in found}
    assert numbers == {(number, "01_measuring_energy_feedback.html") for number in (123456, 123457, 77, 4711)}
    assert said.startswith("4 pages of 01_measuring_energy written into ") and "'Upload multiple feedback files" in said


def test_nothing_of_a_solution_or_a_hidden_check_and_no_list_of_names_is_in_it(graded):
    found, _ = export(graded())
    told = "\n".join([*found, *found.values()])
    assert SECRET not in told and "index.html" not in told and "names every learner" not in told
    lines = [line.strip() for cell in ONE.cells for body in re.findall(r"BEGIN SOLUTION(.*?)### END", cell.source, re.DOTALL)
             for line in body.splitlines() if len(line.strip()) > 12]
    assert len(lines) > 5 and not [line for line in lines if line in told]


def test_a_name_is_made_fit_and_the_number_stays_where_moodle_looks_for_it(graded):
    found, _ = export(graded(["a_b\\c:d_ e_55_assignsubmission_file_x.ipynb"]))
    (path,) = found
    assert moodle_takes(path) == (55, "01_measuring_energy_feedback.html") and not set('\\:*?"<>|') & set(path)


def test_whose_page_is_not_in_it_is_said_with_the_reason(graded):
    grades = graded([*MOODLE, "Default team_assignsubmission_file_/x.ipynb", "Cy_5_assignsubmission_file_/x.ipynb",
                     "Dee_6_assignsubmission_file_/x.ipynb", "Eve_7_assignsubmission_file_/x.ipynb",
                     "Al_8_assignsubmission_file_/x.ipynb", "Flo_9_assignsubmission_file_/x.ipynb"],
                    {"Cy": model.MISSING, "Dee": model.FAILED, "Eve": model.BROKEN})
    pages = grades.with_name("grades_feedback") / "01_measuring_energy"
    for page in pages.glob("Al-*"):
        page.unlink()
    for page in pages.glob("Flo-*.html"):
        os.utime(page, (1e9, 1e9))
    found, said = export(grades)
    assert "Eve_7_assignsubmission_file_/01_measuring_energy_feedback.html" in found  # it says why it cannot be graded
    assert len(found) == len(MOODLE) + 1
    for sentence in ("because nothing was handed in: Cy", "because the grader itself failed; grade again: Dee",
                     "because no folder or file of their hand-in is named as Moodle does it, with a number: Default team",
                     "has no page of them; grade again without --no-feedback: Al",
                     "because the grade is newer than the page; grade again without --no-feedback: Flo"):
        assert sentence in said, sentence


def test_a_file_of_an_unknown_exercise_is_named_and_makes_nobody_missing(graded):
    grades = graded([*MOODLE, "Cy_5_assignsubmission_file_/x.ipynb", "Dee_6_assignsubmission_file_/x.ipynb"],
                    {"Cy": model.MISSING, "Dee": model.MISSING})
    table = grades.read_bytes().splitlines(keepends=True)
    header = table[0].decode("utf-8-sig").rstrip().split(",")
    for name in ("Ada Lovelace", "Dee"):  # the same learner's line once more, as of a file that could be anything
        line = next(csv.DictReader([(",".join(header)), next(row.decode() for row in table if row.startswith(name.encode()))]))
        line |= {"exercise": "", "status": model.BROKEN, "file": f"class.zip: {name}_6_assignsubmission_file_/notes.ipynb"}
        table.append(",".join(line[column] for column in header).encode() + b"\r\n")
    grades.write_bytes(b"".join(table))
    found, said = export(grades)
    assert len(found) == len(MOODLE) and "because nothing was handed in: Cy\n" in f"{said}\n"
    assert "because it could not be told of which exercise the file is: Ada Lovelace (notes.ipynb); Dee (notes.ipynb)" in said


def test_several_exercises_need_a_name_and_each_has_its_own_zip(graded):
    grades = graded([f"Ada_12_assignsubmission_file_/{e.name}.ipynb" for e in (ONE, TWO)], exercises=(ONE, TWO))
    with pytest.raises(CourseError, match="holds 2 exercises: name one with --exercise"):
        export(grades)
    for exercise in (ONE, TWO):
        assert list(export(grades, exercise=exercise.name[:2])[0]) == [
            f"Ada_12_assignsubmission_file_/{exercise.name}_feedback.html"]


def test_two_learners_with_one_number_get_neither_page(graded):
    grades = graded()
    lines = grades.read_bytes().replace(b"123457", b"123456")
    grades.write_bytes(lines)
    found, said = export(grades)
    assert {moodle_takes(path)[0] for path in found} == {77, 4711}
    assert "several learners have one number: Ada Lovelace; Zoë Ćwikła" in said


def test_a_number_inside_a_learners_own_folder_is_not_believed(graded):
    for path in ("Mallory/Bob_7_assignsubmission_file_/x.ipynb", "mallory_5_99_x.ipynb"):
        with pytest.raises(CourseError, match="named as Moodle does it, with a number: .allory"):
            export(graded([path, "Zed/x.ipynb"]))


def test_equal_grades_give_equal_bytes_and_an_earlier_zip_is_replaced(graded):
    grades = graded()
    export(grades)
    out = grades.with_name("back.zip")
    before = out.read_bytes()
    export(grades)
    assert out.read_bytes() == before
    page = next(grades.parent.rglob("Ada*.html"))
    page.write_text(page.read_text(encoding="utf-8") + "<p>Come and see me.</p>", encoding="utf-8")  # the teacher's own words
    assert [path[:3] for path, text in export(grades)[0].items() if "Come and see me" in text] == ["Ada"]
    assert out.read_bytes() != before


@pytest.mark.parametrize(("change", "words"), [
    (lambda grades: grades.with_name("grades_feedback").rename(grades.with_name("x")), "grades_feedback is no folder with feed"),
    (lambda grades: [page.unlink() for page in grades.parent.rglob("*.html")], "no feedback page of 01_.*has no page of them"),
    (lambda grades: grades.with_name("back.zip").write_bytes(b"PK"), "back.zip is there already, and course export did not"),
    (lambda grades: grades.with_name("class.zip").rename(grades.with_name("back.zip")), "back.zip is there already, and"),
    (lambda grades: grades.with_name("back.zip").mkdir(), "back.zip is no name for the zip of feedback pages"),
    (lambda grades: grades.write_text("my,list\n1,2\n"), "is no list of grades"),
    (lambda grades: grades.with_name("back.zip.part").mkdir(), "back.zip cannot be written: "),
])
def test_what_cannot_be_made_is_one_sentence_and_nothing_is_written(graded, change, words):
    grades = graded()
    change(grades)
    before = {path: path.read_bytes() for path in grades.parent.rglob("*") if path.is_file()}
    with pytest.raises(CourseError, match=words) as raised:
        export(grades)
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in grades.parent.rglob("*") if path.is_file()} == before


def test_hand_ins_that_are_not_from_moodle_are_said(graded):
    with pytest.raises(CourseError, match="so nothing is written; not written, because no folder.*: Ada; Bo"):
        export(graded(["Ada/01_measuring_energy.ipynb", "Bo/01_measuring_energy.ipynb"]))


def test_the_command_takes_it(graded, capsys, tmp_path):
    from course_lib.classroom import cli

    grades = graded()
    (tmp_path / "grades_feedback").rename(tmp_path / "pages")
    words = ["export", str(grades), "--moodle-feedback", str(tmp_path / "pages"), "-o", str(tmp_path / "f.zip")]
    assert cli.main(words) == 0 and "4 pages" in capsys.readouterr().out and (tmp_path / "f.zip").exists()
    assert cli.main([*words, "--column", "x"]) == 2 and "leave it out" in capsys.readouterr().err
