"""The ledger loses nothing: two writers, a cut line, a full or read-only disk, another version."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from course_lib import ledger

UPLOADED = " If you uploaded another one, load it by the name that it got.\n"


@pytest.fixture
def book(tmp_path, monkeypatch):
    file = tmp_path / "book.jsonl"
    monkeypatch.setenv("COURSE_LEDGER", str(file))
    return file


def test_what_is_written_is_read_back(book):
    ledger.append("prediction", key="x", predicted=3, actual=4.5)
    ledger.append("verdict", claim="A1", word="supported")
    first, second = ledger.read()
    assert (first["kind"], first["predicted"], first["schema"]) == ("prediction", 3, ledger.SCHEMA)
    assert second["claim"] == "A1"
    assert ledger.latest("verdict", "claim", "A1") == second
    assert ledger.latest("verdict", "claim", "A2") is None


def test_two_kernels_may_write_at_once(book):
    code = "from course_lib import ledger\nfor i in range(100): ledger.append('note', who={who}, i=i)"
    writers = [subprocess.Popen([sys.executable, "-c", code.format(who=w)]) for w in (1, 2)]
    assert [w.wait(timeout=120) for w in writers] == [0, 0]
    entries = ledger.read()
    assert entries.skipped == 0
    for who in (1, 2):
        assert [e["i"] for e in entries if e["who"] == who] == list(range(100))


def test_a_line_cut_short_is_kept_skipped_and_does_not_spoil_the_next(book):
    ledger.append("note", i=1)
    whole = book.read_bytes()
    book.write_bytes(whole + b'{"schema": 1, "kind": "no')  # a kill in the middle of a line
    ledger.append("note", i=2)
    entries = ledger.read()
    assert [e["i"] for e in entries] == [1, 2]
    assert entries.skipped == 1
    assert b'"kind": "no\n' in book.read_bytes()


def test_lines_that_are_not_ledger_lines_are_counted(book):
    book.write_text('not json\n[1, 2]\n"a"\n{"kind": "note"}\n{"schema": 99, "kind": "note"}\n\n')
    entries = ledger.read()
    assert list(entries) == [] and (entries.skipped, entries.newer) == (4, 1)
    assert [row[-1] for row in ledger.summary().rows] == [4, 1] and "not ledger lines" in str(ledger.summary())


def test_load_and_save_say_what_cannot_be_read_and_nothing_of_it_is_lost(book, tmp_path, capsys):
    ledger.append("note", i=1)
    odd = b'half a li\n\xff\xfe\n{"schema": 1, "kind": "joke"}\n{"schema": 2, "kind": "dream", "i": 9}\n'
    said = (" The file also holds 3 lines that cannot be read and 1 line of a newer version of the course (update yours): "
            "left in it as they were.\n")
    book.write_bytes(book.read_bytes() + odd)
    ledger.append("note", i=2)
    ledger.save(tmp_path / "copy.jsonl")
    assert capsys.readouterr().out == "Saved 2 lines." + said
    assert odd in book.read_bytes() and (tmp_path / "copy.jsonl").read_bytes() == book.read_bytes()
    ledger.load(book)
    assert capsys.readouterr().out == "This is your ledger already: 2 lines." + said.rstrip() + UPLOADED
    book.unlink()
    assert ledger.load(tmp_path / "copy.jsonl") == 2 and capsys.readouterr().out == "Loaded 2 new lines." + said
    assert odd in (tmp_path / "copy.jsonl").read_bytes() and ledger.read().unread() == ""


def test_a_read_only_course_folder_sends_it_to_the_temporary_folder_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("COURSE_LEDGER", raising=False)
    for name in ("notebooks", "course_lib"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert ledger.path() == tmp_path / "ledger.jsonl"
    monkeypatch.setattr(os, "access", lambda *a, **k: False)  # root may write everywhere, so ask differently
    monkeypatch.setattr(ledger, "_told", set())
    monkeypatch.setattr(ledger.getpass, "getuser", lambda: "SCHOOL\\ada l")
    assert ledger.path().name == "frugal-ai-lab-ledger-SCHOOL_ada_l.jsonl"  # people share a temporary folder
    assert ledger.path().parent == Path(tempfile.gettempdir())
    said = capsys.readouterr().out
    assert said.count("temporary folder") == 1 and said.count("\n") == 1
    for hidden in (str(tmp_path), tempfile.gettempdir(), "ada", "jsonl"):
        assert hidden not in said


def test_a_user_without_a_name_has_a_ledger_too(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(ledger.getpass, "getuser", nobody)
    assert ledger._user() == ""


@pytest.mark.parametrize(("made", "is_course"), [
    (["notebooks/", "course_lib/"], True), (["notebooks/00_start_here.ipynb"], True), (["notebooks/"], False),
    (["course_lib/"], False), (["notebooks/mine.ipynb"], False), (["notebooks/old/00_start_here.ipynb"], False)])
def test_only_the_course_folder_holds_the_ledger(tmp_path, monkeypatch, made, is_course):
    for name in made:
        folder, _, file = name.rpartition("/")
        (tmp_path / folder).mkdir(parents=True)
        if file:
            (tmp_path / folder / file).write_text("{}")
    deep = tmp_path / "thesis" / "week 1"
    deep.mkdir(parents=True)
    monkeypatch.delenv("COURSE_LEDGER", raising=False)
    monkeypatch.chdir(deep)
    assert ledger.path() == (tmp_path if is_course else deep) / "ledger.jsonl"


def test_a_ledger_that_is_a_folder_costs_the_lines_not_the_lesson(book, tmp_path, capsys):
    ledger.append("note", i=1)
    copy = tmp_path / "copy.jsonl"
    book.rename(copy)
    book.mkdir()
    assert ledger.append("note", i=2)["i"] == 2
    assert "could not be written" in capsys.readouterr().out
    assert list(ledger.read()) == [] and "nothing yet" in str(ledger.summary())
    ledger.save(tmp_path / "empty.jsonl")
    assert (tmp_path / "empty.jsonl").read_bytes() == b""
    ledger.save()
    capsys.readouterr()
    assert ledger.load(copy) == 0  # nothing came, so nothing is claimed
    assert "Loaded 0 new lines." in capsys.readouterr().out
    assert book.is_dir() and not list(book.iterdir())


def test_a_line_too_deep_for_json_is_skipped_and_counted(book):
    ledger.append("note", i=1)
    with open(book, "a") as file:
        file.write("[" * 5000 + "\n" + '{"schema": 1, "kind": "note", "deep": ' + "[" * 200_000 + "\n")
    ledger.append("note", i=2)
    entries = ledger.read()
    assert [e["i"] for e in entries] == [1, 2] and entries.skipped == 2


def test_data_too_deep_for_json_is_refused(book):
    deep = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ValueError, match="plain numbers"):
        ledger.append("note", deep=deep)
    while deep:  # freed step by step
        deep = deep.pop()


def test_a_disk_without_locks_costs_a_line_not_the_lesson(book, monkeypatch, capsys):
    class NoLocks:
        def __init__(self, *args, **kwargs):
            pass

        def __enter__(self):
            raise NotImplementedError("FileSystem does not appear to support flock")

        def __exit__(self, *exception):
            pass

    monkeypatch.setattr("filelock.FileLock", NoLocks)
    assert ledger.append("note", i=1)["i"] == 1
    assert "could not be written (NotImplementedError)" in capsys.readouterr().out


def test_a_disk_that_refuses_costs_a_line_not_the_lesson(book, monkeypatch, capsys):
    (book.parent / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("COURSE_LEDGER", str(book.parent / "file" / "book.jsonl"))
    assert ledger.append("note", i=1)["i"] == 1
    assert "could not be written" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["", "joke", None])
def test_an_unknown_kind_is_named(book, kind):
    with pytest.raises(ValueError, match="one of reading, prediction, verdict"):
        ledger.append(kind, a=1)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_what_json_cannot_hold_is_refused_and_nothing_is_written(book, value):
    with pytest.raises(ValueError, match="plain numbers"):
        ledger.append("note", value=value)
    assert not book.exists()


def test_no_host_user_or_path_is_written(book):
    import getpass
    import platform

    ledger.append("note", i=1)
    text = book.read_text().lower()
    assert platform.node().lower() not in text or len(platform.node()) < 4
    assert getpass.getuser() not in text and "/home" not in text and str(book.parent).lower() not in text


def test_save_and_load_move_it_between_machines(book, tmp_path, capsys):
    ledger.append("note", i=1)
    copy = tmp_path / "copy.jsonl"
    ledger.save(copy)
    with open(copy, "a") as file:
        file.write(json.dumps({"schema": 1, "kind": "note", "i": 2, "time": "2026-01-01T00:00:00+00:00"}) + "\nbroken\n")
    assert ledger.load(copy) == 1
    assert ledger.load(copy) == 0  # nothing is doubled
    assert [e["i"] for e in ledger.read()] == [1, 2]
    capsys.readouterr()
    assert ledger.load(ledger.path()) == 0 and capsys.readouterr().out == "This is your ledger already: 2 lines." + UPLOADED
    with pytest.raises(ValueError, match="upload it first"):
        ledger.load(tmp_path / "nowhere.jsonl")
