"""The score function with a relaxation of the same noise as its control variate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import AbstractGradient, AbstractInference, Datum, Estimate, Losses, MeanOverDraws, Verdict
from jensen.dist import AbstractDensity, Bernoulli, OneHot, StoppedSample, kl_divergence, register_kl, stop
from jensen.errors import positive
from jensen.gradients.baselines import NoBaseline, checked_decay
from jensen.gradients.common import Evaluation, couples_data, descend, make_draws
from jensen.gradients.relaxed import soft
from jensen.typing import Array, Float, Int, PRNGKey, Scalar, Schedule

Relax = Callable[..., Float[Array, "d"]]


class Fitness(NamedTuple):
    """How well the control variate h has followed the plain estimate a: running means of a·h and of h·h."""

    together: Scalar
    alone: Scalar

    def scale(self) -> Scalar:
        """Return η = −E[a·h]/E[h·h], at which a + η h is least noisy, within [0, 2]; 1 before any step."""
        known = self.alone > 0
        return jnp.where(known, jnp.clip(-self.together / jnp.where(known, self.alone, 1.0), 0.0, 2.0), 1.0)

    def after(self, a: Array, h: Array, decay: float) -> Fitness:
        """Return the means with one more estimate."""
        pairs = zip(self, (jnp.sum(a * h), jnp.sum(h * h)), strict=True)
        return Fitness(*(decay * old + (1 - decay) * new for old, new in pairs))


class REBAR(AbstractGradient):
    r"""(f(b) − η f(z̃)) ∇log q(b) + η ∇f(z) − η ∇f(z̃), for bits or one-hot blocks. Unbiased.

    b is the discrete sample, z the relaxed sample of the same noise, z̃ a relaxed sample drawn afresh given b:
    where the relaxation is good, f(z̃) cancels what of f(b) is noise, and ∇f(z) − ∇f(z̃) puts back its mean.
    The gradient is taken in the logits. η is the constant that was best in the steps before, from two
    running means; τ is fixed, or follows a schedule. Needs one draw; costs about three passes.

    Args:
        temperature: τ of the relaxation, a number or a function of the step.
        decay: How much of the running means is kept at each step.

    Raises:
        InputError: If the temperature is not positive, or the decay not in [0, 1).

    References:
        Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein 2017.

    Example:
        >>> import jax, jensen as jn
        >>> prior, key = jn.models.priors.Bernoulli(4), jax.random.key(0)
        >>> model = jn.models.Decoder(5, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.Bernoulli(4), data_dim=5, widths=(), key=key)
        >>> jn.Inference(model, q, jn.objectives.ELBO(), REBAR()).check().kind
        'unbiased'
    """

    temperature: float | Schedule
    decay: float

    def __init__(self, temperature: float | Schedule = 0.5, *, decay: float = 0.99):
        if not callable(temperature):
            positive("REBAR", temperature=temperature)
        self.temperature = temperature
        self.decay = checked_decay("REBAR", decay)

    def init(self, inference: AbstractInference) -> Fitness:
        """Nothing seen."""
        return Fitness(jnp.zeros(()), jnp.zeros(()))

    def __call__(
        self,
        inference: AbstractInference,
        datum: Datum,
        *,
        key: PRNGKey,
        step: Int[Array, ""],
        num_data: Any,
        state: Fitness,
    ) -> Estimate:
        """Estimate for one datum."""
        objective = inference.objective
        plain, control = self._parts(inference, datum, key=key, step=step, num_data=num_data)
        slope = stop(plain + state.scale() * control)
        draws = make_draws(inference, datum, key=key, num_data=num_data, wrap=_held)

        def evaluate(model: Any, posterior: Any) -> Evaluation:
            terms, q = draws(model, posterior)
            if isinstance(objective, MeanOverDraws) and objective.linear:
                # here the direct −∇log q is pure noise: its expectation is zero
                terms = eqx.tree_at(lambda t: t.log_q, terms, stop(terms.log_q))
            losses = objective.losses(terms, step)
            scores = jnp.sum(slope * (q.logits - stop(q.logits)))
            both = Losses.both(losses.model + scores)
            each = both if losses.shared else Losses(losses.model, losses.posterior + scores)
            return Evaluation(each, objective.bound(terms), terms, q)

        out = descend(inference, evaluate)
        return Estimate(
            out.surrogate, out.value, stop(state.after(plain, control, self.decay)), out.terms, out.q
        )

    def _parts(
        self, inference: AbstractInference, datum: Datum, *, key: PRNGKey, step: Int[Array, ""], num_data: Any
    ) -> tuple[Array, Array]:
        """Return the plain estimate of the gradient in the logits, and the control variate of mean zero."""
        objective = inference.objective
        model, posterior = stop(inference.model), stop(inference.posterior)
        tau = self.temperature(step) if callable(self.temperature) else jnp.asarray(self.temperature)

        def signals(wrap: Any) -> tuple[Scalar, tuple[Array, Any, Any]]:
            terms, q = make_draws(inference, datum, key=key, num_data=num_data, wrap=wrap)(model, posterior)
            loss = objective.losses(terms, step).posterior
            return loss, (NoBaseline().signals(objective, terms, step), terms.z, q)

        def along(logits: Array, relax: Relax) -> tuple[Scalar, tuple[Array, Any, Any]]:
            return signals(lambda q: Path(eqx.tree_at(lambda law: law.logits, q, logits), tau, relax))

        _, (f, z, q) = signals(_held)
        slopes = jax.grad(along, has_aux=True)
        free, _ = slopes(q.logits, soft)
        tied, (f_tied, *_) = slopes(q.logits, soft_given)
        scores = (z - q.mean).reshape(-1, *q.logits.shape)  # ∇ log q in the logits, draw by draw
        return jnp.tensordot(f, scores, 1), free - tied - jnp.tensordot(f_tied, scores, 1)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a law that can be relaxed, and no term across data."""
        law = inference.posterior.law(inference.model)
        if not issubclass(law, OneHot | Bernoulli):
            return Verdict(
                "refused",
                f"REBAR is for bits and one-hot blocks, not {law.__name__}; use families.Bernoulli, "
                "families.OneHot, or another gradient: gradients.Reparam(), gradients.ScoreFunction()",
            )
        if couples_data(inference):
            return Verdict(
                "refused", "REBAR: a term across the batch has no score; use free_bits_over='datum'"
            )
        return Verdict("unbiased")


