"""What a user can call, what each argument of it may be, and what it may not be."""

import functools
import inspect
import math
import re
import types
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.analysis.bounds import (
    convergence,
    fits,
    grow_and_prune,
    hull,
    i_spasp,
    pretraining,
    pruning_rate,
    robust_loss,
    streaming,
)
from keras_sparse.distribute.communicator import alone
from keras_sparse.engine.rule import Rule

ROOMS = {
    "": ks,
    "data.": ks.data,
    "models.": ks.models,
    "plots.": ks.plots,
    "deploy.": ks.deploy,
    "distribute.": ks.distribute,
    "streaming.": ks.streaming,
    "structured.": ks.structured,
    "migrate.": ks.migrate,
    "precision.": ks.precision,
    "scaling.": ks.scaling,
    "transfer.": ks.transfer,
    "tuning.": ks.tuning,
}
BOUNDS = (
    convergence,
    fits,
    grow_and_prune,
    hull,
    i_spasp,
    pretraining,
    pruning_rate,
    robust_loss,
    streaming,
)

# What the package makes and hands out, and what a method's author derives from.
NOT_CALLED_BY_USERS = {
    "Clock": "the engine makes it",
    "Moment": "the engine makes it",
    "Tensors": "the engine makes it",
    "Update": "a rule makes it in the compiled graph, of tensors",
    "Rule": "has no arguments; derived from",
    "ScheduledMasks": "arrays of a plan that a callback has made of checked arguments",
    "IsometryReport": "enforce_isometry makes it",
    "MeanField": "mean_field_gain makes it",
    "Sculpture": "sculpt makes it",
    "SignalReport": "signal_report makes it",
    "AgreementReport": "agreement_report makes it",
    "RandomLabels": "inject_random_labels makes it",
    "LotteryTicket": "iterative_magnitude_pruning makes it",
    "OneShotSweep": "one_shot_sweep makes it",
    "PruneToResult": "prune_to makes it",
    "Sensitivity": "sensitivity makes it",
    "SparsityReport": "report makes it",
    "SparsityWarning": "a warning",
    "data.Dataset": "load makes it",
    "deploy.CompressedReport": "save_compressed makes it",
    "deploy.Eligibility": "eligibility makes it",
    "deploy.Latency": "benchmark makes it",
    "deploy.LiteRTBenchmark": "benchmark makes it",
    "deploy.LiteRTCost": "litert_costs makes it",
    "deploy.LiteRTInspection": "inspect makes it",
    "deploy.LiteRTReport": "to_litert makes it",
    "deploy.ONNXReport": "to_onnx makes it",
    "deploy.ONNXTensor": "to_onnx makes it",
    "deploy.StoredTensor": "inspect makes it",
    "deploy.TensorEncoding": "to_litert makes it",
    "distribute.Cluster": "read_cluster makes it",
    "migrate.Migrated": "from_tfmot makes it",
    "precision.BitOps": "bitops makes it",
    "precision.PeriodResult": "critical_period_sweep makes it",
    "precision.PrecisionRange": "precision_range_test makes it",
    "precision.PrecisionReport": "PrecisionScheduler makes it",
    "precision.PrecisionSchedule": "derived from",
    "structured.StructureReport": "report makes it",
    "transfer.Increase": "TransferComparison makes it",
    "transfer.LogisticRegression": "logistic_regression makes it",
    "transfer.MeanOverTasks": "mean_over_tasks makes it",
    "transfer.Outcome": "a row, which TransferComparison checks",
    "transfer.Recommendation": "recommend makes it",
    "transfer.Transfer": "full and linear make it",
    "bounds.Iterate": "cyclic_descent makes it",
    "bounds.RobustLoss": "robust_loss makes it",
    "scaling.GradientNoise": "gradient_noise makes it",
    "scaling.Interval": "fit_scaling makes it",
    "scaling.ScalingFit": "fit_scaling makes it",
    "scaling.Speedup": "speedups makes it",
    "tuning.StepsTable": "BatchSizeStudy makes it",
    "tuning.SweepResult": "a sweep makes it",
    "tuning.Trial": "a sweep makes it",
    "streaming.StreamHistory": "fit_stream makes it",
    "streaming.TestingEvent": "a test makes it",
    "structured.Cut": "cut makes it",
    "bounds.StreamingBound": "streaming_error_bound makes it",
    "structured.LayerwisePruning": "prune_layerwise makes it",
    "structured.GreedySelection": "a selection makes it",
    "structured.PretrainingReport": "pretraining_report makes it",
    "structured.Pursuit": "i_spasp makes it",
    "bounds.BoundTerms": "pretraining_bound_terms makes it",
    "bounds.Compressibility": "fit_compressibility makes it",
    "bounds.Condition": "first_layer_condition makes it",
    "bounds.ContractionFit": "fit_contraction makes it",
    "bounds.GrowthFit": "fit_growth makes it",
    "bounds.MembershipResult": "hull_membership makes it",
}


