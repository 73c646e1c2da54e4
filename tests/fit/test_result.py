"""What a fit says of itself when printed."""

from __future__ import annotations

import jax
import numpy as np

import jensen as jn
from jensen import gradients, models, objectives, posteriors
from jensen.fit.result import Fitted, History


def fitted(**more: object) -> Fitted:
    model = models.Gaussian(3, key=jax.random.key(0))
    inference = jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    steps = np.arange(1, 5001)
    history = History(steps, -1.0 / steps, steps[::100], -1.5 / steps[::100], seconds=2.0)
    return Fitted(inference, history, "patience", **more)  # type: ignore[arg-type]


def test_printed_in_five_lines():
    assert str(fitted(restarts=np.array([-0.5, -2.0]))).splitlines() == [
        "Fitted: Gaussian × Exact × ELBO × Analytic",
        "stopped: patience",
        "steps: 5,000 in 2.0 s",
        "last bound: -0.000 nats per datum; best on validation rows: -0.000",
        "restarts: 2, final bounds from -2.000 to -0.500",
    ]


def test_a_single_fit_names_no_restarts():
    assert "restarts" not in repr(fitted())


def test_history_does_not_print_its_arrays():
    assert repr(fitted().history) == "History(5,000 steps, 50 validations)"


def test_a_fit_of_no_steps_prints():
    empty = Fitted(fitted().inference, History(np.zeros(0, int), np.zeros(0)), "steps")
    assert "steps: 0" in str(empty)
