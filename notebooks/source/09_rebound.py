# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: 09
#     memory_mb: 1000
#     minutes: 75
#   jupytext:
#     formats: ipynb,source//py:percent
#     notebook_metadata_filter: course,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rebound
#
# **The question.** Does efficiency save?
#
# **After this lesson you can**
#
# - say how much more use eats up a saving, and how elastic demand must be for that to happen;
# - tell which price a saving lowers: money, of which energy is only a share, or waiting;
# - put published figures of different objects, periods and units side by side, repair what can be repaired, and leave
#   the rest unknown;
# - say what eight years of data centres prove about efficiency and what they do not, and tell a rate from a limit;
# - say what a cap, a price and a question about needs do that efficiency does not;
# - work out the energy of a course, your own, and say which part of it is measured, modelled or assumed.
#
# **You need** about 75 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download. What is headed
# *If you have time* comes on top: run it, and read it another day.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the
# cells one by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** B25 to B33.
# **Before:** [lesson 08](08_local_first.ipynb). **After:** [exercise 09](../exercises/09_rebound.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import textwrap
import time

import numpy as np
import torch

from course_lib import ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count
from course_lib.data import digits
from course_lib.energy import Meter
from course_lib.facts import cite, convert, fact, statement
from course_lib.models import DigitsMLP
from course_lib.setup import seed_everything
from course_lib.stats import si
from course_lib.tables import Table
from course_lib.training import accuracy, train
from course_lib.widgets import explore, predict, slider

seed_everything(0, threads=1)  # one thread: networks this small gain nothing from two
meter = Meter()

# %% [markdown]
# ## Part one: a saving of our own
#
# The lessons before this one made models smaller, or used less of them. Every saving was *per query*. The article ends with
# a warning: what becomes cheaper is used more. This is the **rebound effect**. Jevons described it for coal in
# [1865](#rb_jevons).

# %%
claim("B33").card()

# %% [markdown]
# To speak of it we need a saving. So we measure one. Two networks read handwritten digits: a *wide* one with three hidden
# layers, and a *narrow* one with a single thin layer. Both learn until they reach the same goal.

# %%
images = digits()


def reader(*hidden):
    seed_everything(0, threads=1)
    net = DigitsMLP(hidden)
    history = train(net, images.train, images.val, epochs=60, lr=2e-3, target_accuracy=0.96, progress=False)
    return net, history.reached


wide, wide_reached = reader(512, 512, 512)
with meter.block("training the narrow reader") as learning:
    narrow, narrow_reached = reader(64)
learning.reading.log()

# %% tags=["nbval-check-output"]
flops = [count(net, images.test.x[:1]).flops for net in (wide, narrow)]
scores = [accuracy(net, images.test) for net in (wide, narrow)]
print("both reached the goal:", wide_reached and narrow_reached)
print("on new images they are less than five points apart:", abs(scores[0] - scores[1]) < 0.05)
print(f"one query: {flops[0]:,} and {flops[1]:,} FLOPs, {flops[0] / flops[1]:.0f} times less")

# %% [markdown]
# That was counted. Now measured, in turns: one query alone, and a batch.

# %%
@torch.inference_mode()
def ask(net, x):
    return net(x).argmax(dim=1)


one, many = images.test.x[:1], images.test.x[:256]
alone, batched = (meter.compare(lambda x=x: ask(narrow, x), lambda x=x: ask(wide, x), pairs=6, window=0.05,
                                names=("narrow", "wide")) for x in (one, many))
Table(["asked", "narrow / wide", "95 % interval", "saved", "times less"],
      [(name, f"{c.ratio:.3f}", f"{c.low:.3f} to {c.high:.3f}", f"{1 - c.ratio:.0%}", f"{1 / c.ratio:.1f}")
       for name, c in {"alone": alone, "in a batch of 256": batched}.items()],
      caption=f"Cost of a query, by {alone.quantity.replace('_', ' ')}")

# %% [markdown]
# The count promises most. In a batch, a part of it comes true. Asked alone, most of what
# is left is the call itself, as in lesson 01. We go on with the query that is asked alone: `alone.ratio` is the saving that
# this lesson works with.
#
# ### Predict

# %%
guess_growth = predict(
    "09-eaten-up", "The narrow reader saves what you see in the row 'alone'. By how many per cent must the number of queries "
    "grow until that saving is all gone?",
    low=0, high=2000, guess=85, step=5, unit="%",
)
guess_growth

# %%
queries = 1.0
while queries * alone.ratio < 1:  # energy of all queries, over that before
    queries += 0.01  # so many more: a hundredth of those before
guess_growth.reveal(100 * (queries - 1))

# %% [markdown]
# That was found by trying. The rule: the energy of all queries is energy per query times queries. If a query needs a share
# $1-s$ of what it needed, then $1/(1-s)$ times as many queries need as much as before.

# %% tags=["nbval-check-output"]
def eaten_up(saving):
    """Growth of use, as a share of the old use, that eats up a saving of this share."""
    return 1 / (1 - saving) - 1


savings = {"20 %": 0.2, "50 %": 0.5, "80 %": 0.8, "33 times less": 1 - 1 / 33}
print(Table(["a query needs less by", "saved", "is eaten up by", "times as many"],
            [(n, f"{s:.0%}", f"{eaten_up(s):.0%} more", f"{1 + eaten_up(s):.4g}") for n, s in savings.items()]))

# %%
low, high = (eaten_up(1 - ratio) for ratio in (alone.high, alone.low))
print(f"your reader, with the interval of the measurement: {low:.0%} to {high:.0%} more queries")

# %% [markdown]
# A saving of 80 % is not eaten up by 80 % more use, but by 400 % more. So a large saving can bear a lot of growth. The
# question is how much growth there is, and how much of it comes **from the saving**.
#
# ## Part two: how much more use?
#
# Use reacts to the price. The *elasticity* $e$ says how strongly: the price falls by 1 %, and use grows by $e$ %. (Economists
# write it with a minus sign, as price and use move in opposite directions. We leave the sign out.)
#
# For a large fall of the price we take many small steps, one after the other. Each step multiplies use by a little more
# than one. When the steps become very small, a formula comes out:
#
# $$ \frac{dQ}{Q} = -e \, \frac{dp}{p} \qquad \text{and so} \qquad \frac{Q}{Q_0} = \left(\frac{p}{p_0}\right)^{-e} $$
#
# Here $Q$ is the number of queries and $p$ is the price of one; $Q_0$ and $p_0$ are those of before. A small change of either,
# as a share of itself, is $dQ/Q$ or $dp/p$.

# %%
def use(price, elasticity):
    """Queries, over those before, when the price is this share of the old price."""
    if not np.min(elasticity) >= 0:
        raise ValueError(f"elasticity is {elasticity!r}: it is written without its minus sign here, so give 0 or "
                         "more, such as 0.5")
    return price ** -elasticity


def by_small_steps(price, elasticity, steps=10_000):
    return (1 + elasticity * (1 - price ** (1 / steps))) ** steps  # each step lowers the price by the same share

# %% tags=["nbval-check-output"]
for e in (0.5, 1.5):
    print(f"half the price, elasticity {e}: {use(0.5, e):.3f} times the queries; in small steps {by_small_steps(0.5, e):.3f}")
try:
    use(0.5, -0.5)
except ValueError as error:
    print(error)

