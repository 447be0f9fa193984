"""NeuMF as PyTorch's own modules give it: ``python neumf_plain.py FOLDER``.

Embeddings, linear layers, and a data loader over a shuffled tensor data set of positives and negatives.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parent))
from common import best_ten, draw_epoch, finish, matrix_of, read


class Net(nn.Module):
    """A weighted dot product and an MLP, each with its own vectors."""

    def __init__(self, n_users: int, n_items: int, factors: int, layers: int) -> None:
        super().__init__()
        widths = [factors * 2**step for step in reversed(range(layers))]
        self.users, self.items = nn.Embedding(n_users, factors), nn.Embedding(n_items, factors)
        self.mlp_users = nn.Embedding(n_users, widths[0] // 2)
        self.mlp_items = nn.Embedding(n_items, widths[0] // 2)
        for table in (self.users, self.items, self.mlp_users, self.mlp_items):
            nn.init.normal_(table.weight, 0, 0.01)
        hidden: list[nn.Module] = []
        for before, after in pairwise([widths[0], *widths]):
            hidden += [nn.Linear(before, after), nn.ReLU()]
        self.hidden = nn.Sequential(*hidden)
        self.output = nn.Linear(2 * factors, 1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs, (n,) and (n,) -> (n,)."""
        dot = self.users(users) * self.items(items)
        deep = self.hidden(torch.cat([self.mlp_users(users), self.mlp_items(items)], 1))
        scores: Tensor = self.output(torch.cat([dot, deep], 1))[:, 0]
        return scores


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, data = read(folder)
    chosen: dict[str, Any] = settings["theirs"]
    torch.manual_seed(settings["seed"])
    random = np.random.default_rng(settings["seed"])
    seen = matrix_of(data)
    seen.sort_indices()
    n_users, n_items = seen.shape
    device = torch.device("cuda" if settings["device"] == "cuda" else "cpu")
    net = Net(n_users, n_items, chosen["factors"], chosen["layers"]).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=chosen["learning_rate"])
    loss = nn.BCEWithLogitsLoss()
    seconds = []
    for _ in range(chosen["epochs"]):
        started = time.perf_counter()
        columns = [torch.from_numpy(column) for column in draw_epoch(seen, chosen["negatives"], random)]
        total = torch.zeros((), device=device)
        for batch in DataLoader(TensorDataset(*columns), batch_size=chosen["batch_size"], shuffle=True):
            users, items, labels = (part.to(device) for part in batch)
            optimizer.zero_grad()
            value = loss(net(users, items), labels)
            value.backward()
            optimizer.step()
            total += value.detach()
        float(total)  # waits for the device
        seconds.append(time.perf_counter() - started)
    net.eval()

    @torch.no_grad()
    def scores_of(users: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(users).to(device).repeat_interleave(n_items)
        columns = torch.arange(n_items, device=device).repeat(len(users))
        scores: np.ndarray = net(rows, columns).view(len(users), n_items).cpu().numpy()
        return scores

    finish(folder, seconds, best_ten(scores_of, seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
