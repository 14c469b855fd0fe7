"""Noise is charged before it is drawn, drawn once, and replayed for ever."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from sandbox.disclosure import noisy
from sandbox.disclosure.noisy import NoisyTally, noisy_inputs, noisy_tally
from sandbox.errors import BudgetExhausted, Refused
from sandbox.lifecycle import ChargeState, WaveState
from sandbox.privacy import ledger, mechanisms
from sandbox.records import Charge
from sandbox.storage import Transaction
from sandbox.tally import Axis, Table, Tally

POOL = "held-out:crimes/2016"


@pytest.fixture
def ask(store, settings, card, model, wave, tally):
    def ask(**other):
        known = {"store": store, "settings": settings, "card": card, "model_version": model, "wave": wave}
        return noisy_tally(**(known | {"tally": tally, "person_name": "omar"} | other))

    return ask


def test_asking_again_gives_the_same_bytes_for_one_charge(ask, store, settings):
    first = ask()
    dearer = settings.model_copy(
        update={"publication": settings.publication.model_copy(update={"epsilon": 2})}
    )
    again = ask(settings=dearer)
    assert again.to_bytes() == first.to_bytes()
    assert (again.epsilon, again.delta) == (0.5, 1e-6)
    assert ledger.status(store, POOL).charges == 1


def test_what_is_stored_is_what_was_returned(ask, store, model, wave):
    drawn = ask()
    with store.reading() as view:
        assert view.tally(f"release|{model.id}|{wave.id}|v2") == drawn.to_bytes()


def test_the_charge_names_its_tally_and_is_what_the_noise_costs(ask, store):
    drawn = ask()
    [charge] = store.all(Charge)
    assert (charge.id, charge.pool, charge.unit) == (drawn.charge, POOL, "crime_id")
    assert charge.purpose == "release|outcome/1|crime/2016|v2"
    noise = drawn.sigma / mechanisms.l2_sensitivity(1, 2)
    assert charge.event == {"event": "DiscreteGaussian", "noise_multiplier": pytest.approx(noise)}


def test_only_the_tables_of_a_release_are_in_it_with_fewer_score_bins_for_groups(ask, tally):
    drawn = ask().tally
    assert {name: t.counts.shape for name, t in drawn.tables.items()} == {
        "scores": (2, 32), "scores:district": (4, 2, 16),
    }  # fmt: skip
    assert drawn["scores"].axes[1].labels == tally["scores"].axes[1].labels[::32]


def test_every_count_has_noise_of_the_stated_size_around_the_merged_count(ask, card, tally):
    drawn = ask()
    exact = noisy.released_tables(card, "solved", tally)
    noise = np.concatenate([(drawn.tally[n].counts - exact[n].counts).ravel() for n in exact])
    assert exact["scores"].total == exact["scores:district"].total == 2000
    assert 0.6 < noise.std() / drawn.sigma < 1.5  # 192 cells
    assert abs(noise.mean()) < 6 * drawn.sigma / np.sqrt(noise.size)


def test_more_rows_a_unit_mean_more_noise(ask, card, store):
    card.max_rows_per_unit = 3
    sigma = ask().sigma
    assert sigma == pytest.approx(3 * 2**0.5 * mechanisms.noise_multiplier(0.5, 1e-6), abs=0.001)


def test_another_model_on_the_same_wave_pays_again_from_the_same_budget(ask, store, model):
    one = ask()
    other = ask(model_version=dataclasses.replace(model, id="outcome/2", version=2))
    assert ledger.status(store, POOL).charges == 2
    assert (one.tally["scores"].counts != other.tally["scores"].counts).any()


def test_when_the_wave_has_nothing_left_no_noise_is_drawn(ask, store, settings, model, monkeypatch):
    large = settings.publication.model_copy(update={"epsilon": 2.98})
    ask(settings=settings.model_copy(update={"publication": large}))

    def never(*_):
        raise AssertionError("noise was drawn")

    monkeypatch.setattr(mechanisms.DiscreteGaussian, "release", never)
    with pytest.raises(BudgetExhausted):
        ask(model_version=dataclasses.replace(model, id="outcome/2"))


def test_a_crash_after_the_charge_keeps_it_and_the_next_call_pays_anew(ask, store, monkeypatch):
    def crash(*_):
        assert ledger.status(store, POOL).charges == 1  # durable before noise is drawn
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(mechanisms.DiscreteGaussian, "release", crash)
        with pytest.raises(KeyboardInterrupt):
            ask()
    drawn = ask()
    assert ledger.status(store, POOL).charges == 2
    assert ask().to_bytes() == drawn.to_bytes()


def test_a_stored_tally_settles_its_charge_in_full(ask, store):
    ask()
    [charge] = store.all(Charge)
    assert charge.state is ChargeState.SETTLED
    assert [line.action for line in store.audit_lines()[-3:]] == [
        "privacy.touch", "release.noise", "privacy.settle",
    ]  # fmt: skip


def test_a_crash_before_the_tally_is_stored_leaves_a_charge_from_which_nothing_is_drawn_again(
    ask, store, model, wave, monkeypatch
):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Transaction, "put_tally", crash)
        with pytest.raises(KeyboardInterrupt):
            ask()
    [lost] = store.all(Charge)
    assert lost.state is ChargeState.TOUCHED
    assert ledger.status(store, POOL).charges == 1
    with pytest.raises(Refused, match="touched"):
        ledger.touch(store, lost.id, "omar")
    drawn = ask()
    states = {charge.id: charge.state for charge in store.all(Charge)}
    assert states == {lost.id: ChargeState.TOUCHED, drawn.charge: ChargeState.SETTLED}
    assert ledger.status(store, POOL).charges == 2


def test_a_crash_between_storing_and_settling_is_mended_by_a_replay_that_draws_nothing(
    ask, store, model, wave, monkeypatch
):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "settle", crash)
        with pytest.raises(KeyboardInterrupt):
            ask()
    [charge] = store.all(Charge)
    assert charge.state is ChargeState.TOUCHED
    spent = ledger.status(store, POOL).spent
    with store.reading() as view:
        kept = view.tally(f"release|{model.id}|{wave.id}|v2")

    monkeypatch.setattr(mechanisms.DiscreteGaussian, "release", crash)
    assert ask().to_bytes() == kept
    assert store.get(Charge, charge.id).state is ChargeState.SETTLED
    assert ledger.status(store, POOL).spent == spent
    assert ledger.status(store, POOL).charges == 1


def test_of_two_processes_the_first_to_store_gives_the_answer_to_both(ask, store, model, wave, monkeypatch):
    real, quicker = mechanisms.DiscreteGaussian.release, []

    def slow(self, tables):
        monkeypatch.setattr(mechanisms.DiscreteGaussian, "release", real)
        quicker.append(ask())  # while we draw, somebody else asks, draws and stores
        return real(self, tables)

    monkeypatch.setattr(mechanisms.DiscreteGaussian, "release", slow)
    assert ask().to_bytes() == quicker[0].to_bytes()


def test_quarantined_waves_and_waves_of_other_datasets_are_refused_for_nothing(ask, store, wave):
    for strange in ({"state": WaveState.QUARANTINED}, {"dataset": "other"}):
        with pytest.raises(Refused, match="accepted waves"):
            ask(wave=dataclasses.replace(wave, **strange))
    assert store.all(Charge) == []


def test_a_tally_without_the_tables_of_its_task_is_refused_for_nothing(ask, store, tally):
    with pytest.raises(Refused, match="scores:district"):
        ask(tally=Tally({"scores": tally["scores"]}))
    assert store.all(Charge) == []


def test_a_release_of_numbers_from_before_its_cells_changed_is_not_read_but_drawn_and_charged_anew(
    ask, store, card, model, wave
):
    card.task = lambda name: SimpleNamespace(kind="regression")
    card.groups = ()
    held = NoisyTally(residuals("equal", 16), 5.0, 0.5, 1e-6, "c-1")
    with store.transaction() as tx:
        tx.put_tally(f"release|{model.id}|{wave.id}|v1", held.to_bytes())
    drawn = ask(tally=residuals("root", 1024))
    assert drawn.tally["residual"].axes[0].labels[1] == "root 32"
    assert ask(tally=residuals("root", 1024)).to_bytes() == drawn.to_bytes()
    assert [charge.purpose for charge in store.all(Charge)] == ["release|outcome/1|crime/2016|v2"]


def test_kept_counts_of_other_cells_than_a_release_has_now_are_refused_and_never_read(ask, store, card):
    card.task = lambda name: SimpleNamespace(kind="regression")
    card.groups = ()
    ask(tally=residuals("root", 1024))
    with pytest.raises(Refused, match=r"\|v2' have other cells than a release has now"):
        ask(tally=residuals("another", 1024))
    assert ledger.status(store, POOL).charges == 1


def residuals(kind, bins):
    """A tally of errors of predicted numbers, on an axis of this kind."""
    axis = Axis("residual", tuple(f"{kind} {bin}" for bin in range(bins)))
    return Tally({"residual": Table.count([axis], np.arange(2000) % bins)})


@pytest.fixture
def read(store, settings, card, wave, tally):
    """Asks for the noisy inputs: a district of four, and an age on 64 bins, of the same 2,000 records."""
    card.columns = {"district": SimpleNamespace(kind="category"), "age": SimpleNamespace(kind="number")}
    district = Axis("district", ("North", "South", "unknown", "missing"))
    age = Axis("age", (*(str(bin) for bin in range(64)), "missing"))
    at = np.arange(2000)
    tables = dict(tally.tables)
    tables["input:district"] = Table.count([district], at % 4)
    tables["input:age"] = Table.count([age], at % 65)

    def read(**other):
        known = {"store": store, "settings": settings, "card": card, "wave": wave}
        return noisy_inputs(**(known | {"tally": Tally(tables), "person_name": "omar"} | other))

    return read


def test_a_waves_inputs_are_drawn_once_for_all_models_at_their_own_epsilon(read, store, settings):
    dear = settings.model_copy(
        update={"publication": settings.publication.model_copy(update={"input_epsilon": 0.25})}
    )
    first = read(settings=dear)
    assert read().to_bytes() == first.to_bytes()
    assert first.epsilon == 0.25
    assert first.sigma == pytest.approx(2**0.5 * mechanisms.noise_multiplier(0.25, 1e-6), abs=0.001)
    [charge] = store.all(Charge)
    assert (charge.pool, charge.state) == (POOL, ChargeState.SETTLED)
    assert charge.purpose == noisy.inputs_key("crime/2016", ["age", "district"])


def test_numbers_are_merged_to_sixteen_and_missing_stays_itself(read):
    drawn = read().tally
    assert set(drawn.tables) == {"input:district", "input:age"}
    assert drawn["input:district"].axes[0].labels == ("North", "South", "unknown", "missing")
    assert drawn["input:age"].axes[0].labels == (*(str(bin) for bin in range(0, 64, 4)), "missing")
    assert abs(drawn["input:age"].counts[:16] - 2000 * 4 / 65).max() < 6 * 21
    assert abs(drawn["input:age"].counts[16] - 2000 / 65) < 6 * 21


def test_other_columns_of_the_same_wave_are_another_draw(read, tally):
    fewer = {"input:age": Table.count([Axis("age", ("0", "1", "missing"))], np.arange(2000) % 3)}
    assert noisy.inputs_key("w", ["a", "b"]) == noisy.inputs_key("w", ["b", "a"])
    assert noisy.inputs_key("w", ["a"]) != noisy.inputs_key("w", ["a", "b"])
    assert read(tally=Tally(fewer)).charge != read().charge


def test_inputs_of_a_wave_that_was_not_accepted_or_that_nobody_counted_are_refused(read, wave, tally, store):
    with pytest.raises(Refused, match="Only accepted waves"):
        read(wave=dataclasses.replace(wave, state=WaveState.QUARANTINED))
    with pytest.raises(Refused, match="counts no input"):
        read(tally=Tally({"scores": tally["scores"]}))
    assert store.all(Charge) == []
