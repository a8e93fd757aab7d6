"""One short training loop for classifiers, the same in every lesson that trains."""

from __future__ import annotations

import copy
import os
import sys
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import Split


@dataclass(frozen=True)
class History:
    """What a training run did: mean `loss` (nats per example) and validation `accuracy` (0..1) of each epoch,
    and how much work that was. `reached`: was the target accuracy met (None: there was no target)."""

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    epochs: int
    steps: int
    examples_seen: int
    reached: bool | None

    def __repr__(self) -> str:
        end = {True: ", target reached", False: ", target not reached", None: ""}[self.reached]
        return (f"History({self.epochs} epochs, {self.steps:,} steps, {self.examples_seen:,} examples seen, "
                f"validation accuracy {self.accuracy[-1]:.1%}{end})")


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch_size: int = 1024) -> float:
    """Share of right answers, 0..1, over the whole `split`, in eval mode; the model's own mode stays.

    Raises ValueError when `split` is empty.
    """
    if not len(split):
        raise ValueError("the split holds 0 examples, so it has no accuracy; give at least one")
    modes, device, right = [(m, m.training) for m in model.modules()], _device(model), 0
    model.eval()
    for x, y in zip(split.x.split(batch_size), split.y.split(batch_size)):
        right += (model(x.to(device)).argmax(-1) == y.to(device)).sum().item()
    for module, mode in modes:
        module.training = mode
    return right / len(split)


def _check(model, train_split, **values):
    if not len(train_split):
        raise ValueError("the training split holds 0 examples; give at least one")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"{type(model).__name__} has no trainable parameter; set requires_grad=True on some")
    for name in ("epochs", "batch_size", "patience"):
        if values[name] is not None and (not isinstance(values[name], int) or values[name] < 1):
            raise ValueError(f"{name} is {values[name]!r}; give a whole number from 1")
    if not 0 < values["lr"] < float("inf"):
        raise ValueError(f"lr is {values['lr']!r}; give a positive learning rate, such as 0.003")
    if values["target"] is not None and not 0 < values["target"] <= 1:
        raise ValueError(f"target_accuracy is {values['target']!r}; give a share of 1, such as 0.95")


def train(model: nn.Module, train_split: Split, val_split: Split, *, epochs: int = 30, lr: float = 3e-3,
          batch_size: int = 32, seed: int = 0, target_accuracy: float | None = None,
          patience: int | None = None, progress: bool = True) -> History:
    """Trains `model` in place with Adam and cross-entropy (nats), checks it each epoch, ends in eval mode.

    model: maps x [batch, features] to logits [batch, classes]; only parameters with `requires_grad` learn.
    target_accuracy: stop once the validation accuracy is at least this share. patience: stop after so many
    epochs without a new best, and go back to its weights. seed: order of the examples, and dropout; the
    notebook's random state is not touched, and the starting weights are yours to seed.
    progress: a bar in plain text, which COURSE_QUIET=1 in the environment silences.
    Raises ValueError for a setting out of range, and when the loss stops being a number.
    """
    _check(model, train_split, epochs=epochs, batch_size=batch_size, patience=patience, lr=lr,
           target=target_accuracy)
    from tqdm import tqdm  # the text bar, not tqdm.auto: a widget in a saved notebook shows nothing

    device, n = _device(model), len(train_split)
    x, y = train_split.x.to(device), train_split.y.to(device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    order = torch.Generator().manual_seed(seed)
    losses, accuracies, steps, best, best_epoch = [], [], 0, None, 0
    quiet = not progress or os.environ.get("COURSE_QUIET", "0") not in ("", "0")
    cuda = [device] if device.type == "cuda" else []
    bar = tqdm(total=epochs, unit="epoch", disable=quiet, file=sys.stdout)
    with torch.random.fork_rng(devices=cuda), bar:
        torch.manual_seed(seed)
        for epoch in range(epochs):
            model.train()
            total = torch.zeros((), device=device)
            for rows in torch.randperm(n, generator=order).to(device).split(batch_size):
                loss = F.cross_entropy(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(rows)
                steps += 1
            losses.append(total.item() / n)
            if not losses[-1] < float("inf"):
                raise ValueError(f"the loss became {losses[-1]} in epoch {epoch + 1} at lr={lr}; try a "
                                 "smaller lr, or look for missing values in the data")
            accuracies.append(accuracy(model, val_split))
            bar.update()
            bar.set_postfix(accuracy=f"{accuracies[-1]:.3f}")
            if patience and accuracies[-1] > max(accuracies[:-1], default=-1):
                best, best_epoch = copy.deepcopy(model.state_dict()), epoch
            reached = None if target_accuracy is None else accuracies[-1] >= target_accuracy
            if reached or patience and epoch - best_epoch >= patience:
                break
    if best and not reached:
        model.load_state_dict(best)
    model.eval()
    return History(tuple(losses), tuple(accuracies), len(losses), steps, len(losses) * n, reached)
