"""People see, ask for, retry and call off jobs by the command line, each as far as their role allows."""

import pytest
from click.testing import CliRunner

from sandbox.api import Sandbox
from sandbox.cli import cli
from sandbox.errors import Refused
from sandbox.jobs import claims
from sandbox.jobs.kinds import all_kinds
from sandbox.lifecycle import JobState
from sandbox.records import Job
from sandbox.settings import load

PEOPLE = """
[people]
ada = ["developer"]
omar = ["overseer"]
otto = ["operator"]
"""


@pytest.fixture
def ndl(tmp_path):
    (tmp_path / "ndl.toml").write_text(f'[storage]\nfolder = "{tmp_path}"\n{PEOPLE}')

    def run(person, *words):
        box = Sandbox(load(tmp_path / "ndl.toml"), person)
        done = CliRunner().invoke(cli, list(words), obj=box, catch_exceptions=True)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    run.store = Sandbox(load(tmp_path / "ndl.toml"), "otto").store
    claims.ask(run.store, [("k|1", "evaluation", {"model_version": "falls/1", "wave": "w1"})], "otto")
    yield run
    run.store.close()


def test_a_job_is_listed_shown_called_off_and_tried_again(ndl):
    assert "1 waiting; 0 workers at work" in ndl("omar", "jobs", "list")
    assert "asked for by" in ndl("omar", "jobs", "show", "k|1")
    ndl("omar", "jobs", "cancel", "k|1", "--reason", "the wave is wrong")
    assert ndl.store.get(Job, "k|1").state is JobState.CANCELLED
    assert "the wave is wrong" in ndl("omar", "jobs", "show", "k|1")
    ndl("otto", "jobs", "retry", "k|1")
    assert ndl.store.get(Job, "k|1").attempt == 2
    with pytest.raises(Refused, match="Only an operator or overseer"):
        ndl("ada", "jobs", "cancel", "k|1")
    with pytest.raises(Refused, match="see the jobs"):
        ndl("ada", "jobs", "list")


def test_only_an_operator_may_run_a_worker_or_keep_the_schedule(ndl):
    for words in (["worker"], ["jobs", "schedule"]):
        with pytest.raises(Refused, match="Only an operator"):
            ndl("omar", *words)


def test_both_kinds_of_jobs_are_found_with_their_schedules_and_limits():
    found = {k.name: (k.queue, k.when, k.most_deaths) for k in all_kinds().values()}
    assert found == {"evaluation": ("evaluations", "evaluate", 8), "training": ("trainings", "train", 3)}


def test_a_training_can_be_left_to_a_worker(clinic):
    submission = clinic.submit()
    box = Sandbox(clinic.settings, clinic.person("otto"))
    said = [CliRunner().invoke(cli, ["train", "--all", "--later"], obj=box).output for _ in range(2)]
    assert ["1 of 1 trainings are new" in said[0], "0 of 1 trainings are new" in said[1]] == [True, True]
    (job,) = clinic.store.all(Job)
    assert (job.key, job.queued, job.state) == (f"training|{submission.id}", True, JobState.WAITING)
    box.store.close()
