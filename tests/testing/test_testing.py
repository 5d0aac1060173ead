"""Tests of `check_grads` and the comparisons: wrong derivatives are found and named, correct ones pass, tree errors are readable."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import DTypeError, KinkError, RangeError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

from ..profiles import NIGHTLY

X = np.array([0.3, -1.1, 2.0])


def with_rule(function: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    """`function` with a custom backward rule, whose residuals are `args`."""
    ruled = fd.custom_vjp(function)
    ruled.defvjp(lambda *args: (function(*args), args), backward)
    return ruled


def refused(*args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check_grads(*args, **options)
    return str(caught.value)


WRONG: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "sign": (with_rule(np.cos, lambda r, t: (np.sin(r[0]) * t,)), (X,), "of order 1 is wrong.*0\\[2\\], which is 2.*jvp 0.909.*complex step -0.909.*3 of 3"),
    "factor": (with_rule(np.square, lambda r, t: (r[0] * t,)), (X,), "order 1.*0\\[2\\].*jvp 2, complex step 4 "),
    "constant": (with_rule(np.sin, lambda r, t: ((np.cos(r[0]) + 1e-6) * t,)), (X,), "order 1"),
    "second order": (
        with_rule(np.sin, lambda r, t: (np.cos(fd.stop_gradient(r[0])) * t,)), (X,), "of order 2 \\(derivative of the vjp\\) is wrong",
    ),
    "one leaf": (
        with_rule(lambda p: p["W"] @ p["b"], lambda r, t: ({"W": t[:, None] * r[0]["b"], "b": t @ r[0]["W"] * np.array([1, 1, 2.0])},)),
        ({"W": np.arange(6.0).reshape(2, 3), "b": X},), "order 1.*\n  0/b\\[2\\], which is 2.*\\(1 of 3 entries wrong\\)$",
    ),
    "one argument": (with_rule(lambda x, y: x * y, lambda r, t: (r[1] * t, r[1] * t)), (X, X + 1), "1\\[0\\].*3 of 3 entries wrong\\)$"),
    "negative entries": (
        with_rule(lambda x: x**3, lambda r, t: (np.where(r[0] < 0, -1.0, 1.0) * 3 * r[0] ** 2 * t,)), (X,),
        "0\\[1\\], which is -1.1.*\\(1 of 3 entries wrong\\)$",
    ),
    "not linear": (with_rule(np.sin, lambda r, t: (np.cos(r[0]) * t * np.abs(t),)), (X,), "order 1"),
    "cotangent ignored": (with_rule(np.sum, lambda r, t: (np.ones_like(r[0]),)), (X,), "order 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_derivative_is_found_and_named(name: str) -> None:
    function, args, words = WRONG[name]
    message = refused(function, args)
    assert re.search(words, message, re.DOTALL), message
    assert "seed 0" in message


@pytest.mark.parametrize("name", [name for name in WRONG if name not in ("second order", "not linear")])
def test_reverse_mode_alone_finds_it_in_plain_numpy(name: str) -> None:
    function, args, _ = WRONG[name]
    message = refused(function, args, order=1, modes=("rev",))
    assert "reverse mode of order 1 is wrong" in message
    assert ": vjp" in message


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_dtypes_hide_no_wrong_factor(dtype: Any) -> None:
    for name in ("sign", "factor", "negative entries"):
        function, (x,), _ = WRONG[name]
        assert "is wrong" in refused(function, (x.astype(dtype),))


def test_other_mistakes_are_also_named() -> None:
    def writes(x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.flags.writeable:
            x += 1
        return x * x

    rng = np.random.default_rng(0)
    widened = with_rule(lambda x: x * x, lambda r, t: (np.float64(2) * r[0] * t,))
    assert "wrote into its arguments: they differ at 0: 3 of 3 entries" in refused(writes, (X.copy(),))
    assert "gave other values on a second call" in refused(lambda x: x * rng.random(), (X,))
    assert "values under jvp differ" in refused(lambda x: x * (2 if isinstance(x, np.ndarray) else 3), (X,))
    check_grads(widened, (X.astype(np.float32),))  # The library casts a widened cotangent back.
    weak = with_rule(lambda x: x * 1, lambda r, t: (t.astype(np.int64),))
    assert "is wrong" in refused(weak, (X,), modes=["rev"])


FINE: dict[str, tuple[Any, ...]] = {
    "exp": (np.exp, X), "cube": (lambda x: x**3, X), "tanh": (np.tanh, X), "log1p": (lambda x: np.log1p(x * x), X),
    "quotient": (lambda x, y: x / (1 + y * y), X, X[::-1].copy()), "matmul": (lambda A, x: np.tanh(A @ x), np.eye(3) + 0.1, X),
    "logsumexp": (fd.numpy.logsumexp, X), "prod": (np.prod, X), "std": (np.std, X), "sum of squares": (lambda x: np.sum(x * x) ** 2 / 8, X),
    "softmax": (fd.functions.softmax, X), "max": (np.max, X), "relu": (fd.functions.relu, X), "where": (lambda x: np.where(x > 0, x * x, -x), X),
    "tree": (lambda p: {"y": p["a"] * p["b"][0], "n": 3}, {"a": X, "b": [X + 1, 2]}), "no axes": (np.sin, np.array(0.4)),
    "empty": (lambda x, y: np.sum(x) + y * y, np.zeros((0, 3)), X), "cast": (lambda x: x.astype(np.float32) * 2, X),
    "model": (lambda m, x: m(x), nn.MLP.init(fd.random.key(0), (3, 4, 2), dtype=np.float64), X),
    "frozen": (lambda m, x: m.value(x), fd.Frozen(nn.Linear.init(fd.random.key(0), 3, 2)), X),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for i, name in enumerate(FINE) for j, dtype in enumerate((np.float64, np.float32, np.float16)) if NIGHTLY or i % 3 == j]
)
def test_right_derivatives_raise_no_alarm(name: str, dtype: Any) -> None:
    function, *args = FINE[name]
    cast = fd.tree.map(lambda leaf: leaf.astype(dtype) if getattr(leaf, "dtype", None) == np.float64 else leaf, args)
    for order in (1, 2, 3) if NIGHTLY else (3,):  # which checks the first two on its way
        assert check_grads(function, cast, order).checks
    check_grads(function, cast, order=1, entrywise=True)


def test_python_numbers_are_arguments_as_well() -> None:
    check_grads(lambda x, n: {"y": x**n}, (1.5, 3))
    assert "0, which is 2: " in refused(with_rule(lambda x: x**2, lambda r, t: (3 * r[0] * t,)), (2.0,), order=1, modes=["rev"])


def test_large_small_and_curved_arguments_raise_no_alarm() -> None:
    check_grads(np.log, (np.array([1e-3, 1.0, 1e6]),))
    check_grads(lambda x: np.abs(x) * x, (np.array([1e-4, -1e-4, 1e3]),))  # a kink of the second derivative is near
    check_grads(lambda x: np.sin(30 * x), (X,), method="central", order=1)


def test_a_function_that_computes_in_float32_inside_raises_no_alarm() -> None:
    for dtype in (np.float32, np.float64):
        for function in (lambda x: np.exp(3 * x.astype(np.float32)), lambda x: x.astype(np.float32) ** 2):
            assert "to order 2" in repr(check_grads(function, (np.array([0.3, -1.2, 0.25], dtype),)))


def test_the_report_names_the_method() -> None:
    assert repr(check_grads(np.exp, (X,))) == "right by complex step: forward mode and reverse mode to order 2"
    assert repr(check_grads(np.exp, (X,), method="central", modes=["rev"])) == "right by central differences: reverse mode to order 2"
    mixed = with_rule(lambda x: x**3, lambda r, t: (3 * np.abs(r[0]) ** 2 * t,))
    assert "right by complex step (2) and central differences (4)" in repr(check_grads(mixed, (X,)))
    for function in (np.abs, lambda x: np.hypot(x, 1.0), lambda x: np.cos(x.astype(np.float64))):
        assert {check.method for check in check_grads(function, (X,), order=1).checks} == {"central differences"}
    with pytest.raises(RangeError, match="does not work with complex numbers"):
        check_grads(np.abs, (X,), method="complex")


def test_the_complex_step_finds_what_differences_cannot() -> None:
    slightly = with_rule(np.exp, lambda r, t: (np.exp(r[0]) * (1 + 1e-7) * t,))
    check_grads(slightly, (X,), order=1, method="central")
    assert "is wrong beyond 1e-08" in refused(slightly, (X,), order=1)


def test_modes_that_are_no_transposes_of_each_other_are_found() -> None:
    off = with_rule(lambda x: np.abs(np.exp(x)), lambda r, t: (np.exp(r[0]) * t + 3e-7 * np.sum(t),))
    assert check_grads(off, (X,), order=1, method="central", tolerance=1e-6).checks
    crooked = with_rule(lambda x: np.abs(np.exp(x)), lambda r, t: (np.exp(r[0]) * t + 3e-7 * np.abs(t),))
    assert "is wrong" in refused(crooked, (X,), order=1, tolerance=1e-9)


def test_every_entry_on_request() -> None:
    wrong = with_rule(np.sum, lambda r, t: (t * np.array([1.0, 1.0, 1.0 + 5e-9]),))
    check_grads(wrong, (X,), order=1)
    assert "0[2]" in refused(wrong, (X,), order=1, entrywise=True, tolerance=2e-9)


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(DTypeError, match="no argument can be differentiated"):
        check_grads(np.sum, (np.arange(3),))
    with pytest.raises(DTypeError, match="nothing in the output"):
        check_grads(np.argmax, (X,))
    for option, value in (("modes", ["both"]), ("modes", []), ("method", "exact"), ("at_kinks", "ignore")):
        with pytest.raises(RangeError, match=option):
            check_grads(np.sin, (X,), **{option: value})


KINKS: dict[str, tuple[Any, Any, str]] = {
    "abs": (np.abs, np.array([1.0, 0.0]), r"along 0\[1\], which is 0, its slopes on the two sides are -1 and 1 at the output\[1\]"),
    "relu": (fd.functions.relu, np.array(0.0), "slopes on the two sides are 0 and 1"),
    "tie": (np.max, np.array([2.0, 1.0, 2.0]), r"along 0\[0\], which is 2, its slopes on the two sides are 0 and 1"),
    "edge": (np.sqrt, np.array([0.0, 1.0]), r"along 0\[0\], which is 0, it is defined on one side only"),
    "step": (lambda x: np.floor(x) + x, np.array(1.0), "its slopes on the two sides are"),
    "upright": (np.cbrt, np.array(0.0), "its slope grows without bound"),
    "infinite": (np.log, np.array(0.0), "its value is not finite"),
    "second": (lambda x: np.abs(x) * x, np.array(0.0), "the function's derivative of the vjp has a kink.*slopes on the two sides are -?[0-9.]+ and"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_kinks_are_found_and_raised_or_reported(name: str) -> None:
    function, x, words = KINKS[name]
    with pytest.raises(KinkError, match=words):
        check_grads(function, (x,))
    report = check_grads(function, (x,), at_kinks="skip")
    assert report.kinks
    assert re.search(words.replace(" has a kink", ""), repr(report))
    assert (not report.checks) == (name != "second")


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_kinks_in_float32_are_found() -> None:
    for name in ("abs", "relu", "tie", "step"):
        function, x, words = KINKS[name]
        with pytest.raises(KinkError, match=words):
            check_grads(function, (x.astype(np.float32),), order=1)


def test_declared_kinks_are_not_checked() -> None:
    at, away = np.array([0.0, 1.0]), np.array([0.5, 1.0])
    for kinks in ([0.0], lambda x: x == 0, lambda x: np.abs(x), lambda x: {"any": np.any(x == 0)}):
        report = check_grads(np.abs, (at,), kinks=kinks)
        assert not report.checks
        assert "nothing checked: declared by kinks" in repr(report)
        assert check_grads(np.abs, (away,), kinks=kinks).checks


def told(function: Callable[..., None], *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        function(*args, **options)
    return str(caught.value)


def test_trees_differ_by_path_with_the_worst_entry() -> None:
    left = {"a": [np.zeros((2, 3)), 1.0], "b": np.ones(2), "s": "x"}
    right = {"a": [np.zeros((2, 3)), 1.0], "b": np.array([1.0, 3.0]), "s": "x"}
    assert_trees_close(left, left)
    assert told(assert_trees_close, left, right) == (
        "the trees differ beyond 1e-06 at b: 1 of 2 entries, the worst at [1]: actual np.float64(1.0), expected np.float64(3.0) (relative error 0.5)"
    )
    right["a"] = [np.ones((2, 3), np.float32), 1.0]
    lines = told(assert_trees_close, left, right, names=("mine", "yours")).splitlines()
    assert lines[0] == "the trees differ beyond 1e-06 in 2 places:"
    assert "  a/0: 6 of 6 entries, the worst at [0, 0]: mine np.float64(0.0), yours np.float32(1.0)" in lines[1]
    assert "a/0: dtype float64 in actual, float32 in expected" in told(assert_trees_equal, left, right)


def test_every_difference_of_structure_is_named() -> None:
    message = told(assert_trees_close, {"a": np.ones(2), "b": [1, 2], "e": ()}, {"a": np.ones(3), "b": (1, 2, 3)})
    for words in ("b/2: only in expected, int 3", "b: list in actual, tuple in expected", "a: shape (2,) in actual, (3,) in expected", "e: only in actual, empty"):
        assert words in message
    one, other = (nn.MLP((nn.Linear(np.ones((1, 1))),), f) for f in (np.tanh, np.sin))
    assert "m: static fields of MLP differ" in told(assert_trees_equal, {"m": one}, {"m": other})
    assert "0: NoneType in actual, tuple in expected" in told(assert_trees_equal, [None], [()])


def test_long_differences_are_cut_short() -> None:
    message = told(assert_trees_close, [0.0] * 30, [1.0] * 30)
    assert message.startswith("the trees differ beyond 1e-06 in 30 places:")
    assert message.endswith("and 22 more")
    assert len(message.splitlines()) == 10


def test_special_values_compare_as_they_should() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 0.0])
    assert_trees_close(odd, odd.copy(), 0)
    assert_trees_equal(odd, odd.copy(), bits=True)
    assert "3 of 4 entries" in told(assert_trees_close, odd, np.array([0.0, np.nan, np.inf, 0.0]))
    assert_trees_equal(np.array(0.0), np.array(-0.0))
    assert "the root" in told(assert_trees_equal, np.array(0.0), np.array(-0.0), bits=True)
    assert_trees_equal(np.array([1 + 2j, complex("nan")]), np.array([1 + 2j, complex("nan")]))
    assert "1 of 2" in told(assert_trees_close, np.array([1 + 2j, 0]), np.array([1 - 2j, 0]))
    assert "actual np.str_('x')" in told(assert_trees_close, "x", "y")
    assert_trees_close(np.array([], np.float32), np.array([]))


def test_without_hypothesis_the_rest_works_and_strategies_name_the_extra() -> None:
    code = """
