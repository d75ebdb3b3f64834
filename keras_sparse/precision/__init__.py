"""Training in low precision: fewer bits for a part of the steps, simulated.

The arithmetic is floating point throughout; what is saved is counted, not timed.
"""

from keras_sparse.precision.choice import PrecisionReport
from keras_sparse.precision.cost import BitOps, aggregation_macs, bitops
from keras_sparse.precision.critical_period import PeriodResult, critical_period_sweep
from keras_sparse.precision.range_test import PrecisionRange
from keras_sparse.precision.schedules.base import PrecisionSchedule
from keras_sparse.precision.schedules.constant import ConstantPrecision
from keras_sparse.precision.schedules.cyclic import CyclicPrecision, cpt_suite
from keras_sparse.precision.schedules.deficit import DeficitPrecision
from keras_sparse.precision.schedules.delayed import DelayedPrecision
from keras_sparse.precision.schedules.staircase import StepPrecision

__all__ = [
    "BitOps",
    "ConstantPrecision",
    "CyclicPrecision",
    "DeficitPrecision",
    "DelayedPrecision",
    "PeriodResult",
    "PrecisionRange",
    "PrecisionReport",
    "PrecisionSchedule",
    "StepPrecision",
    "aggregation_macs",
    "bitops",
    "cpt_suite",
    "critical_period_sweep",
]
