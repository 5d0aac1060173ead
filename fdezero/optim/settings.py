"""The settings of transformations and schedules: fields for numbers and rates, checked when an object is made, and their text."""

import html
import math
import os
from typing import Any, TypeAlias

import attrs
import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..errors import DTypeError, RangeError, StructureError
from ..messages import called, describe
from ..ops.checks import checked
from ..tree import Module
from .leaves import weak

__all__: list[str] = []  # for transformations and schedules

Rate: TypeAlias = Any  # float | Array | Callable[[step], float | Array]
Number: TypeAlias = Any  # float | Array


def number(
    *,
    default: Any = attrs.NOTHING,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    whole: bool = False,
    fixed: bool = False,
    optional: bool = False,
) -> Any:
    """A field for a number, which may be a traced one unless it is `fixed`. It is checked when the object is made.

    NumPy's numbers become Python's, whose dtype is weak, so a rate of float64 keeps parameters of float32. `optional` also takes None.
    """
    bounds = [(">=", least), (">", above), ("<", below), ("<=", most)]
    text = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    kind = "a whole number" if whole else "a number"

    def converted(value: Any, owner: Any, field: Any) -> Any:
        value = weak(value)
        if optional and value is None:
            return value
        where = f"{type(owner).__name__}: {field.name}"
        if not _is_number(value) and (fixed or not _is_array(value)):
            raise DTypeError(f"{where} is {kind}; got {shown(value)}.")
        if _is_number(value):
            outside = (least is not None and value < least) or (above is not None and value <= above)
            outside = outside or (below is not None and value >= below) or (most is not None and value > most)
            if math.isnan(value) or outside or (whole and value != int(value)):
                raise RangeError(f"{where} is {kind} {text or 'that is not NaN'}; got {value!r}.")
        return value

    return attrs.field(
        default=default,
        converter=attrs.Converter(converted, takes_self=True, takes_field=True),
        metadata={"static": True} if fixed else {},
    )


def rate(*, default: Any = attrs.NOTHING) -> Any:
    """A field for a rate: a number, or a schedule, a function of the step. It is checked when the object is made."""

    def converted(value: Any, owner: Any, field: Any) -> Any:
        return checked_rate(value, f"{type(owner).__name__}: {field.name}")

    return attrs.field(default=default, converter=attrs.Converter(converted, takes_self=True, takes_field=True))


def checked_rate(value: Any, where: str, schedules: bool = True) -> Any:
    """A rate with a Python number in place of NumPy's. Raises DTypeError or RangeError that says `where` for anything else."""
    value, what = weak(value), " or a schedule, a function of the step" if schedules else ""
    if not (_is_number(value) or _is_array(value) or (schedules and callable(value) and not isinstance(value, type))):
        raise DTypeError(f"{where} is a number{what}; got {shown(value)}.")
    if isinstance(value, Module) and any(np.ndim(leaf) > 1 for leaf in trees.leaves(value)):  # matrices: no schedule
        raise DTypeError(
            f"{where} is a number{what}; got a {type(value).__name__}. An optimiser is made without the model: state = opt.init(model)."
        )
    if _is_number(value) and not 0 <= value < math.inf:
        raise RangeError(f"{where} is a finite number >= 0{what}; got {value!r}.")
    return value


def rate_at(schedule: Any, step: Any) -> Any:
    """The rate that a schedule gives for a step, or a constant rate itself. Raises RangeError, also in compiled code, unless it is finite.

    On a GPU a rate that is computed there is not looked at.
    """
    if not callable(schedule):
        return schedule
    value = weak(schedule(step))
    if _is_number(value):
        if not math.isfinite(value):
            raise _not_finite(schedule, value, step)
        return value
    if getattr(value, "shape", None) != ():
        raise DTypeError(f"the schedule {_place(schedule)} gives {describe(value)} for a step; a rate is a number.")
    # One number tells the check both whether the rate is finite and which step it is: -1, or the step.
    bad = fnp.where(fnp.isfinite(value), -1, fnp.asarray(step))
    checked(bad, test=is_negative, error=lambda bad: _not_finite(schedule, "NaN or an infinity", np.max(bad)))
    return value


def is_negative(x: Any) -> Any:
    return x < 0


def _not_finite(schedule: Any, value: Any, step: Any) -> RangeError:
    return RangeError(
        f"the schedule {_place(schedule)} gives {value} as the rate of step {step}; a rate is a finite number."
    )


def _place(schedule: Any) -> str:
    """The text of a schedule; for a function, also where it stands."""
    code = getattr(schedule, "__code__", None)
    return shown(schedule) + (f" ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code else "")


def checked_state(state: Any, names: tuple[str, ...], owner: str) -> None:
    """Raise StructureError unless a state is a dict of these names."""
    if not isinstance(state, dict) or state.keys() != {*names}:
        got = ", ".join(map(str, state)) if state and isinstance(state, dict) else describe(state)
        raise StructureError(
            f"{owner}: the state has {', '.join(names)}; got {got}. The state comes first, and the first one from init."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _is_array(value: Any) -> bool:
    """Whether a value is an array or a traced number."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and not callable(value)


def shown(value: Any) -> str:
    """The text of a setting."""
    if hasattr(type(value), "__attrs_attrs__") or hasattr(type(value), "_fields"):
        return repr(value)
    if callable(value):
        return called(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {shown(part)}' for key, part in value.items())}}}"
    if value is None or isinstance(value, str | bool):
        return repr(value)
    is_array = hasattr(value, "dtype") and not isinstance(value, np.generic)
    return describe(value) if is_array or trees.leaves(value) != [value] else repr(value)


def text_of(value: Any) -> str:
    """The text of an object with settings: its class and all of them, but not what is switched off as usual."""
    fields = [(field, getattr(value, field.name, None)) for field in attrs.fields(type(value))]
    told = [
        (f.name, setting)
        for f, setting in fields
        if not (setting is f.default and (setting is None or setting is False))
    ]
    return f"{type(value).__name__}({', '.join(f'{name}={shown(setting)}' for name, setting in told)})"


class Settings(Module):
    """Base of objects with settings, which say them all in their text."""

    def __repr__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:  # what notebooks show
        return f"<pre>{html.escape(repr(self))}</pre>"
