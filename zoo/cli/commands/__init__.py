"""The commands, one file each, imported only when called: `zoo --help` reads their one line from here."""

GROUPS = {
    "Train": {
        "run": "Train a model on a data set, evaluate it and save its weights.",
        "resume": "Go on with a run that was stopped or killed.",
        "sweep": "Search for the best settings of a training, on its validation split.",
        "matrix": "Train every model on every data set, and write one table and one page about all of it.",
        "check": "Look at a model on a data set before training.",
        "bench": "Measure how fast a model is trained on a data set, evaluated and asked for predictions.",
        "adapt": "Rebuild a model for other classes and keep the weights that fit.",
    },
    "Look": {
        "list": "List what is registered: models, data sets, metrics, losses, loggers, recipes, weights.",
        "show": "Show what is known of a model, data set, metric or weights.",
        "samples": "Show samples of a data set as they are before preprocessing.",
        "plot": "Draw curves, a learning rate, a confusion matrix or predictions.",
        "compare": "Compare weights on the same test split, and say what a difference means.",
        "report": "Write one page about weights, to read and to send.",
        "runs": "List the runs of a folder, show one, rename, remove and clean.",
    },
    "Use": {
        "predict": "Predict the classes of images.",
        "embed": "Write the features of images: what the model makes of them before it tells the classes apart.",
        "evaluate": "Evaluate weights on a data set.",
        "reproduce": "Train again what weights come from, and grade the result.",
        "verify": "Prove that weights still mean what they meant.",
        "convert": "Make zoo weights of a state dict, or of weights whose model has moved to another plugin.",
    },
    "Data": {
        "data": "List, fetch, add, verify, shard and remove the files of data sets.",
    },
    "Plugins": {
        "plugins": "List the plugins, or show one, and what is wrong with broken ones.",
        "plugin": "Start a plugin of your own, and test one.",
    },
    "This program": {
        "help": "Show this page, or the help of a command.",
        "version": "Show the version.",
        "completion": "Print a script that lets a shell complete what is typed.",
    },
}
"""The commands by what they are for, each with its one line; a test holds the line equal to the command's own help."""
LINES = {name: line for group in GROUPS.values() for name, line in group.items()}
COMMANDS = {name: f"zoo.cli.commands.{name}:{name}_command" for name in LINES}
"""Where each command is."""
EXAMPLES = {
    "run": "zoo run --model tinyvgg --dataset fashionmnist",
    "resume": "zoo resume @last",
    "matrix": "zoo matrix --models baseline,relu-mlp --datasets shapes --seeds 3",
    "sweep": "zoo sweep --vary lr=log:1e-3..1 --validation 0.1 --trials 10",
    "check": "zoo check --model tinyvgg --dataset fashionmnist",
    "bench": "zoo bench --model tinyvgg --dataset shapes",
    "adapt": "zoo adapt @last --num-classes 5 --output five.safetensors",
    "list": "zoo list models",
    "show": "zoo show tinyvgg",
    "samples": "zoo samples shapes",
    "plot": "zoo plot @last --kind curves --output curves.png",
    "compare": "zoo compare @last tinyvgg@fashionmnist",
    "report": "zoo report @last --output report.html",
    "runs": "zoo runs --where 'accuracy>0.85' --sort -accuracy",
    "runs show": "zoo runs show @last",
    "runs rename": "zoo runs rename @last good",
    "runs remove": "zoo runs remove @last --yes",
    "runs clean": "zoo runs clean",
    "predict": "zoo predict @last photo.png",
    "embed": "zoo embed @last photos --output features.safetensors",
    "evaluate": "zoo evaluate @last",
    "reproduce": "zoo reproduce @last",
    "verify": "zoo verify @last",
    "convert": "zoo convert resnet18.pth --model torchvision/resnet18 --crop 224 --output resnet18.safetensors",
    "data": "zoo data list",
    "data list": "zoo data list",
    "data fetch": "zoo data fetch fashionmnist",
    "data add": "zoo data add fashionmnist downloads",
    "data verify": "zoo data verify",
    "data shard": "zoo data shard shapes --output shards",
    "data remove": "zoo data remove fashionmnist",
    "plugins": "zoo plugins",
    "plugin": "zoo plugin new my-model --kind model",
    "plugin new": "zoo plugin new my-model --kind model",
    "plugin test": "zoo plugin test my-model",
    "help": "zoo help run",
    "version": "zoo version",
    "completion": "zoo completion bash",
}
"""A command line of each that does something; @last is the newest run."""
