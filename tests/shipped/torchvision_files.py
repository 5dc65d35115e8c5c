"""Small files in the real formats of torchvision's data sets, each made here from pictures that tell their class.

A picture has one colour. Its red tells the class, its green the split or the number of the picture; of the small data
sets the pixel in the first row and second column is as bright as can be, which tells rows from columns.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, product
from typing import Any

import numpy
from PIL import Image
from torchvision import datasets
from torchvision.datasets import imagenet

CLASSES = 3
TRAIN, VALIDATION, TEST = 50, 100, 150
"""The green of the pictures of a split."""
PER_CLASS = {TRAIN: 4, VALIDATION: 2, TEST: 2}
SIZES = ((60, 52), (52, 64), (30, 40))
Files = dict[str, bytes]
Patch = tuple[Any, str, Any]


@dataclass(frozen=True)
class Source:
    """The files of a data set, and what torchvision's tables must say for them: the MD5 of files that are smaller."""

    files: Files
    patches: list[Patch] = field(default_factory=list)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def red(target: int) -> int:
    return 10 * target + 5


def draw(target: int, green: int, form: str = "JPEG", size: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    size = size or SIZES[(target + green) % len(SIZES)]
    Image.new("RGB", size, (red(target), green, 30)).save(stream, form, **({"quality": 95} if form == "JPEG" else {}))
    return stream.getvalue()


def grey(target: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (60, 52), red(target)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def tar(files: Files, mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        folders = sorted({name.rpartition("/")[0] for name in files} - {""})
        for folder in folders:  # real archives have their folders, too
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def zipped(files: Files) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in sorted({name.rpartition("/")[0] for name in files} - {""}):
            archive.mkdir(folder)
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def samples(*parts: int) -> Iterable[tuple[int, int, int]]:
    """Yield split, class and a running number within the split."""
    for part in parts:
        yield from ((part, target, number) for number, target in enumerate(list(range(CLASSES)) * PER_CLASS[part]))


def whole(per_class: int = 10) -> Iterable[tuple[int, int]]:
    """Yield class and number, for data sets without splits; the number is told by the green, ten apart."""
    return product(range(CLASSES), range(per_class))


def pixels(shape: tuple[int, ...], targets: Iterable[int]) -> numpy.ndarray:
    """Return images `(N, *shape)`, channels first, that tell their classes and which are their rows."""
    images = numpy.stack([numpy.full(shape, red(target), dtype=numpy.uint8) for target in targets])
    images[..., 0, 1] = 255
    return images


def labels(part: int) -> list[int]:
    return [target for _, target, _ in samples(part)]


def idx(values: numpy.ndarray) -> bytes:
    kind = {"uint8": 8, "int32": 12}[values.dtype.name]
    header = struct.pack(f">4B{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def digits() -> Source:
    files = {}
    for name, part in (("train", TRAIN), ("t10k", TEST)):
        files[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(idx(pixels((28, 28), labels(part))))
        files[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(idx(numpy.array(labels(part), dtype=numpy.uint8)))
    return Source(files)


def qmnist() -> Source:
    files = {}
    for name, part in (("train", TRAIN), ("test", TEST)):
        rows = numpy.zeros((len(labels(part)), 8), dtype=numpy.int32)
        rows[:, 0], rows[:, 1] = labels(part), 4
        files[f"qmnist-{name}-images-idx3-ubyte.gz"] = gzip.compress(idx(pixels((28, 28), labels(part))))
        files[f"qmnist-{name}-labels-idx2-int.gz"] = gzip.compress(idx(rows))
    return Source(files)


def emnist() -> Source:
    packed = {}
    for split, (name, part) in product(datasets.EMNIST.splits, (("train", TRAIN), ("test", TEST))):
        first = 1 if split == "letters" else 0
        targets = numpy.array(labels(part), dtype=numpy.uint8) + numpy.uint8(first)
        packed[f"gzip/emnist-{split}-{name}-images-idx3-ubyte.gz"] = gzip.compress(idx(pixels((28, 28), labels(part))))
        packed[f"gzip/emnist-{split}-{name}-labels-idx1-ubyte.gz"] = gzip.compress(idx(targets))
        packed[f"gzip/emnist-{split}-mapping.txt"] = b"0 48\n"
    return Source({"gzip.zip": zipped(packed)})


def cifar(reader: Any, key: str, names_key: str, names: list[str], **changed: bytes) -> Source:
    """Return an archive of pickles; `changed` has other bytes for files of it."""
    parts: Files = {}
    for (file, _), part, share in [
        *((entry, TRAIN, slice(at, None, len(reader.train_list))) for at, entry in enumerate(reader.train_list)),
        (reader.test_list[0], TEST, slice(None)),
    ]:
        targets = labels(part)[share]
        batch = {"data": pixels((3, 32, 32), targets).reshape(len(targets), -1), key: targets, "batch_label": file}
        parts[file] = pickle.dumps(batch, protocol=2)
    parts[reader.meta["filename"]] = pickle.dumps({names_key: names}, protocol=2)
    archive = {f"{reader.base_folder}/{name}": changed.get(name, data) for name, data in parts.items()}
    patches: list[Patch] = [(reader, "meta", {**reader.meta, "md5": md5(parts[reader.meta["filename"]])})]
    for table in ("train_list", "test_list"):
        patches.append((reader, table, [[name, md5(parts[name])] for name, _ in getattr(reader, table)]))
    return Source({reader.filename: tar(archive)}, patches)


def cifar10(**changed: bytes) -> Source:
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return cifar(datasets.CIFAR10, "labels", "label_names", names, **changed)


def cifar100() -> Source:
    return cifar(datasets.CIFAR100, "fine_labels", "fine_label_names", [f"class{at}" for at in range(100)])


def svhn() -> Source:
    files = {name: mat(svhn_part(part)) for name, part in (("train_32x32.mat", TRAIN), ("test_32x32.mat", TEST))}
    table = {
        split: [url, file, md5(files.get(file, b""))] for split, (url, file, _) in datasets.SVHN.split_list.items()
    }
    return Source(files, [(datasets.SVHN, "split_list", table)])


def svhn_part(part: int) -> dict[str, Any]:
    targets = labels(part)
    numbers = numpy.array([[target or 10] for target in targets], dtype=numpy.uint8)
    return {"X": pixels((3, 32, 32), targets).transpose(2, 3, 1, 0), "y": numbers}


def mat(values: dict[str, Any]) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, values)
    return stream.getvalue()


def stl10() -> Source:
    parts: Files = {"unlabeled_X.bin": pixels((3, 96, 96), [0]).tobytes(), "fold_indices.txt": b"0 1\n" * 10}
    names = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    parts["class_names.txt"] = "\n".join(names).encode() + b"\n"
    for name, part in (("train", TRAIN), ("test", TEST)):
        parts[f"{name}_X.bin"] = pixels((3, 96, 96), labels(part)).transpose(0, 1, 3, 2).tobytes()
        parts[f"{name}_y.bin"] = bytes(target + 1 for target in labels(part))
    tables = [
        (datasets.STL10, table, [[name, md5(parts[name])] for name, _ in getattr(datasets.STL10, table)])
        for table in ("train_list", "test_list")
    ]
    return Source({"stl10_binary.tar.gz": tar({f"stl10_binary/{name}": data for name, data in parts.items()})}, tables)


def usps() -> Source:
    files = {}
    for name, part in (("usps.bz2", TRAIN), ("usps.t.bz2", TEST)):
        lines = []
        for image, target in zip(pixels((16, 16), labels(part)), labels(part), strict=True):
            values = (image.reshape(-1) + 0.5) / 255 * 2 - 1
            lines.append(" ".join([str(target + 1), *(f"{at}:{value:.4f}" for at, value in enumerate(values, 1))]))
        files[name] = bz2.compress("\n".join(lines).encode() + b"\n")
    return Source(files)


def semeion() -> Source:
    """Return digits whose class is the number of their pixels that are drawn."""
    rows = []
    for target, _ in whole():
        ink = ["1.0000"] * (target + 1) + ["0.0000"] * (255 - target)
        rows.append(" ".join([*ink, *("1" if at == target else "0" for at in range(10))]))
    data = ("\n".join(rows) + "\n").encode()
    return Source({"semeion.data": data}, [(datasets.SEMEION, "md5_checksum", md5(data))])


def fer2013() -> Source:
    rows = ["emotion,pixels,Usage"]
    for part, usage in ((TRAIN, "Training"), (VALIDATION, "PublicTest"), (TEST, "PrivateTest")):
        for image, target in zip(pixels((48, 48), labels(part)), labels(part), strict=True):
            rows.append(f"{target},{' '.join(map(str, image.reshape(-1)))},{usage}")
    data = ("\n".join(rows) + "\n").encode()
    table = {**datasets.FER2013._RESOURCES, "fer": ("fer2013.csv", md5(data))}
    return Source({"fer2013.csv": data}, [(datasets.FER2013, "_RESOURCES", table)])


def food101() -> Source:
    names, files = ("apple_pie", "baby_back_ribs", "baklava"), dict[str, bytes]()
    for split, part in (("train", TRAIN), ("test", TEST)):
        paths: dict[str, list[str]] = {name: [] for name in names}
        for _, target, number in samples(part):
            paths[names[target]].append(f"{names[target]}/{part}{number}")
            files[f"food-101/images/{names[target]}/{part}{number}.jpg"] = draw(target, part)
        files[f"food-101/meta/{split}.json"] = json.dumps(paths).encode()
    return Source({"food-101.tar.gz": tar(files)})


def flowers102() -> Source:
    pictures, targets, numbers, counter = dict[str, bytes](), list[int](), dict[int, list[int]](), count(1)
    for part, target, _ in samples(TEST, TRAIN, VALIDATION):
        number = next(counter)
        pictures[f"jpg/image_{number:05d}.jpg"] = draw(target, part)
        targets.append(target + 1)
        numbers.setdefault(part, []).append(number)
    files = {
        "102flowers.tgz": tar(pictures),
        "imagelabels.mat": mat({"labels": numpy.array([targets], dtype=numpy.uint8)}),
        "setid.mat": mat({"trnid": [numbers[TRAIN]], "valid": [numbers[VALIDATION]], "tstid": [numbers[TEST]]}),
    }
    table = {key: (name, md5(files[name])) for key, (name, _) in datasets.Flowers102._file_dict.items()}
    return Source(files, [(datasets.Flowers102, "_file_dict", table)])


def oxford_iiit_pet() -> Source:
    names, species = ("Abyssinian", "american_bulldog", "Bengal"), (1, 2, 1)
    pictures, notes = (
        {"images/Abyssinian_100.mat": b""},
        {"annotations/README": b"", "annotations/trimaps/._a.png": b""},
    )
    for split, part in (("trainval", TRAIN), ("test", TEST)):
        lines = []
        for _, target, number in samples(part):
            name = f"{names[target]}_{part}{number}"
            pictures[f"images/{name}.jpg"] = draw(target, part)
            lines.append(f"{name} {target + 1} {species[target]} 1\n")
        notes[f"annotations/{split}.txt"] = "".join(lines).encode()
    return Source({"images.tar.gz": tar(pictures), "annotations.tar.gz": tar(notes)})


def gtsrb() -> Source:
    train = {}
    for part, target, number in samples(TRAIN):
        train[f"GTSRB/Training/{target:05d}/00000_{number:05d}.ppm"] = draw(target, part, "PPM")
        train[f"GTSRB/Training/{target:05d}/GT-{target:05d}.csv"] = b"Filename;Width\n"
    test, lines = {}, ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for part, target, number in samples(TEST):
        test[f"GTSRB/Final_Test/Images/{number:05d}.ppm"] = draw(target, part, "PPM")
        lines.append(f"{number:05d}.ppm;53;54;6;5;48;49;{target}")
    truth = {"GT-final_test.csv": "\r\n".join(lines).encode() + b"\r\n"}
    archives = (
        ("GTSRB-Training_fixed.zip", train),
        ("GTSRB_Final_Test_Images.zip", test),
        ("GTSRB_Final_Test_GT.zip", truth),
    )
    return Source({name: zipped(files) for name, files in archives})


def dtd() -> Source:
    names, files = ("banded", "blotchy", "braided"), dict[str, bytes]()
    for split, part in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
        paths = [f"{names[target]}/{names[target]}_{part}{number}.jpg" for _, target, number in samples(part)]
        for path, (_, target, _) in zip(paths, samples(part), strict=True):
            files[f"dtd/images/{path}"] = draw(target, part)
        files[f"dtd/labels/{split}1.txt"] = ("\n".join(paths) + "\n").encode()
        files[f"dtd/labels/{split}2.txt"] = ("\n".join(paths[:CLASSES]) + "\n").encode()
    return Source({"dtd-r1.0.1.tar.gz": tar(files)})


def caltech101() -> Source:
    names = ("Faces", "accordion", "yin_yang")
    files = {"101_ObjectCategories/BACKGROUND_Google/image_0001.jpg": draw(9, 0)}
    for target, number in whole():
        path = f"101_ObjectCategories/{names[target]}/image_{number + 1:04d}.jpg"
        files[path] = draw(target, 10 * number) if number else grey(target)  # some of the real ones are grey
    inner = {
        "caltech-101/101_ObjectCategories.tar.gz": tar(files),
        "caltech-101/Annotations.tar": tar({"Annotations/show_annotation.m": b""}, "w"),
        "__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"\0",
    }
    return Source({"caltech-101.zip": zipped(inner)})


def caltech256() -> Source:
    names, files = ("001.ak47", "002.american-flag", "003.backpack"), dict[str, bytes]()
    for target, number in whole():
        path = f"256_ObjectCategories/{names[target]}/{target + 1:03d}_{number + 1:04d}.jpg"
        files[path] = draw(target, 10 * number)
    files["256_ObjectCategories/003.backpack/RENAME2"] = b"#!/bin/sh\n"
    return Source({"256_ObjectCategories.tar": tar(files, "w")})


def eurosat() -> Source:
    names = ("AnnualCrop", "Forest", "HerbaceousVegetation")
    files = {
        f"2750/{names[target]}/{names[target]}_{number + 1}.jpg": draw(target, 10 * number, size=(64, 64))
        for target, number in whole()
    }
    return Source({"EuroSAT.zip": zipped(files)})


def fgvc_aircraft() -> Source:
    names = {
        "variant": ("707-320", "727-200", "A300B4"),
        "family": ("Boeing 707", "Boeing 727", "A300"),
        "manufacturer": ("Boeing", "Boeing", "Airbus"),
    }
    folder, files, plural = "fgvc-aircraft-2013b/data", dict[str, bytes](), ("variants", "families", "manufacturers")
    for (level, of_level), listed in zip(names.items(), plural, strict=True):
        files[f"{folder}/{listed}.txt"] = ("\n".join(dict.fromkeys(of_level)) + "\n").encode()
        for split, part in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
            lines = []
            for _, target, number in samples(part):
                files[f"{folder}/images/{part}{number:04d}.jpg"] = draw(target, part)
                lines.append(f"{part}{number:04d} {of_level[target]}\n")
            files[f"{folder}/images_{level}_{split}.txt"] = "".join(lines).encode()
    return Source({"fgvc-aircraft-2013b.tar.gz": tar(files)})


def stanford_cars() -> Source:
    files, form = dict[str, bytes](), [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
    notes = {}
    for split, part in (("train", TRAIN), ("test", TEST)):
        rows = [(1, target + 1, f"{number + 1:05d}.jpg") for _, target, number in samples(part)]
        pictures = {f"cars_{split}/{row[2]}": draw(row[1] - 1, part) for row in rows}
        files[f"cars_{split}.tgz"] = tar(pictures)
        notes[split] = mat({"annotations": numpy.array([rows], dtype=form)[0]})
    names = numpy.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo 2012"], dtype=object)
    devkit = {"devkit/cars_train_annos.mat": notes["train"], "devkit/cars_meta.mat": mat({"class_names": names})}
    return Source({**files, "car_devkit.tgz": tar(devkit), "cars_test_annos_withlabels.mat": notes["test"]})


def sun397() -> Source:
    names = ("a/abbey", "a/apse/indoor", "z/zen_garden")
    files = {"SUN397/ClassName.txt": "".join(f"/{name}\n" for name in names).encode()}
    for target, number in whole():
        files[f"SUN397/{names[target]}/sun_{number}abc.jpg"] = draw(target, 10 * number)
    return Source({"SUN397.tar.gz": tar(files)})


def places365() -> Source:
    names = ("/a/airfield", "/a/airplane_cabin", "/z/zen_garden")
    train, train_list, val, val_list = dict[str, bytes](), list[str](), dict[str, bytes](), list[str]()
    for part, target, number in samples(TRAIN):
        train[f"data_256{names[target]}/{number + 1:08d}.jpg"] = draw(target, part, size=(256, 256))
        train_list.append(f"{names[target]}/{number + 1:08d}.jpg {target}\n")
    for part, target, number in samples(TEST):
        val[f"val_256/Places365_val_{number + 1:08d}.jpg"] = draw(target, part, size=(256, 256))
        val_list.append(f"Places365_val_{number + 1:08d}.jpg {target}\n")
    lists = {
        "categories_places365.txt": "".join(f"{name} {at}\n" for at, name in enumerate(names)).encode(),
        "places365_train_standard.txt": "".join(train_list).encode(),
        "places365_val.txt": "".join(val_list).encode(),
        "places365_test.txt": b"Places365_test_00000001.jpg\n",
    }
    tables = datasets.Places365._FILE_LIST_META
    listed = {split: (name, md5(lists.get(name, b""))) for split, (name, _) in tables.items()}
    categories = ("categories_places365.txt", md5(lists["categories_places365.txt"]))
    archives = (
        ("filelist_places365-standard.tar", lists),
        ("train_256_places365standard.tar", train),
        ("val_256.tar", val),
    )
    patches = [(datasets.Places365, "_FILE_LIST_META", listed), (datasets.Places365, "_CATEGORIES_META", categories)]
    return Source({name: tar(files, "w") for name, files in archives}, patches)


def country211() -> Source:
    files = {}
    for split, part in (("train", TRAIN), ("valid", VALIDATION), ("test", TEST)):
        for _, target, number in samples(part):
            files[f"country211/{split}/{('AD', 'AE', 'AF')[target]}/{number}.jpg"] = draw(target, part)
    return Source({"country211.tgz": tar(files)})


def rendered_sst2() -> Source:
    files = {}
    for split, part in (("train", TRAIN), ("valid", VALIDATION), ("test", TEST)):
        for _, target, number in samples(part):
            if target < 2:
                name = ("negative", "positive")[target]
                files[f"rendered-sst2/{split}/{name}/{number}.png"] = draw(target, part, "PNG", (448, 448))
    return Source({"rendered-sst2.tgz": tar(files)})


def imagenette(size: str) -> Callable[[], Source]:
    archive = datasets.Imagenette._ARCHIVES[size][0].rpartition("/")[2]

    def make() -> Source:
        names = sorted(datasets.Imagenette._WNID_TO_CLASS)
        files = {
            f"{archive.partition('.')[0]}/{split}/{name}/0.JPEG": b"" for split in ("train", "val") for name in names
        }
        files = {path: draw(names.index(path.split("/")[2]), TRAIN if "/train/" in path else TEST) for path in files}
        return Source({archive: tar(files)})

    return make


def inaturalist(archive: str) -> Callable[[], Source]:
    def make() -> Source:
        names = (
            "Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris",
            "A_B_C_D_E_F_g",
            "Z_B_C_D_E_F_g",
        )
        parts: dict[str, Files] = {archive: {}, "val": {}}
        for (folder, files), part in zip(parts.items(), (TRAIN, TEST), strict=True):
            for _, target, number in reversed(list(samples(part))):
                path = f"{folder}/{target:05d}_{names[target]}/{number:03d}-uuid.jpg"
                files[path] = draw(target, part, size=SIZES[number // CLASSES % len(SIZES)])
        return Source({f"{folder}.tar.gz": tar(files) for folder, files in parts.items()})

    return make


def imagenet_2012() -> Source:
    wnids = ("n01440764", "n01443537", "n03126707")
    words = ("tench, Tinca tinca", "crane", "crane")
    inner: dict[str, Files] = {wnid: {} for wnid in wnids}
    for part, target, number in samples(TRAIN):
        inner[wnids[target]][f"{wnids[target]}_{number}.JPEG"] = draw(target, part)
    val = {f"ILSVRC2012_val_{number + 1:08d}.JPEG": draw(target, part) for part, target, number in samples(TEST)}
    numbers = (7, 2, 5)  # not in the order of the identifiers
    form = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    synsets = [(number, wnid, word, "", 0) for number, wnid, word in zip(numbers, wnids, words, strict=True)]
    synsets.append((1001, "n00001740", "entity", "", 2))
    truth = "".join(f"{numbers[target]}\n" for _, target, _ in samples(TEST)).encode()
    devkit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": mat({"synsets": numpy.array([synsets], dtype=form)[0]}),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": truth,
    }
    files = {
        "ILSVRC2012_img_train.tar": tar({f"{wnid}.tar": tar(files, "w") for wnid, files in inner.items()}, "w"),
        "ILSVRC2012_img_val.tar": tar(val, "w"),
        "ILSVRC2012_devkit_t12.tar.gz": tar(devkit),
    }
    table = {part: (name, md5(files[name])) for part, (name, _) in imagenet.ARCHIVE_META.items()}
    return Source(files, [(imagenet, "ARCHIVE_META", table)])


def lfw() -> Source:
    people = {"Abdullah_Gul": 25, "Alone_Once": 1, "Zico": 20}
    pictures = {
        f"lfw_funneled/{name}/{name}_{number:04d}.jpg": draw(target, 5 * number, size=(250, 250))
        for (name, images), target in zip(people.items(), (0, 9, 1), strict=True)
        for number in range(1, images + 1)
    }
    lines = [f"{name}\t{images}\n" for name, images in people.items()]
    files = {
        "lfw-funneled.tgz": tar(pictures),
        "people.txt": "".join(["2\n", "2\n", *lines[:2], "1\n", lines[2]]).encode(),
        "lfw-names.txt": "".join(lines).encode(),
    }
    reader = datasets.LFWPeople
    images = {**reader.file_dict, "funneled": ("lfw_funneled", "lfw-funneled.tgz", md5(files["lfw-funneled.tgz"]))}
    checksums = {**reader.checksums, **{name: md5(files[name]) for name in ("people.txt", "lfw-names.txt")}}
    return Source(files, [(reader, "file_dict", images), (reader, "checksums", checksums)])


def clevr() -> Source:
    files = {"CLEVR_v1.0/images/test/CLEVR_test_000000.png": draw(0, 0, "PNG", (480, 320))}
    for split, part in (("train", TRAIN), ("val", TEST)):
        scenes = []
        for _, target, number in samples(part):
            name = f"CLEVR_{split}_{number:06d}.png"
            files[f"CLEVR_v1.0/images/{split}/{name}"] = draw(target, part, "PNG", (480, 320))
            scenes.append({"image_filename": name, "objects": [{}] * (target + 3)})
        files[f"CLEVR_v1.0/scenes/CLEVR_{split}_scenes.json"] = json.dumps({"scenes": scenes}).encode()
    return Source({"CLEVR_v1.0.zip": zipped(files)})


def omniglot() -> Source:
    """Return drawings whose class is the row of their one black line."""
    archives = {}
    for name, characters in (
        ("images_evaluation", {"Angelic/character01": 0}),
        ("images_background", {"Bengali/character02": 2, "Bengali/character01": 1}),
    ):
        files = {}
        for path, target in characters.items():
            for number in range(20):
                drawing = Image.new("1", (105, 105), 1)
                drawing.paste(0, (0, target, 105, target + 1))
                drawing.putpixel((number, 50), 0)
                stream = io.BytesIO()
                drawing.save(stream, "PNG")
                files[f"{name}/{path}/{number + 1:04d}_01.png"] = stream.getvalue()
        archives[f"{name}.zip"] = zipped(files)
    table = {name: md5(archives[f"{name}.zip"]) for name in datasets.Omniglot.zips_md5}
    return Source(archives, [(datasets.Omniglot, "zips_md5", table)])


MAKERS: dict[str, Callable[[], Source]] = {
    **dict.fromkeys(("mnist", "kmnist", "fashionmnist"), digits),
    **{"cifar10": cifar10, "cifar100": cifar100, "emnist": emnist, "fer2013": fer2013, "qmnist": qmnist},
    **{"semeion": semeion, "stl10": stl10, "svhn": svhn, "usps": usps, "caltech101": caltech101},
    **{"caltech256": caltech256, "clevr": clevr, "country211": country211, "dtd": dtd, "eurosat": eurosat},
    **{"fgvc-aircraft": fgvc_aircraft, "flowers102": flowers102, "food101": food101, "gtsrb": gtsrb},
    **{"imagenet": imagenet_2012, "imagenette": imagenette("full"), "imagenette-160": imagenette("160px")},
    **{"imagenette-320": imagenette("320px"), "inaturalist": inaturalist("train"), "lfw": lfw, "omniglot": omniglot},
    **{"inaturalist-mini": inaturalist("train_mini"), "oxford-iiit-pet": oxford_iiit_pet, "places365": places365},
    **{"rendered-sst2": rendered_sst2, "stanford-cars": stanford_cars, "sun397": sun397},
}
