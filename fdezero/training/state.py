"""`State`: everything that a training run needs to go on, as one frozen tree."""

from typing import Any, Self

from ..errors import StructureError
from ..messages import describe
from ..tree import Module

__all__ = ["State"]


class State(Module):
    """The state of a training run. A step takes a state and a batch, and returns the next state and a dict of metrics:

        @fd.compile
        def step(state, batch):
            loss, grads = fd.value_and_grad(loss_fn)(state.model, *batch, fd.random.fold_in(state.key, state.step))
            model, optimiser = opt.step(state.model, grads, state.optimiser)
            return state.replace(model=model, optimiser=optimiser, step=state.step + 1), {"loss": loss}

    `step` counts the steps of the whole run, and `epoch` the epochs that are complete. `key` stays the same: each step folds its
    number in. `averages`, `loss_scale` and `extra` are any trees of yours. A state is saved, loaded, compiled and moved to a device
    like every tree: `fd.save("run.npz", state)`, `fd.load("run.npz", like=state)`.
    """

    model: Any
    optimiser: Any
    averages: Any = None
    loss_scale: Any = None
    key: Any = None
    epoch: Any = 0
    step: Any = 0
    extra: Any = None

    @classmethod
    def init(cls, model: Any, optimiser: Any, key: Any = None, **more: Any) -> Self:
        """The state in which a run begins: `State.init(model, optim.adam(0.001), fd.random.key(0))`.

        The optimiser makes its own state from the model. `more` are values of further fields, such as `extra=`.

        Raises StructureError for an optimiser without `init` and `update`, such as a model in its place.
        """
        if isinstance(optimiser, type):
            raise StructureError(
                f"State.init takes an optimiser, got the class {optimiser.__name__}: write {optimiser.__name__}(0.001)."
            )
        if not (callable(getattr(optimiser, "init", None)) and callable(getattr(optimiser, "update", None))):
            raise StructureError(
                f"State.init takes the model, then the optimiser: State.init(model, fd.optim.adam(0.001), key); got "
                f"{describe(optimiser)} for the optimiser. A state that opt.init(model) returned goes into State(model, state, key=key)."
            )
        return cls(model, optimiser.init(model), key=key, **more)
