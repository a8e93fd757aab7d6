"""Small real data sets that come with installed packages, so that no lesson downloads anything."""

from __future__ import annotations

import functools
import hashlib
import random
import sys
import sysconfig
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from course_lib.sizes import whole


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


_RAMP = torch.linspace(0, 1, 8)
# What a damaged scanner makes of an image [8, 8]: 0 is paper, 1 is ink.
SHIFTS = {
    "backlit": lambda image: (image + _RAMP).clamp(max=1),  # a shadow that deepens to the right, over ink and paper
    "cropped": lambda image: torch.cat([image[..., :5, :], torch.zeros_like(image[..., 5:, :])], -2),  # three rows lost
    "faded": lambda image: 0.4 + 0.3 * image,  # pale ink on grey paper
    "rotated": lambda image: torch.rot90(image, 1, (-2, -1)),  # a quarter turn to the left
}


def shifted(split: Split, shift: str) -> Split:
    """The same digits from another scanner: "backlit", "cropped", "faded" or "rotated". Labels stay.
    Raises ValueError for another shift, and when the rows are no images of 8 x 8 pixels."""
    if shift not in SHIFTS:
        raise ValueError(f"there is no shift {shift!r}; choose from {', '.join(SHIFTS)}")
    if split.x.shape[1:] != (64,):
        raise ValueError(f"the split has shape {list(split.x.shape)}; a shift wants images of 8 x 8 pixels as [n, 64]")
    return Split(SHIFTS[shift](split.x.view(-1, 8, 8)).reshape(-1, 64), split.y)


def few(split: Split, n: int, seed: int = 0) -> Split:
    """`n` examples of `split`, drawn at random with (nearly) the same number of each class. With the same seed a smaller
    `n` gives the first of them. Raises ValueError when there are fewer than one for each class, or more than the split
    can give in equal shares."""
    whole(n=n)
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(split), generator=rng)
    classes = split.y.unique()
    if n < len(classes):
        raise ValueError(f"n={n} examples cannot show {len(classes)} classes; give at least {len(classes)}")
    one_hot = split.y[order, None] == classes
    turn = (one_hot.cumsum(0) * one_hot).sum(1)  # the how-manieth of its class an example is, in random order
    if n > (most := len(classes) * min(one_hot.sum(0).tolist(), default=0)):
        raise ValueError(f"n={n} examples in equal shares cannot be had; this split gives at most {most}")
    return Split(split.x[rows := order[turn.argsort(stable=True)[:n]]], split.y[rows])


@dataclass(frozen=True, repr=False)
class Corpus:
    """Bytes of one domain: `train` and `val`, both uint8 [n], without a common text; where they come from."""

    name: str
    train: Tensor
    val: Tensor
    about: str
    licence: str

    @property
    def sha256(self) -> str:
        """Hash of all bytes, training first: two machines with the same hash read the same text."""
        return hashlib.sha256(self.train.numpy().tobytes() + self.val.numpy().tobytes()).hexdigest()

    def __repr__(self) -> str:
        return (f"Corpus({self.name}: {len(self.train):,} bytes to train, {len(self.val):,} to validate; "
                f"{self.about}; {self.licence})")


_PSF = "Python Software Foundation License 2"
# Packages that every CPython of a minor version ships; some systems leave out or patch others.
_PACKAGES = ("", "asyncio", "collections", "concurrent", "email", "html", "http", "importlib", "json", "logging",
             "multiprocessing", "re", "sqlite3", "tomllib", "unittest", "urllib", "wsgiref", "xml", "xmlrpc", "zoneinfo")


def _in_blocks(text: bytes, size: int = 2048) -> tuple[bytes, bytes]:
    """Every tenth block is held out."""
    blocks = [text[i:i + size] for i in range(0, len(text), size)]
    return b"".join(b for i, b in enumerate(blocks) if i % 10 != 9), b"".join(blocks[9::10])


def _prose() -> tuple[bytes, bytes]:
    from pydoc_data.topics import topics
    text = "\n".join(topics[name] for name in sorted(topics))
    return _in_blocks("\n\n".join(dict.fromkeys(text.split("\n\n"))).encode())  # topics repeat each other's paragraphs


def _code() -> tuple[bytes, bytes]:
    """Whole files are held out, by name: a file keeps its side in every Python version."""
    lib, sides = Path(sysconfig.get_paths()["stdlib"]), ([], [])
    for package in _PACKAGES:
        for file in sorted((lib / package).glob("*.py" if package in ("", "unittest") else "**/*.py")):
            name = file.relative_to(lib).as_posix()
            if name.split("/")[0].removesuffix(".py") in sys.stdlib_module_names and "_sysconfigdata" not in name:
                sides[zlib.crc32(name.encode()) % 10 == 0].append(file.read_bytes().replace(b"\r\n", b"\n"))
    return b"\n".join(sides[0]), b"\n".join(sides[1])


