"""The parts of a report that only models of sequences have."""

from __future__ import annotations

import jax

from jensen.errors import InputError
from jensen.fit.result import Fitted
from jensen.models.sequence import HMM, LinearGaussianSSM
from jensen.posteriors import Filtering
from jensen.report import blocks
from jensen.report.bands import over_time
from jensen.report.horizon import ahead
from jensen.report.linear import dynamics
from jensen.report.regimes import regimes
from jensen.report.series import Given, Paths, paths
from jensen.typing import PRNGKey


def sections(fitted: Fitted, given: Given | None, *, key: PRNGKey) -> list[blocks.Section | None]:
    """Show sequences over time, what the model found in them, and how far ahead it sees."""
    inference, found = fitted.inference, None
    to_paths, to_ahead = jax.random.split(key)
    seen: list[blocks.Section | None] = []
    if given is not None:
        try:
            found = paths(inference, given, key=to_paths)
        except InputError as error:
            seen.append(blocks.Section("time", "Over time", [blocks.Text([f"Left out: {error}"])]))
        if found is not None:
            seen.append(over_time(found, filtered=isinstance(inference.posterior, Filtering)))
    seen.append(_of_model(inference.bound_model(), found))
    if given is not None:
        seen.append(ahead(inference, given, found, key=to_ahead))
    return seen


def _of_model(model: object, found: Paths | None) -> blocks.Section | None:
    if isinstance(model, HMM):
        return regimes(model, found)
    return dynamics(model, found) if isinstance(model, LinearGaussianSSM) else None
