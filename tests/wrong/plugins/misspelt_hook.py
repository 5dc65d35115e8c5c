# Refused by: loads
# There is no hook called zoo_metric: the name is that of the kind, in the plural.
import zoo


@zoo.hookimpl
def zoo_metric():
    yield zoo.MetricSpec(name="kappa", factory="torchmetrics.classification:MulticlassCohenKappa")
