"""The estimators with networks, against closed forms where a linear one has them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jensen.sklearn import VAE, MixtureDensityRegressor

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(200, 1))
X = np.concatenate([Z, -Z, 0.5 * Z], 1) + 0.3 * RNG.normal(size=(200, 3)) + 100.0


@pytest.fixture(scope="module")
def linear() -> VAE:
    """Without hidden layers: a factor model with known evidence."""
    vae = VAE(1, hidden_layer_sizes=(), max_iter=150, learning_rate_init=0.02, random_state=0)
    return vae.fit(X)


def law(vae: VAE) -> multivariate_normal:
    """N(mean, W Wᵀ + Ψ) of a linear decoder."""
    zero, one = vae.inverse_transform([[0.0], [1.0]])
    noise = vae._inference().model.likelihood_family.scale
    return multivariate_normal(zero, np.outer(one - zero, one - zero) + np.diag(np.asarray(noise) ** 2))


def test_score_is_a_tight_lower_bound_on_the_exact_evidence(linear: VAE):
    exact, bound = law(linear).logpdf(X), linear.score_samples(X)
    assert bound.dtype == np.float64
    assert np.abs(bound - exact).max() < 0.05
    assert bound.mean() < exact.mean() + 0.005
    assert exact.mean() > multivariate_normal(X.mean(0), np.diag(X.var(0))).logpdf(X).mean() + 1.0


def test_more_draws_raise_the_bound_of_a_poor_posterior():
    poor = VAE(1, hidden_layer_sizes=(), max_iter=1, random_state=0).fit(X)
    assert poor.set_params(n_draws=1).score(X) < poor.set_params(n_draws=512).score(X) - 0.01


def test_latents_and_reconstructions_follow_the_exact_posterior(linear: VAE):
    p = law(linear)
    zero, one = linear.inverse_transform([[0.0], [1.0]])
    exact = (X - zero) @ np.linalg.solve(p.cov_object.covariance, one - zero)
    got = linear.transform(X)[:, 0]
    assert np.abs(got - exact).max() < 0.15
    np.testing.assert_allclose(linear.reconstruct(X[:5]), zero + got[:5, None] * (one - zero), atol=0.2)
    np.testing.assert_allclose(np.cov(linear.sample(20_000).T), p.cov_object.covariance, atol=0.05)


def test_missing_entries(linear: VAE):
    rows = X.copy()
    rows[::4, 1] = np.nan
    vae = VAE(1, hidden_layer_sizes=(4,), max_iter=2, random_state=0, n_draws=4).fit(rows)
    assert np.isfinite(vae.transform(rows)).all() and np.isfinite(vae.score_samples(rows)).all()
    assert np.isfinite(vae.reconstruct(rows)).all()


def test_early_stopping_keeps_scores_and_stops():
    vae = VAE(
        1, hidden_layer_sizes=(), max_iter=400, learning_rate_init=0.05, early_stopping=True, random_state=0
    ).set_params(n_iter_no_change=3, tol=1e-2)
    vae.fit(X)
    assert vae.n_iter_ == len(vae.loss_curve_) == len(vae.validation_scores_) < 400
    assert vae.best_validation_score_ == max(vae.validation_scores_)


def test_other_parameters_after_fit_are_refused(linear: VAE):
    other = VAE(**linear.get_params()).set_params(hidden_layer_sizes=(3,))
    vars(other).update(parameters_=linear.parameters_, n_features_in_=3)
    with pytest.raises(ValueError, match="call fit again"):
        other.transform(X)


def test_rows_outside_the_support_are_refused():
    with pytest.raises(ValueError, match="bernoulli likelihood"):
        VAE(1, likelihood="bernoulli").fit(X)


@pytest.fixture(scope="module")
def two_branches() -> tuple[MixtureDensityRegressor, np.ndarray, np.ndarray]:
    """Outputs y = ±x with noise, in two columns that agree; the mean lies between the branches."""
    x = RNG.uniform(1.0, 2.0, size=(300, 1))
    y = RNG.choice([-1.0, 1.0], size=(300, 1)) * x + 0.1 * RNG.normal(size=(300, 1))
    y = np.concatenate([y, y + 0.05 * RNG.normal(size=(300, 1))], 1)
    regressor = MixtureDensityRegressor(
        2, covariance_type="full", hidden_layer_sizes=(8,), max_iter=80, learning_rate_init=0.02
    )
    return regressor.set_params(random_state=0).fit(x, y), x, y


def test_both_branches_are_found(two_branches):
    regressor, x, y = two_branches
    mean, std = regressor.predict(x, return_std=True)
    assert np.abs(mean.mean()) < 0.2 and std.mean() == pytest.approx(y.std(), rel=0.1)
    np.testing.assert_allclose(regressor.weights(x).mean(0), 0.5, atol=0.1)
    drawn = regressor.sample(x[:3], 4_000)
    assert drawn.shape == (3, 4_000, 2)
    assert (np.abs(np.abs(drawn[..., 0]) - x[:3]) < 0.5).mean() > 0.95
    np.testing.assert_allclose(drawn.mean(1), mean[:3], atol=0.1)
    np.testing.assert_allclose(drawn.std(1), std[:3], rtol=0.05)


def test_log_density_integrates_to_one(two_branches):
    regressor, x, _ = two_branches
    side = np.linspace(-3.0, 3.0, 121)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    density = np.exp(regressor.log_density(np.repeat(x[:1], len(grid), 0), grid))
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1.0, abs=0.02)


def test_another_number_of_outputs_is_refused(two_branches):
    with pytest.raises(ValueError, match="y has 1 outputs, but 2 were seen in fit"):
        two_branches[0].log_density(two_branches[1], two_branches[1])


def test_other_numbers_of_rows_and_targets_are_refused(two_branches):
    regressor, x, y = two_branches
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        regressor.log_density(x[:5], y[:1])
