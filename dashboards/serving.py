"""Runs everything as one process tree: workers, scheduler, live dashboard, MLflow's pages, public site."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboards.processes import Service, stop
from sandbox.errors import Unfit
from sandbox.settings import Settings

_START_SECONDS = 90


@contextmanager
def running(settings: Settings, config: Path | None, operator: str) -> Iterator[list[Service]]:
    """Starts all, waits until each face answers, and stops them whatever happens.

    Workers and scheduler act as `operator`; without one there are none. A taken port is replaced by a free
    one. Raises Unfit when a face does not come up, with its log's place.
    """
    services: list[Service] = []
    try:
        for service in (*_faces(settings, config), *_workers(settings, config, operator)):
            services.append(service.start())
        for service in services:
            if service.address:
                _wait_until_it_answers(service)
        yield services
    finally:
        stop(services)


def wait_for_the_end(services: list[Service], say: Callable[[str], None]) -> None:
    """Returns when somebody presses Ctrl-C or sends SIGTERM; raises Unfit when a face ends by itself. A worker
    or scheduler that ends is started anew."""

    def asked(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, asked)
    told: set[int] = set()
    try:
        while True:
            for service in services:
                if not service.ended:
                    continue
                if not service.restarts:
                    raise Unfit(f"The {service.name} stopped by itself. Its last words are in {service.log}.")
                if service.process.pid not in told:
                    told.add(service.process.pid)
                    say(f"The {service.name} ended and is started anew. Its last words are in {service.log}.")
                service.start_again_when_it_is_time()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def _faces(settings: Settings, config: Path | None) -> Iterator[Service]:
    from sandbox.registry.ui import ui_command

    serving = settings.serving
    ndl, environment = _ndl(config)
    live, public = _free_port(serving.host, serving.live_port), _free_port(serving.host, serving.public_port)
    mlflow = _free_port(serving.host, serving.mlflow_port)
    for name, port, command, around in (
        ("live dashboard", live, [*ndl, "dashboard", "--port", str(live)], environment),
        ("MLflow pages", mlflow, *ui_command(settings, mlflow)),
        ("public site", public, [*ndl, "site", "serve", "--port", str(public)], environment),
    ):
        address = f"http://{serving.host}:{port}/"
        yield Service(name, address, command, around, _log(settings, name))


def _workers(settings: Settings, config: Path | None, operator: str) -> Iterator[Service]:
    ndl, environment = _ndl(config)
    wanted = [(f"worker {n + 1}", ["worker"]) for n in range(settings.workers.count)]
    for name, verb in [*wanted, ("scheduler", ["jobs", "schedule"])] if operator and wanted else []:
        command = [*ndl, "--as", operator, *verb]
        yield Service(name, "", command, environment, _log(settings, name), restarts=True)


def _ndl(config: Path | None) -> tuple[list[str], dict[str, str]]:
    named = {"NDL_CONFIG": str(config.absolute())} if config else {}
    return [sys.executable, "-m", "sandbox.cli"], {**os.environ, **named}


def _log(settings: Settings, name: str) -> Path:
    return settings.storage.folder / "logs" / f"{name.replace(' ', '-')}.log"


def _wait_until_it_answers(service: Service) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and not service.ended:
        try:
            with urllib.request.urlopen(service.address, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise Unfit(f"The {service.name} did not start. Its last words are in {service.log}.")


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
