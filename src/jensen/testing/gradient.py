"""Checks of a gradient estimator of one's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from jensen import gradients
from jensen.core import AbstractGradient, Datum, Inference, worst
from jensen.dist import AbstractDensity, Reparameterized
from jensen.errors import check_key
from jensen.testing.expectation import expected, expected_surrogate, grid_of
from jensen.testing.invariance import on_device
from jensen.testing.report import LIMIT, Checks, Report, finite
from jensen.testing.unbiased import Comparison, compare, flat_gradient, single_gradient
from jensen.typing import PRNGKey


def check_gradient(
    inference: Inference,
    datum: Datum,
    *,
    key: PRNGKey,
    num_data: int = 1,
    draws: int = 50_000,
    skip: Collection[str] = (),
) -> Report:
    """Check what a gradient estimator claims in ``rule``, at one datum under the other three choices.

    The mean of many estimates is set against the gradient of the expected loss, parameter by parameter. The
    expectation is a sum over all values of discrete latents, or over a grid for one or two continuous entries
    (two draws of one entry, where the bound is on several draws together). Where neither will do, the mean of
    an unbiased estimator takes its place. A claim to be biased is never refuted: its bias is measured.

    Args:
        inference: Four choices, among them the gradient. Small instances, at parameters away from symmetric
            points, are tested quickest and best.
        datum: One datum of the model.
        key: Randomness.
        num_data: Size of the data set the datum is one of.
        draws: How many estimates are averaged; more see smaller biases.
        skip: Names of checks not to ask.

    Returns:
        What was checked; print it for a list.

    Raises:
        ContractError: At the first check that fails: what, where, what to do.
        InputError: If ``skip`` names no check.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> prior, key = jn.models.priors.Bernoulli(2), jax.random.key(0)
        >>> model = jn.models.Decoder(3, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.Bernoulli(2), data_dim=3, widths=(), key=key)
        >>> inference = jn.Inference(model, q, jn.objectives.ELBO(2), jn.gradients.DisARM())
        >>> report = check_gradient(inference, jn.Datum(jnp.ones(3)), key=key, draws=10_000)
        >>> "gradient" in report.passed
        True
    """
    check_key(key)
    datum = on_device(datum)
    gradient = inference.gradient
    checks = Checks(f"gradient {type(gradient).__name__}", skip)
    rules = (inference.posterior.rule, inference.objective.rule, gradient.rule)
    kind = worst(*(rule(inference) for rule in rules)).kind
    _check_call(checks, inference, datum, key, num_data)
    to_grid, to_seed = jax.random.split(key)
    seed = int(jax.random.randint(to_seed, (), 0, 2**31 - 1))
    grid = grid_of(inference, datum, key=to_grid)
    if grid is None:
        _check_against_another(checks, inference, datum, num_data=num_data, seed=seed, draws=draws, kind=kind)
        return checks.report()

    def surrogate(own: Inference) -> Any:
        return expected_surrogate(own, datum, grid, key=to_grid, num_data=num_data)

    of, flat = flat_gradient(inference, surrogate)
    truth = np.asarray(jax.jit(of)(flat), np.float64)
    if kind == "exact":
        once = single_gradient(inference, datum, num_data=num_data, seed=seed)
        off = float(np.linalg.norm(once - truth) / max(float(np.linalg.norm(truth)), 1e-30))
        checks.require("gradient", off < 1e-3, "it claims to be exact and is not", f"off by {off:.2%}")
        return checks.report()
    seen = compare(inference, datum, truth, num_data=num_data, seed=seed, draws=draws)
    _judge(checks, seen, kind, "the gradient of the expected loss")
    bound = float(eqx.filter_jit(expected)(inference, datum, grid, key=to_grid, num_data=num_data)[1])
    mean, se = seen.value
    checks.require(
        "value",
        abs(mean - bound) < LIMIT * se + 1e-3 * (1 + abs(bound)),
        "Estimate.value must be the objective's plain bound, in nats",
        f"mean {mean:.5g} ± {se:.2g}, the bound is {bound:.5g}",
    )
    return checks.report()


def _check_call(checks: Checks, inference: Inference, datum: Datum, key: PRNGKey, num_data: int) -> None:
    state = inference.gradient.init(inference)

    @eqx.filter_jit
    def call(inference: Any, state: Any, key: PRNGKey) -> Any:
        step = jnp.zeros((), jnp.int32)
        out = inference.gradient(inference, datum, key=key, step=step, num_data=num_data, state=state)
        return out.surrogate, out.value, out.state

    surrogate, value, after = call(inference, state, key)
    checks.require(
        "finite numbers",
        surrogate.shape == value.shape == () and finite(surrogate, value),
        "Estimate.surrogate and Estimate.value must be one finite number each",
        f"surrogate {np.asarray(surrogate)}, value {np.asarray(value)}",
    )
    shapes = [jax.tree.map(np.shape, tree) for tree in (state, after)]
    checks.require(
        "state",
        bool(shapes[0] == shapes[1]),
        "Estimate.state must have the structure and shapes that init(inference) gives",
        f"{shapes[1]}, init gives {shapes[0]}",
    )
    again = call(inference, state, key)[0]
    checks.require(
        "same key, same estimate", bool(surrogate == again), "randomness must come from key= alone"
    )


def _judge(checks: Checks, seen: Comparison, kind: str, what: str) -> None:
    limit = max(LIMIT, float(norm.isf(5e-5 / len(seen.z))))  # one false alarm in ten thousand, however many
    numbers = f"|z| up to {seen.worst:.1f} of {limit:.1f}, bias {seen.relative_bias:.2%} of the gradient"
    if kind == "biased":
        checks.require("bias is claimed", True, "", numbers)
        return
    advice = (
        f"it claims to be unbiased, its mean is not {what}: a term is missing, counted twice, or depends on "
        "the draw it should not know; or say so in rule()"
    )
    checks.require("gradient", seen.worst < limit, advice, f"{numbers}, {seen.detectable:.2%} would be seen")


def _check_against_another(
    checks: Checks, inference: Inference, datum: Datum, *, num_data: int, seed: int, draws: int, kind: str
) -> None:
    """Set the mean of the estimates against that of an estimator known to be unbiased."""
    law = inference.posterior.law(inference.model)
    other: AbstractGradient | None = None
    if issubclass(law, Reparameterized):
        other = gradients.Reparam()
    elif issubclass(law, AbstractDensity):
        other = gradients.ScoreFunction()
    if other is None or type(other) is type(inference.gradient):
        checks.omit("gradient", "latents can be neither summed over nor estimated otherwise")
        return
    zero = np.zeros_like(single_gradient(inference, datum, num_data=num_data, seed=seed))
    own = compare(inference, datum, zero, num_data=num_data, seed=seed, draws=draws)
    peer = compare(inference, datum, zero, num_data=num_data, gradient=other, seed=seed + 1, draws=draws)
    off, se = own.bias - peer.bias, np.hypot(own.se, peer.se)
    z = off / np.maximum(se, 1e-5 * np.linalg.norm(peer.bias))
    length = float(np.linalg.norm(peer.bias))
    both = Comparison(z, off, se, length, own.variance, own.value)
    _judge(checks, both, kind, f"that of {type(other).__name__}")
