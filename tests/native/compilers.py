"""Whether native code can be tested here."""

import sys

import pytest

from fdezero.errors import MissingExtraError
from fdezero.native import compiler


def _has_compiler() -> bool:
    try:
        compiler()
    except MissingExtraError:
        return False
    return True


HAS_COMPILER = sys.platform != "win32" and _has_compiler()
needs_compiler = pytest.mark.skipif(
    not HAS_COMPILER, reason="no C++ compiler, or Windows, where native loops are untried: they are tested where there is one"
)
