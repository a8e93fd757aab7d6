"""The class's predictions and verdicts, counted. Skipped predictions are no predictions."""

import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from ...claims import VERDICTS, all_claims

WITHIN, NEAR = 1.1, 2.0  # factors: as close as the lessons call exact; half or double
OF_RANGE = 0.05, 0.2  # the same, in shares of the slider, where a number is 0 or less


@dataclass
class Tally:
    """How one question went. `label` sets joules of different labels apart; `factors` are said / result."""

    question: object
    label: str
    counts: Counter = field(default_factory=Counter)
    skipped: int = 0
    factors: list = field(default_factory=list)

    answered = property(lambda self: self.counts.total())

    @property
    def typical(self):
        """The median of said / result on the logarithmic scale, of numbers above 0, or None."""
        return math.exp(median(map(math.log, self.factors))) if self.factors else None


def judge(question, said, result):
    """ "right", "near" or "far": the same word; a number within 10 %, or within half and double.

    Where a number is 0 or less there are no factors: 5 % and 20 % of the slider's length count instead.
    """
    if said == result or not question.numeric:
        return "right" if said == result else "far"
    if said > 0 and result > 0:
        gap, (first, second) = max(said / result, result / said), (WITHIN, NEAR)
    else:
        ends = question.options or [end for end in (question.low, question.high) if end is not None] or [0]
        gap, (first, second) = abs(said - result) / ((max(ends) - min(ends)) or 1), OF_RANGE
    return "right" if gap <= first else "near" if gap <= second else "far"


def tallies(ledgers, course):
    """[Tally] in the order of the lessons, of questions that somebody met."""
    found = {}
    for ledger in ledgers:
        for key, (said, result, answered, label) in ledger.predictions.items():
            question = course.questions[key]
            tally = found.setdefault((key, label), Tally(question, label))
            if not answered:
                tally.skipped += 1
                continue
            tally.counts[judge(question, said, result)] += 1
            if question.numeric and said > 0 and result > 0:
                tally.factors.append(said / result)
    order = list(course.questions)
    return [found[key] for key in sorted(found, key=lambda key: (order.index(key[0]), key[1]))]


def verdicts(ledgers):
    """{claim id: Counter of words} in the order of the claims and of the words."""
    counts = {id: Counter(ledger.verdicts.get(id) for ledger in ledgers) for id in all_claims()}
    counts = {id: Counter({word: count[word] for word in VERDICTS if count[word]}) for id, count in counts.items()}
    return {id: count for id, count in counts.items() if count}
