# ---
# jupyter:
#   course:
#     difficulty: 4
#     exercise: "08"
#     lesson: "08"
#     minutes: 70
#     title: Local first
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 08: local first
#
# **Difficulty** 4 of 5. **About** 70 minutes. **Points** 22. **After** lesson 08.
#
# A small local model answers when it is sure. Otherwise it asks a larger model on a server. You build this cascade, and
# choose its threshold without cheating. Then you count what goes over the network, turn bytes into joules in two ways,
# and find out when the local model pays. Your answer goes where `YOUR CODE HERE` stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.
#
# Nothing is sent anywhere here: what went over a network is given as data. Accuracies and other shares are numbers
# from 0 to 1, not percent. Tensors of floats are float64.
#
# We use the field's words. A *query* is a question of the lesson, *confidence* is its sureness, and a query that is
# passed on is *deferred*; their share is the *deferral*.

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
# The checks use two helpers: one writes marks as a text, one looks up a published value.

# %%
def marks(text):
    """True for each x, as a tensor: marks("x.x") is True, False, True."""
    return torch.tensor([letter == "x" for letter in text])

def value(name):
    return fact(name).value

# %% [markdown]
# ## How sure is it?
#
# The local model gives logits: a row for each query, a column for each class. The softmax over the classes turns a row
# into probabilities. Two numbers say how sure the model is of its answer:
#
# - the **largest** probability, which is the lesson's,
# - the **margin**: the largest probability minus the second largest. Where two classes tie for the first place, it is
#   0.
#
# Give both, for every query.
#
# *If you see* `nan`: the exponential of a large logit is too large for a float. `torch.softmax` takes care of that.
#
# *If you see* `only one element tensors can be converted to Python scalars`, or `torch.return_types`: `max(dim=1)` gives
# two things, the values and their places. Take `.values`.

# %% nbgrader={"grade_id": "ex08_sure", "solution": true}
def how_sure(logits):
    """(largest, margin), two tensors [n], from the logits [n, n_classes] of n queries."""
    ### BEGIN SOLUTION
    first, second = logits.softmax(dim=1).topk(2, dim=1).values.T
    return first, first - second
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_sure_shown", "grade": true, "points": 1}
logits = torch.tensor([[2, 1, 0], [0, 0, 0], [1, 5, 5], [1000, 0, 999], [-3, -1, -2]], dtype=torch.float64)
largest, margin = how_sure(logits)
rounded(largest=torch.as_tensor(largest), margin=torch.as_tensor(margin))

# %% [markdown] tags=["hints"]
# - Three classes with equal logits: which probabilities do they get, and how large is the margin?
# - `torch.softmax(logits, dim=1)` gives the probabilities `[n, n_classes]`. Each row adds up to 1.
# - The margin is a difference of *probabilities*. A difference of logits can be larger than 1.
# - `topk(2, dim=1).values` gives the two largest of each row, the largest first. Column 0 is the first answer; column 0
#   minus column 1 is the second.

# %%
check("ex08_sure_shown")

# %% nbgrader={"grade_id": "ex08_sure_unseen", "grade": true, "points": 1} tags=["hidden"]
generator, answers = torch.Generator().manual_seed(grading_seed(801)), []
for n, classes, scale in ((5, 5, 2), (4, 2, 1), (6, 10, 3), (3, 4, 300)):
    unseen = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    if classes == 5:  # two classes that tie for the first place
        unseen[1, 0] = unseen[1, 3] = unseen[1].amax() + 0.3
    if classes == 4:  # large logits, of which the two first lie near each other
        unseen[:, 2] = unseen.amax(dim=1) + 0.7
        unseen += 800 - unseen.amax(dim=1, keepdim=True)
    answers += [torch.as_tensor(x) for x in how_sure(unseen)]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try as many queries as classes, two classes only, and logits above 700.

# %% [markdown]
# ## Run the cascade
#
# The local model reads **every** query. If its confidence is **at least** `threshold`, its answer counts. Otherwise the
# query is deferred: the server reads it too, and the server's answer counts, even where the local one was right.
#
# `local_right` and `server_right` say, for each query, whether that model's answer is right. `flops` holds what one
# query costs at the local model and at the server. Give the accuracy of the cascade, the deferral (the share of queries
# that are deferred), and the mean FLOPs of a query, on both sides together.
#
# *If you see* `mean(): could not infer output dtype`: the mean of True and False is not defined in torch. Convert
# first, with `.double()`.

