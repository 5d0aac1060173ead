"""CUDA sources compile with NVRTC, which does not need a GPU and gets the same text as from CuPy.

`compile_cuda(source)` serves tests of any code that writes CUDA; `kernel_source` makes a whole source from the pieces of a
`cupy.ElementwiseKernel`. Both work like CuPy, but without its headers.
"""

import ctypes
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdezero import numpy, special  # noqa: F401, which declare the operations
from fdezero.core import REGISTRY
from fdezero.devices import cuda

from ..laws.folding import folded, sharing
from .strict_cupy_kernel import CONSTANTS, FLOAT16, INCLUDE, loop, parameters

# CuPy's options without the architecture, which depends on the device.
OPTIONS = ["--gpu-architecture=compute_80", "-ftz=true", "--device-as-default-execution-space"]
HALVES = """
#define HALF_TO_FLOAT(v, bits) asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits))
#define DOUBLE_TO_HALF(bits, v) asm("cvt.rn.f16.f64 %0, %1;" : "=h"(bits) : "d"(v))
#define FLOAT_TO_HALF(bits, v) asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v))
"""
TYPES = {"f": ("float", "double"), "i": ("signed char", "unsigned int", "long long")}


def takes(primitive: Any, kind: str) -> bool:
    """Whether NumPy's ufunc of this name computes in such dtypes; other operations compute in floating ones."""
    types = getattr(getattr(np, primitive.name, None), "types", ["d->d"])
    return any(loop[0] in {"f": "d", "i": "l"}[kind] for loop in types)


