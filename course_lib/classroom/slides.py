"""`make slides LESSON=07`: one page with a lesson's slides, build/slides/07_local_deployment.html, which needs no network.

nbconvert writes it, with reveal.js (folder `deck/`). What is done here is to spread a lesson over slides: each heading
begins one, and what would not fit goes on to the next. Not shown are the setup, imports, folded code, the code of a
picture, the table of sources, a heading with nothing under it, and a guess that stood in for a class's own; a source is
shown when the pointer rests on its figure.
"""

import base64
import html
import io
import math
import re
import sys
from copy import deepcopy
from pathlib import Path

from .. import facts
from . import CourseError, course_root, execute

WIDE, HIGH = 1280, 720  # of a slide, in its own pixels; the browser scales it
_FULL, _HEAD = HIGH - 50, 70  # of which a heading takes
_FILES = Path(__file__).with_name("deck")
_HEADING = re.compile(r"^(#{1,3}) +(.+)$", re.MULTILINE)
_MATH = re.compile(r"(`[^`\n]*`)|\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_TAG = re.compile(r"<[^>]*>")
_IMPORTS = re.compile(r"\s*(?:import|from) \w")
_SAME = re.compile(r"<p [^>]*><b>(?:From|Figures):</b>.*?</p>")  # on a claim's card: the article, and ids of figures
_SKIPPED = re.compile(r"No\s+prediction\s+was\s+made;.+?\.\s+(The\s+result\s+is\s.+?\.)\s+(?:That|The\s+gap)\s+is\s.+?\.$",
                      re.MULTILINE | re.DOTALL)


def slides(lesson, root):
    """Write the slides of a lesson ("07", or the path of its source or notebook); returns their path."""
    from nbconvert import SlidesExporter
    from traitlets.config import Config

    notebook = _find(lesson, root)
    nb = execute.read(notebook)
    config = Config()
    config.CSSHTMLHeaderPreprocessor.style = "default"
    exporter = SlidesExporter(config=config, template_name=_FILES.name, extra_template_basedirs=[str(_FILES.parent)],
                              exclude_input_prompt=True, exclude_output_prompt=True)
    shown = {"css": (_FILES / "reveal.css").read_text(encoding="utf-8"), "wide": WIDE, "high": HIGH,
             "js": (_FILES / "reveal.js").read_text(encoding="utf-8")}
    text, _ = exporter.from_notebook_node(spread(nb), resources={"course": shown, "metadata": {"name": notebook.stem}})
    page = root / "build" / "slides" / f"{notebook.stem}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8", newline="\n")
    return page


def _find(lesson, root):
    names = [path.stem for path in sorted((root / "notebooks").glob("[0-9]*.ipynb"))]
    found = [name for name in names if lesson in (name, name[:2])] or [
        name for name in names if Path(lesson).stem == name]
    if not found:
        raise CourseError(f"{lesson!r} is no lesson that is built: say, for example, `make slides LESSON={names[0][:2]}`"
                          if names else "no lesson is built yet: run `course build` first")
    return root / "notebooks" / f"{found[0]}.ipynb"


def spread(nb):
    """A notebook whose cells say which slide they stand on, none of them too large for one."""
    made, where, room = [], "", 0
    for cell in _pieces(nb):
        heading = _heading(cell)
        size, after_heading = _height(cell), made and _heading(made[-1])
        kind = {"#": "slide", "##": "slide", "###": "subslide"}[heading[1]] if heading else "-"
        if not heading and size > room and not after_heading:  # a heading keeps what follows it, whatever its size
            made.append(_markdown(f'<p class="where">{html.escape(where)}</p>'))
            made[-1].metadata["slideshow"] = {"slide_type": "subslide"}
            room = _FULL - 30
        if heading:
            where, room = heading[2], _FULL
        cell.metadata["slideshow"] = {"slide_type": kind}
        made.append(cell)
        room -= size
    made, nb = _no_empty_slide(made), deepcopy(nb)
    for number, cell in enumerate(made):  # a cell that was cut has its id twice
        cell.id = f"cell-{number}"
    nb.cells, nb.metadata["title"] = made, _HEADING.search(made[0].source)[2]
    return nb