# %% [markdown]
# Now the simplest case: the price of a query falls as much as its energy. Then
#
# $$ \frac{E}{E_0} = (1-s) \cdot (1-s)^{-e} = (1-s)^{1-e} $$
#
# and the saving that is kept is $1 - (1-s)^{1-e}$. The *rebound* is the share of the saving that is lost.

# %%
def energy_left(saving, elasticity, share=1.0):
    """Energy of all queries, over that before; `share` is the part of the price that falls with the energy."""
    if not (np.min(saving) >= 0 and np.max(saving) < 1):
        raise ValueError(f"saving is {saving!r}: give the share that is saved, from 0 to below 1; a query that needs "
                         "33 times less saves 1 - 1/33")
    if not (np.min(share) >= 0 and np.max(share) <= 1):
        raise ValueError(f"share is {share!r}: give the part of the price that falls, from 0 to 1")
    return (1 - saving) * use(1 - share * saving, elasticity)


def rebound(saving, elasticity, share=1.0):
    """Share of the saving per query that more use takes away; above 1, more energy is used than before."""
    left = energy_left(saving, elasticity, share)
    if np.min(saving) == 0:
        raise ValueError(f"saving is {saving!r}: where nothing is saved there is no rebound, so give a share above 0")
    return 1 - (1 - left) / saving

# %%
guess_kept = predict(
    "09-kept", "A query needs half the energy, at half the price, and the elasticity is 0.5. How much of all energy is saved?",
    low=-50, high=50, guess=25, unit="%",
)
guess_kept

# %% tags=["nbval-check-output"]
print(Table(["elasticity", "queries", "energy left", "saved", "rebound"],
            [(f"{e:g}", f"{use(0.5, e):.2f}", f"{energy_left(0.5, e):.0%}", f"{1 - energy_left(0.5, e):.0%}",
              f"{rebound(0.5, e):.0%}") for e in (0, 0.25, 0.5, 1, 1.5)],
            caption="A query needs half the energy, at half the price"))

# %%
guess_kept.reveal(100 * (1 - energy_left(0.5, 0.5)))

# %% [markdown]
# Below an elasticity of one, part of the saving is kept. At one, use eats up all of it. Above one, more energy is used than
# before the saving: that is called **backfire**.
#
# An encyclopedia's example of what the word means: 5 % better, 2 % saved. The elasticity that belongs to it solves
# $(1-s)^{1-e} = 1 - 0.02$ for $e$, with $s = 0.05$:

# %% tags=["nbval-check-output"]
example = fact("rb_def")
elasticity = 1 - np.log(1 - 0.02) / np.log(1 - 0.05)  # (1-s)**(1-e) = 1 - 0.02 with s = 0.05, solved for e
print(f"{example.quantity}: a rebound of {example.text}")
print(f"in our model: elasticity {elasticity:.2f}, rebound {rebound(0.05, elasticity):.0%}")
print(Table(["the same people, and it needs less by", "rebound", "use"],
            [(name, f"{rebound(saving, elasticity):.0%}", f"{use(1 - saving, elasticity):.1f} times as much")
             for name, saving in savings.items()]))

# %% [markdown]
# Look down the table. The people react as before, use grows more and more, and yet the rebound in per cent becomes
# *smaller*: the additional queries are cheap, too. (That holds below an elasticity of one. Above one it becomes larger.) So a
# rebound in per cent belongs to one saving. Do not carry it to another.
#
# **Where does the elasticity come from?** There are reviews for cars and heating, and estimates for whole economies. We have
# not read them in the original, so no figure of theirs stands here. For queries to a model we know of no measured
# elasticity. So it is yours to set. Try it, first with your own saving.

# %% jupyter={"source_hidden": true}
def energy_figure(elasticity, improvement):
    fig, ax = plots.figure("How much energy is left when use reacts?", "a query needs so many times less energy",
                           "energy of all queries (before: 100)", height=4.2)
    times = np.geomspace(1, 100, 60)
    for i, e in enumerate((0, 0.5, 1, 1.5)):
        ax.plot(times, 100 * energy_left(1 - 1 / times, e), label=f"elasticity {e:g}", **plots.series(i) | {"marker": ""})
    yours = min(100 * energy_left(1 - 1 / improvement, elasticity), 1700)  # the star stays in the picture
    ax.plot([improvement], [yours], "*", color="white", markeredgecolor="black", markersize=16, label="your choice")
    ax.set(xscale="log", yscale="log", ylim=(0.7, 2000))
    ax.set_xticks([1, 3, 10, 30, 100], [1, 3, 10, 30, 100])
    ax.minorticks_off()
    ax.legend(loc="lower left", fontsize=9)
    return fig


def energy_words(elasticity, improvement):
    saving = 1 - 1 / improvement
    left, more = energy_left(saving, elasticity), use(1 - saving, elasticity)
    end = "backfire" if left > 1.0005 else f"{1 - left:.0%} is saved instead of {saving:.0%}"
    return (f"A query needs {improvement:.1f} times less, elasticity {elasticity:.2f}: {more:,.1f} times as many queries, "
            f"{left:,.0%} of the old energy; {end}. Four lines: flat at elasticity 1, falling below it, rising above it.")

# %%
explore(energy_figure, alt=energy_words, elasticity=slider(0.0, 2.0, 0.5, 0.05, label="elasticity"),
        improvement=slider(1.1, 100, min(max(1 / alone.ratio, 1.1), 100), 0.01, log=True, label="times less energy"))

# %% [markdown]
# ## Part three: which price?
#
# So far the whole price fell. Does it?

# %%
claim("B31").card()

# %% [markdown]
# Google's AI chips are called TPUs. A paper compares their generations: the power of a chip, and the total cost of
# ownership, to buy it *and* to run it.

# %% tags=["nbval-check-output"]
r = fact("tr_tco_r")
print(f"{r.quantity}: {r.value}; squared {r.value**2:.2f}")

# %% [markdown]
# From one generation of these chips to the next, power and the cost of owning them moved together. It does not say that
# energy is most of the cost: in larger flats both rent and heating are higher, and heating is still the smaller bill. To
# insulate a flat lowers the heating, and not the rent. So a setting that makes the same machine draw less lowers the bill for
# electricity alone. Work that needs fewer machine hours lowers the rest, too.
#
# Let $w$ be the share of the price that falls. What is left of the price is $1 - w s$, and so
#
# $$ \frac{E}{E_0} = (1-s) \, (1-ws)^{-e} $$
#
# For a small saving the rebound **is** share times elasticity: backfire begins where that product is above one. For a large
# saving it needs more.

# %% tags=["nbval-check-output"]
cases = ((1, 0.5), (0.1, 0.5), (0.1, 2), (0.5, 2))
print(Table(["share", "elasticity", "product", "saving 1 %", "saving 50 %", "saving 80 %"],
            [(f"{w:.0%}", f"{e:g}", f"{w * e:.2f}", *(f"{rebound(s, e, w):.0%}" for s in (0.01, 0.5, 0.8)))
             for w, e in cases], caption="Rebound, when only a share of the price falls"))

# %% [markdown]
# If only a tenth of the price falls, most of the saving is kept even at an elasticity of two (third line). People react to the
# price, and it has hardly changed.
#
# But many queries cost no money at all. The price is **time**: to wait, to type, to check the answer. Compare the two. The
# price of electricity, the wait and the worth of an hour are assumptions: put in your own.

