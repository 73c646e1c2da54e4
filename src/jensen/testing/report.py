"""What was checked, and the error where a check fails."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from jensen.errors import ContractError, InputError, nearest

LIMIT = 4.5
"""Standard errors past which a difference is no chance: 7 in a million for one number."""


class Check(NamedTuple):
    """One check.

    Attributes:
        name: What was asked.
        passed: True, or ``None`` where it was not asked; what fails is raised.
        detail: The numbers seen, or why it was not asked.
    """

    name: str
    passed: Literal[True] | None
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that was checked of one member, all of it passed; print it for a list.

    Attributes:
        subject: What was checked.
        checks: The checks, in order.
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the checks that held."""
        return tuple(check.name for check in self.checks if check.passed)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        words = {True: "passed   ", None: "not asked"}
        lines = [
            f"  {words[check.passed]}  {check.name.ljust(width)}  {check.detail}".rstrip()
            for check in self.checks
        ]
        return "\n".join([f"{self.subject}: {len(self.passed)} checks passed", *lines])


@dataclass
class Checks:
    """Checks in the making.

    Attributes:
        subject: What is checked, as messages name it.
        skip: Names of checks that are not to be asked.
    """

    subject: str
    skip: Collection[str] = ()
    done: list[Check] = field(default_factory=list)

    def wants(self, name: str) -> bool:
        """Say whether a check is to be asked, and note it if not."""
        if name not in self.skip:
            return True
        self.omit(name, "skipped as asked")
        return False

    def require(self, name: str, holds: bool | np.bool_, advice: str, detail: str = "") -> None:
        """Note a check that holds.

        Raises:
            ContractError: If it does not; the message joins subject, check, numbers and advice.
        """
        if not self.wants(name):
            return
        if not holds:
            seen = f" ({detail})" if detail else ""
            raise ContractError(f"{self.subject}: {name} fails{seen}: {advice}")
        self.done.append(Check(name, True, detail))

    def mean_is(
        self, name: str, values: np.ndarray, target: float, advice: str, *, slack: float = 1e-3
    ) -> None:
        """Require that values average to a number, within chance.

        Args:
            name: Of the check.
            values: Independent draws, (n,) or (n, groups), each column checked.
            target: What their mean should be.
            advice: What to do where it is not.
            slack: Tolerance besides chance, for rounding.
        """
        values = np.asarray(values, np.float64).reshape(len(values), -1)
        off, se = values.mean(0) - target, values.std(0, ddof=1) / np.sqrt(len(values))
        excess = np.abs(off) - LIMIT * se
        worst = int(np.argmax(np.where(np.isfinite(excess), excess, np.inf)))
        detail = f"{target + off[worst]:.4g} ± {se[worst]:.2g}, should be {target:.4g}"
        if values.shape[1] > 1:
            detail += f", group {worst} of {values.shape[1]}"
        self.require(name, (excess <= slack).all(), advice, detail)

    def omit(self, name: str, why: str) -> None:
        """Note a check that could not be asked."""
        self.done.append(Check(name, None, why))

    def report(self) -> Report:
        """Return what was checked.

        Raises:
            InputError: If a check that was to be skipped does not exist.
        """
        known = {check.name for check in self.done}
        for name in self.skip:
            if name not in known:
                raise InputError(f"{self.subject}: no check is called {name!r}{nearest(name, known)}")
        return Report(self.subject, tuple(self.done))


def finite(*trees: object) -> bool:
    """Say whether every number of some arrays is finite; integers are."""
    return all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in trees)
