# Refused by: builds
# A plain function of one batch, as many libraries have it: nothing that could be updated.
import zoo


@zoo.metric(name="function")
def accuracy(*, num_classes):
    def measure(logits, targets):
        return (logits.argmax(1) == targets).float().mean().item()

    return measure
