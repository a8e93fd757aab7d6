"""Handed-in files become submissions: every learner is found, and no hostile file stops the others."""

import codecs
import copy
import io
import json
import os
import random
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import nbformat
import pytest

from course_lib.classroom import CourseError
from course_lib.classroom.grading import engine, files, intake, names, notebook, zips
from course_lib.classroom.grading.intake import collect
from course_lib.classroom.grading.notebook import Unreadable, read_notebook, unmarked

ROOT = Path(__file__).parents[1]
ONE, TWO = (engine.load_exercise(file) for file in sorted((ROOT / "exercises" / "source").glob("0[12]_*.py")))
RELEASED = {
    exercise.name: json.loads((ROOT / "exercises" / f"{exercise.name}.ipynb").read_text(encoding="utf-8"))
    for exercise in (ONE, TWO)
}
for _released in RELEASED.values():
    for _cell in _released["cells"]:
        _cell["source"] = "".join(_cell["source"])
LESSON = ROOT / "notebooks" / "01_measuring_energy.ipynb"


def nb(exercise=ONE, **answers):
    """A released notebook as a dict; answers replaces the text of cells by id."""
    made = copy.deepcopy(RELEASED[exercise.name])
    for name, text in answers.items():
        cell(made, name)["source"] = text
    return made


def cell(made, name):
    return next(c for c in made["cells"] if c.get("id") == name)


def code(text, **more):
    return {
        "cell_type": "code",
        "metadata": {},
        "source": text,
        "outputs": [],
        "execution_count": None,
        **more,
    }


def raw(made=None):
    return json.dumps(nb() if made is None else made).encode()


def put(folder, tree):
    """Write {relative path: bytes, dict (a notebook) or None (a folder)} and return the folder."""
    for name, content in tree.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else raw(content))
    return folder


