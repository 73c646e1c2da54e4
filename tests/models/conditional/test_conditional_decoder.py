"""Conditional decoders: closed forms where everything is linear, padding, and what they are told apart by."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jensen import diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError

KEY = jax.random.key(0)
D, C, Z = 6, 3, 2
LIGHT = diagnose.Effort(temperatures=40, pilot=15, chains=6, leapfrog=3, steps=400, samples=300)


class Linear:
    """y = A z + B x + noise with z ~ N(M x, diag τ²), and the encoder at the best diagonal Gaussian."""

    def __init__(self, family=families.DiagGaussian, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.a, self.b = rng.normal(size=(D, Z)), rng.normal(size=(D, C))
        self.m, self.tau = rng.normal(size=(Z, C)), np.array([0.7, 1.3])
        model = models.ConditionalDecoder(D, C, Z, widths=(), key=KEY)
        prior = np.concatenate([self.m, np.zeros((Z, C))]), np.r_[np.zeros(Z), raw(self.tau)]
        self.model = eqx.tree_at(
            lambda m: (m.net.layers[0].weight, m.prior.net.layers[0].weight, m.prior.net.layers[0].bias),
            model,
            (single(np.c_[self.a, self.b]), single(prior[0]), single(prior[1])),
        )
        self.noise = np.asarray(self.model.likelihood_family.scale, np.float64)
        self.precision = np.diag(self.tau**-2) + self.a.T @ (self.a / self.noise[:, None] ** 2)
        self.inference = Inference(
            self.model, self.encoder(family(Z)), objectives.ELBO(), gradients.Reparam()
        )

    @property
    def family_loss(self) -> float:
        """KL of the best diagonal Gaussian."""
        return 0.5 * (np.log(np.diag(self.precision)).sum() - np.linalg.slogdet(self.precision)[1])

    def encoder(self, family):
        q = posteriors.Amortized(family, data_dim=D, cond_dim=C, widths=(), key=KEY)
        to_y = np.linalg.solve(self.precision, (self.a / self.noise[:, None] ** 2).T)
        to_x = np.linalg.solve(self.precision, np.diag(self.tau**-2) @ self.m) - to_y @ self.b
        weight, bias = np.zeros((family.num_params, D + C)), np.zeros(family.num_params)
        weight[:Z] = np.c_[to_y, to_x]
        bias[Z : 2 * Z] = raw(np.diag(self.precision) ** -0.5)
        return eqx.tree_at(
            lambda q: (q.net.layers[0].weight, q.net.layers[0].bias), q, (single(weight), single(bias))
        )

    def draw(self, num: int, seed: int = 1) -> fit.Data:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(num, C))
        z = x @ self.m.T + self.tau * rng.normal(size=(num, Z))
        return fit.Data(z @ self.a.T + x @ self.b.T + self.noise * rng.normal(size=(num, D)), cond=x)

    def log_evidence(self, data: fit.Data) -> np.ndarray:
        x = np.asarray(data.cond, np.float64)
        left = np.asarray(data.x, np.float64) - x @ (self.a @ self.m + self.b).T
        covariance = (self.a * self.tau**2) @ self.a.T + np.diag(self.noise**2)
        return stats.multivariate_normal(np.zeros(D), covariance).logpdf(left)


def raw(scale):
    """The parameter whose scale this is: exp(10 tanh(raw / 10))."""
    return 10 * np.arctanh(np.log(scale) / 10)


def single(values):
    return jnp.asarray(values, jnp.float32)


# ---- evidence and its gap ----------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[families.DiagGaussian, pytest.param(families.FullGaussian, marks=pytest.mark.slow)],
)
def measured(request):
    case = Linear(request.param)
    data = case.draw(40)
    return case, request.param, data, diagnose.gap(case.inference, data, key=KEY, effort=LIGHT)


def test_the_interval_holds_the_exact_conditional_log_likelihood(measured):
    case, _, data, gap = measured
    truth = case.log_evidence(data)[gap.per_datum["index"]]
    np.testing.assert_allclose(gap.per_datum["log_evidence"], truth, atol=0.3)
    assert gap.log_evidence.lower - 0.02 < truth.mean() < gap.log_evidence.upper + 0.02
    assert gap.log_evidence.median_width < 0.25
    drawn = gap.simulated
    assert drawn.lower < drawn.upper and drawn.num_data == 40 and drawn.confidence == 0.95


def test_the_loss_goes_to_the_family_or_to_the_encoder(measured):
    """The encoder is the best diagonal Gaussian: a diagonal family loses by itself, a full one by its encoder."""
    case, family, _, gap = measured
    diagonal = family is families.DiagGaussian
    lost, kept = (gap.approximation, gap.amortization) if diagonal else (gap.amortization, gap.approximation)
    assert case.family_loss > 0.1
    assert lost.value == pytest.approx(case.family_loss, abs=0.015) and abs(kept.value) < 0.02
    assert gap.total.value == pytest.approx(case.family_loss, rel=0.1)
    assert not any("violated" in flag for flag in gap.flags)


def test_score_sample_reconstruct_and_impute_follow_the_condition():
    case = Linear()
    data = case.draw(8)
    np.testing.assert_allclose(use.score(case.inference, data), case.log_evidence(data), atol=0.3)
    drawn = use.sample(case.inference, 20_000, cond=data.cond[0], key=KEY)
    np.testing.assert_allclose(drawn.mean(0), data.cond[0] @ (case.a @ case.m + case.b).T, atol=0.06)
    assert use.reconstruct(case.inference, data).shape == (8, D)
    mask = np.ones((8, D), bool)
    mask[:, :3] = False
    filled = use.impute(
        case.inference, fit.Data(data.x, cond=data.cond, mask=mask), key=KEY, num_samples=4000
    )
    covariance = (case.a * case.tau**2) @ case.a.T + np.diag(case.noise**2)
    mean = data.cond @ (case.a @ case.m + case.b).T
    expected = (
        mean[:, :3]
        + np.linalg.solve(covariance[3:, 3:], covariance[3:, :3]).T.dot((data.x - mean)[:, 3:].T).T
    )
    np.testing.assert_allclose(filled[:, :3], expected, atol=0.25)


def test_a_fit_in_far_units_equals_one_in_standard_units():
    """x at 1000 with a spread of 0.01, y at 500: networks see the same numbers, densities differ by the units."""
    near = Linear().draw(80)
    far = fit.Data(500 + 20 * near.x, cond=1000 + 0.01 * near.cond)

    def climbed(data):
        model = models.ConditionalDecoder(D, C, Z, widths=(8,), key=KEY)
        q = posteriors.Amortized(families.DiagGaussian(Z), data_dim=D, cond_dim=C, widths=(8,), key=KEY)
        inference = Inference(model, q, objectives.ELBO(), gradients.Reparam())
        return fit.gradient(inference, data, key=KEY, optimizer=optax.adam(1e-2), steps=40)

    one, other = climbed(near).history.bound, climbed(far).history.bound
    np.testing.assert_allclose(other, one - D * np.log(20), atol=0.05)


# ---- chunks and episodes -----------------------------------------------------------------------------------


def surrogate(inference, datum):
    return inference.gradient(
        inference, datum, key=KEY, step=jnp.asarray(0), num_data=1, state=None
    ).surrogate


compiled = eqx.filter_jit(eqx.filter_grad(surrogate))


def gradients_of(inference, datum):
    grads = compiled(inference, datum)
    return jax.tree.leaves(eqx.filter(grads, eqx.is_inexact_array))


def test_padded_steps_of_a_chunk_have_no_part_in_the_gradient():
    model = models.chunk_decoder(4, 2, 3, 2, widths=(5,), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=8, cond_dim=3, widths=(5,), key=KEY)
    inference = Inference(model, q, objectives.ELBO(2), gradients.Reparam())
    mask = jnp.arange(8) < 6
    cond, y = jnp.array([0.1, 2.0, -1.0]), jnp.arange(8.0)

    def filled(pad):
        return Datum(jnp.where(mask, y, pad), cond, mask=mask)

    to_y = jax.jit(jax.grad(lambda y: surrogate(inference, Datum(y, cond, mask=mask))))(y)
    assert (to_y[6:] == 0).all() and (to_y[:6] != 0).all()
    zero, large = gradients_of(inference, filled(0.0)), gradients_of(inference, filled(1e4))
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(zero, large, strict=True))


def episodes(num=40, steps=9, seed=0):
    """Half of them push to the left, half to the right; states tell nothing of which."""
    rng = np.random.default_rng(seed)
    side = np.where(rng.random(num) < 0.5, -1.0, 1.0)
    states = rng.normal(size=(num, steps, 3))
    actions = side[:, None, None] + 0.5 * states[..., :1] + 0.3 * rng.normal(size=(num, steps, 1))
    lengths = rng.integers(3, steps + 1, num)
    return fit.Data(actions, cond=states, lengths=lengths), side


def episodic(family=families.DiagGaussian, widths=(8,)) -> Inference:
    model = models.EpisodeDecoder(1, 3, 1, widths=widths, key=KEY)
    q = posteriors.Pooled(family(1), data_dim=1, cond_dim=3, widths=(8,), key=KEY)
    return Inference(model, q, objectives.ELBO(), gradients.Reparam())


def test_padding_changes_nothing_about_an_episode():
    inference = episodic()
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(9, 1)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    short = Datum(jnp.asarray(x[:5]), jnp.asarray(c[:5]))
    long = Datum(jnp.asarray(x), jnp.asarray(c), steps=jnp.asarray(5))
    np.testing.assert_allclose(
        inference.posterior.parameters(short), inference.posterior.parameters(long), atol=1e-5
    )
    z = jnp.array([0.7])
    one, other = (float(inference.model.log_joint(z, datum)) for datum in (short, long))
    assert one == pytest.approx(other, abs=1e-5)
    for a, b in zip(gradients_of(inference, short), gradients_of(inference, long), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    to_x = jax.grad(lambda x: surrogate(inference, Datum(x, long.cond, steps=long.steps)))(long.x)
    to_c = jax.grad(lambda c: surrogate(inference, Datum(long.x, c, steps=long.steps)))(long.cond)
    assert (to_x[5:] == 0).all() and (to_c[5:] == 0).all() and (to_x[:5] != 0).all()
    hidden = Datum(
        long.x.at[1].set(jnp.nan),
        long.cond,
        mask=jnp.ones((9, 1), bool).at[1].set(False),
        steps=jnp.asarray(5),
    )
    assert all(np.isfinite(leaf).all() for leaf in gradients_of(inference, hidden))


def test_the_prior_of_an_episode_reads_its_first_state_alone():
    model, c = episodic().model, jax.random.normal(KEY, (6, 3))
    one, other = model.prior_of(c), model.prior_of(c.at[1:].set(7.0))
    np.testing.assert_array_equal(one.loc, other.loc)
    assert (model.prior_of(c.at[0].set(7.0)).loc != one.loc).all()


def test_an_episode_may_have_layers_of_latents():
    prior = models.priors.Hierarchical((2, 3), widths=(4,), key=KEY)
    model = models.EpisodeDecoder(1, 3, prior=prior, widths=(4,), key=KEY)
    states = jnp.ones((5, 3))
    z, _ = model.prior_of(states).sample_and_log_prob(key=KEY)
    assert model.likelihood(z, states).mean.shape == (5, 1)
    assert np.isfinite(model.log_joint(z, Datum(jnp.zeros((5, 1)), states)))


@pytest.mark.slow
def test_evidence_of_linear_episodes_is_bracketed():
    """a_t = z + B s_t + noise: the steps of a unit are one Gaussian, of as many entries as there are steps."""
    inference = episodic(widths=())
    inference = eqx.tree_at(
        lambda i: (i.model.net.layers[0].weight, i.model.prior.net.layers[0].weight),
        inference,
        (jnp.array([[1.0, 0.5, 0.0, 0.0]]), jnp.zeros((2, 3))),
    )
    data, _ = episodes(12)
    noise = float(inference.model.likelihood_family.scale[0])
    truth = []
    for x, c, n in zip(data.x, data.cond, data.lengths, strict=True):
        law = stats.multivariate_normal(0.5 * c[:n, 0], np.ones((n, n)) + noise**2 * np.eye(n))
        truth.append(law.logpdf(x[:n, 0]))
    gap = diagnose.gap(inference, data, key=KEY, effort=LIGHT)
    np.testing.assert_allclose(gap.per_datum["log_evidence"], truth, atol=0.3)
    assert gap.log_evidence.lower - 0.02 < np.mean(truth) < gap.log_evidence.upper + 0.02
    assert abs(gap.approximation.value) < 0.02 < gap.amortization.value  # the encoder was never trained
    assert gap.simulated.lower < gap.simulated.upper


def test_two_behaviours_are_recovered_and_one_draw_keeps_to_one_of_them():
    data, side = episodes(60)
    fitted = fit.gradient(episodic(), data, key=KEY, optimizer=optax.adam(1e-2), steps=500)
    z = use.encode(fitted, data)[:, 0]
    assert abs(np.corrcoef(z, side)[0, 1]) > 0.95
    states = np.zeros((7, 3), np.float32)
    drawn = use.sample(fitted, 200, cond=states, key=KEY)
    # held over the unit: what varies between draws is the side, not the steps within one
    assert drawn.shape == (200, 7, 1)
    assert drawn.mean(1).std() > 2 * drawn.std(1).mean()
    assert use.reconstruct(fitted, data).shape == data.x.shape
    mask = np.ones(data.x.shape, bool)
    mask[:, 1] = False
    own = fit.Data(data.x, cond=data.cond, lengths=data.lengths, mask=mask)
    filled = use.impute(fitted, own, key=KEY)[:, 1, 0]
    assert np.abs(filled - side - 0.5 * data.cond[:, 1, 0]).mean() < 0.3
    report = diagnose.collapse(fitted, data, key=KEY)
    assert report is not None


# ---- refusals ----------------------------------------------------------------------------------------------


def test_posteriors_must_see_the_unit_and_the_condition():
    episode, rows = episodic().model, Linear().model
    family, elbo, reparam = families.DiagGaussian, objectives.ELBO(), gradients.Reparam()
    blind = posteriors.Amortized(family(2), data_dim=D, key=KEY)
    with pytest.raises(CombinationError, match=r"reads 0 columns of cond, .* cond_dim=3"):
        Inference(rows, blind, elbo, reparam)
    flat = posteriors.Amortized(family(1), data_dim=1, cond_dim=3, key=KEY)
    with pytest.raises(CombinationError, match=r"one z behind many rows; use posteriors\.Pooled"):
        Inference(episode, flat, elbo, reparam)
    pooled = posteriors.Pooled(family(2), data_dim=D, cond_dim=C, key=KEY)
    with pytest.raises(CombinationError, match=r"no steps to pool; use posteriors\.Amortized"):
        Inference(rows, pooled, elbo, reparam)
    with pytest.raises(CombinationError, match=r"cond_dim=3"):
        Inference(episode, posteriors.Pooled(family(1), data_dim=1, key=KEY), elbo, reparam)


def test_constructors_name_what_is_wrong():
    prior = models.priors.ConditionalGaussian(2, 5, widths=(), key=KEY)
    with pytest.raises(InputError, match="cond_dim=3, but the prior reads 5 columns"):
        models.ConditionalDecoder(4, 3, prior=prior, key=KEY)
    with pytest.raises(InputError, match="latent_dim is None"):
        models.ConditionalDecoder(4, 3, key=KEY)
    with pytest.raises(InputError, match=r"use models\.ConditionalDecoder"):
        models.Decoder(4, prior=prior, key=KEY)
    with pytest.raises(InputError, match="horizon is 0"):
        models.chunk_decoder(0, 1, 1, 1, key=KEY)
