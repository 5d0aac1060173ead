"""Links of a built site, checked without a network: every file and every anchor that a page points to is there."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page of HTML points to, its anchors, and images without words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: list[str] = []
        self.mute: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.anchors.append(found["id"])
        if tag == "a" and "href" in found:
            self.targets.append(found["href"])
        elif tag in ("img", "script") and "src" in found:
            self.loaded.append(found["src"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "shortcut icon", "next", "prev", "search", "index"):
            self.loaded.append(found["href"])
        if tag == "img" and not found.get("alt") and found.get("class") != "sidebar-logo":
            self.mute.append(found.get("src", ""))


def faults(folder: Path) -> Iterator[str]:
    """A line for each thing that is wrong: a target that is missing, an anchor twice on a page, a file from another host."""
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        for anchor in sorted({anchor for anchor in page.anchors if page.anchors.count(anchor) > 1}):
            yield f"{name}: the anchor {anchor} twice"
        for source in page.mute:
            yield f"{name}: the image {source} has no words for those who cannot see it"
        for target in dict.fromkeys([*page.targets, *page.loaded]):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loaded and parts.scheme != "data":
                    yield f"{name}: loads {target} from another host"
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            if not there.exists():
                yield f"{name}: {target} is missing"
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
                yield f"{name}: {target} has no such anchor"
