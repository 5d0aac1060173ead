"""The law of `compile`, on random programs: the bits of the eager run, in every call, and no array changed behind anyone's back."""

import contextlib
import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero.compiler import fuse, runtime
from fdezero.testing import assert_trees_close

from .program_operations import OPERATIONS
from .programs import Program, programs

Leaves = list[Any]
patient = settings(max_examples=settings().max_examples, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])
holds = st.sampled_from(["all", "some", "one", "views", "none"])
seeds = st.lists(st.integers(0, 99), min_size=3, max_size=3)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Random programs divide by zero and overflow, eager or not."""
    with np.errstate(all="ignore"):
        yield



# What is checked
def bits(leaf: Any) -> Any:
    """What must agree: type, dtype, shape, and the bytes of every number, all NaN being one."""
    if not hasattr(leaf, "dtype"):
        return type(leaf), repr(leaf)
    parts = np.array(leaf, order="C").reshape(-1)
    parts = parts.view(parts.real.dtype) if parts.dtype.kind == "c" else parts
    if parts.dtype.kind == "f":
        parts[np.isnan(parts)] = np.nan
    # A NumPy number and an array without axes have the same bits; which of them a gradient of a number is, eager code leaves open.
    kind = type(leaf) if leaf.shape else np.ndarray
    return kind, str(leaf.dtype), leaf.shape, hashlib.sha1(parts.tobytes()).hexdigest() if parts.nbytes > 512 else parts.tobytes()


def assert_same_bits(actual: Any, expected: Any, what: str) -> None:
    """Two trees of one structure with the same bits."""
    left, structure = fd.tree.flatten(actual)
    right, expected_structure = fd.tree.flatten(expected)
    assert structure == expected_structure, f"{what}: the structure is {structure}, not {expected_structure}"
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        if bits(a) != bits(b):
            same = hasattr(a, "shape") and hasattr(b, "shape") and a.shape == b.shape and a.dtype == b.dtype
            spots = np.argwhere(np.atleast_1d(np.asarray(a) != np.asarray(b)))[:1] if same else None
            raise AssertionError(f"{what}: leaf {i} is {a!r} {type(a).__name__}, eager {b!r} {type(b).__name__}; first at {spots}")


def writable_ones(values: Sequence[Any]) -> set[int]:
    return {i for i, v in enumerate(values) if isinstance(v, np.ndarray) and v.flags.writeable}


class Ledger:
    """Results that are held, with their bits as they were: they must never change."""

    def __init__(self) -> None:
        self.held: list[tuple[str, Any, list[Any]]] = []

    def hold(self, name: str, leaves: Any) -> None:
        self.held.append((name, leaves, [bits(leaf) for leaf in leaves]))

    def verify(self, now: str) -> None:
        for name, leaves, before in self.held:
            assert [bits(leaf) for leaf in leaves] == before, f"{name} has changed after {now}"


def looks_into(leaf: Any, inputs: Sequence[Any]) -> bool:
    """Whether a result is an input, or a view of one; nobody can tell of an empty one."""
    return np.size(leaf) == 0 or any(isinstance(v, np.ndarray) and np.may_share_memory(leaf, v) for v in inputs)


def check_call(eager: Any, compiled: Any, inputs: Sequence[Any], what: str = "a call", readonly: bool = True) -> Any:
    """One call of each: the same bits, no input changed or locked, and results that are read-only."""
    before = [bits(v) for v in inputs]
    expected = eager(*inputs)
    assert [bits(v) for v in inputs] == before, f"{what}: the eager run has changed an input"
    writable = writable_ones(inputs)
    result = compiled(*inputs)
    assert [bits(v) for v in inputs] == before, f"{what} has changed an input"
    if not writable <= writable_ones(inputs):
        gc.collect()  # a pullback that is dead, but in a cycle, still holds its arrays
    assert writable <= writable_ones(inputs), f"{what} has left an input read-only"
    assert_same_bits(result, expected, what)
    for i, leaf in enumerate(fd.tree.leaves(result) if readonly else ()):
        if isinstance(leaf, np.ndarray) and not looks_into(leaf, inputs):  # an input, or a view of one, is as the caller has it
            assert not leaf.flags.writeable, f"{what}: leaf {i} of the result is writable"
    return result


def check_calls(eager: Any, compiled: Any, arguments: Sequence[Sequence[Any]], *, hold: str = "all", readonly: bool = True) -> None:
    """One call for each of `arguments`; earlier results are held: all, every other one, one leaf of each, views of them, or none."""
    ledger = Ledger()
    for number, inputs in enumerate(arguments):
        result = fd.tree.leaves(check_call(eager, compiled, inputs, f"call {number}", readonly))
        if hold == "all" or (hold == "some" and number % 2):
            ledger.hold(f"the result of call {number}", result)
        elif hold == "one":
            ledger.hold(f"a result of call {number}", result[number % len(result) :][:1])
        elif hold == "views":
            ledger.hold(f"a view of a result of call {number}", [leaf[:1] for leaf in result if np.ndim(leaf) and number % 3])
        del result
        ledger.verify(f"call {number}")


def check_mutation(eager: Any, compiled: Any, first: Sequence[Any], second: Sequence[Any]) -> None:
    """The caller writes into the inputs between calls: the next call sees it, earlier results do not."""
    inputs = list(first)
    ledger = Ledger()
    for number in range(3):
        result = fd.tree.leaves(check_call(eager, compiled, inputs, f"call {number}"))
        # A result that is an input, or a view of one, may follow it, as it does eagerly.
        ledger.hold(f"the result of call {number}", [leaf for leaf in result if not looks_into(leaf, inputs)])
        for value, other in zip(inputs, second if number % 2 == 0 else first, strict=True):
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = np.array(other) if number % 2 == 0 else np.roll(value, 1)
        ledger.verify(f"the inputs were written to, after call {number}")


# The laws
@patient
@given(programs(), st.integers(0, 99), holds)
def test_ten_calls_with_the_same_values(program: Program, seed: int, hold: str) -> None:
    inputs = program.arguments(seed)
    check_calls(program.run, fd.compile(program.run), [inputs] * 10, hold=hold)


@patient
@given(programs(), seeds, holds)
def test_calls_with_other_values(program: Program, seeds: list[int], hold: str) -> None:
    a, b, c = (program.arguments(seed) for seed in seeds)
    check_calls(program.run, fd.compile(program.run), [a, b, c, a, c, b, b, a, c, a], hold=hold)


@patient
@given(programs(), seeds)
def test_calls_with_other_memory_layouts(program: Program, seeds: list[int]) -> None:
    arguments = [program.arguments(seed, layouts) for seed in seeds for layouts in ("own", "others")]
    check_calls(program.run, fd.compile(program.run), [*arguments, *arguments[::-1]])


@patient
@given(programs(), seeds)
def test_inputs_are_the_callers_to_write_to(program: Program, seeds: list[int]) -> None:
    check_mutation(program.run, fd.compile(program.run), program.arguments(seeds[0]), program.arguments(seeds[1]))


@patient
@given(programs(), seeds, st.data())
def test_one_array_in_two_places_and_views_of_one(program: Program, seeds: list[int], data: Any) -> None:
    compiled = fd.compile(program.run)
    arguments = []
    for seed in seeds:
        inputs = program.arguments(seed)
        array = inputs[data.draw(st.sampled_from([i for i, v in enumerate(inputs) if isinstance(v, np.ndarray)]))]
        like = [i for i, v in enumerate(inputs) if isinstance(v, np.ndarray) and (v.shape, v.dtype) == (array.shape, array.dtype)]
        way = data.draw(st.sampled_from(["the same", "a view", "overlapping"]))
        wide = np.concatenate([array, array[:1], array[:1]]) if array.ndim else array
        for k, i in enumerate(like):
            if way == "overlapping" and array.ndim:
                inputs[i] = wide[k % 3 : k % 3 + len(array)]
            else:
                inputs[i] = array if way == "the same" or k == 0 else array[...]
        arguments.append(inputs)
    check_calls(program.run, compiled, [*arguments, *arguments])


@patient
@given(programs(), seeds)
def test_results_as_the_next_inputs(program: Program, seeds: list[int]) -> None:
    """As in a loop of training steps: each call is given results of the one before, where they fit."""
    compiled = fd.compile(program.run)
    inputs = program.arguments(seeds[0])
    ledger = Ledger()
    for number in range(6):
        result = fd.tree.leaves(check_call(program.run, compiled, inputs, f"call {number}"))
        if number % 3 == 0:
            ledger.hold(f"the result of call {number}", result)
        for i, value in enumerate(inputs):
            fits = [y for y in result if isinstance(value, np.ndarray) and type(y) is type(value) and y.shape == value.shape and y.dtype == value.dtype]
            inputs[i] = fits[-1] if fits else value
        del result
        ledger.verify(f"call {number}")


INSIDE = [("grad", "compile"), ("value_and_grad", "compile"), ("jvp", "compile"), ("vjp", "compile"), ("vmap", "compile")]
INSIDE += [("grad", "grad", "compile"), ("grad", "vmap", "compile"), ("vmap", "grad", "compile"), ("grad", "jvp", "compile")]
AROUND = [("compile", "grad"), ("compile", "value_and_grad"), ("compile", "jvp"), ("compile", "vjp"), ("compile", "vmap")]
AROUND += [("compile", "grad", "compile"), ("compile", "grad", "vmap"), ("compile", "vmap", "compile")]
AROUND += [("compile", "compile"), ("grad", "compile", "grad"), ("compile", "vmap", "grad")]


def check_chain(program: Program, chain: Sequence[str], seeds: Sequence[int], compile: Callable[[Any], Any]) -> None:  # noqa: A002
    arguments = [program.arguments(seed, batch=3 * ("vmap" in chain)) for seed in seeds]
    eager = program.transformed(chain, lambda function: function)
    try:
        eager(*arguments[0])
    except fd.errors.FdezeroError as error:
        event(f"{chain}: no eager result, {type(error).__name__}")
        assume(False)
    compiled = program.transformed(chain, compile)
    check_calls(eager, compiled, [*arguments, *arguments[:2]], readonly=chain[-1] == "compile")


@settings(patient, max_examples=max(3, settings().max_examples // 8))
@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data())
def test_every_operation(name: str, data: Any) -> None:
    """Each in short programs, as it is and under `grad`."""
    names = [name] * 4 + ["add", "less", "transpose", "argsort", "uniform01"]
    program = data.draw(programs(names=names, most=8, rich=True, real=True))
    assume(any(step.name == name for step in program.body.steps))
    check_calls(program.run, fd.compile(program.run), [program.arguments(seed) for seed in (0, 0, 1, 2)])
    check_chain(program, ("value_and_grad", "compile"), (0, 1), fd.compile)


@contextlib.contextmanager
def small_blocks() -> Iterator[None]:
    """Groups, blocks and threads, all of which are for large arrays, on arrays of a thousand entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuse, "LARGE", 64)
        patch.setattr(runtime, "BLOCK", 128)  # no fewer, for NumPy sums up so many at once
        patch.setattr(runtime, "SHARE", 512)
        yield


