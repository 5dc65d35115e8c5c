# Refused by: loads
# A script that runs when it is imported, and ends the process.
import sys

import zoo


@zoo.hookimpl
def zoo_metrics():
    yield zoo.MetricSpec(name="kappa", factory="torchmetrics.classification:MulticlassCohenKappa")


sys.exit("usage: kappa.py FILE")
