"""Small real data sets that come with installed packages, so that no lesson downloads anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """`x`: float32 [n, features] in 0..1; `y`: int64 [n], the class of each row."""

    x: Tensor
    y: Tensor

    def __post_init__(self):
        if len(self.x) != len(self.y):
            raise ValueError(f"a split needs one label per row, not {len(self.x)} and {len(self.y)}")

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Split({len(self):,} examples, {self.x[0].numel() if len(self) else 0} numbers each)"


@dataclass(frozen=True)
class Digits:
    """Three splits without a common image: learn on `train`, choose on `val`, report on `test` once."""

    train: Split
    val: Split
    test: Split


def digits(seed: int = 0) -> Digits:
    """Handwritten digits, 8 x 8 grey pixels: 1,077 to train, 360 to validate, 360 to test, equal shares.

    `x` is float32 [n, 64], row by row, 0 paper and 1 ink; `y` is int64 [n], 0 to 9. The same `seed` gives the
    same split. Nothing is downloaded: scikit-learn ships the images (`sklearn.datasets.load_digits`). They
    are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI
    Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0), written by 13 people. The copy does not say
    who wrote what, so the same hand appears in all three splits: accuracy for new people would be lower.

    Raises ValueError when `seed` is no whole number from 0.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}; give a whole number from 0 to {2**32 - 1:,}")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32)  # the images count ink in 0..16
    y = torch.tensor(labels, dtype=torch.int64)
    rest, test = train_test_split(range(len(y)), test_size=360, stratify=y, random_state=seed)
    train, val = train_test_split(rest, test_size=360, stratify=y[rest], random_state=seed)
    return Digits(*(Split(x[rows], y[rows]) for rows in (train, val, test)))
