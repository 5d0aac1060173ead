"""Names of functions: which of them come from outside, and what they are called in an exported file."""

import ast
from collections.abc import Callable
from typing import Any

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def bound_in(node: Any) -> set[str]:
    """The names that a function, a lambda or a comprehension binds itself."""
    found: set[str] = set()
    if isinstance(node, COMPREHENSIONS):
        for generator in node.generators:
            found |= {each.id for each in ast.walk(generator.target) if isinstance(each, ast.Name)}
        return found
    arguments = node.args
    for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if arg is not None:
            found.add(arg.arg)
    pending: list[Any] = list(node.body) if isinstance(node.body, list) else [node.body]
    outside: set[str] = set()
    while pending:
        each = pending.pop()
        if isinstance(each, ast.FunctionDef | ast.ClassDef):
            found.add(each.name)
            continue
        if isinstance(each, ast.Lambda):
            continue
        if isinstance(each, COMPREHENSIONS):  # only `:=` in it binds names here
            found |= {x.target.id for x in ast.walk(each) if isinstance(x, ast.NamedExpr)}
            continue
        if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            found.add(each.id)
        if isinstance(each, ast.ExceptHandler) and each.name:
            found.add(each.name)
        if isinstance(each, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in each.names}
        if isinstance(each, ast.Global | ast.Nonlocal):
            outside.update(each.names)
        pending += ast.iter_child_nodes(each)
    return found - outside


class Renaming(ast.NodeTransformer):
    """Replaces names from outside: `of_name(name)` is the text of an expression, and `of_attribute(name, attribute)` that of an
    attribute of a module of this library, or None. `of_method(name, attribute)` is that of `name(...).attribute`, or None."""

    def __init__(
        self,
        of_name: Callable[[str], str],
        of_attribute: Callable[[str, str], str | None],
        of_method: Callable[[str, str], str | None],
    ) -> None:
        self.of_name, self.of_attribute, self.of_method = of_name, of_attribute, of_method
        self.scopes: list[set[str]] = []

    def _is_outside(self, name: str) -> bool:
        return not any(name in scope for scope in self.scopes)

    def visit_Name(self, node: ast.Name) -> Any:
        if not isinstance(node.ctx, ast.Load) or not self._is_outside(node.id):
            return node
        return ast.parse(self.of_name(node.id), mode="eval").body

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        value, text = node.value, None
        if isinstance(value, ast.Name) and self._is_outside(value.id):
            text = self.of_attribute(value.id, node.attr)
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and self._is_outside(value.func.id):
            text = self.of_method(value.func.id, node.attr)
        if text is not None:
            return ast.parse(text, mode="eval").body
        return self.generic_visit(node)

    def _visit_scope(self, node: Any) -> Any:
        arguments = node.args
        arguments.defaults = [self.visit(each) for each in arguments.defaults]
        arguments.kw_defaults = [each and self.visit(each) for each in arguments.kw_defaults]
        if not isinstance(node, ast.Lambda):
            node.decorator_list = [self.visit(each) for each in node.decorator_list]
        self.scopes.append(bound_in(node))
        if isinstance(node.body, list):
            node.body = [self.visit(each) for each in node.body]
        else:
            node.body = self.visit(node.body)
        self.scopes.pop()
        return node

    visit_FunctionDef = visit_Lambda = _visit_scope

    def _visit_comprehension(self, node: Any) -> Any:
        self.scopes.append(bound_in(node))
        self.generic_visit(node)
        self.scopes.pop()
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension
