"""Cases far from the members at hand, as a user would write them: the contracts must carry each."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import dist, families, gradients, models, objectives, posteriors
from jensen.core import (
    AbstractCarryModel,
    AbstractLatentModel,
    AbstractModel,
    AbstractObjective,
    AbstractPosterior,
    Datum,
    HasBatchTerm,
    Inference,
    LogMeanOfWeights,
    LooksAtPosterior,
    Losses,
    MeanOverDraws,
    Terms,
    Verdict,
)
from jensen.dist import Draw, stop
from jensen.errors import CombinationError, JensenWarning
from jensen.nets import trainable

KEY = jax.random.key(0)
ROW = Datum(jnp.array([1.0, -0.5, 0.7]), index=jnp.asarray(0))
SEQUENCE = Datum(jnp.array([[0.4], [-0.3], [0.9], [0.1]]), cond=jnp.ones((4, 1)))


def unverified(*four: Any) -> Inference:
    """A user's own class is let through, warned about."""
    with pytest.warns(JensenWarning, match="not jensen's own"):
        inference = Inference(*four)
    assert inference.check().kind == "unverified"
    return inference


def gradient(inference: Inference, datum: Datum, key: Any = KEY, gradient: Any = None) -> tuple[Any, Any]:
    """One gradient in (model, posterior), checked to be finite, and the reported value."""
    parts = (inference.model, inference.posterior)
    params, static = eqx.partition(parts, trainable(parts))
    estimator = inference.gradient if gradient is None else gradient

    def surrogate(params: Any, key: Any) -> Any:
        own = eqx.tree_at(lambda i: (i.model, i.posterior), inference, eqx.combine(params, static))
        step = jnp.asarray(0)
        out = estimator(own, datum, key=key, step=step, num_data=1, state=estimator.init(own))
        return out.surrogate, out.value

    run = jax.grad(surrogate, has_aux=True)
    if key.shape:
        out, value = jax.jit(jax.vmap(run, (None, 0)))(params, key)
        out, value = jax.tree.map(lambda a: a.mean(0), (out, value))
    else:
        out, value = jax.jit(run)(params, key)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((out, value)))
    return out, value


def size(tree: Any) -> float:
    return float(sum(jnp.abs(leaf).sum() for leaf in jax.tree.leaves(tree)))


def linear(i: int, o: int, seed: int = 0) -> eqx.nn.Linear:
    return eqx.nn.Linear(i, o, key=jax.random.key(seed))


def amortized(dim: int = 2) -> Any:
    return posteriors.Amortized(families.DiagGaussian(dim), data_dim=3, widths=(), key=KEY)


def decoder(dim: int = 2) -> Any:
    return models.Decoder(3, dim, likelihood="gaussian", widths=(), key=KEY)


# ---------------------------------------------------------------- RSSM: groups are time steps, one carry


class PathLaw(dist.AbstractCarrying, dist.Reparameterized):
    """q(z_1..T | x, a): the recurrent core runs once, inside the draw."""

    core: Any
    head: Any
    x: Any
    cond: Any

    def draw(self, *, key):
        def step(h, inputs):
            x, a, key = inputs
            loc, raw = jnp.split(self.head(jnp.concatenate([h, x])), 2)
            z, log_q = dist.DiagGaussian(loc, jnp.exp(raw)).sample_and_log_prob(key=key)
            after = jnp.tanh(self.core(jnp.concatenate([h, z, a])))
            return after, (z, log_q, h, loc, jnp.exp(raw))

        keys = jax.random.split(key, len(self.x))
        _, (z, log_q, h, loc, scale) = jax.lax.scan(step, jnp.zeros(2), (self.x, self.cond, keys))
        return Draw(z, log_q, carry=(h, loc, scale))

    def sample_and_log_prob(self, *, key):
        out = self.draw(key=key)
        return out.z, out.log_q


class StepPrior(dist.AbstractDensity):
    """p(z_t | h_t) over all steps at once, with the posterior's moments beside it for the KL."""

    loc: Any
    scale: Any
    q_loc: Any
    q_scale: Any

    def log_prob(self, z):
        return jax.vmap(lambda m, s, z: dist.DiagGaussian(m, s).log_prob(z))(self.loc, self.scale, z)

    def sample_and_log_prob(self, *, key):
        raise NotImplementedError


