"""``junetts download``: the licence first, then the files, and every way in which it fails."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from fake_hub import FakeHub
from junetts import _assembly
from junetts.__main__ import main
from junetts._errors import CheckpointError, InvalidRequestError, JuneTtsError
from junetts.cli import download as download_module
from junetts.cli.download import MODELS, download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(__file__).parents[2] / "data"
S1 = MODELS["s1-mini"]
S2 = MODELS["s2-pro"]
CHECK = download_module._check


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint, and others that a repository has."""
    needless = {"README.md": b"# Model", "overview.png": b"x", "model/1.safetensors": b"x"}
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())} | needless


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let the hub's library, which has read its settings long ago, go to this one."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has a small S1-mini."""
    with FakeHub(S1.repository, contents(DATA / "s1-tiny") | {"LICENSE.md": b"law"}) as running:
        use(monkeypatch, running.url)
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check of the result, which needs torch: one test does it."""
    monkeypatch.setattr(download_module, "_check", lambda target: None)


def fetched(folder: Path) -> dict[str, bytes]:
    """What is there, but for the library's own notes."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def failure(**options: object) -> JuneTtsError:
    """What goes wrong with a download."""
    with pytest.raises(JuneTtsError) as raised:
        download("s1-mini", to=None, is_agreed=True)
    return raised.value


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """A function that fails."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def at_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Someone is there, and types an answer."""
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)