# %%
per_kwh, wait_seconds, per_hour = 0.20, 5, 15  # assumptions, in your currency
energy_price = fact("q_chatgpt_epoch").to("kWh") * per_kwh
waiting = wait_seconds / 3600 * per_hour
print(f"the energy of a typical query, as estimated: {100 * energy_price:.4f} cents; the wait: {100 * waiting:.1f} cents")
print(f"the wait weighs {waiting / energy_price:,.0f} times as much")

# %% [markdown]
# With such numbers energy is nearly nothing of what the user pays. A fall of the energy alone would not be noticed. But look
# at what we measured: the narrow reader saves *CPU time*. What saves energy in this way is also faster. And a third price is
# **quality**: an answer that is more often right needs less checking.
#
# So the share $w$ is not the share of energy on a bill. It is the share of everything that a query costs its user and that
# falls together with the energy.

# %% jupyter={"source_hidden": true}
def prices_figure(energy_share, time_share, elasticity):
    fig, ax = plots.figure("Which price does the saving lower?", "a query needs so many times less energy",
                           "energy of all queries (before: 100)", height=4.2)
    times = np.geomspace(1, 100, 60)
    lines = {"only the bill for energy": energy_share, "energy and waiting": min(energy_share + time_share, 1),
             "the whole price": 1.0}
    for i, (name, share) in enumerate(lines.items()):
        ax.plot(times, 100 * energy_left(1 - 1 / times, elasticity, share), label=name, **plots.series(i) | {"marker": ""})
    ax.axvline(1 / alone.ratio, color="black", linewidth=1, linestyle=(0, (1, 3)), label="your narrow reader")
    ax.set(xscale="log", yscale="log", ylim=(0.7, 12_000), xlim=(1, 100))
    ax.set_xticks([1, 3, 10, 30, 100], [1, 3, 10, 30, 100])
    ax.minorticks_off()
    ax.legend(loc="upper left", fontsize=9)
    return fig


def prices_words(energy_share, time_share, elasticity):
    shares = {"only the bill for energy falls": energy_share, "energy and waiting fall": min(energy_share + time_share, 1),
              "the whole price falls": 1.0}
    told = ", ".join(f"{n}: {energy_left(1 - alone.ratio, elasticity, w):.0%}" for n, w in shares.items())
    return (f"Energy is {energy_share:.0%} of the price, waiting {time_share:.0%}, elasticity {elasticity:.2f}. With the "
            f"narrow reader's saving the energy left is, if {told}.")

# %%
explore(prices_figure, alt=prices_words, energy_share=slider(0.0, 0.4, 0.05, 0.01, label="energy's share of the price"),
        time_share=slider(0.0, 0.6, 0.5, 0.05, label="share of waiting"),
        elasticity=slider(0.0, 2.0, 1.2, 0.05, label="elasticity"))

# %% [markdown]
# Read the three lines. With the same elasticity there is a saving or a backfire, depending on the price that falls. Then set
# the elasticity to two, energy's share to `0.3` and waiting to `0.6`: the middle line first rises and then falls. It rises
# because share times elasticity is above one. It falls because the rest of the price stays, and puts an end to the reaction.
#
# All this is the **direct** rebound: more of the same service. The money and the time that are saved also go into other
# things, which need energy as well: that is the **indirect** rebound. Both together, with prices and wages that move
# everywhere, are the **economy-wide** one. And often no user decides: a provider whose query has become cheap puts the model
# behind every search. Our model has only the first.
#
# ### Verdict

# %% tags=["nbval-check-output"]
cheaper, same = alone.verdict == "a lower", scores[1] >= scores[0] - 0.05
print(f"the narrow reader costs less: {cheaper}; it is at most five points worse: {same}")
verdict("B31", "supported" if cheaper and same and r.value > 0.9 else "loosely stated",
        "what saves energy saves machine time, and so money; the cheaper service is where rebound begins")

# %% [markdown]
# ### Development or running?

# %%
claim("B32").card()

# %% [markdown]
# The article names one cause: lower *development* costs. How much of the energy of a query is development? It depends on the
# number of queries that share it. We take the training of the narrow reader, just measured, and its query. (One training
# that worked, in CPU time. The search for it would come on top.)

# %%
single = meter.measure(lambda: ask(narrow, one), rel=0.1, window=0.1, name="one query to the narrow reader")
single.log()
training, query = learning.reading.cpu_seconds, single.cpu_seconds_per_call
Table(["queries in its life", "development's share of the cost of a query"],
      [(n, f"{training / (training + n * query):.2%}") for n in (100, 10_000, 1_000_000, 100_000_000)],
      caption=f"Narrow reader: training {si(training, 's')}, query {si(query, 's')} of CPU time")

# %% tags=["nbval-check-output"]
gpt3, day = fact("tr_gpt3_energy").value, fact("chatgpt_prompts").value * fact("q_chatgpt_altman").to("MWh")
development = gpt3 / (gpt3 + 365 * day)
print(f"GPT-3's final training beside one year of prompts: {development:.1%} of the energy of both;\n"
      f"for training to be as much as the prompts, there would have to be {365 * day / gpt3:.0f} such trainings a year")
for what, falls in {"development": development, "running": 1 - development}.items():
    print(f"half the {what} cost: a query needs {falls / 2:.1%} less")

# %% [markdown]
# (For scale only, as in lesson 02. The training and the prompts are of different models and years, and the energy of the
# prompts comes from a blog without method. Only the final training is counted: for BLOOM that was [37.2 %](#tr_bloom_share)
# of the project. And it is energy. In money, development is also people and data.)
#
# For a model that is asked seldom, development is nearly everything. There the article names the right cause: cheap
# development can bring *more models*. For a service that millions use, development weighs little, and what counts is the
# price of **running**. We come back to the verdict when we have seen a case.
#
# ## Part four: three famous figures
#
# One company publishes that a prompt needs far less energy than a year before. It also tells how many tokens it handles. And
# it reports the electricity of its data centres. The first two:

# %% tags=["nbval-check-output"]
prompt, tokens, electricity = map(fact, ("q_gemini_33x", "rb_google_tokens", "rb_google_dc"))
for f in (prompt, tokens):
    print(f"{f.quantity}: {f.text}")

# %%
guess_case = predict(
    "09-famous", f"Multiply, as if both were about the same thing: {tokens.value:.3g} times the tokens, and each needs "
    f"{prompt.value:.0f} times less. By how many per cent would the energy change?",
    low=-100, high=200, guess=0, step=5, unit="%",
)
guess_case

# %% tags=["nbval-check-output"]
naive = tokens.value / prompt.value
print(f"{tokens.value:.3g} times the tokens, at {prompt.value:.0f} times less: {naive:.2f} times the energy, "
      f"{naive - 1:+.0%}")
print(f"{electricity.quantity}: {electricity.value:+.0f} %")

# %%
guess_case.reveal(100 * (naive - 1))

# %% [markdown]
# That looks like a proof of rebound: an efficiency of this size, and still more electricity than before. It is often told
# so. But read what each figure is about.

# %% tags=["nbval-check-output"]
about = {"prompt": ("the median text prompt", "May 2024 to May 2025", "one app", "energy per prompt"),
         "tokens": ("every token", "April 2024 to May 2025", "all products", "tokens per month"),
         "electricity": ("all work", "2023 to 2024", "data centres", "energy per year")}
print(Table(["figure", "of what", "when", "where", "unit"], [(n, *row) for n, row in about.items()]))
print("columns in which all three agree:", sum(len(set(column)) == 1 for column in zip(*about.values())))

