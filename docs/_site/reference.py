"""The reference: a page for each public module, written from docstrings at every build, and links from code to its entries."""

import functools
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import fdezero

from . import names, signatures
from .links import REPOSITORY, ROOT

FOLDER = Path(__file__).parents[1] / "reference" / "api"
CODE = re.compile(r"`([^`\n]+)`")


def docstring(value: Any) -> str:
    """The docstring of an object, which is Markdown but for the list after `Raises:`."""
    text = inspect.cleandoc(value.__doc__ or "")
    head, found, errors = text.partition("\nRaises:\n")
    if found:
        entries = re.sub(r"^    (?=\w+:)", "- ", errors, flags=re.MULTILINE)
        text = f"{head}\n\n**Raises**\n\n" + re.sub(r"^ {4,}(?=\S)", "  ", entries, flags=re.MULTILINE)
    return text


@functools.cache
def plain_names(module: ModuleType) -> frozenset[str]:
    """The names of a module that are no modules."""
    return frozenset(name.name for name in names.names(module))


def linked(text: str, own: set[str], module: ModuleType) -> str:
    """The text with links for code that is a name of the same module, unless it is one of its `own` parameters."""
    known = plain_names(module)

    def link(match: re.Match[str]) -> str:
        name = match[1]
        return f"{{py:obj}}`{name} <{module.__name__}.{name}>`" if name in known and name not in own else match[0]

    parts = re.split(r"(^(?: {4}|```).*$)", text, flags=re.MULTILINE)
    return "".join(part if i % 2 else CODE.sub(link, part) for i, part in enumerate(parts))


def block(kind: str, head: str, options: list[str], content: str) -> str:
    """A directive of MyST; its fence is longer than those in its content."""
    fence = "`" * (1 + max([2, *(len(found) for found in re.findall(r"^`{3,}", content, re.MULTILINE))]))
    return f"{fence}{{py:{kind}}} {head}\n" + "".join(f":{option}\n" for option in options) + f"\n{content}\n{fence}\n"


def is_ours(value: Any) -> bool:
    """Whether the object is defined in fdezero, not re-exported from NumPy."""
    defined = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    return str(getattr(defined, "__module__", "")).startswith("fdezero")


def entry(name: names.Name, module: ModuleType, classes: dict[type, str]) -> str:
    """The entry of a name, with its members if it is a class."""
    value, place = name.value, [f"module: {name.module}"]
    if not is_ours(value):
        if hasattr(np, name.name) or hasattr(np.linalg, name.name):
            what = f"The same as `numpy.{name.name}`" + (
                f", which is {value!r}." if isinstance(value, float | None) else "."
            )
        else:
            what = f"`{value!r}`"
        return block("data", name.name, place, what)
    text = linked(docstring(value), signatures.parameters(value), module)
    if inspect.isclass(value):
        return block("class", name.name + signatures.signature(value), place, text + content_of(value, module, classes))
    head = signatures.signature(value)
    if not head:
        return block("data", name.name, place, text + methods_of(name))
    return block("function", name.name + head, place, text)


def content_of(cls: type, module: ModuleType, classes: dict[type, str]) -> str:
    """The bases and members of a class."""
    parts = []
    if found := signatures.bases(cls, classes):
        parts.append("Is a " + ", ".join(f"{{py:obj}}`{path.rpartition('.')[2]} <{path}>`" for path in found) + ".\n")
    for name, kind, member in signatures.members(cls, set(classes)):
        text = linked(docstring(member), signatures.parameters(member), module)
        if kind == "property":
            parts.append(block("property", name, [], text))
        else:
            options = [] if kind == "method" else [kind + ":"]
            parts.append(
                block("method", name + signatures.signature(member, bound=kind != "staticmethod"), options, text)
            )
    return "\n\n" + "\n".join(parts) if parts else ""


def methods_of(name: names.Name) -> str:
    """The methods of an object that is no class: a distribution. They are written as users call them, `norm.pdf(x)`."""
    found = {key: getattr(name.value, key) for key in dir(name.value) if not key.startswith("_")}
    heads = {
        key: f"{name.name}.{key}{signatures.signature(method)}"
        for key, method in found.items()
        if inspect.ismethod(method)
    }
    entries = [block("method", head, [f"module: {name.module}"], docstring(found[key])) for key, head in heads.items()]
    return "\n\n" + "\n".join(entries) if entries else ""


