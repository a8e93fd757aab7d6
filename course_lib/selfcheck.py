"""What an exercise needs: `rounded` shows a value, `check` answers in words, `hint` gives a hint."""

import ast
import contextlib
import difflib
import functools
import io
import json
import math
import os
import re
import sys
import textwrap
from importlib import resources
from pathlib import Path

_LONG = 100  # elements
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e[+-]?\d+)?(?![\w.])")
_ONE = re.compile(r"shape \((?:\), \w+: |1,\), \w+: \[([^][,]*)\])")  # what _array says of a single number
_RETURN = "Did you forget `return`?"
_asked = {}  # rungs of each hint ladder already given


class Rounded(str):
    """Text that stands for a value: its repr is the text itself."""

    def __repr__(self):
        return str(self)


def rounded(*values, **named):
    """Show values with 4 significant digits, so that the text is the same on every machine.

    Floats are rounded and have no -0; integers and strings are exact. Tensors and arrays come with shape and
    dtype; entries under a millionth of the largest count as 0 (float noise); over 100 elements, the first,
    mean, smallest and largest are shown. Each value gets a line; named ones show their name.
    """
    lines = [value if isinstance(value, str) else _show(value) for value in values]
    return Rounded("\n".join(lines + [f"{name} = {_show(value)}" for name, value in named.items()]))


def _number(x):
    text = f"{x:.4g}"
    if not math.isfinite(x) or any(mark in text for mark in ".e"):
        return text
    return "0.0" if float(text) == 0 else text + ".0"


def _show(x):
    if all(hasattr(x, name) for name in ("dtype", "shape", "tolist")):
        return _array(x)
    if isinstance(x, float):
        return _number(x)
    if isinstance(x, dict):
        return "{" + ", ".join(f"{_show(key)}: {_show(value)}" for key, value in x.items()) + "}"
    if isinstance(x, (set, frozenset)):
        return "{" + ", ".join(sorted(map(_show, x))) + "}"
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return f"{type(x).__name__}(" + ", ".join(f"{n}={_show(v)}" for n, v in x._asdict().items()) + ")"
    if isinstance(x, (tuple, list)):
        inside = ", ".join(map(_show, x))
        return f"[{inside}]" if isinstance(x, list) else f"({inside})"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(x))  # int, bool, None, str, and what we do not know


def _array(x):
    if type(x).__module__.startswith("numpy") and x.shape == ():
        return _show(x.item())  # a NumPy number is a number
    dtype, shape = str(x.dtype).rpartition(".")[2], tuple(int(n) for n in x.shape)
    flat = (x.detach().cpu() if hasattr(x, "detach") else x).reshape(-1).tolist()
    if flat and isinstance(flat[0], float):
        largest = max((abs(v) for v in flat if math.isfinite(v)), default=0.0)
        flat = [0.0 if abs(v) < 1e-6 * largest else v for v in flat]
    head = f"shape {shape}, {dtype}: "
    if len(flat) > _LONG and not isinstance(flat[0], (str, complex)):
        return (f"{head}[{', '.join(map(_show, flat[:6]))}, ...], mean {_number(sum(flat) / len(flat))}, "
                f"smallest {_show(min(flat))}, largest {_show(max(flat))}")
    return head + _nested(flat, shape)


def _nested(flat, shape):
    if not shape:
        return _show(flat[0])
    n = math.prod(shape[1:])
    rows = (_nested(flat[i * n:(i + 1) * n], shape[1:]) for i in range(shape[0]))
    return "[" + (", " if len(shape) == 1 else ",\n ").join(rows) + "]"


def grading_seed(default):
    """The seed for a hidden check's inputs: `default`, or the one that a grading run has chosen."""
    return int(os.environ.get("COURSE_SEED", default))


def pristine_folder():
    """The folder of the exercises as they were released."""
    named = os.environ.get("COURSE_PRISTINE")
    return Path(named) if named else resources.files("course_lib") / "assets" / "exercises"


@functools.cache
def pristine():
    """{grade_id: (exercise, cell)} of all released exercises, as they were before anyone touched them."""
    folder, cells = pristine_folder(), {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name) if folder.is_dir() else ():
        if file.name.endswith(".ipynb"):
            for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
                grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
                if grade_id:
                    cell["source"] = "".join(cell["source"])
                    cells[grade_id] = file.name, cell
    return cells


def expected_text(cell):
    """The text that a check cell should show, or None for a cell that shows none."""
    texts = [output["data"]["text/plain"] for output in cell.get("outputs", ())
             if output["output_type"] == "execute_result"]
    return "".join(texts[-1]) if texts else None


