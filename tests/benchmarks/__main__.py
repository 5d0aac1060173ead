"""The one command: runs the benchmarks named on the command line, or all of them, with one thread."""

import os
import sys

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.benchmarks import chain, importing, measure, memory, mnist, saving  # noqa: E402

PARTS = {"mnist": mnist.run, "chain": chain.run, "memory": memory.run, "import": importing.run, "io": saving.run}
PACKAGES = ("numpy", "torch", "jax", "autograd", "mygrad", "dezero")


def main(names: list[str]) -> None:
    if unknown := set(names) - PARTS.keys():
        sys.exit(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    print(measure.machine(*PACKAGES))
    for name in names or PARTS:
        print(f"\n## {name}", flush=True)
        PARTS[name]()


main(sys.argv[1:])
