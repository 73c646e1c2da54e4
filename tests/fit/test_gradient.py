"""The gradient loop: right answers, right batches, one compilation, clear refusals."""

from __future__ import annotations

import warnings

import equinox as eqx
import fit_toys as toys
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import fit
from jensen.errors import InputError, JensenWarning, NonFiniteError
from jensen.fit.chunk import Program, State, advance, batch_at, chunk_length, start
from jensen.fit.enter import to_device
from jensen.fit.evaluate import Blocks, bounds
from jensen.fit.fingerprint import Static
from jensen.fit.plans import SomeRows
from jensen.fit.prepare import BatchLoss, Split

KEY = jax.random.key(0)
pytestmark = pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")


def test_exact_evidence_reaches_the_maximum_likelihood_gaussian():
    x = toys.rows(200)
    fitted = fit.gradient(toys.gaussian(), x, key=KEY, optimizer=optax.adam(0.05), steps=800)
    best = -0.5 * (np.log(2 * np.pi * x.var(0)) + 1).sum()
    assert fitted.stop_reason == "steps"
    assert fit.evaluate(fitted.inference, x, key=KEY).mean() == pytest.approx(best, abs=1e-4)
    assert fitted.history.bound[-1] == pytest.approx(best, abs=1e-3)


def test_minibatches_scale_the_bound_right():
    # one z behind all data: a wrong N/B would give the posterior of another number of rows
    x = np.random.default_rng(0).normal(size=(40, 1)) + 1.5
    schedule = optax.cosine_decay_schedule(0.05, 3000)
    inference = toys.shared(toys.Location(jnp.zeros(1)))
    fitted = fit.gradient(
        inference,
        x,
        key=KEY,
        optimizer=optax.adam(schedule),
        steps=3000,
        batch_size=8,
        trainable=lambda inference: inference.posterior,
    )
    q = fitted.inference.q(jn.Datum(jnp.zeros(1)), key=KEY)
    assert float(q.scale[0]) == pytest.approx(41**-0.5, rel=0.03)
    assert float(q.loc[0]) == pytest.approx(x.sum() / 41, abs=0.02)


def test_weights_are_repetitions():
    x = toys.rows(6)
    weights = np.array([1, 2, 1, 3, 1, 1])
    fits = [
        fit.gradient(toys.gaussian(), data, key=KEY, optimizer=optax.adam(0.05), steps=500)
        for data in (fit.Data(x, weights=weights), np.repeat(x, weights, axis=0))
    ]
    means = [f.history.bound[-1] for f in fits]
    assert means[0] == pytest.approx(means[1], abs=1e-4)


def test_batches_are_without_replacement_and_differ_between_epochs():
    data = fit.Data(toys.rows(10))
    split = Split.of(toys.gaussian())
    program = Program(BatchLoss(split.static, 10), Static(optax.sgd(1.0)), SomeRows(3))
    state = start(program, split.params, None, KEY)
    epochs = []
    for number in range(2):
        steps = [number * 3 + i for i in range(3)]
        batches = [
            batch_at(program, State(*_fields(state, jnp.asarray(s, jnp.int32))), to_device(data.rows()))[0]
            for s in steps
        ]
        epochs.append(np.concatenate([np.asarray(b.index) for b in batches]))
        assert len(set(epochs[-1].tolist())) == 9
    assert not np.array_equal(*epochs)


def _fields(state: State, step):
    return state.params, state.optimizer, state.memory, step, state.rate, state.key


def test_a_second_call_compiles_nothing():
    fit.gradient(toys.vae(0), toys.rows(24), key=KEY, optimizer=optax.adam(1e-3), steps=3, batch_size=8)
    before = advance._cache_size()
    fit.gradient(
        toys.vae(1), toys.rows(24, seed=1), key=KEY, optimizer=optax.adam(1e-3), steps=7, batch_size=8
    )
    assert advance._cache_size() == before
    fit.gradient(toys.vae(1), toys.rows(24), key=KEY, optimizer=optax.adam(2e-3), steps=3, batch_size=8)
    assert advance._cache_size() == before + 1


