"""Open-loop continuation: the dynamics, the actions, and nothing of what was not observed."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Inference
from jensen.errors import InputError

KEY = jax.random.key(0)
N, T, D, U, H = 3, 4, 2, 1, 5
RNG = np.random.default_rng(0)
X, A = RNG.normal(size=(N, T, D)), RNG.normal(size=(N, T + H - 1, U))


def quiet_linear() -> Inference:
    """A deep model with linear dynamics and next to no noise."""
    model = models.NeuralStateSpace(D, 2, decoder=(), transition="linear", cond_dim=U, key=KEY)
    where = lambda m: (m.transition_net.linear.weight, m.transition_net.log_scale)  # noqa: E731
    weight = jnp.array([[0.8, 0.3, 1.0], [-0.3, 0.9, -2.0]])
    model = eqx.tree_at(where, model, (weight, jnp.full(2, -9.0)))
    q = posteriors.Smoothing(families.DiagGaussian(2), like=model, widths=(4,), key=KEY)
    return Inference(model, q, objectives.ELBO(), gradients.Reparam())


def world() -> Inference:
    model = models.RSSM(D, U, deter_dim=4, latent=families.OneHot(3, 2), decoder=(4,), key=KEY)
    q = posteriors.Filtering(families.OneHot(3, 2), like=model, widths=(4,), key=KEY)
    return Inference(model, q, objectives.ELBO(), gradients.StraightThrough())


def test_the_path_follows_dynamics_and_actions():
    inference = quiet_linear()
    lengths = np.array([4, 2, 1])
    out = use.rollout(inference, fit.Data(X, lengths=lengths), A, horizon=H, key=KEY, num_samples=2)
    assert out.mean.shape == (N, H, D) and out.draws.shape == (2, N, H, D) and out.z.shape == (2, N, H, 2)
    net = inference.model.transition_net.linear
    for n, last in enumerate(lengths):
        for h in range(1, H):
            # x_{last+1} … follow: z of horizon h sits at step last + h, after action last + h − 1
            before = np.concatenate([out.z[:, n, h - 1], np.tile(A[n, last + h - 1], (2, 1))], -1)
            np.testing.assert_allclose(out.z[:, n, h], before @ net.weight.T + net.bias, atol=5e-3)
    decode = inference.model.net.layers[0]
    scale = inference.model.likelihood_family
    mean = scale.frame.leave(jnp.asarray(out.z @ decode.weight.T + decode.bias)).mean(0)
    np.testing.assert_allclose(out.mean, mean, atol=1e-4)


@pytest.mark.parametrize("make", [quiet_linear, world])
def test_reproducible_and_blind_to_what_was_not_observed(make):
    inference = make()
    lengths = np.array([4, 2, 3])
    padded = X.copy()
    padded[1, 2:] = 99.0
    one = use.rollout(inference, fit.Data(X, lengths=lengths), A, horizon=H, key=KEY)
    other = use.rollout(inference, fit.Data(padded, lengths=lengths), A, horizon=H, key=KEY)
    np.testing.assert_allclose(one.draws, other.draws, rtol=1e-5)
    again = use.rollout(inference, fit.Data(X, lengths=lengths), A, horizon=H, key=jax.random.key(1))
    assert not np.allclose(one.draws, again.draws)
    shorter = use.rollout(inference, fit.Data(X, lengths=lengths), A, horizon=2, key=KEY)
    np.testing.assert_allclose(shorter.z, one.z[:, :, :2], rtol=1e-5)
    later = A.copy()
    later[:, T:] += 1.0
    moved = use.rollout(inference, X, later, horizon=H, key=KEY).mean
    np.testing.assert_allclose(
        moved[:, 0], use.rollout(inference, X, A, horizon=H, key=KEY).mean[:, 0], rtol=1e-5
    )


@pytest.mark.parametrize("make", [quiet_linear, world])
def test_an_empty_context_goes_on_from_the_prior(make):
    inference = make()
    out = use.rollout(inference, fit.Data(X, lengths=[4, 0, 1]), A, horizon=H, key=KEY, num_samples=400)
    like = fit.Data(np.zeros((1, H, D)), cond=A[1:2, :H]).rows()
    like = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), like)
    drawn = jax.vmap(lambda k: inference.model.simulate(like, key=k)[0])(jax.random.split(KEY, 400))
    z = out.z[:, 1].reshape(400, H, -1)
    np.testing.assert_allclose(z.mean(0), drawn.mean(0), atol=0.2)
    np.testing.assert_allclose(z.std(0), drawn.std(0), atol=0.15)
    assert np.isfinite(out.draws).all()


def test_exact_models_roll_out_too():
    model = models.sequence.HMM.with_parameters(
        [1.0, 0.0], [[0, 1], [1, 0]], means=[[-5.0], [5.0]], covariances=[0.01, 0.01], covariance="spherical"
    )
    inference = Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    out = use.rollout(inference, np.array([[[-5.0], [5.0], [-5.0]]]), horizon=4, key=KEY)
    np.testing.assert_array_equal(out.z[0, 0], [1, 0, 1, 0])
    np.testing.assert_allclose(out.mean[0, :, 0], [5, -5, 5, -5], atol=1e-3)


def test_bad_calls():
    inference = quiet_linear()
    for words, call in (
        ("horizon=0", lambda: use.rollout(inference, X, A, horizon=0, key=KEY)),
        ("needs actions", lambda: use.rollout(inference, X, A[:, :-1], horizon=H, key=KEY)),
        ("pass actions=", lambda: use.rollout(inference, X, horizon=H, key=KEY)),
        ("features", lambda: use.rollout(inference, X[..., :1], A, horizon=H, key=KEY)),
    ):
        with pytest.raises(InputError, match=words):
            call()
    static = models.Decoder(D, 2, widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=D, widths=(), key=KEY)
    with pytest.raises(InputError, match="no dynamics"):
        use.rollout(Inference(static, q, objectives.ELBO(), gradients.Reparam()), X, horizon=2, key=KEY)