# %% [markdown]
# Not one column agrees. What can be repaired?
#
# **The period.** The tokens grew over 13 months, the prompt's energy fell within 12. Growth multiplies from month to month. So
# the months stand in the *exponent*: twelve thirteenths of them.

# %% tags=["nbval-check-output"]
def yearly(factor, months):
    """Growth over twelve months, if it went on as evenly as over these months."""
    return factor ** (12 / months)


tokens_year = yearly(tokens.value, 13)
print(f"tokens: {tokens.value:.3g} times in 13 months is {tokens_year:.1f} times in 12")
print(f"with {prompt.value:.0f} times less per prompt: {tokens_year / prompt.value - 1:+.0%} instead of {naive - 1:+.0%}")
print("if both counts are of May, as other reports say: nothing to repair")
since = fact("rb_google_tokens_oct25").value / fact("rb_google_tokens_2025").value
print(f"tokens, May to October 2025: as a yearly rate {yearly(since, 5):.0f} times")

# %% [markdown]
# One month decides whether that is half as much again or a tenth more. And reports do not agree on the first month: some say
# April, some May. We cannot decide it. The yearly rate depends on the window as well: a few months later it is another one.
#
# The electricity is of calendar years. How much of the fall shows in its second year? Let the energy of a prompt be constant
# until May, and then fall by the same factor each month. Let each month have as many prompts. (All three are our assumptions.
# If the prompts grew as the tokens did, the average would be lower.)

# %% tags=["nbval-check-output"]
falling = np.array([1.0] * 5 + [prompt.value ** (-month / 12) for month in range(1, 8)])  # January to May, then June on
of_2024 = falling.mean()
growing = np.average(falling, weights=tokens_year ** (np.arange(12) / 12))  # if the prompts grew as the tokens did
print(f"a prompt of December 2024, beside one of May: {1 / falling[-1]:.1f} times less")
print(f"of 2024 on average: {1 / of_2024:.1f} times less; if prompts grew as tokens did, {1 / growing:.1f} times less")

# %% [markdown]
# By December most of the fall had happened, and yet the average of the year shows little of it: the first months were as
# before. What the fall did to the electricity will show, if at all, in the figure for the year after. For that year we have
# only another boundary, the whole company: [37 %](#rb_google_demand25) more.
#
# **The unit.** Prompts are not tokens. If answers became longer, a token's energy fell by more than a prompt's. Nobody has
# published the tokens per prompt.
#
# **The object.** The prompt is the *median* text prompt of one app: half of all prompts need more. A total needs the *mean*,
# which a few long prompts can raise, and which was not published. The tokens are of all products, where they also search,
# translate and write program code. The electricity moves videos and mail, trains models, and serves other companies.
#
# So what is known? We draw what is known as points, and the rest as what it is.

# %% jupyter={"source_hidden": true}
grown = 1 + electricity.value / 100
most = tokens.value  # if the counts are twelve months apart; if thirteen, tokens_year
KNOWN = {"energy of one prompt": (1 / prompt.value,) * 2, "tokens, all products\n(12 or 13 months)": (tokens_year, most),
         "electricity, all data centres": (grown,) * 2,
         f"energy of all prompts,\nif 1 to {most:.3g} times as many": (1 / prompt.value, most / prompt.value),
         "energy of all tokens,\nif one needs 1 to 33 times less": (tokens_year / prompt.value, most)}


def known_figure():
    fig, ax = plots.figure("What is known about one year?", "times as much as the year before", "", height=4.4, width=8.2)
    ax.plot([grown] * 2, [-0.4, 5.4], color=plots.OKABE_ITO[1], linestyle="--", linewidth=1.2, label="what electricity did")
    for row, (low, high) in enumerate(KNOWN.values()):
        if low == high:
            ax.plot([low], [row], "o", color=plots.OKABE_ITO[0], markersize=9, label="published" if row == 0 else None)
        elif row == 1:
            ax.errorbar([low], [row], xerr=[[0], [high - low]], fmt="D", color=plots.OKABE_ITO[0], markerfacecolor="white",
                        markersize=8, capsize=5, label="published, converted")
        else:
            ax.barh([row], [high - low], left=[low], height=0.5, color="white", edgecolor="black", hatch="///",
                    label="possible, with assumptions" if row == 3 else None)
    ax.text(1, 5, "no bound: nothing was published", ha="center", va="center", backgroundcolor="white")
    ax.set_yticks(range(6), [*KNOWN, "tokens in one prompt"])
    ax.set(xscale="log", xlim=(0.01, 100), ylim=(5.6, -1.7), ylabel="quantity")
    ax.legend(loc="upper center", ncols=2, fontsize=8.5)
    return fig

# %% course={"picture": "images/09_what_is_known.png"}
plots.show(known_figure(), alt="Six quantities on a logarithmic axis of growth in a year. Two are published points: the "
           "energy of one prompt, far below 1; electricity, a little above 1. Tokens are an open point far above 10, published "
           "and converted to a year, with a bar up to the growth as published, as nobody knows whether 12 or 13 months lie "
           "between. Two are hatched bars that hold only with assumptions: the energy of all prompts lies somewhere from far "
           "below 1 to a little above 1, that of all tokens from near 1 to far above 10. For tokens in one prompt there is no "
           "bound. A dashed line marks what electricity did.")

# %% [markdown]
# The two bars need assumptions that nobody has confirmed: that the mean prompt changed as the median did; that the prompts
# did not become fewer, and grew no more than all tokens; that a token's energy did not rise, and fell by no more than a
# prompt's. Even so each bar reaches over a factor of more than thirty. Whoever wants to prove a saving points to the left end
# of a bar, and whoever wants to prove backfire to the right end.
#
# ### The growth that would be needed
#
# One thing can be computed: how large a part prompts *can* be. By how much did the electricity grow, in TWh? How many
# more prompts would that be? We take the median for the mean, as we have nothing else.

# %% tags=["nbval-check-output"]
total, billion = fact("rb_google_dc_twh").to("Wh"), fact("chatgpt_prompts_2024").value
rise, later = total - total / grown, fact("q_gemini").to("Wh")
earlier = later * prompt.value
sizes = {"May 2024": earlier, "2024, as many each month": earlier * of_2024, "2024, growing as tokens": earlier * growing,
         "May 2025": later}
print(Table(["a prompt of", "Wh", "the rise would be", "a billion a day would be"],
            [(when, f"{wh:.2f}", f"{rise / 365 / wh / 1e9:.1f} billion more a day", f"{billion * 365 * wh / total:.1%} of all")
             for when, wh in sizes.items()], caption=f"The electricity rose by {rise / 1e12:.1f} TWh a year"))

# %% [markdown]
# A billion a day is what a rival reported for the end of that year. The company itself has published no number that we know of.
#
# With the average that we assumed for the year (second line), a few billion more prompts a day would explain the whole rise.
# With the energy of May 2025 it would take twenty times as many. So prompts may be a small part of the rise or all of it.
# Whoever says more has added a number of their own.
#
# Set for yourself what was not published. Let the work that makes tokens have had some share of the electricity in the first
# year. Let a token's energy fall by as much as you like. How much did all **other** work grow, so that the sum comes out at
# what was reported? (Here the years are taken as one and the same, which they are not.)

# %%
def other_growth(share, tokens, fall):
    """Growth of all other work's energy that makes the sum `grown`, when tokens had this share in the first year."""
    return (grown - share * tokens / fall) / (1 - share)

