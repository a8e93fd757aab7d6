"""Two widgets carry the course: `predict` before a measurement, `explore` after it.

Both work under "Run all": a prediction that nobody made falls back to a stated guess, and an explorer shows its
figure at the starting values. Both leave a static twin (a picture and words) in the saved notebook, so that it can
be read where no kernel runs.
"""

from __future__ import annotations

import html
import math
import textwrap
import time

from course_lib import ledger
from course_lib.plots import bundle

_WIDGET = "application/vnd.jupyter.widget-view+json"


def _view(widget, data, metadata=None):
    """One output that is the widget where widgets run, and `data` everywhere else."""
    return {_WIDGET: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}, **data}, metadata or {}


def _widgets():
    try:
        import ipywidgets
    except ImportError:
        raise ImportError("This cell needs ipywidgets, which is not installed: run `make lab` in a terminal, or "
                          "`pip install ipywidgets`, and restart the kernel.") from None
    return ipywidgets


def slider(low, high, value, step=None, *, label="", log=False):
    """A number between low and high. `log` moves in powers of ten: use it where the range spans several."""
    w = _widgets()

    look = {"description": label, "style": {"description_width": "initial"}, "layout": {"width": "34em"}}
    if log:
        step, start = step or 0.1, math.log10(value)
        least = start - math.floor((start - math.log10(low)) / step + 1e-9) * step  # a browser counts its steps from here
        return w.FloatLogSlider(
            value=value, base=10, min=least, max=math.log10(high), step=step,
            readout_format=",.3r", **look,
        )  # fmt: skip
    whole = all(isinstance(v, int) for v in (low, high, value, step or 1))
    kind = w.IntSlider if whole else w.FloatSlider
    form = {} if whole else {"readout_format": ".3g"}
    return kind(value=value, min=low, max=high, step=step or (1 if whole else (high - low) / 100), **form, **look)


def choice(options, value=None, *, label=""):
    """One of `options` (a list of words, or {word: value})."""
    w = _widgets()

    pairs = list(options.items()) if isinstance(options, dict) else [(str(o), o) for o in options]
    look = {"description": label, "style": {"description_width": "initial"}, "layout": {"width": "34em"}}
    return w.Dropdown(options=pairs, value=pairs[0][1] if value is None else value, **look)


class Prediction:
    """What the learner expects, fixed before the result shows. Made by `predict`."""

    def __init__(self, key, question, control, guess, unit):
        w = _widgets()

        self.key, self.question, self.guess, self.unit = key, question, guess, unit
        self._control, self._button = control, w.Button(description="This is my prediction", button_style="primary")
        self._button.layout.width = "16em"
        self._said, self._fixed, self._skipped = w.HTML(), False, False
        self._button.on_click(lambda _: self._commit())
        text = w.HTML(f"<b>Predict.</b> {html.escape(question)}")
        self.widget = w.VBox([text, control, self._button, self._said])

    @property
    def value(self):
        """The learner's answer, or the stated guess as long as there is none."""
        return self._control.value

    @property
    def answered(self) -> bool:
        """True once the learner pressed the button or moved the control away from the guess, before any result."""
        return not self._skipped and (self._fixed or self.value != self.guess)

    def _commit(self, said="Noted. Now measure."):
        self._fixed = True
        self._control.disabled = self._button.disabled = True
        self._said.value = said

    def reveal(self, actual, unit=None):
        """Show prediction and result side by side, name the gap, and write both into the ledger."""
        answered = self.answered
        self._skipped = not answered  # a second reveal must not take the stated guess for an answer
        if not answered:
            who = f"No prediction was made; the stated guess was {self._text(self.guess)}."
            said = "Skipped: the stated guess stood in."
        else:
            who, said = f"You said {self._text(self.value)}.", "Noted."
        self._commit(said)
        ledger.append(
            "prediction", key=self.key, predicted=self.value, answered=answered, actual=_plain(actual),
            unit=unit or self.unit,
        )  # fmt: skip
        print(textwrap.fill(f"{who} The result is {self._text(actual, unit)}. {_gap(self.value, actual)}", 96))

    def _text(self, value, unit=None):
        return f"{_shown(value)} {self.unit if unit is None else unit}".strip()

    def _repr_mimebundle_(self, include=None, exclude=None):
        among = f" ({' / '.join(map(str, self._control.options))})" if hasattr(self._control, "options") else ""
        twin = f"Predict. {self.question}{among} (Stated guess, used if you skip this: {self._text(self.guess)})"
        return _view(self.widget, {"text/plain": twin})


