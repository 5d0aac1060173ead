"""Forms of elementwise operations. Operands are cast to the dtype of NumPy's loop first, because ONNX converts nothing by itself."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import REGISTRY
from ...ops.kernels import WEAK, operand_dtypes
from .table import FORMS, form

# Integers that few operators take, and those in which they are computed instead: the lowest bits are the same.
WIDER = {
    np.dtype(k): np.dtype(v)
    for k, v in (("i1", "i4"), ("i2", "i4"), ("u1", "i4"), ("u2", "i4"), ("u4", "i8"), ("u8", "i8"))
}
BOOL, FLOAT = np.dtype(bool), np.dtype(np.float32)


def loop_of(step: Any) -> Any:
    """The dtype that NumPy computes in."""
    operation, y = REGISTRY[step.name], step.output.dtype
    given = [WEAK.get(atom.dtype.kind, atom.dtype) if atom.kind == "number" else atom.dtype for atom in step.inputs]
    loops = operand_dtypes(operation, given, None if operation.loop is None else y)
    return loops[-1] if loops else np.result_type(*[atom.dtype for atom in step.inputs if atom.kind != "number"] or [y])


class Scope:
    """Operands in one dtype, and short names for nodes: what forms are written with."""

    def __init__(self, writer: Any, dtype: Any) -> None:
        self.w, self.dtype = writer, np.dtype(dtype)

    def number(self, value: float) -> str:
        return str(self.w.constant(np.asarray(value, self.dtype)))

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind.startswith("__"):
            raise AttributeError(kind)
        emit = self.w.emit
        return lambda *names, **attributes: emit(
            kind, *[name if isinstance(name, str) else self.number(name) for name in names], **attributes
        )


def written(step: Any, w: Any, make: Callable[..., str], *, exact: bool = False) -> str:
    """`make(scope, *operands)` in the dtype of NumPy's loop, or in a wider one that operators take; the result as it was recorded."""
    loop = loop_of(step)
    if loop.kind == "u" and loop.itemsize == 8 and exact:
        raise w.give_up("computes with uint64, which ONNX's operators do not take here. Use int64.")
    dtype = WIDER.get(loop, loop)
    names = [w.cast(w.read(atom, loop), loop, dtype) for atom in step.inputs]
    made = make(Scope(w, dtype), *names)
    y = step.output.dtype
    return str(w.cast(w.cast(made, dtype, loop), loop, y))


def _declare(name: str, make: Callable[..., str], exact: bool = False) -> None:
    form(name)(lambda w, step: written(step, w, make, exact=exact))


def _bits(make: Callable[..., str], of_bool: str) -> Callable[..., str]:
    """`make` for numbers, and a logical operator for truth values."""
    return lambda o, *xs: getattr(o, of_bool)(*xs) if o.dtype == BOOL else make(o, *xs)


def _remainder(o: Any, x: str, y: str) -> str:
    if o.dtype.kind in "iu":
        return str(o.Mod(x, y, fmod=0))
    rest = o.Mod(x, y, fmod=1)
    turned = o.And(o.Not(o.Equal(rest, 0)), o.Xor(o.Less(rest, 0), o.Less(y, 0)))
    return str(o.Where(turned, o.Add(rest, y), rest))


def _floor_divide(o: Any, x: str, y: str) -> str:
    whole = o.Div(o.Sub(x, _remainder(o, x, y)), y)
    return str(whole if o.dtype.kind in "iu" else o.Round(whole))


def _log1p(o: Any, x: str) -> str:
    """Kahan's: log(1 + x) x / ((1 + x) - 1), where 1 + x is rounded."""
    u = o.Add(x, 1)
    d, log = o.Sub(u, 1), o.Log(u)
    small = o.Equal(d, 0)
    near = o.Where(small, x, o.Div(o.Mul(log, x), o.Where(small, 1, d)))
    return str(o.Where(o.Equal(u, x), log, near))


def _expm1(o: Any, x: str) -> str:
    return str(o.Mul(o.Tanh(o.Mul(x, 0.5)), o.Add(o.Exp(x), 1)))


def _difference(o: Any, x: str, y: str) -> str:
    return str(o.Abs(o.Where(o.Equal(x, y), 0, o.Sub(x, y))))