@dist.register_kl(PathLaw, StepPrior)
def _per_step(q, p, z):
    one = lambda a, b, c, d: dist.kl_divergence(dist.DiagGaussian(a, b), dist.DiagGaussian(c, d), None)[0]  # noqa: E731
    return jax.vmap(one)(p.q_loc, p.q_scale, p.loc, p.scale)


class RSSM(AbstractCarryModel):
    core: Any
    prior_head: Any
    decode: Any
    prior_law = StepPrior

    def prior_given(self, draw, datum):
        h, q_loc, q_scale = draw.carry
        loc, raw = jnp.split(jax.vmap(self.prior_head)(h), 2, axis=-1)
        return StepPrior(loc, jnp.exp(raw), q_loc, q_scale)

    def log_likelihood_given(self, draw, datum):
        mean = jax.vmap(self.decode)(jnp.concatenate([draw.carry[0], draw.z], -1))
        return -0.5 * jnp.sum((datum.x - mean) ** 2)

    def prior_of(self, cond):
        raise NotImplementedError

    def log_likelihood(self, z, datum):
        raise NotImplementedError

    def log_joint(self, z, datum):
        raise NotImplementedError


class Filtering(AbstractPosterior):
    head: Any

    def __call__(self, model, datum, *, key):
        return PathLaw(model.core, self.head, datum.x, datum.cond)

    def law(self, model):
        return PathLaw

    def rule(self, inference):
        return Verdict("exact")


def rssm(objective: Any, gradient: Any) -> Inference:
    model = RSSM(linear(4, 2), linear(2, 2), linear(3, 1))
    return unverified(model, Filtering(linear(3, 2, seed=1)), objective, gradient)


def test_rssm():
    inference = rssm(objectives.ELBO(2, kl="analytic", free_bits=0.1, kl_balance=None), gradients.Reparam())
    (of_model, of_posterior), _ = gradient(inference, SEQUENCE)
    assert size(of_model.core) > 0 and size(of_model.prior_head) > 0 and size(of_posterior) > 0
    q = inference.q(SEQUENCE, key=KEY)
    terms = inference.objective.draw(inference.model, q, SEQUENCE, key=KEY, share=1.0)
    assert terms.kl.shape == terms.log_q.shape == terms.log_prior.shape == (2, 4)
    assert terms.carry[0].shape == (2, 4, 2)
    keys = jax.random.split(KEY, 4000)
    _, analytic = gradient(inference, SEQUENCE, keys)
    _, sampled = gradient(rssm(objectives.ELBO(2, kl="sampled"), gradients.Reparam()), SEQUENCE, keys)
    np.testing.assert_allclose(analytic, sampled, atol=0.05)


def test_kl_balancing_trains_prior_and_posterior_of_an_rssm():
    inference = Inference(
        RSSM(linear(4, 2), linear(2, 2), linear(3, 1)),
        Filtering(linear(3, 2, seed=1)),
        objectives.ELBO(kl_balance=0.8),
        gradients.Reparam(),
    )
    assert inference.check().kind == "biased"
    (of_model, of_posterior), _ = gradient(inference, SEQUENCE)
    assert size(of_model.prior_head) > 0 and size(of_posterior) > 0


@pytest.mark.parametrize(
    "estimator", [gradients.ScoreFunction(), gradients.StickTheLanding(), gradients.DoublyReparam()]
)
def test_a_carry_without_a_log_prob_is_refused_where_it_would_be_scored(estimator):
    objective = objectives.IWAE(2) if isinstance(estimator, gradients.DoublyReparam) else objectives.ELBO()
    with pytest.raises(CombinationError, match=r"gradients\.Reparam"):
        Inference(
            RSSM(linear(4, 2), linear(2, 2), linear(3, 1)), Filtering(linear(3, 2)), objective, estimator
        )


# ---------------------------------------------------------------- FIVO: resampling inside the draw


