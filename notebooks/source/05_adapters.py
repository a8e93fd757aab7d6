# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '05'
#     memory_mb: 1000
#     minutes: 50
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
# # Adapters
#
# **The question.** When only few parameters learn, what is saved?
#
# **After this lesson you can**
#
# - put a low-rank adapter on a trained network, and say which numbers learn and which stay as they are;
# - compare ways to adapt fairly: several starts, learning rates chosen on other images, and training from scratch beside;
# - write the whole bill of a training step, and say which parts of it shrink with the number of weights that learn;
# - say what adapters really save, and when they are not worth having.
#
# **You need** about 50 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the
# cells one by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** B21 to B24.
# **Before:** [lesson 04](04_sparse_experts.ipynb). **After:** [exercise 05](../exercises/05_adapters.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import copy
import inspect
import io
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count, count_step, fine_tuning_flops
from course_lib.data import SHIFTS, Split, corpus, digits, few, shifted
from course_lib.energy import Meter
from course_lib.facts import cite, fact, statement
from course_lib.lora import (LoRALinear, add_lora, load_lora, lora_state_dict, merge_lora, trainable_parameters,
                             unmerge_lora, use_adapter)
from course_lib.models import ByteTransformer, DigitsMLP, pretrained
from course_lib.setup import seed_everything
from course_lib.stats import si
from course_lib.tables import Table, shipped
from course_lib.training import accuracy
from course_lib.widgets import choice, explore, predict, slider

seed_everything(0, threads=1)  # one thread: networks this small gain nothing from two
meter = Meter()

# %% [markdown]
# ## Part one: one reader, four scanners
#
# The article hopes that models which are trained once can be adapted to many small tasks, and that few parameters are
# enough for it.

# %%
claim("B22").card()

# %% [markdown]
# To train a trained network a little more, on a task of your own, is called *fine-tuning*. The trained network is the
# *base*. Our base reads clean handwritten digits. Then it gets work in four offices. Each has a scanner with a fault of its
# own, and each can label only a few scans.

# %%
def reader():
    """The network to be adapted: 64 pixels in, three hidden layers of 512 units, 10 digits out."""
    return DigitsMLP(hidden=(512, 512, 512))


HIDDEN = ("layers.0", "layers.2", "layers.4")  # its hidden layers by name; "layers.6", the head, gives the answer
LABELS = 50  # from each scanner, five of every digit


def office(data):
    """(clean images that the reader learns from, images that are kept for the scanners)."""
    return Split(data.train.x[:-250], data.train.y[:-250]), Split(data.train.x[-250:], data.train.y[-250:])

# %% [markdown]
# Its training is one short loop. It changes only those weights that may learn. We shall use it for every method.

# %%
def learn(model, split, lr, seed=0, steps=150, batch_size=32):
    """Adam, in random batches, on the weights that may learn."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    rng, batches = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        batches = batches or list(torch.randperm(len(split), generator=rng).split(batch_size))
        rows = batches.pop()
        loss = F.cross_entropy(model(split.x[rows]), split.y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()

# %%
data = digits(0)
clean, pool = office(data)
learn(reader(), clean, lr=1e-3, steps=2)  # a warm-up: the first optimiser of a program loads much code
with meter.block("training the base") as block:
    base = learn(reader(), clean, lr=1e-3, steps=400)
block.reading

# %% [markdown]
# Here are the scanners. One has a shadow that deepens to the right, one cuts off the last rows, one has pale ink on grey
# paper. And one takes the page sideways.

# %% jupyter={"source_hidden": true}
def mosaic(rows):
    """One picture [height, width] of images [rows, columns, 64], with thin white lines between them."""
    framed = F.pad(rows.view(*rows.shape[:2], 8, 8).clamp(0, 1), (1, 1, 1, 1))
    return framed.transpose(1, 2).flatten(0, 1).flatten(1)


def scanner_figure():
    fig, ax = plots.figure("Can you still read them?", "scanner", "test image, and what it is", width=5, height=3.2)
    some = Split(data.test.x[4:7], data.test.y[4:7])
    views = torch.stack([some.x, *(shifted(some, shift).x for shift in SHIFTS)], dim=1)
    ax.imshow(mosaic(views), cmap="gray_r", vmin=0, vmax=1)
    ax.set_xticks([10 * i + 4.5 for i in range(5)], ["clean", *SHIFTS])
    ax.set_yticks([4.5, 14.5, 24.5], [f"a {y}" for y in some.y.tolist()])
    ax.grid(visible=False)
    return fig

# %%
plots.show(scanner_figure(), alt="Three handwritten digits, seen by five scanners: clean, with a shadow that deepens to the "
           "right, without the last three rows, pale on grey paper, and turned by a quarter.")

# %%
reads = {shift: accuracy(base, shifted(data.test, shift)) for shift in SHIFTS}
Table(["scanner", "right"], [("clean", f"{accuracy(base, data.test):.0%}"), *((s, f"{a:.0%}") for s, a in reads.items())],
      caption="The base, as it is, on test images")

# %% tags=["nbval-check-output"]
print(f"labelled scans for each office: {LABELS}; for the base: {len(clean):,} clean images")
print("right on more than nine tenths of the clean images:", accuracy(base, data.test) > 0.9)
print("on less than seven tenths from every damaged scanner:", max(reads.values()) < 0.7)

# %% [markdown]
# These four faults were not chosen at random. How they were chosen comes after the results, for it would give them away.
#
# ## Part two: learn little, keep the rest
#
# LoRA, for *low-rank adaptation*, leaves a weight matrix $W$ as it is. It adds a product of two thin matrices, $A$ and $B$:
#
# $$ y = W x + b + \frac{\alpha}{r} \, B A x $$
#
# $A$ has $r$ rows and $B$ has $r$ columns. The number $r$ is the *rank*. Only $A$ and $B$ learn. The number $\alpha$ is a fixed
# scale; here $\alpha = r$, so the factor is one. Below is the forward pass, from `course_lib.lora`. There each row of `x` is an
# example, so the matrices stand on the other side.

# %%
print(inspect.getsource(LoRALinear.forward))

# %% [markdown]
# At the start $A$ holds small random numbers (Gaussian, with standard deviation $1/\sqrt{3 d_{in}}$), and $B$ is zero. So a new
# adapter changes nothing, and learning begins where the base stands.

# %% tags=["nbval-check-output"]
x = data.test.x[:100]
fresh = add_lora(copy.deepcopy(base), rank=1, targets=HIDDEN)
everything, few_numbers = count(base, x[:1]).parameters, trainable_parameters(fresh)
print(f"one hidden layer: {512 * 512:,} weights; its A and B of rank 1: {512 + 512:,}")
print(f"the whole reader: {everything:,} parameters; its adapter of rank 1: {few_numbers:,}")
print(f"{everything / few_numbers:.0f} times fewer, {few_numbers / everything:.2%} of all")
print("at the start, the same answers to the last bit:", torch.equal(fresh(x), base(x)))

# %% [markdown]
# *Full fine-tuning* lets all weights learn. What it gains over the untouched base, on new scans, is the measure.

# %%
guess_share = predict(
    "05-share-of-gain",
    "What share of full fine-tuning's gain does the adapter of rank 1 recover on the first three scanners?",
    low=0, high=120, guess=50, unit="%",
)
guess_share

# %% [markdown]
# ### The rivals
#
# - **Head only**: the last layer learns, the rest gives it features.
# - **BitFit**: only the biases learn. (Ben Zaken and others, <https://arxiv.org/abs/2106.10199>.)
# - **Bottleneck**: behind each hidden layer a small network of its own. Such adapters, also called *serial*, came first.
#   (Houlsby and others, <https://arxiv.org/abs/1902.00751>.)
# - **From scratch**: a new network, and no base at all. If it wins, the base was worth nothing here, with this recipe. It
#   is often left out. We never leave it out.
#
# In the tables a number behind a name is a size: the rank of LoRA, or the width of a bottleneck's small network.

# %%
def only(model, wanted):
    """Lets those parameters learn whose name `wanted` accepts, and freezes the others."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(wanted(name))
    return model

