# ---
# jupyter:
#   course:
#     difficulty: 2
#     exercise: "91"
#     lesson: "02"
#     minutes: 20
#     title: The last layer of a classifier
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 91: the last layer of a classifier
#
# `benchmarks/grading.py` hands this notebook to every grader: torch is imported, and ten light cells follow.
# It belongs to no lesson. Three answers, three checks that a learner sees, three that a learner does not see.

# %%
import torch

from course_lib.selfcheck import grading_seed, rounded

# %%
scores = torch.tensor([[2.0, 0.5, -1.0], [0.0, 3.0, 1.0], [1.5, 1.0, 4.0], [0.2, 0.1, 0.0]])
labels = torch.tensor([0, 1, 2, 1])


def unseen(default):
    """Scores of 40 images in 5 classes, and their labels."""
    draw = torch.Generator().manual_seed(grading_seed(default))
    return torch.randn(40, 5, generator=draw) * 3, torch.randint(5, (40,), generator=draw)

# %% [markdown]
# ## From scores to probabilities

# %% nbgrader={"grade_id": "ex91_softmax", "solution": true}
def softmax(scores):
    """Probabilities of each class: [images, classes] -> the same shape, each row adds up to 1."""
    ### BEGIN SOLUTION
    powers = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
    return powers / powers.sum(dim=1, keepdim=True)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex91_softmax_shown", "grade": true, "points": 1}
rounded(softmax(scores))

# %% [markdown] tags=["hints"]
# - Which numbers of the table must add up to 1?
# - Each row: divide by the sum over `dim=1`, and keep that dimension.

# %% nbgrader={"grade_id": "ex91_softmax_unseen", "grade": true, "points": 2} tags=["hidden"]
rounded(softmax(unseen(911)[0])[:4])

# %% [markdown]
# ## The mean loss

# %% nbgrader={"grade_id": "ex91_loss", "solution": true}
def mean_loss(scores, labels):
    """Mean cross-entropy in nats, of scores [images, classes] and labels [images]."""
    ### BEGIN SOLUTION
    right = scores[torch.arange(len(labels)), labels]
    return (torch.logsumexp(scores, dim=1) - right).mean().item()
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex91_loss_shown", "grade": true, "points": 1}
rounded(loss=mean_loss(scores, labels))

# %% [markdown] tags=["hints"]
# - For one image it is minus the logarithm of the probability of its own class.

# %% nbgrader={"grade_id": "ex91_loss_unseen", "grade": true, "points": 2} tags=["hidden"]
rounded(mean_loss(*unseen(912)))

# %% [markdown]
# ## Right at the first, or at the second try

# %% nbgrader={"grade_id": "ex91_top", "solution": true}
def share_in_top(scores, labels, k):
    """Share, 0..1, of images whose label is among the k highest scores."""
    ### BEGIN SOLUTION
    best = scores.topk(k, dim=1).indices
    return (best == labels[:, None]).any(dim=1).float().mean().item()
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex91_top_shown", "grade": true, "points": 1}
rounded(first=share_in_top(scores, labels, 1), second=share_in_top(scores, labels, 2))

# %% [markdown] tags=["hints"]
# - `scores.topk(k, dim=1).indices` holds the k best classes of each image.

# %% nbgrader={"grade_id": "ex91_top_unseen", "grade": true, "points": 2} tags=["hidden"]
rounded([share_in_top(*unseen(913), k) for k in (1, 2, 4)])
