"""Masks of weight decay, optimisers by path, frozen paths: what moves, what is kept, and leaves without a place."""

import pickle
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import StructureError
from fdezero.testing import assert_trees_equal

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
MODEL = {"features": nn.MLP.init(fd.random.key(0), (4, 5, 4)), "head": nn.Linear.init(fd.random.key(1), 4, 3), "count": 3}
PATHS = ["features/layers/0/W", "features/layers/0/b", "features/layers/1/W", "features/layers/1/b", "head/W", "head/b"]


def loss(model: Any) -> Any:
    return F.softmax_cross_entropy(model["head"](model["features"](X)), np.arange(8) % 3)


def run(opt: Any, steps: int = 3, compiled: bool = False) -> Any:
    def step(model: Any, state: Any) -> Any:
        return opt.step(model, fd.grad(loss)(model), state)

    step = fd.compile(step, max_recordings=1) if compiled else step
    model, state = MODEL, opt.init(MODEL)
    for _ in range(steps):
        model, state = step(model, state)
    return model, state


def moved(opt: Any) -> list[str]:
    """The paths of leaves that a step changes."""
    after = fd.tree.flatten_to_dict(run(opt, 1)[0])
    return [path for path, leaf in fd.tree.flatten_with_path(MODEL) if not np.array_equal(after[path], leaf)]


# Masks


@pytest.mark.parametrize(
    "mask",
    ["**/W", ("features/*/*/W", "head/W"), lambda path, leaf: leaf.ndim > 1, lambda path, leaf: path.endswith("W"),
     {"features": fd.tree.map(lambda leaf: leaf.ndim > 1, MODEL["features"]), "head": {"W": True, "b": False}}],
    ids=["a pattern", "patterns", "a function of the leaf", "a function of the path", "a tree"],
)  # fmt: skip
def test_masks_choose_what_decays(mask: Any) -> None:
    opt = optim.chain(optim.weight_decay(0.5, mask), optim.sgd(1.0))
    after = opt.step(MODEL, fd.tree.map(lambda p: p * 0, fd.tree.trainable(MODEL)), opt.init(MODEL))[0]
    halves = {path: leaf / 2 if path.endswith("W") else leaf for path, leaf in fd.tree.flatten_to_dict(MODEL).items()}
    assert_trees_equal(fd.tree.flatten_to_dict(after), halves)
    assert_trees_equal(run(opt), run(opt, compiled=True), bits=True)


def test_a_layer_in_a_mask_is_all_that_it_holds() -> None:
    assert moved(optim.chain(optim.scale(0.0), optim.weight_decay(1.0, "features/layers/0"), optim.sgd(0.1))) == PATHS[:1]  # its bias is 0
    assert moved(optim.chain(optim.scale(0.0), optim.weight_decay(1.0, {"features": False, "head": True}), optim.sgd(0.1))) == ["head/W"]
    assert moved(optim.chain(optim.scale(0.0), optim.weight_decay(1.0, {"features": False, "head": False}), optim.sgd(0.1))) == []


def test_masks_that_do_not_fit_are_named() -> None:
    def step(mask: Any) -> Any:
        opt = optim.weight_decay(0.1, mask)
        return opt.step(MODEL, fd.tree.trainable(MODEL), opt.init(MODEL))

    with pytest.raises(StructureError, match=r"weight_decay: nothing matches 'head/w'. Paths like it: head/b, head/W"):
        step("head/w")
    with pytest.raises(StructureError, match="weight_decay: the mask has no truth value for head/W"):
        step({"features": True})
    with pytest.raises(StructureError, match="weight_decay: the mask .*lambda.* returns NoneType; it must return True or False"):
        step(lambda path, leaf: None)
    for mask in (3, {"features": 1.0}, [3], ()):
        with pytest.raises(StructureError, match="weight_decay: a mask is a pattern such as"):
            optim.weight_decay(0.1, mask)


# Optimisers by path


def test_each_group_has_the_steps_of_its_own_optimiser() -> None:
    both = optim.by_path({"features/*": optim.momentum(0.1), "head/*": optim.chain(optim.clip_by_global_norm(0.01), optim.adam(0.02))})
    model, state = run(both)
    for name, opt in (("features", optim.momentum(0.1)), ("head", optim.chain(optim.clip_by_global_norm(0.01), optim.adam(0.02)))):
        alone, own = MODEL, opt.init(MODEL[name])
        for k in range(3):
            gradient = fd.grad(loss)(run(both, k)[0])[name]
            part, own = opt.step(run(both, k)[0][name], gradient, own)
            alone = {**alone, name: part}
        assert_trees_equal(model[name], alone[name], bits=True)
    assert model["count"] is MODEL["count"]
    assert_trees_equal((model, state), run(both, compiled=True), bits=True)


