"""Tables in three forms, and the results that the course ships."""

import json
import re
from pathlib import Path

import pytest

from course_lib import tables
from course_lib.tables import Table, shipped

ROOT = Path(__file__).parents[1]


def test_numbers_stand_right_and_words_left():
    table = Table(("name", "n"), [("a", 1234567), ("long name", 2)], caption="Two rows")
    assert str(table).splitlines() == [
        "Two rows", "name               n", "---------  ---------", "a          1,234,567", "long name          2"]
    assert repr(table) == str(table)


@pytest.mark.parametrize("cell, text", [
    (None, "-"), (12345, "12,345"), (0.123456, "0.1235"), (123456.7, "123,457"), (1e20, "1e+20"), (True, "True"), ("x", "x")])
def test_a_cell_as_text(cell, text):
    assert str(Table(("c",), [(cell,)])).splitlines()[-1].strip() == text


def test_html_and_markdown_escape_what_they_must():
    table = Table(("a|b", "n"), [("<i>|\n", 1), (None, 2.5)], caption="<caption>")
    page = table._repr_html_()
    assert "&lt;i&gt;|" in page and "<i>" not in page and "&lt;caption&gt;" in page
    assert page.count("text-align:right") == 3  # the head and both numbers
    lines = table._repr_markdown_().splitlines()
    assert lines[2:] == [r"| a\|b | n |", "|:---|---:|", r"| <i>\|  | 1 |", "| - | 2.5 |"]


def test_a_table_without_rows_and_a_row_of_another_length():
    assert str(Table(("a", "b"), [])).splitlines() == ["a  b", "-  -"]
    with pytest.raises(ValueError, match=r"a row has 1 cells but the table has 2 columns \(a, b\)"):
        Table(("a", "b"), [(1, 2), (3,)])


@pytest.fixture
def folder(monkeypatch, tmp_path):
    made = tmp_path / "assets" / "shipped"
    made.mkdir(parents=True)
    record = {"made": "2020-01-01, some machine", "command": "python x.py", "rows": [{"a": 1, "b": 0.5}]}
    for name in ("one", "two"):
        (made / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(tables.resources, "files", lambda _: tmp_path)


def test_a_shipped_table_has_rows_and_says_how_it_was_made(folder):
    table = shipped("one")
    assert table.rows == [{"a": 1, "b": 0.5}]
    assert table.made == "2020-01-01, some machine; remade by `python x.py`"
    assert repr(table) == f"Shipped(one: 1 rows; {table.made})"


@pytest.mark.parametrize("name", ["three", "one.json", "../../facts", ""])
def test_a_table_that_is_not_shipped(folder, name):
    with pytest.raises(ValueError, match="no table .*; choose from one, two"):
        shipped(name)


def test_every_table_that_the_course_ships_can_be_read():
    with pytest.raises(ValueError, match="choose from") as caught:
        shipped("there is none of this name")
    for name in str(caught.value).split("choose from ")[1].split(", "):
        table = shipped(name)
        assert table.rows and all(isinstance(row, dict) and "seed" in row for row in table.rows), name
        assert "torch" in table.made, name
        script = re.search(r"remade by `python (benchmarks/shipped/\w+\.py)", table.made)
        assert script and (ROOT / script[1]).exists(), name
