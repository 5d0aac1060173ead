"""Arrays of other libraries among traced values, as arguments and as leaves: they become NumPy arrays, or are refused by name."""

import decimal
import enum
import fractions
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero import optim
from fdezero.errors import DTypeError, FdezeroError, FileError, StaticError, TraceError
from fdezero.foreign import accepted

X = np.array([1.0, 2.0, 4.0])
ROWS = np.array([[1.0, 5.0, 2.0], [4.0, 0.5, 9.0], [3.0, 2.0, 1.0]])


class Tensor:
    """An array of another library, as NumPy sees it: `__array__`, a shape and a dtype of its own, and its own operators."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.shape, self.ndim = self.values.shape, self.values.ndim
        self.dtype = f"tensor.{self.values.dtype}"

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values if dtype is None else self.values.astype(dtype)


class Bare:
    """An array that has only `__array__`."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values if dtype is None else self.values.astype(dtype)


class OnAnotherDevice(Tensor):
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")


def pandas_of(make: str) -> Callable[[], Any]:
    def made() -> Any:
        pd = pytest.importorskip("pandas", reason="pandas is no part of the tests' extras; stand-ins show the same laws")
        return eval(make, {"pd": pd, "np": np, "X": X, "ROWS": ROWS})

    return made


CONVERTED: dict[str, tuple[Callable[[], Any], np.ndarray]] = {
    "tensor": (lambda: Tensor(X), X), "tensor of rows": (lambda: Tensor(ROWS), ROWS), "bare": (lambda: Bare(X), X),
    "single tensor": (lambda: Tensor(np.float32(X)), X.astype(np.float32)),
    "Series": (pandas_of("pd.Series(X)"), X), "Series with an index": (pandas_of("pd.Series(X, index=[7, 5, 3])"), X),
    "DataFrame": (pandas_of("pd.DataFrame(ROWS, columns=list('abc'))"), ROWS), "Index": (pandas_of("pd.Index(X)"), X),
    "integer and floating columns": (pandas_of("pd.DataFrame({'a': [1, 2, 3], 'b': X})"), np.stack([[1.0, 2, 3], X], -1)),
}  # fmt: skip
LEFT = {"Series", "Series with an index", "Index"}  # pandas computes `series @ x` itself
converted = pytest.mark.parametrize("name", CONVERTED)


def uses(w: Any, v: Any) -> dict[str, Callable[[Any], Any]]:
    """Functions of one traced array that meet a value."""
    return {
        "product": lambda x: fnp.sum(x * v), "product from the left": lambda x: fnp.sum(w * x), "sum": lambda x: fnp.sum(x + v),
        "difference from the left": lambda x: fnp.sum((w - x) ** 2), "quotient": lambda x: fnp.sum(v / x), "power": lambda x: fnp.sum(x**v),
        "comparison": lambda x: fnp.sum(fnp.where(x < v, x, v)), "matmul": lambda x: fnp.sum(x @ v) ** 2,
        "np.dot": lambda x: np.sum(np.dot(x, v)) ** 2, "fnp": lambda x: fnp.sum(fnp.multiply(fnp.sin(v), x)) + fnp.mean(v),
        "functions": lambda x: fnp.sum(F.softmax(v) * x), "stack": lambda x: fnp.sum(fnp.stack([x * x, fnp.ravel(fnp.asarray(v))[:3]])),
        "list": lambda x: fnp.sum(fnp.asarray([x[0], fnp.sum(v)]) ** 2),
    }  # fmt: skip


@converted
def test_arrays_of_other_libraries_in_a_traced_function_are_numpys(name: str) -> None:
    make, array = CONVERTED[name]
    value = make()
    left = array if isinstance(value, Bare | Tensor) else value  # these have no operators of their own
    x = X[: array.shape[-1]] if name == "integer and floating columns" else X
    for what, function in uses(left, value).items():
        plain = uses(array, array)[what]
        if name == "integer and floating columns" and what in ("matmul", "np.dot", "stack"):
            continue
        expected = fd.value_and_grad(plain)(x)
        found = fd.value_and_grad(function)(x)
        # The array of a DataFrame has its columns in a row, and sums add its entries in that order.
        assert np.allclose(found[0], expected[0], rtol=1e-14), what
        assert np.allclose(found[1], expected[1], rtol=1e-14), what
        assert found[1].dtype == expected[1].dtype, what
        for transform in (fd.compile, lambda f: fd.compile(fd.grad(f)), lambda f: lambda y: fd.jvp(f, (y,), (y,))[1]):
            assert np.allclose(transform(function)(x), transform(plain)(x), rtol=1e-14), what
        rows = np.stack([x, x + 1])
        assert np.allclose(fd.vmap(function)(rows), fd.vmap(plain)(rows), rtol=1e-14), what


