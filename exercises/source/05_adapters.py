# ---
# jupyter:
#   course:
#     difficulty: 3
#     exercise: "05"
#     lesson: "05"
#     minutes: 50
#     title: Adapters
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 05: adapters
#
# **Difficulty** 3 of 5. **About** 50 minutes. **Points** 18. **After** lesson 05.
#
# You build an adapter from its parts: how many numbers it holds, what it computes, how it starts, and how it becomes
# part of the weight. Then you find out what it saves, and what it does not. Your answer goes where `YOUR CODE HERE`
# stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.
#
# The names are those of the lesson: beside the frozen weight `W`, of shape `[d_out, d_in]`, the adapter holds `A`,
# `[rank, d_in]`, and `B`, `[d_out, rank]`. All tensors are float64.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import math
import operator
import random

import torch

from course_lib.facts import fact
from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% [markdown]
# ## Count what learns
#
# `layers` lists the linear layers that get an adapter, each as `(d_in, d_out)`. A layer of the base holds a weight and a
# bias; its adapter holds the two matrices and no bias. `rest` counts all other numbers of the base, such as those of a
# layer without an adapter.
#
# The base is frozen, and the adapters learn. Give how many numbers learn (a whole number), and which share that is of
# all numbers in the adapted model, base and adapters together. A share lies between 0 and 1.

# %% nbgrader={"grade_id": "ex05_count", "solution": true}
def adapter_size(layers, rank, rest=0):
    """(numbers that learn, their share of all numbers) for adapters of this rank on all `layers`."""
    ### BEGIN SOLUTION
    adapters = sum(rank * (d_in + d_out) for d_in, d_out in layers)
    base = rest + sum(d_in * d_out + d_out for d_in, d_out in layers)
    return adapters, adapters / (base + adapters)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex05_count_shown", "grade": true, "points": 1}
hidden, head = [(64, 512), (512, 512), (512, 512)], 512 * 10 + 10  # the reader of the lesson
cases = {"reader": adapter_size(hidden, 4, rest=head), "one_layer": adapter_size([(6, 3)], 1),
         "rank_too_high": adapter_size([(64, 10)], 10)}
rounded(**{name: [operator.index(learn), float(share)] for name, (learn, share) in cases.items()})

# %% [markdown] tags=["hints"]
# - Draw the one layer from 6 to 3, with rank 1. Which four blocks of numbers do you see, and which of them learn?
# - A holds `rank * d_in` numbers, and B holds `d_out * rank`. The base's layer holds `d_in * d_out` and a bias of `d_out`.
# - Add up over all layers. The whole is `rest`, the layers of the base, *and* the adapters.
# - `(6, 3)` with rank 1: 9 numbers learn. The base holds 18 and 3. So the share is 9 of 30.

# %%
check("ex05_count_shown")

