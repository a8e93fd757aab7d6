"""The grading benchmark compares like with like; no time is asserted here."""

import argparse
import ast
import importlib
import sys
from pathlib import Path

import pytest

from course_lib.classroom import release

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("grading", "data", "data.graders"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("grading")
    for name in ("grading", "data", "data.graders"):
        sys.modules.pop(name, None)


def test_the_notebook_is_of_the_promised_kind(bench):
    nb = release.load(bench.graders.SOURCE)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert len(code) == 11
    assert sum("torch" in line for line in code[0].source.splitlines()) == 1
    assert sum(map(release.is_check, code)) == 6
    assert sum("hidden" in cell.metadata.get("tags", []) for cell in code) == 3


def test_the_class_holds_every_kind_and_asks_for_points_that_exist(bench):
    nb = release.load(bench.graders.SOURCE)
    answers = {cell.id for cell in nb.cells if release.grading(cell).get("solution")}
    total = release.points(nb)
    kinds = bench.graders.learners(len(bench.graders.MIX))
    assert {points for _, _, points in kinds} >= {0, total}
    assert any(0 < points < total for _, _, points in kinds)
    for _, wrong, points in kinds:
        assert set(wrong) <= answers
        assert (points == total) == (not wrong)


def test_nbgrader_gets_the_same_checks_as_asserts(bench):
    nb = release.load(bench.graders.SOURCE)
    for cell in filter(release.is_check, nb.cells):
        cell.outputs = [{"output_type": "execute_result", "data": {"text/plain": f"text of {cell.id}"}}]
    for cell, made in zip(nb.cells, bench.graders.as_nbgrader(nb).cells):
        if release.is_check(cell):
            last = ast.parse(made.source).body[-1]
            assert isinstance(last, ast.Assert) and f"text of {cell.id}" in made.source
            assert ("### BEGIN HIDDEN TESTS" in made.source) == ("hidden" in cell.metadata.tags)
        else:
            assert made == cell


def test_the_table_keeps_tools_that_failed_and_says_what_differs(bench):
    ours = bench.graders.course_grade(None)
    rows = [bench.Row("course grade", ours, 10, seconds=[1.0, 1.1], cpu=[0.5, 0.5], start=[4.0, 4.0]),
            bench.Row("slow one", None, 10, seconds=[10.0, 11.0], cpu=[9.0, 9.0], start=[None, None],
                      surprises={"002_wrong"}),
            bench.Row("nbgrader autograde", None, 10, problem="not run: no network?")]
    table, text = bench.report(rows, argparse.Namespace(rounds=2), [0.0, 1.0])
    cells = {row[0]: row for row in table.rows}
    assert cells["slow one"][5].startswith("10 (") and "002_wrong" in cells["slow one"][-1]
    assert cells["nbgrader autograde"][-1] == "not run: no network?"
    assert "course grade: 4.0 s, and then 0.65 s a submission" in text


def test_the_record_replaces_only_what_stands_between_the_marks(bench, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- grading -->\nold\n<!-- /grading -->\nbelow\n", encoding="utf-8")
    for text in ("first", "second"):
        bench.replace_between(readme, "grading", text)
    assert readme.read_text(encoding="utf-8") == "above\n<!-- grading -->\nsecond\n<!-- /grading -->\nbelow\n"
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="<!-- grading -->"):
        bench.replace_between(readme, "grading", "third")
    assert readme.read_text(encoding="utf-8") == "no marks"