class FIVO(AbstractObjective):
    """A particle filter's log-evidence; the carry holds the log-weight increments."""

    num_samples: int = 4

    def draw(self, model, q, datum, *, key, share):
        def step(carry, inputs):
            t, x, key = inputs
            z, key_resample = carry, jax.random.fold_in(key, 1)
            law = q.at(t, z)
            new, log_q = jax.vmap(lambda k, m: dist.DiagGaussian(m, q.scale).sample_and_log_prob(key=k))(
                jax.random.split(key, self.num_samples), law
            )
            increments = jax.vmap(lambda z, new, lq: model.step(z, new, x) - lq)(z, new, log_q)
            chosen = jax.random.categorical(key_resample, increments, shape=(self.num_samples,))
            return new[chosen], (new, log_q, increments)

        times = jnp.arange(len(datum.x))
        start = jnp.zeros((self.num_samples, 1))
        keys = jax.random.split(key, len(datum.x))
        _, (z, log_q, increments) = jax.lax.scan(step, start, (times, datum.x, keys))
        log_q, increments = log_q.T, increments.T
        return Terms((log_q + increments).sum(-1), log_q, jnp.zeros(self.num_samples), z, carry=increments)

    def bound(self, terms):
        mean = jax.scipy.special.logsumexp(terms.carry, axis=0) - jnp.log(float(self.num_samples))
        return mean.sum()

    def losses(self, terms, step):
        return Losses.both(-self.bound(terms))

    def rule(self, inference):
        return Verdict(
            "biased", "FIVO drops the resampling term; use objectives.ELBO() for an unbiased gradient"
        )


class Walk(AbstractModel):
    """z_t ~ N(a z_{t−1}, 1), x_t ~ N(z_t, 1)."""

    a: Any

    def step(self, z, new, x):
        return dist.DiagGaussian(self.a * z, jnp.ones(1)).log_prob(new) + dist.DiagGaussian(
            new, jnp.ones(1)
        ).log_prob(x)

    def log_joint(self, z, datum):
        before = jnp.concatenate([jnp.zeros((1, 1)), z[:-1]])
        return jax.vmap(self.step)(before, z, datum.x).sum()


class StepwiseLaw(dist.Reparameterized):
    loc: Any
    pull: Any
    scale: Any

    def at(self, t, z):
        return self.loc[t] + self.pull * z

    def sample_and_log_prob(self, *, key):
        raise NotImplementedError


class Stepwise(AbstractPosterior):
    head: Any
    pull: Any

    def __call__(self, model, datum, *, key):
        return StepwiseLaw(jax.vmap(self.head)(datum.x), self.pull, jnp.full(1, 0.8))

    def law(self, model):
        return StepwiseLaw

    def rule(self, inference):
        return Verdict("exact")


def test_fivo():
    inference = Inference(
        Walk(jnp.array(0.9)), Stepwise(linear(1, 1), jnp.array(0.4)), FIVO(32), gradients.Reparam()
    )
    assert inference.check().kind == "biased"
    (of_model, of_posterior), value = gradient(inference, SEQUENCE, jax.random.split(KEY, 500))
    assert size(of_model) > 0 and size(of_posterior) > 0
    a, t = 0.9, len(SEQUENCE.x)
    powers = np.array([[a ** (i - j) if i >= j else 0.0 for j in range(t)] for i in range(t)])
    cov = powers @ powers.T + np.eye(t)
    x = np.asarray(SEQUENCE.x)[:, 0]
    log_evidence = -0.5 * (x @ np.linalg.solve(cov, x) + np.linalg.slogdet(2 * np.pi * cov)[1])
    assert log_evidence - 0.5 < value < log_evidence


# ---------------------------------------------------------------- semi-amortized: q refined by gradients


class SemiAmortized(AbstractPosterior):
    base: Any
    steps: int = 5
    size: float = 0.05

    def __call__(self, model, datum, *, key):
        def loss(params, key):
            z, log_q = self.base.family(params).sample_and_log_prob(key=key)
            return log_q - model.log_joint(z, datum)

        def step(params, key):
            return params - self.size * jax.grad(loss)(params, key), None

        keys = jax.random.split(key, self.steps)
        params, _ = jax.lax.scan(step, self.base.parameters(datum), keys)
        return self.base.family(params)

    def law(self, model):
        return self.base.law(model)

    def rule(self, inference):
        return self.base.rule(inference)


@pytest.mark.parametrize("estimator", [gradients.Reparam(), gradients.StickTheLanding()])
def test_semi_amortized(estimator):
    inference = unverified(decoder(), SemiAmortized(amortized()), objectives.ELBO(4), estimator)
    keys = jax.random.split(KEY, 200)
    (of_model, of_posterior), refined = gradient(inference, ROW, keys)
    assert size(of_model) > 0 and size(of_posterior) > 0
    plain = Inference(decoder(), amortized(), objectives.ELBO(4), gradients.Reparam())
    assert refined > gradient(plain, ROW, keys)[1] + 0.1
    first, second = (inference.q(ROW, key=jax.random.key(k)) for k in (1, 2))
    assert not np.allclose(first.loc, second.loc)
    assert np.allclose(first.loc, inference.q(ROW, key=jax.random.key(1)).loc)


