"""The gradient of a value that is read piece by piece: right, the same compiled, and in one array however many pieces there are."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import fdezero as fd
from fdezero.testing import assert_trees_equal

N, M = 6, 4
Read = Callable[[Any], Any]
AXES = {
    "rows": lambda k: lambda x: x[k % N],
    "negative rows": lambda k: lambda x: x[-1 - k % N],
    "columns": lambda k: lambda x: x[:, k % M],
    "entries": lambda k: lambda x: x[k % N, k % M],
    "windows": lambda k: lambda x: x[k % N : k % N + 3],
    "strides": lambda k: lambda x: x[k % 3 :: 2, :: -1 - k % 2],
    "new axes": lambda k: lambda x: x[None, k % N, ..., None],
    "all": lambda k: lambda x: x[...],
    "rows of the transpose": lambda k: lambda x: x.T[k % M],
    "slices of moved axes": lambda k: lambda x: np.moveaxis(x, 0, 1)[k % 2 :, k % N],
    "entries of a line": lambda k: lambda x: x.reshape(-1)[k % 20 : k % 20 + 4],
    "lines of a turned array": lambda k: lambda x: x.T.reshape(3, 8)[k % 3],
    "rows of a part, in another shape": lambda k: lambda x: x[1:].reshape(5, 2, 2)[k % 5, 1],
    "slices of slices": lambda k: lambda x: x[1:][:, k % 3 :][k % 5],
    "integers": lambda k: lambda x: x[np.array([k % N, 0, k % N])],
    "integers along two axes": lambda k: lambda x: x[np.array([[k % N], [1]]), np.array([k % M, 2])],
    "integers and a slice": lambda k: lambda x: x[1:, np.array([k % M, -1], np.int8)],
    "integers of the transpose": lambda k: lambda x: x.T[np.array([k % M, 0])][:, 1:],
    "integers of a row": lambda k: lambda x: x[k % N][np.array([0, 2, 2])],
    "masks": lambda k: lambda x: x[np.arange(N) % (2 + k % 3) == 0],
    "take": lambda k: lambda x: np.take(x, [k % M, 0], axis=1),
    "take one": lambda k: lambda x: np.take(x, k % N, axis=0),
    "parts of a split": lambda k: lambda x: np.split(x, 3)[k % 3],
    "diagonals": lambda k: lambda x: np.diagonal(x, k % 3),
    "an update": lambda k: lambda x: fd.at(x)[k % N].multiply(1.5)[k % N],
}  # fmt: skip
READS = st.tuples(st.sampled_from(sorted(AXES)), st.integers(0, 11))


def total_of(reads: list[tuple[str, int]], wholes: list[int]) -> Callable[[Any], Any]:
    """A sum that reads x in pieces and, before the reads with these numbers, as a whole."""

    def f(x: Any) -> Any:
        y = 0.0
        for i, (name, k) in enumerate(reads):
            if i in wholes:
                y = y + np.sum(np.cos(x)) * (i + 1)
            y = y + np.sum(np.sin(AXES[name](k)(x) * (0.5 + i)))
        return y

    return f


def dense(x: Any, reads: list[tuple[str, int]], wholes: list[int]) -> Any:
    """The gradient of that sum. Reading numbers in place of entries tells which entries a read takes."""
    gradient = np.zeros(x.shape)
    numbers = np.arange(x.size).reshape(x.shape)
    for i, (name, k) in enumerate(reads):
        if i in wholes:
            gradient -= np.sin(x) * (i + 1)
        read = AXES[name](k)
        scale = (1.5 if name == "an update" else 1.0) * (0.5 + i)
        places = np.asarray(numbers[k % N] if name == "an update" else read(numbers))
        np.add.at(gradient.reshape(-1), places.reshape(-1), (np.cos(x.reshape(-1)[places] * scale) * scale).reshape(-1))
    return gradient


@given(
    st.lists(READS, min_size=1, max_size=9),
    st.lists(st.integers(0, 8), max_size=3),
    st.sampled_from("CF"),
    st.integers(0, 99),
)
def test_pieces_have_the_gradient_of_whole_arrays(reads: Any, wholes: Any, order: Any, seed: int) -> None:
    x = np.asarray(np.random.default_rng(seed).standard_normal((N, M)), order=order)
    f = total_of(reads, wholes)
    gradient = fd.grad(f)
    found = gradient(x)
    np.testing.assert_allclose(found, dense(x, reads, wholes), rtol=1e-12, atol=1e-12)
    batch = np.stack([x, -x, x[::-1]])
    mapped = fd.vmap(gradient)(batch)
    np.testing.assert_allclose(mapped, np.stack([gradient(row) for row in batch]), rtol=1e-12, atol=1e-12)
    output, pullback = fd.vjp(lambda batch: fd.vmap(f)(batch), batch)
    np.testing.assert_allclose(pullback(np.ones_like(output))[0], mapped, rtol=1e-12, atol=1e-12)
    if seed % 5 == 0:
        compiled = fd.compile(gradient)
        assert all(compiled(x).tobytes() == found.tobytes() for _ in range(2))
        note(compiled.source)
        direction = np.cos(x)
        forward = fd.jvp(gradient, (x,), (direction,))[1]
        backward = fd.grad(lambda x: np.sum(gradient(x) * direction))
        np.testing.assert_allclose(backward(x), forward, rtol=1e-11, atol=1e-11)
        compiled = fd.compile(backward)
        assert all(compiled(x).tobytes() == backward(x).tobytes() for _ in range(2))


@pytest.mark.parametrize("name", sorted(AXES))
def test_pieces_on_a_gpu(name: str, gpu: Any) -> None:
    x = np.random.default_rng(0).standard_normal((N, M))
    reads, wholes = [(name, k) for k in range(5)], [2]
    found = gpu.asnumpy(fd.grad(total_of(reads, wholes))(gpu.asarray(x)))
    np.testing.assert_allclose(found, dense(x, reads, wholes), rtol=1e-12, atol=1e-12)


ZEROS: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "one piece keeps the sign of its zeros": (lambda x: np.sum(x[:1] * -0.0), [-0.0, 0.0, 0.0]),
    "a sum of pieces starts from zero": (lambda x: np.sum(x[:2] * -0.0) + np.sum(x[:2] * -0.0), [0.0, 0.0, 0.0]),
    "pieces apart": (lambda x: np.sum(x[:1] * -0.0) + np.sum(x[1:2] * -0.0), [0.0, 0.0, 0.0]),
    "a piece and the whole": (lambda x: np.sum(x[:1] * -0.0) + np.sum(x * -0.0), [-0.0, 0.0, 0.0]),
    "NaN stays where it is": (lambda x: np.sum(x[:2] * np.nan) + np.sum(x[1:]), [np.nan, np.nan, 1.0]),
    "infinities": (lambda x: np.sum(x[:2] * np.inf) + np.sum(x[1:] * -np.inf), [np.inf, np.nan, -np.inf]),
}


@pytest.mark.parametrize(("f", "expected"), ZEROS.values(), ids=ZEROS.keys())
def test_zeros_and_nan(f: Any, expected: Any) -> None:
    x = np.array([1.0, 2.0, 3.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = fd.grad(f)(x)
        compiled = fd.compile(fd.grad(f))
        assert all(compiled(x).tobytes() == found.tobytes() for _ in range(2))
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(found)
    assert (np.signbit(found) == np.signbit(expected))[numbers].all()


class Counted(np.ndarray):
    """An array that counts the entries of all arrays made from it, views left out."""

    entries = 0

    def __array_finalize__(self, source: Any) -> None:
        if self.base is None:
            Counted.entries += self.size


def cost(function: Callable[[Any], Any], x: Any) -> int:
    """The entries of the arrays that a call makes."""
    x = x.view(Counted)
    Counted.entries = 0
    function(x)
    return Counted.entries


LENGTHS = (12, 48)
# The T-th part of a value with T parts, read in a loop.
PARTS: dict[str, Callable[[Any, int], Any]] = {
    "rows": lambda x, k: x[k],
    "negative": lambda x, k: x[-1 - k],
    "columns": lambda x, k: np.swapaxes(x, 0, 1)[:, k],
    "moved": lambda x, k: np.moveaxis(x, 0, 1)[:, k],
    "turned twice": lambda x, k: x.T.T[k],
    "windows": lambda x, k: x[k : k + 3],
    "strided": lambda x, k: x[k::LENGTHS[-1]],
    "of a part": lambda x, k: x[:][k:][:1],
    "as a line": lambda x, k: x.reshape(-1)[4 * k : 4 * k + 4],
    "integers": lambda x, k: x[np.array([k, 0])],
    "integers of a part": lambda x, k: x[:, 1:][np.array([k])],
    "integers as a line": lambda x, k: x.reshape(-1)[np.array([k, 0])],
    "integers along two axes": lambda x, k: x[k, np.array([1, 2])],
    "masks": lambda x, k: x[np.arange(len(x)) == k],
    "take": lambda x, k: np.take(x, k, axis=0),
    "take of columns": lambda x, k: np.take(x.T, [k], axis=1),
}  # fmt: skip


def looped(part: Callable[[Any, int], Any], T: int) -> Callable[[Any], Any]:
    return lambda x: sum(np.sum(np.sin(part(x, k)) * k) for k in range(T))


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_a_loop_over_parts_costs_as_much_as_the_array_is_long(part: Any) -> None:
    short, long = (cost(fd.grad(looped(part, T)), np.ones((T, 4))) for T in LENGTHS)
    assert long <= 5 * short  # 4 times the parts: whole arrays for each would cost 16 times as much


@pytest.mark.parametrize("name", ["rows", "moved", "windows", "integers", "of a part"])
def test_so_do_gradients_of_gradients_batches_and_programs(name: str) -> None:
    twice = [
        cost(fd.grad(lambda x, T=T: np.sum(fd.grad(looped(PARTS[name], T))(x) ** 2)), np.ones((T, 4))) for T in LENGTHS
    ]
    assert twice[1] <= 5 * twice[0]
    mapped = [cost(fd.vmap(fd.grad(looped(PARTS[name], T))), np.ones((2, T, 4))) for T in LENGTHS]
    assert mapped[1] <= 5 * mapped[0]
    graphs = [fd.compile(fd.grad(looped(PARTS[name], T))).trace(np.ones((T, 4))) for T in LENGTHS]
    short, long = (sum(v.size for i in graph.instructions if i.alias is None for v in i.outputs) for graph in graphs)
    assert long <= 5 * short


@pytest.mark.parametrize(
    "split", [lambda x: np.split(x, len(x)), list, lambda x: list(x.T.T)], ids=["split", "iteration", "turned"]
)
def test_parts_that_are_made_at_once(split: Any) -> None:
    short, long = (
        cost(fd.grad(lambda x: sum(np.sum(np.sin(row)) for row in split(x))), np.ones((T, 4))) for T in LENGTHS
    )
    assert long <= 5 * short


@pytest.mark.parametrize(
    "f",
    [
        lambda w: sum(np.sum(np.tanh(w * k)) for k in range(1, 6)),
        lambda w: sum(np.sum(np.tanh(w * k)) + np.sum(w[k] ** 2) for k in range(1, 6)),
    ],
    ids=["whole", "rows and whole"],
)
def test_sums_that_are_written_over_leave_other_arrays_alone(f: Any) -> None:
    w = np.linspace(-1, 1, 100 * 100).reshape(100, 100)  # large enough for sums in place
    _, pullback = fd.vjp(f, w)
    first = pullback(1.0)[0]
    kept = first.copy()
    assert_trees_equal(pullback(1.0)[0], kept, bits=True)
    assert_trees_equal(first, kept, bits=True)
    assert_trees_equal(fd.grad(f)(w), kept, bits=True)
    shared = fd.vjp(lambda w: (w, w + w), w)[1]
    t = np.ones_like(w)
    assert_trees_equal(shared((t, t)), (3 * t,))
    assert (t == 1).all()


def test_a_pullback_that_failed_starts_anew() -> None:
    broken = [True]

    def rule(_: Any, t: Any) -> Any:
        if broken[0]:
            raise ValueError("not yet")
        return (t,)

    odd = fd.custom_vjp(lambda x: x * 1.0)
    odd.defvjp(lambda x: (x * 1.0, None), rule)
    _, pullback = fd.vjp(lambda x: np.sum(odd(x[0])) + np.sum(x[1:] * 2) + np.sum(x), np.ones(3))
    with pytest.raises(ValueError, match="not yet"):
        pullback(1.0)
    broken[0] = False
    assert_trees_equal(pullback(1.0), (np.array([2.0, 3.0, 3.0]),))
