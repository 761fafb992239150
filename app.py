"""Open the review app on a run: ``python app.py --run RUN --port 7860``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description="Open the DiffInf app on a run.")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="folder of the run")
    parser.add_argument("--port", type=int, default=7860, help="port, default 7860")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address; any other than loopback needs a log-in"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name under which browsers may ask for it; repeatable",
    )
    parser.add_argument("--ssl-cert", type=Path, help="certificate (PEM), for https")
    parser.add_argument("--ssl-key", type=Path, help="its key (PEM)")
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address or network of a proxy whose X-Forwarded-For is believed; repeatable",
    )
    parser.add_argument(
        "--root-path",
        default="",
        metavar="PATH",
        help="path below which a proxy shows the app, as in /diffinf",
    )
    parser.add_argument(
        "--no-token",
        action="store_true",
        help="without a log-in, let in every user of this machine",
    )
    arguments = parser.parse_args()

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded
    from diffinf_core.cli.streams import write_anything
    from diffinf_core.records import DiffInfError
    from diffinf_core.runs.extras import optional_imports

    write_anything()
    try:
        with optional_imports():
            from diffinf_core.ui.app import serve

        serve(
            arguments.run,
            arguments.port,
            arguments.host,
            allow_hosts=arguments.allow_host,
            ssl_cert=arguments.ssl_cert,
            ssl_key=arguments.ssl_key,
            trusted_proxies=arguments.trusted_proxy,
            token=not arguments.no_token,
            root_path=arguments.root_path,
        )
    except DiffInfError as error:
        print(f"diffinf: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
