"""The mistakes of a first day, each with what the error must say: what is wrong, where, and what to write.

The first table was seen when version 0.1 was tried as a new user would, the second one later. Names that other libraries have are
looked up in whole lists of them.
"""

import dataclasses
import math
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, random, training
from fdezero import numpy as fnp
from fdezero.testing import check_grads

from ..nn.dezero_reference import dezero

KEY = random.key(0)
X, T = np.ones((8, 784), np.float32), np.arange(8)
MODEL = nn.MLP.init(KEY, (784, 20, 10))
OTHER = nn.MLP.init(KEY, (784, 30, 10))
LAYER = nn.Linear.init(KEY, 784, 10)
OPT = optim.adam(1e-3)
IMAGES = np.ones((2, 32, 32, 3), np.float32)


def loss_fn(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


GRADS = fd.grad(loss_fn)(MODEL, X, T)


class Plain:
    def __init__(self) -> None:
        self.W = X


@dataclasses.dataclass
class Data:
    W: Any


class Setting(fd.Module):
    W: Any
    size: int = 10


class Static(fd.Module):
    W: Any = fd.static()


class Own(fd.Module):
    layer: Any

    def __init__(self) -> None:
        self.layer = LAYER


def unannotated() -> type:
    return type("Net", (fd.Module,), {"W": X})


def saved(tree: Any, folder: Path) -> Path:
    fd.save(folder / "model.npz", tree)
    return folder / "model.npz"


def added_in_place(x: Any) -> Any:
    y = x
    y += 1
    return np.sum(x)


def filled(x: Any) -> Any:
    a = np.zeros(3)
    a[0] = x[0]
    return np.sum(a)


Mistakes = dict[str, tuple[Callable[[Path], Any], str]]

SEEN: Mistakes = {  # each with words of the message
    "opt.step(grads, model, state)": (lambda _: OPT.step(GRADS, MODEL, OPT.init(MODEL)), r"gradients in place of the parameters.* layers/0/W.*step\(params, grads, state\)"),
    "the state of another model": (lambda _: OPT.step(MODEL, GRADS, OPT.init(OTHER)), r"mean of layers/0/W is float32\[784,30\].*opt\.init\(params\)"),
    "a state that broadcasts": (lambda _: optim.momentum(0.1).step(X, X, optim.momentum(0.1).init(X[0])), r"velocity .*float32\[784\], its gradient float32\[8,784\]"),
    "a gradient of an int": (lambda _: fd.compile(optim.sgd(0.1).step)({"n": 3}, {"n": 3.0}, {}), "gradient of n .*give None there"),
    "a static array": (lambda _: fd.compile(lambda layer: layer)(Static(X)), r"static field Static\.W holds float32\[8,784\].*leave out fd\.static\(\)"),
    "a class in Sequential": (lambda _: nn.Sequential(LAYER, nn.Dropout), r"got the class Dropout: write Dropout\(\.\.\.\).*layers/1"),
    "no annotation": (lambda _: unannotated(), r"Net\.W has no annotation: `W: np\.ndarray"),
    "__init__ assigns": (lambda _: Own(), r"__init__ cannot assign layer\. Let a classmethod.*`def init\(cls, \.\.\.\): return cls\(layer="),
    "a setting as a shape": (lambda _: fd.compile(lambda s: np.ones(s.size))(Setting(X)), r"size: int = fd\.static\(\)"),
    "nn.MLP(sizes)": (lambda _: nn.MLP((784, 10)), r"write nn\.MLP\.init\(key, \(784, 10\)\)"),
    "MLP.init(sizes)": (lambda _: nn.MLP.init((784, 10)), r"Write nn\.MLP\.init\(key, sizes, .*key comes first: fd\.random\.key\(0\)"),
    "Linear.init(784, 10)": (lambda _: nn.Linear.init(784, 10), r"Write nn\.Linear\.init\(key, in_size, out_size, .*key comes first"),
    "a recurrent layer without its key": (lambda _: nn.LSTM.init(5, 4), r"Write nn\.LSTM\.init\(key, in_size, hidden_size, num_layers=.*key comes first"),
    "sizes one by one": (lambda _: nn.MLP.init(KEY, 784, 20, 10), r"sizes are one tuple: \(784, 10\)"),
    "sizes in an array": (lambda _: nn.MLP.init(KEY, np.array([784, 10])), r"such as \(784, 10\); got int64\[2\]"),
    "in_features=": (lambda _: nn.Linear.init(KEY, in_features=784, out_features=10), r"'in_features'\. Write nn\.Linear\.init\(key, in_size"),
    "a plain class": (lambda _: fd.grad(lambda p: np.sum(p.W))(Plain()), r"got Plain.*Write `class Plain\(fd\.Module\)`"),
    "a dataclass": (lambda _: fd.grad(lambda p: np.sum(p.W))(Data(X)), r"Write `class Data\(fd\.Module\)`"),
    "static(10)": (lambda _: fd.static(10), r"write fd\.static\(default=10\)"),
    "replace a field that is not": (lambda _: MODEL.replace(layer=1), "MLP has no field 'layer'.*fields are layers, activation, dropout"),
    "chain of a list": (lambda _: optim.chain([OPT]), r"part 0 is list.*Write chain\(\*parts\)"),
    "a rate in quotes": (lambda _: optim.sgd("0.1"), "lr is a number or a schedule.*got '0.1'"),
    "scale of a schedule": (lambda _: optim.scale(lambda step: 0.1), "factor is a number; got <lambda>"),
    "sgd(model, lr=)": (lambda _: optim.sgd(MODEL, lr=0.1), r"Write optim\.sgd\(lr=\.\.\.\): the parameters come later, to init\(params\)"),
    "grads * 0.5": (lambda _: GRADS * 0.5, r"MLP is a tree.*fd\.tree\.map\(lambda a: 0\.5 \* a, tree\)"),
    "a seed for a key": (lambda _: F.dropout(X, 0.5, key=0, train=True), r"^dropout needs a key, but int 0 is a seed\. Pass fd\.random\.key\(0\)"),
    "dropout(x)": (lambda _: F.dropout(X), r"Write F\.dropout\(x, 0\.5, key=key, train=True\)"),
    "DataLoader(x, t, 100)": (lambda _: fd.data.DataLoader(X, T, 100), r"DataLoader\(\(x, t\), 100, key=key\)"),
    "a list of labels": (lambda _: fd.data.DataLoader((X, [0, 1]), 2, key=KEY), "1 has 2 examples.*for arrays .*write a tuple"),
    "a data set without len": (lambda _: fd.data.DataLoader(Plain(), 2), r"or an object with len\(dataset\) and dataset\[i\], got Plain"),
    "for x, t in loader": (lambda _: list(fd.data.DataLoader((X, T), 4, key=KEY)), r"iterate over loader\.epoch\(0\)"),
    "mnist(train=True)": (lambda _: fd.data.mnist(train=True), r"split comes first: mnist\('train'\)"),
    "like is a class": (lambda f: fd.load(saved(MODEL, f), like=nn.MLP), r"like is the class MLP.*Make one"),
    "to_device(name, model)": (lambda _: fd.to_device("cpu", MODEL), r"got MLP\. The tree comes first: fd\.to_device\(tree, 'cpu'\)"),
    "plot(f, verbose=False)": (lambda _: fd.plot(np.sin, verbose=False), r"go into the second call: fd\.plot\(f\)\(\*args"),
    "float labels": (lambda _: loss_fn(MODEL, X, T * 1.0), r"integer labels, got float64\[8\]\. Use labels\.astype\(int\)"),
    "labels out of range": (lambda _: loss_fn(MODEL, X, T + 5), r"there are 10 classes\. The first wrong one is 10, at index \(5,\)"),
    "images that are not flat": (lambda _: MODEL(np.ones((8, 1, 28, 28), np.float32)), r"x\.reshape\(8, 784\)\. \(at layers/0\)"),
    "a file that does not fit": (lambda f: fd.load(saved(MODEL, f), like=OTHER), r"layers/0/W is float32\[784,30\] in the tree, float32\[784,20\] in the file"),
    "x += y": (lambda _: fd.grad(added_in_place)(X), r"used after `\+=` at .*, line \d+.*Write x = x \+ y"),
    "if in compile": (lambda _: fd.compile(lambda x: x if x > 0 else -x)(1.0), r"at .*test_first_day\.py, line \d+.*fd\.numpy\.where"),
    "an int array": (lambda _: fd.grad(np.sum)(np.arange(3)), r"Say x\.astype\(float\)"),
    "aux without has_aux": (lambda _: fd.grad(lambda x: (np.sum(x), x))(X), "Return extras through has_aux=True"),
}  # fmt: skip

OURS: Mistakes = {
    "compile(f(x))": (lambda _: fd.compile(np.sin(1.0)), r"got float64\[\]\. Write compile\(f\), not compile\(f\(x\)\)"),
    "trace(f(x))": (lambda _: fd.trace(MODEL(X)), r"Write trace\(f\), not trace\(f\(x\)\)"),
    "grad(f(x))": (lambda _: fd.grad(loss_fn(MODEL, X, T))(MODEL), r"Write grad\(f\), not grad\(f\(x\)\)"),
    "grad of a vector": (lambda _: fd.grad(lambda x: x * 2)(X), r"must return a scalar, got float32\[8,784\]\. Reduce it"),
    "one-hot labels": (lambda _: loss_fn(MODEL, X, np.eye(10)[T]), r"Use labels\.argmax\(axis=-1\)"),
    "labels (N, 1)": (lambda _: loss_fn(MODEL, X, T[:, None]), r"need labels of shape \(8,\), got int64\[8,1\]"),
    "arguments of a loss swapped": (lambda _: F.softmax_cross_entropy(T, MODEL(X)), r"takes integer labels, got float32\[8,10\]"),
    "shapes of a loss": (lambda _: F.mean_squared_error(np.ones((4, 1)), np.ones(4)), r"predictions float64\[4,1\] and targets float64\[4\]"),
    "logits for probabilities": (lambda _: F.binary_cross_entropy(np.array([2.0]), np.array([1])), "For logits use sigmoid_cross_entropy"),
    "channels last": (lambda _: nn.Conv2d.init(KEY, 3, 8, 3)(IMAGES), r"x\.transpose\(0, 3, 1, 2\)"),
    "a large kernel": (lambda _: nn.Conv2d.init(KEY, 3, 8, 9)(np.ones((2, 3, 5, 5))), r"padding='same' keeps the size"),
    "a lazy layer is called": (lambda _: nn.Linear.lazy(10)(X), r"model = nn\.init\(model, key, x\)"),
    "grad of a lazy layer": (lambda _: fd.grad(loss_fn)(nn.Linear.lazy(10), X, T), r"holds Linear\.lazy\(10\).*nn\.init\(model, key, x\)"),
    "a lazy layer is saved": (lambda f: saved(nn.Linear.lazy(10), f), r"does not have parameters yet.*nn\.init"),
    "dropout without a key": (lambda _: nn.Sequential(LAYER, nn.Dropout(0.5))(X, train=True), r"pass key=.*\(at layers/1\)"),
    "the key of dropout by position": (lambda _: F.dropout(X, 0.5, KEY), r"Write F\.dropout\(x, 0\.5, key=key, train=True\)"),
    "a rate in per cent": (lambda _: F.dropout(X, 50, key=KEY, train=True), "up to but not including 1; got int 50"),
    "float ids": (lambda _: nn.Embedding.init(KEY, 10, 4)(np.ones(3)), r"integer ids, got float64\[3\]\. Use ids\.astype\(int\)"),
    "ids out of range": (lambda _: nn.Embedding.init(KEY, 10, 4)(np.array([11])), "W has 10 rows, so ids go from 0 to 9"),
    "a key used twice": (lambda _: fd.debug(lambda k: random.normal(k, 2) + random.normal(k, 2), keys=True)(KEY), r"(?s)used twice.*fd\.random\.split\(key\)"),
    "the shape before the key": (lambda _: random.normal((2,), KEY), r"needs a key, got tuple\. Pass fd\.random\.key\(0\)"),
    "a negative seed": (lambda _: random.key(-1), "a seed from 0 to"),
    "step without a state": (lambda _: OPT.step(MODEL, GRADS, None), r"adam keeps step, mean, root\. Pass the state from its own init\(params\)"),
    "a model for a rate": (lambda _: optim.adam(MODEL.layers), "lr is a number or a schedule"),
    "a negative rate": (lambda _: optim.adam(-1.0), "lr is a finite number >= 0.*got -1.0"),
    "a schedule that was not made": (lambda _: optim.adam(optim.schedules.cosine), "lr is a number or a schedule.*got cosine"),
    "everything is frozen": (lambda _: fd.grad(loss_fn)(nn.freeze(MODEL), X, T), r"nn\.thaw\(model\)"),
    "save(tree, path)": (lambda _: fd.save(MODEL, "a.npz"), r"path comes first.*fd\.save\('model\.npz', tree\)"),
    "no such folder": (lambda f: fd.save(f / "nowhere" / "a.npz", MODEL), "there is no folder"),
    "no npz file": (lambda _: fd.load(__file__), "is no npz file, or is damaged"),
    "to_device(model, 'cuda')": (lambda _: fd.to_device(MODEL, "cuda"), "say 'cpu', 'gpu' or 'gpu:1'"),
    "in_axes of another length": (lambda _: fd.vmap(np.add, in_axes=(0,))(X, X), "in_axes names 1 arguments, but 2 were given"),
    "batches of two sizes": (lambda _: fd.vmap(np.add)(X, X[:4]), r"differ in size: argument 0 float32\[8,784\].*argument 1 float32\[4,784\]"),
    "x[0] = y": (lambda _: fd.grad(lambda x: x.__setitem__(0, 1.0))(X), r"write x = fd\.at\(x\)\[index\]\.set\(y\)"),
    "a[0] = x[0]": (lambda _: fd.grad(filled)(X[0]), r"write a = fd\.at\(a\)\[i\]\.set\(x\)"),
    "out=": (lambda _: fd.grad(lambda x: np.sum(np.sin(x, out=np.zeros_like(X))))(X), "cannot write a traced value into a plain array"),
    "math.sin": (lambda _: fd.grad(math.sin)(1.0), r"Use fd\.numpy functions instead of math functions"),
    "float(x)": (lambda _: fd.grad(lambda x: float(x) * 2)(1.0), "a plain number carries no derivative"),
    "np.array([x, x])": (lambda _: fd.grad(lambda x: np.sum(np.array([x, x])))(1.0), r"use fd\.numpy\.stack or concatenate"),
    "range(n) in compile": (lambda _: fd.compile(lambda x, n: sum(x for _ in range(n)))(1.0, 3), r'static: fd\.compile\(f, static=\("name",\)\)'),
    "scan without a second result": (lambda _: fd.scan(lambda c, x: c + x, 0.0, X), r"must return \(carry, y\)"),
    "cond of values": (lambda _: fd.cond(True, 1.0, 2.0), "cond takes a function, got float 1.0"),
    "a rule that is missing": (lambda _: fd.grad(fd.custom_vjp(lambda x: x * x))(1.0), r"no rule yet: call <lambda>\.defvjp\(forward, backward\)"),
    "a tangent of another shape": (lambda _: fd.jvp(np.sin, (X,), (T,)), r"tangent of primal 0 is int64\[8\]"),
    "a matrix that is not square": (lambda _: fd.grad(lambda A: np.sum(np.linalg.inv(A)))(X), r"needs square matrices, got float32\[8,784\]"),
    "a singular matrix": (lambda _: fd.grad(lambda A: np.sum(np.linalg.inv(A)))(np.ones((2, 2))), "is singular. For the least-norm solution"),
    "a column of text": (lambda _: fd.grad(np.sum)(pandas.Series(["a", "b"])), r"not one of numbers\. Write x\.astype\(float\)"),
    "a model for a state of training": (lambda _: training.fit(loss_fn, MODEL, [1], epochs=1), r"fit\(step, state, loader, epochs=5\).*got MLP for the state"),
    "a batch size in quotes": (lambda _: fd.data.DataLoader((X, T), "4", key=KEY), "batch size is a whole number, got str"),
    "no key to shuffle with": (lambda _: fd.data.DataLoader((X, T), 4), r"pass key=fd\.random\.key\(0\), or shuffle=False"),
    "a split that is not": (lambda _: fd.data.mnist("validation"), "the split is 'train' or 'test', got 'validation'"),
    "two trees of another form": (lambda _: fd.tree.map(np.add, MODEL, {"a": 1}), "differ at 'layers/0/W'"),
    "a path that is not": (lambda _: fd.tree.update(MODEL, {"layers/9/W": X}), "no leaf at 'layers/9/W'; the tree has 'layers/0/W'"),
    "accuracy(labels, logits)": (lambda _: F.accuracy(T, MODEL(X)), r"takes integer labels, got float32\[8,10\]"),
    "x.detach()": (lambda _: fd.grad(lambda x: np.sum(x.detach()))(X), r"write fd\.stop_gradient\(x\)"),
    "x.to(dtype)": (lambda _: fd.grad(lambda x: np.sum(x.to(float)))(X), r"write x\.astype\(dtype\)"),
    "from_dlpack of a list": (lambda _: fnp.from_dlpack([1.0]), "takes an array of another library"),
    "check_grads(f, x)": (lambda _: check_grads(np.sin, X), "arguments are a tuple"),
    "fd.at(x)[0].get()": (lambda _: fd.at(X)[0].get(), r"x\[index\] reads"),
}  # fmt: skip


def text_of(error: BaseException) -> str:
    """All that Python prints of an error: its notes and its cause as well."""
    cause = text_of(error.__cause__) if error.__cause__ else ""
    return "\n".join([str(error), *getattr(error, "__notes__", ()), cause])


@pytest.mark.parametrize("name", [*SEEN, *OURS])
def test_the_error_says_what_where_and_how_to_mend_it(name: str, tmp_path: Path) -> None:
    mistake, words = (SEEN | OURS)[name]
    with pytest.raises(Exception) as caught:  # noqa: PT011, the words tell which
        mistake(tmp_path)
    assert re.search(words, text_of(caught.value)), text_of(caught.value)


# Names of other libraries: each is there, or the error says what to write

NAMES: dict[str, str] = {  # by module of fdezero
    "": "jit cuda Variable Parameter Model Layer Function test_mode no_grad using_config as_variable tensor Tensor device ones zeros array arange exp sin "
        "functional relu adam value_and_gradient manual_seed from_numpy cat PRNGKey make_jaxpr pmap lax tree_map tree_util inference_mode GradientTape",
    "functions": "sin exp sum reshape cross_entropy matmul conv2d_simple binary_cross_entropy_with_logits linear_simple batch_nrom embed_id nll_loss get_item "
        "mse_loss scaled_dot_product_attention kl_div one_hot log_softmax pooling_simple",
    "nn": "ReLU CrossEntropyLoss Module Parameter EmbedID Dense Conv2D functional Tanh ModuleList Embed MultiheadAttention BatchNorm2d MaxPooling2D relu",
    "optim": "Adam SGD AdamW MomentumSGD lr_scheduler WeightDecay ClipGrad masked warmup_cosine_decay_schedule cosine update",
    "random": "seed rand randn PRNGKey shuffle default_rng integers standard_normal randperm key_data",
    "data": "Dataset MNIST TensorDataset random_split Compose Spiral SinCurve SeqDataLoader default_collate",
    "training": "fit Accuracy Checkpoints", "tree": "tree_map tree_leaves",
}  # fmt: skip
METHODS = {
    "model": "to train eval parameters state_dict load_state_dict save_weights load_weights to_gpu to_cpu cleargrads zero_grad forward params cuda apply fit "
        "predict summary half weights",
    "optimiser": "setup zero_grad param_groups state_dict add_hook minimize apply_gradients learning_rate",
    "traced": "backward detach numpy view unsqueeze cpu cuda to permute clone float requires_grad",
}  # fmt: skip


def module_of(name: str) -> Any:
    return getattr(fd, name) if name else fd


@pytest.mark.parametrize("module", NAMES)
def test_a_name_of_another_library_leads_to_ours(module: str) -> None:
    ours = module_of(module)
    for name in NAMES[module].split():
        if name not in ours.__all__:
            with pytest.raises(AttributeError, match=f"has no attribute '{name}': (use|leave it out,|did you mean) "):
                getattr(ours, name)


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_of_another_library_leads_to_ours(kind: str) -> None:
    def asked(x: Any) -> Any:
        thing = {"model": MODEL, "optimiser": OPT, "traced": x}[kind]
        for name in METHODS[kind].split():
            with pytest.raises(AttributeError, match=rf"has no attribute '{name}'\. .*(fd\.|opt\.|model|[Ww]rite|Nothing|call)"):
                getattr(thing, name)
        return x

    fd.grad(asked)(1.0)


THEIRS = {"core": "", "functions": "functions", "functions_conv": "functions", "layers": "nn", "models": "models", "datasets": "data", "dataloaders": "data",
          "transforms": "data.transforms", "optimizers": "optim", "utils": "", "cuda": ""}  # fmt: skip


@pytest.mark.parametrize("theirs", THEIRS)
def test_every_name_of_dezero_leads_to_ours(theirs: str) -> None:
    module, ours = vars(dezero)[theirs], fd
    for part in filter(None, THEIRS[theirs].split(".")):
        ours = getattr(ours, part)
    for name, value in vars(module).items():
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and getattr(value, "__module__", "") == module.__name__ and not hasattr(ours, name):
            with pytest.raises(AttributeError, match=f"'{name}': (use|leave it out,|did you mean) "):
                getattr(ours, name)


def test_a_name_that_nobody_has_is_plainly_unknown() -> None:
    for module in filter(None, NAMES):
        with pytest.raises(AttributeError, match="has no attribute 'qqq'$"):
            assert module_of(module).qqq
        assert not hasattr(module_of(module), "_private")
