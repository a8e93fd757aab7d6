# ---
# jupyter:
#   course:
#     difficulty: 2
#     exercise: "02"
#     lesson: "02"
#     minutes: 40
#     title: Training and inference
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 02: training and inference
#
# **Difficulty** 2 of 5. **About** 40 minutes. **Points** 15. **After** lesson 02.
#
# You rebuild the arithmetic behind the headlines: the operations of a training, its energy, the break-even count, and
# the share of inference in a fleet. Your answer goes where `YOUR CODE HERE` stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import math
import random

from course_lib.facts import fact
from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% [markdown]
# ## Operations of a training
#
# A rule of thumb for large networks: forward, each parameter takes one multiplication and one addition for each token.
# Backward takes twice as much as forward. How many FLOPs does a training take?

# %% nbgrader={"grade_id": "ex02_training", "solution": true}
def training_flops(parameters, tokens):
    """FLOPs of training a dense network with this many parameters once over this many tokens."""
    ### BEGIN SOLUTION
    return 6 * parameters * tokens
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex02_training_shown", "grade": true, "points": 1}
rounded(small=int(training_flops(1_000_000, 20_000_000)), large=float(training_flops(7e9, 2e12)))

# %% [markdown] tags=["hints"]
# - How many FLOPs does the forward pass take for each parameter and each token?
# - Forward: 2. Backward: twice as much. Together?
# - 2 forward and 4 backward make 6, for each parameter and each token.

# %%
check("ex02_training_shown")

# %% nbgrader={"grade_id": "ex02_training_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(201))
rounded([float(training_flops(rng.randint(10**6, 10**9), rng.randint(10**8, 10**9))) for _ in range(4)])

# %% [markdown] tags=["hints"]
# - Forward and backward both count, for every token.

# %% [markdown]
# ## Energy of a training
#
# The chips work through `flops` operations at `rate` operations a second each. One chip draws `watts`. The building
# needs `pue` times what the chips draw. Give the energy in **megawatt-hours**, for `chips` chips.
#
# *If your result is a million times too large:* a watt-second is a joule, and a megawatt-hour is 3.6e9 of them.

# %% nbgrader={"grade_id": "ex02_energy", "solution": true}
def training_mwh(flops, rate, watts, pue, chips):
    """Energy in MWh of a training of `flops` FLOPs on `chips` chips of `rate` FLOP/s and `watts` W each."""
    ### BEGIN SOLUTION
    seconds = flops / (rate * chips)
    return seconds * chips * watts * pue / 3.6e9
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex02_energy_shown", "grade": true, "points": 1}
gpt3 = [fact("tr_gpt3_flops").value, fact("tr_gpt3_rate").to("FLOP/s"), fact("tr_gpt3_power").value,
        fact("tr_gpt3_pue").value]
rounded(ten_thousand=float(training_mwh(*gpt3, chips=10_000)), one=float(training_mwh(*gpt3, chips=1)))

# %% [markdown] tags=["hints"]
# - How long does the training take? How much power is drawn all that time?
# - Time is `flops / (rate * chips)` seconds. Power is `chips * watts * pue`.
# - Multiply time by power: joules. Divide by 3.6e9: megawatt-hours. The number of chips cancels.

# %%
check("ex02_energy_shown")

# %% nbgrader={"grade_id": "ex02_energy_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(202))
rounded([float(training_mwh(rng.uniform(1e20, 1e25), rng.uniform(1e13, 1e15), rng.uniform(100, 900),
                            rng.uniform(1.05, 1.9), rng.randint(8, 20_000))) for _ in range(5)])

# %% [markdown] tags=["hints"]
# - Change one factor at a time. Which of them change the energy, and which one does not?

# %% [markdown]
# ## The break-even count
#
# One training costs `training` joules. One *batch* of queries costs `batch` joules and answers `batch_size` queries.
# After how many whole queries has answering cost at least as much as training?

