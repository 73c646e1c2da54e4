"""Policies: laws of their actions, what is held for how long, spaces, and what is refused."""

from __future__ import annotations

import gymnasium
import jax
import numpy as np
import pytest

from jensen import models
from jensen.control import BoxActions, DiscreteActions, LatentPolicy, MixturePolicy
from jensen.errors import InputError, JensenWarning

from .fork import KEY, SignOfLatent, TwoWays, box

HERE = np.zeros(2)


def signs(policy: MixturePolicy | LatentPolicy, steps: int, num_envs: int) -> np.ndarray:
    """Return the sign of every action, (steps, num_envs)."""
    here = np.zeros((num_envs, 2))
    return np.stack([np.sign(policy.select_action(here)[:, 0]) for _ in range(steps)])


def test_actions_follow_the_law():
    policy = MixturePolicy(TwoWays(p=0.3), box(), key=KEY)
    policy.reset(num_envs=4_000)
    actions = policy.select_action(np.zeros((4_000, 2)))[:, 0]
    right = actions > 0
    assert abs(right.mean() - 0.3) < 4 * np.sqrt(0.21 / 4_000)
    assert abs(actions[right].mean() - 1) < 0.01 and abs(actions[right].std() - 0.05) < 0.005
    again = policy.select_action(np.zeros((4_000, 2)))[:, 0]
    assert abs(np.corrcoef(actions, again)[0, 1]) < 0.06  # step by step anew


def test_ways_to_choose():
    model, here = TwoWays(p=0.7), np.zeros((200, 2))
    got = {
        choose: MixturePolicy(model, box(), choose=choose, key=KEY).predict(here)[:, 0]
        for choose in ("component", "likeliest", "mean")
    }
    assert set(np.unique(got["component"])) == {-1.0, 1.0}
    assert (got["likeliest"] == 1.0).all()
    np.testing.assert_allclose(got["mean"], 0.4, atol=1e-6)


def test_bounds_clip_or_squash():
    narrow = box(reach=0.5)
    clipped = MixturePolicy(TwoWays(), narrow, key=KEY)
    assert set(np.abs(clipped.predict(np.zeros((50, 2))))[:, 0]) == {0.5}
    squashed = MixturePolicy(TwoWays(), box(reach=0.5, bounds="squash"), choose="component", key=KEY)
    np.testing.assert_allclose(np.abs(squashed.predict(np.zeros((50, 2)))), 0.5 * np.tanh(1.0), rtol=1e-6)
    assert "clipped to [-0.5, 0.5]" in repr(clipped) and "squashed by tanh into" in repr(squashed)
    with pytest.raises(InputError, match="'squash' needs finite bounds"):
        box(reach=np.inf, bounds="squash")


def test_actions_belong_to_gymnasium_spaces():
    for space in (
        gymnasium.spaces.Box(-0.1, 0.1, (2,), np.float64),
        gymnasium.spaces.Box(-0.7, 0.3, (1, 2), np.float32),
    ):
        policy = MixturePolicy(TwoWays(data_dim=2), space, key=KEY)
        assert all(space.contains(policy.select_action(HERE)) for _ in range(5))
        assert policy.predict_action_chunk(HERE).shape == (1, *space.shape)
    coins = gymnasium.spaces.Discrete(3, start=-1)
    net = models.CategoricalNet(1, 3, 2, widths=(4,), key=KEY)
    policy = MixturePolicy(net, coins, key=KEY)
    seen = {int(policy.select_action(HERE)) for _ in range(50)}
    assert seen == {-1, 0, 1} and coins.contains(policy.select_action(HERE))
    assert (MixturePolicy(net, coins, choose="likeliest", key=KEY).predict(np.zeros((4, 2))) >= -1).all()


def test_a_latent_is_held_as_long_as_said():
    num = 400
    step = LatentPolicy(SignOfLatent(), box(), hold="step", key=KEY)
    step.reset(num_envs=num)
    assert 0.4 < (np.diff(signs(step, 6, num), axis=0) != 0).mean() < 0.6
    chunk = LatentPolicy(SignOfLatent(data_dim=3), box(), hold="chunk", horizon=3, key=KEY)
    chunk.reset(num_envs=num)
    way = signs(chunk, 6, num)
    assert (way[:3] == way[0]).all() and (way[3:] == way[3]).all() and 0.4 < (way[0] != way[3]).mean() < 0.6
    with pytest.warns(JensenWarning, match="held for the episode, but q was trained over the step"):
        episode = LatentPolicy(SignOfLatent(), box(), hold="episode", key=KEY)
    episode.reset(num_envs=num)
    way = signs(episode, 6, num)
    assert (way == way[0]).all() and 0.4 < (way[0] > 0).mean() < 0.6
    episode.reset(num_envs=num)
    assert 0.4 < (signs(episode, 1, num)[0] != way[0]).mean() < 0.6


