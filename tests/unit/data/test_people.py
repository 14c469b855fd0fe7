from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.card import load_card
from sandbox.catalogue.check import check_card
from sandbox.catalogue.document import sha256_of
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.inspection import inspect
from sandbox.catalogue.people import PeoplePlan, chunk_table, chunks, generate, generate_linked
from sandbox.catalogue.people_drift import DRIFTS, Drift
from sandbox.catalogue.people_records import PEOPLE_PER_BLOCK
from sandbox.errors import Invalid, NDLError

SMALL = PeoplePlan(rows=1_000, wave_rows=400, waves=3)
SUBJECT_NAMES = ("health", "education")


def ids(table: pa.Table) -> list[str]:
    return table["person_id"].to_pylist()


def digests(folder):
    return {p.relative_to(folder): sha256_of(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def everything(plan: PeoplePlan, wave: int) -> pa.Table:
    return pa.concat_tables([chunk_table(plan, chunk) for chunk in chunks(plan, wave)])


@pytest.mark.parametrize("subject", SUBJECT_NAMES)
def test_a_made_dataset_passes_every_check_of_intake_even_with_every_drift_in_it(tmp_path, subject):
    drifts = tuple(Drift(kind, onset=2) for kind in DRIFTS)
    folder = generate(tmp_path / "made", replace(SMALL, subject=subject, drifts=drifts, canaries=20))
    card = check_card(folder)
    for wave in card.waves:
        assert inspect(card, pq.read_table(folder / wave.file)).faults == ()
    encoded = Encoding(card, next(iter(card.tasks))).features(pq.read_table(folder / card.training.file))
    assert all(len(tensor) == 1_000 for tensor in encoded.values())


def test_every_kind_of_column_but_the_image_appears():
    from sandbox.catalogue.people_card import columns

    kinds = {column["kind"] for column in columns(SMALL.view, 3).values()}
    assert kinds == {"identifier", "category", "number", "boolean", "date", "text", "sequence"}


def test_everything_made_says_that_it_is_synthetic(tmp_path):
    folder = generate(tmp_path / "made", replace(SMALL, label_delay_days=40, canaries=10))
    card = load_card(folder)
    assert card.synthetic
    assert "Synthetic" in card.title
    assert "synthetic" in card.custodian.name
    assert card.description.startswith("Synthetic: made up")
    files = list(folder.rglob("*.parquet"))
    assert len(files) > 4
    for file in files:
        assert pq.read_metadata(file).metadata[b"ndl:synthetic"] == b"true"
    for name in ("plan.json", "canaries.json"):
        assert json.loads((folder / name).read_text())["synthetic"] is True


def test_the_same_plan_gives_the_same_bytes_and_another_seed_other_people(tmp_path):
    plan = replace(SMALL, canaries=10, label_delay_days=20, drifts=(Drift("missingness", 2, 0.3),))
    one, same = generate(tmp_path / "a", plan), generate(tmp_path / "b", plan)
    other = generate(tmp_path / "c", replace(plan, seed=2))
    assert digests(one) == digests(same)
    assert not set(ids(pq.read_table(one / "wave-00.parquet"))) & set(
        ids(pq.read_table(other / "wave-00.parquet"))
    )


def test_any_chunk_can_be_made_again_without_the_others(tmp_path):
    plan = PeoplePlan(rows=60_000, wave_rows=100, waves=1, max_rows_per_person=1)
    folder = generate(tmp_path / "made", plan)
    made = list(chunks(plan, 0))
    assert [chunk.rows for chunk in made] == [20_000] * 3
    with pq.ParquetFile(folder / "wave-00.parquet") as file:
        assert file.num_row_groups == 3
        assert file.read_row_group(1).equals(chunk_table(plan, made[1]))


@pytest.mark.parametrize(("rows", "most"), [(100, 1), (1_003, 4), (55_000, 4), (70_000, 3)])
def test_rows_are_as_many_as_asked_and_a_person_never_has_more_than_allowed(rows, most):
    plan = PeoplePlan(rows=rows, wave_rows=rows, waves=2, max_rows_per_person=most)
    for wave in range(3):
        people = Counter(ids(everything(plan, wave)))
        assert people.total() == rows
        assert max(people.values()) == most


def test_people_come_again_in_later_waves_only_when_the_plan_says_so():
    for recurs in (True, False):
        plan = replace(SMALL, recurs=recurs, max_rows_per_person=1)
        waves = [set(ids(everything(plan, wave))) for wave in range(4)]
        shared = [len(a & b) for i, a in enumerate(waves) for b in waves[i + 1 :]]
        assert (min(shared) > 0) if recurs else (max(shared) == 0)


def test_people_who_come_again_have_kept_their_attributes():
    wanted = ("born", "sex", "ethnic_group", "site", "deprivation")
    known: dict[str, tuple] = {}
    for wave in range(4):
        for row in everything(SMALL, wave).to_pylist():
            now = tuple(row[name] for name in wanted)
            assert known.setdefault(row["person_id"], now) == now


def test_two_custodians_hold_the_same_people_and_share_one_population(tmp_path):
    health, education = generate_linked(tmp_path, replace(SMALL, max_rows_per_person=2))
    assert load_card(health).population == load_card(education).population
    assert load_card(health).name != load_card(education).name
    kept = ("born", "sex", "ethnic_group")
    here, there = (
        {
            row["person_id"]: [row[name] for name in kept]
            for row in pq.read_table(f / "wave-00.parquet").to_pylist()
        }
        for f in (health, education)
    )
    both = here.keys() & there.keys()
    assert len(both) > 300
    assert all(here[person] == there[person] for person in both)


def test_linked_people_are_alike_in_what_no_file_holds():
    """Poor readings at the clinic and poor attendance go together, through the same hidden frailty."""
    plan = PeoplePlan(rows=20_000, max_rows_per_person=1, wave_rows=10, waves=1)
    health, education = (everything(replace(plan, subject=s), 0).to_pandas() for s in SUBJECT_NAMES)
    both = health.merge(education, on="person_id", suffixes=("", "_too"))
    assert len(both) == PEOPLE_PER_BLOCK
    assert both["blood_pressure"].corr(both["attendance"]) == pytest.approx(0.36, abs=0.05)


def test_canaries_are_listed_and_those_planted_are_in_the_training_file_once(tmp_path):
    folder = generate(tmp_path / "made", replace(SMALL, canaries=100))
    listed = json.loads((folder / "canaries.json").read_text())["canaries"]
    training = pq.read_table(folder / "wave-00.parquet")
    present = Counter(ids(training))
    planted = [canary for canary in listed if canary["planted"]]
    assert training.num_rows == 1_000
    assert len(listed) == 100
    assert 30 < len(planted) < 70
    for canary in listed:
        assert present[canary["person_id"]] == canary["planted"]
    rows = {row["person_id"]: row for row in training.to_pylist()}
    for canary in planted:
        assert json.loads(json.dumps(rows[canary["person_id"]], default=str)) == canary["record"]


def test_the_place_of_a_row_does_not_say_that_it_is_a_canary():
    table = everything(replace(SMALL, canaries=400), 0)
    places = [place for place, weight in enumerate(table["weight_kg"].to_pylist()) if weight == 500]
    assert sum(place < 500 for place in places) == pytest.approx(
        len(places) / 2, abs=4 * (len(places) / 4) ** 0.5
    )


def test_a_wave_holds_only_records_whose_outcome_is_known_on_its_day(tmp_path):
    folder = generate(tmp_path / "made", replace(SMALL, label_delay_days=45))
    card = load_card(folder)
    assert card.label_delay_days == 45
    for wave in (card.training, *card.waves):
        table = pq.read_table(folder / wave.file)
        assert {(wave.day - seen).days >= 45 for seen in table["seen"].to_pylist()} == {True}
        assert table["admitted"].null_count == 0


def test_records_seen_but_not_yet_decided_wait_without_outcome_and_come_again_with_it(tmp_path):
    folder = generate(tmp_path / "made", replace(SMALL, label_delay_days=45))
    card = load_card(folder)
    waiting = pq.read_table(folder / "pending" / "wave-00.parquet")
    later = pa.concat_tables([pq.read_table(folder / wave.file) for wave in card.waves])
    outcomes = ("visits_next_year", "care_level", "admitted")
    assert waiting.num_rows > 400
    assert all(waiting[name].null_count == waiting.num_rows for name in outcomes)
    assert all(0 <= (card.training.day - seen).days < 45 for seen in waiting["seen"].to_pylist())
    rest = [name for name in waiting.column_names if name not in outcomes]
    decided = {json.dumps(row, default=str) for row in later.select(rest).to_pylist()}
    assert all(json.dumps(row, default=str) in decided for row in waiting.select(rest).to_pylist())


def test_without_a_delay_nothing_waits(tmp_path):
    assert not (generate(tmp_path / "made", SMALL) / "pending").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(NDLError, match="not empty"):
        generate(tmp_path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_plan_is_refused_with_every_problem_at_once():
    with pytest.raises(Invalid) as refusal:
        PeoplePlan(
            subject="astrology",
            rows=3,
            drifts=(Drift("sideways", 1), Drift("inputs", 0), Drift("unit", 1, 7.0), Drift("labels", 9)),
        )
    where = [problem.where for problem in refusal.value.problems]
    assert where == ["subject", "rows", "drifts.0", "drifts.1", "drifts.2", "drifts.3"]


def test_delta_is_smaller_than_one_in_as_many_people_as_there_are():
    from sandbox.catalogue.people_card import delta_for

    assert [delta_for(people) for people in (1, 5_000, 100_000)] == [1e-6] * 3
    assert delta_for(4_000_000) == pytest.approx(1e-8)


def test_a_dataset_may_have_no_later_wave_yet(tmp_path):
    folder = generate(tmp_path / "made", replace(SMALL, waves=0))
    assert check_card(folder).waves == ()
    assert {file.name for file in folder.glob("*.parquet")} == {"wave-00.parquet"}