def test_doubly_reparameterized_where_the_posterior_is_made_of_the_model():
    """The path through the model's part in q is weighed by w̃², as the posterior's own is."""
    q = SemiAmortized(amortized(), steps=2)
    doubly = unverified(decoder(), q, objectives.IWAE(2), gradients.DoublyReparam())
    plain = unverified(decoder(), q, objectives.IWAE(2), gradients.Reparam())
    assert_same_mean(doubly, plain)


def assert_same_mean(one: Inference, other: Inference, draws: int = 20_000) -> None:
    keys = jax.random.split(KEY, 2 * draws)
    ours, theirs = gradient(one, ROW, keys[:draws])[0], gradient(other, ROW, keys[draws:])[0]
    norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(theirs)))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=0.05 * norm)


# ---------------------------------------------------------------- a user's log-density


class Banana(AbstractModel):
    def log_joint(self, z, datum):
        return -0.5 * (z[0] ** 2 + (z[1] - z[0] ** 2) ** 2) - jnp.log(2 * jnp.pi)


@pytest.mark.parametrize(
    "estimator",
    [gradients.Reparam(), gradients.StickTheLanding(), gradients.ScoreFunction(gradients.LeaveOneOut())],
)
def test_a_users_log_density(estimator):
    q = posteriors.Global(families.FullGaussian(2), key=KEY)
    inference = unverified(Banana(), q, objectives.ELBO(2), estimator)
    (_, of_posterior), value = gradient(inference, ROW, jax.random.split(KEY, 20_000))
    # E_q[z₁⁴] = 3 under the standard normal q it starts from: the bound is −½(1 + 1 + 3) + 1
    np.testing.assert_allclose(value, -1.5, atol=0.05)
    np.testing.assert_allclose(of_posterior.params, [0, -1.0, 6, 0, 0], atol=0.6)


# ---------------------------------------------------------------- wake-sleep: two losses


class WakeWake(LogMeanOfWeights):
    """Reweighted wake-sleep: θ climbs the log-mean of weights, φ maximizes Σ w̃ log q(z)."""

    num_samples: int = 8

    def draw(self, model, q, datum, *, key, share):
        return objectives.IWAE(self.num_samples).draw(model, q, datum, key=key, share=share)

    def bound(self, terms):
        return objectives.IWAE(self.num_samples).bound(terms)

    def losses(self, terms, step):
        weight = stop(jax.nn.softmax(terms.log_w))
        return Losses(-self.bound(terms), -jnp.sum(weight * terms.log_q.sum(-1)))

    def rule(self, inference):
        return Verdict("biased", "wake-φ follows a self-normalized estimate")


def test_wake_sleep():
    inference = Inference(decoder(), amortized(), WakeWake(), gradients.Reparam())
    assert inference.check().kind == "biased"
    (of_model, of_posterior), _ = gradient(inference, ROW)
    plain = Inference(decoder(), amortized(), objectives.IWAE(8), gradients.Reparam())
    (model_only, not_this), _ = gradient(plain, ROW)
    np.testing.assert_allclose(of_model.net.layers[0].weight, model_only.net.layers[0].weight, rtol=1e-4)
    assert size(of_posterior) > 0
    assert not np.allclose(of_posterior.net.layers[0].weight, not_this.net.layers[0].weight)


# ---------------------------------------------------------------- β-TC: a term across the batch


class BetaTC(MeanOverDraws, HasBatchTerm):
    num_samples: int = 1
    beta: float = 4.0
    closed_form_kl: str = "auto"
    linear = True
    plain = False
    couples_data = True

    def draw(self, model, q, datum, *, key, share):
        return objectives.ELBO().draw(model, q, datum, key=key, share=share)

    def bound(self, terms):
        return objectives.ELBO().bound(terms)

    def losses(self, terms, step):
        return objectives.ELBO().losses(terms, step)

    def batch_term(self, terms, q, step, num_data):
        z = terms.z[:, 0]
        entry = jax.vmap(
            lambda z: jax.vmap(lambda m, s: jax.scipy.stats.norm.logpdf(z, m, s))(q.loc, q.scale)
        )(z)
        log_qz = jax.scipy.special.logsumexp(entry.sum(-1), 1)
        log_product = jax.scipy.special.logsumexp(entry, 1).sum(-1)
        constant = jnp.log(float(len(z)) * num_data) * (z.shape[1] - 1)
        return (self.beta - 1) * (log_qz - log_product + constant).mean()

    def rule(self, inference):
        return Verdict("biased", "minibatch estimate of log q(z)")


