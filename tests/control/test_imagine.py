"""Actor-critics in imagination: gradients against exact ones, policies against the best, and bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen.algorithms import mdp as tables
from jensen.algorithms import soft_bellman
from jensen.algorithms.mdp import MDP
from jensen.control.explore.tabular import TableWorld
from jensen.control.imagine.actors import Pathwise, Score
from jensen.control.imagine.climb import climb
from jensen.control.imagine.learning import Imagined, imagine, load_imagined
from jensen.control.imagine.loss import ActorCritic, Learner, Settings
from jensen.control.imagine.start import begun
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions
from jensen.core import AbstractWorld, Moved
from jensen.errors import CombinationError, InputError, NonFiniteError
from jensen.fit import Run
from jensen.models import CategoricalNet, HeteroscedasticNet
from jensen.nets import MLP
from jensen.typing import Array, PRNGKey, PyTree

KEY = jax.random.key(0)
GAMMA, DECAY, TAU = 0.9, 0.8, 0.3


def one_hot(state: Array) -> Array:
    return jax.nn.one_hot(state, 3)


def problem() -> MDP:
    """Three states, two actions, and an end that one of them brings nearer."""
    rng = np.random.default_rng(3)
    stays = np.array([[0.95, 0.7], [0.9, 0.9], [0.6, 1.0]])
    transitions = rng.dirichlet(np.full(3, 0.5), (3, 2)) * stays[..., None]
    return tables.checked(MDP(transitions, 2 * rng.normal(size=(3, 2)), np.full(3, 1 / 3)))


def line(space: str = "clip") -> BoxActions:
    edge = np.inf if space == "clip" else 1.0
    return BoxActions(-np.full(1, edge), np.full(1, edge), (1,), np.dtype("float32"), space)


class Slope(AbstractWorld):
    """x' = 0.9 x + 0.5 u, which costs x'² + 0.1 u²; far out nobody knows what."""

    action_dim: int = 1

    def step(self, state: Array, action: Array, *, key: PRNGKey) -> Moved:
        after = 0.9 * state + 0.5 * action
        cost = (after**2 + 0.1 * action**2).sum()
        return Moved(after, jnp.where(jnp.abs(after[0]) < 50, -cost, jnp.nan), jnp.ones(()))


def linear(width: int, out: int, weights: np.ndarray, bias: np.ndarray) -> MLP:
    net = MLP(width, out, (), key=KEY)
    new = jnp.asarray(weights, jnp.float32), jnp.asarray(bias, jnp.float32)
    return eqx.tree_at(lambda n: (n.layers[0].weight, n.layers[0].bias), net, new)


def critic(weights: Any, bias: Any, width: int) -> HeteroscedasticNet:
    """V of rewards as given, and of entropies zero."""
    of_rewards, of_entropies = np.reshape(weights, (1, width)), np.zeros((1, width))
    net = linear(width, 2, np.concatenate([of_rewards, of_entropies]), np.array([bias, 0.0]))
    return HeteroscedasticNet(2, width, net=net, variance="unit", key=KEY)


class Estimates(NamedTuple):
    """Gradients in the actor's parameters, flat, one a batch."""

    mean: np.ndarray
    error: np.ndarray


def estimates(
    learner: Learner, starts: PyTree, space: ActionSpace, batches: int, **options: Any
) -> Estimates:
    """The actor's gradient as a step takes it, with its standard error."""
    how = Settings.of({"temperature_in": "rewards", "discount": GAMMA, "decay": DECAY, **options})
    ready = climb(learner, starts, space, how, 1.0, run=None, key=KEY)

    def one(key: PRNGKey) -> Array:
        def loss(params: PyTree) -> tuple[Array, Array]:
            value, (_, memory, _) = ready.program.loss(
                params, ready.split.frozen, ready.rows, key=key, step=0, memory=ready.state.memory
            )
            return value, memory.spread

        grads, spread = jax.grad(loss, has_aux=True)(ready.state.params)
        parts = [leaf.reshape(-1) for leaf in jax.tree.leaves(grads.learned.actor)]
        return -spread * jnp.concatenate(parts)

    each = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), batches)))
    return Estimates(each.mean(0), each.std(0, ddof=1) / batches**0.5)


def close(got: Estimates, want: np.ndarray, at_most: float) -> None:
    off = np.abs(got.mean - want)
    assert (off < 4.5 * got.error + 1e-4).all(), (got, want)
    assert (got.error < at_most * np.abs(want).max()).all()  # not by a wide margin of error


