"""Whole derivatives, linear maps and vectors: trees, dtypes, argnums, aux, and the errors for mistakes."""

import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.core.owners import SMALL
from fdezero.errors import DTypeError, ShapeError, StructureError
from fdezero.testing import arrays, assert_trees_close, assert_trees_equal, pytrees

X = np.array([0.3, -0.4, 0.7])
TREE = {
    "w": np.array([[0.5, -0.25], [0.1, 0.3]]),
    "b": (0.5, np.array([0.2, 0.7], np.float32)),
    "n": 3,
    "none": None,
    "frozen": fd.Frozen(np.ones(2)),
}
MODES = [fd.jacobian, fd.jacfwd, fd.jacrev]
modes = pytest.mark.parametrize("transform", MODES, ids=lambda t: t.__name__)


def of_tree(tree: Any) -> Any:
    w, (c, b) = tree["w"], tree["b"]
    return {"y": fnp.sin(w) * c, "z": fnp.sum(w, axis=0) * b * tree["n"]}


def stacked_jvps(f: Any, x: Any) -> Any:
    """The Jacobian of an array by an array, column by column."""
    columns = [fd.jvp(f, (x,), (e.reshape(x.shape),))[1] for e in np.eye(x.size)]
    return np.stack(columns, -1).reshape(columns[0].shape + x.shape)


@modes
def test_jacobians_of_trees(transform: Any) -> None:
    J = transform(of_tree)(TREE)
    assert J["y"]["n"] is J["z"]["none"] is J["z"]["frozen"] is None
    w = TREE["w"]
    expected = np.zeros((2, 2, 2, 2))
    for i, j in np.ndindex(2, 2):
        expected[i, j, i, j] = np.cos(w[i, j]) * 0.5
    assert_trees_close(J["y"]["w"], expected, 1e-7)
    assert_trees_close(J["y"]["b"][0], np.sin(w), 1e-7)
    assert_trees_close(J["z"]["b"][1], np.diag(w.sum(0) * 3).astype(np.float32), 1e-6)
    assert J["z"]["b"][1].dtype == np.float32
    assert J["z"]["w"].dtype == np.float64
    assert J["y"]["b"][1].shape == (2, 2, 2)
    assert not J["y"]["b"][1].any()


@modes
@pytest.mark.parametrize("shapes", [((3,), (5,)), ((5,), (2,)), ((2, 3), ()), ((), (4,)), ((), ()), ((0,), (3,)), ((3,), (0,))], ids=str)
def test_blocks_are_output_shape_and_input_shape(transform: Any, shapes: Any) -> None:
    (shape, out), rng = shapes, np.random.default_rng(0)
    A = rng.standard_normal((int(np.prod(out)), int(np.prod(shape))))
    f = lambda x: fnp.sin(A @ x.reshape(A.shape[1])).reshape(out)
    x = rng.standard_normal(shape) if shape else np.asarray(0.4)
    J = transform(f)(x)
    expected = (np.cos(A @ x.reshape(-1))[:, None] * A).reshape(out + shape)
    assert J.shape == out + shape
    assert_trees_close(np.asarray(J), expected, 1e-13)


@modes
def test_argnums_aux_and_keywords(transform: Any) -> None:
    def f(x: Any, y: Any, *, power: int) -> Any:
        return x**power * y, {"note": "text", "twice": 2 * x}

    (of_y, of_x), aux = transform(f, argnums=(1, 0), has_aux=True)(X, 2.0, power=2)
    assert_trees_close(of_x, np.diag(4 * X), 1e-14)
    assert_trees_close(of_y, X**2, 1e-14)
    assert aux["note"] == "text"
    assert_trees_equal(aux["twice"], 2 * X)
    assert transform(lambda x, y: y, argnums=-1)(1.0, 2.0) == 1.0
    with pytest.raises(TypeError, match=r"argnums=2, but 1 positional"):
        transform(lambda x: x, argnums=2)(1.0)


