"""Low precision that lives in a layer, for training loops of one's own and for saved files."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.layers.wrapping import copied
from keras_sparse.messages.arguments import instance
from keras_sparse.precision.fitting import low_precision
from keras_sparse.precision.force import Bits, Precision, Range, Site
from keras_sparse.precision.layers.products import ONE_PRODUCT
from keras_sparse.precision.layers.swapping import swapped
from keras_sparse.precision.quantizers import Quantization
from keras_sparse.precision.schedules.base import bit_width
from keras_sparse.probe.convolutions import SEPARABLE


@keras.saving.register_keras_serializable(package="keras_sparse")
class LowPrecision(keras.layers.Wrapper):
    """A layer that computes in low precision, in training and at inference, saved so.

    `PrecisionScheduler` needs no wrapper. This one is for training loops of one's own, and for
    those who want the quantizer in the model's file (which then needs this package to load;
    `strip_precision` gives a plain model). In training it takes the range of each batch and keeps
    a running one, which serves inference.

    ```python
    layer = ks.LowPrecision(keras.layers.Dense(64), bits=8)
    layer.build((None, 32))
    layer.set_bits(4)
    ```

    Args:
        layer: A dense layer or convolution.
        bits: Bits of the forward pass at first; `set_bits` changes them at any time.
        backward_bits: Bits of the gradient.
        quantizer: `"affine"`, or `"symmetric"`, which keeps zeros zero.
        weights: What of a weight shares a range: `"channel"`, `"tensor"` or `"row"`.
        activations: `"tensor"`, or `"row"` for each vector along the last axis.
        seed: Seed of stochastic rounding.
        **kwargs: As of any layer. The name defaults to `"low_precision_"` and that of the layer.

    Raises:
        ValueError: If an argument is out of range or the layer is of another kind.

    Source: Wolfe (2023), section 6.4.1 and Figure 15.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        bits: int = 8,
        backward_bits: int = 8,
        *,
        quantizer: str = "affine",
        weights: str = "channel",
        activations: str = "tensor",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        kinds = (*ONE_PRODUCT, *SEPARABLE)
        instance("layer", layer, kinds, "a dense layer or convolution")
        self.first_bits = bit_width("bits", bits)
        self.backward_bits = bit_width("backward_bits", backward_bits)
        how = Quantization(quantizer, weights, activations, seed=seed)
        how.check_bits(self.first_bits)
        kwargs.setdefault("name", f"low_precision_{layer.name}")
        super().__init__(layer, **kwargs)
        self._precision = Precision(how, None)

    def build(self, input_shape: Any = None) -> None:
        """Builds the layer, and makes its bits and running ranges."""
        super().build(input_shape)
        self.bits = self._state("bits", float(self.first_bits))
        self.steps = self._state("steps", 0.0)
        products = 2 if isinstance(self.layer, SEPARABLE) else 1
        self.ranges = [self._state(f"range{i}", 0.0, (3,)) for i in range(products)]
        sites = [Site(self._precision, i, Range(r)) for i, r in enumerate(self.ranges)]
        self._sites = tuple(sites)

    def _state(self, name: str, value: float, shape: tuple[int, ...] = ()) -> Any:
        return self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(value),
            dtype="float32",
            trainable=False,
            autocast=False,
            name=name,
        )

    def set_bits(self, bits: int) -> None:
        """Sets the bits of the forward pass. Not to be called in a compiled step.

        Args:
            bits: An integer from 1 to 32.

        Raises:
            ValueError: If the layer is not built or the bits are out of range.
        """
        self._precision.quantization.check_bits(bit_width("bits", bits))
        if not self.built:
            raise ValueError(f"LowPrecision {self.name!r} is not built. Call it on a batch before.")
        self.bits.assign(float(bits))

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """Calls the layer, whose input, weights and gradient are rounded."""
        step = None
        if training:
            step = ops.cast(ops.convert_to_tensor(self.steps), "int32")
            self.steps.assign(self.steps + 1.0)
        bits = Bits(ops.copy(ops.convert_to_tensor(self.bits)), self.backward_bits, step)
        values = low_precision(self.layer, list(self._sites))
        with self._precision.inside(bits), swapped(self.layer, values):
            return self.layer(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def strip(self) -> keras.layers.Layer:
        """The plain layer, with its weights as they are learned, in float."""
        return self.layer

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        how = self._precision.quantization
        return {
            **super().get_config(),
            "bits": self.first_bits,
            "backward_bits": self.backward_bits,
            "quantizer": how.quantizer,
            "weights": how.weights,
            "activations": how.activations,
            "seed": how.seed,
        }


def strip_precision(model: keras.Model) -> keras.Model:
    """A copy of a model without its `LowPrecision` wrappers, which computes in float.

    ```python
    keras_model = ks.strip_precision(model)
    ```

    Args:
        model: A functional or sequential model, nested ones included.

    Returns:
        A new model, plain Keras; compiled if the model is, with an optimizer of its own.

    Raises:
        ValueError: If the model is of another kind.
    """
    instance("model", model, keras.Model, "a keras.Model")
    return copied(model, lambda _, copy: copy, "strip_precision", LowPrecision)