def _heading(cell):
    return _HEADING.match(cell.source) if cell.cell_type == "markdown" else None


def _no_empty_slide(made):
    """Without the headings that have nothing under them; one with only a smaller heading under it shares its slide."""
    kept = []
    for cell in reversed(made):
        upper, lower = _heading(cell), _heading(kept[-1]) if kept else _HEADING.match("# The end")
        if upper and lower and len(lower[1]) <= len(upper[1]):
            continue
        if upper and lower:
            kept[-1].metadata["slideshow"] = {"slide_type": "-"}
        kept.append(cell)
    return kept[::-1]


def _markdown(text):
    import nbformat

    return nbformat.v4.new_markdown_cell(text)


def _pieces(nb):
    """The cells to show, each small enough to stand on a slide, as far as it can be divided."""
    for cell in deepcopy(nb.cells):
        if cell.cell_type == "markdown":
            for block in _blocks(cell.source):
                if not block.startswith("**You see results already"):  # advice for who sits at a keyboard
                    yield _markdown(_for_slides(block))
        elif execute.is_code(cell):
            yield from _shown(cell)


def _blocks(text):
    """A text cell cut at its headings and between its paragraphs; a list too long for a slide, between its items."""
    for block in re.split(r"\n{2,}", text.strip()):
        heading = _HEADING.match(block)
        if heading:
            yield heading[0]
            block = block[heading.end():].strip()
        items = re.split(r"\n(?=- |\d+\. )", block) if re.match(r"- |\d+\. ", block) else []
        yield from (filter(None, items if _text_height(block) > _FULL - _HEAD else [block]))


def _shown(cell):
    """A code cell as one piece where it fits, else its code and its outputs apart."""
    code = cell.source.strip()
    if "cite(" in code and "id=" in str(cell.outputs):
        yield _markdown("The table of all sources, with the place and how each was read, ends the notebook.")
        return
    if asked := re.match(r"Predict\. (.*?)(?: \(Stated guess.*)?$", _plain(cell), re.DOTALL):
        yield _markdown(f"**Predict.** {_for_slides(asked[1])}")
        return
    cell.outputs = [output for output in map(_output, cell.outputs) if output]
    picture = any("image/png" in output.get("data", {}) for output in cell.outputs)
    hidden = picture or cell.metadata.get("jupyter", {}).get("source_hidden") or "setup" in execute.tags(cell) or (
        not cell.outputs and (_IMPORTS.match(code) or all(line.startswith("#") for line in code.splitlines())))
    if not hidden and _height(cell) <= _FULL:
        yield cell
        return
    if not hidden:
        yield _part(cell, [])
    for output in cell.outputs:
        for part in _cut(output):
            yield _part(cell, [part], hide=True)


def _plain(cell):
    return cell.outputs[0].get("data", {}).get("text/plain", "").strip() if cell.outputs else ""


def _part(cell, outputs, hide=False):
    cell = deepcopy(cell)
    cell.outputs = outputs
    cell.metadata["transient"] = {"remove_source": hide}
    return cell


def _output(output):
    """An output as slides show it, or None: the words under a picture are the picture's alternative text here."""
    data = output.get("data", {})
    if output.output_type == "stream":
        output.text = _wrap(_SKIPPED.sub(lambda found: " ".join(found[1].split()), output.text))
    elif "text/html" in data:
        if "This figure in words" in data["text/html"]:
            return None
        data.pop("text/markdown", None)
        data["text/html"] = re.sub(r"(</?)section\b", r"\1div", _SAME.sub("", data["text/html"]))  # a section would be a slide
    elif "text/plain" in data and len(data) == 1:
        data["text/plain"] = _wrap(data["text/plain"])
    return output


def _wrap(text, longest=116):
    """Sentences in lines of this many characters; a table keeps its lines."""
    import textwrap

    if re.search(r"^[- ]{8,}$", text, re.MULTILINE):
        return text
    return "\n".join(textwrap.fill(line, longest, subsequent_indent="    ", drop_whitespace=False)
                     if len(line) > longest else line for line in text.splitlines())


