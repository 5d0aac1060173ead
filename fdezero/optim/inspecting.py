"""What an optimiser does now, for logs: step, rate, norms and counts, read from its state."""

from typing import Any

import numpy as np

from ..errors import StructureError
from ..messages import describe
from .gradients import descend
from .leaves import weak
from .transformation import GradientTransformation

__all__ = ["inspect"]

READ = ("step", "rate", "gradient_norm", "update_norm", "calls", "skipped", "in_a_row", "batch")
_NUMBERS = frozenset(READ)


def inspect(state: Any, optimiser: GradientTransformation | None = None) -> dict[str, Any]:
    """The numbers in a state that logs show, by name: `step`, the `rate` of a schedule, how many steps were `skipped`, and so on.

    `monitor` adds `gradient_norm` and `update_norm`. Numbers of groups and of parts with a dict of their own have their path:
    `head/rate`. With the optimiser you also get rates that are constants, which no state holds. Values are Python numbers,
    arrays without axes on a GPU, or traced ones within `fd.compile`, so a step can return them as metrics.

    Raises StructureError for anything that is not the state of an optimiser.
    """
    if not isinstance(state, dict):
        raise StructureError(f"optim.inspect reads the state of an optimiser, a dict; got {describe(state)}.")
    if optimiser is not None:
        optimiser.check(state)
    found = dict(_numbers(state, ""))
    for path, rate in _constants(optimiser, "") if optimiser is not None else ():
        found.setdefault(path, rate)
    order = {name: i for i, name in enumerate(READ)}
    return dict(sorted(found.items(), key=lambda item: (item[0].rpartition("/")[0], order[item[0].rpartition("/")[2]])))


def _numbers(state: Any, path: str) -> Any:
    """The numbers of a state and of the dicts in it, which belong to parts. Trees like the parameters have no such names."""
    for name, value in state.items():
        is_number = name in _NUMBERS and getattr(value, "shape", None) == ()
        if is_number and not (path and isinstance(value, np.ndarray)):  # an array further in may be a parameter
            yield path + name, weak(value)
        elif isinstance(value, dict) and name not in _NUMBERS:
            yield from _numbers(value, f"{path}{name}/")


def _constants(optimiser: Any, path: str) -> Any:
    """The constant rates of an optimiser, under the names of their parts in the state."""
    if isinstance(optimiser, descend):
        if not callable(optimiser.lr):
            yield f"{path}rate", weak(optimiser.lr)
        return
    for name, part in parts_of(optimiser):
        yield from _constants(part, f"{path}{name}/" if name else path)


def parts_of(optimiser: Any) -> list[tuple[str | None, Any]]:
    """The optimisers within an optimiser, each with the folder of its state."""
    parts = getattr(optimiser, "parts", None)
    if parts is None:
        inside = getattr(optimiser, "optimiser", None)
        return [] if inside is None else [(getattr(optimiser, "folder", None), inside)]
    places = getattr(optimiser, "places", None)
    names = [place.folder for place in places] if places is not None else getattr(optimiser, "names", ())
    return [(name, part) for name, part in zip(names, parts, strict=True) if part is not None]
