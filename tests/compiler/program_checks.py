"""Checks of a compiled function: every call gives the bits of the eager run, and no array changes unnoticed."""

import gc
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fdezero as fd

Leaves = list[Any]


def bits(leaf: Any) -> Any:
    """The parts that must agree: type, dtype, shape and the bytes of every number; all NaNs are equal."""
    if not hasattr(leaf, "dtype"):
        return type(leaf), repr(leaf)
    parts = np.array(leaf, order="C").reshape(-1)
    parts = parts.view(parts.real.dtype) if parts.dtype.kind == "c" else parts
    if parts.dtype.kind == "f":
        parts[np.isnan(parts)] = np.nan
    # A NumPy number and an array without axes have the same bits; eager code may return either as the gradient of a number.
    kind = type(leaf) if leaf.shape else np.ndarray
    return kind, str(leaf.dtype), leaf.shape, hashlib.sha1(parts.tobytes()).hexdigest() if parts.nbytes > 512 else parts.tobytes()


def assert_same_bits(actual: Any, expected: Any, what: str) -> None:
    """Two trees of one structure with the same bits."""
    left, structure = fd.tree.flatten(actual)
    right, expected_structure = fd.tree.flatten(expected)
    assert structure == expected_structure, f"{what}: the structure is {structure}, not {expected_structure}"
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        if bits(a) != bits(b):
            same = hasattr(a, "shape") and hasattr(b, "shape") and a.shape == b.shape and a.dtype == b.dtype
            spots = np.argwhere(np.atleast_1d(np.asarray(a) != np.asarray(b)))[:1] if same else None
            raise AssertionError(f"{what}: leaf {i} is {a!r} {type(a).__name__}, eager {b!r} {type(b).__name__}; first at {spots}")


def writable_ones(values: Sequence[Any]) -> set[int]:
    return {i for i, v in enumerate(values) if isinstance(v, np.ndarray) and v.flags.writeable}


class Ledger:
    """Held results with a copy of their bits, which must never change."""

    def __init__(self) -> None:
        self.held: list[tuple[str, Any, list[Any]]] = []

    def hold(self, name: str, leaves: Any) -> None:
        self.held.append((name, leaves, [bits(leaf) for leaf in leaves]))

    def verify(self, now: str) -> None:
        for name, leaves, before in self.held:
            assert [bits(leaf) for leaf in leaves] == before, f"{name} has changed after {now}"


def looks_into(leaf: Any, inputs: Sequence[Any]) -> bool:
    """Whether a result is an input or a view of one; an empty result never counts."""
    return np.size(leaf) == 0 or any(isinstance(v, np.ndarray) and np.may_share_memory(leaf, v) for v in inputs)


def check_call(eager: Any, compiled: Any, inputs: Sequence[Any], what: str = "a call", own: bool = True) -> Any:
    """One call of each: the same bits, no input changed or locked, and results that are the caller's alone."""
    before = [bits(v) for v in inputs]
    expected = eager(*inputs)
    assert [bits(v) for v in inputs] == before, f"{what}: the eager run has changed an input"
    writable = writable_ones(inputs)
    result = compiled(*inputs)
    assert [bits(v) for v in inputs] == before, f"{what} has changed an input"
    if not writable <= writable_ones(inputs):
        gc.collect()  # A dead pullback in a reference cycle still holds its arrays.
    assert writable <= writable_ones(inputs), f"{what} has left an input read-only"
    assert_same_bits(result, expected, what)
    # An input, or a view of one, stays as the caller made it.
    arrays = [y for y in fd.tree.leaves(result) if isinstance(y, np.ndarray) and y.size and not looks_into(y, inputs)] if own else []
    for i, leaf in enumerate(arrays):
        assert leaf.flags.writeable, f"{what}: a result is read-only: {leaf!r}"
        assert not any(np.may_share_memory(leaf, other) for other in arrays[:i]), f"{what}: results share memory: {leaf!r}"
    return result


def check_calls(eager: Any, compiled: Any, arguments: Sequence[Sequence[Any]], *, hold: str = "all", own: bool = True) -> None:
    """One call for each of `arguments`; earlier results are held: all, every other one, one leaf of each, views of them, or none."""
    ledger = Ledger()
    for number, inputs in enumerate(arguments):
        result = fd.tree.leaves(check_call(eager, compiled, inputs, f"call {number}", own))
        if hold == "all" or (hold == "some" and number % 2):
            ledger.hold(f"the result of call {number}", result)
        elif hold == "one":
            ledger.hold(f"a result of call {number}", result[number % len(result) :][:1])
        elif hold == "views":
            ledger.hold(f"a view of a result of call {number}", [leaf[:1] for leaf in result if np.ndim(leaf) and number % 3])
        del result
        ledger.verify(f"call {number}")


def check_mutation(eager: Any, compiled: Any, first: Sequence[Any], second: Sequence[Any]) -> None:
    """The caller writes into the inputs between calls: the next call sees it, earlier results do not."""
    inputs = list(first)
    ledger = Ledger()
    for number in range(3):
        result = fd.tree.leaves(check_call(eager, compiled, inputs, f"call {number}"))
        # A result that is an input, or a view of one, may follow it, as it does eagerly.
        ledger.hold(f"the result of call {number}", [leaf for leaf in result if not looks_into(leaf, inputs)])
        for value, other in zip(inputs, second if number % 2 == 0 else first, strict=True):
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = np.array(other) if number % 2 == 0 else np.roll(value, 1)
        ledger.verify(f"the inputs were written to, after call {number}")


def owning(function: Callable[..., Any]) -> Callable[..., Any]:
    """A correct compiler, whose results have memory of their own."""

    def call(*inputs: Any) -> Any:
        return fd.tree.map(lambda y: np.array(y) if isinstance(y, np.ndarray) else y, function(*inputs))

    return call
