# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '00'
#     memory_mb: 1000
#     minutes: 30
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
# # Start here
#
# Welcome. This course takes one article, "Is AI doomed to be an energy drain?", an interview with a researcher in
# Polytechnique Insights, and tests what it says. You do not have to believe the article, nor us. You measure.
#
# **The question of this lesson.** What can this machine tell us about energy, and what can it not?
#
# **After this lesson you can**
#
# - run a lesson: predict, measure, compare, decide;
# - say what your machine can measure, and read the label beside every joule;
# - use the words *training*, *fine-tuning*, *inference*, *joule*, *watt* and *FLOP* exactly;
# - say why "generative AI is energy intensive" is only half a sentence.
#
# **You need** about 30 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **Claims of the article:** B1, B2. **Next:** [lesson 01](01_measuring_energy.ipynb).

# %% [markdown]
# ## How to run a lesson
#
# Click on a cell and press Shift + Enter: the cell runs, and the next one is selected. Run the cells in order.
# The first code cell makes sure that the course's small library is there. On Colab it installs it; elsewhere it only looks.
# Cells that only draw a picture are folded; a click on the three dots opens them.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the cells one
# by one: the sliders appear when a cell runs. Do not use *Run All*: it skips your predictions.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import json
from importlib.resources import files

import torch

from course_lib import ledger, plots, setup
from course_lib.claims import all_claims, claim, verdict
from course_lib.counters import count_flops
from course_lib.energy import Meter, Provenance
from course_lib.facts import cite, convert, fact
from course_lib.tables import Table
from course_lib.widgets import choice, explore, predict, slider

# %% [markdown]
# Each lesson goes the same way round, two or three times:
#
# **claim → predict → count → measure → compare → verdict**
#
# You *predict* before you see a result, because a result that surprises you is one that you will remember. A wrong
# prediction costs nothing. If you skip one, a stated guess stands in, and the lesson goes on.
#
# ## What is this machine?

# %%
setup.check()

# %% [markdown]
# The row about *sensors* matters most. Many machines cannot measure their own energy: on a rented machine
# (Colab, Binder) the sensor is hidden, and on a laptop it is often locked. The course works there too. It then counts
# what can be counted, and says so.
#
# ## The words
#
# The English article says that AI uses energy for training and for "making extrapolations". The French original says
# *inférence*. The translation picked an everyday word for a technical one.

# %%
claim("B1").card()

# %% [markdown]
# | word | what it means here |
# |---|---|
# | **training** | finding the numbers (*parameters*) of a model from data; done before anyone uses it |
# | **fine-tuning** | a short second training that adapts a trained model to a task |
# | **inference** | using the trained model: a question goes in, an answer comes out |
# | **FLOP** | one addition or one multiplication; a count of work, not a speed |
# | **joule (J)** | an amount of energy |
# | **watt (W)** | a speed of using energy: one joule in each second |
# | **kilowatt-hour (kWh)** | an amount of energy again: a thousand watts during one hour |

# %% [markdown]
# Each claim ends in a **verdict**, one of five words:
#
# | verdict | what it means here |
# |---|---|
# | `supported` | the evidence agrees with the sentence |
# | `loosely stated` | there is something in it, but a word, a number or a condition is wrong or missing |
# | `misattributed` | it belongs to something else: another quantity, year, maker or method |
# | `contested` | sources or measurements speak against it, or against each other |
# | `not checkable` | nothing that we read or measured could decide it |

# %% tags=["nbval-check-output"]
verdict("B1", "loosely stated",
        "the body of the article means inference; the word was lost in translation")

# %% [markdown]
# Energy is an amount, like litres. Power is a flow, like litres per minute. The two are mixed up all the time, so let
# us fix a few amounts.

# %% tags=["nbval-check-output"]
print(f"1 Wh  = {convert(1, 'Wh', 'J'):,.0f} J")
print(f"1 kWh = {convert(1, 'kWh', 'J'):,.0f} J")
print(f"1 MWh = {convert(1, 'MWh', 'kWh'):,.0f} kWh")

# %% [markdown]
# ## A first prediction
#
# You send a question to a large chatbot and get a text back. Google has published the energy of its median text
# prompt, counted over everything that serves it: chips, computers, idle reserves, building.

# %%
guess_prompt = predict(
    "00-prompt", "How much energy does one median text prompt take, in watt-hours?",
    low=0.001, high=100, guess=3.0, log=True, unit="Wh",
)
guess_prompt

