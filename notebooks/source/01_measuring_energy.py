# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '01'
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
# # Measuring energy
#
# **The question.** When is a number of joules a measurement, and when is it a calculation that looks like one?
#
# **After this lesson you can**
#
# - measure a piece of code with a spread, and say how many repeats a conclusion needs;
# - test your own measurement on a case where the answer is known: the same code on both sides;
# - explain how the setting of a tool changes its conclusion;
# - say how a published energy was obtained.
#
# **You need** about 45 minutes, at most 60 seconds of computing and 1,000 MB of memory.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the cells one
# by one. Do not use *Run All*: it skips your predictions.
#
# **Claim of the article:** A1.
# **Before:** [lesson 00](00_start_here.ipynb). **After:** [exercise 01](../exercises/01_measuring_energy.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import textwrap
from statistics import fmean

import torch

from course_lib import ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count_flops
from course_lib.energy import Meter
from course_lib.facts import cite, convert, fact
from course_lib.sensors import codecarbon_models
from course_lib.setup import seed_everything
from course_lib.stats import mean_interval, si
from course_lib.tables import Table, shipped
from course_lib.widgets import explore, predict, slider

seed_everything(0)
torch.set_num_threads(1)  # one thread: fewer things that can differ between two runs

# %%
claim("A1").card()

# %% [markdown]
# That number has four digits. Before we trust anybody's digits, we look at our own.
#
# ## Part one: does an operation have a price?
#
# It is tempting to say: so many operations, so many joules. Let us try with the operation that neural networks do all
# day, the product of two matrices.
#
# ### Predict
#
# We will multiply square matrices, from tiny ones to large ones. The operations grow a great deal on the way. What
# happens to the cost of *one* operation?

# %%
guess_price = predict(
    "01-price-of-a-flop", "Compared with the largest product, one FLOP in the smallest one costs…",
    options=["less", "the same", "up to ten times as much", "more than ten times as much"], guess="the same",
)
guess_price

# %% [markdown]
# ### Count
#
# An entry of the product of two `n` by `n` matrices takes `n` multiplications and `n` additions, and there are `n * n`
# entries. So the product takes $2n^3$ FLOPs. The counter agrees.

# %% tags=["nbval-check-output"]
sizes = [8, 32, 128, 512]
pairs = {n: (torch.randn(n, n), torch.randn(n, n)) for n in sizes}
flops = {n: count_flops(torch.matmul, *pairs[n]) for n in sizes}
for n in sizes:
    print(f"n = {n:3d}   {flops[n]:>11,} FLOPs   2 n^3 = {2 * n**3:>11,}")

# %% [markdown]
# ### Measure
#
# `meter.sources` says what can be read on this machine, and how much each reading is worth.

# %%
meter = Meter()
meter.sources

# %% [markdown]
# `meter.measure` calls the function again and again, in groups that are long enough for the clock. One such group is a
# *window*, and one window is one repeat. It stops when the interval of the mean is narrow enough (`rel`; part two says
# what that is), or after `max_n` windows. The column *goal reached* says whether the interval got narrow enough.
#
# (In short windows the tool under the meter also counts some of its own work. So joules over CPU time comes out a few
# percent above the watts of its table.)

# %%
ladder = {}
for n in sizes:
    ladder[n] = meter.measure(lambda n=n: torch.matmul(*pairs[n]), rel=0.05, window=0.1, max_n=10)

def joules_per_flop(n):
    return f"{si((ladder[n].joules_per_call or 0) / flops[n], 'J')} ({ladder[n].total.label})"


Table(
    ["size", "calls", "CPU time per call", "95 % interval", "goal reached", "energy per FLOP"],
    [(n, m.calls * m.n, si(m.cpu_seconds_per_call, "s"), f"± {m.half_width / m.mean:.0%}",
      "yes" if m.reached else "no", joules_per_flop(n)) for n, m in ladder.items()],
)

# %% jupyter={"source_hidden": true}
def price_figure():
    fig, ax = plots.figure("Does one operation always cost the same?", "size n of the matrices",
                           "CPU time per million FLOPs (µs)")
    per_million = {n: 1e12 * m.cpu_seconds_per_call / flops[n] for n, m in ladder.items()}
    half = [per_million[n] * m.half_width / m.mean for n, m in ladder.items()]
    plots.lines(ax, sizes, {"matrix product": list(per_million.values())}, spread={"matrix product": half})
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(sizes, sizes, minor=False)
    for n, y in per_million.items():
        ax.annotate(f"{y:,.2g}" if y < 100 else f"{y:,.0f}", (n, y), (6, 6), textcoords="offset points")
    return fig

