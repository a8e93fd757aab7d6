"""Answers whose cell is gone: the learner's own cell that makes the same names is taken in its place.

Without this, the untouched cell of the exercise would run after the learner's own, and define the names anew.
"""

from ...handin.binds import binds
from .. import release


def names(source):
    """The names that learners are asked for in an answer cell, of its source with the solution."""
    return binds(release.without_solution(source)) or binds(source)


def find(wanted, places, texts, order):
    """({answer: text}, own cells that are answers, {own cell that was a draft: the place to run it after}).

    wanted: {answer: the names that it makes}, of all answers in the exercise's order. places: {cell: its place, or
    None}, of the cells with answers' names and of the learner's own; texts: {cell: text} of them. order: all places.

    The last own cell that makes an answer's names counts; the earlier ones must run before it. Where it makes
    the names of another answer, too, the cells after it that make those anew belong to it: a later version.
    """
    every, found, used, drafts = frozenset().union(*wanted.values()), {}, set(), {}
    missing = [answer for answer in wanted if answer not in places.values()]
    # Nothing is parsed without need: a large file of hostile cells would take seconds.
    made = {cell: binds(text) & every for cell, text in texts.items() if any(name in text for name in every)
            } if missing else {}  # fmt: skip
    before = dict(zip(order, (None, *order), strict=False))
    for answer in missing:
        fits = [cell for cell in made if places[cell] is None and wanted[answer] and wanted[answer] <= made[cell]]
        if fits:
            used.add(fits[-1])
            later = [cell for cell in made if cell > fits[-1] and made[cell] & made[fits[-1]]]
            found[answer] = "\n\n".join(texts[cell] for cell in (fits[-1], *later))
            for cell in fits[:-1]:
                drafts.setdefault(cell, before[answer])
    return found, used, drafts
