"""Property-based testing of gradients: `check_grads`, `given_gradients`, comparison of trees, and strategies (extra `test`)."""

import importlib
from typing import Any

from ..elsewhere import unknown_name as _unknown_name
from .comparison import assert_trees_close, assert_trees_equal
from .gradients import Check, GradientReport, check_grads
from .pairs import PairReport, PairRow, check_gradient

# These need hypothesis, which is imported only when you use one of them.
_LAZY = {
    **dict.fromkeys(
        ("arrays", "axes", "broadcastable_arrays", "broadcastable_shapes", "index_expressions", "keys"), "strategies"
    ),
    **dict.fromkeys(("invertible", "orthogonal", "positive_definite", "symmetric"), "matrices"),
    **dict.fromkeys(("layers", "pytrees"), "structures"),
    **dict.fromkeys(("given_gradients", "gradient_test"), "given"),
}

__all__ = [
    "Check", "GradientReport", "PairReport", "PairRow", "arrays", "assert_trees_close", "assert_trees_equal", "axes",
    "broadcastable_arrays", "broadcastable_shapes", "check_gradient", "check_grads", "given_gradients", "gradient_test",
    "index_expressions", "invertible", "keys", "layers", "orthogonal", "positive_definite", "pytrees", "symmetric",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(_unknown_name(__name__, name))
