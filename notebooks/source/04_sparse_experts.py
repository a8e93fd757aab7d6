# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '04'
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
# # Sparse experts
#
# **The question.** A model can be split into experts, of which each piece of text visits only a few. Does that save energy? And
# are the experts specialists?
#
# **After this lesson you can**
#
# - build a layer of experts from one line of routing, and count which of its weights are active;
# - say what such a layer saves on your machine, what it does not, and against which dense layer;
# - recognise a router that sends everything to one expert, and mend it in two ways;
# - read off a heat map what experts specialise in, and check it against chance;
# - find the line that is missing in a count of operations;
# - read the two sizes of a published model, and say which one sets compute, memory and energy.
#
# **You need** about 75 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the cells one
# by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** A7, B14 to B21.
# **Before:** [lesson 03](03_cost_of_a_query.ipynb). **After:** [exercise 04](../exercises/04_sparse_experts.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import math
import textwrap

import torch
from sklearn.metrics import normalized_mutual_info_score
from torch import nn
from torch.nn import functional as F

from course_lib import ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count, optimizer_bytes, training_flops
from course_lib.data import CORPORA, LatentRegimes, byte_windows, corpus, digits
from course_lib.energy import Meter
from course_lib.facts import cite, fact, statement
from course_lib.models import ByteWindowLM, DigitsMLP
from course_lib.moe import SparseMoE, TopKRouter, expert_load, load_balancing_loss, routing_table, run_loop
from course_lib.setup import seed_everything
from course_lib.stats import ratio_interval
from course_lib.tables import Table, shipped
from course_lib.training import accuracy, train
from course_lib.widgets import explore, predict, slider

seed_everything(0, threads=1)

# %% [markdown]
# ## Part one: build it, count it, measure it
#
# The article's main remedy is to split a model into experts. This is how it puts it.

# %%
claim("B18").card()

# %%
claim("B20").card()

# %% [markdown]
# A language model reads *tokens*: pieces of words. Inside, each token is a list of numbers. In every layer a small
# network, the *feed-forward network*, works on each token by itself. Most of a model's weights are there. This is one.

# %%
n_tokens, d_model, d_ff = 6, 8, 16
tokens = torch.randn(n_tokens, d_model)


def feed_forward(x, w_in, w_out):
    return F.relu(x @ w_in) @ w_out


answer = feed_forward(tokens, torch.randn(d_model, d_ff), torch.randn(d_ff, d_model))
answer.shape

# %% [markdown]
# Now take four such networks. Each one is called an *expert*. Who sends a token to an expert? A *router*: one matrix that
# gives each expert a score for each token. The softmax turns scores into shares that add up to one.

# %%
n_experts, top_k = 4, 2
w_in = torch.randn(n_experts, d_model, d_ff) / d_model**0.5
w_out = torch.randn(n_experts, d_ff, d_model) / d_ff**0.5
gate = torch.randn(d_model, n_experts)

shares = (tokens @ gate).softmax(dim=-1)  # the whole router

# %% [markdown]
# Each token visits only its best two experts. Their shares, divided by their sum, say how much each answer counts.

# %% tags=["nbval-check-output"]
weights, chosen = shares.topk(top_k, dim=-1)
weights = weights / weights.sum(dim=-1, keepdim=True)
print("each token chose", chosen.shape[1], "of", n_experts, "experts")
print("its weights add up to 1:", torch.allclose(weights.sum(-1), torch.ones(n_tokens)))

# %% [markdown]
# The plainest layer goes token by token, and asks the chosen experts.

# %%
def token_by_token(x):
    y = torch.zeros_like(x)
    for t in range(len(x)):
        for weight, e in zip(weights[t], chosen[t]):
            y[t] += weight * feed_forward(x[t], w_in[e], w_out[e])
    return y

# %% [markdown]
# That is right, and slow: an expert's weights are fetched again for each token. The fast layer turns the work round. It goes
# expert by expert, so that each expert works once, on all of its tokens.
#
# We do this step by step. When a token goes to an expert, call it a *visit*. Our six tokens make two visits each.
# The first row below numbers the visits. Read it by columns: this visit, by this token, to this expert.

# %% tags=["nbval-check-output"]
def row(name, numbers):
    print(f"{name:7s}", *(f"{n:3d}" for n in numbers.tolist()))


token = torch.arange(n_tokens).repeat_interleave(top_k)  # 0 0 1 1 2 2 ...
expert = chosen.flatten()  # the two choices of token 0, then those of token 1, ...
row("visit", torch.arange(len(expert)))
row("token", token)
row("expert", expert)

# %% [markdown]
# **Sort.** `argsort` says in which order to take the visits, so that their experts come in order. Now all the visits to one
# expert stand side by side.

# %% tags=["nbval-check-output"]
order = expert.argsort(stable=True)
row("visit", order)
row("token", token[order])
row("expert", expert[order])

# %% [markdown]
# **Cut.** We count the visits to each expert, and cut the row into slices of these lengths. Compare with the table above:
# a slice ends where the expert changes.

# %% tags=["nbval-check-output"]
visits = expert_load(chosen, n_experts).tolist()
for e, mine in enumerate(token[order].split(visits)):
    print(f"expert {e} gets {len(mine)} visits, by tokens", *mine.tolist())

# %% [markdown]
# **Work.** `tokens[token[order]]` holds the numbers of the tokens, in sorted order. Each expert takes its slice, and answers
# all of it at once.

# %%
slices = tokens[token[order]].split(visits)
answers = torch.cat([feed_forward(mine, w_in[e], w_out[e]) for e, mine in enumerate(slices)])
answers.shape  # one answer for each visit

# %% [markdown]
# **Send back.** Each answer is multiplied by the weight of its visit. (`[order, None]` brings the weights into the same order,
# and makes a column of them.) Then `index_add` adds each answer to the row of its token. So each row of the result is a sum
# of two answers.

# %%
weighted = answers * weights.flatten()[order, None]
expert_by_expert = torch.zeros_like(tokens).index_add(0, token[order], weighted)
expert_by_expert.shape  # one row for each token

# %% [markdown]
# `SparseMoE` in `course_lib.moe` does these steps, with a router that can learn. MoE is the usual short name: *mixture of
# experts*. Give it our weights, and all three must agree.

# %% tags=["nbval-check-output"]
layer = SparseMoE(d_model, d_ff, n_experts, top_k)
layer.router.gate.weight.data = gate.T
layer.experts.w_in.data, layer.experts.w_out.data = w_in, w_out
print("sorted  = token by token:", torch.allclose(expert_by_expert, token_by_token(tokens), atol=1e-5))
print("library = token by token:", torch.allclose(layer(tokens), token_by_token(tokens), atol=1e-5))

# %% [markdown]
# Is anything computed for experts that nobody chose? A test that cannot be fooled: fill them with NaN, which is "not a
# number". Whatever touches a NaN becomes NaN.

