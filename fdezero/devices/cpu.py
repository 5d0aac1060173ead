"""The CPU: NumPy's arrays."""

from typing import Any

from .backend import Backend


class Cpu(Backend):
    """NumPy on the CPU."""

    name, array_module, alias, special_functions = "cpu", "numpy", "np", "scipy.special"
    has_numbers = False
    reads_at_once = plans_memory = True
    fuses_into_kernels = False
    adds_complex_at = keeps_last_duplicate = stacks_solve = has_set_functions = True
    reports_matrices = refuses_indices = powers_of_integers_raise = True

    def from_host(self, array: Any) -> Any:
        return array

    def to_host(self, array: Any) -> Any:
        return array