def test_states_have_the_names_of_groups_and_only_their_leaves() -> None:
    opt = optim.by_path({("features/layers/0/*", "head/b"): optim.momentum(0.1), "**/1/W": optim.adam(0.1), ...: None})
    assert fd.tree.paths(opt.init(MODEL)) == [
        "1.W/mean/features/layers/1/W", "1.W/root/features/layers/1/W", "1.W/step",
        "features.layers.0/velocity/features/layers/0/W", "features.layers.0/velocity/features/layers/0/b", "features.layers.0/velocity/head/b",
    ]  # fmt: skip
    assert moved(opt) == [PATHS[0], PATHS[1], PATHS[2], PATHS[5]]
    assert fd.tree.paths(optim.by_path({"**/W": optim.sgd(lambda k: 0.1), ...: optim.sgd(lambda k: 0.1)}).init(MODEL)) == [
        "W/rate", "W/step", "rest/rate", "rest/step",
    ]  # fmt: skip
    twice = optim.by_path({"head/W": optim.sgd(lambda k: 0.1), "**/head/*": optim.sgd(0.1)})
    with pytest.raises(StructureError, match=r"by_path: head/W matches both 'head/W' and '\*\*/head/\*'. Each leaf has one optimiser"):
        twice.init(MODEL)


def test_optimisers_by_path_show_themselves_pickle_and_nest() -> None:
    inner = optim.by_path({"**/W": optim.sgd(0.1), ...: optim.sgd(0.2)})
    opt = optim.chain(optim.clip(1.0), optim.by_path({"features/*": inner, "head/*": None}))
    text = "chain(clip(limit=1.0), by_path({'features/*': by_path({'**/W': sgd(lr=0.1), ...: sgd(lr=0.2)}), 'head/*': None}))"
    assert repr(opt) == text
    again = pickle.loads(pickle.dumps(opt))
    assert repr(again) == text
    assert_trees_equal(run(again), run(opt), bits=True)
    assert moved(opt) == PATHS[:4]


def test_leaves_without_a_place_are_named() -> None:
    with pytest.raises(StructureError, match=r"by_path: no pattern matches head/W and 1 more. Add one; `...: optim.adam"):
        optim.by_path({"features/*": optim.sgd(0.1)}).init(MODEL)
    with pytest.raises(StructureError, match=r"by_path: nothing matches 'heads/\*'. Paths like it: head/b"):
        optim.by_path({"heads/*": optim.sgd(0.1), ...: optim.sgd(0.1)}).init(MODEL)
    with pytest.raises(StructureError, match=r"nothing matches '\.\.\.'.* For all other leaves write \.\.\., without quotes"):
        optim.by_path({"head": optim.sgd(0.1), "...": optim.sgd(0.1)}).init(MODEL)
    with pytest.raises(StructureError, match="by_path: nothing matches 'count'"):  # an integer has no gradient
        optim.by_path({"count": optim.sgd(0.1), ...: optim.sgd(0.1)}).init(MODEL)
    opt = optim.by_path({"features/*": optim.sgd(0.1), ...: optim.adam(0.1)})
    for step in (opt.step, fd.compile(opt.step)):
        with pytest.raises(StructureError, match="by_path got the state of another optimiser, or no state: it has step, mean, root, but by_path"):
            step(MODEL, fd.tree.trainable(MODEL), optim.adam(0.1).init(MODEL))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: optim.by_path({}), "by_path takes a dict from patterns to optimisers"),
        (lambda: optim.by_path([("a", optim.sgd(0.1))]), "by_path takes a dict from patterns to optimisers"),
        (lambda: optim.by_path({3: optim.sgd(0.1)}), "by_path: a key is a pattern such as 'features/\\*', several in a tuple, or `...`"),
        (lambda: optim.by_path({"a": 0.1}), "by_path: 'a' has float 0.1, not an optimiser"),
        (lambda: optim.freeze("a", "b"), "freeze takes an optimiser and patterns of paths"),
        (lambda: optim.freeze(optim.sgd(0.1)), "freeze needs the paths to freeze"),
    ],
)
def test_groups_that_make_no_sense_are_named(make: Any, words: str) -> None:
    with pytest.raises(StructureError, match=words):
        make()


# Frozen paths


def test_frozen_paths_stay_and_have_no_state() -> None:
    opt = optim.freeze(optim.adam(0.1), "features", "head/b")
    assert moved(opt) == ["head/W"]
    assert fd.tree.paths(opt.init(MODEL)) == ["mean/head/W", "root/head/W", "step"]
    assert repr(opt) == f"freeze({optim.adam(0.1)!r}, 'features', 'head/b')"
    assert_trees_equal(run(opt), run(opt, compiled=True), bits=True)
    assert run(opt)[0]["head"].b is MODEL["head"].b
    with pytest.raises(StructureError, match="freeze: nothing matches 'feature'"):
        optim.freeze(optim.sgd(0.1), "feature").init(MODEL)


def test_a_frozen_model_and_frozen_paths_take_the_same_steps() -> None:
    model, opt = {**MODEL, "features": nn.freeze(MODEL["features"])}, optim.adam(0.1)
    stepped, _ = opt.step(model, fd.grad(loss)(model), opt.init(model))
    assert_trees_equal(stepped["head"], run(optim.freeze(opt, "features/**"), 1)[0]["head"], bits=True)


def test_the_state_of_a_group_is_checked() -> None:
    opt = optim.by_path({"features": optim.momentum(0.1), "head": optim.adam(0.1)})
    state = optim.by_path({"features": optim.adam(0.1), "head": optim.adam(0.1)}).init(MODEL)
    with pytest.raises(StructureError, match="momentum got the state of another optimiser, or no state: it has step, mean, root"):
        opt.step(MODEL, fd.tree.trainable(MODEL), state)
