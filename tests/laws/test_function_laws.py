"""The laws that every public function obeys, over all tables of cases; docs/reference/coverage.md is the list of what they prove."""

import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions, signal, special, stats
from fdezero import numpy as fnp
from fdezero.errors import DeviceError, ImmutableError
from fdezero.testing import arrays, assert_trees_close, assert_trees_equal, broadcastable_shapes, check_grads
from fdezero.testing.properties import compiled_is_eager, vmap_is_a_loop
from fdezero.testing.strategies import LAYOUTS, lay_out

from ..profiles import NIGHTLY, first_of_each
from . import functions_elementwise as elementwise
from . import test_precision_laws
from .cases import LATER, Case, law
from .coverage import CASES, DOCUMENT, MISSING, Recorder, claimed, document
from .matrices import skip_where_signs_differ

UNSORTED = {"partition", "argpartition"}  # They promise the place of one entry only.
SINGLE = {np.dtype(np.float64): np.float32, np.dtype(np.complex128): np.complex64}
NOT_DISPATCHED = {"array", "asarray", "full", "full_like"}  # NumPy does not dispatch these on their arguments.
NUMPYS = {"numpy": np, "linalg": np.linalg, "fft": np.fft}
METHODS = "pdf logpdf pmf logpmf cdf sf logcdf logsf ppf isf entropy".split()
WITHOUT_A_CASE = {
    **dict.fromkeys("broadcast_shapes can_cast finfo iinfo isdtype issubdtype promote_types result_type".split(), "no arrays come out"),
    "at": "test_numpy.py, by the methods of what it returns",
    "from_dlpack": "test_other_libraries.py: it takes arrays of other libraries",
}
NUMPYS_LATER = {"matvec", "vecmat", *LATER}  # new in NumPy 2.1 or 2.2; fdezero has them with every version
NUMPYS_EARLIER = {"row_stack"}  # gone from NumPy 2.5; fdezero keeps it
NOT_OF_NUMPY = {"at", "cummax", "cummin", "getitem", "logsumexp"}  # docs/learn/tour.md and docstrings name them


# Functions that take any numbers in any order
ANY_NUMBERS = (
    "sort partition median ptp mean sum prod max min var cumsum cumprod cummax cummin diff ediff1d trapezoid convolve correlate polyadd polysub "
    "polymul polyder polyint tril triu diag diagflat kron cross vecdot matvec vecmat meshgrid inner outer vdot dot matmul tensordot einsum trace "
    "diagonal reshape transpose moveaxis swapaxes broadcast_to expand_dims squeeze concatenate stack split flip roll tile repeat take pad rot90 "
    "resize append atleast_3d array_split getitem nansum nanmean nanmax nanmin cumulative_sum fft ifft rfft irfft hfft ihfft fft2 rfftn irfft2 fftshift "
    "norm matrix_transpose multi_dot"
).split()
FREE = [case for case in CASES if case.name in ANY_NUMBERS and case.argnums and not case.shown and case.reference is not None]


def results(function: Any, case: Case) -> list[Any]:
    return fd.tree.leaves(function(*case.args, **case.kwargs))


def with_gradient(function: Any) -> Any:
    """The values of a function of arrays, and the gradients of their sum."""

    def call(*inputs: Any) -> Any:
        values, pullback = fd.vjp(function, *inputs)
        return values, pullback([y * 0 + 1 for y in values])

    return call


def numpys_own(case: Case) -> Any:
    """NumPy's function of that name; None if there is none, or if NumPy does not dispatch it on its arguments."""
    return None if case.name in NOT_DISPATCHED else getattr(NUMPYS.get(case.module), case.name, None)


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


FIRST = {id(case) for case in first_of_each(CASES, lambda case: (case.module, case.name, bool(case.argnums)))}


def is_first(case: Case) -> bool:
    """Whether it is the first case of its function, or night: a law can do less for other cases, which differ in shapes and keywords."""
    return NIGHTLY or id(case) in FIRST


@law(CASES, "reverse", "forward")
def test_derivatives_are_differences(case: Case) -> None:
    """By default to second order for one case of each function that is no function of NumPy: those are made of operations, which have all laws."""
    second = NIGHTLY or (is_first(case) and case.module not in NUMPYS)
    step = 2e-3 if case.module == "numpy" else None
    check_grads(case.of_inputs(), case.inputs, order=case.order if second else 1, step=step, tolerance=2e-5 if step else 1e-6 if case.module == "linalg" else 1e-5)


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
    """The gradient of the first case of each function, and at night of all: its operations have laws for each of their samples."""
    function = case.of_inputs()
    if case.argnums and is_first(case):
        compiled_is_eager(function, case.inputs)
        return
    compiled, expected = fd.compile(function), function(*case.inputs)
    for _ in range(2):
        assert_trees_equal(compiled(*case.inputs), expected, bits=True)


