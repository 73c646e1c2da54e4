"""Mixtures of Gaussians with a prior on their parameters."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import ChecksData, Datum, HasPredictive, InitializesFromData
from jensen.dist import Categorical, Dirichlet, Factors
from jensen.errors import at_least, check_key
from jensen.models.static.conjugate import (
    Given,
    HasConjugatePrior,
    Prior,
    checked_given,
    concentration_of,
    conjugate_prior,
    expected_gaussian,
    filled,
    first_emission,
    gaussian_log_prob,
    prior_from,
    refuse_missing,
    whitened_moments,
)
from jensen.models.static.framed import HasFrame, frame_of, standardized
from jensen.models.static.mixture import GaussianMixture
from jensen.models.static.start import check_rows, k_means, weights_of
from jensen.nets import Frame
from jensen.typing import Array, Float, PRNGKey, Scalar

NAME = "BayesianGaussianMixture"


class BayesianGaussianMixture(HasConjugatePrior, HasPredictive, HasFrame, ChecksData, InitializesFromData):
    r"""π ~ Dir(α₀), (μ_k, Λ_k) ~ Normal–Wishart, z_i ~ π, x_i ~ N(μ_{z_i}, Λ_{z_i}⁻¹).

    The latent, seen from outside, is θ = (π, μ, Λ), one for all rows; ``log_likelihood`` sums z_i out.
    ``fit.em`` climbs the mean-field bound on log p(x_1, …, x_N) by coordinate ascent; components that the
    data do not need keep their prior and a weight near zero. θ lives in standardized coordinates; what
    ``expected`` returns is in the data's own units.

    Args:
        num_components: Most components, K.
        data_dim: Number D of columns.
        concentration: α₀, rows each weight is worth before any is seen; 1/K by default. Small ones empty
            components that are not needed.
        strength: Rows that the prior mean is worth.
        dof: Degrees of freedom of the Wishart law, above D − 1; D by default.
        prior_mean: (D,), in the data's units; the data's mean by default.
        prior_scatter: (D, D), the inverse scale of the Wishart law: E[Λ] = dof·prior_scatter⁻¹; the data's
            covariance by default.
        key: Unused, as nothing is random before data is seen; kept so that all models are made alike.

    Raises:
        InputError: If a number is out of range or a shape disagrees.

    References:
        Bishop 2006, *Pattern Recognition and Machine Learning*, section 10.2.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> rng = np.random.default_rng(0)
        >>> x = np.concatenate([rng.normal(-5.0, 1.0, (50, 1)), rng.normal(5.0, 1.0, (50, 1))])
        >>> fitted = fit.em(BayesianGaussianMixture(4, 1, key=jax.random.key(0)), x, key=jax.random.key(1))
        >>> mixture = fitted.model.expected(fitted.inference.posterior.factors)
        >>> int((mixture.weights > 0.05).sum())
        2
    """

    prior: Prior
    frame: Frame
    given: Given
    num_components: int
    data_dim: int
    initialized: bool

    def __init__(
        self,
        num_components: int,
        data_dim: int,
        *,
        concentration: float | None = None,
        strength: float = 1.0,
        dof: float | None = None,
        prior_mean: Any = None,
        prior_scatter: Any = None,
        key: PRNGKey,
    ):
        check_key(key)
        k, d = num_components, data_dim
        at_least(NAME, 1, num_components=k, data_dim=d)
        alpha = concentration_of(NAME, k, concentration)
        self.prior = Prior(
            Factors(
                {
                    "emission": conjugate_prior(NAME, k, d, strength, dof),
                    "weights": Dirichlet(filled((1, k), alpha)),
                }
            )
        )
        self.frame = Frame.identity(d)
        self.given = checked_given(NAME, d, prior_mean, prior_scatter)
        self.num_components, self.data_dim = k, d
        self.initialized = False

    def log_likelihood(self, z: dict[str, Any], datum: Datum) -> Scalar:
        """Return log Σ_k π_k N(x; μ_k, Λ_k⁻¹), in nats."""
        return jax.nn.logsumexp(z["weights"][0] + self._log_prob(z, datum))

    def local(self, q: Factors, datum: Datum) -> Categorical:
        """Return q(z) of one row: the responsibilities."""
        return Categorical(self._scores(q, self.frame.enter(jnp.asarray(datum.x))[None])[1][:, 0])

    def local_bound(self, q: Factors, datum: Datum) -> Scalar:
        """Return E_q[log p(x, z | θ)] + H(q(z)), in nats."""
        return jax.nn.logsumexp(self.local(q, datum).logits) - self.frame.log_scale()

    def log_predictive(self, q: Factors, datum: Datum) -> Scalar:
        """Return the log-density of a mixture of Student-t laws, the predictive law, in nats."""
        emission = q["emission"]
        y = emission.whiten(self.frame.enter(jnp.asarray(datum.x))[None])
        each = emission.predictive_log_prob(y)[:, 0] + jnp.log(q["weights"].mean[0])
        return jax.nn.logsumexp(each) - self.frame.log_scale()

    def local_step(self, q: Factors, rows: Datum) -> dict[str, Any]:
        """Sum responsibilities and whitened moments over rows."""
        x = self.frame.enter(jnp.asarray(rows.x))
        weight = jnp.ones(len(x)) if rows.weight is None else jnp.asarray(rows.weight)
        y, scores = self._scores(q, x)
        total = jax.nn.logsumexp(scores, 0)
        r = jnp.exp(scores - total) * weight
        return {
            "bound": weight @ total - self.frame.log_scale() * weight.sum(),
            "weight": weight.sum(),
            "emission": whitened_moments(r, y),
        }

    def global_step(self, q: Factors, statistics: dict[str, Any]) -> Factors:
        """Return the conjugate posterior given the responsibilities."""
        prior, moments = self.prior.factors, statistics["emission"]
        weights = Dirichlet(prior["weights"].concentration + moments["count"])
        return Factors({"emission": prior["emission"].updated(q["emission"], **moments), "weights": weights})

    def first_factors(self, rows: Datum, *, key: PRNGKey) -> Factors:
        """Start from k-means clusters."""
        y, weight = standardized(self.frame, rows), weights_of(rows)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        _, label = k_means(y, weight, self.num_components, rng)
        emission, count = first_emission(self.prior.factors["emission"], y, weight, label)
        return Factors(
            {"emission": emission, "weights": Dirichlet(self.prior.factors["weights"].concentration + count)}
        )

    def expected(self, q: Factors) -> GaussianMixture:
        """Return the mixture at E[π], E[μ] and E[Λ]⁻¹, in the data's own units: to sample or encode."""
        weights = np.asarray(q["weights"].mean[0], np.float64)
        return GaussianMixture.with_parameters(weights, *expected_gaussian(q["emission"], self.frame))

    def check_data(self, rows: Datum) -> None:
        """Refuse missing entries."""
        refuse_missing(self, rows)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> BayesianGaussianMixture:
        """Choose the coordinates, and what of the prior the data were to choose."""
        check_rows(self, rows, max(self.num_components, 2))
        frame = frame_of(rows, False)
        y, weight = standardized(frame, rows), weights_of(rows)
        prior = self.prior.factors
        emission = prior_from(prior["emission"], self.given, frame, y, weight)
        factors = Factors({**prior.laws, "emission": emission})
        return eqx.tree_at(lambda m: (m.prior, m.frame, m.initialized), self, (Prior(factors), frame, True))

    def _log_prob(self, z: dict[str, Any], datum: Datum) -> Float[Array, "k"]:
        x = self.frame.enter(jnp.asarray(datum.x))
        return gaussian_log_prob(z["emission"], x[None])[:, 0] - self.frame.log_scale()

    def _scores(
        self, q: Factors, x: Float[Array, "n d"]
    ) -> tuple[Float[Array, "k d n"], Float[Array, "k n"]]:
        y = q["emission"].whiten(x)
        return y, q["emission"].expected_log_prob(y) + q["weights"].expected_log[0][:, None]
