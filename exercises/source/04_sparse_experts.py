# ---
# jupyter:
#   course:
#     difficulty: 4
#     exercise: "04"
#     lesson: "04"
#     minutes: 50
#     title: Sparse experts
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 04: sparse experts
#
# **Difficulty** 4 of 5. **About** 50 minutes. **Points** 15. **After** lesson 04.
#
# You build a sparse layer from its parts: what it holds and what one token uses, the router's choice, the work of the
# chosen experts, and two numbers that tell whether all experts are in use. Your answer goes where `YOUR CODE HERE`
# stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.
#
# As in the lesson: `n_experts` and `top_k`. In formulas and shapes they are E and k, and there are N tokens. All floats
# are float64.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import math
import operator
import random

import torch

from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% [markdown]
# ## Active and total
#
# One expert holds two matrices without biases, `d_model` by `d_ff` and `d_ff` by `d_model`. The router is one matrix,
# `d_model` by `n_experts`. Each token visits `top_k` experts, and also each of the `n_shared` shared ones, which are of
# the same size and stand outside the router. `rest` counts the other parameters of the block, such as attention: every
# token uses all of them.
#
# Give three whole numbers: all parameters of the block, those that one token uses, and the width of the *dense twin*.
# That is a block with the same `rest`, but with one feed-forward network of two matrices and no router. Its width is
# such that one token uses as many parameters as in the sparse block, the router's among them (rounded down).
#
# In the lesson, the first twin of the same active weights left the router out. Later ones got extra width for it. Here,
# too, the router counts.
#
# *If you see* `'float' object cannot be interpreted as an integer`: `/` gives a float. `//` divides whole numbers, and
# rounds down.

# %% nbgrader={"grade_id": "ex04_sizes", "solution": true}
def sizes(d_model, d_ff, n_experts, top_k, n_shared=0, rest=0):
    """(total parameters, active parameters, d_ff of the dense twin) of a sparse block."""
    ### BEGIN SOLUTION
    expert, router = 2 * d_model * d_ff, d_model * n_experts
    total = rest + router + (n_experts + n_shared) * expert
    active = rest + router + (top_k + n_shared) * expert
    return total, active, (active - rest) // (2 * d_model)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex04_sizes_shown", "grade": true, "points": 1}
rounded(layer=[operator.index(n) for n in sizes(64, 128, 16, 2)],
        block=[operator.index(n) for n in sizes(64, 128, 16, 2, n_shared=1, rest=16_384)],
        tiny=[operator.index(n) for n in sizes(64, 4, 11, 1)])

# %% [markdown] tags=["hints"]
# - To choose among the experts, a token needs a score for *each* of them. How much of the router does it use?
# - One expert: `2 * d_model * d_ff`. The router, `d_model * n_experts`, belongs to both counts in full, and so does
#   `rest`. How many experts does a token visit?
# - Total: `n_experts + n_shared` experts. Active: `top_k + n_shared` experts. To both add router and rest.
# - The twin's network may use `active - rest` parameters. Each hidden unit takes `2 * d_model` of them.

# %%
check("ex04_sizes_shown")

# %% nbgrader={"grade_id": "ex04_sizes_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(401))
rounded([[operator.index(n) for n in sizes(rng.randint(8, 90), rng.randint(3, 200), rng.randrange(9, 64, 2),
                                           rng.randint(1, 8), shared, rng.randint(100, 9999))] for shared in (0, 1, 2)])

# %% [markdown] tags=["hints"]
# - Try a block with tiny experts: there the router is not small. And one with a shared expert and a `rest`.

# %% [markdown]
# ## Choose the experts
#
# The router gives each token a logit for each expert. The softmax over the experts turns a token's logits into
# probabilities. The `top_k` experts with the largest probabilities are chosen, best first. Their weights are their
# probabilities, divided by their sum, so that the weights of each token add up to 1.
#
# With `top_k` 1 that makes each weight exactly 1. (`SparseMoE` of the lesson does not divide there: the router learns from
# that one weight. Here we always divide.)
#
# *If you see* `The size of tensor a must match`: `sum(-1, keepdim=True)` keeps the shape `[N, 1]`, which divides
# `[N, k]`.

# %% nbgrader={"grade_id": "ex04_gate", "solution": true}
def choose(logits, top_k):
    """(experts, weights), both [N, k], best first; from logits float64 [N, E]."""
    ### BEGIN SOLUTION
    weights, experts = logits.softmax(dim=-1).topk(top_k, dim=-1)
    return experts, weights / weights.sum(-1, keepdim=True)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex04_gate_shown", "grade": true, "points": 1}
logits = torch.tensor([[1.0, 3.0, 2.0, -1.0], [0.5, -2.0, 0.1, 2.5], [4.0, 0.0, 3.7, 0.2]], dtype=torch.float64)
experts, weights = choose(logits, 2)
rounded(experts=[[int(e) for e in row] for row in experts], weights=[[float(w) for w in row] for row in weights])

