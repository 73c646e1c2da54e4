"""Gaussian HMM by EM, 100 sequences of 200 steps, against dynamax and hmmlearn from the same start.

Everyone takes 20 steps and is charged for the whole call. dynamax's `fit_em` compiles anew at every call;
wrapped in `jax.jit` by the user it does not, and the wrapped call is timed after its compilation. dynamax
has a weak prior, hmmlearn none here, so the judge is the log-likelihood that each reaches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from harness import Benchmark, Run, main

N, T, D, K, STEPS = 100, 200, 2, 5, 20


class Problem(NamedTuple):
    """Sequences and a start."""

    x: np.ndarray
    initial: np.ndarray
    transition: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def problem() -> Problem:
    rng = np.random.default_rng(0)
    transition = 0.9 * np.eye(K) + 0.1 / K
    centre = 2.0 * rng.normal(size=(K, D))
    z = np.zeros((N, T), np.int64)
    z[:, 0] = rng.integers(0, K, N)
    for t in range(1, T):
        z[:, t] = (transition[z[:, t - 1]].cumsum(1) > rng.random((N, 1))).argmax(1)
    x = (centre[z] + rng.normal(size=(N, T, D))).astype(np.float32)
    start = centre + 0.5 * rng.normal(size=(K, D))
    return Problem(x, np.full(K, 1 / K), 0.6 * np.eye(K) + 0.4 / K, start, np.stack([2 * np.eye(D)] * K))


def _score(p: Problem, *parameters) -> float:
    """Mean log p(x) of a sequence in float64 by hmmlearn, whoever fitted."""
    from hmmlearn.hmm import GaussianHMM

    judge = GaussianHMM(K, "full")
    initial, transition, means, covariances = (np.asarray(v, np.float64) for v in parameters)
    judge.startprob_, judge.transmat_ = initial / initial.sum(), transition / transition.sum(1, keepdims=True)
    judge.means_, judge.covars_ = means, covariances
    return float(judge.score(p.x.reshape(-1, D).astype(np.float64), [T] * N)) / N


def jensen_em() -> Run:
    from jensen import fit
    from jensen.models.sequence import HMM

    p = problem()

    def run():
        model = HMM.with_parameters(p.initial, p.transition, means=p.means, covariances=p.covariances)
        fitted = fit.em(model, p.x, steps=STEPS, tolerance=0)  # every step, as the others

        def quality():
            m, emitted = fitted.model, fitted.model.emission_parameters
            reached = _score(
                p, m.initial_probs, m.transition_matrix, emitted["means"], emitted["covariances"]
            )
            return {"log p(x)": reached, "iterations": len(fitted.history.step) - 1}

        return quality

    return run


def _hmmlearn(implementation: str) -> Run:
    import logging

    from hmmlearn.hmm import GaussianHMM

    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    p = problem()
    x = p.x.reshape(-1, D).astype(np.float64)

    def run():
        model = GaussianHMM(
            K, "full", min_covar=0, covars_prior=0, covars_weight=0, n_iter=STEPS, tol=-np.inf,
            init_params="", implementation=implementation,
        )  # fmt: skip
        model.startprob_, model.transmat_, model.means_, model.covars_ = (v.copy() for v in p[1:])
        model.fit(x, [T] * N)
        return lambda: {"log p(x)": _score(p, model.startprob_, model.transmat_, model.means_, model.covars_)}

    return run


def hmmlearn_log() -> Run:
    return _hmmlearn("log")


def hmmlearn_scaling() -> Run:
    return _hmmlearn("scaling")


def _dynamax(jitted: bool) -> Run:
    import jax
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import GaussianHMM

    p = problem()
    model = GaussianHMM(K, D, initial_probs_concentration=1.0, transition_matrix_concentration=1.0)
    initial, transition, means, covariances = (jnp.asarray(v, jnp.float32) for v in p[1:])
    start, properties = model.initialize(
        initial_probs=initial,
        transition_matrix=transition,
        emission_means=means,
        emission_covariances=covariances,
    )
    x = jnp.asarray(p.x)

    def em(start, x):
        return model.fit_em(start, properties, x, num_iters=STEPS, verbose=False)

    call = jax.jit(em) if jitted else em

    def run():
        fitted, _ = jax.block_until_ready(call(start, x))

        def quality():
            reached = _score(
                p, fitted.initial.probs, fitted.transitions.transition_matrix, fitted.emissions.means,
                fitted.emissions.covs,
            )  # fmt: skip
            return {"log p(x)": reached}

        return quality

    return run


def dynamax_plain() -> Run:
    return _dynamax(jitted=False)


def dynamax_jitted() -> Run:
    return _dynamax(jitted=True)


SETUPS = {
    "jensen": jensen_em,
    "dynamax jitted": dynamax_jitted,
    "dynamax": dynamax_plain,
    "hmmlearn scaling": hmmlearn_scaling,
    "hmmlearn log": hmmlearn_log,
}

if __name__ == "__main__":
    main(
        Benchmark("hmm_em", SETUPS, unit="s per fit", rounds=9,
                  settings={"sequences": N, "steps": T, "D": D, "K": K, "iterations": STEPS}),
        __file__,
    )  # fmt: skip
