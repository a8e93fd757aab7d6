"""One feedback page per learner and exercise, as HTML and as plain text, and a list of all for instructors.

A table lists every check; a task has a section of its own only where one of its checks is not right yet.
A page is said once, as a list of blocks; `pages` draws it twice and escapes it. A visible check comes with
what the answer gives, what is expected, and a hint. Of a hidden check only "right" or "not yet" is shown, and
its author's hint: anything else could give its numbers away.
"""

import hashlib
import re
import unicodedata
from difflib import SequenceMatcher
from pathlib import Path
from urllib.parse import quote

from ...selfcheck import slip
from . import model
from .gradebook import ordered
from .pages import as_html, as_text, plain
from .texts import one_line, points_text, readable, write_whole

CHARACTERS, LINES = 2000, 40  # no more of an answer's text is shown
_NOTES = 30
_OTHER_NUMBERS = "This check uses other numbers than the ones you see. Write the rule, not the result."
_SAID = {  # of visible checks only: what happened, where the result gives no reason; and what it may mean
    model.WRONG: ("Your answer does not give what is expected.", ""),
    model.ERROR: ("Your code raised an error.", ""),
    model.UNANSWERED: ("This is not answered yet: the line that asks for your code was reached.", ""),
    model.TIMEOUT: ("It did not end in time.", "Is there a loop that never stops?"),
    model.DIED: ("Python stopped while this cell ran.", "Often this means that the memory was used up."),
    model.FLOOD: ("It wrote more than the grader takes.", "Is there a print inside a long loop?"),
    model.UNREACHED: ("The time for the whole notebook was over before this check.", ""),
}


