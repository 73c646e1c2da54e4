"""Kalman smoothing, T=1000, 4 states, 2 columns: one sequence, or 100 of one model.

    python bench/kalman.py          # one sequence
    python bench/kalman.py --many   # 100, vmapped where the package can, in a loop where it cannot

Everyone gets the same parameters in float32 (statsmodels in float64) and gives log p(x), smoothed means and
covariances. Plain dynamax calls trace anew; wrapped in `jax.jit` by the user they do not.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

import numpy as np
from harness import Benchmark, Run, main

T, STATES, D = 1000, 4, 2
MANY = "--many" in sys.argv or os.environ.get("KALMAN_MANY") == "1"
N = 100 if MANY else 1
CALLS = 5 if MANY else 20


class Problem(NamedTuple):
    """One model and its sequences."""

    a: np.ndarray
    q: np.ndarray
    c: np.ndarray
    r: np.ndarray
    x: np.ndarray


def problem() -> Problem:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(STATES, STATES))
    a *= 0.95 / np.abs(np.linalg.eigvals(a)).max()
    root = 0.3 * rng.normal(size=(STATES, STATES)) + 0.5 * np.eye(STATES)
    c, r, z = rng.normal(size=(D, STATES)), np.array([0.5, 1.0]), rng.normal(size=(N, STATES))
    x = np.zeros((N, T, D), np.float32)
    for t in range(T):
        x[:, t] = z @ c.T + np.sqrt(r) * rng.normal(size=(N, D))
        z = z @ a.T + rng.normal(size=(N, STATES)) @ root.T
    return Problem(a, root @ root.T, c, r, x)


def jensen_smoother() -> Run:
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from jensen.core import Datum
    from jensen.models.sequence import LinearGaussianSSM

    p = problem()
    model = LinearGaussianSSM.with_parameters(p.a, p.q, p.c, p.r, initial=(np.zeros(STATES), np.eye(STATES)))
    x = jnp.asarray(p.x)

    @eqx.filter_jit
    def smooth(model, x):
        def one(x):
            law = model.posterior(Datum(x))
            return model.log_evidence(Datum(x)), law.smoothed

        return jax.vmap(one)(x) if MANY else one(x[0])

    def run():
        for _ in range(CALLS):
            got = jax.block_until_ready(smooth(model, x))
        return lambda: {"log p(x)": float(np.mean(np.asarray(got[0], np.float64)))}

    return run


def _dynamax(jitted: bool) -> Run:
    import jax
    import jax.numpy as jnp
    from dynamax.linear_gaussian_ssm import inference

    p = problem()
    f = lambda v: jnp.asarray(v, jnp.float32)  # noqa: E731
    params = inference.ParamsLGSSM(
        inference.ParamsLGSSMInitial(f(np.zeros(STATES)), f(np.eye(STATES))),
        inference.ParamsLGSSMDynamics(f(p.a), f(np.zeros(STATES)), f(np.zeros((STATES, 0))), f(p.q)),
        inference.ParamsLGSSMEmissions(f(p.c), f(np.zeros(D)), f(np.zeros((D, 0))), f(np.diag(p.r))),
    )
    smooth = inference.lgssm_smoother
    smooth = jax.vmap(smooth, (None, 0)) if MANY else smooth
    smooth = jax.jit(smooth) if jitted else smooth
    x = jnp.asarray(p.x) if MANY else jnp.asarray(p.x[0])

    def run():
        for _ in range(CALLS):
            got = jax.block_until_ready(smooth(params, x))
        return lambda: {"log p(x)": float(np.mean(np.asarray(got.marginal_loglik, np.float64)))}

    return run


def dynamax_plain() -> Run:
    return _dynamax(False)


def dynamax_jitted() -> Run:
    return _dynamax(True)


def statsmodels_smoother() -> Run:
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    p = problem()

    def run():
        for _ in range(CALLS):
            total = 0.0
            for x in p.x:
                k = KalmanSmoother(D, STATES, design=p.c, obs_cov=np.diag(p.r), transition=p.a, state_cov=p.q,
                                   selection=np.eye(STATES))  # fmt: skip
                k.bind(x.astype(np.float64))
                k.initialize_known(np.zeros(STATES), np.eye(STATES))
                total += k.smooth().llf
        return lambda: {"log p(x)": total / N}

    return run


SETUPS = {
    "jensen": jensen_smoother,
    "dynamax": dynamax_plain,
    "dynamax jitted": dynamax_jitted,
    "statsmodels": statsmodels_smoother,
}

if __name__ == "__main__":
    if MANY:  # for the workers, which are started with other arguments
        os.environ["KALMAN_MANY"] = "1"
        sys.argv = [a for a in sys.argv if a != "--many"]
    main(
        Benchmark("kalman_100" if MANY else "kalman", SETUPS, per=CALLS, unit="s per call", rounds=7,
                  settings={"T": T, "states": STATES, "columns": D, "sequences": N}),
        __file__,
    )  # fmt: skip
