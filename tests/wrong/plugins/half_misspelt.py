# Warned by: names
# One hook is right and one is misspelt; what the second would provide is missing without a word.
import zoo


@zoo.hookimpl
def zoo_metrics():
    yield zoo.MetricSpec(name="kappa", factory="torchmetrics.classification:MulticlassCohenKappa")


@zoo.hookimpl
def zoo_metricks():
    yield zoo.MetricSpec(name="matthews", factory="torchmetrics.classification:MulticlassMatthewsCorrCoef")