# %%
plots.show(price_figure(), alt="CPU time per million FLOPs against matrix size, on logarithmic axes, with error "
           "bars. One operation is far dearer in the smallest product than in the large ones.")

# %%
per_flop = {n: m.cpu_seconds_per_call / flops[n] for n, m in ladder.items()}
times_dearer = per_flop[8] / per_flop[512]
print(f"in the smallest product one FLOP costs {times_dearer:.0f} times as much as in the largest")
answers = {10: "more than ten times as much", 1.1: "up to ten times as much", 0.9: "the same", 0: "less"}
guess_price.reveal(next(word for least, word in answers.items() if times_dearer > least))

# %% [markdown]
# In the small product, the computer mostly prepares the work: it checks the shapes, finds memory, calls the routine.
# In the large one it mostly multiplies. So a cost per operation means little without the size of the job. Where your
# label is *modelled*, you have seen this for the CPU time; its joules are the same numbers times a constant.
#
# The same is true of a batch. Answering one query means reading all the weights for a single row of numbers.

# %%
weights = torch.randn(512, 512)
batches = {b: torch.randn(b, 512) for b in (1, 8, 64)}
for b, x in batches.items():
    m = meter.measure(lambda x=x: x @ weights, rel=0.05, window=0.1, max_n=10)
    half = f"± {m.half_width / m.mean:.0%}" + (" (goal not reached)" if not m.reached else "")
    print(f"batch {b:3d}: {si(m.cpu_seconds_per_call / b, 's')} of CPU time for each query, {half}")

# %% [markdown]
# ### Compare
#
# The paper on GPT-3 gives the power of a chip, measured with its share of the server, and the rate at which it worked.
# Power over rate is energy per operation. Put it beside the last row of your table. Mind the boundaries: theirs is a
# GPU in a server, yours is a processor alone, and your label may be *modelled*.

# %% tags=["nbval-check-output"]
gpt3_joules = fact("tr_gpt3_power").value / fact("tr_gpt3_rate").to("FLOP/s")
print(f"training GPT-3: {si(gpt3_joules, 'J')} per FLOP (published power over published rate)")

# %% [markdown]
# ### Extra: on a large chip
#
# *This part takes a few minutes more; nothing later needs it.* Most learners have no sensor that counts joules. So we climbed
# the same ladder once on a GPU for data centres, whose board has such a counter, and went two steps further. The last rows
# use numbers of 16 bits instead of 32.
#
# These joules are *measured*; they are all that the board draws. Measured is not exact: lesson 00 says that a sensor of this
# kind looks only part of the time. Each window lasted two seconds, so that many looks fell into it.
#
# **Predict**, on paper: by how much will the price of one FLOP fall, from the first row to the last?

# %%
gpu = shipped("gpu")
steps = [row for row in gpu.rows if row["part"] == "product"]
print(textwrap.fill(gpu.made, 96))

# %% tags=["nbval-check-output"]
def per_flop_there(row):
    return fmean(row["joules"]) / row["flops"]


print(Table(["size", "bits", "time per call", "mean power", "energy per FLOP (measured)", "95 % interval"],
            [(row["n"], 16 if "16" in row["dtype"] else 32, si(fmean(row["seconds"]), "s"),
              f"{fmean(row['joules']) / fmean(row['seconds']):.0f} W", si(per_flop_there(row), "J"),
              f"± {mean_interval(row['joules'])[1] / fmean(row['joules']):.0%}") for row in steps]))
cheapest_32, cheapest_16 = (min(map(per_flop_there, part)) for part in (steps[:6], steps[6:]))
print(f"32 bits: {si(cheapest_32, 'J')} per FLOP at best, {round(per_flop_there(steps[0]) / cheapest_32, -4):,.0f} times less than at worst")
print(f"16 bits: {si(cheapest_16, 'J')} per FLOP at best; the published figure above: {si(gpt3_joules, 'J')}")

# %% [markdown]
# The first four products take nearly the same time: the chip hardly works, it waits for the next call, and draws power
# meanwhile. Only the large ones keep it busy. There one FLOP of 32 bits happens to cost what the published figure says of an
# older chip with its share of a server, and one of 16 bits far less. So even measured joules have no fixed price for an
# operation: size and number format decide.

# %% [markdown]
# ### Verdict
#
# We check a wide margin only: on any machine the smallest product is the dearer place for an operation.

# %% tags=["nbval-check-output"]
print("one FLOP in the small product costs at least twice as much:", times_dearer > 2)
print("the cost per operation is a constant:", "no" if times_dearer > 2 else "yes")

