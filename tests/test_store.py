"""grades.jsonl: nothing that was written is lost, nothing that is damaged stops a run, and one grader at a time."""

import errno
import json
import os
import subprocess
import sys

import pytest

from course_lib.classroom import CourseError
from course_lib.classroom.grading import model, records, store

EXERCISE = model.Exercise("01_one", "One", "e" * 64, (model.Check("a", 2, False, "t", expected="1"),
                                                      model.Check("h", 3, True, "t", expected="hidden text")), ("t",))
RUN = {"seed": 7, "full": True, "root": "class", "exercises": [EXERCISE.public()], "environment": {}, "limits": {},
       "shard": None}


def row(learner, status=model.GRADED, points=2.0, **more):
    checks = {"a": {"outcome": model.RIGHT, "points": points, "max": 2, "got": "1", "reason": None}}
    result = model.Result(learner, "01_one", f"{learner}.ipynb", status, checks=checks, **more)
    return records.Row(result, EXERCISE.sha256, 7, "class")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "grades.jsonl"


@pytest.fixture
def filled(path):
    with store.opened(path) as file:
        file.start(RUN)
        for name in ("ada", "bo", "cy"):
            file.put(row(name, key=name))
    return path


def test_what_is_put_is_read_again(filled):
    kept = records.read(filled)
    assert [pair[0] for pair in kept.rows] == ["ada", "bo", "cy"]
    assert kept.rows["bo", "01_one"].result == row("bo", key="bo").result
    assert kept.recent()[0]["seed"] == 7
    assert kept.exercises()["01_one"].checks[0].expected == "1"
    assert "hidden text" not in filled.read_text()


def test_names_of_every_kind_survive(path):
    names = ["Zoë Ł", "=cmd|x", "../up", "line\nbreak\u2028x", "half \ud800", "x" * 200, "", "\x00"]
    with store.opened(path) as file:
        for name in names:
            file.put(row(name))
    assert [pair[0] for pair in records.read(path).rows] == names


def test_a_row_that_says_the_same_is_no_new_line(filled):
    before = filled.read_bytes()
    with store.opened(filled) as file:
        file.put(row("ada", key="ada", seconds=99.0))
    assert filled.read_bytes() == before


def test_the_last_line_counts_and_gone_is_gone(filled):
    with store.opened(filled) as file:
        file.put(row("ada", points=0.0))
        file.drop(("bo", "01_one"))
    kept = records.read(filled)
    assert {pair[0]: r.result.score for pair, r in kept.rows.items()} == {"ada": 0.0, "cy": 2.0}


DAMAGE = [b"{", b"not json\n", b"\n", b"[1]\n", b"7\n", b'{"kind": "other"}\n', b'{"kind": "result"}\n',
          b"\xff\xfe\n", b'{"kind": "run", "format": 1}\n', b"[" * 100_000 + b"\n",
          json.dumps({**row("x").to_json(), "status": "??"}).encode() + b"\n",
          json.dumps({**row("x").to_json(), "checks": {"a": {"points": "2"}}}).encode() + b"\n",
          json.dumps({**row("x").to_json(), "checks": []}).encode() + b"\n"]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_lines_are_set_aside_and_said(filled, damage):
    good = filled.read_bytes()
    lines = good.splitlines(keepends=True)
    filled.write_bytes(b"".join([*lines[:2], damage if damage.endswith(b"\n") else b"", *lines[2:],
                                 b"" if damage.endswith(b"\n") else damage]))
    said = []
    with store.opened(filled, said.append) as file:
        assert [pair[0] for pair in file.rows] == ["ada", "bo", "cy"]
        file.put(row("dee"))
    assert len(said) == 1 and "1 damaged line set aside in grades.jsonl.damaged" in said[0]
    assert filled.with_name("grades.jsonl.damaged").read_bytes().rstrip(b"\n") == damage.rstrip(b"\n")
    assert [pair[0] for pair in records.read(filled).rows] == ["ada", "bo", "cy", "dee"]
    with store.opened(filled, said.append):
        pass
    assert len(said) == 1