@modes
def test_a_fortran_argument_and_an_outer_batch(transform: Any) -> None:
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    f = lambda x: fnp.sin(x).sum(0)
    assert_trees_close(transform(f)(x), stacked_jvps(f, x), 1e-14)
    batch = np.asfortranarray(np.stack([x, x + 1, x - 1], axis=-1))
    got = fd.vmap(transform(f), in_axes=-1)(batch)
    assert_trees_close(got, np.stack([stacked_jvps(f, batch[..., i]) for i in range(3)]), 1e-14)


def test_the_mode_follows_the_shape() -> None:
    names: list[str] = []

    def probe(x: Any) -> Any:
        names.append(type(x).__name__)
        return fnp.concatenate([x, x])

    fd.jacobian(probe)(X)
    assert names == ["TapeTracer", "ForwardTracer"]
    names.clear()
    fd.jacobian(lambda x: probe(x)[:2])(X)
    assert names == ["TapeTracer"]


def test_no_jacobian_of_integers() -> None:
    for transform in (*MODES, fd.hessian, fd.elementwise_grad):
        with pytest.raises(DTypeError, match=r"nothing to differentiate \(n: int64\[2\]\).*astype"):
            transform(lambda t: t["n"])({"n": np.array([1, 2])})
    for transform in MODES:
        with pytest.raises(DTypeError, match=r"output at 'i' is int64\[\].*has_aux=True"):
            transform(lambda x: {"y": x, "i": fnp.argmax(x)})(X)


def test_arrays_are_writable_after_a_jacobian() -> None:
    x = X.copy()
    for transform in (*MODES, fd.elementwise_grad):
        transform(lambda x: x * x)(x)
        assert x.flags.writeable


def test_arrays_are_writable_again_when_a_pushforward_is_gone() -> None:
    x = np.ones(SMALL)
    _, pushforward = fd.linearize(lambda x: x * x, x)
    assert not x.flags.writeable
    del pushforward
    gc.collect()
    assert x.flags.writeable


TOTAL, SQUARE, TWICE = lambda x: fnp.sum(x * x), lambda x: x * x, lambda x: fnp.concatenate([x * x, x])


@pytest.mark.parametrize(
    ("transform", "function"),
    [(fd.grad, TOTAL), (fd.hessian, TOTAL), (fd.elementwise_grad, SQUARE), (fd.jacrev, TWICE), (fd.jacobian, TOTAL), (fd.jacobian, TWICE)],
)
def test_arrays_are_writable_again_even_if_a_traced_value_is_kept(transform: Any, function: Any) -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x)
        return function(x)

    x = X.copy()
    transform(f)(x)
    assert x.flags.writeable


def test_hessians() -> None:
    f = lambda x: fnp.sum(x**3) * x[0]
    assert_trees_close(fd.hessian(f)(X), stacked_jvps(fd.grad(f), X), 1e-13)
    vector = lambda x: fnp.stack([f(x), fnp.sum(x * x)])
    H = fd.hessian(vector)(X)
    assert H.shape == (2, 3, 3)
    assert_trees_close(H[1], 2 * np.eye(3), 1e-14)
    H = fd.hessian(lambda t: {"l": fnp.sum(t["a"] ** 2) * t["c"]})({"a": X, "c": 2.0, "n": 1})
    assert_trees_close(H["l"]["a"]["a"], 4 * np.eye(3), 1e-14)
    assert_trees_close(H["l"]["a"]["c"], 2 * X, 1e-14)
    assert_trees_close(H["l"]["c"]["a"], 2 * X, 1e-14)
    assert H["l"]["a"]["n"] is None
    assert fd.hessian(lambda x: x**3)(2.0) == 12.0
    H, aux = fd.hessian(lambda x: (f(x), 2 * x), has_aux=True)(X)
    assert_trees_equal(aux, 2 * X)
    crossed = fd.hessian(lambda x, y: fnp.sum(x * y), argnums=(0, 1))(X, X)
    assert_trees_close(crossed[0][1], np.eye(3), 0)


