"""Kinds of wrong rules of PyTorch that were published: `given_gradients` finds each of them, and `torch.autograd.gradcheck` passes it.

Each rule is written anew, as small as it gets. Its source says where the kind was found, in code that people used.
"""

from typing import Any

import hypothesis
import numpy as np
import pytest

from fdezero.errors import KinkError
from fdezero.testing import arrays, check_grads, given_gradients, gradient_test

from .page import run_the_pages

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

few = hypothesis.settings(max_examples=4, database=None, derandomize=True, report_multiple_bugs=False, phases=[hypothesis.Phase.generate])
MATRIX = arrays(shape=(2, 3), min_value=0.5)


def as_a_kernel_reads(x: Any) -> Any:
    """The numbers from the address of `x` on, in the order of memory: what a kernel sees that takes `x` for contiguous."""
    return x.as_strided(x.shape, torch.empty(x.shape).stride())


class ReadsMemory(torch.autograd.Function):
    """The kernel of the backward pass takes the gradient of the output for contiguous.

    Source: https://github.com/pytorch/pytorch/pull/195210 ("neither gradcheck nor opcheck can surface it") and
    https://github.com/Dao-AILab/flash-attention/issues/355.
    """

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        return as_a_kernel_reads(g) * ctx.saved_tensors[0].cos()


class WritesIntoGradient(torch.autograd.Function):
    """The backward pass reuses the memory of the gradient that it is given, which the graph also hands to others.

    Source: https://github.com/pytorch/pytorch/issues/81417; the like: https://github.com/cornellius-gp/gpytorch/issues/174.
    """

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        return g.mul_(ctx.saved_tensors[0].cos())


class AsksForAnother(torch.autograd.Function):
    """The gradient of one input depends on whether another one needs a gradient.

    Source: https://github.com/cornellius-gp/gpytorch/pull/1322.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        return (g * y, g * x) if ctx.needs_input_grad[0] else (None, None)


class FailsWithoutRows(torch.autograd.Function):
    """The backward pass cannot take arrays of size zero, which the function itself takes.

    Source: https://github.com/pytorch/pytorch/issues/31515.
    """

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return (x**2).sum(-1)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return (2 * x.reshape(len(x), -1) * g[:, None]).reshape(x.shape)


KINDS = {
    ReadsMemory: (1, "breaks 'memory layouts change nothing': gradients for a cotangent (grad_output) that is transposed in memory"),
    WritesIntoGradient: (1, "breaks 'inputs are left alone': the gradient wrote into its cotangent (grad_output), which others also read"),
    AsksForAnother: (2, "breaks 'each gradient alone is that of all together': the gradients of argument 1"),
    FailsWithoutRows: (1, "breaks 'what takes arrays of size zero has gradients there': the function takes arguments of shapes (0, 3), but its gradient"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_kind_is_found_that_gradcheck_passes(kind: Any) -> None:
    count, words = KINDS[kind]
    rng = np.random.default_rng(0)
    for _ in range(5):
        args = [torch.tensor(rng.standard_normal((2, 3)), requires_grad=True) for _ in range(count)]
        assert torch.autograd.gradcheck(kind.apply, args)
    with pytest.raises(AssertionError) as caught:
        few(gradient_test(kind.apply, *[MATRIX] * count, backend="torch"))()
    assert f"{kind.__name__}.apply {words}" in str(caught.value)


class Sine(torch.autograd.Function):
    """A complete and right rule: both modes, any order, and a batching rule."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return x.sin()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx: Any, v: Any) -> Any:
        return v * ctx.saved_tensors[0].cos()


def test_right_code_passes() -> None:
    few(gradient_test(Sine.apply, arrays(layouts="any"), backend="torch", offers=["fwd", "rev", "second", "vmap"]))()
    few(gradient_test(torch.softmax, MATRIX, hypothesis.strategies.just(-1), backend="torch"))()
    few(gradient_test(lambda z: z * z.conj(), arrays(np.complex128, (2,)), backend="torch", order=1))()
    images = arrays(shape=(1, 2, 3, 3))
    hypothesis.settings(few, max_examples=1)(gradient_test(torch.nn.functional.conv2d, images, arrays(shape=(1, 2, 2, 2)), backend="torch", order=1))()


def test_arrays_cross_without_a_copy() -> None:
    from fdezero.testing.backends import backend_named

    torch_backend, x = backend_named("torch"), np.arange(6.0).reshape(2, 3)
    for view in (x, x.T, x[:, ::2]):
        tensor = torch_backend.array(view)
        assert (tensor.data_ptr(), tensor.stride()) == (view.ctypes.data, tuple(s // 8 for s in view.strides))
        assert np.shares_memory(torch_backend.numpy(tensor), x)
    assert torch_backend.array(x[::-1]).tolist() == x[::-1].tolist()  # PyTorch does not have negative strides: a copy
    half = torch.ones(2, dtype=torch.bfloat16)
    assert np.asarray(torch_backend.numpy(half), float).tolist() == [1, 1]
    assert str(torch_backend.array(torch_backend.numpy(half)).dtype) in ("torch.bfloat16", "torch.float32")


class LeavesAutograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return torch.from_numpy(g.detach().numpy() * np.cos(ctx.saved_tensors[0].detach().numpy()))


def test_messages() -> None:
    x = np.array([0.3, -1.0])
    with pytest.raises(AssertionError, match="its gradient is cut from the graph.*Mark backward with @once_differentiable"):
        check_grads(LeavesAutograd.apply, (x,), backend="torch")
    report = check_grads(WritesIntoGradient.apply, (x,), backend="torch")
    assert "not offered: forward mode of order 1: You must implement the jvp" in repr(report)
    assert "reverse mode of order 2 (derivative of the vjp): backward is marked with @once_differentiable" in repr(report)
    with pytest.raises(AssertionError, match="Sine.apply breaks 'gradients are right': .*does not offer forward mode|AsksForAnother.apply breaks"):
        few(gradient_test(AsksForAnother.apply, MATRIX, MATRIX, backend="torch", offers=["fwd"]))()
    with pytest.raises(KinkError, match="slopes on the two sides are -1 and 1"):
        check_grads(torch.abs, (np.zeros(2),), backend="torch")
    with pytest.raises(AssertionError, match="'vmap': In order to use an autograd.Function with functorch transforms"):
        few(gradient_test(LeavesAutograd.apply, MATRIX, backend="torch", order=1, offers=["vmap"]))()


def test_a_value_that_left_pytorch_is_a_constant_and_batch_norm_need_not_batch() -> None:
    with pytest.raises(AssertionError, match="reverse mode of order 1 is wrong .*\n.*vjp 0, complex step"):
        check_grads(lambda x: np.sin(x.detach().numpy()), (np.ones(2),), modes=["rev"], backend="torch")
    norm = torch.nn.BatchNorm1d(2).double()
    test = gradient_test(norm, arrays(shape=(4, 2), distinct=True), backend="torch", order=1)
    hypothesis.settings(max_examples=1, database=None, derandomize=True, phases=[hypothesis.Phase.generate])(test)()



def test_the_body_gets_tensors() -> None:
    @few
    @given_gradients(torch.sin, MATRIX, backend="torch", order=1)
    def test(x: Any) -> None:
        assert torch.all(torch.sin(x) <= 1)

    test()


def test_the_page_shows_what_its_program_prints() -> None:
    run_the_pages("PyTorch")
