"""Do the statistics hold what they promise? Covers, false alarms and delays, over simulated waves and years.

    python benchmarks/statistics.py [--json FILE] [--check] [--repeats 1000] [--again 8] [--jobs 2] [--fast]
        [--only cover] [--of people]

Three parts. Cover: of nominal 95 % intervals in more than 500 settings, exact for rates, simulated for the rest,
among them weighted records and people with several (goal: at least 94.5 % in each, none below 93 %; a simulated
setting misses when it is below by more than three of the simulation's standard errors). Alarms: of the change
detector over 100,000 stream-years in which nothing changes (goal: no more than the policy declares, and none in a
year of 160 daily streams), and days until a fall of two points at 1,000 labels a day is seen (goal: median of at
most 10, at error rates of up to 20 %; at 30 and 40 % even whoever knows the rates before and after needs 10 and 11).
Drift: years of 52 waves and 20 features (goal: at most 5 % alarm), shifts and moved categories found in time, exact
and with noise. Alarms and drift also of people with several records, beside what would be said if these were taken
for plain records.

`--fast` looks at a hundredth of it. The same simulations, smaller still, run in the test suite.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # this folder last: the standard library has a module of this script's name

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulations import alarms, clustered, coverage, drifts

NO_GOAL = "to compare: nothing is promised"


def covers(options: argparse.Namespace) -> Iterator[coverage.Row]:
    if not options.of:
        yield from coverage.rates()
    yield from coverage.simulated(options.repeats, options.again, options.jobs, options.of)
    yield from clustered.distances(options.repeats, options.of)


def watching(size: float) -> Iterator[alarms.Quiet | alarms.Delay]:
    yield alarms.quiet_shares(round(100_000 * size), 52, 1000)
    estate = alarms.quiet_shares(160, 365, 1000, seed=11)
    yield alarms.Quiet("one estate: 160 streams, every day for a year", estate.stream_years, estate.alarms, 0)
    yield alarms.quiet_means(round(3_000 * size), "AUC", 500)
    yield alarms.quiet_means(round(3_000 * size), "calibration bias", 500)
    for p, goal in ((0.05, 10), (0.1, 10), (0.2, 10), (0.3, None), (0.4, None)):
        yield alarms.delays(max(round(400 * size), 40), 100, p, goal)
    yield alarms.delays(max(round(400 * size), 40), 14, 0.2, None)
    for crowd in clustered.CROWDS:
        yield from clustered.quiet_streams(crowd, round(3_000 * size))


def moving(size: float) -> Iterator[drifts.Shown]:
    for sigma in (0.0, drifts.ONE_TABLE, 10.0):
        promised = sigma <= drifts.ONE_TABLE  # more noise hides a shift for longer, but may not cry wolf
        yield drifts.years(max(round(400 * size), 20), sigma)
        yield drifts.shifts(max(round(2000 * size), 50), sigma, 0.99 if promised else 0.0)
        yield drifts.moves(max(round(2000 * size), 50), sigma, 0.95)
    for crowd in clustered.CROWDS:
        yield from clustered.years(crowd, max(round(100 * size), 2))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--again", type=int, default=8, help="times as many draws where a second look is due")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--only", choices=("cover", "alarms", "drift"))
    parser.add_argument("--of", default="", help="of the covers only settings with this in their name")
    options = parser.parse_args()
    size = 0.01 if options.fast else 1.0
    if options.fast:
        options.repeats, options.again = 100, 0
    found: dict[str, list[Any]] = {}
    for part, work in (("drift", moving(size)), ("alarms", watching(size)), ("cover", covers(options))):
        if options.only in (None, part):
            found[part] = []
            for row in work:
                print(_line(row), flush=True)
                found[part].append(row)
    if "cover" in found:
        _summary(found["cover"])
    if options.json:
        rows = {part: [asdict(row) for row in rows] for part, rows in found.items()}
        options.json.write_text(json.dumps(rows, indent=2))
    missed = [row for rows in found.values() for row in rows if row.missed]
    for row in missed:
        print(f"MISSED: {_line(row)}")
    return 1 if options.check and missed else 0


def _line(row: Any) -> str:
    if isinstance(row, coverage.Row):
        how = f"± {row.error:.4f}" if row.tried else "exact"
        return f"{row.setting:62}{row.covered:8.4f} {how:9}{row.width:9.4f}"
    if isinstance(row, alarms.Quiet):
        goal = NO_GOAL if row.declared is None else f"declared: {row.declared:g}"
        return f"{row.what:70}{row.alarms:5} alarms in {row.stream_years:,} stream-years ({goal})"
    if isinstance(row, alarms.Delay):
        goal = "no promise" if row.goal is None else f"goal: {row.goal:g}"
        return (
            f"{row.what:70}{row.median:5g} days (median; {goal}; {row.least:g} if both rates were known),"
            f" {row.nine_in_ten:g} in 9 of 10, {row.never} never"
        )
    return f"{row.what:70}{row.share:8.4f} of {row.tried:,} ({_share_goal(row)})"


def _share_goal(row: drifts.Shown) -> str:
    if row.at_most < 1:
        return f"goal: at most {row.at_most:g}"
    return f"goal: at least {row.at_least:g}" if row.at_least > 0 else NO_GOAL


def _summary(rows: list[coverage.Row]) -> None:
    worst = min(rows, key=lambda row: row.covered)
    below = [row for row in rows if row.covered < coverage.EACH]
    missed = sum(row.missed for row in rows)
    print(
        f"{len(rows)} settings; lowest {worst.covered:.4f} ({worst.setting}); {len(below)} estimates below"
        f" {coverage.EACH:.1%}, of which {missed} by more than the simulation's error"
    )


if __name__ == "__main__":
    sys.exit(main())
