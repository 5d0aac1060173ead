"""The order of the pages: the lists in index.md pages, as readers on GitHub see them, become the navigation of the site."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
GROUP = re.compile(r"(?:\*\*|#+ )(?P<title>[^*.]+?)(?:\*\*)?$")
PAGE = re.compile(r"(?:- |\| *)\[(?P<title>(?:[^\[\]]|\[[^\]]*\])+)\]\((?P<target>[^)#:]+\.md)\)")
# Pages that the build writes. They are not on GitHub, so no index can link to them: they come first in these groups.
WRITTEN = {"Reference": ["reference/api/index"]}


def groups(text: str) -> dict[str, list[tuple[str, str]]]:
    """The pages of an index by group: (title, target) for each item of a list and each row of a table that begins with a link."""
    found: dict[str, list[tuple[str, str]]] = {}
    group = ""
    for line in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        if match := GROUP.fullmatch(line.strip()):
            group = match["title"]
        elif match := PAGE.match(line):
            found.setdefault(group, []).append((match["title"].replace("`", ""), match["target"]))
    return found


def indexes(docs: Path = DOCS) -> dict[Path, dict[str, list[tuple[str, str]]]]:
    """All index pages with their groups."""
    return {path: groups(path.read_text("utf-8")) for path in sorted(docs.rglob("index.md"))}


def navigation(found: dict[str, list[tuple[str, str]]], top: bool) -> str:
    """The directives for Sphinx: a hidden list for each group."""
    parts = []
    for group, pages in found.items():
        lines = [
            *(WRITTEN.get(group, []) if top else []),
            *(f"{title} <{target.removesuffix('.md')}>" for title, target in pages),
        ]
        caption = f":caption: {group}\n" if group and top else ""
        parts.append(f"\n```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(lines) + "\n```\n")
    return "".join(parts)


def add_navigation(app: Any, docname: str, source: list[str]) -> None:
    """Append the navigation to an index page as Sphinx reads it."""
    if docname.rpartition("/")[2] == "index" and Path(app.env.doc2path(docname)).suffix == ".md":
        source[0] += navigation(groups(source[0]), docname == "index")


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", add_navigation)
    return {"parallel_read_safe": True}
