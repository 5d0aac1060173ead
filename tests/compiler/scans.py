"""Random loops: rounds with products of the carry, the xs and constants, gates that are slices, sums over the rounds, and many ys."""

from typing import Any

import attrs
import numpy as np
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp

SIZE, INPUTS = 3, 2  # of the state, of a row
# What comes together before the gates, from the state h, the row x and the weights.
TERMS = {
    "h @ W": lambda h, x, w: h @ w["W"],
    "x @ U": lambda h, x, w: x @ w["U"],
    "tanh(x) @ U": lambda h, x, w: np.tanh(x) @ w["U"],
    "h @ (2 V).T": lambda h, x, w: h @ (2 * w["V"]).T,
    "x @ U0 @ W": lambda h, x, w: (x @ w["U"][:, :SIZE]) @ w["W"],
    "b": lambda h, x, w: w["b"],
    "x": lambda h, x, w: x.sum(axis=-1, keepdims=True) * w["b"],
}
YS = {
    "h": lambda h, x, z: h,
    "z": lambda h, x, z: z,
    "x": lambda h, x, z: x,
    "a number": lambda h, x, z: h.sum(),
    "transposed": lambda h, x, z: np.swapaxes(z, -1, -2),
}
TOTALS = {
    "h": lambda h, x: h,
    "h.T @ x": lambda h, x: np.swapaxes(h, -1, -2) @ x,
    "x.T @ h + x.T @ h": lambda h, x: np.swapaxes(x, -1, -2) @ h + np.swapaxes(x, -1, -2) @ np.sin(h),
    "a sum of h": lambda h, x: h.sum(axis=-2),
    "rows": lambda h, x: x,
}


@attrs.frozen
class Loop:
    """A loop over the rows of xs: what a round computes, and its shapes. `gates` are slices of one array, which are multiplied."""

    terms: tuple[str, ...]
    gates: int
    ys: tuple[str, ...]
    totals: tuple[str, ...]
    length: int
    loops: tuple[int, ...]
    reverse: bool

    def arguments(self, seed: int) -> tuple[Any, ...]:
        """The weights, the first state and the xs."""
        rng = np.random.default_rng(seed)
        draw = lambda *shape: rng.uniform(-1, 1, shape)
        wide = self.gates * SIZE
        weights = {"W": draw(SIZE, wide), "U": draw(INPUTS, wide), "V": draw(wide, SIZE), "b": draw(wide)}
        return weights, draw(*self.loops, SIZE), draw(self.length, *self.loops, INPUTS)

    def run(self, weights: Any, state: Any, xs: Any) -> Any:
        """The last carry and the ys."""

        def body(carry: Any, x: Any) -> Any:
            h, totals = carry
            z = sum(TERMS[name](h, x, weights) for name in self.terms)
            first, *others = [z[..., i * SIZE : (i + 1) * SIZE] for i in range(self.gates)]
            new = np.tanh(first + h)
            for other in others:
                new = new * F.sigmoid(other) + h * 0.5
            added = [total + TOTALS[name](new, x) for name, total in zip(self.totals, totals, strict=True)]
            return (new, added), [YS[name](h, x, z) for name in self.ys]

        start = [fnp.zeros_like(TOTALS[name](state, xs[0])) for name in self.totals]
        return fd.scan(body, (state, start), xs, reverse=self.reverse)

    def loss(self, weights: Any, state: Any, xs: Any) -> Any:
        return sum(fnp.sum(y * y) for y in fd.tree.leaves(self.run(weights, state, xs)))


def loops() -> st.SearchStrategy[Loop]:
    return st.builds(
        Loop,
        st.lists(st.sampled_from(sorted(TERMS)), min_size=1, max_size=3, unique=True).map(tuple),
        st.integers(1, 4),
        st.lists(st.sampled_from(sorted(YS)), max_size=2).map(tuple),
        st.lists(st.sampled_from(sorted(TOTALS)), max_size=2).map(tuple),
        st.integers(1, 4),
        st.sampled_from([(2,), (1,), (5,), (2, 3)]),
        st.booleans(),
    )
