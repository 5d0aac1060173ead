"""Parameters are obeyed or refused: no function reads an argument and does something else."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.core.primitive import REGISTRY
from fdezero.errors import DeviceError, ImmutableError, RangeError, TraceError
from fdezero.testing import check_grads

X = np.array([[1.0, 5.0, 2.0], [4.0, 0.0, 9.0]])
V = np.array([0.5, -1.5, 2.0, 0.25])

# Parameters that may be given but do not change the result, with the reason.
WITHOUT_AN_EFFECT = {
    "overwrite_input": "a permission, which is not used", "optimize": "the order of the products is not visible",
    "assume_unique": "a hint for the search, in isin", "sorted": "sorted values are in order also if that is left open, in unique",
    "subok": "results are plain arrays, in broadcast_to", "order": "a traced value has no memory layout, in x.astype",
    "copy": "traced values are immutable, in x.astype",
}  # fmt: skip


def test_every_parameter_is_read():
    unread = set()
    for path in sorted(Path(fnp.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "refuse":
                arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                read = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
                unread |= {(path.name, node.name, name) for name in arguments if name not in read and name != "self"}
    assert {name for *_, name in unread} <= set(WITHOUT_AN_EFFECT), sorted(unread)


def test_indices_outside_the_array_follow_the_mode():
    np.testing.assert_array_equal(fnp.take(X, [-1], mode="clip"), [1.0])
    np.testing.assert_array_equal(fnp.take(X, [-1, 8], mode="wrap"), [9.0, 2.0])
    with pytest.raises(IndexError):
        fnp.take(X, [6])
    np.testing.assert_array_equal(fd.grad(lambda v: fnp.take(v, [-9, 9, 9], mode="clip").sum())(V), [1.0, 0.0, 0.0, 2.0])
    wrapped = fd.vmap(lambda v, i: fnp.take(v, i, mode="wrap"))(np.stack([V, 2 * V]), np.array([[5, -1], [9, 4]]))
    np.testing.assert_array_equal(wrapped, [[-1.5, 0.25], [-3.0, 1.0]])


def test_too_many_degrees_of_freedom_warn_and_leave_inf_or_nan():
    for call in (lambda: fnp.var(np.array([1.0, 3.0]), ddof=3), lambda: fnp.std(np.array([1.0, 3.0]), ddof=2), lambda: fnp.cov(np.array([1.0, 3.0]), ddof=5)):
        with pytest.warns(RuntimeWarning, match="Degrees of freedom <= 0"), np.errstate(divide="ignore"):
            assert call() == np.inf
    with pytest.warns(RuntimeWarning, match="Degrees of freedom <= 0"), np.errstate(invalid="ignore"):
        assert np.isnan(fnp.var(np.array([2.0, 2.0]), ddof=2))
    with pytest.warns(RuntimeWarning, match="Degrees of freedom <= 0"), np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(fnp.var(X, axis=1, ddof=1, where=[[True, True, False], [True, False, False]])[:1], [8.0])
    with pytest.warns(RuntimeWarning, match="Degrees of freedom <= 0"), np.errstate(all="ignore"):
        assert not np.isfinite(fd.grad(lambda x: fnp.var(x, ddof=3))(np.array([1.0, 3.0]))).any()


def test_the_place_of_an_extreme_keeps_every_axis():
    assert fnp.argmax(X, keepdims=True).shape == fnp.argmin(X, keepdims=True).shape == (1, 1)
    assert fnp.argmax(X, keepdims=True)[0, 0] == 5
    assert fd.vmap(lambda x: fnp.argmax(x, keepdims=True))(np.stack([X, -X])).tolist() == [[[5]], [[4]]]


@pytest.mark.parametrize("mode", ["constant", "linear_ramp"])
def test_padding_is_differentiable_in_its_values(mode):
    name = "constant_values" if mode == "constant" else "end_values"
    values = np.array([[1.5, -2.0], [0.5, 7.0]])
    check_grads(lambda x, values: fnp.pad(x, ((1, 2), (2, 0)), mode, **{name: values}), (X, values))
    padded = fnp.pad(X, ((1, 2), (2, 0)), mode, **{name: values})
    np.testing.assert_allclose(padded, np.pad(X, ((1, 2), (2, 0)), mode, **{name: values}), rtol=1e-14)
    np.testing.assert_array_equal(fd.compile(lambda v: fnp.pad(X, ((1, 2), (2, 0)), mode, **{name: v}))(values), padded)
    assert fd.grad(lambda c: fnp.pad(X, 1, constant_values=c).sum())(0.0) == 14.0


def test_padding_takes_a_dictionary_of_axes():
    np.testing.assert_array_equal(fnp.pad(X, {-1: (1, 2), 0: 1}), np.pad(X, ((1, 1), (1, 2))))


def test_indices_may_be_tuples_ranges_and_truth_values():
    f = lambda a: a[(0, 1), (2, 0)].sum() + (a[range(1)] * a[True, 1]).sum()
    np.testing.assert_array_equal(fd.grad(f)(X), [[4.0, 0.0, 10.0], [2.0, 5.0, 2.0]])
    np.testing.assert_array_equal(fnp.at(X)[(0, 1), (2, 0)].set(7.0), [[1.0, 5.0, 7.0], [7.0, 0.0, 9.0]])
    with pytest.raises(TraceError, match="truth value"):
        fd.vmap(lambda x, b: x[b])(X, np.array([True, False]))


def test_numpys_functions_take_traced_values_by_name():
    np.testing.assert_array_equal(fd.grad(lambda a: np.sum(a=a * a))(V), 2 * V)
    np.testing.assert_array_equal(fd.grad(lambda a: np.tile(a, reps=2).sum())(V), np.full(4, 2.0))
    np.testing.assert_array_equal(fd.grad(lambda a: np.einsum(a, [0], a, [0]))(V), 2 * V)
    np.testing.assert_array_equal(fd.grad(lambda a: np.roll(a, (1, 1), axis=0)[0])(V), [0.0, 0.0, 1.0, 0.0])


def test_weights_of_a_quantile_go_with_the_axes_in_their_order():
    x, weights = np.stack([X, -X, X * X]), np.array([[1.0, 0.0, 2.0], [3.0, 1.0, 0.5], [2.0, 1.0, 1.0]])
    of_axes = fnp.quantile(x, [0.0, 0.4, 1.0], axis=(2, 0), weights=weights, method="inverted_cdf")
    spread = np.broadcast_to(weights.T[:, None, :], x.shape)
    np.testing.assert_array_equal(of_axes, fnp.quantile(x, [0.0, 0.4, 1.0], axis=(0, 2), weights=spread, method="inverted_cdf"))
    assert fnp.quantile(np.array([1.0, 2.0, 3.0]), 0.0, weights=[0, 1, 1], method="inverted_cdf", axis=0) == 2.0  # the first with a weight


def test_polyfit_tells_everything():
    x, y = np.array([-1.0, -0.4, 0.1, 0.9, 1.3]), np.stack([np.array([1.0, 0.5, -0.3, 2.0, 0.1])] * 2, axis=1)
    for ours, theirs in zip(fnp.polyfit(x, y, 2, full=True), np.polyfit(x, y, 2, full=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    check_grads(lambda x, y: fnp.polyfit(x, y, 2, full=True)[1], (x, y))


def test_copies_are_copies():
    for made in (
        fnp.astype(X, X.dtype), fnp.array(X), fnp.copy(X), fnp.asarray(X, copy=True), *fnp.meshgrid(V, V), *fnp.meshgrid(V, V, sparse=True), fnp.array(X, order="F"),
    ):  # fmt: skip
        assert not np.shares_memory(made, X)
        assert not np.shares_memory(made, V)
        assert made.flags.writeable
    assert fnp.astype(X, X.dtype, copy=False) is X
    assert fnp.asarray(X) is X
    for order in "CF":
        for made in (fnp.zeros((2, 3), order=order), fnp.array(X.T, order=order), fnp.asarray(X.T, order=order), fnp.zeros_like(X, order=order), fnp.eye(3, order=order)):
            assert made.flags[f"{order}_CONTIGUOUS"]
    assert fnp.array(X.T).strides == fnp.copy(X.T).strides == X.T.strides


REFUSED = [
    (lambda: fnp.take(X, [-1], mode="bogus"), ValueError, "'raise', 'wrap' or 'clip'"),
    (lambda: fnp.take(X, [0.5]), TypeError, "integers"),
    (lambda: fnp.take(np.zeros((2, 0)), [0], axis=1, mode="clip"), IndexError, "length 0"),
    (lambda: fnp.choose([0], [V], mode="bogus"), ValueError, "'raise', 'wrap' or 'clip'"),
    (lambda: fnp.pad(X, 1, "bogus"), ValueError, "'linear_ramp'"),
    (lambda: fnp.pad(X, 1, lambda *args: None), TypeError, "concatenate"),
    (lambda: fnp.pad(X, 1, "edge", constant_values=2), ValueError, "takes no further parameter, got constant_values"),
    (lambda: fnp.pad(X, 1, "mean", end_values=2, reflect_type="odd"), ValueError, "takes stat_length, got end_values and reflect_type"),
    (lambda: fnp.pad(X, 1, "reflect", reflect_type="bogus"), ValueError, "'even' or 'odd'"),
    (lambda: fnp.pad(X, -1), ValueError, "negative"),
    (lambda: fnp.pad(X, 1.5), TypeError, "integers"),
    (lambda: fnp.pad(X, 1, "minimum", stat_length=0), ValueError, "no minimum"),
    (lambda: fnp.pad(np.zeros((0, 2)), 1, "edge"), ValueError, "needs an entry along axis 0"),
    (lambda: fnp.pad(np.zeros((0, 2)), 1, "linear_ramp"), ValueError, "needs an entry along axis 0"),
    (lambda: fnp.var(X, ddof=1, correction=1), ValueError, "two names"),
    (lambda: fnp.nanvar(X, ddof=1, correction=1), ValueError, "two names"),
    (lambda: fnp.cov(X, ddof=1.5), ValueError, "integer"),
    (lambda: fnp.cov(X, fweights=[1.5, 1, 1]), TypeError, "integers"),
    (lambda: fnp.cov(X, fweights=[-1, 1, 1]), RangeError, "negative"),
    (lambda: fnp.cov(X, aweights=[1, 2]), ValueError, "one entry for each of the 3"),
    (lambda: fnp.cov(X, fweights=[0, 0, 0]), ZeroDivisionError, "sum to 0"),
    (lambda: fnp.sort(X, kind="bogus"), ValueError, "'quicksort'"),
    (lambda: fnp.sort(X, order="field"), ValueError, "fields"),
    (lambda: fnp.argsort(X, kind="stable", stable=True), ValueError, "one of them"),
    (lambda: fnp.partition(X, 1, kind="bogus"), ValueError, "introselect"),
    (lambda: fnp.clip(X, 0, 1, a_min=0), ValueError, "one of them"),
    (lambda: fnp.where(X > 1, X), ValueError, "one of them is missing"),
    (lambda: fnp.quantile(X, 0.5, weights=X), ValueError, "'inverted_cdf', got 'linear'"),
    (lambda: fnp.quantile(X, 0.5, weights=-X, method="inverted_cdf"), RangeError, "negative"),
    (lambda: fnp.quantile(X, 0.5, weights=0 * X, method="inverted_cdf"), RangeError, "above 0"),
    (lambda: fnp.quantile(X, 0.5, weights=V, method="inverted_cdf"), ValueError, "shape"),
    (lambda: fnp.vecdot(V, V, axis=0, axes=[0, 0]), TypeError, "one of them"),
    (lambda: fnp.matmul(X, X, axes=[(0, 1), (0, 1)]), ValueError, "2 and 2 and 2 axes"),
    (lambda: fnp.einsum(X, [0, 99]), ValueError, "below 52"),
    (lambda: fnp.einsum(X, "ij", V), ValueError, "in turn"),
    (lambda: fnp.einsum("ij", X, dtype="float32"), TypeError, "casting='safe'"),
    (lambda: fnp.concatenate([X, X], dtype="int8"), TypeError, "casting='same_kind'"),
    (lambda: fnp.stack([X, X], casting="bogus"), ValueError, "'same_kind'"),
    (lambda: fnp.nan_to_num(X, copy=False), ImmutableError, "would write into x"),
    (lambda: fnp.array(X, copy=False, dtype="float32"), ValueError, "without a copy"),
    (lambda: fnp.reshape(X.T, 6, copy=False), ValueError, "without a copy"),
    (lambda: fnp.arange(), TypeError, "where to stop"),
    (lambda: fnp.bincount([0, 1], minlength=-1), RangeError, "minlength"),
    (lambda: fnp.bincount([0, 1], minlength=5, length=3), RangeError, "less than minlength=5"),
    (lambda: fnp.histogram(V, "auto", weights=V), TypeError, "weighted"),
    (lambda: fnp.isin(V, V, kind="bogus"), ValueError, "'table'"),
    (lambda: fnp.trim_zeros(V, "x"), ValueError, "front"),
    (lambda: fnp.vander(V, -1), RangeError, "N must be"),
    (lambda: fnp.resize(V, -1), ValueError, "0 or more"),
    (lambda: fnp.polyfit(V, V, 3, cov=True), RangeError, "more than 4 points"),
    (lambda: fnp.fft.fft(V, n=2.5), TypeError, "integer"),
    (lambda: fnp.linalg.pinv(X, 1e-3, rtol=1e-3), ValueError, "one of them"),
    (lambda: fnp.linalg.matrix_rank(X, 1e-3, rtol=1e-3), ValueError, "both"),
    (lambda: fd.grad(lambda x: x.astype("int8", casting="safe").sum())(X), TypeError, "casting='safe'"),
]  # fmt: skip


if hasattr(np, "__array_namespace_info__"):  # since NumPy 2.1
    REFUSED.append((lambda: fnp.__array_namespace_info__().dtypes(device="bogus"), DeviceError, "bogus"))


@pytest.mark.parametrize(("call", "error", "words"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_cannot_be_obeyed_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


WITH_OUT = [name for name in fnp.__all__ if inspect.isfunction(getattr(fnp, name)) and "out" in inspect.signature(getattr(fnp, name)).parameters]


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_is_refused(name):
    function, out = getattr(fnp, name), np.zeros(3)
    count = sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in inspect.signature(function).parameters.values())
    args = {"concatenate": ([V, V],), "concat": ([V, V],), "stack": ([V, V],), "choose": ([0], [V]), "einsum": ("i->i", V), "compress": ([True], V), "take": (V, [0]), "trace": (X,)}
    with pytest.raises(ImmutableError, match="out="):
        function(*args.get(name, (V,) + (np.array(0.5),) * (count - 1)), out=out)


UFUNCS = sorted(name for name, operation in REGISTRY.items() if isinstance(operation.impl, np.ufunc))


@pytest.mark.parametrize("name", UFUNCS)
def test_operations_refuse_the_keywords_of_ufuncs(name):
    operation = REGISTRY[name]
    x = np.ones(2, int) if "shift" in name or name in ("gcd", "lcm", "invert") or name.startswith("bitwise") else np.array([0.3, 0.7])
    assert len(UFUNCS) > 40
    args = (x, np.ones(2, int)) if name == "ldexp" else (x,) * operation.impl.nin
    for keyword, value in {"where": [True, False], "dtype": x.dtype, "casting": "unsafe", "order": "F"}.items():
        with pytest.raises(TypeError, match=f"takes no {keyword}="):
            operation(*args, **{keyword: value})
        with pytest.raises(TypeError, match=f"takes no {keyword}="):
            fd.vmap(lambda *args, keyword=keyword, value=value: operation(*args, **{keyword: value}))(*[np.stack([x, x])] * len(args))
    with np.errstate(all="ignore"):
        operation(*args, out=None)
