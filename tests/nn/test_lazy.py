"""`nn.init`: layers described without the sizes of their inputs become layers, by one run on shapes."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.errors import KeyMissingError, StructureError
from fdezero.nn.lazy import number_of
from fdezero.testing import assert_trees_close, assert_trees_equal

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {path: leaf.shape for path, leaf in fd.tree.flatten_with_path(model)}


def test_sizes_come_from_the_input() -> None:
    model = nn.Sequential([nn.Linear.lazy(1000), F.sigmoid, nn.Linear.lazy(10, bias=False)])
    made = nn.init(model, KEY, X)
    assert shapes(made) == {"layers/0/W": (3, 1000), "layers/0/b": (1000,), "layers/2/W": (1000, 10)}
    assert made(X).shape == (5, 10)
    assert shapes(nn.init(nn.MLP.lazy((1000, 10), dropout=0.5), KEY, X)) == shapes(nn.MLP.init(KEY, (3, 1000, 10)))
    assert type(made.layers[0]) is nn.Linear
    assert repr(model.layers[2]) == "Linear.lazy(10, bias=False)"


def test_a_description_of_the_input_serves_as_well() -> None:
    model = nn.Sequential([nn.Linear.lazy(4), F.relu])
    expected = nn.init(model, KEY, X)
    for x in (nn.Shape((5, 3)), nn.Shape((2**40, 3)), X[0], np.zeros((0, 3), np.float32)):
        assert_trees_equal(nn.init(model, KEY, x), expected, bits=True)
    assert nn.init(nn.Linear.lazy(4, dtype=np.float64), KEY, X).W.dtype == np.float64


def test_convolutions_up_to_a_classifier() -> None:
    model = nn.Sequential([nn.Conv2d.lazy(8, 3), F.relu, nn.Conv2d.lazy(16, 3, stride=2), nn.Flatten(), nn.Linear.lazy(10)])
    made = nn.init(model, KEY, nn.Shape((32, 3, 9, 9)))
    assert shapes(made)["layers/2/W"] == (16, 8, 3, 3)
    assert shapes(made)["layers/4/W"] == (16 * 3 * 3, 10)
    assert made(np.ones((2, 3, 9, 9), np.float32)).shape == (2, 10)


def test_each_layer_draws_with_the_key_of_its_path() -> None:
    model = {"a": nn.Linear.lazy(4), "b": [nn.Linear.lazy(4), nn.Linear.lazy(4)]}

    def run(model: Any, x: Any) -> Any:
        return model["a"](x), [layer(x) for layer in model["b"]]

    made = nn.init(model, KEY, X, call=run)
    assert_trees_equal(made["a"], nn.Linear.init(fd.random.fold_in(KEY, number_of("a")), 3, 4))
    drawn = [made["a"].W, made["b"][0].W, made["b"][1].W]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(drawn, 2))
    wider = nn.init(model | {"a": nn.Linear.lazy(7)}, KEY, X, call=run)
    assert_trees_equal(wider["b"], made["b"], bits=True)
    assert not np.array_equal(nn.init(model, fd.random.key(1), X, call=run)["a"].W, made["a"].W)


def test_one_lazy_layer_at_two_paths_is_one_layer() -> None:
    lazy = nn.Linear.lazy(3)
    made = nn.init(nn.Sequential([lazy, F.tanh, lazy]), KEY, X)
    assert made.layers[0] is made.layers[2]
    lazy = nn.Linear.lazy(4)
    with pytest.raises(ValueError, match="layers/1"):
        nn.init(nn.Sequential([lazy, lazy]), KEY, X)


def test_a_model_of_ones_own() -> None:
    class Autoencoder(fd.Module):
        encoder: Any
        decoder: Any
        passes: int = fd.static(default=1)

        def __call__(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
            return self.decoder(F.relu(self.encoder(x)))

    model = Autoencoder(nn.Linear.lazy(2), nn.Sequential([nn.Linear.lazy(8), nn.Dropout(0.5), nn.Linear.lazy(3)]))
    made = nn.init(model, KEY, X)
    assert shapes(made) == {
        "encoder/W": (3, 2), "encoder/b": (2,),
        "decoder/layers/0/W": (2, 8), "decoder/layers/0/b": (8,), "decoder/layers/2/W": (8, 3), "decoder/layers/2/b": (3,),
    }  # fmt: skip
    assert nn.init(made, None, X) is made


def test_layers_with_parameters_stay() -> None:
    first = nn.Linear.init(KEY, 3, 4)
    made = nn.init(nn.Sequential([first, nn.Linear.lazy(2)]), KEY, X)
    assert made.layers[0] is first


def test_a_layer_of_ones_own_may_be_lazy() -> None:
    class Scale(nn.Sized):
        factor: Any
        power: int = fd.static(default=1)

        @classmethod
        def init(cls, size: int, power: int = 1) -> "Scale":
            return cls(np.ones(size), power)

        @staticmethod
        def sizes_of(x: Any, **options: Any) -> tuple[int, ...]:
            return x.shape[-1:]

        def __call__(self, x: Any) -> Any:
            return x * self.factor**self.power

    made = nn.init(nn.Sequential([Scale.lazy(power=2)]), None, X)
    assert (made.layers[0].factor.shape, made.layers[0].power) == ((3,), 2)


def test_init_under_transforms() -> None:
    model = nn.Sequential([nn.Linear.lazy(4), nn.Linear.lazy(2)])
    keys = fd.random.split(KEY, 3)
    ensemble = fd.vmap(lambda key: nn.init(model, key, X))(keys)
    assert_trees_close(ensemble, fd.tree.map(lambda *leaves: np.stack(leaves), *[nn.init(model, key, X) for key in keys]), 1e-7)
    for run in (lambda f: f, fd.compile):
        assert_trees_equal(run(lambda key, x: nn.init(model, key, x))(KEY, X), nn.init(model, KEY, X))


def test_code_that_refuses_an_empty_batch() -> None:
    class Odd(fd.Module):
        layer: Any

        def __call__(self, x: Any) -> Any:
            return self.layer(x) if (x > 0).any() else x

    assert nn.init(Odd(nn.Linear.lazy(4)), KEY, nn.Shape((5, 3))).layer.W.shape == (3, 4)


class Half(fd.Module):
    """A model that uses the first of its layers."""

    layers: list[Any]

    def __call__(self, x: Any) -> Any:
        return self.layers[0](x)


def test_errors() -> None:
    model = nn.Sequential([F.relu, nn.Linear.lazy(4)])
    with pytest.raises(StructureError, match=r"Linear\.lazy\(4\).*nn\.init\(model, key, x\).*\(at layers/1\)"):
        model(X)
    with pytest.raises(StructureError, match=r"did not reach the lazy layers at layers/1, layers/2"):
        nn.init(Half([nn.Linear.lazy(4) for _ in range(3)]), KEY, X)
    with pytest.raises(KeyMissingError, match=r"nn\.init needs a key: .*\(at layers/1\)"):
        nn.init(model, None, X)
    looped = nn.Sequential([lambda x: x, Half([nn.Linear.lazy(3)])])
    with pytest.raises(StructureError, match=r"Linear\.lazy\(3\) at layers/1/layers/0 was given to a transform"):
        nn.init(looped, KEY, X, call=lambda model, x: fd.checkpoint(lambda layer, x: layer(x))(model.layers[1], x))


def test_a_lazy_layer_has_no_parameters() -> None:
    model = nn.Sequential([nn.Linear.lazy(4)])
    assert fd.tree.leaves(model) == []
    assert fd.tree.flatten(model)[1] == fd.tree.flatten(nn.Sequential([nn.Linear.lazy(4)]))[1]
    assert fd.tree.flatten(model)[1] != fd.tree.flatten(nn.Sequential([nn.Linear.lazy(5)]))[1]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 4))
def test_chains_of_any_sizes(sizes: list[int], size: int) -> None:
    model = nn.Sequential([nn.Linear.lazy(n) for n in sizes])
    made = nn.init(model, KEY, nn.Shape((2, size)))
    assert [layer.W.shape for layer in made.layers] == list(itertools.pairwise([size, *sizes]))


def test_layers_are_made_on_the_device_of_the_key(gpu: Any) -> None:
    model = nn.Sequential([nn.Linear.lazy(4), F.relu, nn.Linear.lazy(2)])
    made = nn.init(model, fd.to_device(KEY, "gpu"), nn.Shape((5, 3)))
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves(made)} == {"gpu:0"}
    assert_trees_close(fd.to_numpy(made), nn.init(model, KEY, X), 1e-6)
    assert nn.summary(made, nn.Shape((5, 3))).multiply_adds == 5 * (3 * 4 + 4 * 2)
    _, outputs = nn.capture(nn.freeze(made), fd.to_device(X, "gpu"), paths="layers/1")
    assert fd.device_of(outputs["layers/1"]) == "gpu:0"
