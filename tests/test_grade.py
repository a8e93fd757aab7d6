"""`course grade` as a whole, on an engine without notebooks: what is graded, kept, said and written, and what it costs."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_engine
import pytest

from course_lib.classroom import CourseError
from course_lib.classroom.grading import command, grade, model, plan, records
from course_lib.classroom.grading.progress import Progress

ONE = {"checks": [["one_shown", 2, False], ["one_unseen", 3, True]]}
TWO = {"checks": [["two_shown", 1, False], ["two_unseen", 4, True]]}
BOTH = ("01_one", "02_two")


class Class:
    """A folder with exercises, submissions and grades, and the runs over them."""

    def __init__(self, folder):
        self.folder, self.exercises, self.handed_in = folder, folder / "source", folder / "class"
        self.out, self.log = folder / "out" / "grades.csv", folder / "log"
        self.exercises.mkdir()
        for name, data in zip(BOTH, (ONE, TWO), strict=True):
            (self.exercises / f"{name}.py").write_text(json.dumps(data))

    def hand_in(self, learner, text, exercise="01_one", place=None):
        file = (place or self.handed_in) / learner / f"{exercise}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self, exercises="01_one.py", **more):
        """(exit code, lines on standard output, lines of complaint); .graded: who was graded, in order."""
        self.log.write_text("")
        said, complained = [], []
        named = exercises if isinstance(exercises, tuple) else (exercises or "",)
        place = tuple(self.exercises / name for name in named)
        options = {"submissions": self.handed_in, "out": self.out, "workers": 2, "picture": False} | more
        code = grade.grade(grade.Request(place, **options), engine=fake_engine, collect=fake_engine.collect,
                           say=said.append, complain=complained.append)
        self.graded = self.log.read_text().splitlines()
        return code, "\n".join(said), "\n".join(complained)

    def rows(self):
        text = self.out.read_bytes().decode("utf-8-sig")
        return {(r["learner"], r["exercise"]): r for r in csv.DictReader(io.StringIO(text, newline=""))}

    def scores(self):
        return {who: row["score"] for (who, _), row in self.rows().items()}

    def kept(self):
        return records.read(self.out.with_suffix(".jsonl"))


@pytest.fixture
def group(tmp_path, monkeypatch):
    made = Class(tmp_path)
    monkeypatch.setenv("FAKE_LOG", str(made.log))
    for learner, text in (("ada", "right"), ("bo", "half"), ("cy", "wrong"), ("dee", "broken")):
        made.hand_in(learner, text)
    return made


def test_a_class_is_graded(group):
    code, said, complained = group.run()
    assert (code, complained) == (0, "")
    assert "01_one: solved 5 of 5 points, untouched 0 of 5" in said
    assert "\n3 notebooks to grade; 1 file cannot be graded\n" in said and "graded again" not in said
    assert group.scores() == {"ada": "5", "bo": "2", "cy": "0", "dee": "0"}
    rows = group.rows()
    assert rows["dee", "01_one"]["status"] == "broken" and "not a notebook" in rows["dee", "01_one"]["notes"]
    assert rows["ada", "01_one"]["notes"] == "handed in; said by the run"
    assert rows["bo", "01_one"]["one_shown"] == "2" and rows["bo", "01_one"]["one_unseen"] == "0"


def test_no_text_of_a_hidden_check_is_written_anywhere(group):
    group.hand_in("eve", "fail")
    group.run(feedback=group.folder / "pages")
    for file in group.folder.rglob("*"):
        if file.is_file():
            assert fake_engine.SECRET not in file.read_text("utf-8", "replace"), file
    check = group.kept().rows["ada", "01_one"].result.checks
    assert check["one_unseen"]["got"] is None and check["one_unseen"]["reason"] is None
    assert len(check["one_shown"]["got"]) == 4000


def test_a_second_run_grades_what_is_new_and_nothing_else(group):
    group.run()
    before, lines = group.out.read_bytes(), group.out.with_suffix(".jsonl").read_bytes()
    code, said, _ = group.run()
    assert (code, group.graded) == (0, []) and re.match(
        r"nothing new to grade \(seed \d+\); 1 file cannot be graded; 3 unchanged\n", said)
    assert group.out.read_bytes() == before
    assert len(group.out.with_suffix(".jsonl").read_bytes().splitlines()) == len(lines.splitlines()) + 1  # the run
    group.hand_in("cy", "right at last")
    group.hand_in("flo", "half as well")
    group.run()
    assert sorted(group.graded) == ["cy", "flo"]
    assert group.scores() == {"ada": "5", "bo": "2", "cy": "5", "dee": "0", "flo": "2"}


def test_whatever_can_change_a_result_grades_again(group, monkeypatch):
    group.run(seed=1)
    for more in ({"seed": 2}, {"seed": 2, "limits": model.Limits(cell_seconds=9)}):
        group.run(**more)
        assert sorted(group.graded) == ["ada", "bo", "cy"]
    last = {"seed": 2, "limits": model.Limits(cell_seconds=9)}
    group.run(**last)
    assert group.graded == []
    group.run(**last, sandboxed=False)
    assert len(group.graded) == 3
    monkeypatch.setenv("FAKE_TORCH", "3.x")
    group.run(**last)
    assert len(group.graded) == 3
    (group.exercises / "01_one.py").write_text(json.dumps(ONE | {"title": "New"}))
    group.run(**last)
    assert len(group.graded) == 3


def seed_of(said):
    return int(re.search(r"(?:dry run, |new to grade \()seed (\d+)", said)[1])


def test_the_seed_is_fresh_kept_asked_for_or_renewed(group, tmp_path):
    first = seed_of(group.run()[1])
    assert seed_of(group.run()[1]) == first
    assert seed_of(group.run(out=tmp_path / "other.csv")[1]) != first
    renewed = seed_of(group.run(regrade=True)[1])
    assert renewed != first and sorted(group.graded) == ["ada", "bo", "cy"]
    assert seed_of(group.run()[1]) == renewed and group.graded == []
    assert seed_of(group.run(regrade=True, seed=7)[1]) == 7 and len(group.graded) == 3


def test_regrading_a_few_leaves_the_others_alone(group):
    first = seed_of(group.run()[1])
    assert seed_of(group.run(regrade=True, only=("ADA", "2"))[1]) != first  # bo's number is 2, and cy's too
    assert sorted(group.graded) == ["ada", "bo", "cy"]
    group.run(regrade=True, only=("bo",))
    assert group.graded == ["bo"]
    assert seed_of(group.run()[1]) == first and group.graded == []
    assert len(group.rows()) == 4


def test_only_grades_those_named_and_keeps_the_others_rows(group):
    group.run()
    for learner in ("ada", "bo"):
        group.hand_in(learner, "wrong now")
    group.run(only=("bo",))
    assert group.graded == ["bo"]
    assert group.scores() == {"ada": "5", "bo": "0", "cy": "0", "dee": "0"}


def test_only_names_the_nearest_where_nobody_is_called_so(group):
    group.hand_in("Zoë Larsen", "right from the start")
    with pytest.raises(CourseError, match="nobody here is called 'zoe larson'; the nearest names: Zoë Larsen"):
        group.run(only=("zoe larson",))
    group.run(only=("zoe\u0308 larsen",))
    assert group.graded == ["Zoë Larsen"]


@pytest.mark.parametrize(("name", "who"), [
    ("zoe larsen", ["Zoë Larsen"]), ("ZOË", ["Zoë Larsen"]), ("larsen", ["Zoë Larsen"]), ("ad", ["ada"]),
    ("ada", ["ada"]), ("bo", ["bo"]),  # "Bob Adams" begins with the one and holds the other
])
def test_only_takes_a_part_of_a_name(group, name, who):
    for learner in ("Zoë Larsen", "Bob Adams"):
        group.hand_in(learner, f"right says {learner}")
    _, said, _ = group.run(only=(name,))
    assert group.graded == who and f"only {who[0]}\n" in said


def test_only_takes_each_number_of_a_learner():
    found = [model.Submission("Ada", name, f"{number}.ipynb", number) for name, number in ((BOTH[0], "100"), (BOTH[1], "201"), ("", ""))]
    found.append(model.Submission("Bo", BOTH[0], "101.ipynb", "101"))
    for number in ("100", "201"):
        assert plan.learners(found, (number,)) == {"Ada"}


def test_a_part_of_several_names_is_refused(group):
    for learner in ("Zoë Larsen", "Zoe Adams"):
        group.hand_in(learner, "right")
    for name in ("zoe", "e"):
        with pytest.raises(CourseError, match=f"'{name}' fits .*: write more of the name"):
            group.run(only=(name, "bo"))


def test_what_cannot_be_graded_as_asked_is_refused_before_anything_is_run(group, monkeypatch):
    def never(*args, **more):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(fake_engine, "warm_pool", never)
    monkeypatch.setattr(fake_engine, "dry_run", never)
    empty = group.folder / "empty"
    empty.mkdir()
    for more, words in (({"only": ("adda",)}, "the nearest names: ada"), ({"submissions": empty}, "holds no notebook")):
        with pytest.raises(CourseError, match=words):
            group.run(**more)
    assert not group.out.parent.exists()


def test_a_late_hand_in_with_the_answers_of_another_is_no_unchanged_one(group):
    group.run(seed=4)
    group.hand_in("zoe", (group.handed_in / "ada" / "01_one.txt").read_text())
    _, said, _ = group.run()
    assert group.graded == [] and "; 1 new, with the same answers as one graded before; 3 unchanged\n" in said
    _, said, _ = group.run()
    assert "; 4 unchanged\n" in said and "same answers" not in said


def test_nothing_new_needs_no_dry_run(group, monkeypatch):
    group.run(exercises=None, seed=4)
    lines = group.kept().exercises()
    real, tried = fake_engine.dry_run, []
    monkeypatch.setattr(fake_engine, "dry_run", lambda exercise, *more: tried.append(exercise.name) or real(exercise, *more))
    _, said, _ = group.run(exercises=None)
    assert tried == [] and said.startswith("nothing new to grade (seed 4); 1 file cannot be graded; 3 unchanged\nleft out, ")
    kept = group.kept().exercises()
    assert kept == lines and kept["01_one"].checks[0].expected == "1.0"  # the pages still can show it
    group.hand_in("ada", "right", "02_two")
    group.run(exercises=None)
    assert tried == ["02_two"] and group.graded == ["ada"]
    monkeypatch.setenv("FAKE_TORCH", "3.x")
    group.run(exercises=None)
    assert tried[1:] == ["01_one", "02_two"]
    (group.exercises / "02_two.py").write_text(json.dumps(TWO | {"title": "New"}))
    group.run(exercises=None)
    assert tried[3:] == ["02_two"]


def test_dry_runs_wait_for_each_other_at_a_time_and_are_told_in_order(group, monkeypatch):
    real, met = fake_engine.dry_run, threading.Barrier(2)

    def dry_run(exercise, *more):
        met.wait(60)  # broken, and no exercise is graded, where one is tried after the other
        time.sleep(0.1 * (exercise.name == "01_one"))
        return real(exercise, *more)

    monkeypatch.setattr(fake_engine, "dry_run", dry_run)
    code, said, _ = group.run(exercises=None, workers=4)
    assert code == 0 and said.index("01_one: solved") < said.index("02_two: solved")


def test_what_is_graded_again_says_why(group, monkeypatch):
    limits, said = model.Limits(cell_seconds=9), []

    def again(**more):
        _, text, _ = group.run(**more)
        said[:] = [line for line in text.splitlines() if line.startswith("graded again")]
        return said

    assert again(seed=1) == []
    assert again(seed=2) == ["graded again, because the seed changed: 3"]
    assert again(seed=2, limits=limits) == ["graded again, because the time limit changed: 3"]
    assert again(seed=2, limits=limits, sandboxed=False) == ["graded again, because the sandbox changed: 3"]
    monkeypatch.setenv("FAKE_TORCH", "3.x")
    assert again(seed=2) == ["graded again, because the time limit and the sandbox and the version of torch changed: 3"]
    (group.exercises / "01_one.py").write_text(json.dumps(ONE | {"title": "New"}))
    group.hand_in("cy", "right at last")
    group.hand_in("eve", "fail")
    assert again(seed=2) == ["graded again, because the answers changed: 1",
                             "graded again, because the exercise changed: 2"]
    assert again(seed=2) == ["graded again, because the grader failed on it: 1"]
    assert again(regrade=True) == ["graded again, because of --regrade: 4"]


def test_the_same_answers_of_another_learner_need_no_second_run(group):
    group.run()
    group.hand_in("eve", "right")
    group.run()
    assert group.graded == [] and group.scores()["eve"] == "5" and group.scores()["ada"] == "5"


def test_a_renamed_learner_keeps_the_grade(group):
    group.run()
    (group.handed_in / "ada").rename(group.handed_in / "ada lovelace")
    code, said, _ = group.run()
    assert code == 0 and group.graded == []
    assert group.scores() == {"ada lovelace": "5", "bo": "2", "cy": "0", "dee": "0"}
    assert f"no longer in {group.handed_in}, so no longer in the grades: ada" in said


def test_late_submissions_from_another_folder_join_the_grades(group):
    late = group.folder / "late"
    group.hand_in("ada", "half", "02_two", late)
    group.hand_in("zed", "right", "02_two", late)
    group.run(exercises=None)
    code, said, _ = group.run(exercises=None, submissions=late)
    assert code == 0 and "still in the grades: bo, cy, dee" in said
    rows = group.rows()
    assert rows["ada", "01_one"]["score"] == "5"  # not "missing", though the late folder holds no 01 of hers
    assert rows["ada", "02_two"]["score"] == "1" and rows["zed", "02_two"]["score"] == "5"
    assert rows["zed", "01_one"]["status"] == "missing" and len(rows) == 10


def test_what_was_not_handed_in_is_missing(group):
    group.hand_in("ada", "right", "02_two")
    group.run(exercises=None)
    rows = group.rows()
    assert rows["ada", "02_two"]["score"] == "5"
    assert {who for (who, name), row in rows.items() if row["status"] == "missing"} == {"bo", "cy", "dee"}
    assert rows["bo", "02_two"]["score"] == "0" and rows["bo", "02_two"]["max"] == "5"
    group.hand_in("bo", "half", "02_two")
    group.run(exercises=None)
    assert group.graded == ["bo"] and group.rows()["bo", "02_two"]["score"] == "1"


def test_what_nobody_handed_in_is_in_no_report_until_somebody_does(group):
    pages = group.folder / "pages"
    code, said, _ = group.run(exercises=None, feedback=pages, picture=True)
    assert code == 0 and {name for _, name in group.rows()} == {"01_one"} and len(group.rows()) == 4
    assert "\nleft out, because nobody has handed it in yet: 02_two\n" in said and "not handed in" not in said
    assert "02_two:" not in said.partition("left out")[2]  # the summary
    assert not (pages / "02_two").exists() and "02_two" not in (pages / "index.html").read_text()
    assert b"02_two" not in group.out.with_suffix(".png").read_bytes()  # its words
    group.hand_in("bo", "half", "02_two")
    _, said, _ = group.run(exercises=None, feedback=pages)
    rows = group.rows()
    assert "left out" not in said and "; 3 hand-ins missing; " in said and len(rows) == 8
    assert rows["bo", "02_two"]["score"] == "1" and (rows["cy", "02_two"]["score"], rows["cy", "02_two"]["max"]) == ("0", "5")
    assert (pages / "02_two").is_dir()
    (group.handed_in / "bo" / "02_two.txt").unlink()
    assert "nobody has handed it in yet: 02_two" in group.run(exercises=None)[1] and len(group.rows()) == 4


def test_a_hand_in_from_another_folder_brings_the_zeros_of_the_others_back(group):
    group.run(exercises=None)
    late = group.folder / "late"
    group.hand_in("zed", "right", "02_two", late)
    group.run(exercises=None, submissions=late)
    rows = group.rows()
    assert (rows["ada", "02_two"]["status"], rows["ada", "02_two"]["score"]) == ("missing", "0") and len(rows) == 10
    group.hand_in("yan", "right", place=group.folder / "later")  # of that folder nobody hands in 02, but zed did
    _, said, _ = group.run(exercises=None, submissions=group.folder / "later")
    assert "left out" not in said and group.rows()["yan", "02_two"]["score"] == "0"


def test_what_others_handed_in_counts_though_only_a_few_are_graded(group):
    group.hand_in("ada", "right", "02_two")
    _, said, _ = group.run(exercises=None, only=("bo",))
    assert "left out" not in said and group.rows()["bo", "02_two"]["score"] == "0"


def test_what_was_handed_in_and_is_not_graded_yet_is_not_said_to_be_missing(group, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    group.hand_in("ada", "right", "02_two")
    monkeypatch.setattr(grade.cluster, "run_jobs", stopped)
    code, said, _ = group.run(exercises=None)
    assert code == 130 and "left out" not in said and group.rows()["bo", "02_two"]["status"] == "missing"


def test_where_nobody_handed_in_anything_that_was_asked_for_all_are_in_the_report(group):
    _, said, _ = group.run(exercises="02_two.py")
    assert "left out" not in said and "02_two: Title, 5 points\n  0 handed in, 4 missing" in said
    assert {row["status"] for row in group.rows().values()} == {"missing"} and len(group.rows()) == 4


def test_what_was_handed_in_and_cannot_be_graded_is_no_reason_to_leave_out_all_others(group):
    """Else grades without a row would be written."""
    for learner in ("ada", "bo", "cy", "dee"):
        (group.handed_in / learner / "01_one.txt").rename(group.handed_in / learner / "02_two.txt")
    (group.exercises / "02_two.py").write_text(json.dumps(TWO | {"solved": {"two_unseen": "wrong"}}))
    code, said, complained = group.run(exercises=None)
    assert code == 1 and complained.startswith("02_two is not graded: ") and "left out" not in said
    assert {pair: row["status"] for pair, row in group.rows().items()} == {
        (who, "01_one"): "missing" for who in ("ada", "bo", "cy", "dee")}


def test_files_of_an_unknown_exercise_are_named_beside_what_nobody_handed_in(group):
    group.hand_in("ada", "right", "notes")
    _, said, _ = group.run(exercises=None)
    assert ("\nleft out, because nobody has handed it in yet: 02_two; but look at 1 file of an exercise that could not be "
            "told: ada/notes.txt\n") in said
    (group.handed_in / "ada" / "notes.txt").rename(group.handed_in / "ada" / "02_two.txt")
    _, said, _ = group.run(exercises=None)
    assert "left out" not in said and "no longer in" not in said  # ada is there


def test_what_may_be_of_an_exercise_that_cannot_be_read_was_handed_in(group):
    group.run(exercises=None)
    group.hand_in("ada", "right", "02_two")
    (group.exercises / "02_two.py").write_text("{")
    _, said, _ = group.run(exercises=None)
    assert "that may be of an exercise not graded: ada/02_two.txt" in said and "nobody has handed" not in said


def test_who_has_another_name_because_of_a_namesake_is_not_said_to_be_gone(group, monkeypatch):
    def run(*found):
        found = [model.Submission(who, name, f"{number}.ipynb", number, answers={"answer": "right"}, sha256=number)
                 for who, name, number in found]
        monkeypatch.setattr(fake_engine, "collect", lambda *more: found)
        return group.run(exercises=None)[1]

    one, two = BOTH
    run(("Al Smith", one, "102"), ("Cy", one, "104"), ("Di", one, "105"))
    said = run(("Al Smith (102)", one, "102"), ("Al Smith (103)", one, "103"), ("Di (Dee)", one, "106"))
    assert "\nnamed otherwise in the grades now: Al Smith is Al Smith (102)\n" in said
    assert sorted(group.graded) == ["Al Smith (103)", "Di (Dee)"]
    assert f"no longer in {group.handed_in}, so no longer in the grades: Cy, Di\n" in said
    said = run(("Al Smith", one, "102"), ("Al Smith", two, "103"), ("Di (Dee)", one, "106"))
    assert "grades now: Al Smith (102) is Al Smith, Al Smith (103) is Al Smith\n" in said and "no longer" not in said


def test_where_nobody_named_submissions_the_last_exercise_is_not_taken_for_them(group):
    released = [group.folder / f"{name}.ipynb" for name in BOTH]
    for file in released:
        file.write_text("{}")

    def check(*exercises, submissions):
        grade.Request(exercises, submissions, group.out).check()

    for last in (released[1], group.exercises / "02_two.py"):  # exercises/*.ipynb, exercises/source/*.py
        with pytest.raises(CourseError, match=f"{last.name} is an exercise: name what was handed in, a folder, .* after the"):
            check(released[0], submissions=last)
    check(group.folder, submissions=released[1])  # somebody's own answers
    check(group.exercises / "02_two.py", submissions=released[1])
    check(released[0], submissions=shutil.copy(released[1], group.handed_in) and group.handed_in / "02_two.ipynb")


def test_several_exercises_may_be_named(group):
    (group.exercises / "03_three.py").write_text(json.dumps({"checks": [["three_shown", 1, False]]}))
    for name in BOTH:
        group.hand_in("ada", "right", name)
    group.hand_in("ada", "right", "03_three")
    code, said, _ = group.run(exercises=("02_two.py", "01_one.py", "02_two.py"))
    assert code == 0 and {name for _, name in group.rows()} == set(BOTH)
    assert "left aside: 1 file of exercises not graded now: ada/03_three.txt" in said
    group.run(exercises=("", "03_three.py"))
    assert {name for _, name in group.rows()} == {*BOTH, "03_three"}
    other = group.folder / "other"
    other.mkdir()
    shutil.copy(group.exercises / "01_one.py", other)
    with pytest.raises(CourseError, match="02_two.py is an exercise: name what was handed in, .* after the"):
        group.run(exercises=("01_one.py",), submissions=group.exercises / "02_two.py")
    with pytest.raises(CourseError, match=r"01_one.py and .*01_one.py have one name, .*: name one of them$"):
        group.run(exercises=("01_one.py", "../other/01_one.py"))


def test_a_notebook_of_a_neighbouring_exercise_is_left_aside(group):
    group.hand_in("bo", "right", "02_two")
    _, said, _ = group.run()
    assert "left aside: 1 file of exercises not graded now" in said
    assert group.scores() == {"ada": "5", "bo": "2", "cy": "0", "dee": "0"}


def test_a_file_that_could_be_anything_counts_for_the_one_exercise(group):
    group.hand_in("bo", "what is this", "scribble")
    group.hand_in("eve", "what is this", "scribble")
    group.run()
    rows = group.rows()
    assert rows["bo", "01_one"]["score"] == "2" and "also handed in: bo/scribble.txt" in rows["bo", "01_one"]["notes"]
    assert rows["eve", "01_one"]["status"] == "broken"
    group.run(exercises=None)
    assert group.rows()["eve", ""]["status"] == "broken"


@pytest.mark.parametrize(("change", "why"), [
    ({"solved": {"two_unseen": "wrong"}}, "its own solution does not get two_unseen right"),
    ({"untouched": {"two_shown": "right"}}, "an untouched notebook gets the points of two_shown"),
    (None, "02_two.py: line 1: no JSON"),
])
def test_an_exercise_that_cannot_grade_is_refused_and_the_others_go_on(group, change, why):
    group.hand_in("ada", "right", "02_two")
    (group.exercises / "02_two.py").write_text("no JSON" if change is None else json.dumps(TWO | change))
    code, _, complained = group.run(exercises=None)
    assert code == 1 and complained.startswith("02_two is not graded: ") and why in complained
    assert group.scores() == {"ada": "5", "bo": "2", "cy": "0", "dee": "0"}
    with pytest.raises(CourseError, match="no exercise can be graded"):
        group.run(exercises="02_two.py")


def test_the_graders_own_failures_are_tried_twice_and_cost_one_row_each(group):
    group.hand_in("eve", f"once {group.folder / 'mark'} right")
    group.hand_in("flo", "fail")
    code, _, complained = group.run()
    assert code == 1 and group.graded.count("flo") == 2 and group.graded.count("ada") == 1
    assert "flo, 01_one: the grader failed on it (RuntimeError: no kernel at all)" in complained
    rows = group.rows()
    assert rows["eve", "01_one"]["score"] == "5" and rows["flo", "01_one"]["status"] == "failed"
    group.hand_in("flo", "right now")
    assert group.run()[0] == 0
    assert group.graded == ["flo"] and group.scores()["flo"] == "5"


def test_an_outcome_of_no_known_shape_is_a_failure(group, monkeypatch):
    for outcome in (None, {}, {"checks": {}, "notes": [], "seconds": 1},
                    {"checks": {"one_shown": {"outcome": "splendid"}, "one_unseen": {}}, "notes": [], "seconds": 1}):
        monkeypatch.setattr(fake_engine, "grade_one", lambda job, outcome=outcome: outcome)
        assert group.run(regrade=True)[0] == 1
        assert {row["status"] for row in group.rows().values()} == {"failed", "broken"}


def test_a_submission_that_no_job_can_be_made_of_is_a_failure(group, monkeypatch):
    real = fake_engine.job

    def job(dry, submission, *more):
        if submission.learner == "bo":
            raise ValueError("no job")
        return real(dry, submission, *more)

    monkeypatch.setattr(fake_engine, "job", job)
    assert group.run()[0] == 1
    assert {who: row["status"] for (who, _), row in group.rows().items()} == {
        "ada": "graded", "bo": "failed", "cy": "graded", "dee": "broken"}


@pytest.mark.parametrize(("more", "sentence"), [
    ({"submissions": Path("nowhere")}, "nowhere is not there"),
    ({"out": Path("grades.txt")}, "it must end in .csv"),
    ({"shard": (1, 2)}, "--shard needs --seed, so that all shards ask the same hidden questions"),
    ({"feedback": Path(__file__)}, "is a file: --feedback names a folder"),
])
def test_wrong_requests_are_one_sentence(group, more, sentence):
    with pytest.raises(CourseError, match=re.escape(sentence)):
        group.run(**more)


def test_grades_among_the_submissions_are_refused(group):
    for more in ({"out": group.handed_in / "grades.csv"},
                 {"feedback": group.handed_in / "pages"}, {"submissions": group.folder}):
        with pytest.raises(CourseError, match="lies among the submissions"):
            group.run(**more)


def test_a_csv_with_somebody_elses_marks_is_kept(group):
    group.run()
    assert "kept as" not in group.run()[1]
    first = group.out.read_bytes() + b"more marks\r\n"
    for number, marked in ((1, first), (2, first.replace(b",", b";"))):  # as a spreadsheet may save it
        group.out.write_bytes(marked)
        assert f"kept as grades.changed-{number}.csv" in group.run()[1]
        assert group.out.with_name(f"grades.changed-{number}.csv").read_bytes() == marked
    group.out.write_bytes(marked)
    group.out.with_suffix(".jsonl").unlink()  # still a list of grades
    assert "kept as grades.changed-3.csv" in group.run()[1]


@pytest.mark.parametrize("data", [b"Student,ID,Section\r\nPoints Possible,,\r\n", b"\xff\xfeS\x00", b"my own list"])
def test_a_csv_of_something_else_is_not_replaced(group, data):
    group.out.parent.mkdir()
    group.out.write_bytes(data)
    with pytest.raises(CourseError, match="grades.csv is not a list of grades: choose another name for -o"):
        group.run()
    assert group.out.read_bytes() == data and len(list(group.out.parent.iterdir())) == 1
    group.out.write_bytes(b"")
    assert group.run()[0] == 0


def test_pages_for_all_and_an_index(group):
    pages = group.folder / "pages"
    group.run(feedback=pages)
    assert (pages / "index.html").exists() and len(list(pages.rglob("*.txt"))) == 4


def test_a_picture_is_made(group):
    assert group.run(picture=True)[0] == 0
    assert group.out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_part_that_cannot_be_made_is_one_line_and_the_rest_is_there(group, monkeypatch):
    from course_lib.classroom.grading import feedback, gradebook

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feedback, "write_feedback", full)
    monkeypatch.setattr(gradebook, "picture", full)
    code, said, complained = group.run(feedback=group.folder / "pages", picture=True)
    assert code == 1 and len(complained.splitlines()) == 2
    assert "4 feedback pages could not be written" in complained and "the picture" in complained
    assert group.scores()["ada"] == "5" and "Score of the graded" in said


# --- in a process of its own -----------------------------------------------------------------------------------------

def start(group, *more, **options):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))}
    return subprocess.Popen([sys.executable, fake_engine.__file__, group.exercises / "01_one.py", group.handed_in,
                             group.out, *map(str, more)], env=env | options.pop("env", {}), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, encoding="utf-8", **options)


def wait_for_rows(group, count):
    file, deadline = group.out.with_suffix(".jsonl"), time.monotonic() + 60
    while time.monotonic() < deadline:
        if file.exists() and file.read_bytes().count(b'"kind": "result"') >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the grader did not get so far")


def gated_class(group, *gates):
    """24 more learners; all but the first eight wait for the file gates[0], all but the first 16 for gates[1]."""
    for number in range(24):
        wait = f"wait {gates[min(number // 8, len(gates)) - 1]} " if number >= 8 else ""
        group.hand_in(f"learner {number:02}", f"{wait}{('right', 'half', 'wrong')[number % 3]} {number}")


def test_killed_and_resumed_gives_the_same_bytes_and_grades_nothing_twice(group):
    gates = group.folder / "gate_1", group.folder / "gate_2"
    gated_class(group, *gates)
    for rows, gate in zip((12, 20), gates, strict=True):  # ada, bo, cy, dee, and eight or sixteen of the others
        process = start(group, 11)
        wait_for_rows(group, rows)
        process.kill()
        process.communicate()
        gate.touch()
    with open(group.out.with_suffix(".jsonl"), "ab") as file:
        file.write(b'{"kind": "result", "learner": "torn')
    assert len(group.kept().rows) == 20 and not group.out.exists()
    group.log.write_text("")
    process = start(group, 11)
    said, complained = process.communicate()
    assert process.returncode == 0, complained
    assert "1 damaged line set aside" in complained
    assert "8 notebooks to grade; 1 file cannot be graded; 19 unchanged" in said
    assert sorted(group.log.read_text().splitlines()) == [f"learner {number}" for number in range(16, 24)]
    bytes_ = group.out.read_bytes()
    shutil.rmtree(group.out.parent)
    group.run(seed=11)
    assert group.out.read_bytes() == bytes_


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_ctrl_c_keeps_what_is_graded_and_says_how_to_go_on(group, number):
    gate = group.folder / "gate"
    gated_class(group, gate)
    process = start(group)
    wait_for_rows(group, 12)
    process.send_signal(getattr(signal, number))
    complained = ""
    for line in process.stderr:
        complained += line
        if "not graded yet" in line:
            gate.touch()  # what runs still may end now
    said, _ = process.communicate()
    assert process.returncode == 130, complained
    assert "stopped with 16 of 27 not graded yet; what is graded is kept: run the same command again to go on" \
        in complained
    assert "Traceback" not in complained + said
    assert set(group.rows()) == set(group.kept().rows) and len(group.rows()) == 12
    assert group.run()[0] == 0
    assert len(group.rows()) == 28 and len(group.graded) == 16


def test_a_disk_that_takes_no_more_loses_no_grade(group):
    """A limit on the size of any file stands for the full disk; nothing fits, so the CSV comes on the terminal."""
    for number in range(40):
        group.hand_in(f"learner {number:02}", "right")
    process = start(group, 3, 2000)
    said, complained = process.communicate()
    assert process.returncode == 1
    assert complained.count("could not be written") == 1 and "the grades follow here" in complained
    assert "could not always be written" in complained and "would be graded again" in complained
    assert "feedback" not in complained and "Traceback" not in complained
    table = said[said.index("learner,id,exercise"):]
    rows = {row["learner"]: row["score"] for row in csv.DictReader(io.StringIO(table)) if row["score"]}
    assert rows["learner 39"] == "5" and sum(name.startswith("learner") for name in rows) == 40
    assert group.run(seed=3)[0] == 0  # with room again
    assert len(group.rows()) == 44


def test_a_small_disk_that_is_really_full(group, tmp_path_factory):
    """The grades' folder is a file system of 64 kB, where this user may mount one."""
    disk = tmp_path_factory.mktemp("disk")
    mounted = sys.platform == "linux" and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True).returncode == 0
    if not mounted:
        return  # the test above says the same with a limit on the size of files
    try:
        for number in range(60):
            group.hand_in(f"learner {number:02}", "right")
        group.out = disk / "grades.csv"
        code, said, complained = group.run(feedback=disk / "pages")
        assert code == 1 and "No space left on device" in complained
        assert len(complained.splitlines()) <= 4, complained
        assert "the grades are in" in complained or "grades: " in said
        found = re.search(r"the grades are in (\S+) for now", complained)
        text = (Path(found[1]) if found else group.out).read_bytes().decode("utf-8-sig")
        assert sum(row["score"] == "5" for row in csv.DictReader(io.StringIO(text))) == 61
        if found:
            shutil.rmtree(Path(found[1]).parent)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_two_graders_on_one_output(group):
    gate = group.folder / "gate"
    gated_class(group, gate)
    process = start(group)
    wait_for_rows(group, 1)
    with pytest.raises(CourseError, match="another grader is writing"):
        group.run()
    gate.touch()
    process.communicate()
    assert process.returncode == 0


