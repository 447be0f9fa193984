"""Linear layers whose weights are set by whoever asks for them."""

from __future__ import annotations

from torch import nn


class Linear(nn.Linear):
    """A layer without an initialisation of its own, which would draw from PyTorch's global generator.

    ``torch.nn.utils.skip_init`` makes the same out of a layer without memory, for which PyTorch imports a
    third of a second's worth of modules.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""
