"""Claim: at 5 ms latency the downloader fetches three times the articles/s of a serial client, and of s3fs.

    python benchmarks/download.py [--articles 400] [--rounds 3] [--latency 0 0.005]

A loopback server in the layout of PMC's cloud, whose answers lie ready in memory, runs in a process of its own; each
arm fetches the same articles (metadata, text, the cited images; not the supplement) in a process of its own, in turn,
checks every md5 and writes everything to disk. Ours does its whole work: files, archive, index, commit. There are three
serial clients: by requests and by http.client with a file for each object, as such scripts do, and by http.client into
the same kind of tar as ours, so that only the order of requests differs. s3fs is given the three lists of keys
beforehand, which spares it the waiting for metadata and text of each article, and asks twice for each file (HEAD, GET),
as it does. The last arm is no download but what bounds one: concurrent GETs alone, nothing checked or kept.

Latency is what the server adds to each answer: 5 ms is a near data center. At 0 there is nothing to wait for: client
and server share the cores, and what counts is how little is done for a file, not how requests are ordered.
Writes benchmarks/results/download.{json,md}.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import http.client
import io
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import orjson
from PIL import Image
from report import machine, write_result

from biomedica_kedro.pipelines.ingestion.stages import fetch_articles
from biomedica_kedro.pmc.archive import ArchiveWriter
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.fetch import FetchOptions
from biomedica_kedro.pmc.media import cited_images
from biomedica_kedro.pmc.metadata import parse_metadata
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import Work

HERE = Path(__file__).parent
HELPERS = HERE.parent / "tests" / "pmc"
BUCKET = "pmc-oa-opendata"
IMAGES = 3


def write_bucket(root: Path, n_articles: int) -> int:
    """Articles of about 90 kB of text, three cited images of 7 kB and a supplement; returns the bytes to fetch."""
    sys.path.insert(0, str(HELPERS))
    from cloud_layout import article_xml, write_article

    rng = np.random.default_rng(0)
    pictures = [_picture(rng) for _ in range(16)]
    n_bytes = 0
    for n in range(n_articles):
        media = {f"fig-{i}.jpg": pictures[(n + i) % len(pictures)] for i in range(IMAGES)}
        text = article_xml(*(f"fig-{i}" for i in range(IMAGES)))
        text = text.replace(b"<sec>", b"<sec><p>" + f"Words of article {n}. ".encode() * 4000 + b"</p>")
        write_article(root / BUCKET, f"PMC{n + 1}.1", xml=text, media={**media, "supplement.xlsx": bytes(200_000)})
        n_bytes += len(text) + sum(map(len, media.values()))
    return n_bytes


def fetch_ours(url: str, root: Path, out: Path) -> None:
    """The stage itself, one batch."""
    import aiohttp  # noqa: F401 (the other arms import their clients before they start, too)

    articles = MirrorSource(str(root / BUCKET)).list_articles()
    outputs = {"article_archive": BatchFolder(out / "article_archive")}
    work = Work(
        function=fetch_articles,
        outputs=outputs,
        options=[FetchOptions()],
        tools={"article_source": CloudSource(f"{url}/{BUCKET}")},
        cut={"0000": {"selected_articles": articles}},
    )
    started = time.perf_counter()
    work.run()
    _report(started)
    archive = outputs["article_archive"].table()
    _check(archive.num_rows, articles.num_rows)


def fetch_into_files(url: str, root: Path, out: Path) -> None:
    """One request after the other, a file for each object."""
    _fetch_serially(url, root, lambda article_id, contents: _store(out, article_id, contents))


def fetch_into_tar(url: str, root: Path, out: Path) -> None:
    """One request after the other, all objects in one tar with its index."""
    with ArchiveWriter(out / "0000.tar") as archive:

        def store(article_id: str, contents: dict[str, bytes]) -> int:
            for name, content in contents.items():
                archive.add(article_id, name, content, kind="media")
            return len(contents)

        _fetch_serially(url, root, store)


def fetch_by_requests(url: str, root: Path, out: Path) -> None:
    """One request after the other by the library that most scripts use, a file for each object."""
    import requests

    session = requests.Session()
    _fetch_serially(
        url,
        root,
        lambda article_id, contents: _store(out, article_id, contents),
        lambda key: session.get(f"{url}/{BUCKET}/{key}").content,
    )


def fetch_without_work(url: str, root: Path, out: Path) -> None:
    """The bound: aiohttp alone, 64 requests at once for keys that are known; nothing is looked at, checked or kept."""
    import aiohttp

    folder = root / BUCKET
    keys = [path.relative_to(folder) for path in sorted(folder.glob("PMC*/*")) if path.suffix != ".xlsx"]
    started = time.perf_counter()

    async def fetch_all() -> None:
        waiting = iter(keys)
        async with aiohttp.ClientSession() as session:

            async def work() -> None:
                for key in waiting:
                    async with session.get(f"{url}/{BUCKET}/{key}") as answer:
                        await answer.read()

            await asyncio.gather(*(work() for _ in range(64)))

    asyncio.run(fetch_all())
    _report(started)


def _fetch_serially(
    url: str,
    root: Path,
    store: Callable[[str, dict[str, bytes]], int],
    get: Callable[[str], bytes] | None = None,
) -> None:
    """Over one connection that is kept alive."""
    articles = sorted(path.name for path in (root / BUCKET).glob("PMC*"))
    connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def get_by_http_client(key: str) -> bytes:
        connection.request("GET", f"/{BUCKET}/{key}")
        return connection.getresponse().read()

    get = get or get_by_http_client
    started, n_files = time.perf_counter(), 0
    for article_id in articles:
        raw = get(f"{article_id}/{article_id}.json")
        metadata = parse_metadata(raw, article_id)
        text = _checked(get(f"{article_id}/{metadata.xml_name}"), metadata.xml.md5)
        contents = {f"{article_id}.json": raw, metadata.xml_name: text}
        md5 = {file.name: file.md5 for file in metadata.media}
        for name in cited_images(text, metadata.image_names):
            contents[name] = _checked(get(f"{article_id}/{name}"), md5[name])
        n_files += store(article_id, contents)
    _report(started)
    _check(n_files, len(articles))


def fetch_by_s3fs(url: str, root: Path, out: Path) -> None:
    """Three calls of `cat` over all articles, at s3fs's own concurrency."""
    import s3fs

    articles = sorted(path.name for path in (root / BUCKET).glob("PMC*"))
    files = s3fs.S3FileSystem(anon=True, endpoint_url=url, asynchronous=False)
    started, n_files = time.perf_counter(), 0

    def get(keys: list[str]) -> dict[str, bytes]:
        found = files.cat([f"{BUCKET}/{key}" for key in keys], on_error="raise")
        return {key.removeprefix(f"{BUCKET}/"): content for key, content in found.items()}

    raw = get([f"{article_id}/{article_id}.json" for article_id in articles])
    metadata = {key.partition("/")[0]: parse_metadata(content, key.partition("/")[0]) for key, content in raw.items()}
    texts = get([f"{article_id}/{known.xml_name}" for article_id, known in metadata.items()])
    md5 = {f"{article_id}/{file.name}": file.md5 for article_id, known in metadata.items() for file in known.media}
    keys = [
        f"{key.partition('/')[0]}/{name}"
        for key, text in texts.items()
        for name in cited_images(text, metadata[key.partition("/")[0]].image_names)
    ]
    images = get(keys)
    for key, content in {**raw, **texts, **images}.items():
        article_id, _, name = key.partition("/")
        n_files += _store(out, article_id, {name: _checked(content, md5.get(key))})
    _report(started)
    _check(n_files, len(articles))


