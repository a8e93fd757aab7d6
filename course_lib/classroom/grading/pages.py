"""A page of blocks, drawn as HTML that needs no network and no script, and as plain text.

A block is a tuple:
    ("h1" | "h2" | "h3" | "p" | "lead" | "hint", text)   of a hint, `code`, *emphasis* and $math$ are drawn
    ("task", text, id)                       a heading of level 2, its id small after it
    ("by", label, text)                      a line such as "Handed in as: ..."
    ("mark", right, text)                    right or not yet, and the points
    ("list", texts)
    ("table", caption, column names, rows)   a cell is a text, ("mark", right) or ("link", address, text);
                                             a row that is a text is the heading of the rows after it
    ("lines", caption, [(whose, [(mark, piece), ...]), ...])
                                             whose: "" (same), "yours", "expected"; mark: "", "del", "ins"
Whatever stands in a block is escaped here, and only here.
"""

import html
import re
import textwrap

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_WHOSE = {"": "= same", "yours": "\N{MINUS SIGN} yours", "expected": "+ expected"}
_WIDE = 96  # columns of the text
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #5a5a66; --line: #c9c9d2; --page: #fff;
  --box: #f4f4f7; --good: #00694c; --open: #a34700; --yours: #fbe3d3; --wanted: #d3efe6 }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf1; --soft: #b0b0bc; --line: #4a4a55;
  --page: #17171b; --box: #222228; --good: #4fd1a8; --open: #ffa464; --yours: #57311a; --wanted: #12473a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 52rem; background: var(--page);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1rem 0 .25rem } h2 + h3 { margin-top: .5rem }
