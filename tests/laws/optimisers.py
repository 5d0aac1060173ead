"""The table of optimisers: each transformation of `fdezero.optim` as a method with a rate. A transformation needs one row or more."""

from collections.abc import Callable
from typing import Any

from fdezero import optim

from .optimisers_wrapped import WAITING, WRAPPED


def _times(factor: float, lr: Any) -> Any:
    """A rate times a number."""
    return (lambda step: factor * lr(step)) if callable(lr) else factor * lr


# A row has the name of its transformation and, if needed, a word for the variant.
OPTIMISERS: dict[str, Callable[[Any], optim.GradientTransformation]] = {
    "adadelta": lambda lr: optim.adadelta(_times(20, lr), eps=1e-2),  # from zero moves, it begins slowly
    "adadelta_direction": lambda lr: optim.chain(optim.adadelta_direction(0.9, 1e-2), optim.descend(_times(20, lr))),
    "adafactor": optim.adafactor,
    "adafactor_direction": lambda lr: optim.chain(optim.adafactor_direction(0.5, 2.0, 1e-2), optim.descend(lr)),
    "adagrad": lambda lr: optim.adagrad(_times(3, lr)),
    "adagrad_direction": lambda lr: optim.chain(optim.adagrad_direction(1e-6, 0.1), optim.descend(_times(3, lr))),
    "adam": optim.adam,
    "adam of amsgrad": lambda lr: optim.adam(lr, amsgrad=True),
    "adamax": optim.adamax,
    "adamax_direction": lambda lr: optim.chain(optim.adamax_direction(0.8), optim.descend(lr)),
    "adamw": optim.adamw,
    "adamw of amsgrad": lambda lr: optim.adamw(lr, weight_decay=0.1, amsgrad=True),
    "chain": lambda lr: optim.chain(optim.clip_by_global_norm(1.0), optim.weight_decay(0.01), optim.adam(lr)),
    "clip_by_global_norm": lambda lr: optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(lr)),
    "descend": optim.descend,
    "descend by a schedule": lambda lr: optim.descend(lr if callable(lr) else lambda step: lr),
    "lamb": lambda lr: optim.lamb(lr, weight_decay=0.01),
    "lars": lambda lr: optim.lars(lr, weight_decay=0.01, coefficient=0.5),
    "lion": lambda lr: optim.lion(lr, weight_decay=0.01),
    "lion_direction": lambda lr: optim.chain(optim.lion_direction(0.5, 0.6), optim.descend(lr)),
    "moments as adamw": lambda lr: optim.chain(optim.moments(), optim.weight_decay(0.01), optim.descend(lr)),
    "momentum": optim.momentum,
    "momentum of nesterov": lambda lr: optim.momentum(lr, 0.8, nesterov=True),
    "nadam": optim.nadam,
    "nadam_direction": lambda lr: optim.chain(optim.nadam_direction(0.5, momentum_decay=0.1), optim.descend(lr)),
    "radam": optim.radam,
    "radam_direction": lambda lr: optim.chain(optim.radam_direction(0.8, 0.9), optim.descend(lr)),
    "rmsprop": optim.rmsprop,
    "rmsprop with momentum, centred": lambda lr: optim.rmsprop(lr, 0.9, momentum=0.5, centred=True),
    "rmsprop_direction": lambda lr: optim.chain(optim.rmsprop_direction(0.8), optim.descend(_times(0.5, lr))),
    "scale": lambda lr: optim.scale(-lr),
    "sgd": optim.sgd,
    "sign": lambda lr: optim.chain(optim.sign(), optim.descend(lr)),
    "sign_sgd": optim.sign_sgd,
    "trust_ratio": lambda lr: optim.chain(optim.trust_ratio(0.5), optim.descend(lr)),
    "velocity": lambda lr: optim.chain(optim.velocity(0.5), optim.descend(lr)),
    "weight_decay": lambda lr: optim.chain(optim.weight_decay(0.01), optim.momentum(lr)),
}
OPTIMISERS |= WRAPPED
SCHEDULED = [name for name in OPTIMISERS if name != "scale" and name not in WAITING]
