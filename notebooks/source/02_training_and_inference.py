# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '02'
#     memory_mb: 1000
#     minutes: 45
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
# # Training and inference
#
# **The question.** Training a model happens once; answering happens again and again. Which of the two costs more,
# and from how many queries on?
#
# **After this lesson you can**
#
# - say what training and answering cost for a network that you trained yourself, in operations and in energy;
# - find the number of queries at which answering overtakes training, with its interval;
# - rebuild a published training energy from its factors, and say which of them matter;
# - take apart a range without a source, and a percentage that changed its meaning on the way.
#
# **You need** about 45 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the cells one
# by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** A1 to A6, B3, B7, B8, B9.
# **Before:** [lesson 01](01_measuring_energy.ipynb). **After:** [exercise 02](../exercises/02_training_and_inference.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import itertools
import textwrap
from statistics import fmean

import torch

from course_lib import ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count, training_step_flops
from course_lib.data import digits
from course_lib.energy import Meter
from course_lib.facts import cite, convert, fact, statement
from course_lib.models import DigitsMLP
from course_lib.setup import seed_everything
from course_lib.stats import mean_interval, ratio_interval, si
from course_lib.tables import Table, shipped
from course_lib.training import accuracy, train
from course_lib.widgets import explore, predict, slider

seed_everything(0, threads=1)  # one thread: a network this small gains nothing from two

# %% [markdown]
# ## Part one: our own network
#
# Two claims stand at the centre of the article. The first is about training.

# %%
claim("B8").card()

# %%
claim("B9").card()

# %% [markdown]
# We cannot train a large language model here. We can train a small network on real data, in a second, and ask the
# same question of it. The data are scans of handwritten digits.
#
# ### Predict

# %%
guess_break_even = predict(
    "02-break-even",
    "In real cost on this machine: after how many single queries has answering cost as much as training?",
    low=10, high=10_000_000, guess=1000, log=True, unit="queries",
)
guess_break_even

# %% [markdown]
# ### The data and the goal

# %% tags=["nbval-check-output"]
images = digits()
for name in ("train", "val", "test"):
    print(f"{name:5s} {len(getattr(images, name).y):5d} images of 8 x 8 pixels")

# %% [markdown]
# **The stated goal:** train until the network reads nearly all of the validation images, then check it once on test
# images that it has never seen. (The bar stops early: that is where the goal is reached.)

# %%
def train_once(seed=0, progress=False):
    seed_everything(seed, threads=1)
    net = DigitsMLP(hidden=(128, 128))
    history = train(net, images.train, images.val, epochs=40, lr=2e-3, batch_size=32, seed=seed,
                    target_accuracy=0.95, progress=progress)
    return net, history


model, history = train_once(progress=True)

# %% tags=["nbval-check-output"]
print("goal: 95 % of the validation images read correctly")
print("goal reached:", history.reached)
print("at least 90 % of the test images too:", accuracy(model, images.test) >= 0.90)

# %% [markdown]
# ### Count
#
# Operations come before seconds: no noise can touch them. One FLOP is one addition or one multiplication. How many does
# one query take, and how many does one training example take?

# %% tags=["nbval-check-output"]
one_image = images.test.x[:1]
query = count(model, one_image)
step = training_step_flops(model, images.train.x[:32])
print(f"parameters                    {query.parameters:>8,}")
print(f"FLOPs for one query           {query.flops:>8,}")
print(f"FLOPs for one training example{step / 32:>9,.0f}")
print(f"one training example costs as much as {step / 32 / query.flops:.1f} queries")

# %% [markdown]
# You will often read "training costs three times inference": forward once, backward twice. Ours is a little cheaper,
# because nothing has to flow back into the pixels: the first layer skips a third of its work.
#
# So in operations the answer is already there. Training saw each image several times. How many times depends on the
# random start, the *seed*, so we try ten of them.

