"""A bridge to `scipy.optimize.minimize`: trees in, trees out, gradients and Hessian products from fdezero."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np

from ... import tree as trees
from ...devices import device_of, to_device, to_numpy
from ...errors import DTypeError, MissingExtraError, RangeError, ShapeError, StructureError
from ...messages import describe
from ...transforms import hvp, value_and_grad
from ...transforms.arguments import name_of
from ...values import broadcasts_to, dtype_of, is_differentiable, shape_of

__all__ = ["Minimum", "scipy_minimize"]

BY_GRADIENTS = ("CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP")
BY_HESSIAN_PRODUCTS = ("Newton-CG", "trust-ncg", "trust-krylov", "trust-constr")
BY_HESSIANS = ("dogleg", "trust-exact")
BY_VALUES = ("Nelder-Mead", "Powell", "COBYLA", "COBYQA")
METHODS = (*BY_GRADIENTS, *BY_HESSIAN_PRODUCTS, *BY_HESSIANS, *BY_VALUES)
WITH_BOUNDS = ("L-BFGS-B", "TNC", "SLSQP", "trust-constr", "Nelder-Mead", "Powell", "COBYLA", "COBYQA")


@attrs.frozen
class Minimum:
    """What `scipy_minimize` found: the tree, the value there, whether and why SciPy stopped, and how often it asked.

    `evaluations` counts values, `gradients` gradients, `products` Hessian products or Hessians, `iterations` SciPy's rounds.
    """

    params: Any
    value: float
    success: bool
    message: str
    iterations: int
    evaluations: int
    gradients: int
    products: int


def scipy_minimize(
    loss: Callable[..., Any],
    params: Any,
    method: str = "L-BFGS-B",
    *,
    args: tuple[Any, ...] = (),
    bounds: tuple[Any, Any] | None = None,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[[Any], Any] | None = None,
) -> Minimum:
    """The minimum of `loss(params, *args)` over the floating leaves of a tree, by a method of `scipy.optimize.minimize`.

    SciPy sees one float64 vector; the loss sees leaves of their own dtypes, on their device. A complex leaf counts twice. None,
    booleans and `Frozen` subtrees stay as they are. `bounds` is `(lower, upper)`: numbers, or trees like the params, with None
    where there is no bound. `callback(params)` sees every iteration; if it raises StopIteration, SciPy stops. `fd.compile(loss)`
    makes every evaluation faster.

    Raises RangeError for another method or for bounds that the method does not take, DTypeError for integers or a complex loss,
    ShapeError for a loss that is not a scalar, MissingExtraError without SciPy.
    """
    try:
        from scipy import optimize  # imported here because it is an extra
    except ImportError as error:
        raise MissingExtraError("scipy_minimize needs SciPy: pip install 'fdezero[scipy]'") from error
    name, method = name_of("scipy_minimize", loss), _known(method)
    vector = _Vector(params)
    objective = lambda leaves: _real(name, loss(vector.tree(leaves), *args))
    given: dict[str, Any] = {"tol": tol, "options": dict(options or {})}
    if bounds is not None:
        if method not in WITH_BOUNDS:
            raise RangeError(f"{name}: the method {method} takes no bounds; these do: {', '.join(WITH_BOUNDS)}.")
        given["bounds"] = optimize.Bounds(*vector.bounds(bounds))
    if callback is not None:
        # SciPy tells methods with other callbacks apart by the name of the parameter.
        given["callback"] = lambda xk, *_: callback(vector.tree(vector.leaves(xk)))
    products = [0]

    def product(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        products[0] += 1
        return vector.of(hvp(objective, (vector.leaves(x),), (vector.leaves(v),))[0])

    if method in BY_VALUES:
        function = lambda x: float(objective(vector.leaves(x)))
    else:
        gradient, given["jac"] = value_and_grad(objective), True

        def function(x: np.ndarray) -> Any:
            value, found = gradient(vector.leaves(x))
            return float(value), vector.of(found)

    if method in BY_HESSIAN_PRODUCTS:
        given["hessp"] = product
    if method in BY_HESSIANS:
        given["hess"] = lambda x: np.stack([product(x, v) for v in np.eye(x.size)])
    found = optimize.minimize(function, vector.start, method=method, **given)
    is_by_gradient = method not in BY_VALUES
    counts = [int(found.get(key, 0)) for key in ("nit", "nfev", "njev")]
    return Minimum(
        vector.tree(vector.leaves(found.x)),
        float(found.fun),
        bool(found.success),
        str(found.message),
        counts[0],
        counts[1],
        (counts[2] or counts[1]) if is_by_gradient else 0,
        products[0],
    )


def _known(method: Any) -> str:
    """SciPy's name of a method. Raises RangeError for any other name."""
    known = {name.lower(): name for name in METHODS}
    if not isinstance(method, str) or method.lower() not in known:
        raise RangeError(f"scipy_minimize knows no method {method!r}; there are {', '.join(METHODS)}.")
    return known[method.lower()]


