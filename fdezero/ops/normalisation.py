"""Normalisation: the mean and variance of lines, sums for their derivatives, and the affine maps that use them.

Lines lie along `axes`, counted from the end. What is shared by a line keeps these axes with length 1. On the CPU all work goes by
blocks that fit the cache.
"""

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Elementwise, Nonlinear, elementwise, nonlinear
from . import memory_order
from .kernels import own
from .line_kernels import or_lines, write_moments, write_sums
from .memory_order import Axes, Laid, Rooms, at, blocks, is_number, is_whole, total, total_of_product, weighted_total
from .shape import stretched

# Mean and variance


@or_lines(write_moments)
def _write_moments(out: Any, x: Any, *, axes: Axes, centred: bool) -> None:
    count = math.prod([x.shape[a] for a in axes])
    if is_whole(x):
        out.fill(0)
        rest, far = x, 0.0
        if centred:
            mean = x.mean(axis=axes, keepdims=True, dtype=np.float64)
            out[..., 0] = mean
            far = mean - out[..., 0]
            out[..., 1] = far
            rest = x - out[..., 0]
        out[..., 2] = np.square(rest).mean(axis=axes, keepdims=True, dtype=np.float64) - far * far
        return
    laid = Laid(axes, x)
    (v,), reduced = laid.arrays, laid.reduced
    mean, square = np.zeros(laid.lines), np.zeros(laid.lines)
    rooms, done = Rooms(x.dtype), 0
    for index, axis in blocks(v):
        block = v[index]
        size = math.prod([block.shape[i] for i in reduced])
        here, far, room = np.zeros(1), 0, rooms(0, block.shape)
        if centred:
            near = total(block, reduced) / size
            block = np.subtract(block, near, out=room)
            far = total(block, reduced) / size
            here = np.add(near, far, dtype=np.float64)
        spread = total_of_product(block, block, reduced, room) - size * far * far
        if axis in reduced:  # a further part of the same lines
            between = here - mean
            mean += between * (size / (done + size))
            square += spread + between * between * (done * size / (done + size))
            done += size
        else:
            mean[index], square[index] = here, spread
            done = size

    # Chan, Golub and LeVeque's formula joins parts of a line, above and here.
    near = laid.fold(mean, lambda y, axes: y.mean(axis=axes, keepdims=True))
    apart = laid.fold(mean, lambda y, axes: np.square(y - y.mean(axis=axes, keepdims=True)).sum(axis=axes, keepdims=True))
    squares = laid.fold(square, lambda y, axes: y.sum(axis=axes, keepdims=True))
    if count > done:
        squares = squares + done * apart
    out[..., 0] = near
    out[..., 1] = near - out[..., 0]
    out[..., 2] = squares / count


def _moments(x: Any, *, axes: Axes, centred: bool) -> Any:
    shape = [1 if i - x.ndim in axes else n for i, n in enumerate(x.shape)]
    out = np.empty_like(x, shape=(*shape, 3), order="C")
    _write_moments(out, x, axes=axes, centred=centred)
    return out


def _moments_tangent(t: Any, y: Any, x: Any, *, axes: Axes, centred: bool) -> Any:
    rest = x - y[..., 0] - y[..., 1] if centred else x
    mean = t.mean(axis=axes, keepdims=True)
    return np.stack([mean if centred else 0 * mean, 0 * mean, 2 * (rest * t).mean(axis=axes, keepdims=True)], axis=-1)


def _moments_adjoint(t: Any, y: Any, x: Any, *, axes: Axes, centred: bool) -> Any:
    count = math.prod([x.shape[a] for a in axes])
    slope = t[..., 2] * (2 / count)
    if not centred:
        return (x * slope,)
    return (shifted(x, y[..., 0], slope, t[..., 0] * (1 / count) - y[..., 1] * slope, 1, -0.0),)


# x (..., *n) -> (..., *n with 1 along axes, 3): the mean in two parts, whose sum is nearer to it than one number of the dtype can be,
# and the variance; without `centred` zeros, and the mean square. The derivative of the mean belongs to its first part.
moments: Nonlinear = nonlinear(
    "moments",
    _moments,
    _moments_tangent,
    _moments_adjoint,
    core=lambda args, params: (-min(params["axes"]),),
    write=_write_moments,
    fresh=True,
)


# Sums for derivatives


