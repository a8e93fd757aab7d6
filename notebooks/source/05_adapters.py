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
# - write the whole bill of a training step, and say where a saving of two hundred times becomes one of a third;
# - say what adapters really save, and when they are not worth having.
#
# **You need** about 50 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the
# cells one by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** B21 to B24. **Before:** lesson 04. **After:** exercise 05.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import copy
import inspect
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count, count_step, fine_tuning_flops
from course_lib.data import SHIFTS, Split, corpus, digits, few, shifted
from course_lib.energy import Meter
from course_lib.facts import cite, fact
from course_lib.lora import (LoRALinear, add_lora, load_lora, lora_state_dict, merge_lora, trainable_parameters,
                             unmerge_lora, use_adapter)
from course_lib.models import DigitsMLP, pretrained
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
with meter.block("training the base") as block:
    base = learn(reader(), clean, lr=1e-3, steps=400)
block.reading

# %% [markdown]
# Here are the scanners. One has a lamp behind the paper, one cuts off the last rows, one has little ink on grey paper.
# And one takes the page sideways.

# %% jupyter={"source_hidden": true}
def mosaic(rows):
    """One picture [height, width] of images [rows, columns, 64], with thin grey lines between them."""
    framed = F.pad(rows.view(*rows.shape[:2], 8, 8).clamp(0, 1), (0, 1, 0, 1), value=0.5)
    return framed.transpose(1, 2).flatten(0, 1).flatten(1)


def scanner_figure():
    fig, ax = plots.figure("Can you still read them?", "scanner", "test images", width=5, height=3.2)
    some = Split(data.test.x[4:7], data.test.y[4:7])
    views = torch.stack([some.x, *(shifted(some, shift).x for shift in SHIFTS)], dim=1)
    ax.imshow(mosaic(views), cmap="gray_r", vmin=0, vmax=1)
    ax.set_xticks([9 * i + 4 for i in range(5)], ["clean", *SHIFTS])
    ax.set_yticks([4, 13, 22], ["first", "second", "third"])
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
# **How these four were chosen.** Not at random. A dozen faults were tried beforehand, with few seeds. Three were taken on
# which a small adapter does well, and one on which it does badly. So "three of four" says nothing about how often
# adapters work. Remember it whenever you see a demonstration.
#
# ## Part two: learn little, keep the rest
#
# LoRA, for *low-rank adaptation*, leaves a weight matrix $W$ as it is. It adds a product of two thin matrices, $A$ and $B$:
#
# $$ y = W x + b + \frac{\alpha}{r} \, B A x $$
#
# $A$ has $r$ rows and $B$ has $r$ columns. The number $r$ is the *rank*. Only $A$ and $B$ learn. Here is the forward pass,
# from `course_lib.lora`.

# %%
print(inspect.getsource(LoRALinear.forward))

# %% [markdown]
# At the start $B$ is zero. So a new adapter changes nothing, and learning begins where the base stands.

# %% tags=["nbval-check-output"]
x = data.test.x[:100]
adapted = add_lora(copy.deepcopy(base), rank=1, targets=HIDDEN)
everything, few_numbers = count(base, x[:1]).parameters, trainable_parameters(adapted)
print(f"one hidden layer: {512 * 512:,} weights; its A and B of rank 1: {512 + 512:,}")
print(f"the whole reader: {everything:,} parameters; its adapter of rank 1: {few_numbers:,}")
print(f"{everything / few_numbers:.0f} times fewer, {few_numbers / everything:.2%} of all")
print("at the start, the same answers to the last bit:", torch.equal(adapted(x), base(x)))

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
# - **Bottleneck**: behind each hidden layer a small network of its own. Such adapters came first. (Houlsby and others,
#   <https://arxiv.org/abs/1902.00751>.)
# - **From scratch**: a new network, and no base at all. If it wins, the base was worth nothing here. It is often left
#   out. We never leave it out.

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
        model.layers[i] = Bottleneck(model.layers[i], size)
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
# each method got its best rate for each scanner, from one grid, on validation images of three seeds that are used for
# nothing else. (In a real office these many labelled images would not be there. All methods have this help alike.)