def public():
    """Every public constructor and function by its name."""
    found = {
        prefix + name: getattr(room, name)
        for prefix, room in ROOMS.items()
        for name in room.__all__
    }
    found["GrowPrunePartition.partition"] = ks.GrowPrunePartition.partition
    for module in BOUNDS:
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_"):
                found[f"bounds.{name}"] = value
    return {
        name: value
        for name, value in found.items()
        if callable(value)
        and name not in NOT_CALLED_BY_USERS
        and not (isinstance(value, type) and issubclass(value, Exception))
    }


@functools.cache
def model():
    """A small compiled model, with batch normalization."""
    net = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="logits"),
        ],
        name="net",
    )
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return net


@functools.cache
def sparse_model():
    """That model with zeros."""
    net = keras.models.clone_model(model())
    net.layers[0].kernel.assign(np.eye(6, 8))
    return net


@functools.cache
def first_weights():
    return model().get_weights()


@functools.cache
def samples():
    generator = np.random.default_rng(0)
    return generator.normal(size=(12, 6)).astype("float32"), generator.integers(0, 3, 12)


def valid(folder):
    """Right values of arguments that have no default, by name, or by callable and name."""
    x, y = samples()
    model().set_weights(first_weights())  # What was called before has pruned it.
    outputs = np.full((4, 3), 1 / 3)
    vector = np.array([1.0, -2.0, 0.5])
    return {
        "sparsity": 0.5,
        "model": model(),
        "data": (x, y),
        "x": x,
        "y": y,
        "batch_size": 4,
        "validation_data": (x, y),
        "workers": alone(),
        "n": 2,
        "m": 4,
        "rows": 4,
        "cols": 1,
        "bits": 4,
        "layers": ["hidden"],
        "layer": keras.layers.Dense(2),
        "inner_optimizer": keras.optimizers.SGD(0.1),
        "rule": Rule(),
        "filepath": folder / "checkpoint.keras",
        "optimizer": keras.optimizers.SGD(0.1),
        "method": ks.GMP(0.5),
        "momentum": 0.9,
        "targets": (),
        "operator": 0.5,
        "fit": {"x": x, "y": y, "epochs": 2, "verbose": 0},
        "acdc": ks.ACDC(0.5),
        "steps": 4,
        "partitions": 2,
        "kappa": 2,
        "before": [np.array([True, False])],
        "after": [np.array([True, False])],
        "sparse": outputs,
        "dense": outputs,
        "history": {"val_accuracy": [0.1, 0.2]},
        "histories": {
            "m=2": {
                **{name: [1.0, 2.0] for name in ("comm_bytes", "compute_seconds", "sync_seconds")},
                "val_accuracy": [0.1, 0.2],
            }
        },
        "phases": "DC",
        "masks": {"a": {"b": np.ones((4, 2), bool)}},
        "image_shape": (2, 2),
        "rank": 0,
        "names": ["one"],
        "identity": {"method": "one"},
        "work": lambda workers: workers.rank,
        "count": 1,
        "gradient": vector,
        "gap": 1.0,
        "r": 1,
        "best": 2,
        "condition": 2.0,
        "alpha": 0.1,
        "beta": 1.0,
        "sigma": 0.1,
        "lipschitz": 1.0,
        "theta": vector,
        "mask": np.array([True, False, True]),
        "smoothness": 1.0,
        "inner_steps": 2,
        "rounds": 2,
        "loss": lambda vector: float(np.sum(vector**2)),
        "gradient_norm": 1.0,
        "learning_rate": 0.01,
        "dimension": 2,
        "rho": 0.1,
        "gradients": np.ones((1, 3)),
        "direction": vector,
        "radius": 0.5,
        "k": 1,
        "loss_first": 0.1,
        "diameter": 1.0,
        "dense_loss": 0.1,
        "gamma": 0.5,
        "c": 1.0,
        "numbers": 3,
        "nodes": 2,
        "d": 3,
        "width": 5,
        "t": 10,
        "initial": 5.0,
        "losses": [0.5, 0.2, 0.1],
        "sizes": [10, 20, 30],
        "phi": np.eye(3),
        "features": np.eye(3),
        "sums": [3.0, 2.0, 1.0],
        "weights": np.ones((2, 3)),
        "size": 1,
        "iterations": 2,
        "magnitude": 1.0,
        "p": 0.5,
        "hidden": np.ones((4, 2)),
        "inputs": np.ones((4, 3)),
        "kernel": np.ones((3, 2)),
        "indices": [0],
        "consumer": lambda tensor: tensor,
        "active": [True, False],
        "rest": lambda tensor: keras.ops.softmax(tensor),
        "pruned": [0.5, 0.6, 0.7],
        "curves": {"pruned": ([0, 1], [0.5, 0.4])},
        "points": [{"cost": 1.0, "metric": 0.9, "name": "gmp", "front": True}],
        "ratios": {"sgd": {2: 3.0}},
        "trials": [{"batch_size": 2, "status": "complete", "steps": 4, "values": {}}],
        ("plots.scaling_curves", "curves"): {0.0: ([2, 4], [9, 5])},
        ("plots.optimizer_comparison", "curves"): {0.0: {"sgd": ([2, 4], [9, 5])}},
        ("plots.error_increase_by_sparsity", "curves"): {"acdc": [(0.8, 0.1, 0.02)]},
        ("plots.error_increase_by_difficulty", "points"): {"acdc": {"mnist": (3.0, 0.1)}},
        ("plots.memorization_curve", "history"): {
            "memorization": [0.1, 0.2],
            "true_label_accuracy": [0.1, 0.2],
        },
        ("plots.agreement_points", "rows"): {"acdc": (0.9, 0.1)},
        "pairs": {"acdc": (outputs, outputs)},
        "labels": ks.inject_random_labels(y, 3),
        ("inject_random_labels", "samples"): 3,
        "shapes": ["circle"],
        ("data.shape_images", "samples"): 2,
        "teacher": model(),
        **{
            ("transfer." + name, argument): value
            for name in ("full", "linear")
            for argument, value in (
                *(("model", sparse_model()), ("y", y)),
                *(("epochs", 1), ("verbose", 0)),
            )
        },
        ("transfer.lth_transfer", "dense"): model(),
        ("transfer.lth_transfer", "ticket"): {"hidden/kernel": np.ones((6, 8), bool)},
        ("transfer.logistic_regression", "features"): x,
        ("transfer.logistic_regression", "labels"): y,
        ("transfer.mean_over_tasks", "values"): [0.1, 0.2],
        ("transfer.TransferComparison", "outcomes"): [
            ks.transfer.Outcome(method, sparsity, "mnist", "full", [0.5])
            for method, sparsity in (("dense", 0.0), ("gmp", 0.5))
        ],
        ("transfer.replace_head", "classes"): 4,
        ("transfer.recommend", "transfer"): "full",
        "accuracy": 0.5,
        "dense_accuracy": 0.6,
        "full_accuracy": 0.6,
        "linear_accuracy": 0.5,
        "steps_per_epoch": 4,
        ("pruned_filters", "model"): keras.Sequential(
            [keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)]
        ),
        "low": 1,
        "high": 2,
        **{("tuning.ReverseLogUniform", end): v for end, v in {"low": 0.1, "high": 0.5}.items()},
        "train_data": (x, y),
        "goal_error": 0.1,
        "dimensions": 2,
        "base_batch": 2,
        "build_model": lambda *hp: keras.models.clone_model(model()),
        "hypermodel": ks.tuning.SparseHyperModel(lambda hp: keras.models.clone_model(model())),
        ("tuning.scaled_rate", "rule"): "linear",
        ("tuning.Objective", "name"): "accuracy",
        ("tuning.BatchSizeStudy", "data"): (x, y, x, y),
        ("tuning.BatchSizeStudy", "batch_sizes"): (2,),
        ("tuning.BatchSizeStudy", "directory"): folder / "study",
        ("tuning.SparseTuner", "directory"): folder / "sweeps",
        ("tuning.OptunaSweep", "directory"): folder / "shared",
        ("tuning.OptunaSweep", "storage"): folder / "journal.log",
        ("tuning.fixed_rule", "study"): study(folder / "ruled"),
        ("tuning.fixed_rule", "values"): {"learning_rate": 0.1},
        "batch_sizes": [1, 2, 4],
        **{
            ("scaling." + name, "steps"): [9.0, 5.0, 4.0]
            for name in ("critical_batch", "fit_scaling", "speedup_table", "speedups")
        },
        "eps": 0.1,
        ("scaling.StepsBound", "delta"): 1.0,
        **{
            ("scaling.predicted_ratio", name): (1.0, 2.0)
            for name in ("delta", "beta", "smoothness")
        },
        ("structured.select_units", "weights"): np.ones(2),
        ("structured.select_units", "targets"): np.ones(4),
        ("structured.backward_elimination", "weights"): np.ones(2),
        ("structured.backward_elimination", "targets"): np.ones(4),
        ("structured.local_imitation", "weights"): np.ones(2),
        ("structured.i_spasp_units", "weights"): np.ones(2),
        ("structured.distributed_selection", "weights"): np.ones(2),
        ("structured.distributed_selection", "targets"): np.ones(4),
        ("structured.select_vertices", "y"): vector,
        ("structured.select_vertices", "size"): 2,
        ("structured.select_units", "size"): 2,
        ("structured.select_channels", "size"): 2,
        ("structured.distributed_selection", "size"): 2,
        ("structured.greedy_forward_selection", "size"): 2,
        ("structured.select_channels", "outputs"): np.ones((4, 3)),
        ("structured.select_channels", "targets"): [0, 1, 2, 0],
        ("structured.cut", "layer"): "hidden",
        ("structured.cut", "data"): (x, y),
        ("structured.greedy_forward_selection", "data"): (x, y),
        ("structured.neuron_outputs", "data"): (x, np.ones((len(x), 3))),
        ("structured.pretraining_report", "steps"): [0, 1, 2],
        ("structured.pretraining_report", "dense"): [0.5, 0.6, 0.7],
        ("bounds.fit_contraction", "steps"): [1, 2, 3],
        ("bounds.fit_growth", "steps"): [1, 2, 3],
        ("bounds.hull_membership", "y"): vector,
        ("bounds.hull_distance", "y"): vector,
        **{
            ("bounds." + name, argument): value
            for name in (
                "hidden_states",
                "output",
                "output_gradients",
                "linearization_error",
                "streaming_step",
            )
            for argument, value in (
                ("weights", streaming.initial_weights(3, 3, 3)),
                ("changed", streaming.initial_weights(3, 3, 3)),
                ("x", vector),
            )
        },
        ("bounds.streaming_step", "y"): [1],
        ("bounds.streaming_error_bound", "losses"): vector**2,
        "margin": 0.5,
        "depth": 3,
        "distance": 0.1,
        "examples": 10,
        "replayed": 2,
        "stream": streaming_dataset(),
        "buffer": ks.streaming.ReplayBuffer(5),
        "classes": 3,
        ("streaming.omega_all", "stream"): [0.5, 0.6],
        ("streaming.omega_all", "offline"): [0.5, 0.6],
        ("streaming.StreamingDataset", "stream"): (x, y),
        ("streaming.StreamingBackup", "folder"): folder / "states",
        "trunk": spare_model(),
        "heads": {"one": keras.layers.Dense(3)},
        **{
            ("streaming." + name, "model"): soft_model()
            for name in ("E2EIL", "REMIND", "DeepSLDA", "ExStream", "FineTuning", "ICaRL")
        },
        **{
            ("streaming." + name, "layer"): "hidden"
            for name in ("E2EIL", "REMIND", "DeepSLDA", "ExStream", "ICaRL", "freeze_first")
        },
        ("streaming.StreamingLearner", "model"): soft_model(),
        ("streaming.freeze_first", "model"): spare_model(),
        ("one_shot_sweep", "sparsities"): [0.5],
        ("one_shot_sweep", "verbose"): False,
        ("sensitivity", "sparsities"): [0.5],
        ("sensitivity", "method"): "magnitude",
        ("prune_to", "data"): tuple(np.tile(s, (6,) + (1,) * (s.ndim - 1)) for s in (x, y)),
        ("prune_to", "max_loss"): 0.5,
        ("prune_to", "method"): "magnitude",
        ("sensitivity", "verbose"): False,
        ("iterative_magnitude_pruning", "sparsity"): 0.2,
        ("batch_norm_tuning", "data"): x,
        ("bounds.acdc_bound", "phases"): 2,
        ("mfac", "samples_per_gradient"): 2,
        ("SNIP", "data"): (x, y),
        ("GraSP", "data"): (x, y),
        "activation": "tanh",
        "reports": {"net": types.SimpleNamespace(rows=[])},
        "variants": {"base": model},
        "n_params": 50,
        ("sculpt", "n_params"): 83,
        ("sculpt", "metric"): "loss",
        ("transfer_masks", "masks"): {"logits/kernel": np.ones((8, 3), bool)},
        ("ParallelGaP", "workers"): alone(),
        ("plots.layer_sparsity", "report"): ks.report(model()),
        ("plots.read_history", "path"): write(folder / "given.csv", "loss\n0.5\n"),
        ("plots.write_history", "path"): folder / "written.csv",
        ("data.load", "name"): "digits",
        ("data.available", "name"): "digits",
        ("models.get", "name"): "lenet300",
        ("deploy.to_litert", "path"): folder / "model.tflite",
        ("migrate.from_tfmot", "path"): of_tfmot(folder / "given.h5"),
        ("deploy.save_compressed", "path"): folder / "model.ksparse",
        ("deploy.load_compressed", "path"): compressed(folder / "given.ksparse"),
        ("deploy.to_onnx", "path"): folder / "model.onnx",
        ("deploy.inspect", "path"): write(folder / "given.tflite", litert_contents()),
        ("deploy.benchmark", "paths"): write(folder / "given.tflite", litert_contents()),
        ("deploy.benchmark", "runs"): 1,
        ("deploy.benchmark", "rounds"): 1,
        ("deploy.eligibility", "model_or_path"): model(),
        ("deploy.litert_costs", "models"): [model()],
        ("structured.prune_layerwise", "keep"): 0.5,
        ("precision_range_test", "monitor"): "loss",
        ("precision_range_test", "steps"): 2,
        ("precision_range_test", "last"): 2,
        ("precision_range_test", "q_max"): 2,
        ("precision_range_test", "chance"): 0.0,
        ("precision.DelayedPrecision", "schedule"): ks.precision.ConstantPrecision(4),
        ("precision.aggregation_macs", "edges"): 3,
        ("precision.aggregation_macs", "features"): 2,
        ("precision.critical_period_sweep", "build"): lambda steps: model(),
        ("precision.critical_period_sweep", "monitor"): "loss",
        ("distribute.launch", "script"): write(folder / "script.py", ""),
        ("structured.prune", "flops"): 0.5,
        ("structured.register_coupling", "layer_class"): keras.layers.Dense,
        "keep": {"hidden": [0, 2]},
        ("bounds.gap_step_bound", "loss"): 1.0,
        ("bounds.cyclic_descent", "gradient"): lambda vector: vector,
        ("bounds.cyclic_descent", "partitions"): [[0, 1], [2]],
        ("bounds.network_residual_bound", "sums"): np.ones((1, 3)),
        ("bounds.network_residual_bound", "weights"): [np.ones((3, 2))],
        ("bounds.compressed_gradient", "gradient"): lambda vector: vector,
    }


