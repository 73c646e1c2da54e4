"""What bounds on several draws together share."""

from __future__ import annotations

from typing import Any

from jensen.core import (
    AbstractInference,
    AbstractLatentModel,
    AbstractObjective,
    Datum,
    SharesLatent,
    Terms,
    Verdict,
    independent_draws,
)
from jensen.dist import AbstractDistribution
from jensen.typing import PRNGKey


class DrawsIndependently(AbstractObjective):
    """An objective on K independent draws from q."""

    def draw(self, model: Any, q: AbstractDistribution, datum: Datum, *, key: PRNGKey, share: Any) -> Terms:
        """Draw independently."""
        return independent_draws(model, q, datum, self.num_samples, key=key, share=share)


def adds_over_data(objective: AbstractObjective, inference: AbstractInference) -> Verdict | None:
    """Refuse one z behind all data: a logarithm of a mean of weights does not add over them."""
    shared = isinstance(inference.posterior, SharesLatent) and isinstance(
        inference.model, AbstractLatentModel
    )
    if not shared:
        return None
    name, posterior = type(objective).__name__, type(inference.posterior).__name__
    return Verdict(
        "refused",
        f"{name} with {posterior}: not additive over data that share one z; use objectives.ELBO()",
    )
