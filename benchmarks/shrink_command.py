"""Trained models made smaller by `keras-sparse shrink`: accuracy, latency and bytes.

    python benchmarks/shrink_command.py --pretrained efficientnet_lite0.keras

EfficientNet-Lite0 was trained on ImageNet and gets a linear probe as its head for CIFAR-10 at
128 x 128; ResNet-20 (`saved_models/`) was pruned on CIFAR-10 to 90 % zeros, which stay. Its
time falls less than its operations, so that it is also made smaller to a latency.
"""

import json
from pathlib import Path
from typing import Any

from keras_sparse.cli import main as keras_sparse
from keras_sparse.experiments.benchmark import Document, Script, Study, Table, Variant, notes

HERE = Path(__file__).parent
SAVED = HERE.parent / "saved_models" / "resnet20_cifar10_gmp90" / "model.keras"
COMMON = "--data cifar10 --method taylor --steps 2"
RESNET = "--images 10000 --finetune 5 --learning-rate 0.05 --keep-zeros"
OPTIONS = {
    "EfficientNet-Lite0": f"{COMMON} --flops 0.5 --image-size 128 --normalize 127 128 "
    "--images 3000 --test-images 2000 --finetune 4 --learning-rate 0.03 --batch-size 32",
    "ResNet-20": f"{COMMON} --flops 0.5 {RESNET}",
    "ResNet-20, by latency": f"{COMMON} --latency 0.6 {RESNET}",
    "ResNet-20, by latency, in fours": f"{COMMON} --latency 0.6 --round-to 4 {RESNET}",
}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """The numbers that the command writes."""
    numbers, words = folder / "numbers.json", config["options"].split()
    status = keras_sparse(
        ["shrink", config["file"], str(folder / "smaller.keras"), *words, "--json", str(numbers)]
    )
    if status:
        raise SystemExit(status)
    return json.loads(numbers.read_text())


def describe(content: dict) -> Document:
    rows, lines = [], []
    for name, (one,) in content["results"].items():
        cells = [f"{value:.2%}" for value in one["accuracy"].values()]
        for key in ("flops", "parameters", "tflite_bytes"):
            cells.append(f"{one[key]['after'] / one[key]['before']:.2f}")
        times = [one["latency"][side] for side in ("before", "after")]
        cells += ["{:.2f} to {:.2f}".format(*(1000 * s for s in times))]
        rows.append((name, *cells, f"{times[1] / times[0]:.2f}"))
        lines.append(f"{name}: `keras-sparse shrink FILE.keras {OPTIONS[name]}`")
    header = ("model", "accuracy before", "pruned", "fine-tuned", "FLOPs", "parameters")
    header += ("LiteRT bytes", "LiteRT ms", "ratio")
    blocks = [Table("Before and after", header, rows), notes(lines)]
    return Document("Trained models made smaller by the command line", blocks)


def main() -> None:
    script = Script(__doc__, pretrained=str)
    files = {
        name: SAVED if name.startswith("ResNet") else script.args.pretrained for name in OPTIONS
    }
    variants = {
        name: Variant({"file": str(Path(file).resolve()), "options": OPTIONS[name]})
        for name, file in files.items()
        if file is not None
    }
    script.study(Study(variants, [0], run), describe)


if __name__ == "__main__":
    main()