# %% [markdown]
# ## Part two: how often must we repeat?
#
# Run the same thing twice and you get two numbers. Here are forty windows of one product, each long enough for the clock.
#
# **Predict**, on paper: how far will the dearest window lie above the cheapest?

# %%
work = lambda: torch.matmul(*pairs[128])
windows = meter.measure(work, rel=0.0001, window=0.05, min_n=40, max_n=40, name="forty windows")
values = windows.values
print(f"lowest {min(values):.3g}, highest {max(values):.3g} {windows.unit} per call")

# %% jupyter={"source_hidden": true}
def repeats_figure(n):
    fig, ax = plots.figure("How sure are we of the mean after a few repeats?", "window",
                           "cost per call (1 = mean of all)")
    relative = [v / windows.mean for v in values]
    mean, half = mean_interval(relative[:n])
    ax.plot(range(n + 1, len(values) + 1), relative[n:], "o", color="black", fillstyle="none", label="windows to come")
    ax.plot(range(1, n + 1), relative[:n], "o", color=plots.OKABE_ITO[0], label="windows used")
    ax.axhline(mean, color=plots.OKABE_ITO[1], label="mean")
    ax.axhspan(mean - half, mean + half, color=plots.OKABE_ITO[1], alpha=0.2, label="95 % interval")
    ax.set_ylim(min(0.95 * min(relative), mean - half), max(1.05 * max(relative), mean + half))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4)
    return fig


def repeats_words(n):
    mean, half = mean_interval(values[:n])
    return (f"Forty windows as dots, the first {n} filled. The 95 % interval of their mean is a band of plus or minus "
            f"{half / mean:.1%} around the mean.")

# %%
explore(repeats_figure, alt=repeats_words, n=slider(2, 40, 3, label="repeats used"))

# %% [markdown]
# The band is made by a rule. If the windows are *independent*, one says nothing about the next, and ninety-five of a
# hundred such bands hold the mean of very many windows. Single windows may well lie outside it. And real neighbours are
# seldom quite independent.
#
# Two different errors hide behind "plus or minus". **Repeatability** is the band above. If the windows are
# independent it shrinks, on the whole, with repeats. Find a place where it grows, or where a narrow band misses the mean
# of all: there the machine itself changed. Repeats taken close together do not see that.
#
# **Accuracy** is the distance from the truth: no repeat can shrink it. A clock that is an hour late repeats perfectly.

# %%
for sentence in (windows.provenance.meaning, windows.provenance.accuracy):
    print(textwrap.fill(sentence, 96))

# %% [markdown]
# ## Part three: a test with a known answer
#
# Before you compare two programs, compare one program with itself. The right answer is known: no difference. In
# science this is called a null test, on the web an A/A test.

# %%
guess_aa = predict(
    "01-aa-control",
    "Ten comparisons of a program with itself. In how many will the meter call one side lower?",
    low=0, high=10, guess=2, unit="comparisons",
)
guess_aa

# %% [markdown]
# The next cell takes about half a minute. Each comparison prints a line when it is done. *Not distinguishable* is the right
# answer.

# %%
control = []
for i in range(10):
    control += meter.aa_control(work, n=1, margin=0.05)
    print(f"comparison {i + 1:2d}: {control[-1].verdict}")

# %%
different = sum(c.verdict != "not distinguishable" for c in control)
guess_aa.reveal(different)

# %% jupyter={"source_hidden": true}
def control_figure():
    fig, ax = plots.figure("Does the meter see a difference where there is none?", "cost of side A over side B",
                           "comparison", height=3.6)
    for i, c in enumerate(control):
        ax.errorbar(c.ratio, i + 1, xerr=[[c.ratio - c.low], [c.high - c.ratio]], capsize=3, color=plots.OKABE_ITO[0],
                    marker="o")
    ax.axvspan(1 / 1.05, 1.05, color="black", alpha=0.12, label="margin: smaller differences are not claimed")
    ax.axvline(1, color="black", linewidth=1)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    ax.set_yticks(range(1, 11))
    return fig

# %%
plots.show(control_figure(), alt="Ten comparisons of a program with itself: ten dots with error bars around a "
           "ratio of one. A grey band marks differences too small to be claimed.")

# %% [markdown]
# The result stands as it came. Ten comparisons are few: a meter that raised a false alarm once in four times would
# still pass this test now and then. To know the rate, the course's own tests simulate ten thousand comparisons from
# recorded windows. They demand that at most one in a hundred is a false alarm.
#
# Three habits work against false alarms. Both sides get the same number of calls. Their order is swapped from turn to
# turn, so that a machine that slows down hits both. And the whole interval must clear the grey margin.
#
# A meter that never sees anything would pass this test too. So here is a difference that is really there.

