"""The commands, one file each, imported only when called: `zoo --help` reads their one line from here."""

COMMANDS = {
    "run": ("zoo.commands.run:run_command", "Train a model on a data set, evaluate it and save its weights."),
    "adapt": ("zoo.commands.adapt:adapt_command", "Rebuild a model for other classes and keep the weights that fit."),
    "list": ("zoo.commands.list:list_command", "List the models, data sets, metrics and weights."),
    "show": ("zoo.commands.show:show_command", "Show what is known of a model, data set, metric or weights."),
    "evaluate": ("zoo.commands.evaluate:evaluate_command", "Evaluate weights on a data set."),
    "predict": ("zoo.commands.predict:predict_command", "Predict the classes of images."),
    "verify": ("zoo.commands.verify:verify_command", "Prove that weights still mean what they meant."),
    "check": ("zoo.commands.check:check_command", "Look at a model on a data set before training."),
    "plugins": (
        "zoo.commands.plugins:plugins_command",
        "List the plugins, or show one, and what is wrong with broken ones.",
    ),
    "plugin": ("zoo.commands.plugin:plugin_command", "Start a plugin of your own, and test one."),
}
"""Where each command is, and its one line; a test holds the line equal to the command's own help."""