# %% nbgrader={"grade_id": "ex08_cascade", "solution": true}
def cascade(confidence, local_right, server_right, threshold, flops):
    """(accuracy, deferral, mean FLOPs): confidence float [n], *_right bool [n], flops (local, server)."""
    ### BEGIN SOLUTION
    deferred = confidence < threshold
    right = torch.where(deferred, server_right, local_right)
    deferral = deferred.double().mean()
    return right.double().mean(), deferral, flops[0] + deferral * flops[1]
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_cascade_shown", "grade": true, "points": 1}
sure = torch.tensor([0.9, 0.5, 0.7, 1.0, 0.2, 0.8, 0.4, 0.6], dtype=torch.float64)
local, server = marks("xx.x.xx."), marks("xxxxx..x")
cases = {"none_deferred": 0.0, "some": 0.7, "more": 0.85, "all_deferred": 1.5}
rounded(**{name: [float(x) for x in cascade(sure, local, server, t, (100, 8_000))] for name, t in cases.items()})

# %% [markdown] tags=["hints"]
# - A query with a confidence of exactly 0.7 meets a threshold of 0.7. Who answers it?
# - `confidence < threshold` says which queries are deferred. Their share is the deferral.
# - `torch.where(deferred, server_right, local_right)` takes the server's mark where a query is deferred.
# - To find out whether it is sure, the local model must read the query. So the mean is `flops[0]` for all of them, plus
#   the deferral times `flops[1]`.

# %%
check("ex08_cascade_shown")

