"""Draws odd arguments for random calls: arrays of every kind and layout, axes, dtypes, indices, settings.

A drawer is a function of a `Draw`, which knows what has been drawn before. `call(drawer, ..., name=drawer, ...)` puts drawers
together: those by position are always drawn, the named ones sometimes.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

Drawer = Callable[["Draw"], Any]
KINDS = {
    "b": ("bool",), "i": ("int8", "int16", "int32", "int64"), "u": ("uint8", "uint16", "uint32", "uint64"),
    "f": ("float16", "float32", "float64"), "c": ("complex64", "complex128"),
}  # fmt: skip
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0)
OPTIONAL = 0.3  # how often an optional argument is given


class Draw:
    """The state of one draw: its random numbers, and the arrays drawn so far, which are the call's traceable arguments."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.arrays: list[np.ndarray] = []
        self.first: Any = None  # the first array, number or list

    @property
    def ndim(self) -> int:
        return 0 if self.first is None else int(np.ndim(self.first))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, *options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def shape(self, low: int = 0, high: int = 3) -> tuple[int, ...]:
        return tuple(0 if self.chance(0.04) else self.integer(1, 4) for _ in range(self.integer(low, high)))

    def dtype(self, kinds: str) -> np.dtype:
        kind = self.pick(*kinds, *("f" * kinds.count("f")))  # floating numbers twice as often
        return np.dtype(self.pick(*KINDS[kind], *KINDS[kind][-1:]))

    def values(self, shape: tuple[int, ...], dtype: np.dtype, special: bool = True) -> np.ndarray:
        """Numbers near 0, often equal ones; a part of the arrays holds NaN, infinities or extreme numbers."""
        x = self.rng.integers(-3, 6, shape) / self.pick(1, 2, 4) if self.chance(0.6) else 2 * self.rng.standard_normal(shape)
        if dtype.kind == "c":
            x = x + 1j * (self.rng.integers(-2, 3, shape) if self.chance(0.6) else self.rng.standard_normal(shape))
        if special and dtype.kind in "fc" and self.chance(0.25):
            x = np.where(self.rng.random(shape) < 0.4, self.rng.choice(SPECIAL, shape), x)
        if dtype.kind == "u":
            x = np.abs(x)
        if dtype.kind in "iu" and special and self.chance(0.1):
            limits = np.iinfo(dtype)
            return np.where(self.rng.random(shape) < 0.4, self.rng.choice(np.array([limits.min, limits.max], dtype), shape), x.astype(dtype)).astype(dtype)
        return np.asarray(x > 0.4 if dtype.kind == "b" else x, dtype)

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        """The same values in another layout: Fortran order, negative strides, every second entry, a broadcast view."""
        way = self.integer(0, 9)
        if not x.ndim or way > 4:
            return x
        if way == 0:
            return np.asfortranarray(x)
        if way == 1:
            return np.ascontiguousarray(x[::-1])[::-1]
        if way == 2:
            return np.repeat(x, 2, axis=-1)[..., ::2]
        if way == 3:
            x = x.copy()
            x.flags.writeable = False
            return x
        return np.broadcast_to(x[:1], x.shape)

    def array(self, kinds: str = "biufc", shape: Any = None, odd: bool = True, special: bool = True) -> Any:
        """An array of one of the `kinds`; with `odd`, sometimes a Python number or a list in its place."""
        shape = self.shape() if shape is None else tuple(shape)
        dtype = self.dtype(kinds)
        x = self.values(shape, dtype, special)
        if odd and self.chance(0.12):
            return self.noted(x.tolist(), traceable=False)
        x = self.laid_out(x)
        if odd and shape == () and self.chance(0.3):
            x = x[()]
        return self.noted(x)

    def noted(self, x: Any, traceable: bool = True) -> Any:
        """`x`, remembered."""
        self.first = x if self.first is None else self.first
        if traceable:
            self.arrays.append(x)
        return x


def array(kinds: str = "biufc", low: int = 0, high: int = 3, *, odd: bool = True, special: bool = True) -> Drawer:
    """An array with `low` to `high` axes."""
    return lambda d: d.array(kinds, d.shape(low, high), odd, special)


def beside(kinds: str = "biufc", *, odd: bool = True, special: bool = True) -> Drawer:
    """An array that broadcasts with the first one, or, rarely, does not."""

    def draw(d: Draw) -> Any:
        shape = np.shape(d.first)
        if d.chance(0.05):
            return d.array(kinds, d.shape(), odd, special)
        shape = tuple(1 if d.chance(0.2) else n for n in shape)[d.integer(0, len(shape)) if d.chance(0.4) else 0 :]
        return d.array(kinds, shape, odd, special)

    return draw


def like(kinds: str = "biufc", *, odd: bool = True, special: bool = True) -> Drawer:
    """An array of the first one's shape."""
    return lambda d: d.array(kinds, np.shape(d.first), odd, special)


