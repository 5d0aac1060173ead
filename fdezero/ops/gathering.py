"""Gather and scatter_add on a GPU, each as one kernel. An index out of range reads NaN and adds nothing; CuPy's wraps around.

CuPy's own indexing launches six kernels for an index that differs along loop axes, and cannot say that an index was wrong without
waiting. Where there is no NaN, an index out of range reads the integer that is farthest out of every range, or false.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

LEAST = "-9223372036854775807LL - 1"
# By dtype: the type of an entry in CUDA, what stands for nothing in it, and the type that an atomic addition takes, if there is one.
ENTRIES = {
    "float64": ("double", "CUDART_NAN", "double"), "float32": ("float", "CUDART_NAN_F", "float"),
    "complex128": ("complex<double>", "CUDART_NAN", "double"), "complex64": ("complex<float>", "CUDART_NAN_F", "float"),
    "int64": ("long long", LEAST, "unsigned long long"), "uint64": ("unsigned long long", "-1", "unsigned long long"),
    "int32": ("int", "-2147483647 - 1", "int"), "uint32": ("unsigned int", "-1", "unsigned int"),
    "float16": ("float16", "CUDART_NAN_F", ""), "int16": ("short", "-32768", ""),
    "uint16": ("unsigned short", "-1", ""), "bool": ("bool", "0", ""),
    "int8": ("signed char", "-128", ""), "uint8": ("unsigned char", "-1", ""),
}  # fmt: skip


def takes(x: Any, indices: Sequence[Any], *, adds: bool = False) -> bool:
    """Whether there is a kernel for entries of this dtype and such indices; with `adds`, one that adds into memory."""
    known = x.dtype.name in ENTRIES and (bool(ENTRIES[x.dtype.name][2]) or not adds)
    return known and bool(indices) and all(index.dtype.kind in "iu" and index.dtype.name in ENTRIES for index in indices)


def gathered(xp: Any, x: Any, indices: Sequence[Any], loops: tuple[int, ...], points: int, rest: int) -> Any:
    """The entries of x (*loops, n1..nk, *rest) at k indices (..., *points): (*loops, *points, *rest)."""
    body = x.shape[x.ndim - rest :]
    shape = np.broadcast_shapes(*[index.shape[index.ndim - points :] for index in indices])
    y = xp.empty(loops + shape + body, x.dtype)
    sizes = x.shape[len(loops) : x.ndim - rest]
    kernel = _kernel(xp, x.dtype.name, tuple([index.dtype.name for index in indices]), False)
    kernel(x, *_arguments(indices, sizes, shape, body), y)
    return y


def scattered(xp: Any, out: Any, x: Any, indices: Sequence[Any], loops: tuple[int, ...], points: int, rest: int) -> None:
    """Add x (*loops, *points, *rest) to the entries of out (*loops, n1..nk, *rest) at k indices (..., *points)."""
    body = out.shape[out.ndim - rest :]
    shape, sizes = x.shape[len(loops) : x.ndim - rest], out.shape[len(loops) : out.ndim - rest]
    kernel = _kernel(xp, x.dtype.name, tuple([index.dtype.name for index in indices]), True)
    kernel(x, *_arguments(indices, sizes, shape, body), out)


def _arguments(indices: Sequence[Any], sizes: Sequence[int], points: Sequence[int], body: Sequence[int]) -> list[Any]:
    spread = [index.reshape(index.shape + (1,) * len(body)) for index in indices]
    rest = math.prod(body)
    return [*spread, *[int(n) for n in (*sizes, max(math.prod(points) * rest, 1), max(rest, 1))]]


@functools.lru_cache(maxsize=256)
def _kernel(xp: Any, dtype: str, indices: tuple[str, ...], adds: bool) -> Any:
    """The kernel for entries and indices of these dtypes. It counts in i over x (`adds`), or over the result."""
    c_type, nothing, part = ENTRIES[dtype]
    lines = ["bool inside = true", "long long place = i / inner"]
    for k, index in enumerate(indices):
        lines += [f"long long k{k} = (long long)j{k}"]
        lines += [f"if (k{k} < 0) k{k} += n{k}"] if index.startswith("i") else []
        lines += [f"inside = inside && k{k} >= 0 && k{k} < n{k}", f"place = place * n{k} + k{k}"]
    lines.append("place = place * rest + i % rest")
    given = ", ".join([f"{index} j{k}" for k, index in enumerate(indices)] + [f"int64 n{k}" for k in range(len(indices))])
    if not adds:
        lines.append(f"y = inside ? x[place] : ({c_type})({nothing})")
        parameters = f"raw {dtype} x, {given}, int64 inner, int64 rest", f"{dtype} y"
        return xp.ElementwiseKernel(*parameters, "; ".join(lines), "fdezero_gather")
    if dtype.startswith("c"):  # CUDA adds a complex number in two pieces
        lines += [f"if (inside) atomicAdd(({part}*)&y[place]{step}, x.{name}())" for step, name in (("", "real"), (" + 1", "imag"))]
    else:
        lines.append(f"if (inside) atomicAdd(({part}*)&y[place], ({part})x)")
    return xp.ElementwiseKernel(f"{dtype} x, {given}, int64 inner, int64 rest", f"raw {dtype} y", "; ".join(lines), "fdezero_scatter_add")
