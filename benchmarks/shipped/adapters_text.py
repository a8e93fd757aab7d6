"""Adapts the small byte model from code to prose, as lesson 05 does, five seeds: `python benchmarks/shipped/adapters_text.py`.

Some fifteen minutes of CPU time on one thread. Functions are the lesson's own. Each method gets its learning rate from one
grid, with a seed that is not used again, on text that comes after the part it learns from. Writes
course_lib/assets/shipped/05_adapters_text.json. `--seeds`, `--steps`, `--rates` and `--dry` shorten it for a trial.
"""

import argparse
import time

import record

from course_lib.data import corpus
from course_lib.lora import trainable_parameters
from course_lib.models import pretrained
from course_lib.setup import seed_everything

NAMES = {"TEXT_BYTES", "plain", "only", "TEXT_METHODS", "learn_text", "bits_per_byte"}
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
TUNING_SEED = 100


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--steps", type=int, default=None, help="of every training run; the lesson's, unless given")
    options.add_argument("--rates", type=int, default=len(RATES), help="how many rates of the grid are tried")
    options.add_argument("--dry", action="store_true", help="print, write nothing")
    o = options.parse_args()
    r, rows, text = record.recipe("05_adapters", NAMES), [], corpus("prose")
    mine, later = text.train[:r["TEXT_BYTES"]], text.train[r["TEXT_BYTES"]:2 * r["TEXT_BYTES"]]

    def keep(row):
        rows.append(row)
        print(row, flush=True)

    def adapted(method, seed, rate):
        seed_everything(seed, threads=1)
        model, start = r["TEXT_METHODS"][method](r["plain"](pretrained())), time.process_time()
        r["learn_text"](model, mine, rate, seed, **({} if o.steps is None else {"steps": o.steps}))
        return model, time.process_time() - start

    keep({"kind": "base", "seed": None, "bits_per_byte": round(r["bits_per_byte"](pretrained(), text.val), 4)})
    for method in r["TEXT_METHODS"]:
        bits = {rate: r["bits_per_byte"](adapted(method, TUNING_SEED, rate)[0], later) for rate in RATES[:o.rates]}
        rate = min(bits, key=bits.get)
        keep({"kind": "rate", "method": method, "seed": [TUNING_SEED], "rate": rate, "validation": {f"{k:g}": round(b, 4) for k, b in bits.items()}})
        for seed in range(o.seeds):
            model, seconds = adapted(method, seed, rate)
            keep({"kind": "run", "method": method, "seed": seed, "rate": rate, "trainable": trainable_parameters(model),
                  "cpu_seconds": round(seconds, 1), "bits_per_byte": round(r["bits_per_byte"](model, text.val), 4)})
    if not o.dry:
        record.write("05_adapters_text", rows, "python benchmarks/shipped/adapters_text.py")


if __name__ == "__main__":
    main()
