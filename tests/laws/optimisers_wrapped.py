"""Rows of the table of optimisers: what stands before a method, around it, or beside it for other leaves."""

from collections.abc import Callable
from typing import Any

import fdezero as fd
from fdezero import optim

WRAPPED: dict[str, Callable[[Any], optim.GradientTransformation]] = {
    "accumulate": lambda lr: optim.accumulate(optim.adam(lr), 2),
    "adaptive_clip": lambda lr: optim.chain(optim.adaptive_clip(1.0), optim.momentum(lr)),
    "by_path": lambda lr: optim.by_path({...: optim.chain(optim.clip_by_global_norm(2.0), optim.momentum(lr))}),
    "centralise": lambda lr: optim.chain(optim.centralise(), optim.sgd(lr)),
    "clip": lambda lr: optim.chain(optim.clip(1.0), optim.sgd(lr)),
    "clip_by_norm": lambda lr: optim.chain(optim.clip_by_norm(1.0), optim.momentum(lr)),
    "lookahead": lambda lr: optim.lookahead(optim.sgd(lr), 2, 0.8),
    "monitor": lambda lr: optim.monitor(optim.adam(lr)),
    "sharded": lambda lr: optim.sharded(optim.adam(lr), fd.distributed.world("none"), least=2),
    "skip_nonfinite": lambda lr: optim.skip_nonfinite(optim.adam(lr), 3),
    "weight_decay of matrices": lambda lr: optim.chain(optim.weight_decay(0.01, lambda path, leaf: getattr(leaf, "ndim", 0) > 1), optim.sgd(lr)),
}
WAITING = {"accumulate": 2}  # the number of calls for a step
PARTIAL = {"centralise"}  # which never moves the mean of a matrix
WITHOUT_A_ROW = {"freeze": "it needs paths of one model: tests/optim/test_masks.py"}