# %%
seen = [train_once(seed)[1].examples_seen for seed in range(10)]
in_queries = [n * step / 32 / query.flops for n in seen]
print(f"passes over the data: {min(seen) / len(images.train):.0f} to {max(seen) / len(images.train):.0f}")
print(f"one training = {min(in_queries):,.0f} to {max(in_queries):,.0f} queries, counted in FLOPs")

# %% [markdown]
# ### Measure
#
# That was in operations. A computer also has to fetch, call, wait and look up. We train several times, with another seed
# each time, and we ask many times. Each measurement is repeated until its interval is narrow; the last column says
# whether it got there. A query comes alone, as from one user, or in a batch, as on a busy server. The training that we
# measure includes building the network and the check on validation images; the count in FLOPs does not.

# %%
meter = Meter()
meter.sources

# %%
@torch.inference_mode()
def ask(x):
    return model(x).argmax(dim=1)


alone, batch = images.test.x[:1], images.test.x[:256]
seeds = itertools.count()
training = meter.measure(lambda: train_once(next(seeds)), rel=0.1, name="one training")
single = meter.measure(lambda: ask(alone), rel=0.05, name="one query alone")
batched = meter.measure(lambda: ask(batch), rel=0.05, name="a batch of 256 queries")

for measurement in (training, single, batched):
    measurement.log()  # into your ledger

# %%
Table(
    ["what", "CPU time", "energy", "95 % interval", "goal reached"],
    [(m.name, si(m.cpu_seconds_per_call, "s"), m.energy_text, f"± {m.half_width / m.mean:.0%}",
      "yes" if m.reached else "no") for m in (training, single, batched)],
    caption=f"Cost on this machine, per call; the intervals are of the {training.unit}",
)

# %% [markdown]
# Read the label beside each joule. Where it says *modelled*, the joules are the CPU time multiplied by a number from
# a table: they cannot tell you more than the CPU time does.
#
# Now the break-even count, in the quantity that the meter went by. Both sides have an interval, and we join them in the
# most careful way: the lowest training over the dearest query, and the reverse. So the range is wider than a 95 %
# interval would be. It holds the noise of this minute and the luck of the seed, not another day or another machine. We
# print two digits: more would be invented.

# %%
def break_even(training, query, queries_per_call=1):
    low, high = training.interval
    q_low, q_high = query.interval
    middle = training.mean / query.mean * queries_per_call
    return middle, low / q_high * queries_per_call, high / q_low * queries_per_call


def about(x):
    return f"{float(f'{x:.2g}'):,.0f}"


for name, result in {
    "alone": break_even(training, single),
    "in batches of 256": break_even(training, batched, 256),
}.items():
    middle, low, high = map(about, result)
    print(f"asked {name}: {middle} queries ({low} to {high}), by {training.unit}")

# %%
guess_break_even.reveal(break_even(training, single)[0])

# %% jupyter={"source_hidden": true}
def growth_figure():
    queries = torch.logspace(1, 7, 60).tolist()
    fig, ax = plots.figure("From how many queries on does answering cost more than training?",
                           "queries answered", f"cost so far ({training.unit})")
    for i, (name, m, n) in enumerate([("answering, one at a time", single, 1), ("answering, batches of 256", batched, 256)]):
        low, high = m.interval
        look = {**plots.series(i), "marker": ""}
        ax.plot(queries, [m.mean / n * q for q in queries], label=name, **look)
        ax.fill_between(queries, [low / n * q for q in queries], [high / n * q for q in queries], color=look["color"], alpha=0.3)
    ax.axhspan(*training.interval, color="black", alpha=0.3, label="training, once (95 % interval)")
    whose = "your prediction" if guess_break_even.answered else "stated guess"
    ax.axvline(guess_break_even.value, color="black", linestyle=":", label=f"{whose}, asked alone")
    ax.set(xscale="log", yscale="log")
    ax.legend()
    return fig

# %% course={"picture": "images/02_break_even.png"}
plots.show(growth_figure(), alt="Cost against the number of queries, both on logarithmic axes. Training is a flat "
           "band. Two straight lines rise through it: queries asked alone cross it first, queries in batches "
           "much later. A dotted line marks the prediction.")

