"""CUDA devices: CuPy's arrays. CuPy is imported when a GPU is asked for, never before."""

import contextlib
import functools
import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from ..messages import CURRENT_DEVICE
from ..values import shape_of
from . import cudnn
from .backend import Backend

# Philox4x64-10: one launch for a draw, one thread for a block of four words; the keys are read where they are.
SOURCE = r"""
typedef unsigned long long word;

__device__ void philox4x64(word x[4], word k0, word k1) {
    for (int round = 0; round < 10; ++round) {
        word high0 = __umul64hi(0xD2E7470EE14C6C93ULL, x[0]), low0 = 0xD2E7470EE14C6C93ULL * x[0];
        word high1 = __umul64hi(0xCA5A826395121157ULL, x[2]), low1 = 0xCA5A826395121157ULL * x[2];
        x[0] = high1 ^ x[1] ^ k0;
        x[1] = low1;
        x[2] = high0 ^ x[3] ^ k1;
        x[3] = low0;
        k0 += 0x9E3779B97F4A7C15ULL;
        k1 += 0xBB67AE8584CAA73BULL;
    }
}

// keys (n, 2), starts (n,) or, without any, the one number `start` -> out (n, count)
extern "C" __global__ void fdezero_words(const word* keys, const word* starts, word start, word has_starts,
                                         word* out, word n, word count, word domain) {
    word blocks = (count + 3) / 4;
    word thread = (word)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= n * blocks) return;
    word row = thread / blocks, block = thread % blocks;
    if (has_starts) start = starts[row];
    word first = start + block + 1;
    word x[4] = {first, first < start, 0, domain};
    philox4x64(x, keys[2 * row], keys[2 * row + 1]);
    for (word i = 0; i < 4 && 4 * block + i < count; ++i) out[row * count + 4 * block + i] = x[i];
}
"""
THREADS = 256


class Cuda(Backend):
    """CuPy on NVIDIA GPUs."""

    name, array_module, alias, special_functions = "gpu", "cupy", "cp", "cupyx.scipy.special"
    has_numbers = True
    reads_at_once = False
    plans_memory = False  # CuPy's memory pool reuses freed memory at almost no cost
    fuses_into_kernels = True
    adds_complex_at = False  # CUDA adds a complex number in two pieces
    keeps_last_duplicate = False  # the order of threads is undefined
    stacks_solve = False
    has_set_functions = False
    reports_matrices = False  # it would have to wait; half a factor, or infinities, come back
    refuses_indices = False
    powers_of_integers_raise = False

    def why_missing(self) -> str:
        try:
            import cupy

            if cupy.is_available():  # asks the driver, not the import
                return _what_fails(cupy)
        except ModuleNotFoundError as error:
            if error.name == "cupy":
                return "CuPy is not installed: pip install 'fdezero[cuda12]' or 'fdezero[cuda13]', to suit your NVIDIA driver."
            return f"CuPy is installed, but the module {error.name} that it needs is not."
        except Exception as error:  # a broken installation fails in many ways (missing libcuda, libcublas, ...)
            return f"CuPy is installed but cannot be loaded: {_first_line(error)}."
        return (
            f"CuPy {cupy.__version__} is installed, but the CUDA driver shows it no usable NVIDIA GPU (see nvidia-smi)."
        )

    def count(self) -> int:
        return int(self.module.cuda.runtime.getDeviceCount())

    @property
    def current_device(self) -> Callable[[], int]:
        function: Callable[[], int] = self.module.cuda.runtime.getDevice
        return function

    def refuse_other_devices(self) -> None:
        # Without it, GPUs that can read each other's memory do the work of "gpu:1" on "gpu:0", slowly, and leave the result there.
        warnings.filterwarnings("error", f".*{CURRENT_DEVICE}", Warning)

    def device_of(self, array: Any) -> str:
        return f"gpu:{array.device.id}"

    def place_of(self, index: int) -> str:
        return str(self.module.cuda.runtime.deviceGetPCIBusId(index))

    def choose(self, index: int) -> None:
        self.module.cuda.Device(index).use()

    def using(self, index: int) -> contextlib.AbstractContextManager[Any]:
        context: contextlib.AbstractContextManager[Any] = self.module.cuda.Device(index)
        return context

    def free_bytes(self, index: int) -> int:
        with self.using(index):
            free, _ = self.module.cuda.runtime.memGetInfo()
        return int(free)

    def used_bytes(self) -> int:
        return int(self.module.get_default_memory_pool().used_bytes())

    def wait(self) -> None:
        self.module.cuda.Device().synchronize()

    def holds(self, dtype: Any) -> bool:
        return dtype.kind in "biufcV"

    def from_host(self, array: Any) -> Any:
        # CuPy would put an array with another order of its axes, such as channels last, into C order.
        if (
            isinstance(array, np.ndarray)
            and array.ndim > 2
            and not array.flags.c_contiguous
            and not array.flags.f_contiguous
        ):
            order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
            turned = array.transpose(order)
            if turned.flags.c_contiguous:
                return self.module.asarray(turned).transpose(np.argsort(order).tolist())
        return self.module.asarray(array)

    def to_host(self, array: Any) -> Any:
        return self.module.asnumpy(array)

    def moves_beside(self, index: int) -> "Uploads":
        return Uploads(self.module, index)

    def copied_for_later(self, array: Any) -> Callable[[], Any]:
        cuda = self.module.cuda
        with array.device:
            try:
                copy, done = array.copy(order="K"), cuda.get_current_stream().record()
            except MemoryError:  # the device has no room for a copy, so the caller waits
                host = self.to_host(array)
                return lambda: host

        def fetch() -> Any:
            # On a stream of its own: on the thread's usual one, the copy would wait for all that training has launched since.
            with copy.device, cuda.Stream(non_blocking=True) as stream:
                stream.wait_event(done)
                return self.to_host(copy)

        return fetch

    def random_words(self, key: Any, start: Any, *, count: int, domain: int) -> Any:
        return _words(key, start, count=count, domain=domain, cupy=self.module)

    def convolved(self, form: str, a: Any, b: Any, out: Any, *, strides: Any, padding: Any, dilation: Any) -> bool:
        return cudnn.convolved(form, a, b, out, strides=strides, padding=padding, dilation=dilation)


