"""BatchNorm over all ranks: results, statistics and derivatives are those of the whole batch, in every form of the layer."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.data import DataLoader
from fdezero.errors import ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

from .gpus import gpu_world, gpus, with_gpus
from .ranks import on_ranks

KEY = fd.random.key(0)


class Form(NamedTuple):
    """A form of the layer: the shape of the batch, where its entries lie, and options of `init`."""

    shape: tuple[int, ...]
    mean: float = 0.0
    dtype: Any = np.float64
    options: tuple[tuple[str, Any], ...] = ()
    tolerance: float = 1e-11


FORMS = {
    "features": Form((9, 4)),
    "sequences": Form((5, 4, 3)),
    "images": Form((3, 4, 2, 3)),
    "channels last": Form((5, 2, 4), options=(("axis", -1),)),
    "without scale": Form((9, 4), options=(("scale", False),)),
    "without shift": Form((9, 4), options=(("shift", False), ("eps", 1e-3), ("momentum", 0.5))),
    "without both": Form((9, 4), options=(("scale", False), ("shift", False))),
    "float32": Form((9, 4), dtype=np.float32, tolerance=2e-5),
    "float16": Form((9, 4), dtype=np.float16, tolerance=5e-3),
    "far from 0": Form((9, 4), mean=1e6, tolerance=1e-8),
    "float32, far from 0": Form((9, 4), mean=1e3, dtype=np.float32, tolerance=2e-5),
    "fewer examples than ranks": Form((2, 4)),
}


def share(tree: Any, world: Any) -> Any:
    """This rank's part of a batch, as the loader makes it."""
    return DataLoader(tree, 99, shuffle=False, shard=world.share).batch(0, 0)


def made(form: Form, n: int | None = None, **more: Any) -> tuple[Any, Any, Any]:
    """A layer with its own scale and shift, the whole batch, and weights of a loss."""
    rng = np.random.default_rng(7)
    layer = nn.BatchNorm.init(KEY, 4, dtype=form.dtype, **dict(form.options), **more)
    changes = {name: rng.normal(1, 0.3, 4).astype(form.dtype) for name in ("scale", "shift") if getattr(layer, name) is not None}
    shape = (n or form.shape[0], *form.shape[1:])
    return layer.replace(**changes), rng.normal(form.mean, 2, shape).astype(form.dtype), rng.normal(size=shape)


def loss(layer: Any, x: Any, w: Any) -> Any:
    """A sum over examples, so that ranks together compute the function of one. The statistics take part as well."""
    y, after = nn.step(layer, x, train=True)
    return (y.astype(np.float64) * w).sum(), (y, after.mean, after.variance)


@pytest.mark.parametrize("form", FORMS)
@on_ranks(1, 2, 4)
def test_the_whole_batch_decides(world: Any, form: str) -> None:
    layer, x, w = made(FORMS[form], world=world)
    run, mine = fd.value_and_grad(loss, argnums=(0, 1), has_aux=True), share((x, w), world)
    found = (_, (y, *statistics)), (of_layer, of_x) = run(layer, *mine)
    assert_trees_equal(fd.compile(run)(layer, *mine), found, bits=True)
    plain = made(FORMS[form])[0]
    (_, (whole, *expected)), (of_plain, of_whole) = fd.value_and_grad(loss, argnums=(0, 1), has_aux=True)(plain, x, w)
    tolerance = FORMS[form].tolerance
    assert y.dtype == of_x.dtype == x.dtype
    assert_trees_close((y, statistics), (share(whole, world), expected), tolerance)
    assert_trees_close(of_x, share(of_whole, world), tolerance * 10)
    total = world.all_reduce(fd.tree.leaves(of_layer))
    assert_trees_close(total, fd.tree.leaves(of_plain), tolerance * 10)


@on_ranks(1, 4)
def test_numpy_agrees(world: Any) -> None:
    """A reference of its own: formulas of the paper over the whole batch, and PyTorch's running statistics."""
    layer, x, _ = made(FORMS["images"], 5, world=world)
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    y, after = nn.step(layer, share(x, world), train=True)
    shape = (1, 4, 1, 1)
    z = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-5)
    assert_trees_close(y, share(z * layer.scale.reshape(shape) + layer.shift.reshape(shape), world), 1e-12)
    unbiased = x.var((0, 2, 3), ddof=1)
    assert_trees_close((after.mean, after.variance), (0.1 * mean, 0.9 + 0.1 * unbiased), 1e-12)


@on_ranks(1, 2, 4)
def test_several_steps_leave_equal_statistics_on_all_ranks(world: Any) -> None:
    layer, plain = (made(FORMS["float32"], **options)[0] for options in ({"world": world}, {}))
    for n in (9, 3, 5):  # parts of other sizes, also empty ones
        x = np.random.default_rng(n).normal(n, 1, (n, 4)).astype(np.float32)
        layer, plain = nn.step(layer, share(x, world), train=True)[1], nn.step(plain, x, train=True)[1]
    assert_trees_close((layer.mean, layer.variance), (plain.mean, plain.variance), 1e-5)
    every = world.all_gather((layer.mean[None], layer.variance[None]))
    assert all((column == column[0]).all() for column in every)