# %% jupyter={"source_hidden": true}
def falls(times):
    return "as much as before" if times == 1 else f"{times:g} times less"


def needed_figure(share, fall):
    fig, ax = plots.figure("How much did all other work have to grow?", "share of the tokens' work in the first year (%)",
                           "growth of other work (%)", height=3.9)
    shares = np.linspace(0, 0.3, 61)
    for i, times in enumerate((1, 10, 33, 100)):
        growth = [100 * (other_growth(x, tokens_year, times) - 1) for x in shares]
        ax.plot(100 * shares, growth, label="a token needs " + falls(times), **plots.series(i) | {"marker": ""})
    yours = max(100 * (other_growth(share, tokens_year, fall) - 1), -100)  # below -100 no other work makes the sum right
    ax.plot([100 * share], [yours], "*", color="white", markeredgecolor="black", markersize=16, label="your choice")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(ylim=(-105, 105), xlim=(0, 30))
    ax.legend(fontsize=9, loc="lower left", bbox_to_anchor=(0.13, 0))
    return fig


def needed_words(share, fall):
    growth, own = other_growth(share, tokens_year, fall), tokens_year / fall
    said = (f"all other work {'grew' if growth >= 1 else 'shrank'} by {abs(growth - 1):.0%}" if growth >= 0
            else "no other work could make the sum right: the tokens alone would need more than everything")
    return (f"Assumed: the tokens' work had {share:.1%} of the electricity, and a token needs {fall:.0f} times less a year "
            f"later. Then that work took {own:.2f} times its energy, and {said}.")

# %%
explore(needed_figure, alt=needed_words, share=slider(0.001, 0.3, 0.1, 0.001, label="share in the first year"),
        fall=slider(1, 100, 33, 0.01, log=True, label="a token needs so many times less"))

# %% [markdown]
# Two sentences from the literature. The second stands in the source that the article itself uses for its figures.

# %% tags=["nbval-check-output"]
for name in ("rb_luccioni", "rb_patterson"):
    print(textwrap.fill(statement(name).text, 94))

# %% [markdown]
# ### Verdict

# %% tags=["nbval-check-output"]
grew, seldom = tokens_year > 1 and prompt.value > 1, training / (training + 100 * query) > 0.5
print("use grew (all products) while the energy per prompt fell (one app):", grew)
print("development is most of the cost of our reader, asked a hundred times:", seldom)
print("development is most of the energy of a much used service, in a year:", development > 0.5)
because = "more use is where rebound would come from, though no figure shows it"
if development < 0.5:
    because += "; the cause is too narrow: for a much used service running costs weigh more than development"
verdict("B32", "supported" if grew and seldom else "loosely stated" if grew else "contested", because)

# %% [markdown]
# Is this growth *caused* by the fall of the energy? We do not know, and no figure here can tell. Products that were new
# may have grown in any case.
#
# ### If you have time: one more trap

# %% tags=["nbval-check-output"]
old, new = fact("q_chatgpt_devries"), fact("q_chatgpt_epoch")
print(f"one query, {old.year}: {old.value:g} {old.unit}; {new.year}: {new.value} {new.unit}. Ten times more efficient?")

# %% [markdown]
# The two numbers are **estimates**, and part of the step between them is a correction: the older one counted too many tokens.
# The other part is better models and chips. How large each part is, the two numbers do not say.
#
# ## Part five: eight years of data centres
#
# For decades a computation has needed less and less energy. Is that a promise?

# %%
claim("B25").card()

# %% [markdown]
# ### Predict

# %%
guess_masanet = predict(
    "09-data-centres", "From 2010 to 2018 the computing done in the world's data centres became six and a half times as much. "
    "By how many per cent did their energy grow?",
    low=0, high=600, guess=200, step=5, unit="%",
)
guess_masanet

# %% tags=["nbval-check-output"]
YEARS = 8  # 2010 to 2018
computing = 1 + fact("dc_masanet_computing").value / 100
energy = 1 + fact("dc_masanet_energy").value / 100
per_unit = computing / energy
print(f"computing: {computing:.2f} times; energy: {energy:.2f} times; so one unit needs {per_unit:.2f} times less")
print(f"a year: computing {computing ** (1 / YEARS) - 1:+.1%}, efficiency {per_unit ** (1 / YEARS) - 1:+.1%}, "
      f"energy {energy ** (1 / YEARS) - 1:+.1%}")
doubling = YEARS * np.log(2) / np.log(per_unit)
print(f"efficiency doubled every {doubling:.1f} years; that of computers in general every {fact('koomey_2000').value} up to "
      f"2000,\nevery {fact('koomey_after').value} after")

# %%
guess_masanet.reveal(100 * (energy - 1))

# %% [markdown]
# (A growth of [550 %](#dc_masanet_computing) is six and a half times as much, not five and a half. And growth per year is
# the eighth *root*: an eighth of 550 % would be far too much. "Computing" counts programs that run on servers. The last
# line counts computations of a computer per kWh, as Koomey and others have followed them, so compare the two only roughly.)
#
# For eight years efficiency and use ran side by side, and the energy stood nearly still. Did efficiency save? It depends on
# what would have happened without it, and that is what nobody sees. Two readings of the same data:
#
# - All this computing would have come in any case. Then without efficiency the energy would have grown as the computing did,
#   and the whole saving was kept.
# - All growth came *because* computing became cheaper. Then without efficiency there would have been no growth, and more
#   than the whole saving was lost.
#
# In between lies growth that would have come anyway, at some rate a year. What elasticity belongs to which rate? And what
# rebound? Here it is a share of what would be saved beside a world *without the gain*, in the same year, and not, as in
# part two, beside the energy *before*.

# %% tags=["nbval-check-output"]
def apparent_elasticity(anyway):
    """Elasticity that explains the growth of computing, when it would have grown by this share a year anyway."""
    return np.log(computing / (1 + anyway) ** YEARS) / np.log(per_unit)


def seen_rebound(anyway):
    """Share of the saving lost, against a world without the gain in which computing grew by this share a year."""
    without = (1 + anyway) ** YEARS
    return 1 - (without - energy) / (without - without / per_unit)


for anyway in (0, 0.1, 0.2, computing ** (1 / YEARS) - 1):
    e, lost = (round(float(x), 6) + 0.0 for x in (apparent_elasticity(anyway), seen_rebound(anyway)))
    print(f"{anyway:4.0%} a year anyway: elasticity {e:.2f}, rebound {lost:.0%}")

# %% jupyter={"source_hidden": true}
def history_figure(anyway):
    fig, axes = plots.figure("What would have happened without the gain?", "years since 2010", panels=2, width=8.2)
    years = np.linspace(0, YEARS, 30)
    lines = {"with the gain, as published": energy ** (years / YEARS), "without it": (1 + anyway) ** years}
    for i, (name, y) in enumerate(lines.items()):
        axes[0].plot(years, 100 * y, label=name, **plots.series(i) | {"marker": ""})
    axes[0].set(ylim=(0, 700), ylabel="energy (2010: 100)")
    axes[0].legend(fontsize=9, loc="upper left")
    rates = np.linspace(0, 0.26, 40)
    axes[1].plot(100 * rates, apparent_elasticity(rates), **plots.series(2) | {"marker": ""})
    axes[1].plot([100 * anyway], [apparent_elasticity(anyway)], "*", color="white", markeredgecolor="black", markersize=16)
    axes[1].axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes[1].set(ylim=(0, 1.2), ylabel="elasticity that explains it", xlabel="growth anyway (% a year)")
    return fig


