"""What does the store know about the models, for people inside? Read-only questions, answered as panels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dashboards.attacks import attacks
from dashboards.certificates import certificate_lines
from dashboards.happenings import happenings
from dashboards.judgements import alarm, decision_lines, failures, finding_lines, limit_of
from dashboards.panels import (
    BudgetLine,
    DecisionLine,
    FindingLine,
    GroupLine,
    Groups,
    HeatMap,
    IncidentLine,
    Listed,
    ListedLine,
    ModelLine,
    ModelName,
    ModelPanel,
    Moved,
    OverviewPanel,
    Point,
    Reliability,
    Trend,
    WaveLine,
)
from dashboards.record_graphs import graph_panel
from dashboards.trends import DRAWN, HEADLINE, SHORT, WORDS, Readings, words_of
from evaluators.axes import PAIR
from evaluators.catalogue import all_evaluators
from evaluators.challenger import told
from evaluators.monitor import budget
from evaluators.policy import Monitoring
from sandbox.lifecycle import FindingState, IncidentState, Standing, Verdict
from sandbox.privacy import wording
from sandbox.privacy.accounting import ADJACENCY
from sandbox.privacy.ledger import BudgetStatus, statuses
from sandbox.records import (
    AdmittedGraph,
    Dataset,
    Decision,
    Evaluation,
    Finding,
    Incident,
    Json,
    ModelVersion,
    Submission,
    TrainingRun,
    Wave,
)
from sandbox.storage import Store, Transaction

_STANDINGS = [
    Standing.CHAMPION,
    Standing.CHALLENGER,
    Standing.CANDIDATE,
    Standing.SUSPENDED,
    Standing.RETIRED,
]
_RECENT_LINES, _RECENT_SHOWN = 600, 12
_GROUP_MEASURES = {
    "binary": ("auc", "calibration_bias", "outcome_rate", "selection_rate", "tpr", "fpr"),
    "multiclass": ("accuracy", "macro_auc", "calibration_bias"),
    "regression": ("mae", "calibration_bias"),
}


def overview(store: Store, monitoring: Monitoring | None = None) -> OverviewPanel:
    """All models, what is open on them, what is left of the budgets, and what happened lately.

    `monitoring` is the policy's, for the budget of false alarms; None for the built-in one.
    """
    alarms = budget(store, monitoring or Monitoring())
    with store.reading() as view:
        waves = view.all(Wave)
        models = [_model_line(view, version, waves) for version in view.all(ModelVersion)]
        datasets = view.all(Dataset)
        titles = {d.population: d.title for d in reversed(datasets)}
        unit_of = {d.population: _unit(d) for d in reversed(datasets)}
        lines = view.audit_lines(last=_RECENT_LINES)
        called = {s.id: s.model for s in view.all(Submission)}
        incidents = view.all(Incident, state=IncidentState.OPEN)
    budgets = [_budget_line(status, titles, unit_of) for status in statuses(store)]
    return OverviewPanel(
        models=tuple(sorted(models, key=_by_urgency)),
        budgets=tuple(sorted(budgets, key=lambda b: (b.title, b.what != "training", b.what))),
        waves=tuple(sorted(map(_wave_line, waves), key=lambda w: (w.arrived_at, w.day), reverse=True)),
        happenings=happenings(lines, called, _RECENT_SHOWN),
        alarm_budget=alarms.words,
        incidents=tuple(
            IncidentLine(i.id, called[i.submission], i.sentence, i.opened_at)
            for i in sorted(incidents, key=lambda i: i.opened_at, reverse=True)
        ),
    )


def model_names(store: Store) -> tuple[ModelName, ...]:
    """Every model version, in the order of the overview's ties: best standing first, then by title."""
    with store.reading() as view:
        names = [_Context.of(view, version).name for version in view.all(ModelVersion)]
    return tuple(sorted(names, key=_by_standing))


def model(store: Store, model_version: str) -> ModelPanel:
    """Everything about one model version; raises NotFound."""
    with store.reading() as view:
        context = _Context.of(view, view.get(ModelVersion, model_version))
        evaluations = view.all(Evaluation, model_version=model_version)
        waves = _evaluated(view.all(Wave, dataset=context.version.dataset), evaluations)
        readings = Readings(view.series(model_version), waves)
        findings = finding_lines(view.all(Finding, model_version=model_version), waves)
        decisions = decision_lines(view.all(Decision, model_version=model_version))
        admitted = view.all(AdmittedGraph, id=context.submission.graph)
        tests = tuple(told(view, model_version))
    graph = graph_panel(admitted[0], context.title_of) if admitted else None
    pool = f"training:{context.dataset.population}"
    own = [s for s in statuses(store) if s.pool == pool]
    return replace(
        _panel(context, waves, readings, evaluations, findings, decisions, own), graph=graph, tests=tests
    )


