"""Linear-Gaussian state-space models: exact, padded, hidden, driven, fitted, refused."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import fit, gradients, objectives, posteriors
from jensen.core import Datum, score
from jensen.dist import draw
from jensen.errors import InputError, JensenWarning
from jensen.models.sequence import LinearGaussianSSM

KEY = jax.random.key(0)
N, T, D, LATENT, U = 6, 14, 3, 2, 2


def _parameters(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "a": np.array([[0.9, 0.2], [-0.2, 0.8]]), "q": np.array([[0.3, 0.1], [0.1, 0.4]]),
        "c": rng.normal(size=(D, LATENT)), "r": np.array([0.2, 0.5, 0.1]),
        "m": rng.normal(size=LATENT), "p": np.array([[1.0, -0.3], [-0.3, 2.0]]),
        "bu": rng.normal(size=(LATENT, U)), "du": rng.normal(size=(D, U)),
        "b": rng.normal(size=LATENT), "d": 100 + rng.normal(size=D),
    }  # fmt: skip


def _model(p: dict[str, Any], inputs: bool = True) -> LinearGaussianSSM:
    return LinearGaussianSSM.with_parameters(
        p["a"], p["q"], p["c"], p["r"], initial=(p["m"], p["p"]), offsets=(p["b"], p["d"]),
        inputs=(p["bu"], p["du"]) if inputs else None,
    )  # fmt: skip


def _data(seed: int = 0, num: int = N, steps: int = T) -> tuple[np.ndarray, np.ndarray]:
    p, rng = _parameters(), np.random.default_rng(seed)
    u = 10 + 3 * rng.normal(size=(num, steps, U))
    z = np.zeros((num, steps, LATENT))
    z[:, 0] = p["m"] + rng.normal(size=(num, LATENT)) @ np.linalg.cholesky(p["p"]).T
    for t in range(steps - 1):
        noise = rng.normal(size=(num, LATENT)) @ np.linalg.cholesky(p["q"]).T
        z[:, t + 1] = z[:, t] @ p["a"].T + u[:, t] @ p["bu"].T + p["b"] + noise
    x = z @ p["c"].T + u @ p["du"].T + p["d"] + rng.normal(size=(num, steps, D)) * np.sqrt(p["r"])
    return x, u


class Joint:
    """log p and moments of one sequence from the joint Gaussian of x and z, float64, in the data's units."""

    def __init__(self, p: dict[str, Any], x: np.ndarray, u: np.ndarray, seen: np.ndarray):
        t = len(x)
        mean, cov = [p["m"]], np.zeros((t, LATENT, t, LATENT))
        cov[0, :, 0] = p["p"]
        for k in range(t - 1):
            mean.append(p["a"] @ mean[-1] + p["bu"] @ u[k] + p["b"])
            cov[k + 1, :, : k + 1] = np.einsum("ij,jsk->isk", p["a"], cov[k, :, : k + 1])
            cov[: k + 1, :, k + 1] = np.moveaxis(cov[k + 1, :, : k + 1], 0, -1)
            cov[k + 1, :, k + 1] = p["a"] @ cov[k, :, k] @ p["a"].T + p["q"]
        mean, flat = np.stack(mean), cov.reshape(t * LATENT, -1)
        h = np.kron(np.eye(t), p["c"])
        center = (mean @ p["c"].T + u @ p["du"].T + p["d"]).ravel()
        full = h @ flat @ h.T + np.kron(np.eye(t), np.diag(p["r"]))
        o = seen.ravel()
        e, inside = (x.ravel() - center)[o], full[np.ix_(o, o)]
        self.log_p = -0.5 * e @ np.linalg.solve(inside, e) - 0.5 * np.linalg.slogdet(2 * np.pi * inside)[1]
        self.filled = (center + full[:, o] @ np.linalg.solve(inside, e)).reshape(t, D)
        gain = np.linalg.solve(inside, (h @ flat)[o]).T
        self.mean = mean + (gain @ e).reshape(t, LATENT)
        self.variance = np.diagonal(flat - gain @ (h @ flat)[o]).reshape(t, LATENT)


