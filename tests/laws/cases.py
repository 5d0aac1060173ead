"""`Case`, a row of the tables of functions: a call, its reference, and the laws that it claims to obey."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdezero as fd
from fdezero.values import is_inexact

from .folding import folded, sharing

PROPERTIES = ("reverse", "forward", "vmap", "compiled", "CPU", "stand-in", "complex", "float16")
IN_HALF = {"functions", "special"}  # modules that compute float16 in float32 and round once
SAME = object()
LATER: dict[str, Callable[..., Any]] = {  # functions of NumPy 2.1 and 2.2, written for older versions
    "cumulative_prod": lambda x, **kwargs: _running(np.cumprod, 1, x, **kwargs),
    "cumulative_sum": lambda x, **kwargs: _running(np.cumsum, 0, x, **kwargs),
    "unstack": lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
}
ARRAYS = np.ndarray | np.generic


class Case(NamedTuple):
    """One call: `function(*args, **kwargs)`, differentiable in the floating arrays and numbers of the arguments `argnums`.

    `reference` is NumPy's or SciPy's function (None: values are tested elsewhere). `shown` says that the shape of the result
    depends on values, so that the call is not for vmap or compile. Derivatives are checked to `order`. `gpu` is false where CuPy lacks the function.
    """

    module: str
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    argnums: tuple[int, ...]
    reference: Any
    shown: bool
    order: int
    gpu: bool = True

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, np.shape(a))) or "0d" for a in self.args if not callable(a) and not isinstance(a, list | str | tuple))
        return f"{self.module}-{self.name}-{shapes}-{'-'.join(f'{k}={v}' for k, v in self.kwargs.items())}"

    @property
    def places(self) -> list[int]:
        """The differentiable leaves of the arguments; for a discrete function, the arrays."""
        owned = [(number, leaf) for number, arg in enumerate(self.args) for leaf in fd.tree.leaves(arg)]
        if not self.argnums:
            return [i for i, (_, leaf) in enumerate(owned) if isinstance(leaf, ARRAYS)]
        return [i for i, (number, leaf) in enumerate(owned) if number in self.argnums and is_inexact(np.asarray(leaf).dtype)]

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """The arrays that the laws vary."""
        leaves = fd.tree.leaves(self.args)
        return tuple(np.asarray(leaves[i]) for i in self.places)

    def of_inputs(self, function: Callable[..., Any] | None = None, device: str = "cpu") -> Callable[..., list[Any]]:
        """The call as a function of `inputs`, all else being on `device`; its results are a list."""
        leaves, treedef = fd.tree.flatten(fd.to_device(self.args, device))
        kwargs, places = fd.to_device(self.kwargs, device), self.places

        def call(*inputs: Any) -> list[Any]:
            full = list(leaves)
            for place, value in zip(places, inputs, strict=True):
                full[place] = value
            return fd.tree.leaves((function or self.function)(*fd.tree.unflatten(treedef, full), **kwargs))

        return call

    @property
    def claims(self) -> set[str]:
        """The cells of the coverage table that this case has laws for."""
        claimed = {"CPU"} if self.reference is not None else set()
        if self.argnums:
            claimed |= {"reverse", "forward"}
        if self.places:
            claimed |= {"stand-in"} if self.gpu else set()
            claimed |= set() if self.shown else {"vmap", "compiled"}
        if self.argnums and any(x.dtype.kind == "c" for x in self.inputs):
            claimed |= {"complex"}
        elif self.argnums and self.module in IN_HALF:
            claimed |= {"float16"}
        return claimed


def _running(function: Callable[..., Any], start: int, x: Any, axis: int = 0, include_initial: bool = False) -> Any:
    y = function(x, axis=axis)
    return np.insert(y, 0, start, axis=axis) if include_initial else y


def cases_of(module: str, ours: Any, theirs: Any) -> Callable[..., Case]:
    """A maker of cases for the functions of `ours`, which have the names of those in `theirs`.

    `d` names the differentiable arguments (None: there are none), `numpy` a reference of another name.
    """

    def case(name: str, *args: Any, d: Any = 0, numpy: Any = SAME, shown: bool = False, order: int = 2, gpu: bool = True, **kwargs: Any) -> Case:
        argnums = () if d is None else (d,) if isinstance(d, int) else tuple(d)
        function, reference = ours, getattr(theirs, name.split(".")[0], LATER.get(name))
        for part in name.split("."):
            function = getattr(function, part)
        for part in name.split(".")[1:]:
            reference = getattr(reference, part, None)
        return Case(module, name, function, args, kwargs, argnums, reference if numpy is SAME else numpy, shown, order, gpu)

    return case


def of_function(case: Case) -> str:
    return f"{case.module}-{case.name}"


def law(cases: Iterable[Case], *properties: str) -> Callable[..., Any]:
    """A test of every case that claims one of `properties`; if it passes, the properties are proved. A few functions share a report."""

    def marked(test: Callable[..., Any]) -> Callable[..., Any]:
        chosen = [case for case in cases if case.claims & set(properties)]
        return pytest.mark.proves(*properties)(folded("case", chosen, sharing(chosen, of_function))(test))

    return marked