def zipped(tree, date=(2024, 5, 1, 12, 0, 0), method=zipfile.ZIP_DEFLATED):
    """The bytes of a zip; a value (content, date) has a date of its own."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name
        for name, content in tree.items() if isinstance(tree, dict) else tree:
            content, when = content if isinstance(content, tuple) else (content, date)
            data = content if isinstance(content, bytes) else b"" if content is None else raw(content)
            archive.writestr(
                zipfile.ZipInfo(name + "/" * (content is None), when), data, compress_type=method
            )
    return out.getvalue()


def one(tmp_path, content, exercises=(ONE,), name="ada.ipynb", **options):
    """The single row that one file in a folder becomes."""
    put(tmp_path / "class", {name: content})
    rows = collect(tmp_path / "class", list(exercises), **options)
    assert len(rows) == 1
    return rows[0]


def learners(rows):
    return [row.learner for row in rows]


def test_an_untouched_notebook_is_read_without_a_note(tmp_path):
    row = one(tmp_path, nb())
    assert (row.learner, row.exercise, row.file, row.problem, row.notes) == (
        "ada",
        ONE.name,
        "ada.ipynb",
        "",
        (),
    )
    assert list(row.answers) == list(ONE.answers) and row.extras == () and len(row.sha256) == 64
    assert "NotImplementedError" in row.answers["ex01_flops"]


# --- who ----------------------------------------------------------------------------------------------------

LMS = {
    "Ada Lovelace_123456_assignsubmission_file_/work.ipynb": ("Ada Lovelace", "123456"),
    "Ada Lovelace_123456_assignsubmission_file/deep/er/work.ipynb": ("Ada Lovelace", "123456"),
    "Ada Lovelace_123456_assignsubmission_file_01_measuring_energy.ipynb": ("Ada Lovelace", "123456"),
    "Group A_77_assignsubmission_file_/x.ipynb": ("Group A", "77"),
    "Default group_assignsubmission_file_/x.ipynb": ("Default group", ""),
    "Participant_4711_assignsubmission_file_/x.ipynb": ("Participant 4711", "4711"),
    "lovelaceada_12345_67890_01_measuring_energy.ipynb": ("lovelaceada", "12345"),
    "lovelaceada_LATE_12345_67890_01_measuring_energy-2.ipynb": ("lovelaceada", "12345"),
    "müllerzoë_12345_67890_my work.ipynb": ("müllerzoë", "12345"),
    "lovelaceada_12345_67890_work.zip": ("lovelaceada", "12345"),
    "anon_Xk3vQ_67890_01_measuring_energy.ipynb": ("anon_Xk3vQ", "Xk3vQ"),
    "LATE_anon_Xk3vQ_67890_01_measuring_energy.ipynb": ("anon_Xk3vQ", "Xk3vQ"),
}
PLAIN = {
    "ada/01_measuring_energy.ipynb": "ada",
    "ada/exercises/01_measuring_energy.ipynb": "ada",
    "alice_01_measuring_energy.ipynb": "alice",
    "01_measuring_energy - Zoë.ipynb": "Zoë",
    "alice.ipynb": "alice",
    "alice.IPYNB": "alice",
    "alice.ipynb.txt": "alice",
    "alice.ipynb.json": "alice",
    "01-measuring-energy alice.ipynb": "alice",
    "alice_01_measuring_energy (1).ipynb": "alice",
    "alice_01_measuring_energy-Copy1.ipynb": "alice",
    "=SUM(A1)_01_measuring_energy.ipynb": "=SUM(A1)",
    "=cmd/x.ipynb": "=cmd",
    "Ada  of\tLondon.ipynb": "Ada of London",
    "student_02.ipynb": "student_02",
    "a\u202eb\u200bc\u0007d.ipynb": "abcd",
    "Zoe\u0308.ipynb": "Zoë",
    "x" * 200 + "/x.ipynb": "x" * 200,
    "Ada..Byron/x.ipynb": "Ada..Byron",
    "o'neil, anne/x.ipynb": "o'neil, anne",
    "<b>x</b>.ipynb": None,
    "\u200b.ipynb": "(no name)",
    "01_measuring_energy/grace.ipynb": "grace",
    "exercises/grace.ipynb": "grace",
}
PLAIN = {name: learner for name, learner in PLAIN.items() if learner}  # a slash is no part of a file's name


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", LMS)
def test_the_patterns_of_moodle_and_canvas(tmp_path, name, packed):
    tree = {
        name: zipped({"work/x.ipynb": nb()}) if name.endswith(".zip") else nb(),
        name.replace("Ada Lovelace", "Emmy Noether")
        .replace("lovelaceada", "noetheremmy")
        .replace("müllerzoë", "n")
        .replace("Xk3vQ", "Aa1Bb")
        .replace("Group A", "Group B")
        .replace("Default group", "Group C")
        .replace("Participant_4711", "Participant_4712")
        .replace("123", "321"): zipped({"work/x.ipynb": nb()}) if name.endswith(".zip") else nb(),
    }
    if packed:
        path = tmp_path / "download.zip"
        path.write_bytes(zipped(tree))
    else:
        path = put(tmp_path / "class", tree)
    rows = collect(path, [ONE, TWO])
    assert len(rows) == 2 and all(row.problem == "" and row.exercise == ONE.name for row in rows), rows
    assert LMS[name] in [(row.learner, row.lms_id) for row in rows]
    assert any("late" in note for row in rows for note in row.notes) == ("LATE" in name)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", PLAIN)
def test_names_of_files_and_folders(tmp_path, name, packed):
    tree = {name: nb(), "zzz/other.ipynb": nb()}
    if packed:
        path = tmp_path / "download.zip"
        path.write_bytes(zipped(tree))
    else:
        path = put(tmp_path / "class", tree)
    rows = collect(path, [ONE, TWO])
    assert sorted(learners(rows)) == sorted([PLAIN[name], "zzz"])
    assert not any(row.problem or row.lms_id for row in rows)


def test_two_learners_of_one_name_stay_two(tmp_path):
    tree = {f"Ada Lovelace_{number}_assignsubmission_file_/x.ipynb": nb() for number in (11, 22)}
    rows = collect(put(tmp_path / "class", tree), [ONE])
    assert [(row.learner, row.lms_id) for row in rows] == [
        ("Ada Lovelace (11)", "11"),
        ("Ada Lovelace (22)", "22"),
    ]
    rows = collect(
        put(tmp_path / "odd", {"ab.ipynb": nb(), "a\u200bb.ipynb": nb(), "ab (2).ipynb": nb()}), [ONE]
    )
    assert len(set(learners(rows))) == 3 and {"ab", "ab (2)"} <= set(learners(rows))


def test_moodles_downloads_of_two_assignments_hold_the_same_people(tmp_path):
    """Moodle numbers people anew in each assignment: with two learners made of each, both would get zeros."""
    folder = "{}_{}_assignsubmission_file_/x.ipynb"
    first = {folder.format(name, number): nb() for name, number in (("Ada L", 100), ("Bo K", 101), ("Al", 102), ("Al", 103))}
    second = {folder.format(name, number): nb(TWO) for name, number in (("Ada L", 201), ("Bo K", 200), ("Al", 202))}
    put(tmp_path / "class", {"one.zip": zipped(first), "two.zip": zipped(second)})
    rows = [(row.learner, row.lms_id, row.exercise) for row in collect(tmp_path / "class", [ONE, TWO])]
    assert rows == [
        ("Ada L", "100", ONE.name), ("Ada L", "201", TWO.name),
        ("Al (102)", "102", ONE.name), ("Al (103)", "103", ONE.name), ("Al (202)", "202", TWO.name),  # nobody can tell
        ("Bo K", "101", ONE.name), ("Bo K", "200", TWO.name)]
    both = {"a.zip": zipped({folder.format("Ada L", 100): nb(), folder.format("Ada L", 101): nb(TWO)})}
    assert learners(collect(put(tmp_path / "both", both), [ONE, TWO])) == ["Ada L (100)", "Ada L (101)"]  # one assignment
    groups = {"a.zip": zipped({folder.format("Ada L", 100): nb()}), "b.zip": zipped({folder.format("Ada L", 105): nb()}),
              "c.zip": zipped({folder.format("Participant", 7): nb()}), "d.zip": zipped({folder.format("Participant", 8): nb(TWO)})}
    rows = collect(put(tmp_path / "groups", groups), [ONE, TWO])  # of one assignment: two people of one name
    assert learners(rows) == ["Ada L (100)", "Ada L (105)", "Participant 7", "Participant 8"]


def test_a_name_without_a_number_joins_the_only_learner_of_that_name(tmp_path):
    tree = {
        "Ada Lovelace_11_assignsubmission_file_/01_measuring_energy.ipynb": nb(),
        "Ada Lovelace/02_training_and_inference.ipynb": nb(TWO),
    }
    rows = collect(put(tmp_path / "class", tree), [ONE, TWO])
    assert [(row.learner, row.lms_id, row.exercise) for row in rows] == [
        ("Ada Lovelace", "11", ONE.name),
        ("Ada Lovelace", "11", TWO.name),
    ]
    tree["Ada Lovelace_22_assignsubmission_file_/x.ipynb"] = nb()
    rows = collect(put(tmp_path / "class", tree), [ONE, TWO])
    assert [(row.learner, row.lms_id, row.exercise) for row in rows] == [
        ("Ada Lovelace", "", TWO.name),
        ("Ada Lovelace (11)", "11", ONE.name),
        ("Ada Lovelace (22)", "22", ONE.name),
    ]


def test_one_file_and_one_learners_own_folder(tmp_path):
    put(tmp_path / "grace", {f"{ONE.name}.ipynb": nb(), f"{TWO.name}.ipynb": nb(TWO), "README.md": b"x"})
    assert learners(collect(tmp_path / "grace" / f"{ONE.name}.ipynb", [ONE])) == [ONE.name]
    assert learners(collect(tmp_path / "grace", [ONE, TWO])) == ["grace", "grace"]
    (row,) = collect(tmp_path / "grace", [ONE])  # the other notebook of the course is no problem of hers
    assert (row.learner, row.exercise, row.problem) == ("grace", ONE.name, "")
    (tmp_path / "grace.zip").write_bytes(zipped({"grace/exercises/01_measuring_energy.ipynb": nb()}))
    assert learners(collect(tmp_path / "grace.zip", [ONE, TWO])) == ["grace"]
    put(tmp_path / "mix", {f"{ONE.name}.ipynb": nb(), "ada.ipynb": nb()})
    assert learners(collect(tmp_path / "mix", [ONE])) == [ONE.name, "ada"]
    whole = {
        "exercises/01_measuring_energy.ipynb": nb(),
        "notebooks/01_measuring_energy.ipynb": LESSON.read_bytes(),
        "course_lib/assets/exercises/01_measuring_energy.ipynb": nb(ex01_flops="old = 1"),
        ".git/x.ipynb": b"",
        "README.md": b"x",
        "exercises/.ipynb_checkpoints/01_measuring_energy.ipynb": nb(),
    }
    (row,) = collect(put(tmp_path / "my course", whole), [ONE])
    assert (row.learner, row.file, row.notes) == ("my course", "exercises/01_measuring_energy.ipynb", ())


@pytest.mark.parametrize(
    "tree",
    [
        {"class/ada/x.ipynb": 1, "class/bob/x.ipynb": 1},
        {"class/ada.ipynb": 1, "class/bob.ipynb": 1},
        {"class/exercises/ada.ipynb": 1, "class/exercises/bob.ipynb": 1},
        {"ada/x.ipynb": 1, "bob.ipynb": 1},
        {"ada/x.ipynb": 1, "bob.zip": 2},
        {"class/ada.zip": 2, "class/bob.zip": 2},
        {
            "__MACOSX/ada/._x.ipynb": b"junk",
            "ada/x.ipynb": 1,
            "bob/x.ipynb": 1,
            ".DS_Store": b"x",
            "ada/Thumbs.db": b"x",
        },
    ],
)
def test_zips_with_and_without_a_folder_around_them(tmp_path, tree):
    made = {1: nb(), 2: zipped({"work/notebook.ipynb": nb()})}
    path = tmp_path / "class.zip"
    path.write_bytes(zipped({name: made.get(kind, kind) for name, kind in tree.items()}))
    assert learners(collect(path, [ONE, TWO])) == ["ada", "bob"]


def test_one_download_per_exercise_side_by_side(tmp_path):
    tree = {
        f"{box}/lovelaceada_12_{number}_x.ipynb": nb(exercise)
        for box, exercise, number in (("energy", ONE, 31), ("training", TWO, 32))
    } | {"energy/noetheremmy_13_33_x.ipynb": nb()}
    rows = collect(put(tmp_path / "folders", tree), [ONE, TWO])
    assert [(row.learner, row.exercise) for row in rows] == [
        ("lovelaceada", ONE.name),
        ("lovelaceada", TWO.name),
        ("noetheremmy", ONE.name),
    ]
    moodle = zipped({f"Ada_1{n}_assignsubmission_file_/x.ipynb": nb() for n in range(3)})
    rows = collect(put(tmp_path / "zips", {"Energy-1.zip": moodle, "Training-2.zip": moodle}), [ONE])
    assert len(rows) == 3 and {row.lms_id for row in rows} == {"10", "11", "12"}


def test_nobody_can_hand_in_for_somebody_else(tmp_path):
    tree = {
        "bobsmith_1_20_x.ipynb": nb(ex01_flops="true = 1"),
        "Mallory_9_assignsubmission_file_/bobsmith_1_99_x.ipynb": nb(ex01_flops="false = 1"),
        "mallory/bobsmith_1_98_x.ipynb": nb(ex01_flops="false = 1"),
        "mallory/Bob_7_assignsubmission_file_/x.ipynb": nb(),
        "mal.zip": zipped({"bobsmith_1_97_x.ipynb": nb()}),
        "mal2.zip": zipped({"../bob/x.ipynb": nb(), "/etc/passwd.ipynb": nb()}),
    }
    rows = collect(put(tmp_path / "class", tree), [ONE])
    bobs = [row for row in rows if "bob" in row.learner.lower() and "/" not in row.learner]
    assert [row.answers["ex01_flops"] for row in bobs] == ["true = 1"]
    assert {"Mallory", "mal", "mal2"} <= set(learners(rows))


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.ipynb",
        "../evil/x.ipynb",
        "..\\evil\\x.ipynb",
        "/etc/evil/x.ipynb",
        "C:\\evil\\x.ipynb",
        "ada/../../evil.ipynb",
        "evil/x.ipynb\0.txt",
        "e" * 5000 + "/x.ipynb",
    ],
)
def test_hostile_names_in_a_zip_are_labels_only(tmp_path, name):
    box = tmp_path / "box"
    box.mkdir()
    (box / "class.zip").write_bytes(zipped([(name, nb()), ("ada.ipynb", nb()), ("bob/x.ipynb", nb())]))
    rows = collect(box / "class.zip", [ONE])
    assert {"bob"} <= set(learners(rows)) and all(
        len(row.learner) <= 200 and row.file.isprintable() for row in rows
    )
    assert os.listdir(box) == ["class.zip"] and os.listdir(tmp_path) == ["box"]


def test_a_way_up_makes_another_name(tmp_path):
    (tmp_path / "class.zip").write_bytes(
        zipped({"../ada/x.ipynb": nb(ex01_flops="no"), "ada/x.ipynb": nb(), "b.ipynb": nb()})
    )
    rows = collect(tmp_path / "class.zip", [ONE])
    assert learners(rows) == ["../ada", "ada", "b"] and not any(row.notes for row in rows)


def test_names_of_macos_in_utf8_without_saying_so(tmp_path):
    data = zipped({"Zoë/x.ipynb": nb(), "bob/x.ipynb": nb()})
    assert data.count(b"Zo\xc3\xab") == 2
    flags = data.replace(
        struct.pack("<HH", 0x800, 8), struct.pack("<HH", 0, 8)
    )  # flag and method stand side by side
    assert flags != data
    (tmp_path / "class.zip").write_bytes(flags)
    assert learners(collect(tmp_path / "class.zip", [ONE])) == ["bob", "Zoë"]


# --- which exercise -----------------------------------------------------------------------------------------


def bare(made):
    """Without any id or mark: as a notebook written anew."""
    for c in made["cells"]:
        c.pop("id", None)
        c["metadata"] = {}
    made["metadata"] = {}
    return made


def only_answers(made):
    """The cells of the answers alone, without names and without the checks."""
    made["cells"] = [c for c in made["cells"] if c["metadata"].get("nbgrader", {}).get("solution")]
    return bare(made)


@pytest.mark.parametrize(
    ("made", "name", "exercises", "expected", "problem"),
    [
        (nb(TWO), "01_measuring_energy ada.ipynb", [ONE, TWO], TWO, ""),  # cells before the name
        (
            bare(nb(TWO)) | {"metadata": {"course": {"exercise": "02"}}},
            "01_measuring_energy ada.ipynb",
            [ONE, TWO],
            TWO,
            "",
        ),
        (bare(nb()), "ada_01_measuring_energy.ipynb", [ONE, TWO], ONE, ""),
        (bare(nb()), "01_measuring_energy/ada.ipynb", [ONE, TWO], ONE, ""),
        (bare(nb()), "ada/02.ipynb", [ONE, TWO], ONE, ""),  # the checks' texts before the file's name
        (bare(nb()), "ada.ipynb", [TWO, ONE], ONE, ""),
        (only_answers(nb(TWO)), "ada/02.ipynb", [ONE, TWO], TWO, ""),
        (only_answers(nb(TWO)), "ada/ex02.ipynb", [ONE, TWO], TWO, ""),
        (
            only_answers(nb()),
            "ada.ipynb",
            [ONE, TWO],
            None,
            "wrong exercise: none of its cells belongs to a graded exercise",
        ),
        (only_answers(nb()), "ada.ipynb", [ONE], ONE, f"wrong exercise: none of its cells belongs to {ONE.name}"),
        (
            nb(TWO),
            "ada_01_measuring_energy.ipynb",
            [ONE],
            ONE,
            "wrong exercise: it is exercise 02 (Training and inference)",
        ),
        (
            json.loads(LESSON.read_bytes()),
            "01_measuring_energy.ipynb",
            [ONE],
            ONE,
            "wrong exercise: it is lesson 01",
        ),
    ],
)
def test_which_exercise_it_is(tmp_path, made, name, exercises, expected, problem):
    row = one(tmp_path, made, exercises, name)
    assert (row.exercise, row.problem) == (expected.name if expected else "", problem)


def test_most_matches_win_and_a_tie_is_told_by_the_name(tmp_path):
    both = nb()
    both["cells"] += [code("1", id=name) for name in TWO.answers[:2]]
    assert one(tmp_path / "a", both, [TWO, ONE]).exercise == ONE.name
    few = bare(nb()) | {"cells": [code("1", id="ex01_flops"), code("2", id="ex02_training")]}
    assert one(tmp_path / "b", few, [ONE, TWO], "02_training_and_inference ada.ipynb").exercise == TWO.name
    row = one(tmp_path / "c", few, [ONE, TWO])
    assert (row.exercise, row.problem) == (
        "",
        f"wrong exercise: its cells belong to {ONE.name} and {TWO.name}",
    )


def test_other_notebooks_of_a_learner_are_a_note_and_lessons_are_nothing(tmp_path):
    tree = {
        "ada/01_measuring_energy.ipynb": nb(),
        "ada/scratch.ipynb": only_answers(nb(TWO)),
        "ada/lesson.ipynb": LESSON.read_bytes(),
        "ada/report.pdf": b"%PDF",
        "ada/broken.ipynb": b"{",
    }
    good, broken = sorted(collect(put(tmp_path / "class", tree), [ONE, TWO]), key=lambda row: row.problem)
    assert good.notes == ("not graded, because none of the graded exercises: scratch.ipynb",)
    assert (broken.exercise, broken.file) == ("", "ada/broken.ipynb")


# --- several files ------------------------------------------------------------------------------------------


def answer(row):
    return row.answers["ex01_flops"]


def versions(*texts):
    return [nb(ex01_flops=text) for text in texts]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("lovelaceada_1_20_x.ipynb", "lovelaceada_1_100_x.ipynb"),
        ("lovelaceada_1_20_x.ipynb", "lovelaceada_1_20_x-1.ipynb"),
        ("lovelaceada_1_20_x-9.ipynb", "lovelaceada_1_20_x-10.ipynb"),
        ("lovelaceada_LATE_1_20_x-2.ipynb", "lovelaceada_LATE_1_31_x.ipynb"),
    ],
)
def test_canvas_numbers_tell_the_latest(tmp_path, first, second):
    old, new = versions("old", "new")
    for swap in (False, True):  # dates do not matter here
        tree = {first: (old, (2024, 1, 2 + swap, 0, 0, 0)), second: (new, (2024, 1, 3 - swap, 0, 0, 0))}
        (tmp_path / "class.zip").write_bytes(zipped(tree))
        (row,) = collect(tmp_path / "class.zip", [ONE])
        assert answer(row) == "new" and row.file == f"class.zip: {second}"
        assert row.notes[0] == (
            f"2 files for this exercise: class.zip: {second} is graded, the latest by Canvas's "
            f"numbers; left out: class.zip: {first}"
        )


def test_dates_tell_the_latest_then_names(tmp_path):
    old, new = versions("old", "new")
    folder = put(tmp_path / "class", {"ada/b.ipynb": old, "ada/a.ipynb": new, "bob.ipynb": nb()})
    os.utime(folder / "ada" / "b.ipynb", (1e9, 1e9))
    row = collect(folder, [ONE])[0]
    assert answer(row) == "new"
    assert " ".join(row.notes) == (
        "2 files for this exercise: ada/a.ipynb is graded, the latest by its date; left out: ada/b.ipynb"
    )
    (tmp_path / "c.zip").write_bytes(zipped({"ada/9.ipynb": old, "ada/10.ipynb": new, "bob.ipynb": nb()}))
    row = collect(tmp_path / "c.zip", [ONE])[0]
    assert answer(row) == "new" and "10.ipynb is graded, the last by name" in row.notes[0]
    inner = zipped({"x.ipynb": (new, (2024, 6, 1, 0, 0, 0))})
    (tmp_path / "d.zip").write_bytes(
        zipped({"ada/x.ipynb": (old, (2024, 5, 1, 0, 0, 0)), "ada/w.zip": inner, "b.ipynb": nb()})
    )
    assert answer(collect(tmp_path / "d.zip", [ONE])[0]) == "new"
    twice = zipped(
        [
            ("ada/x.ipynb", (new, (2024, 6, 1, 0, 0, 0))),
            ("ada/x.ipynb", (old, (2024, 5, 1, 0, 0, 0))),
            ("bob.ipynb", nb()),
        ]
    )
    (tmp_path / "e.zip").write_bytes(twice)
    assert answer(collect(tmp_path / "e.zip", [ONE])[0]) == "new"


def test_the_latest_that_can_be_read_counts(tmp_path):
    folder = put(
        tmp_path / "class",
        {"ada/old.ipynb": nb(ex01_flops="good"), "ada/new.ipynb": b"{damaged", "b.ipynb": nb()},
    )
    os.utime(folder / "ada" / "old.ipynb", (1e9, 1e9))
    row = collect(folder, [ONE])[0]
    assert answer(row) == "good" and row.problem == ""
    assert " ".join(row.notes) == (
        "2 files for this exercise: ada/old.ipynb is graded, the only one that can be "
        "read; left out: ada/new.ipynb"
    )


# --- folders, zips and files that are no notebooks ------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("exercises", [[ONE], [ONE, TWO]])
def test_learners_without_a_notebook(tmp_path, packed, exercises):
    tree = {
        "ada/report.pdf": b"%PDF",
        "ada/.DS_Store": b"",
        "bob.pdf": b"%PDF",
        "carl": None,
        "dora/x.ipynb": nb(),
        "emmy/a.txt": b"",
        "emmy/b.txt": b"",
        "emmy/c.txt": b"",
        "emmy/d.txt": b"",
        "fay/sub": None,
        "desktop.ini": b"",
        ".hidden.ipynb": b"",
        "gil/.ipynb_checkpoints/x.ipynb": nb(),
        "dora/x.pdf": b"",
        "Hal_3_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
        "lovelaceada_12_text.html": b"<p>",
    }
    if packed:
        (tmp_path / "class.zip").write_bytes(zipped(tree))
    else:
        put(tmp_path / "class", tree)
    rows = collect(tmp_path / ("class.zip" if packed else "class"), exercises)
    expected = {
        "ada": "no notebook in it: report.pdf",
        "bob": "bob.pdf is not a notebook: hand in the .ipynb file",
        "carl": "the folder is empty",
        "dora": "",
        "emmy": "no notebook in it: a.txt, b.txt, c.txt and 1 more",
        "fay": "the folder is empty",
        "Hal": "no notebook in it: onlinetext.html",
        "lovelaceada": "lovelaceada_12_text.html is not a notebook: hand in the .ipynb file",
    }
    if not packed:  # a zip has no entry for a folder of which everything is ignored
        expected["gil"] = "the folder is empty"
    without = {row.learner: row.notes[0] for row in rows if not row.file}
    assert without == {learner: note for learner, note in expected.items() if note}
    assert not any(row.problem for row in rows)  # none of them is a file that could be graded as 0
    assert {(row.learner, row.exercise) for row in rows if row.exercise} == {("dora", ONE.name)}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "nowhere", "is not there"),
        (lambda path: path / ("x" * 300), "is not there"),
        (lambda path: put(path / "e", {"x": None}), "no handed-in file"),
        (lambda path: put(path / "f", {".DS_Store": b""}), "no handed-in file"),
        (lambda path: put(path, {"r.pdf": b"%PDF"}) / "r.pdf", "is not a notebook"),
        (lambda path: put(path, {"r.zip": b"no zip"}) / "r.zip", "damaged, or not a zip"),
        (
            lambda path: put(path, {"r.zip": zipped({"a.ipynb": nb()})[:-30]}) / "r.zip",
            "damaged, or not a zip",
        ),
        (lambda path: put(path, {"r.zip": b""}) / "r.zip", "damaged, or not a zip"),
        (lambda path: put(path, {"r.zip": zipped({})}) / "r.zip", "no handed-in file"),
        (lambda path: Path("/dev/null"), "ordinary"),
    ],
)
def test_one_sentence_where_nothing_can_be_collected(tmp_path, make, says):
    with pytest.raises(CourseError, match=says) as caught:
        collect(make(tmp_path), [ONE])
    error = caught.value
    assert "\n" not in str(error) and (error.__suppress_context__ or error.__context__ is None)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "ada.ipynb")
    with pytest.raises(CourseError, match="not an ordinary file"):
        collect(tmp_path / "ada.ipynb", [ONE])
    put(tmp_path, {"bob.ipynb": nb()})
    ada, bob = collect(tmp_path, [ONE])
    assert ada.problem == "it is a pipe or a device, not a file: it was not opened" and bob.problem == ""


def test_links_are_read_only_inside_the_folder(tmp_path):
    put(
        tmp_path,
        {"secret.ipynb": nb(ex01_flops="secret"), "class/bob/x.ipynb": nb(), "elsewhere/x.ipynb": nb()},
    )
    klass = tmp_path / "class"
    for name, target in {
        "ada.ipynb": "../secret.ipynb",
        "carl.ipynb": "bob/x.ipynb",
        "bob/y.ipynb": "x.ipynb",
        "dora.ipynb": "nowhere",
        "emmy.ipynb": "emmy.ipynb",
        "fay": "../elsewhere",
        "gil": "bob",
        "hal.ipynb": "/etc/passwd",
    }.items():
        (klass / name).symlink_to(target)
    rows = {row.learner: row for row in collect(klass, [ONE])}
    assert "secret" not in repr(rows) and len(rows) == 8
    for name in ("ada", "fay", "hal"):
        assert rows[name].problem == "it is a link that leads out of the folder: it was not read"
    assert rows["dora"].problem == rows["emmy"].problem == "it is a link that leads nowhere"
    assert rows["gil"].problem == "it is a link to a folder or zip: it was not followed"
    assert rows["carl"].problem == "it is a link to another file of the class: it was not read"
    assert rows["bob"].problem == ""
    assert "2 files for this exercise" in rows["bob"].notes[-1]


def patched(data, find, replace):
    """A zip in which a field of the local and the central header is another."""
    assert find in data
    return data.replace(find, replace)


def locked():
    data = bytearray(zipped({"x.ipynb": nb()}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def linked():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("x.ipynb")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def flipped(at):
    data = bytearray(zipped({"x.ipynb": nb()}))
    data[at] ^= 0xFF
    return bytes(data)


DEFLATED = struct.pack("<H", 8)
HOSTILE_ZIPS = {
    "no zip": (b"not a zip at all", "the zip is damaged, or not a zip"),
    "cut": (zipped({"x.ipynb": nb()})[:-40], "damaged, or not a zip"),
    "empty": (zipped({}), "the zip is empty"),
    "locked": (locked(), "it is locked with a password"),
    "link": (linked(), "it is a link, not a file"),
    "damaged inside": (flipped(400), "it is damaged inside its zip"),
    "lzma": (zipped({"x.ipynb": nb()}, method=zipfile.ZIP_LZMA), r"packed by a rare method \(14\)"),
    "bomb": (zipped({"x.ipynb": b" " * (60 * 2**20)}), r"file is 60.0 MB \(limit 5 MB\)"),
    "bomb of a zip": (
        zipped({"in.zip": b" " * (60 * 2**20)}),
        r"file is 60.0 MB \(limit 50 MB\)|zip in a zip",
    ),
    "many": (zipped({f"{n}.txt": b"" for n in range(5001)}), "the zip holds more than 5,000 files"),
    "three deep": (
        zipped({"a.zip": zipped({"b.zip": zipped({"x.ipynb": nb()})})}),
        "it is a zip in a zip in a zip",
    ),
    "no notebook": (zipped({"a/report.pdf": b""}), "no notebook in it: report.pdf"),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", HOSTILE_ZIPS)
def test_a_hostile_zip_costs_its_learner_one_row(tmp_path, kind, inside):
    data, problem = HOSTILE_ZIPS[kind]
    tree = {"mallory.zip": data, "bob/x.ipynb": nb(), "zoe.ipynb": nb()}
    if inside:
        (tmp_path / "class.zip").write_bytes(zipped(tree))
    else:
        put(tmp_path / "class", tree)
    bob, mallory, zoe = collect(tmp_path / ("class.zip" if inside else "class"), [ONE])
    assert (bob.problem, zoe.problem, mallory.learner) == ("", "", "mallory")
    with_reason = pytest.raises(AssertionError, match=problem)
    with with_reason:
        raise AssertionError(mallory.problem or mallory.notes[0])


def test_the_list_of_a_zips_members_is_not_read_where_it_is_huge(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "LISTED", 1)
    monkeypatch.setattr(zipfile.ZipFile, "infolist", None)  # would be called with the whole list in memory
    monkeypatch.setattr(zips, "MEMBERS", (50, 50, 50))
    put(tmp_path / "class", {"mallory.zip": zipped({f"{n}.txt": b"" for n in range(9)}), "bob.ipynb": nb()})
    bob, mallory = collect(tmp_path / "class", [ONE])
    assert "the zip holds more than 50 files" in mallory.problem and bob.problem == ""


def test_learners_zips_are_counted_each_for_itself(tmp_path, monkeypatch):
    """A class's zip that holds stored zips holds the lists of their members, too."""
    monkeypatch.setattr(zips, "MEMBERS", (500, 50, 50))
    inner = zipped({f"{n}.txt": b"" for n in range(40)} | {"x.ipynb": nb()}, method=zipfile.ZIP_STORED)
    data = zipped({f"learner {n:02}.zip": inner for n in range(60)}, method=zipfile.ZIP_STORED)
    assert data.count(b"PK\x01\x02") > zips.MEMBERS[0]
    (tmp_path / "class.zip").write_bytes(data)
    rows = collect(tmp_path / "class.zip", [ONE])
    assert len(rows) == 60 and not any(row.problem for row in rows)


