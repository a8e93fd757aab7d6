# ---
# jupyter:
#   course:
#     difficulty: 3
#     exercise: "09"
#     lesson: "09"
#     minutes: 45
#     title: Rebound
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 09: rebound
#
# **Difficulty** 3 of 5. **About** 45 minutes. **Points** 21. **After** lesson 09.
#
# What becomes of a saving when people react? You turn one improvement into its three names, let use react to a price, work
# out the energy of a year, and put growth figures of different periods beside each other. Then you find out what was not
# published, pull some levers, and read a ledger. Your answer goes where `YOUR CODE HERE` stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.
#
# Savings, growth and rebounds are shares: 0.05 is 5 %. A growth of 0.5 means half as much again. A *factor* of 1.5 says the
# same. Do not round.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import math
import random

from course_lib.facts import fact
from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% [markdown]
# ## Three names for one improvement
#
# A query needed `before` joules, and now it needs `after`. Say it in three ways:
#
# 1. the **saving**: which share of the old energy is saved;
# 2. **times less**: how many times the new energy goes into the old;
# 3. the **growth** of use that eats the saving up: which share *more* queries need as much energy as before, all together.
#
# If a query needs more than before, the saving and the growth are negative. That is right: then fewer queries must be asked.
#
# *If you see* `unsupported operand type(s) for -: 'list' and 'list'`: each call gets two numbers, not two lists.

# %% nbgrader={"grade_id": "ex09_names", "solution": true}
def improvement(before, after):
    """(saving as a share, times less, growth of use as a share that eats it up) of a query's energy, in joules."""
    ### BEGIN SOLUTION
    return 1 - after / before, before / after, before / after - 1
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex09_names_shown", "grade": true, "points": 1}
cases = {"half": (8.0, 4.0), "a_fifth_is_left": (5.0, 1.0), "worse": (4.0, 5.0)}
rounded(**{name: [float(x) for x in improvement(*joules)] for name, joules in cases.items()})

# %% [markdown] tags=["hints"]
# - From 5 J to 1 J: how many joules are saved, and which share of *which* number is that?
# - The saving is a share of the old energy: `(before - after) / before`. Times less is old over new.
# - If a query needs 5 times less, how many times as many queries can be asked? How many *more* is that?
# - The growth is times less, minus 1.

# %%
check("ex09_names_shown")

