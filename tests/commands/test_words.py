"""Words of the commands on a terminal."""

import pytest

from fdezero.commands.helpers import words


@pytest.mark.parametrize(("size", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (5e12, "5.0 TB"), (5e15, "5000.0 TB")])
def test_sizes_in_words(size: float, said: str) -> None:
    assert words.in_bytes(size) == said
