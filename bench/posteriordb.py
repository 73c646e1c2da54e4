"""Black-box variational inference on seven posteriors with reference draws, beside NumPyro and blackjax.

    python bench/posteriordb.py [--only blr ...] [--methods full ...] [--steps 4000] --out FILE.json

Per method and posterior: (μ − μ_ref)/σ_ref and (σ − σ_ref)/σ_ref of every parameter (the largest is printed),
the same for importance-weighted moments, k̂, log-evidence, and the seconds of a first call (with compilation)
and of a second one with another key. Variational fits take 16 draws a step under Adam with the same kind of
decay. Ours start at Laplace's law, its time included; the others where they start by default, for more steps.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from posteriordb_models import NAMES, Problem, problem

import jensen as jn
from jensen import families, fit, gradients, objectives, posteriors, use
from jensen.algorithms.psis import psis

DRAWS, RATE, PEER_RATE, SAMPLES = 20_000, 0.02, 0.01, 16


def inference(model: Any, family: Any, start: Any) -> Any:
    q = posteriors.Global(family, start=start, key=jax.random.key(0))
    return jn.Inference(model, q, objectives.ELBO(SAMPLES), gradients.StickTheLanding())


def trained(family: Callable[[int], Any], start: Any = None) -> Callable[..., Callable[[int], use.Draws]]:
    def set_up(task: Problem, steps: int) -> Callable[[int], use.Draws]:
        optimizer = fit.annealed_adam(RATE, steps)

        def run(seed: int) -> use.Draws:
            key = jax.random.key(seed)
            start_at = posteriors.Laplace() if start is None else start
            four = inference(task.model, family(task.model.latent_dim), start_at)
            fitted = fit.gradient(four, None, key=key, optimizer=optimizer, steps=steps)
            return use.draws(fitted, key=key, num_draws=DRAWS)

        return run

    return set_up


def local(posterior: Any) -> Callable[..., Callable[[int], use.Draws]]:
    def set_up(task: Problem, steps: int) -> Callable[[int], use.Draws]:
        four = jn.Inference(task.model, posterior, objectives.ELBO(), gradients.Reparam())
        return lambda seed: use.draws(four, key=jax.random.key(seed), num_draws=DRAWS)

    return set_up


def weigh(model: Any, z: Any, log_q: Any) -> use.Draws:
    """Turn unconstrained draws of anybody's q into ours."""
    datum = jn.Datum(jnp.zeros(0))
    log_w = jax.lax.map(lambda z: model.log_joint(z, datum), z, batch_size=64) - log_q
    log_w = np.asarray(log_w, np.float64)
    values = {name: np.asarray(v) for name, v in jax.vmap(model.constrain)(z).items()}
    smoothed, k = psis(jnp.asarray(log_w - log_w.max()))
    weights = np.exp(np.asarray(smoothed, np.float64))
    return use.Draws(values, log_w, float(k), weights / weights.sum())


def numpyro_svi(guide_name: str) -> Callable[..., Callable[[int], use.Draws]]:
    def set_up(task: Problem, steps: int) -> Callable[[int], use.Draws]:
        import numpyro
        import numpyro.distributions as nd
        from numpyro.infer import SVI, Trace_ELBO, autoguide, init_to_uniform
        from numpyro.optim import optax_to_numpyro

        model, datum = task.model, jn.Datum(jnp.zeros(0))

        def density() -> None:
            z = numpyro.sample("z", nd.ImproperUniform(nd.constraints.real, (), (model.latent_dim,)))
            numpyro.factor("density", model.log_joint(z, datum))

        guide = getattr(autoguide, guide_name)(density, init_loc_fn=init_to_uniform)
        optimizer = optax_to_numpyro(fit.annealed_adam(PEER_RATE, steps))
        svi = SVI(density, guide, optimizer, Trace_ELBO(num_particles=SAMPLES))

        def run(seed: int) -> use.Draws:
            result = svi.run(jax.random.key(seed), steps, progress_bar=False)
            if guide_name == "AutoNormal":
                loc, scale = result.params["z_auto_loc"], result.params["z_auto_scale"]
                law: Any = nd.Normal(loc, scale).to_event(1)
            else:
                law = guide.get_posterior(result.params)
            z = law.sample(jax.random.key(seed + 1), (DRAWS,))
            return weigh(model, z, law.log_prob(z))

        return run

    return set_up


