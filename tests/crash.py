"""`python -m tests.crash --seconds 600 --seed N`: a long crash run, from the top of the checkout.

Owns: the way in. The run itself is `crash_run`'s, which the short run in the tests uses as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from crash_run import main

    sys.exit(main())
