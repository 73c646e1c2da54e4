"""Baselines with a memory: unbiased whatever they remember, and less noisy than none."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from jensen import gradients, objectives
from jensen.gradients import score_function

from . import small
from .checker import LIMIT, compare
from .oracle import discrete_loss
from .test_unbiased import SCORE, discrete, truth_of

DRAWS = 100_000


class Remembering(eqx.Module):
    """An estimator that begins with a memory of its choice."""

    base: Any
    memory: Any

    def init(self, inference):
        return self.memory

    def __call__(self, inference, datum, **rest):
        return self.base(inference, datum, **rest)


def seen(baseline: Any, objective: Any, mean: float) -> Any:
    gradient = gradients.ScoreFunction(baseline)
    inference = discrete("bernoulli", "per-datum", objective, gradient)
    assert inference.check().kind == "unbiased"
    truth = truth_of(inference, discrete_loss, small.BINARY)
    memory = gradient.init(inference)
    if memory is not None:
        one = jnp.ones(())
        memory = type(memory)(mean * one, 0.25 * one, one)
    estimator = Remembering(gradient, memory)
    out = compare(inference, small.BINARY, truth, num_data=small.NUM_DATA, gradient=estimator, draws=DRAWS)
    print(f"|z| {out.worst:.2f} detectable {out.detectable:.4f} variance {out.variance:.4g}")
    return out


def learned() -> Any:
    return small.moved(gradients.Learned(3, widths=(4,), key=jax.random.key(5)), seed=4)


def test_memories_leave_it_unbiased_and_quieter():
    elbo = objectives.ELBO(1, kl="sampled")
    plain = seen(gradients.NoBaseline(), elbo, 0.0)
    running = seen(gradients.RunningMean(), elbo, 2.4)
    taught = seen(learned(), elbo, 2.4)
    for out in (plain, running, taught):
        assert out.worst < LIMIT
    print(f"variance over that without: running {running.variance / plain.variance:.3f}")
    assert running.variance < 0.5 * plain.variance and taught.variance < 0.7 * plain.variance


@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
def test_vimco_of_either_mean(mean):
    out = seen(gradients.LeaveOneOut(mean), objectives.IWAE(3), 0.0)
    assert out.worst < LIMIT


def test_a_memory_that_has_seen_its_own_draw_is_flagged(monkeypatch):
    right = score_function.centre

    def peeking(baseline, signals, datum, memory):
        return right(baseline, signals, datum, memory.after(signals.mean(), 0.8))

    monkeypatch.setattr(score_function, "centre", peeking)
    assert seen(gradients.RunningMean(), objectives.ELBO(1, kl="sampled"), 2.4).worst > LIMIT


def test_the_first_step_has_no_baseline():
    assert float(gradients.RunningMean().foretell(small.BINARY, gradients.RunningMean().start())) == 0
    assert isinstance(SCORE.baseline, gradients.NoBaseline)