# %% [markdown]
# Compare with the count in operations. Asked alone, it takes fewer queries than the count says: most of such a query is
# the call, not the arithmetic. In batches it takes more: there an operation is cheaper than it was in training. The
# same arithmetic has different prices.
#
# ### Compare
#
# For a published family of language models the same count was made.

# %% tags=["nbval-check-output"]
for name in ("breakeven_bloomz560m", "breakeven_bloomz7b"):
    f = fact(name)
    print(f"{f.quantity} ({f.year}): {f.value / 1e6:.0f} million")
    print(f"   what is inside: {f.boundary}")

# %%
ours = break_even(training, single)[0]
print(f"the larger one is {fact('breakeven_bloomz7b').value / ours:,.0f} times ours")

# %% [markdown]
# The same rule, and a far larger count. Mind the boundary: there, the training side is a product of data-sheet power and
# hours, and the query side was measured on a machine with GPUs.
#
# ### Extra: on a large chip
#
# *This part takes a few minutes more; nothing later needs it. To skip it, go to "Verdict".* Few learners have a GPU. So we
# repeated the readings above on a GPU for data centres: the same network, the same training. Its board counts its own
# joules. They are *measured*, and they hold all that the board draws, also while it waits. The processor beside it is not in
# them.
#
# **Predict**, on paper: with one query at a time, does answering overtake training earlier there than on your machine, or
# later?

# %%
gpu = shipped("gpu")
idle_watts = next(row["watts"] for row in gpu.rows if row["part"] == "idle")
on_board = {row.get("batch", "one training"): row for row in gpu.rows if row["part"] in ("answers", "training")}
print(textwrap.fill(gpu.made, 96))

# %% tags=["nbval-check-output"]
def board_row(what, row):
    joules, half = map(float, mean_interval(row["joules"]))
    name = what if isinstance(what, str) else f"a batch of {what:,}" if what > 1 else "one query alone"
    watts = joules / fmean(row["seconds"])
    return name, si(fmean(row["seconds"]), "s"), si(joules, "J"), f"± {half / joules:.0%}", f"{watts:.0f} W"


print(Table(["what", "time", "energy of the board (measured)", "95 % interval", "mean power"],
            [board_row(what, row) for what, row in on_board.items()],
            caption=f"Per call; while the board only waits, it draws {idle_watts:.0f} W"))

# %% tags=["nbval-check-output"]
on_gpu = {}
for size in (1, 256, 65_536):
    ratio = ratio_interval(on_board["one training"]["joules"], on_board[size]["joules"])
    on_gpu[size] = [float(r) * size for r in ratio]
    middle, low, high = map(about, on_gpu[size])
    print(f"batches of {size:>6,}: one training = {middle} queries ({low} to {high}), by joules, measured")

# %% [markdown]
# Look at the power. With one query at a time the board draws hardly more than when it waits: it *is* waiting, for the next
# call. Training this network is no better, one small batch after the other. So with one query at a time, training and
# answering both mostly wait, and the number of queries may come out close to yours. Compare the two. Only the largest batch
# keeps the chip busy: there answering overtakes training thousands of times later than with one query at a time.
#
# Do not compare these joules with those of your processor where yours are modelled: here a counter, there a table.
#
# ### Verdict
#
# Does the impact of answering depend on the number of users? The total follows the number of queries. But look at the two
# lines of our network again: how queries are *served* shifts the answer too.

# %% tags=["nbval-check-output"]
latest = max(break_even(training, single)[2], break_even(training, batched, 256)[2])
cheaper = single.mean / (batched.mean / 256)
print("either way, answering overtakes training within ten million queries:", latest < 1e7)
print("in a batch, a query costs less than half:", cheaper > 2)
verdict("B9", "supported" if latest < 1e7 else "contested",
        "the total follows the queries; how they are served counts too; that users grow was not tested")

