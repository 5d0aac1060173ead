"""The laws that every operation obeys, checked over the whole registry."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.core import REGISTRY, elementwise, linear, reduction
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

from ..profiles import NIGHTLY, first_of_each
from .folding import by_name, folded, sharing
from .samples import DIFFERENTIABLE, INTEGRALS, SAMPLES, Sample

every = folded("sample", SAMPLES, sharing(SAMPLES, by_name))
differentiable = folded("sample", DIFFERENTIABLE, sharing(DIFFERENTIABLE, by_name))


class _Firsts:
    """The first sample of each operation but for integrals, and at night all samples; by identity, because samples hold arrays."""

    def __init__(self) -> None:
        self.ids = {id(sample) for sample in first_of_each(DIFFERENTIABLE, by_name) if NIGHTLY or sample.name not in INTEGRALS}

    def __contains__(self, sample: Sample) -> bool:
        return id(sample) in self.ids


FIRST = _Firsts()


def those(asks: Callable[[Sample], bool]) -> Any:
    """The differentiable samples to which a law applies."""
    chosen = [sample for sample in DIFFERENTIABLE if asks(sample)]
    assert chosen
    return folded("sample", chosen, sharing(chosen, by_name))


def function_of(sample: Sample) -> tuple[Callable[..., Any], list[Any]]:
    """The operation as a function of its differentiable arguments, and those arguments."""
    places = [i for i, arg in enumerate(sample.args) if fd.tree.is_differentiable(arg) and sample.primitive.differentiates(i)]

    def function(*chosen: Any) -> Any:
        full = list(sample.args)
        for place, value in zip(places, chosen, strict=True):
            full[place] = value
        return sample.primitive(*full, **sample.params)

    return function, [sample.args[i] for i in places]


def weighed(function: Callable[..., Any], args: Sequence[Any]) -> Callable[..., Any]:
    """A real number made of all entries of the result, each with its own weight."""
    value = np.asarray(function(*args))
    numbers = np.arange(value.size, dtype=float).reshape(value.shape)
    weights = np.exp(1j * numbers) if value.dtype.kind == "c" else np.cos(numbers)
    return lambda *given: fnp.real(fnp.sum(function(*given) * weights))


def narrow(x: Any) -> Any:
    """Cast double precision to single precision."""
    dtypes = {np.dtype(np.float64): np.float32, np.dtype(np.complex128): np.complex64}
    return np.asarray(x, dtypes[x.dtype]) if getattr(x, "dtype", None) in dtypes else x


def test_every_primitive_has_a_sample() -> None:
    assert {name for name in REGISTRY if not name.startswith("planted")} - {s.name for s in SAMPLES} == set()


# Draws "by shape" are constants whose derivatives are those of a distribution: tests/random compares them with mpmath's.
@those(lambda sample: not sample.name.endswith("_by_shape"))
def test_derivatives_are_finite_differences_to_second_order(sample: Sample) -> None:
    """To second order for one sample of each operation, and at night for all; the law of forward over reverse has every second derivative twice."""
    function, args = function_of(sample)
    check_grads(function, args, order=2 if sample in FIRST else 1, tolerance=2e-6)


@every
def test_vmap_is_a_loop_for_every_subset_of_arguments(sample: Sample) -> None:
    arrays = [i for i, arg in enumerate(sample.args) if hasattr(arg, "shape")]
    for count in range(1, len(arrays) + 1):
        for batched in itertools.combinations(arrays, count):
            args = [sample.batch(i, 3) if i in batched else arg for i, arg in enumerate(sample.args)]
            axes = tuple(0 if i in batched else None for i in range(len(args)))

            def run(*args: Any) -> Any:
                return sample.primitive(*args, **sample.params)

            got = fd.vmap(run, in_axes=axes)(*args)
            loop = np.stack([run(*[arg[k] if i in batched else arg for i, arg in enumerate(args)]) for k in range(3)])
            assert got.dtype == loop.dtype
            assert_trees_close(got, loop, 1e-13, f"vmap over {batched}")


@every
def test_vmap_of_vmap_is_a_double_loop(sample: Sample) -> None:
    arrays = [i for i, arg in enumerate(sample.args) if hasattr(arg, "shape")]
    first, last = arrays[0], arrays[-1]
    args = list(sample.args)
    args[first] = np.stack([args[first]] * 2)
    args[last] = np.stack([args[last], args[last], args[last]])
    inner = tuple(0 if i == first else None for i in range(len(args)))
    outer = tuple(0 if i == last else None for i in range(len(args)))

    def run(*args: Any) -> Any:
        return sample.primitive(*args, **sample.params)

    got = fd.vmap(fd.vmap(run, inner), outer)(*args)
    once = np.asarray(run(*sample.args))
    assert_trees_close(got, np.broadcast_to(once, (3, 2, *once.shape)), 1e-13)


@those(lambda sample: any(hasattr(arg, "shape") for arg in function_of(sample)[1]))
def test_vmap_of_grad_and_grad_of_vmap_are_a_loop_of_grads(sample: Sample) -> None:
    function, args = function_of(sample)
    numbers = tuple(range(len(args)))
    number = weighed(function, args)
    gradient = fd.grad(number, argnums=numbers)
    places = [next(i for i, given in enumerate(sample.args) if given is arg) for arg in args]
    stacked = [sample.batch(i, 2) if hasattr(arg, "shape") else arg for i, arg in zip(places, args, strict=True)]
    axes = tuple(0 if hasattr(arg, "shape") else None for arg in args)
    got = fd.vmap(gradient, axes)(*stacked)
    loop = [gradient(*[s[k] if a == 0 else s for s, a in zip(stacked, axes, strict=True)]) for k in range(2)]
    expected = tuple(np.stack(part) for part in zip(*loop, strict=True))
    assert_trees_close(got, expected, 1e-10)

    def total(*given: Any) -> Any:
        return fnp.sum(fd.vmap(number, axes)(*given))

    # Here the rules see loop axes, which a rule under vmap does not. An argument that serves the whole batch gets the sum.
    got = fd.grad(total, argnums=numbers)(*stacked)
    assert_trees_close(got, tuple(t if axis == 0 else t.sum() for t, axis in zip(expected, axes, strict=True)), 1e-10)


def _bits(tree: Any) -> list[Any]:
    return [(type(leaf), np.shape(leaf), np.asarray(leaf).dtype, np.asarray(leaf).tobytes()) for leaf in fd.tree.leaves(tree)]


@every
def test_compiled_has_the_bits_of_eager_on_every_call(sample: Sample) -> None:
    arrays = [i for i, arg in enumerate(sample.args) if hasattr(arg, "shape")]

    def run(*given: Any) -> Any:
        full = list(sample.args)
        for i, value in zip(arrays, given, strict=True):
            full[i] = value
        return sample.primitive(*full, **sample.params)

    given = [sample.args[i] for i in arrays]
    compiled, expected = fd.compile(run), _bits(run(*given))
    assert all(_bits(compiled(*given)) == expected for _ in range(3))


@differentiable
def test_a_compiled_gradient_has_the_bits_of_an_eager_one_and_so_has_the_gradient_of_compiled(sample: Sample) -> None:
    function, args = function_of(sample)
    numbers = tuple(range(len(args)))
    number = weighed(function, args)
    gradient = fd.grad(number, argnums=numbers)
    expected, inside = _bits(gradient(*args)), fd.compile(gradient)
    assert all(_bits(inside(*args)) == expected for _ in range(3))
    if sample in FIRST:  # Around a program, the rules are those of the program's operations: one sample of each shows them.
        around = fd.grad(fd.compile(number), argnums=numbers)
        assert all(_bits(around(*args)) == expected for _ in range(2))


@differentiable
def test_forward_over_reverse_is_reverse_over_forward(sample: Sample) -> None:
    function, args = function_of(sample)
    rng = np.random.default_rng(3)
    tangents = tuple(np.asarray(rng.standard_normal(np.shape(arg))).astype(arg.dtype) if hasattr(arg, "shape") else 0.3 for arg in args)
    value = np.asarray(function(*args))
    cotangent = (rng.standard_normal(value.shape) * np.exp(1j * np.ones(value.shape) if value.dtype.kind == "c" else 1)).astype(value.dtype)

    def reverse(*a: Any) -> Any:
        return fd.vjp(function, *a)[1](cotangent)

    def forward(*a: Any) -> Any:
        return fnp.real(fnp.sum(fd.jvp(function, a, tangents)[1] * np.conj(cotangent)))

    one = fd.jvp(reverse, tuple(args), tangents)[1]
    other = fd.grad(forward, argnums=tuple(range(len(args))))(*args)
    assert_trees_close(one, other, 1e-9)


@those(lambda sample: sample.name != "astype")  # astype asks for float64.
def test_float32_is_kept(sample: Sample) -> None:
    function, args = function_of(sample._replace(args=tuple(map(narrow, sample.args))))
    value, tangent = fd.jvp(function, tuple(args), tuple(np.ones_like(a) if hasattr(a, "shape") else 1.0 for a in args))
    assert value.dtype == tangent.dtype == narrow(np.asarray(sample.primitive(*sample.args, **sample.params))).dtype
    gradients = fd.vjp(function, *args)[1](np.ones_like(value))
    assert all(g.dtype == a.dtype for g, a in zip(gradients, args, strict=True) if hasattr(a, "dtype"))


@every
def test_inputs_are_not_mutated_and_stay_writable(sample: Sample) -> None:
    before = [np.array(arg) for arg in sample.args]
    function, args = function_of(sample)
    if sample.primitive.mask:
        fd.grad(weighed(function, args), argnums=tuple(range(len(args))))(*args)
    else:
        sample.primitive(*sample.args, **sample.params)
    assert_trees_equal([np.asarray(arg) for arg in sample.args], before)
    assert all(arg.flags.writeable for arg in sample.args if isinstance(arg, np.ndarray))


@those(lambda sample: not any(np.ndim(arg) for arg in sample.args))
def test_numpy_scalars_serve_as_well_as_arrays(sample: Sample) -> None:
    function, args = function_of(sample)
    scalars = [arg[()] if isinstance(arg, np.ndarray) else arg for arg in args]
    number = weighed(function, args)
    assert_trees_close(fd.grad(number)(*scalars), fd.grad(number)(*args), 1e-15)


def _mean(x: Any, *, axes: Any, keepdims: bool) -> Any:
    return x.mean(axis=axes, keepdims=keepdims)


PLANTED: list[tuple[str, Callable[[], Any], tuple[Any, ...], dict[str, Any]]] = [
    ("wrong sign", lambda: elementwise("planted_cos", lambda x0: np.sin(x0), c="cos(x0)", impl=np.cos), (np.array([0.3, 1.1]),), {}),
    ("forgotten factor", lambda: elementwise("planted_square", lambda x0: x0, c="", impl=np.square), (np.array([0.3, 1.1]),), {}),
    ("value for argument", lambda: elementwise("planted_exp2", lambda y: y, c="", impl=np.exp2), (np.array([0.3, 1.1]),), {}),
    (
        "arguments exchanged",
        lambda: elementwise("planted_multiply", lambda x0: x0, lambda x1: x1, c="", impl=np.multiply),
        (np.array([0.3, 1.1]), np.array([2.0, 0.7])),
        {},
    ),
    (
        "wrong at second order only",
        lambda: elementwise("planted_sin", lambda x0: np.cos(fd.stop_gradient(x0)), c="", impl=np.sin),
        (np.array([0.3, 1.1]),),
        {},
    ),
    ("missing derivative", lambda: elementwise("planted_sum", 1, None, c="", impl=np.add), (np.ones(2), np.full(2, 0.5)), {}),
    ("nonlinear declared linear", lambda: linear("planted_linear", np.square, lambda t, x: t), (np.array([0.3, 1.1]),), {}),
    ("wrong adjoint", lambda: linear("planted_flip", lambda x: x[..., ::-1], lambda t, x: t), (np.array([0.3, 1.1, 2.0]),), {}),
    (
        "cotangent not broadcast",
        lambda: reduction("planted_mean", lambda t, y, x, axes: t * np.ones_like(x), _mean),
        (np.array([0.3, 1.1, 2.0]),),
        {"axes": (-1,), "keepdims": False},
    ),
]


@pytest.mark.parametrize(("build", "args", "params"), [p[1:] for p in PLANTED], ids=[p[0] for p in PLANTED])
def test_a_planted_wrong_rule_is_caught(build: Callable[[], Any], args: tuple[Any, ...], params: dict[str, Any]) -> None:
    primitive = build()
    try:
        with pytest.raises(AssertionError):
            check_grads(lambda *a: primitive(*a, **params), args, order=2)
    finally:
        del REGISTRY[primitive.name]