def history_words(anyway):
    e = float(apparent_elasticity(anyway))
    return (f"If computing had grown by {anyway:.0%} a year anyway, energy without the gain would be "
            f"{(1 + anyway) ** YEARS:.1f} times that of 2010, instead of {energy:.2f} times; the growth that is left is explained "
            f"by an elasticity of {e:.2f}, a rebound of {seen_rebound(anyway):.0%}.")

# %%
explore(history_figure, alt=history_words, anyway=slider(0.0, 0.26, 0.15, 0.01, label="growth anyway, a year"))

# %% [markdown]
# So the same two published numbers fit every elasticity from nothing to a little above one. (This takes the whole price to
# have fallen with the energy.) A *total* that stands still proves neither that efficiency saves nor that it does not.
#
# And it is not expected to go on standing still. How much would computing have to grow, so that a projection for the next
# years comes true, if efficiency goes on as in those eight years?

# %% tags=["nbval-check-output"]
now_twh, then_twh, ahead = fact("dc_iea24").value, fact("dc_iea30").value, 6  # 2024 to 2030
gain, more = per_unit ** (ahead / YEARS), then_twh / now_twh
print(f"energy {now_twh:.0f} to {then_twh:.0f} TWh (a projection): {more:.2f} times in {ahead} years, "
      f"{more ** (1 / ahead) - 1:+.0%} a year")
print(f"efficiency by then {gain:.1f} times; so computing {more * gain:.0f} times: "
      f"{(more * gain) ** (1 / ahead) - 1:+.0%} a year, against {computing ** (1 / YEARS) - 1:+.0%} before")
print(textwrap.fill(statement("rb_morand").text, 94))

# %% [markdown]
# **A rate is not a limit.** Efficiency is a rate, and so is use. The total follows the faster of the two: with the same
# efficiency it once stood still, and in the projection it more than doubles. How much energy there will be, no rate says.
# Only a limit does, and part six has one.
#
# ### Verdict

# %% tags=["nbval-check-output"]
units = [per_unit, prompt.value]
totals = {"data centres, 2010 to 2018": energy, "one company, a year": grown, "data centres, to 2030": then_twh / now_twh}
print("per unit, times less:", ", ".join(f"{x:.1f}" for x in units))
print("in total:", ", ".join(f"{name} {x - 1:+.0%}" for name, x in totals.items()))
optimised, fell = min(units) > 1, min(totals.values()) < 1
verdict("B25", "supported" if optimised and fell else "loosely stated" if optimised else "contested",
        "each unit needs less, and no total here fell; what follows from the past is a rate, not a limit")

# %% [markdown]
# ### If you have time: computers that became portable

# %%
claim("B26").card()

# %% tags=["nbval-check-output"]
times_less = 2 ** (25 / fact("koomey_2000").value)
print(f"25 years of doubling at the rate up to 2000: a computation needs about {float(f'{times_less:.1g}'):,.0f} times less")
verdict("B26", "loosely stated" if times_less > 100 else "contested",
        "such a gain puts a computer into a pocket; that it took the place of the others, it does not say")

# %% [markdown]
# ### If you have time: unnecessary calculations

# %%
claim("B27").card()

# %% [markdown]
# No source was read for this claim. But a sentence with *always* needs only one counterexample, and we have one running: the
# wide reader. To multiply by zero is as unnecessary as a calculation can be. How many of its multiplications have a zero as
# the input, and are they left out?

# %%
@torch.no_grad()
def zero_share(net, x):
    """Share of a network's multiplications whose input is exactly zero."""
    zeros = total = 0
    for layer in net.layers:
        if isinstance(layer, torch.nn.Linear):
            zeros += int((x == 0).sum()) * layer.out_features
            total += x.numel() * layer.out_features
        x = layer(x)
    return zeros / total


layer, full = wide.layers[2], torch.rand(256, 512, generator=torch.Generator().manual_seed(0)) + 0.1
with torch.inference_mode():
    zeros = meter.compare(lambda: layer(torch.zeros_like(full)), lambda: layer(full.clone()), pairs=6, window=0.05,
                          names=("one layer, all zeros", "no zeros"))
zeros

# %% tags=["nbval-check-output"]
share = zero_share(wide, images.test.x)
print("more than a quarter of all multiplications are by zero:", share > 0.25)
takes = "nearly its full time" if zeros.ratio > 0.8 else "most of its time" if zeros.ratio > 0.5 else "less than half its time"
print("a layer that gets nothing but zeros takes", takes)
verdict("B27", "contested" if share > 0.25 and zeros.ratio > 0.5 else "supported",
        f"a dense layer that is given only zeros takes {takes}")

# %% [markdown]
# The zeros are multiplied, and there is a reason: to look for them often costs more. (They may draw less power, which CPU time
# does not show. And the claim says *sought to*: whoever seeks does not always find.)
#
# ## Part six: how, and whether
#
# The article calls frugality a continuation of the logic of efficiency. A French specification for frugal AI, AFNOR SPEC 2314,
# says when a service may be called frugal.

# %%
claim("B28").card()

# %% [markdown]
# It names three conditions. Does each ask **whether** a thing is done, **how** it is done, or **how much** of it there is
# in all? How many ask *how*? Put in a word for each. None is right or wrong: it is a reading.

# %%
your_reading = {"need shown": "", "good practice": "", "planetary limits": ""}  # "whether", "how" or "how much"

# %% tags=["nbval-check-output"]
ours = {"need shown": "whether", "good practice": "how", "planetary limits": "how much"}
conditions = fact("afnor").boundary.split(", ")
asks = {name: your_reading.get(name) or ours[name] for name in conditions}  # yours; where you gave none, ours
print(fact("afnor").quantity)
for name in conditions:
    print(f"{name:17s} we read: {ours[name]:9s} you read: {your_reading.get(name) or '-'}")
ask_how = sum(word == "how" for word in asks.values())
print(f"so {ask_how} of {fact('afnor').value:.0f} ask how; the specification lists {fact('afnor_practices').text}")

# %% [markdown]
# **Efficiency asks how. Frugality asks whether.** (The verdict on B28 follows from these words. From our reading it changes
# only if you change both other words to *how*.) The first changes the energy of a query, the second the number of queries.
# In our model these are two factors of a product, and each has levers of its own:
#
# - **efficiency**: a query needs less;
# - a **price** on energy, such as a tax: it takes back what became cheaper;
# - a **cap**: the energy of all queries may not exceed an amount;
# - **needs**: some of the queries asked today are not needed, and are left out.

# %%
def levers(saving, elasticity, share, tax, cap, needed):
    """{lever: (queries, energy)}, over those of before; `share` of the price is energy, and nothing else becomes cheaper."""
    left = 1 - saving
    freely = energy_left(saving, elasticity, share) / left
    taxed = use((1 - share) + share * left * (1 + tax), elasticity)
    queries = {"efficiency alone": freely, "efficiency, price on energy": taxed,
               "efficiency, cap": min(freely, cap / left), "efficiency, needs": needed * freely}
    both = {name: (float(n), float(n * left)) for name, n in queries.items()}
    return both | {"needs alone": (needed, needed)}

# %%
guess_tax = predict(
    "09-tax", "A query needs half the energy. By how many per cent must the price of energy rise so that a query costs as much "
    "as before?", low=0, high=300, guess=50, step=5, unit="%",
)
guess_tax

