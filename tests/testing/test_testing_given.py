"""`given_gradients`: each property finds code that breaks it and names itself; correct code passes; kinks are counted."""

import types
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.core import REGISTRY, linear
from fdezero.errors import KinkError, RangeError
from fdezero.testing import arrays, given_gradients, gradient_test, keys, layers, positive_definite

few = hypothesis.settings(max_examples=8, database=None, derandomize=True, report_multiple_bugs=False, phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink])
VECTORS = arrays(shape=(3,), min_value=0.5, max_value=2)


def softplus(x: Any) -> Any:
    return np.log1p(np.exp(x))


def broken(function: Callable[..., Any], *strategies: Any, **options: Any) -> str:
    """The message of a failing test of `function`."""
    with pytest.raises(AssertionError) as caught:
        few(gradient_test(function, *(strategies or [VECTORS]), **options))()
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_right_code_passes_every_property() -> None:
    few(gradient_test(softplus, arrays(), reference=lambda x: np.logaddexp(x, 0)))()
    few(gradient_test(lambda x, y: {"dot": x @ y, "x": x}, VECTORS, VECTORS, order=1))()
    few(gradient_test(lambda pair: pair[0](pair[1]), layers()))()
    few(gradient_test(lambda A: np.sum(A @ A), positive_definite(2), order=1))()
    few(gradient_test(lambda x, key: fd.functions.dropout(x, 0.5, key=key, train=True), VECTORS, keys(), order=1))()
    few(gradient_test(lambda z: z * np.conj(z), arrays(np.complex64, (2,))))()
    few(gradient_test(np.tanh, arrays(np.float16)))()
    few(gradient_test(np.tanh, arrays(shape=(2, 3), layouts="any")))()


def test_values_are_compared_with_the_reference() -> None:
    message = broken(softplus, reference=lambda x: np.logaddexp(x, 1e-3))
    assert "softplus breaks 'values are those of the reference': values differ" in message
    few(gradient_test(softplus, VECTORS, reference=lambda x: np.logaddexp(x, 1e-3), value_tolerance=1e-2))()
    few(gradient_test(softplus, VECTORS, reference=lambda x: np.logaddexp(x, 1e-3), values=False))()


def test_wrong_gradients_are_found_with_their_example() -> None:
    wrong = fd.custom_vjp(lambda x: x**3)
    wrong.defvjp(lambda x: (x**3, x), lambda x, t: (np.where(x < 0, -1.0, 1.0) * 3 * x**2 * t,))
    message = broken(wrong, arrays())
    assert "breaks 'gradients are right': forward mode of order 1 is wrong" in message
    assert "x=array(-1.)" in message
    few(gradient_test(wrong, arrays(), gradients=False))()