def test_hvp_is_the_hessian_times_the_vector() -> None:
    f = lambda x, t: fnp.sum(fnp.sin(x) * x[::-1]) * t["s"]
    v = np.array([1.0, -2.0, 0.5])
    got = fd.hvp(f, (X, {"s": 2.0}), (v, None))
    assert got[1] is None
    assert_trees_close(got[0], fd.hessian(f)(X, {"s": 2.0}) @ v, 1e-13)
    both = fd.hvp(f, (X, {"s": 2.0, "n": 1}), (v, {"s": 0.5, "n": None}))
    assert both[1]["n"] is None
    assert_trees_close(both[0], got[0] + 0.5 * fd.grad(f)(X, {"s": 1.0}), 1e-13)
    product, aux = fd.hvp(lambda x: (fnp.sum(x**3), "aux"), (X,), (v,), has_aux=True)
    assert_trees_close(product[0], 6 * X * v, 1e-14)
    assert aux == "aux"
    assert fd.hvp(lambda x: fnp.sum(x**2), (X.astype(np.float32),), (v,))[0].dtype == np.float32


def test_tangents_unlike_their_primals_are_named() -> None:
    f = lambda tree: fnp.sum(tree["layers"][0]["W"]) ** 2
    primal = {"layers": [{"W": np.ones((2, 3)), "b": np.ones(3)}]}
    for product in (lambda *t: fd.hvp(f, (primal,), t), fd.linearize(f, primal)[1]):
        with pytest.raises(StructureError, match=r"primal 0 and tangent 0 differ at 'layers/0/b'"):
            product({"layers": [{"W": np.ones((2, 3))}]})
        with pytest.raises(ShapeError, match=r"tangent 0/layers/0/W is float64\[3,2\], but its primal is float64\[2,3\]"):
            product({"layers": [{"W": np.ones((3, 2)), "b": None}]})
        with pytest.raises(StructureError, match="all tangents are None"):
            product(None)
        with pytest.raises(StructureError, match="1 primals, but 2 tangents"):
            product(primal, primal)
    with pytest.raises(DTypeError, match="primal 1 has no floating numbers"):
        fd.hvp(lambda x, n: x * n, (1.0, 2), (1.0, 1))
    with pytest.raises(ShapeError, match=r"must return a scalar, got float64\[3\]"):
        fd.hvp(lambda x: x * x, (X,), (X,))


def test_elementwise_grad_and_grad_and_aux() -> None:
    assert_trees_close(fd.elementwise_grad(fnp.tanh)(X), 1 - np.tanh(X) ** 2, 1e-15)
    second = fd.elementwise_grad(fd.elementwise_grad(fnp.tanh))
    assert_trees_close(second(X), -2 * np.tanh(X) * (1 - np.tanh(X) ** 2), 1e-15)
    of_x, of_y = fd.elementwise_grad(lambda x, y: x * y, argnums=(0, 1))(X, 2.0)
    assert_trees_close(of_x, np.full(3, 2.0), 0)
    assert of_y == pytest.approx(X.sum())
    gradient, aux = fd.grad_and_aux(lambda x, k: (fnp.sum(x**2), k), argnums=0)(X, "k")
    assert_trees_close(gradient, 2 * X, 0)
    assert aux == "k"


def test_linearize() -> None:
    runs: list[Any] = []

    def f(tree: Any, y: Any) -> Any:
        runs.append(1)
        return {"a": fnp.sin(tree["x"]) * y, "index": fnp.argmax(tree["x"]), "const": 2.0}

    primals = ({"x": X, "n": 2}, 3.0)
    output, pushforward = fd.linearize(f, *primals)
    assert_trees_equal(output["a"], np.sin(X) * 3)
    for tangents in (({"x": X, "n": None}, 0.5), ({"x": np.ones(3), "n": None}, None)):
        got = pushforward(*tangents)
        filled = (tangents[0], 0.0 if tangents[1] is None else tangents[1])
        assert_trees_close(got, fd.jvp(f, primals, filled)[1], 1e-14)
    assert len(runs) == 3
    columns = fd.vmap(lambda e: pushforward({"x": e, "n": None}, None)["a"], out_axes=1)(np.eye(3))
    assert_trees_close(columns, np.diag(3 * np.cos(X)), 1e-14)
    assert pushforward({"x": X.astype(np.float32), "n": None}, None)["a"].dtype == np.float64


