"""`rounded` shows the same text on every machine; `check` and `hint` answer in words."""

import json
from collections import namedtuple

import numpy as np
import pytest
import torch

from course_lib import selfcheck
from course_lib.selfcheck import check, hint, rounded

Pair = namedtuple("Pair", "first second")


@pytest.mark.parametrize(("value", "text"), [
    (0.123456, "0.1235"), (12345.6, "1.235e+04"), (1.0, "1.0"), (-0.0, "0.0"), (-0.1 * 0, "0.0"),
    (1e-9, "1e-09"),
    (float("nan"), "nan"), (float("-inf"), "-inf"),
    (3, "3"), (12345678, "12345678"), (True, "True"), (None, "None"), ("two words", "two words"),
    (np.float32(2.25), "2.25"), (np.int64(7), "7"), (np.bool_(True), "True"),
    ([1.0, "a", (2.55555, 3)], "[1.0, 'a', (2.556, 3)]"),
    ({"k": 0.33333}, "{'k': 0.3333}"), ({3, 1, 2}, "{1, 2, 3}"),
    (Pair(1, 2.0), "Pair(first=1, second=2.0)"),
    (torch.tensor(3.14159), "shape (), float32: 3.142"),
    (torch.tensor([[1.0, -0.0], [1e-9, 2.0]]), "shape (2, 2), float32: [[1.0, 0.0],\n [0.0, 2.0]]"),
    (torch.ones(2, requires_grad=True).bfloat16(), "shape (2,), bfloat16: [1.0, 1.0]"),
    (torch.arange(3), "shape (3,), int64: [0, 1, 2]"), (np.zeros(0), "shape (0,), float64: []"),
    (torch.tensor([float("inf"), 1.0]), "shape (2,), float32: [inf, 1.0]"),
    (np.arange(200.0),
     "shape (200,), float64: [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, ...], mean 99.5, smallest 0.0, largest 199.0"),
])
def test_rounded(value, text):
    assert repr(rounded(value)) == text


def test_rounded_takes_several_and_named_values():
    assert repr(rounded(1, share=0.6)) == "1\nshare = 0.6"


def test_float_noise_between_machines_does_not_show():
    one = torch.softmax(torch.tensor([1.0, 2.0, 3.0]), 0)
    assert repr(rounded(one)) == repr(rounded(one * (1 + 3e-7)))
    assert repr(rounded(torch.tensor([1.0, 3e-8]))) == repr(rounded(torch.tensor([1.0, -2e-8])))


def test_no_memory_address_shows():
    assert "0x" not in repr(rounded([object()]))


