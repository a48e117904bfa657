"""The error model: linear between the measured distances, flat outside, and refused where it makes no sense."""

import pytest

from simtoreal.perception_error import FIELDS, PerceptionError

MEASURED = PerceptionError(
    distance_m=(0.2, 0.4),
    lateral_m=(0.002, 0.006),
    height_m=(0.001, 0.001),
    yaw_rad=(0.1, 0.2),
    wrong_frac=(0.0, 0.1),
)


@pytest.mark.parametrize(
    ("distance_m", "lateral_m"), [(0.0, 0.002), (0.2, 0.002), (0.3, 0.004), (0.4, 0.006), (9.0, 0.006)]
)
def test_linear_between_and_flat_outside(distance_m: float, lateral_m: float):
    assert MEASURED.at(distance_m)["lateral_m"] == pytest.approx(lateral_m)


def test_plain_data_reads_back_the_same():
    assert PerceptionError.from_dict(MEASURED.to_dict()) == MEASURED
    assert PerceptionError.from_dict(PerceptionError().to_dict()) == PerceptionError()


@pytest.mark.parametrize(
    "broken",
    [
        {"distance_m": (0.4, 0.2)},
        {"distance_m": (0.2, 0.2)},
        {"lateral_m": (0.002,)},
        {"yaw_rad": (-0.1, 0.1)},
        {"height_m": (0.001, float("nan"))},
        dict.fromkeys(FIELDS, ()),
    ],
    ids=str,
)
def test_columns_that_make_no_sense_are_refused(broken: dict):
    with pytest.raises(ValueError, match="perception error"):
        PerceptionError(**{**{name: getattr(MEASURED, name) for name in FIELDS}, **broken})


def test_missing_and_unknown_columns_are_named():
    data = MEASURED.to_dict()
    data["colour"] = data.pop("yaw_rad")
    with pytest.raises(ValueError, match="colour"):
        PerceptionError.from_dict(data)
