"""Kernels of lines on a GPU: softmax and the scores of attention take one launch each way, with the results of the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.errors import DeviceError
from fdezero.ops import block_kernels, normalisation, score_kernels, softmax
from fdezero.ops.normalised_lines import normalised_lines, normalised_lines_pull
from fdezero.testing import assert_trees_close

from .strict_cupy_kernel import CONSTANTS, FLOAT16, INCLUDE
from .test_cuda_sources import HALVES, compile_cuda

RNG = np.random.default_rng(11)
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": lambda x: x, "Fortran": np.asfortranarray, "reversed": lambda x: x[::-1, :, ::-1], "gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "turned": lambda x: x.transpose(1, 0, 2).copy().transpose(1, 0, 2), "repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
}  # fmt: skip
TOLERANCES = {"float16": 3e-3, "float32": 3e-6, "float64": 1e-13}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that run."""
    names: list[str] = []
    launch = block_kernels.launch
    monkeypatch.setattr(
        block_kernels, "launch", lambda name, *args, **params: names.append(name) or launch(name, *args, **params)
    )
    return names


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_softmax_in_any_layout_is_that_of_the_cpu(layout: str, axis: Any, gpu: Any, launched: list[str]) -> None:
    x, t = (LAYOUTS[layout](RNG.standard_normal((3, 4, 5))) for _ in range(2))
    for function in (fd.special.softmax, fd.special.log_softmax):
        both = lambda x, t, function=function: fd.vjp(lambda x: function(x, axis), x)[1](t)
        there = gpu.asarray(x), gpu.asarray(t)
        assert_trees_close(fd.to_numpy(function(there[0], axis)), function(x, axis), 1e-14)
        assert_trees_close(fd.to_numpy(both(*there)), both(x, t), 1e-13)
    assert launched == ["softmax", "softmax", "softmax_pull", "log_softmax", "log_softmax", "log_softmax_pull"]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (70, 3), (2, 700), (1, 1000)], ids=str)
def test_lines_of_any_length_and_dtype(shape: tuple[int, ...], dtype: str, gpu: Any) -> None:
    x = RNG.standard_normal(shape).astype(dtype)
    t = RNG.standard_normal(shape).astype(dtype)
    for axis in (0, 1):
        for name in ("softmax", "log_softmax"):
            forwards, back = getattr(softmax, name), getattr(softmax, f"{name}_pull")
            y = forwards(gpu.asarray(x), axes=(axis - 2,))
            exact = forwards(x.astype(float), axes=(axis - 2,))
            assert y.dtype == dtype
            assert_trees_close(fd.to_numpy(y), exact, TOLERANCES[dtype])
            pulled = back(gpu.asarray(t), y, axes=(axis - 2,))
            assert pulled.dtype == dtype
            expected = back(t.astype(float), fd.to_numpy(y).astype(float), axes=(axis - 2,))
            np.testing.assert_allclose(
                fd.to_numpy(pulled).astype(float), expected, rtol=TOLERANCES[dtype], atol=20 * TOLERANCES[dtype]
            )


def test_what_is_not_finite_is_that_of_the_cpu(gpu: Any) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[0, -inf, 1], [-inf, -inf, -inf], [nan, 0, 1], [inf, 0, 1], [1e300, -1e300, 0]])
    for function in (F.softmax, F.log_softmax):
        with np.errstate(all="ignore"):
            expected = function(x)
        np.testing.assert_allclose(fd.to_numpy(function(gpu.asarray(x))), expected, rtol=1e-14)
    assert F.softmax(gpu.zeros((0, 3))).shape == (0, 3)


