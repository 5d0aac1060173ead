"""Attention as an operation: softmax(scale q k^T + bias) v, with the logarithms of the sums, from which the way back starts.

q (..., T, D), k (..., S, D), v (..., S, E), then those arrays that `extras` names: a mask and a bias that broadcast to (T, S), and
the truth values `keep` of dropout -> (..., T * E + T): the rows of the result, then log(sum(exp(scores))) of each row. A row that
sees no key gives 0. The rules make whole arrays of scores; only the operations themselves work in blocks.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core import Nonlinear, nonlinear
from ..devices import array_module, backend_of
from . import attention_blocks, native_attention, score_kernels
from .joining_kernels import joined
from .products import transposed
from .raw_kernels import serves
from .shape import common_loops

ELSEWHERE = 1 << 26  # scores of a block on a GPU: a quarter of a gigabyte in float32


def _named(others: Sequence[Any], extras: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(extras, others, strict=True))


def _parts(r: Any, v: Any) -> tuple[Any, Any]:
    """(the rows (..., T, E), the logarithms (..., T, 1)) of r (..., T * E + T)."""
    E = v.shape[-1]
    T = r.shape[-1] // (E + 1)
    return r[..., : T * E].reshape(*r.shape[:-1], T, E), r[..., T * E :].reshape(*r.shape[:-1], T, 1)


def _joined(loops: tuple[int, ...], *parts: Any) -> Any:
    """Matrices (..., n, m), flattened and side by side."""
    flat = [np.broadcast_to(x, loops + x.shape[-2:]).reshape(*loops, x.shape[-2] * x.shape[-1]) for x in parts]
    if all(map(serves, flat)):
        out = np.empty_like(flat[0], shape=(*loops, sum(x.shape[-1] for x in flat)), order="C")
        if joined(out, flat, -1):
            return out
    return np.concatenate(flat, axis=-1)


def _scores(q: Any, k: Any, extras: dict[str, Any], causal: bool, scale: float) -> Any:
    s = (q * scale) @ transposed(k)
    if "bias" in extras:
        s = s + extras["bias"]
    if "mask" in extras:
        s = np.where(extras["mask"], s, -np.inf)
    if causal:
        T, S = s.shape[-2:]
        xp = array_module(q)
        sees = xp.arange(S) <= xp.expand_dims(xp.arange(S - T, S), -1)  # made on the device, not sent to it
        s = np.where(sees, s, -np.inf)
    return s


def _attention(
    q: Any, k: Any, v: Any, *others: Any, extras: tuple[str, ...], causal: bool, scale: float, kept: float
) -> Any:
    loops = common_loops(*[(x, 2) for x in (q, k, v, *others)])
    T, E = q.shape[-2], v.shape[-1]
    if isinstance(q, np.ndarray):
        out = np.empty((*loops, T * E + T), np.result_type(q, k, v))
        _write(out, q, k, v, *others, extras=extras, causal=causal, scale=scale, kept=kept)
        return out
    named, limits = _named(others, extras), np.finfo(q.dtype)
    if blocks := _blocks(math.prod(loops), T, k.shape[-2], causal):
        y, total = np.zeros_like(q, shape=(*loops, T, E)), np.zeros_like(q, shape=(*loops, T, 1))
        total[...] = limits.min
        for rows, columns in blocks:
            parts = _of_block(rows, columns, named)
            given = q[..., rows, :], k[..., columns, :], v[..., columns, :]
            r = _attention(*given, *parts.values(), extras=extras, causal=causal, scale=scale, kept=kept)
            y[..., rows, :], total[..., rows, :] = _parts(r, v)
        return _joined(loops, y, total)
    if serves(q, k, v, *others):
        p, total = score_kernels.weights(q @ transposed(k), named, causal=causal, scale=scale, kept=kept)
        return _joined(loops, p @ v, total)
    s = _scores(q, k, named, causal, scale)
    most = np.maximum(s.max(axis=-1, keepdims=True), limits.min)
    s = np.exp(s - most)
    sums = np.maximum(s.sum(axis=-1, keepdims=True), limits.tiny)
    s = s * (named["keep"] / q.dtype.type(kept)) if "keep" in named else s
    return _joined(loops, s @ v / sums, np.log(sums) + most)


def _blocks(count: int, T: int, S: int, causal: bool) -> list[tuple[slice, slice]]:
    """The rows of blocks on a GPU, and the columns that they see; none if one block is enough, or rows without columns."""
    rows = max(ELSEWHERE // max(count * S, 1), 1)
    if rows >= T:
        return []
    stops = [(start, min(start + rows, T)) for start in range(0, T, rows)]
    # The last query sees all keys. So do the last rows of a block with those columns that they see.
    return [(slice(a, b), slice(0, S - T + b if causal else S)) for a, b in stops if not causal or S - T + b > 0]


def _of_block(rows: slice, columns: slice, named: dict[str, Any]) -> dict[str, Any]:
    """The parts of a mask, a bias, truth values of dropout."""
    return {
        name: x[..., rows if x.shape[-2] > 1 else slice(None), columns if x.shape[-1] > 1 else slice(None)]
        for name, x in named.items()
    }


def _write(
    out: Any, q: Any, k: Any, v: Any, *others: Any, extras: tuple[str, ...], causal: bool, scale: float, kept: float, passes: Any = None
) -> None:
    if isinstance(out, np.ndarray):
        named = _named(others, extras)
        attention_blocks.attend(out, q, k, v, named, causal=causal, scale=scale, kept=kept, passes=passes)
    else:
        out[...] = _attention(q, k, v, *others, extras=extras, causal=causal, scale=scale, kept=kept)


def _weights(
    q: Any, k: Any, total: Any, named: dict[str, Any], causal: bool, scale: float, kept: float
) -> tuple[Any, Any]:
    """The weights P of the keys, and what dropout multiplies them by."""
    p = np.exp(_scores(q, k, named, causal, scale) - total)
    return p, named["keep"] / p.dtype.type(kept) if "keep" in named else p.dtype.type(1)


def _sum(*terms: Any) -> Any:
    """The sum of those terms that there are."""
    given = [term for term in terms if term is not None]
    return sum(given[1:], given[0]) if given else None


def _moved_scores(tangents: Sequence[Any], q: Any, k: Any, scale: float, extras: tuple[str, ...]) -> Any:
    """The tangent of the scores from those of q, k and the bias; None if nothing moves."""
    tq, tk = tangents[:2]
    return _sum(
        None if tq is None else tq * scale @ transposed(k),
        None if tk is None else q * scale @ transposed(tk),
        _named(tangents[3:], extras).get("bias"),
    )


def _tangent(*given: Any, extras: tuple[str, ...], causal: bool, scale: float, kept: float) -> Any:
    n = 3 + len(extras)
    tangents, r, (q, k, v, *others) = given[:n], given[n], given[n + 1 :]
    _, total = _parts(r, v)
    p, dropped = _weights(q, k, total, _named(others, extras), causal, scale, kept)
    ds, tv = _moved_scores(tangents, q, k, scale, extras), tangents[2]
    dy: Any = None if tv is None else (p * dropped) @ tv
    dsum = np.zeros_like(total)
    if ds is not None:
        dsum = (p * ds).sum(axis=-1, keepdims=True)
        dy = _sum(dy, (p * (ds - dsum) * dropped) @ v)
    loops = np.broadcast_shapes(r.shape[:-1], dy.shape[:-2], dsum.shape[:-2])
    return _joined(loops, dy, dsum)


class _Attention(Nonlinear):
    """The reverse rule is `attention_pull` of those arguments that need a cotangent; scores for a bias take memory."""

    def pull(self, cotangent: Any, node: Any) -> Iterator[tuple[Any, Any]]:
        r, q, k, v, *others = node.saved
        extras = node.params["extras"]
        values = {"q": q, "k": k, "v": v, **_named(others, extras)}
        parents: dict[str, Any] = dict(zip(("q", "k", "v", *extras), node.parents, strict=True))
        names = [name for name in ("q", "k", "v", "bias") if parents.get(name) is not None]
        needs = tuple(name in names for name in ("q", "k", "v", "bias"))
        flat = attention_pull(cotangent, r, q, k, v, *others, **node.params, needs=needs)
        start = 0
        for name in names:
            n, m = values[name].shape[-2:]
            yield parents[name], flat[..., start : start + n * m].reshape(*flat.shape[:-1], n, m)
            start += n * m


attention = _Attention("attention", _attention, _tangent, core=2, write=_write, native=native_attention.of(_write), fresh=True)


def _pulled_scores(p: Any, dropped: Any, t: Any, y: Any, v: Any) -> Any:
    """The cotangent of the scores."""
    ty, tsum = t
    return p * ((ty @ transposed(v)) * dropped - (ty * y).sum(axis=-1, keepdims=True) + tsum)


def _pull(
    t: Any, r: Any, q: Any, k: Any, v: Any, *others: Any,
    extras: tuple[str, ...], causal: bool, scale: float, kept: float, needs: tuple[bool, ...],
) -> Any:  # fmt: skip
    named = _named(others, extras)
    loops = common_loops((t, 1), (r, 1), *[(x, 2) for x in (q, k, v, *others)])
    shapes = _needed_shapes(q, k, v, named, needs)
    params = {"extras": extras, "causal": causal, "scale": scale, "kept": kept, "needs": needs}
    if isinstance(q, np.ndarray):
        out = np.empty((*loops, sum(n * m for n, m in shapes)), np.result_type(t, q, k, v))
        _write_pull(out, t, r, q, k, v, *others, **params)
        return out
    (ty, tsum), (y, total) = _parts(t, v), _parts(r, v)
    if blocks := _blocks(math.prod(loops), q.shape[-2], k.shape[-2], causal):
        return _pull_in_blocks(blocks, loops, (ty, tsum, y, total), (q, k, v), named, params)
    if serves(t, r, q, k, v, *others) and v.shape[-1]:
        found = _pulled_by_kernel((ty, tsum), (y, total), q, k, v, named, causal, scale, kept, needs)
        return _joined(loops, *[_fitted(x, shape) for x, shape in zip(found, shapes, strict=True)])
    p, dropped = _weights(q, k, total, named, causal, scale, kept)
    ds = _pulled_scores(p, dropped, (ty, tsum), y, v)
    all_four = (ds @ k * scale, transposed(ds) @ q * scale, transposed(p * dropped) @ ty, ds)
    parts = [x for x, need in zip(all_four, needs, strict=True) if need]
    return _joined(loops, *[_fitted(x, shape) for x, shape in zip(parts, shapes, strict=True)])


def _pulled_by_kernel(
    t: tuple[Any, Any], r: tuple[Any, Any], q: Any, k: Any, v: Any, named: dict[str, Any], causal: bool, scale: float, kept: float,
    needs: tuple[bool, ...],
) -> list[Any]:  # fmt: skip
    """The cotangents that are needed, from one kernel between the products."""
    (ty, tsum), (y, total) = t, r
    ty = backend_of(ty).module.ascontiguousarray(ty)  # for two products
    factor = 1.0 if needs[3] else scale  # a bias takes the cotangent of the scores as it is
    p, ds, turned = score_kernels.pulled_weights(
        q @ transposed(k),
        ty @ transposed(v),
        ty,
        y,
        total,
        tsum,
        named,
        causal=causal,
        scale=scale,
        kept=kept,
        factor=factor,
    )
    found = []
    for need, left, right in ((needs[0], ds, k), (needs[1], turned, q)):
        if need:
            found.append(left @ right if factor == scale else left @ right * scale)
    if needs[2]:
        found.append(p @ ty)
    if needs[3]:
        found.append(ds)
    return found


def _pull_in_blocks(
    blocks: Any, loops: tuple[int, ...], rows_of: Any, arrays: Any, named: dict[str, Any], params: dict[str, Any]
) -> Any:
    """`_pull` in blocks of rows. Columns get a term from each block that sees them."""
    values = dict(zip(("q", "k", "v"), arrays, strict=True)) | {"bias": named.get("bias")}
    sums = {
        name: np.zeros_like(arrays[0], shape=(*loops, *x.shape[-2:]))
        for (name, x), need in zip(values.items(), params["needs"], strict=True)
        if need
    }
    for rows, columns in blocks:
        ty, tsum, y, total = [x[..., rows, :] for x in rows_of]
        parts = _of_block(rows, columns, named)
        given = arrays[0][..., rows, :], arrays[1][..., columns, :], arrays[2][..., columns, :]
        joined = _joined(ty.shape[:-2], ty, tsum), _joined(y.shape[:-2], y, total)
        flat, start = _pull(*joined, *given, *parts.values(), **params), 0
        for name, total_of in sums.items():
            into = total_of[..., rows if name == "q" else columns, :]
            if name == "bias":
                into = _of_block(rows, columns, {"bias": total_of})["bias"]
            n, m = into.shape[-2:]
            into += flat[..., start : start + n * m].reshape(*loops, n, m)
            start += n * m
    return _joined(loops, *sums.values())


def _needed_shapes(q: Any, k: Any, v: Any, named: dict[str, Any], needs: tuple[bool, ...]) -> list[tuple[int, int]]:
    """The shapes of those matrices that need a cotangent."""
    return [x.shape[-2:] for x, need in zip((q, k, v, named.get("bias", q)), needs, strict=True) if need]


def _fitted(x: Any, shape: tuple[int, int]) -> Any:
    """The matrices x, summed along axes where `shape` has length 1."""
    axes = tuple(axis for axis in (-2, -1) if shape[axis] == 1 != x.shape[axis])
    return x.sum(axis=axes, keepdims=True) if axes else x


def _write_pull(out: Any, t: Any, r: Any, q: Any, k: Any, v: Any, *others: Any, **params: Any) -> None:
    if isinstance(out, np.ndarray):
        extras = params.pop("extras")
        attention_blocks.pull(out, t, r, q, k, v, _named(others, extras), **params)
    else:
        out[...] = _pull(t, r, q, k, v, *others, **params)


def _pull_tangent(
    *given: Any, extras: tuple[str, ...], causal: bool, scale: float, kept: float, needs: tuple[bool, ...]
) -> Any:
    n = 5 + len(extras)
    (dt, dr, *moved), (t, r, q, k, v, *others) = given[:n], given[n + 1 :]
    (ty, tsum), (y, total), named = _parts(t, v), _parts(r, v), _named(others, extras)
    dty, dtsum = (None, None) if dt is None else _parts(dt, v)
    dy, dtotal = (None, None) if dr is None else _parts(dr, v)
    p, dropped = _weights(q, k, total, named, causal, scale, kept)
    dq, dk, dv = moved[:3]
    dp = _moved_scores(moved, q, k, scale, extras)
    dp = _sum(dp, None if dtotal is None else -dtotal)
    dp = None if dp is None else p * dp
    # s is the cotangent of the scores, p times g.
    g = (ty @ transposed(v)) * dropped - (ty * y).sum(axis=-1, keepdims=True) + tsum
    dg = _sum(
        None if dty is None else (dty @ transposed(v)) * dropped - (dty * y).sum(axis=-1, keepdims=True),
        None if dv is None else (ty @ transposed(dv)) * dropped,
        None if dy is None else -(ty * dy).sum(axis=-1, keepdims=True),
        dtsum,
    )
    s, ds = p * g, _sum(None if dp is None else dp * g, None if dg is None else p * dg)
    found = (
        _sum(None if ds is None else ds @ k * scale, None if dk is None else s @ dk * scale),
        _sum(None if ds is None else transposed(ds) @ q * scale, None if dq is None else transposed(s) @ dq * scale),
        # The cotangent of v does not depend on v: 0 times its tangent stands for that.
        _sum(
            None if dp is None else transposed(dp * dropped) @ ty,
            None if dty is None else transposed(p * dropped) @ dty,
            None if dv is None else 0 * dv,
        ),
        ds,
    )
    shapes = _needed_shapes(q, k, v, named, needs)
    parts = [
        np.zeros(shape, q.dtype) if x is None else _fitted(x, shape)
        for x, shape in zip([x for x, need in zip(found, needs, strict=True) if need], shapes, strict=True)
    ]
    loops = np.broadcast_shapes(*[x.shape[:-2] for x in parts])
    return _joined(loops, *parts)


attention_pull = nonlinear(
    "attention_pull",
    _pull,
    _pull_tangent,
    core=lambda args, params: (1, 1, *[2] * (len(args) - 2)),
    write=_write_pull,
    native=native_attention.of(_write_pull),
    fresh=True,
)
