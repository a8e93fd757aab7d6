"""Readings of lessons 01, 02 and 04 on an NVIDIA GPU, which few learners have: `python benchmarks/shipped/gpu.py`.

The sides of a part take turns, there and back, in windows of two seconds. A row keeps the seconds and the joules of
each window, per call: joules are those of the board's own energy counter, whatever the board does, idle parts included.
Networks and training are those of the lessons. Sizes that only fill a large chip are added to theirs.
"""

import argparse
import itertools
import math
import sys
from functools import partial

import torch
from record import recipe, write
from torch import nn

from course_lib.counters import count_flops
from course_lib.data import digits
from course_lib.energy import Meter
from course_lib.models import DigitsMLP
from course_lib.moe import SparseMoE
from course_lib.provenance import Provenance
from course_lib.setup import seed_everything

F32, BF16 = torch.float32, torch.bfloat16
PRODUCTS = [(F32, n) for n in (8, 32, 128, 512, 2048, 8192)] + [(BF16, 512), (BF16, 8192)]
LAYERS = {  # d_model, d_ff, n_experts, tokens; the first is lesson 04's
    "the lesson's": (F32, 256, 256, 16, 1024),
    "large, many tokens": (BF16, 2048, 1024, 16, 16384),
    "large, few tokens": (BF16, 2048, 1024, 16, 16),
}
TOP_K = 2


def board_joules(reading):
    """Joules of the board's counter in this window; None where it gave none, or something that is no counter."""
    return next((c.joules for c in reading.components if c.name == "GPU" and c.provenance == Provenance.MEASURED), None)


def take_turns(meter, sides, rounds, window):
    """{name: {"calls", "seconds", "joules"}} of `sides`, {name: function}: one number per call for each round."""
    taken = {name: {"calls": meter._calls(fn, window, ("GPU",)), "seconds": [], "joules": []} for name, fn in sides.items()}
    for turn in range(rounds):
        for name in sides if turn % 2 else reversed(sides):
            with meter.block(name) as block:
                for _ in range(taken[name]["calls"]):
                    sides[name]()
            joules = board_joules(block.reading)
            if joules is None:
                raise SystemExit(f"{name}: no joules from the board's counter: {block.reading.energy_text()}. Nothing was written.")
            for key, total in (("seconds", block.reading.seconds), ("joules", joules)):
                taken[name][key].append(float(f"{total / taken[name]['calls']:.6g}"))
    return taken


def products(device):
    """Lesson 01: square matrix products; {name: function}, {name: what its row also says}."""
    sides, said = {}, {}
    for dtype, n in PRODUCTS:
        a, b = (torch.randn(n, n).to(device, dtype) for _ in range(2))
        name = f"{n} {dtype}"
        sides[name] = partial(torch.matmul, a, b)
        said[name] = {"part": "product", "n": n, "dtype": str(dtype).removeprefix("torch."), "flops": 2 * n**3}
    return sides, said


def network(device):
    """Lesson 02: its network and its training, one query and two batches."""
    theirs = recipe("02_training_and_inference", {"train_once"})
    images, seeds = digits(), itertools.count()
    theirs |= {"images": images, "DigitsMLP": lambda **options: DigitsMLP(**options).to(device)}
    model, _ = theirs["train_once"](0)

    @torch.inference_mode()
    def ask(x):
        return model(x).argmax(dim=1)

    pixels = torch.cat([images.test.x] * math.ceil(65_536 / len(images.test.x)))
    sides, said = {}, {}
    for batch in (1, 256, 65_536):
        sides[f"answers, {batch}"] = partial(ask, pixels[:batch].to(device))
        said[f"answers, {batch}"] = {"part": "answers", "batch": batch, "flops": count_flops(model, pixels[:1].to(device)) * batch}
    sides["training"] = lambda: theirs["train_once"](next(seeds))
    said["training"] = {"part": "training"}
    return sides, said


def dense(d, width):
    return nn.Sequential(nn.Linear(d, width, bias=False), nn.ReLU(), nn.Linear(width, d, bias=False))


def layers(device):
    """Lesson 04: sparse experts and their two dense twins, forward."""
    for setting, (dtype, d, h, n_experts, tokens) in LAYERS.items():
        made = {"dense, same active": dense(d, TOP_K * h), "sparse experts": SparseMoE(d, h, n_experts, TOP_K),
                "dense, same total": dense(d, n_experts * h)}
        x = torch.randn(tokens, d).to(device, dtype)
        sides, said = {}, {}
        for name, layer in made.items():
            layer.to(device, dtype).eval()

            @torch.inference_mode()
            def run(layer=layer, x=x):
                return layer(x)

            sides[name] = run
            said[name] = {"part": "layer", "setting": setting, "layer": name, "dtype": str(dtype).removeprefix("torch."),
                          "d_model": d, "d_ff": h, "n_experts": n_experts, "top_k": TOP_K, "tokens": tokens,
                          "flops": count_flops(layer, x)}
        yield sides, said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=2.0, help="seconds of each window")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu.py: this PyTorch sees no NVIDIA GPU, so there is nothing to read.")
    seed_everything(0)
    torch.zeros(1, device=options.device)  # from here on the meter waits for the chip
    meter = Meter()
    print(meter.sources)
    idle = meter.idle(5 * options.window)
    rows = [{"part": "idle", "seed": 0, "watts": idle.watts, "half_width": idle.half_width if idle.watts else None}]
    for sides, said in [products(options.device), network(options.device), *layers(options.device)]:
        taken = take_turns(meter, sides, options.rounds, options.window)
        rows += [said[name] | {"seed": 0} | taken[name] for name in sides]
        for name, t in taken.items():
            print(f"{name}: {sum(t['seconds']) / options.rounds:.3g} s, {sum(t['joules']) / options.rounds:.3g} J (measured)",
                  flush=True)
    write("gpu", rows, "python benchmarks/shipped/gpu.py")


if __name__ == "__main__":
    main()
