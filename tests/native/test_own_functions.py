"""Exponentials and logarithms in plain arithmetic, for compilers without vector forms: NumPy's values within a few units in the last place."""

from typing import Any

import numpy as np
import pytest

from fdezero import native
from fdezero.native import compilers, preamble

from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler

NUMPYS = {"asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh}
LOOP = """
extern "C" void %(name)s_%(dtype)s(void *x_, void *y_, long long start, long long stop) {
    %(dtype)s_ *x = DATA(%(dtype)s_, x_), *y = DATA(%(dtype)s_, y_);
    #pragma omp simd
    for (long long i = start; i < stop; i++) y[i] = own::%(name)s((%(type)s)x[i]);
}
"""


@pytest.fixture(scope="module")
def library() -> Any:
    loops = [LOOP % {"name": name, "dtype": dtype, "type": kind} for name in preamble.OWN for dtype, kind in (("float64", "double"), ("float32", "float"))]
    own = "" if compilers.compiler().way.own else preamble.own_functions()
    hidden = [f"#undef {name}\n" for name in preamble.OWN]  # where the names stand for the own functions already
    return native.library(own + "".join([*hidden, *loops]))


def arguments(name: str, dtype: str) -> np.ndarray:
    """Numbers of all magnitudes, those around the bounds of the formulas, and special values."""
    rng, about = np.random.default_rng(3), np.finfo(dtype)
    powers = 2.0 ** rng.uniform(about.minexp, about.maxexp - 1, 400) * rng.choice([-1, 1], 400)
    near = [center + rng.uniform(-1, 1, 100) * width for center in (0, 1, -1, 0.35, 22, 40) for width in (1e-3, 0.5)]
    exponents = rng.uniform(-about.maxexp * 0.71, about.maxexp * 0.69, 400)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, about.max, -about.max, about.smallest_subnormal, -about.smallest_subnormal, 1, -1, 2, 8, 1000]
    x = np.concatenate([powers, *near, exponents, [-103.9, 88.7, 88.8, -745.1, 709.7, 709.8, 1023.5, -1074.5], special])
    if name == "log1p":
        x = np.where(x < -1, -x, x)
    elif name == "acosh":
        x = np.where(x < 1, 1 + np.abs(x), x)
    elif name == "atanh":
        x = x[~(np.abs(x) > 1)]
    elif name.startswith("log"):
        x = np.append(np.abs(x), -1.0)
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_are_numpys(library: Any, dtype: str) -> None:
    for name in preamble.OWN:
        with np.errstate(all="ignore"):
            x = arguments(name, dtype)
            y, f = np.empty_like(x), NUMPYS.get(name, getattr(np, name, None))
            native.function_of(library, f"{name}_{dtype}", ["array"] * 2 + ["i"] * 2)(x, y, 0, len(x))
            expected = f(x.astype("float64")).astype(dtype)  # float32 from float64 is right to the last place
        np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal, err_msg=name)
