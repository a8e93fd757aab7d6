# ---
# jupyter:
#   course: {exercise: "90", title: Shares, lesson: "00", minutes: 5, difficulty: 1}
# ---

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %% [markdown]
# # Exercise 90: shares
#
# Write the share of the energy that goes into queries.

# %%
from random import Random

from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% nbgrader={"grade_id": "ex90_share", "solution": true}
def inference_share(training, per_query, queries):
    """Share of all energy, 0..1, that goes into `queries` queries (joules in, no unit out)."""
    ### BEGIN SOLUTION
    used_by_queries = per_query * queries
    return used_by_queries / (training + used_by_queries)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex90_share_value", "grade": true, "points": 1}
rounded(inference_share(100.0, 0.5, 300))

# %% [markdown] tags=["hints"]
# - What is the whole, of which the queries are a part?
# - The whole is the training plus all queries: `a / (b + a)`.

# %%
check("ex90_share_value")

# %% nbgrader={"grade_id": "ex90_even", "solution": true}
def break_even(training, per_query):
    """Queries after which all of them together have cost as much as the training did (a whole number)."""
    ### BEGIN SOLUTION
    whole, rest = divmod(training, per_query)
    return int(whole) + (rest > 0)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex90_even_value", "grade": true, "points": 2}
rounded(exact=break_even(100.0, 0.5), between=break_even(10.0, 4.0))

# %% nbgrader={"grade_id": "ex90_unseen", "grade": true, "points": 3} tags=["hidden"]
draw = Random(grading_seed(90))
numbers = [draw.uniform(1.0, 2.0) for _ in range(3)]
rounded(inference_share(*numbers), break_even(100 * numbers[0], numbers[1]))
