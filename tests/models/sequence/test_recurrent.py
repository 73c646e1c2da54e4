"""Deep state-space models: parts, padding, closed forms, and what must be refused."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jensen import dist, families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference, score
from jensen.errors import CombinationError, InputError
from jensen.nets import trainable

from .deep import (
    ACTION,
    DIM,
    FAMILIES,
    KEY,
    MODELS,
    POSTERIORS,
    T,
    moved,
    neural,
    posterior,
    quick,
    rssm,
    sequence,
)

PAIRS = [
    ("neural", "smoothing"),
    ("neural", "filtering"),
    ("e2c", "filtering"),
    ("rssm", "filtering"),
    ("rssm-categorical", "smoothing"),
]
BOTH = pytest.mark.parametrize(("name", "kind"), PAIRS)


def made(name: str, kind: str):
    model = MODELS[name]()
    return model, posterior(kind, FAMILIES[name](), model)


@BOTH
def test_the_draw_is_scored_as_its_parts_say(name, kind):
    """The one scan of the draw, the law evaluated afresh, and the model's own log-joint agree."""
    model, q = made(name, kind)
    datum = sequence(steps=4, masked=True)

    @quick
    def parts(key):
        law = q(model, datum, key=KEY)
        drawn = dist.draw(law, key=key)
        return drawn, law.log_prob(drawn.z), score(model, law, drawn, datum), model.log_joint(drawn.z, datum)

    drawn, log_q, terms, log_joint = parts(KEY)
    assert drawn.log_q.shape == terms.log_prior.shape == terms.kl.shape == (T,)
    for entries in (drawn.log_q, terms.log_prior, terms.kl):
        assert entries[4] == 0 and (entries[:4] != 0).all()
    np.testing.assert_allclose(drawn.log_q, log_q, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(terms.log_joint, log_joint, rtol=1e-5)
    np.testing.assert_allclose(
        model.prior_of(datum.cond).log_prob(drawn.z[:4]), terms.log_prior[:4], rtol=1e-4, atol=1e-5
    )


@BOTH
def test_padding_changes_nothing(name, kind):
    model, q = made(name, kind)
    estimator = gradients.StraightThrough() if "categorical" in name else gradients.Reparam()
    inference = Inference(model, q, objectives.ELBO(2), estimator)
    params, static = eqx.partition(inference, trainable(inference))

    @quick
    def run(params, datum):
        def loss(params):
            own = eqx.combine(params, static)
            out = own.gradient(own, datum, key=KEY, step=jnp.asarray(0), num_data=1, state=None)
            return out.surrogate, out.value

        grads, value = jax.grad(loss, has_aux=True)(params)
        return value, grads

    value, grads = run(params, sequence(4))
    padded, padded_grads = run(params, sequence(7, steps=4))
    np.testing.assert_allclose(value, padded, rtol=1e-5)
    norm = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(grads))
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(padded_grads), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * norm)
    empty, zeros = run(params, sequence(7, steps=0))
    assert empty == 0 and all((leaf == 0).all() for leaf in jax.tree.leaves(zeros))


@BOTH
def test_the_analytic_kl_is_the_mean_of_log_ratios(name, kind):
    model, q = made(name, kind)
    datum = sequence(steps=4)

    @quick
    def differences(keys):
        def one(key):
            law = q(model, datum, key=KEY)
            terms = score(model, law, dist.draw(law, key=key), datum)
            return terms.log_ratio - terms.kl, terms.kl

        return jax.vmap(one)(keys)

    off, kl = differences(jax.random.split(KEY, 20_000))
    se = off.std(0) / np.sqrt(len(off))
    assert (np.abs(off.mean(0)) <= 4.5 * se + 1e-6).all()
    assert (se[:4] < 0.05 * kl.mean(0)[:4] + 0.02).all() and (kl >= 0).all()


