"""Signatures beside the installed NumPy's: what you may give by name or by position there, you may give here."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdezero as fd
from fdezero.core import Tracer
from tests.laws.coverage import CASES
from tests.laws.folding import all_of, folded, sharing

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
NAMESPACES = {"": (fd.numpy, np), "linalg.": (fd.numpy.linalg, np.linalg), "fft.": (fd.numpy.fft, np.fft)}

# Parameters of NumPy that no function takes here.
NOWHERE = {
    "subok": "arrays of a subclass are not kept",
    "like": "the arguments decide the array library",
    "ndmax": "it limits the depth of nested sequences, which NumPy 2.4 added for arrays of objects",
}
# Parameters of every ufunc: an operation takes arrays only. np.f(traced, where=...) is an error that says what to write.
OF_UFUNCS = {
    "out": "results are new arrays", "where": "fd.numpy.where(condition, y, x)", "casting": "x.astype(dtype)",
    "order": "the memory layout of the result", "dtype": "x.astype(dtype)", "signature": "x.astype(dtype)",
    "axis": "products of matrices have no single axis", "keepdims": "the axes of vecdot alone can be kept",
}  # fmt: skip
# Single parameters that are missing, or stand elsewhere, with the reason.
MISSING = {
    ("bincount", "out"): "results are new arrays",
    ("reshape", "newshape"): "the name of NumPy 2.0 for `shape`, deprecated in 2.1 and gone in 2.4",
    ("corrcoef", "bias"): "without an effect since NumPy 1.10, gone in 2.4",
    ("corrcoef", "ddof"): "without an effect since NumPy 1.10, gone in 2.4",
    ("percentile", "interpolation"): "the name of NumPy 1.21 for `method`, gone in 2.4",
    ("quantile", "interpolation"): "the name of NumPy 1.21 for `method`, gone in 2.4",
    ("nanpercentile", "interpolation"): "the name of NumPy 1.21 for `method`, gone in 2.4",
    ("nanquantile", "interpolation"): "the name of NumPy 1.21 for `method`, gone in 2.4",
}
# The positional parameters that have another name here. Both names may be given.
OTHER_NAMES = {
    ("clip", "a_min"): "min", ("clip", "a_max"): "max",  # as in the array API standard; a_min and a_max go by name
    ("reshape", "newshape"): "shape",
}  # fmt: skip
# Defaults that differ from NumPy's, with the reason.
DEFAULTS = {
    ("eigh", "UPLO"): "None uses both triangles, so that the gradient is Hermitian",
    ("eigvalsh", "UPLO"): "None uses both triangles, so that the gradient is Hermitian",
    ("einsum", "optimize"): "it does not change the result",
    ("histogram", "density"): "None and False are the same",
    ("take_along_axis", "axis"): "-1 since NumPy 2.3; before, there was no default",
    **dict.fromkeys([("clip", bound) for bound in ("min", "max", "a_min", "a_max")], "None is no bound"),
    ("reshape", "shape"): "None is an error",
    **dict.fromkeys([("sort", "descending"), ("argsort", "descending")], "None of NumPy 2.5 and False are the same"),
    ("isin", "kind"): "None",
}  # fmt: skip
# Functions written in C, whose signature NumPy shows since 2.4.
IN_C = {
    "arange": "start stop step dtype device", "array": "object dtype copy order ndmin", "asarray": "a dtype order device copy",
    "bincount": "x weights minlength", "concatenate": "arrays axis out dtype casting", "dot": "a b out", "empty": "shape dtype order device",
    "empty_like": "prototype dtype order shape device", "inner": "a b", "lexsort": "keys axis", "unravel_index": "indices shape order",
    "vdot": "a b", "where": "condition x y", "zeros": "shape dtype order device",
}  # fmt: skip


def signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


class Pair(NamedTuple):
    """A function of ours and NumPy's of that name."""

    namespace: str
    name: str
    function: Any
    reference: Any

    def __str__(self) -> str:
        return self.namespace + self.name


def pairs() -> Iterator[Pair]:
    for prefix, (ours, theirs) in NAMESPACES.items():
        for name in ours.__all__:
            function, reference = getattr(ours, name), getattr(theirs, name, None)
            if callable(reference) and not isinstance(reference, type) and function is not reference:
                yield Pair(prefix, name, function, reference)


