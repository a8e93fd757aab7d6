"""MultiExitCNN: exits agree, an early exit really saves its blocks, and every head that was tried is counted."""

import pytest
import torch

from course_lib.counters import count, count_flops
from course_lib.models import MultiExitCNN

IMAGE = 64  # pixels, each of which a filter visits


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return MultiExitCNN(channels=8, n_blocks=3).eval()


@pytest.fixture
def x():
    return torch.randn(5, IMAGE, generator=torch.Generator().manual_seed(0))


def by_hand(channels, blocks, classes=10):
    """FLOPs of one image cut at a depth: 3 x 3 filters at 64 pixels, and one head."""
    return 2 * (9 * IMAGE * channels + blocks * 9 * IMAGE * channels**2 + channels * classes)


def test_shapes(net, x):
    assert net(x).shape == (5, 10)
    assert net.every_exit(x).shape == (4, 5, 10)
    assert [tuple(s.shape) for s in net.states(x)] == [(5, 8, 8, 8)] * 4
    assert MultiExitCNN(4, 2, n_classes=3).every_exit(x).shape == (3, 5, 3)


def test_every_exit_is_the_network_cut_there(net, x):
    together = net.every_exit(x)
    for n in range(4):
        torch.testing.assert_close(net(x, exit=n), together[n])
    torch.testing.assert_close(net(x), together[-1])
    assert not torch.allclose(together[1], together[2], atol=1e-3)


def test_an_image_does_not_depend_on_its_neighbours(net, x):
    torch.testing.assert_close(net(x[2:3]), net(x)[2:3], rtol=1e-4, atol=1e-5)


def test_the_parameters_of_the_lesson_s_network():
    c = 24
    assert count(MultiExitCNN(), torch.zeros(1, IMAGE)).parameters == (
        (9 * c + c) + 6 * (9 * c * c + c + 2 * c) + 7 * (10 * c + 10))


@pytest.mark.parametrize("channels, blocks", [(8, 3), (24, 6)])
def test_flops_of_each_exit_are_exact_and_rise(channels, blocks):
    net = MultiExitCNN(channels, blocks)
    counted = [count(net, torch.zeros(1, IMAGE), n).flops for n in range(blocks + 1)]
    assert counted == [by_hand(channels, n) for n in range(blocks + 1)]
    assert counted == sorted(set(counted))
    heads = blocks * 2 * channels * 10  # one is in the cut network already
    assert count_flops(net.every_exit, torch.zeros(1, IMAGE)) == counted[-1] + heads


def test_whoever_stops_asking_has_stopped_the_network(net, x):
    ran = []
    hooks = [b.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, b in enumerate(net.blocks, start=1)]

    def two_blocks():
        for n, state in enumerate(net.states(x[:1])):
            net.read(n, state)
            if n == 2:
                return

    try:
        flops = count_flops(two_blocks)
        net(x, exit=1)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [1, 2, 1]
    assert flops == by_hand(8, 2) + 2 * 2 * 8 * 10  # blocks up to there, and all three heads that were tried


def test_a_deep_exit_teaches_the_blocks_before_it_and_no_other_head(x):
    net = MultiExitCNN(8, 3)
    net(x, exit=2).sum().backward()
    assert all(p.grad is not None for p in net.blocks[:2].parameters())
    assert all(p.grad is None for p in net.blocks[2].parameters())
    assert [h.weight.grad is not None for h in net.heads] == [False, False, True, False]


@pytest.mark.parametrize("shape", [(5, 63), (64,), (5, 8, 8)])
def test_images_of_another_shape(net, shape):
    with pytest.raises(ValueError, match=r"\[batch, 64\]"):
        net(torch.zeros(*shape))


@pytest.mark.parametrize("exit", [-1, 4])
def test_an_exit_that_there_is_not(net, x, exit):
    with pytest.raises(ValueError, match=f"exit is {exit}; choose 0 to 3"):
        net(x, exit=exit)


@pytest.mark.parametrize("kwargs", [{"channels": 0}, {"n_blocks": 1.5}, {"n_classes": True}])
def test_sizes_out_of_range(kwargs):
    with pytest.raises(ValueError, match=f"{next(iter(kwargs))} is"):
        MultiExitCNN(**kwargs)
