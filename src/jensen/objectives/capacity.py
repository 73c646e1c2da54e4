"""A KL held at a given number of nats, raised as training goes on."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from jensen.core import (
    AbstractInference,
    HasBatchTerm,
    Losses,
    MeanOverDraws,
    Terms,
    Verdict,
)
from jensen.errors import InputError
from jensen.objectives.across_data import check_weights, divergence, one_vector_each
from jensen.objectives.schedules import at
from jensen.objectives.together import DrawsIndependently
from jensen.typing import Array, Float, Int, Scalar, Schedule


class Capacity(MeanOverDraws, HasBatchTerm, DrawsIndependently):
    """The loss −E[log p(x|z)] + γ |KL − C|: z is made to tell C nats, no more and no less.

    With C rising from 0, one factor of the data after another is encoded, the most useful first. The bound
    reported is the plain ELBO.

    Args:
        nats: C, a number or a function of the step, such as ``Linear(0.0, 25.0, steps)``.
        strength: γ; large, so that the KL follows C.
        over: Whether the KL held at C is the mean over the ``"batch"``, so that hard data may take more
            than easy ones, or that of every ``"datum"``, draw by draw.
        num_samples: Draws per datum.

    Raises:
        InputError: If an argument is out of range.

    References:
        Burgess et al. 2018.

    Example:
        >>> from jensen.objectives import Linear
        >>> Capacity(Linear(0.0, 25.0, 10_000)).strength
        100.0
    """

    closed_form_kl: ClassVar[str] = "auto"
    nats: float | Schedule
    strength: float
    over: Literal["batch", "datum"]
    num_samples: int

    def __init__(
        self,
        nats: float | Schedule,
        *,
        strength: float = 100.0,
        over: Literal["batch", "datum"] = "batch",
        num_samples: int = 1,
    ):
        check_weights("Capacity", num_samples, strength=strength)
        if not callable(nats) and not nats >= 0:
            raise InputError(f"Capacity: nats is {nats}; it must be 0 or more")
        if over not in ("batch", "datum"):
            raise InputError(f"Capacity: over is {over!r}; choose batch or datum")
        self.nats = nats
        self.strength = strength
        self.over = over
        self.num_samples = num_samples

    def bound(self, terms: Terms) -> Scalar:
        """Return E[log p(x|z)] − KL, averaged over draws, in nats."""
        return jnp.mean(terms.reconstruction - divergence(terms))

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return −E[log p(x|z)], plus γ |KL − C| where every datum is held to it, plus penalties.

        All are means over draws: with a sampled KL, |KL − C| is of each draw's own.
        """
        fit = jnp.mean(terms.penalty - terms.reconstruction)
        if self.couples_data:
            return Losses.both(fit)
        return Losses.both(fit + self._off(divergence(terms), step).mean())

    @property
    def linear(self) -> bool:
        """|KL − C| has a kink."""
        return False

    @property
    def plain(self) -> bool:
        """Never: no bound is climbed."""
        return False

    @property
    def couples_data(self) -> bool:
        """Whether the mean KL of the batch is held."""
        return self.over == "batch"

    def batch_term(self, terms: Terms, q: Any, step: Int[Array, ""], num_data: Any) -> Scalar:
        """Return γ |mean KL − C|; zero where every datum is held to it."""
        return self._off(divergence(terms).mean(), step) if self.couples_data else jnp.zeros(())

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a prior of each datum's own; say that no bound is climbed."""
        if refusal := one_vector_each("Capacity", inference):
            return refusal
        return Verdict("biased", "Capacity holds the KL at a number, the loss of no bound")

    def _off(self, kl: Float[Array, "*draws"], step: Int[Array, ""]) -> Float[Array, "*draws"]:
        return self.strength * jnp.abs(kl - at(self.nats, step))