# %% tags=["nbval-check-output"]
half = 0.5
dearer = eaten_up(half)  # of the price of energy: the rule of part one
table = levers(saving=half, elasticity=1.2, share=1, tax=dearer, cap=0.8, needed=0.7)
print(Table(["lever", "queries", "energy", "saved"],
            [(name, f"{n:.2f}", f"{e:.2f}", f"{1 - e:+.0%}") for name, (n, e) in table.items()],
            caption="A query needs half, elasticity 1.2, all of the price is energy; cap 0.8, needed 0.7"))

# %%
guess_tax.reveal(100 * dearer)

# %% [markdown]
# At this elasticity, efficiency alone is backfire. A price that takes back the whole fall leaves use as it was, and so the
# whole saving is kept: for half the energy, twice the price of energy. (This holds where energy alone became cheaper. If the
# wait became shorter, too, a price on energy would have to make up for that as well.)
#
# The cap does not depend on how people react: under it, efficiency turns into more queries and not into more energy. With
# needs alone, nothing was made efficient, and something was saved. Beside efficiency, leaving out what is not needed is partly
# undone: the rest becomes cheaper, and is asked more often.
#
# No lever is free. A cap or a price decides who must do without, and "needed" is a question that no model answers. Try a
# small elasticity, too, or a small share: there efficiency alone keeps most of its saving, and the other levers add little.

# %% jupyter={"source_hidden": true}
def levers_figure(elasticity, share, tax, cap, needed):
    fig, ax = plots.figure("Which lever keeps the saving?", "energy of all queries (before: 100)", "lever",
                           height=3.6, width=8.2)
    found = levers(1 - alone.ratio, elasticity, share, tax, cap, needed)
    values = [100 * e for _, e in found.values()]
    plots.bars(ax, list(found), values, horizontal=True, texts=[f"{v:.0f}" for v in values])
    ax.axvline(100, color="black", linestyle="--", linewidth=1.2)
    ax.set_xlim(0, max(125, 1.15 * max(values)))
    return fig


def levers_words(elasticity, share, tax, cap, needed):
    found = levers(1 - alone.ratio, elasticity, share, tax, cap, needed)
    told = "; ".join(f"{name}: {n:.2f} times the queries, {100 * e:.0f} of 100" for name, (n, e) in found.items())
    return (f"Your narrow reader saves {1 - alone.ratio:.0%} per query; elasticity {elasticity:.2f}; energy is {share:.0%} of "
            f"the price. Queries and energy: {told}. A dashed line marks the energy before.")

# %%
explore(levers_figure, alt=levers_words, elasticity=slider(0.0, 2.0, 1.2, 0.05, label="elasticity"),
        share=slider(0.0, 1.0, 1.0, 0.05, label="energy's share of the price"),
        tax=slider(0.0, 10.0, 1.0, 0.25, label="rise of the price of energy (1: doubled)"),
        cap=slider(0.1, 1.0, 0.8, 0.05, label="cap"), needed=slider(0.1, 1.0, 0.6, 0.05, label="share that is needed"))

# %% [markdown]
# ### Verdict

# %% tags=["nbval-check-output"]
backfires = [name for name, (_, e) in table.items() if e > 1]
print("more energy than before, with:", ", ".join(backfires) or "no lever")
verdict("B28", "supported" if ask_how == len(conditions) else "contested",
        f"{ask_how} of {len(conditions)} conditions ask how a thing is done, and efficiency answers no other question")

# %% [markdown]
# And how large is the rebound? For queries we know of no measured elasticity. So say which range *you* hold possible. The
# verdict follows from it. It is marked *measured here*, because the rebound is worked out on your screen. The elasticities
# are assumed.

# %% tags=["nbval-check-output"]
ELASTICITIES = (0.1, 1.2)  # the least and the most that you hold possible: yours to set


def how_much(low, high):
    """The word for "would greatly reduce": whether at least half of the saving is lost, and never more than all of it."""
    return "supported" if low >= 0.5 and high <= 1 else "contested" if high < 0.5 else "loosely stated"


lost = [float(rebound(0.5, e)) for e in sorted(ELASTICITIES)]
print(f"assumed: elasticity {min(ELASTICITIES):g} to {max(ELASTICITIES):g}, and a price that falls with the energy")
print(f"worked out, if a query needs half: from {lost[0]:.0%} to {lost[1]:.0%} of the saving is lost")
verdict("B33", how_much(*lost), "it depends on the elasticity, for which we know of no measurement, and on the price that "
        "falls")

# %% [markdown]
# Change the two numbers and run the cell again. Which ranges make the sentence true?
#
# <details><summary>The answer</summary>
#
# From about `0.59` to `1`, and all ranges within. Below, less than half of the saving is lost. Above, all of it is, and
# more.
#
# </details>
#
# ### Two sentences that nothing here decides
#
# B29 is a definition of sustainability. It resembles that of the Brundtland report, which was not read for this course: a
# look into it would settle the claim, and is a good task for you. B30 calls frugal AI a movement more than a field. If you
# find out, put it in.

# %% tags=["nbval-check-output"]
report = None  # True: you read the report, and it defines the word as the article does; False: it does not
survey = None  # "movement" or "field": what those who work on it say, if you know of somebody who asked them

verdict("B29", {None: "not checkable", True: "supported", False: "contested"}[report],
        "nobody has read the Brundtland report for this course" if report is None else "that is what the report says")
verdict("B30", {None: "not checkable", "movement": "supported", "field": "contested"}[survey],
        "it is a matter of words" if survey is None else f"those who were asked call it a {survey}")

# %% [markdown]
# On B29 we and the sources differ. Their *supported* was said from memory, as the brackets say. In a lesson a word needs
# something that was read. So lesson 10 counts one claim on which the two do not agree.
#
# ## Part seven: what did this course cost?
#
# The course measures. Measuring needs energy, too. Your ledger holds what the lessons have written down. (The saved notebook
# was run with an empty one, so there you see the lines of this lesson only.)

# %%
ledger.summary()

# %%
def spent(entries):
    """{label: (readings, CPU seconds, joules)} of a ledger's readings, all their calls together."""
    sums = {}
    for line in (e for e in entries if e["kind"] == "reading"):
        found = (line.get(key) for key in ("calls", "cpu_seconds", "joules"))
        calls, cpu, joules = (x if isinstance(x, (int, float)) else 0 for x in found)  # a figure may be missing
        label = str(line.get("label", "no label"))
        before = sums.get(label, (0, 0.0, 0.0))
        sums[label] = tuple(a + b for a, b in zip(before, (1, calls * cpu, calls * joules)))
    return sums


mine, here = spent(ledger.read()), time.process_time()
Table(["how it is known", "readings", "CPU time", "energy"],
      [(label, n, si(cpu, "s"), f"{si(joules, 'J')} ({label})" if joules else "no joules")
       for label, (n, cpu, joules) in mine.items()] or [("nothing logged yet", 0, "-", "-")],
      caption=f"Readings in your ledger; this lesson alone has taken {si(here, 's')} of CPU time so far")

# %% [markdown]
# The ledger holds less than the truth: only the windows that a lesson logs. The operating system knows how much CPU time the
# whole program took, and that is the figure in the caption: measured. Neither knows that your computer is switched on while
# you read.
#
# So we need assumptions. They stand here with their names. Put in your own.

