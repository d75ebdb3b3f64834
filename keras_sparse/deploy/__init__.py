"""Export of trained sparse models to devices, verified and measured."""

from keras_sparse.deploy.benchmark import Latency, LiteRTBenchmark, benchmark
from keras_sparse.deploy.compressed import CompressedReport, load_compressed, save_compressed
from keras_sparse.deploy.conversion import LiteRTConversionError
from keras_sparse.deploy.eligibility import Eligibility, eligibility
from keras_sparse.deploy.eligible import make_eligible
from keras_sparse.deploy.encoding import TensorEncoding
from keras_sparse.deploy.inspection import LiteRTInspection, StoredTensor, inspect
from keras_sparse.deploy.latency import LiteRTCost, litert_costs, litert_latency
from keras_sparse.deploy.litert import to_litert
from keras_sparse.deploy.onnx_conversion import ONNXConversionError
from keras_sparse.deploy.onnx_export import ONNXReport, ONNXTensor, ONNXVerificationError, to_onnx
from keras_sparse.deploy.report import LiteRTReport
from keras_sparse.deploy.verification import LiteRTVerificationError

__all__ = [
    "CompressedReport",
    "Eligibility",
    "Latency",
    "LiteRTBenchmark",
    "LiteRTConversionError",
    "LiteRTCost",
    "LiteRTInspection",
    "LiteRTReport",
    "LiteRTVerificationError",
    "ONNXConversionError",
    "ONNXReport",
    "ONNXTensor",
    "ONNXVerificationError",
    "StoredTensor",
    "TensorEncoding",
    "benchmark",
    "eligibility",
    "inspect",
    "litert_costs",
    "litert_latency",
    "load_compressed",
    "make_eligible",
    "save_compressed",
    "to_litert",
    "to_onnx",
]