def _logaddexp(o: Any, x: str, y: str) -> str:
    return str(o.Add(o.Max(x, y), _log1p(o, o.Exp(o.Neg(_difference(o, x, y))))))


def _logaddexp2(o: Any, x: str, y: str) -> str:
    grown = _log1p(o, o.Exp(o.Mul(_difference(o, x, y), -math.log(2))))
    return str(o.Add(o.Max(x, y), o.Mul(grown, 1 / math.log(2))))


def _hypot(o: Any, x: str, y: str) -> str:
    x, y = o.Abs(x), o.Abs(y)
    most = o.Max(x, y)
    scale = o.Where(o.And(o.Greater(most, 0), o.Less(most, math.inf)), most, 1)
    a, b = o.Div(x, scale), o.Div(y, scale)
    return str(o.Mul(scale, o.Sqrt(o.Add(o.Mul(a, a), o.Mul(b, b)))))


def _arctan2(o: Any, y: str, x: str) -> str:
    flat = o.Equal(x, 0)
    angle = o.Atan(o.Div(y, o.Where(flat, 1, x)))
    upper = o.Where(_signbit(o, y), -math.pi, math.pi)
    beyond = o.Where(o.Less(x, 0), o.Add(angle, upper), angle)
    return str(o.Where(flat, o.Where(o.Equal(y, 0), 0, o.Mul(upper, 0.5)), beyond))


def _signbit(o: Any, x: str) -> str:
    if o.dtype.kind != "f":
        return str(o.Less(x, 0))
    return str(o.Or(o.Less(x, 0), o.And(o.Equal(x, 0), o.Less(o.Div(1, x), 0))))


def _copysign(o: Any, x: str, y: str) -> str:
    return str(o.Mul(o.Abs(x), o.Where(_signbit(o, y), -1, 1)))


def _fmax(kind: str) -> Callable[..., str]:
    def make(o: Any, x: str, y: str) -> str:
        y = o.Where(o.IsNaN(y), x, y) if o.dtype.kind == "f" else y
        x = o.Where(o.IsNaN(x), y, x) if o.dtype.kind == "f" else x
        return str(getattr(o, kind)(x, y))

    return make


def _shifted(o: Any, *xs: str) -> str:
    return str(o.Add(o.Mul(o.Add(o.Mul(o.Sub(xs[0], xs[1]), xs[2]), xs[3]), xs[4]), xs[5]))


def _mixed(o: Any, *xs: str) -> str:
    return str(o.Add(o.Mul(o.Mul(xs[0], xs[1]), xs[2]), o.Add(o.Mul(o.Sub(xs[3], xs[4]), xs[5]), xs[6])))


def _root_of_mean(o: Any, x: str, y: str, a: str, b: str) -> str:
    return str(o.Sqrt(o.Add(o.Mul(o.Mul(x, x), a), o.Mul(o.Mul(y, y), b))))


