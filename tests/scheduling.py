"""Which worker of pytest-xdist gets which files: long ones first, and all files of pools of ranks together."""

from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# Files that take several seconds, the longest first: at the end no worker waits long for another. All other files follow.
LONGEST = (
    "tests/distributed",
    *[
        f"tests/{name}.py"
        for name in (
            "laws/test_function_laws laws/test_laws laws/test_layer_laws devices/test_devices compiler/test_compile_programs "
            "compiler/test_compile_kernels laws/test_transform_laws laws/test_model_laws data/test_loader_workers compiler/test_compile_native "
            "native/test_disk_cache training/test_everything documents/test_docs compiler/test_compile_control compiler/test_gpu_steps "
            "solvers/test_odeint compiler/test_native_lines compiler/test_compile_bounds laws/test_optimiser_laws laws/test_owner_laws "
            "debugging/test_debug_keys_and_rules laws/test_kinks testing/test_testing testing/test_testing_strategies testing/test_testing_given "
            "data/test_loader_laws data/test_data devices/test_window_kernels devices/test_line_kernels devices/test_strict_kernel "
            "devices/test_one_formula compiler/test_compile_growth documents/test_typing documents/test_package commands/test_commands"
        ).split()
    ],
)
TOGETHER = ("tests/distributed/",)  # each worker that runs one of these starts ranks of its own


def unit_of(nodeid: str) -> str:
    """The tests that stay together, and in their order: a file, or several."""
    file = nodeid.partition("::")[0]
    return next((folder.rstrip("/") for folder in TOGETHER if file.startswith(folder)), file)


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests in the order in which workers get them."""
    places = {unit: place for place, unit in enumerate(LONGEST)}
    return sorted(items, key=lambda item: places.get(unit_of(item.nodeid), len(places)))


class Places(list[str]):
    """Names of tests, each of which knows its place: the list's own search takes seconds for ten thousand of them."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.places = {name: place for place, name in enumerate(names)}

    def index(self, name: str, *bounds: Any) -> int:
        return self.places[name]


class Scheduling(LoadFileScheduling):
    """`--dist loadfile` with the units and the order above. Its work for one test does not grow with the number of tests."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        super().add_node_collection(node, collection)
        if node in self.registered_collections:
            self.registered_collections[node] = Places(collection)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        units, unit = self.assigned_work[node], unit_of(self.registered_collections[node][item_index])
        if all(units[unit].values()):  # xdist counts the tests of all units again after every test
            del units[unit]
