"""`check_grads`: both modes of differentiation against finite differences and against each other, to any order."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import Tracer, unwrap
from ..devices import to_numpy
from ..transforms import jvp, vjp

STEP = {"float16": 1e-1, "float32": 2e-2, "float64": 2e-3}
TOLERANCE = {"float16": 5e-2, "float32": 1e-2, "float64": 1e-6}


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    *,
    step: float | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check the derivatives of `function` at `args`, any trees, along random directions.

    Forward mode is compared with the central difference (extrapolated once after Richardson, error O(step^4)), reverse
    mode with forward mode by <t, J v> = <J^T t, v>; then the derivatives themselves are checked, up to `order`.
    `step` and `tolerance` (relative to 1 + the largest entry) default by the narrowest dtype among `args`. Keep
    `args` further than 2 steps from kinks.

    Raises AssertionError that names mode, order and the worst entry, by tree path, with both values.
    """
    args = tuple(args)
    _check(function, args, order, tuple(modes), step, tolerance, np.random.default_rng(seed), "")


def _check(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    step: float | None,
    tolerance: float | None,
    rng: np.random.Generator,
    history: str,
) -> None:
    if order == 0:
        return
    if unknown := set(modes) - {"fwd", "rev"}:
        raise ValueError(f"modes are 'fwd' and 'rev', got {', '.join(map(repr, unknown))}")
    names = [np.finfo(leaf.dtype).dtype.name for leaf in trees.leaves(trees.trainable(args)) if hasattr(leaf, "dtype")]
    name = min(names, key=lambda n: np.dtype(n).itemsize, default="float64")
    step = STEP[name] if step is None else step
    tolerance = TOLERANCE[name] if tolerance is None else tolerance
    direction = _random_like(args, rng)
    plain = _plain(function(*args))
    value, tangent = jvp(function, args, direction)
    _same_kind(value, tangent, f"the tangent{history}")
    assert_trees_close(_plain(value), plain, 1e-12, f"value under jvp{history}")
    if "fwd" in modes:
        numeric = _difference(function, args, direction, step)
        assert_trees_close(_plain(tangent), numeric, tolerance, f"forward mode{history}", ("jvp", "difference"))
    if "rev" in modes:
        value, pullback = vjp(function, *args)
        assert_trees_close(_plain(value), plain, 1e-12, f"value under vjp{history}")
        cotangent = _random_like(value, rng)
        gradient = pullback(cotangent)
        _same_kind(trees.trainable(args), gradient, f"the gradient{history}")
        left, right = _inner(cotangent, tangent), _inner(gradient, direction)
        assert_trees_close({"<J^T t, v>": right}, {"<J^T t, v>": left}, tolerance, f"reverse mode{history}", ("vjp", "jvp"))
        _check(lambda *args: vjp(function, *args)[1](cotangent), args, order - 1, modes, step, tolerance, rng, f"{history} of the vjp")
    if "fwd" in modes:
        _check(lambda *args: jvp(function, args, direction)[1], args, order - 1, modes, step, tolerance, rng, f"{history} of the jvp")


def _difference(function: Callable[..., Any], args: Any, direction: Any, step: float) -> Any:
    def central(h: float) -> Any:
        ahead, behind = (_plain(function(*_moved(args, direction, sign * h))) for sign in (1, -1))
        return trees.map(lambda a, b: (_wide(a) - _wide(b)) / (2 * h), ahead, behind)

    return trees.map(lambda fine, coarse: (4 * fine - coarse) / 3, central(step / 2), central(step))


def _wide(x: Any) -> Any:
    return np.complex128(x) if np.iscomplexobj(x) else np.float64(x)


def _moved(args: Any, direction: Any, h: float) -> Any:
    leaves, treedef = trees.flatten_trainable(args)
    directions, _ = trees.flatten_trainable(direction)
    moved = [leaf if t is None else _cast(leaf + h * t, leaf) for leaf, t in zip(leaves, directions, strict=True)]
    return trees.unflatten(treedef, moved)


def _cast(x: Any, like: Any) -> Any:
    return x.astype(like.dtype) if hasattr(like, "dtype") else x


