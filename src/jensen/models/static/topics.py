"""Latent Dirichlet allocation: documents as mixtures of topics."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma

from jensen.core import ChecksData, Datum, IteratesLocally
from jensen.dist import Dirichlet, Factors, kl_divergence
from jensen.errors import InputError, at_least, check_key
from jensen.models.static.conjugate import HasConjugatePrior, Prior, concentration_of, filled, refuse_missing
from jensen.typing import Array, Float, PRNGKey, Scalar, Shaped

INNER = 1_000
"""Most passes over one document's proportions."""

SETTLED = 1e-4
"""Proportions are settled when a pass moves their parameters by less than this many words, in the mean."""


class _Inferred(NamedTuple):
    """What is inferred of documents: q(π) = Dir(γ), and the pieces of every word's topic probabilities."""

    gamma: Float[Array, "n k"]
    proportions: Float[Array, "n k"]
    topics: Float[Array, "k v"]
    norm: Float[Array, "n v"]
    bound: Float[Array, "n"]


class LDA(HasConjugatePrior, IteratesLocally, ChecksData):
    r"""Topics β_k ~ Dir(η); of each document, proportions π ~ Dir(α), and every word's topic ~ π, word ~ β.

    A datum is a vector of word counts; its density is that of the words in a given order, without the
    multinomial coefficient. The latent, seen from outside, is the topics, one set for all documents. Given
    them a document's log p(x | β) has no closed form: ``log_likelihood`` is its mean-field bound from below,
    over the document's own proportions, so every density that is made of it is a lower bound too.

    Args:
        num_topics: Number K of topics.
        data_dim: Size V of the vocabulary.
        concentration: α, of proportions; 1/K by default.
        topic_concentration: η, of topics; 1/K by default.
        key: Unused, as nothing is random before data is seen; kept so that all models are made alike.

    Raises:
        InputError: If a number is out of range.

    References:
        Blei, Ng & Jordan 2003; Hoffman, Blei & Bach 2010.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> x = np.repeat([[9, 8, 0, 0], [0, 0, 7, 9]], 20, axis=0)
        >>> fitted = fit.em(LDA(2, 4, key=jax.random.key(0)), x, key=jax.random.key(1))
        >>> topics = fitted.inference.posterior.factors["topics"].mean
        >>> sorted(np.asarray(topics[:, :2].sum(1)).round(1).tolist())
        [0.0, 1.0]
    """

    prior: Prior
    concentration: float
    num_topics: int
    data_dim: int

    def __init__(
        self,
        num_topics: int,
        data_dim: int,
        *,
        concentration: float | None = None,
        topic_concentration: float | None = None,
        key: PRNGKey,
    ):
        check_key(key)
        k, v = num_topics, data_dim
        at_least("LDA", 1, num_topics=k)
        at_least("LDA", 2, data_dim=v)
        eta = concentration_of("LDA", k, topic_concentration, "topic_concentration")
        self.prior = Prior(Factors({"topics": Dirichlet(filled((k, v), eta))}))
        self.concentration = concentration_of("LDA", k, concentration)
        self.num_topics, self.data_dim = k, v

    def log_likelihood(self, z: dict[str, Any], datum: Datum) -> Scalar:
        """Return a lower bound on log p(x | β), in nats."""
        return self._infer(z["topics"], jnp.asarray(datum.x)[None]).bound[0]

    def local(self, q: Factors, datum: Datum) -> Dirichlet:
        """Return q(π) of one document: one row."""
        return Dirichlet(self._infer(q["topics"].expected_log, jnp.asarray(datum.x)[None]).gamma)

    def local_bound(self, q: Factors, datum: Datum) -> Scalar:
        """Return E_q[log p(x, π, words' topics | β)] + H(q), in nats."""
        return self._infer(q["topics"].expected_log, jnp.asarray(datum.x)[None]).bound[0]

    def local_step(self, q: Factors, rows: Datum) -> dict[str, Any]:
        """Sum how many words of each kind every topic made."""
        x = jnp.asarray(rows.x)
        weight = jnp.ones(len(x)) if rows.weight is None else jnp.asarray(rows.weight)
        got = self._infer(q["topics"].expected_log, x)
        counts = got.topics * (got.proportions.T @ (weight[:, None] * x / got.norm))
        return {"bound": weight @ got.bound, "weight": weight.sum(), "counts": counts}

    def global_step(self, q: Factors, statistics: dict[str, Any]) -> Factors:
        """Return the conjugate posterior of the topics."""
        return Factors(
            {"topics": Dirichlet(self.prior.factors["topics"].concentration + statistics["counts"])}
        )

    def first_factors(self, rows: Datum, *, key: PRNGKey) -> Factors:
        """Start from topics drawn around one, which break the symmetry."""
        shape = (self.num_topics, self.data_dim)
        return Factors({"topics": Dirichlet(jax.random.gamma(key, 100.0, shape) / 100.0)})

    def check_data(self, rows: Datum) -> None:
        """Refuse what are no counts."""
        refuse_missing(self, rows)
        x = np.asarray(rows.x)
        if x.ndim != 2:
            raise InputError(f"LDA takes word counts (N, V), got shape {x.shape}")
        bad = (x < 0) | (x != np.floor(x))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InputError(
                f"LDA: x[{row}, {column}] is {x[row, column]:g}, not a count: give whole numbers from 0"
            )

    def _infer(self, expected_log: Float[Array, "k v"], x: Shaped[Array, "n v"]) -> _Inferred:
        """Infer documents' proportions: fixed-point passes from even ones, all documents at once.

        A settled document stays as it is, so that the others do not matter to it.
        """
        x = x.astype(expected_log.dtype)
        prior = jnp.asarray(self.concentration, x.dtype)
        # only ratios within a word, and within a document, matter on the way: their maxima are put back last
        top = expected_log.max(0)
        topics = jnp.exp(expected_log - top)

        def see(gamma: Array) -> tuple[Array, Array, Array]:
            log_pi = digamma(gamma) - digamma(gamma.sum(1, keepdims=True))
            most = log_pi.max(1, keepdims=True)
            proportions = jnp.exp(log_pi - most)
            return proportions, jnp.maximum(proportions @ topics, jnp.finfo(x.dtype).tiny), most

        def one_pass(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            gamma, moving, count = state
            proportions, norm, _ = see(gamma)
            new = prior + proportions * ((x / norm) @ topics.T)
            new = jnp.where(moving[:, None], new, gamma)
            return new, jnp.abs(new - gamma).mean(1) > settled, count + 1

        def unsettled(state: tuple[Array, Array, Array]) -> Array:
            return state[1].any() & (state[2] < INNER)

        words = x.sum(1)
        settled = jnp.maximum(SETTLED, jnp.finfo(x.dtype).eps * words)  # long documents never come to rest
        even = jnp.broadcast_to(prior + words[:, None] / self.num_topics, (len(x), self.num_topics))
        start = even, jnp.ones(len(x), bool), jnp.asarray(0)
        gamma, _, _ = jax.lax.while_loop(unsettled, one_pass, start)
        proportions, norm, most = see(gamma)

        def divergence(row: Array) -> Array:
            return _kl(Dirichlet(row[None]), Dirichlet(jnp.full((1, self.num_topics), prior)))

        bound = (x * (jnp.log(norm) + top + most)).sum(1) - jax.vmap(divergence)(gamma)
        return _Inferred(gamma, proportions, topics, norm, bound)


def _kl(q: Dirichlet, p: Dirichlet) -> Scalar:
    kl = kl_divergence(q, p, None)
    assert kl is not None  # registered beside the law
    return kl.sum()