import sys
sys.modules["hypothesis"] = None
import numpy as np, fdezero as fd
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads
check_grads(np.sin, (np.ones(2),)), assert_trees_close(1.0, 1.0), assert_trees_equal(1.0, 1.0)
for name in fd.testing.__all__:
    try:
        getattr(fd.testing, name)
    except fd.errors.MissingExtraError as error:
        print(name, "fdezero[testing]" in str(error))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    eager = {"Check", "GradientReport", "PairReport", "PairRow", "assert_trees_close", "assert_trees_equal", "check_gradient", "check_grads"}
    lazy = sorted(set(fd.testing.__all__) - eager)
    assert sorted(result.stdout.split("\n")[:-1]) == [f"{name} True" for name in lazy]


Z = np.array([1 + 2j, -0.5 + 0.3j, 0.7 - 1.1j])
COMPLEX: dict[str, tuple[Any, ...]] = {
    "modulus": (lambda z: np.sum(abs(z) ** 2), Z), "analytic": (lambda z: np.exp(z) * z, Z), "conjugate": (lambda z: np.conj(z) * z**2, Z),
    "parts": (lambda z: {"x": z.real * z.imag, "angle": np.angle(z)}, Z), "of real": (lambda x: np.exp(1j * x), X),
    "mixed": (lambda z, x: np.sum(z * x), Z, X), "number": (lambda z: abs(z * z), 1.5 - 0.5j), "product": (lambda a, z: a @ z, Z[:, None] * Z, Z),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_complex_derivatives_raise_no_alarm(name: str, dtype: str) -> None:
    function, *args = COMPLEX[name]
    narrow = {"c": np.complex64, "f": np.float32}
    if dtype == "complex64":
        args = [arg.astype(narrow[arg.dtype.kind]) if hasattr(arg, "dtype") else arg for arg in args]
    assert {check.method for check in check_grads(function, args).checks if name != "of real"} <= {"central differences"}
    check_grads(function, args, order=1, entrywise=True)


def test_wrong_complex_gradients_are_found() -> None:
    for backward in (lambda r, t: (t * np.cos(r[0]),), lambda r, t: (-t * np.conj(np.cos(r[0])),), lambda r, t: (t.real * np.conj(np.cos(r[0])),)):
        assert re.search(r"order 1 is wrong.*0\[\d\], which is .*j.*of 6 entries wrong", refused(with_rule(np.sin, backward), (Z,)), re.DOTALL)
    check_grads(with_rule(np.sin, lambda r, t: (t * np.conj(np.cos(r[0])),)), (Z,))
    with pytest.raises(KinkError, match=r"along 0\[1\], which is 0\+0j, its slopes on the two sides are -1 and 1"):
        check_grads(np.abs, (np.array([1j, 0j]),))
