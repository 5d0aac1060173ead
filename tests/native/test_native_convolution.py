"""Convolution in native code: beside sums over the taps of a kernel and beside the ordinary call, in all layouts, for any number of threads."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import native
from fdezero.ops import native_windows, windows
from fdezero.testing import assert_trees_close

from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler
from ..profiles import examples

OPERANDS = {"conv": "xw", "conv_input": "wy", "conv_kernel": "xy"}
RESULTS = {"conv": "y", "conv_input": "x", "conv_kernel": "w"}


@pytest.fixture(autouse=True)
def in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays are cut into several blocks, and shared among threads."""
    if not native_windows._library("float")["is_quick"]():
        pytest.skip("the compiler does not make vectors for this processor, and NumPy's products serve")
    monkeypatch.setattr(native_windows, "SHARE", 1)
    monkeypatch.setattr(native_windows, "FEWEST", 0)
    monkeypatch.setattr(native_windows, "LARGE", 1 << 30)


def like(x: np.ndarray) -> native.Like:
    return native.Like(x.shape, x.dtype, x.strides)


def taps(size: int, window: int, out: int, stride: int, before: int, dilation: int) -> list[list[tuple[int, int]]]:
    """For each tap of a kernel along an axis the pairs of an entry of x and an entry of y that it joins."""
    pairs = [[(o * stride + i * dilation - before, o) for o in range(out)] for i in range(window)]
    return [[(s, o) for s, o in of_tap if 0 <= s < size] for of_tap in pairs]


def by_taps(x: np.ndarray, w: np.ndarray, y: np.ndarray, params: dict[str, Any], wanted: str) -> np.ndarray:
    """The sum of x * w * y over all but the array `wanted`, in float64, one tap of the kernel after the other. No loop axes."""
    groups, rank = params["groups"], len(params["strides"])
    split = lambda z, axis: z.reshape(*z.shape[:axis], groups, -1, *z.shape[axis + 1 :]).astype(np.float64)
    x, w, y = split(x, 1), split(w, 0), split(y, 1)
    result = np.zeros_like({"x": x, "w": w, "y": y}[wanted])
    along = [
        taps(*each)
        for each in zip(x.shape[3:], w.shape[3:], y.shape[3:], params["strides"], params["before"], params["dilation"], strict=True)
    ]
    for tap in np.ndindex(w.shape[3:]):
        seen = [along[axis][i] for axis, i in enumerate(tap)]
        of_x, of_y = ((slice(None),) * 3 + np.ix_(*[[pair[k] for pair in axis] for axis in seen]) for k in (0, 1))
        kernel = w[(..., *tap)]
        if wanted == "y":
            result[of_y] += np.einsum("ngc...,gkc->ngk...", x[of_x], kernel)
        elif wanted == "x":
            result[of_x] += np.einsum("ngk...,gkc->ngc...", y[of_y], kernel)
        else:
            axes = list(range(3, 3 + rank))
            result[(..., *tap)] = np.einsum(x[of_x], [0, 1, 10, *axes], y[of_y], [0, 1, 11, *axes], [1, 11, 10])
    merged = (*result.shape[:1], -1, *result.shape[3:]) if wanted != "w" else (-1, *result.shape[2:])
    return result.reshape(merged)


def laid_out(x: np.ndarray, rank: int, layout: str) -> np.ndarray:
    """x as images or kernels lie in memory: channels last, in C order, with gaps, or reversed."""
    if layout == "last":
        first = x.ndim - rank - 1
        inner = np.ascontiguousarray(np.moveaxis(x, first, -1))
        return np.moveaxis(inner, -1, first)
    if layout == "gaps":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "backwards":
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    return np.ascontiguousarray(x)


class Call(dict[str, Any]):
    """The arrays and parameters of a call. It is shown without the numbers."""

    def __repr__(self) -> str:
        lying = {name: (x.dtype.name, x.shape, x.strides) for name, x in self.items() if isinstance(x, np.ndarray)}
        return f"Call({lying}, {self['params']})"


LAYOUTS = st.sampled_from(["last", "last", "C", "gaps", "backwards"])