ARMS: dict[str, Callable[[str, Path, Path], None]] = {
    "ours": fetch_ours,
    "serial, requests": fetch_by_requests,
    "serial, http.client": fetch_into_files,
    "serial, http.client, tar": fetch_into_tar,
    "s3fs": fetch_by_s3fs,
    "bound: GET alone": fetch_without_work,
}


def measure(arm: str, url: str, root: Path) -> dict[str, float]:
    """Seconds and peak memory of one arm in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, __file__, "--arm", arm, "--url", url, "--root", str(root), "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr}")
    return orjson.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and write the results."""
    options = _options()
    if options.arm:
        ARMS[options.arm](options.url, options.root, options.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        n_bytes = write_bucket(root, options.articles)
        results = [_compare(root, latency, options) for latency in options.latency]
    write_result(
        "download",
        "Download: ours, serial clients, s3fs",
        f"`python benchmarks/download.py`; {machine()}. {options.articles} articles, {n_bytes / 1e6:.1f} MB, median "
        f"[least, most] of {options.rounds} rounds, arms in turn against one loopback server.",
        [row for rows in results for row in rows],
    )


def _compare(root: Path, latency: float, options: argparse.Namespace) -> list[dict[str, object]]:
    command = [sys.executable, str(HERE / "static_server.py"), str(root), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            rounds = []
            for turn in range(options.rounds):
                names = list(ARMS)[turn % len(ARMS) :] + list(ARMS)[: turn % len(ARMS)]
                measured = {name: measure(name, url, root) for name in names}
                rounds.append(measured)
                print(f"latency {latency * 1000:.0f} ms, round {turn + 1}: " + ", ".join(
                    f"{name} {options.articles / measured[name]['seconds']:.0f}/s" for name in ARMS))  # fmt: skip
        finally:
            server.kill()
    rows = []
    for name in ARMS:
        ratios = [measured[name]["seconds"] / measured["ours"]["seconds"] for measured in rounds]
        seconds = statistics.median(measured[name]["seconds"] for measured in rounds)
        rows.append(
            {
                "latency": f"{latency * 1000:.0f} ms",
                "client": name,
                "articles/s": round(options.articles / seconds, 1),
                "ours is faster by": f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
                "CPU s": round(statistics.median(measured[name]["cpu_seconds"] for measured in rounds), 2),
                "peak MB": round(max(measured[name]["peak_megabytes"] for measured in rounds)),
            }
        )
    return rows


def _picture(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (110, 110, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _checked(content: bytes, md5: str | None) -> bytes:
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise SystemExit("wrong md5")
    return content


def _store(out: Path, article_id: str, contents: dict[str, bytes]) -> int:
    (out / article_id).mkdir(exist_ok=True)
    for name, content in contents.items():
        (out / article_id / name).write_bytes(content)
    return len(contents)


def _check(n_files: int, n_articles: int) -> None:
    if n_files != n_articles * (2 + IMAGES):
        raise SystemExit(f"{n_files} files of {n_articles} articles, expected {2 + IMAGES} each")


def _report(started: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = time.perf_counter() - started
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(orjson.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_megabytes": peak}).decode())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, nargs="*", default=[0.0, 0.005], help="seconds before each answer")
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