# %% nbgrader={"grade_id": "ex08_cascade_unseen", "grade": true, "points": 1} tags=["hidden"]
rng, answers = random.Random(grading_seed(802)), []
for local_share, server_share, height in ((0.8, 0.95, 20), (0.6, 0.7, 40), (0.7, 0.9, 52), (0.5, 0.4, 30)):
    n = 64  # shares of 64 are exact in floats
    grades = [rng.randint(1, 100) / 100 for _ in range(n)]
    seen = sorted(set(grades))
    local, server = (torch.tensor([rng.random() < share for _ in range(n)]) for share in (local_share, server_share))
    given = torch.tensor(grades, dtype=torch.float64), local, server, seen[len(seen) * height // 60]
    answers.append([float(x) for x in cascade(*given, (rng.randint(500, 900), rng.randint(1_000, 90_000)))])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a threshold that is the confidence of several queries, and a server that costs hardly more than the local model.

# %% [markdown]
# ## The coin and the oracle
#
# Is confidence a good reason to defer? Compare three ways to choose which of n queries are deferred:
#
# 1. **at random**: `k` of them, drawn by lot. Give the *expected* accuracy: the mean over very many draws, without
#    drawing;
# 2. **the least sure**: the `k` with the lowest confidence (no two are equal here);
# 3. **the oracle**: it knows beforehand who will be right. It defers **at most** `k`, and only where that turns a wrong
#    answer into a right one.
#
# Give the three accuracies of the cascade. And give how many queries the oracle would defer if it were free to defer as
# many as it likes (a whole number). The oracle can't be built, but no rule can do better.
#
# *If you see* `Boolean value of Tensor with more than one value is ambiguous`: `not` and `and` want a single value. `~`
# and `&` work on every value of a tensor.

# %% nbgrader={"grade_id": "ex08_oracle", "solution": true}
def three_ways(confidence, local_right, server_right, k):
    """(expected accuracy at random, accuracy of the least sure, of the oracle, queries that the oracle would defer)."""
    ### BEGIN SOLUTION
    n, local, server = len(confidence), int(local_right.sum()), int(server_right.sum())
    deferred = torch.zeros(n, dtype=torch.bool)
    deferred[confidence.argsort()[:k]] = True
    least_sure = int(torch.where(deferred, server_right, local_right).sum())
    helped = int((server_right & ~local_right).sum())
    at_random = (n - k) / n * local / n + k / n * server / n
    return at_random, least_sure / n, (local + min(k, helped)) / n, helped
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_oracle_shown", "grade": true, "points": 1}
def as_numbers(coin, least, best, needed):
    return [float(coin), float(least), float(best), operator.index(needed)]

sure = torch.tensor([0.9, 0.5, 0.7, 1.0, 0.2, 0.8, 0.4, 0.6], dtype=torch.float64)
local, server = marks("x..x.x.x"), marks("xxxxx...")
rounded(**{f"k_{k}": as_numbers(*three_ways(sure, local, server, k)) for k in (0, 2, 4, 8)})

# %% [markdown] tags=["hints"]
# - At random, the queries that are deferred are like all the others. So how often is the server right on those that it
#   gets, and the local model on those that it keeps? Take the second call of the check, where 2 of 8 are deferred.
# - At random, a share k/n has the server's accuracy, and the rest has that of the local model. For the least sure,
#   `confidence.argsort()[:k]` gives their places.
# - Where both models are wrong, deferring helps nobody. Where the local one is right, it can only do harm. What is left
#   for the oracle?
# - `helped = (server_right & ~local_right).sum()`. The oracle has all that the local model has right, and
#   `min(k, helped)` more.

# %%
check("ex08_oracle_shown")

# %% nbgrader={"grade_id": "ex08_oracle_unseen", "grade": true, "points": 2} tags=["hidden"]
rng, answers = random.Random(grading_seed(803)), []
for local_share, server_share, k in ((0.7, 0.9, 8), (0.5, 0.8, 10), (0.8, 0.85, 45), (0.6, 0.5, 32), (0.75, 0.85, 64)):
    n = 64
    confidence = torch.tensor(rng.sample(range(1, 1000), n), dtype=torch.float64) / 1000
    local = torch.tensor([rng.random() < local_share + (c - 0.5) / 3 for c in confidence.tolist()])
    server = torch.tensor([rng.random() < server_share for _ in range(n)])
    answers.append(as_numbers(*three_ways(confidence, local, server, k)))
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a `k` above what the oracle needs, a `k` of all queries, and a server that is worse than the local model.

# %% [markdown]
# ## Choose the threshold on validation data
#
# `validation` and `test` are two sets of queries. Each is a tuple `(confidence, local, server, labels)`: how sure the
# local model is, its answer, the server's answer, and the right one, for each query. At some threshold you count, as in
# the lesson,
#
# - `by="accuracy"`: how many right answers are **lost**: those of the server alone, minus those of the cascade. (This
#   is negative where the cascade has more.)
# - `by="agreement"`: how many answers are kept though the server's answer is another one. This needs no labels: where
#   the check asks for it, the labels of `validation` are `None`.
#
# Then
#
# 1. choose the threshold on the **validation** set. Candidates are the confidences that occur there, and `math.inf`,
#    which defers everything. Of those whose count is at most `allowed`, take the one with the **fewest** deferred
#    queries.
# 2. Leave the threshold as it is, and report on the **test** set, with either rule: the right answers lost (a whole
#    number), and the deferral.
#
# A query is answered locally when its confidence is at least the threshold. Several may have the same confidence: they
# are deferred together. By accuracy, a higher threshold does not always lose less: the server, too, is wrong at times.
#
# Look at the check: which rule keeps on the test set what was allowed on validation? (The queries are made up, to show
# it.) In the last case the digits are rotated. Unlike in the lesson, this server has learned rotated digits. The local
# model has not, and it does not notice.
#
# *If you see* `only integer tensors of a single element can be converted to an index`, or `'float' object cannot be
# interpreted as an integer`: the sum of marks is a whole number, their mean is not. Count right answers.
#
# *If you see* `'bool' object has no attribute 'sum'`: you have compared answers with labels that are `None`.

# %% nbgrader={"grade_id": "ex08_calibrate", "solution": true}
def calibrated(validation, test, allowed, by):
    """(threshold chosen on validation, right answers lost on test, deferral on test); by: "accuracy" or "agreement"."""
    ### BEGIN SOLUTION
    def lost(queries, threshold):
        confidence, local, server, labels = queries
        answers = torch.where(confidence < threshold, server, local)
        return int((server == labels).sum()) - int((answers == labels).sum())

    def kept_with_another(queries, threshold):
        confidence, local, server, _ = queries
        return int(((local != server) & (confidence >= threshold)).sum())

    count = lost if by == "accuracy" else kept_with_another
    candidates = sorted(validation[0].tolist()) + [math.inf]
    threshold = next(t for t in candidates if count(validation, t) <= allowed)
    return threshold, lost(test, threshold), (test[0] < threshold).double().mean()
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_calibrate_shown", "grade": true, "points": 1}
def reported(threshold, lost, deferral):
    return [float(threshold), operator.index(lost), float(deferral)]

def queries(tenths, *answers):  # tenths of confidence; local answers, the server's, labels: a digit for each query
    confidence = torch.tensor([int(n) for n in tenths], dtype=torch.float64) / 10
    return confidence, *(torch.tensor([int(n) for n in row]) for row in answers)

seen = queries("9685728646677596", "9580318303398438", "9482202333328438", "9550202333378438")
test = queries("8968942728678542", "9825306391214812", "7895363371124614", "9899363371124612")
rotated = queries("8759399888978333", "5415389963183309", "7619131970048737", "7619731970048737")
no_labels = *seen[:3], None
cases = {"accuracy_0": (seen, test, 0, "accuracy"), "accuracy_2": (seen, test, 2, "accuracy"),
         "agreement_0": (no_labels, test, 0, "agreement"), "agreement_2": (no_labels, test, 2, "agreement"),
         "rotated": (no_labels, rotated, 2, "agreement")}
rounded(**{name: reported(*calibrated(*case)) for name, case in cases.items()})

# %% [markdown] tags=["hints"]
# - "Lost" compares the server alone with the cascade, on the same queries: for each query that the server has right, and
#   the cascade has not, one is lost; for each the other way round, one is won back. Which set may your choice look at?
# - Write two helpers, each with a set of queries and a threshold. What is lost: `(server == labels).sum()` minus the
#   same sum for `torch.where(confidence < threshold, server, local)`. And what is kept with another answer:
#   `((local != server) & (confidence >= threshold)).sum()`.
# - Fewest deferred is the *lowest* threshold whose count is at most `allowed`. Sort the confidences, put `math.inf` at
#   the end, go upwards, and stop at the first candidate that will do.
# - With this threshold call the helper for what is lost, with `test`, also where you chose by agreement. The deferral
#   is the share of test confidences below the threshold.

# %%
check("ex08_calibrate_shown")

# %% nbgrader={"grade_id": "ex08_calibrate_unseen", "grade": true, "points": 2} tags=["hidden"]
rng, answers = random.Random(grading_seed(804)), []

def some(n, plus, minus=0.0):
    return rng.choices((1, 0, -1), (plus, 1 - plus - minus, minus), k=n)

def made(gains, tied=0):  # by rising confidence: what the server's answer adds to the local one, 1, 0 or -1
    grades = sorted(rng.sample(range(100, 900), len(gains)))
    grades[20:20 + tied] = [grades[20]] * tied
    rows = []
    for grade, gain in zip(grades, gains):
        label, wrong, other = rng.sample(range(10), 3)
        both = rng.choice([(label, label)] * 4 + [(wrong, wrong), (wrong, other)])
        rows.append((grade, *{1: (wrong, label), 0: both, -1: (label, wrong)}[gain], label, gain))
    rng.shuffle(rows)
    rows.sort(key=lambda row: row[0] == grades[20] and not row[4])
    confidence, *classes = zip(*rows)
    return torch.tensor(confidence, dtype=torch.float64) / 1000, *(torch.tensor(c) for c in classes[:3])

def usual():
    return some(20, 0.55, 0.05) + some(20, 0.3, 0.05) + some(24, 0.08, 0.02)

dip = some(15, 0.7) + [0] * 7 + rng.sample([-1] * 4 + [0, 0], 6) + [1] * 5 + some(27, 0.0, 0.0)
tie = some(20, 0.8) + [1, 1, 0, 0] + rng.sample([1, 1] + [0] * 18, 20) + some(20, 0.0)
for allowed, known, unseen, tied in ((0, usual(), usual(), 0), (3, usual(), some(64, 0.45), 0), (2, dip, usual(), 0),
                                     (2, tie, usual(), 4), (0, some(40, 0.4) + [0] * 23 + [1], usual(), 0),
                                     (3, some(64, 0.05, 0.3), some(64, 0.05, 0.3), 0)):
    known, unseen = made(known, tied), made(unseen)
    answers.append(reported(*calibrated(known, unseen, allowed, "accuracy")))
    answers.append(reported(*calibrated((*known[:3], None), unseen, allowed + 2, "agreement")))
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a validation set in which the surest answer of all is wrong, and `allowed` is 0. And one in which several
#   queries have the same confidence.
# - Print the count for *every* candidate. By accuracy, does it fall all the way? Which candidate do you take?

# %% [markdown]
# ## Count the bytes
#
# A connection was open for several queries, one after another (*keep-alive*). `up` holds every byte that went to the
# server, `down` every byte that came back. A query is a message up, and its answer a message down. Each message is
#
# - a head: the first line, then header lines such as `Content-Length: 12`. Each line ends with `\r\n`, and an empty
#   line (again `\r\n`) ends the head. All of this is **HTTP**;
# - then the body, the **payload**: as many *bytes* as `Content-Length` says. Without that header there is no body.
#
# `Content-length` and `content-length` are the same header. A body may hold any bytes, an empty line too: only the
# length says where it ends.
#
# `opening` counts the bytes, of both ways, that opening and closing the connection took. They are shared by its
# queries. Give
#
# 1. how many queries there were,
# 2. the bytes of payload, both ways together,
# 3. the bytes of HTTP, both ways together (these three are whole numbers),
# 4. all bytes **per query**: payload, HTTP, and its share of the opening.
#
# *If you see* `a bytes-like object is required, not 'str'`: bytes are written with a `b`, as in `b"\r\n"`.

# %% nbgrader={"grade_id": "ex08_bytes", "solution": true}
def counted(up, down, opening):
    """(queries, payload bytes, HTTP bytes, all bytes per query) of one connection; up, down: bytes."""
    ### BEGIN SOLUTION
    messages = payload = 0
    for stream in (up, down):
        while stream:
            head, _, rest = stream.partition(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b": ")
                if name.lower() == b"content-length":
                    length = int(value)
            messages, payload, stream = messages + 1, payload + length, rest[length:]
    both, queries = len(up) + len(down), messages // 2
    return queries, payload, both - payload, (both + opening) / queries
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_bytes_shown", "grade": true, "points": 1}
def in_order(queries, payload, http, per_query):
    return [operator.index(queries), operator.index(payload), operator.index(http), float(per_query)]

ask = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 12\r\n\r\n[0,16,3,255]"
reply = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"outputs":7}'
word = "é".encode()  # one letter, two bytes
translate = b"POST /translate HTTP/1.1\r\ncontent-length: 9\r\n\r\n" + word + b"t" + word + b" -> ?"
summer = b"HTTP/1.1 200 OK\r\nContent-length: 6\r\n\r\nsummer"
body = b"two lines:\r\n\r\nContent-Length: 5\r\n\r\nno"  # all of this is payload
letter = b"POST /letter HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
health, fine = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"
rounded(one=in_order(*counted(ask, reply, 450)), same_five_times=in_order(*counted(5 * ask, 5 * reply, 450)),
        others=in_order(*counted(translate + health + ask, summer + fine + reply, 450)),
        letter=in_order(*counted(letter + health, fine + fine, 450)))

