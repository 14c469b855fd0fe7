"""The recipes as scikit-learn estimators: what one may expect of any, a public schema, and a stated epsilon."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

from sandbox.catalogue.card import load_card
from sandbox.errors import Invalid
from sandbox.privacy import accounting
from sandbox.training.estimators import PrivateClassifier, PrivateRegressor

QUICK = {"epochs": 2.0, "batch_size": 100_000}
CHECKS = (
    "check_no_attributes_set_in_init", "check_parameters_default_constructible", "check_do_not_raise_errors_in_init",
    "check_estimator_cloneable", "check_get_params_invariance", "check_set_params", "check_estimator_repr",
    "check_dont_overwrite_attributes", "check_dict_unchanged", "check_estimators_unfitted", "check_n_features_in",
    "check_fit1d", "check_fit2d_predict1d", "check_estimators_nan_inf", "check_complex_data", "check_requires_y_none",
    "check_classifiers_one_label", "check_classifiers_regression_target",
    "check_methods_subset_invariance", "check_methods_sample_order_invariance", "check_estimators_dtypes",
)  # fmt: skip


def table(seed=0, rows=3_000):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 10, (rows, 3))
    return X, 3 * X[:, 0] - X[:, 1] + rng.normal(0, 2, rows)


@pytest.mark.parametrize(
    "estimator",
    [
        PrivateClassifier(bounds=(-9.0, 9.0), training=QUICK),
        PrivateRegressor(bounds=(-9.0, 9.0), training=QUICK),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_it_keeps_the_promises_that_scikit_learn_checks_where_noise_lets_it(estimator, monkeypatch):
    monkeypatch.setattr(accounting, "noise_for", lambda *_: 2.0)  # a search of half a second, sixty times
    monkeypatch.setattr(accounting, "epsilon_of", lambda *_: 1.0)
    ran = set()
    for same, check in estimator_checks_generator(estimator):
        if check.func.__name__ in CHECKS:
            check(same)
            ran.add(check.func.__name__)
    assert len(ran) >= 14


def test_a_fit_states_the_epsilon_and_delta_of_what_ran():
    X, cost = table(rows=500)
    fitted = PrivateClassifier(bounds=(0, 10), epsilon=2.0, training=QUICK).fit(X, cost > 10)
    plan = fitted.fitted_.plan
    event = accounting.dp_sgd_event(plan.noise_multiplier, plan.sampling_rate, plan.steps)
    assert fitted.epsilon_ == accounting.epsilon_of([event], fitted.delta_, "pld")
    assert 1.9 < fitted.epsilon_ <= 2.0
    assert fitted.delta_ == 1e-5 < 500**-1.1
    assert (plan.units, plan.steps) == (500, 2)


def test_it_learns_and_two_fits_of_the_same_records_differ():
    X, cost = table()
    first, second = (PrivateClassifier(bounds=(0, 10), epsilon=4.0).fit(X, cost > 10) for _ in range(2))
    likely = first.predict_proba(X)
    assert first.score(X, cost > 10) > 0.85
    assert likely.sum(1) == pytest.approx(1.0)
    assert not np.array_equal(likely, second.predict_proba(X))
    three = PrivateClassifier(bounds=(0, 10), epsilon=4.0).fit(X, np.digitize(cost, [5, 15]))
    assert three.score(X, np.digitize(cost, [5, 15])) > 0.6
    number = PrivateRegressor(bounds=(0, 10), target_bounds=(-20, 40), epsilon=4.0).fit(X, cost)
    assert number.score(X, cost) > 0.6


def test_a_card_is_the_schema_and_says_whose_a_row_is(pytestconfig):
    folder = pytestconfig.rootpath / "configs/datasets/rand_hie"
    years = pq.read_table(folder / "years.parquet").slice(0, 4_000).to_pandas()
    model = PrivateClassifier(schema=load_card(folder), task="visits_band", training=QUICK)
    fitted = clone(model).fit(years, years["visits_band"])
    assert fitted.fitted_.plan.units == years["person_id"].nunique() < 4_000
    assert fitted.fitted_.plan.max_rows_per_unit == 5
    assert set(fitted.predict(years)) <= {"None", "1 to 4", "5 or more"} == set(fitted.classes_)
    truth = clone(model).set_params(task="saw_doctor").fit(years, years["saw_doctor"])
    assert truth.predict(years).dtype == bool
    visits = PrivateRegressor(schema=load_card(folder), task="visits", training=QUICK).fit(
        years, years["visits"]
    )
    assert 0 <= visits.predict(years).mean() <= 20


def test_groups_say_whose_a_row_is_where_no_card_does():
    X, cost = table(rows=300)
    owners = np.array([f"person {number // 3}" for number in range(300)])
    model = PrivateClassifier(bounds=(0, 10), max_rows_per_unit=3, training=QUICK)
    assert model.fit(X, cost > 10, groups=owners).fitted_.plan.units == 100


def test_what_would_be_taken_from_the_data_must_be_said():
    X, cost = table(rows=200)
    with pytest.raises(ValueError, match="bounds must be finite"):
        PrivateClassifier(bounds=(3, 1)).fit(X, cost > 10)
    with pytest.raises(Invalid, match="recipe: cnn needs an image"):
        PrivateClassifier("cnn").fit(X, cost > 10)
    with pytest.raises(Invalid, match="logistic answers binary and multiclass tasks"):
        PrivateRegressor("logistic").fit(X, cost)