# %% tags=["nbval-check-output"]
poisoned = SparseMoE(d_model, d_ff, n_experts, top_k=1)
poisoned(tokens[:1])
favourite = poisoned.routing.experts[0, 0]
for w in poisoned.experts.parameters():
    w.data[torch.arange(n_experts) != favourite] = math.nan
print("the answer is still finite:", poisoned(tokens[:1]).isfinite().all().item())

# %% [markdown]
# ### Count
#
# Now a larger layer: sixteen experts, two for each token. Whom should we compare it with? There are two dense twins. One
# has the same *active* weights: as many as one token meets. The other has the same *total*.

# %%
d_model, d_ff, n_experts, top_k = 256, 256, 16, 2


def dense(width):
    return nn.Sequential(nn.Linear(d_model, width, bias=False), nn.ReLU(), nn.Linear(width, d_model, bias=False))


layers = {
    "dense, same active": dense(top_k * d_ff),
    "sparse experts": SparseMoE(d_model, d_ff, n_experts, top_k),
    "dense, same total": dense(n_experts * d_ff),
}
x = torch.randn(1024, d_model)

# %% tags=["nbval-check-output"]
counts = {name: count(m, x[:64]) for name, m in layers.items()}
for name, c in counts.items():
    print(f"{name:19s} total {c.parameters:>9,}  active {c.active_parameters:>9,}  "
          f"FLOPs for one token {c.flops // 64:>9,}")

# %% [markdown]
# The sparse layer has the size of the large twin and nearly the operations of the small one. The few extra ones
# are the router's. Memory follows the *total*: every expert must be at hand, because any token may choose it. While we train,
# the optimiser Adam keeps two more numbers for each weight.

# %% tags=["nbval-check-output"]
for name, m in layers.items():
    mb = counts[name].weight_bytes / 1e6
    print(f"{name:19s} weights {mb:4.1f} MB   Adam's memory {optimizer_bytes(m) / 1e6:4.1f} MB")

# %% [markdown]
# ### Predict

# %%
guess_slower = predict(
    "04-overhead", "CPU time of the sparse layer, over that of the dense twin with the same active weights?",
    low=0.5, high=4, guess=1.0, step=0.05, unit="times",
)
guess_slower

# %%
guess_faster = predict(
    "04-total", "CPU time of the dense twin with the same total, over that of the sparse layer?",
    low=1, high=16, guess=8, step=0.5, unit="times",
)
guess_faster

# %% [markdown]
# ### Measure
#
# Each comparison runs the two in turn, so that both meet the same disturbances.

# %%
meter = Meter()


@torch.inference_mode()
def run(name):
    return layers[name](x)


def compare(a, b, pairs=6):
    return meter.compare(lambda: run(a), lambda: run(b), pairs=pairs, window=0.1, names=(a, b))

# %%
slower = compare("sparse experts", "dense, same active")
slower

# %%
faster = compare("dense, same total", "sparse experts", pairs=4)
faster

# %%
guess_slower.reveal(slower.ratio)
guess_faster.reveal(faster.ratio)

# %% [markdown]
# So both things are true. Beside the dense layer with the same active weights, the experts cost *more*: routing, sorting,
# and smaller pieces of work. Beside the dense layer with the same total, they cost a fraction. Whoever names a saving
# must say against which twin.

# %% tags=["nbval-check-output"]
ideal = counts["dense, same total"].flops / counts["sparse experts"].flops
print(f"counted in operations, the large twin costs {ideal:.1f} times as much")
print("measured, it costs more than twice as much:", faster.ratio > 2)

# %% [markdown]
# ### Extra: on a large chip
#
# *This part takes a few minutes more; nothing later needs it.* Here are the same three layers once more, on a GPU for data
# centres whose board counts its joules. Then come wider ones, of 16-bit numbers, as such chips are made for: with many tokens
# at once, and with few. **Predict**, on paper: where will the experts save?

# %%
gpu = shipped("gpu")
there = {}
for one in gpu.rows:
    if one["part"] == "layer":
        there.setdefault(f"{one['d_model']:,} numbers, {one['tokens']:,} tokens", {})[one["layer"]] = one
print(textwrap.fill(gpu.made, 96))

# %% tags=["nbval-check-output"]
def over(a, b, quantity):
    ratio, low, high = map(float, ratio_interval(a[quantity], b[quantity]))
    return f"{ratio:.2f} ({low:.2f} to {high:.2f})"


print(Table(["each token, at once", "sparse experts over", "by FLOPs", "time", "joules (measured)"],
            [(setting, twin, f"{sides['sparse experts']['flops'] / sides[twin]['flops']:.2f}",
              over(sides["sparse experts"], sides[twin], "seconds"), over(sides["sparse experts"], sides[twin], "joules"))
             for setting, sides in there.items() for twin in ("dense, same active", "dense, same total")]))

# %% [markdown]
# Against the twin of the same total, experts save in one case of three: many tokens, each of many numbers. Even there they
# save less than the FLOPs promise. In the other two they cost *more* than the dense layer that computes everything. To that
# chip the whole work is small, so what counts is the number of calls, and sorting and fetching make many of them.
#
# Our layer is written to be read, and servers run a better one. But the rule carries over: operations that are left out save
# energy only where operations were the cost.

# %% [markdown]
# ### More experts, and the optimiser
#
# How does the overhead grow with the number of experts, and with their width? The number of tokens stays, and each still
# visits two experts. In operations almost nothing changes.

# %%
numbers, widths = [4, 16, 64], [256, 1024]
small = x[:512]


@torch.inference_mode()
def versus(n, width):
    sparse, twin = SparseMoE(d_model, width, n, top_k).eval(), dense(top_k * width)
    counted = count(sparse, small).flops / count(twin, small).flops
    return counted, meter.compare(lambda: sparse(small), lambda: twin(small), pairs=4, window=0.04)


found = {width: [versus(n, width) for n in numbers] for width in widths}

# %% jupyter={"source_hidden": true}
def overhead_figure():
    fig, ax = plots.figure("What do more experts cost, at the same active weights?", "number of experts",
                           "cost over the dense twin (times)", height=3.4)
    names = {width: f"CPU time, {width:,} hidden units each" for width in widths}
    curves = {names[width]: [c.ratio for _, c in found[width]] for width in widths}
    spread = {names[width]: ([c.low for _, c in found[width]], [c.high for _, c in found[width]]) for width in widths}
    counted = [flops for flops, _ in found[widths[0]]]
    plots.lines(ax, numbers, curves | {"operations, 256 hidden units each": counted}, spread=spread)
    ax.set(xscale="log", ylim=(0, None))
    ax.minorticks_off()
    ax.set_xticks(numbers, [str(n) for n in numbers], minor=False)
    return fig

# %%
plots.show(overhead_figure(), alt="Cost over the dense twin against the number of experts, 4 to 64. Counted in operations "
           "the line stays near one and rises a little. Measured in CPU time it rises much more, for narrow and for wide "
           "experts. Error bars show 95 percent intervals.")