PAIRS = list(pairs())
every_pair = folded("pair", PAIRS, lambda pair: pair.namespace or "numpy")


def wanted(function: Any, reference: Any) -> list[inspect.Parameter]:
    """The parameters that `function` must have, because NumPy's function has them."""
    found, ours = signature(reference), inspect.signature(function).parameters
    if found is None or isinstance(reference, np.ufunc):
        return []
    return [p for p in found.parameters.values() if p.kind not in VARIADIC and (p.name not in NOWHERE or p.name in ours)]


@every_pair
def test_what_numpy_takes_by_name_is_taken_by_name(pair):
    _, name, function, reference = pair
    ours = inspect.signature(function).parameters
    for p in wanted(function, reference):
        if p.kind in NAMED and (name, p.name) not in MISSING and p.name != "start_or_stop":
            assert p.name in ours, f"{name} has no parameter {p.name}: {inspect.signature(function)}"
            assert ours[p.name].kind in NAMED, f"{name}: {p.name} cannot be given by name"


@every_pair
def test_what_numpy_takes_by_position_has_its_position(pair):
    _, name, function, reference = pair
    ours = [p for p in inspect.signature(function).parameters.values() if p.kind in POSITIONAL]
    theirs = [p for p in wanted(function, reference) if p.kind in POSITIONAL]
    theirs = [p for p in theirs if (name, p.name) not in MISSING or (name, p.name) in OTHER_NAMES]
    assert len(ours) >= len(theirs), f"{name}{inspect.signature(function)} takes fewer arguments than {name}{signature(reference)}"
    for mine, p in zip(ours, theirs, strict=False):
        if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            assert mine.name == OTHER_NAMES.get((name, p.name), p.name), f"{name}: {mine.name} stands where NumPy has {p.name}"


@every_pair
def test_defaults_are_those_of_numpy(pair):
    _, name, function, reference = pair
    ours = inspect.signature(function).parameters
    for p in wanted(function, reference):
        if p.name not in ours or (name, p.name) in DEFAULTS or p.kind is inspect.Parameter.POSITIONAL_ONLY:
            continue
        mine, theirs = ours[p.name].default, p.default
        if theirs is np._NoValue:  # it stands for "not given"
            theirs = {"initial": {"sum": 0, "nansum": 0, "prod": 1, "nanprod": 1}.get(name), "where": True, "keepdims": False}.get(p.name)
            mine = None if type(mine) is object else mine
        assert mine == theirs or {mine, theirs} == {None, float}, f"{name}: {p.name} is {mine!r} by default, in NumPy {theirs!r}"


@all_of("pair", [pair for pair in PAIRS if isinstance(pair.reference, np.ufunc)])
def test_operands_of_ufuncs_go_by_position_only(pair):
    _, name, function, reference = pair
    ours = inspect.signature(function).parameters.values()
    operands = [p for p in ours if p.kind is inspect.Parameter.POSITIONAL_ONLY]
    assert len(operands) == reference.nin
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in ours if p not in operands)
    if (theirs := signature(reference)) is not None:
        others = {p.name for p in theirs.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY} | {"out"}
        missing = others - {p.name for p in ours} - set(OF_UFUNCS) - set(NOWHERE)
        assert not missing, f"{name} has no {missing}"


@pytest.mark.parametrize("name", IN_C)
def test_functions_in_c_have_the_parameters_of_numpys_manual(name):
    ours = list(inspect.signature(getattr(fd.numpy, name)).parameters)
    assert set(IN_C[name].split()) <= set(ours)
    positional = IN_C[name].split()[: 1 + (name != "array")]
    assert ours[: len(positional)] == positional


@pytest.mark.parametrize("table", [MISSING, OTHER_NAMES, DEFAULTS])
def test_every_exception_belongs_to_a_function(table):
    names = {pair.name for pair in PAIRS}
    assert {name for name, _ in table} <= names


