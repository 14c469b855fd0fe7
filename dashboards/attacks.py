"""What have attackers found out about who was in a training, beside what epsilon allows anybody?"""

from __future__ import annotations

from dashboards.panels import AttackLine, Attacks
from dashboards.trends import Readings
from evaluators.membership import ALLOWED, AUC, FOUND

FIGURES = (AUC, *FOUND)


def attacks(readings: Readings) -> Attacks | None:
    """Of the last wave that was attacked (a model is attacked once); None where none was."""
    groups = readings.groups(AUC)
    for wave in reversed(readings.waves):
        lines = [
            AttackLine(group.partition("=")[2], tuple(readings.point(wave, name, group) for name in FIGURES))
            for group in groups
        ]
        asked = [point for line in lines for point in line.points if point and point.status != "reference"]
        if asked:
            most = tuple(readings.point(wave, name + ALLOWED) for name in FIGURES)
            return Attacks(wave.name, max(point.n for point in asked), tuple(lines), most)
    return None
