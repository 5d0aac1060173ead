"""The methods: scale, sgd, momentum, adam, clip_by_global_norm, weight_decay.

A learning rate is a number, a 0-d array, or a schedule: a function of the step, counted from 0.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from .transformation import GradientTransformation, Scaling, chain, global_norm, in_dtype_of, stateless, times, weak

Rate: TypeAlias = Any  # float | Array | Callable[[step], float | Array]


class Count(NamedTuple):
    """The number of steps taken, int64."""

    step: Any


class Trace(NamedTuple):
    """The running sum of gradients, a tree like them."""

    velocity: Any


class Moments(NamedTuple):
    """Adam's state: the steps taken, and the running means of gradients and of their squares."""

    step: Any
    mean: Any
    square: Any


def scale(factor: Any) -> GradientTransformation:
    """Gradients times a number."""
    factor = weak(factor)
    return Scaling(lambda params: (), lambda grads, state, params: (_times_all(grads, factor), state), factor)


def _times_all(tree: Any, factor: Any) -> Any:
    return trees.map(lambda x: times(x, factor), tree)


def sgd(lr: Rate) -> GradientTransformation:
    """params - lr * grads."""
    if not callable(lr):
        return scale(-lr)

    def update(grads: Any, state: Count, params: Any) -> tuple[Any, Count]:
        return _times_all(grads, weak(-lr(state.step))), Count(state.step + 1)

    return GradientTransformation(lambda params: Count(np.int64(0)), update)


def momentum(lr: Rate, decay: float = 0.9, nesterov: bool = False) -> GradientTransformation:
    """Gradient descent along v = decay * v + g, or with `nesterov` along decay * v + g after that (Sutskever et al. 2013)."""
    decay = weak(decay)

    def init(params: Any) -> Trace:
        return Trace(trees.map(fnp.zeros_like, trees.trainable(params)))

    def update(grads: Any, state: Trace, params: Any) -> tuple[Any, Trace]:
        velocity = trees.map(lambda g, v: times(v, decay) + g, grads, state.velocity, names=("grads", "the state's velocity"))
        moves = trees.map(lambda g, v: times(v, decay) + g, grads, velocity) if nesterov else velocity
        return moves, Trace(velocity)

    return chain(GradientTransformation(init, update), sgd(lr))


def adam(lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """Adam with bias correction. Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1, computed in the order of its section 2.

    With decoupled weight decay (AdamW): `chain(adam(1.0), weight_decay(-rate), scale(lr))`.
    """
    b1, b2, eps = weak(b1), weak(b2), weak(eps)

    def init(params: Any) -> Moments:
        zeros = trees.map(fnp.zeros_like, trees.trainable(params))
        return Moments(np.int64(0), zeros, zeros)

    def update(grads: Any, state: Moments, params: Any) -> tuple[Any, Moments]:
        names = ("grads", "the state's moments")
        step = state.step + 1
        mean = trees.map(lambda g, m: times(m, b1) + times(g, 1 - b1), grads, state.mean, names=names)
        square = trees.map(lambda g, s: times(s, b2) + times(fnp.square(g), 1 - b2), grads, state.square, names=names)
        root = fnp.sqrt(1 - b2**step)
        rate, floor = weak(root / (1 - b1**step)), weak(eps * root)
        moves = trees.map(lambda m, s: times(m, rate) / (fnp.sqrt(s) + in_dtype_of(s, floor)), mean, square)
        return moves, Moments(step, mean, square)

    return chain(GradientTransformation(init, update), sgd(lr))


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Gradients scaled down so that their global norm is at most `max_norm`."""

    def clip(grads: Any, params: Any) -> Any:
        norm = global_norm(grads)
        above = norm > max_norm
        return _times_all(grads, weak(fnp.where(above, max_norm / fnp.where(above, norm, 1), 1)))  # no 0 / 0 at norm 0

    return stateless(clip)


def weight_decay(rate: float) -> GradientTransformation:
    """rate * params added to the gradients of all leaves: L2 regularisation, as in `chain(weight_decay(1e-4), sgd(0.1))`."""
    rate = weak(rate)

    def decay(grads: Any, params: Any) -> Any:
        return trees.map(lambda g, p: g + times(p, rate), grads, trees.trainable(params), names=("grads", "params"))

    return stateless(decay)
