"""Property-based testing of gradients: `check_grads`, tree comparison, and hypothesis strategies (extra `test`)."""

from typing import Any

from .comparison import assert_trees_close, assert_trees_equal
from .gradients import check_grads

__all__ = ["arrays", "assert_trees_close", "assert_trees_equal", "broadcastable_shapes", "check_grads", "keys", "pytrees"]


def __getattr__(name: str) -> Any:
    # The strategies need hypothesis, which is loaded when one of them is asked for.
    if name in ("arrays", "broadcastable_shapes", "keys", "pytrees"):
        from . import strategies

        return getattr(strategies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
