"""A throw-away PostgreSQL server for tests: a socket in a short folder, no network, nothing left behind.

It is set up as awkwardly as a real one may be (dictionary order, another time zone, serializable by
default, commits that do not wait for the disk), so that our code has to ask for what it needs.
"""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

SETTINGS = """\
listen_addresses = ''
max_connections = 60
shared_buffers = '16MB'
fsync = off
full_page_writes = off
synchronous_commit = off
default_transaction_isolation = 'serializable'
timezone = 'Asia/Kathmandu'
autovacuum = off
"""


def binaries():
    """The folder of initdb and postgres, the newest of Debian's first; None where there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parts[-2]), reverse=True)
    path = shutil.which("postgres")
    for folder in [*debian, *([Path(path).resolve().parent] if path else [])]:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    return None


class Server:
    """Called, it makes an empty database and returns its URL."""

    def __init__(self, folder):
        self.folder, self._programs = folder, binaries()
        user = []
        if os.geteuid() == 0:  # postgres refuses root
            shutil.chown(folder, "postgres", "postgres")
            user = ["--reuid=postgres", "--regid=postgres", "--init-groups"]
        # The server is told to stop when this process is gone, however it goes.
        self._as = ["setpriv", *user, "--pdeathsig=INT", "--"]
        self._data, self._log = folder / "data", folder / "log"
        self._process, self._ready = None, None

    def start(self):
        made = subprocess.run(
            [*self._as, self._programs / "initdb", "-D", self._data, "-U", "ndl", "--auth=trust", "--no-sync",
             "--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"],
            cwd="/", capture_output=True, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{SETTINGS}unix_socket_directories = '{self.folder}'\n")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*self._as, self._programs / "postgres", "-D", self._data],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.03)

    def stop(self):
        if self._process and self._process.poll() is None:
            self._process.send_signal(2)  # a fast shutdown: open connections are ended
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __call__(self):
        name = f"t{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def ready(self):
        """The URL of one database with our tables, emptied: 20 ms instead of 400 for a new one.

        There is only one: whoever used it before has closed it.
        """
        from sandbox.storage import Store

        if self._ready is None:
            self._ready = self()
            Store(self._ready).close()
        self.empty(self._ready)
        return self._ready

    def empty(self, url):
        """Removes all records from our tables, history too: only a superuser can pass over its triggers."""
        import sqlalchemy as sa

        from sandbox.storage import tables

        names = reversed(tables.metadata.sorted_tables)
        statements = ["SET session_replication_role = replica", *(f'DELETE FROM "{t.name}"' for t in names)]
        self.run("; ".join(statements), sa.make_url(url).database)

    def run(self, sql, database="postgres"):
        """Runs SQL as the server's owner: one statement outside a transaction, more of them inside one."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user="ndl", dbname=database, autocommit=True
        ) as connection:
            connection.execute(sql)

    def url(self, name, user="ndl"):
        return f"postgresql+psycopg://{user}@/{name}?host={self.folder}"

    def _answers(self):
        import psycopg

        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def server():
    """A generator of one started server; it is stopped and its folder removed whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="ndlpg"))
    made = Server(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
