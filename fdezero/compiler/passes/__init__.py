"""Passes, graph -> graph: they drop or simplify operations before memory is planned."""
