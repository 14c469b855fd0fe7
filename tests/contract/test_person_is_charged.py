"""A real table of people with several rows each goes from intake to a certificate, and counts people all the way."""

from sandbox.catalogue import dataset_intake, stored
from sandbox.privacy import accounting
from sandbox.records import Charge, TrainingRun, Wave
from sandbox.submissions.intake import submit

QUICK = "[training]\nbatch_size = 300\nepochs = 0.12\n"


def test_the_split_the_charge_and_the_certificate_go_by_the_person(clinic, mlflow_settings, pytestconfig):
    folder = pytestconfig.rootpath / "configs/datasets/rand_hie"
    dataset = dataset_intake.add_dataset(clinic.store, clinic.settings, folder, clinic.person("d"))
    (wave,) = clinic.store.all(Wave, dataset="rand_hie")
    tables = stored.read_training(dataset), stored.read_wave(wave)
    sides = [set(table["person_id"].to_pylist()) for table in tables]
    assert not sides[0] & sides[1]
    assert sorted(map(len, sides)) == sorted([dataset.training_units, wave.units])
    assert sum(map(len, sides)) == 5_912

    folder = clinic.write("visits", "gam", settings=QUICK)
    manifest = folder / "submission.toml"
    asked = manifest.read_text().replace('"clinic"', '"rand_hie"').replace('"fell"', '"saw_doctor"')
    manifest.write_text(asked.replace('"testing"', '"teaching and testing"'))
    submission = submit(clinic.store, clinic.settings, folder, clinic.person("dev"))
    run = clinic.store.get(TrainingRun, clinic.train(submission).run)
    charge = clinic.store.get(Charge, run.charge)
    said = run.certificate
    assert (said["unit"], said["unit_means"]) == (
        "person_id",
        "one person, with up to five years of their life",
    )
    assert (said["units"], said["max_rows_per_unit"]) == (dataset.training_units, 5)
    assert charge.unit == "person_id"
    assert charge.event == accounting.dp_sgd_event(said["noise_multiplier"], 300 / dataset.training_units, 2)
