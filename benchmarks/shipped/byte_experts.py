"""Trains dense and sparse byte models of lesson 04, five seeds each: `python benchmarks/shipped/byte_experts.py`.

Some ten minutes of CPU time. Writes course_lib/assets/shipped/04_byte_lm.json. First the CPU time of a dense and of a
sparse training step is measured in turn, so that the dense model of "equal time" gets at least as much CPU time as the
sparse one; each row says how much it took. `--seeds`, `--steps` and `--dry` shorten it for a trial.
"""

import argparse
import math
import statistics
import time

import torch
from record import write
from torch.nn import functional as F

from course_lib.data import CORPORA, byte_windows, corpus
from course_lib.models import ByteWindowLM
from course_lib.moe import SparseMoE, expert_load, load_balancing_loss
from course_lib.setup import seed_everything

D, H, E, TOKENS, RATE, BALANCE = 64, 128, 16, 2048, 1e-2, 0.01
# The router of one block multiplies D x E numbers: as many as E / 2 more hidden units do.
ACTIVE = H + E // 2


def experts():
    return ByteWindowLM(D, feed_forward=lambda: SparseMoE(D, H, n_experts=E, top_k=1))


KINDS = {
    "dense, same active": (lambda: ByteWindowLM(D, ACTIVE), 0.0),
    "dense, same time": (lambda: ByteWindowLM(D, ACTIVE), 0.0),
    "experts, not balanced": (experts, 0.0),
    "experts, balancing loss": (experts, BALANCE),
    "dense, same total": (lambda: ByteWindowLM(D, H * E), 0.0),
}


def batch(texts, n, rng):
    """`n` windows with their next bytes, the same number from each text."""
    parts = [byte_windows(t, torch.randint(8, len(t), (n // len(texts),), generator=rng)) for t in texts]
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


class Run:
    """One training run that can be advanced in pieces, with its CPU seconds."""

    def __init__(self, kind, seed):
        seed_everything(seed, threads=1)
        build, self.balance = KINDS[kind]
        self.model, self.rng, self.seconds, self.done = build(), torch.Generator().manual_seed(seed), 0.0, 0
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE, fused=True)
        self.texts = [corpus(name).train for name in CORPORA]

    def advance(self, steps):
        start = time.process_time()
        for _ in range(steps):
            x, y = batch(self.texts, TOKENS, self.rng)
            loss = F.cross_entropy(self.model(x), y)
            if self.balance:
                loss = loss + self.balance * sum(load_balancing_loss(block.routing) for block in self.model.blocks)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.seconds += time.process_time() - start
        self.done += steps

    @torch.no_grad()
    def result(self, n=16_384):
        """Bits per byte on held-out text, of all domains together and of each; how the experts are used."""
        self.model.eval()
        bits, loads = {}, 0
        for name in CORPORA:
            held = corpus(name).val
            x, y = byte_windows(held, torch.linspace(8, len(held) - 1, n).long())
            bits[name] = F.cross_entropy(self.model(x), y).item() / math.log(2)
            if isinstance(self.model.blocks[0], SparseMoE):
                loads = loads + torch.stack([expert_load(b.routing.experts, E) for b in self.model.blocks])
        row = {"bits_per_byte": round(statistics.mean(bits.values()), 4)}
        row |= {name: round(value, 4) for name, value in bits.items()}
        if torch.is_tensor(loads):
            shares = loads / loads.sum(1, keepdim=True)
            row["effective_experts"] = [round(math.exp(v), 2) for v in torch.special.entr(shares).sum(1).tolist()]
        return row


def step_cost(pairs=12, steps=10):
    """CPU time of a sparse training step over that of a dense one: the median of `pairs` taken in turn."""
    a, b = Run("experts, balancing loss", 0), Run("dense, same active", 0)
    a.advance(steps), b.advance(steps)
    ratios = []
    for i in range(pairs):
        spent = {}
        for run in (a, b) if i % 2 else (b, a):
            before = run.seconds
            run.advance(steps)
            spent[run is a] = run.seconds - before
        ratios.append(spent[True] / spent[False])
    return statistics.median(ratios), sorted(ratios)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--steps", type=int, default=500)
    options.add_argument("--total-seeds", type=int, default=1, help="seeds of the costly dense model of the same total")
    options.add_argument("--dry", action="store_true", help="print, write nothing")
    o = options.parse_args()
    rows = []

    def keep(row):
        rows.append(row)
        print(row, flush=True)

    ratio, all_ratios = step_cost()
    print("step cost", round(ratio, 3), [round(r, 2) for r in all_ratios], flush=True)
    for seed in range(o.seeds):
        sparse, same = Run("experts, balancing loss", seed), Run("dense, same time", seed)
        for _ in range(o.steps // 50):  # in turn, so that both meet the same load of the machine
            sparse.advance(50)
            same.advance(round(50 * ratio))
        while same.seconds < sparse.seconds:  # never less time than the experts had
            same.advance(5)
        for kind, run in {"experts, balancing loss": sparse, "dense, same time": same}.items():
            keep({"kind": kind, "seed": seed, "steps": run.done, "cpu_seconds": round(run.seconds, 1), **run.result()})
        for kind in ("dense, same active", "experts, not balanced", "dense, same total")[:3 if seed < o.total_seeds else 2]:
            run = Run(kind, seed)
            run.advance(o.steps)
            keep({"kind": kind, "seed": seed, "steps": run.done, "cpu_seconds": round(run.seconds, 1), **run.result()})
    if not o.dry:
        write("04_byte_lm", rows, "python benchmarks/shipped/byte_experts.py")


if __name__ == "__main__":
    main()
