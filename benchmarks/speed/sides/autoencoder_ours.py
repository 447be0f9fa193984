"""Recoder's autoencoder in this library: ``python -m benchmarks.speed.sides.autoencoder_ours FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.speed.sides.ours import finish_with, read_train
from recsys_lib.models import DynamicAutoencoder


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, train = read_train(folder)
    names = ("noise", "loss", "confidence", "batch_size", "learning_rate", "weight_decay", "epochs")
    chosen = {name: settings[name] for name in (*names, "seed", "device")}
    model = DynamicAutoencoder(
        layers=(settings["width"],),
        activation="tanh",
        decode="batch" if settings["sampling"] else "all",
        progress=False,
        **chosen,
    )
    finish_with(folder, model.fit(train), train)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