class Like:
    """An object with only a shape and a dtype."""

    shape, dtype = (3,), np.dtype("float32")


def test_linear_transpose() -> None:
    A = np.arange(6.0).reshape(2, 3)
    transpose = fd.linear_transpose(lambda t: {"y": A @ t["x"], "z": 2 * t["x"][::-1] - t["x"].sum()}, {"x": X})
    (got,) = transpose({"y": np.array([1.0, -1.0]), "z": np.ones(3)})
    assert_trees_close(got["x"], A.T @ [1.0, -1.0] + 2 - 3, 1e-14)
    (narrow,) = fd.linear_transpose(lambda x: fnp.cumsum(x) / 2, Like())(np.ones(3, np.float32))
    assert narrow.dtype == np.float32
    assert_trees_close(narrow, np.array([1.5, 1.0, 0.5], np.float32), 0)
    jvp_of = lambda v: fd.jvp(lambda x: fnp.sin(x) * x[::-1], (X,), (v,))[1]
    pulled = fd.vjp(lambda x: fnp.sin(x) * x[::-1], X)[1](np.ones(3))
    assert_trees_close(fd.linear_transpose(jvp_of, X)(np.ones(3)), pulled, 1e-14)
    first, second = fd.linear_transpose(lambda x, y: x + 3 * y, X, X)(X)
    assert_trees_close((first, second), (X, 3 * X), 1e-15)
    where = fd.linear_transpose(lambda x: fnp.where(X > 0, x, 0.0), X)(np.ones(3))[0]
    assert_trees_close(where, (X > 0) * 1.0, 0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + 1, r"at zero it returns array\(\[1., 1., 1.\]\)"),
        (lambda x: {"y": {"z": x * 0 + X}}, r"at 'y/z'"),
        (lambda x: x * x, "computes multiply of values"),
        (lambda x: 1 * fnp.sin(x), "computes sin of values"),
        (lambda x: fnp.maximum(x, 0), "computes maximum"),
        (lambda x: x.max(), "computes max"),
        (lambda x: X / (1 + x), "computes divide"),
        (lambda x: x @ x, "computes matmul"),
    ],
)
def test_functions_that_are_not_linear_are_refused(function: Any, message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(StructureError, match=message):
        fd.linear_transpose(function, X)


def test_nonlinear_work_on_the_side_is_no_matter() -> None:
    def f(x: Any) -> Any:
        fnp.sin(x)
        return 2 * x

    assert_trees_close(fd.linear_transpose(f, X)(X)[0], 2 * X, 0)
    with pytest.raises(DTypeError, match="needs floating numbers"):
        fd.linear_transpose(f, np.array([1, 2]))


@given(pytrees(st.sampled_from([np.float64, np.float32, np.float16, np.int64]).flatmap(arrays)))
def test_ravel_goes_there_and_back(tree: Any) -> None:
    vector, unravel = fd.ravel(tree)
    floating = [leaf for leaf in fd.tree.leaves(tree) if leaf.dtype.kind == "f"]
    assert vector.shape == (sum(leaf.size for leaf in floating),)
    assert vector.dtype == (np.result_type(*floating) if floating else np.float64)
    assert_trees_equal(unravel(vector), tree)
    assert_trees_close(unravel(2 * vector), fd.tree.map(lambda x: 2 * x if x.dtype.kind == "f" else x, tree), 1e-3)


def test_ravel_keeps_what_grad_passes_over() -> None:
    vector, unravel = fd.ravel(TREE)
    assert vector.shape == (7,)
    back = unravel(vector)
    assert (back["n"], back["none"], back["frozen"]) == (3, None, TREE["frozen"])
    assert back["b"][0] == 0.5
    assert back["b"][1].dtype == np.float32
    loss = lambda tree: fnp.sum(of_tree(tree)["y"]) + fnp.sum(of_tree(tree)["z"])
    by_vector = fd.grad(lambda v: loss(unravel(v)))(vector)
    assert_trees_close(by_vector, fd.ravel(fd.grad(loss)(TREE))[0], 1e-7)
    assert fd.vmap(unravel)(np.stack([vector, vector]))["w"].shape == (2, 2, 2)


def test_ravel_of_complex_and_mistakes() -> None:
    vector, unravel = fd.ravel({"r": X, "z": X + 1j})
    assert vector.dtype == np.complex128
    assert_trees_equal(unravel(vector), {"r": X, "z": X + 1j})
    unravel = fd.ravel(X)[1]
    with pytest.raises(ShapeError, match=r"expects float64\[3\], got float64\[4\].*3 floating entries"):
        unravel(np.ones(4))
    with pytest.raises(DTypeError, match=r"expects float64\[3\], got float32\[3\]. Use vector.astype\('float64'\)"):
        unravel(np.ones(3, np.float32))
    with pytest.raises(ShapeError, match=r"got list"):
        unravel([1.0, 2.0, 3.0])


def test_vmap_axes_of_every_kind() -> None:
    d = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(3.0), "c": None}
    f = lambda d, y, *, scale: {"s": d["a"] * scale + y, "b": (d["b"], y)}
    got = fd.vmap(f, in_axes=({"a": 1, "b": None, "c": None}, 0), out_axes={"s": 1, "b": (None, -1)})(d, np.ones(3), scale=2.0)
    assert_trees_close(got, {"s": 2 * d["a"] + 1, "b": (d["b"], np.ones(3))}, 0)
    assert_trees_close(fd.vmap(lambda x, *, m: m @ x)(np.eye(3), m=d["a"]), d["a"].T, 0)
    assert_trees_close(fd.vmap(lambda: X, axis_size=2)(), np.stack([X, X]), 0)
    assert_trees_close(fd.vmap(lambda x: x, in_axes=None, axis_size=2)(X), np.stack([X, X]), 0)
    assert fd.vmap(fnp.sin)(np.ones((0, 3))).shape == (0, 3)
    with pytest.raises(StructureError, match=r"in_axes .* is not a prefix of argument 0, whose leaves are a, b"):
        fd.vmap(lambda d: d, in_axes=({"a": 0},))(d)
    with pytest.raises(StructureError, match=r"out_axes .* is not a prefix of the result"):
        fd.vmap(lambda x: x, out_axes=(0, 0))(X)
    with pytest.raises(StructureError, match=r"in_axes has 'rows' for argument 1"):
        fd.vmap(lambda x, y: x, in_axes=(0, "rows"))(X, X)
    with pytest.raises(ShapeError, match=r"axis_size=2, argument 0 float64\[3\] \(axis 0\)"):
        fd.vmap(lambda x: x, axis_size=2)(X)
    with pytest.raises(ShapeError, match="Pass in_axes or axis_size"):
        fd.vmap(lambda x: x, in_axes=None)(X)
    with pytest.raises(ShapeError, match="out_axes is 1, but with its batch axis the result has 1 axes"):
        fd.vmap(lambda x: x, out_axes=1)(X)
    with pytest.raises(ShapeError, match="out_axes is None for the result"):
        fd.vmap(lambda x: x, out_axes=None)(X)
    with pytest.raises(ShapeError, match="names 2 arguments, but 1 were given"):
        fd.vmap(lambda x: x, in_axes=(0, 0))(X)


