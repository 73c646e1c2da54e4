"""Where the command acts: environments opened and looked at before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.errors import InputError

if TYPE_CHECKING:
    from jensen.algorithms.mdp import MDP
    from jensen.cli.control import Work
    from jensen.envs import TabularSimulator
    from jensen.report.control_maps import Grid

LONGEST = 10_000
"""Steps after which an episode is taken not to end."""


def opened(work: Work) -> Any:
    """Make the environment.

    Raises:
        InputError: It is unknown, or does not take the options given to it.
        MissingExtraError: Gymnasium is not installed.
    """
    from jensen import envs

    return envs.make(work.env, **work.options.get("with", {}))


def source(work: Work) -> Any:
    """Return what makes the environment, as often as need be, and says its name.

    Raises:
        InputError: As ``opened``.
    """
    env = opened(work)
    env.close()
    return env.spec


def tabular(work: Work) -> TabularSimulator:
    """Return the environment's simulator, whose states can be counted.

    Raises:
        InputError: They cannot.
    """
    from jensen import envs

    env = opened(work)
    inner = env.unwrapped
    env.close()
    found = inner.simulator if isinstance(inner, envs.SimulatorEnv) else None
    if not isinstance(found, envs.TabularSimulator):
        known = [f"jensen/{name}-v0" for name in TABLES]
        raise InputError(
            f"{work.env} has no table of states, which `jensen control {work.part}` needs; it takes "
            f"{', '.join(known)}"
        )
    return found


TABLES = ("DeepSea", "CliffWorld")
"""Environments whose states can be counted."""


def longest(simulator: TabularSimulator, mdp: MDP) -> int:
    """Return the most steps of an episode: the step limit, or how far it is to the end.

    Raises:
        InputError: An episode may never end.
    """
    if simulator.max_steps is not None:
        return int(simulator.max_steps)
    edges = np.any(np.asarray(mdp.transitions) > 0, axis=1)
    there = np.greater(mdp.start, 0)
    steps = 0
    while there.any() and steps < LONGEST:
        there, steps = np.any(edges[there], axis=0), steps + 1
    if there.any():
        raise InputError(f"{type(simulator).__name__}: an episode may never end; give it a step limit")
    return steps


def grid(simulator: TabularSimulator) -> Grid:
    """Return where its states lie."""
    from jensen.report.control_maps import Grid

    return Grid(np.asarray(simulator.cells), np.asarray(simulator.moves))


def levels(mdp: MDP, horizon: int) -> dict[str, float]:
    """Return the best mean return over a horizon, and that of random actions, undiscounted."""
    import jax.numpy as jnp

    from jensen.algorithms.mdp import backward_induction, evaluate_over

    evenly = jnp.full((horizon, *mdp.rewards.shape), 1 / mdp.num_actions)
    return {
        "best": float(mdp.start @ backward_induction(mdp, horizon).values[0]),
        "random": float(mdp.start @ evaluate_over(mdp, evenly)[0]),
    }
