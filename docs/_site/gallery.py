"""The pictures of the gallery: each is made by its example when the site is built, unless its source is as it was.

Lists of examples become tiles with pictures on the site.
"""

import concurrent.futures
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
EXAMPLES = DOCS.parent / "fdezero" / "examples"
LINES = r"^- \[([^\]]+)\]\(([\w-]+)\.md\)(.*\n(?: {2}.*\n)*)"  # an item of a list: title, example, text
ITEM, LIST = re.compile(LINES, re.MULTILINE), re.compile(f"(?:{LINES})+", re.MULTILINE)
CHOSEN = re.compile(r"<!-- pictures: (.*?) -->")
PICTURE = re.compile(r"\]\((made/[\w-]+\.(?:svg|png))\)")


def pictures(docs: Path = DOCS) -> dict[str, list[Path]]:
    """The pictures that pages of the gallery show, by the example that makes them, which has the name of the page."""
    pages = sorted((docs / "gallery").glob("*.md"))
    found = {page.stem: [page.parent / target for target in PICTURE.findall(page.read_text("utf-8"))] for page in pages}
    return {example: files for example, files in found.items() if files}


def state(example: str, quick: bool) -> str:
    """A hash of what decides the pictures: the example, the file that examples share, and the form."""
    digest = hashlib.sha256(b"quick" if quick else b"full")
    for file in (EXAMPLES / f"{example}.py", EXAMPLES / "_terminal.py"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def note(example: str, files: list[Path]) -> Path:
    """The file that keeps the state of the source from which the pictures were made."""
    return files[0].with_name(f"{example}.state")


def are_made(example: str, files: list[Path], quick: bool) -> bool:
    """Whether the pictures are there, and of this source. Full ones also serve where quick ones are asked for."""
    kept = note(example, files)
    known = kept.read_text() if kept.exists() and all(file.exists() for file in files) else ""
    return known == state(example, False) or (quick and known == state(example, True))


def make(example: str, files: list[Path], quick: bool) -> str:
    """Run the example, and note the state of its source; the end of its output if it failed.

    It saves the first picture of its page, and others beside it.
    """
    files[0].parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", f"fdezero.examples.{example}", "--save", str(files[0]), *["--quick"] * quick]
    place = {**os.environ, "PYTHONPATH": str(DOCS.parent), "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(command, env=place, capture_output=True, text=True)
    missing = [file.name for file in files if not file.exists()]
    if done.returncode or missing:
        return f"missing: {', '.join(missing)}\n" + (done.stdout + done.stderr)[-2000:]
    note(example, files).write_text(state(example, quick))
    return ""


def make_all(app: Any) -> None:
    """Make what is missing, as many at once as there are cores."""
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    quick = app.config.gallery == "quick"
    missing = {example: files for example, files in pictures().items() if not are_made(example, files, quick)}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {pool.submit(make, example, files, quick): example for example, files in missing.items()}
        for job in concurrent.futures.as_completed(jobs):
            logger.info("ran the example %s", jobs[job])
            if wrong := job.result():
                logger.warning("the example %s failed; %s", jobs[job], wrong)


def tile(example: str, title: str, text: str, folder: str) -> str:
    """A picture with its words; words alone where an example draws nothing."""
    files = pictures().get(example, [])
    picture = f"[![{title.strip('`')}]({folder}made/{files[0].name})]({folder}{example}.md)<br>" if files else ""
    return f"{picture}[**{title}**]({folder}{example}.md){text}\n\n"


def with_tiles(text: str) -> str:
    """The index of the gallery with a grid of tiles for each list of examples."""

    def grid(match: re.Match[str]) -> str:
        tiles = "".join(tile(example, title, text.rstrip(), "") for title, example, text in ITEM.findall(match[0]))
        return f'<div class="tiles">\n\n{tiles}</div>\n'

    return LIST.sub(grid, text)


def with_chosen(text: str) -> str:
    """A page with the pictures of the examples that a comment names."""

    def grid(match: re.Match[str]) -> str:
        tiles = "".join(
            tile(name, name.replace("_", " "), "", "gallery/") for name in match[1].split() if name in pictures()
        )
        return f'<div class="tiles">\n\n{tiles}</div>\n'

    return CHOSEN.sub(grid, text)


def show(app: Any, docname: str, source: list[str]) -> None:
    """Show the pictures in the index of the gallery and on the start page."""
    if docname == "gallery/index":
        source[0] = with_tiles(source[0])
    elif docname == "index":
        source[0] = with_chosen(source[0])


def with_pictures(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages that show pictures of others are read at every build, because these may be new."""
    return [page for page in ("index", "gallery/index") if page in env.found_docs]


def setup(app: Any) -> dict[str, bool]:
    app.add_config_value("gallery", "full", "env", frozenset({str}))
    app.connect("builder-inited", make_all)
    app.connect("env-get-outdated", with_pictures)
    app.connect("source-read", show, priority=600)  # after the navigation is read from the lists
    return {"parallel_read_safe": True, "parallel_write_safe": True}