@st.composite
def calls(draw: Any, loops: bool = False) -> Call:
    """Arrays and parameters of one convolution of one to three axes."""
    rank, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 1, 2, 3]))
    each = lambda low, high: tuple(draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank)))
    channels, filters = (draw(st.sampled_from([1, 2, 3, 7, 8, 9, 16, 17, 33])) for _ in range(2))
    size, strides = each(1, 7), each(1, 3)
    window = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5]), min_size=rank, max_size=rank)))
    before, dilation, out = each(-1, 3), each(1, 2), each(1, 6)
    dtype, rng = draw(st.sampled_from([np.float32, np.float64])), np.random.default_rng(draw(st.integers(0, 99)))
    axes = draw(st.sampled_from([(2,), (2, 3)])) if loops else ()
    batched = draw(st.sampled_from(["x", "w", "xw"])) if loops else ""
    shapes = {"x": (groups * channels, *size), "w": (groups * filters, channels, *window), "y": (groups * filters, *out)}
    arrays = {}
    for name, shape in shapes.items():
        examples = () if name == "w" else (draw(st.integers(1, 3)),) if name == "x" else arrays["x"].shape[-rank - 2 : -rank - 1]
        lead = axes if name in batched or (name == "y" and loops) else ()
        arrays[name] = laid_out(rng.standard_normal((*lead, *examples, *shape)).astype(dtype), rank, draw(LAYOUTS))
    params = {"strides": strides, "before": before, "dilation": dilation, "groups": groups}
    return Call(**arrays, params=params, sizes={"x": size, "w": window, "y": out})


def natively(name: str, call: Call, threads: int = 1, winograd: bool = False) -> np.ndarray | None:
    """What the native code of an operation gives for a result that lies as the operation's own; None where it does not serve."""
    operands = [call[z] for z in OPERANDS[name]]
    params = {**call["params"], "size": call["sizes"][RESULTS[name]]}
    operation = getattr(windows, name)
    out = np.full_like(operation(*operands, **params), np.nan)
    make = operation.native([like(z) for z in operands], like(out), params, native.How(threads, winograd))
    if make is None:
        return None
    make()(out, *operands)
    return out


def ordinary(name: str, call: Call) -> np.ndarray:
    operands = [call[z] for z in OPERANDS[name]]
    return getattr(windows, name)(*operands, **call["params"], size=call["sizes"][RESULTS[name]])


def tolerance(call: Call, expected: np.ndarray) -> float:
    return (1e-5 if call["x"].dtype == np.float32 else 1e-13) * max(1.0, np.abs(expected).max())


@settings(max_examples=examples(2))
@given(calls(), st.sampled_from([1 << 9, 1 << 12, 1 << 18]), st.sampled_from([4, 256]), st.sampled_from([5, 256]), st.sampled_from([0.0, 2.0]))
def test_native_convolutions_are_sums_over_taps(call: Call, cache: int, chunk: int, pixels: int, mostly: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CACHE", cache), ("CHUNK", chunk), ("PIXELS", pixels), ("MOSTLY", mostly)):
            patch.setattr(native_windows, name, value)
        for name in OPERANDS:
            found = [natively(name, call, threads) for threads in (1, 2, 3)]
            if found[0] is None:
                continue
            expected = by_taps(call["x"], call["w"], call["y"], call["params"], RESULTS[name])
            np.testing.assert_allclose(found[0], expected, rtol=0, atol=tolerance(call, expected), err_msg=name)
            assert all(y.tobytes() == found[0].tobytes() for y in found), f"{name}: bits depend on the threads"


@given(calls(loops=True))
def test_native_convolutions_of_stacks_are_the_ordinary_call(call: Call) -> None:
    for name in OPERANDS:
        if name == "conv_kernel" and call["w"].ndim < call["y"].ndim:
            continue  # the rule joins loop axes to the examples
        found, expected = natively(name, call, 2), ordinary(name, call)
        if found is not None:
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(call, expected), err_msg=name)


def test_the_usual_layouts_are_served() -> None:
    """Otherwise the laws above would compare nothing."""
    rng = np.random.default_rng(0)
    for rank, groups, layout in itertools.product((1, 2, 3), (1, 2), ("C", "last")):
        lead, size = (2, 8 * groups), (6,) * rank
        arrays = {"x": (*lead, *size), "w": (8 * groups, 8, *(3,) * rank), "y": (*lead, *size)}
        call = Call({name: laid_out(rng.standard_normal(shape), rank, layout) for name, shape in arrays.items()})
        call["params"] = {"strides": (1,) * rank, "before": (1,) * rank, "dilation": (1,) * rank, "groups": groups}
        call["sizes"] = {"x": size, "w": (3,) * rank, "y": size}
        assert all(natively(name, call) is not None for name in OPERANDS), (rank, groups, layout)


