"""What one draw of the latents is worth: the pieces every objective is built from."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from jensen.typing import Array, Float, PyTree


class Terms(eqx.Module):
    """The log-densities at one draw, in nats. Stacked over draws, every array gains a leading axis.

    Attributes:
        log_joint: log p(x, z | c).
        log_q: log q(z), one entry per latent group.
        log_likelihood: log p(x | z, c); ``None`` for a black-box model that only knows log p(x, z).
        log_prior: log p(z | c) per latent group; ``None`` for a black-box model.
        kl: Closed-form KL(q ‖ p) per latent group; ``None`` where there is none, or it may not be used.
        penalty: Extra loss that came with the draw.
        z: The sample.
        carry: What the posterior's law computed for the model.
        share: Part of the prior and of q that is in here, 1/N where one z is behind N data; ``None`` for all.
        scored: 1 for each group that is real and scored, else 0, where groups are the steps of a padded
            sequence or of a window; ``None`` for all.
        balanced: Whether the gradient of ``kl`` is shared out between the two laws already.
    """

    log_joint: Float[Array, "*draws"]
    log_q: Float[Array, "*draws groups"]
    penalty: Float[Array, "*draws"]
    z: PyTree
    log_likelihood: Float[Array, "*draws"] | None = None
    log_prior: Float[Array, "*draws groups"] | None = None
    kl: Float[Array, "*draws groups"] | None = None
    carry: PyTree = None
    share: Float[Array, "*draws"] | None = None
    scored: Float[Array, "*draws groups"] | None = None
    balanced: bool = eqx.field(default=False, static=True)

    @property
    def log_w(self) -> Float[Array, "*draws"]:
        """The log importance weight log p(x, z) − log q(z)."""
        return self.log_joint - self.log_q.sum(-1)

    @property
    def log_ratio(self) -> Float[Array, "*draws groups"]:
        """Log q(z) − log p(z) per group: a one-sample estimate of the KL."""
        if self.log_prior is None:
            return self.log_q
        return self.log_q - self.log_prior

    @property
    def reconstruction(self) -> Float[Array, "*draws"]:
        """Log p(x | z) where the model separates it, else the log-joint."""
        return self.log_joint if self.log_likelihood is None else self.log_likelihood


class Losses(eqx.Module):
    """What the model's parameters and the posterior's parameters descend, in nats.

    Attributes:
        model: Loss whose gradient reaches the model only.
        posterior: Loss whose gradient reaches the posterior only.
    """

    model: Any
    posterior: Any

    @classmethod
    def both(cls, loss: Float[Array, ""]) -> Losses:
        """One loss for both; it is then differentiated once."""
        return cls(loss, loss)

    @property
    def shared(self) -> bool:
        """Whether the two are one."""
        return self.model is self.posterior
