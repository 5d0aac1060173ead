"""Writes zip archives member by member: numbers that the standard fixes, so that equal members give equal bytes.

`zipfile` reads them. It does not write them, because it finishes an archive on the way out of a failed block: an interrupt
within a member becomes its ValueError. Nor does it have a public way to choose how a member is compressed.
Source: PKWARE, "APPNOTE.TXT - .ZIP File Format Specification", version 6.3.10, sections 4.3 and 4.5.
"""

import struct
import zlib
from typing import IO, Any

from .checksums import crc32

STORED, DEFLATED = 0, 8
ALIGNMENT = 64  # bytes: a line of the cache, and what NumPy aligns the data to within a member
PADDING = 0xD935  # the kind of extra field that Android's zipalign fills up with
TIME, DATE = 0, 1 << 5 | 1  # midnight of 1 January 1980, the earliest: the same members give the same bytes
UNIX, REGULAR = 3, 0o600 << 16  # what `unzip` makes of a member
PIECE, LEAST_SAVING = 1 << 10, 1 << 8  # bytes
LIMIT_16, LIMIT_32 = 0xFFFF, 0xFFFFFFFF


class Archive:
    """An archive that is written to the seekable binary `file`, from its first byte on; `finish` writes the list of members."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.entries: list[bytes] = []

    def member(self, name: str, *, compress: bool, size: int) -> "Member":
        """Begin the member `name`. `size` is about how many bytes it will hold: it decides how wide its numbers are.

        The bytes of a stored member begin at a multiple of 64, so that they can be mapped into memory as an array.
        """
        return Member(self, name, compress, wide=size > 1 << 30)

    def finish(self) -> None:
        """Write the list of members and the end of the archive."""
        start, count = self.file.tell(), len(self.entries)
        for entry in self.entries:
            self.file.write(entry)
        end = self.file.tell()
        size = end - start
        if count >= LIMIT_16 or start >= LIMIT_32 or size >= LIMIT_32:
            self.file.write(struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start))
            self.file.write(struct.pack("<4sIQI", b"PK\6\7", 0, end, 1))
        few, size, start = min(count, LIMIT_16), min(size, LIMIT_32), min(start, LIMIT_32)
        self.file.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, few, few, size, start, 0))


class Member:
    """A member that is being written: `write` takes its bytes, `close` completes it."""

    def __init__(self, archive: Archive, name: str, compress: bool, wide: bool) -> None:
        self.archive, self.file, self.wide = archive, archive.file, wide
        self.start = self.file.tell()
        self.name = name.encode()
        # bit 11: the name is UTF-8
        self.flags, self.method = (0 if name.isascii() else 1 << 11), (DEFLATED if compress else STORED)
        self.checksum = self.size = self.stored = 0
        self.compressor = _compressor() if compress else None
        self.crc32 = crc32()
        self.padding = b"" if compress else _padding(self.start + len(self._header(b"")))
        self.file.write(self._header(self.padding))

    def write(self, data: Any) -> None:
        """Add bytes, or anything with a buffer of bytes."""
        self.size += len(data)
        self.checksum = self.crc32(data, self.checksum)
        self._put(self.compressor.compress(data) if self.compressor else data)

    def close(self) -> None:
        """Complete the member: its sizes and its checksum go to its start."""
        if self.compressor:
            self._put(self.compressor.flush())
        if not self.wide and max(self.size, self.stored) >= LIMIT_32:
            raise ValueError(f"{self.name.decode()} holds {self.size} bytes, more than its size= let expect")
        end = self.file.tell()
        self.file.seek(self.start)
        self.file.write(self._header(self.padding))
        self.file.seek(end)
        sizes, stored, start = (min(number, LIMIT_32) for number in (self.size, self.stored, self.start))
        large = [number for number in (self.size, self.stored, self.start) if number >= LIMIT_32]
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        needed = 45 if self.wide or large else 20
        self.archive.entries.append(
            struct.pack("<4sBBHHHHHIIIHHHHHII", b"PK\1\2", needed, UNIX, needed, self.flags, self.method, TIME, DATE, self.checksum,
                        stored, sizes, len(self.name), len(extra), 0, 0, 0, REGULAR, start)
            + self.name + extra
        )  # fmt: skip

    def _put(self, data: Any) -> None:
        self.stored += len(data)
        self.file.write(data)

    def _header(self, padding: bytes) -> bytes:
        """The header at the start of the member; a wide one has its sizes in an extra field."""
        extra = (struct.pack("<HHQQ", 1, 16, self.size, self.stored) if self.wide else b"") + padding
        stored, size = (LIMIT_32, LIMIT_32) if self.wide else (self.stored, self.size)
        return struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45 if self.wide else 20, self.flags, self.method, TIME, DATE,
                           self.checksum, stored, size, len(self.name), len(extra)) + self.name + extra  # fmt: skip


def _padding(end: int) -> bytes:
    """The extra field after a header that would end at `end`, so that the header ends at a multiple of 64."""
    missing = -end % ALIGNMENT
    if not missing:
        return b""
    if missing < 6:  # an extra field has four bytes in front, and this one has two that say the alignment
        missing += ALIGNMENT
    return struct.pack("<HHH", PADDING, missing - 4, ALIGNMENT) + bytes(missing - 6)


def shrinks(data: memoryview) -> bool:
    """Whether the bytes of an array get smaller by a fifth, as far as a sample tells.

    The sample is a 64th of the bytes, but 4 to 64 KB, in pieces of 1 KB from all over the array.
    """
    size = len(data)
    if size < LEAST_SAVING:
        return False
    pieces = min(max(4, size >> 16), 64)
    step = max(PIECE, (size - PIECE) // (pieces - 1))
    compressor, packed, seen = _compressor(), 0, 0
    for start in range(0, size, step):
        piece = data[start : start + PIECE]
        packed += len(compressor.compress(piece))
        seen += len(piece)
    return packed + len(compressor.flush()) < 0.8 * seen


def _compressor() -> Any:
    """Deflate that codes byte frequencies and runs. It does not look for repeats: weights have none.

    100 MB of float32 weights on one core (seconds to compress, % left; inflating takes 0.7 s in every case):
    level 1: 3.3, 93.0; 3: 3.5, 93.0; 4: 3.7, 92.8; 6 (NumPy's): 3.7, 92.8; 9: 3.7 to 5.1, 92.8; Z_FILTERED: 3.8, 93.0;
    Z_HUFFMAN_ONLY: 1.1, 92.7; Z_RLE: 1.1, 92.7, with the larger memory (9) 1.0, 92.6. Z_RLE also keeps zeros small.
    """
    return zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