@dataclass(frozen=True)
class _Context:
    """One model version with the records it came from."""

    version: ModelVersion
    dataset: Dataset
    run: TrainingRun
    submission: Submission

    @classmethod
    def of(cls, view: Transaction, version: ModelVersion) -> _Context:
        run = view.get(TrainingRun, version.run)
        return cls(version, view.get(Dataset, version.dataset), run, view.get(Submission, run.submission))

    @property
    def card(self) -> Json:
        section: Json = self.dataset.card.get("ndl:dataset", self.dataset.card)
        return section

    @property
    def task(self) -> Json:
        task: Json = self.card["tasks"][self.version.task]
        return task

    @property
    def kind(self) -> str:
        return str(self.task["kind"])

    @property
    def name(self) -> ModelName:
        version, public = self.version, self.submission.manifest.get("public", {})
        title = str(public.get("title") or version.model)
        question = str(self.task.get("question", ""))
        return ModelName(version.id, title, version.version, version.standing, question)

    def title_of(self, column: str) -> str:
        """What a column is called; of a pair, `a & b`, both."""
        first, *second = column.split(PAIR, 1)
        named = str(self.card["columns"].get(first, {}).get("title") or "")
        named = named or first.replace("_", " ").capitalize()
        return f"{named}{PAIR}{self.title_of(second[0]).lower()}" if second else named


def _panel(
    context: _Context, waves: Sequence[Wave], readings: Readings, evaluations: Sequence[Evaluation],
    findings: tuple[FindingLine, ...], decisions: tuple[DecisionLine, ...], budgets: Sequence[BudgetStatus],
) -> ModelPanel:  # fmt: skip
    version, dataset = context.version, context.dataset
    headline, gap_name = HEADLINE[context.kind]
    bias_limit, gap_limit = limit_of(findings, "calibration"), limit_of(findings, "fairness")
    gap, gap_of = _widest_gap(readings, gap_name, (gap_limit,) if gap_limit is not None else ())
    named = tuple(_named(line, context) for line in findings)
    return ModelPanel(
        name=context.name, model=version.model, developer=version.developer, dataset=dataset.title,
        unit_means=str(context.card.get("unit_means", "one record")), registered_at=version.registered_at,
        waves=tuple(map(_wave_line, waves)),
        sizes=Trend("rows", "Records", "number", tuple(_size(w) for w in waves)),
        headline=_with_floor(readings.trend(headline), findings),
        bias=readings.trend(
            "calibration_bias", limits=(-bias_limit, bias_limit) if bias_limit is not None else (),
            words=f"Limit of {bias_limit:g} either way" if bias_limit is not None else "",
        ),
        gap=gap, gap_of=context.title_of(gap_of).lower() if gap_of else "",
        inputs=_heat_map(context, readings, findings),
        groups=_groups(context, readings, gap_name), reliability=_reliability(readings),
        changes=_changes(readings, findings), alarm=alarm(named, decisions, version.standing),
        findings=named, failures=failures(evaluations, waves), missing=_missing(context, readings),
        decisions=decisions, certificate=certificate_lines(context.run.certificate),
        budget=_budget_line(budgets[0], {dataset.population: dataset.title}, {dataset.population: _unit(dataset)})
        if budgets else None, listed=_listed(context, readings), attacks=attacks(readings),
    )  # fmt: skip


def _model_line(view: Transaction, version: ModelVersion, all_waves: Sequence[Wave]) -> ModelLine:
    context = _Context.of(view, version)
    evaluations = view.all(Evaluation, model_version=version.id)
    waves = _evaluated([w for w in all_waves if w.dataset == version.dataset], evaluations)
    headline = HEADLINE[context.kind][0]
    trend = Readings(view.series(version.id, headline), waves).trend(headline)
    quality = finding_lines(view.all(Finding, model_version=version.id, rule="quality"), waves)
    alarming = view.all(Finding, model_version=version.id, verdict=Verdict.BEYOND, state=FindingState.OPEN)
    rules = {(f.rule, f.subject) for f in alarming}
    history = [f for r, s in rules for f in view.all(Finding, model_version=version.id, rule=r, subject=s)]
    lines = tuple(_named(line, context) for line in finding_lines(history, waves))
    epsilon = context.run.certificate.get("epsilon")
    return ModelLine(
        name=context.name, dataset=context.dataset.title, latest=_size(waves[-1]) if waves else None,
        headline=_with_floor(trend, quality),
        alarm=alarm(lines, decision_lines(view.all(Decision, model_version=version.id)), version.standing),
        failures=len(failures(evaluations, waves[-1:])), epsilon=None if epsilon is None else float(epsilon),
        guarantee="" if epsilon is None else wording.certified(context.run.certificate),
    )  # fmt: skip


