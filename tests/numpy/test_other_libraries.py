"""Other libraries: arrays cross by DLPack without a copy, einops and array-API code take traced values, and the rest says what to do."""

import gc
import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import DeviceError, DTypeError, TraceError

from ..profiles import nightly

einops = pytest.importorskip("einops", reason="einops is not installed")
X = np.arange(24.0).reshape(2, 3, 4)

WITH_EINOPS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {  # what is written, and the same with NumPy
    "rearrange": (lambda x: einops.rearrange(x, "a b c -> c (a b)"), lambda x: np.transpose(x, (2, 0, 1)).reshape(4, 6)),
    "split axis": (lambda x: einops.rearrange(x, "a b (c d) -> a d b c", d=2), lambda x: np.transpose(x.reshape(2, 3, 2, 2), (0, 3, 1, 2))),
    "mean": (lambda x: einops.reduce(x, "a b c -> a b", "mean"), lambda x: np.mean(x, axis=2)),
    "max": (lambda x: einops.reduce(x, "a b c -> c", "max"), lambda x: np.max(x, axis=(0, 1))),
    "function": (lambda x: einops.reduce(x, "a b c -> a", fnp.logsumexp), lambda x: fnp.logsumexp(x, axis=(1, 2))),
    "repeat": (lambda x: einops.repeat(x, "a b c -> a (b k) c", k=2), lambda x: np.repeat(x, 2, axis=1)),
    "einsum": (lambda x: einops.einsum(x, x, "a b c, a d c -> b d"), lambda x: np.einsum("abc,adc->bd", x, x)),
    "pack": (lambda x: einops.pack([x, x[:, 0]], "a * c")[0], lambda x: np.concatenate([x, x[:, :1]], 1)),
    "unpack": (lambda x: einops.unpack(x, [(1,), (2,)], "a * c")[1], lambda x: x[:, 1:]),
    "list": (lambda x: einops.rearrange([x, x * 2], "k a b c -> a b (k c)"), lambda x: np.concatenate([x, x * 2], 2)),
}


@pytest.mark.parametrize("name", WITH_EINOPS)
def test_einops_of_traced_values_is_numpy(name: str) -> None:
    written, by_numpy = WITH_EINOPS[name]

    def square(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda x: np.sum(np.sin(f(x)) ** 2)

    hessian_product = fd.hvp(square(written), (X,), (X,))[0]
    np.testing.assert_array_equal(fd.grad(square(written))(X), fd.grad(square(by_numpy))(X))
    np.testing.assert_array_equal(hessian_product, fd.hvp(square(by_numpy), (X,), (X,))[0])
    np.testing.assert_array_equal(fd.compile(written)(X), by_numpy(X))
    batch = np.stack([X, -X, X + 1])
    np.testing.assert_array_equal(fd.vmap(written)(batch), np.stack([by_numpy(x) for x in batch]))


def test_einops_still_knows_traced_values_after_a_collection() -> None:
    fd.grad(np.sum)(X)  # the first level after the import of einops introduces them
    gc.collect()
    assert "TracedBackend" in [backend.__name__ for backend in einops._backends.NumpyBackend.__subclasses__()]


def test_einops_keeps_its_words_for_a_wrong_pattern() -> None:
    with pytest.raises(einops.EinopsError, match="Shape mismatch"):
        fd.grad(lambda x: np.sum(einops.rearrange(x, "a b (c d) -> a b c d", d=5)))(X)


def test_code_for_any_array_namespace_has_derivatives() -> None:
    compat = pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")

    def softmax(x: Any) -> Any:
        xp = compat.array_namespace(x)
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return e / xp.sum(e, axis=-1, keepdims=True)

    np.testing.assert_allclose(fd.jacobian(softmax)(X[0]), fd.jacobian(fd.functions.softmax)(X[0]), atol=1e-12)


class Elsewhere:
    """An array of another library: of it, NumPy knows no more than DLPack."""

    def __init__(self, x: np.ndarray, place: tuple[int, int] = (1, 0), refusal: str = "") -> None:
        self.x, self.place, self.refusal = x, place, refusal

    def __dlpack__(self, **options: Any) -> Any:
        if self.refusal:
            raise BufferError(self.refusal)
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint16, np.float16, np.float32, np.complex128])
def test_arrays_cross_without_a_copy(dtype: Any) -> None:
    x = np.ones((4, 6), dtype)
    for there in (x, x[::2, ::-1], x.T, x[:0]):
        y = fnp.from_dlpack(Elsewhere(there))
        assert (y.dtype, y.shape, y.strides, np.shares_memory(x, y)) == (there.dtype, there.shape, there.strides, there.size > 0)
    own = fnp.from_dlpack(Elsewhere(x), copy=True)
    own[:] = 0
    assert np.all(x == 1)


