"""What the instructor gets: the CSV, the summary, the picture, and the files for Canvas and Moodle."""

import csv
import io
import itertools
import random
from pathlib import Path

import pytest

from course_lib.classroom import CourseError
from course_lib.classroom.grading import exports, gradebook, model, texts
from course_lib.classroom.grading.model import Check, Exercise, Result

PNG = b"\x89PNG\r\n\x1a\n"


def exercise(name="01_energy", title="Energy", tasks=2, points=(1, 2)):
    checks = [
        Check(f"{name}_t{n}_{'unseen' if hidden else 'shown'}", points[hidden], hidden, f"{name}_t{n}")
        for n in range(1, tasks + 1)
        for hidden in (False, True)
    ]
    return Exercise(name, title, "0" * 64, tuple(checks), tuple(f"{name}_t{n}" for n in range(1, tasks + 1)))


def graded(learner, of, right=(), **more):
    """A graded result; `right` holds the numbers of the checks that are right."""
    checks = {
        check.id: {
            "outcome": model.RIGHT if i in right else model.WRONG,
            "points": check.points * (i in right),
            "max": check.points,
            "got": None,
            "reason": None,
        }
        for i, check in enumerate(of.checks)
    }
    return Result(
        learner, of.name, more.pop("file", f"{learner}/{of.name}.ipynb"), model.GRADED, checks=checks, **more
    )


def table(path):
    return list(csv.reader(io.StringIO(Path(path).read_bytes().decode("utf-8-sig"), newline="")))


# ---- grades.csv


def test_the_csv_has_a_line_per_result_and_a_column_per_check(tmp_path):
    one, two = exercise(), exercise("02_flops", points=(0.5, 1.25))
    results = [
        graded("zoe", two, {0, 1}),
        graded("Émile", one, {0, 3}, lms_id="77", notes=["a note"]),
        Result("Bo", one.name, "bo.ipynb", model.BROKEN, problem="not JSON"),
        Result("Bo", two.name, "", model.MISSING),
        Result("Al", one.name, "al.ipynb", model.FAILED, problem="worker lost"),
    ]
    gradebook.write_csv(results, [one, two], tmp_path / "grades.csv")
    assert (
        (tmp_path / "grades.csv")
        .read_bytes()
        .startswith(b"\xef\xbb\xbflearner,id,exercise,score,max,percent,")
    )
    header, *rows = table(tmp_path / "grades.csv")
    assert header == [*gradebook.COLUMNS, *(check.id for check in one.checks + two.checks)]
    assert [row[:9] for row in rows] == [
        ["Al", "", "01_energy", "", "6", "", "failed", "worker lost", "al.ipynb"],
        ["Bo", "", "01_energy", "0", "6", "0.0", "broken", "not JSON", "bo.ipynb"],
        ["Bo", "", "02_flops", "0", "3.5", "0.0", "missing", "", ""],
        ["zoe", "", "02_flops", "1.75", "3.5", "50.0", "graded", "", "zoe/02_flops.ipynb"],
        ["Émile", "77", "01_energy", "3", "6", "50.0", "graded", "a note", "Émile/01_energy.ipynb"],
    ]
    assert [row[9:] for row in rows] == [
        [""] * 8,
        ["0"] * 4 + [""] * 4,
        [""] * 4 + ["0"] * 4,
        [""] * 4 + ["0.5", "1.25", "0", "0"],
        ["1", "0", "0", "2"] + [""] * 4,
    ]


def test_equal_results_in_any_order_give_equal_bytes(tmp_path):
    one = exercise()
    results = [
        graded(name, one, {i}, seconds=random.random(), file=f"{i}")
        for i, name in enumerate(["b", "B", "a", "ä", "b", "Z"])
    ]
    seen = set()
    for order in itertools.islice(itertools.permutations(results), 0, 720, 60):
        gradebook.write_csv(order, [one], tmp_path / "g.csv")
        seen.add((tmp_path / "g.csv").read_bytes())
    assert len(seen) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.csv"]  # the temporary file is gone


