"""Cases of the elementwise functions of `fdezero.numpy`, from the real and complex domains on which they are smooth."""

from typing import Any

import numpy as np

from fdezero import numpy as fnp

from .cases import Case, cases_of

RNG = np.random.default_rng(17)
# The interval of each argument; the first interval is also in the domain of the complex function.
UNARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys("negative positive square exp exp2 expm1 sin cos sinh cosh tanh arctan atan arcsinh asinh sinc i0".split(), (-2, 2)),
    **dict.fromkeys("deg2rad rad2deg radians degrees real imag conj conjugate nan_to_num".split(), (-2, 2)),
    **dict.fromkeys("log log2 log10 log1p sqrt cbrt reciprocal abs absolute fabs".split(), (0.4, 3)),
    **dict.fromkeys("arcsin asin arccos acos arctanh atanh".split(), (-0.8, 0.8)),
    "arccosh": (1.3, 3), "acosh": (1.3, 3), "tan": (-1, 1),
}  # fmt: skip
BINARY: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    **dict.fromkeys("add subtract multiply hypot logaddexp logaddexp2".split(), ((-2, 2), (-2, 2))),
    **dict.fromkeys("divide true_divide arctan2 atan2".split(), ((-2, 2), (0.5, 3))),
    **dict.fromkeys("power pow float_power".split(), ((0.5, 2), (-2, 2))),
    **dict.fromkeys("maximum minimum fmax fmin".split(), ((0.3, 1.4), (1.6, 3))),
    **dict.fromkeys("remainder mod fmod".split(), ((5.2, 7.8), (4, 4.1))),
}
COMPLEX = (
    "negative positive square exp exp2 expm1 sin cos sinh cosh tanh arctan atan arcsinh asinh sinc real imag conj conjugate log log2 log10 log1p "
    "sqrt reciprocal abs absolute arcsin asin arccos acos arctanh atanh arccosh acosh tan add subtract multiply divide true_divide power pow"
).split()
DISCRETE = "isnan isinf isfinite signbit sign floor ceil trunc rint spacing logical_not round around".split()
COMPARISONS = (
    "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor heaviside nextafter floor_divide divmod copysign"
).split()
INTEGERS = (
    "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift left_shift right_shift gcd lcm add multiply maximum"
).split()


def within(low: float, high: float, *shape: int) -> np.ndarray:
    """Distinct numbers in random order, none near 0."""
    n = int(np.prod(shape))
    x = (low + (high - low) * (RNG.permutation(n) + 0.37) / n).reshape(shape)
    return np.where(abs(x) < 0.01, x + 0.05, x)


def unit(*shape: int) -> np.ndarray:
    """Complex numbers away from the branch cuts of the functions."""
    return within(0.4, 1.6, *shape) + 1j * within(0.2, 1.1, *shape)


def _cases() -> list[Case]:
    case = cases_of("numpy", fnp, np)
    made: list[Case] = []
    for name, (low, high) in UNARY.items():
        made.append(case(name, within(low, high, 2, 3), order=3))
        made.append(case(name, np.asarray(within(low, high, 1)[0])))
    for name, (first, second) in BINARY.items():
        made.append(case(name, within(*first, 2, 3), within(*second, 3), d=(0, 1), order=3))
        made.append(case(name, within(*first, 2, 1), within(*second, 1)[0], d=(0, 1)))
    for name in COMPLEX:
        args = (unit(2, 3), unit(3)) if name in BINARY else (unit(2, 3),)
        made.append(case(name, *args, d=tuple(range(len(args))), numpy=_complex_sinc if name == "sinc" else getattr(np, name), order=3))
    x, y, i, j = within(-2, 2, 2, 3) + 0.013, within(-2, 2, 3), RNG.integers(1, 6, (2, 3)), RNG.integers(1, 4, 3)
    made.append(case("fix", x, d=None, numpy=np.trunc))  # NumPy 2.5 deprecates its own
    made += [case(name, x, d=None) for name in DISCRETE] + [case(name, x, y, d=None) for name in COMPARISONS]
    made += [case(name, i, j, d=None) for name in INTEGERS] + [case(name, i, d=None) for name in ("invert", "bitwise_not", "bitwise_invert", "negative")]
    return [
        *made, case("sign", unit(2, 3)), case("angle", unit(2, 3), order=3), case("angle", unit(3), deg=True), case("angle", y, d=None),
        case("square", np.array([-1.5, 0.0, 2.0])), case("power", unit(3), 2), case("power", unit(3), 0.5, d=(0, 1)), case("power", y, 3),
        case("power", within(0.5, 2, 2, 3), unit(3), d=(0, 1)), case("multiply", x, unit(3), d=(0, 1)), case("divide", unit(3), 2.5),
        case("where", x > 0, x, y, d=(1, 2)), case("where", x > 0, x, unit(3), d=(1, 2)), case("clip", x, -1.5, y + 5, d=(0, 1, 2)),
        case("clip", x, None, 0.55), case("ldexp", x, j), case("round", x, 1, d=None), case("astype", x, np.dtype("float32"), d=None, numpy=np.ndarray.astype),
        case("astype", x, np.dtype("int64"), d=None, numpy=np.ndarray.astype), case("astype", x, np.dtype("complex128"), numpy=np.ndarray.astype),
    ]  # fmt: skip


def _complex_sinc(z: Any) -> Any:
    return np.sin(np.pi * z) / (np.pi * z)


CASES = _cases()