def page_name(result):
    """(folder, stem) of a result's page: fit for every file system, its own for each learner, never changing.

    The hash is of the exact name and number, so that names that differ in case, or only in what a file name
    cannot hold, stay apart; it also keeps Windows' reserved names (CON, NUL) from standing alone.
    """
    who = [result.learner, result.lms_id] + [result.file] * (not result.exercise)
    mark = hashlib.sha256("\n".join(who).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    name = _safe(result.learner, 40) or "learner"
    return _safe(result.exercise, 80) or "unknown_exercise", f"{name}-{mark}"


def _safe(name, longest):
    kept = "".join(c if c.isalnum() else "_" for c in unicodedata.normalize("NFC", name[:500]))
    return re.sub("_+", "_", kept)[:longest].strip("_")


def write_feedback(result, exercise, folder):
    """Write the HTML page of one model.Result, and the same as text beside it; the page's path.

    `exercise` is its model.Exercise (the public form will do), or None where it could not be told. The
    exercise's name is the folder inside `folder`. Raises OSError where a page cannot be written.
    """
    sub, stem = page_name(result)
    page = Path(folder, sub, f"{stem}.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    blocks = _blocks(result, exercise)
    title = f"Feedback: {_title(result, exercise)}, {one_line(result.learner, 60)}"
    write_whole(page, as_html(title, blocks))
    write_whole(page.with_suffix(".txt"), as_text(blocks))
    return page


def write_index(pages, folder):
    """Write `index.html` into `folder`: the instructor's list of `pages`, (result, its page's path) each.

    Returns its path. Raises OSError where it cannot be written.
    """
    path, rows = Path(folder, "index.html"), []
    page_of = {id(result): page for result, page in pages}
    for result in ordered([result for result, _ in pages]):
        address = "/".join(map(quote, Path(page_of[id(result)]).relative_to(folder).parts))
        score = f"{points_text(result.score)} of {points_text(result.max)}" if result.max else "0"
        name = one_line(result.learner, 60) or "(no name)"
        rows.append([("link", address, name), one_line(result.exercise, 60),
                     "-" if result.status == model.FAILED else score, result.status])  # fmt: skip
    warning = "For you, the instructor: this list names every learner. Give each learner only their own page."
    table = ("table", "All pages, by learner", ["Learner", "Exercise", "Points", "Status"], rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, as_html("Feedback pages", [("h1", "Feedback pages"), ("p", warning), table]))
    return path


def _title(result, exercise):
    return one_line(exercise.title if exercise else result.exercise or "unknown exercise", 80)


def _blocks(result, exercise):
    """What the page says, in the blocks of `pages`."""
    blocks = [("h1", _title(result, exercise)), ("by", "Feedback for", one_line(result.learner)),
              ("lead", _opening(result, exercise))]  # fmt: skip
    if result.problem:
        blocks.append(("p", f"Why: {one_line(result.problem, 500)}"))
    if result.file:
        blocks.append(("by", "Handed in as", one_line(result.file, 200)))
    if notes := [one_line(note, 300) for note in result.notes[:_NOTES]]:
        more = [f"... and {len(result.notes) - _NOTES} more notes"] * (len(result.notes) > _NOTES)
        blocks += [("h2", "Notes on your file"), ("list", notes + more)]
    if result.status != model.GRADED or exercise is None:
        return blocks
    rows, sections = [], []
    for task, heading in _tasks(exercise).items():
        checks = [check for check in exercise.checks if check.task == task]
        rows += [heading, *([check.id + " (hidden)" * check.hidden, _points(result, check),
                             ("mark", _right(result, check))] for check in checks)]  # fmt: skip
        if missed := [check for check in checks if not _right(result, check)]:
            untitled = heading.endswith(f": {task}")  # its name is not said twice
            sections.append(("h2", heading) if untitled else ("task", heading, task))
            sections += [block for check in missed for block in _check(result, check)]
    return [*blocks, ("h2", "All checks"), ("table", "Each check, its points, and its result",
            ["Check", "Points", "Result"], rows), *sections]  # fmt: skip


def _tasks(exercise):
    """{grade_id of an answer cell: "Task 1: its title"}, in the notebook's order."""
    names = dict.fromkeys(check.task for check in exercise.checks)
    titles = {task: plain(one_line(exercise.titles.get(task) or "", 80)) or task for task in names}
    return {task: f"Task {number}: {titles[task]}" for number, task in enumerate(names, 1)}


def _opening(result, exercise):
    if result.status == model.MISSING:
        return "Nothing was handed in for this exercise."
    if result.status == model.FAILED:
        return "The grader had a problem here. That is not your fault; your instructor can try again."
    if result.status == model.BROKEN or exercise is None:
        return "This file could not be graded. Please ask your instructor whether you can hand it in again."
    missed = [check for check in exercise.checks if not _right(result, check)]
    score = f"{points_text(result.score)} of {points_text(exercise.points)} points."
    if not missed:
        return f"{score} Every check is right."
    seen = [check for check in missed if not check.hidden]
    where = _tasks(exercise)[(seen or missed)[0].task]
    start = "A good place to go on is" if len(missed) > 1 else "One check is not right yet, in"
    start += f" {where}" + "." * (where[-1] not in ".?!")
    if len(missed) == len(exercise.checks):
        return f"{score} No check is right yet. {start}"
    right = len(exercise.checks) - len(missed)
    return f"{score} {right} of {len(exercise.checks)} checks are right. {start}"


def _right(result, check):
    return result.checks.get(check.id, {}).get("outcome") == model.RIGHT


def _points(result, check):
    return f"{points_text(result.checks.get(check.id, {}).get('points', 0))} of {points_text(check.points)}"


def _check(result, check):
    """The blocks of a check that is not right: of a hidden one nothing but "not yet" and its author's hint."""
    first = [one_line(hint) for hint in check.hints[:1]]
    kind = "hidden check" if check.hidden else "check"
    blocks = [("h3", f"{check.id} ({kind})"), ("mark", False, _points(result, check) + " points")]
    if check.hidden:
        return [*blocks, ("hint", first[0] if first else _OTHER_NUMBERS)]
    row = result.checks.get(check.id, {})
    outcome, reason = row.get("outcome"), one_line(row.get("reason") or "", 300)
    said, advice = _SAID.get(outcome, _SAID[model.UNREACHED])
    if outcome == model.ERROR and reason:
        said = f"Your code raised an error: {reason}"
    elif reason and outcome in (model.TIMEOUT, model.DIED, model.FLOOD):
        said = f"{reason[0].upper()}{reason[1:].rstrip('.')}."
    blocks.append(("p", f"{said} {advice}".rstrip()))
    about = [note for note in result.notes[:_NOTES] if note.startswith(f"answer cell '{check.task}' ")]
    blocks += [("p", f"Note: {one_line(note, 300)}.") for note in about]
    if check.expected is not None and row.get("got") is not None:
        rows, cut = _lines(str(row["got"]), check.expected)
        blocks.append(("lines", "What your answer gives, and what is expected, line by line", rows))
        if cut:
            blocks.append(("p", f"Long texts are cut here, to {CHARACTERS:,} characters and {LINES} lines."))
        elif why := slip(str(row["got"]), check.expected):
            blocks.append(("p", why))
    elif check.expected is not None:
        wanted = [("expected", [("", line)]) for line in _cut(check.expected)[0]]
        blocks.append(("lines", "What is expected", wanted))
    if first:
        more = f' In the notebook, hint("{check.id}") gives more.' if len(check.hints) > 1 else ""
        blocks.append(("hint", f"{first[0]}{more}"))
    return blocks


def _cut(text):
    """(lines of at most CHARACTERS and LINES, whether something was left out)."""
    shown = readable(text)
    lines = shown[:CHARACTERS].split("\n")
    return lines[:LINES], len(shown) > CHARACTERS or len(lines) > LINES or len(text) > 10 * CHARACTERS


def _lines(got, expected):
    """Rows (whose line, [(mark, piece)]) where whose is "", "yours" or "expected"; whether a text was cut."""
    (a, cut_a), (b, cut_b) = _cut(got), _cut(expected)
    rows = []
    for op, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if op == "equal":
            rows += [("", [("", line)]) for line in a[i:j]]
        elif j - i == m - k:  # line by line, with the differing words marked
            for mine, theirs in zip(a[i:j], b[k:m]):
                rows += zip(("yours", "expected"), _words(mine, theirs))
        else:
            rows += [("yours", [("", line)]) for line in a[i:j]]
            rows += [("expected", [("", line)]) for line in b[k:m]]
    return rows, cut_a or cut_b


def _words(mine, theirs):
    """Two lines in pieces: those that differ marked "del" in mine and "ins" in theirs."""
    a, b = (re.findall(r"\w[\w.+-]*|\s+|[^\w\s]", line)[:200] for line in (mine, theirs))
    if "".join(a) != mine or "".join(b) != theirs:
        return [("", mine)], [("", theirs)]
    sides = [], []
    for op, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for side, mark, piece in ((sides[0], "del", a[i:j]), (sides[1], "ins", b[k:m])):
            if piece:
                side.append(("" if op == "equal" else mark, "".join(piece)))
    return sides
