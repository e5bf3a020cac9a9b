"""Real packages, images and all: what the files hold is resolved, the rest is rejected with reasons."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.pipelines.test_extraction import extract, rejects, rows, write_archive

TEXTS = (".xml", ".nxml", ".jats")


def read_package(folder: Path) -> dict[str, bytes]:
    """A package's article and its other files, under the archive's names."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    texts = [name for name, content in files.items() if name.endswith(TEXTS) and b"<article" in content]
    media = {name: content for name, content in files.items() if not name.endswith((*TEXTS, ".gz", ".zip"))}
    return {"article.xml": files[texts[0]], **media} if texts else {}


def test_images_of_real_packages_are_resolved(shared_data, run_node, tmp_path):
    packages = {
        f"PMC{number}.1": files
        for number, folder in enumerate(sorted((shared_data / "jats" / "packages").iterdir()), start=1)
        if folder.is_dir() and (files := read_package(folder))
    }
    found = extract(write_archive(tmp_path / "archive", packages), run_node, tmp_path)
    assert rejects(found, "articles") == []
    images = Counter(row["article_id"] for row in rows(found, "figure_images"))
    assert len(images) >= len(packages) - 1  # the files of one package have other names than its text says
    reasons = Counter(row["reason"] for row in rejects(found, "figure_images"))
    assert set(reasons) <= {"missing_file", "no_graphic", "unsupported_format", "excluded_kind", "image_too_small"}
    keys = [row["key"] for row in rows(found, "image_caption_pairs")]
    assert len(keys) == len(set(keys)) >= 40
