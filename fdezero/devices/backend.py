"""What a back end answers: every question that the library asks about a kind of device, in one place.

A new back end is a subclass in a file of its own, and a row in `BACKENDS` of `devices/placement.py`.
"""

import contextlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar, Protocol


class Moves(Protocol):
    """Moves of arrays to a device, beside the work that the device does for the thread that made this."""

    def move(self, function: Callable[[], Any]) -> tuple[Any, Any]:
        """The result of `function`, which makes arrays on the device, and an event: the arrays are whole once it has come."""

    def wait(self, event: Any) -> None:
        """Let the caller's work on the device begin after an event."""


class Backend:
    """One kind of device, with one array module. The attributes are its answers, the methods reach its devices."""

    name: ClassVar[str]  # of a device: "cpu", "gpu"; a device with a number is "gpu:1"
    array_module: ClassVar[str]  # imported by its arrays, or by `why_missing`
    alias: ClassVar[str]  # of the array module in generated source
    special_functions: ClassVar[str]  # the module with SciPy's special functions
    has_numbers: ClassVar[bool]  # whether there may be several devices

    reads_at_once: ClassVar[bool]  # whether Python can read values without waiting for the device
    plans_memory: ClassVar[bool]  # whether compiled code writes results into memory of its own
    fuses_into_kernels: ClassVar[bool]  # whether a group is one CUDA kernel of any size, instead of blocks or C++ loops

    adds_complex_at: ClassVar[bool]  # whether `add.at` takes complex numbers
    keeps_last_duplicate: ClassVar[bool]  # whether x[i] = v writes the last of several values for one entry
    stacks_solve: ClassVar[bool]  # whether `linalg.solve` broadcasts loop axes
    has_set_functions: ClassVar[bool]  # whether it has all of NumPy's set functions
    reports_matrices: ClassVar[bool]  # whether linear algebra raises LinAlgError for a matrix that it cannot handle
    refuses_indices: ClassVar[bool]  # whether an index out of range is an error
    powers_of_integers_raise: ClassVar[bool]  # whether an integer to a negative power is an error

    @property
    def current_device(self) -> Callable[[], int] | None:
        """A function that tells which of several devices is current; None if there is one."""
        return None

    def refuse_other_devices(self) -> None:
        """Make work on arrays of another device than the current one an error."""

    @property
    def module(self) -> ModuleType:
        """The array module, which is loaded."""
        return sys.modules[self.array_module]

    def why_missing(self) -> str:
        """What is missing to use a device, in one sentence; empty if nothing is missing."""
        return ""

    def count(self) -> int:
        """The number of devices."""
        return 1

    def device_of(self, array: Any) -> str:
        """The name of the device that holds one of this back end's arrays."""
        return self.name

    def place_of(self, index: int) -> str:
        """What tells device `index` from all others of this machine, whatever number another process gives it."""
        return ""

    def choose(self, index: int) -> None:
        """Make device `index` the current one of this thread."""

    def using(self, index: int) -> contextlib.AbstractContextManager[Any]:
        """A context in which new arrays are made on device `index`."""
        return contextlib.nullcontext()

    def free_bytes(self, index: int) -> int:
        """The free memory of device `index`, as far as it is known."""
        return 0

    def used_bytes(self) -> int:
        """The memory that arrays on the current device take, as far as it is known."""
        return 0

    def wait(self) -> None:
        """Return when the current device has done all its work."""

    def holds(self, dtype: Any) -> bool:
        """Whether a device can hold entries of this dtype."""
        return True

    def from_host(self, array: Any) -> Any:
        """A NumPy array on the device in use."""
        raise NotImplementedError

    def to_host(self, array: Any) -> Any:
        """One of this back end's arrays as a NumPy array."""
        raise NotImplementedError

    def moves_beside(self, index: int) -> "Moves | None":
        """Moves to device `index` that run beside its work; None if there is nothing to run beside."""
        return None

    def copied_for_later(self, array: Any) -> Callable[[], Any]:
        """Copy an array without waiting for the device. The function that comes back, called in any thread, brings the copy to NumPy."""
        raise NotImplementedError

    def random_words(self, key: Any, start: Any, *, count: int, domain: int) -> Any:
        """The words of Philox4x64-10 by a kernel of the back end, or None: then NumPy's operations compute them."""
        return None

    def convolved(self, form: str, a: Any, b: Any, out: Any, *, strides: Any, padding: Any, dilation: Any) -> bool:
        """Whether a library of the back end has written a convolution into `out`: y of (x, w), x of (w, y), or w of (x, y)."""
        return False
