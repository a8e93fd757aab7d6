"""Trains the small byte model that the course ships, once: `python benchmarks/shipped/byte_transformer.py`.

Some forty minutes of CPU time on a core without AVX-512. First the whole network learns to predict the next byte of the "code" corpus;
then it is frozen, and its exit heads learn the same from what each block hands on. The weights are stored in half
precision as `course_lib/assets/byte_transformer.pt`, and the record beside them (`.json`) says what was done, on which
bytes, and with what result on held-out files.

`--steps` and `--exit-steps` shorten it for a trial; then give `--to FOLDER`, so that the shipped file stays.
"""

import argparse
import hashlib
import json
import math
import platform
import time
from datetime import date
from pathlib import Path

import torch
from torch.nn import functional as F

from course_lib.data import corpus
from course_lib.models import ByteTransformer

ASSETS = Path(__file__).parents[2] / "course_lib" / "assets"
SIZES = {"d_model": 256, "n_layers": 4, "n_heads": 4, "context": 128}


def batch(data, size, rng):
    """Inputs and targets, int64 [size, context], from random places of `data`."""
    starts = torch.randint(len(data) - SIZES["context"] - 1, (size, 1), generator=rng)
    text = data[starts + torch.arange(SIZES["context"] + 1)].long()
    return text[:, :-1], text[:, 1:]


@torch.no_grad()
def bits_per_byte(model, data, n=256):
    """Of every exit, over `n` windows in even steps through `data`."""
    starts = torch.linspace(0, len(data) - SIZES["context"] - 1, n).long()[:, None]
    text, total = data[starts + torch.arange(SIZES["context"] + 1)].long(), 0
    for rows in text.split(32):
        logits = model.every_exit(rows[:, :-1])
        loss = F.cross_entropy(logits.flatten(1, 2).transpose(1, 2), rows[:, 1:].reshape(1, -1).expand(len(logits), -1),
                               reduction="none")
        total = total + loss.sum(1)
    return (total / text[:, 1:].numel() / math.log(2)).tolist()


def fit(weights, loss_of, steps, lr, warm_up):
    """AdamW with a warm-up and a cosine down to a tenth."""
    optimizer = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min((i + 1) / warm_up, 0.1 + 0.45 * (
        1 + math.cos(math.pi * min(i, steps) / steps))))
    start = time.process_time()
    for step in range(1, steps + 1):
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: {loss.item() / math.log(2):.3f} bits per byte, {time.process_time() - start:.0f} CPU s",
                  flush=True)
    return time.process_time() - start


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--steps", type=int, default=4400)
    options.add_argument("--exit-steps", type=int, default=250)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--to", type=Path, default=ASSETS, help="folder of the two files")
    o = options.parse_args()
    torch.manual_seed(0)
    data, rng = corpus("code"), torch.Generator().manual_seed(0)
    model = ByteTransformer(**SIZES)
    trunk = [p for name, p in model.named_parameters() if not name.startswith("exits.")]

    def whole():
        x, y = batch(data.train, o.batch, rng)
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    def exits():
        x, y = batch(data.train, 4 * o.batch, rng)
        with torch.no_grad():
            states = list(model._states(x, len(model.blocks)))[:-1]
        return sum(F.cross_entropy(head(s).flatten(0, 1), y.flatten()) for head, s in zip(model.exits, states)) / len(states)

    seconds = fit(trunk, whole, o.steps, lr=1.5e-3, warm_up=100)
    model.requires_grad_(False)
    model.exits.requires_grad_(True)
    exit_seconds = fit(list(model.exits.parameters()), exits, o.exit_steps, lr=4e-3, warm_up=10)

    model.half().float()  # judge what is shipped, with its rounding
    model.eval()
    bits = bits_per_byte(model, data.val)
    o.to.mkdir(parents=True, exist_ok=True)
    file = o.to / "byte_transformer.pt"
    torch.save({name: value.half() for name, value in model.state_dict().items()}, file)
    record = {
        "what": "ByteTransformer, trained on the source code of Python's standard library by this course",
        "sizes": SIZES, "parameters": sum(p.numel() for p in trunk),
        "exit_parameters": sum(p.numel() for p in model.exits.parameters()),
        "corpus": "code", "corpus_sha256": data.sha256, "corpus_bytes": len(data.train), "python": platform.python_version(),
        "corpus_licence": data.licence, "licence": "CC BY 4.0, as the course's text; the corpus keeps its own",
        "bytes_seen": o.steps * o.batch * SIZES["context"], "steps": o.steps, "exit_steps": o.exit_steps,
        "cpu_seconds": round(seconds), "exit_cpu_seconds": round(exit_seconds), "torch": torch.__version__,
        "held_out_bits_per_byte": [round(b, 3) for b in bits], "date": date.today().isoformat(),
        "file_bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    (o.to / "byte_transformer.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
