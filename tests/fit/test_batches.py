"""Windows of long sequences and batches by length: every step its chance, nothing biased, one compilation."""

from __future__ import annotations

from functools import cache, partial

import equinox as eqx
import fit_toys as toys
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats as st

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum
from jensen.errors import InputError
from jensen.fit.enter import to_device
from jensen.fit.plans import LikeLengths, SomeWindows
from jensen.fit.prepare import BatchLoss, Split

KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
quick = partial(jax.jit, compiler_options=QUICK)
LENGTHS = np.array([23, 7, 0, 1, 16])
pytestmark = pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")


def numbered(actions: int = 23) -> Datum:
    """Sequences whose entries say where they are from: 100 i + t, actions half of it; padding is −1."""
    place = 100.0 * np.arange(5)[:, None] + np.arange(23)
    x = np.where(np.arange(23) < LENGTHS[:, None], place, -1.0)[..., None]
    data = fit.Data(
        x, cond=0.5 * place[:, :actions, None], lengths=LENGTHS, mask=x % 2 == 0, weights=[1, 2, 3, 4, 5]
    )
    rows = data.rows()
    return to_device(eqx.tree_at(lambda d: d.x, rows, x))


@pytest.mark.parametrize(("burn_in", "actions"), [(0, 23), (3, 22)])
def test_windows_hold_what_the_sequences_hold(burn_in, actions):
    rows, plan = numbered(actions), SomeWindows(1, 5, burn_in)
    total = int(plan.positions(rows).sum())
    assert total == sum(n + 4 for n in LENGTHS if n)
    every = SomeWindows(total, 5, burn_in).pick(rows, jnp.arange(total), jnp.asarray(0), 0)
    scored = np.zeros((5, 23), int)
    for x, cond, index, mask, steps, weight, burnt in zip(
        *(
            np.asarray(leaf)
            for leaf in (every.x, every.cond, every.index, every.mask, every.steps, every.weight)
        ),
        np.zeros(total, int) if every.burn_in is None else np.asarray(every.burn_in),
        strict=True,
    ):
        times = x[:steps, 0] - 100 * index
        assert 1 <= steps - burnt <= 5 and np.array_equal(np.diff(times), np.ones(steps - 1))
        assert burnt == min(burn_in, times[burnt])
        assert np.array_equal(mask[:steps, 0], x[:steps, 0] % 2 == 0)
        assert np.array_equal(cond[: steps - 1, 0], 0.5 * x[: steps - 1, 0])
        assert weight == pytest.approx(total / 25 * (1 + index) / 3, rel=1e-6)
        scored[index, times[burnt:].astype(int)] += 1
    assert np.array_equal(scored, np.where(np.arange(23) < LENGTHS[:, None], 5, 0))


def test_in_an_epoch_of_windows_every_step_comes_at_most_once_and_over_epochs_as_often():
    rows, plan = numbered(), SomeWindows(1, 5, 0)
    epochs, per_epoch = 600, int(plan.steps_per_epoch(rows))

    @jax.jit
    def drawn(key):
        windows = SomeWindows(per_epoch, 5, 0).pick(rows, plan.order(rows, key=key), jnp.asarray(0), 0)
        times = windows.x[..., 0].astype(int) - 100 * windows.index[:, None]
        real = jnp.arange(5) < windows.steps[:, None]
        return jnp.zeros((5, 23), int).at[windows.index[:, None], times].add(real)

    each = np.asarray(jax.lax.map(drawn, jax.random.split(KEY, epochs)))
    real = np.arange(23) < LENGTHS[:, None]
    assert each.max() == 1 and not each[:, ~real].any()
    chance = per_epoch * 5 / int(plan.positions(rows).sum())
    share = each.mean(0)[real]
    assert np.abs(share - chance).max() < 5 * (chance * (1 - chance) / epochs) ** 0.5


def lgssm(memory: float) -> jn.Inference:
    """One state that remembers a share of the state before, or nothing, seen with noise."""
    model = models.LinearGaussianSSM.with_parameters(
        np.array([[memory]]), np.array([[1 - memory**2]]), np.eye(1), np.array([0.3]), initial=(np.zeros(1), np.eye(1))
    )  # fmt: skip
    return jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def evidence(memory: float, x: np.ndarray) -> float:
    """The same model's log p(x), by the dense covariance."""
    apart = np.abs(np.subtract.outer(np.arange(len(x)), np.arange(len(x))))
    return st.multivariate_normal(np.zeros(len(x)), memory**apart + 0.3 * np.eye(len(x))).logpdf(x[:, 0])


