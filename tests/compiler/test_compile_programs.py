"""The law of `compile` on random programs: every call gives the bits of the eager run, and no array changes unnoticed."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero.compiler.planning import fuse
from fdezero.compiler.running import blocks
from fdezero.testing import assert_trees_close

from ..profiles import NIGHTLY, examples
from .program_checks import Ledger, assert_same_bits, check_call, check_calls, check_mutation, owning
from .program_operations import OPERATIONS
from .programs import Program, programs

patient = settings(max_examples=examples(2), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])
holds = st.sampled_from(["all", "some", "one", "views", "none"])
seeds = st.lists(st.integers(0, 99), min_size=3, max_size=3)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Random programs divide by zero and overflow, eager or not."""
    with np.errstate(all="ignore"):
        yield


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
    """As in a loop of training steps, each call gets the results of the call before, if they fit."""
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
    if has_loops(program.body):  # their derivatives agree to rounding: a loop adds cotangents in its own order
        expected = [eager(*given) for given in arguments]
        leaves = [np.asarray(leaf) for leaf in fd.tree.leaves(expected)]
        assume(all(y.dtype.kind != "f" or (np.all(np.abs(y) < 1e4) and y.dtype != np.float16) for y in leaves))
        assert_trees_close([compiled(*given) for given in arguments], expected, 1e-3)
        return
    check_calls(eager, compiled, [*arguments, *arguments[:2]])


def has_loops(body: Any) -> bool:
    return any(step.name in ("scan_of", "cond_of", "checkpoint_of") or has_loops(step.params["body"]) for step in body.steps if "body" in step.params)


@settings(patient, max_examples=examples(20, nightly=8) if NIGHTLY else 2)
@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data())
def test_every_operation(name: str, data: Any) -> None:
    """Test each operation in short programs, alone and under `grad`."""
    names = [name] * 4 + ["add", "less", "transpose", "argsort", "uniform01"]
    real = not name.startswith("complex_")
    program = data.draw(programs(names=names, most=5, rich=True, real=real))
    assume(any(step.name == name for step in program.body.steps))
    check_calls(program.run, fd.compile(program.run), [program.arguments(seed) for seed in (0, 0, 1)])
    if real:
        check_chain(program, ("value_and_grad", "compile"), (0, 1), fd.compile)


@contextlib.contextmanager
def small_blocks() -> Iterator[None]:
    """Test groups, blocks and threads, which are for large arrays, on a thousand entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuse, "LARGE", 64)
        patch.setattr(blocks, "CACHE", 0)  # the smallest blocks
        patch.setattr(blocks, "SHARE", 512)
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


# Planted wrong compilers: the checks above must catch each one
@patient
@given(programs(real=True, most=8), seeds)
def test_two_derivatives_around_a_compiled_function_agree_to_rounding(program: Program, seeds: list[int]) -> None:
    """Equal to rounding only: compiled and eager code sum the cotangents of a program and of its derivative in different orders."""
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


@settings(patient, max_examples=20)
@given(programs(), seeds)
def test_the_checks_pass_the_eager_run_itself(program: Program, seeds: list[int]) -> None:
    """Eager runs agree with themselves, also on copies at other addresses; otherwise compiled code could not agree with them."""
    check_calls(program.run, owning(program.run), [program.arguments(seed) for seed in seeds])
    again = [program.arguments(seeds[0]), program.arguments(seeds[0])]
    assert_same_bits(program.run(*again[0]), program.run(*again[1]), "a second eager run")
