"""Each page gets its language, a description for search engines, and a link for edits if a file stands behind it."""

import html
from typing import Any

LANGUAGES = {"ja/": "ja"}  # by folder; all others are English

WORDS = {  # of the theme
    "ja": {
        "Search": "検索",
        "On this page": "このページの内容",
        "Back to top": "先頭へ戻る",
        "Edit this page": "このページを編集",
        "Next": "次",
        "Previous": "前",
        "Home": "ホーム",
        "Skip to content": "本文へ",
    }
}


def language_of(page: str) -> str:
    """The language of a page."""
    return next((code for folder, code in LANGUAGES.items() if page.startswith(folder)), "en")


def description(doctree: Any) -> str:
    """The first paragraph of a page, cut after a word."""
    from docutils import nodes

    first = next((node.astext() for node in doctree.findall(nodes.paragraph)), "")
    text = " ".join(first.split())
    return text if len(text) <= 160 else text[:157].rpartition(" ")[0] + " ..."


def alternates(app: Any, page: str) -> str:
    """The same page in other languages, by name: ja/dezero and learn/dezero."""
    name = page.rpartition("/")[2]
    folders = [*LANGUAGES, "", "learn/", "guides/"]
    same = [folder + name for folder in folders if folder + name in app.env.found_docs]
    languages = [language_of(other) for other in same]
    if page not in same or len(set(languages)) < 2:
        return ""
    addresses = [app.config.html_baseurl + app.builder.get_target_uri(other) for other in same]
    return "".join(
        f'<link rel="alternate" hreflang="{code}" href="{a}">' for code, a in zip(languages, addresses, strict=True)
    )


def tell(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Fill in what the templates of the theme read."""
    context["language"] = language_of(page)
    if words := WORDS.get(context["language"]):
        context["_"] = lambda text: words.get(text, text)
    if doctree is not None and (text := description(doctree)):
        title = html.escape(str(context.get("title", "")), quote=True)
        text = html.escape(text, quote=True)
        context["metatags"] = (
            f'{context.get("metatags", "")}<meta name="description" content="{text}">'
            f'<meta property="og:title" content="{title}"><meta property="og:description" content="{text}">'
        )
    context["metatags"] = context.get("metatags", "") + alternates(app, page)
    if page.startswith("reference/api/") or context.get("page_source_suffix") == ".myst":
        context["page_source_suffix"] = ""  # written by the build: every name has its own link to the source


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-page-context", tell)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
