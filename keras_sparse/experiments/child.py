"""One run of a study: `python child.py FOLDER` calls the function that `FOLDER/job.json` names.

Nothing of the package is imported here: a run may be one on an older Keras, which must not meet
the present one in its process.
"""

import importlib
import json
import os
import signal
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Runs the function of a folder, and leaves there what it returns, if anything."""
    # A run that starts processes ends them on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    sys.path[0] = job["path"]
    run = getattr(importlib.import_module(job["module"]), job["function"])
    result = run(job["config"], folder)
    if result is not None:
        partial = folder / "result.partial"
        partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, folder / "result.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