def test_gradients_by_example_are_those_of_a_loop() -> None:
    model = fd.nn.MLP.init(fd.random.key(0), (4, 8, 3))
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((16, 4)).astype(np.float32), rng.integers(0, 3, 16)
    gradient = fd.grad(lambda model, x, t: fd.functions.softmax_cross_entropy(model(x[None]), t[None]))
    got = fd.vmap(gradient, in_axes=(None, 0, 0))(model, x, t)
    loop = [gradient(model, x[i], t[i]) for i in range(16)]
    assert_trees_close(got, fd.tree.map(lambda *leaves: np.stack(leaves), *loop), 1e-6)
    compiled = fd.compile(fd.vmap(gradient, in_axes=(None, 0, 0)))
    assert_trees_equal(compiled(model, x, t), got)


# Complex numbers: cotangents as those of `vjp`, J^H t

Z = np.array([0.3 + 0.2j, -0.4 + 1j, 0.7])


def test_complex_jacobians() -> None:
    f = lambda z: fnp.stack([z[0] * z[1], fnp.exp(z[2])])
    expected = np.array([[Z[1], Z[0], 0], [0, 0, np.exp(Z[2])]])
    for transform in MODES:
        assert_trees_close(transform(f, holomorphic=True)(Z), expected, 1e-14)
        assert transform(lambda z: z**3, holomorphic=True)(1j) == -3
    assert_trees_close(fd.hessian(lambda z: fnp.sum(z**3), holomorphic=True)(Z), np.diag(6 * Z), 1e-14)
    norm = lambda z: fnp.real(z * fnp.conj(z))
    for transform in (fd.jacobian, fd.jacrev):  # real outputs: the rows are gradients
        assert_trees_close(transform(norm)(Z), np.diag(2 * Z), 1e-14)
    scaled = lambda z, x: x * np.arange(5.0) * fnp.abs(z)  # one complex input of two, and more outputs than inputs
    for got, expected in zip(fd.jacobian(scaled, argnums=(0, 1))(3 + 4j, 2.0), (1.2 + 1.6j, 5.0), strict=True):
        assert_trees_close(got, expected * np.arange(5.0), 1e-14)
    for transform in (fd.jacobian, fd.jacfwd):  # real inputs
        assert_trees_close(transform(lambda x: fnp.exp(1j * x))(X), np.diag(1j * np.exp(1j * X)), 1e-14)
    for transform, function in ((fd.jacobian, f), (fd.jacfwd, norm), (fd.jacrev, f), (fd.elementwise_grad, f)):
        with pytest.raises(DTypeError, match=r"is complex128\[.*holomorphic=True if it is"):
            transform(function)(Z)
    assert_trees_close(fd.elementwise_grad(lambda z: z**2, holomorphic=True)(Z), 2 * Z, 1e-14)
    assert_trees_close(fd.elementwise_grad(norm)(Z), 2 * Z, 1e-14)


def test_complex_linear_maps() -> None:
    A = np.array([[1j, 2.0, 1 + 1j], [0.5, -1j, 3.0]])
    f = lambda z: fnp.sin(A @ z) * fnp.conj(z[0])
    tangent, cotangent = Z[::-1] * 1j, np.array([1 + 2j, -0.5j])
    assert_trees_close(fd.linearize(f, Z)[1](tangent), fd.jvp(f, (Z,), (tangent,))[1], 1e-14)
    assert_trees_close(fd.linear_transpose(lambda z: A @ z, Z)(cotangent)[0], A.conj().T @ cotangent, 1e-14)
    loss = lambda z: fnp.sum(abs(f(z)) ** 2)
    assert_trees_close(fd.hvp(loss, (Z,), (tangent,))[0], fd.jvp(fd.grad(loss), (Z,), (tangent,))[1], 1e-14)
    vector, unravel = fd.ravel({"z": Z, "r": 0.5, "c": 2j})
    back = fd.grad(lambda v: loss(unravel(v)["z"]) + unravel(v)["r"] ** 2)(vector)
    assert_trees_close(back, np.concatenate([[0, 1.0], fd.grad(loss)(Z)]), 1e-14)
