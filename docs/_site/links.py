"""The text of a page as Sphinx gets it: links to files of the repository become addresses, and blocks of code end with code."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
REPOSITORY = "https://github.com/fdezero/fdezero"
FENCE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)(?P<start>\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^)#\s:]+)(?P<section>#[^)\s]*)?\)")


def in_repository(page: Path, target: str) -> str | None:
    """The address of a file or folder outside the documents; None if the target is a page, or does not exist."""
    there = (page.parent / target).resolve()
    if not there.is_relative_to(ROOT) or not there.exists() or (there.is_relative_to(DOCS) and there.suffix == ".md"):
        return None
    return f"{REPOSITORY}/{'tree' if there.is_dir() else 'blob'}/main/{there.relative_to(ROOT).as_posix()}"


def rewritten(text: str, page: Path) -> str:
    """The text of a page with such links. Blocks of code lose the empty line at their end, which doctest needs."""

    def link(match: re.Match[str]) -> str:
        address = in_repository(page, match["target"])
        return f"{match['start']}{address}{match['section'] or ''})" if address else match[0]

    parts = FENCE.split(text)
    return "".join(
        re.sub(r"\n\s*\n```$", "\n```", part) if FENCE.fullmatch(part) else LINK.sub(link, part) for part in parts
    )


def rewrite(app: Any, docname: str, source: list[str]) -> None:
    """Rewrite the links of a page as Sphinx reads it."""
    source[0] = rewritten(source[0], Path(app.env.doc2path(docname)))


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True}
