"""A bundle: the text of values and of functions of this library, with all that they use, as definitions of one file."""

import ast
import builtins
import contextlib
import functools
import importlib
import inspect
import math
import pickle
import re
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import Primitive
from ...devices import CPU, backend_of
from ...errors import FdezeroError
from ...native.workers import run_all
from ...ops.kernels import Own
from . import runtime
from .pruning import UNKNOWN, pruned
from .scopes import COMPREHENSIONS, Renaming, bound_in

OURS = __name__.partition(".")[0]
PLACES = ("numpy", "numpy.linalg", "numpy.fft", "numpy.lib.stride_tricks", "operator", "math", "builtins")
# What stands for a function of the library in a file for the CPU alone.
BINDING = (ast.FunctionDef, ast.Lambda, *COMPREHENSIONS)
LRU, CONTEXTS = functools._lru_cache_wrapper, contextlib.__file__
INSTEAD: dict[int, Any] = {id(run_all): runtime.in_turn}


class RefusedError(Exception):
    """A value that a file cannot hold; the message says which."""


@functools.lru_cache(256)
def _definitions(path: str) -> dict[Any, list[Any]]:
    """The functions and lambdas of a file by the line on which they begin, and its classes by name."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found: dict[Any, list[Any]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            found.setdefault(_first_line(node), []).append(node)
        elif isinstance(node, ast.ClassDef):
            found.setdefault(node.name, []).append(node)
    return found


class Bundle:
    """Definitions in the order in which they need each other. `store(array)` is the text that gives an array back."""

    def __init__(self, store: Callable[[np.ndarray], str]) -> None:
        self.store = store
        self.imports: set[str] = set()
        self.definitions: list[str] = []
        self.known: dict[int, str] = {}
        self.alive: list[Any] = []
        self.taken = set(dir(builtins)) | {"np"}

    def fresh(self, stem: str) -> str:
        """A name that the file does not have yet."""
        stem = re.sub(r"\W", "_", stem)
        name, number = stem, 1
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name

    def define(self, value: Any, stem: str, text: Callable[[str], str]) -> str:
        """The name of a value, which `text(name)` defines; once for each value."""
        if id(value) not in self.known:
            name = self.known[id(value)] = self.fresh(stem)
            self.alive.append(value)
            made = text(name)
            self.definitions.append(made)
        return self.known[id(value)]

    # Values

    def text(self, value: Any, stem: str = "value") -> str:
        """An expression for a value, whose definitions the file then has."""
        value = INSTEAD.get(id(value), value)
        if value is None or value is Ellipsis or type(value) in (bool, int, str, bytes):
            return repr(value)
        if type(value) is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if type(value) is complex:
            return f"complex({self.text(value.real)}, {self.text(value.imag)})"
        if isinstance(value, np.dtype):
            return f"np.dtype({value.str!r})" if value.isbuiltin else self._refuse(value)
        if isinstance(value, np.generic):
            return f"{self.store(np.asarray(value))}[()]"
        if isinstance(value, np.ndarray):
            return self.define(value, "constant", lambda name: f"{name} = {self._array(value)}")
        if type(value) in (list, set, dict):  # which functions may change, so each stays one object
            pool = isinstance(value, list) and any(isinstance(x, np.ndarray) for x in value)  # of idle memory
            return self.define(value, stem, lambda name: f"{name} = {self._container([] if pool else value)}")
        if type(value) in (tuple, frozenset):
            return self._container(value)
        if isinstance(value, slice):
            return f"slice({self.text(value.start)}, {self.text(value.stop)}, {self.text(value.step)})"
        if isinstance(value, types.ModuleType):
            return self._module(value)
        return self._object(value, stem)

    def _array(self, value: np.ndarray) -> str:
        text = self.store(value)
        return text if value.flags.c_contiguous else f"{self.text(runtime.laid)}({text}, {value.strides})"

    def _container(self, value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.text(k)}: {self.text(v)}" for k, v in value.items()) + "}"
        inner = ", ".join(map(self.text, value))
        if isinstance(value, tuple):
            return f"({inner}{',' * (len(value) == 1)})"
        return f"[{inner}]" if isinstance(value, list) else f"{type(value).__name__}([{inner}])"

    def _module(self, module: types.ModuleType) -> str:
        name = module.__name__
        if name.partition(".")[0] == OURS:
            return self._refuse(module)
        if name.partition(".")[0] == "numpy":
            return "np" + name.removeprefix("numpy")
        self.imports.add(name)
        return name

    def _object(self, value: Any, stem: str) -> str:
        if isinstance(value, Primitive):
            return self.text(value.impl.host if isinstance(value.impl, Own) else value.impl, value.name)
        if isinstance(value, Own):
            return self.text(value.host, stem)
        if value is CPU:
            return self.define(value, "cpu", self._cpu)
        if value is backend_of:
            return self.define(value, "backend_of", lambda name: f"def {name}(*arrays):\n    return {self.text(CPU)}")
        if isinstance(value, functools.partial):
            parts = [
                self.text(value.func, stem),
                *map(self.text, value.args),
                *[f"{k}={self.text(v)}" for k, v in value.keywords.items()],
            ]
            self.imports.add("functools")
            return f"functools.partial({', '.join(parts)})"
        home = str(getattr(value, "__module__", None) or "")
        if home.partition(".")[0] == OURS:
            if isinstance(value, type) and issubclass(value, FdezeroError):
                return self.define(value, value.__name__, lambda name: self._error(value, name))
            if isinstance(value, type):
                return self.define(value, value.__name__, lambda name: self._class(value, name))
            if isinstance(value, LRU) or getattr(getattr(value, "__code__", None), "co_filename", "") == CONTEXTS:
                return self._decorated(value, stem)
            if isinstance(value, types.FunctionType):
                return self._function(value, stem)
            if isinstance(value, threading.local):  # what each thread keeps
                return self.define(value, stem, lambda name: f"{name} = {self.text(type(value))}()")
            return self._refuse(value)
        return self._public(value, stem)

    def _error(self, value: type, name: str) -> str:
        """An exception of the library, as what it is for Python."""
        others = [kind for kind in value.__mro__[1:] if kind.__module__.partition(".")[0] != OURS]
        return f"class {name}({self.text(others[0])}):\n    pass"

    def _cpu(self, name: str) -> str:
        """The answers of the CPU's back end, as attributes."""
        self.imports.add("types")
        kinds = [k for kind in type(CPU).__mro__ for k in getattr(kind, "__annotations__", {})]
        answers = {k: getattr(CPU, k) for k in kinds}
        given = ", ".join(f"{k}={v!r}" for k, v in answers.items())
        return f"{name} = types.SimpleNamespace({given}, module=np)"

    def _public(self, value: Any, stem: str) -> str:
        """A function or class of NumPy, SciPy or Python, by its name."""
        name = getattr(value, "__name__", "")
        for place in (*PLACES, str(getattr(value, "__module__", None) or "")):
            module = sys.modules.get(place)
            if module is not None and name and vars(module).get(name) is value:
                if place == "builtins":
                    return name
                return f"{self._module(importlib.import_module(place))}.{name}"
        if isinstance(value, types.FunctionType):  # a function of the user
            return self._function(value, stem)
        return self._refuse(value)

    def _refuse(self, value: Any) -> str:
        raise RefusedError(
            getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or f"a {type(value).__name__}"
        )

    # Functions and classes

    def view(self, view: Any) -> str:
        """A view among the parameters of an operation, with what is asked of it: how it looks into an array, and its adjoint."""
        self.imports.add("types")

        def text(name: str) -> str:
            parts = f"view={self.text(view.piece.view, view.name)}, in_rows={view.piece.in_rows}"
            return f"{name} = types.SimpleNamespace(piece=types.SimpleNamespace({parts}), adjoints=[{self.text(view.adjoints[0])}])"

        return self.define(view, f"view_{view.name}", text)

    def _decorated(self, value: Any, stem: str) -> str:
        """A function with a cache, or a context manager."""
        module, call = (
            ("functools", f"lru_cache({value.cache_parameters()['maxsize']})")
            if isinstance(value, LRU)
            else ("contextlib", "contextmanager")
        )
        self.imports.add(module)
        inner = value.__wrapped__
        made = self.text(inner, stem)
        return self.define(value, f"kept_{made}", lambda name: f"{name} = {module}.{call}({made})")

    def _function(self, value: Any, stem: str) -> str:
        if hasattr(value, "__wrapped__"):  # what a decorator made of it may choose a kernel of a GPU
            return self.text(value.__wrapped__, stem)
        name = value.__code__.co_name
        return self.define(value, stem if name == "<lambda>" else name, lambda given: self._definition(value, given))

    def _definition(self, function: Any, name: str) -> str:
        node = _copied(_node_of(function))
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))

        def lookup(word: str) -> Any:
            if word in cells:
                return cells[word].cell_contents
            return function.__globals__.get(word, getattr(builtins, word, UNKNOWN))

        return self._written(node, name, lookup, function)

    def _class(self, value: type, name: str) -> str:
        module = sys.modules[value.__module__]
        node = _definitions(inspect.getsourcefile(value) or "")[value.__name__][0]
        return self._written(
            _copied(node), name, lambda word: vars(module).get(word, getattr(builtins, word, UNKNOWN)), None
        )

    def _written(self, node: Any, name: str, lookup: Callable[[str], Any], function: Any) -> str:
        original = getattr(node, "name", "")
        node = pruned(node, lookup)
        if function is not None:  # defaults are values of the place where the function was defined
            if not isinstance(node, ast.Lambda):
                node.decorator_list = []
            node.args.defaults = [self._expression(value) for value in function.__defaults__ or ()]
            given = function.__kwdefaults__ or {}
            node.args.kw_defaults = [
                self._expression(given[a.arg]) if a.arg in given else None for a in node.args.kwonlyargs
            ]

        bound = {each for inner in ast.walk(node) if isinstance(inner, BINDING) for each in bound_in(inner)}

        def apart(text: str) -> str:
            """The name of a definition, which must not be that of a variable of this function."""
            if text not in bound:
                return text
            other = self.fresh(f"{text}_outside")
            self.definitions.append(f"{other} = {text}")
            return other

        def of_name(word: str) -> str:
            if word == original or word == "np":
                return name if word == original else "np"
            value = lookup(word)
            if value is UNKNOWN:
                return word  # a name of the class itself
            return apart(self.text(value, word))

        def of_attribute(word: str, attribute: str) -> str | None:
            value = lookup(word)
            if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] == OURS:
                return apart(self.text(getattr(value, attribute), attribute))
            if isinstance(value, Primitive) and attribute == "impl":
                return apart(self.text(value, word))
            return None

        def of_method(word: str, attribute: str) -> str | None:
            method = getattr(type(CPU), attribute, None) if lookup(word) is backend_of else None
            if not isinstance(method, types.FunctionType):
                return None
            self.imports.add("functools")
            return f"functools.partial({self.text(method, attribute)}, None)"

        for each in ast.walk(node):
            if isinstance(each, ast.ImportFrom) and each.level:
                raise RefusedError(f"an import of {each.module}")
        node = ast.fix_missing_locations(Renaming(of_name, of_attribute, of_method).visit(node))
        if isinstance(node, ast.Lambda):
            return f"{name} = {ast.unparse(node)}"
        node.name = name
        return ast.unparse(node)

    def _expression(self, value: Any) -> Any:
        return ast.parse(self.text(value), mode="eval").body


def _node_of(function: Any) -> Any:
    """The definition of a function in the source of its module."""
    code = function.__code__
    nodes = [
        node for node in _definitions(code.co_filename).get(code.co_firstlineno, [])
        if (code.co_name == "<lambda>" if isinstance(node, ast.Lambda) else node.name == code.co_name)
    ]  # fmt: skip
    if len(nodes) > 1:  # several lambdas begin on one line
        places = [(a, c) for a, b, c, d in code.co_positions() if a is not None and c is not None and (a, c) != (b, d)]
        nodes = [
            node for node in nodes
            if all((node.body.lineno, node.body.col_offset) <= p <= (node.body.end_lineno, node.body.end_col_offset) for p in places)
        ]  # fmt: skip
    if not nodes:
        raise RefusedError(f"{function.__qualname__}, whose source is not known")
    return min(nodes, key=lambda node: (node.end_lineno - node.lineno, getattr(node, "end_col_offset", 0)))


def _copied(node: Any) -> Any:
    return pickle.loads(pickle.dumps(node, -1))  # five times as fast as copy.deepcopy


def _first_line(node: Any) -> int:
    return min([node.lineno, *[each.lineno for each in getattr(node, "decorator_list", [])]])