def test_lines_on_another_device_than_the_current_one_are_refused(strict_cupy: Any) -> None:
    x = fd.to_device(RNG.standard_normal((3, 4)), "gpu:1")
    for function in (F.softmax, F.layer_norm, lambda x: F.attention(x, x, x), lambda x: F.batch_norm(x, fnp.ones_like(x[0]), fnp.ones_like(x[0]))):
        with pytest.raises(DeviceError, match=r"on gpu:1.*with cupy.cuda.Device\(1\)"):
            function(x)
        with strict_cupy.cuda.Device(1):
            assert fd.device_of(function(x)) == "gpu:1"


def test_every_order_and_vmap_on_the_gpu(gpu: Any) -> None:
    x = RNG.standard_normal((3, 4))
    for function in (F.softmax, F.log_softmax):
        third = fd.vmap(lambda x, f=function: fd.grad(lambda x: fnp.sum(fd.hvp(lambda x: fnp.sum(f(x) ** 3), (x,), (x,))))(x))
        for made in (third, fd.compile(third)):
            for _ in range(2):
                assert_trees_close(fd.to_numpy(made(gpu.asarray(x))), third(x), 1e-11)


def extras_of(kind: str, T: int, S: int) -> dict[str, Any]:
    return {
        "plain": {}, "mask": {"mask": RNG.random((T, S)) > 0.4}, "bias": {"bias": RNG.standard_normal((1, S))},
        "mask of examples": {"mask": RNG.random((2, 1, 1, S)) > 0.4, "bias": RNG.standard_normal((3, T, S))},
        "dropout": {"mask": RNG.random((1, S)) > 0.2, "dropout": 0.4, "key": fd.random.key(3), "train": True},
    }[kind]  # fmt: skip


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", [(4, 5), (5, 4), (1, 3), (3, 40), (0, 3), (3, 0)], ids=str)
@pytest.mark.parametrize("kind", ["plain", "mask", "bias", "mask of examples", "dropout"])
def test_attention_has_one_kernel_between_the_products(
    kind: str, sizes: tuple[int, int], causal: bool, gpu: Any, launched: list[str]
) -> None:
    T, S = sizes
    q, k, v = RNG.standard_normal((2, 3, T, 3)), RNG.standard_normal((2, 1, S, 3)), RNG.standard_normal((3, S, 2))
    extras = extras_of(kind, T, S)

    def run(q: Any, k: Any, v: Any, extras: dict[str, Any]) -> Any:
        bias = {name: x for name, x in extras.items() if name == "bias"}
        attend = lambda q, k, v, bias: F.attention(q, k, v, causal=causal, **extras | bias)
        return attend(q, k, v, bias), fd.grad(lambda args: fnp.sum(attend(*args) ** 3))((q, k, v, bias))

    assert_trees_close(fd.to_numpy(run(*fd.to_device((q, k, v, extras), "gpu"))), run(q, k, v, extras), 1e-11)
    assert launched == (["weights", "weights", "pulled_weights"] if T and S else [])


def test_the_cotangent_of_scores_for_few_arguments(gpu: Any, launched: list[str]) -> None:
    q, k, v = RNG.standard_normal((4, 3)), RNG.standard_normal((5, 3)), RNG.standard_normal((5, 2))
    for n in range(3):
        alone = fd.grad(lambda *args: fnp.sum(F.attention(*args, scale=0.7) ** 3), argnums=n)
        assert_trees_close(fd.to_numpy(alone(*map(gpu.asarray, (q, k, v)))), alone(q, k, v), 1e-11)
    assert launched == ["weights", "pulled_weights"] * 3


