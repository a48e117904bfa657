"""Terminal and page show the verdict, every arm, and what was overruled; names from a dataset stay text."""

import copy
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from simtoreal.transfer.ledger.page import render_terminal, write_page

GAIN = {"mean": 0.1, "low": 0.02, "high": 0.18, "p": 0.01}
ERRORS = {name: {"mean": 0.3, "median": 0.3, "sd": 0.1} for name in ("miss", "position_mm", "yaw_deg", "rank_pc")}
ARM = {"n_episodes": 6, **ERRORS}
LEDGER: dict[str, Any] = {
    "verdict": "improved", "reasons": ["held-out episodes: miss lower"], "shipped": "fine_tuned", "forced": False,
    "arms": {"source": ARM, "scratch": ARM, "fine_tuned": ARM},
    "paired": {"source - fine_tuned": dict.fromkeys(ERRORS, GAIN), "scratch - fine_tuned": dict.fromkeys(ERRORS, GAIN)},
    "auto": {"chosen": "heads", "why": "heads: the best", "skipped": {"all": "no time"},
             "tried": [{"strategy": "heads", "miss": 0.3, "num_trainable": 4875, "steps": [60, 40, 80],
                        "seconds": 12.0}]},
    "forgetting": {"source": ARM, "fine_tuned": ARM, "rise": GAIN, "n_scenes": 75},
    "over_fitting": {"held_in_miss": 0.2, "held_out_miss": 0.3, "gap": GAIN, "n_better": 4, "n_worse": 1, "n_alike": 1},
    "slices": [{"kind": "picture", "slice": "dark", "n_episodes": 3, "p_corrected": 0.2, **GAIN}],
    "online": None,
    "per_episode": [{"episode": 0, "object": "<b>[red]mug",
                     "miss": dict.fromkeys(("source", "scratch", "fine_tuned"), 0.1),
                     "position_mm": dict.fromkeys(("source", "scratch", "fine_tuned"), 5.0)}],
    "data": {"episodes": [{"position": 1, "object_name": "cup", "problem": "no intrinsics"}]},
    "cost": {"num_trainable": 4875, "num_parameters": 257323, "steps": 60, "final_training_s": 9.0, "search_s": 80.0,
             "wall_s": 200.0, "n_frames": 100, "n_labelled_frames": 80, "scratch_steps": [100, 50, 400]},
    "bundle": "source", "episodes_folder": "recorded",
}  # fmt: skip


def shown(ledger: dict[str, Any]) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(render_terminal(ledger))
    return capture.get()


def test_the_terminal_shows_verdict_arms_and_choice():
    text = shown(LEDGER)
    for wanted in ("verdict: improved", "the fine-tuned policy ships", "from scratch", "→ heads", "4,875", "no time"):
        assert wanted in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"shipped": "source", "verdict": "harmed"}, "the source policy is kept"),
     ({"forced": True, "verdict": "no evidence"}, "because force=true")],
)  # fmt: skip
def test_what_ships_is_said(changes: dict[str, Any], said: str, tmp_path: Path):
    ledger = {**LEDGER, **changes}
    assert said in shown(ledger)
    assert said in write_page(tmp_path, ledger, "simtoreal finetune").read_text().lower().replace("\n", " ")


def test_the_page_shows_every_section_and_names_stay_text(tmp_path: Path):
    page = write_page(tmp_path, LEDGER, "simtoreal finetune episodes=recorded").read_text()
    for wanted in ("Held-out episodes", "Gains", "What was tried", "forgetting", "over-fitting", "picture: dark",
                   "no intrinsics", "simtoreal finetune episodes=recorded", "&lt;b&gt;[red]mug"):  # fmt: skip
        assert wanted in page
    assert "Closed loop" not in page


def test_closed_loop_is_shown_where_it_was_run(tmp_path: Path):
    result = {"n_episodes": 40, "n_success": 30, "pc_success": 75.0, "pc_success_ci95": [60.0, 86.0]}
    there = {"arms": {"source": result, "fine_tuned": result}, "gain": GAIN}
    ledger = {**LEDGER, "online": {"world": "mujoco", "reality": "harsh", **there, "source_simulator": there}}
    page = write_page(tmp_path, ledger, "").read_text()
    for wanted in ("Closed loop", "mujoco harsh", "source simulator", "30/40", "+10.0"):
        assert wanted in page
        assert wanted in shown(ledger)


def test_an_unknown_interval_is_said_and_not_invented(tmp_path: Path):
    ledger = copy.deepcopy(LEDGER)
    ledger["slices"][0] |= {"low": None, "high": None}
    ledger["forgetting"] = None
    ledger["over_fitting"]["gap"] = None
    assert "unknown: one episode" in write_page(tmp_path, ledger, "").read_text()


def test_what_was_saved_and_whether_it_looks_are_on_the_page(tmp_path: Path):
    factor = {"value": 12.0, "low": 6.0, "high": 20.0}
    row = {"disturbance": "masked", "n_frames": 9, "n_lost": 2, "moved_mm": 31.0, "error_mm": None, "there_frac": None,
           "quality_ratio": 0.4}  # fmt: skip
    found = {"n_frames": 9, "n_without_grasp": 0, "complaints": ["it ignores the picture"], "followed": [0.1, 0.0, 0.2],
             "responses": [row]}  # fmt: skip
    ledger = {**LEDGER, "saved": {"at_least": True, "at_size": 20, "data": factor, "time": factor},
              "grounding": {"source": found}}  # fmt: skip
    page = write_page(tmp_path, ledger, "simtoreal finetune").read_text(encoding="utf-8")
    assert "real episodes saved by starting from the source, at the miss that 20 episodes reach from scratch" in page
    assert "at least 12.0 x [6.0, 20.0]" in page
    assert "It ignores the picture." in page
    assert "no grasp, or a doubtful one" in page