# %% [markdown]
# With more experts each one gets fewer tokens. Its weights must be fetched from memory all the same, for less work. Routing
# and sorting come on top. So the overhead is no constant: `benchmarks/README.md` has it for more sizes, for training (where
# it is smaller), and for other people's layers.
#
# The number of tokens counts too. A single token fetches only the experts that it visits. Very many tokens keep each expert
# busy. Experts gain least in between: with enough tokens to touch them all, and too few to keep each one busy.
#
# All this was the way forward. And training? Backward follows the active weights, too. But the optimiser visits *every*
# weight at each step. (It has a fixed cost beside, so the ratio is smaller than that of the weights.)

# %%
def optimizer_of(m):
    for p in m.parameters():
        p.grad = torch.zeros_like(p)
    return torch.optim.Adam(m.parameters(), fused=True)


adam = {name: optimizer_of(m) for name, m in layers.items()}
meter.compare(adam["sparse experts"].step, adam["dense, same active"].step, pairs=4, window=0.05,
              names=("Adam's step, sparse", "Adam's step, dense with the same active"))

# %% [markdown]
# "Cost follows the active parameters" holds for the arithmetic of a token. It does not hold for memory, nor for the
# optimiser.
#
# ## Part two: who goes where?
#
# The article says that experts work by speciality. We test it first where we know the specialities.

# %%
claim("B19").card()

# %% [markdown]
# A made-up task with eight hidden rules, called *regimes*. Each example (here, one token) follows one of them, and
# nothing says which. A specialist for each rule would have an easy life. There are eight experts, and each token visits
# one: will they share out the rules? We made it hard for the router: all inputs are shifted by the same `offset`, which
# hides how they differ.

# %% tags=["nbval-check-output"]
task = LatentRegimes(seed=1, offset=1.5)
inputs, targets, regime = task.sample(2048, torch.Generator().manual_seed(99))
print("inputs", list(inputs.shape), " targets", list(targets.shape), " regimes", len(set(regime.tolist())))

# %% [markdown]
# We measure the error as a share of the spread of the targets: one means "no better than always saying the mean". And we
# count the *effective experts*: the exponential of the entropy of the load. It is eight when all work equally, and one
# when a single expert gets everything.

# %% tags=["nbval-check-output"]
def effective(load):
    share = load / load.sum()
    return math.exp(torch.special.entr(share).sum())


print(f"equal load on eight: {effective(torch.ones(8)):.1f}")
print(f"one gets everything: {effective(torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])):.1f}")

# %% [markdown]
# ### Predict

# %%
guess_collapse = predict(
    "04-collapse", "Eight experts are trained on this task and nobody asks them to share. How many are in use at the end?",
    low=1, high=8, guess=8, step=0.5, unit="effective experts",
)
guess_collapse

# %% [markdown]
# The training is short and plain. `balance` is the weight of an extra loss: it grows when one expert gets more than its
# share. We come to it in a moment.

# %%
def learn(layer, balance=0.0, steps=600, seed=1):
    task, rng = LatentRegimes(seed, offset=1.5), torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(layer.parameters(), lr=3e-3, fused=True)
    for _ in range(steps):
        x, y, _ = task.sample(1024, rng)
        loss = F.mse_loss(layer(x), y)
        if balance:
            loss = loss + balance * load_balancing_loss(layer.routing)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return layer.eval()

# %% [markdown]
# The dense rival must be fair. One token costs the sparse layer one expert *and* the router. So the dense layer gets a
# few more hidden units, until the operations are equal.

# %% tags=["nbval-check-output"]
def new_experts(**options):
    seed_everything(1, threads=1)
    return SparseMoE(32, 32, n_experts=8, top_k=1, **options)


def new_dense(width):
    seed_everything(1, threads=1)
    return nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, 32))


for name, m in {"experts": new_experts(), "dense": new_dense(36)}.items():
    print(f"{name:8s}{count(m, inputs).flops // len(inputs):>6,} FLOPs for one token")

# %%
trained = {
    "dense, same active": learn(new_dense(36)),
    "experts, not balanced": learn(new_experts()),
}

# %%
@torch.no_grad()
def judge(layer):
    error = F.mse_loss(layer(inputs), targets) / targets.var()
    used = effective(expert_load(layer.routing.experts, 8).float()) if isinstance(layer, SparseMoE) else math.nan
    return error.item(), used


guess_collapse.reveal(judge(trained["experts, not balanced"])[1])

# %% [markdown]
# The router *collapsed*. An expert that gets a few more tokens at first learns a little faster. So it gets more tokens.
# The others starve, and what nobody visits cannot learn.
#
# ### Two cures
#
# The first is an extra loss. For each expert, take the share of tokens that it got, times its mean share in the
# softmax. Add these up, and multiply by the number of experts. The loss is one when the load is equal.

# %% tags=["nbval-check-output"]
router = TopKRouter(32, 8, top_k=1)
routing = router(inputs)
share = expert_load(routing.experts, 8) / len(inputs)
by_hand = 8 * (share * routing.probabilities.mean(0)).sum()
print("by hand = library:", torch.allclose(by_hand, load_balancing_loss(routing)))

# %% [markdown]
# The second is what DeepSeek-V3 uses: no loss, but a small *bias* on each score. It rises for experts with too little
# work and falls for the others. It changes who is chosen, never how much the answer counts. One step of it:

# %% tags=["nbval-check-output"]
load, bias = torch.tensor([40.0, 10.0, 10.0, 4.0]), torch.zeros(4)
bias += 0.01 * (load.mean() - load).sign()
print("load", load.tolist(), " bias", [round(b, 2) for b in bias.tolist()])

# %%
trained["experts, balancing loss"] = learn(new_experts(), balance=0.03)
trained["experts, balancing bias"] = learn(new_experts(bias_update=0.01))

# %%
Table(["layer", "error", "effective experts, of 8"],
      [(name, round(error, 3), None if math.isnan(used) else round(used, 2))
       for name, (error, used) in ((name, judge(m)) for name, m in trained.items())],
      caption="One run, seed 1, on this machine")

# %% tags=["nbval-check-output"]
errors, used = zip(*(judge(m) for m in trained.values()))
print("not balanced: at most 3 effective experts of 8:", used[1] <= 3)
print("with either cure: at least 6:", min(used[2:]) >= 6)
print("the dense error is more than twice that of the balanced experts:", errors[0] > 2 * max(errors[2:]))

# %% [markdown]
# One seed may be luck. Here are five, trained once on our machine, with one more dense layer: it has the same total
# number of weights as the experts.

# %% tags=["nbval-check-output"]
regimes_table = shipped("04_regimes")
print(regimes_table.made.split("; ")[-1])

# %% jupyter={"source_hidden": true}
def by_kind(rows, column):
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    return {kind: [row[column] for row in rows if row["kind"] == kind and column in row] for kind in kinds}


def low_to_high(values, digits=3):
    ends = [f"{end(values):.{digits}f}" for end in (min, max)] if values else ["-"]
    return " to ".join(dict.fromkeys(ends))

