"""The page in the browser: its answers are those of Python, it sends nothing elsewhere, and nothing of it is kept."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

import growth
import julia
from common import app
from tests.conftest import requested
from tests.quick import PATIENCE, REPOSITORY, Forked

needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")


class Served:
    """A page that ``python -m <task> app`` shows.

    Args:
        words: of the command.
        folder: an empty one, to run in; ``temporary`` in it holds what the process keeps while it runs.
    """

    def __init__(self, *words: object, folder: Path) -> None:
        self.folder, self.temporary = folder, folder / "temporary"
        self.temporary.mkdir(parents=True)
        variables = os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(self.temporary), "HOME": str(folder)}
        self.said = folder / "said"
        with self.said.open("w") as said:
            with socket.create_server(("127.0.0.1", 0)) as any_port:  # another than other test workers find
                port = any_port.getsockname()[1]
            typed = [*map(str, words), "--port", str(port)]
            self.process = Forked(typed, folder, variables, said.fileno(), said.fileno())
        start = time.monotonic()
        while not (found := re.search(r"^page: (\S+)", self.said.read_text(), re.MULTILINE)):
            assert self.process.poll() is None and time.monotonic() < start + PATIENCE, self.said.read_text()
            time.sleep(0.1)
        self.address = found[1]
        assert [path.name.split("-")[1] for path in self.temporary.iterdir()] == ["app"]  # where it is looked for

    def uploaded(self) -> list[Path]:
        """List the files of users that are on the disk."""
        return [path for path in self.temporary.glob("*-app-*/uploads/**/*") if path.is_file()]

    def get(self, path: str, data: bytes | None = None, kind: str = "application/json") -> tuple[int, str]:
        """Ask for something, and get the status and the answer."""
        request = urllib.request.Request(f"{self.address}/gradio_api/{path}", data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def upload(self, *files: Path) -> list[str]:
        """Upload files as a browser does, and get their paths on the server."""
        parts = [
            b'--B\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n'
            % (file.name.encode(), file.read_bytes())
            for file in files
        ]
        paths: list[str] = json.loads(
            self.get("upload", b"".join(parts) + b"--B--\r\n", "multipart/form-data; boundary=B")[1]
        )
        return paths

    def ask(self, *paths: str) -> str:
        """Ask about files on the server, and get what is shown, or the error."""
        files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
        event = json.loads(self.get("call/ask", json.dumps({"data": [files]}).encode())[1])["event_id"]
        events = dict(re.findall(r"event: (\w+)\ndata: (.*)", self.get(f"call/ask/{event}")[1]))
        if "error" in events:
            return str(json.loads(events["error"])["error"])
        return str(json.loads(events["complete"])[1])

    def end(self, number: int) -> int:
        """Send a signal, and get the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*words: object) -> Served:
        started.append(Served(*words, folder=tmp_path / f"served{len(started)}"))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()


class Shown:
    """A page in the browser."""

    def __init__(self, browser: Any, address: str) -> None:
        support = pytest.importorskip("selenium.webdriver.support.ui")
        stale = pytest.importorskip("selenium.common").StaleElementReferenceException
        self.browser, self.waits = browser, support.WebDriverWait(browser, PATIENCE, ignored_exceptions=[stale])
        requested(browser)
        browser.get(address)

    def find(self, selector: str) -> list[Any]:
        found: list[Any] = self.browser.find_elements("css selector", selector)
        return found

    def wait(self, until: Callable[[], Any]) -> Any:
        return self.waits.until(lambda _: until())

    def drop(self, *files: Path) -> None:
        self.wait(lambda: self.find("input[type=file]"))[0].send_keys("\n".join(map(str, files)))
        names = [file.name for file in files]
        self.wait(lambda: [row.get_attribute("aria-label") for row in self.find(".file-preview .filename")] == names)
        self.press("Answer")

    def press(self, name: str) -> None:
        self.wait(lambda: [button for button in self.find("button") if button.text == name])[0].click()

    def text(self) -> str:
        return "\n".join(part.text for part in self.find("#shown"))


