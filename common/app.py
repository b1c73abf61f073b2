"""The page in the browser, where users drop images and see answers. It runs on this machine only and keeps nothing."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from html import escape
from inspect import getdoc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from common.errors import UserError
from common.libraries import explain_library_errors
from common.page import MOST, STYLE, Answer, Page

if TYPE_CHECKING:
    from gradio import Blocks
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_MEGABYTES = 64  # per file
KEPT = 600  # seconds to keep files that nobody asks about or whose upload broke off
PORTS = range(7860, 7960)
PRIVATE = f"""Images stay on the machine that runs this page, which keeps none of them and sends them nowhere.
Files of up to {MAX_MEGABYTES} MB, such as PNG and JPEG, {MOST} at most."""


class Received:
    """Counts how often each file has been uploaded, and refuses requests that lead elsewhere.

    Identical files share one path, so the first answer to one of two users must not remove what the other has sent.

    Args:
        app: the page as an ASGI application.
        pending: number of uploads of each file that await an answer.
    """

    def __init__(self, app: ASGIApp, pending: Counter[str]) -> None:
        self.app, self.pending = app, pending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import ClientDisconnect

        path = scope.get("path", "")
        if "/proxy=" in path or "://" in path:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"this page fetches nothing from elsewhere"})
            return

        async def count(message: Message) -> None:
            with suppress(ValueError):  # a refusal may not be JSON
                self.pending.update(map(str, json.loads(message.get("body") or "[]")))
            await send(message)

        with suppress(ClientDisconnect):  # the part that has arrived is swept away
            await self.app(scope, receive, count if path.endswith("/upload") else send)


def serve(page: Page, host: str, port: int | None) -> None:
    """Show a page until Ctrl-C or SIGTERM.

    Args:
        page: the page of a task.
        host: address to listen on.
        port: port to listen on; the first free one of ``PORTS`` if None.

    Raises:
        UserError: gradio is not installed, or the address cannot be listened on.
    """
    port = free_port(host, port)
    with TemporaryDirectory(prefix=f"{page.predictor.models[0].task}-app-", ignore_cleanup_errors=True) as folder:
        uploads, drawn = (Path(folder).resolve() / name for name in ("uploads", "examples"))
        uploads.mkdir()
        drawn.mkdir()
        _import_gradio(uploads)
        pending: Counter[str] = Counter()
        blocks = lay_out(page, uploads, page.draw_examples(drawn), pending)
        try:
            launch(blocks, host, port, pending)
            print(f"page: http://{_written(host)}:{port} (Ctrl-C ends it)", flush=True)
            while True:
                time.sleep(60)
                sweep(uploads, pending)
        finally:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would report every page cut off
            page.close()
            blocks.close(verbose=False)


def _import_gradio(uploads: Path) -> None:
    """Import gradio so that it contacts no other host, and keeps files only in a folder of ours."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # such as those that make a page public
    os.environ |= {"GRADIO_TEMP_DIR": str(uploads), "GRADIO_EXAMPLES_CACHE": str(uploads)}
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    os.environ |= {"NO_PROXY": "*", "no_proxy": "*"}  # it requests the page once when it starts
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"app needs {error.name}: pip install '.[app]'") from None


def free_port(host: str, port: int | None) -> int:
    """Find a port that can be listened on.

    Raises:
        UserError: there is none.
    """
    if port is not None and not 0 < port < 2**16:
        raise UserError(f"--port {port}: give a number from 1 to {2**16 - 1}")
    reason = ""
    for number in PORTS if port is None else [port]:
        try:
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
            socket.create_server((host, number), family=family).close()
        except (OSError, UnicodeError) as error:
            reason = str(getattr(error, "strerror", error)).partition(" (")[0]  # Python adds the address
        else:
            return number
    ports = f"{PORTS[0]} to {PORTS[-1]}" if port is None else port
    raise UserError(f"--host {host}: cannot listen on port {ports} ({reason}); give another --port, or 127.0.0.1")


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def launch(blocks: Blocks, host: str, port: int, pending: Counter[str]) -> None:
    """Start answering requests, in threads."""
    import gradio
    from starlette.middleware import Middleware

    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    blocks.queue(max_size=64).launch(
        server_name=_written(host),
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        pwa=False,
        footer_links=[],
        max_file_size=MAX_MEGABYTES * 2**20,
        theme=theme,
        css=STYLE,
        app_kwargs={"middleware": [Middleware(Received, pending=pending)]},
    )
    blocks.server.config.timeout_graceful_shutdown = 1  # so that an open page does not delay the end


