"""Where the bound is lost: log p(x) = L[q] + amortization gap + approximation gap, in nats per datum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jensen.core import AbstractPosterior, Inference
from jensen.diagnose.decompose import CAUSAL, decompose, score_rows
from jensen.diagnose.estimate import Effort, Estimate
from jensen.diagnose.gap_result import Gap
from jensen.diagnose.progress import Progress, shown
from jensen.diagnose.rows import inference_of, weight_of
from jensen.fit import Fitted
from jensen.objectives import ELBO
from jensen.typing import PRNGKey

__all__ = ["Gap", "gap"]


def gap(
    inference: Inference | Fitted,
    x: Any,
    *,
    key: PRNGKey,
    rows: int | None = 100,
    effort: Effort | None = None,
    split: str = "test",
    progress: Progress | None = None,
    smoothing: AbstractPosterior | None = None,
) -> Gap:
    """Say how far the bound lies below log p(x), and whose fault it is.

    q* is climbed to for each row from two starts and scored on noise it has not seen; rows where the climb
    had not arrived are counted in ``flags`` and left out of every average. Posteriors with parameters per
    training row are fitted afresh to other rows, and then have no amortization gap. With one z behind all
    data, all rows count as one datum and every number is divided by N; pass the training data.

    Args:
        inference: The fitted choices, or what ``fit.*`` returned.
        x: An array (N, D), or ``fit.Data``.
        key: Randomness; every row gets noise of its own.
        rows: Look at this many rows, chosen at random; ``None`` for all.
        effort: How much work; ``Effort()`` by default.
        split: A name for the table; ``"train"`` also says that x is the training data, row by row.
        progress: Told of the progress; by default a bar if standard error is a terminal.
        smoothing: A posterior fitted to the same model that sees whole sequences; its bound on the same rows
            and noise says what seeing the past only costs.

    Returns:
        The decomposition; print it for a table.

    Raises:
        InputError: On data that cannot be used.

    References:
        Cremer, Li & Duvenaud 2018, Inference suboptimality in variational autoencoders.

    Example:
        >>> import jax, jensen as jn
        >>> from jensen import diagnose
        >>> model = jn.models.Decoder(3, prior=jn.models.priors.OneHot(2), widths=(), key=jax.random.key(0))
        >>> q = jn.posteriors.Amortized(jn.families.OneHot(2), data_dim=3, widths=(), key=jax.random.key(1))
        >>> inference = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Enumerate())
        >>> out = diagnose.gap(inference, [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], key=jax.random.key(2))
        >>> bool(abs(out.approximation.value) < 1e-3), out.log_evidence.lower_kind
        (True, 'exact')
    """
    effort, inference = effort or Effort(), inference_of(inference)
    with shown(progress) as bar:
        out, seen = decompose(inference, x, rows, effort, split, key=key, progress=bar)
        if smoothing is None:
            return out
        ahead = Inference(inference.model, smoothing, ELBO(), inference.gradient)
        whole = score_rows(
            ahead, seen.model, smoothing, seen.rows, None, effort, key=seen.key, progress=bar
        ).elbo
    return _beside(out, whole, weight_of(seen.rows))


def _beside(gap: Gap, whole: np.ndarray, weight: np.ndarray | None) -> Gap:
    """Add what the bounds of a smoothing posterior say of causality."""
    lost = whole - gap.per_datum["elbo"]
    flags = tuple(flag for flag in gap.flags if flag != CAUSAL)
    per_datum = {**gap.per_datum, "causality": lost}
    return replace(gap, causality=Estimate.mean(lost, weight), per_datum=per_datum, flags=flags)