@pytest.mark.parametrize(
    "name",
    [
        "a/" * 30_000 + "x.ipynb",
        "_" * 60_000 + ".ipynb",
        "_1" * 30_000 + "_x.ipynb",
        "a_" + "1" * 60_000 + "_assignsubmission_file_x.ipynb",
        "../" * 20_000 + "x.ipynb",
    ],
)
def test_a_name_of_60000_characters_costs_little(tmp_path, name):
    """Where time grew with the square of its length, 40 of them would take minutes."""
    tree = [(name, nb())] * 40 + [("bob.ipynb", nb())]
    (tmp_path / "class.zip").write_bytes(zipped(tree))
    rows = collect(tmp_path / "class.zip", [ONE])
    assert "bob" in learners(rows) and len(rows) == 2 and all(len(row.file) <= 300 for row in rows)


def test_the_sum_that_a_zip_unpacks_to_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "UNPACKED_MB", (100, 2, 1))
    wide = nb(ex01_flops="#" * 900_000)
    tree = {"mallory.zip": zipped({f"{n}/x.ipynb": wide for n in range(4)}), "bob.ipynb": nb()}
    rows = collect(put(tmp_path / "class", tree), [ONE])
    assert learners(rows) == ["bob", "mallory"] and "4 files" in rows[1].notes[0]
    problems = [item.problem for item in files.find(tmp_path / "class", 5) if item.parts[0] == "mallory.zip"]
    assert problems == ["", "", *["its zip unpacks to more than is read: hand in the notebook alone"] * 2]
    tree["mallory.zip"] = zipped({f"{n}.zip": zipped({"x.ipynb": b" " * 10**6}) for n in range(4)})
    rows = collect(put(tmp_path / "class", tree), [ONE])
    assert learners(rows) == ["bob", "mallory"] and rows[1].problem


