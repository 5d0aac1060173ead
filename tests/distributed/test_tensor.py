"""Layers that are cut over ranks: values and gradients of the whole layer, one message each way, and a mesh of data and tensor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.distributed import ColumnLinear, RowLinear, gathered
from fdezero.errors import FileError, RangeError, ShapeError, StructureError
from fdezero.io import Checkpoints
from fdezero.testing import assert_trees_close, assert_trees_equal
from fdezero.tree.wholes import cut, outlined
from tests.distributed.ranks import on_ranks
from tests.distributed.test_operations import counting

key = fd.random.key
x = np.linspace(-1, 1, 30).reshape(5, 6).astype(np.float32)
t = np.array([0, 1, 2, 3, 4])


def network(world: Any, dtype: Any = np.float32) -> Any:
    """Blocks of both kinds, with layers between them that every rank has whole."""
    return nn.Sequential([
        nn.LayerNorm.init(key(0), 6, dtype=dtype),
        ColumnLinear.init(key(1), 6, 12, world, dtype=dtype),
        F.gelu,
        RowLinear.init(key(2), 12, 6, world, dtype=dtype),
        nn.LayerNorm.init(key(3), 6, dtype=dtype),
        ColumnLinear.init(key(4), 6, 12, world, gather=True, dtype=dtype, bias=False),
        F.tanh,
        RowLinear.init(key(5), 12, 6, world, scatter=True, dtype=dtype, bias_init=nn.initial.ones),
    ])  # fmt: skip


def loss_fn(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


@on_ranks(1, 2, 3)
def test_a_cut_network_is_the_whole_one(world: Any) -> None:
    model = network(world)
    whole = gathered(model)
    assert [type(layer).__name__ for layer in whole.layers if hasattr(layer, "W")] == ["Linear"] * 4
    assert_trees_equal(whole.layers[1], nn.Linear.init(key(1), 6, 12), bits=True)
    assert_trees_equal(cut(whole, like=model), model, bits=True)
    assert model.layers[1].W.shape == (6, 12 // world.size)
    assert model.layers[3].b.shape == (6,)
    assert {np.shape(leaf) for leaf in fd.tree.leaves(outlined(model))} == {np.shape(leaf) for leaf in fd.tree.leaves(whole)}
    assert_trees_close(model(x), whole(x), 1e-5)
    expected = fd.value_and_grad(loss_fn)(whole, x, t)
    over_all = fd.distributed.value_and_grad(loss_fn, world)
    found = over_all(model, x, t)
    assert_trees_close(gathered(found), expected, 1e-5)
    assert_trees_equal(fd.compile(over_all)(model, x, t), found, bits=True)
    tangent = fd.tree.map(np.cos, whole)
    along = fd.jvp(lambda model: loss_fn(model, x, t), (model,), (cut(tangent, like=model),))
    assert_trees_close(along, fd.jvp(lambda model: loss_fn(model, x, t), (whole,), (tangent,)), 1e-5)
    assert_trees_close(fd.vmap(model)(np.stack([x, -x])), np.stack([whole(x), whole(-x)]), 1e-5)


@on_ranks(2)
def test_second_derivatives_are_those_of_the_whole(world: Any) -> None:
    """The gradient of a sum over ranks: each rank's loss is its share of the whole one."""
    model = network(world, np.float64)
    whole, wide = gathered(model), x.astype(np.float64)
    tangent = fd.tree.map(np.cos, whole)
    grad = fd.grad(lambda model: loss_fn(model, wide, t) / world.size)
    found = fd.jvp(grad, (model,), (cut(tangent, like=model),))
    expected = fd.jvp(fd.grad(lambda model: loss_fn(model, wide, t)), (whole,), (tangent,))
    for mine, theirs in zip(found, expected, strict=True):
        assert_trees_close(gathered(mine).layers[1], theirs.layers[1], 1e-10)  # a part has its gradient
        assert_trees_close(world.all_reduce(mine).layers[0], theirs.layers[0], 1e-10)  # what all have is summed


@on_ranks(2)
def test_a_block_sends_one_message_forward_and_one_back(world: Any) -> None:
    world, said = counting(world)
    block = nn.Sequential([ColumnLinear.init(key(1), 6, 12, world), F.gelu, RowLinear.init(key(2), 12, 6, world)])
    model = nn.Sequential([nn.Linear.init(key(0), 6, 6), block, block])
    model(x)
    assert [name for name, *_ in said] == ["all_reduce"] * 2
    said.clear()
    fd.grad(loss_fn)(model, x, t)
    assert [name for name, *_ in said] == ["all_reduce"] * 4
    said.clear()
    fd.distributed.value_and_grad(loss_fn, world)(model, x, t)
    assert [name for name, *_ in said] == ["all_reduce"] * 6  # the number of examples, and at last the gradients that all ranks share