h2 small { font-weight: 400; color: var(--soft) }
p, ul { margin: .4rem 0 }
.lead { font-size: 1.15rem; font-weight: 600 }
.good { color: var(--good) } .open { color: var(--open) } .good, .open { font-weight: 600 }
.hint { padding: .5rem .8rem; background: var(--box); border-left: 4px solid var(--soft) }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
caption { text-align: left; color: var(--soft); padding: .2rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border: 1px solid var(--line) }
thead th, [scope=rowgroup] { background: var(--box) }
tbody [scope=row] { font-weight: 400 }
.short, thead th { white-space: nowrap }
.lines th, .lines td { padding: .1rem .6rem; border-width: 0 1px }
.lines tbody { border: 1px solid var(--line) }
.lines th { width: 1%; white-space: nowrap; font-weight: 400; color: var(--soft) }
.lines td, code { font: .9rem/1.5 ui-monospace, monospace; unicode-bidi: isolate; white-space: pre-wrap }
code { background: var(--box); padding: 0 .2em }
@media (max-width: 30rem) { th, td { padding: .3rem .4rem } }
.yours td { background: var(--yours) } .expected td { background: var(--wanted) }
del, ins { text-decoration: underline; font-weight: 700 } del { text-decoration-style: wavy }
a { color: inherit }
@media print { :root { color-scheme: light; --ink: #000; --soft: #333; --line: #888; --page: #fff;
  --box: #fff; --good: #000; --open: #000; --yours: #fff; --wanted: #fff }
  body { max-width: none; padding: 0; font-size: 11pt }
  h2, h3 { break-after: avoid } tr, .hint { break-inside: avoid } }
"""


def _mark(right):
    return "\N{CHECK MARK} right" if right else "\N{BALLOT X} not yet"


def _code(text):
    """Escaped, with `code` as authors write it in hints."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


# What authors write in hints. A star or dollar with a space inside or a letter outside is just that: 2 * x.
_INSIDE = "(?=\\S)((?:[^*`]|`[^`]+`)+?)(?<=\\S)"
_MARKDOWN = re.compile(rf"`([^`]+)`|\*\*{_INSIDE}\*\*|(?<![\w*])\*{_INSIDE}\*(?![\w*])"
                       r"|(?<![\w$])\$(?=\S)([^$`]+?)(?<=\S)\$(?![\w$])")  # fmt: skip
_TAGS = {1: "code", 2: "strong", 3: "em", 4: "em"}


def _drawn(text):
    """Escaped (do that first), with the Markdown of authors as elements."""
    def element(found):
        tag, inside = _TAGS[found.lastindex], found[found.lastindex]
        return f"<{tag}>{inside if tag == 'code' else _MARKDOWN.sub(element, inside)}</{tag}>"

    return _MARKDOWN.sub(element, html.escape(text))


def plain(text):
    """The words of a line of Markdown, without its marks."""
    def words(found):
        inside = found[found.lastindex]
        return inside if found.lastindex == 1 else plain(inside)

    return _MARKDOWN.sub(words, text)


def block_html(block):
    """One block as an element of the page."""
    kind, *rest = block
    return _BLOCKS[kind](kind, *rest)


def as_html(title, blocks, head_end="", draw=block_html):
    """The page as UTF-8 bytes. `head_end`: HTML at the end of its head; `draw`: gives the HTML of a block."""
    head = (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n'
            f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n{head_end}"
            "</head>\n<body>\n<main>\n")  # fmt: skip
    body = "\n".join(map(draw, blocks))
    return (head + body + "\n</main>\n</body>\n</html>\n").encode("utf-8", "backslashreplace")


def _html_table(_, caption, header, rows):
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    lines = []
    for row in rows:
        if isinstance(row, str):
            lines += ["</tbody>", "<tbody>"] * bool(lines)
            cells = f'<th scope="rowgroup" colspan="{len(header)}">{html.escape(row)}</th>'
        else:
            cells = "".join((_cell(row[0], "th"), *(_cell(cell, "td") for cell in row[1:])))
        lines.append(f"<tr>{cells}</tr>")
    body = "\n".join(lines)
    return (f"<table>\n<caption>{html.escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody>\n</table>")  # fmt: skip


def _cell(cell, tag):
    scope = ' scope="row"' * (tag == "th")
    if isinstance(cell, str):  # a name with underscores may break after each of them
        short = ' class="short"' * (len(cell) < 12)
        return f"<{tag}{scope}{short}><bdi>{html.escape(cell).replace('_', '_<wbr>')}</bdi></{tag}>"
    if cell[0] == "link":
        return f'<{tag}{scope}><a href="{html.escape(cell[1])}"><bdi>{html.escape(cell[2])}</bdi></a></{tag}>'
    return f'<{tag}{scope} class="short {"good" if cell[1] else "open"}">{_mark(cell[1])}</{tag}>'


def _html_lines(_, caption, rows):
    lines = []
    for whose, pieces in rows:
        text = "".join(f"<{mark}>{html.escape(piece)}</{mark}>" if mark else html.escape(piece)
                       for mark, piece in pieces)  # fmt: skip
        head = f'<th scope="row">{_WHOSE[whose]}</th>'
        lines.append(f'<tr class="{whose or "same"}">{head}<td>{text}</td></tr>')
    body = "\n".join(lines)
    return (f'<table class="lines">\n<caption>{html.escape(caption)}</caption>\n'
            f"<tbody>\n{body}\n</tbody>\n</table>")  # fmt: skip


def _heading(kind, text):
    return f"<{kind}>{html.escape(text)}</{kind}>"


_BLOCKS = {
    "h1": _heading, "h2": _heading, "h3": _heading,
    "task": lambda _, text, mark: f"<h2>{html.escape(text)} <small>{html.escape(mark)}</small></h2>",
    "p": lambda _, text: f"<p>{_code(text)}</p>",
    "lead": lambda _, text: f'<p class="lead">{html.escape(text)}</p>',
    "hint": lambda _, text: f'<p class="hint"><strong>Hint:</strong> {_drawn(text)}</p>',
    "by": lambda _, label, text: f"<p>{html.escape(label)}: <bdi>{html.escape(text)}</bdi></p>",
    "mark": lambda _, right, text: f'<p><span class="{"good" if right else "open"}">{_mark(right)}</span>, '
                                   f"{html.escape(text)}</p>",
    "list": lambda _, texts: "<ul>" + "".join(f"\n<li>{html.escape(text)}</li>" for text in texts) + "</ul>",
    "table": _html_table, "lines": _html_lines,
}  # fmt: skip


def as_text(blocks):
    """The same page as UTF-8 text of lines of 96 columns; what an answer gave is not wrapped."""
    return ("\n".join(line for kind, *rest in blocks for line in _text(kind, *rest)) + "\n").encode(
        "utf-8", "backslashreplace")  # fmt: skip


def _text(kind, *rest):
    if kind == "task":
        kind, rest = "h2", (f"{rest[0]} ({rest[1]})",)
    if kind in ("h1", "h2"):
        return ["", rest[0], ("=" if kind == "h1" else "-") * min(len(rest[0]), _WIDE)]
    if kind == "h3":
        return ["", rest[0]]
    if kind == "lines":
        caption, rows = rest
        return [f"  {caption}:", *(f"    {_WHOSE[whose]:<11} {''.join(piece for _, piece in pieces)}"
                                   for whose, pieces in rows)]  # fmt: skip
    if kind == "table":
        _, header, rows = rest
        cells = [header, *(row if isinstance(row, str) else [_words(cell) for cell in row] for row in rows)]
        wide = [max(len(row[i]) for row in cells if not isinstance(row, str)) for i in range(len(header))]
        return [f"- {row}" if isinstance(row, str) else
                "  ".join(["", *(f"{cell:<{w}}" for cell, w in zip(row, wide))]).rstrip() for row in cells]
    if kind == "list":
        return [line for text in rest[0] for line in textwrap.wrap(text, _WIDE, initial_indent="- ",
                                                                   subsequent_indent="  ")]  # fmt: skip
    if kind == "mark":
        return [f"{_mark(rest[0])}, {rest[1]}"]
    said = f"Hint: {plain(rest[0])}" if kind == "hint" else ": ".join(rest)
    return [""] * (kind == "lead") + textwrap.wrap(said, _WIDE)


def _words(cell):
    return cell if isinstance(cell, str) else _mark(cell[1]) if cell[0] == "mark" else cell[2]
