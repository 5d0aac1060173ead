"""A built site in a real browser: no error in the console, nothing from other hosts, nothing wider than the screen."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
# The widest element that leaves the screen, unless a part that scrolls holds it.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return "";
  const wide = [...document.querySelectorAll("article *")].filter((e) => e.getBoundingClientRect().right > width + 1);
  return `${document.documentElement.scrollWidth} of ${width} pixels: ${wide.slice(0, 3).map((e) => e.outerHTML.slice(0, 80)).join(" ")}`;
}"""
BROKEN = "() => [...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src).join(' ')"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server without a word."""

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the folder is served."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def faults(folder: Path, browser: str | None, pages: list[str], pictures: Path | None, searches: dict[str, str]) -> Iterator[str]:
    """A line for each fault of these pages at each width, light and dark; `pictures` is a folder for pictures of all of them.

    Each search must find its page.
    """
    from playwright.sync_api import sync_playwright

    if missing := [name for name in pages if not (folder / name).exists()]:
        yield f"no such page: {', '.join(missing)}"
        return
    options: dict[str, Any] = {"executable_path": browser} if browser else {"channel": "chrome"}
    with served(folder) as address, sync_playwright() as play:
        chromium = play.chromium.launch(**options, args=["--no-sandbox"])
        for screen, (width, height) in WIDTHS.items():
            for scheme in ("light", "dark"):
                context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                tab = context.new_page()
                found: list[str] = []
                tab.on("console", lambda message, found=found: found.append(message.text) if message.type in ("error", "warning") else None)
                tab.on("pageerror", lambda error, found=found: found.append(str(error)))
                tab.on("requestfailed", lambda request, found=found: found.append(f"{request.url} failed"))
                tab.on("request", lambda r, found=found: None if r.url.startswith((address, "data:")) else found.append(f"asks for {r.url}"))
                for name in pages:
                    found.clear()
                    tab.goto(address + name)
                    found += [f"wider than the screen, {wide}" for wide in [tab.evaluate(TOO_WIDE)] if wide]
                    found += [f"broken pictures: {broken}" for broken in [tab.evaluate(BROKEN)] if broken]
                    yield from (f"{name} ({screen}, {scheme}): {fault}" for fault in found)
                    if pictures:
                        pictures.mkdir(exist_ok=True)
                        tab.screenshot(path=pictures / f"{name.removesuffix('.html').replace('/', '-')}-{screen}-{scheme}.png")
                for query, page in searches.items() if (screen, scheme) == ("desktop", "light") else ():
                    found.clear()
                    tab.goto(f"{address}search.html?q={query}")
                    tab.wait_for_function("() => /finished|did not match/.test(document.querySelector('.search-summary')?.textContent)")
                    links = [link.get_attribute("href") or "" for link in tab.locator("ul.search a").all()]
                    if not any(page in link for link in links):
                        yield f"the search for {query} does not find {page}, but {links[:5]}"
                    yield from (f"search: {fault}" for fault in found)
                context.close()
        chromium.close()