@pytest.mark.slow
@needs_gradio
def test_the_days_and_the_curve_on_the_page(
    serve: Any, browser: Any, offline_fit: Callable[[str], Path], growth_root: Path, tmp_path: Path
) -> None:
    checkpoint = offline_fit("growth") / "checkpoints" / "last.ckpt"
    served = serve("growth", "app", "--ckpt_path", checkpoint)
    photos = sorted((growth_root / "train_dataset/BC/BC_01").glob("*.png"))
    model = growth.load(checkpoint)
    page = Shown(browser, served.address)

    page.drop(photos[1], photos[6])
    assert page.wait(lambda: page.find("#shown h2"))[0].text == f"{model.days(photos[1], photos[6]):.2f} days"
    assert "from DAT02.png to DAT07.png" in page.text() and len(page.find("#shown img")) == 2
    page.wait(lambda: len(page.find("#rests img")) == 2)
    assert page.find("#rests")[0].text.count("% of the photo") == 2
    assert served.uploaded() == []

    page.drop(*photos)
    page.wait(lambda: len(page.find("#shown tr")) == len(photos) + 1)
    cells = [cell.text for cell in page.find("#shown td:nth-child(2)")]
    assert cells == [f"{age:.2f}" for age in model.ages(photos)]
    assert len(page.find("#shown img")) == 1 and page.find("#rests")[0].text == ""
    browser.set_window_size(500, 900)
    fits = "return document.documentElement.scrollWidth <= window.innerWidth"
    page.wait(lambda: browser.execute_script(fits))

    Path("paper.pdf").write_bytes(b"%PDF-1.4")
    page.drop(photos[0], tmp_path / "paper.pdf")
    line = page.wait(lambda: "".join(toast.text for toast in page.find(".toast-body")))  # it fades in
    assert "paper.pdf: not a readable image; save it as PNG or JPEG" in line and str(served.temporary) not in line
    page.wait(lambda: page.find("input[type=file]"))  # the list is empty again
    assert served.uploaded() == []

    urls = [url for url in requested(browser) if not url.startswith(("data:", "blob:"))]
    assert urls and {urlsplit(url).netloc for url in urls} == {urlsplit(served.address).netloc}
    assert served.end(signal.SIGTERM) == 143  # while the page is open
    assert list(served.temporary.iterdir()) == []
    assert "Traceback" not in served.said.read_text()


@pytest.mark.slow
@needs_gradio
def test_the_classes_on_the_page(
    serve: Any, browser: Any, offline_fit: Callable[[str], Path], julia_root: Path
) -> None:
    checkpoint = offline_fit("julia") / "checkpoints" / "last.ckpt"
    served = serve("julia", "app", "--ckpt_path", checkpoint, "--tta", 2)
    bitmaps = sorted((julia_root / "test").iterdir())[:3]
    guesses = julia.load(checkpoint, tta=2).classify(bitmaps)

    page = Shown(browser, served.address)
    page.press("Try drawn images")
    page.wait(lambda: page.find("#shown .bars"))
    page.drop(*bitmaps)
    page.wait(lambda: len(page.find("#shown .bars")) == 3)
    shown = [bars.text.split() for bars in page.find("#shown .bars")]
    for words, bitmap, guess in zip(shown, bitmaps, guesses, strict=True):
        five = list(guess.probabilities.items())[:5]
        assert words == [bitmap.name, *(word for name, share in five for word in (name, f"{100 * share:.1f}", "%"))]
    browser.get("about:blank")
    assert {urlsplit(url).netloc for url in requested(browser) if url.startswith("http")} == {
        urlsplit(served.address).netloc
    }
    assert served.end(signal.SIGINT) == 130
    assert list(served.temporary.iterdir()) == []
    assert served.said.read_text().splitlines()[-1] == "error: interrupted"


