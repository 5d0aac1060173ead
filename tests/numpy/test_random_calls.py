"""The law of random calls: every public function, called with odd arguments, gives what NumPy or SciPy gives.

Calls are plain, under `vjp` (also of NumPy's own function), compiled, and under `vmap`. Value, dtype, shape and the kind of error must
agree, and no argument may change. A failure prints the call with its seed; RANDOM_SEED is the first seed. With RANDOM_CALLS=100000,
this file draws that many calls. At night they are new ones.
"""

import copy
import inspect
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import DerivativeError, MatrixError, TraceError

from ..laws.folding import folded, sharing
from ..profiles import NIGHTLY
from .call_checks import WAYS, Outcome, difference, outcome, restyled, shown
from .call_decisions import decided
from .call_table_modules import TABLES
from .call_table_shapes import TABLE
from .drawing import Draw

EVERY = {"numpy": TABLE, **TABLES}
FACES = {"numpy": fnp, "linalg": fnp.linalg, "fft": fnp.fft, "special": fd.special, "stats": fd.stats, "signal": fd.signal}
THEIRS = {"numpy": np, "linalg": np.linalg, "fft": np.fft, "special": scipy.special, "stats": scipy.stats, "signal": scipy.signal}
OWN_NAMES = {  # functions that NumPy or SciPy has under another name, or with other parameters
    "numpy.cummax": lambda x, axis: np.maximum.accumulate(x, axis), "numpy.cummin": lambda x, axis: np.minimum.accumulate(x, axis),
    "numpy.getitem": lambda x, index, /: np.asarray(x)[index], "numpy.empty": np.zeros, "numpy.empty_like": lambda x, /, **kwargs: np.zeros_like(x, **kwargs),
    "numpy.logsumexp": lambda x, /, **kwargs: scipy.special.logsumexp(x, **kwargs), "linalg.expm": lambda a, /: scipy.linalg.expm(a),
    **{f"linalg.{name}": getattr(scipy.linalg, name) for name in ("solve_triangular", "solve_sylvester", "sqrtm", "logm", "cho_solve", "block_diag")},
    "numpy.power": lambda x, y, /: np.asarray(x) ** y, "numpy.pow": lambda x, y, /: np.asarray(x) ** y, "numpy.row_stack": np.vstack,
    "numpy.float_power": lambda x, y, /: np.asarray(x, np.result_type(np.asarray(x), np.asarray(y), np.float64)) ** np.asarray(y),
    # SciPy's logcdf is 0 above the support, whatever the parameters are.
    **{f"stats.{name}.logcdf": lambda *args, name=name, **kwargs: np.log(getattr(scipy.stats, name).cdf(*args, **kwargs)) for name in ("bernoulli", "binom", "poisson")},
    "numpy.fill_diagonal": lambda a, val, /, wrap=False, inplace=False: _filled_diagonal(a, val, wrap),
}  # fmt: skip
# The number or the dtype of what comes out depends on values, so these are refused under compile and vmap.
VALUES_DECIDE = set(
    "nonzero where argwhere flatnonzero bincount histogram trim_zeros extract compress unique unique_all unique_counts unique_inverse unique_values "
    "union1d intersect1d setdiff1d setxor1d isin real_if_close getitem insert delete repeat choose ix_ array_equal array_equiv allclose digitize roots".split()
)
NOT_DISPATCHED = set("array asarray full full_like arange linspace logspace geomspace zeros ones eye tri identity indices ix_ meshgrid block lexsort result_type".split())  # on arguments
NO_ARRAYS = {"result_type", "broadcast_shapes", "isrealobj", "iscomplexobj"}  # come out, so there is nothing to trace
WITHOUT = {
    **dict.fromkeys("at".split(), "fdezero's own; test_numpy.py tests its methods"),
    **dict.fromkeys("can_cast finfo iinfo isdtype issubdtype promote_types".split(), "NumPy's own, exported"),
    "from_dlpack": "it takes arrays of other libraries: test_other_libraries.py",
    "cho_factor": "the other triangle of SciPy's factor is left open: the cases of laws/functions_linalg.py solve with it",
    **dict.fromkeys("eig eigh eigvals qr svd".split(), "vectors have a free phase, and eigenvalues any order: test_linalg.py"),
    **dict.fromkeys("categorical dirichlet multivariate_normal".split(), "SciPy's arguments differ: test_stats.py"),
}
ROUNDED = ("special", "stats")  # results have the dtype of the arguments: SciPy's are computed in double precision, then rounded
SEEN = {  # only a part of these results is promised
    "partition": lambda y, a, kth, axis=-1, *rest, **kwargs: [np.take(y, kth, axis) if y.size else y, np.sort(y, axis)],
    "argsort": lambda y, a, axis=-1, *rest, **kwargs: np.take_along_axis(np.asarray(a) if axis is not None else np.ravel(a), y, -1 if axis is None else axis) if np.ndim(a) else y,
    "roots": lambda y, p: np.sort_complex(np.round(y, 6)),
    # Below, most of SciPy's are logarithms of 0. The tails have their own tests, against mpmath.
    **{name: lambda y, *args, **kwargs: np.where(np.asarray(y) < -700, -np.inf, y) for name in TABLES["stats"] if ".log" in name},
}
CALLS = int(os.environ.get("RANDOM_CALLS", 100_000 if NIGHTLY else 1_300))
FIRST = int(os.environ.get("RANDOM_SEED", int.from_bytes(os.urandom(4), "little") if NIGHTLY else 0))
LOOSE = {"special": 300, "stats": 2000, "linalg": 300, "signal": 30, "expm": 30000, "polydiv": 1e13, "polyfit": 1e10, "nanvar": 1e13, "nanstd": 1e13, "cov": 1e13, "corrcoef": 1e13}  # units in the last place, where algorithms differ


