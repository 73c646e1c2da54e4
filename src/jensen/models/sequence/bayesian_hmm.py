"""Hidden Markov models with a prior on their parameters."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import hmm
from jensen.core import ChecksData, Datum, InitializesFromData
from jensen.dist import Dirichlet, Factors, MarkovPath
from jensen.errors import InputError, at_least, check_key
from jensen.models.sequence.hmm import HMM
from jensen.models.sequence.hmm_data import check_sequences, flat_steps
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
from jensen.models.static.start import k_means, weights_of
from jensen.nets import Frame
from jensen.typing import Array, Float, PRNGKey, Scalar

NAME = "BayesianHMM"


class BayesianHMM(HasConjugatePrior, HasFrame, ChecksData, InitializesFromData):
    r"""A Gaussian HMM whose initial law, rows of transitions, means and precisions have conjugate priors.

    The latent, seen from outside, is θ = (initial, transition, emission), one for all sequences;
    ``log_likelihood`` sums over paths exactly. ``fit.em`` climbs the mean-field bound on the log-evidence of
    all sequences: paths are inferred by the forward-backward recursion at exp E[log θ]. States that the data
    do not need keep their prior. θ lives in standardized coordinates; ``expected`` returns the data's units.

    Args:
        num_states: Most states, K.
        data_dim: Number D of columns.
        concentration: Dirichlet parameter of every entry of the initial law and of each row of transitions;
            1/K by default. Small ones empty states that are not needed.
        strength: Steps that the prior mean is worth.
        dof: Degrees of freedom of the Wishart law, above D − 1; D by default.
        prior_mean: (D,), in the data's units; the data's mean by default.
        prior_scatter: (D, D), the inverse scale of the Wishart law; the data's covariance by default.
        key: Unused, as nothing is random before data is seen; kept so that all models are made alike.

    Raises:
        InputError: If a number is out of range or a shape disagrees.

    References:
        MacKay 1997, *Ensemble learning for hidden Markov models*; Beal 2003, chapter 3.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> level = np.repeat([0.0, 6.0, 0.0, 6.0], 25)
        >>> x = (level + np.random.default_rng(0).normal(size=100))[None, :, None]
        >>> fitted = fit.em(BayesianHMM(4, 1, key=jax.random.key(0)), x, key=jax.random.key(1))
        >>> hmm = fitted.model.expected(fitted.inference.posterior.factors)
        >>> sorted(hmm.emission_parameters["means"].round()[:, 0].tolist())[0], hmm.num_states
        (0.0, 4)
    """

    prior: Prior
    frame: Frame
    given: Given
    num_states: int
    data_dim: int
    initialized: bool

    def __init__(
        self,
        num_states: int,
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
        k, d = num_states, data_dim
        at_least(NAME, 1, num_states=k, data_dim=d)
        alpha = concentration_of(NAME, k, concentration)
        laws = {
            "emission": conjugate_prior(NAME, k, d, strength, dof),
            "initial": Dirichlet(filled((1, k), alpha)),
            "transition": Dirichlet(filled((k, k), alpha)),
        }
        self.prior = Prior(Factors(laws))
        self.frame = Frame.identity(d)
        self.given = checked_given(NAME, d, prior_mean, prior_scatter)
        self.num_states, self.data_dim = k, d
        self.initialized = False

    def log_likelihood(self, z: dict[str, Any], datum: Datum) -> Scalar:
        """Return log p(x | θ) of one sequence, all paths summed over, in nats."""
        x, real = self._steps(datum)
        log_p = jnp.where(real, gaussian_log_prob(z["emission"], x), 0.0).T
        evidence = hmm.evidence(z["initial"][0], z["transition"], log_p, real.sum())
        return evidence - self.frame.log_scale() * real.sum()

    def local(self, q: Factors, datum: Datum) -> MarkovPath:
        """Return q(z) of one sequence: a Markov chain with kernels of its own at every step."""
        initial, transition, log_p, real = self._expected_logs(q, datum)
        got = hmm.messages(initial, transition, log_p, real.sum())
        steps = None if datum.steps is None else jnp.asarray(datum.steps)
        return MarkovPath(got.first, transition + got.later[:, None], steps)

    def local_bound(self, q: Factors, datum: Datum) -> Scalar:
        """Return E_q[log p(x, z | θ)] + H(q(z)) of one sequence, in nats."""
        initial, transition, log_p, real = self._expected_logs(q, datum)
        evidence = hmm.evidence(initial, transition, log_p, real.sum())
        return evidence - self.frame.log_scale() * real.sum()

    def local_step(self, q: Factors, rows: Datum) -> dict[str, Any]:
        """Sum expected transitions and whitened moments over sequences."""
        n, t = rows.x.shape[:2]
        last = jnp.full(n, t) if rows.steps is None else jnp.asarray(rows.steps)
        weight = jnp.ones(n) if rows.weight is None else jnp.asarray(rows.weight)
        real = jnp.arange(t)[:, None] < last
        # time first and sequences last, as the recursion likes them
        x = jnp.where(real[..., None], self.frame.enter(jnp.asarray(rows.x)).swapaxes(0, 1), 0.0)
        emission = q["emission"]
        y = emission.whiten(x.reshape(t * n, -1))
        log_p = emission.expected_log_prob(y).reshape(-1, t, n).swapaxes(0, 1)
        log_p = jnp.where(real[:, None], log_p, 0.0)
        initial, transition = q["initial"].expected_log[0], q["transition"].expected_log
        got = hmm.smooth(initial, transition, log_p, last)
        gamma = got.marginals * weight
        each = got.log_evidence - self.frame.log_scale() * last
        return {
            "bound": jnp.where(weight > 0, weight * each, 0.0).sum(),
            "weight": weight.sum(),
            "initial": gamma[0].sum(-1),
            "transition": (got.pairs * weight).sum(-1),
            "emission": whitened_moments(gamma.swapaxes(0, 1).reshape(-1, t * n), y),
        }

    def global_step(self, q: Factors, statistics: dict[str, Any]) -> Factors:
        """Return the conjugate posterior given the paths."""
        return self._posterior(
            self.prior.factors["emission"].updated(q["emission"], **statistics["emission"]),
            statistics["initial"],
            statistics["transition"],
        )

    def first_factors(self, rows: Datum, *, key: PRNGKey) -> Factors:
        """Start from k-means clusters of the steps, and the transitions between them."""
        steps, ends = flat_steps(rows)
        y, weight = standardized(self.frame, steps), weights_of(steps)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        _, label = k_means(y, weight, self.num_states, rng)
        emission, _ = first_emission(self.prior.factors["emission"], y, weight, label)
        k = self.num_states
        initial, pairs = np.zeros(k), np.zeros((k, k))
        begins = np.concatenate([[True], ends[:-1]])
        np.add.at(initial, label[begins], weight[begins])
        inside = ~ends[:-1]
        np.add.at(pairs, (label[:-1][inside], label[1:][inside]), weight[1:][inside])
        return self._posterior(emission, initial, pairs)

    def expected(self, q: Factors) -> HMM:
        """Return the HMM at the means of q(θ) and E[Λ]⁻¹, in the data's own units: to filter or sample."""
        means, covariances = expected_gaussian(q["emission"], self.frame)
        initial, transition = (np.asarray(q[name].mean, np.float64) for name in ("initial", "transition"))
        initial, transition = (p / p.sum(-1, keepdims=True) for p in (initial[0], transition))
        return HMM.with_parameters(initial, transition, means=means, covariances=covariances)

    def check_data(self, rows: Datum) -> None:
        """Refuse what are not sequences, inputs, and missing entries."""
        if np.ndim(rows.x) != 3:
            raise InputError(
                f"{NAME} takes sequences (N, T, D), got shape {np.shape(rows.x)}: "
                "use x[None] for one sequence of rows"
            )
        if rows.cond is not None:
            raise InputError(f"{NAME}: cond was given, but the model has no inputs; leave it out, or use HMM")
        check_sequences(rows, 0)
        refuse_missing(self, rows)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> BayesianHMM:
        """Choose the coordinates, and what of the prior the data were to choose.

        Raises:
            InputError: If there are fewer real steps than states.
        """
        steps, _ = flat_steps(rows)
        if len(steps.x) < max(self.num_states, 2):
            raise InputError(f"{NAME}: {len(steps.x)} real steps for {self.num_states} states; add data")
        frame = frame_of(steps, False)
        y, weight = standardized(frame, steps), weights_of(steps)
        laws = self.prior.factors.laws
        emission = prior_from(laws["emission"], self.given, frame, y, weight)
        prior = Prior(Factors({**laws, "emission": emission}))
        return eqx.tree_at(lambda m: (m.prior, m.frame, m.initialized), self, (prior, frame, True))

    def _posterior(self, emission: Any, initial: Any, pairs: Any) -> Factors:
        prior = self.prior.factors
        real = prior["initial"].concentration.dtype
        first = Dirichlet(prior["initial"].concentration + jnp.asarray(initial, real))
        rest = Dirichlet(prior["transition"].concentration + jnp.asarray(pairs, real))
        return Factors({"emission": emission, "initial": first, "transition": rest})

    def _steps(self, datum: Datum) -> tuple[Float[Array, "t d"], Array]:
        t = datum.x.shape[0]
        real = jnp.arange(t) < (t if datum.steps is None else datum.steps)
        return jnp.where(real[:, None], self.frame.enter(jnp.asarray(datum.x)), 0.0), real

    def _expected_logs(self, q: Factors, datum: Datum) -> tuple[Array, Array, Array, Array]:
        x, real = self._steps(datum)
        emission = q["emission"]
        log_p = jnp.where(real, emission.expected_log_prob(emission.whiten(x)), 0.0).T
        return q["initial"].expected_log[0], q["transition"].expected_log, log_p, real