def _check_cell(grade_id):
    checks = {name: cell for name, (_, cell) in pristine().items() if cell["metadata"]["nbgrader"]["grade"]}
    if isinstance(grade_id, str) and grade_id in checks:
        return checks[grade_id]
    here = Path(os.environ.get("JPY_SESSION_NAME", "")).name  # JupyterLab names the notebook here, others do not
    own = [name for name in checks if here.startswith(Path(pristine()[name][0]).stem)]
    if grade_id is None:
        raise ValueError("say which check, in quotation marks" +
                         (f"; this notebook has {', '.join(own)}" if own else ', as in check("...")'))
    near = " or ".join(difflib.get_close_matches(str(grade_id), own or checks, n=3) or own or sorted(checks)[:3])
    raise ValueError(f"there is no check named {grade_id!r}; did you mean {near or '(none released)'}?")


def check(grade_id=None):
    """Run the original check cell on your answer and say in words how it went (nothing while grading).

    Whatever is not right yet comes with the expected value and the way to a hint.
    Raises ValueError, with the names that there are, for no name and for a check that does not exist.
    """
    if os.environ.get("COURSE_GRADING"):
        return
    cell = _check_cell(grade_id)
    names = dict(sys._getframe(1).f_globals)  # a copy: what the check defines does not reach the notebook
    body = ast.parse(cell["source"])
    last, came, said = ast.Expression(body.body.pop().value), None, None
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(body, "<check>", "exec"), names)  # noqa: S102 - the course's own cell
            came = repr(eval(compile(last, "<check>", "eval"), names))
    except NameError as error:  # in the check itself: a cell was not run; inside an answer: a slip there
        outside = error.__traceback__.tb_next is None or error.__traceback__.tb_next.tb_next is None
        said = (f"{unnamed(error.name)} Run the cells above first." if outside
                else raised(type(error).__name__, str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a learner's code may raise
        said = raised(type(error).__name__, str(error))
    print(in_words(grade_id, came, expected_text(cell), said))


def unnamed(name):
    """What is said when a check finds no such name."""
    return f"not answered yet: nothing is called {name!r}."


def raised(kind, text, then="run it, then ask again"):
    """What is said when an answer raised an exception of this kind, with this text, and gave no value."""
    if kind == "NotImplementedError":
        return f"not answered yet. Write your answer in the cell above, {then}."
    said = f"your answer raised {kind}: {text.strip().partition(chr(10))[0][:200]}"
    return said + f"\n  {_RETURN}" * (kind == "TypeError" and "NoneType" in text)


def in_words(grade_id, came, expected, said=None):
    """How a check went, in lines: the text that `came` against the one expected, or `said` where none came.

    Whatever is not right comes with the expected text and the way to a hint.
    """
    right = said is None and came == expected
    lines = [f"{grade_id}: {said or ('right.' if right else 'not yet.')}"]
    if right and expected is not None:
        return lines[0]
    for label, text in (("your answer gives:", came), ("expected:", expected)):
        if text is not None:
            lines += [f"  {label}", textwrap.indent(text, "    ")]
    if came is not None and (why := slip(came, expected or "")):
        lines.append(f"  {why}")
    return "\n".join([*lines, f'  For a hint: hint("{grade_id}")'])


def slip(came, expected):
    """One sentence on a slip that the text that `came` shows against the one expected, or ""."""
    if re.search(r"\bNone\b", came) and "None" not in expected:
        return _RETURN
    plain = _ONE.sub(r"\1", came)
    if plain != came and (plain == expected or slip(plain, expected)):
        kind = "a tensor" if "shape ()" in came else "a tensor or an array"
        return f"The number is right, but it is {kind}: give a plain number (.item())."
    pairs = [(x, y) for x, y in zip(_NUMBER.findall(came), _NUMBER.findall(expected)) if x != y]
    if not pairs or _NUMBER.split(came) != _NUMBER.split(expected):
        return ""
    whole, fraction = re.compile(r"-?\d+").fullmatch, re.compile(r"-?\d.*[.e].*").fullmatch
    if all(whole(x) and fraction(y) and _number(float(x)) == y for x, y in pairs):
        return "The number is right, but a float is expected: do not round or convert it."
    if all(fraction(x) and whole(y) and float(x) == float(y) for x, y in pairs):
        return "The number is right, but an int is expected: a whole number, without a decimal point."
    return ""


def hint(grade_id=None):
    """Print the next hint for a check, from a question to nearly the answer (nothing while grading)."""
    if os.environ.get("COURSE_GRADING"):
        return
    ladder = _check_cell(grade_id)["metadata"].get("course", {}).get("hints") or ["this check has no hint."]
    rung = min(_asked.get(grade_id, 0), len(ladder) - 1)
    _asked[grade_id] = rung + 1
    print(f"Hint {rung + 1} of {len(ladder)}: {ladder[rung]}")
    if rung + 1 == len(ladder):
        print("This is the last hint: if you ask again, it comes again.")