# %%
LESSONS = 11  # 00 to 10
BUDGET = 60  # the most CPU seconds that a lesson may take
HOURS = 10  # assumption: the minutes that the lessons state, added up and rounded; without the exercises
SCREEN = 20  # assumption: watts of a laptop with its screen, while you read
LABELS = ("measured", "sampled", "modelled", "assumed")  # from the best known to the least


def best_label(spending):
    """The best label that has joules and CPU time, or None. Labels are not mixed: one may be of a GPU, one of a CPU."""
    return next((name for name in LABELS if name in spending and spending[name][1] > 0 and spending[name][2] > 0), None)


label = best_label(mine)
watts = mine[label][2] / mine[label][1] if label else 10.0  # assumption, where the ledger knows no joules
source = f"your {label} lines" if label else "assumed"

# %%
guess_computing = predict(
    "09-course", "Of the energy that one learner needs for the whole course, which share is the computing in the lessons?",
    low=0, high=100, guess=50, unit="%",
)
guess_computing

# %%
def bill(learners, watts, hours=HOURS, screen=SCREEN, seconds=LESSONS * BUDGET):
    """{part: kWh} of a course for so many learners."""
    return {"computing in the lessons": learners * convert(seconds * watts, "J", "kWh"),
            "the computer, while you read": learners * screen * hours / 1000}


one_learner, logged = bill(1, watts), convert(sum(row[2] for row in mine.values()), "J", "kWh")
labels = ", ".join(name for name, row in mine.items() if row[2]) or "no joules yet"
Table(["part", "Wh for one", "how it is known"],
      [("computing in the lessons", f"{1000 * one_learner['computing in the lessons']:,.3g}",
        f"{LESSONS} times {BUDGET} s (the limit), {watts:.2g} W ({source})"),
       ("the computer, while you read", f"{1000 * one_learner['the computer, while you read']:,.3g}",
        f"{HOURS} hours, {SCREEN} W (assumed)"),
       ("so far in your ledger", f"{1000 * logged:,.3g}", f"added up ({labels})")],
      caption="One learner; for a million, read MWh instead of Wh")

# %%
guess_computing.reveal(100 * one_learner["computing in the lessons"] / sum(one_learner.values()))

# %% tags=["nbval-check-output"]
reading = bill(1_000_000, watts)["the computer, while you read"] / 1000
print(f"a million learners, only reading: {reading:,.0f} MWh (assumed), {reading / fact('tr_gpt3_energy').value:.2f} "
      "of GPT-3's training")
print("measured in it: nothing; the hours, the watts and the learners are assumptions")

# %% [markdown]
# All our care for milliseconds concerns the small part, and that is the part that the course can measure. The large part,
# reading, is hours times watts, and nobody has measured either. A learner with a power meter at the plug could replace the
# assumed watts in five minutes. (The last line is your own ledger. A million learners would have logged a million times that,
# if each did what you did.)
#
# Not in the bill: the exercises, the making of the computer, the network, the server for those who work in a browser, and all
# the trials that the authors ran.
#
# Put in other numbers. How far must they fall until the computing is a tenth of the whole?
#
# <details><summary>The answer</summary>
#
# Until the reading is nine times the computing. All lessons together may take $11 \times 60 = 660$ seconds of CPU time.
# With `4` W, the reading must come down to $9 \times 660 \times 4 / 3600 = 6.6$ Wh. One hour at `6` W gets there. One hour
# at `20` W does not, and neither do nine hours at `1` W.
#
# </details>

# %% jupyter={"source_hidden": true}
def course_figure(learners, hours, screen):
    fig, ax = plots.figure("What would this course cost all its learners?", "energy (MWh)", "part", height=2.6, width=8.2)
    values = [kwh / 1000 for kwh in bill(learners, watts, hours, screen).values()]
    plots.bars(ax, list(one_learner), values, horizontal=True, texts=[f"{v:,.3g}" for v in values])
    ax.set_xlim(0, 1.2 * max(values))
    return fig


def course_words(learners, hours, screen):
    computing, reading = (kwh / 1000 for kwh in bill(learners, watts, hours, screen).values())
    return (f"Assumed: {learners:,.0f} learners, {hours:.0f} hours at {screen:.0f} W while reading: "
            f"{reading:,.3g} MWh. Computing, at {watts:.2g} W ({source}): {computing:,.3g} MWh, "
            f"{computing / (computing + reading):.1%} of the whole.")

# %%
explore(course_figure, alt=course_words, learners=slider(1e3, 1e7, 1e6, log=True, label="learners"),
        hours=slider(1, 20, HOURS, label="hours"), screen=slider(1, 200, SCREEN, 1, label="watts while reading"))

# %% [markdown]
# The price of a course is time. If it took half the hours, and its learners reacted with an elasticity above one, it would
# need *more* energy, because more people learn. Is that bad? The model counts energy, and not what it was for. This is why
# the question about needs comes first.
#
# ## What the figures do not say
#
# - A constant elasticity is the simplest curve, not a law. Real demand has ends: a day has a fixed number of hours.
# - We know of no measured elasticity for queries to a model. Every total that we computed from one is an "if".
# - The published figures of the company are its own, and we have read them only as others quote them. The counts of tokens
#   come from the press.
# - The two factors of our product are not as separate as it looks. A better model changes what people ask.
# - What our two readers save is the saving of a small network in Python. Only the *rule* carries over.
# - Energy is not the only limit. Water, minerals, land and the making of machines have rebounds of their own.
# - The indirect rebound, and the effect on a whole economy, are outside of this model.
#
# ## What you have seen
#
# - A saving of a share $s$ is eaten up by $1/(1-s)$ times the use. With a constant elasticity $e$ and a price that falls with
#   the energy, $1-(1-s)^{1-e}$ is kept; above one it is backfire.
# - Energy is a share of the price, and what counts is that share times the elasticity. Waiting and quality are prices, too.
# - The three famous figures agree in no column. The period can be repaired as far as the months are known, the unit and the
#   object cannot, and what is left is a wide interval.
# - For eight years efficiency kept up with use. It was a rate against a rate, and a rate is not a limit; the same data fit no
#   rebound and a full one.
# - Efficiency asks how and changes one factor. A cap, a price and needs act on the other, or on the product.
# - In this course the computing is the small part, and the only one that we can measure. Reading is the large one, and it is
#   assumed.
#
# **Now do** [exercise 09](../exercises/09_rebound.ipynb). **Next:** [lesson 10](10_energy_label.ipynb).
#
# ## Your ledger

# %%
ledger.summary()

# %%
# On Colab every notebook is its own machine. Take away a "#" to bring your ledger along, or to keep it.
# ledger.load("ledger.jsonl")
# ledger.save()

# %% [markdown]
# ## Sources

# %%
cite("rb_jevons", "rb_def", "rb_luccioni", "rb_patterson", "rb_morand", "tr_tco_r", "tr_bloom_share", "q_chatgpt_epoch",
     "q_chatgpt_devries", "q_chatgpt_altman", "tr_gpt3_energy", "chatgpt_prompts", "chatgpt_prompts_2024", "q_gemini",
     "q_gemini_33x", "rb_google_tokens", "rb_google_tokens_2025", "rb_google_tokens_oct25", "rb_google_dc", "rb_google_dc_twh",
     "rb_google_demand25", "dc_masanet_computing", "dc_masanet_energy", "dc_iea24", "dc_iea30",
     "koomey_2000", "koomey_after", "afnor", "afnor_practices")
