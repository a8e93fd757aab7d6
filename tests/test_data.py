"""The digits: sizes, shares, ranges, and the same split every time."""

import pytest
import torch

from course_lib.data import Split, digits


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
