"""One look for every figure of the course.

A figure here answers the question in its title, names the units on its axes, and can be read in grey and by
colour-blind readers: each series has its own Okabe-Ito colour, line style, marker and hatch. `show` refuses a
figure that breaks these rules, so a lesson cannot ship one by accident.

Figures are `matplotlib.figure.Figure` objects without pyplot: nothing is drawn twice, no window is kept open.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap

# Okabe & Ito (2008), "Color Universal Design": distinct for the common kinds of colour vision, and in grey.
# Yellow comes last: it is too pale for a line on white.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), "-", "--")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "---")

_RC = {
    "font.size": 11, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
    "axes.axisbelow": True, "lines.linewidth": 1.8, "lines.markersize": 6, "legend.frameon": False,
    "figure.facecolor": "white", "hatch.linewidth": 0.8,
}  # fmt: skip
_DPI = 110  # sharp on ordinary screens, small enough for a saved notebook


def figure(title, xlabel="", ylabel="", *, width=7.2, height=3.8, panels=1, shared_y=False):
    """A new figure in the course's style: (fig, ax), or (fig, [ax, ...]) with `panels` side by side.

    `title` is the question that the figure answers; width and height are in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(_RC)
    fig = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = fig.subplots(1, panels, squeeze=False, sharey=shared_y)[0]
    for ax in axes:
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel if ax is axes[0] or not shared_y else "")
    if panels == 1:
        axes[0].set_title(title)
        return fig, axes[0]
    fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return fig, list(axes)


def series(i):
    """Keyword arguments that set the i-th series apart in colour, in line style and in marker."""
    n = len(OKABE_ITO)
    return {"color": OKABE_ITO[i % n], "linestyle": LINE_STYLES[i % n], "marker": MARKERS[i % n]}


def lines(ax, x, curves, *, spread=None, legend=True):
    """Draw `curves` ({name: y values}) over x. `spread` ({name: half-widths or (low, high)}) adds error bars.

    Error bars belong to every measured value; leave them out only for counted or computed ones.
    """
    for i, (name, y) in enumerate(curves.items()):
        if spread is not None and name in spread:
            ax.errorbar(x, y, yerr=_yerr(y, spread[name]), capsize=3, label=name, **series(i))
        else:
            ax.plot(x, y, label=name, **series(i))
    if legend and len(curves) > 1:
        ax.legend()


def bars(ax, names, values, *, spread=None, groups=None, texts=None, horizontal=False):
    """Draw bars. `values` is a list, or {group: list} for bars side by side; `spread` likewise (half-widths or
    (low, high) pairs of lists). `texts` writes a word above each bar of a single group."""
    grouped = values if isinstance(values, dict) else {groups or "": list(values)}
    spreads = spread if isinstance(spread, dict) else {name: spread for name in grouped}
    size = 0.8 / len(grouped)
    where = range(len(names))
    for i, (group, ys) in enumerate(grouped.items()):
        at = [w + (i - (len(grouped) - 1) / 2) * size for w in where]
        look = {"color": OKABE_ITO[i % 8], "edgecolor": "black", "hatch": HATCHES[i % 8], "label": group or None}
        err = _yerr(ys, spreads.get(group))
        drawn = (
            ax.barh(at, ys, size * 0.92, xerr=err, capsize=3, **look)
            if horizontal
            else ax.bar(at, ys, size * 0.92, yerr=err, capsize=3, **look)
        )
        if texts is not None:
            ax.bar_label(drawn, labels=list(texts), padding=3, fontsize=10)
    if horizontal:
        ax.set_yticks(list(where), names)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
    else:
        ax.set_xticks(list(where), names)
        ax.grid(visible=False, axis="x")
    if len(grouped) > 1:
        ax.legend()


def _yerr(y, spread):
    """matplotlib's error form, from half-widths or from (low values, high values)."""
    if spread is None:
        return None
    if isinstance(spread, tuple):
        low, high = spread
        return [[v - a for v, a in zip(y, low)], [b - v for v, b in zip(y, high)]]
    return list(spread)


def problems(fig, alt):
    """What keeps this figure from being shown: a list of short sentences, empty when all is well."""
    found = []
    titles = [ax.get_title(loc) for ax in fig.axes for loc in ("left", "center")]
    titles += [fig.get_suptitle()]
    if not any("?" in t for t in titles):
        found.append("its title asks no question")
    for ax in fig.axes:
        if ax.axison and not (ax.get_xlabel() or ax.get_shared_x_axes().joined(ax, fig.axes[0])):
            found.append("an x axis has no label")
        if ax.axison and not ax.get_ylabel() and not any(o is not ax and o.get_ylabel() for o in fig.axes):
            found.append("a y axis has no label")
    if not isinstance(alt, str) or len(alt.split()) < 6:
        found.append("its alt text is missing or shorter than six words")
    return found


