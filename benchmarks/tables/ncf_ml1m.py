"""MovieLens-1M in the split of the authors of NCF, among their candidates and in the full ranking."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import settings
from benchmarks.choose import Validation, best_of, fitted, on, sampled_or_not
from benchmarks.ncf_files import NCFData, find_folder, read
from benchmarks.table import Measure, Row, Table
from recsys_lib import Interactions, mx
from recsys_lib.errors import DataError
from recsys_lib.models import BPR, EASE, GMF, IALS, MLP, ItemKNN, LogisticMF, NeuMF, Popularity
from recsys_lib.models.base import Recommender
from recsys_lib.splits import Split

SAMPLED = ("hit_rate@10 (100)", "ndcg@10 (100)")
FULL = ("hit_rate@10", "ndcg@10")
# Test item and others, in the validation as in the test files.
CANDIDATES = 100
# Rows of train and of test, and items, as published: a file that was cut short has fewer.
SIZES = (994_169, 6_040, 3_706)
EASE_GRID = (100.0, 200.0, 500.0, 800.0, 1320.0, 2500.0, 4000.0)
KNN_GRID: list[dict[str, Any]] = [
    {"similarity": similarity, "neighbours": neighbours}
    for similarity in ("cosine", "tfidf", "bm25")
    for neighbours in (25, 50, 100)
]

DACREMA = "Ferrari Dacrema et al. (2021), tuned by them for these files and the 100 candidates."
NCF = "He et al. (2017), on these files."
RENDLE = "Rendle et al. (2020), on these files; trained by plain SGD, mean of 8 runs."
IALS_64 = "Rendle et al. (2021), on these files."
IALS_192 = "A notebook of the irspack library, with the setting of Rendle et al. (2021) for these files."
HE_MLP = "He et al. (2017), MLP-3 on these files: three hidden layers."


def load(folder: Path | None) -> NCFData:
    """Read the files and check that they are whole.

    Raises
    ------
    DataError
        If they are missing, or are not as long as published.
    """
    place = find_folder(folder)
    data = read(place)
    found = (len(data.split.train), len(data.split.test), data.split.train.n_items)
    if found != SIZES:
        words = "{:,} rows of train, {:,} of test and {:,} items"
        raise DataError(
            f"the files in {place} hold {words.format(*found)}, and the published ones "
            f"{words.format(*SIZES)}. They are damaged or another data set: fetch them again."
        )
    return data


def validations(data: NCFData, n: int = 1) -> list[Validation]:
    """Hide one random train interaction of each user, as the paper says, ``n`` times anew.

    The hidden item is ranked against 99 items that the user does not have in train, drawn at random.
    """
    return [Validation(_hide_one(data.split.train, seed), CANDIDATES - 1) for seed in range(n)]


def _hide_one(train: Interactions, seed: int) -> Split:
    numbers = np.random.RandomState(seed).rand(len(train))
    by_user = np.lexsort((numbers, train.users))
    users = train.users[by_user]
    last = np.append(users[1:] != users[:-1], True)
    # A user with a single row keeps it.
    last &= train.user_counts()[users] > 1
    hidden = np.zeros(len(train), dtype=bool)
    hidden[by_user[last]] = True
    return Split(
        f"one random train row of each user, seed {seed}", train.select(~hidden), None, train.select(hidden)
    )


def _published(hit_rate: float, ndcg: float) -> dict[str, float]:
    return dict(zip(SAMPLED, (hit_rate, ndcg), strict=True))


def _rows(folder: Path | None) -> list[Row]:
    data = load(folder)
    sampled = validations(data)
    full = [Validation(validation.split) for validation in sampled]

    def values(model: Recommender) -> dict[str, float]:
        metrics = ("hit_rate", "ndcg")
        few = sampled_or_not(model, data.split, data.candidates, metrics)
        everything = sampled_or_not(model, data.split, None, metrics)
        return {f"{name} (100)": few[name] for name in FULL} | {name: everything[name] for name in FULL}

    def ranking(make: Callable[[int], Recommender]) -> Measure:
        return fitted(on(data.split.train, make), values)

    def with_seed(family: Callable[..., Recommender], chosen: dict[str, Any]) -> Measure:
        return ranking(lambda seed: family(seed=seed, **chosen))

    rows = [
        Row(
            model="Popularity",
            published=_published(0.4533, 0.2542),
            remark=DACREMA,
            measure=ranking(lambda seed: Popularity()),
            seeded=False,
        ),
        Row(
            model="ItemKNN",
            published=_published(0.6694, 0.3979),
            remark=DACREMA,
            measure=ranking(lambda seed: best_of([ItemKNN(**knn) for knn in KNN_GRID], sampled)),
            seeded=False,
        ),
        Row(
            model="EASE (l2=1320)",
            published=_published(0.7192, 0.4494),
            remark=DACREMA,
            measure=ranking(lambda seed: EASE(l2=1320.0)),
            seeded=False,
        ),
        Row(
            model="EASE (l2 for 100)",
            measure=ranking(lambda seed: best_of([EASE(l2=l2) for l2 in EASE_GRID], sampled)),
            seeded=False,
        ),
        Row(
            model="EASE (l2 for all)",
            measure=ranking(lambda seed: best_of([EASE(l2=l2) for l2 in EASE_GRID], full)),
            seeded=False,
        ),
        Row(
            model="iALS, 64 factors",
            published=_published(0.722, 0.445),
            remark=IALS_64,
            measure=with_seed(IALS, settings.IALS_NCF_ML1M_64),
        ),
        Row(
            model="iALS, 192 factors",
            published=_published(0.7310, 0.4521),
            remark=IALS_192,
            measure=with_seed(IALS, settings.IALS_NCF_ML1M_192),
        ),
        Row(
            model="LogisticMF, 192 factors",
            published=_published(0.7294, 0.4523),
            remark=RENDLE,
            measure=with_seed(LogisticMF, settings.LOGISTIC_MF_NCF),
        ),
        Row(
            model="BPR",
            published=_published(0.6305, 0.3730),
            remark=DACREMA,
            measure=with_seed(BPR, settings.BPR_NCF),
        ),
        Row(model="GMF, 8 factors", measure=with_seed(GMF, settings.GMF_8_NCF)),
        Row(
            model="MLP, 8 factors",
            published=_published(0.671, 0.399),
            remark=HE_MLP,
            measure=with_seed(MLP, settings.MLP_8_NCF),
        ),
        Row(
            model="MLP, 64 factors",
            published=_published(0.702, 0.426),
            remark=HE_MLP,
            measure=with_seed(MLP, settings.MLP_64_NCF),
        ),
        Row(
            model="NeuMF, 8 factors",
            published=_published(0.688, 0.410),
            remark=NCF,
            measure=with_seed(NeuMF, settings.NEUMF_8_NCF),
        ),
        Row(
            model="NeuMF, 64 factors",
            published=_published(0.705, 0.426),
            remark=NCF,
            measure=with_seed(NeuMF, settings.NEUMF_64_NCF),
        ),
        Row(
            model="NeuMF, 64, pre-trained",
            published=_published(0.730, 0.447),
            remark=NCF,
            measure=with_seed(NeuMF, settings.NEUMF_64_PRETRAINED_NCF),
        ),
        Row(
            model="NeuMF, 64, re-measured",
            published=_published(0.7093, 0.4349),
            remark=DACREMA,
        ),
        Row(
            model="SLIM",
            published=_published(0.7162, 0.4468),
            remark=DACREMA,
        ),
    ]
    if mx.is_available():
        fit = functools.partial(_fit_mxnet, data.split.train)
        rows.append(
            Row(
                model="NeuMF, 8 factors, MXNet",
                published=_published(0.688, 0.410),
                remark=NCF,
                measure=fitted(fit, values),
            )
        )
    return rows


def _fit_mxnet(train: Interactions, seed: int) -> tuple[Recommender, float]:
    """Train NeuMF in MXNet; return it as a model of ours, and the seconds."""
    chosen = dict(settings.NEUMF_8_NCF)
    # MXNet counts the negatives as rows of a batch.
    negatives = chosen.pop("negatives")
    size = chosen.pop("batch_size") * (1 + negatives)
    batches = mx.SparseNegSampleIter(train, batch_size=size, num_negatives=negatives, seed=seed)
    net = mx.NeuMF(
        batches.user_vocab_sizes,
        batches.item_vocab_sizes,
        chosen.pop("factors"),
        embedding_dim=chosen.pop("embedding_dim"),
        output_bias=-math.log(negatives),
        init_std=chosen.pop("init_std"),
    )
    started = time.perf_counter()
    mx.fit(net, batches, seed=seed, **chosen)
    return mx.to_recommender(net, batches), time.perf_counter() - started


TABLE = Table(
    name="ncf-ml1m",
    title="Ranking on MovieLens-1M, the split of the authors of neural collaborative filtering",
    source="He et al. (2017), WWW, and those who measured on the same files again: see the notes",
    protocol=(
        "every rating is an interaction; the latest of each user is the test part. (100): the test item is\n"
        "ranked against the 99 items in the authors' files; 156 of these are the test item itself and left\n"
        "out. Without (100): all 3,706 items are ranked, except those that the user has in train; nothing\n"
        "was published for that. The two order models differently (Krichene and Rendle 2020): a test item\n"
        "at place 100 of all items is among the first 10 of 100 drawn at random. Settings are chosen by\n"
        "nDCG@10 on one hidden train interaction of each user and 99 items drawn at random, or for\n"
        '"l2 for all" by the full ranking.'
    ),
    metrics=(*SAMPLED, *FULL),
    rows=_rows,
    split="the latest row of each user",
    candidates=(
        "marked (100): the test item and the 99 in the authors' files; "
        "else all 3,706 items, except those that the user has in train"
    ),
    cutoff="10",
)
