"""A run for tests of studies, which imports nothing that takes long."""

import json
import os


def run(config, folder):
    """Counts how often it is called; what comes after another finds that one's folder."""
    calls = folder / "calls"
    before = calls.read_text() if calls.exists() else ""
    calls.write_text(before + "x")
    if config.get("fails") and len(before) < config["fails"]:
        raise RuntimeError("as it was told to")
    found = {"value": config["x"] + config["seed"], "calls": len(before) + 1}
    found["threads"] = os.environ["OMP_NUM_THREADS"]
    if "after" in config:
        found["after"] = json.loads((folder.with_name(config["after"]) / "result.json").read_text())
    return found
