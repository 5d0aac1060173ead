"""`cupy.RawKernel` of the stand-in for CuPy: the local C++ compiler compiles the kernel, and every block is a single thread.

So a kernel must work for any number of threads and blocks. What threads of one block do together, the emulator and a GPU show.
"""

import ctypes
import math
import re
from typing import Any

import numpy as np

from .strict_cupy_array import ndarray, operand
from .strict_cupy_graph import NOTED
from .strict_cupy_kernel import C_TYPES, CONSTANTS, FLOAT16, INCLUDE, ON_THE_CPU, build

NUMBERS = {"place": (ctypes.c_longlong, np.int64), "double": (ctypes.c_double, np.float64)}
PARTS = r"""
#define __global__
#define __shared__ static
struct dim3 { unsigned x, y, z; };
static dim3 threadIdx, blockIdx, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};
inline void __syncthreads() {}
"""


class LineKernel:
    """A kernel whose parameters are pointers to arrays, integers of type `place`, and doubles."""

    def __init__(self, source: str, name: str) -> None:
        found = re.search(rf'extern "C" __global__ void {name}\((.*?)\)', source, re.DOTALL)
        assert found, f"{name} is no kernel of the source"
        self.name, self.parameters = (
            name,
            [tuple(text.removeprefix("const ").rsplit(" ", 1)) for text in found[1].split(", ")],
        )
        half = FLOAT16 if INCLUDE in source else ""
        grid = 'extern "C" void of_block(unsigned block, unsigned blocks) { blockIdx.x = block; gridDim.x = blocks; }'
        self.source = f"{ON_THE_CPU}{CONSTANTS}{PARTS}{half}{source.replace(INCLUDE, '')}\n{grid}\n"

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: list[Any]) -> None:
        assert len(args) == len(self.parameters), f"{self.name} has {len(self.parameters)} parameters, got {len(args)}"
        assert 0 < math.prod(block) <= 1024, block
        if NOTED:
            NOTED[-1].append(lambda: self._launch(grid, args))
        else:
            self._launch(grid, args)

    def _launch(self, grid: tuple[int, ...], args: list[Any]) -> None:
        kinds: list[Any] = []
        values: list[Any] = []
        for (ctype, name), arg in zip(self.parameters, args, strict=True):
            if ctype.endswith("*"):
                assert isinstance(arg, np.ndarray), f"{self.name}: {name} is an array"
                assert C_TYPES[arg.dtype.name] == ctype[:-1], f"{self.name}: {name} is {ctype}, got {arg.dtype}"
                kinds.append(ctypes.c_void_p)
                values.append(arg.ctypes.data)
            else:
                kind, dtype = NUMBERS[ctype]
                assert np.dtype(type(arg)) == dtype, f"{self.name}: {name} is {ctype}, got {type(arg)}"
                kinds.append(kind)
                values.append(arg)
        library = build(self.source)
        function = library[self.name]
        function.argtypes, function.restype = kinds, None
        for number in range(*grid):
            library.of_block(number, *grid)
            function(*values)


class RawKernel:
    """The kernel of fdezero.random, whose words come from numpy.random.Philox; and kernels of lines, which the C++ compiler compiles."""

    def __init__(self, source: str, name: str, options: tuple[str, ...] = ()) -> None:
        assert name in source
        self.name = name
        self.of_lines = None if name == "fdezero_words" else LineKernel(source, name)

    def __call__(self, grid: tuple[int], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
        if self.of_lines is not None:
            self.of_lines(grid, block, [arg._numbers if isinstance(arg, ndarray) else arg for arg in args])  # CuPy checks no device here
            return
        keys, starts, start, has_starts, out, n, count, domain = [operand(arg) for arg in args]
        assert grid[0] * block[0] >= n * ((count + 3) // 4)
        rows, keys = out.reshape(n, count), keys.reshape(-1, 2)
        for row in range(n):
            first = int(starts.reshape(-1)[row]) if has_starts else int(start)
            rows[row] = np.random.Philox(counter=first + (int(domain) << 192), key=keys[row]).random_raw(int(count))
