# ---
# jupyter:
#   course: {exercise: "90", title: Attacked, lesson: "00", minutes: 5, difficulty: 1}
# ---

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %% [markdown]
# # Exercise 90: attacked
#
# Write two small functions. The tests of grading hand in wrong answers that try to be paid all the same.

# %%
import torch

from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% nbgrader={"grade_id": "ex90_softmax", "solution": true}
def softmax(x):
    """The softmax of each row of a float tensor [n, k]."""
    ### BEGIN SOLUTION
    kept_from_learners = (x - x.max(dim=-1, keepdim=True).values).exp()
    return kept_from_learners / kept_from_learners.sum(dim=-1, keepdim=True)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex90_softmax_shown", "grade": true, "points": 1}
rounded(softmax(torch.tensor([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])))

# %% [markdown] tags=["hints"]
# - What must each row sum to?
# - Take `exp` of each entry, then divide by the sum of its row.

# %%
check("ex90_softmax_shown")

# %% nbgrader={"grade_id": "ex90_softmax_unseen", "grade": true, "points": 5} tags=["hidden"]
unseen_logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(grading_seed(901)))
rounded(softmax(unseen_logits))

# %% [markdown]
# ## How much is undecided
#
# The entropy of probabilities, in bits: minus the sum of each one times its logarithm to the base 2.

# %% nbgrader={"grade_id": "ex90_entropy", "solution": true}
def entropy(p):
    """The entropy in bits of each row of a tensor of probabilities [n, k], all above 0."""
    ### BEGIN SOLUTION
    withheld_terms = p * p.log2()
    return -withheld_terms.sum(dim=-1)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex90_entropy_shown", "grade": true, "points": 1}
rounded(entropy(torch.tensor([[0.5, 0.5], [0.25, 0.75]])))

# %% [markdown] tags=["hints"]
# - Which row of the two is less decided?

# %%
check("ex90_entropy_shown")

# %% nbgrader={"grade_id": "ex90_entropy_unseen", "grade": true, "points": 3} tags=["hidden"]
unseen_rows = torch.rand(4, 3, generator=torch.Generator().manual_seed(grading_seed(902))) + 0.1
rounded(entropy(unseen_rows / unseen_rows.sum(dim=-1, keepdim=True)))