# %% nbgrader={"grade_id": "ex05_count_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(501))
answers = []
for n_layers in (1, 3, 5):
    several = [(rng.randint(20, 400), rng.randint(5, 90)) for _ in range(n_layers)]
    learn, share = adapter_size(several, rng.randint(2, 9), rest=rng.randint(500, 9999))
    answers.append([operator.index(learn), float(share)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try two layers of different sizes, and a `rest`. Is there a bias for each layer of the base, and none in an adapter?

# %% [markdown]
# ## Beside the frozen layer
#
# The frozen layer answers $x W^T + b$. (The lesson writes $W x$ for one example. Here each row of x is an example: the same
# numbers.) The adapter stands beside the layer, and its answer is added:
#
# $$ y = x W^T + b + \frac{\text{alpha}}{\text{rank}} \, (x A^T) \, B^T. $$
#
# `x` has the shape `[n, d_in]`, or more dimensions in front, such as `[texts, tokens, d_in]`. The output has the same
# dimensions, with `d_out` at the end.
#
# *If you see* `mat1 and mat2 shapes cannot be multiplied`: write the shapes below each other. The inner two must agree,
# and `.T` swaps the two of a matrix.

# %% nbgrader={"grade_id": "ex05_forward", "solution": true}
def adapted(x, W, b, A, B, alpha):
    """Outputs [..., d_out] of inputs x [..., d_in], through the frozen layer W, b and the adapter A, B beside it."""
    ### BEGIN SOLUTION
    return x @ W.T + b + alpha / A.shape[0] * (x @ A.T @ B.T)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex05_forward_shown", "grade": true, "points": 1}
x = torch.tensor([[1, 0, 2], [0, 3, -1]], dtype=torch.float64)
W, b = torch.tensor([[1, 2, 0], [0, -1, 4]], dtype=torch.float64), torch.tensor([10, 20], dtype=torch.float64)
A = torch.tensor([[1, 1, 0], [0, 2, 1]], dtype=torch.float64)
B = torch.tensor([[1, 0], [3, 2]], dtype=torch.float64)
rounded(two=torch.as_tensor(adapted(x, W, b, A, B, alpha=3)),
        one=torch.as_tensor(adapted(x, W, b, A[:1], B[:, :1], alpha=3)),
        texts=torch.as_tensor(adapted(torch.stack([x, x + 1, -x]), W, b, A, B, alpha=3)))

# %% [markdown] tags=["hints"]
# - An input has `d_in` numbers. How many are left after A, and how many after B?
# - Which size of A is the rank? In the first example rank is 2 and alpha is 3. What is the adapter's answer multiplied by?
# - `x @ W.T` works for any number of dimensions in front. So does `x @ A.T`, which gives `[..., rank]`.
# - The frozen answer: `x @ W.T + b`. The adapter's answer: `x @ A.T`, then `@ B.T`, times `alpha / A.shape[0]`. Add them.

# %%
check("ex05_forward_shown")

# %% nbgrader={"grade_id": "ex05_forward_unseen", "grade": true, "points": 2} tags=["hidden"]
generator = torch.Generator().manual_seed(grading_seed(502))
answers = []
for front, d_in, d_out, rank, alpha in (((3,), 5, 4, 2, 7), ((2, 3), 4, 4, 4, 6), ((2, 2, 2), 6, 3, 3, 2)):
    sizes = (*front, d_in), (d_out, d_in), (d_out,), (rank, d_in), (d_out, rank)
    parts = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]
    answers.append(torch.as_tensor(adapted(*parts, alpha)))
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try an alpha that is not the rank, and an `x` with three dimensions. The bias is added once, and is not scaled.

# %% [markdown]
# ## Start as the base
#
# A new adapter must change nothing: it starts where the base stands. The product B A is 0 when one of the two is 0. In
# LoRA it is B. A starts with Gaussian numbers of mean 0. Their standard deviation is, as in the lesson,
#
# $$ \frac{1}{\sqrt{3 \, d_{\text{in}}}}. $$
#
# Draw all of A in **one** call, in its own shape, as float64, from `generator`: then we all get the same numbers.
#
# If both matrices were 0, the adapter would never learn. The check shows why: it prints the gradients of A and B at the
# first step, where `to_y` is the gradient at the outputs and alpha is the rank. The gradient of A contains B, and that of
# B contains A. So at first only B moves.
#
# *If you see* `expected m1 and m2 to have the same dtype`: torch makes float32 unless you say `dtype=torch.float64`. To
# convert later is too late: the generator has given other numbers.

# %% nbgrader={"grade_id": "ex05_start", "solution": true}
def start(d_in, d_out, rank, generator):
    """(A, B) of a new adapter, float64: A [rank, d_in] drawn from the torch.Generator, B [d_out, rank] zero."""
    ### BEGIN SOLUTION
    a = torch.randn(rank, d_in, generator=generator, dtype=torch.float64) / math.sqrt(3 * d_in)
    return a, torch.zeros(d_out, rank, dtype=torch.float64)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex05_start_shown", "grade": true, "points": 1}
A, B = start(6, 4, 3, torch.Generator().manual_seed(5))
x = torch.tensor([[1, 0, 2, 0, 0, 1], [0, 3, -1, 1, 2, 0]], dtype=torch.float64)
to_y = torch.tensor([[1, -2, 0.5, 1], [2, 1, -1, 0.25]], dtype=torch.float64)
rounded(A=A, B=B, gradient_of_A=(to_y @ B).T @ x, gradient_of_B=to_y.T @ (x @ A.T))

# %% [markdown] tags=["hints"]
# - What does the layer answer when B is 0, whatever A is? And what happens to the gradient of B if A is 0, too?
# - `torch.randn` gives Gaussian numbers of standard deviation 1. What do you do to make them smaller?
# - `torch.randn(rank, d_in, generator=generator, dtype=torch.float64)`, divided by `math.sqrt(3 * d_in)`.
# - `torch.zeros(d_out, rank, dtype=torch.float64)` for B. Return A first.

# %%
check("ex05_start_shown")

# %% nbgrader={"grade_id": "ex05_start_unseen", "grade": true, "points": 2} tags=["hidden"]
seed, answers = grading_seed(503), []
for number, (d_in, d_out, rank) in enumerate(((7, 3, 2), (5, 9, 4), (4, 4, 1))):
    A, B = start(d_in, d_out, rank, torch.Generator().manual_seed(seed + number))
    generator = torch.Generator().manual_seed(seed - 1 - number)
    x, to_y = (torch.randn(3, d, generator=generator, dtype=torch.float64) for d in (d_in, d_out))
    answers += [list(A.shape), list(B.shape), x @ A.T @ B.T, (to_y @ B).T @ x, to_y.T @ (x @ A.T)]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Print both shapes for three different sizes. Is the number below the root the 3, times what comes *in*?

# %% [markdown]
# ## Merge, once
#
# After training, the adapter can become part of the weight: $W + \frac{\text{alpha}}{\text{rank}} \, B A$. The layer gives
# the same answers as before, with the work of the base alone. Taken off again, the base is back, ready for another
# adapter.
#
# `layer` is a dict with `"W"`, `"A"`, `"B"`, `"alpha"`, and `"merged"`, which is `False` at first. Write two functions
# that change the dict itself (what they return does not matter):
#
# - `merge` makes `layer["W"]` the merged weight. If it is merged already, nothing happens.
# - `unmerge` makes `layer["W"]` the base's weight again. If nothing is merged, nothing happens.
#
# `layer["merged"]` always says how things stand. While nothing is merged, another adapter may be put in: other A, B and
# alpha, perhaps of another rank. (`merge_lora` of the lesson refuses a second merge with an error. Here, nothing happens.)
#
# *If* `unmerge` *changes nothing:* `kept = layer["W"]` is a second name for the same tensor, and `+=` changes both.
# `layer["W"].clone()` makes a copy.

# %% nbgrader={"grade_id": "ex05_merge", "solution": true}
def merge(layer):
    """Adds the adapter to layer["W"], unless it is merged already."""
    ### BEGIN SOLUTION
    if not layer["merged"]:
        layer["W"] = layer["W"] + layer["alpha"] / len(layer["A"]) * layer["B"] @ layer["A"]
        layer["merged"] = True
    ### END SOLUTION

def unmerge(layer):
    """Brings the base's weight back into layer["W"], if the adapter is merged."""
    ### BEGIN SOLUTION
    if layer["merged"]:
        layer["W"] = layer["W"] - layer["alpha"] / len(layer["A"]) * layer["B"] @ layer["A"]
        layer["merged"] = False
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex05_merge_shown", "grade": true, "points": 1}
layer = {"W": torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.float64), "alpha": 3, "merged": False,
         "A": torch.tensor([[1, 0, 2], [0, 1, 1]], dtype=torch.float64),
         "B": torch.tensor([[1, 2], [0, 4]], dtype=torch.float64)}