def study(folder):
    x, y = samples()
    return ks.tuning.BatchSizeStudy(
        lambda: keras.models.clone_model(model()),
        (x, y, x, y),
        optimizer="sgd",
        batch_sizes=(2,),
        sparsities=(0.0,),
        goal_error=0.0,
        check_every=1,
        max_steps=1,
        directory=folder,
    )


def streaming_dataset():
    return ks.streaming.StreamingDataset(samples(), ks.streaming.ReplayBuffer(5), classes=3)


@functools.cache
def spare_model():
    """A copy of the small model, for what changes it."""
    return keras.models.clone_model(model())


@functools.cache
def soft_model():
    """The small model with a loss of soft labels."""
    net = keras.models.clone_model(model())
    net.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    return net


def of_tfmot(path):
    with zipfile.ZipFile(Path(__file__).parents[1] / "migrate" / "files.zip") as archive:
        return write(path, archive.read("unbuilt.h5"))


def compressed(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ks.SparsityWarning)
        ks.deploy.save_compressed(model(), path)
    return path


def write(path, contents):
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return path


@functools.cache
def litert_contents():
    """A LiteRT file."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_keras_model(model()).convert()


NAN, INF = math.nan, math.inf
TIMES = ["every", "end", "begin", "at", "prune", "restore", "period", "cut", "anneal"]
# Names that are one of a few, besides which any string is wrong.
CHOICES = [
    "by",
    "order",
    "criterion",
    "accumulate",
    "saliency",
    "runtime",
    "quantize",
    "kernels",
    "reset_optimizer_state",
]
BY_TYPE = {
    "bool": ["no", "True", 1, 0.5, NAN, [True], object()],
    "float": ["0.5", NAN, INF, -INF, [0.5], True, 1j, object()],
    "int": ["3", NAN, INF, 2.5, 3.0, True, [3], -1, object()],
    "str": [3, NAN, True, ["x"], object()],
    "Callable": ["no", 3, True, [], object()],
    "Model": [3, NAN, "model", [], True, object()],
    "Schedule": ["cubic", 3, True, [], object()],
    "Granularity": ["blocks", 3, NAN, True, [], object()],
    "Allocation": ["even", 3, NAN, True, {}, {"hidden": NAN}, {"hidden": "0.5"}, {3: 0.5}, []],
    "Which": [3, NAN, True, [3], object()],
    "Partitions": [0, -1, 2.5, NAN, "hidden", True, [], [[]], [3], object()],
    "Mapping": [3, NAN, "x", [], True, object()],
    "PathLike": [3, NAN, True, [], object()],
    "ArrayLike": ["x", [NAN], [INF], None, [], object()],
    "Time": ["never", "5 minutes", "150%", "-1ep", NAN, INF, -1, True, [], object()],
    "data": [None, 3, NAN, "x", True, object()],
    "operator": [NAN, INF, 1.5, "2x4", "bits", True, [], None, object()],
    "sparsities": [[NAN], [1.5], ["0.5"], "0.5", [True], [[]], object()],
    "keep_dense": ["middle", 3, NAN, True, ["middle"], [3], object()],
    "initializer": ["no_such", 3, NAN, True, [], object()],
    "min_per_layer": ["1", NAN, INF, -1, 1.5, True, [1], object()],
    "shape": [3, NAN, "x", True, (0, 4), (-1,), (2.5,), ("4",), object()],
    "masks": [None, 3, NAN, True, [], {}, [[0.5]], {"hidden": [NAN]}, np.ones(3), object()],
    "instance": [3, NAN, "x", True, [], object()],
}


def wrong_values(name, parameter):
    """Values that an argument cannot have, by its name and type."""
    given = str(parameter.annotation)
    by_name = {
        **dict.fromkeys(TIMES, "Time"),
        "operator": "operator",
        "sparsities": "sparsities",
        "keep_dense": "keep_dense",
        "initializer": "initializer",
        "reinitialize": "initializer",
        "min_per_layer": "min_per_layer",
        "input_shape": "shape",
        "image_shape": "shape",
        "data": "data",
        "workers": "instance",
        "layer": "instance",
        "inner_optimizer": "instance",
        "rule": "instance",
        "acdc": "instance",
        "report": "instance",
        "model_or_path": "PathLike",
        "paths": "PathLike",
        "before": "Mapping",
        "after": "Mapping",
    }
    own = ("int", "float", "bool", "str")
    if name == "mask" and given == "Any":
        by_name["mask"] = "masks"
    if name in by_name and given != "int":
        kinds = [by_name[name]]
    else:
        words = set(re.findall(r"\w+", given))
        special = [kind for kind in BY_TYPE if kind[0].isupper() and kind in words]
        plain = [kind for kind in own if kind in words and not special]
        kinds = special[:1] or plain
        if not special and len(plain) > 1:  # such as str | int
            return [NAN, 2.5, True, [1], object()]
    values = [value for kind in kinds for value in BY_TYPE[kind]]
    if kinds == ["str"] and name in CHOICES:
        values.append("no such name")
    # Of layers and patterns None is the default, said aloud.
    needed = "None" not in given and "Any" not in given and parameter.default is not None
    if kinds and needed and not {"Which", "Granularity"} & set(kinds):
        values.append(None)
    return values


def keywords(function):
    """The arguments that can be given by name, those of a `TypedDict` in `**kwargs` included."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            found[name] = parameter
        elif "Unpack" in str(parameter.annotation):
            found |= {n: p for n, p in COMMON.items() if n not in found}
    return found


