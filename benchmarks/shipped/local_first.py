"""Five seeds of lesson 08, which shows one live, and ten later ones: `python benchmarks/shipped/local_first.py`.

Some three minutes of CPU time on one thread. The recipe is not repeated here: functions and settings are taken from the
lesson's source. Writes course_lib/assets/shipped/08_local_first.json. Kinds of rows: "rule", a local network of some size
with a threshold from the validation images, and what it does on them, on their other half, and on the test images; "curve",
right test images against the share that is asked about; "bins", how often the local model is right on validation images of
about the same sureness; "shift", the same threshold on images of another kind; "later", the threshold by agreement with seeds
that nobody had looked at when the choice was made. Only curve, shift, and what "rule" and "later" call asked, right, lost and
the like without "validation", comes from test images. `--seeds`, `--later` and `--epochs` shorten it for a trial.
"""

import argparse

import record

from course_lib.data import digits

NAMES = {"SIZES", "ALLOWED", "SHARES", "KINDS", "BINS", "lowest", "RULES", "local_net", "server_net", "noisy", "fit", "train_local", "train_server",
         "logits", "sureness", "right", "pass_on", "cascade", "by_agreement", "by_accuracy", "on_other_half", "temperature",
         "ask_least_sure", "oracle", "of_kind"}


def percent(share):
    return round(100 * float(share), 2)


def points(r, here, there, y, threshold):
    """What a threshold does on these images, in percent: asked about, right, and the server's right answers."""
    answers, asked = r["cascade"](here, there, threshold)
    return {"asked": percent(asked.float().mean()), "right": percent(r["right"](answers, y)),
            "server": percent(best := r["right"](there.argmax(-1), y)), "local": percent(r["right"](here.argmax(-1), y)),
            "lost": percent(best - r["right"](answers, y))}


def rules(val, test, data, seed, hidden, r):
    """`val` and `test`: (the local model's logits, the server's) on the validation images and on the test images."""
    y = data.val.y
    for rule, choose in r["RULES"].items():
        threshold = choose(*val, y)
        known = points(r, *val, y, threshold)
        found = points(r, *test, data.test.y, threshold)
        warmth = r["temperature"](val[0], y)
        warm = choose(val[0] / warmth, val[1], y)
        others = {"warm": (test[0] / warmth, warm), "fixed": (test[0], 0.9), "fixed_warm": (test[0] / warmth, 0.9)}
        extra = {f"{name}_{k}": v for name, (here, t) in others.items()
                 for k, v in points(r, here, test[1], data.test.y, t).items() if k in ("asked", "lost")}
        yield {"kind": "rule", "rule": rule, "hidden": hidden, "threshold": round(threshold, 5),
               "temperature": round(warmth, 2),
               "unsure_by": percent(r["right"](val[0].argmax(-1), y) - r["sureness"](val[0]).mean()),
               "lost_on_other_half": round(r["on_other_half"](choose, *val, y, seed), 3),
               **{f"{k}_validation": v for k, v in known.items()}, **found, **extra}


def curves(test, data, seed, hidden, r):
    best = r["oracle"](*test, data.test.y)
    yield {"kind": "curve", "hidden": hidden, "oracle_asked": percent(best[1].float().mean()),
           "oracle_right": percent(r["right"](best[0], data.test.y)),
           "right": [percent(r["right"](r["ask_least_sure"](*test, share)[0], data.test.y)) for share in r["SHARES"]]}


def bins(val, data, seed, hidden, r):
    """Images, mean sureness (%) and right answers (%) of the local model between two neighbours of BINS."""
    sure, correct = r["sureness"](val[0]).double(), (val[0].argmax(-1) == data.val.y).double()
    found = [(sure >= low) & (sure < high) for low, high in zip(r["BINS"], (*r["BINS"][1:], 2.0))]
    yield {"kind": "bins", "hidden": hidden, "n": [int(part.sum()) for part in found],
           "sure": [percent(sure[part].mean()) if part.any() else None for part in found],
           "right": [percent(correct[part].mean()) if part.any() else None for part in found]}


def most_said(answers):
    """(the class that is answered most often, in how many percent of the images)."""
    counts = answers.bincount(minlength=10)
    return int(counts.argmax()), percent(counts.max() / counts.sum())


def shifts(net, server, threshold, data, seed, hidden, r):
    for kind in r["KINDS"]:
        split = r["of_kind"](data.test, kind, seed)
        here, there = r["logits"](net, split), r["logits"](server, split)
        _, asked = r["cascade"](here, there, threshold)
        kept, own = ~asked, here.argmax(-1)
        theirs = there.argmax(-1)
        (said, said_in), (server_said, server_said_in) = most_said(own), most_said(theirs)
        yield {"kind": "shift", "hidden": hidden, "images": kind, **points(r, here, there, split.y, threshold),
               "sure": percent(r["sureness"](here).mean()),  # None: it keeps nothing, so nothing can be said of it
               "kept_right": percent((own == split.y)[kept].double().mean()) if kept.any() else None,
               "kept_as_server": percent((own == theirs)[kept].double().mean()) if kept.any() else None,
               "said": said, "said_in": said_in, "server_said": server_said, "server_said_in": server_said_in}


def networks(seed, r):
    """(the data, the server, a local network, its hidden units, `val`, `test`) for every candidate; see `rules`."""
    data = digits(seed)
    server = r["train_server"](data, seed)
    known, asked = r["logits"](server, data.val), r["logits"](server, data.test)
    for hidden in r["SIZES"]:
        net = r["train_local"](data, seed, hidden)
        yield data, server, net, hidden, (r["logits"](net, data.val), known), (r["logits"](net, data.test), asked)


def seed_rows(seed, r):
    """All rows of one seed."""
    for data, server, net, hidden, val, test in networks(seed, r):
        yield from rules(val, test, data, seed, hidden, r)
        yield from curves(test, data, seed, hidden, r)
        yield from bins(val, data, seed, hidden, r)
        yield from shifts(net, server, r["by_agreement"](*val), data, seed, hidden, r)


def later_rows(seed, r):
    """What the choice by agreement comes to with a later seed, for every candidate."""
    for data, _, _, hidden, val, test in networks(seed, r):
        found = points(r, *test, data.test.y, r["by_agreement"](*val))
        yield {"kind": "later", "hidden": hidden, "asked": found["asked"], "lost": found["lost"],
               "lost_on_other_half": round(r["on_other_half"](r["by_agreement"], *val, data.val.y, seed), 3)}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--later", type=int, default=10, help="seeds after those")
    options.add_argument("--epochs", type=int, default=None, help="of every network; the lesson's, unless given")
    o = options.parse_args()
    r, rows = record.recipe("08_local_first", NAMES), []
    if o.epochs:
        whole = r["fit"]
        r["fit"] = lambda *args, **settings: whole(*args, **settings | {"epochs": o.epochs})
    for seed in range(o.seeds + o.later):
        for row in (seed_rows if seed < o.seeds else later_rows)(seed, r):
            rows.append({"kind": row.pop("kind"), "seed": seed, **row})
        print(f"seed {seed}: {len(rows)} rows", flush=True)
    record.write("08_local_first", rows, "python benchmarks/shipped/local_first.py")


if __name__ == "__main__":
    main()
