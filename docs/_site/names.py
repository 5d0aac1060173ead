"""The public names of the library, found through `__all__`: every module that a name leads to, and its names by section."""

import functools
import inspect
import sys
from types import ModuleType
from typing import Any

import attrs

import fdezero

SHORT = {"fd": "fdezero", "F": "fdezero.functions"} | {  # how examples and guides write the names
    name: f"fdezero.{name}" for name in ("data", "functions", "models", "nn", "optim", "testing", "training")
}

# Sections of `fdezero` itself, in the order in which they are shown; elsewhere a section has the name of its file.
TITLES = {
    "transforms": "Transformations",
    "compiler": "Compile",
    "control": "Loops and branches",
    "solvers": "Solvers",
    "debugging": "Find mistakes, measure time",
    "tree": "Modules and trees",
    "numpy": "Updates",
    "devices": "Devices",
    "io": "Files",
}
WRITTEN = {
    "ctc": "CTC",
    "lenet": "LeNet",
    "mlp": "MLP",
    "prelu": "PReLU",
    "resnet": "ResNet",
    "squeezenet": "SqueezeNet",
    "vgg": "VGG",
}
FIRST = {"fdezero.numpy": "Creation Elementwise Reductions Products Shape Joining Indexing Choosing Sorting".split()}


@attrs.frozen
class Name:
    """A public name: where users find it, and what it is."""

    module: str
    name: str
    value: Any = attrs.field(repr=False)

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


def public(module: ModuleType) -> dict[str, Any]:
    """The names of a module, with their objects."""
    names = getattr(module, "__all__", None)
    if names is None:  # fdezero.errors
        names = [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
    return {name: getattr(module, name) for name in names}


def is_part(value: Any) -> bool:
    """Whether an object is a module of the library."""
    return isinstance(value, ModuleType) and value.__name__.startswith("fdezero")


def modules() -> list[ModuleType]:
    """The public modules: `fdezero`, and what its names lead to, each below the one that has it."""
    found: list[ModuleType] = []

    def visit(module: ModuleType) -> None:
        if module not in found:
            found.append(module)
            for value in public(module).values():
                if is_part(value):
                    visit(value)

    visit(fdezero)
    return found


def names(module: ModuleType) -> list[Name]:
    """What a module offers besides further modules, in the order of `__all__`."""
    return [Name(module.__name__, name, value) for name, value in public(module).items() if not is_part(value)]


@functools.cache
def homes(module: str) -> dict[str, str]:
    """The files below a module that list names, by name, as paths such as `methods.adam`."""
    inside = f"{module}."
    files = [
        (path, part) for path, part in sys.modules.items() if path.startswith(inside) and not hasattr(part, "__path__")
    ]
    return {name: path.removeprefix(inside) for path, part in reversed(files) for name in getattr(part, "__all__", ())}


def home(name: Name) -> str:
    """The file that lists the name; empty for the module itself."""
    return str((fdezero._MODULE_OF if name.module == "fdezero" else homes(name.module)).get(name.name, ""))


def sections(module: ModuleType) -> dict[str, list[Name]]:
    """The names of a module by section: the folder or file in which they are listed. A module of one file has one section."""
    top = module.__name__ == "fdezero"
    found: dict[str, list[Name]] = {title: [] for title in (TITLES.values() if top else FIRST.get(module.__name__, ()))}
    for name in names(module):
        first = home(name).partition(".")[0].strip("_")
        title = TITLES.get(first) if top else WRITTEN.get(first)
        found.setdefault(title or first.replace("_", " ").capitalize(), []).append(name)
    return found


def documented() -> dict[str, Name]:
    """All public names by path."""
    return {name.path: name for module in modules() for name in names(module)}


def meant(text: str, known: dict[str, Any]) -> str | None:
    """The path of the public name that a piece of code such as `fd.grad(f)` speaks of; None if there is none."""
    name = text.partition("(")[0].rstrip()
    first, dot, rest = name.partition(".")
    path = f"{SHORT.get(first, first)}.{rest}"
    complete = "(" not in text or text.endswith(")")
    return path if dot and complete and path in known else None
