"""Two workers of Ray Train do what one process does."""

import numpy as np
import torch

from app.recipe import LightGCN, SASRec
from app.recommenders.factors import bpr_loop
from app.recommenders.sasrec import loop_arrays, sasrec_loop
from app.recommenders.training import run_distributed
from tests.recommenders.conftest import clusters


def test_splitting_the_dimension_equals_one_process(ray_here: None) -> None:
    """5 columns on 2 workers: the odd column out, the sum of partial scores and the gathering are all
    exercised.
    """
    taken = clusters().matrix
    arrays = {"indptr": taken.indptr, "indices": taken.indices, "weights": taken.data.astype(np.float32)}
    section = LightGCN(dim=5, epochs=3, lr=0.01, batch=50)
    settings = section.model_dump() | {"name": "lightgcn", "shape": taken.shape, "seed": 1}
    alone = bpr_loop(arrays, settings, torch.device("cpu"))
    together = run_distributed(bpr_loop, arrays, settings, n_workers=2, use_gpu=False)
    np.testing.assert_allclose(together["embeddings"], alone["embeddings"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(together["losses"], alone["losses"], rtol=1e-5)


def test_two_sasrec_workers_make_the_gradient_of_one(ray_here: None) -> None:
    train_set = clusters()
    arrays = loop_arrays(train_set)
    section = SASRec(dim=8, epochs=2, batch=9, dropout=0.0, max_length=6, layers=1)
    settings = section.model_dump() | {"n_items": 24, "seed": 1}
    alone = sasrec_loop(arrays, settings, torch.device("cpu"))
    together = run_distributed(sasrec_loop, arrays, settings, n_workers=2, use_gpu=False)
    np.testing.assert_allclose(together["losses"], alone["losses"], rtol=1e-4)
    for weights in alone.keys() - {"losses", "seconds_per_epoch"}:
        np.testing.assert_allclose(together[weights], alone[weights], rtol=1e-2, atol=1e-3, err_msg=weights)
