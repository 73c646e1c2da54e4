"""Bonuses against what they are by definition: counts, enumeration, quadrature, the divergence itself."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, gammaln
from scipy.stats import norm

from jensen import models
from jensen.algorithms.mdp import MDP
from jensen.control import explore
from jensen.control.explore import Transitions
from jensen.control.policies.tabular import sample_episodes
from jensen.dist import DiagGaussian, kl_divergence
from jensen.dist.conjugate import Dirichlet
from jensen.errors import InputError

KEY = jax.random.key(0)


def pairs(state: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.stack([state, action]).astype(jnp.float32)


def walk(num: int, states: int, actions: int, seed: int = 0) -> Transitions:
    rng = np.random.default_rng(seed)
    codes = (rng.integers(n, size=num) for n in (states, actions, states))
    return Transitions(*(jnp.asarray(c) for c in codes))


def test_the_pseudo_count_of_frequencies_is_the_count():
    steps = walk(200, 4, 3)
    counts = explore.Counts(4, 3).update(steps, key=KEY)
    pseudo = explore.PseudoCounts(explore.Empirical((4, 3)), pairs).update(steps, key=KEY)
    found = [[float(pseudo.count(jnp.array(s), jnp.array(a))) for a in range(3)] for s in range(4)]
    np.testing.assert_allclose(found, counts.visits, rtol=2e-4)
    np.testing.assert_allclose(pseudo.bonus(steps), counts.bonus(steps), rtol=2e-4)


def test_a_prior_of_frequencies_is_seen_as_visits():
    steps = walk(50, 3, 2)
    plain = explore.Counts(3, 2).update(steps, key=KEY)
    pseudo = explore.PseudoCounts(explore.Empirical((3, 2), prior=0.5), pairs).update(steps, key=KEY)
    found = float(pseudo.count(jnp.array(2), jnp.array(1)))
    assert found == pytest.approx(float(plain.visits[2, 1]) + 0.5, rel=1e-3)


def test_never_seen_has_count_zero_and_nothing_learnt_counts_as_much():
    zero, half = jnp.array(-jnp.inf), jnp.log(0.5)
    assert float(explore.pseudo_count(zero, half)) == 0
    assert float(explore.pseudo_count(half, half)) == explore.pseudo.MOST
    assert float(explore.pseudo_count(half, half - 1)) == explore.pseudo.MOST  # it unlearnt
    assert float(explore.gain_count(jnp.array(-200.0), jnp.array(100.0))) < 1e-6  # and no overflow
    one = jnp.array(0.0)
    assert float(explore.pseudo_count(one, one)) == explore.pseudo.MOST  # a certainty tells of no count
    assert float(explore.pseudo_count(one + 1, one + 2)) == explore.pseudo.MOST  # no mass
    assert np.isnan(explore.pseudo_count(jnp.array(jnp.nan), half))


def test_the_count_of_what_is_nearly_always_seen_keeps_its_digits():
    """ρ is 1 − 10⁻⁵: the count shows only in what is missing to 1."""
    rho = explore.Empirical((4, 3), prior=1e-3)
    rho = eqx.tree_at(lambda rho: rho.counts, rho, (rho.counts[0].at[5].add(1_000.0),))
    x = jnp.array([1.0, 2.0])
    count = float(explore.pseudo_count(rho.log_prob(x), rho.log_prob_after(x)))
    assert count == pytest.approx(1_000, rel=1e-3)


@pytest.mark.parametrize(
    ("bonus", "rows", "words"),
    [
        (lambda: explore.Counts(3, 2), (3, 0), "Counts: row 1 has state 3, but the table's are 0..2"),
        (lambda: explore.DirichletGain(3, 2), (0, -1), "DirichletGain: row 1 has action -1"),
        (lambda: explore.TableDisagreement(3, 2, key=KEY), (0, 2), "row 1 has action 2"),
    ],
)
def test_codes_outside_the_table_are_refused(bonus, rows, words):
    steps = Transitions(np.array([0, rows[0]]), np.array([0, rows[1]]), np.array([1, 1]))
    with pytest.raises(InputError, match=words):
        bonus().update(steps, key=KEY)
    bonus().update(steps._replace(weight=np.array([1.0, 0.0])), key=KEY)  # what only fills the array


def test_rows_that_did_not_happen_teach_nothing_and_earn_nothing():
    steps = walk(20, 4, 3)
    half = steps._replace(weight=jnp.arange(20) < 10)
    first = Transitions(*(part[:10] for part in steps[:3]))
    everything = [
        explore.Counts(4, 3),
        explore.DirichletGain(4, 3),
        explore.PseudoCounts(explore.Empirical((4, 3), prior=0.1), pairs),
    ]
    for bonus in everything:
        masked, taught = (bonus.update(s, key=KEY).bonus(steps) for s in (half, first))
        np.testing.assert_allclose(masked, taught, rtol=1e-5)
        assert not np.asarray(bonus.bonus(half))[10:].any()


def table_of_ends() -> tuple[Transitions, Transitions]:
    """Steps of a world that often ends, as they are recorded and as plain codes; state 2 is never entered."""
    moves = np.array([[[0.0, 0.5, 0.0]], [[0.0, 0.5, 0.0]], [[0.0, 0.0, 1.0]]])
    mdp = MDP(*(jnp.asarray(part) for part in (moves, np.zeros((3, 1)), np.eye(3)[0])))
    recorded = Transitions.of(sample_episodes(mdp, np.ones((3, 1)), 40, max_steps=30, seed=0))
    return recorded, Transitions(*(np.asarray(part).astype(int).ravel() for part in recorded[:3]))


def test_an_end_is_no_move_into_the_last_state():
    """By counting: of the moves those to 0..2, of the ends none, in a compiled update too."""
    recorded, codes = table_of_ends()
    moves = np.zeros((3, 3))
    on = codes.next_observation >= 0
    assert 0 < on.sum() < len(on)
    np.add.at(moves, (codes.observation[on], codes.next_observation[on]), 1)
    belief = explore.DirichletGain(3, 1)
    tables = explore.TableDisagreement(3, 1, members=2, key=KEY)
    for steps in (recorded, codes):
        for update in (belief.update, eqx.filter_jit(belief.update)):
            np.testing.assert_allclose(update(steps, key=KEY).concentration[:, 0], 1 + moves)
        more = (tables.update(steps, key=KEY).counts - tables.counts)[:, :, 0]
        assert (np.abs(more[..., 2]) < 1e-5).all() and (more.sum((0, 1)) <= 2 * moves.sum(0) + 1e-4).all()
        for bonus in (belief, tables):
            np.testing.assert_array_equal(np.asarray(bonus.bonus(steps)) > 0, on)
    # neither is a code past the last one; a code of its own is counted
    past = codes._replace(next_observation=np.where(on, codes.next_observation, 3))
    np.testing.assert_allclose(belief.update(past, key=KEY).concentration[:, 0], 1 + moves)
    assert not np.asarray(belief.bonus(past))[~on].any()
    named = explore.DirichletGain(3, 1, 4, outcome=lambda s, after: jnp.where(after < 0, 3, after))
    assert float(named.update(codes, key=KEY).concentration[..., 3].sum()) == 3 + (~on).sum()


def test_recorded_codes_in_one_column_are_read_as_codes():
    recorded, codes = table_of_ends()
    assert np.asarray(recorded.observation).dtype.kind == "f" and np.ndim(recorded.observation) == 2
    counts = explore.Counts(3, 1)
    np.testing.assert_array_equal(
        counts.update(recorded, key=KEY).visits, counts.update(codes, key=KEY).visits
    )
    np.testing.assert_array_equal(counts.bonus(recorded), counts.bonus(codes))
    with pytest.raises(
        InputError, match=r"Counts: row 2 has state 0.5, which is no whole number; give codes"
    ):
        counts.update(Transitions(np.array([0, 1, 0.5]), np.zeros(3), np.zeros(3)), key=KEY)
    with pytest.raises(InputError, match=r"states have shape \(2, 2\), .* wrap the bonus in Coded"):
        counts.update(Transitions(np.zeros((2, 2)), np.zeros(2), np.zeros(2)), key=KEY)


def test_a_compiled_table_writes_no_code_that_is_missing():
    steps = Transitions(jnp.array([0, -1, 3]), jnp.array([0, 0, 1]), jnp.array([1, 1, 1]))
    counts = eqx.filter_jit(lambda b, s: b.update(s, key=KEY))(explore.Counts(3, 2), steps)
    assert counts.visits.tolist() == [[1, 0], [0, 0], [0, 0]]


def test_frequencies_refuse_codes_outside_their_sizes_and_never_mix_them_up():
    rho = explore.Empirical((3, 2))
    pseudo = explore.PseudoCounts(rho, pairs)
    bad = Transitions(jnp.array([0, 1]), jnp.array([0, 3]), jnp.array([1, 1]))
    words = "Empirical: row 1 has in column 1 the code 3, but the table's are 0..1; make it larger, or"
    for call in (lambda: pseudo.update(bad, key=KEY), lambda: pseudo.bonus(bad)):
        with pytest.raises(InputError, match=words):
            call()
    with pytest.raises(InputError, match="row 0 has in column 0 the code -1"):
        rho.learned(jnp.array([[-1.0, 0.0]]), jnp.ones(1), key=KEY)
    # compiled, nothing can be refused: such rows are in no cell
    rows = jnp.array([[0.0, 2.0], [-1.0, 0.0], [1.0, 1.0], [jnp.nan, 0.0]])
    seen = eqx.filter_jit(lambda rho: rho.learned(rows, jnp.ones(4), key=KEY))(rho)
    assert seen.counts[0].tolist() == [0, 0, 0, 1, 0, 0]
    found = jax.vmap(seen.log_prob)(rows)
    assert np.exp(found).tolist() == [0, 0, 1, 0]
    assert float(seen.log_prob_after(rows[0])) == -np.inf


def test_the_form_of_a_pseudo_count_is_the_densitys_and_knows_no_units():
    """Rows in units ten times as small: ρ is above 1, and the bonus is as it was, without jumps."""
    rows = np.random.default_rng(0).normal(size=(100, 1))
    at, found = np.linspace(0, 3, 31)[:, None], []
    for unit in (1.0, 0.1):
        start = models.Gaussian.with_parameters(np.zeros(1), np.eye(1) * unit**2)
        rho = explore.Refitted(start, memory=explore.Memory.empty(128, 1))
        bonus = explore.PseudoCounts(rho, lambda o, a: o)
        taught, asked = (
            Transitions(*(jnp.asarray(unit * x, jnp.float32) for x in (v, v, v))) for v in (rows, at)
        )
        found.append(np.asarray(bonus.update(taught, key=KEY).bonus(asked)))
    assert bonus.form == "gain"
    np.testing.assert_allclose(found[1], found[0], rtol=0.02, atol=1e-3)
    assert (np.abs(np.diff(found[1])) < 0.1).all()
    assert explore.PseudoCounts(explore.Empirical((2,)), pairs).form == "probability"
    assert explore.PseudoCounts(explore.Empirical((2,)), pairs, form="gain").form == "gain"
    assert explore.PseudoCounts(rho, pairs, form="probability").form == "probability"


def test_refitting_a_gaussian_gives_the_density_of_the_refit():
    """ρ' against the maximum-likelihood Gaussian of the rows and x, by numpy in float64."""
    rng = np.random.default_rng(1)
    rows, x = rng.normal(size=(40, 2)) @ np.array([[1.0, 0.4], [0.0, 0.5]]), np.array([1.0, -0.5])
    start = models.Gaussian.with_parameters(np.zeros(2), np.eye(2))
    rho = explore.Refitted(start, memory=explore.Memory.empty(64, 2))
    rho = rho.learned(jnp.asarray(rows, jnp.float32), jnp.ones(40), key=KEY)
    for found, seen in ((rho.log_prob, rows), (rho.log_prob_after, np.vstack([rows, x]))):
        mean, cov = seen.mean(0), np.cov(seen.T, bias=True)
        off = x - mean
        want = -0.5 * (off @ np.linalg.solve(cov, off) + np.linalg.slogdet(2 * np.pi * cov)[1])
        assert float(found(jnp.asarray(x, jnp.float32))) == pytest.approx(want, abs=1e-3)