def test_a_folder_with_very_many_files_costs_its_learner_only(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FOLDER_FILES", 10)
    put(tmp_path, {f"ada/{n}.txt": b"" for n in range(11)} | {"bob.ipynb": nb()})
    ada, bob = collect(tmp_path, [ONE])
    assert "more than 10 files" in ada.problem and bob.problem == ""


# --- one notebook, read defensively ---------------------------------------------------------------


def sized(mb):
    return raw(nb(ex01_flops="#" * (mb * 2**20)))


UNREADABLE = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n\t\0", "the file is empty"),
    "not JSON": (b"hello", r"it is not JSON \(line 1, column 1\)"),
    "cut": (raw()[:900], "it is not JSON"),
    "latin-1": ('{"cells": "Zoë"}'.encode("latin-1"), "not UTF-8 text"),
    "binary": (bytes(range(256)), "not UTF-8 text"),
    "list": (b"[]", "its JSON is not an object"),
    "number": (b"7", "its JSON is not an object"),
    "other": (b'{"a": 1}', "it has no cells"),
    "no list": (b'{"cells": 1}', "its cells are not a list"),
    "null": (b'{"cells": null}', "its cells are not a list"),
    "no cells": (b'{"cells": []}', "it has no cells"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000, "nested too deeply"),
    "zip": (zipped({"x": b""}), "it is a zip"),
    "PDF": (b"%PDF-1.7", "it is a PDF"),
    "gzip": (b"\x1f\x8b\x08", "gzip"),
    "web page": (b"\n<!doctype html><p>", "it is a web page"),
    "large": (sized(6), r"file is 6.0 MB \(limit 5 MB\)"),
    "many cells": (json.dumps({"cells": [code("1")] * 5001}).encode(), r"it has 5,001 cells \(limit 5,000\)"),
    "cell": (b'{"cells": [1]}', "cell 1 is damaged: it is not an object"),
    "source": (
        b'{"cells": [{"cell_type": "code", "source": 1}]}',
        "cell 1 is damaged: its source is not text",
    ),
    "sources": (b'{"cells": [{"source": ["a", 1]}]}', "its source is not text"),
    "null source": (b'{"cells": [{"source": null}]}', "its source is not text"),
    "version 99": (raw(nb() | {"nbformat": 99}), "it says nbformat 99"),
    "version 2": (raw(nb() | {"nbformat": 2}), "nbformat 2"),
    "odd version": (raw(nb() | {"nbformat": [[]]}), "nbformat of a strange kind"),
    "conflict": (b'{"cells": [\n<<<<<<< HEAD\n]}', "merge conflict"),
    "large float": (b'{"cells": 1e999999}', "not a list"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_a_row_with_the_reason(tmp_path, kind):
    data, problem = UNREADABLE[kind]
    rows = collect(put(tmp_path / "class", {"mallory.ipynb": data, "bob.ipynb": nb()}), [ONE, TWO])
    assert [(row.learner, row.exercise, bool(row.problem)) for row in rows] == [
        ("bob", ONE.name, False),
        ("mallory", "", True),
    ]
    assert rows[1].sha256 == "" and rows[1].problem.isprintable()
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(rows[1].problem)
    row = one(tmp_path / "two", data, [ONE, TWO], "01_measuring_energy mallory.ipynb")
    assert (row.learner, row.exercise) == ("mallory", ONE.name)


READABLE = {
    "BOM": codecs.BOM_UTF8 + raw(),
    "UTF-16": json.dumps(nb()).encode("utf-16"),
    "spaces": b" \r\n" + raw() + b"\n\n",
    "UTF-16 BE": codecs.BOM_UTF16_BE + json.dumps(nb()).encode("utf-16-be"),
    "huge integer": raw().replace(b'"minutes": 40', b'"minutes": ' + b"9" * 100_000),
    "NaN": raw().replace(b'"minutes": 40', b'"minutes": NaN, "x": -Infinity, "y": 1e999999'),
    "no version": raw({key: value for key, value in nb().items() if not key.startswith("nbformat")}),
    "minor 99": raw(nb() | {"nbformat_minor": 99}),
    "metadata": raw(nb() | {"metadata": [1]}),
    "odd ids": raw(
        nb()
        | {
            "cells": [
                *nb()["cells"],
                code("", id=7),
                code("", metadata=3),
                code("", metadata={"nbgrader": {"grade_id": ["a"]}, "tags": 5}),
                {"cell_type": ["x"]},
                {},
            ]
        }
    ),
    "lines": raw(
        nb() | {"cells": [c | {"source": c["source"].splitlines(keepends=True)} for c in nb()["cells"]]}
    ),
    "CRLF": raw(
        nb() | {"cells": [c | {"source": c["source"].replace("\n", "\r\n") + "\r\n"} for c in nb()["cells"]]}
    ),
    "outputs": raw(
        nb()
        | {
            "cells": [
                c | {"outputs": [{"output_type": "stream"}], "execution_count": 9} for c in nb()["cells"]
            ]
        }
    ),
    "Colab": raw(
        nb()
        | {
            "nbformat_minor": 0,
            "cells": [
                {key: value for key, value in c.items() if key != "id"}
                | {"metadata": c["metadata"] | {"id": c["id"]}}
                for c in nb()["cells"]
            ],
        }
    ),
}


@pytest.mark.parametrize("kind", READABLE)
def test_what_can_be_read_is_read_and_the_same(tmp_path, kind):
    row, plain = one(tmp_path / "a", READABLE[kind]), one(tmp_path / "b", nb())
    assert (row.problem, row.notes, row.answers, row.extras) == ("", (), plain.answers, ())
    assert row.sha256 == plain.sha256


@pytest.mark.parametrize("version", [(3, 0), (4, 0), (4, 1), (4, 2), (4, 3), (4, 4), (4, 5)])
def test_all_versions_of_the_format_give_the_same(tmp_path, version):
    made = nb(ex01_flops="def matmul_flops(n, k, m):\n    return 2 * n * k * m  # ü")
    place = made["cells"].index(cell(made, "ex01_flops")) + 2
    made["cells"].insert(place, code("mine = 1", id="mine"))
    made["cells"].insert(
        0, {"cell_type": "markdown", "metadata": {}, "source": "# A title of mine", "id": "title"}
    )
    other = nbformat.from_dict(copy.deepcopy(made))
    if version[0] == 3:
        other = json.loads(nbformat.writes(nbformat.convert(other, 3), 3))
        assert "worksheets" in other
    elif version[1] < 5:
        for c in other["cells"]:
            del c["id"]
        other["nbformat_minor"] = version[1]
    row, plain = one(tmp_path / "a", raw(other)), one(tmp_path / "b", made)
    assert row.problem == "" and row.extras == (("ex01_flops_shown", "mine = 1"),)
    assert (row.sha256, row.answers, row.notes) == (plain.sha256, plain.answers, plain.notes)


def test_odd_characters_in_texts(tmp_path):
    row = one(tmp_path, raw(nb(ex01_flops="a = '\ud800'\0\r\nb = 1\rc = '\U0001f600'")))
    assert row.answers["ex01_flops"] == "a = '\ufffd'\nb = 1\nc = '\U0001f600'"
    row.answers["ex01_flops"].encode("utf-8")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * (5 * 2**20),
        b'{"a":' * 2**20,
        b'{"cells": [' + b"{}," * 800_000 + b"{}]}",
        json.dumps({"cells": [{"cell_type": "code", "source": "x"}] * 100_000}).encode(),
        b'{"cells": ' + b"9" * (5 * 2**20 - 20) + b"}",
        b'{"cells": [{"source": "' + b"\\ud800" * 400_000 + b'"}]}',
        json.dumps({"cells": [code("\n" * 900, id="ex01_flops")] * 4_900}).encode(),
        json.dumps({"cells": [code("# NBVAL_SKIP\n" * 150_000, id="ex01_flops")]}).encode(),
        json.dumps(
            {"cells": [code("import a\n" * 400_000, id=RELEASED[ONE.name]["cells"][2]["id"])]}
        ).encode(),
    ],
    ids=range(9),
)
def test_the_worst_files_cost_little(tmp_path, data):
    """Memory stays bounded; where time grew with the square of a size, this test would not come to an end."""
    assert len(data) < 10 * 2**20
    tracemalloc.start()
    try:
        one(tmp_path, data, max_mb=10)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert peak < 600


