"""`python -m fdezero convert`: formats and names, forth and back."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import commands, nn
from fdezero.models import VGG16, ResNet50, SqueezeNet
from fdezero.testing import assert_trees_equal

from ..io.test_io_mapped import KEPT
from ..models import dezero_networks

KEY = fd.random.key(0)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def convert(*arguments: str) -> dict[str, np.ndarray]:
    assert commands.main(["convert", *arguments]) == 0
    return fd.load(arguments[1])


def test_npz_becomes_safetensors_and_comes_back() -> None:
    tree = KEPT["safetensors"]
    fd.save("a.npz", tree)
    assert_trees_equal(convert("a.npz", "b.safetensors"), tree, bits=True)
    assert_trees_equal(convert("b.safetensors", "c.npz", "--compress", "no"), tree, bits=True)
    assert_trees_equal(fd.load("c.npz", mmap=True), tree, bits=True)
    assert_trees_equal(convert("c.npz", "d.safetensors", "--shard-size", "300"), tree, bits=True)
    assert os.path.exists("d.safetensors.index.json")
    assert_trees_equal(convert("d.safetensors", "a.npz", "--force"), tree, bits=True)
    assert_trees_equal(convert("a.npz", "a.npz", "--force", "--compress", "yes"), tree, bits=True)


def test_what_the_other_format_cannot_keep_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    fd.save("a.npz", {"dates": np.array(["2026-11-24"], "M8[D]")})
    assert commands.main(["convert", "a.npz", "b.safetensors"]) == 2
    assert "convert: dates is datetime64[D][1], which safetensors cannot keep" in capsys.readouterr().err
    assert os.listdir() == ["a.npz"]


def test_bfloat16_is_kept() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tree = {"x": np.asfortranarray(np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16))}
    fd.save("a.npz", tree)
    assert_trees_equal(convert("a.npz", "b.safetensors"), tree, bits=True)
    assert_trees_equal(convert("b.safetensors", "c.npz"), tree, bits=True)


def test_numbers_that_would_become_infinite_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    fd.save("a.npz", {"x": np.array([1e30, 1.0, np.inf, np.nan, -1e6])})
    assert commands.main(["convert", "a.npz", "b.npz", "--dtype", "float16"]) == 2
    assert "convert: x has 2 numbers that float16 cannot hold: they would become infinite." in capsys.readouterr().err
    assert os.listdir() == ["a.npz"]
    np.testing.assert_array_equal(convert("a.npz", "b.npz", "--dtype", "float32")["x"][2:4], [np.inf, np.nan])


def test_floating_numbers_are_rounded_on_demand() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tree = {"x": np.linspace(0, 1, 7), "half": np.ones(2, np.float16), "ids": np.arange(3), "c": np.ones(2, complex)}
    fd.save("a.npz", tree)
    for name in ("float16", "bfloat16", "float32", "float64"):
        dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
        found = convert("a.npz", f"{name}.npz", "--dtype", name)
        assert_trees_equal(found, {**tree, "x": tree["x"].astype(dtype), "half": tree["half"].astype(dtype)}, bits=True)


def test_prefixes_and_separators() -> None:
    fd.save("a.npz", {"net": {"fc": {"weight": np.ones(2), "bias": np.zeros(2)}}, "rest": 1.0})
    assert sorted(convert("a.npz", "b.npz", "--rename", "net=model", "--rename", "net/fc=head")) == ["head/bias", "head/weight", "rest"]
    assert sorted(convert("a.npz", "c.safetensors", "--rename", "net=", "--names", "dots")) == ["fc.bias", "fc.weight", "rest"]
    assert sorted(convert("c.safetensors", "d.npz", "--names", "slashes")) == ["fc/bias", "fc/weight", "rest"]


def dezero_file(module: Any, *inputs: Any) -> dict[str, np.ndarray]:
    """The file that DeZero writes of a network, once it has been called."""
    module(*inputs)
    module(*inputs)  # the second call makes matrices of the state
    module.save_weights("dezero.npz")
    return dict(np.load("dezero.npz"))


def test_networks_of_dezero_forth_and_back() -> None:
    dezero = dezero_networks.dezero
    import dezero.layers as L

    class Net(dezero.models.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.cell, self.embed, self.norm = L.RNN(4), L.LSTM(5), L.EmbedID(7, 3), L.BatchNorm()
            self.mlp = dezero.models.MLP((6, 2))

        def forward(self, ids: Any) -> Any:
            x = self.norm(self.embed(ids))
            return self.mlp(self.cell(x)), self.rnn(x)

    theirs = dezero_file(Net(), np.array([1, 2]))
    ours = convert("dezero.npz", "ours.npz", "--names", "fdezero")
    assert sorted(ours) == [
        "cell/Wh", "cell/Wx", "cell/b", "embed/W", "mlp/layers/0/W", "mlp/layers/0/b", "mlp/layers/1/W", "mlp/layers/1/b",
        "norm/mean", "norm/scale", "norm/shift", "norm/variance", "rnn/Wh", "rnn/Wx", "rnn/b",
    ]  # fmt: skip
    for field in ("Wx", "Wh", "b"):
        part = field[-1] if field != "b" else "x"
        name = "b" if field == "b" else "W"
        np.testing.assert_array_equal(ours[f"cell/{field}"], np.concatenate([theirs[f"cell/{part}2{gate}/{name}"] for gate in "ifuo"], axis=-1))
    back = convert("ours.npz", "back.npz", "--names", "dezero")
    assert_trees_equal(back, theirs, bits=True)
    convert("dezero.npz", "float32.npz", "--names", "fdezero", "--dtype", "float32")  # DeZero on NumPy 2 writes float64
    fd.load("float32.npz", like={"cell": nn.LSTMCell.init(KEY, 3, 5), "rnn": nn.RNNCell.init(KEY, 3, 4)}, strict=False)


def test_known_networks_get_the_names_that_their_classes_read(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"ResNet": ResNet50.init(KEY, width=2, classes=3, form="dezero"), "VGG": VGG16.init(KEY, size=32, width=2, hidden_size=4, classes=3)}
    for name, model in small.items():
        fd.save(f"{name}.npz", model)
        theirs = convert(f"{name}.npz", f"{name}_there.npz", "--names", "dezero")
        assert not set(theirs) & set(fd.tree.paths(model))
        assert_trees_equal(type(model).load(f"{name}_there.npz"), model)
        assert_trees_equal(convert(f"{name}_there.npz", f"{name}_here.npz", "--names", "fdezero"), fd.io.flatten_to_dict(model))
    fd.save("r.npz", ResNet50.init(KEY, width=2, classes=3))
    assert commands.main(["convert", "r.npz", "t.npz", "--names", "dezero"]) == 2
    assert "not the network that DeZero has: its files hold conv1/b" in capsys.readouterr().err
    fd.save("s.npz", SqueezeNet.init(KEY, classes=3))
    assert commands.main(["convert", "s.npz", "t.npz", "--names", "dezero"]) == 2
    assert "DeZero does not have this network" in capsys.readouterr().err
    fd.save("s.npz", {"rnn": nn.GRUCell.init(KEY, 3, 4)})
    assert commands.main(["convert", "s.npz", "t.npz", "--names", "dezero"]) == 2
    assert "rnn/Wh 4 x 12 is no matrix of a cell that DeZero has" in capsys.readouterr().err


def test_names_of_torchvision_become_those_of_the_models() -> None:
    rng = np.random.default_rng(0)
    plain = {
        "layer1.0.conv1.weight": rng.standard_normal((2, 3, 3, 3)), "fc.weight": rng.standard_normal((5, 4)), "fc.bias": rng.standard_normal(5),
        "bn1.running_mean": rng.standard_normal(4),
    }  # fmt: skip
    fd.save("torch.safetensors", plain)
    found = convert("torch.safetensors", "ours.npz", "--names", "fdezero")
    assert sorted(found) == ["head/W", "head/b", "norm/mean", "stages/0/layers/0/convs/0/W"]
    np.testing.assert_array_equal(found["head/W"], plain["fc.weight"].T)
    np.testing.assert_array_equal(found["stages/0/layers/0/convs/0/W"], plain["layer1.0.conv1.weight"])