# %%
class Bottleneck(nn.Module):
    """A hidden layer and, behind its ReLU, a narrow network whose answer is added. It starts at 0."""

    def __init__(self, layer, size):
        super().__init__()
        self.layer = layer
        self.down, self.up = nn.Linear(layer.out_features, size), nn.Linear(size, layer.out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        h = F.relu(self.layer(x))
        return h + self.up(F.relu(self.down(h)))


def add_bottlenecks(model, size):
    for i in (0, 2, 4):
        model.layers[i], model.layers[i + 1] = Bottleneck(model.layers[i], size), nn.Identity()  # its ReLU is inside now
    return only(model, lambda name: ".up." in name or ".down." in name)

# %%
METHODS = {
    "from scratch": lambda base: reader(),
    "full fine-tuning": lambda base: only(base, lambda name: True),
    "head only": lambda base: only(base, lambda name: name.startswith("layers.6")),
    "BitFit": lambda base: only(base, lambda name: name.endswith("bias")),
    "bottleneck 1": lambda base: add_bottlenecks(base, 1),
    "bottleneck 4": lambda base: add_bottlenecks(base, 4),
    **{f"LoRA {k}": lambda base, k=k: add_lora(base, k, HIDDEN) for k in (1, 2, 4, 8, 16)},
}

# %% [markdown]
# **The learning rate** decides much, and each method wants another. Whoever tunes one side only can prove anything. So
# each method got its best rate for each scanner, from one grid of seven, on the validation images of three other splits.
# (In a real office these many labelled images would not be there. All methods have this help alike.) Two rates stand at an
# end of the grid: there a still better one may lie outside. If you try a rank of your own, it needs a line above, and a
# rate.

# %%
table = shipped("05_adapters")
rate = {(row["task"], row["method"]): row["rate"] for row in table.rows if row["kind"] == "rate"}
Table(["method", *SHIFTS], [(m, *(f"{rate[task, m]:g}" for task in SHIFTS)) for m in METHODS],
      caption="Learning rates, chosen on validation images; where several are equally good, the middle one")

# %% [markdown]
# Now they adapt, with the same few labels and the same number of steps. (Three in-between sizes wait for the table below.)

# %%
def adapt(task, method):
    """(the base adapted to a scanner, the reading of its training)."""
    split = shifted(few(pool, LABELS), task)
    seed_everything(1000, threads=1)
    net = METHODS[method](copy.deepcopy(base))
    with meter.block(f"{method}, {task}") as block:
        learn(net, split, rate[task, method])
    return net, block.reading


LIVE = [m for m in METHODS if m not in ("bottleneck 1", "LoRA 2", "LoRA 8")]
adapted, reading, right = {}, {}, {}
for key in [(task, method) for task in SHIFTS for method in LIVE]:
    net, reading[key] = adapt(*key)
    right[key] = accuracy(net, shifted(data.test, key[0]))
    if key[1] in ("LoRA 1", "bottleneck 4"):  # for part five
        adapted[key] = net

# %%
Table(["method", *SHIFTS],
      [("base, as it is", *(f"{reads[task]:.0%}" for task in SHIFTS)),
       *((m, *(f"{right[task, m]:.0%}" for task in SHIFTS)) for m in LIVE)],
      caption="Right on test images, one seed, just now")

# %% [markdown]
# ### One seed is an anecdote
#
# Five seeds take minutes, so they come from a table that ships with the course. In each, the split of the images, the
# base, the few labels and the start differ.

# %%
print(table.made)
MILD = ("backlit", "cropped", "faded")
runs = {(row["task"], row["method"], row["seed"]): row for row in table.rows if row["kind"] == "run"}
seeds = sorted({seed for *_, seed in runs})


def share(task, method):
    """Share of full fine-tuning's gain over the base, in %, for each seed."""
    found = []
    for seed in seeds:
        row, full = runs[task, method, seed], runs[task, "full fine-tuning", seed]
        found.append(100 * (row["accuracy"] - row["base"]) / (full["accuracy"] - full["base"]))
    return np.array(found)

# %% tags=["nbval-check-output"]
def spread(values):
    return f"{np.mean(values):.1f} ({np.min(values):.0f} to {np.max(values):.0f})"


percent = {(task, m): [100 * runs[task, m, s]["accuracy"] for s in seeds] for task in SHIFTS for m in METHODS}
print(Table(["method", *SHIFTS], [(m, *(spread(percent[task, m]) for task in SHIFTS)) for m in METHODS],
            caption="Right on test images, in %: mean of five seeds, lowest to highest"))

# %% tags=["nbval-check-output"]
print(Table(["method", *SHIFTS], [(m, *(f"{share(task, m).mean():.0f}" for task in SHIFTS)) for m in METHODS],
            caption="Share of full fine-tuning's gain, in %, mean of five seeds"))
one = {task: share(task, "LoRA 1") for task in MILD}
print(f"LoRA of rank 1 on the three mild faults: {np.mean(list(one.values())):.1f} % of the gain; worst seed "
      f"{min(s.min() for s in one.values()):.0f} %")

# %%
guess_share.reveal(float(np.mean(list(one.values()))))

# %% jupyter={"source_hidden": true}
def share_figure():
    fig, axes = plots.figure("Which method recovers what full fine-tuning gains?", "share of the gain (%)", panels=2,
                             shared_y=True, height=4.2)
    names = [m for m in METHODS if m != "full fine-tuning"]
    mild = [np.mean([share(task, m) for task in MILD], axis=0) for m in names]
    turned = [share("rotated", m) for m in names]
    for ax, found, title in zip(axes, (mild, turned), ("three mild faults, mean", "rotated")):
        plots.bars(ax, names, [f.mean() for f in found], spread=([f.min() for f in found], [f.max() for f in found]),
                   horizontal=True)
        ax.axvline(100, color="black", linestyle="--", linewidth=1)
        ax.set_title(title, fontsize=10)
    axes[0].set_ylabel("what may learn")
    return fig

# %% course={"picture": "images/05_share_of_gain.png"}
plots.show(share_figure(), alt="Two panels of horizontal bars: the share of full fine-tuning's gain that each method "
           "recovers. On the three mild faults all adapters reach ninety-five per cent or more, the head alone a little less, "
           "and training from scratch some three quarters. On rotated images training from scratch is the longest bar, LoRA "
           "grows with its rank, and the biases alone recover less than half. Lines show the lowest and highest of five seeds.")

# %% [markdown]
# Left of the dashed line: less than full fine-tuning. The thin lines go from the lowest to the highest of five seeds.
#
# On the mild faults nearly everything works, even the biases alone. The rotated page is another matter. There the rank
# counts, the biases alone are lost, and **a new network does as well as any, without a base**. Perhaps what the base has
# learned is where strokes stand on an upright page.
#
# So the question is not "do adapters work?" but "is my task close to what the base has learned?". One run from scratch
# helps to answer it. It also shows that our measure flatters. A new network already gets much of the gain. How much of
# what the *base* adds does the adapter recover?

# %% tags=["nbval-check-output"]
mean = {key: np.mean(values) for key, values in percent.items()}
for task in SHIFTS:
    new, full, thin_one = (mean[task, m] for m in ("from scratch", "full fine-tuning", "LoRA 1"))
    recovered = f", the adapter of rank 1 recovers {(thin_one - new) / (full - new):.0%} of that" if full > new + 2 else ""
    print(f"{task}: the base adds {full - new:+.1f} points to a new network{recovered}")
turned = {m: share("rotated", m).mean() for m in ("LoRA 1", "LoRA 16", "from scratch")}
print("rotated, share of the gain: " + ", ".join(f"{m} {part:.0f} %" for m, part in turned.items()))

# %% [markdown]
# **How these four were chosen.** A dozen faults were tried beforehand, with two seeds. With blur and with stripes an adapter
# did well. With noise, full fine-tuning gained nothing. With ink and paper exchanged it failed, too. With images that were
# mirrored or moved, training from scratch beat the adapter. Then three faults were taken on which a small adapter does
# well, and one on which it does badly. So "three of four" says nothing about how often adapters work. Remember that
# whenever you see a demonstration.
#
# ### Less data?

# %%
claim("B24").card()

# %% [markdown]
# On the three mild faults the same fifty labels bring more to whoever has a base. Whether fewer labels would be enough,
# and what the base itself has seen, is the matter of lesson 06. To act locally is that of lesson 07. One published study
# compared a small model with a large one:

# %% tags=["nbval-check-output"]
print(statement("ph_mobilellm_350m").text)
added = {task: mean[task, "full fine-tuning"] - mean[task, "from scratch"] for task in SHIFTS}
helps = [task for task, points in added.items() if points > 2]
print("the base adds more than two points for:", ", ".join(helps))
verdict("B24", "supported" if len(helps) == len(SHIFTS) else "loosely stated" if helps else "contested",
        "the same few labels bring more with a base that fits the task, and nothing more with one that does not")

# %% [markdown]
# ## Part three: the whole bill
#
# Two hundred times fewer numbers learn. What else falls two hundred times?

# %%
guess_time = predict(
    "05-time", "What does one training step with the adapter of rank 1 cost, in percent of a step of full fine-tuning "
    "(CPU time)?", low=0, high=100, guess=5, unit="%",
)
guess_time

# %% [markdown]
# ### Count
#
# A weight matrix of $m$ by $n$ meets each example three times in full fine-tuning: in the forward pass, and twice on the way
# back. Each time it costs $2mn$ FLOPs, together $6$ for each weight. The two products on the way back serve two ends. One
# gives the gradient of the layer's *input*: the layers before it need that. The other gives the gradient of the *weight*.
# A frozen weight needs only the first. So it costs $4$ in place of $6$, and not $0$. With $N$ weights, of which $T$ learn, and $D$
# examples, a step takes about $(4N + 2T)\,D$ FLOPs.

# %% tags=["nbval-check-output"]
batch = torch.zeros(32, 64)
bill = {method: count_step(METHODS[method](copy.deepcopy(base)), batch) for method in METHODS}
whole, thin = bill["full fine-tuning"], bill["LoRA 1"]
for name, b in {"full": whole, "LoRA 1": thin}.items():
    formula = fine_tuning_flops(b.parameters, b.trainable_parameters, len(batch))
    print(f"{name:6s} forward {b.forward_flops:,}, backward {b.backward_flops:,} FLOPs: {b.flops / formula:.0%} of (4N + 2T)D")
print(f"LoRA 1 does {thin.flops / whole.flops:.0%} of the FLOPs of full fine-tuning")

# %% [markdown]
# The formula counts a little too much here: before the first layer there is none that needs the gradient of its input.
# (And our $N$ holds the biases, which multiply nothing.)
#
# Memory has four parts. *Weights*: all of them must be there, frozen or not. *Gradients*: one number for each weight that
# learns. What the *optimiser* keeps: Adam has two numbers for each of them. *Activations*: what the forward pass stores
# for the way back. And on the disk there is a *file* for each task.

# %% tags=["nbval-check-output"]
kB = 1000
print(Table(["method", "learn", "FLOPs (millions)", "weights", "gradients", "optimiser", "activations", "file"],
            [(m, b.trainable_parameters, round(b.flops / 1e6), *(f"{n / kB:,.1f}" for n in (
                b.weight_bytes, b.gradient_bytes, b.optimizer_bytes, b.activation_bytes, 4 * b.trainable_parameters)))
             for m, b in bill.items()],
            caption="One training step of 32 images, counted; memory and file for each task in kB"))

# %% [markdown]
# Read down the columns. Gradients, optimiser and file fall with the number of parameters that learn. The FLOPs fall by a
# third, and then no further, however few parameters learn; only the head alone saves more, because nothing is sent back
# through the layers before it. And the activations do not fall at all with LoRA: $A$ needs the input of its layer to learn.
#
# And what did it take in time and energy, just now? These are readings of the runs above.

# %%
def spent(method):
    """CPU seconds and joules of the four runs, per run, with the label of the joules."""
    four = [reading[task, method] for task in SHIFTS]
    joules = [r.joules for r in four if r.joules is not None]
    return (si(np.mean([r.cpu_seconds for r in four]), "s"),
            f"{si(np.mean(joules), 'J')} ({four[0].label})" if joules else "no joules")


Table(["method", "share that learns", "CPU time", "energy", "FLOPs of the run (billions)"],
      [(m, f"{bill[m].trainable_parameters / whole.parameters:.2%}", *spent(m), round(150 * bill[m].flops / 1e9, 1))
       for m in LIVE], caption="One adaptation of 150 steps, mean of the four scanners")

# %%
for method in ("full fine-tuning", "LoRA 1"):
    reading["faded", method].log()  # into your ledger

# %% [markdown]
# ### Measure
#
# Those runs came one after the other. A fair comparison takes turns: step against step, many times.

# %%
def stepper(model, x, y, lr=1e-3):
    """A function that does one training step."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        optimizer.step()
    return step

# %%
faded = shifted(few(pool, LABELS), "faded")
steps = {m: stepper(METHODS[m](copy.deepcopy(base)), faded.x[:32], faded.y[:32]) for m in ("full fine-tuning", "LoRA 1")}
on_digits = meter.compare(steps["LoRA 1"], steps["full fine-tuning"], pairs=8, window=0.06, names=("LoRA 1", "full"))
on_digits

# %%
guess_time.reveal(100 * on_digits.ratio)

# %% [markdown]
# That is far from two hundred times, and yet more than the third that the count promised. Where does it come from? We time
# the three parts of a step one by one. With a large batch, too; and on a network that is closer to real ones, the byte
# model of lesson 03. There one more method joins: it puts adapters only on one layer of each block, the first of its attention.

# %%
TEXT_BYTES = 50_000  # of the prose, to learn from


def plain(model):
    """A byte model without its early exits, which are not used here."""
    del model.exits
    return model


TEXT_METHODS = {
    "from scratch": lambda base: plain(ByteTransformer()),
    "full fine-tuning": lambda base: only(base, lambda name: True),
    "head only": lambda base: only(base, lambda name: name.startswith(("head", "norm."))),
    "BitFit": lambda base: only(base, lambda name: name.endswith("bias")),
    **{f"LoRA {k}": lambda base, k=k: add_lora(base, k, "blocks.*") for k in (1, 4, 16)},
    "LoRA 8, attention": lambda base: add_lora(base, 8, "*.qkv"),
}

# %%
def phases(model, x, y, repeats):
    """Median CPU milliseconds of the forward pass, the backward pass and the optimiser."""
    optimizer, found = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3), []
    for _ in range(repeats + 2):
        times = [time.process_time()]
        loss = F.cross_entropy(model(x).flatten(0, -2), y.flatten())
        times.append(time.process_time())
        loss.backward()
        times.append(time.process_time())
        optimizer.step()
        times.append(time.process_time())
        optimizer.zero_grad()
        found.append(1000 * np.diff(times))
    return np.median(found[2:], axis=0)  # the first two warm up

# %%
text = corpus("prose")
pieces = text.train[torch.arange(4)[:, None] * 129 + torch.arange(129)].long()
parts = []
for name, batch, repeats in (("digits, batch of 32", (faded.x[:32], faded.y[:32]), 100),
                             ("digits, batch of 512", (clean.x[:512], clean.y[:512]), 20)):
    parts += [(name, m, *phases(METHODS[m](copy.deepcopy(base)), *batch, repeats)) for m in ("full fine-tuning", "LoRA 1")]
for m in ("full fine-tuning", "LoRA 4", "LoRA 8, attention", "BitFit"):
    parts.append(("text", m, *phases(TEXT_METHODS[m](plain(pretrained())), pieces[:, :-1], pieces[:, 1:], 5)))
Table(["network", "method", "forward", "backward", "optimiser", "together"],
      [(name, m, *(f"{t:.2f}" for t in (*ms, sum(ms)))) for name, m, *ms in parts],
      caption="CPU time of one step in milliseconds: medians, taken one after the other")

# %% [markdown]
# Compare the columns. Adam visits every weight that learns, once in each step, however few the examples are: with a small
# batch that is most of a full step, and nearly all of it is saved. With a larger batch, and on text, the two passes are
# most of the step. The backward pass gets cheaper. The forward pass does not: it has two thin products more for each
# layer. An adapter on fewer layers, or no adapter but the biases, pays less for that.

# %% tags=["nbval-check-output"]
text_bill = {m: count_step(prepare(plain(pretrained())), pieces[:, :-1]) for m, prepare in TEXT_METHODS.items()}
print(Table(["method", "learn", "FLOPs (billions)", "gradients + optimiser", "activations", "all memory", "file"],
            [(m, b.trainable_parameters, f"{b.flops / 1e9:.1f}", *(f"{n / 1e6:,.2f}" for n in (
                b.gradient_bytes + b.optimizer_bytes, b.activation_bytes, b.memory_bytes, 4 * b.trainable_parameters)))
             for m, b in text_bill.items()],
            caption="One training step on 4 pieces of 128 bytes, counted; memory and file in MB"))

# %%
text_steps = {m: stepper(TEXT_METHODS[m](plain(pretrained())), pieces[:, :-1], pieces[:, 1:])
              for m in ("full fine-tuning", "LoRA 4")}
on_text = meter.compare(text_steps["LoRA 4"], text_steps["full fine-tuning"], pairs=6, window=0.2, names=("LoRA 4", "full"))
del text_steps  # gives back the memory of two optimisers
on_text

# %% [markdown]
# Here the clock shows less than the third that the count promises.
#
# ### Where does it go?
#
# The same step, from the weights that learn down to the clock: how many times less than full fine-tuning.

# %% tags=["nbval-check-output"]
def times_less(full, thin):
    """{what: full over thin}, counted."""
    learn = full.trainable_parameters / thin.trainable_parameters
    kept = (full.gradient_bytes + full.optimizer_bytes) / (thin.gradient_bytes + thin.optimizer_bytes)
    return {"weights that learn": learn, "file for each task": learn, "gradients, optimiser": kept,
            "all training memory": full.memory_bytes / thin.memory_bytes, "FLOPs of a step": full.flops / thin.flops,
            "activations": full.activation_bytes / thin.activation_bytes}


falls = {"digits, LoRA 1": times_less(whole, thin),
         "text, LoRA 4": times_less(text_bill["full fine-tuning"], text_bill["LoRA 4"])}
print(Table(["times less", *falls], [(what, *(f"{f[what]:,.2f}" for f in falls.values())) for what in falls["digits, LoRA 1"]]))
full_text, thin_text = text_bill["full fine-tuning"], text_bill["LoRA 4"]
print(f"text: FLOPs {1 - thin_text.flops / full_text.flops:.0%} less, memory {1 - thin_text.memory_bytes / full_text.memory_bytes:.0%} less")

# %% [markdown]
# The paper that brought LoRA gives such figures for GPT-3, a very large model. The first line became famous. (It holds for
# a small setting, with adapters on part of the attention only. Speed is that of one GPU.)

# %% tags=["nbval-check-output"]
memory = fact("lora_vram_full").value / fact("lora_vram_lora").value
speed = fact("lora_speed_lora").value / fact("lora_speed_full").value
print(f"weights that learn: {fact('lora_ratio').text} fewer (published)")
print(f"GPU memory in training: {fact('lora_vram_full').text} to {fact('lora_vram_lora').text}, {memory:.1f} times less (published)")
print(f"speed: {fact('lora_speed_full').text} to {fact('lora_speed_lora').text}: {1 - 1 / speed:.0%} less time (published)")

# %% jupyter={"source_hidden": true}
def bill_figure():
    fig, ax = plots.figure("How many times less than full fine-tuning?", "times less (logarithmic; at 1 nothing is saved)",
                           "what is counted, or measured", height=4.4)
    names = [*falls["text, LoRA 4"], "time of a step"]
    published = [fact("lora_ratio").value] * 2 + [math.nan, memory, math.nan, math.nan, speed]
    for i, (label, f, c) in enumerate([*((n, f, c) for (n, f), c in zip(falls.items(), (on_digits, on_text))),
                                       ("GPT-3 (published)", None, None)]):
        x = published if f is None else [*f.values(), 1 / c.ratio]
        y = np.arange(len(names)) + 0.25 * (i - 1)
        ax.plot(x, y, label=label, **plots.series(i) | {"linestyle": "none", "markersize": 9})
        if c is not None:  # the only one that is measured
            ax.plot([1 / c.high, 1 / c.low], [y[-1]] * 2, color="black", linewidth=1.2)
    for y in np.flatnonzero(np.isnan(published)):
        ax.text(2.5, y + 0.25, "GPT-3: not published", fontsize=8, va="center")
    ax.set(xscale="log", xlim=(0.7, 3e4))
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.axvline(1, color="black", linewidth=1)
    ax.legend(loc="lower right")
    return fig

# %% course={"picture": "images/05_bill.png"}
plots.show(bill_figure(), alt="Points on a logarithmic axis: how many times less LoRA takes than full fine-tuning, for our "
           "digit reader, our text model, and GPT-3 where it was published. Weights that learn and files lie far right, at "
           "some tens, some hundreds and ten thousand times, our gradients and optimiser with them. Training memory lies "
           "between one and four times, FLOPs at one and a half, activations at one, time between one and three.")

# %% tags=["nbval-check-output"]
work_left = max(1 / f["FLOPs of a step"] for f in falls.values())
print(f"the work of a step that is left with LoRA: {work_left:.0%} or less; the formula for very few that learn: {4 / 6:.0%}")
verdict("B22", "loosely stated" if work_left > 0.5 and speed < 2 else "supported",
        "file and optimiser shrink with what learns; the work only by a third, and time by that and the optimiser's part")

# %% [markdown]
# ### And the base?
#
# The base was trained too. Its bill is paid once, and shared by all offices. Against the offices that train from scratch:

# %% tags=["nbval-check-output"]
base_flops = 400 * count_step(reader(), torch.zeros(32, 64)).flops
saved = 150 * (bill["from scratch"].flops - bill["LoRA 1"].flops)
print(f"training the base: {base_flops / 1e9:.0f} GFLOP; saved by one office that adapts: {saved / 1e9:.1f} GFLOP")
print(f"the base is paid back from {math.ceil(base_flops / saved)} offices on (the search for learning rates is left out)")

# %% [markdown]
# ## Part four: where few parameters are not enough
#
# The shipped byte model has read program code. We adapt it to prose, the language reference of Python. A few seconds of
# training, the same for all.

# %%
def learn_text(model, text, lr, seed=0, steps=40, batch_size=4):
    """Adam on random pieces of 128 bytes; each byte is to be foreseen from those before it."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    rng = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = text[torch.randint(len(text) - 129, (batch_size, 1), generator=rng) + torch.arange(129)].long()
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()

# %%
@torch.inference_mode()
def bits_per_byte(model, text, n=64):
    """Mean over n pieces of 128 bytes, in even steps through the text."""
    rows = text[torch.linspace(0, len(text) - 129, n).long()[:, None] + torch.arange(129)].long()
    nats = [F.cross_entropy(model(r[:, :-1]).flatten(0, 1), r[:, 1:].flatten()).item() for r in rows.split(16)]
    return sum(nats) / len(nats) / math.log(2)  # in parts, which takes less memory

# %%
guess_text = predict(
    "05-text", "LoRA of rank 4 sits on every block of the text model. What share of full fine-tuning's gain does it recover?",
    low=0, high=120, guess=95, unit="%",
)
guess_text

# %%
text_table = shipped("05_adapters_text")
text_rate = {row["method"]: row["rate"] for row in text_table.rows if row["kind"] == "rate"}
bits = {"base, as it is": bits_per_byte(pretrained(), text.val)}
for method in ("full fine-tuning", "LoRA 4"):
    seed_everything(0, threads=1)
    model = TEXT_METHODS[method](plain(pretrained()))
    bits[method] = bits_per_byte(learn_text(model, text.train[:TEXT_BYTES], text_rate[method]), text.val)
Table(["method", "bits per byte"], [(m, f"{b:.3f}") for m, b in bits.items()], caption="On held-out prose, one seed, just now")

# %% tags=["nbval-check-output"]
print("both foresee prose better than the base:", max(bits["full fine-tuning"], bits["LoRA 4"]) < bits["base, as it is"] - 0.05)
start = next(row["bits_per_byte"] for row in text_table.rows if row["kind"] == "base")
found = {m: np.array([row["bits_per_byte"] for row in text_table.rows if row["kind"] == "run" and row["method"] == m])
         for m in TEXT_METHODS}
gain = {m: 100 * (start - b) / (start - found["full fine-tuning"]) for m, b in found.items()}
print(Table(["method", "learn (%)", "bits per byte", "share of the gain (%)", "lowest", "highest"],
            [(m, f"{100 * text_bill[m].trainable_parameters / full_text.trainable_parameters:.2f}", f"{found[m].mean():.3f}",
              *(f"{n:.0f}" if n > 0 else "-" for n in (g.mean(), g.min(), g.max()))) for m, g in gain.items()],
            caption=f"Five seeds from the shipped table; the base has {start:.3f} bits per byte"))
print("the gain of LoRA 4 stays below that of full fine-tuning in every seed:", bool((gain["LoRA 4"] < 100).all()))

# %%
guess_text.reveal(float(gain["LoRA 4"].mean()))

# %% [markdown]
# Here the adapter does *not* reach full fine-tuning. A higher rank comes closer, and pays with more parameters. So "as good
# as full fine-tuning" is a finding about a model, a task and a rank, and no law.
#
# And from scratch? In so few steps, from so little text, a new network stays far behind even the untouched base. Here the
# base is worth a great deal.

# %% [markdown]
# ### On a real model, if you have the internet
#
# The next cell does the same with a small language model from a hub, through the library `peft` that most people use. It
# needs a download, memory, and `pip install peft`. So it does nothing until you give it a name, such as
# `"HuggingFaceTB/SmolLM2-135M"`, or a folder that holds a model.

# %%
HUB = None


def adapt_hub(name, text, held_out, rank=4, lr=1e-3, steps=20, length=128):
    """Adapts a causal language model with LoRA through peft. (bits per byte before, after, learning, all parameters)."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids, held = (torch.tensor(tokenizer(t)["input_ids"]) for t in (text, held_out))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)

    def bits():
        pieces = held[:len(held) // length * length].view(-1, length)[:8]
        with torch.inference_mode():
            nats = model.eval()(pieces, labels=pieces).loss.item() * pieces[:, 1:].numel()
        return nats / math.log(2) / sum(len(tokenizer.decode(p[1:]).encode()) for p in pieces)

    before, rng = bits(), torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = ids[torch.randint(len(ids) - length, (2, 1), generator=rng) + torch.arange(length)]
        model.train()(rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return before, bits(), *model.get_nb_trainable_parameters()

# %%
if HUB:
    english = [bytes(part[:20_000].tolist()).decode(errors="ignore") for part in (text.train, text.val)]
    before, after, learning, everything_there = adapt_hub(HUB, *english)
    print(f"{HUB}: {before:.3f} to {after:.3f} bits per byte; {learning:,} of {everything_there:,} parameters learn")
else:
    print("Left out: no name in HUB.")

# %% [markdown]
# ## Part five: one base, many small files
#
# So far adapters save little work. Their strength is elsewhere. Each task is a small file beside one base.

# %% tags=["nbval-check-output"]
shelf = copy.deepcopy(base)
for task in MILD:
    load_lora(shelf, lora_state_dict(adapted[task, "LoRA 1"]), name=task)
buffer = io.BytesIO()
torch.save(lora_state_dict(shelf), buffer)
print(f"the base: {4 * everything:,} bytes of numbers; each adapter: {4 * few_numbers:,}")
print("its file, with names and all, has less than twice that:", buffer.getbuffer().nbytes < 2 * 4 * few_numbers)
for task in MILD:
    scans = shifted(data.test, task).x
    print(f"{task}: the adapter on the shelf gives the same answers:",
          torch.equal(use_adapter(shelf, task)(scans), adapted[task, "LoRA 1"](scans)))
print("with none of them, the base again:", torch.equal(use_adapter(shelf, None)(x), base(x)))

# %% [markdown]
# An adapter belongs to its base. So its file holds a fingerprint of it. We train another base, in the same way from another
# start. It refuses. And if we force it?

# %%
seed_everything(1, threads=1)
other = learn(reader(), clean, lr=1e-3, seed=1, steps=400)
saved_adapter = lora_state_dict(adapted["faded", "LoRA 1"])
try:
    load_lora(other, saved_adapter)
except ValueError as error:
    print(error)
forced = add_lora(copy.deepcopy(other), 1, HIDDEN)
forced.load_state_dict({f"{name}.default": value for name, value in saved_adapter.items() if "lora_" in name}, strict=False)
by = {"on its own base": adapted["faded", "LoRA 1"], "forced on another": forced, "that base without it": other}
Table(["adapter for faded scans", "right"], [(n, f"{accuracy(m, shifted(data.test, 'faded')):.0%}") for n, m in by.items()])

# %% tags=["nbval-check-output"]
print("on another base it is right on less than seven tenths:", accuracy(forced, shifted(data.test, "faded")) < 0.7)

# %% [markdown]
# With a hundred tasks, the published figures say the same. Let us redo their sum.

# %% tags=["nbval-check-output"]
def storage(tasks, base_bytes, adapter_bytes):
    """Bytes of (one base and an adapter for each task, a full copy for each task)."""
    return base_bytes + tasks * adapter_bytes, tasks * base_bytes


GPT3, FILE = fact("lora_deploy").to("byte"), fact("lora_ckpt").to("byte")
shared, copies = storage(100, GPT3, FILE)
print(f"GPT-3, 100 tasks: {shared / 1e9:,.1f} GB with adapters, {copies / 1e12:.0f} TB in full copies (our sum)")
print(f"published: {fact('lora_100tasks').text} and {fact('lora_100tasks_full').text}")
shared, copies = storage(100, 4 * everything, 4 * few_numbers)
print(f"our reader, 100 tasks: {shared / 1e6:.1f} MB and {copies / 1e6:.0f} MB, {copies / shared:.0f} times less")

# %% jupyter={"source_hidden": true}
SIZES = {"our reader": (4 * everything, 4 * few_numbers), "GPT-3 (published)": (GPT3, FILE)}


def storage_figure(model, tasks, rank):
    base_bytes, one_rank = SIZES[model]
    adapter = one_rank * rank if model == "our reader" else one_rank
    fig, ax = plots.figure("How much storage do the tasks need?", "tasks", "bytes stored")
    n = np.logspace(0, 4, 41)
    shared, copies = storage(n, base_bytes, adapter)
    for i, (name, values) in enumerate({"a full copy for each task": copies, "one base and adapters": shared}.items()):
        ax.plot(n, values, label=name, **{**plots.series(i), "marker": ""})
    ax.plot([tasks] * 2, storage(tasks, base_bytes, adapter), "k*", markersize=12)
    ax.set(xscale="log", yscale="log")
    ax.legend()
    return fig


def storage_words(model, tasks, rank):
    base_bytes, one_rank = SIZES[model]
    shared, copies = storage(tasks, base_bytes, one_rank * rank if model == "our reader" else one_rank)
    kind = f"rank {rank}" if model == "our reader" else "the published small setting"
    return (f"{model}, {tasks:,.0f} task{'s' * (round(tasks) > 1)}, {kind}: {si(shared, 'B')} with one base and adapters, "
            f"{si(copies, 'B')} in full copies, {copies / shared:,.2f} times as much.")

# %%
explore(storage_figure, alt=storage_words, model=choice(list(SIZES), label="model"),
        tasks=slider(1, 10_000, 100, log=True, label="tasks"), rank=slider(1, 16, 1, label="rank (our reader)"))

# %% [markdown]
# For one single task an adapter saves no storage: the base must be there all the same. The saving grows with every task
# that shares the base, until the adapters together are larger than the base.
#
# ### Merge: no extra work
#
# An adapter beside its layer costs two thin products more, for every query. But $W + \frac{\alpha}{r} B A$ is a matrix of
# the same size as $W$. Computed once and put in its place, it adds no work to any query. (Ours keeps a copy of the old
# weight, so that it can be undone.)

# %% tags=["nbval-check-output"]
one_image = x[:1]
beside = adapted["faded", "LoRA 1"]
merged = merge_lora(copy.deepcopy(beside))
for name, net in {"base": base, "adapter beside": beside, "merged": merged,
                  "bottleneck 4": adapted["faded", "bottleneck 4"]}.items():
    print(f"{name:14s} {count(net, one_image).flops:,} FLOPs for one image")
print("merged gives the same answers, up to rounding:", torch.allclose(merged(x), beside(x), rtol=0, atol=1e-3))
weights = [net.layers[0].weight for net in (unmerge_lora(copy.deepcopy(merged)), base)]
print("unmerged, the base's weights are back to the last bit:", torch.equal(*weights))

# %% [markdown]
# In operations the difference is small. For a single image the *calls* count more, as in lesson 01.

# %%
with torch.inference_mode():
    ratios = {name: meter.compare(lambda net=net: net(one_image), lambda: base(one_image), pairs=6, window=0.05,
                                  names=(name, "base"))
              for name, net in {"merged": merged, "adapter beside": beside,
                                "bottleneck 4": adapted["faded", "bottleneck 4"]}.items()}
Table(["network", "CPU time over that of the base", "95 % interval", "verdict"],
      [(name, f"{c.ratio:.2f}", f"{c.low:.2f} to {c.high:.2f}", c.verdict.replace("a lower", "cheaper").replace(
          "b lower", "dearer")) for name, c in ratios.items()], caption="One image; a difference must lie beyond a margin of 5 %")

# %% tags=["nbval-check-output"]
print(f"{fact('lora_infer').quantity}: {fact('lora_infer').text} (published)")
print(f"{fact('lora_infer_serial').quantity}: {fact('lora_infer_serial').text} (published)")
print(f"quality on one task: LoRA {fact('lora_mnli_lora').text}, full {fact('lora_mnli_full').text}; "
      f"on another {fact('lora_wikisql_lora').text}, {fact('lora_wikisql_full').text} (published)")

# %% [markdown]
# But a merged network serves *one* task. A server that keeps all adapters beside the base can answer queries for many tasks
# in one batch, and pays for it at each query.
#
# ### Where, and how wide?
#
# Three layers can carry an adapter, and its rank is yours. Look for a task on which rank matters. Then look for the layer
# that is the best place for one adapter, on each scanner.

# %% jupyter={"source_hidden": true}
PLACES = {"first layer": "layers.0", "second layer": "layers.2", "third layer": "layers.4", "all three": None}
RANKS = (1, 2, 4, 8, 16)


def results(task, place, rank):
    """(accuracy of five seeds in %, parameters that learn) of an adapter of this rank in this place."""
    method = f"LoRA {rank}" + (f" on {PLACES[place]}" if PLACES[place] else "")
    rows = [r for r in table.rows if r["kind"] in ("run", "place") and (r["task"], r["method"]) == (task, method)]
    return np.array([100 * r["accuracy"] for r in rows]), rows[0]["trainable"]


def place_figure(task, place, rank):
    fig, ax = plots.figure(f"How much rank does it need, and where? ({task})", "rank", "right (% of test images)")
    for i, name in enumerate(PLACES):
        found = [results(task, name, k)[0] for k in RANKS]
        middle, at = np.array([a.mean() for a in found]), np.array(RANKS) * 1.06 ** (i - 1.5)  # side by side
        ax.errorbar(at, middle, [middle - [a.min() for a in found], [a.max() for a in found] - middle], capsize=3,
                    label=name, **plots.series(i))
    full = np.mean(percent[task, "full fine-tuning"])
    ax.axhline(full, color="black", linewidth=1, linestyle=(0, (1, 3)), label="full fine-tuning")
    ax.plot([rank * 1.06 ** (list(PLACES).index(place) - 1.5)], [results(task, place, rank)[0].mean()], marker="*",
            markersize=17, color="white", markeredgecolor="black", linestyle="none", zorder=5, label="your choice")
    ax.set(xscale="log", ylim=(20, 100))  # the same for every scanner
    ax.set_xticks(RANKS, [str(k) for k in RANKS])
    ax.minorticks_off()
    ax.legend(fontsize=8, loc="lower right")
    return fig


# %% jupyter={"source_hidden": true}
def place_words(task, place, rank):
    (a, n), full = results(task, place, rank), np.mean(percent[task, "full fine-tuning"])
    start = np.mean([100 * runs[task, "LoRA 1", s]["base"] for s in seeds])
    others = ", ".join(f"{name} {results(task, name, rank)[0].mean():.1f}" for name in PLACES)
    return (f"{task}, rank {rank} on {place}: {n:,} parameters learn, {4 * n:,} bytes for each task; right {spread(a)} %, "
            f"which is {(a.mean() - start) / (full - start):.0%} of the gain of full fine-tuning ({full:.1f} %). The means at "
            f"this rank: {others}.")

# %%
explore(place_figure, alt=place_words, task=choice([*SHIFTS], "rotated", label="scanner"),
        place=choice([*PLACES], "all three", label="adapters on"), rank=choice({str(k): k for k in RANKS}, 1, label="rank"))

# %% [markdown]
# On rotated pages rank matters in every place. For one layer alone, the first is the best place at each rank, and the third
# the worst: the first layer is the one that sees the pixels. With the highest rank, on the first layer alone, the adapter
# does at least as well as on all three, with less than a quarter of the parameters. On the mild scanners the curves are
# nearly flat: more rank is only more to store.
#
# ### Verdict

# %%
claim("B23").card()

# %% tags=["nbval-check-output"]
in_use = [count(net, one_image).flops for net in (merged, base)]
shares_found = {"mild faults": np.mean(list(one.values())), "rotated": turned["LoRA 1"], "text, rank 4": gain["LoRA 4"].mean()}
print("quality, share of full fine-tuning's gain: " + ", ".join(f"{n} {part:.0f} %" for n, part in shares_found.items()))
print(f"energy in use, by the count: {in_use[0] / in_use[1]:.0%} of the base's; in training {work_left:.0%} or less is left")
better = min(shares_found.values()) > 100 and in_use[0] < in_use[1]
verdict("B23", "supported" if better else "contested" if max(shares_found.values()) > 90 else "misattributed",
        "a third of the work of training is saved and none in use; quality is near at best; storage is the gain")

# %%
claim("B21").card()

# %% [markdown]
# This claim came up in lesson 04. Now you have met both techniques. Experts choose for each *token* which part of a large
# network works; they are trained with it, and all of them are stored. Adapters add a few parameters for a *task*. They
# come after training, and the whole base works for every query.

# %% tags=["nbval-check-output"]
adds = count(beside, one_image).flops >= count(base, one_image).flops
print("with an adapter the whole base works for every query, and nothing is left out:", adds)
verdict("B21", "misattributed" if adds else "contested", "few parameters for a subtask: these are adapters, not experts")

# %% [markdown]
# ## What the figures do not say
#
# - The four scanners were chosen, and our images are small. Another fault may lie anywhere between mild and rotated.
# - Gaps of a point or two between methods are within the spread of the seeds. The seeds are other splits of the same
#   images, so they show less luck than new images would.
# - Each learning rate was chosen on more labelled images than an office would have, and the search cost more work than all
#   adaptations together. The text rates come from one seed only.
# - Our processor is an ordinary one and our batches are small. On a GPU the parts of a step weigh differently. The published
#   figures on GPT-3 come from one laboratory.
# - Joules of a few hundred milliseconds, from a model of the processor, say little more than the CPU time does.
# - Activations are counted as PyTorch keeps them, without those of the loss. Recomputing them saves memory, and costs time.
# - Our adapters on text stand on every layer of the blocks. On part of them they cost less memory, and learn less.
#
# ## What you have seen
#
# - A low-rank adapter leaves the base's weights alone, starts without any effect, and can be saved, exchanged and merged.
# - On mild faults an adapter with less than one hundredth of the parameters recovers nearly all of what full fine-tuning
#   gains. On rotated pages it does not, and a new network is as good. Rates were chosen for all sides, on other images.
# - Parameters, gradients, optimiser and file shrink tens to hundreds of times. The FLOPs of a step shrink by a third, for
#   frozen weights still work, forward and back. Time falls by what these FLOPs and the optimiser cost: by more than half in
#   our small network with a small batch, and by far less on text.
# - What adapters save is storage and sharing: one base, many small files. Merged, they add no work to a query, and save
#   none either. Where the base does not fit the task, they are not worth having.
#
# **Now do** [exercise 05](../exercises/05_adapters.ipynb). **Next:** [lesson 06](06_less_data.ipynb).
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
cite("lora_ratio", "lora_vram_full", "lora_vram_lora", "lora_speed_full", "lora_speed_lora", "lora_deploy", "lora_ckpt",
     "lora_100tasks", "lora_100tasks_full", "lora_infer", "lora_infer_serial", "lora_mnli_lora", "lora_mnli_full",
     "lora_wikisql_lora", "lora_wikisql_full", "ph_mobilellm_350m")
