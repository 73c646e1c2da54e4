"""Consecutive windows go on where the one before ended: as the whole sequence, but for the cut gradient."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import equinox as eqx
import fit_toys as toys
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import dist, families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum
from jensen.errors import InputError
from jensen.fit.chunk import Program, State, batch_at
from jensen.fit.enter import to_device
from jensen.fit.fingerprint import Static
from jensen.fit.lanes import Lanes, ends, going_on, onset
from jensen.fit.prepare import BatchLoss, Split

KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
quick = partial(jax.jit, compiler_options=QUICK)
LENGTHS = np.array([23, 7, 0, 1, 15])
WINDOWS = 5 + 2 + 0 + 1 + 3
KINDS = ["neural", "rssm", "categorical", "is_first"]
pytestmark = pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same noise at every step, so that a step's does not depend on the window it is in."""
    for law in (dist.DiagGaussian, dist.OneHot):
        noise = law.noise
        fixed = lambda self, *, key, noise=noise: noise(self, key=jax.random.key(5))  # noqa: E731
        monkeypatch.setattr(law, "noise", fixed)


def stirred(tree: Any, by: float) -> Any:
    """Move every array off its start, where heads are small and states forgetful."""
    params, static = eqx.partition(tree, eqx.is_inexact_array)
    rng = np.random.default_rng(3)
    moved = jax.tree.map(lambda a: a + jnp.asarray(by * rng.normal(size=a.shape), a.dtype), params)
    return eqx.combine(moved, static)


@cache
def inference(kind: str) -> jn.Inference:
    latent: Any = families.OneHot(3, 2, unimix=0.01) if kind == "categorical" else families.DiagGaussian(2)
    if kind == "neural":
        model: Any = models.NeuralStateSpace(2, 2, decoder=(4,), width=4, cond_dim=1, key=KEY)
    else:
        model = models.RSSM(2, 1, deter_dim=3, latent=latent, decoder=(4,), key=KEY)
    q = posteriors.Filtering(latent, like=model, widths=(4,), key=jax.random.key(1))
    assert (q.gru is None) == (kind != "neural")
    gradient = gradients.StraightThrough() if kind == "categorical" else gradients.Reparam()
    return jn.Inference(stirred(model, 0.3), stirred(q, 0.5), objectives.ELBO(), gradient)