# --- progress and the command line -----------------------------------------------------------------------------------

def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch):
    clock, stream = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress(100, stream)
    for _ in range(100):
        clock[0] += 3.0
        progress.step()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "graded 10 of 100 (10 %), 20 a minute, about 4 min 30 s left"
    assert lines[-1] == "graded 100 of 100 (100 %), 20 a minute, in 5 min 00 s"


@pytest.mark.parametrize("seconds", [0.01, 40.0])
def test_progress_has_one_unit(monkeypatch, seconds):
    clock, stream = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress(30, stream)
    for _ in range(30):
        clock[0] += seconds
        progress.step()
    lines = stream.getvalue().splitlines()
    assert lines and all(f"{6000 if seconds < 1 else 1.5:g} a minute" in line for line in lines)


def test_progress_on_a_terminal_is_a_bar():
    stream = io.StringIO()
    stream.isatty = lambda: True
    progress = Progress(3, stream)
    for _ in range(3):
        progress.step()
    progress.close()
    assert "3 of 3" in stream.getvalue() and "a minute" in stream.getvalue()


def parse(*words):
    import argparse

    top = argparse.ArgumentParser()
    command.add_commands(top.add_subparsers(dest="command"))
    return top.parse_args(words)


def test_the_options_become_a_request(monkeypatch):
    seen = []
    monkeypatch.setattr(grade, "grade", lambda request, root: seen.append((request, root)) or 0)
    assert command.run(parse("grade", "ex", "class.zip", "-o", "a/g.csv", "--cell-seconds", "60", "--only", "x", "y z",
                             "--no-sandbox"), "root") == 0
    request, root = seen[0]
    assert root == "root" and request.only == ("x", "y z") and not request.sandboxed
    assert request.feedback == Path("a/g_feedback") and request.picture
    assert (request.limits.cell_seconds, request.limits.total_seconds) == (60, 480)
    assert seen.pop(0) and command.run(parse("grade", "ex", "class", "--cell-seconds", "100", "--no-feedback")) == 0
    assert seen[0][0].limits.total_seconds == 800 and seen[0][0].feedback is None
    command.run(parse("grade", "ex", "class", "--shard", "2/3", "--seed", "5"))
    request = seen[1][0]
    assert (request.shard, request.seed, request.feedback, request.picture) == ((2, 3), 5, None, False)
    assert str(request.out) == "grades.csv" and request.exercises == (Path("ex"),)
    for words in (("a.py", "b.py", "class", "-o", "g.csv", "--only", "x", "y"), ("-o", "g.csv", "a.py", "b.py", "class")):
        command.run(parse("grade", *words))
        assert seen[-1][0].exercises == (Path("a.py"), Path("b.py")) and seen[-1][0].submissions == Path("class")
    command.run(parse("grade", "ex", "-o", "g.csv", "class"))
    assert seen[-1][0].exercises == (Path("ex"),) and seen[-1][0].submissions == Path("class")


