"""The laws that every public function obeys, over all tables of cases; docs/coverage.md is the list of what they prove."""

from typing import Any

import numpy as np

import fdezero as fd
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads
from fdezero.testing.properties import compiled_is_eager, vmap_is_a_loop

from .cases import Case, law
from .coverage import CASES
from .matrices import skip_where_signs_differ

DIFFERENTIABLE = [case for case in CASES if case.argnums]
UNSORTED = {"partition", "argpartition"}  # which promise one entry's place, not the others'


def results(function: Any, case: Case) -> list[Any]:
    return fd.tree.leaves(function(*case.args, **case.kwargs))


def plain(function: Any) -> Any:
    """`function` of arrays whose results are NumPy's and no longer on a device."""
    return lambda *args: fd.to_numpy(function(*args))


@law(CASES, "CPU")
def test_values_are_those_of_the_reference(case: Case) -> None:
    with np.errstate(all="ignore"):
        got, expected = results(case.function, case), results(case.reference, case)
    if case.name in UNSORTED:
        got, expected = ([np.take(y, case.args[1], axis=case.kwargs.get("axis", -1))] for (y,) in (got, expected))
    assert_trees_close(got, expected, 1e-11, "values", ("ours", "the reference"))
    if case.module in ("numpy", "fft"):
        assert [np.asarray(y).dtype for y in got] == [np.asarray(y).dtype for y in expected]
    elif case.module == "linalg":
        assert [np.asarray(y).dtype.kind for y in got] == [np.asarray(y).dtype.kind for y in expected]


@law(CASES, "reverse", "forward")
def test_derivatives_are_differences(case: Case) -> None:
    step = 2e-3 if case.module == "numpy" else None
    check_grads(case.of_inputs(), case.inputs, order=case.order, step=step, tolerance=2e-5 if step else 1e-6 if case.module == "linalg" else 1e-5)


@law(CASES, "vmap")
def test_vmap_is_a_loop(case: Case) -> None:
    function = case.of_inputs()
    if case.argnums:
        vmap_is_a_loop(function, case.inputs)
        return
    batches = [np.stack([x, 0.75 * x if x.dtype.kind in "fc" else x[..., ::-1] if x.ndim else x]) for x in case.inputs]
    loop = [function(*[batch[k] for batch in batches]) for k in range(2)]
    assert_trees_close(fd.vmap(function)(*batches), [np.stack(parts) for parts in zip(*loop, strict=True)], 1e-14)


@law(CASES, "compiled")
def test_compiled_has_the_bits_of_eager_and_so_has_its_gradient(case: Case) -> None:
    function = case.of_inputs()
    if case.argnums:
        compiled_is_eager(function, case.inputs)
        return
    compiled, expected = fd.compile(function), function(*case.inputs)
    for _ in range(2):
        assert_trees_equal(compiled(*case.inputs), expected, bits=True)


@law(CASES, "GPU")
def test_arrays_on_a_gpu_give_the_results_of_the_cpu_there(case: Case, gpu: Any) -> None:
    skip_where_signs_differ(case.name, gpu)

    def both(device: str) -> Any:
        function, inputs = case.of_inputs(device=device), fd.to_device(case.inputs, device)
        if not case.argnums:
            return function(*inputs), ()
        values, pullback = fd.vjp(function, *inputs)
        return values, pullback([y * 0 + 1 for y in values])

    there, here = both("gpu"), both("cpu")
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves(there) if hasattr(leaf, "shape")} <= {"gpu:0"}
    assert_trees_close(fd.to_numpy(there), fd.to_numpy(here), 1e-8)
