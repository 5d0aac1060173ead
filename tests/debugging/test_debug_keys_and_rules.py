"""`debug` names keys that are used twice and rules of the wrong dtype; correct code passes with the same bits."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.core import REGISTRY, elementwise, linear
from fdezero.errors import KeyReuseError, RuleError

from ..laws.coverage import CASES
from ..laws.folding import all_of, by_name, folded, sharing
from ..laws.samples import SAMPLES, Sample
from ..laws.test_laws import function_of
from ..profiles import first_of_each
from .debugged import bits, line_of

HERE = Path(__file__)

# Keys


def twice(key: Any) -> Any:
    noise = fd.random.normal(key, (3,))  # the first use
    return noise + fd.random.uniform(key, (3,))  # the second use


class TestKeys:
    @pytest.mark.parametrize("wrap", [lambda f: f, fd.compile, fd.checkpoint, lambda f: lambda k: fd.vmap(f)(np.stack([k, k + np.uint64(1)]))])
    def test_both_places(self, wrap: Callable[..., Any]) -> None:
        with pytest.raises(KeyReuseError) as caught:
            fd.debug(wrap(twice), keys=True)(fd.random.key(3))
        error = caught.value
        assert [(line.path, line.number) for line in error.lines] == [(str(HERE), line_of(HERE, "the first use")), (str(HERE), line_of(HERE, "the second use"))]
        for number in (line_of(HERE, "the first use"), line_of(HERE, "the second use")):
            assert f'File "{HERE}", line {number}\n' in str(error)

    def test_a_key_that_is_drawn_from_and_split(self) -> None:
        def first_split(key: Any) -> Any:
            a, _ = fd.random.split(key)
            return fd.random.normal(key) + fd.random.normal(a)

        def first_drawn(key: Any) -> Any:
            return fd.random.normal(key) + fd.random.normal(fd.random.split(key)[0])

        for function, words in ((first_split, "was split here.*is drawn from here"), (first_drawn, "was drawn from here.*is split here")):
            with pytest.raises(KeyReuseError, match=re.compile(words, re.DOTALL)):
                fd.debug(function, keys=True)(fd.random.key(0))

    def test_equal_keys_are_one_key(self) -> None:
        def step(key: Any) -> Any:
            a, b = fd.random.fold_in(key, 1), fd.random.fold_in(key, 1)
            return fd.random.bits(a) + fd.random.bits(b)

        with pytest.raises(KeyReuseError):
            fd.debug(step, keys=True)(fd.random.key(0))
        with pytest.raises(KeyReuseError):
            fd.debug(fd.vmap(fd.random.bits), keys=True)(np.zeros((2, 2), np.uint64))

    def test_a_loop_that_keeps_its_key(self) -> None:
        def run(key: Any, compiled: bool) -> Any:
            def body(carry: Any, x: Any) -> Any:
                return carry, x + fd.random.normal(carry, ())

            return fd.scan(body, key, np.ones(3, np.float32))[1]

        for wrap in (lambda f: f, lambda f: fd.compile(f)):
            with pytest.raises(KeyReuseError):
                fd.debug(wrap(lambda key: run(key, True)), keys=True)(fd.random.key(0))

    def test_repeated_uses_that_are_allowed(self) -> None:
        def careful(key: Any, x: Any) -> Any:
            first, second, rest = fd.random.split(key, 3)
            total = fd.random.normal(first, (3,)) + fd.random.uniform(second, (3,))
            for step in range(3):
                total = total + fd.random.normal(fd.random.fold_in(rest, step), (3,))
            rows = fd.vmap(lambda k: fd.random.normal(k, ()))(fd.random.split(fd.random.fold_in(rest, 7), 4))
            return (total * x).sum() + rows.sum()

        key, x = fd.random.key(5), np.ones(3, np.float32)
        checked = fd.debug(careful, keys=True)
        for _ in range(2):  # Each call starts from nothing, because the function is pure.
            assert bits(checked(key, x)) == bits(careful(key, x))
        assert bits(fd.debug(fd.value_and_grad(careful, 1), keys=True)(key, x)) == bits(fd.value_and_grad(careful, 1)(key, x))
        assert bits(fd.debug(fd.random.bits, keys=True)(key, (0,))) == bits(fd.random.bits(key, (0,)))

    @pytest.mark.parametrize("wrap", [lambda f: f, fd.compile])
    def test_a_mask_computed_again_on_the_way_back(self, wrap: Callable[..., Any]) -> None:
        @fd.checkpoint
        def layer(x: Any, key: Any) -> Any:
            return np.sin(F.dropout(x, 0.5, key=key, train=True))

        def loss(x: Any, key: Any) -> Any:
            return layer(x, key).sum()

        x, key = np.arange(8.0), fd.random.key(1)
        got = fd.debug(wrap(fd.grad(loss)), keys=True)(x, key)
        assert bits(got) == bits(fd.grad(loss)(x, key))
        with pytest.raises(KeyReuseError):
            fd.debug(wrap(fd.grad(lambda x, key: loss(loss(x, key) * x, key))), keys=True)(x, key)


# Rules


def planted(name: str, rule: Any) -> Any:
    return elementwise(name, rule, c="", impl=lambda x: x * 2)


def wide(t: Any) -> Any:
    return (t * 2).astype(np.float64)


class TestRules:
    def check(self, build: Callable[[], Any], x: Any, *texts: str, wrap: Callable[..., Any] = fd.grad) -> None:
        primitive = build()
        try:
            with pytest.raises(RuleError) as caught:
                fd.debug(wrap(lambda x: primitive(x).sum()), dtypes=True)(x)
        finally:
            del REGISTRY[primitive.name]
        assert caught.value.operation == primitive.name
        assert caught.value.line.path == str(HERE)
        for text in (primitive.name, *texts):
            assert text in str(caught.value)

    def test_a_cotangent_of_another_dtype(self) -> None:
        x = np.ones(3, np.float32)
        self.check(lambda: planted("planted_wide", wide), x, "cotangent of argument 0 as float64[3]", "its primal is float32[3]")
        self.check(lambda: planted("planted_wide", wide), x, "float64[3]", wrap=lambda f: fd.compile(fd.grad(f)))
        self.check(lambda: planted("planted_wide", wide), x[None], "argument 0", wrap=lambda f: fd.vmap(fd.grad(f)))

    def test_a_tangent_of_another_dtype(self) -> None:
        def forward(f: Any) -> Any:
            return lambda x: fd.jvp(f, (x,), (x,))

        self.check(lambda: planted("planted_wide", wide), np.ones(3, np.float32), "tangent of the result as float64[3]", wrap=forward)

    def test_a_cotangent_of_another_shape(self) -> None:
        def flat(t: Any, x: Any) -> Any:
            return t.reshape(-1)

        self.check(lambda: linear("planted_flat", lambda x: x * 1, flat), np.ones((2, 3)), "float64[6]", "float64[2,3]", "the shape")

    def test_the_argument_is_named(self) -> None:
        primitive = elementwise("planted_second", 1, wide, c="", impl=np.add)
        try:
            with pytest.raises(RuleError, match="argument 1 as float64"):
                fd.debug(fd.grad(lambda x: primitive(x, x).sum()), dtypes=True)(np.ones(2, np.float32))
        finally:
            del REGISTRY[primitive.name]

    def test_a_users_rule(self) -> None:
        @fd.custom_vjp
        def doubled(x: Any) -> Any:
            return x * 2

        doubled.defvjp(lambda x: (x * 2, None), lambda _, t: (t.astype(np.float64) * 2,))
        with pytest.raises(RuleError, match="rule of doubled gives the cotangent of argument 0 as float64"):
            fd.debug(fd.grad(lambda x: doubled(x).sum()), dtypes=True)(np.ones(2, np.float32))

    def test_broadcasting_and_promotion_are_no_mistakes(self) -> None:
        def mixed(x: Any, b: Any) -> Any:
            return ((x + b) * np.float64(2.0) + x.astype(np.float64) * b[:, None].T).sum()

        args = np.ones((4, 3), np.float32), np.ones(3, np.float32)
        for function in (fd.grad(mixed, (0, 1)), lambda *a: fd.jvp(mixed, a, a)):
            assert bits(fd.debug(function, dtypes=True)(*args)) == bits(function(*args))


# Correct code passes

CHOSEN = first_of_each(SAMPLES, by_name)


def every(sample: Sample) -> list[Callable[..., Any]]:
    """The operation of a sample, and functions derived from it."""
    function, args = function_of(sample)
    numbers = tuple(range(len(args)))

    def scalar(*given: Any) -> Any:
        return fnp.real(fnp.sum(fnp.sin(function(*given))))

    gradient = fd.grad(scalar, numbers)

    def slope(*given: Any) -> Any:
        return sum(fnp.sum(fnp.real(t * t)) for t in gradient(*given))

    return [function, gradient, lambda *a: fd.jvp(function, a, a), fd.grad(slope, numbers), fd.compile(gradient), fd.grad(fd.compile(scalar), numbers)]


@folded("sample", CHOSEN, sharing(CHOSEN, by_name))
def test_no_false_alarm_and_the_same_bits_for_every_operation(sample: Sample) -> None:
    arrays = [i for i, arg in enumerate(sample.args) if hasattr(arg, "shape")]

    def run(*given: Any) -> Any:
        full = dict(enumerate(sample.args)) | dict(zip(arrays, given, strict=True))
        return sample.primitive(*full.values(), **sample.params)

    given = [sample.args[i] for i in arrays]
    assert bits(fd.debug(run)(*given)) == bits(run(*given))
    _, args = function_of(sample)
    for function in every(sample) if sample.primitive.mask and args else []:
        assert bits(fd.debug(function)(*args)) == bits(function(*args))


FUNCTIONS = {case.name: case for case in reversed(CASES) if case.module == "functions" and not case.shown}  # one case each


def test_every_function_of_F_has_a_case() -> None:
    assert {name for name in F.__all__ if inspect.isfunction(getattr(F, name))} <= {*FUNCTIONS, *DRAWN}


DRAWN = {"dropout": lambda x, key: F.dropout(x, 0.5, key=key, train=True)}


def no_false_alarm(function: Callable[..., Any], args: tuple[Any, ...], wrap: Callable[..., Any], differentiable: bool = True) -> None:
    assert bits(fd.debug(wrap(function))(*args)) == bits(function(*args))
    if differentiable:
        gradient = wrap(fd.grad(lambda *a: sum(fnp.sum(y) for y in fd.tree.leaves(function(*a)))))
        assert bits(fd.debug(gradient)(*args)) == bits(gradient(*args))


@pytest.mark.parametrize("name", [name for name, case in FUNCTIONS.items() if case.places])
@all_of("wrap", [lambda f: f, fd.compile])
def test_no_false_alarm_in_the_functions(name: str, wrap: Callable[..., Any]) -> None:
    case = FUNCTIONS[name]
    no_false_alarm(case.of_inputs(), case.inputs, wrap, bool(case.argnums))


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("wrap", [lambda f: f, fd.compile], ids=["eager", "compiled"])
def test_no_false_alarm_in_what_draws(name: str, wrap: Callable[..., Any]) -> None:
    no_false_alarm(DRAWN[name], (np.ones((2, 3, 2, 2)), fd.random.key(0)), wrap)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("method", ["sgd", "momentum", "adam"])
def test_training_passes_with_the_same_bits(method: str, compiled: bool) -> None:
    build = getattr(optim, method, None) or optim.sgd
    opt = build(0.01)
    model = nn.MLP.init(fd.random.key(0), (4, 8, 3), dropout=0.25)
    x, t = fd.random.normal(fd.random.key(9), (16, 4)), np.arange(16) % 3

    def loss_fn(model: Any, x: Any, t: Any, key: Any) -> Any:
        return F.softmax_cross_entropy(model(x, key=key, train=True), t)

    def step(model: Any, state: Any, x: Any, t: Any, key: Any) -> Any:
        loss, grads = fd.value_and_grad(loss_fn)(model, x, t, key)
        return *opt.step(model, grads, state), loss

    run = fd.compile(step) if compiled else step
    checked = fd.debug(run)
    plain = under = (model, opt.init(model), np.float32(0))
    for number in range(3):
        key = fd.random.fold_in(fd.random.key(1), number)
        plain = step(*plain[:2], x, t, key)
        under = checked(*under[:2], x, t, key)
        assert bits(under) == bits(plain)