# %% [markdown] tags=["hints"]
# - Print `ask.partition(b"\r\n\r\n")`. Which three parts do you see, and which of their bytes are payload?
# - Take one message off the front of a stream: its head ends at the first `b"\r\n\r\n"`. Find its length. The body is
#   the next `length` bytes, and after that the next message begins. `while stream:` repeats this until nothing is left.
# - `head.split(b"\r\n")` gives the lines. A header's name stands before `b": "`; `.lower()` makes all spellings alike.
#   `int(b"12")` is 12. Start with a length of 0, for a message without that header.
# - Add up the lengths of both ways: that is the payload. All other bytes of `up` and `down` are HTTP. Per query:
#   `(len(up) + len(down) + opening) / queries`.

# %%
check("ex08_bytes_shown")

# %% nbgrader={"grade_id": "ex08_bytes_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(805))

def message(first, body):
    headers = [b"Host: example.org", b"Accept: */*", b"X-Number: %d" % rng.randint(1, 10**rng.randint(1, 9))]
    if body is not None:
        headers.append(rng.choice([b"Content-Length", b"content-length", b"CONTENT-LENGTH"]) + b": %d" % len(body))
    rng.shuffle(headers)
    return b"".join(line + b"\r\n" for line in (first, *headers)) + b"\r\n" + (body or b"")