NUMBERS: dict[str, Callable[..., str]] = {
    "add": _bits(lambda o, x, y: o.Add(x, y), "Or"),
    "subtract": lambda o, x, y: o.Sub(x, y),
    "multiply": _bits(lambda o, x, y: o.Mul(x, y), "And"),
    "negative": lambda o, x: o.Neg(x),
    "positive": lambda o, x: x,
    "square": lambda o, x: o.Mul(x, x),
    "reciprocal": lambda o, x: o.Reciprocal(x),
    "absolute": _bits(lambda o, x: o.Abs(x), "Identity"),
    "exp": lambda o, x: o.Exp(x),
    "exp2": lambda o, x: o.Pow(2, x),
    "expm1": _expm1,
    "log": lambda o, x: o.Log(x),
    "log2": lambda o, x: o.Mul(o.Log(x), 1 / math.log(2)),
    "log10": lambda o, x: o.Mul(o.Log(x), 1 / math.log(10)),
    "log1p": _log1p,
    "sqrt": lambda o, x: o.Sqrt(x),
    "root": lambda o, x: o.Sqrt(x),
    "cbrt": lambda o, x: o.Mul(o.Sign(x), o.Pow(o.Abs(x), 1 / 3)),
    "logaddexp": _logaddexp,
    "logaddexp2": _logaddexp2,
    "sin": lambda o, x: o.Sin(x), "cos": lambda o, x: o.Cos(x), "tan": lambda o, x: o.Div(o.Sin(x), o.Cos(x)),
    "arcsin": lambda o, x: o.Asin(x), "arccos": lambda o, x: o.Acos(x), "arctan": lambda o, x: o.Atan(x),
    "arctan2": _arctan2,
    "hypot": _hypot,
    "sinh": lambda o, x: o.Mul(0.5, o.Sub(o.Exp(x), o.Exp(o.Neg(x)))),
    "cosh": lambda o, x: o.Mul(0.5, o.Add(o.Exp(x), o.Exp(o.Neg(x)))),
    "tanh": lambda o, x: o.Tanh(x),
    "arcsinh": lambda o, x: o.Asinh(x), "arccosh": lambda o, x: o.Acosh(x), "arctanh": lambda o, x: o.Atanh(x),
    "deg2rad": lambda o, x: o.Mul(x, math.pi / 180), "rad2deg": lambda o, x: o.Mul(x, 180 / math.pi),
    "sigmoid": lambda o, x: o.Sigmoid(x),
    "relu": lambda o, x: o.Relu(x) if o.dtype.kind == "f" else o.Max(x, 0),
    "sign": lambda o, x: o.Sign(x),
    "floor": lambda o, x: o.Floor(x) if o.dtype.kind == "f" else x,
    "ceil": lambda o, x: o.Ceil(x) if o.dtype.kind == "f" else x,
    "trunc": lambda o, x: o.Mul(o.Sign(x), o.Floor(o.Abs(x))) if o.dtype.kind == "f" else x,
    "rint": lambda o, x: o.Round(x),
    "copysign": _copysign,
    "erf": lambda o, x: o.Erf(x),
    "erfc": lambda o, x: o.Sub(1, o.Erf(x)),
    "shifted": _shifted,
    "mixed": _mixed,
    "root_of_mean": _root_of_mean,
    "power": lambda o, x, y: o.Pow(x, y),
    "bitwise_and": _bits(lambda o, x, y: o.BitwiseAnd(x, y), "And"),
    "bitwise_or": _bits(lambda o, x, y: o.BitwiseOr(x, y), "Or"),
    "bitwise_xor": _bits(lambda o, x, y: o.BitwiseXor(x, y), "Xor"),
    "invert": _bits(lambda o, x: o.BitwiseNot(x), "Not"),
}  # fmt: skip
EXACT: dict[str, Callable[..., str]] = {  # whose results depend on all bits
    "divide": lambda o, x, y: o.Div(x, y),
    "maximum": _bits(lambda o, x, y: o.Max(x, y), "Or"), "minimum": _bits(lambda o, x, y: o.Min(x, y), "And"),
    "fmax": _bits(_fmax("Max"), "Or"), "fmin": _bits(_fmax("Min"), "And"),
    "clip": lambda o, x, low, high: o.Min(o.Max(x, low), high),
    "remainder": _remainder,
    "fmod": lambda o, x, y: o.Mod(x, y, fmod=1),
    "floor_divide": _floor_divide,
    "heaviside": lambda o, x, y: o.Where(o.Equal(x, 0), y, o.Where(o.Less(x, 0), 0, o.Where(o.IsNaN(x), x, 1))),
}  # fmt: skip
for _name, _make in NUMBERS.items():
    _declare(_name, _make)
for _name, _make in EXACT.items():
    _declare(_name, _make, exact=True)


# Truth values


def _compared(kind: str, negated: bool = False) -> Callable[[Any, Any], str]:
    def write(w: Any, step: Any) -> str:
        loop = loop_of(step)
        if loop == np.uint64:
            raise w.give_up("compares uint64, which ONNX's operators do not take here. Use int64.")
        if kind != "Equal" and loop == BOOL:
            loop = np.dtype(np.int32)
        dtype = WIDER.get(loop, loop)
        made = w.emit(kind, *[w.cast(w.read(atom, loop), loop, dtype) for atom in step.inputs])
        return str(w.emit("Not", made) if negated else made)

    return write


