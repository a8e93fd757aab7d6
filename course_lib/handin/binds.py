"""What a cell's text says without being run: the names it makes, by which an answer that lost its place is known, and slips."""

import ast
import re
import warnings

MAX_BYTES = 200_000  # nobody types more into one cell
_MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)
_IPYTHON = re.compile(r"(?:^|=)[ \t]*[%!]|\?[ \t]*$", re.MULTILINE)  # magics, the shell, help
_RUNS_ITS_CELL = re.compile(r"\s*%%(?:time|capture|prun)\b.*")  # of other %% magics the cell is no Python here


def binds(text):
    """The names that a cell's text binds at top level, by def, class or assignment, as a frozenset.

    Nothing is run. Lines of IPython (%, !) are passed over; of what is no Python, nothing is told.
    """
    if len(text) > MAX_BYTES:
        return frozenset()
    if text.lstrip().startswith("%%"):
        first, _, rest = text.lstrip().partition("\n")
        text = rest if _RUNS_ITS_CELL.fullmatch(first) else ""
    for version in (text, _MAGIC.sub(r"\1pass", text)):
        try:
            with warnings.catch_warnings(action="ignore"):  # "\d" in a text
                return frozenset(_names(ast.parse(version)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # nested deeply; NUL characters
            continue
    return frozenset()


def unreadable(text):
    """Why Python cannot read a cell's text: "expected ':' (line 1)"; "" where it can, and where IPython's own signs stand in it."""
    if len(text) > MAX_BYTES or _IPYTHON.search(text):
        return ""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})"
    except (ValueError, RecursionError, MemoryError):
        pass
    return ""


def _names(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) or isinstance(node, ast.AnnAssign) and node.value:
            for target in getattr(node, "targets", [getattr(node, "target", None)]):
                yield from (part.id for part in ast.walk(target)
                            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
