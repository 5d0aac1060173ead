"""Philox4x64-10: the words of a key, from NumPy's bit generator on the CPU and from a kernel on the GPU."""

from functools import cache
from typing import Any

import numpy as np

# One thread a block of four words. NumPy steps the counter before each block, hence i + 1. The first number of the
# counter is the block, the last one the domain, which keeps drawing, splitting and folding apart.
SOURCE = r"""
extern "C" __device__ void philox4x64(unsigned long long c[4], unsigned long long k0, unsigned long long k1) {
    for (int round = 0; round < 10; ++round) {
        if (round) { k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL; }
        unsigned long long h0 = __umul64hi(0xD2E7470EE14C6C93ULL, c[0]), l0 = 0xD2E7470EE14C6C93ULL * c[0];
        unsigned long long h1 = __umul64hi(0xCA5A826395121157ULL, c[2]), l1 = 0xCA5A826395121157ULL * c[2];
        unsigned long long d1 = c[1], d3 = c[3];
        c[0] = h1 ^ d1 ^ k0; c[1] = l1; c[2] = h0 ^ d3 ^ k1; c[3] = l0;
    }
}
extern "C" __global__ void philox_words(const unsigned long long* keys, unsigned long long start, unsigned long long domain,
                                        unsigned long long words, unsigned long long count, unsigned long long* out) {
    unsigned long long blocks = (words + 3) / 4;
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (i >= blocks * count) return;
    unsigned long long row = i / blocks, block = i % blocks;
    unsigned long long c[4] = {start + block + 1, 0, 0, domain};
    philox4x64(c, keys[2 * row], keys[2 * row + 1]);
    for (int j = 0; j < 4 && 4 * block + j < words; ++j) out[row * words + 4 * block + j] = c[j];
}
"""


def words_on_cpu(keys: np.ndarray, count: int, start: int, domain: int) -> np.ndarray:
    """keys (n, 2) uint64 -> (n, count) uint64, beginning with the block after `start`."""
    counter = np.array([start, 0, 0, domain], np.uint64)
    rows = [np.random.Philox(key=key, counter=counter).random_raw(count) for key in keys]
    return np.stack(rows) if rows else np.empty((0, count), np.uint64)


@cache
def _kernel(cupy: Any) -> Any:
    return cupy.RawKernel(SOURCE, "philox_words")


def words_on_gpu(cupy: Any, keys: Any, count: int, start: int, domain: int) -> Any:
    """The same words from one kernel; the key is read on the device."""
    keys = cupy.ascontiguousarray(keys)
    out = cupy.empty((keys.shape[0], count), np.uint64)
    threads = keys.shape[0] * (-(-count // 4))
    if threads:
        arguments = (keys, *map(np.uint64, (start, domain, count, keys.shape[0])), out)
        _kernel(cupy)((-(-threads // 256),), (256,), arguments)
    return out