@pytest.mark.parametrize("window", [(1, 5), (2, 5), (5, 1), (5, 5), (3, 7)])
def test_gradients_of_kernels_with_one_channel_are_sums_over_taps(window: tuple[int, int]) -> None:
    """Their entries do not lie side by side in x, so tiles of any number of entries occur."""
    rng = np.random.default_rng(0)
    shapes = {"x": (3, 1, 9, 9), "w": (18, 1, *window), "y": (3, 18, 9, 9)}
    call = Call({name: laid_out(rng.standard_normal(shape), 2, "last") for name, shape in shapes.items()})
    call["params"] = {"strides": (1, 1), "before": (1, 2), "dilation": (1, 1), "groups": 1}
    call["sizes"] = {"x": (9, 9), "w": window, "y": (9, 9)}
    found, expected = natively("conv_kernel", call, 2), by_taps(call["x"], call["w"], call["y"], call["params"], "w")
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(call, expected))


def test_what_native_code_does_not_serve_is_refused() -> None:
    x, w = np.ones((2, 8, 6, 6)), np.ones((8, 8, 3, 3))
    params = {"size": (4, 4), "strides": (1, 1), "before": (0, 0), "dilation": (1, 1), "groups": 1}
    for a, b in ((x.astype(np.float16), w.astype(np.float16)), (x.astype(np.float32), w), (x[:0], w), (x.astype(">f8"), w.astype(">f8")), (x + 1j, w)):
        out = windows.conv(a, b, **params)
        assert windows.conv.native is not None
        assert windows.conv.native([like(a), like(b)], like(out), params, native.How()) is None


def network(x: Any, W: Any, V: Any) -> Any:
    y = F.conv2d(np.tanh(x), W, stride=2, padding=1)
    return F.conv_transpose2d(np.tanh(y), V, stride=2, padding=1, output_padding=1)


ARGUMENTS = [np.random.default_rng(3).standard_normal(shape) for shape in ((2, 8, 8, 8), (9, 8, 3, 3), (9, 8, 3, 3))]


def transformed() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    loss = lambda *arrays: np.sum(network(*arrays) ** 2)
    yield "values", network, tuple(ARGUMENTS)
    yield "gradients", fd.grad(loss, argnums=(0, 1, 2)), tuple(ARGUMENTS)
    second = lambda x, W, V: np.sum(fd.grad(loss, argnums=1)(x, W, V) ** 2)
    yield "second derivatives", fd.grad(second, argnums=(0, 1, 2)), tuple(ARGUMENTS)
    along = lambda x, W, V: fd.jvp(fd.grad(loss, argnums=0), (x, W, V), (x, W, V))[1]
    yield "forward over reverse", along, tuple(ARGUMENTS)
    x, W, V = ARGUMENTS
    several = lambda z: np.stack([z, z[::-1] * 0.5, -z])
    yield "vmap over x", fd.vmap(fd.grad(loss, argnums=(0, 1)), (0, None, None)), (several(x), W, V)
    yield "vmap over W", fd.vmap(fd.grad(loss, argnums=(0, 1)), (None, 0, None)), (x, several(W), V)
    yield "vmap over both", fd.vmap(fd.grad(loss, argnums=(0, 2)), (0, 0, 0)), (several(x), several(W), several(V))
    shared = lambda xs, W, V: np.sum(fd.vmap(network, (0, None, None))(xs, W, V) ** 2)
    yield "the gradient of vmap", fd.grad(shared, argnums=(0, 1, 2)), (several(x), W, V)


@pytest.mark.parametrize(("name", "function", "arguments"), [pytest.param(*case, id=case[0]) for case in transformed()])
def test_compiled_derivatives_are_those_of_eager_code(name: str, function: Any, arguments: tuple[Any, ...]) -> None:
    compiled, expected = fd.compile(function, native=True, threads=2), function(*arguments)
    for _ in range(3):
        assert_trees_close(compiled(*arguments), expected, 1e-10)
    assert "native" in compiled.source, name


