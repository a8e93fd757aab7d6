# ---
# jupyter:
#   course:
#     difficulty: 3
#     exercise: "03"
#     lesson: "03"
#     minutes: 45
#     title: The cost of a query
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 03: the cost of a query
#
# **Difficulty** 3 of 5. **About** 45 minutes. **Points** 15. **After** lesson 03.
#
# First you count what an answer costs in a dense model, and what a batch saves. Then you build the three parts of an
# early exit: when an input may leave, what it has cost by then, and how to choose the threshold without cheating.
# Your answer goes where `YOUR CODE HERE` stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import random

import numpy as np
import torch

from course_lib.facts import fact
from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% [markdown]
# ## Operations of an answer
#
# A dense language model passes every token of the prompt and every token of the answer through all its parameters,
# once. For each token, each parameter takes one multiplication and one addition. Give the FLOPs of one query.
#
# (We leave out two small things: attention also looks back at earlier tokens, and the very last token of the answer
# need not pass.)

# %% nbgrader={"grade_id": "ex03_answer", "solution": true}
def answer_flops(parameters, prompt_tokens, answer_tokens):
    """FLOPs to read a prompt and write an answer, of these many tokens, with a dense model."""
    ### BEGIN SOLUTION
    return 2 * parameters * (prompt_tokens + answer_tokens)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex03_answer_shown", "grade": true, "points": 1}
thinking = fact("ml_r1_tokens").value  # what DeepSeek R1 wrote for one hard question
rounded(easy=float(answer_flops(8e9, 60, 10)), hard=float(answer_flops(8e9, 60, 10)),
        long_answer=float(answer_flops(8e9, 60, thinking)))

# %% [markdown] tags=["hints"]
# - The easy question and the hard one have the same lengths here. Is there anything in a dense model that could tell
#   them apart?
# - How many tokens pass, in all? And how many FLOPs does each parameter take for one of them?
# - All tokens: the prompt's and the answer's together. For each of them 2 FLOPs for each parameter.

# %%
check("ex03_answer_shown")

# %% nbgrader={"grade_id": "ex03_answer_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(301))
rounded([int(answer_flops(rng.randint(10**6, 10**9), rng.randint(5, 3000), rng.randint(5, 900))) for _ in range(4)])

# %% [markdown] tags=["hints"]
# - Try a long prompt with a short answer, and the other way round. Both kinds of token count.

# %% [markdown]
# ## What a batch shares
#
# One pass over a batch costs a *fixed* part, which all its queries share (above all, reading the weights), and a
# *marginal* part for each query. So one query of a batch of $b$ costs
#
# $$ \frac{\text{fixed}}{b} + \text{marginal}. $$
#
# You measured the joules **per query** at two batch sizes. Find both parts. (Two points always fit. A third one would
# tell how good the rule is.)
#
# *If your fixed part is negative:* a small batch costs more per query, not less. Look at the order of the differences.

# %% nbgrader={"grade_id": "ex03_batch", "solution": true}
def fixed_and_marginal(batch_a, joules_a, batch_b, joules_b):
    """(fixed, marginal) in joules, from the joules per query at two batch sizes."""
    ### BEGIN SOLUTION
    fixed = (joules_a - joules_b) / (1 / batch_a - 1 / batch_b)
    return fixed, joules_a - fixed / batch_a
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex03_batch_shown", "grade": true, "points": 1}
# Published, measured at the GPU alone: joules per token of Llama 3.1 8B on an H100, at batch 8 and at batch 511.
# Here one token takes the place of one query.
small, large = fact("ml_llama8b_h100_b8").value, fact("ml_llama8b_h100").value
rounded([float(x) for x in fixed_and_marginal(8, small, 511, large)],
        [float(x) for x in fixed_and_marginal(4, 6.0, 1, 12.0)])  # the large batch may come first

# %% [markdown] tags=["hints"]
# - Write the rule down for both batch sizes: two equations, two unknowns. Which unknown goes away in their difference?
# - `joules_a - joules_b` is the fixed part times `1/batch_a - 1/batch_b`.
# - Divide to find the fixed part. Then the marginal part is what is left of `joules_a`, after the fixed part shared by
#   `batch_a`.

# %%
check("ex03_batch_shown")

# %% nbgrader={"grade_id": "ex03_batch_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(302))
cases = []
for _ in range(4):
    first = rng.uniform(0.5, 9)
    cases.append((rng.randint(1, 8), first, rng.randint(64, 900), first * rng.uniform(0.3, 0.8)))
cases[1] = cases[1][2:] + cases[1][:2]  # the larger batch first
rounded([[float(x) for x in fixed_and_marginal(*case)] for case in cases])