# %% [markdown]
# ## Part two: is training one-off?
#
# The makers of BLOOM published the energy that their GPUs took over the whole project, not only in the last run. (It is data-sheet power times hours: see lesson 01.)

# %%
guess_share = predict(
    "02-bloom-share",
    "Which share of the energy of BLOOM's GPUs, over the whole project, went into the final run?",
    low=0, high=100, guess=80, unit="%",
)
guess_share

# %%
final_share = fact("tr_bloom_share").value
guess_share.reveal(final_share)

# %% tags=["nbval-check-output"]
print(f"final run: {final_share:.0f} % of the project ({fact('tr_bloom_share').boundary})")
print(f"so the project took {100 / final_share:.1f} times the energy of the final run")
verdict("B8", "supported" if final_share > 90 else "contested",
        "a released version is trained once, but finding it takes many runs, and the next starts again")

# %% [markdown]
# Our recipe worked at once. Whoever looks for a recipe trains many times.
#
# ## Part three: the most quoted number
#
# The article gives GPT-3's training energy as [1,287 MWh](#tr_gpt3_energy).

# %%
claim("A1").card()

# %% [markdown]
# Nobody read that number off a meter. It was calculated, and we can calculate it again. These are the factors. (The last
# one, PUE, is the overhead of the building: all the electricity that enters the data centre, divided by what reaches the
# computers.)

# %%
factors = ["tr_gpt3_flops", "tr_gpt3_rate", "tr_gpt3_chips", "tr_gpt3_power", "tr_gpt3_pue"]
known = ["from the paper on GPT-3", "measured by OpenAI", "assumed, from a press release",
         "measured by OpenAI, with its share of the server", "told by OpenAI"]
Table(["factor", "value", "unit", "how it is known"],
      [(f.quantity, f"{f.value:,.6g}", f.unit, how) for f, how in zip(map(fact, factors), known)])

# %%
guess_factor = predict(
    "02-gpt3-factor", "One of these factors does not change the energy at all. Which one?",
    options=["operations", "rate of one chip", "number of chips", "power of one chip", "overhead of the building"],
    guess="rate of one chip",
)
guess_factor

# %% tags=["nbval-check-output"]
def training_energy_mwh(chips):
    seconds = fact("tr_gpt3_flops").value / (chips * fact("tr_gpt3_rate").to("FLOP/s"))
    joules = seconds * chips * fact("tr_gpt3_power").to("W") * fact("tr_gpt3_pue").value
    return convert(seconds, "s", "day"), convert(joules, "J", "MWh")


for chips in (1_000, 10_000, 100_000):
    days, mwh = training_energy_mwh(chips)
    print(f"{chips:>7,} chips: {days:6.1f} days, {mwh:,.0f} MWh")

# %%
same = {round(training_energy_mwh(chips)[1]) for chips in (1_000, 10_000, 100_000)}
guess_factor.reveal("number of chips" if len(same) == 1 else "none of them")

# %% tags=["nbval-check-output"]
stated = fact("tr_gpt3_energy").value
rebuilt = training_energy_mwh(10_000)[1]
print(f"rebuilt {rebuilt:,.0f} MWh, stated {stated:,.0f} MWh, apart by {abs(rebuilt / stated - 1):.1%}")
verdict("A1", "supported" if abs(rebuilt / stated - 1) < 0.01 else "contested",
        "the calculation can be repeated; it covers the final run only")

# %% [markdown]
# More chips finish sooner and draw more power for a shorter time: they cancel. The authors assumed their number from a
# press release, and say themselves that it does not matter.
#
# ## Part four: a range without a source
#
# For GPT-4 the article gives [10,000 to 30,000 MWh](#tr_gpt4_article) and names no source. What did the company say?

# %%
claim("A2").card()

# %% tags=["nbval-check-output"]
print(statement("tr_gpt4_disclosed").text)

