"""Gradients that are kept small: clipped by value, by the norm of each leaf or of all, by the size of what they change, or centred."""

from typing import Any

from .. import numpy as fnp
from .. import tree as trees
from ..ops.roots import length
from .leaves import global_norm, in_dtype_of, leafwise, magnitude, times, times_all, weak, widened
from .settings import Number, number
from .transformation import Stateless

__all__ = ["adaptive_clip", "centralise", "clip", "clip_by_global_norm", "clip_by_norm"]


class clip(Stateless):
    """Each entry limited to [-limit, limit]; of a complex entry both parts."""

    limit: Number = number(least=0)

    elementwise = True

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients, with large entries cut."""
        return trees.map(self._clipped, grads), state

    def _clipped(self, g: Any) -> Any:
        if getattr(getattr(g, "dtype", None), "kind", "") == "c" or isinstance(g, complex):
            return self._clipped(fnp.real(g)) + 1j * self._clipped(fnp.imag(g))
        g = widened(g)
        limit = in_dtype_of(g, self.limit)
        return fnp.clip(g, -limit, limit)


class clip_by_norm(Stateless):
    """Each leaf scaled down so that its own norm is at most `max_norm`; norms are computed as in `global_norm`."""

    max_norm: Number = number(least=0)

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients, with large leaves scaled down."""
        return trees.map(lambda g: times(g, _shrinking(global_norm(g), self.max_norm)), grads), state


class clip_by_global_norm(Stateless):
    """Gradients scaled down so that their global norm is at most `max_norm`."""

    max_norm: Number = number(least=0)

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients, scaled down if need be."""
        return times_all(grads, _shrinking(global_norm(grads), self.max_norm)), state


def _shrinking(norm: Any, most: Any) -> Any:
    """What brings something of this norm down to at most `most`: a factor of at most 1."""
    above = norm > most
    return weak(fnp.where(above, most / fnp.where(above, norm, 1), 1))  # the inner choice avoids 0 / 0 at norm 0


class adaptive_clip(Stateless):
    """Each row of a leaf scaled down so that its norm is at most `share` times that of the parameters, or times `eps` if that is more.

    A row is what makes one output: all axes but the last of a matrix (in, out), all but the first of a kernel (out, in, ...).
    A vector is one row, as in the authors' code.
    Source: Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization", ICML 2021.
    """

    share: Number = number(default=0.01, least=0)
    eps: Number = number(default=1e-3, least=0)

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients, with rows that are large beside their parameters scaled down."""
        return leafwise(self._clipped, grads, trees.trainable(params), names=("the parameter",)), state

    def _clipped(self, g: Any, p: Any) -> Any:
        g, most = widened(g), fnp.maximum(_row_norms(p), self.eps) * self.share
        norms = _row_norms(g)
        above = norms > most
        return g * in_dtype_of(g, fnp.where(above, most / fnp.where(above, norms, 1), 1))


def _row_norms(x: Any) -> Any:
    """The norm of every row, with axes of length 1."""
    x = magnitude(fnp.asarray(x))
    return length(x, axes=_summed(x.ndim) if x.ndim > 1 else tuple(range(-x.ndim, 0)), keepdims=True)


def _summed(ndim: int) -> tuple[int, ...]:
    return (-2,) if ndim == 2 else tuple(range(1 - ndim, 0))


class centralise(Stateless):
    """Gradients of matrices and kernels less their mean over all that goes into one output; vectors stay as they are.

    Source: Yong et al., "Gradient Centralization", ECCV 2020.
    """

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients, centred."""
        return trees.map(_centred, grads), state


def _centred(g: Any) -> Any:
    if getattr(g, "ndim", 0) < 2 or 0 in g.shape:
        return widened(g)
    g = widened(g)
    return g - fnp.mean(g, axis=_summed(g.ndim), keepdims=True)
