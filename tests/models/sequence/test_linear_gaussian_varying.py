"""Linear-Gaussian models whose parameters change from step to step, against one dense joint Gaussian."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jensen import diagnose, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference, score
from jensen.dist import draw
from jensen.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[2] / "algorithms"))
from dense_gaussian import Dense

KEY = jax.random.key(0)
N, T, D, LATENT, U = 8, 9, 3, 2, 2
LENGTHS = np.array([9, 9, 9, 8, 6, 4, 2, 1])


def _parameters() -> dict[str, np.ndarray]:
    """Return parameters of every step, in units far from the standard ones."""
    rng = np.random.default_rng(0)
    q = np.tril(0.3 * rng.normal(size=(T - 1, LATENT, LATENT))) + 0.5 * np.eye(LATENT)
    return {
        "a": 0.5 * rng.normal(size=(T - 1, LATENT, LATENT)) + 0.4 * np.eye(LATENT),
        "q": q @ np.swapaxes(q, 1, 2), "c": 3 * rng.normal(size=(T, D, LATENT)),
        "r": 0.2 + rng.random((T, D)), "b": rng.normal(size=(T - 1, LATENT)),
        "d": 100 + rng.normal(size=(T, D)), "m": rng.normal(size=LATENT), "p": np.diag([1.0, 2.0]),
        "bu": np.zeros((LATENT, 0)), "du": np.zeros((D, 0)),
    }  # fmt: skip


INPUTS = {
    "bu": np.random.default_rng(5).normal(size=(LATENT, U)),
    "du": np.random.default_rng(6).normal(size=(D, U)),
}
FIRST = {name: _parameters()[name][0] for name in ("a", "q", "c", "r", "b", "d")}
CASES = {
    "all": {},
    "transitions": {name: FIRST[name] for name in ("c", "r", "d")},
    "emissions": {name: FIRST[name] for name in ("a", "q", "b")},
    "noises, driven": {name: FIRST[name] for name in ("a", "b", "c", "d")} | INPUTS,
}
"""What is the same at all steps, or besides the rest."""


def _model(p: dict[str, np.ndarray], engine: str = "serial") -> models.LinearGaussianSSM:
    return models.LinearGaussianSSM.with_parameters(
        p["a"], p["q"], p["c"], p["r"], initial=(p["m"], p["p"]), offsets=(p["b"], p["d"]),
        inputs=(p["bu"], p["du"]) if p["bu"].size else None, engine=engine,
    )  # fmt: skip


def _case(name: str) -> dict[str, np.ndarray]:
    return _parameters() | CASES[name]


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = 100 + 4 * rng.normal(size=(N, T, D))
    return x, rng.random(x.shape) > 0.3, rng.normal(size=(N, T, U))


def _every(values: np.ndarray, rank: int, count: int) -> np.ndarray:
    return values[:count] if values.ndim > rank else np.broadcast_to(values, (count, *values.shape))


class Joint(Dense):
    """The same parameters as one Gaussian: moments of z, and log p(x) of what was seen, in nats."""

    def __init__(self, p: dict[str, np.ndarray], x: np.ndarray, seen: np.ndarray, u: np.ndarray):
        t, u = len(x), u[:, : p["bu"].shape[1]]
        a, q, b = (_every(p[k], r, t - 1) for k, r in (("a", 2), ("q", 2), ("b", 1)))
        c, r, d = (_every(p[k], r, t) for k, r in (("c", 2), ("r", 1), ("d", 1)))
        unit, d = np.sqrt(r), d + u @ p["du"].T
        white = np.where(seen, (x - d) / unit, 0.0)
        maps = np.where(seen[..., None], c / unit[..., None], 0.0)
        drift = b + u[:-1] @ p["bu"].T
        roots = np.linalg.cholesky(p["p"]), np.linalg.cholesky(q)
        super().__init__((p["m"], roots[0], a, drift, roots[1], maps, white))
        self.log_p -= np.log(np.sqrt(2 * np.pi) * unit)[seen].sum()
        self.signal = np.einsum("tdn,tn->td", c, self.mean) + d
        spread = np.stack([self.cov[k, :, k] for k in range(t)])
        self.variance = np.diagonal(spread, axis1=1, axis2=2)
        self.signal_variance = np.einsum("tdi,tij,tdj->td", c, spread, c)
        self.noise = r


def _datum(x: Any, seen: Any = None, u: Any = None, steps: int | None = None) -> Datum:
    return Datum(
        jnp.asarray(x, jnp.float32), None if u is None else jnp.asarray(u, jnp.float32),
        mask=None if seen is None else jnp.asarray(seen), steps=None if steps is None else jnp.asarray(steps),
    )  # fmt: skip


def _exactly(model: models.LinearGaussianSSM) -> Inference:
    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


@eqx.filter_jit
def _everything(model: models.LinearGaussianSSM, datum: Datum):
    q = model.posterior(datum)
    return model.log_evidence(datum), q.mean, q.variance, model.conditional_mean(datum)


@pytest.mark.parametrize(
    ("case", "engine"), [*((case, "serial") for case in CASES), ("noises, driven", "parallel")]
)
def test_everything_equals_the_joint_gaussian(case: str, engine: str):
    p, (x, seen, u) = _case(case), _data()
    model, u = _model(p, engine), u if p["bu"].size else None
    for steps in (T, 6, 1):
        junk = np.where(seen[0], x[0], np.nan)
        junk[steps:] = 7.0
        got = _everything(model, _datum(junk, seen[0], None if u is None else u[0], steps))
        log_p, mean, variance, filled = (np.asarray(v, np.float64) for v in got)
        inside = np.zeros((T, 0)) if u is None else u[0]
        joint = Joint(p, x[0][:steps], seen[0][:steps], inside[:steps])
        assert abs(log_p - joint.log_p) < 1e-5 * abs(joint.log_p) + 1e-4
        np.testing.assert_allclose(mean[:steps], joint.mean, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(variance[:steps], joint.variance, rtol=1e-4)
        np.testing.assert_allclose(
            filled[:steps], np.where(seen[0], x[0], np.nan_to_num(0))[:steps]
            + np.where(seen[0][:steps], 0.0, joint.signal), rtol=1e-5,
        )  # fmt: skip
        assert not mean[steps:].any()


def test_parameters_come_back_in_the_data_s_own_units():
    p, model = _parameters(), _model(_parameters())
    got = {
        "a": model.transition_matrix, "q": model.transition_covariance, "c": model.emission_matrix,
        "r": model.emission_variances, "b": model.transition_offset, "d": model.emission_offset,
        "m": model.initial_mean, "p": model.initial_covariance,
    }  # fmt: skip
    for name, value in got.items():
        np.testing.assert_allclose(value, p[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert model.num_steps == T and _model(_case("transitions")).num_steps == T
    assert models.LinearGaussianSSM(2, 3, key=KEY).num_steps is None
    total = np.linalg.multi_dot(p["a"][::-1])
    assert abs(model.spectral_radius - np.abs(np.linalg.eigvals(total)).max() ** (1 / (T - 1))) < 1e-5


def test_equal_steps_are_the_time_invariant_model():
    p, (x, seen, _) = _parameters() | FIRST, _data()
    stacked = p | {name: np.stack([p[name]] * (T - (name in "aqb"))) for name in FIRST}
    plain, varying = _model(p), _model(stacked)
    assert plain.num_steps is None and varying.num_steps == T
    for mask in (None, seen[0]):
        datum = _datum(x[0], mask, steps=7)
        for a, b in zip(_everything(plain, datum), _everything(varying, datum), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("hidden", [False, True])
def test_padding_changes_no_bit(hidden: bool):
    (x, seen, _), model = _data(), _model(_parameters())
    run = eqx.filter_jit(lambda m, d: (m.log_evidence(d), m.posterior(d).mean, m.posterior(d).variance))
    junk = np.where(np.arange(T)[:, None] < 5, x[0], 1e9)
    full = run(model, _datum(junk, seen[0] if hidden else None, steps=5))
    for cut in (5, 7):
        short = run(model, _datum(x[0][:cut], seen[0][:cut] if hidden else None, steps=5))
        assert float(short[0]) == float(full[0])
        for a, b in zip(short[1:], full[1:], strict=True):
            np.testing.assert_array_equal(a[:5], b[:5])
    assert float(run(model, _datum(x[0], seen[0] if hidden else None, steps=0))[0]) == 0.0


def test_the_prior_is_the_dense_gaussian_and_weights_are_the_evidence():
    p, (x, seen, _) = _parameters(), _data()
    model = _model(p)
    joint = Joint(p, x[0], np.zeros((T, D), bool), np.zeros((T, 0)))
    z = np.random.default_rng(3).normal(size=(T, LATENT))
    prior = model.prior_of(None)
    assert abs(float(prior.log_prob(jnp.asarray(z, jnp.float32)).sum()) - joint.log_density(z)) < 1e-3
    datum = _datum(x[0], seen[0], steps=6)

    @eqx.filter_jit
    def parts(model: Any, datum: Datum):
        terms = score(model, model.posterior(datum), draw(model.posterior(datum), key=KEY), datum)
        z, t = terms.z, jnp.arange(6)
        steps = jax.vmap(lambda z, t, after: model.transition(z, t, datum).log_prob(after))(
            z[:5], t[:5], z[1:6]
        )
        shown = jax.vmap(lambda z, t: model.log_likelihood_at(z, t, datum))(z[:6], t)
        markov = model.initial(datum).log_prob(z[0]) + steps.sum() + shown.sum()
        return terms.log_w, model.log_evidence(datum), markov, model.log_joint(z, datum), terms.log_prior

    log_w, evidence, markov, log_joint, log_prior = parts(model, datum)
    assert abs(float(log_w) - float(evidence)) < 1e-3
    assert abs(float(markov) - float(log_joint)) < 1e-3
    assert log_prior.shape == (T,) and not np.asarray(log_prior[6:]).any()


def test_simulated_sequences_have_the_model_s_moments():
    p, (x, _, _) = _parameters(), _data()
    joint = Joint(p, x[0], np.zeros((T, D), bool), np.zeros((T, 0)))
    like = _datum(np.zeros((T, D)), steps=7)
    draws = eqx.filter_jit(lambda m, keys: jax.vmap(lambda k: m.simulate(like, key=k))(keys))
    z, x = (np.asarray(v, np.float64) for v in draws(_model(p), jax.random.split(KEY, 20_000)))
    assert not z[:, 7:].any() and not x[:, 7:].any()
    spread = joint.signal_variance + joint.noise  # nothing was seen: the prior's
    np.testing.assert_allclose(x[:, :7].mean(0), joint.signal[:7], atol=0.04 * np.sqrt(spread.max()))
    np.testing.assert_allclose(x[:, :7].var(0), spread[:7], rtol=0.06)
    wanted = joint.prior.reshape(T, LATENT, T, LATENT)[2, :, 5]
    got = (z[:, 2] - z[:, 2].mean(0)).T @ (z[:, 5] - z[:, 5].mean(0)) / len(z)
    np.testing.assert_allclose(got, wanted, atol=0.05 * np.abs(joint.prior).max())


def test_the_gradient_is_that_of_the_dense_evidence():
    """Central differences of the joint Gaussian's log p(x), which no filter ever touched."""
    (x, seen, _), model = _data(), _model(_parameters())
    datum = _datum(x[0], seen[0], steps=7)
    slope = eqx.filter_jit(eqx.filter_grad(lambda m, d: m.log_evidence(d)))(model, datum)

    def dense(model: Any) -> float:
        return Dense(model.chain(datum), 7).log_p - float(model.log_scale(datum))

    places = {
        "matrix": lambda m: m.dynamics.matrix.values, "offset": lambda m: m.dynamics.offset.values,
        "scales": lambda m: m.dynamics.noise.values.raw, "below": lambda m: m.dynamics.noise.values.below,
        "emission": lambda m: m.emission.matrix.values, "raw": lambda m: m.emission.raw.values,
        "shown": lambda m: m.emission.offset.values, "mean": lambda m: m.start.mean,
        "start": lambda m: m.start.noise.raw,
    }  # fmt: skip
    rng = np.random.default_rng(2)
    for name, where in places.items():
        way = jnp.asarray(rng.normal(size=where(model).shape), jnp.float32)
        ends = [dense(eqx.tree_at(where, model, where(model) + h * way)) for h in (5e-3, -5e-3)]
        got, expected = float((where(slope) * way).sum()), (ends[0] - ends[1]) / 1e-2
        assert abs(got - expected) < 5e-3 * abs(expected) + 5e-3, (name, got, expected)


