"""Start JupyterLab on `notebooks/`, with the Python of the course's environment.

    .venv/bin/python tools/lab.py [--port NUMBER] [--no-browser]

It listens on this computer only (127.0.0.1) and asks for Jupyter's token. Without --port Jupyter takes 8888 or the next
port that is free. Ctrl-C ends it.
"""

import argparse
import os
import socket
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
ADDRESS = "127.0.0.1"


def main(port, browser):
    options = [f"--ServerApp.ip={ADDRESS}", f"--ServerApp.root_dir={NOTEBOOKS}"]
    # The course works offline: JupyterLab need not ask the network whether there is a newer one.
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if port is not None:
        check_port(port)
        options += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        options += ["--no-browser"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container
        options += ["--allow-root"]

    try:
        from jupyterlab.labapp import main as jupyter_lab
    except ImportError:
        sys.exit("minimm: JupyterLab is not installed here. Run make lab, or: python tools/setup_env.py")
    jupyter_lab(options)


def check_port(port):
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        sys.exit(f"minimm: the port must be a number from 1 to 65535, not {port!r}. For example: make lab PORT=8899")
    with socket.socket() as probe:
        if os.name != "nt":  # as the server does: a port that was in use a moment ago is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, int(port)))
        except PermissionError:
            sys.exit(f"minimm: port {port} is reserved for the system. Choose one above 1023, as in: make lab PORT=8899")
        except OSError:
            sys.exit(
                f"minimm: port {port} is in use, perhaps by a JupyterLab that still runs. End that, choose another port, "
                "or leave PORT out: then the next free one is taken."
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Start JupyterLab on the notebooks of the course.")
    parser.add_argument("--port", help="the port to listen on (default: 8888, or the next one that is free)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    arguments = parser.parse_args()
    main(arguments.port, not arguments.no_browser)
