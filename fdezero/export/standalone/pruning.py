"""Simplifies functions for the CPU: what only a GPU, a tracer or a type checker needs is left out of an exported file."""

import ast
from collections.abc import Callable
from typing import Any

from ...core import Tracer
from ...core.batch import BatchTracer
from ...core.tape import TapeTracer
from ...devices import CPU, array_module, backend_of
from ...ops.raw_kernels import serves

UNKNOWN = object()
TRACERS = (Tracer, BatchTracer, TapeTracer)
Lookup = Callable[[str], Any]


def pruned(node: Any, lookup: Lookup) -> Any:
    """The function or class without annotations and docstrings, and without branches that the CPU never takes."""
    return ast.fix_missing_locations(_Pruning(lookup).visit(node))


class _Pruning(ast.NodeTransformer):
    """`lookup` gives the value of a name outside the function, or UNKNOWN."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.fields: set[str] = set()  # of the class

    # What is known

    def known(self, node: ast.AST) -> Any:
        """The truth of an expression, if it is always the same on the CPU; otherwise UNKNOWN."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value = self.known(node.operand)
            return value if value is UNKNOWN else not value
        if isinstance(node, ast.BoolOp):
            values = [self.known(value) for value in node.values]
            decides = isinstance(node.op, ast.Or)
            if any(value is not UNKNOWN and bool(value) is decides for value in values):
                return decides
            return UNKNOWN if any(value is UNKNOWN for value in values) else not decides
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            function = self.lookup(node.func.id)
            if function is serves:
                return False
            if function is isinstance and len(node.args) == 2 and self._is_tracer(node.args[1]):
                return False
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
        ):
            value = getattr(CPU, node.attr, UNKNOWN) if self.lookup(node.value.func.id) is backend_of else UNKNOWN
            return value if isinstance(value, bool) else UNKNOWN
        return UNKNOWN

    def _is_tracer(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and any(self.lookup(node.id) is kind for kind in TRACERS)

    # What is left out

    def visit_If(self, node: ast.If) -> Any:
        value = self.known(node.test)
        if value is UNKNOWN:
            node.test = self._rest(node.test)
            return self.generic_visit(node)
        taken = node.body if value else node.orelse
        found = [each for step in taken for each in self._listed(self.visit(step))]
        return found

    @staticmethod
    def _listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [] if value is None else [value]

    def _rest(self, test: Any) -> Any:
        """A condition without parts that are always true (and) or false (or)."""
        if not isinstance(test, ast.BoolOp):
            return test
        neutral = isinstance(test.op, ast.And)
        test.values = [
            v for v in test.values if (k := self.known(v)) is UNKNOWN or bool(k) is not neutral
        ] or test.values
        return test if len(test.values) > 1 else test.values[0]

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        value = self.known(node.test)
        return self.generic_visit(node) if value is UNKNOWN else self.visit(node.body if value else node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        value = self.known(node)
        return self.generic_visit(node) if value is UNKNOWN else ast.Constant(value)

    def visit_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name) and self.lookup(node.func.id) is array_module:
            return ast.Name("np", ast.Load())
        return self.generic_visit(node) if (value := self.known(node)) is UNKNOWN else ast.Constant(value)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        value = self.known(node)
        return self.generic_visit(node) if value is UNKNOWN else ast.Constant(value)

    def generic_visit(self, node: ast.AST) -> Any:
        made: Any = super().generic_visit(node)
        if getattr(made, "body", None) == []:
            made.body = [ast.Pass()]
        return made

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        arguments = node.args
        for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
            if arg is not None:
                arg.annotation = None
        node.body = self._without_docstring(node.body)
        self.generic_visit(node)
        node.body = self._reached(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        node.body = self._without_docstring(node.body)
        self.fields = {
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        }
        return self.generic_visit(node)

    @staticmethod
    def _reached(body: list[Any]) -> list[Any]:
        """The statements up to the first return."""
        for i, step in enumerate(body):
            if isinstance(step, ast.Return | ast.Raise):
                return body[: i + 1]
        return body

    @staticmethod
    def _without_docstring(body: list[Any]) -> list[Any]:
        first = body[0]
        has = (
            isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        )
        return (body[1:] or [ast.Pass()]) if has else body

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if isinstance(node.target, ast.Name) and node.target.id in self.fields:  # of a named tuple
            node.annotation = ast.Constant(None)
            return self.generic_visit(node)
        return None if node.value is None else self.visit(ast.Assign([node.target], node.value))
