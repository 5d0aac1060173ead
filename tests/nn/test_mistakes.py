"""Mistakes with models that would pass in silence, or end in an error of Python: each is refused, with the way out."""

import inspect
import re
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn
from fdezero.elsewhere import MODULES_ELSEWHERE, NETWORKS_ELSEWHERE
from fdezero.errors import RangeError, ShapeError, StructureError, TraceError
from fdezero.nn.made import Made
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


class Inner(fd.Module):
    """A model that runs nn.step on its layer within a transform, and drops the successor."""

    norm: Any
    run: Any = fd.static()

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return self.run(lambda norm, x: nn.step(norm, x, train=train)[0], self.norm, x)


@pytest.mark.parametrize(
    "run",
    [
        lambda f, norm, x: fd.checkpoint(f)(norm, x),
        lambda f, norm, x: fd.vmap(f, in_axes=(None, 0))(norm, np.stack([x, x])),
        lambda f, norm, x: f(fd.tree.map(lambda a: a, norm), x),
    ],
    ids=["checkpoint", "vmap", "a tree built again"],
)
def test_a_step_within_a_transform_within_a_step_loses_nothing_in_silence(run: Any) -> None:
    model = Inner(Center(np.ones(3)), run)
    with pytest.raises(
        TraceError, match="Center at norm is an argument of a transform, or part of a tree that was built again"
    ):
        nn.step(model, X)
    nn.step(model, X, train=False)
    assert model(X, train=True).shape[-2:] == X.shape  # without a step around it, the user has the successor


@pytest.mark.parametrize("run", [nn.step, nn.capture, nn.summary, lambda model, x: nn.init(model, KEY, x)])
def test_what_is_no_model_is_refused(run: Any) -> None:
    with pytest.raises(
        StructureError, match=r"a model is expected, got the class Linear: write Linear.init\(key, ...\)"
    ):
        run(nn.Linear, X)
    with pytest.raises(StructureError, match=r"a model is expected, got float64\[5,3\], which cannot be called"):
        run(X, X)


def test_a_shape_in_place_of_an_input_is_refused() -> None:
    for run in (lambda x: nn.init(nn.Linear.lazy(3), KEY, x), lambda x: nn.summary(nn.Linear.init(KEY, 3, 2), x)):
        with pytest.raises(StructureError, match=r"For the shape write nn.Shape\(\(5, 3\)\)"):
            run((5, 3))