# --- answers, checks, extras ----------------------------------------------------------------------


def known(exercise=ONE):
    return notebook.Known(exercise)


def reduced(made):
    return known().reduce(read_notebook(raw(made))[0])


def test_an_answer_is_found_by_its_grade_id_then_by_its_cell_id():
    made = nb(ex01_flops="by grade id", ex01_interval="by id", ex01_sampled="grade id wins")
    cell(made, "ex01_flops")["id"] = "another"
    cell(made, "ex01_interval")["metadata"] = {}
    cell(made, "ex01_sampled")["id"] = "ex01_counter_shown"
    answers, _, _ = reduced(made)
    assert [answers[name] for name in ("ex01_flops", "ex01_interval", "ex01_sampled")] == [
        "by grade id",
        "by id",
        "grade id wins",
    ]


def test_the_last_of_several_answers_counts_and_the_others_run_before_it():
    made = nb(ex01_flops="first = 1")
    at = made["cells"].index(cell(made, "ex01_flops"))
    made["cells"][at + 1 : at + 1] = [
        cell(made, "ex01_flops") | {"id": "n1", "source": "second = 2"},
        cell(made, "ex01_flops") | {"id": "n2", "source": "second = 2"},
    ]
    answers, extras, notes = reduced(made)
    assert answers["ex01_flops"] == "second = 2"
    assert notes == ["answer cell 'ex01_flops' appears 3 times, the last one is graded"]
    assert extras == ((made["cells"][at - 1]["id"], "first = 1"),)


