"""The table of forms: how each operation is written in ONNX."""

from collections.abc import Callable
from typing import Any

FORMS: dict[str, Callable[[Any, Any], Any]] = {}


def form(*names: str) -> Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]]:
    """Declare the form of operations: `f(writer, instruction)` writes nodes, and returns the name of the result, or of all results."""

    def declare(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        for name in names:
            assert name not in FORMS, name
            FORMS[name] = function
        return function

    return declare