def test_an_array_that_cannot_cross_says_why() -> None:
    with pytest.raises(DTypeError, match=r"takes an array of another library.*got list"):
        fnp.from_dlpack([1.0])
    with pytest.raises(DTypeError, match=r"needs a gradient\. Write x\.detach\(\)"):
        fnp.from_dlpack(Elsewhere(X, refusal="needs a gradient."))
    if not fd.gpu_available():
        with pytest.raises(DeviceError, match="is on a GPU: "):
            fnp.from_dlpack(Elsewhere(X, place=(2, 0)))


def test_a_traced_value_passes_and_does_not_leave() -> None:
    assert fd.grad(lambda x: np.sum(fnp.from_dlpack(x) ** 2))(3.0) == 6.0
    for leave in (np.from_dlpack, lambda x: x.__dlpack_device__()):
        with pytest.raises(TraceError, match=r"another library cannot compute with a value float64\[2,3,4\] traced by grad.*fd\.custom_vjp"):
            fd.grad(leave)(X)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_tensors_share_their_memory_both_ways(library: str) -> None:
    if library == "torch":
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        tensor = torch.arange(6.0).reshape(2, 3).T
        there, address = torch.from_dlpack, tensor.data_ptr()
    else:
        jnp = importlib.import_module("jax.numpy") if pytest.importorskip("jax", reason="JAX is not installed") else None
        tensor = jnp.arange(6.0)
        there, address = jnp.from_dlpack, tensor.unsafe_buffer_pointer()
    here = fnp.from_dlpack(tensor)
    assert here.ctypes.data == address
    np.testing.assert_array_equal(np.asarray(there(fd.compile(lambda x: x * 2)(here))), here * 2)


def test_pytorch_inside_a_function_says_what_to_do_and_a_rule_does_it() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(TraceError, match=r"PyTorch cannot compute with a value float64\[2,3,4\] traced by grad.*give it a rule"):
        fd.grad(lambda x: torch.sin(x).sum())(X)

    @fd.custom_vjp
    def by_torch(x: Any) -> Any:
        return fnp.from_dlpack(torch.sin(torch.from_dlpack(x)))

    def backward(x: Any, t: Any) -> Any:
        x = torch.from_dlpack(x).clone().requires_grad_()
        return tuple(map(fnp.from_dlpack, torch.autograd.grad(torch.sin(x), x, torch.from_dlpack(t))))

    by_torch.defvjp(lambda x: (by_torch(x), x), backward)
    np.testing.assert_allclose(fd.grad(lambda x: np.sum(by_torch(x) ** 2))(X), np.sin(2 * X), atol=1e-12)


@nightly
def test_the_guide_lists_what_scipy_differentiates_by_the_array_api() -> None:
    code = """
import os
os.environ["SCIPY_ARRAY_API"] = "1"
import importlib, numpy as np, fdezero as fd
for name in "special.softmax stats.gmean stats.skew fft.fft integrate.trapezoid optimize.rosen".split():
    module, function = name.split(".")
    f = getattr(importlib.import_module("scipy." + module), function)
    g = fd.grad(lambda x: np.sum(np.abs(f(x)) ** 2))(x := np.linspace(0.5, 1.5, 5))
    d = np.array([np.sum(np.abs(f(x + 1e-6 * e)) ** 2) - np.sum(np.abs(f(x - 1e-6 * e)) ** 2) for e in np.eye(5)]) / 2e-6
    np.testing.assert_allclose(g, d, rtol=1e-6, atol=1e-9, err_msg=name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
