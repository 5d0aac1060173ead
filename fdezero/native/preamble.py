"""What every C++ source starts with: the types of arrays' entries, their data pointers, and the functions of the C library."""

import functools
from pathlib import Path

from ..values import C_TYPES

# Functions of the C library: those of one argument, those of two, and those that compilers turn into instructions.
ONE = "exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh cbrt erf erfc".split()
TWO = "pow atan2 hypot fmod".split()
IN_VECTORS_OF_TWO = ("pow", "atan2", "hypot")
IN_PLACE = {
    **dict.fromkeys("sqrt fabs floor ceil trunc rint".split(), 1),
    **dict.fromkeys("fmax fmin copysign nextafter".split(), 2),
}
TESTS = ("isnan", "isinf", "isfinite", "signbit")
KNOWN = {*ONE, *TWO, *IN_PLACE, *TESTS, "sizeof"}
# Functions that `functions.cpp` has in plain arithmetic.
OWN = "exp exp2 expm1 log log2 log10 log1p sinh cosh tanh asinh acosh atanh".split()

# What sources share. Vectors are read and written by a copy, because numbers may lie anywhere. (Clang forgets in a template that a type
# says so.)
SHARED = """\
#define INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
template <class V, class T> static INLINE V load(const T *p) { V a; __builtin_memcpy(&a, p, sizeof a); return a; }
template <class V, class T> static INLINE void store(T *p, V a) { __builtin_memcpy(p, &a, sizeof a); }"""

# Copies past the caches, of a whole stretch of a result that begins on a line of memory. Any other stretch is copied as usual.
STRETCH = 64  # entries: longer stretches would let the processor wait for memory in turn with its stores
STREAMS = f"""\
#if defined(__AVX512F__)
typedef long long line_ __attribute__((vector_size(64), may_alias));
#define PUT(p, a) __builtin_ia32_movntdq512(p, a)
#elif defined(__AVX__)
typedef long long line_ __attribute__((vector_size(32), may_alias));
#define PUT(p, a) __builtin_ia32_movntdq256(p, a)
#elif defined(__SSE2__)
typedef long long line_ __attribute__((vector_size(16), may_alias));
#define PUT(p, a) __builtin_ia32_movntdq(p, a)
#else
typedef long long line_ __attribute__((vector_size(16), may_alias));
#define PUT(p, a) store(p, a)
#endif
#ifdef __clang__
#undef PUT
#define PUT(p, a) __builtin_nontemporal_store(a, p)
#endif
template <class T> static INLINE void stream(T *to, const T *from, long long count) {{
    if (count != {STRETCH} || (unsigned long long)to % 64) {{ __builtin_memcpy(to, from, count * sizeof(T)); return; }}
    UNROLL for (unsigned k = 0; k < {STRETCH} * sizeof(T); k += sizeof(line_))
        PUT((line_ *)((char *)to + k), load<line_>((const char *)from + k));
}}
static inline void streamed() {{
#ifdef __SSE2__
    __builtin_ia32_sfence();
#endif
}}"""


def own_functions() -> str:
    """Functions in plain arithmetic, which any compiler makes vectors of."""
    return (Path(__file__).parent / "functions.cpp").read_text(encoding="utf-8")


@functools.cache
def preamble(own: bool = False) -> str:
    """Definitions in front of every source. An array's data pointer follows the head of its Python object.

    With `own`, exponentials and logarithms are the library's own, because the C library has no vector forms of them.
    """
    lines = ["#ifndef VECTOR", "#define VECTOR", "#endif"]
    types = {**C_TYPES, "bool": "unsigned char"}
    lines += [
        f"typedef {c_type} {name}_ __attribute__((aligned(1)));" for name, c_type in types.items() if name != "float16"
    ]
    lines += [f"#define DATA(type, x) (*(type **)((char *)(x) + {object.__basicsize__}))"]
    for end, suffix in (("", ""), ("_F", "f")):
        lines += [
            f"#define CUDART_INF{end} __builtin_inf{suffix}()",
            f'#define CUDART_NAN{end} __builtin_nan{suffix}("")',
        ]
    lines += [f"#define {name}(x) __builtin_{name}(x)" for name in TESTS]
    for name, count in [*dict.fromkeys(ONE, 1).items(), *dict.fromkeys(TWO, 2).items(), *IN_PLACE.items()]:
        of = lambda c_type, count=count: ", ".join([f"{c_type} x{i}" for i in range(count)])
        given = ", ".join([f"x{i}" for i in range(count)])
        vector = "VECTOR " if name in ONE or name in IN_VECTORS_OF_TWO else ""
        lines.append(
            f'extern "C" {{ {vector}double {name}({of("double")}) noexcept; {vector}float {name}f({of("float")}) noexcept; }}'
        )
        lines.append(f"static inline float {name}({of('float')}) {{ return {name}f({given}); }}")
    lines += [SHARED, STREAMS]
    if own:
        lines += [own_functions(), *[f"#define {name}(x) own::{name}(x)" for name in OWN]]
    return "\n".join(lines)
