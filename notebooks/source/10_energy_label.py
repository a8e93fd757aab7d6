# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '10'
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
# # Energy label
#
# **The question.** What would you build?
#
# **After this lesson you can**
#
# - set a floor for quality and a budget for energy, and find what meets both, or say which lever comes nearest;
# - tell which savings multiply, which swallow each other, and which cost more than they save;
# - hold a count against a meter, and see where a budget is met on paper only;
# - draw an energy label on which no joule stands without its evidence, its interval and its boundary;
# - read the scoreboard of all claims: what was measured, what was checked, and what nobody can check.
#
# **You need** about 50 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the
# cells one by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** B34, C1 to C4.
# **Before:** [lesson 09](09_rebound.ipynb). **After:** your own project, at the end of this lesson.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import copy
import inspect
import tempfile
import textwrap
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch
from torch import nn

from course_lib import ledger, plots
from course_lib.claims import KINDS, VERDICTS, all_claims, claim, scoreboard, verdict
from course_lib.counters import count, count_flops, count_step
from course_lib.data import Split, digits, few, shifted
from course_lib.deploy import export_onnx, need, quantize_onnx
from course_lib.energy import Meter
from course_lib.facts import cite, fact
from course_lib.label import EnergyLabel, Quality
from course_lib.lora import add_lora, merge_lora
from course_lib.models import DigitsMLP
from course_lib.moe import SparseMoE
from course_lib.setup import seed_everything
from course_lib.stats import si
from course_lib.tables import Table, shipped
from course_lib.training import train
from course_lib.widgets import choice, explore, predict, slider
seed_everything(0, threads=1)  # one thread: networks this small gain nothing from two
meter = Meter()

# %% [markdown]
# ## Part one: one task, seven levers
#
# The article ends with an outlook.

# %%
claim("B34").card()

# %% [markdown]
# No single lesson was the only solution either. Each showed one lever. Here all of them act on **one** task, and you decide.
#
# An office has an old scanner. It lays a shadow over each page, and some noise. The office wants its handwritten digits read.
# It has unlabelled scans, can label some of them, and gets a reader that was trained elsewhere on clean digits: the *base*.

# %%
def scans(split, seed):
    """The images from a scanner with a shadow, and with noise of a random level."""
    rng, dark = torch.Generator().manual_seed(seed), shifted(split, "backlit")
    level = 0.12 * torch.rand(len(split), 1, generator=rng)
    return Split(dark.x + level * torch.randn(dark.x.shape, generator=rng), dark.y)


def office(seed):
    """(clean images for the base, scans that can be labelled, scans without labels, scans for the exam)."""
    data = digits(seed)
    base, pool = Split(data.train.x[:-600], data.train.y[:-600]), Split(data.train.x[-600:], data.train.y[-600:])
    return base, scans(pool, seed), scans(data.val, 1000 + seed), scans(data.test, 2000 + seed)


base_images, pool, free, exam = office(0)

# %% tags=["nbval-check-output"]
print(f"{len(base_images)} clean images for the base, {len(pool)} scans that can be labelled,")
print(f"{len(free)} scans without labels, and {len(exam)} test examples for the exam")

# %% jupyter={"source_hidden": true}
def scans_figure():
    fig, ax = plots.figure("Can you still read them?", "ten test examples, and what they are", "from", height=2.5)
    rows = torch.stack([digits(0).test.x[:10], exam.x[:10]]).view(2, 10, 8, 8).clamp(0, 1)
    framed = torch.nn.functional.pad(rows, (1, 1, 1, 1))
    ax.imshow(framed.transpose(1, 2).reshape(20, 100), cmap="gray_r", vmin=0, vmax=1)
    for i, y in enumerate(exam.y[:10].tolist()):
        ax.text(10 * i + 4.5, 22.5, f"a {y}", ha="center")
    ax.set_xticks([])
    ax.set_yticks([4.5, 14.5], ["the page", "the scanner"])
    ax.set_ylim(24, 0)
    ax.grid(visible=False)
    return fig

# %%
plots.show(scans_figure(), alt="Ten handwritten digits in two rows: clean above; below the same ones with a shadow that "
           "deepens to the right, and with grains of noise that differ from one to the next.")

# %% [markdown]
# These are the levers. The first option of each is where we start: the large, plain way to do it.

# %%
LEVERS = {
    "size": ("large", "small"),  # lessons 03 and 09
    "layers": ("dense", "experts"),  # lesson 04
    "exit": ("last", "early"),  # lesson 03
    "local": ("no", "yes"),  # lesson 08: a very small reader is asked first
    "precision": ("float32", "int8"),  # lesson 07
    "training": ("full", "adapter", "scratch"),  # lesson 05
    "labels": (400, 100, 40),  # lesson 06
}
START = {lever: options[0] for lever, options in LEVERS.items()}
EVERY = [dict(zip(LEVERS, options)) for options in product(*LEVERS.values())]

# %% tags=["nbval-check-output"]
print(" x ".join(str(len(options)) for options in LEVERS.values()), f"= {len(EVERY)} combinations")

# %% [markdown]
# ### The reader
#
# All readers have one form, so that every lever fits: *blocks*, one behind the other. A block adds its answer to what comes
# in. Its layer is dense, or eight experts of an eighth of the width each, of which a router takes one. An exit stands behind
# the first part, and one at the end.

# %%
SIZES = {"large": (128, 512, 4), "small": (48, 96, 1)}  # width, hidden units of a block, blocks