stages = []
for act in (merge, merge, unmerge, unmerge):
    act(layer)
    stages += [torch.as_tensor(layer["W"]).flatten().tolist(), bool(layer["merged"])]
rounded(merged=stages[:2], again=stages[2:4], off=stages[4:6], off_again=stages[6:])

# %% [markdown] tags=["hints"]
# - Which product of the two thin matrices has the shape of W, `[d_out, d_in]`? And what is it multiplied by?
# - `B @ A`, times alpha over the rank. The rank is the number of rows of A: `len(layer["A"])`.
# - When may `merge` add? When may `unmerge` take off? `layer["merged"]` knows. Who changes it?
# - `if not layer["merged"]:` put the sum into `layer["W"]`, then `True` into `layer["merged"]`. `unmerge` asks the opposite,
#   subtracts the same product, or puts back a copy that `merge` has kept, and puts `False`.

# %%
check("ex05_merge_shown")

# %% nbgrader={"grade_id": "ex05_merge_unseen", "grade": true, "points": 2} tags=["hidden"]
generator, stages = torch.Generator().manual_seed(grading_seed(504)), []

def fresh(*size):
    return torch.randn(size, generator=generator, dtype=torch.float64)

for d_out, d_in, first, second, alpha in ((3, 2, 2, 1, 3), (2, 4, 1, 2, 5), (3, 3, 3, 2, 2)):
    layer = {"W": fresh(d_out, d_in), "A": fresh(first, d_in), "B": fresh(d_out, first), "alpha": alpha, "merged": False}
    for act in (unmerge, merge, merge, merge, unmerge, unmerge, None, merge, unmerge, merge, merge):
        if act is None:  # another adapter, while nothing is merged
            layer.update(A=fresh(second, d_in), B=fresh(d_out, second), alpha=alpha + 2)
            continue
        act(layer)
        stages.append([*torch.as_tensor(layer["W"]).flatten().tolist(), bool(layer["merged"])])