def _datum(x: np.ndarray, u: np.ndarray | None, seen: np.ndarray | None, steps: int | None) -> Datum:
    return Datum(
        jnp.asarray(x, jnp.float32), None if u is None else jnp.asarray(u, jnp.float32),
        mask=None if seen is None else jnp.asarray(seen), steps=None if steps is None else jnp.asarray(steps),
    )  # fmt: skip


@eqx.filter_jit
def _everything(model: LinearGaussianSSM, datum: Datum):
    q = model.posterior(datum)
    return model.log_evidence(datum), q.mean, q.variance, model.conditional_mean(datum)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("steps", [T, 9])
def test_everything_equals_the_joint_gaussian(hidden: bool, steps: int):
    p, (x, u) = _parameters(), _data()
    seen = np.random.default_rng(1).random((T, D)) > (0.4 if hidden else -1)
    seen[3] = ~np.array([hidden] * D)  # a whole step is missing
    model = _model(p)
    x0 = np.where(seen, x[0], np.nan).astype(np.float32)
    x0[steps:] = 7.0
    log_p, mean, variance, filled = _everything(model, _datum(x0, u[0], seen if hidden else None, steps))
    joint = Joint(p, x[0][:steps], u[0][:steps], seen[:steps])
    assert abs(float(log_p) - joint.log_p) < 1e-4 * abs(joint.log_p)
    np.testing.assert_allclose(mean[:steps], joint.mean, rtol=2e-4, atol=2e-3)
    np.testing.assert_allclose(variance[:steps], joint.variance, rtol=1e-3)
    expected = np.where(seen[:steps], x[0][:steps], joint.filled)
    np.testing.assert_allclose(np.asarray(filled)[:steps], expected, rtol=1e-4)


