"""Can developers' code be run here? Every wall, layer by layer, as the wall itself tried it."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.doctor.check import Check
from sandbox.errors import Unfit
from sandbox.settings import Isolation


def walls(settings: Isolation) -> Iterator[Check]:
    """The wall that is used, which is needed, then the layers of each wall, which alone are not."""
    from sandbox.submissions.isolation.choose import BACKENDS, backend, weigh

    try:
        yield Check("isolation", True, f"{settings.backend}: uses {weigh(settings).words}")
    except Unfit:
        yield Check(
            "isolation", False, f"{settings.backend}: no complete wall", "Mend every layer of one wall below."
        )
    for name in BACKENDS:
        for layer in backend(name, settings).layers():
            yield Check(
                f"isolation: {name}: {layer.name}", layer.works, layer.found, layer.mend, needed=False
            )
