"""Mistakes with models and statistics that would pass in silence: each is refused, with the way out."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import StructureError
from fdezero.testing import assert_trees_close

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((5, 3))


class Center(nn.Stateful):
    """x minus its mean over the batch; in inference, minus the mean of the means seen in training."""

    mean: Any = nn.statistic()

    def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        if not train:
            return x - self.mean, self
        return x - x.mean(axis=0), self.replace(mean=0.5 * self.mean + 0.5 * x.mean(axis=0))


def test_a_layer_with_statistics_that_defines_its_call_is_refused() -> None:
    """Training runs step, so code in `__call__` would run in inference alone."""
    with pytest.raises(StructureError, match=r"Shifted defines __call__, but nn.step runs step"):

        class Shifted(Center):
            def __call__(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
                return super().__call__(x + 1, key=key, train=train)


class Direct(fd.Module):
    """A model that calls the step of a layer, and drops the successor."""

    norm: Any

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return self.norm.step(x, train=train)[0]


def test_a_successor_that_a_model_drops_is_not_lost_in_silence() -> None:
    model = Direct(Center(np.ones(3)))
    with pytest.raises(StructureError, match="the step of Center at norm was called within nn.step"):
        nn.step(model, X)
    y, same = nn.step(model, X, train=False)
    assert_trees_close(y, model.norm(X))
    assert same.norm.mean is model.norm.mean
    frozen = Direct(nn.freeze(Center(np.ones(3))))
    assert_trees_close(nn.step(frozen, X)[0], model.norm(X))


@pytest.mark.parametrize("run", [nn.step, nn.capture, nn.summary, lambda model, x: nn.init(model, KEY, x)])
def test_what_is_no_model_is_refused(run: Any) -> None:
    with pytest.raises(StructureError, match=r"a model is expected, got the class Linear: write Linear.init\(key, ...\)"):
        run(nn.Linear, X)
    with pytest.raises(StructureError, match=r"a model is expected, got float64\[5,3\], which cannot be called"):
        run(X, X)


def test_a_shape_in_place_of_an_input_is_refused() -> None:
    for run in (lambda x: nn.init(nn.Linear.lazy(3), KEY, x), lambda x: nn.summary(nn.Linear.init(KEY, 3, 2), x)):
        with pytest.raises(StructureError, match=r"For the shape write nn.Shape\(\(5, 3\)\)"):
            run((5, 3))