# %% nbgrader={"grade_id": "ex02_break_even", "solution": true}
def break_even(training, batch, batch_size=1):
    """The smallest whole number of queries whose cost is at least that of one training."""
    ### BEGIN SOLUTION
    return math.ceil(training / (batch / batch_size))
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex02_break_even_shown", "grade": true, "points": 1}
rounded(alone=break_even(100.0, 0.9), in_batches=break_even(100.0, 3.0, 64))

# %% [markdown] tags=["hints"]
# - What does *one* query of a batch cost?
# - One query costs `batch / batch_size`. How many of them make up the training?
# - Round up, with `math.ceil`: a part of a query does not exist.

# %%
check("ex02_break_even_shown")

# %% nbgrader={"grade_id": "ex02_break_even_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(203))
rounded([break_even(rng.uniform(1e3, 1e6), rng.uniform(0.3, 9), size) for size in (1, 2, 16, 256)])

# %% [markdown] tags=["hints"]
# - Try a batch of more than one query, and a count that is not a whole number.

# %% [markdown]
# ## The share of inference
#
# A fleet answers `queries` a day, at `wh` watt-hours each. The model was trained for `training_mwh` megawatt-hours, and
# has been trained `trainings` times so far. After `days` days, which share of *all* the energy went into inference?
#
# *If your share is nearly 1 at once:* look at the units. Watt-hours and megawatt-hours do not add up.

# %% nbgrader={"grade_id": "ex02_share", "solution": true}
def inference_share(days, queries, wh, training_mwh, trainings=1):
    """Share (0 to 1) of inference in all energy after `days` days."""
    ### BEGIN SOLUTION
    inference = days * queries * wh / 1e6
    return inference / (inference + trainings * training_mwh)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex02_share_shown", "grade": true, "points": 1}
rounded(a_month=float(inference_share(30, 1e6, 0.3, 1287)),
        a_year=float(inference_share(365, 1e7, 0.3, 1287, trainings=4)))

# %% [markdown] tags=["hints"]
# - How many megawatt-hours does inference take on one day?
# - `queries * wh` is in watt-hours. Divide by a million.
# - The share is `inference / (inference + trainings * training_mwh)`.

# %%
check("ex02_share_shown")

# %% nbgrader={"grade_id": "ex02_share_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(204))
rounded([float(inference_share(rng.randint(5, 900), rng.uniform(1e6, 1e8), rng.uniform(0.1, 3),
                               rng.uniform(1e3, 5e4), n)) for n in (1, 2, 12)])

# %% [markdown] tags=["hints"]
# - The whole holds inference *and* every training.

# %% [markdown]
# ## Days until a share is reached
#
# Turn it round. The model is trained once. After how many days (a float) does inference reach the given `share`?

# %% nbgrader={"grade_id": "ex02_days", "solution": true}
def days_until(share, queries, wh, training_mwh):
    """Days after which inference makes up `share` (0 to 1) of all energy, for one training."""
    ### BEGIN SOLUTION
    return share / (1 - share) * training_mwh * 1e6 / (queries * wh)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex02_days_shown", "grade": true, "points": 1}
rounded(four_fifths=float(days_until(0.80, 1e7, 0.3, 1287)), nearly_all=float(days_until(0.99, 1e7, 0.3, 1287)))

# %% [markdown] tags=["hints"]
# - At a share of one half, inference and training are equal. How much inference is there at four fifths?
# - At a share `s`, inference is `s / (1 - s)` times the training.
# - Divide that by the inference of one day, `queries * wh / 1e6` megawatt-hours.

# %%
check("ex02_days_shown")

# %% nbgrader={"grade_id": "ex02_days_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(205))
rounded([float(days_until(s, rng.uniform(1e5, 1e9), rng.uniform(0.05, 3), rng.uniform(10, 5e4)))
         for s in (0.5, 0.9, 0.97)])

# %% [markdown] tags=["hints"]
# - Put your result into `inference_share`: does the share come back?

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/02_training_and_inference.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
