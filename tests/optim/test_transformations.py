"""Transformations as values: names of states, text, pickles, trees of settings, user-made ones, settings that are refused."""

import pickle
import re
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.elsewhere import OPTIMISERS_ELSEWHERE, TRANSFORMATIONS_ELSEWHERE
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_equal

MODEL = {"layers": [{"W": np.ones((2, 3), np.float32)}]}


def cosine(step: Any) -> Any:
    return 0.1 * np.cos(0.01 * step)


def paths(opt: Any) -> list[str]:
    return fd.tree.paths({"optimiser": opt.init(MODEL)})


# Names


def test_states_are_saved_under_their_names() -> None:
    moments = ["optimiser/mean/layers/0/W", "optimiser/root/layers/0/W", "optimiser/step"]
    for opt in (optim.adam(), optim.chain(optim.clip_by_global_norm(1.0), optim.adam()), optim.moments()):
        assert paths(opt) == moments
    for opt in (optim.adam(cosine), optim.chain(optim.clip_by_global_norm(1.0), optim.adam(cosine))):
        assert paths(opt) == sorted([*moments, "optimiser/rate"])
    assert paths(optim.momentum(0.1)) == ["optimiser/velocity/layers/0/W"]
    assert paths(optim.sgd(0.1)) == []
    assert paths(optim.sgd(cosine)) == ["optimiser/rate", "optimiser/step"]


def test_parts_with_a_name_in_common_have_folders() -> None:
    twice = optim.chain(optim.velocity(0.9), optim.velocity(0.5), optim.descend(cosine))
    assert paths(twice) == ["optimiser/rate", "optimiser/step", "optimiser/velocity/velocity/layers/0/W", "optimiser/velocity_2/velocity/layers/0/W"]
    state = twice.init(MODEL)
    _, state = twice.step(MODEL, MODEL, state)
    _, state = twice.step(MODEL, MODEL, state)
    assert state["step"] == 2
    assert state["velocity"]["velocity"]["layers"][0]["W"][0, 0] == np.float32(1.9)
    assert state["velocity_2"]["velocity"]["layers"][0]["W"][0, 0] == np.float32(2.4)


class Counted(optim.GradientTransformation):
    """One of a user's own, with a number as state."""

    start: int = 3

    def init(self, params: Any) -> Any:
        return np.int64(self.start)

    def update(self, grads: Any, state: Any, params: Any) -> Any:
        return grads, state + 1


def test_transformations_of_a_users_own_have_any_state() -> None:
    counted = optim.GradientTransformation(lambda params: np.int64(0), lambda grads, state, params: (grads, state + 1))
    opt = optim.chain(counted, counted, Counted(5), optim.adam())
    assert [path for path in paths(opt) if "W" not in path] == [f"optimiser/{name}" for name in ("Counted", "part", "part_2", "step")]
    _, state = opt.step(MODEL, MODEL, opt.init(MODEL))
    assert (state["part"], state["part_2"], state["Counted"], state["step"]) == (1, 1, 6, 1)
    assert repr(counted) == "GradientTransformation(init=<lambda>, update=<lambda>)"
    assert isinstance(counted, optim.GradientTransformation)
    _, state = counted.step(MODEL, MODEL, np.int64(4))
    assert state == 5
    with pytest.raises(NotImplementedError, match="needs a method update"):
        optim.GradientTransformation.update(counted, MODEL, (), MODEL)


# Values


def test_text_says_parts_and_rates() -> None:
    assert repr(optim.adam()) == "adam(lr=0.001, b1=0.9, b2=0.999, eps=1e-08)"
    opt = optim.chain(optim.clip_by_global_norm(1), optim.sgd(np.float64(0.5)))
    assert repr(opt) == "chain(clip_by_global_norm(max_norm=1), sgd(lr=0.5))"
    assert repr(optim.momentum(cosine, nesterov=True)) == "momentum(lr=cosine, decay=0.9, nesterov=True)"
    assert repr(optim.sgd(np.ones(2))) == "sgd(lr=float64[2])"
    assert optim.sgd(lambda step: 0.1)._repr_html_() == "<pre>sgd(lr=&lt;lambda&gt;)</pre>"