# %% [markdown]
# Move the slider, press the button, and only then go on.

# %%
prompt = fact("q_gemini")
guess_prompt.reveal(prompt.value)
print(prompt)

# %% tags=["nbval-check-output"]
print(f"{prompt.value} Wh = {prompt.to('J'):.0f} J: a lamp of 10 W for {prompt.to('J') / 10:.0f} seconds")

# %% [markdown]
# If you guessed higher, you may have met an older estimate of [3 Wh](#q_chatgpt_devries), for another chatbot and for
# servers only. Epoch AI later called it about ten times too high.
#
# ## "Energy intensive"
#
# The second claim of this lesson is the article's starting point.

# %%
claim("B2").card()

# %% [markdown]
# Intensive compared with what? One study measured many tasks with the same method, from sorting a text into a class to
# drawing a picture. (A *token* is a piece of a word. The picture is the mean over several models, which differ widely.)

# %%
tasks = {"sort a text": "q_textclass", "sort a picture": "q_imgclass", "write ten tokens": "q_textgen",
         "draw a picture": "q_imggen"}
watt_hours = [fact(name).value for name in tasks.values()]

# %% jupyter={"source_hidden": true}
def task_figure():
    fig, ax = plots.figure("What does one request take?", "task", "energy per request (Wh)")
    plots.bars(ax, list(tasks), watt_hours, texts=[f"{wh:.2g}" for wh in watt_hours])
    ax.set_yscale("log")
    ax.set_ylim(1e-3, 10)
    return fig

# %%
plots.show(task_figure(), alt="Energy per request on a logarithmic axis: sorting a text takes least, then "
           "sorting a picture, then writing ten tokens; drawing a picture takes most.")

# %% tags=["nbval-check-output"]
spread = {name: watt_hours[-1] / wh for name, wh in zip(tasks, watt_hours)}
print(f"draw a picture over sort a text:     about {round(spread['sort a text'], -1):,.0f} times")
print(f"draw a picture over write ten tokens: about {spread['write ten tokens']:.0f} times")
verdict("B2", "supported" if spread["write ten tokens"] < 10 else "loosely stated",
        "within one study, even two generative tasks differ many times over")

# %% [markdown]
# Writing and drawing are generative, sorting is not. "Intensive" needs a denominator: per request, per token, per day, per
# person. Choose one. Here is a day of yours, beside one charge of a phone as a paper counts it (a large one).

# %%
requests = {**tasks, "ask a chatbot": "q_gemini"}

# %% jupyter={"source_hidden": true}
def in_words(wh):
    return f"{wh:,.0f} Wh" if wh >= 100 else f"{wh:.3g} Wh"


def day_figure(task, times):
    charge = fact("ph_charge").to("Wh")
    fig, ax = plots.figure("What does a day of requests take?", "energy in a day (Wh)", "what", height=2.6)
    wh = [times * fact(requests[task]).value, charge]
    plots.bars(ax, [f"{times} times: {task}", "charging a phone once"], wh, texts=[in_words(x) for x in wh],
               horizontal=True)
    ax.set_xscale("log")
    ax.set_xlim(1e-3, 1e5)
    ax.locator_params(axis="x", numticks=5)  # room for long numbers
    return fig


def day_words(task, times):
    wh, charge = times * fact(requests[task]).value, fact("ph_charge").to("Wh")
    return f"Two bars. {times} times '{task}' takes {in_words(wh)} in a day; charging a phone once takes {in_words(charge)}."

# %%
explore(day_figure, alt=day_words, task=choice(list(requests), "ask a chatbot", label="request"),
        times=slider(1, 1000, 20, label="times a day"))

# %% [markdown]
# ## A first reading
#
# Now your own machine. A `Meter` looks once at what can be read here, and says how it will know each joule. There are
# five labels, from the best to none.

# %%
Table(["label", "what it means", "how accurate"],
      [(p.name.lower(), p.meaning, p.accuracy) for p in reversed(Provenance)])

# %% [markdown]
# The numbers in the last column are from studies. One tool lay [20 to 37 %](#acc_codecarbon) below a plug meter, and errors
# reached [40 %](#acc_codecarbon_max). The power sensor of a large GPU looks only [25 %](#acc_nvml_sampled) of the time. A
# model gave four more memory modules [24 W](#acc_ram_model), and the meter at the wall saw less than
# [1.5 W](#acc_ram_meter).
#
# The next measurement multiplies a matrix by itself, twenty times. It has a thousand rows and a thousand columns. The
# operations are counted, the time is taken, the energy is labelled.

