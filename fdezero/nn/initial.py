"""Initialisers: functions `(key, shape, dtype) -> array` from which layers draw their weights and biases.

`zeros`, `ones`, and the names of variance scaling, such as `he_normal`, are initialisers. The others get their options first:
`nn.Linear.init(key, 784, 10, weight_init=nn.initial.normal(0.02), bias_init=nn.initial.constant(1.0))`. A function of your own
is an initialiser as well. Its parameters `in_axis` and `out_axis`, if there are any, get the axes of the shape that count inputs
and outputs. All other axes are the receptive field.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .. import numpy as fnp
from .. import random
from ..devices import array_module, device_of_array
from ..errors import DeviceError, DTypeError, FdezeroError, RangeError, ShapeError, StructureError
from ..messages import called, describe
from ..numpy.arguments import Array, beside, whole_number
from ..random.source import check_dtype, check_key, check_shape
from ..values import kind_of

__all__ = [
    "constant", "draw", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "identity", "kaiming_normal",
    "kaiming_uniform", "lecun_normal", "lecun_uniform", "normal", "ones", "orthogonal", "truncated_normal", "uniform",
    "variance_scaling", "xavier_normal", "xavier_uniform", "zeros"
]  # fmt: skip

__dir__ = lambda: __all__

Initialiser: TypeAlias = Callable[..., Array]
Axes: TypeAlias = int | tuple[int, ...]
FANS = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("normal", "uniform", "truncated_normal")
# The standard deviation of a normal number of deviation 1 that is cut off at -2 and 2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
DEVIATION_WITHIN_2 = 0.8796256610342398


def draw(
    initialiser: Initialiser,
    key: Array,
    shape: tuple[int, ...],
    dtype: Any = np.float32,
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    of: str = "weight_init",
) -> Array:
    """What the initialiser makes of key, shape, dtype, and of the axes if it takes them: `shape`, `dtype`, on the key's device.

    A layer calls this in its `init`; `of` names the layer and the argument in errors, such as "Linear: weight_init".
    Raises StructureError for anything but a function, ShapeError, DTypeError and DeviceError for a result that does not fit.
    """
    check_key(key, of)
    shape, dtype = check_shape(shape, of), check_dtype(dtype, "f", of)
    axes = {"in_axis": in_axis, "out_axis": out_axis} if _takes_axes(initialiser, of) else {}
    try:
        y = initialiser(key, shape, dtype, **axes)
    except FdezeroError as error:
        error.under(of)
        raise
    y = beside(y, key)
    if tuple(y.shape) != shape:
        raise ShapeError(
            f"{of}: {called(initialiser)} was asked for an array of shape {shape}, but gave {describe(y)}."
        )
    if kind_of(y.dtype) not in "biuf":
        raise DTypeError(f"{of}: {called(initialiser)} was asked for {dtype}, but gave {describe(y)}.")
    if array_module(y) is not array_module(key):
        raise DeviceError(
            f"{of}: {called(initialiser)} gave an array on {device_of_array(y)}, but the key is on {device_of_array(key)}. "
            'Draw with a key on the CPU, and move the layer: fd.to_device(layer, "gpu").'
        )
    return y if y.dtype == dtype else fnp.astype(y, dtype)


def _instead(got: Any) -> str:
    return (
        f"the class {got.__name__}" if isinstance(got, type) else repr(got) if isinstance(got, str) else describe(got)
    )


def _hint(got: Any) -> str:
    if isinstance(got, type):
        return f" Write {got.__name__}(...) for an instance."
    if isinstance(got, str):
        return f" Write nn.initial.{got}." if got in __all__ else " nn.initial has the usual ones."
    if isinstance(got, int | float | np.generic):
        return f" Write nn.initial.constant({got})."
    return " An array goes to the constructor, such as Linear(W, b)." if hasattr(got, "shape") else ""


def _takes_axes(initialiser: Any, of: str) -> bool:
    """Whether it has the parameters `in_axis` and `out_axis`. Raises StructureError for anything but an initialiser."""
    form = f"{of} is a function (key, shape, dtype) -> array"
    if isinstance(initialiser, type) or not callable(initialiser):
        raise StructureError(f"{form}, got {_instead(initialiser)}.{_hint(initialiser)}")
    function = initialiser.function if isinstance(initialiser, WithOptions) else initialiser
    for maker, options in NEED_OPTIONS:
        if function is maker:
            raise StructureError(
                f"{form}, and {maker.__name__} makes one: write nn.initial.{maker.__name__}({options})."
            )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function written in C does not tell
        return False
    parameters = signature.parameters
    takes_axes = {"in_axis", "out_axis"} <= set(parameters)
    try:
        signature.bind(
            0,
            0,
            0,
            *getattr(initialiser, "options", ()),
            **dict.fromkeys(("in_axis", "out_axis") if takes_axes else ()),
        )
    except TypeError as error:
        raise StructureError(
            f"{form}, but {called(initialiser)}{signature} cannot be called like that: {error}."
        ) from None
    return takes_axes


@dataclasses.dataclass(frozen=True, repr=False)
class WithOptions:
    """An initialiser that has its options: `function(key, shape, dtype, *options)`. It can be compared, hashed and pickled."""

    name: str
    function: Initialiser
    options: tuple[Any, ...]

    def __call__(self, key: Array, shape: tuple[int, ...], dtype: Any = np.float32, **axes: Any) -> Array:
        return self.function(key, shape, dtype, *self.options, **axes)

    @property
    def __name__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.options))})"


# Numbers


def zeros(key: Array, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Zeros, which do not use the key."""
    return array_module(key).zeros(shape, dtype)


