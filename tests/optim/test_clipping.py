"""Clips and centred gradients: against loops, PyTorch and optax; norms of any size; zeros; every dtype."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import optim
from fdezero.errors import RangeError
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(0)
PARAMS = {"W": RNG.normal(size=(4, 3)), "kernel": RNG.normal(size=(5, 2, 3, 3)) * 0.1, "b": RNG.normal(size=3), "s": np.array(0.5)}
GRADS = {"W": RNG.normal(size=(4, 3)) * 3, "kernel": RNG.normal(size=(5, 2, 3, 3)), "b": RNG.normal(size=3) * 5, "s": np.array(-2.0)}


def updates(transformation: Any, grads: Any = GRADS, params: Any = PARAMS) -> Any:
    return transformation.update(grads, transformation.init(params), params)[0]


def to_length(x: np.ndarray, most: float) -> np.ndarray:
    norm = np.sqrt(sum(abs(entry) ** 2 for entry in x.ravel()))
    return x if norm <= most else x * (most / norm)


def rows_clipped(g: np.ndarray, p: np.ndarray, share: float, eps: float) -> np.ndarray:
    """Adaptive clipping in a loop over what makes one output."""
    rows: dict[int, list[Any]] = {0: [()], 1: [slice(None)], 2: [(slice(None), j) for j in range(g.shape[-1] if g.ndim else 0)]}
    result = np.empty_like(g)
    for row in rows.get(g.ndim, range(len(g) if g.ndim else 0)):
        result[row] = to_length(np.asarray(g[row]), share * max(float(np.linalg.norm(np.ravel(p[row]))), eps))
    return result


def centred(g: np.ndarray) -> np.ndarray:
    if g.ndim < 2:
        return g
    return np.stack([g[:, j] - g[:, j].mean() for j in range(g.shape[1])], 1) if g.ndim == 2 else np.stack([row - row.mean() for row in g])


def test_clips_are_loops() -> None:
    expected = {name: np.minimum(np.maximum(g, -0.7), 0.7) for name, g in GRADS.items()}
    assert_trees_equal(updates(optim.clip(0.7)), expected)
    assert_trees_close(updates(optim.clip_by_norm(0.7)), {name: to_length(g, 0.7) for name, g in GRADS.items()}, 1e-14)
    for share in (0.01, 0.5, 100.0):
        expected = {name: rows_clipped(g, PARAMS[name], share, 1e-3) for name, g in GRADS.items()}
        assert_trees_close(updates(optim.adaptive_clip(share)), expected, 1e-14)
    assert_trees_close(updates(optim.centralise()), {name: centred(g) for name, g in GRADS.items()}, 1e-14)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_gradients_without_entries_stay_without_a_warning(shape: tuple[int, ...]) -> None:
    g = {"a": np.ones(shape)}
    for opt in (optim.clip(0.5), optim.clip_by_norm(0.5), optim.clip_by_global_norm(0.5), optim.adaptive_clip(0.5), optim.centralise()):
        assert opt.update(g, opt.init(g), g)[0]["a"].shape == shape


def test_clips_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for ours, theirs in (
        (optim.clip(0.7), lambda ps: torch.nn.utils.clip_grad_value_(ps, 0.7)),
        (optim.clip_by_global_norm(0.7), lambda ps: torch.nn.utils.clip_grad_norm_(ps, 0.7)),
        (optim.clip_by_norm(0.7), lambda ps: [torch.nn.utils.clip_grad_norm_([p], 0.7) for p in ps]),
    ):
        parameters = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in PARAMS.items()}
        for name, p in parameters.items():
            p.grad = torch.tensor(GRADS[name])
        theirs(list(parameters.values()))
        assert_trees_close(updates(ours), {name: p.grad.numpy() for name, p in parameters.items()}, 1e-5)  # they divide by norm + 1e-6


def test_adaptive_clipping_is_optaxs() -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    theirs = optax.adaptive_grad_clip(0.1, eps=1e-3)
    params, grads = ({"W": tree["W"].astype("f4"), "b": tree["b"].astype("f4")} for tree in (PARAMS, GRADS))
    expected, _ = theirs.update(grads, theirs.init(params), params)
    assert_trees_close(updates(optim.adaptive_clip(0.1), grads, params), jax.tree.map(np.asarray, expected), 1e-5)


@pytest.mark.parametrize("make", [optim.clip_by_norm, optim.clip_by_global_norm, optim.clip, optim.adaptive_clip])
def test_clips_of_gradients_of_any_size_and_of_none(make: Any) -> None:
    for size in (0.0, 1e-30, 1e-19, 1.0, 1e19, 1e30):
        grads, params = {"w": np.float32([3, -4, 0]) * np.float32(size), "n": None}, {"w": np.float32([1, 1, 1]), "n": 3}
        for clipped in (lambda g: updates(make(1.0), g, params), fd.compile(lambda g: updates(make(1.0), g, params))):
            result = clipped(grads)["w"]
            assert result.dtype == np.float32
            assert np.isfinite(result).all()
            bound = {optim.clip: 3**0.5, optim.adaptive_clip: 3**0.5 + 1e-6}.get(make, 1.0)
            assert np.linalg.norm(result.astype(float)) <= bound * (1 + 1e-6)
            if 0 < size <= 1e-19:
                assert_trees_equal(result, grads["w"])
    assert_trees_equal(updates(make(0.0), {"w": np.zeros(2, np.float32)}, {"w": np.zeros(2, np.float32)}), {"w": np.zeros(2, np.float32)})


@pytest.mark.parametrize("opt", [optim.clip(0.5), optim.clip_by_norm(0.5), optim.adaptive_clip(0.5), optim.centralise()], ids=repr)
def test_float16_becomes_float32_and_complex_numbers_stay(opt: Any) -> None:
    half = {"w": np.float16([[300, 1], [2, 3]])}
    assert updates(opt, half, half)["w"].dtype == np.float32
    z = {"z": np.array([[3 + 4j, 1j], [-2, 0.1]], np.complex64)}
    result = updates(opt, z, z)["z"]
    assert result.dtype == np.complex64
    assert np.isfinite(result).all()


def test_complex_entries_are_clipped_in_both_parts() -> None:
    z = {"z": np.array([3 + 0.2j, -0.1 - 9j])}
    assert_trees_equal(updates(optim.clip(0.5), z, z), {"z": np.array([0.5 + 0.2j, -0.1 - 0.5j])})
    np.testing.assert_allclose(np.abs(updates(optim.clip_by_norm(0.5), {"z": np.array([3 + 4j])}, z)["z"]), 0.5)


def test_bounds_are_checked() -> None:
    for make in (optim.clip, optim.clip_by_norm, optim.clip_by_global_norm, optim.adaptive_clip):
        with pytest.raises(RangeError, match=rf"{make.__name__}: \w+ is a number >= 0; got -1"):
            make(-1)
