"""Export of trained sparse models to devices, verified and measured."""

from keras_sparse.deploy.conversion import LiteRTConversionError
from keras_sparse.deploy.encoding import TensorEncoding
from keras_sparse.deploy.latency import LiteRTCost, litert_costs, litert_latency
from keras_sparse.deploy.litert import to_litert
from keras_sparse.deploy.report import LiteRTReport
from keras_sparse.deploy.verification import LiteRTVerificationError

__all__ = [
    "LiteRTConversionError",
    "LiteRTCost",
    "LiteRTReport",
    "LiteRTVerificationError",
    "TensorEncoding",
    "litert_costs",
    "litert_latency",
    "to_litert",
]
