"""The report is one whole, well-formed page that escapes what it shows and leaves out what there is not."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from rich.console import Console

from simtoreal.evaluation import report as reports
from simtoreal.evaluation.charts import Curve, CurvePlot
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.report import FailureStrip, Picture, ReportContent, Table, Video, write_report
from simtoreal.evaluation.results import EvaluationResult, load_eval_info

VOID = {"meta", "img", "input", "br", "link", "line", "circle", "polyline", "polygon"}
NASTY = "<script>alert('x')</script> & \"Käse\""


class Page(HTMLParser):
    """Collects what the tests ask about, and fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.sources: list[str] = []
        self.headings: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def make_record(episode: int, arm: str, success: bool) -> EpisodeRecord:
    group = ("box", "mug")[episode % 2]
    failure = "" if success else "slipped"
    name = f"{group}_{episode % 8}"
    return EpisodeRecord(episode, str(episode), name, group, "small", success, failure, 1, 2.0, arm=arm)


def make_result(**changes: Any) -> EvaluationResult:
    records = {
        "policy": [make_record(i, "policy", i % 5 != 0) for i in range(40)],
        "oracle": [make_record(i, "oracle", True) for i in range(40)],
        "random": [make_record(i, "random", False) for i in range(40)],
        "servo": [make_record(i, "servo", i % 4 != 0) for i in range(40)],
    }
    values: dict[str, Any] = {"records": records, "seed": 5, "config": {"objects": NASTY}, "git_revision": "abc123"}
    values["timing"] = {"policy_step_p50_ms": 2.0, "policy_step_p99_ms": 4.25, "steps_per_s": 250.0}
    values["problems"] = [{"path": NASTY, "reason": "not a mesh"}]
    return EvaluationResult(**(values | changes))


def make_image(side_px: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (side_px, side_px, 3), dtype=np.uint8)


def make_content(out_dir: Path) -> ReportContent:
    return ReportContent(
        title=NASTY,
        lead=NASTY,
        eval_info=make_result().to_eval_info(),
        grasps=[Picture(make_image(), NASTY, True), Picture(make_image(1200), "large", False)],
        failures=[FailureStrip([make_image()] * 30, NASTY, "slipped", NASTY), FailureStrip([], "box", "missed")],
        perception_plots=[CurvePlot(NASTY, "distance (m)", "error (mm)", [Curve("a", [0.1, 0.4], [3.0, 9.0])])],
        training_plots=[CurvePlot("loss", "step", "loss", [Curve("x", [], [])])],
        videos=[Video(out_dir / "videos" / "a b.mp4", "first"), Video(Path("videos/c.mp4"), NASTY)],
        tables=[Table(NASTY, ["part"], [[NASTY]])],
        facts={"hardware": NASTY},
        command="simtoreal evaluate out='a b'",
    )


def test_full_report_is_well_formed_and_escaped(tmp_path: Path) -> None:
    text = write_report(tmp_path / "run", make_content(tmp_path / "run")).read_text(encoding="utf-8")
    page = Page(text)
    assert "alert('x')</script>" not in text
    assert page.text.count(NASTY) >= 8
    assert page.tags.count("script") == 1
    assert {"What this says", "How it failed", "Every object", "How well it sees", "Do it again"} <= set(page.headings)
    assert "Training" not in page.headings, "a plot without points is left out"


def test_report_needs_nothing_but_its_videos(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, make_content(tmp_path)).read_text(encoding="utf-8"))
    outside = {unquote(source) for source in page.sources if not source.startswith("data:image/")}
    assert outside == {"videos/a b.mp4", "videos/c.mp4"}
    assert page.tags.count("img") == 2 + reports.MAX_STRIP_FRAMES


def test_figures_stand_in_the_page(tmp_path: Path) -> None:
    text = Page(reports.render_html(tmp_path, make_content(tmp_path))).text
    assert "80.0 %" in text
    assert "32 of 40" in text
    assert "65.2 to 89.5 %" in text
    assert "4.2 ms" in text
    assert "abc123" in text
    assert "Scripted servo, same perception" in text


def test_worst_objects_come_first(tmp_path: Path) -> None:
    text = reports.render_html(tmp_path, make_content(tmp_path))
    rates = [float(part.split('"')[0]) for part in text.split('<td class="n" data-v="')[1::2]]
    assert len(rates) == 8
    assert rates == sorted(rates)


@pytest.mark.parametrize("arms", [("policy",), ("policy", "random"), ("policy", "oracle")])
def test_arms_that_did_not_run_are_left_out(tmp_path: Path, arms: tuple[str, ...]) -> None:
    records = {arm: make_result().records[arm] for arm in arms}
    info = make_result(records=records, timing={}, problems=[], config={}).to_eval_info()
    page = Page(reports.render_html(tmp_path, ReportContent("Few", eval_info=info)))
    assert ("oracle (knows" in page.text) == ("oracle" in arms)
    assert "Problems with objects" not in page.headings
    assert "All settings" not in page.text


def test_inspection_without_an_evaluation(tmp_path: Path) -> None:
    content = ReportContent("Bundle", grasps=[Picture(make_image(), "seen")], facts={"encoder": "conv_small"})
    page = Page(reports.render_html(tmp_path, content))
    assert page.headings == ["What it sees, where it would grasp", "Do it again"]


def test_report_can_be_made_again_from_the_written_figures(tmp_path: Path) -> None:
    result = make_result()
    result.write(tmp_path)
    fresh = reports.render_html(tmp_path, ReportContent("Again", eval_info=result.to_eval_info()))
    assert reports.render_html(tmp_path, ReportContent("Again", eval_info=load_eval_info(tmp_path))) == fresh


def test_hundreds_of_objects_and_dozens_of_pictures_stay_light(tmp_path: Path) -> None:
    records = [
        EpisodeRecord(i, str(i), f"object_{i}", "random", "small", True, "", 1, 1.0, world_sample={"light": [0.1] * 30})
        for i in range(1000)
    ]
    content = ReportContent(
        "Large",
        eval_info=EvaluationResult({"policy": records}, seed=0).to_eval_info(),
        grasps=[Picture(make_image(256), "noise compresses worst")] * 24,
        failures=[FailureStrip([make_image(64)] * 8, "box", "missed")] * 12,
    )
    assert write_report(tmp_path, content).stat().st_size < 6e6


def test_terminal_table_shows_every_arm_and_takes_names_literally() -> None:
    renamed = [EpisodeRecord(i, str(i), "a", ("[red]odd", "plain")[i % 2], "thin", True, "", 1, 1.0) for i in range(20)]
    console = Console(width=120, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(reports.render_terminal(make_result()))
    console.print(reports.render_terminal(EvaluationResult({"policy": renamed}, seed=0)))
    console.file.close()
    text = console.export_text()
    assert "[red]odd" in text
    assert "policy, of the oracle" in text
    assert "32/40" in text
    assert "65.2 to 89.5 %" in text
