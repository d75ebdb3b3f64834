"""What prunes and compresses trained models.

A name here is public: `keras_sparse` takes them over, and the documentation has a page of each.
"""

from keras_sparse.posttrain.adaprune import adaprune, global_adaprune
from keras_sparse.posttrain.compress import compress
from keras_sparse.posttrain.mfac import mfac
from keras_sparse.posttrain.obc import obc
from keras_sparse.posttrain.obd import obd
from keras_sparse.posttrain.obs import obs
from keras_sparse.posttrain.prune import prune
from keras_sparse.posttrain.prune_to import PruneToResult, prune_to
from keras_sparse.posttrain.sensitivity import Sensitivity, sensitivity
from keras_sparse.posttrain.sparsegpt import sparsegpt
from keras_sparse.posttrain.sweep import OneShotSweep, one_shot_sweep
from keras_sparse.posttrain.wanda import wanda
from keras_sparse.posttrain.woodfisher import woodfisher

__all__ = [
    "OneShotSweep",
    "PruneToResult",
    "Sensitivity",
    "adaprune",
    "compress",
    "global_adaprune",
    "mfac",
    "obc",
    "obd",
    "obs",
    "one_shot_sweep",
    "prune",
    "prune_to",
    "sensitivity",
    "sparsegpt",
    "wanda",
    "woodfisher",
]