def _evaluated(waves: Sequence[Wave], evaluations: Sequence[Evaluation]) -> list[Wave]:
    """The waves this model was evaluated on, oldest first."""
    seen = {evaluation.wave for evaluation in evaluations}
    return sorted((w for w in waves if w.id in seen), key=lambda w: (w.day, w.name))


def _size(wave: Wave) -> Point:
    return Point(wave.name, wave.day, float(wave.rows), n=wave.units)


def _with_floor(trend: Trend, findings: Sequence[FindingLine]) -> Trend:
    fall = limit_of(findings, "quality")
    if fall is None or not trend.known:
        return trend
    first = trend.known[0]
    floor = (first.value or 0.0) - fall
    below = f"{fall * 100:g} points" if trend.unit == "share" else f"{fall:g}"
    words = f"Agreed floor: {below} below wave {first.wave}"
    return Trend(trend.name, trend.label, trend.unit, trend.points, (floor,), words)


def _widest_gap(readings: Readings, name: str, limits: tuple[float, ...]) -> tuple[Trend, str]:
    """The trend of the attribute whose groups now lie furthest apart."""
    columns = [group for group in readings.groups(name) if PAIR not in group]
    trends = {group: readings.trend(name, group=group, limits=limits) for group in columns}
    latest = {group: t.latest.value for group, t in trends.items() if t.latest and t.latest.value is not None}
    if not latest:
        return Trend(name, WORDS.get(name, (name, "score"))[0], "score", (), limits), ""
    widest = max(latest, key=lambda group: latest[group])
    return trends[widest], widest


def _heat_map(context: _Context, readings: Readings, findings: Sequence[FindingLine]) -> HeatMap:
    verdicts = {(f.wave, f.subject): f.verdict for f in findings if f.rule == "input drift"}
    cells = [
        Moved(feature, point, verdicts.get((point.wave, feature)))
        for feature in readings.features("input_distance")
        for point in readings.points("input_distance", feature=feature)
    ]
    latest = {cell.feature: cell.point.value or 0.0 for cell in cells}
    features = sorted(latest, key=lambda f: (-latest[f], f))
    titles = {feature: context.title_of(feature) for feature in features}
    return HeatMap(
        features=tuple(titles[f] for f in features),
        waves=tuple(wave.name for wave in readings.waves),
        cells=tuple(Moved(titles[c.feature], c.point, c.verdict) for c in cells),
        limit=limit_of(findings, "input drift"),
    )


def _groups(context: _Context, readings: Readings, gap_name: str) -> Groups:
    names = _GROUP_MEASURES[context.kind]
    if not readings.waves or not names:
        return Groups("", "", (), (), ())
    last, first = readings.waves[-1], readings.waves[0]
    lines, pairs = list[GroupLine](), list[GroupLine]()
    for group in readings.groups(names[0]):
        attribute, _, label = group.partition("=")
        found = {name: readings.point(last, name, group) for name in names}
        measures = {name: point for name, point in found.items() if point is not None}
        if measures:
            n = max(point.n for point in measures.values())
            line = GroupLine(context.title_of(attribute), label, n, measures)
            (pairs if PAIR in attribute else lines).append(line)
    gaps = {wave.id: _gaps(context, readings, wave, gap_name) for wave in (first, last)}
    words = tuple((name, SHORT.get(name, WORDS[name][0]), WORDS[name][1]) for name in names)
    before = gaps[first.id] if first is not last else ()
    return Groups(last.name, names[0], words, tuple(lines), gaps[last.id], before, tuple(pairs))


def _gaps(context: _Context, readings: Readings, wave: Wave, name: str) -> tuple[tuple[str, Point], ...]:
    found = ((group, readings.point(wave, name, group)) for group in readings.groups(name))
    return tuple((context.title_of(group), point) for group, point in found if point is not None)


