"""Beliefs step by step: a dense joint Gaussian, all paths of a small chain, and a particle filter's truth."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference
from jensen.errors import InputError
from jensen.nets import trainable

KEY, T = jax.random.key(0), 5
LENGTHS = np.array([5, 3, 0, 4])


def exactly(model) -> Inference:
    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


class Law(NamedTuple):
    """A linear-Gaussian model, and its joint law of z_{1:T} and x_{1:T} in float64."""

    a: np.ndarray
    q: np.ndarray
    c: np.ndarray
    r: np.ndarray
    m: np.ndarray
    p: np.ndarray
    d: np.ndarray

    def model(self) -> models.LinearGaussianSSM:
        return models.LinearGaussianSSM.with_parameters(
            self.a, self.q, self.c, self.r, initial=(self.m, self.p), offsets=(np.zeros(2), self.d)
        )

    def given(self, x: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (T, n) and covariance (T, n, T, n) of z given the entries seen."""
        t, n = len(x), len(self.m)
        mean, cov = [self.m], np.zeros((t, n, t, n))
        cov[0, :, 0] = self.p
        for k in range(1, t):
            mean.append(self.a @ mean[-1])
            cov[k, :, :k] = np.einsum("ij,jsm->ism", self.a, cov[k - 1, :, :k])
            cov[:k, :, k] = cov[k, :, :k].transpose(1, 2, 0)
            cov[k, :, k] = self.a @ cov[k - 1, :, k - 1] @ self.a.T + self.q
        flat, h = cov.reshape(t * n, -1), np.kron(np.eye(t), self.c)[seen.ravel()]
        noise = np.diag(np.tile(self.r, t)[seen.ravel()])
        gain = np.linalg.solve(h @ flat @ h.T + noise, h @ flat).T
        away = (x - self.d).ravel()[seen.ravel()] - h @ np.concatenate(mean)
        found = np.concatenate(mean) + gain @ away
        return found.reshape(t, n), (flat - gain @ h @ flat).reshape(t, n, t, n)


