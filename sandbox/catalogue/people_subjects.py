"""What do the made-up custodians hold about made-up people? Columns, words and questions, by subject."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number column: public bounds, mean and spread, and `decimals` it is written with."""

    name: str
    title: str
    low: float
    high: float
    mean: float
    spread: float
    decimals: int = 1


@dataclass(frozen=True)
class Subject:
    """One custodian's view of the people. Every subject has the same parts, so that one code draws all.

    `measure` may change its unit (times `other_unit`), `reading` may be missing, `route` may lose its
    balance. `amount`, `band` and `event` are the outcomes: a number, three classes, and yes or no.
    """

    name: str
    title: str
    custodian: str
    purposes: tuple[str, ...]
    site_title: str
    measure: Figure
    other_unit: float
    other_unit_means: str
    reading: Figure
    route: str
    routes: tuple[str, ...]
    flag: str
    series: Figure
    series_length: int
    text: str
    phrases: tuple[str, ...]
    amount: Figure
    band: str
    bands: tuple[str, str, str]
    event: str
    questions: tuple[str, str, str]


SEXES = ("Female", "Male")
GROUPS = ("Group A", "Group B", "Group C", "Group D")
ROUTE_SHARES = (0.5, 0.25, 0.15, 0.1)

HEALTH = Subject(
    name="health",
    title="Clinic visits",
    custodian="The Made-up Health Board",
    purposes=("health-service planning", "teaching and testing"),
    site_title="Clinic",
    measure=Figure("weight_kg", "Body weight in kilograms", 0, 500, 75, 14),
    other_unit=2.20462,
    other_unit_means="pounds",
    reading=Figure("blood_pressure", "Systolic blood pressure", 60, 260, 128, 17, 0),
    route="referral",
    routes=("General practice", "Emergency", "Self", "Another clinic"),
    flag="smoker",
    series=Figure("daily_steps", "Thousands of steps on each of the last 7 days", 0, 40, 8, 3),
    series_length=7,
    text="note",
    phrases=(
        "very well, no complaint", "well, routine visit", "well, asked for advice", "tired at times",
        "some pain, sleeps well", "pain most days", "breathless on stairs", "breathless at rest, worried",
    ),
    amount=Figure("visits_next_year", "Visits in the following year", 0, 60, 12, 5, 0),
    band="care_level",
    bands=("Self-care", "Clinic", "Hospital"),
    event="admitted",
    questions=(
        "Will this person be admitted to hospital within 90 days?",
        "Which level of care will this person need?",
        "How many visits will this person make in the following year?",
    ),
)  # fmt: skip

EDUCATION = Subject(
    name="education",
    title="College terms",
    custodian="The Made-up College Trust",
    purposes=("education planning", "teaching and testing"),
    site_title="College",
    measure=Figure("distance_km", "Distance from home to college in kilometres", 0, 100, 14, 4),
    other_unit=0.621371,
    other_unit_means="miles",
    reading=Figure("attendance", "Attendance in per cent", 0, 100, 78, 9, 0),
    route="support",
    routes=("None", "Tutoring", "Mentoring", "Language course"),
    flag="works_part_time",
    series=Figure("weekly_marks", "Marks in each of the last 6 weeks, out of 20", 0, 20, 11, 3),
    series_length=6,
    text="remark",
    phrases=(
        "excellent, helps others", "good, steady work", "good, could read more", "fair, easily distracted",
        "fair, hands in late", "weak, needs support", "weak, often absent", "at risk, has stopped coming",
    ),
    amount=Figure("final_score", "Final score", 0, 100, 55, 14),
    band="grade",
    bands=("Distinction", "Pass", "Resit"),
    event="left_early",
    questions=(
        "Will this student leave before the course ends?",
        "Which grade will this student get?",
        "Which score will this student end with?",
    ),
)  # fmt: skip

SUBJECTS = {subject.name: subject for subject in (HEALTH, EDUCATION)}