# %% [markdown] tags=["hints"]
# - Put your two parts back into the rule: do both measured values come out? Also when the larger batch comes first?

# %% [markdown]
# ## Leave when sure
#
# A network with early exits gives logits at each exit. Exit 0 stands before the first block, exit 1 after it, and so
# on. The softmax over the *classes* turns the logits of an exit into probabilities. An input leaves at the **first**
# exit whose largest probability is at least `threshold`. If no exit is that sure, the **last** one answers.
#
# The lesson had two rules for *sure*. This is the one named `largest`, not the margin. The exits are numbered as there.
#
# *If you see* `IndexError: Dimension out of range`: the logits have three dimensions, numbered 0, 1 and 2 (or -1).

# %% nbgrader={"grade_id": "ex03_exit", "solution": true}
def exits_taken(logits, threshold):
    """The exit (an int from 0) at which each input leaves: N of them, from float logits [n_exits, N, n_classes]."""
    ### BEGIN SOLUTION
    sure = logits.softmax(dim=-1).amax(dim=-1) >= threshold
    sure[-1] = True
    return sure.int().argmax(dim=0)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex03_exit_shown", "grade": true, "points": 1}
logits = torch.tensor([[[0.1, 0.0, 0.3], [2.0, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 4.0, 0.0]],
                       [[0.0, 0.5, 0.2], [0.0, 1.0, 0.0], [0.0, 0.1, 3.0], [0.0, 5.0, 0.0]],
                       [[0.3, 1.1, 0.0], [3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 6.0, 0.0]]], dtype=torch.float64)
rounded(eager=[int(n) for n in exits_taken(logits, 0.4)], usual=[int(n) for n in exits_taken(logits, 0.75)],
        careful=[int(n) for n in exits_taken(logits, 0.99)])

# %% [markdown] tags=["hints"]
# - How sure is an exit of its best class? You need one number for each exit and each input.
# - `logits.softmax(dim=-1).amax(dim=-1)` has the shape `[n_exits, N]`. Compare it with the threshold.
# - What does your code say of an input that no exit is sure of? The last exit counts as sure, always.
# - A loop is fine: for each input go through the exits in order, and stop at the first one that is sure, or at the last.

# %%
check("ex03_exit_shown")

# %% nbgrader={"grade_id": "ex03_exit_unseen", "grade": true, "points": 2} tags=["hidden"]
generator = torch.Generator().manual_seed(grading_seed(303))
depth = torch.arange(1, 6, dtype=torch.float64)[:, None, None]
unseen = depth * torch.randn(5, 24, 4, generator=generator, dtype=torch.float64)
rounded(*[[int(n) for n in exits_taken(unseen.clone(), t)] for t in (0.45, 0.7, 0.93, 0.999)])

# %% [markdown] tags=["hints"]
# - Try an input that is sure at an early exit and unsure at a later one, and one that is never sure.

# %% [markdown]
# ## What an exit has cost
#
# To reach exit $e$, an input runs the first $e$ blocks. It also asks the head of **every** exit from 0 to $e$:
# without asking, it can't know whether it may leave. Give the mean FLOPs of an input, from the exits that were taken.
#
# (The lesson also timed a network that skips its first exits. Here no exit is skipped. In the lesson all heads of a network
# cost the same; here each has its own cost.)
#
# A network with 3 blocks has 4 exits: `block_flops` holds 3 numbers, `head_flops` holds 4.

# %% nbgrader={"grade_id": "ex03_compute", "solution": true}
def mean_flops(exits, block_flops, head_flops):
    """Mean FLOPs of an input; `exits` lists the exit (0 to n_blocks) that each input took."""
    ### BEGIN SOLUTION
    return sum(sum(block_flops[:e]) + sum(head_flops[:e + 1]) for e in exits) / len(exits)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex03_compute_shown", "grade": true, "points": 1}
rounded(at_once=float(mean_flops([0, 0], [100, 200, 300], [4, 8, 12, 16])),
        never_sure=float(mean_flops([3], [100, 200, 300], [4, 8, 12, 16])),
        mixed=float(mean_flops([0, 1, 1, 3], [100, 200, 300], [4, 8, 12, 16])))

# %% [markdown] tags=["hints"]
# - An input leaves at exit 2. Which blocks have run, and which heads were asked?
# - Two blocks: the first and the second. Three heads: those of the exits 0, 1 and 2.
# - For an exit `e`, add up `block_flops[:e]` and `head_flops[:e + 1]`. Then take the mean over all inputs.