def test_the_same_key_gives_the_same_bits_and_arrays_stay_the_callers():
    x = toys.rows()
    kept, inference = x.copy(), toys.vae()
    leaves = [np.array(leaf) for leaf in toys.arrays(inference)]
    options = {"key": KEY, "optimizer": optax.adam(1e-2), "epochs": 2, "batch_size": 8}
    first, second = (fit.gradient(inference, x, **options) for _ in range(2))
    assert toys.same(first.inference, second.inference)
    assert np.array_equal(x, kept)
    assert toys.same(leaves, inference)


@pytest.mark.parametrize("part", ["model", "posterior"])
def test_frozen_parameters_keep_their_bits(part):
    inference = toys.vae().initialize_from(fit.Data(toys.rows()).rows(), key=KEY)
    fitted = fit.gradient(
        inference,
        toys.rows(),
        key=KEY,
        optimizer=optax.adamw(1e-2),
        steps=5,
        trainable=lambda i: getattr(i, part),
    )
    for name in ("model", "posterior"):
        before, after = getattr(inference, name), getattr(fitted.inference, name)
        assert toys.same(before, after) == (name != part)
    assert toys.same(inference.posterior.frame, fitted.inference.posterior.frame)


def test_patience_returns_the_best_parameters():
    x = toys.rows(12)
    held_out = toys.rows(100, seed=7)
    fitted = fit.gradient(
        toys.gaussian(),
        x,
        key=KEY,
        optimizer=optax.adam(0.1),
        epochs=400,
        validation=held_out,
        stop=fit.Patience(3),
    )
    history = fitted.history
    assert fitted.stop_reason == "patience"
    assert np.argmax(history.validation) == len(history.validation) - 4
    own = fit.evaluate(fitted.inference, held_out, key=KEY, num_data=12).mean()
    assert own == pytest.approx(history.validation.max(), abs=1e-5)


def test_a_flat_bound_converges():
    fitted = fit.gradient(
        toys.gaussian(),
        toys.rows(),
        key=KEY,
        optimizer=optax.adam(0.05),
        steps=20_000,
        stop=fit.Converged(1e-5, window=200),
    )
    assert fitted.stop_reason == "converged"
    assert len(fitted.history.bound) < 20_000


def test_a_rollback_halves_the_rate_and_is_recorded():
    # plain descent at rate 3 jumps over the wall; at 1.5 it does not
    x = np.full((4, 1), 1.0) + np.linspace(-0.1, 0.1, 4)[:, None]
    inference = toys.shared(toys.Fragile(jnp.zeros(1)))
    fitted = fit.gradient(
        inference, x, key=KEY, optimizer=optax.sgd(2.5), steps=20, trainable=lambda i: i.model
    )
    assert fitted.history.events and "halved" in fitted.history.events[0]
    assert all(np.isfinite(leaf).all() for leaf in toys.arrays(fitted.inference))
    assert np.isfinite(fitted.history.bound).all() and len(fitted.history.bound) == 20


def test_hopeless_steps_name_step_term_and_group():
    inference = toys.shared(toys.Fragile(jnp.zeros(1)))
    x = np.linspace(0, 1e6, 4)[:, None]
    with pytest.raises(NonFiniteError, match=r"step 2: .*log p\(x\|z\) of row 0.*model\.a.*1/8"):
        fit.gradient(inference, x, key=KEY, optimizer=optax.sgd(1.0), steps=9, trainable=lambda i: i.model)


