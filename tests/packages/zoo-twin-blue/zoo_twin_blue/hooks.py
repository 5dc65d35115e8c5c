"""Names that others have as well: the red twin's, an alias of it, and two of zoo's own."""

from __future__ import annotations

from collections.abc import Iterator

import zoo

FACTORY = "zoo_twin_blue.twin:BlueTwin"


@zoo.hookimpl
def zoo_models() -> Iterator[zoo.ModelSpec]:
    """Yield the blue twin under three names."""
    yield zoo.ModelSpec(name="twin", factory=FACTORY, description="The blue twin", aliases=("double",))
    yield zoo.ModelSpec(name="pair", factory=FACTORY, description="The blue twin by its twin's alias")
    yield zoo.ModelSpec(name="baseline", factory=FACTORY, description="The blue twin by a name of zoo's own")


@zoo.hookimpl
def zoo_metrics() -> Iterator[zoo.MetricSpec]:
    """Yield a metric by a name of zoo's own."""
    yield zoo.MetricSpec(name="accuracy", factory="zoo_twin_blue.twin:Two", description="Two, whatever the accuracy")