@converted
def test_they_are_arguments_of_transforms_and_leaves_of_trees(name: str) -> None:
    make, array = CONVERTED[name]
    loss = lambda p: fnp.sum(fnp.sin(p["w"]) * p["b"])
    given, plain = {"w": make(), "b": 2.0}, {"w": array, "b": 2.0}
    for transform in (fd.grad, fd.jacobian, fd.hessian):
        found, expected = transform(loss)(given), transform(loss)(plain)
        assert all(type(a) is type(b) and np.allclose(a, b, rtol=1e-14) for a, b in zip(fd.tree.leaves(found), fd.tree.leaves(expected), strict=True))
        assert type(fd.tree.leaves(found)[1]) is np.ndarray
    y, back = fd.vjp(lambda v: v * v, make())
    assert np.array_equal(y, array**2)
    assert np.array_equal(back(np.asarray(y))[0], 2 * array**3)
    assert np.array_equal(fd.jvp(lambda v: v * v, (make(),), (make(),))[1], 2 * array**2)
    assert np.array_equal(fd.vmap(lambda v: v * 2)(make()), array * 2)
    assert np.array_equal(fd.debug(fd.grad(lambda v: fnp.sum(v * v)))(make()), 2 * array)
    opt = optim.adam(0.1)
    params, _ = opt.step({"w": array}, {"w": array}, opt.init({"w": array}))
    assert isinstance(params["w"], np.ndarray)
    for function in (fnp.sum, fnp.sin, fnp.asarray, F.softmax, lambda v: fnp.reshape(v, -1), lambda v: fnp.max(v, axis=0)):
        found = function(make())
        assert isinstance(found, np.ndarray | np.generic)
        assert np.allclose(found, function(array), rtol=1e-14)


@converted
def test_compiled_functions_and_files_name_what_they_do_not_take(tmp_path: Path, name: str) -> None:
    value = CONVERTED[name][0]()
    with pytest.raises(StaticError, match=rf"v is {type(value).__name__}.*, an array of another library. Pass the array of numbers"):
        fd.compile(lambda v: v * 2)(value)
    with pytest.raises(FileError, match=rf"layer/v is {type(value).__name__}.*, which npz cannot keep"):
        fd.save(tmp_path / "x.npz", {"layer": {"v": value}})
    assert list(tmp_path.iterdir()) == []


