"""Optimisers as pure gradient transformations: `state = opt.init(params)`, `params, state = opt.step(params, grads, state)`."""

from .gradients import clip_by_global_norm, scale, weight_decay
from .methods.adam import adam
from .methods.momentum import momentum
from .methods.sgd import sgd
from .transformation import GradientTransformation, apply_updates, chain, global_norm

__all__ = [
    "GradientTransformation", "adam", "apply_updates", "chain", "clip_by_global_norm", "global_norm", "momentum", "scale", "sgd",
    "weight_decay",
]  # fmt: skip
