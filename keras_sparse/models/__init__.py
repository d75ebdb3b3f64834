"""Reference networks of the sources, and networks that sparse runtimes speed up."""

from keras_sparse.models.lenet import lenet5_caffe, lenet_300_100
from keras_sparse.models.mobile import mobilenet
from keras_sparse.models.networks import get, names
from keras_sparse.models.parts import set_batch_norm_momentum
from keras_sparse.models.resnet import resnet20

__all__ = [
    "get",
    "lenet5_caffe",
    "lenet_300_100",
    "mobilenet",
    "names",
    "resnet20",
    "set_batch_norm_momentum",
]
