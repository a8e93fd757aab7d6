"""The report: what stands where, in the blocks of `grading.pages`, with pictures between them."""

import html
import itertools

from ... import plots
from ...claims import all_claims
from ...provenance import Provenance
from ...stats import si
from ..grading.pages import as_html, block_html
from ..grading.texts import plural
from . import figures, guesses, reasons, spread
from .spread import CPU_TIME, FEWEST

TITLE = "One experiment on many machines"
MARK = '<meta name="generator" content="course pool">'
_LONGEST = 25  # rows of outliers
_STYLE = """<style>
figure { margin: 1rem 0 } figure > svg { display: block; max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--line); font-family: system-ui, sans-serif }
figure text { font-family: inherit } details { margin: .3rem 0; color: var(--soft) } summary { cursor: pointer }
.wide { overflow-x: auto } .wide:focus-visible { outline: 3px solid var(--good) }
.wide table { overflow-wrap: normal } .wide thead th { white-space: normal; vertical-align: bottom }
@media (max-width: 30rem) { .wide table { font-size: .8rem } .wide th, .wide td { padding: .2rem } }
@media print { figure { break-inside: avoid } }
</style>
"""


def page(ledgers, left_out, course):
    """The report as UTF-8 bytes: `ledgers` are numbered from 1, `left_out` is a list of sentences."""
    everything = spread.groups(ledgers)
    found = spread.shared(everything, len(ledgers))
    blocks = [*_head(ledgers, left_out, found), *_evidence(ledgers),
              *_machines(found, course, len(everything) - len(found)), *_labels(found), *_outliers(found),
              *_predictions(guesses.tallies(ledgers, course)), *_verdicts(guesses.verdicts(ledgers)),
              *_left_out(ledgers, left_out), *_how()]
    salts = itertools.count()

    def draw(block):
        if block[0] == "figure":
            _, fig, alt = block
            return f"<figure>{figures.svg(fig, alt, next(salts))}<figcaption>{plots.words(alt)}</figcaption></figure>"
        if block[0] == "table":  # it may be moved sideways where the screen is narrow
            return (f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(block[1])}">'
                    f"{block_html(block)}</div>")
        return block_html(block)

    return as_html(TITLE, blocks, f"{MARK}\n{_STYLE}", draw)


def _factor(value):
    if value is None:
        return "-"
    if value < 0.01:
        return "under 0.01"
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}" if value < 1e6 else "over a million"


def _named(course, number):
    return f"Lesson {number}: {course.lessons[number].title}"