def test_simulated_sequences_are_as_long_as_their_likeness():
    for name, make in MODELS.items():
        simulate = quick(lambda key, make=make: make().simulate(sequence(steps=3), key=key))
        z, x = simulate(KEY)
        assert z.shape[0] == x.shape[0] == T and (x[3:] == 0).all() and (z[3:] == 0).all(), name
        assert (x[:3] != 0).all()
        with pytest.raises(InputError, match="length"):
            make().simulate(key=KEY)


def test_markov_latents_agree_with_the_recurrence():
    model, datum = neural(), sequence(steps=4, masked=True)
    z = jax.random.normal(KEY, (T, 2))

    @quick
    def parts(z):
        prior = [model.initial(datum).log_prob(z[0])]
        prior += [model.transition(z[t], jnp.asarray(t), datum).log_prob(z[t + 1]) for t in range(3)]
        data = jax.vmap(lambda z, t: model.log_likelihood_at(z, t, datum))(z, jnp.arange(T))
        return sum(prior), data, model.log_joint(z, datum)

    prior, data, log_joint = parts(z)
    assert data[4] == 0
    np.testing.assert_allclose(prior + data.sum(), log_joint, rtol=1e-5)


# ---------------------------------------------------------------- actions, episodes, heads


@pytest.mark.parametrize("name", MODELS)
def test_an_action_acts_on_the_next_step_only(name):
    """Action a_t follows observation o_t: it moves the law of z_{t+1}, never of z_t."""
    model, datum = MODELS[name](), sequence()
    z = jnp.abs(jax.random.normal(KEY, (T, model.latent_dim)))
    z = (
        z
        if name != "rssm-categorical"
        else dist.OneHot(z.reshape(T, 2, 3)[0]).sample_and_log_prob(key=KEY)[0] + 0 * z
    )

    def log_prior(cond):
        carries = model.carries(z, Datum(datum.x, cond))
        return dist.StepwisePrior(jax.vmap(model.prior_from)(carries)).log_prob(z)

    effect = quick(jax.jacobian(log_prior))(datum.cond)  # (T, T − 1, U)
    moved_by = np.abs(effect).sum(-1) > 1e-7
    assert not moved_by[np.triu_indices(T, 0, T - 1)].any()
    assert moved_by[np.arange(1, T), np.arange(T - 1)].all()
    if name == "neural":
        assert moved_by.sum() == T - 1


def test_t_actions_are_as_good_as_t_less_one():
    model, datum = rssm(), sequence()
    longer = Datum(datum.x, jnp.concatenate([datum.cond, jnp.full((1, ACTION), 7.0)]))
    z = jax.random.normal(KEY, (T, 2))
    log_joint = quick(lambda z, datum: model.log_joint(z, datum))
    assert log_joint(z, datum) == log_joint(z, longer)


def test_episodes_joined_by_is_first_are_episodes_apart():
    model = rssm()
    one, other = sequence(3, seed=1), sequence(4, seed=2)
    z = jax.random.normal(KEY, (7, 2))
    actions = jnp.zeros((7, ACTION)).at[:2].set(one.cond).at[2].set(9.0).at[3:6].set(other.cond)
    first = jnp.zeros((7, 1)).at[jnp.array([0, 3])].set(1.0)
    joined = Datum(jnp.concatenate([one.x, other.x]), jnp.concatenate([actions, first], -1))
    log_joint = quick(lambda z, datum: model.log_joint(z, datum))
    apart = log_joint(z[:3], one) + log_joint(z[3:], other)
    np.testing.assert_allclose(log_joint(z, joined), apart, rtol=1e-5)
    assert abs(log_joint(z, Datum(joined.x, actions)) - apart) > 0.1


