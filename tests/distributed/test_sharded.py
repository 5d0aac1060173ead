"""`optim.sharded` on several ranks: the bits of every optimiser alone, on trees of any leaves, and a share of its memory."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, optim
from fdezero.errors import FileError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_equal
from fdezero.tree.parts import Part
from fdezero.tree.wholes import cut, outlined
from tests.distributed.ranks import on_ranks
from tests.laws.optimisers import OPTIMISERS

REFUSED = {"adafactor", "adafactor_direction"}  # what keeps rows and columns of whole arrays
KEEPS_NOTHING = {"clip_by_global_norm", "descend", "descend by a schedule", "scale", "sgd", "sign", "sign_sgd", "trust_ratio", "centralise", "clip", "weight_decay of matrices"}  # fmt: skip
ROWS = [name for name in OPTIMISERS if name not in REFUSED and name != "sharded"]


def start() -> Any:
    """Arrays of every kind; few lengths divide by 2, 3 or 4, and some are shorter than the number of ranks."""
    numbers = np.linspace(-2, 3, 72)
    return {
        "w": numbers[:15].reshape(3, 5).astype(np.float32),
        "kernel": numbers.reshape(2, 3, 3, 4).transpose(0, 3, 1, 2),
        "turned": numbers[:15].reshape(3, 5).T,
        "half": np.float16([0.5, -2, 3]),
        "complex": np.array([1 - 2j, 3]),
        "one": np.ones(1),
        "empty": np.zeros((0, 3), np.float32),
        "number": 1.5,
        "scalar": np.float32(2),
        "count": np.arange(3),
        "frozen": fd.Frozen({"w": np.ones(2)}),
        "layer": nn.BatchNorm.init(fd.random.key(0), 5),
    }


def gradient_of(params: Any) -> Any:
    return fd.tree.map(lambda p: p * (1 + abs(p)), fd.tree.trainable(params))


def run(opt: Any, params: Any, steps: int = 4, compiled: bool = False) -> Any:
    step = lambda params, state: opt.step(params, gradient_of(params), state)
    step = fd.compile(step) if compiled else step
    state = opt.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def strides(tree: Any) -> Any:
    return [getattr(leaf, "strides", None) for leaf in fd.tree.leaves(tree) if np.size(leaf)]


def shapes(tree: Any) -> Any:
    return [(path, np.shape(leaf)) for path, leaf in fd.tree.flatten_with_path(tree)]


@on_ranks(1, 2, 3)
def test_every_optimiser_has_the_bits_of_itself_alone(world: Any) -> None:
    for name in ROWS:
        alone, opt = OPTIMISERS[name](0.1), optim.sharded(OPTIMISERS[name](0.1), world, least=1)
        expected, (params, state) = run(alone, start()), run(opt, start())
        assert_trees_equal((params, fd.distributed.gathered(state)), expected, bits=True)
        assert strides(params) == strides(expected[0]), name
        assert_trees_equal(cut(expected[1], like=state), state, bits=True)
        assert shapes(outlined(state)) == shapes(expected[1]), name
        assert (opt.entries, opt.counts) == (alone.entries, alone.counts), name


@on_ranks(2)
@pytest.mark.parametrize("name", ["adam", "accumulate", "by_path", "chain", "lamb", "lars", "lookahead", "monitor", "skip_nonfinite"])
def test_compiled_steps_have_the_same_bits(world: Any, name: str) -> None:
    opt = optim.sharded(OPTIMISERS[name](0.1), world, least=1)
    params, state = run(opt, start(), compiled=True)
    assert_trees_equal((params, fd.distributed.gathered(state)), run(OPTIMISERS[name](0.1), start()), bits=True)


@on_ranks(2, 3)
def test_ranks_keep_equal_shares_of_the_state(world: Any) -> None:
    params = {"W": np.ones((30, 40), np.float32), "b": np.ones(7, np.float32)}
    state = optim.sharded(optim.adam(), world).init(params)
    assert isinstance(state["mean"]["W"], Part)
    assert state["mean"]["W"].values.nbytes == 4800 // world.size
    assert state["mean"]["b"].shape == (7,)  # a message would cost more than it saves
    small = optim.sharded(optim.adam(), world, least=7).init(params)["mean"]["b"].values
    assert small.size == {2: (4, 3), 3: (3, 3, 1)}[world.size][world.rank]


@on_ranks(2)
def test_what_needs_whole_gradients_stays_outside(world: Any) -> None:
    shown = {
        "chain": "chain(clip_by_global_norm(max_norm=1.0), sharded(chain(weight_decay(rate=0.01), adam(lr=0.1, ",
        "lamb": "chain(sharded(chain(moments(b1=0.9, b2=0.999, eps=1e-06), weight_decay(rate=0.01)), ",
        "skip_nonfinite": "skip_nonfinite(sharded(adam(lr=0.1, ",
        "accumulate": "sharded(accumulate(adam(lr=0.1, ",
        "adam": "sharded(adam(lr=0.1, ",
    }
    for name, beginning in shown.items():
        assert repr(optim.sharded(OPTIMISERS[name](0.1), world)).startswith(beginning), name
    for name in KEEPS_NOTHING:
        opt = OPTIMISERS[name](0.1)
        assert optim.sharded(opt, world) is opt, name
    for name in set(ROWS) - KEEPS_NOTHING:
        assert "sharded(" in repr(optim.sharded(OPTIMISERS[name](0.1), world)), name


class Shift(optim.GradientTransformation):
    """Gradients less their mean: an entry moves by others."""

    entries = ("before",)

    def init(self, params: Any) -> Any:
        return {"before": fd.tree.map(np.zeros_like, params)}

    def update(self, grads: Any, state: Any, params: Any) -> Any:
        return fd.tree.map(lambda g: g - g.mean(), grads), {"before": grads}


class Noted(optim.moments):
    """A class that changes the update of its base, and so must say again that entries move on their own."""

    def update(self, grads: Any, state: Any, params: Any) -> Any:
        return super().update(fd.tree.map(lambda g: g - g.mean(), grads), state, params)


def test_what_cannot_be_cut_is_refused_by_name() -> None:
    world = fd.distributed.world("none")
    for name in REFUSED:
        with pytest.raises(StructureError, match=r"sharded: the state of adafactor_direction\(.*cannot be cut"):
            optim.sharded(OPTIMISERS[name](0.1), world)
    for made in (Shift(), Noted(), optim.GradientTransformation(lambda params: (), lambda grads, state, params: (grads, state))):
        with pytest.raises(StructureError, match="cannot be cut"):
            optim.sharded(made, world)
    outside = optim.sharded(optim.chain(Shift(), optim.adam()), world)
    assert repr(outside).startswith("chain(Shift(), sharded(adam(")
    with pytest.raises(StructureError, match="L-BFGS needs the loss of all data at once"):
        optim.sharded(optim.lbfgs(), world)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(StructureError, match=r"got type for the optimiser. Make it first: adam\(1e-3\)"):
        optim.sharded(optim.adam, world)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(StructureError, match=r"a world is what fd.distributed.world\(\) returns, got int 2"):
        optim.sharded(optim.adam(), 2)
    with pytest.raises(RangeError, match="least is a number of entries"):
        optim.sharded(optim.adam(), world, least=0)


@on_ranks(2)
def test_a_mask_sees_whole_parameters(world: Any) -> None:
    seen = []

    def matrices(path: str, leaf: Any) -> bool:
        seen.append((path, leaf.shape))
        return leaf.ndim > 1

    params = {"W": np.ones((4, 5)), "b": np.ones(5)}
    opt = optim.adamw(0.1, weight_decay=0.5, mask=matrices)
    assert_trees_equal(run(optim.sharded(opt, world, least=1), params)[0], run(opt, params)[0], bits=True)
    assert set(seen) == {("W", (4, 5)), ("b", (5,))}
    groups = optim.by_path({"W": opt, ...: optim.adam(0.1)})
    params["b"] = np.ones(3)
    assert_trees_equal(run(optim.sharded(groups, world, least=1), params)[0], run(groups, params)[0], bits=True)


@on_ranks(2)
def test_mistakes_name_the_parameter(world: Any) -> None:
    params = {"layers": [{"W": np.ones((4, 5))}]}
    opt = optim.sharded(optim.adam(), world, least=1)
    with pytest.raises(ShapeError, match=r"layers/0/W is float64\[5,4\], the parameter float64\[4,5\]"):
        opt.step(params, {"layers": [{"W": np.ones((5, 4))}]}, opt.init(params))
    with pytest.raises(StructureError, match="structures of grads and the state's mean differ.* holds this rank's parts: it comes from"):
        opt.step(params, params, optim.adam().init(params))
    with pytest.raises(StructureError, match="holds this rank's parts"):
        opt.update(params, optim.sharded(optim.adam(), world).init(params), params)
    assert repr(opt.init(params)["mean"]["layers"][0]["W"]) == f"Part(float64[10] of [4, 5], rank {world.rank} of 2)"
    with pytest.raises(StructureError, match="state of another optimiser"):
        opt.step(params, params, optim.sgd(0.1).init(params))
    state = opt.init(params)
    with pytest.raises(FileError, match=r"mean/layers/0/W is one rank's part of an array, .*Checkpoints\(folder, world=world\)"):
        fd.save("never.npz", state)
    other = state["mean"]["layers"][0]["W"].replace(share=(0, 4))
    with pytest.raises(StructureError, match=rf"cut for rank 0 of 4, but this is rank {world.rank} of 2"):
        fd.distributed.gathered({"W": other})


def test_files_of_one_process_are_those_of_the_optimiser_alone(tmp_path: Any) -> None:
    params = {"W": np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5), "b": np.ones(5)}
    opt, alone = optim.sharded(optim.adam(0.1), fd.distributed.world("none"), least=1), optim.adam(0.1)
    state, expected = run(opt, params)[1], run(alone, params)[1]
    fd.save(tmp_path / "state.npz", state)
    assert_trees_equal(fd.load(tmp_path / "state.npz", like=expected), expected, bits=True)
    assert_trees_equal(fd.load(tmp_path / "state.npz", like=opt.init(params)), state, bits=True)
    fd.save(tmp_path / "less.npz", {"mean": state["mean"]})
    found = fd.load(tmp_path / "less.npz", like=opt.init(params) | {"mean": opt.init(params)["mean"]}, strict=False)
    assert_trees_equal(found, opt.init(params) | {"mean": state["mean"]}, bits=True)


@on_ranks(2)
@pytest.mark.parametrize("name", ["adam", "lamb"])
def test_a_gradient_of_another_memory_order(world: Any, name: str) -> None:
    """A column-major parameter, as `weight.T` of a file is, becomes row-major by a row-major gradient, and products tell the two apart."""
    rng = np.random.default_rng(0)
    x, opt = rng.normal(size=(16, 64)).astype(np.float32), getattr(optim, name)(0.01)
    alone = several = {"w": np.asfortranarray(rng.normal(size=(64, 48)).astype(np.float32))}
    state, parts = opt.init(alone), optim.sharded(opt, world).init(several)
    slope = fd.grad(lambda params: fd.numpy.mean(fd.numpy.tanh(x @ params["w"]) ** 2))
    for _ in range(4):
        alone, state = opt.step(alone, slope(alone), state)
        several, parts = optim.sharded(opt, world).step(several, slope(several), parts)
    assert_trees_equal(several, alone, bits=True)
    assert strides(several) == strides(alone)
