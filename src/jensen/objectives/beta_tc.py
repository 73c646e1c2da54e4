"""The KL in three parts, each with a weight: β-TC."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

from jensen.core import AbstractInference, Terms, Verdict
from jensen.dist import DiagGaussian
from jensen.objectives.across_data import AbstractAcrossData, check_weights, one_vector_each
from jensen.objectives.together import DrawsIndependently
from jensen.typing import Array, Float, Int, Scalar


class BetaTC(AbstractAcrossData, DrawsIndependently):
    r"""The loss −E[log p(x|z)] + α I(x; z) + β TC(z) + γ Σⱼ KL(q(zⱼ) ‖ p(zⱼ)), in nats.

    With α = β = γ = 1 it is the negative ELBO.
    The three parts add up to the mean KL(q(z|x) ‖ p(z)): what z tells of which datum it is, the total
    correlation KL(q(z) ‖ ∏ⱼ q(zⱼ)) of the aggregate posterior q(z) = (1/N) Σₙ q(z | xₙ), and how far its
    marginals are from the prior (for a prior that does not factorize, the rest of the KL). A weight β above
    one on the total correlation alone asks for independent latents without making them tell less.

    In q(z) a batch of B stands for all N data: the datum that z came from weighs 1/N, the others
    (N − 1)/(N (B − 1)) each, which is unbiased for q(z) and biased for its logarithm, less so in large
    batches. The bound reported is the plain one.

    Args:
        beta: β, weight of the total correlation.
        alpha: α, weight of the information.
        gamma: γ, weight of the marginals' KL.
        num_samples: Draws per datum.

    Raises:
        InputError: If a weight is negative.

    References:
        Chen, Li, Grosse & Duvenaud 2018.

    Example:
        >>> BetaTC(6.0).beta
        6.0
    """

    closed_form_kl: ClassVar[str] = "auto"
    beta: float
    alpha: float
    gamma: float
    num_samples: int

    def __init__(self, beta: float, *, alpha: float = 1.0, gamma: float = 1.0, num_samples: int = 1):
        check_weights("BetaTC", num_samples, beta=beta, alpha=alpha, gamma=gamma)
        self.beta = beta
        self.alpha = alpha
        self.gamma = gamma
        self.num_samples = num_samples

    @property
    def kl_weight(self) -> float:
        """α: the KL, in closed form where there is one, holds so much of all three parts."""
        return self.alpha

    @property
    def couples_data(self) -> bool:
        """Whether the parts weigh differently."""
        return not self.alpha == self.beta == self.gamma

    def batch_term(self, terms: Terms, q: Any, step: Int[Array, ""], num_data: Any) -> Scalar:
        """Return (β − α) TC + (γ − α) times the marginals' KL."""
        joint, product = log_aggregate(q, terms.z, num_data)
        assert terms.log_prior is not None  # the rule refuses models that do not know their prior
        correlation = jnp.mean(joint - product)
        marginal = jnp.mean(product - terms.log_prior.sum(-1))
        return (self.beta - self.alpha) * correlation + (self.gamma - self.alpha) * marginal

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand independent Gaussian latents, one vector a datum; name the bias."""
        if not self.couples_data:
            return Verdict("exact")
        if refusal := one_vector_each("BetaTC", inference):
            return refusal
        law = inference.posterior.law(inference.model)
        if not issubclass(law, DiagGaussian):
            return Verdict(
                "refused",
                f"BetaTC: q must factorize to have marginals, {law.__name__} does not; use "
                "families.DiagGaussian, or objectives.InfoVAE",
            )
        return Verdict("biased", "BetaTC takes log q(z) from a batch, whose mean it is not")


def log_aggregate(
    q: DiagGaussian, z: Float[Array, "b k d"], num_data: Any
) -> tuple[Float[Array, "b k"], Float[Array, "b k"]]:
    """Return log q(z) and Σⱼ log q(zⱼ) of the aggregate posterior at each draw, in nats.

    Args:
        q: The batch's posteriors, stacked: fields (B, d).
        z: K draws of each.
        num_data: N.
    """
    size, n = z.shape[0], jnp.asarray(num_data, z.dtype)
    others = (n - 1) / (n * max(size - 1, 1))
    log_weight = jnp.log(jnp.where(jnp.eye(size, dtype=bool), 1 / n, others))[:, None]

    def one(z: Float[Array, "k d"], log_weight: Float[Array, "1 b"]) -> tuple[Array, Array]:
        each = norm.logpdf(z[:, None], q.loc, q.scale)  # (k, b, d)
        joint = logsumexp(log_weight + each.sum(-1), axis=1)
        return joint, logsumexp(log_weight[..., None] + each, axis=1).sum(-1)

    return jax.vmap(one)(z, log_weight)
