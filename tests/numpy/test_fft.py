"""Fourier transforms beside the laws of test_function_laws.py: NumPy's bits in every layout, real gradients for real inputs, errors."""

import itertools
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, ShapeError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

from ..laws.cases import Case
from ..laws.functions_fft import CASES

X = np.random.default_rng(0).standard_normal((3, 4, 5))
Z = X + 1j * np.random.default_rng(1).standard_normal((3, 4, 5))


def rfftn(x: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    """NumPy's `rfftn`, which takes the axes from the last to the first since version 2.1, and 2.0 in another order."""
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        return np.fft.rfftn(x, s, axes, norm)
    axes = range(x.ndim) if axes is None else axes
    sizes = [x.shape[axis] for axis in axes] if s is None else s
    y = np.fft.rfft(x, sizes[-1], axes[-1], norm)
    for n, axis in list(zip(sizes, axes, strict=True))[-2::-1]:
        y = np.fft.fft(y, n, axis, norm)
    return y


@pytest.mark.parametrize("case", [case for case in CASES if not case.name.endswith("freq")], ids=str)
def test_values_have_numpys_bits(case: Case) -> None:
    ours, numpys, (x,) = case.of_inputs(), case.of_inputs(rfftn if case.name == "rfftn" else case.reference), case.inputs
    for given in (x, np.asfortranarray(x[:, ::-1]), x.astype(np.complex64 if x.dtype.kind == "c" else np.float32)):
        expected = numpys(given)
        assert_trees_equal(ours(given), expected)
        assert_trees_equal(fd.vjp(numpys, given)[0], expected)


def test_dtypes_are_numpys() -> None:
    names = sorted({case.name for case in CASES} - {"fftfreq", "rfftfreq"})
    for dtype in ("float16", "float32", "float64", "complex64", "int8", "int64", "bool"):
        for name in names:
            if dtype == "complex64" and name in ("rfft", "ihfft", "rfft2", "rfftn"):
                continue
            x = np.ones((2, 4), dtype)
            assert getattr(fnp.fft, name)(x).dtype == getattr(np.fft, name)(x).dtype, (name, dtype)


def test_the_gradient_of_real_numbers_is_real_and_keeps_their_dtype() -> None:
    x = X.astype(np.float32)
    gradient = fd.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
    assert gradient.dtype == np.float32
    assert_trees_close(gradient, 2 * 5 * x, 1e-5)  # By Parseval the sum is n times the sum of squares.
    for function in (np.fft.rfft, np.fft.ihfft, np.fft.rfft2):
        assert fd.vjp(function, x)[1](np.ones_like(function(x)))[0].dtype == np.float32


def test_a_step_against_the_gradient_of_complex_numbers_descends() -> None:
    target = fnp.fft.fft(Z)

    def loss(z: Any) -> Any:
        return np.mean(np.abs(np.fft.fft(z) - target) ** 2)

    z, losses = np.zeros_like(Z), []
    for _ in range(50):
        value, gradient = fd.value_and_grad(loss)(z)
        z, losses = z - gradient, [*losses, value]
    assert all(after < before for before, after in itertools.pairwise(losses))
    assert losses[-1] < 1e-3 * losses[0]


def test_convolution_by_fourier_transforms_has_the_gradients_of_convolution() -> None:
    kernel = np.array([0.5, -1.0, 0.25])

    def by_transform(x: Any, kernel: Any) -> Any:
        return np.fft.irfft(np.fft.rfft(x, 8) * np.fft.rfft(kernel, 8), 8)[..., :7]

    def by_sums(x: Any, kernel: Any) -> Any:
        return sum(np.pad(x, ((0, 0), (i, 2 - i))) * kernel[i] for i in range(3))

    x, t = X[0], np.random.default_rng(2).standard_normal((4, 7))
    assert_trees_close(by_transform(x, kernel), by_sums(x, kernel), 1e-14)
    assert_trees_close(fd.vjp(by_transform, x, kernel)[1](t), fd.vjp(by_sums, x, kernel)[1](t), 1e-13)


def test_frequencies() -> None:
    for n in range(1, 8):
        assert_trees_equal(fnp.fft.fftfreq(n, 0.3), np.fft.fftfreq(n, 0.3))
        assert_trees_equal(fnp.fft.rfftfreq(n, 0.3), np.fft.rfftfreq(n, 0.3))
        assert_trees_equal(fnp.fft.fftfreq(n, dtype=np.float32), np.fft.fftfreq(n).astype(np.float32))
    check_grads(lambda d: fnp.fft.fftfreq(5, d), (np.array(0.3),), tolerance=1e-5)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match="at least one entry"):
        fnp.fft.fft(X, 0)
    with pytest.raises(ShapeError, match="n = 0"):
        fnp.fft.irfft(X[..., :1])
    with pytest.raises(DTypeError, match=r"rfft takes real numbers, got complex128\[3,4,5\]"):
        fnp.fft.rfft(Z)
    with pytest.raises(ShapeError, match="the same length"):
        fnp.fft.fftn(X, s=(2, 3), axes=(0,))
    with pytest.raises(np.exceptions.AxisError):
        fnp.fft.fft(X, axis=3)
    with pytest.raises(ValueError, match="norm"):
        fnp.fft.fft(X, norm="other")


def test_frequencies_on_the_gpu(gpu: Any) -> None:
    assert fd.device_of(fnp.fft.fftfreq(4, device="gpu")) == "gpu:0"
