"""What `fit` does on several ranks: metrics that become those of all, and mistakes that would let ranks drift apart."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import tree as trees
from ..devices import to_numpy
from ..errors import DisagreementError, StructureError
from ..io import Checkpoints
from ..messages import describe
from .metrics.base import is_metric, merge

__all__: list[str] = []  # helpers of `fit`


def checked(world: Any, loader: Any, checkpoints: Any, log: Any, progress: str) -> tuple[Any, Any, str]:
    """The world if it has several ranks, else None; what this rank logs and shows. Raises StructureError for what does not go together."""
    if world is None:
        return None, log, progress
    if not (hasattr(world, "all_reduce") and hasattr(world, "share")):
        raise StructureError(f"fit: world is what fd.distributed.world() returns, got {describe(world)}.")
    if world.size == 1:
        return None, log, progress
    share = getattr(loader, "shard_of", world.share)
    if share != world.share:
        raise StructureError(
            f"fit: the loader makes the part {share} of each batch, but this is rank {world.rank} of {world.size}. Write "
            "DataLoader(..., shard=world.share), and every rank gets its part."
        )
    if isinstance(checkpoints, Checkpoints) and getattr(checkpoints, "world", None) is None:
        raise StructureError(
            "fit: each rank would write these checkpoints. Write Checkpoints(folder, world=world), or give the folder alone."
        )
    hint = "The order of the whole batches comes from it, so all ranks give the same one."
    _agree(world, {"key": getattr(loader, "key", None)}, "the loader", hint)
    return (world, None, "none") if world.rank else (world, log, progress)


def checkpoints_in(world: Any) -> Callable[[Any], Any]:
    """What makes checkpoints of the name of a folder."""
    settings: dict[str, Any] = {} if world is None else {"world": world}
    return functools.partial(Checkpoints, **settings)


def of_first(world: Any, number: float) -> float:
    """The number of rank 0, so that all ranks have the same history."""
    return number if world is None else float(world.broadcast(number))


def check_parameters(world: Any, state: Any, epoch: int) -> None:
    """Raise DisagreementError if ranks have drifted apart. Statistics may differ, as those of a BatchNorm without a world do."""
    if world is not None:
        hint = "The step needs the gradient of all ranks: fd.distributed.value_and_grad(loss_fn, world)."
        _agree(world, trees.trainable(state.model), f"after epoch {epoch + 1}", hint)


def _agree(world: Any, tree: Any, what: str, hint: str) -> None:
    from ..distributed.equality import check_equal  # on use: a run of one process does not need that package

    try:
        check_equal(tree, world, what=f"fit, {what}")
    except DisagreementError as error:
        raise DisagreementError(f"{error} {hint}") from None


def merged(metrics: Any, world: Any) -> Any:
    """What `evaluate` returned, with the metrics of all ranks. Raises StructureError for a number that differs from rank to rank."""
    if not isinstance(metrics, Mapping):
        raise StructureError(
            f'fit: evaluate(state) returns metrics by name, such as {{"val_loss": loss}}; got {describe(metrics)}.'
        )
    if world is None:
        return metrics
    found = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found[name] = merged(value, world)
        elif is_metric(value):
            found[name] = merge(value, world=world)
        else:
            found[name] = _agreed(name, value, world)
    return found


def _agreed(name: str, value: Any, world: Any) -> Any:
    """The number of rank 0, if all ranks have it but for rounding."""
    number = to_numpy(value)
    first = world.broadcast(np.asarray(number))
    differs = not np.allclose(number, first, rtol=1e-3, equal_nan=True)
    if world.all_reduce(float(differs), "max"):
        raise StructureError(
            f"fit: evaluate(state) returns {name!r} {number!r} on rank {world.rank}, and another number on another rank. A number is "
            "that of all ranks. A metric adds up over them: return training.Mean().update(losses), or training.Accuracy().update(y, t)."
        )
    return first[()]
