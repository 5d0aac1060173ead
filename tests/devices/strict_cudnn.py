"""A stand-in for the module `cudnn` (nvidia-cudnn-frontend 1.22): graphs of one convolution, executed by NumPy on addresses.

It has the names, keywords and order of calls of the real module's `pygraph`, and reads and writes raw addresses. These are addresses of
the host on the stand-in for CuPy, and on an emulated device.
"""

import ctypes
import enum
import itertools
from typing import Any

import numpy as np

data_type = enum.Enum("data_type", "NOT_SET FLOAT HALF BFLOAT16 DOUBLE")
heur_mode = enum.Enum("heur_mode", "A B FALLBACK")
numerical_note = enum.Enum("numerical_note", "TENSOR_CORE DOWN_CONVERT_INPUTS REDUCED_PRECISION_REDUCTION FFT NONDETERMINISTIC WINOGRAD STRICT_NAN_PROP")
NUMPYS = {data_type.FLOAT: np.float32, data_type.HALF: np.float16}
STEPS = ("validate", "build_operation_graph", "create_execution_plans", "deselect_numeric_notes", "check_support", "build_plans")
executed: list[str] = []  # the forms that ran
built: list["pygraph"] = []
streams: list[int] = []
refused: set[str] = set()  # forms that "cuDNN" has no kernel for


class cudnnGraphNotSupportedError(Exception):  # noqa: N801, cuDNN's name
    """There is no kernel for a graph."""


def backend_version() -> int:
    return 92800


def create_handle() -> int:
    return 4321


def set_stream(*, handle: int, stream: int) -> None:
    assert handle == 4321
    streams.append(stream)


class Tensor:
    def set_uid(self, uid: int) -> "Tensor":
        self.uid = uid
        return self

    def __init__(self, uid: int, dim: list[int], stride: list[int], data_type: Any) -> None:
        assert len(dim) == len(stride) > 3
        self.uid, self.dim, self.stride, self.data_type, self.is_output = uid, dim, stride, data_type, False

    def get_uid(self) -> int:
        return self.uid

    def set_output(self, value: bool) -> "Tensor":
        self.is_output = value
        return self

    def set_dim(self, dim: list[int]) -> "Tensor":
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> "Tensor":
        self.stride = stride
        return self

    def at(self, address: int) -> np.ndarray:
        dtype = np.dtype(NUMPYS[self.data_type])
        size = sum((n - 1) * s for n, s in zip(self.dim, self.stride, strict=True)) + 1
        line = np.frombuffer((ctypes.c_char * (size * dtype.itemsize)).from_address(address), dtype)
        return np.lib.stride_tricks.as_strided(line, self.dim, [s * dtype.itemsize for s in self.stride])