IMAGES = np.ones((2, 3, 8, 8), np.float32)
SIZES: dict[str, tuple[Any, str]] = {
    "Conv2d": (lambda: F.conv2d(IMAGES, 3), r"nn\.Conv2d\.init\(key, in_channels, out_channels, kernel_size\) draws one"),  # type: ignore[arg-type]  # the mistake
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 16), r"init also needs kernel_size\. .* write nn\.ConvTranspose2d\.lazy\(3, 16\)"),  # type: ignore[arg-type]  # the mistake
    "LayerNorm": (lambda: F.layer_norm(IMAGES, 8), r"nn\.LayerNorm\.init\(key, ...\) makes one"),  # type: ignore[arg-type]  # the mistake
    "RMSNorm": (lambda: F.rms_norm(IMAGES, 8), r"nn\.RMSNorm\.init\(key, ...\) makes one"),  # type: ignore[arg-type]  # the mistake
    "MLP": (lambda: nn.MLP((1000, 10)), r"write nn\.MLP\.init\(key, \(1000, 10\)\)"),  # type: ignore[arg-type]  # the mistake
    "Function by name": (lambda: nn.Function("relu"), "Function takes a function, and its options by name: .* got str"),  # type: ignore[arg-type]  # the mistake
    "Function by position": (lambda: nn.Function(F.leaky_relu, 0.1), "Function takes a function, .* got float 0.1"),  # type: ignore[arg-type]  # the mistake
    "list of paths": (lambda: nn.freeze(nn.Linear.init(KEY, 3, 2), ["W", "b"]), r"a path is a text such as 'layers/0', got \['W', 'b'\]. Pass several one by one"),  # type: ignore[arg-type]  # the mistake
    "number for a path": (lambda: nn.capture(nn.Sequential(F.relu), X, paths=0), "a path is a text such as 'layers/0', got 0."),  # type: ignore[arg-type]  # the mistake
    "a value for several paths": (lambda: nn.capture(nn.Sequential(F.relu, F.tanh), X, replace={"layers/*": X}), r"'layers/\*' stands for layers/0, layers/1\.$"),
    "sizes of a list": (lambda: nn.init(nn.Linear.lazy(3), KEY, [X]), r"Linear.lazy\(3\) reads its sizes from an array, got list"),
    "channels last": (lambda: nn.BatchNorm.init(KEY, 3)(np.ones((2, 8, 8, 3))), "Channels stand along axis 1 unless axis= says where"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_forms_of_other_libraries_are_answered(name: str) -> None:
    mistake, message = SIZES[name]
    with pytest.raises((StructureError, ShapeError), match=message):
        mistake()


def test_probabilities_outside_0_to_1_are_refused() -> None:
    with pytest.raises(
        RangeError,
        match=r"probabilities lie between 0 and 1, got 1.5 at index \(0,\). For logits use sigmoid_cross_entropy",
    ):
        F.binary_cross_entropy(np.array([1.5, 0.2]), np.array([1.0, 0.0]))
    assert np.isnan(F.binary_cross_entropy(np.array([np.nan, 0.2]), np.array([1.0, 0.0])))
    masked = F.binary_cross_entropy(np.array([7.0, 0.25]), np.array([1.0, 0.0]), mask=np.array([False, True]))
    assert_trees_close(masked, -np.log(0.75))


NORMS = {
    "BatchNorm": nn.BatchNorm.init(KEY, 3), "LayerNorm": nn.LayerNorm.init(KEY, 8), "RMSNorm": nn.RMSNorm.init(KEY, 8),
    "GroupNorm": nn.GroupNorm.init(KEY, 3, 3), "InstanceNorm": nn.InstanceNorm.init(KEY, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_images_of_integers_get_the_dtype_of_the_layer(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)
    y, _ = nn.step(NORMS[name], images)
    assert y.dtype == np.float32
    assert_trees_close(y, nn.step(NORMS[name], images.astype(np.float32))[0])


class Own(fd.Module):
    """A model as a user writes it, which knows nothing of paths."""

    parts: dict[str, Any]
    rate: float = fd.static(default=0.5)

    def __call__(self, x: Any, *, train: bool = False) -> Any:
        return self.parts["body"][1](x)


def test_an_error_within_a_model_of_ones_own_has_its_path() -> None:
    linears = [nn.Linear.init(KEY, 3, 4), nn.Linear.init(KEY, 5, 3)]
    model = Own({"body": [F.relu, nn.Sequential(nn.Residual(nn.Sequential(*linears)))]})
    runs = (
        lambda: model(X),
        lambda: nn.step(model, X),
        lambda: nn.capture(model, X),
        lambda: nn.summary(model, X),
        lambda: fd.compile(lambda model, x: model(x))(model, X),
        lambda: fd.grad(lambda model: model(X).sum())(model),
        lambda: fd.vmap(model)(X),
    )
    for run in runs:
        with pytest.raises(
            ShapeError, match=r"linear expects a last axis of 5.* \(at parts/body/1/layers/0/layer/layers/1\)$"
        ):
            run()


class First(fd.Module):
    """A layer that calls the first of its list."""

    parts: list[Any]

    def __call__(self, x: Any) -> Any:
        return self.parts[0](x)


def test_an_error_within_another_method_of_a_model_has_its_path() -> None:
    model = models.Transformer.init(KEY, 5, size=8, heads=2, layers=2, length=8)
    model = fd.tree.update(model, {"layers/1/attention/keys/b": np.ones(3)})
    with pytest.raises(ShapeError, match=r"a bias of shape \(8,\).* \(at layers/1/attention/keys\)$"):
        model.generate(np.array([1, 2]), 2, temperature=0)


def test_a_layer_that_a_model_does_not_hold_has_a_path_of_its_own() -> None:
    outside = First([nn.Linear.init(KEY, 5, 3)])
    with pytest.raises(ShapeError, match=r"last axis of 5.* \(at parts/0\)$"):
        outside(X)
    shared = First([First([nn.Linear.init(KEY, 5, 3)])])
    with pytest.raises(ShapeError, match=r"last axis of 5.* \(at parts/0/parts/0\)$"):
        shared(X)
    with pytest.raises(ShapeError) as caught:
        nn.Linear.init(KEY, 5, 3)(X)
    assert "(at" not in str(caught.value)


@pytest.mark.parametrize("name", NETWORKS_ELSEWHERE)
def test_names_of_other_libraries_lead_to_ours(name: str) -> None:
    for module in (nn, F):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}': (use|leave it out,) ") as caught:
            getattr(module, name)
        for place, ours in re.findall(r"fd\.(nn|functions)\.(\w+)", str(caught.value)):
            assert ours in getattr(fd, place).__all__


def test_a_name_that_nobody_has_is_plainly_unknown() -> None:
    with pytest.raises(AttributeError, match=r"^module 'fdezero.nn' has no attribute 'Lienar': did you mean Linear\?$"):
        assert nn.Lienar  # type: ignore[attr-defined]  # the mistake
    with pytest.raises(AttributeError, match=r"^module 'fdezero.nn' has no attribute 'nothing_like_it'$"):
        assert nn.nothing_like_it  # type: ignore[attr-defined]  # the mistake
    assert not hasattr(F, "no_such_function")


class Broken(fd.Module):
    """A model with a property that fails, and one with a name that other libraries have."""

    W: Any

    @property
    def scale(self) -> Any:
        return self.W.no_such_attribute

    @property
    def weight(self) -> Any:
        return self.W.no_such_attribute


@pytest.mark.parametrize("name", MODULES_ELSEWHERE)
def test_methods_of_other_libraries_lead_to_ours(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"^'Linear' object has no attribute '{name}'\. .*[^.]\.$"):
        getattr(nn.Linear.init(KEY, 3, 2), name)


@pytest.mark.parametrize("name", ["scale", "weight"])
def test_an_error_within_a_property_is_shown_as_it_is(name: str) -> None:
    with pytest.raises(AttributeError, match="'numpy.ndarray' object has no attribute 'no_such_attribute'"):
        getattr(Broken(X), name)
    assert not hasattr(Broken(X), "nothing")
    assert getattr(Broken(X), "shape", None) is None


@pytest.mark.parametrize("args", [(), (10,), ((),)])
def test_a_lazy_mlp_needs_a_tuple_of_sizes(args: tuple[Any, ...]) -> None:
    with pytest.raises(RangeError, match=r"such as \("):
        nn.init(nn.MLP.lazy(*args), KEY, X)


MADE = [
    layer
    for name in nn.__all__
    if isinstance(layer := getattr(nn, name), type) and hasattr(layer, "init") and issubclass(layer, Made)
]


@pytest.mark.parametrize("layer", MADE, ids=lambda layer: layer.__name__)
def test_a_constructor_refuses_sizes_and_says_what_to_write(layer: Any) -> None:
    key = "key, " if "key" in inspect.signature(layer.init).parameters else ""
    said = rf"write nn\.{layer.__name__}\.init\({key}8, 4\)\.|init also needs kernel_size\. .* write nn\.{layer.__name__}\.lazy\(8, 4\)"
    with pytest.raises(StructureError, match=said):
        layer(8, 4)


def test_every_layer_that_init_makes_refuses_sizes() -> None:
    others = [name for name in nn.__all__ if hasattr(getattr(nn, name), "init") and getattr(nn, name) not in MADE]
    assert set(others) <= {"Lazy"}, others


@pytest.mark.parametrize(
    ("args", "options"), [((3, 8), {"kernel_size": 3}), ((), {"in_channels": 3, "out_channels": 8, "kernel_size": 1})]
)
def test_names_of_sizes_in_a_constructor_are_refused(args: Any, options: Any) -> None:
    with pytest.raises(StructureError, match=r"nn.Conv2d\(...\) takes what the layer holds \(W, b\), not sizes"):
        nn.Conv2d(*args, **options)


def test_a_constructor_takes_a_tree_of_axes_and_leaves_unknown_names_to_python() -> None:
    axes = nn.Linear(1, 0)
    assert (axes.W, axes.b) == (1, 0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'weight'"):
        nn.Linear(weight=np.ones((2, 2)))


@pytest.mark.parametrize(
    ("make", "missing"),
    [
        (lambda: nn.Linear(3), "out_size"),
        (lambda: nn.LSTM(100), "hidden_size"),
        (lambda: nn.Conv2d(8, kernel_size=3), "out_channels"),
    ],
    ids=["Linear", "LSTM", "Conv2d"],
)
def test_sizes_of_dezeros_layers_lead_to_lazy_ones(make: Any, missing: str) -> None:
    with pytest.raises(
        StructureError,
        match=rf"init also needs {missing}\. For sizes that come from the first input, write nn\.\w+\.lazy\(",
    ):
        make()


def test_a_layer_of_a_users_own_says_its_own_name() -> None:
    class Scaled(nn.Sized):
        by: Any

        @classmethod
        def init(cls, size: int) -> Any:
            return cls(np.ones(size))

    with pytest.raises(StructureError, match=re.escape("write Scaled.init(8).")):
        Scaled(8)
