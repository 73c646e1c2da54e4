"""Temporal ensembling: chunks of two ways are never averaged, chunks of one way are."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.control import DiscreteActions, Ensemble, MixturePolicy
from jensen.control.policies.ensemble import execute, no_plans, push
from jensen.errors import InputError
from jensen.models import CategoricalNet

from .fork import KEY, TwoWays, box

H = 6


def run(chunks: np.ndarray, ensemble: Ensemble) -> np.ndarray:
    """Execute one action after each chunk; all (T, A)."""
    plans, out = no_plans(chunks.shape[1], *chunks.shape[1:]), []
    step = jax.jit(lambda plans, chunk: execute(push(plans, chunk, ensemble), ensemble))
    for chunk in chunks:
        plans, action = step(plans, jnp.asarray(chunk, jnp.float32))
        out.append(np.asarray(action))
    return np.array(out)


def test_one_way_is_averaged_with_weights_of_age():
    rng = np.random.default_rng(0)
    chunks = rng.normal(size=(9, H, 2)) * 0.05
    got = run(chunks, Ensemble(1.0, decay=0.3))
    for t in range(9):
        ages = np.arange(min(t + 1, H))
        w = np.exp(-0.3 * ages)
        want = (w[:, None] * np.array([chunks[t - a, a] for a in ages])).sum(0) / w.sum()
        np.testing.assert_allclose(got[t], want, atol=1e-6)


def test_a_committed_chunk_is_carried_out():
    left, right = -np.ones((H, 1)), np.ones((H, 1))
    got = run(np.array([left, right, right, left, right, right, right]), Ensemble(0.5))[:, 0]
    # left agrees again at step 3 and is committed to anew: its six steps would end after step 8
    assert (got == -1).all()
    got = run(np.array([left] + [right] * 7), Ensemble(0.5))[:, 0]
    assert got.tolist() == [-1] * H + [1, 1]


@pytest.mark.parametrize("replan", [1, 2, 4])
def test_never_between_the_ways(replan: int):
    policy = MixturePolicy(
        TwoWays(data_dim=H), box(), horizon=H, replan=replan, ensemble=Ensemble(0.5), key=KEY
    )
    num, steps = 300, 30
    policy.reset(num_envs=num)
    here = np.zeros((num, 2))
    actions = np.stack([policy.select_action(here)[:, 0] for _ in range(steps)])
    assert (np.abs(np.abs(actions) - 1) < 0.3).all()  # noise of one way has deviation 0.05
    way = np.sign(actions)
    assert 0.4 < (way[-1] > 0).mean() < 0.6
    runs = [len(r) for e in way.T for r in np.split(e, np.flatnonzero(np.diff(e)) + 1)[:-1]]
    assert min(runs) >= H - replan + 1  # another way only once a chunk was carried out
    if replan == 1:  # and averaging takes noise away
        assert np.abs(np.abs(actions[H:]) - 1).std() < 0.025
    plain = np.mean([[-1, 1][i % 2] for i in range(H)])  # what averaging everything would do
    assert abs(plain) < 0.5


def test_each_environment_has_its_own_plans():
    policy = MixturePolicy(TwoWays(data_dim=H), box(), horizon=H, ensemble=Ensemble(0.5), key=KEY)
    policy.reset(num_envs=200)
    here = np.zeros((200, 2))
    for _ in range(3):
        before = np.sign(policy.select_action(here)[:, 0])
    policy.reset(mask=np.arange(200) < 100)
    after = np.sign(policy.select_action(here)[:, 0])
    assert (after[100:] == before[100:]).all() and 0.3 < (after[:100] != before[:100]).mean() < 0.7


def test_refused():
    with pytest.raises(InputError, match="must be positive"):
        Ensemble(0.0)
    with pytest.raises(InputError, match="horizon is 1"):
        MixturePolicy(TwoWays(), box(), ensemble=Ensemble(1.0), key=KEY)
    with pytest.raises(InputError, match="replan is the whole horizon"):
        MixturePolicy(TwoWays(data_dim=2), box(), horizon=2, replan=2, ensemble=Ensemble(1.0), key=KEY)
    net = CategoricalNet(2, 3, 2, widths=(4,), key=jax.random.key(0))
    with pytest.raises(InputError, match="discrete ones have no mean"):
        MixturePolicy(net, DiscreteActions(3), horizon=2, ensemble=Ensemble(1.0), key=KEY)