@pytest.mark.parametrize("words", [
    ("grade", "ex"), ("grade", "ex", "class", "--shard", "0/3"), ("grade", "ex", "class", "--shard", "half"),
    ("grade", "ex", "class", "--workers", "0"), ("grade", "ex", "class", "--seed", "-1"),
    ("grade", "ex", "class", "--cell-seconds", "nan"), ("grade", "ex", "class", "--shard", "1/2", "--dask", "tcp://x"),
    ("merge", "-o", "g.csv"), ("export", "g.csv", "-o", "x.csv"),
])
def test_options_that_make_no_sense_end_with_code_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == 2


def test_help_reads_without_a_fault(capsys):
    for name in command.COMMANDS:
        with pytest.raises(SystemExit):
            parse(name, "--help")
        told = capsys.readouterr().out
        assert "example: course" in told and (name != "export" or "-o FILE" in told)  # a zip, perhaps
        for file in re.findall(r"exercises/\S+\.py", told):
            assert (Path(__file__).parents[1] / file).is_file()


def test_threads_other_than_the_main_one_may_grade(group):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(group.run()[0]))
    thread.start()
    thread.join()
    assert codes == [0]


# --- who is paired with what (plan.py) ----------------------------------------------------------------------


def paired(*found, names=("01_measuring_energy",), refused=()):
    """({(learner, exercise): Submission}, what was said) of submissions."""
    said = []
    return plan.pair_up(list(found), list(names), refused, said.append), said


