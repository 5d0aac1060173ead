"""Benchmarks of fdezero beside its peers: `python -m tests.benchmarks [part ...] [--write]`.

Parts: mnist, dropout, lstm, elementwise, product (of a Hessian and a vector), five (derivatives of tanh), matrices (a Jacobian and a
Hessian), chain, overhead; memory, shapes, import, io.
"""
