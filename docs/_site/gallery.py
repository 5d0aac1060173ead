"""The pictures of the gallery: each is made by its example when the site is built, unless its source is as it was."""

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


def setup(app: Any) -> dict[str, bool]:
    app.add_config_value("gallery", "full", "env", frozenset({str}))
    app.connect("builder-inited", make_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
