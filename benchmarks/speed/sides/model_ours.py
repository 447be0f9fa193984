"""A model of this library, named in the settings: ``python -m benchmarks.speed.sides.model_ours FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.sides.common import finish, known_of, matrix_of, read
from benchmarks.speed.sides.ours import histories_of, lists_of
from benchmarks.speed.sides.warm import warm_up
from recsys_lib import Interactions, models
from recsys_lib._optimizers import Adam


def main(folder: Path) -> None:
    """Fit, and leave the lists."""
    settings, data = read(folder)
    train = Interactions.from_csr(matrix_of(data))
    valid, known = None, None
    if "valid_indptr" in data:
        valid, known = Interactions.from_csr(matrix_of(data, "valid_")), histories_of(known_of(data))
    del data
    chosen = settings["ours"] | {"seed": settings["seed"], "device": settings["device"]}
    model: Any = getattr(models, settings["model"])(**chosen)
    warm_up(settings["device"], Adam)
    started = time.perf_counter()
    model.fit(train, valid)
    fitted = time.perf_counter()
    lists = lists_of(model, model.seen_ if known is None else known)
    ended = time.perf_counter()
    if settings["timed"] == "epoch":
        finish(folder, model.history_["seconds"].tolist(), lists)
    elif settings["timed"] == "fit and lists":
        finish(folder, [ended - started], lists)
    else:
        finish(folder, [fitted - started], lists, epochs=len(model.history_))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
