# ---
# jupyter:
#   course:
#     difficulty: 4
#     exercise: "07"
#     lesson: "07"
#     minutes: 60
#     title: Local deployment
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 07: local deployment
#
# **Difficulty** 4 of 5. **About** 60 minutes. **Points** 21. **After** lesson 07.
#
# You bring a model to a phone, on paper and in tensors: the bytes of its file, the scale of small whole numbers, what
# rounding loses, the cache, the memory that an app may take, tokens per second, and joules against a server. Your
# answer goes where `YOUR CODE HERE` stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.
#
# A byte is 8 bits. GB is 1,000,000,000 bytes, GiB is $2^{30}$ bytes. All tensors of floats are float64. All joules are
# calculated, from published figures or made-up ones: nothing is measured here. You need none of the packages that
# lesson 07 asks for.

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
# ## What a format takes
#
# A quantised file holds most weights as small whole numbers of `bits` bits. Each `block` of such weights shares one
# **scale**, a number of its own, of `scale_bits` bits: times the scale, the whole numbers become weights again. (Q4_0
# has 4 bits, blocks of 32 and scales in float16. A scale for each row of a matrix is a block as long as a row.)
#
# `rest` counts the parameters that stay in float32, 4 bytes each, such as those of the norms. They have no scale. The
# number of `weights` is a multiple of `block`.
#
# Give three things: the bytes of the file (a whole number), the same in GiB, and the bits for each parameter: all bits
# of the file, divided by all parameters, those of the rest too.
#
# The check has the model of the lesson as Q4_0, and Phi-3-mini at 4 bits without any scale. Its paper says
# `fact("ph_phi3")`, and your result in GiB comes nearest to that.
#
# *If you see* `'float' object cannot be interpreted as an integer`: `/` gives a float. `//` divides whole numbers.

# %% nbgrader={"grade_id": "ex07_file", "solution": true}
def file_size(weights, rest, bits, block, scale_bits):
    """(bytes, GiB, bits for each parameter) of a file with `weights` in blocks and `rest` in float32."""
    ### BEGIN SOLUTION
    total = weights * bits + weights // block * scale_bits + rest * 32
    return total // 8, total / 8 / 2**30, total / (weights + rest)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex07_file_shown", "grade": true, "points": 1}
def in_units(size, gib, bits_each):
    return [operator.index(size), float(gib), float(bits_each)]

phi_3 = round(fact("ph_phi3_params").value * 10**9)  # parameters, published
rounded(lesson_model=in_units(*file_size(3_276_800, 46_592, 4, 32, 16)),
        phi_3_no_scale=in_units(*file_size(phi_3, 0, 4, 32, 0)),
        a_scale_for_each_row=in_units(*file_size(4096 * 1024, 4096, 8, 1024, 32)),
        scales_of_6_bits=in_units(*file_size(4096 * 1024, 4096, 4, 32, 6)))

# %% [markdown] tags=["hints"]
# - The file holds three kinds of numbers. Which ones, how many of each, and how many bits has one of them?
# - There is one scale for each block: `weights // block` scales.
# - Add up the *bits* first: `weights * bits`, the scales times `scale_bits`, and 32 for each number of the rest.
# - All bits divided by 8 are the bytes. Bytes divided by `2**30` are GiB. All bits divided by `weights + rest` are the
#   bits for each parameter.

# %%
check("ex07_file_shown")

