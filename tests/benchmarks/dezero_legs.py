"""The MNIST epoch in DeZero: as it is, where gradients become float64, and held to float32."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from .measure import peer

RATE = 0.01


def as_it_is(loader: Any, weights: list[np.ndarray]) -> Any:
    return _leg(loader, weights, np.dtype(np.int64), nullcontext)


def held_to_float32(loader: Any, weights: list[np.ndarray]) -> Any:
    """Labels as int16, whose one-hot rows do not widen float32; Python numbers made float32 in place of float64."""
    return _leg(loader, weights, np.dtype(np.int16), _narrow_numbers)


@contextmanager
def _narrow_numbers() -> Iterator[None]:
    core = peer("dezero.core")
    before = core.as_array
    core.as_array = lambda x, xp=np: xp.asarray(x, np.float32) if isinstance(x, int | float) else before(x, xp)
    try:
        yield
    finally:
        core.as_array = before


def _leg(loader: Any, weights: list[np.ndarray], label_dtype: np.dtype, context: Any) -> Any:
    if (dezero := peer("dezero")) is None:
        return None
    functions, models, optimizers = (peer(f"dezero.{name}") for name in ("functions", "models", "optimizers"))
    model = models.MLP((1000, 10), activation=functions.sigmoid)
    images, labels = loader.dataset[0], loader.dataset[1].astype(label_dtype)
    model(images[:2])  # makes W of each layer
    for layer, (W, b) in zip(model.layers, (weights[:2], weights[2:]), strict=True):
        layer.W.data, layer.b.data = W.copy(), b.copy()
    optimizer = optimizers.SGD(RATE).setup(model)

    def epoch(number: int) -> float:
        order, losses = loader.order(number), []
        with context():
            for start in range(0, loader.size, loader.batch_size):
                index = order[start : start + loader.batch_size]
                loss = functions.softmax_cross_entropy(model(images[index]), labels[index])
                model.cleargrads()
                loss.backward()
                optimizer.update()
                losses.append(float(loss.data))
        return statistics.fmean(losses)

    assert isinstance(model.layers[0].W, dezero.Parameter)
    return epoch
