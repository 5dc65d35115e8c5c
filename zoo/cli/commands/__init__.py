"""The commands, one file each, imported only when called: `zoo --help` reads their one line from here."""

COMMANDS = {
    "run": ("zoo.cli.commands.run:run_command", "Train a model on a data set, evaluate it and save its weights."),
    "adapt": (
        "zoo.cli.commands.adapt:adapt_command",
        "Rebuild a model for other classes and keep the weights that fit.",
    ),
    "list": ("zoo.cli.commands.list:list_command", "List the models, data sets, metrics and weights."),
    "show": ("zoo.cli.commands.show:show_command", "Show what is known of a model, data set, metric or weights."),
    "samples": (
        "zoo.cli.commands.samples:samples_command",
        "Show samples of a data set as they are before preprocessing.",
    ),
    "evaluate": ("zoo.cli.commands.evaluate:evaluate_command", "Evaluate weights on a data set."),
    "compare": (
        "zoo.cli.commands.compare:compare_command",
        "Compare weights on the same test split, and say what a difference means.",
    ),
    "report": ("zoo.cli.commands.report:report_command", "Write one page about weights, to read and to send."),
    "predict": ("zoo.cli.commands.predict:predict_command", "Predict the classes of images."),
    "plot": ("zoo.cli.commands.plot:plot_command", "Draw curves, a confusion matrix or predictions."),
    "verify": ("zoo.cli.commands.verify:verify_command", "Prove that weights still mean what they meant."),
    "check": ("zoo.cli.commands.check:check_command", "Look at a model on a data set before training."),
    "plugins": (
        "zoo.cli.commands.plugins:plugins_command",
        "List the plugins, or show one, and what is wrong with broken ones.",
    ),
    "plugin": ("zoo.cli.commands.plugin:plugin_command", "Start a plugin of your own, and test one."),
}
"""Where each command is, and its one line; a test holds the line equal to the command's own help."""
