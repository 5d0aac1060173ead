"""Files that come with this package, compressed, and lie decompressed in the cache folder."""

from pathlib import Path

from ...io.cache import cached
from .idx import decompressed

__all__: list[str] = []

PACKAGED = Path(__file__).parents[1] / "files"


def packaged(name: str, sha256: str) -> bytes:
    """The plain bytes of a packaged file. Raises FileError if the package is damaged."""
    damaged = f"the packaged {name}.xz is damaged: install fdezero again"
    compressed = PACKAGED / f"{name}.xz"
    return cached(name, sha256, lambda: decompressed(compressed.read_bytes(), ".xz", damaged), damaged=damaged)
