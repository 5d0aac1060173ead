"""Chooses the operands and parameters of each operation in a random program from the existing values.

Parameters are plain data (numbers, strings, tuples of these, bodies of programs), so that a step prints as it is written.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

MOST = 120_000  # entries of one value


class Impossible(Exception):  # noqa: N818, not an error: the step is left out
    """No value fits as an operand, so the step is left out."""


class Choice:
    """The choices for one step from the existing `values`; no step has used those numbered `fresh` yet."""

    def __init__(self, draw: Callable[[Any], Any], values: Sequence[Any], fresh: Sequence[int], body: Callable[[Sequence[Any]], Any]) -> None:
        self.draw, self.values, self.fresh, self._body = draw, values, fresh, body

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def among(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def pick(self, kinds: str = "fbic", ndim: int = 0, where: Callable[[Any], bool] = lambda value: True) -> int:
        """The number of a value: any, a late one, or one not used yet, so that few results are wasted."""
        found = [i for i, v in enumerate(self.values) if kind_of(v) in kinds and np.ndim(v) >= ndim and where(v)]
        if not found:
            raise Impossible
        way = self.integer(0, 3)
        return int(self.among(found if way == 0 else found[-4:] if way == 1 else [i for i in found if i in self.fresh] or found))

    def axis(self, i: int) -> int:
        ndim = np.ndim(self.values[i])
        if not ndim:
            raise Impossible
        return self.integer(-ndim, ndim - 1)

    def axes(self, i: int) -> Any:
        ndim = np.ndim(self.values[i])
        kind = self.among(("one", "none", "several"))
        if kind == "none" or not ndim:
            return None
        return self.axis(i) if kind == "one" else tuple(sorted(self.draw(st.sets(st.integers(0, ndim - 1), min_size=1))))

    def body(self, examples: Sequence[Any]) -> Any:
        return self._body(examples)


def is_number(value: Any) -> bool:
    return not hasattr(value, "dtype")


def kind_of(value: Any) -> str:
    return np.dtype(type(value)).kind if is_number(value) else str(value.dtype.kind)


def together(*values: Any) -> bool:
    try:
        return int(np.prod(np.broadcast_shapes(*map(np.shape, values)))) <= MOST
    except ValueError:
        return False


# Elementwise
def one(kinds: str) -> Callable[[Choice], Any]:
    return lambda c: ((c.pick(kinds),), {})


def two(kinds: str) -> Callable[[Choice], Any]:
    def choose(c: Choice) -> Any:
        i = c.pick(kinds)
        first = c.values[i]
        j = c.pick(kinds, where=lambda v: together(v, first) and not (is_number(v) and is_number(first)))
        return ((j, i) if c.flag() else (i, j)), {}

    return choose


def power(c: Choice) -> Any:
    i = c.pick("f", where=lambda v: not is_number(v))
    return (i, c.pick("fi", where=lambda v: together(v, c.values[i]))), {}


def where(c: Choice) -> Any:
    i = c.pick("fib")
    j = c.pick("fib", where=lambda v: together(v, c.values[i]))
    return (c.pick("b", where=lambda v: together(v, c.values[i], c.values[j])), i, j), {}


def clip(c: Choice) -> Any:
    low = c.among((-1.0, -0.5, 0, None))
    return (c.pick("fi"),), {"low": low, "high": c.among((0.5, 1, 1.5) if low is None else (0.5, 1, 1.5, None))}


def clip_arrays(c: Choice) -> Any:
    i = c.pick("f", where=lambda v: not is_number(v))
    j = c.pick("f", where=lambda v: together(v, c.values[i]))
    return (i, j, c.pick("f", where=lambda v: together(v, c.values[i], c.values[j]))), {}


# Reductions
def reduced(kinds: str, *, empty: bool = False) -> Callable[[Choice], Any]:
    def choose(c: Choice) -> Any:
        i = c.pick(kinds, where=lambda v: empty or np.size(v) > 0)
        return (i,), {"axis": c.axes(i), "keepdims": c.flag()}

    return choose


def along(kinds: str) -> Callable[[Choice], Any]:
    def choose(c: Choice) -> Any:
        i = c.pick(kinds, ndim=1, where=lambda v: v.size > 0)
        return (i,), {"axis": c.axis(i)}

    return choose


# Shapes
def reshape(c: Choice) -> Any:
    i = c.pick(where=lambda v: not is_number(v))
    n = int(np.size(c.values[i]))
    if not n:
        return (i,), {"shape": (0, c.integer(1, 3))}
    a = c.among([k for k in range(1, 9) if n % k == 0])
    return (i,), {"shape": c.among(((-1,), (a, n // a), (n // a, 1, a), (1, n), (a, -1)))}


def transpose(c: Choice) -> Any:
    i = c.pick(ndim=2)
    return (i,), {"axes": tuple(c.draw(st.permutations(range(c.values[i].ndim))))}


def broadcast(c: Choice) -> Any:
    i = c.pick(where=lambda v: not is_number(v) and np.size(v) < MOST // 4)
    shape = tuple(c.integer(1, 3) if n == 1 else n for n in np.shape(c.values[i]))
    return (i,), {"shape": (c.integer(1, 3), *shape) if len(shape) < 3 and c.flag() else shape}


def index_entry(c: Choice, n: int) -> Any:
    if n and c.integer(0, 4) == 0:
        return c.integer(-n, n - 1)
    start, stop = c.among((None, 0, 1, -2)), c.among((None, n, n - 1, max(n // 2, 1)))
    return (stop, start, -1) if c.integer(0, 3) == 0 else (start, stop, c.among((None, 1, 2)))


def index(c: Choice) -> Any:
    i = c.pick(ndim=1)
    index = [index_entry(c, n) for n in c.values[i].shape[: c.integer(1, c.values[i].ndim)]]
    if c.integer(0, 4) == 0:
        index.insert(c.integer(0, len(index)), None)
    return (i,), {"index": tuple(index)}


def to_index(index: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(slice(*entry) if isinstance(entry, tuple) else entry for entry in index)


def is_small(v: Any) -> bool:
    return np.size(v) <= MOST // 4


def joined(c: Choice) -> Any:
    i = c.pick("fbi", ndim=1, where=is_small)
    axis, shape = c.axis(i), list(c.values[i].shape)

    def joins(v: Any) -> bool:
        other = list(v.shape)
        return len(other) == len(shape) and is_small(v) and all(a == b or k == axis % len(shape) for k, (a, b) in enumerate(zip(other, shape, strict=True)))

    return (i, *[c.pick("fbi", ndim=1, where=joins) for _ in range(c.integer(1, 2))]), {"axis": axis}


def stack(c: Choice) -> Any:
    i = c.pick("fi", where=lambda v: is_small(v) and not is_number(v))
    shape = c.values[i].shape
    return (i, c.pick("fi", where=lambda v: not is_number(v) and v.shape == shape)), {"axis": c.integer(-len(shape) - 1, len(shape))}


# Indexing by arrays
def take(c: Choice) -> Any:
    i = c.pick(ndim=1, where=lambda v: v.size > 0)
    axis, n = c.axis(i), c.values[i].size
    return (i, c.pick("i", where=lambda v: np.size(v) * n < MOST and not is_number(v))), {"axis": axis}


def take_along(c: Choice) -> Any:
    i = c.pick(ndim=1, where=lambda v: v.size > 0)
    axis, shape = c.axis(i), c.values[i].shape
    axis %= len(shape)

    def fits(v: Any) -> bool:
        return v.ndim == len(shape) and all(k == axis or n == m for k, (n, m) in enumerate(zip(v.shape, shape, strict=True)))

    return (i, c.pick("i", ndim=1, where=fits)), {"axis": axis}


def at(c: Choice) -> Any:
    i = c.pick("f", ndim=1, where=is_small)
    index = tuple(index_entry(c, n) for n in c.values[i].shape[:1])
    shape = c.values[i][to_index(index)].shape
    return (i, c.pick("fi", where=lambda v: np.broadcast_shapes(np.shape(v), shape) == shape if together(v, np.empty(shape)) else False)), {"index": index}


def at_array(c: Choice) -> Any:
    i = c.pick("f", ndim=1, where=lambda v: v.size > 0 and is_small(v))
    rest = int(np.prod(c.values[i].shape[1:]))
    return (i, c.pick("i", ndim=1, where=lambda v: v.size * rest < MOST // 4), c.pick("fi", where=lambda v: np.size(v) == 1 and not np.ndim(v))), {}


# Products
def matmul(c: Choice) -> Any:
    i = c.pick("fic", ndim=1)
    a = c.values[i]

    def multiplies(b: Any) -> bool:
        if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0] or not together(a[..., :1, :1] if a.ndim > 1 else 0, b[..., :1, :1] if b.ndim > 1 else 0):
            return False
        return a.size // max(a.shape[-1], 1) * b.size // max(a.shape[-1], 1) < MOST and a.ndim + b.ndim < 6

    return (i, c.pick("fic", ndim=1, where=multiplies)), {}


def matmul_to_array(c: Choice) -> Any:
    """Exclude two rows: NumPy gives a scalar for them, `fdezero.numpy` an array."""
    operands, _ = matmul(c)
    if all(c.values[i].ndim == 1 for i in operands):
        raise Impossible
    return operands, {}


def einsum(c: Choice) -> Any:
    i = c.pick("f", where=lambda v: np.ndim(v) == 2 and v.size < 3000)
    n = c.values[i].shape
    j = c.pick("f", where=lambda v: np.ndim(v) == 2 and v.shape[0] == n[1] and v.size < 3000)
    return (i, j), {"subscripts": c.among(("ij,jk->ik", "ij,jk->ki", "ij,jk->i", "ij,jk", "ij,jk->"))}


# Random draws, from explicit keys
def a_key(c: Choice) -> int:
    return c.pick("u", ndim=1)


def some_shape(c: Choice) -> tuple[int, ...]:
    return tuple(np.shape(c.values[c.pick("fbi")]))


def draw(c: Choice) -> Any:
    return (a_key(c),), {"shape": some_shape(c), "dtype": c.among(("float32", "float64", "float16"))}


def uniform(c: Choice) -> Any:
    i, j = c.pick("f"), c.pick("f", where=lambda v: not np.ndim(v))
    return (a_key(c), i, j), {"shape": tuple(np.shape(c.values[i])), "dtype": c.among(("float32", "float64"))}


def with_key(kinds: str, *, ndim: int = 0) -> Callable[[Choice], Any]:
    return lambda c: ((a_key(c), c.pick(kinds, ndim, lambda v: not is_number(v))), {})


def rate(c: Choice) -> Any:
    return (a_key(c), c.pick("f", where=lambda v: not is_number(v)), c.pick("f", where=lambda v: not np.ndim(v))), {}


# Losses, and a function with a custom rule
def labelled(c: Choice) -> Any:
    i = c.pick("f", ndim=1, where=lambda v: v.size > 0)
    return (i, c.pick("i", where=lambda v: not is_number(v) and np.shape(v) == c.values[i].shape[:-1])), {}


def targets(c: Choice) -> Any:
    i = c.pick("f", where=lambda v: np.size(v) > 0 and not is_number(v))
    return (i, c.pick("fib", where=lambda v: not is_number(v) and np.shape(v) == np.shape(c.values[i]))), {}


# Transforms within a program

def derived(c: Choice) -> Any:
    operands = tuple(c.pick("fbi", where=lambda v: np.size(v) < 3000 and not is_number(v)) for _ in range(c.integer(1, 3)))
    wrt = tuple(k for k, i in enumerate(operands) if kind_of(c.values[i]) == "f")
    if not wrt:
        raise Impossible
    return operands, {"body": c.body([c.values[i] for i in operands]), "wrt": wrt}


def small_array(c: Choice, kinds: str = "fbi", ndim: int = 0) -> int:
    return c.pick(kinds, ndim, where=lambda v: np.size(v) < 3000 and not is_number(v))


def scan(c: Choice) -> Any:
    carry = small_array(c, "f")
    xs = c.pick("fbic", ndim=1, where=lambda v: 0 < v.shape[0] < 9 and v.size < 3000)
    operands = (carry, xs, *[small_array(c, "fbic") for _ in range(c.integer(0, 2))])
    examples = [c.values[carry], c.values[xs][0], *[c.values[i] for i in operands[2:]]]
    return operands, {"body": c.body(examples), "reverse": c.flag()}


def cond(c: Choice) -> Any:
    operands = tuple(small_array(c, "fbic") for _ in range(c.integer(1, 3)))
    return (small_array(c, "f"), *operands), {"body": c.body([c.values[i] for i in operands])}


def checkpoint(c: Choice) -> Any:
    operands = tuple(small_array(c, "fbic") for _ in range(c.integer(1, 3)))
    return operands, {"body": c.body([c.values[i] for i in operands])}


def vmap(c: Choice) -> Any:
    i = c.pick("fbi", ndim=1, where=lambda v: 0 < v.shape[0] <= v.size < 3000)
    n = c.values[i].shape[0]
    operands = (i, *[c.pick("fbi", where=lambda v: np.size(v) < 3000 and not is_number(v)) for _ in range(c.integer(0, 2))])
    axes = tuple(0 if k == 0 or (np.shape(c.values[j])[:1] == (n,) and c.flag()) else None for k, j in enumerate(operands))
    examples = [c.values[j][:1].reshape(c.values[j].shape[1:]) if axis == 0 else c.values[j] for j, axis in zip(operands, axes, strict=True)]
    return operands, {"body": c.body(examples), "axes": axes}
