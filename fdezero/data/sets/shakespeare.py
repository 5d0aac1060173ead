"""Plays and sonnets of Shakespeare for models of characters, and `Text`: a text with the numbers of its characters."""

import functools
from typing import Any, Self

import attrs
import numpy as np

from ...errors import DTypeError, RangeError, StructureError
from ...messages import describe
from .packaged import packaged

__all__ = ["Text", "shakespeare"]

NAME = "shakespeare.txt"
SHA256 = "3c9ee57a13796cfb7eadf4f17ed5f1fa85c076a92756bed36fd7c7474337d6d2"  # of the uncompressed text


def _vocabulary(value: Any) -> tuple[str, ...]:
    found = tuple(value)
    if not all(isinstance(character, str) and len(character) == 1 for character in found):
        raise StructureError("Text: a vocabulary consists of single characters.")
    if len(set(found)) < len(found):
        raise StructureError("Text: a character stands twice in the vocabulary.")
    return found


@attrs.frozen(slots=False)
class Text:
    """A text and its vocabulary, the characters by their numbers: `Text.of("abca")`, `text.encode("cab")`, `text.decode(ids)`.

    `text.ids` are the numbers of the whole text, which `SequenceLoader` or slices make batches of: x = ids[:-1], t = ids[1:].
    """

    text: str = attrs.field(repr=lambda text: f"{len(text)} characters", metadata={"static": True})
    vocabulary: tuple[str, ...] = attrs.field(
        converter=_vocabulary, repr=lambda found: repr("".join(found)), metadata={"static": True}
    )

    @classmethod
    def of(cls, text: str) -> Self:
        """A text with the vocabulary of its own characters, in the order of Unicode."""
        if not isinstance(text, str):
            raise DTypeError(f"Text.of takes a str, got {describe(text)}.")
        return cls(text, tuple(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.text)

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """The numbers of all characters: (n,) int64, read-only."""
        ids = self.encode(self.text)
        ids.flags.writeable = False
        return ids

    def encode(self, text: str) -> np.ndarray:
        """The numbers of the characters of any text: (n,) int64. Raises RangeError for a character that the vocabulary lacks."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        table = self._table
        ids = np.where(points < len(table), table[np.minimum(points, len(table) - 1)], -1)
        if points.size and ids.min() < 0:
            place = int(np.argmin(ids))
            raise RangeError(f"encode: the vocabulary does not have {text[place]!r}, character {place} of the text.")
        return ids

    def decode(self, ids: Any) -> str:
        """The text of numbers (n,). Raises RangeError for a number outside the vocabulary, DTypeError unless they are integers."""
        ids = np.asarray(ids)
        if ids.size and ids.dtype.kind not in "iu":
            raise DTypeError(f"decode takes integers, got {describe(ids)}.")
        for number in ids.reshape(-1)[(ids.reshape(-1) < 0) | (ids.reshape(-1) >= len(self.vocabulary))][:1]:
            raise RangeError(
                f"decode: there is no character {number}: the vocabulary has 0 to {len(self.vocabulary) - 1}."
            )
        return "".join([self.vocabulary[number] for number in ids.reshape(-1).tolist()])

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """The number of each code point, -1 for those that the vocabulary lacks."""
        points = [ord(character) for character in self.vocabulary]
        table = np.full(max(points, default=0) + 1, -1, np.int64)
        table[points] = np.arange(len(points))
        return table


def shakespeare() -> Text:
    """Nine plays and the sonnets of William Shakespeare (1564-1616), one after the other: 1,246,482 characters, 76 different ones.

    The text follows the Globe edition of 1866 and is in the public domain. It comes with the package, and lies decompressed in
    the cache folder. DeZero's `Shakespear` downloads another selection and numbers characters as they come.
    Raises FileError if the package is damaged.
    """
    return Text.of(packaged(NAME, SHA256).decode("ascii"))
