"""Initialisers: their formulas, moments and bounds; the axes that count as fans; devices, transforms, and what `draw` refuses."""

import functools
import inspect
import math
import pickle
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fdezero as fd
from fdezero import nn
from fdezero.errors import DeviceError, DTypeError, KeyMissingError, RangeError, ShapeError, StructureError
from fdezero.messages import called
from fdezero.nn import initial
from fdezero.testing import assert_trees_close, assert_trees_equal

KEY = fd.random.key(3)
SHAPE = (60, 50)  # of a matrix with 60 inputs and 50 outputs
FANS = {"fan_in": 60, "fan_out": 50, "fan_avg": 55}
# name -> scale, fan, distribution, by the papers named in the docstrings
SCALED = {
    "lecun_normal": (1, "fan_in", "normal"), "lecun_uniform": (1, "fan_in", "uniform"),
    "glorot_normal": (1, "fan_avg", "normal"), "glorot_uniform": (1, "fan_avg", "uniform"),
    "he_normal": (2, "fan_in", "normal"), "he_uniform": (2, "fan_in", "uniform"),
}  # fmt: skip
EVERY = [initial.zeros, initial.ones, initial.constant(0.25), initial.normal(0.1), initial.truncated_normal(0.1), initial.uniform(-1, 2),
         initial.orthogonal(), initial.identity(), initial.variance_scaling(1, "fan_out", "truncated_normal"), *(getattr(initial, name) for name in SCALED)]  # fmt: skip
SCALINGS = [(initial.variance_scaling(scale, mode, kind), scale, mode, kind) for scale in (1, 0.3) for mode in FANS for kind in ("normal", "uniform", "truncated_normal")]


def _word(part: Any) -> str:
    return called(part) if callable(part) else type(part).__name__


def drawn(initialiser: Any, shape: tuple[int, ...] = SHAPE, dtype: Any = np.float64, key: Any = KEY, **axes: Any) -> Any:
    return initial.draw(initialiser, key, shape, dtype, **axes)


@pytest.mark.parametrize(("initialiser", "scale", "mode", "kind"), [*SCALINGS, *((getattr(initial, name), *row) for name, row in SCALED.items())], ids=_word)
def test_scaled_numbers_have_their_distribution(initialiser: Any, scale: float, mode: str, kind: str) -> None:
    deviation = math.sqrt(scale / FANS[mode])
    within = math.sqrt(stats.truncnorm(-2, 2).var())
    exact = {"normal": stats.norm(0, deviation), "uniform": stats.uniform(-math.sqrt(3) * deviation, 2 * math.sqrt(3) * deviation),
             "truncated_normal": stats.truncnorm(-2, 2, 0, deviation / within)}[kind]  # fmt: skip
    assert exact.std() == pytest.approx(deviation, rel=1e-12)
    assert stats.kstest(drawn(initialiser).ravel(), exact.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("initialiser", "exact"), [
    (initial.normal(0.5), stats.norm(0, 0.5)), (initial.normal(0.5, 3), stats.norm(3, 0.5)), (initial.uniform(-1, 3), stats.uniform(-1, 4)),
    (initial.truncated_normal(0.5, 3), stats.truncnorm(-2, 2, 3, 0.5)), (initial.truncated_normal(2.0, 0, 0.5), stats.truncnorm(-0.5, 0.5, 0, 2)),
], ids=_word)  # fmt: skip
def test_numbers_have_the_distribution_that_is_asked_for(initialiser: Any, exact: Any) -> None:
    y = drawn(initialiser)
    assert exact.support()[0] <= y.min()
    assert y.max() <= exact.support()[1]
    assert stats.kstest(y.ravel(), exact.cdf).pvalue > 1e-3


def test_constants() -> None:
    assert_trees_equal(drawn(initial.zeros, (2, 3), np.float32), np.zeros((2, 3), np.float32))
    assert_trees_equal(drawn(initial.ones, (2, 3), np.float32), np.ones((2, 3), np.float32))
    assert_trees_equal(drawn(initial.constant(-1.5), (3,), np.float16), np.full(3, -1.5, np.float16))


def test_names_in_use_for_the_same_initialiser() -> None:
    assert initial.xavier_normal is initial.glorot_normal
    assert initial.xavier_uniform is initial.glorot_uniform
    assert initial.kaiming_normal is initial.he_normal
    assert initial.kaiming_uniform is initial.he_uniform


@pytest.mark.parametrize("name", SCALED)
def test_named_initialisers_take_a_matrix_of_rows_of_inputs(name: str) -> None:
    assert_trees_equal(getattr(initial, name)(KEY, SHAPE, np.float64), drawn(getattr(initial, name)))
    for made in (initial.orthogonal(), initial.identity(), initial.variance_scaling(*SCALED[name])):
        assert_trees_equal(made(KEY, (3, 2), np.float64), drawn(made, (3, 2)))