rounded(*stages)

# %% [markdown] tags=["hints"]
# - Try all orders: `unmerge` first, `merge` three times, then one `unmerge`. And another adapter after it.

# %% [markdown]
# ## What a step still costs
#
# An adapter trains few numbers, but most of the work of a training step stays. To see why, we let whole layers learn or
# stay frozen.
#
# A chain of linear layers has the sizes `widths`: `[64, 32, 16, 10]` makes three layers, numbered from 0. Layer 0 goes
# from 64 to 32. The layers whose numbers are in the set `trained` learn, the others are frozen. At least one learns.
#
# For each example of a batch, the forward pass takes 2 FLOPs per weight. The backward pass has two products of that same
# size for a layer:
#
# - one gives the gradient of the layer's **weights**, which are then changed,
# - one gives the gradient of the layer's **input**, which the layer before receives as the gradient of its output.
#
# Each is computed only where something needs it. Give the FLOPs of both passes for one batch, two whole numbers. Biases
# and what stands between the layers do not count.

# %% nbgrader={"grade_id": "ex05_step", "solution": true}
def step_flops(widths, trained, batch):
    """(forward, backward) FLOPs of one training step with `batch` examples."""
    ### BEGIN SOLUTION
    products = [2 * m * n * batch for m, n in zip(widths, widths[1:])]
    weights = sum(products[i] for i in trained)
    inputs = sum(products[min(trained) + 1:])
    return sum(products), weights + inputs
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex05_step_shown", "grade": true, "points": 1}
chain = [64, 32, 16, 10]
cases = {"all": {0, 1, 2}, "head": {2}, "first": {0}}
rounded(**{name: [operator.index(n) for n in step_flops(chain, learn, 5)] for name, learn in cases.items()})

# %% [markdown] tags=["hints"]
# - Only the last layer learns. Who would use the gradient of its input? And if only the first one learns?
# - One product of layer i: `2 * widths[i] * widths[i + 1] * batch`. The forward pass does one for every layer.
# - Backward, the product for the weights: for the layers in `trained`. The product for the input: for every layer
#   *after* the first one that learns, frozen or not: through them the gradient comes back from the loss.
# - `first = min(trained)`. Backward, layer i costs one product if `i in trained`, and one more if `i > first`.

# %%
check("ex05_step_shown")

