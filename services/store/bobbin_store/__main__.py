"""Starts the store: ``python -m bobbin_store``.

What it measures has its place before anything is loaded that measures; the rest is `bobbin_store.process`.
"""

from __future__ import annotations

import os

from bobbin_telemetry.metrics_folder import metrics_folder
from bobbin_telemetry.stopping import leave_when_told

if __name__ == "__main__":
    leave_when_told()  # until granian listens to the signal: what there is by then is cleaned up
    with metrics_folder(port=os.environ.get("STORE_METRICS_PORT", "")):
        from bobbin_store.process import main

        main()