@on_ranks(2)
def test_second_derivatives_and_forward_mode(world: Any) -> None:
    layer, x, w = made(FORMS["features"], 5, world=world)
    plain, t = made(FORMS["features"])[0], np.cos(x)

    def slope(layer: Any, x: Any, w: Any, t: Any) -> Any:
        """This rank's term of the derivative along t of the loss of all ranks."""
        return (fd.grad(lambda x: loss(layer, x, w)[0])(x) * t).sum()

    second = fd.grad(slope, argnums=1)(layer, share(x, world), share(w, world), share(t, world))
    assert_trees_close(second, share(fd.grad(slope, argnums=1)(plain, x, w, t), world), 1e-10)
    y, tangent = fd.jvp(lambda x: loss(layer, x, share(w, world))[1], (share(x, world),), (share(t, world),))
    whole, expected = fd.jvp(lambda x: loss(plain, x, w)[1], (x,), (t,))
    assert_trees_close((y[0], tangent[0]), (share(whole[0], world), share(expected[0], world)), 1e-10)
    assert_trees_close((y[1:], tangent[1:]), (whole[1:], expected[1:]), 1e-10)


@on_ranks(1, 2)
def test_examples_of_a_vmap_on_all_ranks(world: Any) -> None:
    """Both names of a batch together: a key for each example asks for vmap, and ranks share the batch, also one example."""
    for n in (6, 5, 1):
        layer, x, w = made(FORMS["sequences"], n, world=world, axis_name="batch")
        plain = made(FORMS["sequences"])[0]

        def mapped(layer: Any, x: Any, w: Any) -> Any:
            def one(x: Any) -> Any:
                y, after = nn.step(layer, x[None], train=True)
                return y[0], (after.mean, after.variance)

            y, (mean, variance) = fd.vmap(one, axis_name="batch", out_axes=(0, None))(x)
            return (y * w).sum(), (y, mean, variance)

        (_, found), (of_layer, of_x) = fd.value_and_grad(mapped, argnums=(0, 1), has_aux=True)(layer, share(x, world), share(w, world))
        (_, whole), (of_plain, of_whole) = fd.value_and_grad(loss, argnums=(0, 1), has_aux=True)(plain, x, w)
        assert_trees_close((found[0], of_x), (share(whole[0], world), share(of_whole, world)), 1e-11)
        assert_trees_close(found[1:], whole[1:], 1e-11)
        assert_trees_close(world.all_reduce(fd.tree.leaves(of_layer)), fd.tree.leaves(of_plain), 1e-11)


@pytest.mark.parametrize(("form", "messages"), [("float32", 2), ("features", 3)])
@on_ranks(2)
def test_messages_are_few(world: Any, form: str, messages: int) -> None:
    """One in each direction; means of float64 have a further one."""
    layer, x, w = made(FORMS[form], world=world)
    known, count = world.messages.all_reduce, []
    world.messages.all_reduce = lambda *args: (count.append(args), known(*args))[1]
    try:
        fd.grad(lambda layer: loss(layer, share(x, world), share(w, world))[0])(layer)
    finally:
        world.messages.all_reduce = known
    assert len(count) == messages
    assert max(x.size for xs, *_ in count for x in xs) == 4 * 4  # four numbers for each channel, whatever the batch


@on_ranks(1, 2)
def test_an_existing_model_is_changed_in_one_call(world: Any) -> None:
    norm, other = nn.BatchNorm.init(KEY, 4), nn.BatchNorm.init(KEY, 4, axis=-1)
    model = nn.Sequential([nn.Linear.init(KEY, 4, 4), norm, nn.Residual(other), F.relu])
    changed = nn.sync_batch_norm(model, world)
    assert changed.layers[1].world == changed.layers[2].layer.world == world
    assert changed.layers[0] is model.layers[0]
    assert changed.layers[1].scale is norm.scale
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    y, after = nn.step(changed, share(x, world), train=True)
    whole, expected = nn.step(model, x, train=True)
    assert_trees_close((y, fd.tree.leaves(after)), (share(whole, world), fd.tree.leaves(expected)), 1e-5)
    assert nn.sync_batch_norm(changed, None).layers[1].world is None


@with_gpus
@on_ranks(2)
def test_gpus_give_what_cpus_give(world: Any, kind: str) -> None:
    for n in (5, 1):  # one leaves a rank without an example
        with gpus(kind):
            of_gpus = gpu_world()
            layer, x, w = made(FORMS["images"], n, world=of_gpus)
            arguments = fd.to_device((layer, share(x, world), share(w, world)), of_gpus.device)
            for way in (lambda f: f, fd.compile):
                found = fd.to_numpy(fd.tree.leaves(way(fd.value_and_grad(loss, argnums=(0, 1), has_aux=True))(*arguments)))
                on_cpu = made(FORMS["images"], n, world=world)[0]
                wanted = fd.value_and_grad(loss, argnums=(0, 1), has_aux=True)(on_cpu, *share((x, w), world))
                assert_trees_close(found, fd.tree.leaves(wanted), 1e-10)


@on_ranks(1, 2)
def test_mistakes(world: Any) -> None:
    with pytest.raises(StructureError, match=r"BatchNorm: world is what fd.distributed.world\(\) returns, got int 4"):
        nn.BatchNorm.init(KEY, 3, world=4)
    with pytest.raises(StructureError, match="got str"):
        F.batch_norm_with_statistics(np.ones((3, 2)), world="mpi")
    with pytest.raises(ShapeError, match="for all examples of 'batch', has one number for each of 4 channels"):  # of this rank alone
        fd.vmap(lambda x: nn.step(made(FORMS["features"], axis_name="batch")[0], x[None], train=True)[0], axis_name="batch")(np.ones((1, 4)))
    with pytest.raises(ShapeError, match="one number for each" if world.size == 1 else "all ranks together have one number for each channel"):
        F.batch_norm_with_statistics(share(np.ones((1, 3)), world), world=world)
