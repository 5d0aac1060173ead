"""Look at a site that was built: `python -m tests.site build/site`, and with `--browser` in Chromium or Chrome."""

import argparse
import sys
from pathlib import Path

from . import browser, links

SEARCHES = {"checkpoint": "guides/checkpoints.html", "vmap": "reference/api/fdezero.html", "自動微分": "ja/"}


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.site", description=__doc__)
    parser.add_argument("folder", type=Path, help="what `python -m sphinx docs FOLDER` wrote")
    parser.add_argument("--browser", nargs="?", const="", metavar="PATH", help="visit every page, with Chrome or the browser at PATH")
    parser.add_argument("--pages", nargs="+", metavar="NAME.html", help="visit only these pages")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="keep a picture of each page, at two widths, light and dark")
    options = parser.parse_args()
    found = list(links.faults(options.folder))
    if options.browser is not None:
        every = [path.relative_to(options.folder).as_posix() for path in sorted(options.folder.rglob("*.html"))]
        found += browser.faults(options.folder, options.browser or None, options.pages or every, options.pictures, SEARCHES)
    print("\n".join(found) or "nothing is wrong")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
