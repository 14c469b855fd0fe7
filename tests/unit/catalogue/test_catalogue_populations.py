"""Datasets of one population: they agree about their people, nobody is in two pools, one budget for all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from sandbox.api import Sandbox
from sandbox.catalogue import intake, populations, wave_intake
from sandbox.catalogue.card import Card
from sandbox.catalogue.cli import dataset as dataset_command
from sandbox.errors import Invalid, Quarantined, Refused
from sandbox.lifecycle import WaveState
from sandbox.privacy import accounting, ledger
from sandbox.records import Dataset, Event, Wave

MARCH = date(2024, 3, 31)
SECRET = "w7"  # a unit's name


@pytest.fixture
def bring(
    box: Sandbox, section: dict[str, Any], folder: Callable[..., Path], records: Callable[..., pa.Table]
):
    """Brings in a dataset called `name` of people <prefix>0, <prefix>1, ..., its card changed in these fields."""

    def bring(name: str, prefix: str = "t", rows: int = 200, **changes: Any) -> Dataset:
        mine = copy.deepcopy(section) | {"name": name}
        for field, value in changes.items():
            place = mine
            *path, last = field.split("__")
            for step in path:
                place = place[step]
            place[last] = value
        column = mine["unit"]
        table = records(Card.from_json({"name": "x", "ndl:dataset": section}), rows, prefix)
        table = table.rename_columns([column if c == section["unit"] else c for c in table.column_names])
        place = folder(mine, name, table)
        return intake.add_dataset(box.store, box.settings, place, box.person)

    return bring


@pytest.fixture
def deliver(box: Sandbox, records: Callable[..., pa.Table], tmp_path: Path):
    def deliver(dataset: str, name: str, prefix: str, rows: int = 20) -> Wave:
        card = intake.card_of(box.store.get(Dataset, dataset))
        pq.write_table(records(card, rows, prefix, len(dataset)), tmp_path / "delivery.parquet")
        return intake.add_wave(
            box.store, box.settings, dataset, tmp_path / "delivery.parquet", name, MARCH, box.person
        )

    return deliver


def pools(box: Sandbox) -> dict[str, float]:
    return {status.pool: status.epsilon for status in ledger.statuses(box.store)}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        (
            "recurs",
            True,
            "recurs: true here, but false in the dataset 'jobs' of the same population 'adults'",
        ),
        (
            "unit_means",
            "one household",
            "unit_means: 'one household' here, but 'one adult' in the dataset 'jobs'",
        ),
        ("training__held_out_share", 0.4, "training.held_out_share: 0.4 here, but 0.3 in the dataset 'jobs'"),
    ],
)
def test_datasets_of_one_population_agree_on_what_they_say_of_it(
    box: Sandbox, bring: Callable[..., Dataset], field: str, value: object, sentence: str
) -> None:
    bring("jobs")
    before, lines = pools(box), len(box.store.audit_lines())
    with pytest.raises(Invalid, match="Say the same as that dataset, or name another population") as refusal:
        bring("pay", **{field: value})
    [problem] = refusal.value.problems
    assert str(problem).startswith(sentence)
    assert pools(box) == before
    assert len(box.store.audit_lines()) == lines
    assert [d.name for d in box.store.all(Dataset)] == ["jobs"]
    assert bring("work", **{field: value}, population="others").population == "others"


def test_the_unit_column_is_the_same_in_every_dataset_of_a_population(
    bring: Callable[..., Dataset], section: dict[str, Any]
) -> None:
    bring("jobs")
    columns = {("member" if name == "person" else name): c for name, c in section["columns"].items()}
    with pytest.raises(Invalid, match="unit: 'member' here, but 'person' in the dataset 'jobs'"):
        bring("pay", unit="member", columns=columns)
    assert bring("work", unit="member", columns=columns, population="members").population == "members"


def test_the_same_people_in_waves_of_one_name_share_every_budget(
    box: Sandbox, bring: Callable[..., Dataset], deliver: Callable[..., Wave]
) -> None:
    bring("jobs")
    bring("pay")
    assert deliver("jobs", "second", "w").state is WaveState.ACCEPTED
    assert deliver("pay", "second", "w").state is WaveState.ACCEPTED
    assert sorted(pools(box)) == ["held-out:adults/first", "held-out:adults/second", "training:adults"]


def test_people_under_two_wave_names_are_not_disjoint(
    box: Sandbox, bring: Callable[..., Dataset], deliver: Callable[..., Wave]
) -> None:
    bring("jobs")
    bring("pay")
    deliver("jobs", "second", "w")
    with pytest.raises(Quarantined, match="in a wave of another name in 20 records") as refusal:
        deliver("pay", "third", "w")
    assert SECRET not in str(refusal.value)
    assert "held-out:adults/third" not in pools(box)
    assert deliver("pay", "third", "v").state is WaveState.ACCEPTED


def test_people_a_sister_trains_on_are_in_no_wave(
    box: Sandbox, bring: Callable[..., Dataset], deliver: Callable[..., Wave]
) -> None:
    bring("jobs")
    bring("pay", "w")  # some of these people it trains on, the others are in its first wave
    with pytest.raises(Quarantined, match="trains on or has in a wave of another name in 20 records"):
        deliver("jobs", "second", "w")


def test_a_dataset_that_trains_on_a_sisters_wave_is_refused_for_nothing(
    box: Sandbox, bring: Callable[..., Dataset], deliver: Callable[..., Wave]
) -> None:
    bring("jobs")
    deliver("jobs", "second", "w")
    before = pools(box)
    with pytest.raises(Invalid, match="units of the training side are held out in a wave") as refusal:
        bring("pay", "w")
    assert SECRET not in str(refusal.value)
    assert pools(box) == before
    assert not (box.folder / "data" / "pay").exists()


def test_the_first_wave_of_the_same_people_has_the_same_name(
    box: Sandbox, bring: Callable[..., Dataset]
) -> None:
    bring("jobs")
    with pytest.raises(Invalid, match=r"training\.wave: .* Give waves of the same people the same name"):
        bring("pay", training__wave="start")
    assert "held-out:adults/start" not in pools(box)


def test_where_people_recur_all_waves_share_one_pool(
    box: Sandbox, bring: Callable[..., Dataset], deliver: Callable[..., Wave]
) -> None:
    bring("jobs", recurs=True)
    other = bring("pay", recurs=True, training__wave="start")
    wave = deliver("pay", "second", "t", 200)
    assert sorted(pools(box)) == ["held-out:adults", "training:adults"]
    trained_on = {u for d in ("jobs", other.name) for u in _trained_on(box, d)}
    assert not trained_on & set(intake.read_wave(wave).column("person").to_pylist())


def test_a_wave_that_came_in_meanwhile_is_seen(
    box: Sandbox, bring: Callable[..., Dataset], deliver: Callable[..., Wave], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another custodian's wave of the same people is accepted after this one was judged, before it is kept."""
    bring("jobs")
    bring("pay")
    real = wave_intake._judge

    def overtaken(*given: Any) -> Any:
        judged = real(*given)
        monkeypatch.setattr(wave_intake, "_judge", real)
        deliver("jobs", "second", "w")
        return judged

    monkeypatch.setattr(wave_intake, "_judge", overtaken)
    with pytest.raises(Quarantined, match="in a wave of another name"):
        deliver("pay", "third", "w")


