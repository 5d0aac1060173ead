"""Cases of `fdezero.numpy`: reductions, products, shapes, indices, new arrays, real and complex."""

import operator
from typing import Any

import numpy as np
import scipy.special

from fdezero import numpy as fnp

from .cases import Case, cases_of

RNG = np.random.default_rng(19)
A = RNG.permutation(24).reshape(2, 3, 4) / 8 - 1.47  # entries well apart from each other and from 0
B, V, BIT = RNG.standard_normal((4, 3)), np.array([0.5, -1.5, 2.0, 0.25]), RNG.integers(0, 2, (2, 3, 4))
Z, W = A + 1j * A[::-1, ::-1, ::-1] / 2, B + 1j * B[::-1]
case = cases_of("numpy", fnp, np)


def _reductions() -> list[Case]:
    made = [case(name, x, axis=1, keepdims=keep) for name in ("sum", "prod", "mean", "var", "std") for x, keep in ((A, False), (Z, True))]
    made += [case(name, x) for name in ("sum", "prod", "mean", "var", "std", "cumsum", "cumprod") for x in (A, Z)]
    made += [case(name, A, axis=axis) for name in ("max", "min", "amax", "amin") for axis in (None, 0, (0, -1))]
    made += [case(name, x, axis=axis, d=None) for name in ("any", "all") for x, axis in ((BIT, (0, -1)), (BIT > 0, None), (A > -9, 1))]
    made += [case(name, A, axis=axis, d=None) for name in ("argmax", "argmin", "argsort") for axis in (None, 1)]
    made += [case(name, BIT.astype(dtype), axis=0, d=None) for name in ("sum", "prod", "cumsum") for dtype in ("int8", "uint8", "bool")]
    return [
        *made, case("var", A, axis=0, ddof=1), case("reshape", A, (3, -1), "F"), case("ravel", Z, "F"),
        *[case(name, x, axis=axis, where=A > -0.9, ddof=1) for name in ("var", "std") for x, axis in ((A, None), (Z, -1))],
        case("mean", A, axis=1, where=A[:, :, :1] != A[0, 1, 0], keepdims=True), case("std", A, axis=(0, 1)), case("cumsum", Z, axis=1), case("sum", A, axis=(0, -1), keepdims=True),
        case("argmax", A, axis=-1, keepdims=True, d=None), *[case(name, BIT, axis=1, keepdims=True, d=None) for name in ("any", "all")], case("sum", A, dtype="float32", d=None),
        case("logsumexp", A, axis=1, keepdims=True, numpy=scipy.special.logsumexp, order=3), case("logsumexp", A, numpy=scipy.special.logsumexp),
    ]  # fmt: skip


def _products() -> list[Case]:
    made = []
    for x, y in ((A, B), (Z, W), (A, W)):
        made += [case(name, x, y, d=(0, 1)) for name in ("dot", "matmul", "kron")]
        made += [case("tensordot", x, y, ((1, 2), (1, 0)), d=(0, 1)), case("einsum", "ijk,kj->i", x, y, d=(1, 2)), case("einsum", "...k,kj->j...", x, y, d=(1, 2))]
        made += [case(name, x[0, 0], y[:, 0], d=(0, 1)) for name in ("vdot", "inner", "outer", "convolve", "correlate", "polyval", "polymul", "polyadd", "polysub", "vecdot")]
        made += [case("cross", x[0, :, :1].T, y[0], d=(0, 1))]
    return [
        *made, case("matmul", A, V, d=(0, 1)), case("matmul", V, A.swapaxes(1, 2), d=(0, 1)), case("dot", A, V), case("dot", 2.5, A, d=(0, 1)),
        case("tensordot", A, B, 1, d=(0, 1)), case("einsum", "ijk,kl", A, B, d=(1, 2)), case("einsum", "iij", A[:, :2], d=1),
        case("einsum", "ijk->j", A, d=1), case("trace", Z, axis1=1, axis2=2), case("diagonal", Z, 1, 1, 2), case("matvec", Z, W[:, 0], d=(0, 1), numpy=operator.matmul),
        case("vecmat", W[0], Z, d=(0, 1), numpy=lambda x, y: x.conj() @ y), case("vander", Z[0, 0]), case("poly", Z[0, 0]), case("polyder", Z[0, 0]), case("polyint", Z[0, 0]),
    ]  # fmt: skip


def _shapes() -> list[Case]:
    made = []
    for x in (A, Z):
        made += [
            case("reshape", x, (4, -1)), case("transpose", x, (1, 2, 0)), case("permute_dims", x, (1, 2, 0)), case("moveaxis", x, (0, 1), (-1, 0)),
            case("swapaxes", x, 0, -1), case("broadcast_to", x, (5, 2, 3, 4)), case("expand_dims", x, (0, -1)), case("squeeze", x[:, :1]),
            case("concatenate", [x, 2 * x], axis=1), case("concat", [x, x[:1]], axis=0), case("stack", [x, x], axis=-1), case("ravel", x),
            case("split", x, [1, 3], axis=2), case("flip", x, (0, 2)), case("roll", x, (1, -2), (0, 2)), case("tile", x, (2, 1, 1, 2)),
            case("repeat", x, 2, axis=1), case("take", x, [[0, 2], [1, 1]], axis=1, d=0), case("pad", x, ((0, 1), (2, 0), (1, 1))), case("diff", x, axis=1),
            case("vstack", [x[0], x[1]]), case("hstack", [x[0], x[1]]), case("dstack", [x[0], x[1]]), case("column_stack", [x[0], x[1]]), case("matrix_transpose", x),
            case("tril", x), case("triu", x), case("diag", x[0]), case("diagflat", x[0, 0]), case("getitem", x, (..., slice(None, None, -2)), numpy=operator.getitem),
            case("getitem", x, (slice(None), [2, 0, 0]), numpy=operator.getitem), case("trapezoid", x), case("cumulative_sum", x, axis=1), case("cumulative_prod", x, axis=0),
        ]  # fmt: skip
    return [
        *made, case("transpose", A), case("concatenate", [A, A[0]], axis=None), case("split", A, 2, axis=2), case("pad", A, 1, constant_values=2.5),
        case("pad", A, 1, mode="reflect"), case("roll", A, 5), case("repeat", A, [2, 0, 1], axis=1), case("take", A, [5, -1]),
        case("take_along_axis", A, np.argsort(A, axis=1), 1), case("broadcast_arrays", A, V, B[:3, :1], d=(0, 1, 2)),
        case("block", [[A[0], A[1]], [B.T, W.T]]), case("select", [A > 1, A > 0], [A, A * 2], 0.5, d=1),
        case("apply_along_axis", lambda line: line * line.sum(), 1, B, d=2),
    ]  # fmt: skip


def _new() -> list[Case]:
    like = [case(name, A, d=None) for name in ("zeros_like", "ones_like")]
    return [
        *like, case("empty_like", A, d=None, numpy=np.zeros_like), case("full_like", A, 2.5, d=1), case("full", (2, 3), 0.5, d=1), case("array", A), case("asarray", A),
        case("asarray", [1, 2], d=None), case("zeros", (2, 3), d=None), case("ones", 3, d=None), case("empty", (2,), d=None, numpy=np.zeros), case("eye", 3, 4, 1, d=None),
        case("identity", 3, d=None), case("arange", 2, 8, 3, d=None), case("tri", 3, 4, -1, d=None), case("indices", (2, 3), d=None),
    ]  # fmt: skip


def _all() -> list[Case]:
    groups: list[Any] = [_reductions(), _products(), _shapes(), _new()]
    return [made for group in groups for made in group]


CASES = _all()
