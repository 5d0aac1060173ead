"""The table of models: each network of `fdezero.models` in a small size. A model needs one row or more."""

from typing import Any

import numpy as np

import fdezero as fd
from fdezero import models

from .layer_row import Row


def _off_the_kinks(model: Any) -> Any:
    """The model with other biases: with biases of 0, whatever relu cut off gives exactly 0 in the next layer, where relu has its kink."""
    rng = np.random.default_rng(1)
    return fd.tree.map(lambda a: a + rng.uniform(0.05, 0.3, a.shape).astype(a.dtype) if a.ndim == 1 else a, model)


def _row(name: str, variant: str, shape: tuple[int, ...], **options: Any) -> Row:
    channels = shape[1]
    return Row(
        name,
        variant,
        lambda key, dtype: _off_the_kinks(getattr(models, name).init(key, 3, channels=channels, dtype=dtype, **options)),
        shape,
        order=1,  # the operations have their second derivatives in their own laws
    )


MODELS = [
    _row("LeNet", "", (2, 1, 12, 12), size=12),
    _row("VGG11", "checkpointed", (2, 1, 48, 40), size=32, width=1, hidden_size=4, checkpoint=True),
    _row("VGG11", "with norms", (2, 1, 64, 64), size=64, width=1, hidden_size=4, norm=True),
    _row("ResNet18", "checkpointed", (2, 1, 33, 33), width=2, checkpoint=True),
    _row("ResNet50", "of DeZero's form", (2, 1, 33, 33), width=1, form="dezero"),
    _row("SqueezeNet", "1.0", (2, 1, 24, 24), version="1.0", divide=16),
    _row("SqueezeNet", "1.1 checkpointed", (2, 1, 20, 24), divide=16, dropout=0.0, checkpoint=True),
    Row(
        "Transformer",
        "",
        lambda key, dtype: models.Transformer.init(key, 7, size=4, heads=2, layers=2, length=6, dropout=0.25, dtype=dtype),
        input=lambda dtype: np.random.default_rng(0).integers(0, 7, (2, 5)),
        order=1,
    ),
]
WITHOUT_A_ROW = {"VGG", "ResNet"}  # bases, which cannot be made
DEEPER = {"VGG13": "VGG11", "VGG16": "VGG11", "VGG19": "VGG11", "ResNet34": "ResNet18", "ResNet101": "ResNet50", "ResNet152": "ResNet50"}  # the same code with more blocks
