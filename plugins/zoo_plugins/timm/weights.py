"""The loader that registry.toml names: the weights that timm has for its models."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import DownloadError, Preprocess, PretrainedWeights, UsageError, WeightsError
from zoo_plugins import torch_hub

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

FILES = ("model.safetensors", "pytorch_model.bin")
"""What a repository of the hub calls its weights, the first choice first."""
SHA256 = r"[0-9a-f]{64}"


def load(*, name: str, offline: bool) -> PretrainedWeights:
    """Return the weights `MODEL.TAG`, say `resnet18.a1_in1k`; their file is fetched by huggingface_hub or torch.hub.

    Raises:
        UsageError: timm is not installed, or the installed one has no such weights.
        DownloadError: they cannot be fetched, or `offline` and they are not in the cache of the hub.
        WeightsError: the file holds something else than tensors.
    """
    config = find_config(name)
    import timm
    from safetensors import SafetensorError
    from timm.data import ImageNetInfo, infer_imagenet_subset

    if config.hf_hub_id:
        path, digest, source = _fetch_from_hub(config.hf_hub_id, offline=offline)
    else:
        (path, digest), source = torch_hub.fetch(config.url, offline=offline), config.url
    try:
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    except (*torch_hub.NOT_TENSORS, SafetensorError) as error:
        if "Error(s) in loading state_dict" in str(error):  # they are tensors, of another model
            raise
        raise WeightsError(f"{path} holds something else than tensors, so it is not read", str(error)) from error
    subset = infer_imagenet_subset({"num_classes": config.num_classes})
    return PretrainedWeights(
        state_dict=model.state_dict(),
        input_shape=config.input_size,
        preprocess=find_preprocess(config),
        class_names=ImageNetInfo(subset).label_descriptions() if subset else (),
        num_classes=config.num_classes,
        license=config.license or "",
        homepage=f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else "",
        source=source,
        sha256=digest,
        versions={"timm": timm.__version__},
    )


def find_config(name: str) -> PretrainedCfg:
    """Return what timm says of weights.

    Raises:
        UsageError: timm is not installed, or the installed one has no such weights.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        what = f"weights {name!r} need timm"
        raise UsageError(what, "it is not installed", "pip install 'zoo-torch[timm]'") from None
    config = timm.get_pretrained_cfg(name) if timm.is_model_pretrained(name) else None
    if config is None:
        fix = "Install one that has them, pip install -U timm, or choose others"
        raise UsageError(f"timm {timm.__version__} has no weights {name!r}", fix=fix)
    return config


def find_preprocess(config: PretrainedCfg) -> Preprocess:
    """Return the steps of timm's own transforms for weights: those of pictures as Pillow resizes them.

    Raises:
        ValueError: zoo has no steps that do the same.
    """
    from timm.data import resolve_data_config

    steps = resolve_data_config(pretrained_cfg=config.to_dict())
    _, *crop = steps["input_size"]
    large = tuple(math.floor(side / steps["crop_pct"]) for side in crop)
    squash = steps["crop_mode"] == "squash"
    if steps["crop_mode"] not in ("center", "squash") or not (squash or large[0] == large[1]):
        raise ValueError(f"crop_mode {steps['crop_mode']} to {tuple(crop)}")
    return Preprocess(
        resize=large if squash else large[0],
        interpolation=steps["interpolation"],
        crop=tuple(crop),
        mean=tuple(steps["mean"]),
        std=tuple(steps["std"]),
        rounded=True,
    )


def _fetch_from_hub(repository: str, *, offline: bool) -> tuple[Path, str, str]:
    """Return the file of weights of a repository, its SHA-256 and its address; raise what huggingface_hub raises.

    Raises:
        DownloadError: `offline` and the file is not in the cache, or it is not the one that the hub announced.
    """
    from huggingface_hub import constants

    path = _find_in_cache(repository)
    if path is None and offline:
        what = f"no weights of {repository} in {constants.HF_HUB_CACHE}"
        raise DownloadError(what, "offline, and nothing fetched them before", "Run once with offline=False")
    path = path or _download(repository)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    # The cache calls large files by what the hub announces as their SHA-256, which it does not check.
    announced = path.resolve()
    if re.fullmatch(SHA256, announced.name) and announced.name != digest:
        fix = f"Delete {announced} and try again"
        raise DownloadError(
            f"{repository}: {path.name}", f"the hub announced {announced.name}, what came is {digest}", fix
        )
    return path, digest, f"{constants.ENDPOINT}/{repository}/resolve/{path.parent.name}/{path.name}"


def _find_in_cache(repository: str) -> Path | None:
    """Return the file of weights where it is here; other functions of the hub connect even when they are not to."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in FILES)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _download(repository: str) -> Path:
    """Return the file of weights of a repository, which is fetched; raise DownloadError where that fails."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    problem: OSError | None = None
    for file in FILES:
        try:
            return Path(hf_hub_download(repository, file, library_name="timm"))
        except EntryNotFoundError as error:
            problem = error
            if isinstance(error, LocalEntryNotFoundError):  # the hub cannot be reached
                break
        except OSError as error:
            problem = error
            break
    if problem is not None and problem.errno is not None:  # it is one of the disk
        raise problem
    fix = "Look at the network and try again"
    raise DownloadError(f"cannot fetch the weights of {repository}", str(problem), fix) from problem