def _cut(output, lines=26):
    """An output in parts that fit: a text by lines, an HTML table by rows, under its own head each time."""
    if output.output_type == "stream":
        text = output.text.splitlines()
        for start in range(0, len(text), lines):
            yield type(output)(output, text="\n".join(text[start:start + lines]))
        return
    page = output.get("data", {}).get("text/html", "")
    head, body, tail = page.partition("<tbody>")
    found = re.findall(r"<tr>.*?</tr>", tail, re.DOTALL)
    rows = 10 if max((len(_TAG.sub("", row)) for row in found), default=0) > 110 else 16  # long ones take two lines
    if not body or len(found) <= rows:
        yield output
        return
    for start in range(0, len(found), rows):
        part = deepcopy(output)
        part.data["text/html"] = head + body + "".join(found[start:start + rows]) + "</tbody></table>"
        yield part


def _height(cell):
    """About how many pixels a cell takes on a slide: the browser measures, and corrects what is too large."""
    if cell.cell_type == "markdown":
        return _text_height(cell.source)
    hide = cell.metadata.get("transient", {}).get("remove_source")
    return sum(map(_output_height, cell.outputs), 0 if hide else 22 * len(cell.source.splitlines()) + 30)


def _output_height(output):
    data = output.get("data", {})
    if "image/png" in data:
        return 505
    if "<tr" in data.get("text/html", ""):
        return 36 * data["text/html"].count("<tr") + 40
    if "text/html" in data:
        return 36 * math.ceil(len(_TAG.sub("", data["text/html"])) / 80) + 70
    return 22 * len((output.get("text") or data.get("text/plain", "")).splitlines()) + 14


def _text_height(text):
    if _HEADING.match(text):
        return _HEAD
    if text.startswith("|"):
        return 38 * text.count("\n") + 40
    shown = re.sub(r"<img[^>]*>", "xxxx", text)
    lines = re.split(r"\n(?=- |\d+\. |```)", shown)
    return sum(36 * math.ceil(len(line) / 88) for line in lines) + 16 + 60 * ("alone" in text)


def _for_slides(text):
    """The text without links that lead out of the page; a figure tells its source, a formula is a picture."""
    known = facts.all_facts()

    def linked(found):
        words, target = found.groups()
        if target.startswith("#") and (fact := known.get(target[1:])):
            return f'<abbr title="{html.escape(f"{fact.reference}, {fact.where}")}">{words}</abbr>'
        return found[0] if re.match(r"https?:", target) else words

    def drawn(found):
        return found[1] or _formula(found[2] or found[3], alone=bool(found[2]))

    return _MATH.sub(drawn, _LINK.sub(linked, text))


def _formula(tex, alone):
    """A formula as a picture, drawn by matplotlib; as it was typed where matplotlib cannot."""
    from matplotlib import mathtext
    from matplotlib.font_manager import FontProperties

    tex, picture = " ".join(tex.split()), io.BytesIO()
    try:
        depth = mathtext.math_to_image(f"${tex}$", picture, prop=FontProperties(size=10, math_fontfamily="stix"),
                                       dpi=72, format="svg")
    except ValueError:
        return f"`{tex}`"
    tall = float(re.search(rb'height="([\d.]+)pt"', picture.getvalue())[1])
    data, size = base64.b64encode(picture.getvalue()).decode(), 0.115 if alone else 0.1
    return (f'<img class="formula{" alone" * alone}" alt="{html.escape(tex)}" src="data:image/svg+xml;base64,{data}" '
            f'style="height:{tall * size:.3f}em;vertical-align:{-depth * size:.3f}em">')


def main(words):
    """`python -m course_lib.classroom.slides 07`: returns the exit code."""
    if len(words) != 1 or not words[0].strip():
        print("course: say which lesson, for example `make slides LESSON=07`", file=sys.stderr)
        return 2
    try:
        root = course_root()
        page = slides(words[0].strip(), root)
    except CourseError as error:
        print(f"course: {error}", file=sys.stderr)
        return 2
    print(f"{page.relative_to(root).as_posix()}: open it in a browser; it needs no network")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
