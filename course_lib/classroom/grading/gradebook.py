"""What the instructor gets of a graded class: `grades.csv`, a summary for the terminal, and a picture.

Names, notes and file names come from learners: they are cleaned for terminals and defused for spreadsheets.
"""

import csv
import io
import re
import statistics
from collections import Counter
from pathlib import Path

from .. import CourseError
from . import model
from .texts import cut, one_line, plural, points_text, wrapped, write_whole

COLUMNS = ("learner", "id", "exercise", "score", "max", "percent", "status", "notes", "file")
_LONGEST = 4000  # characters of one CSV field; a spreadsheet's cell holds 32,767
# What a spreadsheet may take for a formula; the last four are the full-width forms of the first four.
_FORMULA = re.compile(r"[\s']*[=+\-@＝＋－＠]|[\t\r]")


def defuse(text):
    """A text as a CSV field: one line, and never a formula (a leading ' keeps a spreadsheet from that)."""
    flat = re.sub(r"[\r\n\x00\u2028\u2029]+", " ", str(text)).encode("utf-8", "backslashreplace").decode()
    flat = flat if len(flat) <= _LONGEST else flat[: _LONGEST - 4] + " ..."
    return "'" + flat if _FORMULA.match(flat) else flat


def fuse(field):
    """The text that `defuse` made a field of."""
    return field[1:] if field[:1] == "'" and _FORMULA.match(field[1:]) else field


def ordered(results):
    """Results by learner (case aside), then exercise: the same order for the same results."""
    return sorted(results, key=lambda r: (r.learner.casefold(), r.learner, r.lms_id, r.exercise, r.file,
                                          r.status))  # fmt: skip


def write_csv(results, exercises, path):
    """Write `grades.csv`, what `csv_bytes` gives. Raises OSError where it cannot be written."""
    write_whole(path, csv_bytes(results, exercises))


def csv_bytes(results, exercises):
    """A line per result, COLUMNS first, then the points of each check of `exercises`.

    UTF-8 with a BOM, which Excel needs. Equal results give equal bytes: no times inside. What the grader
    itself failed on has no score, so that nobody takes it for a zero.
    """
    known, shown = {exercise.name: exercise for exercise in exercises}, points_text
    ids = list(dict.fromkeys(check.id for exercise in exercises for check in exercise.checks))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*COLUMNS, *map(defuse, ids)])
    for result in ordered(results):
        exercise, counted = known.get(result.exercise), result.status != model.FAILED
        full = exercise.points if exercise else result.max
        mine = {check.id for check in exercise.checks} if exercise and counted else ()
        writer.writerow([
            defuse(result.learner), defuse(result.lms_id), defuse(result.exercise),
            shown(result.score) if counted else "", shown(full) if full else "",
            f"{100 * result.score / full:.1f}" if counted and full else "", result.status,
            defuse("; ".join(filter(None, [result.problem, *result.notes]))), defuse(result.file),
            *(shown(result.checks.get(name, {}).get("points", 0)) if name in mine else "" for name in ids),
        ])  # fmt: skip
    return text.getvalue().encode("utf-8-sig")


