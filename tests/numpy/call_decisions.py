"""Where a random call may differ from NumPy's or SciPy's, and why: decisions of this library, and accidents of NumPy.

A row names the functions (* for all), a pattern of the difference as `call_checks.difference` words it, and the reason.
"""

import re
from typing import NamedTuple


class Decision(NamedTuple):
    names: str
    difference: str
    reason: str


DECISIONS = tuple(
    Decision(*row)
    for row in (
        # Decisions
        ("*", r"NumPy raises AttributeError: '(list|int|float|bool|complex)' object", "lists and numbers are taken wherever arrays are"),
        ("trim_zeros", r"not list\(", "results are arrays, not lists"),
        ("fill_diagonal", r"ImmutableError: fill_diagonal would write", "arrays are immutable: you must say inplace=False"),
        ("clip", r"missing 1 required positional argument", "one bound may be left out, as in the array API standard"),
        ("roots", r"gives complex.*, not float|RangeError: roots: the first coefficient", "the dtype and the shape do not depend on values"),
        ("poly", r"gives complex.*, not float", "the dtype does not depend on values"),
        ("polymul polydiv", r"\(shape\)|IndexError: index 0 is out of bounds|ShapeError: polydiv expects", "the shape does not depend on values: leading zeros stay"),
        ("cross", r"ShapeError: cross expects vectors of three components", "vectors of two components are deprecated in NumPy"),
        ("bincount", r"gives float(16|32).*, not float64", "weights keep their floating dtype"),
        ("bincount", r"gives float64.*, not int64\[\d+\] \[0", "no entries with weights are still a sum of weights"),
        ("nanargmax nanargmin nanquantile nanpercentile nanmax nanmin", r"raises RangeError.*where NumPy gives", "a line without numbers is refused"),
        ("cond", r"raises .*MatrixError", "an error names the singular matrix"),
        ("convolve correlate fftconvolve", r"Unsupported type", "float16 is summed in float32"),
        ("fftconvolve", r"gives float64.*, not u?int|gives float32.*, not float16", "transforms are floating, also of axes of length 1"),
        ("fftconvolve", r"\(shape\)|at least as long as the other", "the modes do not treat axes of length 1 in another way"),
        ("fftconvolve convolve correlate", r"IndexError: index 0|zero-size array|could not broadcast|\(0,\)|\[0\] \[\]", "an empty array gives an empty result"),
        ("logsumexp", r"\(shape\)", "a number with keepdims has the shape (), as everywhere"),
        ("sum prod max min amax amin nansum nanprod nanmax nanmin mean std var nanmean any all", r"has more axes than the array|more dimensions than allowed", "NumPy's where= may widen an array in some cases"),
        ("split array_split hsplit vsplit dsplit", r"ShapeError.*where NumPy raises ZeroDivisionError", "an error that says what is wrong"),
        ("average", r"AxisError|gives number", "an axis of a number, as for the mean"),
        # Accidents of NumPy
        ("unwrap", r"float64", "NumPy computes the steps of unsigned integers without a sign"),
        ("i0", r"inf", "NumPy's i0 of infinity is NaN"),
        ("interp", r"nan", "NumPy's value at NaN depends on the number of points"),
        ("polyfit", r"unsupported in linalg|gives float", "NumPy rounds y to its own dtype before it is weighted"),
        ("geomspace logspace", r"nan", "a progression from a negative to a positive number is NaN everywhere"),
        ("cumprod nancumprod cumulative_prod prod nanprod tensordot dot matmul inner kron einsum vdot outer multiply", r"complex.*(inf|nan)", "products of complex infinities depend on their order"),
        ("power pow float_power", r"gives \(|int8.*, not int64", "Python's numbers and truth values keep Python's `**`"),
    )
)  # fmt: skip


def decided(name: str, difference: str) -> bool:
    """Whether a row of the table allows the difference."""
    return any((row.names == "*" or name in row.names.split()) and re.search(row.difference, difference, re.DOTALL) for row in DECISIONS)
