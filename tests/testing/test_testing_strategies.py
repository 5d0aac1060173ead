"""The strategies draw what their docstrings promise, and shrink to the documented smallest example."""

from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import nn
from fdezero.errors import RangeError
from fdezero.testing import (
    arrays,
    assert_trees_equal,
    axes,
    broadcastable_arrays,
    broadcastable_shapes,
    index_expressions,
    invertible,
    keys,
    layers,
    orthogonal,
    positive_definite,
    pytrees,
    symmetric,
)
from fdezero.testing.structures import KINDS, Pair

from ..profiles import NIGHTLY, examples

MATRICES = {"positive_definite": positive_definite, "orthogonal": orthogonal, "invertible": invertible, "symmetric": symmetric}


def smallest(strategy: Any, predicate: Any = lambda value: True, most: int = 500) -> Any:
    phases = [hypothesis.Phase.generate, hypothesis.Phase.shrink]
    return hypothesis.find(strategy, predicate, settings=hypothesis.settings(phases=phases, max_examples=most, database=None, derandomize=True))


def test_arrays_shrink_to_zeros_of_the_smallest_shape() -> None:
    assert_trees_equal(smallest(arrays()), np.array(0.0))
    several = smallest(arrays(), lambda x: x.size > 3)
    assert several.size == 4
    assert not several.any()
    assert_trees_equal(smallest(arrays(), lambda x: np.any(x < 0)), np.array(-1.0))
    assert_trees_equal(smallest(arrays(min_value=1, max_value=3, shape=(2,))), np.ones(2))
    assert_trees_equal(smallest(arrays([np.float64, np.float32]), lambda x: x.dtype == np.float32), np.array(0, np.float32))
    assert_trees_equal(smallest(arrays(np.complex64), lambda x: np.any(x.imag > 0.5)), np.array(1j, np.complex64))
    assert_trees_equal(smallest(arrays(allow_nan=True), lambda x: np.isnan(x).any()), np.array(np.nan))
    assert_trees_equal(smallest(arrays(bool, (2,)), np.any), np.ones(2, bool))


@pytest.mark.parametrize("dtype", "float16 float32 float64 complex64 complex128 int8 uint8 int64 bool".split())
def test_arrays_have_their_dtype_and_lie_within_their_bounds(dtype: str) -> None:
    @given(arrays(dtype, min_value=-1.3, max_value=1.7))
    def check(x: np.ndarray) -> None:
        assert x.dtype == dtype
        parts = [np.float64(x.real), np.float64(x.imag)] if x.dtype.kind == "c" else [np.float64(x)]
        for part in parts:
            assert np.all((part >= -1.3) & (part <= 1.7))
            assert x.dtype.kind not in "fc" or np.all((part == 0) | (np.abs(part) >= np.finfo(x.dtype).tiny))

    check()


def test_special_values_come_only_when_asked_for() -> None:
    assert np.isinf(smallest(arrays(allow_infinity=True), lambda x: np.isinf(x).any()))
    assert 0 < smallest(arrays(allow_subnormal=True), lambda x: np.any((x > 0) & (x < 1e-308))) < np.finfo(float).tiny
    with pytest.raises(hypothesis.errors.NoSuchExample):
        smallest(arrays(), lambda x: not np.isfinite(x).all(), most=500 if NIGHTLY else 100)


@given(arrays(["float16", "float64"], distinct=True))
def test_distinct_entries_have_no_ties(x: np.ndarray) -> None:
    assert np.all(np.diff(np.sort(x, axis=None)) >= 1 / 64)


@given(arrays(shape=(3, 3), distinct=1.0), arrays(np.int64, (5,), distinct=True))
def test_a_gap_gives_way_where_there_is_no_room(x: np.ndarray, n: np.ndarray) -> None:
    assert len(np.unique(x)) == 9
    assert sorted(n.tolist()) == [-2, -1, 0, 1, 2]


def test_distinct_arrays_shrink_to_small_multiples_of_the_gap() -> None:
    found = smallest(arrays(distinct=0.5), lambda x: x.size == 3)
    assert_trees_equal(found, np.array([0.0, 0.5, -0.5]))


