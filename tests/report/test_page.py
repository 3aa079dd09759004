from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_run import make_run, smooth_images

from edgegan.errors import StorageError, UserError
from edgegan.report import write_report

VOID = {"meta", "img", "br", "link", "input", "hr", "col"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.images, self.headings, self.words, self.tags = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img":
            self.images.append(attributes)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and re.fullmatch("h[1-4]", self.open[-1]):
            self.headings.append((self.open[-1], data.strip()))


def page_of(run):
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a run of which nothing was changed."""
    return write_report(make_run(tmp_path_factory.mktemp("written") / "cifar10"))


@pytest.fixture
def text(written):
    return written.read_text(encoding="utf-8")


def test_the_page_stands_beside_the_run(written):
    assert written.name == "report.html"
    assert (written.parent / "figures.json").is_file()
    assert not list(written.parent.glob(".partial-*"))


def test_a_page_of_the_users_is_not_replaced(run_folder):
    (run_folder / "report.html").write_text("mine")
    with pytest.raises(StorageError, match="did not write"):
        write_report(run_folder)
    assert (run_folder / "report.html").read_text() == "mine"


def test_equal_folders_give_equal_bytes(written, run_folder):
    assert write_report(run_folder).read_bytes() == written.read_bytes()


def test_sections_ids_and_alternative_texts(text):
    page = Page(text)
    assert [text for level, text in page.headings if level == "h2"] == [
        "What was achieved", "Figures", "Latency against quality", "Samples", "Lineage", "Loss curves",
        "Lint findings", "Machine and protocol", "Make it again",
    ]  # fmt: skip
    assert page.headings[0] == ("h1", "cifar10")
    assert len(page.ids) == len(set(page.ids))
    assert [image["alt"] for image in page.images] == [
        "12 samples of full model", "12 samples of after prune",
        "12 samples of FP32 (after distill)", "12 samples of FP16",
        "12 samples of INT8",
    ]  # fmt: skip


def test_the_page_asks_the_network_for_nothing(text):
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_figures_reach_the_page(text):
    words = " ".join(Page(text).words)
    for needed in (
        "6.21 → 6.98", "415.2 M → 41.2 M", "6.0×", "[5.8, 6.3]", "failed", "failed: this engine runs FP16",
        "4096 → 1280", "1 h 30 min", "nearest up-sampling by 2", "AMD EPYC 7B13", "2026-11-20 10:12 UTC",
        "edgegan compress recipes/cifar10 --profile full",
    ):  # fmt: skip
        assert needed in words, needed


def test_html_in_names_is_harmless(folder_of, figures):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    figures["rows"][4]["label"] = evil
    figures["rows"][4]["warnings"] = [evil]
    figures["rows"][3]["failed"] = {"latency": evil}
    figures["protocol"]["engine"] = evil
    run = folder_of(figures, name=evil, description=evil, command=("edgegan", "compress", evil), profile=evil)
    text = page_of(run)
    page = Page(text)
    assert "script" not in page.tags
    assert len(page.images) == 5
    assert "<script" not in text


def test_a_bare_run_says_what_is_missing(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "figures.json").write_text(
        '{"rows": [{"name": "full"}, {"name": "int8", "failed": {"macs": "why"}}]}'
    )
    text = " ".join(Page(page_of(tmp_path)).words)
    for needed in (
        "failed: why", "no samples/full.npz in the run folder", "The run folder has no stages",
        "the run folder has no lint.json", "No row has both a latency and a quality figure",
        "run.json holds no command", "the recipe names no feature extractor", "Not recorded.",
    ):  # fmt: skip
        assert needed in text, needed


def test_rows_without_samples_and_large_images(run_folder):
    (run_folder / "samples" / "int8.npz").unlink()
    np.savez(run_folder / "samples" / "full.npz", images=smooth_images(4, 160))
    text = page_of(run_folder)
    assert "no samples/int8.npz in the run folder" in text
    assert "Shown smaller than they are: the models make 160 x 160 pixels." in text


def test_no_findings_and_no_losses(run_folder):
    (run_folder / "lint.json").write_text("[]")
    (run_folder / "stages" / "02-distill" / "losses.csv").unlink()
    text = page_of(run_folder)
    assert "No findings." in text
    assert "Loss curves" not in text


def test_an_unfinished_run_leaves_no_page(run_folder):
    (run_folder / "figures.json").unlink()
    with pytest.raises(UserError, match="has not finished"):
        write_report(run_folder)
    assert not (run_folder / "report.html").exists()


def test_a_refused_write_is_a_storage_error(run_folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        write_report(run_folder)


def edit(run, file, change):
    content = json.loads((run / file).read_text())
    change(content)
    (run / file).write_text(json.dumps(content))


def test_only_what_is_better_stands_in_the_colour_of_success(run_folder):
    def worsen(figures):
        figures["rows"][4]["speedup"] = {"value": 0.8, "low": 0.7, "high": 0.9}
        figures["rows"][4]["macs"] = figures["rows"][0]["macs"]

    edit(run_folder, "figures.json", worsen)
    text = page_of(run_folder)
    tiles = re.findall(r'<li class="(\w+)"><strong>([^<]+)</strong>', text)
    assert [tone for tone, _ in tiles] == ["plain", "better", "worse", "worse"]
    rules = dict(re.findall(r"^(\.tiles[^{]*?) \{([^}]*)\}", text, re.MULTILINE))
    assert [name for name, rule in rules.items() if "--accent" in rule] == [".tiles .better strong"]
    assert "--accent" not in re.search(r"tr\.ships[^{]*\{([^}]*)\}", text)[1]


def test_withheld_figures_unmeasured_files_and_noise_are_said(run_folder):
    def withhold(figures):
        reason = "it is 38 by wall time and 10.8 by CPU time: close other programs"
        figures["rows"][4] |= {"speedup": None, "withheld": {"speedup": reason}}
        figures["rows"].append(
            {"name": "int8-tensorrt", "label": "INT8-TENSORRT", "unmeasured": "not measured here: TensorRT"}
        )
        figures["protocol"]["noise"] = "Measured on a busy machine: times vary by up to 30%."

    edit(run_folder, "figures.json", withhold)
    text = page_of(run_folder)
    assert '<li class="plain"><strong>withheld</strong>' in text
    assert '<li id="note-' in text
    assert "withheld: it is 38 by wall time" in text
    assert text.count('<p class="quiet">Measured on a busy machine: times vary by up to 30%.</p>') == 1
    assert text.count("not measured here: TensorRT") >= 2
    assert "no samples/int8-tensorrt.npz" not in text


def test_the_page_says_of_which_recipe_and_version_it_is(run_folder):
    edit(run_folder, "run.json", lambda run: run.update(recipe_sha256="5a" * 32, edgegan="9.8.7"))
    assert f"The recipe&#39;s SHA-256 is {'5a' * 32}, made by edgegan 9.8.7." in page_of(run_folder)


def test_wide_tables_say_that_they_scroll(text):
    hints = re.findall(r'<p class="quiet hint">[^<]*scrolls? sideways\.</p>\n<div class="scroll"', text)
    assert len(hints) == 2