class Path(AbstractDensity):
    """A discrete law sampled softly, where nothing but the path of the sample is differentiated."""

    base: Any
    temperature: Scalar
    relax: Relax = eqx.field(static=True)

    def log_prob(self, z: Float[Array, "d"]) -> Array:
        """Return the discrete law's log-probability, extended to what lies between its values."""
        return stop(self.base).log_prob(z)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Array]:
        """Draw softly."""
        z = self.relax(self.base, self.temperature, key=key)
        return z, self.log_prob(z)


def soft_given(law: OneHot | Bernoulli, temperature: Scalar, *, key: PRNGKey) -> Float[Array, "d"]:
    """Draw a relaxed sample afresh among those that harden to what the law itself draws from the key."""
    hard = stop(law.sample_and_log_prob(key=key)[0])
    fresh = jax.random.fold_in(key, 1)
    if isinstance(law, OneHot):
        own = hard.reshape(law.logits.shape)
        waits = jnp.log(jax.random.exponential(fresh, own.shape, own.dtype) + jnp.finfo(own.dtype).tiny)
        first = jnp.sum(own * waits, -1, keepdims=True)
        later = jnp.logaddexp(waits - jax.nn.log_softmax(law.logits), first)
        return jax.nn.softmax(-jnp.where(own > 0, first, later) / temperature).reshape(-1)
    uniform = jax.random.uniform(fresh, hard.shape, hard.dtype, minval=jnp.finfo(hard.dtype).tiny)
    odds = jax.scipy.special.logit(uniform)
    sign = 2 * hard - 1  # a logistic variable about the logit, cut off at zero on the side of the bit
    return jax.nn.sigmoid(sign * jax.nn.softplus(jax.nn.softplus(sign * law.logits) - odds) / temperature)


def _held(q: Any) -> Any:
    return StoppedSample(q)


@register_kl(Path, OneHot)
@register_kl(Path, Bernoulli)
def _of_the_discrete(q: Path, p: OneHot | Bernoulli, z: Any) -> Any:
    return kl_divergence(stop(q.base), p, z)
