"""Convolutions by cuDNN, on a stand-in for its frontend: results, plans, exactness, what it does not take, what is missing."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.devices import cudnn
from fdezero.testing import assert_trees_close

from . import strict_cudnn

RNG = np.random.default_rng(3)
X, KERNEL = RNG.standard_normal((2, 4, 7, 6)).astype(np.float32), RNG.standard_normal((6, 4, 3, 2)).astype(np.float32)


@pytest.fixture
def library(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in in the place of the frontend, with nothing built or run yet."""
    for found in (strict_cudnn.executed, strict_cudnn.built, strict_cudnn.streams, strict_cudnn.refused):
        found.clear()
    monkeypatch.setattr(cudnn, "frontend", lambda: strict_cudnn)
    monkeypatch.delenv("CUPY_TF32", raising=False)
    cudnn._plan.cache_clear()
    cudnn._handle.cache_clear()
    yield strict_cudnn
    cudnn._plan.cache_clear()
    cudnn._handle.cache_clear()


def both(x: Any, kernel: Any, **options: Any) -> Any:
    return fd.value_and_grad(lambda x, kernel: fnp.sum(F.conv2d(x, kernel, **options) ** 2), (0, 1))(x, kernel)


@pytest.mark.parametrize("options", [{}, {"padding": 1, "stride": 2}, {"padding": ((0, 2), (1, 0))}, {"dilation": 2, "padding": "same"}, {"groups": 2}], ids=str)
def test_values_and_gradients_are_those_of_the_cpu(options: Any, library: Any) -> None:
    kernel = KERNEL[:, : 4 // options.get("groups", 1)]
    for x in (X, np.ascontiguousarray(np.moveaxis(X, 1, -1)).transpose(0, 3, 1, 2)):
        library.executed.clear()
        assert_trees_close(fd.to_numpy(both(*fd.to_device((x, kernel), "gpu"), **options)), both(x, kernel, **options), 1e-5)
        assert sorted(library.executed) == ["conv_dgrad", "conv_fprop", "conv_wgrad"]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_three_dimensions_and_halves(dtype: str, library: Any) -> None:
    x, kernel = RNG.standard_normal((1, 2, 4, 4, 3)).astype(dtype), RNG.standard_normal((2, 2, 2, 2, 2)).astype(dtype)
    got, expected = fd.to_numpy(F.conv3d(*fd.to_device((x, kernel), "gpu"))), F.conv3d(x, kernel)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got.astype(float), expected.astype(float), atol=2e-2 if dtype == "float16" else 1e-5)
    assert library.executed == ["conv_fprop"]


def test_transposed_convolutions_and_higher_orders_use_the_same_three(library: Any) -> None:
    x, kernel = fd.to_device((X, KERNEL), "gpu")
    y = F.conv_transpose2d(fnp.moveaxis(fnp.concatenate([x, x[:, :2]], axis=1), 0, 0), kernel, stride=2)
    assert_trees_close(fd.to_numpy(y), F.conv_transpose2d(np.concatenate([X, X[:, :2]], axis=1), KERNEL, stride=2), 1e-5)
    twice = fd.hvp(lambda k: fnp.sum(F.conv2d(x, k) ** 3), (kernel,), (kernel,))[0]
    expected = fd.hvp(lambda k: fnp.sum(F.conv2d(X, k) ** 3), (KERNEL,), (KERNEL,))[0]
    np.testing.assert_allclose(fd.to_numpy(twice), expected, rtol=1e-3, atol=1e-2)


def test_a_plan_is_built_once_for_a_shape(library: Any) -> None:
    x, kernel = fd.to_device((X, KERNEL), "gpu")
    for _ in range(3):
        F.conv2d(x, kernel)
        fd.compile(F.conv2d)(x, kernel)
    assert len(library.built) == 1
    F.conv2d(x[:, :, 1:], kernel)
    assert len(library.built) == 2
    assert len(library.streams) == len(library.executed) == 7