def test_environments_end_at_different_times():
    num = 300
    policy = LatentPolicy(SignOfLatent(data_dim=4), box(), hold="chunk", horizon=4, key=KEY)
    policy.reset(num_envs=num)
    before = signs(policy, 2, num)
    mask = np.arange(num) < 150
    policy.reset(mask=mask)
    after = signs(policy, 4, num)
    assert (after[:2, 150:] == before[0, 150:]).all()  # those go on with their chunk
    assert 0.3 < (after[2, 150:] != before[0, 150:]).mean() < 0.7  # and make the next when it ends
    assert (after[:, :150] == after[0, :150]).all()  # these have begun one of their own
    assert 0.3 < (after[0, :150] != before[0, :150]).mean() < 0.7
    with pytest.raises(InputError, match="mask has shape"):
        policy.reset(mask=np.ones(3, bool))


def test_what_q_was_trained_over():
    episode = models.EpisodeDecoder(1, 2, 1, widths=(4,), key=KEY)
    with pytest.warns(JensenWarning, match="held for the step, but q was trained over the episode"):
        LatentPolicy(episode, box(), hold="step", key=KEY)
    with pytest.warns(JensenWarning, match="held for the step, but q was trained over the chunk"):
        LatentPolicy(SignOfLatent(data_dim=2), box(), hold="step", horizon=2, key=KEY)
    LatentPolicy(episode, box(), hold="episode", key=KEY).select_action(HERE)


def test_zero_only_when_asked_for():
    decoder = models.ConditionalDecoder(1, 2, 1, widths=(4,), key=KEY)
    sampled = LatentPolicy(decoder, box(), key=KEY).predict(np.zeros((20, 2)))
    zero = LatentPolicy(decoder, box(), latent="zero", key=KEY)
    assert len(np.unique(sampled)) == 20 and len(np.unique(zero.predict(np.zeros((20, 2))))) == 1
    assert "z = 0" in repr(zero)


def test_same_key_same_course():
    def course() -> np.ndarray:
        policy = MixturePolicy(TwoWays(), box(), key=jax.random.key(3))
        policy.reset()
        return np.array([policy.select_action(HERE) for _ in range(5)])

    first = course()
    np.testing.assert_array_equal(first, course())
    many = MixturePolicy(TwoWays(), box(), key=jax.random.key(3))
    many.reset(num_envs=3)  # the first environment does not know of the others
    np.testing.assert_array_equal(many.select_action(np.zeros((3, 2)))[0], first[0])
    rows = np.zeros((3, 2))
    np.testing.assert_array_equal(many.predict(rows), many.predict(rows))


def test_foreseen_chunks_change_nothing():
    model = SignOfLatent(data_dim=3)
    one, two = (LatentPolicy(model, box(), hold="chunk", horizon=3, key=KEY) for _ in range(2))
    one.reset(), two.reset()
    assert one.predict_action_chunk(HERE).shape == (3, 1)
    for _ in range(5):
        np.testing.assert_array_equal(one.select_action(HERE), two.select_action(HERE))


