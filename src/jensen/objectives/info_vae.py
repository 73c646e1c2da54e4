"""The aggregate posterior held to the prior by a kernel: InfoVAE, and Wasserstein autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from jensen.core import AbstractInference, Datum, Terms, Verdict, independent_draws
from jensen.dist import AbstractDistribution, AbstractEnumerable, Reparameterized, stop
from jensen.errors import InputError, nearest
from jensen.objectives.across_data import AbstractAcrossData, check_weights, one_vector_each
from jensen.typing import Array, Float, Int, PRNGKey, Scalar

_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the inverse multiquadratic kernel, after Tolstikhin et al.: it need not be told how far apart z lie."""


def _imq(squared: Array, width: float) -> Array:
    each = [s * width / (s * width + squared) for s in _SCALES]
    return jnp.stack(each).mean(0)


KERNELS: dict[str, Callable[[Array, float], Array]] = {
    "rbf": lambda squared, width: jnp.exp(-squared / width),
    "imq": _imq,
}
"""From squared distances to similarities, one at distance zero."""


class InfoVAE(AbstractAcrossData):
    r"""The loss −E[log p(x|z)] + (1 − α) KL(q(z|x) ‖ p(z)) + s MMD²(q(z), p(z)).

    The KL asks every q(z|x) to be the prior, and z to tell nothing; the maximum mean discrepancy asks it of
    the aggregate posterior q(z) alone. α = 1 leaves the KL out, which is a Wasserstein autoencoder; α = 0 and
    s = 0 is the ELBO. MMD² is at most 2, so s is large where it should count: of the order of the
    reconstruction's nats. It is estimated between the batch's draws and as many of the prior, pairs of one
    datum left out. The bound reported is the plain one, which this loss does not climb: with α = 1 expect it
    low, q(z|x) being far narrower than the prior. A learned prior is trained by MMD² where its draws carry a
    gradient (``priors.Learned``), else by the KL alone (``MixtureOfGaussians``, ``VampPrior``).

    Args:
        alpha: α, at most 1: how much of the KL is dropped; below 0, how much is added.
        strength: s, weight of MMD²; α + λ − 1 in the paper.
        kernel: ``"imq"``, inverse multiquadratic at several scales, or ``"rbf"``, Gaussian.
        bandwidth: Unit of distance; 1 for latents of unit variance.
        num_samples: Draws per datum.

    Raises:
        InputError: If an argument is out of range.

    References:
        Zhao, Song & Ermon 2019; Tolstikhin et al. 2018 (WAE-MMD).

    Example:
        >>> InfoVAE(alpha=1.0, strength=100.0).kernel
        'imq'
    """

    closed_form_kl: ClassVar[str] = "auto"
    alpha: float
    strength: float
    kernel: str
    bandwidth: float
    num_samples: int

    def __init__(
        self,
        *,
        alpha: float,
        strength: float,
        kernel: Literal["imq", "rbf"] = "imq",
        bandwidth: float = 1.0,
        num_samples: int = 1,
    ):
        check_weights("InfoVAE", num_samples, strength=strength)
        if not -float("inf") < alpha <= 1:
            raise InputError(f"InfoVAE: alpha is {alpha}; it must be at most 1, the KL dropped")
        if kernel not in KERNELS:
            raise InputError(f"InfoVAE: kernel is {kernel!r}{nearest(kernel, KERNELS)}")
        if not bandwidth > 0:
            raise InputError(f"InfoVAE: bandwidth is {bandwidth}; it must be above 0")
        self.alpha = alpha
        self.strength = strength
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.num_samples = num_samples

    def draw(self, model: Any, q: AbstractDistribution, datum: Datum, *, key: PRNGKey, share: Any) -> Terms:
        """Draw independently; the carry holds as many draws of the prior."""
        to_q, to_prior = jax.random.split(key)
        terms = independent_draws(model, q, datum, self.num_samples, key=to_q, share=share)
        if not self.couples_data:
            return terms
        prior = model.prior_of(datum.cond)
        keys = jax.random.split(to_prior, self.num_samples)
        drawn, _ = jax.vmap(lambda key: prior.sample_and_log_prob(key=key))(keys)
        return replace(terms, carry=drawn if isinstance(prior, Reparameterized) else stop(drawn))

    @property
    def kl_weight(self) -> float:
        """1 − α."""
        return 1 - self.alpha

    @property
    def couples_data(self) -> bool:
        """Whether the discrepancy has a weight."""
        return self.strength > 0

    def batch_term(self, terms: Terms, q: Any, step: Int[Array, ""], num_data: Any) -> Scalar:
        """Return s MMD²."""
        if not self.couples_data:
            return jnp.zeros(())
        return self.strength * squared_mmd(terms.z, terms.carry, self.kernel, self.bandwidth)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand continuous latents, one vector a datum, and a prior that is trained; climb no bound."""
        if not self.couples_data and self.kl_weight == 1:
            return Verdict("exact")
        if refusal := one_vector_each("InfoVAE", inference):
            return refusal
        law = inference.posterior.law(inference.model)
        if issubclass(law, AbstractEnumerable):
            return Verdict(
                "refused",
                f"InfoVAE: a kernel of distances says little of {law.__name__} codes; use "
                "objectives.ELBO(), or families.DiagGaussian",
            )
        reason = "InfoVAE descends a divergence of the aggregate posterior, the loss of no bound"
        prior = inference.model.prior_law
        if issubclass(prior, Reparameterized):
            return Verdict("biased", reason)
        if self.kl_weight == 0:
            return Verdict(
                "refused",
                f"InfoVAE(alpha=1): draws of a {prior.__name__} prior carry no gradient, and without the KL "
                "nothing would train it; use priors.Learned(families.Mixture(families.DiagGaussian(d), K)), "
                "priors.StandardNormal, or alpha below 1",
            )
        if self.couples_data:
            reason += f"; draws of a {prior.__name__} prior carry no gradient, the KL alone trains it"
        return Verdict("biased", reason)


def squared_mmd(
    z: Float[Array, "b k d"], prior: Float[Array, "b k d"], kernel: str, bandwidth: float = 1.0
) -> Scalar:
    """Estimate MMD² = E k(z, z') + E k(u, u') − 2 E k(z, u), without bias in the draws; it may be negative.

    Args:
        z: K draws for each of B data; pairs of one datum are left out, being no draws of the aggregate.
        prior: Draws of the prior, as many.
        kernel: Name of the kernel.
        bandwidth: Unit of distance.
    """
    size, draws, dim = z.shape
    same = jnp.repeat(jnp.arange(size), draws)
    apart = (same[:, None] != same) / max(size * (size - 1) * draws**2, 1)
    total = size * draws
    others = (1 - jnp.eye(total)) / max(total * (total - 1), 1)

    def similarity(x: Array, y: Array) -> Array:
        squared = (x**2).sum(-1)[:, None] + (y**2).sum(-1) - 2 * x @ y.T
        # 2d is the mean squared distance of two draws of a standard normal
        return KERNELS[kernel](jnp.maximum(squared, 0.0), 2 * dim * bandwidth**2)

    x, u = z.reshape(total, dim), prior.reshape(total, dim)
    return (apart * similarity(x, x)).sum() + (others * similarity(u, u)).sum() - 2 * similarity(x, u).mean()