@law(CASES, "stand-in")
def test_arrays_on_a_gpu_give_the_results_of_the_cpu_there(case: Case, gpu: Any) -> None:
    skip_where_signs_differ(case.name, gpu)

    def both(device: str) -> Any:
        function, inputs = case.of_inputs(device=device), fd.to_device(case.inputs, device)
        return with_gradient(function)(*inputs) if case.argnums and is_first(case) else function(*inputs)

    there, here = both("gpu"), both("cpu")
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves(there) if hasattr(leaf, "shape")} <= {"gpu:0"}
    assert_trees_close(fd.to_numpy(there), fd.to_numpy(here), 1e-8)


@law(CASES, "reverse")
def test_float32_is_kept_or_widened_as_numpy_does(case: Case) -> None:
    def narrow(x: Any) -> Any:
        return x.astype(SINGLE.get(x.dtype, x.dtype)) if isinstance(x, np.ndarray | np.generic) else x

    single, inputs = case._replace(args=fd.tree.map(narrow, case.args), kwargs=fd.tree.map(narrow, case.kwargs)), tuple(map(narrow, case.inputs))
    values, pullback = fd.vjp(single.of_inputs(), *inputs)
    assert [g.dtype for g in pullback([y * 0 + 1 for y in values])] == [x.dtype for x in inputs]
    if case.name == "astype":
        return
    kept = [narrow(np.asarray(y)).dtype for y in results(case.function, case)]
    if [y.dtype for y in values] != kept:
        assert [y.dtype for y in values] == [np.asarray(y).dtype for y in single.of_inputs(case.reference)(*inputs)]


@law([case for case in CASES if case.reference is not None and case.reference is numpys_own(case)], "reverse")
def test_numpys_function_of_a_traced_value_is_ours(case: Case) -> None:
    tangents = tuple(np.cos(x) for x in case.inputs)
    assert_trees_equal(*[fd.jvp(case.of_inputs(function), case.inputs, tangents) for function in (case.reference, case.function)])


# The contents of the tables and of the document


def test_every_public_function_has_a_case_or_a_reason() -> None:
    public = {("numpy", name) for name, member in vars(fnp).items() if callable(member) and not name.startswith("_") and not _is_dtype(member)}
    for module, members in (("linalg", fnp.linalg), ("fft", fnp.fft), ("special", special), ("signal", signal), ("functions", functions)):
        public |= {(module, name) for name in members.__all__ if name != "LinAlgError"}
    for name, family in vars(stats).items():
        if type(family).__module__.startswith(f"{stats.__name__}."):
            public |= {("stats", f"{name}.{method}") for method in METHODS if hasattr(family, method)}
    public |= {("stats", "entropy")}
    assert public - {(case.module, case.name) for case in CASES} == {("numpy", name) for name in WITHOUT_A_CASE}


def _is_dtype(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, np.generic)


def test_the_namespace_holds_the_names_of_numpy_and_a_few_of_its_own() -> None:
    names = {name for name, member in vars(fnp).items() if not name.startswith("_") and not isinstance(member, types.ModuleType)}
    assert {name for name in names if not hasattr(np, name)} - NUMPYS_LATER - NUMPYS_EARLIER == NOT_OF_NUMPY


def test_the_document_is_what_the_tables_claim() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(claimed(CASES)), "write it anew: python -m tests.laws.coverage"


def test_what_is_said_to_be_missing_is() -> None:
    for name in " ".join(MISSING).split():
        assert hasattr(np, name)
        assert not hasattr(fnp, name)


def test_every_claim_has_a_law() -> None:
    laws = [*globals().values(), *vars(test_precision_laws).values()]
    proved = {claim for test in laws for mark in getattr(test, "pytestmark", ()) if mark.name == "proves" for claim in mark.args}
    assert proved | {"complex"} == {claim for case in CASES for claim in case.claims}


def test_an_array_to_write_into_is_refused_everywhere() -> None:
    x, out = np.ones((2, 3)), np.zeros((2, 3))
    for name in sorted(vars(fnp)):
        function = getattr(fnp, name)
        numpys = getattr(np, name, None)
        if not callable(function) or name.startswith("_") or not _takes_out(numpys):
            continue
        arguments = (x,) * numpys.nin if isinstance(numpys, np.ufunc) else ([x, x],) if "concat" in name or "stack" in name else (x, np.array([0]))
        with pytest.raises((ImmutableError, TypeError), match="out"):
            function(*arguments, out=out)
        assert not out.any()
    for call in (fnp.sum, fnp.max, fnp.argmax, fnp.std, lambda x, out: fnp.take(x, [0], out=out), fnp.sin):
        with pytest.raises(ImmutableError, match=r"out= asks to write the result into float64\[2,3\].*Write y = f"):
            call(x, out=out)


