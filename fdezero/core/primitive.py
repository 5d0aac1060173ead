"""`Primitive`: one operation. Calling it is the one point where transforms intercept.

A primitive takes arrays by position and parameters by keyword. Parameters name trailing axes only, counted from the end. Every
axis further left is a loop axis, which the implementation loops over. So one batching rule serves all primitives.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np

from ..foreign import PLAIN, accepted
from ..messages import explain, refuse_keywords, refuse_out
from .tracer import Level, Tracer

REGISTRY: dict[str, "Primitive"] = {}
Write = str | Callable[..., None] | None
C = str | dict[str, str]
Loop = Callable[[tuple[Any, ...], Any], tuple[Any, ...]] | None
Native = Callable[[Sequence[Any], Any, dict[str, Any], Any], Callable[[], Callable[..., None]] | None] | None
Raises = bool | Callable[[Sequence[Any]], bool]
Core = int | Callable[[tuple[Any, ...], dict[str, Any]], tuple[int, ...]]


def positional(count: int, *others: inspect.Parameter) -> inspect.Signature:
    """The signature of a function of `count` arrays, given by position only, and of other parameters."""
    return inspect.Signature(
        [*[inspect.Parameter(f"x{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(count)], *others]
    )


def _taken(arg: Any) -> Any:
    """An operand as an operation takes it: lists and other libraries' arrays become NumPy arrays."""
    return arg if isinstance(arg, Tracer) else np.asarray(arg) if isinstance(arg, list | tuple) else accepted(arg)


def _home_of(primitive: "Primitive") -> str:
    """A module that has the operation, so that its import in another process declares the operation."""
    ours = __name__.partition(".")[0]
    modules = sorted(sys.modules.items(), key=lambda item: not item[0].startswith(f"{ours}."))
    return next((name for name, module in modules if any(x is primitive for x in vars(module).values())), "")


def _registered(name: str, home: str) -> "Primitive":
    """The operation of this process."""
    if name not in REGISTRY and home:
        import_module(home)
    return REGISTRY[name]


class _Signature:
    """What `inspect.signature` finds. It is made on request, because few programs ask for it."""

    def __get__(self, primitive: "Primitive | None", owner: type) -> inspect.Signature:
        if primitive is None:  # calling a class is calling its __init__
            raise AttributeError("__signature__")
        return primitive.signature()