# %% [markdown] tags=["hints"]
# - A token's probabilities must add up to 1. Along which dimension of `[N, E]` do the numbers of one token lie?
# - `logits.softmax(dim=-1)` gives the probabilities. Which method of a tensor gives the largest values *and* where
#   they stand?
# - `.topk(top_k, dim=-1)` gives both, largest first. Look at what comes first: the values or the places?
# - Divide the values by `values.sum(-1, keepdim=True)`. Return the places first, then the weights.

# %%
check("ex04_gate_shown")

# %% nbgrader={"grade_id": "ex04_gate_unseen", "grade": true, "points": 2} tags=["hidden"]
generator = torch.Generator().manual_seed(grading_seed(402))
answers = []
for n_tokens, n_experts, k in ((4, 6, 2), (3, 5, 3), (6, 3, 1)):
    experts, weights = choose(2 * torch.randn(n_tokens, n_experts, generator=generator, dtype=torch.float64), k)
    answers += [[[int(e) for e in row] for row in experts], [[float(w) for w in row] for row in weights]]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Do the weights of each token add up to 1? Does the best expert stand first? Try other numbers for `top_k`, too.

# %% [markdown]
# ## Only the chosen ones work
#
# `networks` is a list of E functions. Each takes some tokens, a float64 tensor `[n, d]`, and gives their answers, a tensor
# `[n, d]`. The output for a token is the sum of its chosen experts' answers, each times its weight.
#
# A network may only see the tokens that chose it: the check counts their rows, and a network that nobody chose
# answers with `nan`. (To compute all and multiply by 0 saves nothing, and 0 times `nan` is `nan`.)
#
# *If you see* `nan` *in your output:* you used the answer of an expert that was not chosen.

# %% nbgrader={"grade_id": "ex04_layer", "solution": true}
def sparse_layer(x, experts, weights, networks):
    """Outputs [N, d] of tokens x [N, d]; experts int64 [N, k] and weights float64 [N, k] as the router gave them."""
    ### BEGIN SOLUTION
    y = torch.zeros_like(x)
    for e, network in enumerate(networks):
        token, slot = (experts == e).nonzero(as_tuple=True)
        if len(token):
            y.index_add_(0, token, weights[token, slot, None] * network(x[token]))
    return y
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex04_layer_shown", "grade": true, "points": 1}
rows = []

def network(scale, shift):
    def answer(some):
        rows.append(some.reshape(-1, 2).shape[0])
        return some @ (scale * torch.eye(2, dtype=torch.float64)) + shift
    return answer

networks = [network(1.0, 0.0), network(10.0, 1.0), network(math.nan, 0.0), network(-2.0, 3.0)]
x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 5.0]], dtype=torch.float64)
chosen = torch.tensor([[1, 0], [3, 1], [1, 3]])
shares = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.625, 0.375]], dtype=torch.float64)
y = sparse_layer(x, chosen, shares, networks)
rounded(outputs=[[float(value) for value in row] for row in y], rows=sum(rows))

# %% [markdown] tags=["hints"]
# - For one expert: which tokens chose it, and in which place of their list does it stand?
# - `token, slot = (experts == e).nonzero(as_tuple=True)` answers both. No token? Then leave that network alone.
# - `network(x[token])` gives the answers. Each one counts `weights[token, slot]`: with `[:, None]` behind it, it
#   multiplies a whole row.
# - Start with `torch.zeros_like(x)` and *add*: a token gets something from each expert that it chose.

# %%
check("ex04_layer_shown")

# %% nbgrader={"grade_id": "ex04_layer_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(403))
answers = []
for n_tokens, n_experts, k, d in ((6, 5, 2, 3), (5, 9, 3, 2), (7, 3, 1, 2)):
    picked = [rng.sample(range(n_experts), k) for _ in range(n_tokens)]
    used, worked, experts_here = {e for row in picked for e in row}, [], []
    for e in range(n_experts):
        matrix = torch.tensor([[rng.randint(-4, 4) for _ in range(d)] for _ in range(d)], dtype=torch.float64)
        matrix = matrix if e in used else matrix * math.nan

        def work(some, matrix=matrix, d=d, worked=worked):
            worked.append(some.reshape(-1, d).shape[0])
            return some @ matrix

        experts_here.append(work)
    tokens = torch.tensor([[rng.randint(-9, 9) for _ in range(d)] for _ in range(n_tokens)], dtype=torch.float64)
    parts = torch.tensor([[rng.randint(1, 7) / 8 for _ in range(k)] for _ in range(n_tokens)], dtype=torch.float64)
    out = sparse_layer(tokens, torch.tensor(picked), parts, experts_here)
    answers += [[[float(value) for value in row] for row in out], sum(worked)]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Compare with a loop over the tokens, for three tokens and three experts. Leave one expert without tokens.

