"""What the passes leave out: products with ones, the same product in another order, and most of what derivatives of tanh repeat."""

from typing import Any

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero.compiler.graph import Constant, renamed
from fdezero.compiler.passes import fold_constants
from fdezero.testing import assert_trees_close, assert_trees_equal

X, Y = np.random.default_rng(0).standard_normal((2, 3, 4))


def operations(function: Any, *args: Any) -> list[str]:
    """The names of the operations that a compiled function runs, whose results are those of eager code."""
    f = fd.compile(function)
    assert_trees_equal(f(*args), function(*args), bits=True)
    return [step.name for step in f._last_recording().program.executable.graph.instructions]


def test_a_product_of_two_factors_is_computed_once_in_either_order() -> None:
    assert operations(lambda x, y: (x * y) - np.sin(y * x), X, Y).count("multiply") == 1
    assert operations(lambda x, y: (x + y) * np.sin(y + x), X, Y).count("add") == 1
    assert operations(lambda x, y: (x - y) * np.sin(y - x), X, Y).count("subtract") == 2
    assert operations(lambda x: x * 2.0 - np.sin(2.0 * x), X).count("multiply") == 1
    assert operations(lambda x: np.sin(x * x) * (x * 1.5), X).count("multiply") == 3


def test_a_constant_is_folded_once() -> None:
    graph = fd.compile(lambda c: (np.exp(c), np.exp(c), np.sin(c))).trace(X)
    names = {graph.inputs[0]: Constant(X)}
    graph = attrs.evolve(graph, inputs=(), instructions=tuple([renamed(step, names) for step in graph.instructions]))
    first, second, third = fold_constants(graph).outputs
    assert first is second
    assert_trees_equal((first.value, third.value), (np.exp(X), np.sin(X)), bits=True)


def test_complex_factors_keep_their_order() -> None:
    assert operations(lambda x, y: (x * y) - np.sin(y * x), X + 1j, Y - 2j).count("multiply") == 2


def test_results_of_other_layouts_stay_apart() -> None:
    x, y = np.asfortranarray(X), Y
    for f in (lambda x, y: (x * y, y * x), lambda x, y: (y * x, x * y)):
        for mine, theirs in zip(fd.compile(f)(x, y), f(x, y), strict=True):
            assert mine.strides == theirs.strides
            assert_trees_equal(mine, theirs, bits=True)


@pytest.mark.parametrize("entry", [1.0, -1.0, 2.0, np.nan])
def test_only_ones_are_left_out_of_a_product(entry: float) -> None:
    many = np.full((3, 4), entry)
    assert operations(lambda x: np.sin(x) * many, X).count("multiply") == (entry != 1)
    many[1, 2] = 1.5
    assert operations(lambda x: np.sin(x) * (many * many), X).count("multiply") == 1


def test_ones_that_broadcast_or_cast_stay() -> None:
    wide, row = np.ones((2, 3, 4)), X.astype(np.float32)
    assert fd.compile(lambda x: x * (wide * wide))(X).shape == (2, 3, 4)
    assert fd.compile(lambda x: x * (wide[0] * wide[0]))(row).dtype == np.float64
    y = fd.compile(lambda x: x * (wide[0] * wide[0]))(X)
    y[:] = 0  # a result of its own
    assert X.any()


def test_five_derivatives_of_tanh_repeat_little() -> None:
    def derivatives(x: Any) -> list[Any]:
        function, found = np.tanh, []
        for _ in range(5):
            function = fd.grad(lambda x, function=function: function(x).sum())
            found.append(function(x))
        return found

    x = np.linspace(-3, 3, 50)
    names = operations(derivatives, x)
    assert len(names) <= 34
    y = np.tanh(x)
    s = 1 - y * y
    expected = [s, -2 * y * s, s * (6 * y**2 - 2), s * y * (16 - 24 * y**2), s * (16 + 120 * y**2 * (y**2 - 1))]
    assert_trees_close(derivatives(x), expected, 1e-13)


