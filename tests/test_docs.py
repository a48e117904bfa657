"""The pictures of the conventions page are what their script draws today."""

import importlib.util
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NUMBER = re.compile(r"-?\d+\.\d+")


def test_the_pictures_of_the_frames_are_up_to_date(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("draw_frames", ROOT / "scripts" / "draw_frames.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (ROOT / "docs" / "images").glob("frame_*.svg"))
    for name in drawn:
        now, committed = (folder / name for folder in (tmp_path, ROOT / "docs" / "images"))
        texts = [path.read_text(encoding="utf-8") for path in (now, committed)]
        assert NUMBER.sub("#", texts[0]) == NUMBER.sub("#", texts[1]), f"{name}: run scripts/draw_frames.py"
        new, old = (np.array(NUMBER.findall(text), dtype=np.float64) for text in texts)
        np.testing.assert_allclose(new, old, atol=0.21, err_msg=f"{name}: run scripts/draw_frames.py")
