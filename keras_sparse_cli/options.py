"""The commands and their options."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple


class Option(NamedTuple):
    """An option: a field of a configuration, `RunConfig` for `train`, whose default is repeated.

    Reading it from there would take the seconds that importing Keras takes. `many` is how many
    values there are, `True` for any number.
    """

    default: Any
    type: Callable[[str], Any]
    help: str
    many: bool | int = False


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


OPTIONS = {
    "data": Option(
        "mnist", str, "data set: mnist, fashion_mnist, cifar10, cifar100 or digits (8x8, embedded)"
    ),
    "model": Option("lenet5", str, "network: lenet300, lenet5, resnet20 or mobilenet"),
    "method": Option("acdc", str, "a name that list-methods shows, START-PRUNING, or dense"),
    "sparsity": Option(
        None, float, "fraction of weights to remove, below 1 (default: 0.95, or as n:m says)"
    ),
    "epochs": Option(30, int, "passes over the images"),
    "batch_size": Option(64, int, "images in a batch"),
    "learning_rate": Option(0.05, float, "peak of SGD's learning rate, which falls to 0"),
    "momentum": Option(0.9, float, "SGD's momentum"),
    "weight_decay": Option(5e-4, float, "SGD's decoupled weight decay"),
    "seed": Option(0, int, "seed of weights, order of images and random masks"),
    "limit": Option(None, int, "training images to take (default: all)"),
    "granularity": Option(
        None,
        str,
        "what is pruned as one: unstructured, channel, xnnpack, 2:4, 4x1, ... (default: the "
        "method's own)",
    ),
    "allocation": Option(
        None,
        str,
        "sparsity of layers: global, uniform, er or erk (default: the method's own)",
    ),
    "keep_dense": Option((), str, "layers to leave dense: first, last, depthwise", many=True),
    "exclude": Option((), str, "names or globs of layers to leave dense", many=True),
    "precision": Option(
        None, str, "schedule of simulated low precision that list-methods shows (default: float)"
    ),
    "q_min": Option(3, int, "its fewest bits, which precision-range finds"),
    "q_max": Option(8, int, "its most bits"),
    "cycles": Option(8, int, "its cycles"),
    "loss_target": Option(0.3, float, "training loss of an epoch to tell the steps to"),
}

# The same for `precision-range`, whose fields are those of `RangeConfig`.
RANGE_OPTIONS = {
    **{name: OPTIONS[name] for name in ("data", "model", "q_max")},
    "steps": Option(100, int, "steps of training with each number of bits, a multiple of 20"),
    **{name: OPTIONS[name] for name in ("batch_size", "learning_rate", "momentum", "seed")},
    "limit": OPTIONS["limit"],
}

# The same for `shrink`, whose fields are those of `ShrinkConfig`.
SHRINK_OPTIONS = {
    "flops": Option(None, float, "operations of an inference to keep, as a part or a number"),
    "params": Option(None, float, "parameters to keep, as a part or a number"),
    "latency": Option(None, float, "part of the LiteRT latency to keep, measured on this machine"),
    "method": Option(
        "l1",
        str,
        "what is important: l1, l2, taylor, bn_scale, fpgm, lamp, random or uniform, or layer by "
        "layer i_spasp or greedy",
    ),
    "data": Option("cifar10", str, OPTIONS["data"].help),
    "finetune": Option(5, int, "epochs of training after pruning"),
    "steps": Option(1, int, "in how many steps to prune, with an epoch of training between two"),
    "round_to": Option(1, int, "what the number of units in a layer is a multiple of"),
    "images": Option(None, int, "training images to take (default: all)"),
    "test_images": Option(None, int, "test images to take (default: all)"),
    "image_size": Option(
        None, int, "height and width that images are resized to (default: the model's own)"
    ),
    "normalize": Option(
        None,
        float,
        "what pixels have subtracted and are divided by, such as 127 128 (default: the mean and "
        "deviation of the data set, as train does)",
        2,
    ),
    "batch_size": Option(64, int, "images in a batch"),
    "learning_rate": Option(0.01, float, "learning rate of SGD, which falls to 0"),
    "seed": Option(0, int, "seed of the choice and order of images and of random scores"),
}

# The same for `prune`, whose fields are those of `PruneConfig`.
PRUNE_OPTIONS = {
    "method": Option(
        "adaprune", str, "magnitude, or one that list-methods shows as after dense training"
    ),
    "sparsity": Option(None, float, "fraction of weights to remove, below 1 (or as n:m says)"),
    "data": Option("cifar10", str, OPTIONS["data"].help),
    "samples": Option(1000, int, "training images to calibrate with"),
    **{
        name: Option(None, str, OPTIONS[name].help.partition(" (default")[0])
        for name in ("granularity", "allocation")
    },
    **{name: OPTIONS[name] for name in ("keep_dense", "exclude")},
    **{
        name: SHRINK_OPTIONS[name]
        for name in ("test_images", "image_size", "normalize", "batch_size", "seed")
    },
}

# The same for `transfer`, whose fields are those of `TransferConfig`.
TRANSFER_OPTIONS = {
    "data": Option("fashion_mnist", str, OPTIONS["data"].help),
    "mode": Option("full", str, "full: all weights that are not zero, or linear: a head alone"),
    "solver": Option("sgd", str, "of a head alone: sgd or lbfgs"),
    "features": Option("offline", str, "for a head alone: computed once (offline) or online"),
    "head": Option(None, str, "name of the layer to replace (default: the last with weights)"),
    "epochs": Option(30, int, "passes over the images"),
    "images": SHRINK_OPTIONS["images"],
    **{
        name: SHRINK_OPTIONS[name]
        for name in ("test_images", "image_size", "normalize", "batch_size")
    },
    "learning_rate": Option(0.01, float, "SGD's first, which falls twice to a tenth"),
    "weight_decay": OPTIONS["weight_decay"],
    "seed": Option(0, int, "seed of the head and of the choice and order of images"),
}

# The same for `compare-transfer`, whose fields are those of `TransferRunConfig`.
COMPARE_TRANSFER_OPTIONS = {
    "upstream": Option("cifar10:0-4", str, "upstream task: a data set, or classes of it"),
    "tasks": Option(("cifar10:5-9", "fashion_mnist"), _names, "tasks, with commas"),
    "model": Option("conv", str, "network: mlp, conv or small-conv"),
    "modes": Option(("linear", "lbfgs", "full"), _names, "linear, lbfgs, full, with commas"),
    "epochs": Option(12, int, "epochs of the upstream training"),
    "transfer_epochs": Option(30, int, "epochs of each transfer by SGD"),
    "ticket_epochs": Option(2, int, "epochs of each round of a lottery ticket's search"),
    "images": Option(10000, int, "training images of the upstream task"),
    "transfer_images": Option(1000, int, "training images of each other task"),
    "test_images": Option(2000, int, "test images of each"),
    "batch_size": OPTIONS["batch_size"],
    "learning_rate": OPTIONS["learning_rate"],
    "linear_rate": Option(0.05, float, "learning rate of linear transfer, which falls in steps"),
    "full_rate": Option(0.01, float, "learning rate of full transfer, which falls in steps"),
}

# The same for `stream`, whose fields are those of `StreamConfig`.
STREAM_OPTIONS = {
    "data": Option("digits", str, OPTIONS["data"].help),
    "model": Option("mlp", str, "network: mlp, conv or small-conv"),
    "order": Option(
        "class-incremental", str, "class-incremental, iid, class-iid, instance or class-instance"
    ),
    "capacity": Option(None, int, "examples in the buffer (default: as many as the bytes hold)"),
    "capacity_mb": Option(None, float, "millions of bytes of the buffer"),
    "bits": Option(8, int, "bits of a stored pixel"),
    "area": Option(1.0, float, "share of the pixels that is stored"),
    "eviction": Option(
        "class_balanced",
        str,
        "class_balanced, uniform, reservoir, mixup, cutmix or sample_pairing",
    ),
    "replay": Option(100, int, "examples that are replayed in a step"),
    "augment": Option("none", str, "none, crop, mixup, cutmix, mix or full"),
    "base_classes": Option(2, int, "classes that rivals are initialized on"),
    "base_epochs": Option(50, int, "passes over them"),
    "offline_epochs": Option(40, int, "passes of the offline reference"),
    "limit": Option(None, int, "training images to take (default: all)"),
    "test_limit": Option(None, int, "test images to take (default: all)"),
    "sparsity": Option(0.9, float, "of the method sparse-cssl"),
}

# What `sweep` has beside the options of `train`: arguments of `sweep_and_show`.
SWEEP = (
    *("methods", "sparsity", "tune", "objectives", "trials", "workers", "search"),
    *("executions", "keep_models", "storage"),
)


def make_parser() -> argparse.ArgumentParser:
    """The parser; `command` of what it returns is the command's name."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser = argparse.ArgumentParser(
        prog="keras-sparse",
        description="Train sparse Keras models, look into them, and export them to devices.",
        epilog="keras-sparse COMMAND --help tells more. Begin with: keras-sparse demo",
    )
    parser.add_argument("--version", action="version", version=version("keras-sparse"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="compare dense training with AC/DC at 95 %% sparsity, in minutes",
        description="Trains LeNet-5 on MNIST (or the embedded digits, where there is neither data "
        "nor network) densely and with AC/DC to 95 % sparsity, and compares the two.",
    )
    demo.add_argument("--out", default="demo", help="folder to write (default: %(default)s)")
    demo.add_argument("--fresh", action="store_true", help="train anew what is there already")
    demo.set_defaults(command="demo")

    train = commands.add_parser(
        "train",
        parents=[common],
        help="train a model and leave it in a folder",
        description="Trains a model and leaves model.keras, model.tflite, history.csv, curve.png "
        "and result.json in a folder. Ctrl-C leaves a run that --resume goes on with.",
        epilog="keras-sparse train --data mnist --model lenet5 --method acdc --sparsity 0.95 "
        "--epochs 30 --out runs/lenet5",
    )
    train.add_argument("--out", required=True, help="folder of the run, made if need be")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in the folder; its settings are known and need not be given",
    )
    train.add_argument(
        "--trained",
        metavar="FOLDER",
        help="a finished dense run with the same settings, which methods that prune after "
        "training begin with instead of training once more",
    )
    _add_options(train)
    train.set_defaults(command="train")

    compare = commands.add_parser(
        "compare",
        parents=[common],
        help="compare methods at several sparsities and seeds",
        description="Trains with each method at each sparsity and from each seed, one process a "
        "run, and leaves a table and pictures in a folder. The same command goes on with what was "
        "interrupted; finished runs are never made again. Options of train that are given hold "
        "for all runs.",
        epilog="keras-sparse compare --methods acdc,gmp,rigl --sparsity 0.9,0.95,0.98 --data mnist "
        "--model lenet300 --epochs 30 --seeds 3 --out compared",
    )
    compare.add_argument("--out", required=True, help="folder to write, made if need be")
    compare.add_argument(
        "--methods",
        type=_names,
        required=True,
        help="names that list-methods shows, with commas, or pipelines such as LDI-CS-AI",
    )
    compare.add_argument(
        "--sparsity", type=_numbers, default=(0.9,), help="fractions to remove, with commas"
    )
    compare.add_argument("--seeds", type=int, default=3, help="runs of each (default: 3)")
    compare.add_argument(
        "--equal",
        default="epochs",
        choices=("epochs", "flops"),
        help="what runs have in common: epochs, or training FLOPs, those of dense training",
    )
    compare.add_argument(
        "--processes", type=int, default=2, help="runs at a time, of one thread each (default: 2)"
    )
    compare.add_argument(
        "--again",
        type=_names,
        default=(),
        metavar="METHODS",
        help="where results.json is there and its runs are not: the methods to run again, with "
        "commas; the results of all others are taken from it",
    )
    _add_options(compare, without=("method", "sparsity", "seed"))
    compare.set_defaults(command="compare")

    sweep = commands.add_parser(
        "sweep",
        parents=[common],
        help="search methods, sparsities and other settings by several objectives",
        description="Trains with settings that are searched, and leaves the trials that no other "
        "one dominates as a table and a picture. Trials are compared on a tenth of the training "
        "images. The same command goes on with what was interrupted, in the middle of a trial "
        "too. Options of train that are given hold for all trials.",
        epilog="keras-sparse sweep --methods acdc,rigl --sparsity 0.8..0.98 --tune "
        "learning_rate,weight_decay --objective accuracy,bytes --trials 40 --workers 2 --out swept",
    )
    sweep.add_argument("--out", required=True, help="folder to write, made if need be")
    sweep.add_argument(
        "--methods", type=_names, required=True, help="names that list-methods shows, with commas"
    )
    sweep.add_argument(
        "--sparsity",
        default="0.9",
        help="fraction to remove, several with commas, or LOW..HIGH (default: %(default)s)",
    )
    sweep.add_argument(
        "--tune",
        type=_names,
        default=(),
        metavar="NAME[=LOW..HIGH]",
        help="what else is searched, with commas: learning_rate, weight_decay, momentum",
    )
    sweep.add_argument(
        "--objective",
        dest="objectives",
        type=_names,
        default=("accuracy", "bytes"),
        help="with commas: accuracy, loss, nonzeros, flops, bytes, latency; all but Optuna's "
        "searches look at the first (default: accuracy,bytes)",
    )
    sweep.add_argument("--trials", type=int, default=20, help="(default: %(default)s)")
    sweep.add_argument(
        "--workers", type=int, default=1, help="processes, of one thread each (default: 1)"
    )
    sweep.add_argument(
        "--search",
        default="sobol",
        help="sobol, random, grid, bayesian or hyperband (default: %(default)s)",
    )
    sweep.add_argument("--executions", type=int, default=1, help="trainings a trial (default: 1)")
    sweep.add_argument("--keep-models", type=int, default=5, help="models that stay (default: 5)")
    sweep.add_argument(
        "--storage",
        metavar="FILE|URL",
        help="an Optuna journal file or SQL database, by which processes that are given the same "
        "command share the trials (needs keras-sparse[optuna])",
    )
    _add_options(sweep, without=("method", "sparsity"))
    sweep.set_defaults(command="sweep")

    stream = commands.add_parser(
        "stream",
        parents=[common],
        help="compare methods that learn from a stream, one example at a time",
        description="Trains with each method on one pass over a data set and from each seed, one "
        "process a run, tests after each batch of classes, and leaves a table and pictures in a "
        "folder. The same command goes on with what was interrupted.",
        epilog="keras-sparse stream --data fashion_mnist --model conv --method cssl,slda,remind "
        "--capacity-mb 3 --seeds 3 --out streamed",
    )
    stream.add_argument("--out", required=True, help="folder to write, made if need be")
    stream.add_argument(
        "--method",
        type=_names,
        required=True,
        help="with commas: cssl, cssl-pretrained, sparse-cssl, fine-tuning, frozen, exstream, "
        "slda, remind, remind-extra, icarl, e2eil",
    )
    stream.add_argument("--seeds", type=int, default=3, help="runs of each (default: 3)")
    stream.add_argument(
        "--processes", type=int, default=2, help="runs at a time, of one thread each (default: 2)"
    )
    _add(STREAM_OPTIONS, stream)
    stream.set_defaults(command="stream")

    launch = commands.add_parser(
        "launch",
        parents=[common],
        help="run a script as several workers of one training",
        description="Starts a Python script several times on this machine, each with a TF_CONFIG "
        "of its own, by which keras_sparse.distribute.connect() finds the others. What workers "
        "print comes with their number before it. When one fails all are ended, and its exit "
        "status is the command's; Ctrl-C ends all. On several machines start the script once on "
        "each, with a TF_CONFIG that names all of them.",
        epilog="keras-sparse launch --workers 4 --restarts 2 train.py --epochs 30",
    )
    launch.add_argument(
        "--workers", type=int, default=2, help="how many processes (default: %(default)s)"
    )
    launch.add_argument(
        "--restarts",
        type=int,
        default=0,
        help="how often all start again after one has failed; with a backup folder they go on "
        "from the last combined round (default: %(default)s)",
    )
    launch.add_argument(
        "--threads", type=int, help="threads of each worker (default: an equal share of the cores)"
    )
    launch.add_argument("script", metavar="SCRIPT.py")
    launch.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own arguments")
    launch.set_defaults(command="launch")

    methods = commands.add_parser(
        "list-methods",
        parents=[common],
        help="show the methods that can be chosen by name",
        description="Prints each method's name, what it does, and where it comes from.",
    )
    methods.set_defaults(command="list-methods")

    report = commands.add_parser(
        "report",
        parents=[common],
        help="count the zeros of a saved model",
        description="Prints what of a saved model is zero, layer by layer, and what that saves.",
    )
    report.add_argument("file", metavar="FILE.keras")
    report.add_argument(
        "--runtime",
        help="say of each weight whether its zeros save time there, such as xnnpack-arm",
    )
    report.add_argument("--json", action="store_true", help="print JSON instead of a table")
    report.set_defaults(command="report")

    export = commands.add_parser(
        "export",
        parents=[common],
        help="write a saved model as a LiteRT file that leaves zeros out, or as ONNX",
        description="Writes a LiteRT (TensorFlow Lite) file that leaves pruned weights out, or an "
        "ONNX file (which needs keras-sparse[onnx]), and checks that it computes what the model "
        "computes.",
    )
    export.add_argument("file", metavar="FILE.keras")
    export.add_argument("out", metavar="OUT.tflite|OUT.onnx")
    export.add_argument("--dense", action="store_true", help="store the zeros like any weight")
    export.add_argument(
        "--quantize",
        help="what weights are stored as: float16, dynamic or int8; with keras-sparse[quantizer] "
        "also weight_only_int8, weight_only_int4, dynamic_int4 or dynamic_int4_blocks (default: "
        "float32)",
    )
    export.add_argument(
        "--inputs",
        metavar="FILE.npy",
        help="samples to verify the file on, and with int8 to scale activations by",
    )
    export.add_argument("--tolerance", type=float, help="error to accept (default: the format's)")
    export.add_argument(
        "--batch-size", type=int, default=1, help="of the file; 0 leaves it open (default: 1)"
    )
    export.add_argument(
        "--kernels",
        default="all",
        help="all, built-in for a file that is run with XNNPACK turned off, or xnnpack for one "
        "that is run with it (default: all)",
    )
    export.set_defaults(command="export")

    shrink = commands.add_parser(
        "shrink",
        parents=[common],
        help="make a saved model smaller: fewer channels, neurons and heads",
        description="Removes the least important channels, neurons and heads of a trained image "
        "classifier until a target is met, trains it on for some epochs, and writes it as a "
        "plain .keras file. Where its outputs are not the classes of the data, a new head is "
        "fitted first, by a linear probe on its features. Give one of --flops, --params and "
        "--latency.",
        epilog="keras-sparse shrink model.keras smaller.keras --flops 0.5 --data cifar10 "
        "--finetune 5",
    )
    _add_saved(shrink, "shrunk", SHRINK_OPTIONS)
    shrink.add_argument(
        "--keep-zeros",
        action="store_true",
        default=argparse.SUPPRESS,
        help="weights that are zero stay zero in fine-tuning",
    )
    shrink.set_defaults(command="shrink")

    prune = commands.add_parser(
        "prune",
        parents=[common],
        help="set weights of a saved model to zero, without training",
        description="Prunes a trained image classifier with some hundred images and no training, "
        "tunes its batch normalization, tests it before and after, and writes it as a plain "
        ".keras file.",
        epilog="keras-sparse prune model.keras sparse.keras --method obc --sparsity 0.9 "
        "--data cifar10",
    )
    _add_saved(prune, "pruned", PRUNE_OPTIONS)
    prune.set_defaults(command="prune")

    transfer = commands.add_parser(
        "transfer",
        parents=[common],
        help="train a saved sparse model on another task, its zeros in place",
        description="Gives a copy of a sparse image classifier a new, dense head for the classes "
        "of the data, trains all of its weights that are not zero or the head alone, and writes "
        "it as a plain .keras file.",
        epilog="keras-sparse transfer sparse.keras task.keras --data fashion_mnist --mode linear "
        "--solver lbfgs",
    )
    _add_saved(transfer, "transferred", TRANSFER_OPTIONS)
    transfer.add_argument(
        "--dense",
        action="store_true",
        default=argparse.SUPPRESS,
        help="the model has no zeros to keep: a dense reference, or one that shrink made",
    )
    transfer.set_defaults(command="transfer")

    compare_transfer = commands.add_parser(
        "compare-transfer",
        parents=[common],
        help="compare upstream methods by how their sparse models transfer",
        description="Trains an upstream model by each method at each sparsity and from each seed, "
        "one process a run, transfers it to every task, and leaves tables and pictures of the "
        "relative error increase over the dense model. The same command goes on with what was "
        "interrupted. A task is a data set, or some of its classes: cifar10:0-4, mnist:4+7+9.",
        epilog="keras-sparse compare-transfer --methods acdc,gmp,woodfisher,lth_t --sparsity "
        "0.8,0.9 --upstream fashion_mnist --tasks mnist,mnist:4+7+9 --out compared",
    )
    compare_transfer.add_argument("--out", required=True, help="folder to write, made if need be")
    compare_transfer.add_argument(
        "--methods",
        type=_names,
        required=True,
        help="names that list-methods shows, lth_t and structured, with commas",
    )
    compare_transfer.add_argument(
        "--sparsity", type=_numbers, default=(0.9,), help="fractions to remove, with commas"
    )
    compare_transfer.add_argument("--seeds", type=int, default=3, help="of each (default: 3)")
    compare_transfer.add_argument(
        "--processes", type=int, default=2, help="runs at a time, of one thread each (default: 2)"
    )
    _add(COMPARE_TRANSFER_OPTIONS, compare_transfer)
    compare_transfer.set_defaults(command="compare-transfer")

    precision = commands.add_parser(
        "precision-range",
        parents=[common],
        help="find the fewest bits that a network learns with",
        description="Trains a network anew for some steps with 2, 3, ... bits, simulated, and "
        "prints the accuracy of each, and the fewest bits with which it is clearly above chance: "
        "the --q-min of train --precision.",
        epilog="keras-sparse precision-range --data mnist --model lenet5",
    )
    _add(RANGE_OPTIONS, precision)
    precision.add_argument("--picture", metavar="FILE.png", help="draw it as well")
    precision.add_argument("--json", action="store_true", help="print JSON instead of a table")
    precision.set_defaults(command="precision-range")

    inspect = commands.add_parser(
        "inspect",
        parents=[common],
        help="show how a LiteRT file stores its weights",
        description="Prints the type, zeros, sparse encoding and bytes of each weight of a LiteRT "
        "file, and its operations, without running it.",
    )
    inspect.add_argument("file", metavar="FILE.tflite")
    inspect.add_argument("--json", action="store_true", help="print JSON instead of a table")
    inspect.set_defaults(command="inspect")

    eligibility = commands.add_parser(
        "eligibility",
        parents=[common],
        help="say which layers' zeros a runtime will leave out, and why not the others",
        description="Prints for each weight of a model, trained or not, or of a LiteRT file what a "
        "runtime does with its zeros, and where they save no time the rule that fails and the "
        "cure.",
        epilog="keras-sparse eligibility model.keras --runtime xnnpack-arm --check",
    )
    eligibility.add_argument("file", metavar="FILE", help="a .keras or .tflite file")
    eligibility.add_argument(
        "--runtime",
        default="xnnpack-arm",
        help="xnnpack-arm, xnnpack-x86, litert-builtin or litert-micro (default: %(default)s)",
    )
    eligibility.add_argument(
        "--quantize", help="how the model is going to be exported: float16, dynamic or int8"
    )
    eligibility.add_argument(
        "--check", action="store_true", help="end with status 1 unless all zeros save time"
    )
    eligibility.add_argument("--json", action="store_true", help="print JSON instead of a table")
    eligibility.set_defaults(command="eligibility")

    benchmark = commands.add_parser(
        "benchmark",
        parents=[common],
        help="time LiteRT files on this machine, side by side",
        description="Prints the CPU time of an inference of each file, with its spread, and the "
        "memory it takes.",
        epilog="keras-sparse benchmark dense.tflite sparse.tflite --picture latency.png",
    )
    benchmark.add_argument("files", metavar="FILE.tflite", nargs="+")
    benchmark.add_argument(
        "--runs", type=int, default=50, help="inferences in each of three rounds (default: 50)"
    )
    benchmark.add_argument(
        "--kernels",
        default="all",
        help="all, which is LiteRT's default, or built-in, without XNNPACK (default: all)",
    )
    benchmark.add_argument("--threads", type=int, default=1, help="(default: 1)")
    benchmark.add_argument(
        "--cold",
        action="store_true",
        help="empty the processor's caches before each inference, so that weights come from memory",
    )
    benchmark.add_argument("--picture", metavar="FILE.png", help="draw it as well")
    benchmark.add_argument("--json", action="store_true", help="print JSON instead of a table")
    benchmark.set_defaults(command="benchmark")
    return parser


