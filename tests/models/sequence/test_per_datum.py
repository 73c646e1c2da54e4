"""One law of the whole path for each short sequence."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats as st

from jensen import diagnose, families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError

KEY = jax.random.key(0)
T, N = 4, 2
A, Q = np.array([[0.8, 0.3], [-0.3, 0.8]]), np.array([[0.3, 0.1], [0.1, 0.2]])
C, R = np.array([[1.0, 0.0], [0.3, 1.0], [0.5, -0.5]]), np.array([0.2, 0.3, 0.4])
LENGTHS = np.array([4, 2])
quick = partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


def model() -> models.LinearGaussianSSM:
    return models.LinearGaussianSSM.with_parameters(A, Q, C, R, initial=(np.zeros(2), np.eye(2)))


def data() -> fit.Data:
    return fit.Data(np.random.default_rng(0).normal(size=(N, T, 3)), lengths=LENGTHS)


def posterior_of(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of a path given one sequence, by the dense joint."""
    n = len(x)
    k, step = np.zeros((2 * n, 2 * n)), np.eye(2)
    for t in range(n):
        block = step
        for s in range(t, n):
            k[2 * s : 2 * s + 2, 2 * t : 2 * t + 2] = block
            k[2 * t : 2 * t + 2, 2 * s : 2 * s + 2] = block.T
            block = A @ block
        step = A @ step @ A.T + Q
    c = np.kron(np.eye(n), C)
    gain = k @ c.T @ np.linalg.inv(c @ k @ c.T + np.kron(np.eye(n), np.diag(R)))
    return gain @ x.reshape(-1), k - gain @ c @ k


def exact_params(x: np.ndarray) -> np.ndarray:
    """Return the parameters of ``families.GaussianMarkov`` at the exact posterior; padding is left at zero."""
    mean, cov = posterior_of(x)
    out = np.zeros((T, 9))
    for t in range(len(x)):
        here, before = slice(2 * t, 2 * t + 2), slice(2 * t - 2, 2 * t)
        left, pull = cov[here, here], np.zeros((2, 2))
        if t:
            pull = cov[here, before] @ np.linalg.inv(cov[before, before])
            left = left - pull @ cov[before, here]
        tril = np.linalg.cholesky(left)
        raw = 10 * np.arctanh(np.log(np.diag(tril)) / 10)
        out[t] = [*mean[here], *raw, *pull.ravel(), tril[1, 0] / tril[1, 1]]
    return out.ravel()


def exact(objective: objectives.ELBO | None = None) -> Inference:
    rows = [x[:n] for x, n in zip(data().x, LENGTHS, strict=True)]
    q = posteriors.PerDatum(families.GaussianMarkov(T, 2), num_data=N, key=KEY)
    q = eqx.tree_at(lambda q: q.table, q, jnp.asarray(np.stack([exact_params(x) for x in rows]), jnp.float32))
    return Inference(model(), q, objective or objectives.ELBO(2), gradients.StickTheLanding())