def _reliability(readings: Readings) -> Reliability:
    if not readings.waves:
        return Reliability("", (), ())
    last = readings.waves[-1]
    bins = []
    for feature in readings.features("reliability"):
        happened = readings.point(last, "reliability", feature=feature)
        predicted = readings.point(last, "reliability_mean", feature=feature)
        if happened and predicted and predicted.value is not None:
            bins.append((predicted.value, happened))
    facts = ((WORDS[name][0], readings.point(last, name)) for name in ("calibration_slope", "ece"))
    return Reliability(last.name, tuple(bins), tuple((word, p) for word, p in facts if p is not None))


def _listed(context: _Context, readings: Readings) -> tuple[Listed, ...]:
    """What the evaluators say that have no place of their own on the page, those of other packages included."""
    questions = {e.name: e.question for e in all_evaluators()}
    found = []
    for name in readings.evaluators():
        lines = [
            ListedLine(words, _subject(context, m.group, m.feature), unit, point)
            for m, point in (readings.newest(name) if name not in DRAWN else ())
            for words, unit in (words_of(m.name),)
        ]
        if lines:
            found.append(
                Listed(name, questions.get(name) or name.replace("_", " ").capitalize(), tuple(lines))
            )
    return tuple(found)


def _subject(context: _Context, group: str, feature: str) -> str:
    attribute, _, label = group.partition("=")
    named = [context.title_of(attribute), label] if attribute else []
    return " ".join([*named, context.title_of(feature) if feature else ""]).strip()


def _changes(readings: Readings, findings: Sequence[FindingLine]) -> dict[str, Trend]:
    """Of what is no input, by the rule that judges it: how far it is from the first wave."""
    trends = {}
    for what in ("score", "outcome", "relation"):
        limit = limit_of(findings, f"{what} drift")
        trends[f"{what} drift"] = readings.trend(f"{what}_distance", limits=() if limit is None else (limit,))
    return {rule: trend for rule, trend in trends.items() if trend.points}


def _named(line: FindingLine, context: _Context) -> FindingLine:
    """The finding with its subject as the card calls it."""
    if line.rule in ("input drift", "fairness", "robustness"):
        return replace(line, subject=context.title_of(line.subject))
    words = WORDS.get(f"{line.subject}_distance") or WORDS.get(line.subject)
    return replace(line, subject=words[0] if words else line.subject.capitalize())


def _missing(context: _Context, readings: Readings) -> tuple[str, ...]:
    """What has no value on the latest wave, and why."""
    said: dict[tuple[str, str], list[str]] = defaultdict(list)
    for m in readings.on(readings.waves[-1]) if readings.waves else ():
        if m.value is None and m.status != "reference":
            attribute, _, label = m.group.partition("=")
            named = attribute or ("" if m.feature.isdigit() else m.feature)
            subject = f"{context.title_of(named)} {label}".strip() if named else "Everyone"
            said[subject, m.status].append(words_of(m.name)[0])
    why = {"too few": "too few cases"}
    return tuple(
        f"{subject}: {', '.join(dict.fromkeys(names))} ({why.get(status, status)})"
        for (subject, status), names in said.items()
    )


def _wave_line(wave: Wave) -> WaveLine:
    problems = tuple(_fault_words(fault) for fault in wave.report.get("faults", ()))
    rows = wave.rows or int(wave.report.get("rows", 0))
    return WaveLine(wave.dataset, wave.name, wave.day, rows, wave.state, problems, wave.arrived_at)


def _fault_words(fault: Json) -> str:
    count = fault.get("count")
    counted = "" if count is None else f"{count:,} record{'' if count == 1 else 's'} "
    return f"{fault.get('column') or 'file'}: {counted}{fault.get('what', '')}"


def _unit(dataset: Dataset) -> str:
    return str(dataset.card["ndl:dataset"].get("unit", "unit"))


def _budget_line(status: BudgetStatus, titles: dict[str, str], unit_of: dict[str, str]) -> BudgetLine:
    use, _, rest = status.pool.partition(":")
    population, _, wave = rest.partition("/")
    what = "training" if use == "training" else f"wave {wave}" if wave else "all held-out waves"
    title = titles.get(population, population)
    return BudgetLine(
        title, what, status.spent, status.epsilon, status.delta, status.charges, ADJACENCY,
        unit_of.get(population, "unit"),
    )  # fmt: skip


def _by_standing(name: ModelName) -> tuple[int, str, int]:
    return _STANDINGS.index(name.standing), name.title, -name.version


def _by_urgency(line: ModelLine) -> tuple[bool, int, str, int]:
    return (not line.alarm.needs_decision, *_by_standing(line.name))