def waves(lengths=LENGTHS, steps=23, seed=0) -> fit.Data:
    x = np.random.default_rng(seed).normal(size=(len(lengths), steps, 1)).cumsum(1) * 0.5
    return fit.Data(x, lengths=lengths)


def bounds(memory: float, windows: Datum) -> np.ndarray:
    params, static = eqx.partition(lgssm(memory), eqx.is_array)

    def one(params, datum):
        own = eqx.combine(params, static)
        return own.gradient(own, datum, key=KEY, step=jnp.asarray(0), num_data=5, state=None).value

    return np.asarray(quick(jax.vmap(one, (None, 0)))(params, windows), np.float64)


def test_the_bound_of_windows_is_that_of_sequences_where_steps_are_independent():
    data = waves()
    rows = to_device(data.rows())
    total = int(SomeWindows(1, 5, 0).positions(rows).sum())
    every = SomeWindows(total, 5, 0).pick(rows, jnp.arange(total), jnp.asarray(0), 0)
    mean = np.mean(np.asarray(every.weight) * bounds(0.0, every))
    exact = [evidence(0.0, x[:n]) if n else 0.0 for x, n in zip(data.x, LENGTHS, strict=True)]
    assert mean == pytest.approx(np.mean(exact), rel=1e-4)


def test_windows_end_to_end_with_all_the_past_burnt_in_make_the_whole_evidence():
    data = waves([20, 20], 20)
    rows = to_device(data.rows())
    # places 4, 9, 14, 19 of a sequence's 24 are the windows that start at 0, 5, 10, 15
    places = jnp.asarray([4, 9, 14, 19, 28, 33, 38, 43])
    windows = SomeWindows(8, 5, 20).pick(rows, places, jnp.asarray(0), 0)
    got = bounds(0.9, windows).reshape(2, 4).sum(1)
    np.testing.assert_allclose(got, [evidence(0.9, x) for x in data.x], rtol=1e-4)
    short = SomeWindows(8, 5, 2).pick(rows, places, jnp.asarray(0), 0)
    assert np.asarray(short.burn_in).tolist() == [0, 2, 2, 2] * 2


@cache
def deep(kind: str) -> jn.Inference:
    if kind == "neural":
        model = models.NeuralStateSpace(2, 2, decoder=(4,), width=4, key=KEY)
    else:
        model = models.RSSM(2, 0, deter_dim=3, latent=families.DiagGaussian(2), decoder=(4,), key=KEY)
    q = posteriors.Filtering(
        families.DiagGaussian(2), like=model, widths=(4,), memory=0, key=jax.random.key(1)
    )
    # a head that starts small would hide whether the carry matters
    q = eqx.tree_at(lambda q: q.head.rest.layers[-1].weight, q, replace_fn=lambda w: 10 * w)
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


@pytest.mark.parametrize("kind", ["neural", "rssm"])
def test_a_burn_in_is_inferred_not_scored_and_held_constant(kind):
    inference = deep(kind)
    params, static = eqx.partition(inference, eqx.is_inexact_array)
    x = jax.random.normal(KEY, (6, 2))

    def run(params, x, burn_in):
        own = eqx.combine(params, static)
        datum = Datum(x, steps=jnp.asarray(5), burn_in=burn_in)
        terms = own.objective.draw(own.model, own.q(datum, key=KEY), datum, key=KEY, share=1.0)
        return own.objective.bound(terms), (terms.log_q, terms.log_prior, terms.kl, terms.scored)

    slope = quick(jax.grad(run, argnums=(0, 1), has_aux=True))
    (plain, plain_x), whole = slope(params, x, jnp.asarray(0))
    (burnt, burnt_x), part = slope(params, x, jnp.asarray(2))
    for ours, theirs in zip(part[:3], whole[:3], strict=True):
        assert np.array_equal(ours[:, :2], np.zeros((1, 2))) and not ours[:, 5:].any()
        np.testing.assert_allclose(ours[:, 2:], theirs[:, 2:], rtol=1e-5, atol=1e-6)
    assert part[3].tolist() == [[0, 0, 1, 1, 1, 0]]
    assert not burnt_x[:2].any() and burnt_x[2:5].all() and plain_x[:5].all()
    if kind == "neural":  # z_0 is trained where the sequence begins, and only there
        assert plain.model.first.all() and not burnt.model.first.any()