def test_no_notebook_is_a_note_on_every_row_of_the_learner_whatever_is_graded():
    note = "ada.pdf is not a notebook: hand in the .ipynb file"
    for names in (("01_measuring_energy",), ("01_measuring_energy", "02_training_and_inference")):
        pairs, said = paired(model.Submission("ada", "", "", "17", notes=(note,)), names=names)
        assert {pair: (one.file, one.problem, one.notes, one.lms_id) for pair, one in pairs.items()} == {
            ("ada", name): ("", "", (note,), "17") for name in names}
        assert said == []


def test_another_exercise_under_the_right_name_is_said_on_the_missing_row():
    two = "02_training_and_inference"
    pairs, said = paired(model.Submission("ada", two, "class.zip: ada/01_measuring_energy (1).ipynb"),
                         model.Submission("bo", two, "bo_02_training_and_inference.ipynb"),
                         model.Submission("cy", two, "cy.ipynb"), model.Submission("dee", two, "dee.ipynb"))
    assert pairs["ada", "01_measuring_energy"].notes == (
        f"handed in: 01_measuring_energy (1).ipynb, which is exercise {two}",)
    assert not any(pairs[who, "01_measuring_energy"].notes for who in ("bo", "cy", "dee"))
    assert said == ["left aside: 4 files of exercises not graded now: class.zip: ada/01_measuring_energy (1).ipynb, bo_"
                    + "02_training_and_inference.ipynb, cy.ipynb and 1 more"]


