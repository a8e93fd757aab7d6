"""Trains dense and sparse layers on the hidden regimes of lesson 04, five seeds each: `python benchmarks/shipped/regimes.py`.

Some two minutes of CPU time. Writes course_lib/assets/shipped/04_regimes.json. The lesson shows one seed of it live,
with the same few lines. `--seeds` and `--dry` shorten it for a trial.
"""

import argparse
import math
import time

import torch
from record import write
from sklearn.metrics import normalized_mutual_info_score
from torch import nn
from torch.nn import functional as F

from course_lib.data import LatentRegimes
from course_lib.moe import SparseMoE, expert_load, load_balancing_loss
from course_lib.setup import seed_everything

D, H, E, STEPS, TOKENS, RATE, OFFSET = 32, 32, 8, 600, 1024, 3e-3, 1.5


def dense(width):
    return nn.Sequential(nn.Linear(D, width), nn.ReLU(), nn.Linear(width, D))


def moe(**options):
    return SparseMoE(D, H, n_experts=E, top_k=1, **options)


# The router multiplies D x E numbers for each token: as many as D * E / (2 * D) more hidden units do.
KINDS = {
    "dense, same active": (lambda: dense(H + E // 2), 0.0),
    "experts, not balanced": (moe, 0.0),
    "experts, balancing loss": (moe, 0.03),
    "experts, balancing bias": (lambda: moe(bias_update=0.01), 0.0),
    "dense, same total": (lambda: dense(H * E), 0.0),
}


def run(kind, seed):
    build, balance = KINDS[kind]
    seed_everything(seed, threads=1)
    task, rng = LatentRegimes(seed, offset=OFFSET), torch.Generator().manual_seed(seed)
    layer = build()
    optimizer = torch.optim.Adam(layer.parameters(), lr=RATE, fused=True)
    start = time.process_time()
    for _ in range(STEPS):
        x, y, _ = task.sample(TOKENS, rng)
        loss = F.mse_loss(layer(x), y)
        if balance:
            loss = loss + balance * load_balancing_loss(layer.routing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    row = {"kind": kind, "seed": seed, "steps": STEPS, "cpu_seconds": round(time.process_time() - start, 2)}
    x, y, regime = task.sample(8192, torch.Generator().manual_seed(10_000 + seed))
    layer.eval()
    with torch.no_grad():
        row["error"] = round((F.mse_loss(layer(x), y) / y.var()).item(), 4)
    if isinstance(layer, SparseMoE):
        chosen = layer.routing.experts
        load = expert_load(chosen, E) / chosen.numel()
        row["effective_experts"] = round(math.exp(torch.special.entr(load).sum().item()), 2)
        row["dead"] = int((load < 0.001).sum())
        row["nmi"] = round(float(normalized_mutual_info_score(regime.numpy(), chosen[:, 0].numpy())), 3)
    return row


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--dry", action="store_true", help="print, write nothing")
    o = options.parse_args()
    rows = []
    for seed in range(o.seeds):
        for kind in KINDS:
            rows.append(run(kind, seed))
            print(rows[-1], flush=True)
    if not o.dry:
        write("04_regimes", rows, "python benchmarks/shipped/regimes.py")


if __name__ == "__main__":
    main()