def read_table(path):
    """(rows of fields, delimiter, had a BOM) of a CSV file with commas, semicolons or tabs.

    Raises CourseError where there is no such file, or it is not a table in UTF-8.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CourseError(f"{path} is not UTF-8: save it as 'CSV UTF-8', or download it again") from None
    delimiter = max(",;\t", key=(text.splitlines() or [""])[0].count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise CourseError(f"{path} is not a CSV table: {error}") from None
    if not rows:
        raise CourseError(f"{path} is empty: it must be a CSV table with a line of column names")
    return rows, delimiter, data.startswith(b"\xef\xbb\xbf")


def number(text):
    """A number as spreadsheets write it (decimal point or comma), or None."""
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None  # NaN is not


def read_csv(path):
    """What `write_csv` wrote, as a list of dicts by COLUMNS; score, max and percent are numbers or None.

    A spreadsheet may have saved it again, with semicolons. Raises CourseError where it is something else.
    """
    (header, *rows), _, _ = read_table(path)
    if tuple(header[: len(COLUMNS)]) != COLUMNS:
        raise CourseError(f"{path} is no list of grades: `course grade` writes one whose columns begin with "
                          + ", ".join(COLUMNS[:4]))
    grades = []
    for row in rows:
        fields = dict(zip(COLUMNS, map(fuse, [*row, *[""] * len(COLUMNS)]), strict=False))
        grades.append({**fields, **{name: number(fields[name]) for name in ("score", "max", "percent")}})
    return grades


def rights(check, graded):
    """How many of the graded results got this check."""
    return sum(result.checks.get(check.id, {}).get("outcome") == model.RIGHT for result in graded)


def summary(results, exercises):
    """The class in plain words, at most 96 columns wide: per exercise, hand-ins, scores, and each check."""
    blocks = [_exercise_summary(exercise, [r for r in results if r.exercise == exercise.name])
              for exercise in exercises]  # fmt: skip
    lost = [r for r in results if r.exercise not in {exercise.name for exercise in exercises}]
    if lost:
        blocks.append([f"{plural(len(lost), 'hand-in')} of none of these exercises:", *_problems(lost)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _problems(results):
    lines = []
    for r in ordered(results)[:5]:
        lines += wrapped(f"{one_line(r.learner, 30)}: {cut(r.problem or r.status)}", 96, " " * 4, " " * 6)
    return lines + [f"    and {len(results) - 5} more: see the notes in the CSV"] * (len(results) > 5)


def _exercise_summary(exercise, results):
    by = {status: [r for r in results if r.status == status] for status in model.STATUSES}
    graded, total = by[model.GRADED], exercise.points
    parts = {"graded": graded, "broken": by[model.BROKEN], "failed by fault of the grader": by[model.FAILED]}
    handed_in = ", ".join(f"{len(some)} {word}" for word, some in parts.items() if some)
    lines = [f"{one_line(exercise.name, 44)}: {one_line(exercise.title, 32)}, {points_text(total)} points",
             f"  {sum(map(len, parts.values()))} handed in{handed_in and f' ({handed_in})'}, "
             + f"{len(by[model.MISSING])} missing"]  # fmt: skip
    lines += _problems(by[model.BROKEN] + by[model.FAILED])
    if not graded:
        return [*lines, "  No notebook was graded, so there are no scores."]
    scores = [r.score for r in graded]
    middle = [f"{name} {value:.1f}" + (f" ({100 * value / total:.0f} %)" if total else "") for name, value in
              (("mean", statistics.fmean(scores)), ("median", statistics.median(scores)))]  # fmt: skip
    lines.append(f"  Score of the graded: {', '.join(middle)}, lowest {points_text(min(scores))}, "
                 f"highest {points_text(max(scores))}")
    counts = [(rights(check, graded), check) for check in exercise.checks]
    wide = max(5, *(min(len(check.id) + 9 * check.hidden, 38) for check in exercise.checks))
    lines.append(f"  {'check':<{wide}}  points  right  share of the {len(graded)} graded")
    for n, check in counts:
        name = one_line(check.id, 38 - 9 * check.hidden) + " (hidden)" * check.hidden
        share = n / len(graded)
        lines.append(f"  {name:<{wide}}  {points_text(check.points):>6}  {n:>5}  {100 * share:>3.0f} % "
                     f"|{'#' * round(20 * share):<20}|")
    low = sorted([(n, check.id) for n, check in counts if n < len(graded)], key=lambda pair: pair[0])
    if not low:
        return [*lines, "  Every check was right in every notebook."]
    named, more = [f"{one_line(name, 36)} ({n})" for n, name in low[:2]], sum(n == low[1][0] for n, _ in low[2:])
    text = f"Lowest: {' and '.join(named)}" + f", and {more} more with as few" * bool(more)
    return [*lines, *wrapped(text, 96, "  ", "    ")]


def picture(results, exercises, path):
    """Write a PNG of the class's result and return its alt text, which the PNG also holds as its Description.

    A row per exercise: the share of the graded learners who got each check (hidden ones hatched), and how the
    scores spread. Equal results give equal bytes. Raises OSError where it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from ... import plots

    heights = [max(1.9, 0.27 * len(exercise.checks) + 0.9) for exercise in exercises]
    fig, panels = plots.figure("Which checks did the class get right?", panels=2, width=10.5,
                               height=0.9 + sum(heights))  # fmt: skip
    for ax in panels:
        ax.remove()
    grid = fig.add_gridspec(len(exercises), 2, width_ratios=(3, 2), height_ratios=heights)
    said = []
    for row, exercise in enumerate(exercises):
        graded = [r for r in results if r.exercise == exercise.name and r.status == model.GRADED]
        _shares(plots, fig.add_subplot(grid[row, 0]), exercise, graded)
        said.append(_spread(plots, fig.add_subplot(grid[row, 1]), exercise, graded))
    handles = [h for h in fig.axes[0].get_legend_handles_labels() if h]
    fig.align_ylabels(fig.axes[::2])
    if handles:
        fig.legend(*handles, loc="outside lower left", ncols=2)
    alt = ("Bars of the share of learners who got each check, and of how many learners reached which score. "
           + " ".join(said))
    if found := plots.problems(fig, alt):
        raise ValueError(f"This figure cannot be shown: {'; '.join(found)}.")
    data = io.BytesIO()
    FigureCanvasAgg(fig).print_png(data, metadata={"Software": None, "Description": alt})
    write_whole(path, data.getvalue())
    return alt


