"""The terms of the pre-training bound beside what it bounds, and condition numbers of features.

    python benchmarks/pretraining_bound.py

The network of Theorem 1 of Wolfe (2023): a mean of sigmoid neurons without bias, weights from
N(0, 1), the squared loss of labels -1 and 1 (whether a digit of scikit-learn's is below 5), SGD
with one image a step. Of m images there are just above m^2 / 64 neurons. After some epochs greedy
forward selection picks neurons as the theorem has it, on all images, and nothing is trained after.
Besides: the condition number of the features of random first layers, on which the threshold of
Wolfe et al. (2022) depends, by how many samples there are.
"""

import itertools
from pathlib import Path

import keras
import numpy as np
from hull_membership import network, neurons

import keras_sparse as ks
from keras_sparse.analysis.bounds.fits import fit_contraction, fit_growth
from keras_sparse.analysis.bounds.hull import first_layer_condition, polytope_diameter
from keras_sparse.analysis.bounds.pretraining import is_overparameterized
from keras_sparse.analysis.bounds.pruning_rate import max_subnetwork_size, subnetwork_loss_bound
from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots import pretraining_curve

IMAGES = (100, 200, 400)
EPOCHS = (0, 1, 2, 4, 8, 16, 32)
RATE, PICKS, SHOWN = 0.1, 200, 50
WIDTH, INPUTS, SAMPLES = 1000, 50, (50, 100, 200, 400, 800)
FEATURES = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
}
ABOUT = """\
L_N is half the mean squared error of the dense network, l(u_k) that of k picks, D the diameter of
the hull of the neurons. The sum is l(u_1) / k + D^2 / 2k + (k - 1) L_N / k, as the source prints
it, with the dense loss that was measured. The picks are {picks} at most. k_max is the largest k
for which the dense loss is at most half of the sum. The rate is that of a line through the
logarithm of the dense losses over the steps; what follows from it is left out where the line
explains less than 80 % of their variance."""


def run(config: dict, folder: Path) -> dict:
    """What was measured along one training."""
    m = config["images"]
    data = ks.data.load("digits", limit=m, seed=config["seed"], flatten=True)
    x, labels = (data.x_train * data.std + data.mean) / 16, np.where(data.y_train < 5, -1.0, 1.0)
    units = int(1.05 * m**2 / x.shape[1])
    keras.utils.set_random_seed(config["seed"])
    model = network(units, x.shape[1], "linear")
    model.compile(keras.optimizers.SGD(RATE * units), "mse")
    probes, past = [], 0
    for epochs in EPOCHS:
        if epochs > past:
            model.fit(x, labels, batch_size=1, epochs=epochs - past, verbose=0)
            past = epochs
        phi, y = neurons(model, x).T.astype("float64") / m**0.5, labels / m**0.5
        probes.append(
            {
                "step": epochs * m,
                "dense": float(((phi.mean(axis=0) - y) ** 2).sum() / 2),
                "diameter": polytope_diameter(phi),
                "picked": ks.structured.select_vertices(phi, y, size=PICKS).losses.tolist(),
            }
        )
    wide = is_overparameterized(m, x.shape[1], units)
    return {"units": units, "inputs": x.shape[1], "overparameterized": wide, "probes": probes}


def conditions(config: dict, folder: Path) -> dict:
    """Condition numbers of features of Gaussian inputs of norm 1, by the number of samples."""
    random = np.random.default_rng(config["seed"])
    found: dict[str, list[float]] = {name: [] for name in FEATURES}
    for m in SAMPLES:
        x = random.normal(size=(m, INPUTS))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        weights = random.normal(size=(INPUTS, WIDTH))
        for name, activation in FEATURES.items():
            found[name].append(first_layer_condition(activation(x @ weights)).kappa)
    return found


def terms(probe: dict, k: int) -> dict[str, float]:
    """The three terms for k picks."""
    return {
        "l(u_1) / k": probe["picked"][0] / k,
        "D^2 / 2k": probe["diameter"] ** 2 / (2 * k),
        "(k - 1) L_N / k": (k - 1) / k * probe["dense"],
    }


def largest_share(probe: dict, form: str) -> float:
    """The largest of the measured losses over their bounds, from two picks on."""
    first, *_ = picked = probe["picked"]
    return max(
        loss / subnetwork_loss_bound(k, first, probe["diameter"], probe["dense"], form)
        for k, loss in enumerate(picked[1:], 2)
    )