COMMON = {
    name: parameter
    for name, parameter in inspect.signature(ks.SparseCallback).parameters.items()
    if parameter.kind == parameter.KEYWORD_ONLY
}


def outcome(function, name, value, others):
    """`"named"`, `"unnamed"` or `"silent"`: what comes of a wrong value of an argument."""
    try:
        made = function(**{**others, name: value})
        if isinstance(made, types.GeneratorType):
            next(made)
    except (ValueError, TypeError) as error:
        return "named" if re.search(rf"\b{name}\b", str(error)) else f"unnamed: {error}"
    except Exception as error:
        return f"unnamed: {type(error).__name__}: {error}"
    return "silent"


def right_arguments(where, function, folder):
    """What a callable can be called with: its arguments without a default, and a sparsity."""
    right = valid(folder)
    return {
        name: right[where, name] if (where, name) in right else right[name]
        for name, parameter in keywords(function).items()
        if parameter.default is parameter.empty or (where, name) in right or name == "sparsity"
    }


def outcomes(folder):
    """`(callable, argument, value, outcome)` for every wrong value of everything public."""
    for where, function in public().items():
        others = right_arguments(where, function, folder)
        for name, parameter in keywords(function).items():
            for value in wrong_values(name, parameter):
                yield where, name, value, outcome(function, name, value, others)