@pytest.fixture(scope="module")
def law() -> Law:
    rng = np.random.default_rng(0)
    root = 0.4 * rng.normal(size=(2, 2)) + 0.5 * np.eye(2)
    return Law(
        a=np.array([[0.9, 0.3], [-0.3, 0.8]]), q=root @ root.T, c=rng.normal(size=(3, 2)),
        r=np.array([0.3, 0.8, 0.5]), m=np.array([1.0, -1.0]), p=np.eye(2), d=np.array([1000.0, 0.0, -3.0]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(law: Law) -> fit.Data:
    """Ragged, with single entries and a whole sequence missing; what is beyond a sequence is rubbish."""
    rng = np.random.default_rng(1)
    x = law.d + 2 * rng.normal(size=(4, T, 3))
    seen = rng.random((4, T, 3)) < 0.7
    seen[3] = False
    x[1, 3:] = np.nan
    return fit.Data(x, lengths=LENGTHS, mask=seen)


@pytest.mark.parametrize("name", ["filter", "smooth"])
def test_linear_gaussian_beliefs_are_those_of_the_joint_gaussian(name: str, law: Law, data: fit.Data):
    got = getattr(use, name)(exactly(law.model()), data)
    assert got.path is None and got.mean.shape == (4, T, 2) and got.signal.shape == (4, T, 3)
    for n, length in enumerate(LENGTHS):
        for values in (got.mean, got.std, got.signal, got.signal_std):
            assert np.isnan(values[n, length:]).all() and np.isfinite(values[n, :length]).all()
        for t in range(length):
            upto = t + 1 if name == "filter" else length
            mean, cov = law.given(data.x[n, :upto], data.mask[n, :upto])
            cov = cov[t, :, t]
            np.testing.assert_allclose(got.mean[n, t], mean[t], atol=2e-4)
            np.testing.assert_allclose(got.std[n, t], np.sqrt(np.diag(cov)), rtol=2e-4)
            np.testing.assert_allclose(got.signal[n, t], law.c @ mean[t] + law.d, atol=5e-4)
            np.testing.assert_allclose(
                got.signal_std[n, t], np.sqrt(np.diag(law.c @ cov @ law.c.T)), rtol=3e-4
            )


def test_where_nothing_was_observed_the_prior_is_left(law: Law):
    nothing = fit.Data(np.zeros((4, T, 3)), lengths=LENGTHS, mask=np.zeros((4, T, 3), bool))
    got = use.smooth(exactly(law.model()), nothing)
    expected = [np.linalg.matrix_power(law.a, t) @ law.m for t in range(T)]
    np.testing.assert_allclose(got.mean[0], expected, atol=1e-5)


HMM_PARTS = ([0.6, 0.3, 0.1], [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
RATES = np.array([[1.0, 4.0], [3.0, 0.5], [6.0, 2.0]])


def brute(x: np.ndarray, seen: np.ndarray) -> tuple[dict[tuple, float], np.ndarray]:
    """Return the probability of every path given x, and of every state at the last step."""
    from scipy.stats import poisson

    initial, kernel = map(np.array, HMM_PARTS)
    weights = {}
    for path in itertools.product(range(3), repeat=len(x)):
        p = initial[path[0]] * np.prod([kernel[i, j] for i, j in itertools.pairwise(path)])
        each = poisson.pmf(x, RATES[list(path)])
        weights[path] = p * np.where(seen, each, 1.0).prod()
    total = sum(weights.values())
    paths = {path: w / total for path, w in weights.items()}
    return paths, np.array([sum(w for path, w in paths.items() if path[-1] == k) for k in range(3)])


def test_hmm_beliefs_and_best_path_are_those_of_all_paths():
    inference = exactly(models.HMM.with_parameters(*HMM_PARTS, rates=RATES))
    rng = np.random.default_rng(3)
    x, seen = rng.poisson(3, size=(4, T, 2)).astype(float), rng.random((4, T, 2)) < 0.8
    seen[3] = False
    data = fit.Data(x, lengths=LENGTHS, mask=seen)
    past, whole = use.filter(inference, data), use.smooth(inference, data)
    assert past.std is None and past.path is None and whole.path.dtype == np.int32
    for n, length in enumerate(LENGTHS):
        assert np.isnan(past.mean[n, length:]).all() and (whole.path[n, length:] == -1).all()
        if not length:
            continue
        paths, _ = brute(x[n, :length], seen[n, :length])
        best = max(paths, key=paths.get)
        assert paths[tuple(whole.path[n, :length])] == pytest.approx(paths[best], rel=1e-4)
        for t in range(length):
            _, last = brute(x[n, : t + 1], seen[n, : t + 1])
            np.testing.assert_allclose(past.mean[n, t], last, atol=1e-5)
            at = np.array([sum(w for path, w in paths.items() if path[t] == k) for k in range(3)])
            np.testing.assert_allclose(whole.mean[n, t], at, atol=1e-5)
            np.testing.assert_allclose(whole.signal[n, t], at @ RATES, rtol=1e-4)
            spread = np.sqrt(at @ (RATES - at @ RATES) ** 2)
            np.testing.assert_allclose(whole.signal_std[n, t], spread, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------ deep models


def moved(tree, by=0.3):
    params, static = eqx.partition(tree, trainable(tree))
    rng = np.random.default_rng(2)
    params = jax.tree.map(lambda a: a + jnp.asarray(by * rng.normal(size=a.shape), a.dtype), params)
    return eqx.combine(params, static)


def deep(posterior) -> Inference:
    model = moved(models.NeuralStateSpace(2, 2, decoder=(), transition="linear", key=KEY))
    q = moved(posterior(families.DiagGaussian(2), like=model, widths=(4,), key=KEY))
    return Inference(model, q, objectives.ELBO(), gradients.Reparam())


def exact_twin(model) -> models.LinearGaussianSSM:
    """The same law as a linear-Gaussian model."""

    def affine(net):
        at_zero = np.asarray(net(jnp.zeros(2)), float)
        return np.stack([np.asarray(net(e), float) - at_zero for e in jnp.eye(2)], 1), at_zero

    (maps, offset), (loadings, shift) = affine(model.transition_net), affine(model.net)
    first = model.initial(Datum(jnp.zeros((T, 2))))
    noise = np.diag(np.asarray(first.scale, float) ** 2)
    return models.LinearGaussianSSM.with_parameters(
        maps[:2], noise, loadings, np.asarray(model.likelihood_family.scale, float) ** 2,
        initial=(np.asarray(first.loc, float), noise), offsets=(offset[:2], shift),
    )  # fmt: skip


def test_a_particle_filter_takes_the_future_out_of_a_smoothing_posterior():
    inference = deep(posteriors.Smoothing)
    rng = np.random.default_rng(5)
    seen = rng.random((4, T, 2)) < 0.8
    data = fit.Data(rng.normal(size=(4, T, 2)), lengths=LENGTHS, mask=seen)
    got = use.filter(inference, data, num_samples=10_000)
    twin = use.filter(exactly(exact_twin(inference.model)), data)
    for name in ("mean", "std", "signal", "signal_std"):
        np.testing.assert_allclose(getattr(got, name), getattr(twin, name), atol=0.12)
    later = fit.Data(data.x + 100 * (np.arange(T) > 2)[:, None], lengths=LENGTHS, mask=seen)
    again = use.filter(inference, later, num_samples=10_000)
    np.testing.assert_allclose(again.mean[:, :3], got.mean[:, :3], rtol=1e-5)


def test_deep_beliefs_are_those_of_paths_drawn_from_q():
    inference = deep(posteriors.Smoothing)
    x = np.random.default_rng(6).normal(size=(1, T, 2)).astype(np.float32)
    got = use.smooth(inference, fit.Data(x, lengths=[4]), num_samples=500)
    q = inference.q(Datum(jnp.asarray(x[0]), steps=jnp.asarray(4)), key=KEY)
    run = jax.jit(jax.vmap(lambda key: q.sample_and_log_prob(key=key)[0]))
    z = np.asarray(run(jax.random.split(KEY, 4000)))[:, :4]
    net = inference.model.net.layers[0]
    signal = z @ np.asarray(net.weight).T + np.asarray(net.bias)
    np.testing.assert_allclose(got.mean[0, :4], z.mean(0), atol=5 * z.std() / 500**0.5)
    np.testing.assert_allclose(got.std[0, :4], z.std(0), rtol=0.15)
    np.testing.assert_allclose(got.signal[0, :4], signal.mean(0), atol=5 * signal.std() / 500**0.5)
    np.testing.assert_allclose(got.signal_std[0, :4], signal.std(0), rtol=0.2)
    assert np.isnan(got.mean[0, 4]).all()


# ------------------------------------------------------------------------------------------ other uses


def test_hidden_entries_of_sequences_are_imputed_by_the_joint_gaussian(law: Law, data: fit.Data):
    filled = use.impute(exactly(law.model()), data, key=KEY)
    for n, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(filled[n, length:], data.x[n, length:])
        if not length:
            continue
        x, seen = data.x[n, :length], data.mask[n, :length]
        np.testing.assert_array_equal(filled[n, :length][seen], x[seen])
        expected = law.given(x, seen)[0] @ law.c.T + law.d
        np.testing.assert_allclose(filled[n, :length][~seen], expected[~seen], atol=5e-4)


def test_encode_and_reconstruct_answer_step_by_step(law: Law, data: fit.Data):
    inference = exactly(law.model())
    whole = use.smooth(inference, data)
    np.testing.assert_array_equal(use.encode(inference, data), whole.mean)
    np.testing.assert_array_equal(use.reconstruct(inference, data), whole.signal)


def test_deep_sequences_are_imputed_by_what_q_makes_of_them():
    inference = deep(posteriors.Filtering)
    x = np.random.default_rng(7).normal(size=(2, T, 2))
    x[0, 1:3] = x[1, 4, 1] = np.nan
    hidden = np.isnan(x)
    data = fit.Data(x, mask=~hidden, lengths=[5, 3])
    filled = use.impute(inference, data, key=KEY, num_samples=64)
    expected = use.filter(inference, data, key=KEY, num_samples=64).signal
    hidden[1] = False  # beyond the end of the sequence
    np.testing.assert_array_equal(filled[hidden], expected[hidden])
    np.testing.assert_array_equal(filled[~hidden], data.x[~hidden])
    with pytest.raises(InputError, match="no entry is hidden"):
        use.impute(inference, fit.Data(x[1:], mask=~np.isnan(x[1:]), lengths=[3]), key=KEY)


def test_sample_of_sequences_asks_for_steps_and_fitting_actions():
    plain = exactly(models.HMM.with_parameters(*HMM_PARTS, rates=RATES))
    acted = models.NeuralStateSpace(2, 2, decoder=(), transition="linear", cond_dim=1, key=KEY)
    q = posteriors.Filtering(families.DiagGaussian(2), like=acted, widths=(4,), key=KEY)
    acting = Inference(acted, q, objectives.ELBO(), gradients.Reparam())
    assert use.sample(plain, 3, steps=4, key=KEY).shape == (3, 4, 2)
    static = exactly(models.Gaussian.with_parameters(np.zeros(2), np.eye(2)))
    for words, call in (
        ("HMM draws sequences; pass steps=", lambda: use.sample(plain, 3, key=KEY)),
        ("leave steps out", lambda: use.sample(static, 3, steps=4, key=KEY)),
        ("must hold actions", lambda: use.sample(acting, 3, steps=4, key=KEY)),
        ("must hold actions", lambda: use.sample(acting, 3, steps=4, cond=np.zeros((2, 1)), key=KEY)),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_bad_calls(law: Law, data: fit.Data):
    exact, past = exactly(law.model()), deep(posteriors.Filtering)
    decoder = models.Decoder(2, 2, widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=2, widths=(), key=KEY)
    static = Inference(decoder, q, objectives.ELBO(), gradients.Reparam())
    for words, call in (
        ("sees the past only; fit posteriors.Smoothing", lambda: use.smooth(past, np.zeros((1, T, 2)))),
        ("Decoder is no model of sequences; use encode", lambda: use.filter(static, np.zeros((1, 2)))),
        ("X has 2 features, but LinearGaussianSSM", lambda: use.smooth(exact, data.x[:2, :3, :2])),
        ("takes sequences", lambda: use.filter(exact, np.zeros((4, 3)))),
        ("num_samples is 0", lambda: use.filter(exact, data, num_samples=0)),
        ("expected an Inference", lambda: use.smooth(law.model(), data)),
    ):
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
