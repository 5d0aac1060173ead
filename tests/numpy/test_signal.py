"""`fdezero.signal` beyond its cases: which method `auto` takes, special values, precision, errors."""

import numpy as np
import pytest
import scipy.signal

from fdezero import numpy as fnp
from fdezero import signal
from fdezero.errors import DTypeError, ShapeError
from fdezero.ops.convolution import correlate
from fdezero.signal import _fast_length, _method

RNG = np.random.default_rng(5)


def test_auto_takes_the_faster_method() -> None:
    for n, m, method in (((1000,), (100,), "direct"), ((5000,), (5000,), "fft"), ((100, 100), (3, 3), "direct"), ((200, 200), (60, 60), "fft"), ((64, 64, 32), (3, 3, 3), "direct")):
        assert _method(np.zeros(n), np.zeros(m), "full", "auto") == method
    assert _method(np.zeros(5000, int), np.zeros(5000, int), "full", "auto") == "direct"  # exact
    x, kernel = RNG.standard_normal((60, 60)), RNG.standard_normal((40, 40))
    np.testing.assert_allclose(signal.convolve(x, kernel), signal.convolve(x, kernel, method="direct"), atol=1e-10)


def test_direct_sums_keep_infinities_where_they_belong() -> None:
    for convolve in (fnp.convolve, lambda x, y: signal.convolve(x[:, None], y[:, None], method="direct")[:, 0]):
        assert convolve(np.array([1.0, 2.0]), np.array([np.inf, 1.0])).tolist() == [np.inf, np.inf, 2.0]
        assert np.isnan(convolve(np.array([1.0, np.nan, 2.0, 0.5]), np.array([1.0, 1.0]))).tolist() == [False, True, True, False, False]


def test_half_precision_is_summed_in_single() -> None:
    x = np.full((300, 2), 200, np.float16)
    assert signal.correlate(x, np.full((300, 1), 0.5, np.float16), "valid", "direct").tolist() == [[30000.0, 30000.0]]


def test_empty_arrays_and_numbers() -> None:
    assert signal.convolve(np.zeros(0), np.ones(2)).shape == (0,)
    assert signal.fftconvolve(np.zeros((0, 2)), np.ones((2, 2))).shape == (0,)
    assert signal.correlate(2.0, 3j) == -6j
    assert signal.fftconvolve(2.0, 3.0) == 6.0


def test_lengths_of_transforms() -> None:
    for n in (*range(1, 400), 1009, 5041, 65537):
        length, best = _fast_length(n), scipy.fft.next_fast_len(n, real=True)  # type: ignore[attr-defined]
        assert length == best


def test_the_operation_loops_over_the_smallest_of_three() -> None:
    for n, m, around in (((6, 5), (2, 2), ((1, 1), (0, 1))), ((2, 2), (6, 5), ((5, 4), (4, 3))), ((5, 5), (5, 4), ((0, 0), (0, 0))), ((2, 3), (2, 3), ((-1, 3), (9, 2)))):
        x, w = RNG.standard_normal(n), RNG.standard_normal(m)
        count = [i + b + a - j + 1 for i, j, (b, a) in zip(n, m, around, strict=True)]
        expected = np.zeros(count)
        for p in np.ndindex(*count):
            for j in np.ndindex(*m):
                place = [q + k - before for q, k, (before, _) in zip(p, j, around, strict=True)]
                if all(0 <= i < length for i, length in zip(place, n, strict=True)):
                    expected[p] += x[tuple(place)] * w[j]
        np.testing.assert_allclose(correlate(x, w, around=around), expected, atol=1e-13)


def test_wrong_arguments() -> None:
    x = np.ones((3, 2))
    with pytest.raises(ShapeError, match="equally many axes"):
        signal.convolve(x, np.ones(3))
    with pytest.raises(ShapeError, match="at least as long as the other"):
        signal.convolve(x, np.ones((2, 3)), "valid")
    with pytest.raises(ValueError, match="mode must be"):
        signal.fftconvolve(x, x, "circular")
    with pytest.raises(ValueError, match="method must be"):
        signal.convolve(x, x, method="fast")
    with pytest.raises(DTypeError, match="takes numbers"):
        signal.convolve(x > 0, x > 0)
