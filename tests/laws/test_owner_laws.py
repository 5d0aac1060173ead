"""No write into an array that the library hands out, holds or takes in changes another result: it is refused, or harmless."""

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.core import owners
from fdezero.core.owners import SMALL
from fdezero.errors import ImmutableError

from ..profiles import NIGHTLY
from .cases import Case
from .coverage import CASES
from .owner_kinds import KINDS
from .owner_places import PLACES, expected
from .owner_writes import OF_A_FEW_ENTRIES, WAYS, writer

PART = 1 if NIGHTLY else 13  # of the ways, one in so many; the next kind begins with the next way
LARGE_KINDS = [kind for kind, make in KINDS.items() if make()[0].nbytes > SMALL]
NUMPY_WRITES_ANYWAY = "np.add.at"  # NumPy's ufunc.at does not look at the read-only flag, which is all that guards large arrays


def differs(place: str, kind: str, way: str) -> bool:
    """Whether the result of the place depends on the write."""
    try:
        found = fd.tree.leaves(PLACES[place](KINDS[kind], writer(way)))
    except ImmutableError:  # the derivative is refused
        return False
    wanted = fd.tree.leaves(expected(place, kind))
    return len(found) != len(wanted) or not all(
        np.shape(a) == np.shape(b) and np.array_equal(np.asarray(a), b, equal_nan=True)
        for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("place", PLACES)
def test_no_write_changes_another_result(place: str) -> None:
    wrong = []
    for number, kind in enumerate(KINDS):
        for way in itertools.islice(WAYS, number % PART, None, PART):
            if kind in LARGE_KINDS and way == NUMPY_WRITES_ANYWAY:
                continue
            if kind == "very large with an earlier view" and way in OF_A_FEW_ENTRIES:
                continue
            with np.errstate(all="ignore"):
                if differs(place, kind, way):
                    wrong.append((kind, way))
    assert not wrong


def test_the_law_can_fail() -> None:
    """A place that shares memory fails in every way that writes into a plain array."""

    def place(make: object, write: object) -> object:
        x = np.linspace(0.5, 1.5, 3)
        write([x])  # type: ignore[operator]
        return x

    wanted = place(None, lambda things: None)
    harmless = {way for way in WAYS if np.array_equal(place(None, writer(way)), wanted)}  # type: ignore[arg-type]
    assert harmless == {"resize"}  # which NumPy refuses while anything else refers to the array


def test_trees_from_a_file_share_nothing(tmp_path: Path) -> None:
    x = np.linspace(0.5, 1.5, 4)
    fd.save(tmp_path / "x.npz", {"x": x, "y": x})
    first, second = fd.load(tmp_path / "x.npz"), fd.load(tmp_path / "x.npz")
    first["x"] *= 0
    for y in (first["y"], second["x"], second["y"]):
        assert np.array_equal(x, y)


def arrays_of(tree: object) -> list[np.ndarray]:
    return [leaf for leaf in fd.tree.leaves(tree) if isinstance(leaf, np.ndarray)]


def shares_too_much(case: Case) -> bool:
    """Whether a result shares memory with an argument where NumPy's does not, or with another result."""
    try:
        expected = arrays_of(case.reference(*case.args, **case.kwargs))
    except Exception:  # the reference takes other arguments
        return False
    found = arrays_of(case.function(*case.args, **case.kwargs))
    return any(
        any(np.shares_memory(y, arg) for y in found) and not any(np.shares_memory(y, arg) for y in expected)
        for arg in arrays_of((case.args, case.kwargs))
    ) or any(np.shares_memory(y, other) for i, y in enumerate(found) for other in found[:i])


def test_functions_return_views_only_where_numpy_does() -> None:
    cases = [case for case in CASES if case.reference is not None]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [str(case) for case in cases if shares_too_much(case)] == []


def test_eager_and_compiled_steps_return_parameters_that_can_be_written() -> None:
    model, method = nn.MLP.init(fd.random.key(0), (3, 4, 2)), optim.adam(0.1)
    x, labels = np.ones((5, 3), np.float32), np.zeros(5, int)

    def step(model: nn.MLP, state: object) -> tuple[object, ...]:
        loss, grads = fd.value_and_grad(lambda m: F.softmax_cross_entropy(m(x), labels))(model)
        return (*method.step(model, grads, state), loss, grads)

    for run in (step, fd.compile(step)):
        state = method.init(model)
        for _ in range(4):
            leaves = arrays_of(run(model, state))
            assert all(leaf.flags.writeable for leaf in leaves)
            assert not any(np.may_share_memory(a, b) for i, a in enumerate(leaves) for b in leaves[:i])


def test_what_nobody_else_refers_to_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients, values and results of the usual kind are handed out as they are."""
    if owners.COUNTS is None:
        pytest.skip("this interpreter's reference counts say nothing")
    copies = []
    is_own = owners._is_own

    def counted(leaves: list[object], *rest: int) -> bool:
        answer = is_own(leaves, *rest)
        if not answer:
            copies.append(np.shape(leaves[rest[0]]))
        return answer

    monkeypatch.setattr(owners, "_is_own", counted)
    model, x = nn.MLP.init(fd.random.key(0), (3, 4, 2)), np.ones((5, 3), np.float32)
    fd.value_and_grad(lambda m: ((m(x) ** 2).sum(), m(x)), has_aux=True)(model)
    fd.grad(fd.compile(lambda m: (np.tanh(m(x)) ** 2).sum()))(model)
    y, pullback = fd.vjp(lambda m: m(x) @ np.ones((2, 2), np.float32), model)
    pullback(y)
    fd.jvp(lambda x: np.sin(x) * x, (x,), (x,))
    fd.vmap(lambda x: np.sin(x) * x)(x)
    fd.hvp(lambda x: (np.sin(x) * x).sum(), (x,), (x,))
    fd.hessian(lambda x: (np.sin(x) * x).sum())(x[0])
    assert copies == []
    fd.vjp(np.exp, x)  # a rule keeps the result
    assert copies == [x.shape]
    kept = []
    monkeypatch.setattr(owners, "copied", lambda array: kept.append(array.shape) or array.copy())
    large = np.ones(SMALL)
    square = lambda x: (x * x).sum()
    for differentiate in (fd.grad, fd.value_and_grad):
        differentiate(square)(large)
        differentiate(square)(np.ones(SMALL))
        differentiate(lambda p: square(p["w"]))({"w": np.ones((SMALL, 2))})
        differentiate(lambda p: square(p["w"]))({"w": np.arange(2.0 * SMALL).reshape(SMALL, 2)})
    fd.vjp(square, large)
    fd.vjp(square, np.ones(SMALL))
    fd.vjp(lambda p: square(p["w"]), {"w": np.ones((SMALL, 2))})
    fd.grad(lambda w, x: ((x @ w) ** 2).sum(), argnums=(0,))(np.ones(2), np.ones((SMALL, 2)))
    step = fd.compile(lambda p: {"w": p["w"] * 0.5})
    output = step(step({"w": np.ones((SMALL, 2))}))  # in the memory of the program
    fd.grad(lambda p: square(p["w"]))(output)
    assert output["w"].flags.writeable
    assert [shape for shape in kept if SMALL in shape] == []


def test_a_large_constant_is_copied_once_for_a_tape_unless_it_changes() -> None:
    w, seen = np.linspace(0.5, 1.5, SMALL), []

    def f(x: object) -> object:
        y = x
        for i in range(3):
            y = y * w
            if i == 1:
                w[...] = 2.0
        return y

    _, pullback = fd.vjp(f, np.ones(w.shape))
    tape = pullback.trace.tape
    seen = [value for node in tape.nodes for value in fd.tree.leaves(node.saved) if isinstance(value, np.ndarray)]
    assert len({id(value) for value in seen}) == 2
    assert np.allclose(pullback(np.ones(w.shape))[0], np.linspace(0.5, 1.5, SMALL) ** 2 * 2.0)


def test_without_reference_counts_everything_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "COUNTS", None)
    x = np.linspace(0.5, 1.5, SMALL)
    y, pullback = fd.vjp(lambda x: x * x, x)
    assert x.flags.writeable
    x[...] = 0
    y[...] = 0
    assert np.array_equal(pullback(np.ones(x.shape))[0], 2 * np.linspace(0.5, 1.5, SMALL))


def test_sealed_memory_is_known_through_views_and_cannot_be_written() -> None:
    for made in (owners.sealed(np.arange(6.0)), owners.sealed(np.arange(12.0).reshape(3, 4)[:, ::2]), owners.seal(np.ones(4)), owners.sealed(np.array(2.0))):
        assert owners.is_sealed(made)
        assert owners.is_sealed(made[...])
        assert owners.sealed(made) is made
        assert made.__class__ is np.ndarray
        assert not made.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            made.flags.writeable = True
    strided = np.arange(12.0).reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(owners.sealed(strided), strided)
    assert owners.sealed(strided).strides == strided.strides
    assert not owners.is_sealed(np.ones(3))
    assert not owners.is_sealed(np.ones(3)[:])