def _add_saved(parser: argparse.ArgumentParser, ending: str, options: Any) -> None:
    """The arguments of a command that makes another model of a saved one."""
    parser.add_argument("file", metavar="FILE.keras")
    default = f"default: FILE_{ending}.keras beside it"
    parser.add_argument("out", metavar="OUT.keras", nargs="?", help=default)
    _add(options, parser)
    parser.add_argument("--json", metavar="NUMBERS.json", help="write the numbers to a file too")


def _add_options(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """Adds the options that make up a run's configuration."""
    _add({name: option for name, option in OPTIONS.items() if name not in without}, parser)
    parser.add_argument(
        "--augment",
        action="store_true",
        default=argparse.SUPPRESS,
        help="crop and flip images at random, as is usual for CIFAR-10",
    )
    parser.add_argument(
        "--model-arg",
        dest="model_args",
        type=_name_and_value,
        action="append",
        default=argparse.SUPPRESS,
        metavar="NAME=VALUE",
        help="argument of the network, such as width=8 for resnet20; may be repeated",
    )


def _add(options: Mapping[str, Option], parser: argparse.ArgumentParser) -> None:
    for name, option in options.items():
        shown = f" (default: {option.default})" if option.default not in (None, ()) else ""
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=option.type,
            nargs="+" if option.many is True else option.many or None,
            # What is not given is left out, so that --resume can tell.
            default=argparse.SUPPRESS,
            metavar=option.type.__name__.upper().replace("STR", "NAME").lstrip("_"),
            help=option.help + shown,
        )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in _names(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas") from None


def _name_and_value(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as width=8")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