def test_optimisers_and_states_pickle() -> None:
    for opt in (optim.chain(optim.weight_decay(0.1), optim.adam(cosine)), optim.momentum(0.1), Counted(4)):
        again = pickle.loads(pickle.dumps(opt))
        assert repr(again) == repr(opt)
        state = pickle.loads(pickle.dumps(opt.init(MODEL)))
        assert_trees_equal(again.step(MODEL, MODEL, state), opt.step(MODEL, MODEL, opt.init(MODEL)), bits=True)


def test_an_optimiser_is_a_tree_of_its_rates_so_one_program_serves_all_rates() -> None:
    assert fd.tree.paths(optim.momentum(0.1, nesterov=True)) == ["lr", "decay"]
    step = fd.compile(lambda opt, params, state: opt.step(params, params, state), max_recordings=1)
    for lr in (0.1, 0.25):
        opt = optim.momentum(lr)
        assert_trees_equal(step(opt, MODEL, opt.init(MODEL)), opt.step(MODEL, MODEL, opt.init(MODEL)), bits=True)


# Names of other libraries


@pytest.mark.parametrize("name", OPTIMISERS_ELSEWHERE)
def test_names_of_other_libraries_lead_to_ours(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'fdezero.optim' has no attribute '{name}': use ") as caught:
        getattr(optim, name)
    for place, ours in re.findall(r"fd\.optim\.(schedules\.)?(\w+)", str(caught.value)):
        assert ours in (optim.schedules if place else optim).__all__


@pytest.mark.parametrize("name", TRANSFORMATIONS_ELSEWHERE)
def test_methods_of_other_libraries_lead_to_ours(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"^'adam' object has no attribute '{name}'\. .*[^.]\.$"):
        getattr(optim.adam(), name)


def test_a_name_that_nobody_has_is_plainly_unknown() -> None:
    with pytest.raises(AttributeError, match=r"^module 'fdezero.optim' has no attribute 'adamm': did you mean adam\?$"):
        assert optim.adamm
    with pytest.raises(AttributeError, match="^'adam' object has no attribute 'rho'$"):
        assert optim.adam().rho
    with pytest.raises(AttributeError, match="has no attribute 'optimizers': use fd.optim"):
        assert fd.optimizers


# Errors


def loss(model: Any) -> Any:
    model = model["net"] if isinstance(model, dict) else model
    return F.softmax_cross_entropy(model(np.ones((4, 4), np.float32)), np.arange(4) % 3)


NET = nn.MLP.init(fd.random.key(0), (4, 5, 3))
MODELS = {
    "a model": NET, "a frozen layer": nn.freeze(NET, "layers/0"), "a model in a dict": {"net": NET},
    "statistics": nn.init(nn.Sequential([nn.Linear.lazy(3), nn.BatchNorm.lazy()]), fd.random.key(0), np.ones((4, 4), np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("opt", [optim.sgd(0.1), optim.adam()], ids=["sgd", "adam"])
def test_swapped_arguments_are_errors(name: str, opt: Any) -> None:
    model, state = MODELS[name], opt.init(MODELS[name])
    order = r"The order is step\(params, grads, state\)"
    for how in (lambda f: f, fd.compile):
        with pytest.raises(StructureError, match=rf"step got gradients in place of the parameters, .* at (net/)?layers/[01]/W, .*{order}"):
            how(lambda model, state: opt.step(fd.grad(loss)(model), model, state))(model, state)
        with pytest.raises(StructureError, match=rf"structures of params and grads differ at '(net/)?layers/[01]/W'.*{order}"):
            how(lambda model, state: opt.step(model, state, fd.grad(loss)(model)))(model, state)
        with pytest.raises(StructureError, match=rf"structures of params and grads differ at .*{order}"):
            how(lambda model, state: opt.step(state, model, fd.grad(loss)(model)))(model, state)
        with pytest.raises(StructureError, match=rf"structures of params and grads differ at .*{order}"):
            how(lambda model, state: opt.step(fd.grad(loss)(model), state, model))(model, state)


def test_gradients_that_were_changed_and_gradients_of_gradients_are_parameters_if_you_say_so() -> None:
    grads, opt = fd.grad(loss)(NET), optim.sgd(0.1)
    halved = fd.tree.map(lambda g: g / 2, grads)
    assert_trees_equal(opt.step(NET, halved, {}), opt.step(NET, fd.tree.map(np.copy, halved), {}))
    assert_trees_equal(opt.step(fd.tree.map(np.copy, grads), NET, {}), opt.step(halved.replace(layers=grads.layers), NET, {}))
    assert_trees_equal(opt.step(grads, fd.grad(loss)(NET), {}), opt.step(fd.tree.map(np.copy, grads), grads, {}))
    assert_trees_equal(opt.step(pickle.loads(pickle.dumps(grads)), NET, {}), opt.step(fd.tree.map(np.copy, grads), NET, {}))


def test_integers_and_frozen_layers_have_no_gradient() -> None:
    model, opt = {"W": np.ones(2), "n": 3, "f": fd.Frozen(np.ones(2))}, optim.sgd(1.0)
    grads = {"W": np.ones(2), "n": None, "f": None}
    for how in (lambda f: f, fd.compile):
        step = how(opt.step)
        with pytest.raises(DTypeError, match="the gradient of n is float.* which has no gradient: give None there"):
            step(model, {**grads, "n": 0.3}, {})
        with pytest.raises(StructureError, match="the gradient of f is Frozen, the parameter NoneType: .* Are params and grads swapped?"):
            step(grads, model, {})



@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: optim.sgd("0.1"), DTypeError, "sgd: lr is a number or a schedule, a function of the step; got '0.1'"),
        (lambda: optim.sgd(None), DTypeError, "sgd: lr is a number or a schedule"),
        (lambda: optim.sgd(MODEL), DTypeError, "sgd: lr is a number or a schedule"),
        (lambda: optim.adam(float("nan")), RangeError, "adam: lr is a finite number >= 0 or a schedule, a function of the step; got nan"),
        (lambda: optim.adam(b1=1), RangeError, "adam: b1 is a number >= 0 and < 1; got 1"),
        (lambda: optim.adam(eps=-1e-8), RangeError, "adam: eps is a number >= 0; got -1e-08"),
        (lambda: optim.adam(b2=cosine), DTypeError, "adam: b2 is a number; got cosine"),
        (lambda: optim.scale(cosine), DTypeError, "scale: factor is a number; got cosine"),
        (lambda: optim.chain([optim.sgd(0.1)]), StructureError, r"chain: part 0 is list, not a transformation of gradients. Write chain\(\*parts\)"),
        (lambda: optim.chain(optim.sgd), StructureError, "chain: part 0 is .*, not a transformation of gradients. Give a call"),
    ],
)
def test_settings_are_checked_when_a_transformation_is_made(make: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


def test_the_state_of_another_model_is_named() -> None:
    other = {"layers": [{"W": np.ones(3, np.float32)}]}  # which would broadcast
    for opt, what in ((optim.adam(), "mean"), (optim.momentum(0.1), "velocity"), (optim.chain(optim.scale(2), optim.adam()), "mean")):
        for step in (opt.step, fd.compile(opt.step)):
            with pytest.raises(ShapeError, match=rf"the state's {what} of layers/0/W is float32\[3\], its gradient float32\[2,3\]"):
                step(MODEL, MODEL, opt.init(other))


def test_the_state_of_another_optimiser_is_named() -> None:
    for step in (optim.adam().step, fd.compile(optim.adam().step)):
        with pytest.raises(StructureError, match="adam got the state of another optimiser, or no state: it has velocity, but adam keeps step, mean"):
            step(MODEL, MODEL, optim.momentum(0.1).init(MODEL))
        with pytest.raises(StructureError, match="it has nothing"):
            step(MODEL, MODEL, ())
    with pytest.raises(StructureError, match="sgd keeps nothing"):
        optim.sgd(0.1).step(MODEL, MODEL, optim.adam().init(MODEL))
    with pytest.raises(StructureError, match="adam got the state"):
        optim.adam().update(MODEL, {}, MODEL)
