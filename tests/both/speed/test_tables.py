"""What the tables say of results that are known."""

from __future__ import annotations

from results import results

from speed import summary, tables


def test_speed_is_a_ratio_with_its_spread() -> None:
    assert tables.speed(results(), "1") == (
        "| network | fxq-x86, ms | float | torchao-inductor | openvino |\n"
        "| --- | --: | --: | --: | --: |\n"
        "| ResNet-18 | 2.00 | 4.00 (3.75 to 4.25) | fails | 0.50 (0.25 to 0.75) |\n"
        "| MobileNetV2 | 4.00 | 4.00 (3.75 to 4.25) | fails | 0.50 (0.25 to 0.75) |"
    )


def test_what_was_not_measured_is_empty() -> None:
    assert tables.speed(results(), "16", ["openvino"]).splitlines()[2] == "| ResNet-18 | 20.00 |  |"


def test_a_system_beside_the_others() -> None:
    assert tables.beside(results(), "1", "openvino", ["float", "torchao-inductor"]) == (
        "| network | openvino by fxq-x86 | float | torchao-inductor |\n"
        "| --- | --: | --: | --: |\n"
        "| ResNet-18 | 0.50 | 8.00 | fails |\n"
        "| MobileNetV2 | 0.50 | 8.00 | fails |"
    )
    assert tables.beside(results(), "1", "torchao-inductor", ["float"]).count("\n") == 1


def test_a_baseline_that_fails_is_said_to() -> None:
    found = results()
    found["models"]["resnet18"]["batches"]["1"] = {"float": {"ms": {"median": 1.0}}}
    found["models"]["resnet18"]["failures"]["fxq-x86"] = "gone"
    assert tables.speed(found, "1", ["float"]).splitlines()[2] == "| ResNet-18 | fails |  |"


def test_reasons_name_the_networks_once() -> None:
    assert tables.reasons(results()) == "- torchao-inductor fails on ResNet-18, MobileNetV2: `ValueError: no`"
    found = results()
    for network in found["models"].values():
        network["failures"] = {}
    assert tables.reasons(found) == "Every system ran every network."


def test_costs_and_costs_relative_to_float() -> None:
    systems = ("fxq-x86", "torchao-inductor", "openvino")
    assert tables.costs(results(), "disk_mb", systems).splitlines()[2] == "| ResNet-18 | 5.0 | fails | 20.0 |"
    assert tables.relative(results(), "calibrate_s", systems).splitlines()[2] == "| ResNet-18 | 0.50 | fails | 2.00 |"


def test_depth_has_the_slope_in_thousandths() -> None:
    assert tables.depth(results(), "ms") == (
        "| system | 5 layers | 10 layers | a layer |\n"
        "| --- | --: | --: | --: |\n"
        "| float | 1.25 | 1.50 | 50.0 |\n"
        "| fxq-x86 | 1.10 | 1.20 | 20.0 |\n"
        "| openvino | fails | fails |  |"
    )
    # float has nothing to quantize
    assert tables.depth(results(), "quantize_s").splitlines()[2:] == [
        "| fxq-x86 | 0.55 | 0.60 | 10.0 |",
        "| openvino | fails | fails |  |",
    ]


def test_batches_are_per_item() -> None:
    found = results()
    found["batch"]["mobilenet_v2"]["failures"]["openvino"] = "too large"
    assert tables.batches(found).splitlines()[2:] == [
        "| float | 8.00 | 5.00 |",
        "| fxq-x86 | 2.00 | 1.25 |",
        "| openvino | 1.00 | fails |",
    ]


def test_who_wins_where() -> None:
    found = results()
    found["models"]["mobilenet_v2"]["batches"]["1"]["openvino"]["ratio"]["median"] = 1.02
    assert summary.against(found, "1").splitlines()[2:] == [
        "| float | 4.00 | 2 | 0 | 0 |  |",
        "| openvino | 0.76 | 0 | 1 | 1 | ResNet-18 |",
    ]
    assert summary.against(results(), "1").splitlines()[3] == "| openvino | 0.50 | 0 | 0 | 2 | all |"


def test_rates_are_multiply_accumulates_by_time() -> None:
    assert summary.bounds(results()).splitlines()[2] == "| ResNet-18 | 50 | 0.50 | 250 | 400 |"
    assert summary.highest(results()) == "400 GMAC/s, by ResNet-18 at batch 16"


def test_the_machine_in_one_line() -> None:
    assert (
        summary.machine(results()) == "A CPU (avx2, avx512_vnni), 2 cores, 24 GB, Linux, Python 3.11.7; torch 2.13.0."
    )
