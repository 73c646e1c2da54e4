"""A prior over the entries of a learned codebook."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jensen import dist
from jensen.errors import at_least, check_key
from jensen.models.priors.base import AbstractPrior
from jensen.typing import Array, Float, PRNGKey


class Codebook(AbstractPrior):
    """V latents, each one of K places in d dimensions, with learned odds; z is the places, joined.

    With ``posteriors.VectorQuantized`` and ``gradients.StraightThrough()`` a decoder under it is a
    vector-quantized autoencoder whose bound log p(x | z) + log p(z) is a true one: q is a single point, so
    its entropy is 0, and the odds of codes are learned with everything else.

    Args:
        num_codes: K.
        num_variables: V.
        code_dim: d.
        key: Randomness of the initial places, on a sphere of radius √d.

    References:
        van den Oord, Vinyals & Kavukcuoglu 2017.

    Example:
        >>> import jax
        >>> prior = Codebook(16, 4, 2, key=jax.random.key(0))
        >>> z, log_p = prior(None).sample_and_log_prob(key=jax.random.key(1))
        >>> z.shape, log_p.shape
        ((8,), (4,))
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Codes
    num_codes: int
    num_variables: int
    code_dim: int
    places: Float[Array, "k d"]
    logits: Float[Array, "v k"]

    def __init__(self, num_codes: int, num_variables: int, code_dim: int, *, key: PRNGKey):
        check_key(key)
        at_least("prior", 2, num_codes=num_codes)
        at_least("prior", 1, num_variables=num_variables, code_dim=code_dim)
        self.num_codes = num_codes
        self.num_variables = num_variables
        self.code_dim = code_dim
        places = jax.random.normal(key, (num_codes, code_dim))
        self.places = places / jnp.sqrt((places**2).mean(-1, keepdims=True))
        self.logits = jnp.zeros((num_variables, num_codes))

    @property
    def latent_dim(self) -> int:
        """V·d."""
        return self.num_variables * self.code_dim

    def __call__(self, cond: Any) -> dist.Codes:
        """Return the learned odds."""
        return dist.Codes(self.places, self.logits)

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z
