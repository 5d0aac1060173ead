"""Training on MNIST gives the losses of plain NumPy and PyTorch, and a resumed run equals an uninterrupted one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import DataLoader, mnist
from fdezero.testing import assert_trees_equal

STEPS, LR = 100, 0.1


@pytest.fixture(scope="module")
def data() -> Any:
    return mnist("train")


@pytest.fixture(scope="module")
def model() -> nn.MLP:
    return nn.MLP.init(fd.random.key(0), (784, 100, 10))


@pytest.fixture(scope="module")
def batches(data: Any) -> list[Any]:
    loader = DataLoader(data, 100, key=fd.random.key(1))
    return [batch for _, batch in zip(range(STEPS), loader.epoch(0), strict=False)]


@pytest.fixture(scope="module")
def losses(model: nn.MLP, batches: list[Any]) -> np.ndarray:
    opt = optim.sgd(LR)
    state, found = opt.init(model), []
    for x, t in batches:
        loss, gradient = fd.value_and_grad(lambda model, x, t: F.softmax_cross_entropy(model(x), t))(model, x, t)
        assert loss.dtype == np.float32
        model, state = opt.step(model, gradient, state)
        found.append(float(loss))
    assert {leaf.dtype for leaf in fd.tree.leaves(model)} == {np.dtype(np.float32)}
    return np.array(found)


def test_losses_are_those_of_plain_numpy(model: nn.MLP, batches: list[Any], losses: np.ndarray) -> None:
    W1, b1, W2, b2 = (leaf.astype(np.float64) for leaf in fd.tree.leaves(model))
    expected = []
    for x, t in batches:
        rows = np.arange(len(x))
        h = 1 / (1 + np.exp(-(x @ W1 + b1)))
        y = h @ W2 + b2
        y -= y.max(axis=1, keepdims=True)
        p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        expected.append(-np.log(p[rows, t]).mean())
        p[rows, t] -= 1
        dy = p / len(x)
        dh = dy @ W2.T * h * (1 - h)
        W2, b2 = W2 - LR * (h.T @ dy), b2 - LR * dy.sum(axis=0)
        W1, b1 = W1 - LR * (x.T @ dh), b1 - LR * dh.sum(axis=0)
    assert len(losses) == STEPS
    np.testing.assert_allclose(losses, expected, atol=1e-4)
    assert losses[-10:].mean() < 0.75 * losses[:10].mean()


def test_losses_are_those_of_pytorch(model: nn.MLP, batches: list[Any], losses: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    parameters = [torch.tensor(leaf, requires_grad=True) for leaf in fd.tree.leaves(model)]
    W1, b1, W2, b2 = parameters
    opt = torch.optim.SGD(parameters, lr=LR)
    expected = []
    for x, t in batches:
        y = torch.sigmoid(torch.tensor(x) @ W1 + b1) @ W2 + b2
        loss = torch.nn.functional.cross_entropy(y, torch.tensor(t.astype(np.int64)))
        opt.zero_grad()
        loss.backward()
        opt.step()
        expected.append(loss.item())
    np.testing.assert_allclose(losses, expected, atol=5e-5)


@pytest.mark.parametrize("stop", [(0, 5), (1, 0), (1, 7)], ids=["in the first epoch", "between epochs", "in the second epoch"])
def test_a_resumed_run_is_the_uninterrupted_one(stop: tuple[int, int], data: Any, tmp_path: Path) -> None:
    loader = DataLoader(fd.tree.map(lambda array: array[:1050], data), 100, key=fd.random.key(1))
    opt = optim.chain(optim.clip_by_global_norm(5.0), optim.adam(1e-3))
    dropout_key = fd.random.key(2)

    def loss_fn(model: nn.MLP, x: Any, t: Any, key: Any) -> Any:
        return F.softmax_cross_entropy(model(x, key=key, train=True), t)

    def train(model: nn.MLP, state: Any, start: tuple[int, int], end: tuple[int, int]) -> tuple[nn.MLP, Any]:
        for epoch in range(start[0], end[0] + 1):
            first = start[1] if epoch == start[0] else 0
            for step, (x, t) in enumerate(loader.epoch(epoch, start=first), start=first):
                if (epoch, step) == end:
                    return model, state
                key = fd.random.fold_in(dropout_key, epoch * len(loader) + step)
                gradient = fd.grad(loss_fn)(model, x, t, key)
                model, state = opt.step(model, gradient, state)
        return model, state

    def fresh(seed: int) -> tuple[nn.MLP, Any]:
        model = nn.MLP.init(fd.random.key(seed), (784, 20, 10), dropout=0.5)
        return model, opt.init(model)

    end = (2, 0)
    whole = train(*fresh(0), (0, 0), end)
    fd.save(tmp_path / "part.npz", train(*fresh(0), (0, 0), stop))
    resumed = fd.load(tmp_path / "part.npz", like=fresh(9))
    assert_trees_equal(train(*resumed, stop, end), whole)
    assert int(whole[1]["step"]) == 2 * len(loader) == 22
