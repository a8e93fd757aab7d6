"""The training loop: it learns, repeats, stops early, and leaves the notebook's random state alone."""

import pytest
import torch
from torch import nn

from course_lib.data import Split, digits
from course_lib.models import DigitsMLP
from course_lib.training import accuracy, train


@pytest.fixture(scope="module")
def data():
    return digits()


def fit(data, seed=0, model=None, **kwargs):
    torch.manual_seed(seed)
    model = model or DigitsMLP()
    kwargs = {"epochs": 20, "seed": seed, "progress": False, **kwargs}
    return model, train(model, data.train, data.val, **kwargs)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a second thread gains nothing on small products
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("seed", range(5))
def test_digits_are_learnt(seed):
    data = digits(seed)
    model, history = fit(data, seed)
    assert accuracy(model, data.test) >= 0.95
    assert history.loss[-1] < history.loss[0] / 5 and len(history.loss) == len(history.accuracy) == 20
    assert (history.epochs, history.steps, history.examples_seen) == (20, 20 * 34, 20 * 1077)
    assert history.reached is None and not model.training


def test_same_seed_same_history_other_seed_another(data):
    (a, first), (b, second), (_, other) = (fit(data, s, epochs=3) for s in (0, 0, 1))
    assert first == second != other
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


@pytest.mark.slow
def test_two_threads_agree_to_a_whole_point(data):
    _, one = fit(data, epochs=3)
    torch.set_num_threads(2)
    _, two = fit(data, epochs=3)
    assert one.accuracy == pytest.approx(two.accuracy, abs=0.01)


def test_random_state_is_left_alone_and_dropout_follows_the_seed(data):
    def net():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    histories = []
    for outside in (10, 20):
        model = net()
        torch.manual_seed(outside)
        before = torch.get_rng_state()
        histories.append(train(model, data.train, data.val, epochs=2, seed=5, progress=False))
        assert torch.equal(before, torch.get_rng_state())
    assert histories[0] == histories[1]


def test_stops_at_the_target(data):
    model, history = fit(data, target_accuracy=0.9)
    assert history.reached and history.epochs < 20
    assert history.accuracy[-1] >= 0.9 > max(history.accuracy[:-1])
    assert accuracy(model, data.val) == history.accuracy[-1]
    assert fit(data, epochs=1, target_accuracy=1.0)[1].reached is False


def test_patience_stops_and_goes_back_to_the_best_epoch(data):
    model, history = fit(data, epochs=60, patience=3, lr=0.03)
    best = max(history.accuracy)
    assert history.epochs < 60 and history.accuracy.index(best) == history.epochs - 4
    assert accuracy(model, data.val) == best


def test_frozen_parameters_stay(data):
    model = DigitsMLP()
    model.layers[0].requires_grad_(False)
    frozen = model.layers[0].weight.clone()
    fit(data, model=model, epochs=1)
    assert torch.equal(model.layers[0].weight, frozen)


def test_accuracy_counts_right_answers_and_keeps_the_mode(data):
    class Zero(nn.Module):
        def forward(self, x):
            return torch.eye(10)[torch.zeros(len(x), dtype=torch.int64)]
    model = Zero().train()
    assert accuracy(model, data.test, batch_size=7) == (data.test.y == 0).double().mean().item()
    assert model.training


def test_progress_is_plain_text_and_can_be_silenced(data, capsys, monkeypatch):
    monkeypatch.delenv("COURSE_QUIET", raising=False)
    fit(data, epochs=1, progress=True)
    said = capsys.readouterr()
    assert "epoch" in said.out and said.err == ""  # stderr would be a red box in the notebook
    monkeypatch.setenv("COURSE_QUIET", "1")
    fit(data, epochs=1, progress=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kwargs, words", [
    ({"epochs": 0}, "epochs is 0"), ({"batch_size": 2.5}, "batch_size is 2.5"), ({"lr": -1}, "lr is -1"),
    ({"lr": float("nan")}, "lr is nan"), ({"target_accuracy": 95}, "target_accuracy is 95.*0.95"),
    ({"patience": 0}, "patience is 0")])
def test_bad_settings(data, kwargs, words):
    with pytest.raises(ValueError, match=words):
        fit(data, **kwargs)


def test_bad_data_and_models(data):
    with pytest.raises(ValueError, match="0 examples"):
        accuracy(DigitsMLP(), Split(torch.zeros(0, 64), torch.zeros(0)))
    with pytest.raises(ValueError, match="requires_grad"):
        fit(data, model=DigitsMLP().requires_grad_(False))
    broken = Split(torch.full((40, 64), float("nan")), torch.zeros(40, dtype=torch.int64))
    with pytest.raises(ValueError, match="loss became nan in epoch 1"):
        train(DigitsMLP(), broken, data.val, progress=False)
