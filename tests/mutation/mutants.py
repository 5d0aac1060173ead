"""Mutants: small changes of a source file, found in its syntax tree and drawn at random."""

import ast
import collections
import difflib
import itertools
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"), ast.MatMult: ("@", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"), ast.BitXor: ("^", "|"), ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}  # fmt: skip
COMPARISONS = {
    ast.Lt: ("<", "<=", ">="), ast.LtE: ("<=", "<", ">"), ast.Gt: (">", ">=", "<="), ast.GtE: (">=", ">", "<"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
PAIRS = (
    "sum mean", "min max", "minimum maximum", "any all", "zeros ones", "zeros_like ones_like", "real imag", "floor ceil", "sin cos",
    "sinh cosh", "exp expm1", "log log1p", "argmin argmax", "tril triu", "isnan isinf", "sqrt square",
)  # fmt: skip
NAMES = {a: b for pair in PAIRS for a, b in (pair.split(), pair.split()[::-1])}
UNWRAPPED = {"conj", "conjugate", "copy"}  # methods that return an array like their own
TEXTS = {
    "c",
    "doc",
    "name",
    "names",
    "strict",
    "write",
}  # keywords for words, and for a check of lengths that never fails
CHECKS = {
    "cast",
    "enumerate",
    "getattr",
    "hasattr",
    "isinstance",
    "len",
    "range",
    "super",
    "TypeVar",
    "zip",
}  # calls without which every program stops
Known = tuple[str, str, str]  # the identity of a mutant: its file, the line, the changed line


@attrs.frozen
class Mutant:
    """One change of one file: `text` in the place of the bytes from `start` to `stop`."""

    path: Path
    line: int
    start: int
    stop: int
    text: str
    kind: str
    rare: bool = False  # drawn a quarter as often: it changes an error alone, or stops every program at once

    def apply(self, source: bytes) -> bytes:
        """The source with the change made."""
        return source[: self.start] + self.text.encode() + source[self.stop :]

    def known(self, source: bytes) -> Known:
        """Its file, the lines that change and what they become, without the space around them."""
        changed = self.apply(source)
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.index(b"\n", self.stop)
        after = changed[first : last + len(changed) - len(source)]
        return self.path.as_posix(), source[first:last].decode().strip(), after.decode().strip()

    def diff(self, source: bytes) -> str:
        """The change as a unified diff."""
        before, after = (text.decode().splitlines() for text in (source, self.apply(source)))
        return "\n".join(difflib.unified_diff(before, after, str(self.path), str(self.path), lineterm="", n=2))


def parses(source: bytes) -> bool:
    """Whether `source` is a program."""
    try:
        return bool(ast.parse(source))
    except SyntaxError:
        return False


class Finder(ast.NodeVisitor):
    """The mutants of one file. It leaves words alone: docstrings, messages, annotations, and functions that only speak or raise."""

    def __init__(self, path: Path, source: bytes) -> None:
        self.path, self.source = path, source
        self.starts = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
        self.mutants: list[Mutant] = []
        self.visit(ast.parse(source))

    def start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def stop(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.expr | ast.stmt) -> str:
        return self.source[self.start(node) : self.stop(node)].decode()

    def change(self, start: int, stop: int, text: str, kind: str, rare: bool = False) -> None:
        line = 1 + self.source.count(b"\n", 0, start)
        self.mutants.append(Mutant(self.path, line, start, stop, text, kind, rare))

    def replace(self, node: ast.expr | ast.stmt, text: str, kind: str, rare: bool = False) -> None:
        self.change(self.start(node), self.stop(node), text, kind, rare)

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str, kind: str) -> None:
        place = self.source.find(old.encode(), self.stop(left), self.start(right))
        if place >= 0:
            self.change(place, place + len(old), new, kind)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    # Words
    def visit_Import(self, node: ast.AST) -> None: ...

    visit_ImportFrom = visit_JoinedStr = visit_Assert = visit_Import  # noqa: N815, names that ast looks up

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace(node, "pass", "statement deleted", rare=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in {"__repr__", "_signature"} or (
            isinstance(node.returns, ast.Name) and node.returns.id == "NoReturn"
        ):
            return
        self.visit_all([*node.args.defaults, *node.args.kw_defaults, *node.body])
        if isinstance(node.returns, ast.Name) and node.returns.id == "bool":
            for child in ast.walk(node):
                if isinstance(child, ast.Return) and child.value is not None:
                    self.replace(child.value, f"not ({self.text(child.value)})", "answer negated")

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_all([*node.args.defaults, *node.args.kw_defaults, node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if "TypeAlias" not in self.text(node.annotation):
            self.visit_all([node.value])

    # Statements
    def visit_Assign(self, node: ast.Assign) -> None:
        used = {child.id for child in ast.walk(node.value) if isinstance(child, ast.Name)}
        if any(isinstance(target, ast.Name) and target.id in {"__all__", "__slots__"} for target in node.targets):
            return
        if all(
            isinstance(t, ast.Attribute | ast.Subscript) or (isinstance(t, ast.Name) and t.id in used)
            for t in node.targets
        ):
            self.replace(node, "pass", "statement deleted")
        if not isinstance(node.value, ast.BinOp) or not isinstance(node.value.op, ast.BitOr):  # a union of types
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace(node, "pass", "statement deleted")
        old, new = OPERATORS[type(node.op)]
        self.between(node.target, node.value, old, new, "operator")
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.replace(node, "pass", "statement deleted")
        self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        if isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
            self.swap(node.value.elts, "results swapped")
        elif node.value is not None and not isinstance(node.value, ast.Constant):
            self.replace(node.value, "None", "nothing returned", rare=True)
        self.visit_all([node.value])

    def visit_Break(self, node: ast.Break) -> None:
        self.replace(node, "continue", "break")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.replace(node, "break", "continue")

    def negate(self, test: ast.expr, rare: bool = False) -> None:
        self.replace(test, f"not ({self.text(test)})", "condition negated", rare)

    def visit_If(self, node: ast.If) -> None:
        if self.text(node.test) != "TYPE_CHECKING":
            self.negate(node.test, rare=isinstance(node.body[0], ast.Raise))
            self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    # Expressions
    def visit_Constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool():
                self.replace(node, str(not node.value), "truth")
            case int():
                self.replace(node, str(node.value + 1), "number")
                self.replace(node, str(node.value - 1), "number")
            case float() | complex():
                self.replace(node, f"({node.value!r} * 2)", "number")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self.replace(node, self.text(node.operand), "sign dropped")
        self.visit(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not any(
            isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", None), str)
            for side in (node.left, node.right)
        ):
            old, new = OPERATORS[type(node.op)]
            self.between(node.left, node.right, old, new, "operator")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in itertools.pairwise(node.values):
            self.between(left, right, old, new, "and, or")
        for value in node.values:
            rest = f" {old} ".join(f"({self.text(other)})" for other in node.values if other is not value)
            self.replace(node, f"({rest})", "condition dropped")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            old, *others = COMPARISONS[type(operator)]
            for new in others:
                self.between(left, right, old, new, "comparison")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in NAMES:
            self.change(self.stop(node) - len(node.attr), self.stop(node), NAMES[node.attr], "name")
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        function, name = node.func, node.func.id if isinstance(node.func, ast.Name) else ""
        if name in NAMES:
            self.replace(function, NAMES[name], "name")
        if isinstance(function, ast.Attribute) and function.attr in UNWRAPPED and not node.args:
            self.change(self.stop(function) - len(function.attr) - 1, self.stop(node), "", "call dropped")
        if name not in CHECKS:
            if (
                len(node.args) == 1
                and not node.keywords
                and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp)
            ):
                self.replace(node, f"({self.text(node.args[0])})", "call dropped")
            self.swap(node.args, "arguments swapped")
        items: list[ast.expr | ast.keyword] = sorted([*node.args, *node.keywords], key=self.start)
        for before, item in zip([None, *items], items, strict=False):
            if isinstance(item, ast.keyword) and item.arg not in {None, *TEXTS}:
                start = self.stop(before) if before else self.start(item)
                after = self.start(items[1]) if not before and len(items) > 1 else self.stop(item)
                self.change(start, after, "", "keyword removed")
        of_types = name == "isinstance"
        self.visit_all(
            [function, *node.args[: 1 if of_types else None], *(k.value for k in node.keywords if k.arg not in TEXTS)]
        )

    @staticmethod
    def sort(node: ast.expr) -> str:
        """What may be swapped: words with words, functions with functions, values with values."""
        if isinstance(node, ast.Starred):
            return "*"
        is_words = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        return "words" if is_words else "function" if isinstance(node, ast.Lambda) else "value"

    def swap(self, nodes: list[ast.expr], kind: str) -> None:
        for left, right in itertools.pairwise(nodes):
            if self.sort(left) == self.sort(right) != "*" and self.text(left) != self.text(right):
                middle = self.source[self.stop(left) : self.start(right)].decode()
                self.change(self.start(left), self.stop(right), self.text(right) + middle + self.text(left), kind)


def draw(root: Path, paths: Iterable[str], count: int, seed: int, accepted: Iterable[Known] = ()) -> list[Mutant]:
    """`count` mutants of the packages or files `paths`, as many of each as its share of their lines; `accepted` ones are left out."""
    found, sizes = [], []
    for path in paths:
        files = [root / path] if path.endswith(".py") else sorted((root / path).rglob("*.py"))
        sources = {file.relative_to(root): file.read_bytes() for file in files}
        found.append(_drawn(sources, set(accepted), random.Random(f"{seed} {path}")))
        sizes.append(sum(source.count(b"\n") for source in sources.values()))
    ends = [round(count * end / sum(sizes)) for end in itertools.accumulate(sizes)]
    shares = [end - start for start, end in itertools.pairwise([0, *ends])]
    return [mutant for mutants, share in zip(found, shares, strict=True) for mutant in itertools.islice(mutants, share)]


def _drawn(sources: dict[Path, bytes], accepted: set[Known], rng: random.Random) -> Iterator[Mutant]:
    """The mutants of some files in random order, the first of every line before the second of any."""
    mutants = [mutant for path, source in sources.items() for mutant in Finder(path, source).mutants]
    rng.shuffle(mutants)
    drawn = [mutant for mutant in mutants if not mutant.rare or rng.random() < 0.25]
    earlier: collections.Counter[tuple[Path, int]] = collections.Counter()
    turns = []
    for mutant in drawn:
        turns.append(earlier[mutant.path, mutant.line])
        earlier[mutant.path, mutant.line] += 1
    for _, mutant in sorted(zip(turns, drawn, strict=True), key=lambda pair: pair[0]):
        source = sources[mutant.path]
        if mutant.known(source) not in accepted and parses(mutant.apply(source)):
            yield mutant