# %%
table = shipped("05_adapters")
rate = {(row["task"], row["method"]): row["rate"] for row in table.rows if row["kind"] == "rate"}
Table(["method", *SHIFTS], [(m, *(f"{rate[task, m]:g}" for task in SHIFTS)) for m in METHODS],
      caption="Learning rates, chosen on validation images; where two are equal, the smaller one")

# %% [markdown]
# Now everybody adapts, with the same few labels and the same number of steps.

# %%
def adapt(task, method):
    """(the base adapted to a scanner, the reading of its training)."""
    split = shifted(few(pool, LABELS), task)
    seed_everything(1000, threads=1)
    net = METHODS[method](copy.deepcopy(base))
    with meter.block(f"{method}, {task}") as block:
        learn(net, split, rate[task, method])
    return net, block.reading


adapted, reading, right = {}, {}, {}
for key in [(task, method) for task in SHIFTS for method in METHODS]:
    net, reading[key] = adapt(*key)
    right[key] = accuracy(net, shifted(data.test, key[0]))
    if key[1] in ("LoRA 1", "bottleneck 4"):  # for part five
        adapted[key] = net

# %%
Table(["method", *SHIFTS],
      [("base, as it is", *(f"{reads[task]:.0%}" for task in SHIFTS)),
       *((m, *(f"{right[task, m]:.0%}" for task in SHIFTS)) for m in METHODS)],
      caption="Right on test images, one seed, just now")

# %% [markdown]
# ### One seed is an anecdote
#
# Five seeds take minutes, so they come from a table that ships with the course. In each, the split, the base, the few
# labels and the start differ.

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
           "recovers. On the three mild faults all adapters reach about a hundred per cent and training from scratch "
           "stays far behind. On rotated images training from scratch is the longest bar, and LoRA grows with its rank. "
           "Lines show the lowest and the highest of five seeds.")

# %% [markdown]
# Left of the dashed line: less than full fine-tuning. The thin lines go from the lowest to the highest of five seeds.
#
# On the mild faults nearly everything works, even the biases alone. The base can read; it only has to get used to
# another light. The rotated page is another matter. There the rank counts, the biases are lost, and **a new network does at
# least as well as any, without a base**. What the base has learned is where strokes stand on an upright page, and one thin
# change in each layer does not turn that by a quarter.
#
# So the question is not "do adapters work?" but "is my task close to what the base has learned?". One run from scratch
# helps to answer it.

# %% tags=["nbval-check-output"]
points = {m: {task: 100 * np.mean([runs[task, m, s]["accuracy"] for s in seeds]) for task in SHIFTS}
          for m in ("from scratch", "full fine-tuning", "LoRA 1", "LoRA 16")}
print(Table(["right (%), mean of five seeds", *SHIFTS], [(m, *(f"{p:.1f}" for p in by.values())) for m, by in points.items()]))
turned = {m: share("rotated", m).mean() for m in ("LoRA 1", "LoRA 16", "from scratch")}
print("rotated, share of the gain: " + ", ".join(f"{m} {s:.0f} %" for m, s in turned.items()))

# %% [markdown]
# ### Less data?

# %%
claim("B24").card()

# %% [markdown]
# With the same labels, who had a base is ahead on the mild faults, by many points. In that sense the task needs less data.
# But the base had seen its own images first. Lesson 06 counts them.

# %% tags=["nbval-check-output"]
ahead = {task: points["LoRA 1"][task] - points["from scratch"][task] for task in SHIFTS}
print("the adapter of rank 1 beats training from scratch, in points: "
      + ", ".join(f"{task} {gap:+.0f}" for task, gap in ahead.items()))
verdict("B24", "loosely stated" if min(ahead.values()) < 0 < max(ahead.values()) else "supported",
        "a few labels are enough where the base fits the task; on rotated pages the base does not help")

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
# back. Each time it costs $2mn$ FLOPs, together 6 for each weight. The two products on the way back serve two ends. One
# gives the gradient of the layer's *input*: the layers before it need that. The other gives the gradient of the *weight*.
# A frozen weight needs only the first. So it costs 4 in place of 6, and not 0.

# %% tags=["nbval-check-output"]
batch = torch.zeros(32, 64)
bill = {method: count_step(METHODS[method](copy.deepcopy(base)), batch) for method in METHODS}
whole, thin = bill["full fine-tuning"], bill["LoRA 1"]
for name, b in {"full": whole, "LoRA 1": thin}.items():
    formula = fine_tuning_flops(b.parameters, b.trainable_parameters, len(batch))
    print(f"{name:6s} forward {b.forward_flops:,}, backward {b.backward_flops:,} FLOPs: {b.flops / formula:.0%} of (4N + 2T)D")
print(f"LoRA 1 does {thin.flops / whole.flops:.0%} of the FLOPs of full fine-tuning")

# %% [markdown]
# The formula counts a little too much, because the first layer has nobody before it and needs no gradient of its input.
# (And $N$ holds the biases, which multiply nothing.)
#
# Memory has four parts. *Weights*: all of them must be there, frozen or not. *Gradients*, and what the optimiser keeps:
# Adam keeps two numbers for each weight that learns. *Activations*: what the forward pass stores for the way back. And
# on disk, a *file* for each task.

# %% tags=["nbval-check-output"]
kB = 1000
print(Table(["method", "learn", "FLOPs (millions)", "weights", "gradients", "optimiser", "activations", "file"],
            [(m, b.trainable_parameters, round(b.flops / 1e6), *(f"{n / kB:,.1f}" for n in (
                b.weight_bytes, b.gradient_bytes, b.optimizer_bytes, b.activation_bytes, 4 * b.trainable_parameters)))
             for m, b in bill.items()],
            caption="One training step of 32 images, counted; memory and file for each task in kB"))

# %% [markdown]
# Read down the columns. Gradients, optimiser and file fall with the number of parameters that learn. Activations and
# FLOPs hardly care, except for the head alone: nothing is sent back through the layers before it.
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
      [(m, f"{b.trainable_parameters / whole.parameters:.2%}", *spent(m), round(150 * b.flops / 1e9, 1))
       for m, b in bill.items()], caption="One adaptation of 150 steps, mean of the four scanners")

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
scans = shifted(few(pool, LABELS), "faded")
x, y = scans.x[:32], scans.y[:32]
steps = {m: stepper(METHODS[m](copy.deepcopy(base)), x, y) for m in ("full fine-tuning", "LoRA 1")}
on_digits = meter.compare(steps["LoRA 1"], steps["full fine-tuning"], pairs=8, window=0.1, names=("LoRA 1", "full"))
on_digits

# %%
guess_time.reveal(100 * on_digits.ratio)

# %% [markdown]
# Far less was saved than two hundred times. On a small batch like this one the optimiser counts: it must visit every
# weight that learns, once for each step, however few the images are. With a larger batch that part shrinks beside the
# products of matrices. Let us ask a network that is closer to real ones: the byte model of lesson 03.

# %%
TEXT_BYTES = 50_000  # of the prose, to learn from
TEXT_METHODS = {
    "from scratch": lambda base: only(type(base)(), lambda name: not name.startswith("exits")),
    "full fine-tuning": lambda base: only(base, lambda name: not name.startswith("exits")),
    "head only": lambda base: only(base, lambda name: name.startswith(("head", "norm."))),
    "BitFit": lambda base: only(base, lambda name: name.endswith("bias") and not name.startswith("exits")),
    **{f"LoRA {k}": lambda base, k=k: add_lora(base, k, "blocks.*") for k in (1, 4, 16)},
}

# %% tags=["nbval-check-output"]
pieces = torch.zeros(4, 128, dtype=torch.long)
text_bill = {m: count_step(prepare(pretrained()), pieces) for m, prepare in TEXT_METHODS.items()}
print(Table(["method", "learn", "FLOPs (billions)", "gradients + optimiser", "activations", "all memory", "file"],
            [(m, b.trainable_parameters, f"{b.flops / 1e9:.1f}", *(f"{n / 1e6:,.2f}" for n in (
                b.gradient_bytes + b.optimizer_bytes, b.activation_bytes, b.memory_bytes, 4 * b.trainable_parameters)))
             for m, b in text_bill.items()],
            caption="One training step on 4 pieces of 128 bytes, counted; memory and file in MB"))

