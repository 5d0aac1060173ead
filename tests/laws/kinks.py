"""The table of kinks and removable points: what a function's derivatives are there. It becomes a section of the coverage document."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero import special, stats
from fdezero.numpy import linalg

NAN, INFINITE = math.nan, math.inf
STEP = np.array([[0.0, 1.0], [1.0, 0.0]])


class Kink(NamedTuple):
    """A function of a number, a point, and its first and second derivative there; NaN for the second: NaN or infinite."""

    name: str
    function: Callable[[Any], Any]
    point: float
    first: float
    second: float
    why: str


def along(function: Callable[[Any], Any], base: Any, step: Any = STEP) -> Callable[[Any], Any]:
    """A function of a matrix, on a straight line through `base`."""
    return lambda x: function(fnp.asarray(base) + x * fnp.asarray(step))


def vector(*slopes: float) -> Callable[[Any], Any]:
    return lambda x: x * fnp.asarray(np.array(slopes))


ONE_SIDE = "one of the two sides, in every order"
AVERAGE = "the mean of the two sides; a function of it may need another number"
SMOOTH = "right: the function is smooth there"
BOUNDLESS = "right: infinite"
CONSTANT = "right: the function is constant in this argument there"

KINKS = [
    Kink("`abs`, `fabs`", fnp.abs, 0.0, 0.0, NAN, AVERAGE),
    Kink("`abs(x) ** 2`", lambda x: abs(x) ** 2, 0.0, 0.0, NAN, AVERAGE),
    Kink("`abs` of complex numbers", lambda x: fnp.abs(x * (1 + 1j)), 0.0, 0.0, NAN, AVERAGE),
    Kink("`copysign(x, -1)`", lambda x: fnp.copysign(x, -1.0), 0.0, 0.0, NAN, AVERAGE),
    Kink("`hypot(x, 0)`", lambda x: fnp.hypot(x, 0.0), 0.0, 0.0, NAN, AVERAGE),
    Kink("`linalg.norm` of the zero vector", lambda x: linalg.norm(vector(1, 2)(x)), 0.0, 0.0, NAN, AVERAGE),
    Kink("`linalg.norm(x, p)`, p other than 2", lambda x: linalg.norm(vector(1, 2)(x), 3), 0.0, 0.0, NAN, AVERAGE),
    Kink("`linalg.norm(x, 1.5)`, an entry 0", lambda x: linalg.norm(fnp.stack([x, 1 + 0 * x]), 1.5), 0.0, 0.0, NAN, BOUNDLESS),
    Kink("`linalg.norm(x, 3)`, an entry 0", lambda x: linalg.norm(fnp.stack([x, 1 + 0 * x]), 3), 0.0, 0.0, 0.0, SMOOTH),
    Kink("`special.i0e`, `i1e`", special.i0e, 0.0, 0.0, NAN, AVERAGE),
    Kink("`relu`", F.relu, 0.0, 0.0, 0.0, ONE_SIDE),
    Kink("`relu(x) ** 2`", lambda x: F.relu(x) ** 2, 0.0, 0.0, 0.0, ONE_SIDE),
    Kink("`leaky_relu`", F.leaky_relu, 0.0, 0.2, 0.0, ONE_SIDE),
    Kink("`relu6`, `hard_tanh`, on a bound", F.relu6, 6.0, 0.0, 0.0, ONE_SIDE),
    Kink("`hard_sigmoid`, at -3 and 3", F.hard_sigmoid, 3.0, 0.0, 0.0, ONE_SIDE),
    Kink("`hard_swish`, at -3", F.hard_swish, -3.0, 0.0, 0.0, ONE_SIDE),
    Kink("`hard_swish`, at 3", F.hard_swish, 3.0, 1.0, 0.0, ONE_SIDE),
    Kink("`threshold(x, 0.5, -1)`", lambda x: F.threshold(x, 0.5, -1.0), 0.5, 0.0, 0.0, ONE_SIDE),
    Kink("`elu(x, 2)`, `selu`: alpha is not 1", lambda x: F.elu(x, 2.0), 0.0, 2.0, 2.0, ONE_SIDE),
    Kink("`elu`, `celu`", F.elu, 0.0, 1.0, 1.0, ONE_SIDE),
    Kink("`softsign`", F.softsign, 0.0, 1.0, -2.0, ONE_SIDE),
    Kink("`clip`, on a bound", lambda x: fnp.clip(x, 0.0, 1.0), 1.0, 1.0, 0.0, ONE_SIDE),
    Kink("`where(x > 0, sqrt(x), 0)`", lambda x: fnp.where(x > 0, fnp.sqrt(x), 0), 0.0, 0.0, 0.0, ONE_SIDE),
    Kink("`where(x > 0, x ** 2, 0)`", lambda x: fnp.where(x > 0, x**2, 0), 0.0, 0.0, 0.0, ONE_SIDE),
    Kink("`cummax`, `piecewise`, `select`", lambda x: fnp.cummax(vector(0, 1)(x))[1], 0.0, 0.0, 0.0, ONE_SIDE),
    Kink("`maximum(x, 0)`, `minimum`", lambda x: fnp.maximum(x, 0.0), 0.0, 0.5, 0.0, AVERAGE),
    Kink("`maximum(x, -x) ** 2`: both move", lambda x: fnp.maximum(x, -x) ** 2, 0.0, 0.0, NAN, AVERAGE),
    Kink("`max`, `min`, `ptp`, equal entries", lambda x: fnp.max(vector(0, 1)(x)), 0.0, 0.5, 0.0, AVERAGE),
    Kink("`max_pool1d`, equal entries", lambda x: F.max_pool1d(vector(0, 1)(x)[None], 2)[0, 0], 0.0, 0.0, 0.0, ONE_SIDE),
    Kink("`sign`, `floor`, `round`, ...", lambda x: fnp.sign(x), 0.0, 0.0, 0.0, "0 wherever the derivative exists; at a jump there is none"),
    Kink("`sinc`", fnp.sinc, 0.0, 0.0, -math.pi**2 / 3, SMOOTH),
    Kink("`logaddexp(x, x)`, `softplus`", lambda x: fnp.logaddexp(2 * x, 0.0), 0.0, 1.0, 1.0, SMOOTH),
    Kink("`x ** 0`", lambda x: x**0, 0.0, 0.0, 0.0, CONSTANT),
    Kink("`x ** 1`", lambda x: x**1, 0.0, 1.0, 0.0, SMOOTH),
    Kink("`x ** 2`", lambda x: x**2.0, 0.0, 0.0, 2.0, SMOOTH),
    Kink("`x ** 1.5`", lambda x: x**1.5, 0.0, 0.0, NAN, BOUNDLESS),
    Kink("`x ** 0.5`, `sqrt`", fnp.sqrt, 0.0, INFINITE, NAN, BOUNDLESS),
    Kink("`cbrt`", fnp.cbrt, 0.0, INFINITE, NAN, BOUNDLESS),
    Kink("`0 ** x`", lambda x: 0.0**x, 1.0, 0.0, 0.0, CONSTANT),
    Kink("`(-2) ** x`", lambda x: (-2.0) ** x, 2.0, NAN, NAN, "not real for other x"),
    Kink("`log`", fnp.log, 0.0, INFINITE, NAN, BOUNDLESS),
    Kink("`arccos`, `arcsin`", fnp.arcsin, 1.0, INFINITE, NAN, BOUNDLESS),
    Kink("`special.xlogy(x, x)`", lambda x: special.xlogy(x, x), 0.0, 0.0, NAN, "the factor log(0) counts as 0"),
    Kink("`special.xlogy(x, 2)`", lambda x: special.xlogy(x, 2.0), 0.0, math.log(2), 0.0, SMOOTH),
    Kink("`special.xlogy(0, x)`, `xlog1py`", lambda x: special.xlogy(0.0, x), 0.0, 0.0, 0.0, CONSTANT),
    Kink("`special.rel_entr(x, 2)`", lambda x: special.rel_entr(x, 2.0), 0.0, 0.0, NAN, "the factor log(0) counts as 0"),
    Kink("`special.entr`", special.entr, 0.0, INFINITE, NAN, BOUNDLESS),
    Kink("`stats.laplace.logpdf`", stats.laplace.logpdf, 0.0, 0.0, NAN, AVERAGE),
    Kink("`prod`, two entries 0", lambda x: fnp.prod(fnp.stack([x, 3 * x, 2 + x])), 0.0, 0.0, 12.0, SMOOTH),
    Kink("`cumprod`, an entry 0", lambda x: fnp.cumprod(fnp.stack([x, 2 + x, 1 + x]))[2], 0.0, 2.0, 6.0, SMOOTH),
    Kink("`var` of equal entries", lambda x: fnp.var(vector(0, 1)(x)), 0.0, 0.0, 0.5, SMOOTH),
    Kink("`std` of equal entries", lambda x: fnp.std(vector(0, 1)(x)), 0.0, NAN, NAN, "no convention (forward mode: 0)"),
    Kink("`logsumexp` of equal entries", lambda x: fnp.logsumexp(vector(0, 1)(x)), 0.0, 0.5, 0.25, SMOOTH),
    Kink("`linalg.det`, singular", along(linalg.det, np.zeros((2, 2))), 0.0, 0.0, -2.0, SMOOTH),
    Kink("`linalg.det`, rank 1", along(linalg.det, np.ones((2, 2))), 0.0, -2.0, -2.0, SMOOTH),
    Kink("`linalg.pinv`, constant rank", along(lambda a: linalg.pinv(a, 1e-10)[0, 0], np.diag([2.0, 0.0]), np.diag([1.0, 0.0])), 0.0, -0.25, 0.25, SMOOTH),
    Kink("`linalg.eigvalsh`, symmetric functions", along(lambda a: (linalg.eigvalsh(a) ** 2).sum(), np.eye(2)), 0.0, 0.0, NAN, "equal eigenvalues: the second derivative needs the rotation of their vectors"),
    Kink("`linalg.svdvals`, symmetric functions", along(lambda a: (linalg.svdvals(a) ** 2).sum(), np.eye(2)), 0.0, 0.0, NAN, "as for eigenvalues"),
    Kink("`linalg.eigh`, the mean of projectors", along(lambda a: (linalg.eigh(a)[1][:, 1:] @ linalg.eigh(a)[1][:, 1:].T)[0, 2], np.diag([1.0, 2.0, 2.0]), np.eye(3)[::-1]), 0.0, 1.0, NAN, "as for eigenvalues"),
    Kink("`linalg.norm(x, 'nuc')`, singular", along(lambda a: linalg.norm(a, "nuc"), np.zeros((2, 2))), 0.0, 0.0, NAN, AVERAGE),
]  # fmt: skip


def _shown(number: float) -> str:
    return "NaN" if math.isnan(number) else "infinite" if math.isinf(number) else f"{number:.4g}"


def section() -> str:
    """The section of the coverage document."""
    rows = "".join(
        f"| {k.name} | {k.point:g} | {_shown(k.first)} | {'NaN or infinite' if math.isnan(k.second) else _shown(k.second)} | {k.why} |\n"
        for k in KINKS
    )
    return (
        "\n## At kinks and removable points\n\n"
        "A first derivative may be a convention there. The second derivative is right, or that of one side, or NaN. A tie whose\n"
        "operands move together, or against a constant, keeps its share. `tests/laws/kinks.py` is this table.\n\n"
        "In reverse mode an entry that nothing depends on adds 0 also where a slope is infinite; so `where(x > 0, sqrt(x), 0)` needs no\n"
        "second `where`. This has a price: where a factor vanishes just at an infinite slope, the product counts as 0. `sqrt(x) ** 2`\n"
        "has the derivative 0 at 0 in reverse mode, NaN in forward mode; write `x`.\n\n"
        "| function | at | first derivative | second derivative | it is |\n|---|---|---|---|---|\n" + rows
    )