def train(folder=None, resume=False, epochs=4, inference=None, data=None, **more):
    model = models.HMM(2, 1, key=KEY)
    plain = jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    options = {"batch_size": 2, "batches": fit.Windows(5, burn_in=2), "optimizer": optax.adam(1e-2)} | more
    return fit.gradient(
        inference or plain, data or waves(), key=KEY, epochs=epochs,
        run=None if folder is None else fit.Run(folder, checkpoint_every=1, resume=resume), **options,
    )  # fmt: skip


def test_windows_resume_to_the_same_bits_and_are_validated_whole(tmp_path):
    # (47 steps + 4 overhanging places a sequence) // 5 windows // 2
    whole = train(validation=waves(seed=1))
    assert len(whole.history.bound) == 4 * (63 // 5 // 2)
    own = fit.evaluate(whole.inference, waves(seed=1), key=KEY).mean()
    assert whole.history.validation[-1] == pytest.approx(own, rel=1e-5)
    train(tmp_path, epochs=2, validation=waves(seed=1))
    again = train(tmp_path, resume=True, validation=waves(seed=1))
    assert np.array_equal(again.history.bound, whole.history.bound)
    assert toys.same(again.inference.model, whole.inference.model)
    assert again.meta["batches"] == "Windows(length=5, burn_in=2)"
    with pytest.raises(InputError, match="made with another batch plan"):
        train(tmp_path, resume=True, validation=waves(seed=1), batches=fit.Windows(5))


def test_batches_by_length_are_a_pass_over_the_rows():
    lengths = np.random.default_rng(0).integers(3, 60, size=43)
    data = waves(lengths, 60)
    plan = fit.ByLength(3).plan(data, 5)
    assert isinstance(plan, LikeLengths) and sum(plan.batches) == 8 and len(plan.batches) == 3
    work = np.dot(plan.batches, plan.lengths)
    assert work < 0.75 * 8 * 60 and plan.lengths[-1] == 60
    rows = to_device(data.rows())
    seen, padded = np.zeros(43), []
    epochs = 300
    orders = jax.lax.map(jax.jit(lambda key: plan.order(rows, key=key)), jax.random.split(KEY, epochs))
    assert all(len(set(epoch.ravel().tolist())) == 40 for epoch in np.asarray(orders[0]))
    for epoch in np.asarray(orders[0]):
        seen[epoch.ravel()] += 1
        padded.append(lengths[epoch].max(1))
    limits = np.repeat(plan.lengths, plan.batches)
    assert (np.max(padded, 0) <= limits).all()
    chance = 40 / 43
    assert np.abs(seen / epochs - chance).max() < 5 * (chance * (1 - chance) / epochs) ** 0.5
    first = jax.tree.map(lambda leaf: leaf[0], orders)
    for place in range(8):
        shape = int(plan.shape(first, jnp.asarray(place)))
        batch = plan.pick(rows, first, jnp.asarray(place), shape)
        assert batch.x.shape == (5, plan.lengths[shape], 1) and (batch.steps <= plan.lengths[shape]).all()
        assert np.array_equal(batch.index, np.asarray(first[0])[int(first[1][place])])


def test_a_pass_by_length_at_rest_has_the_mean_bound_of_all_rows():
    data = waves(np.arange(20) * 2 + 3, 41)
    fitted = train(data=data, epochs=1, batch_size=5, batches=fit.ByLength(2), optimizer=optax.sgd(0.0))
    own = fit.evaluate(fitted.inference, data, key=KEY).mean()
    assert fitted.history.bound.mean() == pytest.approx(own, rel=1e-4)
    assert len(fitted.history.bound) == 4


def test_free_nats_over_a_batch_of_windows_are_scaled_like_the_bound():
    base = toys.vae()
    rows = Datum(jnp.asarray(toys.rows(6), jnp.float32), weight=jnp.full(6, 0.3))

    def loss(free: float) -> float:
        objective = objectives.ELBO(free_bits=free, free_bits_over="batch")
        split = Split.of(jn.Inference(base.model, base.posterior, objective, base.gradient))
        each = BatchLoss(split.static, 3)
        run = lambda params: each(params, split.frozen, rows, key=KEY, step=jnp.asarray(0), memory=None)[0]  # noqa: E731
        return float(quick(run)(split.params))

    assert loss(1e-9) == pytest.approx(loss(0.0), rel=1e-4)


@pytest.mark.parametrize(
    ("batches", "size", "text"),
    [
        (lambda: fit.Windows(0), 2, "length=0"),
        (lambda: fit.Windows(5, burn_in=-1), 2, "burn_in=-1"),
        (lambda: fit.Windows(23), 2, "longest sequence has 23 steps"),
        (lambda: fit.Windows(5), None, "give batch_size=, the number of windows"),
        (lambda: fit.Windows(5), 13, "larger than an epoch, 12 windows"),
        (lambda: fit.ByLength(0), 2, "groups is 0"),
        (lambda: fit.ByLength(), None, "give batch_size=, the number of sequences"),
        (lambda: fit.ByLength(), 6, "larger than the data, 5 rows"),
    ],
)
def test_refused_batches(batches, size, text):
    with pytest.raises(InputError, match=text):
        train(batches=batches(), batch_size=size)


def test_refused_members_and_data():
    one_length = fit.Data(np.ones((4, 9, 1)))
    with pytest.raises(InputError, match="all sequences are of one length"):
        train(data=one_length, batches=fit.ByLength())
    with pytest.raises(InputError, match=r"Windows takes sequences \(N, T, D\)"):
        train(data=fit.Data(np.ones((4, 9))), batches=fit.Windows(2))
    deep_one, exact = deep("neural"), lgssm(0.5)
    two = fit.Data(np.random.default_rng(0).normal(size=(5, 9, 2)))
    fivo = jn.Inference(deep_one.model, deep_one.posterior, objectives.FIVO(2), gradients.Reparam())
    with pytest.raises(InputError, match="FIVO weighs every step"):
        train(inference=fivo, data=two)
    sampled = jn.Inference(
        exact.model, posteriors.Exact(), objectives.ELBO(kl="sampled"), gradients.ScoreFunction()
    )
    with pytest.raises(InputError, match="would score the burn-in too"):
        train(inference=sampled)
    table = posteriors.PerDatum(families.GaussianMarkov(9, 2), num_data=5, key=KEY)
    each = jn.Inference(deep_one.model, table, objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match="one law for each whole sequence"):
        train(inference=each, data=two, batches=fit.Windows(3))


def ten_fits(fitted, compiled: list[str]) -> int:
    """Run a fit on ten data sets of the same shapes; return how much the nine after the first compile."""
    lengths = [np.random.default_rng(seed).permutation([12, 9, 12, 5, 3, 12]) for seed in range(10)]
    for seed, each in enumerate(lengths):
        fitted(waves(each, 12, seed), seed)
        first = len(compiled) if seed == 0 else first
    return len(compiled) - first


@pytest.fixture(scope="module")
def compiled() -> list[str]:
    """Grows whenever XLA compiles."""
    heard: list[str] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return heard


def test_ten_fits_in_a_row_compile_once(compiled):
    def hmm(seed):
        return models.HMM(2, 1, key=jax.random.key(seed))

    def linear(seed):
        return models.LinearGaussianSSM(1, 1, key=jax.random.key(seed))

    def by_em(make):
        return lambda data, seed: fit.em(make(seed), data, steps=2)

    def neural(data, seed, batches):
        model = models.NeuralStateSpace(1, 1, decoder=(2,), width=2, key=jax.random.key(seed))
        q = posteriors.Filtering(
            families.DiagGaussian(1), like=model, widths=(2,), memory=0, key=jax.random.key(seed)
        )
        fit.gradient(
            jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()),
            data, key=jax.random.key(seed), optimizer=optax.adam(1e-3), epochs=1, batch_size=2, batches=batches,
        )  # fmt: skip

    for name, fitted in {
        "HMM by EM": by_em(hmm),
        "LGSSM by EM": by_em(linear),
        "windows": lambda data, seed: neural(data, seed, fit.Windows(4, burn_in=1)),
        "carried windows": lambda data, seed: neural(data, seed, fit.CarriedWindows(4)),
        "by length": lambda data, seed: neural(data, seed, fit.ByLength(2)),
    }.items():
        before = len(compiled)
        assert ten_fits(fitted, compiled) == 0, name
        assert len(compiled) > before, name
