"""Five seeds of lesson 08, which shows one live: `python benchmarks/shipped/local_first.py`.

Under a minute of CPU time on one thread. The recipe is not repeated here: functions and settings are taken from the
lesson's source. Writes course_lib/assets/shipped/08_local_first.json. Kinds of rows: "rule", a local network of some size
with a threshold from the validation images, and what it does on them, on their other half, and on the test images; "curve",
right test images against the share that is asked about; "shift", the same threshold on images of another kind. Only what is
called test, and the shifts, is computed from test images. `--seeds` and `--epochs` shorten it for a trial.
"""

import argparse

import record

from course_lib.data import digits

NAMES = {"SIZES", "ALLOWED", "SHARES", "KINDS", "RULES", "local_net", "server_net", "noisy", "fit", "train_local", "train_server",
         "logits", "sureness", "right", "cascade", "by_agreement", "by_accuracy", "on_other_half", "temperature", "ask_least_sure",
         "oracle", "of_kind"}


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


def shifts(net, server, threshold, data, seed, hidden, r):
    for kind in r["KINDS"]:
        split = r["of_kind"](data.test, kind, seed)
        here, there = r["logits"](net, split), r["logits"](server, split)
        _, asked = r["cascade"](here, there, threshold)
        kept, own = ~asked, here.argmax(-1)
        n = max(1, int(kept.sum()))
        yield {"kind": "shift", "hidden": hidden, "images": kind, **points(r, here, there, split.y, threshold),
               "sure": percent(r["sureness"](here).mean()), "kept_right": percent(((own == split.y) & kept).sum() / n),
               "kept_as_server": percent(((own == there.argmax(-1)) & kept).sum() / n)}


def seed_rows(seed, r):
    """All rows of one seed."""
    data = digits(seed)
    server = r["train_server"](data, seed)
    known, asked = r["logits"](server, data.val), r["logits"](server, data.test)
    for hidden in r["SIZES"]:
        net = r["train_local"](data, seed, hidden)
        val, test = (r["logits"](net, data.val), known), (r["logits"](net, data.test), asked)
        yield from rules(val, test, data, seed, hidden, r)
        yield from curves(test, data, seed, hidden, r)
        yield from shifts(net, server, r["by_agreement"](*val), data, seed, hidden, r)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--epochs", type=int, default=None, help="of every network; the lesson's, unless given")
    o = options.parse_args()
    r, rows = record.recipe("08_local_first", NAMES), []
    if o.epochs:
        whole = r["fit"]
        r["fit"] = lambda *args, **settings: whole(*args, **settings | {"epochs": o.epochs})
    for seed in range(o.seeds):
        for row in seed_rows(seed, r):
            rows.append({"kind": row.pop("kind"), "seed": seed, **row})
        print(f"seed {seed}: {len(rows)} rows", flush=True)
    record.write("08_local_first", rows, "python benchmarks/shipped/local_first.py")


if __name__ == "__main__":
    main()
