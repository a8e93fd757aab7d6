# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: 08
#     memory_mb: 1000
#     minutes: 55
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
# # Local first
#
# **The question.** When is it worth asking a server?
#
# **After this lesson you can**
#
# - let a small model answer when it is sure and ask a larger one when it is not, with a threshold that never saw
#   the exam;
# - give a cascade images that it was not made for, and say who could notice that its answers are wrong;
# - count what a question to a server costs in bytes, both ways, and see how much of it is not the question;
# - set a network's energy beside that of an answer, for a text, a photo and the model itself, and say what is
#   disputed;
# - weigh a phone against a server that many share, and name the reasons that are not about energy.
#
# **You need** about 55 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the
# cells one by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** B12, B13.
# **Before:** [lesson 07](07_local_deployment.ipynb). **After:** [exercise 08](../exercises/08_local_first.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import inspect
import math
import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import psutil
import torch
from matplotlib.ticker import NullLocator
from torch.nn import functional as F

from course_lib import ledger, plots, wire
from course_lib.claims import claim, verdict
from course_lib.counters import count
from course_lib.data import SHIFTS, Split, digits, shifted
from course_lib.energy import Meter
from course_lib.facts import cite, fact, statement
from course_lib.models import DigitsMLP, MultiExitCNN
from course_lib.serving import Client, NoAnswer, Server
from course_lib.setup import seed_everything
from course_lib.stats import ratio_interval, si
from course_lib.tables import Table, shipped
from course_lib.training import accuracy
from course_lib.widgets import choice, explore, predict, slider

seed_everything(0, threads=1)  # one thread: networks this small gain nothing from two
meter = Meter()

# %% [markdown]
# ## Part one: a small model that knows when to ask
#
# Lesson 07 put a model on the phone. Must it know everything? The article says:

# %%
claim("B13").card()

# %% [markdown]
# Here is a way between "all on the phone" and "all on the server". A small model on the phone reads the image. If
# it is sure, its answer counts. If not, the image goes to a larger model on a server. This is called a *cascade*.
# We call it **local first**.
#
# The server has the network of lesson 03: three blocks, each of which moves small filters over the image. It has
# learned from clean and from noisy digits. For the phone there are five candidates, with one hidden layer. They are
# so small that noise would confuse them, so they have seen clean digits only.

# %%
SIZES = (4, 8, 16, 32, 64)  # hidden units of the candidates for the phone


def local_net(hidden):
    return DigitsMLP((hidden,))


def server_net():
    return MultiExitCNN(channels=32, n_blocks=3)

# %% tags=["nbval-check-output"]
data = digits(0)
image = data.test.x[:1]
nets = {**{f"phone, {h}": local_net(h) for h in SIZES}, "server": server_net()}
costs = {name: count(net, image) for name, net in nets.items()}
print(Table(["model", "parameters", "FLOPs for an image", "server over phone"],
            [(name, c.parameters, c.flops, f"{costs['server'].flops / c.flops:,.0f}") for name, c in costs.items()],
            caption="Counted; a multiplication with its addition (a MAC) is two FLOPs"))

# %% [markdown]
# The next two cells train them. They are folded, for there is nothing new in them.

# %% jupyter={"source_hidden": true}
def noisy(x, level, rng):
    """Images [n, 64] with noise of standard deviation `level` [n]."""
    return x + level[:, None] * torch.randn(x.shape, generator=rng)