def test_inputs_written_into_are_found() -> None:
    def writes(x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.flags.writeable:
            x *= 2
        return x * 1

    assert "writes breaks 'inputs are left alone': the arguments differ at 0: 3 of 3 entries" in broken(writes)


def test_values_that_change_from_call_to_call_are_found() -> None:
    rng = np.random.default_rng(0)
    assert "breaks 'inputs are left alone': values of two calls differ" in broken(lambda x: x * rng.random())


def test_widened_dtypes_are_found() -> None:
    assert "breaks 'dtypes are kept': the output is float64, but the widest argument has 32 bits" in broken(lambda x: x * np.ones(3))
    assert "'dtypes are kept': the output at y is float32, but the widest argument has 16" in broken(
        lambda x: {"y": x.astype(np.float32)}, arrays(np.float16, (2,))
    )
    few(gradient_test(lambda x: x * np.ones(3), VECTORS, dtypes=False))()


def test_a_batch_that_is_no_loop_is_found() -> None:
    flip = linear("planted_flip_all", lambda x: np.flip(x), lambda t, x: flip(t))
    try:
        message = broken(lambda x: flip(x))
        assert "breaks 'vmap is a loop': values, batched over argument 0, differ" in message
        few(gradient_test(lambda x: flip(x), VECTORS, vmap=False, compiled=False))()
    finally:
        del REGISTRY["planted_flip_all"]
    assert "vmap=False skips this check" in str(_error(lambda x: x * 2 if x[0] > 0 else x).__notes__)


def _error(function: Any) -> Exception:
    with pytest.raises(TypeError) as caught:
        few(gradient_test(function, VECTORS))()
    return caught.value


def test_compiled_code_of_other_bits_is_found() -> None:
    def sees_arrays(x: Any) -> Any:
        return x * 2 if isinstance(x, np.ndarray) else x * 2 * (1 + 2**-52)

    message = broken(sees_arrays, vmap=False, inputs=False)
    assert "breaks 'compiled is eager': values of the" in message or "breaks 'compiled is eager': gradients" in message


def test_a_gpu_that_differs_is_found(strict_cupy: types.ModuleType) -> None:
    few(gradient_test(softplus, VECTORS, compiled=False))()
    message = broken(lambda x: x * (2 if fd.array_module(x) is np else 3), compiled=False)
    assert "breaks 'GPU is CPU': values differ" in message


def absolute(x: Any) -> Any:
    return np.sum(np.abs(x))


def test_kinks_are_raised_skipped_or_declared() -> None:
    with pytest.raises(KinkError, match="slopes on the two sides are -1 and 1"):
        few(gradient_test(absolute, arrays()))()
    many = hypothesis.settings(few, max_examples=30)
    many(gradient_test(absolute, arrays(), at_kinks="skip"))()
    many(gradient_test(absolute, arrays(), kinks=[0.0]))()
    many(gradient_test(absolute, arrays(), kinks=lambda x: np.abs(x)))()


def test_a_test_that_skipped_every_example_fails() -> None:
    assert "absolute: each of 8 examples was at a kink, so no gradient was checked" in broken(absolute, arrays(), kinks=lambda x: True)


def test_skipped_kinks_are_counted_among_the_events() -> None:
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hypothesis, "event", seen.append)
        hypothesis.settings(few, max_examples=40)(gradient_test(absolute, arrays(), at_kinks="skip"))()
    assert 0 < seen.count("gradients skipped: a kink") < 40
    assert "gradients by central differences" in seen


@pytest.fixture(scope="module")
def scale() -> float:
    return 1.0


@few
@given_gradients(softplus, arrays(), reference=lambda x: np.logaddexp(x, 0))
def test_a_body_adds_assertions_and_takes_fixtures(scale: float, x: np.ndarray) -> None:
    """Pytest collects this class unchanged."""
    assert np.all(softplus(x) * scale > 0)


class TestMethods:
    @given_gradients(softplus, VECTORS)
    @few
    def test_methods_are_tests_as_well(self, x: np.ndarray) -> None:
        assert x.shape == (3,)


test_made_without_a_body = few(gradient_test(softplus, VECTORS))
test_explicit_examples_serve = hypothesis.example(np.array(0.25))(few(gradient_test(softplus, arrays())))


def test_settings_and_bodies_reach_hypothesis() -> None:
    seen = []

    @hypothesis.settings(few, max_examples=5)
    @given_gradients(softplus, arrays(min_value=-20, max_value=20))
    def body(x: np.ndarray) -> None:
        seen.append(x)

    body()
    assert len(seen) == 5

    @few
    @given_gradients(softplus, arrays())
    def wrong(x: np.ndarray) -> None:
        assert x.ndim == 0, "has axes"

    with pytest.raises(AssertionError, match="has axes"):
        wrong()


def test_assertions_of_the_function_itself_keep_their_words() -> None:
    def function(x: Any) -> Any:
        assert x.ndim > 3, "four axes, please"
        return x

    with pytest.raises(AssertionError, match="^four axes, please") as caught:
        few(gradient_test(function, arrays(shape=(2,))))()
    assert "raised inside function, while checking: inputs are left alone" in caught.value.__notes__


def test_mistakes_are_named() -> None:
    with pytest.raises(RangeError, match="a strategy for each"):
        given_gradients(softplus)
    off = dict.fromkeys(("inputs", "gradients", "dtypes", "vmap", "compiled", "gpu"), False)
    with pytest.raises(RangeError, match="at least one property"):
        given_gradients(softplus, VECTORS, **off)
    with pytest.raises(RangeError, match="0 arguments for 1 strategies"):
        given_gradients(softplus, VECTORS)(lambda: None)
    with pytest.raises(TypeError, match="unknown arguments: 'ordre'"):
        few(gradient_test(softplus, VECTORS, ordre=1))


def test_custom_layers_are_tested_like_functions() -> None:
    test = gradient_test(lambda layer, x: layer(x), arrays(shape=(2, 3)).map(nn.Linear), VECTORS.map(lambda x: x[:2]))
    few(test)()