# %% [markdown]
# So there is no published figure to rebuild. One unconfirmed rumour went round, and nearly every public estimate starts
# from it. One can count the same rumour at three boundaries: the GPU alone, its share of the whole server, or the server
# and the building around it.

# %%
guess_boundary = predict(
    "02-gpt4-boundary", "Which boundary, applied to the rumour, lands inside the article's range?",
    options=["GPU alone", "whole server", "server and building", "none"], guess="server and building",
)
guess_boundary

# %% tags=["nbval-check-output"]
rumour_gpus = fact("tr_gpt4_rumour_gpus").value
days = fact("tr_gpt4_rumour_days")
hours = [days.low * 24, days.high * 24]
gpu_kw = fact("hw_a100_tdp").to("kW")
server_kw = fact("hw_dgx_a100").to("kW") / 8
pue = fact("tr_gpt4_rumour_pue").value
print(f"rumour: {rumour_gpus:,.0f} GPUs for {days.low:.0f} to {days.high:.0f} days")
print(f"one GPU alone {gpu_kw * 1000:.0f} W, its share of a server {server_kw * 1000:.0f} W")
print(f"building: times {pue}")

# %% [markdown]
# Both powers are from data sheets: the most that chip and server may draw, all the time. Nobody measured them in this
# training. So all three results are upper values, for the rumour.

# %% tags=["nbval-check-output"]
boundaries = {
    "GPU alone": gpu_kw,
    "whole server": server_kw,
    "server and building": server_kw * pue,
}
claimed = fact("tr_gpt4_article")
ranges = {name: [rumour_gpus * kw * h / 1000 for h in hours] for name, kw in boundaries.items()}
for name, (low, high) in ranges.items():
    where = "inside" if claimed.low <= low and high <= claimed.high else "above"
    print(f"{name:20s} {low:7,.0f} to {high:7,.0f} MWh  {where} the article's range")

# %%
reached = [name for name, (low, high) in ranges.items() if claimed.low <= low and high <= claimed.high]
guess_boundary.reveal(reached[0] if len(reached) == 1 else "none")

# %% jupyter={"source_hidden": true}
def boundary_figure(gpus, days, pue):
    fig, ax = plots.figure("Which boundary gives the article's range for GPT-4?", "training energy (MWh)", "boundary",
                           height=3.2)
    names = list(boundaries)
    powers = [gpu_kw, server_kw, server_kw * pue]
    plots.bars(ax, names, [gpus * kw * days * 24 / 1000 for kw in powers], horizontal=True)
    ax.axvspan(claimed.low, claimed.high, color="black", alpha=0.15, zorder=0, label="the article's range")
    mwh = [gpus * kw * days * 24 / 1000 for kw in powers]
    for i, value in enumerate(mwh):
        ax.annotate(f"{value:,.0f}", (value, i), (5, -4), textcoords="offset points")
    ax.set_xlim(0, max(60_000, 1.3 * max(mwh)))
    ax.legend(loc="upper right")
    return fig


def boundary_words(gpus, days, pue):
    mwh = [gpus * kw * days * 24 / 1000 for kw in (gpu_kw, server_kw, server_kw * pue)]
    return (f"Three bars: counted at the GPU alone {mwh[0]:,.0f} MWh, at the whole server {mwh[1]:,.0f}, with the "
            f"building {mwh[2]:,.0f}. A grey band marks the article's range.")

# %%
explore(boundary_figure, alt=boundary_words,
        gpus=slider(5_000, 50_000, 25_000, 1_000, label="GPUs"),
        days=slider(30, 150, 95, 5, label="days"),
        pue=slider(1.0, 1.6, 1.18, 0.02, label="PUE"))

# %% [markdown]
# Move the sliders. To reach the lower end of the article's range you have to change the rumour itself: nothing in it gives
# that end. And how do the public estimates compare?

# %% tags=["nbval-check-output"]
for name in ("tr_gpt4_server_published", "tr_gpt4_spread"):
    f = fact(name)
    print(f"{f.quantity} ({f.year}): {f.low} to {f.high} {f.unit}; {f.boundary}")

