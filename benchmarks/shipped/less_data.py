"""Five seeds of lesson 06, which shows one or a part of each live: `python benchmarks/shipped/less_data.py`.

Some three minutes of CPU time on one thread. The recipe is not repeated here: functions and settings are taken from the
lesson's source. Writes course_lib/assets/shipped/06_less_data.json. Kinds of rows: "curve", the network's learning curve;
"choice" and "pool", which images get a label; "specialist", all pairs of digits and the reader of all ten, also on each pair's images; "stop" and
"size", training to a target and on less data; "base", adapting a trained reader. `--seeds`, `--epochs` and `--dry` shorten
it for a trial.
"""

import argparse
import time

import record
import torch

from course_lib.data import SHIFTS, Split, digits, few, shifted
from course_lib.models import DigitsMLP
from course_lib.setup import seed_everything
from course_lib.training import accuracy, train

NAMES = {"SIZES", "BUDGETS", "PAIRS", "PER_CLASS", "EPOCHS", "TARGETS", "RULES", "LABELS", "FEWER", "OFFICE_SIZES",
         "PASSES", "BASE_EPOCHS", "TUNING_EPOCHS", "small_learner", "held_out", "k_means", "at_random", "difficulty", "in_turn",
         "only", "learn", "work", "on_fewer", "reader", "clean_images", "scans", "train_base", "tune", "adapter"}
POOLS = (100, 150, 200, 400, 800)
CHOSEN = 100  # labels that k-means chooses from a pool


def pick(split, rows):
    return Split(split.x[rows], split.y[rows])


def least_sure_next(split, rows, n, r, step=10):
    """Rows of n examples: those given, and then again and again the `step` of which the learner is least sure."""
    rows = list(rows)
    while len(rows) < n:
        scores = torch.tensor(r["small_learner"](pick(split, rows)).decision_function(split.x))
        best, second = scores.topk(2).values.unbind(1)
        margin = best - second
        margin[rows] = torch.inf
        rows += margin.argsort(stable=True)[:min(step, n - len(rows))].tolist()
    return rows


def curve(data, seed, r):
    """The network of one hidden layer, on the labels of the small learner, until it hardly errs on them."""
    for n in r["SIZES"]:
        split = few(data.train, n, seed)
        seed_everything(seed, threads=1)
        net = DigitsMLP((64,))
        history = train(net, split, split, epochs=r["trial"] or max(40, 1000 // -(-n // 32)), seed=seed, progress=False)
        yield {"kind": "curve", "labels": n, "loss": round(history.loss[-1], 4),
               "accuracy": round(accuracy(net, r["held_out"](data)), 4)}


def choices(data, seed, r):
    split, held, at_random = data.train, r["held_out"](data), r["at_random"](data.train.x, len(data.train), seed)
    hardest = r["difficulty"](split, seed).argsort(descending=True)
    orders = {"at random": at_random, "equal shares": r["in_turn"](torch.tensor(at_random), split.y),
              "hardest first": r["in_turn"](hardest, split.y)}
    orders["least sure next"] = least_sure_next(split, r["k_means"](split.x, r["BUDGETS"][0], seed), max(r["BUDGETS"]), r)
    for n in r["BUDGETS"]:
        for method, rows in {"k-means": r["k_means"](split.x, n, seed), **{m: o[:n] for m, o in orders.items()}}.items():
            some = pick(split, rows)
            yield {"kind": "choice", "method": method, "labels": n, "digits": len(some.y.unique()),
                   "accuracy": round(r["small_learner"](some).score(held.x, held.y), 4)}
    for n in POOLS:
        pool = pick(split, at_random[:n])
        chosen = pick(pool, r["k_means"](pool.x, CHOSEN, seed))
        yield {"kind": "pool", "images": n, "labels": CHOSEN,
               "accuracy": round(r["small_learner"](chosen).score(held.x, held.y), 4)}


def specialists(data, seed, r):
    held = r["held_out"](data)
    tests = [r["only"](held, pair) for pair in r["PAIRS"]]
    for n in r["PER_CLASS"]:
        some = few(data.train, 10 * n, seed)
        ten = r["small_learner"](some)
        pairs = [r["small_learner"](r["only"](some, pair)).score(test.x, test.y) for pair, test in zip(r["PAIRS"], tests)]
        yield {"kind": "specialist", "per_class": n, "ten": round(ten.score(held.x, held.y), 4),
               "pairs": [round(float(a), 4) for a in pairs],
               "ten_on_pairs": [round(float(ten.score(test.x, test.y)), 4) for test in tests]}


def stops(data, seed, r):
    for rule, options in r["RULES"].items():
        start = time.process_time()
        net, history = r["learn"](data, seed, options)
        yield {"kind": "stop", "rule": rule, "epochs": history.epochs, "reached": history.reached,
               "flops": r["work"](net, history, data.train, data.val), "cpu_seconds": round(time.process_time() - start, 2),
               "validation": round(accuracy(net, data.val), 4), "test": round(accuracy(net, data.test), 4)}
    for n in r["FEWER"]:
        for rule in ("same passes", "same work"):
            net, history, split = r["on_fewer"](data, seed, n, rule)
            yield {"kind": "size", "labels": n, "rule": rule, "epochs": history.epochs,
                   "flops": r["work"](net, history, split, split), "test": round(accuracy(net, data.test), 4)}


def bases(data, seed, r):
    base, _ = r["train_base"](data, seed)
    for shift in SHIFTS:
        test, fifty = shifted(data.test, shift), r["scans"](data, seed, shift)
        seed_everything(2000 + seed, threads=1)  # an adapter's start
        net, _ = r["tune"](r["adapter"](base), fifty, seed, 3e-3)
        scratch, _ = r["tune"](r["reader"](1000 + seed), fifty, seed, 1e-3)
        sizes = [shifted(few(data.train, n, seed), shift) for n in r["OFFICE_SIZES"]]
        small = [r["small_learner"](some).score(test.x, test.y) for some in sizes]
        yield {"kind": "base", "shift": shift, "untouched": round(accuracy(base, test), 4),
               "adapter": round(accuracy(net, test), 4), "network": round(accuracy(scratch, test), 4),
               "small": [round(float(a), 4) for a in small]}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--epochs", type=int, default=None, help="of every network; the lesson's, unless given")
    options.add_argument("--dry", action="store_true", help="print, write nothing")
    o = options.parse_args()
    r, rows = record.recipe("06_less_data", NAMES), []
    r["trial"] = o.epochs
    if o.epochs:
        r.update(dict.fromkeys(("EPOCHS", "PASSES", "BASE_EPOCHS", "TUNING_EPOCHS"), o.epochs))
    for seed in range(o.seeds):
        data = digits(seed)
        for part in (curve, choices, specialists, stops, bases):
            for row in part(data, seed, r):
                rows.append({"kind": row.pop("kind"), "seed": seed, **row})
                print(rows[-1], flush=True)
    if not o.dry:
        record.write("06_less_data", rows, "python benchmarks/shipped/less_data.py")


if __name__ == "__main__":
    main()
