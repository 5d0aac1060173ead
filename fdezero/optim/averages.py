"""Averages of parameters over steps, beside the model: exponential, Polyak's, and those of stochastic weight averaging."""

from typing import Any, TypeVar, dataclass_transform

import attrs
import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..numpy.elementwise import cast
from ..tree import static
from .leaves import in_dtype_of, leafwise, weak, widened
from .settings import Number, Settings, checked_state, number

__all__ = ["Averages", "ema", "polyak", "swa"]

Model = TypeVar("Model")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field, static, number))
class Averages(Settings):
    """Base of averages: `init(model) -> state`, `update(state, model) -> state` and `read(state, model) -> model`, pure functions.

    The state is a dict of `mean`, a tree like the gradients of the model, and `step`, the number of updates. Means of float16
    parameters are float32. A subclass has `share(step)`.
    """

    def share(self, step: Any) -> Any:
        """What part of the new mean the model has, after `step` updates: 1 for the first update."""
        raise NotImplementedError(f"{type(self).__name__} needs a method share(step).")

    def init(self, model: Any) -> dict[str, Any]:
        """The state before the first update: the model itself."""
        return {"step": np.int64(0), "mean": trees.map(lambda p: widened(p) * 1, trees.trainable(model))}

    def update(self, state: dict[str, Any], model: Any) -> dict[str, Any]:
        """The state with another model in the mean."""
        checked_state(state, ("mean", "step"), type(self).__name__)
        share = weak(self.share(state["step"]))

        def mixed(p: Any, mean: Any) -> Any:
            p = widened(p)
            return mean + (p - mean) * in_dtype_of(p, share)

        mean = leafwise(mixed, trees.trainable(model), state["mean"], names=("the average",), first="the model")
        return {"step": state["step"] + 1, "mean": mean}

    def read(self, state: dict[str, Any], model: Model) -> Model:
        """The model with its parameters averaged, in their dtypes. Integers, frozen layers and statistics are those of `model`.

        After weight averaging, statistics of batch normalisation belong to other weights: run `nn.step` over some batches.
        """
        checked_state(state, ("mean", "step"), type(self).__name__)
        leaves, treedef = trees.flatten_trainable(model)
        means, structure = trees.flatten_trainable(state["mean"])
        if structure != treedef:
            raise trees.structure_error(trees.trainable(model), state["mean"], "the model", "the average")
        return trees.unflatten(treedef, [p if m is None else _like(p, m) for p, m in zip(leaves, means, strict=True)])


def _like(p: Any, mean: Any) -> Any:
    """The mean in the dtype of the parameter, in memory of its own."""
    return (
        cast(mean, p.dtype)
        if getattr(p, "dtype", None) != getattr(mean, "dtype", None) and hasattr(p, "dtype")
        else mean * 1
    )


class ema(Averages):
    """The exponential moving average: each update takes 1 - decay of the model.

    With `debias` the mean is that of the models so far, weighted by decay**age; the model at the start does not count. Without it
    the mean begins at that model, and needs about 1 / (1 - decay) updates to forget it.
    """

    decay: Number = number(default=0.999, least=0, below=1)
    debias: bool = static(default=True)

    def share(self, step: Any) -> Any:
        """(1 - decay) / (1 - decay**(step + 1)), which is 1 for the first update; 1 - decay without `debias`."""
        return (1 - self.decay) / (1 - self.decay ** (step + 1)) if self.debias else 1 - self.decay


class polyak(Averages):
    """The plain mean of all models so far, from the update `start` on; before, the newest model.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """

    start: Number = number(default=0, least=0, whole=True)

    def share(self, step: Any) -> Any:
        """1 / n for the nth model that counts."""
        return 1 / fnp.maximum(step - self.start + 1, 1)


class swa(Averages):
    """Stochastic weight averaging: the plain mean of every `every`th model from the update `start` on; before, the newest model.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
    """

    start: Number = number(least=0, whole=True)
    every: Number = number(default=1, least=1, whole=True)

    def share(self, step: Any) -> Any:
        """1 / n for the nth model that counts, 0 for models in between, and 1 before the start."""
        since = step - self.start
        counted = fnp.where(since % self.every == 0, 1 / (fnp.maximum(since, 0) // self.every + 1), 0.0)
        return fnp.where(since < 0, 1.0, counted)