# %%
text = corpus("prose")
rows = text.train[torch.arange(4)[:, None] * 129 + torch.arange(129)].long()
text_steps = {m: stepper(TEXT_METHODS[m](pretrained()), rows[:, :-1], rows[:, 1:]) for m in ("full fine-tuning", "LoRA 4")}
on_text = meter.compare(text_steps["LoRA 4"], text_steps["full fine-tuning"], pairs=8, window=0.2, names=("LoRA 4", "full"))
del text_steps  # gives back the memory of two optimisers
on_text

# %% [markdown]
# Here the products of matrices are most of a step, and the count says a third less. The clock may show less than that: the
# thin products are few operations, but each is a call of its own, and keeps the processor badly busy. How well this
# machine could tell, the interval says.

# %% [markdown]
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
# The paper that brought LoRA gives such figures for GPT-3, a very large model. Its abstract speaks of the
# first line, and its text gives the others.

# %% tags=["nbval-check-output"]
memory = fact("lora_vram_full").value / fact("lora_vram_lora").value
speed = fact("lora_speed_lora").value / fact("lora_speed_full").value
print(f"weights that learn: {fact('lora_ratio').text} fewer (published)")
print(f"GPU memory in training: {fact('lora_vram_full').text} to {fact('lora_vram_lora').text}, {memory:.1f} times less (published)")
print(f"speed: {fact('lora_speed_full').text} to {fact('lora_speed_lora').text}: {1 - 1 / speed:.0%} less time (published)")

# %% jupyter={"source_hidden": true}
def bill_figure():
    fig, ax = plots.figure("How many times less than full fine-tuning?", "times less (logarithmic)", height=4.6)
    names = [*falls["text, LoRA 4"], "time of a step"]
    groups = {name: [*f.values(), 1 / c.ratio] for (name, f), c in zip(falls.items(), (on_digits, on_text))}
    low = {n: [*f.values(), 1 / c.high] for (n, f), c in zip(falls.items(), (on_digits, on_text))}
    high = {n: [*f.values(), 1 / c.low] for (n, f), c in zip(falls.items(), (on_digits, on_text))}
    groups["GPT-3 (published)"] = [fact("lora_ratio").value, fact("lora_ratio").value, math.nan, memory, math.nan,
                                   math.nan, speed]
    spread = {n: (low[n], high[n]) for n in low} | {"GPT-3 (published)": None}
    plots.bars(ax, names, groups, spread=spread, horizontal=True)
    ax.set(xscale="log", xlim=(0.7, 3e4), ylabel="what is counted, or measured")
    ax.legend(loc="lower right")
    ax.axvline(1, color="black", linewidth=1)
    return fig

# %% course={"picture": "images/05_bill.png"}
plots.show(bill_figure(), alt="Horizontal bars on a logarithmic axis: how many times less LoRA takes than full fine-tuning, "
           "for our digit reader, for our text model, and for GPT-3 as published. Weights that learn and files fall "
           "some tens to ten thousand times, gradients and optimiser likewise. Training memory, FLOPs, activations and "
           "time stay within four times of each other, near one.")

# %% tags=["nbval-check-output"]
half = all(f["FLOPs of a step"] < 2 for f in falls.values())
verdict("B22", "loosely stated" if half and speed < 2 else "supported",
        "file and optimiser shrink with the parameters that learn; the work shrinks by a third, since frozen weights still work")

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
    loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    return loss.item() / math.log(2)

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
    model = TEXT_METHODS[method](pretrained())
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
              f"{g.mean():.0f}", f"{g.min():.0f}", f"{g.max():.0f}") for m, g in gain.items()],
            caption=f"Five seeds from the shipped table; the base has {start:.3f} bits per byte"))
