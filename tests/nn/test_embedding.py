"""Embeddings: ids, the row of the padding, gradients against PyTorch (test_dezero.py has DeZero's), errors."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero import numpy as f
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_equal

RNG = np.random.default_rng(3)
W = RNG.standard_normal((7, 4))
IDS = np.array([[3, 0, 3], [6, 6, 6]])
WEIGHTS = RNG.standard_normal((2, 3, 4))


def loss(W: Any, ids: Any = IDS, **options: Any) -> Any:
    return f.sum(F.embedding(ids, W, **options) ** 2 * WEIGHTS)


@pytest.mark.parametrize("padding_index", [None, 0, 6])
def test_values_and_gradients_are_pytorchs(padding_index: int | None) -> None:
    torch = pytest.importorskip("torch")
    parameter = torch.from_numpy(W.copy()).requires_grad_()
    y = torch.nn.functional.embedding(torch.from_numpy(IDS), parameter, padding_idx=padding_index)
    (y**2 * torch.from_numpy(WEIGHTS)).sum().backward()
    assert_trees_equal(F.embedding(IDS, W, padding_index), y.detach().numpy(), bits=True)
    np.testing.assert_allclose(fd.grad(loss)(W, padding_index=padding_index), parameter.grad.numpy(), rtol=1e-14)


def test_the_row_of_the_padding_is_read_but_gets_no_gradient() -> None:
    assert_trees_equal(F.embedding(IDS, W, 6), W[IDS], bits=True)
    expected = fd.grad(loss)(W)
    expected[6] = 0
    gradient = fd.grad(lambda W: loss(W, padding_index=6))
    assert_trees_equal(gradient(W), expected, bits=True)
    assert_trees_equal(fd.compile(gradient)(W), expected, bits=True)
    moved = fd.jvp(lambda W: F.embedding(IDS, W, 6), (W,), (np.ones_like(W),))[1]
    assert_trees_equal(moved, np.ones((2, 3, 4)) * (IDS != 6)[..., None])
    assert not fd.hessian(lambda W: loss(W, padding_index=6))(W)[6].any()


def test_the_layer_draws_a_table_with_zeros_for_padding() -> None:
    layer = nn.Embedding.init(fd.random.key(0), 4000, 3, padding_index=7)
    assert layer.W.dtype == np.float32
    assert not layer.W[7].any()
    assert abs(layer.W.std() - 1) < 0.02
    assert_trees_equal(layer(np.array([7, 2])), layer.W[[7, 2]], bits=True)
    small = nn.Embedding.init(fd.random.key(0), 5, 2, weight_init=nn.initial.constant(3.0), dtype=np.float64)
    assert_trees_equal(small(np.array(4)), np.array([3.0, 3.0]))
    assert_trees_equal(fd.grad(lambda layer: f.sum(layer(np.array([7, 2, 2]))))(layer).W.sum(-1)[[2, 7]], np.array([6, 0], np.float32))
    with pytest.raises(RangeError, match="Embedding: count must be an integer of at least 1, got int 0"):
        nn.Embedding.init(fd.random.key(0), 0, 3)
    with pytest.raises(RangeError, match="Embedding: padding_index is the number of a row, 0 to 4, or None; got int 5"):
        nn.Embedding.init(fd.random.key(0), 5, 3, padding_index=5)


def test_one_hot_lines_times_a_table_are_its_rows() -> None:
    np.testing.assert_allclose(F.one_hot(IDS, 7, np.float64) @ W, F.embedding(IDS, W))
    assert F.one_hot([1, 0], 2).dtype == np.float32


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("wrong", "said"), [(7, "0 and 7"), (-1, "-1 and 6")])
def test_an_id_out_of_range_is_an_error(wrong: int, said: str, compiled: bool) -> None:
    ids = IDS.copy()
    ids[0, 2] = wrong
    for function, holder, last in ((lambda ids: F.embedding(ids, W), "W has 7 rows", 6), (lambda ids: F.one_hot(ids, 7), "count is 7", 6)):
        call = fd.compile(function) if compiled else function
        call(IDS)
        with pytest.raises(RangeError, match=f"ids lie between {said}, but {holder}, so ids go from 0 to {last}"):
            call(ids)


def test_on_a_gpu_the_row_of_an_id_out_of_range_is_nan(gpu: Any) -> None:
    table, ids = fd.to_device((W, np.array([7, 2, -1], np.int8)), "gpu")
    for call in (F.embedding, fd.compile(F.embedding)):
        assert np.isnan(fd.to_numpy(call(ids, table))).all(-1).tolist() == [True, False, True]
        assert fd.to_numpy(call(abs(ids) - 1, table)).tolist() == [*W[[6, 1, 0]].tolist()]
    slope = fd.grad(lambda W: f.sum(F.embedding(ids, W)))(table)
    assert fd.to_numpy(slope).sum(-1).tolist() == [0, 0, 4, 0, 0, 0, 0]
    with pytest.raises(RangeError, match="embedding: ids lie between -1 and 7, but W has 7 rows"):
        fd.debug(F.embedding)(ids, table)


def test_what_is_not_an_id_or_a_table_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"embedding takes integer ids, got float64\[2\]\. Use ids\.astype\(int\)"):
        F.embedding(np.ones(2), W)
    with pytest.raises(DTypeError, match=r"one_hot takes integer ids, got bool\[2\]\. Use numpy\.flatnonzero"):
        F.one_hot(np.ones(2, bool), 3)
    with pytest.raises(ShapeError, match=r"a table W of shape \(count, size\), got float64\[4\]"):
        F.embedding(IDS, W[0])
    with pytest.raises(StructureError, match=r"embedding expects a table W, got int 3: nn\.Embedding\.init"):
        F.embedding(IDS, 3)
    for index in (7, -1, 1.0):
        with pytest.raises(RangeError, match="embedding: padding_index is the number of a row, 0 to 6, or None"):
            F.embedding(IDS, W, index)
    for count in (0, 2.0):
        with pytest.raises(RangeError, match="one_hot: count must be an integer of at least 1"):
            F.one_hot(IDS, count)
