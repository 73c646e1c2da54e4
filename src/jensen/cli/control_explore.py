"""``jensen control explore``: several ways to explore a table, many runs of each in one compiled program."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.cli.control import Outcome, Work
from jensen.cli.control_worlds import grid, levels, longest, tabular

if TYPE_CHECKING:
    from jensen.algorithms.mdp import MDP
    from jensen.control.explore import AbstractBonus, QLearner
    from jensen.envs import TabularSimulator

LAST, SHARE = 20, 0.5
"""Solved: this share of so many last episodes was good."""

RULE = (
    f"Solved: the first episode at which half of the last {LAST} came at least half of the way from random "
    "actions' mean return to the best."
)


def engine() -> Explore:
    """Return the part."""
    return Explore()


@dataclass(frozen=True)
class Course:
    """What became of one way.

    Attributes:
        name: Its name.
        returns: Undiscounted, without any bonus, (R, E).
        covered: States visited by the end of each episode, (R, E).
        visits: Of each state and action, (R, S, A).
        left: The bonus each state and action would still get, (R, S, A); None without a bonus.
        solved: Episodes until it was solved, (R,), NaN where it never was.
        seconds: Wall time, compilation in.
    """

    name: str
    returns: np.ndarray
    covered: np.ndarray
    visits: np.ndarray
    left: np.ndarray | None
    solved: np.ndarray
    seconds: float


class Explore:
    """Compares ways to explore."""

    def check(self, work: Work) -> None:
        """Refuse an environment without a table."""
        tabular(work)

    def run(self, work: Work) -> Outcome:
        """Let every way learn, and compare."""
        simulator = tabular(work)
        mdp = simulator.mdp()
        horizon = longest(simulator, mdp)
        level = levels(mdp, horizon)
        options = work.options
        print(
            f"{work.env}: {simulator.num_states:,} states, {simulator.action_dim} actions, {horizon} steps; "
            f"best return {level['best']:.4g}, random {level['random']:.4g}",
            flush=True,
        )
        courses = []
        for name in dict.fromkeys(options["bonus"]):
            courses.append(_course(name, simulator, mdp, horizon, level, options))
            print(f"{name}: {_said(courses[-1], options['episodes'])}", flush=True)
        return _outcome(work, simulator, courses, level)


def _course(
    name: str, simulator: TabularSimulator, mdp: MDP, horizon: int, level: dict[str, float], options: Any
) -> Course:
    import equinox as eqx
    import jax

    from jensen.control import explore

    world = explore.enumerated(mdp, horizon)
    way = _way(name, simulator, mdp, options)

    @eqx.filter_jit
    def runs(world: Any, keys: Any) -> tuple[Any, ...]:
        def one(key: Any) -> tuple[Any, ...]:
            to_bonus, to_learn = jax.random.split(key)
            learner, bonus = way(to_bonus)
            learnt = explore.learn(world, learner, bonus, options["episodes"], key=to_learn)
            left = None if learnt.bonus is None else _ahead(learnt.bonus, *mdp.rewards.shape)
            return learnt.returns, learnt.covered, learnt.visits, left

        return jax.vmap(one)(keys)

    began = time.perf_counter()
    found = runs(world, jax.random.split(jax.random.key(options["seed"]), options["runs"]))
    returns, covered, visits = (np.asarray(part) for part in found[:3])
    left = None if found[3] is None else np.asarray(found[3])
    good = returns >= (level["best"] + level["random"]) / 2
    return Course(name, returns, covered, visits, left, first_solved(good), time.perf_counter() - began)


def first_solved(good: np.ndarray) -> np.ndarray:
    """Return the first episode, counted from 1, at which enough of the last ones were good; NaN if never.

    Args:
        good: Which episodes were, (runs, episodes).

    Example:
        >>> first_solved(np.arange(40)[None] >= [[10], [99]]).tolist()
        [20.0, nan]
    """
    summed = np.cumsum(np.concatenate([np.zeros((len(good), LAST)), good], 1), 1)
    enough = summed[:, LAST:] - summed[:, :-LAST] >= SHARE * LAST
    return np.where(enough.any(1), enough.argmax(1) + 1.0, np.nan)


def _way(
    name: str, simulator: TabularSimulator, mdp: MDP, options: Any
) -> Callable[[Any], tuple[QLearner, AbstractBonus | None]]:
    """Return how a way learns, given randomness."""
    import jax.numpy as jnp

    from jensen.control import explore

    states, actions = mdp.rewards.shape
    scale = options["scale"]
    transitions = np.asarray(mdp.transitions)
    certain = bool(((transitions < 1e-6) | (transitions > 1 - 1e-6)).all())
    rate = options.get("learning_rate", 1.0 if certain else 0.2)
    common: dict[str, Any] = {"discount": options.get("discount", 1.0), "learning_rate": rate}
    cells = jnp.asarray(simulator.cells)
    rows, columns = (int(size) for size in np.asarray(simulator.cells).max(0) + 1)

    def bonus_of(key: Any) -> Any:
        if name in ("optimistic", "counts"):
            return explore.Counts(states, actions)
        if name == "pseudo-counts":
            rho = explore.Empirical((rows, columns, actions), ((0, 2), (1,)))
            return explore.PseudoCounts(rho, lambda s, a: jnp.append(cells[s], a).astype(jnp.float32))
        told = _outcomes(transitions)
        if name == "gain":
            return explore.DirichletGain(states, actions, **told)
        return explore.TableDisagreement(states, actions, **told, key=key)

    def way(key: Any) -> tuple[QLearner, AbstractBonus | None]:
        if name == "greedy":
            return explore.QLearner(epsilon=options.get("epsilon", 0.1), **common), None
        if name == "untried":
            return explore.QLearner(initial=scale, **common), None
        bonus = bonus_of(key)
        if name == "counts":
            return explore.QLearner(bonus=scale, **common), bonus
        # what was never tried gets the same from all, so that ways are compared at one scale
        return explore.QLearner(optimism=scale / _ahead(bonus, states, actions).mean(), **common), bonus

    return way


def _ahead(bonus: Any, states: int, actions: int) -> Any:
    """Return the bonus of every state and action, (S, A)."""
    import jax
    import jax.numpy as jnp

    each = jax.vmap(jax.vmap(bonus.ahead, in_axes=(None, 0)), in_axes=(0, None))
    return each(jnp.arange(states), jnp.arange(actions))


def _outcomes(transitions: np.ndarray) -> dict[str, Any]:
    """Return which states can follow each: the learner is told so much, and not how probable they are."""
    import jax.numpy as jnp

    follow = (transitions > 0).any(1)
    most = max(int(follow.sum(1).max()), 2)
    table = np.argsort(~follow, 1, kind="stable")[:, :most]
    places = jnp.asarray(table)
    return {"num_outcomes": most, "outcome": lambda s, after: (places[s] == after).argmax()}


def _said(course: Course, budget: int) -> str:
    done = np.isfinite(course.solved)
    last = course.returns[:, -LAST:].mean()
    when = "never solved"
    if done.any():
        when = f"solved by {done.sum()} of {len(done)} runs, at episode {np.median(course.solved[done]):.0f}"
        when += " (median)" if done.sum() > 1 else ""
    return f"{when}; mean return of the last {min(LAST, budget)} episodes {last:.4g}; {course.seconds:.1f} s"


def _outcome(
    work: Work, simulator: TabularSimulator, courses: list[Course], level: dict[str, float]
) -> Outcome:
    from jensen.algorithms.mdp import reachable
    from jensen.control import bootstrap
    from jensen.report import blocks, control, facts
    from jensen.report.control_returns import Curve

    budget, each = work.options["episodes"], {course.name: course.solved for course in courses}
    curves = [Curve(c.name, *_smoothed(c.returns)) for c in courses]
    finals = {c.name: bootstrap(c.returns[:, -LAST:].mean(1), draws=500) for c in courses}
    rows = [
        (f"return, {name}", f"{value}, last {LAST} episodes, interquartile mean of runs")
        for name, value in finals.items()
    ]
    sections = [control.learning(curves, rows, xlabel="episode", references=level)]
    layers = _layers(courses[-1], reachable(simulator.mdp()))
    sections += control.exploration(layers, grid(simulator), each, budget=budget)
    sections[1].blocks.append(blocks.Text([RULE]))
    ended = [(c.name, f"{budget:,} episodes were done", facts.duration(c.seconds)) for c in courses]
    sections.append(control.ending(ended))
    best = min(courses, key=lambda c: (-int(np.isfinite(c.solved).sum()), np.nanmean([*c.solved, budget])))
    solved = f"{int(np.isfinite(best.solved).sum())} of {work.options['runs']} runs"
    figures = {
        "best return": level["best"],
        "random return": level["random"],
        "runs": {
            c.name: {
                "solved": [None if np.isnan(s) else int(s) for s in c.solved],
                "last returns": c.returns[:, -LAST:].mean(1).round(4).tolist(),
                "states covered": c.covered[:, -1].tolist(),
            }
            for c in courses
        },
    }
    return Outcome(
        f"{work.env}: {', '.join(each)}; {work.options['runs']} runs of {budget:,} episodes each",
        sections,
        rows,
        [("solved soonest by", best.name, f"{solved}, of {budget:,} episodes"),
         ("best return", f"{level['best']:.4g}", f"random actions {level['random']:.4g}")],
        figures,
    )  # fmt: skip


def _smoothed(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return running means over as many episodes as the rule looks at, and where they end."""
    width = min(LAST, returns.shape[1])
    summed = np.cumsum(np.concatenate([np.zeros((len(returns), 1)), returns], 1), 1)
    return np.arange(width, returns.shape[1] + 1), (summed[:, width:] - summed[:, :-width]) / width


def _layers(course: Course, known: np.ndarray) -> list[Any]:
    """Return where the last way's first run has been, and where its bonus is still high.

    Args:
        course: The last way.
        known: States that can be reached at all.
    """
    from jensen.report.control_maps import Layer

    visits = np.where(known, np.log10(1 + course.visits[0].sum(1)), np.nan)
    found = [Layer(f"{course.name}: visits, log₁₀(1 + n)", visits)]
    if course.left is not None:
        left = np.where(known, course.left[0].mean(1), np.nan)
        found.append(Layer(f"{course.name}: bonus left, mean of actions", left))
    return found
