"""A class of 200 handed-in notebooks, generated, with the score that each must get.

`classroom()` is the same every time. What a wrong answer is worth is found out here, by running the checks of the
source in this process (`truth`), so that the grader is not judged by itself.
"""

import ast
import functools
import itertools
import json
import os
import random
import unicodedata
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "exercises" / "source" / f"{name}.py" for name in ("01_measuring_energy", "02_training_and_inference")]
SEED = 20260  # of the hidden checks, and of this class
COUNT = 200


@dataclass(frozen=True)
class Handed:
    """One handed-in file and what must come of it."""

    number: int  # of the learner; it stands in every form of the name, as n017
    name: str  # of the learner
    exercise: str  # its file's stem
    kind: str  # what was done to it
    data: bytes = field(repr=False)
    checks: dict | None  # {check id: True where it must be right}; None where the file cannot be graded
    ending: str = ".ipynb"


# --- what an answer is worth -----------------------------------------------------------------------------------------

@contextmanager
def _environment(**values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if value is not None})
    for name in (name for name, value in values.items() if value is None):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@functools.cache
def cells(source):
    """The cells of an exercise's source, completed as for its release."""
    from course_lib.classroom import release

    return release.load(source).cells


def _texts(source, seed, answers):
    """{check id: the text that it shows, or None} with these answers in place of the source's own."""
    from course_lib.classroom import execute, release

    names, texts = {"__name__": "__main__"}, {}
    for cell in (cell for cell in cells(source) if cell.cell_type == "code"):
        text = answers.get(cell.id, cell.source)
        body = ast.parse(text).body
        try:
            if not release.is_check(cell):
                exec(compile(text, cell.id, "exec"), names)  # noqa: S102 - the course's own exercises and mutants
                continue
            with _environment(COURSE_SEED=str(seed) if "hidden" in execute.tags(cell) else None):
                exec(compile(ast.Module(body[:-1], []), cell.id, "exec"), names)  # noqa: S102
                texts[cell.id] = repr(eval(compile(ast.Expression(body[-1].value), cell.id, "eval"), names))
        except Exception:  # noqa: BLE001 - a wrong answer may raise whatever it likes
            texts.setdefault(cell.id, None)
    return texts


@functools.cache
def shown(source, seed, answers):
    """{check id: the text it shows} with the answers (pairs of grade_id and text) in place of the source's own."""
    with _environment(COURSE_GRADING="1"):
        return _texts(source, seed, dict(answers))


def truth(source, seed, answers):
    """{check id: True where these answers show what the solutions show}; "" is an answer not given."""
    stub = 'raise NotImplementedError("your code here")'
    mine = shown(source, seed, tuple((name, text or stub) for name, text in answers.items()))
    return {name: text is not None and mine.get(name) == text for name, text in shown(source, seed, ()).items()}


# --- one notebook ----------------------------------------------------------------------------------------------------

@functools.cache
def _release(source):
    return (source.parent.parent / f"{source.stem}.ipynb").read_text(encoding="utf-8")


@functools.cache
def solutions(source):
    """{grade_id: the answer in the source, without its markers}."""
    from course_lib.classroom import release

    return {cell.id: cell.source.replace("    ### BEGIN SOLUTION\n", "").replace("    ### END SOLUTION", "").rstrip()
            for cell in cells(source) if release.grading(cell).get("solution")}


def notebook(source, answers):
    """A release (a dict) with these answers."""
    nb = json.loads(_release(source))
    for cell in nb["cells"]:
        if cell["id"] in answers:
            cell["source"] = answers[cell["id"]]
    return nb


def _own(text):
    return {"cell_type": "code", "id": f"own-{len(text)}", "metadata": {}, "outputs": [], "execution_count": 7, "source": text}


def _bytes(nb):
    return nb if isinstance(nb, bytes) else json.dumps(nb, indent=1).encode()


def _as_3(nb):
    inside = [{"cell_type": c["cell_type"], "metadata": c["metadata"], **(
        {"input": c["source"], "outputs": [], "language": "python"} if c["cell_type"] == "code" else
        {"source": c["source"]})} for c in nb["cells"]]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": inside}]}


def _moved(nb):
    answers = [c for c in nb["cells"] if c["metadata"].get("nbgrader", {}).get("solution")]
    nb["cells"] = [c for c in nb["cells"] if c not in answers] + answers