def describe(content: dict) -> bench.Document:
    results = dict(content["results"])
    kappas = results.pop("conditions")
    rows, fits, shares = [], [], {"printed": 0.0, "harmonic": 0.0}
    grows = falls = True
    for name, runs in results.items():
        probes = [averaged(at) for at in zip(*(one["probes"] for one in runs), strict=True)]
        for probe in probes:
            sizes = max_subnetwork_size(probe["picked"][0], probe["diameter"], probe["dense"])
            cells = [probe["picked"][k - 1] for k in (1, SHOWN, PICKS)]
            total = sum(terms(probe, SHOWN).values())
            losses = [f"{value:.4f}" for value in (probe["dense"], *cells)]
            others = (f"{probe['diameter']:.2f}", f"{total:.3f}", f"{sizes:.0f}")
            rows.append((name, f"{probe['step']:,.0f}", *losses, *others))
        ends = [sum(terms(probes[at], SHOWN).values()) for at in (0, -1)]
        falls = falls and ends[1] < ends[0]
        for one in runs:
            for form in shares:
                worst = max(largest_share(probe, form) for probe in one["probes"])
                shares[form] = max(shares[form], worst)
            known = [
                max_subnetwork_size(p["picked"][0], p["diameter"], p["dense"])
                for p in one["probes"]
            ]
            grows = grows and known[-1] > known[0]
        fit = fit_contraction([p["step"] for p in probes], [p["dense"] for p in probes])
        m, d = int(name.split()[0]), runs[0]["inputs"]
        told = ("", "", fit.reason)
        if not fit.reason:
            told = (f"{fit.constant(m, d):.3f}", f"{fit.threshold(SHOWN):,.0f}", "")
        fits.append((name, str(runs[0]["units"]), f"{fit.r_squared:.2f}", *told))
    samples = [str(m) for m in SAMPLES]
    means = {name: np.mean([one[name] for one in kappas], axis=0) for name in FEATURES}
    steeper = {name: fit_growth(SAMPLES, values).power[1] for name, values in means.items()}
    told = [
        (name, *(f"{value:.3g}" for value in values), f"m^{steeper[name]:.2f}")
        for name, values in means.items()
    ]
    rising = all(b > a for values in means.values() for a, b in itertools.pairwise(values))
    verdict = {True: "holds", False: "does not hold"}
    lines = [
        f"No measured loss is above the sum, at any k up to {PICKS} (at most "
        f"{shares['printed']:.0%} of it; of the proven form {shares['harmonic']:.0%}): "
        f"{verdict[max(shares.values()) <= 1]}.",
        f"Training raises k_max: {verdict[grows]}.",
        f"Training lowers the sum for k = {SHOWN}: {verdict[falls]}"
        f"{'' if falls else ', as it raises the diameter'}.",
        f"Condition numbers rise with the samples, for each activation: {verdict[rising]}.",
        f"Means over {len(kappas)} seeds; the shares are the largest of all.",
    ]
    header = ("", "steps", "L_N", "l(u_1)", f"l(u_{SHOWN})", f"l(u_{PICKS})", "D")
    header += (f"sum, k = {SHOWN}", "k_max")
    fitted = ("", "neurons", "R^2", "c", f"threshold in steps, k = {SHOWN}", "")
    shown = [averaged(at) for at in zip(*(o["probes"] for o in runs), strict=True)]
    steps = [probe["step"] for probe in shown]
    split = [terms(probe, SHOWN) for probe in shown]
    curves = {key: (steps, [each[key] for each in split]) for key in split[0]}
    curves["their sum"] = (steps, [sum(each.values()) for each in split])
    curves[f"l(u_{SHOWN}), measured"] = (steps, [probe["picked"][SHOWN - 1] for probe in shown])
    picture = pretraining_curve(curves, label="loss", logarithmic=True)
    title = "The terms of the pre-training bound"
    blocks = [
        ABOUT.format(picks=PICKS),
        bench.Table("Terms", header, rows),
        bench.Table("Fits", fitted, fits),
        f"Condition numbers of the features of {WIDTH:,} random neurons, {INPUTS} inputs, by the "
        "number of samples:",
        bench.Table("Condition", ("", *samples, "grows as"), told),
        bench.notes(lines),
    ]
    return bench.Document(title, blocks, picture, f"terms of the bound for {SHOWN} picks, {name}")


def averaged(probes: tuple[dict, ...]) -> dict:
    """The mean of what several seeds found at one step."""
    return {key: np.mean([probe[key] for probe in probes], axis=0) for key in probes[0]}


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3)
    variants = {f"{m} images": bench.Variant({"images": m}) for m in IMAGES}
    variants["conditions"] = bench.Variant({}, conditions)
    script.study(bench.Study(variants, range(script.args.seeds), run), describe)