def test_chunks_are_replanned_from_what_is_seen():
    net = models.HeteroscedasticNet(2, 2, widths=(4,), variance="unit", key=KEY)
    policy = MixturePolicy(net, box(), horizon=2, choose="mean", key=KEY)
    seen = np.array([[0.0, 0.0], [1.0, 5.0], [2.0, 0.0], [0.0, -9.0]])
    rows = np.asarray(jax.vmap(lambda s: net.law(s).mean)(seen.astype(np.float32)))
    got = np.array([policy.select_action(s)[0] for s in seen])
    np.testing.assert_allclose(got, [rows[0, 0], rows[0, 1], rows[2, 0], rows[2, 1]], rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixturePolicy(TwoWays(), gymnasium.spaces.Dict({}), key=KEY), "a Dict space are not supported"),
        (lambda: MixturePolicy(TwoWays(), gymnasium.spaces.Box(0, 9, (1,), int), key=KEY), "Box of int64"),
        (lambda: MixturePolicy(TwoWays(), gymnasium.spaces.Discrete(2), key=KEY), "use models.CategoricalNet"),
        (lambda: MixturePolicy(models.CategoricalNet(1, 3, 2, key=KEY), box(), key=KEY), "the space is a Box"),
        (lambda: MixturePolicy(models.CategoricalNet(1, 3, 2, key=KEY), DiscreteActions(4), key=KEY),
         "knows 3 categories, the space has 4"),
        (lambda: MixturePolicy(models.CategoricalNet(1, 3, 2, key=KEY), DiscreteActions(3), choose="mean", key=KEY),
         "discrete actions have no mean"),
        (lambda: MixturePolicy(TwoWays(data_dim=4), box(), horizon=3, key=KEY), "4 columns, but 3 actions of 1"),
        (lambda: MixturePolicy(TwoWays(), box(), choose="likliest", key=KEY), "did you mean 'likeliest'"),
        (lambda: MixturePolicy(SignOfLatent(), box(), key=KEY), "use control.LatentPolicy"),
        (lambda: MixturePolicy(models.EpisodeDecoder(1, 2, 1, key=KEY), box(), key=KEY), "use control.LatentPol"),
        (lambda: MixturePolicy(models.Gaussian(1, key=KEY), box(), key=KEY), "not a model of actions given states"),
        (lambda: LatentPolicy(SignOfLatent(), box(), hold="steps", key=KEY), "did you mean 'step'"),
        (lambda: LatentPolicy(SignOfLatent(data_dim=2), box(), horizon=2, hold="step", replan=2, key=KEY),
         "draws z anew after every action"),
        (lambda: MixturePolicy(TwoWays(data_dim=2), box(), horizon=2, replan=3, key=KEY), "from 1 to the horizon"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")
def test_what_does_not_fit_is_refused(make, message: str):
    with pytest.raises(InputError, match=message):
        make()


def test_observations_are_checked():
    policy = MixturePolicy(TwoWays(), box(), key=KEY)
    with pytest.raises(InputError, match=r"shape \(3,\), but the policy is expecting \(2,\)"):
        policy.select_action(np.zeros(3))
    with pytest.raises(InputError, match="num_envs=N"):
        policy.select_action(np.zeros((4, 2)))
    policy.reset(num_envs=3)
    with pytest.raises(InputError, match=r"in 3 environments at once, and in one after reset\(\)"):
        policy.select_action(HERE)
    policy.reset()
    policy.select_action(HERE)
    with pytest.raises(InputError, match="at step 1 is not finite, nan in row 0, column 1"):
        policy.select_action(np.array([0.0, np.nan]))
    with pytest.raises(InputError, match=r"expecting \(N, 2\)"):
        policy.predict(HERE)
    with pytest.raises(InputError, match="num_envs is 0"):
        policy.reset(num_envs=0)


def test_demonstrations_outside_the_space_are_named():
    from jensen.datasets import Episodes

    seen = (np.zeros((3, 2)), np.zeros((3, 2)))
    odd = Episodes(seen, (np.zeros((2, 1)), np.array([[0.0], [7.0]])), name="mine")
    with pytest.raises(InputError, match="action 7 of episode 1, step 1, column 0, is outside"):
        box().to_model(odd)
    with pytest.raises(InputError, match="actions have 1 columns, the space 2"):
        box(2).to_model(odd)
    with pytest.raises(InputError, match="3 discrete choices: give integer codes"):
        DiscreteActions(3).to_model(odd)
    codes = Episodes(seen, (np.array([1, 2]), np.array([1, 3])), name="mine")
    assert DiscreteActions(3, 1).to_model(codes).flat()[1].ravel().tolist() == [0, 1, 0, 2]
    with pytest.raises(InputError, match=r"action 3 of episode 1, step 1, is outside the space 0..2"):
        DiscreteActions(3).to_model(codes)
    with pytest.raises(InputError, match="actions are codes, but the space is a Box"):
        box().to_model(codes)


def test_squashed_demonstrations_come_back():
    from jensen.datasets import Episodes

    acts = np.array([[-0.9, 3.0], [0.5, 1.2]], np.float32)
    low, high = np.array([-1, 1], np.float32), np.array([1, 4], np.float32)
    space = BoxActions(low, high, (2,), np.dtype(np.float32), "squash")
    inside = space.to_model(Episodes((np.zeros((3, 1)),), (acts,)))
    np.testing.assert_allclose(space.to_action(jax.numpy.asarray(inside.actions[0])), acts, rtol=1e-5)
