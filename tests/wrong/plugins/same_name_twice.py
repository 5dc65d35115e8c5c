# Refused by: loads
# Two specs of one name in one plugin: which of them would it be?
import zoo


@zoo.hookimpl
def zoo_metrics():
    for weights in ("linear", "quadratic"):
        factory = "torchmetrics.classification:MulticlassCohenKappa"
        yield zoo.MetricSpec(name="kappa", factory=factory, params={"weights": weights})
