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
        ("trim_zeros diff", r"not list\(", "results are arrays, not lists"),
        ("fill_diagonal", r"where NumPy raises (OverflowError|ValueError: cannot convert)", "a list of floating numbers is cast as an array"),
        ("clip", r"missing 1 required positional argument", "one bound may be left out, as in the array API standard"),
        ("roots", r"gives complex.*\(dtype\)|RangeError: roots: the first coefficient", "the dtype and the shape do not depend on values"),
        ("poly", r"gives complex.*, not float", "the dtype does not depend on values"),
        ("polymul polydiv", r"\(shape\)|IndexError: index 0 is out of bounds|ShapeError: polydiv expects|nan", "the shape does not depend on values: leading zeros stay"),
        ("cross", r"ShapeError: cross expects vectors of three components", "vectors of two components are deprecated in NumPy"),
        ("bincount", r"gives float(16|32).*, not float64", "weights keep their floating dtype"),
        ("bincount", r"gives float.*, not int64\[\d+\] (\[\]|\[0)", "no entries with weights are still a sum of weights"),
        ("nanargmax nanargmin nanquantile nanpercentile nanmax nanmin", r"raises RangeError.*where NumPy gives", "a line without numbers is refused"),
        ("cond", r"raises .*MatrixError", "an error names the singular matrix"),
        ("convolve correlate fftconvolve", r"Unsupported type", "float16 is summed in float32"),
        ("fftconvolve", r"gives (number )?float64.*, not (number )?u?int|gives float32.*, not float16", "transforms are floating, also of axes of length 1"),
        ("fftconvolve", r"\(shape\)|at least as long as the other", "the modes do not treat axes of length 1 in another way"),
        ("fftconvolve convolve correlate", r"IndexError: index 0|zero-size array|could not broadcast|\(0,\)|\[0\] \[\]", "an empty array gives an empty result"),
        ("logsumexp", r"\(shape\)", "a number with keepdims has the shape (), as everywhere"),
        ("sum prod max min amax amin nansum nanprod nanmax nanmin mean std var nanmean any all", r"has more axes than the array|more dimensions than allowed|non-broadcastable operand", "NumPy's where= may widen an array in some cases"),
        ("split array_split hsplit vsplit dsplit", r"ShapeError.*where NumPy raises ZeroDivisionError", "an error that says what is wrong"),
        ("average", r"AxisError|gives number", "an axis of a number, as for the mean"),
        ("rfftn irfftn fftn ifftn fftshift ifftshift rfft2 irfft2", r"IndexError: (list index|cannot do a non-empty take|tuple index)|not enough values to unpack", "a number does not have an axis"),
        ("quantile percentile nanquantile nanpercentile", r"gives (number )?float64.*, not (number )?(u?int|bool)|DTypeError: quantile.*where NumPy gives", "q as the integer 0 or 1 is a number like 0.0"),
        ("reshape ravel copy array", r"depends on the memory layout|uint32\[4\]|not \w+\[\d+\]", "the orders A and K follow a memory layout, which a traced value does not have; NumPy takes a broadcast view for one in Fortran's order"),
        ("concat concatenate vstack hstack row_stack stack", r"cannot cast.*where NumPy raises ValueError", "two errors at once: the dtype is looked at first"),
        ("unique_all unique_counts unique_inverse unique_values", r"got some positional-only", "the array may be named, as its signature says"),
        ("insert delete split array_split compress", r"where NumPy raises (IndexError|TypeError)", "two errors at once"),
        ("quantile percentile nanquantile nanpercentile", r"method must be|DTypeError: quantile.*AxisError|DTypeError: quantile.*ValueError", "two errors at once"),
        ("roll", r"not enough values to unpack", "no axes, no shift"),
        ("var std mean median nanvar nanstd nanmean nanmedian", r"AxisError", "axis 0 of a number is taken or refused alike, whatever where= is"),
        ("nanvar nanstd", r"float16", "NumPy rounds the mean to float16"),
        ("poly", r"not 1\.0", "the polynomial without roots is an array, too"),
        ("roots", r"LinAlgError: Array must not contain", "a leading coefficient 0 divides by zero where it cannot be seen"),
        ("gradient", r"gradient takes numbers, got bool", "NumPy refuses truth values unless there are no axes"),
        ("fftconvolve", r"mode must be", "a wrong mode is refused for numbers also"),
        ("logsumexp", r"too many indices for array|\[0\.0.*\], not .*\[-1\.0.*\]", "SciPy fails for arrays without entries"),
        ("log_softmax", r"nan.*not.*-inf", "a line with +inf is NaN everywhere"),
        ("union1d intersect1d setxor1d setdiff1d", r"\(dtype\)", "a Python number becomes an array"),
        ("gamma.pdf gamma.logpdf chi2.pdf chi2.logpdf weibull_min.pdf weibull_min.logpdf", r"not .*nan", "the limit 0 of the density where x or a shape is infinite; SciPy has inf - inf"),
        ("weibull_min.pdf", r"nan.*not .*inf", "the density at a point that has all the probability; SciPy's logarithm is NaN also"),
        ("beta.pdf beta.logpdf", r"nan", "a shape that is infinite: SciPy has a density at the ends only"),
        ("beta.entropy", r"-inf.*not .*nan", "the limit for one infinite shape, where all the probability is at an end"),
        ("weibull_min.entropy", r"ZeroDivisionError", "the shape 0 gives NaN, as in other methods"),
        ("poisson.entropy", r"inf, not .*0\.0", "the entropy grows without bound with the mean"),
        ("imag subtract abs absolute positive negative sign square less less_equal greater greater_equal equal not_equal", r"gives (True|False|-?\d+|\d+\.\d+)[ ,]|not 0 |'[<>]=?' not supported", "Python's numbers are computed by Python's operators"),
        ("pinv", r"\(dtype\)", "an empty integer matrix has a floating inverse, as other matrices"),
        ("nanmedian", r"inf\+nanj", "the middle of complex infinities"),
        ("*", r"array type float16 is unsupported|linalg.eig computes in float32", "float16 is computed in float32, or refused by name"),
        ("average", r"ZeroDivisionError", "weights that sum to 0 are not seen while a value is recorded or batched"),
        ("choose", r"IndexError: index.*ValueError: invalid entry", "a compiled call finds the index out of range"),
        ("gradient", r"ShapeError: gradient.*IndexError", "two errors at once"),
        ("quantile percentile nanquantile nanpercentile", r"DTypeError: quantile.*IndexError|not (number )?float\d+(\[\d*\])?.*(nan|\[\]).*\((shape|dtype)\)", "no entries: an error of another kind, or NaN for each quantile"),
        ("convolve correlate", r"mode must be|method must be", "a wrong mode or method is refused for numbers also"),
        ("fftn ifftn rfftn irfftn", r"not iterable", "axes are a tuple"),
        ("array_split", r"\(shape\)|has no len|AxisError", "NumPy splits a list along its first axis, whatever axis says"),
        ("poisson.pmf poisson.logpmf binom.pmf binom.logpmf bernoulli.pmf bernoulli.logpmf", r"nan", "infinitely many have the probability 0"),
        ("quantile percentile nanquantile nanpercentile median", r"inf, not .*nan|not (number )?float\d+.*nan|cannot reshape array", "no part of an infinite gap is none of it; NumPy has inf - inf or 0 * inf there"),
        ("max min amax amin sum prod nanmax nanmin concatenate concat", r"(OverflowError|cannot cast).*where NumPy raises (numpy.exceptions.)?AxisError", "two errors at once"),
        ("corrcoef cov", r"where NumPy|\[0, 0\] \[\]", "two tables that do not go together"),
        ("getitem", r"where NumPy raises IndexError: index", "an index out of range beside a mask that chooses nothing"),
        ("split array_split hsplit vsplit dsplit", r"\(shape\)", "NumPy splits a list along its first axis, whatever is asked"),
        ("inner dot matmul vdot", r"\(dtype\)|nan", "an empty list is float64, and BLAS may leave out what is multiplied with 0"),
        ("real", r"not 1|not 0", "Python's numbers become arrays"),
        ("average pad", r"ShapeError: average.*TypeError|must be one of.*TypeError", "two errors at once"),
        ("select", r"Cannot cast", "NumPy casts a number of its own dtype to the common one, and sometimes cannot"),
        ("linspace", r"not nan", "the step of no parts is NaN, as an array"),
        ("lognorm.logpdf lognorm.pdf", r"-283", "SciPy takes the logarithm of a density that is 0"),
        ("var std", r"float16.*nan.*not.*inf", "the mean overflows in float16"),
        ("sum prod cumsum cumprod nansum nanprod nancumsum nancumprod astype", r"2147483648|9223372036854775808", "a cast of NaN to an integer is left open by C"),
        ("compress", r"raises IndexError", "an index is also checked where there are no entries"),
        # Accidents of NumPy
        ("cumprod nancumprod cumulative_prod", r"0\.0.*nan", "where products overflow, 0 times infinity depends on their order"),
        ("reshape", r"cannot take the shape", "NumPy takes any negative length for -1"),
        ("rfftn rfft2 fftn", r"\(shape\)|nan", "an axis named twice is cut or padded twice"),
        ("nanmax nanmin", r"not (number )?\w+(\[[\d, ]*\])? .*nan", "whether initial= counts depends on the type of the argument"),
        ("dot", r"float64\[\d, 0\]", "an empty list has a dtype or not"),
        ("cov", r"nan", "a difference of weights that rounds to 0 or not"),
        ("unwrap", r"float64", "NumPy computes the steps of unsigned integers without a sign"),
        ("i0", r"inf", "NumPy's i0 of infinity is NaN"),
        ("interp", r"nan", "NumPy's value at NaN depends on the number of points"),
        ("polyfit", r"unsupported in linalg|gives float", "NumPy rounds y to its own dtype before it is weighted"),
        ("geomspace logspace", r"nan", "a progression from a negative to a positive number is NaN everywhere"),
        ("cumprod nancumprod cumulative_prod prod nanprod tensordot dot matmul inner kron einsum vdot outer multiply matvec vecmat vecdot gradient polymul convolve correlate", r"complex.*(inf|nan)", "products of complex infinities depend on their order"),
        ("power pow float_power", r"Integers to negative integer powers|gives \(|gives -?\d+,|int8.*, not int64|u?int64.*, not number float64|gives number u?int\d+.*, not number int64|gives number complex64.*, not number complex128", "Python's numbers and truth values keep Python's `**`"),
    )
)  # fmt: skip


def decided(name: str, difference: str) -> bool:
    """Whether a row of the table allows the difference."""
    return any((row.names == "*" or name in row.names.split()) and re.search(row.difference, difference, re.DOTALL) for row in DECISIONS)
