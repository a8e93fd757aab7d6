# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '03'
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
# # The cost of a query
#
# **The question.** Does a simple query use all the resources? And does it have to?
#
# **After this lesson you can**
#
# - count what a query costs a network, and say what that depends on: not the difficulty, but the tokens;
# - measure the cost of one query alone and in a batch, and set it beside published curves;
# - build a network that stops when it is sure, choose its threshold honestly, and compare it with a smaller network;
# - say where stopping early saves nothing, and why the right size comes first.
#
# **You need** about 45 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the
# cells one by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** A8, B4, B5, B6, B10.
# **Before:** [lesson 02](02_training_and_inference.ipynb). **After:** [exercise 03](../exercises/03_cost_of_a_query.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import html
import inspect
import re

import numpy as np
import torch
from matplotlib.ticker import LogLocator
from torch.nn import functional as F

from course_lib import ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count, count_flops
from course_lib.data import Split, corpus, digits
from course_lib.energy import Meter
from course_lib.facts import cite, fact, statement
from course_lib.models import DigitsMLP, MultiExitCNN, pretrained
from course_lib.setup import seed_everything
from course_lib.stats import si
from course_lib.tables import Table, shipped
from course_lib.training import accuracy, train
from course_lib.widgets import explore, predict, slider

seed_everything(0, threads=1)  # one thread: networks this small gain nothing from two
meter = Meter()

# %% [markdown]
# ## Part one: an easy query and a hard one
#
# The article says it in one sentence.

# %%
claim("B6").card()

# %% [markdown]
# We need a network that reads text. The course ships a small one. It has the form of GPT: four *blocks*, each a few
# layers with attention in it, one behind the other. It was trained on the source code of Python. It reads *bytes*: for
# plain English, a byte is one character. In large models the unit is a *token*, a piece of a word; here, one byte is
# one token.
#
# Here is a piece of ordinary code, and as many letters drawn at random.

# %%
model = pretrained()
easy = b"def read(path):\n    with open(path) as file:\n        return file.read()\n\n\ndef main():\n    print(read("
rng = torch.Generator().manual_seed(0)
hard = bytes((97 + torch.randint(26, (len(easy),), generator=rng)).tolist())


def tokens(text):
    """Bytes as a batch of one, int64 [1, T]."""
    return torch.tensor([list(text)])

# %% [markdown]
# Which one is harder for the network? We ask how well it foresaw each byte: its *surprise*, in bits. Half sure is one bit;
# pure guessing among all the bytes is eight.

# %% tags=["nbval-check-output"]
@torch.inference_mode()
def surprise(text):
    """Mean bits per byte, from the second byte on."""
    x = tokens(text)
    return F.cross_entropy(model(x)[0, :-1], x[0, 1:]).item() / np.log(2)


print("the same number of bytes:", len(easy) == len(hard))
print("the random letters surprise it at least twice as much:", surprise(hard) > 2 * surprise(easy))

# %%
guess_hard = predict(
    "03-hard-query", "How does the network's work for the hard text compare with its work for the easy one?",
    options=["the same", "up to twice as much", "more than twice as much"], guess="up to twice as much",
)
guess_hard

# %% tags=["nbval-check-output"]
work = {name: count(model, tokens(text)).flops for name, text in {"easy": easy, "hard": hard}.items()}
for name, flops in work.items():
    print(f"{name} text: {flops:,} FLOPs")

# %%
ratio = work["hard"] / work["easy"]
guess_hard.reveal("the same" if ratio == 1 else "up to twice as much" if ratio <= 2 else "more than twice as much")

# %% [markdown]
# Every weight takes part for every token, whatever the token is. A network like that is called *dense*. The count says
# "the same" to the last digit. Does the machine agree? It runs the two in turn, and compares.

# %%
@torch.inference_mode()
def read(text):
    return model(text)


easy_tokens, hard_tokens = tokens(easy), tokens(hard)
meter.compare(lambda: read(hard_tokens), lambda: read(easy_tokens), pairs=6, window=0.1, names=("hard text", "easy text"))

# %% [markdown]
# ### What it does depend on: the number of tokens

# %% tags=["nbval-check-output"]
lengths = (1, 2, 8, 32, 128)
per_length = {n: count(model, torch.zeros(1, n, dtype=torch.long)).flops for n in lengths}
for n, flops in per_length.items():
    print(f"{n:4d} tokens: {flops:>13,} FLOPs, {flops / n / 1e6:.2f} million each")

# %% [markdown]
# Nearly a straight line. Each token costs about two FLOPs for each weight that multiplies. The small rest is attention:
# every token also looks at those before it. For a large model, two published numbers agree. (Both are counts: nobody
# measured them.)

# %% tags=["nbval-check-output"]
table_rows = sum(p.numel() for p in (model.tokens.weight, model.places.weight))  # looked up, not multiplied
unused = sum(p.numel() for p in model.exits.parameters())  # exit heads, for part four
multiplying = sum(p.numel() for p in model.parameters()) - table_rows - unused
print(f"ours:  {per_length[1] / multiplying:.2f} FLOPs for each weight and token")
print(f"GPT-3: {fact('moe_gpt3_flops').to('FLOP/token') / fact('gpt3_params').to('param'):.2f}")

# %% [markdown]
# So a query costs tokens times weights. And who decides how many tokens? The *answer* does.

# %%
guess_answer = predict(
    "03-answer-length",
    "A model that reasons aloud answers a hard question; a chat model of the same size sends a reply. "
    "How many times the energy does the first take?",
    low=1, high=1000, guess=5, log=True, unit="times",
)
guess_answer

