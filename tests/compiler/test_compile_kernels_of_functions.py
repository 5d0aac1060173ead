"""Kernels of whole functions: correct under every transform, few, reusing dead arrays, never waiting for the device."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero import optim
from fdezero.compiler.planning import expressions
from fdezero.testing import assert_trees_close

from ..devices.test_cuda_sources import compile_cuda, kernel_source

# --- composition -----------------------------------------------------------------------------------------------------

X = np.linspace(-2, 2, 12).reshape(3, 4)


def energy(x: Any) -> Any:
    return fnp.sum(fnp.sin(x) * fnp.exp(-(x**2)) + fnp.tanh(x))


def rolled(x: Any) -> Any:
    carry, rows = fd.scan(lambda h, row: (fnp.tanh(h * row + 1), h * 2 - row), x[0] * 1.0, x)
    return fnp.sum(carry) + fnp.sum(rows * rows)


def chosen(x: Any) -> Any:
    return fnp.sum(fd.cond(fnp.sum(x) > 0, lambda x: fnp.sin(x) * x, lambda x: fnp.cos(x) - x, x))


def again(x: Any) -> Any:
    return fnp.sum(fd.checkpoint(lambda x: fnp.sin(fnp.exp(x) * x))(x) ** 2)


@pytest.mark.parametrize("function", [energy, rolled, chosen, again])
@pytest.mark.parametrize(
    "transform",
    [
        lambda f, c: c(f), lambda f, c: fd.grad(c(f)), lambda f, c: c(fd.grad(f)), lambda f, c: c(fd.vmap(f)), lambda f, c: fd.vmap(c(f)),
        lambda f, c: c(fd.grad(lambda x: fnp.sum(fd.grad(f)(x) ** 2))), lambda f, c: lambda x: fd.jvp(c(f), (x,), (x,)),
        lambda f, c: c(lambda x: fd.jvp(f, (x,), (x * 0.5,))),
    ],
    ids=["f", "grad-c", "c-grad", "c-vmap", "vmap-c", "c-grad-grad", "jvp-c", "c-jvp"],
)  # fmt: skip
def test_transforms(function: Any, transform: Any, gpu: Any) -> None:
    x = gpu.asarray(X)
    expected = fd.to_numpy(transform(function, lambda f: f)(x))
    compiled = transform(function, fd.compile)
    for _ in range(3):
        assert_trees_close(fd.to_numpy(compiled(x)), expected, 1e-12)
    np.testing.assert_array_equal(x.get(), X)


def test_complex_numbers_stay_calls_beside_kernels(gpu: Any) -> None:
    def power(z: Any) -> Any:
        return fnp.sum(fnp.tanh(z.real * 2) + fnp.exp(-(z * z).imag))

    z = gpu.asarray(X + 0.5j * X[::-1])
    expected, compiled = fd.to_numpy(fd.grad(power)(z)), fd.compile(fd.grad(power))
    for _ in range(2):
        assert_trees_close(fd.to_numpy(compiled(z)), expected, 1e-12)
    assert "ElementwiseKernel" in compiled.source


def test_a_group_is_one_kernel_and_its_temporaries_are_forgotten(gpu: Any) -> None:
    gradient = fd.compile(fd.grad(energy))
    x = gpu.asarray(X)
    gradient(x)
    source = gradient.source
    assert len(operations(source)) == 1, source
    assert "float64 x1" not in source  # No operation uses the seed, 1.
    assert "double t0 = " in source
    assert "test_compile_kernels_of_functions.py:" in source


def test_results_are_written_over_what_dies(gpu: Any) -> None:
    def layers(x: Any, w: Any) -> Any:
        y = fnp.tanh(x @ w + 1)
        z = fnp.tanh(y @ w) * 2
        return z, fnp.sum(z)

    compiled = fd.compile(layers)
    x, w = gpu.asarray(X), gpu.asarray(X.T @ X)
    results = [compiled(x, w) for _ in range(3)]
    for result in results:
        assert_trees_close(fd.to_numpy(result), fd.to_numpy(layers(x, w)), 1e-12)
    kernel_calls = [line.split("#")[0].strip() for line in compiled.source.splitlines() if " = kernel" in line]
    assert kernel_calls == ["v1 = kernel0(v0, v0)", "v3 = kernel1(v2, v2)"]
    assert "del v0" in compiled.source


def test_what_is_read_by_a_view_is_not_written_over(gpu: Any) -> None:
    def function(x: Any) -> Any:
        y = fnp.sin(x) * 2
        row = y[0]
        z = fnp.exp(y) + 1
        return row, z, fnp.transpose(z) * 1.5 + 1

    x = gpu.asarray(X)
    assert_trees_close(fd.to_numpy(fd.compile(function)(x)), fd.to_numpy(function(x)), 1e-12)
    compiled = fd.compile(function)
    compiled(x)
    assert_trees_close(fd.to_numpy(compiled(x)), fd.to_numpy(function(x)), 1e-12)


def test_integers_wrap_around_in_unsigned_ones(gpu: Any) -> None:
    compiled = fd.compile(lambda x: -(x * x + 1))
    for dtype, unsigned in (("int32", "unsigned int"), ("int64", "unsigned long long"), ("int16", None)):
        x = gpu.asarray(np.array([3, np.iinfo(dtype).max], dtype))
        compiled(x)
        assert compiled(x).get().tolist() == (-(x.get() * x.get() + 1)).tolist()
        assert ("unsigned" in compiled.source) == bool(unsigned)
        assert f"({unsigned})x0 * ({unsigned})x0" in compiled.source or not unsigned


def test_constants_of_one_number_leave_an_array(gpu: Any) -> None:
    held = gpu.asarray(2.0)
    compiled = fd.compile(lambda x, n: (held * n - 1, x * held, (x + gpu.ones(())) * held))
    for n in (0.5, 1.5, 2.5):
        results = compiled(gpu.asarray(X), n)
        assert all(isinstance(y, gpu.ndarray) for y in results)
        assert results[0].get() == 2 * n - 1
        assert [y.get().tolist() for y in results[1:]] == [(X * 2).tolist(), ((X + 1) * 2).tolist()]


def test_halves_that_are_no_parameters(written: list[Any], strict_cupy: Any) -> None:
    compiled = fd.compile(lambda x: (x.astype(np.float16) * 3 + 1).astype(np.float32))
    x = strict_cupy.asarray(np.array([0.1, 1000.3, -7], np.float32))
    compiled(x)
    assert compiled(x).get().tolist() == (x.get().astype(np.float16) * 3 + 1).astype(np.float32).tolist()
    assert "cupy/float16.cuh" in compiled.source
    assert all("cvt.rn.f16.f32" in compile_cuda(kernel_source(*pieces)) for pieces in written)


def test_large_groups_become_several_kernels(gpu: Any) -> None:
    def function(*xs: Any) -> list[Any]:
        sums = [xs[0] + 1]
        for x in xs[1:]:
            sums.append(sums[-1] * 0.5 + x)
        return sums

    xs = [gpu.asarray(X + i) for i in range(60)]
    compiled = fd.compile(function)
    for _ in range(2):
        assert_trees_close(fd.to_numpy(compiled(*xs)), fd.to_numpy(function(*xs)), 0)
    made = [line for line in compiled.source.splitlines() if "ElementwiseKernel(" in line]
    assert len(made) > 1
    assert all(line.count("float64") <= expressions.MOST_OPERANDS for line in made)


def test_empty_arrays_and_arrays_without_axes(gpu: Any) -> None:
    compiled = fd.compile(lambda x: (x * 2 + 1, fnp.sum(x) * 2 - 1))
    for shape in ((0, 3), (), (1,)):
        x = gpu.asarray(np.full(shape, 0.5))
        for _ in range(2):
            y, total = compiled(x)
            assert (y.shape, y.get().tolist()) == (shape, np.full(shape, 2.0).tolist())
            assert float(total.get()) == np.prod(shape) - 1


# --- nothing waits, nothing is copied --------------------------------------------------------------------------------


def training_step(opt: Any) -> Callable[..., Any]:
    def loss_fn(model: Any, x: Any, t: Any, key: Any) -> Any:
        return F.softmax_cross_entropy(model(x, key=key, train=True), t)

    def step(model: Any, state: Any, x: Any, t: Any, key: Any) -> Any:
        loss, gradients = fd.value_and_grad(loss_fn)(model, x, t, key)
        model, state = opt.step(model, gradients, state)
        return model, state, loss

    return step


def steps() -> dict[str, tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    batch = rng.random((6, 20), dtype=np.float32), rng.integers(0, 4, 6), fd.random.key(1)
    mnist, deep = fd.nn.MLP.init(fd.random.key(0), (20, 10, 4)), fd.nn.MLP.init(fd.random.key(0), (20, 12, 12, 4), activation=F.relu, dropout=0.5)
    table = rng.integers(0, 20, 5)

    def picking(x: Any, scale: Any) -> Any:
        return fnp.sum(x[:, np.arange(3)] * scale + x[:, table][:, :3] - x[[1, 0, 2, 3, 4, 5]][:, :3])

    sgd, adam = optim.sgd(0.01), optim.adam(1e-3)
    return {
        "mnist": (training_step(sgd), mnist, sgd.init(mnist), *batch),
        "dropout and adam": (training_step(adam), deep, adam.init(deep), *batch),
        "indices": (fd.value_and_grad(picking), batch[0], 2.0),
    }


def called_twice(name: str) -> tuple[Callable[..., Any], list[Any]]:
    """A compiled step after two calls, and its arguments. The first call records the step, the second makes its kernels."""
    function, *inputs = steps()[name]
    inputs = fd.to_device(inputs, "gpu")
    compiled = fd.compile(function)
    compiled(*inputs)
    compiled(*inputs)
    return compiled, inputs


@pytest.mark.parametrize("name", ["mnist", "dropout and adam", "indices"])
def test_a_step_neither_waits_for_the_device_nor_copies_to_it(name: str, strict_cupy: Any) -> None:
    from ..devices.strict_cupy_array import TRANSFERS

    compiled, inputs = called_twice(name)
    TRANSFERS.clear()
    compiled(*inputs)
    assert TRANSFERS == []
    strict_cupy.asarray(np.ones(1)).get()
    assert TRANSFERS == ["upload", "get"]  # The stand-in counts transfers.


@pytest.mark.parametrize(("name", "products", "launches"), [("mnist", 5, 10), ("dropout and adam", 8, 16)])
def test_a_step_makes_few_launches(name: str, products: int, launches: int, strict_cupy: Any) -> None:
    compiled, _ = called_twice(name)
    made = [line for line in operations(compiled.source) if " = labels(" not in line]  # labels are not looked at here
    assert len([line for line in made if "cp.matmul(" in line]) == products
    assert len(made) - products == launches


def operations(source: str) -> list[str]:
    """The lines of a source that compute, without views and deleted names."""
    lines = [line.strip() for line in source[source.index("    def ") :].splitlines()[1:]]
    return [line for line in lines if " = " in line and not any(view in line for view in (".reshape(", ".transpose(", "broadcast_to(", "[..."))]


@pytest.mark.parametrize("name", ["mnist", "dropout and adam"])
def test_nvrtc_compiles_training_steps(name: str, written: list[Any]) -> None:
    called_twice(name)
    assert len(written) > 3
    for pieces in written:
        compile_cuda(kernel_source(*pieces))


def test_the_document_shows_what_is_written(strict_cupy: Any) -> None:
    text = (Path(__file__).parents[2] / "docs" / "inside" / "compile.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(# gpu.py\n.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {"np": np, "fd": fd, "x": np.ones((2, 3)), "w": np.full((3, 2), 0.1), "print": lambda source: None}
    exec(compile(block[1], "gpu.py", "exec"), names)
    assert names["on_gpu"].source == block[2].rstrip("\n") + "\n"