@on_ranks(4)
@pytest.mark.parametrize("way", ["value_and_grad", "mean"])
def test_a_mesh_of_data_and_tensor_trains_as_one_process(world: Any, tmp_path: Path, way: str) -> None:
    row, column = divmod(world.rank, 2)
    tensor, data = world.split(row), world.split(column)
    opt = optim.sharded(optim.chain(optim.clip(0.1), optim.adam(0.01)), data, least=1)
    model = network(tensor)
    whole, alone = gathered(model), optim.chain(optim.clip(0.1), optim.adam(0.01))
    mine = (slice(0, 3), slice(3, 5))[row] if way == "value_and_grad" else (slice(0, 2), slice(2, 4))[row]
    all_of_them = slice(0, 5) if way == "value_and_grad" else slice(0, 4)
    if way == "value_and_grad":
        step = fd.distributed.value_and_grad(loss_fn, world)
        full = opt
    else:
        step, full = fd.value_and_grad(loss_fn), optim.chain(fd.distributed.mean(world), opt)
    state, expected = full.init(model), (whole, alone.init(whole))
    for _ in range(3):
        _, grads = step(model, x[mine], t[mine])
        model, state = full.step(model, grads, state)
        expected = alone.step(expected[0], fd.grad(loss_fn)(expected[0], x[all_of_them], t[all_of_them]), expected[1])
    assert_trees_close(gathered((model, state)), expected, 1e-4)
    assert_trees_equal(cut(gathered((model, state)), like=(model, state)), (model, state), bits=True)
    with Checkpoints(tmp_path, world=world) as saved:
        saved.save({"model": model, "state": state}, 3)
        again = saved.restore(like={"model": network(tensor), "state": full.init(network(tensor))})
        assert_trees_equal(again, {"model": model, "state": state}, bits=True)
    on_one = fd.load(tmp_path / "step-3.npz", like={"model": whole, "state": alone.init(whole)})
    assert_trees_equal(on_one, gathered({"model": model, "state": state}), bits=True)
    loaded = fd.load(tmp_path / "step-3.npz", like={"model": network(tensor), "state": full.init(network(tensor))})
    assert_trees_equal(loaded, again, bits=True)


@on_ranks(1, 2)
def test_optimisers_that_look_at_whole_arrays_are_refused(world: Any) -> None:
    """Each rank would clip by the norm of its own parts, so what all ranks hold would differ from rank to rank."""
    adam, model = optim.adam(0.01), network(world)
    for opt in (
        optim.chain(optim.clip_by_global_norm(1.0), adam), optim.accumulate(optim.chain(optim.clip_by_norm(1.0), adam), 2),
        optim.chain(fd.distributed.mean(world), optim.adaptive_clip(), adam), optim.chain(optim.centralise(), adam),
        optim.lamb(0.01), optim.lars(0.01), optim.adafactor(0.01), optim.skip_nonfinite(adam), optim.monitor(adam),
    ):  # fmt: skip
        if world.size == 1:
            opt.init(model)
            continue
        with pytest.raises(StructureError, match=r"looks at whole arrays, but this rank holds a part of layers/1, so ranks would drift apart"):
            opt.init(model)
    for opt in (optim.chain(fd.distributed.mean(world), optim.clip(1.0), optim.weight_decay(0.1), adam), optim.accumulate(adam, 2)):
        opt.init(model)


@on_ranks(2)
def test_mistakes_say_what_to_do(world: Any, tmp_path: Path) -> None:
    with pytest.raises(RangeError, match="ColumnLinear: out_size is a multiple of the 2 ranks; got 7"):
        ColumnLinear.init(key(0), 6, 7, world)
    with pytest.raises(RangeError, match="RowLinear: in_size is a multiple of the 2 ranks; got 7"):
        RowLinear.init(key(0), 7, 6, world)
    with pytest.raises(StructureError, match=r"a world is what fd.distributed.world\(\) returns, got int 2"):
        RowLinear.init(key(0), 6, 6, 2)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(StructureError, match=r"RowLinear.of takes an nn.Linear"):
        RowLinear.of(x, world)
    layer = RowLinear.init(key(0), 6, 4, world)
    with pytest.raises(ShapeError, match=r"this rank's part of the last axis, 3 of 6, got x float32\[5,6\].*scatter=True"):
        layer(x)
    with pytest.raises(ShapeError, match="expects a last axis of 3, got x"):
        layer(x[:, :2])
    with pytest.raises(ShapeError, match="with scatter=True expects a last axis of 6"):
        layer.replace(scatter=True)(x[:, :3])
    with pytest.raises(FileError, match="one rank's part"):
        fd.save(tmp_path / "model.npz", {"layer": layer})
    with pytest.raises(StructureError, match="with reproducible=True a layer cannot be cut over ranks"):
        fd.distributed.value_and_grad(loss_fn, world, reproducible=True)(network(world), x, t)
    alone = world.split(world.rank)
    with pytest.raises(StructureError, match=r"cut over the ranks \[0, 1\], which are not all in the world"):
        fd.distributed.mean(alone).update(network(world), {}, None)


def test_half_precision_and_a_world_of_one() -> None:
    world = fd.distributed.world("none")
    model = network(world, np.float16)
    y = model(x.astype(np.float16))
    assert y.dtype == np.float16
    assert_trees_close(y, gathered(model)(x.astype(np.float16)), 0)
    assert repr(model.layers[3]).endswith("world=<world: rank 0 of 1 on cpu, backend none>)")  # a static field is shown as it shows itself