# %% [markdown]
# ### Verdict

# %% tags=["nbval-check-output"]
lowest = min(low for low, high in ranges.values())
print("inside the range:", ", ".join(reached))
print(f"lower end of the article {claimed.low:,.0f} MWh; lowest that the rumour gives {lowest:,.0f} MWh")
verdict("A2", "supported" if len(reached) == len(ranges) else "contested",
        "the range has no source, the rumour is unconfirmed, and the boundary alone more than doubles it")

# %% [markdown]
# ## Part five: who said what, of which quantity
#
# The article supports "inference dominates" with percentages, and gives a study of 2021 as their source.

# %%
Table(["claim", "the article says"], [(name, claim(name).quote) for name in ("A4", "A5", "A6")])

# %%
guess_energy = predict(
    "02-energy-share", "Of six such published shares, how many are shares of measured energy?",
    low=0, high=6, guess=3, unit="of six",
)
guess_energy

# %% [markdown]
# Here they are, with the quantity that each one is a share of. Read the third column slowly.

# %%
shares = {
    "split_nvidia": ("NVIDIA", "cost", "a news article, seen only through a page that quotes it"),
    "split_patterson_nv": ("NVIDIA, relayed", "workload", "Patterson and others, who cite that article"),
    "split_patterson_aws": ("AWS, relayed", "demand in its cloud", "Patterson and others, who cite a launch blog"),
    "split_google": ("Google", "energy, measured", "Patterson and others, over Google's own fleet"),
    "split_meta_power_inference": ("Meta", "power capacity", "Wu and others"),
    "split_meta_lm_inference": ("Meta", "carbon of one model", "Wu and others"),
}
rows = [(who, fact(name).text, what, where, str(fact(name).year)) for name, (who, what, where) in shares.items()]
Table(["who said it", "inference", "is a share of", "where it is written", "year"], rows)

# %%
guess_energy.reveal(sum("energy" in what for _, what, _ in shares.values()))

# %% [markdown]
# The first row is a vendor that sells chips for inference, speaking of *cost*. Two years later a paper relays it as
# *workload*. The article turns it into workload *at* that vendor, under a headline about *energy*. Only one row is
# measured energy; it has the same first author as the paper that the article cites.

# %% tags=["nbval-check-output"]
verdict("A4", "misattributed", "a vendor spoke of cost, and a share of cost became a share of workload")

# %% tags=["nbval-check-output"]
verdict("A5", "loosely stated", "it is a launch announcement, and about demand, not energy")

# %% tags=["nbval-check-output"]
print("year of the study:", fact("split_patterson_nv").year)
print(f"measured energy in one fleet: {fact('split_google').value:.0f} % inference")
verdict("A6", "misattributed", "the cited study relays these shares and measures none of them")

# %% [markdown]
# The article also concludes that inference is *growing*, because its share is high.

# %%
claim("B3").card()

# %% [markdown]
# A share is not a trend. Take two invented services: one doubles each year, one halves. Look at their shares.

# %% tags=["nbval-check-output"]
for name, growth in {"doubling each year": 2.0, "halving each year": 0.5}.items():
    inference = [90 * growth**year for year in range(3)]
    trained = [10 * growth**year for year in range(3)]
    shares_by_year = [f"{i / (i + t):.0%}" for i, t in zip(inference, trained)]
    print(f"{name:20s} share {shares_by_year}  energy {inference[0]:.0f} -> {inference[2]:.1f}")
verdict("B3", "misattributed", "the same share goes with growth and with decline")

# %% [markdown]
# One more sentence about the two words. The article says that a service by OpenAI led researchers to tell training from
# inference. When did that service open, and when was the distinction made?

# %%
claim("B7").card()

# %% tags=["nbval-check-output"]
earlier, opened = fact("strubell").year, fact("chatgpt_launch").year
print(f"a paper that tells them apart: {earlier}; ChatGPT opens: {opened}")
verdict("B7", "supported" if earlier >= opened else "misattributed",
        "the distinction is older than the service")

