"""The settings of the rows whose models take long to fit, all chosen on data cut from train.

How they were found: ``python -m benchmarks.search_sampled --help``, and ``benchmarks.search_ials`` for iALS.
"""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

# ---------------------------------------------------------------------- ms-ml100k

BPR_MS: Settings = {
    "factors": 128,
    "epochs": 30,
    "negatives": 4,
    "l2": 0.02,
    "learning_rate": 1e-2,
    "schedule": "linear",
}
LOGISTIC_MF_MS: Settings = {
    "factors": 64,
    "epochs": 20,
    "negatives": 4,
    "l2": 0.01,
    "learning_rate": 1e-2,
    "schedule": "linear",
}
IALS_MS_ML100K: Settings = {"factors": 64, "epochs": 16, "unobserved_weight": 0.45, "l2": 0.014}
NEUMF_MS: Settings = {
    "factors": 16,
    "epochs": 2,
    "l2": 0.014,
    "learning_rate": 1e-3,
    "schedule": "linear",
    "init_std": 0.05,
    "dropout": 0.3,
    "pretrain_epochs": 20,
    "pretrain_learning_rate": 1e-2,
}

# ---------------------------------------------------------------------- recbole-ml100k

IALS_RECBOLE_ML100K: Settings = {"factors": 64, "epochs": 16, "unobserved_weight": 0.6, "l2": 0.01}
BPR_RECBOLE: Settings = BPR_MS | {"l2": 0.015}
LOGISTIC_MF_RECBOLE: Settings = LOGISTIC_MF_MS
NEUMF_RECBOLE: Settings = NEUMF_MS | {"epochs": 4}

# ---------------------------------------------------------------------- ncf-ml1m

IALS_NCF_ML1M_64: Settings = {"factors": 64, "epochs": 16, "unobserved_weight": 0.2, "l2": 0.007}
# The search ends at the setting of Rendle et al. (2022).
IALS_NCF_ML1M_192: Settings = {"factors": 192, "epochs": 12, "unobserved_weight": 0.3, "l2": 0.007}
BPR_NCF: Settings = {"factors": 64, "epochs": 60, "batch_size": 4096}
# The setting of Rendle et al. (2020) for 192 factors, but with Adam and batches in place of plain SGD.
LOGISTIC_MF_NCF: Settings = {"factors": 192, "epochs": 60, "negatives": 8, "l2": 0.005, "batch_size": 4096}
# He et al. (2017): four negatives, batches of 256 to 1024, Adam.
GMF_8_NCF: Settings = {"factors": 8, "epochs": 20, "negatives": 4, "batch_size": 1024}
MLP_8_NCF: Settings = {"factors": 8, "epochs": 20, "negatives": 4, "batch_size": 1024}
MLP_64_NCF: Settings = {"factors": 64, "epochs": 20, "negatives": 4, "batch_size": 1024}
NEUMF_64_NCF: Settings = {"factors": 64, "epochs": 20, "negatives": 4, "batch_size": 1024}
NEUMF_64_PRETRAINED_NCF: Settings = {
    "factors": 64,
    "epochs": 10,
    "negatives": 4,
    "batch_size": 1024,
    "optimizer": "sgd",
    "learning_rate": 1e-3,
    "pretrain_epochs": 20,
    "pretrain_learning_rate": 1e-3,
    "pretrain_alpha": 0.5,
}
NEUMF_64_MXNET_NCF: Settings = {"factors": 64, "epochs": 20, "negatives": 4, "batch_size": 1024}