class pygraph:  # noqa: N801, cuDNN's name
    def __init__(self, *, name: str, io_data_type: Any, intermediate_data_type: Any, compute_data_type: Any, handle: int) -> None:
        assert intermediate_data_type is compute_data_type is data_type.FLOAT
        assert handle == 4321
        self.io, self.tensors, self.done = io_data_type, [], []
        self.notes: list[Any] = []
        built.append(self)

    def tensor(self, *, dim: list[int], stride: list[int], data_type: Any, uid: int) -> Tensor:
        self.tensors.append(Tensor(uid, dim, stride, data_type))
        return self.tensors[-1]

    def _convolution(self, form: str, operands: tuple[Tensor, Tensor], options: dict[str, list[int]]) -> Tensor:
        assert set(options) == {"pre_padding", "post_padding", "stride", "dilation"}
        rank = len(operands[0].dim) - 2
        assert all(len(value) == rank and min(value) >= 0 for value in options.values())
        self.form, self.options = form, options
        self.result = Tensor(0, [1] * (rank + 2), [1] * (rank + 2), self.io)
        return self.result

    def conv_fprop(self, *, image: Tensor, weight: Tensor, **options: Any) -> Tensor:
        return self._convolution("conv_fprop", (image, weight), options)

    def conv_dgrad(self, *, loss: Tensor, filter: Tensor, **options: Any) -> Tensor:  # noqa: A002, cuDNN's name
        return self._convolution("conv_dgrad", (filter, loss), options)

    def conv_wgrad(self, *, image: Tensor, loss: Tensor, **options: Any) -> Tensor:
        return self._convolution("conv_wgrad", (image, loss), options)

    def _step(self, name: str) -> None:
        assert STEPS[len(self.done)] == name, f"{name} comes after {self.done}"
        self.done.append(name)

    def validate(self) -> None:
        self._step("validate")
        x, w, y = self._roles()
        for i, (n, k, o) in enumerate(zip(x.dim[2:], w.dim[2:], y.dim[2:], strict=True)):
            pre, post, stride, gap = (self.options[name][i] for name in ("pre_padding", "post_padding", "stride", "dilation"))
            assert (n + pre + post - (k - 1) * gap - 1) // stride + 1 == o, "the shapes contradict each other"
        assert x.dim[0] == y.dim[0]
        assert w.dim[0] == y.dim[1]
        assert x.dim[1] % w.dim[1] == 0
        assert self.result.is_output

    def build_operation_graph(self) -> None:
        self._step("build_operation_graph")

    def create_execution_plans(self, modes: list[Any]) -> None:
        self._step("create_execution_plans")
        assert modes
        assert all(isinstance(mode, heur_mode) for mode in modes)

    def deselect_numeric_notes(self, notes: list[Any]) -> None:
        self._step("deselect_numeric_notes")
        assert all(isinstance(note, numerical_note) for note in notes)
        self.notes = notes

    def check_support(self) -> None:
        self._step("check_support")
        if self.form in refused:
            raise cudnnGraphNotSupportedError("no engine")

    def build_plans(self) -> None:
        self._step("build_plans")

    def get_workspace_size(self) -> int:
        assert tuple(self.done) == STEPS
        return 1000

    def _roles(self) -> tuple[Tensor, Tensor, Tensor]:
        a, b, out = *self.tensors, self.result
        return {"conv_fprop": (a, b, out), "conv_dgrad": (out, a, b), "conv_wgrad": (a, out, b)}[self.form]

    def execute(self, addresses: dict[int, int], workspace: int, handle: int | None = None) -> None:
        assert tuple(self.done) == STEPS
        assert set(addresses) == {1, 2, 3}
        assert all(type(address) is int for address in (*addresses.values(), workspace))
        executed.append(self.form)
        x, w, y = (tensor.at(addresses[tensor.uid]) for tensor in self._roles())
        out = {"conv_fprop": y, "conv_dgrad": x, "conv_wgrad": w}[self.form]
        total = np.zeros(out.shape, np.float64)
        xs, ws, ys = (total if z is out else z.astype(np.float64) for z in (x, w, y))
        groups = x.shape[1] // w.shape[1]
        per, made = w.shape[1], w.shape[0] // groups
        for g in range(groups):
            cs, ks = slice(g * per, (g + 1) * per), slice(g * made, (g + 1) * made)
            for place in itertools.product(*map(range, w.shape[2:])):
                into, taken = self._overlap(place, x.shape[2:], y.shape[2:])
                image, kernel, result = xs[(slice(None), cs, *taken)], ws[(ks, slice(None), *place)], ys[(slice(None), ks, *into)]
                if self.form == "conv_fprop":
                    result += np.einsum("nc...,kc->nk...", image, kernel)
                elif self.form == "conv_dgrad":
                    image += np.einsum("nk...,kc->nc...", result, kernel)
                else:
                    kernel += np.einsum("nkp,ncp->kc", result.reshape(*result.shape[:2], -1), image.reshape(*image.shape[:2], -1))
        out[...] = total

    def _overlap(self, place: tuple[int, ...], n: tuple[int, ...], size: tuple[int, ...]) -> tuple[list[slice], list[slice]]:
        """The windows whose entry at `place` lies in the images, and where."""
        into, taken = [], []
        for k, length, o, pre, stride, gap in zip(place, n, size, *(self.options[name] for name in ("pre_padding", "stride", "dilation")), strict=True):
            at = k * gap - pre
            low, high = max(0, -(at // stride)), max(max(0, -(at // stride)), min(o, (length - 1 - at) // stride + 1))
            into.append(slice(low, high))
            taken.append(slice(low * stride + at, max(low * stride + at, (high - 1) * stride + at + 1), stride) if high > low else slice(0, 0))
        return into, taken
