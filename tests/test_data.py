"""Digits, corpora and latent regimes: sizes, shares, ranges, and the same split every time, everywhere."""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from course_lib.data import CORPORA, LatentRegimes, Split, byte_windows, corpus, digits


@pytest.fixture(scope="module")
def data():
    return digits()


def test_sizes_types_and_range(data):
    assert [len(s) for s in (data.train, data.val, data.test)] == [1077, 360, 360]
    for split in (data.train, data.val, data.test):
        assert split.x.shape == (len(split), 64)
        assert (split.x.dtype, split.y.dtype) == (torch.float32, torch.int64)
        assert split.x.min() == 0 and split.x.max() == 1


def test_classes_have_equal_shares(data):
    for split in (data.train, data.val, data.test):
        shares = torch.bincount(split.y, minlength=10) / len(split)
        assert (shares - 0.1).abs().max() < 0.006


def test_splits_cover_the_set_without_overlap(data):
    from sklearn.datasets import load_digits
    images = torch.cat([data.train.x, data.val.x, data.test.x]) * 16
    original = torch.tensor(load_digits().data, dtype=torch.float32)
    assert sorted(map(tuple, images.tolist())) == sorted(map(tuple, original.tolist()))


def test_same_seed_same_split_other_seed_other_split(data):
    again, other = digits(0), digits(1)
    assert torch.equal(again.train.x, data.train.x) and torch.equal(again.test.y, data.test.y)
    assert not torch.equal(other.test.x, data.test.x)


def test_split_does_not_touch_random_state():
    before = torch.get_rng_state()
    digits(3)
    assert torch.equal(before, torch.get_rng_state())


def test_bad_input():
    with pytest.raises(ValueError, match="seed is -1"):
        digits(-1)
    with pytest.raises(ValueError, match="not 3 and 2"):
        Split(torch.zeros(3, 64), torch.zeros(2))


# Corpora

each_corpus = pytest.mark.parametrize("name", ["prose", "code", "arithmetic", "tables"])


def raw(tensor):
    return tensor.numpy().tobytes()


@each_corpus
def test_a_corpus_is_bytes_with_about_a_tenth_held_out(name):
    c = corpus(name)
    assert c.train.dtype == c.val.dtype == torch.uint8 and c.train.ndim == c.val.ndim == 1
    assert 300_000 < len(c.train) + len(c.val) < 10_000_000
    assert 0.08 < len(c.val) / (len(c.train) + len(c.val)) < 0.13
    assert c.name == name and c.licence and c.about in repr(c) and f"{len(c.train):,}" in repr(c)
    assert c.sha256 == hashlib.sha256(raw(c.train) + raw(c.val)).hexdigest()


@each_corpus
def test_what_is_held_out_is_not_in_the_training_part(name):
    c = corpus(name)
    train, val = raw(c.train), raw(c.val)
    pieces = [val[i:i + 128] for i in range(0, len(val) - 128, len(val) // 200)]  # a repeated notice or heading is fine
    assert len(pieces) >= 199 and sum(p in train for p in pieces) < 0.08 * len(pieces)
    assert not [i for i in range(0, len(val) - 2048, 2048) if val[i:i + 2048] in train]


def test_no_file_of_code_is_on_both_sides():
    lib, c = Path(sysconfig.get_paths()["stdlib"]), corpus("code")
    train, val = raw(c.train), raw(c.val)
    sides = {}
    for file in [*lib.glob("*.py"), *lib.glob("json/*.py"), *lib.glob("asyncio/*.py")]:
        text = file.read_bytes().replace(b"\r\n", b"\n")
        if len(text) > 200 and file.stem in sys.stdlib_module_names | {f.stem for f in lib.glob("*/*.py")}:
            sides[file.name] = text in train, text in val
    found = [s for s in sides.values() if any(s)]
    assert (True, True) not in found
    assert len(found) > 100 and 5 < sum(held_out for _, held_out in found) < 0.25 * len(found)


def test_the_same_bytes_in_another_process():
    code = "from course_lib.data import CORPORA, corpus; print(*(corpus(n).sha256 for n in CORPORA))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True,
                          cwd=Path(__file__).parent.parent, env={"PYTHONHASHSEED": "7"})
    assert done.stdout.split() == [corpus(n).sha256 for n in CORPORA]


def test_the_same_bytes_when_asked_again():
    first = corpus("arithmetic")
    corpus.cache_clear()
    again = corpus("arithmetic")
    assert again is not first and torch.equal(again.train, first.train) and torch.equal(again.val, first.val)


def test_arithmetic_is_right():
    lines = raw(corpus("arithmetic").train)[:2048].decode().splitlines()[:-1]  # the first block, but for its torn line
    assert len(lines) > 100 and {c for line in lines for c in line} <= set("0123456789+-*=")
    for line in lines:
        left, right = line.split("=")
        assert eval(left) == int(right)  # digits and one sign


@pytest.fixture
def library(monkeypatch, tmp_path):
    """Another standard library, in an empty folder; the corpora made from it are forgotten after."""
    real = sysconfig.get_paths()
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {**real, "stdlib": str(tmp_path)})
    corpus.cache_clear()
    yield tmp_path, Path(real["stdlib"])
    corpus.cache_clear()