def _mixed() -> models.LinearGaussianSSM:
    """Matrices of every step, the rest shared and to be learned."""
    p = _parameters()
    constant = {"q": 2 * np.eye(LATENT), "r": np.ones(D), "b": np.zeros(LATENT), "d": np.full(D, 100.0)}
    return _model(p | constant)


def test_em_climbs_to_where_the_gradient_vanishes_and_keeps_what_was_given():
    x, seen, _ = _data()
    data, start = fit.Data(x, mask=seen, lengths=LENGTHS), _mixed()
    fitted = fit.em(start, data, steps=300, tolerance=0.0)
    bounds = fitted.history.bound
    assert np.diff(bounds).min() > -2e-5 * np.abs(bounds).max() and bounds[-1] > bounds[0] + 1
    for part in (lambda m: m.dynamics.matrix, lambda m: m.emission.matrix):
        np.testing.assert_array_equal(part(fitted.model).values, part(start).values)
    rows = jax.tree.map(jnp.asarray, data.rows())
    mean = eqx.filter_jit(eqx.filter_grad(lambda m: jax.vmap(m.log_evidence)(rows).mean()))
    shared = [
        lambda m: m.dynamics.offset, lambda m: m.dynamics.noise.raw, lambda m: m.dynamics.noise.below,
        lambda m: m.emission.offset, lambda m: m.emission.raw, lambda m: m.start.mean,
    ]  # fmt: skip
    before, after = mean(start), mean(fitted.model)
    size = [max(float(jnp.abs(part(g)).max()) for part in shared) for g in (before, after)]
    assert size[1] < 0.01 * size[0], size