def ones(key: Array, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Ones, which do not use the key."""
    return array_module(key).ones(shape, dtype)


def constant(value: float) -> Initialiser:
    """One number everywhere. Raises RangeError for anything but a number."""
    return WithOptions("constant", _constant, (_number("constant", "value", value),))


def _constant(key: Array, shape: tuple[int, ...], dtype: Any, value: float) -> Array:
    return array_module(key).full(shape, value, dtype)


def normal(stddev: float, mean: float = 0.0) -> Initialiser:
    """Normal numbers of this standard deviation and mean. Raises RangeError for a negative deviation."""
    return WithOptions("normal", _normal, (_size("normal", "stddev", stddev), _number("normal", "mean", mean)))


def _normal(key: Array, shape: tuple[int, ...], dtype: Any, stddev: float, mean: float) -> Array:
    y = random.normal(key, shape, dtype) * stddev
    return y + mean if mean else y


def truncated_normal(stddev: float, mean: float = 0.0, cut: float = 2.0) -> Initialiser:
    """Normal numbers within `cut` times `stddev` of the mean: none lies outside. Needs SciPy.

    `stddev` is the deviation before the cut, as in JAX and PyTorch; with cut=2 that of the result is 0.88 times as large.
    Raises RangeError for a negative deviation, or a cut that is not positive.
    """
    name = "truncated_normal"
    options = _size(name, "stddev", stddev), _number(name, "mean", mean), _positive(name, "cut", cut)
    return WithOptions(name, _truncated_normal, options)


def _truncated_normal(key: Array, shape: tuple[int, ...], dtype: Any, stddev: float, mean: float, cut: float) -> Array:
    y = random.truncated_normal(key, -cut, cut, shape, dtype) * stddev
    return y + mean if mean else y


def uniform(low: float, high: float) -> Initialiser:
    """Uniform numbers from `low` up to `high`. Raises RangeError unless low <= high."""
    low, high = _number("uniform", "low", low), _number("uniform", "high", high)
    if low > high:
        raise RangeError(f"uniform: low must not be above high, got {low} and {high}.")
    return WithOptions("uniform", _uniform, (low, high))


def _uniform(key: Array, shape: tuple[int, ...], dtype: Any, low: float, high: float) -> Array:
    return random.uniform(key, shape, low, high, dtype)


# Variance scaling


def variance_scaling(scale: float, mode: str = "fan_in", distribution: str = "normal") -> Initialiser:
    """Numbers of mean 0 and variance scale / fan.

    `mode` says which fan: "fan_in", the number of inputs of an output; "fan_out", the number of outputs of an input; "fan_avg",
    their mean. For convolutions both count the kernel's entries. `distribution` is "normal", "uniform", or "truncated_normal"
    (cut off at two deviations and then scaled to the same variance; needs SciPy).
    Raises RangeError for another mode or distribution, or a scale that is not positive.
    """
    scale = _positive("variance_scaling", "scale", scale)
    for what, got, known in (("mode", mode, FANS), ("distribution", distribution, DISTRIBUTIONS)):
        if got not in known:
            raise RangeError(f"variance_scaling: {what} must be one of {', '.join(map(repr, known))}, got {got!r}.")
    return WithOptions("variance_scaling", _variance_scaling, (scale, mode, distribution))


def _variance_scaling(
    key: Array,
    shape: tuple[int, ...],
    dtype: Any,
    scale: float,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
) -> Array:
    fans = _fans(shape, in_axis, out_axis)
    fan = sum(fans) / 2 if mode == "fan_avg" else fans[FANS.index(mode)]
    deviation = math.sqrt(scale / max(1, fan))
    if distribution == "uniform":
        return _uniform(key, shape, dtype, -math.sqrt(3) * deviation, math.sqrt(3) * deviation)
    if distribution == "truncated_normal":
        return _truncated_normal(key, shape, dtype, deviation / DEVIATION_WITHIN_2, 0.0, 2.0)
    return _normal(key, shape, dtype, deviation, 0.0)


def _fans(shape: tuple[int, ...], in_axis: Axes, out_axis: Axes) -> tuple[float, float]:
    """The numbers of inputs of an output and of outputs of an input."""
    inputs, outputs = _axes(shape, in_axis), _axes(shape, out_axis)
    field = math.prod(n for i, n in enumerate(shape) if i not in inputs + outputs)
    return field * math.prod(shape[i] for i in inputs), field * math.prod(shape[i] for i in outputs)


def _axes(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    if len(shape) < 2 or not all(-len(shape) <= axis < len(shape) for axis in axes):
        raise ShapeError(
            f"this initialiser needs an axis of inputs and one of outputs, but the shape is {shape}. "
            "For a bias, use nn.initial.zeros, constant, normal or uniform."
        )
    return tuple(axis % len(shape) for axis in axes)


def lecun_normal(
    key: Array, shape: tuple[int, ...], dtype: Any = np.float32, *, in_axis: Axes = -2, out_axis: Axes = -1
) -> Array:
    """Normal, variance 1 / fan_in: DeZero's, and the default of most layers. Source: LeCun et al., "Efficient backprop", 1998."""
    return _variance_scaling(key, shape, dtype, 1.0, "fan_in", "normal", in_axis, out_axis)


def lecun_uniform(
    key: Array, shape: tuple[int, ...], dtype: Any = np.float32, *, in_axis: Axes = -2, out_axis: Axes = -1
) -> Array:
    """Uniform, variance 1 / fan_in. Source: LeCun et al., "Efficient backprop", 1998."""
    return _variance_scaling(key, shape, dtype, 1.0, "fan_in", "uniform", in_axis, out_axis)


def glorot_normal(
    key: Array, shape: tuple[int, ...], dtype: Any = np.float32, *, in_axis: Axes = -2, out_axis: Axes = -1
) -> Array:
    """Normal, variance 2 / (fan_in + fan_out), for tanh. Source: Glorot and Bengio, AISTATS 2010, equation 12."""
    return _variance_scaling(key, shape, dtype, 1.0, "fan_avg", "normal", in_axis, out_axis)


def glorot_uniform(
    key: Array, shape: tuple[int, ...], dtype: Any = np.float32, *, in_axis: Axes = -2, out_axis: Axes = -1
) -> Array:
    """Uniform, variance 2 / (fan_in + fan_out), for tanh. Source: Glorot and Bengio, AISTATS 2010, equation 16."""
    return _variance_scaling(key, shape, dtype, 1.0, "fan_avg", "uniform", in_axis, out_axis)


def he_normal(
    key: Array, shape: tuple[int, ...], dtype: Any = np.float32, *, in_axis: Axes = -2, out_axis: Axes = -1
) -> Array:
    """Normal, variance 2 / fan_in, for relu. Source: He et al., "Delving deep into rectifiers", ICCV 2015, equation 10."""
    return _variance_scaling(key, shape, dtype, 2.0, "fan_in", "normal", in_axis, out_axis)


def he_uniform(
    key: Array, shape: tuple[int, ...], dtype: Any = np.float32, *, in_axis: Axes = -2, out_axis: Axes = -1
) -> Array:
    """Uniform, variance 2 / fan_in, for relu. Source: He et al., "Delving deep into rectifiers", ICCV 2015, equation 10."""
    return _variance_scaling(key, shape, dtype, 2.0, "fan_in", "uniform", in_axis, out_axis)


# The names of the papers' authors and those of their first names are both in use.
xavier_normal, xavier_uniform, kaiming_normal, kaiming_uniform = glorot_normal, glorot_uniform, he_normal, he_uniform


# Matrices


def orthogonal(gain: float = 1.0) -> Initialiser:
    """`gain` times a matrix with orthonormal columns (rows, if it has more columns), uniform among these.

    The matrix has a column for every output, and a row for every other entry of the shape.
    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning", ICLR 2014; the signs: Mezzadri,
    Notices of the AMS 54 (2007) 592.
    """
    return WithOptions("orthogonal", _orthogonal, (_number("orthogonal", "gain", gain),))


def _orthogonal(
    key: Array, shape: tuple[int, ...], dtype: Any, gain: float, in_axis: Axes = -2, out_axis: Axes = -1
) -> Array:
    outputs = _axes(shape, out_axis)
    order = [i for i in range(len(shape)) if i not in outputs] + list(outputs)
    columns = math.prod(shape[i] for i in outputs)
    rows = math.prod(shape) // max(1, columns)
    long, short = max(rows, columns), min(rows, columns)
    q, r = fnp.linalg.qr(random.normal(key, (long, short), np.float64))
    diagonal = fnp.diagonal(r, axis1=-2, axis2=-1)
    q = gain * q * fnp.where(diagonal < 0, -1.0, 1.0)  # qr chooses the signs, and so the matrix would not be uniform
    matrix = q if rows >= columns else fnp.swapaxes(q, -1, -2)
    y = fnp.transpose(matrix.reshape([shape[i] for i in order]), [order.index(i) for i in range(len(shape))])
    return fnp.astype(y.reshape(-1), dtype).reshape(shape)  # in C order


def identity(gain: float = 1.0, groups: int = 1) -> Initialiser:
    """`gain` times the identity: output i is input i. For a convolution, at the centre of the kernel, which is Dirac's delta.

    Outputs or inputs without a partner have zeros. With `groups`, as in a convolution, each group has its own identity.
    Raises RangeError for groups that do not divide the outputs.
    """
    options = _number("identity", "gain", gain), whole_number("identity", "groups", groups)
    return WithOptions("identity", _identity, options)


def _identity(
    key: Array,
    shape: tuple[int, ...],
    dtype: Any,
    gain: float,
    groups: int,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
) -> Array:
    (inputs,), (outputs,) = _axes(shape, in_axis), _axes(shape, out_axis)
    if shape[outputs] % groups:
        raise RangeError(f"identity: {groups} groups do not divide {shape[outputs]} outputs.")
    xp, size = array_module(key), shape[outputs] // groups
    y = xp.ones(shape, bool)
    for axis, n in enumerate(shape):
        position = xp.arange(n).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        if axis == inputs:
            wanted = xp.arange(shape[outputs]).reshape([-1 if i == outputs else 1 for i in range(len(shape))]) % size
            y = y & (position == wanted)
        elif axis != outputs:
            y = y & (position == n // 2)
    return (y * gain).astype(dtype)


# Checks of options


def _number(of: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer) or math.isnan(value):
        raise RangeError(f"{of}: {name} must be a number, got {describe(value)}.")
    return float(value)


def _size(of: str, name: str, value: Any) -> float:
    if (number := _number(of, name, value)) < 0:
        raise RangeError(f"{of}: {name} must not be negative, got {describe(value)}.")
    return number


def _positive(of: str, name: str, value: Any) -> float:
    if (number := _number(of, name, value)) <= 0:
        raise RangeError(f"{of}: {name} must be above 0, got {describe(value)}.")
    return number


NEED_OPTIONS: tuple[tuple[Any, str], ...] = (  # the functions that make initialisers, and examples of their options
    (constant, "1.0"),
    (identity, ""),
    (normal, "0.02"),
    (orthogonal, ""),
    (truncated_normal, "0.02"),
    (uniform, "-0.1, 0.1"),
    (variance_scaling, '2.0, "fan_out"'),
)
