"""Operations and their interpreters: primitives, tracers, levels, and the rules of each kind of operation."""

from .kinds import (
    Elementwise,
    Linear,
    Multilinear,
    Nonlinear,
    Reduction,
    discrete,
    elementwise,
    linear,
    multilinear,
    nonlinear,
    reduction,
)
from .primitive import REGISTRY, Primitive
from .region import Region
from .tracer import Level, Tracer, unwrap

__all__ = [
    "REGISTRY",
    "Elementwise",
    "Level",
    "Linear",
    "Multilinear",
    "Nonlinear",
    "Primitive",
    "Reduction",
    "Region",
    "Tracer",
    "discrete",
    "elementwise",
    "linear",
    "multilinear",
    "nonlinear",
    "reduction",
    "unwrap",
]