class Block(nn.Module):
    def __init__(self, width, hidden, layers):
        super().__init__()
        dense = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        experts = SparseMoE(width, hidden // 8, n_experts=8, top_k=1, bias_update=0.01)
        self.norm, self.layer = nn.LayerNorm(width), dense if layers == "dense" else experts

    def forward(self, x):
        return x + self.layer(self.norm(x))


class Reader(nn.Module):
    def __init__(self, size="large", layers="dense"):
        super().__init__()
        width, hidden, n = SIZES[size]
        blocks = [Block(width, hidden, layers) for _ in range(n)]
        self.first = nn.Sequential(nn.Linear(64, width), nn.ReLU(), *blocks[:n // 4])
        self.rest = nn.Sequential(*blocks[n // 4:])
        self.early, self.last = nn.Linear(width, 10), nn.Linear(width, 10)

    def forward(self, x):
        return self.last(self.rest(self.first(x)))

# %% [markdown]
# ### Training
#
# The whole network learns from the labelled scans (`full`), or an adapter of rank four on the frozen base, or a new network
# (`scratch`). The learning rates come from validation scans of two other splits, where each way of training got the best of
# four rates.

# %%
RATE = {"base": 1e-3, "full": 3e-4, "adapter": 3e-3, "scratch": 1e-3, "early": 1e-2, "pocket": 1e-2}
PASSES = 30


def learn(net, split, kind, seed):
    """Trains in place, and returns the FLOPs of it. Nothing is chosen on the way, so one image is enough to validate."""
    history = train(net, split, Split(split.x[:1], split.y[:1]), epochs=PASSES, lr=RATE[kind], seed=seed, progress=False)
    return count_step(net, split.x[:1]).flops * history.examples_seen


def train_base(base_images, size, layers, seed):
    seed_everything(seed, threads=1)
    base = Reader(size, layers)
    return base, learn(base, base_images, "base", seed)


def train_reader(base, some, size, layers, training, seed):
    """(a reader for this scanner, FLOPs of its training), from the base or from scratch."""
    seed_everything(1000 + seed, threads=1)
    net, plain = copy.deepcopy(base) if training != "scratch" else Reader(size, layers), Reader(size, layers)
    if training == "adapter":
        add_lora(net, rank=4)
    work = learn(net, some, training, seed)
    plain.load_state_dict((merge_lora(net) if training == "adapter" else net).state_dict(), strict=False)
    return plain.requires_grad_(True).eval(), work

# %% [markdown]
# The early exit learns afterwards, alone, so that it does not disturb the rest. And the reader that is asked first, where you
# want one, is a network with one thin hidden layer. We call it the *pocket reader*. It has no base.

# %%
def train_early(net, some, seed):
    """Teaches the early exit what the first part makes of the scans; returns the FLOPs of it."""
    with torch.inference_mode():
        features = net.first(some.x)
    work = learn(net.early, Split(features.clone(), some.y), "early", seed)
    return work + len(some) * count(net.first, some.x[:1]).flops


def train_pocket(some, seed):
    """(the pocket reader, FLOPs of its training)."""
    seed_everything(2000 + seed, threads=1)
    pocket = DigitsMLP((16,))
    return pocket, learn(pocket, some, "pocket", seed)

# %% [markdown]
# ### Serving
#
# A service is a list of *steps*, the cheapest first. Each step has an answer, and a threshold. What it is sure of, it keeps.
# The rest it passes on. Local first and early exit are the same idea here; they differ in what is passed on: the image, or
# the state of the network.

# %%
class Step(nn.Module):
    """From what it is given, a step makes what it passes on, and logits."""

    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, given):
        state = self.body(given)
        return state, self.head(state)


def steps_of(net, pocket, service):
    """The steps of a service, cheapest first."""
    steps = [Step(nn.Identity(), pocket)] if service["local"] == "yes" else []
    if service["exit"] == "early":
        steps += [Step(net.first, net.early), Step(net.rest, net.last)]
    else:
        steps += [Step(nn.Sequential(net.first, net.rest), net.last)]
    return [rounded(step) for step in steps] if service["precision"] == "int8" else steps

# %%
@torch.inference_mode()
def serve(steps, thresholds, x):
    """(answers [n], how many images reached each step). A step keeps what it is sure of, and passes on the rest."""
    answers, where, state, reached = torch.zeros(len(x), dtype=torch.long), torch.arange(len(x)), x, []
    for step, threshold in zip(steps, thresholds):
        if len(where):
            reached.append(len(where))
            state, logits = step(state)
            answers[where] = logits.argmax(-1)  # who is passed on gets another answer later
            unsure = logits.softmax(-1).amax(-1) <= threshold
            where, state = where[unsure], state[unsure]
    return answers, reached + [0] * (len(steps) - len(reached))

# %% [markdown]
# The thresholds come from scans **without labels**, by agreement, as in lesson 08: of all scans, a step may keep one in a
# hundred for which the last step has another answer.

# %%
@torch.inference_mode()
def calibrate(steps, x, allowed=0.01):
    """A threshold for each step, from scans without labels. The last step keeps everything."""
    found, state = [], x
    for step in steps:
        state, logits = step(state)
        found.append(logits)
    thresholds = []
    for logits in found[:-1]:
        differs = logits.argmax(-1) != found[-1].argmax(-1)
        other = logits.softmax(-1).amax(-1)[differs].sort(descending=True).values
        most = int(allowed * len(x))
        thresholds.append(other[most].item() if len(other) > most else 0.0)
    return [*thresholds, -1.0]

# %% [markdown]
# In eight bits, each row of a matrix has a scale of its own. FLOPs stay as they are: a count of operations does not see how
# many bits each of them has. What falls is the bytes, and, with an engine for it, the energy.

# %%
def scales(weight):
    """The step of the rounding for each row of a matrix (for each column of an expert's)."""
    return weight.abs().amax(-1 if weight.ndim == 2 else -2, keepdim=True).clamp(min=1e-12) / 127


@torch.no_grad()
def rounded(net):
    """A copy of the network with its matrices in 8 bits."""
    small = copy.deepcopy(net)
    for weight in small.parameters():
        if weight.ndim > 1:
            step = scales(weight)
            weight.copy_((weight / step).round() * step)
    return small


def weight_bytes(net, precision):
    """Bytes of the weights: four for each; or one, four for each scale, and biases as before."""
    small = [w for w in net.parameters() if w.ndim > 1 and precision == "int8"]
    whole = sum(w.numel() for w in net.parameters()) - sum(w.numel() for w in small)
    return 4 * whole + sum(w.numel() + 4 * scales(w).numel() for w in small)

# %%
@torch.inference_mode()
def flops_of(steps, one):
    """FLOPs of each step for one image."""
    costs, state = [], one
    for step in steps:
        costs.append(count(step, state).flops)
        state, _ = step(state)
    return costs


def judged(steps, free, exam):
    """(share of right answers on the exam, FLOPs for an image on average, how many images reach each step)."""
    answers, reached = serve(steps, calibrate(steps, free.x), exam.x)
    work = sum(cost * n for cost, n in zip(flops_of(steps, exam.x[:1]), reached)) / len(exam)
    return (answers == exam.y).float().mean().item(), work, reached

# %% [markdown]
# ## Part two: one lever at a time
#
# Every combination was really trained and really served, with five seeds: other splits, bases, scans and starts. That takes
# minutes, so it comes from a table.

# %%
table = shipped("10_energy_label")
print(table.made)
SERVED = list(product(LEVERS["exit"], LEVERS["local"], LEVERS["precision"]))  # the order of the lists in the table
READERS, BASES = ([row for row in table.rows if row["kind"] == kind] for kind in ("reader", "base"))


def outcome(service):
    """What five seeds of a service did: right answers (%) of each; means of FLOPs for a query and for training, and bytes."""
    i = SERVED.index((service["exit"], service["local"], service["precision"]))
    rows = [r for r in READERS if all(r[k] == service[k] for k in ("size", "layers", "training", "labels"))]
    learning = [r["training_flops"] + r["early_flops"] * (service["exit"] == "early")
                + r["pocket_flops"] * (service["local"] == "yes") for r in rows]
    return {"right": [100 * r["accuracy"][i] for r in rows], "query": float(np.mean([r["flops"][i] for r in rows])),
            "training": float(np.mean(learning)), "bytes": rows[0]["bytes"][i]}


def key(service):
    return tuple(service[lever] for lever in LEVERS)


tried = {key(service): outcome(service) for service in EVERY}
start = tried[key(START)]

# %%
guess_lever = predict(
    "10-lever", "Which lever alone saves the most FLOPs for a query?",
    options=["size", "layers", "exit", "local", "precision"], guess="layers",
)
guess_lever

# %% tags=["nbval-check-output"]
def mean(service):
    return float(np.mean(tried[key(service)]["right"]))


alone = {f"{lever}: {option}": {**START, lever: option} for lever, options in LEVERS.items() for option in options[1:]}
rows = []
for name, service in {"start": START, **alone}.items():
    found = tried[key(service)]
    rows.append((name, f"{mean(service):.1f}", f"{min(found['right']):.1f} to {max(found['right']):.1f}",
                 *(f"{100 * found[k] / start[k]:.1f}" for k in ("query", "training", "bytes"))))
print(Table(["one lever", "right (%)", "five seeds", "query", "training", "weights"], rows,
            caption="Query and training: FLOPs, weights: bytes, all in % of the start"))
print(f"the start: {start['query']:,.0f} FLOPs for a query, {start['training'] / 1e9:.1f} billion for the training, "
      f"{start['bytes'] / 1e6:.2f} MB")

# %%
per_query = {name: tried[key(s)]["query"] for name, s in alone.items()}
best_lever = min(per_query, key=per_query.get)
guess_lever.reveal(best_lever.split(":")[0])

# %% [markdown]
# Size is by far the strongest lever on a query, and it comes first, as in lesson 03. Experts come next; they cost some points,
# and one seed is much worse than the others. Early exit costs next to no quality: so most blocks were not needed. Eight bits
# cost none at all, and the count does not see what they save.
#
# The last four rows leave the query alone. Few labels are the cheapest training and the dearest in quality. An adapter saves
# less than a third. From scratch saves nothing here: the work is that of full training, without the help of the base. (The
# base's own training stands in no column. Somebody else has paid for it. We come back to that.)
#
# ## Part three: combine
#
# If one lever leaves a tenth and another leaves a fifth, do both leave a fiftieth? Only if neither touches what the other
# works on.

# %%
SAVERS = ("size: small", "layers: experts", "exit: early", "local: yes")  # the levers that lower the FLOPs of a query


def pulled(names):
    """The start with these levers pulled."""
    return START | {lever: option for lever, option in (name.split(": ") for name in names)}


def left(names):
    """The share of the start's FLOPs for a query that is left."""
    return tried[key(pulled(names))]["query"] / start["query"]


guess_product = predict(
    "10-product", f"The product of the four savings alone would leave {100 * np.prod([left([s]) for s in SAVERS]):.2f} % of a "
    "query's FLOPs. What do all four together leave, in % of the start?", low=0.01, high=10, guess=0.1, log=True, unit="%",
)
guess_product

# %% tags=["nbval-check-output"]
def word(together, multiplied):
    return ("they multiply" if abs(together / multiplied - 1) < 0.1 else
            "they save less" if together > multiplied else "they save more")


rows = []
for names in (*combinations(SAVERS, 2), SAVERS):
    multiplied, together = float(np.prod([left([name]) for name in names])), left(names)
    worst = any(together > 1.001 * left(set(names) - {name}) for name in names)
    rows.append((", ".join(names) if len(names) == 2 else "all four", f"{100 * multiplied:.2f}", f"{100 * together:.2f}",
                 word(together, multiplied) + "; without one of them, more" * worst))
print(Table(["levers", "product", "together", ""], rows, caption="FLOPs for a query that are left, in % of the start"))

# %%
guess_product.reveal(100 * left(SAVERS))

# %% tags=["nbval-check-output"]
lost = {name: mean(START) - mean(pulled([name])) for name in SAVERS}
print(f"points lost by each of the four alone: {sum(lost.values()):.1f} in sum; by all four together: "
      f"{mean(START) - mean(pulled(SAVERS)):.1f}")
cheap = {**START, "training": "adapter", "labels": 40}
costs = [tried[key(s)]["training"] / start["training"] for s in ({**START, "training": "adapter"}, {**START, "labels": 40}, cheap)]
print(f"training: an adapter leaves {costs[0]:.1%}, 40 labels {costs[1]:.1%}; product {costs[0] * costs[1]:.2%}, "
      f"together {costs[2]:.2%}")
for training in LEVERS["training"]:
    few_labels, many = (mean({**START, "training": training, "labels": n}) for n in (40, 400))
    print(f"{training}: {many:.1f} % right with 400 labels, {few_labels:.1f} % with 40")

# %% [markdown]
# Savings multiply where they act on different factors. The adapter does less work for each example, few labels mean fewer
# examples: that product holds to the last digit. Exit and pocket reader come near it.
#
# The others work on the same thing. A small reader has one block, so an early exit has little left to skip. Experts shrink
# the blocks, and in a small reader the rest weighs more: the first layer, the router, the exits. And at the end a lever turns
# round: beside so small a reader, to ask the pocket reader first costs more than it saves.
#
# Quality does not add up either. Together the four lose less than each alone in sum. And few labels want a base: from scratch
# they are nearly worthless, while the adapter stands them best.
#
# ### A floor and a budget
#
# Now it is your decision. How many digits must be right? And how much may a query cost, as a share of the start?

# %%
FLOOR = 85  # % of the exam's scans that must be right: yours to set
BUDGET = 2  # % of the start's cost that a query may have: yours to set

# %%
def choose(floor, budget):
    """The service that meets the floor with the fewest FLOPs for a query, and of those within a tenth of a percent of the start
    the one with the cheapest training. Raises ValueError where none is in the budget: it says which lever comes nearest."""
    good = [s for s in EVERY if mean(s) >= floor]
    if not good:
        best = max(EVERY, key=mean)
        raise ValueError(f"no combination reads {floor:g} %: the best of them, {told(best)}, reads {mean(best):.1f} %, so lower the "
                         "floor or find more labels")
    cheapest = min(good, key=lambda s: (round(1000 * tried[key(s)]["query"] / start["query"]), tried[key(s)]["training"]))
    if (share := 100 * tried[key(cheapest)]["query"] / start["query"]) > budget:
        near = min((s for s in (START, *alone.values()) if mean(s) >= floor), key=lambda s: tried[key(s)]["query"], default=START)
        raise ValueError(f"no combination that reads {floor:g} % has a query for {budget:g} % of the start: the lever that comes "
                         f"nearest is {told(near)}, alone {100 * tried[key(near)]['query'] / start['query']:.1f} %, and "
                         f"{share:.1f} % is the least together")
    return cheapest


def told(service):
    """The levers that are pulled, in words."""
    return ", ".join(f"{lever} {option}" for lever, option in service.items() if option != START[lever]) or "the start"

# %% tags=["nbval-check-output"]
for floor, budget in ((85, 2), (91, 2), (85, 0.5), (99, 50)):
    try:
        found = choose(floor, budget)
        said = (f"{told(found)}; {mean(found):.1f} % right for {100 * tried[key(found)]['query'] / start['query']:.2f} % of "
                "the start")
    except ValueError as why:
        said = str(why)
    print(textwrap.fill(f"{floor} % right for {budget} %: {said}.", 96))

# %% [markdown]
# A budget that nothing meets is an answer too. It tells you what to give up: some quality, or some of the budget. Change the
# two numbers above and see.
#
# ### All that was tried
#
# Each small circle is one of the combinations. Pull the levers and watch the star. Those that nothing beats in both
# directions at once lie on the upper left edge: the *Pareto front*.

# %% jupyter={"source_hidden": true}
def front(column):
    """The services that no other one beats in right answers and in this cost at once, cheapest first."""
    kept, best = [], -1.0
    for service in sorted(EVERY, key=lambda s: (tried[key(s)][column], -mean(s))):
        if mean(service) > best:
            kept, best = [*kept, service], mean(service)
    return kept


FRONT = {column: front(column) for column in ("query", "training")}


def levers_figure(**service):
    fig, axes = plots.figure("What does your combination give, and what does it take?", panels=2, shared_y=True, height=4)
    for ax, (column, edge) in zip(axes, FRONT.items()):
        ax.plot([t[column] for t in tried.values()], [np.mean(t["right"]) for t in tried.values()], "o", color="none",
                markeredgecolor="0.6", markersize=4, label="tried")
        ax.step([tried[key(s)][column] for s in edge], [mean(s) for s in edge], where="post", color="black", linewidth=1,
                label="Pareto front")
        ax.axhline(FLOOR, color="black", linestyle=":", linewidth=1.2, label="floor")
        ax.plot([tried[key(service)][column]], [mean(service)], "*", color="white", markeredgecolor="black", markersize=17,
                label="yours", zorder=5)
        ax.set(xscale="log", xlabel=f"FLOPs for {'a query' if column == 'query' else 'the training'}")
    axes[0].axvline(BUDGET / 100 * start["query"], color="black", linestyle="--", linewidth=1.2, label="budget")
    axes[0].set_ylabel("right (% of the exam's scans)")
    axes[0].legend(loc="lower right", fontsize=8)
    return fig

# %% jupyter={"source_hidden": true}
def levers_words(**service):
    found = tried[key(service)]
    share, good = 100 * found["query"] / start["query"], mean(service) >= FLOOR
    return (f"Pulled: {told(service)}. Right: {mean(service):.1f} %, five seeds from {min(found['right']):.1f} to "
            f"{max(found['right']):.1f}; {'at or above' if good else 'below'} the floor of {FLOOR} %. A query: "
            f"{found['query']:,.0f} FLOPs, {share:.1f} % of the start, {'within' if share <= BUDGET else 'over'} the budget of "
            f"{BUDGET} %. Training: {found['training'] / 1e9:.2f} billion FLOPs. Weights: {found['bytes'] / 1e3:,.0f} kB.")

# %%
first_choice = choose(FLOOR, BUDGET)
picker = explore(levers_figure, alt=levers_words, **{lever: choice(options, first_choice[lever], label=lever)
                                                     for lever, options in LEVERS.items()})
picker

# %% [markdown]
# ### How often will it be asked?
#
# The cheapest query may belong to a dear training. So a budget for queries is half a budget. What counts is the sum, over
# all queries that will ever be asked. And who pays for the base?

# %% jupyter={"source_hidden": true}
QUERIES = np.logspace(2, 9, 57)
BASE_FLOPS = {(size, layers): np.mean([r["training_flops"] for r in BASES if (r["size"], r["layers"]) == (size, layers)])
              for size in LEVERS["size"] for layers in LEVERS["layers"]}


def totals(floor, own_base):
    """(services that meet the floor, their FLOPs [services, numbers of queries], training included)."""
    good = [s for s in EVERY if mean(s) >= floor]
    learning = [tried[key(s)]["training"] + (BASE_FLOPS[s["size"], s["layers"]] if own_base and s["training"] != "scratch" else 0)
                for s in good]
    return good, np.array(learning)[:, None] + np.outer([tried[key(s)]["query"] for s in good], QUERIES)


def winner(queries, floor, own_base):
    good, cost = totals(floor, own_base)
    i = np.abs(np.log(QUERIES / queries)).argmin()
    return good[cost[:, i].argmin()] if good else None

# %% tags=["nbval-check-output"]
print(Table(["queries", "the base is paid by", "cheapest, at least 85 % right"],
            [(int(n), payer, told(winner(n, 85, payer == "us"))) for n in (1e3, 1e5, 1e7) for payer in ("others", "us")]))

# %% jupyter={"source_hidden": true}
def life_figure(queries, floor, base):
    fig, ax = plots.figure("Which one is cheapest over its whole life?", "queries in its life", "FLOPs, training included",
                           height=3.9)
    good, cost = totals(floor, base == "us")
    pick = winner(queries, floor, base == "us")
    shown = {"the start": START, "cheapest at your number": pick}
    for i, (name, service) in enumerate(shown.items()):
        if service in good:
            ax.plot(QUERIES, cost[good.index(service)], label=name, **plots.series(i) | {"marker": ""})
    if good:
        ax.plot(QUERIES, cost.min(0), color="black", linestyle=":", label="cheapest at each number")
    ax.axvline(queries, color="black", linewidth=0.8)
    ax.set(xscale="log", yscale="log")
    ax.legend(fontsize=9, loc="upper left")
    return fig


def life_words(queries, floor, base):
    pick = winner(queries, floor, base == "us")
    if not pick:
        return f"No combination reads {floor} %, so there is nothing to compare."
    found = tried[key(pick)]
    return (f"For {float(f'{queries:.3g}'):,g} queries, at least {floor} % right, the base paid by {base}, the fewest FLOPs need: "
            f"{told(pick)}; {mean(pick):.1f} % right, {found['query']:,.0f} FLOPs for a query and {found['training'] / 1e9:.2f} "
            "billion for the training. Lines of total work rise with the queries; at first they are flat.")

# %%
explore(life_figure, alt=life_words, queries=slider(1e2, 1e9, 1e5, log=True, label="queries in its life"),
        floor=slider(50, 95, FLOOR, label="floor: right, %"), base=choice(["others", "us"], label="who pays for the base"))

# %% [markdown]
# With few queries the training decides: the adapter wins, and the early exit is left out, for it must learn too. With more
# queries the exit pays. With very many, a few per cent of a query outweigh the dearer training. Who pays for the base changes
# nothing here: the base of a small reader is cheap. Raise the floor, and look again. (All of this is counted. Does the meter
# agree?)
#
# ## Part four: build it, and ask the meter
#
# So far we counted. Now the start and your choice are trained and served on this machine, with one seed. The next cell takes
# what the levers above are set to. You may also write your own: `MINE = START | {"size": "small"}`.

# %%
MINE = picker.values
print(told(MINE))

# %%
bases, readers, learned = {}, {}, {}
some = {n: few(pool, n) for n in LEVERS["labels"]}


def build(service):
    """The network and the pocket reader of a service, each trained once; readings of the training are kept in `learned`."""
    form = service["size"], service["layers"]
    if form not in bases:
        bases[form], _ = train_base(base_images, *form, 0)
    which = *form, service["training"], service["labels"]
    if which not in readers:
        with meter.block(f"training: {', '.join(map(str, which))}") as block:
            net, _ = train_reader(bases[form], some[which[-1]], *which[:3], 0)
            train_early(net, some[which[-1]], 0)
            pocket, _ = train_pocket(some[which[-1]], 0)
        readers[which], learned[which] = (net, pocket), block.reading
    return readers[which]


build(START), build(MINE)
learned[START["size"], START["layers"], START["training"], START["labels"]].log()

# %% [markdown]
# (To keep things short, early exit and pocket reader are always trained along. They add little to the training.)
#
# Eight bits need an engine that computes with them. As in lesson 07, each step is written as ONNX, quantised, and run by ONNX
# Runtime. Where that cannot be, the rounded weights are computed with as usual; then only bytes are saved, and the cell says so.

# %%
kept = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def engine(step, given):
    """The step in ONNX Runtime with 8-bit matrices. Raises ImportError without it, ValueError for what it has no form for."""
    need("onnxruntime")
    import onnxruntime
    file = Path(kept.name) / f"{len(list(Path(kept.name).iterdir()))}.onnx"
    small = quantize_onnx(export_onnx(step, given, file), file.with_suffix(".int8.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(small), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: [torch.from_numpy(y) for y in session.run(None, {name: x.numpy()})]

# %%
not_here = set()  # why a service in int8 does not run in the engine


@torch.no_grad()
def served_here(service):
    """(steps, thresholds) of a service that is built, as it runs here."""
    steps = steps_of(*build(service), service | {"precision": "float32"})
    if service["precision"] == "int8":
        given, quick = free.x[:2], []
        try:
            for step in steps:
                quick.append(engine(step, given.clone()))
                given, _ = step(given)
        except (ImportError, ValueError) as why:
            not_here.add(str(why))
            quick = [rounded(step) for step in steps]
        steps = quick
    return steps, calibrate(steps, free.x)

# %%
LIVE = {name: START | alone[name] for name in (*SAVERS, "precision: int8")}
LIVE |= {"small and int8": pulled(["size: small", "precision: int8"]), "all four": pulled(SAVERS)}
for service in LIVE.values():
    build(service)
running_now = {name: served_here(service) for name, service in {"start": START, **LIVE, "yours": MINE}.items()}
why = "; ".join(not_here)
print(textwrap.fill(f"Not in the engine, and computed as usual: {why}." if why else "In the engine: every step in int8.", 96))

# %% tags=["nbval-check-output"]
steps, thresholds = running_now["all four"]
with torch.inference_mode():
    _, reached = serve(steps, thresholds, exam.x)
    ran = count_flops(serve, steps, thresholds, exam.x)
print("what ran is what was counted:", ran == sum(cost * n for cost, n in zip(flops_of(steps, exam.x[:1]), reached)))

# %%
guess_meter = predict(
    "10-meter", "All four levers together leave about a hundredth of the FLOPs of a query. What do they leave of its cost on "
    "this machine, in batches of 256?", low=0.1, high=100, guess=1, log=True, unit="%",
)
guess_meter

# %%
batch = exam.x[:256]


def asked(name):
    return lambda: serve(*running_now[name], batch)


def counted(name):
    """FLOPs for a query of what runs here."""
    service = {"start": START, **LIVE, "yours": MINE}[name]
    steps, thresholds = steps_of(*build(service), service | {"precision": "float32"}), running_now[name][1]
    _, reached = serve(running_now[name][0], thresholds, batch)
    return sum(cost * n for cost, n in zip(flops_of(steps, batch[:1]), reached)) / len(batch)


ratios = {name: meter.compare(asked(name), asked("start"), pairs=5, window=0.02, names=(name, "start"))
          for name in running_now if name != "start"}
work = {name: counted(name) for name in running_now}
Table(["service", "FLOPs, % of the start", "cost, % of the start", "95 % interval", "cost over count"],
      [(name, f"{100 * work[name] / work['start']:.2f}", f"{100 * c.ratio:.1f}", f"{100 * c.low:.1f} to {100 * c.high:.1f}",
        f"{c.ratio * work['start'] / work[name]:.1f}") for name, c in ratios.items()],
      caption=f"Batches of {len(batch)}, compared in turns by {ratios['yours'].quantity.replace('_', ' ')}")

# %%
guess_meter.reveal(100 * ratios["all four"].ratio)

# %%
def expected(*names):
    return float(np.prod([ratios[name].ratio for name in names]))


Table(["levers", "product of the savings alone", "together, measured"],
      [("size: small, precision: int8", f"{100 * expected('size: small', 'precision: int8'):.1f} %",
        f"{100 * ratios['small and int8'].ratio:.1f} %"),
       ("all four", f"{100 * expected(*SAVERS):.2f} %", f"{100 * ratios['all four'].ratio:.1f} %")],
      caption="Cost of a query that is left, of the start")

# %% tags=["nbval-check-output"]
four = ratios["all four"]
print("all four together: the meter leaves more than the count:", four.low > work["all four"] / work["start"])
print("all four together: the meter leaves more than the product of its own single savings:", four.ratio > expected(*SAVERS))

# %% [markdown]
# The meter tells another story than the count. On our machine:
#
# - Experts leave a seventh of the FLOPs and nearly the whole cost, as in lesson 04.
# - All four levers together leave about a hundredth of the FLOPs, and much more of the cost than the small dense reader *alone*.
#   Each lever adds steps, choices and small operations, and each of these is a call with its price.
# - Eight bits, which the count does not see, save more than half of the large reader's cost. (A part of it is the engine, which is
#   quicker than PyTorch.) The small reader they help less: there the calls cost, and not the arithmetic.
#
# So the winner by count is not the winner by the meter. Whoever optimises a count gets a good count.
#
# ### Is the budget met?

# %%
mine_ratio = ratios["yours"]
by_count, by_meter = 100 * work["yours"] / work["start"], (100 * mine_ratio.low, 100 * mine_ratio.high)
print(f"budget {BUDGET} % of the start. By count: {by_count:.1f} %, {'met' if by_count <= BUDGET else 'missed'}.")
print(f"By the meter: {by_meter[0]:.1f} to {by_meter[1]:.1f} %,",
      "met." if by_meter[1] <= BUDGET else "missed." if by_meter[0] > BUDGET else "not decided: the budget lies in the interval.")
least = min(ratios, key=lambda name: ratios[name].ratio)
print(f"The least that the meter read here: {least}, {100 * ratios[least].ratio:.1f} %.")

# %%
queries = {name: meter.measure(asked(name), rel=0.05, window=0.04, max_n=8, name=name) for name in running_now}
right_here = {name: 100 * (serve(*running_now[name], exam.x)[0] == exam.y).float().mean().item() for name in running_now}
queries["start"].log(), queries["yours"].log()
Table(["service", "right (%)", "FLOPs for a query", "energy for a query", "energy of the training"],
      [(name, f"{right_here[name]:.1f}", round(work[name]), f"{si((m.joules_per_call or 0) / len(batch), 'J')} ({m.total.label})",
        learned[tuple((START | LIVE.get(name, MINE if name == "yours" else {}))[k]
                      for k in ("size", "layers", "training", "labels"))].short) for name, m in queries.items()],
      caption="One seed, on this machine; without the training of the base")

# %% [markdown]
# If yours missed the budget, go back: set the levers anew, run the cells from `MINE` on again, and look which of your levers the
# meter likes. Here is the picture of what ran.

# %% jupyter={"source_hidden": true}
def pareto_figure():
    fig, axes = plots.figure("What does quality cost, by count and by meter?", panels=2, shared_y=True, height=4.4, width=7.6)
    all_joules = all(m.joules_interval and np.isfinite(m.joules_interval).all() for m in queries.values())
    per = {name: ((m.joules_per_call, *m.joules_interval) if all_joules else (m.mean, *m.interval)) for name, m in queries.items()}
    per = {name: np.array(three) / len(batch) for name, three in per.items()}
    for (name, right), mark in zip(right_here.items(), "os^Dv<PX*"):
        look = {"color": "black", "marker": mark, "markersize": 15 if mark == "*" else 7, "markerfacecolor": "white"}
        axes[0].plot([work[name]], [right], linestyle="none", label=name, **look)
        middle, low, high = per[name]
        axes[1].errorbar([middle], [right], xerr=[[middle - low], [high - middle]], capsize=3, linestyle="none", **look)
    for ax, most in zip(axes, (work["start"], per["start"][0])):
        ax.axhline(FLOOR, color="black", linestyle=":", linewidth=1.2, label="floor")
        ax.axvline(BUDGET / 100 * most, color="black", linestyle="--", linewidth=1.2, label="budget")
        ax.set_xscale("log")
    axes[0].set(xlabel="FLOPs for a query", ylabel="right (% of the exam's scans)")
    axes[1].set_xlabel(f"J for a query ({queries['start'].total.label})" if all_joules else "CPU seconds for a query")
    axes[1].legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return fig

# %% course={"picture": "images/10_pareto.png"}
plots.show(pareto_figure(), alt="Two panels with the same services at the same heights, right answers upwards; both horizontal axes "
           "are logarithmic. Left, by FLOPs for a query, they spread over more than two powers of ten. Right, by what the meter read "
           "for a query, they lie closer together. A dotted line marks the floor, a dashed one the budget; a star is your choice.")

# %% [markdown]
# ## Part five: the label
#
# Who buys a lamp reads a label. What should stand on one for a model? Not less than this: what it does, how well and on how
# many test examples; what was counted; the joules of a query and of the training, each with how it is known, with its
# interval, and with what is inside; the machine, the day, the grid.
#
# And which letter, from A to G? **None.** A class needs a scale that somebody has defined and all have agreed to. For models
# there is none. A letter that we give ourselves would be an opinion that looks like a measurement. In its place the label
# shows the ladder of evidence.
#
# The heart of it, from `course_lib.label`, is the order. Where a sensor was read, joules come first. Where not, the counts do.

# %%
print(inspect.getsource(EnergyLabel.blocks))

# %% [markdown]
# The grid turns joules into grams. Nobody guesses it for you. Choose one with its name and its year, or none.

# %% tags=["nbval-check-output"]
GRIDS = ("grid_france", "grid_world_2024", "grid_poland")
for name in GRIDS:
    print(f"{name}: {fact(name).text} ({fact(name).year}, {fact(name).boundary})")
spread = fact("grid_poland").value / fact("grid_france").value
print(f"the same joules, {spread:.0f} times the grams")

# %%
TASK = "Digits from a scanner with a shadow"  # yours to set
GRID = None  # or, for example, fact("grid_france")
net, pocket = build(MINE)
mine_steps = steps_of(net, pocket, MINE)
trained = learned[MINE["size"], MINE["layers"], MINE["training"], MINE["labels"]]
answers, _ = serve(*running_now["yours"], exam.x)
in_engine = not any(isinstance(step, Step) for step in running_now["yours"][0])
precision = MINE["precision"] if in_engine else "float32"  # what it really ran in


def draw_label():
    return EnergyLabel(
        TASK, Quality.of((answers == exam.y).tolist()), queries["yours"], trained, batch=len(batch), grid=GRID,
        counts={"FLOPs for a query": round(work["yours"]), "parameters": sum(p.numel() for s in mine_steps for p in s.parameters()),
                "bytes of weights": sum(weight_bytes(s, precision) for s in mine_steps),
                "labels": MINE["labels"]},
        boundary="the reader's own work on this computer; no network, no screen, not the base's training")

# %%
label = None
try:
    label = draw_label()
except ValueError as error:  # where no source of joules is at hand
    print(textwrap.fill(str(error), 96))
label

# %% [markdown]
# Read it like a stranger. Could you compare it with the label of a neighbour? Only where task, batch and boundary are the same.
# And between two machines without a sensor you compare two tables of watts.
#
# Keep it next to this notebook: take away the `#`.

# %%
# label.save("my_label")  # writes my_label.svg and my_label.png

# %% [markdown]
# A label without a run is not drawn. Nor is one without a quality, or with a grid that has neither name nor date.

# %% tags=["nbval-check-output"]
def refused(**changes):
    given = {"task": "Digits", "quality": Quality.of([True, False]), "query": trained, "training": trained,
             "counts": {"parameters": 10}, "boundary": "the reader alone"} | changes
    try:
        EnergyLabel(**given)
    except ValueError as why:
        return str(why)


for changes in ({"query": None}, {"training": 12.5}, {"quality": None}, {"grid": 56.0}):
    sentence = refused(**changes)
    print(f"{changes}: one sentence, {bool(sentence) and len(sentence.splitlines()) == 1}")
print(textwrap.fill(refused(query=None), 96))

# %% [markdown]
# ## Part six: the scoreboard
#
# Five claims are left. The first is the outlook from the beginning. Is there a figure that could decide it?

# %% tags=["nbval-check-output"]
def decidable(name):
    """Whether figures stand behind a claim, and somebody has read them."""
    return bool(claim(name).facts) and claim(name).read not in ("memory", "none")


reach = {name: mean(s) >= FLOOR and 100 * tried[key(s)]["query"] / start["query"] <= BUDGET for name, s in alone.items()}
print(f"in our office, one lever alone met floor and budget: {sum(reach.values())} of {len(reach)}")
verdict("B34", "supported" if decidable("B34") else "not checkable",
        "it speaks of the future; it would hold if no lever alone met the world's floor and budget")

# %% [markdown]
# What would have to be true for the outlook to hold? Put it in your own numbers. Where a single lever meets floor and budget,
# nothing else is needed. With our two numbers none does. A slightly larger budget, and one does: try it.
#
# The last four are about people and papers. No meter decides them, and that is worth seeing too.

# %% tags=["nbval-check-output"]
titles = ("Associate Professor", "senior lecturer")  # both stand in the article, for one French title
found = [title for title in titles if title in claim("C1").quote]
verdict("C1", "loosely stated" if len(set(found)) > 1 else "supported", f"{len(found)} titles stand for one person")

# %% tags=["nbval-check-output"]
seen = claim("C2").read not in ("memory", "none")
verdict("C2", "supported" if seen else "not checkable", "nobody here has read the chair's own page")

# %% tags=["nbval-check-output"]
verdict("C3", "supported" if decidable("C3") else "not checkable", "it reports work that is only starting")

# %% tags=["nbval-check-output"]
cited = fact("tr_gpt3_energy")
print(cited.reference)
as_cited = all(part in cited.reference for part in ("Patterson", str(2021), "arXiv:2104.10350"))
verdict("C4", "supported" if as_cited else "misattributed", "author, year and number are those of the paper that we read")

# %% [markdown]
# A right reference can still not say what it is cited for. Remember A6.
#
# ### All claims
#
# Here they are, your verdicts beside those of the sources. Yours come from your ledger. (The saved notebook was run with a new
# one, so there only the verdicts of this lesson stand.)

# %%
board = scoreboard(reveal=True)
board

# %% tags=["nbval-check-output"]
claims = all_claims().values()
cross = Counter((c.verdict, c.kind) for c in claims)
print(Table(["the sources say", *KINDS, "together"],
            [(v, *(cross[v, k] for k in KINDS), sum(cross[v, k] for k in KINDS)) for v in VERDICTS]
            + [("together", *(sum(c.kind == k for c in claims) for k in KINDS), len(claims))],
            caption="All claims, by verdict and by how they are decided"))

# %%
mine = {e["claim"]: e["word"] for e in ledger.read() if e["kind"] == "verdict" and e.get("claim") in all_claims()}
agree = [name for name, word_ in mine.items() if word_ == claim(name).verdict]
missing = Counter(lesson for c in claims if c.id not in mine for lesson in c.lessons)
print(f"Verdicts in your ledger: {len(mine)} of {len(claims)}; the same as the sources': {len(agree)}.")
print(textwrap.fill("Others: " + (", ".join(f"{n} from lesson {k}" for k, n in sorted(missing.items())) or "none"), 96))

# %% [markdown]
# Of the 20 claims that were measured here, 5 are supported as they stand. Over all, "loosely stated" is the most common word: true
# in its place, and stretched. That is no reason to smile at the article. It is what happens when figures travel without their boundary.
#
# ### Your ledger, and those of others
#
# Your ledger holds what you measured, what you predicted and what you decided. Lesson 09 asked what that cost.

# %%
ledger.summary()

# %%
gaps = [e for e in ledger.read() if e["kind"] == "prediction" and e.get("answered")]
near = [e for e in gaps if e.get("predicted") == e.get("actual") or isinstance(e.get("actual"), (int, float)) and e["actual"] > 0
        and isinstance(e.get("predicted"), (int, float)) and 1 / 1.5 < e["predicted"] / e["actual"] < 1.5]
print(f"Predictions that you made: {len(gaps)}; right, or within half as much again: {len(near)}.")

# %% [markdown]
# One ledger is one machine. A class has thirty. Whoever teaches can pool them:
#
# ```
# .venv/bin/course pool class.zip -o report.html
# ```
#
# The page shows the same work on all machines, measured and modelled apart, how far machines differ and how far repeats differ
# on one. It holds no name, no host and no path. `ledger.save()` gives you the file to hand in.
#
# ## The project
#
# **Build something small that earns its label.** Take this office with other settings, or a task of your own that runs in a
# minute. Hand in a notebook and the label (`.svg` or `.png`). Five things are read, four points each. It takes five minutes to
# grade, so say each thing where it is looked for.
#
# | | no points | two points | four points |
# |---|---|---|---|
# | **Need** (first cell) | no task, or no reason for it | a task and who has it | also what happens without it, and a floor for quality that follows from the use |
# | **Choice** (a table) | one model, no rival | two or more that were run | also the simplest rival, and a lever that did *not* pay |
# | **Count and meter** (two columns) | joules alone | counts and joules, both labelled | also an interval, and a sentence on where the two disagree |
# | **Label** (the file) | none, or a bare joule | complete, with boundary and quality | also a stranger could repeat it: data, batch, machine, seed |
# | **Limits** (last cell) | none | what is outside the boundary | also what would change the choice, and how often it will be asked |
#
# One and three points are for what lies between. A negative result gets full points: "no combination met the budget" is a
# finding.
#
# ## What the figures do not say
#
# - The office is a toy. Our base has seen a few hundred images; a real one has seen much more, and cost much more.
# - The combinations share a recipe. Nobody tuned each of them: the rates are those of the three ways of training.
# - The early exit and the pocket reader get their thresholds from scans of the same scanner. With other scans the promise ends.
# - In the table, eight bits are rounded weights. On this machine the engine also rounds what they multiply.
# - The pocket reader's calls cross no network here. On a real phone each passed-on image is sent.
# - A cost in batches of this size is not the cost of a query that comes alone.
# - The label's joules are this computer's. Screen, network, making the chips and your time are outside.
#
# ## What you have seen
#
# - A floor and a budget turn "efficient" into a question with an answer, also when the answer is that nothing meets them.
# - Savings multiply where they act on different factors. Where they act on the same one, the second finds little left.
# - The count promises more than the meter gives, and most of all where many levers are pulled.
# - A label needs quality, evidence, interval and boundary. It needs no letter.
# - Fewer than half of the claims can be measured here; as many can be checked against sources; some nobody can decide.
#
# ## Your ledger

# %%
# On Colab every notebook is its own machine. Take away a "#" to bring your ledger along, or to keep it.
# ledger.load("ledger.jsonl")
# ledger.save()

# %% [markdown]
# ## Sources

# %%
cite("grid_france", "grid_world_2024", "grid_poland", "tr_gpt3_energy")