# %% tags=["nbval-check-output"]
reasoned, chat = fact("ml_r1"), fact("ml_dsv31_reply")
per_token = reasoned.value / fact("ml_r1_tokens").value
print(f"{reasoned.quantity}: {reasoned.text} (published; {reasoned.boundary})")
print(f"{chat.quantity}: {chat.text} (published; {chat.boundary})")
print(f"ratio {reasoned.value / chat.value:.0f}")
one_token = fact("ml_dsv31")
print(f"the first has {fact('ml_r1_tokens').text}: {per_token:.1f} J for each token (published)")
print(f"{one_token.quantity}: {one_token.value:.1f} J for each token (published; {one_token.boundary})")

# %%
guess_answer.reveal(reasoned.value / chat.value)

# %% [markdown]
# (GPQA is a set of hard questions in science. What *active* means is lesson 04.)
#
# Same family, same number of weights per token. Two things differ: the long answer has many more tokens, and each of
# them took more energy. The length explains the larger part. The batch may explain the rest: see part two. So "all the
# resources" is true of the FLOPs of each token. For the query it is wrong: a short answer takes few tokens.
#
# ### How many at the same time?

# %%
claim("A8").card()

# %% [markdown]
# One service has a published number of prompts a day. Prompts *at the same time* are another thing: prompts per
# second, times the seconds that an answer takes. (This is Little's law, from the theory of queues.) The seconds are our
# assumption: change them.

# %% tags=["nbval-check-output"]
seconds_per_answer = 10  # assumption
per_second = fact("chatgpt_prompts").to("prompt/s")
print(f"{per_second:,.0f} prompts a second; a million in {1e6 / per_second:.0f} seconds")
at_once = per_second * seconds_per_answer
print(f"at the same time, at {seconds_per_answer} s each: {at_once:,.0f}")

# %% tags=["nbval-check-output"]
verdict("A8", "supported" if at_once > 1e6 else "loosely stated",
        "it is millions in a minute, of prompts; one prompt is hundreds of passes through the network")

# %% [markdown]
# ## Part two: a query is rarely alone
#
# A server does not answer you alone. It collects the queries of many users and answers them together, as a *batch*. The
# count does not change: twice the queries, twice the FLOPs.
#
# We let the model write the next token for 1, 4, 16 or 64 users.

# %%
guess_batch = predict(
    "03-batch", "In a batch of 64, what does one query cost, in percent of the cost alone?",
    low=1, high=100, guess=80, unit="%",
)
guess_batch

# %% tags=["nbval-check-output"]
batches = {b: torch.full((b, 1), 100) for b in (1, 4, 16, 64)}
for b, x in batches.items():
    print(f"batch {b:2d}: {count(model, x).flops / b:,.0f} FLOPs for each query")

# %%
served = {b: meter.measure(lambda x=x: read(x), rel=0.05, window=0.1, max_n=8, name=f"batch {b}")
          for b, x in batches.items()}


def joules_per_query(m, b):
    return f"{si((m.joules_per_call or 0) / b, 'J')} ({m.total.label})"


Table(["batch", "CPU time per query", "95 % interval", "goal reached", "energy per query"],
      [(b, si(m.cpu_seconds_per_call / b, "s"), f"± {m.half_width / m.mean:.0%}", "yes" if m.reached else "no",
        joules_per_query(m, b)) for b, m in served.items()],
      caption="The next token for each user, after a single byte")

# %%
served[1].log(), served[64].log()  # into your ledger
guess_batch.reveal(100 * served[64].mean / 64 / served[1].mean)

# %% [markdown]
# Why? Two reasons. Each call has a fixed price, as in lesson 01, and a batch pays it once. And for a single token, the
# processor fetches every weight from memory and uses it once; for a batch it fetches the weight once and uses it for
# all. Our table does not separate the two. In a large model the weights dominate. These are published figures, at two
# batch sizes each.

# %%
pairs = [("Llama 3.1 8B, H100", "ml_llama8b_h100_b8", "ml_llama8b_h100"),
         ("Qwen3 14B, B200", "ml_q14b_b8", "ml_q14b"), ("Qwen3 32B, B200", "ml_q32b_b8", "ml_q32b")]


def batch_of(f):
    """The batch size, from the words of the published row."""
    return int(re.search(r"batch (\d+)", f.quantity)[1])


published = {name: [(batch_of(f), f.value) for f in map(fact, ids)] for name, *ids in pairs}

# %% tags=["nbval-check-output"]
for name, ((b, dear), (large, cheap)) in published.items():
    print(f"{name:19s} {dear:.2f} J/token at {b}, {cheap:.3f} at {large}: {dear / cheap:.1f} times less (published)")

# %% jupyter={"source_hidden": true}
def batch_figure():
    fig, (ours, theirs) = plots.figure("What does a larger batch do to the cost of one query?", "batch size", panels=2)
    cost = [1e3 * m.cpu_seconds_per_call / b for b, m in served.items()]
    half = [c * m.half_width / m.mean for c, m in zip(cost, served.values())]
    plots.lines(ours, list(served), {"this machine": cost}, spread={"this machine": half})
    ours.set_ylabel("CPU time per query (ms)")
    for i, (name, points) in enumerate(published.items(), start=1):
        theirs.plot(*zip(*points), label=name, **plots.series(i))
    theirs.set_ylabel("published: GPU energy (J/token)")
    theirs.legend(fontsize=9)
    for ax in (ours, theirs):
        ax.set(xscale="log", yscale="log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ours.set_xticks(list(served), [str(b) for b in served])
    ours.minorticks_off()
    return fig

# %%
plots.show(batch_figure(), alt="Two panels, both axes logarithmic. Left: on this machine the CPU time for one query "
           "falls as the batch grows. Right: the published GPU energy per token of three language models falls "
           "several times over from a batch of eight to one of some hundreds or more.")

# %% [markdown]
# The published points are joined by a line to guide the eye. They hold the GPU only, at steady load: no host, no idle
# hours, no building. Ours is a processor, with labels as they are. The direction is the same.
#
# A batch also has a price: the first user waits for the others.
#
# ## Part three: a network that may stop
#
# Must easy and hard queries cost the same? We build a network that looks at its own answer while it works, and stops when
# it is sure. We need queries of different difficulty: the digits of lesson 02, with noise on top.

# %%
LEVELS = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])  # standard deviation of the noise; paper is 0, ink is 1


