"""Functions of PyTorch, such as `MyFunction.apply`: `torch.autograd` for both modes, `torch.func.vmap` and `torch.compile`."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from .protocol import Arrays, Backend, NotOffered, Pullback, Run

# Parts of PyTorch's messages that say: this function does not have that derivative or that rule.
REFUSALS = (
    "forward mode AD", "forward AD", "vmap support", "setup_context", "vmap: ", "Batching rule",
    "functorch transforms", "Can't call numpy() on Tensor that requires grad", "data pointer of Tensor that doesn't have storage",
    "Batch norm got a batched tensor", "derivative for aten::", "Cannot access data pointer", "the derivative for",
)  # fmt: skip


class TorchBackend(Backend):
    """Tensors on the CPU, or on the device that the name says, such as `torch:cuda`."""

    name = "torch"
    layouts = ("transposed", "strided", "offset", "channels_last")

    def __init__(self, device: str = "") -> None:
        self.device = torch.device(device or "cpu")
        _load_forward_mode()

    def array(self, x: Any) -> torch.Tensor:
        x = np.asarray(x)
        if (
            min(x.strides, default=0) < 0 or not x.flags.writeable
        ):  # neither negative strides nor read-only memory exist in PyTorch
            x = x.copy()
        if x.dtype.name == "bfloat16":
            return torch.from_dlpack(x.view(np.int16)).view(torch.bfloat16).to(self.device)
        return torch.from_dlpack(x).to(self.device)

    def numpy(self, x: Any) -> np.ndarray:
        x = x.detach().resolve_conj().resolve_neg().cpu()
        if x.dtype != torch.bfloat16:
            return np.from_dlpack(x)  # shares memory
        try:
            from ml_dtypes import bfloat16
        except ImportError:
            return np.from_dlpack(x.float())
        return np.from_dlpack(x.view(torch.int16)).view(bfloat16)

    def is_array(self, leaf: Any) -> bool:
        return isinstance(leaf, torch.Tensor)

    def copy(self, x: Any) -> Any:
        return x.detach().clone(memory_format=torch.contiguous_format)

    def dtype(self, x: Any) -> str:
        return str(x.dtype).removeprefix("torch.")

    def vjp(self, run: Run, xs: Arrays, which: Sequence[int]) -> tuple[Arrays, Pullback]:
        is_inner = any(x.requires_grad for x in xs)  # An outer derivative is being taken: the gradients need a graph.
        chosen = {i: xs[i] if xs[i].requires_grad else xs[i].detach().requires_grad_() for i in which}
        with torch.enable_grad():
            ys = run([chosen.get(i, x) for i, x in enumerate(xs)])

        def pullback(ts: Arrays) -> Arrays:
            sources = list(chosen.values())
            pairs = [(y, t) for y, t in zip(ys, ts, strict=True) if t is not None and y.requires_grad]
            if is_inner:
                # A rule that is marked @once_differentiable says so only where the cotangent has a graph as well.
                pairs = [(y, t if t.requires_grad else t.detach().requires_grad_()) for y, t in pairs]
            found: Sequence[Any] = [None] * len(sources)
            if pairs and sources:
                outputs, cotangents = zip(*pairs, strict=True)
                found = torch.autograd.grad(
                    outputs, sources, cotangents, retain_graph=True, create_graph=is_inner, allow_unused=True
                )
            if is_inner:
                _refuse_cut_graphs(found)
            return [torch.zeros_like(x) if g is None else g for x, g in zip(sources, found, strict=True)]

        return [y if is_inner else y.detach() for y in ys], pullback

    def jvp(self, run: Run, xs: Arrays, which: Sequence[int], vs: Arrays) -> tuple[Arrays, Arrays]:
        if getattr(forward_ad, "_current_level", -1) >= 0:
            raise NotOffered  # PyTorch does not nest forward modes: nothing that a function could offer
        with forward_ad.dual_level():
            duals = dict(enumerate(xs))
            for i, v in zip(which, vs, strict=True):
                x = (
                    xs[i] if xs[i].requires_grad else xs[i].detach().requires_grad_()
                )  # An inner derivative needs the graph.
                duals[i] = forward_ad.make_dual(x, v)
            with torch.enable_grad():
                parts = [forward_ad.unpack_dual(y) for y in run(list(duals.values()))]
            is_inner = any(x.requires_grad for x in xs)
            tangents = [
                None if not _is_inexact(y) else torch.zeros_like(y) if t is None else t if is_inner else t.detach()
                for y, t in parts
            ]
            return [y if is_inner else y.detach() for y, _ in parts], tangents

    def vmap(self, run: Run, axes: Sequence[int | None]) -> Run:
        mapped = torch.func.vmap(lambda *xs: tuple(run(list(xs))), in_dims=tuple(axes))
        return lambda xs: list(mapped(*xs))

    def compile(self, run: Run) -> Run:
        torch._dynamo.reset()  # Otherwise the cache of an earlier function of the same code would answer.
        compiled = torch.compile(
            lambda *xs: tuple(run(list(xs))), backend="aot_eager"
        )  # the compiler's front half needs no C++
        return lambda xs: list(compiled(*xs))

    def refusal(self, error: Exception, *, of_tangent: bool = False) -> str:
        text = str(error)
        parts = (
            (*REFUSALS, "modified by an inplace operation") if of_tangent else REFUSALS
        )  # forward formulas reuse memory
        if isinstance(error, RuntimeError | NotImplementedError) and any(part in text for part in parts):
            return text.partition("\n")[0].partition(" For more details")[0]
        return ""

    def lay_out(self, x: Any, layout: str) -> Any:
        x = x.detach()
        if layout == "channels_last":
            return x.clone(memory_format=torch.channels_last) if x.ndim == 4 and x.numel() else None
        if layout == "offset":  # begins in the middle of its memory
            return torch.cat([torch.zeros(3, dtype=x.dtype, device=x.device), x.reshape(-1)])[3:].view(x.shape)
        if not x.ndim or x.numel() < 2:
            return None
        if layout == "transposed":
            reverse = tuple(range(x.ndim))[::-1]
            return x.permute(reverse).contiguous().permute(reverse) if x.ndim > 1 else None
        made = torch.full([2 * n for n in x.shape], 7, dtype=x.dtype, device=x.device)[(slice(None, None, 2),) * x.ndim]
        return made.copy_(x)

    def spread(self, x: Any) -> Any:
        return x.reshape(-1)[0].detach().clone().expand(x.shape) if x.numel() else x


def _refuse_cut_graphs(gradients: Sequence[Any]) -> None:
    """Find gradients that cannot be differentiated. Autograd would take their derivatives for zeros, in silence.

    The cotangents of an inner gradient have a graph. So a gradient that is linear in them has one as well.
    """
    nodes = []
    for g in gradients:
        if g is None:
            continue
        if not g.requires_grad:
            raise AssertionError(
                "its gradient is cut from the graph: backward leaves autograd, for example by numpy(), detach() or .data. A second "
                "derivative would be 0 in silence. Mark backward with @once_differentiable, or pass order=1."
            )
        nodes.append(g.grad_fn)
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "torch::autograd::Error":  # it is raised only where a backward pass meets it
            raise NotOffered("backward is marked with @once_differentiable")
        nodes += [parent for parent, _ in node.next_functions]


@functools.cache
def _load_forward_mode() -> None:
    """Make PyTorch load its forward mode, whose modules warn of PyTorch's own plans. That would fail tests in which warnings are errors."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore")
        forward_ad.make_dual(torch.ones(1), torch.ones(1))


@functools.cache
def _inexact() -> frozenset[torch.dtype]:
    return frozenset(
        d for d in vars(torch).values() if isinstance(d, torch.dtype) and (d.is_floating_point or d.is_complex)
    )


def _is_inexact(x: torch.Tensor) -> bool:
    return x.dtype in _inexact()
