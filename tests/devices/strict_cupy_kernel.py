"""`cupy.ElementwiseKernel` of the stand-in for CuPy: the local C++ compiler compiles the kernel, and a loop replaces its threads.

The source sees only what NVRTC offers: mathematical functions are overloaded for float and double, with a few more of
CUDA's. So `exp(1)`, or `fmax(x, 0.0)` of a float x, is ambiguous here as there, and there is neither std:: nor INFINITY.
In one thing the stand-in is stricter: an output shares memory with an input entry by entry or not at all, otherwise a GPU has a race.
"""

import contextlib
import ctypes
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from .strict_cupy_array import ndarray, operand, spoilt, wrap
from .strict_cupy_graph import NOTED, noted

C_TYPES = {
    "complex128": "complex<double>", "complex64": "complex<float>", "float64": "double", "float32": "float", "float16": "float16", "bool": "bool",
    "int64": "long long", "int32": "int", "int16": "short", "int8": "signed char",
    "uint64": "unsigned long long", "uint32": "unsigned int", "uint16": "unsigned short", "uint8": "unsigned char",
}  # fmt: skip

CONSTANTS = r"""
#define M_PI 3.1415926535897932384626433832795
#define CUDART_INF_F __int_as_float(0x7f800000)
#define CUDART_NAN_F __int_as_float(0x7fffffff)
#define CUDART_INF __longlong_as_double(0x7ff0000000000000ULL)
#define CUDART_NAN __longlong_as_double(0xfff8000000000000ULL)
"""

# As in CuPy, which has it where a parameter is one, or where it is included: a float in all but storage, so that results are rounded where they are assigned.
FLOAT16 = r"""
struct float16 {
    unsigned short bits;
    float16() = default;
    __device__ float16(float v) { FLOAT_TO_HALF(bits, v); }
    explicit __device__ float16(bool v) : float16(float(v)) {}
    explicit __device__ float16(double v) { DOUBLE_TO_HALF(bits, v); }
    explicit __device__ float16(int v) : float16(float(v)) {}
    explicit __device__ float16(unsigned v) : float16(float(v)) {}
    explicit __device__ float16(long long v) : float16(float(v)) {}
    explicit __device__ float16(unsigned long long v) : float16(float(v)) {}
    __device__ operator float() const { float v; HALF_TO_FLOAT(v, bits); return v; }
    template <class T> __device__ float16& operator=(const T& v) { return *this = float16(v); }
    template <class T> __device__ float16& operator+=(const T& v) { return *this = *this + v; }
    template <class T> __device__ float16& operator-=(const T& v) { return *this = *this - v; }
    template <class T> __device__ float16& operator*=(const T& v) { return *this = *this * v; }
    template <class T> __device__ float16& operator/=(const T& v) { return *this = *this / v; }
};
__device__ inline float16 max(float16 x, float16 y) { return max(float(x), float(y)); }
__device__ inline float16 min(float16 x, float16 y) { return min(float(x), float(y)); }
__device__ inline float16 fmax(float16 x, float16 y) { return fmax(float(x), float(y)); }
__device__ inline float16 fmin(float16 x, float16 y) { return fmin(float(x), float(y)); }
__device__ inline float16 copysign(float16 x, float16 y) { return copysign(float(x), float(y)); }
__device__ inline int isnan(float16 x) { return isnan(float(x)); }
__device__ inline int isinf(float16 x) { return isinf(float(x)); }
__device__ inline int isfinite(float16 x) { return isfinite(float(x)); }
__device__ inline int signbit(float16 x) { return signbit(float(x)); }
"""

