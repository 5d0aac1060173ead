"""Search in English and Japanese at once: English words by their stems, Japanese text by pairs of characters."""

import re
from typing import Any

from sphinx.search.en import SearchEnglish

JAPANESE = r"\u3040-\u30ff\u3400-\u9fff\uff66-\uff9f"  # kana and kanji, without punctuation
WORDS = re.compile(rf"[{JAPANESE}]+|[^\W{JAPANESE}]+")


def pairs(word: str) -> list[str]:
    """Every two neighbours of a Japanese word: nobody needs to know where its parts end. A single character is itself."""
    return [word[i : i + 2] for i in range(max(1, len(word) - 1))]


def words(text: str) -> list[str]:
    """The words of a text, as the index has them."""
    return [
        part for word in WORDS.findall(text) for part in (pairs(word) if re.match(rf"[{JAPANESE}]", word) else [word])
    ]


class SearchMixed(SearchEnglish):
    """Sphinx's search in English, with words split as above here and in the browser."""

    lang = "mixed"
    js_splitter_code = """
function splitQuery(query) {
  const japanese = "[JAPANESE]";
  const words = query.match(new RegExp(`${japanese}+|(?:(?!${japanese})[\\\\p{L}\\\\p{N}_])+`, "gu")) || [];
  const pairs = (word) => Array.from({ length: Math.max(1, word.length - 1) }, (_, i) => word.slice(i, i + 2));
  return words.flatMap((word) => (new RegExp(japanese).test(word) ? pairs(word) : [word]));
}
""".replace("JAPANESE", JAPANESE)

    def split(self, input: str) -> list[str]:  # noqa: A002, Sphinx's name
        return words(input)


def setup(app: Any) -> dict[str, bool]:
    app.add_search_language(SearchMixed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
