"""One small table that reads well as plain text, in a notebook, and in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources


def _text(cell) -> str:
    """A cell as text: numbers get thousands separators, None a dash, floats 4 significant digits."""
    if cell is None:
        return "-"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if 1e4 <= abs(cell) < 1e15 else f"{cell:.4g}"
    return str(cell)


class Table:
    """Rows under named columns. A column is right-aligned when all its cells are numbers.

    `columns`: m names; `rows`: any number of sequences of m cells (str, int, float, None or an object
    with `str`); `caption`: one line above the table. Raises ValueError when a row has not m cells.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence], caption: str = ""):
        self.columns, self.caption = tuple(map(str, columns)), caption
        self.rows = [tuple(row) for row in rows]
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells but the table has {len(self.columns)} "
                                 f"columns ({', '.join(self.columns)}); give every row one cell per column")
        self._cells = [[_text(c) for c in row] for row in self.rows]
        filled = [[row[j] for row in self.rows if row[j] is not None] for j in range(len(self.columns))]
        self._right = [bool(col) and {type(c) for c in col} <= {int, float} for col in filled]

    def __str__(self) -> str:
        lines = [self.columns, *self._cells]
        width = [max(len(line[j]) for line in lines) for j in range(len(self.columns))]
        fit = [[c.rjust(w) if r else c.ljust(w) for c, w, r in zip(ln, width, self._right)] for ln in lines]
        fit.insert(1, ["-" * w for w in width])
        return "\n".join([self.caption] * bool(self.caption) + ["  ".join(line).rstrip() for line in fit])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(cells, tag):
            return "<tr>" + "".join(f'<{tag} style="text-align:{"right" if r else "left"}">{escape(c)}'
                                    f"</{tag}>" for c, r in zip(cells, self._right)) + "</tr>"
        head, body = line(self.columns, "th"), "".join(line(c, "td") for c in self._cells)
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"

    def _repr_markdown_(self) -> str:
        def line(cells):
            return "| " + " | ".join(c.replace("|", r"\|").replace("\n", " ") for c in cells) + " |"
        rule = "|" + "|".join("---:" if r else ":---" for r in self._right) + "|"
        caption = [self.caption, ""] if self.caption else []
        return "\n".join([*caption, line(self.columns), rule, *map(line, self._cells)])


class Shipped:
    """Results that take too long for a lesson: `rows`, a list of dicts; `made`, where, when and with which command."""

    def __init__(self, name: str, record: dict):
        self.name, self.rows, self.made = name, record["rows"], f"{record['made']}; remade by `{record['command']}`"

    def __repr__(self) -> str:
        return f"Shipped({self.name}: {len(self.rows)} rows; {self.made})"


def shipped(name: str) -> Shipped:
    """The table `name` that comes with the course. Raises ValueError for an unknown name, listing those there are."""
    folder = resources.files("course_lib") / "assets" / "shipped"
    names = sorted(f.name.removesuffix(".json") for f in folder.iterdir())
    if name not in names:
        raise ValueError(f"the course ships no table {name!r}; choose from {', '.join(names)}")
    return Shipped(name, json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
