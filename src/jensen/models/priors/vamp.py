"""The prior that the encoder makes from learned pseudo-inputs."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen import dist
from jensen.core import (
    AbstractInference,
    Datum,
    HasCondition,
    HasFamily,
    HoldsLatent,
    IndexesData,
    InitializesFromData,
    SharesLatent,
    Verdict,
)
from jensen.errors import InputError, at_least, check_key
from jensen.models.priors.base import AbstractLivePrior, AbstractPrior
from jensen.nets import Frame, column_means
from jensen.typing import Array, Float, PRNGKey


class VampPrior(AbstractLivePrior, InitializesFromData):
    """p(z) = (1/K) Σₖ q(z | uₖ): a mixture of the posterior at learned pseudo-inputs u₁ … u_K.

    The prior that maximizes the ELBO is the aggregate posterior, of which this is a short form: it cannot be
    far from where the encoder puts the data, and costs K passes of the encoder a step, whatever the batch.
    The posterior is looked at, not owned, and its gradient flows through the prior as well. Pseudo-inputs
    start at rows of the data. Under ``posteriors.SemiAmortized`` it is the mixture of the network's laws,
    before its steps. There is no closed-form KL to it, so bounds take the sampled one.

    Args:
        latent_dim: Length d of z.
        data_dim: Number of columns of x.
        num_pseudo: K.
        key: Randomness of the pseudo-inputs until data are seen.

    Raises:
        InputError: If a number is not positive.

    References:
        Tomczak & Welling 2018.

    Example:
        >>> import jax, jensen as jn
        >>> key = jax.random.key(0)
        >>> model = jn.models.Decoder(6, prior=VampPrior(2, 6, 5, key=key), widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.DiagGaussian(2), data_dim=6, widths=(), key=key)
        >>> fit = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())
        >>> fit.bound_model().prior_of(None).params.shape
        (5, 4)
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Mixture
    latent_dim: int
    data_dim: int
    pseudo: Float[Array, "k d"]
    frame: Frame
    initialized: bool

    def __init__(self, latent_dim: int, data_dim: int, num_pseudo: int, *, key: PRNGKey):
        check_key(key)
        at_least("prior", 1, latent_dim=latent_dim, data_dim=data_dim, num_pseudo=num_pseudo)
        self.latent_dim = latent_dim
        self.data_dim = data_dim
        self.pseudo = jax.random.normal(key, (num_pseudo, data_dim))
        self.frame = Frame.identity(data_dim)
        self.initialized = False

    def __call__(self, cond: Any) -> dist.AbstractDensity:
        """Refuse: without a posterior there is no law.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "VampPrior is made from the posterior: pass the fit or the inference, not its model alone; "
            "inference.bound_model() is the model with the prior made"
        )

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z

    def looking_at(self, posterior: Any) -> AbstractPrior:
        """Return the mixture over what the posterior infers from the pseudo-inputs."""
        inputs = self.frame.leave(self.pseudo)
        params = jax.vmap(lambda u: posterior.parameters(Datum(u)))(inputs)
        made = dist.Mixture(jnp.zeros(len(inputs)), params, posterior.family)
        return _Seen(latent_dim=self.latent_dim, made=made)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a network from rows alone to a family."""
        posterior, model = inference.posterior, inference.model
        name = type(posterior).__name__
        if isinstance(model, HasCondition | HoldsLatent):
            return Verdict(
                "refused",
                f"VampPrior: its pseudo-inputs come without the condition that {name} reads; use "
                "priors.MixtureOfGaussians or priors.ConditionalGaussian",
            )
        encodes = isinstance(posterior, HasFamily) and not isinstance(posterior, IndexesData | SharesLatent)
        if encodes:
            return Verdict("exact")
        return Verdict(
            "refused",
            f"VampPrior: {name} has no network to infer z from pseudo-inputs; use posteriors.Amortized, or "
            "priors.MixtureOfGaussians",
        )

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> VampPrior:
        """Start at rows drawn at random, hidden entries at their column's mean, in units of the data."""
        x = np.asarray(rows.x)
        mean = column_means(x, rows.mask, rows.weight)
        variance = column_means(x, rows.mask, rows.weight, about=mean).mean()
        scale = np.full(len(mean), np.sqrt(variance) if variance > 0 else 1.0)
        frame = Frame(jnp.asarray(mean, jnp.float32), jnp.asarray(scale, jnp.float32))
        to_rows, to_noise = jax.random.split(key)
        weight = None if rows.weight is None else jnp.asarray(np.asarray(rows.weight) / np.sum(rows.weight))
        few = len(x) < len(self.pseudo) or weight is not None
        chosen = np.asarray(jax.random.choice(to_rows, len(x), (len(self.pseudo),), replace=few, p=weight))
        picked = x[chosen] if rows.mask is None else np.where(np.asarray(rows.mask)[chosen], x[chosen], mean)
        noise = 0.01 * jax.random.normal(to_noise, self.pseudo.shape)  # a row drawn twice comes apart
        pseudo = frame.enter(jnp.asarray(picked, jnp.float32)) + noise
        return eqx.tree_at(lambda p: (p.pseudo, p.frame, p.initialized), self, (pseudo, frame, True))


class _Seen(AbstractPrior):
    """The prior as made."""

    law: ClassVar[type[dist.AbstractDensity]] = dist.Mixture
    latent_dim: int
    made: dist.Mixture

    def __call__(self, cond: Any) -> dist.Mixture:
        return self.made

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        return z
