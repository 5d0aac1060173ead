"""What a compiled library depends on beside its source: the compiler's files, the C library, and the processor."""

import contextlib
import functools
import os
import shutil
import sys

# The lines of /proc/cpuinfo that say what a processor is. The others tell the clock and the number of a core.
KEPT = (
    "vendor_id cpu_family model model_name stepping flags Features CPU_implementer CPU_architecture CPU_variant CPU_part "
    "CPU_revision isa uarch cpu"
).split()


def identity_of(command: tuple[str, ...]) -> str:
    """A text that changes when the compiler, the C library or the processor does. No program is started for that.

    The compiler is known by the place, the size and the time of each file that the command names.
    """
    files = []
    for word in command:
        with contextlib.suppress(OSError, ValueError):
            place = os.path.realpath(shutil.which(word) or word)
            found = os.stat(place)
            files.append(f"{place} {found.st_size} {found.st_mtime_ns}")
    return "\n".join((*command, *files, _system(), processor()))


def _system() -> str:
    library = ""
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows, macOS, musl
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    return f"{sys.platform} {library} {sys.maxsize}"


@functools.cache
def processor() -> str:
    """What this processor is, as far as code for it may differ from code for another one."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        first = file.read(1 << 14).partition("\n\n")[0]  # one processor: the file is written as far as it is read
        lines = [line for line in first.splitlines() if line.partition(":")[0].strip().replace(" ", "_") in KEPT]
        if lines:
            return "\n".join(lines)
    return f"{_machine()} {os.environ.get('PROCESSOR_IDENTIFIER', '')}"


def _machine() -> str:
    """The processor's name from macOS, or the kind of machine."""
    if sys.platform == "darwin":
        import ctypes

        text, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
        with contextlib.suppress(OSError, AttributeError):
            if not ctypes.CDLL(None).sysctlbyname(b"machdep.cpu.brand_string", text, ctypes.byref(size), None, 0):
                return text.value.decode(errors="replace")
    import platform

    return platform.machine()