# %%
guess_joules = predict(
    "00-first-reading", "How many joules will the processor take for it?",
    low=0.01, high=10_000, guess=100, log=True, unit="J",
)
guess_joules

# %%
meter = Meter()
matrix = torch.randn(1000, 1000)

with meter.block("first reading") as block:
    for _ in range(20):
        matrix @ matrix

block.reading.log()

# %%
if block.reading.joules is None:
    print("There are no joules here, so go by the CPU time.")
else:
    guess_joules.reveal(block.reading.joules, unit=f"J ({block.reading.label})")

# %%
meter.sources

# %% [markdown]
# **CPU time** adds up the time that this program keeps each core busy: two cores for three seconds make six. So it can
# be longer than the time on the clock. It can also be shorter: the program may have to wait. A note says *disturbed*
# when other programs were busy meanwhile.
#
# If your label is *modelled*: the joules are CPU time, multiplied by a number from a table. That is fit for comparing two
# programs on one machine. It is not fit for saying how much energy your machine used. The last column says what you
# could do for a better label.
#
# What never depends on the machine is the count.

# %% tags=["nbval-check-output"]
work = 20 * count_flops(torch.matmul, matrix, matrix)
print(f"operations in the first reading: {work:,} FLOPs")

# %% [markdown]
# ## Your ledger
#
# Predictions, readings and verdicts are kept in your *ledger*, the file `ledger.jsonl`. It holds no name, neither yours nor the machine's.
# The last lesson will look back at it. On Colab, save it before you close: the next notebook is another machine.

# %%
ledger.summary()

# %%
# On Colab every notebook is its own machine. Take away a "#" to keep your ledger, or to bring one along.
# ledger.load("ledger.jsonl")
# ledger.save()

# %% [markdown]
# Two of the article's claims now have a verdict, written by the code. Do you agree? If not, put another of the five
# words into `verdict(...)`, and run that cell again. How many claims are there?

# %% tags=["nbval-check-output"]
claims = all_claims().values()
print(f"{len(claims)} claims in the article")
for kind in ("measured here", "checked against sources", "not checkable"):
    print(f"{sum(c.kind == kind for c in claims):4d} {kind}")

# %% [markdown]
# Only claims of the first kind are decided by what you see on the screen. "Measured here" also covers what is counted, or
# calculated again from published factors: nobody measured GPT-3 in a notebook. For the second kind we read what the
# sources really say. The third kind is opinion, or no source was read for it.
#
# ## The whole course
#
# Each lesson asks one question. Take them in order: a lesson builds on those before it. The seconds of computing and the
# memory are the most that it may take.

# %%
lessons = json.loads((files("course_lib") / "assets" / "lessons.json").read_text(encoding="utf-8"))
Table(["lesson", "title", "the question", "minutes", "CPU, s", "memory, MB", "claims"],
      [(one["lesson"], one["title"], one["question"], one["minutes"], one["cpu_seconds"], one["memory_mb"], one["claims"])
       for one in lessons], caption=f"{len(lessons)} lessons, {sum(one['minutes'] for one in lessons)} minutes")

# %% [markdown]
# ## What the figures do not say
#
# - The energy per request comes from two studies with different boundaries. One counts the building; the other includes,
#   for text generation, seven idle GPUs beside the one at work. Compare tasks within one study. Between the two, only
#   great differences count.
# - A chatbot's median prompt says nothing about its long answers.
#
# ## What you have seen
#
# - A lesson goes round: claim, predict, count, measure, compare, verdict.
# - Your machine's joules carry a label, and the label says what they are worth.
# - Training, fine-tuning and inference are three different things; energy and power are two.
# - "Energy intensive" needs a denominator.
#
# **Next:** [lesson 01](01_measuring_energy.ipynb), where you test a meter before you trust it.
#
# ## Sources

# %%
cite("q_gemini", "q_chatgpt_devries", "q_textclass", "q_imgclass", "q_textgen", "q_imggen", "ph_charge",
     "acc_codecarbon", "acc_codecarbon_max", "acc_nvml_sampled", "acc_ram_model", "acc_ram_meter")