def test_score_gradient_against_enumeration():
    mdp = problem()
    rng = np.random.default_rng(1)
    logits, values = rng.normal(size=(2, 3)), rng.normal(size=3)
    actor = CategoricalNet(1, 2, 3, net=linear(3, 2, logits, np.zeros(2)), key=KEY)
    learned = ActorCritic(actor, critic(values, 0.0, 3), Score())
    learner = Learner(learned, TableWorld.of(mdp), one_hot)
    starts = jnp.tile(jnp.arange(3), 100)
    got = estimates(learner, starts, DiscreteActions(2), 150, horizon=4, temperature=TAU)

    def exact(weight: Array, bias: Array) -> Array:
        policy = jax.nn.softmax((weight + bias[:, None]).T)
        heat = -TAU * (policy * jnp.log(policy)).sum(1)
        ahead = jnp.asarray(values, jnp.float32)
        for _ in range(4):
            mixed = (1 - DECAY) * values + DECAY * ahead if _ else ahead
            ahead = heat + (policy * (mdp.rewards + GAMMA * mdp.transitions @ mixed)).sum(1)
        return ahead.mean()

    weight, bias = jax.grad(exact, argnums=(0, 1))(jnp.asarray(logits, jnp.float32), jnp.zeros(2))
    close(got, np.concatenate([np.ravel(weight), bias]), 0.1)


@pytest.mark.parametrize(
    "gradient",
    [Pathwise(), pytest.param(Score(), marks=pytest.mark.slow)],
    ids=["pathwise", "score"],
)
def test_linear_quadratic_gradient_against_finite_differences(gradient: Any):
    gain, shift, log_scale = -0.4, 0.2, np.log(0.3)
    actor = HeteroscedasticNet(
        1, 1, net=linear(1, 2, np.array([[gain], [0.0]]), np.array([shift, log_scale])), key=KEY
    )
    learner = Learner(ActorCritic(actor, critic(0.5, -1.0, 1), gradient), Slope(), lambda state: state)
    starts = jnp.tile(jnp.array([[-1.0], [0.5], [2.0]]), (100, 1))
    got = estimates(learner, starts, line(), 100, horizon=3, temperature=TAU)

    def exact(gain: float, slope: float, shift: float, log_scale: float) -> float:
        """Moments of the state, step by step; the noise's log-scale is log_scale + slope·x, to first order."""
        total = 0.0
        for start in (-1.0, 0.5, 2.0):
            mean, second, weight = start, start**2, 1.0
            for t in range(3):
                # σ² = s² e^{2 slope x} ≈ s² (1 + 2 slope x): exact for the derivative at slope = 0
                noise = np.exp(2 * log_scale) * (1 + 2 * slope * mean)
                entropy = 0.5 * np.log(2 * np.pi * np.e) + log_scale + slope * mean
                action = gain * mean + shift, gain**2 * second + 2 * gain * shift * mean + shift**2 + noise
                cross = gain * second + shift * mean
                second = 0.81 * second + 0.9 * cross + 0.25 * action[1]
                mean = 0.9 * mean + 0.5 * action[0]
                last = t == 2
                value = 0.5 * mean - 1.0
                total += weight * (TAU * entropy - second - 0.1 * action[1])
                total += weight * GAMMA * (1.0 if last else 1 - DECAY) * value
                weight *= GAMMA * DECAY
        return total / 3

    at, step = np.array([gain, 0.0, shift, log_scale]), 1e-5
    want = np.array([(exact(*(at + step * e)) - exact(*(at - step * e))) / (2 * step) for e in np.eye(4)])
    # the log-scale passes a bounded map and sits above a floor
    raw = np.array([1.0, 1.0, 1.0, 1.0])
    squeeze = 1 - np.tanh(log_scale / 10) ** 2
    raw[[1, 3]] = squeeze
    close(got, want * raw, 0.05 if isinstance(gradient, Pathwise) else 0.2)


TINY = {"steps": 12, "batch_size": 8, "horizon": 3, "widths": (4,)}
SQUARE = jnp.linspace(-2, 2, 16)[:, None]


def slope(**more: Any) -> Imagined:
    return imagine(Slope(), SQUARE, line("squash"), features=as_it_is, key=KEY, **TINY | more)


def as_it_is(state: Array) -> Array:
    return state


@pytest.fixture(scope="module")
def learnt() -> Imagined:
    return slope()