def test_heads_are_predicted_and_not_seen():
    heads = (models.likelihoods.Gaussian(1), models.likelihoods.Bernoulli(1))
    model = rssm(heads=heads)
    assert model.data_dim == DIM + 2 and model.seen_dim == DIM
    q = posterior("filtering", families.DiagGaussian(2), model)
    datum = sequence()
    more = jnp.stack([jnp.linspace(-1, 1, T), jnp.array([1.0, 1, 1, 1, 0])], -1)

    @quick
    def terms(extra):
        full = Datum(jnp.concatenate([datum.x, extra], -1), datum.cond)
        law = q(model, full, key=KEY)
        return score(model, law, dist.draw(law, key=KEY), full)

    one, other = terms(more), terms(1 - more)
    np.testing.assert_array_equal(one.z, other.z)
    assert one.log_likelihood != other.log_likelihood
    rows = jnp.concatenate([datum.x, more], -1)[None]
    started = model.initialize_from(Datum(np.asarray(rows), steps=np.array([4])), key=KEY)
    continues = jax.nn.sigmoid(started.net.nets[2].layers[-1].bias)
    np.testing.assert_allclose(continues, 0.99, atol=1e-4)


# ---------------------------------------------------------------- posteriors see what they should


@pytest.mark.parametrize("name", MODELS)
def test_filtering_sees_the_past_and_smoothing_the_future(name):
    datum = sequence()

    def params(q, model):
        def of(x):
            evidence = q.evidence(Datum(x, datum.cond))
            return jax.vmap(q.head.prepare)(evidence)

        return np.abs(quick(jax.jacobian(of))(datum.x)).sum((1, 3)) > 1e-9  # (T of q, T of x)

    model = MODELS[name]()
    past = params(posterior("filtering", FAMILIES[name](), model), model)
    future = params(posterior("smoothing", FAMILIES[name](), model), model)
    np.testing.assert_array_equal(future, np.triu(np.ones((T, T), bool)))
    own = np.eye(T, dtype=bool) if model.remembers else np.tril(np.ones((T, T), bool))
    np.testing.assert_array_equal(past, own)


@pytest.mark.parametrize("kind", POSTERIORS)
def test_missing_entries_are_not_looked_at(kind):
    model, q = made("rssm", kind)
    datum = sequence(masked=True)
    rubbish = eqx.tree_at(lambda d: d.x, datum, jnp.where(datum.mask, datum.x, 50.0))
    whole = eqx.tree_at(lambda d: d.mask, datum, jnp.ones_like(datum.mask))
    draw = quick(lambda d: dist.draw(q(model, d, key=KEY), key=KEY).z)
    np.testing.assert_array_equal(draw(datum), draw(rubbish))
    assert not np.allclose(draw(datum), draw(whole))


def linear_gaussian():
    """A deep model made linear, with its exact log-evidence from the dense joint Gaussian."""
    rng = np.random.default_rng(0)
    a, c = np.array([[0.8, 0.3], [-0.3, 0.7]]), np.array([[1.0, 0.5], [-0.3, 1.2]])
    b, d, noise, first = rng.normal(size=2), rng.normal(size=2), np.array([0.6, 0.9]), rng.normal(size=2)
    model = models.NeuralStateSpace(2, 2, decoder=(), transition="linear", key=KEY)
    where = lambda m: (  # noqa: E731
        m.transition_net.linear.weight, m.transition_net.linear.bias, m.transition_net.log_scale,
        m.net.layers[0].weight, m.net.layers[0].bias, m.first, m.likelihood_family.log_scale,
    )  # fmt: skip
    values = (a, b, np.log(noise), c, d, first, np.log([0.5, 0.7]))
    model = eqx.tree_at(where, model, tuple(jnp.asarray(v, jnp.float32) for v in values))
    model = eqx.tree_at(lambda m: m.initialized, model, True)

    def log_evidence(x):
        n, t, _ = x.shape
        power = lambda k: np.linalg.matrix_power(a, k)  # noqa: E731
        mean, level = [], first
        for _ in range(t):
            level = a @ level + b
            mean.append(level)
        blocks = [
            [
                sum(power(i - s) @ np.diag(noise**2) @ power(j - s).T for s in range(min(i, j) + 1))
                for j in range(t)
            ]
            for i in range(t)
        ]
        emit = np.kron(np.eye(t), c)
        cov = emit @ np.block(blocks) @ emit.T + np.diag(
            np.tile(np.asarray(model.likelihood_family.scale) ** 2, t)
        )
        y = x.reshape(n, -1) - emit @ np.concatenate(mean) - np.tile(d, t)
        return -0.5 * ((y @ np.linalg.inv(cov) * y).sum(1) + np.linalg.slogdet(2 * np.pi * cov)[1])

    return model, log_evidence


