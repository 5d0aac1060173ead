"""How to draw the arguments of the functions of `fdezero.numpy` that arrange and multiply arrays, by NumPy's names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .call_table import REAL, SMALL, A, shape
from .drawing import (
    Call,
    Draw,
    array,
    axes,
    axis,
    beside,
    call,
    dtype,
    flag,
    indices,
    integer,
    like,
    line,
    number,
    one_of,
    permutation,
)


def same_shape(low: int = 0, high: int = 3, kinds: str = "biufc", count: tuple[int, int] = (1, 3), off: int | None = None) -> Callable[[Draw], Any]:
    """A list of arrays of one shape, which may differ along the axis `off`."""

    def draw(d: Draw) -> Any:
        shape = d.shape(low, high)
        made = []
        for _ in range(d.integer(*count)):
            own = list(shape if d.chance(0.97) else d.shape(low, high))
            if off is not None and len(own) > off and d.chance(0.5):
                own[off] = d.integer(0, 3)
            made.append(d.array(kinds, own))
        return d.pick(list, tuple)(made)

    return draw


def shape_for(d: Draw) -> Any:
    """A shape for the first array's entries, often with -1; rarely a wrong one."""
    size = int(np.size(d.first))
    options = [(size,), (1, size), (-1,), -1, size, (size, 1)] + [(n, -1) for n in (1, 2, 3) if size % n == 0] + [(n, size // n) for n in (2, 3, 4) if size % n == 0]
    return d.pick(*options) if d.chance(0.95) else d.pick((size + 1,), (-1, -1), (5, -1), (-2, 3))


def wider(d: Draw) -> Any:
    """A shape to which the first array can be broadcast; rarely another."""
    shape = tuple(d.integer(1, 3) if n == 1 and d.chance(0.5) else n for n in np.shape(d.first))
    return (*d.shape(0, 2), *shape) if d.chance(0.93) else d.shape(0, 3)


def index(d: Draw) -> Any:
    """An index of the first array: integers, slices, None, ..., masks and integer arrays."""
    shape = np.shape(d.first)
    entries: list[Any] = []
    for n in shape[: d.integer(0, len(shape))]:
        way = d.integer(0, 7)
        low, high = -max(n, 1), max(n, 1) - 1
        if way == 0:
            entries.append(d.pick(d.integer(low, high), np.int64(d.integer(low, high))))
        elif way <= 3:
            entries.append(slice(*[d.pick(None, d.integer(-5, 5)) for _ in range(2)], d.pick(None, 1, 2, -1, -2)))
        elif way == 4:
            entries.append(d.pick([d.integer(low, high) for _ in range(2)], (d.integer(low, high),)))
        elif way == 5:
            entries.append(d.rng.integers(low, high + 1, d.pick((2,), (1,), (2, 1), (0,))).astype(d.pick("int64", "int8")))
        elif way == 6:
            entries.append(d.rng.random(n) < 0.5)
        else:
            entries.append(slice(None))
    if d.chance(0.15):
        entries.insert(d.integer(0, len(entries)), None)
    if d.chance(0.15):
        entries.insert(d.integer(0, len(entries)), ...)
    if d.chance(0.03):
        entries.append(d.pick(7, -9, 1.0, "x", True))
    return entries[0] if len(entries) == 1 and d.chance(0.6) else tuple(entries)


def along(d: Draw) -> Any:
    """Indices of the first array's shape but for one axis, as take_along_axis needs them; the axis comes next."""
    x = np.asarray(d.first)
    d.axis = d.integer(-x.ndim, x.ndim - 1) if x.ndim else None
    size = x.shape[d.axis] if x.ndim else 1
    lengths = list(x.shape)
    if x.ndim:
        lengths[d.axis] = d.integer(1, 3)
    return d.rng.integers(-max(size, 1), max(size, 1), lengths if x.ndim else (2,))


def sections(d: Draw) -> Any:
    return d.pick(1, 2, 3, [1], [1, 3], (0, 2), [2, 1], [-1], 0, np.array([1, 2]), np.int64(2))


def repeats(d: Draw) -> Any:
    size = np.shape(d.first)[-1] if d.ndim else 1
    return d.pick(0, 1, 2, 3, [2], d.rng.integers(0, 3, size).tolist(), -1, [1, 2])


def widths(d: Draw) -> Any:
    return d.pick(0, 1, 2, (1, 2), [3], [(d.integer(0, 3), d.integer(0, 3)) for _ in range(d.ndim)], -1)


def pad(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    args = [A(d), widths(d)]
    mode = d.pick("constant", "constant", "edge", "reflect", "symmetric", "wrap", "mean", "maximum", "minimum", "median", "linear_ramp", "bogus")
    kwargs: dict[str, Any] = {} if mode == "constant" and d.chance(0.5) else {"mode": mode}
    if mode == "constant" and d.chance(0.5):
        kwargs["constant_values"] = d.pick(1, 2.5, (1, 2), [(d.integer(0, 3), 7) for _ in range(d.ndim)])
    if mode in ("mean", "maximum", "minimum", "median") and d.chance(0.4):
        kwargs["stat_length"] = d.pick(1, 2, (1, 2))
    if mode == "linear_ramp" and d.chance(0.5):
        kwargs["end_values"] = d.pick(1, (2, -1))
    if mode in ("reflect", "symmetric") and d.chance(0.3):
        kwargs["reflect_type"] = d.pick("even", "odd")
    return args, kwargs


def shifts(d: Draw) -> Any:
    return d.pick(0, 1, -2, 7, (1, 2), [1, -1])


def einsum(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    sizes = {c: d.integer(1, 3) for c in "ijkl"}
    inputs = ["".join(d.pick(*"ijkl") for _ in range(d.integer(0, 3))) for _ in range(d.integer(1, 3))]
    arrays = [d.array("iufc", [sizes[c] for c in s], odd=False, special=False) for s in inputs]
    used = sorted(set("".join(inputs)))
    output = "".join(d.rng.permutation(used)[: d.integer(0, len(used))]) if used else ""
    if d.chance(0.25):
        letters = "ijkl"
        flat = [part for x, s in zip(arrays, inputs, strict=True) for part in (x, [letters.index(c) for c in s])]
        return [*flat, *([[letters.index(c) for c in output]] if d.chance(0.6) else [])], {}
    text = ",".join(inputs)
    return [d.pick(text + "->" + output, text, text.replace(",", " , ") + " -> " + output), *arrays], {}


def product(names: str = "iufcb", low: int = 0, high: int = 3) -> Call:
    """Two arrays whose inner axes mostly fit."""

    def draw(d: Draw) -> tuple[list[Any], dict[str, Any]]:
        n, k, m = (d.integer(1, 3) if d.chance(0.96) else 0 for _ in range(3))
        batch = d.shape(0, 1)
        left = d.pick((*batch, n, k), (n, k), (k,)) if d.chance(0.95) else d.shape(low, high)
        right = d.pick((*batch, k, m), (k, m), (k,)) if d.chance(0.95) else d.shape(low, high)
        return [d.array(names, left, special=d.chance(0.3)), d.array(names, right, special=d.chance(0.3))], {}

    return draw


def tensordot(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    lengths = [d.integer(1, 3) for _ in range(3)]
    x = d.array("iufc", lengths, odd=False)
    if d.chance(0.5):
        k = d.integer(0, 3)
        return [x, d.array("iufc", [*lengths[3 - k :][: d.integer(k, 3)], 2], odd=False), k], {}
    chosen = [int(a) for a in d.rng.permutation(3)[: d.integer(1, 2)]]
    y = d.array("iufc", [lengths[a] for a in chosen] + [2], odd=False)
    spelled = [a - 3 if d.chance(0.3) else a for a in chosen]
    return [x, y, (spelled, list(range(len(chosen)))) if d.chance(0.9) or len(chosen) > 1 else (spelled[0], 0)], {}


def cross(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    n = d.pick(3, 3, 2, 4)
    shape = (*d.shape(0, 1), n)
    return [d.array("iufc", shape), d.array("iufc", (d.pick(n, 3),) if d.chance(0.4) else shape)], {"axis": -1} if d.chance(0.2) else {}


def piecewise(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array("iuf", odd=False)
    conditions = [x < d.integer(-1, 2) for _ in range(d.integer(1, 2))]
    functions = [d.pick(1, 2.5, np.negative, np.square) for _ in range(len(conditions) + d.integer(0, 1) + d.chance(0.05))]
    return [x, conditions, functions], {}


def select(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    count, shape = d.integer(1, 3), d.shape()
    conditions = [d.array("b", shape, odd=False) for _ in range(count)]
    choices = [d.array("biufc", shape if d.chance(0.7) else ()) for _ in range(count + d.chance(0.05))]
    return [conditions, choices], {"default": number(d)} if d.chance(0.4) else {}


def interp(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    n = d.integer(1, 4)
    xp = np.sort(d.rng.choice(12, n, replace=False) / 2 - 2.0)
    args = [d.array(REAL), d.noted(xp), d.array("iufc", (n,))]
    return args, {name: drawer(d) for name, drawer in {"left": number, "right": number, "period": one_of(7.0, -8)}.items() if d.chance(0.2)}


def polyfit(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    n = d.integer(2, 6)
    x = d.noted(np.linspace(-1, 1, n))
    y = d.array("iuf", d.pick((n,), (n, 2)), special=False)
    return [x, y, d.integer(0, n - 1)], {"w": d.noted(d.rng.random(n) + 0.5)} if d.chance(0.3) else {}


def apply_along_axis(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array("iuf", d.shape(1, 3), odd=False)
    return [d.pick(np.sum, np.sort, np.cumsum), axis()(d), x], {}


def apply_over_axes(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array("iuf", d.shape(1, 3), odd=False)
    return [d.pick(np.sum, np.max), x, d.pick(0, -1, [0], tuple(range(np.ndim(x))), 5)], {}


def gradient(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array("biufc", [d.integer(1, 4) for _ in range(d.integer(0, 2))], odd=d.chance(0.2))
    args: list[Any] = [x]
    if d.chance(0.4):
        args += [d.pick(0.5, 2, d.noted(np.sort(d.rng.choice(9, n, replace=False)).astype(float))) for n in np.shape(x)]
    kwargs = {"axis": axes()(d)} if d.chance(0.3) and len(args) == 1 else {}
    return args, kwargs | ({"edge_order": d.pick(1, 2, 3)} if d.chance(0.3) else {})


def insert(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = A(d)
    n = np.size(x)
    kwargs = {} if d.chance(0.4) else {"axis": axis(none=True)(d)}
    return [x, d.pick(0, -1, n, 1, [0, 1], [1, 0, 1], slice(0, 2), 99), d.pick(7, 2.5, array("iuf", 0, 1)(d))], kwargs


def delete(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = A(d)
    return [x, d.pick(0, -1, [0, -1], slice(None, None, 2), [], 99, [True, False], np.array([0, 0]))], {} if d.chance(0.4) else {"axis": axis(none=True)(d)}


def block(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    n, m = d.integer(1, 3), d.integer(1, 3)
    rows = [[d.array("iufc", (n, m)), d.array("iufc", (n, d.integer(1, 2)))]]
    return [d.pick(rows, rows[0], d.array("iuf"), [d.array("iuf", (2,)), d.array("iuf", (1,))])], {}


def fill_diagonal(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array("iufc", d.pick((3, 3), (4, 2), (2, 4), (2, 2, 2), (3,), (2, 3, 2)), odd=False)
    return [x, d.pick(5, 2.5, [1, 2], d.array("iuf", (3,)))], {"inplace": False}


def unravel_index(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    return [d.pick(5, [0, 3], np.array([[1, 2]]), 24, -1), d.pick((2, 3), (4, 3, 2), 7)], {"order": d.pick("C", "F")} if d.chance(0.3) else {}


def vector_product(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    n = d.integer(1, 4)
    return [d.array("iufcb", (*d.shape(0, 1), n)), d.array("iufcb", (*d.shape(0, 1), n))], {}


def matrix_vector(left: bool) -> Call:
    def draw(d: Draw) -> tuple[list[Any], dict[str, Any]]:
        n, m = d.integer(1, 3), d.integer(1, 3)
        return ([d.array("iufc", (n,)), d.array("iufc", (n, m))] if left else [d.array("iufc", (n, m)), d.array("iufc", (m,))]), {}

    return draw


def take_along_axis(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array(odd=False)
    return [x, along(d)], {"axis": d.axis} if d.axis != -1 or d.chance(0.5) else {}


def choose(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    count, shape = d.integer(1, 3), d.shape()
    chosen = d.noted(d.rng.integers(0, count + d.chance(0.1), shape))
    return [chosen, [d.array("biufc", d.pick(shape, ())) for _ in range(count)]], {"mode": d.pick("wrap", "clip", "raise")} if d.chance(0.4) else {}


def correlation(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    return [line("biufc", 0, 5)(d), line("biufc", 0, 4)(d)], {"mode": d.pick("full", "same", "valid", "bogus")} if d.chance(0.7) else {}


SHAPES = {
    "reshape": call(A, shape_for, order=one_of("C", "F", "A"), copy=one_of(None, True)),
    "ravel": call(A, order=one_of("C", "F", "A", "K")),
    "transpose permute_dims": call(A, axes=one_of(None, permutation)),
    "matrix_transpose": call(array(low=1, odd=False)),
    "moveaxis": lambda d: ([A(d), *(d.pick(((0, 1), (-1, 0)), (0, -1), ([0], [-1]), (1, 5)))], {}),
    "rollaxis": call(A, axis(), start=integer(-2, 3)),
    "swapaxes": call(A, axis(), axis()),
    "broadcast_to": call(A, wider),
    "broadcast_arrays": call(A, beside()),
    "broadcast_shapes": lambda d: ([d.pick(d.shape(), d.integer(0, 3)) for _ in range(d.integer(0, 3))], {}),
    "expand_dims": call(A, one_of(0, -1, 1, (0, 1), (0, -1), (0, 0), 9)),
    "squeeze": call(array(), axis=axes()),
    "atleast_1d atleast_2d atleast_3d": lambda d: ([A(d) for _ in range(d.integer(0, 2))], {}),
    "concatenate concat": call(same_shape(off=0), axis=one_of(0, 0, -1, None, 1, 5), dtype=dtype("fc"), casting=one_of("same_kind", "unsafe")),
    "stack": call(same_shape(), axis=one_of(0, -1, 1, 5), dtype=dtype("fc")),
    "vstack hstack row_stack": call(same_shape(off=0), dtype=dtype("fc")),
    "dstack column_stack": call(same_shape()),
    "split array_split": call(A, sections, axis=axis()),
    "hsplit vsplit dsplit": call(A, sections),
    "unstack": call(array(odd=False), axis=axis()),
    "flip": call(A, axis=axes()),
    "fliplr flipud": call(A),
    "rot90": call(A, k=integer(-3, 5), axes=one_of((0, 1), (1, 0), (-1, 0), (0, 0))),
    "roll": call(A, shifts, axis=axes()),
    "tile": call(A, one_of(2, 0, (2, 1), [1, 2, 1], ())),
    "repeat": call(A, repeats, axis=axis(none=True)),
    "resize": call(A, shape),
    "append": call(A, beside(), axis=axis(none=True)),
    "insert": insert,
    "delete": delete,
    "pad": pad,
    "block": block,
    "apply_along_axis": apply_along_axis,
    "apply_over_axes": apply_over_axes,
    "getitem": call(array(odd=False), index),
    "take": call(A, indices, axis=axis(none=True), mode=one_of("raise", "wrap", "clip", "bogus")),
    "take_along_axis": take_along_axis,
    "unravel_index": unravel_index,
    "choose": choose,
    "piecewise": piecewise,
    "select": select,
    "diag diagflat": call(A, k=integer(-2, 2)),
    "tril triu": call(A, k=integer(-2, 2)),
    "fill_diagonal": fill_diagonal,
}
PRODUCTS = {
    "matmul dot inner": product(),
    "vdot": call(line("iufcb", 0, 4), beside()),
    "outer": call(A, array(high=2)),
    "kron": call(array(high=2), array(high=2)),
    "tensordot": tensordot,
    "einsum": einsum,
    "cross": cross,
    "vecdot": vector_product,
    "matvec": matrix_vector(False),
    "vecmat": matrix_vector(True),
    "trace": call(array(), offset=integer(-2, 2), axis1=axis(), axis2=axis(), dtype=dtype()),
    "diagonal": call(array(), offset=integer(-2, 2), axis1=axis(), axis2=axis()),
    "convolve correlate": correlation,
    "poly": call(one_of(line("iufc", special=False), lambda d: d.array("iuf", d.pick((2, 2), (3, 3), (2, 3)), special=False))),
    "polyadd polysub polymul": call(line("iufc"), line("iufc")),
    "polydiv": call(line("iufc", special=False), line("iuf", 1, 3, special=False)),
    "polyder": call(line("iufc"), m=integer(-1, 3)),
    "polyint": call(line("iufc"), m=integer(0, 2)),
    "polyval": call(line("iufc"), A),
    "polyfit": polyfit,
    "roots": call(line("iuf", special=False)),
    "vander": call(line("iufc"), N=integer(0, 4), increasing=flag),
    "diff": call(A, n=integer(0, 3), axis=axis(), prepend=number, append=number),
    "ediff1d": call(array(), to_end=number, to_begin=number),
    "gradient": gradient,
    "interp": interp,
    "trapezoid": call(A, x=one_of(None, like("iuf")), dx=number, axis=axis()),
    "unwrap": call(array("iuf"), discont=one_of(None, 1.0, 4), axis=axis(), period=one_of(3, 6.28, 1.5)),
    "i0": call(array("iuf")),
    "sinc": call(A),
    "allclose": call(array(special=False), beside(special=False), rtol=number, atol=number, equal_nan=flag),
    "isclose": call(A, beside(), rtol=number, atol=number, equal_nan=flag),
    "array_equal": call(A, one_of(like(), beside()), equal_nan=flag),
    "array_equiv": call(A, beside()),
    "isreal iscomplex isrealobj iscomplexobj": call(A),
    "real_if_close": call(A, tol=one_of(0.5, 1000, 1)),
}

TABLE: dict[str, Call] = SMALL | {name: drawer for group in (SHAPES, PRODUCTS) for names, drawer in group.items() for name in names.split()}
