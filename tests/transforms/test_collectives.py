"""`pmean` and `psum` over a named axis of `vmap`, against the same formula on the whole batch."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import ShapeError, TraceError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads
from fdezero.transforms.collectives import axis_size

X = np.random.default_rng(0).standard_normal((4, 3))
W = np.random.default_rng(1).standard_normal((3, 2))


def example(W: Any, x: Any) -> Any:
    """One row of `whole`, which sees its batch through the mean and the sum of squares."""
    h = fd.numpy.tanh(x @ W)
    h = h - fd.pmean(h, "batch")
    return h / (0.1 + fd.psum(h**2, axis_name="batch"))


def whole(W: Any, X: Any) -> Any:
    h = np.tanh(X @ W)
    h = h - h.mean(axis=0)
    return h / (0.1 + (h**2).sum(axis=0))


def mapped(W: Any, X: Any) -> Any:
    return fd.vmap(example, (None, 0), axis_name="batch")(W, X)


def test_values_and_gradients_are_those_of_the_whole_batch() -> None:
    assert_trees_close(mapped(W, X), whole(W, X), 1e-14)
    check_grads(mapped, (W, X), order=2)
    weights = np.cos(np.arange(8.0)).reshape(4, 2)
    for transform in (lambda f: f, fd.compile):
        ours, theirs = (transform(fd.grad(lambda W, X, f=f: (f(W, X) * weights).sum(), (0, 1)))(W, X) for f in (mapped, whole))
        assert_trees_close(ours, theirs, 1e-13)
    assert_trees_close(*[fd.hessian(lambda x, f=f: f(W, x).sum() ** 2)(X) for f in (mapped, whole)], 1e-11)


def test_a_gradient_within_the_batch_is_that_of_the_sum_over_the_batch() -> None:
    """As for the copies of one parameter on several devices: every example gets what all losses together say."""

    def loss(x: Any) -> Any:
        return (x**2).sum() * fd.pmean(x[0], "batch") + fd.psum(x[1] ** 3, "batch")

    def total(X: Any) -> Any:
        return ((X**2).sum(axis=1) * X[:, 0].mean() + (X[:, 1] ** 3).sum()).sum()

    for transform in (lambda f: f, fd.compile):
        inner = transform(fd.vmap(fd.grad(loss), axis_name="batch"))
        for _ in range(2):
            assert_trees_close(inner(X), fd.grad(total)(X), 1e-13)
    moved = fd.vmap(lambda x, t: fd.jvp(loss, (x,), (t,))[1], axis_name="batch")(X, np.sin(X))
    assert_trees_close(moved.sum(), fd.jvp(total, (X,), (np.sin(X),))[1], 1e-13)
    second = fd.vmap(lambda x: fd.grad(lambda x: fd.grad(loss)(x).sum())(x), axis_name="batch")(X)
    assert_trees_close(second, fd.grad(lambda X: fd.grad(total)(X).sum())(X), 1e-12)


def test_a_mean_that_all_examples_share_has_no_batch_axis() -> None:
    y, mean = fd.vmap(lambda x: (x - fd.pmean(x, "batch"), fd.pmean({"x": x}, "batch")), out_axes=(0, None), axis_name="batch")(X)
    assert_trees_close((y, mean), (X - X.mean(0), {"x": X.mean(0)}), 1e-15)


def test_the_size_of_an_axis_is_a_plain_number() -> None:
    sizes: list[Any] = []
    fd.vmap(fd.vmap(lambda x: sizes.extend(axis_size(x, name) for name in "ab") or x, axis_name="b"), axis_name="a")(X)
    assert sizes == [4, 3]


@pytest.mark.parametrize("name", ["a", "b"])
def test_nested_axes_are_found_by_name(name: str) -> None:
    def f(x: Any, w: Any) -> Any:
        return x - fd.pmean(x * w, name) ** 2

    A = np.random.default_rng(2).standard_normal((3, 4, 2))
    ours = fd.vmap(fd.vmap(f, (0, None), axis_name="b"), axis_name="a")(A, A[:, 0])
    assert_trees_close(ours, A - (A * A[:, :1]).mean(axis="ab".index(name), keepdims=True) ** 2, 1e-14)
    same = fd.vmap(fd.vmap(lambda x: fd.pmean(x, "b"), axis_name="b"), axis_name="b")(A)  # the inner one hides the outer one
    assert_trees_close(same, np.broadcast_to(A.mean(axis=1, keepdims=True), A.shape), 1e-15)


def test_loops_and_integers() -> None:
    def f(x: Any) -> Any:
        return fd.scan(lambda c, x: (c + fd.pmean(x, "batch"), c - x), 0.0, x)

    total, _ = fd.vmap(f, axis_name="batch")(X)
    assert_trees_close(total, np.full(4, X.mean(0).sum()), 1e-15)
    assert_trees_equal(fd.vmap(lambda i: fd.pmean(i, "n"), out_axes=None, axis_name="n")(np.arange(4)), 1.5)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: fd.vmap(lambda x: fd.pmean(x, "batsh"), axis_name="batch")(x), "pmean over 'batsh'.*mapped over 'batch'"),
        (lambda x: fd.vmap(lambda x: fd.psum(x, "batch"))(x), r'psum over \'batch\'.*fd\.vmap\(f, axis_name="batch"\)'),
        (lambda x: fd.pmean(x, "batch"), r"the value float64\[4,3\] is not mapped"),
        (lambda x: fd.vmap(lambda _: fd.pmean(W, "batch"), axis_name="batch")(x), "not mapped over an axis of this name"),
        (lambda x: fd.vmap(fd.compile(lambda x: fd.pmean(x, "batch")), axis_name="batch")(x), r"put fd\.vmap inside"),
        (lambda x: fd.vmap(fd.checkpoint(lambda x: fd.pmean(x, "batch")), axis_name="batch")(x), r"put fd\.vmap inside"),
    ],
)
def test_unknown_names_are_errors(function: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        function(X)


def test_statistics_of_a_batch_leave_a_vmap_over_examples() -> None:
    class Center(nn.Stateful):
        mean: Any = nn.statistic()

        def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
            if not train:
                return x - self.mean, self
            mean = fd.pmean(x, "batch")
            return x - mean, self.replace(mean=0.5 * self.mean + 0.5 * mean)

    class Model(fd.Module):
        norm: Center

        def __call__(self, x: Any, *, train: bool = False) -> Any:
            return fd.vmap(lambda x: self.norm(x, train=train), axis_name="batch")(x)

    def outside(model: Center, x: Any) -> Any:
        return fd.vmap(lambda x: nn.step(model, x), out_axes=(0, None), axis_name="batch")(x)

    norm = Center(np.zeros(3))
    expected = X - X.mean(0), 0.5 * X.mean(0)
    for transform in (lambda f: f, fd.compile):
        y, successor = transform(lambda model, x: nn.step(model, x))(Model(norm), X)
        assert_trees_close((y, successor.norm.mean), expected, 1e-14)
        y, after = transform(outside)(norm, X)
        assert_trees_close((y, after.mean), expected, 1e-14)
    with pytest.raises(ShapeError, match="out_axes is None"):
        fd.vmap(lambda x: x - fd.pmean(x, "batch"), out_axes=None, axis_name="batch")(X)