LAID_OUT = {
    "F": lambda x: not x.flags.c_contiguous and x.flags.f_contiguous,
    "reversed": lambda x: min(x.strides) < 0,
    "strided": lambda x: x.strides[-1] == 16,
    "readonly": lambda x: not x.flags.writeable,
}


@pytest.mark.parametrize("layout", LAID_OUT)
def test_layouts_keep_the_values(layout: str) -> None:
    assert_trees_equal(smallest(arrays(shape=(2, 2), layouts="any"), LAID_OUT[layout]), np.zeros((2, 2)))
    from fdezero.testing.strategies import lay_out

    for x in (np.arange(6.0).reshape(2, 3), np.array(2.0)):
        assert_trees_equal(lay_out(x, layout), x)
    assert LAID_OUT[layout](lay_out(np.arange(6.0).reshape(2, 3), layout))
    assert smallest(arrays(shape=(2, 2), layouts="any")).flags.c_contiguous


def test_a_failing_example_tells_its_layout(capsys: pytest.CaptureFixture[str]) -> None:
    @hypothesis.settings(database=None, derandomize=True, phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink])
    @given(arrays(shape=(2, 2), layouts=["C", "F"]))
    def check(x: np.ndarray) -> None:
        assert x.flags.c_contiguous

    with pytest.raises(AssertionError) as caught:
        check()
    assert any("laid out as F" in note for note in caught.value.__notes__)


@given(broadcastable_shapes(3), broadcastable_arrays(2, np.float32, min_value=0))
def test_shapes_and_arrays_broadcast_together(shapes: Any, both: Any) -> None:
    np.broadcast_shapes(*shapes)
    x, y = both
    assert (x + y).dtype == np.float32
    assert min(x.min(), y.min()) >= 0


@given(keys())
def test_keys_serve_random_numbers(key: np.ndarray) -> None:
    assert fd.random.normal(key, (2,)).shape == (2,)


@given(st.data())
def test_axes_are_axes(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(), (2,), (2, 3), (2, 3, 4)]))
    axis = data.draw(axes(shape))
    np.zeros(shape).sum(axis=axis)
    if shape:
        assert -len(shape) <= data.draw(axes(shape, tuples=False)) < len(shape)


def test_axes_shrink_to_the_first() -> None:
    assert smallest(axes((2, 3))) == 0
    assert smallest(axes(2), lambda axis: not isinstance(axis, tuple) and axis < 0) == -1
    assert smallest(axes((2, 3)), lambda axis: isinstance(axis, tuple) and len(axis) == 2) == (0, 1)
    with pytest.raises(RangeError, match="without axes"):
        axes((), tuples=False)


@given(st.sampled_from([(), (3,), (3, 4, 2), (3, 0, 2)]).flatmap(lambda shape: st.tuples(st.just(shape), index_expressions(shape))))
def test_index_expressions_index(example: Any) -> None:
    shape, index = example
    np.zeros(shape)[index]


@pytest.mark.parametrize("kind", ["slice", "integer", "array", "mask", "newaxis", "ellipsis"])
def test_every_kind_of_index_comes_alone_and_mixed(kind: str) -> None:
    types = {"slice": slice, "integer": int, "newaxis": type(None), "ellipsis": type(...)}

    def has(index: Any) -> bool:
        parts = index if isinstance(index, tuple) else (index,)
        if kind in types:
            return any(type(part) is types[kind] for part in parts)
        return any(isinstance(part, np.ndarray) and (part.dtype == bool) == (kind == "mask") for part in parts)

    assert has(smallest(index_expressions((3, 4), kinds=[kind]), has))
    mixed = smallest(index_expressions((3, 4)), lambda index: has(index) and len(index) == 2 if isinstance(index, tuple) else False)
    assert has(mixed)
    assert smallest(index_expressions((3, 4), kinds=[kind])) == ()


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("name", MATRICES)
def test_matrices_have_the_structure_of_their_name(name: str, dtype: str) -> None:
    @hypothesis.settings(max_examples=examples(3))
    @given(MATRICES[name](batch=st.sampled_from([(), (2,), (2, 1)]), dtype=dtype))
    def check(A: np.ndarray) -> None:
        assert A.dtype == dtype
        A = A.astype(np.complex128)
        H = np.conj(np.swapaxes(A, -1, -2))
        one = np.eye(A.shape[-1])
        if name in ("symmetric", "positive_definite"):
            assert np.abs(A - H).max() < 1e-5
        if name == "orthogonal":
            assert np.abs(A @ H - one).max() < 1e-5
        if name in ("positive_definite", "invertible"):
            assert np.linalg.cond(A).max() < 100.1
        if name == "positive_definite":
            assert np.linalg.eigvalsh(A).min() > 0.99

    check()