# %% nbgrader={"grade_id": "ex07_file_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(701))
answers = []
for bits, block, scale_bits in ((4, 32, 8), (8, 64, 32), (6, 128, 6), (2, 16, 0)):
    numbers = 8 * block * rng.randint(2_000, 90_000), rng.randint(10_000, 99_999)
    size, gib, bits_each = file_size(*numbers, bits, block, scale_bits)
    answers.append([operator.index(size), float(gib), float(bits_each)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a scale of 6 or 32 bits, and a large `rest`. Without rest, blocks of 32 and scales of 16 bits add half a bit.

# %% [markdown]
# ## Find the scale
#
# With `bits` bits, the whole numbers of a *symmetric* format go from $-m$ to $m$, where $m = 2^{\text{bits} - 1} -
# 1$: from -127 to 127 for 8 bits. (As in the lesson, -128 stays unused, so that both sides are alike.) The weight
# that is largest in **size**, positive or negative, becomes $m$ or $-m$. So the scale is
#
# $$ \text{scale} = \frac{\max |w|}{m}. $$
#
# The maximum goes over the whole matrix (`per="tensor"`), or over one output channel at a time (`per="channel"`). `W`
# has the shape `[d_out, d_in]`, as in torch: a row makes one output, so a row is a channel. (In an ONNX file, matrices
# stand the other way round: there it is a column.)
#
# Give a tensor with two dimensions, so that `W / scale` works for both: `[1, 1]`, or `[d_out, 1]`. Where all weights of
# a channel, or of the matrix, are 0, any scale would do. Give 1 there, not 0: nothing can be divided by 0.
#
# *If your shape lacks a dimension:* `keepdim=True` keeps the one over which you took the maximum, with size 1.

# %% nbgrader={"grade_id": "ex07_scale", "solution": true}
def find_scale(W, bits, per):
    """Scale of W [d_out, d_in], float64: [1, 1] for per="tensor", [d_out, 1] for per="channel"."""
    ### BEGIN SOLUTION
    largest = W.abs().amax(dim=(0, 1) if per == "tensor" else 1, keepdim=True)
    return torch.where(largest == 0, 1.0, largest / (2 ** (bits - 1) - 1))
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex07_scale_shown", "grade": true, "points": 1}
W = torch.tensor([[0.3, -0.1, 0.2, 0.4], [25.0, -63.5, 8.0, 31.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
rounded(tensor=torch.as_tensor(find_scale(W, 8, per="tensor")),
        channel=torch.as_tensor(find_scale(W, 8, per="channel")),
        four_bits=torch.as_tensor(find_scale(W, 4, per="channel")),
        all_zeros=torch.as_tensor(find_scale(0 * W, 8, per="tensor")))

# %% [markdown] tags=["hints"]
# - Which weight of the second row is the largest in size? Does `.max()` find it?
# - `W.abs()` first. Then the largest of all, or the largest of each row: over which dimension do the weights of a row
#   lie?
# - `.amax(dim=1, keepdim=True)` gives `[d_out, 1]`, and `.amax(dim=(0, 1), keepdim=True)` gives `[1, 1]`. Divide by
#   `2 ** (bits - 1) - 1`.
# - At the end, where the largest is 0, put 1: `torch.where(largest == 0, 1.0, scale)`.

# %%
check("ex07_scale_shown")

# %% nbgrader={"grade_id": "ex07_scale_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(702))
generator, answers = torch.Generator().manual_seed(rng.randrange(2**31)), []
for d_out, d_in, bits in ((4, 4, 8), (3, 5, 4), (5, 2, 6), (1, 3, 8)):
    matrix = torch.randn(d_out, d_in, generator=generator, dtype=torch.float64)
    matrix[0, 1] = -rng.uniform(20, 90)
    if d_out > 3:
        matrix[-2], matrix[-1] = 0.0, matrix[-1] / 50
    answers += [torch.as_tensor(find_scale(matrix, bits, per=per)) for per in ("tensor", "channel")]
rounded(*answers, torch.as_tensor(find_scale(torch.zeros(2, 3, dtype=torch.float64), 8, per="tensor")))

# %% [markdown] tags=["hints"]
# - Try a square matrix whose largest weight is negative, a row of zeros, and another number of bits. Look at the
#   shapes.

# %% [markdown]
# ## Round, clamp, and go back
#
# Now the scale is **given**. Each weight becomes $q$, the whole number that is nearest to $w / \text{scale}$; but never
# one beyond $-m$ or $m$: there it is *clamped* to $-m$ or $m$. (With the scale from above, nothing is beyond. Some
# formats choose a smaller scale on purpose: they clamp a few large weights, and round the many others more finely.) The
# way back is q times the scale.
#
# `scale` has the shape `[1, 1]` or `[d_out, 1]`. Give `q`, a tensor of `torch.int8`, also for fewer bits than 8; and
# the weights that come back, float64. No weight lies in the middle between two whole numbers here.
#
# The check shows q, and how far the weights that come back are off: the error of each row, over the size of that row. 1 is
# as bad as forgetting the row. In the matrix one row is large. What does one scale for all do to the other row?
#
# *If a large weight comes back with the wrong sign:* int8 ends at 127, and what is larger starts again at -128. Clamp
# *before* you change the type.

# %% nbgrader={"grade_id": "ex07_quantise", "solution": true}
def quantise(W, scale, bits):
    """(q, back): whole numbers int8 and the weights that come back float64, both [d_out, d_in]."""
    ### BEGIN SOLUTION
    m = 2 ** (bits - 1) - 1
    q = (W / scale).round().clamp(-m, m)
    return q.to(torch.int8), q * scale
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex07_quantise_shown", "grade": true, "points": 1}
W = torch.tensor([[0.317, -0.123, 0.253, -0.497], [31.3, -49.9, 12.7, 4.3]], dtype=torch.float64)
scales = {"tensor": ([[0.4]], 8), "channel": ([[0.004], [0.4]], 8), "clamped": ([[0.004], [0.3]], 8),
          "four_bits": ([[0.08], [6.0]], 4)}

lines = {}
for name, (scale, bits) in scales.items():
    q, back = (torch.as_tensor(x) for x in quantise(W, torch.tensor(scale, dtype=torch.float64), bits))
    error = (W - back).square().sum(dim=1) / W.square().sum(dim=1)
    of_rows = [round(float(e) ** 0.5, 3) for e in error]
    lines |= {f"{name}: q": q, f"{name}: error of each row": of_rows}
rounded(**lines)

# %% [markdown] tags=["hints"]
# - Divide by the scale, or multiply? What must the largest weight become, and what becomes of the smallest?
# - `(W / scale).round()` is the nearest whole number, still a float. Which numbers may q not pass?
# - `.clamp(-m, m)`, where m is 127 for 8 bits and 7 for 4 bits: `2 ** (bits - 1) - 1`. Only then `.to(torch.int8)`.
# - The way back takes the *clamped* whole numbers times the scale.

# %%
check("ex07_quantise_shown")

# %% nbgrader={"grade_id": "ex07_quantise_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(703))
generator, answers = torch.Generator().manual_seed(rng.randrange(2**31)), []
for d_out, d_in, bits, one in ((4, 4, 8, False), (3, 5, 8, True), (5, 3, 4, False), (3, 3, 6, True)):
    sizes = torch.tensor([[rng.uniform(0.5, 9.0)] for _ in range(d_out)], dtype=torch.float64)
    matrix = sizes * torch.randn(d_out, d_in, generator=generator, dtype=torch.float64)
    given = sizes[:1] if one else sizes
    matrix[0, 0], matrix[1, 1] = rng.uniform(3.1, 4.9) * given[0], -rng.uniform(3.1, 4.9) * given[-1 if one else 1]
    answers += [torch.as_tensor(x) for x in quantise(matrix, given * 3 / 2 ** (bits - 1), bits)]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a square matrix with a scale for each row, and 4 bits. Put a weight of 200 times the scale in, and one of -200.

# %% [markdown]
# ## What the cache takes
#
# For each token of a text, each layer keeps two vectors, a **key** and a **value**: later tokens look at them. That is
# the key-value cache. A vector consists of `kv_heads` heads, and each has `width // heads` numbers: together they are what
# the lesson called `kv_width`. In the first models `kv_heads` equals `heads`. In many newer ones several heads share one
# key and one value, so that `kv_heads` is smaller.
#
# `model` is a dict with `"layers"`, `"width"` (of the model, not of keys and values), `"heads"` and `"kv_heads"`. The
# cache stores its numbers with `bits` bits. `batch` texts of `tokens` tokens each are in work at the same time: each
# has a cache of its own. Give two whole numbers:
#
# 1. the bytes of all caches together;
# 2. how many tokens each of the `batch` texts may have at most, if all caches together may take `room` bytes.
#
# The check has two models that differ in one number. (The keys and values of `shared` are those of Llama 3.1 8B in the
# lesson. `plain` is made up.)
#
# *If you see* `integer division or modulo by zero`: `4 // 8` is 0. Multiply first, and divide by 8 at the end.

# %% nbgrader={"grade_id": "ex07_cache", "solution": true}
def cache_size(model, tokens, batch, bits, room):
    """(bytes of all key-value caches, most tokens for each text in `room` bytes)."""
    ### BEGIN SOLUTION
    kv_width = model["kv_heads"] * (model["width"] // model["heads"])
    one_token = 2 * model["layers"] * kv_width * bits // 8 * batch  # a key and a value, for one token of every text
    return one_token * tokens, room // one_token
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex07_cache_shown", "grade": true, "points": 1}
plain = {"layers": 32, "width": 4096, "heads": 32, "kv_heads": 32}
cases = {"plain": (plain, 8192, 1, 16, 10**9), "shared": (plain | {"kv_heads": 8}, 8192, 1, 16, 10**9),
         "shared_8_bits": (plain | {"kv_heads": 8}, 8192, 1, 8, 10**9),
         "five_texts_4_bits": (plain | {"kv_heads": 8}, 1000, 5, 4, 10**9)}
rounded(**{name: [operator.index(n) for n in cache_size(*case)] for name, case in cases.items()})

# %% [markdown] tags=["hints"]
# - How many vectors does one token leave behind in one layer? And in all layers?
# - One vector has `kv_heads * (width // heads)` numbers of `bits` bits. Multiply everything first, and divide by 8 at the
#   end.
# - One token takes `2 * layers * kv_heads * (width // heads) * bits // 8` bytes. How many tokens are there, over all
#   texts?
# - If each text gets one token more, `batch` tokens are added. So `room` is divided (`//`) by the bytes of one token
#   *times* `batch`.

# %%
check("ex07_cache_shown")

# %% nbgrader={"grade_id": "ex07_cache_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(704))
answers = []
for bits, shared in ((16, 4), (8, 2), (4, 3), (16, 1)):
    kv_heads, layers, size = rng.randint(2, 9), rng.randint(5, 60), 2 * rng.randint(16, 64)
    model = {"layers": layers, "width": size * shared * kv_heads, "heads": shared * kv_heads, "kv_heads": kv_heads}
    given = rng.randint(100, 9000), rng.randint(2, 9), bits, rng.randint(10**9, 4 * 10**9)
    answers.append([operator.index(n) for n in cache_size(model, *given)])
# exactly full, where a detour over fractions loses a token
start, one = rng.randint(301, 900), 2 * layers * size * kv_heads * 2
tokens, most = next((t, n) for t in range(start, 2 * start) for n in range(100, t) if int(n / t * t) < n)
answers.append([operator.index(n) for n in cache_size(model, tokens, 3, 16, most * one * 3)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put your number of tokens into the first result: is it inside `room`, and with one token more outside? Try a room that
#   is exactly full, too. Whole numbers need `//`: fractions are rounded.

# %% [markdown]
# ## Does it fit the phone?
#
# A phone has `ram_gb` GB of memory, and one app may take a share of it, `share` (0 to 1). The app needs the weights and the
# key-value cache of `cache` bytes. `formats` gives the bits for each parameter of some formats, by name, in no order.
#
# The model has `total` parameters, of which `active` work for one token. In a dense model the two are equal. In a
# mixture of experts nobody knows which expert the next token will choose: all must be there.
#
# Give the name of the format with the **most** bits that fits (exactly full fits, too), and how many GB of the phone's
# memory are left for the system and all other apps together. If no format fits, give `None`: then nothing is loaded,
# and all of the memory is left.
#
# *If you see* `max() arg is an empty sequence`, *or* `max() iterable argument is empty`: no format fits there. With
# `default=None`, `max` gives `None` instead.

# %% nbgrader={"grade_id": "ex07_phone", "solution": true}
def best_format(total, active, formats, cache, ram_gb, share):
    """(name of the format with the most bits that fits or None, GB left for all else on the phone)."""
    ### BEGIN SOLUTION
    needs = {name: (total * bits / 8 + cache) / 1e9 for name, bits in formats.items()}
    fit = [name for name, gb in needs.items() if gb <= share * ram_gb]
    best = max(fit, key=formats.get, default=None)
    return best, ram_gb - needs[best] if fit else float(ram_gb)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex07_phone_shown", "grade": true, "points": 1}
# Published: bits of a weight by format, the memory of a phone as sold on average and of a large one, two models, and a
# rule of thumb for the share of an app. Half of the memory and a cache of 0.3 GB are our assumptions; the last case is
# made up.
bits = {name: fact(f"bpw_{name}").value for name in ("Q4_K_M", "Q8_0", "Q2_K", "F16")}
average, large, rule = (fact(name).value for name in ("ph_ram_avg25", "ph_iphone_17pro", "ph_app_share"))
phi_3, nano = (fact(name).value * 1e9 for name in ("ph_phi3_params", "ph_nano1"))
mixtral = fact("moe_mixtral7_total").value * 1e9, fact("moe_mixtral7_active").value * 1e9
cases = {"dense": (phi_3, phi_3, bits, 0, average, 0.5), "with_cache": (phi_3, phi_3, bits, 0.3e9, average, 0.5),
         "by_the_rule": (phi_3, phi_3, bits, 0.3e9, average, rule / 100),
         "experts": (*mixtral, bits, 0.3e9, large, 0.5), "small_model": (nano, nano, bits, 0.3e9, large, 0.5),
         "exactly_full": (8e9, 8e9, {"two": 2.0, "four": 4.0, "eight": 8.0}, 0, 8, 0.5)}
answers = {name: best_format(*case) for name, case in cases.items()}
rounded(**{name: [best, float(left)] for name, (best, left) in answers.items()})

# %% [markdown] tags=["hints"]
# - Which parameters must be in memory while a mixture of experts answers: the active ones, or all?
# - A format needs `total * bits / 8` bytes for the weights, and `cache` bytes. The app may take `share * ram_gb * 1e9`.
# - Keep the formats that need no more than that, and choose the one with the most bits. `max(..., key=formats.get)`
#   finds it, if there is one.
# - What is left is the *whole* memory minus what the app needs: `ram_gb - needed / 1e9`, not a share of it. Without a
#   format that fits, it is `ram_gb`.

# %%
check("ex07_phone_shown")

# %% nbgrader={"grade_id": "ex07_phone_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(705))
answers = []
for kind in ("some", "some", "dense", "none", "only", "full", "full"):
    some = rng.sample((2, 3, 4, 5, 6, 8, 16), 5)
    called = rng.sample("ABCDEFGHIJ", 5)
    if kind == "dense":  # the alphabet against the bits
        some, called = sorted(some), sorted(called, reverse=True)
    table = {name: n + (0.0 if kind == "full" else rng.uniform(0.05, 0.6)) for name, n in zip(called, some)}
    ranked, ram = sorted(table.values()), rng.randint(6, 16)
    if kind == "full":  # exactly full: in whole GB, so that nothing is rounded
        best, held, portion = ranked[2], 8e9 * rng.randint(1, 3), 0.5
        cache, ram = 0.25e9 * rng.randint(1, 3), 0
        ram = 2 * (held * best / 8 + cache) / 1e9
    else:
        portion, cache = rng.uniform(0.3, 0.6), rng.uniform(0.2e9, 0.6e9)
        at = {"some": 2, "dense": 3, "none": 0, "only": 0}[kind]
        edge = ranked[at] * (0.97 if kind == "none" else 1.03)
        held = (portion * ram * 1e9 - cache) * 8 / edge
    works = held if kind == "dense" else held * rng.uniform(0.1, 0.4)
    name, left = best_format(held, works, table, cache, ram, portion)
    answers.append([name, float(left)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try formats in another order, a cache that tips the scales, an app that fills its share exactly, and no fit at all.

# %% [markdown]
# ## Faster, and cheaper?
#
# To write its next token, a text needs every active weight and its own cache. A batch of texts goes through the weights
# together. So one **step**, which gives each of the `batch` texts one token,
#
# - moves `weights * bits / 8` bytes of weights, once for all texts, and `cache` bytes for each text;
# - takes 2 FLOPs per weight for each text, and, before that, `unpack` FLOPs per weight, once for all texts. They turn
#   what is stored into numbers that can be multiplied: 0 in a format that the processor can use directly. (A real
#   engine may have to unpack a weight several times.)
#
# `machine` is a dict: `"bytes_per_s"` and `"flop_per_s"` say how fast it moves and computes, `"joules_per_byte"` and
# `"joules_per_flop"` what that costs. Moving and computing go on at the same time, so the **longer** of the two is the
# time of a step. But both must be paid: the energy is their **sum**. Give tokens per second, over all texts, and joules
# per token.
#
# The machine in the check is made up, its prices too, and 8 FLOPs to unpack a weight are many. Compare `float16` with
# `int4` there: int4 is much faster. Is it cheaper at all? (A real machine also draws power all the time. A faster format
# pays that for fewer seconds, and it is left out here. Only measuring can tell: the lesson has published cases.)
#
# *If your tokens per second fall when the batch grows:* a step of 16 texts gives 16 tokens, not one.

# %% nbgrader={"grade_id": "ex07_speed", "solution": true}
def decode(weights, bits, unpack, cache, batch, machine):
    """(tokens per second over all texts, joules per token) for `batch` texts that are written together."""
    ### BEGIN SOLUTION
    moved = weights * bits / 8 + batch * cache
    flops = weights * (2 * batch + unpack)
    seconds = max(moved / machine["bytes_per_s"], flops / machine["flop_per_s"])
    joules = moved * machine["joules_per_byte"] + flops * machine["joules_per_flop"]
    return batch / seconds, joules / batch
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex07_speed_shown", "grade": true, "points": 1}
made_up = {"bytes_per_s": 50e9, "flop_per_s": 1e12, "joules_per_byte": 100e-12, "joules_per_flop": 20e-12}
cases = {"float16": (3e9, 16, 0, 0.05e9, 1, made_up), "int8": (3e9, 8.5, 1, 0.05e9, 1, made_up),
         "int4": (3e9, 4.5, 8, 0.05e9, 1, made_up), "float16_16_texts": (3e9, 16, 0, 0.05e9, 16, made_up),
         "int4_16_texts": (3e9, 4.5, 8, 0.05e9, 16, made_up)}
rounded(**{name: [float(x) for x in decode(*case)] for name, case in cases.items()})

# %% [markdown] tags=["hints"]
# - Which of these grow with the batch: the bytes of the weights, those of the caches, the FLOPs that multiply, those
#   that unpack?
# - Two sums first: all bytes of one step, and all FLOPs of one step. In each, one part is there once, and one part once
#   for each text.
# - Bytes of a step: `weights * bits / 8 + batch * cache`. FLOPs of a step: `weights * (2 * batch + unpack)`. Its seconds
#   are the larger one (`max`) of bytes over `bytes_per_s` and FLOPs over `flop_per_s`.
# - A step gives `batch` tokens: divide `batch` by the seconds. For the joules, add both costs, and divide by `batch`.

# %%
check("ex07_speed_shown")

# %% nbgrader={"grade_id": "ex07_speed_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(706))
answers = []
for batch, unpack, speed in ((1, 0, 40.0), (3, 6, 60.0), (7, 2, 0.3), (24, 5, 0.8), (5, 9, 30.0)):
    works, bits, kept = rng.randint(10**8, 9 * 10**9), rng.uniform(3, 9), rng.randint(10**7, 10**8)
    machine = {"bytes_per_s": rng.uniform(3e10, 9e10), "joules_per_byte": rng.uniform(5e-11, 2e-10),
               "joules_per_flop": rng.uniform(5e-12, 4e-11)}
    machine["flop_per_s"] = speed * machine["bytes_per_s"] * (1 + batch / 10)
    answers.append([float(x) for x in decode(works, bits, unpack, kept, batch, machine)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a machine that computes slowly and one that moves slowly, each with several texts. Do twice the texts give twice
#   the tokens per second?

# %% [markdown]
# ## A phone, or a shared server?
#
# Before joules are compared, they must be taken at the same place. We take the wall socket.
#
# - `phone` is measured at the battery, in joules per token. The charger passes on the share `charger` of what it takes
#   from the socket.
# - The server's GPU takes `fixed / batch + marginal` joules per token (exercise 03). The GPU gets the share `gpu_share`
#   of all that the server takes; the rest goes to its processor, its memory, and to machines that wait. The building
#   takes `pue` times what its servers take.
#
# Give three things: the phone's joules per token at the socket; the server's at this `batch`; and the smallest batch, a
# whole number from 1, at which the server takes **less** than the phone (equal is not less). `None` if no batch,
# however large, is enough.
#
# The check has published figures of different models: read the comment in it. How many people must share the server
# before it takes less than a phone for each of them? (The lesson draws the same curve and adds the network. So it
# comes to a larger batch for one phone.)
#
# *If you see* `ZeroDivisionError`, *or your batch is negative, or your cell runs for ever:* in a very large batch a
# token still costs its marginal part.

# %% nbgrader={"grade_id": "ex07_server", "solution": true}
def at_the_socket(phone, charger, fixed, marginal, gpu_share, pue, batch):
    """(joules per token of the phone, of the server at this batch, smallest batch that takes less or None)."""
    ### BEGIN SOLUTION
    local, around = phone / charger, pue / gpu_share
    spare = local - marginal * around
    smallest = math.floor(fixed * around / spare) + 1 if spare > 0 else None
    return local, (fixed / batch + marginal) * around, smallest
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex07_server_shown", "grade": true, "points": 1}
# Published: two phones, each with its own small model, and the parts of one prompt on another company's servers. They
# say how much stands around an accelerator: 1.71 times in all. (Over that company's narrower count it would be 2.4 times,
# the lesson's other factor. Put it in afterwards: the batches grow.) The parts of the GPU are those of exercise 03, an 8B
# model on an H100. The charger and the last phones are made up.
gpu, host, idle, building = (fact(f"q_gemini_{part}").value for part in ("accelerator", "host", "idle", "overhead"))
servers = gpu + host + idle
around = 3.127, 0.06408, gpu / servers, (servers + building) / servers
phones = {"iphone_14_pro": (fact("ph_melt").value, 8), "galaxy_s24_ultra": (fact("ph_s24").value, 511),
          "made_up": (0.08, 2043)}
answers = {name: at_the_socket(joules, 0.8, *around, batch) for name, (joules, batch) in phones.items()}
answers["equal_at_8_texts"] = at_the_socket(2 / 8 + 1 / 64, 0.5, 2.0, 1 / 64, 0.5, 1.0, 4)
rounded(**{name: [float(local), float(server), None if smallest is None else operator.index(smallest)]
           for name, (local, server, smallest) in answers.items()})

# %% [markdown] tags=["hints"]
# - A charger passes on 0.8 of what it takes. To put 1 joule into the battery, does it take more than 1 joule, or less?
# - At the socket the phone takes `phone / charger`. The GPU's joules, divided by `gpu_share`, are the server's; those,
#   times `pue`, are the building's. So each part *multiplies* what came before.
# - With `around = pue / gpu_share`, the server costs `(fixed / b + marginal) * around` at batch b. At which b is it
#   equal to the phone? And where is the first whole number above?
# - They are equal at b = `fixed * around / (local - marginal * around)`. Take `math.floor` of it, plus 1. If the
#   divisor is not positive, there is no such batch.

# %%
check("ex07_server_shown")

# %% nbgrader={"grade_id": "ex07_server_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(707))
answers = []
for kind in ("less", "less", "at_once", "equal", "equal", "never", "never_quite"):
    charger, gpu_share, pue = rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.8), rng.uniform(1.05, 1.6)
    fixed, marginal, batch = rng.uniform(1, 6), rng.uniform(0.03, 0.09), rng.randint(2, 60)
    if kind in ("equal", "never_quite"):  # in parts of a power of 2, so that nothing is rounded
        charger, gpu_share, pue, batch = 0.5, 0.5, 1.0, rng.choice((4, 8, 16))
        fixed, marginal = rng.randint(1, 7) * 0.5, rng.randint(1, 7) / 64
    parts = {"less": 1 / rng.uniform(5, 200), "at_once": 1.5, "equal": 1 / batch, "never": -0.004, "never_quite": 0.0}
    phone = (fixed * parts[kind] + marginal) * pue / gpu_share * charger
    local, server, smallest = at_the_socket(phone, charger, fixed, marginal, gpu_share, pue, batch)
    answers.append([float(local), float(server), None if smallest is None else operator.index(smallest)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put your batch, and one less, into the server's formula. On which side of the phone does each lie? Try also a phone
#   that is cheaper than the marginal part alone.

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/07_local_deployment.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
