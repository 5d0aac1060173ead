"""What the CPU refuses: on a GPU it is refused where it costs no wait, NaN elsewhere, and an error under `debug`."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero import special, stats
from fdezero.devices import why_no_gpu
from fdezero.errors import DeviceError, MatrixError, NanError, RangeError
from fdezero.ops.indexing import put

from .strict_cupy_array import TRANSFERS

GOOD, SINGULAR, INDEFINITE = np.array([[4.0, 2.0], [2.0, 3.0]]), np.ones((2, 2)), np.array([[1.0, 2.0], [2.0, 1.0]])


def there(*values: Any) -> Any:
    moved = fd.to_device(values, "gpu")
    return moved[0] if len(moved) == 1 else moved


# --- matrices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-np.eye(2), INDEFINITE, np.zeros((2, 2)), np.full((2, 2), np.nan)], ids=["negative", "indefinite", "zero", "nan"])
def test_cholesky_is_nan_for_a_matrix_that_the_cpu_refuses(bad: np.ndarray, gpu: Any) -> None:
    if np.isfinite(bad).all():
        with pytest.raises(MatrixError):
            fnp.linalg.cholesky(bad)
    stack = there(np.stack([bad, GOOD, np.eye(2)]))
    for cholesky in (fnp.linalg.cholesky, compiled := fd.compile(fnp.linalg.cholesky), compiled):
        y = fd.to_numpy(cholesky(stack))
        assert np.isnan(y[0]).all()
        np.testing.assert_allclose(y[1:], np.linalg.cholesky(np.stack([GOOD, np.eye(2)])), rtol=1e-14)
    if np.isfinite(bad).all():
        with pytest.raises(NanError, match="cholesky made 4 NaNs"):
            fd.debug(fnp.linalg.cholesky)(there(bad))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_factors_of_good_matrices_of_any_size_pass_the_check(dtype: str, gpu: Any) -> None:
    rng = np.random.default_rng(0)
    for n, scale in ((1, 1e-20), (3, 1.0), (40, 1e10)):
        a = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)) * (dtype[0] == "c")
        a = ((a @ a.conj().T + 1e-4 * np.eye(n)) * scale).astype("complex128")
        a = (a if dtype[0] == "c" else a.real).astype(dtype)
        assert np.isfinite(fd.to_numpy(fnp.linalg.cholesky(there(a)))).all()


def test_singular_matrices_give_nan_and_their_neighbours_are_right(gpu: Any) -> None:
    stack, b = there(np.stack([SINGULAR, GOOD]), np.ones((2, 2, 1)))
    for y, expected in ((fnp.linalg.inv(stack), np.linalg.inv(GOOD)), (fnp.linalg.solve(stack, b), np.linalg.solve(GOOD, np.ones((2, 1))))):
        found = fd.to_numpy(y)
        assert np.isnan(found[0]).all()
        np.testing.assert_allclose(found[1], expected, rtol=1e-14)
    infinite = fd.to_numpy(fnp.linalg.solve(there(GOOD), there(np.array([np.inf, 1.0]))))
    np.testing.assert_array_equal(np.isnan(infinite), np.isnan(np.linalg.solve(GOOD, np.array([np.inf, 1.0]))))
    nan = there(np.full((2, 2), np.nan))
    for y in (fnp.linalg.eigh(nan), fnp.linalg.svd(nan), fnp.linalg.eig(nan)):
        assert all(np.isnan(part).all() for part in fd.to_numpy(tuple(y)))


def test_densities_of_an_indefinite_covariance_are_nan(gpu: Any) -> None:
    x, mean, covariance = there(np.ones(2), np.zeros(2), INDEFINITE)
    assert np.isnan(fd.to_numpy(stats.multivariate_normal.logpdf(x, mean, covariance)))


def test_eigenvectors_without_a_derivative_are_an_error_because_one_waits_anyway(gpu: Any) -> None:
    defective = np.array([[1.0, 1.0], [0.0, 1.0]])
    for a in (defective, there(defective)):
        with pytest.raises(MatrixError, match="fewer eigenvectors"):
            fd.grad(lambda a: fnp.real(fnp.sum(fnp.linalg.eig(a)[1] ** 2)))(a)


# --- indices ---------------------------------------------------------------------------------------------------------

INDEX = np.array([0, 7, -5, -6])


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int64", "bool"])
def test_an_index_out_of_range_reads_nan(dtype: str, gpu: Any) -> None:
    x = np.arange(1, 6).astype(dtype)
    x_there, index = there(x, INDEX)
    nothing = x.dtype.type(np.nan if x.dtype.kind in "fc" else 0 if dtype == "bool" else np.iinfo(dtype).min)
    for take in (lambda x, i: fnp.take(x, i), lambda x, i: fnp.getitem(x, i), fd.compile(lambda x, i: fnp.getitem(x, i)), fd.vmap(fnp.getitem, (None, 0))):
        for _ in range(2):
            np.testing.assert_array_equal(fd.to_numpy(take(x_there, index)), np.array([x[0], nothing, x[0], nothing]))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex128", "int32"])
def test_an_index_out_of_range_adds_nothing(dtype: str, gpu: Any) -> None:
    x, index = there(np.zeros(5, dtype), INDEX)
    added = fd.to_numpy(fd.at(x)[np.array([0, 0, 2])].add(1))
    assert added.tolist() == [2, 0, 1, 0, 0]
    assert fd.to_numpy(fd.at(x)[index].set(np.ones(4, dtype)[0])).tolist() == [1, 0, 0, 0, 0]
    assert fd.to_numpy(fd.at(x)[index].add(1)).tolist() == [2, 0, 0, 0, 0]
    if np.dtype(dtype).kind in "fc":
        slope = fd.grad(lambda x: fnp.real(fnp.sum(fnp.take(x, index))))(x)
        assert fd.to_numpy(slope).tolist() == [2, 0, 0, 0, 0]


def test_indices_of_any_shape_read_and_add_what_numpy_reads_and_adds(gpu: Any) -> None:
    x = np.arange(60.0).reshape(3, 4, 5)
    calls: list[Callable[[Any, Callable[[Any], Any]], Any]] = [
        lambda x, up: fnp.take(x, up(np.array([[0], [-1]], np.int8)), 1), lambda x, up: fnp.take(x, up(np.array(2)), 2),
        lambda x, up: x[up(np.array([0, 2])), :, up(np.array([1, -5]))], lambda x, up: fnp.take_along_axis(x, fnp.argsort(-x, axis=1), 1),
        lambda x, up: x[..., up(np.array([], np.int64))], lambda x, up: x[:, ::-1, None][up(np.array([2], np.uint8))],
        lambda x, up: fd.vmap(lambda row, i: row[i], (0, 0))(x, up(np.array([[3, 0], [1, 1], [2, -1]]))),
    ]  # fmt: skip
    for call in calls:
        for f in (lambda x, up: call(x, up), lambda x, up: fd.grad(lambda x: fnp.sum(call(x, up) ** 3))(x)):
            np.testing.assert_array_equal(fd.to_numpy(f(there(x), there)), fd.to_numpy(f(fnp.asarray(x), lambda i: i)))


def test_an_index_that_lies_on_the_cpu_is_refused_there(gpu: Any) -> None:
    x = there(np.arange(5.0))
    for wrong in (np.array([7]), np.array([-6])):
        with pytest.raises(IndexError, match="is out of bounds for an axis of length 5"):
            fnp.take(x, wrong)
        with pytest.raises(IndexError, match="out of bounds"):
            fd.grad(lambda x: fnp.sum(fnp.getitem(x, wrong)))(x)


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_none_makes_the_loss_and_its_gradient_nan(label: int, gpu: Any) -> None:
    logits, labels = there(np.arange(6.0, dtype=np.float32).reshape(2, 3), np.array([1, label]))
    for f in (fd.value_and_grad(F.softmax_cross_entropy), compiled := fd.compile(fd.value_and_grad(F.softmax_cross_entropy)), compiled):
        loss, slope = fd.to_numpy(f(logits, labels))
        assert np.isnan(loss)
        assert np.isnan(slope[1]).all()
    with pytest.raises(RangeError, match=f"softmax_cross_entropy: labels lie between {min(label, 1)} and {max(label, 1)}"):
        fd.debug(F.softmax_cross_entropy)(logits, labels)
    assert np.isfinite(fd.debug(F.softmax_cross_entropy)(logits, there(np.array([1, 2]))))


def test_debug_finds_an_index_out_of_range(gpu: Any) -> None:
    x, index = there(np.arange(5.0), np.array([4, 7]))
    with pytest.raises(IndexError, match="gather: indices lie between 4 and 7, but the axis has 5 entries"):
        fd.debug(fnp.take)(x, index)
    with pytest.raises(IndexError, match="put: indices lie between 4 and 7"):
        fd.debug(lambda x, i: put(x, x[:2], i), nans=True)(x, index)
    fd.debug(fd.grad(lambda x, i: fnp.sum(fnp.take(x, i))))(x, there(np.array([-5, 4])))


# --- installations, devices, single operations -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("matmul", ImportError("Failure finding libcublasLt.so.13"), "its first matrix product fails: Failure finding libcublasLt.so.13"),
        ("ones", RuntimeError("Failed to find CUDA headers.\nmore"), "its first kernel fails: Failed to find CUDA headers"),
    ],
)
def test_an_installation_without_its_toolkit_is_no_gpu(what: str, error: Exception, said: str, strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(strict_cupy, what, fails)
    assert not fd.gpu_available()
    assert said in why_no_gpu()
    assert "pip install 'fdezero[cuda12]'" in why_no_gpu()
    assert "\n" not in why_no_gpu()
    with pytest.raises(DeviceError, match="no GPU for to_device"):
        fd.to_device(np.ones(2), "gpu")


def test_a_compiled_function_serves_two_devices_in_turns(strict_cupy: Any) -> None:
    function = fd.compile(lambda x: x[:, np.array([0, 2])].sum() * 2)
    x = np.arange(12.0).reshape(3, 4)
    for _ in range(3):
        for device, place in ((0, "gpu:0"), (1, "gpu:1")):
            with strict_cupy.cuda.Device(device):
                y = function(fd.to_device(x, place))
                assert fd.device_of(y) == place
                assert float(y) == 60.0
    assert len(function.recordings) == 1


def check_other_device(cupy: Any) -> None:
    x = fd.to_device(np.ones((2, 2)), "gpu:1")
    function = fd.compile(lambda x: (x + 1) * 2)
    function(fd.to_device(x, "gpu"))
    calls = [fnp.exp, lambda x: fnp.remainder(x, 2.0), fd.grad(lambda x: fnp.sum(fnp.exp(x))), function, lambda x: fnp.take(x, np.array([0]), 0)]
    for call in calls:
        with pytest.raises(DeviceError, match="gpu:1"):
            call(x)
    with cupy.cuda.Device(1):
        assert all(fd.device_of(call(x)) == "gpu:1" for call in calls)


def test_work_on_another_device_is_refused_without_peers(strict_cupy: Any) -> None:
    check_other_device(strict_cupy)


def test_work_on_another_device_is_refused_with_peers(peers: Any) -> None:
    with warnings.catch_warnings():  # which brings back the filters of before
        warnings.simplefilter("default")
        check_other_device(peers)


def test_correlations_add_products_and_keep_an_infinity_to_itself(gpu: Any) -> None:
    x, w = np.array([1e8, 1, 2, 3, 4, 5, 6, 7], np.float32), np.ones(2, np.float32)
    for call in (fnp.correlate, fnp.convolve, fnp.polymul):
        np.testing.assert_array_equal(fd.to_numpy(call(*there(x, w))), call(x, w))
    infinite = np.array([np.inf, 1, 2, 3])
    np.testing.assert_array_equal(fd.to_numpy(fnp.convolve(*there(infinite, np.ones(2)))), np.convolve(infinite, np.ones(2)))
    slope = lambda x, w: fd.grad(lambda w: fnp.sum(fnp.correlate(x[1:], w) ** 2))(w)
    np.testing.assert_array_equal(fd.to_numpy(slope(*there(x, w))), slope(x, w))


def test_mixed_devices_in_a_search_are_named(gpu: Any) -> None:
    x = there(np.arange(3.0))
    for call in (lambda: fnp.searchsorted(x, np.arange(2.0)), lambda: fnp.digitize(x, np.arange(2.0)), lambda: fnp.interp(x, np.arange(2.0), np.arange(2.0))):
        with pytest.raises(DeviceError, match="searchsorted got arrays on different devices"):
            call()


def test_negative_powers_of_integers_are_refused(gpu: Any) -> None:
    x = there(np.array([2, 3]))
    for call in (lambda x: fnp.power(x, -1), lambda x: fnp.power(x, np.int8(-2)), fd.compile(lambda x: x**-1)):
        with pytest.raises(ValueError, match=r"integers have no negative powers"):
            call(x)
    assert fd.to_numpy(fnp.power(x, 2)).tolist() == [4, 9]


def test_what_cupy_alone_does(gpu: Any) -> None:
    """The differences that fdezero mends or tells of; the stand-in has them, too."""
    x, y = there(np.array([2, 1, -1, -1]), np.array([-1, -3, -3, -2]))
    assert (x**y).get().tolist() == [0, 1, -1, 1]
    assert np.isnan((there(np.array([1 + 1j])) / there(np.array([0j]))).get()).all()
    assert gpu.argmax(there(np.array([1, np.nan, 3, np.nan]))).get() in (1, 3)
    assert gpu.remainder(there(np.array([1e8], np.float32)), np.float32(0.3)).get() == 0


def test_counts_on_the_gpu_repeat(gpu: Any) -> None:
    x, counts = there(np.arange(3.0), np.array([1, 2, 0]))
    assert fd.to_numpy(fnp.repeat(x, counts)).tolist() == [0, 1, 1]
    assert fd.to_numpy(fd.grad(lambda x: fnp.sum(fnp.repeat(x, counts)))(x)).tolist() == [1, 2, 0]


@pytest.mark.parametrize("dtype", ["int64", "int8", "bool", "uint32"])
def test_special_functions_of_integers_have_the_digits_of_their_dtype(dtype: str, gpu: Any) -> None:
    x = np.array([1, 0, 1]).astype(dtype)
    for function in (special.erf, special.erfc, special.erfcx, lambda x: special.gammainc(x + x, x)):
        expected = np.asarray(function(x))
        found = fd.to_numpy(function(there(x)))
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(expected.dtype).eps)


def test_nothing_waits_for_these_checks(strict_cupy: Any) -> None:
    a, x, index, labels = there(GOOD, np.ones(3), np.array([2]), np.array([1, 2]))
    logits = there(np.ones((2, 3)))
    TRANSFERS.clear()
    fnp.linalg.cholesky(a), fnp.linalg.inv(a), fnp.take(x, index), fd.grad(F.softmax_cross_entropy)(logits, labels)
    assert TRANSFERS == []