# %% [markdown]
# ## Part six: two percent of what?
#
# One more percentage of the article: generative AI would take around two percent of "global consumption".

# %%
claim("A3").card()

# %%
guess_ai = predict(
    "02-ai-share",
    "Which share of the world's electricity went into AI, of any kind, in a recent year?",
    low=0, high=5, guess=2.0, step=0.05, unit="%",
)
guess_ai

# %% [markdown]
# The International Energy Agency gives the electricity of *all* data centres. Other estimates say which part of it is
# AI. Multiply.

# %% tags=["nbval-check-output"]
centres, share = fact("dc_iea_share"), fact("dc_ai_share")
low, high = (centres.value * part / 100 for part in share.bounds("%"))
print(f"all data centres: {centres.value} % of the world's electricity")
print(f"AI: {share.low:.0f} to {share.high:.0f} % of that: {low:.3f} to {high:.3f} % of the electricity")
print(f"electricity: about {fact('dc_elec_final').value:.0f} % of the world's final energy")

# %%
guess_ai.reveal(centres.value * share.value / 100)
print("This is the middle of a wide range: half of it, or one and a half times it, may be true.")

# %% tags=["nbval-check-output"]
older = fact("dc_iea22_share")
print(f"a likely origin: almost {older.value:.0f} % of electricity in {older.year}, for {older.boundary}")
verdict("A3", "supported" if low <= older.value <= high else "misattributed",
        "the two percent are of electricity, of an earlier year, and of all data centres and crypto")

# %% [markdown]
# ## Part seven: a whole fleet
#
# Now set the numbers yourself. When does inference pass four fifths, nine tenths, or nearly all of the energy? Four
# invented fleets to begin with, in which each user asks five times a day. Their energy per query is an estimate for
# servers and building, their training is GPT-3's, some years older: a mixed fleet, for practice. *Never* means: not
# within ten years.

# %%
def inference_share(day, users, queries, wh, training_mwh, retrainings):
    """Share of inference in all energy after `day` days, with `retrainings` full trainings a year."""
    served = users * queries * wh * day / 1e6
    trained = training_mwh * (1 + retrainings * day / 365)
    return served / (served + trained)


def days_to(share, **fleet):
    return next((d for d in range(1, 3651) if inference_share(d, **fleet) >= share), None)


# %% tags=["nbval-check-output"]
wh, mwh = fact("q_chatgpt_epoch").value, fact("tr_gpt3_energy").value
fleets = {"a company": (10_000, 0), "a country": (10_000_000, 0), "the world": (1_000_000_000, 0),
          "a country, trained weekly": (10_000_000, 52)}
for name, (users, retrainings) in fleets.items():
    fleet = {"users": users, "queries": 5, "wh": wh, "training_mwh": mwh, "retrainings": retrainings}
    passed = {level: days_to(level / 100, **fleet) for level in (80, 90, 99)}
    told = ", ".join(f"{level} % " + (f"after {d} days" if d else "never") for level, d in passed.items())
    print(f"{name:26s} {told}")

# %% jupyter={"source_hidden": true}
def fleet_figure(**fleet):
    fig, ax = plots.figure("When does inference dominate the energy?", "days in service", "share of inference (%)",
                           height=3.0)
    days = [round(10 ** (i / 20)) for i in range(72)]
    ax.plot(days, [100 * inference_share(d, **fleet) for d in days], color=plots.OKABE_ITO[0], label="this fleet")
    for i, level in enumerate((80, 90, 99), start=1):
        ax.axhline(level, **{**plots.series(i), "marker": "", "linewidth": 1.2}, label=f"{level} %")
    ax.set(xscale="log", ylim=(0, 105), xlim=(1, 3650))
    ax.legend(loc="lower right")
    return fig


def fleet_words(**fleet):
    when = {level: days_to(level / 100, **fleet) for level in (80, 90, 99)}
    told = [f"{level} % " + (f"after {d:,} days" if d else "never within ten years") for level, d in when.items()]
    return "The share of inference rises with the days in service. It passes " + ", ".join(told) + "."

