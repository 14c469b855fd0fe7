"""Takes the picture in the README: starts the live dashboard on the given settings and writes docs/live.png.

    .venv/bin/python docs/picture.py --config configs/demo.toml --model formal-outcome/1
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=HERE.parent / "configs" / "demo.toml")
    parser.add_argument("--model", default="formal-outcome/1", help="model version; empty for all models")
    parser.add_argument("--out", type=Path, default=HERE / "live.png")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=1300)
    asked = parser.parse_args()
    path = f"model?model={quote(asked.model, safe='')}" if asked.model else ""
    with dashboard(asked.config) as address:
        take(address + path, asked.out, asked.width, asked.height)
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")


@contextmanager
def dashboard(config: Path) -> Iterator[str]:
    """Serves the live dashboard on a free port and stops it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sandbox.cli", "--config", str(config), "dashboard", "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, "NDL_SERVING__HOST": "127.0.0.1"}, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                if server.poll() is not None:
                    sys.exit("The dashboard did not start.")
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def take(address: str, out: Path, width: int, height: int) -> None:
    """Waits until everything is drawn, then writes what a person would see."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(address)
        page.wait_for_selector("text=checked for new results")
        if "model=" in address:
            page.wait_for_selector("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")
        page.wait_for_timeout(2000)
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main()
