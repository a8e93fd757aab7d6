"""Five seeds of lesson 10, which runs a few of its services live: `python benchmarks/shipped/energy_label.py`.

Some ten minutes of CPU time on one thread. The recipe is not repeated here: functions and settings are taken from the
lesson's source. Writes course_lib/assets/shipped/10_energy_label.json. Kinds of rows: "rate", learning rates on validation
images of other seeds; "base", what the bases cost; "reader", a trained reader with all its services: their right answers on
the test images, FLOPs for an image and bytes of weights. Only what is called accuracy is computed from test images. `--seeds`
and `--passes` shorten it for a trial.
"""

import argparse
import time

import record

from course_lib.data import few
from course_lib.training import accuracy

NAMES = {"LEVERS", "START", "SIZES", "RATE", "PASSES", "Block", "Reader", "Step", "scans", "office", "learn", "train_base",
         "train_reader", "train_early", "train_pocket", "scales", "rounded", "weight_bytes", "steps_of", "serve", "calibrate",
         "flops_of", "judged"}
RATES, RATE_SEEDS = (3e-4, 1e-3, 3e-3, 1e-2), (100, 101)
SERVING = ("exit", "local", "precision")  # what is decided after the training


def services(r):
    """The choices that one trained reader serves, in the order of the rows' lists."""
    return [{"exit": e, "local": f, "precision": p} for e in r["LEVERS"]["exit"]
            for f in r["LEVERS"]["local"] for p in r["LEVERS"]["precision"]]


def kinds(r):
    return [(size, layers) for size in r["LEVERS"]["size"] for layers in r["LEVERS"]["layers"]]


def rates(r):
    """Mean validation accuracy of each way of training at each rate, over sizes and kinds of layers, with 100 labels."""
    found = {}
    for seed in RATE_SEEDS:
        images, pool, free, _ = r["office"](seed)
        for size, layers in kinds(r):
            base, _ = r["train_base"](images, size, layers, seed)
            for training in r["LEVERS"]["training"]:
                for rate in RATES:
                    r["RATE"][training] = rate
                    net, _ = r["train_reader"](base, few(pool, 100, seed), size, layers, training, seed)
                    found.setdefault((training, rate), []).append(accuracy(net, free))
    for training in r["LEVERS"]["training"]:
        mean = {rate: round(sum(found[training, rate]) / len(found[training, rate]), 4) for rate in RATES}
        yield {"kind": "rate", "training": training, "seed": list(RATE_SEEDS), "rate": max(mean, key=mean.get),
               "validation": {f"{k:g}": v for k, v in mean.items()}}


def readers(seed, r):
    """All rows of one seed."""
    images, pool, free, exam = r["office"](seed)
    some = {n: few(pool, n, seed) for n in r["LEVERS"]["labels"]}
    pockets = {n: r["train_pocket"](split, seed) for n, split in some.items()}
    for size, layers in kinds(r):
        start = time.process_time()
        base, work = r["train_base"](images, size, layers, seed)
        yield {"kind": "base", "seed": seed, "size": size, "layers": layers, "training_flops": work,
               "cpu_seconds": round(time.process_time() - start, 2), "accuracy": round(accuracy(base, exam), 4)}
        for training in r["LEVERS"]["training"]:
            for n, split in some.items():
                start = time.process_time()
                net, work = r["train_reader"](base, split, size, layers, training, seed)
                seconds = time.process_time() - start
                row = {"kind": "reader", "seed": seed, "size": size, "layers": layers, "training": training, "labels": n,
                       "cpu_seconds": round(seconds, 2), "training_flops": work,
                       "early_flops": r["train_early"](net, split, seed), "pocket_flops": pockets[n][1],
                       "accuracy": [], "flops": [], "bytes": [], "reached": []}
                for service in services(r):
                    steps = r["steps_of"](net, pockets[n][0], service)
                    right, flops, reached = r["judged"](steps, free, exam)
                    row["accuracy"].append(round(right, 4))
                    row["flops"].append(round(flops))
                    row["bytes"].append(sum(r["weight_bytes"](step, service["precision"]) for step in steps))
                    row["reached"].append(reached)
                yield row


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--passes", type=int, default=None, help="of every training; the lesson's, unless given")
    o = options.parse_args()
    r, rows = record.recipe("10_energy_label", NAMES), []
    if o.passes:
        r["PASSES"] = o.passes
    chosen = dict(r["RATE"])
    rows += rates(r)
    r["RATE"].update(chosen)
    print(*rows, sep="\n", flush=True)
    for seed in range(o.seeds):
        rows += readers(seed, r)
        print(f"seed {seed}: {len(rows)} rows", flush=True)
    record.write("10_energy_label", rows, "python benchmarks/shipped/energy_label.py")


if __name__ == "__main__":
    main()