def test_nan_in_rarely_visited_parameters_is_found():
    # the row of a per-datum table that broke is read again only an epoch later
    def init(params):
        return jnp.zeros((), jnp.int32)

    def update(grads, count, params=None):
        broken = jax.tree.map(lambda g: jnp.where((count == 5) & (g != 0), jnp.nan, -0.01 * g), grads)
        return broken, count + 1

    inference = toys.shared(toys.Location(jnp.zeros(1)))
    q = jn.posteriors.PerDatum(jn.families.DiagGaussian(1), num_data=12, key=KEY)
    inference = jn.Inference(inference.model, q, inference.objective, inference.gradient)
    with pytest.raises(NonFiniteError, match="step 6: not finite: the update of the optimizer"):
        fit.gradient(
            inference,
            toys.rows(12, dim=1),
            key=KEY,
            optimizer=optax.GradientTransformation(init, update),
            steps=9,
            batch_size=2,
            trainable=lambda i: i.posterior,
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "either epochs= or steps="),
        ({"epochs": 1, "steps": 1}, "either epochs= or steps="),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"steps": -1}, "steps is -1; it must be at least 1"),
        ({"epochs": 1, "batch_size": 25}, "batch_size=25 is larger than the data, 24 rows"),
        ({"epochs": 1, "batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"epochs": 1, "stop": fit.Patience(2)}, "Patience watches the validation bound"),
        ({"epochs": 1, "validation": np.ones((3, 2))}, "X has 2 features, but Decoder is expecting 3"),
        ({"epochs": 1, "trainable": lambda i: i.nothing}, "trainable must pick parts"),
        ({"epochs": 1, "trainable": lambda i: i.posterior.frame}, "nothing to train"),
    ],
)
def test_refused_options(options, text):
    with pytest.raises(InputError, match=text):
        fit.gradient(toys.vae(), toys.rows(), key=KEY, optimizer=optax.adam(1e-3), **options)


def test_refused_data():
    options = {"key": KEY, "optimizer": optax.adam(1e-3), "steps": 1}
    with pytest.raises(InputError, match=r"X has 4 features, but Decoder is expecting 3 features as input\."):
        fit.gradient(toys.vae(), toys.rows(dim=4), **options)
    inference = toys.vae()
    free = jn.objectives.ELBO(free_bits=0.1, free_bits_over="batch")
    coupled = jn.Inference(inference.model, inference.posterior, free, inference.gradient)
    with pytest.raises(InputError, match="weights do not reach the batch term"):
        fit.gradient(coupled, fit.Data(toys.rows(), weights=np.arange(24)), **options)
    q = jn.posteriors.PerDatum(jn.families.DiagGaussian(2), num_data=9, key=KEY)
    each = jn.Inference(inference.model, q, inference.objective, inference.gradient)
    with pytest.raises(InputError, match="PerDatum was made for 9 rows, x has 24"):
        fit.gradient(each, toys.rows(), **options)
    with pytest.raises(InputError, match="PerDatum has no posterior for new rows"):
        fit.gradient(each, toys.rows(9), validation=toys.rows(3), **options)


def test_pixels_conditions_and_masks_enter_as_they_are():
    x = (toys.rows(24) > 0).astype(np.uint8)
    key = jax.random.key(1)
    model = jn.models.Decoder(3, 2, likelihood="bernoulli", widths=(4,), key=key)
    inference = jn.Inference(model, toys.vae().posterior, jn.objectives.ELBO(), jn.gradients.Reparam())
    options = {"key": KEY, "optimizer": optax.adam(1e-3), "steps": 2}
    mask = np.ones(x.shape, bool)
    plain = fit.gradient(inference, x, **options)
    masked = fit.gradient(inference, fit.Data(x, mask=mask), **options)
    floats = fit.gradient(inference, x.astype(float), **options)
    assert plain.history.bound == pytest.approx(masked.history.bound, rel=1e-5)
    assert np.array_equal(plain.history.bound, floats.history.bound)
    mask[:, 0] = False
    hidden = fit.gradient(inference, fit.Data(x, mask=mask), **options)
    assert (hidden.history.bound > plain.history.bound).all()


