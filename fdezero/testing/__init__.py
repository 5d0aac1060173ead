"""Property-based testing of gradients: `check_grads`, `given_gradients`, comparison of trees, and strategies (extra `testing`)."""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from .comparison import assert_trees_close, assert_trees_equal
    from .gradients import Check, GradientReport, check_grads
    from .pairs import PairReport, PairRow, check_gradient

# All is loaded on first use: pytest imports this package for the plugin, in every project. Names after the third line need hypothesis.
_NAMES = {
    "comparison": "assert_trees_close assert_trees_equal",
    "gradients": "Check GradientReport check_grads",
    "pairs": "PairReport PairRow check_gradient",
    "given": "given_gradients gradient_test",
    "machines": "CheckpointMachine TreeMachine checkpoint_machine tree_machine",
    "matrices": "invertible orthogonal positive_definite symmetric",
    "strategies": "arrays axes broadcastable_arrays broadcastable_shapes index_expressions keys",
    "structures": "layers pytrees",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Check", "CheckpointMachine", "GradientReport", "PairReport", "PairRow", "TreeMachine", "arrays", "assert_trees_close",
    "assert_trees_equal", "axes", "broadcastable_arrays", "broadcastable_shapes", "check_gradient", "check_grads", "checkpoint_machine",
    "given_gradients", "gradient_test", "index_expressions", "invertible", "keys", "layers", "orthogonal", "positive_definite",
    "pytrees", "symmetric", "tree_machine",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> _typing.Any:
    if name not in _MODULE_OF:
        unknown = _import_module("..elsewhere", __name__).unknown_name  # loaded for the error alone
        raise AttributeError(unknown(__name__, name))
    value = globals()[name] = getattr(_import_module(f".{_MODULE_OF[name]}", __name__), name)
    return value
