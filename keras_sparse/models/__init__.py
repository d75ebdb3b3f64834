"""Reference networks of the sources, and networks that sparse runtimes speed up."""

from keras_sparse.models.networks import (
    get,
    lenet5_caffe,
    lenet_300_100,
    mobilenet,
    names,
    resnet20,
)

__all__ = ["get", "lenet5_caffe", "lenet_300_100", "mobilenet", "names", "resnet20"]