@pytest.mark.parametrize("name", SCALED)
def test_fans_of_a_convolution_count_the_kernel(name: str) -> None:
    scale, mode, _ = SCALED[name]
    inputs, outputs = 4 * 3 * 5, 40 * 3 * 5  # of W (40, 4, 3, 5)
    fan = {"fan_in": inputs, "fan_avg": (inputs + outputs) / 2}[mode]
    y = drawn(getattr(initial, name), (40, 4, 3, 5), in_axis=1, out_axis=0)
    assert y.std() == pytest.approx(math.sqrt(scale / fan), rel=0.05)
    assert_trees_equal(y, drawn(getattr(initial, name), (40, 4, 3, 5), in_axis=-3, out_axis=-4))
    assert_trees_equal(y, drawn(getattr(initial, name), (40, 4, 3, 5), in_axis=(1,), out_axis=(0,)))


def test_fans_of_several_axes_are_products() -> None:
    y = drawn(initial.variance_scaling(1.0, "fan_in", "uniform"), (4, 5, 30, 6), in_axis=(0, 1), out_axis=(2, 3))
    limit = math.sqrt(3 / 20)
    assert 0.99 * limit < np.abs(y).max() <= limit


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 3)])
def test_orthogonal_matrices(shape: tuple[int, int]) -> None:
    W = drawn(initial.orthogonal(1.5), shape)
    product = W.T @ W if shape[0] >= shape[1] else W @ W.T
    np.testing.assert_allclose(product, 2.25 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_convolutions_have_orthonormal_outputs() -> None:
    W = drawn(initial.orthogonal(), (6, 2, 3, 3), in_axis=1, out_axis=0)
    np.testing.assert_allclose(W.reshape(6, -1) @ W.reshape(6, -1).T, np.eye(6), atol=1e-12)
    assert W.flags.c_contiguous


def test_orthogonal_matrices_are_uniform() -> None:
    keys = fd.random.split(KEY, 400)
    W = fd.vmap(lambda key: initial.draw(initial.orthogonal(), key, (3, 3), np.float64))(keys)
    # An entry of a uniform direction in space is uniform in (-1, 1); the trace has mean 0 and variance 1 (Diaconis and Shahshahani, 1994).
    for entry in (W[:, 0, 0], W[:, 2, 1]):
        assert stats.kstest(entry, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    trace = np.trace(W, axis1=1, axis2=2)
    assert abs(trace.mean()) < 0.2
    assert 0.8 < trace.var() < 1.2
    assert 0.4 < (np.linalg.det(W) > 0).mean() < 0.6


def test_identity() -> None:
    assert_trees_equal(drawn(initial.identity(2.0), (3, 4), np.float32), 2 * np.eye(3, 4, dtype=np.float32))
    W = drawn(initial.identity(), (3, 2, 3, 4), in_axis=1, out_axis=0)
    expected = np.zeros((3, 2, 3, 4))
    expected[0, 0, 1, 2] = expected[1, 1, 1, 2] = 1
    assert_trees_equal(W, expected)
    grouped = drawn(initial.identity(groups=2), (4, 2, 3), in_axis=1, out_axis=0)
    expected = np.zeros((4, 2, 3))
    expected[[0, 1, 2, 3], [0, 1, 0, 1], 1] = 1
    assert_trees_equal(grouped, expected)
    with pytest.raises(RangeError, match="3 groups do not divide 4 outputs"):
        drawn(initial.identity(groups=3), (4, 2, 3), in_axis=1, out_axis=0)


def test_initialisers_of_torch() -> None:
    torch = pytest.importorskip("torch")
    ours = drawn(initial.identity(groups=2), (6, 4, 3, 5), in_axis=1, out_axis=0)
    assert_trees_equal(ours, torch.nn.init.dirac_(torch.empty(6, 4, 3, 5, dtype=torch.float64), groups=2).numpy())
    for name, theirs in {"glorot": "xavier", "he": "kaiming"}.items():
        for kind in ("normal", "uniform"):
            W = getattr(torch.nn.init, f"{theirs}_{kind}_")(torch.empty(300, 40, 3))
            assert drawn(getattr(initial, f"{name}_{kind}"), (300, 40, 3), in_axis=1, out_axis=0).std() == pytest.approx(float(W.std()), rel=0.02)


@pytest.mark.parametrize("initialiser", EVERY, ids=called)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_layout_and_key_are_obeyed(initialiser: Any, dtype: Any) -> None:
    y = drawn(initialiser, (4, 5), dtype)
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    assert y.flags.writeable
    assert_trees_equal(y, drawn(initialiser, (4, 5), dtype), bits=True)
    if "uniform" not in initialiser.__name__:  # whose bits are as many as the dtype has
        assert_trees_close(y.astype(np.float64), drawn(initialiser, (4, 5)), 2e-3 if dtype == np.float16 else 1e-6)
    is_fixed = initialiser in (initial.zeros, initial.ones, initial.constant(0.25), initial.identity())
    assert is_fixed is np.array_equal(y, drawn(initialiser, (4, 5), dtype, fd.random.key(4)))


@pytest.mark.parametrize("initialiser", EVERY, ids=called)
def test_initialisers_are_batched_compiled_and_run_where_the_key_is(initialiser: Any, gpu: Any) -> None:
    keys = fd.random.split(KEY, 3)
    loop = np.stack([drawn(initialiser, (4, 5), key=key) for key in keys])
    assert_trees_close(fd.vmap(lambda key: drawn(initialiser, (4, 5), key=key))(keys), loop, 1e-14)
    compiled = fd.compile(lambda key: drawn(initialiser, (4, 5), key=key))
    for key, y in zip(keys, loop, strict=True):
        assert_trees_close(compiled(key), y, 1e-14)
    there = drawn(initialiser, (4, 5), key=fd.to_device(KEY, "gpu"))
    assert fd.device_of(there) == "gpu:0"
    assert_trees_close(fd.to_numpy(there), drawn(initialiser, (4, 5)), 1e-12)


def test_initialisers_with_options_are_values() -> None:
    made = initial.normal(0.02)
    assert made == initial.normal(0.02) != initial.normal(0.03)
    assert len({made, initial.normal(0.02)}) == 1
    assert_trees_equal(drawn(pickle.loads(pickle.dumps(made))), drawn(made))
    assert repr(initial.variance_scaling(2, "fan_out")) == "variance_scaling(2.0, 'fan_out', 'normal')"


# Layers


def test_the_defaults_are_those_of_dezero() -> None:
    layer = nn.Linear.init(KEY, 40, 30)
    assert_trees_equal(layer.W, fd.random.normal(KEY, (40, 30)) * math.sqrt(1 / 40), bits=True)
    assert_trees_equal(layer.b, np.zeros(30, np.float32), bits=True)
    keys = fd.random.split(KEY, 2)
    model = nn.MLP.init(KEY, (5, 4, 3))
    assert_trees_equal(list(model.layers), [nn.Linear.init(keys[0], 5, 4), nn.Linear.init(keys[1], 4, 3)], bits=True)


def test_layers_draw_as_they_are_told() -> None:
    layer = nn.Linear.init(KEY, 40, 30, weight_init=initial.he_uniform, bias_init=initial.normal(0.1), dtype=np.float64)
    assert_trees_equal(layer.W, drawn(initial.he_uniform, (40, 30)), bits=True)
    assert 0.05 < layer.b.std() < 0.15
    assert nn.Linear.init(KEY, 4, 3, bias=False, bias_init=initial.ones).b is None
    model = nn.MLP.init(KEY, (5, 4, 3), weight_init=initial.ones, bias_init=initial.constant(2))
    assert {float(leaf.min()) for leaf in fd.tree.leaves(model)} == {1.0, 2.0}


DRAWS_NO_WEIGHTS = {"SpectralNorm"}  # draws the vector where its iteration begins


def test_every_layer_that_draws_takes_initialisers() -> None:
    for name in nn.__all__:
        init = getattr(getattr(nn, name), "init", None)
        parameters = inspect.signature(init).parameters if init is not None else {}
        if "key" in parameters and name not in DRAWS_NO_WEIGHTS:
            hands_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
            assert hands_on or "weight_init" in parameters, name
            assert hands_on or "bias_init" in parameters or "bias" not in parameters, name


def test_weight_and_bias_are_independent() -> None:
    layer = fd.debug(lambda key: nn.Linear.init(key, 1, 30, weight_init=initial.normal(1), bias_init=initial.normal(1)), keys=True)(KEY)
    assert (layer.W[0] != layer.b).all()


def test_functions_of_ones_own() -> None:
    def by_fans(key: Any, shape: Any, dtype: Any, in_axis: Any, out_axis: Any) -> Any:
        return np.full(shape, 10 * in_axis + out_axis, dtype)

    assert_trees_equal(drawn(by_fans, (1, 2), in_axis=1, out_axis=0), np.full((1, 2), 10.0))
    assert_trees_equal(drawn(functools.partial(by_fans, in_axis=2, out_axis=3), (1, 2)), np.full((1, 2), -21.0))
    assert_trees_equal(drawn(lambda key, shape, dtype: np.eye(*shape, dtype=int), (2, 2), np.float32), np.eye(2, dtype=np.float32))
    assert_trees_equal(drawn(lambda key, shape, dtype: [[1, 2], [3, 4]], (2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]]))


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a class": (nn.Linear, StructureError, r"got the class Linear\. Write Linear\(\.\.\.\) for an instance"),
    "a name": ("he_normal", StructureError, r"got 'he_normal'\. Write nn\.initial\.he_normal\."),
    "another name": ("he", StructureError, r"got 'he'\. nn\.initial has the usual ones\."),
    "a number": (0.5, StructureError, r"got float 0\.5\. Write nn\.initial\.constant\(0\.5\)"),
    "an array": (np.ones((4, 3)), StructureError, r"got float64\[4,3\]\. An array goes to the constructor"),
    "nothing": (None, StructureError, "got NoneType"),
    "a maker": (initial.normal, StructureError, r"and normal makes one: write nn\.initial\.normal\(0\.02\)"),
    "a maker without options": (initial.orthogonal, StructureError, r"write nn\.initial\.orthogonal\(\)"),
    "too few arguments": (lambda key, shape: key, StructureError, r"<lambda>\(key, shape\) cannot be called like that: too many positional"),
    "another shape": (lambda key, shape, dtype: np.ones(shape[::-1]), ShapeError, r"<lambda> was asked for an array of shape \(4, 3\), but gave float64\[3,4\]"),
    "a scalar": (lambda key, shape, dtype: 0.1, ShapeError, r"shape \(4, 3\), but gave float64\[\]"),
    "complex": (lambda key, shape, dtype: 1j * np.ones(shape), DTypeError, r"was asked for float32, but gave complex128\[4,3\]"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", REFUSED)
def test_draw_refuses(wrong: str) -> None:
    initialiser, error, message = REFUSED[wrong]
    with pytest.raises(error, match="Linear: weight_init.*" + message):
        nn.Linear.init(KEY, 4, 3, weight_init=initialiser)


def test_a_bias_has_no_fans() -> None:
    with pytest.raises(ShapeError, match=r"the shape is \(3,\)\. For a bias, use nn\.initial\.zeros.*\(at Linear: bias_init\)"):
        nn.Linear.init(KEY, 4, 3, bias_init=initial.he_normal)


def test_an_mlp_names_the_layer_that_cannot_be_drawn() -> None:
    with pytest.raises(ShapeError, match=r"shape \(3, 2\), but gave float64\[4,3\]\. \(at layers/1\)"):
        nn.MLP.init(KEY, (4, 3, 2), weight_init=lambda key, shape, dtype: np.ones((4, 3)))


def test_an_array_on_another_device_is_refused(strict_cupy: Any) -> None:
    with pytest.raises(DeviceError, match=r"gave an array on cpu, but the key is on gpu:0\. Draw with a key on the CPU"):
        nn.Linear.init(fd.to_device(KEY, "gpu"), 4, 3, weight_init=lambda key, shape, dtype: np.ones(shape, dtype))


def test_a_seed_is_no_key() -> None:
    with pytest.raises(KeyMissingError, match=r"Linear: weight_init needs a key, but int 0 is a seed"):
        nn.Linear.init(0, 4, 3, weight_init=initial.ones)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(("call", "message"), [
    (lambda: initial.normal(-1), "normal: stddev must not be negative, got int -1"), (lambda: initial.normal("1"), "stddev must be a number, got str"),
    (lambda: initial.normal(math.nan), "stddev must be a number, got float nan"), (lambda: initial.constant(True), "constant: value must be a number, got bool True"),
    (lambda: initial.uniform(0, "1"), "uniform: high must be a number, got str"), (lambda: initial.uniform(None, 1), "uniform: low must be a number, got NoneType"),
    (lambda: initial.uniform(1, 0), "uniform: low must not be above high, got 1.0 and 0.0"), (lambda: initial.truncated_normal(1, 0, 0), "cut must be above 0, got int 0"),
    (lambda: initial.variance_scaling(0), "variance_scaling: scale must be above 0"), (lambda: initial.variance_scaling(1, "in"), "mode must be one of 'fan_in', .*, got 'in'"),
    (lambda: initial.variance_scaling(1, "fan_in", "cauchy"), "distribution must be one of .*, got 'cauchy'"), (lambda: initial.identity(groups=0), "groups must be an integer of at least 1"),
])  # fmt: skip
def test_options_are_checked(call: Any, message: str) -> None:
    with pytest.raises(RangeError, match=message):
        call()
