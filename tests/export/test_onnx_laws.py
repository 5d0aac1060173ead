"""Every operation of the registry has a form in ONNX that computes the same, or is in the list of those without one."""

import warnings
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.core import REGISTRY
from fdezero.errors import ExportError
from fdezero.export.forms import FORMS

from ..laws.samples import SAMPLES, Sample
from .sessions import assert_alike, onnx, run

WITHOUT = {
    "matrices, which ONNX does not factor or solve": (
        "cholesky cofactor eig eigh expm inv inv_eigenvectors logm pinv qr schur_vectors slogdet solve solve_triangular sqrtm svd sylvester"
    ),
    "special functions, which ONNX does not have": (
        "bessel_i0 bessel_i0e bessel_i1 bessel_i1e beta beta_integral betainc betaincc betainccinv betaincinv betaln binom_quantile "
        "binom_upper_quantile digamma erfcinv erfcx erfinv gamma gamma_integral gammainc gammaincc gammainccinv gammaincinv gammaln iv ive "
        "j0 j1 jv kv kve log_beta log_beta_density log_betainc log_betaincc log_gamma_density log_gammainc log_gammaincc poisson_quantile "
        "poisson_upper_quantile rgamma y0 y1 yn yv zeta"
    ),
    "random numbers, whose bits ONNX cannot make": (
        "random_beta_by_shape random_beta_integral random_binomial random_bits random_fraction random_gamma_by_shape "
        "random_gamma_integral random_integer random_log_gamma random_normal random_open_fraction random_poisson random_truncated_normal "
        "random_weighted_index random_weighted_order"
    ),
    "complex numbers, which no operator takes": "conjugate fourier from_half imag modulus real to_half",
    "loops over integers, or the bits of numbers": "exponent gcd lcm nextafter spacing winners",
}
MISSING = {name: why for why, names in WITHOUT.items() for name in names.split()}


def _narrow(x: Any) -> Any:
    """float32 for float64, which onnxruntime does not take in every operator."""
    return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x


def _call(sample: Sample) -> tuple[Any, list[Any]]:
    args = [_narrow(arg) for arg in sample.args]
    if sample.name == "first_greatest":  # of entries that are the greatest ones, as its operands always are
        args[1] = REGISTRY["greatest"](args[0], **sample.params)
    places = [i for i, arg in enumerate(args) if isinstance(arg, np.ndarray)]

    def function(*arrays: Any) -> Any:
        full = list(args)
        for i, array in zip(places, arrays, strict=True):
            full[i] = array
        return sample.primitive(*full, **sample.params)

    return function, [args[i] for i in places]


def _is_complex(sample: Sample) -> bool:
    return any(np.asarray(arg).dtype.kind == "c" for arg in sample.args) or sample.params.get("dtype") == np.complex128


def _check(sample: Sample) -> None:
    function, arrays = _call(sample)
    if _is_complex(sample) or sample.name in MISSING:
        with pytest.raises(ExportError, match=rf"{sample.name} at .*test_onnx_laws.py, line \d+|the input \w+ is complex"):
            fd.export.onnx(function, *arrays)
        return
    model = fd.export.onnx(function, *arrays)
    onnx.checker.check_model(model, full_check=True)
    (got,) = run(model, *arrays)
    assert_alike(got, function(*arrays))


def _failures(samples: list[Sample]) -> str:
    failed = []
    for sample in samples:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _check(sample)
        except (Exception, pytest.fail.Exception) as error:
            failed.append(f"{sample}: {error}")
    return "\n".join(failed)


@pytest.mark.parametrize("part", range(4))
def test_every_operation_has_a_form_or_is_listed(part: int) -> None:
    assert not _failures(SAMPLES[part::4])


def test_the_list_of_operations_without_a_form_is_true() -> None:
    assert MISSING.keys() <= REGISTRY.keys()
    assert not MISSING.keys() & FORMS.keys()
    assert FORMS.keys() <= REGISTRY.keys() | {"scan", "cond", "while_loop"}


def test_a_wrong_form_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMS, "sin", FORMS["cos"])
    assert "sin-2x3" in _failures([sample for sample in SAMPLES if sample.name == "sin"])