def some_bytes(kind):
    if kind == "text":
        return "".join(rng.choice("aé日 ") for _ in range(rng.randint(30, 90))).encode() + "été".encode()
    noise = bytes(rng.randrange(256) for _ in range(rng.randint(20, 60)))
    trap = b"\r\n\r\nPOST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % rng.randint(1, 9)
    return noise + trap + noise if kind == "raw" else b""

answers = []
for kinds in (["text", "raw", "empty"], ["raw", None, "text", "text", None], ["text"] * 7):
    bodies = [(some_bytes(kind) if kind else None, some_bytes(rng.choice(["text", "raw"]))) for kind in kinds]
    sent = b"".join(message(b"GET /health HTTP/1.1" if a is None else b"POST /predict HTTP/1.1", a) for a, _ in bodies)
    got = b"".join(message(b"HTTP/1.1 200 OK", b) for _, b in bodies)
    answers.append(in_order(*counted(sent, got, rng.randint(400, 3_000))))
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a body that holds an empty line and looks like another message, a body of 0 bytes, and letters of several bytes.

# %% [markdown]
# ## From bytes to joules, in two ways
#
# A query sends `up` bytes and receives `down` bytes. Two kinds of figures are published:
#
# - **by volume**: so many kWh for each GB that passes, in either direction. A GB is $10^9$ bytes. A kWh is 1,000 watts
#   for an hour;
# - **by a power model**: `base` watts flow all the time, used or not. Traffic adds to them: `slope_up` or `slope_down`
#   watts for each Mbit/s. A Mbit is $10^6$ bits. The query takes `seconds`, and the whole base of that time is put on
#   its account.
#
# Give the joules of the query by volume, by the power model, and that part of the power model which this query
# **adds**: what would not have flowed without it. All are modelled: nobody measured this query.
#
# The first figure spreads all that a network takes over all that passes. The last one asks what a single query changes.
# So they differ, and both are in use. The check has text and a photo.
#
# *If your added joules depend on the time:* twice the time for the same bytes is half the Mbit/s. Write both down, with
# their units.