# %%
explore(fleet_figure, alt=fleet_words,
        users=slider(1e3, 1e9, 1e7, log=True, label="users per day"),
        queries=slider(1, 50, 5, label="queries per user"),
        wh=slider(0.01, 10, wh, 0.01, log=True, label="Wh per query"),
        training_mwh=slider(1, 100_000, mwh, 0.05, log=True, label="one training (MWh)"),
        retrainings=slider(0, 52, 0, label="retrainings per year"))

# %% [markdown]
# Three things to try. Set the users to a small company: training dominates, year after year. Go back, then train again every
# week: the share of inference stops rising. Then set one billion users, with no retraining.
#
# And a service whose number of prompts is public: [2.5 billion](#chatgpt_prompts) prompts a day, at the
# [0.34 Wh](#q_chatgpt_altman) that its head wrote in a blog, without method or boundary. We set it beside GPT-3 for scale
# only: that is an older model, and its figure includes the building.

# %% tags=["nbval-check-output"]
per_day = fact("chatgpt_prompts").value * fact("q_chatgpt_altman").to("MWh")
gpt3_days = fact("tr_gpt3_energy").value / per_day
print(f"{per_day:,.0f} MWh a day: GPT-3's training energy in {gpt3_days:.1f} days")

# %% [markdown]
# ### And in money?
#
# Set the price that you pay, then run the cell again. The price is yours; it is an assumption, not a fact. A data centre
# pays another price than a home.

# %%
price_per_kwh = 0.20  # in your currency: look at your own bill

bills = {"training GPT-3, once": fact("tr_gpt3_energy").value, "one day of prompts": per_day}
for what, mwh in bills.items():
    print(f"{what:22s} {convert(mwh, 'MWh', 'kWh') * price_per_kwh:>12,.0f}")

# %% [markdown]
# ## What the figures do not say
#
# - Our network is tiny. Most of a single query is the work of calling it; in a large model it is arithmetic and the
#   reading of weights. The *rule* carries over, the break-even count does not.
# - We counted neither the making of the machine, nor its idle hours, nor the network.
# - The energy per query in part seven is one average. Long answers cost many times more: that is lesson 03.
# - Several published numbers come without a method: the range for GPT-4 and the rumour under it, the shares of two
#   vendors, the prompt count, and the energy per prompt from a blog.
#
# ## What you have seen
#
# - Training is a number of queries: in operations, about three for each example that was seen.
# - A model trained once is overtaken after enough queries. One that is trained again and again may never be: it depends
#   on users, batches, and how often one retrains.
# - A published energy can be rebuilt from its factors, and the number of chips cancels.
# - A boundary doubles a figure. A percentage means nothing before one knows of what.
#
# **Now do** [exercise 02](../exercises/02_training_and_inference.ipynb). **Next:** [lesson 03](03_cost_of_a_query.ipynb).
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
cite("tr_gpt3_energy", "tr_gpt3_flops", "tr_gpt3_rate", "tr_gpt3_chips", "tr_gpt3_power", "tr_gpt3_pue",
     "tr_gpt4_article", "tr_gpt4_disclosed", "tr_gpt4_server_published", "tr_gpt4_spread", "tr_gpt4_rumour_gpus", "tr_gpt4_rumour_days", "tr_gpt4_rumour_pue", "hw_a100_tdp", "hw_dgx_a100",
     "tr_bloom_share", "breakeven_bloomz560m", "breakeven_bloomz7b", "strubell", "q_chatgpt_epoch",
     "split_meta_power_inference", "split_meta_lm_inference", "split_nvidia", "split_patterson_nv", "split_patterson_aws",
     "split_google", "dc_iea_share", "dc_ai_share", "dc_elec_final",
     "dc_iea22_share", "chatgpt_launch", "chatgpt_prompts", "q_chatgpt_altman")