def _plain(ax):
    """Numbers on a logarithmic axis as people write them, 1,000 instead of a power, where they stay short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if isinstance(axis.get_major_locator(), LogLocator) and 1e-4 < low and high < 1e9:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
            if high / low > 1e3:
                axis.set_minor_locator(NullLocator())  # dozens of ticks that only cost time
        elif axis.get_scale() == "linear" and high >= 10_000:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def png(fig):
    """The figure as PNG bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    # print_png draws once, where savefig draws twice: a slider's figure comes in half the time.
    # No software version or date inside: the same figure gives the same bytes.
    FigureCanvasAgg(fig).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def bundle(fig, alt):
    """(data, metadata) of a figure for the notebook: the picture, and its words as the plain text.

    Raises:
        ValueError: the figure has no question in its title, an axis without a label, or no alt text.
    """
    if found := problems(fig, alt):
        raise ValueError(f"This figure cannot be shown: {'; '.join(found)}. Give it what is missing.")
    for ax in fig.axes:
        _plain(ax)
    data = {"image/png": base64.b64encode(png(fig)).decode(), "text/plain": f"Figure: {alt}"}
    size = {"width": int(fig.get_figwidth() * _DPI), "height": int(fig.get_figheight() * _DPI)}
    return data, {"image/png": {**size, "alt": alt}}


def words(alt):
    """The figure's words under it. JupyterLab drops the alt text of a picture, so it also stands here."""
    return f"<details><summary>This figure in words</summary>{html.escape(alt)}</details>"


def show(fig, alt):
    """Display a figure. `alt` says in words what a reader sees in it, for whoever cannot see it.

    Raises:
        ValueError: see `bundle`.
    """
    from IPython.display import display

    data, metadata = bundle(fig, alt)
    display(data, metadata=metadata, raw=True)
    display({"text/html": words(alt), "text/plain": ""}, raw=True)


class Sheet:
    """A sheet of text in black on white, filled from the top down: `fig`, of so many millimetres; sizes in points."""

    def __init__(self, wide, high, edge=13):
        from matplotlib.figure import Figure
        self.wide, self.high, self.edge, self.at = wide / 25.4 * 72, high / 25.4 * 72, edge, 0.0
        self.fig = Figure(figsize=(self.wide / 72, self.high / 72), facecolor="white")

    def _box(self, x, y, wide, high, fill):
        from matplotlib.patches import Rectangle
        self.fig.add_artist(Rectangle((x / self.wide, 1 - (y + high) / self.high), wide / self.wide, high / self.high,
                                      facecolor=fill, edgecolor="black", linewidth=0.7))

    def _put(self, x, y, text, size, bold=False, **look):
        self.fig.text(x / self.wide, 1 - y / self.high, text, size=size, weight="bold" if bold else "normal",
                      family="DejaVu Sans", parse_math=False, **look)

    def band(self, left, right):
        """A black band with white words at both ends."""
        self._box(0, 0, self.wide, 24, "black")
        self._put(self.edge, 16, left, 11, bold=True, color="white")
        self._put(self.wide - self.edge, 16, right, 9, color="white", ha="right")
        self.at = 28.0

    def rule(self):
        """A thin line from edge to edge."""
        self._box(self.edge, self.at + 4, self.wide - 2 * self.edge, 0, "black")
        self.at += 5.5

    def text(self, text, size, bold=False):
        """A paragraph, in as many lines as it takes."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        def fits(line):
            return text_to_path.get_text_width_height_descent(line, font, False)[0] <= 0.98 * room  # as drawn, letters may be wider

        room = self.wide - 2 * self.edge
        font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
        lines = next((ls for n in range(int(room / size / 0.45), 4, -1) if all(map(fits, ls := textwrap.wrap(text, n)))), [text])
        for line in lines:
            self.at += 1.2 * size
            self._put(self.edge, self.at, line, size, bold)

    def ladder(self, rungs, reached, size):
        """Boxes side by side, the one that is reached black with white bold words."""
        wide, high = (self.wide - 2 * self.edge) / len(rungs), 1.6 * size
        for i, rung in enumerate(rungs):
            self._box(self.edge + i * wide, self.at + 5, wide, high, "black" if i == reached else "white")
            self._put(self.edge + (i + 0.5) * wide, self.at + 5 + 0.7 * high, rung, size, i == reached, ha="center",
                      color="white" if i == reached else "black")
        self.at += high + 6