@pytest.fixture(autouse=True)
def released(tmp_path, monkeypatch):
    """One released check, `double_value`, that expects 4.0."""
    graded = {"nbgrader": {"grade_id": "double_value", "grade": True},
              "course": {"hints": ["Twice?", "Use 2 * x."]}}
    cell = {"cell_type": "code", "metadata": graded, "source": ["print('noise')\n", "rounded(double(2.0))"],
            "outputs": [{"output_type": "execute_result", "data": {"text/plain": ["4.0"]}}]}
    (tmp_path / "01_x.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    monkeypatch.setenv("COURSE_PRISTINE", str(tmp_path))
    monkeypatch.delenv("COURSE_GRADING", raising=False)
    selfcheck.pristine.cache_clear()
    selfcheck._asked.clear()
    yield
    selfcheck.pristine.cache_clear()


def not_written(x):
    raise NotImplementedError("your code here")


def unbound(x):
    y += x  # noqa: F821 - an UnboundLocalError is a NameError too
    return y


def slip(x):
    return 2 * xx  # noqa: F821


EXPECTED = '  expected:\n    4.0\n  For a hint: hint("double_value")\n'


@pytest.mark.parametrize(("answer", "said"), [
    (lambda x: 2 * x, "double_value: right.\n"),
    (lambda x: 3 * x, "double_value: not yet.\n  your answer gives:\n    6.0\n" + EXPECTED),
    (lambda x: None, "double_value: not yet.\n  your answer gives:\n    None\n" + EXPECTED.replace(
        "  For", "  Did you forget `return`?\n  For")),
    (lambda x: int(2 * x), "double_value: not yet.\n  your answer gives:\n    4\n" + EXPECTED.replace(
        "  For", "  The number is right, but a float is expected: do not round or convert it.\n  For")),
    (not_written,
     "double_value: not answered yet. Write your answer in the cell above, run it, then ask again.\n" + EXPECTED),
    (None, "double_value: not answered yet: nothing is called 'double'. Run the cells above first.\n" + EXPECTED),
    (lambda x: x / 0, "double_value: your answer raised ZeroDivisionError: float division by zero\n" + EXPECTED),
    (slip, "double_value: your answer raised NameError: name 'xx' is not defined\n" + EXPECTED),
    (unbound, "double_value: your answer raised UnboundLocalError: cannot access local variable 'y' where it is "
              "not associated with a value\n" + EXPECTED),
    (lambda x: x + [].sort(), "double_value: your answer raised TypeError: unsupported operand type(s) for +: "
                              "'float' and 'NoneType'\n  Did you forget `return`?\n" + EXPECTED),
])
def test_check_answers_in_words(answer, said, capsys):
    cell = {"check": check, "rounded": rounded} | ({"double": answer} if answer else {})
    exec('check("double_value")', cell)  # noqa: S102 - as a notebook cell runs it
    assert capsys.readouterr().out == said
    assert set(cell) <= {"check", "rounded", "double", "__builtins__"}


@pytest.mark.parametrize(("came", "expected", "words"), [
    ("1287", "1287.0", "a float is expected"), ("1287.0", "1287", "an int is expected"),
    ("a = 2\nb = 3", "a = 2.0\nb = 3", "a float is expected"), ("[1, 2]", "[1.0, 2.0]", "a float is expected"),
    ("12345678", "1.235e+07", "a float is expected"), ("-3", "-3.0", "a float is expected"),
    ("None", "3", "forget `return`"), ("1.0\nNone", "1.0\n2.0", "forget `return`"),
    ("1286", "1287.0", ""), ("1.235e+07", "12345678", ""), ("1.5", "1", ""), ("[1]", "[1.0, 2.0]", ""),
    ("268435456", "268435456", ""),
    ("shape (), int64: 268435456", "268435456",
     "The number is right, but it is a tensor: give a plain number (.item())."),
    ("a = shape (), float32: 2.5\nb = 3", "a = 2.5\nb = 3", "it is a tensor: give"),
    ("[shape (), int64: 1, shape (), int64: 2]", "[1, 2]", "it is a tensor: give"),
    ("shape (1,), float64: [2.5]", "2.5", "it is a tensor or an array: give"),
    ("shape (), float32: 3.0", "3", "it is a tensor: give"),  # both slips: this one comes first
    ("shape (), int64: 4", "5", ""), ("shape (2,), int64: [1, 2]", "[1, 2]", ""),
    ("shape (), int64: 3", "shape (), float32: 3.0", ""), ("shape (), int64: 3", "shape (), int64: 4", ""),
    ("a = 2", "b = 2.0", ""), ("[1, 5]", "[1.0, 2.0]", ""), ("None", "None", ""), ("nan", "1.0", ""),
])
def test_a_slip_that_shows_is_named(came, expected, words):
    said = selfcheck.slip(came, expected)
    assert words in said if words else said == ""


def test_hints_come_one_at_a_time_and_the_last_one_stays(capsys):
    for _ in range(3):
        hint("double_value")
    assert capsys.readouterr().out.splitlines() == [
        "Hint 1 of 2: Twice?", *["Hint 2 of 2: Use 2 * x.", "This is the last hint: if you ask again, it comes again."] * 2]


def test_while_grading_they_say_nothing(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_GRADING", "1")
    check("double_value")
    hint("double_value")
    assert capsys.readouterr().out == ""


def test_a_wrong_name_gets_the_nearest_ones():
    with pytest.raises(ValueError, match="there is no check named 'duble_value'; did you mean double_value"):
        check("duble_value")
    with pytest.raises(ValueError, match=r"there is no check named \['double_value'\]; did you mean double_value"):
        check(["double_value"])


@pytest.mark.parametrize("call", [check, hint])
def test_without_a_name_they_say_which_there_are(call, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "exercises/01_x-Copy1.ipynb")  # as JupyterLab does
    with pytest.raises(ValueError, match="say which check, in quotation marks; this notebook has double_value$") as named:
        call()
    for elsewhere in ("exercises/02_y.ipynb", ""):
        monkeypatch.setenv("JPY_SESSION_NAME", elsewhere)
        with pytest.raises(ValueError, match=r'in quotation marks, as in check\("\.\.\."\)$'):
            call()
    with pytest.raises(ValueError) as wrong:
        call("duble_value")
    assert len(named.traceback) == len(wrong.traceback)
