"""DigitsMLP: shapes, sizes, and sentences for bad input."""

from itertools import pairwise

import pytest
import torch

from course_lib.models import DigitsMLP


@pytest.mark.parametrize("hidden", [(), (64,), [32, 16]])
def test_shape_and_parameter_count(hidden):
    model, sizes = DigitsMLP(hidden), (64, *hidden, 10)
    assert model(torch.zeros(5, 64)).shape == (5, 10)
    assert sum(p.numel() for p in model.parameters()) == sum(a * b + b for a, b in pairwise(sizes))


def test_other_sizes():
    assert DigitsMLP((4,), d_in=3, n_classes=2)(torch.zeros(2, 5, 3)).shape == (2, 5, 2)


def test_relu_stands_between_the_layers():
    model = DigitsMLP((8,))
    x = torch.randn(4, 64)
    assert not torch.allclose(model(x) + model(-x), 2 * model(0 * x), atol=1e-3)  # true of a linear map
    assert torch.allclose((linear := DigitsMLP(()))(x) + linear(-x), 2 * linear(0 * x), atol=1e-5)


@pytest.mark.parametrize("kwargs, error, words", [
    ({"hidden": (64, 0)}, ValueError, "hidden size is 0"), ({"hidden": (1.5,)}, ValueError, "1.5"),
    ({"hidden": 64}, TypeError, r"hidden is 64.*\(64,\)"), ({"hidden": "64"}, TypeError, "'64'"),
    ({"d_in": -1}, ValueError, "d_in is -1"), ({"n_classes": True}, ValueError, "n_classes is True")])
def test_bad_sizes(kwargs, error, words):
    with pytest.raises(error, match=words):
        DigitsMLP(**kwargs)


def test_bad_input_shape():
    with pytest.raises(ValueError, match=r"\[2, 8, 8\].*reads 64.*reshape"):
        DigitsMLP()(torch.zeros(2, 8, 8))
