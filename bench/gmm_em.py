"""Full-covariance Gaussian mixture EM against scikit-learn, from the same start.

scikit-learn is charged for its E- and M-steps only (its `fit` does one more E-step), jensen for the whole
call of `fit.em`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import Benchmark, Run, main

N, D, K, STEPS = 200_000, 16, 32, 10
FLOOR = 0.0
"""Added to every variance: nothing, so that all climb the same likelihood."""


class Problem(NamedTuple):
    """Rows and a start: equal weights, perturbed centres, the pooled covariance."""

    x: np.ndarray
    mean: np.ndarray
    cov: np.ndarray


def problem() -> Problem:
    rng = np.random.default_rng(0)
    centre = 2.0 * rng.normal(size=(K, D))
    mixing = 0.3 * rng.normal(size=(K, D, D)) + 0.5 * np.eye(D)
    label = rng.integers(0, K, N)
    x = centre[label] + np.einsum("nij,nj->ni", mixing[label], rng.normal(size=(N, D)))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    start = np.stack([x[label == k].mean(0) for k in range(K)]) + 0.1 * rng.normal(size=(K, D))
    return Problem(x, start, np.broadcast_to(np.cov(x.T), (K, D, D)).copy())


def _score(p: Problem, weight: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> float:
    """Mean log p(x) in float64 by scikit-learn, whoever fitted."""
    from sklearn.mixture import GaussianMixture

    judge = GaussianMixture(K)
    judge.weights_, judge.means_, judge.covariances_ = weight, mean, cov
    judge.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(cov)).swapaxes(1, 2)
    return float(judge.score(p.x.astype(np.float64)))


def scikit_learn(dtype: type = np.float64) -> Run:
    from sklearn.mixture import GaussianMixture

    p = problem()
    x = p.x.astype(dtype)
    precision = np.linalg.inv(p.cov)

    def run():
        gmm = GaussianMixture(K, weights_init=np.full(K, 1 / K), means_init=p.mean, precisions_init=precision,
                              reg_covar=FLOOR)  # fmt: skip
        gmm._initialize_parameters(x, np.random.RandomState(0), np)
        for _ in range(STEPS):
            _, log_r = gmm._e_step(x)
            gmm._m_step(x, log_r)
        return lambda: {"log p(x)": _score(p, gmm.weights_, gmm.means_, gmm.covariances_)}

    return run


def scikit_learn_float32() -> Run:
    return scikit_learn(np.float32)


def jax_by_hand() -> Run:
    import sys

    import jax
    import jax.numpy as jnp

    sys.path.insert(0, str(Path(__file__).parent / "prototypes"))
    import gmm

    p = problem()
    x, weight = gmm.to_chunks(p.x)
    log_w = jnp.full(K, -jnp.log(K))
    start = gmm.Mixture(
        log_w, jnp.asarray(p.mean, jnp.float32), jnp.asarray(np.linalg.cholesky(p.cov), jnp.float32)
    )

    def run():
        fitted, _ = jax.block_until_ready(gmm.em(start, x, weight, STEPS, FLOOR))

        def quality():
            w, mean, factor = (np.asarray(v, np.float64) for v in fitted)
            return {"log p(x)": _score(p, np.exp(w) / np.exp(w).sum(), mean, factor @ factor.swapaxes(1, 2))}

        return quality

    return run


def jensen_em() -> Run:
    from jensen import fit, models

    p = problem()

    def run():
        gmm = models.GaussianMixture.with_parameters(np.full(K, 1 / K), p.mean, p.cov)
        fitted = fit.em(gmm, p.x, steps=STEPS, tolerance=0)  # every step, as the others

        def quality():
            m = fitted.model
            reached = _score(p, *(np.asarray(v, np.float64) for v in (m.weights, m.means, m.covariances)))
            return {"log p(x)": reached, "iterations": len(fitted.history.step) - 1}

        return quality

    return run


SETUPS = {
    "jensen": jensen_em,
    "jax by hand": jax_by_hand,
    "scikit-learn": scikit_learn,
    "scikit-learn float32": scikit_learn_float32,
}

if __name__ == "__main__":
    main(
        Benchmark("gmm_em", SETUPS, per=STEPS, unit="s per iteration", rounds=5,
                  settings={"N": N, "D": D, "K": K, "covariance": "full", "iterations per run": STEPS}),
        __file__,
    )  # fmt: skip