@patient
@given(programs(middling=True), seeds, holds, st.integers(1, 2))
def test_groups_in_blocks_and_on_threads(program: Program, seeds: list[int], hold: str, threads: int) -> None:
    with small_blocks():
        check_calls(program.run, fd.compile(program.run, threads=threads), [program.arguments(seed) for seed in seeds], hold=hold)


@patient
@given(programs(middling=True, real=True, most=16), st.sampled_from(INSIDE), seeds)
def test_transforms_of_groups_in_blocks(program: Program, chain: tuple[str, ...], seeds: list[int]) -> None:
    with small_blocks():
        check_chain(program, chain, seeds, fd.compile)


@patient
@given(programs(real=True, most=12), st.sampled_from(INSIDE), seeds)
def test_transforms_within_a_compiled_function(program: Program, chain: tuple[str, ...], seeds: list[int]) -> None:
    check_chain(program, chain, seeds, fd.compile)


@patient
@given(programs(real=True, most=12), st.sampled_from(AROUND), seeds)
def test_transforms_around_a_compiled_function(program: Program, chain: tuple[str, ...], seeds: list[int]) -> None:
    check_chain(program, chain, seeds, fd.compile)


# Wrong compilers, planted: the checks above must catch each
@patient
@given(programs(real=True, most=8), seeds)
def test_two_derivatives_around_a_compiled_function_agree_to_rounding(program: Program, seeds: list[int]) -> None:
    """Not to the bit: the cotangents of the program and of its derivative add up after one another, and eagerly as they come."""
    chain, arguments = ("compile", "grad", "grad"), [program.arguments(seed) for seed in seeds]
    eager = program.transformed(chain, lambda function: function)
    try:
        expected = [eager(*given) for given in arguments]
    except fd.errors.FdezeroError:
        assume(False)
    leaves = fd.tree.leaves(expected)
    assume(all(np.asarray(leaf).dtype.kind != "f" or np.all(np.abs(leaf) < 1e4) for leaf in leaves) and "float16" not in {str(np.asarray(leaf).dtype) for leaf in leaves})
    compiled = program.transformed(chain, fd.compile)
    assert_trees_close([compiled(*given) for given in arguments], expected, 1e-3)


