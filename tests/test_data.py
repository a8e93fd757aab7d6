"""Digits, corpora and latent regimes: sizes, shares, ranges, and the same split every time, everywhere."""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from course_lib.data import CORPORA, SHIFTS, LatentRegimes, Split, byte_windows, corpus, digits, few, shifted


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


@pytest.mark.slow
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


# Damaged scanners

each_shift = pytest.mark.parametrize("shift", ["backlit", "cropped", "faded", "rotated"])


def one_image():
    """Each pixel tells its row and column: 0.00, 0.01, ... 0.07, 0.10, ... 0.77."""
    return torch.tensor([[row / 10 + column / 100 for column in range(8)] for row in range(8)])


def through(shift, image):
    return shifted(Split(image.reshape(1, 64), torch.tensor([4])), shift).x.view(8, 8)


@pytest.mark.parametrize("shift, pixel", [
    ("backlit", lambda row, column: min(row / 10 + column / 100 + column / 7, 1)),  # the shadow deepens to the right
    ("cropped", lambda row, column: row / 10 + column / 100 if row < 5 else 0),  # the last three rows are paper
    ("faded", lambda row, column: 0.4 + 0.3 * (row / 10 + column / 100)),
    ("rotated", lambda row, column: column / 10 + (7 - row) / 100),  # the last column becomes the first row
])
def test_pixels_of_each_shift_by_hand(shift, pixel):
    expected = torch.tensor([[pixel(row, column) for column in range(8)] for row in range(8)])
    assert torch.allclose(through(shift, one_image()), expected, atol=1e-6)


def test_the_list_of_shifts():
    assert sorted(SHIFTS) == ["backlit", "cropped", "faded", "rotated"]


def test_four_quarter_turns_are_none():
    turned = image = one_image()
    for turn in range(4):
        turned = through("rotated", turned)
        assert torch.equal(turned, image) == (turn == 3)


def test_ink_and_paper():
    paper, ink = torch.zeros(8, 8), torch.ones(8, 8)
    assert through("backlit", paper)[3].tolist() == pytest.approx([column / 7 for column in range(8)])
    assert torch.equal(through("backlit", ink), ink)
    assert through("cropped", ink).sum() == 40 and torch.equal(through("cropped", paper), paper)
    assert through("faded", paper).unique().item() == pytest.approx(0.4)
    assert through("faded", ink).unique().item() == pytest.approx(0.7)


@each_shift
def test_a_shift_keeps_labels_sizes_and_range_and_leaves_the_input_alone(data, shift):
    x, y = data.val.x.clone(), data.val.y.clone()
    random = torch.get_rng_state()
    seen = shifted(data.val, shift)
    assert seen.x.shape == x.shape and seen.x.dtype == torch.float32 and torch.equal(seen.y, y)
    assert 0 <= seen.x.min() and seen.x.max() <= 1 and not torch.equal(seen.x, x)
    seen.x.add_(1)  # not even through the result
    assert torch.equal(data.val.x, x) and torch.equal(data.val.y, y) and torch.equal(torch.get_rng_state(), random)
    again = shifted(data.val, shift)
    assert torch.equal(again.x + 1, seen.x)


@each_shift
def test_a_shift_treats_each_image_by_itself(data, shift):
    seen = shifted(data.val, shift)
    for row in (0, 7, 359):
        assert torch.equal(shifted(Split(data.val.x[row:row + 1], data.val.y[row:row + 1]), shift).x[0], seen.x[row])
    assert shifted(Split(data.val.x[:0], data.val.y[:0]), shift).x.shape == (0, 64)
    strided = torch.stack([data.val.x, data.val.x], -1)[..., 0]  # every second number of a larger tensor
    assert torch.equal(shifted(Split(strided, data.val.y), shift).x, seen.x)


@pytest.mark.parametrize("shift", ["blurred", "", None, "Rotated"])
def test_an_unknown_shift_lists_the_known(data, shift):
    with pytest.raises(ValueError, match=f"no shift {shift!r}; choose from backlit, cropped, faded, rotated$"):
        shifted(data.val, shift)


@pytest.mark.parametrize("shape", [(5, 63), (5, 8, 8), (5,), (5, 1, 64)])
def test_a_shift_of_what_is_no_image(shape):
    with pytest.raises(ValueError, match=r"the split has shape \[5.*8 x 8 pixels"):
        shifted(Split(torch.zeros(shape), torch.zeros(5, dtype=torch.int64)), "faded")


# A few examples

@pytest.mark.parametrize("n", [10, 11, 25, 100, 999])
@pytest.mark.parametrize("seed", [0, 1])
def test_few_examples_in_equal_shares(data, n, seed):
    some = few(data.train, n, seed)
    shares = torch.bincount(some.y, minlength=10)
    assert len(some) == n and shares.max() - shares.min() <= 1 and (n % 10 or shares.unique().tolist() == [n // 10])
    assert (some.x.dtype, some.y.dtype, some.x.shape) == (torch.float32, torch.int64, (n, 64))


def test_few_examples_are_of_the_split_with_their_labels_and_none_twice():
    marked = Split(torch.arange(60.0)[:, None].expand(60, 3), torch.arange(60) % 4)
    for n in (4, 17, 60):
        rows = few(marked, n).x[:, 0].long()
        assert rows.unique().numel() == n and torch.equal(few(marked, n).y, rows % 4)


def test_fewer_examples_are_the_first_of_more(data):
    most = few(data.train, 1000, 3)
    for n in (10, 13, 50, 200, 999):
        some = few(data.train, n, 3)
        assert torch.equal(some.x, most.x[:n]) and torch.equal(some.y, most.y[:n])


def test_few_examples_depend_on_the_seed_alone(data):
    x, random = data.train.x.clone(), torch.get_rng_state()
    one, same, other = few(data.train, 50), few(data.train, 50, 0), few(data.train, 50, 1)
    assert torch.equal(one.x, same.x) and torch.equal(one.y, same.y) and not torch.equal(one.x, other.x)
    one.x.zero_()
    assert torch.equal(data.train.x, x) and torch.equal(torch.get_rng_state(), random)
    firsts = {tuple(few(data.train, 10, seed).x[0].tolist()) for seed in range(20)}
    assert len(firsts) > 15  # drawn at random, not the first ones of the split


def test_few_of_classes_that_are_not_alike_many():
    rare = Split(torch.arange(20.0)[:, None], torch.tensor([7] * 3 + [2] * 17))
    assert few(rare, 6).y.bincount().tolist() == [0, 0, 3, 0, 0, 0, 0, 3]
    with pytest.raises(ValueError, match="n=7 examples in equal shares cannot be had; this split gives at most 6"):
        few(rare, 7)


@pytest.mark.parametrize("n, words", [
    (0, "n is 0"), (-5, "n is -5"), (10.0, "n is 10.0"), (True, "n is True"), (None, "n is None"),
    (9, "n=9 examples cannot show 10 classes; give at least 10"), (1078, "n=1078 .* at most 10[0-9]0")])
def test_few_of_a_number_that_cannot_be(data, n, words):
    with pytest.raises(ValueError, match=words) as caught:
        few(data.train, n)
    assert "\n" not in str(caught.value)


def test_few_of_an_empty_split():
    with pytest.raises(ValueError, match="at most 0"):
        few(Split(torch.zeros(0, 64), torch.zeros(0, dtype=torch.int64)), 1)