# %% nbgrader={"grade_id": "ex09_names_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(901))
answers = []
for left in (rng.uniform(0.02, 0.3), rng.uniform(0.3, 0.9), rng.uniform(1.1, 2)):
    old = rng.uniform(3, 90)
    answers.append([float(x) for x in improvement(old, old * left)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Multiply the new energy by 1 plus your growth. Do you get the old energy?

# %% [markdown]
# ## Use reacts to the price
#
# A query cost `price`, and `queries` of them were asked. Now it costs `new_price`. With a constant elasticity $e$, use becomes
#
# $$ Q = Q_0 \left( \frac{p}{p_0} \right)^{-e} $$
#
# where $p_0$ is the old price and $p$ is the new one. As in the lesson, the elasticity is written **without** its minus sign.
# So one below 0 is a mistake: raise a `ValueError` whose sentence says what to write instead. An error without a sentence, or
# with fewer than four words, is not enough: the check says so. (0 is allowed: there nobody reacts.)
#
# *If you see* `exceptions must derive from BaseException`: `raise` wants an error, such as `ValueError("...")`, and not a
# text.

# %% nbgrader={"grade_id": "ex09_demand", "solution": true}
def demand(queries, price, new_price, elasticity):
    """Queries at the new price. Raises ValueError for an elasticity below 0."""
    ### BEGIN SOLUTION
    if elasticity < 0:
        raise ValueError(f"elasticity is {elasticity}: write it without its minus sign, such as 0.5")
    return queries * (new_price / price) ** -elasticity
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex09_demand_shown", "grade": true, "points": 1}
def answer(*numbers):
    try:
        return float(demand(*numbers))
    except ValueError as error:
        return "refused with a sentence" if len(str(error).split()) >= 4 else "refused without a sentence"

rounded(cheaper=answer(1000, 4.0, 1.0, 0.5), dearer=answer(1000, 1.0, 4.0, 0.5), elastic=answer(200, 0.3, 0.1, 1.5),
        nobody_reacts=answer(1000, 4.0, 1.0, 0), wrong_sign=answer(1000, 4.0, 1.0, -0.5))

# %% [markdown] tags=["hints"]
# - A query becomes cheaper. Are there more queries or fewer? Does your result say so? If cheaper gave fewer, look at the sign
#   of the exponent, or at which price is divided by which.
# - Which share of the old price is the new one? Raise that share to the power of minus the elasticity.
# - `(new_price / price) ** -elasticity` says how many times as many queries there are. What is it multiplied by?
# - Before you compute: `if elasticity < 0:`, and in the next line `raise ValueError("...")`.

# %%
check("ex09_demand_shown")

# %% nbgrader={"grade_id": "ex09_demand_unseen", "grade": true, "points": 2} tags=["hidden"]
def kept_or_refused(*numbers):
    try:
        return float(demand(*numbers))
    except ValueError as error:
        return "refused with a sentence" if len(str(error).split()) >= 4 else "refused without a sentence"

rng = random.Random(grading_seed(902))
answers = []
for e in (rng.uniform(0.2, 0.9), rng.uniform(1.1, 1.9), 0.0, -rng.uniform(0.2, 1.5)):
    old = rng.uniform(0.5, 5)
    answers.append([kept_or_refused(rng.randint(100, 900), old, old * factor, e) for factor in (rng.uniform(0.1, 0.7), 1.0,
                                                                                          rng.uniform(1.5, 3))])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a price that rises, one that stays, an elasticity of 0, and one below 0.

# %% [markdown]
# ## A year of queries
#
# A query needs `wh` watt-hours, and `per_day` queries are asked. Then an improvement comes: a query needs `times` times
# less energy (33 means: one part in 33 is left). Only the share `share` of the price of a query falls with its energy; the
# rest of the price stays. Use reacts to the **whole** price, with the elasticity `elasticity`. Give three things:
#
# 1. the energy of a year before, in **GWh** (a year has 365 days);
# 2. the energy of a year after, in GWh;
# 3. the rebound: the part of the saving that more use takes away, as a share **of the saving** that there would be if
#    nobody reacted. Above 1 it is backfire.
#
# The check has an estimate of a typical query, and as many prompts a day as a company has told. The elasticity and the
# improvements are nobody's: they are made up.
#
# *If your energies are a thousand times too large:* a GWh is a thousand MWh, or a billion (`1e9`) Wh.

# %% nbgrader={"grade_id": "ex09_year", "solution": true}
def year(wh, per_day, times, elasticity, share):
    """(GWh a year before, GWh a year after, rebound as a share of the saving)."""
    ### BEGIN SOLUTION
    saving = 1 - 1 / times
    before = wh * per_day * 365 / 1e9
    after = before * (1 - saving) * (1 - share * saving) ** -elasticity
    return before, after, 1 - (before - after) / (before * saving)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex09_year_shown", "grade": true, "points": 1}
wh, prompts = fact("q_chatgpt_epoch").to("Wh"), fact("chatgpt_prompts").value
rounded(whole_price=[round(float(x), 9) for x in year(wh, prompts, 2, 0.5, 1)],
        a_tenth_of_it=[round(float(x), 9) for x in year(wh, prompts, 2, 0.5, 0.1)],
        backfire=[round(float(x), 9) for x in year(wh, prompts, 33, 1.2, 1)])

# %% [markdown] tags=["hints"]
# - If a query needs 4 times less, which share is saved: a quarter, or three quarters? If your rebound is below 0, cheaper
#   gave fewer queries: look at the sign of the exponent.
# - The saving is `1 - 1 / times`. If a share of the price falls by that much, what is left of the whole price?
# - `1 - share * saving` is left of the price. Raised to minus the elasticity, it says how many times as many queries there
#   are. The energy after is before, times `1 - saving`, times that.
# - If nobody reacted, `before * saving` would be saved. In fact `before - after` is saved. The rebound is 1 minus the
#   second over the first.

# %%
check("ex09_year_shown")

# %% nbgrader={"grade_id": "ex09_year_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(903))
answers = []
for share, e in ((1, rng.uniform(1.2, 1.8)), (rng.uniform(0.05, 0.3), rng.uniform(0.3, 1.8)),
                 (rng.uniform(0.4, 0.9), rng.uniform(0.3, 1.8)), (0, 0.5)):
    gwh = year(rng.uniform(0.1, 4), rng.randint(10**7, 10**9), rng.uniform(1.4, 30), e, share)
    answers.append([round(float(x), 9) for x in gwh])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - With a share of 0 nobody notices the saving. Is your rebound 0 there? And with an elasticity of 1 and a share of 1, is it 1?

# %% [markdown]
# ## Growth, each year
#
# `counts` lists pairs `(month, count)`: how many tokens a company handled in a month. The months are numbered, and they rise.
# They are not equally far apart. Bring all growth to the same period, twelve months:
#
# 1. a list: the growth in each interval between two neighbours, as a **factor a year**, if it went on for a year as it did
#    within the interval;
# 2. the factor a year from the first count to the last.
#
# The check has published counts. (The months are as one report gives them.) Look at the list when it is right, and answer two
# questions before you unfold: what would you tell somebody who quotes its largest number? And is the second result the mean
# of the list?
#
# <details><summary>Two answers</summary>
#
# "Your number is the rate of one interval, and the next interval has another: a rate says how fast it went then, not how it
# goes on. Say which months." And no, it is not the mean. Growth multiplies, so the whole is a product of what the intervals
# did, and a long interval weighs more than a short one.
#
# </details>
#
# *If you see* `list index out of range`: three counts have two intervals.

# %% nbgrader={"grade_id": "ex09_yearly", "solution": true}
def yearly(counts):
    """(list of the factors a year of all intervals, factor a year from first to last) of pairs (month, count)."""
    ### BEGIN SOLUTION
    def rate(first, last):
        return (last[1] / first[1]) ** (12 / (last[0] - first[0]))

    return [rate(a, b) for a, b in zip(counts, counts[1:])], rate(counts[0], counts[-1])
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex09_yearly_shown", "grade": true, "points": 1}
names = ("rb_google_tokens_2024", "rb_google_tokens_2025", "rb_google_tokens_oct25")
tokens = list(zip((0, 13, 18), [fact(name).value for name in names]))
rounded(doubled=[[float(x) for x in yearly([(3, 50.0), (27, 100.0)])[0]], float(yearly([(3, 50.0), (27, 100.0)])[1])],
        tokens=[[float(x) for x in yearly(tokens)[0]], float(yearly(tokens)[1])])

# %% [markdown] tags=["hints"]
# - In two years something doubles. By which factor does it grow in one year, if both years are alike: by 1.5? Multiply 1.5
#   by itself.
# - Growth multiplies. So the factor of `m` months becomes that of twelve through an exponent, not through a product. If two
#   years that double give you 1 or 1.5 in place of 1.414, you multiplied growth: it goes in the exponent. If you get 4, the
#   exponent is upside down.
# - `(last / first) ** (12 / months)`, where `months` is the difference of the month numbers.
# - `zip(counts, counts[1:])` goes through the neighbours. For the second result take `counts[0]` and `counts[-1]`.

# %%
check("ex09_yearly_shown")

# %% nbgrader={"grade_id": "ex09_yearly_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(904))
answers = []
for points in (2, 3, 5):
    months = sorted(rng.sample(range(1, 40), points))
    some = [(month, rng.uniform(5, 80) * 1.05**month) for month in months]
    each, whole = yearly(list(some))
    answers += [[float(x) for x in each], float(whole)]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try an interval of twelve months, where nothing should change, and counts that fall.

# %% [markdown]
# ## What was not published
#
# A company reports that its electricity became `total` times as much in a year (1.27 means: 27 % more). You assume that its
# answers to prompts had the share `share` of it in the first year, and that the energy of these answers became `own` times
# as much. `own` may be 0: then nobody asked any more, and the answers needed nothing in the second year. The rest is other
# work. Give two things:
#
# 1. the **growth** of the other work that makes the sum right, as a share (negative where it shrank). If no other work can
#    make it right, because the answers alone would need more than everything, give `None`. (Other work of nothing at all is
#    still possible: that is a growth of -1.)
# 2. the **largest share** that the answers can have had in the first year, with this `own`. It is never above 1.
#
# *If you see* `float division by zero`: `share` is below 1 in all checks, so look at the case in which `own` is 0.

# %% nbgrader={"grade_id": "ex09_others", "solution": true}
def others(total, share, own):
    """(growth of all other work as a share, or None; largest share that the answers can have had in the first year)."""
    ### BEGIN SOLUTION
    left = total - share * own
    return left / (1 - share) - 1 if left >= 0 else None, min(1, total / own) if own else 1
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex09_others_shown", "grade": true, "points": 1}
def as_floats(growth, largest):
    return [None if growth is None else float(growth), float(largest)]

grown = 1 + fact("rb_google_dc").value / 100
rounded(one_percent=as_floats(*others(grown, 0.01, 5.0)), half=as_floats(*others(grown, 0.5, 1.1)),
        nothing_left=as_floats(*others(1.25, 0.25, 5.0)), impossible=as_floats(*others(grown, 0.3, 5.0)),
        fell=as_floats(*others(grown, 0.4, 1 / 33)), no_answers=as_floats(*others(grown, 0.2, 0.0)))

# %% [markdown] tags=["hints"]
# - Call the electricity of the first year 1. How much of it were the answers, and how much was the other work?
# - In the second year the answers need `share * own`, and all together need `total`. What is left for the other work?
# - What is left is `total - share * own`. In the first year the other work had `1 - share`. Divide, and take away 1. If
#   less than nothing is left: `None`.
# - The answers have the largest share when nothing is left: `share * own == total`. And no share is above 1. If `own` is 0,
#   something is left whatever the share was: so even 1 was possible.

# %%
check("ex09_others_shown")

# %% nbgrader={"grade_id": "ex09_others_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(905))
answers = []
for whole, part, times in ((rng.uniform(1.1, 1.6), rng.uniform(0.05, 0.3), rng.uniform(0.1, 0.9)),
                           (rng.uniform(1.1, 1.6), rng.uniform(0.05, 0.2), rng.uniform(2, 5)),
                           (rng.uniform(1.1, 1.6), rng.uniform(0.4, 0.6), rng.uniform(5, 9)),
                           (1.5, 0.25, 6.0), (rng.uniform(0.7, 0.9), rng.uniform(0.1, 0.4), 0),
                           (rng.uniform(0.7, 0.9), rng.uniform(0.1, 0.4), rng.uniform(1.2, 1.6))):
    growth, most = others(whole, part, times)
    answers.append([None if growth is None else float(growth), float(most)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put your growth back: `share * own + (1 - share) * (1 + growth)` must be `total`. Try answers that shrink, too.

# %% [markdown]
# ## Levers
#
# A query needs the share `saving` less energy. The share `share` of its price is energy, and falls with it. Use reacts with
# the elasticity `elasticity`. Energies and queries are counted over those before (1 is as before). Give four things:
#
# 1. **efficiency alone**: the energy of all queries;
# 2. **a price**: the rise of the price of *energy*, as a share of its old price (0.2: a fifth dearer), that makes a query
#    cost just as much as before;
# 3. **a cap**: how many queries are asked if the *energy* of all queries may not be above `cap`. If people ask for less,
#    the cap changes nothing.
# 4. **needs**: the largest share of the queries of efficiency alone that may be asked so that their energy is not above
#    `cap`. It is never above 1.
#
# *If you see* `'float' object is not iterable`: `min` takes the numbers one by one, `min(a, b)`.

# %% nbgrader={"grade_id": "ex09_levers", "solution": true}
def levers(saving, elasticity, share, cap):
    """(energy of efficiency alone, rise of the price of energy, queries under the cap, share of queries that may stay)."""
    ### BEGIN SOLUTION
    queries = (1 - share * saving) ** -elasticity
    energy = (1 - saving) * queries
    return energy, 1 / (1 - saving) - 1, min(queries, cap / (1 - saving)), min(1, cap / energy)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex09_levers_shown", "grade": true, "points": 1}
rounded(backfire=[float(x) for x in levers(0.5, 1.2, 1, 0.8)], small_share=[float(x) for x in levers(0.5, 1.2, 0.1, 0.8)],
        large_saving=[float(x) for x in levers(0.8, 1.5, 0.6, 0.3)])

# %% [markdown] tags=["hints"]
# - What is left of a query's price, and how many queries are asked at that price? What do they all need together?
# - A query needs half the energy. How dear must a unit of energy be, beside its old price, so that the bill for a query stays?
# - Under the cap: each query needs `1 - saving`. How many of them fit under `cap`? If people ask for fewer, they get those.
# - The price of energy rises by `1 / (1 - saving) - 1`. The third result is `min(queries, cap / (1 - saving))`, and the
#   fourth is `min(1, cap / energy)`.

# %%
check("ex09_levers_shown")

# %% nbgrader={"grade_id": "ex09_levers_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(906))
answers = []
for e, part, limit in ((rng.uniform(1.2, 1.8), 1, rng.uniform(0.5, 0.9)), (rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.6), 0.98),
                       (rng.uniform(1.2, 1.8), rng.uniform(0.6, 0.9), rng.uniform(0.1, 0.2)), (0, 1, 0.9)):
    answers.append([float(x) for x in levers(rng.uniform(0.3, 0.75), e, part, limit)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Work out the energy of your queries under the cap. Is it never above the cap? Try a cap that is far away.

# %% [markdown]
# ## Read a ledger
#
# `entries` are lines of a ledger: dicts, as `ledger.read()` gives them. Only those whose `"kind"` is `"reading"` hold
# energy. In such a line `"joules"` is the energy of **one** call, `"calls"` says how many calls there were, and `"label"`
# says how the joules are known. `"joules"` may be `None`: then nothing is known, and the line counts for nothing, its label
# neither.
#
# `LABELS` lists the labels, from the best to the weakest. Give three things, for `learners` learners who all did the same:
#
# 1. the energy of all learners together, in kWh;
# 2. the weakest label among the lines that count: a sum is known no better than its weakest part. `None` if no line counts;
# 3. the share of the energy that is `"measured"`; 0 if no line counts.
#
# *If you see* `unsupported operand type(s) for *: 'NoneType' and 'int'`: a line without joules came along.
#
# *If you see* `KeyError: 'joules'`: a line of another kind came along.

# %%
LABELS = ["measured", "sampled", "modelled", "assumed"]

# %% nbgrader={"grade_id": "ex09_ledger", "solution": true}
def bill(entries, learners):
    """(kWh of all learners, weakest label or None, share of the energy that is measured)."""
    ### BEGIN SOLUTION
    lines = [e for e in entries if e["kind"] == "reading" and e["joules"] is not None]
    joules = sum(e["calls"] * e["joules"] for e in lines)
    measured = sum(e["calls"] * e["joules"] for e in lines if e["label"] == "measured")
    weakest = max((e["label"] for e in lines), key=LABELS.index, default=None)
    return joules * learners / 3.6e6, weakest, measured / joules if joules else 0
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex09_ledger_shown", "grade": true, "points": 1}
def line(label, joules, calls):
    return {"kind": "reading", "label": label, "joules": joules, "calls": calls}

def plainly(kwh, weakest, share):
    return [float(kwh), weakest, float(share)]

book = [line("measured", 30.0, 20), line("modelled", 0.002, 100_000), {"kind": "verdict", "claim": "A1"},
        line("assumed", None, 5), line("sampled", 4.0, 50)]
rounded(a_class=plainly(*bill(book, 30)), a_million=plainly(*bill(book, 1_000_000)), one_line=plainly(*bill(book[:1], 1)),
        nothing=plainly(*bill([], 30)))

# %% [markdown] tags=["hints"]
# - Which of the five lines in the check count? Take those first, and forget the others.
# - What one call needs, times the calls, is what a line needs. Add up, multiply by the learners. How many joules has a kWh?
# - The weakest label is the one that stands last in `LABELS`. `LABELS.index(label)` gives its place. 3.6 million joules are a
#   kWh.
# - `max(labels, key=LABELS.index, default=None)` gives the weakest, and `None` for no labels. The share is that of the
#   *energy*, and not of the lines. Look out for a sum of 0.

# %%
check("ex09_ledger_shown")

# %% nbgrader={"grade_id": "ex09_ledger_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(907))
answers = []
for known in (["sampled", "measured", "measured"], ["measured", "modelled", "sampled", "measured"], ["assumed", "measured"], []):
    lines = [{"kind": "reading", "label": label, "joules": rng.uniform(0.5, 40), "calls": rng.randint(2, 900)} for label in known]
    lines += [{"kind": "reading", "label": "assumed", "joules": None, "calls": rng.randint(2, 9)},
              {"kind": "prediction", "key": "x", "predicted": 3}]
    kwh, weakest, measured = bill(rng.sample(lines, len(lines)), rng.randint(20, 90_000))
    answers.append([float(kwh), weakest, float(measured)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a ledger without a single reading, and one in which the weakest label belongs to a line without joules.

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/09_rebound.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
