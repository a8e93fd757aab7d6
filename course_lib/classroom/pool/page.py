"""The report: what stands where, in the blocks of `grading.pages`, with pictures between them."""

import html
import itertools
from collections import Counter

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
figure { margin: 1rem 0 } figure svg { display: block; min-width: 24rem; max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--line); font-family: system-ui, sans-serif }
figure text { font-family: inherit } details { margin: .3rem 0; color: var(--soft) } summary { cursor: pointer }
.wide { overflow-x: auto } .wide:focus-visible { outline: 3px solid var(--good) }
.wide table { overflow-wrap: normal } .wide thead th { white-space: normal; vertical-align: bottom }
@media (max-width: 30rem) { .wide table { font-size: .8rem } .wide th, .wide td { padding: .2rem } }
@media print { figure { break-inside: avoid } figure svg { min-width: 0 } }
</style>
"""


def page(ledgers, left_out, course):
    """The report as UTF-8 bytes: `ledgers` are numbered from 1, `left_out` is a list of sentences."""
    everything = spread.groups(ledgers)
    found = spread.shared(everything, len(ledgers))
    blocks = [*_head(ledgers, left_out, found), *_evidence(ledgers), *_machines(found), *_labels(found), *_outliers(found),
              *_works(found, course, len(everything) - len(found)), *_predictions(guesses.tallies(ledgers, course)),
              *_verdicts(guesses.verdicts(ledgers)), *_left_out(ledgers, left_out), *_how()]
    salts = itertools.count()

    def draw(block):
        if block[0] == "figure":
            _, fig, alt = block
            picture = _movable("Picture", figures.svg(fig, alt, next(salts)))
            return f"<figure>{picture}<figcaption>{plots.words(alt)}</figcaption></figure>"
        return _movable(block[1], block_html(block)) if block[0] == "table" else block_html(block)

    return as_html(TITLE, blocks, f"{MARK}\n{_STYLE}", draw)


def _movable(name, inside):
    """What may be moved sideways where the screen is narrow, by the keyboard too."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(name)}">{inside}</div>'


def _factor(value):
    if value is None:
        return "-"
    if value < 0.01:
        return "under 0.01"
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}" if value < 1e6 else "over a million"


def _span(low, high):
    low, high = _factor(low), _factor(high)
    return low if low == high else f"{low} to {high}"


def _head(ledgers, left_out, found):
    known = sorted((g for g in found if g.label == CPU_TIME and g.across and g.within), key=lambda g: g.across)
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
    meanings = {word.name.lower(): word.meaning for word in reversed(Provenance)}
    rows = []
    for label, meaning in {**meanings, "unknown": "The tool does not tell how it got the figure."}.items():
        having = [n for ledger in ledgers if (n := sum(one.label == label for one in ledger.readings))]
        if having:
            rows.append((f"{'no joules' if label == 'none' else label}: {meaning}", str(len(having)), str(sum(having))))
    if rows:
        yield "table", "Labels in the class", ("Label, and what it means", "Ledgers", "Readings"), rows


def _machines(found):
    yield "h2", "Do machines differ more than one machine differs from itself?"
    yield "p", ("A piece of work is the same code in the same lesson. The factor across machines says how many times as "
                "much the upper quartile takes as the lower one. The factor within one machine says the same of its own "
                "windows, in one session. Where the two are alike, the class has found noise; where the first is larger, it "
                "has found machines, or hours: other programs, other threads, another session.")
    if both := [g for g in found if g.label == CPU_TIME and g.across and g.within]:
        yield "figure", *figures.across_within(both)