# %%
def twice():
    work()
    work()


real = meter.compare(work, twice, window=0.05, names=("one product", "two products"))
real

# %% tags=["nbval-check-output"]
lower = {"a lower": "one product is lower", "b lower": "two products are lower"}
print(lower.get(real.verdict, real.verdict))

# %% [markdown]
# ## Part four: two threads or one?
#
# Where no counter can be read, tools multiply. The tool under our meter, codecarbon, knows two ways of doing it, and a
# constant for memory on top. We take the formulas of its version in use here and put in one idealised piece of work:
# four seconds on one thread, or two seconds on two threads.
#
# The tool takes a number of watts for the processor from a table. *Load* is the busy threads over the cores: a half, then
# one. Its settings are:
#
# - **machine**: `watts × (0.1 + 0.9 × load³) × time`;
# - **machine + RAM**: the same, and `watts of the memory × time`;
# - **process**: `watts × load × time` (our meter uses this one).
#
# **Predict**, before you look: which way of running it is greener?

# %%
guess_threads = predict(
    "01-two-threads",
    "The same work on two threads, in half the time. According to the tool, its energy is…",
    options=["lower", "equal", "higher", "all three, it depends on a setting"], guess="equal",
)
guess_threads

# %% [markdown]
# The machine has two cores, a table value of 8 W, and four memory modules, as the tool guessed on a machine of ours.

# %% tags=["nbval-check-output"]
modules, seconds = 4, 4
ram_watts = modules * fact("cc_ram").value


def conclusions(tdp=8, ram=ram_watts, cores=2):
    one = codecarbon_models(tdp_watts=tdp, cores=cores, threads=1, seconds=seconds, ram_watts=ram)
    two = codecarbon_models(tdp_watts=tdp, cores=cores, threads=2, seconds=seconds / 2, ram_watts=ram)
    return {name: (one[name], two[name], two[name].joules / one[name].joules) for name in one}


print(f"table value 8 W, memory {modules} modules: {ram_watts:.0f} W, 2 cores")
for name, (one, two, ratio) in conclusions().items():
    word = "equal" if abs(ratio - 1) < 0.05 else "higher" if ratio > 1 else "lower"
    stated = f"{one.joules:5.1f} J -> {two.joules:5.1f} J ({one.label})"
    print(f"{name:14s} {stated:30s} two threads: {ratio:.2f} times, {word}")

ram = ram_watts * seconds
whole = conclusions()["machine + RAM"][0].joules
print(f"of these {whole:.1f} J, {ram:.0f} J ({ram / whole:.0%}) are the memory constant (assumed)")

# %%
words = {"lower" if r < 0.95 else "higher" if r > 1.05 else "equal" for _, _, r in conclusions().values()}
guess_threads.reveal("all three, it depends on a setting" if len(words) == 3 else words.pop())

# %% [markdown]
# None of the three is a lie; each is a formula. *Process* is proportional to load times time, so half the time at double
# load is equal. *Machine* grows with the cube of the load, so full load costs more. With *RAM*, a constant runs as long as
# the program does, so finishing early wins. A report that prints only the joules hides which formula was chosen.
#
# ### The constant for memory
#
# The tool sets [5](#cc_ram) watts for each memory module, whether it works or not, and at least
# [10 W](#cc_ram_min_x86) on a PC. Leave the first slider as it is, and move the second one, the memory, to zero watts.
# Then raise it watt by watt (the arrow keys do that). Watch which bar is longer; the sentence under the picture ends in the
# ratio. At how many watts do two threads become the greener choice? The program has not changed.

# %% jupyter={"source_hidden": true}
def constant_figure(tdp, ram):
    cpu = [c.joules for c in conclusions(tdp, ram)["machine"][:2]]
    memory = [ram * seconds, ram * seconds / 2]
    fig, ax = plots.figure("How much of the stated energy is the constant for memory?", "stated energy (J)",
                           "way of running", height=2.6)
    names = ["one thread", "two threads"]
    ax.barh(names, cpu, color=plots.OKABE_ITO[0], edgecolor="black", label="CPU (modelled)")
    ax.barh(names, memory, left=cpu, color=plots.OKABE_ITO[5], edgecolor="black", hatch="///", label="memory (assumed)")
    ax.invert_yaxis()
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=2)
    return fig


def constant_words(tdp, ram):
    one, two, ratio = conclusions(tdp, ram)["machine + RAM"]
    return (f"Two bars, each the modelled CPU and the assumed memory. One thread: {one.joules:,.0f} J, of which "
            f"{ram * seconds:,.0f} J memory. Two threads: {two.joules:,.0f} J, {ratio:.2f} times as much.")

