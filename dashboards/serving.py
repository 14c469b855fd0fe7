"""Runs the three faces as one process tree: live dashboard, MLflow's pages, public site."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import Unfit
from sandbox.settings import Settings

_START_SECONDS = 90
_STOP_SECONDS = 10


@dataclass(frozen=True)
class Service:
    """One running face. `log` holds what it printed."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running(settings: Settings, config: Path | None) -> Iterator[list[Service]]:
    """Starts all three, waits until each answers, and stops them whatever happens.

    A taken port is replaced by a free one. Raises Unfit when a face does not come up, with its log's place.
    """
    services: list[Service] = []
    try:
        for name, port, command, environment in _commands(settings, config):
            services.append(_start(name, port, command, environment, settings))
        for service in services:
            _wait_until_it_answers(service)
        yield services
    finally:
        for service in services:
            _signal(service, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for service in services:
            try:
                service.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(service, signal.SIGKILL)
                service.process.wait()


def wait_for_the_end(services: list[Service]) -> None:
    """Returns when somebody presses Ctrl-C or sends SIGTERM; raises Unfit when a face ends by itself."""

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        while True:
            for service in services:
                if service.process.poll() is not None:
                    raise Unfit(f"The {service.name} stopped by itself. Its last words are in {service.log}.")
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def _commands(
    settings: Settings, config: Path | None
) -> Iterator[tuple[str, int, list[str], dict[str, str]]]:
    from sandbox.registry.ui import ui_command

    serving = settings.serving
    environment = {**os.environ, **({"NDL_CONFIG": str(config.absolute())} if config else {})}
    ndl = [sys.executable, "-m", "sandbox.cli"]
    live, public = _free_port(serving.host, serving.live_port), _free_port(serving.host, serving.public_port)
    mlflow = _free_port(serving.host, serving.mlflow_port)
    yield "live dashboard", live, [*ndl, "dashboard", "--port", str(live)], environment
    yield "MLflow pages", mlflow, *ui_command(settings, mlflow)
    yield "public site", public, [*ndl, "site", "serve", "--port", str(public)], environment


def _start(
    name: str, port: int, command: list[str], environment: dict[str, str], settings: Settings
) -> Service:
    log = settings.storage.folder / "logs" / f"{name.replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    return Service(name, f"http://{settings.serving.host}:{port}/", process, log)


def _wait_until_it_answers(service: Service) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and service.process.poll() is None:
        try:
            with urllib.request.urlopen(service.address, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise Unfit(f"The {service.name} did not start. Its last words are in {service.log}.")


def _signal(service: Service, number: signal.Signals) -> None:
    if service.process.poll() is None:
        os.killpg(service.process.pid, number)


def _free_port(host: str, wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unfit(f"No free port on {host}.")