def lay_out(page: Page, uploads: Path, examples: Sequence[Path], pending: Counter[str]) -> Blocks:
    """Lay out the page, and define what its buttons do."""
    import gradio

    title = str(getdoc(type(page.predictor.models[0]))).splitlines()[0].rstrip(".")

    @contextmanager
    def told(files: Sequence[str]) -> Iterator[None]:
        try:
            with explain_library_errors():
                yield
        except UserError as error:
            message = str(error)
            for file in files:
                message = message.replace(f"{Path(file).parent}{os.sep}", "")
            raise gradio.Error(escape(message), duration=None, print_exception=False) from None

    def ask(files: Sequence[str], before: Answer | None) -> tuple[None, str, str, Answer]:
        if before is not None:
            before.stale = True
        try:
            with told(files):
                asked = page.answer(files)
                return None, asked.shown, asked.waiting, asked
        finally:
            remove(uploads, files, pending)

    def explain(asked: Answer) -> Iterator[str]:
        with told([]):
            yield from page.explain(asked)

    def ask_examples(before: Answer | None) -> tuple[None, str, str, Answer]:
        return ask([str(path) for path in examples], before)

    async def stay(path: str) -> str:
        if not Path(path).is_file():
            remedy = "drop the file itself" if "://" in path else "drop it again"
            raise gradio.Error(escape(f"{Path(path).name}: not here; {remedy}"), print_exception=False)
        return path

    with gradio.Blocks(title=title, analytics_enabled=False) as blocks:
        gradio.Markdown(f"# {title}\n\n{page.asks}")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=300):
                dropped = gradio.File(file_count="multiple", label="Images", allow_reordering=True, height=220)
                button = gradio.Button("Answer", variant="primary")
                example = gradio.Button("Try drawn images", visible=bool(examples))
            with gradio.Column(scale=2, min_width=300):
                shown = gradio.HTML(elem_classes="answer", elem_id="shown", min_height=80)
                rests = gradio.HTML(elem_classes="answer", elem_id="rests")
        gradio.Markdown(PRIVATE)
        # Gradio's own would leave an empty file for each upload, and fetch whatever is given as an address.
        dropped.preprocess = lambda files: [file.path for file in files or []]
        dropped.async_move_resource_to_block_cache = stay
        state = gradio.State()
        outputs = [dropped, shown, rests, state]
        for done in (
            button.click(ask, [dropped, state], outputs, concurrency_limit=4),
            example.click(ask_examples, state, outputs),
        ):
            done.success(explain, state, rests, show_progress="hidden", trigger_mode="multiple")
            done.failure(lambda: None, None, dropped)
    preprocess = blocks.preprocess_data

    async def check(*given: object, **more: object) -> object:
        try:
            return await preprocess(*given, **more)
        except gradio.Error:
            raise
        except ValueError:  # gradio refuses what no page sends, such as a path on this machine
            raise gradio.Error("not an uploaded file; drop it on the page", print_exception=False) from None

    blocks.preprocess_data = check
    return blocks


def remove(uploads: Path, files: Sequence[str], pending: Counter[str]) -> None:
    """Remove uploaded files that have been answered, unless another user waits for the same one."""
    for file in files:
        pending[file] -= 1
        if pending[file] <= 0 and Path(file).parent.parent == uploads:
            del pending[file]
            shutil.rmtree(Path(file).parent, ignore_errors=True)


def sweep(uploads: Path, pending: Counter[str]) -> None:
    """Remove what nobody has asked about for a while, such as part of a file whose upload broke off."""
    for path in uploads.iterdir():
        with suppress(FileNotFoundError):  # it has just been answered and removed
            if time.time() - path.stat().st_mtime > KEPT:
                for file in [file for file in pending if Path(file).is_relative_to(path)]:
                    del pending[file]
                shutil.rmtree(path) if path.is_dir() else path.unlink()