class Primitive:
    """An operation without a derivative, and the base of the kinds that have one (`core/kinds.py`).

    - `core` is how many trailing axes of each argument are not loop axes: a number for all, or a function of the arguments.
    - `write` computes the result into an array in compiled code: a call as text, `xp.matmul({0}, {1}, out={out})`, or a function
      `write(out, *args, **params)`. Without it, compiled code calls NumPy's ufunc of that name.
    - `native(inputs, out, params, how)` gives native code for arrays of these layouts, or None: see `fdezero.native`. It needs `write`.
    - `expand`: compiled code contains the operations of the implementation instead of this one; with "native" only native code does.
    - `batched(*args, **params)` is what `vmap` calls in place of the operation, once the loop axes line up: the same result, computed
      for the whole batch at once.
    - `doc` is the first sentence that `help` shows, for elementwise operations that users call by name.

    What generated code must know about an operation stands here, and nowhere else:
    - `c` is the same function as a C expression of x0, x1, ...: one text for every dtype, or a table by the kind of dtype
      ("f" floating, "i" integer, "b" truth value; without "b", "i" serves). Empty: there is no expression.
    - `loop(dtypes, y)` gives the dtypes that the expression computes in, from the operands' dtypes and the result `y`. By default
      they are those of NumPy's ufunc of that name. Operations with a `loop` are elementwise.
    - `wraps`: signed integers wrap around in NumPy. C++ does not define that, so generated code computes with unsigned integers.
    - `fresh`: the result is never a view of an operand.
    - `reads_twice` is the position of an operand that is still read after the first write to the result.
    - `raises`: the operation raises an error for some values of its operands, so compiled code runs it even if nobody reads the
      result. It may be a function of the operands, each with `dtype`, and with `value` if it is a constant. Operands that a
      `checked` operation made are left out.
    - `checked`: the result is a valid index, because the operation raises an error for any other.
    - `arrays_only`: next to a number, NumPy may choose another function by the number's value. So the call has no `out`.
    """

    # Bit i is set if the argument at position i has a derivative.
    mask = 0
    # How a tape adds cotangents into the argument that this operation reads a part of: see `core/pieces.py`.
    piece: Any = None
    __signature__ = _Signature()
    # The methods of NumPy's ufuncs. numpy/ufuncs.py sets them on binary operations that users call by name.
    accumulate: Callable[..., Any]
    at: Callable[..., Any]
    outer: Callable[..., Any]
    reduce: Callable[..., Any]
    reduceat: Callable[..., Any]

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any],
        core: Core = 0,
        *,
        c: C = "",
        write: Write = None,
        native: Native = None,
        expand: bool | Literal["native"] = False,
        batched: Callable[..., Any] | None = None,
        doc: str = "",
        loop: Loop = None,
        wraps: bool = False,
        fresh: bool = False,
        reads_twice: int | None = None,
        arrays_only: bool = False,
        raises: Raises = False,
        checked: bool = False,
    ) -> None:
        assert name not in REGISTRY, name
        self.name = self.__name__ = name
        self.impl = impl
        self.arrays_alone = isinstance(impl, np.ufunc)  # whose keywords (where=, dtype=) no rule knows
        self.core = core
        self.c = c
        self.write = write
        self.native = native
        self.expand = expand
        self.batched = batched
        self.loop = loop
        self.wraps = wraps
        self.fresh = fresh
        self.reads_twice = reads_twice
        self.arrays_only = arrays_only
        self.raises = raises
        self.checked = checked
        if doc:
            self.__doc__ = (
                f"{doc}\n\n{self._description()} dtypes are NumPy's. Raises ShapeError where shapes do not go together."
            )
        REGISTRY[name] = self

    def __reduce__(self) -> Any:
        """By name: there is one object of an operation in a process."""
        return _registered, (self.name, _home_of(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name}{self.signature()}>"

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Hand the operation to the innermost transform among the arguments, or call the implementation if there is none."""
        if params and (self.arrays_alone or params.get("out") is not None):
            refuse_out(params.pop("out", None))
            refuse_keywords(self.name, params)
        top: Level | None = None
        for arg in args:
            if isinstance(arg, Tracer):
                level = arg.level
                if top is None or level.serial > top.serial:
                    top = level
            elif type(arg) not in PLAIN and _taken(arg) is not arg:  # a list, or another library's array
                return self(*map(_taken, args), **params)
        if top is not None:
            if not top.alive:
                top.refuse_escaped(args)
            return top.process(self, args, params)
        try:
            return self.impl(*args, **params)
        except (ValueError, TypeError, IndexError, Warning) as error:
            raise self.explained(args, error) from None

    def signature(self) -> inspect.Signature:
        """Arrays `x0, x1, ...` by position, then the parameters of the implementation by keyword."""
        impl: Any = getattr(self, "impl", None)
        if isinstance(impl, np.ufunc):
            return positional(impl.nin)
        try:
            parameters = inspect.signature(impl).parameters.values()
        except (TypeError, ValueError):  # some functions written in C do not have one
            return inspect.signature(lambda *arrays, **parameters: None)
        arrays = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        others = [p.replace(annotation=p.empty) for p in parameters if p not in arrays and p.name != "out"]
        return positional(len(arrays), *others)

    def explained(self, args: Sequence[Any], error: Exception) -> Exception:
        """The error to raise for an error of the implementation. It tells the shapes and how to mend the call."""
        return explain(self.name, args, error)

    def core_axes(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[int, ...]:
        """The number of trailing axes of each argument that are not loop axes."""
        return self.core(args, params) if callable(self.core) else (self.core,) * len(args)

    def expression(self, kinds: set[str]) -> str:
        """The C expression for operands of these kinds of dtype, such as {"f"}; empty where there is none."""
        if isinstance(self.c, str):
            return self.c
        kind = "b" if kinds == {"b"} else "i" if "f" not in kinds else "f"
        return self.c.get(kind, self.c.get("i", "") if kind == "b" else "")

    def _description(self) -> str:
        return "Entry by entry, with broadcasting; no derivative."

    def differentiates(self, position: int) -> bool:
        """Whether the argument at `position` has a derivative."""
        return bool(self.mask >> position & 1)

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        """Forward mode: the tangent of `y` from the tangents of `args`. None stands for an argument without a tangent."""
        raise NotImplementedError

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> Sequence[Any]:
        """Reverse mode, first half: what `pull` needs to give cotangents to the arguments in the bit mask `active`."""
        raise NotImplementedError

    def pull(self, cotangent: Any, node: Any) -> Any:
        """Reverse mode, second half: pairs of a parent node and its cotangent."""
        raise NotImplementedError