def test_parameters_come_back_in_the_data_s_own_units():
    p, model = _parameters(), _model(_parameters())
    got = {
        "a": model.transition_matrix, "q": model.transition_covariance, "c": model.emission_matrix,
        "r": model.emission_variances, "m": model.initial_mean, "p": model.initial_covariance,
        "bu": model.transition_input, "du": model.emission_input, "b": model.transition_offset,
        "d": model.emission_offset,
    }  # fmt: skip
    for name, value in got.items():
        np.testing.assert_allclose(value, p[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_evidence_is_padding_invariant_bit_for_bit_and_empty_sequences_have_probability_one():
    (x, u), model = _data(), _model(_parameters())
    seen = np.random.default_rng(1).random((T, D)) > 0.4
    evidence = eqx.filter_jit(lambda m, d: m.log_evidence(d))
    for mask in (None, seen):
        full = evidence(model, _datum(x[0], u[0], mask, 9))
        for cut in (9, 11):
            short = _datum(x[0][:cut], u[0][:cut], None if mask is None else mask[:cut], 9)
            assert float(evidence(model, short)) == float(full)
        junk = x[0].copy()
        junk[9:] = 1e9
        assert float(evidence(model, _datum(junk, u[0], mask, 9))) == float(full)
        assert float(evidence(model, _datum(x[0], u[0], mask, 0))) == 0.0
    nothing = _datum(x[0], u[0], np.zeros((T, D), bool), None)
    assert float(evidence(model, nothing)) == 0.0


def test_log_weights_under_the_exact_posterior_are_the_evidence():
    (x, u), model = _data(), _model(_parameters())
    seen = np.random.default_rng(1).random((T, D)) > 0.4
    datum = _datum(x[0], u[0], seen, 9)

    @eqx.filter_jit
    def weight(model: Any, datum: Datum, key: Any):
        q = model.posterior(datum)
        terms = score(model, q, draw(q, key=key), datum)
        return terms.log_w, terms.log_joint, model.log_joint(terms.z, datum), terms.log_prior, terms.log_q

    log_w, joint, other, log_prior, log_q = weight(model, datum, KEY)
    assert abs(float(log_w) - float(model.log_evidence(datum))) < 2e-3
    assert abs(float(joint) - float(other)) < 1e-3
    assert log_prior.shape == log_q.shape == (T,)
    assert not np.asarray(log_prior[9:]).any() and not np.asarray(log_q[9:]).any()


def test_the_markov_face_multiplies_to_the_joint():
    (x, u), model = _data(), _model(_parameters())
    datum = _datum(x[0], u[0], np.random.default_rng(1).random((T, D)) > 0.4, None)

    @eqx.filter_jit
    def both(model: Any, datum: Datum):
        z = model.posterior(datum).mean
        total = model.initial(datum).log_prob(z[0]) + model.log_likelihood_at(z[0], jnp.asarray(0), datum)
        for t in range(T - 1):
            total = total + model.transition(z[t], jnp.asarray(t), datum).log_prob(z[t + 1])
            total = total + model.log_likelihood_at(z[t + 1], jnp.asarray(t + 1), datum)
        return total, model.log_joint(z, datum)

    total, joint = both(model, datum)
    assert abs(float(total) - float(joint)) < 1e-3


def test_simulated_sequences_have_the_model_s_moments():
    p, (x, u) = _parameters(), _data()
    model = _model(p)
    like = _datum(np.zeros_like(x[0]), u[0], None, 9)
    draws = eqx.filter_jit(
        lambda m, keys: jax.vmap(lambda k: m.simulate(like, key=k))(keys)
    )(model, jax.random.split(KEY, 20_000))  # fmt: skip
    z, x = (np.asarray(v, np.float64) for v in draws)
    assert not z[:, 9:].any() and not x[:, 9:].any()
    mean, cov = p["m"], p["p"]
    for t in range(9):
        np.testing.assert_allclose(z[:, t].mean(0), mean, atol=0.05 * np.sqrt(cov.max()))
        x_cov = p["c"] @ cov @ p["c"].T + np.diag(p["r"])
        np.testing.assert_allclose(np.cov(x[:, t].T), x_cov, atol=0.06 * x_cov.max())
        mean, cov = p["a"] @ mean + p["bu"] @ u[0, t] + p["b"], p["a"] @ cov @ p["a"].T + p["q"]


LENGTHS = np.array([T, T, 9, 5, 1, 0])
CASES = {
    "plain": {}, "hidden": {"mask": True}, "ragged": {"lengths": LENGTHS},
    "hidden and ragged": {"mask": True, "lengths": LENGTHS, "weights": np.arange(1.0, 7.0)},
}  # fmt: skip


def _case(name: str, x: np.ndarray, u: np.ndarray | None) -> fit.Data:
    options = dict(CASES[name])
    if "mask" in options:
        options["mask"] = np.random.default_rng(3).random(x.shape) > 0.3
    return fit.Data(x, cond=u, **options)


@pytest.mark.parametrize("case", CASES)
def test_em_never_falls_and_reports_the_evidence_of_what_it_returns(case: str):
    x, u = _data()
    data = _case(case, x, u)
    fitted = fit.em(LinearGaussianSSM(LATENT, D, U, key=KEY), data, steps=25, tolerance=0.0)
    bounds = fitted.history.bound
    assert np.diff(bounds).min() > -2e-5 * np.abs(bounds).max(), np.diff(bounds).min()
    assert bounds[-1] > bounds[0] and not fitted.history.events
    each = fit.evaluate(fitted.inference, data, key=KEY)
    assert abs(np.average(each, weights=data.weights) - bounds[-1]) < 1e-4 * abs(bounds[-1])
    again = fit.em(fitted.model, data, steps=1, tolerance=0.0)
    assert abs(again.history.bound[0] - bounds[-1]) < 1e-4 * abs(bounds[-1])


HELD = {
    "transition": lambda m: m.dynamics.matrix,
    "transition noise": lambda m: m.dynamics.noise,
    "emission": lambda m: m.emission.matrix,
    "emission noise": lambda m: m.emission.raw,
    "start": lambda m: m.start,
}


@pytest.mark.parametrize("name", HELD)
def test_frozen_parts_keep_their_bits_and_the_rest_climbs(name: str):
    x, u = _data()
    data, held = _case("hidden", x, u), HELD[name]
    start = fit.em(LinearGaussianSSM(LATENT, D, U, key=KEY), data, steps=2, tolerance=0.0).model
    others = [v for k, v in HELD.items() if k != name]
    fitted = fit.em(
        start, data, steps=8, tolerance=0.0, trainable=lambda i: tuple(other(i.model) for other in others)
    )
    for a, b in zip(jax.tree.leaves(held(start)), jax.tree.leaves(held(fitted.model)), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))
    bounds = fitted.history.bound
    assert np.diff(bounds).min() > -2e-5 * np.abs(bounds).max() and bounds[-1] > bounds[0]


def test_em_ends_where_the_gradient_of_the_evidence_vanishes_and_gradient_ascent_agrees():
    x, u = _data(num=12, steps=30)
    data = fit.Data(x, cond=u, mask=np.random.default_rng(3).random(x.shape) > 0.2)
    fitted = fit.em(LinearGaussianSSM(LATENT, D, U, key=KEY), data, steps=400, tolerance=0.0)
    rows = data.rows()
    rows = Datum(jnp.asarray(rows.x, jnp.float32), jnp.asarray(u, jnp.float32), mask=jnp.asarray(rows.mask))
    mean = eqx.filter_jit(eqx.filter_grad(lambda m: jax.vmap(m.log_evidence)(rows).mean()))
    gradient = mean(fitted.model)
    parts = (gradient.start, gradient.dynamics, gradient.emission)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(parts) if leaf.size)
    begin = mean(fit.em(LinearGaussianSSM(LATENT, D, U, key=KEY), data, steps=1, tolerance=0.0).model)
    first = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(begin.emission))
    assert largest < 0.02 * first, (largest, first)
    inference = jn.Inference(fitted.model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    climbed = fit.gradient(inference, data, key=KEY, optimizer=optax.adam(1e-3), steps=60)
    value = fit.evaluate(climbed.inference, data, key=KEY).mean()
    assert abs(value - fitted.history.bound[-1]) < 0.05  # nats a sequence of 30 steps


@pytest.mark.slow
def test_both_engines_give_one_model():
    x, u = _data(num=3, steps=20)
    rng = np.random.default_rng(7)
    data = fit.Data(x, cond=u, lengths=[20, 13, 1], mask=rng.random(x.shape) > 0.2)
    fits = [
        fit.em(LinearGaussianSSM(LATENT, D, U, engine=engine, key=KEY), data, steps=3, tolerance=0.0)
        for engine in ("serial", "parallel")
    ]
    serial, parallel = (fitted.model for fitted in fits)
    assert (serial.engine, parallel.engine) == ("serial", "parallel")
    np.testing.assert_allclose(fits[0].history.bound, fits[1].history.bound, rtol=1e-4)
    datum = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), data.rows())
    slope = eqx.filter_jit(eqx.filter_value_and_grad(lambda model: model.log_evidence(datum)))
    other = eqx.tree_at(lambda model: model.engine, serial, "parallel")
    for got, expected in zip(jax.tree.leaves(slope(other)), jax.tree.leaves(slope(serial)), strict=True):
        largest = float(np.abs(expected).max()) if np.size(expected) else 0.0
        np.testing.assert_allclose(got, expected, atol=1e-3 * max(1.0, largest))
    mean = eqx.filter_jit(lambda model: model.posterior(datum).mean)
    np.testing.assert_allclose(mean(other), mean(serial), atol=1e-4)
    with pytest.raises(InputError, match=r"engine 'paralel' is unknown \(did you mean 'parallel'"):
        LinearGaussianSSM(LATENT, D, engine="paralel", key=KEY)


