"""The public checks pass right members, of a user's own and of ours, and name every planted fault."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from jensen import families, gradients, models, objectives, posteriors, testing
from jensen.core import Datum, Inference
from jensen.errors import ContractError, InputError

from . import own

pytestmark = pytest.mark.filterwarnings("ignore:.*not jensen's own")
KEY, DRAWS = jax.random.key(5), 20_000


def inference(objective=None, gradient=None, model=None, posterior=None):
    return Inference(
        own.Line() if model is None else model,
        own.Guess() if posterior is None else posterior,
        own.Bound() if objective is None else objective,
        own.Slope() if gradient is None else gradient,
    )


def test_right_members_pass():
    reports = [
        testing.check_model(own.Line(), own.DATUM, key=KEY, draws=DRAWS),
        testing.check_posterior(own.Guess(), own.Line(), own.DATUM, key=KEY, draws=DRAWS),
        testing.check_objective(inference(), own.DATUM, key=KEY, draws=DRAWS),
        testing.check_gradient(inference(), own.DATUM, key=KEY, draws=20_000),
    ]
    asked = [set(report.passed) for report in reports]
    assert {"density of the draws", "evidence", "hidden entries"} <= asked[0]
    assert {"closed-form KL", "gradient through the draw", "groups", "fresh noise"} <= asked[1]
    assert {"bound", "below the evidence", "linear", "plain"} <= asked[2]
    assert {"gradient", "value"} <= asked[3]
    assert "posterior Guess: 13 checks passed" in str(reports[1]) and "not asked" in str(reports[1])


MODEL = {
    "prior": "density of the draws",
    "reads hidden": "hidden entries",
    "prior twice": "log_joint is prior plus likelihood",
    "evidence": "evidence",
}


@pytest.mark.parametrize("fault", MODEL)
def test_a_models_faults_are_named(fault):
    with pytest.raises(ContractError, match=rf"^model Line: {MODEL[fault]} fails"):
        testing.check_model(own.Line(fault), own.DATUM, key=KEY, draws=DRAWS)


POSTERIOR = {
    "law": "law",
    "narrow": "density of the draws",
    "two densities": "log_prob",
    "groups": "groups",
    "key reuse": "fresh noise",
    "shared noise": "density of the draws: full rank",
    "no path": "gradient through the draw",
    "swapped kl": "closed-form KL",
    "one entry too few": "closed-form KL",
    "reads hidden": "hidden entries",
}


@pytest.mark.parametrize("fault", POSTERIOR)
def test_a_posteriors_faults_are_named(fault):
    with pytest.raises(ContractError, match=rf"^posterior Guess: {POSTERIOR[fault]} fails"):
        testing.check_posterior(own.Guess(fault=fault), own.Line(), own.DATUM, key=KEY, draws=DRAWS)


OBJECTIVE = {
    "no axis": "axis of draws",
    "shared noise": "draws do not share noise",
    "dropped entropy": "bound",
    "above": "bound",
    "not plain": "plain",
    "not linear": "linear",
}


@pytest.mark.parametrize("fault", OBJECTIVE)
def test_an_objectives_faults_are_named(fault):
    with pytest.raises(ContractError, match=rf"^objective Bound: {OBJECTIVE[fault]} fails"):
        testing.check_objective(inference(own.Bound(fault=fault)), own.DATUM, key=KEY, draws=DRAWS)


def test_a_bound_above_the_evidence_is_named():
    with pytest.raises(ContractError, match="below the evidence fails"):
        testing.check_objective(inference(), own.DATUM, key=KEY, draws=DRAWS, evidence=-10.0)


GRADIENT = {
    "no score": "gradient",
    "own baseline": "gradient",
    "value": "value",
    "state": "state",
}


@pytest.mark.parametrize("fault", GRADIENT)
def test_a_gradients_faults_are_named(fault):
    with pytest.raises(ContractError, match=rf"^gradient Slope: {GRADIENT[fault]} fails"):
        testing.check_gradient(inference(gradient=own.Slope(fault)), own.DATUM, key=KEY, draws=20_000)


def test_what_is_said_to_be_biased_is_measured():
    report = testing.check_gradient(
        inference(gradient=own.Slope("says so")), own.DATUM, key=KEY, draws=10_000
    )
    assert "of the gradient" in report["bias is claimed"].detail


def test_a_check_can_be_skipped_by_its_name():
    report = testing.check_model(
        own.Line("reads hidden"), own.DATUM, key=KEY, draws=500, skip=["hidden entries"]
    )
    assert report["hidden entries"].passed is None
    with pytest.raises(InputError, match=r"did you mean 'hidden entries'"):
        testing.check_model(own.Line(), own.DATUM, key=KEY, draws=500, skip=["hidden entry"])


def test_ours_pass_where_latents_are_discrete():
    prior, row = models.priors.OneHot(3, 2), Datum(jnp.array([1.0, 0.0, 1.0]))
    model = models.Decoder(3, prior=prior, widths=(), key=KEY)
    q = posteriors.Amortized(families.OneHot(3, 2), data_dim=3, widths=(), key=KEY)
    assert "closed-form KL" in testing.check_posterior(q, model, row, key=KEY, draws=DRAWS).passed
    assert "likelihood of column 2" in testing.check_model(model, row, key=KEY, draws=DRAWS).passed
    four = Inference(model, q, objectives.IWAE(2), gradients.ScoreFunction(gradients.LeaveOneOut()))
    assert "below the evidence" in testing.check_objective(four, row, key=KEY, draws=DRAWS).passed


@pytest.mark.slow
def test_ours_pass_where_latents_are_a_path():
    path = models.NeuralStateSpace(2, 2, likelihood="gaussian", decoder=(), width=2, key=KEY)
    smoothing = posteriors.Smoothing(families.DiagGaussian(2), like=path, widths=(2,), key=KEY)
    padded = Datum(jnp.array([[0.1, 0.2], [1.0, -1.0], [0.5, 0.5]]), steps=jnp.asarray(2))
    report = testing.check_posterior(smoothing, path, padded, key=KEY, draws=2000)
    assert {"padding", "gradient through the draw"} <= set(report.passed)