def test_kernels_are_deterministic_and_float32_is_exact_unless_tf32_is_asked_for(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    note = library.numerical_note
    x, kernel = fd.to_device((X, KERNEL), "gpu")
    F.conv2d(x, kernel)
    assert set(library.built[-1].notes) == {note.NONDETERMINISTIC, note.TENSOR_CORE, note.DOWN_CONVERT_INPUTS}
    monkeypatch.setenv("CUPY_TF32", "1")
    F.conv2d(x, kernel)
    assert set(library.built[-1].notes) == {note.NONDETERMINISTIC}
    monkeypatch.setenv("CUPY_TF32", "0")
    F.conv2d(x.astype(np.float16), kernel.astype(np.float16))  # tensor cores add halves in float32
    assert set(library.built[-1].notes) == {note.NONDETERMINISTIC}


def test_what_it_does_not_take_goes_by_patches(library: Any) -> None:
    wide = fd.to_device((X.astype(float), KERNEL.astype(float)), "gpu")
    assert_trees_close(fd.to_numpy(F.conv2d(*wide)), F.conv2d(X.astype(float), KERNEL.astype(float)), 1e-12)
    x, kernel = fd.to_device((X, KERNEL), "gpu")
    assert_trees_close(fd.to_numpy(F.conv1d(x[:, :, 0], kernel[:, :, 0])), F.conv1d(X[:, :, 0], KERNEL[:, :, 0]), 1e-5)
    mapped = fd.vmap(lambda k: F.conv2d(x, k))(fnp.stack([kernel, 2 * kernel]))
    assert_trees_close(fd.to_numpy(mapped[1]), 2 * F.conv2d(X, KERNEL), 1e-5)
    assert F.conv2d(x[:0], kernel).shape == (0, 6, 5, 5)
    assert_trees_close(fd.to_numpy(F.conv2d(x[:, ::-1], kernel)), F.conv2d(X[:, ::-1], KERNEL), 1e-5)
    assert library.executed == []
    library.refused.add("conv_fprop")
    for _ in range(2):
        assert_trees_close(fd.to_numpy(F.conv2d(x, kernel)), F.conv2d(X, KERNEL), 1e-5)
    assert library.executed == []
    assert len(library.built) == 1  # it is asked once


def test_without_the_extra_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn.frontend.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cudnn.frontend() is None
    cudnn.frontend.cache_clear()


def test_a_library_that_cannot_be_loaded_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def backend_version() -> int:
            raise RuntimeError("Unable to find symbol cudnnGetVersion")

    cudnn.frontend.cache_clear()
    monkeypatch.setitem(sys.modules, "cudnn", Broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: Broken if name == "cudnn" else None)
    assert cudnn.frontend() is None
    cudnn.frontend.cache_clear()


def test_the_stand_in_has_the_names_of_the_frontend() -> None:
    real = pytest.importorskip("cudnn")
    for name in ("backend_version", "create_handle", "set_stream", "pygraph", "cudnnGraphNotSupportedError", "data_type", "heur_mode", "numerical_note"):
        assert hasattr(real, name)
    for kind in ("data_type", "heur_mode", "numerical_note"):
        assert {member.name for member in getattr(strict_cudnn, kind)} <= set(dir(getattr(real, kind)))
    for name in [name for name in vars(strict_cudnn.pygraph) if not name.startswith("_") and inspect.isfunction(getattr(strict_cudnn.pygraph, name))]:
        assert hasattr(real.pygraph, name), name
    for form, *names in cudnn.FORMS.values():
        said = getattr(real.pygraph, form).__doc__
        assert all(f"{name}: " in said for name in (*names, "pre_padding", "post_padding", "stride", "dilation"))


@pytest.mark.parametrize("form", cudnn.FORMS)
@pytest.mark.parametrize("groups", [1, 2])
def test_the_frontend_itself_takes_the_graphs(form: str, groups: int) -> None:
    """Without a device it goes as far as the check of shapes; it needs cuDNN's library."""
    real = pytest.importorskip("cudnn")
    if cudnn.frontend() is not real:
        pytest.skip("the library of cuDNN is not installed")
    last = lambda *shape: np.empty((shape[0], *shape[2:], shape[1]), np.float32).transpose(0, 3, 1, 2)
    roles = {"x": last(2, 4, 7, 6), "w": last(6, 4 // groups, 3, 2), "y": last(2, 6, 4, 3)}
    arrays = [roles[name] for name in {"y": "xwy", "x": "wyx", "w": "xyw"}[form]]
    graph = cudnn.graph_of(form, [cudnn.signature(z) for z in arrays], (2, 2), ((1, 1), (0, 0)), (1, 1), 1)
    graph.validate()