def test_dirichlet_gain_is_the_divergence_and_its_mean_the_mutual_information():
    alpha = jnp.array([0.5, 1.5, 3.0])
    gains = [float(explore.dirichlet_gain(alpha, jnp.array(k))) for k in range(3)]
    for k, gain in enumerate(gains):
        want = kl_divergence(Dirichlet(alpha[None].at[0, k].add(1.0)), Dirichlet(alpha[None]), None)
        assert want is not None and gain == pytest.approx(float(want.sum()), abs=1e-5)
    # at counts where ψ and log are ten times and more what is left of them
    for own, other in ((7.9, 0.2), (100.0, 3.0), (1e5, 3.0), (1e6, 1e6)):
        want = np.log1p(other / own) + digamma(own + 1) - digamma(own + other + 1)
        gain = float(explore.dirichlet_gain(jnp.array([own, other]), jnp.array(0)))
        assert gain == pytest.approx(want, rel=2e-4, abs=1e-12) and gain >= 0
    # I(π; x) of two outcomes by quadrature over the beta law of π
    a, b = 1.7, 2.0
    grid = np.linspace(1e-6, 1 - 1e-6, 400_001)
    density = np.exp(
        (a - 1) * np.log(grid) + (b - 1) * np.log1p(-grid) + gammaln(a + b) - gammaln(a) - gammaln(b)
    )
    mean = a / (a + b)
    inside = grid * np.log(grid / mean) + (1 - grid) * np.log((1 - grid) / (1 - mean))
    want = np.trapezoid(density * inside, grid)
    assert float(explore.dirichlet_information(jnp.array([a, b]))) == pytest.approx(want, abs=2e-4)


