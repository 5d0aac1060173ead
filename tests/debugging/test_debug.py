"""`debug` names NaNs and infinities with the user's line; also the transform itself: bits, nesting, errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.core import Tracer
from fdezero.errors import EscapedTracerError, NanError, StructureError, TraceError
from fdezero.testing import assert_trees_equal

from .debugged import bits, line_of

HERE = Path(__file__)
ZERO = np.array([1.0, 0.0, 4.0])


def nan_error(function: Callable[..., Any], *args: Any, **kwargs: Any) -> NanError:
    with pytest.raises(NanError) as caught:
        fd.debug(function, nans=True, **kwargs)(*args)
    return caught.value


def at(error: Any, mark: str) -> bool:
    """Whether the error names the marked line, also in its text."""
    number = line_of(HERE, mark)
    assert f'File "{HERE}", line {number}\n' in str(error)
    assert HERE.read_text(encoding="utf-8").splitlines()[number - 1].strip() in str(error)
    return (error.line.path, error.line.number) == (str(HERE), number)


# Functions with a mark on the line that the error must name


def entropy(p: Any) -> Any:
    logs = np.log(p)  # log of 0
    return -(p * logs).sum()


def root(x: Any) -> Any:
    y = np.sqrt(x)  # root of 0
    return (3 * y).sum()


def ratio(x: Any) -> Any:
    scaled = x * 2
    return (scaled / (x - x)).sum()  # 0 over 0


def not_taken(x: Any) -> Any:
    safe = np.where(x > 0, np.sqrt(x), 0.0)  # the branch not taken
    return safe.sum()


def straight(x: Any) -> Any:
    y = fnp.power(x, 1.5)  # first derivative
    return y.sum()


class TestNans:
    def test_forward(self) -> None:
        error = nan_error(entropy, ZERO)
        assert error.operation == "log"
        assert at(error, "log of 0")
        assert "log made 1 infinity among 3 entries, the first at [1], from operands\n  x0: float64[3], from 0.0 to 4.0\nat\n" in str(error)

    def test_backward_names_the_line_of_the_forward_operation(self) -> None:
        error = nan_error(fd.grad(root), ZERO)
        assert at(error, "root of 0")
        assert error.operation == "quotient"
        assert error.line.rule == "backward pass of sqrt"
        assert "in the backward pass of sqrt, which ran at\n" in str(error)

    def test_zero_over_zero(self) -> None:
        error = nan_error(ratio, np.zeros((2, 2)))
        assert error.operation == "divide"
        assert at(error, "0 over 0")
        assert "4 NaNs among 4 entries, the first at [0, 0]" in str(error)

    def test_a_branch_that_is_not_taken(self) -> None:
        plain = fd.debug(not_taken, nans=True)(ZERO)
        assert plain == 3.0
        assert bits(fd.debug(fd.grad(not_taken), nans=True)(ZERO)) == bits(np.array([0.5, 0.0, 0.25]))

    def test_the_derivative_of_a_derivative(self) -> None:
        def second(x: Any) -> Any:
            return fd.grad(lambda x: fd.grad(straight)(x).sum())(x)

        fd.debug(fd.grad(straight), nans=True)(ZERO)
        error = nan_error(second, ZERO)
        assert at(error, "first derivative")
        assert "in the backward pass of power" in error.line.rule

    def test_forward_mode(self) -> None:
        error = nan_error(lambda x: fd.jvp(root, (x,), (np.ones(3),)), ZERO)
        assert at(error, "root of 0")
        assert error.line.rule == "tangent of sqrt"

    def test_vmap(self) -> None:
        for function in (fd.vmap(fd.grad(root)), fd.grad(lambda x: fd.vmap(root)(x).sum())):
            error = nan_error(function, np.stack([ZERO + 1, ZERO]))
            assert at(error, "root of 0")
            assert "the first at [1, 1]" in str(error)

    def test_compiled(self) -> None:
        for function in (fd.grad(fd.compile(root)), fd.compile(fd.grad(root)), fd.compile(fd.grad(fd.compile(root))), fd.vmap(fd.compile(fd.grad(root)))):
            error = nan_error(function, ZERO if "vmap" not in repr(function) else np.stack([ZERO, ZERO]))
            assert at(error, "root of 0")
            assert error.line.rule == "backward pass of sqrt"

    def test_a_compiled_function_that_ran_before(self) -> None:
        compiled = fd.compile(entropy)
        fine = compiled(ZERO + 1)
        assert fd.debug(compiled, nans=True)(ZERO + 1) == fine
        assert at(nan_error(compiled, ZERO), "log of 0")
        assert compiled(ZERO + 1) == fine

    @pytest.mark.parametrize("compiled", [False, True])
    def test_scan(self, compiled: bool) -> None:
        def body(carry: Any, x: Any) -> Any:
            new = carry - x
            return new, 1 / new  # in the third round

        def run(start: Any, xs: Any) -> Any:
            return fd.scan(body, start, xs)[1].sum()

        error = nan_error(fd.compile(run) if compiled else run, np.array(3.0), np.ones(4))
        assert at(error, "in the third round")
        below = nan_error(fd.compile(fd.grad(run)) if compiled else fd.grad(run), np.array(3.0), np.ones(4))
        assert at(below, "in the third round")

    @pytest.mark.parametrize("compiled", [False, True])
    def test_the_way_back_through_a_scan(self, compiled: bool) -> None:
        def body(carry: Any, x: Any) -> Any:
            return carry * 1.0, np.sqrt(x * carry)  # back through the loop

        def run(start: Any, xs: Any) -> Any:
            return fd.scan(body, start, xs)[1].sum()

        error = nan_error(fd.compile(fd.grad(run)) if compiled else fd.grad(run), np.array(3.0), ZERO)
        assert at(error, "back through the loop")
        assert error.line.rule == "backward pass of sqrt"

    @pytest.mark.parametrize("compiled", [False, True])
    def test_while_and_cond(self, compiled: bool) -> None:
        def run(x: Any) -> Any:
            x = fd.while_loop(lambda x: x > 0.5, lambda x: x - 1.0, x)
            return fd.cond(x > 1, lambda x: x, lambda x: 1 / x, x)  # in a branch

        error = nan_error(fd.compile(run) if compiled else run, np.array(2.0))
        assert at(error, "in a branch")

    def test_checkpoint(self) -> None:
        assert at(nan_error(fd.grad(fd.checkpoint(root)), ZERO), "root of 0")
        assert at(nan_error(fd.checkpoint(entropy), ZERO), "log of 0")

    def test_a_custom_rule_has_lines_of_its_own(self) -> None:
        @fd.custom_vjp
        def softened(x: Any) -> Any:
            return x * 2

        softened.defvjp(lambda x: (x * 2, x), lambda x, t: (t / x,))  # a user's rule
        error = nan_error(fd.grad(lambda x: softened(x).sum()), ZERO)  # the call of it
        assert at(error, "a user's rule")
        assert error.line.rule == f"backward pass of softened, called at test_debug.py:{line_of(HERE, 'the call of it')}"

    @pytest.mark.parametrize("compiled", [False, True])
    def test_a_training_step(self, compiled: bool) -> None:
        model = nn.MLP.init(fd.random.key(0), (3, 4, 2), activation=F.relu)
        opt = optim.sgd(1e30)
        x, t = np.ones((5, 3), np.float32), np.zeros(5, int)

        def loss_fn(model: Any, x: Any, t: Any) -> Any:
            y = model(x)  # where the numbers grow
            return ((y - t[:, None]) ** 2).mean()  # where they are too large

        def step(model: Any, state: Any, x: Any, t: Any) -> Any:
            loss, grads = fd.value_and_grad(loss_fn)(model, x, t)
            return *opt.step(model, grads, state), loss

        run = fd.debug(fd.compile(step) if compiled else step, nans=True)

        def train(model: Any, state: Any) -> None:
            for _ in range(10):
                model, state, _ = run(model, state, x, t)

        with pytest.raises(NanError) as caught:
            train(model, opt.init(model))
        assert at(caught.value, "where the numbers grow") or at(caught.value, "where they are too large")

    def test_python_numbers(self) -> None:
        error = nan_error(fd.grad(lambda x: np.sqrt(x)), 0.0)
        assert error.line.rule == "backward pass of sqrt"
        assert "quotient made an infinity, from operands\n  x0: float64[] = 1.0\n  x1: float64[] = 0.0\n" in str(error)

    def test_infinities_that_the_user_wrote_are_allowed(self) -> None:
        def masked(x: Any, mask: Any) -> Any:
            return F.softmax(np.where(mask, x, -np.inf)).sum()

        mask = np.array([True, False, True])
        assert_trees_equal(fd.debug(fd.grad(masked), nans=True)(ZERO, mask), fd.grad(masked)(ZERO, mask))
        best = fd.debug(lambda best, loss: np.minimum(best, loss), nans=True)
        assert best(np.inf, np.float64(2.0)) == 2.0
        assert best(np.array(np.inf), np.array(np.inf)) == np.inf

    def test_a_row_that_is_masked_wholly(self) -> None:
        error = nan_error(lambda x: x - x.max(axis=-1, keepdims=True), np.full((2, 3), -np.inf))
        assert error.operation == "subtract"
        assert "6 NaNs" in str(error)
        assert "6 not finite" in str(error)

    def test_other_entries_that_are_not_finite_hide_nothing(self) -> None:
        error = nan_error(np.log, np.array([np.nan, 0.0, np.inf]))
        assert "the first at [1]" in str(error)

    def test_infinities_may_be_meant(self) -> None:
        logs = fd.debug(np.log, nans=True, infinities=False)
        with np.errstate(divide="ignore"):
            assert_trees_equal(logs(ZERO), np.log(ZERO))
        with pytest.raises(NanError, match="2 NaNs among"):
            logs(ZERO - 2)

    def test_a_nan_that_came_in(self) -> None:
        data = np.array([1.0, np.nan])
        with pytest.raises(NanError, match=r"result has 1 NaN .* came in with the argument 0/x \(1 NaN among 2 entries, the first at \[1\]\)"):
            fd.debug(lambda batch: batch["x"] * 2, nans=True)({"x": data})
        with pytest.raises(NanError, match="a constant"):
            fd.debug(lambda x: x * data, nans=True)(np.ones(2))
        fd.debug(lambda x: np.where(np.isnan(x), 0, x), nans=True)(data)
        assert fd.debug(lambda x, y: (x, y + 1), nans=True)(data, 1.0)[0] is data

    def test_overflow_and_complex_numbers(self) -> None:
        error = nan_error(lambda x: x.astype(np.float16), np.array([1e6, 1.0]))
        assert error.operation == "astype"
        error = nan_error(lambda z: z / (z - z), np.array([1 + 1j]))
        assert "absolute values" in str(error)


# The transform itself


def test_modules_methods_and_decorators() -> None:
    model = nn.MLP.init(fd.random.key(0), (3, 4, 2))
    broken = fd.tree.map(lambda leaf: leaf + np.float32(3e38), model)
    x = np.ones((2, 3), np.float32)
    assert bits(fd.debug(model)(x)) == bits(fd.debug(model.__call__)(x)) == bits(model(x))
    with pytest.raises(NanError):
        fd.debug(broken)(x)

    class Logarithm(fd.Module):
        scale: Any

        @fd.debug(nans=True)
        def __call__(self, x: Any) -> Any:
            return self.scale * np.log(x)  # within a method

    with pytest.raises(NanError) as caught:
        Logarithm(np.ones(3))(ZERO)
    assert at(caught.value, "within a method")
    assert Logarithm.__call__.__name__ == "__call__"


def test_plain_values_may_be_used_as_without_debug() -> None:
    def ordinary(x: Any, n: int, *, flag: bool) -> Any:
        rows = [x[i] * float(x[0]) for i in range(n)]
        assert isinstance(n, int)
        assert flag is True
        while x.sum() < 100:
            x = x * 2
        text = f"{x[0]:.1f}"
        return float(np.percentile(x, 50)), rows, int(x[0]), x[1].item(), x.tolist(), np.asarray(x), text, [1, 2, 3][np.int64(1) * x.astype(int)[0] % 3]

    x = np.arange(1.0, 5.0)
    got, expected = fd.debug(ordinary)(x, 2, flag=True), ordinary(x, 2, flag=True)
    assert bits(got[:-2]) == bits(expected[:-2])
    assert got[-2:] == expected[-2:]


def test_debug_stands_outside() -> None:
    for outer in (fd.grad, fd.compile, fd.vmap):
        with pytest.raises(TraceError, match="Put debug outside"):
            outer(fd.debug(root))(ZERO + 1)
    both = fd.debug(fd.debug(root, keys=True), nans=True)
    assert both(ZERO) == root(ZERO)
    with pytest.raises(NanError):
        fd.debug(fd.debug(entropy, keys=True), nans=True)(ZERO)


def test_a_call_without_arrays_is_an_error() -> None:
    with pytest.raises(StructureError, match="no argument has an array"):
        fd.debug(lambda: np.ones(3))()


def test_it_costs_nothing_where_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(self: Any, operation: Any) -> Any:
        raise AssertionError("a tape over plain values asks nobody")

    monkeypatch.setattr(Tracer, "rule", asked)
    assert_trees_equal(fd.grad(root)(ZERO + 1), 1.5 / np.sqrt(ZERO + 1))


def test_a_value_that_escapes() -> None:
    kept: list[Any] = []
    fd.debug(lambda x: kept.append(x * 2))(ZERO)
    with pytest.raises(EscapedTracerError):
        kept[0] + 1


def test_warnings_are_those_of_numpy_unless_nans_are_looked_for() -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert np.isinf(fd.debug(np.log, keys=True)(ZERO)[1])
    assert np.isinf(fd.debug(np.log, nans=True, infinities=False)(ZERO)[1])
