"""The report's pictures: SVG inside the page, in the course's style, each with its words."""

import html
import io
import re
import textwrap

from ... import plots
from ...stats import si
from .spread import FEWEST


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


def _rows(title, xlabel, labels, legend=0.0):
    """A figure of horizontal rows, one for each label (a list of lines), the first on top."""
    texts = ["\n".join(textwrap.shorten(line, 34, placeholder=" ...") for line in lines).replace("$", r"\$") for lines in labels]
    high = 1.1 + legend + sum(0.1 + 0.17 * len(lines) for lines in labels)
    fig, ax = plots.figure("", xlabel, "work", width=6.6, height=max(high, 1.8))
    fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    ax.set_yticks(range(len(texts)), texts)
    ax.set_ylim(len(texts) - 0.4, -0.6)
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
    fig, ax = _rows("How far from the median does each machine lie?", "times the median of the row",
                    [(g.work, f"{g.label}, {si(g.median, g.unit)}") for g in groups])
    for at, group in enumerate(groups):
        calculated = group.unit == "J" and not group.sensed
        colour, tall = (plots.OKABE_ITO[1], 0.2) if calculated else (plots.OKABE_ITO[0], 0.34)
        x = [value for m in group.machines.values() for value in (m.value / group.median,) * 2 + (float("nan"),)]
        y = [at, at - tall, float("nan")] * len(group.machines)  # one path a row: a page of 300 machines stays small
        ax.plot(x, y, color=colour, linewidth=1.3)
        if len(group.machines) >= FEWEST:
            ax.plot([end / group.median for end in group.quartiles[::2]], [at + 0.2] * 2, color="black", linewidth=3.5,
                    solid_capstyle="butt")
        for above in (False, True):  # the median: rings of one side share a text beside the outermost
            far = sorted((factor, number) for number, factor in group.outliers.items() if (factor > 1) == above)
            if far:
                ax.plot([factor for factor, _ in far], [at - 0.17] * len(far), "o", markerfacecolor="none",
                        markeredgecolor="black", markersize=9, linestyle="none")
                some = [str(number) for _, number in (far[-3:] if above else far[:3])]
                ax.annotate(", ".join([*some, "..."] if len(far) > 3 else some), (far[-above][0], at - 0.17),
                            (7 if above else -7, 0), textcoords="offset points", va="center", fontsize=9,
                            ha="left" if above else "right")
    ax.axvline(1, color="black", linewidth=0.8)
    _factors(ax)
    widest = max(groups, key=lambda g: g.across or 0)
    alt = (f"{len(groups)} rows on a logarithmic axis of times the row's own median. Each machine is a stroke, a short one "
           "where joules were calculated; the bar under the strokes is the middle half of the machines; machines far out "
           "have a ring and their number.")
    if widest.across:
        alt += f" The widest bar spans a factor of {widest.across:.3g}: {widest.work}, {widest.title}."
    return fig, alt


def across_within(groups):
    """(figure, alt): the factor across machines beside the factor within one, in CPU time."""
    fig, ax = _rows("Do machines differ more than one from itself?", "factor that the middle half spans (CPU time)",
                    [(g.work,) for g in groups], legend=0.35)
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