def test_beta_tc():
    inference = Inference(decoder(), amortized(), BetaTC(), gradients.Reparam())
    rows = Datum(jax.random.normal(KEY, (5, 3)))

    def loss(posterior):
        own = eqx.tree_at(lambda i: i.posterior, inference, posterior)
        step = jnp.asarray(0)
        each = jax.vmap(lambda d, k: own.gradient(own, d, key=k, step=step, num_data=5, state=None))(
            rows, jax.random.split(KEY, 5)
        )
        return own.objective.batch_term(each.terms, each.q, step, 5)

    out = eqx.filter_grad(loss)(inference.posterior)
    assert size(eqx.filter(out, eqx.is_inexact_array)) > 0
    with pytest.raises(CombinationError, match="batch"):
        Inference(decoder(), amortized(), BetaTC(num_samples=2), gradients.ScoreFunction())


# ---------------------------------------------------------------- VQ: penalty in the draw, straight-through


class CodebookLaw(dist.AbstractCarrying, dist.Reparameterized):
    codes: Any
    encoded: Any

    def draw(self, *, key):
        nearest = self.codes[jnp.argmin(((self.codes - self.encoded) ** 2).sum(-1))]
        z = self.encoded + stop(nearest - self.encoded)
        penalty = ((nearest - stop(self.encoded)) ** 2 + 0.25 * (stop(nearest) - self.encoded) ** 2).sum()
        return Draw(z, jnp.zeros(1), penalty=penalty)

    def sample_and_log_prob(self, *, key):
        out = self.draw(key=key)
        return out.z, out.log_q


class Codebook(AbstractPosterior):
    codes: Any
    encode: Any

    def __call__(self, model, datum, *, key):
        return CodebookLaw(self.codes, self.encode(datum.x))

    def law(self, model):
        return CodebookLaw

    def rule(self, inference):
        return Verdict("biased", "straight-through")


def test_vq():
    q = Codebook(jax.random.normal(KEY, (4, 2)), linear(3, 2))
    inference = Inference(decoder(), q, objectives.ELBO(kl="sampled"), gradients.Reparam())
    assert inference.check().kind == "biased"
    (of_model, of_posterior), value = gradient(inference, ROW)
    assert size(of_model) > 0 and size(of_posterior.encode) > 0
    assert (np.abs(of_posterior.codes).sum(1) > 0).sum() == 1
    terms = inference.objective.draw(inference.model, inference.q(ROW, key=KEY), ROW, key=KEY, share=1.0)
    assert terms.penalty.shape == (1,) and terms.penalty[0] > 0
    np.testing.assert_allclose(value, inference.objective.bound(terms), rtol=1e-5)


# ---------------------------------------------------------------- VampPrior: a prior made of the posterior


class MixtureLaw(dist.AbstractDensity):
    loc: Any
    scale: Any

    def log_prob(self, z):
        each = jax.vmap(lambda m, s: dist.DiagGaussian(m, s).log_prob(z))(self.loc, self.scale)
        return jax.scipy.special.logsumexp(each) - jnp.log(float(len(self.loc)))

    def sample_and_log_prob(self, *, key):
        which, to_z = jax.random.split(key)
        k = jax.random.randint(which, (), 0, len(self.loc))
        z, _ = dist.DiagGaussian(self.loc[k], self.scale[k]).sample_and_log_prob(key=to_z)
        return z, self.log_prob(z)


class Vamp(AbstractLatentModel, LooksAtPosterior):
    base: Any
    pseudo: Any
    prior: Any = None
    prior_law = MixtureLaw

    def looking_at(self, posterior):
        laws = jax.vmap(lambda x: posterior.family(posterior.parameters(Datum(x))))(self.pseudo)
        return Vamp(self.base, self.pseudo, MixtureLaw(laws.loc, laws.scale))

    def rule(self, inference):
        return Verdict("exact")

    def prior_of(self, cond):
        return self.prior

    def log_likelihood(self, z, datum):
        return self.base.log_likelihood(z, datum)

    def log_joint(self, z, datum):
        return self.prior.log_prob(z) + self.log_likelihood(z, datum)


def vamp(objective: Any, estimator: Any) -> Inference:
    return unverified(Vamp(decoder(), jax.random.normal(KEY, (3, 3))), amortized(), objective, estimator)