# CUDA's functions, with the overloads that NVRTC shows.
ON_THE_CPU = r"""
#define __device__
#define __forceinline__ inline
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __SIZE_TYPE__ size_t;
#define _ONE(F) extern "C" double F(double); extern "C" float F##f(float); inline float F(float x) { return F##f(x); }
#define _TWO(F) extern "C" double F(double, double); extern "C" float F##f(float, float); \
    inline float F(float x, float y) { return F##f(x, y); }
#define _TEST(F) inline int F(float x) { return __builtin_##F(x); } inline int F(double x) { return __builtin_##F(x); }
#define _CHOICE(A, B) inline auto max(A x, B y) { return x > y ? x : y; } inline auto min(A x, B y) { return x < y ? x : y; }
#define _FLOATING_CHOICE(A, B, R) inline R max(A x, B y) { return fmax(R(x), R(y)); } inline R min(A x, B y) { return fmin(R(x), R(y)); }
_ONE(exp) _ONE(exp2) _ONE(expm1) _ONE(log) _ONE(log2) _ONE(log10) _ONE(log1p) _ONE(sqrt) _ONE(cbrt)
_ONE(sin) _ONE(cos) _ONE(tan) _ONE(asin) _ONE(acos) _ONE(atan) _ONE(sinh) _ONE(cosh) _ONE(tanh) _ONE(asinh) _ONE(acosh) _ONE(atanh)
_ONE(fabs) _ONE(floor) _ONE(ceil) _ONE(trunc) _ONE(rint) _ONE(round) _ONE(nearbyint) _ONE(erf) _ONE(erfc) _ONE(lgamma) _ONE(tgamma) _ONE(j0) _ONE(j1) _ONE(y0) _ONE(y1)
#define _MINE(F) inline float F(float x) { return F(double(x)); }
inline double erfcx(double x) { return exp(x * x) * erfc(x); } _MINE(erfcx)
inline double erfinv(double x) {
    double y = 0;
    for (int k = 0; k < 30; k++) y -= (erf(y) - x) * 0.88622692545275801 * exp(y * y);
    return y;
} _MINE(erfinv)
inline double erfcinv(double x) { return erfinv(1 - x); } _MINE(erfcinv)
inline double bessel(double x, int order) {
    double term = order ? x / 2 : 1, sum = term;
    for (int k = 1; k < 60; k++) sum += term *= x * x / 4 / (k * (k + order));
    return sum;
}
inline double cyl_bessel_i0(double x) { return bessel(x, 0); } _MINE(cyl_bessel_i0)
inline double cyl_bessel_i1(double x) { return bessel(x, 1); } _MINE(cyl_bessel_i1)
_TWO(pow) _TWO(fmod) _TWO(fmax) _TWO(fmin) _TWO(atan2) _TWO(hypot) _TWO(copysign) _TWO(nextafter) _TWO(remainder) _TWO(fdim)
_TEST(isnan) _TEST(isinf) _TEST(isfinite) _TEST(signbit)
_FLOATING_CHOICE(float, float, float) _FLOATING_CHOICE(double, double, double)
_FLOATING_CHOICE(float, double, double) _FLOATING_CHOICE(double, float, double)
_CHOICE(int, int) _CHOICE(unsigned, unsigned) _CHOICE(int, unsigned) _CHOICE(unsigned, int)
_CHOICE(long long, long long) _CHOICE(unsigned long long, unsigned long long)
_CHOICE(long long, unsigned long long) _CHOICE(unsigned long long, long long)
extern "C" double fma(double, double, double);
extern "C" float fmaf(float, float, float);
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
extern "C" double ldexp(double, int);
inline float ldexp(float x, int n) { return __builtin_ldexpf(x, n); }
inline float pow(float x, int y) { return powf(x, y); }
inline double pow(double x, int y) { return pow(x, double(y)); }
inline double copysign(float x, double y) { return copysign(double(x), y); }
inline double copysign(double x, float y) { return copysign(x, double(y)); }
inline float rsqrt(float x) { return 1 / sqrt(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float abs(float x) { return fabs(x); }
inline double abs(double x) { return fabs(x); }
extern "C" int abs(int);
inline long long abs(long long x) { return x < 0 ? -x : x; }
template <class T> struct complex {
    T re, im;
    complex() = default;
    complex(T re, T im = 0) : re(re), im(im) {}
    T real() const { return re; }
    T imag() const { return im; }
};
#define _ATOMIC(T) inline T atomicAdd(T* place, T x) { T old = *place; *place = old + x; return old; }
_ATOMIC(int) _ATOMIC(unsigned) _ATOMIC(unsigned long long) _ATOMIC(float) _ATOMIC(double)
inline float __int_as_float(int x) { float y; __builtin_memcpy(&y, &x, 4); return y; }
inline double __longlong_as_double(long long x) { double y; __builtin_memcpy(&y, &x, 8); return y; }
#define HALF_TO_FLOAT(v, bits) _Float16 h; __builtin_memcpy(&h, &bits, 2); v = h
#define DOUBLE_TO_HALF(bits, v) _Float16 h = v; __builtin_memcpy(&bits, &h, 2)
#define FLOAT_TO_HALF(bits, v) _Float16 h = v; __builtin_memcpy(&bits, &h, 2)
"""


INCLUDE = '#include "cupy/float16.cuh"'


class Parameter(NamedTuple):
    """One parameter of a kernel: "float32 x" is `Parameter("x", dtype("float32"), "float")`. A raw one is read as `x[place]`."""

    name: str
    dtype: np.dtype
    ctype: str
    raw: bool = False