def test_dirichlet_gains_add_up_to_the_divergence_from_the_prior_only_in_order():
    """A belief visited n times gains about (K − 1)/(2n): known chance earns nothing in the end."""
    alpha = 1_000 * jnp.array([0.5, 0.5])
    assert float(explore.dirichlet_information(alpha)) == pytest.approx(1 / 2_000, rel=5e-3)


def regression() -> tuple[explore.LinearGain, Transitions]:
    rng = np.random.default_rng(2)
    seen, action = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    after = seen @ rng.normal(size=(2, 2)) + 0.3 * rng.normal(size=(30, 2))
    steps = Transitions(*(jnp.asarray(v, jnp.float32) for v in (seen, action, after)))
    belief = explore.LinearGain(explore.affine, 4, data_dim=2, noise=0.3, prior_scale=2.0)
    return belief.update(steps, key=KEY), steps


def test_linear_gain_is_the_divergence_between_posteriors():
    belief, steps = regression()
    one = Transitions(*(part[:1] + 0.5 for part in steps[:3]))
    precision, moment = np.asarray(belief.precision, np.float64), np.asarray(belief.moment, np.float64)
    phi = np.concatenate([[1.0], one.observation[0], one.action[0]]).astype(np.float64)
    after = precision + np.outer(phi, phi)
    mean, moved = (
        np.linalg.solve(precision, moment),
        np.linalg.solve(after, moment + np.outer(phi, one.next_observation[0])),
    )
    ratio = np.linalg.solve(after, precision)
    shift = (moved - mean) / belief.noise
    each = np.trace(ratio) - 4 - np.linalg.slogdet(ratio)[1]
    want = 0.5 * (2 * each + np.trace(shift.T @ precision @ shift))
    assert float(belief.bonus(one)[0]) == pytest.approx(want, rel=1e-3)


