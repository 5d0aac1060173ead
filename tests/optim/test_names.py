"""Names of `fdezero.optim` are loaded on first use, and the table of names is what the files say."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

from fdezero import optim
from fdezero.optim import methods

LISTED_ELSEWHERE = {"precision", "schedules"}  # modules that users import by name


def modules() -> set[str]:
    found = {info.name for info in pkgutil.iter_modules(optim.__path__) if not info.ispkg}
    return found | {f"methods.{info.name}" for info in pkgutil.iter_modules(methods.__path__)}


def test_the_table_has_the_names_that_modules_list() -> None:
    listed = {name: set(getattr(importlib.import_module(f"fdezero.optim.{name}"), "__all__", ())) for name in modules() - LISTED_ELSEWHERE}
    assert {name: set(names.split()) for name, names in optim._NAMES.items()} == {name: names for name, names in listed.items() if names}
    assert set(optim.__all__) == {name for names in listed.values() for name in names} | LISTED_ELSEWHERE
    assert all(getattr(optim, name) is not None for name in optim.__all__)


def test_type_checkers_read_the_same_modules() -> None:
    text = Path(optim.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^    from \.([\w.]+) import \*$", text)) == set(optim._NAMES)


def test_an_optimiser_loads_neither_the_compiler_nor_other_methods() -> None:
    code = "import sys, fdezero; fdezero.optim.adam(1e-3); print(*[name for name in sys.modules if name.startswith('fdezero')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "fdezero.optim.methods.adam" in loaded
    assert not [name for name in loaded if name.startswith(("fdezero.compiler", "fdezero.optim.methods.lbfgs", "fdezero.optim.wrappers"))]
