"""Entry of ``python -m benchmarks``.

Run from a checkout, Python finds the checkout's ``fastconv`` folder before the installed package. Where
that folder has no compiled module (nothing was built in place), the checkout moves to the end of the path
and the installed one is found.
"""

import sys
from pathlib import Path

checkout = Path(__file__).resolve().parents[1]
if not any((checkout / "fastconv").glob("_core*.so")):
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != checkout]
    sys.path[:] = [*elsewhere, str(checkout)]

from benchmarks.cli import main  # noqa: E402

if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted before anything was measured")