@pytest.mark.slow
@needs_gradio
def test_what_others_send(serve: Any, offline_fit: Callable[[str], Path], julia_root: Path, tmp_path: Path) -> None:
    served = serve("julia", "app", "--ckpt_path", offline_fit("julia") / "checkpoints" / "last.ckpt")
    bitmaps = sorted((julia_root / "test").iterdir())[:4]

    # Users at the same time, some with the same file, get their own answers; none removes another one's file.
    asked = [bitmaps[number % 4] for number in range(12)]
    paths = [served.upload(bitmap)[0] for bitmap in asked]
    assert len(served.uploaded()) == 4
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(served.ask, paths))
    for bitmap, answer in zip(asked, answers, strict=True):
        assert f"<caption>{bitmap.name}</caption>" in answer
    assert answers[:4] == answers[4:8] == answers[8:] and len(set(answers[:4])) == 4
    assert served.uploaded() == []

    # No file of this machine is read, sent or removed, and no address is fetched.
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8)).save(secret)
    assert served.get(f"file={secret}")[0] == served.get("file=/etc/passwd")[0] == 403
    assert served.get("file=http://127.0.0.1:1/x.png")[0] == served.get("proxy=http://127.0.0.1:1/x")[0] == 403
    assert served.ask(str(secret)) == "not an uploaded file; drop it on the page"
    assert served.ask("http://127.0.0.1:1/x.png") == "x.png: not here; drop the file itself"
    assert served.ask(paths[0]) == f"{bitmaps[0].name}: not here; drop it again"
    assert served.ask() == "drop an image first"
    assert secret.exists()

    # Pictures that are none or several, too large a file, a connection that breaks off.
    Path("drawn.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 200)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    assert served.ask(*served.upload(Path("drawn.svg"))).startswith("drawn.svg: not a readable image; save it as")
    assert "moving.gif: not a readable image (2 pictures in one file" in served.ask(*served.upload(Path("moving.gif")))
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    large = head + bytes(app.MAX_MEGABYTES * 2**20 + 1) + b"\r\n--B--\r\n"
    assert served.get("upload", large, "multipart/form-data; boundary=B")[0] == 413
    assert served.uploaded() == []
    where = urlsplit(served.address)
    with socket.create_connection((where.hostname, where.port)) as connection:
        lines = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        connection.sendall(f"{lines}Content-Length: 9000000\r\n\r\n".encode() + head + bytes(100_000))
    assert f"<caption>{bitmaps[0].name}</caption>" in served.ask(*served.upload(bitmaps[0]))
    assert served.end(signal.SIGTERM) == 143
    assert list(served.temporary.iterdir()) == []
    assert "Traceback" not in served.said.read_text()


def test_what_waits_for_nobody_is_swept_away(tmp_path: Path) -> None:
    old, new, part = tmp_path / "a" / "old.png", tmp_path / "b" / "new.png", tmp_path / "tmpabc"
    for path in (old, new, part):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in (old.parent, part):
        os.utime(path, (0, 0))
    pending = Counter({str(old): 1, str(new): 2})
    app.sweep(tmp_path, pending)
    assert list(tmp_path.rglob("*.*")) == [new] and not part.exists() and pending == {str(new): 2}
    app.remove(tmp_path, [str(new)], pending)
    assert new.exists()  # another user has sent the same one
    app.remove(tmp_path, [str(new)], pending)
    assert list(tmp_path.iterdir()) == []
    outside = tmp_path / "mine.png"
    outside.touch()
    app.remove(tmp_path, [str(outside)], pending)
    assert outside.exists()


@pytest.mark.slow
def test_what_cannot_be_served_is_refused_in_a_line(
    refused: Any, offline_fit: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("julia", "app", "--ckpt_path", offline_fit("julia") / "checkpoints" / "last.ckpt")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--host 127.0.0.1: cannot listen on port {port} (Address already in use)" in refused(
            *words, "--port", port
        )
    assert "--port 70000: give a number from 1 to 65535" in refused(*words, "--port", 70000)
    address = "192.0.2.1"  # of no machine; looking for a name could take long
    assert f"--host {address}: cannot listen" in refused(*words, "--host", address)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # what is set for gradio is not meant for other tests
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "app needs gradio: pip install '.[app]'" in refused(*words)