@pytest.mark.slow
def test_a_start_from_data_is_near_and_short_data_are_survived():
    x, u = _data(num=12, steps=40)
    fitted = fit.em(LinearGaussianSSM(LATENT, D, U, key=KEY), fit.Data(x, cond=u), steps=30)
    eigenvalues = np.sort_complex(np.linalg.eigvals(fitted.model.transition_matrix))
    np.testing.assert_allclose(eigenvalues, np.sort_complex(np.linalg.eigvals(_parameters()["a"])), atol=0.08)
    for shape in ((1, 2, 3), (1, 1, 1), (3, 3, 2)):
        little = fit.em(
            LinearGaussianSSM(2, shape[2], key=KEY), np.random.default_rng(0).normal(size=shape), steps=2
        )
        assert np.isfinite(little.history.bound).all()


def test_inputs_that_only_move_the_state_need_no_last_row():
    x, u = _data()
    model = LinearGaussianSSM(LATENT, D, U, input_to="transition", key=KEY)
    one = fit.em(model, fit.Data(x, cond=u), steps=2, tolerance=0.0)
    other = fit.em(model, fit.Data(x, cond=u[:, :-1]), steps=2, tolerance=0.0)
    assert not other.model.emission_input.any()
    assert np.isfinite(one.history.bound).all() and np.isfinite(other.history.bound).all()


