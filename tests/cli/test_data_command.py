"""`zoo data`: what of data sets is in the data folder, and how it gets there and away."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import DATA, HALF, Server

import zoo
from zoo.cli.main import main
from zoo.registry import downloads, parts, transfers, verification

LABELS = random.Random(1).randbytes(1234)
PACKED = gzip.compress(LABELS, mtime=0)

pytestmark = pytest.mark.usefixtures("own_folder")
Call = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "BACK_OFF", 0.0)
    monkeypatch.setattr(transfers, "CHUNK", 1000)


@pytest.fixture
def manifest(server: Server, tmp_path: Path) -> str:
    """Return a plugin with two data sets that have a file in common, and one without files."""
    server.files["labels"] = PACKED

    def write(name: str, *files: str) -> str:
        head = f'[datasets.{name}]\nfactory = "nowhere:make"\nhomepage = "https://a.org/{name}"\n'
        return "\n".join([head, *(f"[[datasets.{name}.files]]\n{file}\n" for file in files)])

    def describe(path: str, data: bytes, url: str, more: str = "") -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        return f'path = "{path}"\nsize = {len(data)}\nsha256 = "{sha256}"\nurls = ["{server.url(url)}"]\n{more}'

    unpacked = f'unpacked_size = {len(LABELS)}\nunpacked_sha256 = "{hashlib.sha256(LABELS).hexdigest()}"'
    images = describe("things/raw/images", DATA, "ranges-cut")
    labels = describe("things/raw/labels.gz", PACKED, "labels", unpacked)
    others = describe("others/b", LABELS, "404")
    text = ["schema = 1", write("things", images, labels), write("others", labels, others), write("made")]
    path = tmp_path / "kit" / "registry.toml"
    path.parent.mkdir()
    path.write_text("\n".join(text), encoding="utf-8")
    return str(path)


@pytest.fixture
def call(manifest: str, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs `zoo data ...` with the plugin, and gives what is printed."""

    def run(*words: str | Path, code: int = 0) -> tuple[str, str]:
        assert main(["data", *map(str, words), "--plugin", manifest, "--data-dir", "data"]) == code
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


def place(path: str, data: bytes) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def tell(call: Call, *words: str | Path) -> dict[str, Any]:
    return json.loads(call(*words, "--json")[0])


def states(call: Call, *names: str) -> dict[str, tuple[str, bool]]:
    return {
        each["name"].removeprefix("kit/"): (each["state"], each["verified"])
        for each in tell(call, "list", *names)["datasets"]
    }


def found(root: str = "data") -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in Path(root).rglob("*") if not path.is_dir())


