"""``jensen control explore``: several ways to explore a table, many runs of each in one compiled program."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.cli.control import Outcome, Work
from jensen.cli.control_worlds import grid, levels, longest, tabular

if TYPE_CHECKING:
    from jensen.algorithms.mdp import MDP
    from jensen.control.explore import Study
    from jensen.envs import TabularSimulator

LAST = 20
"""Episodes whose mean return is reported at the end, and drawn as running means."""

RULE = (
    "Solved: the first episode by which a tenth of all episodes so far came at least half of the way from "
    "random actions' mean return to the best. Ways are those of `jensen.control.explore.METHODS`."
)


def engine() -> Explore:
    """Return the part."""
    return Explore()


@dataclass(frozen=True)
class Course:
    """What became of one way.

    Attributes:
        name: Its name.
        study: What its runs did.
        solved: Episodes until it was solved, one a run, NaN where it never was.
        seconds: Wall time, compilation in.
    """

    name: str
    study: Study
    solved: np.ndarray
    seconds: float

    @property
    def last(self) -> np.ndarray:
        """Mean return of each run's last episodes."""
        return self.study.returns[:, -LAST:].mean(1)


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
            courses.append(_course(name, mdp, horizon, level, options))
            print(f"{name}: {_said(courses[-1], options['episodes'])}", flush=True)
        return _outcome(work, simulator, courses, level)


def _course(name: str, mdp: MDP, horizon: int, level: dict[str, float], options: Any) -> Course:
    import jax

    from jensen.control import explore

    transitions = np.asarray(mdp.transitions)
    certain = bool(((transitions < 1e-6) | (transitions > 1 - 1e-6)).all())
    began = time.perf_counter()
    found = explore.study(
        mdp,
        name,
        options["episodes"],
        horizon=horizon,
        runs=options["runs"],
        learning_rate=options.get("learning_rate", 1.0 if certain else 0.2),
        scale=options.get("scale"),
        key=jax.random.key(options["seed"]),
    )
    solved = explore.episodes_to_solve(found.returns, (level["best"] + level["random"]) / 2)
    return Course(name, found, np.array(solved, np.float64), time.perf_counter() - began)


def _said(course: Course, budget: int) -> str:
    done = np.isfinite(course.solved)
    last = course.last.mean()
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
    curves = [Curve(c.name, *_smoothed(c.study.returns)) for c in courses]
    finals = {c.name: bootstrap(c.last, draws=500) for c in courses}
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
                "last returns": c.last.round(4).tolist(),
                "states covered": c.study.covered[:, -1].tolist(),
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

    visits = np.where(known, np.log10(1 + course.study.visits[0].sum(1)), np.nan)
    found = [Layer(f"{course.name}: visits, log₁₀(1 + n)", visits)]
    if course.study.bonus is not None:
        left = np.where(known, course.study.bonus[0].mean(1), np.nan)
        found.append(Layer(f"{course.name}: bonus left, mean of actions", left))
    return found
