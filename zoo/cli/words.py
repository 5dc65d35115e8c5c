"""Words: what other tools call commands and options, and what zoo calls them or has instead."""

from __future__ import annotations

FILES = "Weights are plain safetensors: zoo.load_model(WEIGHTS) or safetensors in a program reads them"
RUNS = "Each run is a folder in runs: zoo show @last, or zoo compare runs/*"
WORDS = {
    "Did you mean 'zoo run'?": "train fit learn training trainer start launch execute go",
    "Did you mean 'zoo run --init WEIGHTS'?": "finetune fine-tune transfer resume continue restart retrain",
    "Did you mean 'zoo run --seeds N'?": "repeat seeds trials",
    "Did you mean 'zoo evaluate'?": "eval test val valid validate validation score metric-values benchmark",
    "Did you mean 'zoo predict'?": "infer inference classify prediction label detect forward",
    "Did you mean 'zoo list'?": "ls all find available catalog catalogue registry",
    "Did you mean 'zoo list models'?": "models model archs",
    "Did you mean 'zoo list datasets'?": "datasets",
    "Did you mean 'zoo list metrics'?": "metrics metric",
    "Did you mean 'zoo list losses'?": "losses loss criterion",
    "Did you mean 'zoo list weights'?": "weights checkpoints hub pretrained",
    "Did you mean 'zoo list --search PATTERN'?": "search grep filter",
    "Did you mean 'zoo show NAME'?": "info summary describe inspect details cat print view get model-info layers",
    "Did you mean 'zoo samples DATASET'?": "data dataset sample images preview explore browse",
    "Did you mean 'zoo check'?": "doctor lint sanity sanity-check smoke overfit diagnose",
    "Did you mean 'zoo run --dry-run'?": "dry-run dryrun plan",
    "Did you mean 'zoo run --recipe NAME'?": "reproduce recipe",
    "Did you mean 'zoo list recipes'?": "recipes",
    "Did you mean 'zoo verify WEIGHTS'?": "hash checksum prove digest",
    "Did you mean 'zoo compare WEIGHTS...'?": "diff leaderboard rank ranking stats significance",
    "Did you mean 'zoo report WEIGHTS...'?": "html dashboard page model-card card",
    "Did you mean 'zoo plot'?": "draw visualize visualise visualization figure curves confusion graph chart",
    "Did you mean 'zoo adapt'?": "replace-head change-head",
    "Did you mean 'zoo plugin new NAME --kind model'?": "init new create scaffold template generate add register",
    "Did you mean 'zoo completion bash'?": "completions autocomplete install-completion",
    f"{FILES}; zoo show WEIGHTS names the file": "export onnx torchscript trace script save dump quantize compile",
    "zoo has no server; zoo.load(WEIGHTS) in a program of yours gives what answers": "serve server deploy api app",
    "zoo run fetches what it needs; in Python zoo.fetch(DATASET) does that alone": "download fetch pull prefetch",
    "zoo publishes nothing: a run's .safetensors file is all that others need": "push upload publish share login",
    "zoo trains with the settings it is given; zoo run --seeds N repeats, a loop of your shell tries others": (
        "sweep hpo optimize optimise search-space grid-search"
    ),
    "Did you mean 'zoo check --tune'?": "tune lr-find lr-finder find-lr auto-lr range-test autotune batch-size-finder",
    "zoo keeps no settings of its own: zoo run --config FILE reads some, zoo run --dry-run prints them": (
        "config configure configuration settings setup"
    ),
    "A plugin is a package of your environment: pip install it, then zoo plugins lists it": "install add-plugin enable",
    "Uninstall the package of a plugin with pip; a run is a folder that you may delete": (
        "uninstall remove rm delete clean clear prune disable"
    ),
    "zoo is a package of your environment: pip installs a newer one": "update upgrade self-update",
    RUNS: "runs run-list history log logs status jobs ps results experiments last",
}
"""What to say to whoever asks for a command that zoo has not, by the words for it."""
OPTIONS = {
    "--model": "arch architecture net network backbone model-name m",
    "--dataset": "data-set dataset-name task d",
    "--init": "pretrained weights checkpoint ckpt load load-from start-from finetune from",
    "--lr": "learning-rate learningrate alpha eta lr0 base-lr",
    "--epochs": "epoch num-epochs n-epochs max-epochs passes e",
    "--batch-size": "batch bs batchsize b train-batch-size per-device-train-batch-size",
    "--optimizer": "optim opt optimiser",
    "--weight-decay": "wd decay l2 weightdecay",
    "--workers": "num-workers n-workers jobs j dataloader-workers",
    "--threads": "num-threads cpu-threads",
    "--seed": "random-seed rng manual-seed random-state",
    "--seeds": "repeats repeat trials n-seeds",
    "--device": "gpu gpus cuda accelerator use-cuda no-cuda cpu mps use-gpu devices",
    "--data-dir": "data data-path root datadir data-root dataset-dir dataset-path data-folder",
    "--runs-dir": "runs output-dir out-dir save-dir log-dir logdir results-dir project work-dir",
    "--output": "out o save save-to file outfile dest",
    "--metric": "metrics",
    "--param": "params set hidden-units model-args",
    "--input-size": "imgsz img-size image-size img size resize crop-size resolution input-shape",
    "--freeze": "frozen freeze-layers freeze-backbone",
    "--top": "topk top-k k",
    "--num-classes": "classes nc n-classes",
    "--search": "filter grep pattern match query",
    "--layers": "summary verbose-model",
    "--plugin": "plugins module import include",
    "--debug": "traceback trace",
    "zoo -V shows the version; zoo check and zoo plugin test take --verbose, --debug shows the traceback of an error": (
        "v verbose vv vvv"
    ),
    "--json": "format output-format as-json",
    "--split": "subset partition",
    "zoo starts each run anew: zoo run --init @last starts one from the weights of the last run": (
        "resume continue auto-resume last-epoch checkpoint-path"
    ),
    "--precision": "amp fp16 bf16 half mixed-precision autocast dtype float16 bfloat16",
    "--tf32": "allow-tf32 matmul-precision float32-matmul-precision",
    "--ema": "ema-decay model-ema averaging swa polyak",
    "zoo trains on one device: --device names it": "ddp distributed nproc nodes num-gpus strategy local-rank",
    "--schedule": "scheduler lr-scheduler lr-schedule cosine onecycle one-cycle sched cos-lr lr-policy plateau",
    "--plateau-epochs": "lr-patience patience-epochs plateau-patience reduce-lr-patience",
    "--head-lr": "lr-head classifier-lr fc-lr head-learning-rate lr-classifier",
    "--optimizer-param": (
        "betas beta beta1 beta2 adam-beta1 adam-beta2 eps adam-epsilon epsilon nesterov amsgrad dampening rho "
        "optimizer-params optimizer-args optim-args opt-betas opt-eps"
    ),
    "--decay-all": "bias-decay norm-decay weight-decay-all norm-weight-decay bias-weight-decay",
    "--unfreeze-at": "unfreeze unfreeze-epoch unfreeze-after thaw thaw-at freeze-epochs",
    "--warmup": "warmup-steps warm-up warmup-epochs num-warmup-steps",
    "--gamma": "lr-gamma decay-rate lrf",
    "--step-epochs": "step-size decay-epochs lr-step-size",
    "--accumulate": "accumulation gradient-accumulation-steps accumulate-grad-batches grad-accum-steps",
    "--clip": "clip-grad clip-grad-norm max-grad-norm gradient-clip-val gradient-clip",
    "--label-smoothing": "smoothing ls",
    "--loss": "criterion loss-fn loss-function objective",
    "--loss-param": "loss-params loss-args criterion-args",
    "--class-weights": "class-weight weight-classes pos-weight loss-weights",
    "--balanced-sampling": "weighted-sampler balanced oversample oversampling balance-classes class-balanced resample",
    "--mixup": "mix-up mixup-alpha",
    "--cutmix": "cut-mix cutmix-alpha",
    "--erase": "random-erase random-erasing random-erase-prob reprob cutout",
    "--patience": "early-stopping early-stopping-patience es",
    "--on-collapse": "stop-on-collapse detect-collapse",
    "zoo trains as many epochs as --epochs says": "max-steps max-time",
    "--augment": "augmentation augmentations aug transforms transform data-augmentation",
    "--validation": "val-split val-size validation-split valid-pct val-fraction val",
    "A data set says itself what its test split is": "test-size split-ratio folds",
    "--log": "loggers logger logging tensorboard mlflow tb track tracker report-to",
    "zoo has no logger of that name; zoo list loggers shows them, and a plugin can bring one": "wandb comet neptune",
    "zoo names runs itself; --runs-dir says where": "name run-name tag experiment experiment-name exp",
    "--config": "cfg c conf config-file configuration yaml hparams",
    "--recipe": "preset template",
    "zoo asks no questions and replaces no run": "yes y force f overwrite no-input exist-ok",
    "Training data are shuffled anew in each epoch, as --seed says": "shuffle no-shuffle deterministic",
    "--memory-format": "channels-last layout",
    "zoo runs models as they are": "compile torch-compile jit",
    "--dry-run": "dryrun plan print-config show-config n",
    "Look at a training before it with zoo check": "fast-dev-run sanity smoke",
    "stdout holds results only; what else is said goes to stderr: 2>/dev/null": "quiet q silent no-progress",
}
"""The options of zoo, and what it has instead of an option, by the names that other tools have for them."""
SUBCOMMANDS = {"plugin": {"zoo plugins": "list ls show all info", "zoo plugin test": "check verify certify validate"}}