def _cleared(nb):
    for cell in nb["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)


def _without_ids(nb, minor):
    nb["nbformat_minor"] = minor
    for cell in nb["cells"]:
        cell.pop("id")


def _first_doubled(nb):
    first = next(c for c in nb["cells"] if c["metadata"].get("nbgrader", {}).get("solution"))
    nb["cells"].insert(0, dict(first, source="def nothing():\n    return 0"))


def _deleted(nb, name):
    nb["cells"] = [cell for cell in nb["cells"] if cell["id"] != name]


def _strange(nb):
    nb["metadata"] = {"kernelspec": [1, {"a": None}], "x": float("nan"), "y": "\ud800", "widgets": {"state": "z" * 10_000}}
    nb["cells"].append({"cell_type": "code", "metadata": None, "source": []})


# Ways to hand in right answers: each changes the notebook in place, or gives another one, or bytes.
DRESSES = {
    "plain": lambda nb: None,
    "prints and a warning": lambda nb: nb["cells"].insert(0, _own(
        "import sys, warnings\nprint('hello')\nwarnings.warn('slow')\nprint('!', file=sys.stderr)")),
    "cell that fails": lambda nb: nb["cells"].insert(9, _own("1 / 0")),
    "cell at the end that fails": lambda nb: nb["cells"].append(_own("no_such_name")),
    "does not parse": lambda nb: nb["cells"].append(_own("this is no Python")),
    "plot": lambda nb: nb["cells"].append(_own("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")),
    "magics": lambda nb: nb["cells"].insert(9, _own("%matplotlib inline\n!echo hello\n%who")),
    "await": lambda nb: nb["cells"].insert(9, _own("import asyncio\nawait asyncio.sleep(0.01)")),
    "names used again": lambda nb: nb["cells"].insert(9, _own("rng = random = 5\nimport math as m\nx = 'rounded'")),
    "answers moved": _moved,
    "outputs cleared": _cleared,
    "checks deleted": lambda nb: nb.update(cells=[c for c in nb["cells"] if not c["metadata"].get("nbgrader", {}).get("grade")]),
    "other kernel": lambda nb: nb["metadata"].update(kernelspec={"name": "r", "display_name": "R", "language": "R"}),
    "metadata of strange kinds": _strange,
    "no metadata": lambda nb: nb.update(metadata={}),
    "nbformat 3": _as_3,
    **{f"nbformat 4.{minor}": functools.partial(_without_ids, minor=minor) for minor in range(5)},
    "CRLF": lambda nb: json.dumps(json.loads(json.dumps(nb).replace("\\n", "\\r\\n")), indent=1).replace("\n", "\r\n").encode(),
    "byte order mark": lambda nb: b"\xef\xbb\xbf" + _bytes(nb),
    "UTF-16": lambda nb: json.dumps(nb).encode("utf-16"),
    "first answer doubled": _first_doubled,
    "hundred cells": lambda nb: nb["cells"].extend(_own(f"y = {'1' * n}") for n in range(1, 101)),
}

# Ways to hand in what cannot be graded, made of a right notebook.
BREAKS = {
    "not JSON": lambda nb: b"my answers are right",
    "half a file": lambda nb: _bytes(nb)[:len(_bytes(nb)) // 2],
    "another object": lambda nb: {"a": 1},
    "a list": lambda nb: b"[]",
    "null": lambda nb: b"null",
    "no cells": lambda nb: dict(nb, cells=[]),
    "cells are text": lambda nb: dict(nb, cells="cells"),
    "a cell is a number": lambda nb: dict(nb, cells=[*nb["cells"], 5]),
    "6 MB": lambda nb: dict(nb, metadata={"x": "y" * (6 << 20)}),
    "nbformat 99": lambda nb: dict(nb, nbformat=99),
    "100,000 cells": lambda nb: b'{"nbformat": 4, "cells": [' + b'{"cell_type": "code"},' * 99_999 + b"{}]}",
    "nested deeply": lambda nb: b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": lambda nb: b'{"cells":' * 50_000 + b"1" + b"}" * 50_000,
    "empty file": lambda nb: b"",
    "only spaces": lambda nb: b" \n\t ",
    "a PDF": lambda nb: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "a web page": lambda nb: b"<!DOCTYPE html><title>Log in</title>",
    "a zip": lambda nb: b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
    "Latin-1": lambda nb: json.dumps(dict(nb, x="\xe9"), ensure_ascii=False).encode("latin-1"),
    "merge conflict": lambda nb: _bytes(nb).replace(b'"cells"', b'<<<<<<< HEAD\n"cells"', 1),
    "zeros": lambda nb: bytes(5000),
}

# Answers that harm the run of their own task: what stands in place of the first answer.
HARMS = {
    "kernel ended": "import os\nos._exit(1)",
    "kernel killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nimport ctypes\nctypes.string_at(0)",
    "crash when called": "import ctypes\ndef {name}(*args, **named):\n    return ctypes.string_at(0)",
    "flood of lines": "while True:\n    print('x' * 1000)",
    "flood in one line": "print('x' * (20 << 20))",
    "loop": "while True:\n    pass",
    "out of memory": "kept = bytearray(20 << 30)",
}


# --- the class -------------------------------------------------------------------------------------------------------

def _named(name):
    return lambda number: name.format(f"n{number:03d}")


NAMES = [_named(text) for text in (
    "=cmd|' C calc'!A0 {}", "+1 {}", "-minus {}", "@SUM(1) {}", "élève de l'été {}", unicodedata.normalize("NFD", "Zoë é {}"),
    "学生 {}", "طالب {}", "two  spaces {}", "quote\"s 'and' {}", "comma, semi; {}", "<b onclick=x>{}", "per%cent%20 {}",
    "emoji 🎓 {}", "{} " + "x" * 190, "dots..{}", "CON {}", "a&amp;b {}", "tab\there {}", "new\nline {}", "rtl \u202e {}",
    "zero\u200bwidth {}", "$HOME {}", "`id` {}", "*? {}", "#hash {}", "{{0}} {}", "~tilde {}", "UPPER {}", "upper {}",
    "a_b_c {}", "trailing dot {}.", " leading space {}", "a|b>c {}", "no..thing {}")]


def _decks(rng):
    """For each exercise, COUNT / 2 of (kind, answers or None, change)."""
    from course_lib.classroom import release

    for source in SOURCES:
        right = solutions(source)
        first, *others = right
        mutants = release.mutants(source)
        deck = [("untouched", dict.fromkeys(right, ""), None)] * 3
        deck += [(f"mutant: {row['name']}", right | {row["cell"]: row["code"].strip()}, None) for row in mutants]
        deck += [(f"broken: {name}", None, change) for name, change in BREAKS.items()]
        deck += [(f"harm: {name}", right | {first: text.replace("{name}", _function(right[first]))}, None)
                 for name, text in HARMS.items()]
        deck.append(("slow", right | {first: "import time\ntime.sleep(1.5)\n" + right[first]}, None))
        deck.append(("wrong exercise", None, lambda nb: _foreign()))
        deck += [("one answer open", right | {name: ""}, None) for name in others]
        deck += [("answer cell deleted", right | {first: ""}, functools.partial(_deleted, name=first))]
        deck += [("two mutants", right | dict(rng.sample([(row["cell"], row["code"].strip()) for row in mutants], 2)), None)
                 for _ in range(3)]
        dresses = itertools.cycle(DRESSES.items())
        deck += [(f"right: {name}", right, change) for name, change in itertools.islice(dresses, COUNT // 2 - len(deck))]
        assert len(deck) == COUNT // 2
        rng.shuffle(deck)
        yield source, deck


def _function(text):
    return text.partition("def ")[2].partition("(")[0]


def _foreign():
    """A notebook with the answers of no exercise graded here."""
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"course": {"exercise": "77", "title": "Another"}}, "cells": [
        dict(_own("def f(): pass"), metadata={"nbgrader": {"grade_id": "ex77_f", "solution": True, "grade": False}})]}


def _made(number, source, kind, answers, change):
    name = (NAMES[number] if number < len(NAMES) else _named("learner {}"))(number)
    nb = notebook(source, {k: v for k, v in (answers or solutions(source)).items() if v})
    if change is not None:
        made = change(nb)
        nb = nb if made is None else made
    checks = None
    if answers is not None:
        wrong = {k: "" if kind.startswith("harm") and v != solutions(source)[k] else v for k, v in answers.items()}
        checks = truth(source, SEED, wrong)
    return Handed(number, name, source.stem, kind, _bytes(nb), checks)


@functools.cache
def classroom():
    """COUNT handed-in files: a list of Handed, two of each learner, the last learner's first and second apart."""
    rng = random.Random(SEED)
    made = []
    for source, deck in _decks(rng):
        made += [_made(number, source, *card) for number, card in enumerate(deck)]
    last = max(one.number for one in made)  # two learners who handed in one exercise each
    made = [one if (one.number, one.exercise) != (last, SOURCES[1].stem) else
            Handed(last + 1, f"learner n{last + 1:03d}", one.exercise, one.kind, one.data, one.checks) for one in made]
    return sorted(made, key=lambda one: (one.number, one.exercise))


def as_folder(folder, handed):
    """Write a class: a folder per learner for two thirds of them, flat files for the others."""
    for one in handed:
        file = (Path(folder, one.name, f"{one.exercise}.ipynb") if one.number % 3 else
                Path(folder, f"{one.name}_{one.exercise}.ipynb" if one.number % 2 else f"{one.exercise} - {one.name}.ipynb"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(one.data)
        os.utime(file, (1_700_000_000, 1_700_000_000))


def as_moodle(file, handed):
    """Write a class as Moodle's "download all submissions" does, with a few names that only a zip can have."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in handed:
            name = "../" * (one.number % 10 == 0) + one.name
            archive.writestr(f"{name}_{500_000 + one.number}_assignsubmission_file_/{one.exercise}.ipynb", one.data)
        archive.writestr("__MACOSX/._x.ipynb", b"\0")
