"""Members as a user would write them, right or with one fault planted."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen import dist
from jensen.core import (
    AbstractGradient,
    AbstractLatentModel,
    AbstractPosterior,
    Datum,
    Estimate,
    HasExactEvidence,
    Losses,
    MeanOverDraws,
    Terms,
    Verdict,
    independent_draws,
)
from jensen.dist import stop
from jensen.gradients.common import make_draws

DATUM = Datum(jnp.array([0.3, -1.2]))


def normal(x: Any, loc: Any, scale: Any) -> Any:
    return -0.5 * ((x - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi)


class Line(AbstractLatentModel, HasExactEvidence):
    """z standard normal, x_i = z_i + 0.5·noise: two numbers, two latents."""

    fault: str = eqx.field(static=True, default="")
    shift: Any = eqx.field(default_factory=lambda: jnp.array([0.1, 0.2]))

    @property
    def prior_law(self):
        return dist.DiagGaussian

    def prior_of(self, cond):
        law = Normal(jnp.zeros(2), jnp.ones(2), "narrow" if self.fault == "prior" else "")
        return law if self.fault == "prior" else dist.DiagGaussian(jnp.zeros(2), jnp.ones(2))

    def log_likelihood(self, z, datum):
        each = normal(datum.x, z + self.shift, 0.5)
        if self.fault == "batch axis":
            each = each / each.shape[0] * 2 + 0 * jnp.mean(datum.x, 0)
            return each.sum() if datum.x.ndim < 2 else each
        if datum.mask is not None and self.fault != "reads hidden":
            each = jnp.where(datum.mask, each, 0.0)
        return each.sum()

    def log_joint(self, z, datum):
        prior = self.prior_of(datum.cond).log_prob(z).sum()
        return self.log_likelihood(z, datum) + (2 if self.fault == "prior twice" else 1) * prior

    def log_evidence(self, datum):
        scale = jnp.sqrt(1.25) * (0.7 if self.fault == "evidence" else 1.0)
        return normal(datum.x, self.shift, scale).sum()


class Normal(dist.AbstractDensity, dist.Reparameterized):
    loc: Any
    scale: Any
    fault: str = eqx.field(static=True, default="")

    def log_prob(self, z):
        scale = 0.9 * self.scale if self.fault == "narrow" else self.scale
        each = normal(z, self.loc, scale)
        return each if self.fault == "groups" else each.sum()

    def sample_and_log_prob(self, *, key):
        key = jax.random.key(0) if self.fault == "key reuse" else key
        noise = jax.random.normal(key, () if self.fault == "shared noise" else (2,))
        z = self.loc + self.scale * noise
        z = stop(z) if self.fault == "no path" else z
        return z, self.log_prob(z) + (0.1 if self.fault == "two densities" else 0.0)


@dist.register_kl(Normal, dist.DiagGaussian)
def _kl(q, p, z):
    own, other = dist.DiagGaussian(q.loc, q.scale), dist.DiagGaussian(p.loc, p.scale)
    pair = (other, own) if q.fault == "swapped kl" else (own, other)
    each = dist.kl_per_dimension(*pair)
    return each[:-1].sum() if q.fault == "one entry too few" else each.sum()


class Guess(AbstractPosterior):
    """z_i a line in x_i, with a scale of its own."""

    slope: Any = eqx.field(default_factory=lambda: jnp.array([0.7, 0.9]))
    log_scale: Any = eqx.field(default_factory=lambda: jnp.array([-0.5, -0.9]))
    fault: str = eqx.field(static=True, default="")

    def __call__(self, model, datum, *, key):
        x = datum.x
        if datum.mask is not None and self.fault != "reads hidden":
            x = jnp.where(datum.mask, x, 0.0)
        return Normal(self.slope * x, jnp.exp(self.log_scale), self.fault)

    def law(self, model):
        return dist.DiagGaussian if self.fault == "law" else Normal

    def rule(self, inference):
        return Verdict("exact")


class Bound(MeanOverDraws):
    """The evidence lower bound once more."""

    num_samples: int = 2
    fault: str = eqx.field(static=True, default="")
    closed_form_kl: str = "sampled"

    def draw(self, model, q, datum, *, key, share):
        terms = independent_draws(model, q, datum, self.num_samples, key=key, share=share)
        if self.fault == "shared noise":
            terms = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), terms)
        return jax.tree.map(lambda leaf: leaf[0], terms) if self.fault == "no axis" else terms

    def bound(self, terms: Terms):
        entropy = 0.0 if self.fault == "dropped entropy" else terms.log_q.sum(-1)
        twice = 2 if self.fault == "above" else 1
        return jnp.mean(terms.log_joint - entropy) / (twice if self.fault == "above" else 1)

    def losses(self, terms, step):
        beta = 0.5 if self.fault == "not plain" else 1.0
        loss = -jnp.mean(terms.log_joint - beta * terms.log_q.sum(-1))
        if self.fault == "not linear":
            loss = -jnp.mean(terms.log_joint - terms.log_q.sum(-1)) + 0 * loss + _kink(terms)
        return Losses.both(loss)

    def rule(self, inference):
        return Verdict("exact")

    @property
    def linear(self):
        return True

    @property
    def plain(self):
        return self.fault != "not linear"


def _kink(terms):
    return jnp.mean(
        jnp.abs(terms.log_q.sum(-1) - stop(terms.log_q.sum(-1)) + 0.0) + jnp.square(terms.log_q.sum(-1))
    )


class Slope(AbstractGradient):
    """The plain score function."""

    fault: str = eqx.field(static=True, default="")

    def init(self, inference):
        return jnp.zeros(()) if self.fault == "state" else None

    def __call__(self, inference, datum, *, key, step, num_data, state):
        draws = make_draws(inference, datum, key=key, num_data=num_data, wrap=dist.StoppedSample)
        terms, _ = draws(inference.model, inference.posterior)
        losses = -(terms.log_joint - terms.log_q.sum(-1))
        score = terms.log_q.sum(-1)
        signal = stop(losses)
        if self.fault == "own baseline":
            signal = signal - signal.mean()
        surrogate = jnp.mean(losses + signal * (score - stop(score)))
        if self.fault == "no score":
            surrogate = jnp.mean(losses)
        value = inference.objective.bound(terms)
        return Estimate(surrogate, stop(value + (1.0 if self.fault == "value" else 0.0)), None, terms)

    def rule(self, inference):
        return Verdict("biased" if self.fault == "says so" else "unbiased")