def test_a_python_without_its_sources_is_told_so(library, monkeypatch):
    with pytest.raises(ValueError, match=f"'code' needs source code.*{library[0].name}.*python.org") as caught:
        corpus("code")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ValueError, match="'prose' needs Python's language reference.*came without it"):
        corpus("prose")


def test_line_ends_and_the_place_of_python_change_nothing(library):
    """A file keeps its side; Windows' line ends go; what is no part of the library stays out."""
    folder, real = library
    for name in ("argparse.py", "ast.py", "calendar.py", "json/decoder.py", "json/encoder.py", "heapq.py", "enum.py",
                 "bdb.py", "cmd.py", "copy.py", "csv.py", "dis.py", "glob.py", "gzip.py", "sched.py", "shlex.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(real / name, folder / name)
    plain = corpus("code")
    (folder / "not_of_python.py").write_text("x = 1\n" * 500)
    (folder / "test").mkdir()
    (folder / "test" / "test_ast.py").write_text("y = 2\n" * 500)
    for file in folder.glob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    corpus.cache_clear()
    assert corpus("code").sha256 == plain.sha256 and b"\r\n" not in raw(plain.train)
    (folder / "argparse.py").unlink()
    corpus.cache_clear()
    fewer = corpus("code")
    assert torch.equal(fewer.val, plain.val) != torch.equal(fewer.train, plain.train)  # only its own side changed


def test_an_unknown_corpus():
    with pytest.raises(ValueError, match="no corpus 'novels'.*prose, code, arithmetic, tables"):
        corpus("novels")


# Windows

def test_windows_are_the_bytes_before_each_place():
    text = torch.arange(50, dtype=torch.uint8)
    x, y = byte_windows(text, torch.tensor([8, 20, 49]))
    assert y.tolist() == [8, 20, 49] and x.dtype == y.dtype == torch.int64
    assert x.tolist() == [list(range(p - 8, p)) for p in (8, 20, 49)]
    x, y = byte_windows(text, torch.tensor([3]), window=2)
    assert (x.tolist(), y.tolist()) == ([[1, 2]], [3])
    assert byte_windows(text, torch.zeros(0, dtype=torch.int64))[0].shape == (0, 8)


@pytest.mark.parametrize("place", [7, 50, -1])
def test_a_window_outside_the_text(place):
    with pytest.raises(ValueError, match="from 8 to 49.*8 bytes before"):
        byte_windows(torch.arange(50, dtype=torch.uint8), torch.tensor([20, place]))


# Latent regimes

def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_regimes_same_seed_same_rules():
    one, same, other = LatentRegimes(3), LatentRegimes(3), LatentRegimes(4)
    assert all(torch.equal(a, b) for a, b in zip(one.sample(50, rng()), same.sample(50, rng())))
    assert not torch.allclose(one.rules, other.rules) and not torch.allclose(one.places, other.places)
    before = torch.get_rng_state()
    assert not torch.equal(one.sample(50, rng(1))[0], one.sample(50, rng(2))[0])
    assert torch.equal(before, torch.get_rng_state())


def test_regimes_have_equal_shares_and_the_stated_rule():
    task = LatentRegimes(0, n_regimes=5, d_model=16, offset=2.0)
    x, y, regime = task.sample(5000, rng())
    assert x.shape == y.shape == (5000, 16) and x.dtype == y.dtype == torch.float32 and regime.dtype == torch.int64
    shares = torch.bincount(regime, minlength=5) / 5000
    assert len(shares) == 5 and (shares - 0.2).abs().max() < 0.03
    for r in range(5):
        mine = regime == r
        assert torch.allclose(y[mine], torch.tanh((x[mine] - 2) @ task.rules[r].T), atol=1e-5)
        assert (x[mine].mean(0) - task.places[r] - 2).abs().max() < 0.1
        assert (x[mine].std(0) - 0.5).abs().max() < 0.06


def test_the_answer_depends_on_the_regime():
    task = LatentRegimes()
    x, y, regime = task.sample(400, rng())
    others = torch.tanh(torch.einsum("nij,nj->ni", task.rules[(regime + 1) % 8], x - 1))
    assert (others - y).square().mean() > y.var()


@pytest.mark.parametrize("sizes, words", [({"n_regimes": 0}, "n_regimes is 0"), ({"d_model": 2.0}, "d_model is 2.0")])
def test_regimes_of_no_size(sizes, words):
    with pytest.raises(ValueError, match=words):
        LatentRegimes(**sizes)