def _random_like(tree: Any, rng: np.random.Generator) -> Any:
    leaves, treedef = trees.flatten_trainable(tree)
    drawn: list[Any] = []
    for leaf in leaves:
        if not trees.is_differentiable(leaf):
            drawn.append(None)
        elif hasattr(leaf, "dtype"):
            plain = np.asarray(rng.standard_normal(leaf.shape))
            plain = (plain + 1j * rng.standard_normal(leaf.shape) if leaf.dtype.kind == "c" else plain).astype(leaf.dtype)
            drawn.append(plain if not leaf.shape else np.asarray(plain))
        else:
            drawn.append(type(leaf)(rng.standard_normal()))
    return trees.unflatten(treedef, drawn)


def _plain(tree: Any) -> Any:
    return to_numpy(trees.map(lambda leaf: unwrap(leaf) if isinstance(leaf, Tracer) else leaf, trees.trainable(tree)))


def _same_kind(expected: Any, got: Any, what: str) -> None:
    for (path, a), (_, b) in zip(trees.flatten_with_path(trees.trainable(expected)), trees.flatten_with_path(got), strict=True):
        if hasattr(a, "dtype"):
            assert a.dtype == b.dtype, f"{what} at {path or 'the root'!r} has dtype {b.dtype}, its primal {a.dtype}"
            assert a.shape == b.shape, f"{what} at {path or 'the root'!r} has shape {b.shape}, its primal {a.shape}"


def _inner(left: Any, right: Any) -> np.float64:
    pairs = zip(trees.leaves(_plain(left)), trees.leaves(_plain(right)), strict=True)
    return np.float64(sum(float(np.sum(np.conj(_wide(a)) * _wide(b)).real) for a, b in pairs))


def assert_trees_close(
    actual: Any, expected: Any, tolerance: float = 1e-6, what: str = "the trees", names: tuple[str, str] = ("actual", "expected")
) -> None:
    """Two trees of one structure with |actual - expected| <= tolerance * (1 + |expected|) everywhere; NaN equals NaN.

    Raises AssertionError that names the worst entry by tree path, with both values.
    """
    worst: tuple[float, str] = (0.0, "")
    pairs = trees.map(lambda a, b: (np.asarray(to_numpy(a)), np.asarray(to_numpy(b))), actual, expected, names=names)
    for (path, a), (_, b) in _pairs(pairs):
        where = path or "the root"
        assert a.shape == b.shape, f"{what}: {where} has shape {a.shape} in {names[0]}, {b.shape} in {names[1]}"
        with np.errstate(invalid="ignore"):
            error = np.abs(a - b) if a.dtype.kind in "fc" else np.abs(np.float64(a) - np.float64(b))
            scale = 1 + (np.abs(b[np.isfinite(b)]).max() if np.isfinite(b).any() else 0.0)
        error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.where(np.isfinite(error), error, np.inf)) / scale
        if error.size and error.max() > max(worst[0], tolerance):
            at = np.unravel_index(int(error.argmax()), error.shape)
            spot = f"[{', '.join(map(str, at))}]" if at else ""
            worst = (float(error.max()), f"{where}{spot}: {names[0]} {a[at]!r}, {names[1]} {b[at]!r}")
    assert not worst[1], f"{what} differ beyond {tolerance:g}; worst at {worst[1]} (relative error {worst[0]:.2g})"


def _pairs(pairs: Any) -> list[tuple[tuple[str, Any], tuple[str, Any]]]:
    flat = trees.flatten_with_path(pairs)
    return [((path.rpartition("/")[0], a), (path, b)) for (path, a), (_, b) in zip(flat[::2], flat[1::2], strict=True)]


def assert_trees_equal(actual: Any, expected: Any, what: str = "the trees") -> None:
    """Two trees of one structure whose leaves are equal in dtype, shape and every bit of value; NaN equals NaN.

    Raises AssertionError that names the first leaf that differs.
    """
    for (path, a), (_, b) in _pairs(trees.map(lambda a, b: (np.asarray(to_numpy(a)), np.asarray(to_numpy(b))), actual, expected)):
        assert a.dtype == b.dtype, f"{what}: {path or 'the root'} has dtype {a.dtype}, expected {b.dtype}"
        np.testing.assert_array_equal(a, b, err_msg=f"{what}: {path or 'the root'}")
