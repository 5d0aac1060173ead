"""The functions and methods of CuPy 14 that the stand-in has, with the names of their arguments."""

from collections.abc import Iterator

# CuPy's functions and the names of their arguments; those in front of the slash are required.
FUNCTIONS = """
all a / axis out keepdims; allclose a b / rtol atol equal_nan; amax a / axis out keepdims; amin a / axis out keepdims
any a / axis out keepdims; argmax a / axis dtype out keepdims; argmin a / axis dtype out keepdims; argsort a / axis kind
argpartition a kth / axis; argwhere a /; around a / decimals out; array_equal a1 a2 / equal_nan; array_split ary indices_or_sections / axis
astype x dtype / copy; atleast_1d * /; atleast_2d * /; average a / axis weights returned keepdims
bincount x / weights minlength; broadcast_arrays * /; broadcast_to array shape /; clip a a_min a_max / out
concatenate tup / axis out dtype casting; copy a / order; count_nonzero a / axis; cross a b / axisa axisb axisc axis
correlate a v / mode; cumprod a / axis dtype out; cumsum a / axis dtype out; diag v / k; diagonal a / offset axis1 axis2
diff a / n axis prepend append; dot a b / out; einsum * / dtype optimize; empty_like a / dtype order subok shape
expand_dims a axis /; flatnonzero a /; flip a / axis; full_like a fill_value / dtype order subok shape
hstack tup / dtype casting; inner a b /; isclose a b / rtol atol equal_nan; kron a b /; matmul a b / out
max a / axis out keepdims; may_share_memory a b / max_work; mean a / axis dtype out keepdims; median a / axis out overwrite_input keepdims
min a / axis out keepdims; moveaxis a source destination /; nan_to_num x / copy nan posinf neginf; nonzero a /
ones_like a / dtype order subok shape; outer a b / out; pad array pad_width / mode constant_values
prod a / axis dtype out keepdims; ptp a / axis; ravel a / order; repeat a repeats / axis
reshape a newshape / order copy; roll a shift / axis; round a / decimals out; searchsorted a v / side sorter
shares_memory a b / max_work; sort a / axis kind; split ary indices_or_sections / axis; squeeze a / axis
stack tup / axis out dtype casting; std a / axis dtype out ddof keepdims; sum a / axis dtype out keepdims
swapaxes a axis1 axis2 /; take a indices / axis out; take_along_axis a indices axis /; tensordot a b / axes
tile A reps /; trace a / offset axis1 axis2 dtype out; transpose a / axes; tril m / k; triu m / k
unique ar / return_index return_inverse return_counts axis; var a / axis dtype out ddof keepdims; vdot a b /
vstack tup / dtype casting; where condition / x y; zeros_like a / dtype order subok shape
"""
LINALG = """
cholesky a /; det a /; eig a /; eigh a / UPLO; inv a /; pinv a / rcond; qr a / mode; slogdet a /; solve a b /
svd a / full_matrices compute_uv
"""
METHODS = """
all axis out keepdims; any axis out keepdims; argmax axis out dtype keepdims; argmin axis out dtype keepdims
argsort axis kind; astype dtype order casting subok copy; clip min max out; conj; conjugate; copy order
cumprod axis dtype out; cumsum axis dtype out; diagonal offset axis1 axis2; dot b out; flatten order
max axis out keepdims; mean axis dtype out keepdims; min axis out keepdims; nonzero; prod axis dtype out keepdims
ravel order; repeat repeats axis; reshape * order copy; round decimals out; searchsorted v side sorter; squeeze axis
std axis dtype out ddof keepdims; sum axis dtype out keepdims; swapaxes axis1 axis2; take indices axis out
trace offset axis1 axis2 dtype out; transpose *; var axis dtype out ddof keepdims; view dtype
"""
FOURIER = "fft ifft rfft irfft hfft ihfft".split()
SPECIAL = (
    "beta betainc betaincinv betaln digamma erf erfc erfcinv erfcx erfinv gamma gammainc gammaincc gammainccinv gammaincinv gammaln "
    "i0 i0e i1 i1e j0 j1 rgamma xlog1py xlogy y0 y1 yn zeta"
).split()
CREATION = ["arange", "empty", "eye", "full", "identity", "linspace", "ones", "zeros", "tri"]


def declared(table: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for entry in table.replace("\n", ";").split(";"):
        if entry.strip():
            name, *names = entry.split()
            slash = names.index("/") if "/" in names else 0
            yield name, names[:slash], [n for n in names[slash:] if n != "/"]