HOSTILE = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-1+2",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "'=1",
    "''",
    "＝1",
    'a,b"c;d',
    "line\nbreak\r\n=2",
    "nul\x00nul",
    "O'Neill",
    "half \ud800 pair",
    "x" * 50_000,
    "",
    "Zoë 李 عمر",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_field_of_a_learner_is_a_formula_or_breaks_the_table(tmp_path, text):
    one = exercise()
    result = graded(text, one, {0}, lms_id=text, notes=[text, text], file=text)
    gradebook.write_csv([result, graded("next", one)], [one], tmp_path / "g.csv")
    rows = table(tmp_path / "g.csv")
    assert len(rows) == 3
    assert {len(row) for row in rows} == {9 + 4}
    for field in itertools.chain(*rows):
        assert field.lstrip(" ")[:1] not in tuple("=+-@\t\r＝") and len(field) < 5000
        assert "\n" not in field and "\x00" not in field and "\r" not in field
    back = next(row for row in gradebook.read_csv(tmp_path / "g.csv") if row["learner"] != "next")
    if len(text) < 4000 and not set(text) & set("\r\n\x00\ud800"):
        assert (back["learner"], back["id"], back["file"]) == (text, text, text)
    assert back["score"] == 1 and back["max"] == 6 and back["percent"] == pytest.approx(16.7)


def test_grades_saved_again_by_a_spreadsheet_are_read(tmp_path):
    one = exercise(points=(0.5, 1))
    gradebook.write_csv([graded("a", one, {0})], [one], tmp_path / "g.csv")
    rows = table(tmp_path / "g.csv")
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows([field.replace("0.5", "0,5") for field in row] for row in rows)
    (tmp_path / "again.csv").write_text(text.getvalue() + "\n;;;\n", encoding="utf-8")
    assert gradebook.read_csv(tmp_path / "again.csv")[0]["score"] == 0.5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\xff\xfe\x00g", "not UTF-8"),
        (b"a,b\n1,2\n", "no list of grades"),
        (b'learner,id,"' + b"x" * 200_000, "not a CSV table"),
    ],
)
def test_another_file_than_grades_is_said_in_one_sentence(tmp_path, data, words):
    if data is not None:
        (tmp_path / "g.csv").write_bytes(data)
    with pytest.raises(CourseError, match=words) as raised:
        gradebook.read_csv(tmp_path / "g.csv")
    assert "\n" not in str(raised.value) and raised.value.__cause__ is None


def test_what_cannot_be_written_raises_and_keeps_the_old_file(tmp_path):
    one, path = exercise(), tmp_path / "g.csv"
    path.mkdir()  # nothing can take the place of a folder
    for write in (gradebook.write_csv, gradebook.picture):
        with pytest.raises(OSError):
            write([graded("a", one)], [one], path)
        with pytest.raises(OSError):
            write([graded("a", one)], [one], tmp_path / "no folder" / "g.csv")
    assert list(tmp_path.iterdir()) == [path]


# ---- texts of others


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://a\x1b\\x", "x"),
        ("\x9b2Jx", "x"),
        ("a\u202etxt", "a⟨U+202E⟩txt"),
        ("a\x00b", "a⟨U+0000⟩b"),
        ("a\rb", "a⟨U+000D⟩b"),
        ("a\r\nb\tc", "a\nb\tc"),
        ("z\u200bw", "z⟨U+200B⟩w"),
        ("\ud800", "⟨U+D800⟩"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
        ("\x1b[" + "1" * 50, ""),
    ],
)
def test_texts_of_others_are_shown_and_obey_no_terminal(text, shown):
    assert texts.readable(text) == shown


def test_long_texts_are_shortened_in_the_middle():
    assert texts.one_line("a" * 40, 13) == "aaaaaaa...aaa"
    assert texts.one_line("李" * 40, 13) == "李李李李...李"
    assert texts.one_line("short", 13) == "short"
    assert len(texts.readable("x" * 10**6)) <= 20_000


# ---- the summary