def _label(text, columns):
    return one_line(text, columns).replace("$", r"\$")  # no formula in a learner's or author's name


def _shares(plots, ax, exercise, graded):
    """Horizontal bars: for each check, the share of the graded who got it."""
    names = [_label(check.id, 30) + " (hidden)" * check.hidden for check in exercise.checks]
    for i, kind in enumerate(("visible check", "hidden check: other numbers")):
        where = [at for at, check in enumerate(exercise.checks) if check.hidden == bool(i)]
        got = [rights(exercise.checks[at], graded) for at in where]
        look = {"color": plots.OKABE_ITO[6 - i], "hatch": plots.HATCHES[i], "edgecolor": "black"}
        drawn = ax.barh(where, [100 * n / max(len(graded), 1) for n in got], 0.75, label=kind, **look)
        ax.bar_label(drawn, [f"{n} of {len(graded)}" if graded else "" for n in got], padding=3, fontsize=9)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set(xlim=(0, 118), ylim=(len(names) - 0.4, -0.6), xticks=range(0, 101, 20), ylabel="check")
    ax.set_xlabel("learners who got it (% of the graded)")
    ax.set_title(f"{_label(exercise.name, 34)}, {len(graded)} graded", fontsize=11)
    ax.grid(visible=False, axis="y")


def _spread(plots, ax, exercise, graded):
    """A histogram of the scores, and a sentence that says what both pictures of this exercise show."""
    from matplotlib.ticker import MaxNLocator

    total, scores = exercise.points, [r.score for r in graded]
    single = total <= 20 and all(float(score).is_integer() for score in scores)
    width = 1 if single else total / 10  # a bar per point, or ten equal steps
    last = round(total / width) - (not single) if total else 0
    bars = Counter(min(int(score / width), last) for score in scores) if total else {}
    ax.bar([(at + 0.5 * (not single)) * width for at in bars], bars.values(), 0.9 * width,
           color=plots.OKABE_ITO[2], edgecolor="black")  # fmt: skip
    ax.set(xlim=(-0.6 * width, (total + 0.6 * width) or 1), ylim=(0, 1.2 * max(bars.values(), default=1)))
    ax.set(xlabel=f"score (points of {points_text(total)})", ylabel="learners")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    ax.grid(visible=False, axis="x")
    if not graded:
        return f"{exercise.name}: no notebook was graded."
    mean, median = statistics.fmean(scores), statistics.median(scores)
    if len(graded) > 1:
        ax.axvline(median, color="black", linestyle="--")
    ax.set_title(f"{'median (dashed)' if len(graded) > 1 else 'score'} {points_text(median)}", fontsize=11)
    by_count = sorted(exercise.checks, key=lambda check: rights(check, graded))
    low, high = (f"{check.id} ({rights(check, graded)})" for check in (by_count[0], by_count[-1]))
    return (f"{exercise.name}, {plural(len(graded), 'learner')} graded: mean {mean:.1f} and median "
            f"{points_text(median)} of {points_text(total)} points; fewest got {low}, most got {high}.")
