"""Five seeds of lesson 03's early exit, which trains one live: `python benchmarks/shipped/early_exit.py`.

Some three minutes of CPU time on one thread. The recipe is not repeated here: the functions are taken from the lesson's
source, so the table comes from the code that learners read. Beside the network with exits stand networks of a
fixed depth that were trained for their last exit alone.
"""

import time

import record
import torch

from course_lib.data import digits
from course_lib.models import MultiExitCNN
from course_lib.setup import seed_everything

NAMES = {"noisy", "train_exits", "mixture", "all_answers", "margin", "largest", "leaves_at", "outcome", "calibrate",
         "exit_costs", "LEVELS"}


class Alone(MultiExitCNN):
    """The same network, trained and read at its last exit only."""

    def every_exit(self, x):
        return self(x)[None]


def one_seed(seed, r):
    data, one = digits(seed), torch.zeros(1, 64)
    val, test = r["mixture"](data.val, 1000 + seed), r["mixture"](data.test, 2000 + seed)
    seed_everything(seed, threads=1)
    start = time.process_time()
    net = r["train_exits"](MultiExitCNN(), data, seed)
    row = {"seed": seed, "training_cpu_seconds": round(time.process_time() - start, 1)}
    fixed, early = r["exit_costs"](net, one)
    row["fixed_flops"], row["early_flops"] = fixed.tolist(), early.tolist()
    known, asked = r["all_answers"](net, val[0]), r["all_answers"](net, test[0])
    right = (asked.argmax(-1) == test[1]).float()
    row["accuracy"] = [round(a, 4) for a in right.mean(1).tolist()]
    row["accuracy_by_level"] = [[round(a, 4) for a in level] for level in right.view(len(fixed), len(r["LEVELS"]), -1)
                                .mean(2).tolist()]
    for name in ("margin", "largest"):
        rule = r[name]
        threshold, spent = r["calibrate"](known, val[1], rule, early)
        exits = r["leaves_at"](rule(asked), threshold)
        accuracy, cost = r["outcome"](asked, test[1], exits, early)
        row[name] = {"threshold": threshold, "validation_flops": round(spent), "accuracy": round(accuracy, 4),
                     "flops": round(cost), "flops_by_level": early[exits].view(len(r["LEVELS"]), -1).double().mean(1)
                     .round().int().tolist(), "exits": torch.bincount(exits, minlength=len(fixed)).tolist()}
    row["trained_alone"] = {}
    for depth in (1, 2, 3, 6):
        seed_everything(seed, threads=1)
        alone = r["train_exits"](Alone(n_blocks=depth), data, seed)
        asked = r["all_answers"](alone, test[0])[0]
        row["trained_alone"][depth] = round((asked.argmax(-1) == test[1]).float().mean().item(), 4)
    print(row, flush=True)
    return row


if __name__ == "__main__":
    r = record.recipe("03_cost_of_a_query", NAMES)
    record.write("03_early_exit", [one_seed(seed, r) for seed in range(5)], "python benchmarks/shipped/early_exit.py")