# %% nbgrader={"grade_id": "ex05_step_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(505))
answers = []
for n_layers, trained in ((5, {2}), (6, {1, 4}), (4, {0, 3}), (4, {0, 1, 2, 3}), (5, {3, 4})):
    chain = [rng.randint(8, 99) for _ in range(n_layers + 1)]
    answers.append([operator.index(n) for n in step_flops(chain, trained, rng.randint(3, 64))])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a chain in which a layer in the middle learns, and one in which the second and the fourth do.

# %% [markdown]
# ## Many tasks on one base
#
# Here adapters save most. One base serves all tasks: it is stored once, and for each task an adapter. With full
# fine-tuning, each task has a whole copy of its own, and no base is kept.
#
# `parameters` counts the numbers of the base, `adapter` those of one task's adapter. Each number is stored with `bits`
# bits: 8, 16 or 32. Give
#
# 1. the **bytes** of the base and the adapters of all `tasks` (a whole number),
# 2. the bytes of the full copies (a whole number),
# 3. the smallest number of tasks for which the adapters, base included, take **less than** `share` (0 to 1) of the
#    bytes of the copies. `None` if they never do, however many tasks there are.
#
# `gpt_3` in the check uses published sizes. Compare with what the authors of LoRA report for 100 tasks:
# `fact("lora_100tasks")` and `fact("lora_100tasks_full")`.
#
# *If you see* `'float' object cannot be interpreted as an integer`: `/` gives a float. `//` divides whole numbers.
#
# *If your cell runs for ever, or your number of tasks is negative:* even with very many tasks, each has its adapter. Which
# share can't be reached?

# %% nbgrader={"grade_id": "ex05_storage", "solution": true}
def storage(parameters, adapter, tasks, bits, share):
    """(bytes with adapters, bytes of full copies, smallest number of tasks or None)."""
    ### BEGIN SOLUTION
    size = bits // 8
    with_adapters, copies = (parameters + tasks * adapter) * size, tasks * parameters * size
    if share * parameters <= adapter:
        return with_adapters, copies, None
    return with_adapters, copies, math.floor(parameters / (share * parameters - adapter)) + 1
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex05_storage_shown", "grade": true, "points": 1}
million = 10**6
gpt_3 = [round(fact(name).value * million) for name in ("lora_params_full", "lora_params_r4")]
cases = {"gpt_3": storage(*gpt_3, 100, 16, 0.02), "small": storage(1000, 250, 5, 32, 0.5),
         "break_even": storage(1000, 190, 1, 8, 1.0), "never": storage(1000, 190, 500, 8, 0.15)}
rounded(**{name: [None if n is None else operator.index(n) for n in case] for name, case in cases.items()})

# %% [markdown] tags=["hints"]
# - How often is the base stored when 100 tasks use adapters? And how many bits are a byte?
# - With n tasks: `parameters + n * adapter` numbers against `n * parameters`. Which share is that when n is very large?
# - The share is `1 / n + adapter / parameters`. It falls with n, but never to `adapter / parameters`: where `share` is not
#   above that, the answer is `None`.
# - Otherwise a loop from 1 upwards will do, until `parameters + n * adapter < share * n * parameters`.

# %%
check("ex05_storage_shown")

# %% nbgrader={"grade_id": "ex05_storage_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(506))
answers = []
for most, bits, percent, part in ((9, 16, (3, 9), (0.002, 0.02)), (99, 8, (30, 60), (0.05, 0.2)),
                                  (99, 32, (2, 5), (0.06, 0.2)), (99, 32, (100, 100), (0.1, 0.4))):
    numbers = rng.choice((299_993, 999_983, 1_000_003))  # primes: no share is met exactly, where rounding would decide
    given = numbers, round(numbers * rng.uniform(*part)), rng.randint(3, most), bits, rng.randint(*percent) / 100
    answers.append([None if n is None else operator.index(n) for n in storage(*given)])
for tasks, share in ((7, 0.5), (4, 0.75)):  # a share that is met exactly: "less than" comes one task later
    quarter = rng.randint(10_000, 99_999)
    answers.append([operator.index(n) for n in storage(4 * quarter, quarter, tasks, 16, share)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put your number of tasks into the first two results. Is the share met there, and not yet with one task less?

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/05_adapters.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