print("the gain of LoRA 4 stays below that of full fine-tuning in every seed:", bool((gain["LoRA 4"] < 100).all()))

# %%
guess_text.reveal(float(gain["LoRA 4"].mean()))

# %% [markdown]
# Here the adapter does *not* reach full fine-tuning. A higher rank comes closer, and pays with more parameters. The layers
# of this model are narrow. "As good as full fine-tuning" is a finding about very large models, and about tasks that are
# near to what they know.
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
print(f"the base: {4 * everything:,} bytes; each adapter: {4 * few_numbers:,} bytes")
for task in MILD:
    scans = shifted(data.test, task).x
    print(f"{task}: the adapter on the shelf gives the same answers:",
          torch.equal(use_adapter(shelf, task)(scans), adapted[task, "LoRA 1"](scans)))
print("with none of them, the base again:", torch.equal(use_adapter(shelf, None)(x), base(x)))

# %% [markdown]
# An adapter is worth nothing beside another base, even one of the same shape. So the file holds a fingerprint of its base.

# %%
seed_everything(1, threads=1)
try:
    load_lora(reader(), lora_state_dict(adapted["faded", "LoRA 1"]))
except ValueError as error:
    print(error)

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
    fig, ax = plots.figure("From how many tasks on do adapters save storage?", "tasks", "bytes stored")
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
    return (f"{model}, {tasks:,.0f} tasks, {kind}: {si(shared, 'B')} with one base and adapters, {si(copies, 'B')} in full "
            f"copies, {copies / shared:,.1f} times as much.")

# %%
explore(storage_figure, alt=storage_words, model=choice(list(SIZES), label="model"),
        tasks=slider(1, 10_000, 100, log=True, label="tasks"), rank=slider(1, 16, 1, label="rank (our reader)"))

# %% [markdown]
# For one single task an adapter saves no storage: the base must be there all the same. The saving grows with every task
# that shares the base, until the adapters themselves fill the shelf.
#
# ### Merge: no extra work
#
# An adapter beside its layer costs two thin products more, for every query. But $W + \frac{\alpha}{r} B A$ is a matrix of
# the same size as $W$. Computed once and put in its place, it costs nothing at all.

# %% tags=["nbval-check-output"]
one_image = x[:1]
beside = adapted["faded", "LoRA 1"]
merged = merge_lora(copy.deepcopy(beside))
for name, net in {"base": base, "adapter beside": beside, "merged": merged,
                  "bottleneck 4": adapted["faded", "bottleneck 4"]}.items():
    print(f"{name:14s} {count(net, one_image).flops:,} FLOPs for one image")
print("merged gives the same answers, up to rounding:", torch.allclose(merged(x), beside(x), rtol=0, atol=1e-3))
weights = [net.layers[0].weight for net in (unmerge_lora(merged), base)]
print("unmerged, the base's weights are back to the last bit:", torch.equal(*weights))

# %% [markdown]
# In operations the difference is small. For a single image the *calls* count more, as in lesson 01.

# %%
merge_lora(merged)
with torch.inference_mode():
    ratios = {name: meter.compare(lambda net=net: net(one_image), lambda: base(one_image), pairs=6, window=0.05,
                                  names=(name, "base"))
              for name, net in {"merged": merged, "adapter beside": beside,
                                "bottleneck 4": adapted["faded", "bottleneck 4"]}.items()}
Table(["network", "CPU time over that of the base", "95 % interval", "verdict"],
      [(name, f"{c.ratio:.2f}", f"{c.low:.2f} to {c.high:.2f}", c.verdict.replace("a lower", "cheaper").replace(
          "b lower", "dearer")) for name, c in ratios.items()], caption="One image")

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
    fig, ax = plots.figure(f"How much rank does it need, and where? ({task})", "parameters that learn", "right (% of test images)")
    for i, name in enumerate(PLACES):
        found = [results(task, name, k) for k in RANKS]
        mean = [a.mean() for a, _ in found]
        ax.errorbar([n for _, n in found], mean, plots._yerr(mean, ([a.min() for a, _ in found], [a.max() for a, _ in found])),
                    capsize=3, label=name, **plots.series(i))
    a, n = results(task, place, rank)
    ax.plot([n], [a.mean()], "k*", markersize=14, zorder=5)
    ax.axhline(100 * np.mean([runs[task, "full fine-tuning", s]["accuracy"] for s in seeds]), color="black", linewidth=1)
    ax.set_xscale("log")
    ax.legend(fontsize=9)
    return fig