def test_any_cut_of_the_file_costs_the_cut_line_only(filled):
    whole = filled.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(0, len(whole), 7):
        filled.write_bytes(whole[:cut])
        with store.opened(filled, lambda line: None) as file:
            assert len(file.rows) == max(0, sum(end <= cut for end in ends) - 1)
            file.put(row("new"))
        assert ("new", "01_one") in records.read(filled).rows


def test_a_newer_format_is_refused(path):
    path.write_text(json.dumps({"kind": "run", "format": 99}) + "\n")
    with pytest.raises(CourseError, match="newer version"):
        records.read(path)


def test_a_second_grader_is_refused_and_a_dead_one_holds_no_lock(filled):
    with store.opened(filled), pytest.raises(CourseError, match="another grader is writing"), store.opened(filled):
        pass
    code = (f"import os; from course_lib.classroom.grading import store\n"
            f"with store.opened({str(filled)!r}): os.kill(os.getpid(), 9)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode != 0
    with store.opened(filled) as file:
        assert len(file.rows) == 3


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match="choose another -o"), store.opened(tmp_path / "file" / "grades.jsonl"):
        pass


def test_lines_that_no_longer_count_are_dropped_in_time(filled, monkeypatch):
    with store.opened(filled) as file:
        for points in range(300):
            file.put(row("ada", points=float(points)))
    assert len(filled.read_bytes().splitlines()) == 304
    with store.opened(filled) as file:
        assert len(filled.read_bytes().splitlines()) == 4
        assert file.rows["ada", "01_one"].result.score == 299
    kept = records.read(filled)
    assert len(kept.rows) == 3 and kept.recent()[0]["seed"] == 7 and "01_one" in kept.exercises()


def test_partial_runs_do_not_change_the_seed_of_the_class(path):
    with store.opened(path) as file:
        for seed, full in ((1, True), (2, True), (3, False)):
            file.start({**RUN, "seed": seed, "full": full})
    assert [run["seed"] for run in records.read(path).recent()] == [2, 3]


class FullDisk:
    """A file that takes `room` bytes, then says that the disk is full."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self.file.write(data[: self.room])
        self.room -= done
        return done

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 100, 700])
def test_a_full_disk_costs_no_result_and_leaves_no_half_line(filled, room):
    with store.opened(filled) as file:
        file._file = full = FullDisk(filled.open("ab", buffering=0), room)
        for name in ("dee", "eve", "flo"):
            file.put(row(name))
        assert file.trouble == "No space left on device" and file.unsaved
        assert len(file.rows) == 6
        assert filled.read_bytes().endswith(b"\n") and not records.read(filled).damaged
        full.room = 10**6  # somebody makes room: the lines are written after all
        file.put(row("gil"))
        assert file.unsaved == 0
    assert [pair[0] for pair in records.read(filled).rows] == ["ada", "bo", "cy", "dee", "eve", "flo", "gil"]


def test_keys_differ_in_whatever_can_change_a_result():
    limits = model.Limits()
    one = records.key(EXERCISE, "a", 1, limits, {"torch": "2"})
    assert one == records.key(EXERCISE, "a", 1, model.Limits(), {"torch": "2"})
    others = [records.key(model.Exercise("01_one", "One", "f", (), ()), "a", 1, limits, {"torch": "2"}),
              records.key(EXERCISE, "b", 1, limits, {"torch": "2"}), records.key(EXERCISE, "a", 2, limits, {"torch": "2"}),
              records.key(EXERCISE, "a", 1, model.Limits(memory_mb=1), {"torch": "2"}),
              records.key(EXERCISE, "a", 1, limits, {"torch": "3"})]
    assert len({one, *others}) == 6


def test_the_csv_that_was_written_is_known_again(filled):
    with store.opened(filled) as file:
        file.table(b"one")
        assert file.wrote(b"one") and not file.wrote(b"two")
    assert os.path.getsize(filled) and records.read(filled).tables