def waves(kind: str = "rssm", seed: int = 0) -> fit.Data:
    """Ragged sequences with actions and single missing entries; episodes begin here and there."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, 23, 2)).cumsum(1) * 0.5
    actions = rng.normal(size=(5, 23, 1))
    if kind == "is_first":
        begins = np.zeros((5, 23, 1))
        begins[[0, 0, 4], [5, 12, 10]] = 1  # the first step of a window, and one within
        actions = np.concatenate([actions, begins], -1)
    return fit.Data(x, cond=actions, lengths=LENGTHS, mask=rng.random(x.shape) < 0.8)


def rows_of(kind: str) -> Datum:
    return to_device(waves(kind).rows())


def terms_of(kind: str) -> Any:
    """Return a compiled function from a batch to its estimates and where its windows ended."""
    own = Split.of(inference(kind))
    loss = BatchLoss(own.static, 5)

    @quick
    def run(params, batch):
        each = loss.estimates(own.join(params), batch, key=KEY, step=jnp.asarray(0), memory=None)
        one = jax.tree.map(lambda leaf: leaf[:, 0], each.terms)
        return (one.log_q, one.log_prior, one.kl, one.log_likelihood), ends(each, batch)

    return partial(run, own.params)


def compare(kind: str, carry=lambda end: end) -> int:
    """Check every window of an epoch against its place in the whole sequence; return how many went on."""
    rows, plan, run = rows_of(kind), Lanes(2, 5), terms_of(kind)
    whole, _ = run(rows)
    lanes, went_on, cold, seen = onset(inference(kind), plan), 0, np.zeros(2, bool), np.zeros((5, 23), int)
    likelihood = np.zeros(5)
    order = plan.order(rows, key=jax.random.key(8))
    for place in range(int(plan.steps_per_epoch(rows))):
        batch = plan.pick(rows, order, jnp.asarray(place), 0)
        parts, lanes = run(going_on(batch, lanes))
        lanes = carry(lanes)
        for lane in range(2):
            i, steps = int(batch.index[lane]), int(batch.steps[lane])
            first = int(np.flatnonzero((rows.x[i] == batch.x[lane, 0]).all(-1))[0])
            assert steps == min(5, LENGTHS[i] - first) and first % 5 == 0
            assert bool(batch.carried.goes_on[lane]) == (first > 0 and place > 0)
            cold[lane] = first > 0 and (place == 0 or cold[lane])
            seen[i, first : first + steps] += 1
            assert batch.weight is None or batch.weight[lane] == pytest.approx(WINDOWS / 5)
            if cold[lane]:
                continue
            went_on += first > 0
            likelihood[i] += parts[3][lane]
            for ours, theirs in zip(parts[:3], whole[:3], strict=True):
                inside = slice(first, first + steps)
                np.testing.assert_allclose(ours[lane, :steps], theirs[i, inside], rtol=2e-5, atol=2e-5)
                assert not ours[lane, steps:].any()
    assert (seen <= 1).all() and not seen[np.arange(23) >= LENGTHS[:, None]].any()
    complete = seen.sum(1) == LENGTHS
    assert complete.sum() >= 3
    np.testing.assert_allclose(likelihood[complete], whole[3][complete], rtol=2e-5)
    return went_on


@pytest.mark.parametrize("kind", KINDS)
def test_windows_have_the_terms_of_the_whole_sequence(kind, steady):
    assert compare(kind) >= 4


def test_a_state_that_is_not_carried_is_noticed(steady):
    for forget in (
        lambda end: eqx.tree_at(lambda e: e.memory, end, jnp.zeros_like(end.memory)),
        lambda end: eqx.tree_at(lambda e: e.state[1], end, jnp.zeros_like(end.state[1])),
    ):
        with pytest.raises(AssertionError):
            compare("neural", forget)
    with pytest.raises(AssertionError):
        compare("rssm", lambda end: eqx.tree_at(lambda e: e.state[0], end, jnp.zeros_like(end.state[0])))


def by_hand(own: jn.Inference, datum: Datum, borders: jax.Array) -> Any:
    """Return the bound of one sequence step by step, what is carried held constant at the borders."""
    model, q = own.model, own.posterior
    inputs, seen = model.inputs(datum.cond, len(datum.x)), q.encoder.over_time(datum)
    (carry, z), total = model.start(), 0.0
    memory, action = jnp.zeros(q.gru.state_dim if q.gru else 0), jnp.zeros(1)
    for t in range(STEPS):
        cut = lambda leaf, t=t: jnp.where(borders[t], jax.lax.stop_gradient(leaf), leaf)  # noqa: E731
        carry, z, memory = jax.tree.map(cut, (carry, z, memory))
        if q.gru is not None:
            memory = q.gru(memory, q.gru.entry(jnp.concatenate([seen[t], action])))
        carry = model.advance(carry, z, jax.tree.map(lambda leaf, t=t: leaf[t], inputs))
        law = q.family(q.head(model.features(carry), q.head.prepare(jnp.concatenate([seen[t], memory]))))
        law = law.straight_through() if isinstance(law, dist.AbstractRelaxable) else law
        z = law.from_noise(law.noise(key=KEY))
        kl = dist.kl_divergence(law, model.prior_from(carry), None)
        fits = dist.log_prob_observed(model.observation_from(z, carry), datum.x[t], datum.mask[t])
        total += fits - jnp.sum(kl)
        action = datum.cond[t, :1]
    return total


STEPS = 8


@pytest.mark.parametrize("kind", KINDS[:3])
def test_the_gradient_is_that_of_the_whole_cut_at_the_borders(kind, steady):
    rows = jax.tree.map(lambda leaf: leaf[:1], rows_of(kind))
    rows = eqx.tree_at(lambda d: d.steps, rows, jnp.asarray([STEPS]))
    split, plan = Split.of(inference(kind)), Lanes(1, 3)
    loss, lanes = BatchLoss(split.static, 1), onset(inference(kind), plan)
    order = (jnp.asarray([0]), jnp.asarray([3]), jnp.asarray(0))  # three windows, beginning with the first

    @quick
    def window(params, place, lanes):
        def one(params):
            batch = going_on(plan.pick(rows, order, place, 0), lanes)
            return loss(params, split.frozen, batch, key=KEY, step=place, memory=None)

        return jax.value_and_grad(one, has_aux=True)(params)

    bound, slope = 0.0, jax.tree.map(jnp.zeros_like, split.params)
    for place in jnp.arange(3):
        (value, (_, _, lanes)), grads = window(split.params, place, lanes)
        bound, slope = bound + float(value), jax.tree.map(jnp.add, slope, grads)
    datum = jax.tree.map(lambda leaf: leaf[0], rows)
    whole = quick(jax.value_and_grad(lambda params, cuts: -by_hand(split.join(params), datum, cuts)))
    theirs, their_slope = whole(split.params, jnp.isin(jnp.arange(STEPS), jnp.asarray([3, 6])))
    # every window of the one sequence weighs three, so that their mean is its bound
    assert bound == pytest.approx(3 * float(theirs), rel=1e-5)
    size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(their_slope))
    for mine, other in zip(jax.tree.leaves(slope), jax.tree.leaves(their_slope), strict=True):
        np.testing.assert_allclose(mine, 3 * other, rtol=1e-4, atol=1e-5 * size)
    _, uncut = whole(split.params, jnp.zeros(STEPS, bool))
    apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), uncut, their_slope)
    assert max(jax.tree.leaves(apart)) > 1e-3 * size  # where to cut makes a difference here


def test_in_an_epoch_every_window_comes_at_most_once_and_over_epochs_as_often():
    rows, plan = rows_of("rssm"), Lanes(3, 5)
    epochs, per_epoch = 600, int(plan.steps_per_epoch(rows))
    place = 100.0 * jnp.arange(5)[:, None] + jnp.arange(23)
    rows = eqx.tree_at(lambda d: d.x, rows, jnp.broadcast_to(place[..., None], rows.x.shape))

    @jax.jit
    def drawn(key):
        order = plan.order(rows, key=key)
        windows = jax.vmap(lambda at: plan.pick(rows, order, at, 0))(jnp.arange(per_epoch))
        times = windows.x[..., 0].astype(int) - 100 * windows.index[..., None]
        real = jnp.arange(5) < windows.steps[..., None]
        return jnp.zeros((5, 23), int).at[windows.index[..., None], times].add(real)

    each = np.asarray(jax.lax.map(drawn, jax.random.split(KEY, epochs)))
    real = np.arange(23) < LENGTHS[:, None]
    chance = per_epoch * 3 / WINDOWS
    assert per_epoch == 3 and each.max() == 1 and not each[:, ~real].any()
    assert np.abs(each.mean(0)[real] - chance).max() < 5 * (chance * (1 - chance) / epochs) ** 0.5


def train(folder=None, resume=False, steps=9, own=None, data=None, **more):
    options = {"batch_size": 2, "batches": fit.CarriedWindows(5), "optimizer": optax.adam(1e-2)} | more
    return fit.gradient(
        own or inference("neural"), data or waves(), key=KEY, steps=steps,
        run=None if folder is None else fit.Run(folder, checkpoint_every=1000, resume=resume), **options,
    )  # fmt: skip


def test_a_fit_resumes_to_the_same_bits_in_the_middle_of_an_epoch(tmp_path):
    whole = train(validation=waves(seed=1))
    assert (
        whole.meta["steps_per_epoch"] == WINDOWS // 2 and whole.meta["batches"] == "CarriedWindows(length=5)"
    )
    own = fit.evaluate(whole.inference, waves(seed=1), key=KEY).mean()
    assert np.isfinite(own) and len(whole.history.bound) == 9
    train(tmp_path, steps=3, validation=waves(seed=1))
    again = train(tmp_path, resume=True, validation=waves(seed=1))
    assert np.array_equal(again.history.bound, whole.history.bound)
    assert toys.same(again.inference.model, whole.inference.model)
    with pytest.raises(InputError, match="made with another batch plan"):
        train(tmp_path, resume=True, validation=waves(seed=1), batches=fit.Windows(5))


def test_a_step_taken_slowly_goes_on_from_the_same_place():
    rows, plan = rows_of("neural"), Lanes(2, 5)
    lanes = jax.tree.map(lambda leaf: leaf + 1.0, onset(inference("neural"), plan))
    program = Program(BatchLoss(Split.of(inference("neural")).static, 5), Static(optax.sgd(1.0)), plan)
    state = State(None, None, None, jnp.asarray(3), jnp.ones(()), KEY, lanes)
    batch, _ = batch_at(program, state, rows)
    assert toys.same(batch.carried.end, lanes)


@pytest.mark.parametrize(
    ("batches", "size", "text"),
    [
        (lambda: fit.CarriedWindows(0), 2, "CarriedWindows: length=0"),
        (
            lambda: fit.CarriedWindows(23),
            2,
            r"CarriedWindows\(length=23\): the longest sequence has 23 steps",
        ),
        (lambda: fit.CarriedWindows(5), None, "CarriedWindows: give batch_size=, the number of windows"),
        (lambda: fit.CarriedWindows(5), 12, "larger than an epoch, 11 windows"),
    ],
)
def test_refused_batches(batches, size, text):
    with pytest.raises(InputError, match=text):
        train(batches=batches(), batch_size=size)


def test_members_that_cannot_carry_a_state_are_refused():
    own = inference("neural")
    smoothing = posteriors.Smoothing(families.DiagGaussian(2), like=own.model, widths=(4,), key=KEY)
    ahead = jn.Inference(own.model, smoothing, objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match=r"Smoothing looks ahead.*fit.Windows\(5, burn_in=...\)"):
        train(own=ahead)
    table = posteriors.PerDatum(families.GaussianMarkov(23, 2), num_data=5, key=KEY)
    with pytest.raises(InputError, match="PerDatum looks ahead"):
        train(own=jn.Inference(own.model, table, objectives.ELBO(), gradients.Reparam()))
    fivo = jn.Inference(own.model, own.posterior, objectives.FIVO(2), gradients.Reparam())
    with pytest.raises(InputError, match="under FIVO: paths are weighed as a whole"):
        train(own=fivo)
    iwae = jn.Inference(own.model, own.posterior, objectives.IWAE(2), gradients.Reparam())
    with pytest.raises(InputError, match="under IWAE: paths are weighed as a whole"):
        train(own=iwae)
    exact = jn.Inference(
        models.HMM(2, 2, key=KEY), posteriors.Exact(), objectives.ELBO(), gradients.Analytic()
    )
    plain = fit.Data(waves().x, lengths=LENGTHS)
    with pytest.raises(InputError, match="HMM draws no state that a window could hand on"):
        train(own=exact, data=plain)
