"""Philox4x64-10 on the GPU: one kernel launch a draw, one thread a block of four words, the keys read where they lie."""

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np

from ..values import shape_of

SOURCE = r"""
typedef unsigned long long word;

__device__ void philox4x64(word x[4], word k0, word k1) {
    for (int round = 0; round < 10; ++round) {
        word high0 = __umul64hi(0xD2E7470EE14C6C93ULL, x[0]), low0 = 0xD2E7470EE14C6C93ULL * x[0];
        word high1 = __umul64hi(0xCA5A826395121157ULL, x[2]), low1 = 0xCA5A826395121157ULL * x[2];
        x[0] = high1 ^ x[1] ^ k0;
        x[1] = low1;
        x[2] = high0 ^ x[3] ^ k1;
        x[3] = low0;
        k0 += 0x9E3779B97F4A7C15ULL;
        k1 += 0xBB67AE8584CAA73BULL;
    }
}

// keys (n, 2), starts (n,) or, without any, the one number `start` -> out (n, count)
extern "C" __global__ void fdezero_words(const word* keys, const word* starts, word start, word has_starts,
                                         word* out, word n, word count, word domain) {
    word blocks = (count + 3) / 4;
    word thread = (word)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= n * blocks) return;
    word row = thread / blocks, block = thread % blocks;
    if (has_starts) start = starts[row];
    word first = start + block + 1;
    word x[4] = {first, first < start, 0, domain};
    philox4x64(x, keys[2 * row], keys[2 * row + 1]);
    for (word i = 0; i < 4 && 4 * block + i < count; ++i) out[row * count + 4 * block + i] = x[i];
}
"""
THREADS = 256


@functools.cache
def _kernel(cupy: ModuleType) -> Any:
    return cupy.RawKernel(SOURCE, "fdezero_words")


def words(key: Any, start: Any, *, count: int, domain: int, cupy: Any) -> Any:
    """What `philox.words` gives, on the device of the CuPy array `key`; `start` is a CuPy array too, or an int."""
    loops = np.broadcast_shapes(key.shape[:-1], shape_of(start))
    with key.device:
        keys = cupy.ascontiguousarray(cupy.broadcast_to(key, (*loops, 2)))
        has_starts = hasattr(start, "shape")
        # Without starts the kernel does not follow that pointer; any array will do.
        starts = cupy.ascontiguousarray(cupy.broadcast_to(start, loops)).astype(np.uint64, copy=False) if has_starts else keys
        out = cupy.empty((*loops, count), np.uint64)
        n, threads = math.prod(loops), math.prod(loops) * -(-count // 4)
        if threads:
            numbers = [np.uint64(number) for number in (0 if has_starts else start, has_starts, n, count, domain)]
            grid = (-(-threads // THREADS),)
            _kernel(cupy)(grid, (THREADS,), (keys, starts, *numbers[:2], out, *numbers[2:]))
        return out
