"""Runs CoACD on one mesh and ends: started by `decomposition`, which survives a crash or an endless run of it.

Usage: python coacd_process.py IN.npz OUT.npz MAX_HULLS
"""

import sys

import coacd
import numpy as np


def main(source: str, result: str, max_hulls: str) -> None:
    """Reads `vertices` and `faces` of a closed mesh from one file and writes `part_0`, `part_1`, ... to another."""
    coacd.set_log_level("off")
    with np.load(source, allow_pickle=False) as data:
        mesh = coacd.Mesh(data["vertices"], data["faces"])
    # Quality of search for speed: half a second for a filled shape of 1500 faces, two to four for a hollow one.
    parts = coacd.run_coacd(
        mesh,
        threshold=0.06,
        max_convex_hull=int(max_hulls),
        preprocess_mode="off",
        resolution=1000,
        mcts_nodes=10,
        mcts_iterations=20,
        mcts_max_depth=3,
        seed=0,
    )
    np.savez(result, **{f"part_{index}": vertices for index, (vertices, _) in enumerate(parts)})


if __name__ == "__main__":
    main(*sys.argv[1:])
