"""Learning in a world model: an actor and a critic on imagined rollouts."""