@or_lines(write_sums)
def _write_sums(out: Any, t: Any, x: Any, c: Any, a: Any, e: Any, w: Any, *, axes: Axes) -> None:
    shape = np.broadcast_shapes(*[np.shape(y) for y in (t, x, c, a, e, w)])
    t, x = stretched(t, shape), stretched(x, shape)
    if is_whole(x):
        u = t if is_number(w) else t * w
        out[..., 0] = u.sum(axis=axes, keepdims=True, dtype=np.float64)
        out[..., 1] = (u * _standard(x, c, a, e)).sum(axis=axes, keepdims=True, dtype=np.float64)
        return
    are_numbers = [is_number(y) for y in (c, a, e, w)]
    laid = Laid(axes, x, t, *[y for y in (c, a, e, w) if not is_number(y)])
    v, given, reduced, rest = laid.arrays[0], laid.arrays[1], laid.reduced, iter(laid.arrays[2:])
    c, a, e, w = (y if is_number else next(rest) for y, is_number in zip((c, a, e, w), are_numbers, strict=True))
    first, second = np.zeros(laid.lines), np.zeros(laid.lines)
    is_shared = all(is_number(y) or y.shape[i] == 1 for y in (a, e) for i in reduced)  # applied to the sums
    # A factor of each row of columns is a weight of their sum, which a product with a matrix takes along.
    is_weight = reduced == (v.ndim - 2,) and is_number(w) and not (is_shared or is_number(a))
    is_weight = is_weight and all(is_number(y) or y.size == y.shape[-2] == v.shape[-2] for y in (a, e))
    rooms = Rooms(x.dtype)
    for index, axis in blocks(v):
        z, u = v[index], given[index]
        u = u if is_number(w) else np.multiply(u, at(w, index, axis), out=rooms(0, z.shape))
        room = rooms(1, z.shape)
        if is_number(c):
            np.copyto(room, z)
        else:
            np.subtract(z, at(c, index, axis), out=room)
        if is_weight:
            np.multiply(room, u, out=room)
            parts = total(u, reduced), weighted_total(room, at(a, index, axis)) + weighted_total(u, at(e, index, axis))
        elif not is_shared:
            np.multiply(room, at(a, index, axis), out=room)
            if not is_number(e):
                np.add(room, at(e, index, axis), out=room)
        if not is_weight:
            parts = total(u, reduced), total_of_product(u, room, reduced, room)
        for sums_of, part in zip((first, second), parts, strict=True):
            if axis in reduced:
                sums_of += part
            else:
                sums_of[index] = part
    if is_shared:
        second = second * a + first * e
    out[..., 0], out[..., 1] = (laid.fold(y, lambda y, axes: y.sum(axis=axes, keepdims=True)) for y in (first, second))


def _sums(*arrays: Any, axes: Axes) -> Any:
    shape = np.broadcast_shapes(*map(np.shape, arrays))
    t = arrays[0]
    out = np.empty_like(t, shape=(*[1 if i - len(shape) in axes else n for i, n in enumerate(shape)], 2), order="C")
    _write_sums(out, *arrays, axes=axes)
    return out


def _standard(x: Any, c: Any, a: Any, e: Any) -> Any:
    z = x if is_number(c) else x - c
    return z * a if is_number(e) else z * a + e


def _sums_tangent(
    tt: Any, tx: Any, tc: Any, ta: Any, te: Any, tw: Any, y: Any, t: Any, x: Any, c: Any, a: Any, e: Any, w: Any, *, axes: Axes
) -> Any:
    of_sums = [
        None if tt is None else sums(tt, x, c, a, e, w, axes=axes),
        None if tw is None else sums(t, x, c, a, e, tw, axes=axes),
    ]
    rest = x if is_number(c) else x - c
    of_z = [None if tx is None else tx * a, None if tc is None else -tc * a, None if ta is None else rest * ta, te]
    if any(part is not None for part in of_z):
        u = t if is_number(w) else t * w
        second = (u * functools.reduce(operator.add, [part for part in of_z if part is not None])).sum(axis=axes, keepdims=True)
        of_sums.append(np.stack([0 * second, second], axis=-1))
    return functools.reduce(operator.add, [part for part in of_sums if part is not None])


def _sums_adjoint(s: Any, y: Any, t: Any, x: Any, c: Any, a: Any, e: Any, w: Any, *, axes: Axes) -> tuple[Any, ...]:
    u = t if is_number(w) else t * w
    slope = s[..., 0] + s[..., 1] * _standard(x, c, a, e)
    of_e = u * s[..., 1]
    of_x = of_e * a
    return (
        slope if is_number(w) else slope * w, of_x, None if is_number(c) else -of_x,
        of_e * (x if is_number(c) else x - c), None if is_number(e) else of_e, None if is_number(w) else slope * t,
    )


# t, x (..., *n), and c, a, e, w that broadcast to them, or the numbers 0, 1, -0.0 and 1 -> (..., *n with 1 along axes, 2): the sums of
# t w and of t w ((x - c) a + e).
sums: Nonlinear = nonlinear(
    "sums",
    _sums,
    _sums_tangent,
    _sums_adjoint,
    core=lambda args, params: (-min(params["axes"]),) * 6,
    write=_write_sums,
    fresh=True,
)