def test_the_mean_of_linear_gains_is_what_was_foreseen():
    """E over the predictive law by Gauss–Hermite quadrature, one output."""
    belief, _ = regression()
    belief = explore.LinearGain(explore.affine, 3, data_dim=1, noise=0.5).update(
        Transitions(jnp.array([[0.3], [1.0]]), jnp.array([[1.0], [0.2]]), jnp.array([[0.5], [2.0]])), key=KEY
    )
    seen, action = jnp.array([0.7]), jnp.array([-0.4])
    phi = np.array([1.0, 0.7, -0.4])
    inverse = np.linalg.inv(np.asarray(belief.precision, np.float64))
    mean = phi @ inverse @ np.asarray(belief.moment, np.float64)
    spread = 0.5 * np.sqrt(1 + phi @ inverse @ phi)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    gains = [float(belief.gain(seen, action, jnp.asarray(mean + spread * x, jnp.float32))) for x in nodes]
    foreseen = float(belief.ahead(seen, action))
    assert weights @ gains / weights.sum() == pytest.approx(foreseen, rel=1e-3)
    # and that is the entropy of the predictive law less that of the noise
    assert foreseen == pytest.approx(norm(0, spread).entropy() - norm(0, 0.5).entropy(), rel=1e-3)


def test_a_linear_belief_stays_a_belief_after_many_rows_far_from_zero():
    """300,000 rows about 100, nearly collinear: summed in float32, Λ is no longer positive definite."""
    rng = np.random.default_rng(6)
    size, matrix = 30_000, np.array([[0.5, 0.2], [0.1, 0.7]])
    belief = explore.LinearGain(explore.affine, 4, data_dim=2, noise=0.3)
    precision, moment = np.eye(4), np.zeros((4, 2))
    for _ in range(10):
        seen, action = 100 + 1e-3 * rng.normal(size=(size, 2)), rng.normal(size=(size, 1))
        after = seen @ matrix + 0.3 * rng.normal(size=(size, 2))
        parts = [np.asarray(part, np.float32) for part in (seen, action, after)]
        belief = belief.update(Transitions(*parts), key=KEY)
        phi = np.concatenate([np.ones((size, 1)), *parts[:2]], 1)
        precision, moment = precision + phi.T @ phi, moment + phi.T @ parts[2].astype(np.float64)
    phi = np.array([1.0, 100.001, 99.999, 0.5], np.float32).astype(np.float64)
    spread = phi @ np.linalg.solve(precision, phi)
    found = belief.ahead(jnp.asarray(phi[1:3]), jnp.asarray(phi[3:]))
    assert float(found) == pytest.approx(np.log1p(spread), rel=0.02)
    np.testing.assert_allclose(
        phi @ np.linalg.solve(precision, moment),
        belief.white.T @ belief._whitened(jnp.asarray(phi)),
        rtol=1e-4,
    )


