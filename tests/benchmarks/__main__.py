"""The one command: runs the benchmarks named on the command line, or all of them, with one thread.

`python -m tests.benchmarks` prints tables; with `--write` it runs all and puts them into docs/about/benchmarks.md.
"""

import os
import re
import sys
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["NPROC"] = "1"  # the threads of JAX, whose flag leaves it two where there are two processors
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.benchmarks import (  # noqa: E402, after what libraries read when they are imported
    augmenting,
    chain,
    checkpoints,
    cnn,
    compiling,
    derivatives,
    dropout,
    elementwise,
    gpu,
    importing,
    layers,
    loading,
    lstm,
    measure,
    memory,
    mnist,
    networks,
    norms,
    optimisers,
    overhead,
    peaks,
    pinn,
    pooling,
    reads,
    reducing,
    reproducible,
    saving,
    scaling,
    sequences,
    sharding,
    starts,
    sweeping,
    transforms,
)

PARTS = {
    "mnist": mnist.run, "dropout": dropout.run, "lstm": lstm.run, "cnn": cnn.run, "layers": layers.run, "networks": networks.run,
    "pooling": pooling.run, "norms": norms.run, "softmax": norms.run_softmax, "rows": sequences.run_rows,
    "attention": sequences.run_attention, "elementwise": elementwise.run, "product": derivatives.run_product,
    "five": derivatives.run_five, "matrices": derivatives.run_matrices, "chain": chain.run, "reads": reads.run, "overhead": overhead.run,
    "optimisers": optimisers.run,
    "compiling": compiling.run,
    "products": transforms.run_products, "jacobians": transforms.run_jacobians, "examples": transforms.run_examples,
    "pinn": pinn.run, "vmap": pinn.run_forms,
    "memory": memory.run, "peaks": peaks.run, "gpu": gpu.run, "shapes": memory.run_shapes, "import": importing.run, "starts": starts.run, "io": saving.run, "checkpoints": checkpoints.run,
    "sharding": sharding.run,
    "loading": loading.run, "waiting": loading.run_waiting,
    "augmenting": augmenting.run, "sweeping": sweeping.run,
    "scaling": scaling.run, "reducing": reducing.run, "reproducible": reproducible.run,
}  # fmt: skip
PACKAGES = ("numpy", "torch", "jax", "optax", "autograd", "mygrad", "dezero", "mpi4py", "mpich")
APART = {"gpu"}  # which runs where the peers are not
DOCUMENT = Path(__file__).parents[2] / "docs" / "about" / "benchmarks.md"


def main(arguments: list[str]) -> None:
    names = [name for name in arguments if name != "--write"]
    if unknown := set(names) - PARTS.keys():
        sys.exit(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    if names and names != arguments and not set(names) <= APART:
        sys.exit(f"--write puts the tables of one run into the document, and so runs all of them: name none, or {', '.join(APART)}.")
    machine = measure.machine(*PACKAGES)
    print(machine)
    found = {}
    for name in names or PARTS:
        print(f"\n## {name}\n", flush=True)
        found[name] = PARTS[name]()
        print(found[name], flush=True)
    if names != arguments:
        text = DOCUMENT.read_text(encoding="utf-8")
        if not names:
            text = re.sub(r"(?m)^Measured on .*$", f"Measured on {machine}.", text)
        for name, table in found.items():
            if not table:  # what could not be measured here
                continue
            text = re.sub(rf"(?ms)^(## {name}:.*?\n)\|.*?\n(?!\|)", lambda m, t=table: f"{m[1]}{t}\n", text, count=1)
        DOCUMENT.write_text(text, encoding="utf-8", newline="\n")


main(sys.argv[1:])