# %% [markdown]
# ## The balancing loss
#
# Left alone, a router may send all tokens to few experts. The loss that balances (Switch Transformer, equations 4 to 6)
# is
#
# $$ E \cdot \sum_{i=1}^{E} f_i \, P_i $$
#
# where $f_i$ is the share of expert $i$ in **all choices** (there are N · k of them), and $P_i$ its probability, averaged
# over the tokens. It is 1 when all is balanced.
#
# *If you see* `RuntimeError: bincount only supports 1-d`: `experts.flatten()` puts all choices into one row.
# *If you see* `The size of tensor a (3) must match the size of tensor b (4)`: an expert that nobody chose was not counted.
# `minlength` of `bincount` says how many there are.

# %% nbgrader={"grade_id": "ex04_balance", "solution": true}
def load_balancing_loss(probabilities, experts):
    """The loss, from probabilities float64 [N, E] and the chosen experts int64 [N, k]."""
    ### BEGIN SOLUTION
    n_experts = probabilities.shape[-1]
    f = torch.bincount(experts.flatten(), minlength=n_experts) / experts.numel()
    return n_experts * (f * probabilities.mean(dim=0)).sum()
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex04_balance_shown", "grade": true, "points": 1}
even, certain = torch.full((4, 4), 0.25, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
skewed = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.6, 0.1, 0.3, 0.0], [0.5, 0.4, 0.1, 0.0]], dtype=torch.float64)
rounded(balanced=float(load_balancing_loss(even, torch.tensor([[0, 1], [1, 2], [2, 3], [3, 0]]))),
        skewed=float(load_balancing_loss(skewed, torch.tensor([[0, 1], [0, 2], [0, 1]]))),
        collapsed=float(load_balancing_loss(certain[[2, 2, 2]], torch.tensor([[2], [2], [2]]))))

# %% [markdown] tags=["hints"]
# - What must the four shares $f_i$ add up to? And the four $P_i$?
# - `torch.bincount(experts.flatten(), minlength=E)` counts the choices. Divide by how many there are: `experts.numel()`.
# - `probabilities.mean(dim=0)` averages over the tokens, and has E entries.
# - Multiply the two, add up over the experts, and multiply by E.

# %%
check("ex04_balance_shown")

# %% nbgrader={"grade_id": "ex04_balance_unseen", "grade": true, "points": 2} tags=["hidden"]
generator = torch.Generator().manual_seed(grading_seed(404))
answers = []
for n_tokens, n_experts, k in ((8, 5, 2), (16, 8, 1), (16, 16, 4)):
    p = torch.randn(n_tokens, n_experts, generator=generator, dtype=torch.float64).softmax(-1)
    answers.append(float(load_balancing_loss(p, p.topk(k).indices)))
rounded(answers)

# %% [markdown] tags=["hints"]
# - Try more than one choice per token, and another number of experts than of tokens. Balanced must still give 1.

# %% [markdown]
# ## How many experts work?
#
# The loss tells the router. A number for people is the count of *effective experts*: with $f_i$ as above,
#
# $$ \exp\Bigl(-\sum_i f_i \ln f_i\Bigr). $$
#
# Eight experts in equal use give 8; one that gets everything gives 1. An expert that nobody chose adds nothing. (The
# check shows two decimals.)
#
# *If you see* `nan` *or* `math domain error`: the logarithm of 0. Leave experts without tokens out.

# %% nbgrader={"grade_id": "ex04_effective", "solution": true}
def effective_experts(experts, n_experts):
    """Effective experts, 1 to n_experts, from the choices int64 [N, k]."""
    ### BEGIN SOLUTION
    counts = torch.bincount(experts.flatten(), minlength=n_experts)
    shares = [n / experts.numel() for n in counts.tolist() if n]
    return math.exp(-sum(f * math.log(f) for f in shares))
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex04_effective_shown", "grade": true, "points": 1}
rounded(equal=round(float(effective_experts(torch.tensor([[0, 1], [2, 3]]), 4)), 2),
        collapsed=round(float(effective_experts(torch.tensor([[5], [5], [5]]), 8)), 2),
        between=round(float(effective_experts(torch.tensor([[0, 1], [0, 1], [0, 2], [0, 3]]), 8)), 2))

# %% [markdown] tags=["hints"]
# - The entropy of the shares says how even they are. What does `exp` turn the entropy of four equal shares into?
# - Shares: counts divided by the number of all choices, as for the loss.
# - The logarithm is the natural one, `math.log`. Its sum goes over the shares that are larger than 0.
# - `math.exp` of minus that sum.

# %%
check("ex04_effective_shown")

# %% nbgrader={"grade_id": "ex04_effective_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(405))
cases = [(torch.tensor([rng.sample([0, 0, 0, 1, 1, 2, 3, n - 2], k) for _ in range(rng.randint(15, 40))]), n)
         for n, k in ((8, 1), (6, 2), (16, 3))]
rounded([round(float(effective_experts(*case)), 2) for case in cases])

# %% [markdown] tags=["hints"]
# - Try a load with an expert that nobody chose, and more than one choice per token.

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/04_sparse_experts.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
