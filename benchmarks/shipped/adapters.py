"""Adapts the digit reader of lesson 05 in every way, five seeds each: `python benchmarks/shipped/adapters.py`.

Some twelve minutes of CPU time on one thread. The recipe is the lesson's own: its functions are taken from its source.
First every method, and every place of an adapter, gets its learning rate for every task, from one grid, on the validation
images of three seeds that are not used again. (Seeds are other splits of the same images.) Then five other seeds are
trained and read on their test images. Writes course_lib/assets/shipped/05_adapters.json. `--seeds`, `--tuning-seeds`, `--steps` and `--dry` shorten it for a trial.
"""

import argparse
import copy
import statistics
import time

import record

from course_lib.data import SHIFTS, digits, few, shifted
from course_lib.lora import add_lora, trainable_parameters
from course_lib.setup import seed_everything
from course_lib.training import accuracy

NAMES = {"reader", "HIDDEN", "LABELS", "office", "learn", "only", "Bottleneck", "add_bottlenecks", "METHODS"}
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
RANKS = (1, 2, 4, 8, 16)
FIRST_TUNING_SEED = 100


class Office:
    """What a seed stands for: its split, its reader of clean digits, and its few labels from a damaged scanner."""

    def __init__(self, seed, r, steps):
        self.seed, self.r, self.steps, self.data = seed, r, steps, digits(seed)
        clean, self.pool = r["office"](self.data)
        seed_everything(seed, threads=1)
        self.base = r["learn"](r["reader"](), clean, 1e-3, seed, 400 if steps is None else steps)

    def adapt(self, prepare, task, rate):
        """(the adapted network, its CPU seconds)."""
        split = shifted(few(self.pool, self.r["LABELS"], self.seed), task)
        seed_everything(1000 + self.seed, threads=1)
        net = prepare(copy.deepcopy(self.base))
        start = time.process_time()
        self.r["learn"](net, split, rate, self.seed, **({} if self.steps is None else {"steps": self.steps}))
        return net, time.process_time() - start

    def row(self, method, prepare, task, rate):
        test = shifted(self.data.test, task)
        net, seconds = self.adapt(prepare, task, rate)
        return {"kind": "run", "task": task, "method": method, "seed": self.seed, "rate": rate,
                "trainable": trainable_parameters(net), "cpu_seconds": round(seconds, 3),
                "base": round(accuracy(self.base, test), 4), "accuracy": round(accuracy(net, test), 4)}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--tuning-seeds", type=int, default=3)
    options.add_argument("--steps", type=int, default=None, help="of every training run; the lesson's, unless given")
    options.add_argument("--dry", action="store_true", help="print, write nothing")
    o = options.parse_args()
    r, rows, chosen = record.recipe("05_adapters", NAMES), [], {}

    def keep(row):
        rows.append(row)
        print(row, flush=True)

    places = {f"LoRA {rank} on {layer}": lambda net, k=rank, at=layer: add_lora(net, k, at)  # one layer alone
              for layer in r["HIDDEN"] for rank in RANKS}
    offices = [Office(FIRST_TUNING_SEED + i, r, o.steps) for i in range(o.tuning_seeds)]
    for task in SHIFTS:
        for method, prepare in (r["METHODS"] | places).items():
            scores = {rate: statistics.mean(accuracy(office.adapt(prepare, task, rate)[0], shifted(office.data.val, task))
                                            for office in offices) for rate in RATES}
            best = [rate for rate in RATES if scores[rate] == max(scores.values())]
            chosen[method, task] = best[(len(best) - 1) // 2]  # the middle one, where several are equal
            keep({"kind": "rate", "task": task, "method": method, "seed": [office.seed for office in offices],
                  "rate": chosen[method, task],
                  "validation": {f"{rate:g}": round(score, 4) for rate, score in scores.items()}})
    for seed in range(o.seeds):
        office = Office(seed, r, o.steps)
        keep({"kind": "base", "seed": seed, "accuracy": round(accuracy(office.base, office.data.test), 4)})
        for task in SHIFTS:
            for method, prepare in r["METHODS"].items():
                keep(office.row(method, prepare, task, chosen[method, task]))
            for method, prepare in places.items():
                keep(office.row(method, prepare, task, chosen[method, task]) | {"kind": "place"})
    if not o.dry:
        record.write("05_adapters", rows, "python benchmarks/shipped/adapters.py")


if __name__ == "__main__":
    main()