SIGNS = {
    "x + -y": (lambda x, y: x + -y, ["subtract"]),
    "-x + y": (lambda x, y: -x + y, ["subtract"]),
    "x - -y": (lambda x, y: x - -y, ["add"]),
    "-x - y": (lambda x, y: -x - y, ["negative", "subtract"]),
    "-x * -y": (lambda x, y: -x * -y, ["multiply"]),
    "-(x * 2)": (lambda x, y: -(x * 2), ["multiply"]),
    "2 * -x": (lambda x, y: 2 * -x, ["multiply"]),
    "-x * y": (lambda x, y: -x * y, ["negative", "multiply"]),
    "-(x * 0)": (lambda x, y: -(x * 0), ["multiply", "negative"]),
    "-(x * 0.0)": (lambda x, y: -(x * 0.0), ["multiply", "negative"]),
    "-(x * y)": (lambda x, y: -(x * y), ["multiply", "negative"]),
    "-x + x": (lambda x, y: -x + x, ["subtract"]),
}


@pytest.mark.parametrize("name", SIGNS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.int64])
def test_signs_move_into_sums_and_products(name: str, dtype: Any) -> None:
    function, expected = SIGNS[name]
    special = [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan]
    x, y = (
        (np.array(z).astype(dtype) for z in zip(*[(a, b) for a in special for b in special], strict=True))
        if np.dtype(dtype).kind != "i"
        else (np.arange(-3, 4), np.arange(7))
    )
    with np.errstate(all="ignore"):
        names = operations(function, x, y)
    assert names == expected or np.dtype(dtype).kind != "f"


@pytest.mark.parametrize("operation", [np.add, np.subtract, np.multiply, np.divide, np.power, np.arctan2])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_a_number_takes_the_place_of_an_array_of_equal_entries(operation: Any, layout: Any) -> None:
    x, many = np.array(np.abs(X), order=layout), np.full((3, 4), 1.7)
    for f in (lambda x: operation(x, many), lambda x: operation(many, x), lambda x: operation(x, many[0])):
        compiled = fd.compile(f)
        y = compiled(x)
        assert_trees_equal(y, f(x), bits=True)
        assert y.strides == f(x).strides
    many[1, 2] = 2.0
    assert_trees_equal(fd.compile(lambda x: operation(x, many))(x), operation(x, many), bits=True)
    assert fd.compile(lambda x: operation(x, np.full((3, 4), 1.5)))(x.astype(np.float32)).dtype == np.float64


def test_parts_of_constants_are_kept_without_gaps() -> None:
    whole = np.random.default_rng(1).standard_normal((4, 6))
    x = np.random.default_rng(2).standard_normal((4, 5))
    for part in (
        whole[:, 1:],
        whole[:, :-1],
        whole.T[1:].T,
        np.asfortranarray(whole)[:, :5],
        whole[:, 4::-1],
        whole[:1, 1:],
        np.broadcast_to(whole[0, :5], (4, 5)),
    ):
        for f in (lambda x, c=part: x + c, lambda x, c=part: c * (c - x), lambda x, c=part: (np.arctan2(x, c), x / c)):
            compiled = fd.compile(f)
            for mine, theirs in zip(fd.tree.leaves(compiled(x)), fd.tree.leaves(f(x)), strict=True):
                assert_trees_equal(mine, theirs, bits=True)
                assert mine.strides == theirs.strides
    f = fd.compile(lambda x: fd.jacobian(lambda x: x[1:] - x[:-1] ** 2)(x))
    assert_trees_close(f(x[0]), np.eye(5)[1:] - 2 * x[0] * np.eye(5)[:-1], 1e-14)
    constants = [
        atom.value
        for step in f._last_recording().program.executable.graph.instructions
        for atom in step.inputs
        if hasattr(atom, "value")
    ]
    assert all(
        value.flags.c_contiguous or value.flags.f_contiguous for value in constants if getattr(value, "ndim", 0) == 2
    )


def test_a_composite_operation_within_another_is_expanded_as_well() -> None:
    found = operations(lambda x: F.gelu(x, approximate="tanh"), X)
    assert "exp" in found
    assert not {"sigmoid", "ndtr_by_tanh"} & set(found)