def _shown(value):
    """A number with three digits and thousands separators, a word in quotation marks."""
    if isinstance(value, (str, bool)):
        return f'"{value}"'
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _plain(value):
    return value.item() if hasattr(value, "item") else value


def _gap(said, actual):
    """The distance between prediction and result, in the words that fit the kind of answer."""
    if isinstance(actual, str):
        return "That is what was predicted." if said == actual else "That is not what was predicted."
    if said == actual:
        return "That is exact."
    if said > 0 and actual > 0:
        factor = max(said / actual, actual / said)
        if factor < 1.1:
            return "That is within 10 %."
        return f"That is {factor:,.3g} times too {'high' if said > actual else 'low'}."
    return f"The gap is {abs(said - actual):,.3g}."


def predict(key, question, *, options=None, low=None, high=None, guess=None, step=None, unit="", log=False):
    """Ask for a prediction: a choice among `options`, or a number between `low` and `high`.

    `guess` is the stated guess that stands in when the learner skips. Show the returned `Prediction` as the cell's
    last line, and call its `.reveal(actual)` after the measurement.

    Raises:
        ValueError: neither options nor a range, or a guess that is not one of the possible answers.
    """
    if options is not None:
        if guess not in list(options):
            raise ValueError(f"The guess {guess!r} of prediction {key!r} is not among its options.")
        w = _widgets()

        control = w.RadioButtons(options=list(options), value=guess, layout={"width": "max-content"})
        return Prediction(key, question, control, guess, unit)
    if low is None or high is None or guess is None or not low <= guess <= high:
        raise ValueError(f"Prediction {key!r} needs options, or low <= guess <= high.")
    ends = f"{question} (from {_shown(low)} to {_shown(high)} {unit})" if unit else question
    return Prediction(key, ends, slider(low, high, guess, step, log=log, label=unit), guess, unit)


class Explorer:
    """A figure with controls. `.seconds` holds how long each new figure took, for whoever wants to know."""

    def __init__(self, draw, alt, controls):
        w = _widgets()

        self._draw, self._alt, self.controls, self.seconds = draw, alt, controls, []
        self._picture, self._labels, self._places = w.HTML(), None, None
        data, metadata = self._render()
        settings = ", ".join(f"{c.description or n}: {_setting(c)}" for n, c in controls.items())
        self._twin = {**data, "text/plain": f"{data['text/plain']} (at {settings})"}, metadata
        for control in controls.values():
            control.observe(lambda _: self._render(), names="value")
        self.widget = w.VBox([*controls.values(), self._picture])

    @property
    def values(self):
        """{name: value} of the controls."""
        return {name: control.value for name, control in self.controls.items()}

    def _render(self):
        start = time.perf_counter()
        try:
            fig = self._draw(**self.values)
            alt = self._alt(**self.values) if callable(self._alt) else self._alt
            # Finding room for labels takes a third of the time: keep the places while the labels stay as long.
            labels = [max((len(t.get_text()) for t in ax.get_yticklabels()), default=0) for ax in fig.axes]
            if labels == self._labels:
                fig.set_layout_engine("none")
                for ax, place in zip(fig.axes, self._places):
                    ax.set_position(place)
            data, metadata = bundle(fig, alt)
            self._labels, self._places = labels, [ax.get_position() for ax in fig.axes]
        except Exception as why:
            if not self.seconds:
                raise  # a broken explorer must fail when it is built, not when a learner moves it
            self._picture.value = f"<p>No figure for these values: {html.escape(str(why))}</p>"
            return None
        look = metadata["image/png"]
        self._picture.value = (
            f'<img alt="{html.escape(alt, quote=True)}" width="{look["width"]}" '
            f'style="max-width:100%" src="data:image/png;base64,{data["image/png"]}"><p>{html.escape(alt)}</p>'
        )
        self.seconds.append(time.perf_counter() - start)
        return data, metadata

    def _repr_mimebundle_(self, include=None, exclude=None):
        return _view(self.widget, *self._twin)


def _setting(control):
    """The control's value as a learner reads it."""
    label = getattr(control, "label", None)
    return label if isinstance(label, str) else _shown(control.value)


def explore(draw, *, alt, **controls):
    """Let the learner move `controls` (made by `slider` and `choice`) and see `draw(**values)` drawn anew.

    `draw` returns a figure of `course_lib.plots`; `alt` is a text, or a function of the same values that returns
    one: it says what the figure shows, stands under it, and is its static twin's text.
    Show the returned `Explorer` as the cell's last line.
    """
    if not controls:
        raise ValueError("explore needs at least one control, made by slider(...) or choice(...).")
    return Explorer(draw, alt, controls)