@st.composite
def calls_of_3x3(draw: Any) -> Call:
    """3x3 convolutions that Winograd's form serves, with odd sizes and any padding."""
    (height, width), (above, left) = ([draw(st.integers(low, high)) for _ in range(2)] for low, high in ((3, 13), (0, 2)))
    dtype, rng = draw(st.sampled_from([np.float32, np.float64])), np.random.default_rng(draw(st.integers(0, 99)))
    channels, filters, examples = draw(st.sampled_from([16, 24, 40])), draw(st.sampled_from([16, 24, 40])), draw(st.integers(1, 3))
    out = tuple(draw(st.integers(max(1, n - 2), n + 2)) for n in (height, width))
    shapes = {"x": (examples, channels, height, width), "w": (filters, channels, 3, 3), "y": (examples, filters, *out)}
    arrays = {name: laid_out(rng.standard_normal(shape).astype(dtype), 2, "last") for name, shape in shapes.items()}
    params = {"strides": (1, 1), "before": (above, left), "dilation": (1, 1), "groups": 1}
    return Call(**arrays, params=params, sizes={"x": (height, width), "w": (3, 3), "y": out})


@given(calls_of_3x3(), st.sampled_from([1, 1 << 20]), st.sampled_from([16, 256]))
def test_winograds_form_rounds_ten_times_as_much(call: Call, tiles: int, chunk: int) -> None:
    """Sums of n products of normal numbers, off by 10 units in the last place of their deviation; the direct form by one or two."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("TRANSFORMED", 1), ("TILES", tiles), ("CHUNK", chunk)):
            patch.setattr(native_windows, name, value)
        for name in ("conv", "conv_input"):
            found = [natively(name, call, threads, winograd=True) for threads in (1, 2, 3)]
            direct = natively(name, call)
            assert found[0] is not None
            assert direct is not None
            expected = by_taps(call["x"], call["w"], call["y"], call["params"], RESULTS[name])
            unit = np.finfo(direct.dtype).eps * np.sqrt(9 * call["w"].shape[name == "conv"])
            errors = [np.abs(y - expected).max() / unit for y in (direct, found[0])]
            assert errors[0] < 30, (name, errors)
            assert errors[1] < 400, (name, errors)
            if np.count_nonzero(direct) >= 16:  # a few numbers may agree by chance
                assert found[0].tobytes() != direct.tobytes(), "Winograd's form was not taken"
            assert all(y.tobytes() == found[0].tobytes() for y in found), f"{name}: bits depend on the threads"


def test_winograds_form_is_taken_only_if_asked_for() -> None:
    rng = np.random.default_rng(0)
    x, W = (laid_out(rng.standard_normal(shape).astype(np.float32), 2, "last") for shape in ((2, 16, 24, 24), (16, 16, 3, 3)))
    f = lambda x, W: F.conv2d(x, W, padding=1)
    programs = {native: fd.compile(f, native=native, threads=1) for native in (True, "winograd")}
    found = {native: [program(x, W) for _ in range(3)][-1] for native, program in programs.items()}
    params = {"strides": (1, 1), "before": (1, 1), "dilation": (1, 1), "groups": 1}
    call = Call(x=x, w=W, params=params, sizes={"y": (24, 24)})
    for choice, y in found.items():
        expected = natively("conv", call, winograd=choice == "winograd")
        assert expected is not None
        assert y.tobytes() == expected.tobytes(), choice
    assert found[True].tobytes() != found["winograd"].tobytes()


def test_gradients_in_winograds_form_are_those_of_eager_code() -> None:
    rng = np.random.default_rng(1)
    x, W = rng.standard_normal((2, 16, 24, 24)), rng.standard_normal((16, 16, 3, 3))
    gradient = fd.grad(lambda x, W: np.sum(np.tanh(F.conv2d(x, W, padding=1))), argnums=(0, 1))
    compiled = fd.compile(gradient, native="winograd")
    for _ in range(3):
        assert_trees_close(compiled(x, W), gradient(x, W), 1e-11)


@pytest.mark.parametrize("native", ["fast", "", None, 2])
def test_an_unknown_word_for_native_is_refused(native: Any) -> None:
    with pytest.raises(fd.errors.StaticError, match="winograd"):
        fd.compile(np.sin, native=native)
