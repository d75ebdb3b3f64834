import keras
import numpy as np
from keras import layers


def prune(model, sparsity, block=1):
    """Zeroes kernels by magnitude; `block` rows of a Dense kernel stand or fall together."""
    for layer in model._flatten_layers():
        for weight in layer._trainable_variables:
            if not weight.name.endswith(("kernel", "embeddings")):
                continue
            value = weight.numpy()
            rows = value.reshape(-1, block, value.shape[-1]) if block > 1 else value
            score = np.abs(rows).sum(1, keepdims=True) if block > 1 else np.abs(rows)
            kept = score > np.quantile(score, sparsity)
            weight.assign((rows * kept).reshape(value.shape))
    return model


def lenet():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ],
        name="lenet",
    )


def perceptron(inputs=64, units=64):
    return keras.Sequential(
        [keras.Input((inputs,)), layers.Dense(units, activation="relu"), layers.Dense(8)],
        name="perceptron",
    )


def interpret(path, inputs, default_delegates=True):
    """Runs a file row by row, independently of the code under test."""
    import tensorflow as tf

    kinds = tf.lite.experimental.OpResolverType
    kind = kinds.AUTO if default_delegates else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for x in inputs:
        interpreter.set_tensor(source["index"], x[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target["index"])[0].copy())
    return np.stack(rows)


def operators(path):
    """The names of a file's operations."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    file = flatbuffer_utils.read_model(str(path))
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    return [
        names[file.operatorCodes[op.opcodeIndex].builtinCode]
        for graph in file.subgraphs
        for op in graph.operators
    ]
