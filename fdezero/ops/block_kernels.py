"""Kernels in which a block of threads makes a whole line: it reads the line as often as it needs, and writes numbers or a line.

Threads of a block add up what they have seen in shared memory, always in the same order; there are no atomic operations. Lines may
have any length, lie along any axes, and operands may have any strides, so nothing is copied and what is shared is not repeated.
"""

import functools
import math
import re
from typing import Any, NamedTuple

import numpy as np

from ..devices import Backend, backend_of
from ..messages import CURRENT_DEVICE
from .kernels import C_TYPES, HALVES, OPTIONS
from .raw_kernels import NAMES

Axes = tuple[int, ...]
THREADS = 256  # of a block
MOST_BLOCKS = 1 << 16

# ALONG counts a block's threads along a line, ACROSS its lines.
_HEAD = """
typedef long long place;
typedef {kind} A;
#define ALONG threadIdx.{along}
#define WIDE blockDim.{along}
#define ACROSS threadIdx.{across}
#define ROWS blockDim.{across}

__device__ A total(A v, A* room) {{
    room[ALONG * ROWS + ACROSS] = v;
    __syncthreads();
    for (unsigned half = WIDE / 2; half; half /= 2) {{
        if (ALONG < half) room[ALONG * ROWS + ACROSS] += room[(ALONG + half) * ROWS + ACROSS];
        __syncthreads();
    }}
    v = room[ACROSS];
    __syncthreads();
    return v;
}}

__device__ A greatest(A v, A* room) {{
    room[ALONG * ROWS + ACROSS] = v;
    __syncthreads();
    for (unsigned half = WIDE / 2; half; half /= 2) {{
        if (ALONG < half) room[ALONG * ROWS + ACROSS] = fmax(room[ALONG * ROWS + ACROSS], room[(ALONG + half) * ROWS + ACROSS]);
        __syncthreads();
    }}
    v = room[ACROSS];
    __syncthreads();
    return v;
}}
"""


class _Group(NamedTuple):
    """Neighbouring axes that are one for all arrays: their length, and the distance of entries in each array."""

    length: int
    steps: tuple[int, ...]


class _Layout(NamedTuple):
    """The axes that count lines, and those along a line; and whether neighbouring threads take neighbouring lines."""

    lines: tuple[_Group, ...]
    along: tuple[_Group, ...]
    turned: bool


@functools.lru_cache(1024)
def _layout(shape: tuple[int, ...], axes: Axes, strides: tuple[tuple[int, ...], ...], in_order: bool) -> _Layout:
    ndim = len(shape)
    leader = min(strides, key=lambda steps: sum(step == 0 for step, n in zip(steps, shape, strict=True) if n > 1))
    order = list(range(ndim)) if in_order else sorted(range(ndim), key=lambda i: (-abs(leader[i]), i))
    groups: list[tuple[bool, _Group]] = []
    for i in order:
        if shape[i] == 1:
            continue
        kind, steps = i - ndim in axes, tuple([of[i] for of in strides])
        if groups and groups[-1][0] == kind:
            length, far = groups[-1][1]
            if far == tuple([step * shape[i] for step in steps]):
                groups[-1] = (kind, _Group(length * shape[i], steps))
                continue
        groups.append((kind, _Group(shape[i], steps)))
    one = (_Group(1, (0,) * len(strides)),)
    lines = tuple([group for kind, group in groups if not kind]) or one
    along = tuple([group for kind, group in groups if kind]) or one
    return _Layout(lines, along, bool(groups) and not groups[-1][0] and lines[-1].length > 1)


def _places(number: str, place: str, groups: tuple[_Group, ...]) -> str:
    """Declarations of the coordinates place0, place1, ... of `number`, the last axis first; lengths are place0n, place1n, ..."""
    if len(groups) == 1:
        return f"place {place}0 = {number};"
    lines = [f"place {place}_rest = {number};"]
    for j in reversed(range(1, len(groups))):
        lines.append(f"place {place}{j} = {place}_rest % {place}{j}n; {place}_rest /= {place}{j}n;")
    return "\n".join([*lines, f"place {place}0 = {place}_rest;"])