def _frozen(function: Callable[..., Any]) -> Callable[..., Any]:
    """A right compiler: results of their own, read-only."""

    def call(*inputs: Any) -> Any:
        def own(y: Any) -> Any:
            if isinstance(y, np.ndarray):
                y = np.array(y)
                y.flags.writeable = False
            return y

        return fd.tree.map(own, function(*inputs))

    return call


def _writes_into_its_input(function: Any) -> Any:
    def call(x: Any) -> Any:
        result = _frozen(function)(x)
        x += 1
        return result

    return call


def _locks_its_input(function: Any) -> Any:
    def call(x: Any) -> Any:
        x.flags.writeable = False
        return _frozen(function)(x)

    return call


def _stale(function: Any) -> Any:
    """The buffers of the first results are written over by every later call."""
    buffers: list[Any] = []

    def call(x: Any) -> Any:
        results = function(x)
        buffers.extend([] if buffers else [np.empty_like(y) for y in results])
        views = []
        for buffer, y in zip(buffers, results, strict=True):
            buffer[...] = y
            views.append(buffer[...])
            views[-1].flags.writeable = False
        return tuple(views)

    return call


def _stale_from_the_third(function: Any) -> Any:
    right, stale, count = _frozen(function), _stale(function), iter(range(99))
    return lambda x: (right if next(count) < 2 else stale)(x)