SOLVED = {
    c["metadata"]["nbgrader"]["grade_id"]: c["source"].replace("    ### BEGIN SOLUTION\n", "").replace(
        "    ### END SOLUTION", "")
    for exercise in (ONE, TWO) for c in exercise.cells if c["metadata"].get("nbgrader", {}).get("solution")
}  # fmt: skip


def where(sequence, part):
    (index,) = [index for index, text in enumerate(sequence) if part in text]
    return index


def run_order(made, exercise=ONE):
    """The texts of all cells that would be run for a notebook, in order, and its reduced form."""
    answers, extras, notes = found = known(exercise).reduce(read_notebook(raw(made))[0])
    submission = intake.Submission("a", exercise.name, "f", answers=answers, extras=extras, notes=tuple(notes))
    return [c["source"] for c in engine.merge(exercise, submission)], found


@pytest.mark.parametrize("text, why", [
    ("def sampled_joules(watts, dt)\n    return 1", "expected ':' (line 1)"),
    ("def sampled_joules(watts, dt):\nreturn 1", "expected an indented block after function definition on line 1 (line 2)"),
    ("%time x = 1\ndef f(:", ""), ("x = !ls", ""), ("sum?", ""), ("(" * 5000, None), ("'\\d'\nawait x", ""), ("x = 5 % 3", ""),
])
def test_an_answer_that_python_cannot_read_is_told_so_beside_its_check(text, why):
    _, (answers, _, notes) = run_order(nb(ex01_sampled=text))
    assert answers["ex01_sampled"] == text
    if why is not None:
        assert notes == ([f"answer cell 'ex01_sampled' is no Python that can be read: {why}"] if why else [])


def test_an_answer_pasted_into_a_new_cell_is_the_answer():
    made = nb(**{name: text for name, text in SOLVED.items() if name.startswith("ex01")})
    made["cells"].remove(cell(made, "ex01_sampled"))
    made["cells"] += [
        code("def other():\n    sampled_joules = 1", id="n1"),  # not at top level
        code('"""\ndef sampled_joules(): pass\n"""', id="n2"),
        code("%matplotlib inline\n# mine\n" + SOLVED["ex01_sampled"], id="n3"),
        code("sampled_joules([1.0, 2.0], 1)", id="n4"),
    ]
    texts, (answers, extras, notes) = run_order(made)
    assert notes == ["answer cell 'ex01_sampled' is missing: your cell that defines sampled_joules is graded"]
    assert answers["ex01_sampled"].startswith("%matplotlib inline\n# mine\ndef sampled_joules(watts, dt)")
    assert [text[:9] for _, text in extras] == ["def other", '"""\ndef s', "sampled_j"]
    assert not any("NotImplementedError" in text for text in texts)
    assert where(texts, "# mine") < where(texts, "rounded(constant=")


