"""The table of optimisers: each transformation of `fdezero.optim` as a method with a rate. A transformation needs one row or more."""

from collections.abc import Callable
from typing import Any

from fdezero import optim

from .optimisers_wrapped import WAITING, WRAPPED

# A row has the name of its transformation and, if needed, a word for the variant.
OPTIMISERS: dict[str, Callable[[Any], optim.GradientTransformation]] = {
    "adam": optim.adam,
    "chain": lambda lr: optim.chain(optim.clip_by_global_norm(1.0), optim.weight_decay(0.01), optim.adam(lr)),
    "clip_by_global_norm": lambda lr: optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(lr)),
    "descend": optim.descend,
    "descend by a schedule": lambda lr: optim.descend(lr if callable(lr) else lambda step: lr),
    "moments as adamw": lambda lr: optim.chain(optim.moments(), optim.weight_decay(0.01), optim.descend(lr)),
    "momentum": optim.momentum,
    "momentum of nesterov": lambda lr: optim.momentum(lr, 0.8, nesterov=True),
    "scale": lambda lr: optim.scale(-lr),
    "sgd": optim.sgd,
    "velocity": lambda lr: optim.chain(optim.velocity(0.5), optim.descend(lr)),
    "weight_decay": lambda lr: optim.chain(optim.weight_decay(0.01), optim.momentum(lr)),
}
OPTIMISERS |= WRAPPED
SCHEDULED = [name for name in OPTIMISERS if name != "scale" and name not in WAITING]
