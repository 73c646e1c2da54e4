"""The hidden Markov model against the sum over all paths, for every emission, mask and length."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, poisson

import jensen as jn
from jensen import fit
from jensen.core import Datum
from jensen.dist import kl_divergence
from jensen.errors import CombinationError, InputError, JensenWarning
from jensen.models.sequence import HMM

KEY = jax.random.key(0)


def logsumexp(values: list[float]) -> float:
    return float(np.logaddexp.reduce(values))


K, D, T, U, C = 2, 2, 5, 2, 3
RNG = np.random.default_rng(0)
INITIAL, MATRIX = np.array([0.7, 0.3]), np.array([[0.8, 0.2], [0.3, 0.7]])
MEANS = np.array([[100.0, 5.0], [103.0, 4.0]])
_ROOT = RNG.normal(size=(K, D, D))
FULL = _ROOT @ _ROOT.swapaxes(1, 2) + 0.5 * np.eye(D)
PROBS = RNG.dirichlet(np.ones(C), size=(K, D))
RATES = np.array([[2.0, 30.0], [7.0, 0.5]])
INPUTS = RNG.normal(size=(T, U)).astype(np.float32)
WEIGHTS = {"gaussian": RNG.normal(size=(K, D, U)), "categorical": RNG.normal(size=(K, D, C, U)),
           "poisson": 0.3 * RNG.normal(size=(K, D, U))}  # fmt: skip
EMISSIONS = ("gaussian", "categorical", "poisson")


def _given(emission: str, inputs: bool) -> Any:
    values = {
        "gaussian": {"means": MEANS, "covariances": FULL},
        "categorical": {"probs": PROBS},
        "poisson": {"rates": RATES},
    }[emission]
    weights = WEIGHTS[emission] if inputs else None
    return HMM.with_parameters(INITIAL, MATRIX, **values, input_weights=weights)


def _x(emission: str, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return {
        "gaussian": MEANS[rng.integers(0, K, T)] + rng.normal(size=(T, D)),
        "categorical": rng.integers(0, C, (T, D)),
        "poisson": rng.poisson(5.0, (T, D)),
    }[emission].astype(np.float32)


def _row(emission: str, state: int, x: np.ndarray, seen: np.ndarray, u: np.ndarray | None) -> float:
    """log p(x_t | z_t) of the observed entries."""
    weights = WEIGHTS[emission][state]
    moved = 0.0 if u is None else weights @ u
    if not seen.any():
        return 0.0
    if emission == "gaussian":
        law = multivariate_normal((MEANS[state] + moved)[seen], FULL[state][np.ix_(seen, seen)])
        return float(law.logpdf(x[seen]))
    if emission == "poisson":
        return float(poisson.logpmf(x, RATES[state] * np.exp(moved))[seen].sum())
    logits = np.log(PROBS[state]) + moved
    each = logits - np.logaddexp.reduce(logits, axis=-1)[..., None]
    return float(each[np.arange(D), x.astype(int)][seen].sum())


def _joint(
    emission: str, x: np.ndarray, mask: np.ndarray, steps: int, u: Any
) -> dict[tuple[int, ...], float]:
    joint = {}
    for z in itertools.product(range(K), repeat=steps):
        joint[z] = sum(
            np.log(INITIAL[z[0]] if t == 0 else MATRIX[z[t - 1], z[t]])
            + _row(emission, z[t], x[t].astype(float), mask[t], None if u is None else u[t])
            for t in range(steps)
        )
    return joint


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("emission", EMISSIONS)
def test_evidence_and_posterior_are_the_sum_over_paths(emission: str, masked: bool, inputs: bool):
    model, x = _given(emission, inputs), _x(emission)
    mask = np.ones((T, D), bool)
    if masked:
        mask[1, 0] = mask[3] = False  # a single entry, and a whole step
    dirty = np.where(mask, x, np.nan).astype(np.float32)
    u = INPUTS if inputs else None

    @eqx.filter_jit
    def everything(steps: Any) -> Any:
        hidden = jnp.asarray(mask) if masked else None
        datum = Datum(jnp.asarray(dirty), u, mask=hidden, steps=steps)
        q = model.posterior(datum)
        z, log_q = q.sample_and_log_prob(key=KEY)
        prior = model.prior_of(u)
        out = model.log_evidence(datum), q.marginals, q.mode, model.log_joint(z, datum) - log_q.sum()
        kl = kl_divergence(q, prior, z)
        assert kl is not None
        each = jax.vmap(model.log_likelihood_at, (0, 0, None))(jnp.maximum(z, 0), jnp.arange(T), datum)
        return (*out, kl, z, each.sum() - model.log_likelihood(z, datum), model.conditional_mean(datum))

    for steps in (0, 1, 4, T):
        joint = _joint(emission, x, mask, steps, u)
        want = logsumexp(list(joint.values()))
        evidence, marginals, mode, bayes, kl, z, difference, filled = everything(jnp.asarray(steps))
        assert abs(float(evidence) - want) < 2e-5 * max(1.0, abs(want)), steps
        assert abs(float(difference)) < 1e-4  # the model one step at a time, and all at once
        assert (np.asarray(z)[steps:] == -1).all() and not np.asarray(kl[steps:]).any()
        np.testing.assert_array_equal(np.asarray(filled)[steps:], dirty[steps:])
        if steps == 0:
            assert float(evidence) == 0.0 and float(bayes) == 0.0
            continue
        # log p(x) = log p(x, z) − log q(z) at any path
        assert abs(float(bayes) - want) < 2e-5 * max(1.0, abs(want))
        assert tuple(np.asarray(mode)[:steps]) == max(joint, key=lambda z: joint[z])
        share = {z: np.exp(value - want) for z, value in joint.items()}
        expected = np.array(
            [[sum(s for z, s in share.items() if z[t] == k) for k in range(K)] for t in range(steps)]
        )
        np.testing.assert_allclose(np.asarray(marginals)[:steps], expected, atol=2e-4)
        prior = {z: value - _joint(emission, x, mask & False, steps, u)[z] for z, value in joint.items()}
        # KL(q ‖ p) = E_q log p(x | z) − log p(x)
        divergence = sum(share[z] * prior[z] for z in joint) - want
        assert abs(float(kl.sum()) - divergence) < 1e-3
        if masked and emission != "categorical" and steps > 3:
            rates = RATES if u is None else RATES * np.exp(WEIGHTS["poisson"] @ u[3])
            means = MEANS if u is None else MEANS + WEIGHTS["gaussian"] @ u[3]
            hidden = expected[3] @ (means if emission == "gaussian" else rates)
            np.testing.assert_allclose(np.asarray(filled)[3], hidden, rtol=1e-4)
            np.testing.assert_array_equal(np.asarray(filled)[0], x[0])


@pytest.mark.parametrize("emission", EMISSIONS)
def test_padding_changes_no_bit(emission: str):
    model = _given(emission, inputs=False)

    @eqx.filter_jit
    def run(datum: Datum) -> Any:
        q = model.posterior(datum)
        z, log_q = q.sample_and_log_prob(key=KEY)
        return model.log_evidence(datum), (q.marginals, q.mode, z, log_q)

    length, more = (5, 66) if emission == "gaussian" else (3, 2)
    x = _x(emission)[:length]
    padded = np.full((length + more, D), np.nan, np.float32)
    padded[:length] = x
    evidence, steps = run(Datum(jnp.asarray(x), steps=jnp.asarray(length)))
    again, longer = run(Datum(jnp.asarray(padded), steps=jnp.asarray(length)))
    np.testing.assert_array_equal(evidence, again)
    for a, b in zip(steps, longer, strict=True):
        np.testing.assert_array_equal(a, b[:length])


_evidence = HMM.log_evidence
FAULTS = {
    "transposed transitions": ("_chain", lambda m: (jnp.log(INITIAL), jnp.log(MATRIX.T))),
    "initial law forgotten": ("_chain", lambda m: (jnp.zeros(K), jnp.log(MATRIX))),
    "density in the wrong units": ("_in_units", lambda m, log_p, mask, real: jnp.where(real, log_p, 0.0)),
    "padding counted": ("log_evidence", lambda m, datum: _evidence(m, Datum(datum.x, mask=datum.mask))),
    "mask ignored": (
        "_see",
        lambda m, d, real: (m.emission.see(m.frame.enter(jnp.where(d.mask, d.x, 0.0)), None, None), None),
    ),
}


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_planted_faults_show(fault: str | None, monkeypatch: pytest.MonkeyPatch):
    """The tolerance of the comparison above is tight enough to see them."""
    model, x, steps, mask = _given("gaussian", inputs=False), _x("gaussian"), 4, np.ones((T, D), bool)
    mask[1, 0] = mask[3] = False
    if fault is not None:
        monkeypatch.setattr(HMM, *FAULTS[fault])
    want = logsumexp(list(_joint("gaussian", x, mask, steps, None).values()))
    got = float(model.log_evidence(Datum(jnp.asarray(x), mask=jnp.asarray(mask), steps=jnp.asarray(steps))))
    assert (abs(got - want) < 2e-5 * abs(want)) == (fault is None)


def _sequences(emission: str, inputs: bool, num: int = 30, length: int = 25) -> fit.Data:
    model, rng = _given(emission, inputs), np.random.default_rng(5)
    u = rng.normal(size=(num, length, U)).astype(np.float32) if inputs else None
    like = Datum(np.zeros((num, length, D), np.float32), u)
    x = jax.vmap(lambda d, key: model.simulate(d, key=key)[1])(like, jax.random.split(KEY, num))
    mask = rng.random((num, length, D)) > 0.2
    mask[rng.random((num, length)) < 0.1] = False
    lengths = rng.integers(0, length + 1, num)
    return fit.Data(np.asarray(x), cond=u, lengths=lengths, mask=mask, weights=rng.random(num))


CASES = [("gaussian", "full", False), ("gaussian", "diag", True), ("gaussian", "tied", False),
         ("gaussian", "spherical", False), ("gaussian", "full", True), ("categorical", "full", False),
         ("poisson", "full", False)]  # fmt: skip


@pytest.mark.parametrize(("emission", "covariance", "inputs"), CASES)
def test_em_never_lowers_the_likelihood(emission: str, covariance: str, inputs: bool):
    data = _sequences(emission, inputs)
    model = HMM(
        3, D, emission, covariance=covariance, num_categories=C if emission == "categorical" else None,
        input_dim=U if inputs else 0, key=KEY,
    )  # fmt: skip
    fitted = fit.em(model, data, steps=15, tolerance=0.0, key=KEY)
    assert np.diff(fitted.history.bound).min() > -1e-5 * abs(fitted.history.bound).max()
    assert not fitted.history.events
    per_sequence = fit.evaluate(fitted.inference, data, key=KEY)
    assert data.weights is not None
    assert abs(np.average(per_sequence, weights=data.weights) - fitted.history.bound[-1]) < 2e-3


@pytest.mark.parametrize(
    "held",
    [
        lambda m: m.initial_logits,
        lambda m: m.transition_logits,
        lambda m: m.emission.components.means,
        lambda m: m.emission.weights,
        lambda m: m.emission.components.covariance,
    ],
    ids=["initial", "transition", "means", "weights", "covariance"],
)
def test_frozen_parameters_keep_their_bits_and_the_rest_climbs(held: Any):
    data, start = _sequences("gaussian", inputs=True), _given("gaussian", inputs=True)
    parts = [
        lambda m: m.initial_logits, lambda m: m.transition_logits, lambda m: m.emission.components.means,
        lambda m: m.emission.weights, lambda m: m.emission.components.covariance,
    ]  # fmt: skip
    free = [part for part in parts if part(start) is not held(start)]
    fitted = fit.em(
        start, data, steps=6, tolerance=0.0, trainable=lambda i: tuple(part(i.model) for part in free)
    )
    assert np.diff(fitted.history.bound).min() > -1e-5 * abs(fitted.history.bound).max()
    for before, after in zip(jax.tree.leaves(held(start)), jax.tree.leaves(held(fitted.model)), strict=True):
        np.testing.assert_array_equal(before, after)
    for part in free:
        pairs = zip(jax.tree.leaves(part(start)), jax.tree.leaves(part(fitted.model)), strict=True)
        assert any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)


def test_em_ends_where_the_evidence_is_stationary():
    data = _sequences("gaussian", inputs=True)
    fitted = fit.em(_given("gaussian", inputs=True), data, steps=400, tolerance=0.0)
    rows = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32 if a.dtype.kind == "f" else None), data.rows())
    weight = rows.weight
    assert weight is not None

    def mean(model: HMM) -> jax.Array:
        return (weight * jax.vmap(model.log_evidence)(rows)).mean()

    gradient = eqx.filter_jit(eqx.filter_grad(mean))(fitted.model)
    parts = gradient.transition_logits, gradient.emission.components, gradient.emission.weights
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(parts)) < 5e-3


def test_structural_zeros_stay_and_empty_states_stay_finite():
    x = np.concatenate([np.zeros((20, 6, 1)), np.full((20, 6, 1), 4.0)], 1) + RNG.normal(size=(20, 12, 1))
    start = HMM.with_parameters(
        [1.0, 0.0, 0.0], [[0.8, 0.2, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]],
        means=[[0.0], [4.0], [1e4]], covariances=np.ones((3, 1, 1)),
    )  # fmt: skip
    fitted = fit.em(start, x, steps=20, tolerance=0.0)
    assert (
        fitted.model.transition_matrix[[0, 1, 1, 2], [2, 0, 1, 0]]
        == [0, 0, fitted.model.transition_matrix[1, 1], 0]
    ).all()
    assert fitted.model.transition_matrix[0, 2] == 0 and fitted.model.initial_probs[1] == 0
    leaves = jax.tree.leaves(eqx.filter(fitted.model, eqx.is_inexact_array))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    np.testing.assert_allclose(fitted.model.emission_parameters["means"][2], 1e4, rtol=1e-6)
    never = HMM.with_parameters([1.0], [[1.0]], probs=[[0.5, 0.5, 0.0]])
    value, gradient = eqx.filter_value_and_grad(lambda m: m.log_evidence(Datum(jnp.array([[0.0], [2.0]]))))(
        never
    )
    assert np.isneginf(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient) if eqx.is_array(leaf))
    zeros = fit.em(HMM(2, 1, "poisson", key=KEY), np.r_[np.zeros(30), np.full(30, 9)][None, :, None], key=KEY)
    assert (zeros.model.emission_parameters["rates"] > 0).all()


def test_gradient_ascent_reaches_em_s_optimum():
    import optax

    x = np.asarray(_sequences("poisson", inputs=False).x)
    by_em = fit.em(HMM(2, D, "poisson", key=KEY), x, steps=200, key=KEY)
    start = HMM(2, D, "poisson", key=KEY).initialize_from(fit.Data(x).rows(), key=KEY)
    inference = jn.Inference(start, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
    assert inference.check().kind == "exact"
    by_gradient = fit.gradient(
        inference, x, key=KEY, optimizer=optax.adam(5e-2), steps=400, batch_size=len(x)
    )
    reached = fit.evaluate(by_gradient.inference, x, key=KEY).mean()
    assert abs(reached - by_em.history.bound[-1]) < 0.02


@pytest.mark.parametrize("emission", EMISSIONS)
def test_simulated_sequences_have_the_moments_of_the_chain(emission: str):
    model, num = _given(emission, inputs=False), 4000
    like = Datum(jnp.zeros((4, D)), steps=jnp.asarray(3))
    z, x = eqx.filter_jit(jax.vmap(lambda key: model.simulate(like, key=key)))(jax.random.split(KEY, num))
    z, x = np.asarray(z), np.asarray(x)
    assert (z[:, 3] == -1).all() and not x[:, 3].any()
    second = INITIAL @ MATRIX
    assert abs((z[:, 1] == 0).mean() - second[0]) < 4.5 * 0.5 / np.sqrt(num)
    states = {
        "gaussian": (MEANS, np.sqrt(np.diagonal(FULL, axis1=1, axis2=2))),
        "poisson": (RATES, np.sqrt(RATES)),
        "categorical": (PROBS @ np.arange(C), np.full((K, D), 1.0)),
    }[emission]
    for k in range(K):
        rows = x[:, 1][z[:, 1] == k]
        assert (np.abs(rows.mean(0) - states[0][k]) < 4.5 * states[1][k] / np.sqrt(len(rows))).all()
    if emission == "gaussian":
        np.testing.assert_allclose(np.cov(x[:, 1][z[:, 1] == 0].T), FULL[0], rtol=0.15, atol=0.15)


@pytest.mark.parametrize("emission", EMISSIONS)
def test_parameters_come_back_in_the_data_s_own_units(emission: str):
    model = _given(emission, inputs=True)
    np.testing.assert_allclose(model.initial_probs, INITIAL, rtol=1e-6)
    np.testing.assert_allclose(model.transition_matrix, MATRIX, rtol=1e-6)
    got = model.emission_parameters
    np.testing.assert_allclose(got["input_weights"], WEIGHTS[emission], rtol=1e-5)
    if emission == "gaussian":
        np.testing.assert_allclose(got["means"], MEANS, rtol=1e-6)
        np.testing.assert_allclose(got["covariances"], FULL, rtol=1e-5)
    else:
        name, want = ("probs", PROBS) if emission == "categorical" else ("rates", RATES)
        np.testing.assert_allclose(got[name], want, rtol=1e-5)


def test_regression_on_inputs_is_found_wherever_they_sit():
    rng = np.random.default_rng(3)
    u = rng.normal(size=(40, 30, 1)) + 1000.0
    z = np.repeat(rng.integers(0, 2, (40, 3)), 10, axis=1)
    x = np.where(z[..., None] == 0, -2.0 * (u - 1000), 5.0 + 1.5 * (u - 1000)) + 0.1 * rng.normal(
        size=u.shape
    )
    fitted = fit.em(HMM(2, 1, input_dim=1, key=KEY), fit.Data(x, cond=u), steps=60, key=KEY)
    weights = np.sort(fitted.model.emission_parameters["input_weights"].ravel())
    np.testing.assert_allclose(weights, [-2.0, 1.5], atol=0.02)


def test_an_unreachable_state_is_named():
    with pytest.warns(JensenWarning, match="state 1 can never be reached"):
        HMM.with_parameters([1.0, 0.0], np.eye(2), rates=[[1.0], [2.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HMM.with_parameters([1.0, 0.0], [[0.5, 0.5], [0.0, 1.0]], rates=[[1.0], [2.0]])


_OK = {"means": MEANS, "covariances": FULL}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: HMM(0, 2, key=KEY), "num_states is 0"),
        (lambda: HMM(2, 2, "gausian", key=KEY), "did you mean 'gaussian'"),
        (lambda: HMM(2, 2, "categorical", key=KEY), "needs num_categories=, C for the codes 0..C−1"),
        (lambda: HMM(2, 2, num_categories=3, key=KEY), "num_categories goes with emission='categorical'"),
        (lambda: HMM(2, 2, "categorical", num_categories=1, key=KEY), "at least 2"),
        (lambda: HMM.with_parameters(INITIAL, [[0.8, 0.2], [0.3, 0.6]], **_OK), "row 1: sums to 0.9"),
        (
            lambda: HMM.with_parameters(INITIAL, [[1.2, -0.2], [0.3, 0.7]], **_OK),
            "row 0: entry 1 is -0.2",
        ),
        (lambda: HMM.with_parameters([0.5, 0.6], MATRIX, **_OK), "initial_probs: sums to 1.1"),
        (lambda: HMM.with_parameters(INITIAL, np.eye(3), **_OK), r"give \(K,\) and \(K, K\)"),
        (
            lambda: HMM.with_parameters(INITIAL, MATRIX, means=MEANS, covariances=FULL * [[[1]], [[-1]]]),
            "state 1 is not positive definite",
        ),
        (lambda: HMM.with_parameters(INITIAL, MATRIX, rates=[[1.0], [0.0]]), "state 1, column 0"),
        (
            lambda: HMM.with_parameters(INITIAL, MATRIX, probs=[[0.5, 0.5], [0.5, 0.4]]),
            "column 1, 0: sums",
        ),
        (lambda: HMM.with_parameters(INITIAL, MATRIX, means=MEANS), "got means; give"),
        (lambda: HMM.with_parameters(INITIAL, MATRIX, rates=np.ones((3, 1))), "chain has 2 states"),
        (lambda: fit.em(HMM(2, 2, key=KEY), np.ones((5, 2))), "takes sequences"),
        (
            lambda: fit.em(HMM(2, 1, "poisson", key=KEY), np.array([[[1.0], [-2.0]]])),
            "-2 at sequence 0, step 1",
        ),
        (
            lambda: fit.em(HMM(2, 1, "categorical", num_categories=2, key=KEY), np.array([[[0.0], [2.0]]])),
            "whole numbers 0 to 1",
        ),
        (lambda: fit.em(HMM(2, 1, input_dim=1, key=KEY), np.ones((3, 4, 1))), "cond must hold inputs"),
        (
            lambda: fit.em(HMM(2, 1, key=KEY), fit.Data(np.ones((3, 4, 1)), lengths=[0, 0, 0])),
            "no entry of x",
        ),
        (lambda: fit.em(HMM(9, 1, key=KEY), RNG.normal(size=(2, 4, 1))), "8 real steps for 9 states"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, text: str):
    with pytest.raises(InputError, match=text):
        make()


@pytest.mark.parametrize("emission", ["categorical", "poisson"])
def test_em_with_inputs_is_refused_where_it_has_no_closed_form(emission: str):
    with pytest.raises(CombinationError, match="no closed-form M-step"):
        fit.em(_given(emission, inputs=True), _sequences(emission, inputs=True))