def test_bad_parameters_are_named():
    p = _parameters()
    with pytest.raises(InputError, match="transition_covariance is not positive semi-definite"):
        _model(p | {"q": np.array([[1.0, 2.0], [2.0, 1.0]])})
    with pytest.raises(InputError, match="initial covariance is not symmetric"):
        _model(p | {"p": np.array([[1.0, 0.5], [0.0, 1.0]])})
    with pytest.raises(InputError, match="emission_variances: entry 1 is not positive"):
        _model(p | {"r": np.array([1.0, 0.0, 1.0])})
    with pytest.raises(InputError, match="emission_variances takes the diagonal"):
        _model(p | {"r": np.eye(3)})
    with pytest.raises(InputError, match="emission_matrix has shape"):
        _model(p | {"c": np.ones((3, 4))})
    with pytest.warns(JensenWarning, match="transition_matrix is unstable"):
        _model(p | {"a": 1.2 * np.eye(2)})
    with pytest.warns(JensenWarning, match="initial covariance is singular"):
        _model(p | {"p": np.diag([1.0, 0.0])})
    with pytest.raises(InputError, match="at least 1"):
        LinearGaussianSSM(0, 3, key=KEY)
    with pytest.raises(InputError, match="input_to"):
        LinearGaussianSSM(1, 3, input_to="emission", key=KEY)


def test_bad_data_are_named():
    x, u = _data()
    model = LinearGaussianSSM(LATENT, D, U, key=KEY)
    plain = LinearGaussianSSM(LATENT, D, key=KEY)
    for bad, match in [
        (fit.Data(x[0], cond=u[0]), "takes sequences"),
        (fit.Data(x), "cond must hold inputs"),
        (fit.Data(x, cond=u[:, :-1]), "input_to='transition'"),
        (fit.Data(x, cond=u, mask=np.zeros(x.shape, bool)), "no entry of x is observed"),
    ]:
        with pytest.raises(InputError, match=match):
            fit.em(model, bad)
    with pytest.raises(InputError, match=f"whole numbers from 0 to {T}"):
        fit.Data(x, cond=u, lengths=np.full(N, T + 1))
    with pytest.raises(InputError, match="has no inputs"):
        fit.em(plain, fit.Data(x, cond=u))
    with pytest.raises(InputError, match="features"):
        fit.em(LinearGaussianSSM(2, 2, key=KEY), x)


def test_an_unstable_fit_says_so():
    x = np.exp(0.2 * np.arange(30))[None, :, None] + np.random.default_rng(0).normal(size=(1, 30, 1))
    with pytest.warns(JensenWarning, match="unstable: the transition matrix"):
        fitted = fit.em(LinearGaussianSSM(1, 1, key=KEY), x, steps=30)
    assert any("unstable" in event for event in fitted.history.events)
    assert fitted.model.spectral_radius > 1.1


@pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")
def test_a_fault_in_the_e_step_would_be_seen(monkeypatch: pytest.MonkeyPatch):
    """The test of ascent has teeth: with the noises' covariances dropped the evidence falls."""
    from jensen.models.sequence import linear_gaussian_em

    honest = linear_gaussian_em.noises

    def wrong(*args: Any) -> Any:
        moments = honest(*args)
        return moments._replace(state_covariance=0 * moments.state_covariance)

    monkeypatch.setattr(linear_gaussian_em, "noises", wrong)
    x, u = _data(seed=5, num=12, steps=31)  # a shape of its own: nothing compiled before is found again
    fitted = fit.em(LinearGaussianSSM(LATENT, D, U, key=KEY), fit.Data(x, cond=u), steps=25, tolerance=0.0)
    assert np.diff(fitted.history.bound).min() < -1.0 and fitted.history.events
