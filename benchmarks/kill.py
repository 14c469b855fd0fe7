"""Kills workers, parents of shards and the scheduler at least 300 times while they work, on SQLite and on PostgreSQL.

    python benchmarks/kill.py [--kills 300] [--seed 1] [--database sqlite|postgres|both] [--json FILE] [--check]

Goals: 0 results lost, done twice or different from a quiet run; whoever is left goes on within 15 seconds of a kill
(of the last one that hit the job, or whoever had fetched it to go on with it).
One of the two workers is taken to be on another machine, where only its silence tells that it died. PostgreSQL
needs Debian's `postgresql`; without it that half is left out, and --check says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.remove(str(Path(__file__).parent))

from tests import killing, postgres

PER_BOUT = 25
"""Kills before a fresh start: each bout has its own database, its own work and its own seed."""
MODELS, WAVES, SUMS = 4, 8, 24


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300, help="in all, half of them on each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    databases = ["sqlite", "postgres"] if asked.database == "both" else [asked.database]
    left_out = [] if postgres.binaries() else [d for d in databases if d == "postgres"]
    databases = [d for d in databases if d not in left_out]
    expected = quiet_results()
    totals = {}
    for database in databases:
        with servers(database) as new_url:
            totals[database] = bouts(database, new_url, asked.kills // len(databases), asked.seed, expected)
    report = {"seed": asked.seed, "left_out": left_out, "databases": totals}
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")
    missed = [f"{d}: not installed here" for d in left_out]
    missed += [f"{d}: {goal}" for d, total in totals.items() for goal in missed_goals(total)]
    print("Every goal is met." if not missed else "Missed: " + "; ".join(missed))
    sys.exit(1 if asked.check and missed else 0)


def bouts(database: str, new_url, kills: int, seed: int, expected: dict) -> dict:
    """Bout after bout until there were enough kills; what they left, added up."""
    all_found, started, number = [], time.monotonic(), 0
    while sum(sum(o.kills.values()) for o in all_found) < kills:
        number += 1
        left = kills - sum(sum(o.kills.values()) for o in all_found)
        found = one_bout(new_url, min(PER_BOUT, left), seed * 1000 + number, expected)
        all_found.append(found)
        print(
            f"{database:<8} bout {number:>2}: {sum(found.kills.values())} kills, {found.busy} of somebody at work; "
            f"lost {found.lost}, twice {found.duplicated}, different {found.different}; "
            f"slowest recovery {found.slowest:.1f} s (slowness {found.slowness:.1f})",
            flush=True,
        )
    total = total_of(all_found) | {"seconds": round(time.monotonic() - started)}
    print(
        f"{database:<8} in all: {total['kills']} kills ({', '.join(f'{n} {r}' for r, n in total['by_role'].items())}), "
        f"{total['busy']} of somebody at work, {total['results']} results: {total['lost']} lost, "
        f"{total['duplicated']} twice, {total['different']} different; recovery median "
        f"{total['median_recovery']:.1f} s, 95 % {total['p95_recovery']:.1f} s, slowest "
        f"{total['slowest_recovery']:.1f} s, on a machine {total['slowness']:.1f} times slower than alone; "
        f"{total['processes_left']} processes left; {total['seconds']} s",
        flush=True,
    )
    return total


def one_bout(new_url, kills: int, seed: int, expected: dict) -> killing.Outcome:
    with tempfile.TemporaryDirectory(prefix="ndl-kill-") as folder:
        url = new_url()
        config = killing.write_config(folder, url)
        store = killing.open_store(url or f"sqlite:///{folder}/ndl.db")
        killing.populate(store, folder, MODELS, WAVES)
        nursery = killing.Nursery(config, NURSERY_SUMS=str(SUMS))
        try:
            found = killing.bout(
                store, nursery, kills=kills, seed=seed, sums=SUMS, evaluations=MODELS * WAVES * 2,
                pause=(1.5, 4.0), patience=300,
            )  # fmt: skip
        finally:
            found_left = nursery.end()
        found = killing.verdict(store, found, expected)
        found.left = len(found_left)
        store.close()
    return found


def total_of(all_found: list[killing.Outcome]) -> dict:
    recoveries = sorted(r for o in all_found for r in o.recoveries)
    by_role: dict[str, int] = {}
    for outcome in all_found:
        for role, count in outcome.kills.items():
            by_role[role] = by_role.get(role, 0) + count
    added = {
        name: sum(getattr(o, name) for o in all_found) for name in ("busy", "lost", "duplicated", "different")
    }
    return {
        **added, "kills": sum(by_role.values()), "by_role": by_role, "bouts": len(all_found),
        "results": sum(o.expected for o in all_found), "broken_chains": sum(o.broken_chain for o in all_found),
        "processes_left": sum(o.left for o in all_found), "recoveries": len(recoveries),
        "median_recovery": recoveries[len(recoveries) // 2], "p95_recovery": recoveries[int(len(recoveries) * 0.95)],
        "slowest_recovery": recoveries[-1], "slowness": sum(o.slowness for o in all_found) / len(all_found),
    }  # fmt: skip


def missed_goals(total: dict) -> list[str]:
    names = ("lost", "duplicated", "different", "broken_chains", "processes_left")
    missed = [f"{total[name]} {name.replace('_', ' ')}" for name in names if total[name]]
    if total["slowest_recovery"] > killing.RECOVERED_SECONDS:
        missed.append(
            f"a recovery took {total['slowest_recovery']:.1f} s, more than {killing.RECOVERED_SECONDS:.0f}"
        )
    return missed


def quiet_results() -> dict:
    """What one process gives in which nobody is killed; in a process of its own, so that its fakes stay there."""
    with tempfile.TemporaryDirectory(prefix="ndl-quiet-") as folder:
        code = (
            "import json; from tests import killing as k, nursery\n"
            f"nursery.light(); store = k.open_store('sqlite:///{folder}/ndl.db')\n"
            f"k.populate(store, {folder!r}, {MODELS}, {WAVES})\n"
            f"print(json.dumps(k.quiet_run(store, {SUMS})))"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=killing.ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@contextmanager
def servers(database: str):
    """Gives addresses of empty databases; none is SQLite in the bout's folder."""
    if database == "sqlite":
        yield lambda: ""
        return
    made = postgres.server()
    try:
        yield next(made)
    finally:
        made.close()


if __name__ == "__main__":
    main()