def test_the_summary_counts_hand_ins_scores_and_checks():
    one = exercise()
    results = [
        graded("a", one, {0, 1, 2, 3}),
        graded("b", one, {0, 2}),
        graded("c", one, {0}),
        Result("d", one.name, "d", model.BROKEN, problem="file is 6.0 MB"),
        Result("e", one.name, "e", model.FAILED, problem="worker lost"),
        Result("f", one.name, "", model.MISSING),
        Result("g", "", "g.pdf", model.BROKEN, problem="a pdf"),
    ]
    lines = gradebook.summary(results, [one]).splitlines()
    assert lines == [
        "01_energy: Energy, 6 points",
        "  5 handed in (3 graded, 1 broken, 1 failed by fault of the grader), 1 missing",
        "    d: file is 6.0 MB",
        "    e: worker lost",
        "  Score of the graded: mean 3.0 (50 %), median 2.0 (33 %), lowest 1, highest 6",
        "  check                         points  right  share of the 3 graded",
        "  01_energy_t1_shown                 1      3  100 % |####################|",
        "  01_energy_t1_unseen (hidden)       2      1   33 % |#######             |",
        "  01_energy_t2_shown                 1      2   67 % |#############       |",
        "  01_energy_t2_unseen (hidden)       2      1   33 % |#######             |",
        "  Lowest: 01_energy_t1_unseen (1) and 01_energy_t2_unseen (1)",
        "",
        "1 hand-in of none of these exercises:",
        "    g: a pdf",
    ]


def test_the_summary_of_nobody_and_of_all_right():
    one = exercise()
    assert "No notebook was graded" in gradebook.summary([], [one])
    assert "Every check was right in every notebook" in gradebook.summary(
        [graded("a", one, {0, 1, 2, 3})], [one]
    )
    assert gradebook.summary([], []) == ""


def test_the_summary_says_how_many_checks_tie_for_the_lowest():
    one = exercise(points=(1, 1))
    ids = [check.id for check in one.checks]
    for right, words in (((), f"Lowest: {ids[0]} (0) and {ids[1]} (0), and 2 more with as few"),
                         ((0,), f"Lowest: {ids[1]} (0) and {ids[2]} (0), and 1 more with as few"),
                         ((0, 1), f"Lowest: {ids[2]} (0) and {ids[3]} (0)"),
                         ((0, 1, 2), f"Lowest: {ids[3]} (0)"),
                         ((0, 1, 2, 3), "Every check was right in every notebook.")):
        text = gradebook.summary([graded("ada", one, right)], [one])
        assert " ".join(text.split()).endswith(words), text


def test_a_reason_is_whole_or_ends_between_words():
    one = exercise()
    for count in (20, 60):
        reason = " ".join(f"word{number}" for number in range(count))
        text = gradebook.summary([Result("ada", one.name, "", model.BROKEN, problem=reason)], [one])
        assert max(map(len, text.splitlines())) <= 96
        said = " ".join(text.split()).partition("ada: ")[2].partition(" No notebook")[0]
        if len(reason) <= 200:
            assert said == reason
        else:
            assert said.endswith(" ...") and said[:-4] + " " in reason and 180 < len(said) <= 200


def test_the_summary_is_narrow_and_obeys_no_name():
    long = exercise("very_long_name_" * 10, "A title that goes on " * 20, points=(1.25, 1000))
    bad = "\x1b[2J\u202e" + "李" * 200
    results = [graded(bad, long)] + [Result(bad, long.name, bad, model.BROKEN, problem=bad)] * 20
    text = gradebook.summary([*results, Result(bad, "", bad, model.BROKEN, problem=bad)], [long])
    assert max(map(texts._columns, text.splitlines())) <= 100
    assert "\x1b" not in text and "\u202e" not in text and "15 more" in text


# ---- the picture


def spread(n, of, seed=0):
    dice = random.Random(seed)
    return [
        graded(f"Learner {i}", of, {j for j in range(len(of.checks)) if dice.random() < 0.6})
        for i in range(n)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("learners", "exercises"), [(0, 1), (1, 1), (12, 2), (300, 7)])
def test_the_picture_holds_its_own_words(tmp_path, learners, exercises):
    from PIL import Image

    some = [exercise(f"{n:02d}_energy", tasks=n % 5 + 1) for n in range(1, exercises + 1)]
    results = [result for one in some for result in spread(learners, one)]
    alt = gradebook.picture(results, some, tmp_path / "class.png")
    first = (tmp_path / "class.png").read_bytes()
    assert first.startswith(PNG)
    with Image.open(tmp_path / "class.png") as image:
        assert image.text["Description"] == alt and image.width > 600
    for one in some:
        assert one.name in alt
    if exercises == 2:  # equal results, equal bytes
        assert gradebook.picture(results[::-1], some, tmp_path / "class.png") == alt
        assert (tmp_path / "class.png").read_bytes() == first