# %% nbgrader={"grade_id": "ex08_network", "solution": true}
def network_joules(up, down, kwh_per_gb, seconds, base, slope_up, slope_down):
    """(J by volume, J by the power model, J that the query adds in it); slopes in W per Mbit/s."""
    ### BEGIN SOLUTION
    added = 8 * (up * slope_up + down * slope_down) / 1e6
    return (up + down) / 1e9 * kwh_per_gb * 3.6e6, base * seconds + added, added
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_network_shown", "grade": true, "points": 1}
fixed = (value("net_aslan20") + value("net_router"), 10, value("net_pm_fixed_base") + value("net_pm_cpe_base"),
         *[value("net_pm_fixed_slope") + value("net_pm_cpe_slope")] * 2)  # both figures with the router at home
mobile = (value("net_mobile_ct"), 10, value("net_pm_mobile_base") + value("net_pm_mobile_core_base"),
          *[value("net_pm_mobile_slope") + value("net_pm_mobile_core_slope")] * 2)
radio = 0, 10, 0, value("net_lte_up"), value("net_lte_down")  # only what traffic adds in the phone itself, 4G
cases = {"text_fixed": (4_000, 6_000, *fixed), "text_mobile": (4_000, 6_000, *mobile),
         "photo_mobile": (1_000_000, 2_000, *mobile), "photo_sent": (1_000_000, 2_000, *radio),
         "photo_received": (2_000, 1_000_000, *radio)}
rounded(**{name: [float(x) for x in network_joules(*case)] for name, case in cases.items()})

# %% [markdown] tags=["hints"]
# - How many joules are a kWh? How many bits are a byte?
# - By volume: the bytes of both ways, over 1e9, times `kwh_per_gb`, times 3.6e6.
# - Traffic of r Mbit/s adds slope · r watts. Over s seconds these are slope · r · s joules, and r · s is simply the
#   number of Mbit. The seconds are gone.
# - Added: `slope_up * 8 * up / 1e6 + slope_down * 8 * down / 1e6`. The power model is that, plus `base * seconds`.

# %%
check("ex08_network_shown")

