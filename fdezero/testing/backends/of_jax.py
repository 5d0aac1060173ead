"""Functions of JAX, such as those with `jax.custom_vjp` and `jax.custom_jvp` rules: `jax.vjp`, `jax.jvp`, `jax.vmap` and `jax.jit`."""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .protocol import Arrays, Backend, Pullback, Run

# Parts of JAX's messages that say: this function does not have that derivative or that rule.
REFUSALS = (
    "can't apply forward-mode",
    "do not support JVP",
    "Reverse-mode differentiation does not work",
    "vmap is only supported",
    "not implemented",
)


class JaxBackend(Backend):
    """Arrays on JAX's default device."""

    name = "jax"
    compiles = True

    def __init__(self, device: str = "") -> None:
        self.device = jax.devices(device)[0] if device else None

    def array(self, x: Any) -> Any:
        x = np.asarray(x)
        try:
            made = jnp.from_dlpack(x)  # shares memory that is aligned as JAX wants it
        except (BufferError, TypeError, jax.errors.JaxRuntimeError):  # read-only, a dtype of other packages, strides
            made = jnp.asarray(x)
        return made if self.device is None else jax.device_put(made, self.device)

    def numpy(self, x: Any) -> np.ndarray:
        return np.asarray(x)  # shares memory on the CPU

    def is_array(self, leaf: Any) -> bool:
        return isinstance(leaf, jax.Array) and not jnp.issubdtype(
            leaf.dtype, jax.dtypes.extended
        )  # random keys are extended

    def copy(self, x: Any) -> Any:
        return jnp.array(x, copy=True)

    def dtype(self, x: Any) -> str:
        return str(x.dtype.name)

    def vjp(self, run: Run, xs: Arrays, which: Sequence[int]) -> tuple[Arrays, Pullback]:
        _, pull, ys = jax.vjp(self._of_floats(run, xs, which), *[xs[i] for i in which], has_aux=True)

        def pullback(ts: Arrays) -> Arrays:
            # JAX's vjp is the transpose; the adjoint is the transpose between two conjugations.
            return [_conj(g) for g in pull([_conj(t) for t in ts if t is not None])]

        return ys, pullback

    def jvp(self, run: Run, xs: Arrays, which: Sequence[int], vs: Arrays) -> tuple[Arrays, Arrays]:
        primals = tuple(xs[i] for i in which)
        _, tangents, ys = jax.jvp(self._of_floats(run, xs, which), primals, tuple(vs), has_aux=True)
        rest = iter(tangents)
        return ys, [next(rest) if _is_inexact(y) else None for y in ys]

    @staticmethod
    def _of_floats(run: Run, xs: Arrays, which: Sequence[int]) -> Any:
        """`run` as a function of the inputs in `which`; it returns the floating outputs, and all of them."""

        def function(*floats: Any) -> tuple[Arrays, Arrays]:
            chosen = dict(zip(which, floats, strict=True))
            ys = run([chosen.get(i, x) for i, x in enumerate(xs)])
            return [y for y in ys if _is_inexact(y)], ys

        return function

    def vmap(self, run: Run, axes: Sequence[int | None]) -> Run:
        mapped = jax.vmap(lambda *xs: tuple(run(list(xs))), in_axes=tuple(axes))
        return lambda xs: list(mapped(*xs))

    def compile(self, run: Run) -> Run:
        compiled = jax.jit(lambda *xs: tuple(run(list(xs))))
        return lambda xs: list(compiled(*xs))

    def refusal(self, error: Exception, *, of_tangent: bool = False) -> str:
        text = str(error)
        of_tracer = isinstance(
            error, jax.errors.JAXTypeError | jax.errors.JAXIndexError
        )  # a value that only a plain call has
        if of_tracer or (
            isinstance(error, TypeError | ValueError | NotImplementedError) and any(part in text for part in REFUSALS)
        ):
            return text.partition("\n")[0]
        return ""

    def wide(self) -> contextlib.AbstractContextManager[Any]:
        return jax.enable_x64(True)


def _is_inexact(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))


def _conj(x: Any) -> Any:
    return jnp.conj(x) if jnp.issubdtype(x.dtype, jnp.complexfloating) else x