def _doubled(tree: Any, kinds: str) -> Any:
    """`tree` with its arrays of these kinds, and integers if these are among them, in double precision."""
    if isinstance(tree, dict):
        return {name: _doubled(part, kinds) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)([_doubled(part, kinds) for part in tree])
    if type(tree) is int and "i" in kinds:
        return float(tree)
    return tree.astype(np.float64) if isinstance(tree, np.ndarray | np.generic) and tree.dtype.kind in kinds else tree


class Call(NamedTuple):
    """One random call: who is called, how it is drawn, and the seed."""

    module: str
    name: str
    seed: int

    @property
    def ours(self) -> Any:
        return _member(FACES[self.module], self.name)

    @property
    def theirs(self) -> Any:
        own = OWN_NAMES.get(f"{self.module}.{self.name}")
        return own or _member(THEIRS[self.module], self.name)


    @property
    def dispatched(self) -> Any:
        """NumPy's own function, which finds ours by itself when a value is traced; ours if NumPy does not look."""
        looks = self.module in ("numpy", "linalg", "fft") and self.name not in NOT_DISPATCHED and f"{self.module}.{self.name}" not in OWN_NAMES
        return self.theirs if looks else self.ours


def _member(face: Any, name: str) -> Any:
    for part in name.split("."):
        face = getattr(face, part, None)
    return face


def _filled_diagonal(a: np.ndarray, val: Any, wrap: bool) -> np.ndarray:
    """A copy into which NumPy's function has written."""
    a = a.copy()
    np.fill_diagonal(a, val, wrap)
    return a


def differs(call: Call, way: str = "", ours: Any = None) -> str:
    """What is wrong with a call, with the call itself; empty if nothing is."""
    draw = Draw(call.seed, sum(map(ord, call.name)))
    args, kwargs = EVERY[call.module][call.name](draw)
    args, kwargs = restyled(draw, call.theirs, args, kwargs)
    way = "plain" if call.name in NO_ARRAYS else way or draw.pick("plain", "plain", "vjp", "dispatched", "compile", "vmap")
    if way == "dispatched" and any(x.dtype.kind in "fc" for x in draw.arrays):
        ours = call.dispatched
    text = f"{call.module}.{call.name}({', '.join([*map(shown, args), *[f'{key}={shown(value)}' for key, value in kwargs.items()]])})"
    reference = (copy.deepcopy(args), copy.deepcopy(kwargs))
    if call.module in ROUNDED:
        reference = _doubled(reference, "iuf" if call.module == "stats" else "f")  # SciPy negates the least integer
    expected = outcome(call.theirs, *reference[0], **reference[1])
    got = outcome(WAYS[way], ours or call.ours, args, kwargs, draw.arrays)
    after = f"{call.module}.{call.name}({', '.join([*map(shown, args), *[f'{key}={shown(value)}' for key, value in kwargs.items()]])})"
    if call.name in SEEN and expected.error is None and got.error is None:
        got, expected = (Outcome(SEEN[call.name](y.result, *args, **kwargs)) for y in (got, expected))
    found = _difference(call, way, got, expected) or ("" if text == after else f"wrote into its arguments: {after}")
    return found and f"seed {call.seed}, {way}: {text}\n    {found}"