METHODS = sorted(
    name
    for name in vars(np.ndarray).keys() & vars(Tracer).keys()
    if inspect.ismethoddescriptor(vars(np.ndarray)[name]) and not name.startswith("_")
)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"item", "tolist", "sort", "partition"}))
def test_methods_of_traced_values_take_what_methods_of_arrays_take(name):
    ours = list(inspect.signature(getattr(Tracer, name)).parameters.values())[1:]
    theirs = signature(getattr(np.ndarray, name))
    if theirs is None:
        pytest.skip("NumPy shows no signatures of methods before 2.4")
    theirs = [p for p in list(theirs.parameters.values())[1:] if p.kind not in VARIADIC]
    names = [p.name for p in ours]
    theirs = [p for p in theirs if p.name in names or p.name not in NOWHERE]
    for p in theirs:
        assert p.kind is inspect.Parameter.POSITIONAL_ONLY or p.name in names, f"x.{name} has no parameter {p.name}"
    mine = [p.name for p in ours if p.kind in POSITIONAL]
    positional = [p.name for p in theirs if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    start = sum(p.kind is inspect.Parameter.POSITIONAL_ONLY for p in theirs)
    assert mine[start : start + len(positional)] == positional, f"x.{name} takes {mine}, not {positional}"


@pytest.mark.parametrize("name", ["sort", "partition"])
def test_methods_that_work_in_place_are_refused(name):
    with pytest.raises(fd.errors.ImmutableError, match=rf"Write y = np.{name}\(x\)"):
        fd.grad(lambda x: getattr(x, name)(0) or np.sum(x))(np.ones(3))


def by_name(case: Any) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments of a case by NumPy's names, where it has any; None where NumPy shows no signature."""
    reference = getattr(NAMESPACES["" if case.module == "numpy" else case.module + "."][1], case.name, None)
    if isinstance(reference, np.ufunc) or (found := signature(reference)) is None:
        return None
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in found.parameters.values()):
        return None
    try:
        bound = found.bind(*case.args, **case.kwargs).arguments
    except TypeError:  # a parameter that NumPy does not have, such as `length` of bincount
        return None
    positional = [bound.pop(p.name) for p in found.parameters.values() if p.kind is inspect.Parameter.POSITIONAL_ONLY and p.name in bound]
    if "newshape" in bound:
        return None
    variable = bound.pop("kwargs", {})
    return positional, {**bound, **variable}


# np.array and np.asarray make plain arrays; the signs of vectors are free; NumPy warns of row_stack, and since 2.5 of fix.
NOT_COMPARED = ("array", "asarray", "eig", "eigh", "svd", "row_stack", "fix")
NAMED_CASES = [
    case
    for case in CASES
    if case.module in ("numpy", "linalg", "fft") and case.places and not case.shown and case.name not in NOT_COMPARED and by_name(case) is not None
    if case.kwargs.get("mode") != "empty"  # whose entries NumPy leaves open
]


@folded("case", NAMED_CASES, sharing(NAMED_CASES, lambda case: f"{case.module}-{case.name}"))
def test_numpys_functions_of_traced_values_take_arguments_by_name(case):
    call = getattr(NAMESPACES["" if case.module == "numpy" else case.module + "."][1], case.name)
    leaves, treedef = fd.tree.flatten(by_name(case))
    kinds = "fc" if case.argnums else "biufc"
    traced = [i for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray) and leaf.dtype.kind in kinds]

    def called(*values):
        full = list(leaves)
        for i, value in zip(traced, values, strict=True):
            full[i] = value
        args, kwargs = fd.tree.unflatten(treedef, full)
        return [part for part in fd.tree.leaves(call(*args, **kwargs)) if np.dtype(getattr(part, "dtype", bool)).kind in kinds]

    values = [leaves[i] for i in traced]
    found = fd.vjp(called, *values)[0] if case.argnums else fd.compile(called)(*values)
    for y, expected in zip(found, called(*values), strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-11)


def test_a_wrong_name_is_found():
    def median(x, axis=None, out=None, overwrite_input=False, keepdims=False): ...

    for law in (test_what_numpy_takes_by_name_is_taken_by_name, test_what_numpy_takes_by_position_has_its_position):
        with pytest.raises(AssertionError, match="median"):
            law(Pair("", "median", median, np.median))

    def quantile(a, q, axis=None, out=None, overwrite_input=False, method="lower", keepdims=False, *, weights=None): ...

    with pytest.raises(AssertionError, match="method is 'lower'"):
        test_defaults_are_those_of_numpy(Pair("", "quantile", quantile, np.quantile))