def line(kinds: str = "iuf", low: int = 0, high: int = 5, *, ordered: bool = False, odd: bool = True, special: bool = True) -> Drawer:
    """A vector."""

    def draw(d: Draw) -> Any:
        shape = (d.integer(low, high),)
        if not ordered:
            return d.array(kinds, shape, odd, special)
        x = np.sort(d.values(shape, d.dtype(kinds), special))
        return d.noted(x)

    return draw


def square(kinds: str = "iufc", *, positive: bool = False, special: bool = False) -> Drawer:
    """A batch of square matrices, far from singular; with `positive`, Hermitian and positive definite."""

    def draw(d: Draw) -> Any:
        n = d.integer(1, 4) if d.chance(0.95) else 0
        dtype = d.dtype(kinds)
        x = d.values((*d.shape(0, 1), n, n), dtype, special)
        if positive:
            x = (x + np.swapaxes(x, -1, -2).conj()) / 2 if dtype.kind in "fc" else x + np.swapaxes(x, -1, -2)
            x = np.asarray(x + 12 * np.eye(n), dtype)
        elif d.chance(0.8):
            x = np.asarray(x + np.eye(n) * d.pick(9, 12), dtype)
        x = d.laid_out(x) if not positive else x
        if d.chance(0.03):
            x = x[..., :-1, :] if n > 1 else x
        return d.noted(x)

    return draw


def axis(none: bool = False) -> Drawer:
    """An axis of the first array, rarely one out of range."""

    def draw(d: Draw) -> Any:
        if none and d.chance(0.15):
            return None
        n = max(d.ndim, 1)
        found = d.integer(-n, n - 1) if d.chance(0.95) else d.pick(n, -n - 1, 7)
        return np.int64(found) if d.chance(0.1) else found

    return draw


def axes(none: bool = True) -> Drawer:
    """Several axes of the first array, one, or None; rarely one twice or out of range."""

    def draw(d: Draw) -> Any:
        if d.chance(0.5):
            return axis(none)(d)
        n = max(d.ndim, 1)
        if d.chance(0.07):
            return (0, d.pick(0, n, -n, 5))
        chosen = d.rng.permutation(d.ndim)[: d.integer(0, d.ndim)]
        return tuple(int(a) - (d.ndim if d.chance(0.3) else 0) for a in chosen)

    return draw


def permutation(d: Draw) -> Any:
    """An order of the first array's axes."""
    order = [int(a) - (d.ndim if d.chance(0.3) else 0) for a in d.rng.permutation(d.ndim)]
    return tuple(order[:-1] if d.chance(0.04) else order)


def flag(d: Draw) -> bool:
    return d.chance(0.6)


def integer(low: int, high: int) -> Drawer:
    """An integer from `low` to `high`, both included."""
    return lambda d: d.integer(low, high)


def one_of(*options: Any) -> Drawer:
    """One of the values; a drawer among them is drawn from."""

    def draw(d: Draw) -> Any:
        found = d.pick(*options)
        return found(d) if isinstance(found, FunctionType) else found

    return draw


def dtype(kinds: str = "biufc") -> Drawer:
    return lambda d: d.pick(d.dtype(kinds), str(d.dtype(kinds)), d.dtype(kinds).type)


def number(d: Draw) -> Any:
    """A Python number or a NumPy scalar."""
    return d.pick(0, 1, -2, 0.5, -0.0, True, 2.5, np.float32(0.5), np.int8(3))


def mask(d: Draw) -> Any:
    """Truth values that broadcast to the first array."""
    return beside("b", odd=False)(d)


def listed(drawer: Drawer, low: int = 1, high: int = 3) -> Drawer:
    """A list or tuple of several."""
    return lambda d: d.pick(list, tuple)([drawer(d) for _ in range(d.integer(low, high))])


def indices(d: Draw) -> Any:
    """Integers within the first array's last axis, rarely outside: a number, a list, or an array."""
    size = np.shape(d.first)[-1] if d.ndim else 1
    low, high = -max(size, 1), max(size, 1) - 1 + d.chance(0.05)
    x = d.rng.integers(low, high + 1, d.shape(0, 2))
    return int(x) if not x.ndim else x.tolist() if d.chance(0.4) else x.astype(d.pick("int8", "int64", "int32"))


Call = Callable[[Draw], tuple[list[Any], dict[str, Any]]]


def call(*required: Drawer, **optional: Drawer) -> Call:
    """Arguments by position, then optional ones by NumPy's names."""

    def draw(d: Draw) -> tuple[list[Any], dict[str, Any]]:
        args = [drawer(d) for drawer in required]
        return args, {name: drawer(d) for name, drawer in optional.items() if d.chance(OPTIONAL)}

    return draw
