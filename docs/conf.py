"""The site, built from these documents by Sphinx: `python -m sphinx -W docs build/site`. The parts are in `_site/`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "fdezero"
author = "The fdezero developers"
copyright = author  # noqa: A001, Sphinx's name
html_title = "fdezero"
html_baseurl = "https://fdezero.github.io/fdezero/"
language = "en"  # pages in docs/ja/ are marked as Japanese in _site/pages.py

extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "sphinx.ext.linkcode",
    "_site.indexes",
    "_site.links",
    "_site.reference",
    "_site.gallery",
    "_site.mathematics",
    "_site.searching",
    "_site.pages",
]
source_suffix = {".md": "markdown", ".myst": "markdown"}  # pages that the build writes end in .myst and are not in git
exclude_patterns = ["_site/*"]

# The documents stay readable on GitHub, so only what GitHub also understands is switched on.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # a link such as files.md#layers leads to a title, as on GitHub
highlight_language = "text"
pygments_style = "github-light"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
nitpicky = True  # a reference to a name that does not exist is a warning, and with -W an error
toc_object_entries_show_parents = "hide"
add_module_names = False
python_display_short_literal_types = True

html_theme = "furo"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_favicon = "_site/static/icon.svg"
html_logo = "_site/static/icon.svg"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_search_language = "mixed"
html_theme_options = {
    "source_repository": "https://github.com/fdezero/fdezero/",
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": ["edit"],
    "light_css_variables": {
        "color-brand-primary": "#0b57d0",
        "color-brand-content": "#0b57d0",
        "color-code-background": "#f6f8fa",
    },
    "dark_css_variables": {
        "color-brand-primary": "#8ab4f8",
        "color-brand-content": "#8ab4f8",
        "color-code-background": "#1e2126",
    },
    "footer_icons": [],
}

linkcheck_timeout = 30
linkcheck_ignore = [
    r"https://github\.com/fdezero/fdezero/(edit|blob|tree)/main/"
]  # files of this repository, which may be new
