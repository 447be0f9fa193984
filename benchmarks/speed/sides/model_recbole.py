"""A model of RecBole 1.2.1, in its own environment: ``python model_recbole.py FOLDER``.

RecBole's defaults, but for what the settings say. It reads the parts of the data from files, as its
``benchmark_filename`` has it, so that they are not cut once more. With a validation part its trainer ends the
training, and the epoch that was best is loaded again; EASE, which learns while it is made, needs no trainer.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

sys.path.insert(0, str(Path(__file__).parent))
from common import best_ten, finish, known_of, matrix_of, read
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_seed
from warm import warm_up


def _write(folder: Path, matrices: dict[str, csr_matrix]) -> None:
    (folder / "data").mkdir(exist_ok=True)
    for part, matrix in matrices.items():
        users, items = matrix.nonzero()
        rows = "".join(f"{user}\t{item}\n" for user, item in zip(users, items, strict=True))
        (folder / "data" / f"data.{part}.inter").write_text(f"user_id:token\titem_id:token\n{rows}")


def _config(folder: Path, settings: dict[str, Any], parts: list[str]) -> Any:
    # It reads the command line, too, and knows nothing of our folder.
    sys.argv = sys.argv[:1]
    theirs = settings["theirs"]
    where = {"data_path": str(folder), "checkpoint_dir": str(folder / "saved")}
    data = {"load_col": {"inter": ["user_id", "item_id"]}, "benchmark_filename": parts}
    machine = {"use_gpu": settings["device"] == "cuda", "seed": settings["seed"], "show_progress": False}
    chosen = where | data | machine | theirs.get("settings", {})
    return Config(model=theirs["model"], dataset="data", config_dict=chosen)


class _Scores:
    """The scores of a model of RecBole in the order of our items: it has its own numbers, and a padding."""

    def __init__(self, model: Any, dataset: Any, shape: tuple[int, int]) -> None:
        self.model, self.shape = model.eval(), shape
        self.fields = dataset.uid_field, dataset.iid_field
        # A user or item without interactions is unknown to RecBole: it is given the number of the padding.
        known = [dataset.field2token_id[field] for field in self.fields]
        self.users, self.items = (
            torch.tensor([numbers.get(str(one), 0) for one in range(n)])
            for numbers, n in zip(known, shape, strict=True)
        )
        self.n_items = dataset.item_num

    @torch.no_grad()
    def __call__(self, users: np.ndarray) -> np.ndarray:
        rows = self.users[users]
        one = Interaction({self.fields[0]: rows}).to(self.model.device)
        try:
            scores = self.model.full_sort_predict(one)
        except NotImplementedError:  # pair by pair, then
            pairs = {
                self.fields[0]: rows.repeat_interleave(self.n_items),
                self.fields[1]: torch.arange(self.n_items).repeat(len(rows)),
            }
            scores = self.model.predict(Interaction(pairs).to(self.model.device))
        table = scores.view(len(rows), -1).float()
        table[:, 0] = -torch.inf
        found: np.ndarray = table[:, self.items.to(table.device)].cpu().numpy()
        return found


def main(folder: Path) -> None:
    """Fit, and leave the lists."""
    settings, data = read(folder)
    os.chdir(folder)  # its records of a run go to the folder at hand
    train, known = matrix_of(data), known_of(data)
    validated = "valid_indptr" in data
    matrices = {"train": train}
    if validated:
        matrices |= dict.fromkeys(("valid", "test"), matrix_of(data, "valid_"))
    _write(folder, matrices)
    config = _config(folder, settings, list(matrices))
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    warm_up(settings["device"])
    if not validated:
        part = dataset.build()[0]
        started = time.perf_counter()
        model = get_model(config["model"])(config, part).to(config["device"])
        lists = best_ten(_Scores(model, dataset, train.shape), known)
        finish(folder, [time.perf_counter() - started], lists)
        return
    train_data, valid_data, _ = data_preparation(config, dataset)
    model = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    started = time.perf_counter()
    trainer.fit(train_data, valid_data, verbose=False, saved=True, show_progress=False)
    seconds = time.perf_counter() - started
    # What RecBole saved holds objects of its own, which PyTorch loads only when it is told to.
    saved = torch.load(trainer.saved_model_file, weights_only=False)
    model.load_state_dict(saved["state_dict"])
    model.load_other_parameter(saved.get("other_parameter"))
    lists = best_ten(_Scores(model, dataset, train.shape), known)
    finish(folder, [seconds], lists, epochs=len(trainer.train_loss_dict))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