def matrix(values: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(values)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "matrix": (lambda: matrix(ROWS), r"np.matrix float64\[3,3\]: its \* is a matrix product.*np.asarray\(M\), with @"),
    "masked": (lambda: np.ma.masked_array(X, [0, 1, 0]), r"a masked array float64\[3\] with masked entries.*x.filled\(0\)"),
    "tensor of text": (lambda: Tensor(["a", "b", "c"]), r"Tensor tensor.<U1\[3\] becomes an array <U1\[3\], not one of numbers.*to_numpy\(float\)"),
    "tensor on a GPU": (lambda: OnAnotherDevice(X), r"OnAnotherDevice .* does not become a NumPy array: can't convert cuda.*x.detach\(\).cpu\(\)"),
    "column of text": (pandas_of("pd.DataFrame({'a': [1.0, 2.0, 3.0], 'b': list('xyz')})"), r"DataFrame becomes an array object\[3,2\].*to_numpy\(float\)"),
    **{kind: (lambda kind=kind: getattr(sparse, kind)(ROWS), rf"{kind} float64\[3,3\] is a sparse matrix.*A.toarray\(\).*fd.custom_vjp")
       for kind in ("csr_matrix", "csc_array", "coo_matrix", "dia_array", "lil_matrix", "dok_array", "bsr_array")},
    "linear operator": (lambda: aslinearoperator(ROWS), r"float64\[3,3\] is a linear operator, not an array.*A @ np.eye\(n\).*fd.custom_vjp"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_derivative_is_refused_by_name_with_the_way_out(name: str) -> None:
    make, said = REFUSED[name]
    value = make()
    meet = [
        lambda x: fnp.sum(x * value), lambda x: fnp.sum(x + value), lambda x: fnp.sum(x @ value), lambda x: fnp.sum(fnp.multiply(value, x)),
        lambda x: fnp.sum(fnp.asarray(value)) * fnp.sum(x), lambda x: fnp.sum(np.dot(x, fnp.asarray(value))),
    ]  # fmt: skip
    for function in meet:
        for transform in (fd.grad, fd.compile, lambda f: fd.compile(fd.grad(f)), lambda f: lambda y: fd.jvp(f, (y,), (y,)), fd.debug):
            with pytest.raises(DTypeError, match=said):
                transform(function)(X)
        with pytest.raises(DTypeError, match=said):
            fd.vmap(function)(np.stack([X, X]))
    for call in (
        lambda: fd.grad(lambda p: fnp.sum(p["w"]))({"w": value}), lambda: fd.vjp(lambda v: v * 2, value), lambda: fd.vmap(lambda v: v * 2)(value),
        lambda: fd.jvp(lambda v: v * 2, (value,), (value,)), lambda: fd.hessian(lambda v: fnp.sum(v * 2))(value), lambda: fnp.sum(value), lambda: F.relu(value),
    ):  # fmt: skip
        with pytest.raises(DTypeError, match=said):
            call()
    with pytest.raises(FdezeroError):
        fd.compile(lambda v: v * 2)(value)


@pytest.mark.parametrize("name", [name for name in REFUSED if "tensor" not in name])
def test_from_the_left_they_are_refused_too(name: str) -> None:
    value = REFUSED[name][0]()
    for function in (lambda x: fnp.sum(value * x), lambda x: fnp.sum(value @ x)):
        with pytest.raises(FdezeroError):
            fd.grad(function)(X)


def test_a_library_that_takes_the_product_itself_is_named_in_the_error() -> None:
    dense, rows = sparse.csr_array(ROWS), pytest.importorskip("pandas", reason="pandas is no part of the tests' extras").DataFrame(ROWS)
    for function in (lambda x: fnp.sum(dense @ x), lambda x: fnp.sum(rows @ x)):
        with pytest.raises(TraceError, match=r"Of another library's array.*D.to_numpy\(\) @ x|scipy.sparse.*Write A.toarray\(\) @ x"):
            fd.grad(function)(X)


def test_products_with_a_sparse_matrix_are_a_rule_of_their_own() -> None:
    """The way out that the error names."""
    A = sparse.csr_array(ROWS)
    product = fd.custom_vjp(lambda x: A @ x)
    product.defvjp(lambda x: (A @ x, None), lambda _, t: (A.T @ t,))
    assert np.allclose(fd.grad(lambda x: fnp.sum(product(x) ** 2))(X), 2 * ROWS.T @ ROWS @ X)


def test_fractions_are_floats_and_decimals_are_pythons_own_error() -> None:
    assert fd.grad(lambda x: fnp.sum(x * fractions.Fraction(1, 2)))(X).tolist() == [0.5] * 3
    assert fd.grad(lambda x: fnp.sum(fractions.Fraction(1, 2) * x))(X).dtype == np.float64
    with pytest.raises(TypeError, match="Decimal"):
        fd.grad(lambda x: fnp.sum(x * decimal.Decimal("0.5")))(X)


def test_subclasses_of_numpys_arrays_and_unmasked_arrays_stay_as_they_are() -> None:
    class Own(np.ndarray):
        pass

    number = enum.IntEnum("number", "one two")
    for value in (number.two, X.view(Own), np.ma.masked_array(X, False), X.view(np.recarray), np.float32(2), "text", None, [1, 2], {1}):
        assert accepted(value) is value
    assert fd.grad(lambda x: fnp.sum(x**number.two))(X).tolist() == (2 * X).tolist()
    assert fd.grad(lambda x: fnp.sum(x * X.view(Own)))(X).tolist() == X.tolist()
    assert not hasattr(fd.tree.leaves(fd.grad(lambda x: fnp.sum(x * x))(X.view(Own)))[0], "mask")
