"""What objectives with a term across data share: the ELBO's loss, its KL weighed."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod

import jax.numpy as jnp

from jensen.core import (
    AbstractInference,
    AbstractLatentModel,
    HasBatchTerm,
    HasMarkovLatents,
    HasRecurrence,
    HoldsLatent,
    Losses,
    MeanOverDraws,
    SharesLatent,
    Terms,
    Verdict,
)
from jensen.errors import InputError, at_least
from jensen.typing import Array, Float, Int, Scalar


class AbstractAcrossData(MeanOverDraws, HasBatchTerm):
    """The ELBO, of which the loss weighs the KL by a number and adds one term of the whole batch.

    The bound reported is the plain one.
    """

    @property
    @abstractmethod
    def kl_weight(self) -> float:
        """Weight of the KL in the loss of each datum."""

    def bound(self, terms: Terms) -> Scalar:
        """Return E[log p(x|z)] − KL, averaged over draws, in nats."""
        return jnp.mean(terms.reconstruction - divergence(terms))

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return −E[log p(x|z)] and the weighed KL, plus penalties."""
        fit = jnp.mean(terms.penalty - terms.reconstruction)
        if self.kl_weight == 0:
            return Losses.both(fit)
        return Losses.both(fit + self.kl_weight * divergence(terms).mean())

    @property
    def linear(self) -> bool:
        """Each datum's own loss is."""
        return True

    @property
    def plain(self) -> bool:
        """Where the term of the batch has no weight, and the KL has one."""
        return not self.couples_data and self.kl_weight == 1


def divergence(terms: Terms) -> Float[Array, "*draws"]:
    """Return the KL summed over groups: in closed form where there is one, else of the sample."""
    return (terms.log_ratio if terms.kl is None else terms.kl).sum(-1)


def one_vector_each(name: str, inference: AbstractInference) -> Verdict | None:
    """Refuse models in which z is not one vector a datum, so that an aggregate of z means little."""
    model, posterior = inference.model, inference.posterior
    if not isinstance(model, AbstractLatentModel):
        return Verdict(
            "refused", f"{name}: {type(model).__name__} does not part its prior; use objectives.ELBO()"
        )
    if isinstance(posterior, SharesLatent):
        return Verdict(
            "refused",
            f"{name} with {type(posterior).__name__}: one z is behind all data, there is no aggregate; use "
            "objectives.ELBO()",
        )
    if isinstance(model, HasMarkovLatents | HasRecurrence | HoldsLatent):
        return Verdict(
            "refused",
            f"{name}: the latents of {type(model).__name__} are of sequences, ragged; use objectives.ELBO()",
        )
    return None


def check_weights(name: str, num_samples: int, **weights: float) -> None:
    """Refuse negative weights and fewer draws than one.

    Raises:
        InputError: Naming the argument.
    """
    at_least(name, 1, num_samples=num_samples)
    for word, value in weights.items():
        if not 0 <= value < float("inf"):
            raise InputError(f"{name}: {word} is {value}; it must be 0 or more")
