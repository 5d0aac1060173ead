"""Names of `fdezero.distributed` are loaded on first use, and the table of names is what the files say."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

from fdezero import distributed

# Files whose names are for the files beside them.
INSIDE = {"agreement", "failing", "joining", "launchers", "messages", "notes", "part_engines", "shards", "streams", "tree_sums", "waiting"}


def test_the_table_has_the_names_that_modules_list() -> None:
    files = {info.name for info in pkgutil.iter_modules(distributed.__path__) if not info.ispkg}
    listed = {name: set(importlib.import_module(f"fdezero.distributed.{name}").__all__) for name in files - INSIDE}
    assert {name: set(names.split()) for name, names in distributed._NAMES.items()} == listed
    assert set(distributed.__all__) == {name for names in listed.values() for name in names}
    assert all(getattr(distributed, name) is not None for name in distributed.__all__)


def test_type_checkers_read_the_same_modules() -> None:
    text = Path(distributed.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^    from \.(\w+) import \*$", text)) == set(distributed._NAMES)


def test_a_world_loads_no_layers() -> None:
    code = "import sys, fdezero; fdezero.distributed.world(); print(*[name for name in sys.modules if name.startswith('fdezero')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "fdezero.distributed.worlds" in loaded
    assert not [name for name in loaded if name.startswith(("fdezero.nn", "fdezero.control", "fdezero.distributed.gradients"))]