def test_second_order_gain_tends_to_the_divergence_as_the_step_shrinks():
    rng = np.random.default_rng(3)
    q = DiagGaussian(jnp.asarray(rng.normal(size=6)), jnp.asarray(np.exp(rng.normal(size=6))))
    slope = explore.variational.Step(jnp.asarray(rng.normal(size=6)), jnp.asarray(rng.normal(size=6)))
    off = []
    for size in (0.1, 0.05, 0.025):
        step = explore.newton_step(q, slope, size)
        exact, second = float(explore.exact_gain(q, step)), float(explore.second_order_gain(q, step))
        off.append(abs(second / exact - 1))
    assert off[0] < 0.2 and off[2] < 0.05
    # the error is of one order more than the gain: it halves with the step
    assert off[1] / off[0] == pytest.approx(0.5, abs=0.1) and off[2] / off[1] == pytest.approx(0.5, abs=0.1)


def test_the_step_is_newtons_on_the_divergence():
    q = DiagGaussian(jnp.array([0.3, -1.0]), jnp.array([0.5, 2.0]))

    def divergence(move: jax.Array) -> jax.Array:
        return explore.exact_gain(q, explore.variational.Step(move[:2], move[2:]))

    hessian = jax.hessian(divergence)(jnp.zeros(4))
    slope = explore.variational.Step(jnp.array([1.0, -2.0]), jnp.array([0.5, 1.0]))
    step = explore.newton_step(q, slope, 0.1)
    want = 0.1 * np.linalg.solve(hessian, np.array([1.0, -2.0, 0.5, 1.0]))
    np.testing.assert_allclose(np.concatenate([step.loc, step.log_scale]), want, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: explore.Counts(0, 2), "num_states is 0"),
        (lambda: explore.Counts(2, 2, exponent=-1.0), "exponent is -1"),
        (lambda: explore.DirichletGain(2, 2, 3), "go together"),
        (lambda: explore.LinearGain(explore.affine, 3, data_dim=1, noise=0.0), "noise is 0"),
        (lambda: explore.PseudoCounts(explore.Empirical((2,)), pairs, form="gian"), "did you mean 'gain'"),
        (lambda: explore.Empirical((2, 2), ((0,),)), "each of 2 columns once"),
        (lambda: explore.GridCells([0.0], [0.0], (3,)), "each low below its high"),
        (lambda: explore.GridCells([-1.0, -np.inf], [1.0, np.inf], (3, 3)), "a finite range"),
        (lambda: explore.QLearner(epsilon=2.0), "epsilon is 2"),
        (lambda: explore.QLearner(repeat=0), "repeat is 0"),
        (
            lambda: explore.Memory.empty(2, 1).pushed(jnp.ones((3, 1)), jnp.ones((3, 0)), jnp.ones(3)),
            "3 rows",
        ),
    ],
)
def test_bad_settings_are_refused_in_one_line(make, words):
    with pytest.raises(InputError, match=words) as error:
        make()
    assert "\n" not in str(error.value)