@pytest.mark.parametrize("text", [
    "async def sampled_joules(a, b):\n    pass",
    "class sampled_joules:\n    pass",
    "sampled_joules = lambda watts, dt: 1",
    "one, (sampled_joules, two) = 1, (2, 3)",
    "sampled_joules: object = 1",
    "%%time\nsampled_joules = 1",
    "for n in range(2):\n    !ls\nsampled_joules = 1",
])  # fmt: skip
def test_all_ways_to_make_a_name_are_seen(text):
    made = nb()
    made["cells"].remove(cell(made, "ex01_sampled"))
    made["cells"].append(code(text, id="n"))
    answers, extras, _ = reduced(made)
    assert answers["ex01_sampled"] == text and extras == ()


@pytest.mark.parametrize("text", [
    "sampled_joules == 1",
    "sampled_joules: object",
    "sampled_joules.x = sampled_joules[0] = 1",
    "%%writefile x.py\nsampled_joules = 1",
    "%%timeit\nsampled_joules = 1",
    "sampled_joules = (",
    "sampled_joules = " + "(" * 10_000 + "1" + ")" * 10_000,
    "sampled_joules = " + "-" * 100_000 + "1",
    "#" * 300_000 + "\nsampled_joules = 1",
])  # fmt: skip
def test_what_makes_no_such_name_is_no_answer(text):
    made = nb()
    made["cells"].remove(cell(made, "ex01_sampled"))
    made["cells"].append(code(text, id="n"))
    answers, _, notes = reduced(made)
    assert "ex01_sampled" not in answers and notes[0] == "answer cell 'ex01_sampled' is missing"


def test_the_last_of_several_pasted_versions_counts_and_drafts_run_before_it():
    made = nb()
    for name in ("ex01_flops", "ex01_sampled"):
        made["cells"].remove(cell(made, name))
    both = "def matmul_flops(n, k, m):\n    return 1  # both\ndef sampled_joules(w, dt):\n    return 1"
    made["cells"] += [
        code("def sampled_joules(w, dt):\n    return 0  # draft", id="n1"),
        code(both, id="n2"),
        code("def matmul_flops(n, k, m):\n    return 2  # final", id="n3"),
    ]
    texts, (answers, extras, _) = run_order(made)
    assert "# final" in answers["ex01_flops"] and "# both" not in answers["ex01_flops"]
    # What stands last for each name in the notebook is what is defined when the hidden checks run.
    space = {}
    for text in texts:
        if text.startswith(("def sampled_joules", "def matmul_flops")):
            exec(text, space)  # noqa: S102 - written above
    assert space["matmul_flops"](1, 1, 1) == 2 and space["sampled_joules"]([], 1) == 1
    assert where(texts, "# draft") < where(texts, "rounded(constant=") and len(extras) == 1


@pytest.mark.parametrize("exercise", [ONE, TWO])
@pytest.mark.parametrize("name", ["ada.ipynb", "my work.ipynb"])
def test_a_notebook_that_lost_all_names_is_graded_by_what_it_defines(tmp_path, exercise, name):
    mine = {answer: text for answer, text in SOLVED.items() if answer in exercise.answers}
    row = one(tmp_path, bare(nb(exercise, **mine)), (ONE, TWO), name)
    assert (row.exercise, row.problem, row.extras) == (exercise.name, "", ())
    assert {answer: text.strip() for answer, text in row.answers.items()} == {
        answer: text.strip() for answer, text in mine.items()
    }
    assert all("your cell that defines" in note for note in row.notes) and len(row.notes) == 5


@pytest.mark.parametrize("name", ["ada.ipynb", "ada_01_measuring_energy.ipynb"])
def test_a_notebook_without_names_and_answers_is_for_a_person_to_look_at(tmp_path, name):
    made = bare(nb(**dict.fromkeys(ONE.answers, "print('gone')")))
    row = one(tmp_path, made, (ONE, TWO), name)
    assert (row.exercise, row.answers) == (ONE.name, {})
    assert row.problem == (
        "none of the 5 answer cells can be recognised: the notebook was saved by a tool that drops their names; "
        "look at it by hand"
    )


def test_a_notebook_that_kept_the_checks_names_is_graded_though_all_answers_are_gone(tmp_path):
    made = nb()
    made["cells"] = [c for c in made["cells"] if c["id"] not in ONE.answers]
    row = one(tmp_path, made, (ONE, TWO))
    assert (row.exercise, row.problem, len(row.notes)) == (ONE.name, "", 5)


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_an_answer_of_another_type_or_none_is_missing(kind):
    made = nb()
    cell(made, "ex01_flops")["cell_type"] = kind
    made["cells"].remove(cell(made, "ex01_interval"))
    answers, extras, notes = reduced(made)
    assert notes == [
        f"answer cell 'ex01_flops' is missing: it was turned into a {kind} cell",
        "answer cell 'ex01_interval' is missing",
    ]
    assert "ex01_flops" not in answers and "ex01_interval" not in answers and extras == ()


def test_notes_on_given_and_check_cells():
    made = nb()
    check, given, setup = cell(made, "ex01_flops_shown"), made["cells"][2], made["cells"][1]
    check["source"] += "  \n\n"  # blanks are no edit
    assert reduced(made)[2] == []
    check["source"], check["metadata"]["nbgrader"]["points"] = "rounded(1)", 1000
    given["source"] = (
        "import math\nimport numpy as np\nfrom os import (\n path)\n%load x\nx = 1\nfrom json import loads"
    )
    setup["source"] = "import course_lib"
    made["cells"].remove(cell(made, "ex01_interval_shown"))
    cell(made, "ex01_counter_shown")["cell_type"] = "raw"
    answers, extras, notes = reduced(made)
    assert notes == [
        (
            "the given cell that begins `import math` was edited, the original is used "
            "(and the imports that were added to it)"
        ),
        "check cell 'ex01_flops_shown' was edited, the original is used",
        "check cell 'ex01_interval_shown' was missing, the original is used",
        "check cell 'ex01_counter_shown' was edited, the original is used",
    ]
    assert extras == ((given["id"], "import numpy as np\nfrom json import loads"),) and len(answers) == 5


def test_hidden_checks_in_a_submission_are_ignored_in_silence():
    hidden = [check.id for check in ONE.checks if check.hidden]
    made = nb()
    made["cells"] += [
        code("print('forged')", id=name, metadata={"nbgrader": {"grade_id": name, "grade": True}})
        for name in hidden
    ] + [code("after", id="z")]
    answers, extras, notes = reduced(made)
    assert (
        notes == []
        and hidden
        and extras == ((made["cells"][len(RELEASED[ONE.name]["cells"]) - 1]["id"], "after"),)
    )
    assert set(answers) == set(ONE.answers)


def test_extras_and_their_places():
    made = nb()
    at = made["cells"].index(cell(made, "ex01_flops"))
    check_again = next(c for c in made["cells"] if c["source"] == 'check("ex01_flops_shown")')
    made["cells"][at + 1 : at + 1] = [
        code("one = 1", id="n1"),
        code("  \n", id="n2"),
        code("two = 2", id="n3"),
        {"cell_type": "markdown", "source": "text", "metadata": {}, "id": "n4"},
    ]
    made["cells"].insert(0, code("top = 0", id="n0"))
    made["cells"] += [
        check_again | {"id": "n5"},
        code("# NBVAL_SKIP\nend = 3", id="n6"),
        code("#NBVAL_SKIP", id="n7"),
    ]
    _, extras, notes = reduced(made)
    assert extras == (
        (None, "top = 0"),
        ("ex01_flops", "one = 1"),
        ("ex01_flops", "two = 2"),
        (RELEASED[ONE.name]["cells"][-1]["id"], "\nend = 3"),
    )
    assert notes == []


