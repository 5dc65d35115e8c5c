"""The commands, one file each, imported only when called: `zoo --help` reads their one line from here."""

_LINES = {
    "run": "Train a model on a data set, evaluate it and save its weights.",
    "adapt": "Rebuild a model for other classes and keep the weights that fit.",
    "list": "List the models, data sets, metrics and weights.",
    "show": "Show what is known of a model, data set, metric or weights.",
    "samples": "Show samples of a data set as they are before preprocessing.",
    "evaluate": "Evaluate weights on a data set.",
    "compare": "Compare weights on the same test split, and say what a difference means.",
    "report": "Write one page about weights, to read and to send.",
    "predict": "Predict the classes of images.",
    "plot": "Draw curves, a confusion matrix or predictions.",
    "verify": "Prove that weights still mean what they meant.",
    "check": "Look at a model on a data set before training.",
    "plugins": "List the plugins, or show one, and what is wrong with broken ones.",
    "plugin": "Start a plugin of your own, and test one.",
}
COMMANDS = {name: (f"zoo.cli.commands.{name}:{name}_command", line) for name, line in _LINES.items()}
"""Where each command is, and its one line; a test holds the line equal to the command's own help."""
