"""A law: every operation that declares native code is served for the operands below, and gives what the ordinary call gives."""

from typing import Any

import numpy as np
import pytest

import fdezero.functions  # noqa: F401, which declares the operations of networks
from fdezero.core import REGISTRY
from fdezero.native import How, Like

from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler

RNG = np.random.default_rng(0)
WINDOWS = ((4, 2, 2, 0, 1), (3, 3, 3, 1, 1))  # over (8, 8), rows in pairs and columns in threes
CONV: dict[str, Any] = {"strides": (1, 1), "before": (1, 1), "dilation": (1, 1), "groups": 1}
PLAIN: dict[str, Any] = {"extras": (), "causal": True, "scale": 0.5, "kept": 1.0}


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def images(*shape: int, of: Any = normal) -> Any:
    """An array (N, C, *S) whose channels are last in memory."""
    return np.moveaxis(of(shape[0], *shape[2:], shape[1]), -1, 1)


def calls() -> dict[str, tuple[list[Any], dict[str, Any]]]:
    """For each operation with native code: operands, and parameters."""
    x, w, y = images(2, 16, 8, 8), images(32, 16, 3, 3), images(2, 32, 8, 8)
    small, numbers = images(2, 16, 4, 3), images(2, 16, 4, 3, of=lambda *shape: RNG.integers(2, 4, shape).astype(np.uint8))
    q, k, v = normal(2, 70, 8), normal(2, 70, 8), normal(2, 70, 8)
    greatest = np.asarray(REGISTRY["greatest"](x, windows=WINDOWS))
    return {
        "matmul": ([normal(32, 64), normal(64, 128)], {}),
        "conv": ([x, w], {"size": (8, 8), **CONV}),
        "conv_input": ([w, y], {"size": (8, 8), **CONV}),
        "conv_kernel": ([x, y], {"size": (3, 3), **CONV}),
        "greatest": ([x], {"windows": WINDOWS}),
        "first_greatest": ([x, greatest], {"windows": WINDOWS}),
        "chosen_of": ([x, numbers], {"windows": WINDOWS}),
        "placed_at": ([small, numbers], {"windows": WINDOWS, "shape": (8, 8)}),
        "summed": ([x], {"windows": WINDOWS}),
        "spread": ([small], {"windows": WINDOWS, "shape": (8, 8)}),
        "scatter_add": ([normal(40, 5), RNG.integers(0, 6, 40)], {"points": 1, "rest": 1, "shape": (6,)}),
        "attention": ([q, k, v], PLAIN),
        "attention_pull": ([normal(2, 70 * 9), normal(2, 70 * 9), q, k, v], {**PLAIN, "needs": (True, True, True, False)}),
    }


CALLS = calls()


def test_every_operation_with_native_code_is_in_the_table() -> None:
    assert {name for name, operation in REGISTRY.items() if operation.native is not None} == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_native_code_gives_what_the_ordinary_call_gives(name: str) -> None:
    operands, params = CALLS[name]
    operation = REGISTRY[name]
    expected = np.asarray(operation(*operands, **params))
    likes = [Like(x.shape, x.dtype, x.strides) for x in operands]
    assert operation.native is not None
    for threads in (1, 2):
        make = operation.native(likes, Like(expected.shape, expected.dtype, expected.strides), params, How(threads))
        assert make is not None
        out = np.empty_like(expected)
        out[...] = 99
        make()(out, *operands)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CALLS)
def test_what_native_code_does_not_know_is_left_to_the_ordinary_call(name: str) -> None:
    operands, params = CALLS[name]
    operands = [x.astype(np.complex128) if x.dtype.kind == "f" else x for x in operands]
    likes = [Like(x.shape, x.dtype, x.strides) for x in operands]
    shape = np.shape(REGISTRY[name](*CALLS[name][0], **params))
    assert REGISTRY[name].native(likes, Like(shape, np.dtype(complex), np.empty(shape, complex).strides), params, How()) is None
