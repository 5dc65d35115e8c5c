"""The commands, one file each, imported only when called: `zoo --help` reads their one line from here."""

COMMANDS = {
    "run": ("zoo.commands.run:run_command", "Train a model on a data set, evaluate it and save its weights."),
    "list": ("zoo.commands.list:list_command", "List the models, data sets and metrics."),
    "show": ("zoo.commands.show:show_command", "Show what is known of a model, data set or metric."),
    "plugins": (
        "zoo.commands.plugins:plugins_command",
        "List the plugins, or show one, and what is wrong with broken ones.",
    ),
    "plugin": ("zoo.commands.plugin:plugin_command", "Start a plugin of your own."),
}
"""Where each command is, and its one line; a test holds the line equal to the command's own help."""
