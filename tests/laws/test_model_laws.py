"""The laws of layers over the table of models, in training and in inference."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import models, nn
from fdezero.testing import assert_trees_close, check_grads
from fdezero.testing.structures import is_layer

from ..profiles import NIGHTLY
from . import test_layer_laws as laws
from .layer_row import KEY, Row, called
from .models import DEEPER, MODELS, WITHOUT_A_ROW

row = pytest.mark.parametrize("row", MODELS, ids=str)
train = pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
usual = train if NIGHTLY else pytest.mark.parametrize("train", [True], ids=["training"])  # the layers have laws of their own


@row
@usual
def test_derivatives_are_differences(row: Row, train: bool) -> None:
    check_grads(called(train), (row.layer(), *row.xs()), order=row.order, at_kinks="skip")  # a deep network has thousands of them


@row
@usual
def test_compiled_has_the_bits_of_eager(row: Row, train: bool) -> None:
    laws.test_compiled_has_the_bits_of_eager(row, train)


@row
def test_an_ensemble_is_made_and_called_by_vmap(row: Row) -> None:
    laws.test_an_ensemble_is_made_and_called_by_vmap(row, True)


@row
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_dtypes_are_kept(row: Row, dtype: Any) -> None:
    laws.test_narrow_dtypes_are_kept(row, True, dtype)


@row
def test_every_key_is_used_once(row: Row) -> None:
    laws.test_every_key_is_used_once(row, True)


@row
def test_models_run_on_the_device_of_their_arrays(row: Row, gpu: Any) -> None:
    laws.test_layers_run_on_the_device_of_their_arrays(row, True, gpu)


@row
def test_inference_needs_no_key_and_ignores_one(row: Row) -> None:
    laws.test_inference_needs_no_key_and_ignores_one(row)


@row
def test_vmap_over_images_is_the_batch(row: Row) -> None:
    """In inference, an image's logits do not depend on the others of its batch."""
    model, (x,) = row.layer(), row.xs()
    one = fd.vmap(lambda image: called(False)(model, image[None])[0])(x)
    assert_trees_close(one, called(False)(model, x), 1e-12)


@pytest.mark.parametrize("row", [row for row in MODELS if hasattr(row.layer(), "checkpoint")], ids=str)
def test_a_checkpointed_model_has_the_same_gradients_and_statistics(row: Row) -> None:
    model, (x,) = row.layer(), row.xs()

    def loss(model: Any) -> Any:
        y, successor = nn.step(model, x, key=KEY, train=True)
        return (y**2).sum(), successor.replace(checkpoint=False)

    (expected, found) = [fd.value_and_grad(loss, has_aux=True)(model.replace(checkpoint=switch)) for switch in (False, True)]
    assert_trees_close(fd.tree.leaves(found), fd.tree.leaves(expected), 1e-9)


def test_the_table_has_every_model() -> None:
    names = {name for name in models.__all__ if is_layer(getattr(models, name))}
    assert {row.name for row in MODELS} | WITHOUT_A_ROW | set(DEEPER) >= names
    assert {row.name for row in MODELS} <= names
    assert all(type(row.layer()) is getattr(models, row.name) for row in MODELS)
    for deep, row_name in DEEPER.items():
        assert vars(getattr(models, deep)).keys() <= vars(getattr(models, row_name)).keys(), "it adds code, and needs a row of its own"
