"""How figures and claims look in a notebook: a table of sources and a claim card, as text, Markdown and HTML.

No colour carries meaning and no background is set, so both read the same on a dark and on a light page.
"""

from __future__ import annotations

import re
from html import escape

_LINK = re.compile(r"arXiv:(\d{4}\.\d{5})|doi:([^\s,]+)|https?://[^\s,;]+")


class Sources:
    """A table of sources, one row a figure, each with the anchor that prose links to ("#tr_gpt3_energy").

    `rows`: id -> seven cells of text, in the order of `columns`.
    """

    columns = ("what", "figure", "what is inside", "year", "source", "where", "how it was read")

    def __init__(self, rows: dict[str, list[str]]):
        self.rows = rows

    def __str__(self) -> str:
        return "\n\n".join("\n".join(map(": ".join, zip(self.columns, row))) for row in self.rows.values())

    __repr__ = __str__

    def _cells(self, link: str) -> list[list[str]]:
        def linked(found: re.Match) -> str:
            arxiv, doi = found.groups()
            page = f"https://arxiv.org/abs/{arxiv}" if arxiv else doi and f"https://doi.org/{doi}"
            return link.format(found[0], page or found[0])
        rows = {id: [_LINK.sub(linked, escape(cell)) for cell in row] for id, row in self.rows.items()}
        return [[f'<a id="{id}"></a>{row[0]}', *row[1:]] for id, row in rows.items()]

    def _repr_markdown_(self) -> str:
        rows = [self.columns, ["---"] * len(self.columns), *self._cells("[{0}]({1})")]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in self.columns)
        rows = "".join("<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in row) + "</tr>"
                       for row in self._cells('<a href="{1}">{0}</a>'))
        return f"<table style='color:inherit'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


class Card:
    """A framed note: a title, one prominent line, and labelled sentences below it."""

    def __init__(self, title: str, line: str, parts: list[tuple[str, str]]):
        self.title, self.line, self.parts = title, line, parts

    def __str__(self) -> str:
        return "\n".join([self.title, f"  {self.line}", *(f"{label}: {text}" for label, text in self.parts)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = "".join(f"<p style='margin:.3em 0'><b>{escape(label)}:</b> {escape(text)}</p>"
                        for label, text in self.parts)
        return ("<section style='border:1px solid currentColor;border-left-width:5px;border-radius:4px;"
                f"padding:.4em 1em;max-width:48em'><b>{escape(self.title)}</b>"
                f"<p style='font-size:1.15em;margin:.4em 0'>{escape(self.line)}</p>{parts}</section>")
