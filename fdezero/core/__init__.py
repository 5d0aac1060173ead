"""What an operation is, and who interprets it: primitives, tracers, levels, and the rules of each kind of operation."""

from .kinds import Elementwise, Linear, Multilinear, Reduction, discrete, elementwise, linear, multilinear, reduction
from .primitive import REGISTRY, Primitive
from .tracer import Level, Tracer, unwrap

__all__ = [
    "REGISTRY",
    "Elementwise",
    "Level",
    "Linear",
    "Multilinear",
    "Primitive",
    "Reduction",
    "Tracer",
    "discrete",
    "elementwise",
    "linear",
    "multilinear",
    "reduction",
    "unwrap",
]
