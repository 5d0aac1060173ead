"""Kinds of wrong rules of JAX that were published: `given_gradients` finds each of them, and `jax.test_util.check_grads` passes it.

Each rule is written anew, as small as it gets. Its source says where the kind was found.
"""

from typing import Any

import hypothesis
import numpy as np
import pytest

from fdezero.testing import arrays, check_grads, given_gradients, gradient_test

from .page import run_the_pages

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
test_util = pytest.importorskip("jax.test_util")

few = hypothesis.settings(max_examples=4, database=None, derandomize=True, report_multiple_bugs=False, phases=[hypothesis.Phase.generate])


@jax.custom_jvp
def softplus(x: Any) -> Any:
    """Its derivative comes from max and abs, whose two kinks at 0 do not add up: it is 0 there in place of 1/2.

    Source: https://github.com/jax-ml/jax/issues/2107.
    """
    return jnp.logaddexp(x, 0.0)


@softplus.defjvp
def _softplus_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (v,) = primals, tangents
    rest = jnp.exp(-jnp.abs(x))
    return softplus(x), v * ((x > 0) - jnp.sign(x) * rest / (1 + rest))


@jax.custom_jvp
def xlogy(x: Any, y: Any) -> Any:
    """The rule of x log(y) lacks the care that the function itself takes at x = 0: 0 / 0 is NaN.

    Source: https://github.com/jax-ml/jax/issues/15709.
    """
    return jnp.where(x != 0, x * jnp.log(jnp.where(x != 0, y, 1.0)), 0.0)


@xlogy.defjvp
def _xlogy_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (dx, dy) = primals, tangents
    return xlogy(x, y), dx * jnp.log(y) + dy * x / y


def squared_xlogx(x: Any) -> Any:
    return xlogy(x**2, x**2)  # it has a derivative at 0: 0


@jax.custom_vjp
def running_sum(x: Any) -> Any:
    """A callback to NumPy says that it can take a batch of arrays, and sums over the batch.

    Source: https://github.com/jax-ml/jax/pull/23881 and https://github.com/jax-ml/jax/issues/17187 (then `vectorized=True`).
    """
    host = lambda x: np.cumsum(x).reshape(np.shape(x))
    return jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="broadcast_all")


running_sum.defvjp(lambda x: (running_sum(x), None), lambda _, g: (jnp.cumsum(g[::-1])[::-1],))

KINDS: dict[str, Any] = {
    "softplus": (softplus, ("fwd", "rev"), "breaks 'gradients are right': forward mode of order 1 is wrong", "jvp 0, central differences 0.5"),
    "squared_xlogx": (squared_xlogx, ("fwd", "rev"), "breaks 'gradients are right': forward mode of order 1 is wrong", "jvp nan"),
    "running_sum": (running_sum, ("rev",), "breaks 'vmap is a loop': values, batched over argument 0, differ", "vmap"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_kind_is_found_that_check_grads_passes(kind: str) -> None:
    function, modes, *words = KINDS[kind]
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for _ in range(5):
            test_util.check_grads(function, (jnp.asarray(rng.standard_normal(3)),), order=1, modes=modes)
    with pytest.raises(AssertionError) as caught:
        few(gradient_test(function, arrays(shape=(3,)), backend="jax", order=1))()
    assert f"{kind} {words[0]}" in str(caught.value)
    assert words[1] in str(caught.value)


def test_right_code_passes() -> None:
    @jax.custom_vjp
    def sine(x: Any) -> Any:
        return jnp.sin(x)

    sine.defvjp(lambda x: (sine(x), x), lambda x, g: (g * jnp.cos(x),))
    few(gradient_test(sine, arrays(shape=(3,)), backend="jax", offers=["rev", "second", "vmap", "compiled"]))()
    one = hypothesis.settings(few, max_examples=1)
    one(gradient_test(lambda p, n: p["a"] * n + p["k"], hypothesis.strategies.fixed_dictionaries({"a": arrays(shape=(2,)), "k": arrays(np.int64, (2,))}), hypothesis.strategies.just(3), backend="jax", order=1))()
    one(gradient_test(lambda z: z * z.conj(), arrays(np.complex128, (2,)), backend="jax", order=1))()
    one(gradient_test(lambda x, key: x * jax.random.normal(key, x.shape), arrays(shape=(2,)), hypothesis.strategies.builds(lambda: jax.random.key(0)), backend="jax", order=1))()
    with pytest.raises(AssertionError, match="sine does not offer forward mode: .*can't apply forward-mode autodiff"):
        check_grads(sine, (np.ones(3),), backend="jax", offers=["fwd"])


def test_the_body_gets_arrays_of_jax_in_double_precision() -> None:
    @hypothesis.settings(few, max_examples=1)
    @given_gradients(jnp.sin, arrays(shape=(2,)), backend="jax", order=1, vmap=False)
    def test(x: Any) -> None:
        assert isinstance(x, jax.Array)
        assert x.dtype == np.float64

    test()
    assert jnp.ones(1).dtype == np.float32  # the user's own settings are back


def test_the_page_shows_what_its_program_prints() -> None:
    run_the_pages("JAX")
