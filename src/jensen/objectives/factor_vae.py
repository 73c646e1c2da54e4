"""The total correlation by a discriminator: FactorVAE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax

from jensen.core import AbstractInference, HasLatentDim, Terms, Verdict
from jensen.dist import AbstractEnumerable, stop
from jensen.errors import check_key
from jensen.nets import MLP
from jensen.objectives.across_data import AbstractAcrossData, check_weights, one_vector_each
from jensen.objectives.together import DrawsIndependently
from jensen.typing import Array, Int, PRNGKey, Scalar


class FactorVAE(AbstractAcrossData, DrawsIndependently):
    r"""The negative ELBO plus γ TC(z), TC(z) = KL(q(z) ‖ ∏ⱼ q(zⱼ)) by the density-ratio trick.

    A network learns to tell z from z with each column permuted over the batch on its own; its logit is then
    log q(z) − Σⱼ log q(zⱼ). It is trained beside model and posterior, in the same step by the same optimizer,
    on draws held constant, and they on a network held constant. The bound reported is the plain one.

    Args:
        gamma: γ, weight of the total correlation.
        latent_dim: Length of z.
        widths: Hidden widths of the discriminator.
        num_samples: Draws per datum.
        key: Randomness of its weights.

    Raises:
        InputError: If γ is negative.

    References:
        Kim & Mnih 2018.

    Example:
        >>> import jax
        >>> FactorVAE(10.0, latent_dim=4, key=jax.random.key(0)).gamma
        10.0
    """

    closed_form_kl: ClassVar[str] = "auto"
    gamma: float
    discriminator: MLP
    latent_dim: int
    num_samples: int

    def __init__(
        self,
        gamma: float,
        *,
        latent_dim: int,
        widths: Sequence[int] = (256, 256),
        num_samples: int = 1,
        key: PRNGKey,
    ):
        check_key(key)
        check_weights("FactorVAE", num_samples, gamma=gamma)
        self.gamma = gamma
        self.discriminator = MLP(latent_dim, 1, widths, activation=jax.nn.leaky_relu, key=key)
        self.latent_dim = latent_dim
        self.num_samples = num_samples

    @property
    def kl_weight(self) -> float:
        """One."""
        return 1.0

    @property
    def couples_data(self) -> bool:
        """Always: the discriminator learns from batches."""
        return True

    def batch_term(self, terms: Terms, q: Any, step: Int[Array, ""], num_data: Any) -> Scalar:
        """Return γ times the mean logit, and the discriminator's own loss, each with the other side held."""
        z = terms.z.reshape(-1, self.latent_dim)
        key = jax.random.fold_in(jax.random.key(0), step)  # which permutation it is carries no meaning
        apart = stop(jax.random.permutation(key, z, axis=0, independent=True))
        correlation = jax.vmap(stop(self.discriminator))(z).mean()
        of_joint, of_product = (jax.vmap(self.discriminator)(rows) for rows in (stop(z), apart))
        told_apart = jax.nn.softplus(-of_joint).mean() + jax.nn.softplus(of_product).mean()
        return self.gamma * correlation + told_apart

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand continuous latents of the discriminator's length; name the bias."""
        if refusal := one_vector_each("FactorVAE", inference):
            return refusal
        law = inference.posterior.law(inference.model)
        if issubclass(law, AbstractEnumerable):
            return Verdict(
                "refused", f"FactorVAE: {law.__name__} has no density to compare; use families.DiagGaussian"
            )
        model = inference.model
        length = model.latent_dim if isinstance(model, HasLatentDim) else self.latent_dim
        if length != self.latent_dim:
            return Verdict(
                "refused",
                f"FactorVAE reads latents of length {self.latent_dim}, z has {length}; use "
                f"objectives.FactorVAE(..., latent_dim={length})",
            )
        return Verdict(
            "biased", "FactorVAE takes the total correlation from a network that is still learning"
        )