def fit(net, split, seed, epochs, lr, noise=0.0, batch_size=32):
    """Adam, with a rate that rises and falls. Each image gets noise of a random level, up to `noise`."""
    rng, steps = torch.Generator().manual_seed(seed), epochs * -(-len(split) // batch_size)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(split), generator=rng).split(batch_size):
            x = split.x[rows]
            x = noisy(x, noise * torch.rand(len(rows), generator=rng), rng) if noise else x
            loss = F.cross_entropy(net(x), split.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()

# %% jupyter={"source_hidden": true}
def train_local(data, seed, hidden):
    seed_everything(seed, threads=1)
    return fit(local_net(hidden), data.train, seed, epochs=30, lr=1e-2)


def train_server(data, seed):
    seed_everything(seed, threads=1)
    return fit(server_net(), data.train, seed, epochs=15, lr=5e-3, noise=0.4)


@torch.inference_mode()
def logits(net, split):
    return net(split.x)

# %% [markdown]
# ### When is it sure?
#
# The softmax gives a probability for each digit, and the largest one says how sure the model is. We call it its
# *sureness*. (Lesson 03 took the distance to the second largest; exercise 08 has both.) Below a *threshold* the image
# is passed on. At the threshold or above it, the answer is kept. (In the field one says *confidence*, and the image is
# *deferred*.)

# %%
def sureness(logits):
    """The largest of the ten probabilities, for each image."""
    return logits.softmax(-1).amax(-1)


def right(answers, y):
    return (answers == y).float().mean().item()


def pass_on(here, there, asked):
    """(the answers, which images were asked about), from the logits of the phone's model and of the server's."""
    return torch.where(asked, there.argmax(-1), here.argmax(-1)), asked


def cascade(here, there, threshold):
    return pass_on(here, there, sureness(here) < threshold)

# %% [markdown]
# Which threshold? We may lose half a percentage point against the server, and we choose on the **validation**
# images. The test images come later, once. There are two simple rules.
#
# - **By accuracy.** Take the lowest threshold with which the cascade loses no more than half a point.
# - **By agreement.** We lose only if we keep an answer that differs from the server's. So count the kept answers that
#   differ. Take the lowest threshold for which they are at most half a percent of all images. This rule is stricter.
#   And it needs **no labels**: images and two models are enough.

# %%
ALLOWED = 0.005  # half a point


def lowest(here, loss, allowed):
    """The lowest threshold with which `loss` is no more than allowed. It lies just above the sureness of some image."""
    levels = [0.0, *torch.nextafter(sureness(here), torch.tensor(2.0)).sort().values.tolist()]
    return next(t for t in levels if loss(t) <= allowed + 1e-6)  # 1e-6: for the rounding of floats


def by_accuracy(here, there, y, allowed=ALLOWED):
    return lowest(here, lambda t: right(there.argmax(-1), y) - right(cascade(here, there, t)[0], y), allowed)


def by_agreement(here, there, y=None, allowed=ALLOWED):
    other, sure = here.argmax(-1) != there.argmax(-1), sureness(here)
    return lowest(here, lambda t: (other & (sure >= t)).float().mean().item(), allowed)  # kept, and another answer


RULES = {"by accuracy": by_accuracy, "by agreement": by_agreement}

# %% [markdown]
# How do we choose between the rules without looking at the exam? We split the validation images into two halves,
# choose the threshold on one half, and see what is lost on the other. We do so with fifty random splits, and with
# five seeds. To train five candidates and a server for each seed takes too long here, so the result comes from the
# table that ships with the course.

# %% jupyter={"source_hidden": true}
def on_other_half(rule, here, there, y, seed, times=50):
    """Mean points lost on one half of the images, with a threshold from the other half."""
    rng, lost = torch.Generator().manual_seed(seed), []
    for _ in range(times):
        a, b = torch.randperm(len(y), generator=rng).chunk(2)
        answers, _ = cascade(here[b], there[b], rule(here[a], there[a], y[a], 1.001 / len(a)))  # one image of a half
        lost.append(100 * (right(there[b].argmax(-1), y[b]) - right(answers, y[b])))
    return float(np.mean(lost))

# %%
table = shipped("08_local_first")
print(table.made)


def rows(kind, **wanted):
    """The rows of one kind in the shipped table, with these values."""
    return [r for r in table.rows if r["kind"] == kind and all(r[k] == v for k, v in wanted.items())]


def mean(column, found):
    """Over the rows where it is not None, or nan where it is None in all."""
    values = [r[column] for r in found if r[column] is not None]
    return float(np.mean(values)) if values else math.nan

# %% tags=["nbval-check-output"]
print(f"images: {len(data.train)} for training, {len(data.val)} for validation, {len(data.test)} for the test;\n  "
      f"one of {len(data.test)} is {100 / len(data.test):.2f} points")
halves = {(rule, h): mean("lost_on_other_half", rows("rule", rule=rule, hidden=h)) for rule in RULES for h in SIZES}
print(Table(["hidden units", *(f"{rule}, points lost" for rule in RULES)],
            [(h, *(f"{halves[rule, h]:.2f}" for rule in RULES)) for h in SIZES],
            caption="Threshold from one half of the validation images, points lost on the other; mean of five seeds"))
HIDDEN = min(h for h in SIZES if halves["by agreement", h] <= 0.5)
print(f"on average agreement loses no more than half a point from {HIDDEN} hidden units on\nwith {HIDDEN}, seed by seed: "
      + ", ".join(f"{r['lost_on_other_half']:.2f}" for r in rows("rule", rule="by agreement", hidden=HIDDEN)))
later = [mean(c, rows("later", hidden=HIDDEN)) for c in ("lost_on_other_half", "lost", "asked")]
print(f"afterwards, ten new seeds with {HIDDEN}: {later[0]:.2f} on the halves; on test images {later[1]:.2f}, "
      f"and {later[2]:.0f} % passed on")

# %% [markdown]
# (A half has 180 images, and half a point of them is less than one image. So there we allow one image: `0.56` points.)
#
# By accuracy, the promise is broken with every candidate. Why? The rule looks at many thresholds and takes the
# first that passes. Some pass by luck: the server happens to err where the phone is right. On new images the luck
# is gone. Agreement counts every such image as a loss, also the lucky ones. With the three larger candidates it
# keeps the promise **on average**, not with each seed. Of these three we take the smallest. With all validation
# images the threshold will be less rough.
#
# So rule and model are chosen without a label of the same seed's test images. (The five seeds split the same images,
# so one seed's validation images are partly another's test images.) When we repeated the choice with ten new seeds,
# this size failed on average on the halves. On the test images the cascade lost a tenth of a point. We keep the
# choice as it was made.

# %%
with meter.block("training the two models") as block:
    local_model, server_model = train_local(data, 0, HIDDEN), train_server(data, 0)
known = logits(local_model, data.val), logits(server_model, data.val)
threshold = by_agreement(*known)
print(f"threshold from the validation images: {threshold:.3f}")
block.reading.log()

# %%
guess_asked = predict(
    "08-asked", "With this threshold, what share of the test images will the phone pass on to the server?",
    low=0, high=100, guess=50, unit="%",
)
guess_asked

# %%
exam = logits(local_model, data.test), logits(server_model, data.test)
answers, asked = cascade(*exam, threshold)
alone, server_right, both = (100 * right(a, data.test.y) for a in (exam[0].argmax(-1), exam[1].argmax(-1), answers))
asked_share = 100 * asked.float().mean().item()
print(f"right: phone alone {alone:.1f} %, server {server_right:.1f} %, local first {both:.1f} %; asked {asked_share:.1f} %")

# %%
guess_asked.reveal(asked_share)

# %% tags=["nbval-check-output"]
print("fewer than three quarters of the test images are passed on:", asked_share < 75)
print("at most two points are lost against the server:", server_right - both <= 2)

# %% [markdown]
# With this seed we lose a little more than allowed: two images of 360. Half a point is not even two. So look at all
# five seeds.
#
# ### Five seeds, and two rivals
#
# Every cascade needs rivals:
#
# - **At random.** The same share of the images is passed on, whichever they are. That is the straight line from the
#   one model to the other. A rule that does not lie above it is worth nothing.
# - **The oracle.** It asks only where the phone is wrong and the server right. Nobody can know that beforehand. It
#   says how much is to be had at most. It lies above the server alone, for sometimes the phone is right and the
#   server wrong.

# %%
SHARES = (0, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100)  # percent of the images


def ask_least_sure(here, there, share):
    """The cascade that asks about this share of the images (%), those of which the phone is least sure."""
    asked = torch.zeros(len(here), dtype=torch.bool)
    asked[sureness(here).argsort(stable=True)[:round(share / 100 * len(here))]] = True
    return pass_on(here, there, asked)


def oracle(here, there, y):
    return pass_on(here, there, (here.argmax(-1) != y) & (there.argmax(-1) == y))

# %% tags=["nbval-check-output"]
five = rows("rule", rule="by agreement", hidden=HIDDEN)
columns = ("asked", "local", "server", "right", "lost")
lines = [(str(r["seed"]), *(r[c] for c in columns)) for r in five] + [("mean", *(mean(c, five) for c in columns))]
print(Table(["seed", "asked (%)", "phone alone", "server", "local first", "points lost"],
            [(name, *(f"{x:.1f}" for x in values[:-1]), f"{values[-1]:.2f}") for name, *values in lines],
            caption=f"Test images right (%), {HIDDEN} hidden units, threshold by agreement from the validation images"))
lost = [r["lost"] for r in five]
print(f"lost: mean {np.mean(lost):.2f} points, worst {max(lost):.2f}; asked: mean {mean('asked', five):.0f} %")
other_rule = [r["lost"] for r in rows("rule", rule="by accuracy", hidden=HIDDEN)]
print(f"the rule by accuracy would have lost: mean {np.mean(other_rule):.2f} points, worst {max(other_rule):.2f}")

# %% jupyter={"source_hidden": true}
def rivals_figure():
    fig, ax = plots.figure("Does it know what to ask about?", "images passed on to the server (%)", "test images right (%)",
                           height=4.2)
    curve = np.array([r["right"] for r in rows("curve", hidden=HIDDEN)])
    middle = curve.mean(0)
    ax.errorbar(SHARES, middle, [middle - curve.min(0), curve.max(0) - middle], capsize=3, label="least sure first",
                **plots.series(0))
    ax.plot([0, 100], middle[[0, -1]], label="at random", **plots.series(1) | {"marker": ""})
    best = rows("curve", hidden=HIDDEN)
    ax.plot([mean("oracle_asked", best)], [mean("oracle_right", best)], label="oracle",
            **plots.series(3) | {"linestyle": "none"})
    ax.plot([r["asked"] for r in five], [r["right"] for r in five], label="thresholds from validation", zorder=5,
            **plots.series(2) | {"linestyle": "none"})
    ax.set_xlim(-2, 102)
    ax.legend(loc="lower right")
    return fig

# %% course={"picture": "images/08_frontier.png"}
plots.show(rivals_figure(), alt="Test images right against the share passed on. Asking about the least sure "
           "first rises steeply and is nearly flat after a fifth of the images; bars show the lowest and highest of "
           "five seeds. At random is a straight line from the lower left to the upper right, well below. The oracle, "
           "at the top left, needs some three per cent. The five calibrated points lie near the top, four of them at "
           "a sixth of the images or less, one at nearly a half.")

# %% [markdown]
# The bars reach from the lowest to the highest of the five seeds. A fifth of the questions buys nearly all that the
# server can add. One seed asks about far more than the others. There two validation images stand in the way: the
# phone is very sure of them, and the server says something else. With a few hundred images a threshold is rough.
#
# ### Is a probability of nine tenths right nine times in ten?
#
# We sort the validation images of all five seeds by sureness, and see how many of each kind are right.

# %% jupyter={"source_hidden": true}
BINS = (0.0, 0.5, 0.7, 0.9, 0.99)  # of sureness: from each to the next, the last one to certainty


def temperature(logits, y):
    """The T of a grid with the lowest cross-entropy of logits / T."""
    grid = torch.linspace(0.3, 2, 171)
    return grid[torch.stack([F.cross_entropy(logits / t, y) for t in grid]).argmin()].item()

# %% tags=["nbval-check-output"]
def of_bin(i, column):
    """Percent over all images of a bin, the five seeds together."""
    found = [(r["n"][i], r[column][i]) for r in rows("bins", hidden=HIDDEN) if r["n"][i]]
    return sum(n * x for n, x in found) / sum(n for n, _ in found)


sizes = [sum(r["n"][i] for r in rows("bins", hidden=HIDDEN)) for i in range(len(BINS))]
print(Table(["sureness", "images", "mean sureness (%)", "right (%)"],
            [(f"{low:g} to {high:g}", n, f"{of_bin(i, 'sure'):.0f}", f"{of_bin(i, 'right'):.0f}")
             for i, (low, high, n) in enumerate(zip(BINS, (*BINS[1:], 1), sizes))],
            caption=f"{HIDDEN} hidden units, validation images of five seeds"))
ways = {"from validation": ("asked", "lost"), "0.9 for everybody": ("fixed_asked", "fixed_lost"),
        "from validation, after temperature": ("warm_asked", "warm_lost")}
for name, (a, b) in ways.items():
    print(f"threshold {name}: {mean(a, five):.0f} % passed on, {mean(b, five):.2f} points lost (test images)")

# %% [markdown]
# Nearly. Where it is fairly sure, this model knows more than it says: it is *under-confident*. A common repair is a
# *temperature*: divide all logits by one number, the one that fits the validation images best. It hardly helps the
# cascade. All images move together, the threshold moves with them, and the order stays nearly the same.
#
# And one number for everybody? Nine tenths happens to be a good one here: it would have asked less often and lost no
# more. But that is seen on the exam, afterwards. A calibrated threshold says beforehand what it aims at, and comes near
# it.
#
# ### What if other images come?
#
# The threshold knows only the validation images. Now we add noise, and take the damaged scanners of
# lesson 05: *rotated* (a quarter turn to the left), *backlit* (a shadow that deepens to the right), *cropped* (the
# lowest rows are lost), *faded* (pale ink on grey paper).

# %%
guess_rotated = predict(
    "08-rotated", "Digits are turned by 90 degrees. The phone's model has never seen that. What share will it pass on?",
    low=0, high=100, guess=90, unit="%",
)
guess_rotated

# %%
KINDS = ("clean", "noisy", *SHIFTS)


def of_kind(split, kind, seed=0):
    """The images clean, with much noise, or from a damaged scanner."""
    if kind == "noisy":
        return Split(noisy(split.x, torch.full((len(split),), 0.3), torch.Generator().manual_seed(seed)), split.y)
    return split if kind == "clean" else shifted(split, kind)


turned = of_kind(data.test, "rotated")
turned_logits = logits(local_model, turned), logits(server_model, turned)
asked_turned = 100 * cascade(*turned_logits, threshold)[1].float().mean().item()
guess_rotated.reveal(asked_turned)

# %% tags=["nbval-check-output"]
kinds = {kind: rows("shift", hidden=HIDDEN, images=kind) for kind in KINDS}
shown = {"passed on": "asked", "sureness": "sure", "phone": "local", "server": "server", "local first": "right",
         "kept: right": "kept_right", "kept: as server": "kept_as_server"}
print(Table(["images", *shown], [(kind, *(f"{mean(c, found):.0f}" for c in shown.values())) for kind, found in kinds.items()],
            caption="Percent of test images, five seeds ('kept': of those kept, over the seeds that kept any)"))
same = [f"{r['kept_as_server']:.0f}" if r["kept_as_server"] is not None else "nothing kept" for r in kinds["backlit"]]
print(f"backlit, kept: as server, seed by seed (%): {', '.join(same)}")

# %% [markdown]
# With noise the rule does what it should: it asks more often, and asking helps. (It still keeps too many.) On
# rotated digits it fails completely. The phone is *surer* than on clean ones, keeps nearly all, and is wrong on
# nine in ten. And the server is wrong with it. What do they say?

# %%
counted = {f"{name}, {kind}": found.argmax(-1).bincount(minlength=10).tolist() for kind, both_logits in
           (("clean", exam), ("rotated", turned_logits)) for name, found in zip(("phone", "server"), both_logits)}
Table(["answers", *map(str, range(10))], [(name, *n) for name, n in counted.items()],
      caption=f"How often each digit is the answer, {len(data.test)} test images, this seed")

# %% tags=["nbval-check-output"]
for who, said in (("phone", "said"), ("server", "server_said")):
    found = kinds["rotated"]
    print(f"rotated, {who}: most often says {', '.join(str(r[said]) for r in found)} (seed by seed), "
          f"in {mean(said + '_in', found):.0f} % of the images")

# %% [markdown]
# Nearly every turned digit is read as a four, by both models, and with full conviction. "Sure" means only: of the ten
# digits that I know, no other comes near. So who could notice?
#
# - **Sureness** does not. It is what failed.
# - **A second model.** One might send a few kept images to the server now and then, and compare. With the faded
#   scans this would raise the alarm at once, for there the two models almost never agree. With the backlit ones it
#   would in most seeds; in one they agree on all that was kept. With the cropped ones it would hardly: nine in ten kept
#   answers agree, and yet more than four in ten are wrong. With the rotated ones it would not. Two models that learned
#   from the same images are not two witnesses.
# - **The mix of answers** does. It needs no label and no second model: nobody writes only fours.
#
# And a server helps only if it knows more. On faded scans it knows less than the phone, and local first is better
# than either only by luck.
#
# How much harm is done depends on how many such images come. Choose a kind, and how many there are.

# %% jupyter={"source_hidden": true}
LINES = {"right": "local first", "local": "phone alone", "server": "server alone", "asked": "passed on"}


def mixed(kind, share):
    """{column: percent} when `share` percent of the images are of this kind and the rest are clean."""
    return {c: (1 - share / 100) * mean(c, kinds["clean"]) + share / 100 * mean(c, kinds[kind]) for c in LINES}


def hard_figure(kind, share):
    fig, axes = plots.figure(f"What if hard questions come? ({kind})", "hard questions (% of all)", panels=2, width=8.4, height=3.6)
    for i, (column, label) in enumerate(LINES.items()):
        ax = axes[column == "asked"]
        ends = [mixed(kind, s)[column] for s in (0, 100)]
        ax.plot([0, 100], ends, label=label, **plots.series(i) | {"marker": ""})
    for ax, what in zip(axes, ("right (%)", "passed on (%)")):
        ax.axvline(share, color="grey", linewidth=1.2, label="your share")
        ax.set(xlim=(0, 100), ylim=(0, 102), ylabel=what)
    axes[0].legend(loc="lower left", fontsize=9, frameon=True, framealpha=1, edgecolor="white")  # over the grey line
    return fig


def hard_words(kind, share):
    m = mixed(kind, share)
    return (f"{share} % of the images are {kind}, the rest clean: {m['asked']:.0f} % are passed on; right are local first "
            f"{m['right']:.1f} %, phone alone {m['local']:.1f} %, the server {m['server']:.1f} %. Against the server: "
            f"{m['right'] - m['server']:+.1f} points. Means of five seeds.")

# %%
explore(hard_figure, alt=hard_words, kind=choice(KINDS[1:], "noisy", label="hard questions are"),
        share=slider(0, 100, 30, label="share of hard questions, %"))

# %% [markdown]
# ## Part two: a real server
#
# Now the larger model moves out. `Server` starts a process of its own, gives it the model, and waits until it
# answers. `Client` asks it over HTTP, the language of the web, and counts every byte that the connection carries,
# both ways. On Linux the kernel itself counts, with all headers.
#
# A pixel here is a whole number from nothing to sixteen, so one byte is enough for it. The server divides by
# sixteen (`scale`). The `with` block ends the server, whatever happens inside: also when you interrupt the cell.

# %%
print(inspect.getsource(wire.pack))  # how a question is packed


def pixels(x):
    """Images as whole numbers 0 to 16, a byte for each pixel."""
    return (16 * x).round().to(torch.uint8).numpy()


one = pixels(image)
guess_bytes = predict(
    "08-bytes", "An image has 64 pixels, one byte each. It is asked about over HTTP, as raw bytes, on a new connection. "
    "How many bytes cross the wire in all, both ways?", low=50, high=5000, guess=100, log=True, unit="bytes",
)
guess_bytes

# %%
with Server(server_model, scale=1 / 16) as server, Client(server.port, keep_alive=False) as client:
    reply = client.ask(one, form="raw")
print(f"the server says {reply.outputs[0]}; the image's label is {data.test.y[0]}")
reply.traffic.table()

# %% jupyter={"source_hidden": true}
def five_digits(traffic, port):
    """As if the port had five digits, as most have: it stands in the head of a question."""
    return replace(traffic, http_up=traffic.http_up - (len(str(port)) - 5))


def on_wire(traffic):
    """All bytes of both ways; without those of TCP/IP where the kernel does not tell them."""
    t = traffic
    return t.total if t.total is not None else t.payload_up + t.payload_down + t.http_up + t.http_down


guess_bytes.reveal(on_wire(reply.traffic))

# %% tags=["nbval-check-output"]
t = five_digits(reply.traffic, server.port)
print(f"payload: {t.payload_up} bytes up, {t.payload_down} down; HTTP's own: {t.http_up} up, {t.http_down} down")
print("the question itself is less than a fifth of what crosses the wire:", t.payload_up < 0.2 * on_wire(t))

# %% [markdown]
# The *payload* is the question and the answer. HTTP adds a first line and headers, in plain text. Under it, TCP and
# IP put some fifty bytes on each packet, and some packets carry nothing: they open the connection, acknowledge, and
# close it. The table shows these apart from payload and HTTP. (What lies below, the radio or the cable, is not in the
# count. Nor is encryption. In a trial of ours it cost a new connection about two thousand bytes more, with a short
# certificate; real ones are longer.)
#
# ### In which form?
#
# We ask in six forms, on a connection that stays open (*keep-alive*), and on a new one each time (*cold*).

# %%
FORMS = {"JSON, decimals": (image.numpy(), {}), "JSON, decimals, gzip": (image.numpy(), {"compress": True}),
         "JSON, whole numbers": (one, {}), "raw, four bytes a pixel": (image.numpy(), {"form": "raw"}),
         "raw, one byte a pixel": (one, {"form": "raw"}), "raw, one byte, gzip": (one, {"form": "raw", "compress": True})}


def both_ways(server, x, **how):
    """Traffic of (a later question on an open connection, a question with a connection of its own). On a busy machine a
    packet may go twice, so we take the least of three later ones."""
    with Client(server.port) as client:
        _, *later = (five_digits(client.ask(x, **how).traffic, server.port) for _ in range(4))
    with Client(server.port, keep_alive=False) as client:
        return min(later, key=on_wire), five_digits(client.ask(x, **how).traffic, server.port)

# %%
many, sent, different = np.repeat(one, 256, axis=0), {}, pixels(data.test.x[:256])
with Server(server_model, scale=1 / 16) as server:
    forms = {name: both_ways(server, x, **how) for name, (x, how) in FORMS.items()}
    for n in (1, 16, 256):  # images in one question
        sent[n] = both_ways(server, many[:n], form="raw")[0]
    unzipped, zipped = (both_ways(server, different, form="raw", compress=c) for c in (False, True))
    waits = {}
    for name, keep in (("open connection", True), ("new connection", False)):
        with Client(server.port, keep_alive=keep) as client:
            waits[name] = np.median([client.ask(one, form="raw").seconds for _ in range(150)])
Table(["form", "payload up", "payload down", "HTTP up", "HTTP down", "all, open connection", "all, new connection"],
      [(name, t.payload_up, t.payload_down, t.http_up, t.http_down, on_wire(t), on_wire(cold))
       for name, (t, cold) in (*forms.items(), ("256 different images, raw", unzipped),
                               ("256 different images, raw, gzip", zipped))],
      caption="Bytes of one question, counted" + ("" if wire.KERNEL else "; without TCP/IP, which is unknown here"))

# %% tags=["nbval-check-output"]
whole = {name: on_wire(t) for name, (t, _) in forms.items()} | {"many": on_wire(unzipped[0]), "many, gzip": on_wire(zipped[0])}
for what, before, after in (("JSON, decimals", "JSON, decimals", "JSON, decimals, gzip"), ("256 images, raw", "many", "many, gzip"),
                            ("one image, raw", "raw, one byte a pixel", "raw, one byte, gzip")):
    print(f"gzip makes it {'shorter' if whole[after] < whole[before] else 'longer'}: {what}")
print("bytes for each image, payload and HTTP; images in one question:", ", ".join(
    f"{n}: {(t.payload_up + t.payload_down + t.http_up + t.http_down) / n:.0f}" for n, t in sent.items()))

# %% [markdown]
# Read down the table. Decimals in JSON are the usual way and the dearest. Whole numbers save much, raw bytes more.
# *gzip* is a compressor. It helps where there is much to find: in long rows of decimals, in many images. On one raw
# image it wins nothing and adds a header. And in all but the wordiest form, **most of what is sent is not the
# question**. Two things help: a connection that stays open, and many images in one question. The second has a price:
# the first image waits for the last.
#
# ### Inputs, features or answers?
#
# Must the image itself be sent? The phone has computed its hidden layer already. These numbers are called
# *features*. A second model on the server could go on from there. We train one for it, and see.

# %%
@torch.inference_mode()
def features(split):
    return Split(local_model.layers[:2](split.x), split.y)


seed_everything(0, threads=1)
goes_on = fit(DigitsMLP((256, 256), d_in=HIDDEN), features(data.train), 0, epochs=15, lr=2e-3)

# %%
hidden = features(data.test).x[:1].numpy()
with Server(goes_on) as server, Client(server.port) as client:
    by_features = client.ask(hidden, form="raw").traffic, client.ask(hidden.astype("float16"), form="raw").traffic
    all_scores = client.ask(hidden, form="raw", scores=True).traffic
asked_with = features(data.test)
by_hidden, by_half = (100 * accuracy(goes_on, Split(x, data.test.y)) for x in (asked_with.x, asked_with.x.half().float()))
Table(["sent up", "payload up", "right on test images"],
      [("the image, one byte for each pixel", forms["raw, one byte a pixel"][0].payload_up, f"{server_right:.1f} %"),
       ("features, four bytes each", by_features[0].payload_up, f"{by_hidden:.1f} %"),
       ("features, two bytes each", by_features[1].payload_up, f"{by_half:.1f} %"),
       ("nothing: the phone's answer counts", 0, f"{alone:.1f} %")], caption="Bytes of one question; this seed")

# %% tags=["nbval-check-output"]
print(f"payload up: image {one.size} bytes, features {by_features[0].payload_up} or {by_features[1].payload_up}")
print(f"payload down: an answer {by_features[0].payload_down} byte, the scores of all ten {all_scores.payload_down} bytes")
print("two bytes for each feature do as well as four, within a point:", abs(by_half - by_hidden) <= 1)

# %% [markdown]
# The features are fewer numbers, but as usual floats they take as many bytes as the image. With two bytes each they
# do as well, at half the payload. Yet they are worth less than the image: the small model keeps what it needs for its
# own answer, and the rest is gone. Features can save bytes for large pictures, if they are trained for it. Are they more
# private? Do not trust that: a network can be trained to guess the image back from its features. (Dosovitskiy and
# Brox, <https://arxiv.org/abs/1506.02753>.)
#
# ### When it goes wrong
#
# A server may be absent, break down, or be somebody else. Each case must end in one sentence, and the phone must go
# on. First an impostor: a network that answers every question with its login page, as in a hotel. It also shows us
# what the client really sends. (How to play an impostor is folded: it is not about our question.)

# %% jupyter={"source_hidden": true}
@contextmanager
def impostor(answer):
    """(port, what it hears) of something on this machine that gives its first caller this answer."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.settimeout(5)
                said = b""
                while not (length := re.search(rb"Content-Length: (\d+)\r\n.*?\r\n\r\n", said, re.DOTALL)) \
                        or len(said) < length.end() + int(length[1]):
                    if not (more := connection.recv(65_536)):
                        break
                    said += more
                heard.append(said)
                connection.sendall(answer)
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], heard


def refusal(question):
    """The sentence that a question ends in, when it ends badly."""
    try:
        question()
    except (NoAnswer, ValueError) as error:
        return str(error)

# %% jupyter={"source_hidden": true}
page = b"<h1>Please log in</h1>"
head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
with impostor(head + page) as (port, heard), Client(port) as client:
    sentences = {"a reply that is not JSON": refusal(lambda: client.ask(one))}
print(heard[0].decode())

# %% [markdown]
# The lines down to the empty one are HTTP's head. What follows is the question. Now three more cases: a port that is
# in use, a server that is killed in the middle of a question, and nobody there.

# %% jupyter={"source_hidden": true}
def keep_asking(port):
    with Client(port) as client:
        while True:
            client.ask(many, form="raw")


def end(process):
    with suppress(psutil.NoSuchProcess):
        process.kill()


with Server(server_model, scale=1 / 16) as server:
    sentences["port in use"] = refusal(Server("builtins:abs", port=server.port).start)  # any function will do
    threading.Timer(0.3, end, [psutil.Process(server.pid)]).start()
    sentences["killed in the middle"] = refusal(lambda: keep_asking(server.port))
sentences["nobody there"] = refusal(lambda: keep_asking(server.port))
for case, sentence in sentences.items():
    print(f"{case}: {sentence}\n")

# %% tags=["nbval-check-output"]
for case, sentence in sentences.items():
    print(f"{case}: one sentence, {sentence is not None and len(sentence.splitlines()) == 1}")

# %% [markdown]
# ## Part three: the whole bill
#
# We count work, and the server's model does over a thousand times the work of the phone's. Does it cost so much
# more? The two take turns on this machine, for one image and for a batch.

# %%
batch = data.test.x[:256]
with torch.inference_mode():
    gaps = {"one image": meter.compare(lambda: server_model(image), lambda: local_model(image), pairs=6, window=0.05,
                                       names=("server's", "phone's")),
            "256 images": meter.compare(lambda: server_model(batch), lambda: local_model(batch), pairs=4, window=0.05,
                                        names=("server's", "phone's"))}
flops = {"phone": count(local_model, image).flops, "server": count(server_model, image).flops}
Table(["at a time", "server's model over phone's", "95 % interval"],
      [("FLOPs, counted", f"{flops['server'] / flops['phone']:,.0f}", ""),
       *((n, f"{c.ratio:,.1f}", f"{c.low:,.1f} to {c.high:,.1f}") for n, c in gaps.items())],
      caption=f"Counted, and measured in {gaps['one image'].quantity.replace('_', ' ')}")

# %% [markdown]
# For one image, most of the phone's cost is the *call*, as in lesson 01: PyTorch needs some microseconds for each
# layer, however small. In a batch the measured ratio comes nearer to the counted one.
#
# And the question itself? To pack it, to send it, to unpack it and all the way back is work too, in two processes.
# We compare a whole question to the server with the bare model that answers it. They take turns, six times, and the
# CPU time of both processes is added. (The folded cells do the bookkeeping.)

# %% jupyter={"source_hidden": true}
def cpu_seconds(pid):
    """CPU time of a process so far: user and system."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def ask_often(server, client, n=250):
    """(the meter's reading of n questions, CPU seconds that the server's process took for them)."""
    before = cpu_seconds(server.pid)
    with meter.block("asking") as block:
        for _ in range(n):
            client.ask(one, form="raw")
    return block.reading, cpu_seconds(server.pid) - before


@torch.inference_mode()
def here_often(net, n=250):
    with meter.block("answering here") as block:
        for _ in range(n):
            net(image).argmax(-1)
    return block.reading

# %% jupyter={"source_hidden": true}
asks, bare, small = [], [], []
with Server(server_model, scale=1 / 16) as server, Client(server.port) as client:
    ask_often(server, client, 50), here_often(server_model, 50), here_often(local_model, 50)  # a warm-up
    for turn in range(6):
        sides = [lambda: asks.append(ask_often(server, client)), lambda: bare.append(here_often(server_model))]
        for side in sides[::1 if turn % 2 else -1]:
            side()
        small.append(here_often(local_model, 2000))
both_processes = [r.cpu_seconds + theirs for r, theirs in asks]
ratio, low, high = ratio_interval(both_processes, [r.cpu_seconds for r in bare])
print(f"a question to the server over the bare model: {ratio:.1f} times the CPU time, 95 % interval {low:.1f} to {high:.1f}")

# %% jupyter={"source_hidden": true}
def joules_each(readings, n):
    """Joules of one of n calls in each reading. Modelled joules are those of this process and its children, so the server is
    among them; a sensor of the machine has seen it too."""
    found = [r.joules for r in readings]
    return None if None in found else sum(found) / (n * len(found))


label = asks[0][0].label
energy = {"phone's model": joules_each(small, 2000), "server's model, bare": joules_each(bare, 250),
          "a question to the server": joules_each([r for r, _ in asks], 250)}
cpu, clock = ([np.mean([getattr(r, what) for r in found]) / n for found, n in ((small, 2000), (bare, 250))]
              for what in ("cpu_seconds", "seconds"))
cpu, clock = [*cpu, np.mean(both_processes) / 250], [*clock, waits["open connection"]]
Table(["one image", "CPU time", "until the answer", f"energy ({label})"],
      [(name, si(c, "s"), si(s, "s"), si(j, "J")) for (name, j), c, s in zip(energy.items(), cpu, clock)])

# %% tags=["nbval-check-output"]
print("the server's model costs less than a fifth of what the count says, one image at a time:",
      gaps["one image"].ratio < flops["server"] / flops["phone"] / 5)
print("a question costs more than the bare model that answers it:", ratio > 1)

# %% [markdown]
# So at this toy size framework and HTTP outweigh the arithmetic. What a cascade saves here is **questions**, not
# FLOPs: with each question a round trip of many times the phone's own effort. With large models it is the other way
# round, and the count is the better guide. Keep both in mind when you now see what a threshold costs, in three kinds
# of cost.

# %%
asks_bytes = on_wire(forms["raw, one byte a pixel"][0])
unit = "J" if None not in energy.values() else "s"
spend = [energy["phone's model"], energy["a question to the server"]] if unit == "J" else [cpu[0], cpu[2]]
BILL = {"bytes on the wire": (0.0, float(asks_bytes)),  # (for each image, for each one passed on)
        "FLOPs, thousands": (flops["phone"] / 1e3, flops["server"] / 1e3),
        f"µJ, {label}" if unit == "J" else "CPU time, µs": (1e6 * spend[0], 1e6 * spend[1])}
levels = sorted({0.0, *sureness(exam[0]).tolist()})[::4]
here_share = asked.float().mean().item()
frontier = np.array([[100 * asked.float().mean().item(), 100 * right(a, data.test.y)]
                     for a, asked in (cascade(*exam, t) for t in levels)])
Table(["cost of an image", "phone alone", "local first", "server alone"],
      [(what.split(",")[0].replace("µJ", "energy"), *(f"{100 * x / more:.2f} %" for x in (each, each + here_share * more, more)))
       for what, (each, more) in BILL.items()],
      caption="In % of the server alone; the threshold is the one from the validation images; this seed")

# %% jupyter={"source_hidden": true}
def bill_figure(threshold):
    fig, ax = plots.figure("What does a threshold buy, and at what cost?", "images passed on, and what an image costs",
                           "test images right (%)", height=4)
    a, asked = cascade(*exam, threshold)
    ax.plot(frontier[:, 0], frontier[:, 1], label="local first, every threshold", **plots.series(0) | {"marker": ""})
    ax.plot([0], [alone], label="phone alone", **plots.series(1) | {"linestyle": "none", "markersize": 9})
    ax.plot([100], [server_right], label="server alone", **plots.series(2) | {"linestyle": "none", "markersize": 9})
    ax.plot([100 * asked.float().mean().item()], [100 * right(a, data.test.y)], "k*", markersize=14, label="your threshold")
    ax.set_xticks(at := [0, 20, 40, 60, 80, 100], ["\n".join(
        [f"{x}", *(f"{each + more * x / 100:,.0f}" for each, more in BILL.values())]) for x in at])
    ax.annotate("\n".join(["passed on (%)", *BILL]), (1, 0), (6, -7), xycoords="axes fraction", textcoords="offset points",
                va="top")  # a name beside each row of numbers
    ax.legend(loc="lower right", fontsize=10)
    return fig


def bill_words(threshold):
    a, asked = cascade(*exam, threshold)
    share = asked.float().mean().item()
    spent = "; ".join(f"{what}: {each + more * share:,.0f}, server alone {more:,.0f}" for what, (each, more) in BILL.items())
    return (f"At {threshold:.3f} the phone passes on {share:.1%} of the test images; {right(a, data.test.y):.1%} are right, "
            f"phone alone {alone:.1f} %, server alone {server_right:.1f} %. An image costs: {spent}.")

# %%
explore(bill_figure, alt=bill_words, threshold=slider(0.0, 1.0, round(threshold, 3), 0.005, label="threshold"))

# %% [markdown]
# It is one curve with four scales, one under the other. Look at the table above it: what the phone spends itself is
# nothing in bytes, next to nothing in FLOPs, and a few percent in energy. (The energy is that of this machine for both, and without a
# network. A phone is another machine: see part five.)
#
# ## Part four: what does the network cost?

# %%
claim("B12").card()

# %% [markdown]
# The card quotes a fragment. The article names, among the costs of AI, that of carrying information to the server
# and back: it counts, and in both directions it counts more. Bytes we can count. To make joules of them, people multiply
# by a figure in kilowatt-hours for each gigabyte. Here are such figures.

# %% jupyter={"source_hidden": true}
GRID = {"net_finland_2010": "Finland, 2010", "net_gen_3g": "3G base station, no year", "net_finland_2017": "Finland, 2017",
        "net_eu_mobile": "EU study, 2020", "net_gen_4g": "4G base station, no year", "net_mobile_ct": "Carbon Trust, 2020",
        "net_gen_5g": "5G base station, no year", "net_aslan": "Aslan, 2015", "net_eu_fixed": "EU study, 2020",
        "net_router": "home router alone, 2020", "net_aslan20_coroama": "Coroama, 2020", "net_aslan20": "Carbon Trust, 2020"}
MOBILE = 7  # so many of them, the first, are of mobile networks


def network_figure():
    fig, ax = plots.figure("What does a gigabyte cost the network?", "kWh for each GB (logarithmic)",
                           "source, and year of the figure", height=4.4)
    for kind, part, i in (("mobile", range(MOBILE), 1), ("fixed line", range(MOBILE, len(GRID)), 0)):
        ax.plot([per_gb[list(GRID)[y]] for y in part], part, label=kind,
                **plots.series(i) | {"linestyle": "none", "markersize": 8})
    for y, value in enumerate(per_gb.values()):
        ax.text(1.3 * value, y, f"{value:g}", va="center", fontsize=9)
    ax.set_yticks(range(len(GRID)), list(GRID.values()), fontsize=9)
    ax.invert_yaxis()
    ax.set(xscale="log", xlim=(3e-3, 60))
    ax.legend(loc="lower right")
    return fig


per_gb = {name: fact(name).to("kWh/GB") for name in GRID}

# %% course={"picture": "images/08_network.png"}
plots.show(network_figure(), alt="Twelve published figures in kWh for each GB on a logarithmic axis. Mobile "
           "networks reach from more than twelve (Finland in 2010) and nearly three (a 3G base station) over a tenth "
           "to three tenths (four figures) to a hundredth (a 5G base station). Fixed lines lie between 0.06 in 2015 "
           "and 0.0065 in 2020; a home router alone, 0.025, costs more than the line.")

# %% tags=["nbval-check-output"]
print(f"from the lowest to the highest: {max(per_gb.values()) / min(per_gb.values()):,.0f} times")
falls = {"Finland, mobile": ("net_finland_2010", "net_finland_2017"), "fixed line": ("net_aslan", "net_aslan20")}
for what, (before, after) in falls.items():
    print(f"{what}, {fact(before).year} to {fact(after).year}: {per_gb[before] / per_gb[after]:.0f} times less for each GB"
          + (" (two sources)" if fact(before).reference != fact(after).reference else ""))
print("of Finland:", fact("net_finland_2017").note)

# %% [markdown]
# The figures differ by year, by network, and by what is inside: a base station alone is not a network, and the
# router at home is in some figures and not in others. Whoever quotes one without year and boundary has said little.
#
# ### A text, a photo, a model
#
# We take one figure for the fixed line with its router and one for the mobile network, both of the same year and
# source. Beside them stands the energy of one answer of a large service, with everything around it.

# %%
def network_joules(n_bytes, *names):
    return n_bytes * sum(fact(name).to("J/byte") for name in names)


FIXED, MOBILE_NET = ("net_aslan20", "net_router"), ("net_mobile_ct",)
TEXT, PHOTO, MODEL = 1e4, 1e6, 2e9  # bytes: a question with its answer, a picture, a model for the phone
guess_share = predict(
    "08-network-share", "A text question and its answer, with all that comes along: ten thousand bytes by mobile network. "
    "How much energy is that, in percent of what the answer itself takes?", low=0.01, high=1000, guess=30, log=True, unit="%",
)
guess_share

# %% tags=["nbval-check-output"]
answer = fact("q_gemini").to("J")
print(f"{fact('q_gemini').quantity}: {fact('q_gemini').text} (published),\n  with {fact('q_gemini').boundary}")
sizes = {"text": TEXT, "photo": PHOTO, "model": MODEL}
share = {(what, net): 100 * network_joules(n, *names) / answer for what, n in sizes.items()
         for net, names in (("fixed", FIXED), ("mobile", MOBILE_NET))}
for (what, net), percent in share.items():
    print(f"{what}, {net}:", f"{percent:,.2f} % of an answer" if percent < 100 else f"{int(percent / 100):,} answers")
print(f"with the figure for Finland in 2010: text {100 * network_joules(TEXT, 'net_finland_2010') / answer:.0f} %")

# %%
guess_share.reveal(share["text", "mobile"])

# %% [markdown]
# For a text the network is a rounding error beside the answer. (With the highest figure of all it would be half of
# it: a sentence can be true in one year and wrong in another.) For a photo it counts. And the model that is
# downloaded so that nothing need be sent any more? It is hundreds of answers at once.
#
# ### When does the download outweigh a year of questions?

# %%
guess_download = predict(
    "08-download", "To run locally you download a model of two gigabytes, once. You ask 20 text questions of ten thousand "
    "bytes a day. After how many years would they have carried as many bytes?", low=0.01, high=1000, guess=1, log=True, unit="years",
)
guess_download

# %% tags=["nbval-check-output"]
kept_share = 1 - mean("asked", five) / 100
years = {what: MODEL / n / 20 / 365 for what, n in (("text questions", TEXT), ("photos", PHOTO))}
for what, y in years.items():
    print(f"{MODEL / 1e9:.0f} GB are 20 {what} a day for {y:.1f} years; "
          f"if only {kept_share:.0%} of them are kept, for {y / kept_share:.1f} years")
tiny, question = 4 * costs[f"phone, {HIDDEN}"].parameters, forms["raw, one byte a pixel"][0]
each = question.payload_up + question.payload_down + question.http_up + question.http_down
print(f"our phone's model: {tiny:,} bytes; a question, payload and HTTP: {each}; the model is {tiny / each:.0f} questions")

# %%
guess_download.reveal(years["text questions"])

# %% [markdown]
# No figure for the network is needed, if download and questions go over the same network: then the same figure stands
# on both sides. What decides is how often you ask, how large the question is, and how large the model. And only a
# question that is **kept** pays something back. Our small reader of digits is paid for after a dozen kept questions.
# A language model for texts is paid for only after decades. Models are also updated, and each update is a download.

# %% jupyter={"source_hidden": true}
NETWORKS = {"fixed line with router, 2020": FIXED, "mobile, 2020": MOBILE_NET, "fixed line, 2015": ("net_aslan",),
            "EU study, mobile": ("net_eu_mobile",), "Finland, mobile, 2010": ("net_finland_2010",),
            "Finland, mobile, 2017": ("net_finland_2017",), "5G base station alone": ("net_gen_5g",)}
QUESTIONS = {"text, 10 kB": TEXT, "photo, 1 MB": PHOTO, "one of our images": float(asks_bytes)}
PER_DAY = np.logspace(0, 4, 41)


def network_kwh(network, n_bytes):
    return network_joules(n_bytes, *NETWORKS[network]) / 3.6e6


def year_figure(network, question, gigabytes, per_day):
    fig, ax = plots.figure("Does a year of questions outweigh the download?", "questions a day",
                           "energy, calculated from\npublished figures", height=4)
    each, download = network_kwh(network, 365 * QUESTIONS[question]), network_kwh(network, gigabytes * 1e9)
    for i, (name, kwh) in enumerate({"network: a year of questions": each * PER_DAY,
                                     "network: one download of the model": download + 0 * PER_DAY,
                                     "server: a year of answers (published)": 365 * PER_DAY * answer / 3.6e6}.items()):
        ax.plot(PER_DAY, kwh, label=name, **plots.series(i) | {"marker": ""})
    ax.plot([per_day], [each * per_day], "k*", markersize=13, label="your questions")
    ax.set(xscale="log", yscale="log", ylim=(1e-6, 1e6))
    ax.set_yticks([1e-6, 1e-3, 1, 1e3, 1e6], ["0.001 Wh", "1 Wh", "1 kWh", "1 MWh", "1 GWh"])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.legend(loc="upper left", fontsize=9)
    return fig

# %% jupyter={"source_hidden": true}
def year_words(network, question, gigabytes, per_day):
    year, model = network_kwh(network, 365 * per_day * QUESTIONS[question]), network_kwh(network, gigabytes * 1e9)
    return (f"{network}: {per_day:,.0f} questions a day ({question}) are {year:.3g} kWh a year, a download of "
            f"{gigabytes:,.3g} GB {model:.3g} kWh, so a year of questions is {year / model:.3g} downloads. The answers "
            f"themselves would take the server {365 * per_day * answer / 3.6e6:.3g} kWh, if each were a published text prompt. "
            "(All calculated from published figures.)")

# %%
explore(year_figure, alt=year_words, network=choice(list(NETWORKS), "mobile, 2020", label="network figure"),
        question=choice(list(QUESTIONS), label="question"), gigabytes=slider(0.001, 100, 2.0, log=True, label="model, GB"),
        per_day=slider(1, 10_000, 20, log=True, label="questions a day"))

# %% [markdown]
# Try all network figures. The two lines of the network move up and down together, and they cross always at the same
# number of questions. Only the distance to the answers changes.
#
# ### The quarrel
#
# May one multiply bytes by such a figure at all? Here is what a paper says about it.

# %% tags=["nbval-check-output"]
print(f"{statement('net_mytton').quantity}\n({statement('net_mytton').reference})")
print(statement("net_mytton").text.replace("; ", ";\n"))

# %% [markdown]
# A router at home takes nearly the same power whether it sends or not. So there are two ways to count one exchange.
# *By volume*: bytes times a figure. *By power*: a base power that flows all the time, and a small slope for the
# traffic. We count the same text exchange both ways. How long it lasts is our assumption. On the fixed line, most of
# the base is the router of a whole household: here it is put on the one person who asks.

# %% tags=["nbval-check-output"]
SECONDS = 10  # assumption: from the question to the end of the answer
POWER = {"fixed line with router": (FIXED, ("net_pm_fixed_slope", "net_pm_cpe_slope"),
                                    ("net_pm_fixed_base", "net_pm_cpe_base")),
         "mobile": (MOBILE_NET, ("net_pm_mobile_slope", "net_pm_mobile_core_slope"),
                    ("net_pm_mobile_base", "net_pm_mobile_core_base"))}
quarrel = {name: (network_joules(TEXT, *volume), network_joules(TEXT, *slope), SECONDS * sum(fact(b).to("W") for b in base))
           for name, (volume, slope, base) in POWER.items()}
print(Table(["network", "by volume (J)", "by power: traffic (J)", "by power: base (J)"],
            [(name, *(f"{j:.3g}" for j in joules)) for name, joules in quarrel.items()],
            caption=f"One text exchange of {TEXT:,.0f} bytes in {SECONDS} s, calculated from published figures"))
for name, (volume, traffic, base) in quarrel.items():
    print(f"{name}: by volume {volume / traffic:,.0f} times the traffic's own part, the base {base / traffic:,.0f} times")

# %% [markdown]
# The volume figure lies between the two. Which one is right? They answer different questions.
#
# - *What does my next question add?* Only the traffic's part: nearly nothing. The base flows anyway.
# - *Who pays for the network?* Then the base must be shared out, by bytes, by hours or by heads. Each choice gives
#   another figure.
#
# So bytes saved do not become joules saved, unless so many are saved that the network is built smaller. That is the
# strongest objection to the article's sentence, and also to those who defend it with a large figure.
#
# ### "Especially both ways"
#
# Is it worse to send than to receive? For the network's figures it makes no difference. For a phone's radio it
# does. This model of a radio gives the power for each megabit a second.

# %% tags=["nbval-check-output"]
radio = {way: fact(f"net_lte_{way}").to("J/MB") for way in ("up", "down")}
for way in ("up", "down"):
    print(f"{fact('net_lte_' + way).quantity}: {fact('net_lte_' + way).text} (published, {fact('net_lte_' + way).year})")
print(f"a photo of 1 MB, its traffic alone: {radio['up']:.1f} J to send, {radio['down']:.2f} J to receive,\n"
      f"  {radio['up'] / radio['down']:.1f} times less (calculated from published figures)")
print(f"while it connects, the radio takes {fact('net_lte_promotion').text} (published);\n"
      f"  sending the photo is as much as {radio['up'] / fact('net_lte_promotion').to('W'):.1f} s of that")
t = forms["raw, one byte a pixel"][0]
print(f"our question, payload and HTTP: {t.payload_up + t.http_up} bytes up, {t.payload_down + t.http_down} down")

# %% [markdown]
# So "especially" has a true core. On a phone, sending is the dear direction, and a camera sends. (This is the part that
# grows with the traffic. While it is on, the radio also takes a base power, and it stays awake for some seconds after
# each transfer. That may cost more than the transfer. We have no figure for it that we have read ourselves, so it is
# left out. The model is of an old generation of phones.)
#
# ### Verdict

# %% tags=["nbval-check-output"]
small_for_text = max(share["text", net] for net in ("fixed", "mobile")) < 1
counts_for_more = min(share[what, net] for what in ("photo", "model") for net in ("fixed", "mobile")) > 10
around_it = on_wire(question) / (question.payload_up + question.payload_down)
print(f"a text: at most {max(share['text', 'fixed'], share['text', 'mobile']):.2f} % of its answer; "
      f"a photo: at least {min(share['photo', 'fixed'], share['photo', 'mobile']):.0f} %")
print("measured: a small question costs more than five times its own bytes:", around_it > 5)
words = {"contested": "a text costs the network next to nothing, but a photo or a downloaded model counts, most bytes of a small "
                      "question are not the question, and joules for each byte are disputed",
         "misattributed": "neither a text nor a photo, nor the bytes around them, cost the network much beside the answer",
         "supported": "even a text costs the network a part of its answer that counts"}
word = "supported" if not small_for_text else "contested" if counts_for_more or around_it > 5 else "misattributed"
verdict("B12", word, words[word])

# %% [markdown]
# ## Part five: the phone or the server?
#
# Communication is one side. The other is the answer itself. Lesson 07 compared a phone with a server, from published
# measurements: the *batch* decides, that is how many questions the server answers together. New here is the cascade.
# It pays for the phone **always**, and for the server and the network sometimes. When is that less than to ask always?

# %%
def batch_of(f):
    """The batch size, from the words of the published row."""
    return int(re.search(r"batch (\d+)", f.quantity)[1])


(B0, J0), (B1, J1) = sorted((batch_of(f), f.value) for f in map(fact, ("ml_llama8b_h100_b8", "ml_llama8b_h100")))
PHONES = {"3 billion parameters, MLC": fact("ph_melt").value, "3 billion, LLMFarm": fact("ph_melt_llmfarm").value,
          "1.5 billion parameters": fact("ph_s24").value}  # J/token of the whole phone; MLC and LLMFarm are engines
AROUND = fact("q_gemini").value / fact("q_gemini_accelerator").value  # a whole service over its chips, of one company
TOKENS = 300  # assumption: of an answer that is exchanged in 10 kB


def server_joules(batch, around=AROUND, network="mobile, 2020"):
    """J for each token: a part that the batch shares and a part of its own, through both published points; the network."""
    shared = (J0 - J1) / (1 / B0 - 1 / B1)
    return (shared / batch + J0 - shared / B0) * around + network_joules(TEXT, *NETWORKS[network]) / TOKENS

# %% tags=["nbval-check-output"]
for name in ("ml_llama8b_h100_b8", "ml_llama8b_h100", "ph_melt", "ph_melt_llmfarm", "ph_s24"):
    print(f"{fact(name).quantity}: {fact(name).value} J/token (published; {fact(name).boundary.replace(', measured', '')})")
print(f"a whole service over its chips: {AROUND:.2f}; over its chips while they work: "
      f"{fact('q_gemini').value / fact('q_gemini_narrow').value:.1f} (published, divided)")
ask = {"clean": mean("asked", kinds["clean"]) / 100, "hard": mean("asked", kinds["noisy"]) / 100}
print(f"our phone passes on {ask['clean']:.0%} of the clean images and {ask['hard']:.0%} of the noisy ones")
bill = {(phone, b): (j + ask["clean"] * server_joules(b), server_joules(b)) for phone, j in PHONES.items() for b in (B0, B1)}
print(Table(["phone", "batch", "phone alone", "local first", "server alone"],
            [(phone, b, f"{PHONES[phone]:.2f}", *(f"{x:.2f}" for x in pair)) for (phone, b), pair in bill.items()],
            caption="J/token, calculated from published figures: mobile network, no loss in charging (lesson 07 adds it)"))

# %% [markdown]
# With a large batch local first takes more than the server alone: what the phone takes each time is more than what the
# server is spared. With a small batch it takes less, unless the phone's own model is nearly as dear as the server's answer. And
# the boundary decides, not only the batch:

# %% tags=["nbval-check-output"]
def wins(around, network):
    """For each phone: does it take less alone than the server, with the smallest and with the largest batch?"""
    return ", ".join("/".join("yes" if j < server_joules(b, around, network) else "no" for b in (B0, B1)) for j in PHONES.values())


cheaper = [next(b for b in range(B0, B1 + 1) if server_joules(b) < j) for j in PHONES.values()]
print(f"the server alone takes less than the three phones alone from a batch of {', '.join(map(str, cheaper))} on")
print("phone alone below the server alone, at the smallest/largest batch, for the three phones:")
for what, given in {"as above": (AROUND, "mobile, 2020"), "chips alone (factor one)": (1.0, "mobile, 2020"),
                    "network of Finland in 2010": (AROUND, "Finland, mobile, 2010")}.items():
    print(f"  {what}: {wins(*given)}")

# %% jupyter={"source_hidden": true}
def place_figure(phone, hard, batch, around, network):
    fig, ax = plots.figure("Does it save joules to ask only sometimes?", "questions passed on (%)",
                           "J/token (calculated from\npublished figures)", height=3.9)
    here, there, share = PHONES[phone], server_joules(batch, around, network), passed_on(hard)
    ax.plot([0, 100], [here, here + there], label="local first", **plots.series(0) | {"marker": ""})
    ax.plot([0, 100], [there, there], label="server alone", **plots.series(1) | {"marker": ""})
    ax.plot([0], [here], label="phone alone", **plots.series(2) | {"linestyle": "none", "markersize": 9})
    ax.plot([100 * share], [here + share * there], "k*", markersize=14, label="your share of hard questions")
    ax.set(xlim=(-2, 102), ylim=(0, 1.08 * (here + there)))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=10)
    return fig


def passed_on(hard):
    """The share passed on when `hard` percent of the questions are as hard for the phone as noisy images are for ours."""
    return ask["clean"] + hard / 100 * (ask["hard"] - ask["clean"])


def place_words(phone, hard, batch, around, network):
    here, there, share = PHONES[phone], server_joules(batch, around, network), passed_on(hard)
    first = here + share * there
    return (f"Phone: {phone}. With {hard} % hard questions {share:.0%} are passed on. Phone alone {here:.2f} J/token, local first "
            f"{first:.2f}, server alone {there:.2f} (batch {batch:.0f}, {around:.1f} times its chips, {network}): local first takes "
            f"{'less' if first < there else 'more'} than the server alone. (Calculated from published figures; the curve of the "
            f"server goes through two batch sizes.)")

# %%
explore(place_figure, alt=place_words, phone=choice(list(PHONES), "3 billion, LLMFarm", label="phone"),
        hard=slider(0, 100, 30, label="share of hard questions, %"),
        batch=slider(8, 511, 8.0, log=True, label="batch of the server"),
        around=slider(1.0, 4.0, 1.7, 0.1, label="a whole service over its chips"),
        network=choice(list(NETWORKS), "mobile, 2020", label="network figure"))

# %% [markdown]
# Neither side is always right. With the chips alone, without host, idle machines and building, the server beats the
# large phone model at every batch. With the oldest network figure every phone wins, at every batch. And the phone with
# half as large a model wins up to a batch of some two hundred, with answers that may be worse. Mind that a figure of a
# whole phone stands here beside one of a chip times a factor from another company.
#
# ### Three reasons that are not about energy
#
# **Latency.** How long until the answer? On this machine, where no network lies between:

# %%
Table(["answer", "time"], [("by the phone's model itself", si(clock[0], "s")),
                           *((f"asked, {name}", si(s, "s")) for name, s in waits.items())],
      caption="One image, just now (asked: the median); a real network adds its own travel time, both ways")

# %% [markdown]
# **Without a network.** And **privacy**: what does the server get to see? We let the cascade run for real, image by
# image. In the middle of the stream the server goes away. The phone goes on: where no answer comes, its own must do.

# %%
@torch.inference_mode()
def local_first(x, client):
    """(the digit, whether it was asked about, whether an answer came) for one image [1, 64]."""
    here = local_model(x)
    if sureness(here).item() >= threshold:
        return here.argmax(-1).item(), False, False
    try:
        return int(client.ask(pixels(x), form="raw").outputs[0]), True, True
    except NoAnswer:
        return here.argmax(-1).item(), True, False


half, stream = len(data.test) // 2, []
with Server(server_model, scale=1 / 16) as server, Client(server.port) as client:
    for i, x in enumerate(data.test.x):
        if i == half:
            server.stop()
        stream.append(local_first(x[None], client))
digit, wanted, came = (torch.tensor(column) for column in zip(*stream))
seen = client.traffic

# %%
def in_half(part):
    return 100 * right(digit[part], data.test.y[part]), 100 * right(exam[0].argmax(-1)[part], data.test.y[part])


first, second = slice(0, half), slice(half, None)
Table(["images", "right", "phone alone", "passed on", "answered by the server"],
      [(name, f"{in_half(part)[0]:.1f} %", f"{in_half(part)[1]:.1f} %", int(wanted[part].sum()), int(came[part].sum()))
       for name, part in (("first half, with the server", first), ("second half, without it", second))])

# %% tags=["nbval-check-output"]
print(f"images: {len(digit)}, half of them after the server had gone; answers: {len(digit)}")
print("without the server still more than nine tenths are right:", right(digit[second], data.test.y[second]) > 0.9)
print("pixels that left the phone: 64 bytes for each image that was answered:", seen.payload_up == 64 * int(came.sum()))

# %%
print(f"the server saw {int(came.sum())} of the {half} images of the first half: {seen.payload_up:,} bytes of pixels in "
      f"{on_wire(seen):,} bytes of traffic")

# %% jupyter={"source_hidden": true}
def chosen_images(n=10):
    """(row, column, image, the phone's digit, the server's) of some that were passed on, and of some that were kept."""
    order = sureness(exam[0])[:half].argsort(stable=True)
    sent, kept = order[asked[order]][:n], order[~asked[order]]
    for row, found in enumerate((sent, kept[torch.linspace(0, len(kept) - 1, n).long()])):
        for column, i in enumerate(found.tolist()):
            yield row, column, data.test.x[i], *(int(found[i].argmax()) for found in exam), int(data.test.y[i])


def seen_figure():
    fig, ax = plots.figure("What did the server see?", "from less sure (left) to surer; under each digit: phone / server",
                           "", width=8.6, height=3)
    for row, column, x, here, there, _ in chosen_images():
        ax.imshow(x.view(8, 8), cmap="gray_r", vmin=0, vmax=1, extent=(column, column + 0.85, -1.35 * row - 0.85, -1.35 * row), zorder=2)
        ax.text(column + 0.42, -1.35 * row - 1.04, f"{here} / {there}", ha="center", va="center", fontsize=11)
    ax.set(xlim=(-0.1, 10), ylim=(-2.55, 0.05), xticks=[], yticks=[-0.42, -1.77], yticklabels=["passed on", "kept"], ylabel="images")
    ax.grid(visible=False)
    return fig

# %%
shown_images = list(chosen_images())
fine = sum(here == label for row, *_, here, _, label in shown_images if row == 0)
plots.show(seen_figure(), alt=f"Two rows of small handwritten digits, with both answers under each: passed on, and kept. Most look "
           f"clear to the eye, also those that were passed on. Of the {sum(row == 0 for row, *_ in shown_images)} passed on that "
           f"are shown, the phone was right on {fine}.")

# %% [markdown]
# To us, most of these digits look clear, also those that were passed on. Often the phone was right, and only not sure
# enough. Local first is also *private first*: most images never leave. But those that leave are no random sample: the
# model chooses them. If they were letters or faces, they might be those that one would most like to keep.
#
# ### Verdict

# %% tags=["nbval-check-output"]
print(f"our cascade keeps {100 * kept_share:.0f} % of the questions on the phone, and loses {np.mean(lost):.2f} points")
less = [first < there for first, there in bill.values()]
print(f"local first takes fewer joules than the server alone in {sum(less)} of {len(less)} pairs of phone and batch")
pays = years["text questions"] / kept_share
print(f"a download of {MODEL / 1e9:.0f} GB, 20 text questions a day, {kept_share:.0%} of them kept: paid for after {pays:.0f} years")
saves = kept_share > 0.5 and pays < 3  # 3: years that a phone lasts, say
word = "supported" if saves and all(less) else "misattributed" if not any(less) and not saves else "contested"
verdict("B13", word, {"supported": "questions and joules are saved, soon and in every pair",
                      "misattributed": "neither bytes nor joules are saved",
                      "contested": "whether bytes and joules are saved depends on the size of the question and on the server's "
                                   "batch; privacy, speed and independence remain"}[word])

# %% [markdown]
# ## What the figures do not say
#
# - Our two models are toys on one machine. The phone is a processor, the network a loop inside the computer: no
#   radio, no distance, no other users. Bytes are real, milliseconds are the best case.
# - Bytes below IP and encryption are not counted. A real service sends longer headers than ours.
# - Five seeds share the same images in other splits. A threshold from a few hundred images is rough, as one seed
#   showed.
# - The phone's model is the smallest that kept its promise among five that we named. While this lesson was made, all
#   five and both rules were also seen on test images. That is why we looked at ten further seeds afterwards: on their
#   halves only the largest two kept the promise.
# - The choice is a close one. A threshold may lie anywhere between two neighbouring images; ours lies at the lower end.
#   At the upper end, the next smaller model keeps the promise on the halves, too, and loses more than half a point on
#   the test images.
# - The joules of a question take the same rate for both processes, if they are modelled. They say no more than the
#   CPU time.
# - Energy for each gigabyte is an average of whole networks. It is not what one more byte costs.
# - Phone and server were measured by different people, with models of different size and quality.
# - A server must be there and wait, also when nobody asks. The factor for everything around the chips contains a
#   part of it, for a service with very many users. A small service of your own waits more.
#
# ## What you have seen
#
# - A small model that asks when it is unsure loses little and asks seldom. Rule, model and threshold come from
#   validation images, and agreement with the server needs no labels.
# - Sureness is no alarm. On rotated digits the small model is sure and wrong, and so is the large one: both say "four".
#   The mix of answers would have told, without labels.
# - Most bytes of a small question are not the question. Form, open connections and several images at a time decide;
#   at toy size the round trip outweighs the arithmetic.
# - For a text the network is a fraction of a percent of the answer, for a photo it counts, and a downloaded model
#   outweighs years of text questions. Energy per byte is disputed, because most of the power flows without traffic.
# - By published figures local first takes more than the server alone where the server's batch is large, and mostly less
#   where it is small; what is counted around the chips decides, too. Privacy, latency and independence are reasons of their own.
#
# **Now do** [exercise 08](../exercises/08_local_first.ipynb). **Next:** [lesson 09](09_rebound.ipynb).
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
cite("net_finland_2010", "net_gen_3g", "net_finland_2017", "net_eu_mobile", "net_gen_4g", "net_mobile_ct",
     "net_gen_5g", "net_aslan", "net_eu_fixed", "net_router", "net_aslan20_coroama", "net_aslan20", "q_gemini",
     "q_gemini_accelerator", "q_gemini_narrow", "net_mytton", "net_pm_fixed_slope", "net_pm_cpe_slope", "net_pm_fixed_base",
     "net_pm_cpe_base", "net_pm_mobile_slope", "net_pm_mobile_core_slope", "net_pm_mobile_base",
     "net_pm_mobile_core_base", "net_lte_promotion", "ml_llama8b_h100_b8", "ml_llama8b_h100", "ph_melt",
     "ph_melt_llmfarm", "ph_s24",
     "net_lte_up", "net_lte_down")
