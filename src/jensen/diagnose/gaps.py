"""The gaps of several posteriors of one model, each climb to q* warm-started at a poorer family's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax

from jensen.core import Inference, PicksLaw, SharesLatent
from jensen.diagnose.decompose import Known, Seen, decompose, is_point
from jensen.diagnose.estimate import Effort
from jensen.diagnose.gap_result import Gap
from jensen.diagnose.optimum import family_of, laws_of
from jensen.diagnose.progress import Progress, shown
from jensen.diagnose.rows import first, inference_of
from jensen.diagnose.table import columns, number
from jensen.errors import InputError
from jensen.families import embed
from jensen.fit import Fitted
from jensen.typing import PRNGKey


@dataclass(frozen=True)
class Gaps:
    """Decompositions of the same log p(x) of the same rows.

    Attributes:
        by_name: The gap of every posterior.
        seconds: What each took, compilation included, and log p(x) for the one that gave it.
    """

    by_name: dict[str, Gap]
    seconds: dict[str, float]

    def __getitem__(self, name: str) -> Gap:
        return self.by_name[name]

    def to_json(self) -> dict[str, Any]:
        """Return every gap's numbers with its seconds."""
        return {name: {**gap.to_json(), "seconds": self.seconds[name]} for name, gap in self.by_name.items()}

    def __str__(self) -> str:
        head = ("", "L[q]", "amortization", "approximation", "total", "seconds")
        lines = [
            (name, *(number(getattr(gap, term).value) for term in _TERMS), f"{self.seconds[name]:.0f}")
            for name, gap in self.by_name.items()
        ]
        one = next(iter(self.by_name.values()))
        evidence = str(one.log_evidence)
        flags = [f"! {name}: {flag}" for name, gap in self.by_name.items() for flag in gap.flags]
        return "\n".join([f"{one.units}, {one.split}", columns([head, *lines]), evidence, *flags])


_TERMS = ("elbo", "amortization", "approximation", "total")


def gaps(
    inferences: Mapping[str, Inference | Fitted],
    x: Any,
    *,
    key: PRNGKey,
    rows: int | None = 100,
    effort: Effort | None = None,
    split: str = "test",
    progress: Progress | None = None,
) -> Gaps:
    """Decompose the same log p(x) under several posteriors of one model, the poorer families first.

    log p(x) is evaluated once, with the first posterior that is not a single point. Each climb to q* starts
    at the best members of the richest family before it whose laws this family contains; so, up to the noise
    of the score, a richer family's q* is no worse.

    Args:
        inferences: By name; all of one model.
        x: An array (N, D), or ``fit.Data``.
        key: Randomness; the same for all.
        rows: Look at this many rows, chosen at random; ``None`` for all.
        effort: How much work; ``Effort()`` by default.
        split: A name for the table; ``"train"`` also says that x is the training data, row by row.
        progress: Told of the progress; by default a bar if standard error is a terminal.

    Returns:
        The decompositions; print them for a table.

    Raises:
        InputError: If there are none, their models differ, or one z is behind all data.
    """
    chosen = {name: inference_of(fitted) for name, fitted in inferences.items()}
    _checked(chosen)
    effort = effort or Effort()
    out, seconds, seen = {}, {}, []
    with shown(progress) as bar:
        for name, inference in sorted(chosen.items(), key=lambda item: is_point(item[1].posterior)):
            start = time.perf_counter()
            known = None
            if seen:
                one, poorer = seen[0], _poorer(inference.posterior, seen)
                known = Known(one.evidence, is_point(one.posterior), poorer)
            gap, found = decompose(inference, x, rows, effort, split, key=key, progress=bar, known=known)
            out[name], seconds[name] = gap, time.perf_counter() - start
            seen.append(found)
    return Gaps({name: out[name] for name in chosen}, {name: seconds[name] for name in chosen})


def _poorer(posterior: Any, seen: list[Seen]) -> Any:
    """Return the best laws of the latest family that this one contains; ``None`` if there is none."""
    for before in reversed(seen):
        if before.best is None or not isinstance(posterior, PicksLaw):
            continue
        laws = laws_of(before.model, before.posterior, before.rows, before.best)
        family = family_of(posterior, before.model, first(before.rows))
        try:
            jax.eval_shape(lambda law, family=family: embed(family, law), jax.tree.map(lambda a: a[0], laws))
        except InputError:
            continue
        return laws
    return None


def _checked(inferences: dict[str, Inference]) -> None:
    if not inferences:
        raise InputError("gaps: no posterior to look at; give a dict of name: inference")
    models = [inference.model for inference in inferences.values()]
    for name, inference in inferences.items():
        if isinstance(inference.posterior, SharesLatent):
            raise InputError(f"gaps: {name}: one z is behind all data; use diagnose.gap")
        if not bool(eqx.tree_equal(inference.model, models[0])):
            raise InputError(
                f"gaps: {name} has another model than the first; compare posteriors of one model"
            )