def _labels(found):
    rows = [(calculated, sensed, str(len(ratios)), _factor(sorted(ratios)[len(ratios) // 2]), _span(min(ratios), max(ratios)))
            for (calculated, sensed), ratios in spread.labels_apart(found).items()]
    if rows:
        yield "h2", "Do the labels agree?"
        yield "p", ("Here medians of the same work stand beside each other, and are not mixed. A ratio far from 1 is first of "
                    "all no difference between machines: a calculation and a sensor answer different questions. A sensor "
                    "also counts what the machine takes anyway, and every other program on it.")
        yield ("table", "Median of the calculated joules over that of the joules from a sensor, work by work",
               ("Calculated", "From a sensor", "Pieces of work", "Typical ratio", "All ratios"), rows)


def _outliers(found):
    yield "h2", "Which machines lie far out, and why?"
    rows = reasons.outliers(found)
    if not rows:
        yield "p", f"None does, or no piece of work has the {spread.MANY} machines that it takes to tell."
        return
    yield "p", ("Far out means more than 3.5 robust standard deviations from the median. The reason is read from the "
                "ledger's own provenance: its label, its source, what that covers, the kind of machine. It is a place to "
                "look, not a proof.")
    yield "list", [f"Ledger {row.number}, {row.title}: {_span(min(row.factors), max(row.factors))} times the median, in "
                   f"{len(row.factors)} of {row.met} pieces of work. {row.reason}" for row in rows[:_LONGEST]]
    if len(rows) > _LONGEST:
        yield "p", f"And {len(rows) - _LONGEST} more, less far out."


def _works(found, course, hidden):
    if found:
        yield "h2", "How much does each piece of work take?"
    if hidden:
        yield "p", f"Not shown: work that one ledger alone holds, and what comes after the {spread.WORKS} most common of a lesson."
    for lesson in dict.fromkeys(g.lesson for g in found):
        some, rows = [g for g in found if g.lesson == lesson], []
        for work, same in itertools.groupby(some, key=lambda g: g.work):
            rows += [work, *((g.title, str(len(g.machines)), _middle(g), _factor(g.across), _factor(g.within)) for g in same)]
        yield "h3", f"Lesson {lesson}: {course.lessons[lesson].title}"
        yield ("table", f"Per call. In brackets the quartiles (under {FEWEST} machines: the ends); then the factors",
               ("What", "Machines", "Median", "Across", "Within"), rows)
        if any(len(g.machines) >= FEWEST for g in some):
            yield "figure", *figures.machines(some)


def _middle(group):
    """The median and the quartiles, all in the unit of the median: "506 ms (383 to 696)"."""
    low, median, high = group.quartiles
    said = si(median, group.unit)
    if len(group.machines) == 1:
        return said
    low, high = (float(f"{end * float(said.split()[0]) / median:.3g}") for end in (low, high))
    return f"{said} ({low:,.10g} to {high:,.10g})"


def _predictions(tallies):
    yield "h2", "What did the class expect?"
    if any(tally.answered for tally in tallies):
        yield "p", ("Right is the same word, or a number within 10 % of the learner's own result. Only the first answer of a "
                    "ledger counts, because a second one has seen the result. Skipped questions stand apart; where all "
                    "ledgers skipped one, there is nothing to judge, and a dash stands there.")
    else:
        yield "p", ("No ledger holds an answered prediction. Skipped ones, where the stated guess stands in, do not count."
                    + " The table tells how many came to each question." * bool(tallies))
    rows = []
    for question, some in itertools.groupby(tallies, key=lambda t: t.question):
        rows.append(question.text)
        for t in some:
            right, near = (str(t.counts[word]) if t.answered else "-" for word in ("right", "near"))
            rows.append((f"{question.key} ({t.label})" if t.label else question.key, str(t.answered), right,
                         near if question.numeric else "-", _factor(t.typical), str(t.skipped)))
    if rows:
        yield ("table", "Near: within half and double, but not right. Typical: the median of answer / result",
               ("Question", "Answers", "Right", "Near", "Typical", "Skipped"), rows)


def _verdicts(counts):
    yield "h2", "How did the verdicts come out?"
    if not counts:
        yield "p", "No ledger holds a verdict."
        return
    yield "p", ("The last verdict of each ledger counts. Verdicts that follow from what a machine measured may differ from "
                f"machine to machine: they do on {sum(len(count) > 1 for count in counts.values())} of "
                f"{plural(len(counts), 'claim')}.")
    rows = []
    for id, count in counts.items():
        claim = all_claims()[id]
        said = ", ".join(f"{word} {n}" for word, n in count.most_common())
        rows.append((f"{id}: {claim.quote}", said, claim.verdict, f"{count[claim.verdict]} of {count.total()}"))
    yield "table", "Verdicts by claim", ("Claim", "Ledgers' verdicts", "The sources say", "Agree"), rows


def _left_out(ledgers, left_out):
    yield "h2", "What was left out?"
    lines, having = Counter(), Counter()
    for one in ledgers:
        lines.update(one.left)
        having.update(one.left.keys())
    if not left_out and not lines:
        yield "p", "Nothing."
    if left_out:
        yield "p", "Whole ledgers. They have no number and count nowhere."
        yield "list", [f"{plural(n, 'ledger')}: {why}." for why, n in Counter(left_out).items()]
    if lines:
        yield "table", "Lines of ledgers that are in the report", ("What they hold", "Ledgers", "Lines"), [
            (why, str(having[why]), f"{n:,}") for why, n in sorted(lines.items())]


def _how():
    yield "h2", "How was this computed?"
    yield "list", (
        "Machines differ by factors, so everything is done on logarithms.",
        "A machine's value: the median of ln x over its runs of this piece of work, x in seconds or joules per call.",
        "Factor across: Q3 / Q1, the quartiles of the machines' values.",
        ("Factor within: exp(1.349 s), the factor that the middle half of a normal law with standard deviation s spans. "
         "s is the standard deviation of ln x over a machine's own runs, or, from one run of n windows, h sqrt(n) / t with "
         "its relative 95 % half-width h and Student's t. The median of s over the machines is taken."),
        ("Far out: |ln x - median| above 3.5 robust standard deviations. One of them is 1.4826 times the median absolute "
         "deviation, and at least ln 1.1. This needs 5 machines."),
        ("Joules keep their label and, where ledgers tell it, the parts of the machine that they cover. Each such group "
         "stands alone."),
        "A ledger is left out where its figures contradict each other. One that was changed with more care looks like a true one.",
    )
