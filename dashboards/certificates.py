"""What does a training's privacy certificate say, line by line?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.privacy import wording
from sandbox.records import Json


def _plain(value: Any) -> str:
    return str(value)


def _adjacency(value: Any) -> str:
    return wording.neighbours(str(value), "unit")


def _small(value: Any) -> str:
    return f"{float(value):.3g}"


def _up(value: Any) -> str:
    return f"{wording.rounded_up(float(value)):.4g}"


def _down(value: Any) -> str:
    return f"{wording.rounded_down(float(value)):g}"


def _percent(value: Any) -> str:
    return f"{100 * float(value):g} %"


def _scientific(value: Any) -> str:
    digits, _, power = f"{float(value):.1e}".partition("e")
    return f"{digits.removesuffix('.0')} × 10^{int(power)}" if power else digits


def _whole(value: Any) -> str:
    return f"{int(value):,}"


_LINES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("epsilon", f"{wording.alone('training')}, by privacy loss distributions", _up),
    ("epsilon_opacus", "The same by Opacus’s accountant, a check", _up),
    ("epsilon_audited", f"{wording.AUDITED[0].upper()}{wording.AUDITED[1:]} of ε, from canaries", _down),
    ("epsilon_audited_gaussian", "The same, if the noise is Gaussian", _down),
    ("audit_confidence", "Confidence of the lower bounds", _percent),
    ("audit_canaries", "Canaries", _whole),
    ("gate", "Release gate", _plain),
    ("delta", "δ", _scientific),
    ("adjacency", "Neighbouring datasets", _adjacency),
    ("unit_means", "Privacy unit", _plain),
    ("max_rows_per_unit", "Records a unit may add", _whole),
    ("units", "Units trained on", _whole),
    ("noise_multiplier", "Noise multiplier", _small),
    ("sampling_rate", "Sampling rate", _small),
    ("steps", "Steps", _whole),
    ("clip", "Clipping norm", _small),
    ("population", "Population", _plain),
    ("code_version", "Code version", _plain),
)


def certificate_lines(certificate: Json) -> tuple[tuple[str, str], ...]:
    """Label and value of each of these that the certificate has, the guarantee first."""
    return tuple(
        (label, write(certificate[name]))
        for name, label, write in _LINES
        if certificate.get(name) is not None
    )
