"""The plugin of pytest: `--gradients=quick` or `full`, and a report of the worst errors at the end.

Pytest imports this file in every project of an environment that has fdezero, so the file imports nothing before the option is given.
It has no assertions: PYTEST_DONT_REWRITE.
"""

from typing import Any

import pytest

KEY = "fdezero_gradients"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fdezero", "gradients, tested with fdezero")
    group.addoption(
        "--gradients",
        dest=KEY,
        choices=("quick", "full"),
        default=None,
        help="how much tests by given_gradients draw and check: quick (5 examples, first order) or full (500 examples or more, "
        "third order, memory layouts); reports the worst error of each function",
    )


def pytest_configure(config: pytest.Config) -> None:
    if level := config.getoption(KEY, None):
        config.pluginmanager.register(_Reporter(config, level), "fdezero-gradients")


class _Reporter:
    """Hooks of a run with the option; with pytest-xdist one in each process."""

    def __init__(self, config: pytest.Config, level: str) -> None:
        from . import findings

        self.config, self.module = config, findings
        self.findings = findings.start(level)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workeroutput"):  # this is a worker of pytest-xdist
            self.config.workeroutput[KEY] = self.findings.plain()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """Take what a finished worker found; a worker that crashed does not tell."""
        self.findings.merge(getattr(node, "workeroutput", {}).get(KEY, ()))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        lines = self.findings.table()
        terminalreporter.section(f"gradients ({self.findings.level.name}): the worst error of each function")
        for line in lines if len(lines) > 1 else ["no gradient was checked"]:
            terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        self.module.stop(self.findings)