def test_vamp_prior():
    (of_model, of_posterior), _ = gradient(vamp(objectives.ELBO(), gradients.Reparam()), ROW)
    assert size(of_model.pseudo) > 0 and size(of_posterior) > 0
    with pytest.raises(CombinationError, match="sampled"):
        Inference(
            Vamp(decoder(), ROW.x[None]), amortized(), objectives.ELBO(kl="analytic"), gradients.Reparam()
        )


@pytest.mark.parametrize(
    ("objective", "estimator"),
    [
        (objectives.IWAE(2), gradients.DoublyReparam()),
        (objectives.IWAE(2), gradients.ScoreFunction(gradients.LeaveOneOut())),
        (objectives.ELBO(2), gradients.StickTheLanding()),
        (objectives.ELBO(2), gradients.ScoreFunction(gradients.LeaveOneOut())),
    ],
)
def test_vamp_prior_keeps_its_path_through_the_posterior(objective, estimator):
    assert_same_mean(vamp(objective, estimator), vamp(objective, gradients.Reparam()))


# ---------------------------------------------------------------- two layers, a KL for each


class TwoLayers(dist.AbstractDensity, dist.Reparameterized):
    """z₂ ~ N(m, s²), z₁ | z₂ ~ N(f(z₂), s²); z = (z₂, z₁), one log-density a layer."""

    top: Any
    below: Any

    def bottom(self, z2):
        loc, raw = jnp.split(self.below(z2), 2)
        return dist.DiagGaussian(loc, jnp.exp(0.5 * jnp.tanh(raw)))

    def log_prob(self, z):
        z2, z1 = z
        return jnp.stack([self.top.log_prob(z2), self.bottom(z2).log_prob(z1)])

    def sample_and_log_prob(self, *, key):
        to_top, to_bottom = jax.random.split(key)
        z2, top = self.top.sample_and_log_prob(key=to_top)
        z1, bottom = self.bottom(z2).sample_and_log_prob(key=to_bottom)
        return (z2, z1), jnp.stack([top, bottom])


@dist.register_kl(TwoLayers, TwoLayers)
def _layered(q, p, z):
    inner = dist.kl_divergence(q.bottom(z[0]), p.bottom(z[0]), z[1])
    return jnp.concatenate([dist.kl_divergence(q.top, p.top, z[0]), inner])


class Hierarchy(AbstractLatentModel):
    below: Any
    decode: Any
    prior_law = TwoLayers

    def prior_of(self, cond):
        return TwoLayers(dist.DiagGaussian(jnp.zeros(1), jnp.ones(1)), self.below)

    def log_likelihood(self, z, datum):
        return -0.5 * jnp.sum((datum.x - self.decode(z[1])) ** 2)

    def log_joint(self, z, datum):
        return self.prior_of(None).log_prob(z).sum() + self.log_likelihood(z, datum)


class Ladder(AbstractPosterior):
    encode: Any
    below: Any

    def __call__(self, model, datum, *, key):
        loc, raw = jnp.split(self.encode(datum.x), 2)
        return TwoLayers(dist.DiagGaussian(loc, jnp.exp(raw)), self.below)

    def law(self, model):
        return TwoLayers

    def rule(self, inference):
        return Verdict("exact")


def hierarchy(objective: Any, estimator: Any) -> Inference:
    return unverified(
        Hierarchy(linear(1, 4), linear(2, 3)), Ladder(linear(3, 2, 1), linear(1, 4, 2)), objective, estimator
    )


def test_two_layers():
    inference = hierarchy(objectives.ELBO(2, free_bits=0.05), gradients.Reparam())
    terms = inference.objective.draw(inference.model, inference.q(ROW, key=KEY), ROW, key=KEY, share=1.0)
    assert terms.kl.shape == terms.log_q.shape == (2, 2)
    assert np.ptp(terms.kl[:, 0]) == 0 and np.ptp(terms.kl[:, 1]) > 0
    gradient(inference, ROW)


@pytest.mark.parametrize(
    ("objective", "estimator"),
    [
        (objectives.ELBO(2, kl="sampled"), gradients.StickTheLanding()),
        (objectives.ELBO(4), gradients.ScoreFunction(gradients.LeaveOneOut())),
        (objectives.IWAE(2), gradients.DoublyReparam()),
    ],
)
def test_two_layers_agree_with_reparameterization(objective, estimator):
    assert_same_mean(hierarchy(objective, estimator), hierarchy(objective, gradients.Reparam()))
