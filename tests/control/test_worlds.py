"""Learned worlds: beliefs step by step are the posterior, heads speak in the environment's units."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.control import ModelWorld
from jensen.core import Datum
from jensen.dist import unroll
from jensen.errors import InputError
from jensen.models.likelihoods import Bernoulli, Gaussian

KEY = jax.random.key(0)
DIM, ACTION, T, N = 3, 2, 6, 4
LATENTS = {
    "gaussian": (families.DiagGaussian(2), gradients.Reparam()),
    "onehot": (families.OneHot(3, 2), gradients.StraightThrough()),
}


def data() -> fit.Data:
    """Rewards lie far from zero: −500 ± 30."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(N, T, DIM))
    rewards, go_on = rng.normal(-500.0, 30.0, (N, T, 1)), np.ones((N, T, 1))
    go_on[0, 3] = 0.0
    x = np.concatenate([seen, rewards, go_on], -1).astype(np.float32)
    actions = rng.normal(size=(N, T - 1, ACTION)).astype(np.float32)
    return fit.Data(x, cond=actions, lengths=[4, 6, 6, 5])


def inference(latent: str = "gaussian", heads: Any = (Gaussian(1), Bernoulli(1))) -> jn.Inference:
    family, gradient = LATENTS[latent]
    model = models.RSSM(DIM, ACTION, deter_dim=5, latent=family, decoder=(6,), heads=heads, key=KEY)
    q = posteriors.Filtering(family, like=model, widths=(7,), key=jax.random.key(1))
    made = jn.Inference(model, q, objectives.ELBO(), gradient)
    return made.initialize_from(data().rows(), key=KEY) if len(heads) == 2 else made


@pytest.fixture(scope="module", params=LATENTS)
def world(request: pytest.FixtureRequest) -> ModelWorld:
    return ModelWorld(inference(request.param))


def test_beliefs_are_the_posterior_of_the_whole_sequence(world: ModelWorld):
    rows = data().rows()
    x, actions = jnp.asarray(rows.x[1]), jnp.asarray(rows.cond[1])
    before = jnp.concatenate([jnp.full((1, ACTION), 7.0), actions])  # the first is to be ignored

    def step(belief: Any, at: Any) -> tuple[Any, Any]:
        observation, action, key = at
        belief = world.observe(belief, observation, action, key=key)
        return belief, belief

    keys = jax.random.split(jax.random.key(3), T)
    _, beliefs = jax.jit(partial(jax.lax.scan, step, world.begin()))((x[:, :DIM], before, keys))
    z = beliefs.end.state[1]
    q = world.inference.posterior(world.model, Datum(x, actions), key=KEY)
    online = jax.vmap(lambda law, z: law.log_prob(z).sum())(beliefs.law, z)
    np.testing.assert_allclose(online, q.log_prob(z), rtol=2e-5, atol=2e-5)
    carries = unroll(world.model, world.model.inputs(actions, T), z)
    np.testing.assert_allclose(beliefs.end.state[0], carries, rtol=1e-5, atol=1e-6)


def test_a_step_is_the_models_in_the_environments_units(world: ModelWorld):
    rows, model = data().rows(), world.model
    still = ModelWorld(world.inference, latent="mean")
    x, actions = jnp.asarray(rows.x[1]), jnp.asarray(rows.cond[1])
    belief = still.observe(still.begin(), x[0, :DIM], actions[0], key=KEY)
    state = still.expected(belief)
    moved = still.step(state, actions[1], key=KEY)
    carry = model.advance(state.carry, state.z, jax.tree.map(lambda leaf: leaf[2], model.inputs(actions, T)))
    law = model.prior_from(carry)
    np.testing.assert_allclose(moved.state.z, law.mean, rtol=1e-5)
    predicted = model.observation_from(law.mean, carry).mean
    np.testing.assert_allclose((moved.reward, moved.continues), predicted[DIM:], rtol=1e-5)
    assert -600 < float(moved.reward) < -400 and 0 < float(moved.continues) < 1
    np.testing.assert_allclose(still.pictured(moved.state), predicted[:DIM], rtol=1e-5, atol=1e-6)
    assert still.features(moved.state).shape == (5 + law.mean.size,)
    drawn = world.step(state, actions[1], key=KEY)
    assert not np.allclose(drawn.state.z, moved.state.z)


def test_states_of_recorded_episodes(world: ModelWorld):
    states = world.states(data(), key=KEY)
    assert states.carry.shape == (20, 5) and len(states.z) == 20  # 21, less the one that ended its episode
    again = world.states(data(), key=KEY)
    np.testing.assert_array_equal(states.z, again.z)
    first = np.cumsum([0, 3, 6, 6])
    assert np.ptp(np.asarray(states.carry)[first], axis=0).max() < 1e-6  # episodes begin in one carry
    assert np.ptp(np.asarray(states.carry)[first + 1], axis=0).max() > 1e-3
    over = data()
    x = over.rows().x.copy()
    x[..., -1] = 0.0
    with pytest.raises(InputError, match="continues is 0 at every step"):
        world.states(fit.Data(x, cond=over.rows().cond), key=KEY)


def test_what_cannot_be_a_world():
    with pytest.raises(InputError, match=r"RSSM has no reward head.*heads=\(likelihoods.Gaussian"):
        ModelWorld(inference(heads=()))
    with pytest.raises(InputError, match="reward=2, but the model has 2 columns"):
        ModelWorld(inference(), reward=2)
    with pytest.raises(InputError, match=r"latent='men' is unknown \(did you mean 'mean'"):
        ModelWorld(inference(), latent="men")
    assert ModelWorld(inference(heads=(Gaussian(1),))).continues is None
    plain = inference()
    ahead = posteriors.Smoothing(LATENTS["gaussian"][0], like=plain.model, key=KEY)
    with pytest.raises(InputError, match=r"Smoothing cannot follow.*posteriors\.Filtering"):
        ModelWorld(jn.Inference(plain.model, ahead, plain.objective, plain.gradient))
    pca = models.ProbabilisticPCA(data_dim=4, latent_dim=2, key=KEY)
    exact = jn.Inference(pca, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    with pytest.raises(InputError, match=r"ProbabilisticPCA has no dynamics.*models\.RSSM"):
        ModelWorld(exact)
