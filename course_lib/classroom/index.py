"""The course as tables, made of its own sources: `notebooks/INDEX.md`, and the map that lesson 00 shows.

    lessons  from the header and the opening card of each source
    claims   from claims.toml: the verdict of the sources, how it was decided, on which figures; and from the sources,
             under which heading of which lesson
    figures  from facts.csv: those that a lesson names or decides by, with value, source and how it was read

`course build` writes both files, before it runs a lesson; nobody edits them.
"""

import ast
import json
import re

from .. import claims, facts
from . import CourseError, build, execute

PAGE, MAP = "notebooks/INDEX.md", "course_lib/assets/lessons.json"
_QUESTION = re.compile(r"^\*\*The question[^*]*\*\*\s+(.+?)\n\n", re.MULTILINE | re.DOTALL)
_CLAIMS = re.compile(r"^\*\*Claims? of the article:\*\*\s+(.+?)\.(?:\s|\Z)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,3}) +(.+)$", re.MULTILINE)
_STEPS = {"Predict", "Count", "Measure", "Compare", "Verdict", "Verdicts"}  # these stand in many parts
_LINKED = re.compile(r"\]\(#([\w+-]+)\)")
_HEAD = """\
# Index

Written by `course build` from the sources: change those, and build. The [glossary](README.md#words) stands with the
measured times.
"""


def lessons(root):
    """What each source says of its lesson: a list of dicts. A source that is not finished is left out."""
    found = []
    for source in sorted((root / "notebooks" / "source").glob("[0-9]*.py")):
        try:
            nb = build.parse(source)
        except CourseError:  # `course build` says so, when it comes to it
            continue
        card, course = nb.cells[0].source + "\n\n", nb.metadata.get("course", {})
        question, claimed = _QUESTION.search(card), _CLAIMS.search(card)
        if question and claimed and set(build.BUDGET) <= set(course):
            decides = decided(nb)
            found.append({key: course[key] for key in build.BUDGET} | {
                "file": source.stem, "title": card.partition("\n")[0].lstrip("# "),
                "question": " ".join(question[1].split()), "claims": " ".join(claimed[1].split()),
                "facts": sorted(named(nb).union(*(claims.claim(id).facts for id in decides))), "decides": decides})
    return found


def decided(nb):
    """{claim: heading} of the claims that a notebook gives a verdict on: the nearest heading above, if it is no step's."""
    found, part, at = {}, "", ""
    for cell in nb.cells:
        for level, title in _HEADING.findall(cell.source) if cell.cell_type == "markdown" else ():
            part = part if level == "###" else title
            at = part if title in _STEPS else title
        if execute.is_code(cell):
            given = [arg.value for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)
                     and getattr(node.func, "id", "") == "verdict" for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            found |= {claim: at for claim in given if claim in claims.all_claims()}
    return found


def named(nb):
    """The ids of the figures and statements that a notebook names, in its text or in its code."""
    known, ids = facts.all_facts(), set()
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            ids |= set(_LINKED.findall(cell.source))
        elif execute.is_code(cell):
            ids |= {node.value for node in ast.walk(ast.parse(cell.source))
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return ids & known.keys()


def texts(root):
    """{path: text} of what the sources make: the page, and the map where this course has a library to keep it in."""
    all_lessons = lessons(root)
    made = {root / PAGE: page(all_lessons)}
    if (root / MAP).with_name("facts.csv").exists():
        rows = [{key: value for key, value in lesson.items() if key not in ("facts", "decides")} for lesson in all_lessons]
        made[root / MAP] = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    return made


def mismatch(root):
    """None where both files are as the sources say, else one sentence."""
    for path, text in texts(root).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            return f"{path.relative_to(root).as_posix()} is not what the sources say: run `course build`"
    return None


def write(root):
    """Write both files where they differ from what the sources say."""
    for path, text in texts(root).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")


def page(all_lessons):
    """The page in Markdown."""
    link = {one["lesson"]: f"[{one['lesson']}]({one['file']}.ipynb)" for one in all_lessons}
    used, by_number = {}, {one["lesson"]: one for one in all_lessons}
    for one in all_lessons:
        for name in one["facts"]:
            used.setdefault(name, []).append(link[one["lesson"]])
    lesson_rows = [(link[one["lesson"]], one["title"], one["question"], one["minutes"], one["cpu_seconds"],
                    one["memory_mb"], one["claims"]) for one in all_lessons]
    all_claims = claims.all_claims().values()
    claim_rows = [(f'<a id="{c.id}"></a>{c.id}', c.quote,
                   "; ".join(_place(c.id, number, by_number.get(number)) for number in c.lessons),
                   ", ".join(f"[{name}](#{name})" if name in used else name for name in c.facts) or "none") for c in all_claims]
    verdict_rows = [(f"[{c.id}](#{c.id})", c.quote, c.sources_say, c.kind, c.read) for c in all_claims]
    fact_rows = [(f'<a id="{name}"></a>`{name}`', f.quantity, f.text if isinstance(f, facts.Fact) else "a statement",
                  f.boundary or "-", f.reference, f.where, facts.READ[f.read], ", ".join(used[name]))
                 for name, f in facts.all_facts().items() if name in used]
    minutes = sum(one["minutes"] for one in all_lessons)
    return "\n".join([
        _HEAD, "## Lessons", "",
        f"{len(all_lessons)} lessons, {minutes:,} minutes in class. CPU seconds and memory are budgets.", "",
        _table(("", "lesson", "the question", "minutes", "CPU, s", "memory, MB", "claims"), lesson_rows),
        "## Claims", "", f"What the article says, and where the course decides it: {len(claim_rows)} claims.", "",
        _table(("claim", "the article says", "where it is decided", "figures behind it"), claim_rows),
        "<details><summary>The verdicts of the sources. They answer what lessons ask: read them afterwards.</summary>",
        "", _table(("claim", "the article says", "the sources say", "how it is decided", "evidence read"), verdict_rows),
        "</details>", "",
        "## Figures", "", f"{len(fact_rows)} published figures and findings that lessons use; what was read, and how.", "",
        _table(("id", "what", "figure", "what is inside", "source", "where", "how it was read", "lessons"), fact_rows)])


def _place(claim, number, lesson):
    """Where a lesson decides a claim, as a link. JupyterLab goes to the heading, if its anchor is the same in an address
    (a quotation mark is not); GitHub goes to the notebook's top."""
    if not lesson:
        return number
    heading = lesson["decides"].get(claim, "")
    anchor = heading.replace(" ", "-")
    place = f"#{anchor}" if re.fullmatch(r"[\w:,.?!'-]+", anchor, re.ASCII) else ""
    return f"[{number}{heading and ', '}{heading}]({lesson['file']}.ipynb{place})"


def _table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"
