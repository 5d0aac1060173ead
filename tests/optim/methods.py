"""The table of methods: each with the loop of `references` that it must equal, and with its like in torch.optim and optax, if there is one."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fdezero import optim

from . import references


class Method(NamedTuple):
    """A method with settings. `torch` and `optax` make its like of their module, given parameters for torch."""

    ours: optim.GradientTransformation
    reference: Callable[..., Any]
    settings: dict[str, Any]
    torch: Callable[[Any, Any], Any] | None = None
    optax: Callable[[Any], Any] | None = None


METHODS: dict[str, Method] = {
    "sgd": Method(optim.sgd(), references.sgd, {"lr": 0.01}, lambda t, p: t.SGD(p, lr=0.01), lambda o: o.sgd(0.01)),
    "sign_sgd": Method(optim.sign_sgd(0.01), references.sign_sgd, {"lr": 0.01}, None, lambda o: o.sign_sgd(0.01)),
    "momentum": Method(
        optim.momentum(), references.momentum, {"lr": 0.01},
        lambda t, p: t.SGD(p, lr=0.01, momentum=0.9), lambda o: o.sgd(0.01, momentum=0.9),
    ),
    "momentum of nesterov": Method(
        optim.momentum(0.02, 0.7, nesterov=True), references.momentum, {"lr": 0.02, "decay": 0.7, "nesterov": True},
        lambda t, p: t.SGD(p, lr=0.02, momentum=0.7, nesterov=True), lambda o: o.sgd(0.02, momentum=0.7, nesterov=True),
    ),
    "adagrad": Method(
        optim.adagrad(), references.adagrad, {"lr": 1e-3},
        lambda t, p: t.Adagrad(p, lr=1e-3, eps=1e-8),  # optax adds eps below the root, as it does to Radam's
    ),
    "adagrad from 0.1": Method(
        optim.adagrad(0.1, 1e-10, 0.1), references.adagrad, {"lr": 0.1, "eps": 1e-10, "initial": 0.1},
        lambda t, p: t.Adagrad(p, lr=0.1, initial_accumulator_value=0.1), lambda o: o.adagrad(0.1, eps=0.0),
    ),
    "adadelta": Method(
        optim.adadelta(), references.adadelta, {"lr": 1.0},
        lambda t, p: t.Adadelta(p, lr=1.0, rho=0.95), lambda o: o.adadelta(1.0, rho=0.95),
    ),
    "adadelta with a rate": Method(
        optim.adadelta(0.5, 0.9, 1e-4), references.adadelta, {"lr": 0.5, "decay": 0.9, "eps": 1e-4},
        lambda t, p: t.Adadelta(p, lr=0.5, eps=1e-4), lambda o: o.adadelta(0.5, eps=1e-4),
    ),
    "rmsprop": Method(
        optim.rmsprop(), references.rmsprop, {"lr": 0.01}, lambda t, p: t.RMSprop(p), lambda o: o.rmsprop(0.01, decay=0.99, eps_in_sqrt=False),
    ),
    "rmsprop with momentum, centred": Method(
        optim.rmsprop(1e-3, 0.9, 1e-3, 0.8, True), references.rmsprop, {"lr": 1e-3, "decay": 0.9, "eps": 1e-3, "momentum": 0.8, "centred": True},
        lambda t, p: t.RMSprop(p, lr=1e-3, alpha=0.9, eps=1e-3, momentum=0.8, centered=True),
        lambda o: o.rmsprop(1e-3, decay=0.9, eps=1e-3, momentum=0.8, centered=True, eps_in_sqrt=False),
    ),
    "adam": Method(optim.adam(), references.adam, {"lr": 1e-3}, lambda t, p: t.Adam(p), lambda o: o.adam(1e-3)),
    "adam with other constants": Method(
        optim.adam(0.1, 0.8, 0.95, 1e-3), references.adam, {"lr": 0.1, "b1": 0.8, "b2": 0.95, "eps": 1e-3},
        lambda t, p: t.Adam(p, lr=0.1, betas=(0.8, 0.95), eps=1e-3), lambda o: o.adam(0.1, 0.8, 0.95, 1e-3),
    ),
    "adam of amsgrad": Method(
        optim.adam(0.01, 0.9, 0.9, amsgrad=True), references.adam, {"lr": 0.01, "b2": 0.9, "amsgrad": True},
        lambda t, p: t.Adam(p, lr=0.01, betas=(0.9, 0.9), amsgrad=True),  # optax compares mean squares after their correction
    ),
    "adamw": Method(
        optim.adamw(), references.adam, {"lr": 1e-3, "weight_decay": 0.01}, lambda t, p: t.AdamW(p), lambda o: o.adamw(1e-3, weight_decay=0.01)
    ),
    "adamw of amsgrad": Method(
        optim.adamw(0.01, weight_decay=0.3, amsgrad=True), references.adam, {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True},
        lambda t, p: t.AdamW(p, lr=0.01, weight_decay=0.3, amsgrad=True),
    ),
    "adamax": Method(optim.adamax(), references.adamax, {"lr": 2e-3}, lambda t, p: t.Adamax(p), lambda o: o.adamax(2e-3)),
    "adamax with other constants": Method(
        optim.adamax(0.01, 0.5, 0.9, 0.1), references.adamax, {"lr": 0.01, "b1": 0.5, "b2": 0.9, "eps": 0.1},
        lambda t, p: t.Adamax(p, lr=0.01, betas=(0.5, 0.9), eps=0.1), lambda o: o.adamax(0.01, 0.5, 0.9, 0.1),
    ),
    "nadam": Method(optim.nadam(), references.nadam, {"lr": 2e-3}, lambda t, p: t.NAdam(p)),  # optax does not have the schedule of momenta
    "nadam with other constants": Method(
        optim.nadam(0.01, 0.8, 0.9, 1e-4, 0.1), references.nadam, {"lr": 0.01, "b1": 0.8, "b2": 0.9, "eps": 1e-4, "momentum_decay": 0.1},
        lambda t, p: t.NAdam(p, lr=0.01, betas=(0.8, 0.9), eps=1e-4, momentum_decay=0.1),
    ),
    "radam": Method(optim.radam(), references.radam, {"lr": 1e-3, "eps": 1e-8}, lambda t, p: t.RAdam(p)),
    "radam with other constants": Method(
        optim.radam(0.01, 0.8, 0.9, 1e-10), references.radam, {"lr": 0.01, "b1": 0.8, "b2": 0.9, "eps": 1e-10},
        lambda t, p: t.RAdam(p, lr=0.01, betas=(0.8, 0.9), eps=1e-10), lambda o: o.radam(0.01, 0.8, 0.9, 1e-10),
    ),
    "radam that never rectifies": Method(optim.radam(0.01, b2=0.5), references.radam, {"lr": 0.01, "b2": 0.5}, lambda t, p: t.RAdam(p, lr=0.01, betas=(0.9, 0.5))),
    "lion": Method(optim.lion(), references.lion, {"lr": 1e-4}, None, lambda o: o.lion(1e-4, weight_decay=0.0)),
    "lion with other constants": Method(
        optim.lion(0.01, 0.6, 0.8, 0.2), references.lion, {"lr": 0.01, "b1": 0.6, "b2": 0.8, "weight_decay": 0.2}, None,
        lambda o: o.lion(0.01, 0.6, 0.8, weight_decay=0.2),
    ),
    "lamb": Method(
        optim.lamb(0.01, weight_decay=0.1), references.adam, {"lr": 0.01, "eps": 1e-6, "weight_decay": 0.1, "trusted": True}, None,
        lambda o: o.lamb(0.01, weight_decay=0.1),
    ),
    "lars": Method(
        optim.lars(0.1, weight_decay=0.01, coefficient=0.1), references.lars, {"lr": 0.1, "weight_decay": 0.01, "coefficient": 0.1}, None,
        lambda o: o.lars(0.1, weight_decay=0.01, trust_coefficient=0.1),
    ),
    "lars of nesterov": Method(
        optim.lars(1.0, 0.5, nesterov=True), references.lars, {"lr": 1.0, "decay": 0.5, "nesterov": True}, None,
        lambda o: o.lars(1.0, momentum=0.5, nesterov=True),
    ),
    "adafactor": Method(optim.adafactor(), references.adafactor, {"lr": 0.01}, lambda t, p: t.Adafactor(p, weight_decay=0.0)),
    "adafactor with other constants": Method(
        optim.adafactor(0.02, 0.5, 0.3, 2.0, 0.1), references.adafactor, {"lr": 0.02, "power": 0.5, "clip": 0.3, "least": 2.0, "weight_decay": 0.1},
        None, None,  # PyTorch decays weights before it looks at their size
    ),
}  # fmt: skip