for _name, _kind, _not in (
    ("equal", "Equal", False), ("not_equal", "Equal", True), ("less", "Less", False), ("greater", "Greater", False),
    ("less_equal", "LessOrEqual", False), ("greater_equal", "GreaterOrEqual", False),
):  # fmt: skip
    FORMS[_name] = _compared(_kind, _not)


def _logical(kind: str) -> Callable[[Any, Any], str]:
    return lambda w, step: str(w.emit(kind, *[w.read(atom, BOOL) for atom in step.inputs]))


for _name, _kind in (("logical_and", "And"), ("logical_or", "Or"), ("logical_xor", "Xor"), ("logical_not", "Not")):
    FORMS[_name] = _logical(_kind)


def _asked(make: Callable[..., str], otherwise: bool) -> Callable[[Any, Any], str]:
    """A question about floating numbers; the answer for integers is always `otherwise`."""

    def write(w: Any, step: Any) -> str:
        (x,) = step.inputs
        dtype = x.dtype if x.dtype.kind == "f" else FLOAT
        made = make(Scope(w, dtype), w.read(x, dtype))
        if x.dtype.kind == "f":
            return made
        return str(w.emit("Or" if otherwise else "And", made, w.constant(np.bool_(otherwise))))

    return write


FORMS["isnan"] = _asked(lambda o, x: o.IsNaN(x), False)
FORMS["isinf"] = _asked(lambda o, x: o.Equal(o.Abs(x), math.inf), False)
FORMS["isfinite"] = _asked(lambda o, x: o.Less(o.Abs(x), math.inf), True)


@form("signbit")
def _sign_bit(w: Any, step: Any) -> str:
    (x,) = step.inputs
    dtype = WIDER.get(x.dtype, x.dtype)
    return _signbit(Scope(w, dtype), w.read(x, dtype))


# Others


@form("where")
def _where(w: Any, step: Any) -> str:
    condition, x, y = step.inputs
    dtype = step.output.dtype
    inner = dtype if dtype.kind == "f" or dtype.itemsize == 8 or dtype.kind == "b" else np.dtype(np.int64)
    chosen = w.emit("Where", w.read(condition, BOOL), *[w.cast(w.read(v, dtype), dtype, inner) for v in (x, y)])
    return str(w.cast(chosen, inner, dtype))


@form("astype", "astype_discrete")
def _cast(w: Any, step: Any) -> str:
    return str(w.read(step.inputs[0], step.output.dtype))


@form("as_array", "copy", "fence", "stop_gradient", "checked", "labels", "ids")
def _same(w: Any, step: Any) -> str:
    name = w.read(step.inputs[0], step.output.dtype)
    if step.name == "fence" and step.inputs[0].shape != step.output.shape:
        return str(w.emit("Expand", name, w.ints(step.output.shape)))
    return str(name)


@form("round")
def _round(w: Any, step: Any) -> str:
    (x,) = step.inputs
    decimals = step.params["decimals"]
    if x.dtype.kind != "f":
        if decimals < 0:
            raise w.give_up("rounds integers to tens, which has no form in ONNX.")
        return str(w.read(x, step.output.dtype))
    o = Scope(w, x.dtype)
    scale = 10.0**decimals
    name = w.read(x)
    return str(o.Round(name) if decimals == 0 else o.Div(o.Round(o.Mul(name, scale)), scale))


@form("ldexp")
def _ldexp(w: Any, step: Any) -> str:
    dtype = step.output.dtype
    o = Scope(w, dtype)
    return str(o.Mul(w.read(step.inputs[0], dtype), o.Pow(2, w.read(step.inputs[1], dtype))))


@form("left_shift", "right_shift")
def _shift(w: Any, step: Any) -> str:
    y = step.output.dtype
    if y == np.uint64:
        direction = "LEFT" if step.name == "left_shift" else "RIGHT"
        return str(w.emit("BitShift", *[w.read(atom, y) for atom in step.inputs], direction=direction))
    dtype = np.dtype(np.int64)
    o = Scope(w, dtype)
    x, n = (w.cast(w.read(atom, y), y, dtype) for atom in step.inputs)
    step_of = o.Pow(2, n)
    made = o.Mul(x, step_of) if step.name == "left_shift" else _floor_divide(o, x, step_of)
    return str(w.cast(made, dtype, y))