# %%
seeds = by_kind(regimes_table.rows, "error")
in_use = by_kind(regimes_table.rows, "effective_experts")
seconds = by_kind(regimes_table.rows, "cpu_seconds")
Table(["layer", "seeds", "error, lowest to highest", "effective experts", "CPU s of training"],
      [(kind, len(e), low_to_high(e), low_to_high(in_use[kind], 1), low_to_high(seconds[kind], 1))
       for kind, e in seeds.items()], caption=f"Trained once: {regimes_table.made}")

# %% tags=["nbval-check-output"]
worst = min(d / m for d, m in zip(seeds["dense, same active"], seeds["experts, balancing loss"]))
print(f"in every seed the dense error is at least {math.floor(worst)} times that of the balanced experts")
print("not balanced, at most 2.5 effective experts in every seed:", max(in_use["experts, not balanced"]) <= 2.5)
print("balanced by the loss, at least 6.5 in every seed:", min(in_use["experts, balancing loss"]) >= 6.5)
larger = [d > m for d, m in zip(seeds["dense, same total"], seeds["experts, balancing loss"])]
print("the dense layer with the same total makes larger errors in every seed:", all(larger))
times = count(new_dense(8 * 32), inputs).flops / count(new_experts(), inputs).flops
print(f"and does {times:.1f} times the operations of the experts")

# %% [markdown]
# Look at the last row of the table too. A dense layer with the same total does many times the operations, and still makes
# larger errors. But it needs little more CPU time: in layers this small, operations say little about time.
#
# ### Are they specialists?
#
# We count how often each regime chose each expert. For comparison we shuffle the regimes: what would chance look like?

# %%
@torch.no_grad()
def shares_of(layer, x, labels):
    layer(x)
    table = routing_table(layer.routing.experts, labels, layer.router.gate.out_features).float()
    return table / table.sum(1, keepdim=True)


shuffled = regime[torch.randperm(len(regime), generator=torch.Generator().manual_seed(0))]
maps = {"balanced experts": shares_of(trained["experts, balancing loss"], inputs, regime),
        "regimes shuffled": shares_of(trained["experts, balancing loss"], inputs, shuffled),
        "not balanced": shares_of(trained["experts, not balanced"], inputs, regime)}

# %% jupyter={"source_hidden": true}
def regimes_figure():
    fig, axes = plots.figure("Which expert does each regime go to?", "expert", "regime", panels=len(maps), shared_y=True,
                             height=3.2)
    for ax, (title, table) in zip(axes, maps.items()):
        picture = ax.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        ax.set_title(title, fontsize=10)
        ax.grid(visible=False)
    fig.colorbar(picture, ax=axes).ax.set_xlabel("share of\na row", labelpad=8)
    return fig

# %% course={"picture": "images/04_regimes.png"}
plots.show(regimes_figure(),
           alt="Three heat maps of regimes against experts. With balancing nearly every regime goes to an expert of its own. "
           "With shuffled regimes every row looks the same. Without balancing one expert takes nearly all of every regime.")

# %% [markdown]
# One number says how much the expert tells about the regime: the *normalised mutual information*, NMI for short. It is
# zero when the expert tells nothing, and one when each tells the other exactly. (Where there are fewer labels than experts, even
# labels that the expert tells without error stay below one.)

# %%
def nmi(labels, experts):
    return float(normalized_mutual_info_score(labels.numpy(), experts[:, 0].numpy()))


experts = trained["experts, balancing loss"].routing.experts
tells, by_chance = nmi(regime, experts), nmi(shuffled, experts)
print(f"regime and expert: NMI {tells:.3f}; shuffled regimes: {by_chance:.3f}")

# %% tags=["nbval-check-output"]
print("regime and expert: NMI above 0.8:", tells > 0.8)
print("shuffled regimes: NMI below 0.05:", by_chance < 0.05)

# %% [markdown]
# So experts *can* be specialists: when the task has clear parts, and when someone makes them share the work.
#
# ## Part three: real text
#
# Now text, as bytes, from four domains that Python itself ships: prose, program code, arithmetic and tables. A small
# model reads eight bytes and predicts the next: here a token is a window of eight bytes. Its quality is in *bits per byte*:
# how many bits each byte of a text would take if the model packed it. Lower is better.

# %%
for name in CORPORA:
    print(repr(bytes(corpus(name).val[1000:1060].tolist()).decode(errors="replace")))

# %%
guess_gain = predict(
    "04-gain", "Experts with the same active weights as a dense model: how do they compare after the same CPU time?",
    options=["better", "about the same", "worse"], guess="about the same",
)
guess_gain

# %%
guess_topics = predict(
    "04-topics", "Will prose and program code go to different experts?",
    options=["yes, clearly", "hardly"], guess="yes, clearly",
)
guess_topics

# %% [markdown]
# These runs take minutes, so they come in a table. Each model has two blocks. Sixteen experts; each token visits one.
# The dense model of the same active weights is a little wider, as in part two: it gets the router's operations as well.
# For "same time" we first timed a step of each in turn. The dense model got as many steps more as its steps are quicker, and
# we checked that it never had less CPU time.

# %%
bytes_table = shipped("04_byte_lm")
bits = by_kind(bytes_table.rows, "bits_per_byte")
spent = by_kind(bytes_table.rows, "cpu_seconds")
steps = by_kind(bytes_table.rows, "steps")
both_blocks = by_kind(bytes_table.rows, "effective_experts")
in_use = {kind: [e for pair in pairs for e in pair] for kind, pairs in both_blocks.items()}
Table(["model", "seeds", "steps", "CPU s", "effective experts of 16", "bits per byte, lowest to highest"],
      [(kind, len(b), low_to_high(steps[kind], 0), low_to_high(spent[kind], 0), low_to_high(in_use[kind], 1), low_to_high(b))
       for kind, b in sorted(bits.items())], caption=f"Trained once: {bytes_table.made}")

# %% tags=["nbval-check-output"]
balanced = bits["experts, balancing loss"]
gains = {kind: [d - m for d, m in zip(bits[kind], balanced)] for kind in ("dense, same active", "dense, same time")}
print(f"fewer bits per byte after the same steps: {low_to_high(gains['dense, same active'], 2)}")
print(f"fewer bits per byte after the same time:  {low_to_high(gains['dense, same time'], 2)}")
ahead = bits["dense, same total"][0] - balanced[0]
dearer = spent["dense, same total"][0] / spent["experts, balancing loss"][0]
print(f"the large dense twin, one seed: {ahead:+.2f} bits per byte beside the experts, {dearer:.0f} times the CPU time")

# %%
guess_gain.reveal("better" if min(gains["dense, same time"]) > 0.02 else "about the same")

# %% jupyter={"source_hidden": true}
def bits_figure():
    order = ["dense, same active", "dense, same time", "experts, not balanced", "experts, balancing loss",
             "dense, same total"]
    fig, ax = plots.figure("What do experts gain on real text?", "bits per byte on held-out text, one mark a seed (lower is "
                           "better)", "model", height=2.9)
    for row, kind in enumerate(order):
        ax.plot(bits[kind], [row] * len(bits[kind]), **plots.series(kind.startswith("experts")) | {"linestyle": "none"})
    ax.set_yticks(range(len(order)), order)
    ax.invert_yaxis()
    ax.margins(y=0.12)
    return fig