def test_a_dataset_that_came_in_meanwhile_is_seen(
    box: Sandbox, bring: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = populations.overlaps

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(populations, "overlaps", real)
        found = list(real(*given))
        bring("jobs")
        return found

    monkeypatch.setattr(populations, "overlaps", overtaken)
    with pytest.raises(Invalid, match="the same name"):
        bring("pay", training__wave="start")
    assert [d.name for d in box.store.all(Dataset)] == ["jobs"]


def test_a_second_dataset_neither_resets_nor_raises_what_the_population_has(
    box: Sandbox, bring: Callable[..., Dataset]
) -> None:
    bring("jobs")
    event = accounting.gaussian_event(3.0)
    ledger.reserve(box.store, "training:adults", event, "person", "a test", "olga")
    before = ledger.status(box.store, "training:adults")
    bring("pay", budget__training={"epsilon": 20, "delta": 1e-5})
    assert ledger.status(box.store, "training:adults") == before
    [line] = [line for line in box.store.audit_lines() if line.action == "privacy.keep"]
    assert "keeps its budget of ε = 8" in line.reason


def test_a_second_dataset_may_not_shrink_a_budget_below_what_is_spent(
    box: Sandbox, bring: Callable[..., Dataset]
) -> None:
    bring("jobs")
    ledger.reserve(box.store, "training:adults", accounting.gaussian_event(1.0), "person", "a test", "olga")
    before = ledger.statuses(box.store)
    with pytest.raises(Refused, match="never shrinks below what is spent"):
        bring("pay", budget__training={"epsilon": 5, "delta": 1e-6})
    assert ledger.statuses(box.store) == before
    assert [d.name for d in box.store.all(Dataset)] == ["jobs"]


@pytest.mark.parametrize(
    ("epsilon", "said"), [(20, "training:adults keeps its budget of ε = 8"), (4, "has a smaller budget now")]
)
def test_the_command_says_what_became_of_a_shared_budget(
    box: Sandbox, bring: Callable[..., Dataset], folder: Callable[..., Path], section: dict[str, Any],
    records: Callable[..., pa.Table], card: Card, epsilon: float, said: str,
) -> None:  # fmt: skip
    bring("jobs")
    section |= {"name": "pay"}
    section["budget"]["training"]["epsilon"] = epsilon
    place = folder(section, "pay", records(card, 200, "t"))
    result = CliRunner().invoke(dataset_command, ["add", str(place)], obj=box, catch_exceptions=False)
    assert result.exit_code == 0
    assert said in " ".join(result.output.split())
    again = CliRunner().invoke(dataset_command, ["add", str(place)], obj=box, catch_exceptions=False)
    assert "note:" not in again.output  # it is here already: nothing became of anything


def test_a_command_that_shares_no_budget_says_nothing_of_one(
    box: Sandbox, folder: Callable[..., Path], section: dict[str, Any], records: Callable[..., pa.Table], card: Card
) -> None:  # fmt: skip
    result = CliRunner().invoke(
        dataset_command, ["add", str(folder(section, "jobs", records(card, 200, "t")))], obj=box
    )
    assert result.exit_code == 0
    assert "note:" not in result.output


def test_a_wave_that_shares_a_budget_keeps_the_one_there_is(
    box: Sandbox, bring: Callable[..., Dataset], deliver: Callable[..., Wave]
) -> None:
    bring("jobs")
    bring("pay", budget__held_out={"epsilon": 9, "delta": 1e-6})
    deliver("jobs", "second", "w")
    since = box.store.change_number()
    deliver("pay", "second", "w")
    [note] = populations.budget_notes(
        box.store, intake.card_of(box.store.get(Dataset, "pay")), "second", since
    )
    assert "held-out:adults/second keeps its budget of ε = 3" in note
    assert pools(box)["held-out:adults/second"] == 3


def test_a_card_is_held_against_every_dataset_of_its_population(
    box: Sandbox, bring: Callable[..., Dataset]
) -> None:
    """Also against those from before this was checked, which may contradict each other."""
    bring("jobs")
    with box.store.transaction() as tx:
        jobs = tx.get(Dataset, "jobs")
        card = copy.deepcopy(jobs.card)
        card["ndl:dataset"] |= {"name": "a", "unit_means": "one household"}
        tx.add(replace(jobs, name="a", card=card), Event("dana", "dataset added", "a"))
    with pytest.raises(Invalid, match="in the dataset 'jobs'") as refusal:
        bring("pay", unit_means="one household", recurs=True)
    assert sorted(problem.where for problem in refusal.value.problems) == ["recurs", "unit_means"]


def _trained_on(box: Sandbox, dataset: str) -> set[str]:
    return set(intake.read_training(box.store.get(Dataset, dataset)).column("person").to_pylist())
