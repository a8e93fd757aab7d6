"""The report's pictures: SVG inside the page, in the course's style, each with its words."""

import html
import io
import math
import re
import textwrap

from ... import plots
from ...claims import VERDICTS
from ...stats import si
from .guesses import CLASSES
from .spread import FEWEST

_WORDS = {"right": "right", "near": "within half and double", "far": "further off"}


def svg(fig, alt, salt):
    """A figure as an SVG element: no names, no dates, no ids that another figure of the page has, text as text.

    Raises ValueError where the figure breaks a rule of `plots`: no question, no axis label, no alt text.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    if found := plots.problems(fig, alt):
        raise ValueError(f"This figure cannot be shown: {'; '.join(found)}.")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"course pool {salt}"}):
        # all four None: then there is no metadata element, with its date and the name of the program
        FigureCanvasSVG(fig).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg"):]
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r"(?<=[\d.])(\d\.\d{2})\d+", r"\1", text)  # hundredths of a point are enough
    wide, high = (round(float(size)) for size in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups())
    head = (f'<svg viewBox="0 0 {wide} {high}" width="{wide * 4 // 3}" height="{high * 4 // 3}" role="img" '
            f'aria-label="{html.escape(alt)}">')
    return head + text[text.index(">") + 1:]


def _label(*lines, wide=26):
    """A label of rows, with names cut to a few short lines; a dollar sign starts no formula."""
    said = [part for line in lines for part in textwrap.wrap(line, wide, max_lines=2, placeholder=" ...")]
    return "\n".join(said).replace("$", r"\$")


def _rows(title, ylabel, xlabel, labels, legend=False):
    """A figure of horizontal rows, one for each label, the first on top."""
    lines = sum(label.count("\n") + 1.6 for label in labels)
    fig, ax = plots.figure("", xlabel, ylabel, width=6.2, height=1.0 + 0.35 * legend + 0.17 * lines)
    fig.suptitle(textwrap.fill(title, 58), x=0.01, ha="left", fontsize=12, fontweight="bold")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    return fig, ax


def _factors(ax):
    """A logarithmic axis of factors, with numbers as people write them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    low, high = ax.get_xlim()
    dense = (1, 2, 5) if high / low > 5 else (1, 1.5, 2, 3, 5, 7) if high / low > 2 else (1, 1.1, 1.2, 1.5, 2, 7, 8, 9)
    ax.xaxis.set_major_locator(LogLocator(subs=dense if high / low < 1000 else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def machines(groups):
    """(figure, alt) of where the machines of a lesson lie, in times the median of their own row."""
    labels = [_label(g.work, f"{g.label}, {si(g.median, g.unit)}") for g in groups]
    fig, ax = _rows("How far from the median does each machine lie?", "work", "times the median of the row",
                    labels)
    for at, group in enumerate(groups):
        calculated = group.unit == "J" and not group.sensed
        colour, tall = (plots.OKABE_ITO[1], 0.2) if calculated else (plots.OKABE_ITO[0], 0.34)
        where = {number: machine.value / group.median for number, machine in group.machines.items()}
        x = [value for one in where.values() for value in (one, one, float("nan"))]
        y = [at, at - tall, float("nan")] * len(where)  # one path a row: a page of 300 machines stays small
        ax.plot(x, y, color=colour, linewidth=1.3)
        if len(where) >= FEWEST:
            ax.plot([end / group.median for end in group.quartiles[::2]], [at + 0.2] * 2, color="black", linewidth=3.5,
                    solid_capstyle="butt")
        far = [(number, where[number]) for number in group.outliers]
        ax.plot([x for _, x in far], [at - 0.17] * len(far), "o", markerfacecolor="none", markeredgecolor="black",
                markersize=9, linestyle="none")
    ax.axvline(1, color="black", linewidth=0.8)
    _factors(ax)
    low, high = map(math.log, ax.get_xlim())
    for at, group in enumerate(groups):
        for x, numbers in _bunches(group, (high - low) / 4):
            ax.annotate(numbers, (x, at - 0.17), (7, 0), textcoords="offset points", va="center", fontsize=9)
    widest = max(groups, key=lambda g: g.across or 0)
    alt = (f"{len(groups)} rows on a logarithmic axis of times the row's own median. Each machine is a stroke, a short one "
           "where joules were calculated; the bar under the strokes is the middle half of the machines; machines far out "
           "have a ring and their number.")
    if widest.across:
        alt += f" The widest bar spans a factor of {widest.across:.3g}: {widest.work}, {widest.title}."
    return fig, alt


def _bunches(group, gap):
    """[(where, "3, 7")] of the machines far out: those closer than `gap` on the logarithmic axis share one text."""
    bunches = []
    for number, factor in sorted(group.outliers.items(), key=lambda one: one[1]):
        x = group.machines[number].value / group.median
        if bunches and math.log(x / bunches[-1][0]) < gap:
            bunches[-1] = (x, [*bunches[-1][1], number])
        else:
            bunches.append((x, [number]))
    return [(x, ", ".join(map(str, sorted(numbers)[:3])) + ", ..." * (len(numbers) > 3)) for x, numbers in bunches]


def across_within(groups):
    """(figure, alt): the factor across machines beside the factor within one, in CPU time."""
    fig, ax = _rows("Do machines differ more than one machine differs from itself?", "piece of work",
                    "factor that the middle half spans (CPU time)", [_label(g.work) for g in groups], legend=True)
    for at, group in enumerate(groups):
        ax.plot([group.within, group.across], [at, at], color="#777777", linewidth=1.2, linestyle=":")
    ax.plot([g.within for g in groups], range(len(groups)), "o", markerfacecolor="white", markeredgecolor="black",
            linestyle="none", label="within one machine")
    ax.plot([g.across for g in groups], range(len(groups)), "D", color=plots.OKABE_ITO[0], linestyle="none",
            label="across machines")
    ax.set_xlim(left=1)
    _factors(ax)
    fig.legend(loc="outside lower left", ncols=2)
    most = max(groups, key=lambda g: g.across)
    alt = (f"{len(groups)} rows, each with a hollow circle for the factor within one machine and a filled diamond for that "
           f"across machines. In {sum(g.across > g.within for g in groups)} of them machines differ more than one machine "
           f"does; the largest factor across is {most.across:.3g}, for {most.work}.")
    return fig, alt


def _stacked(title, ylabel, xlabel, labels, names, shares):
    """Rows of bars that add up to 100 %: `shares` is {name: [percent, ...]}; hatches tell them apart in grey."""
    fig, ax = _rows(title, ylabel, xlabel, labels, legend=True)
    start = [0.0] * len(labels)
    for i, (name, said) in enumerate(names.items()):
        ax.barh(range(len(labels)), shares[name], 0.66, left=start, color=plots.OKABE_ITO[(0, 6, 1, 4, 5)[i]],
                edgecolor="black", hatch=plots.HATCHES[i], linewidth=0.8, label=said)
        start = [a + b for a, b in zip(start, shares[name])]
    ax.set_xlim(0, 100)
    fig.legend(loc="outside lower left", ncols=3)
    return fig, ax


def predictions(tallies):
    """(figure, alt): how the class's answers lay, in percent of those who answered."""
    labels = [_label(f"{t.question.key} ({t.label})" if t.label else t.question.key, wide=40) for t in tallies]
    shares = {name: [100 * t.counts[name] / t.answered for t in tallies] for name in CLASSES}
    fig, _ = _stacked("How near did the class's predictions come?", "question", "percent of the answers", labels,
                      _WORDS, shares)
    best = max(tallies, key=lambda t: t.counts["right"] / t.answered)
    worst = min(tallies, key=lambda t: t.counts["right"] / t.answered)
    said = [f"{100 * t.counts['right'] / t.answered:.0f} % on {t.question.key}" for t in (best, worst)]
    return fig, (f"One bar for each of {len(tallies)} questions, divided into right, within half and double, and further "
                 f"off. Most were right with {said[0]}, fewest with {said[1]}.")


def verdicts(counts):
    """(figure, alt): how the verdicts on each claim came out, in percent of the ledgers that have one."""
    shares = {word: [100 * count[word] / count.total() for count in counts.values()] for word in VERDICTS}
    names = {word: word for word in VERDICTS if any(shares[word])}
    fig, _ = _stacked("On which claims did machines reach different verdicts?", "claim", "percent of the ledgers",
                      list(counts), names, shares)
    said = "; ".join(f"{id}: " + ", ".join(f"{word} {n}" for word, n in count.most_common())
                     for id, count in counts.items())
    return fig, f"One bar for each claim on which verdicts differ, divided by verdict. {said}."