def test_evaluation_does_not_depend_on_blocks_and_repeats_average():
    inference = toys.vae().initialize_from(fit.Data(toys.rows()).rows(), key=KEY)
    whole = fit.evaluate(inference, toys.rows(), key=KEY)
    cut = fit.evaluate(inference, toys.rows(), key=KEY, batch_size=7)
    assert whole.dtype == np.float64 and whole.shape == (24,)
    assert cut == pytest.approx(whole, abs=1e-5)
    many = fit.evaluate(inference, toys.rows(), key=KEY, repeats=3)
    split, blocks = Split.of(inference), Blocks.of(to_device(fit.Data(toys.rows()).rows()))
    each = [bounds(split, split.params, blocks, key=k, num_data=24) for k in jax.random.split(KEY, 3)]
    assert many == pytest.approx(np.mean(each, 0))


def test_chunks_follow_from_shapes():
    tiny, large = {"w": jnp.zeros(5)}, {"w": jnp.zeros((1000, 1000))}
    assert chunk_length(tiny, 10) == 1000
    assert chunk_length(large, 100) == 300
    assert chunk_length(large, 10**6) == 1


@pytest.mark.parametrize("by", ["em", "gradient"])
def test_best_of_orders_restarts_and_keeps_the_best(by):
    x = np.concatenate([toys.rows(30), toys.rows(30, seed=1) + 6])

    def model(key):
        return jn.models.GaussianMixture(2, 3, key=key)

    def inference(key):
        return jn.Inference(model(key), jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())

    if by == "em":
        best = fit.best_of(model, x, restarts=3, by=fit.em, key=KEY, steps=5)
    else:
        options = {"optimizer": optax.adam(0.02), "steps": 20}
        best = fit.best_of(inference, x, restarts=3, by=fit.gradient, key=KEY, **options)
    assert best.restarts.shape == (3,) and (np.diff(best.restarts) <= 0).all()
    own = fit.evaluate(best.inference, x, key=KEY).mean()
    assert own == pytest.approx(best.restarts[0], abs=1e-4)


def test_best_of_survives_a_broken_restart():
    calls = []

    def by(start, data, *, key):
        calls.append(start)
        if len(calls) == 1:
            raise NonFiniteError("step 1")
        return fit.gradient(start, data, key=key, optimizer=optax.adam(1e-3), steps=1)

    best = fit.best_of(lambda key: toys.gaussian(), toys.rows(), restarts=2, by=by, key=KEY)
    assert best.restarts[-1] == -np.inf and np.isfinite(best.restarts[0])
    with pytest.raises(InputError, match="restarts is 0"):
        fit.best_of(lambda key: toys.gaussian(), toys.rows(), restarts=0, by=by, key=KEY)


def test_training_repeats_no_warning_of_a_clean_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error", JensenWarning)
        fit.gradient(toys.vae(), toys.rows(), key=KEY, optimizer=optax.adam(1e-3), steps=1)


def test_what_is_held_keeps_its_bits_on_the_first_fit_too():
    inference = toys.vae()
    held = eqx.tree_at(lambda i: i.model.net.layers[-1].bias, inference, replace_fn=lambda b: b + 5.0)
    fitted = fit.gradient(
        held, toys.rows(), key=KEY, optimizer=optax.sgd(1e-3), steps=2, trainable=lambda i: i.posterior
    )
    before, after = (
        jax.tree.leaves(eqx.filter(m, eqx.is_array)) for m in (held.model, fitted.inference.model)
    )
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_checkpoints_leave_no_mark_on_when_a_fit_is_judged(tmp_path):
    def run(**options):
        return fit.gradient(
            toys.vae(), toys.rows(), key=KEY, optimizer=optax.adam(1e-2), steps=330,
            validation=toys.rows(8, seed=1), stop=fit.Patience(50), **options,
        ).history.validation_step.tolist()  # fmt: skip

    assert run() == run(run=fit.Run(tmp_path, checkpoint_every=70)) == [100, 200, 300, 330]