def _takes_out(numpys: Any) -> bool:
    return isinstance(numpys, np.ufunc) or "out=" in str(getattr(numpys, "__doc__", "")).split("\n\n")[0]


# Other values: a few in every run, thousands under the nightly profile


@given(st.data())
def test_elementwise_functions_obey_their_laws_at_any_place_of_their_domain(data: Any) -> None:
    name = data.draw(st.sampled_from(sorted({*elementwise.UNARY, *elementwise.BINARY})))
    domains = elementwise.BINARY.get(name) or (elementwise.UNARY[name],)
    shapes = data.draw(broadcastable_shapes(len(domains)))
    dtype = data.draw(st.sampled_from(["float64", "float32"]))
    args = tuple(data.draw(arrays(dtype, st.just(shape), min_value=low, max_value=high)) for (low, high), shape in zip(domains, shapes, strict=True))
    function, reference = getattr(fnp, name), getattr(np, name)
    with np.errstate(divide="ignore"):
        assert_trees_close(function(*args), reference(*args), 1e-12 if dtype == "float64" else 1e-5)
        compiled_is_eager(function, args)
        vmap_is_a_loop(function, args)
        check_grads(function, args, order=2, at_kinks="skip", tolerance=None if dtype == "float32" else 1e-4)


@given(st.data())
def test_functions_obey_their_laws_for_other_magnitudes_orders_and_layouts(data: Any) -> None:
    case = data.draw(st.sampled_from(FREE))
    scale = data.draw(st.sampled_from([1.0, 1.0, 2.0**-20, 2.0**20, -1.0]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    layout = data.draw(st.sampled_from(LAYOUTS))
    inputs = tuple(lay_out(np.asarray(scale * (rng.permuted(x) if x.ndim else x)), layout) for x in case.inputs)
    function = case.of_inputs()
    assert_trees_close(function(*inputs), case.of_inputs(case.reference)(*inputs), 1e-10)
    compiled_is_eager(function, inputs)
    vmap_is_a_loop(function, inputs)
    if abs(scale) == 1:
        check_grads(function, inputs, order=1, tolerance=1e-4, at_kinks="skip")


# A law that cannot fail proves nothing


def _each_time_another(calls: list[int]) -> Any:
    def function(x: Any) -> Any:
        calls.append(1)
        return fnp.sin(x) * float(len(calls))

    return function


PLANTED = {
    test_values_are_those_of_the_reference: fnp.cos,
    test_derivatives_are_differences: lambda x: fd.stop_gradient(fnp.sin(x) - x) + x,
    test_vmap_is_a_loop: _each_time_another([]),
    test_compiled_has_the_bits_of_eager_and_so_has_its_gradient: _each_time_another([]),
    test_float32_is_kept_or_widened_as_numpy_does: lambda x: fnp.sin(x) * np.float64(1),
    test_numpys_function_of_a_traced_value_is_ours: lambda x: fnp.sin(x) + 1,
}


@pytest.mark.parametrize("test", PLANTED, ids=lambda test: test.__name__)
def test_a_planted_wrong_function_is_caught(test: Any) -> None:
    sin = next(case for case in CASES if case.name == "sin")
    test(sin)
    with pytest.raises(AssertionError):
        test(sin._replace(function=PLANTED[test]))


def test_a_function_that_leaves_the_gpu_is_caught(gpu: Any) -> None:
    sin = next(case for case in CASES if case.name == "sin")
    with pytest.raises((DeviceError, TypeError), match="different devices|Unsupported type"):  # under a transform, and without
        test_arrays_on_a_gpu_give_the_results_of_the_cpu_there(sin._replace(function=lambda x: fnp.sin(x) * np.ones(3)), gpu)


def test_a_cell_that_one_law_denies_is_not_proved() -> None:
    recorder = Recorder()
    recorder.passed |= {("numpy", "sin", "vmap"), ("numpy", "sin", "CPU")}
    recorder.failed |= {("numpy", "sin", "vmap")}
    assert recorder.proved == {("numpy", "sin", "CPU")}
    assert "| `sin` | — | — | — | — | ✓ | — | — |" in document(recorder.proved)
    recorder.passed |= {("numpy", "sin", "forward")}
    assert "| `sin` | — | 2 | — | — | ✓ | — | — |" in document(recorder.proved)
