"""Pruning a trained decoder-only language model without training it further: perplexity.

    python benchmarks/language_model.py --text kjv.txt

Words of a text are predicted one after another by a Llama of keras-hub (grouped-query attention,
rotary positions, gated feed-forward layers, tied embeddings). Each trained model is pruned by every
method in each pattern, in a process of its own.
"""

import time
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

LENGTH, WORDS, BATCH = 64, 4000, 32
METHODS = {
    "magnitude": lambda model, data, **kwargs: ks.prune(model, **kwargs),
    "Wanda": ks.wanda,
    "Wanda, one after another": lambda *given, **kwargs: ks.wanda(
        *given, sequential=True, **kwargs
    ),
    "SparseGPT": ks.sparsegpt,
    "SparseGPT, one after another": lambda *given, **kwargs: ks.sparsegpt(
        *given, sequential=True, **kwargs
    ),
    "AdaPrune": ks.adaprune,
    "OBC": ks.obc,
    "OBC, one after another": lambda *given, **kwargs: ks.obc(*given, sequential=True, **kwargs),
}
PATTERNS: dict[str, dict[str, Any]] = {
    "50%": {"sparsity": 0.5},
    "50% of each layer": {"sparsity": 0.5, "allocation": "uniform"},
    "4:8": {"granularity": "4:8"},
    "2:4": {"granularity": "2:4"},
    "70%": {"sparsity": 0.7},
}
EVEN = "50% of each layer"
# Of each the first is better than the second.
CLAIMS = [
    ((method, one), (other, two))
    for method in ("Wanda", "SparseGPT")
    for one, other, two in [
        *((at, "magnitude", at) for at in (EVEN, "4:8", "2:4")),
        *((EVEN, method, "4:8"), ("4:8", method, "2:4")),
    ]
]
ABOUT = """\
Perplexity a word of the last twentieth of the text: mean and sample standard deviation over
{models} trained models of {weights:,} weights, {prunable:,} of them prunable. The text's {words:,}
most frequent words are told apart; all others are one. Calibration: {calibration} sequences of
{length} words of the training text. Seconds are those of pruning to 2:4 on one thread, while the
machine did other things as well. "One after another": `sequential=True`, a block of layers at a
time for the inputs that the pruned ones before it give."""


def sequences(text: Path) -> dict[str, np.ndarray]:
    """Words as integers, `(sequences, LENGTH + 1)`, of the first 95 % of the lines and the rest."""
    lines = text.read_text("utf-8").splitlines()
    words = keras.layers.TextVectorization(WORDS, output_mode="int")
    cut = int(0.95 * len(lines))
    words.adapt(lines[:cut])
    found = {}
    for part, some in (("train", lines[:cut]), ("test", lines[cut:])):
        stream = np.asarray(words([" ".join(some)]))[0]
        whole = len(stream) // LENGTH * LENGTH
        # The word after the last of a sequence is the first of the next one.
        following = np.append(stream[1:whole], stream[0])
        found[part] = np.stack([stream[:whole], following]).reshape(2, -1, LENGTH)
    return found


def network() -> keras.Model:
    backbone = keras_hub.models.LlamaBackbone(
        vocabulary_size=WORDS,
        num_layers=4,
        num_query_heads=8,
        num_key_value_heads=2,
        hidden_dim=192,
        intermediate_dim=512,
        tie_word_embeddings=True,
    )
    tokens = keras.Input((LENGTH,), dtype="int32", name="token_ids")
    states = backbone({"token_ids": tokens, "padding_mask": ops.ones_like(tokens)})
    return keras.Model(tokens, backbone.token_embedding(states, reverse=True))


def compiled(steps: int = 1) -> keras.Model:
    model = network()
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=2e-3, warmup_steps=max(steps // 20, 1)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0), loss)
    return model


def perplexity(model: keras.Model, test: np.ndarray) -> float:
    return float(np.exp(model.evaluate(*test, batch_size=BATCH, verbose=0)))


def train(config: dict, folder: Path) -> dict[str, Any]:
    """Trains a dense model."""
    keras.utils.set_random_seed(config["seed"])
    data = sequences(Path(config["text"]))
    x, y = data["train"]
    model = compiled(config["epochs"] * -(-len(x) // BATCH))
    model.fit(x, y, batch_size=BATCH, epochs=config["epochs"], verbose=2)
    model.save_weights(folder / "dense.weights.h5")
    return {
        "perplexity": perplexity(model, data["test"]),
        "weights": model.count_params(),
        "prunable": sum(row.size for row in ks.report(model).prunable),
    }


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes the trained model in each pattern."""
    data = sequences(Path(config["text"]))
    picked = np.random.default_rng(config["seed"]).permutation(data["train"].shape[1])
    calibration = data["train"][0][picked[: config["calibration"]]]
    model, result = compiled(), {}
    for name, pattern in PATTERNS.items():
        model.load_weights(folder.with_name(config["after"]) / "dense.weights.h5")
        began = time.perf_counter()
        METHODS[config["method"]](model, calibration, **pattern)
        seconds = time.perf_counter() - began
        result[name] = {"perplexity": perplexity(model, data["test"]), "seconds": seconds}
    return result


def told(values: list[float]) -> str:
    return f"{bench.mean(values):.1f} ± {bench.spread(values):.1f}"


def _at(pattern: str) -> bench.Cell:
    return lambda runs: told([run[pattern]["perplexity"] for run in runs])


def describe(content: dict) -> bench.Document:
    runs, config = content["results"], content["config"]
    dense = [run["perplexity"] for run in runs["dense"]]
    title = f"A language model pruned after training (dense: {told(dense)})"
    measured = [name for name in METHODS if name in runs]
    columns = {name: _at(name) for name in PATTERNS}
    columns["seconds"] = bench.cell(lambda run: run["2:4"]["seconds"], ".1f")
    table = bench.by_variant(title, "method", columns, {name: runs[name] for name in measured})
    means = {
        method: {p: bench.mean([r[p]["perplexity"] for r in runs[method]]) for p in PATTERNS}
        for method in measured
    }
    rows = []
    for pair in CLAIMS:
        one, other = (means[method][pattern] for method, pattern in pair)
        names = (" at ".join(side) for side in pair)
        holds = "holds" if one < other else "does not hold"
        rows.append((*names, f"{one:.1f}", f"{other:.1f}", holds))
    header = ("better", "worse", "perplexity", "against", "")
    claims = bench.Table("What the literature reports", header, rows)
    curves = {m: [means[m][p] for p in PATTERNS] for m in measured if "after" not in m}
    curves["dense"] = [bench.mean(dense)] * len(PATTERNS)
    picture = bench.lines({"perplexity": curves}, "pattern", list(PATTERNS), title, fractions=False)
    about = ABOUT.format(
        models=len(dense), words=WORDS, length=LENGTH, **config, **runs["dense"][0]
    )
    blocks = [table, about, "What the literature reports:", claims]
    return bench.Document(title, blocks, picture, "perplexity by pattern")


if __name__ == "__main__":
    script = bench.Script(__doc__, text=str, epochs=4, models=2, methods=METHODS)
    config = {**script.chosen({"epochs": None}), "calibration": 256}
    found = {"text": str(Path(script.args.text or "").resolve())}
    variants = {"dense": bench.Variant({**config, **found}, train)}
    variants |= {
        m: bench.Variant({**config, **found, "method": m}, after="dense")
        for m in script.args.methods
    }
    study = bench.Study(variants, range(script.args.models), run)
    script.study(study, describe, config, processes=1)