def blackjax_vi(name: str) -> Callable[..., Callable[[int], use.Draws]]:
    def set_up(task: Problem, steps: int) -> Callable[[int], use.Draws]:
        from blackjax.vi import fullrank_vi, meanfield_vi

        module: Any = {"meanfield": meanfield_vi, "fullrank": fullrank_vi}[name]
        model, datum, optimizer = task.model, jn.Datum(jnp.zeros(0)), fit.annealed_adam(PEER_RATE, steps)
        d = model.latent_dim

        def log_density(z: Any) -> Any:
            return model.log_joint(z, datum)

        @jax.jit
        def climb(key: Any) -> Any:
            def step(state: Any, key: Any) -> Any:
                return module.step(key, state, log_density, optimizer, SAMPLES)

            return jax.lax.scan(step, module.init(jnp.zeros(d), optimizer), jax.random.split(key, steps))[0]

        def run(seed: int) -> use.Draws:
            state = climb(jax.random.key(seed))
            z = module.sample(jax.random.key(seed + 1), state, DRAWS)
            mean, cov = z.mean(0), jnp.cov(z.T)  # its q is Gaussian: the density of so many draws is q's
            log_q = jax.scipy.stats.multivariate_normal.logpdf(z, mean, cov)
            return weigh(model, z, log_q)

        return run

    return set_up


def blackjax_pathfinder() -> Callable[..., Callable[[int], use.Draws]]:
    def set_up(task: Problem, steps: int) -> Callable[[int], use.Draws]:
        from blackjax.vi import pathfinder

        model, datum = task.model, jn.Datum(jnp.zeros(0))

        @jax.jit
        def find(key: Any) -> Any:
            to_start, to_find, to_draw = jax.random.split(key, 3)
            start = jax.random.uniform(to_start, (model.latent_dim,), minval=-2.0, maxval=2.0)
            state, _ = pathfinder.approximate(to_find, lambda z: model.log_joint(z, datum), start)
            return pathfinder.sample(to_draw, state, DRAWS)

        def run(seed: int) -> use.Draws:
            z, log_q = find(jax.random.key(seed))
            return weigh(model, z, log_q)

        return run

    return set_up


def flow(d: int) -> Any:
    return families.CouplingFlow(d, layers=6, widths=(32,), context_dim=0, key=jax.random.key(1))


METHODS: dict[str, Callable[..., Callable[[int], use.Draws]]] = {
    "mean-field": trained(families.DiagGaussian),
    "low-rank": trained(lambda d: families.LowRankGaussian(d, 2)),
    "full": trained(families.FullGaussian),
    "flow": trained(flow),
    "laplace": local(posteriors.Laplace()),
    "pathfinder": local(posteriors.Pathfinder()),
    "numpyro mean-field": numpyro_svi("AutoNormal"),
    "numpyro full": numpyro_svi("AutoMultivariateNormal"),
    "blackjax mean-field": blackjax_vi("meanfield"),
    "blackjax full": blackjax_vi("fullrank"),
    "blackjax pathfinder": blackjax_pathfinder(),
}


def row(task: Problem, method: str, steps: int) -> dict[str, Any]:
    """Run one method twice on one posterior, from nothing compiled."""
    jax.clear_caches()
    run, seconds, found = METHODS[method](task, steps), [], None
    for seed in (0, 1):
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jn.errors.JensenWarning)
            found = run(seed)
        seconds.append(time.perf_counter() - began)
    assert found is not None
    plain, weighted = task.errors(found.values), task.errors(found.values, found.weights)
    return {
        "posterior": task.name,
        "method": method,
        "labels": task.labels,
        "mean_error": plain[0].tolist(),
        "sd_error": plain[1].tolist(),
        "weighted_mean_error": weighted[0].tolist(),
        "weighted_sd_error": weighted[1].tolist(),
        "pareto_k": found.pareto_k,
        "elbo": found.elbo.value,
        "log_evidence": found.log_evidence.value,
        "seconds": seconds,
        "steps": steps,
    }


def line(out: dict[str, Any]) -> str:
    def worst(name: str) -> float:
        return float(np.abs(out[name]).max())

    first, later = out["seconds"]
    return (
        f"| {out['posterior']} | {out['method']} | {worst('mean_error'):.3f} | {worst('sd_error'):.3f} "
        f"| {worst('weighted_mean_error'):.3f} | {worst('weighted_sd_error'):.3f} | {out['pareto_k']:.2f} "
        f"| {out['elbo']:.3f} | {out['log_evidence']:.3f} | {first:.1f} | {later:.2f} |"
    )


HEAD = (
    "| posterior | method | mean | sd | mean, weighted | sd, weighted | k̂ | ELBO | log evidence "
    "| first, s | later, s |\n|" + "---|" * 11
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--steps", type=int, default=4_000)
    parser.add_argument("--peer-steps", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    print(HEAD)
    for name in options.only:
        task = problem(name)
        for method in options.methods:
            peer = method.startswith(("numpyro", "blackjax"))
            rows.append(row(task, method, options.peer_steps if peer else options.steps))
            print(line(rows[-1]), flush=True)
            if options.out:
                settings = {"rate": RATE, "peer_rate": PEER_RATE, "samples": SAMPLES, "draws": DRAWS}
                options.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