# %%
check("ex03_compute_shown")

# %% nbgrader={"grade_id": "ex03_compute_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(304))
answers = []
for n_blocks in (2, 4, 7):
    blocks, heads = ([rng.randint(5, 60) for _ in range(n)] for n in (n_blocks, n_blocks + 1))
    answers.append(float(mean_flops([rng.randint(0, n_blocks) for _ in range(9)], blocks, heads)))
rounded(answers)

# %% [markdown] tags=["hints"]
# - Count by hand for one input that leaves in the middle. All that came before has been paid, too.

# %% [markdown]
# ## Choose the threshold, then judge it
#
# `validation` and `test` are lists of rows `(threshold, accuracy, compute)`, the same thresholds in both. Accuracy and
# compute lie between 0 and 1. The **last** row is the whole network: nobody leaves early.
#
# 1. Choose the threshold on the **validation** rows: of those whose accuracy is at most `drop` below the whole
#    network's, the one with the least compute. (A higher threshold never makes anybody leave earlier. So this is the
#    lowest threshold that will do, as in the lesson.)
# 2. Report compute and accuracy of that threshold on the **test** rows.
# 3. Compare with right-sizing. `fixed_depths` lists `(compute, accuracy)` of shorter networks without exits, on the
#    test inputs, compute rising. At the compute you reported, `np.interp` gives their accuracy, on straight lines
#    between the points. How much higher is yours?
#
# *If you see* `ValueError: not enough values to unpack`: a row of `fixed_depths` has two numbers, compute first. The
# other rows have three, accuracy before compute.

# %% nbgrader={"grade_id": "ex03_choose", "solution": true}
def chosen(validation, test, fixed_depths, drop=0.01):
    """(threshold, compute on test, accuracy on test minus that of a fixed depth at the same compute)."""
    ### BEGIN SOLUTION
    floor = validation[-1][1] - drop
    pick = min((row for row in validation if row[1] >= floor), key=lambda row: row[2])[0]
    accuracy, compute = next(row[1:] for row in test if row[0] == pick)
    return pick, compute, accuracy - np.interp(compute, *zip(*fixed_depths))
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex03_choose_shown", "grade": true, "points": 1}
on_validation = [(0.3, 0.802, 0.21), (0.5, 0.871, 0.34), (0.7, 0.906, 0.47), (0.9, 0.918, 0.72), (1.1, 0.912, 1.0)]
on_test = [(0.3, 0.798, 0.22), (0.5, 0.896, 0.35), (0.7, 0.899, 0.48), (0.9, 0.904, 0.73), (1.1, 0.905, 1.0)]
depths = [(0.17, 0.61), (0.34, 0.85), (0.50, 0.89), (0.67, 0.902), (1.0, 0.905)]
strict, loose = chosen(on_validation, on_test, depths), chosen(on_validation, on_test, depths, drop=0.05)
rounded(strict=[float(x) for x in strict], loose=[float(x) for x in loose])

# %% [markdown] tags=["hints"]
# - What would be wrong with trying all thresholds on the test rows, and telling only of the best one?
# - Keep the validation rows with `accuracy >= validation[-1][1] - drop`. Which of them has the least compute?
# - Look that threshold up in the test rows. From there come the compute and the accuracy that you report.
# - `np.interp(compute, computes, accuracies)` wants the two columns of `fixed_depths` as two lists. Subtract what it
#   gives from your accuracy.

# %%
check("ex03_choose_shown")

# %% nbgrader={"grade_id": "ex03_choose_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(305))
answers = []
for drop, *whole in ((0.02, 0.93, 0.7), (0.08, 0.93, 0.94), (0.04, 0.87, 0.7), (0.08, 0.93, 0.9), (0.03, 0.87, 0.94)):
    steps = sorted(rng.uniform(0.2, 0.95) for _ in range(7))
    rows = []
    for last in whole:  # of the validation rows, and of the test rows
        costs = sorted(t * rng.uniform(0.7, 1.0) for t in steps)  # a higher threshold never costs less
        rows.append([(t, 0.93 - rng.uniform(0.15, 0.3) * (1 - t), cost) for t, cost in zip(steps, costs)]
                    + [(1.1, last + rng.uniform(-0.01, 0.01), 1.0)])
    lines = [(c, 0.5 + 0.43 * c**0.5 + rng.uniform(0, 0.02)) for c in (0.1, 0.25, 0.5, 0.8, 1.0)]
    answers.append([float(x) for x in chosen(*rows, lines, drop)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - The choice sees validation rows only, and the report test rows only. The whole network is a row of each.

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/03_cost_of_a_query.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