def place_words(task, place, rank):
    (a, n), full = results(task, place, rank), [100 * runs[task, "full fine-tuning", s]["accuracy"] for s in seeds]
    return (f"{task}: rank {rank} on {place}: {n:,} parameters learn, {4 * n:,} bytes for each task; right {a.mean():.1f} % "
            f"({a.min():.1f} to {a.max():.1f} over five seeds). The horizontal line, full fine-tuning: {np.mean(full):.1f} %.")

# %%
explore(place_figure, alt=place_words, task=choice([*SHIFTS], "rotated", label="scanner"),
        place=choice([*PLACES], "all three", label="adapters on"), rank=choice({str(k): k for k in RANKS}, 1, label="rank"))

# %% [markdown]
# On rotated pages rank matters everywhere. And the *first* layer is the place: it alone sees the pixels, so it alone can
# put them back where they belong. With a high rank there, and nowhere else, the rotated page comes near to full
# fine-tuning, at a fraction of the parameters. Who knows where the fault sits can adapt with less. On the mild scanners
# the lines are soon flat: more rank is only more to store.
#
# ### Verdict

# %%
claim("B23").card()

# %% tags=["nbval-check-output"]
close = all(s.mean() > 90 for s in one.values())
behind = turned["LoRA 1"] < 90 and gain["LoRA 4"].mean() < 95
print("mild faults, quality near that of full fine-tuning:", bool(close))
print("rotated pages and text, quality behind it:", bool(behind))
print("merged, the same work for each query as the base:", count(merged, one_image).flops == count(base, one_image).flops)
verdict("B23", "contested" if close and behind else "supported",
        "a third of the work of training is saved, none in use, and quality comes near at best; storage is the gain")

# %%
claim("B21").card()

# %% [markdown]
# You have met both techniques now. Experts (lesson 04) choose for each *token* which part of a large network works; they
# are trained with it, and all of them are stored. Adapters add a few parameters for a *task*; they come after training, and
# the whole base works for every query.

# %% tags=["nbval-check-output"]
layer_cost = count(base, one_image).flops
print("an adapter leaves the work of the base as it is, or adds to it:", count(beside, one_image).flops >= layer_cost)
verdict("B21", "misattributed", "few parameters for a subtask: that is an adapter, and it activates nothing less")

# %% [markdown]
# ## What the figures do not say
#
# - The four scanners were chosen, and our images are small. Another fault may lie anywhere between mild and rotated.
# - Gaps of a point or two between methods are within the spread of the seeds.
# - Each learning rate was chosen on more labelled images than an office would have. The text rates come from one seed only.
# - Ours are ordinary processors and small batches. On a GPU the optimiser and the calls weigh differently. The published
#   figures on GPT-3 come from one laboratory and one task.
# - Energy here is that of the adaptation. The base was trained before, once, and serves all four offices; somebody paid.
# - Activations are counted as PyTorch keeps them. Recomputing them saves memory, and costs time.
#
# ## What you have seen
#
# - A low-rank adapter leaves the base's weights alone, starts without any effect, and can be saved, exchanged and merged.
# - On mild faults an adapter with less than one hundredth of the parameters recovers nearly all of what full fine-tuning
#   gains. On rotated pages it does not, and a new network is as good.
# - Parameters, gradients, optimiser and file shrink tens to hundreds of times. The FLOPs of a step shrink by a third, and
#   activations not at all: frozen weights still work, forward and back.
# - What adapters save is storage and sharing: one base, many small files. Merged, they cost nothing in use, and save
#   nothing either.
#
# **Now do exercise 05**, `exercises/05_adapters.ipynb`.
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
     "lora_wikisql_lora", "lora_wikisql_full")