def _remembers(function: Any) -> Any:
    """The first result for ever: an input was taken for a constant."""
    first: list[Any] = []

    def call(x: Any) -> Any:
        first.extend([] if first else [_frozen(function)(x)])
        return first[0]

    return call


def _remembers_the_array(function: Any) -> Any:
    """The result of the same array is not computed anew, whatever was written to it."""
    known: dict[int, Any] = {}
    return lambda x: known.setdefault(id(x), _frozen(function)(x))


def _each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda function: _frozen(lambda *inputs: fd.tree.map(change, function(*inputs)))


X = (np.random.default_rng(5).standard_normal(1000) * 1000).astype(np.float32)
doubled = lambda x: (x * 2, fd.numpy.sum(x), x - x)

PLANTED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "writes into its input": (doubled, _writes_into_its_input),
    "locks its input": (doubled, _locks_its_input),
    "a stale buffer": (lambda x: (x * 2,), _stale),
    "a stale buffer from the third call on": (lambda x: (x * 2,), _stale_from_the_third),
    "remembers its first result": (doubled, _remembers),
    "remembers the result of an array": (doubled, _remembers_the_array),
    "reassociates a sum": (lambda x: fd.numpy.sum(x), lambda function: lambda x: x[::-1].sum()),
    "reassociates a product": (lambda x: x * 3 * 7, lambda function: _frozen(lambda x: x * 21.3 * (7 / 7.1))),
    "writable results": (doubled, lambda function: function),
    "another dtype": (doubled, _each(lambda y: y.astype(np.float64))),
    "another sign of zero": (doubled, _each(lambda y: y if np.any(y) else -y)),
    "the last bit": (doubled, _each(lambda y: np.nextafter(y, np.float32(0)))),
    "another shape": (doubled, _each(lambda y: y.reshape(1, -1))),
    "another structure": (doubled, lambda function: _frozen(lambda x: list(function(x)))),
    "a Python number": (lambda x: (fd.numpy.sum(x),), lambda function: lambda x: (float(function(x)[0]),)),
}  # fmt: skip


def _every_check(eager: Any, compiled: Callable[[], Any]) -> None:
    other = np.roll(X, 7) + np.float32(1)
    check_calls(eager, compiled(), [[X.copy()], [other.copy()], [X.copy()], [other.copy()]])
    check_mutation(eager, compiled(), [X.copy()], [other.copy()])


def test_the_checks_pass_a_right_compiler() -> None:
    for eager, _ in PLANTED.values():
        _every_check(eager, lambda: _frozen(eager))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_wrong_compiler_is_caught(name: str) -> None:
    eager, wrong = PLANTED[name]
    with pytest.raises(AssertionError):
        _every_check(eager, lambda: wrong(eager))


@settings(patient, max_examples=20)
@given(programs(), seeds)
def test_the_checks_pass_the_eager_run_itself(program: Program, seeds: list[int]) -> None:
    """Eager runs agree with themselves, also on copies at other addresses: else no compiler could agree with them."""
    check_calls(program.run, _frozen(program.run), [program.arguments(seed) for seed in seeds])
    again = [program.arguments(seeds[0]), program.arguments(seeds[0])]
    assert_same_bits(program.run(*again[0]), program.run(*again[1]), "a second eager run")