class TestDownloading:
    """When all is well."""

    def test_the_needed_files_come(
        self, hub: FakeHub, surrounding: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And the licence beside them, after it was told; standard output stays empty."""
        assert download("s1-mini", to=None, is_agreed=True) == 0
        found = fetched(surrounding / "checkpoints" / "openaudio-s1-mini")
        assert found == {name: hub.files[name] for name in found}
        assert set(found) == {*S1.files, "LICENSE.md", "codec_config.json"}
        out, err = capsys.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert lines[0].startswith(
            "s1-mini: https://huggingface.co/fishaudio/openaudio-s1-mini, ab"
        )
        assert "3.6 GB, to checkpoints/openaudio-s1-mini" in lines[0]
        assert lines[1].startswith("licence of the weights: CC-BY-NC-SA-4.0")
        assert lines[2] == "in full: https://creativecommons.org/licenses/by-nc-sa/4.0/"
        assert "file 1 of 7: " in err
        assert lines[-1] == 'to speak with it: junetts say --backend local "Hello"'

    def test_s2_pro_has_other_files(
        self, surrounding: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Its shards and its tokenizer; the next command says where it is."""
        with FakeHub(S2.repository, contents(DATA / "s2-tiny")) as hub:
            use(monkeypatch, hub.url)
            assert download("s2-pro", to=None, is_agreed=True) == 0
        found = fetched(surrounding / "checkpoints" / "s2-pro")
        assert {*found} >= {"model.safetensors.index.json", "tokenizer.json", "codec.pth"}
        assert len([name for name in found if name.endswith(".safetensors")]) == 2
        assert not {"README.md", "overview.png"} & {*found}
        assert not (surrounding / "checkpoints" / "s2-pro" / "model").exists()
        err = capsys.readouterr().err
        assert "Fish Audio Research License: commercial use needs a separate licence" in err
        assert err.splitlines()[-1] == (
            "to speak with it: JUNETTS_LOCAL__CHECKPOINT=checkpoints/s2-pro "
            'junetts say --backend local "Hello"'
        )

    def test_another_directory(
        self, hub: FakeHub, surrounding: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """``--to`` names it, also from the home folder and with a space."""
        assert download("s1-mini", to="~/my models/s1", is_agreed=True) == 0
        target = surrounding / "home" / "my models" / "s1"
        assert (target / "codec.pth").is_file()
        assert f"JUNETTS_LOCAL__CHECKPOINT='{target}' junetts say" in capsys.readouterr().err

    def test_files_that_are_there_are_not_sent_again(self, hub: FakeHub) -> None:
        """A second run only looks."""
        download("s1-mini", to=None, is_agreed=True)
        hub.requests.clear()
        assert download("s1-mini", to=None, is_agreed=True) == 0
        assert not [request for request in hub.requests if request.startswith("GET c")]

    def test_the_result_is_checked(self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a checkpoint, if the engine is installed; a wrong one is no success."""
        monkeypatch.setattr(download_module, "_check", CHECK)
        assert download("s1-mini", to=None, is_agreed=True) == 0
        hub.files["config.json"] = b"{}"
        with pytest.raises(CheckpointError, match=r"config\.json"):
            download("s1-mini", to="other", is_agreed=True)

    def test_without_the_engine(
        self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Then what is missing to speak is told instead."""
        monkeypatch.setattr(download_module, "_check", CHECK)
        monkeypatch.setattr(_assembly, "_LOCAL_PACKAGES", ("no_such_package",))
        assert download("s1-mini", to=None, is_agreed=True) == 0
        assert 'pip install "junetts[local]"' in capsys.readouterr().err


class TestAsking:
    """The licence is accepted by a person, or by an option."""

    @pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("Yes\n", 0), ("\n", 1), ("", 1)])
    def test_at_a_terminal(
        self,
        hub: FakeHub,
        surrounding: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        answer: str,
        status: int,
    ) -> None:
        """Only a yes is a yes; before it nothing is asked of the hub."""
        at_terminal(monkeypatch, answer)
        assert download("s1-mini", to="x", is_agreed=False) == status
        assert bool(hub.requests) == (status == 0)
        assert (surrounding / "x").exists() == (status == 0)
        err = capsys.readouterr().err
        assert "[y/N]" in err
        assert ("nothing was downloaded" in err) == (status == 1)

    @pytest.mark.parametrize("stdin", [io.StringIO("y\n"), None])
    def test_nobody_to_ask(
        self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
    ) -> None:
        """A pipe is no person."""
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(InvalidRequestError, match="--yes accepts the licence"):
            download("s1-mini", to=None, is_agreed=False)
        assert hub.requests == []

    def test_unknown_model(self) -> None:
        """The known ones are named."""
        with pytest.raises(InvalidRequestError, match="must be s1-mini or s2-pro, not 's3'"):
            download("s3", to=None, is_agreed=True)


class TestFailures:
    """What can go wrong, in a line and a hint."""

    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize("refuses_listing", [True, False])
    @pytest.mark.parametrize("code", ["GatedRepo", ""])
    def test_gated(self, hub: FakeHub, status: int, refuses_listing: bool, code: str) -> None:
        """A licence that was not accepted there: how to do that."""
        hub.refusal, hub.refuses_listing = (status, code), refuses_listing
        error = failure()
        assert error.message.startswith(f"{S1.page} refuses the download (status {status})")
        assert error.status == status
        assert error.hint == f"accept them on {S1.page}, then `hf auth login`, then try again"

    def test_gone(self, hub: FakeHub) -> None:
        """A repository that is no more."""
        hub.repository = "another/name"
        assert failure().message == f"there is no {S1.page} (status 404)"

    def test_down(self, hub: FakeHub) -> None:
        """The hub's own trouble passes."""
        hub.refusal, hub.refuses_listing = (500, ""), True
        error = failure()
        assert (error.message, error.retryable) == ("the hub answers with status 500", True)

    def test_incomplete_repository(self, hub: FakeHub) -> None:
        """What the engine needs is looked for before gigabytes are loaded."""
        del hub.files["tokenizer.tiktoken"]
        error = failure()
        assert isinstance(error, CheckpointError)
        assert error.message == f"{S1.page} has no file tokenizer.tiktoken"
        assert hub.requests == ["GET listing"]

    @pytest.mark.parametrize("is_begun", [False, True])
    def test_no_connection(
        self, monkeypatch: pytest.MonkeyPatch, surrounding: Path, is_begun: bool
    ) -> None:
        """Offline, also over a directory that an earlier run has left incomplete."""
        if is_begun:
            target = surrounding / S1.directory
            target.mkdir(parents=True)
            (target / "config.json").write_text("{}")
        use(monkeypatch, "http://127.0.0.1:1")
        error = failure()
        assert "broke off or could not begin: " in error.message
        assert "refused" in error.message
        assert str(error.hint).startswith("check the connection, then run the same command again")

    def test_silent_hub(self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that takes the connection and says nothing is given up."""
        released = threading.Event()
        monkeypatch.setattr(hub, "answer", lambda call: released.wait(10))
        monkeypatch.setattr(download_module, "LISTING_TIMEOUT_S", 0.05)
        assert "broke off or could not begin: " in failure().message
        released.set()

    @pytest.mark.parametrize(
        ("raised", "message"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), "no space left in checkpoints/"),
            (OSError(errno.EACCES, "Permission denied", "/x/y"), "cannot write /x/y: Permission"),
            (OfflineModeIsEnabled("HF_HUB_OFFLINE=1"), "the hub's library is set to be offline"),
            (RuntimeError("Data processing error"), "broke off or could not begin: Data proc"),
            (OSError(), "broke off or could not begin: OSError"),
            (LocalEntryNotFoundError("no network"), "broke off or could not begin: no network"),
        ],
    )
    def test_while_a_file_comes(
        self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str
    ) -> None:
        """The disk, the rights, the library's own transfer."""
        monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", raising(raised))
        error = failure()
        assert message in error.message
        assert error.__cause__ is raised

    def test_too_little_room(self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        """Told before the first file, and only what is still to come counts."""
        total = sum(len(hub.files[name]) for name in (*S1.files, "LICENSE.md", "codec_config.json"))
        room = [total - 1]
        usage = type("Usage", (), {"free": property(lambda self: room[0])})
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage())
        error = failure()
        assert error.message.startswith("no space left in checkpoints/openaudio-s1-mini: ")
        assert "--to DIR" in str(error.hint)
        assert hub.requests == ["GET listing"]
        room[0] = total
        assert download("s1-mini", to=None, is_agreed=True) == 0
        room[0] = 0
        assert download("s1-mini", to=None, is_agreed=True) == 0

    def test_missing_extra(self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        """What to install, before anything is asked."""
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert failure().hint == 'pip install "junetts[download]"'

    def test_ctrl_c(
        self,
        hub: FakeHub,
        monkeypatch: pytest.MonkeyPatch,
        surrounding: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """In the middle of a file it ends at once; the next run brings only what is missing."""
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        gone = threading.Event()

        def interrupt(name: str) -> None:
            if name == "config.json":  # the third: two are complete
                signal.pthread_kill(main_thread, signal.SIGINT)
                gone.wait(10)

        hub.before_half = interrupt
        status = download("s1-mini", to=None, is_agreed=True)
        gone.set()
        assert status == 130
        assert "interrupted; run the same command again" in capsys.readouterr().err
        target = surrounding / S1.directory
        before = fetched(target)
        assert "config.json" not in before
        assert before
        hub.before_half = lambda name: None
        hub.requests.clear()
        assert download("s1-mini", to=None, is_agreed=True) == 0
        sent = {request[4:] for request in hub.requests if request.startswith("GET ")}
        assert sent == {*S1.files, "LICENSE.md", "codec_config.json", "listing"} - {*before}


class TestCommand:
    """The command as it is typed."""

    def test_options(self, monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
        """Arguments reach it, and its status is the program's."""

        def run(*arguments: str) -> object:
            monkeypatch.setattr(sys, "argv", ["junetts", "download", *arguments])
            with pytest.raises(SystemExit) as left:
                main()
            return left.value.code

        assert run("s1-mini", "--to", "here", "--yes") == 0
        assert Path("here", "codec.pth").is_file()
        assert run("s3", "--yes") == 2
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        assert run("s1-mini") == 2
        hub.refusal = (403, "GatedRepo")
        assert run("s1-mini", "--to", "there", "--yes") == 1

    def test_endpoint_from_the_environment(self, hub: FakeHub, surrounding: Path) -> None:
        """In a process of its own: mirrors are reached as the hub's library reaches them."""
        done = subprocess.run(
            [sys.executable, "-m", "junetts", "download", "s1-mini", "--yes", "--to", "x"],
            env={**os.environ, "HF_ENDPOINT": hub.url, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=18,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert (surrounding / "x" / "model.pth").read_bytes() == hub.files["model.pth"]
