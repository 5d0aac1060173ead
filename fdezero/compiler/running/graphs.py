"""CUDA graphs: `fd.compile(f, graph=True)` captures a program on a GPU once, and later calls launch it as a whole.

A graph repeats the launches of one run, at the same addresses and with the same numbers. So inputs are copied to fixed places, and
results from fixed places, on a stream of the program's own. Its memory comes from a pool of its own, which stays alive. What cannot
be captured (a program that waits, or calls cuBLAS: CuPy 14 refuses that during a capture) runs as without `graph`.
"""

from collections.abc import Callable, Sequence
from typing import Any

MOST_CAPTURES = 3  # of one instance: a number that changes from call to call would need a new graph each time


class Captured:
    """One instance of a program, launched as a CUDA graph. `why_not` says why, if it is not."""

    def __init__(self, cupy: Any, instance: Callable[..., tuple[Any, ...]]) -> None:
        self.cupy, self.instance = cupy, instance
        self.stream, self.pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
        self.graph: Any = None
        self.inputs: list[Any] = []
        self.results: tuple[Any, ...] = ()  # in their fixed places
        self.numbers: tuple[Any, ...] | None = None
        self.captures = 0
        self.why_not = ""

    def __call__(self, *leaves: Any) -> tuple[Any, ...]:
        if self.why_not:
            return self.instance(*leaves)
        here = self.cupy.cuda.get_current_stream()
        self.stream.wait_event(here.record())
        with self.stream:
            numbers = tuple([leaf for leaf in leaves if not self._is_array(leaf)])
            if self.numbers is None or list(map(repr, numbers)) != list(map(repr, self.numbers)):
                self._capture(leaves, numbers)
            if not self.why_not:
                self._copy_in(leaves)
                self.graph.launch(self.stream)
                results = tuple([self._result(y, leaves) for y in self.results])
        here.wait_event(self.stream.record())
        return self.instance(*leaves) if self.why_not else results

    def _is_array(self, leaf: Any) -> bool:
        return isinstance(leaf, self.cupy.ndarray)

    def _copy_in(self, leaves: Sequence[Any]) -> None:
        for place, leaf in zip(self.inputs, leaves, strict=True):
            if self._is_array(leaf):
                self.cupy.copyto(place, leaf)

    def _result(self, y: Any, leaves: Sequence[Any]) -> Any:
        """A copy of a result, whose place the next call writes again; an input is handed back itself."""
        for place, leaf in zip(self.inputs, leaves, strict=True):
            if y is place:
                return leaf
        return y.copy() if self._is_array(y) else y

    def _capture(self, leaves: Sequence[Any], numbers: tuple[Any, ...]) -> None:
        """Run the program twice, so that kernels are compiled and the pool has its blocks; then capture it."""
        self.captures += 1
        if self.captures > MOST_CAPTURES:
            self.why_not = "its numbers change from call to call; pass them as arrays of the GPU"
            return
        self.numbers, self.results, self.graph = numbers, (), None
        with self.cupy.cuda.using_allocator(self.pool.malloc):
            self.inputs = [self.cupy.empty_like(leaf) if self._is_array(leaf) else leaf for leaf in leaves]
            self._copy_in(leaves)
            for _ in range(2):
                self.instance(*self.inputs)
            self.stream.begin_capture()
            try:
                self.results = self.instance(*self.inputs)
            except Exception as error:
                self.why_not = str(error).strip().partition("\n")[0] or type(error).__name__
            try:
                self.graph = self.stream.end_capture()
            except Exception as error:  # a capture that was broken cannot be ended well
                self.why_not = self.why_not or str(error).strip().partition("\n")[0]