# %%
plots.show(bits_figure(), alt="Bits per byte of five models, one mark for each seed; the axis does not start at zero. Dense "
           "with the same active weights needs most bits, dense with the same time fewer, both kinds of experts fewer "
           "still, close to the dense model with the same total.")

# %% [markdown]
# A real gain, on real text, and smaller once time is counted: the overhead eats about half of it. Here the experts match
# the large dense twin after the same steps, at a fraction of its CPU time. And on text the router did not collapse when
# nobody balanced it: it used about ten of sixteen experts, and the model was a little worse.
#
# ### What do they specialise in?
#
# To look inside we train one small model here, with fewer steps.

# %%
def draw(n, rng):
    """The same number of windows from each domain, with their next bytes."""
    texts = [corpus(name).train for name in CORPORA]
    pairs = [byte_windows(t, torch.randint(8, len(t), (n // len(texts),), generator=rng)) for t in texts]
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])

# %%
seed_everything(0, threads=1)
reader = ByteWindowLM(64, feed_forward=lambda: SparseMoE(64, 128, n_experts=16, top_k=1))
adam, rng = torch.optim.Adam(reader.parameters(), lr=1e-2, fused=True), torch.Generator().manual_seed(0)
for _ in range(200):
    x, y = draw(2048, rng)
    loss = F.cross_entropy(reader(x), y)
    loss = loss + 0.01 * sum(load_balancing_loss(block.routing) for block in reader.blocks)
    adam.zero_grad()
    loss.backward()
    adam.step()

# %% [markdown]
# Then it reads held-out text, and we note for each window which expert of the first block it went to. Two ways to label a
# window: by the domain that it came from, and by what kind of byte its last one is.

# %%
KINDS = ["space", "new line", "small letter", "capital", "digit", "other"]


def kind_of(byte):
    c = chr(byte)
    tests = [c == " ", c == "\n", "a" <= c <= "z", "A" <= c <= "Z", c.isdigit()]
    return tests.index(True) if True in tests else 5


kind_table = torch.tensor([kind_of(b) for b in range(256)])

# %%
places = [torch.linspace(8, len(corpus(name).val) - 1, 2048).long() for name in CORPORA]
windows = torch.cat([byte_windows(corpus(name).val, p)[0] for name, p in zip(CORPORA, places)])
domain = torch.arange(len(CORPORA)).repeat_interleave(2048)
kind = kind_table[windows[:, -1]]
with torch.no_grad():
    reader.eval()(windows)
went = reader.blocks[0].routing.experts

# %%
def row_shares(labels):
    table = routing_table(went, labels, 16).float()
    return table / table.sum(1, keepdim=True)


domain_map, kind_map = row_shares(domain), row_shares(kind)

# %% jupyter={"source_hidden": true}
def text_figure():
    fig, axes = plots.figure("What do the experts of the first block go by?", "expert", "", panels=2, width=8.6, height=3.0)
    rows = (list(CORPORA), KINDS), ("domain", "kind of the last byte")
    for ax, table, names, title in zip(axes, (domain_map, kind_map), *rows):
        picture = ax.imshow(table, cmap="cividis", vmin=0, vmax=0.8, aspect="auto")
        ax.set_yticks(range(len(names)), names)
        ax.set_ylabel(title)
        ax.grid(visible=False)
    fig.colorbar(picture, ax=axes).ax.set_xlabel("share of\na row", labelpad=8)
    fig.get_layout_engine().set(wspace=0.06)
    return fig

# %%
plots.show(text_figure(), alt="Two heat maps. Left, domain against expert: the rows of prose and code look alike, arithmetic "
           "stands apart. Right, kind of byte against expert: new lines, spaces and digits go mostly to one or two "
           "experts each.")

# %%
two = domain < 2  # prose and code alone
mixed = domain[torch.randperm(len(domain), generator=torch.Generator().manual_seed(0))]
scores = {"four domains": nmi(domain, went), "kind of byte": nmi(kind, went), "domains shuffled": nmi(mixed, went),
          "prose or code": nmi(domain[two], went[two]), "kind of byte, in these two": nmi(kind[two], went[two])}
for name, score in scores.items():
    print(f"{name:26s} NMI {score:.3f}")

# %% tags=["nbval-check-output"]
print("four domains above 0.15:    ", scores["four domains"] > 0.15)
print("kind of byte above 0.2:     ", scores["kind of byte"] > 0.2)
print("domains shuffled below 0.02:", scores["domains shuffled"] < 0.02)
print("prose or code below 0.1:    ", scores["prose or code"] < 0.1)
print(f"two even labels over sixteen experts, at most {2 * math.log(2) / (math.log(2) + math.log(16)):.1f}")
by_byte = scores["kind of byte, in these two"] / scores["prose or code"]
print("within these two, the kind of byte tells more than 3 times as much:", by_byte > 3)

# %%
guess_topics.reveal("yes, clearly" if scores["prose or code"] > 0.15 else "hardly")

# %% [markdown]
# The four domains seem to have experts of their own. But take only prose and code, which use the same letters, and almost
# nothing is left; the kind of byte still tells much. So the experts go by the kind of byte, and arithmetic has other bytes
# than prose.
#
# But our reader sees eight bytes at a time. It can hardly know a topic, whatever its experts do. So we also ask the authors of
# Mixtral, a large published model.

# %% tags=["nbval-check-output"]
print(statement("moe_mixtral_topic").text)
same, chance = fact("moe_mixtral_consec"), fact("moe_mixtral_consec_random")
print(f"neighbouring tokens with the same first expert, in a middle layer: {same.value:.0f} %; by chance {chance.value} %")

# %% [markdown]
# ### Verdict

# %% tags=["nbval-check-output"]
verdict("B19", "contested" if by_byte > 3 else "supported",
        "experts specialise, by the kind of token and not by the topic of the text")

# %% [markdown]
# ## Part four: the missing line
#
# Experts are often shown on small data with a fine result. We do the same with handwritten digits: ten tiny experts of
# four hidden units. Their rival is a dense network of four hidden units. One token, one image. In `forward` you find the four
# steps of part one again: sort, cut, work, send back.

# %%
class DigitExperts(nn.Module):
    def __init__(self, hidden=4, n_experts=10):
        super().__init__()
        self.router = TopKRouter(64, n_experts, top_k=1, bias_update=0.01)
        self.w_in = nn.Parameter(torch.randn(n_experts, 64, hidden) / 8)
        self.w_out = nn.Parameter(torch.randn(n_experts, hidden, 10) / 2)

    def forward(self, x):
        weights, chosen, _ = self.router(x)
        order = chosen[:, 0].argsort(stable=True)
        counts = expert_load(chosen, len(self.w_in))
        y = run_loop(x[order], counts, self.w_in, self.w_out, F.relu)
        return torch.zeros_like(y).index_add(0, order, y * weights[order])

# %%
images = digits()
builds = {"dense, 4 hidden": lambda: DigitsMLP((4,)), "ten experts of 4": DigitExperts,
          "dense, 12 hidden": lambda: DigitsMLP((12,))}
readers, read = {}, {name: [] for name in builds}
for name, build in builds.items():
    for seed in range(4):
        seed_everything(seed, threads=1)
        readers[name] = build()
        train(readers[name], images.train, images.val, epochs=20, lr=1e-2, batch_size=64, progress=False)
        read[name].append(100 * accuracy(readers[name], images.test))

# %%
guess_router = predict(
    "04-router", "One image costs 592 FLOPs in an expert. What does the router cost for it?",
    low=10, high=3000, guess=100, step=10, unit="FLOPs",
)
guess_router

# %% tags=["nbval-check-output"]
one = images.test.x[:1]
router_flops = count(readers["ten experts of 4"].router, one).flops
whole = {name: count(m, one).flops for name, m in readers.items()}
print(f"router {router_flops:,} FLOPs, expert {whole['ten experts of 4'] - router_flops:,} FLOPs")
for name, flops in whole.items():
    print(f"{name:17s}{flops:>6,} FLOPs for one image")

# %%
guess_router.reveal(router_flops)

# %%
mean = {name: sum(percent) / len(percent) for name, percent in read.items()}
Table(["network", "FLOPs for one image", "test images read correctly", "mean"],
      [(name, whole[name], f"{low_to_high(read[name], 1)} %", f"{mean[name]:.1f} %") for name in read],
      caption="Lowest to highest of four seeds, on this machine")

# %% tags=["nbval-check-output"]
print("the dense network of 12 needs fewer FLOPs:", whole["dense, 12 hidden"] < whole["ten experts of 4"])
print("and on average it reads more images:", mean["dense, 12 hidden"] > mean["ten experts of 4"])

# %% [markdown]
# The router costs more than the expert that it chooses. Leave its line out, and the rival is the dense network of four:
# with a lucky seed, experts win by far. Count it, and a dense network with fewer operations reads more digits. In a large
# model the router is a tiny part; in a toy it is most of the bill.
#
# ## Part five: the large models
#
# Our layers are tiny. What is known of the large ones? We ask one question at a time. The figures come first, then the
# verdict on a sentence of the article. *Measured here* means: measured, counted or recomputed in a lesson. In this part we
# recompute published figures. Two questions are about words more than about energy: they say *if you have time*.
#
# ### How large are they?
#
# The article speaks of "parameters - now numbering in the billions". And how many of them work for one token?

# %%
guess_share = predict(
    "04-share", "What share of DeepSeek-V3's parameters works for one token?",
    low=0, high=100, guess=30, step=0.5, unit="%",
)
guess_share

# %%
guess_share.reveal(fact("moe_dsv3_share").value)

# %% [markdown]
# Here are the best-known mixtures of experts. Joules were measured at the GPU alone, by one group, at the batch that costs
# least. Chips and number formats (how many bits a weight takes) differ, so compare rows with care. Sizes of Qwen3 and
# gpt-oss are rounded, as that group lists them.

# %% jupyter={"source_hidden": true}
def joules(name):
    return f"{fact(name).value:.4g} (measured, {fact(name).year})" if name else "not published here"


published = [  # total and active parameters in billions; joules for one token of output; where they were measured
    ("Mixtral 8x7B", fact("moe_mixtral7_total").value, fact("moe_mixtral7_active").value, None, "-"),
    ("DeepSeek-V3", fact("moe_dsv3_total").value, fact("moe_dsv3_active").value, "ml_dsv31", "V3.1, 8 B200, 8 bit"),
    ("Qwen3 30B-A3B", 30.0, 3.0, "ml_q30a3", "B200"),
    ("Qwen3 235B-A22B", 235.0, 22.0, "ml_q235a22", "4 B200, 16 bit"),
    ("gpt-oss-120B", 120.0, 5.0, "ml_oss120", "B200, 4 bit, exam questions"),
    ("Llama 4 Scout", fact("moe_scout_total").value, fact("moe_llama4_active").value, "ml_scout", "4 H100"),
    ("GLaM", fact("moe_glam_total").value, fact("moe_glam_active").value, None, "-"),
    ("Switch", fact("tr_switch_params").value, fact("tr_switch_params").value * fact("moe_switch").value / 100, None, "-"),
]

# %%
Table(["model", "total (B)", "active (B)", "active share", "J for one token", "measured on"],
      [(name, total, active, f"{active / total:.1%}", joules(j), on) for name, total, active, j, on in published])

# %% [markdown]
# The second column answers the article. We add two dense models, and ask whether "billions" is the right word, or rather
# millions, or already trillions (thousands of billions).

# %% tags=["nbval-check-output"]
sizes = [total for _, total, *_ in published] + [fact(name).value for name in ("gpt3_params", "llama31_405b_params")]
billions = [size for size in sizes if 1 <= size < 1000]
print(f"smallest {min(sizes):.0f}, largest {max(sizes):,.0f} billion parameters")
print(f"in the billions: {len(billions)} of {len(sizes)} models; in the hundreds of billions: {sum(b >= 100 for b in billions)}")
verdict("A7", "supported" if len(billions) > len(sizes) / 2 else "loosely stated",
        "most are in the billions, and most of these in the hundreds of billions; some makers do not say")

# %% [markdown]
# ### If you have time: two makers, two ways?
#
# The article sets Mistral and DeepSeek against each other.

# %%
claim("B17").card()

# %% [markdown]
# If one of the two were dense, all of its parameters would be active.

# %% tags=["nbval-check-output"]
total, active = fact("moe_mixtral7_total").value, fact("moe_mixtral7_active").value
whole_model, active_part = fact("moe_dsv3_total").value, fact("moe_dsv3_active").value
print(f"Mixtral:     {active:4.1f} of {total:5.1f} B active, {fact('moe_mixtral7_experts').value:.0f} experts in a layer")
print(f"DeepSeek-V3: {active_part:4.1f} of {whole_model:5.1f} B active, {fact('moe_dsv3_experts').value:.0f} experts in a layer, "
      f"and {fact('moe_dsv3_shared').value:.0f} shared")
verdict("B17", "misattributed" if active < total and active_part < whole_model else "supported",
        "both are mixtures of experts; they differ in how many")

# %%
claim("B16").card()

# %% [markdown]
# Here there is nothing to count: it is a question of names.

# %% tags=["nbval-check-output"]
verdict("B16", "misattributed", "the company is Mistral, its mixture of experts is Mixtral, and other models of it are dense")

# %% [markdown]
# ### One model cut into eight?
#
# The name Mixtral 8x7B sounds like eight models of seven billion. Multiply its published sizes. (Each of its experts has
# three matrices, one more than ours.)

# %% tags=["nbval-check-output"]
expert_size = 3 * fact("moe_mixtral7_d_model").value * fact("moe_mixtral7_d_ff").value  # SwiGLU has three matrices
per_layer, n_layers = fact("moe_mixtral7_experts").value, fact("moe_mixtral7_layers").value
all_experts = expert_size * per_layer * n_layers / 1e9
print(f"one expert in one layer: {expert_size / 1e6:.0f} million (published: {fact('moe_mixtral7_ffn').value:.0f})")
print(f"all experts of all layers: {all_experts:.1f} B; published for the whole model: {total} B")
print(f"so {total - all_experts:.1f} B are shared, such as attention; eight whole models would have {8 * 7} B")
verdict("B18", "loosely stated" if total < 8 * 7 else "supported",
        "one part of each layer is there eight times, trained together; the rest is shared")

# %% [markdown]
# ### Do they save energy in answering?
#
# Take one family, measured on one chip and one task, each model at its best batch: a mixture with three billion active
# parameters, and a dense model of about the same total.

# %%
guess_qwen = predict(
    "04-qwen", "How many times the energy of Qwen3 30B-A3B (3 billion active) does the dense 32B model take?",
    low=1, high=20, guess=10.7, step=0.1, unit="times",
)
guess_qwen

# %% tags=["nbval-check-output"]
promised, saving = 32 / 3, fact("ml_q32b").value / fact("ml_q30a3").value
print(f"by active parameters: {promised:.1f} times; measured: {saving:.1f} times")

# %%
guess_qwen.reveal(saving)

# %% [markdown]
# Is that pair an exception? Here are three more, and the same mixture at a small batch. *Promised* is what the active parameters alone would give. *Measured* is the
# energy of the dense model over that of the mixture: below one, the mixture took more.

# %% tags=["nbval-check-output"]
scout_active = fact("moe_llama4_active").value
pairs = [  # mixture, dense rival, what the active parameters promise, joules of both
    ("Qwen3 30B-A3B", "Qwen3 8B", 8 / 3, "ml_q30a3", "ml_q8b"),
    ("the same, batch of 8", "Qwen3 32B", 32 / 3, "ml_q30a3_b8", "ml_q32b_b8"),
    ("Llama 4 Scout", "Llama 3.3 70B", 70 / scout_active, "ml_scout", "ml_l70_h100"),
    ("gpt-oss-120B", "Qwen3 32B", 32 / 5, "ml_oss120", "ml_q32b_gpqa"),
]
print(Table(["mixture", "dense rival", "promised", "measured"],
            [(a, b, f"{share:.1f}", f"{fact(rival).value / fact(mixture).value:.2f}") for a, b, share, mixture, rival in pairs]))

# %% [markdown]
# In three of the four the mixture saves less than promised. Beside the dense 8B model it saves nothing. Part one shows a likely
# reason: these batches are of the size in between, enough to touch nearly all experts, too few to keep each one busy. The
# small batch touches many of them already.
# In the last pair the mixture saves more than promised. But its weights also have four bits, so two causes are mixed.
#
# And memory? It follows the total. There is one finding in favour of experts: on a phone, which answers one user.

# %% tags=["nbval-check-output"]
experts_gb, dense_gb = fact("moe_gemma26mem_bf16").value, fact("moe_gemma12mem_bf16").value
print(f"Gemma 4 26B with about 4 B active: {experts_gb} GB; dense 12B: {dense_gb} GB")
print(statement("ph_moe_7b").text)

# %% [markdown]
# ### And in training?
#
# There a batch has far more tokens, and every expert is busy. First what the study says that the article cites, then three
# mixtures beside the dense GPT-3.

# %% tags=["nbval-check-output"]
print(statement("tr_sparse_tenth").text)
gpt3 = fact("tr_gpt3_energy").value
print(f"GPT-3: {gpt3:,.0f} MWh, calculated (lesson 02)")
times = {}
for name, key in {"GShard": "tr_gshard", "Switch": "tr_switch", "GLaM": "tr_glam"}.items():
    times[name] = gpt3 / fact(key).value
    print(f"{name:7s}{fact(key).value:6.1f} MWh; GPT-3 took {times[name]:4.1f} times as much")

# %% [markdown]
# "Under a tenth" for the mixture means more than ten times for GPT-3. One of the three gets there: GShard. It translates, so
# the two are not alike. For the others it is a few times, and chips and amounts of text differ. So read "can": a tenth is the
# best case, not the rule.

# %% tags=["nbval-check-output"]
in_training = min(times.values()) > 1
in_answering = saving >= promised or fact("ml_q8b").value > fact("ml_q30a3").value
print("in training, each of the three took less than GPT-3:", in_training)
print("in answering, the Qwen3 mixture keeps its promise, or beats the dense 8B:", in_answering)
verdict("B20", "supported" if in_training and in_answering else "contested",
        "they saved in training, and beside a dense twin of about the same total; but less than promised, and nothing beside 8B")

# %% [markdown]
# ### Fewer parameters, like DeepSeek?

# %%
claim("B14").card()

# %% [markdown]
# We compare with the largest dense model of our list. For the energy of training, both makers published the hours of the
# chips, and no joules. Hours times the rated power of a chip gives an upper value, for the chips alone. (DeepSeek's chip, the
# H800, is taken for an H100.)

# %% tags=["nbval-check-output"]
llama, llama_gwh = fact("llama31_405b_params").value, fact("tr_llama31_405b_e").value
deepseek_gwh = fact("tr_dsv3_energy_h100").value
print(f"Llama 3.1 405B: {llama:.0f} B, all of them active;  {llama_gwh:5.2f} GWh")
print(f"DeepSeek-V3:    {whole_model:.0f} B, {active_part:.0f} B of them active; {deepseek_gwh:5.2f} GWh")
print(f"Llama took {llama_gwh / deepseek_gwh:.1f} times as much")
verdict("B14", "contested" if active_part >= llama else "loosely stated" if whole_model > llama else "supported",
        "fewer parameters work for a token; more are stored than in the dense model")

# %% [markdown]
# ### And the data?
#
# The article says: "Action must also be taken on the training data". The usual count of training is six operations for each
# active parameter and each token. In this count tokens weigh as much as parameters. Does it hold for real trainings?
# We try it on the two models above, against their hours.

# %% tags=["nbval-check-output"]
tokens_read = [fact(name).to("token") for name in ("tr_llama31_405b_tokens", "tr_dsv3_tokens")]
dense_work, sparse_work = (training_flops(b * 1e9, n) for b, n in zip((llama, active_part), tokens_read))
counted, by_hours = dense_work / sparse_work, llama_gwh / deepseek_gwh
print(f"Llama over DeepSeek: counted {counted:.1f} times, by hours and power {by_hours:.1f} times")
print(f"of the count: active parameters {llama / active_part:.1f} times, tokens {tokens_read[0] / tokens_read[1]:.2f} times")
verdict("B15", "supported" if abs(counted / by_hours - 1) < 0.2 else "loosely stated",
        "the count foretells the hours; that fewer tokens help follows from it, and lesson 06 tests it")

# %% [markdown]
# It holds here. But the last line shows a limit: both models read nearly as many tokens, so this pair alone says little
# about tokens. Lesson 06 has a pair that does, and asks what less data costs.
#
# ### If you have time: few parameters, for subtasks?

# %%
claim("B21").card()

# %% [markdown]
# If this describes experts, they must be a small part of the model.

# %% tags=["nbval-check-output"]
print(f"Mixtral's experts hold {all_experts / total:.0%} of its parameters")
print(f"adapters (LoRA, on GPT-3) leave {fact('lora_ratio').value:,.0f} times fewer parameters to train")
verdict("B21", "misattributed" if all_experts / total > 0.5 else "supported",
        "experts are most of the model; the sentence describes adapters, another technique")

# %% [markdown]
# Nor was an expert made for a subtask: all were trained together. Small added parts exist too. They are called adapters:
# lesson 05.
#
# ## Part six: memory against compute
#
# Design your own. The form is Mixtral's: its layers, its width, its shared part. You choose how many experts there are,
# and how many a token visits. At the start yours is Mixtral. In a dense model each weight takes two bytes and two operations
# for a token, so its gigabytes and its GFLOP are the same number: a line.
#
# *Capacity* is a choice of some systems. Each expert gets a fixed number of places: an equal share, times the capacity. A
# token that finds no place is skipped, and an empty place is computed all the same. So more capacity skips fewer tokens
# and costs more. Our layer has no fixed places: it skips nothing, and costs as much as a capacity of one.

# %%
one_expert = expert_size * n_layers  # parameters of an expert in all layers
shared_part = total * 1e9 - per_layer * one_expert


def design(n_experts, top_k, capacity):
    """(GB of all weights at 16 bit, GFLOP for one token) of a model in Mixtral's form."""
    visited = min(top_k, n_experts) * capacity
    return 2 * (shared_part + n_experts * one_expert) / 1e9, 2 * (shared_part + visited * one_expert) / 1e9

# %% tags=["nbval-check-output"]
gb, gflop = design(8, 2, 1.0)
print(f"with Mixtral's own numbers: {gb:.0f} GB and {gflop:.0f} GFLOP for one token")

# %% jupyter={"source_hidden": true}
def design_figure(n_experts, top_k, capacity):
    fig, ax = plots.figure("Where does your model lie between memory and compute?", "all weights at 16 bit (GB)",
                           "compute for one token (GFLOP)", height=3.6)
    ax.plot([10, 4000], [10, 4000], color="black", linestyle="--", label="dense models: all weights work")
    others = [row[:3] for row in published]
    ax.scatter([2 * t for _, t, _ in others], [2 * a for _, _, a in others], color=plots.OKABE_ITO[0],
               label="published mixtures")
    for name, t, a in others:
        ax.text(2.1 * t, (1.1 if "Scout" in name else 1.4) * a, name, fontsize=8)  # lower, clear of its neighbour's name
    gb, gflop = design(n_experts, top_k, capacity)
    ax.scatter([gb], [gflop], color=plots.OKABE_ITO[1], marker="*", s=160, zorder=3, label="yours")
    ax.set(xscale="log", yscale="log", xlim=(10, 10_100), ylim=(1.5, 4000))
    ax.minorticks_off()  # dozens of small ticks would take a third of the drawing time
    ax.legend(loc="upper left", fontsize=9)
    return fig


def design_words(n_experts, top_k, capacity):
    gb, gflop = design(n_experts, top_k, capacity)
    return (f"Yours has {n_experts} expert{'s' * (n_experts > 1)}, {min(top_k, n_experts)} for each token, and capacity "
            f"{capacity:.2f}: {gb:,.0f} GB of weights, {gflop:,.0f} GFLOP for one token; a dense model of this memory needs "
            f"{gb:,.0f} GFLOP. "
            "Published mixtures lie far below the dense line.")

# %%
explore(design_figure, alt=design_words,
        n_experts=slider(1, 64, 8, label="experts"),
        top_k=slider(1, 8, 2, label="experts for each token"),
        capacity=slider(1.0, 2.0, 1.0, 0.05, label="capacity"))

# %% [markdown]
# Three things to try. Add experts: the point moves to the right, to more memory, and not up. Add visits: it moves up. Set
# one expert, one visit and a capacity of one: now the model is dense, and the point lies on the line.
#
# ## What the figures do not say
#
# - Our layers run on one core. A server spreads experts over many chips, and moving tokens between them costs energy that
#   nothing here shows.
# - The hidden regimes were made to show collapse and cure. On text the unbalanced router kept most of its experts.
# - The gain on text holds for a model that reads eight bytes, without attention, after a short training. All models
#   had the same learning rate; nobody tuned it for the large dense twin.
# - Same active weights, same total, same time: three comparisons, and each gives another answer. No single one is "the" saving.
# - The joules of published models are of the GPU alone. They depend on batch, chip, number format and task. They do not say
#   how well a model answers.
# - For Mixtral, GLaM and Switch no measured joules per token stand in our sources.
#
# ## What you have seen
#
# - A layer of experts is a router, a sort, and slices. What one token meets is a small part of what is stored.
# - It costs more than a dense layer of the same active weights, and a fraction of one of the same total. Memory and
#   optimiser follow the total.
# - Left alone, a router collapses. An extra loss or a bias mends it.
# - Experts specialise by the kind of token. Prose and code share theirs.
# - Leave the router out of the count, and experts seem to win where they lose.
# - In a published model the active size sets the compute, and the total sets the memory. Neither sets the energy alone:
#   in answering, most mixtures saved less than their active share promises.
#
# **Now do** [exercise 04](../exercises/04_sparse_experts.ipynb). **Next:** [lesson 05](05_adapters.ipynb).
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
cite("moe_mixtral7_total", "moe_mixtral7_active", "moe_mixtral7_share", "moe_mixtral7_d_model", "moe_mixtral7_d_ff",
     "moe_mixtral7_layers", "moe_mixtral7_experts", "moe_mixtral7_ffn", "moe_mixtral_topic", "moe_mixtral_consec",
     "moe_mixtral_consec_random", "moe_dsv3_total", "moe_dsv3_active", "moe_dsv3_share", "moe_dsv3_experts",
     "moe_dsv3_shared", "moe_scout_total", "moe_llama4_active", "moe_glam_total", "moe_glam_active",
     "tr_switch_params", "moe_switch", "moe_gemma26mem_bf16", "moe_gemma12mem_bf16", "ph_moe_7b",
     "ml_dsv31", "ml_q30a3", "ml_q235a22", "ml_oss120", "ml_scout", "ml_q32b", "ml_q8b", "ml_q32b_b8",
     "ml_q30a3_b8", "ml_l70_h100", "ml_q32b_gpqa", "tr_sparse_tenth", "tr_gshard", "tr_switch", "tr_glam",
     "tr_gpt3_energy", "gpt3_params", "llama31_405b_params",
     "tr_dsv3_energy_h100", "tr_llama31_405b_e", "tr_dsv3_tokens", "tr_llama31_405b_tokens", "lora_ratio")