@pytest.mark.parametrize("temperature", [TAU, pytest.param(0.0, marks=pytest.mark.slow)])
def test_learns_the_best_policy_of_a_table(temperature: float):
    mdp = problem()
    got = imagine(
        TableWorld.of(mdp),
        jnp.arange(3),
        DiscreteActions(2),
        features=one_hot,
        key=KEY,
        learned=table(),
        steps=500,
        batch_size=3,
        horizon=5,
        discount=GAMMA,
        decay=0.9,
        clip=1.0,
        temperature=temperature,
        temperature_in="rewards",
        slow_rate=0.1,
        actor_rate=0.05,
        critic_rate=0.05,
    )
    policy = np.asarray(jax.vmap(lambda s: got.learned.actor.law(one_hot(s)).mean[0])(jnp.arange(3)))
    values = np.asarray(jax.vmap(lambda s: got.value(s))(jnp.arange(3)))
    if temperature:
        best = soft_bellman.solve(mdp, temperature=temperature, discount=GAMMA)
        np.testing.assert_allclose(policy, np.asarray(best.policy), atol=0.06)
        np.testing.assert_allclose(values, np.asarray(best.values), atol=0.25)
    else:
        hard = tables.value_iteration(mdp, discount=GAMMA)
        assert (policy.argmax(1) == np.asarray(hard.action_values).argmax(1)).all()
        assert policy.max(1).min() > 0.9
        np.testing.assert_allclose(values, np.asarray(hard.values), atol=0.25)


class Once(AbstractWorld):
    """One step of −(a − ½)², and after the end whatever a field says."""

    action_dim: int = 1
    after: float = 0.0

    def step(self, state: Array, action: Array, *, key: PRNGKey) -> Moved:
        noise = self.after * jax.random.normal(key)
        reward = jnp.where(state[0] > 0, noise, -((action[0] - 0.5) ** 2))
        return Moved(state + 1, reward, jnp.zeros(()))


def test_what_comes_after_an_end_moves_neither_spread_nor_entropy():
    options = {"features": as_it_is, "steps": 12, "batch_size": 8, "horizon": 3, "widths": (4,)}
    starts = jnp.zeros((4, 1))
    quiet, loud = (
        imagine(Once(after=noise), starts, line("squash"), temperature=0.1, key=KEY, **options)
        for noise in (0.0, 1e4)
    )
    for name in ("spread", "entropy", "imagined_return"):
        np.testing.assert_allclose(loud.measures[name], quiet.measures[name], rtol=1e-4, atol=1e-6)
    assert quiet.measures["spread"].max() < 10


def test_entropy_is_no_return_and_does_not_spread_it():
    """A world that pays nothing: at a high temperature the return stays zero, its spread the least."""
    flat = TableWorld.of(tables.checked(problem()._replace(rewards=np.zeros((3, 2)))))
    got = imagine(
        flat, jnp.arange(3), DiscreteActions(2), features=one_hot, temperature=5.0, key=KEY,
        learned=table(), steps=40, batch_size=3, horizon=4, critic_rate=0.05,
    )  # fmt: skip
    np.testing.assert_allclose(got.measures["imagined_return"], 0.0, atol=1e-6)
    assert got.measures["spread"].max() == pytest.approx(0.01) and got.measures["entropy"][-1] > 0.6
    # V holds the entropies: log 2 a step for so long as an episode lives
    assert float(got.value(jnp.asarray(0))) > 0.01 * 5 * np.log(2)


def table() -> ActorCritic:
    """Networks that hold a number for each state."""
    odds = linear(3, 2, np.zeros((2, 3)), np.zeros(2))
    return ActorCritic(CategoricalNet(1, 2, 3, net=odds, key=KEY), critic(np.zeros(3), 0.0, 3), Score())