def test_extras_have_limits():
    made = nb()
    made["cells"] += [code(f"x = {n}", id=f"n{n}") for n in range(600)] + [code("é" * 100_001, id="long")]
    _, extras, notes = reduced(made)
    assert len(extras) == 500 and extras[-1][1] == "x = 499"
    assert notes == [
        "1 cell(s) of your own with more than 200 kB of text are left out",
        "of your own 600 cells all after the first 500 are left out",
    ]


def test_moved_and_cleared_cells_change_no_answer():
    made, plain = nb(ex01_flops="a = 1"), nb(ex01_flops="a = 1")
    random.Random(1).shuffle(made["cells"])
    assert reduced(made)[0] == reduced(plain)[0] and reduced(made)[2] == []


MARKED = [
    "# NBVAL_SKIP",
    "#NBVAL_IGNORE_OUTPUT",
    "   ### NBVAL_RAISES_EXCEPTION  ",
    "# PYTEST_VALIDATE_IGNORE_OUTPUT",
    "\t#\tNBVAL_CHECK_OUTPUT",
    "# nbval_skip",
]


@pytest.mark.parametrize("between", ["\n", "\x0c", "\u2028", "\x1c", "\x85", "\r"])
@pytest.mark.parametrize("line", MARKED)
def test_no_marker_of_nbval_is_left_in_an_answer(line, between):
    from nbval.plugin import find_comment_markers

    text = f"a = 1{between}{line}\nb = '{line}'"
    assert list(find_comment_markers(text)) or line.islower()
    left = unmarked(text)
    assert (
        not list(find_comment_markers(left)) and left.endswith(f"\nb = '{line}'") and left.startswith("a = 1")
    )
    assert left.count("\n") == text.count("\n")  # lines keep their numbers
    made = nb(ex01_flops=text)
    assert not list(find_comment_markers(reduced(made)[0]["ex01_flops"]))


def test_all_markers_of_nbval_are_known_here():
    from nbval.plugin import comment_markers

    assert all(unmarked(f"# {name}") == "" for name in comment_markers)
    for kept in ("x = 1  # NBVAL_SKIP", "# NBVAL_SKIP please", "'# NBVAL_SKIP'", "# see NBVAL_SKIP"):
        assert unmarked(kept) == kept


# --- nothing raises, nothing is lost --------------------------------------------------------------


def spots(value, path=()):
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from spots(inner, (*path, key))


ODD = [
    None,
    True,
    0,
    -1,
    1e308,
    "",
    "x",
    [],
    {},
    [[]],
    {"a": 1},
    ["a"],
    "\ud800",
    "ex01_flops",
    10**30,
    [None],
]


def corrupted(rng, exercise):
    """A release with something broken in it: bytes, its end, or types in its JSON."""
    kind = rng.randrange(5)
    data = bytearray(raw(nb(exercise)))
    if kind == 0:
        for _ in range(rng.randint(1, 40)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        begin = rng.randrange(len(data))
        del data[begin : begin + rng.randint(1, 2000)]
    else:
        made = nb(exercise)
        for _ in range(rng.randint(1, 8)):
            path = rng.choice([p for p in spots(made) if p])
            place = made
            for key in path[:-1]:
                place = place[key]
            if rng.random() < 0.3:
                del place[path[-1]]
            else:
                place[path[-1]] = copy.deepcopy(rng.choice(ODD))
        data = raw(made)
    return bytes(data)


@pytest.mark.parametrize("layout", ["flat", "folders", "moodle zip"])
def test_300_random_corruptions_give_a_row_each(tmp_path, layout):
    rng = random.Random(layout)
    where = {
        "flat": "{}.ipynb",
        "folders": "{}/work.ipynb",
        "moodle zip": "{}_7{}_assignsubmission_file_/w.ipynb",
    }[layout]
    tree = {where.format(f"learner {n:03}", n): corrupted(rng, rng.choice([ONE, TWO])) for n in range(300)}
    if layout == "moodle zip":
        path = tmp_path / "class.zip"
        path.write_bytes(zipped(tree))
    else:
        path = put(tmp_path / "class", tree)
    for exercises in ([ONE, TWO], [ONE]):
        rows = collect(path, exercises)
        assert learners(rows) == [f"learner {n:03}" for n in range(300)]
        assert all(row.problem or row.sha256 for row in rows)
        assert all(
            row.problem.isprintable() and not row.problem.startswith("it cannot be read (") for row in rows
        )
        assert sum(not row.problem for row in rows) > 20 < sum(bool(row.problem) for row in rows)
        for row in rows:
            json.dumps([row.answers, row.extras, row.notes], ensure_ascii=False).encode("utf-8")


def test_200_random_corruptions_of_a_zip_never_raise_but_as_one_sentence(tmp_path):
    rng, good = random.Random(3), zipped({f"learner{n}/x.ipynb": nb() for n in range(3)})
    (tmp_path / "class").mkdir()
    put(tmp_path / "class", {"bob.ipynb": nb()})
    for n in range(200):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            # mostly in the directory at the end, where a byte matters most
            at = rng.randrange(len(data)) if rng.random() < 0.3 else len(data) - 1 - rng.randrange(300)
            data[at] = rng.randrange(256)
        data = bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)
        (tmp_path / "class" / "mallory.zip").write_bytes(data)
        rows = collect(tmp_path / "class", [ONE])
        assert {"bob", "mallory"} <= set(learners(rows)), n
        try:
            collect(tmp_path / "class" / "mallory.zip", [ONE])
        except CourseError as error:
            assert "\n" not in str(error)


def test_a_fault_of_the_reader_costs_one_row(tmp_path, monkeypatch):
    def fail(data, max_mb):
        if b"mallory" in data:
            raise KeyError("a bug")
        return read_notebook(data, max_mb)

    monkeypatch.setattr(intake, "read_notebook", fail)
    rows = collect(put(tmp_path / "c", {"bob.ipynb": nb(), "m.ipynb": nb(ex01_flops="mallory")}), [ONE])
    assert [row.problem for row in rows] == ["", "it cannot be read (KeyError)"]


def test_rows_are_sorted_and_the_same_again(tmp_path):
    tree = {
        f"{name}/{exercise.name}.ipynb": nb(exercise)
        for name in ("Zoë", "ada", "Bob")
        for exercise in (TWO, ONE)
    }
    rows = collect(put(tmp_path / "class", tree), [TWO, ONE])
    assert [(row.learner, row.exercise) for row in rows] == [
        (name, exercise.name) for name in ("ada", "Bob", "Zoë") for exercise in (ONE, TWO)
    ]
    assert rows == collect(tmp_path / "class", [TWO, ONE])
    (tmp_path / "class" / "grades.csv").write_text("x")
    assert rows == collect(tmp_path / "class", [TWO, ONE], ignore=("grades.csv",))


def test_what_is_kept_goes_where_it_stood_when_it_is_run(tmp_path):
    made = nb()
    at = made["cells"].index(cell(made, "ex01_interval"))
    made["cells"][at:at] = [code("helper = 1", id="n1")]
    made["cells"] += [code("end = 1", id="n2")]
    run = engine.merge(ONE, one(tmp_path, made))
    at = {c["source"] if c["role"] == "extra" else c["id"]: index for index, c in enumerate(run)}
    assert at["ex01_flops_shown"] < at["helper = 1"] < at["ex01_interval"]
    assert at["end = 1"] > max(at[check.id] for check in ONE.checks if not check.hidden)


def test_other_limits_and_read_notebook_itself():
    with pytest.raises(Unreadable, match=r"file is 2.0 MB \(limit 1 MB\)"):
        read_notebook(b" " * 2**21, 1)
    cells, metadata = read_notebook(raw())
    assert len(cells) == len(RELEASED[ONE.name]["cells"]) and metadata["course"]["exercise"] == "01"
    assert names.clean("a" * 300) == "a" * 199 + "\u2026"
