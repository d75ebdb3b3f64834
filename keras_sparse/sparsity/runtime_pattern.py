"""The pattern that a runtime computes faster, layer by layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from keras_sparse.messages.arguments import boolean, one_of
from keras_sparse.probe.layout import Layout
from keras_sparse.probe.runtime.keras_graph import keras_runtime_graph
from keras_sparse.probe.runtime.verdicts import RUNTIMES, verdicts
from keras_sparse.sparsity.granularity import Block, Granularity, Unstructured


@keras.saving.register_keras_serializable("keras_sparse")
@dataclasses.dataclass(frozen=True, eq=False)
class RuntimePattern(Granularity):
    """Prunes each layer in the pattern that a runtime computes faster, and no other layer.

    1x1 convolutions that the runtime runs sparse lose single weights; Dense kernels lose blocks
    of (4, 1), or (16, 1) where they are going to be int8. All else stays dense, with the rule of
    `keras_sparse.deploy.eligibility` as the reason. `granularity="xnnpack"` is
    `RuntimePattern("xnnpack-arm")`.

    ```python
    ks.GMP(0.9, granularity="xnnpack")
    ks.GMP(0.9, granularity=ks.RuntimePattern("litert-builtin", int8=True))
    ```

    Args:
        runtime: A runtime of `keras_sparse.deploy.eligibility`.
        int8: Whether the model is going to be exported with weights of eight bits.

    Raises:
        ValueError: If the runtime is unknown. With a model: if it has no graph of layers, or
            nothing in it would be faster.
    """

    runtime: str = "xnnpack-arm"
    int8: bool = False

    def __post_init__(self) -> None:
        one_of("runtime", self.runtime, RUNTIMES)
        boolean("int8", self.int8)

    def leaves_dense(self, model: keras.Model) -> dict[str, str]:
        """The rule and the cure for each weight whose zeros would save no time."""
        graph = keras_runtime_graph(model).without_zeros()
        return {
            row.weight: f"{row.rule}. {row.cure}"
            for row in verdicts(graph, self.runtime, self.int8)
            if not row.fast
        }

    def unfit(self, layout: Layout) -> str | None:
        """Why no runtime has a kernel for a weight of this layout."""
        return None if _is_fast(layout) else "it is neither a matrix nor of a 1x1 convolution"

    def of(self, layout: Layout) -> Granularity:
        """Blocks for a matrix, single weights for a convolution's kernel."""
        matrix = len(layout.shape) == 2
        return Block(16 if self.int8 else 4, 1) if matrix else Unstructured()

    def costs(self, layout: Layout) -> Any:
        """Weights of a unit: one, or those of a block."""
        return self.of(layout).costs(layout)

    def pool(self, scores: Any, layout: Layout) -> Any:
        """Scores of single weights, or mean scores of blocks."""
        return self.of(layout).pool(scores, layout)

    def expand(self, units: Any, layout: Layout) -> Any:
        """The mask of single weights or of blocks."""
        return self.of(layout).expand(units, layout)


def _is_fast(layout: Layout) -> bool:
    positions, inputs, _ = layout.matrix_shape
    return positions == 1 and inputs > 1 and len(layout.shape) in (2, 4)
