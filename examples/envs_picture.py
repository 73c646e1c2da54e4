"""Draw the pictures of the simulated worlds that docs/envs.md shows.

Run from the repository's root: ``python examples/envs_picture.py`` (half a minute).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from jensen import envs
from jensen.envs.worlds import WORLDS
from jensen.report import figure as look

TARGET = Path("docs/images/worlds.png")
ACTIONS = {"DeepSea": [1, 0, 1, 1], "NoisyTV": [4, 0, 4], "CliffWorld": [3]}


def main() -> None:
    with matplotlib.rc_context(look.STYLE | {"figure.facecolor": "white"}):
        fig = Figure(figsize=(12, 5.6), layout="constrained")
        for axes, name in zip(fig.subplots(2, 4).flat, WORLDS, strict=True):
            env = envs.make(f"jensen/{name}-v0", render_mode="rgb_array").unwrapped
            env.reset(seed=6)
            env.action_space.seed(6)
            for action in ACTIONS.get(name, [None] * 12):
                env.step(env.action_space.sample() if action is None else action)
            axes.imshow(env.render(), interpolation="nearest")
            axes.set_title(name)
            axes.set_axis_off()
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(TARGET, dpi=80)
    print(TARGET)


if __name__ == "__main__":
    main()
