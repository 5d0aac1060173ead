"""Placement, and the whole library on a GPU: on the strict stand-in for CuPy everywhere, on CuPy itself where there is a GPU."""

import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.devices import why_no_gpu
from fdezero.errors import DeviceError, DTypeError, TraceError
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..laws.folding import by_name, folded, sharing
from ..laws.matrices import skip_where_signs_differ
from ..laws.samples import DIFFERENTIABLE, SAMPLES, Sample
from ..laws.test_laws import function_of
from ..profiles import NIGHTLY

TREE = {"W": np.arange(6, dtype=np.float32).reshape(2, 3), "step": 3, "name": "first", "b": None, "n": np.arange(3)}


# --- without a GPU ---------------------------------------------------------------------------------------------------


class Broken:
    """A finder through which `import cupy` raises `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "cupy":
            raise self.error


def broken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])


def advice(cause: Exception) -> Exception:
    """The error of `import cupy` if a CUDA library is missing."""
    error = ImportError("\n=====\nFailed to import CuPy.\n\nIf you installed CuPy via wheels, ...\n=====")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'cupy'", name="cupy"), "not installed: pip install 'fdezero[cuda12]'"),
        (ModuleNotFoundError("No module named 'cuda'", name="cuda"), "the module cuda that it needs is not"),
        (advice(ImportError("libcublas.so.12: cannot open shared object file")), "cannot be loaded: libcublas.so.12: cannot open"),
        (OSError("libcuda.so.1: no such file\nand more"), "cannot be loaded: libcuda.so.1: no such file."),
    ],
)
def test_a_cupy_that_cannot_be_imported_is_explained_in_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    broken(monkeypatch, error)
    assert not fd.gpu_available()
    with pytest.raises(DeviceError, match="no GPU for to_device") as caught:
        fd.to_device(TREE, "gpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cupy_without_a_driver_leaves_the_cpu_working(monkeypatch: pytest.MonkeyPatch) -> None:
    driverless = types.ModuleType("cupy")
    vars(driverless).update(__version__="14.2.0", is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "cupy", driverless)
    assert not fd.gpu_available()
    assert why_no_gpu() == "CuPy 14.2.0 is installed, but the CUDA driver shows it no usable NVIDIA GPU (see nvidia-smi)."
    with pytest.raises(DeviceError, match="shows it no usable NVIDIA GPU"):
        fd.to_device(TREE, "gpu:1")
    assert fd.to_device(TREE, "cpu")["W"] is TREE["W"]
    assert fd.device_of(TREE) == "cpu"
    assert fd.array_module(TREE["W"]) is np
    assert fd.grad(lambda x: (x * x).sum())(np.ones(2)).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", ["", "cuda", "GPU", "gpu:", "gpu:x", "gpu:-1", "gpu1", "cpu:0", "gpu:1:2"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=r"unknown device .*: say 'cpu', 'gpu' or 'gpu:1'"):
        fd.to_device(TREE, name)


def test_nothing_imports_cupy_until_it_is_asked_for() -> None:
    script = """if True:
        import sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                assert name != "cupy", "cupy was imported"
        sys.meta_path.insert(0, Refuse())
        import numpy as np
        import fdezero as fd
        from fdezero import functions as F, nn, optim
        model = nn.MLP.init(fd.random.key(0), (4, 3, 2), dropout=0.5)
        loss = lambda m, k: F.softmax_cross_entropy(m(np.ones((2, 4), np.float32), key=k, train=True), np.array([0, 1]))
        model, _ = optim.sgd(0.1).step(model, fd.grad(loss)(model, fd.random.key(1)), optim.sgd(0.1).init(model))
        fd.to_numpy(fd.to_device(model, "cpu")), fd.device_of(model), fd.array_module(model.layers[0].W)
        print("cupy" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


# --- placement -------------------------------------------------------------------------------------------------------


def test_to_device_makes_a_new_tree_and_moves_nothing_in_place(gpu: Any) -> None:
    there = fd.to_device(TREE, "gpu")
    assert isinstance(there["W"], gpu.ndarray)
    assert there["W"].dtype == np.float32
    assert (there["step"], there["name"], there["b"]) == (3, "first", None)
    assert isinstance(TREE["W"], np.ndarray)
    assert fd.device_of(there) == "gpu:0"
    assert fd.array_module(there["W"]) is gpu
    assert_trees_equal(fd.to_numpy(there)["W"], TREE["W"])


def test_arrays_that_are_there_are_shared(gpu: Any) -> None:
    mixed = {"here": np.ones(2), "there": gpu.asarray([1.0]), "dtype": np.float32}  # the class is no array
    up, down = fd.to_device(mixed, "gpu:0"), fd.to_device(mixed, "cpu")
    assert up["there"] is mixed["there"]
    assert down["here"] is mixed["here"]
    assert isinstance(up["here"], gpu.ndarray)
    assert isinstance(down["there"], np.ndarray)
    assert up["dtype"] is np.float32


def test_device_of_names_the_leaves_that_differ(gpu: Any) -> None:
    mixed = {"layers": [{"W": gpu.asarray([1.0])}, {"W": np.ones(2)}]}
    with pytest.raises(DeviceError, match=r"layers/0/W \(float64\[1\]\) is on gpu:0, but layers/1/W \(float64\[2\]\) is on cpu"):
        fd.device_of(mixed)
    assert fd.device_of({"loss": np.float32(1), "x": gpu.asarray([1.0]), "n": 3}) == "gpu:0"
    assert fd.device_of(()) == "cpu"


def test_mixing_devices_in_an_operation_says_where_each_array_is(gpu: Any) -> None:
    here, there = np.ones(3), gpu.asarray([1.0, 2.0, 3.0])
    ways = (lambda x: fnp.add(x, here), lambda x: x * here, lambda x: here * x, lambda x: fnp.matmul(here, x), lambda x: np.add(here, x))
    for mix in ways:
        with pytest.raises(DeviceError, match=r"different devices: .* on (gpu:0, .* on cpu|cpu, .* on gpu:0)\..*to_device"):
            fd.grad(lambda x: fnp.sum(mix(x)))(there)
    key = fd.random.key(0)
    with pytest.raises(DeviceError, match="less got arrays on different devices"):
        fd.random.bernoulli(key, there / 4)


def test_what_no_gpu_can_hold_is_named(gpu: Any) -> None:
    with pytest.raises(DTypeError, match=r"a GPU cannot hold <U1\[2\].* \(at words/0\)"):
        fd.to_device({"words": [np.array(["a", "b"])]}, "gpu")


def test_moving_a_traced_value_is_refused_and_sharing_it_is_not(gpu: Any) -> None:
    there = gpu.asarray([1.0, 2.0])
    with pytest.raises(TraceError, match=r"cannot move float64\[2\] to cpu while grad\(.*at x"):
        fd.grad(lambda x: fnp.sum(fd.to_device({"x": x}, "cpu")["x"]))(there)
    assert fd.to_numpy(fd.grad(lambda x: fnp.sum(fd.to_device(x, "gpu") * x))(there)).tolist() == [2.0, 4.0]


def test_a_second_gpu(strict_cupy: Any) -> None:
    first, second = fd.to_device(np.ones(3), "gpu"), fd.to_device(np.ones(3), "gpu:1")
    assert (fd.device_of(first), fd.device_of(second)) == ("gpu:0", "gpu:1")
    assert fd.device_of(fd.to_device(second, "gpu")) == "gpu:0"
    assert fd.to_device(second, "gpu:1") is second
    with pytest.raises(DeviceError, match=r"add got arrays on different devices: float64\[3\] on gpu:0, float64\[3\] on gpu:1.*to_device\(tree, 'gpu:1'\)"):
        fnp.add(first, second)
    with pytest.raises(DeviceError, match=r"exp got arrays on gpu:1.*with cupy.cuda.Device\(1\)"):
        fnp.exp(second)
    with strict_cupy.cuda.Device(1):
        gradient = fd.grad(lambda x: fnp.sum(fnp.exp(x)))(second)
        drawn = fd.random.normal(fd.to_device(fd.random.key(0), "gpu:1"), 3)
    assert fd.device_of((gradient, drawn)) == "gpu:1"
    with pytest.raises(DeviceError, match="no device 'gpu:2': this machine has 2 GPUs"):
        fd.to_device(first, "gpu:2")


# --- the operations --------------------------------------------------------------------------------------------------


def same(there: Any, here: Any, tolerance: float = 1e-9) -> None:
    """Check that the numbers are equal and all on the GPU."""
    leaves, expected = fd.tree.leaves(there), [np.asarray(leaf) for leaf in fd.tree.leaves(here)]
    assert all(fd.device_of(leaf) == "gpu:0" for leaf, plain in zip(leaves, expected, strict=True) if plain.ndim)
    assert [x.dtype for x in fd.to_numpy(leaves)] == [x.dtype for x in expected]
    assert_trees_close(fd.to_numpy(there), here, tolerance)


ABSENT = {"jv", "yv", "iv", "ive", "kv", "kve"}  # from CuPy


def placed(sample: Sample) -> Sample:
    if sample.name in ABSENT:
        with pytest.raises(DeviceError, match="does not have this function"):
            sample.primitive(*fd.to_device(sample.args, "gpu"), **sample.params)
        pytest.skip(f"CuPy does not have {sample.name}")
    return sample._replace(args=fd.to_device(sample.args, "gpu"))


@folded("sample", SAMPLES, sharing(SAMPLES, by_name))
def test_every_operation_is_the_same_on_the_gpu(sample: Sample, gpu: Any) -> None:
    skip_where_signs_differ(sample.name, gpu)
    there = placed(sample)
    same(there.primitive(*there.args, **there.params), sample.primitive(*sample.args, **sample.params))


@folded("sample", SAMPLES, sharing(SAMPLES, by_name))
def test_every_operation_is_batched_on_the_gpu(sample: Sample, gpu: Any) -> None:
    skip_where_signs_differ(sample.name, gpu)
    placed(sample)
    for i, arg in enumerate(sample.args):
        if hasattr(arg, "shape"):
            args = [sample.batch(j, 2) if j == i else x for j, x in enumerate(sample.args)]
            mapped = fd.vmap(lambda *a: sample.primitive(*a, **sample.params), tuple(0 if j == i else None for j in range(len(args))))
            same(mapped(*fd.to_device(args, "gpu")), mapped(*args))


@folded("sample", DIFFERENTIABLE, sharing(DIFFERENTIABLE, by_name))
def test_every_operation_is_differentiated_twice_on_the_gpu(sample: Sample, gpu: Any) -> None:
    """Twice at night, and once by default: what a rule computes with has samples of its own."""
    skip_where_signs_differ(sample.name, gpu)
    (here, args), (there, there_args) = function_of(sample), function_of(placed(sample))
    numbers = tuple(range(len(args)))

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        return fd.grad(lambda *a: fnp.real(fnp.sum(function(*a) * function(*a))), argnums=numbers)

    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        return fd.grad(lambda *a: fnp.sum(fnp.stack([fnp.real(fnp.sum(g * g)) for g in once(function)(*a)])), argnums=numbers)

    differentiated = twice if NIGHTLY else once
    same(differentiated(there)(*there_args), differentiated(here)(*args), 1e-7)
    tangents = tuple(np.ones_like(arg) if hasattr(arg, "shape") else 1.0 for arg in args)
    same(fd.jvp(there, tuple(there_args), fd.to_device(tangents, "gpu")), fd.jvp(here, tuple(args), tangents))


X = np.cos(np.arange(12.0)).reshape(4, 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[0] * x[1, ::-1] + x[..., 1:2].sum(), lambda x: x[np.array([0, 2, 2])],
        lambda x: x[[1, 2], [0, 2]], lambda x: x[x > 0], lambda x: x[None, 1, :, None],
        lambda x: fd.at(x)[1].set(2.0), lambda x: fd.at(x)[[0, 0]].add(x[:2]),
        lambda x: fd.at(x)[[0, 0], [1, 1]].multiply(3.0), lambda x: fd.at(x)[0].max(0.5),
        lambda x: np.sin(x) * 2 + np.float64(3) * x, lambda x: np.maximum(0.1, x), lambda x: np.add.reduce(x),
        lambda x: np.concatenate([x, 2.0 * x]), lambda x: fnp.stack([x[0], x[1] * 2]),
        lambda x: np.where(x > 0, x, 0.0), lambda x: fnp.std(x, axis=0), lambda x: fnp.pad(x, 1),
        lambda x: fnp.roll(x, 1, 0), lambda x: fnp.split(x, 2)[1], lambda x: fnp.einsum("ij,kj->ik", x, x),
        lambda x: x @ x.T, lambda x: fnp.clip(x, -0.5, 0.5),
        lambda x: fnp.take_along_axis(x, fnp.argsort(x, axis=1), axis=1), lambda x: 2 / (3 + x) - x**2 + 2**x,
        lambda x: -abs(x), lambda x: F.softmax(x), lambda x: F.gelu(x), lambda x: F.softplus(x),
        lambda x: F.log_softmax(x), lambda x: fnp.repeat(x, 2, 0), lambda x: fnp.tile(x, (2, 1)),
        lambda x: fnp.prod(x, axis=0), lambda x: fnp.cumsum(x, axis=1), lambda x: fnp.outer(x[0], x[1]),
        lambda x: fnp.tensordot(x, x, 2), lambda x: fnp.moveaxis(x, 0, 1), lambda x: fnp.logsumexp(x),
        lambda x: x.astype(np.float32),
    ],
)  # fmt: skip
def test_typical_code_gives_the_same_results_on_the_gpu(function: Callable[[Any], Any], gpu: Any) -> None:
    there = fd.to_device(X, "gpu")
    same(fnp.asarray(function(there)), function(X))
    same(fd.grad(lambda x: fnp.sum(function(x) ** 2))(there), fd.grad(lambda x: fnp.sum(function(x) ** 2))(X))