def test_em_with_noises_of_every_step_is_refused_where_it_would_have_to_pool():
    x, _, _ = _data()
    p, full = _parameters(), _model(_parameters())
    for constant, name in (("a", "transition_covariance"), ("c", "emission_variances")):
        with pytest.raises(InputError, match=f"em: with {name} given per step .* use fit.gradient"):
            fit.em(_model(p | {constant: FIRST[constant]}), x, steps=1)
    fitted = fit.em(full, x, steps=5, tolerance=0.0)  # only z_1 is left to learn
    assert np.diff(fitted.history.bound).min() > -1e-4 and fitted.history.bound[-1] > fitted.history.bound[0]
    with pytest.raises(InputError, match="nothing to train"):
        fit.em(full, x, trainable=lambda i: (i.model.dynamics.matrix, i.model.emission.raw))


def test_gradient_fits_climb_and_keep_what_was_given(tmp_path: Path):
    x, seen, _ = _data()
    start = _model(_parameters() | {name: FIRST[name] for name in ("a", "c")})
    data = fit.Data(x, mask=seen, lengths=LENGTHS)
    fitted = fit.gradient(_exactly(start), data, key=KEY, optimizer=optax.adam(3e-2), steps=40)
    before, after = (fit.evaluate(i, data, key=KEY).mean() for i in (_exactly(start), fitted.inference))
    assert after > before + 1
    model = fitted.inference.model
    kept = (lambda m: m.dynamics.noise, lambda m: m.emission.raw, lambda m: m.emission.offset)
    for part in kept:
        for a, b in zip(jax.tree.leaves(part(model)), jax.tree.leaves(part(start)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.abs(model.transition_matrix - start.transition_matrix).max() > 0.05
    fitted.save(tmp_path / "run")
    again = fit.load(tmp_path / "run").inference
    assert again.model.num_steps == T
    np.testing.assert_array_equal(
        fit.evaluate(again, data, key=KEY), fit.evaluate(fitted.inference, data, key=KEY)
    )


def test_use_of_sequences():
    p, (x, seen, _) = _parameters(), _data()
    inference, data, none = _exactly(_model(p)), fit.Data(x, mask=seen, lengths=LENGTHS), np.zeros((T, 0))
    smoothed, filtered = use.smooth(inference, data), use.filter(inference, data)
    filled = use.impute(inference, data, key=KEY)
    for row in (0, 4):
        t = LENGTHS[row]
        joint = Joint(p, x[row][:t], seen[row][:t], none[:t])
        np.testing.assert_allclose(smoothed.signal[row, :t], joint.signal, rtol=1e-5)
        np.testing.assert_allclose(smoothed.signal_std[row, :t], np.sqrt(joint.signal_variance), rtol=1e-3)
        hidden = ~seen[row][:t]
        np.testing.assert_allclose(filled[row][:t][hidden], joint.signal[hidden], rtol=1e-5)
        np.testing.assert_array_equal(filled[row][:t][~hidden], x[row][:t][~hidden])
        past = Joint(p, x[row][:3], seen[row][:3], none[:3])
        np.testing.assert_allclose(filtered.mean[row, 2], past.mean[2], rtol=1e-4, atol=1e-4)
    ahead = use.forecast(
        inference, fit.Data(x[:2, :5], mask=seen[:2, :5], lengths=[5, 3]), horizon=4, level=0.9
    )
    for row, t in ((0, 5), (1, 3)):
        part = seen[row] & (np.arange(T)[:, None] < t)
        joint = Joint(p, x[row], part, none)
        reach = 1.6448536 * np.sqrt(joint.signal_variance + joint.noise)
        np.testing.assert_allclose(ahead.mean[row], joint.signal[t : t + 4], rtol=1e-5)
        np.testing.assert_allclose(ahead.upper[row], (joint.signal + reach)[t : t + 4], rtol=1e-4)


def test_the_exact_posterior_has_no_gap():
    x, seen, _ = _data()
    gap = diagnose.gap(_exactly(_model(_parameters())), fit.Data(x, mask=seen, lengths=LENGTHS), key=KEY)
    assert gap.log_evidence.lower_kind == gap.log_evidence.upper_kind == "exact"
    assert abs(gap.total.value) < 1e-3


def test_what_goes_past_the_steps_given_is_refused():
    p, (x, _, _) = _parameters(), _data()
    model = _model(p)
    inference, longer = _exactly(model), np.concatenate([x, x], 1)
    said = f"sequences have {2 * T} steps, its parameters were given for {T}"
    for ask in (
        lambda: fit.em(model, longer), lambda: use.smooth(inference, longer),
        lambda: use.impute(inference, np.where(longer > 100, longer, np.nan), key=KEY),
        lambda: fit.gradient(inference, longer, key=KEY, optimizer=optax.adam(1e-3), steps=1),
        lambda: use.sample(inference, 2, steps=2 * T, key=KEY),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            ask()
    with pytest.raises(InputError, match=f"horizon 3 after 7 steps goes past the {T}"):
        use.forecast(inference, x[:, :7], horizon=3)
    with pytest.raises(InputError, match=f"horizon 2 after 8 steps goes past the {T}"):
        use.rollout(inference, x[:, :8], horizon=2, key=KEY)
    assert use.sample(inference, 2, steps=4, key=KEY).shape == (2, 4, D)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"a": lambda v: v[1:]}, f"disagree about T: transition_matrix {T - 1}, transition_covariance {T}"),
        ({"r": lambda v: v[1:]}, f"disagree about T: .*emission_variances {T - 1} .A, Q, b have T − 1"),
        ({"c": lambda v: v[..., :1]}, r"emission_matrix has shape \(9, 3, 1\); expected \(3, 2\), or \(9, 3, 2\)"),
        ({"q": lambda v: -v}, "transition_covariance is not positive semi-definite"),
        ({"r": lambda v: np.where(np.arange(T)[:, None] == 4, 0.0, v)}, "entry 4, 0 is not positive"),
        ({"r": lambda v: np.eye(D)}, r"emission_variances takes the diagonal of R, \(D,\), or per step"),
        ({"b": lambda v: np.where(v > 1, np.nan, v)}, "offset b holds NaN or infinity"),
    ],
)  # fmt: skip
def test_bad_stacks_are_named(change: dict[str, Any], match: str):
    p = _parameters()
    with pytest.raises(InputError, match=match) as error:
        _model(p | {name: alter(p[name]) for name, alter in change.items()})
    assert "\n" not in str(error.value)
