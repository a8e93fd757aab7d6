"""`course check`: what it says of each kind of answer and of bad files; pytest --nbval-lax agrees with it."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from course_lib import cli, selfcheck
from course_lib.classroom import handout
from course_lib.handin import check as checking
from course_lib.handin import plugin

ROOT = Path(__file__).parent.parent
TWICE, HALF = "def twice(x):\n    return 2 * x", "def half(x):\n    return x / 2"


def code_cell(source, name, shows=None, **marks):
    """A code cell of a released exercise; with `shows`, a check cell of 2 points that expects that text."""
    cell = nbformat.v4.new_code_cell(source, id=name)
    if marks or shows:
        cell.metadata["nbgrader"] = {"grade_id": name, "grade": False, "solution": False} | marks
    if shows:
        cell.metadata["nbgrader"] |= {"grade": True, "points": 2}
        cell.metadata["tags"], cell.execution_count = ["nbval-check-output"], 1
        cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": shows}, execution_count=1)]
    return cell


def released():
    """A small exercise as learners get it: two answers, a visible check after each, each 2 points."""
    stub = "def {}(x):\n    raise NotImplementedError('your code here')"
    return nbformat.v4.new_notebook(metadata={"course": {"exercise": "70"}}, cells=[
        code_cell("from course_lib.selfcheck import check, hint, rounded", "start"),
        code_cell(stub.format("twice"), "ex70_twice", solution=True),
        code_cell("rounded(a=twice(2.0), b=twice(0.5))", "ex70_twice_shown", "a = 4.0\nb = 1.0"),
        code_cell('check("ex70_twice_shown")', "said"),
        code_cell(stub.format("half"), "ex70_half", solution=True),
        code_cell("rounded(half(5.0))", "ex70_half_shown", "2.5")])


def answered(twice=TWICE, half=HALF):
    """The exercise with these answers in it."""
    nb = released()
    cell(nb, "ex70_twice").source, cell(nb, "ex70_half").source = twice, half
    return nb


def cell(nb, name):
    """The cell of that id."""
    return next(cell for cell in nb.cells if cell.id == name)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A folder with the released exercise, as COURSE_PRISTINE names it."""
    folder = tmp_path_factory.mktemp("pristine")
    nbformat.write(released(), folder / "70_tiny.ipynb")
    return folder


@pytest.fixture
def here(pristine, monkeypatch):
    """This process knows the small exercise and no other."""
    monkeypatch.setenv("COURSE_PRISTINE", str(pristine))
    monkeypatch.delenv("COURSE_GRADING", raising=False)
    selfcheck.pristine.cache_clear()
    yield pristine
    selfcheck.pristine.cache_clear()


# --- answers of every kind: what is said, and that both commands agree

RIGHT = "{}: right."
UNANSWERED = ("{}: not answered yet. Write your answer in the cell above, save the notebook, then ask again."
              "\n"
              "  expected:\n    a = 4.0\n    b = 1.0\n  For a hint: hint(\"ex70_twice_shown\")")
WRONG = ("{}: not yet.\n  your answer gives:\n    a = 6.0\n    b = 1.5\n"
         "  expected:\n    a = 4.0\n    b = 1.0\n  For a hint: hint(")
RAISED = "{}: your answer raised "
GONE = "{}: not run: the kernel had ended before"
ESCAPES = "{}: not yet.\n  your answer gives:\n    a = '\\x1b[2J\\u202e'\n"
LOUD = "import sys\ndef twice(x):\n    print('loud'); print('!', file=sys.stderr)\n    return 2 * x"
THREE = TWICE.replace("2", "3")


