"""The network of prog-eval as PyTorch's own modules give it: ``python bottleneck_plain.py FOLDER``.

A data loader over people, an embedding bag, a dense table of targets, binary cross-entropy, Adam.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

sys.path.insert(0, str(Path(__file__).parent))
from common import finish, read


class Net(nn.Module):
    """Summed vectors, two layers, a logit for each item."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.items = nn.EmbeddingBag(n_items, 800, mode="sum", include_last_offset=True)
        nn.init.normal_(self.items.weight, 0, 0.01)
        self.bias = nn.Parameter(torch.zeros(800))
        self.rest = nn.Sequential(
            *(nn.ReLU(), nn.BatchNorm1d(800), nn.Dropout(0.5), nn.Linear(800, 400)),
            *(nn.ReLU(), nn.BatchNorm1d(400), nn.Dropout(0.5), nn.Linear(400, n_items)),
        )
        nn.init.constant_(self.rest[-1].bias, -10.0)

    def forward(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Score all items -> (b, n_items)."""
        scores: Tensor = self.rest(self.items(items, offsets) + self.bias)
        return scores


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, data = read(folder)
    torch.manual_seed(settings["seed"])
    indptr, items = torch.from_numpy(data["indptr"]).long(), torch.from_numpy(data["items"]).long()
    n_users, n_items = len(indptr) - 1, int(data["n_items"])

    def together(users: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        lists = [items[indptr[user] : indptr[user + 1]] for user in users]
        offsets = torch.tensor([0, *(len(one) for one in lists)]).cumsum(0)
        target = torch.zeros(len(users), n_items)
        for row, one in enumerate(lists):
            target[row, one] = 1
        return torch.cat(lists), offsets, target

    def loader(shuffle: bool) -> torch.utils.data.DataLoader:
        people = range(n_users)
        return torch.utils.data.DataLoader(
            people,  # type: ignore[arg-type]
            batch_size=settings["batch_size"],
            shuffle=shuffle,
            collate_fn=together,
        )

    device = torch.device("cuda" if settings["device"] == "cuda" else "cpu")
    net = Net(n_items).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=settings["learning_rate"])
    seconds = []
    for _ in range(settings["epochs"]):
        started = time.perf_counter()
        for batch in loader(shuffle=True):
            some, offsets, target = (part.to(device) for part in batch)
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(net(some, offsets), target).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    net.eval()
    found = []
    with torch.no_grad():
        for batch in loader(shuffle=False):
            some, offsets, target = (part.to(device) for part in batch)
            scores = net(some, offsets).masked_fill(target > 0, -torch.inf)
            found.append(scores.topk(10).indices.cpu().numpy())
    finish(folder, seconds, np.concatenate(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