@pytest.mark.slow
def test_is_resumed_to_the_same_bits(tmp_path: Path, learnt: Imagined):
    class Stops:
        def log(self, step: int, values: dict[str, float]) -> None:
            raise KeyboardInterrupt

        def close(self) -> None: ...

    cut = slope(run=Run(tmp_path, checkpoint_every=5, trackers=(Stops(),)))
    assert cut.stop_reason == "interrupted" and len(cut.history.step) < 12
    whole = slope(run=Run(tmp_path, checkpoint_every=5, resume=True))
    assert whole.stop_reason == "steps" and len(whole.history.step) == 12
    np.testing.assert_array_equal(whole.history.bound, learnt.history.bound)
    for a, b in zip(jax.tree.leaves(whole.learned), jax.tree.leaves(learnt.learned), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_saved_acts_the_same(tmp_path: Path, learnt: Imagined):
    learnt.save(tmp_path)
    back = load_imagined(tmp_path, key=learnt.key)
    seen = np.linspace(-2, 2, 5, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(back.policy.predict(seen), learnt.policy.predict(seen))
    np.testing.assert_array_equal(back.measures["entropy"], learnt.measures["entropy"])
    assert repr(back) == repr(learnt) and back.settings == learnt.settings


def test_what_was_stopped_before_its_first_step_can_be_looked_at(learnt: Imagined):
    nothing = replace(learnt, measures={name: np.zeros(0) for name in learnt.measures})
    assert "imagined return nan" in repr(nothing) and np.isfinite(nothing.value(jnp.ones(1)))
    assert float(learnt.value(jnp.ones(1))) != float(
        nothing.value(jnp.ones(1))
    )  # entropies are worth something


@pytest.mark.slow
def test_acts_on_what_a_learned_world_believes(tmp_path: Path):
    gaussian = jn.families.DiagGaussian(2)
    model = jn.models.RSSM(
        3, 2, deter_dim=4, latent=gaussian, heads=(jn.models.likelihoods.Gaussian(1),), key=KEY
    )
    q = jn.posteriors.Filtering(gaussian, like=model, widths=(4,), key=KEY)
    inference = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())
    rows = np.random.default_rng(0).normal(size=(4, 6, 4)).astype(np.float32)
    data = jn.fit.Data(rows, cond=np.eye(2, dtype=np.float32)[np.zeros((4, 5), int)])
    got = imagine(inference, data, DiscreteActions(2, 5), key=KEY, **TINY)
    policy = got.policy
    policy.reset(num_envs=3)
    seen = rows[:3, :, :3]
    before = np.stack([policy.select_action(seen[:, t]) for t in range(3)])
    assert set(np.unique(before)) <= {5, 6}
    # what is believed of environment 1 is its own, whatever the others see, and goes on where they begin anew
    course = policy._course
    policy.reset(mask=np.array([True, False, True]))
    other = seen[:, 3].copy()
    other[[0, 2]] += 9
    policy.select_action(other)
    alone = jax.tree.map(lambda leaf: leaf[1], policy._course)
    wanted, _ = jax.jit(policy._engine.act)(jax.tree.map(lambda leaf: leaf[1], course), seen[1, 3])
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_array_equal(policy._course.age, [1, 4, 1])
    got.save(tmp_path)
    back = load_imagined(tmp_path, key=got.key)
    for a, b in zip(jax.tree.leaves(back.world), jax.tree.leaves(got.world), strict=True):
        np.testing.assert_array_equal(a, b)


def refused(kind: type[Exception], words: str, **more: Any) -> None:
    given = {"world": Slope(), "starts": SQUARE, "space": line("squash"), "features": as_it_is, "key": KEY}
    with pytest.raises(kind, match=words):
        imagine(**given | TINY | more)


def test_bad_input_is_named():
    refused(InputError, "horizon is 0; it must be at least 1", horizon=0)
    refused(InputError, "temperature is -1", temperature=-1.0)
    refused(InputError, "discount is 1.5; it must be from 0 to 1", discount=1.5)
    refused(InputError, "'stepz' is unknown .did you mean 'steps'", stepz=3)
    refused(InputError, "'reward' is unknown", temperature_in="reward")
    refused(InputError, "start state 3 is not finite", starts=SQUARE.at[3].set(jnp.nan))
    refused(InputError, "stacked on one leading axis", starts=())
    refused(InputError, "3 columns, but Slope takes 1", space=DiscreteActions(3))
    refused(InputError, "give features=", features=None)
    refused(InputError, "must be a vector", features=lambda state: state[None])
    refused(InputError, "turns a state of", starts=jnp.zeros(4), features=lambda state: state[None])
    refused(InputError, "reward .* has shape .1,.", starts=jnp.zeros((4, 2, 1)), features=lambda s: s[0])
    refused(InputError, "slow_rate is 0", slow_rate=0.0)
    key = jax.random.key(1)
    mixture = jn.models.MixtureDensity(1, 1, 2, widths=(4,), key=key)
    refused(
        CombinationError, "use control.Score", learned=ActorCritic(mixture, critic(0.0, 0.0, 1), Pathwise())
    )
    odds = CategoricalNet(1, 2, 1, widths=(4,), key=key)
    refused(CombinationError, "use models.Het", learned=ActorCritic(odds, critic(0.0, 0.0, 1), Score()))
    bare = HeteroscedasticNet(1, 1, widths=(4,), key=key)
    refused(CombinationError, "predicts 1 returns, not 2", learned=ActorCritic(bare, bare, Pathwise()))
    wide = HeteroscedasticNet(1, 5, widths=(4,), key=key)
    refused(
        CombinationError, "a state has 1 features", learned=ActorCritic(wide, critic(0.0, 0.0, 1), Score())
    )


def test_a_step_that_is_not_finite_is_named(learnt: Imagined):
    refused(InputError, "rewards that are not finite from its first steps", starts=SQUARE.at[0].set(99.0))
    # later on, where nothing warned of it: the program of `learnt`, with a start it never saw
    how, space = learnt.settings, line("squash")
    learner = Learner(None, Slope(), as_it_is)
    learner, unit = begun(learner, SQUARE, space, how, key=jax.random.split(KEY, 4)[1])
    far = climb(learner, SQUARE.at[3].set(99.0), space, how, unit, run=None, key=KEY)
    with pytest.raises(NonFiniteError, match="rewards are not finite after 1 imagined steps"):
        far.run()
