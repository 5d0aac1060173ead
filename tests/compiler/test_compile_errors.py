"""What eager code refuses, compiled code refuses: with the same error, in the first call, at recording, and in later calls."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as f
from fdezero import optim
from fdezero.compiler.program import Executable

from .program_checks import assert_same_bits
from .test_compile_programs import patient

KEY = fd.random.key(0)
U8, I8, INTS, FLOATS = np.array([1, 2, 3], np.uint8), np.array([1, -2, 3], np.int8), np.array([1, 2, 3]), np.array([0.5, 1.0, 2.0])
STEP = optim.sgd(0.1)


def outcome(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    """The result, or the type and the text of the error."""
    try:
        return function(*args)
    except Exception as error:
        return type(error), str(error)


def failed(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], type) and issubclass(result[0], Exception)


def assert_alike(function: Callable[..., Any], calls: Sequence[Sequence[Any]], texts: bool = True, **options: Any) -> int:
    """Three calls of each kind, in order and in turn: the bits or the error of eager code. Returns the number of errors."""
    expected = [outcome(function, args) for args in calls]
    for compiled in (fd.compile(function, **options) for _ in range(2)):
        for args, right in [*zip(calls, expected, strict=True)] * 3:
            result = outcome(compiled, args)
            assert failed(result) == failed(right), f"{args}: {result} is not {right}"
            if failed(right):
                assert result[0] is right[0], f"{args}: {result} is not {right}"
                assert result[1] == right[1] or not texts, f"{args}: {result} is not {right}"
            else:
                assert_same_bits(result, right, str(args))
        calls, expected = calls[::-1], expected[::-1]
    return sum(map(failed, expected))


# name: (function, arguments that are fine, arguments that are refused)
REFUSED: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = {
    "an integer too large for uint8": (lambda a, n: a + n, (U8, 3), (U8, 300)),
    "a negative integer beside uint8": (lambda a, n: f.maximum(a, n), (U8, 3), (U8, -1)),
    "an integer too large for int8": (lambda a, n: (a * n).sum(), (I8, 3), (I8, 128)),
    "an integer too large for int64": (lambda a, n: a - n, (INTS, 3), (INTS, 2**63)),
    "an integer too large for a float": (lambda a, n: a * n, (FLOATS, 3), (FLOATS, 10**400)),
    "a negative power by an array": (lambda a, n: a**n, (INTS, INTS), (INTS, -INTS)),
    "a negative power by a number": (lambda a, n: a**n + 1, (INTS, 2), (INTS, -1)),
    "a negative power of small integers": (lambda a, n: np.power(a, n), (I8, 2), (I8, -1)),
    "a singular matrix, inverted": (lambda a: f.linalg.inv(a) + 1, (np.eye(2),), (np.ones((2, 2)),)),
    "a singular matrix, solved": (lambda a: f.linalg.solve(a, a), (np.eye(2),), (np.zeros((2, 2)),)),
    "an indefinite matrix": (lambda a: f.linalg.cholesky(a), (np.eye(2),), (-np.eye(2),)),
    "eigenvalues of NaN": (lambda a: f.linalg.eig(a)[0], (np.diag([1.0, 2.0]),), (np.full((2, 2), np.nan),)),
    "a derivative of eigenvectors that are missing": (
        fd.grad(lambda a: f.abs(f.linalg.eig(a)[0]).sum()), (np.diag([1.0, 2.0]),), (np.array([[1.0, 1.0], [0.0, 1.0]]),)
    ),
    "labels out of range": (lambda x, t: F.softmax_cross_entropy(x, t), (np.zeros((2, 3)), np.array([0, 2])), (np.zeros((2, 3)), np.array([0, 3]))),
    "an index out of range": (lambda x, i: f.take(x, i), (FLOATS, np.array([0, 2])), (FLOATS, np.array([0, 3]))),
    "an index out of range, from below": (lambda x, i: f.getitem(x, i), (FLOATS, np.array([-3])), (FLOATS, np.array([-4]))),
    "a row out of range": (lambda x, i: f.take_along_axis(x, i, 0), (FLOATS, np.array([0, 2])), (FLOATS, np.array([7]))),
    "an update out of range": (lambda x, i: fd.at(x)[i].add(1.0), (FLOATS, np.array([0, 2])), (FLOATS, np.array([0, 3]))),
    "a probability of 2": (lambda p: fd.random.bernoulli(KEY, p, (3,)), (0.5,), (2.0,)),
    "a rate of 1": (lambda x, r: F.dropout(x, r, key=KEY, train=True), (FLOATS, 0.5), (FLOATS, 1.0)),
    "a rate below 0, as a NumPy number": (lambda x, r: F.dropout(x, r, key=KEY, train=True), (FLOATS, np.float64(0.5)), (FLOATS, np.float64(-0.5))),
    "a negative number folded into a key": (lambda n: fd.random.fold_in(KEY, n), (3,), (-1,)),
    "a negative NumPy number folded into a key": (lambda n: fd.random.fold_in(KEY, n), (np.int64(3),), (np.int64(-1),)),
    "weights that sum to 0": (lambda x, w: f.average(x, weights=w), (FLOATS, FLOATS), (FLOATS, np.array([1.0, -1.0, 0.0]))),
    "a quantile beyond 1": (lambda x, q: f.quantile(x, q), (FLOATS, 0.5), (FLOATS, 1.5)),
    "quantiles below 0": (lambda x, q: f.quantile(x, q), (FLOATS, np.array([0.5, 1.0])), (FLOATS, np.array([0.5, -1.0]))),
    "a line of NaN": (lambda x: f.nanargmax(x, axis=-1), (np.array([[1.0, np.nan]]),), (np.array([[np.nan, np.nan]]),)),
    "a flat index out of range": (lambda i: f.unravel_index(i, (2, 3)), (np.array([5]),), (np.array([6]),)),
    "a geometric progression from 0": (lambda x: f.geomspace(x, 2.0, 3), (np.float64(1.0),), (np.float64(0.0),)),
    "a polynomial of lower degree": (lambda p: f.roots(p), (FLOATS,), (np.array([0.0, 1.0, 2.0]),)),
    "edges that descend": (lambda x, e: f.histogram(x, e)[0], (FLOATS, FLOATS), (FLOATS, FLOATS[::-1].copy())),
    "a period of 0": (lambda x, p: f.interp(x, FLOATS, FLOATS, period=p), (FLOATS, 1.5), (FLOATS, 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_eager_code_refuses(name: str) -> None:
    function, fine, refused = REFUSED[name]
    before = Executable.rescued
    assert assert_alike(function, [fine, refused, fine, refused]) == 2
    assert Executable.rescued == before


@pytest.mark.parametrize("name", [name for name in REFUSED if "derivative" not in name])
def test_values_are_refused_where_nobody_reads_the_result(name: str) -> None:
    function, fine, refused = REFUSED[name]

    def ignoring(*args: Any) -> Any:
        function(*args)
        return args[0]

    assert assert_alike(ignoring, [fine, refused, fine]) == 1


@pytest.mark.parametrize("name", ["an integer too large for uint8", "a negative power by an array", "a singular matrix, inverted", "an index out of range"])
def test_values_are_refused_in_loops_and_branches(name: str) -> None:
    function, fine, refused = REFUSED[name]
    loop = lambda *args: fd.scan(lambda c, _: (c, function(*args)), np.float64(0), length=2)
    assert assert_alike(loop, [fine, refused, fine], texts=False) == 1
    dead = lambda *args: fd.scan(lambda c, _: (c, function(*args)), np.float64(0), length=2)[0]
    assert assert_alike(dead, [fine, refused, fine], texts=False) == 1
    branch = lambda go, *args: fd.cond(go > 0, lambda *args: f.asarray(function(*args)).sum() * 1.0, lambda *_: f.asarray(0.0).sum(), *args)
    calls = [(FLOATS[0], *fine), (FLOATS[0], *refused), (-FLOATS[0], *refused)]
    assert assert_alike(branch, calls, texts=False) == 1
    never = lambda go, *args: fd.while_loop(lambda c: c[0] > 0, lambda c: (c[0] - 1, c[1] + f.asarray(function(*c[2:])).sum() * 1.0, *c[2:]), (go, np.float64(0), *args))[1]
    assert assert_alike(never, calls, texts=False) == 1


# np.where wraps a Python number that its result cannot hold; since NumPy 2.5 it refuses the number.
CHOSEN: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "-1 beside uint8": (lambda a: np.where(a > -1, a, -1), (U8,)),
    "-1 beside uint8, by a value": (lambda a: np.where(a > 1, a, -1), (U8,)),
    "300 beside uint8": (lambda a: np.where(a > 1, 300, a), (U8,)),
    "128 and -129 beside int8": (lambda a: np.where(a > 0, 128, -129) + a * np.where(a > 0, a, 200), (I8,)),
    "a number that is given": (lambda a, n: np.where(a > 1, a, n), (U8, -1)),
    "a number that is given to a loop": (lambda a, n: fd.scan(lambda c, _: (c, np.where(a > 1, a, n)), 0.0, length=2)[1], (U8, 300)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOSEN)
def test_numbers_that_are_chosen_beside_an_array(name: str) -> None:
    function, args = CHOSEN[name]
    fine = (args[0], 3)[: len(args)]
    calls = [args] if fine == args[:1] else [fine, args]
    assert assert_alike(function, calls) == failed(outcome(lambda: np.where(U8 > 1, U8, -1), ()))


TAKEN: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "a comparison with -1": (lambda a: (a > -1) & (a < 300) & (a != 2**70), (U8,)),
    "bounds out of range": (lambda a: f.clip(a, -1, 300), (U8,)),
    "a number whose type depends on another": (lambda a, n: a * 2**n, (FLOATS, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_values_that_eager_code_takes(name: str) -> None:
    function, args = TAKEN[name]
    before = Executable.rescued
    assert assert_alike(function, [args]) == 0
    assert Executable.rescued == before


def test_a_number_whose_type_depends_on_its_value() -> None:
    """2 ** n is an integer, or a float for a negative n; then the results have other dtypes than those that were recorded."""
    assert assert_alike(lambda a, n: a * 2**n, [(INTS, 3), (INTS, -1), (INTS, 3)]) == 0
    assert assert_alike(lambda a, n: f.stack([a, a * n]), [(INTS, 3), (INTS, 2**62), (INTS, -5)]) == 0
    assert assert_alike(lambda n: f.asarray(n) + np.uint64(1), [(3,), (2**63,), (-1,)]) == 0


@pytest.mark.parametrize("number", [3, True, np.int64(3)])
def test_integers_have_no_gradient(number: Any) -> None:
    step = lambda p, g: STEP.step(p, g, STEP.init(p))[0]
    assert assert_alike(step, [({"n": number}, {"n": number}), ({"n": number, "x": 1.0}, {"n": 0.5, "x": 1.0})], texts=False) == 2
    assert assert_alike(lambda p, g: optim.apply_updates(p, g), [({"n": number}, {"n": number})], texts=False) == 1
    assert assert_alike(fd.grad(lambda n: n * 2.5), [(number,)], texts=False) == 1


# Floating-point errors
RAISING = {
    "a quotient": (lambda x: 1 / x, np.array([1.0, 0.0])),
    "a logarithm": (lambda x: np.log(x) * 2, np.array([1.0, 0.0])),
    "a root": (lambda x: np.sqrt(x).sum(), np.array([1.0, -1.0])),
    "an overflow": (lambda x: np.exp(x * 1000) - x, np.array([0.5, 1.0])),
    "nobody reads it": (lambda x: (1 / x, x + 1)[1], np.array([1.0, 0.0])),
    "a loop": (lambda x: fd.scan(lambda c, r: (c + 1 / r, None), np.float64(0), x)[0], np.array([1.0, 0.0])),
    "a gradient": (fd.grad(lambda x: f.sum(np.log(x))), np.array([1.0, 0.0])),
    "a large group": (lambda x: np.exp(1 / x - 1) * 2, np.array([1.0, 0.0]).repeat(100_000)),
}


@pytest.mark.parametrize("name", RAISING)
def test_floating_point_errors_are_raised_where_the_caller_wants_them(name: str) -> None:
    function, x = RAISING[name]
    with np.errstate(all="raise"):
        assert assert_alike(function, [(np.ones_like(x) / 2,), (x,), (np.ones_like(x) / 2,)]) == 1
    compiled = fd.compile(function)
    with np.errstate(all="ignore"):
        expected = function(x)
    for state in ("ignore", "raise", "warn", "raise", "warn"):
        with np.errstate(all=state):  # type: ignore[call-overload]
            if state == "raise":
                with pytest.raises(FloatingPointError):
                    compiled(x)
            else:  # tests turn warnings into errors: a compiled function does not warn, not even in its first call
                assert_same_bits(compiled(x), expected, state)
    assert_same_bits(fd.compile(function)(x), expected, "the first call")
    assert_same_bits(compiled(x), expected, "without an error state")


def test_a_state_with_other_settings_keeps_them() -> None:
    """A buffer size of the caller stays, because it decides how NumPy adds up what it casts."""
    seen = []
    compiled = fd.compile(lambda x: np.sin(x) * 2)
    compiled(FLOATS)
    with np.errstate(over="ignore"):
        before = np.setbufsize(16 * 1024)
        try:
            compiled(FLOATS)
            seen.append(np.getbufsize())
        finally:
            np.setbufsize(before)
    assert seen == [16 * 1024]


# Random calls
UNARY = [np.negative, np.sqrt, np.log, np.reciprocal, f.sum, f.linalg.inv, f.linalg.cholesky, f.argmax, lambda x: np.invert(x), lambda x: x.astype(np.uint8), f.max, lambda x: f.roots(x)]
BINARY = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x // y, lambda x, y: x % y, lambda x, y: x**y,
    lambda x, y: x & y, lambda x, y: x << y, f.maximum, f.fmin, lambda x, y: f.where(x > y, x, y), lambda x, y: f.clip(x, y, 100), f.take, lambda x, y: x @ y,
    f.linalg.solve, lambda x, y: fd.at(x)[y].set(7), lambda x, y: fd.at(x)[0].add(y), f.quantile, f.ldexp, f.gcd, lambda x, y: f.full((2,), y) * x, f.isclose,
    lambda x, y: f.searchsorted(x, y), lambda x, y: f.concatenate([x, f.reshape(y, -1)]), lambda x, y: f.stack([x, y]), lambda x, y: fd.random.fold_in(KEY, y),
    lambda x, y: F.softmax_cross_entropy(x, y), lambda x, y: f.einsum("ij,jk", x, y), f.hypot, f.copysign, lambda x, y: x < y, lambda x, y: x == y,
]  # fmt: skip
DTYPES = ("uint8", "int8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64", "bool", "complex64")
NUMBERS = (0, 1, 2, -1, 3, 127, 128, 255, 256, -128, -129, 2**31, 2**62, 2**63 - 1, 0.0, 1.0, -1.0, 0.5, 1e4, 1e300, 1e-3, 2.0)


@st.composite
def odd_values(draw: Any) -> list[Any]:
    """One kind of value, four times: a Python number, a NumPy number, or an array of one shape and dtype, often small."""
    kind = draw(st.sampled_from(["number", "number", "scalar", "array", "array", "array"]))
    whole = draw(st.booleans())
    if kind == "number":
        return draw(st.lists(st.sampled_from([n for n in NUMBERS if isinstance(n, int) == whole]), min_size=4, max_size=4))
    dtype, shape = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.sampled_from([(3,), (3,), (2, 2), (2, 2), (), (0,), (1,), (2, 3)]))
    found = []
    for _ in range(4):
        seed, low = draw(st.integers(0, 9)), draw(st.sampled_from([-3, 0, 0]))
        rng = np.random.default_rng(seed)
        values = rng.integers(low, 4, shape if kind == "array" else ()) if seed % 2 else np.zeros(shape if kind == "array" else ()) + seed // 2
        with np.errstate(all="ignore"):
            x = np.asarray(values).astype(dtype)
        found.append(x if kind == "array" else x[()])
    return found


@patient
@given(st.lists(st.sampled_from(UNARY), max_size=2), st.lists(st.sampled_from(BINARY), min_size=1, max_size=3), odd_values(), odd_values(), st.booleans())
def test_random_calls_of_operations_that_may_fail(unary: Any, binary: Any, xs: Any, ys: Any, dead: bool) -> None:
    """Programs of a few operations that often fail."""

    def function(x: Any, y: Any) -> Any:
        results = [x]
        for operation in unary:
            results.append(operation(results[-1]))
        for operation in binary:
            results.append(operation(results[-1], y))
        return y if dead else results

    calls = [*zip(xs, ys, strict=True)]
    # Between two Python numbers, traced values have NumPy's answers.
    assume(all(hasattr(x, "dtype") for x in xs))
    with np.errstate(all="ignore"):
        expected = [outcome(function, args) for args in calls]
    compiled = fd.compile(function)
    for args, right in [*zip(calls, expected, strict=True)] * 3:
        result = outcome(compiled, args)
        if failed(result) and result[0] is fd.errors.TraceError:
            continue  # a refusal of its own: the function depends on values
        assert failed(result) == failed(right), f"{args}: {result} is not {right}"
        if failed(right):  # NumPy's own operators refuse dtypes and shapes with errors of their own, and then nothing is recorded
            assert result[0] is right[0] or not compiled.recordings, f"{args}: {result} is not {right}"
        else:
            assert_same_bits(result, right, str(args))


def test_a_large_operation_that_is_there_for_its_errors_alone() -> None:
    """It belongs to no group, because nothing leaves such a group."""
    x = np.arange(200_000)
    f = lambda x, n: (np.sin(x * 0.5), x & n)[0]
    assert assert_alike(f, [(x, 3), (x, 2**63), (x, 3)]) == 1
    assert assert_alike(lambda x, n: (x & n, x)[1], [(x, 3), (x, 2**63)]) == 1


def test_a_loop_without_results_that_may_fail() -> None:
    f = lambda x, i: (fd.scan(lambda c, j: (c, take_and_forget(x, j)), (), i), x)[1]
    assert assert_alike(f, [(FLOATS, np.array([0, 1])), (FLOATS, np.array([0, 7])), (FLOATS, np.array([2, 2]))], texts=False) == 1


def take_and_forget(x: Any, i: Any) -> None:
    f.take(x, i)