def _arithmetic() -> tuple[bytes, bytes]:
    rng, lines = random.Random(0), []
    for _ in range(36_000):
        a, b, sign = rng.randrange(1000), rng.randrange(1000), rng.choice("+-*")
        lines.append(f"{a}{sign}{b}={ {'+': a + b, '-': a - b, '*': a * b}[sign]}\n")
    return _in_blocks("".join(lines).encode())


def _tables() -> tuple[bytes, bytes]:
    lines = []
    for code in range(0x20, 0x4000):
        if name := unicodedata.name(chr(code), ""):
            lines.append(f"{code:04X};{name};{unicodedata.category(chr(code))};{unicodedata.bidirectional(chr(code))};"
                         f"{unicodedata.decomposition(chr(code))}\n")
    return _in_blocks("".join(lines).encode())


CORPORA = {
    "prose": (_prose, "Python's language reference, as `help()` shows it (`pydoc_data.topics`)", _PSF),
    "code": (_code, "source code of Python's standard library, without its tests", _PSF),
    "arithmetic": (_arithmetic, "sums, differences and products of two random numbers", "made here: no rights"),
    "tables": (_tables, "names and classes of characters (`unicodedata`)", "Unicode License V3"),
}


@functools.lru_cache(maxsize=len(CORPORA))
def corpus(name: str) -> Corpus:
    """Text as bytes, from what Python itself ships: "prose", "code", "arithmetic" or "tables". No download.

    The same Python release gives the same bytes. Another release of the same minor version differs a little: its
    texts were corrected meanwhile. `sha256` tells. A tenth is held out: whole files of code, and every tenth block
    of 2,048 bytes of the others. Raises ValueError for another name, and for a Python that came without its texts.
    """
    if name not in CORPORA:
        raise ValueError(f"there is no corpus {name!r}; choose from {', '.join(CORPORA)}")
    make, about, licence = CORPORA[name]
    try:
        texts = make()
    except ImportError:
        texts = b"", b""
    if not all(texts):
        raise ValueError(f"the corpus {name!r} needs {about}, and this Python came without it (its library is "
                         f"{sysconfig.get_paths()['stdlib']}); use a whole Python, from python.org or conda")
    sides = (torch.frombuffer(bytearray(text), dtype=torch.uint8) for text in texts)
    return Corpus(name, *sides, about=about, licence=licence)


class LatentRegimes:
    """A task that is easy for specialists: `n_regimes` hidden rules, and nothing says which one holds.

    An example of regime r is x = p_r + 0.5 noise + `offset`, and its answer is y = tanh(A_r (x - offset)): each
    regime has its own place p_r and its own matrix A_r. All regimes share the offset, which is what makes an
    unbalanced router send everything to one expert. x and y are float32 [n, d_model]. The same `seed` gives the
    same rules. Raises ValueError when a size is no whole number from 1.
    """

    def __init__(self, seed: int = 0, n_regimes: int = 8, d_model: int = 32, offset: float = 1.0):
        whole(n_regimes=n_regimes, d_model=d_model)
        rng = torch.Generator().manual_seed(seed)
        self.places = 0.5 * torch.randn(n_regimes, d_model, generator=rng)  # as far apart as the noise is wide
        self.rules = torch.randn(n_regimes, d_model, d_model, generator=rng) / d_model**0.5
        self.offset = offset

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(x, y, regime) of `n` examples, regimes int64 [n] in equal shares by chance."""
        regime = torch.randint(len(self.places), (n,), generator=generator)
        core = self.places[regime] + 0.5 * torch.randn(n, self.places.shape[1], generator=generator)
        return core + self.offset, torch.tanh(torch.einsum("nij,nj->ni", self.rules[regime], core)), regime


def byte_windows(text: Tensor, places: Tensor, window: int = 8) -> tuple[Tensor, Tensor]:
    """(x, y) for `ByteWindowLM`: y int64 [N] are the bytes of `text` (uint8 [n]) at `places` (int64 [N]), and x int64
    [N, window] the bytes before each, oldest first. Raises ValueError for a place without so many bytes before it."""
    if len(places) and not (window <= places.min() and places.max() < len(text)):
        raise ValueError(f"places must lie from {window} to {len(text) - 1:,}: each needs {window} bytes before it")
    around = text[places[:, None] + torch.arange(-window, 1)].long()
    return around[:, :-1], around[:, -1]