def parameters(text: str) -> tuple[Parameter, ...]:
    """The parameters in `text`. Raises NotImplementedError for features of CuPy that the stand-in does not have."""
    return tuple(map(_parameter, text.strip().split(","))) if text else ()


def _parameter(text: str) -> Parameter:
    words = text.split()
    if len(words) < 2:
        raise Exception(f"Syntax error: {text}")
    *marks, kind, name = words
    if marks not in ([], ["raw"]) or len(kind) == 1:
        raise NotImplementedError(f"the stand-in's kernels have parameters of one known dtype, not {text.strip()!r}")
    if name in {"i", "n"} or name.startswith("_"):  # CuPy's documents reserve all of these; its code refuses i.
        raise ValueError(f"Can not use '{name}' as a parameter name")
    dtype = np.dtype(kind)
    if dtype.name not in C_TYPES:
        raise NotImplementedError(f"the stand-in's kernels know no {dtype}")
    return Parameter(name, dtype, C_TYPES[dtype.name], bool(marks))


def loop(inputs: Iterable[Parameter], outputs: Iterable[Parameter], operation: str, head: str) -> str:
    """The operation within the loop that begins with `head` and counts in i, over the arrays _raw_x, one for each parameter x."""
    references = [f"const {p.ctype} {'*' if p.raw else '&'}{p.name} = _raw_{p.name}{'' if p.raw else '[i]'};" for p in inputs]
    references += [f"{p.ctype} {'*' if p.raw else '&'}{p.name} = _raw_{p.name}{'' if p.raw else '[i]'};" for p in outputs]
    return "\n".join([f"{head} {{", *references, f"{operation};", "}"])


class CompileException(Exception):  # noqa: N818, CuPy's name
    """cupy.cuda.compiler.CompileException, with the compiler's log."""