# Affine maps


def _in_blocks(out: Any, operands: Sequence[Any], steps: Any) -> None:
    """Run `steps(out, *operands)` block by block; one operand has the shape and the memory order of the result."""
    target, *arrays = Laid((), out, *[y for y in operands if not is_number(y)]).arrays
    rest = iter(arrays)
    whole = [y if is_number(y) else next(rest) for y in operands]
    for index, axis in blocks(target):
        steps(target[index], *[at(y, index, axis) for y in whole])


def _are_laid(like: Any, operands: Sequence[Any]) -> bool:
    """Whether the operands are arrays of one floating dtype on the CPU, and `like` has the shape of the result."""
    if type(like) is not np.ndarray or like.dtype.kind != "f":
        return False
    arrays = [y for y in operands if not is_number(y)]
    if any(type(y) is not np.ndarray or y.dtype != like.dtype for y in arrays):
        return False
    return bool(np.broadcast_shapes(*[y.shape for y in arrays]) == like.shape)


def _computed(like: int, steps: Any) -> Any:
    """The implementation of an affine map: in blocks if its operand number `like` is large, otherwise `steps` on fresh arrays."""

    def implementation(*operands: Any) -> Any:
        x = operands[like]
        if getattr(x, "nbytes", 0) <= memory_order.SMALL or not _are_laid(x, operands):
            return steps(None, *operands)
        y = np.empty_like(x)
        _in_blocks(y, operands, steps)
        return y

    return implementation


def _written(steps: Any, *late: int) -> Any:
    """`write` of an affine map. The operands `late` are read after the first write, so they must not be the result's memory."""

    def write(out: Any, *operands: Any) -> None:
        share = any(not is_number(operands[i]) and operands[i].size == out.size and np.may_share_memory(out, operands[i]) for i in late)
        y = np.empty_like(out) if share else out
        if out.nbytes <= memory_order.SMALL or not _are_laid(out, operands):
            steps(y, *operands)
        else:
            _in_blocks(y, operands, steps)
        if share:
            np.copyto(out, y)

    return write


def _shift(out: Any, x: Any, c: Any, a: Any, d: Any, b: Any, e: Any) -> Any:
    y = x if is_number(c) else np.subtract(x, c, out=out)
    y = np.multiply(y, a, out=out)
    y = y if is_number(d) else np.add(y, d, out=out)
    y = y if is_number(b) else np.multiply(y, b, out=out)
    return y if is_number(e) else np.add(y, e, out=out)


# ((x0 - x1) x2 + x3) x4 + x5. Numbers for x1, x3, x4 and x5 must be 0, -0.0, 1 and -0.0, which change no bit, and are left out.
shifted: Elementwise = elementwise(
    "shifted",
    lambda x2, x4: x2 * x4,
    lambda x2, x4: -(x2 * x4),
    lambda x0, x1, x4: (x0 - x1) * x4,
    lambda x4: x4,
    lambda x0, x1, x2, x3: (x0 - x1) * x2 + x3,
    1,
    c={"f": "((x0 - x1) * x2 + x3) * x4 + x5"},
    loop=lambda dtypes, y: (y,) * 6,
    impl=_computed(0, _shift),
    write=_written(_shift, 2, 3, 4, 5),
)


def _mix(out: Any, t: Any, w: Any, a: Any, x: Any, c: Any, b: Any, d: Any) -> Any:
    room = np.empty_like(out) if out is not None else None
    z = x if is_number(c) else np.subtract(x, c, out=room)
    z = np.multiply(z, b, out=room)
    z = z if is_number(d) else np.add(z, d, out=room)
    u = t if is_number(w) else np.multiply(t, w, out=out)
    u = np.multiply(u, a, out=out)
    return np.add(u, z, out=out)


# x0 x1 x2 + ((x3 - x4) x5 + x6). Numbers for x1, x4 and x6 must be 1, 0 and -0.0.
mixed: Elementwise = elementwise(
    "mixed",
    lambda x1, x2: x1 * x2,
    lambda x0, x2: x0 * x2,
    lambda x0, x1: x0 * x1,
    lambda x5: x5,
    lambda x5: -x5,
    lambda x3, x4: x3 - x4,
    1,
    c={"f": "x0 * x1 * x2 + ((x3 - x4) * x5 + x6)"},
    loop=lambda dtypes, y: (y,) * 7,
    impl=_computed(3, _mix),
    write=_written(_mix, 2),
)

# On a GPU each is one launch, also in eager code.
own(shifted)
own(mixed)