def variants():
    """{name: (notebook, words on the first check, words on the second)}: {} stands for the check's name."""
    made = {
        "solved": (answered(LOUD), RIGHT, RIGHT),
        "untouched": (released(), UNANSWERED, "{}: not answered yet. Write"),
        "wrong": (answered(THREE), WRONG, RIGHT),
        "run_all": (answered(THREE), WRONG, RIGHT),
        "cleared": (answered(THREE), WRONG, RIGHT),
        "edited": (answered(THREE), WRONG, RIGHT),
        "skipped": (answered(THREE), WRONG, RIGHT),
        "may_raise": (answered("def twice(x): raise ValueError('no')"), RAISED + "ValueError: no\n", RIGHT),
        "answer_skipped": (answered("# NBVAL_SKIP\n" + TWICE), RIGHT, RIGHT),
        "other_kernel": (answered(), RIGHT, RIGHT),
        "format_4_0": (answered(), RIGHT, RIGHT),
        "scratch": (answered(), RIGHT, RIGHT),
        "doubled": (answered(), RIGHT, WRONG.replace("a = 6.0\n    b = 1.5", "5.0").replace(
            "a = 4.0\n    b = 1.0", "2.5")),
        "silenced": (answered("from IPython.core.interactiveshell import InteractiveShell\n"
                              "InteractiveShell.showtraceback = lambda *a, **k: None\ndef twice(x): 1 / 0"),
                     RAISED + "ZeroDivisionError: division by zero\n", RIGHT),
        "syntax": (answered("def twice(x)\n    return 2"), RAISED + "SyntaxError: expected ':' (line 1)\n",
                   RIGHT),
        "nothing": (answered("pass"),
                    "{}: not answered yet: nothing is called 'twice'. No cell above makes it.\n", RIGHT),
        "slip": (answered("def twice(x): return xx"), RAISED + "NameError: name 'xx' is not defined", RIGHT),
        "no_return": (answered("def twice(x): 2 * x"),
                      "{}: not yet.\n  your answer gives:\n    a = None\n    b = None\n", RIGHT),
        "escapes": (answered("def twice(x): return '\\x1b[2J\\u202e'"), ESCAPES, RIGHT),
        "long": (answered("def twice(x): return ['y' * 70] * 1000"),
                 re.compile(r".*\n    \.\.\. \(and more\)\n.*", re.DOTALL), RIGHT),
        "endless": (answered("def twice(x):\n    while True: pass"),
                    "{}: your answer did not end within 5 seconds. Is there a loop", RIGHT),
        "dead": (answered("import os\ndef twice(x): os._exit(0)"), "{}: your answer ended the kernel.", GONE),
        "flood": (answered("def twice(x):\n    while True: print('x' * 10_000)"),
                  "{}: your answer printed far too much, and was stopped.\n", GONE),
    }
    nb = {name: row[0] for name, row in made.items()}
    first = {name: cell(nb[name], "ex70_twice_shown") for name in nb}
    first["run_all"].outputs[0].data["text/plain"] = "a = 6.0\nb = 1.5"  # as saved after Run All
    first["cleared"].outputs, first["cleared"].execution_count = [], None
    first["edited"].source = "rounded(a=4.0, b=1.0)"
    first["skipped"].source, first["skipped"].metadata["tags"] = "# NBVAL_SKIP\n1", ["nbval-skip"]
    first["may_raise"].metadata["tags"] = ["raises-exception"]
    cell(nb["answer_skipped"], "ex70_half").metadata["tags"] = ["nbval-skip", "nbval-check-output"]
    nb["other_kernel"].metadata["kernelspec"] = {"name": "school", "display_name": "X", "language": "python"}
    nb["format_4_0"].nbformat_minor = 0
    for one in nb["format_4_0"].cells:
        del one["id"]
    nb["scratch"].cells.insert(2, nbformat.v4.new_code_cell("oops + 1"))
    again = copy.deepcopy(cell(nb["doubled"], "ex70_half")) | {"source": "def half(x): return x"}
    nb["doubled"].cells.insert(-1, nbformat.from_dict(again))
    return made


def moved():
    """The answers under other names, one below its check and one turned into text; and what is said of them."""
    nb = answered(THREE)
    twice, half = cell(nb, "ex70_twice"), cell(nb, "ex70_half")
    nb.cells.remove(twice)
    nb.cells += [nbformat.v4.new_code_cell(twice.source, id="n1"), nbformat.v4.new_code_cell(half.source, id="n2")]
    half.cell_type = "raw"
    return nb