# %%
explore(constant_figure, alt=constant_words,
        tdp=slider(2, 280, 8, 1, label="table value of the CPU (W)"),
        ram=slider(0, 80, 20, 1, label="constant for memory (W)"))

# %% tags=["nbval-check-output"]
for module_watts in (4, 5):
    print(f"memory {module_watts} W: two threads state {conclusions(ram=module_watts)['machine + RAM'][2]:.2f} times as much")

# %% [markdown]
# So the choice tips between these two: what the tool sets for a *single* module is enough. (With a larger table value of the
# CPU it takes more.)
#
# Our meter leaves the constant out, unless you ask for it, and then shows it on a line of its own, labelled *assumed*.
#
# ## Part five: a published energy
#
# The makers of BLOOM, a large language model, published the energy of their training run. How was it obtained? (An A100 and
# a V100 are two generations of GPU. The power on a data sheet, the TDP, is a design limit, not what a chip drew.)

# %%
guess_bloom = predict(
    "01-bloom", "BLOOM's training energy was obtained from…",
    options=["a meter at the plug", "counters in the chips", "hours times a number from a data sheet"],
    guess="counters in the chips",
)
guess_bloom

# %% tags=["nbval-check-output"]
hours = fact("tr_bloom_gpuh").value
data_sheet_kw = fact("hw_a100_tdp").to("kW")
published = fact("tr_bloom_dyn").to("MWh")
product = convert(hours * data_sheet_kw, "kWh", "MWh")
print(f"{hours:,.0f} GPU-hours x {data_sheet_kw * 1000:.0f} W = {product:.3f} MWh")
print(f"published                   = {published:.3f} MWh")

# %%
exact = abs(product / published - 1) < 1e-5
guess_bloom.reveal("hours times a number from a data sheet" if exact else "counters in the chips")

# %% [markdown]
# All digits agree: the figure *is* the product. (We read both numbers where others quote the papers.) The trap: if you test
# your own model of "hours times data-sheet power" against this figure, it will be perfect, and you will have tested
# nothing.
#
# ### Verdict
#
# What kind of number is the article's figure for GPT-3? Two of its factors were measured: the rate of a chip, and the
# average power of the system for each chip. The rest was calculated. (One factor, the *PUE*, adds what the building
# takes on top of the computers.) Let us put the data sheet in place of the measured power. Mind the boundary: the data
# sheet is the chip alone, the measured power has a share of the server in it.

# %% tags=["nbval-check-output"]
chip_seconds = fact("tr_gpt3_flops").value / fact("tr_gpt3_rate").to("FLOP/s")
pue = fact("tr_gpt3_pue").value
measured, sheet = fact("tr_gpt3_power").value, fact("hw_v100_tdp").value
rebuilt = convert(chip_seconds * measured * pue, "J", "MWh")
apart = abs(rebuilt / fact("tr_gpt3_energy").value - 1)
print(f"measured, with its share of the server: {measured:.0f} W; data sheet, chip alone: {sheet:.0f} W")
print(f"the data sheet would give {sheet / measured:.0%} of the energy")
print("the published energy follows from its factors to one percent:", apart < 0.01)
verdict("A1", "supported" if apart < 0.01 else "contested",
        "it is a calculation from a measured rate and a measured power, and it can be repeated")

# %% [markdown]
# Lesson 02 rebuilds that number, factor by factor.
#
# ## What the figures do not say
#
# - CPU time is not energy. A core that waits for memory draws less than one that multiplies, at the same CPU time.
# - Even a counter in the chip sees only the chip: not the screen, the fans, or the power supply.
# - A narrow interval says that you can repeat a number. It does not say that the number is right.
#
# ## What you have seen
#
# - An operation has no fixed price: size and batch decide.
# - A conclusion needs repeats, a margin, and a control with a known answer.
# - One tool gave *lower*, *equal* and *higher* for the same work.
# - A published energy can be a product of hours and a data sheet, to the last digit.
#
# **Now do** [exercise 01](../exercises/01_measuring_energy.ipynb). **Next:** [lesson 02](02_training_and_inference.ipynb).
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
cite("tr_gpt3_energy", "tr_gpt3_flops", "tr_gpt3_rate", "tr_gpt3_power", "tr_gpt3_pue", "hw_v100_tdp", "cc_ram", "cc_ram_min_x86",
     "tr_bloom_gpuh", "tr_bloom_dyn", "hw_a100_tdp")
