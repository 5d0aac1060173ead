"""Benchmarks of fdezero beside its peers: `python -m tests.benchmarks [mnist] [chain] [memory] [import] [io]`."""