def run(command, folder, pristine, **environment):
    """(exit code, what was said) of a command, run as a learner runs it."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("COURSE_", "PYTEST"))}
    environment = outer | {"COURSE_PRISTINE": str(pristine), "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False,
                          env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def both(pristine, tmp_path_factory):
    """({variant: what `course check` says}, its exit code, pytest's whole output, its exit code)."""
    folder = tmp_path_factory.mktemp("a learner")
    (folder / "exercises").mkdir()
    shutil.copyfile(ROOT / "exercises" / "conftest.py", folder / "exercises" / "conftest.py")
    for name, (nb, *_) in variants().items():
        (folder / "exercises" / f"{name}.ipynb").write_text(json.dumps(nb), encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files = [f"exercises/{name}.ipynb" for name in variants()]
    with ThreadPoolExecutor(2) as pool:
        said, pytest_said = pool.map(lambda command: run(command, folder, pristine), (
            ["-m", "course_lib.cli", "check", "--timeout", "5", *files],
            ["-m", "pytest", "-rA", "-pno:cacheprovider", "--nbval-lax", "--nbval-cell-timeout=5", *files]))
    assert {path: path.read_bytes() for path in before} == before, "a notebook was changed"
    parts = re.split(r"^(\w+)\.ipynb:\n", said[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)), said, pytest_said


@pytest.mark.slow
@pytest.mark.parametrize("name", variants())
def test_each_answer_gets_its_words_and_pytest_agrees(both, name):
    words, (_, all_said), (_, pytest_said) = both
    _, *expected = variants()[name]
    right = 0
    for grade_id, phrase in zip(("ex70_twice_shown", "ex70_half_shown"), expected, strict=True):
        told = re.search(rf"^{grade_id}: .*\n(?:  .*\n)*", words[name], re.MULTILINE)[0]
        if isinstance(phrase, str):
            assert told.startswith(phrase.format(grade_id)), words[name]
        else:
            assert phrase.match(told), words[name]
        outcome = "PASSED" if phrase is RIGHT else "FAILED"
        assert f"{outcome} exercises/{name}.ipynb::{grade_id}" in pytest_said
        assert phrase is RIGHT or told in pytest_said, "pytest says it in other words"
        right += phrase is RIGHT
    line = f"\n{name}: {right} of 2 visible checks right, {2 * right} of 4 points\n"
    assert line in all_said and line in pytest_said


@pytest.mark.slow
def test_what_went_wrong_outside_the_checks_is_told(both):
    _, (code, said), (pytest_code, pytest_said) = both
    assert code == pytest_code == 1
    for line in ("answer cell 'ex70_half' appears 2 times, the last one is graded",
                 "the cell that begins `oops + 1` raised NameError: name 'oops' is not defined"):
        assert f"\n{line}\n" in said and f"\n{line}\n" in pytest_said
    assert "NotImplementedError" not in said and "Traceback" not in said and "\x1b" not in said


# --- one notebook, anywhere


@pytest.mark.slow
def test_a_right_notebook_ends_with_0_whatever_lies_around_it(pristine, tmp_path):
    folder = tmp_path / "my [best] course::work"
    folder.mkdir()
    nb = answered()
    nb.cells.append(code_cell("1 / 0", "mine"))  # her own cells cost nothing
    nbformat.write(nb, folder / "mine (1).ipynb")
    (folder / "conftest.py").write_text("raise SystemExit('conftest was read')", encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    (folder / "__init__.py").write_text("raise SystemExit('__init__ was read')", encoding="utf-8")
    before = sorted(folder.iterdir())
    code, said = run(["-m", "course_lib.cli", "check", "mine (1).ipynb"], folder, pristine,
                     PYTEST_ADDOPTS="--no-such-option", PYTEST_PLUGINS="no_such_plugin")
    assert code == 0 and said == (
        "ex70_twice_shown: right.\nex70_half_shown: right.\n"
        "the cell that begins `1 / 0` raised ZeroDivisionError: division by zero\n"
        "mine (1): 2 of 2 visible checks right, 4 of 4 points\n")
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
def test_the_command_itself_loads_no_torch(here, tmp_path):
    nbformat.write(answered(), tmp_path / "a.ipynb")
    code = ("import sys; from course_lib.cli import main; code = main(['check', 'a.ipynb']); "
            "print(code, sorted({'torch', 'rfc3987_syntax', 'codecarbon', 'matplotlib'} & "
            "{name for name, module in sys.modules.items() if module}))")
    assert run(["-c", code], tmp_path, here)[1].endswith("\n0 []\n")


# --- files that cannot be checked


def damaged(change):
    """The exercise as a notebook's bytes, after `change` was made to it."""
    nb = answered()
    change(nb)
    return json.dumps(nb).encode()


def without(name):
    def change(nb):
        nb.cells = [cell for cell in nb.cells if cell.id != name]
    return damaged(change)


WHOLE = json.dumps(answered(), indent=1).encode()
BAD = {
    "empty": (b"", "the file is empty; take a fresh copy"),
    "blank": (b" \n\n", "the file is empty"),
    "text": (b"hello", "it is not a notebook, or it is damaged: take a fresh copy"),
    "cut": (WHOLE[:300], "it is not a notebook, or it is damaged"),
    "deep": (b"[" * 100_000, "it is not a notebook, or it is damaged"),
    "latin": ("{'é'".encode("latin-1"), "it is not a notebook, or it is damaged"),
    "list": (b"[1]", "it is not a notebook: take"),
    "dict": (b'{"a": 1}', "it is not a notebook: take"),
    "conflict": (WHOLE.replace(b' "cells"', b'<<<<<<< HEAD\n "cells"', 1) + b"\n>>>>>>> other\n",
                 "it holds marks of a merge conflict (lines that begin with <<<<<<<); choose one"),
    "future": (damaged(lambda nb: nb.update(nbformat=99)), "its format (nbformat 99) is newer than what"),
    "no_metadata": (damaged(lambda nb: nb.cells[0].pop("metadata")), "it is a damaged notebook"),
    "odd_cells": (damaged(lambda nb: nb.update(cells=[1, 2])), "it is a damaged notebook"),
    "no_cells": (damaged(lambda nb: nb.update(cells=[])), "no check cell of this course is in it; name"),
    "lesson": (damaged(lambda nb: nb.update(cells=[code_cell("1", "x")])), "no check cell of this course"),
    "no_check": (without("ex70_half_shown"), "the check cell ex70_half_shown is missing; take a fresh copy"),
    "no_answer": (without("ex70_twice"), "the answer cell ex70_twice is missing; take a fresh copy"),
    "no_checks": (damaged(lambda nb: nb.update(cells=[one for one in nb.cells if "shown" not in one.id])),
                  "the check cells ex70_twice_shown and ex70_half_shown are missing; take a fresh copy"),
    "turned": (damaged(lambda nb: cell(nb, "ex70_twice").update(cell_type="markdown")),
               "the answer cell ex70_twice is a markdown cell; make it a code cell again"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_sentence_and_stays_as_it_is(here, tmp_path, capsys, name):
    file = tmp_path / f"{name} x.ipynb"
    file.write_bytes(BAD[name][0])
    assert cli.main(["check", str(file)]) == 2
    out, said = capsys.readouterr()
    assert said.startswith(f"course: {file}: {BAD[name][1]}") and said.count("\n") == 1 and out == ""
    assert file.read_bytes() == BAD[name][0] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("name", "sentence"), [
    ("my_thesis.ipynb", r".*/my_thesis.ipynb is not there"),
    ("70_tinny.ipynb", r".*/70_tinny.ipynb is not there; did you mean .*/70_tiny.ipynb\?"),
    ("no/where.ipynb", r".*/no/where.ipynb is not there"),
    ("x" * 300 + ".ipynb", r".* cannot be read \(File name too long\)"),
    ("folder", r".*/folder is a folder: name a notebook in it, such as exercises/01_measuring_energy.ipynb"),
    ("70_tiny.py", r".*/70_tiny.py is not a notebook: name a file that ends in .ipynb"),
])
def test_a_name_that_is_no_notebook_gets_one_sentence(here, tmp_path, capsys, name, sentence):
    (tmp_path / "folder").mkdir()
    for made in ("70_tiny.ipynb", "70_tiny.py"):
        (tmp_path / made).write_bytes(WHOLE)
    assert cli.main(["check", str(tmp_path / name)]) == 2
    assert re.fullmatch(f"course: {sentence}\n", capsys.readouterr().err)


@pytest.mark.slow
def test_a_bad_file_does_not_keep_the_others_from_being_checked(pristine, tmp_path):
    nbformat.write(answered(), tmp_path / "good.ipynb")
    files = ["bad.ipynb", "good.ipynb", "./good.ipynb", str(tmp_path / "good.ipynb")]
    code, said = run(["-m", "course_lib.cli", "check", *files], tmp_path, pristine)
    assert code == 2 and "bad.ipynb is not there" in said
    assert said.count("good: 2 of 2 visible checks right") == 1


@pytest.mark.parametrize("words", ["", "x.ipynb --timeout 0", "x.ipynb --timeout nan", "x --timeout soon"])
def test_a_wrong_request_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", *words.split()])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and ("NOTEBOOK" in said if not words else "is no number of seconds" in said)


def test_without_nbval_the_way_out_is_named(monkeypatch, capsys):
    monkeypatch.setattr(checking, "find_spec", lambda name: None)
    assert cli.main(["check", "x.ipynb"]) == 2
    assert 'in the course folder type  make lab  or  pip install ".[lab]"' in capsys.readouterr().err


@pytest.mark.slow
def test_a_kernel_that_does_not_start_is_said(here, tmp_path, monkeypatch, capsys):
    def no_kernel(*args, **options):
        raise RuntimeError("Kernel died before replying")

    monkeypatch.setattr("nbval.kernel.start_new_kernel", no_kernel)
    nbformat.write(answered(), tmp_path / "a.ipynb")
    assert cli.main(["check", str(tmp_path / "a.ipynb")]) == 1
    said = capsys.readouterr().out
    assert "ex70_twice_shown: not run: no kernel started (Kernel died before replying)." in said
    assert "a: 0 of 2 visible checks right, 0 of 4 points" in said


@pytest.mark.slow
def test_an_answer_pasted_into_a_new_cell_is_checked(pristine, tmp_path):
    nbformat.write(moved(), tmp_path / "moved.ipynb")
    code, said = run(["-m", "course_lib.cli", "check", "moved.ipynb"], tmp_path, pristine)
    assert code == 1 and WRONG.format("ex70_twice_shown") in said and RIGHT.format("ex70_half_shown") in said
    for name, made in (("ex70_twice", "twice"), ("ex70_half", "half")):
        assert f"answer cell '{name}' is missing: your cell that defines {made} is graded" in said
    assert "1 of 2 visible checks right, 2 of 4 points" in said


def imports_gone(nb):
    """The exercise as a learner who uses `math` hands it in, without the cell of the imports."""
    nb.cells = [one for one in nb.cells if one.id != "start"]
    return nb


def test_a_lost_cell_of_imports_is_said_once_and_where_to_get_it(pristine, tmp_path):
    nbformat.write(imports_gone(answered()), tmp_path / "lost.ipynb")
    code, said = run(["-m", "course_lib.cli", "check", "lost.ipynb"], tmp_path, pristine)
    assert code == 1 and said == (
        "ex70_twice_shown: not run: the exercise's cell that makes 'rounded' is gone.\n"
        "ex70_half_shown: not run: the exercise's cell that makes 'rounded' is gone.\n"
        "the exercise's cell that begins `from course_lib.selfcheck import check, hint, rounded` is gone: copy it from "
        "course_lib/assets/exercises/70_tiny.ipynb to its place again\n"
        "lost: 0 of 2 visible checks right, 0 of 4 points\n")


def test_no_lost_cell_is_named_where_none_is_or_where_it_cannot_be_told(here):
    own = imports_gone(answered())
    assert set(plugin.lost(own.cells)) == {"check", "hint", "rounded"}
    own.cells.insert(0, nbformat.v4.new_code_cell("from course_lib.selfcheck import check, hint, rounded\n"))
    assert plugin.lost(own.cells) == plugin.lost(answered().cells) == {}  # in a cell of the learner's own
    bare = imports_gone(answered())
    for one in bare.cells:
        if "nbgrader" not in one.metadata:
            del one["id"]
    assert plugin.lost(bare.cells) == {}


def test_odd_metadata_is_no_reason_to_fall_over(here):
    odd, bare = (nbformat.from_dict({"cell_type": "code", "source": "", "metadata": {"nbgrader": marks}})
                 for marks in ({"grade_id": ["x"]}, 3))
    assert plugin.problem([odd, bare]).startswith("no check cell of this course is in it")
    assert plugin.problem([odd, *released().cells, bare]) == ""


# --- the command in both kinds of copy


def help_of(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_shows_check_first_and_has_an_example(capsys):
    said = help_of(capsys)
    assert re.findall(r"^    (\w+) ", said, re.MULTILINE)[:4] == ["check", "build", "release", "links"]
    assert "Your notebook is not changed" in " ".join(help_of(capsys, "check").split())
    assert said.endswith("example: course check exercises/01_measuring_energy.ipynb\n")


@pytest.mark.slow
def test_a_learners_course_has_check_and_nothing_else(tmp_path):
    folder = tmp_path / "our course"
    handout.hand_out(ROOT, folder, say=lambda line: None)
    here = {"PYTHONPATH": str(folder)}
    work = tmp_path / "elsewhere"
    work.mkdir()
    shutil.copyfile(folder / "exercises" / "01_measuring_energy.ipynb", work / "mine.ipynb")
    code, said = run(["-m", "course_lib.cli", "--help"], work, "", **here)
    assert code == 0 and "check" in said and not re.search("build|release|links|grade|teach", said)
    code, said = run(["-m", "course_lib.cli", "build"], work, "", **here)
    assert code == 2 and "invalid choice: 'build'" in said
    del here["PYTHONPATH"]
    code, said = run(["-m", "course_lib.cli", "check", str(work / "mine.ipynb")], folder,
                     folder / "course_lib" / "assets" / "exercises", PYTHONPATH=str(folder))
    assert code == 1 and said.count("not answered yet. Write") == 5
    assert said.endswith("mine: 0 of 5 visible checks right, 0 of 5 points\n")
