"""The state a model is exported in, and back to how it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from keras_sparse.messages.arguments import instance

_REDUCED = ("float16", "bfloat16")

QUANTIZED_CURE = (
    "Export the model as it was before `quantize` and let the converter quantize it, "
    "convolutions too: `to_litert(model, path, quantize='dynamic')` or 'int8'. Or, where Keras "
    "can, quantize the weights alone: "
    "`model.quantize(config=keras.quantizers.Int8QuantizationConfig("
    "keras.quantizers.AbsMaxQuantizer(axis=0), None))`."
)


def check_model(model: keras.Model, target: str = "LiteRT") -> None:
    """Refuses a model that cannot be exported as it stands.

    Args:
        model: What the user passed.
        target: What it is exported to.

    Raises:
        ValueError: If it is no Keras model, is not built, carries state from batch to batch, or
            keeps its weights in another type than float32; or if Keras does not run on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{target} export needs Keras's TensorFlow backend, but Keras runs on "
            f"{keras.backend.backend()!r}. Save the model with `model.save('model.keras')`, start "
            "Python with the environment variable KERAS_BACKEND=tensorflow, load it with "
            "`keras.saving.load_model` and export it there."
        )
    instance("model", model, keras.Model, "a keras.Model")
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} is not built: its weights do not exist yet. Give it a "
            "`keras.Input`, or call it once on a batch, or train it, and then export it."
        )
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"Layer {layer.name!r} is stateful: it carries state from one batch to the next, "
                f"which a file of {target} would do differently. Rebuild the model with "
                "stateful=False and copy the weights with `set_weights`."
            )
    for variable in model.weights:
        if variable.dtype in (*_REDUCED, "float64"):
            raise ValueError(
                f"Weight {variable.path!r} is {variable.dtype}, but {target} export takes float32 "
                "weights. Rebuild the model under `keras.config.set_dtype_policy('float32')` (or "
                "'mixed_float16', which keeps float32 weights) and copy the weights with "
                "`set_weights`."
            )


@contextlib.contextmanager
def float32_inference(model: keras.Model) -> Iterator[None]:
    """Lets a model compute in float32 for a while, and leaves it exactly as it was.

    LiteRT has no float16 kernels for most layers, and a mixed-precision model's weights are float32
    anyway, so the file and the Keras outputs it is compared with both compute in float32.
    Some layers also advance a seed when they are called, even for inference: what has changed
    among the non-trainable variables is put back.

    Args:
        model: The model.

    Raises:
        ValueError: If a layer's reduced precision cannot be lifted.
    """
    reduced = [layer for layer in model._flatten_layers() if layer.compute_dtype in _REDUCED]
    for layer in reduced:
        policy = layer.dtype_policy
        if policy.quantization_mode:
            raise ValueError(
                f"Layer {layer.name!r} is quantized under {policy!r}, for which LiteRT has no "
                f"kernels. {QUANTIZED_CURE}"
            )
        if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
            raise ValueError(
                f"Layer {layer.name!r} computes in {layer.compute_dtype} under {policy!r}, which "
                "cannot be exported. Rebuild the model under the 'float32' or 'mixed_float16' "
                "policy and copy the weights with `set_weights`."
            )
    policies = [layer.dtype_policy for layer in reduced]
    state = [(v, v.numpy()) for v in model.non_trainable_variables]
    try:
        for layer in reduced:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in zip(reduced, policies, strict=True):
            layer.dtype_policy = policy
        for variable, before in state:
            if not np.array_equal(variable.numpy(), before):
                variable.assign(before)