def test_smoothing_closes_the_gap_of_a_linear_model_and_filtering_cannot():
    model, log_evidence = linear_gaussian()
    like = Datum(jnp.zeros((T, 2)))
    x = np.asarray(jax.vmap(lambda k: model.simulate(like, key=k)[1])(jax.random.split(KEY, 700)))
    exact = log_evidence(x[600:])
    gaps = {}
    for name, family in (("Smoothing", families.FullGaussian(2)), ("Filtering", families.FullGaussian(2))):
        q = getattr(posteriors, name)(family, like=model, widths=(24,), key=KEY)
        fitted = fit.gradient(
            Inference(model, q, objectives.ELBO(), gradients.StickTheLanding()),
            x[:600],
            key=KEY,
            optimizer=optax.adam(optax.cosine_decay_schedule(1e-2, 600)),
            steps=600,
            batch_size=100,
            trainable=lambda i: i.posterior,
        )
        bound = fit.evaluate(fitted.inference, x[600:], key=KEY, repeats=8)
        gaps[name] = (exact - bound).mean() / T
        if name == "Filtering":
            continue
        many = Inference(model, fitted.inference.posterior, objectives.IWAE(64), gradients.DoublyReparam())
        closer = (exact - fit.evaluate(many, x[600:], key=KEY)).mean() / T
        assert -0.002 < closer < 0.4 * gaps[name] + 0.001, (name, closer)
    assert 0 < gaps["Smoothing"] < 0.01, gaps
    assert gaps["Filtering"] > 0.05, gaps


@pytest.mark.parametrize(
    ("name", "objective", "estimator"),
    [
        ("neural", objectives.IWAE(2), gradients.DoublyReparam()),
        ("neural", objectives.ELBO(kl="sampled"), gradients.StickTheLanding()),
        ("rssm", objectives.ELBO(kl="sampled"), gradients.StickTheLanding()),
        ("rssm", objectives.ELBO(), gradients.Reparam()),
    ],
)
def test_estimators_over_paths_agree(name, objective, estimator):
    """In the model's and in the posterior's numbers: the carry brings the one into the other's law."""
    model = MODELS[name]()
    q = posterior("filtering", families.DiagGaussian(2), model)
    plain = objectives.IWAE(2) if isinstance(objective, objectives.IWAE) else objectives.ELBO(kl="sampled")
    datum = sequence(2)

    def moments(inference, seed):
        params, static = eqx.partition((model, q), trainable((model, q)))

        def one(key):
            def loss(params):
                own = eqx.tree_at(lambda i: (i.model, i.posterior), inference, eqx.combine(params, static))
                step = jnp.asarray(0)
                return own.gradient(own, datum, key=key, step=step, num_data=1, state=None).surrogate

            return jax.flatten_util.ravel_pytree(jax.grad(loss)(params))[0]

        each = quick(jax.vmap(one))(jax.random.split(jax.random.key(seed), 20_000))
        return np.asarray(each.mean(0), float), np.asarray(each.var(0), float) / len(each)

    ours, our_var = moments(Inference(model, q, objective, estimator), 1)
    theirs, their_var = moments(Inference(model, q, plain, gradients.Reparam()), 2)
    norm, se = np.linalg.norm(theirs), np.sqrt(our_var + their_var)
    assert (np.abs(ours - theirs) <= 4.5 * se + 1e-5 * norm).all()
    assert np.linalg.norm(se) < 0.1 * norm


