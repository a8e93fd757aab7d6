# ---
# jupyter:
#   course: {lesson: "00", title: A sample, minutes: 5, cpu_seconds: 20, memory_mb: 400}
# ---

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %% [markdown]
# # A sample lesson
#
# The sum below is 42. The lesson takes 5 minutes.

# %% tags=["nbval-check-output"]
total = 40 + 2
print("the sum is", total)

# %% [markdown]
# A cell may show an object, a figure, or a widget.

# %%
import os
print(os.getcwd(), os.environ["COURSE_LEDGER"], object(), sep="\n")
print("one\rtwo")

# %%
total + 1
