# Refused by: loads
# The hook asks zoo for all metrics in order to leave out what is there, and so calls itself.
import zoo


@zoo.hookimpl
def zoo_metrics():
    for name in ("kappa", "matthews"):
        if name not in [spec.name for spec in zoo_metrics()]:
            yield zoo.MetricSpec(name=name, factory="torchmetrics.classification:MulticlassCohenKappa")