# ---------------------------------------------------------------- fitting, through the front door


def test_fit_takes_lengths_masks_and_actions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, T, DIM)).cumsum(1)
    data = fit.Data(
        x,
        cond=rng.normal(size=(12, T - 1, ACTION)),
        lengths=rng.integers(0, T + 1, 12),
        mask=rng.random(x.shape) < 0.8,
    )
    model = models.RSSM(DIM, ACTION, deter_dim=8, latent=families.DiagGaussian(2), decoder=(8,), key=KEY)
    q = posteriors.Filtering(families.DiagGaussian(2), like=model, widths=(8,), key=KEY)
    inference = Inference(model, q, objectives.ELBO(), gradients.Reparam())
    fitted = fit.gradient(inference, data, key=KEY, optimizer=optax.adam(1e-2), steps=150, batch_size=6)
    bound = fitted.history.bound
    assert bound[-50:].mean() > bound[:10].mean() + 1
    each = fit.evaluate(fitted.inference, data, key=KEY)
    assert (
        each.shape == (12,) and (each[data.lengths == 0] == 0).all() and (each[data.lengths > 0] != 0).all()
    )
    longer = fit.Data(
        np.concatenate([data.x, np.ones((12, 3, DIM))], 1), cond=np.concatenate([data.cond, np.ones((12, 3, ACTION))], 1),
        lengths=data.lengths, mask=np.concatenate([data.mask, np.ones((12, 3, DIM), bool)], 1),
    )  # fmt: skip
    np.testing.assert_allclose(fit.evaluate(fitted.inference, longer, key=KEY), each, rtol=1e-5, atol=1e-5)


def test_bad_sequences_are_refused():
    model = rssm()
    x, a = np.ones((2, T, DIM)), np.ones((2, T - 1, ACTION))
    cases = (
        (Datum(x[0], a), "x\\[None\\]"),
        (Datum(x), "must hold actions"),
        (Datum(x, a[:, :-1]), "must hold actions"),
        (Datum(x, a[..., :1]), "must hold actions"),
        (Datum(x, np.ones((2, T - 1, ACTION + 1))), "is_first"),
        (Datum(x, a, steps=np.array([0, 0])), "no entry"),
        (Datum(x, a, mask=np.zeros(x.shape, bool)), "no entry"),
    )
    for datum, words in cases:
        with pytest.raises(InputError, match=words):
            model.check_data(datum)
    with pytest.raises(InputError, match="cond_dim"):
        models.NeuralStateSpace(DIM, 2, key=KEY).check_data(Datum(x, a))
    model.check_data(Datum(x, np.ones((2, T, ACTION + 1))))


def test_refusals_name_what_to_use():
    model, reparam = rssm(), gradients.Reparam()
    own = posterior("filtering", families.DiagGaussian(2), model)
    decoder = models.Decoder(DIM, 2, widths=(), key=KEY)
    vector = posteriors.Amortized(families.DiagGaussian(2), data_dim=DIM, widths=(), key=KEY)
    longer = posteriors.Filtering(families.DiagGaussian(3), like=model, key=KEY)
    other = posteriors.Filtering(families.DiagGaussian(2), like=neural(), key=KEY)
    one_hot = posteriors.Filtering(families.OneHot(2), like=model, key=KEY)
    elbo, iwae = objectives.ELBO(), objectives.IWAE(2)
    for four, words in (
        ((decoder, own, elbo, reparam), "posteriors.Amortized"),
        ((model, vector, elbo, reparam), "posteriors.Smoothing"),
        ((model, posteriors.Exact(), elbo, reparam), "Smoothing or Filtering"),
        ((model, longer, elbo, reparam), "families.DiagGaussian"),
        ((model, one_hot, elbo, reparam), "families.DiagGaussian"),
        ((model, other, elbo, reparam), "like=model"),
        ((model, own, iwae, gradients.DoublyReparam()), "gradients.Reparam"),
        ((model, own, elbo, gradients.ScoreFunction()), "gradients.Reparam"),
        ((MODELS["rssm-categorical"](), one_hot, elbo, reparam), "families.OneHot"),
    ):
        with pytest.raises(CombinationError, match=words):
            Inference(*four)
    with pytest.raises(CombinationError, match=r"posteriors\.Amortized"):
        posteriors.Smoothing(families.DiagGaussian(2), like=decoder, key=KEY)
    with pytest.raises(InputError, match=r"families\.OneHot"):
        models.RSSM(DIM, ACTION, latent=families.Categorical(3), key=KEY)