def summary(found: list[names.Name], module: ModuleType) -> str:
    """A table of names, each with the first sentence of its docstring."""
    rows = []
    for name in found:
        first = docstring(name.value).partition("\n\n")[0] if is_ours(name.value) else f"`numpy.{name.name}`"
        sentence = re.split(r"(?<=\.)\s(?=[A-Z`])", " ".join(first.split()))[0].replace("|", r"\|")
        rows.append(f"| {{py:obj}}`{name.name} <{name.path}>` | {sentence} |\n")
    return '<div class="names">\n\n| name | what it is |\n|---|---|\n' + "".join(rows) + "\n</div>\n"


def page(module: ModuleType, classes: dict[type, str]) -> str:
    """The page of a module: what it is for, its names at a glance, and their entries."""
    found = names.sections(module)
    parts = [f"# {module.__name__}\n\n```{{py:module}} {module.__name__}\n```\n\n"]
    first, _, rest = docstring(module).partition("\n\n")
    drawing = "\n\n".join(part for part in rest.split("\n\n") if part.startswith("    "))  # the tree of errors
    parts.append(linked(f"{first}\n\n{drawing}", set(), module) + "\n\n")
    several = len(found) > 1
    for title, section in found.items():
        parts.append((f"**{title or 'Names'}**\n\n" if several else "") + summary(section, module) + "\n")
    for title, section in found.items():
        parts.append(f"## {title if several and title else 'Names'}\n\n")
        parts.append("\n".join(entry(name, module, classes) for name in section) + "\n")
    return "".join(parts)


def pages() -> dict[str, str]:
    """All pages of the reference by file name."""
    found = names.modules()
    classes: dict[type, str] = {}
    for name in names.documented().values():
        if inspect.isclass(name.value) and is_ours(name.value):
            classes.setdefault(name.value, name.path)
    rows = [f"| [{m.__name__}]({m.__name__}.myst) | {docstring(m).partition(chr(10))[0]} |\n" for m in found]
    listed = "\n".join(m.__name__ for m in found)
    index = (
        "# All public names\n\nEvery public function, class and operation, with its docstring. Examples write `fd` for `fdezero` and `F` "
        "for `fdezero.functions`.\n\n| module | what it has |\n|---|---|\n"
        + "".join(rows)
        + f"\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    )
    return {"index.myst": index} | {f"{m.__name__}.myst": page(m, classes) for m in found}


def write(app: Any) -> None:
    """Write the pages; those that stay the same are not touched, so that Sphinx does not read them again."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for old in FOLDER.glob("*.myst"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        path = FOLDER / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8", newline="\n")


OTHERS = {"autograd", "DeZero", "JAX", "PyTorch"}  # heads of columns whose names are not ours


def head_of_column(node: Any) -> str:
    """The head of the column of a table that a node stands in, or nothing."""
    from docutils import nodes

    entry = node
    while entry is not None and not isinstance(entry, nodes.entry):
        entry = entry.parent
    if entry is None:
        return ""
    row, table = entry.parent, entry.parent.parent.parent
    heads = [cell.astext() for head in table.findall(nodes.thead) for cell in head.findall(nodes.entry)]
    return str(heads[row.index(entry)]) if heads else ""


def link_code(app: Any, doctree: Any, docname: str) -> None:
    """Make a link of code in a text that is a public name: `fd.grad` leads to its entry."""
    from docutils import nodes
    from sphinx.util.nodes import make_refnode

    known = {path: (place, anchor) for path, _, _, place, anchor, _ in app.env.get_domain("py").get_objects()}
    for literal in list(doctree.findall(nodes.literal)):
        path = names.meant(literal.astext(), known)
        inside = literal.parent
        while inside is not None and not isinstance(inside, nodes.reference | nodes.title):
            inside = inside.parent
        if path and inside is None and head_of_column(literal) not in OTHERS:
            place, anchor = known[path]
            literal.replace_self(make_refnode(app.builder, docname, place, anchor, literal.deepcopy()))


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """The place of an object in the repository, for `[source]`."""
    value: Any = fdezero
    try:
        for part in f"{info['module']}.{info['fullname']}".split(".")[1:]:
            value = getattr(value, part)
        value = inspect.unwrap(value)
        file, (lines, first) = inspect.getsourcefile(value), inspect.getsourcelines(value)
    except (AttributeError, TypeError, OSError):
        return None
    path = Path(file or "/")
    if not path.is_relative_to(ROOT / "fdezero"):
        return None
    return f"{REPOSITORY}/blob/main/{path.relative_to(ROOT).as_posix()}#L{first}-L{first + len(lines) - 1}"


def setup(app: Any) -> dict[str, bool]:
    app.config.linkcode_resolve = linkcode_resolve
    app.connect("builder-inited", write)
    app.connect("doctree-resolved", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
