"""Peers of the latent planner: Stable-Baselines3's SAC and PPO on the pendulum, from states and pictures.

    PYTHONPATH=src /path/to/benchvenv/bin/python bench/control_sb3.py --what sac-states --seeds 0 1 2 \
        --steps 20000 --out bench/results/control_sb3.jsonl

Needs stable-baselines3, which is no dependency of jensen. ``sac-states`` sees cos θ, sin θ, θ̇; ``sac-pixels``
and ``ppo-pixels`` see the last three 32 × 32 pictures (a single one does not show the velocity) through a
small convolutional network. The budget is steps in the environment, 20,000 being the 100 episodes the world
model learns from. Settings are those of SB3's zoo for Pendulum-v1. Scored on the starts of
``control_pendulum.py``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from jensen.datasets.pendulum import render

STEPS, STACK = 200, 3


class Swing(gymnasium.Env):
    """Pendulum-v1 as three pictures, or as it is."""

    def __init__(self, pictures: bool):
        self.inner = gymnasium.make("Pendulum-v1")
        self.pictures = pictures
        self.action_space = self.inner.action_space
        self.frames: deque[np.ndarray] = deque(maxlen=STACK)
        self.observation_space = (
            gymnasium.spaces.Box(0, 255, (STACK, 32, 32), np.uint8)
            if pictures
            else self.inner.observation_space
        )

    def _seen(self, observation: np.ndarray) -> np.ndarray:
        if not self.pictures:
            return observation
        angle = np.arctan2(observation[1], observation[0])
        self.frames.append(np.round(255 * render(np.array(angle))).astype(np.uint8).reshape(32, 32))
        while len(self.frames) < STACK:
            self.frames.append(self.frames[-1])
        return np.stack(self.frames)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin; ``options={"state": (θ, θ̇)}`` says where."""
        observation, info = self.inner.reset(seed=seed)
        self.frames.clear()
        if options is not None:
            angle, speed = options["state"]
            self.inner.unwrapped.state = np.array([angle, speed])
            observation = np.array([np.cos(angle), np.sin(angle), speed], np.float32)
        return self._seen(observation), info

    def step(self, action: Any) -> Any:
        """Swing."""
        observation, reward, over, cut, info = self.inner.step(action)
        return self._seen(observation), float(reward), over, cut, info


def learner(what: str, env: Swing, seed: int) -> Any:
    """Return SB3's learner."""
    import torch
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class Small(BaseFeaturesExtractor):
        def __init__(self, space: gymnasium.Space):
            super().__init__(space, 128)
            conv, nn = torch.nn.Conv2d, torch.nn
            self.net = nn.Sequential(
                *(conv(STACK, 16, 4, 2), nn.ReLU(), conv(16, 32, 3, 2), nn.ReLU(), nn.Flatten()),
                *(nn.Linear(32 * 7 * 7, 128), nn.ReLU()),
            )

        def forward(self, x: Any) -> Any:
            return self.net(x)

    torch.set_num_threads(1)
    extra: dict[str, Any] = {"features_extractor_class": Small} if env.pictures else {}
    policy = "CnnPolicy" if env.pictures else "MlpPolicy"
    if what.startswith("sac"):
        return SAC(policy, env, learning_rate=1e-3, buffer_size=50_000, seed=seed, policy_kwargs=extra)
    settings = {"n_steps": 1024, "batch_size": 64, "gamma": 0.9, "gae_lambda": 0.95, "n_epochs": 10}
    return PPO(
        policy,
        env,
        learning_rate=1e-3,
        use_sde=True,
        sde_sample_freq=4,
        seed=seed,
        policy_kwargs=extra,
        **settings,
    )


def scored(model: Any, pictures: bool, begin: np.ndarray) -> list[float]:
    """Return the return from each start."""
    env, returns = Swing(pictures), []
    for state in begin:
        seen, total = env.reset(options={"state": state})[0], 0.0
        for _ in range(STEPS):
            seen, reward, *_ = env.step(model.predict(seen, deterministic=True)[0])
            total += reward
        returns.append(round(total, 2))
    return returns


def main() -> None:
    """Train and score the seeds that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", nargs="+", default=["sac-states", "sac-pixels", "ppo-pixels"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("bench/results/control_sb3.jsonl"))
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {(row["what"], row["seed"], row["steps"]) for row in map(json.loads, lines)}
    begin = np.random.default_rng(12345).uniform((-np.pi, -1.0), (np.pi, 1.0), (options.starts, 2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for what in options.what:
        for seed in options.seeds:
            if (what, seed, options.steps) in done:
                continue
            env, began = Swing(what.endswith("pixels")), time.perf_counter()
            model = learner(what, env, seed).learn(options.steps)
            spent = time.perf_counter() - began
            returns = scored(model, env.pictures, begin)
            row = {"what": what, "seed": seed, "steps": options.steps, "seconds": spent}
            row |= {"mean": float(np.mean(returns)), "returns": returns}
            print(json.dumps({k: v for k, v in row.items() if k != "returns"}), flush=True)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
