"""How operations are written in ONNX: one table, filled by the files of this folder."""

from . import control, elementwise, indexing, reductions, shapes, windows  # noqa: F401, which declare their forms
from .table import FORMS

# Operations without a form of their own, whose implementation is recorded and written operation by operation.
OPENED = frozenset(
    ("attention", "attention_pull", "normalised_lines", "normalised_lines_pull", "softmax_pull", "log_softmax_pull")
)

__all__ = ["FORMS", "OPENED"]