def source(
    name: str, arrays: tuple[tuple[str, str], ...], outs: frozenset[str], numbers: tuple[str, ...], kind: str, body: str,
    counts: tuple[int, int], turned: bool,
) -> str:  # fmt: skip
    """The CUDA source of a kernel; `counts` are the numbers of axes that count lines, and along a line."""
    i, k = (tuple([_Group(1, ())] * count) for count in counts)
    parameters = [f"{'' if x in outs else 'const '}{C_TYPES[dtype]}* {x}" for x, dtype in arrays]
    parameters += [f"double {number}" for number in numbers] + ["place lines", "place length"]
    parameters += [f"place {p}{j}n" for p, groups in (("i", i), ("k", k)) for j in range(1, len(groups))]
    parameters += [
        f"place {x}_{p}{j}" for x, _ in arrays for p, groups in (("i", i), ("k", k)) for j in range(len(groups))
    ]

    def at(x: str, p: str, count: int) -> str:
        return " + ".join([f"{p}{j} * {x}_{p}{j}" for j in range(count)])

    starts = "\n".join(
        [
            f"{'' if x in outs else 'const '}{C_TYPES[dtype]}* {x}_ = {x} + {at(x, 'i', counts[0])};"
            for x, dtype in arrays
        ]
    )
    body = re.sub(r"@(\w+)", lambda found: f"{found[1]}_[{at(found[1], 'k', counts[1])}]", body)
    body = body.replace("each {", f"for (place k = ALONG; k < size; k += WIDE) {{\n{_places('k', 'k', k)}")
    half = HALVES if any(dtype == "float16" for _, dtype in arrays) else ""
    along, across = ("y", "x") if turned else ("x", "y")
    return f"""{half}{_HEAD.format(kind=kind, along=along, across=across)}
extern "C" __global__ void fdezero_{name}({", ".join(parameters)}) {{
__shared__ A room[{THREADS}];
for (place begin = (place)blockIdx.x * ROWS; begin < lines; begin += (place)gridDim.x * ROWS) {{
const bool there = begin + ACROSS < lines;
const place line = there ? begin + ACROSS : 0, size = there ? length : 0;
{_places("line", "i", i)}
{starts}
{body}
}}
}}
"""


@functools.lru_cache(256)
def _kernel(cupy: Any, name: str, *pieces: Any) -> Any:
    return cupy.RawKernel(source(name, *pieces), f"fdezero_{name}", options=OPTIONS)


def _power(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def _check_devices(backend: Backend, arrays: dict[str, Any]) -> None:
    """Refuse arrays of another device than the current one, as CuPy's other kernels do: this kernel would read foreign memory."""
    current = backend.current_device
    if current is None:
        return
    here = current()
    for x in arrays.values():
        if x.device.id != here:
            raise ValueError(f"The device where the array resides ({x.device.id}) is {CURRENT_DEVICE} ({here}).")


def launch(
    name: str, operands: dict[str, Any], outs: dict[str, Any], axes: Axes, body: str,
    *, kind: str = "", numbers: dict[str, float] | None = None, in_order: bool = False,
) -> None:  # fmt: skip
    """Run `body` for every line along `axes` of operands and results, which broadcast to one shape.

    In the body `each { ... }` is a loop over the entries of a line, `@x` the entry of x there, `*x_` the entry of an x that has one
    for a line, `there` whether there is a line, and A the type that is computed in. With `in_order` lines count in the order of axes.
    """
    arrays = outs | operands
    backend = backend_of(*arrays.values())
    _check_devices(backend, arrays)
    shape = np.broadcast_shapes(*[x.shape for x in arrays.values()])
    ndim = len(shape)
    strides = []
    for x in arrays.values():
        steps = [step // x.itemsize if n > 1 else 0 for n, step in zip(x.shape, x.strides, strict=True)]
        strides.append((0,) * (ndim - x.ndim) + tuple(steps))
    layout = _layout(shape, axes, tuple(strides), in_order)
    lines, length = (math.prod([group.length for group in groups]) for groups in (layout.lines, layout.along))
    numbers = numbers or {}
    types = tuple([(x, NAMES[array.dtype]) for x, array in arrays.items()])
    if not kind:
        kind = "double" if any(dtype == "float64" for _, dtype in types) else "float"
    kernel = _kernel(
        backend.module, name, types, frozenset(outs), tuple(numbers), kind, body,
        (len(layout.lines), len(layout.along)), layout.turned,
    )  # fmt: skip
    rows = min(_power(lines), 32) if layout.turned else THREADS // min(_power(length), THREADS)
    wide = min(_power(length), THREADS // rows)
    ends = [group.length for groups in (layout.lines, layout.along) for group in groups[1:]]
    steps = [group.steps[j] for j in range(len(arrays)) for groups in (layout.lines, layout.along) for group in groups]
    kernel(
        (min(-(-lines // rows), MOST_BLOCKS),),
        (rows, wide) if layout.turned else (wide, rows),
        (*arrays.values(), *map(float, numbers.values()), *map(int, (lines, length, *ends, *steps))),
    )
