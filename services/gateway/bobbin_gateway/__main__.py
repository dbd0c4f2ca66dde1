"""Starts the gateway: ``python -m bobbin_gateway``.

What it measures has its place before anything is loaded that measures; the rest is `bobbin_gateway.process`.
"""

from __future__ import annotations

import os

from bobbin_telemetry.metrics_folder import metrics_folder
from bobbin_telemetry.stopping import leave_when_told

if __name__ == "__main__":
    leave_when_told()  # until granian listens to the signal: what there is by then is cleaned up
    with metrics_folder(port=os.environ.get("GATEWAY_METRICS_PORT", "")):
        from bobbin_gateway.process import main

        main()