def test_matrices_shrink_to_the_identity_or_zeros() -> None:
    for name, strategy in MATRICES.items():
        simplest = np.zeros if name == "symmetric" else lambda shape: np.eye(shape[0])
        assert_trees_equal(smallest(strategy()), simplest((1, 1)))
        assert_trees_equal(smallest(strategy(), lambda A: len(A) == 3), simplest((3, 3)))
    assert_trees_equal(smallest(positive_definite(2), lambda A: np.linalg.cond(A) > 50), np.diag([1.0, 100.0]))
    turned = smallest(orthogonal(2), lambda Q: abs(Q[0, 1]) > 0.1)
    assert np.allclose(np.abs(turned), [[0.6, 0.8], [0.8, 0.6]])
    flipped = smallest(orthogonal(1), lambda Q: Q < 0)
    assert_trees_equal(flipped, np.array([[-1.0]]))


@given(layers())
def test_layers_take_their_inputs(pair: Any) -> None:
    layer, x = pair
    first, *rest = fd.tree.leaves(layer(x))  # a recurrent layer or cell also returns its state
    assert {y.dtype for y in (first, *rest)} == {np.dtype(np.float64)}
    fewer = (isinstance(layer, fd.nn.Outputs) and layer.which == "last") or isinstance(layer, fd.nn.GlobalAvgPool | fd.nn.GlobalMaxPool)
    assert first.ndim == x.ndim - fewer + isinstance(layer, fd.nn.Embedding)


NOT_OF_ZERO = {"WeightNorm", "SpectralNorm"}  # weights of length 0 have no direction
NOT_OF_ONE = {"GroupNorm", "InstanceNorm"}  # one number has no variance


def test_every_kind_of_layer_comes_and_is_small() -> None:
    assert {"Linear", "Sequential", "MLP"} < set(KINDS)
    for kind in KINDS:
        layer, x = smallest(layers([kind]))
        assert type(layer).__name__ == kind
        assert_trees_equal(x, np.zeros(x.shape if kind in NOT_OF_ONE else (1,) * x.ndim, x.dtype))
        assert x.size <= 2
        assert all(max(np.shape(leaf)[:-1], default=1) <= 1 and np.size(leaf) <= 4 for leaf in fd.tree.leaves(layer))  # an LSTM has four gates
        assert kind in NOT_OF_ZERO or not any(map(np.any, fd.tree.leaves(layer)))
    assert smallest(layers(["Linear"], dtype=np.float32))[0].W.dtype == np.float32
    relu = smallest(layers(["Function"], activations=[fd.functions.relu]))[0]
    assert relu.function is fd.functions.relu


def test_pytrees_shrink_to_a_leaf_and_hold_modules_when_asked() -> None:
    assert_trees_equal(smallest(pytrees()), np.array(0.0))
    assert isinstance(smallest(pytrees(modules=True), lambda tree: isinstance(tree, Pair)), Pair)
    assert isinstance(smallest(pytrees(arrays(shape=(1,))), lambda tree: isinstance(tree, dict)), dict)
    assert smallest(layers(["Linear"]), lambda pair: isinstance(pair[0], nn.Linear))[0].b is None


def test_mistakes_are_named() -> None:
    with pytest.raises(RangeError, match="layouts are C, F"):
        arrays(layouts="Z")
    with pytest.raises(RangeError, match="no number is in"):
        arrays(min_value=1, max_value=0)
    with pytest.raises(RangeError, match="kinds are slice"):
        index_expressions((2,), kinds=["slices"])
    with pytest.raises(RangeError, match="layers: kinds are Linear"):
        layers(["Conv"])