# ---------------------------------------------------------------- planted faults


def test_planted_faults_are_seen():
    """Each check above fails on the error it is there for."""
    model, q = made("neural", "smoothing")
    datum = sequence(steps=4)
    law = q(model, datum, key=KEY)
    drawn = dist.draw(law, key=KEY)
    honest = model.log_joint(drawn.z, datum)
    dropped = model.log_joint(drawn.z, eqx.tree_at(lambda d: d.steps, datum, jnp.asarray(3)))
    assert abs(dropped - honest) > 0.1
    late = Datum(datum.x, jnp.concatenate([jnp.zeros((1, ACTION)), datum.cond[:-1]]), steps=datum.steps)
    assert abs(model.log_joint(drawn.z, late) - honest) > 0.1
    prior = model.prior_given(drawn, datum)
    everywhere = dist.StepwisePrior(prior.laws, prior.drawn_from, None)
    assert dist.kl_divergence(law, everywhere, drawn.z)[4] != 0
    assert moved(model, 9) is not model


def test_lengths_are_checked_and_padding_may_hold_anything():
    x = np.ones((2, 3, 1))
    x[1, 1:] = np.nan
    data = fit.Data(x, lengths=[3, 1])
    assert np.isfinite(data.x).all() and data.lengths.dtype == np.int32 and np.isnan(x).any()
    fit.Data(x, lengths=[3, 1], mask=np.ones(x.shape, bool))
    for lengths, words in (
        ([3, 2], "NaN"),
        ([3, 4], "sequence 1 has 4"),
        ([-1, 1], "sequence 0 has -1"),
        ([1.5, 1], "whole numbers"),
        ([1], "one number a sequence"),
    ):
        with pytest.raises(InputError, match=words):
            fit.Data(x, lengths=lengths)
    with pytest.raises(InputError, match="padded sequences"):
        fit.Data(np.ones((2, 3)), lengths=[1, 1])


def test_an_open_loop_looks_once_and_then_foresees():
    """After its context q is the dynamics: their KL is zero, and later observations change nothing."""
    model = MODELS["e2c"]()
    look = moved(posteriors.Filtering(FAMILIES["e2c"](), like=model, memory=0, widths=(6,), key=KEY), 3)
    q, datum = posteriors.OpenLoop(look, context=2), sequence()
    with pytest.raises(InputError, match="context is 0"):
        posteriors.OpenLoop(look, context=0)

    @quick
    def parts(datum):
        law = q(model, datum, key=KEY)
        drawn = dist.draw(law, key=KEY)
        terms = score(model, law, drawn, datum)
        return drawn.z, terms.kl, terms.log_prior - drawn.log_q, law.log_prob(drawn.z) - drawn.log_q

    z, kl, ratio, again = parts(datum)
    assert (kl[:2] > 0).all() and np.abs(kl[2:]).max() < 1e-6
    np.testing.assert_allclose(ratio[2:], 0.0, atol=1e-5)
    np.testing.assert_allclose(again, 0.0, atol=1e-4)
    other = parts(eqx.tree_at(lambda d: d.x, datum, datum.x.at[2:].add(3.0)))[0]
    np.testing.assert_allclose(other, z, rtol=1e-6)
    assert np.abs(parts(eqx.tree_at(lambda d: d.x, datum, datum.x.at[1].add(3.0)))[0] - z).max() > 1e-3
