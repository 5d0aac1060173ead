"""Statistics: `nn.step` against statistics threaded by hand, through every transform, and errors where they would be lost."""

import copy
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import StructureError, TraceError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads
from fdezero.testing.properties import compiled_is_eager

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((5, 3))


class Center(nn.Stateful):
    """x minus its mean over the batch, times a scale; in inference, minus the mean of the means seen in training."""

    scale: Any
    mean: Any = nn.statistic()
    count: Any = nn.statistic(default=0)

    @classmethod
    def of(cls, size: int = 3) -> "Center":
        return cls(np.arange(1.0, size + 1), np.zeros(size))

    def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        if not train:
            return (x - self.mean) * self.scale, self
        mean = x.mean(axis=0)
        return (x - mean) * self.scale, self.replace(mean=0.5 * self.mean + 0.5 * mean, count=self.count + 1)


def centered(scale: Any, mean: Any, x: Any) -> tuple[Any, Any]:
    """The formula of `Center` in training: the result and the next mean."""
    return (x - x.mean(axis=0)) * scale, 0.5 * mean + 0.5 * x.mean(axis=0)


class Twice(fd.Module):
    """A model as a user writes it: the same layer twice, layers in containers, dropout and a frozen layer."""

    linear: nn.Linear
    norm: Center
    parts: dict[str, Any]

    @classmethod
    def init(cls, key: Any) -> "Twice":
        parts = {"b": nn.Sequential([Center.of(), F.tanh]), "a": [fd.Frozen(Center.of()), nn.Dropout(0.25)]}
        return cls(nn.Linear.init(key, 3, 3, dtype=np.float64), Center.of(), parts)

    def __call__(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        x = self.norm(self.linear(x), train=train)
        x = self.norm(F.tanh(x), train=train)
        frozen, dropout = self.parts["a"]
        x = dropout(frozen(x, train=train), key=key, train=train)
        return {"y": self.parts["b"](x, key=key, train=train), "x": x}


def by_hand(model: Twice, x: Any, key: Any) -> tuple[Any, list[Any]]:
    """What `Twice` gives in training, and the statistics of its two layers afterwards."""
    norm, last = model.norm, model.parts["b"].layers[0]
    x, mean = centered(norm.scale, norm.mean, model.linear(x))
    x, mean = centered(norm.scale, mean, np.tanh(x))
    frozen = model.parts["a"][0].value
    x = F.dropout((x - frozen.mean) * frozen.scale, 0.25, key=key, train=True)
    y, other = centered(last.scale, last.mean, x)
    return {"y": np.tanh(y), "x": x}, [mean, other]


def statistics(model: Twice) -> list[Any]:
    return [model.norm.mean, model.parts["b"].layers[0].mean]


def test_a_step_is_the_statistics_threaded_by_hand() -> None:
    model = Twice.init(KEY)
    for i in range(3):
        key = fd.random.fold_in(KEY, i)
        y, successor = nn.step(model, X, key=key)
        expected, means = by_hand(model, X, key)
        assert_trees_close(y, expected, 1e-14)
        assert_trees_close(statistics(successor), means, 1e-14)
        assert (successor.norm.count, successor.parts["b"].layers[0].count) == (2 * i + 2, i + 1)
        assert [type(layer) for layer in (successor, successor.norm)] == [Twice, Center]
        model = successor


def test_a_step_leaves_the_rest_of_the_model_as_it_is() -> None:
    model = Twice.init(KEY)
    before = copy.deepcopy(model)
    _, successor = nn.step(model, X, key=KEY)
    assert_trees_equal(model, before)
    assert successor.linear is model.linear
    assert successor.norm.scale is model.norm.scale
    assert successor.parts["a"] is model.parts["a"]


def test_inference_returns_the_model_itself() -> None:
    model = Twice.init(KEY)
    y, successor = nn.step(model, X, train=False)
    assert successor is model
    assert_trees_equal(y, model(X))
    plain = nn.Linear.init(KEY, 3, 2)
    assert nn.step(plain, X)[1] is plain


def test_statistics_have_no_gradient_and_optimisers_leave_them_alone() -> None:
    model = Twice.init(KEY)

    def loss(model: Twice, x: Any) -> Any:
        y, model = nn.step(model, x, key=KEY)
        return (y["y"] ** 2).sum(), model

    (_, after), grads = fd.value_and_grad(loss, has_aux=True)(model, X)
    assert grads.norm.mean is grads.norm.count is None
    assert grads.norm.scale.shape == (3,)
    optimiser = optim.adam(0.1)
    moved, _ = optimiser.step(after, grads, optimiser.init(model))
    assert_trees_equal(statistics(moved), statistics(after))
    assert (moved.norm.scale != model.norm.scale).any()
    expected = fd.grad(lambda model: (by_hand(model, X, KEY)[0]["y"] ** 2).sum())(model)
    assert_trees_close(grads, expected, 1e-12)
    assert fd.ravel(model)[0].size == sum(leaf.size for leaf in fd.tree.leaves(fd.tree.trainable(model)))


def test_statistics_are_children_of_the_tree(tmp_path: Any) -> None:
    model = Twice.init(KEY)
    assert {"norm/mean", "norm/count", "parts/b/layers/0/mean", "parts/a/0/value/mean"} < set(fd.tree.paths(model))
    _, model = nn.step(model, X, key=KEY)
    fd.save(tmp_path / "model.npz", model)
    assert_trees_equal(fd.load(tmp_path / "model.npz", like=Twice.init(KEY)), model)
    narrow = fd.tree.map(lambda leaf: leaf.astype(np.float32) if hasattr(leaf, "astype") else leaf, model)
    assert narrow.norm.mean.dtype == np.float32


def stepped(model: Twice, x: Any) -> Any:
    y, successor = nn.step(model, x, key=KEY)
    return y, statistics(successor)


def test_steps_under_every_transform() -> None:
    model = Twice.init(KEY)
    compiled_is_eager(stepped, (model, X))
    check_grads(lambda model, x: stepped(model, x)[0], (model, X), order=2)
    xs = np.stack([X, X + 1, X * 2])
    for run in (fd.vmap(stepped, (None, 0)), fd.compile(fd.vmap(stepped, (None, 0))), fd.vmap(fd.compile(stepped), (None, 0))):
        assert_trees_close(run(model, xs), fd.tree.map(lambda *ys: np.stack(ys), *[stepped(model, x) for x in xs]), 1e-13)
    value, _ = fd.jvp(stepped, (model, X), (fd.tree.trainable(model), X))
    assert_trees_close(value, stepped(model, X), 1e-14)
    checkpointed = fd.checkpoint(stepped)
    assert_trees_close(checkpointed(model, X), stepped(model, X), 1e-14)
    of_sum = [fd.grad(lambda model, f=f: f(model, X)[0]["y"].sum())(model) for f in (stepped, checkpointed)]
    assert_trees_close(*of_sum, 1e-12)


def test_a_step_inside_a_rule() -> None:
    def run(x: Any, layer: Center) -> Any:
        y, layer = nn.step(layer, x)
        return y, layer.mean

    ruled = fd.custom_jvp(run)
    ruled.defjvp(lambda primals, tangents: (run(*primals), (2 * tangents[0], np.zeros(3))))
    y, mean = ruled(X, Center.of())
    assert_trees_close((y, mean), centered(np.arange(1.0, 4), np.zeros(3), X), 1e-14)
    assert_trees_close(fd.grad(lambda x: ruled(x, Center.of())[0].sum())(X), np.full((5, 3), 2.0), 1e-14)


def test_a_step_inside_a_loop_with_the_layer_in_the_carry() -> None:
    def run(layer: Center, xs: Any) -> Any:
        return fd.scan(lambda layer, x: nn.step(layer, x)[::-1], layer, xs)

    xs = np.stack([X, X + 1, X * 2])
    for loop in (run, fd.compile(run)):
        last, _ = loop(Center.of().replace(count=np.array(0)), xs)
        mean = np.zeros(3)
        for x in xs:
            _, mean = centered(1.0, mean, x)
        assert_trees_close((last.mean, last.count), (mean, np.array(3)), 1e-14)


def test_statistics_are_constants_of_derivatives() -> None:
    """So a gradient penalty inside a model works, and nothing of the tape stays in the successor."""

    class Penalised(fd.Module):
        norm: Center

        def __call__(self, x: Any, *, train: bool = False) -> Any:
            slope = fd.grad(lambda x: (self.norm(x, train=train) ** 2).sum())(x)
            return (slope**2).sum()

    _, successor = nn.step(Penalised(Center.of()), X)
    assert_trees_close(successor.norm.mean, 0.5 * X.mean(0), 1e-15)
    tangent = fd.jvp(lambda x: nn.step(Center.of(), x)[1].mean, (X,), (X,))[1]
    assert_trees_equal(tangent, np.zeros(3))


class Model(fd.Module):
    """A model whose call is a function of its layer and x."""

    layer: Any
    function: Any = fd.static()

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return self.function(self.layer, x)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda layer, x: fd.checkpoint(lambda x: layer(x, train=True))(x), r"fd\.checkpoint"),
        (lambda layer, x: fd.checkpoint(lambda layer, x: layer(x, train=True))(layer, x), "argument of a transform"),
        (lambda layer, x: fd.scan(lambda c, x: (c + layer(x, train=True).sum(), c), 0.0, x[None])[0], r"fd\.scan"),
        (lambda layer, x: fd.scan(lambda c, x: (c, layer(x, train=True)), x[0, 0], x[None])[1], r"fd\.scan"),
        (lambda layer, x: fd.cond(True, lambda x: layer(x, train=True), lambda x: x, x), r"fd\.cond"),
        (lambda layer, x: fd.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, layer(c[1], train=True)), (0, x)), r"fd\.while_loop"),
        (lambda layer, x: fd.compile(lambda x: layer(x, train=True))(x), r"fd\.compile"),
        (lambda layer, x: fd.vmap(lambda x: layer(x, train=True))(x[None]), "vmap"),
        (lambda layer, x: fd.vmap(lambda layer: layer(x, train=True), axis_size=2, in_axes=None)(layer), "argument of a transform"),
        (lambda layer, x: fd.tree.map(lambda leaf: leaf, layer)(x, train=True), "argument of a transform"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_layer_whose_statistics_would_be_lost_is_an_error(function: Any, named: str, compiled: bool) -> None:
    def run(model: Model, x: Any) -> Any:
        return nn.step(model, x)

    model = Model([Center.of()], lambda layers, x: function(layers[0], x))
    with pytest.raises(TraceError, match=rf"Center at layer/0 .*{named}"):
        (fd.compile(run) if compiled else run)(model, X)


def test_training_outside_of_a_step_is_an_error_with_the_path() -> None:
    model = nn.Sequential([F.relu, nn.Sequential([Center.of()])])
    with pytest.raises(StructureError, match=r"Center with train=True .* nn\.step\(model, x.*\(at layers/1/layers/0\)"):
        model(X, train=True)
    changed = Model(Center.of(), lambda layer, x: layer.replace(mean=np.ones(3))(x, train=True))
    with pytest.raises(StructureError, match=r"nn\.step"):
        nn.step(changed, X)


def test_a_step_may_change_statistics_alone() -> None:
    class Greedy(Center):
        def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
            return x, self.replace(scale=self.scale + 1)

    class Odd(Center):
        def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
            return x, Center.of()

    class Renamed(Center):
        name: str = fd.static(default="before")

        def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
            return x, Renamed(self.scale, self.mean + 1, self.count, "".join(["bef", "ore"]) if train else "after")

    assert nn.step(Renamed.of(), X)[1].mean[0] == 1
    with pytest.raises(StructureError, match="changed name"):
        nn.step(Renamed.of(), X, train=False)
    with pytest.raises(StructureError, match=r"Greedy\.step at layers/1 changed scale.*scale: Array = nn\.statistic\(\)"):
        nn.step(nn.Sequential([F.relu, Greedy.of()]), X)
    with pytest.raises(StructureError, match=r"Odd\.step at the root returned Center"):
        nn.step(Odd.of(), X)


def test_frozen_layers_use_their_statistics() -> None:
    norm = Center.of().replace(mean=np.ones(3))
    model = nn.Sequential([fd.Frozen(nn.Sequential([norm, nn.Checkpoint(norm)]))])
    y, successor = nn.step(model, X)
    assert successor is model
    assert_trees_equal(y, model(X))
    assert_trees_equal(y, norm(norm(X)))


def test_one_layer_at_two_paths_has_one_history() -> None:
    norm = Center.of()
    model = nn.Sequential([norm, nn.Linear.init(KEY, 3, 3, dtype=np.float64), norm])
    _, successor = nn.step(model, X)
    x, mean = centered(norm.scale, norm.mean, X)
    _, mean = centered(norm.scale, mean, model.layers[1](x))
    assert successor.layers[0] is successor.layers[2]
    assert_trees_close(successor.layers[0].mean, mean, 1e-15)


def test_a_model_may_be_a_tree_with_a_call_of_its_own() -> None:
    models = {"a": Center.of(), "b": [nn.Linear.init(KEY, 3, 2, dtype=np.float64), Center.of(2)]}

    def run(models: Any, x: Any, power: int, *, train: bool) -> Any:
        linear, norm = models["b"]
        return norm(linear(models["a"](x, train=train)) ** power, train=train)

    y, successor = nn.step(models, X, 2, call=run)
    x, mean = centered(models["a"].scale, np.zeros(3), X)
    expected, other = centered(models["b"][1].scale, np.zeros(2), models["b"][0](x) ** 2)
    assert_trees_close((y, successor["a"].mean, successor["b"][1].mean), (expected, mean, other), 1e-14)


def test_a_step_inside_a_step_reaches_both() -> None:
    model = Model(Center.of(), lambda layer, x: (layer(x, train=True), nn.step(layer, x + 1)))
    (_, (_, inner)), outer = nn.step(model, X)
    mean = centered(1, centered(1, np.zeros(3), X)[1], X + 1)[1]
    assert type(inner) is type(outer.layer) is Center
    assert_trees_close((inner.mean, outer.layer.mean), (mean, mean), 1e-15)


def test_a_step_inside_a_loop_inside_a_step_is_an_error() -> None:
    model = Model(Center.of(), lambda layer, x: fd.scan(lambda c, x: (c, nn.step(layer, x)[0]), 0.0, x[None]))
    with pytest.raises(TraceError, match=r"Center at layer ran within fd\.scan"):
        nn.step(model, X)
    assert_trees_close(model(X)[1][0], nn.step(Center.of(), X)[0], 1e-15)


def test_checkpoint_passes_statistics_on() -> None:
    block = nn.Sequential([Center.of(), F.tanh, nn.Dropout(0.5), fd.Frozen(Center.of())])

    def wrapped(layers: Any, x: Any) -> Any:
        norm, block = layers
        x = nn.Checkpoint(block)(norm(x, train=True), key=KEY, train=True)
        return norm(nn.Checkpoint(block)(x, key=KEY, train=True), train=True)

    def plain(layers: Any, x: Any) -> Any:
        norm, block = layers
        return norm(block(block(norm(x, train=True), key=KEY, train=True), key=KEY, train=True), train=True)

    def loss(model: Any, x: Any) -> Any:
        y, model = nn.step(model, x)
        return (y**2).sum(), model.layer

    ours, theirs = (Model((Center.of(), block), function) for function in (wrapped, plain))
    for transform in (lambda f: f, fd.compile):
        run = transform(fd.value_and_grad(loss, has_aux=True))
        ((value, layers), grads), ((expected, by), slopes) = run(ours, X), run(theirs, X)
        assert_trees_close((value, layers, grads.layer), (expected, by, slopes.layer), 1e-13)
    assert_trees_equal(nn.Checkpoint(block)(X), block(X))
    with pytest.raises(StructureError, match=r"nn\.step"):
        nn.Checkpoint(block)(X, key=KEY, train=True)
    norm = Center.of()
    with pytest.raises(TraceError, match="several paths"):
        nn.step(nn.Checkpoint(nn.Sequential([norm, norm])), X)


def test_stand_ins_look_like_their_layers() -> None:
    seen: list[Any] = []

    def function(layer: Any, x: Any) -> Any:
        seen.extend([isinstance(layer, Center), layer.scale, repr(layer), layer.mean])
        y = layer(x, train=True)
        seen.append(layer.mean)
        return y

    layer = Center.of()
    nn.step(Model(layer, function), X)
    assert seen[0]
    assert seen[1] is layer.scale
    assert seen[2] == repr(layer)
    assert_trees_close(seen[3:], [np.zeros(3), 0.5 * X.mean(0)], 1e-15)


def test_a_changed_copy_of_a_layer_stands_for_it() -> None:
    """So wrappers that change a weight leave the layer in the eyes of `nn.step` and `nn.capture`."""
    norm = Center.of()
    doubled = Model(norm, lambda layer, x: layer.replace(scale=2 * layer.scale)(x, train=True))
    y, successor = nn.step(doubled, X)
    expected, mean = centered(2 * norm.scale, norm.mean, X)
    assert_trees_close((y, successor.layer), (expected, norm.replace(mean=mean, count=1)), 1e-15)
    assert successor.layer.scale is norm.scale
    wrapped = nn.WeightNorm.init(nn.Linear.init(KEY, 3, 2, dtype=np.float64))
    assert_trees_equal(nn.capture(wrapped, X, paths="layer")[1]["layer"], wrapped(X))


def test_a_stand_in_that_the_model_keeps_is_refused() -> None:
    kept: list[Any] = []

    def function(layer: Any, x: Any) -> Any:
        kept.append(layer)
        return layer(x, train=True)

    nn.step(Model(Center.of(), function), X)
    with pytest.raises(TraceError, match=r"Center at layer was kept by the model"):
        kept[0](X, train=True)