def _difference(call: Call, way: str, got: Outcome, expected: Outcome) -> str:
    if isinstance(got.error, AssertionError):
        return str(got.error)
    if way in ("compile", "vmap") and isinstance(got.error, TraceError) and call.name in VALUES_DECIDE:
        return ""
    if way in ("vjp", "dispatched") and isinstance(got.error, DerivativeError | MatrixError):
        return ""  # a singular matrix; special functions without a derivative by an argument; test_special.py lists them
    found = difference(got, expected, LOOSE.get(call.name, LOOSE.get(call.module, 16)), own_dtype=call.module in ROUNDED)
    return "" if found and decided(call.name, found) else found


FUNCTIONS = [(module, name) for module, table in EVERY.items() for name in table]
EACH = max(1, CALLS // len(FUNCTIONS))


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.4.0", reason="older versions of NumPy answer odd arguments in other ways")
@folded("function", FUNCTIONS, sharing(FUNCTIONS, ".".join))
def test_random_calls_give_what_numpy_and_scipy_give(function: tuple[str, str]) -> None:
    module, name = function
    if Call(module, name, 0).theirs is None:
        pytest.skip(f"{name} is newer than the installed NumPy or SciPy")
    wrong = [found for seed in range(FIRST, FIRST + EACH) if (found := differs(Call(module, name, seed)))]
    assert not wrong, f"{len(wrong)} of {EACH} calls differ:\n" + "\n".join(sorted(wrong, key=len)[:5])


def test_every_public_function_has_an_entry_or_a_reason() -> None:
    public = {("numpy", name) for name in fnp.__all__ if callable(getattr(fnp, name)) and not isinstance(getattr(fnp, name), type)}
    for module in ("linalg", "fft", "special", "signal"):
        public |= {(module, name) for name in FACES[module].__all__ if not isinstance(getattr(FACES[module], name), type)}
    for name in fd.stats.__all__:
        found = getattr(fd.stats, name)
        methods = [method for method in dir(found) if not method.startswith("_") and inspect.ismethod(getattr(found, method))]
        public |= {("stats", f"{name}.{method}") for method in methods}
    without = {(module, name) for module, name in public if name.partition(".")[0] in WITHOUT}
    assert public - set(FUNCTIONS) == without
    assert set(FUNCTIONS) <= public


WRONG: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "the axis is ignored": ("numpy", "cumsum", lambda a, axis=None, **kwargs: fnp.cumsum(a, **kwargs)),
    "float32 becomes float64": ("numpy", "sin", lambda x: fnp.sin(x) * np.float64(1.0)),
    "a keyword of NumPy is missing": ("numpy", "sort", lambda a, axis=-1: fnp.sort(a, axis)),
    "the argument is sorted in place": ("numpy", "sort", lambda a, axis=-1, **kwargs: a.sort(axis) or a if isinstance(a, np.ndarray) and a.ndim else fnp.sort(a, axis, **kwargs)),
    "an axis out of range is taken": ("numpy", "flip", lambda m, axis=None: fnp.flip(m, axis if axis is None or np.ndim(axis) or -np.ndim(m) <= axis < np.ndim(m) else 0)),
    "a tuple where a list comes out": ("numpy", "split", lambda *args, **kwargs: tuple(fnp.split(*args, **kwargs))),
    "NaN is lost": ("numpy", "max", lambda *args, **kwargs: fnp.nanmax(*args, **kwargs)),
    "one digit is lost": ("special", "erf", lambda x: fd.special.erf(x) * (1 + 1e-6)),
}


@pytest.mark.parametrize("fault", WRONG)
def test_the_law_finds_planted_faults(fault: str) -> None:
    module, name, wrong = WRONG[fault]
    assert any(differs(Call(module, name, seed), "plain", wrong) for seed in range(200))