AFFINE: dict[str, Callable[..., Any]] = {
    "batch_norm": lambda x, a, b: F.batch_norm(x, a, b), "group_norm": lambda x, a, b: F.group_norm(x, 2, a, b),
    "instance_norm": lambda x, a, b: F.instance_norm(x, a, b), "layer_norm": lambda x, a, b: F.layer_norm(x, a[0], b[0], axis=-1),
    "rms_norm": lambda x, a, b: F.rms_norm(x, a[0]),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", AFFINE)
def test_norms_in_any_layout_are_those_of_the_cpu(name: str, layout: str, gpu: Any, launched: list[str]) -> None:
    x = LAYOUTS[layout](RNG.standard_normal((3, 4, 5)) + 100)
    shape = (1, 5) if name in ("layer_norm", "rms_norm") else (4,)
    a, b = RNG.standard_normal(shape), RNG.standard_normal(shape)

    def run(x: Any, a: Any, b: Any) -> Any:
        y, pullback = fd.vjp(AFFINE[name], x, a, b)
        return y, pullback(fnp.sin(y))

    assert_trees_close(fd.to_numpy(run(*map(gpu.asarray, (x, a, b)))), run(x, a, b), 1e-10)
    if name == "batch_norm":  # whose statistics are results
        assert launched == ["moments", "sums"]
    else:
        kind = "scaled" if name == "rms_norm" else "normalised"
        assert sorted(launched) == [kind, kind, f"{kind}_pull"]  # forwards, for the scale, and for x


def test_norms_of_every_order_and_dtype(gpu: Any, launched: list[str]) -> None:
    x, a = RNG.standard_normal((3, 4)), RNG.standard_normal(4)
    for function in (F.layer_norm, F.rms_norm):
        third = lambda x, a, f=function: fd.grad(lambda x: fnp.sum(fd.hvp(lambda x: fnp.sum(f(x, a) ** 3), (x,), (x,))))(x)
        for made in (third, fd.compile(third), fd.vmap(third, in_axes=(0, None))):
            assert_trees_close(fd.to_numpy(made(gpu.asarray(x), gpu.asarray(a))), made(x, a), 1e-8)
        for dtype, tolerance in TOLERANCES.items():
            y = function(gpu.asarray((x + 10).astype(dtype)), gpu.asarray(a.astype(dtype)))
            assert y.dtype == dtype
            assert_trees_close(fd.to_numpy(y), function((x + 10).astype(dtype), a.astype(dtype)), tolerance)
    launched.clear()
    assert F.layer_norm(gpu.zeros((0, 3))).shape == (0, 3)
    assert launched == []


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_kernels_of_lines_compile_with_nvrtc(dtype: str, strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources that CuPy would get, of all layouts that these calls have."""
    compile_cuda("")  # which skips this test where NVRTC is not installed
    sources: list[str] = []
    made = block_kernels.source
    monkeypatch.setattr(block_kernels, "source", lambda *pieces: sources.append(made(*pieces)) or sources[-1])
    block_kernels._kernel.cache_clear()
    x = strict_cupy.asarray(RNG.standard_normal((2, 3, 4)).astype(dtype))
    for axes in ((-1,), (-2,), (-3, -1)):
        for name in ("softmax", "log_softmax"):
            getattr(softmax, f"{name}_pull")(x, getattr(softmax, name)(x, axes=axes), axes=axes)
    named = {"bias": x, "mask": x > 0, "keep": x > 0}
    s, total = score_kernels.weights(x.copy(), named, causal=True, scale=0.5, kept=0.5)
    score_kernels.pulled_weights(s, x.copy(), x, x, total, total, named, causal=True, scale=0.5, kept=0.5, factor=0.5)
    moments = normalisation.moments(x, axes=(-1,), centred=True)
    normalisation.moments(x, axes=(-1,), centred=False)
    normalisation.sums(x, x, moments[..., 0], 1, -0.0, x, axes=(-3, -1))
    for centred in (True, False):
        settings = {"axes": (-1,), "eps": 0.1, "centred": centred}
        normalised_lines_pull(x, normalised_lines(x, x, -0.0, **settings), 1, **settings)
    assert len(sources) == 3 * 4 + 2 + 3 + 4
    for text in sources:
        half = HALVES + FLOAT16 if INCLUDE in text else ""
        assert ".entry fdezero_" in compile_cuda(CONSTANTS + half + text.replace(INCLUDE, ""))