def test_from_nothing_to_verified_and_gone(call: Call, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(call, "things") == {"things": ("missing", False)}
    monkeypatch.setattr(downloads, "TRIES", 1)
    _, said = call("fetch", "things", code=6)
    assert "the connection was cut" in said and "Get things/raw/images, things/raw/labels.gz elsewhere" in said
    assert "zoo data add kit/things FILE" in said
    (things,) = tell(call, "list", "things")["datasets"]
    assert [(file["state"], file["here"] > 0) for file in things["files"]] == [("part", True), ("missing", False)]
    monkeypatch.setattr(downloads, "TRIES", 3)
    printed, said = call("fetch", "things")
    assert "the first 0.1 MB are here" in said
    assert server.ranges[:2] == [None, f"bytes={things['here']}-"]
    assert printed.splitlines()[1].split()[:5] == ["kit/things", "complete", "2", "of", "2"]
    assert found() == ["things/raw/images", "things/raw/labels.gz"]
    assert states(call, "things") == {"things": ("complete", True)}
    assert states(call, "others") == {"others": ("part", False)}
    assert "goes" in call("remove", "things")[0]
    assert found() == ["things/raw/images", "things/raw/labels.gz"], "nothing goes without --yes"
    printed, _ = call("remove", "things", "--yes")
    assert "kept: kit/others has it too" in printed and "0.3 MB removed from" in printed
    assert found() == ["things/raw/labels.gz"]
    call("remove", "things", "others", "--yes")
    assert not [*Path("data").iterdir()]
    assert call("remove", "things", "--yes")[0].startswith("nothing of things is in ")


def test_list_reads_no_file_and_asks_for_none(call: Call, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    place("data/things/raw/images", DATA)
    place("data/things/raw/labels", LABELS)
    assert states(call, "things") == {"things": ("complete", False)}
    call("verify", "things")
    place("data/things/raw/labels.gz", PACKED)
    opened = list[str]()
    monkeypatch.setattr(verification, "open_regular", lambda path: opened.append(str(path)))
    assert states(call, "things") == {"things": ("complete", False)}, "the packed form was not read yet"
    Path("data/things/raw/labels.gz").unlink()
    assert states(call, "things") == {"things": ("complete", True)}
    assert opened == [] and server.asked == []
    Path("data/things/raw/images").write_bytes(DATA[:-1])
    assert states(call, "things") == {"things": ("other content", False)}
    printed, _ = call("list")
    assert [line.split()[0] for line in printed.splitlines()[1:-1]][-2:] == ["kit/others", "kit/things"], (
        "made has no files"
    )
    assert "no files" in call("list", "made")[0]


@pytest.mark.promise("P4")
def test_verify_finds_a_byte(call: Call) -> None:
    images, labels = place("data/things/raw/images", DATA), place("data/things/raw/labels", LABELS)
    for path in (images, labels):
        os.utime(path, (1e9, 1e9))  # long ago, so that what is remembered of it would be trusted
    call("verify")
    for path, data in ((images, DATA), (labels, LABELS)):
        state = path.stat()
        path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        # As a disk does it: nothing shows the change.
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert states(call, "things") == {"things": ("complete", True)}
    _, said = call("verify", code=3)
    first, second, third = said.splitlines()
    assert first.startswith("Error: data/things/raw/labels is not the file that kit/others needs: expected SHA-256 ")
    assert second.startswith("Error: data/things/raw/images is not the file that kit/things needs: expected SHA-256 ")
    assert third.endswith("Delete it and fetch it again: zoo data fetch kit/things")
    assert states(call, "things") == {"things": ("other content", False)}
    assert images.exists() and labels.exists()


@pytest.mark.parametrize("damage", [b"", b"\xff" * 100, b"1 2 3", b"x" * 10_000])
def test_a_damaged_memory_is_none(call: Call, damage: bytes) -> None:
    place("data/things/raw/images", DATA)
    call("verify")
    assert [file["verified"] for file in tell(call, "list", "things")["datasets"][0]["files"]] == [True, False]
    (memory,) = Path("home/cache").glob("verified-*")
    memory.write_bytes(damage)
    assert [file["verified"] for file in tell(call, "list", "things")["datasets"][0]["files"]] == [False, False]
    call("verify")
    assert [file["verified"] for file in tell(call, "list", "things")["datasets"][0]["files"]] == [True, False]


def test_verify_names_what_is_missing_of_what_was_named(call: Call) -> None:
    place("data/things/raw/images", DATA)
    call("verify")
    _, said = call("verify", "things", code=6)
    assert (
        "cannot verify kit/things: not there: things/raw/labels.gz in data. Fetch them: zoo data fetch kit/things"
        in said
    )


@pytest.mark.promise("P4")
@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize("labels", [LABELS, PACKED])
def test_add_knows_files_by_their_content(call: Call, move: bool, labels: bytes) -> None:
    given = [place("downloads/images (1)", DATA), place("downloads/deep/x.html", labels), place("downloads/y", b"y")]
    printed, _ = call("add", "things", "downloads", *(["--move"] if move else []))
    form = "labels" if labels == LABELS else "labels.gz"
    assert found() == ["things/raw/images", f"things/raw/{form}"]
    assert (Path("data/things/raw/images").read_bytes(), Path(f"data/things/raw/{form}").read_bytes()) == (DATA, labels)
    assert [path.exists() for path in given] == [not move, not move, True]
    assert printed.splitlines()[-1] == "kit/things: complete"
    assert states(call, "things") == {"things": ("complete", True)}
    told = tell(call, "add", "things", "data")
    assert [file["how"] for file in told["added"]] == ["already there"] * 2


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("images", b"x", "Error: got/images is not things/raw/images of kit/things: expected 300000 bytes, got 1."),
        ("images", DATA[:-1] + b"x", "of kit/things: expected SHA-256 "),
        ("a", DATA[:-1] + b"x", "Error: got/a is not things/raw/images of kit/things: expected SHA-256 "),
        (
            "a",
            b"x",
            "Error: got/a is no file of kit/things: got 1 bytes. Expected: images has 300000 bytes, labels.gz has",
        ),
        ("images", b"<html>log in</html>", "It is a web page, perhaps of a login"),
    ],
)
def test_add_names_what_does_not_match_and_keeps_the_rest(call: Call, name: str, data: bytes, said: str) -> None:
    wrong, right = place(f"got/{name}", data), place("got/right", LABELS)
    assert said in call("add", "things", wrong, right, code=3)[1]
    assert found() == ["things/raw/labels"]
    if name == "images":  # in a folder too, for it is called like one
        assert said in call("add", "things", "got", code=3)[1]


def test_add_refuses_what_it_cannot_use(call: Call) -> None:
    assert "No such file" in call("add", "things", "nothing", code=7)[1]
    place("empty/x", b"x")
    assert "empty has no file of kit/things: it has 1 files" in call("add", "things", "empty", code=3)[1]
    assert "dataset 'kit/made' declares no files" in call("add", "made", "empty", code=2)[1]
    os.mkfifo("pipe")
    assert "it is a pipe, not a regular file" in call("add", "things", "pipe", code=7)[1]
    there, given = place("data/things/raw/images", b"mine"), place("images", DATA)
    assert "data/things/raw/images is not the file that kit/things needs" in call("add", "things", given, code=3)[1]
    assert there.read_bytes() == b"mine"