def test_the_law_is_the_dense_gaussian():
    x = data().x[0]
    law = families.GaussianMarkov(T, 2)(jnp.asarray(exact_params(x), jnp.float32))
    mean, cov = posterior_of(x)
    z, log_q = quick(jax.vmap(lambda k: law.sample_and_log_prob(key=k)))(jax.random.split(KEY, 20_000))
    assert log_q.shape == (20_000, T)
    expected = st.multivariate_normal(mean, cov).logpdf(np.asarray(z[:20]).reshape(20, -1))
    np.testing.assert_allclose(log_q[:20].sum(-1), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(z.mean(0).ravel(), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(np.asarray(z).reshape(20_000, -1).T), cov, atol=0.03)


def test_at_the_exact_posterior_the_bound_is_the_evidence_draw_by_draw():
    inference, rows = exact(), data().rows()
    params, static = eqx.partition(inference, eqx.is_array)

    def one(params, datum):
        own = eqx.combine(params, static)
        terms = own.objective.draw(own.model, own.q(datum, key=KEY), datum, key=KEY, share=1.0)
        return terms.log_w, terms.log_q

    log_w, log_q = quick(jax.vmap(one, (None, 0)))(params, rows)
    for i, (x, n) in enumerate(zip(data().x, LENGTHS, strict=True)):
        _, cov = posterior_of(x[:n])
        mean_x = np.zeros(3 * n)
        c = np.kron(np.eye(n), C)
        prior = np.linalg.inv(np.linalg.inv(cov) - c.T @ np.kron(np.eye(n), np.diag(1 / R)) @ c)
        evidence = st.multivariate_normal(mean_x, c @ prior @ c.T + np.kron(np.eye(n), np.diag(R))).logpdf(
            x[:n].ravel()
        )
        np.testing.assert_allclose(log_w[i], evidence, rtol=1e-4)
    assert not log_q[1, :, 2:].any()


@pytest.mark.slow
def test_the_gap_of_the_exact_posterior_is_zero_and_flat_ones_lose():
    effort = diagnose.Effort(steps=200, samples=64, draws=4)
    gap = diagnose.gap(exact(), data(), key=KEY, split="train", effort=effort)
    assert gap.log_evidence.lower_kind == "exact"
    for part in (gap.approximation, gap.amortization, gap.total):
        assert abs(part.value) < 0.02
    flat = eqx.tree_at(lambda i: i.posterior.table, exact(), replace_fn=jnp.zeros_like)
    assert fit.evaluate(flat, data(), key=KEY).mean() < gap.elbo.value - 0.5


@pytest.mark.parametrize("name", ["neural", "rssm"])
def test_deep_models_take_paths_too(name):
    if name == "neural":
        p = models.NeuralStateSpace(3, 2, decoder=(3,), width=3, key=KEY)
    else:
        p = models.RSSM(3, 0, deter_dim=3, latent=families.DiagGaussian(2), decoder=(3,), key=KEY)
    q = posteriors.PerDatum(families.GaussianMarkov(T, 2), num_data=N, key=KEY)
    inference = Inference(p, q, objectives.ELBO(), gradients.Reparam())
    fitted = fit.gradient(inference, data(), key=KEY, optimizer=optax.adam(0.05), steps=150)
    bound = fitted.history.bound
    assert bound[-20:].mean() > bound[:20].mean() + 0.3
    assert not fitted.inference.posterior.table.reshape(N, T, 9)[1, 2:].any()  # padding is never trained


def test_refusals():
    path, plain = families.GaussianMarkov(T, 2), families.DiagGaussian(2)
    linear, static = model(), models.Decoder(3, 2, widths=(), key=KEY)
    neural = models.NeuralStateSpace(3, 2, decoder=(), width=2, key=KEY)
    per = lambda family: posteriors.PerDatum(family, num_data=N, key=KEY)  # noqa: E731
    for p, q, words in (
        (linear, per(plain), "latents are a path over time; use posteriors.Exact"),
        (neural, per(plain), "families.GaussianMarkov"),
        (
            linear,
            per(families.GaussianMarkov(T, 3)),
            "length 3 a step with a model whose states have length 2",
        ),
        (models.HMM(2, 3, key=KEY), per(path), "states are discrete; use posteriors.Exact"),
        (static, per(path), "family of paths"),
        (neural, posteriors.Amortized(path, data_dim=3, widths=(), key=KEY), r"posteriors\.Smoothing"),
        (neural, posteriors.Filtering(path, like=neural, widths=(2,), key=KEY), "takes a law of one step"),
    ):
        with pytest.raises(CombinationError, match=words):
            Inference(p, q, objectives.ELBO(), gradients.Reparam())
    inference = Inference(linear, per(path), objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match="made for 4 steps, sequences have 5"):
        inference.q(Datum(jnp.zeros((5, 3)), index=jnp.asarray(0)), key=KEY)
