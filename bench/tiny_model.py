"""The regression of `tiny_svi` as a user of jensen writes it."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from jensen import dist
from jensen.core import AbstractLatentModel, Datum


class Regression(AbstractLatentModel):
    """y ~ N(x·w + b, exp(s)²) with z = (b, s, w) standard normal; x is the condition, y the datum."""

    prior_law: ClassVar[type[dist.AbstractDistribution]] = dist.DiagGaussian
    num_features: int

    def prior_of(self, cond: Any) -> dist.DiagGaussian:
        size = self.num_features + 2
        return dist.DiagGaussian(jnp.zeros(size), jnp.ones(size))

    def log_likelihood(self, z: Any, datum: Datum):
        b, s, w = z[0], z[1], z[2:]
        return dist.DiagGaussian(datum.cond @ w + b[None], jnp.exp(s)[None]).log_prob(datum.x)

    def log_joint(self, z: Any, datum: Datum):
        return self.prior_of(datum.cond).log_prob(z) + self.log_likelihood(z, datum)
