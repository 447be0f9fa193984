"""The settings of the rows whose models take long to fit, all chosen on data cut from train.

How they were found: ``python -m benchmarks.search_trained --help``, and ``benchmarks.search_ials`` for iALS.
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
# Found for recbole-ml100k, and taken over. Fine-tuned with Adam, the mean of the two parts gets worse.
NEUMF_MS: Settings = {
    "factors": 64,
    "epochs": 1,
    "l2": 0.014,
    "learning_rate": 1e-2,
    "optimizer": "sgd",
    "schedule": "linear",
    "init_std": 0.05,
    "dropout": 0.3,
    "pretrain_epochs": 20,
    "pretrain_learning_rate": 1e-2,
    "pretrain_alpha": 0.7,
}

MULT_DAE_MS: Settings = {
    "layers": (200,),
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "noise": 0.7,
    "dropout": 0.5,
}
# Found for recbole-ml100k, and taken over.
MULT_VAE_MS: Settings = {
    "layers": (600,),
    "factors": 128,
    "epochs": 60,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "schedule": "linear",
    "kl_weight": 0.2,
}
REC_VAE_MS: Settings = {
    "width": 200,
    "factors": 128,
    "epochs": 50,
    "batch_size": 128,
    "kl_weight": 0.01,
}

# ---------------------------------------------------------------------- recbole-ml100k

IALS_RECBOLE_ML100K: Settings = {"factors": 64, "epochs": 16, "unobserved_weight": 0.6, "l2": 0.01}
BPR_RECBOLE: Settings = BPR_MS | {"l2": 0.015}
LOGISTIC_MF_RECBOLE: Settings = LOGISTIC_MF_MS
NEUMF_RECBOLE: Settings = NEUMF_MS
MULT_DAE_RECBOLE: Settings = MULT_DAE_MS
MULT_VAE_RECBOLE: Settings = MULT_VAE_MS
REC_VAE_RECBOLE: Settings = REC_VAE_MS

# ---------------------------------------------------------------------- ncf-ml1m

IALS_NCF_ML1M_64: Settings = {"factors": 64, "epochs": 16, "unobserved_weight": 0.2, "l2": 0.007}
# The search ends at the setting of Rendle et al. (2022).
IALS_NCF_ML1M_192: Settings = {"factors": 192, "epochs": 12, "unobserved_weight": 0.3, "l2": 0.007}
BPR_NCF: Settings = {"factors": 64, "epochs": 60, "batch_size": 4096}
# The model of Rendle et al. (2020), but with Adam and batches in place of plain SGD.
LOGISTIC_MF_NCF: Settings = {
    "factors": 192,
    "epochs": 30,
    "negatives": 8,
    "l2": 0.003,
    "batch_size": 4096,
    "learning_rate": 3e-3,
    "schedule": "linear",
}
# He et al. (2017): four negatives, Adam, and no penalty.
GMF_8_NCF: Settings = {
    "factors": 8,
    "epochs": 20,
    "batch_size": 4096,
    "learning_rate": 5e-3,
    "schedule": "linear",
    "init_std": 0.1,
}
# With vectors as long as in the weights that the authors published; those of 16 end .015 lower.
MLP_8_NCF: Settings = {
    "factors": 8,
    "embedding_dim": 32,
    "epochs": 20,
    "batch_size": 1024,
    "learning_rate": 2e-3,
    "schedule": "linear",
    "init_std": 0.05,
}
MLP_64_NCF: Settings = {
    "factors": 64,
    "epochs": 15,
    "batch_size": 1024,
    "learning_rate": 2e-3,
    "schedule": "linear",
    "init_std": 0.05,
    "l2": 0.003,
    "dropout": 0.2,
}
NEUMF_64_NCF: Settings = MLP_64_NCF | {"epochs": 10}
# He et al. (2017) go on with plain SGD, which hardly moves the mean of the two. Adam makes it worse here:
# after an epoch from .592 on the hidden items to .588 (rate 5e-5), or from .589 to .581 (5e-4).
NEUMF_64_PRETRAINED_NCF: Settings = MLP_64_NCF | {
    "epochs": 1,
    "learning_rate": 1e-2,
    "optimizer": "sgd",
    "pretrain_epochs": 15,
    "pretrain_learning_rate": 2e-3,
    "pretrain_alpha": 0.7,
}
# The same in PyTorch and in MXNet, whose fit has neither penalty nor dropout nor a falling rate.
NEUMF_8_NCF: Settings = {
    "factors": 8,
    "embedding_dim": 32,
    "epochs": 10,
    "negatives": 4,
    "batch_size": 1024,
    "learning_rate": 1e-3,
    "init_std": 0.05,
}

# ---------------------------------------------------------------------- prog-eval

_IALS_1M: Settings = {"factors": 64, "epochs": 16, "unobserved_weight": 0.2, "l2": 0.007}
IALS_PROG_EVAL: dict[str, Settings] = {"10M": _IALS_1M, "1M": _IALS_1M, "100K": IALS_MS_ML100K}

# ---------------------------------------------------------------------- autorec

I_AUTOREC_100K: Settings = {"factors": 100, "epochs": 60, "l2": 1e-3}
U_AUTOREC_100K: Settings = {"kind": "user", "factors": 100, "epochs": 60, "l2": 1e-3}
BIASED_MF_1M: Settings = {"factors": 64, "l2": 0.06}
I_AUTOREC_1M: Settings = {"factors": 500, "epochs": 30, "l2": 1.5e-4, "schedule": "linear"}
U_AUTOREC_1M: Settings = {"kind": "user", "factors": 300, "epochs": 40, "l2": 3e-4}