def test_the_pictures_words_are_computed(tmp_path):
    one = exercise()
    results = [graded("a", one, {0, 1}), graded("b", one, {0}), graded("c", one, {0, 2})]
    alt = gradebook.picture(results, [one], tmp_path / "p.png")
    assert (
        "3 learners graded: mean 2.0 and median 2 of 6 points; fewest got 01_energy_t2_unseen (0), most got "
        "01_energy_t1_shown (3)." in alt
    )


@pytest.mark.parametrize("points", [(0, 0), (0.5, 0.25), (10, 90), (1, 2)])
def test_odd_points_and_names_are_drawn_as_they_are(tmp_path, points):
    odd = exercise("$\\frac$ <b> %s {0}", "$\\frac$", points=points)
    gradebook.picture(spread(5, odd), [odd], tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 5000


# ---- Canvas and Moodle

CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,Exercise 1: Energy (501),Essay (502),Final Score
,,,,,Manual Posting,,
    Points Possible,,,,,100.00,20,(read only)
"Lovelace, Ada",11,S11,ada@uni.edu,A,,17,85
"Ćwikła, Zoë",12,S12,zc@uni.edu,A,50,12,60
"O'Neill, Bo",13,S13,boneill,A,N/A,,0
"Li, Anna",14,S14,al1,A,7,,0
"Li, Anna",15,S15,al2,B,8,,0
"Student, Test",99,,tester,A,,,
"""
MOODLE = """\ufeffIdentifier,Full name,Email address,Status,Grade,Maximum grade,Grade can be changed,\
Last modified (submission),Last modified (grade),Feedback comments
Participant 901,Ada Lovelace,ada@uni.edu,Submitted,,"10,00",Yes,-,-,
Participant 902,Zoë Ćwikła,zc@uni.edu,Submitted,"3,50","10,00",Yes,-,-,well
Participant 903,Bo O'Neill,bo@uni.edu,Submitted,,"10,00",No,-,-,
"""


@pytest.fixture
def exported(tmp_path):
    """exported(results, template text or None, kind, ...) -> (rows of the file written, sentences)."""
    one, two = exercise(), exercise("02_flops")

    def run(results, template, kind="canvas", **more):
        gradebook.write_csv(
            results(one, two) if callable(results) else results, [one, two], tmp_path / "g.csv"
        )
        if template is not None:
            (tmp_path / "t.csv").write_text(template, encoding="utf-8")
        said = exports.export(
            tmp_path / "g.csv",
            None if template is None else tmp_path / "t.csv",
            kind,
            tmp_path / "out.csv",
            say=lambda sentence: None,
            **more,
        )
        return table(tmp_path / "out.csv"), said

    return run


def test_canvas_gets_the_graded_column_and_keeps_the_grades_of_others(exported):
    rows, said = exported(
        lambda one, two: [
            graded("whoever", one, {0, 1}, lms_id="11"),  # by number, whatever the name
            graded("ZOE CWIKLA", one, {0}),  # by name: accents, case and order aside
            graded("bo oneill", one, {0}),
            graded("Anna Li", one, {0}),
            graded("Nobody", one, {0}),
        ],
        CANVAS,
    )
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Exercise 1: Energy (501)"]
    assert [row[-1] for row in rows[1:]] == ["Manual Posting", "100.00", "50", "16.67", "N/A", "7", "8", ""]
    assert rows[3][:5] == ["Lovelace, Ada", "11", "S11", "ada@uni.edu", "A"]
    text = "\n".join(said)
    assert "2 grades of 01_energy written into the column 'Exercise 1: Energy (501)'" in text
    assert "scaled: 6 points here are 100 there" in text
    assert "replaced: ZOE CWIKLA 50 -> 16.67" in said
    assert "does not have this assignment: bo oneill" in text
    assert "because no row of the template fits: Nobody" in text
    assert "several rows fit, or several learners fit one row: Anna Li" in text
    assert "3 rows of the template" in text


def test_names_written_together_and_logins_are_found(exported):
    rows, _ = exported(
        lambda one, two: [
            graded("lovelaceada", one, {0, 1, 2, 3}),
            graded("al1", one, {0, 1, 2, 3}),
            graded("ZC", one),
        ],
        CANVAS,
    )
    assert [row[-1] for row in rows[3:]] == ["100", "0", "N/A", "100", "8", ""]


def test_two_learners_for_one_row_are_listed_unless_a_number_decides(exported):
    rows, said = exported(
        lambda one, two: [
            graded("Ada Lovelace", one, {0}),
            graded("ada", one, {0, 1}),
            graded("zc", one, {0, 1}, lms_id="12"),
            graded("zoe cwikla", one),
        ],
        CANVAS,
    )
    assert [row[-1] for row in rows[3:5]] == ["", "50"]
    assert "several rows fit, or several learners fit one row: ada; Ada Lovelace; zoe cwikla" in "\n".join(
        said
    )


def test_what_was_not_graded_is_not_exported(exported):
    rows, said = exported(
        lambda one, two: [
            Result("Ada Lovelace", one.name, "", model.MISSING, notes=["the folder is empty"]),
            Result("Zoë Ćwikła", one.name, "f", model.FAILED),
            Result("x", one.name, "f", model.BROKEN, lms_id="14", problem="it is damaged", notes=["late"]),
            graded("al2", one, {0, 1, 2, 3}),
        ],
        CANVAS,
    )
    assert [row[-1] for row in rows[3:]] == ["", "50", "N/A", "7", "100", ""]  # x keeps the 7 of the LMS
    assert "not written, because nothing was handed in: Ada Lovelace (the folder is empty)" in said
    assert any("failed; grade again: Zoë Ćwikła" in sentence for sentence in said)
    assert "not written, because what was handed in cannot be graded: x (it is damaged; late)" in said


def test_a_file_of_no_known_exercise_was_handed_in_all_the_same(exported):
    _, said = exported(
        lambda one, two: [
            Result("Ada Lovelace", one.name, "", model.MISSING),
            Result("Ada Lovelace", "", "notes.ipynb", model.BROKEN, problem="it is damaged"),
            Result("Zoë Ćwikła", one.name, "", model.MISSING),
            graded("al2", one, {0, 1, 2, 3}),
        ],
        CANVAS,
    )
    assert "not written, because it could not be told of which exercise the file is: Ada Lovelace" in said
    assert "not written, because nothing was handed in: Zoë Ćwikła" in said


def test_a_class_in_which_nothing_was_graded_makes_no_file(exported, tmp_path):
    nobody = lambda one, two: [Result("x", one.name, "f", model.BROKEN, lms_id="14", problem="it is empty")]
    for template in (CANVAS, None):
        with pytest.raises(CourseError, match=r"no graded notebook of 01_energy.*x \(it is empty\)"):
            exported(nobody, template)
        assert not (tmp_path / "out.csv").exists()


def test_moodle_gets_its_own_table_back_with_decimal_commas(exported, tmp_path):
    rows, said = exported(
        lambda one, two: [
            graded("a", one, {0, 1}, lms_id="901"),
            graded("Ćwikła Zoë", one, {0}),
            graded("Bo O'Neill", one, {0}),
        ],
        MOODLE,
        "moodle",
    )
    before = list(csv.reader(io.StringIO(MOODLE.lstrip("\ufeff"))))
    assert [row[4] for row in rows] == ["Grade", "5", "1,67", ""]
    assert [row[:4] + row[5:] for row in rows] == [row[:4] + row[5:] for row in before]
    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbf")  # as the template
    assert any("is locked in Moodle: Bo O'Neill" in sentence for sentence in said)


def test_semicolons_and_decimal_commas_stay(exported, tmp_path):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows(csv.reader(io.StringIO(CANVAS.replace("100.00", '"100,00"'))))
    exported(lambda one, two: [graded("ada", one, {0})], text.getvalue())
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Student;ID;SIS User ID;SIS Login ID;Section;Exercise 1: Energy (501)"
    assert lines[3] == "Lovelace, Ada;11;S11;ada@uni.edu;A;16,67"


@pytest.mark.parametrize("column", ["Essay (502)", "essay", "502"])
def test_the_column_may_be_named(exported, column):
    rows, _ = exported(lambda one, two: [graded("ada", one, {0, 1, 2, 3})], CANVAS, column=column)
    assert [row[-1] for row in rows[:4]] == ["Essay (502)", "20", "20", "12"]


def test_several_exercises_need_a_name(exported):
    both = lambda one, two: [graded("ada", one, {0, 1}), graded("ada", two)]
    with pytest.raises(
        CourseError, match="holds 2 exercises: name one with --exercise, of 01_energy, 02_flops"
    ):
        exported(both, CANVAS)
    with pytest.raises(CourseError, match="no exercise '01_enregy': did you mean 01_energy"):
        exported(both, CANVAS, exercise="01_enregy")
    for number in ("01", "1"):
        assert exported(both, CANVAS, exercise=number)[0][3][-1] == "50"


def test_the_one_column_with_the_exercises_number_is_taken_where_no_name_fits(exported):
    ada = lambda one, two: [graded("ada", one, {0, 1})]
    rows, said = exported(ada, CANVAS.replace("Exercise 1: Energy (501)", "Exercise 01 (4411)"))
    assert rows[0][-1] == "Exercise 01 (4411)" and rows[3][-1] == "50"
    assert "1 grade of 01_energy written into the column 'Exercise 01 (4411)'" in said[0]
    with pytest.raises(CourseError, match="more than one column"):
        exported(ada, CANVAS.replace("Exercise 1: Energy", "Exercise 01").replace("Essay", "Quiz 1"))
    with pytest.raises(CourseError, match="no column"):  # the number of Canvas is not the exercise's
        exported(ada, CANVAS.replace("Exercise 1: Energy (501)", "Exercise (1)"))


def test_without_a_template_the_numbers_make_the_file(exported):
    some = lambda one, two: [graded("=Ada", one, {0, 1}, lms_id="11"), graded("Bo", one)]
    rows, said = exported(some, None)
    assert rows == [
        ["Student", "ID", "Section", "01_energy"],
        ["    Points Possible", "", "", "6"],
        ["'=Ada", "11", "", "3"],
    ]
    assert any("number is not known: Bo" in sentence for sentence in said)
    rows, _ = exported(some, None, "moodle")
    assert rows == [
        ["Identifier", "Full name", "Grade", "Last modified (grade)"],
        ["Participant 11", "'=Ada", "3", ""],
    ]


@pytest.mark.parametrize(
    ("template", "kind", "more", "words"),
    [
        ("Name,Points\na,1\n", "canvas", {}, "has no column 'ID'"),
        ("Name,Points\na,1\n", "moodle", {}, "has no column 'Identifier'"),
        (MOODLE, "moodle", {"column": "Note"}, "has no column 'Note'"),
        (MOODLE.replace("Maximum grade", "Scale"), "moodle", {}, "graded in words"),
        (
            CANVAS,
            "canvas",
            {"column": "Quiz"},
            r"no column .* fits 'Quiz'.*'Exercise 1: Energy \(501\)', 'Essay \(502\)'",
        ),
        (CANVAS.replace("Essay", "01 energy"), "canvas", {}, "more than one column"),
        (CANVAS.replace("1: Energy", "A: Power"), "canvas", {}, "no column .* fits the exercise 01_energy"),
        (CANVAS, "blackboard", {}, "choose canvas or moodle"),
        ("", "canvas", {}, "is empty"),
        (None, "canvas", {}, "no learner of 01_energy has a number of Canvas"),
        (
            CANVAS.replace("ada", "x").replace("Ada", "y"),
            "canvas",
            {},
            "no row of .* fits a learner of 01_energy",
        ),
    ],
)
def test_a_wrong_template_is_said_in_one_sentence_and_nothing_is_written(
    exported, tmp_path, template, kind, more, words
):
    with pytest.raises(CourseError, match=words) as raised:
        exported(lambda one, two: [graded("ada", one, {0})], template, kind, **more)
    assert "\n" not in str(raised.value) and not (tmp_path / "out.csv").exists()


def test_the_template_is_never_overwritten(tmp_path):
    one = exercise()
    gradebook.write_csv([graded("ada", one)], [one], tmp_path / "g.csv")
    (tmp_path / "t.csv").write_text(CANVAS)
    for out in ("t.csv", "g.csv"):
        with pytest.raises(CourseError, match="would overwrite"):
            exports.export(tmp_path / "g.csv", tmp_path / "t.csv", "canvas", tmp_path / out)
    with pytest.raises(CourseError, match="cannot be written: No such file"):
        exports.export(tmp_path / "g.csv", tmp_path / "t.csv", "canvas", tmp_path / "none" / "o.csv")
    assert (tmp_path / "t.csv").read_text() == CANVAS