@functools.cache
def build(source: str) -> ctypes.CDLL:
    """The compiled library; skips the test on a machine without a compiler. Raises CompileException."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (Path(folder) / "kernel.cpp").write_text(source, encoding="utf-8")
        flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-w", "-pedantic-errors", "-shared", "-fPIC"]
        # Kernels need no library of C++, whose search takes a third of the time. What else is missing is in Python's process.
        for libraries in ([["-nostdlib", "-lm"]] if sys.platform == "linux" else []) + [["-lm"]]:
            command = [compiler, *flags, "-o", "kernel.so", "kernel.cpp", *libraries]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CompileException(done.stderr)
            with contextlib.suppress(OSError):
                return ctypes.CDLL(str(Path(folder) / "kernel.so"))
    raise OSError("a kernel was compiled, and cannot be loaded")


class ElementwiseKernel:
    """cupy.ElementwiseKernel for parameters of known dtypes. Complex numbers have their parts and no arithmetic."""

    def __init__(
        self, in_params: str, out_params: str, operation: str, name: str = "kernel", reduce_dims: bool = True, preamble: str = "",
        no_return: bool = False, return_tuple: bool = False, *, loop_prep: str = "", after_loop: str = "", options: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        if not re.fullmatch("[a-zA-Z_][a-zA-Z_0-9]*", name):
            raise ValueError(f'Invalid kernel name: "{name}"')
        self.in_params, self.out_params = parameters(in_params), parameters(out_params)
        self.params = self.in_params + self.out_params
        self.nin, self.nout, self.nargs = len(self.in_params), len(self.out_params), len(self.params)
        self.operation, self.preamble, self.no_return, self.return_tuple = operation, preamble, no_return, return_tuple
        self.name = self.__name__ = name
        arrays = "".join([f"{p.ctype}* _raw_{p.name} = ({p.ctype}*)_arrays[{k}];\n" for k, p in enumerate(self.params)])
        half = FLOAT16 if INCLUDE in preamble or any(p.ctype == "float16" for p in self.params) else ""
        preamble = preamble.replace(INCLUDE, "")
        self.source = (
            f'{ON_THE_CPU}{CONSTANTS}{half}\n#line 1 "{name}.cu"\n{preamble}\nextern "C" void {name}(ptrdiff_t _size, void** _arrays) '
            f"{{\n{arrays}{loop_prep};\n{loop(self.in_params, self.out_params, operation, 'for (ptrdiff_t i = 0; i < _size; ++i)')}\n"
            f"{after_loop};\n}}\n"
        )

    def __call__(self, *args: Any, size: int = -1, stream: Any = None, block_size: int = 128) -> Any:
        if len(args) not in {self.nin, self.nargs}:
            wanted = f"It must be either {self.nin} or {self.nargs} (with outputs), but given {len(args)}."
            raise TypeError(f"Wrong number of arguments for {self.name!r}. {wanted}")
        for arg in args:
            if hasattr(arg, "__cupy_override_elementwise_kernel__"):
                return arg.__cupy_override_elementwise_kernel__(self, *args)
        numbers = [operand(arg) for arg in args]
        raw = [p.raw for p in self.params][: len(args)]
        arrays = [x for x, arg, is_raw in zip(numbers, args, raw, strict=True) if isinstance(arg, ndarray) and not is_raw]
        if size != -1 and arrays:
            raise ValueError("Specified 'size' can be used only if all of the ndarray are 'raw'.")
        if size == -1 and not arrays:
            raise ValueError("Loop size is undecided.")
        shape = np.broadcast_shapes(*[x.shape for x in arrays]) if arrays else (size,)
        for parameter, arg in zip(self.params, args, strict=False):
            if isinstance(arg, ndarray) and arg.dtype != parameter.dtype:
                raise TypeError(f"Type is mismatched. {parameter.name} {arg.dtype} {parameter.dtype}")
        outputs = list(args[self.nin :]) or [wrap(spoilt(np.empty(shape, p.dtype))) for p in self.out_params]
        for y, parameter in zip(outputs, self.out_params, strict=True):
            if not isinstance(y, ndarray):
                raise TypeError("Output arguments type must be cupy.ndarray")
            if y.shape != shape and not parameter.raw:
                raise ValueError("Out shape is mismatched")
        if 0 not in shape:
            inputs, places = numbers[: self.nin], [y._numbers for y in outputs]
            if NOTED:
                NOTED[-1].append(lambda: self._launch(inputs, places, shape))
            else:
                self._launch(inputs, places, shape)
        if self.no_return:
            return None
        return outputs[0] if self.nout == 1 and not self.return_tuple else tuple(outputs)

    def _launch(self, inputs: list[Any], outputs: list[np.ndarray], shape: tuple[int, ...]) -> None:
        spread = []
        for x, parameter in zip(inputs, self.in_params, strict=True):
            if not isinstance(x, np.ndarray):
                x, value = np.empty((), parameter.dtype), x
                with np.errstate(over="ignore"):
                    x[()] = value  # Assign, do not cast: 2**31 does not fit into int32, and NaN is not an integer.
            spread.append(x if parameter.raw else np.broadcast_to(x, shape))
        for k, y in enumerate(outputs):
            if not y.flags.writeable or any(np.shares_memory(y, other) for other in outputs[:k]):
                raise ValueError(f"{self.name}: the entries of the outputs share memory, which is a race")
            if any(np.may_share_memory(x, y) and (x.shape != y.shape or not entrywise(x, y)) and np.shares_memory(x, y) for x in spread):
                raise ValueError(f"{self.name}: an output shares memory with other entries of an input, which is a race")
        flat = [np.ascontiguousarray(x) for x in (*spread, *outputs)]
        pointers = (ctypes.c_void_p * len(flat))(*[x.ctypes.data for x in flat])
        function = build(self.source)[self.name]
        function.argtypes, function.restype = [ctypes.c_ssize_t, ctypes.c_void_p], None
        function(int(np.prod(shape)), pointers)
        for y, computed in zip(outputs, flat[len(spread) :], strict=True):
            if computed.ctypes.data != y.ctypes.data:
                y[...] = computed.reshape(y.shape)


class ReductionKernel:
    """cupy.ReductionKernel for parameters of known dtypes: sums and extremes, which NumPy adds up in its own order."""

    RULES: ClassVar = {
        "a + b": np.add.reduce, "a > b || a != a ? a : b": np.maximum.reduce, "a < b || a != a ? a : b": np.minimum.reduce,
    }  # fmt: skip

    def __init__(
        self, in_params: str, out_params: str, map_expr: str, reduce_expr: str, post_map_expr: str, identity: str | None,
        name: str = "reduce_kernel", reduce_type: str | None = None, reduce_dims: bool = True, preamble: str = "",
        options: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        if not re.fullmatch("[a-zA-Z_][a-zA-Z_0-9]*", name):
            raise ValueError(f'Invalid kernel name: "{name}"')
        self.in_params, self.out_params = parameters(in_params), parameters(out_params)
        if len(self.out_params) != 1 or any(p.raw for p in self.in_params):
            raise NotImplementedError("the stand-in's reductions have one output and no raw operands")
        self.name, self.identity = name, identity
        (y,) = self.out_params
        half = FLOAT16 if INCLUDE in preamble or any(p.ctype == "float16" for p in (*self.in_params, y)) else ""
        arrays = "".join([f"{p.ctype}* _raw_{p.name} = ({p.ctype}*)_arrays[{k}];\n" for k, p in enumerate((*self.in_params, y))])
        kind = reduce_type or y.ctype  # of the values that are taken together
        names = {ctype: name for name, ctype in C_TYPES.items()}
        self.between = np.dtype(y.dtype if kind == "float" and y.ctype == "float16" else names[kind])  # NumPy adds halves as floats
        between = C_TYPES[self.between.name]
        if reduce_expr not in self.RULES:
            raise NotImplementedError(f"the stand-in's reductions know no {reduce_expr!r}")
        self.reduce = self.RULES[reduce_expr]
        head = f'{ON_THE_CPU}{CONSTANTS}{half}\n#line 1 "{name}.cu"\n{preamble.replace(INCLUDE, "")}\n'
        begin = "(ptrdiff_t _size, void** _arrays) {\n" + arrays + "for (ptrdiff_t i = 0; i < _size; ++i) {\n"
        operands = "\n".join([f"const {p.ctype} &{p.name} = _raw_{p.name}[i];" for p in self.in_params])
        self.source = (
            f'{head}extern "C" void {name}_map{begin}{operands}\n(({between}*)_arrays[{len(self.in_params)}])[i] = {between}({kind}({map_expr}));\n}}\n}}\n'
            f'extern "C" void {name}_post{begin}{y.ctype} &{y.name} = _raw_{y.name}[i];\n'
            f"{kind} a = (({between}*)_arrays[{len(self.in_params) + 1}])[i], b = {kind}({identity}); {post_map_expr};\n}}\n}}\n"
        )

    def __call__(self, *args: Any, axis: Any = None, out: Any = None, keepdims: bool = False, stream: Any = None) -> Any:
        if len(args) != len(self.in_params):
            raise TypeError(f"Wrong number of arguments for {self.name!r}. It must be {len(self.in_params)}")
        numbers = [operand(arg) for arg in args]
        arrays = [x for x, arg in zip(numbers, args, strict=True) if isinstance(arg, ndarray)]
        if not arrays:
            raise ValueError("Loop size is undecided.")
        for parameter, arg in zip(self.in_params, args, strict=True):
            if isinstance(arg, ndarray) and arg.dtype != parameter.dtype:
                raise TypeError(f"Type is mismatched. {parameter.name} {arg.dtype} {parameter.dtype}")
        shape = np.broadcast_shapes(*[x.shape for x in arrays])
        axes = tuple(range(len(shape))) if axis is None else tuple(np.atleast_1d(axis).tolist())
        if any(not 0 <= k < len(shape) for k in axes):
            raise np.exceptions.AxisError("Axis is out of bounds")
        if not np.prod(shape, dtype=int) and self.identity is None:
            raise ValueError(f"zero-size array to reduction operation {self.name} which has no identity")
        y = self._reduced(numbers, shape, axes, keepdims)
        noted((y,), lambda: self._reduced(numbers, shape, axes, keepdims))
        if out is not None:
            out._numbers[...] = y
            return out
        return wrap(y)

    def _reduced(self, numbers: list[Any], shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
        flat = []
        for x, parameter in zip(numbers, self.in_params, strict=True):
            whole = np.empty(shape, parameter.dtype)
            with np.errstate(over="ignore"):
                whole[...] = x
            flat.append(whole)
        mapped = np.empty(shape, self.between)
        self._run("map", [*flat, mapped])
        total = np.array(self.reduce(mapped, axis=axes, keepdims=keepdims))
        y = np.empty(total.shape, self.out_params[0].dtype)
        self._run("post", [*flat, y, total])
        return y

    def _run(self, part: str, arrays: list[np.ndarray]) -> None:
        pointers = (ctypes.c_void_p * len(arrays))(*[x.ctypes.data for x in arrays])
        function = build(self.source)[f"{self.name}_{part}"]
        function.argtypes, function.restype = [ctypes.c_ssize_t, ctypes.c_void_p], None
        function(arrays[-1].size, pointers)


def entrywise(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the entries of two arrays of one shape lie in the same places."""
    strides = zip(x.shape, x.strides, y.strides, strict=True)
    return x.ctypes.data == y.ctypes.data and x.itemsize == y.itemsize and all(n == 1 or a == b for n, a, b in strides)
