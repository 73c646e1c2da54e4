"""``jensen control irl``: from demonstrations in a table to the reward behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.cli.control import Outcome, Work
from jensen.cli.control_worlds import grid, levels, longest, source, tabular
from jensen.cli.options import flags
from jensen.errors import InputError

if TYPE_CHECKING:
    from jensen.algorithms.mdp import MDP
    from jensen.control.irl import Inferred
    from jensen.control.soft import SoftControl
    from jensen.datasets import Episodes
    from jensen.envs import TabularSimulator

DEMONSTRATED, HEAT = 10, 1.0
"""What is used when nobody says: demonstrations, temperature."""


def engine() -> Infer:
    """Return the part."""
    return Infer()


@dataclass(frozen=True)
class World:
    """Where it happened.

    Attributes:
        simulator: The environment's.
        mdp: Its tables, true rewards in.
        horizon: Steps of an episode.
        expert: What the demonstrator does, and would do for the true rewards.
    """

    simulator: TabularSimulator
    mdp: MDP
    horizon: int
    expert: SoftControl


class Infer:
    """Infers a reward."""

    def check(self, work: Work) -> None:
        """Refuse an environment without a table, and options that exclude each other."""
        tabular(work)
        if "recorded" in work.options and "demonstrations" in work.options:
            raise InputError(f"{flags(['demonstrations'])} is for those made here; --recorded brings its own")

    def run(self, work: Work) -> Outcome:
        """Demonstrate, or read what was demonstrated; infer; compare."""
        import jax

        from jensen import fit
        from jensen.control import irl

        options, world = work.options, _world(work)
        mdp, heat = world.mdp, options.get("temperature", HEAT)
        discount = options.get("discount", 1.0)
        print(
            f"{work.env}: {mdp.num_states:,} states, {mdp.num_actions} actions, {world.horizon} steps",
            flush=True,
        )
        episodes = _episodes(work, world)
        seen = irl.demonstrated(mdp, episodes, discount=discount, horizon=world.horizon)
        print(f"{len(episodes)} demonstrations of {int(seen.size):,} actions", flush=True)
        per_state = options.get("reward", "state") == "state"
        reward = irl.StateReward(mdp.num_states) if per_state else irl.PairReward(*mdp.rewards.shape)
        agent = irl.SoftOptimal(mdp, reward, temperature=heat, horizon=world.horizon, discount=discount)
        chosen = {
            name: options[name] for name in ("prior_scale", "steps", "learning_rate") if name in options
        }
        found = irl.infer(
            agent,
            seen,
            key=jax.random.key(options["seed"]),
            run=fit.Run(work.folder, resume=True),
            **chosen,
        )
        if found.fitted.stop_reason == "interrupted":
            raise KeyboardInterrupt
        return _outcome(work, world, found, len(episodes))


def _world(work: Work) -> World:
    from jensen.control.soft import soft_control

    simulator = tabular(work)
    mdp = simulator.mdp()
    horizon = work.options.get("horizon") or longest(simulator, mdp)
    heat, discount = work.options.get("temperature", HEAT), work.options.get("discount", 1.0)
    return World(
        simulator, mdp, horizon, soft_control(mdp, temperature=heat, horizon=horizon, discount=discount)
    )


def _episodes(work: Work, world: World) -> Episodes:
    """Let the soft-optimal agent of the true rewards demonstrate, or read a file."""
    from jensen import control, datasets

    if "recorded" in work.options:
        return datasets.load_episodes(work.options["recorded"])
    seed, count = work.options["seed"], work.options.get("demonstrations", DEMONSTRATED)
    acts = world.expert.acting(seed=seed)
    return control.record(source(work), acts, count, seed=seed, max_steps=world.horizon)


def _outcome(work: Work, world: World, found: Inferred, count: int) -> Outcome:
    from jensen.control import irl
    from jensen.report import control, facts
    from jensen.report.control_maps import Layer

    cloned, smoothed = (irl.clone(found.demonstrations, smoothing=more) for more in (0.0, 1.0))
    level = levels(world.mdp, world.horizon)
    earned = {
        "best": level["best"],
        "demonstrator": _earned(world, world.expert.policy),
        "inferred reward": _earned(world, found.policy),
        "behaviour cloning": _earned(world, cloned),
        "cloning, counts + 1": _earned(world, smoothed),
        "random": level["random"],
    }
    if "recorded" in work.options:  # by somebody whose policy is not known
        del earned["demonstrator"]
    rows = [(f"return, {name}", f"{value:.4g}") for name, value in earned.items()]
    rows += [
        ("−log π of what was shown", f"{found.nll:.4f} nats per action"),
        ("the same of cloning", f"{found.demonstrations.nll(cloned):.4f} nats per action"),
        ("occupancy error", f"{found.occupancy_error:.3g} (total variation; part of it chance)"),
        ("correlation with the true reward", _correlation(found, world)),
    ]
    inferred = Layer("inferred", _of_states(found.rewards), found.policy[0])
    true = Layer("true", _of_states(np.asarray(world.mdp.rewards)), world.expert.policy[0])
    sections = [
        control.inverse(inferred, true, grid(world.simulator), rows, found.notes),
        control.ending([("reward", facts.stopped(found.fitted.stop_reason), facts.duration(found.seconds))]),
    ]
    shown = earned["inferred reward"]
    return Outcome(
        f"{work.env}: {count} demonstrations; {work.options.get('reward', 'state')} reward, temperature "
        f"{found.agent.temperature:g}, discount {found.agent.discount:g}, {world.horizon} steps",
        sections,
        rows,
        [("return by the inferred reward", f"{shown:.4g}", f"of at most {level['best']:.4g}"),
         ("return by cloning", f"{earned['behaviour cloning']:.4g}", "what was done, repeated"),
         ("occupancy error", f"{found.occupancy_error:.3g}", "total variation")],
        {"returns": earned, "rewards": found.rewards.round(4).tolist()},
        found.fitted,
    )  # fmt: skip


def _earned(world: World, policy: Any) -> float:
    """Return the undiscounted return of a policy under the true rewards, exact."""
    import jax.numpy as jnp

    from jensen.algorithms.mdp import evaluate_over

    table = jnp.broadcast_to(jnp.asarray(policy), (world.horizon, *world.mdp.rewards.shape))
    return float(world.mdp.start @ evaluate_over(world.mdp, table)[0])


def _of_states(rewards: np.ndarray) -> np.ndarray:
    """Return the reward of a state, the best of its actions'."""
    return np.asarray(rewards, np.float64).max(1)


def _correlation(found: Inferred, world: World) -> str:
    """Compare with the true reward, where states were seen: elsewhere nothing can be known."""
    seen = np.unique(found.demonstrations.states)
    one, two = found.rewards[seen].ravel(), np.asarray(world.mdp.rewards)[seen].ravel()
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        return "n/a: one of them does not vary"
    return f"{np.corrcoef(one, two)[0, 1]:.2f} over {len(seen)} states seen"