# %% nbgrader={"grade_id": "ex08_network_unseen", "grade": true, "points": 2} tags=["hidden"]
rng, answers = random.Random(grading_seed(806)), []
for least in (1_000, 30_000, 2_000_000):
    given = rng.randint(least, 2 * least), rng.randint(4 * least, 9 * least)
    given += rng.uniform(0.005, 0.3), rng.uniform(2, 30)
    powers = rng.uniform(0.5, 20) * least / 1e6, rng.uniform(0.3, 1.5), rng.uniform(0.02, 0.2)
    answers.append([float(x) for x in network_joules(*given, *powers)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a query that sends little and receives much, slopes that differ, and the same bytes in twice the time.

# %% [markdown]
# ## When does the download pay?
#
# A local model must come to the device first. It has `parameters` numbers, each stored with `bits` bits. Without it,
# each of the `queries` of a day goes to the server, and takes `query_bytes` on the wire, both ways together. With it,
# only `deferred` of them do.
#
# Give
#
# 1. the bytes of the download,
# 2. the bytes of a day with the local model in place (both are whole numbers),
# 3. after how many whole days the bytes **saved** are at least those of the download. `None` if they never are.
#
# The check has a published phone model, and 50 queries a day: text of 10 kB, or photos of 1 MB. (We count bytes only. A
# local model has other reasons, too: privacy, latency, and answers where there is no network.)
#
# *If you see* `'float' object cannot be interpreted as an integer`: `/` gives a float. `//` divides whole numbers. What
# comes out of `4 // 8`?
#
# *If you see* `ZeroDivisionError`: where every query is deferred, nothing is saved.

# %% nbgrader={"grade_id": "ex08_download", "solution": true}
def download(parameters, bits, queries, deferred, query_bytes):
    """(bytes of the download, bytes of a day with the local model, days until it has paid, or None)."""
    ### BEGIN SOLUTION
    model, saved = parameters * bits // 8, (queries - deferred) * query_bytes
    return model, deferred * query_bytes, -(-model // saved) if saved else None
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_download_shown", "grade": true, "points": 1}
def whole(*numbers):
    return [None if n is None else operator.index(n) for n in numbers]

phone = round(value("ph_apple_3b") * 1e9)
cases = {"text": (phone, 2, 50, 10, 10_000), "photos": (phone, 2, 50, 10, 1_000_000),
         "exact": (1_000, 16, 5, 1, 100), "never": (1_000, 4, 5, 5, 100)}
rounded(**{name: whole(*download(*case)) for name, case in cases.items()})

# %% [markdown] tags=["hints"]
# - A model of 8 parameters with 4 bits each: how many bytes are that?
# - The download is `parameters * bits // 8` bytes. Which queries still go over the wire, and which ones no longer?
# - A day saves `(queries - deferred) * query_bytes`. After d days d times as much is saved. Round *up* to whole days.
#   If it comes out exactly, that day is enough.
# - `math.ceil(model / saved)`, or a loop over the days. Before that, ask whether `saved` is 0: then return `None` as
#   the third number.

# %%
check("ex08_download_shown")

# %% nbgrader={"grade_id": "ex08_download_unseen", "grade": true, "points": 2} tags=["hidden"]
rng, answers = random.Random(grading_seed(807)), []
for bits, kind in ((4, ""), (8, ""), (2, "low"), (16, "exact"), (4, "exact"), (32, "never")):
    asked, size = rng.randint(30, 90), 8 * rng.randint(100, 900)
    passed_on = asked if kind == "never" else rng.randint(3, 12)
    days, left = rng.randint(20, 300), (asked - passed_on) * size
    ready = days * left if kind in ("exact", "never") else days * left - round(left * rng.uniform(0.2, 0.4)) // 4 * 4
    if kind == "low":  # a fraction that the nearest whole day would cut off
        ready = days * left + round(left * rng.uniform(0.1, 0.3)) // 4 * 4
    if kind == "never":
        ready = 4 * rng.randint(10**6, 10**7)
    answers.append(whole(*download(ready * 8 // bits, bits, asked, passed_on, size)))
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Multiply your number of days, and one day fewer, by what a day saves. On which side of the download does each lie?
# - Try models with 2, 4, 16 and 32 bits, days that come out exactly, and a model that defers everything.

# %% [markdown]
# ## What to expect
#
# A share `hard` of the queries is hard. The local model defers the share `deferral[0]` of the easy ones, and a larger
# share, `deferral[1]`, of the hard ones. All costs are joules for one query:
#
# - the local model takes `local`;
# - a query that is sent takes `network`;
# - at the server, `batch` queries pass together. The pass takes `server[0]`, which they share equally, and each query
#   takes `server[1]` more.
#
# Give the expected joules of a query in the cascade; those with the server alone, which reads every query and needs no
# local model; and the share of hard queries at which both take the same. `None` where no share from 0 to 1 does.
#
# The check has published figures, for answers of 300 tokens, as in the lesson: a 3B model on a phone, an 8B model on a
# server. The phone's figure is for the whole phone. The server's is for the GPU alone, times the lesson's factor: a
# whole service over its chips. The last case is made up.
#
# *If your third number is negative or above 1:* that is no share. One of the two is always cheaper.

# %% nbgrader={"grade_id": "ex08_expect", "solution": true}
def expected(hard, deferral, local, network, server, batch):
    """(J of a query in the cascade, J with the server alone, share of hard queries where they are equal, or None)."""
    ### BEGIN SOLUTION
    easy, difficult = deferral
    sent = network + server[0] / batch + server[1]
    equal = (1 - local / sent - easy) / (difficult - easy)
    joules = local + ((1 - hard) * easy + hard * difficult) * sent
    return joules, sent, equal if 0 <= equal <= 1 else None
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex08_expect_shown", "grade": true, "points": 1}
def as_floats(*numbers):
    return [None if x is None else float(x) for x in numbers]

# Joules per token at batch 8 and batch 511 give the fixed and the marginal part, as in exercise 03.
small, large = value("ml_llama8b_h100_b8"), value("ml_llama8b_h100")
fixed_part, around = (small - large) / (1 / 8 - 1 / 511), value("q_gemini") / value("q_gemini_accelerator")
at_server = 300 * around * fixed_part, 300 * around * (small - fixed_part / 8)
given = 300 * value("ph_melt_llmfarm"), value("net_text_mobile") * 3_600  # the lesson's text, mobile, from Wh to J
rounded(**{f"batch_{b}": as_floats(*expected(0.2, (0.1, 0.8), *given, at_server, b)) for b in (8, 16, 511)},
        tiny=as_floats(*expected(0.2, (0.1, 0.8), 1.5, 4.0, (90.0, 5.0), 2)))

# %% [markdown] tags=["hints"]
# - Write down the costs of three queries: one that the local model keeps, one that it defers, and one with the server
#   alone. How many of 100 queries are of the first kind, how many of the second?
# - One query at the server costs `network + server[0] / batch + server[1]`. Call it `sent`. That is also the server
#   alone.
# - The deferral of the mixture is `(1 - hard) * deferral[0] + hard * deferral[1]`. The cascade takes `local`, always,
#   plus that deferral times `sent`.
# - Both are equal when the deferral is `1 - local / sent`. Solve for `hard`: subtract `deferral[0]`, and divide by
#   `deferral[1] - deferral[0]`. Is the result from 0 to 1? If not: `None`.

# %%
check("ex08_expect_shown")

# %% nbgrader={"grade_id": "ex08_expect_unseen", "grade": true, "points": 2} tags=["hidden"]
rng, answers = random.Random(grading_seed(808)), []
for where in (0.3, 0.7, -0.3, 1.2, 0.5):  # the share of hard queries where both are equal; outside, there is none
    easy, more, batch = rng.uniform(0.2, 0.25), rng.uniform(0.45, 0.55), rng.randint(2, 40)
    net, passes, each = rng.uniform(3, 9), rng.uniform(20, 80), rng.uniform(2, 9)
    here = 1 - easy - more * (where + rng.uniform(-0.1, 0.1))  # the local model's share of what a sent query takes
    case = rng.uniform(0.1, 0.4), (easy, easy + more), here * (net + passes / batch + each), net, (passes, each), batch
    answers.append(as_floats(*expected(*case)))
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put your third number in as `hard`. Are the first two numbers equal then?
# - Try a local model that takes more than the server, and one that takes hardly anything.

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/08_local_first.ipynb
# ```
#
# They give 8 of the 22 points. The others come from checks with other numbers.