def test_a_link_is_added_by_copy_and_stays(call: Call) -> None:
    real = place("real", DATA)
    Path("link").symlink_to(real)
    call("add", "things", "link", "--move")
    assert Path("link").is_symlink() and real.read_bytes() == DATA
    assert not Path("data/things/raw/images").is_symlink()


def test_a_file_that_changes_while_it_is_copied_is_not_added(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.registry import additions

    given, check = place("images", DATA), additions.check_writable

    def change(*words: Any, **options: Any) -> None:
        given.write_bytes(bytes(len(DATA)))
        check(*words, **options)

    monkeypatch.setattr(additions, "check_writable", change)
    for words in ((), ("--move",)):
        given.write_bytes(DATA)
        assert "images changed while it was read" in call("add", "things", given, *words, code=3)[1]
        assert found() == [] and given.exists()


@pytest.mark.promise("P7")
def test_remove_stays_in_the_data_folder(call: Call) -> None:
    outside = [place("outside/raw/images", DATA), place("outside/victim", LABELS)]
    Path("data").mkdir()
    Path("data/things").symlink_to(Path("outside").absolute())
    printed, _ = call("remove", "things", "--yes")
    assert "kept: it lies behind a link to a folder" in printed
    Path("data/things").unlink()
    mine = place("data/things/raw/mine", b"mine")
    Path("data/things/raw/images").symlink_to(outside[1].absolute())
    place("data/others/b", LABELS)
    Path("data/things/raw/labels").mkdir()
    printed, _ = call("remove", "things", "others", "--yes")
    assert "kept: it is a folder" in printed
    assert "things/raw/mine    4 bytes" in printed and "kept: no data set declares it" in printed
    assert [path.exists() for path in outside] == [True, True]
    assert found() == ["things/raw/mine"] and mine.exists(), "a link goes, what it leads to stays"
    assert not Path("data/others").exists(), "a folder that is empty then goes"


def test_remove_takes_parts_that_nobody_writes(call: Call, server: Server) -> None:
    def begin() -> parts.Part:
        key = parts.make_key(server.url("ranges-cut"), hashlib.sha256(DATA).hexdigest())
        Path("data/things/raw").mkdir(parents=True, exist_ok=True)
        part = parts.Part(Path("data/things/raw/images"), key)
        part.append(DATA[:HALF])
        return part

    busy = begin()
    assert "kept: it is being downloaded" in call("remove", "things", "--yes")[0]
    assert found() == [f"things/raw/{busy.path.name}"]
    busy.close()
    assert "0.1 MB removed from" in call("remove", "things", "--yes")[0]
    assert not [*Path("data").iterdir()]


def test_fetch_goes_on_with_the_other_data_sets(call: Call) -> None:
    _, said = call("fetch", "others", "things", code=6)
    assert said.count("Error: ") == 1 and "cannot download kit/others: others/b: " in said
    assert found() == ["things/raw/images", "things/raw/labels.gz"]


def test_python_gives_what_the_commands_print(call: Call, manifest: str) -> None:
    told = {"plugins": [manifest], "data_dir": "data"}
    place("images", DATA)
    added = zoo.data_add("things", "images", **told)
    assert [(file.how, file.path) for file in added.added] == [("copied", "things/raw/images")]
    assert (added.dataset.state, added.to_dict()["dataset"]["here"]) == ("part", len(DATA))
    inventory = zoo.data_fetch(["things"], **told)
    assert inventory.to_dict() == tell(call, "list", "things")
    assert repr(inventory).splitlines()[1].startswith("kit/things  complete  2 of 2  0.3 MB  0.3 MB  yes")
    assert "<table>" in inventory._repr_html_()
    assert zoo.data_verify("things", **told) == inventory
    assert zoo.data_list("things", **told) == inventory
    removal = zoo.data_remove("things", **told)
    assert not removal.done and removal.to_dict() == tell(call, "remove", "things")
    with pytest.raises(zoo.DownloadError, match=r"zoo\.data_add\('kit/things', 'FILE'\)"):
        zoo.data_fetch("things", data_dir="elsewhere", offline=True, plugins=[manifest])


@pytest.mark.promise("P6")
@pytest.mark.slow
def test_nothing_of_it_imports_torch(manifest: str) -> None:
    place("images", DATA)
    lines = ["list", "fetch things --offline", "add things images", "verify", "remove things --yes"]
    code = (
        "import sys\nfrom zoo.cli.main import main\n"
        f"told = ['--data-dir', 'data', '--plugin', {manifest!r}]\n"
        f"codes = [main(['data', *line.split(), *told]) for line in {lines!r}]\n"
        "assert codes == [0, 6, 0, 0, 0], codes\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lst", "Did you mean 'zoo data list'?"),
        ("rm", "Did you mean 'zoo data remove'?"),
        ("download", "Did you mean 'zoo data fetch'?"),
        ("fetch", "Missing argument 'NAME...'. As in: zoo data fetch fashionmnist"),
        ("list thngs", "Did you mean 'things'?"),
    ],
)
def test_what_to_type_instead(call: Call, words: str, said: str) -> None:
    assert said in call(*words.split(), code=2)[1]