class Uploads:
    """Copies on a stream of their own, through CuPy's pinned memory, which CuPy reuses only after a copy has ended."""

    def __init__(self, cupy: ModuleType, index: int) -> None:
        self.cupy, self.device = cupy, cupy.cuda.Device(index)
        with self.device:
            self.stream, self.reader = cupy.cuda.Stream(non_blocking=True), cupy.cuda.get_current_stream()

    def move(self, function: Callable[[], Any]) -> tuple[Any, Any]:
        with self.device:
            # Memory of a batch that was given up is used again here, while the reader's stream may still have work with it to do.
            self.stream.wait_event(self.reader.record())
            with self.stream:
                result = function()
            return result, self.stream.record()

    def wait(self, event: Any) -> None:
        with self.device:
            self.cupy.cuda.get_current_stream().wait_event(event)


def _first_line(error: BaseException) -> str:
    """What an error of CuPy says, without its twenty lines of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0].rstrip(".")


@functools.cache
def _what_fails(cupy: Any) -> str:
    """What fails in a first kernel and a first matrix product, in one sentence; empty if both work. The driver alone is not enough."""
    for what, part in (("kernel", lambda x: x + x), ("matrix product", lambda x: cupy.matmul(x, x))):
        try:
            part(cupy.ones((1, 1), "float32"))
        except Exception as error:
            return (
                f"CuPy {cupy.__version__} sees a GPU, but its first {what} fails: {_first_line(error)}. "
                "If parts of the CUDA toolkit are missing: pip install 'fdezero[cuda12]' or 'fdezero[cuda13]', to suit your driver."
            )
    return ""


@functools.cache
def _kernel(cupy: ModuleType) -> Any:
    return cupy.RawKernel(SOURCE, "fdezero_words")


def _words(key: Any, start: Any, *, count: int, domain: int, cupy: Any) -> Any:
    """The words for the CuPy array `key` on its device; `start` is also a CuPy array, or an int."""
    loops = np.broadcast_shapes(key.shape[:-1], shape_of(start))
    with key.device:
        keys = cupy.ascontiguousarray(cupy.broadcast_to(key, (*loops, 2)))
        has_starts = hasattr(start, "shape")
        # Without starts the kernel does not follow this pointer, so any array will do.
        starts = (
            cupy.ascontiguousarray(cupy.broadcast_to(start, loops)).astype(np.uint64, copy=False)
            if has_starts
            else keys
        )
        out = cupy.empty((*loops, count), np.uint64)
        n, threads = math.prod(loops), math.prod(loops) * -(-count // 4)
        if threads:
            numbers = [np.uint64(number) for number in (0 if has_starts else start, has_starts, n, count, domain)]
            grid = (-(-threads // THREADS),)
            _kernel(cupy)(grid, (THREADS,), (keys, starts, *numbers[:2], out, *numbers[2:]))
        return out