# --- training --------------------------------------------------------------------------------------------------------


def batch(size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    return np.cos(np.arange(size * 5.0, dtype=np.float32)).reshape(size, 5), np.arange(size) % 3


def loss_fn(model: nn.MLP, x: Any, t: Any, key: Any) -> Any:
    return F.softmax_cross_entropy(model(x, key=key, train=True), t)


@pytest.mark.parametrize(
    "opt",
    [
        optim.sgd(0.1),
        optim.sgd(lambda step: 0.1 / (1 + step)),
        optim.momentum(0.1, nesterov=True),
        optim.adam(1e-2),
        optim.chain(optim.clip_by_global_norm(0.1), optim.weight_decay(1e-2), optim.sgd(0.1)),
    ],
    ids=["sgd", "schedule", "momentum", "adam", "chain"],
)
def test_training_steps_are_the_same_on_the_gpu(opt: Any, gpu: Any) -> None:
    def train(device: str) -> tuple[Any, Any]:
        model, key, (x, t) = fd.to_device((nn.MLP.init(fd.random.key(0), (5, 7, 3), dropout=0.25), fd.random.key(1), batch()), device)
        state, losses = opt.init(model), []
        for step in range(3):
            loss, grads = fd.value_and_grad(loss_fn)(model, x, t, fd.random.fold_in(key, step))
            model, state = opt.step(model, grads, state)
            losses.append(loss)
        return model, losses

    model, losses = train("gpu")
    expected, expected_losses = train("cpu")
    assert fd.device_of(model) == "gpu:0"
    assert all(leaf.dtype == np.float32 for leaf in fd.tree.leaves(model))
    assert_trees_close(fd.to_numpy(model), expected, 1e-5)
    assert_trees_close(fd.to_numpy(losses), [np.asarray(loss) for loss in expected_losses], 1e-5)


def test_an_optimiser_that_was_saved_on_the_gpu_goes_on_there(gpu: Any, tmp_path: Any) -> None:
    opt = optim.adam(1e-2)
    model, (x, t), key = fd.to_device((nn.MLP.init(fd.random.key(0), (5, 7, 3)), batch(), fd.random.key(1)), "gpu")

    def step(model: Any, state: Any) -> Any:
        return opt.step(model, fd.grad(loss_fn)(model, x, t, key), state)

    after = step(model, opt.init(model))
    fd.save(tmp_path / "run.npz", after)
    resumed = fd.load(tmp_path / "run.npz", like=after)
    assert fd.device_of(resumed[0]) == "gpu:0"
    assert_trees_equal(fd.to_numpy(step(*resumed)), fd.to_numpy(step(*after)))
    moved = fd.to_device(fd.to_numpy(after), "gpu")  # counters and all
    assert_trees_close(fd.to_numpy(step(*moved)), fd.to_numpy(step(*after)), 1e-6)


def test_a_loader_places_its_batches(gpu: Any) -> None:
    data = {"x": np.arange(20.0).reshape(10, 2), "t": np.arange(10)}
    loader = fd.data.DataLoader(data, 4, key=fd.random.key(5), device="gpu")
    plain = fd.data.DataLoader(data, 4, key=fd.random.key(5))
    for there, here in zip(loader.epoch(0), plain.epoch(0), strict=True):
        assert fd.device_of(there) == "gpu:0"
        assert_trees_equal(fd.to_numpy(there), here)


# --- the stand-in ----------------------------------------------------------------------------------------------------


def test_gradients_of_a_batch_are_made_on_the_gpu(gpu: Any) -> None:
    """The cotangent of a batch of numbers has no axes, for which CuPy's `ones_like` has no word."""
    x = np.random.default_rng(2).standard_normal((3, 4))
    batched = fd.vmap(lambda x: (fd.grad(lambda x: fnp.sum(fnp.sinc(x) ** 3))(x), fnp.zeros_like(x, shape=()), fnp.full_like(x, 2, shape=0)))
    for function in (batched, fd.compile(batched)):
        for _ in range(2):
            same(function(gpu.asarray(x)), batched(x))
    rows = lambda xs: fd.scan(lambda c, x: (c + x, x * 2), 0.0, xs)[1]
    same(rows(gpu.zeros(0)), rows(np.zeros(0)))
    same(fd.compile(fd.vmap(fd.compile(lambda x: x + 1)))(gpu.zeros(0)), np.zeros(0))


def test_the_stand_in_refuses_what_cupy_refuses(gpu: Any) -> None:
    x, plain = gpu.asarray([1.0, 2.0, 3.0]), np.ones(3)
    index = (gpu.asarray([0, 0]),)
    refusals: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: np.asarray(x), TypeError, "Implicit conversion to a NumPy array is not allowed"),
        (lambda: x + plain, TypeError, "Unsupported type"),
        (lambda: plain * x, TypeError, "Unsupported type"),
        (lambda: np.add(x, plain), TypeError, "Unsupported type"),
        (lambda: gpu.sin(plain), TypeError, "Unsupported type"),
        (lambda: np.concatenate([x, plain]), TypeError, "Unsupported type"),
        (lambda: np.add(x, x, where=x > 1), TypeError, "Wrong arguments"),
        (lambda: np.maximum.reduce(x), NotImplementedError, "maximum.reduce"),
        (lambda: np.add.at(x, index, 1.0), TypeError, "returned NotImplemented"),
        (lambda: gpu.subtract.at(x, index, 1.0), TypeError, "only supports|does not support"),
        (lambda: np.sum(x, where=x > 1), TypeError, "where"),
        (lambda: np.clip(x, min=0.0), TypeError, "min|a_min"),
        (lambda: np.spacing(x), TypeError, "returned NotImplemented"),
        (lambda: np.argsort(x, kind="quicksort"), ValueError, "kind can only be None or 'stable'"),
        (lambda: x.fill(plain), ValueError, "non-scalar"),
        (lambda: operator_index(x), TypeError, "integer"),
        (lambda: x.flags.writeable, AttributeError, "writeable"),
        (lambda: gpu.asarray(np.array(["a"])), ValueError, "Unsupported dtype"),
    ]
    for act, error, text in refusals:
        with pytest.raises(error, match=text):
            act()


def operator_index(x: Any) -> Any:
    return range(3)[x[0]]


def test_the_stand_in_accepts_what_cupy_accepts(gpu: Any) -> None:
    x = gpu.asarray([1.0, 2.0, 3.0], dtype=np.float32)
    gpu.add.at(x, (gpu.asarray([0, 0]),), 1.0)
    assert x.get().tolist() == [3.0, 2.0, 3.0]
    x[np.array([1])] = 5
    assert x[[1, 2]].get().tolist() == [5.0, 3.0]
    for result in (x + 1, 2 * x, np.float32(2) * x, x**2, np.sin(x), np.where(x > 2, x, 0), x.sum(), x[0], np.add.reduce(x), x == 3):
        assert isinstance(result, gpu.ndarray)
    assert (x + 1).dtype == (x * 2.0).dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64
    assert x.sum().shape == ()
    assert float(x.sum()) == 11.0
    x += 1
    assert np.sum(x, axis=0).item() == 14.0