def noisy(x, level, rng):
    """Images [n, 64] with noise of standard deviation `level` [n]."""
    return x + level[:, None] * torch.randn(x.shape, generator=rng)


def mixture(split, seed):
    """Every image of the split at every noise level, clean ones first."""
    rng = torch.Generator().manual_seed(seed)
    x = [noisy(split.x, level.expand(len(split)), rng) for level in LEVELS]
    return torch.cat(x), split.y.repeat(len(LEVELS))


images = digits()
val, test = mixture(images.val, 1000), mixture(images.test, 2000)

# %% jupyter={"source_hidden": true}
def mosaic(rows):
    """One picture [height, width] of images [rows, columns, 64], with thin grey lines between them."""
    framed = F.pad(rows.view(*rows.shape[:2], 8, 8).clamp(0, 1), (0, 1, 0, 1), value=0.4)
    return framed.transpose(1, 2).flatten(0, 1).flatten(1)


def noise_figure():
    fig, ax = plots.figure("Can you still read them?", "noise (standard deviation; paper is 0, ink is 1)", "", height=2.6)
    rows = test[0].view(len(LEVELS), -1, 64)[:, :3].transpose(0, 1)
    ax.imshow(mosaic(rows), cmap="gray_r", vmin=0, vmax=1)
    ax.set_xticks([9 * i + 4 for i in range(len(LEVELS))], [f"{level:.1f}" for level in LEVELS])
    ax.set_yticks([4, 13, 22], ["first image", "second", "third"])
    ax.grid(visible=False)
    ax.set_ylabel("test images")
    return fig

# %%
plots.show(noise_figure(), alt="Three handwritten digits in five columns, from clean on the left to very noisy on "
           "the right. The last column is hard to read.")

# %% [markdown]
# The network is a *convolutional* one: small filters, three by three pixels, slide over the image. Each of its six blocks
# sees a little further around each pixel than the block before. Behind every block stands an *exit*: a small linear layer
# that turns what is known so far into an answer. (The idea is that of BranchyNet, <https://arxiv.org/abs/1709.01686>.)
# Here is its heart, from `course_lib.models`. Look at `yield`: the next block runs only if somebody asks for it.

# %%
print(inspect.getsource(MultiExitCNN.states))
print(inspect.getsource(MultiExitCNN.read))

# %% [markdown]
# ### Count
#
# Two ways to spend less than the whole network. Cut it at a fixed depth, for all images. Or let each image leave at its
# own exit; then every exit that was tried on the way has been paid for.

# %%
def exit_costs(net, one):
    """FLOPs for one image: of the network cut at depth n, and of an early exit there, which tried all exits before."""
    fixed = torch.tensor([count(net, one, n).flops for n in range(len(net.heads))])
    head = count(net.heads[0], torch.zeros(1, net.heads[0].in_features)).flops
    return fixed, fixed + head * torch.arange(len(fixed))

# %% tags=["nbval-check-output"]
net = MultiExitCNN()
fixed, early = exit_costs(net, images.test.x[:1])
print(Table(["blocks run", "cut there (FLOPs)", "left there, after trying (FLOPs)"],
            [(n, *costs) for n, costs in enumerate(zip(fixed.tolist(), early.tolist()))]))

# %% [markdown]
# The exits themselves cost nearly nothing here: each looks at a few averages. In the text model they will cost more.
#
# ### A word on parameters
#
# This network is small in parameters and large in work. The article says that the number of parameters "implies considerable
# energy consumption". Take a network without filters, with as many parameters, and count both.

# %%
claim("B4").card()

# %% tags=["nbval-check-output"]
flat = DigitsMLP(hidden=(256, 64))
same_size = {"with filters": count(net, images.test.x[:1]), "without": count(flat, images.test.x[:1])}
for name, c in same_size.items():
    print(f"{name:13s} {c.parameters:,} parameters, {c.flops:>9,} FLOPs for one image")
print(f"{same_size['with filters'].flops / same_size['without'].flops:.0f} times the work")

# %% [markdown]
# A filter is used at every pixel, so its few weights do much work. The other way round, a table of word vectors has many
# parameters, and each query looks up a few rows. The published models of the study that the article cites say the same:

# %% tags=["nbval-check-output"]
models = [("tr_gshard_params", "tr_gshard"), ("tr_switch_params", "tr_switch"), ("gpt3_params", "tr_gpt3_energy")]
trained = sorted((fact(size).value, fact(energy).value) for size, energy in models)
for size, energy in trained:
    print(f"{size:7,.0f} billion parameters: {energy:8,.1f} MWh to train (published)")
follows = [energy for _, energy in trained] == sorted(energy for _, energy in trained)
verdict("B4", "supported" if follows else "loosely stated",
        "networks of one size differ widely in work, and the smallest of the three took the most energy")

# %% [markdown]
# The tasks of the three differ, and two of them use only a few of their parameters for each token: that is lesson 04.
#
# ### Train all exits together
#
# Each image comes with noise of a random level. All exits answer, and the loss is the mean over all of them.

