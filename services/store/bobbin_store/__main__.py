"""Starts the store: ``python -m bobbin_store``.

What it measures has its place before anything is loaded that measures; the rest is `bobbin_store.process`.
"""

from __future__ import annotations

import os

from bobbin_telemetry.metrics_folder import metrics_folder

if __name__ == "__main__":
    with metrics_folder(port=os.environ.get("STORE_METRICS_PORT", "")):
        from bobbin_store.process import main

        main()
