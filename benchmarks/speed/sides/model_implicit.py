"""A model of implicit 0.7.3, in its own environment: ``python model_implicit.py FOLDER``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

# As its documentation asks, so that the threads of OpenBLAS and its own do not get in each other's way.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from common import finish, known_of, matrix_of, read
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking

_MODELS = {"ALS": AlternatingLeastSquares, "BPR": BayesianPersonalizedRanking}


def main(folder: Path) -> None:
    """Fit, and leave the lists."""
    settings, data = read(folder)
    train, known = matrix_of(data), known_of(data)
    theirs = settings["theirs"]
    model = _MODELS[theirs["model"]](**theirs["settings"], random_state=settings["seed"])
    started = time.perf_counter()
    model.fit(train, show_progress=False)
    seconds = time.perf_counter() - started
    lists, _ = model.recommend(np.arange(train.shape[0]), known, N=10)
    finish(folder, [seconds], lists, epochs=theirs["settings"]["iterations"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