EXPRESSIONS = [
    (name, kind)
    for name, primitive in REGISTRY.items()
    for of, kinds in TYPES.items()
    if getattr(primitive, "c", None) and primitive.expression({of}) and takes(primitive, of)
    for kind in kinds
]


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """The compiler as a library, from NVIDIA's package for CUDA 12 or 13; None if there is none."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in spec.submodule_search_locations or []] if spec else []
    patterns = ("*/lib/libnvrtc.so.*", "*/bin/nvrtc64_*.dll", "*/bin/*/nvrtc64_*.dll")
    files = [file for folder in folders for pattern in patterns for file in folder.glob(pattern)]
    for file in sorted(file for file in files if ".alt." not in file.name):
        try:
            for part in file.parent.glob("*nvrtc-builtins*"):  # Load it now; NVRTC looks it up by name later.
                ctypes.CDLL(str(part))
            return ctypes.CDLL(str(file))
        except OSError:  # The library is for another machine.
            continue
    return None


def compile_cuda(source: str) -> str:
    """The PTX of a CUDA source. Skips the test where NVRTC is not installed; AssertionError with its log if it refuses."""
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc-cu12): CUDA sources are compiled where it is")
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"source.cu", 0, None, None) == 0
    try:
        options = (ctypes.c_char_p * len(OPTIONS))(*[option.encode() for option in OPTIONS])
        failed = library.nvrtcCompileProgram(program, len(OPTIONS), options)
        assert not failed, f"{_text(library, 'ProgramLog', program)}\n{source}"
        return _text(library, "PTX", program)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _text(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    assert library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)) == 0
    text = ctypes.create_string_buffer(size.value)
    assert library[f"nvrtcGet{what}"](program, text) == 0
    return text.value.decode()


def kernel_source(in_params: str, out_params: str, operation: str, name: str = "kernel", preamble: str = "") -> str:
    """The CUDA source of `cupy.ElementwiseKernel(in_params, out_params, operation, name, preamble=preamble)` on plain arrays."""
    inputs, outputs = parameters(in_params), parameters(out_params)
    arguments = [f"const {p.ctype}* _raw_{p.name}" for p in inputs] + [f"{p.ctype}* _raw_{p.name}" for p in outputs]
    start, step = "(ptrdiff_t)blockIdx.x * blockDim.x + threadIdx.x", "(ptrdiff_t)blockDim.x * gridDim.x"
    half = HALVES + FLOAT16 if INCLUDE in preamble or any(p.ctype == "float16" for p in inputs + outputs) else ""
    preamble = preamble.replace(INCLUDE, "")
    return (
        f'{CONSTANTS}{half}\n#line 1 "{name}.cu"\n{preamble}\nextern "C" __global__ void {name}({", ".join(arguments)}, ptrdiff_t _size) '
        f"{{\n{loop(inputs, outputs, operation, f'for (ptrdiff_t i = {start}; i < _size; i += {step})')}\n}}\n"
    )


def test_the_kernel_of_random_numbers_compiles() -> None:
    assert ".entry fdezero_words" in compile_cuda(cuda.SOURCE)


@folded("expression", EXPRESSIONS, sharing(EXPRESSIONS, lambda expression: expression[0]))
def test_every_expression_compiles(expression: tuple[str, str]) -> None:
    name, kind = expression
    source = REGISTRY[name].expression({"f" if kind in TYPES["f"] else "i"})
    count = 1 + max(int(k) for k in re.findall(r"\bx(\d)\b", source) or [0])
    arguments = ", ".join(f"{kind} x{k}" for k in range(count))
    compile_cuda(f"__device__ {kind} f({arguments}) {{ return {source}; }}")


@pytest.mark.parametrize(
    "source", ["float f(float x) { return y; }", "float f(float x) { return fmax(x, 0.0); }", "double f() { return exp(1); }", "#error no"]
)
def test_invalid_cuda_is_refused_with_the_log(source: str) -> None:
    with pytest.raises(AssertionError, match="error") as caught:
        compile_cuda(source)
    assert source in str(caught.value)


def test_a_kernel_is_made_of_its_pieces() -> None:
    pieces = ("float32 x, int64 n0, bool m", "float32 y, float64 z", "y = twice(m ? x : 0); z = n0 * CUDART_INF", "pieces")
    preamble = "template <class T> T twice(T x) { return x + x; }"
    ptx = compile_cuda(kernel_source(*pieces, preamble))
    assert ".entry pieces" in ptx
    assert re.search(r"st\.global\.f32", ptx)
    assert re.search(r"st\.global\.f64", ptx)
    with pytest.raises(AssertionError, match='identifier "twice" is undefined'):
        compile_cuda(kernel_source(*pieces))


def test_inputs_of_a_kernel_are_constant_and_halves_are_floats() -> None:
    with pytest.raises(AssertionError, match=r"expression must be a modifiable lvalue"):
        compile_cuda(kernel_source("float32 x", "float32 y", "x = y"))
    assert "cvt.rn.f16.f32" in compile_cuda(kernel_source("float16 x0, float16 x1", "float16 y", "y = fmax(x0, x1) + exp(x0) * x1"))
    with pytest.raises(AssertionError, match=r"operand types are incompatible|more than one|ambiguous"):
        compile_cuda(kernel_source("float16 x", "float16 y", "y = x > 0 ? x : 0"))


# --- the stand-in for CuPy -------------------------------------------------------------------------------------------

ONE = (
    "exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh fabs abs floor ceil trunc "
    "rint round nearbyint erf erfc lgamma tgamma isnan isinf isfinite signbit rsqrt"
).split()
TWO = "pow fmod fmax fmin max min atan2 hypot copysign nextafter remainder fdim".split()
KINDS = ["float", "double", "int", "long long", "unsigned", "unsigned long long", "bool", "short"]
CALLS = [(f, (a,)) for f in ONE for a in KINDS] + [(f, (a, b)) for f in TWO for a in KINDS for b in KINDS] + [("fma", ("float",) * 3)]
TRY = """
template <class... T> constexpr auto try_NAME(int) -> decltype(NAME(T()...), 0) { return number<decltype(NAME(T()...))>; }
template <class... T> constexpr int try_NAME(...) { return 0; }
"""
# The table `called` has an entry for each of these calls: 0 for an invalid call, otherwise the kind of the result.
PROBE = "\n".join(
    [
        "template <class T> constexpr int number = -1;",
        *[f"template <> constexpr int number<{kind}> = {k + 1};" for k, kind in enumerate(KINDS)],
        *[TRY.replace("NAME", name) for name in [*ONE, *TWO, "fma"]],
        "constexpr int called[] = {",
        *[f"    try_{name}<{', '.join(kinds)}>(0)," for name, kinds in CALLS],
        "};",
    ]
)


def test_the_stand_in_for_cupy_has_the_functions_that_nvrtc_has(strict_cupy: Any) -> None:
    kernel = strict_cupy.ElementwiseKernel("int32 x", "int32 y", "static constexpr auto table = called; y = table[i]", preamble=PROBE)
    found = kernel(strict_cupy.zeros(len(CALLS), "int32")).get().tolist()
    assert 0 in found
    assert -1 not in found
    checks = [f'static_assert(called[{k}] == {y}, "{f}{kinds}");' for k, ((f, kinds), y) in enumerate(zip(CALLS, found, strict=True))]
    compile_cuda("\n".join([PROBE, *checks]))