# %%
def train_exits(net, data, seed=0, epochs=20, lr=4e-3, batch_size=64):
    rng, y = torch.Generator().manual_seed(seed), data.train.y
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * -(-len(y) // batch_size))
    for _ in range(epochs):
        for rows in torch.randperm(len(y), generator=rng).split(batch_size):
            level = LEVELS[torch.randint(len(LEVELS), (len(rows),), generator=rng)]
            logits = net.every_exit(noisy(data.train.x[rows], level, rng))
            loss = F.cross_entropy(logits.flatten(0, 1), y[rows].repeat(len(logits)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()

# %%
seed_everything(0, threads=1)
with meter.block("training with exits") as block:
    net = train_exits(MultiExitCNN(), images)
block.reading

# %%
@torch.inference_mode()
def all_answers(net, x):
    """Logits of all exits, [exits, n, classes]."""
    return torch.cat([net.every_exit(rows) for rows in x.split(300)], dim=1)


known, asked = all_answers(net, val[0]), all_answers(net, test[0])
by_level = (asked.argmax(-1) == test[1]).view(len(fixed), len(LEVELS), -1).float().mean(-1)
Table(["blocks run", *(f"noise {level:.1f}" for level in LEVELS)],
      [(n, *(f"{a:.1%}" for a in row)) for n, row in enumerate(by_level.tolist())],
      caption="Right answers on the test images, by the depth at which the network is cut")

# %% [markdown]
# Read down the columns. On clean images two blocks are nearly as good as six. On noisy ones the third block still helps
# by several points; those after it add little or nothing. That is the room that early exit can use. It is also a
# warning: perhaps the network is simply too deep. Keep it in mind.
#
# ### When is it sure?
#
# The logits, through a softmax, become one number for each digit; together they make one. Two simple rules for *sure*:
# the largest of them is high, or its *margin* over the second is high.

# %%
def largest(logits):
    return logits.softmax(-1).amax(-1)


def margin(logits):
    best, second = logits.softmax(-1).topk(2).values.unbind(-1)
    return best - second


def leaves_at(sure, threshold):
    """The first exit that is sure enough, for each of n examples; `sure` [exits, n]. The last one always answers."""
    stop = sure >= threshold
    stop[-1] = True
    return stop.int().argmax(0)

# %% [markdown]
# The threshold is ours to choose. We choose it on the **validation** images: the lowest one that loses no more than
# half a point against the whole network (one *point*: one image more or less in a hundred). Whoever chooses it on the
# test images has seen the exam.

# %%
def outcome(logits, y, exits, cost):
    """Share of right answers and mean cost, when example i leaves at exits[i]."""
    answer = logits.argmax(-1).gather(0, exits[None])[0]
    return (answer == y).float().mean().item(), cost[exits].float().mean().item()


def calibrate(logits, y, rule, cost, allowed=0.005):
    """The lowest threshold that loses at most `allowed` against the whole network, and what it costs."""
    sure, whole = rule(logits), (logits[-1].argmax(-1) == y).float().mean().item()
    for step in range(101):
        right, spent = outcome(logits, y, leaves_at(sure, step / 100), cost)
        if right >= whole - allowed:
            return step / 100, spent
    return 2.0, cost[-1].item()  # no threshold will do: nobody leaves early

# %%
guess_exit = predict(
    "03-early-exit",
    "Early exit may lose half a point on the validation images. What share of the whole network's work will it do on the "
    "test images?",
    low=0, high=100, guess=80, unit="%",
)
guess_exit

# %%
rules = {"margin": margin, "largest": largest}
chosen = {name: calibrate(known, val[1], rule, early) for name, rule in rules.items()}
best = min(chosen, key=lambda name: chosen[name][1])  # the rule that spends less, on validation images
threshold = chosen[best][0]
print(f"rule: {best}, threshold {threshold}")

# %%
exits = leaves_at(rules[best](asked), threshold)
right, spent = outcome(asked, test[1], exits, early)
full = (asked[-1].argmax(-1) == test[1]).float().mean().item()
print(f"whole network: {full:.1%} right; early exit: {right:.1%} right for {spent / fixed[-1]:.0%} of the work")
for level, cost in zip(LEVELS, early[exits].view(len(LEVELS), -1).float().mean(1)):
    print(f"  noise {level:.1f}: {cost / fixed[-1]:.0%} of the work")

# %%
guess_exit.reveal(100 * spent / fixed[-1].item())

# %% tags=["nbval-check-output"]
clean, hardest = early[exits].view(len(LEVELS), -1).float().mean(1)[[0, -1]]
print("less than two thirds of the work:", spent < 2 / 3 * fixed[-1].item())
print("at most three points lost:", full - right <= 0.03)
print("clean images cost less than the noisiest:", bool(clean < hardest))

# %% [markdown]
# ### Compare, with the right rival
#
# "Less than the whole network" is a weak test. The simple rival is a **fixed depth**: cut the network, for all images,
# where it costs the same. On the figure, the curve of early exit must lie above the line of fixed depths, or it is not worth
# having. Between two depths we draw a straight line, as if a share of the images got one depth and the rest the other.
# The bars say how far other test images could move a point. Both curves read the same images, so the gap between them
# is known better than each of them.

# %% jupyter={"source_hidden": true}
steps = np.arange(0, 1.001, 0.02)
sure = rules[best](asked)
curve = [outcome(asked, test[1], leaves_at(sure, t), early) for t in steps]
correct = asked.argmax(-1) == test[1]
accuracies = 100 * correct.float().mean(-1).numpy()
work_fixed = 100 * (fixed / fixed[-1]).numpy()
order = torch.randperm(len(test[1]), generator=torch.Generator().manual_seed(0))  # mixes the noise levels


def half_width(right):
    """Half of a 95 % interval, in points, for right answers [..., n independent, m that belong together]."""
    each = right.float().mean(-1)
    return 196 * (each.std(-1) / each.shape[-1] ** 0.5).numpy()


bars = half_width(correct.view(len(fixed), len(LEVELS), -1).transpose(1, 2))  # five noisy copies belong together


def frontier(ax):
    ax.errorbar(work_fixed[1:], accuracies[1:], bars[1:], capsize=3, label="fixed depth", **plots.series(1))
    ax.plot([100 * c / fixed[-1] for _, c in curve], [100 * a for a, _ in curve], label="early exit",
            **{**plots.series(0), "marker": ""})
    ax.set_ylim(min(accuracies[1:]) - 2, max(accuracies) + 3)
    ax.set(xlim=(0, 105), xticks=[0, 50, 100])  # few labels: they are most of the drawing
    ax.locator_params(axis="y", nbins=4)

# %% jupyter={"source_hidden": true}
def exit_figure(threshold):
    fig, (left, strip) = plots.figure("What does a threshold buy, and who leaves early?",
                                      "work (% of the whole network)", panels=2)
    where = leaves_at(sure, threshold)
    a, c = outcome(asked, test[1], where, early)
    frontier(left)
    left.plot([100 * c / fixed[-1]], [100 * a], "k*", markersize=14, label="this threshold")
    left.set_ylabel("right answers (% of test images)")
    left.legend(loc="lower right", fontsize=9)
    shown = torch.zeros(len(fixed), 8, 64)
    for n in range(len(fixed)):
        here = order[where[order] == n][:8]
        shown[n, :len(here)] = test[0][here]
    strip.imshow(mosaic(shown), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
    share = torch.bincount(where, minlength=len(fixed)) / len(where)
    strip.set_yticks([9 * n + 4 for n in range(len(fixed))], [f"{n}: {100 * s:3.0f} %" for n, s in enumerate(share)])
    strip.set(xticks=[], xlabel="the first few images that left there", ylabel="exit and share")
    strip.grid(visible=False)
    return fig


def exit_words(threshold):
    where = leaves_at(sure, threshold)
    a, c = outcome(asked, test[1], where, early)
    level = np.interp(100 * c / fixed[-1].item(), work_fixed, accuracies)
    shares = ", ".join(f"{n}: {(where == n).float().mean():.0%}" for n in range(len(fixed)))
    return (f"Early exit gives {a:.1%} right answers for {c / fixed[-1]:.0%} of the work; a fixed depth of equal work gives "
            f"{level:.1f} %. The images left at these exits: {shares}. Rows of images show who left where.")

# %% course={"picture": "images/03_early_exit.png"}
plots.show(exit_figure(threshold), alt=exit_words(threshold))

# %%
explore(exit_figure, alt=exit_words, threshold=slider(0.0, 1.0, threshold, 0.01, label="threshold"))

# %% [markdown]
# Move the threshold to nothing: all leave at once, and most are wrong. Move it to one: nearly all go to the end. Look who
# stays: mostly the noisy ones.
#
# ### One seed is an anecdote
#
# We trained one network. Another random start gives another result, so here are five, from a table that comes with the
# course. It also holds a harder rival: networks of a fixed depth that were trained **for their last exit alone**.

# %%
five = shipped("03_early_exit")
print(five.made)

# %% tags=["nbval-check-output"]
def at_equal_work(row, depths, accuracy):
    """Accuracy of the fixed depths at the work that early exit spends, on the straight line between two depths."""
    return float(np.interp(row["margin"]["flops"], [row["fixed_flops"][d] for d in depths], accuracy))


lines = [(row["seed"], 100 * row["accuracy"][-1], 100 * row["margin"]["accuracy"],
          100 * row["margin"]["flops"] / row["fixed_flops"][-1],
          100 * at_equal_work(row, range(7), row["accuracy"]),
          100 * at_equal_work(row, (1, 2, 3, 6), list(row["trained_alone"].values())),
          100 * row["trained_alone"]["6"]) for row in five.rows]
means = ("mean", *np.mean([line[1:] for line in lines], axis=0))
print(Table(["seed", "whole", "early exit", "its work", "cut, equal work", "alone, equal work", "alone, whole"],
            [(str(name), *(f"{x:.1f}" for x in rest)) for name, *rest in [*lines, means]],
            caption="Right answers in % of 1,800 test images, and work in % of the whole network; rule: margin"))

# %% tags=["nbval-check-output"]
drops = [whole - exit_ for _, whole, exit_, *_ in lines]
wins = [exit_ > cut for _, _, exit_, _, cut, *_ in lines]
wins_alone = [exit_ > alone for _, _, exit_, _, _, alone, _ in lines]
cheaper = [row["margin"]["flops_by_level"][0] < row["margin"]["flops_by_level"][-1] for row in five.rows]
print(f"points lost: mean {np.mean(drops):.2f}, worst {max(drops):.2f}; mean work {means[3]:.0f} %")
print(f"better than the cut network of equal work: {sum(wins)} of {len(wins)} seeds")
print(f"better than one trained alone, of equal work: {sum(wins_alone)} of {len(wins_alone)} seeds")
print(f"clean images cost less than the noisiest: {sum(cheaper)} of {len(cheaper)} seeds")
half = [(100 * row["accuracy"][3], 100 * row["trained_alone"]["3"]) for row in five.rows]
print("three blocks for all, {:.0f} % of the work: {:.1f} % right if cut, {:.1f} % if trained alone".format(
    100 * five.rows[0]["fixed_flops"][3] / five.rows[0]["fixed_flops"][-1], *np.mean(half, axis=0)))
print(f"whole network trained alone: {means[6] - means[1]:.1f} points over the whole network with exits")

# %% [markdown]
# Early exit beats the network cut at equal work in every seed, and in most of them even one that was trained for that
# depth alone. But read the last two lines. Most of the saving comes from having too many blocks: three for everybody
# save half of the work, without any threshold. Early exit adds the rest. And it has a price: seven exits pull at the same
# weights, and the whole network trained without them reads better.
#
# ### Does it also save time?
#
# So far we counted. Now the network really stops. This is the whole decision:

# %%
@torch.inference_mode()
def answer(image, threshold, first=0):
    """The digit and the exit, for one image [1, 64]. Exits before `first` are not asked."""
    for n, state in enumerate(net.states(image)):
        if n < first:
            continue
        logits = net.read(n, state)
        if rules[best](logits) >= threshold:
            break
    return logits.argmax(-1).item(), n


@torch.inference_mode()
def answer_whole(image):
    return net(image).argmax(-1).item()

# %% tags=["nbval-check-output"]
some = test[0][::90]
ran = [answer(image[None], threshold)[1] for image in some]
counted = [count_flops(answer, image[None], threshold) for image in some]
print("what ran is what the table says:", counted == [early[n].item() for n in ran])

# %% [markdown]
# To ask "sure?" is cheap in FLOPs, but it takes several calls. Where nearly nobody leaves, it is wasted. The validation
# images say where: we skip the first exits until one image in fifty has left.

# %%
first = int(leaves_at(rules[best](known), threshold).float().quantile(0.02))
groups, rows = {"clean": test[0][:24], "noisiest": test[0][-24:]}, []
for name, group in groups.items():
    work_share = early[[answer(i[None], threshold)[1] for i in group]].float().mean().item() / fixed[-1].item()
    for ask in (0, first):
        c = meter.compare(lambda g=group, a=ask: [answer(i[None], threshold, a) for i in g],
                          lambda g=group: [answer_whole(i[None]) for i in g], pairs=4, window=0.1)
        rows.append((name, f"from {ask} on", f"{work_share:.0%}", f"{c.ratio:.0%}", f"{c.low:.0%} to {c.high:.0%}"))
Table(["images", "exits asked", "FLOPs", "cost", "95 % interval"], rows,
      caption=f"Early exit in % of the whole network, one image at a time; cost: {c.quantity.replace('_', ' ')}")

# %% [markdown]
# The saving is smaller than the count promised. Asked at every exit, much of it is lost. Asked only where somebody leaves,
# more of it comes true. In a network this small every call shows; in a large one the blocks are dear.
#
# And along the threshold? Right answers and work are of all test images; the cost is measured on a few of them.

# %%
asked_late, mixed, rows = sure.clone(), test[0][order[:24]], []
asked_late[:first] = -1  # the exits that we skip are never sure
for t in sorted({0.05, threshold, 0.4, 0.9}):
    hits, spent_at = outcome(asked, test[1], leaves_at(asked_late, t), early)
    c = meter.compare(lambda t=t: [answer(i[None], t, first) for i in mixed],
                      lambda: [answer_whole(i[None]) for i in mixed], pairs=4, window=0.08)
    rows.append((f"{t:.2f}", f"{hits:.1%}", f"{spent_at / fixed[-1]:.0%}", f"{c.ratio:.0%}", f"{c.low:.0%} to {c.high:.0%}"))
Table(["threshold", "right", "FLOPs", "cost", "95 % interval"], rows,
      caption="Early exit along the threshold; FLOPs and cost in % of the whole network")

# %% [markdown]
# Look at the last line. A careful threshold asks often and seldom stops: the asking may cost more than the stopping saves.
#
# ### And in a batch?
#
# Part two says that queries come in batches. A batch that stays together must go on until the **last** of its images is
# sure. To save work, one must take out those that have left, and close the ranks. We count both, for the exits above.

# %%
def batch_work(size, rng, rounds=200):
    """Share of the whole network's work when a batch goes on until all are sure."""
    rows = torch.randint(len(exits), (rounds, size), generator=rng)
    return early[exits[rows].amax(1)].float().mean().item() / fixed[-1].item()


together = {size: batch_work(size, torch.Generator().manual_seed(0)) for size in (1, 4, 16, 64)}
Table(["batch", "stays together", "those who are sure are taken out"],
      [(size, f"{share:.0%}", f"{spent / fixed[-1]:.0%}") for size, share in together.items()],
      caption="Work in % of the whole network, counted")

# %% [markdown]
# Together, little is left of the saving in a large batch. And a batch from which images were taken out is a smaller
# batch: part two showed what that does to the cost of each.
#
# %% [markdown]
# ## Part four: a text, coloured by effort
#
# The text model of part one has exits too: one before the first block, which knows only the last byte, and one behind each
# block. Each tries to say the next byte. Where does it know early?

# %%
guess_easy = predict(
    "03-easy-bytes", "Of all bytes of a program, how many can leave before the last block, if we may lose one point?",
    low=0, high=100, guess=50, unit="%",
)
guess_easy

# %% tags=["nbval-check-output"]
depths = range(len(model.blocks) + 1)
cut = torch.tensor([count(model, torch.zeros(1, 128, dtype=torch.long), n).flops / 128 for n in depths])
paid = cut + cut[0] * torch.arange(len(cut))  # leaving at n, after trying every exit before it
for n in depths:
    print(f"exit {n}: cut there {cut[n] / cut[-1]:4.0%}, left there {paid[n] / cut[-1]:4.0%} of the whole network")

# %% [markdown]
# Here the exits are not free: whoever tries them all and stays to the end does more than the whole network. We choose the
# threshold on one half of some held-out code, and report on the other half.

# %%
code = corpus("code").val
starts = torch.linspace(0, len(code) - 129, 40).long()[:, None]
windows = code[starts + torch.arange(129)].long()


@torch.inference_mode()
def every_byte(rows):
    """(logits [exits, n, 256], the byte that really came [n]) over rows of text."""
    return model.every_exit(rows[:, :-1]).flatten(1, 2), rows[:, 1:].flatten()


known_text, asked_text = every_byte(windows[::2]), every_byte(windows[1::2])
threshold_text, _ = calibrate(*known_text, largest, paid, allowed=0.01)

# %%
def summary(logits, truth, threshold):
    """(right, work, agrees with the whole network, left before the last exit), all in percent."""
    n = leaves_at(largest(logits), threshold)
    right, cost = outcome(logits, truth, n, paid)
    agrees, _ = outcome(logits, logits[-1].argmax(-1), n, paid)
    return 100 * right, 100 * cost / cut[-1].item(), 100 * agrees, 100 * (n < depths[-1]).float().mean().item()


Table(["threshold", "right (%)", "work (%)", "agrees with the whole network (%)", "left early (%)"],
      [(f"{t:.2f}" + (" (chosen)" if t == threshold_text else ""), *(round(v, 1) for v in summary(*asked_text, t)))
       for t in sorted({0.3, 0.5, 0.7, 0.9, 0.99, threshold_text})])

# %%
guess_easy.reveal(summary(*asked_text, threshold_text)[3])

# %% jupyter={"source_hidden": true}
def text_figure():
    fig, ax = plots.figure("How much work does the next byte need?", "work (% of the whole network)", "right bytes (%)")
    curve = [summary(*asked_text, t) for t in np.arange(0.1, 1.001, 0.05)]
    ax.plot([w for _, w, *_ in curve], [r for r, *_ in curve], label="early exit", **plots.series(0))
    hits = asked_text[0].argmax(-1) == asked_text[1]
    fixed_right = 100 * hits.float().mean(-1)
    ax.errorbar(100 * cut / cut[-1], fixed_right, half_width(hits.view(len(cut), -1, 128)), capsize=3,
                label="fixed depth", **plots.series(1))
    ax.legend(loc="lower right")
    return fig

# %%
plots.show(text_figure(), alt="Right bytes against work, for early exit and for fixed depths. Both rise from the lower "
           "left. In the middle, early exit lies above the fixed depths; at the far right it needs more work than "
           "the whole network, because it also pays for the exits it tried. The bars are 95 % intervals.")

# %% [markdown]
# Now the text of part one. Under each character stands the exit that foresaw it, and the background is darker the more
# blocks it took. The first character has nobody to foresee it.

# %% jupyter={"source_hidden": true}
LOOKS = [("#FFFFFF", "none"), ("#FFF3B8", "dotted"), ("#FFC96B", "dashed"), ("#E08214", "solid"), ("#7F3B08", "double")]


class ByExit:
    """A text with the exit that answered each character: colours and underlines, and digits in every form."""

    def __init__(self, text, exits):
        digits = iter([".", *map(str, exits)])
        self.lines = [list(zip(line.replace("\n", "↵"), digits)) for line in text.decode().splitlines(keepends=True)]

    def __repr__(self):
        return "\n".join("".join(row) for line in self.lines for row in zip(*line))

    def _repr_html_(self):
        def span(char, n):
            back, line = LOOKS[int(n)] if n != "." else ("#FFFFFF", "none")
            return (f'<span style="background-color:{back};color:{"white" if n == "4" else "black"};'
                    f'border-bottom:2px {line} black">{html.escape(char)}</span>')
        rows = "\n".join("".join(span(*p) for p in line) + "\n" + "".join(n for _, n in line) for line in self.lines)
        key = " ".join(span(f" exit {n} ", str(n)) for n in range(len(LOOKS)))
        return f'<pre style="line-height:1.35;background-color:white;color:black">{key}\n\n{rows}</pre>'

# %%
@torch.inference_mode()
def by_exit(text, threshold):
    sure = largest(model.every_exit(tokens(text)[:, :-1])[:, 0])
    return ByExit(text, leaves_at(sure, threshold).tolist())


by_exit(easy, threshold_text)

# %% [markdown]
# Look for the second half of words that are common in Python, and for the spaces at the start of a line: cheap. A new name
# is dear: there the writer decides. Now the random letters, at the same threshold:

# %%
by_exit(hard, threshold_text)

# %% [markdown]
# Most go to the end. A few leave early all the same: the network was sure there, and wrong. To be sure is not to be right.
#
# Difficulty has a price now. So the sentence of the article is a statement about *how we build* networks, not about
# what a query needs.
#
# ### Where stopping early saves nothing
#
# - **In a batch that stays together**, as we counted.
# - **Where reading the weights is the cost, and the batch is large.** Skipped blocks are not read, which helps one token
#   alone. But in a batch some user needs every block, so all of them are read anyway.
# - **Where later tokens need what was skipped.** We ran every block for every byte, and only counted what could be left
#   out. A real server keeps the intermediate results of earlier tokens (*keys and values*, in a *cache*) for attention.
#   A token that left early has none in the skipped blocks. They must be computed after all, or guessed from the last
#   block that ran. The authors of CALM, <https://arxiv.org/abs/2207.07061>, chose to guess.
# - **Where nearly all need the last exit**: then the tried exits are a loss.
#
# ### Verdict

# %% tags=["nbval-check-output"]
same_per_token = work["easy"] == work["hard"]
print("dense network, same number of tokens, same work:", same_per_token)
print(f"two answers differ in length, and in energy by {reasoned.value / chat.value:.0f} times (published)")
print("a network that may stop spends less on easy queries:", bool(clean < hardest))
verdict("B6", "loosely stated" if same_per_token else "contested",
        "true of each token of a dense network; not of a query, nor of networks that may stop")

# %% [markdown]
# ## Part five: first the right size
#
# Early exit repairs a network that is too large for most of its queries. Sometimes it is too large for all of them. Two
# networks on clean digits, without filters: one hidden layer, and four.

# %%
guess_size = predict(
    "03-right-size", "By how many points do four hidden layers beat one on clean digits?",
    low=-10, high=10, guess=2, step=0.1, unit="points",
)
guess_size

# %%
sizes = {"one hidden layer": (64,), "four hidden layers": (64,) * 4}
results = {}
for name, hidden in sizes.items():
    scores = []
    for seed in range(2):
        seed_everything(seed, threads=1)
        reader = DigitsMLP(hidden)
        train(reader, images.train, images.val, epochs=20, lr=2e-3, seed=seed, progress=False)
        scores.append(100 * accuracy(reader, images.test))
    results[name] = np.array(scores)
    print(f"{name:18s} {np.mean(scores):.1f} % right ({min(scores):.1f} to {max(scores):.1f} in two seeds)")

# %%
guess_size.reveal(float(np.mean(results["four hidden layers"]) - np.mean(results["one hidden layer"])))

# %% tags=["nbval-check-output"]
small, deep = (count(DigitsMLP(hidden), images.test.x[:1]).flops for hidden in sizes.values())
print(f"one hidden layer: {small:,} FLOPs; four: {deep:,} FLOPs, {deep / small:.1f} times as many")
print("four are better by more than three points:", bool(results["four hidden layers"].mean()
                                                          > results["one hidden layer"].mean() + 3))

# %% [markdown]
# This is the trap. On top of the four layers, early exit would "save" most of the work, and look splendid. A small
# network saves the same without any threshold. So the fixed-depth line belongs in every such figure, and the first
# question is: how large must it be?
#
# ### One task, or all tasks?

# %%
claim("B5").card()

# %% [markdown]
# A task: is this piece of text *program code* or *prose*? We have a model that has seen much code. It writes text; we
# can use it here all the same: code surprises it less than prose. Against it, a specialist: it counts the bytes, and
# has one linear layer.

# %%
texts = {name: corpus(name) for name in ("code", "prose")}


def pieces(part, n):
    """n pieces of 128 bytes of each kind, and their labels: 0 code, 1 prose."""
    rows = [getattr(c, part)[torch.linspace(0, len(getattr(c, part)) - 129, n).long()[:, None] + torch.arange(128)]
            for c in texts.values()]
    return torch.cat(rows).long(), torch.arange(2).repeat_interleave(n)


def byte_counts(rows):
    return torch.stack([torch.bincount(row, minlength=256) for row in rows]) / rows.shape[1]


(x_train, y_train), (x_val, y_val), (x_test, y_test) = pieces("train", 500), pieces("train", 31), pieces("val", 40)

# %%
seed_everything(0, threads=1)
specialist = DigitsMLP(hidden=(), d_in=256, n_classes=2)
train(specialist, Split(byte_counts(x_train), y_train), Split(byte_counts(x_val), y_val), epochs=30, lr=0.03, progress=False)
right_special = accuracy(specialist, Split(byte_counts(x_test), y_test))


@torch.inference_mode()
def surprises(rows):
    logits = model(rows)[:, :-1]  # below, the first bytes are left out: there it has nothing to go by
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none").view(len(rows), -1)[:, 16:].mean(1)


heard = surprises(x_val)
border = max(heard, key=lambda b: ((heard > b).long() == y_val).float().mean())  # chosen on pieces of the training text
right_general = ((surprises(x_test) > border).long() == y_test).float().mean().item()
print(f"right on new text: specialist {right_special:.0%}, general model {right_general:.0%}")

# %% tags=["nbval-check-output"]
flops_special = count(specialist, byte_counts(x_test[:1])).flops
flops_general = count(model, x_test[:1]).flops
print(f"specialist {flops_special:,} FLOPs, general model {flops_general:,} FLOPs for one piece")
print("the specialist is right on more than seven tenths:", right_special > 0.7)
print("and at most ten points behind the general model:", right_special > right_general - 0.1)

# %%
one = x_test[:1]
with torch.inference_mode():
    gap = meter.compare(lambda: surprises(one), lambda: specialist(byte_counts(one)), pairs=4, window=0.05,
                        names=("general model", "specialist"))
gap

# %% [markdown]
# Hundreds of thousands of times the operations (to count the bytes is not among them); in cost the gap is smaller,
# because for the specialist the call itself is most of it, as in lesson 01. And our general model is small and crudely
# asked: in a better way it might be right more often, but not for less. So our pair is an extreme one. What was measured
# on models in use?

# %% tags=["nbval-check-output"]
print(statement("q_multipurpose").text)
for name in ("q_textclass", "q_imgclass", "q_textgen", "q_imggen"):
    f = fact(name)
    print(f"{f.quantity}: {f.text} (published; {f.boundary})")
print(f"from the first to the last: {fact('q_task_spread').value:,.0f} times or more")

# %% tags=["nbval-check-output"]
verdict("B5", "supported" if flops_general > 10 * flops_special else "contested",
        "for a small task, a model for everything does far more work than one made for the task")

# %% [markdown]
# The spread between tasks is larger than anything that early exit can save. Which task, which model, how long an
# answer: these come first.
#
# ### Which use is worth it?

# %%
claim("B10").card()

# %% [markdown]
# No measurement decides what a use is worth. One can demand, as the French specification on frugal AI does, that the need
# is shown first. Discuss it in your group: which query of yours was worth its energy?

# %% tags=["nbval-check-output"]
verdict("B10", "not checkable", "it weighs energy against a purpose, and that is a question of values")

# %% [markdown]
# ## What the figures do not say
#
# - Our networks are tiny. In a large one the reading of weights and the arithmetic dominate. To ask "sure?" then costs
#   less beside a block, unless the exit must choose among a large vocabulary: then it can cost more than a block.
# - Our noise is artificial, and the levels are equally frequent. With other queries, the saving is another.
# - The threshold is calibrated for these data. When the queries change, the accuracy may fall without a warning.
# - The text exits were counted, not timed, and without the cache that real servers have.
# - The published curves are GPU only, at steady load; the published answers come from different tasks.
#
# ## What you have seen
#
# - A dense network does the same work for an easy token and a hard one. A query costs tokens times weights.
# - In a batch one query costs far less than alone, here and in published figures: fixed prices and weights are shared.
# - A network with exits spends less on easy images. Its threshold comes from validation data, its rival is a fixed
#   depth of equal work.
# - In a batch that stays together most of the saving is gone, and a network of the right size may need no exits at all.
#
# **Now do** [exercise 03](../exercises/03_cost_of_a_query.ipynb). **Next:** [lesson 04](04_sparse_experts.ipynb).
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
cite("moe_gpt3_flops", "gpt3_params", "ml_r1", "ml_r1_tokens", "ml_dsv31_reply", "ml_dsv31", "chatgpt_prompts",
     "ml_llama8b_h100_b8", "ml_llama8b_h100", "ml_q14b_b8", "ml_q14b", "ml_q32b_b8", "ml_q32b",
     "tr_gshard_params", "tr_gshard", "tr_switch_params", "tr_switch", "tr_gpt3_energy",
     "q_multipurpose", "q_textclass", "q_imgclass", "q_textgen", "q_imggen", "q_task_spread")