def _real(name: str, value: Any) -> Any:
    """The value of the loss. Raises ShapeError or DTypeError unless it is one real number."""
    if not hasattr(value, "dtype") and not isinstance(value, float | int | complex):
        raise DTypeError(f"{name}: the loss must return a number, got {describe(value)}.")
    if shape_of(value) != ():
        raise ShapeError(
            f"{name}: the loss must return a scalar, got {describe(value)}. Reduce it (fd.numpy.mean, fd.numpy.sum)."
        )
    if dtype_of(value).kind == "c":
        raise DTypeError(f"{name}: the loss must return a real number, got {describe(value)}. Take its real part.")
    return value


class _Vector:
    """The floating leaves of a tree as one vector of float64, and the way back."""

    def __init__(self, params: Any) -> None:
        self.params, self.device = params, device_of(trees.trainable(params))
        self.all, self.treedef = trees.flatten_trainable(params)
        paths = [path for path, _ in trees.flatten_with_path(params, none_is_leaf=True, namespace=trees.TRAINABLE)]
        for path, leaf in zip(paths, self.all, strict=True):
            kind = getattr(getattr(leaf, "dtype", None), "kind", "i" if type(leaf) is int else None)
            if kind in ("i", "u"):
                raise _integer(path, leaf)
        self.places = [i for i, leaf in enumerate(self.all) if is_differentiable(leaf)]
        self.paths = [paths[i] for i in self.places]
        if not self.places:
            raise DTypeError("scipy_minimize: the params have no floating leaf, so there is nothing to minimise over.")
        self.start = self.of([self.all[i] for i in self.places])

    def of(self, leaves: list[Any]) -> np.ndarray:
        """The vector of floating leaves."""
        flat = [np.asarray(to_numpy(leaf)).reshape(-1) for leaf in leaves]
        return np.concatenate([_as_reals(x) for x in flat])

    def leaves(self, x: np.ndarray) -> list[Any]:
        """The floating leaves that a vector stands for."""
        found, start = [], 0
        for i in self.places:
            leaf = self.all[i]
            shape, dtype = shape_of(leaf), dtype_of(leaf)
            size = math.prod(shape) * (2 if dtype.kind == "c" else 1)
            part: Any = np.array(x[start : start + size], np.float64)  # a copy, because SciPy writes into its vectors
            part = (part.view(np.complex128) if dtype.kind == "c" else part).reshape(shape)
            found.append(part.astype(dtype) if hasattr(leaf, "dtype") else part.item())
            start += size
        return to_device(found, self.device) if self.device != "cpu" else found

    def tree(self, leaves: list[Any]) -> Any:
        """The params with these floating leaves."""
        full = list(self.all)
        for i, leaf in zip(self.places, leaves, strict=True):
            full[i] = leaf
        return trees.unflatten(self.treedef, full)

    def bounds(self, bounds: Any) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of lower and upper bounds."""
        if not isinstance(bounds, tuple) or len(bounds) != 2:
            raise StructureError(
                f"scipy_minimize: bounds is (lower, upper), each a number or a tree; got {describe(bounds)}."
            )
        if any(dtype_of(self.all[i]).kind == "c" for i in self.places):
            raise DTypeError("scipy_minimize: complex numbers have no bounds. Minimise over real and imaginary parts.")
        low, high = (self._bound(bound, without) for bound, without in zip(bounds, (-np.inf, np.inf), strict=True))
        if (low > high).any():
            place = int(np.argmax(low > high))
            raise RangeError(f"scipy_minimize: a lower bound, {low[place]}, is above the upper one, {high[place]}.")
        return low, high

    def _bound(self, bound: Any, without: float) -> np.ndarray:
        shapes = [shape_of(self.all[i]) for i in self.places]
        if bound is None or isinstance(bound, float | int):
            return np.full(self.start.size, without if bound is None else bound, np.float64)
        given, treedef = trees.flatten_trainable(bound)
        if treedef != self.treedef:
            raise trees.structure_error(trees.trainable(self.params), bound, "params", "bounds")
        found = []
        for i, path, shape in zip(self.places, self.paths, shapes, strict=True):
            value = np.asarray(without if given[i] is None else to_numpy(given[i]), np.float64)
            if not broadcasts_to(value.shape, shape):
                raise ShapeError(
                    f"scipy_minimize: the bound of {path or 'the parameter'} is {describe(value)}, the parameter {describe(self.all[i])}."
                )
            found.append(np.broadcast_to(value, shape).reshape(-1))
        return np.concatenate(found)


def _as_reals(x: np.ndarray) -> np.ndarray:
    return x.astype(np.complex128).view(np.float64) if x.dtype.kind == "c" else x.astype(np.float64)


def _integer(path: str, leaf: Any) -> DTypeError:
    return DTypeError(
        f"scipy_minimize: {path or 'the parameter'} is {describe(leaf)}, an integer, which cannot change by a small amount. "
        "Make it a float (2.0, x.astype(float)), or put fd.Frozen around it to leave it as it is."
    )
