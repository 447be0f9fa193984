"""The network of prog-eval in this library: ``python -m benchmarks.speed.sides.bottleneck_ours FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.speed.sides.ours import finish_with, read_train
from recsys_lib.models import BottleneckAutoencoder


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, train = read_train(folder)
    names = ("batch_size", "learning_rate", "epochs", "decode", "seed", "device")
    chosen = {name: settings[name] for name in names}
    finish_with(folder, BottleneckAutoencoder(progress=False, **chosen).fit(train), train)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