def _head(ledgers, left_out, found):
    time = [g for g in found if g.label == CPU_TIME and g.across]
    known = sorted((g for g in time if g.apart), key=lambda g: g.apart)
    yield "h1", f"One experiment on {plural(len(ledgers), 'machine')}"
    if known:
        one = known[len(known) // 2]
        yield "lead", (f"In the typical piece of work ({one.work}), the middle half of the machines spans a factor of "
                       f"{one.across:.2f} in CPU time, where one machine against itself spans {one.within:.2f}.")
    else:
        yield "lead", (f"No piece of work was done on {FEWEST} machines with a spread of their own, so there is little to "
                       "compare yet.")
    lost = f" {plural(len(left_out), 'ledger')} could not be pooled: the end of this page says why." if left_out else ""
    readings, works = sum(len(one.readings) for one in ledgers), len({(g.lesson, g.work) for g in found})
    yield "p", (f"{plural(len(ledgers), 'ledger')} with {plural(readings, 'reading')}; {plural(works, 'piece')} of work to "
                f"compare. Each ledger counts as one machine.{lost}")
    yield "p", ("Nobody is named here. Ledgers have numbers that follow neither names nor files, and every word on this "
                "page comes from the course, none from a ledger.")


def _evidence(ledgers):
    yield "h2", "What do the joules rest on?"
    yield "p", ("A measured or sampled joule was read from a sensor. A modelled or assumed one was calculated. They "
                "answer different questions, so no median on this page mixes two labels. CPU time is read from a clock "
                "everywhere.")
    rows = []
    for word in (*reversed(Provenance), "unknown"):
        label = word if word == "unknown" else word.name.lower()
        having = [[one for one in ledger.readings if one.label == label] for ledger in ledgers]
        if any(having):
            meaning = "The tool does not tell how it got the figure." if word == "unknown" else word.meaning
            rows.append((f"{'no joules' if label == 'none' else label}: {meaning}", str(sum(map(bool, having))),
                         str(sum(map(len, having)))))
    if rows:
        yield "table", "Labels in the class", ("Label, and what it means", "Ledgers", "Readings"), rows


def _machines(found, course, hidden):
    both = [g for g in found if g.label == CPU_TIME and g.across and g.within]
    yield "h2", "Do machines differ more than one machine differs from itself?"
    yield "p", ("A piece of work is the same code in the same lesson. The factor across machines says how many times as "
                "much the upper quartile takes as the lower one. The factor within one machine says the same of its own "
                "windows. Where the two are alike, the class has found noise; where the first is larger, it has found "
                "machines. Apart says how many times as much, on a logarithmic scale.")
    if hidden:
        yield "p", ("Work that one ledger alone holds is not shown, nor what few hold where there is much: "
                    f"{plural(hidden, 'row')}.")
    if both:
        yield "figure", *figures.across_within(both)
    for lesson in dict.fromkeys(g.lesson for g in found):
        some = [g for g in found if g.lesson == lesson]
        rows = []
        for work in dict.fromkeys(g.work for g in some):
            rows += [work, *(_row(g) for g in some if g.work == work)]
        yield "h3", _named(course, lesson)
        yield ("table", f"Per call. In brackets the quartiles (under {FEWEST} machines: the ends); then the factors",
               ("What", "Machines", "Median", "Across", "Within", "Apart"),
               rows)
        if any(len(g.machines) >= FEWEST for g in some):
            yield "figure", *figures.machines(some)


def _row(g):
    return [g.title, str(len(g.machines)), _middle(g), _factor(g.across), _factor(g.within), _factor(g.apart)]


def _middle(group):
    """The median and the quartiles, all in the unit of the median: "506 ms (383 to 696)"."""
    low, median, high = group.quartiles
    said = si(median, group.unit)
    if len(group.machines) == 1:
        return said
    low, high = (float(f"{end * float(said.split()[0]) / median:.3g}") for end in (low, high))
    return f"{said} ({low:,.10g} to {high:,.10g})"


def _labels(found):
    rows = spread.labels_apart(found)
    if not rows:
        return
    yield "h2", "Do the labels agree?"
    yield "p", ("Here the medians stand beside each other, and are not mixed. A ratio far from 1 is first of all no "
                "difference between machines: a calculation and a sensor answer different questions. A sensor also counts "
                "what the machine takes anyway, and every other program on it.")
    yield ("table", "Medians per call and the number of machines; the ratio is calculated over read from a sensor",
           ("Work", "Calculated", "From a sensor", "Ratio"),
           [(work, *(f"{si(g.median, 'J')}, {g.label}, of {len(g.machines)}" for g in (a, b)), _factor(ratio))
            for _, work, a, b, ratio in rows])


def _outliers(found):
    yield "h2", "Which machines lie far out, and why?"
    rows = reasons.outliers(found)
    if not rows:
        yield "p", f"None does, or no piece of work has the {spread.MANY} machines that it takes to tell."
        return
    yield "p", ("Far out means more than 3.5 robust standard deviations from the median. The reason is read from the "
                "ledger's own provenance: its label, its source, what that covers, the kind of machine. It is a place to "
                "look, not a proof.")
    lines = []
    for row in rows[:_LONGEST]:
        low, high = _factor(min(row.factors.values())), _factor(max(row.factors.values()))
        how = low if low == high else f"{low} to {high}"
        lines.append(f"Ledger {row.number}, {row.title}: {how} times the median, in {len(row.factors)} of {row.met} pieces "
                     f"of work. {row.reason}")
    yield "list", lines
    if len(rows) > _LONGEST:
        yield "p", f"And {len(rows) - _LONGEST} more, less far out."


def _predictions(tallies):
    yield "h2", "What did the class expect?"
    asked = [tally for tally in tallies if tally.answered]
    if not asked:
        yield "p", "No ledger holds an answered prediction. Skipped ones, where the stated guess stands in, do not count."
        return
    yield "p", ("Right is the same word, or a number within 10 % of the learner's own result. Only the first answer of a "
                "ledger counts, because a second one has seen the result. Skipped questions stand apart.")
    yield "figure", *figures.predictions(asked)
    rows = []
    for question in dict.fromkeys(t.question for t in tallies):
        rows.append(question.text)
        for t in (t for t in tallies if t.question == question):
            name = f"{question.key} ({t.label})" if t.label else question.key
            near = "-" if question.options else str(t.counts["near"])
            rows.append((name, str(t.answered), str(t.counts["right"]), near, _factor(t.typical), str(t.skipped)))
    yield ("table", "Near: within half and double, but not right. Typical: the median of answer / result",
           ("Question", "Answers", "Right", "Near", "Typical", "Skipped"), rows)


def _verdicts(counts):
    yield "h2", "How did the verdicts come out?"
    if not counts:
        yield "p", "No ledger holds a verdict."
        return
    differ = {id: count for id, count in counts.items() if len(count) > 1}
    yield "p", ("The last verdict of each ledger counts. Verdicts that follow from what a machine measured may differ from "
                f"machine to machine: they do on {len(differ)} of {plural(len(counts), 'claim')}.")
    if differ:
        yield "figure", *figures.verdicts(differ)
    rows = []
    for id, count in counts.items():
        claim = all_claims()[id]
        said = ", ".join(f"{word} {n}" for word, n in count.most_common())
        rows.append((f"{id}: {claim.quote}", said, claim.verdict, f"{count[claim.verdict]} of {count.total()}"))
    yield "table", "Verdicts by claim", ("Claim", "Ledgers' verdicts", "The sources say", "Agree"), rows


def _left_out(ledgers, left_out):
    yield "h2", "What was left out?"
    lines = [f"ledger {one.number}: " + "; ".join(f"{why} ({n:,})" for why, n in one.left.items())
             for one in ledgers if one.left]
    if not left_out and not lines:
        yield "p", "Nothing."
    if left_out:
        yield "p", "Whole ledgers, one sentence each. They have no number and count nowhere."
        yield "list", [f"A ledger: {sentence}." for sentence in left_out]
    if lines:
        yield "p", "Lines of ledgers that are in the report:"
        yield "list", lines


def _how():
    yield "h2", "How was this computed?"
    yield "list", (
        "Machines differ by factors, so everything is done on logarithms.",
        "A machine's value: the median of ln x over its runs of this piece of work, x in seconds or joules per call.",
        "Factor across: Q3 / Q1, the quartiles of the machines' values.",
        ("Factor within: exp(1.349 s), the factor that the middle half of a normal law with standard deviation s spans. "
         "s is the standard deviation of ln x over a machine's own runs, or, from one run of n windows, h sqrt(n) / t with "
         "its relative 95 % half-width h and Student's t. The median of s over the machines is taken."),
        "Apart: ln(factor across) / ln(factor within).",
        ("Far out: |ln x - median| above 3.5 robust standard deviations. One of them is 1.4826 times the median absolute "
         "deviation, and at least ln 1.1. This needs 5 machines."),
        ("Joules keep their label and, where ledgers tell it, the parts of the machine that they cover. Each such group "
         "stands alone."),
    )
