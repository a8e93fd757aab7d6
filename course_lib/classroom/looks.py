"""No meaning by colour alone: what `course build` asks of every figure that a lesson shows, beside `plots.problems`.

The kernel of a build starts with the line STARTUP, so a lesson with such a figure is not built.
"""

APART = 0.4  # of the way from black to white: so far apart, two series need no other mark
GREY = (0.299, 0.587, 0.114)  # how light red, green and blue are
STARTUP = "import course_lib.classroom.looks as _looks; _looks.watch(); del _looks\n"


def watch():
    """From here on, `plots.show` and `explore` refuse a figure in which series differ in colour alone."""
    from .. import plots

    stock = plots.problems
    plots.problems = lambda fig, alt: [*stock(fig, alt), *colour_only(fig)]


def colour_only(fig):
    """What a reader without colours could not tell apart: a list of short sentences, empty when all is well."""
    found, places = [], {}
    for ax in fig.axes:
        seen = places.setdefault(ax.get_position().bounds, {})  # two axes in one place share their readers
        for handle, label in zip(*ax.get_legend_handles_labels()):
            look, grey = _look(handle)
            for other, its in seen.get(look, {}).items():
                if other != label and abs(its - grey) < APART:
                    found.append(f"{other!r} and {label!r} differ in colour alone")
            seen.setdefault(look, {})[label] = grey
        maps = [one.get_cmap() for one in [*ax.images, *ax.collections] if one.get_array() is not None]
        if not ax.texts and not all(map(_in_grey, maps)):
            found.append("its shades are not in order when they are grey")
    return found


def _in_grey(colours):
    """True where a colour map only gets lighter, or only darker, from end to end."""
    import numpy as np

    grey = colours(np.linspace(0, 1, 32))[:, :3] @ GREY
    return bool((np.diff(grey) > -1e-3).all() or (np.diff(grey) < 1e-3).all())


def _look(handle):
    """(what sets a series apart when colours are taken away, how light it is from 0 to 1 on white paper)."""
    from matplotlib.collections import Collection, PathCollection
    from matplotlib.colors import to_rgba
    from matplotlib.container import BarContainer, ErrorbarContainer
    from matplotlib.lines import Line2D

    if isinstance(handle, ErrorbarContainer):
        handle = handle[0] or handle[2][0]
    if isinstance(handle, BarContainer):
        handle = handle[0]
    if isinstance(handle, Line2D):
        filled = handle.get_fillstyle() != "none" and handle.get_markerfacecolor() != "none"
        dashes = handle._unscaled_dash_pattern if handle.get_linestyle() != "None" else None  # no public way to ask
        look, colour = ("line", str(dashes), handle.get_marker(), filled, handle.get_linewidth() > 2.2), handle.get_color()
    elif isinstance(handle, Collection):
        face = handle.get_facecolor()
        shape = handle.get_paths()[0].vertices.round(3).tobytes() if isinstance(handle, PathCollection) else b""
        look = (type(handle).__name__, shape, handle.get_hatch(), bool(len(face)), str(handle.get_linestyle()))
        colour = [*face, *handle.get_edgecolor(), "white"][0]
    else:
        look, colour = (type(handle).__name__, handle.get_hatch(), handle.get_linestyle()), handle.get_facecolor()
    *rgb, alpha = to_rgba(colour)
    alpha *= handle.get_alpha() or 1 if isinstance(handle, Line2D) else 1
    return look, sum(share * (alpha * part + 1 - alpha) for share, part in zip(GREY, rgb))