def test_learners_of_one_name_with_several_numbers_are_said_joined_or_apart():
    def row(learner, exercise, number):
        return model.Submission(learner, exercise, f"{learner}_{number}_assignsubmission_file_/x.ipynb", number)

    joined = [row(f"L{n:02}", name, f"{place}{n:02}") for n in range(30) for place, name in enumerate(BOTH, 1)]
    (said,) = paired(*joined, names=BOTH)[1]
    assert said == (
        "taken as one person each by their name, because each of Moodle's downloads numbers people anew: 30 learners (L00, "
        "L01, L02, L03, L04 and 25 more); look where two of your class share a name")
    apart = [row(f"Al ({number})", BOTH[0], number) for number in ("102", "103")]
    assert paired(*apart, row("Bo (x)", BOTH[0], "7"), row("Participant 8", BOTH[0], "8"), names=BOTH)[1] == [
        "graded apart, because one name has several numbers: Al (102), Al (103); look whether two of them are one person (`course export` goes by the numbers)"]


@pytest.mark.parametrize(("names", "said"), [
    (["ada", "ada_final", "bo"], "ada and ada_final"),
    (["ada (1)", "bo"], "ada (1)"),
    (["ada 2", "bo"], "ada 2"),
    (["ada", "ada (1)", "bo", "bo 2", "cy-Copy1"], "ada and ada (1); bo and bo 2"),
    (["Ann", "Anna", "group 1", "group 2", "student_1", "student_10", "Zoë"], ""),
])
def test_names_that_may_be_of_one_learner_are_named(names, said):
    flat = [model.Submission(name, "01_measuring_energy", f"class.zip: {name}.ipynb") for name in names]
    assert paired(*flat)[1] == ([f"look at these names: {said}"] if said else [])
    folders = [model.Submission(name, "01_measuring_energy", f"{name}/x.ipynb") for name in names]
    numbers = [model.Submission(name, "01_measuring_energy", f"{name}_1_2_x.ipynb", name) for name in names]
    assert paired(*folders)[1] == paired(*numbers)[1] == []


def test_look_alikes_among_very_many_long_names_cost_little():
    flat = [model.Submission(f"{number:04} " + "a " * 90, "x", f"{number}.ipynb") for number in range(3000)]
    assert plan.look_alikes(flat) == []
